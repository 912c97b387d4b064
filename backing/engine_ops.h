/*
 * engine_ops: what an engine of one kind gives to engine.c.
 *
 * A kind's own struct begins with `struct engine`. submit() and destroy() are called on the loop's
 * thread; for each io that is over the kind calls engine_finish() there, outside of submit() and of
 * every ev_prepare, since done() may ask for something at the turn's end.
 */
#pragma once

#include "backing/engine.h"

struct engine_ops {
    enum engine_kind kind;
    bool groups_syncs; /* see transfer_begin() */
    void (*submit)(struct engine *engine, struct io *io);
    void (*destroy)(struct engine *engine);
};

struct engine {
    const struct engine_ops *ops;
    unsigned in_flight;
};

/* A list of io in the order in which they came. */
struct io_queue {
    struct io *first, **last;
};

static inline void io_queue_init(struct io_queue *queue)
{
    queue->first = NULL;
    queue->last = &queue->first;
}

static inline void io_queue_put(struct io_queue *queue, struct io *io)
{
    io->engine.next = NULL;
    *queue->last = io;
    queue->last = &io->engine.next;
}

static inline struct io *io_queue_take(struct io_queue *queue)
{
    struct io *io = queue->first;

    if (io != NULL) {
        queue->first = io->engine.next;
        if (queue->first == NULL)
            queue->last = &queue->first;
    }
    return io;
}

/* All of `from` to the end of `to`. */
static inline void io_queue_move(struct io_queue *to, struct io_queue *from)
{
    if (from->first == NULL)
        return;
    *to->last = from->first;
    to->last = from->last;
    io_queue_init(from);
}

void engine_finish(struct io *io);

/* 0, or a negative errno with *reason, a static string for a person. */
int uring_create(struct ev_loop *loop, struct engine **out, const char **reason);
int threads_create(struct ev_loop *loop, struct job_pool *jobs, struct engine **out);
