#include "proto/sanitize.h"

enum { INVERT = 0x80, TEST = 0x60, OVERWRITE_COUNT = 0x1f };

enum sense_code overwrite_parse(const uint8_t *bytes, size_t len, uint32_t block_bytes,
                                struct overwrite_list *list)
{
    struct cursor c = cursor_over(bytes, len);
    uint8_t flags = cursor_u8_at(&c, 0);
    uint16_t pattern_bytes = cursor_be16_at(&c, 2);
    struct cursor pattern = cursor_take(&c, OVERWRITE_HEADER_BYTES, pattern_bytes);

    if (c.overrun || pattern_bytes == 0 || pattern_bytes > block_bytes || flags & TEST ||
        (flags & OVERWRITE_COUNT) == 0)
        return SENSE_INVALID_FIELD_IN_CDB;
    *list = (struct overwrite_list){
        .is_inverted = flags & INVERT,
        .passes = flags & OVERWRITE_COUNT,
        .pattern = slice_of(pattern.bytes, pattern.len),
    };
    return SENSE_NONE;
}

void overwrite_block(const struct overwrite_list *list, uint8_t *block, uint32_t block_bytes)
{
    for (uint32_t i = 0; i < block_bytes; i++)
        block[i] = list->pattern.bytes[i % list->pattern.len];
}
