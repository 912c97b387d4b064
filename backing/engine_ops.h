/*
 * engine_ops: what an engine of one kind gives to engine.c.
 *
 * A kind's own struct begins with `struct engine`. submit() and destroy() are called on the loop's
 * thread; for each io that is over the kind calls engine_finish() there, outside of submit() and of
 * every ev_prepare, since done() may ask for something at the turn's end.
 */
#pragma once

#include "backing/engine.h"
#include "backing/io_queue.h"

struct runners;

struct engine_ops {
    enum engine_kind kind;
    void (*submit)(struct engine *engine, struct io *io);
    void (*destroy)(struct engine *engine);
};

struct engine {
    const struct engine_ops *ops;
    struct runners *runners; /* its threads, see runners.h */
    unsigned in_flight;
};

void engine_finish(struct io *io);

/* 0, or a negative errno with *reason, a static string for a person. */
int uring_create(struct ev_loop *loop, struct job_pool *jobs, struct engine **out,
                 const char **reason);
int threads_create(struct ev_loop *loop, struct job_pool *jobs, struct engine **out);
