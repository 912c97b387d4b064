#include "tests/unit/backing/bench.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { PAGE = 4096, OTHERS = 50 };

/*
 * Memory whose bytes come when the test says so: a write from it sits in the kernel until then, as
 * one to a disk that is stuck.
 */
struct late_memory {
    int fd;
    uint8_t *bytes;
    size_t len;
};

static void late_memory_make(struct late_memory *late, size_t len)
{
    struct uffdio_api api = { .api = UFFD_API };
    struct uffdio_register range;

    late->len = len;
    late->fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
    if (late->fd < 0)
        skip(); /* not permitted to everybody (vm.unprivileged_userfaultfd) */
    assert_int_equal(ioctl(late->fd, UFFDIO_API, &api), 0);
    late->bytes = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(late->bytes, MAP_FAILED);
    range = (struct uffdio_register){
        .range = {.start = (uintptr_t)late->bytes, .len = len},
        .mode = UFFDIO_REGISTER_MODE_MISSING,
    };
    assert_int_equal(ioctl(late->fd, UFFDIO_REGISTER, &range), 0);
}

/* Waits until somebody waits for the bytes. */
static void late_memory_is_wanted(const struct late_memory *late)
{
    struct uffd_msg message;
    ssize_t n;

    alarm(60);
    assert_int_equal(fcntl(late->fd, F_SETFL, 0), 0);
    n = read(late->fd, &message, sizeof(message));
    alarm(0);
    assert_int_equal(n, sizeof(message));
    assert_int_equal(message.event, UFFD_EVENT_PAGEFAULT);
}

static void late_memory_comes(const struct late_memory *late, const uint8_t *bytes)
{
    struct uffdio_copy copy = {
        .dst = (uintptr_t)late->bytes,
        .src = (uintptr_t)bytes,
        .len = late->len,
    };

    assert_int_equal(ioctl(late->fd, UFFDIO_COPY, &copy), 0);
}

static void late_memory_remove(struct late_memory *late)
{
    munmap(late->bytes, late->len);
    close(late->fd);
}

static struct backing *image(const char *name)
{
    struct backing_options options = {
        .path = scratch_file(&bench.scratch, name),
        .size_bytes = 4 * MIB,
        .is_new_allowed = true,
    };
    struct backing_error error = { "" };
    struct backing *backing = NULL;

    if (backing_open(&options, &backing, &error) != 0)
        fail_msg("%s", error.text);
    backing->lacks_nowait_write = true;
    return backing;
}

static struct io write_of(struct backing *backing, void *bytes, uint64_t offset_bytes)
{
    return (struct io){
        .op = IO_WRITE,
        .backing = backing,
        .bytes = bytes,
        .len_bytes = PAGE,
        .offset_bytes = offset_bytes,
        .result = 1,
    };
}

static void test_one_leads_and_the_others_join(void **state)
{
    struct lane lane;
    struct io ios[3] = { 0 };

    (void)state;
    lane_open(&lane);
    assert_int_equal(lane_join(&lane, &ios[0], false), LANE_REFUSED);
    assert_int_equal(lane_join(&lane, &ios[0], true), LANE_LEADS);
    assert_int_equal(lane_join(&lane, &ios[1], true), LANE_JOINED);
    assert_int_equal(lane_join(&lane, &ios[2], false), LANE_JOINED);
    assert_ptr_equal(lane_next(&lane), &ios[1]);
    assert_ptr_equal(lane_next(&lane), &ios[2]);
    assert_int_equal(lane_join(&lane, &ios[0], false), LANE_JOINED);
    assert_ptr_equal(lane_next(&lane), &ios[0]);
    assert_null(lane_next(&lane));
    assert_int_equal(lane_join(&lane, &ios[1], true), LANE_LEADS);
    assert_null(lane_next(&lane));
    lane_close(&lane);
}

static struct io *expected, *expected_end;

static void in_order(struct io *io)
{
    assert_true(expected < expected_end);
    assert_ptr_equal(io, expected++);
    one_is_done(io);
}

