/* what is known of an image's holes, and that it is never told of what was written */
#include "backing/file.h"
#include "backing/transfer.h"
#include "tests/unit/backing/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>
#include <cmocka.h>

enum { MIB = 1024 * 1024, GRANULES = 16, SIZE_BYTES = GRANULES * MIB };

/* A file and what is known of it; `image` is the same by way of a whole backing, where a test wants
 * one. */
struct bench {
    struct scratch scratch;
    struct backing *image;
    struct holes holes;
    int fd;
};
static struct bench bench;

static int setup(void **state)
{
    (void)state;
    scratch_make(&bench.scratch);
    bench.fd = open(bench.scratch.path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_true(bench.fd >= 0);
    assert_int_equal(ftruncate(bench.fd, SIZE_BYTES), 0);
    holes_open(&bench.holes, SIZE_BYTES);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    holes_close(&bench.holes);
    backing_close(bench.image);
    bench.image = NULL;
    close(bench.fd);
    scratch_remove(&bench.scratch);
    return 0;
}

static void put_byte(uint64_t offset_bytes)
{
    assert_int_equal(pwrite(bench.fd, "x", 1, (off_t)offset_bytes), 1);
}

static void look(uint64_t offset_bytes, uint64_t len_bytes)
{
    holes_look(&bench.holes, bench.fd, SIZE_BYTES, offset_bytes, len_bytes);
}

static bool covers(uint64_t offset_bytes, uint64_t len_bytes)
{
    return holes_answer(&bench.holes, offset_bytes, len_bytes) == HOLES_EMPTY;
}

static bool wants_look(uint64_t offset_bytes, uint64_t len_bytes)
{
    return holes_answer(&bench.holes, offset_bytes, len_bytes) == HOLES_UNASKED;
}

static void test_nothing_is_known_before_it_is_asked(void **state)
{
    (void)state;
    assert_false(covers(0, 512));
    assert_true(wants_look(0, 512));
}

static void test_one_look_tells_of_all_up_to_the_next_data(void **state)
{
    (void)state;
    put_byte(9 * MIB + 5000);
    look(2 * MIB, 4096);
    assert_true(covers(2 * MIB, 7 * MIB));
    assert_false(covers(2 * MIB, 7 * MIB + 1));
    assert_false(covers(2 * MIB - 1, 2));
    assert_false(covers(9 * MIB, 512));
    assert_false(wants_look(2 * MIB, 7 * MIB));
    assert_true(wants_look(9 * MIB, 1));
}

static void test_where_data_is_nobody_asks_twice(void **state)
{
    (void)state;
    put_byte(3 * MIB + 70000);
    look(3 * MIB, 512);
    assert_false(covers(3 * MIB, 512));
    assert_false(wants_look(3 * MIB, MIB));
}

static void test_a_range_over_data_and_holes_is_asked_about_whole(void **state)
{
    (void)state;
    put_byte(4 * MIB);
    look(3 * MIB + 512, 3 * MIB);
    assert_false(wants_look(3 * MIB, 4 * MIB));
    assert_true(covers(3 * MIB, MIB));
    assert_false(covers(4 * MIB, 1));
    assert_true(covers(5 * MIB, GRANULES * MIB - 5 * MIB));
}

static void test_what_is_written_is_no_hole_any_more(void **state)
{
    (void)state;
    look(0, SIZE_BYTES);
    assert_true(covers(0, SIZE_BYTES));
    holes_write(&bench.holes, 5 * MIB - 1, 2);
    assert_true(covers(0, 4 * MIB));
    assert_false(covers(4 * MIB, 1));
    assert_false(covers(6 * MIB - 1, 1));
    assert_true(covers(6 * MIB, MIB));
    assert_false(covers(0, SIZE_BYTES));
}

static void test_a_look_after_the_write_began_changes_nothing(void **state)
{
    (void)state;
    holes_write(&bench.holes, 7 * MIB, 512); /* and its bytes are not there yet */
    look(0, SIZE_BYTES);
    assert_false(covers(7 * MIB, 512));
    assert_true(covers(8 * MIB, 512));
    assert_false(wants_look(7 * MIB, 512));
}

static void test_nothing_is_empty_in_a_file_that_shrank(void **state)
{
    (void)state;
    assert_int_equal(ftruncate(bench.fd, SIZE_BYTES - 512), 0);
    look(0, SIZE_BYTES);
    assert_false(covers(0, 512));
    assert_false(covers(SIZE_BYTES - 512, 512));
}

/* Behind what is served others may write; what they wrote is read once the unit has grown. */
static void test_a_granule_that_is_not_served_whole_is_data(void **state)
{
    (void)state;
    holes_close(&bench.holes);
    holes_open(&bench.holes, SIZE_BYTES - 8192);
    holes_look(&bench.holes, bench.fd, SIZE_BYTES - 8192, 0, SIZE_BYTES - 8192);
    assert_true(covers(0, SIZE_BYTES - MIB));
    assert_false(covers(SIZE_BYTES - MIB, 512));
    assert_false(wants_look(SIZE_BYTES - MIB, 512));
    put_byte(SIZE_BYTES - 1);
    assert_false(covers(SIZE_BYTES - 512, 512));
}

static void test_less_than_a_granule_is_data(void **state)
{
    (void)state;
    holes_close(&bench.holes);
    holes_open(&bench.holes, MIB - 512);
    assert_false(wants_look(0, 512));
    holes_write(&bench.holes, 0, 512);
    assert_false(covers(0, 512));
}

static void test_nothing_is_known_of_what_was_grown(void **state)
{
    (void)state;
    assert_int_equal(ftruncate(bench.fd, 2 * SIZE_BYTES), 0);
    holes_look(&bench.holes, bench.fd, 2 * SIZE_BYTES, SIZE_BYTES - MIB, 2 * MIB);
    assert_true(covers(SIZE_BYTES - MIB, MIB));
    assert_false(covers(SIZE_BYTES, 512));
    assert_false(covers(SIZE_BYTES - 512, 1024));
    assert_false(wants_look(SIZE_BYTES, MIB));
    holes_write(&bench.holes, SIZE_BYTES - 512, 1024);
    assert_false(covers(SIZE_BYTES - MIB, 512));
}

static void test_large_images_are_seen_in_large_granules(void **state)
{
    struct holes large;

    (void)state;
    holes_open(&large, (uint64_t)64 << 40);
    holes_look(&large, bench.fd, SIZE_BYTES, 0, 512);
    assert_int_equal(holes_answer(&large, ((uint64_t)64 << 40) - 512, 512), HOLES_EMPTY);
    holes_write(&large, (uint64_t)1 << 40, 512);
    assert_int_equal(holes_answer(&large, (uint64_t)1 << 40, 512), HOLES_DATA);
    assert_int_equal(holes_answer(&large, ((uint64_t)1 << 40) - 512, 512), HOLES_EMPTY);
    holes_close(&large);
}

static void test_an_empty_range_is_nothing(void **state)
{
    (void)state;
    look(0, SIZE_BYTES);
    assert_false(covers(MIB, 0));
    assert_false(wants_look(MIB, 0));
    holes_write(&bench.holes, MIB, 0);
    assert_true(covers(MIB, MIB));
}

/* ---- by way of an image ---- */

/* True where the file system is one that is asked. */
static bool open_image(void)
{
    struct statfs fs;

    bench.image = scratch_image(&bench.scratch, SIZE_BYTES);
    assert_int_equal(fstatfs(bench.fd, &fs), 0);
    return fs.f_type == EXT4_SUPER_MAGIC || fs.f_type == XFS_SUPER_MAGIC;
}

static void run(enum io_op op, void *bytes, uint64_t offset_bytes, uint64_t len_bytes)
{
    struct io io = { .op = op, .backing = bench.image, .bytes = bytes };

    io.offset_bytes = offset_bytes;
    io.len_bytes = len_bytes;
    backing_run(&io);
    assert_int_equal(io.result, 0);
}

static void test_a_hole_is_read_without_filling_the_page_cache(void **state)
{
    uint8_t *bytes = malloc(64 * 1024), *zeros = calloc(1, 64 * 1024);
    struct iovec iov = { bytes, 64 * 1024 };
    bool is_asked = open_image();

    (void)state;
    memset(bytes, 1, 64 * 1024);
    run(IO_READ, bytes, 3 * MIB, 64 * 1024);
    assert_memory_equal(bytes, zeros, 64 * 1024);
    if (is_asked) {
        assert_false(backing_is_cached(bench.image, 3 * MIB, 64 * 1024));
        memset(bytes, 1, 64 * 1024);
        assert_int_equal(backing_try_read(bench.image, &iov, 1, 11 * MIB + 512), 0);
        assert_memory_equal(bytes, zeros, 64 * 1024);
        assert_false(backing_is_cached(bench.image, 11 * MIB + 512, 64 * 1024));
    }
    free(bytes);
    free(zeros);
}

/* 4 KiB, from 1 MiB on in `source`, by whatever way the file system has for it. */
static void copy_from(struct backing *source, uint64_t to_bytes)
{
    struct backing_copy copy = { .source = source, .destination = bench.image };
    struct backing_copy_part part;

    copy.source_offset_bytes = MIB;
    copy.destination_offset_bytes = to_bytes;
    copy.len_bytes = 4096;
    for (int i = 0; i < 10 && copy.len_bytes; i++) {
        backing_copy_plan(&copy, &part);
        assert_int_equal(backing_copy_step(&copy, &part), 0);
    }
    assert_int_equal(copy.len_bytes, 0);
}

/* Another image with these 4 KiB at 1 MiB. */
static struct backing *open_other(uint8_t *bytes)
{
    struct backing_options options = { .size_bytes = SIZE_BYTES, .is_new_allowed = true };
    struct io io = { .op = IO_WRITE, .bytes = bytes, .len_bytes = 4096, .offset_bytes = MIB };
    struct backing_error error;

    options.path = scratch_file(&bench.scratch, "other");
    assert_int_equal(backing_open(&options, &io.backing, &error), 0);
    backing_run(&io);
    assert_int_equal(io.result, 0);
    return io.backing;
}

/* As a command reads them: inline where that is possible. */
static void expect_bytes(const uint8_t *bytes, uint64_t offset_bytes)
{
    uint8_t got[4096];
    struct iovec iov = { got, sizeof got };

    if (backing_try_read(bench.image, &iov, 1, offset_bytes) != 0)
        run(IO_READ, got, offset_bytes, sizeof got);
    assert_memory_equal(got, bytes, sizeof got);
}

static void test_every_way_to_write_is_seen(void **state)
{
    uint8_t bytes[4096], got[4096];
    struct iovec iov = { bytes, sizeof bytes };
    struct backing *other;

    (void)state;
    open_image();
    run(IO_READ, got, 0, sizeof got); /* all of it is known to be empty */
    memset(bytes, 7, sizeof bytes);

    run(IO_WRITE, bytes, MIB, sizeof bytes);
    expect_bytes(bytes, MIB);

    int error = backing_try_write(bench.image, &iov, 1, 2 * MIB);
    if (error == 0)
        expect_bytes(bytes, 2 * MIB);
    else
        assert_int_equal(error, -EAGAIN);

    copy_from(bench.image, 5 * MIB);
    expect_bytes(bytes, 5 * MIB);

    other = open_other(bytes);
    copy_from(other, 7 * MIB);
    backing_close(other);
    expect_bytes(bytes, 7 * MIB);
}

/* Several may come at once, on a disk that hangs; they are not to take all threads. */
static void test_one_read_of_an_image_looks_at_a_time(void **state)
{
    uint8_t bytes[3][4096];
    struct io ios[3];
    bool is_asked = open_image();

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        ios[i] = (struct io){ .op = IO_READ, .backing = bench.image, .bytes = bytes[i] };
        ios[i].len_bytes = sizeof bytes[i];
    }
    transfer_begin(&ios[0], true);
    transfer_begin(&ios[1], true);
    assert_int_equal(transfer_is_look(&ios[0]), is_asked);
    assert_false(transfer_is_look(&ios[1]));
    if (is_asked)
        assert_false(transfer_went(&ios[0], 0)); /* it is not asked after all, and reads */
    transfer_begin(&ios[2], true);
    assert_int_equal(transfer_is_look(&ios[2]), is_asked);
    for (size_t i = 0; i < 3; i++) {
        transfer_run_to_sync(&ios[i]);
        assert_int_equal(ios[i].result, 0);
    }
}

