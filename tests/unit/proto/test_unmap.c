/* UNMAP's parameter list: lengths that agree, limits, and ranges that lie on the unit */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "proto/unmap.h"

enum { UNIT_BLOCKS = 1000, DESCRIPTORS_MAX = 4, LIST_BYTES_MAX = 8 + 16 * 6 };

static const struct unmap_limits limits = {
    .unit_blocks = UNIT_BLOCKS,
    .descriptors_max = DESCRIPTORS_MAX,
};

/* A list whose lengths agree; its descriptors are blocks 10 to 19, 20 to 29, ... */
static size_t list_of(uint8_t bytes[LIST_BYTES_MAX], unsigned count)
{
    memset(bytes, 0, LIST_BYTES_MAX);
    put_be16(bytes, (uint16_t)(6 + 16 * count));
    put_be16(bytes + 2, (uint16_t)(16 * count));
    for (unsigned i = 0; i < count; i++) {
        put_be64(bytes + 8 + 16 * i, 10 + 10 * i);
        put_be32(bytes + 8 + 16 * i + 8, 10);
    }
    return 8 + 16 * count;
}

static enum sense_code parse(const uint8_t *bytes, size_t len, struct unmap_list *list)
{
    uint16_t byte;

    return unmap_parse(bytes, len, &limits, list, &byte);
}

static void test_descriptors_come_out_as_they_went_in(void **state)
{
    uint8_t bytes[LIST_BYTES_MAX];
    struct unmap_list list;

    (void)state;
    assert_int_equal(parse(bytes, list_of(bytes, DESCRIPTORS_MAX), &list), SENSE_NONE);
    assert_int_equal(list.count, DESCRIPTORS_MAX);
    for (unsigned i = 0; i < DESCRIPTORS_MAX; i++) {
        assert_int_equal(unmap_range(&list, i).lba, 10 + 10 * i);
        assert_int_equal(unmap_range(&list, i).blocks, 10);
    }
}

static void test_one_descriptor_more_than_told_is_refused(void **state)
{
    uint8_t bytes[LIST_BYTES_MAX];
    struct unmap_list list;

    (void)state;
    assert_int_equal(parse(bytes, list_of(bytes, DESCRIPTORS_MAX + 1), &list),
                     SENSE_INVALID_FIELD_IN_PARAMETER_LIST);
}

static void test_no_descriptors_are_no_error(void **state)
{
    uint8_t bytes[LIST_BYTES_MAX];
    struct unmap_list list;

    (void)state;
    assert_int_equal(parse(bytes, list_of(bytes, 0), &list), SENSE_NONE);
    assert_int_equal(list.count, 0);
}

static void test_the_part_of_a_descriptor_is_ignored(void **state)
{
    uint8_t bytes[LIST_BYTES_MAX];
    struct unmap_list list;
    size_t len = list_of(bytes, 2);

    (void)state;
    put_be16(bytes + 2, 31);
    assert_int_equal(parse(bytes, len, &list), SENSE_NONE);
    assert_int_equal(list.count, 1);
}

static void test_lists_that_are_cut_short_are_refused(void **state)
{
    uint8_t bytes[LIST_BYTES_MAX];
    struct unmap_list list;
    size_t len = list_of(bytes, 2);

    (void)state;
    for (size_t i = 0; i < len; i++)
        assert_int_equal(parse(bytes, i, &list), SENSE_PARAMETER_LIST_LENGTH_ERROR);
}

static void test_lengths_that_contradict_each_other_are_refused(void **state)
{
    uint8_t bytes[LIST_BYTES_MAX];
    struct unmap_list list;
    size_t len = list_of(bytes, 2);

    (void)state;
    put_be16(bytes, 6 + 16); /* room for one, and two are said to be there */
    assert_int_equal(parse(bytes, len, &list), SENSE_INVALID_FIELD_IN_PARAMETER_LIST);
    put_be16(bytes + 2, 0xffff);
    put_be16(bytes, 0xffff);
    assert_int_equal(parse(bytes, len, &list), SENSE_INVALID_FIELD_IN_PARAMETER_LIST);
}

static void test_ranges_must_lie_on_the_unit(void **state)
{
    static const struct {
        uint64_t lba;
        uint32_t blocks;
        enum sense_code code;
    } cases[] = {
        {UNIT_BLOCKS - 1,  1,          SENSE_NONE            },
        { UNIT_BLOCKS - 1, 2,          SENSE_LBA_OUT_OF_RANGE},
        { UNIT_BLOCKS,     0,          SENSE_NONE            },
        { UNIT_BLOCKS,     1,          SENSE_LBA_OUT_OF_RANGE},
        { UNIT_BLOCKS + 1, 0,          SENSE_LBA_OUT_OF_RANGE},
        { UINT64_MAX,      1,          SENSE_LBA_OUT_OF_RANGE}, /* the sum wraps to 0 */
        { 0,               UINT32_MAX, SENSE_LBA_OUT_OF_RANGE},
    };
    uint8_t bytes[LIST_BYTES_MAX];
    struct unmap_list list;

    (void)state;
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t len = list_of(bytes, 2);
        put_be64(bytes + 24, cases[i].lba);
        put_be32(bytes + 32, cases[i].blocks);
        assert_int_equal(parse(bytes, len, &list), cases[i].code);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_descriptors_come_out_as_they_went_in),
        cmocka_unit_test(test_one_descriptor_more_than_told_is_refused),
        cmocka_unit_test(test_no_descriptors_are_no_error),
        cmocka_unit_test(test_the_part_of_a_descriptor_is_ignored),
        cmocka_unit_test(test_lists_that_are_cut_short_are_refused),
        cmocka_unit_test(test_lengths_that_contradict_each_other_are_refused),
        cmocka_unit_test(test_ranges_must_lie_on_the_unit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
