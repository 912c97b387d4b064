#include "tests/unit/backing/bench.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/magic.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

/* Every test runs over io_uring, without lanes and with them, and over threads. */

static void test_bytes_of_any_size_and_place_are_read_back(void **state)
{
    static const size_t sizes[] = { 1, 511, 512, 513, 4095, 4096, 65537, 262144, 3 * MIB + 7 };

    (void)state;
    need_engine();
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        uint8_t *bytes = pattern(sizes[i], (unsigned)i), *again = calloc(1, sizes[i]);
        uint64_t offset_bytes = i * 4 * MIB + i * 13;

        assert_int_equal(run(IO_WRITE, bytes, sizes[i], offset_bytes, false), 0);
        assert_int_equal(run(IO_READ, again, sizes[i], offset_bytes, false), 0);
        assert_memory_equal(again, bytes, sizes[i]);
        free(bytes);
        free(again);
    }
}

static void test_last_byte_is_reached_and_no_further(void **state)
{
    uint8_t bytes[2] = { 1, 2 };
    struct stat st;

    (void)state;
    need_engine();
    assert_int_equal(run(IO_WRITE, bytes, 1, 64 * MIB - 1, false), 0);
    assert_int_equal(run(IO_WRITE, bytes, 2, 64 * MIB - 1, false), -EINVAL);
    assert_int_equal(run(IO_READ, bytes, 1, 64 * MIB, false), -EINVAL);
    assert_int_equal(run(IO_PUNCH, NULL, 2, 64 * MIB - 1, false), -EINVAL);
    assert_int_equal(stat(bench.scratch.path, &st), 0);
    assert_int_equal(st.st_size, 64 * MIB);
}

/* More than the kernel takes at once: the rest waits, and none is lost or done twice. */
static void test_thousands_at_once_all_come_back_once(void **state)
{
    enum { COUNT = 5000, LEN = 4096 };
    struct io *ios = calloc(COUNT, sizeof(*ios));
    uint8_t *bytes = pattern((size_t)COUNT * LEN, 3), *again = calloc(COUNT, LEN);

    (void)state;
    need_engine();
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < COUNT; i++) {
            size_t at = i * 1237 % COUNT * LEN;

            ios[i] = (struct io){
                .op = pass == 0 ? IO_WRITE : IO_READ,
                .backing = bench.backing,
                .bytes = (pass == 0 ? bytes : again) + at,
                .len_bytes = LEN,
                .offset_bytes = at,
                .result = 1,
            };
            submit(&ios[i]);
        }
        assert_int_equal(engine_in_flight(bench.engine), COUNT);
        wait_for_all();
        for (size_t i = 0; i < COUNT; i++)
            assert_int_equal(ios[i].result, 0);
    }
    assert_memory_equal(again, bytes, (size_t)COUNT * LEN);
    free(again);
    free(bytes);
    free(ios);
}

static int left_in_chain;

static void go_on(struct io *io)
{
    assert_int_equal(io->result, 0);
    if (--left_in_chain > 0) {
        bench.waiting--;
        io->offset_bytes += io->len_bytes;
        submit(io);
        return;
    }
    one_is_done(io);
}

static void test_done_may_submit_the_next(void **state)
{
    uint8_t bytes[512] = { 7 }, again[512];
    struct io io = {
        .op = IO_WRITE,
        .backing = bench.backing,
        .bytes = bytes,
        .len_bytes = sizeof(bytes),
        .done = go_on,
    };

    (void)state;
    need_engine();
    left_in_chain = 1000;
    submit(&io);
    wait_for_all();
    assert_int_equal(left_in_chain, 0);
    assert_int_equal(run(IO_READ, again, sizeof(again), 999 * 512, false), 0);
    assert_memory_equal(again, bytes, sizeof(bytes));
}

static void test_file_that_shrank_is_an_error_not_zeros(void **state)
{
    uint8_t bytes[8192];

    (void)state;
    need_engine();
    assert_int_equal(truncate(bench.scratch.path, 4096), 0);
    assert_int_equal(run(IO_READ, bytes, sizeof(bytes), 0, false), -EIO);
    assert_int_equal(run(IO_READ, bytes, sizeof(bytes), MIB, false), -EIO);
    assert_int_equal(run(IO_READ, bytes, 4096, 0, false), 0);
}

