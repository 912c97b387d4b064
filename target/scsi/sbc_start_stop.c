/* sbc_start_stop: START STOP UNIT, SBC-3 5.25, and PREVENT ALLOW MEDIUM REMOVAL, SBC-3 5.9. */
#include "target/scsi/handlers.h"

#include "target/scsi/medium.h"
#include "target/scsi/removal.h"

enum { START = 0x01, LOEJ = 0x02, NO_FLUSH = 0x04, POWER_CONDITION = 0xf0, PREVENT = 0x01 };

static bool moves_medium(const struct command *command)
{
    return command->cdb[4] & LOEJ;
}

static void refuse_removal(struct command *command)
{
    command_refuse(command, SENSE_MEDIUM_REMOVAL_PREVENTED,
                   "a host prevents the removal of the medium");
}

static void start(struct command *command)
{
    struct lu *lu = command->lu;

    if (moves_medium(command) && removal_load(lu, command->nexus) != SENSE_NONE)
        return refuse_removal(command);
    if (atomic_load(&lu->is_ejected))
        return command_refuse(command, SENSE_MEDIUM_NOT_PRESENT, NULL);
    atomic_store(&lu->is_stopped, false);
    command_good(command);
}

static void stop(struct command *command)
{
    struct lu *lu = command->lu;

    if (moves_medium(command) && removal_eject(lu) != SENSE_NONE)
        return refuse_removal(command);
    /* A drive whose medium can be removed stays ready as long as there is one: it is flushed, and
     * the next access would spin it up again. */
    if (!lu->is_removable)
        atomic_store(&lu->is_stopped, true);
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

void sbc_start_stop(struct command *command)
{
    struct medium *medium = COMMAND_SCRATCH(command, struct medium);
    struct lu *lu = command->lu;
    uint8_t flags = command->cdb[4];

    medium_open(medium, command);
    /* START and LOEJ mean nothing then. A file is ready in whatever power condition it is sent to,
     * and leaves it with the next command. */
    if (flags & POWER_CONDITION)
        return command_good(command);
    if (moves_medium(command) && !lu->is_removable)
        return command_refuse_field(command, SENSE_INVALID_FIELD_IN_CDB, true, 4,
                                    "the unit has no removable medium");
    if (flags & START)
        return start(command);
    if (moves_medium(command) && removal_is_prevented(lu))
        return refuse_removal(command); /* asked again when all is flushed */
    if (flags & NO_FLUSH || lu->cache == CACHE_WRITETHROUGH || lu->is_readonly)
        return stop(command);
    medium->io = (struct io){ .op = IO_FLUSH };
    medium_submit(medium, stop_flushed);
}

void sbc_start_stop_let_go(struct command *command)
{
    medium_leave_behind(COMMAND_SCRATCH(command, struct medium), NULL);
}

/* Of a disk that is not removable, too: hosts ask of every disk. */
void sbc_prevent_allow(struct command *command)
{
    removal_prevent(command->itl, command->cdb[4] & PREVENT);
    command_good(command);
}
