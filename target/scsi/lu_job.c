#include "target/scsi/lu_job.h"

#include "target/scsi/lu.h"

#define CONTAINER_OF(pointer, type, member)                                                        \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

static void slice_run(struct job *job)
{
    struct lu_job *lu_job = CONTAINER_OF(job, struct lu_job, job);

    lu_job->has_more = lu_job->run(lu_job);
}

/* The unit may be gone once its count is down. */
static void slice_done(struct job *job)
{
    struct lu_job *lu_job = CONTAINER_OF(job, struct lu_job, job);
    struct lu *lu = lu_job->lu;

    /* To the end of the queue: what else the slow lane has to do takes its turn in between. */
    if (lu_job->has_more && !atomic_load(&lu->is_closing))
        return job_pool_submit(lu_job->pool, job);
    if (lu_job->over)
        lu_job->over(lu_job);
    pthread_mutex_lock(&lu->mutex);
    if (--lu->jobs == 0)
        pthread_cond_broadcast(&lu->jobs_are_over);
    pthread_mutex_unlock(&lu->mutex);
}

void lu_job_start(struct lu_job *job, struct job_pool *pool)
{
    pthread_mutex_lock(&job->lu->mutex);
    job->lu->jobs++;
    pthread_mutex_unlock(&job->lu->mutex);
    job->pool = pool;
    job->job = (struct job){ .run = slice_run, .done = slice_done, .group = &job->lu->slow };
    job_pool_submit(pool, &job->job);
}

void lu_jobs_end(struct lu *lu)
{
    atomic_store(&lu->is_closing, true);
    pthread_mutex_lock(&lu->mutex);
    while (lu->jobs > 0)
        pthread_cond_wait(&lu->jobs_are_over, &lu->mutex);
    pthread_mutex_unlock(&lu->mutex);
}
