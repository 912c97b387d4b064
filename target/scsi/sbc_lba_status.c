/*
 * sbc_lba_status: GET LBA STATUS, SBC-3 5.6: what of the image is there and what is a hole, as the
 * file system tells it, on the slow lane.
 *
 * A block that is a hole only in part is mapped.
 */
#include "target/scsi/handlers.h"

#include "target/scsi/medium.h"
#include "target/scsi/nexus.h"

enum {
    HEADER_BYTES = 8,
    DESCRIPTOR_BYTES = 16,
    DESCRIPTORS_MAX = 255, /* an answer of a page */
    MAPPED = 0,
    DEALLOCATED = 1,
};

struct lba_status {
    struct medium medium;  /* it needs no gate: what it tells may have changed when it is read */
    struct buffer *buffer; /* the answer */
    bool is_asking;
};
_Static_assert(HEADER_BYTES + DESCRIPTORS_MAX * DESCRIPTOR_BYTES <= BUFFER_SMALL,
               "an answer is one small buffer");

/* The state of the block at `lba`, and the end of the run of its like, at least the next block. */
static int run_at(const struct lu *lu, uint64_t lba, uint8_t *state, uint64_t *end)
{
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
    return 0;
}

static void put_descriptor(uint8_t *p, uint64_t lba, uint64_t blocks, uint8_t state)
{
    memset(p, 0, DESCRIPTOR_BYTES);
    put_be64(p, lba);
    put_be32(p + 8, (uint32_t)blocks);
    p[12] = state;
}

/* From io.offset_bytes on, into io.bytes. */
static void status_run(struct submitted_io *asked)
{
    const struct lu *lu = asked->lu;
    uint64_t unit_blocks = atomic_load_explicit(&lu->blocks, memory_order_relaxed);
    uint64_t lba = asked->io.offset_bytes >> lu->block_shift, end;
    uint8_t *answer = asked->io.bytes, state;
    uint32_t at = HEADER_BYTES;

    memset(answer, 0, HEADER_BYTES);
    for (; lba < unit_blocks && at < asked->io.len_bytes; at += DESCRIPTOR_BYTES) {
        asked->io.result = run_at(lu, lba, &state, &end);
        if (asked->io.result)
            return;
        if (end > unit_blocks)
            end = unit_blocks;
        if (end - lba > UINT32_MAX)
            end = lba + UINT32_MAX;
        put_descriptor(answer + at, lba, end - lba, state);
        lba = end;
    }
    put_be32(answer, at - 4);
    asked->io.result = 0;
    asked->io.len_bytes = at;
}

static void status_came(struct medium *medium)
{
    struct command *command = medium->command;
    struct lba_status *status = COMMAND_SCRATCH(command, struct lba_status);

    status->is_asking = false;
    if (medium->io.result)
        command_refuse_errno(command, medium->io.result);
    else if (!command->is_finishing)
        command_reply(command, status->buffer->bytes, medium->io.len_bytes,
                      get_be32(command->cdb + 10));
    buffer_put(command->nexus->worker->buffers, status->buffer);
}

void sbc_get_lba_status(struct command *command)
{
    struct lba_status *status = COMMAND_SCRATCH(command, struct lba_status);
    const struct lu *lu = command->lu;
    uint64_t lba = get_be64(command->cdb + 2);
    uint32_t allocation_length = get_be32(command->cdb + 10);
    uint32_t fit = allocation_length < HEADER_BYTES + DESCRIPTOR_BYTES
                       ? 1 /* SBC-3 5.6: there is always one, cut short if need be */
                       : (allocation_length - HEADER_BYTES) / DESCRIPTOR_BYTES;

    medium_open(&status->medium, command);
    status->is_asking = false;
    if (lba >= atomic_load_explicit(&lu->blocks, memory_order_relaxed))
        return command_refuse(command, SENSE_LBA_OUT_OF_RANGE, "it begins beyond the last block");
    status->buffer = buffer_get(command->nexus->worker->buffers, BUFFER_SMALL);
    if (!status->buffer)
        return command_finish(command, STATUS_TASK_SET_FULL);
    status->medium.io = (struct io){
        .op = IO_READ,
        .bytes = status->buffer->bytes,
        .len_bytes =
            HEADER_BYTES + (fit < DESCRIPTORS_MAX ? fit : DESCRIPTORS_MAX) * DESCRIPTOR_BYTES,
        .offset_bytes = lba << lu->block_shift,
    };
    status->is_asking = true;
    medium_submit_slow(&status->medium, status_run, status_came);
}

void sbc_get_lba_status_let_go(struct command *command)
{
    struct lba_status *status = COMMAND_SCRATCH(command, struct lba_status);

    if (status->is_asking && medium_leave_behind(&status->medium, status->buffer))
        buffer_put(command->nexus->worker->buffers, status->buffer);
}
