/*
 * sbc_lba_status: GET LBA STATUS, SBC-3 5.6: what of the image is there and what is a hole, as the
 * file system tells it, on the slow lane.
 *
 * A block that is a hole only in part is mapped.
 */
#include "target/scsi/handlers.h"

#include "target/scsi/command.h"
#include "target/scsi/lu.h"
#include "target/scsi/nexus.h"

#define CONTAINER_OF(pointer, type, member)                                                        \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

enum {
    HEADER_BYTES = 8,
    DESCRIPTOR_BYTES = 16,
    DESCRIPTORS_MAX = 255, /* an answer of a page */
    MAPPED = 0,
    DEALLOCATED = 1,
};

struct lba_status {
    struct slow_job job;
    struct command *command;
    struct buffer *buffer; /* the answer */
    uint64_t lba, unit_blocks;
    uint32_t descriptors_max, descriptors;
    int error;
};
_Static_assert(HEADER_BYTES + DESCRIPTORS_MAX * DESCRIPTOR_BYTES <= BUFFER_SMALL,
               "an answer is one small buffer");

/* The state of the block at `lba`, and the end of the run of its like, at least the next block. */
static int run_at(const struct lba_status *status, uint64_t lba, uint8_t *state, uint64_t *end)
{
    const struct lu *lu = status->command->lu;
    uint64_t round_up = lu->block_bytes - 1;
    struct backing_extent extent;
    int error = backing_extent(lu->backing, lba << lu->block_shift, &extent);

    if (error)
        return error;
    /* Data ends behind the block that its last byte is in, a hole before it. */
    *end = (extent.end_bytes + (extent.is_data ? round_up : 0)) >> lu->block_shift;
    *state = extent.is_data || *end == lba ? MAPPED : DEALLOCATED;
    if (*end == lba)
        ++*end;
    if (*end > status->unit_blocks)
        *end = status->unit_blocks;
    return 0;
}

static void put_descriptor(struct lba_status *status, uint64_t lba, uint32_t blocks, uint8_t state)
{
    uint8_t *p = status->buffer->bytes + HEADER_BYTES + status->descriptors++ * DESCRIPTOR_BYTES;

    memset(p, 0, DESCRIPTOR_BYTES);
    put_be64(p, lba);
    put_be32(p + 8, blocks);
    p[12] = state;
}

static void status_run(struct slow_job *job)
{
    struct lba_status *status = CONTAINER_OF(job, struct lba_status, job);
    uint64_t lba = status->lba, end;
    uint8_t state;

    while (lba < status->unit_blocks && status->descriptors < status->descriptors_max) {
        status->error = run_at(status, lba, &state, &end);
        if (status->error)
            return;
        if (end - lba > UINT32_MAX)
            end = lba + UINT32_MAX;
        put_descriptor(status, lba, (uint32_t)(end - lba), state);
        lba = end;
    }
}

static void status_done(struct slow_job *job)
{
    struct lba_status *status = CONTAINER_OF(job, struct lba_status, job);
    struct command *command = status->command;
    uint32_t bytes = HEADER_BYTES + status->descriptors * DESCRIPTOR_BYTES;

    if (status->error) {
        command_refuse_errno(command, status->error);
    } else if (!command->is_finishing) {
        memset(status->buffer->bytes, 0, HEADER_BYTES);
        put_be32(status->buffer->bytes, bytes - 4);
        command_reply(command, status->buffer->bytes, bytes, get_be32(command->cdb + 10));
    }
    buffer_put(command->nexus->worker->buffers, status->buffer);
    command_unpin(command);
}

void sbc_get_lba_status(struct command *command)
{
    struct lba_status *status = COMMAND_SCRATCH(command, struct lba_status);
    uint32_t allocation_length = get_be32(command->cdb + 10);
    uint32_t fit = allocation_length < HEADER_BYTES + DESCRIPTOR_BYTES
                       ? 1 /* SBC-3 5.6: there is always one, cut short if need be */
                       : (allocation_length - HEADER_BYTES) / DESCRIPTOR_BYTES;

    *status = (struct lba_status){
        .job = {.run = status_run, .done = status_done},
        .command = command,
        .lba = get_be64(command->cdb + 2),
        .unit_blocks = atomic_load_explicit(&command->lu->blocks, memory_order_relaxed),
        .descriptors_max = fit < DESCRIPTORS_MAX ? fit : DESCRIPTORS_MAX,
    };
    if (status->lba >= status->unit_blocks)
        return command_refuse(command, SENSE_LBA_OUT_OF_RANGE, "it begins beyond the last block");
    status->buffer = buffer_get(command->nexus->worker->buffers, BUFFER_SMALL);
    if (!status->buffer)
        return command_finish(command, STATUS_TASK_SET_FULL);
    command_pin(command);
    worker_slow(command->nexus->worker, &command->lu->slow, &status->job);
}
