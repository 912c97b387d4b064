/* sbc_sanitize: SANITIZE, SBC-3 5.24: BLOCK ERASE, OVERWRITE and EXIT FAILURE MODE. */
#include "target/scsi/handlers.h"

#include "target/scsi/command.h"
#include "target/scsi/lu.h"
#include "target/scsi/sanitize.h"

enum { IMMED = 0x80, AUSE = 0x20 };

static void begin(struct command *command, const struct overwrite_list *list)
{
    sanitize_begin(command, list, command->cdb[1] & AUSE, command->cdb[1] & IMMED);
}

static void open_wait(struct command *command)
{
    *COMMAND_SCRATCH(command, struct sanitize_wait) = (struct sanitize_wait){ .command = command };
}

void sbc_sanitize_block_erase(struct command *command)
{
    open_wait(command);
    begin(command, NULL);
}

void sbc_sanitize_overwrite(struct command *command)
{
    uint32_t list_bytes = get_be16(command->cdb + 7);

    open_wait(command);
    command->transfer_bytes = list_bytes;
    if (list_bytes <= OVERWRITE_HEADER_BYTES ||
        list_bytes > OVERWRITE_HEADER_BYTES + command->lu->block_bytes)
        return command_refuse_field(command, SENSE_INVALID_FIELD_IN_CDB, true, 7,
                                    "an overwrite list must have a pattern, of a block at most");
    if (command->expected_out_bytes < list_bytes)
        return command_refuse(command, SENSE_PARAMETER_LIST_LENGTH_ERROR,
                              "the overwrite list is cut short");
    command->transport->out_want(command, list_bytes, list_bytes);
}

void sbc_sanitize_overwrite_out(struct command *command, struct burst *burst)
{
    struct overwrite_list list;
    enum sense_code code =
        overwrite_parse(burst->data, burst->bytes, command->lu->block_bytes, &list);

    if (code != SENSE_NONE)
        command_refuse(command, code, "the overwrite list asks for nothing that can be done");
    else
        begin(command, &list);
    command->transport->out_done(command, burst);
}

void sbc_sanitize_let_go(struct command *command)
{
    sanitize_let_go(command);
}

void sbc_sanitize_exit_failure_mode(struct command *command)
{
    sanitize_exit_failure_mode(command);
}
