/*
 * Digests here were computed with another implementation, over identifier 27h, the secret
 * "secret-of-12+" and the challenge a0h to afh.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proto/chap.h"

static const uint8_t challenge[16] = { 0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7,
                                       0xa8, 0xa9, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf };

static void expect_digest(enum chap_algorithm algorithm, const char *hexadecimal)
{
    uint8_t digest[CHAP_DIGEST_MAX], expected[CHAP_DIGEST_MAX];
    size_t len = chap_digest(algorithm, 0x27, slice_str("secret-of-12+"),
                             slice_of(challenge, sizeof challenge), digest);

    assert_int_equal(chap_decode(slice_str(hexadecimal), expected, sizeof expected), len);
    assert_int_equal(len, chap_digest_bytes(algorithm));
    assert_memory_equal(digest, expected, len);
}

static void test_digest_of_each_algorithm(void **state)
{
    (void)state;
    expect_digest(CHAP_MD5, "0xbbaec20c793b38f648b6c7f01a174f6e");
    expect_digest(CHAP_SHA1, "0x0d57e8470e34bcdd8bbb5069f8188f6e74a4171b");
    expect_digest(CHAP_SHA256,
                  "0x2b79755a9d68e286035b2bea47e336ad78f80d6071a6aed73186c7f6319c235c");
    expect_digest(CHAP_SHA3_256,
                  "0x2494a184e20443e5e0fd1a2fcadfb5820727ab155500a4c4c7311ce8168c4eb0");
}

static void test_unknown_algorithm_has_no_digest(void **state)
{
    uint8_t digest[CHAP_DIGEST_MAX];

    (void)state;
    assert_int_equal(chap_digest_bytes(CHAP_NONE), 0);
    assert_int_equal(chap_digest((enum chap_algorithm)9, 1, slice_str("s"), slice_str("c"), digest),
                     0);
}

static void test_choice_is_the_first_of_the_list_that_we_have(void **state)
{
    (void)state;
    assert_int_equal(chap_choose(slice_str("5")), CHAP_MD5);
    assert_int_equal(chap_choose(slice_str("7,5")), CHAP_SHA256);
    assert_int_equal(chap_choose(slice_str("99,8,5")), CHAP_SHA3_256);
    assert_int_equal(chap_choose(slice_str("6,5")), CHAP_SHA1);
    assert_int_equal(chap_choose(slice_str("0x7")), CHAP_SHA256);
}

static void test_choice_of_nothing_that_we_have_is_none(void **state)
{
    static const char *const lists[] = { "",   "0",   "1,2,3,4",
                                         "9",  "MD5", "4294967301",
                                         "5x", ",",   "18446744073709551621" };

    (void)state;
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
        assert_int_equal(chap_choose(slice_str(lists[i])), CHAP_NONE);
}

static void expect_decoded(const char *value, const char *bytes, int len)
{
    uint8_t decoded[16];

    assert_int_equal(chap_decode(slice_str(value), decoded, sizeof decoded), len);
    assert_memory_equal(decoded, bytes, (size_t)len);
}

static void test_decode_reads_hexadecimal(void **state)
{
    (void)state;
    expect_decoded("0x00", "\x00", 1);
    expect_decoded("0XdeadBEEF", "\xde\xad\xbe\xef", 4);
    expect_decoded("0xabc", "\x0a\xbc", 2); /* an odd number of digits */
    expect_decoded("0x000102030405060708090a0b0c0d0e0f",
                   "\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f", 16);
}

static void test_decode_reads_base64(void **state)
{
    (void)state;
    expect_decoded("0bAAAA", "\x00\x00\x00", 3);
    expect_decoded("0B/+7dzA==", "\xff\xee\xdd\xcc", 4);
    expect_decoded("0b+/8=", "\xfb\xff", 2);
    expect_decoded("0b+vv8/f7/", "\xfa\xfb\xfc\xfd\xfe\xff", 6);
}

static void test_decode_takes_nothing_else(void **state)
{
    static const char *const none[] = {
        "",       "0",       "0x",     "0b",     "x00",    "00",      "12",
        "0xzz",   "0x1 ",    "0x 1",   "0x12\n", "0x0x12", "0bA",     "0bAA",
        "0bAAA",  "0bAA=A",  "0bA===", "0b====", "0b=",    "0bAAAAA", "0bAA==AAAA",
        "0bAAA*", "0bAA\n=", "0bAB==", "0bAAB=", /* bits that the padding leaves over */
        "1x00",   "0o17",
    };
    uint8_t decoded[64];

    (void)state;
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
        if (chap_decode(slice_str(none[i]), decoded, sizeof decoded) != -EINVAL)
            fail_msg("taken for a binary value: %s", none[i]);
    }
}

static void test_decode_never_writes_beyond_its_room(void **state)
{
    uint8_t decoded[4] = { 0xee, 0xee, 0xee, 0xee };

    (void)state;
    assert_int_equal(chap_decode(slice_str("0x01020304"), decoded, 3), -ENOSPC);
    assert_int_equal(chap_decode(slice_str("0xaabbccd"), decoded, 3), -ENOSPC);
    assert_int_equal(chap_decode(slice_str("0bAQIDBA=="), decoded, 3), -ENOSPC);
    assert_int_equal(decoded[3], 0xee);
    assert_int_equal(chap_decode(slice_str("0xaabbcc"), decoded, 3), 3);
    assert_int_equal(chap_decode(slice_str("0bAQID"), decoded, 3), 3);
    assert_int_equal(decoded[3], 0xee);
}

static void test_encode_is_what_decode_reads_back(void **state)
{
    uint8_t room[2 + 2 * sizeof challenge], back[sizeof challenge];
    struct builder out = builder_over(room, sizeof room);

    (void)state;
    chap_encode(&out, challenge, sizeof challenge);
    assert_false(out.overflow);
    assert_true(slice_is(slice_of(room, out.len), "0xa0a1a2a3a4a5a6a7a8a9aaabacadaeaf"));
    assert_int_equal(chap_decode(slice_of(room, out.len), back, sizeof back), sizeof challenge);
    assert_memory_equal(back, challenge, sizeof challenge);

    out = builder_over(room, sizeof room - 1);
    chap_encode(&out, challenge, sizeof challenge);
    assert_true(out.overflow);
}

static void test_equal_only_when_every_byte_and_the_length_are(void **state)
{
    (void)state;
    assert_true(chap_equal(slice_str("0123456789abcdef"), slice_str("0123456789abcdef")));
    assert_false(chap_equal(slice_str("0123456789abcdef"), slice_str("0123456789abcdeF")));
    assert_false(chap_equal(slice_str("X123456789abcdef"), slice_str("0123456789abcdef")));
    assert_false(chap_equal(slice_str("0123"), slice_str("01234")));
    assert_true(chap_equal(slice_of(NULL, 0), slice_of("", 0)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_digest_of_each_algorithm),
        cmocka_unit_test(test_unknown_algorithm_has_no_digest),
        cmocka_unit_test(test_choice_is_the_first_of_the_list_that_we_have),
        cmocka_unit_test(test_choice_of_nothing_that_we_have_is_none),
        cmocka_unit_test(test_decode_reads_hexadecimal),
        cmocka_unit_test(test_decode_reads_base64),
        cmocka_unit_test(test_decode_takes_nothing_else),
        cmocka_unit_test(test_decode_never_writes_beyond_its_room),
        cmocka_unit_test(test_encode_is_what_decode_reads_back),
        cmocka_unit_test(test_equal_only_when_every_byte_and_the_length_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