/* More than a turn of the lane, all to one place: the last one's bytes are there in the end. */
static void test_writes_of_a_file_are_done_in_order(void **state)
{
    enum { COUNT = 300 };
    struct io *ios = calloc(COUNT, sizeof(*ios));
    uint8_t *bytes = pattern((size_t)COUNT * PAGE, 1), again[PAGE];

    (void)state;
    need_engine();
    expected = ios;
    expected_end = ios + COUNT;
    for (size_t i = 0; i < COUNT; i++) {
        ios[i] = write_of(bench.backing, bytes + i * PAGE, 8 * PAGE);
        ios[i].done = in_order;
        submit(&ios[i]);
    }
    wait_for_all();
    for (size_t i = 0; i < COUNT; i++)
        assert_int_equal(ios[i].result, 0);
    assert_int_equal(run(IO_READ, again, PAGE, 8 * PAGE, false), 0);
    assert_memory_equal(again, bytes + (size_t)(COUNT - 1) * PAGE, PAGE);
    free(bytes);
    free(ios);
}

/* As on a full disk: the one that does not fit fails, those before and behind it do not. */
static void test_write_that_fails_fails_alone(void **state)
{
    struct rlimit before, limit;
    uint8_t *bytes = pattern(PAGE, 2);
    struct io ios[3];

    (void)state;
    need_engine();
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = before;
    limit.rlim_cur = 32 * MIB + 512; /* the second is short at first, then refused */
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    for (size_t i = 0; i < 3; i++) {
        ios[i] = write_of(bench.backing, bytes, i == 1 ? 32 * MIB : i * PAGE);
        submit(&ios[i]);
    }
    wait_for_all();
    setrlimit(RLIMIT_FSIZE, &before);
    assert_int_equal(ios[0].result, 0);
    assert_int_equal(ios[1].result, -EFBIG);
    assert_int_equal(ios[2].result, 0);
    free(bytes);
}

static void test_file_that_is_stuck_keeps_no_other_waiting(void **state)
{
    struct backing *other;
    uint8_t *bytes, *again;
    struct io stuck[OTHERS + 1], others[OTHERS];
    struct late_memory late;

    (void)state;
    need_engine();
    late_memory_make(&late, PAGE);
    other = image("other");
    bytes = pattern(PAGE, 3);
    again = calloc(OTHERS + 1, PAGE);
    for (size_t i = 0; i <= OTHERS; i++) {
        stuck[i] = write_of(bench.backing, i == 0 ? late.bytes : bytes, i * PAGE);
        submit(&stuck[i]);
    }
    ev_run(bench.loop, EVRUN_NOWAIT);
    late_memory_is_wanted(&late);

    bench.waiting = 0; /* the stuck ones are waited for later */
    for (size_t i = 0; i < OTHERS; i++) {
        others[i] = write_of(other, bytes, i * PAGE);
        submit(&others[i]);
    }
    wait_for_waiting();
    for (size_t i = 0; i < OTHERS; i++)
        assert_int_equal(others[i].result, 0);
    assert_int_equal(engine_in_flight(bench.engine), OTHERS + 1);

    bench.waiting = OTHERS + 1;
    late_memory_comes(&late, bytes);
    wait_for_all();
    assert_int_equal(run(IO_READ, again, (OTHERS + 1) * PAGE, 0, false), 0);
    for (size_t i = 0; i <= OTHERS; i++) {
        assert_int_equal(stuck[i].result, 0);
        assert_memory_equal(again + i * PAGE, bytes, PAGE);
    }
    late_memory_remove(&late);
    backing_close(other);
    free(again);
    free(bytes);
}

/*
 * As many files are stuck as an engine has runners: over io_uring the kernel's threads do the next.
 * Not more than one there, since the kernel sorts files by a hash and two may wait for each other.
 */
static void test_kernel_writes_when_every_runner_is_stuck(void **state)
{
    enum { STUCK = 8 };
    struct backing *images[STUCK];
    struct late_memory late[STUCK];
    struct io stuck[STUCK];
    uint8_t *bytes;
    char name[16];

    (void)state;
    need_engine();
    for (int i = 0; i < STUCK; i++) {
        late_memory_make(&late[i], PAGE);
        snprintf(name, sizeof(name), "stuck%d", i);
        images[i] = image(name);
        stuck[i] = write_of(images[i], late[i].bytes, 0);
        submit(&stuck[i]);
    }
    ev_run(bench.loop, EVRUN_NOWAIT);
    for (int i = 0; i < STUCK; i++)
        late_memory_is_wanted(&late[i]);

    bench.waiting = 0;
    assert_int_equal(engine_in_flight(bench.engine), STUCK);
    bytes = pattern(PAGE, 4);
    {
        struct io io = write_of(bench.backing, bytes, 0);

        submit(&io);
        wait_for_waiting();
        assert_int_equal(io.result, 0);
    }
    bench.waiting = STUCK;
    for (int i = 0; i < STUCK; i++)
        late_memory_comes(&late[i], bytes);
    wait_for_all();
    for (int i = 0; i < STUCK; i++) {
        assert_int_equal(stuck[i].result, 0);
        late_memory_remove(&late[i]);
        backing_close(images[i]);
    }
    free(bytes);
}

