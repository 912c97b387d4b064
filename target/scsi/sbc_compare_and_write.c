/*
 * sbc_compare_and_write: COMPARE AND WRITE, SBC-3 5.3, which ESX calls ATS.
 *
 * All of Data-Out comes first, and only then the gate is entered, alone with the range: a slow
 * initiator holds nobody up. Inside it the blocks are read, compared and written, inline where the
 * page cache allows it. Until the write is begun an abort leaves nothing done. A write that the
 * disk has not ended when the abort comes is left behind: its blocks stay closed, so nobody can
 * tell that it was not done before.
 *
 * kill -9 leaves all or nothing too (atomic_write.h). The kernel looks for a fatal signal between
 * two pages of a buffered write, never within one, so a range that crosses no 4 KiB boundary of the
 * image (ESX's lock records: one block, or eight that are aligned) is one write, inline; a longer
 * one goes through the unit's journal.
 */
#include "target/scsi/handlers.h"

#include "proto/cdb.h"
#include "target/scsi/atomic_write.h"
#include "target/scsi/compare.h"
#include "target/scsi/limits.h"
#include "target/scsi/medium.h"
#include "target/scsi/opcodes.h"

#include <errno.h>

struct caw {
    struct medium medium;
    struct buffer *buffer; /* what the medium says */
    struct burst *burst;   /* the half to compare with, then the half to write */
    uint64_t offset_bytes;
    uint32_t half_bytes;
    bool is_durable, is_on_disk; /* io is in flight: what it uses must stay */
};

static void caw_give_back(struct command *command, struct caw *caw)
{
    /* is_entering: the gate lets it in just now, and medium.c leaves again */
    if (!caw->medium.is_entering)
        medium_leave(&caw->medium);
    buffer_put(command->nexus->worker->buffers, caw->buffer);
    caw->buffer = NULL;
    if (caw->burst)
        command->transport->out_done(command, caw->burst);
    caw->burst = NULL;
}

/* Nobody waits for it in vain: the gate is left before the answer goes. */
static void caw_end(struct command *command, struct caw *caw, int error)
{
    caw_give_back(command, caw);
    if (error)
        command_refuse_errno(command, error);
    else
        command_good(command);
}

static void caw_written(struct medium *medium)
{
    struct caw *caw = COMMAND_SCRATCH(medium->command, struct caw);

    caw->is_on_disk = false;
    caw_end(medium->command, caw, medium->io.result);
}

static void caw_write(struct command *command, struct caw *caw)
{
    struct burst *burst = caw->burst;

    if (!caw->is_durable && atomic_write_is_simple(caw->offset_bytes, caw->half_bytes)) {
        const struct iovec iov = { burst->data + caw->half_bytes, caw->half_bytes };
        int error = backing_try_write(command->lu->backing, &iov, 1, caw->offset_bytes);
        if (error != -EAGAIN)
            return caw_end(command, caw, error);
    }
    if (!burst->buffer) {
        int error = command->transport->out_keep(command, burst);
        if (error)
            return caw_end(command, caw, error);
    }
    caw->medium.io = (struct io){
        .op = IO_WRITE,
        .is_durable = caw->is_durable,
        .bytes = burst->data + caw->half_bytes,
        .len_bytes = caw->half_bytes,
        .offset_bytes = caw->offset_bytes,
    };
    caw->is_on_disk = true;
    atomic_write_submit(&caw->medium, caw_written);
}

static void caw_compare(struct command *command, struct caw *caw, int error)
{
    uint32_t same_bytes;

    if (error)
        return caw_end(command, caw, error);
    same_bytes = first_difference(caw->buffer->bytes, caw->burst->data, caw->half_bytes);
    if (same_bytes < caw->half_bytes) {
        /* Another host was first: no error of anybody's, and nothing to log. */
        caw_give_back(command, caw);
        return command_refuse_information(command, SENSE_MISCOMPARE, same_bytes, NULL);
    }
    caw_write(command, caw);
}

static void caw_read(struct medium *medium)
{
    struct command *command = medium->command;
    struct caw *caw = COMMAND_SCRATCH(command, struct caw);

    caw->is_on_disk = false;
    if (command->is_finishing)
        return caw_give_back(command, caw);
    caw_compare(command, caw, medium->io.result);
}

static void caw_entered(struct medium *medium)
{
    struct command *command = medium->command;
    struct caw *caw = COMMAND_SCRATCH(command, struct caw);
    const struct iovec iov = { caw->buffer->bytes, caw->half_bytes };
    int error = backing_try_read(command->lu->backing, &iov, 1, caw->offset_bytes);

    if (error != -EAGAIN)
        return caw_compare(command, caw, error);
    medium->io = (struct io){
        .op = IO_READ,
        .bytes = caw->buffer->bytes,
        .len_bytes = caw->half_bytes,
        .offset_bytes = caw->offset_bytes,
    };
    caw->is_on_disk = true;
    medium_submit(medium, caw_read);
}

void sbc_compare_and_write(struct command *command)
{
    struct caw *caw = COMMAND_SCRATCH(command, struct caw);
    struct lu *lu = command->lu;
    const struct cdb_range *range = &command->range;

    medium_open(&caw->medium, command);
    caw->buffer = NULL;
    caw->burst = NULL;
    caw->is_on_disk = false;
    caw->is_durable = lu->cache == CACHE_WRITETHROUGH || cdb_fua(command->cdb);
    caw->offset_bytes = range->lba << lu->block_shift;
    if (range->blocks > limit_caw_blocks(lu->block_bytes))
        return command_refuse_field(command, SENSE_INVALID_FIELD_IN_CDB, true, range->blocks_byte,
                                    "more blocks than MAXIMUM COMPARE AND WRITE LENGTH");
    caw->half_bytes = range->blocks << lu->block_shift;
    command->transfer_bytes = 2 * caw->half_bytes;
    /* Where the halves of anything else meet is anybody's guess. So it is with 0 blocks and data:
     * somebody's 256 that the one byte has no room for. */
    if (command->expected_out_bytes != command->transfer_bytes)
        return command_refuse_field(command, SENSE_INVALID_FIELD_IN_CDB, true, range->blocks_byte,
                                    "Data-Out is not twice the number of blocks");
    if (range->blocks == 0) /* SBC-3 5.3: no error */
        return command_good(command);
    caw->buffer = buffer_get(command->nexus->worker->buffers, caw->half_bytes);
    if (!caw->buffer)
        return command_finish(command, STATUS_TASK_SET_FULL);
    command->transport->out_want(command, 2 * caw->half_bytes, 2 * caw->half_bytes);
}

void sbc_compare_and_write_out(struct command *command, struct burst *burst)
{
    struct caw *caw = COMMAND_SCRATCH(command, struct caw);

    caw->burst = burst;
    if (medium_enter(&caw->medium, GATE_EXCLUSIVE, caw->offset_bytes, caw->half_bytes, caw_entered))
        caw_entered(&caw->medium);
    /* It waits, for the gate or for the read, and transient bytes are gone when this returns. */
    if (caw->burst && !burst->buffer) {
        int error = command->transport->out_keep(command, burst);
        if (error) {
            caw->burst = NULL;
            command->transport->out_done(command, burst);
            command_refuse_errno(command, error);
        }
    }
}

void sbc_compare_and_write_let_go(struct command *command)
{
    struct caw *caw = COMMAND_SCRATCH(command, struct caw);

    medium_let_go(&caw->medium);
    if (!caw->is_on_disk ||
        medium_leave_behind(&caw->medium,
                            caw->medium.io.op == IO_READ ? caw->buffer : caw->burst->buffer))
        caw_give_back(command, caw);
}
