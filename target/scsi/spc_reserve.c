/*
 * spc_reserve: RESERVE and RELEASE, (6) and (10), SPC-2 7.21 to 7.24. The whole unit, for the nexus
 * that asks: third parties and extents have no bit in the rows' masks.
 *
 * RESERVE passes the whole unit's gate alone: what another nexus was let in to do is done when it
 * is answered, and what comes after it meets the reservation at the gate.
 */
#include "target/scsi/handlers.h"

#include "target/scsi/command.h"
#include "target/scsi/medium.h"

static void reserve_alone(struct medium *medium)
{
    struct command *command = medium->command;
    enum scsi_status status = reservation_take(command->lu, command->nexus);

    medium_leave(medium);
    command_finish(command, status);
}

void spc_reserve(struct command *command)
{
    struct medium *medium = COMMAND_SCRATCH(command, struct medium);

    medium_open(medium, command);
    if (medium_enter(medium, GATE_EXCLUSIVE, 0, UINT64_MAX, reserve_alone))
        reserve_alone(medium);
}

void spc_reserve_let_go(struct command *command)
{
    medium_let_go(COMMAND_SCRATCH(command, struct medium));
}

void spc_release(struct command *command)
{
    reservation_release(command->lu, command->nexus);
    command_good(command);
}
