/*
 * crc32c: the digest of RFC 7143 13.1 (CRC32C, reflected, initial value and final XOR of all ones).
 *
 * The running value can be carried over pieces: crc32c_update(crc32c_update(CRC32C_INIT, a), b).
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define CRC32C_INIT 0xffffffffU

uint32_t crc32c_update(uint32_t running, const void *bytes, size_t len);

/* Writes the digest as it stands on the wire (RFC 7143 B.4: least significant byte first). */
void crc32c_put(uint8_t wire[4], uint32_t running);

/* True when the four wire bytes are the digest of what `running` has seen. */
_Bool crc32c_matches(const uint8_t wire[4], uint32_t running);
