/* MODE SENSE data and MODE SELECT parameter lists, SPC-4 6.9 to 6.12 and 7.5 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "proto/mode_pages.h"

static const struct mode_facts facts = { .blocks = 0x1234, .block_bytes = 512 };
static uint8_t bytes[MODE_SENSE_BYTES_MAX];
static size_t len;

static enum sense_code sense(const struct mode_facts *of, struct mode_sense_request request)
{
    struct builder out = builder_over(bytes, sizeof bytes);
    enum sense_code code;
    uint16_t byte;

    memset(bytes, 0xdb, sizeof bytes);
    code = mode_sense_build(&out, of, &request, &byte);
    len = out.len;
    return code;
}

static void test_header_6_tells_lengths_and_what_is_protected(void **state)
{
    struct mode_facts protected = facts;
    const uint8_t expected[] = { 4 + 8 + 20 - 1, 0, 0x90, 8, 0, 0, 0x12, 0x34, 0, 0, 0x02, 0x00 };

    (void)state;
    protected.is_write_protected = true;
    assert_int_equal(sense(&protected, (struct mode_sense_request){ .page = 0x08 }), SENSE_NONE);
    assert_int_equal(len, 4 + 8 + 20);
    assert_memory_equal(bytes, expected, sizeof expected);
}

static void test_header_10_has_the_long_descriptor_when_asked(void **state)
{
    const uint8_t expected[] = { 0,    8 + 16 + 12 - 2,
                                 0,    0x10,
                                 0x01, 0,
                                 0,    16,
                                 0,    0,
                                 0,    1,
                                 0,    0,
                                 0,    0,
                                 0,    0,
                                 0,    0,
                                 0,    0,
                                 0x02, 0x00 };
    struct mode_facts large = facts;

    (void)state;
    large.blocks = 1ULL << 32;
    assert_int_equal(
        sense(&large, (struct mode_sense_request){ .is_10 = true, .long_lba = true, .page = 0x0a }),
        SENSE_NONE);
    assert_memory_equal(bytes, expected, sizeof expected);
}

static void test_short_descriptor_of_a_large_unit_is_all_ones(void **state)
{
    const uint8_t expected[] = { 0xff, 0xff, 0xff, 0xff, 0, 0, 0x02, 0x00 };
    struct mode_facts large = facts;

    (void)state;
    large.blocks = 1ULL << 32;
    sense(&large, (struct mode_sense_request){ .page = 0x0a });
    assert_memory_equal(bytes + 4, expected, sizeof expected);
}

static void test_dbd_leaves_the_descriptor_out(void **state)
{
    (void)state;
    sense(&facts, (struct mode_sense_request){ .no_descriptors = true, .page = 0x1c });
    assert_int_equal(bytes[3], 0);
    assert_int_equal(bytes[4], 0x1c);
    assert_int_equal(len, 4 + 12);
}

static void test_all_pages_come_in_ascending_order(void **state)
{
    static const uint8_t pages[] = { 0x01, 0x02, 0x03, 0x04, 0x08, 0x0a, 0x1c };
    size_t at = 4;

    (void)state;
    assert_int_equal(
        sense(&facts,
              (struct mode_sense_request){ .no_descriptors = true, .page = 0x3f, .subpage = 0xff }),
        SENSE_NONE);
    for (unsigned i = 0; i < sizeof pages; i++) {
        assert_true(at + 2 <= len);
        assert_int_equal(bytes[at], pages[i]);
        at += bytes[at + 1] + 2u;
    }
    assert_int_equal(at, len);
}

static void test_wce_says_what_the_cache_does(void **state)
{
    struct mode_facts cached = facts;

    (void)state;
    cached.has_write_cache = true;
    sense(&cached, (struct mode_sense_request){ .no_descriptors = true, .page = 0x08 });
    assert_int_equal(bytes[4 + 2], 0x04);
    sense(&facts, (struct mode_sense_request){ .no_descriptors = true, .page = 0x08 });
    assert_int_equal(bytes[4 + 2], 0x00);
}

static void test_only_d_sense_and_swp_are_changeable(void **state)
{
    (void)state;
    sense(&facts,
          (struct mode_sense_request){ .no_descriptors = true, .page_control = 1, .page = 0x3f });
    for (size_t at = 4; at < len; at += bytes[at + 1] + 2u) {
        for (unsigned i = 2; i < bytes[at + 1] + 2u; i++) {
            uint8_t mask = 0;
            if (bytes[at] == 0x0a)
                mask = i == 2 ? 0x04 : i == 4 ? 0x08 : 0;
            assert_int_equal(bytes[at + i], mask);
        }
    }
}

static void test_default_values_are_told_whatever_holds_now(void **state)
{
    struct mode_facts changed = facts;

    (void)state;
    changed.has_descriptor_sense = changed.is_software_write_protected = true;
    sense(&changed, (struct mode_sense_request){ .no_descriptors = true, .page = 0x0a });
    assert_int_equal(bytes[4 + 2] & 0x04, 0x04);
    assert_int_equal(bytes[4 + 4] & 0x08, 0x08);
    sense(&changed,
          (struct mode_sense_request){ .no_descriptors = true, .page_control = 2, .page = 0x0a });
    assert_int_equal(bytes[4 + 2] & 0x04, 0);
    assert_int_equal(bytes[4 + 4] & 0x08, 0);
}

static void test_saved_values_are_refused(void **state)
{
    (void)state;
    assert_int_equal(sense(&facts, (struct mode_sense_request){ .page_control = 3, .page = 0x0a }),
                     SENSE_CODE(0x5, 0x39, 0x00));
}

static void test_unknown_pages_and_subpages_are_refused(void **state)
{
    (void)state;
    assert_int_equal(sense(&facts, (struct mode_sense_request){ .page = 0x19 }),
                     SENSE_CODE(0x5, 0x24, 0x00));
    assert_int_equal(sense(&facts, (struct mode_sense_request){ .page = 0x0a, .subpage = 1 }),
                     SENSE_CODE(0x5, 0x24, 0x00));
}

/* ---- MODE SELECT ---- */

