#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proto/text.h"

/* A literal with its inner NULs and the one that the compiler puts at its end. */
#define TEXT(literal) slice_of(literal, sizeof(literal))

static enum text_result first_result(struct slice text)
{
    struct text_reader reader = text_over(text);
    struct slice key, value;

    return text_next(&reader, &key, &value);
}

static void test_text_yields_its_pairs_in_order(void **state)
{
    struct text_reader reader = text_over(TEXT("HeaderDigest=CRC32C,None\0SendTargets=\0A=b=c"));
    struct slice key, value;

    (void)state;
    assert_int_equal(text_next(&reader, &key, &value), TEXT_PAIR);
    assert_true(slice_is(key, "HeaderDigest"));
    assert_true(slice_is(value, "CRC32C,None"));
    assert_int_equal(text_next(&reader, &key, &value), TEXT_PAIR);
    assert_true(slice_is(key, "SendTargets"));
    assert_int_equal(value.len, 0);
    assert_int_equal(text_next(&reader, &key, &value), TEXT_PAIR);
    assert_true(slice_is(key, "A"));
    assert_true(slice_is(value, "b=c"));
    assert_int_equal(text_next(&reader, &key, &value), TEXT_END);
    assert_int_equal(text_next(&reader, &key, &value), TEXT_END);
}

static void test_text_of_nothing_ends_at_once(void **state)
{
    (void)state;
    assert_int_equal(first_result(slice_of(NULL, 0)), TEXT_END);
    assert_int_equal(first_result(slice_of("\0\0\0", 3)), TEXT_END);
}

static void test_text_lets_padding_and_a_missing_terminator_pass(void **state)
{
    struct text_reader reader = text_over(slice_of("\0A=1\0\0\0B=2", 10));
    struct slice key, value;

    (void)state;
    assert_int_equal(text_next(&reader, &key, &value), TEXT_PAIR);
    assert_true(slice_is(value, "1"));
    assert_int_equal(text_next(&reader, &key, &value), TEXT_PAIR);
    assert_true(slice_is(key, "B"));
    assert_true(slice_is(value, "2"));
    assert_int_equal(text_next(&reader, &key, &value), TEXT_END);
}

static void test_text_takes_private_keys(void **state)
{
    (void)state;
    assert_int_equal(first_result(TEXT("X-com.cisco.protocol=draft20")), TEXT_PAIR);
    assert_int_equal(first_result(TEXT("X#NodeArchitecture=x")), TEXT_PAIR);
    assert_int_equal(first_result(TEXT("iSCSIProtocolLevel=1")), TEXT_PAIR);
}

static void test_text_without_a_proper_key_is_malformed(void **state)
{
    (void)state;
    assert_int_equal(first_result(TEXT("NoEquals")), TEXT_MALFORMED);
    assert_int_equal(first_result(TEXT("=value")), TEXT_MALFORMED);
    assert_int_equal(first_result(TEXT("1Key=value")), TEXT_MALFORMED);
    assert_int_equal(first_result(TEXT("Key =value")), TEXT_MALFORMED);
    assert_int_equal(first_result(TEXT("K\x80y=value")), TEXT_MALFORMED);
    assert_int_equal(first_result(TEXT("\n=value")), TEXT_MALFORMED);
}

static void test_text_bounds_key_value_and_count(void **state)
{
    static uint8_t bytes[TEXT_VALUE_MAX + 80];
    struct text_reader reader;
    struct slice key, value;

    (void)state;
    memset(bytes, 'K', sizeof bytes);
    bytes[TEXT_KEY_MAX] = '=';
    assert_int_equal(first_result(slice_of(bytes, TEXT_KEY_MAX + 1)), TEXT_PAIR);
    assert_int_equal(first_result(slice_of(bytes, TEXT_KEY_MAX + 1 + TEXT_VALUE_MAX)), TEXT_PAIR);
    assert_int_equal(first_result(slice_of(bytes, TEXT_KEY_MAX + 2 + TEXT_VALUE_MAX)),
                     TEXT_MALFORMED);
    bytes[TEXT_KEY_MAX] = 'K';
    bytes[TEXT_KEY_MAX + 1] = '=';
    assert_int_equal(first_result(slice_of(bytes, TEXT_KEY_MAX + 2)), TEXT_MALFORMED);

    for (unsigned i = 0; i <= TEXT_KEYS_MAX; i++)
        memcpy(bytes + 4 * i, "K=v", 4);
    reader = text_over(slice_of(bytes, 4 * (TEXT_KEYS_MAX + 1)));
    for (unsigned i = 0; i < TEXT_KEYS_MAX; i++)
        assert_int_equal(text_next(&reader, &key, &value), TEXT_PAIR);
    assert_int_equal(text_next(&reader, &key, &value), TEXT_MALFORMED);
}