enum { RACERS = 4, ROUNDS = 400 };

/* Each writes in granules of its own and reads back at once what it wrote, while the others ask. */
static void *race(void *argument)
{
    unsigned me = *(unsigned *)argument;
    uint8_t bytes[512], got[512];
    struct iovec iov = { got, sizeof got };

    for (unsigned i = 0; i < ROUNDS; i++) {
        uint64_t at = (uint64_t)(i * RACERS + me) % GRANULES * MIB + (uint64_t)(i % 2000) * 512;

        memset(bytes, (int)(i % 255 + 1), sizeof bytes);
        run(IO_WRITE, bytes, at, sizeof bytes);
        memset(got, 0, sizeof got);
        if (backing_try_read(bench.image, &iov, 1, at) != 0)
            run(IO_READ, got, at, sizeof got);
        assert_memory_equal(got, bytes, sizeof got);
        run(IO_READ, got, (at + 7 * MIB) % SIZE_BYTES, sizeof got);
    }
    return NULL;
}

static void test_no_write_is_missed_while_others_ask(void **state)
{
    pthread_t threads[RACERS];
    unsigned numbers[RACERS];

    (void)state;
    open_image();
    for (unsigned i = 0; i < RACERS; i++) {
        numbers[i] = i;
        assert_int_equal(pthread_create(&threads[i], NULL, race, &numbers[i]), 0);
    }
    for (unsigned i = 0; i < RACERS; i++)
        pthread_join(threads[i], NULL);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_nothing_is_known_before_it_is_asked),
        TEST(test_one_look_tells_of_all_up_to_the_next_data),
        TEST(test_where_data_is_nobody_asks_twice),
        TEST(test_a_range_over_data_and_holes_is_asked_about_whole),
        TEST(test_what_is_written_is_no_hole_any_more),
        TEST(test_a_look_after_the_write_began_changes_nothing),
        TEST(test_nothing_is_empty_in_a_file_that_shrank),
        TEST(test_a_granule_that_is_not_served_whole_is_data),
        TEST(test_less_than_a_granule_is_data),
        TEST(test_nothing_is_known_of_what_was_grown),
        TEST(test_large_images_are_seen_in_large_granules),
        TEST(test_an_empty_range_is_nothing),
        TEST(test_a_hole_is_read_without_filling_the_page_cache),
        TEST(test_every_way_to_write_is_seen),
        TEST(test_one_read_of_an_image_looks_at_a_time),
        TEST(test_no_write_is_missed_while_others_ask),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
