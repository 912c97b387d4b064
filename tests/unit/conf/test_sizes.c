/* Sizes as people write them. */
#include "conf/conf.h"
#include "conf/keys.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static uint64_t parsed(const char *text)
{
    uint64_t bytes = 0;

    assert_int_equal(conf_parse_size(text, &bytes), 0);
    return bytes;
}

static void test_units_are_powers_of_1024(void **state)
{
    (void)state;
    assert_int_equal(parsed("512"), 512);
    assert_int_equal(parsed("4K"), 4096);
    assert_int_equal(parsed("256M"), 268435456);
    assert_int_equal(parsed("64G"), 68719476736);
    assert_int_equal(parsed("2T"), 2199023255552);
    assert_int_equal(parsed("64g"), 68719476736);
    assert_int_equal(parsed("9223372036854775807"), INT64_MAX);
}

static void test_what_is_no_size_is_refused(void **state)
{
    static const char *const wrong[] = { "",     "G",   "-1G", "+1",  " 1G",
                                         "1.5G", "1GB", "1 G", "1G ", "0x10" };
    uint64_t bytes = 7;

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        assert_int_equal(conf_parse_size(wrong[i], &bytes), -EINVAL);
    assert_int_equal(bytes, 7);
}

static void test_what_no_file_can_hold_is_refused(void **state)
{
    static const char *const large[] = { "9223372036854775808", "18446744073709551616", "8388608T",
                                         "16777216T", "99999999999999999999999" };
    uint64_t bytes;

    (void)state;
    for (size_t i = 0; i < sizeof(large) / sizeof(large[0]); i++)
        assert_int_equal(conf_parse_size(large[i], &bytes), -ERANGE);
}

static void test_sizes_are_shown_in_the_largest_whole_unit(void **state)
{
    static const struct {
        uint64_t bytes;
        const char *text;
    } shown[] = {
        {0,            "0"    },
        { 512,         "512"  },
        { 1536,        "1536" },
        { 4096,        "4K"   },
        { 68719476736, "64G"  },
        { 1ull << 53,  "8192T"}
    };
    char text[32];

    (void)state;
    for (size_t i = 0; i < sizeof(shown) / sizeof(shown[0]); i++) {
        key_size_text(shown[i].bytes, text, sizeof(text));
        assert_string_equal(text, shown[i].text);
        assert_int_equal(parsed(text), shown[i].bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_units_are_powers_of_1024),
        cmocka_unit_test(test_what_is_no_size_is_refused),
        cmocka_unit_test(test_what_no_file_can_hold_is_refused),
        cmocka_unit_test(test_sizes_are_shown_in_the_largest_whole_unit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
