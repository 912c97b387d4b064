#include "target/worker/buffer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>

enum { MIB = 1024 * 1024 };

static void test_buffer_has_room_and_is_page_aligned(void **state)
{
    static const uint32_t sizes[] = { 0,          1,     4096,         4097,
                                      65536,      65537, BUFFER_LARGE, BUFFER_LARGE + 1,
                                      3 * MIB + 5 };
    struct buffer_budget budget = { .limit_bytes = 64 * MIB };
    struct buffer_pool *pool = buffer_pool_create(&budget);

    (void)state;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct buffer *buffer = buffer_get(pool, sizes[i]);

        assert_non_null(buffer);
        assert_true(buffer->cap >= sizes[i]);
        assert_int_equal(buffer->refs, 1);
        assert_int_equal(buffer->len, 0);
        assert_int_equal((uintptr_t)buffer->bytes % 4096, 0);
        memset(buffer->bytes, 0xff, buffer->cap);
        buffer_put(pool, buffer);
    }
    buffer_put(pool, NULL);
    buffer_pool_destroy(pool);
    assert_int_equal(budget.used_bytes, 0);
}

static void test_buffer_stays_until_its_last_reference(void **state)
{
    struct buffer_budget budget = { .limit_bytes = 64 * MIB };
    struct buffer_pool *pool = buffer_pool_create(&budget);
    struct buffer *buffer = buffer_get(pool, MIB);

    (void)state;
    buffer_ref(buffer);
    buffer_put(pool, buffer);
    assert_int_equal(budget.used_bytes, MIB);
    memset(buffer->bytes, 1, MIB);
    buffer_put(pool, buffer);
    assert_int_equal(budget.used_bytes, 0);
    buffer_pool_destroy(pool);
}

static void test_past_the_budget_there_is_none_until_one_is_back(void **state)
{
    struct buffer_budget budget = { .limit_bytes = 4 * MIB };
    struct buffer_pool *pool = buffer_pool_create(&budget), *other = buffer_pool_create(&budget);
    struct buffer *first = buffer_get(pool, 2 * MIB), *second = buffer_get(other, 2 * MIB);

    (void)state;
    assert_non_null(first);
    assert_non_null(second);
    assert_null(buffer_get(pool, 1));
    assert_null(buffer_get(other, 1));
    assert_null(buffer_get(pool, UINT32_MAX));
    buffer_put(pool, first);
    first = buffer_get(other, 1);
    assert_non_null(first);
    buffer_put(other, first);
    buffer_put(other, second);
    buffer_pool_destroy(pool);
    buffer_pool_destroy(other);
    assert_int_equal(budget.used_bytes, 0);
}

static void test_kept_buffers_give_way_to_another_size(void **state)
{
    struct buffer_budget budget = { .limit_bytes = 8 * MIB };
    struct buffer_pool *pool = buffer_pool_create(&budget);
    struct buffer *small[32], *all;

    (void)state;
    for (int i = 0; i < 32; i++)
        small[i] = buffer_get(pool, BUFFER_SMALL);
    for (int i = 0; i < 32; i++)
        buffer_put(pool, small[i]);
    assert_false(buffer_pool_is_bare(pool));
    all = buffer_get(pool, 8 * MIB);
    assert_non_null(all);
    buffer_put(pool, all);
    buffer_pool_destroy(pool);
}

static void test_buffers_are_reused(void **state)
{
    struct buffer_budget budget = { .limit_bytes = 64 * MIB };
    struct buffer_pool *pool = buffer_pool_create(&budget);
    struct buffer *buffer = buffer_get(pool, BUFFER_MEDIUM), *again;
    uint8_t *bytes = buffer->bytes;

    (void)state;
    buffer_put(pool, buffer);
    again = buffer_get(pool, BUFFER_SMALL + 1);
    assert_ptr_equal(again->bytes, bytes);
    buffer_put(pool, again);
    buffer_pool_destroy(pool);
}

static void test_trim_frees_what_was_idle_since_the_last_one(void **state)
{
    struct buffer_budget budget = { .limit_bytes = 64 * MIB };
    struct buffer_pool *pool = buffer_pool_create(&budget);
    struct buffer *first = buffer_get(pool, BUFFER_MEDIUM), *second;

    (void)state;
    second = buffer_get(pool, BUFFER_MEDIUM);
    buffer_put(pool, first);
    buffer_put(pool, second);
    buffer_pool_trim(pool); /* both have just been used */
    assert_int_equal(budget.used_bytes, 2 * BUFFER_MEDIUM);
    first = buffer_get(pool, BUFFER_MEDIUM);
    buffer_put(pool, first);
    buffer_pool_trim(pool); /* one was not needed */
    assert_int_equal(budget.used_bytes, BUFFER_MEDIUM);
    buffer_pool_trim(pool);
    assert_int_equal(budget.used_bytes, 0);
    assert_true(buffer_pool_is_bare(pool));
    buffer_pool_destroy(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_buffer_has_room_and_is_page_aligned),
        cmocka_unit_test(test_buffer_stays_until_its_last_reference),
        cmocka_unit_test(test_past_the_budget_there_is_none_until_one_is_back),
        cmocka_unit_test(test_kept_buffers_give_way_to_another_size),
        cmocka_unit_test(test_buffers_are_reused),
        cmocka_unit_test(test_trim_frees_what_was_idle_since_the_last_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
