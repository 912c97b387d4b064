#include "target/scsi/lu.h"

#include "target/scsi/persistent.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK_BYTES_MIN = 512, BLOCK_BYTES_MAX = 4096 };

static bool is_block_size(uint32_t bytes)
{
    return bytes >= BLOCK_BYTES_MIN && bytes <= BLOCK_BYTES_MAX && (bytes & (bytes - 1)) == 0;
}

int lu_open(const struct lu_options *options, struct lu **out)
{
    uint32_t block_bytes = options->identity.block_bytes;
    uint64_t size_bytes = backing_size_bytes(options->backing);
    struct lu *lu;

    if (!is_block_size(block_bytes) || size_bytes == 0 || size_bytes % block_bytes != 0)
        return -EINVAL;
    lu = aligned_alloc(_Alignof(struct lu), sizeof(*lu));
    if (lu == NULL)
        return -ENOMEM;
    memset(lu, 0, sizeof(*lu));
    if (options->persistent_path != NULL) {
        lu->persistent_path = strdup(options->persistent_path);
        if (lu->persistent_path == NULL) {
            free(lu);
            return -ENOMEM;
        }
    }
    lu->identity = options->identity;
    lu->backing = options->backing;
    lu->block_bytes = block_bytes;
    lu->block_shift = (uint8_t)__builtin_ctz(block_bytes);
    atomic_init(&lu->blocks, size_bytes >> lu->block_shift);
    lu->is_readonly = options->is_readonly;
    lu->is_removable = options->is_removable;
    lu->cache = options->cache;
    atomic_init(&lu->rotation_rpm, options->rotation_rpm);
    pthread_mutex_init(&lu->mutex, NULL);
    pthread_cond_init(&lu->jobs_are_over, NULL);
    thin_open(&lu->thin, lu, options->thin_threshold_percent);
    atomic_writes_open(&lu->atomic_writes);
    LIST_INIT(&lu->itls);
    gate_open(&lu->gate);
    lu->persistent = options->persistent;
    reservation_note(lu);
    *out = lu;
    return 0;
}

void lu_close(struct lu *lu)
{
    assert(LIST_EMPTY(&lu->itls));
    lu_jobs_end(lu);
    gate_close(&lu->gate);
    atomic_writes_close(&lu->atomic_writes);
    pthread_cond_destroy(&lu->jobs_are_over);
    pthread_mutex_destroy(&lu->mutex);
    backing_close(lu->backing);
    free(lu->persistent);
    free(lu->persistent_path);
    free(lu);
}

void lu_capacity_changed(struct lu *lu)
{
    uint64_t blocks = backing_size_bytes(lu->backing) >> lu->block_shift;

    if (atomic_exchange_explicit(&lu->blocks, blocks, memory_order_acq_rel) != blocks)
        unit_attention_raise_all(lu, UA_CAPACITY_CHANGED, NULL);
}

void lu_set_rotation(struct lu *lu, uint16_t rotation_rpm)
{
    if (atomic_exchange(&lu->rotation_rpm, rotation_rpm) != rotation_rpm)
        unit_attention_raise_all(lu, UA_INQUIRY_CHANGED, NULL);
}

static uint64_t count(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

void lu_statistics(const struct lu *lu, struct lu_statistics *sum)
{
    *sum = (struct lu_statistics){ 0 };
    for (unsigned i = 0; i < WORKERS_MAX; i++) {
        const struct lu_counters *counters = &lu->counters[i];

        sum->reads += count(&counters->reads);
        sum->writes += count(&counters->writes);
        sum->read_bytes += count(&counters->read_bytes);
        sum->written_bytes += count(&counters->written_bytes);
        sum->others += count(&counters->others);
        sum->errors += count(&counters->errors);
        sum->conflicts += count(&counters->conflicts);
        sum->ats_ok += count(&counters->ats_ok);
        sum->ats_miscompare += count(&counters->ats_miscompare);
        sum->clones += count(&counters->clones);
        sum->clones_failed += count(&counters->clones_failed);
        sum->cloned_bytes += count(&counters->cloned_bytes);
    }
}

unsigned lu_nexus_count(struct lu *lu)
{
    const struct itl *itl;
    unsigned nexuses = 0;

    pthread_mutex_lock(&lu->mutex);
    LIST_FOREACH (itl, &lu->itls, lu_link)
        nexuses++;
    pthread_mutex_unlock(&lu->mutex);
    return nexuses;
}

bool lu_reservation_holder(struct lu *lu, char port[INITIATOR_PORT_MAX + 1])
{
    const struct nexus *holder;

    pthread_mutex_lock(&lu->mutex);
    holder = lu->reservation.holder;
    if (holder != NULL)
        snprintf(port, INITIATOR_PORT_MAX + 1, "%s", holder->initiator_port);
    pthread_mutex_unlock(&lu->mutex);
    return holder != NULL;
}

struct persistent *lu_persistent_copy(struct lu *lu)
{
    struct persistent *copy;

    pthread_mutex_lock(&lu->mutex);
    copy = persistent_copy(lu->persistent, 0);
    pthread_mutex_unlock(&lu->mutex);
    return copy;
}
