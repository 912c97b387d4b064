/* sbc_start_stop: START STOP UNIT, SBC-3 5.25, and PREVENT ALLOW MEDIUM REMOVAL, SBC-3 5.9. */
#include "target/scsi/handlers.h"

#include "target/scsi/medium.h"

enum { START = 0x01, NO_FLUSH = 0x04 };

static void stop(struct command *command)
{
    atomic_store(&command->lu->is_stopped, true);
    command_good(command);
}

static void stop_flushed(struct medium *medium)
{
    if (medium->command->is_finishing)
        return; /* aborted: it goes on running */
    if (medium->io.result)
        return command_refuse_errno(medium->command, medium->io.result);
    stop(medium->command);
}

/* LOEJ and the power conditions have no bit in the row's mask: a file cannot be ejected or spun
 * down. */
void sbc_start_stop(struct command *command)
{
    struct medium *medium = COMMAND_SCRATCH(command, struct medium);
    struct lu *lu = command->lu;
    uint8_t flags = command->cdb[4];

    if (flags & START) {
        atomic_store(&lu->is_stopped, false);
        return command_good(command);
    }
    if (flags & NO_FLUSH || lu->cache == CACHE_WRITETHROUGH || lu->is_readonly)
        return stop(command);
    medium_open(medium, command);
    medium->io.op = IO_FLUSH;
    medium_submit(medium, stop_flushed);
}

/* There is nothing to remove, so nothing has to be prevented; hosts ask of every disk. */
void sbc_prevent_allow(struct command *command)
{
    command_good(command);
}
