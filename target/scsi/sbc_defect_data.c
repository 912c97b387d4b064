/*
 * sbc_defect_data: READ DEFECT DATA(10) and (12), SBC-3 5.18 and 5.19: a file has no defects, so
 * both lists are empty, in whatever format they are asked for.
 */
#include "target/scsi/handlers.h"

#include "target/scsi/command.h"
#include "target/scsi/opcodes.h"

enum {
    LISTS_AND_FORMAT = 0x1f, /* REQ_PLIST, REQ_GLIST, DEFECT LIST FORMAT; the same in the answer */
};

void sbc_read_defect_data_10(struct command *command)
{
    const uint8_t header[4] = { 0, command->cdb[2] & LISTS_AND_FORMAT };

    command_reply(command, header, sizeof header, get_be16(command->cdb + 7));
}

void sbc_read_defect_data_12(struct command *command)
{
    const uint8_t header[8] = { 0, command->cdb[1] & LISTS_AND_FORMAT };

    command_reply(command, header, sizeof header, get_be32(command->cdb + 6));
}
