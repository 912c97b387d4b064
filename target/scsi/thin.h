/*
 * thin: how much of what a thin unit can take is taken, and the unit attention past a threshold
 * (SBC-3 4.7.3.7): ESX tells its people while there is still room.
 *
 * Looked at after commands that change the medium, at most once a second, on the slow lane.
 */
#pragma once

#include "target/scsi/lu_job.h"

#include <stdatomic.h>
#include <stdint.h>

struct lu;

struct thin {
    unsigned threshold_percent; /* 0: nobody is told */
    _Atomic uint64_t looked_ns; /* when it was last looked at */
    _Atomic bool is_looking;
    bool is_past; /* the latest look's */
    struct lu_job job;
};

void thin_open(struct thin *thin, struct lu *lu, unsigned threshold_percent);

/* A command has changed the medium, or failed to; `now_ns` on CLOCK_MONOTONIC. One load mostly. */
void thin_look(struct thin *thin, struct job_pool *pool, uint64_t now_ns);

/*
 * Is the threshold passed, when `allocated` is in use of a unit of size_bytes, `free` can still be
 * given, and it was passed or not before? Back only when five percent below, so that a host that
 * hovers about it is told once.
 */
bool thin_is_past(unsigned threshold_percent, uint64_t size_bytes, uint64_t allocated_bytes,
                  uint64_t free_bytes, bool was_past);
