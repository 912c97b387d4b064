/* LOG SENSE data: which pages there are, and where their values stand */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "proto/log_pages.h"

static const struct log_facts thin = {
    .is_thin = true,
    .available_sets = 100,
    .used_sets = 7,
    .reads = 1,
    .writes = 2,
    .read_blocks = 3,
    .written_blocks = 4,
};
static const struct log_facts thick = { .is_thin = false };

static uint8_t bytes[LOG_BYTES_MAX];
static size_t len;

static enum sense_code build(const struct log_facts *facts, uint8_t page, uint8_t subpage,
                             uint16_t parameter)
{
    const struct log_request request = { .page = page, .subpage = subpage, .parameter = parameter };
    struct builder out = builder_over(bytes, sizeof bytes);
    uint16_t byte;
    enum sense_code code = log_sense_build(&out, facts, &request, &byte);

    len = out.len;
    return code;
}

static void expect_bytes(const uint8_t *expected, size_t expected_len)
{
    assert_int_equal(len, expected_len);
    assert_memory_equal(bytes, expected, expected_len);
}

static void test_the_supported_pages_are_listed(void **state)
{
    static const uint8_t of_thin[] = { 0x00, 0x00, 0x00, 0x04, 0x00, 0x0c, 0x19, 0x2f };
    static const uint8_t of_thick[] = { 0x00, 0x00, 0x00, 0x03, 0x00, 0x19, 0x2f };
    static const uint8_t with_subpages[] = { 0x40, 0xff, 0x00, 0x0a, 0x00, 0x00, 0x00,
                                             0xff, 0x0c, 0x00, 0x19, 0x00, 0x2f, 0x00 };

    (void)state;
    assert_int_equal(build(&thin, 0x00, 0x00, 0), SENSE_NONE);
    expect_bytes(of_thin, sizeof of_thin);
    assert_int_equal(build(&thick, 0x00, 0x00, 0), SENSE_NONE);
    expect_bytes(of_thick, sizeof of_thick);
    assert_int_equal(build(&thin, 0x00, 0xff, 0), SENSE_NONE);
    expect_bytes(with_subpages, sizeof with_subpages);
}

static void test_provisioning_tells_what_is_left_and_what_is_used(void **state)
{
    static const uint8_t page[] = {
        0x8c, 0x00, 0x00, 0x18,                           /* */
        0x00, 0x01, 0x03, 0x08, 0, 0, 0, 100, 2, 0, 0, 0, /* */
        0x00, 0x02, 0x03, 0x08, 0, 0, 0, 7,   1, 0, 0, 0,
    };

    (void)state;
    assert_int_equal(build(&thin, 0x0c, 0, 0), SENSE_NONE);
    expect_bytes(page, sizeof page);
    assert_int_equal(build(&thin, 0x0c, 0, 2), SENSE_NONE); /* from the second parameter on */
    assert_int_equal(len, 16);
    assert_int_equal(get_be16(bytes + 4), 2);
}

static void test_statistics_tell_what_was_counted(void **state)
{
    (void)state;
    assert_int_equal(build(&thin, 0x19, 0, 0), SENSE_NONE);
    assert_int_equal(len, 4 + 4 + 64);
    assert_int_equal(get_be64(bytes + 8), 1);
    assert_int_equal(get_be64(bytes + 16), 2);
    assert_int_equal(get_be64(bytes + 24), 4); /* received: written */
    assert_int_equal(get_be64(bytes + 32), 3); /* transmitted: read */
}

static void test_no_exceptions_are_reported(void **state)
{
    static const uint8_t page[] = { 0xaf, 0x00, 0x00, 0x08, 0x00, 0x00,
                                    0x03, 0x04, 0x00, 0x00, 0xff, 0x00 };

    (void)state;
    assert_int_equal(build(&thick, 0x2f, 0, 0), SENSE_NONE);
    expect_bytes(page, sizeof page);
}

static void test_what_is_not_there_is_refused(void **state)
{
    (void)state;
    assert_int_equal(build(&thick, 0x0c, 0, 0), SENSE_INVALID_FIELD_IN_CDB);
    assert_int_equal(build(&thin, 0x0d, 0, 0), SENSE_INVALID_FIELD_IN_CDB);
    assert_int_equal(build(&thin, 0x0c, 1, 0), SENSE_INVALID_FIELD_IN_CDB);
    assert_int_equal(build(&thin, 0x0c, 0, 3), SENSE_INVALID_FIELD_IN_CDB);
    assert_int_equal(build(&thin, 0x00, 0, 1), SENSE_INVALID_FIELD_IN_CDB);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_supported_pages_are_listed),
        cmocka_unit_test(test_provisioning_tells_what_is_left_and_what_is_used),
        cmocka_unit_test(test_statistics_tell_what_was_counted),
        cmocka_unit_test(test_no_exceptions_are_reported),
        cmocka_unit_test(test_what_is_not_there_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
