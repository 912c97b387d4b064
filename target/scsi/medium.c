#include "target/scsi/medium.h"

#include "target/scsi/command.h"
#include "target/scsi/nexus.h"
#include "target/scsi/opcodes.h"

#define CONTAINER_OF(pointer, type, member)                                                        \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

void medium_open(struct medium *medium, struct command *command)
{
    medium->command = command;
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

static void medium_done(struct io *io)
{
    struct medium *medium = CONTAINER_OF(io, struct medium, io);
    struct command *command = medium->command;

    medium->next(medium);
    command_unpin(command);
}

void medium_submit(struct medium *medium, void (*next)(struct medium *medium))
{
    struct command *command = medium->command;

    medium->next = next;
    medium->io.backing = command->lu->backing;
    medium->io.done = medium_done;
    command_pin(command);
    engine_submit(command->nexus->worker->engine, &medium->io);
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
