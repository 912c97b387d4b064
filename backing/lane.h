/*
 * lane: the writes of one image that need a thread, in a row.
 *
 * A file system does the buffered writes of one file one after the other, whoever makes them, so a
 * second thread would only wait for the first, and waking it costs as much as a write. The write
 * that finds the lane empty leads: it is given to a thread, which goes on with all that have joined
 * by then, of whichever engine, until none is left. A file that is stuck holds one thread so.
 *
 * Any thread. Part of its `struct backing`; who leads, or has joined and is not answered yet, keeps
 * that open.
 */
#pragma once

#include "backing/io_queue.h"

#include <pthread.h>

struct lane {
    pthread_mutex_t mutex; /* for all that follows */
    struct io_queue joined;
    bool is_led;
};

enum lane_place {
    LANE_JOINED,  /* the thread that is at work comes to it */
    LANE_LEADS,   /* the caller finds a thread for it */
    LANE_REFUSED, /* it would lead, and may not */
};

void lane_open(struct lane *lane);
void lane_close(struct lane *lane);

enum lane_place lane_join(struct lane *lane, struct io *io, bool may_lead);

/* Whoever leads: the next in the row, to lead from now on. NULL: there is none, and nobody leads.
 * What led before is not to be answered until then. */
struct io *lane_next(struct lane *lane);
