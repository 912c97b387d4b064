/*
 * stamp: what --verify writes, so that a wrong block is known for what it is.
 *
 * Every 512-byte sector begins with its own byte address and its generation, and each of its other
 * words follows from both. A block that was lost, is older, torn, or somebody else's therefore
 * reads as such. Also the pseudo-random numbers that all of this folder takes.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum { STAMP_SECTOR_BYTES = 512 };

enum stamp_verdict {
    STAMP_GOOD,
    STAMP_ELSEWHERE,  /* another address's, or no stamp at all */
    STAMP_GENERATION, /* the right address's, but older or newer */
    STAMP_TORN,       /* its head is right and its body isn't */
};

/* What any generation matches, as long as all of the block has the same. */
#define STAMP_ANY UINT32_MAX

/* `bytes` is a multiple of a sector, `buffer` aligned for words. */
void stamp_write(void *buffer, size_t bytes, uint64_t address, uint32_t generation);
/* The first sector that is wrong is told in `wrong_at` (its address), unless that is NULL. */
enum stamp_verdict stamp_check(const void *buffer, size_t bytes, uint64_t address,
                               uint32_t generation, uint64_t *wrong_at);
const char *stamp_verdict_text(enum stamp_verdict verdict);

/* xorshift64; `state` is never 0. */
static inline uint64_t random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* Even over 0 .. below - 1. */
static inline uint64_t random_below(uint64_t *state, uint64_t below)
{
    return (uint64_t)(((unsigned __int128)random_next(state) * below) >> 64);
}

/* Spreads a small number over all 64 bits (splitmix64). */
uint64_t random_spread(uint64_t number);
