/* EXTENDED COPY(LID1) parameter lists, SPC-4 6.4 and 6.5, and what RECEIVE COPY tells */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/xcopy.h"

enum { ONE_BYTES = 16 + 32 + 28, ROOM_BYTES = 16 + 9 * 32 + 65 * 28 + 4 };

static uint8_t list[ROOM_BYTES];
static struct xcopy_list parsed;
static uint16_t field;

static void put_cscd(uint8_t *p)
{
    const uint8_t head[8] = { 0xe4, 0, 0, 0, 0x01, 0x03, 0, 16 };

    memcpy(p, head, 8);
    for (unsigned i = 0; i < 16; i++)
        p[8 + i] = (uint8_t)(0x60 + i);
    p[30] = 0x02; /* 512 */
}

static void put_segment(uint8_t *p, uint16_t blocks)
{
    memset(p, 0, 28);
    p[0] = 0x02;
    p[3] = 0x18;
    put_be16(p + 10, blocks);
    put_be64(p + 12, 0x1122334455667788);
    put_be64(p + 20, 0x0102030405060708);
}

/* A good list with as many descriptors; gives its length. */
static size_t make(unsigned cscds, unsigned segments)
{
    memset(list, 0, sizeof list);
    put_be16(list + 2, (uint16_t)(32 * cscds));
    put_be32(list + 8, 28 * segments);
    for (unsigned i = 0; i < cscds; i++)
        put_cscd(list + 16 + 32 * i);
    for (unsigned i = 0; i < segments; i++)
        put_segment(list + 16 + 32 * cscds + 28 * i, (uint16_t)(i + 1));
    return 16 + 32 * cscds + 28 * segments;
}

/* Of exactly that many bytes in memory, so that a read beyond them is seen. */
static enum sense_code parse(size_t len)
{
    uint8_t *bytes = malloc(len);
    enum sense_code code;

    assert_non_null(bytes);
    memcpy(bytes, list, len);
    field = 0xffff;
    code = xcopy_parse(bytes, len, &parsed, &field);
    free(bytes);
    return code;
}

static void expect_field(size_t len, enum sense_code code, uint16_t byte)
{
    assert_int_equal(parse(len), code);
    assert_int_equal(field, byte);
}

static void test_a_list_is_read_field_by_field(void **state)
{
    size_t len = make(2, 2);

    (void)state;
    list[0] = 7;
    list[1] = 0x20 | 2 << 3 | 5; /* STR, list ID discarded, a priority */
    list[16 + 29] = 0x00;
    put_be16(list + 16 + 64 + 28 + 4, 1);
    put_be16(list + 16 + 64 + 28 + 6, 0xffff);
    assert_int_equal(parse(len), SENSE_NONE);
    assert_int_equal(parsed.list_id, 7);
    assert_int_equal(parsed.usage, XCOPY_LIST_ID_DISCARDED);
    assert_int_equal(parsed.cscd_count, 2);
    assert_int_equal(parsed.segment_count, 2);
    assert_int_equal(parsed.cscds[1].code_set, 1);
    assert_int_equal(parsed.cscds[1].association, 0);
    assert_int_equal(parsed.cscds[1].designator_type, 3);
    assert_int_equal(parsed.cscds[1].designator_len, 16);
    assert_memory_equal(parsed.cscds[1].designator, list + 16 + 32 + 8, 16);
    assert_int_equal(parsed.cscds[1].block_bytes, 512);
    assert_false(parsed.cscds[1].is_null);
    assert_int_equal(parsed.segments[1].source, 1);
    assert_int_equal(parsed.segments[1].destination, 0xffff);
    assert_int_equal(parsed.segments[1].blocks, 2);
    assert_true(parsed.segments[1].source_lba == 0x1122334455667788);
    assert_true(parsed.segments[1].destination_lba == 0x0102030405060708);
}

static void test_every_shorter_list_is_a_length_error(void **state)
{
    size_t len = make(2, 1);

    (void)state;
    for (size_t shorter = 1; shorter < len; shorter++)
        assert_int_equal(parse(shorter), SENSE_PARAMETER_LIST_LENGTH_ERROR);
    assert_int_equal(parse(len), SENSE_NONE);
    assert_int_equal(parse(len + 4), SENSE_NONE); /* what follows belongs to nobody */
}

