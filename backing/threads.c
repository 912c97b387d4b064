/*
 * threads: the engine over the job pool, for where io_uring is refused.
 *
 * What is submitted in a turn is handed to the runners in one go, before the loop sleeps. Writes to
 * a file go in its lane, and durable ones share their syncs; a sync is begun at the turn's end, for
 * all that have come to one by then.
 */
#include "backing/engine_ops.h"
#include "backing/runners.h"
#include "backing/sync_groups.h"
#include "backing/transfer.h"

#include <errno.h>
#include <stdlib.h>

struct threads {
    struct engine engine;
    struct ev_loop *loop;
    ev_prepare turn;
    struct sync_groups syncs;
    struct io_queue ready_syncs;
};

static void turn_is_over(struct ev_loop *loop, ev_prepare *turn, int events)
{
    struct threads *threads = turn->data;
    struct io *io;

    (void)loop;
    (void)events;
    while ((io = io_queue_take(&threads->ready_syncs)) != NULL) {
        sync_groups_start(&threads->syncs, io);
        runners_put(threads->engine.runners, io, true);
    }
    runners_start(threads->engine.runners);
}

static void make_ready(struct threads *threads, struct io *io)
{
    if (transfer_is_file_write(io))
        runners_put_in_lane(threads->engine.runners, io, true);
    else if (!transfer_is_sync(io))
        runners_put(threads->engine.runners, io, true);
    else if (sync_groups_lead(&threads->syncs, io))
        io_queue_put(&threads->ready_syncs, io);
}

static void runner_came(struct io *io)
{
    struct threads *threads = (struct threads *)io->engine.engine;
    struct io_queue over;

    if (!io->engine.is_sync_made && transfer_is_sync(io))
        return make_ready(threads, io);
    io_queue_init(&over);
    if (io->engine.is_sync_made)
        sync_groups_end(&threads->syncs, io, io->result, &over, &threads->ready_syncs);
    else
        io_queue_put(&over, io);
    while ((io = io_queue_take(&over)) != NULL)
        engine_finish(io);
}

static void threads_submit(struct engine *engine, struct io *io)
{
    make_ready((struct threads *)engine, io);
}

static void threads_destroy(struct engine *engine)
{
    struct threads *threads = (struct threads *)engine;

    ev_prepare_stop(threads->loop, &threads->turn);
    sync_groups_close(&threads->syncs);
    runners_destroy(engine->runners);
    free(threads);
}

static const struct engine_ops threads_ops = {
    .kind = ENGINE_THREADS,
    .submit = threads_submit,
    .destroy = threads_destroy,
};

int threads_create(struct ev_loop *loop, struct job_pool *jobs, struct engine **out)
{
    struct threads *threads = calloc(1, sizeof(*threads));
    int error = -ENOMEM;

    if (threads != NULL)
        error = runners_create(loop, jobs, runner_came, &threads->engine.runners);
    if (error != 0) {
        free(threads);
        return error;
    }
    threads->engine.ops = &threads_ops;
    threads->loop = loop;
    io_queue_init(&threads->ready_syncs);
    ev_prepare_init(&threads->turn, turn_is_over);
    ev_set_priority(&threads->turn, EV_MINPRI);
    threads->turn.data = threads;
    ev_prepare_start(loop, &threads->turn);
    *out = &threads->engine;
    return 0;
}
