/* spc_report_luns: REPORT LUNS, SPC-4 6.33: works on any LUN, a missing one too. */
#include "target/scsi/handlers.h"

#include "target/scsi/nexus.h"
#include "target/scsi/scsi_target.h"

enum {
    SELECT_ADDRESSABLE = 0x00, /* all but the well known ones */
    SELECT_WELL_KNOWN = 0x01,
    SELECT_ALL = 0x02,
    HEADER_BYTES = 8,
    ALLOCATION_LENGTH_MIN = 16,
    FLAT_SPACE = 0x4000,
};

/* SAM-5 4.7.7: peripheral device addressing below 256, as ESX expects it, flat space from there on.
 */
static void put_lun(uint8_t out[8], uint16_t lun)
{
    memset(out, 0, 8);
    put_be16(out, lun < 256 ? lun : (uint16_t)(FLAT_SPACE | lun));
}

void spc_report_luns(struct command *command)
{
    uint32_t allocation_length = get_be32(command->cdb + 6);
    uint8_t select_report = command->cdb[2];
    struct buffer_pool *pool = command->nexus->worker->buffers;
    struct buffer *buffer;
    unsigned count = 0;

    if (allocation_length < ALLOCATION_LENGTH_MIN)
        return command_refuse_field(command, SENSE_INVALID_FIELD_IN_CDB, true, 6,
                                    "ALLOCATION LENGTH is below 16");
    if (select_report > SELECT_ALL)
        return command_refuse_field(command, SENSE_INVALID_FIELD_IN_CDB, true, 2,
                                    "SELECT REPORT is neither 00h, 01h nor 02h");
    if (select_report != SELECT_WELL_KNOWN) /* nestor has no well known logical unit */
        count = nexus_report_luns(command->nexus, NULL, 0);
    /* The numbers come first into the same memory, behind where the list grows from. */
    buffer = buffer_get(pool, HEADER_BYTES + count * (8 + (uint32_t)sizeof(uint16_t)));
    if (!buffer)
        return command_finish(command, STATUS_TASK_SET_FULL);
    uint16_t *luns = (uint16_t *)(void *)(buffer->bytes + HEADER_BYTES + 8 * (size_t)count);
    if (count > 0)
        nexus_report_luns(command->nexus, luns, count);
    memset(buffer->bytes, 0, HEADER_BYTES);
    put_be32(buffer->bytes, 8 * count); /* LUN LIST LENGTH: all of it, whatever is cut off */
    for (unsigned i = 0; i < count; i++)
        put_lun(buffer->bytes + HEADER_BYTES + 8 * (size_t)i, luns[i]);
    nexus_clear_unit_attention(command->nexus, UA_LUN_INVENTORY_CHANGED);
    command_reply(command, buffer->bytes, HEADER_BYTES + 8 * (size_t)count, allocation_length);
    buffer_put(pool, buffer);
}
