#include "tests/bench/region.h"
#include "tests/bench/bench.h"
#include "tests/bench/stamp.h"

#include <stdlib.h>

enum { TRIES_MAX = 100000, SEED = 12345 };

void region_init(struct region *region, const struct options *options, unsigned number,
                 uint64_t blocks)
{
    bool has_own = options->is_verifying || !options->is_random;
    uint64_t share = blocks / options->sessions;

    *region = (struct region){ .seed = random_spread(number + SEED) | 1, .blocks = blocks };
    if (has_own) {
        region->first = share * number;
        region->blocks = share;
    }
    if (!region->blocks)
        fail("the LUN is too small for that many sessions and blocks");
    if (options->is_verifying) {
        region->generations = bench_alloc(region->blocks, sizeof(*region->generations));
        region->is_busy = bench_alloc(region->blocks, sizeof(*region->is_busy));
    }
}

void region_end(struct region *region)
{
    free(region->generations);
    free(region->is_busy);
}

static uint64_t pick_any(struct region *region, bool is_random)
{
    uint64_t block;

    if (is_random)
        return random_below(&region->seed, region->blocks);
    block = region->next++;
    if (region->next == region->blocks)
        region->next = 0;
    return block;
}

uint64_t region_pick(struct region *region, bool is_random)
{
    for (int i = 0; i < TRIES_MAX; i++) {
        uint64_t block = pick_any(region, is_random);

        if (!region->is_busy || !region->is_busy[block])
            return block;
    }
    fail("the part of a session is smaller than what it has in flight; use less --qd");
}
