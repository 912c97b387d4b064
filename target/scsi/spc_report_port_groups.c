/*
 * spc_report_port_groups: REPORT TARGET PORT GROUPS, SPC-4 6.37, on targets that are told to have
 * port groups.
 *
 * One group, active/optimized for ever: all portals lead to the same unit the same way (SPC-4
 * 5.16.3). ESX takes one port's answer for that of all, so it must be the same through each.
 */
#include "target/scsi/handlers.h"

#include "target/scsi/nexus.h"

enum {
    FORMAT_LENGTH_ONLY = 0,
    FORMAT_EXTENDED = 1,
    AO_SUP = 0x01, /* and no other state */
    ACTIVE_OPTIMIZED = 0x00,
};

void spc_report_port_groups(struct command *command)
{
    unsigned format = command->cdb[1] >> 5;
    uint8_t bytes[20];
    struct builder out = builder_over(bytes, sizeof bytes);
    uint8_t *p;

    if (format > FORMAT_EXTENDED)
        return command_refuse_field(command, SENSE_INVALID_FIELD_IN_CDB, true, 1,
                                    "an unknown PARAMETER DATA FORMAT");
    builder_be32(&out, 0);
    if (format == FORMAT_EXTENDED)
        builder_be32(&out, FORMAT_EXTENDED << 28); /* IMPLICIT TRANSITION TIME 0: not specified */
    p = builder_room(&out, 12);
    if (p) {
        p[0] = ACTIVE_OPTIMIZED;
        p[1] = AO_SUP;
        put_be16(p + 2, TARGET_PORT_GROUP);
        p[7] = 1; /* TARGET PORT COUNT */
        put_be16(p + 10, command->nexus->relative_target_port);
    }
    put_be32(bytes, (uint32_t)(out.len - 4)); /* RETURN DATA LENGTH */
    command_reply(command, bytes, out.len, get_be32(command->cdb + 6));
}
