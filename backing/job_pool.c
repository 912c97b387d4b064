#include "backing/engine.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

enum {
    STACK_BYTES = 256 * 1024,
    IDLE_SECONDS = 10,
};

struct job_pool {
    pthread_mutex_t mutex;
    pthread_cond_t work, ended;
    struct job *first, **last;
    unsigned waiting_jobs, idle_threads, threads, max_threads;
    bool is_ending;

    /* A thread that ends joins the one that ended before it; the last is left to the pool. */
    bool has_ended_thread;
    pthread_t ended_thread;
};

static struct job *take(struct job_pool *pool)
{
    struct job *job = pool->first;

    pool->first = job->next;
    if (pool->first == NULL)
        pool->last = &pool->first;
    pool->waiting_jobs--;
    return job;
}

/* To the end of the queue. The caller has the mutex, and wakes a thread when it has given it up. */
static void put(struct job_pool *pool, struct job *job)
{
    job->next = NULL;
    *pool->last = job;
    pool->last = &job->next;
    pool->waiting_jobs++;
}

/* False: as many of its group have a thread already, and it waits until one of them has run. */
static bool may_run(struct job_group *group, struct job *job)
{
    if (group->running < JOB_GROUP_THREADS) {
        group->running++;
        return true;
    }
    job->next = NULL;
    if (group->first == NULL)
        group->first = job;
    else
        group->last->next = job;
    group->last = job;
    return false;
}

/* One of its jobs has run: the one that has waited longest is next, on this thread if on no other.
 */
static void has_run(struct job_pool *pool, struct job_group *group)
{
    struct job *job = group->first;

    if (job == NULL) {
        group->running--;
        return;
    }
    group->first = job->next;
    put(pool, job);
}

/* Sleeps until there is a job (true), or this thread isn't needed any more. */
static bool wait_for_job(struct job_pool *pool)
{
    struct timespec deadline;

    clock_gettime(CLOCK_MONOTONIC, &deadline);
    deadline.tv_sec += IDLE_SECONDS;
    pool->idle_threads++;
    while (pool->first == NULL && !pool->is_ending) {
        if (pool->threads == 1) /* the one that stays */
            pthread_cond_wait(&pool->work, &pool->mutex);
        else if (pthread_cond_timedwait(&pool->work, &pool->mutex, &deadline) == ETIMEDOUT &&
                 pool->threads > 1)
            break;
    }
    pool->idle_threads--;
    return pool->first != NULL;
}

static void *thread_run(void *arg)
{
    struct job_pool *pool = arg;
    bool has_before;
    pthread_t before;

    pthread_setname_np(pthread_self(), "nestor-job");
    pthread_mutex_lock(&pool->mutex);
    while (wait_for_job(pool)) {
        struct job *job = take(pool);
        struct job_group *group = job->group;

        pthread_mutex_unlock(&pool->mutex);
        job->run(job);
        if (group != NULL) { /* it may go with its last job's done() */
            pthread_mutex_lock(&pool->mutex);
            has_run(pool, group);
            pthread_mutex_unlock(&pool->mutex);
        }
        job->done(job);
        pthread_mutex_lock(&pool->mutex);
    }
    has_before = pool->has_ended_thread;
    before = pool->ended_thread;
    pool->has_ended_thread = true;
    pool->ended_thread = pthread_self();
    if (--pool->threads == 0)
        pthread_cond_signal(&pool->ended);
    pthread_mutex_unlock(&pool->mutex);
    if (has_before)
        pthread_join(before, NULL);
    return NULL;
}

/* With the mutex held, so that a thread counts before it can look for work. */
static int thread_start(struct job_pool *pool)
{
    pthread_attr_t attr;
    pthread_t thread;
    sigset_t all, before;
    int error;

    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    sigfillset(&all); /* signals are the main thread's */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    error = pthread_create(&thread, &attr, thread_run, pool);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    if (error == 0)
        pool->threads++;
    return -error;
}

int job_pool_create(unsigned max_threads, struct job_pool **out)
{
    struct job_pool *pool;
    pthread_condattr_t attr;
    int error;

    if (max_threads == 0)
        return -EINVAL;
    pool = calloc(1, sizeof(*pool));
    if (pool == NULL)
        return -ENOMEM;
    pool->max_threads = max_threads;
    pool->last = &pool->first;
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&pool->work, &attr);
    pthread_cond_init(&pool->ended, NULL);
    pthread_condattr_destroy(&attr);

    pthread_mutex_lock(&pool->mutex);
    error = thread_start(pool);
    pthread_mutex_unlock(&pool->mutex);
    if (error != 0) {
        pthread_cond_destroy(&pool->ended);
        pthread_cond_destroy(&pool->work);
        pthread_mutex_destroy(&pool->mutex);
        free(pool);
        return error;
    }
    *out = pool;
    return 0;
}

void job_pool_destroy(struct job_pool *pool)
{
    if (pool == NULL)
        return;
    pthread_mutex_lock(&pool->mutex);
    pool->is_ending = true;
    pthread_cond_broadcast(&pool->work);
    while (pool->threads > 0)
        pthread_cond_wait(&pool->ended, &pool->mutex);
    pthread_mutex_unlock(&pool->mutex);
    pthread_join(pool->ended_thread, NULL);
    pthread_cond_destroy(&pool->ended);
    pthread_cond_destroy(&pool->work);
    pthread_mutex_destroy(&pool->mutex);
    free(pool);
}

void job_pool_submit(struct job_pool *pool, struct job *job)
{
    pthread_mutex_lock(&pool->mutex);
    if (job->group != NULL && !may_run(job->group, job)) {
        pthread_mutex_unlock(&pool->mutex);
        return;
    }
    put(pool, job);
    /* a failed start is no loss: a thread that is there takes the job when it can */
    if (pool->waiting_jobs > pool->idle_threads && pool->threads < pool->max_threads)
        thread_start(pool);
    pthread_mutex_unlock(&pool->mutex);
    pthread_cond_signal(&pool->work); /* not before: it would wake into a locked mutex */
}
