#include "target/scsi/medium.h"

#include "target/scsi/command.h"
#include "target/scsi/drain.h"
#include "target/scsi/limits.h"
#include "target/scsi/nexus.h"
#include "target/scsi/opcodes.h"
#include "target/worker/log.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define CONTAINER_OF(pointer, type, member)                                                        \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

void medium_open(struct medium *medium, struct command *command)
{
    medium->command = command;
    medium->submitted = NULL;
    medium->is_entering = false;
    gate_hold_init(&medium->hold);
}

static bool is_kept_out(const struct command *command)
{
    return !command->is_under_way && lu_is_reserved(command->lu) &&
           reservation_conflicts(command->lu, command->nexus,
                                 opcode_reservation(command->op, command->cdb));
}

static void medium_entered(struct gate_hold *hold)
{
    struct medium *medium = CONTAINER_OF(hold, struct medium, hold);
    struct command *command = medium->command;

    if (!command->is_finishing) {
        if (is_kept_out(command))
            command_finish(command, STATUS_RESERVATION_CONFLICT);
        else
            command->is_under_way = true;
    }
    medium->is_entering = false;
    if (command->is_finishing)
        gate_leave(hold);
    else
        medium->next(medium);
    command_unpin(command);
}

bool medium_enter(struct medium *medium, enum gate_mode mode, uint64_t offset_bytes,
                  uint64_t len_bytes, void (*next)(struct medium *medium))
{
    struct command *command = medium->command;

    medium->next = next;
    medium->hold.entered = medium_entered;
    if (gate_enter(&command->lu->gate, &medium->hold, command->nexus->worker, mode, offset_bytes,
                   len_bytes)) {
        if (!is_kept_out(command)) {
            command->is_under_way = true;
            return true;
        }
        /* told as late as if it had waited: the caller is in the middle of its step */
        worker_post(command->nexus->worker, &medium->hold.message);
    }
    medium->is_entering = true;
    command_pin(command);
    return false;
}

void medium_leave(struct medium *medium)
{
    if (medium->hold.is_held)
        gate_leave(&medium->hold);
}

/* ---- io ---- */

static void put_back(struct scsi_worker *scsi, struct submitted_io *submitted)
{
    LIST_INSERT_HEAD(&scsi->free_ios, submitted, link);
}

static void io_is_back(struct medium *medium)
{
    struct command *command = medium->command;

    medium->next(medium);
    command_unpin(command);
}

static void medium_done(struct io *io)
{
    io_is_back(CONTAINER_OF(io, struct medium, io));
}

/* Nobody waited for it: those who wait for its blocks may go, and its unit as well. */
static void left_behind_done(struct submitted_io *submitted)
{
    struct worker *worker = submitted->worker;
    struct scsi_worker *scsi = worker->scsi;
    struct lu *lu = submitted->lu;
    int error = submitted->io.result;
    uint64_t seconds = (worker->now_ns - submitted->left_ns) / NS_PER_S;

    if (error)
        log_peer("%s: what was aborted has failed: %s", backing_path(lu->backing),
                 strerror(-error));
    else if (seconds >= COMMAND_SLOW_S)
        log_peer("%s: what was aborted %" PRIu64 " s ago has ended", backing_path(lu->backing),
                 seconds);
    if (submitted->hold.is_held)
        gate_leave(&submitted->hold);
    buffer_put(worker->buffers, submitted->buffer);
    LIST_REMOVE(submitted, link);
    scsi->left_behind_count--;
    scsi->left_behind_bytes -= submitted->io.len_bytes;
    put_back(scsi, submitted);
    drain_left_behind_out(worker, lu);
}

static void submitted_done(struct io *io)
{
    struct submitted_io *submitted = CONTAINER_OF(io, struct submitted_io, io);
    struct medium *medium = submitted->medium;

    if (medium == NULL)
        return left_behind_done(submitted);
    medium->io.result = io->result;
    medium->submitted = NULL;
    put_back(submitted->worker->scsi, submitted);
    io_is_back(medium);
}

void medium_submit(struct medium *medium, void (*next)(struct medium *medium))
{
    struct command *command = medium->command;
    struct worker *worker = command->nexus->worker;
    struct scsi_worker *scsi = worker->scsi;
    struct submitted_io *submitted = LIST_FIRST(&scsi->free_ios);

    medium->next = next;
    medium->io.backing = command->lu->backing;
    medium->io.done = medium_done;
    command_pin(command);
    if (submitted != NULL)
        LIST_REMOVE(submitted, link);
    else if ((submitted = malloc(sizeof(*submitted))) == NULL)
        return engine_submit(worker->engine, &medium->io); /* and it is waited for */
    medium->submitted = submitted;
    submitted->io = medium->io;
    submitted->io.done = submitted_done;
    submitted->medium = medium;
    submitted->worker = worker;
    engine_submit(worker->engine, &submitted->io);
}

/* A host that aborts and sends new ones for ever must not take all memory and all threads. */
static bool may_leave_more(const struct scsi_worker *scsi, const struct submitted_io *submitted)
{
    return scsi->left_behind_count < LIMIT_LEFT_BEHIND &&
           scsi->left_behind_bytes + submitted->io.len_bytes <= LIMIT_LEFT_BEHIND_BYTES;
}

bool medium_leave_behind(struct medium *medium, struct buffer *buffer)
{
    struct submitted_io *submitted = medium->submitted;
    struct command *command = medium->command;
    struct worker *worker = command->nexus->worker;
    struct scsi_worker *scsi = worker->scsi;

    if (submitted == NULL || !command->was_aborted || command->itl->gone_by != NULL ||
        !may_leave_more(scsi, submitted))
        return false;
    assert((buffer != NULL) == (submitted->io.bytes != NULL));
    medium->submitted = NULL;
    submitted->medium = NULL;
    submitted->lu = command->lu;
    submitted->left_ns = worker->now_ns;
    submitted->buffer = buffer;
    if (buffer != NULL)
        buffer_ref(buffer);
    gate_hold_init(&submitted->hold);
    if (medium->hold.is_held)
        gate_hand_over(&medium->hold, &submitted->hold);
    LIST_INSERT_HEAD(&scsi->left_behind, submitted, link);
    scsi->left_behind_count++;
    scsi->left_behind_bytes += submitted->io.len_bytes;
    command_log_left_behind(command);
    command_unpin(command);
    return true;
}

void medium_let_go(struct medium *medium)
{
    if (!medium->is_entering)
        return;
    /* False: it has been let in; medium_entered() is on its way and leaves again. */
    if (gate_cancel(&medium->hold)) {
        medium->is_entering = false;
        command_unpin(medium->command);
    }
}