static void test_huge_lengths_do_not_wrap(void **state)
{
    size_t len = make(1, 1);

    (void)state;
    put_be32(list + 8, 0xffffffff);
    assert_int_equal(parse(len), SENSE_PARAMETER_LIST_LENGTH_ERROR);
    put_be32(list + 8, 0xffffffe0); /* 32 + this is 0 in 32 bits */
    assert_int_equal(parse(len), SENSE_PARAMETER_LIST_LENGTH_ERROR);
    make(1, 1);
    put_be16(list + 2, 0xffe0);
    assert_int_equal(parse(len), SENSE_PARAMETER_LIST_LENGTH_ERROR);
}

static void test_the_most_descriptors_are_taken_and_one_more_is_not(void **state)
{
    (void)state;
    assert_int_equal(parse(make(8, 64)), SENSE_NONE);
    assert_int_equal(parsed.segments[63].blocks, 64);
    assert_int_equal(parse(make(9, 1)), SENSE_TOO_MANY_TARGET_DESCRIPTORS);
    assert_int_equal(parse(make(1, 65)), SENSE_TOO_MANY_SEGMENT_DESCRIPTORS);
    /* SPC-4 6.4.3.5: together longer than MAXIMUM DESCRIPTOR LIST LENGTH */
    assert_int_equal(parse(make(9, 65)), SENSE_PARAMETER_LIST_LENGTH_ERROR);
}

static void test_unknown_descriptor_types_are_named(void **state)
{
    (void)state;
    make(2, 1);
    list[16 + 32] = 0xe0;
    expect_field(16 + 64 + 28, SENSE_UNSUPPORTED_TARGET_DESCRIPTOR, 48);
    make(1, 2);
    list[16 + 32 + 28] = 0x03;
    list[16 + 32 + 28 + 3] = 0x10;
    put_be32(list + 8, 28 + 20); /* stream to stream is shorter */
    expect_field(16 + 32 + 28 + 20, SENSE_UNSUPPORTED_SEGMENT_DESCRIPTOR, 76);
}

static void test_inline_data_is_refused(void **state)
{
    size_t len = make(1, 1);

    (void)state;
    put_be32(list + 12, 4);
    expect_field(len + 4, SENSE_INLINE_DATA_LENGTH_EXCEEDED, 12);
}

static void test_a_list_without_identifier_has_none(void **state)
{
    size_t len = make(1, 1);

    (void)state;
    list[1] = 3 << 3;
    assert_int_equal(parse(len), SENSE_NONE);
    assert_int_equal(parsed.usage, XCOPY_LIST_ID_NONE);
    list[0] = 1;
    expect_field(len, SENSE_INVALID_FIELD_IN_PARAMETER_LIST, 0);
    list[1] = 1 << 3;
    expect_field(len, SENSE_INVALID_FIELD_IN_PARAMETER_LIST, 1);
}

static void test_bad_fields_are_pointed_at(void **state)
{
    const struct {
        unsigned at;
        uint8_t value;
        uint16_t pointer;
    } rows[] = {
        {3,       31,   2     }, /* not whole CSCD descriptors */
        { 17,     0xc0, 17    }, /* LU ID TYPE */
        { 16 + 7, 21,   16 + 7}, /* DESIGNATOR LENGTH */
        { 48 + 1, 0x04, 48 + 1}, /* a bit that is none of DC and CAT */
        { 48 + 3, 0x17, 48 + 2}, /* DESCRIPTOR LENGTH */
        { 48 + 3, 0x19, 48 + 2},
    };

    (void)state;
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        size_t len = make(1, 1);
        list[rows[i].at] = rows[i].value;
        expect_field(len, SENSE_INVALID_FIELD_IN_PARAMETER_LIST, rows[i].pointer);
    }
}

static void test_dc_cat_pad_and_the_null_bit_are_taken(void **state)
{
    size_t len = make(1, 1);

    (void)state;
    list[16 + 1] = 0x20;
    list[16 + 28] = 0x04;
    list[48 + 1] = 0x03;
    assert_int_equal(parse(len), SENSE_NONE);
    assert_true(parsed.cscds[0].is_null);
}

