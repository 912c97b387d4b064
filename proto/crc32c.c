#include "proto/crc32c.h"

#include <isa-l/crc.h>

#include "proto/cursor.h"

/* isa-l counts in int. Any chunk size gives the same result. */
enum { CHUNK_BYTES = 1 << 30 };

uint32_t crc32c_update(uint32_t running, const void *bytes, size_t len)
{
    const uint8_t *at = bytes;

    /* crc32_iscsi() neither presets nor inverts: what it takes and gives is the running value */
    while (len > CHUNK_BYTES) {
        running = crc32_iscsi((unsigned char *)at, CHUNK_BYTES, running);
        at += CHUNK_BYTES;
        len -= CHUNK_BYTES;
    }
    return len ? crc32_iscsi((unsigned char *)at, (int)len, running) : running;
}

void crc32c_put(uint8_t wire[4], uint32_t running)
{
    put_be32(wire, __builtin_bswap32(~running));
}

_Bool crc32c_matches(const uint8_t wire[4], uint32_t running)
{
    return get_be32(wire) == __builtin_bswap32(~running);
}
