/*
 * sbc_verify: VERIFY(10), (12) and (16), SBC-3 5.29 to 5.31.
 *
 * BYTCHK 00b reads the range, 01b compares it with as much Data-Out, 11b compares each block with
 * one block of Data-Out. Always through the engine, chunk by chunk: a long verify gives the worker
 * its turns.
 */
#include "target/scsi/handlers.h"

#include "proto/cdb.h"
#include "target/scsi/compare.h"
#include "target/scsi/limits.h"
#include "target/scsi/medium.h"
#include "target/scsi/opcodes.h"

enum bytchk {
    BYTCHK_READ = 0,
    BYTCHK_ALL = 1,
    BYTCHK_RESERVED = 2,
    BYTCHK_ONE_BLOCK = 3,
};

struct verify {
    struct medium medium;
    struct buffer *buffer;     /* what the medium says */
    struct burst *burst;       /* what it is compared with */
    TAILQ_HEAD(, burst) queue; /* what it will be compared with */
    enum bytchk bytchk;
    bool is_reading;
    uint64_t offset_bytes, left_bytes;
    uint32_t chunk_bytes;
};

static void verify_next(struct command *command, struct verify *verify);

static void give_back(struct command *command, struct verify *verify)
{
    struct burst *burst;

    buffer_put(command->nexus->worker->buffers, verify->buffer);
    verify->buffer = NULL;
    if (verify->burst)
        command->transport->out_done(command, verify->burst);
    verify->burst = NULL;
    while ((burst = TAILQ_FIRST(&verify->queue))) {
        TAILQ_REMOVE(&verify->queue, burst, link);
        command->transport->out_done(command, burst);
    }
}

/* The offset within Data-Out of the first byte that differs; negative: none does. */
static int64_t miscompare(const struct verify *verify, uint32_t block_bytes)
{
    const uint8_t *medium = verify->buffer->bytes;
    uint32_t step = verify->bytchk == BYTCHK_ALL ? verify->chunk_bytes : block_bytes;

    for (uint32_t at = 0; at < verify->chunk_bytes; at += step) {
        uint32_t same = first_difference(medium + at, verify->burst->data, step);
        if (same < step)
            return (int64_t)verify->burst->offset_bytes + same;
    }
    return -1;
}

static void verify_read(struct medium *medium)
{
    struct command *command = medium->command;
    struct verify *verify = COMMAND_SCRATCH(command, struct verify);
    int64_t offset = -1;

    verify->is_reading = false;
    medium_leave(medium);
    if (command->is_finishing)
        return give_back(command, verify);
    if (medium->io.result)
        return command_refuse_errno(command, medium->io.result);
    if (verify->bytchk != BYTCHK_READ)
        offset = miscompare(verify, command->lu->block_bytes);
    if (offset >= 0)
        return command_refuse_information(command, SENSE_MISCOMPARE, (uint64_t)offset, NULL);
    if (verify->bytchk == BYTCHK_ALL) {
        command->transport->out_done(command, verify->burst);
        verify->burst = NULL;
    }
    verify->offset_bytes += verify->chunk_bytes;
    verify->left_bytes -= verify->chunk_bytes;
    verify_next(command, verify);
}

static void verify_entered(struct medium *medium)
{
    struct verify *verify = COMMAND_SCRATCH(medium->command, struct verify);

    medium->io = (struct io){
        .op = IO_READ,
        .bytes = verify->buffer->bytes,
        .len_bytes = verify->chunk_bytes,
        .offset_bytes = verify->offset_bytes,
    };
    verify->is_reading = true;
    medium_submit(medium, verify_read);
}

static void verify_next(struct command *command, struct verify *verify)
{
    if (verify->left_bytes == 0)
        return command_good(command);
    verify->chunk_bytes =
        verify->left_bytes < LIMIT_CHUNK_BYTES ? (uint32_t)verify->left_bytes : LIMIT_CHUNK_BYTES;
    if (verify->bytchk == BYTCHK_ALL) {
        verify->burst = TAILQ_FIRST(&verify->queue);
        if (!verify->burst)
            return; /* sbc_verify_out() goes on */
        TAILQ_REMOVE(&verify->queue, verify->burst, link);
        verify->chunk_bytes = verify->burst->bytes;
    }
    if (medium_enter(&verify->medium, GATE_SHARED, verify->offset_bytes, verify->chunk_bytes,
                     verify_entered))
        verify_entered(&verify->medium);
}

void sbc_verify(struct command *command)
{
    struct verify *verify = COMMAND_SCRATCH(command, struct verify);
    struct lu *lu = command->lu;
    uint64_t brought_bytes = command->expected_out_bytes >> lu->block_shift << lu->block_shift;
    const struct cdb_range *range = &command->range;
    uint32_t want_bytes;

    medium_open(&verify->medium, command);
    verify->buffer = NULL;
    verify->burst = NULL;
    TAILQ_INIT(&verify->queue);
    verify->bytchk = command->cdb[1] >> 1 & 3;
    verify->is_reading = false;
    verify->offset_bytes = range->lba << lu->block_shift;
    verify->left_bytes = (uint64_t)range->blocks << lu->block_shift;
    if (verify->bytchk == BYTCHK_RESERVED)
        return command_refuse_field(command, SENSE_INVALID_FIELD_IN_CDB, true, 1,
                                    "BYTCHK is 10b, which is reserved");
    if (verify->bytchk == BYTCHK_ALL) {
        command->transfer_bytes = verify->left_bytes;
        if (verify->left_bytes > brought_bytes) /* whole blocks of what there is, as for a write */
            verify->left_bytes = brought_bytes;
    }
    if (verify->left_bytes == 0) /* SBC-3 5.29: no error */
        return command_good(command);
    if (verify->bytchk == BYTCHK_ONE_BLOCK) {
        command->transfer_bytes = lu->block_bytes;
        if (brought_bytes == 0)
            return command_refuse(command, SENSE_INVALID_FIELD_IN_COMMAND_IU,
                                  "the initiator brings less than the block to compare with");
    }
    verify->buffer = buffer_get(
        command->nexus->worker->buffers,
        verify->left_bytes < LIMIT_CHUNK_BYTES ? (uint32_t)verify->left_bytes : LIMIT_CHUNK_BYTES);
    if (!verify->buffer)
        return command_finish(command, STATUS_TASK_SET_FULL);
    if (verify->bytchk == BYTCHK_READ)
        return verify_next(command, verify);
    want_bytes = verify->bytchk == BYTCHK_ALL ? (uint32_t)verify->left_bytes : lu->block_bytes;
    command->transport->out_want(command, want_bytes, LIMIT_CHUNK_BYTES);
}

void sbc_verify_out(struct command *command, struct burst *burst)
{
    struct verify *verify = COMMAND_SCRATCH(command, struct verify);

    if (!burst->buffer) {
        int error = command->transport->out_keep(command, burst);
        if (error) {
            command->transport->out_done(command, burst);
            return command_refuse_errno(command, error);
        }
    }
    if (verify->bytchk == BYTCHK_ONE_BLOCK) {
        verify->burst = burst;
        return verify_next(command, verify);
    }
    TAILQ_INSERT_TAIL(&verify->queue, burst, link);
    if (!verify->burst)
        verify_next(command, verify);
}

void sbc_verify_let_go(struct command *command)
{
    struct verify *verify = COMMAND_SCRATCH(command, struct verify);

    medium_let_go(&verify->medium);
    if (!verify->is_reading || medium_leave_behind(&verify->medium, verify->buffer))
        give_back(command, verify);
}
