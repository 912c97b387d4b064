#include "target/scsi/medium.h"

#include "target/scsi/command.h"
#include "target/scsi/nexus.h"
#include "target/scsi/opcodes.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

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

static void io_is_back(struct medium *medium)
{
    struct command *command = medium->command;

    medium->next(medium);
    command_unpin(command);
}

/* For an io that stands in the medium. */
static void medium_done(struct io *io)
{
    io_is_back(CONTAINER_OF(io, struct medium, io));
}

static void put_back(struct submitted_io *submitted)
{
    struct scsi_worker *scsi = submitted->worker->scsi;

    LIST_INSERT_HEAD(&scsi->free_ios, submitted, spare_link);
}

/* Nobody waited for it: those who wait for its blocks may go, and its unit as well. */
static void left_behind_is_done(struct submitted_io *submitted)
{
    if (submitted->hold.is_held)
        gate_leave(&submitted->hold);
    buffer_put(submitted->worker->buffers, submitted->buffer);
    put_back(submitted);
    left_behind_end(&submitted->left, submitted->io.result);
}

static void submitted_is_done(struct submitted_io *submitted)
{
    struct medium *medium = submitted->medium;

    if (medium == NULL)
        return left_behind_is_done(submitted);
    medium->io.result = submitted->io.result;
    medium->io.len_bytes = submitted->io.len_bytes;
    medium->submitted = NULL;
    put_back(submitted);
    io_is_back(medium);
}

static void submitted_done(struct io *io)
{
    submitted_is_done(CONTAINER_OF(io, struct submitted_io, io));
}

/* medium->io with memory of its own; NULL: there is none. */
static struct submitted_io *submitted_make(struct medium *medium)
{
    struct worker *worker = medium->command->nexus->worker;
    struct scsi_worker *scsi = worker->scsi;
    struct submitted_io *submitted = LIST_FIRST(&scsi->free_ios);

    if (submitted != NULL)
        LIST_REMOVE(submitted, spare_link);
    else if ((submitted = malloc(sizeof(*submitted))) == NULL)
        return NULL;
    submitted->io = medium->io;
    submitted->medium = medium;
    submitted->worker = worker;
    submitted->lu = medium->command->lu;
    medium->submitted = submitted;
    return submitted;
}

void medium_submit(struct medium *medium, void (*next)(struct medium *medium))
{
    struct command *command = medium->command;
    struct engine *engine = command->nexus->worker->engine;
    struct submitted_io *submitted;

    medium->next = next;
    medium->io.backing = command->lu->backing;
    medium->io.done = medium_done;
    command_pin(command);
    submitted = submitted_make(medium);
    if (submitted == NULL)
        return engine_submit(engine, &medium->io); /* and it is waited for */
    submitted->io.done = submitted_done;
    engine_submit(engine, &submitted->io);
}

static void slow_run(struct slow_job *job)
{
    struct submitted_io *submitted = CONTAINER_OF(job, struct submitted_io, job);

    submitted->run(submitted);
}

static void slow_done(struct slow_job *job)
{
    submitted_is_done(CONTAINER_OF(job, struct submitted_io, job));
}

struct submitted_io *medium_prepare_slow(struct medium *medium,
                                         void (*run)(struct submitted_io *submitted),
                                         void (*next)(struct medium *medium))
{
    struct submitted_io *submitted;

    medium->next = next;
    medium->io.backing = medium->command->lu->backing;
    submitted = submitted_make(medium);
    if (submitted == NULL) {
        medium->io.result = -ENOMEM;
        medium->io.len_bytes = 0;
        return NULL;
    }
    submitted->run = run;
    submitted->job.run = slow_run;
    submitted->job.done = slow_done;
    command_pin(medium->command);
    return submitted;
}

void submitted_start_slow(struct submitted_io *submitted)
{
    worker_slow(submitted->worker, &submitted->lu->slow, &submitted->job);
}

void medium_submit_slow(struct medium *medium, void (*run)(struct submitted_io *submitted),
                        void (*next)(struct medium *medium))
{
    struct submitted_io *submitted = medium_prepare_slow(medium, run, next);

    if (submitted != NULL)
        submitted_start_slow(submitted);
    else
        next(medium);
}

bool medium_leave_behind(struct medium *medium, struct buffer *buffer)
{
    struct submitted_io *submitted = medium->submitted;
    struct command *command = medium->command;

    if (submitted == NULL || !command->was_aborted)
        return false;
    assert((buffer != NULL) == (submitted->io.bytes != NULL));
    if (!left_behind_begin(&submitted->left, command, NULL, NULL,
                           buffer != NULL ? medium->io.len_bytes : 0))
        return false;
    medium->submitted = NULL;
    submitted->medium = NULL;
    submitted->buffer = buffer;
    if (buffer != NULL)
        buffer_ref(buffer);
    gate_hold_init(&submitted->hold);
    if (medium->hold.is_held)
        gate_hand_over(&medium->hold, &submitted->hold);
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
