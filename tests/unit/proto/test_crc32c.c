#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "proto/crc32c.h"

static void expect_digest(const uint8_t *bytes, size_t len, const uint8_t wire[4])
{
    uint8_t put[4];
    uint32_t running = crc32c_update(CRC32C_INIT, bytes, len);

    crc32c_put(put, running);
    assert_memory_equal(put, wire, 4);
    assert_true(crc32c_matches(wire, running));
}

/* The vectors of RFC 3720 B.4, bytes in wire order. */
static void test_digest_of_zeros_ones_and_runs_is_the_rfcs(void **state)
{
    uint8_t bytes[32];

    (void)state;
    memset(bytes, 0, sizeof bytes);
    expect_digest(bytes, sizeof bytes, (const uint8_t[]){ 0xaa, 0x36, 0x91, 0x8a });
    memset(bytes, 0xff, sizeof bytes);
    expect_digest(bytes, sizeof bytes, (const uint8_t[]){ 0x43, 0xab, 0xa8, 0x62 });
    for (uint8_t i = 0; i < 32; i++)
        bytes[i] = i;
    expect_digest(bytes, sizeof bytes, (const uint8_t[]){ 0x4e, 0x79, 0xdd, 0x46 });
    for (uint8_t i = 0; i < 32; i++)
        bytes[i] = (uint8_t)(31 - i);
    expect_digest(bytes, sizeof bytes, (const uint8_t[]){ 0x5c, 0xdb, 0x3f, 0x11 });
}

static void test_digest_of_a_scsi_command_is_the_rfcs(void **state)
{
    static const uint8_t read10[48] = {
        0x01, 0xc0, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x14, 0x00, 0x00, 0x00, 0x00, 0x00, 0x04, 0x00,
        0x00, 0x00, 0x00, 0x14, 0x00, 0x00, 0x00, 0x18, 0x28, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    };

    (void)state;
    expect_digest(read10, sizeof read10, (const uint8_t[]){ 0x56, 0x3a, 0x96, 0xd9 });
}

static void test_digest_of_pieces_is_the_digest_of_the_whole(void **state)
{
    static const uint8_t text[] = "123456789"; /* the common check value of CRC-32C: e3069283 */

    (void)state;
    for (size_t cut = 0; cut <= 9; cut++) {
        uint32_t running = crc32c_update(CRC32C_INIT, text, cut);
        running = crc32c_update(running, text + cut, 9 - cut);
        assert_int_equal(~running, 0xe3069283U);
    }
}

static void test_one_wrong_bit_does_not_match(void **state)
{
    uint32_t running = crc32c_update(CRC32C_INIT, "nestor", 6);
    uint8_t wire[4];

    (void)state;
    crc32c_put(wire, running);
    for (unsigned bit = 0; bit < 32; bit++) {
        wire[bit / 8] ^= (uint8_t)(1U << bit % 8);
        assert_false(crc32c_matches(wire, running));
        wire[bit / 8] ^= (uint8_t)(1U << bit % 8);
    }
    assert_true(crc32c_matches(wire, running));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_digest_of_zeros_ones_and_runs_is_the_rfcs),
        cmocka_unit_test(test_digest_of_a_scsi_command_is_the_rfcs),
        cmocka_unit_test(test_digest_of_pieces_is_the_digest_of_the_whole),
        cmocka_unit_test(test_one_wrong_bit_does_not_match),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