static void test_a_last_segment_that_is_cut_short_is_a_length_error(void **state)
{
    (void)state;
    make(1, 2);
    put_be32(list + 8, 28 + 27);
    assert_int_equal(parse(16 + 32 + 28 + 27), SENSE_PARAMETER_LIST_LENGTH_ERROR);
}

static void test_no_descriptors_are_no_error(void **state)
{
    (void)state;
    assert_int_equal(parse(make(0, 0)), SENSE_NONE);
    assert_int_equal(parsed.segment_count, 0);
}

/* SPC-4 table 244 */
static void test_operating_parameters_byte_for_byte(void **state)
{
    const struct xcopy_operating_facts facts = {
        .segment_bytes_max = 0x04000000,
        .copies_max = 32,
        .granularity_shift = 9,
    };
    uint8_t bytes[64], expected[46] = { 0, 0, 0, 42, 1, 0, 0, 0, 0, 8, 0, 64, 0, 0, 0x08, 0, 4 };
    struct builder out = builder_over(bytes, sizeof bytes);

    (void)state;
    expected[35] = 32;
    expected[36] = 32;
    expected[37] = 9;
    expected[43] = 2;
    expected[44] = 0x02;
    expected[45] = 0xe4;
    xcopy_operating_parameters(&out, &facts);
    assert_int_equal(out.len, sizeof expected);
    assert_memory_equal(bytes, expected, sizeof expected);
}

/* SPC-4 table 253 */
static void test_copy_status_counts_in_kibibytes_when_bytes_do_not_fit(void **state)
{
    const uint8_t done[12] = { 0, 0, 0, 8, 1, 0, 3, 0, 0, 0, 0x10, 0 };
    const uint8_t large[12] = { 0, 0, 0, 8, 2, 0, 64, 1, 0, 0x40, 0, 0 };
    uint8_t bytes[24];
    struct builder out = builder_over(bytes, sizeof bytes);

    (void)state;
    xcopy_copy_status(&out, XCOPY_COMPLETED, 3, 4096);
    xcopy_copy_status(&out, XCOPY_COMPLETED_WITH_ERRORS, 64, UINT64_C(1) << 32);
    assert_int_equal(out.len, 24);
    assert_memory_equal(bytes, done, 12);
    assert_memory_equal(bytes + 12, large, 12);
}

/* SPC-4 table 246 */
static void test_failure_details_bring_the_sense_data(void **state)
{
    const uint8_t sense[18] = { 0x70, 0, 0x0a };
    uint8_t bytes[XCOPY_DETAILS_BYTES_MAX];
    struct builder out = builder_over(bytes, sizeof bytes);

    (void)state;
    xcopy_failure_details(&out, 0x02, slice_of(sense, sizeof sense));
    assert_int_equal(out.len, 78);
    assert_int_equal(get_be32(bytes), 74);
    assert_int_equal(bytes[56], 0x02);
    assert_int_equal(get_be16(bytes + 58), 18);
    assert_memory_equal(bytes + 60, sense, sizeof sense);
    out = builder_over(bytes, sizeof bytes);
    xcopy_failure_details(&out, 0, slice_of("", 0));
    assert_int_equal(out.len, 4);
    assert_int_equal(get_be32(bytes), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_list_is_read_field_by_field),
        cmocka_unit_test(test_every_shorter_list_is_a_length_error),
        cmocka_unit_test(test_huge_lengths_do_not_wrap),
        cmocka_unit_test(test_the_most_descriptors_are_taken_and_one_more_is_not),
        cmocka_unit_test(test_unknown_descriptor_types_are_named),
        cmocka_unit_test(test_inline_data_is_refused),
        cmocka_unit_test(test_a_list_without_identifier_has_none),
        cmocka_unit_test(test_bad_fields_are_pointed_at),
        cmocka_unit_test(test_dc_cat_pad_and_the_null_bit_are_taken),
        cmocka_unit_test(test_a_last_segment_that_is_cut_short_is_a_length_error),
        cmocka_unit_test(test_no_descriptors_are_no_error),
        cmocka_unit_test(test_operating_parameters_byte_for_byte),
        cmocka_unit_test(test_copy_status_counts_in_kibibytes_when_bytes_do_not_fit),
        cmocka_unit_test(test_failure_details_bring_the_sense_data),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