/* The kernel takes what is below the limit and refuses the rest, as a full disk does. */
static void test_write_that_fits_by_half_is_an_error(void **state)
{
    struct rlimit before, limit;
    uint8_t *bytes = pattern(MIB, 5);
    int result;

    (void)state;
    need_engine();
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = before;
    limit.rlim_cur = 32 * MIB + 512 * KIB;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    result = run(IO_WRITE, bytes, MIB, 32 * MIB, false);
    setrlimit(RLIMIT_FSIZE, &before);
    assert_int_equal(result, -EFBIG);
    assert_int_equal(run(IO_WRITE, bytes, MIB, 32 * MIB, false), 0);
    free(bytes);
}

static void test_durable_writes_and_flushes_succeed(void **state)
{
    uint8_t *bytes = pattern(64 * KIB, 6), again[64 * KIB];

    (void)state;
    need_engine();
    assert_int_equal(run(IO_WRITE, bytes, 64 * KIB, 4096, true), 0);
    assert_int_equal(run(IO_FLUSH, NULL, 0, 0, false), 0);
    bench.backing->lacks_dsync = true; /* write and sync, one after the other */
    assert_int_equal(run(IO_WRITE, bytes, 64 * KIB, MIB, true), 0);
    assert_int_equal(run(IO_READ, again, sizeof(again), MIB, false), 0);
    assert_memory_equal(again, bytes, sizeof(again));
    free(bytes);
}

/* The engines answer them in groups; each must find its own bytes. */
static void test_many_durable_writes_and_flushes_at_once_all_come_back(void **state)
{
    enum { COUNT = 200, LEN = 4096 };
    struct io *ios = calloc(COUNT, sizeof(*ios));
    uint8_t *bytes = pattern((size_t)COUNT * LEN, 4), *again = malloc((size_t)COUNT * LEN);

    (void)state;
    need_engine();
    for (size_t i = 0; i < COUNT; i++) {
        ios[i] = (struct io){
            .op = i % 10 == 9 ? IO_FLUSH : IO_WRITE,
            .is_durable = true,
            .backing = bench.backing,
            .bytes = bytes + i * LEN,
            .len_bytes = LEN,
            .offset_bytes = i * LEN,
            .result = 1,
        };
        submit(&ios[i]);
    }
    wait_for_all();
    assert_int_equal(run(IO_READ, again, COUNT * LEN, 0, false), 0);
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(ios[i].result, 0);
        if (ios[i].op == IO_WRITE)
            assert_memory_equal(again + i * LEN, bytes + i * LEN, LEN);
    }
    free(again);
    free(bytes);
    free(ios);
}

static void zero_middle(enum io_op op)
{
    uint8_t *bytes = pattern(4 * MIB, 8), *again = malloc(4 * MIB);

    assert_int_equal(run(IO_WRITE, bytes, 4 * MIB, 0, false), 0);
    assert_int_equal(run(op, NULL, 2 * MIB, MIB, false), 0);
    assert_int_equal(run(IO_READ, again, 4 * MIB, 0, false), 0);
    memset(bytes + MIB, 0, 2 * MIB);
    assert_memory_equal(again, bytes, 4 * MIB);
    free(again);
    free(bytes);
}

static void test_zeroed_range_reads_as_zeros_and_nothing_else_does(void **state)
{
    (void)state;
    need_engine();
    zero_middle(IO_ZERO);
    zero_middle(IO_PUNCH);
}

static void test_zeroed_range_reads_as_zeros_where_the_disk_cannot_zero(void **state)
{
    (void)state;
    need_engine();
    bench.backing->lacks_punch = bench.backing->lacks_zero_range = true;
    zero_middle(IO_ZERO);
    zero_middle(IO_PUNCH);
}

static void test_punched_range_gives_its_space_back(void **state)
{
    uint8_t *bytes = pattern(16 * MIB, 9);
    struct backing_usage before, after;

    (void)state;
    need_engine();
    assert_int_equal(run(IO_WRITE, bytes, 16 * MIB, 0, true), 0);
    assert_int_equal(backing_usage(bench.backing, &before), 0);
    assert_int_equal(run(IO_PUNCH, NULL, 16 * MIB, 0, true), 0);
    assert_int_equal(backing_usage(bench.backing, &after), 0);
    if (!bench.backing->lacks_punch)
        assert_true(after.allocated_bytes + 12 * MIB < before.allocated_bytes);
    free(bytes);
}

