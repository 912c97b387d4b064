/*
 * sbc_update: ORWRITE(16), SBC-3 5.9, and WRITE AND VERIFY(10), (12) and (16), SBC-3 5.36 to 5.38:
 * commands that both read and write the blocks that they are for.
 *
 * Burst by burst, in order, each alone with its range from its first access to its last. Nothing is
 * held while Data-Out is awaited, so a transfer longer than LIMIT_CHUNK_BYTES is several such
 * steps; that ORs meet in another order makes no difference to what they leave behind.
 */
#include "target/scsi/handlers.h"

#include "proto/cdb.h"
#include "target/scsi/compare.h"
#include "target/scsi/limits.h"
#include "target/scsi/medium.h"
#include "target/scsi/opcodes.h"

enum { BYTCHK = 0x02 };

struct update {
    struct medium medium;
    struct buffer *buffer;     /* what the medium says */
    struct buffer *io_buffer;  /* this, or the burst's: in which the bytes of the io stand */
    struct burst *burst;       /* the one under way */
    TAILQ_HEAD(, burst) queue; /* those after it */
    void (*first)(struct medium *medium);
    uint64_t offset_bytes;
    uint32_t left_bytes;
    bool is_durable, is_compared;
    bool is_on_disk; /* io is in flight: what it uses must stay */
};

static void give_back(struct command *command, struct update *update)
{
    struct burst *burst;

    /* is_entering: the gate lets it in just now, and medium.c leaves again */
    if (!update->medium.is_entering)
        medium_leave(&update->medium);
    buffer_put(command->nexus->worker->buffers, update->buffer);
    update->buffer = NULL;
    if (update->burst)
        command->transport->out_done(command, update->burst);
    update->burst = NULL;
    while ((burst = TAILQ_FIRST(&update->queue))) {
        TAILQ_REMOVE(&update->queue, burst, link);
        command->transport->out_done(command, burst);
    }
}

static void update_submit(struct update *update, enum io_op op, struct buffer *buffer, void *bytes,
                          void (*next)(struct medium *medium))
{
    const struct burst *burst = update->burst;

    update->medium.io = (struct io){
        .op = op,
        .is_durable = op == IO_WRITE && update->is_durable,
        .bytes = bytes,
        .len_bytes = burst->bytes,
        .offset_bytes = update->offset_bytes + burst->offset_bytes,
    };
    update->io_buffer = buffer;
    update->is_on_disk = true;
    medium_submit(&update->medium, next);
}

/* False: it failed or nobody waits for it any more, and everything is given back. */
static bool update_went(struct command *command, struct update *update)
{
    update->is_on_disk = false;
    if (command->is_finishing)
        give_back(command, update);
    else if (update->medium.io.result)
        command_refuse_errno(command, update->medium.io.result);
    return !command->is_finishing;
}

static void update_next(struct update *update)
{
    struct burst *burst = TAILQ_FIRST(&update->queue);

    if (!burst)
        return; /* update_out() goes on */
    TAILQ_REMOVE(&update->queue, burst, link);
    update->burst = burst;
    if (medium_enter(&update->medium, GATE_EXCLUSIVE, update->offset_bytes + burst->offset_bytes,
                     burst->bytes, update->first))
        update->first(&update->medium);
}

static void burst_is_done(struct command *command, struct update *update)
{
    struct burst *burst = update->burst;

    medium_leave(&update->medium);
    update->burst = NULL;
    update->left_bytes -= burst->bytes;
    command->transport->out_done(command, burst); /* may bring the next one */
    if (command->is_finishing)
        return;
    if (update->left_bytes == 0)
        return command_good(command);
    if (!update->burst)
        update_next(update);
}

/* ---- ORWRITE: read, or, write ---- */

static void orwrite_written(struct medium *medium)
{
    struct command *command = medium->command;
    struct update *update = COMMAND_SCRATCH(command, struct update);

    if (update_went(command, update))
        burst_is_done(command, update);
}

static void orwrite_read(struct medium *medium)
{
    struct command *command = medium->command;
    struct update *update = COMMAND_SCRATCH(command, struct update);
    uint8_t *bytes;

    if (!update_went(command, update))
        return;
    bytes = update->buffer->bytes;
    for (uint32_t i = 0; i < update->burst->bytes; i++)
        bytes[i] |= update->burst->data[i];
    update_submit(update, IO_WRITE, update->buffer, bytes, orwrite_written);
}

