/* compare: where two pieces of memory differ, for MISCOMPARE's INFORMATION. */
#pragma once

#include <stdint.h>
#include <string.h>

/* The offset of the first byte that differs; `len`: none does. */
static inline uint32_t first_difference(const uint8_t *a, const uint8_t *b, uint32_t len)
{
    uint32_t at = 0;

    if (memcmp(a, b, len) == 0)
        return len;
    while (a[at] == b[at])
        at++;
    return at;
}
