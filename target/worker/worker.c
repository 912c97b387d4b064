#include "target/worker/worker.h"

#include "target/worker/log.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define CONTAINER_OF(pointer, type, member) ((type *)((char *)(pointer)-offsetof(type, member)))

enum {
    WORKERS_DEFAULT_MAX = 4,
    WORKER_STACK_BYTES = 1024 * 1024,
    TURN_ENDS_PER_TURN = 4096, /* past it the loop looks at its sockets first */
    SLOW_LANE_THREADS = 64,
    ENGINE_THREADS_EACH = 8, /* as many as an engine has runners */
};

static const double trim_seconds = 2.0;
static const uint64_t ns_per_s = 1000000000, ns_per_us = 1000;

static _Thread_local struct worker *self;

struct worker *worker_self(void)
{
    return self;
}

void worker_at_turn_end(struct worker *worker, struct turn_end *turn_end)
{
    if (turn_end->is_queued)
        return;
    turn_end->is_queued = true;
    TAILQ_INSERT_TAIL(&worker->turn_ends, turn_end, link);
}

void worker_not_at_turn_end(struct worker *worker, struct turn_end *turn_end)
{
    if (!turn_end->is_queued)
        return;
    turn_end->is_queued = false;
    TAILQ_REMOVE(&worker->turn_ends, turn_end, link);
}

static void again_next_turn(struct ev_loop *loop, ev_idle *again, int events)
{
    (void)events;
    ev_idle_stop(loop, again);
}

static uint64_t read_clock(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * ns_per_s + (uint64_t)now.tv_nsec;
}

/* High priority: before everything that the turn brings, so that all of it is still pending. */
static void turn_begins(struct ev_loop *loop, ev_check *wake, int events)
{
    struct worker *worker = wake->data;

    (void)events;
    worker->now_ns = read_clock();
    worker->has_work = ev_pending_count(loop) > 0;
}

/* High priority: what this submits to the disk goes with the engine's own ev_prepare, which is
 * lower. */
static void turn_is_over(struct ev_loop *loop, ev_prepare *turn, int events)
{
    struct worker *worker = turn->data;
    struct turn_end *turn_end;
    unsigned left = TURN_ENDS_PER_TURN;

    (void)events;
    while ((turn_end = TAILQ_FIRST(&worker->turn_ends)) != NULL && left-- > 0) {
        TAILQ_REMOVE(&worker->turn_ends, turn_end, link);
        turn_end->is_queued = false;
        turn_end->run(turn_end);
    }
    if (!TAILQ_EMPTY(&worker->turn_ends))
        ev_idle_start(loop, &worker->again);
    if (!ev_is_active(&worker->trim) && !buffer_pool_is_bare(worker->buffers))
        ev_timer_again(loop, &worker->trim);
}

/* Stops when nothing is kept any more: an idle worker never wakes up. */
static void trim_buffers(struct ev_loop *loop, ev_timer *trim, int events)
{
    struct worker *worker = trim->data;

    (void)events;
    buffer_pool_trim(worker->buffers);
    if (buffer_pool_is_bare(worker->buffers))
        ev_timer_stop(loop, trim);
}

/* What a worker tells the thread that starts it. */
struct start {
    struct worker *worker;
    enum engine_kind engine;
    pthread_mutex_t mutex;
    pthread_cond_t told;
    bool is_told;
    int error;
    const char *reason;
};

static void stop(struct message *message)
{
    struct worker *worker = CONTAINER_OF(message, struct worker, stop);

    worker->is_stopping = true;
    ev_break(worker->loop, EVBREAK_ALL);
}

/*
 * Turns that do not sleep, until none has brought anything for busy_poll_ns; then one that sleeps
 * until something comes. The time counts from the end of the work, so that a long turn does not use
 * it up. Whatever libev calls anybody for is work: sockets, messages, completions (an eventfd),
 * left-over turn ends; timers too, but an idle worker has none that comes often.
 */
static void run_polling(struct worker *worker)
{
    uint64_t sleep_at_ns = 0;

    while (!worker->is_stopping) {
        ev_run(worker->loop, worker->now_ns < sleep_at_ns ? EVRUN_NOWAIT : EVRUN_ONCE);
        if (worker->has_work)
            sleep_at_ns = read_clock() + worker->group->busy_poll_ns;
    }
}

