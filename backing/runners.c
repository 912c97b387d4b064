#include "backing/runners.h"

#include "backing/file.h"
#include "backing/transfer.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

enum {
    RUNNERS = 8,
    LANE_ANSWERS = 16, /* writes of a lane that are answered at once */
    LANE_ANSWERS_BYTES = 1024 * 1024,
    LANE_TURN = 64, /* past it the others that need a runner come first */
};

struct runner {
    struct job job;
    struct runners *runners;
    struct runner *next; /* while it rests */
};

struct runners {
    struct ev_loop *loop;
    struct job_pool *jobs;
    void (*came)(struct io *io);
    ev_async completed;
    struct io_queue ready; /* the loop's thread only, like its count */
    unsigned ready_count;

    pthread_mutex_t mutex; /* for all that follows */
    pthread_cond_t rested;
    struct io_queue todo, over;
    unsigned todo_count, resting_count;
    struct runner *resting;
    struct runner runner[RUNNERS];
};

static void run(struct io *io)
{
    io->engine.is_sync_made = transfer_is_sync(io);
    if (io->engine.is_sync_made)
        io->result = (int)transfer_call(io);
    else
        transfer_run_to_sync(io);
}

/*
 * To the loops that they came from. After the last io of another engine that one may be destroyed;
 * our own waits for us, so its loop is woken when it no longer finds the mutex locked.
 */
static void hand_back(struct runners *runners, struct io_queue *went)
{
    struct io *io = went->first;

    while (io != NULL) {
        struct runners *home = io->engine.engine->runners;
        bool was_empty;

        pthread_mutex_lock(&home->mutex);
        was_empty = home->over.first == NULL;
        do {
            io_queue_put(&home->over, io_queue_take(went));
            io = went->first;
        } while (io != NULL && io->engine.engine->runners == home);
        if (was_empty && home != runners)
            ev_async_send(home->loop, &home->completed);
        pthread_mutex_unlock(&home->mutex);
        if (was_empty && home == runners)
            ev_async_send(home->loop, &home->completed);
    }
}

/* `io` leads. What is left of the lane after a turn is led by the one that is returned. */
static struct io *run_lane(struct runners *runners, struct io *io)
{
    struct io_queue went;
    unsigned answers = 0;
    uint64_t answers_bytes = 0;

    io_queue_init(&went);
    for (unsigned i = 0; io != NULL && i < LANE_TURN; i++) {
        struct io *before = io;

        run(before);
        io = lane_next(&before->backing->lane);
        io_queue_put(&went, before);
        answers_bytes += before->len_bytes;
        if (io == NULL || ++answers == LANE_ANSWERS || answers_bytes >= LANE_ANSWERS_BYTES) {
            hand_back(runners, &went);
            answers = 0;
            answers_bytes = 0;
        }
    }
    hand_back(runners, &went);
    return io;
}

static void runner_run(struct job *job)
{
    struct runners *runners = ((struct runner *)job)->runners;
    struct io *io;

    pthread_mutex_lock(&runners->mutex);
    while ((io = io_queue_take(&runners->todo)) != NULL) {
        struct io_queue went;

        runners->todo_count--;
        pthread_mutex_unlock(&runners->mutex);
        if (io->engine.is_in_lane) {
            io = run_lane(runners, io);
        } else {
            run(io);
            io_queue_init(&went);
            io_queue_put(&went, io);
            hand_back(runners, &went);
            io = NULL;
        }
        pthread_mutex_lock(&runners->mutex);
        if (io != NULL) {
            io_queue_put(&runners->todo, io);
            runners->todo_count++;
        }
    }
    pthread_mutex_unlock(&runners->mutex);
}

static void runner_done(struct job *job)
{
    struct runner *runner = (struct runner *)job;
    struct runners *runners = runner->runners;
    bool is_needed;

    pthread_mutex_lock(&runners->mutex);
    is_needed = runners->todo.first != NULL; /* came since runner_run() last looked */
    if (!is_needed) {
        runner->next = runners->resting;
        runners->resting = runner;
        runners->resting_count++;
        pthread_cond_signal(&runners->rested);
    }
    pthread_mutex_unlock(&runners->mutex);
    if (is_needed)
        job_pool_submit(runners->jobs, job);
}

