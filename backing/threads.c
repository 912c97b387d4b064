/*
 * threads: the engine over the job pool, for where io_uring is refused.
 *
 * What is submitted in a turn is handed over in one go, before the loop sleeps. A few runners, jobs
 * of the pool, take one io after the other until none is left; what they have done comes back
 * through a list and an ev_async, and done() runs on the loop's thread.
 */
#include "backing/engine_ops.h"
#include "backing/transfer.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

enum { RUNNERS = 8 };

struct runner {
    struct job job;
    struct threads *threads;
    struct runner *next; /* while it rests */
};

struct threads {
    struct engine engine;
    struct ev_loop *loop;
    struct job_pool *jobs;
    ev_prepare turn;
    ev_async completed;
    struct io_queue ready; /* the loop's thread only, like its count */
    unsigned ready_count;

    pthread_mutex_t mutex; /* for all that follows */
    pthread_cond_t rested;
    struct io_queue todo, over;
    unsigned todo_count, resting_count;
    struct runner *resting;
    struct runner runners[RUNNERS];
};

static void runner_run(struct job *job)
{
    struct threads *threads = ((struct runner *)job)->threads;
    struct io *io;

    pthread_mutex_lock(&threads->mutex);
    while ((io = io_queue_take(&threads->todo)) != NULL) {
        bool was_empty;

        threads->todo_count--;
        pthread_mutex_unlock(&threads->mutex);
        transfer_run(io);
        pthread_mutex_lock(&threads->mutex);
        was_empty = threads->over.first == NULL;
        io_queue_put(&threads->over, io);
        if (was_empty)
            ev_async_send(threads->loop, &threads->completed);
    }
    pthread_mutex_unlock(&threads->mutex);
}

static void runner_done(struct job *job)
{
    struct runner *runner = (struct runner *)job;
    struct threads *threads = runner->threads;
    bool is_needed;

    pthread_mutex_lock(&threads->mutex);
    is_needed = threads->todo.first != NULL; /* came since runner_run() last looked */
    if (!is_needed) {
        runner->next = threads->resting;
        threads->resting = runner;
        threads->resting_count++;
        pthread_cond_signal(&threads->rested);
    }
    pthread_mutex_unlock(&threads->mutex);
    if (is_needed)
        job_pool_submit(threads->jobs, job);
}

static void turn_is_over(struct ev_loop *loop, ev_prepare *turn, int events)
{
    struct threads *threads = turn->data;
    struct runner *runner, *started = NULL;
    unsigned wanted;

    (void)loop;
    (void)events;
    if (threads->ready.first == NULL)
        return;
    pthread_mutex_lock(&threads->mutex);
    io_queue_move(&threads->todo, &threads->ready);
    threads->todo_count += threads->ready_count;
    threads->ready_count = 0;
    for (wanted = threads->todo_count; wanted > 0 && threads->resting != NULL; wanted--) {
        runner = threads->resting;
        threads->resting = runner->next;
        threads->resting_count--;
        runner->next = started;
        started = runner;
    }
    pthread_mutex_unlock(&threads->mutex);

    while ((runner = started) != NULL) {
        started = runner->next;
        job_pool_submit(threads->jobs, &runner->job);
    }
}

static void completions_came(struct ev_loop *loop, ev_async *completed, int events)
{
    struct threads *threads = completed->data;
    struct io_queue over;
    struct io *io;

    (void)loop;
    (void)events;
    io_queue_init(&over);
    pthread_mutex_lock(&threads->mutex);
    io_queue_move(&over, &threads->over);
    pthread_mutex_unlock(&threads->mutex);
    while ((io = io_queue_take(&over)) != NULL)
        engine_finish(io);
}

static void threads_submit(struct engine *engine, struct io *io)
{
    struct threads *threads = (struct threads *)engine;

    io_queue_put(&threads->ready, io);
    threads->ready_count++;
}

static void threads_destroy(struct engine *engine)
{
    struct threads *threads = (struct threads *)engine;

    /* the last io is over, but its runner may not have lain down yet */
    pthread_mutex_lock(&threads->mutex);
    while (threads->resting_count < RUNNERS)
        pthread_cond_wait(&threads->rested, &threads->mutex);
    pthread_mutex_unlock(&threads->mutex);

    ev_async_stop(threads->loop, &threads->completed);
    ev_prepare_stop(threads->loop, &threads->turn);
    pthread_cond_destroy(&threads->rested);
    pthread_mutex_destroy(&threads->mutex);
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

    if (threads == NULL)
        return -ENOMEM;
    threads->engine.ops = &threads_ops;
    threads->loop = loop;
    threads->jobs = jobs;
    io_queue_init(&threads->ready);
    io_queue_init(&threads->todo);
    io_queue_init(&threads->over);
    pthread_mutex_init(&threads->mutex, NULL);
    pthread_cond_init(&threads->rested, NULL);
    for (unsigned i = 0; i < RUNNERS; i++) {
        struct runner *runner = &threads->runners[i];

        runner->job.run = runner_run;
        runner->job.done = runner_done;
        runner->threads = threads;
        runner->next = threads->resting;
        threads->resting = runner;
    }
    threads->resting_count = RUNNERS;

    ev_prepare_init(&threads->turn, turn_is_over);
    ev_set_priority(&threads->turn, EV_MINPRI);
    threads->turn.data = threads;
    ev_prepare_start(loop, &threads->turn);
    ev_async_init(&threads->completed, completions_came);
    threads->completed.data = threads;
    ev_async_start(loop, &threads->completed);
    *out = &threads->engine;
    return 0;
}
