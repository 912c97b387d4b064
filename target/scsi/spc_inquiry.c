/* spc_inquiry: INQUIRY, SPC-4 6.6: who the unit is and what it can do, told from the tables. */
#include "target/scsi/handlers.h"

#include "proto/inquiry.h"
#include "target/scsi/capability.h"
#include "target/scsi/limits.h"
#include "target/scsi/opcodes.h"
#include "target/scsi/scsi_target.h"

enum { EVPD = 0x01 };

/* What a page number stands for: is it told of this unit, and by whom is it written? */
struct vpd_page {
    uint8_t page;
    bool (*is_served)(const struct lu *lu); /* NULL: always */
    void (*build)(struct builder *out, const struct command *command);
};

static void build_serial_number(struct builder *out, const struct command *command)
{
    vpd_serial_number(out, command->lu->identity.serial);
}

static void build_identification(struct builder *out, const struct command *command)
{
    const struct identity *identity = &command->lu->identity;
    const struct vpd_identification_facts facts = {
        .naa = identity->naa,
        .vendor = identity->vendor,
        .serial = identity->serial,
        .relative_target_port = command->nexus->relative_target_port,
        .target_port_group = TARGET_PORT_GROUP,
        .target_name = command->nexus->target->name,
    };

    vpd_device_identification(out, &facts);
}

static void build_extended_inquiry(struct builder *out, const struct command *command)
{
    vpd_extended_inquiry(out, command->lu->cache == CACHE_WRITEBACK);
}

static void build_block_limits(struct builder *out, const struct command *command)
{
    const struct lu *lu = command->lu;
    bool has_write_same = capability_has(lu, 0x93, OPCODE_NO_SA);
    bool has_unmap = capability_has(lu, 0x42, OPCODE_NO_SA);
    const struct vpd_block_limits_facts facts = {
        .compare_and_write_max =
            capability_has(lu, 0x89, OPCODE_NO_SA) ? limit_caw_blocks(lu->block_bytes) : 0,
        .transfer_granularity = (uint16_t)(LIMIT_GRANULARITY_BYTES / lu->block_bytes),
        .transfer_max = LIMIT_TRANSFER_BLOCKS,
        .transfer_optimal = LIMIT_OPTIMAL_TRANSFER_BYTES / lu->block_bytes,
        .is_write_same_zero_refused = has_write_same,
        .write_same_max = has_write_same ? LIMIT_WRITE_SAME_BLOCKS : 0,
        .unmap_max = has_unmap ? LIMIT_UNMAP_BLOCKS : 0,
        .unmap_descriptors_max = has_unmap ? LIMIT_UNMAP_DESCRIPTORS : 0,
        .atomic_max = !lu->is_readonly && opcode_exists(0x9c, OPCODE_NO_SA)
                          ? limit_atomic_blocks(lu->block_bytes)
                          : 0,
        .unmap_granularity = has_unmap ? LIMIT_UNMAP_GRANULARITY_BYTES / lu->block_bytes : 0,
    };

    vpd_block_limits(out, &facts);
}

static void build_block_characteristics(struct builder *out, const struct command *command)
{
    vpd_block_characteristics(out, atomic_load(&command->lu->rotation_rpm),
                              capability_has(command->lu, 0x48, 0x02));
}

static void build_block_provisioning(struct builder *out, const struct command *command)
{
    const struct vpd_provisioning_facts facts = {
        .has_unmap = capability_has(command->lu, 0x42, OPCODE_NO_SA),
        .has_write_same_16 = capability_has(command->lu, 0x93, OPCODE_NO_SA),
        .has_write_same_10 = capability_has(command->lu, 0x41, OPCODE_NO_SA),
        .reads_zeros = true,
        /* in which the provisioning log page counts */
        .threshold_exponent =
            (uint8_t)__builtin_ctz(LIMIT_THRESHOLD_SET_BYTES / command->lu->block_bytes),
    };

    vpd_block_provisioning(out, &facts);
}

static void build_supported_pages(struct builder *out, const struct command *command);

static const struct vpd_page vpd_pages[] = {
    {VPD_SUPPORTED_PAGES,        NULL,               build_supported_pages      },
    { VPD_UNIT_SERIAL_NUMBER,    NULL,               build_serial_number        },
    { VPD_DEVICE_IDENTIFICATION, NULL,               build_identification       },
    { VPD_EXTENDED_INQUIRY,      NULL,               build_extended_inquiry     },
    { VPD_BLOCK_LIMITS,          NULL,               build_block_limits         },
    { VPD_BLOCK_CHARACTERISTICS, NULL,               build_block_characteristics},
    { VPD_BLOCK_PROVISIONING,    capability_is_thin, build_block_provisioning   },
};
enum { VPD_PAGES = sizeof vpd_pages / sizeof *vpd_pages };

static void build_supported_pages(struct builder *out, const struct command *command)
{
    uint8_t pages[VPD_PAGES];
    size_t count = 0;

    for (unsigned i = 0; i < VPD_PAGES; i++) {
        if (!vpd_pages[i].is_served || vpd_pages[i].is_served(command->lu))
            pages[count++] = vpd_pages[i].page;
    }
    vpd_supported_pages(out, PERIPHERAL_DISK, pages, count);
}

static void inquire_page(struct command *command, uint32_t allocation_length)
{
    uint8_t bytes[VPD_BYTES_MAX];
    struct builder out = builder_over(bytes, sizeof bytes);
    static const uint8_t only_itself[] = { VPD_SUPPORTED_PAGES };
    uint8_t page = command->cdb[2];

    if (!command->lu && page == VPD_SUPPORTED_PAGES)
        vpd_supported_pages(&out, PERIPHERAL_NONE, only_itself, sizeof only_itself);
    for (unsigned i = 0; i < VPD_PAGES && command->lu; i++) {
        const struct vpd_page *row = &vpd_pages[i];
        if (row->page == page && (!row->is_served || row->is_served(command->lu)))
            row->build(&out, command);
    }
    if (out.len == 0) /* SPC-4 6.6.1: everyday business of hosts that probe */
        return command_refuse_field(command, SENSE_INVALID_FIELD_IN_CDB, true, 2, NULL);
    command_reply(command, bytes, out.len, allocation_length);
}

void spc_inquiry(struct command *command)
{
    uint32_t allocation_length = get_be16(command->cdb + 3);
    uint8_t bytes[INQUIRY_BYTES];
    struct builder out = builder_over(bytes, sizeof bytes);
    struct inquiry_facts facts = {
        .peripheral = PERIPHERAL_NONE,
        .vendor = "",
        .product = "",
        .revision = "",
    };

    if (command->cdb[1] & EVPD)
        return inquire_page(command, allocation_length);
    if (command->cdb[2] != 0)
        return command_refuse_field(command, SENSE_INVALID_FIELD_IN_CDB, true, 2,
                                    "a page code without EVPD");
    if (command->lu) {
        const struct identity *identity = &command->lu->identity;
        facts = (struct inquiry_facts){
            .peripheral = PERIPHERAL_DISK,
            .vendor = identity->vendor,
            .product = identity->product,
            .revision = identity->revision,
            .is_removable = command->lu->is_removable,
            .has_third_party_copy = capability_has(command->lu, 0x83, 0x00),
            .has_port_groups = command->nexus->target->has_alua,
        };
    }
    inquiry_standard(&out, &facts);
    command_reply(command, bytes, out.len, allocation_length);
}
