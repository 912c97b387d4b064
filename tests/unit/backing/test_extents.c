/* what is a hole of an image and what is data, and how data becomes a hole */
#include "tests/unit/backing/scratch.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { MIB = 1024 * 1024, SIZE_BYTES = 16 * MIB, PLENTY_NS = 1000 * 1000 * 1000 };

struct bench {
    struct scratch scratch;
    struct backing *image;
};
static struct bench bench;

static int setup(void **state)
{
    (void)state;
    scratch_make(&bench.scratch);
    bench.image = scratch_image(&bench.scratch, SIZE_BYTES);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    backing_close(bench.image);
    scratch_remove(&bench.scratch);
    return 0;
}

static void fill(uint64_t offset_bytes, uint64_t len_bytes, uint8_t with)
{
    struct io io = { .op = IO_WRITE, .backing = bench.image };

    io.bytes = malloc(len_bytes);
    assert_non_null(io.bytes);
    memset(io.bytes, with, len_bytes);
    io.len_bytes = len_bytes;
    io.offset_bytes = offset_bytes;
    backing_run(&io);
    free(io.bytes);
    assert_int_equal(io.result, 0);
}

static void expect_all(uint64_t offset_bytes, uint64_t len_bytes, uint8_t with)
{
    struct io io = { .op = IO_READ, .backing = bench.image };
    uint8_t *bytes = io.bytes = malloc(len_bytes);

    assert_non_null(bytes);
    io.len_bytes = len_bytes;
    io.offset_bytes = offset_bytes;
    backing_run(&io);
    assert_int_equal(io.result, 0);
    for (uint64_t i = 0; i < len_bytes; i++)
        assert_int_equal(bytes[i], with);
    free(bytes);
}

static void expect_extent(uint64_t offset_bytes, uint64_t end_bytes, bool is_data)
{
    struct backing_extent extent;

    assert_int_equal(backing_extent(bench.image, offset_bytes, &extent), 0);
    assert_int_equal(extent.end_bytes, end_bytes);
    assert_int_equal(extent.is_data, is_data);
}

static void test_a_new_image_is_one_hole(void **state)
{
    (void)state;
    expect_extent(0, SIZE_BYTES, false);
    expect_extent(SIZE_BYTES - 1, SIZE_BYTES, false);
}

static void test_data_and_holes_take_turns(void **state)
{
    (void)state;
    fill(MIB, MIB, 1);
    expect_extent(0, MIB, false);
    expect_extent(MIB, 2 * MIB, true);
    expect_extent(MIB + 5000, 2 * MIB, true);
    expect_extent(2 * MIB, SIZE_BYTES, false);
    fill(SIZE_BYTES - MIB, MIB, 1);
    expect_extent(SIZE_BYTES - MIB, SIZE_BYTES, true);
}

static void test_there_is_nothing_behind_the_end(void **state)
{
    struct backing_extent extent;

    (void)state;
    assert_int_equal(backing_extent(bench.image, SIZE_BYTES, &extent), -EINVAL);
}

static void test_a_discarded_range_reads_as_zeros_and_its_neighbours_stay(void **state)
{
    enum { FROM = MIB + 512, LEN = 3 * MIB - 1024 };
    uint64_t done_bytes;

    (void)state;
    fill(0, 6 * MIB, 0xa5);
    assert_int_equal(backing_discard_some(bench.image, FROM, LEN, PLENTY_NS, &done_bytes), 0);
    assert_int_equal(done_bytes, LEN);
    expect_all(0, FROM, 0xa5);
    expect_all(FROM, LEN, 0);
    expect_all(FROM + LEN, 6 * MIB - FROM - LEN, 0xa5);
}

static void test_what_is_discarded_takes_no_space(void **state)
{
    struct backing_usage before, after;
    uint64_t done_bytes;

    (void)state;
    fill(0, 8 * MIB, 1);
    assert_int_equal(backing_usage(bench.image, &before), 0);
    assert_int_equal(backing_discard_some(bench.image, 0, SIZE_BYTES, PLENTY_NS, &done_bytes), 0);
    assert_int_equal(done_bytes, SIZE_BYTES);
    assert_int_equal(backing_usage(bench.image, &after), 0);
    assert_true(before.allocated_bytes >= 8 * MIB);
    assert_true(after.allocated_bytes < MIB);
}

static void test_without_time_it_comes_a_piece_further_each_time(void **state)
{
    uint64_t at_bytes = 0, done_bytes;
    unsigned slices = 0;

    (void)state;
    fill(0, SIZE_BYTES, 1);
    while (at_bytes < SIZE_BYTES && slices++ < 100) {
        assert_int_equal(
            backing_discard_some(bench.image, at_bytes, SIZE_BYTES - at_bytes, 0, &done_bytes), 0);
        assert_true(done_bytes > 0);
        at_bytes += done_bytes;
    }
    assert_int_equal(at_bytes, SIZE_BYTES);
    assert_true(slices > 1);
    expect_all(0, SIZE_BYTES, 0);
}

static void test_what_is_not_inside_the_image_is_refused(void **state)
{
    uint64_t done_bytes;

    (void)state;
    assert_int_equal(backing_discard_some(bench.image, SIZE_BYTES, 512, PLENTY_NS, &done_bytes),
                     -EINVAL);
    assert_int_equal(done_bytes, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_new_image_is_one_hole),
        TEST(test_data_and_holes_take_turns),
        TEST(test_there_is_nothing_behind_the_end),
        TEST(test_a_discarded_range_reads_as_zeros_and_its_neighbours_stay),
        TEST(test_what_is_discarded_takes_no_space),
        TEST(test_without_time_it_comes_a_piece_further_each_time),
        TEST(test_what_is_not_inside_the_image_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
