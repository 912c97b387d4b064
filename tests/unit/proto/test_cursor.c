#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proto/cursor.h"

static const uint8_t bytes[] = { 0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0x10 };

static void test_cursor_reads_big_endian_where_it_is_told(void **state)
{
    struct cursor c = cursor_over(bytes, sizeof bytes);

    (void)state;
    assert_int_equal(cursor_u8_at(&c, 8), 0x10);
    assert_int_equal(cursor_be16_at(&c, 1), 0x2345);
    assert_int_equal(cursor_be24_at(&c, 1), 0x234567);
    assert_int_equal(cursor_be32_at(&c, 1), 0x23456789);
    assert_true(cursor_be64_at(&c, 1) == 0x23456789abcdef10U);
    assert_false(c.overrun);
}

static void test_cursor_reads_one_after_the_other(void **state)
{
    struct cursor c = cursor_over(bytes, sizeof bytes);

    (void)state;
    assert_int_equal(cursor_u8(&c), 0x01);
    assert_int_equal(cursor_be16(&c), 0x2345);
    assert_int_equal(cursor_be32(&c), 0x6789abcd);
    assert_int_equal(cursor_left(&c), 2);
    assert_false(c.overrun);
}

static void test_cursor_remembers_that_it_ran_out(void **state)
{
    struct cursor c = cursor_over(bytes, sizeof bytes);

    (void)state;
    assert_int_equal(cursor_be32_at(&c, 6), 0); /* three bytes are there */
    assert_true(c.overrun);
    assert_int_equal(cursor_u8_at(&c, 0), 0x01); /* later reads don't make it forget */
    assert_true(c.overrun);
}

static void test_cursor_is_not_fooled_by_offsets_that_wrap(void **state)
{
    struct cursor c = cursor_over(bytes, sizeof bytes);

    (void)state;
    assert_false(cursor_holds(&c, SIZE_MAX, 2));
    assert_false(cursor_holds(&c, 2, SIZE_MAX));
    assert_int_equal(cursor_take(&c, SIZE_MAX - 1, 4).len, 0);
    assert_int_equal(cursor_slice(&c, SIZE_MAX).len, 0);
    assert_int_equal(c.at, 0);
}

static void test_cursor_takes_a_view_that_ends_on_its_own(void **state)
{
    struct cursor c = cursor_over(bytes, sizeof bytes);
    struct cursor inner = cursor_take(&c, 2, 3);

    (void)state;
    assert_int_equal(cursor_be24_at(&inner, 0), 0x456789);
    assert_int_equal(cursor_u8_at(&inner, 3), 0);
    assert_true(inner.overrun);
    assert_false(c.overrun);
}

static void test_builder_writes_what_a_cursor_reads_back(void **state)
{
    uint8_t room[17];
    struct builder b = builder_over(room, sizeof room);
    struct cursor c;

    (void)state;
    builder_u8(&b, 0xa5);
    builder_be16(&b, 0x1234);
    builder_be32(&b, 0x89abcdef);
    builder_be64(&b, 0x0123456789abcdefU);
    builder_bytes(&b, "ok", 2);
    assert_false(b.overflow);
    assert_int_equal(b.len, sizeof room);

    c = cursor_over(room, b.len);
    assert_int_equal(cursor_u8(&c), 0xa5);
    assert_int_equal(cursor_be16(&c), 0x1234);
    assert_int_equal(cursor_be32(&c), 0x89abcdefU);
    assert_true(cursor_be64(&c) == 0x0123456789abcdefU);
    assert_true(slice_is(cursor_slice(&c, 2), "ok"));
    assert_false(c.overrun);
}

static void test_builder_writes_a_field_whole_or_not_at_all(void **state)
{
    uint8_t room[4] = { 0xee, 0xee, 0xee, 0xee };
    struct builder b = builder_over(room, 3);

    (void)state;
    builder_be16(&b, 0x1234);
    builder_be32(&b, 0xffffffff);
    assert_true(b.overflow);
    assert_int_equal(b.len, 2);
    builder_u8(&b, 0xff); /* would fit, but what stands before it is missing */
    assert_int_equal(b.len, 2);
    assert_memory_equal(room, ((const uint8_t[]){ 0x12, 0x34, 0xee, 0xee }), 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cursor_reads_big_endian_where_it_is_told),
        cmocka_unit_test(test_cursor_reads_one_after_the_other),
        cmocka_unit_test(test_cursor_remembers_that_it_ran_out),
        cmocka_unit_test(test_cursor_is_not_fooled_by_offsets_that_wrap),
        cmocka_unit_test(test_cursor_takes_a_view_that_ends_on_its_own),
        cmocka_unit_test(test_builder_writes_what_a_cursor_reads_back),
        cmocka_unit_test(test_builder_writes_a_field_whole_or_not_at_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
