/* spc_sense: TEST UNIT READY and REQUEST SENSE, SPC-4 6.47 and 6.39. */
#include "target/scsi/handlers.h"

#include "target/scsi/command.h"
#include "target/scsi/lu.h"

void spc_test_unit_ready(struct command *command)
{
    command_good(command);
}

void spc_request_sense(struct command *command)
{
    bool is_descriptor = command->cdb[1] & 0x01; /* DESC */
    struct sense_details details = { 0 };
    enum sense_code code = SENSE_NONE;
    uint8_t sense[SENSE_BYTES_MAX];
    uint8_t len;

    if (!command->lu) {
        code = SENSE_LUN_NOT_SUPPORTED; /* told as data, with GOOD */
    } else {
        code = unit_attention_take(command->itl);
        if (code == SENSE_NONE) {
            code = sanitize_sense(command->lu, &details.progress);
            details.has_progress = code == SENSE_SANITIZE_IN_PROGRESS;
        }
        if (code == SENSE_NONE)
            code = lu_not_ready(command->lu);
    }
    len = sense_build(sense, code, &details, is_descriptor);
    command_reply(command, sense, len, command->cdb[4]);
}
