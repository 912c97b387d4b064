#include "target/scsi/zeroing.h"

#include "target/scsi/command.h"
#include "target/scsi/nexus.h"

#define CONTAINER_OF(pointer, type, member)                                                        \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

enum { SLICE_NS = 5 * 1000 * 1000 };

static void zeroing_slice(struct zeroing *zeroing);

void zeroing_open(struct zeroing *zeroing, struct command *command)
{
    *zeroing = (struct zeroing){ .error = 0 };
    medium_open(&zeroing->medium, command);
}

static void slice_run(struct slow_job *job)
{
    struct zeroing *zeroing = CONTAINER_OF(job, struct zeroing, job);

    zeroing->error =
        backing_discard_some(zeroing->medium.command->lu->backing, zeroing->offset_bytes,
                             zeroing->left_bytes, SLICE_NS, &zeroing->done_bytes);
}

static void slice_done(struct slow_job *job)
{
    struct zeroing *zeroing = CONTAINER_OF(job, struct zeroing, job);
    struct command *command = zeroing->medium.command;

    medium_leave(&zeroing->medium);
    zeroing->offset_bytes += zeroing->done_bytes;
    zeroing->left_bytes -= zeroing->done_bytes;
    if (zeroing->error)
        command_refuse_errno(command, zeroing->error);
    else if (!command->is_finishing)
        zeroing_slice(zeroing);
    command_unpin(command);
}

static void slice_entered(struct medium *medium)
{
    struct zeroing *zeroing = CONTAINER_OF(medium, struct zeroing, medium);
    struct command *command = medium->command;

    zeroing->job.run = slice_run;
    zeroing->job.done = slice_done;
    command_pin(command);
    worker_slow(command->nexus->worker, &command->lu->slow, &zeroing->job);
}

static void zeroing_slice(struct zeroing *zeroing)
{
    if (zeroing->left_bytes == 0)
        return zeroing->next(zeroing->medium.command, zeroing);
    if (medium_enter(&zeroing->medium, GATE_EXCLUSIVE, zeroing->offset_bytes, zeroing->left_bytes,
                     slice_entered))
        slice_entered(&zeroing->medium);
}

void zeroing_start(struct zeroing *zeroing, uint64_t offset_bytes, uint64_t len_bytes,
                   void (*next)(struct command *command, struct zeroing *zeroing))
{
    zeroing->offset_bytes = offset_bytes;
    zeroing->left_bytes = len_bytes;
    zeroing->next = next;
    zeroing_slice(zeroing);
}

static void flushed(struct medium *medium)
{
    if (medium->io.result)
        command_refuse_errno(medium->command, medium->io.result);
    else
        command_good(medium->command);
}

void zeroing_finish(struct zeroing *zeroing)
{
    struct command *command = zeroing->medium.command;

    if (command->lu->cache == CACHE_WRITEBACK)
        return command_good(command);
    zeroing->medium.io = (struct io){ .op = IO_FLUSH };
    medium_submit(&zeroing->medium, flushed);
}

void zeroing_let_go(struct zeroing *zeroing)
{
    medium_let_go(&zeroing->medium);
}
