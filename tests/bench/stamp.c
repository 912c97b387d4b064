#include "tests/bench/stamp.h"

enum { SECTOR_WORDS = STAMP_SECTOR_BYTES / 8, HEAD_WORDS = 2 };

static const uint64_t stride = 0x9e3779b97f4a7c15u;

uint64_t random_spread(uint64_t number)
{
    number += stride;
    number = (number ^ (number >> 30)) * 0xbf58476d1ce4e5b9u;
    number = (number ^ (number >> 27)) * 0x94d049bb133111ebu;
    return number ^ (number >> 31);
}

void stamp_write(void *buffer, size_t bytes, uint64_t address, uint32_t generation)
{
    uint64_t *word = buffer;

    for (size_t at = 0; at < bytes; at += STAMP_SECTOR_BYTES, word += SECTOR_WORDS) {
        uint64_t value = random_spread(((address + at) << 8) ^ generation);

        word[0] = address + at;
        word[1] = generation;
        for (unsigned i = HEAD_WORDS; i < SECTOR_WORDS; i++)
            word[i] = value += stride;
    }
}

static enum stamp_verdict check_sector(const uint64_t *word, uint64_t address, uint32_t generation)
{
    uint64_t value = random_spread((address << 8) ^ generation);

    if (word[0] != address)
        return STAMP_ELSEWHERE;
    if (word[1] != generation)
        return STAMP_GENERATION;
    for (unsigned i = HEAD_WORDS; i < SECTOR_WORDS; i++)
        if (word[i] != (value += stride))
            return STAMP_TORN;
    return STAMP_GOOD;
}

enum stamp_verdict stamp_check(const void *buffer, size_t bytes, uint64_t address,
                               uint32_t generation, uint64_t *wrong_at)
{
    const uint64_t *word = buffer;

    if (generation == STAMP_ANY)
        generation = (uint32_t)word[1];
    for (size_t at = 0; at < bytes; at += STAMP_SECTOR_BYTES, word += SECTOR_WORDS) {
        enum stamp_verdict verdict = check_sector(word, address + at, generation);

        if (verdict != STAMP_GOOD) {
            if (wrong_at)
                *wrong_at = address + at;
            return verdict;
        }
    }
    return STAMP_GOOD;
}

const char *stamp_verdict_text(enum stamp_verdict verdict)
{
    static const char *const texts[] = {
        [STAMP_GOOD] = "it is right",
        [STAMP_ELSEWHERE] = "it has no stamp, or another address's",
        [STAMP_GENERATION] = "it is of another generation: a write was lost or undone",
        [STAMP_TORN] = "its head is right and its body isn't",
    };

    return texts[verdict];
}