static void *worker_run(void *arg)
{
    struct start *start = arg;
    struct worker *worker = start->worker;
    char name[16];
    int error;

    self = worker;
    snprintf(name, sizeof(name), "nestor-w%u", worker->index);
    pthread_setname_np(pthread_self(), name);

    /* made here: a ring belongs to the thread that made it */
    error = engine_create(start->engine, worker->loop, worker->group->engine_jobs, &worker->engine,
                          &start->reason);
    pthread_mutex_lock(&start->mutex);
    start->is_told = true;
    start->error = error;
    pthread_cond_signal(&start->told);
    pthread_mutex_unlock(&start->mutex);
    if (error != 0)
        return NULL;

    if (worker->group->busy_poll_ns > 0)
        run_polling(worker);
    else
        ev_run(worker->loop, 0);
    engine_destroy(worker->engine);
    return NULL;
}

/* Signals are the main thread's. */
static int thread_start(struct worker *worker, struct start *start)
{
    pthread_attr_t attr;
    sigset_t all, before;
    int error;

    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, WORKER_STACK_BYTES);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    error = pthread_create(&worker->thread, &attr, worker_run, start);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return -error;
}

static void worker_free(struct worker *worker)
{
    ev_timer_stop(worker->loop, &worker->trim);
    ev_idle_stop(worker->loop, &worker->again);
    ev_prepare_stop(worker->loop, &worker->turn);
    ev_check_stop(worker->loop, &worker->wake);
    mailbox_close(&worker->mailbox);
    buffer_pool_destroy(worker->buffers);
    ev_loop_destroy(worker->loop);
    free(worker);
}

static struct worker *worker_make(struct workers *group, unsigned index)
{
    struct worker *worker = calloc(1, sizeof(*worker));

    if (worker == NULL)
        return NULL;
    worker->index = index;
    worker->group = group;
    worker->stop.run = stop;
    TAILQ_INIT(&worker->turn_ends);
    worker->buffers = buffer_pool_create(&group->budget);
    worker->loop = worker->buffers != NULL ? ev_loop_new(EVFLAG_AUTO | EVFLAG_NOENV) : NULL;
    if (worker->loop == NULL) {
        buffer_pool_destroy(worker->buffers);
        free(worker);
        return NULL;
    }
    mailbox_open(&worker->mailbox, worker->loop);

    worker->now_ns = read_clock();
    ev_check_init(&worker->wake, turn_begins);
    ev_set_priority(&worker->wake, EV_MAXPRI);
    worker->wake.data = worker;
    ev_check_start(worker->loop, &worker->wake);
    ev_prepare_init(&worker->turn, turn_is_over);
    ev_set_priority(&worker->turn, EV_MAXPRI);
    worker->turn.data = worker;
    ev_prepare_start(worker->loop, &worker->turn);
    ev_idle_init(&worker->again, again_next_turn);
    ev_set_priority(&worker->again, EV_MINPRI);
    ev_timer_init(&worker->trim, trim_buffers, 0., trim_seconds);
    worker->trim.data = worker;
    return worker;
}

/* 0 once the worker's loop is about to run; otherwise nothing of its thread is left. */
static int worker_start(struct worker *worker, enum engine_kind engine, const char **reason)
{
    struct start start = { .worker = worker, .engine = engine };
    int error;

    pthread_mutex_init(&start.mutex, NULL);
    pthread_cond_init(&start.told, NULL);
    error = thread_start(worker, &start);
    if (error == 0) {
        pthread_mutex_lock(&start.mutex);
        while (!start.is_told)
            pthread_cond_wait(&start.told, &start.mutex);
        error = start.error;
        pthread_mutex_unlock(&start.mutex);
        if (error != 0)
            pthread_join(worker->thread, NULL);
    }
    pthread_cond_destroy(&start.told);
    pthread_mutex_destroy(&start.mutex);
    *reason = start.reason;
    return error;
}

static unsigned default_count(void)
{
    cpu_set_t cpus;
    int count = sched_getaffinity(0, sizeof(cpus), &cpus) == 0 ? CPU_COUNT(&cpus) : 1;

    return count > WORKERS_DEFAULT_MAX ? WORKERS_DEFAULT_MAX : (unsigned)count;
}

