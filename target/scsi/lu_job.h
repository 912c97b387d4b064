/*
 * lu_job: what goes on on a logical unit without a command: slices on the slow lane, one after the
 * other. lu_close() waits for those that are under way, and no slice follows then.
 *
 * Thread    lu_job_start() from any; run() and over() on a pool thread, one at a time.
 * Owns      nothing; it lives in the unit.
 */
#pragma once

#include "backing/engine.h"

#include <stdbool.h>

struct lu;

struct lu_job {
    bool (*run)(struct lu_job *job);  /* a slice; true: another one is to come */
    void (*over)(struct lu_job *job); /* there will be no other one; may be NULL */
    struct lu *lu;
    struct job_pool *pool;
    struct job job;
    bool has_more;
};

/* run, over and lu are set. */
void lu_job_start(struct lu_job *job, struct job_pool *pool);

/* For lu.c: keeps further slices from being run, and waits. */
void lu_jobs_end(struct lu *lu);
