/*
 * io_queue: a list of io in the order in which they came. No lock of its own; an io is in one at a
 * time.
 */
#pragma once

#include "backing/backing.h"

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