/* Those that rest are woken for what was put before. */
static bool one_rests(struct runners *runners)
{
    bool rests;

    pthread_mutex_lock(&runners->mutex);
    rests = runners->resting_count > runners->ready_count;
    pthread_mutex_unlock(&runners->mutex);
    return rests;
}

bool runners_put(struct runners *runners, struct io *io, bool may_wait)
{
    if (!may_wait && !one_rests(runners))
        return false;
    io->engine.is_in_lane = false;
    io_queue_put(&runners->ready, io);
    runners->ready_count++;
    return true;
}

bool runners_put_in_lane(struct runners *runners, struct io *io, bool may_wait)
{
    enum lane_place place;

    io->engine.is_in_lane = true;
    place = lane_join(&io->backing->lane, io, may_wait || one_rests(runners));
    if (place == LANE_LEADS) {
        io_queue_put(&runners->ready, io);
        runners->ready_count++;
    }
    return place != LANE_REFUSED;
}

void runners_start(struct runners *runners)
{
    struct runner *runner, *started = NULL;
    unsigned wanted;

    if (runners->ready.first == NULL)
        return;
    pthread_mutex_lock(&runners->mutex);
    io_queue_move(&runners->todo, &runners->ready);
    runners->todo_count += runners->ready_count;
    runners->ready_count = 0;
    for (wanted = runners->todo_count; wanted > 0 && runners->resting != NULL; wanted--) {
        runner = runners->resting;
        runners->resting = runner->next;
        runners->resting_count--;
        runner->next = started;
        started = runner;
    }
    pthread_mutex_unlock(&runners->mutex);

    while ((runner = started) != NULL) {
        started = runner->next;
        job_pool_submit(runners->jobs, &runner->job);
    }
}

static void completions_came(struct ev_loop *loop, ev_async *completed, int events)
{
    struct runners *runners = completed->data;
    struct io_queue over;
    struct io *io;

    (void)loop;
    (void)events;
    io_queue_init(&over);
    pthread_mutex_lock(&runners->mutex);
    io_queue_move(&over, &runners->over);
    pthread_mutex_unlock(&runners->mutex);
    while ((io = io_queue_take(&over)) != NULL)
        runners->came(io);
}

void runners_destroy(struct runners *runners)
{
    /* the last io is over, but its runner may not have lain down yet */
    pthread_mutex_lock(&runners->mutex);
    while (runners->resting_count < RUNNERS)
        pthread_cond_wait(&runners->rested, &runners->mutex);
    pthread_mutex_unlock(&runners->mutex);

    ev_async_stop(runners->loop, &runners->completed);
    pthread_cond_destroy(&runners->rested);
    pthread_mutex_destroy(&runners->mutex);
    free(runners);
}

int runners_create(struct ev_loop *loop, struct job_pool *jobs, void (*came)(struct io *io),
                   struct runners **out)
{
    struct runners *runners = calloc(1, sizeof(*runners));

    if (runners == NULL)
        return -ENOMEM;
    runners->loop = loop;
    runners->jobs = jobs;
    runners->came = came;
    io_queue_init(&runners->ready);
    io_queue_init(&runners->todo);
    io_queue_init(&runners->over);
    pthread_mutex_init(&runners->mutex, NULL);
    pthread_cond_init(&runners->rested, NULL);
    for (unsigned i = 0; i < RUNNERS; i++) {
        struct runner *runner = &runners->runner[i];

        runner->job.run = runner_run;
        runner->job.done = runner_done;
        runner->runners = runners;
        runner->next = runners->resting;
        runners->resting = runner;
    }
    runners->resting_count = RUNNERS;

    ev_async_init(&runners->completed, completions_came);
    runners->completed.data = runners;
    ev_async_start(loop, &runners->completed);
    *out = runners;
    return 0;
}
