#include "target/scsi/zeroing.h"

#include "target/scsi/command.h"
#include "target/scsi/nexus.h"

#define CONTAINER_OF(pointer, type, member)                                                        \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

enum { SLICE_NS = 5 * 1000 * 1000 };

static void zeroing_slice(struct zeroing *zeroing);

void zeroing_open(struct zeroing *zeroing, struct command *command)
{
    medium_open(&zeroing->medium, command);
}

static void slice_run(struct submitted_io *slice)
{
    uint64_t done_bytes;

    slice->io.result = backing_discard_some(slice->io.backing, slice->io.offset_bytes,
                                            slice->io.len_bytes, SLICE_NS, &done_bytes);
    slice->io.len_bytes = done_bytes;
}

static void slice_is_done(struct medium *medium)
{
    struct zeroing *zeroing = CONTAINER_OF(medium, struct zeroing, medium);
    struct command *command = medium->command;

    medium_leave(medium);
    zeroing->offset_bytes += medium->io.len_bytes;
    zeroing->left_bytes -= medium->io.len_bytes;
    if (medium->io.result)
        command_refuse_errno(command, medium->io.result);
    else if (!command->is_finishing)
        zeroing_slice(zeroing);
}

static void slice_entered(struct medium *medium)
{
    struct zeroing *zeroing = CONTAINER_OF(medium, struct zeroing, medium);

    medium->io = (struct io){
        .op = IO_PUNCH,
        .len_bytes = zeroing->left_bytes,
        .offset_bytes = zeroing->offset_bytes,
    };
    medium_submit_slow(medium, slice_run, slice_is_done);
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
    medium_leave_behind(&zeroing->medium, NULL);
}
