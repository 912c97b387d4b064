#include "backing/engine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

struct counted {
    struct job job; /* first: a job is its counted */
    int ran, done;
};

static atomic_int running, most_running, done_count;

static void run(struct job *job)
{
    int now = atomic_fetch_add(&running, 1) + 1, most = most_running;

    while (now > most && !atomic_compare_exchange_weak(&most_running, &most, now))
        continue;
    ((struct counted *)job)->ran++;
    atomic_fetch_sub(&running, 1);
}

static void done(struct job *job)
{
    ((struct counted *)job)->done++;
    atomic_fetch_add(&done_count, 1);
}

static void test_every_job_runs_once_and_the_end_waits_for_all(void **state)
{
    enum { COUNT = 5000 };
    struct counted *jobs = calloc(COUNT, sizeof(*jobs));
    struct job_pool *pool;

    (void)state;
    most_running = 0;
    assert_int_equal(job_pool_create(4, &pool), 0);
    for (int i = 0; i < COUNT; i++) {
        jobs[i].job = (struct job){ .run = run, .done = done };
        job_pool_submit(pool, &jobs[i].job);
    }
    job_pool_destroy(pool);
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(jobs[i].ran, 1);
        assert_int_equal(jobs[i].done, 1);
    }
    assert_true(most_running <= 4);
    free(jobs);
}

/* All must be on threads of their own, or none gets past the barrier. */
static pthread_barrier_t barrier;

static void meet(struct job *job)
{
    (void)job;
    pthread_barrier_wait(&barrier);
}

static void nothing(struct job *job)
{
    (void)job;
}

static void test_waiting_jobs_get_threads_of_their_own(void **state)
{
    struct job jobs[8];
    struct job_pool *pool;

    (void)state;
    pthread_barrier_init(&barrier, NULL, 8);
    assert_int_equal(job_pool_create(8, &pool), 0);
    for (int i = 0; i < 8; i++) {
        jobs[i] = (struct job){ .run = meet, .done = nothing };
        job_pool_submit(pool, &jobs[i]);
    }
    job_pool_destroy(pool);
    pthread_barrier_destroy(&barrier);
}

static struct job_pool *chain_pool;
static int left_in_chain;

static void submit_again(struct job *job)
{
    if (--left_in_chain > 0)
        job_pool_submit(chain_pool, job);
}

static void test_done_may_submit_its_job_again(void **state)
{
    struct job job = { .run = nothing, .done = submit_again };

    (void)state;
    left_in_chain = 1000;
    assert_int_equal(job_pool_create(2, &chain_pool), 0);
    job_pool_submit(chain_pool, &job);
    job_pool_destroy(chain_pool);
    assert_int_equal(left_in_chain, 0);
}

/* ---- a group ---- */

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool does_hang;

static void hang(struct job *job)
{
    (void)job;
    atomic_fetch_add(&running, 1);
    pthread_mutex_lock(&mutex);
    while (does_hang)
        pthread_cond_wait(&changed, &mutex);
    pthread_mutex_unlock(&mutex);
    atomic_fetch_sub(&running, 1);
}

static void disk_works_again(struct job *job)
{
    (void)job;
    pthread_mutex_lock(&mutex);
    does_hang = false;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&mutex);
}

/* The pool is full of jobs on a disk that hangs, and the one that ends this comes last. */
static void test_a_group_leaves_threads_to_others(void **state)
{
    enum { COUNT = 3 * JOB_GROUP_THREADS };
    struct job_group group = { 0 };
    struct counted jobs[COUNT] = { 0 };
    struct job other = { .run = disk_works_again, .done = nothing };
    struct job_pool *pool;

    (void)state;
    does_hang = true;
    assert_int_equal(job_pool_create(JOB_GROUP_THREADS + 1, &pool), 0);
    for (int i = 0; i < COUNT; i++) {
        jobs[i].job = (struct job){ .run = hang, .done = done, .group = &group };
        job_pool_submit(pool, &jobs[i].job);
    }
    job_pool_submit(pool, &other);
    job_pool_destroy(pool);
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(jobs[i].done, 1);
    assert_int_equal(group.running, 0);
}

static void test_a_groups_jobs_run_few_at_a_time(void **state)
{
    enum { COUNT = 5000 };
    struct counted *jobs = calloc(COUNT, sizeof(*jobs));
    struct job_group group = { 0 };
    struct job_pool *pool;

    (void)state;
    most_running = 0;
    assert_int_equal(job_pool_create(2 * JOB_GROUP_THREADS, &pool), 0);
    for (int i = 0; i < COUNT; i++) {
        jobs[i].job = (struct job){ .run = run, .done = done, .group = &group };
        job_pool_submit(pool, &jobs[i].job);
    }
    job_pool_destroy(pool);
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(jobs[i].ran, 1);
        assert_int_equal(jobs[i].done, 1);
    }
    assert_true(most_running <= JOB_GROUP_THREADS);
    free(jobs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_job_runs_once_and_the_end_waits_for_all),
        cmocka_unit_test(test_waiting_jobs_get_threads_of_their_own),
        cmocka_unit_test(test_done_may_submit_its_job_again),
        cmocka_unit_test(test_a_group_leaves_threads_to_others),
        cmocka_unit_test(test_a_groups_jobs_run_few_at_a_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
