/*
 * runners: threads of the job pool that work for one engine: at most RUNNERS at a time.
 *
 * What is put in a turn is handed over in one go by runners_start(), before the loop sleeps. Each
 * runner takes one io after the other until none is left, and with the first write of a lane all
 * that follow it there. What they have done comes back through a list and an ev_async.
 *
 * All of it is called on the loop's thread. An io goes until it is over, or until its next call is
 * a sync; a sync is a call of its own, whose result stands in io->result for transfer_went().
 */
#pragma once

#include "backing/engine_ops.h"

struct runners;

/* came() gets each io that was put, on the loop's thread, and outside of every ev_prepare. */
int runners_create(struct ev_loop *loop, struct job_pool *jobs, void (*came)(struct io *io),
                   struct runners **out);

/* When nothing that was put is still to come. */
void runners_destroy(struct runners *runners);

/* False: all threads are at work; nothing has been done. With may_wait that is no reason. */
bool runners_put(struct runners *runners, struct io *io, bool may_wait);

/* The same for a write to a regular file, in its file's lane: there it may need no thread. */
bool runners_put_in_lane(struct runners *runners, struct io *io, bool may_wait);

/* Wakes as many threads as what was put since needs. */
void runners_start(struct runners *runners);
