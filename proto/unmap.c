#include "proto/unmap.h"

enum {
    DATA_LENGTH_BYTE = 0,
    DESCRIPTOR_DATA_LENGTH_BYTE = 2,
    /* UNMAP DATA LENGTH does not count itself. */
    DATA_LENGTH_UNCOUNTED = 2,
};

struct unmap_range unmap_range(const struct unmap_list *list, uint32_t i)
{
    struct cursor c = list->descriptors;
    size_t at = (size_t)i * UNMAP_DESCRIPTOR_BYTES;

    return (struct unmap_range){
        .lba = cursor_be64_at(&c, at),
        .blocks = cursor_be32_at(&c, at + 8),
    };
}

enum sense_code unmap_parse(const uint8_t *bytes, size_t len, const struct unmap_limits *limits,
                            struct unmap_list *list, uint16_t *field_byte)
{
    struct cursor c = cursor_over(bytes, len);
    size_t data_bytes = cursor_be16_at(&c, DATA_LENGTH_BYTE) + (size_t)DATA_LENGTH_UNCOUNTED;
    size_t descriptor_bytes = cursor_be16_at(&c, DESCRIPTOR_DATA_LENGTH_BYTE);

    *field_byte = 0;
    *list = (struct unmap_list){ .descriptors = cursor_over("", 0) };
    if (len < UNMAP_HEADER_BYTES)
        return SENSE_PARAMETER_LIST_LENGTH_ERROR;
    /* SBC-3 5.28.2: a last descriptor that is not all there is ignored. */
    list->count = (uint32_t)(descriptor_bytes / UNMAP_DESCRIPTOR_BYTES);
    if (list->count == 0)
        return SENSE_NONE;
    *field_byte = DESCRIPTOR_DATA_LENGTH_BYTE;
    if (list->count > limits->descriptors_max ||
        data_bytes < UNMAP_HEADER_BYTES + (size_t)list->count * UNMAP_DESCRIPTOR_BYTES)
        return SENSE_INVALID_FIELD_IN_PARAMETER_LIST;
    list->descriptors =
        cursor_take(&c, UNMAP_HEADER_BYTES, (size_t)list->count * UNMAP_DESCRIPTOR_BYTES);
    if (c.overrun)
        return SENSE_PARAMETER_LIST_LENGTH_ERROR;
    for (uint32_t i = 0; i < list->count; i++) {
        struct unmap_range range = unmap_range(list, i);

        /* A descriptor of no blocks may stand just behind the last one. */
        if (range.lba > limits->unit_blocks || range.blocks > limits->unit_blocks - range.lba)
            return SENSE_LBA_OUT_OF_RANGE;
    }
    return SENSE_NONE;
}
