/* spc_mode: MODE SENSE and MODE SELECT, (6) and (10), SPC-4 6.9 to 6.12. */
#include "target/scsi/handlers.h"

#include "proto/mode_pages.h"
#include "target/scsi/lu.h"

enum {
    OPCODE_MODE_SELECT_10 = 0x55,
    OPCODE_MODE_SENSE_10 = 0x5a,
    DBD = 0x08,
    LLBAA = 0x10,
    PAGE_FORMAT = 0x10,
};

static struct mode_facts mode_facts(const struct lu *lu)
{
    bool swp = atomic_load_explicit(&lu->is_write_protected, memory_order_relaxed);

    return (struct mode_facts){
        .blocks = atomic_load_explicit(&lu->blocks, memory_order_relaxed),
        .block_bytes = lu->block_bytes,
        .is_write_protected = lu->is_readonly || swp,
        .has_write_cache = lu->cache == CACHE_WRITEBACK,
        .has_descriptor_sense =
            atomic_load_explicit(&lu->has_descriptor_sense, memory_order_relaxed),
        .is_software_write_protected = swp,
    };
}

void spc_mode_sense(struct command *command)
{
    const uint8_t *cdb = command->cdb;
    bool is_10 = cdb[0] == OPCODE_MODE_SENSE_10;
    const struct mode_facts facts = mode_facts(command->lu);
    const struct mode_sense_request request = {
        .is_10 = is_10,
        .no_descriptors = cdb[1] & DBD,
        .long_lba = cdb[1] & LLBAA,
        .page_control = cdb[2] >> 6,
        .page = cdb[2] & 0x3f,
        .subpage = cdb[3],
    };
    uint8_t bytes[MODE_SENSE_BYTES_MAX];
    struct builder out = builder_over(bytes, sizeof bytes);
    enum sense_code code;
    uint16_t byte;

    code = mode_sense_build(&out, &facts, &request, &byte);
    if (code != SENSE_NONE) /* not logged: hosts ask for pages that most disks have not */
        return command_refuse_field(command, code, true, byte, NULL);
    command_reply(command, bytes, out.len, is_10 ? get_be16(cdb + 7) : cdb[4]);
}

/* The whole list has come: all of it is good, or nothing changes. */
static void mode_select(struct command *command, const uint8_t *list, size_t len)
{
    bool is_10 = command->cdb[0] == OPCODE_MODE_SELECT_10;
    struct lu *lu = command->lu;
    const struct mode_facts facts = mode_facts(lu);
    struct mode_changes changes;
    enum sense_code code;
    uint16_t byte;

    code = mode_select_parse(list, len, is_10, &facts, &changes, &byte);
    if (code == SENSE_PARAMETER_LIST_LENGTH_ERROR)
        return command_refuse(command, code, "the mode parameter list is cut short");
    if (code != SENSE_NONE)
        return command_refuse_field(command, code, false, byte,
                                    "it would change a mode parameter that cannot be changed");
    if (changes.has_descriptor_sense != facts.has_descriptor_sense ||
        changes.is_software_write_protected != facts.is_software_write_protected) {
        atomic_store(&lu->has_descriptor_sense, changes.has_descriptor_sense);
        atomic_store(&lu->is_write_protected, changes.is_software_write_protected);
        unit_attention_raise_all(lu, UA_MODE_PARAMETERS_CHANGED, command->nexus);
    }
    command_good(command);
}

void spc_mode_select(struct command *command)
{
    const uint8_t *cdb = command->cdb;
    bool is_10 = cdb[0] == OPCODE_MODE_SELECT_10;
    uint32_t list_bytes = is_10 ? get_be16(cdb + 7) : cdb[4];
    uint32_t want_bytes;

    command->transfer_bytes = list_bytes;
    if (list_bytes == 0) /* SPC-4 6.9: no error */
        return command_good(command);
    if (!(cdb[1] & PAGE_FORMAT))
        return command_refuse_field(command, SENSE_INVALID_FIELD_IN_CDB, true, 1,
                                    "mode parameters of before SCSI-2 (PF is 0)");
    if (list_bytes > MODE_SELECT_BYTES_MAX)
        return command_refuse(command, SENSE_PARAMETER_LIST_LENGTH_ERROR,
                              "a mode parameter list longer than all pages");
    want_bytes =
        list_bytes < command->expected_out_bytes ? list_bytes : command->expected_out_bytes;
    if (want_bytes == 0)
        return mode_select(command, NULL, 0);
    command->transport->out_want(command, want_bytes, want_bytes);
}

void spc_mode_select_out(struct command *command, struct burst *burst)
{
    mode_select(command, burst->data, burst->bytes);
    command->transport->out_done(command, burst);
}
