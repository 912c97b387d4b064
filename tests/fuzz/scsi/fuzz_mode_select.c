/*
 * MODE SELECT parameter lists: the first byte chooses the format and what holds now. A list that is
 * taken must be taken again once its changes hold, and what MODE SENSE tells must be taken too.
 */
#include "proto/mode_pages.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_sense_is_taken(const struct mode_facts *facts, bool is_10, bool is_long)
{
    const struct mode_sense_request request = { .is_10 = is_10, .long_lba = is_long, .page = 0x3f };
    uint8_t bytes[MODE_SENSE_BYTES_MAX];
    struct builder out = builder_over(bytes, sizeof bytes);
    struct mode_changes changes;
    uint16_t byte;

    assert(mode_sense_build(&out, facts, &request, &byte) == SENSE_NONE);
    assert(mode_select_parse(bytes, out.len, is_10, facts, &changes, &byte) == SENSE_NONE);
    assert(changes.has_descriptor_sense == facts->has_descriptor_sense);
    assert(changes.is_software_write_protected == facts->is_software_write_protected);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mode_facts facts = { .blocks = 8192, .block_bytes = 512 };
    struct mode_changes changes, again;
    enum sense_code code;
    uint16_t byte;
    bool is_10;

    if (size == 0)
        return 0;
    is_10 = data[0] & 1;
    facts.has_write_cache = data[0] & 2;
    facts.has_descriptor_sense = data[0] & 4;
    facts.is_software_write_protected = data[0] & 8;
    code = mode_select_parse(data + 1, size - 1, is_10, &facts, &changes, &byte);
    if (code != SENSE_NONE) {
        assert(byte < size || code == SENSE_PARAMETER_LIST_LENGTH_ERROR);
        return 0;
    }
    facts.has_descriptor_sense = changes.has_descriptor_sense;
    facts.is_software_write_protected = changes.is_software_write_protected;
    assert(mode_select_parse(data + 1, size - 1, is_10, &facts, &again, &byte) == SENSE_NONE ||
           size - 1 > 32); /* two Control pages may disagree with each other */
    check_sense_is_taken(&facts, is_10, data[0] & 16);
    return 0;
}
