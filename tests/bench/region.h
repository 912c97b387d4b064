/*
 * region: the part of the LUNs that one session works on, and which block is next.
 *
 * Blocks are numbered over all LUNs in turn: block b is on the LUN b % luns, as its b / luns-th.
 * Without --verify random sessions share all blocks, sequential ones have a part each; with it each
 * session has a part of its own, remembers what it wrote there last, and never has two commands on
 * a block at one time.
 */
#pragma once

#include "tests/bench/options.h"

struct region {
    uint64_t first, blocks, next, seed;
    uint32_t *generations; /* last written; NULL: nobody verifies */
    bool *is_busy;
};

/* What session `number` gets of `blocks` in all. */
void region_init(struct region *region, const struct options *options, unsigned number,
                 uint64_t blocks);
void region_end(struct region *region);
/* Relative to `first`. */
uint64_t region_pick(struct region *region, bool is_random);
