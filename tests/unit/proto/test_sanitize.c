/* SANITIZE's overwrite list */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "proto/sanitize.h"

enum { BLOCK_BYTES = 512 };

static enum sense_code parse(uint8_t flags, uint16_t pattern_bytes, size_t len,
                             struct overwrite_list *list)
{
    static uint8_t bytes[OVERWRITE_HEADER_BYTES + 2 * BLOCK_BYTES];

    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)i;
    bytes[0] = flags;
    bytes[1] = 0;
    put_be16(bytes + 2, pattern_bytes);
    return overwrite_parse(bytes, len, BLOCK_BYTES, list);
}

static void test_a_pattern_is_repeated_in_each_block(void **state)
{
    uint8_t block[BLOCK_BYTES];
    struct overwrite_list list;

    (void)state;
    assert_int_equal(parse(0x03, 3, 7, &list), SENSE_NONE);
    assert_int_equal(list.passes, 3);
    assert_false(list.is_inverted);
    overwrite_block(&list, block, BLOCK_BYTES);
    for (unsigned i = 0; i < BLOCK_BYTES; i++)
        assert_int_equal(block[i], 4 + i % 3);
}

static void test_the_passes_may_alternate(void **state)
{
    struct overwrite_list list;

    (void)state;
    assert_int_equal(parse(0x9f, BLOCK_BYTES, 4 + BLOCK_BYTES, &list), SENSE_NONE);
    assert_int_equal(list.passes, 31);
    assert_true(list.is_inverted);
}

static void test_lists_that_ask_for_nothing_sensible_are_refused(void **state)
{
    struct overwrite_list list;

    (void)state;
    assert_int_equal(parse(0x00, 4, 8, &list), SENSE_INVALID_FIELD_IN_CDB); /* no pass */
    assert_int_equal(parse(0x21, 4, 8, &list), SENSE_INVALID_FIELD_IN_CDB); /* TEST 01b */
    assert_int_equal(parse(0x41, 4, 8, &list), SENSE_INVALID_FIELD_IN_CDB); /* TEST 10b */
    assert_int_equal(parse(0x01, 0, 8, &list), SENSE_INVALID_FIELD_IN_CDB);
    assert_int_equal(parse(0x01, BLOCK_BYTES + 1, 4 + BLOCK_BYTES + 1, &list),
                     SENSE_INVALID_FIELD_IN_CDB);
    for (size_t len = 0; len < 8; len++)
        assert_int_equal(parse(0x01, 4, len, &list), SENSE_INVALID_FIELD_IN_CDB);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_pattern_is_repeated_in_each_block),
        cmocka_unit_test(test_the_passes_may_alternate),
        cmocka_unit_test(test_lists_that_ask_for_nothing_sensible_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
