/*
 * file: the inside of a `struct backing`, for the engines in this folder.
 *
 * All of it is set when the image is opened; the atomics change while several threads use it.
 */
#pragma once

#include "backing/backing.h"
#include "backing/holes.h"
#include "backing/lane.h"

#include <stdatomic.h>

/*
 * The image's addresses, for mincore(2) to be asked about; nobody touches them, so they cost no
 * memory. One that was made before the image grew stays to the end: others may be asking it.
 */
struct outline {
    void *start;
    uint64_t len_bytes;
    struct outline *older;
};
void outlines_free(struct outline *newest); /* and the older ones; NULL is fine; cached.c */

struct backing {
    int fd;
    char *path;
    bool is_readonly;
    bool is_memory;       /* tmpfs: can't sleep on a disk */
    bool tells_residency; /* which pages are in memory; the kernel tells only who could write it */
    struct outline *_Atomic outline; /* the newest; NULL: nobody has asked what is in memory */
    struct backing_place place;
    uint32_t file_system_block_bytes; /* 0: no file, or not known */
    _Atomic uint64_t size_bytes;

    /* What the file system has said it can't do; asked only once. */
    atomic_bool lacks_nowait_read, lacks_nowait_write;
    atomic_bool knows_nowait_write; /* neither of the two: nobody has asked yet */
    atomic_bool lacks_dsync, lacks_punch, lacks_zero_range;
    atomic_bool lacks_outline; /* there were no addresses for it */
    /* The same of pairs: the last source, as its `device` + 1, from which it can't. */
    _Atomic uint64_t lacks_clone_from, lacks_copy_from;

    /* How often the disk has failed to keep what was written; see transfer.c. */
    _Atomic unsigned failed_syncs;

    struct lane lane; /* of the writes that need a thread */
    struct holes holes;
};
