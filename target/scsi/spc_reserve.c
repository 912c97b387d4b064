/*
 * spc_reserve: RESERVE and RELEASE, (6) and (10), SPC-2 7.21 to 7.24. The whole unit, for the nexus
 * that asks: third parties and extents have no bit in the rows' masks.
 */
#include "target/scsi/handlers.h"

#include "target/scsi/command.h"
#include "target/scsi/lu.h"

void spc_reserve(struct command *command)
{
    command_finish(command, reservation_take(command->lu, command->nexus));
}

void spc_release(struct command *command)
{
    reservation_release(command->lu, command->nexus);
    command_good(command);
}
