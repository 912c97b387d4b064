/*
 * Parameter lists of UNMAP and of SANITIZE's overwrite, and LOG SENSE's request: the first byte
 * chooses which. What is taken must keep to the limits.
 */
#include "proto/log_pages.h"
#include "proto/sanitize.h"
#include "proto/unmap.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { BLOCK_BYTES = 512 };

static void try_unmap(const uint8_t *data, size_t size)
{
    const struct unmap_limits limits = { .unit_blocks = 100000, .descriptors_max = 256 };
    struct unmap_list list;
    uint16_t byte;

    if (unmap_parse(data, size, &limits, &list, &byte) != SENSE_NONE)
        return;
    assert(list.count <= limits.descriptors_max);
    for (uint32_t i = 0; i < list.count; i++) {
        struct unmap_range range = unmap_range(&list, i);
        assert(range.lba <= limits.unit_blocks && range.blocks <= limits.unit_blocks - range.lba);
    }
}

static void try_overwrite(const uint8_t *data, size_t size)
{
    struct overwrite_list list;
    uint8_t block[BLOCK_BYTES];

    if (overwrite_parse(data, size, BLOCK_BYTES, &list) != SENSE_NONE)
        return;
    assert(list.passes > 0 && list.pattern.len > 0 && list.pattern.len <= BLOCK_BYTES);
    overwrite_block(&list, block, BLOCK_BYTES);
}

static void try_log(const uint8_t *data, size_t size)
{
    struct cursor c = cursor_over(data, size);
    const struct log_facts facts = { .is_thin = cursor_u8(&c) & 1 };
    const struct log_request request = {
        .page = cursor_u8(&c) & 0x3f,
        .subpage = cursor_u8(&c),
        .parameter = cursor_be16(&c),
    };
    uint8_t bytes[LOG_BYTES_MAX];
    struct builder out = builder_over(bytes, sizeof bytes);
    uint16_t byte;

    if (log_sense_build(&out, &facts, &request, &byte) == SENSE_NONE)
        assert(out.len == 4u + get_be16(bytes + 2));
    else
        assert(byte == 2 || byte == 3 || byte == 5);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const tries[])(const uint8_t *, size_t) = { try_unmap, try_overwrite, try_log };

    if (size > 0)
        tries[data[0] % 3](data + 1, size - 1);
    return 0;
}