/* The thread of one engine does what another's loop has put behind it, and each gets its own. */
static void test_two_engines_share_a_lane(void **state)
{
    uint8_t *bytes, again[PAGE];
    struct engine *first = bench.engine, *second = NULL;
    struct io ios[2 * OTHERS];
    struct late_memory late;

    (void)state;
    need_engine();
    late_memory_make(&late, PAGE);
    bytes = pattern(PAGE, 5);
    assert_int_equal(engine_create(bench.variant->kind, bench.loop, bench.jobs, &second, NULL), 0);
    for (size_t i = 0; i < 2 * OTHERS; i++) {
        ios[i] = write_of(bench.backing, i == 0 ? late.bytes : bytes, i * PAGE);
        bench.engine = i % 2 == 0 ? first : second;
        submit(&ios[i]);
    }
    ev_run(bench.loop, EVRUN_NOWAIT);
    late_memory_is_wanted(&late);
    late_memory_comes(&late, bytes);
    wait_for_all();
    assert_int_equal(engine_in_flight(first), 0);
    engine_destroy(second);
    bench.engine = first;
    for (size_t i = 0; i < 2 * OTHERS; i++) {
        assert_int_equal(ios[i].result, 0);
        assert_int_equal(run(IO_READ, again, PAGE, i * PAGE, false), 0);
        assert_memory_equal(again, bytes, PAGE);
    }
    late_memory_remove(&late);
    free(bytes);
}

/* Who is answered may end engine and image at once, whatever the runner still has to put away. */
static void test_engine_and_image_end_right_after_their_last_write(void **state)
{
    uint8_t *bytes = pattern(PAGE, 6);

    (void)state;
    need_engine();
    for (int pass = 0; pass < 100; pass++) {
        struct io ios[3];

        for (size_t i = 0; i < 3; i++) {
            ios[i] = write_of(bench.backing, bytes, i * PAGE);
            submit(&ios[i]);
        }
        wait_for_all();
        backing_close(bench.backing);
        engine_destroy(bench.engine);
        bench.engine = NULL;
        bench.backing = scratch_image(&bench.scratch, 64 * MIB);
        bench.backing->lacks_nowait_write = true;
        assert_int_equal(
            engine_create(bench.variant->kind, bench.loop, bench.jobs, &bench.engine, NULL), 0);
    }
    free(bytes);
}

/* The first one that an engine makes asks, a durable one as well. An inline one does not: it could
 * sleep over the question. */
static void test_first_write_learns_whether_the_file_knows_nowait(void **state)
{
    const struct iovec iov = { .iov_base = &(uint8_t){ 9 }, .iov_len = 1 };
    uint8_t *bytes = pattern(PAGE, 7);
    bool lacks;

    (void)state;
    need_engine();
    bench.backing->lacks_nowait_write = false;
    assert_int_equal(run(IO_WRITE, bytes, PAGE, 0, true), 0);
    lacks = bench.backing->lacks_nowait_write;
    assert_true(lacks != bench.backing->knows_nowait_write);

    bench.backing->lacks_nowait_write = bench.backing->knows_nowait_write = false;
    if (!bench.backing->is_memory) {
        assert_int_equal(backing_try_write(bench.backing, &iov, 1, 0), -EAGAIN);
        assert_false(bench.backing->lacks_nowait_write || bench.backing->knows_nowait_write);
    }
    /* a device has no file system that could be frozen, and no lane that asks for it */
    bench.backing->place.is_block_device = true;
    lacks = backing_try_write(bench.backing, &iov, 1, 0) != 0;
    assert_int_equal(bench.backing->lacks_nowait_write, lacks);
    free(bytes);
}

#define LANES(test)                                                                                \
    TEST_WITH(test, uring_with_lanes, "io_uring"), TEST_WITH(test, threads, "threads")

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_leads_and_the_others_join),
        LANES(test_writes_of_a_file_are_done_in_order),
        LANES(test_write_that_fails_fails_alone),
        LANES(test_file_that_is_stuck_keeps_no_other_waiting),
        TEST_WITH(test_kernel_writes_when_every_runner_is_stuck, uring_with_lanes, "io_uring"),
        LANES(test_two_engines_share_a_lane),
        LANES(test_engine_and_image_end_right_after_their_last_write),
        LANES(test_first_write_learns_whether_the_file_knows_nowait),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
