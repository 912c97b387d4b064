/* What --verify of the load generator must notice. */
#include "tests/bench/stamp.h"

#include <stdarg.h>
#include <stdbool.h>
#include <setjmp.h>
#include <string.h>

#include <cmocka.h>

enum { BLOCK_BYTES = 4096, GENERATION = 7 };

static const uint64_t address = 1234 * BLOCK_BYTES;

struct block {
    _Alignas(8) uint8_t bytes[BLOCK_BYTES];
};

static struct block stamped(void)
{
    struct block block;

    stamp_write(block.bytes, sizeof(block.bytes), address, GENERATION);
    return block;
}

static enum stamp_verdict verdict_on(const struct block *block, uint32_t generation,
                                     uint64_t *wrong_at)
{
    return stamp_check(block->bytes, sizeof(block->bytes), address, generation, wrong_at);
}

static void test_stamp_is_good_as_it_was_written(void **state)
{
    const struct block block = stamped();

    (void)state;
    assert_int_equal(verdict_on(&block, GENERATION, NULL), STAMP_GOOD);
    assert_int_equal(verdict_on(&block, STAMP_ANY, NULL), STAMP_GOOD);
}

static void test_stamp_tells_where_any_flipped_bit_is(void **state)
{
    (void)state;
    for (size_t i = 0; i < BLOCK_BYTES; i++) {
        struct block block = stamped();
        uint64_t wrong_at = 0;

        block.bytes[i] ^= 0x10;
        assert_int_not_equal(verdict_on(&block, GENERATION, &wrong_at), STAMP_GOOD);
        assert_int_equal(wrong_at, address + i / STAMP_SECTOR_BYTES * STAMP_SECTOR_BYTES);
    }
}

static void test_stamp_tells_a_lost_write(void **state)
{
    const struct block block = stamped();

    (void)state;
    assert_int_equal(verdict_on(&block, GENERATION + 1, NULL), STAMP_GENERATION);
}

static void test_stamp_tells_half_a_write_of_any_generation(void **state)
{
    struct block block = stamped();
    uint64_t wrong_at = 0;

    (void)state;
    stamp_write(block.bytes + BLOCK_BYTES / 2, BLOCK_BYTES / 2, address + BLOCK_BYTES / 2,
                GENERATION + 1);
    assert_int_equal(verdict_on(&block, STAMP_ANY, &wrong_at), STAMP_GENERATION);
    assert_int_equal(wrong_at, address + BLOCK_BYTES / 2);
}

static void test_stamp_tells_data_from_elsewhere(void **state)
{
    const struct block block = stamped();

    (void)state;
    assert_int_equal(stamp_check(block.bytes, BLOCK_BYTES, address + BLOCK_BYTES, GENERATION, NULL),
                     STAMP_ELSEWHERE);
}

static void test_stamp_tells_a_body_of_another_sector(void **state)
{
    struct block block = stamped();

    (void)state;
    memcpy(block.bytes + 16, block.bytes + STAMP_SECTOR_BYTES + 16, STAMP_SECTOR_BYTES - 16);
    assert_int_equal(verdict_on(&block, GENERATION, NULL), STAMP_TORN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stamp_is_good_as_it_was_written),
        cmocka_unit_test(test_stamp_tells_where_any_flipped_bit_is),
        cmocka_unit_test(test_stamp_tells_a_lost_write),
        cmocka_unit_test(test_stamp_tells_half_a_write_of_any_generation),
        cmocka_unit_test(test_stamp_tells_data_from_elsewhere),
        cmocka_unit_test(test_stamp_tells_a_body_of_another_sector),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
