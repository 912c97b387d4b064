#include "target/scsi/thin.h"

#include "target/scsi/lu.h"
#include "target/worker/log.h"

#define CONTAINER_OF(pointer, type, member)                                                        \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

enum { REARM_PERCENT = 5 };
static const uint64_t look_every_ns = 1000000000;

bool thin_is_past(unsigned threshold_percent, uint64_t size_bytes, uint64_t allocated_bytes,
                  uint64_t free_bytes, bool was_past)
{
    unsigned percent = threshold_percent;

    /* What it has not taken yet fits: there is nothing to warn of, however full the disk is. */
    if (allocated_bytes >= size_bytes || size_bytes - allocated_bytes <= free_bytes)
        return false;
    if (was_past)
        percent = percent > REARM_PERCENT ? percent - REARM_PERCENT : 0;
    /* The sum is less than the unit now. */
    return allocated_bytes >= (allocated_bytes + free_bytes) / 100 * percent;
}

static bool look(struct lu_job *job)
{
    struct thin *thin = CONTAINER_OF(job, struct thin, job);
    struct lu *lu = job->lu;
    struct backing_usage usage;
    bool was_past = thin->is_past;

    if (backing_usage(lu->backing, &usage) != 0)
        return false;
    thin->is_past = thin_is_past(thin->threshold_percent, backing_size_bytes(lu->backing),
                                 usage.allocated_bytes, usage.free_bytes, was_past);
    if (thin->is_past && !was_past) {
        log_warning("%s takes %llu MiB, and its file system can give only %llu MiB more: past "
                    "thin_threshold of %u %%; the hosts are told. Free some space, or move it",
                    backing_path(lu->backing), (unsigned long long)usage.allocated_bytes >> 20,
                    (unsigned long long)usage.free_bytes >> 20, thin->threshold_percent);
        unit_attention_raise_all(lu, UA_THIN_THRESHOLD, NULL);
    }
    return false;
}

static void look_is_over(struct lu_job *job)
{
    atomic_store_explicit(&CONTAINER_OF(job, struct thin, job)->is_looking, false,
                          memory_order_release);
}

void thin_open(struct thin *thin, struct lu *lu, unsigned threshold_percent)
{
    thin->threshold_percent = threshold_percent;
    thin->job = (struct lu_job){ .run = look, .over = look_is_over, .lu = lu };
}

void thin_look(struct thin *thin, struct job_pool *pool, uint64_t now_ns)
{
    uint64_t looked_ns;

    if (thin->threshold_percent == 0)
        return;
    looked_ns = atomic_load_explicit(&thin->looked_ns, memory_order_relaxed);
    if (now_ns < looked_ns + look_every_ns && looked_ns != 0)
        return;
    if (!atomic_compare_exchange_strong(&thin->looked_ns, &looked_ns, now_ns) ||
        atomic_exchange_explicit(&thin->is_looking, true, memory_order_acquire))
        return;
    lu_job_start(&thin->job, pool);
}
