/* sense data, SPC-4 4.5 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "proto/sense.h"

static void test_fixed_sense_has_key_and_codes_in_their_bytes(void **state)
{
    uint8_t sense[SENSE_BYTES_MAX];

    (void)state;
    assert_int_equal(sense_build(sense, SENSE_LBA_OUT_OF_RANGE, NULL, false), 18);
    assert_int_equal(sense[0], 0x70);
    assert_int_equal(sense[2], 0x05);
    assert_int_equal(sense[7], 10);
    assert_int_equal(sense[12], 0x21);
    assert_int_equal(sense[13], 0x00);
}

static void test_fixed_sense_points_at_a_cdb_field(void **state)
{
    const struct sense_details details = { .has_field = true,
                                           .is_field_in_cdb = true,
                                           .field_byte = 0x0102 };
    uint8_t sense[SENSE_BYTES_MAX];

    (void)state;
    sense_build(sense, SENSE_INVALID_FIELD_IN_CDB, &details, false);
    assert_int_equal(sense[15], 0xc0); /* SKSV, C/D */
    assert_int_equal(sense[16], 0x01);
    assert_int_equal(sense[17], 0x02);
}

static void test_fixed_sense_points_at_a_parameter_list_field(void **state)
{
    const struct sense_details details = { .has_field = true, .field_byte = 4 };
    uint8_t sense[SENSE_BYTES_MAX];

    (void)state;
    sense_build(sense, SENSE_INVALID_FIELD_IN_PARAMETER_LIST, &details, false);
    assert_int_equal(sense[15], 0x80);
    assert_int_equal(sense[17], 4);
}

static void test_fixed_sense_tells_information_that_fits(void **state)
{
    const struct sense_details details = { .has_information = true, .information = 0xfffffffe };
    const uint8_t expected[] = { 0xff, 0xff, 0xff, 0xfe };
    uint8_t sense[SENSE_BYTES_MAX];

    (void)state;
    sense_build(sense, SENSE_MISCOMPARE, &details, false);
    assert_int_equal(sense[0], 0xf0);
    assert_int_equal(sense[2], 0x0e);
    assert_memory_equal(sense + 3, expected, 4);
}

static void test_fixed_sense_leaves_out_information_beyond_32_bits(void **state)
{
    const struct sense_details details = { .has_information = true, .information = 1ULL << 32 };
    const uint8_t nothing[4] = { 0 };
    uint8_t sense[SENSE_BYTES_MAX];

    (void)state;
    sense_build(sense, SENSE_MISCOMPARE, &details, false);
    assert_int_equal(sense[0], 0x70);
    assert_memory_equal(sense + 3, nothing, 4);
}

static void test_descriptor_sense_carries_both_descriptors(void **state)
{
    const struct sense_details details = { .has_information = true,
                                           .information = 0x0102030405060708,
                                           .has_field = true,
                                           .is_field_in_cdb = true,
                                           .field_byte = 2 };
    const uint8_t expected[] = {
        0x72, 0x05, 0x24, 0x00, 0,    0, 0, 20,             /* header */
        0x00, 0x0a, 0x80, 0,    1,    2, 3, 4,  5, 6, 7, 8, /* information */
        0x02, 0x06, 0,    0,    0xc0, 0, 2, 0,              /* sense key specific */
    };
    uint8_t sense[SENSE_BYTES_MAX];

    (void)state;
    assert_int_equal(sense_build(sense, SENSE_INVALID_FIELD_IN_CDB, &details, true),
                     sizeof expected);
    assert_memory_equal(sense, expected, sizeof expected);
}

/* SPC-4 5.17.7.4 b), c), e) and f) */
static const struct sense_details copy_failed = {
    .has_information = true,
    .information = 0x20,
    .has_field = true,
    .field_byte = 0x30,
    .has_segment = true,
    .segment = 0x0102,
    .forwarded = {.from = SENSE_FROM_DESTINATION, .status = 0x02, .code = SENSE_WRITE_ERROR},
};

static void test_fixed_sense_of_a_failed_copy_brings_the_destinations(void **state)
{
    const uint8_t expected[] = {
        0xf0, 0, 0x0a, 0, 0, 0, 0x20, 29, 0, 18, 0x01, 0x02, 0x0d, 0x01, 0, 0x80, 0, 0x30,
        0x02, /* the status, then the sense data */
        0x70, 0, 0x03, 0, 0, 0, 0,    10, 0, 0,  0,    0,    0x0c, 0x00, 0, 0,    0, 0,
    };
    uint8_t sense[SENSE_BYTES_MAX];

    (void)state;
    assert_int_equal(sense_build(sense, SENSE_COPY_THIRD_PARTY_FAILURE, &copy_failed, false),
                     sizeof expected);
    assert_memory_equal(sense, expected, sizeof expected);
}

static void test_descriptor_sense_of_a_failed_copy_brings_the_destinations(void **state)
{
    const uint8_t expected[] = {
        0x72, 0x0a, 0x0d, 0x01, 0,    0, 0,    54,                  /* header */
        0x00, 0x0a, 0x80, 0,    0,    0, 0,    0,    0, 0, 0, 0x20, /* information: the residue */
        0x01, 0x0a, 0,    0,    0,    0, 0x01, 0x02, 0, 0, 0, 0,    /* command-specific */
        0x02, 0x06, 0,    0,    0x80, 0, 0x30, 0,                   /* sense key specific */
        0x0c, 20,   0x02, 0x02,                                     /* forwarded sense data */
        0x70, 0,    0x03, 0,    0,    0, 0,    10,   0, 0, 0, 0,    0x0c, 0, 0, 0, 0, 0,
    };
    uint8_t sense[SENSE_BYTES_MAX];

    (void)state;
    assert_int_equal(sense_build(sense, SENSE_COPY_THIRD_PARTY_FAILURE, &copy_failed, true),
                     sizeof expected);
    assert_memory_equal(sense, expected, sizeof expected);
}

static void test_a_sources_status_without_sense_stands_alone(void **state)
{
    const struct sense_details details = {
        .has_segment = true, .forwarded = {.from = SENSE_FROM_SOURCE, .status = 0x18}
    };
    uint8_t sense[SENSE_BYTES_MAX];

    (void)state;
    assert_int_equal(sense_build(sense, SENSE_COPY_THIRD_PARTY_FAILURE, &details, false), 19);
    assert_int_equal(sense[7], 11);
    assert_int_equal(sense[8], 18);
    assert_int_equal(sense[9], 0);
    assert_int_equal(sense[18], 0x18);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fixed_sense_of_a_failed_copy_brings_the_destinations),
        cmocka_unit_test(test_descriptor_sense_of_a_failed_copy_brings_the_destinations),
        cmocka_unit_test(test_a_sources_status_without_sense_stands_alone),
        cmocka_unit_test(test_fixed_sense_has_key_and_codes_in_their_bytes),
        cmocka_unit_test(test_fixed_sense_points_at_a_cdb_field),
        cmocka_unit_test(test_fixed_sense_points_at_a_parameter_list_field),
        cmocka_unit_test(test_fixed_sense_tells_information_that_fits),
        cmocka_unit_test(test_fixed_sense_leaves_out_information_beyond_32_bits),
        cmocka_unit_test(test_descriptor_sense_carries_both_descriptors),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