static void test_collect_joins_pieces_that_cut_a_key_in_two(void **state)
{
    struct text_collect collect = { 0 };
    struct text_reader reader;
    struct slice key, value;

    (void)state;
    assert_int_equal(text_collect(&collect, "Initia", 6), 0);
    assert_int_equal(text_collect(&collect, NULL, 0), 0);
    assert_int_equal(text_collect(&collect, "lR2T=N", 6), 0);
    assert_int_equal(text_collect(&collect, "o", 2), 0);
    reader = text_over(slice_of(collect.bytes, collect.len));
    assert_int_equal(text_next(&reader, &key, &value), TEXT_PAIR);
    assert_true(slice_is(key, "InitialR2T"));
    assert_true(slice_is(value, "No"));
    text_collect_free(&collect);
    assert_int_equal(collect.len, 0);
}

static void test_collect_stops_at_its_bound_and_keeps_what_it_has(void **state)
{
    static const uint8_t piece[TEXT_COLLECT_MAX];
    struct text_collect collect = { 0 };

    (void)state;
    assert_int_equal(text_collect(&collect, piece, 10), 0);
    assert_int_equal(text_collect(&collect, piece, sizeof piece), -E2BIG);
    assert_int_equal(text_collect(&collect, piece, SIZE_MAX), -E2BIG);
    assert_int_equal(collect.len, 10);
    assert_int_equal(text_collect(&collect, piece, sizeof piece - 10), 0);
    assert_int_equal(text_collect(&collect, piece, 1), -E2BIG);
    text_collect_free(&collect);
    text_collect_free(&collect);
}

static void test_put_terminates_each_pair(void **state)
{
    uint8_t room[64];
    struct builder out = builder_over(room, sizeof room);

    (void)state;
    text_put_str(&out, "DataDigest", "None");
    text_put_number(&out, "N", 0);
    text_put_number(&out, "M", UINT64_MAX);
    text_put(&out, "T", slice_of("xyz", 2));
    assert_false(out.overflow);
    assert_true(slice_equal(slice_of(room, out.len),
                            TEXT("DataDigest=None\0N=0\0M=18446744073709551615\0T=xy")));
}

static void test_put_drops_a_pair_that_does_not_fit(void **state)
{
    uint8_t room[8];
    struct builder out = builder_over(room, sizeof room);

    (void)state;
    text_put_str(&out, "A", "1");
    text_put_str(&out, "B", "12"); /* one byte more than is left */
    assert_true(out.overflow);
    assert_true(slice_equal(slice_of(room, out.len), TEXT("A=1")));
}

static int number_of(const char *text, uint64_t *number)
{
    return text_number(slice_str(text), number);
}

static void test_number_is_decimal_or_hexadecimal(void **state)
{
    uint64_t number;

    (void)state;
    assert_int_equal(number_of("0", &number), 0);
    assert_true(number == 0);
    assert_int_equal(number_of("262144", &number), 0);
    assert_true(number == 262144);
    assert_int_equal(number_of("0x40000", &number), 0);
    assert_true(number == 0x40000);
    assert_int_equal(number_of("0XaBc", &number), 0);
    assert_true(number == 0xabc);
    assert_int_equal(number_of("18446744073709551615", &number), 0);
    assert_true(number == UINT64_MAX);
    assert_int_equal(number_of("0xffffffffffffffff", &number), 0);
    assert_true(number == UINT64_MAX);
}

static void test_number_is_nothing_else(void **state)
{
    static const char *const none[] = { "",   " 1", "1 ",  "-1",  "+1", "0x", "0xg", "1e3",
                                        "01", "00", "0b1", "1,2", "x1", "1K", "Yes", "0x-1" };
    uint64_t number;

    (void)state;
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++)
        assert_int_equal(number_of(none[i], &number), -EINVAL);
    assert_int_equal(text_number(slice_of("1\0", 2), &number), -EINVAL);
}

static void test_number_beyond_64_bits_is_out_of_range(void **state)
{
    uint64_t number;

    (void)state;
    assert_int_equal(number_of("18446744073709551616", &number), -ERANGE);
    assert_int_equal(number_of("99999999999999999999999999", &number), -ERANGE);
    assert_int_equal(number_of("0x10000000000000000", &number), -ERANGE);
    assert_int_equal(number_of("99999999999999999999999x", &number), -EINVAL);
}