static void orwrite_entered(struct medium *medium)
{
    struct update *update = COMMAND_SCRATCH(medium->command, struct update);

    update_submit(update, IO_READ, update->buffer, update->buffer->bytes, orwrite_read);
}

/* ---- WRITE AND VERIFY: write, read, compare ---- */

static void verify_read(struct medium *medium)
{
    struct command *command = medium->command;
    struct update *update = COMMAND_SCRATCH(command, struct update);
    const struct burst *burst;

    if (!update_went(command, update))
        return;
    burst = update->burst;
    if (update->is_compared) {
        uint32_t same = first_difference(update->buffer->bytes, burst->data, burst->bytes);
        if (same < burst->bytes)
            return command_refuse_information(command, SENSE_MISCOMPARE, burst->offset_bytes + same,
                                              "the disk does not hold what was just written");
    }
    burst_is_done(command, update);
}

static void verify_written(struct medium *medium)
{
    struct command *command = medium->command;
    struct update *update = COMMAND_SCRATCH(command, struct update);

    if (update_went(command, update))
        update_submit(update, IO_READ, update->buffer, update->buffer->bytes, verify_read);
}

static void verify_entered(struct medium *medium)
{
    struct update *update = COMMAND_SCRATCH(medium->command, struct update);

    update_submit(update, IO_WRITE, update->burst->buffer, update->burst->data, verify_written);
}

/* ---- both ---- */

static void update_start(struct command *command, void (*first)(struct medium *medium))
{
    struct update *update = COMMAND_SCRATCH(command, struct update);
    struct lu *lu = command->lu;
    uint64_t whole_bytes = command->expected_out_bytes >> lu->block_shift << lu->block_shift;
    const struct cdb_range *range = &command->range;

    medium_open(&update->medium, command);
    update->buffer = NULL;
    update->burst = NULL;
    TAILQ_INIT(&update->queue);
    update->first = first;
    update->is_on_disk = false;
    update->offset_bytes = range->lba << lu->block_shift;
    command->transfer_bytes = (uint64_t)range->blocks << lu->block_shift;
    /* Whole blocks of what there is, as for a write. */
    update->left_bytes =
        (uint32_t)(command->transfer_bytes < whole_bytes ? command->transfer_bytes : whole_bytes);
    if (update->left_bytes == 0)
        return command_good(command);
    update->buffer =
        buffer_get(command->nexus->worker->buffers,
                   update->left_bytes < LIMIT_CHUNK_BYTES ? update->left_bytes : LIMIT_CHUNK_BYTES);
    if (!update->buffer)
        return command_finish(command, STATUS_TASK_SET_FULL);
    command->transport->out_want(command, update->left_bytes, LIMIT_CHUNK_BYTES);
}

void sbc_orwrite(struct command *command)
{
    struct update *update = COMMAND_SCRATCH(command, struct update);

    update->is_durable = command->lu->cache == CACHE_WRITETHROUGH || cdb_fua(command->cdb);
    update_start(command, orwrite_entered);
}

/* It is the medium that is verified (SBC-3 4.15), so that is where the data must be: durable in any
 * cache mode. */
void sbc_write_and_verify(struct command *command)
{
    struct update *update = COMMAND_SCRATCH(command, struct update);

    update->is_durable = true;
    update->is_compared = command->cdb[1] & BYTCHK;
    update_start(command, verify_entered);
}

void sbc_update_out(struct command *command, struct burst *burst)
{
    struct update *update = COMMAND_SCRATCH(command, struct update);

    if (!burst->buffer) {
        int error = command->transport->out_keep(command, burst);
        if (error) {
            command->transport->out_done(command, burst);
            return command_refuse_errno(command, error);
        }
    }
    TAILQ_INSERT_TAIL(&update->queue, burst, link);
    if (!update->burst)
        update_next(update);
}

void sbc_update_let_go(struct command *command)
{
    struct update *update = COMMAND_SCRATCH(command, struct update);

    medium_let_go(&update->medium);
    if (!update->is_on_disk || medium_leave_behind(&update->medium, update->io_buffer))
        give_back(command, update);
}