int workers_start(const struct workers_options *options, struct workers **out)
{
    unsigned count = options->count == 0 ? default_count() : options->count;
    struct workers *workers;
    const char *reason;
    int error;

    if (count > WORKERS_MAX)
        return -EINVAL;
    workers = calloc(1, sizeof(*workers));
    if (workers == NULL)
        return -ENOMEM;
    workers->budget.limit_bytes = options->memory_limit_bytes;
    workers->busy_poll_ns = options->busy_poll_us * ns_per_us;
    workers->uses_sendfile = options->uses_sendfile;
    error = job_pool_create(SLOW_LANE_THREADS, &workers->jobs);
    if (error == 0)
        error = job_pool_create(count * ENGINE_THREADS_EACH, &workers->engine_jobs);
    if (error != 0) {
        job_pool_destroy(workers->jobs);
        free(workers);
        return error;
    }

    for (unsigned i = 0; i < count; i++) {
        struct worker *worker = worker_make(workers, i);

        error = worker == NULL ? -ENOMEM : worker_start(worker, options->engine, &reason);
        if (error != 0) {
            if (worker != NULL)
                worker_free(worker);
            workers_stop(workers);
            return error;
        }
        if (i == 0 && reason != NULL)
            log_warning("io_uring is not used: %s; threads do the disk's work", reason);
        workers->worker[workers->count++] = worker;
    }
    *out = workers;
    return 0;
}

void workers_stop(struct workers *workers)
{
    if (workers == NULL)
        return;
    for (unsigned i = 0; i < workers->count; i++)
        worker_post(workers->worker[i], &workers->worker[i]->stop);
    for (unsigned i = 0; i < workers->count; i++)
        pthread_join(workers->worker[i]->thread, NULL);
    /* its jobs' done() post to the mailboxes, so the pool goes first */
    job_pool_destroy(workers->jobs);
    job_pool_destroy(workers->engine_jobs);
    for (unsigned i = 0; i < workers->count; i++)
        worker_free(workers->worker[i]);
    free(workers);
}

void worker_post(struct worker *worker, struct message *message)
{
    mailbox_post(&worker->mailbox, message);
}

static void slow_done(struct message *message)
{
    struct slow_job *job = CONTAINER_OF(message, struct slow_job, message);

    job->done(job);
}

static void slow_run(struct job *job)
{
    struct slow_job *slow = CONTAINER_OF(job, struct slow_job, job);

    slow->run(slow);
}

static void slow_ran(struct job *job)
{
    struct slow_job *slow = CONTAINER_OF(job, struct slow_job, job);

    worker_post(slow->worker, &slow->message);
}

void worker_slow(struct worker *worker, struct job_group *group, struct slow_job *job)
{
    job->worker = worker;
    job->message.run = slow_done;
    job->job.run = slow_run;
    job->job.done = slow_ran;
    job->job.group = group;
    job_pool_submit(worker->group->jobs, &job->job);
}

static void broadcast_part(struct message *message)
{
    struct broadcast_part *part = CONTAINER_OF(message, struct broadcast_part, message);

    part->broadcast->each(part->broadcast, part->worker);
}

static void broadcast_done(struct message *message)
{
    struct broadcast *broadcast = CONTAINER_OF(message, struct broadcast, home_message);

    broadcast->done(broadcast);
}

void workers_broadcast(struct workers *workers, struct broadcast *broadcast)
{
    unsigned count = workers->count;

    /* whole before the first post: with the last arrival it is its owner's again */
    atomic_store(&broadcast->waiting, count);
    broadcast->home_message.run = broadcast_done;
    for (unsigned i = 0; i < count; i++) {
        broadcast->part[i].message.run = broadcast_part;
        broadcast->part[i].broadcast = broadcast;
        broadcast->part[i].worker = workers->worker[i];
    }
    for (unsigned i = 0; i < count; i++)
        worker_post(workers->worker[i], &broadcast->part[i].message);
}

void broadcast_arrive(struct broadcast *broadcast)
{
    if (atomic_fetch_sub(&broadcast->waiting, 1) == 1)
        mailbox_post(broadcast->home, &broadcast->home_message);
}