static void test_iscsi_names_of_all_three_kinds(void **state)
{
    static const char *const names[] = {
        "iqn.1998-01.com.vmware:esx1-1a2b3c4d",
        "iqn.1987-05.com.cisco:01.123456789abc",
        "iqn.2026-11.lab.nestor:vmfs",
        "iqn.2001-04.com.example:UPPER_lower",       /* typed by people */
        "iqn.2001-04.com.example:\xc3\xa9t\xc3\xa9", /* e acute */
        "eui.02004567A425678D",
        "naa.52004567BA64678D",
        "naa.62004567BA64678D0123456789ABCDEF",
    };

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        assert_true(text_is_iscsi_name(slice_str(names[i])));
}

static void test_what_is_no_iscsi_name(void **state)
{
    static const char *const names[] = {
        "",
        "iqn",
        "iqn.",
        "eui.",
        "naa.",
        "esx1",
        "iqn-1998.com",
        "iqn.1998-01.com.vmware:esx 1",
        "iqn.1998-01.com.vmware:esx\t1",
        "iqn.a\n",
        "iqn.a,b",
        "iqn.a/b",
        "iqn.a=b",
        "iqn.a\x7f",
        "iqn.a\\b",
        "iqn.a*",
        "iqn.a\"b",
        "eui.02004567A425678",
        "eui.02004567A425678DE",
        "eui.02004567A425678G",
        "naa.52004567BA64678",
        "naa.52004567BA64678D0",
        "naa.62004567BA64678D0123456789ABCDEG",
        "iqn.\x80",
        "iqn.\xc3",
        "iqn.\xc0\xaf",
        "iqn.\xed\xa0\x80",
        "iqn.\xf4\x90\x80\x80",
        "iqn.\xc2\x85",
    };

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (text_is_iscsi_name(slice_str(names[i])))
            fail_msg("taken for a name: %s", names[i]);
    }
    assert_false(text_is_iscsi_name(slice_of("iqn.a\0b", 7)));
}

static void test_iscsi_name_has_at_most_223_bytes(void **state)
{
    char name[225];

    (void)state;
    memset(name, 'a', sizeof name);
    memcpy(name, "iqn.", 4);
    assert_true(text_is_iscsi_name(slice_of(name, 223)));
    assert_false(text_is_iscsi_name(slice_of(name, 224)));
}

static void test_printable_is_utf8_without_control_characters(void **state)
{
    (void)state;
    assert_true(text_is_printable(slice_str("")));
    assert_true(text_is_printable(slice_str("lab 1, rack/2 \xe2\x82\xac \xf0\x9f\x92\xbe")));
    assert_false(text_is_printable(slice_str("a\x1b[31m")));
    assert_false(text_is_printable(slice_str("a\x7f")));
    assert_false(text_is_printable(slice_str("\xc2\x9b"))); /* CSI of the C1 set */
    assert_false(text_is_printable(slice_str("\xe0\x80\xaf")));
    assert_false(text_is_printable(slice_str("\xf0\x80\x80\xaf")));
    assert_false(text_is_printable(slice_str("\xff")));
    assert_false(text_is_printable(slice_of("\xe2\x82\xac", 2)));
}

static void test_list_gives_its_items_and_ends(void **state)
{
    struct slice rest = slice_str("CRC32C,,None"), item;

    (void)state;
    assert_true(text_list_next(&rest, &item));
    assert_true(slice_is(item, "CRC32C"));
    assert_true(text_list_next(&rest, &item));
    assert_int_equal(item.len, 0);
    assert_true(text_list_next(&rest, &item));
    assert_true(slice_is(item, "None"));
    assert_false(text_list_next(&rest, &item));
    assert_false(text_list_next(&rest, &item));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_yields_its_pairs_in_order),
        cmocka_unit_test(test_text_of_nothing_ends_at_once),
        cmocka_unit_test(test_text_lets_padding_and_a_missing_terminator_pass),
        cmocka_unit_test(test_text_takes_private_keys),
        cmocka_unit_test(test_text_without_a_proper_key_is_malformed),
        cmocka_unit_test(test_text_bounds_key_value_and_count),
        cmocka_unit_test(test_collect_joins_pieces_that_cut_a_key_in_two),
        cmocka_unit_test(test_collect_stops_at_its_bound_and_keeps_what_it_has),
        cmocka_unit_test(test_put_terminates_each_pair),
        cmocka_unit_test(test_put_drops_a_pair_that_does_not_fit),
        cmocka_unit_test(test_number_is_decimal_or_hexadecimal),
        cmocka_unit_test(test_number_is_nothing_else),
        cmocka_unit_test(test_number_beyond_64_bits_is_out_of_range),
        cmocka_unit_test(test_iscsi_names_of_all_three_kinds),
        cmocka_unit_test(test_what_is_no_iscsi_name),
        cmocka_unit_test(test_iscsi_name_has_at_most_223_bytes),
        cmocka_unit_test(test_printable_is_utf8_without_control_characters),
        cmocka_unit_test(test_list_gives_its_items_and_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