/* Where the file system is one that is asked, no page is made for what is read. */
static void test_a_hole_reads_as_zeros_and_stays_out_of_the_cache(void **state)
{
    uint8_t *bytes = pattern(MIB, 5), *zeros = calloc(1, MIB);
    struct statfs fs;

    (void)state;
    need_engine();
    assert_int_equal(run(IO_READ, bytes, MIB, 20 * MIB + 512, false), 0);
    assert_memory_equal(bytes, zeros, MIB);
    assert_int_equal(statfs(bench.scratch.path, &fs), 0);
    if (fs.f_type == EXT4_SUPER_MAGIC || fs.f_type == XFS_SUPER_MAGIC)
        assert_false(backing_is_cached(bench.backing, 20 * MIB + 512, MIB));
    memset(bytes, 3, MIB);
    assert_int_equal(run(IO_WRITE, bytes, 512, 21 * MIB, false), 0);
    assert_int_equal(run(IO_READ, zeros, 512, 21 * MIB, false), 0);
    assert_memory_equal(zeros, bytes, 512);
    free(bytes);
    free(zeros);
}

static void test_nothing_to_transfer_is_done_at_once_and_well(void **state)
{
    (void)state;
    need_engine();
    for (enum io_op op = IO_READ; op < IO_OP_COUNT; op++)
        assert_int_equal(run(op, NULL, 0, 4096, false), 0);
}

/* 0 % of a CPU when there is nothing to do. */
static void test_loop_sleeps_when_nothing_is_under_way(void **state)
{
    uint8_t bytes[512];
    ev_timer timer;
    unsigned before;

    (void)state;
    need_engine();
    assert_int_equal(run(IO_READ, bytes, sizeof(bytes), 0, false), 0);
    ev_timer_init(&timer, lost_patience, 0.2, 0.);
    ev_now_update(bench.loop);
    ev_timer_start(bench.loop, &timer);
    before = ev_iteration(bench.loop);
    ev_run(bench.loop, 0);
    assert_true(ev_iteration(bench.loop) - before < 10);
}

static void test_auto_takes_threads_only_with_a_reason(void **state)
{
    struct engine *engine;
    const char *reason;

    (void)state;
    assert_int_equal(engine_create(ENGINE_AUTO, bench.loop, bench.jobs, &engine, &reason), 0);
    if (reason == NULL)
        assert_int_equal(engine_kind(engine), ENGINE_URING);
    else
        assert_int_equal(engine_kind(engine), ENGINE_THREADS);
    engine_destroy(engine);
}

/* What a container's filter does: every system call passes but this one. */
static void forbid_io_uring(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = { sizeof(code) / sizeof(code[0]), code };

    assert_int_equal(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    assert_int_equal(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter), 0);
}

/* In a process of its own, since a filter never comes off; 0 when all was as it should be. */
static int use_without_io_uring(void)
{
    void *state = (void *)&uring;
    uint8_t bytes[512];
    const char *reason = NULL;

    forbid_io_uring();
    bench_setup(&state);
    if (bench.engine != NULL)
        return 1;
    if (engine_create(ENGINE_AUTO, bench.loop, bench.jobs, &bench.engine, &reason) != 0)
        return 2;
    if (engine_kind(bench.engine) != ENGINE_THREADS || reason == NULL ||
        strstr(reason, "not permit") == NULL)
        return 3;
    if (run(IO_READ, bytes, sizeof(bytes), 0, false) != 0)
        return 4;
    return bench_teardown(&state);
}

static void test_forbidden_io_uring_gives_way_to_threads(void **state)
{
    int status = 0;
    pid_t child = fork();

    (void)state;
    if (child == 0)
        _exit(use_without_io_uring());
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        EACH(test_bytes_of_any_size_and_place_are_read_back),
        EACH(test_last_byte_is_reached_and_no_further),
        EACH(test_thousands_at_once_all_come_back_once),
        EACH(test_done_may_submit_the_next),
        EACH(test_file_that_shrank_is_an_error_not_zeros),
        EACH(test_write_that_fits_by_half_is_an_error),
        EACH(test_durable_writes_and_flushes_succeed),
        EACH(test_many_durable_writes_and_flushes_at_once_all_come_back),
        EACH(test_zeroed_range_reads_as_zeros_and_nothing_else_does),
        EACH(test_zeroed_range_reads_as_zeros_where_the_disk_cannot_zero),
        EACH(test_punched_range_gives_its_space_back),
        EACH(test_a_hole_reads_as_zeros_and_stays_out_of_the_cache),
        EACH(test_nothing_to_transfer_is_done_at_once_and_well),
        EACH(test_loop_sleeps_when_nothing_is_under_way),
        EACH(test_auto_takes_threads_only_with_a_reason),
        cmocka_unit_test(test_forbidden_io_uring_gives_way_to_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
