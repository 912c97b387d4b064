/*
 * sbc_write_atomic: WRITE ATOMIC(16), SBC-4: all of its blocks are written, or none.
 *
 * All of Data-Out comes first, in one piece, and only then the gate is entered, alone with the
 * range: no other command sees a part of it. What keeps a kill or a power loss from leaving a part
 * is atomic_write.h. Until the write is begun an abort leaves nothing done; once it is begun all of
 * it is done, before anybody sees the blocks again.
 *
 * There is no boundary within a write (MAXIMUM ATOMIC BOUNDARY SIZE is 0), so the row's CDB mask
 * has no ATOMIC BOUNDARY, and one that is set is refused.
 */
#include "target/scsi/handlers.h"

#include "proto/cdb.h"
#include "target/scsi/atomic_write.h"
#include "target/scsi/limits.h"
#include "target/scsi/medium.h"
#include "target/scsi/opcodes.h"

#include <errno.h>

struct whole_write {
    struct medium medium;
    struct burst *burst;
    uint64_t offset_bytes;
    bool is_durable, is_on_disk; /* io is in flight: what it uses must stay */
};

static void whole_give_back(struct command *command, struct whole_write *whole)
{
    /* is_entering: the gate lets it in just now, and medium.c leaves again */
    if (!whole->medium.is_entering)
        medium_leave(&whole->medium);
    if (whole->burst)
        command->transport->out_done(command, whole->burst);
    whole->burst = NULL;
}

/* Nobody waits for it in vain: the gate is left before the answer goes. */
static void whole_end(struct command *command, struct whole_write *whole, int error)
{
    whole_give_back(command, whole);
    if (error)
        command_refuse_errno(command, error);
    else
        command_good(command);
}

static void whole_written(struct medium *medium)
{
    struct whole_write *whole = COMMAND_SCRATCH(medium->command, struct whole_write);

    whole->is_on_disk = false;
    whole_end(medium->command, whole, medium->io.result);
}

static void whole_entered(struct medium *medium)
{
    struct command *command = medium->command;
    struct whole_write *whole = COMMAND_SCRATCH(command, struct whole_write);
    struct burst *burst = whole->burst;

    if (!whole->is_durable && atomic_write_is_simple(whole->offset_bytes, burst->bytes)) {
        const struct iovec iov = { burst->data, burst->bytes };
        int error = backing_try_write(command->lu->backing, &iov, 1, whole->offset_bytes);
        if (error != -EAGAIN)
            return whole_end(command, whole, error);
    }
    if (!burst->buffer) {
        int error = command->transport->out_keep(command, burst);
        if (error)
            return whole_end(command, whole, error);
    }
    medium->io = (struct io){
        .op = IO_WRITE,
        .is_durable = whole->is_durable,
        .bytes = burst->data,
        .len_bytes = burst->bytes,
        .offset_bytes = whole->offset_bytes,
    };
    whole->is_on_disk = true;
    atomic_write_submit(medium, whole_written);
}

void sbc_write_atomic(struct command *command)
{
    struct whole_write *whole = COMMAND_SCRATCH(command, struct whole_write);
    struct lu *lu = command->lu;
    const struct cdb_range *range = &command->range;

    medium_open(&whole->medium, command);
    whole->burst = NULL;
    whole->is_on_disk = false;
    whole->is_durable = lu->cache == CACHE_WRITETHROUGH || cdb_fua(command->cdb);
    whole->offset_bytes = range->lba << lu->block_shift;
    if (range->blocks > limit_atomic_blocks(lu->block_bytes))
        return command_refuse_field(command, SENSE_INVALID_FIELD_IN_CDB, true, range->blocks_byte,
                                    "more blocks than MAXIMUM ATOMIC TRANSFER LENGTH");
    command->transfer_bytes = (uint64_t)range->blocks << lu->block_shift;
    /* A part of them would not be all. */
    if (command->expected_out_bytes < command->transfer_bytes)
        return command_refuse_field(command, SENSE_INVALID_FIELD_IN_CDB, true, range->blocks_byte,
                                    "less Data-Out than blocks");
    if (range->blocks == 0) /* no error, as for WRITE(16) */
        return command_good(command);
    command->transport->out_want(command, (uint32_t)command->transfer_bytes,
                                 (uint32_t)command->transfer_bytes);
}

void sbc_write_atomic_out(struct command *command, struct burst *burst)
{
    struct whole_write *whole = COMMAND_SCRATCH(command, struct whole_write);

    whole->burst = burst;
    if (medium_enter(&whole->medium, GATE_EXCLUSIVE, whole->offset_bytes, burst->bytes,
                     whole_entered))
        return whole_entered(&whole->medium);
    /* It waits, and transient bytes are gone when this returns. */
    if (!burst->buffer) {
        int error = command->transport->out_keep(command, burst);
        if (error)
            command_refuse_errno(command, error);
    }
}

void sbc_write_atomic_let_go(struct command *command)
{
    struct whole_write *whole = COMMAND_SCRATCH(command, struct whole_write);

    medium_let_go(&whole->medium);
    if (!whole->is_on_disk || medium_leave_behind(&whole->medium, whole->burst->buffer))
        whole_give_back(command, whole);
}
