/*
 * sbc_write: WRITE(6), (10), (12) and (16), SBC-3 5.32 to 5.35.
 *
 * The transport brings Data-Out in bursts, in order; each is written as it comes. In writeback mode
 * that is inline, from the receive buffer, when the page cache takes it at once. Otherwise the
 * burst is kept and goes to the engine; WRITE_SLOTS of them are under way at a time and later ones
 * queue. The first error is the command's, and no burst is begun after it.
 */
#include "target/scsi/handlers.h"

#include "proto/cdb.h"
#include "target/scsi/limits.h"
#include "target/scsi/medium.h"
#include "target/scsi/opcodes.h"

#include <errno.h>

enum { WRITE_SLOTS = 2 };

/* A burst that is being written. */
struct write_slot {
    struct medium medium;
    struct burst *burst; /* NULL: the slot is free */
};

struct write {
    struct write_slot slots[WRITE_SLOTS];
    TAILQ_HEAD(, burst) queue; /* kept, without a slot yet */
    uint64_t offset_bytes;
    uint32_t want_bytes, written_bytes;
    bool is_durable;
};

static struct write_slot *slot_of(struct medium *medium)
{
    return (struct write_slot *)(void *)medium; /* its first member */
}
_Static_assert(offsetof(struct write_slot, medium) == 0, "slot_of() takes one for the other");

static void write_begin(struct command *command, struct write *write, struct write_slot *slot);

/* The slot's burst is over, written or not; the next one takes its place. */
static void write_slot_is_done(struct command *command, struct write_slot *slot, int error)
{
    struct write *write = COMMAND_SCRATCH(command, struct write);
    struct burst *burst = slot->burst, *next;

    slot->burst = NULL;
    medium_leave(&slot->medium);
    write->written_bytes += burst->bytes;
    if (error)
        command_refuse_errno(command, error);
    command->transport->out_done(command, burst); /* may bring the next one, into this slot */
    if (command->is_finishing)
        return;
    if (write->written_bytes == write->want_bytes)
        return command_good(command);
    next = TAILQ_FIRST(&write->queue);
    if (next && !slot->burst) {
        TAILQ_REMOVE(&write->queue, next, link);
        slot->burst = next;
        write_begin(command, write, slot);
    }
}

static void write_submitted_is_done(struct medium *medium)
{
    write_slot_is_done(medium->command, slot_of(medium), medium->io.result);
}

static void write_entered(struct medium *medium)
{
    struct command *command = medium->command;
    struct write *write = COMMAND_SCRATCH(command, struct write);
    struct write_slot *slot = slot_of(medium);
    struct burst *burst = slot->burst;
    uint64_t offset_bytes = write->offset_bytes + burst->offset_bytes;

    if (!write->is_durable) {
        const struct iovec iov = { .iov_base = burst->data, .iov_len = burst->bytes };
        int error = backing_try_write(command->lu->backing, &iov, 1, offset_bytes);
        if (error != -EAGAIN)
            return write_slot_is_done(command, slot, error);
    }
    if (!burst->buffer) {
        int error = command->transport->out_keep(command, burst);
        if (error)
            return write_slot_is_done(command, slot, error);
    }
    medium->io = (struct io){
        .op = IO_WRITE,
        .is_durable = write->is_durable,
        .bytes = burst->data,
        .len_bytes = burst->bytes,
        .offset_bytes = offset_bytes,
    };
    medium_submit(medium, write_submitted_is_done);
}

static void write_begin(struct command *command, struct write *write, struct write_slot *slot)
{
    struct burst *burst = slot->burst;

    if (medium_enter(&slot->medium, GATE_SHARED, write->offset_bytes + burst->offset_bytes,
                     burst->bytes, write_entered))
        return write_entered(&slot->medium);
    /* It waits, and transient bytes are gone when this returns. */
    if (!burst->buffer) {
        int error = command->transport->out_keep(command, burst);
        if (error)
            command_refuse_errno(command, error);
    }
}

void sbc_write(struct command *command)
{
    struct write *write = COMMAND_SCRATCH(command, struct write);
    struct lu *lu = command->lu;
    const struct cdb_range *range = &command->range;
    uint64_t whole_bytes;

    for (unsigned i = 0; i < WRITE_SLOTS; i++) {
        medium_open(&write->slots[i].medium, command);
        write->slots[i].burst = NULL;
    }
    TAILQ_INIT(&write->queue);
    write->offset_bytes = range->lba << lu->block_shift;
    write->written_bytes = 0;
    write->is_durable =
        lu->cache == CACHE_WRITETHROUGH || (command->op->lba != LBA_6 && cdb_fua(command->cdb));
    command->transfer_bytes = (uint64_t)range->blocks << lu->block_shift;
    /* The initiator brings less than the CDB says: whole blocks of it are written, the transport
     * tells it by the residual. */
    whole_bytes = command->expected_out_bytes >> lu->block_shift << lu->block_shift;
    write->want_bytes =
        (uint32_t)(command->transfer_bytes < whole_bytes ? command->transfer_bytes : whole_bytes);
    if (write->want_bytes == 0)
        return command_good(command);
    command->transport->out_want(command, write->want_bytes, LIMIT_CHUNK_BYTES);
}

void sbc_write_out(struct command *command, struct burst *burst)
{
    struct write *write = COMMAND_SCRATCH(command, struct write);

    for (unsigned i = 0; i < WRITE_SLOTS; i++) {
        struct write_slot *slot = &write->slots[i];
        if (!slot->burst) {
            slot->burst = burst;
            return write_begin(command, write, slot);
        }
    }
    if (!burst->buffer) {
        int error = command->transport->out_keep(command, burst);
        if (error) {
            command->transport->out_done(command, burst);
            return command_refuse_errno(command, error);
        }
    }
    TAILQ_INSERT_TAIL(&write->queue, burst, link);
}

void sbc_write_let_go(struct command *command)
{
    struct write *write = COMMAND_SCRATCH(command, struct write);
    struct burst *burst;

    while ((burst = TAILQ_FIRST(&write->queue))) {
        TAILQ_REMOVE(&write->queue, burst, link);
        command->transport->out_done(command, burst);
    }
    for (unsigned i = 0; i < WRITE_SLOTS; i++) {
        struct write_slot *slot = &write->slots[i];
        burst = slot->burst;
        if (!burst)
            continue;
        if (slot->medium.is_entering)
            medium_let_go(&slot->medium);
        else if (!medium_leave_behind(&slot->medium, burst->buffer))
            continue;
        slot->burst = NULL;
        command->transport->out_done(command, burst);
    }
}
