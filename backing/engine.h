/*
 * engine: runs `struct io` asynchronously for one event loop.
 *
 * Two kinds behind one interface: io_uring (its completions wake the loop through an eventfd), and
 * a pool of threads for where io_uring is refused. Both are made, used and destroyed on the loop's
 * thread. io submitted in one loop turn reaches the kernel in one call, before the loop sleeps.
 */
#pragma once

#include "backing/backing.h"

#include <ev.h>

struct engine;
struct job_pool;

enum engine_kind {
    ENGINE_AUTO, /* io_uring, or threads when the kernel says no */
    ENGINE_URING,
    ENGINE_THREADS,
};

/*
 * *reason (may be NULL) is set to why io_uring was not taken, when ENGINE_AUTO fell back; a static
 * string otherwise NULL. `jobs` serves the thread engine, and outlives the engine.
 */
int engine_create(enum engine_kind kind, struct ev_loop *loop, struct job_pool *jobs,
                  struct engine **out, const char **reason);

/* Only when nothing is under way, and not from within a done(). */
void engine_destroy(struct engine *engine);

/* Never fails at once: what is wrong with an io comes back through its done(); what has no room
 * waits. */
void engine_submit(struct engine *engine, struct io *io);

enum engine_kind engine_kind(const struct engine *engine);
unsigned engine_in_flight(const struct engine *engine);

/*
 * job_pool: a small pool of threads, one for the whole process, for calls that can sleep on a disk
 * (the thread engine's transfers; the slow lane's open, fallocate, reflink, fsync, stat). Threads
 * start when first needed and end when they have been idle for a while; one stays, so that a
 * submitted job always runs.
 */
struct job {
    void (*run)(struct job *job);  /* on a pool thread */
    void (*done)(struct job *job); /* on a pool thread too, last; must hand over by itself */
    struct job_group *group;       /* NULL: none */
    struct job *next;
};

/*
 * Jobs of which JOB_GROUP_THREADS take a thread at a time at most, the others wait: those on one
 * disk, so that when it hangs there are threads for the others. All zeros at first; the pool's from
 * then on, as long as one of its jobs has not come to done().
 */
enum { JOB_GROUP_THREADS = 8 };
struct job_group {
    unsigned running; /* or about to */
    struct job *first, *last;
};

int job_pool_create(unsigned max_threads, struct job_pool **out);
void job_pool_destroy(struct job_pool *pool); /* waits for what was submitted */
void job_pool_submit(struct job_pool *pool, struct job *job);
