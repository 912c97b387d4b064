/* sbc_cache: SYNCHRONIZE CACHE(10) and (16), SBC-3 5.27 and 5.28. */
#include "target/scsi/handlers.h"

#include "target/scsi/medium.h"

static void flushed(struct medium *medium)
{
    if (medium->io.result)
        command_refuse_errno(medium->command, medium->io.result);
    else
        command_good(medium->command);
}

/*
 * The whole image is flushed, whatever the range. IMMED allows an earlier answer and does not ask
 * for one that is not true: GOOD comes when the data is safe, since an error afterwards would reach
 * nobody.
 */
void sbc_synchronize_cache(struct command *command)
{
    struct medium *medium = COMMAND_SCRATCH(command, struct medium);

    medium_open(medium, command);
    if (command->lu->cache == CACHE_WRITETHROUGH || command->lu->is_readonly)
        return command_good(command);
    medium->io = (struct io){ .op = IO_FLUSH };
    medium_submit(medium, flushed);
}

void sbc_synchronize_cache_let_go(struct command *command)
{
    medium_leave_behind(COMMAND_SCRATCH(command, struct medium), NULL);
}
