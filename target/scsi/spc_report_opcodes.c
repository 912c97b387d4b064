/*
 * spc_report_opcodes: REPORT SUPPORTED OPERATION CODES and REPORT SUPPORTED TASK MANAGEMENT
 * FUNCTIONS, SPC-4 6.35 and 6.36: the opcode table, told.
 */
#include "target/scsi/handlers.h"

#include "target/scsi/lu.h"
#include "target/scsi/opcodes.h"

enum {
    RCTD = 0x80, /* with command timeouts descriptors */
    OPTION_ALL = 0,
    OPTION_OPCODE = 1,
    OPTION_SERVICE_ACTION = 2,
    OPTION_EITHER = 3,

    CTDP = 0x02,
    SERVACTV = 0x01,
    ONE_CTDP = 0x80,
    NOT_SUPPORTED = 0x01,
    SUPPORTED = 0x03,

    DESCRIPTOR_BYTES = 8,
    TIMEOUTS_BYTES = 12,
    REPORT_BYTES_MAX = 4 + 256 * (DESCRIPTOR_BYTES + TIMEOUTS_BYTES),

    REPD = 0x80,
    TMF_ABORT_TASK_BITS = 0x80 | 0x40, /* ATS, ATSS: ABORT TASK, ABORT TASK SET */
    TMF_CLEAR_TASK_SET_BIT = 0x10,
    TMF_LOGICAL_UNIT_RESET_BIT = 0x08,
    TMF_TARGET_RESET_BIT = 0x02,
};

/* SPC-4 6.35.4: no command has a nominal time, and none is recommended. */
static void put_timeouts(struct builder *out)
{
    uint8_t *p = builder_room(out, TIMEOUTS_BYTES);

    if (p)
        put_be16(p, TIMEOUTS_BYTES - 2);
}

static void put_all(struct builder *out, const struct command *command, bool with_timeouts)
{
    builder_room(out, 4);
    for (unsigned i = 0; i < opcode_count; i++) {
        const struct opcode_row *row = &opcode_table[i];
        uint8_t *p;

        if (!opcode_is_served(row, command) || !(p = builder_room(out, DESCRIPTOR_BYTES)))
            continue;
        p[0] = row->opcode;
        if (row->service_action != OPCODE_NO_SA) {
            put_be16(p + 2, (uint16_t)row->service_action);
            p[5] |= SERVACTV;
        }
        put_be16(p + 6, row->cdb_len);
        if (with_timeouts) {
            p[5] |= CTDP;
            put_timeouts(out);
        }
    }
    put_be32(out->bytes, (uint32_t)(out->len - 4));
}

static void put_one(struct builder *out, const struct opcode_row *row, bool with_timeouts)
{
    uint8_t *p = builder_room(out, 4);

    if (!row) {
        p[1] = NOT_SUPPORTED;
        return;
    }
    p[1] = (uint8_t)(SUPPORTED | (with_timeouts ? ONE_CTDP : 0));
    put_be16(p + 2, row->cdb_len);
    builder_bytes(out, row->usage, row->cdb_len);
    if (with_timeouts)
        put_timeouts(out);
}

/* The row asked for; *is_known: there is such an opcode; *has_actions: with service actions. */
static const struct opcode_row *find(const struct command *command, uint8_t opcode,
                                     unsigned service_action, bool *is_known, bool *has_actions)
{
    const struct opcode_row *found = NULL;

    *is_known = *has_actions = false;
    for (unsigned i = 0; i < opcode_count; i++) {
        const struct opcode_row *row = &opcode_table[i];
        if (row->opcode != opcode || !opcode_is_served(row, command))
            continue;
        *is_known = true;
        if (row->service_action != OPCODE_NO_SA)
            *has_actions = true;
        /* Where there are none, SPC-4 table 247 wants the field to be zero with option 3. */
        if (row->service_action == (int)service_action ||
            (row->service_action == OPCODE_NO_SA && service_action == 0))
            found = row;
    }
    return found;
}

void spc_report_opcodes(struct command *command)
{
    const uint8_t *cdb = command->cdb;
    bool with_timeouts = cdb[2] & RCTD;
    unsigned option = cdb[2] & 0x07;
    uint8_t bytes[REPORT_BYTES_MAX];
    struct builder out = builder_over(bytes, sizeof bytes);
    const struct opcode_row *row;
    bool is_known, has_actions;

    row = find(command, cdb[3], option == OPTION_OPCODE ? 0 : get_be16(cdb + 4), &is_known,
               &has_actions);
    if (option > OPTION_EITHER)
        return command_refuse_field(command, SENSE_INVALID_FIELD_IN_CDB, true, 2,
                                    "an unknown REPORTING OPTIONS");
    if ((option == OPTION_OPCODE && has_actions) ||
        (option == OPTION_SERVICE_ACTION && is_known && !has_actions))
        return command_refuse_field(command, SENSE_INVALID_FIELD_IN_CDB, true, 2, NULL);
    if (option == OPTION_ALL)
        put_all(&out, command, with_timeouts);
    else
        put_one(&out, row, with_timeouts);
    command_reply(command, bytes, out.len, get_be32(cdb + 6));
}

void spc_report_task_management(struct command *command)
{
    uint32_t allocation_length = get_be32(command->cdb + 6);
    uint8_t out[16] = { TMF_ABORT_TASK_BITS | TMF_CLEAR_TASK_SET_BIT | TMF_LOGICAL_UNIT_RESET_BIT |
                        TMF_TARGET_RESET_BIT };
    bool is_extended = command->cdb[2] & REPD;

    if (allocation_length < 4)
        return command_refuse_field(command, SENSE_INVALID_FIELD_IN_CDB, true, 6,
                                    "ALLOCATION LENGTH is below 4");
    if (is_extended)
        out[3] = sizeof out - 4; /* no timeouts to tell behind it */
    command_reply(command, out, is_extended ? sizeof out : 4, allocation_length);
}