static struct mode_changes changes;
static uint16_t field_byte;

static enum sense_code take(const uint8_t *list, size_t list_len, bool is_10)
{
    return mode_select_parse(list, list_len, is_10, &facts, &changes, &field_byte);
}

static void test_what_sense_tells_select_takes(void **state)
{
    (void)state;
    sense(&facts, (struct mode_sense_request){ .page = 0x3f });
    assert_int_equal(take(bytes, len, false), SENSE_NONE);
    sense(&facts, (struct mode_sense_request){ .is_10 = true, .long_lba = true, .page = 0x3f });
    assert_int_equal(take(bytes, len, true), SENSE_NONE);
}

static void test_select_changes_d_sense_and_swp(void **state)
{
    (void)state;
    sense(&facts, (struct mode_sense_request){ .no_descriptors = true, .page = 0x0a });
    bytes[4 + 2] |= 0x04;
    bytes[4 + 4] |= 0x08;
    assert_int_equal(take(bytes, len, false), SENSE_NONE);
    assert_true(changes.has_descriptor_sense);
    assert_true(changes.is_software_write_protected);
}

static void test_select_of_another_field_is_refused_at_its_byte(void **state)
{
    (void)state;
    sense(&facts, (struct mode_sense_request){ .no_descriptors = true, .page = 0x08 });
    bytes[4 + 2] ^= 0x04; /* WCE is the configuration's */
    assert_int_equal(take(bytes, len, false), SENSE_CODE(0x5, 0x26, 0x00));
    assert_int_equal(field_byte, 6);
}

static void test_select_of_another_block_size_is_refused(void **state)
{
    (void)state;
    sense(&facts, (struct mode_sense_request){ .page = 0x0a });
    bytes[4 + 6] = 0x10;
    assert_int_equal(take(bytes, len, false), SENSE_CODE(0x5, 0x26, 0x00));
}

static void test_every_cut_list_is_a_length_error_or_ends_at_a_page(void **state)
{
    (void)state;
    sense(&facts, (struct mode_sense_request){ .page = 0x0a });
    for (size_t cut = 0; cut < len; cut++) {
        enum sense_code code = take(bytes, cut, false);
        if (cut == 4 + 8)
            assert_int_equal(code, SENSE_NONE); /* no page at all */
        else
            assert_int_equal(code, SENSE_CODE(0x5, 0x1a, 0x00));
    }
}

static void test_select_of_a_wrong_page_length_is_refused(void **state)
{
    (void)state;
    sense(&facts, (struct mode_sense_request){ .no_descriptors = true, .page = 0x0a });
    bytes[5] = 0x08;
    assert_int_equal(take(bytes, len, false), SENSE_CODE(0x5, 0x26, 0x00));
    assert_int_equal(field_byte, 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_header_6_tells_lengths_and_what_is_protected),
        cmocka_unit_test(test_header_10_has_the_long_descriptor_when_asked),
        cmocka_unit_test(test_short_descriptor_of_a_large_unit_is_all_ones),
        cmocka_unit_test(test_dbd_leaves_the_descriptor_out),
        cmocka_unit_test(test_all_pages_come_in_ascending_order),
        cmocka_unit_test(test_wce_says_what_the_cache_does),
        cmocka_unit_test(test_only_d_sense_and_swp_are_changeable),
        cmocka_unit_test(test_default_values_are_told_whatever_holds_now),
        cmocka_unit_test(test_saved_values_are_refused),
        cmocka_unit_test(test_unknown_pages_and_subpages_are_refused),
        cmocka_unit_test(test_what_sense_tells_select_takes),
        cmocka_unit_test(test_select_changes_d_sense_and_swp),
        cmocka_unit_test(test_select_of_another_field_is_refused_at_its_byte),
        cmocka_unit_test(test_select_of_another_block_size_is_refused),
        cmocka_unit_test(test_every_cut_list_is_a_length_error_or_ends_at_a_page),
        cmocka_unit_test(test_select_of_a_wrong_page_length_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
