/*
 * volume: the shared LUN as the hosts of a cluster use it, and the record of all that was done to
 * it.
 *
 * Every block is an image with an id that no other image has, so who reads knows which write it
 * was. Every operation goes into the host's log with its invocation and response times; history.py
 * proves from the logs of all hosts that nothing acknowledged was lost.
 *
 * A line of the log (times in ns of CLOCK_MONOTONIC, ids in hex; an outcome is a letter of enum
 * outcome):
 *
 *   a LBA FROM TO OUTCOME OLD NEW            a block replaced under comparison
 *   w LBA BLOCKS FROM TO OUTCOME OLD NEW     written; OLD - when only the order in time matters
 *   r LBA FROM TO ID ID ...                  blocks read; "torn" for one that is no image
 *   s TIME                                   what was cut off before is settled by now
 *   h LOCK FROM TO                           the host held this lock, and knew it
 *   c COUNT                                  what the counter said in the end
 *   e TEXT                                   what must not happen
 *   n NAME COUNT                             for the summary
 */
#pragma once

#include "tests/esx/path.h"

#include <stdint.h>
#include <stdio.h>

enum {
    VOLUME_HOSTS = 16,
    VOLUME_LOCKS = 8,

    COUNTER_LBA = 0,
    HEARTBEAT_LBA = 8,  /* + host */
    LOCK_LBA = 64,      /* + lock */
    METADATA_LBA = 128, /* + lock: rewritten under the lock */
    SHARED_LBA = 256,   /* + lock * SHARED_BLOCKS: written under the lock */
    SHARED_BLOCKS = 8,
    FILE_LBA = 4096, /* + host * FILE_BLOCKS: written by one host, read by all */
    FILE_BLOCKS = 512,
};

/* What a block holds, over and over until it is full; all zeroes before anybody wrote it. */
struct image {
    uint64_t id, lba;
    uint64_t owner; /* of a lock: host + 1, or 0 when it is free */
    uint64_t count; /* updates so far */
};

enum outcome {
    DONE = 'y',
    DIFFERS = 'n',
    NOT_DONE = 'x',
    MAYBE = '?',
};

enum locking {
    LOCKING_ATS,     /* ESXi 5 and later */
    LOCKING_RESERVE, /* ESX 3 and 4 */
};

struct host {
    unsigned number;
    enum locking locking;
    struct path path;
    FILE *log;
    uint64_t images; /* made so far */
    unsigned random;
    unsigned crash_in_thousand; /* commands */
    unsigned stall_in_thousand; /* writes that are held up, for half to one and a half stall_ms */
    unsigned stall_ms;
    bool has_reserved; /* and so no conflict is waited for */
    bool was_reset;    /* a unit attention 29h came: whatever was held may be another's now */
    uint64_t ats_done, ats_differed, conflicts, attentions, aborts, crashes, losses, stalls, fences;
};

int64_t now_ns(void);
unsigned random_below(struct host *host, unsigned limit);
void volume_error(struct host *host, const char *what, uint32_t lba);

struct image image_after(struct host *host, const struct image *old);
void image_fill(void *block, const struct image *image);
/* False: the block is no image of this LBA. */
bool image_take(struct image *image, const void *block, uint32_t lba);

/*
 * A host that is suspended between its decision to write and the write. When it goes on it looks at
 * no clock, so that only the unit attention of the reset that fenced it keeps its write away.
 */
void volume_stall(struct host *host);

/* All of these say NOT_DONE or MAYBE when the path is lost (host->path.socket < 0 then). */
enum outcome volume_read(struct host *host, uint32_t lba, unsigned blocks, struct image *images);
/*
 * One image into all the blocks, each with its LBA. `old`: what was read there before, under the
 * lock that guards it; NULL otherwise.
 */
enum outcome volume_write(struct host *host, uint32_t lba, unsigned blocks, const struct image *old,
                          const struct image *image);
enum outcome volume_replace(struct host *host, const struct image *old, const struct image *image,
                            uint32_t lba);
/* TEST UNIT READY until it is GOOD; takes the unit attentions. */
enum outcome volume_ready(struct host *host);
/* As an ESX breaks a dead host's hold: LUN RESET, ESX 3 by TARGET WARM RESET. */
enum outcome volume_fence(struct host *host);
