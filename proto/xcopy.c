#include "proto/xcopy.h"

enum {
    NUL = 0x20,
    DESIGNATOR_AT = 8,
    DEVICE_PARAMETERS_AT = 28,
    SEGMENT_FLAGS = 0x03, /* DC and CAT */
    SNLID = 0x01,
    OPERATING_CODES_AT = 44,
    DETAILS_SENSE_AT = 60,
    UNITS_BYTES = 0x00,
    UNITS_KIBIBYTES = 0x01,
};

uint16_t xcopy_cscd_at(unsigned index)
{
    return (uint16_t)(XCOPY_HEADER_BYTES + index * XCOPY_CSCD_BYTES);
}

uint16_t xcopy_segment_at(const struct xcopy_list *list, unsigned index)
{
    return (uint16_t)(xcopy_cscd_at(list->cscd_count) + index * XCOPY_SEGMENT_BYTES);
}

/* How many bytes the descriptors take and how many there may be. */
static enum sense_code parse_header(struct cursor *c, struct xcopy_list *list, uint32_t *cscd_bytes,
                                    uint32_t *segment_bytes, uint16_t *field_byte)
{
    uint8_t flags = cursor_u8_at(c, 1);
    uint32_t inline_bytes;

    list->list_id = cursor_u8_at(c, 0);
    list->usage = flags >> 3 & 3;
    *cscd_bytes = cursor_be16_at(c, 2);
    *segment_bytes = cursor_be32_at(c, 8);
    inline_bytes = cursor_be32_at(c, 12);
    if (c->overrun)
        return SENSE_PARAMETER_LIST_LENGTH_ERROR;
    *field_byte = 1;
    if (list->usage == XCOPY_LIST_ID_RESERVED)
        return SENSE_INVALID_FIELD_IN_PARAMETER_LIST;
    *field_byte = 0;
    if (list->usage == XCOPY_LIST_ID_NONE && list->list_id != 0) /* SPC-4 table 129 */
        return SENSE_INVALID_FIELD_IN_PARAMETER_LIST;
    *field_byte = 12;
    if (inline_bytes > 0) /* MAXIMUM INLINE DATA LENGTH is 0 */
        return SENSE_INLINE_DATA_LENGTH_EXCEEDED;
    /* before the counts: SPC-4 6.4.3.5, MAXIMUM DESCRIPTOR LIST LENGTH */
    if ((uint64_t)*cscd_bytes + *segment_bytes > XCOPY_DESCRIPTORS_BYTES_MAX ||
        *cscd_bytes + *segment_bytes > c->len - XCOPY_HEADER_BYTES)
        return SENSE_PARAMETER_LIST_LENGTH_ERROR;
    *field_byte = 2;
    if (*cscd_bytes % XCOPY_CSCD_BYTES != 0)
        return SENSE_INVALID_FIELD_IN_PARAMETER_LIST;
    if (*cscd_bytes / XCOPY_CSCD_BYTES > XCOPY_CSCDS_MAX)
        return SENSE_TOO_MANY_TARGET_DESCRIPTORS;
    return SENSE_NONE;
}

/* SPC-4 6.4.5.1 and 6.4.5.6; *field_byte counts from the descriptor's first byte. */
static enum sense_code parse_cscd(struct cursor *c, struct xcopy_cscd *cscd, uint16_t *field_byte)
{
    uint8_t flags = cursor_u8_at(c, 1);
    struct cursor designator;

    *field_byte = 0;
    if (cursor_u8_at(c, 0) != XCOPY_CSCD_IDENTIFICATION)
        return SENSE_UNSUPPORTED_TARGET_DESCRIPTOR;
    *field_byte = 1;
    if (flags >> 6 != 0) /* LU ID TYPE: no proxy tokens */
        return SENSE_INVALID_FIELD_IN_PARAMETER_LIST;
    cscd->is_null = flags & NUL;
    cscd->peripheral_type = flags & 0x1f;
    cscd->code_set = cursor_u8_at(c, 4) & 0x0f;
    cscd->association = cursor_u8_at(c, 5) >> 4 & 3;
    cscd->designator_type = cursor_u8_at(c, 5) & 0x0f;
    cscd->designator_len = cursor_u8_at(c, 7);
    *field_byte = 7;
    if (cscd->designator_len > XCOPY_DESIGNATOR_BYTES_MAX)
        return SENSE_INVALID_FIELD_IN_PARAMETER_LIST;
    designator = cursor_take(c, DESIGNATOR_AT, XCOPY_DESIGNATOR_BYTES_MAX);
    memcpy(cscd->designator, designator.bytes, designator.len);
    cscd->block_bytes = cursor_be24_at(c, DEVICE_PARAMETERS_AT + 1);
    return SENSE_NONE;
}

/* SPC-4 6.4.6.1 and 6.4.6.4 */
static enum sense_code parse_segment(struct cursor *c, struct xcopy_segment *segment,
                                     uint16_t *field_byte)
{
    *field_byte = 0;
    if (cursor_u8_at(c, 0) != XCOPY_SEGMENT_BLOCK_TO_BLOCK)
        return SENSE_UNSUPPORTED_SEGMENT_DESCRIPTOR;
    if (c->len < XCOPY_SEGMENT_BYTES)
        return SENSE_PARAMETER_LIST_LENGTH_ERROR;
    *field_byte = 1;
    if (cursor_u8_at(c, 1) & ~SEGMENT_FLAGS) /* later standards have demands here */
        return SENSE_INVALID_FIELD_IN_PARAMETER_LIST;
    *field_byte = 2;
    if (cursor_be16_at(c, 2) != XCOPY_SEGMENT_BYTES - 4)
        return SENSE_INVALID_FIELD_IN_PARAMETER_LIST;
    segment->source = cursor_be16_at(c, 4);
    segment->destination = cursor_be16_at(c, 6);
    segment->blocks = cursor_be16_at(c, 10);
    segment->source_lba = cursor_be64_at(c, 12);
    segment->destination_lba = cursor_be64_at(c, 20);
    return SENSE_NONE;
}

enum sense_code xcopy_parse(const uint8_t *bytes, size_t len, struct xcopy_list *list,
                            uint16_t *field_byte)
{
    struct cursor c = cursor_over(bytes, len), segments;
    uint32_t cscd_bytes, segment_bytes;
    enum sense_code code = parse_header(&c, list, &cscd_bytes, &segment_bytes, field_byte);

    if (code != SENSE_NONE)
        return code;
    list->cscd_count = cscd_bytes / XCOPY_CSCD_BYTES;
    for (unsigned i = 0; i < list->cscd_count; i++) {
        struct cursor cscd = cursor_take(&c, xcopy_cscd_at(i), XCOPY_CSCD_BYTES);

        code = parse_cscd(&cscd, &list->cscds[i], field_byte);
        *field_byte = (uint16_t)(*field_byte + xcopy_cscd_at(i));
        if (code != SENSE_NONE)
            return code;
    }
    /* All segments are as long as the one kind that is known; the first that is not ends it. */
    segments = cursor_take(&c, xcopy_cscd_at(list->cscd_count), segment_bytes);
    for (list->segment_count = 0; list->segment_count * XCOPY_SEGMENT_BYTES < segment_bytes;
         list->segment_count++) {
        size_t at = list->segment_count * (size_t)XCOPY_SEGMENT_BYTES, left = segments.len - at;
        struct cursor segment = cursor_over(
            segments.bytes + at, left < XCOPY_SEGMENT_BYTES ? left : XCOPY_SEGMENT_BYTES);

        *field_byte = 8;
        if (list->segment_count == XCOPY_SEGMENTS_MAX)
            return SENSE_TOO_MANY_SEGMENT_DESCRIPTORS;
        code = parse_segment(&segment, &list->segments[list->segment_count], field_byte);
        *field_byte = (uint16_t)(*field_byte + xcopy_segment_at(list, list->segment_count));
        if (code != SENSE_NONE)
            return code;
    }
    return SENSE_NONE;
}

void xcopy_operating_parameters(struct builder *out, const struct xcopy_operating_facts *facts)
{
    uint8_t *p = builder_room(out, XCOPY_OPERATING_BYTES);

    if (!p)
        return;
    put_be32(p, XCOPY_OPERATING_BYTES - 4); /* AVAILABLE DATA */
    p[4] = SNLID;
    put_be16(p + 8, XCOPY_CSCDS_MAX);
    put_be16(p + 10, XCOPY_SEGMENTS_MAX);
    put_be32(p + 12, XCOPY_DESCRIPTORS_BYTES_MAX);
    put_be32(p + 16, facts->segment_bytes_max);
    put_be16(p + 34, facts->copies_max);
    p[36] = facts->copies_max < 255 ? (uint8_t)facts->copies_max : 255;
    p[37] = facts->granularity_shift;
    p[43] = XCOPY_OPERATING_BYTES - OPERATING_CODES_AT;
    p[44] = XCOPY_SEGMENT_BLOCK_TO_BLOCK; /* ascending */
    p[45] = XCOPY_CSCD_IDENTIFICATION;
}

void xcopy_copy_status(struct builder *out, enum xcopy_state state, uint16_t segments_processed,
                       uint64_t written_bytes)
{
    uint8_t *p = builder_room(out, XCOPY_STATUS_BYTES);
    bool is_in_bytes = written_bytes <= UINT32_MAX;

    if (!p)
        return;
    put_be32(p, XCOPY_STATUS_BYTES - 4);
    p[4] = (uint8_t)state;
    put_be16(p + 5, segments_processed);
    p[7] = is_in_bytes ? UNITS_BYTES : UNITS_KIBIBYTES;
    put_be32(p + 8, (uint32_t)(is_in_bytes ? written_bytes : written_bytes >> 10));
}

void xcopy_failure_details(struct builder *out, uint8_t status, struct slice sense)
{
    uint8_t *p;

    if (sense.len == 0) {
        builder_be32(out, 0);
        return;
    }
    p = builder_room(out, DETAILS_SENSE_AT + sense.len);
    if (!p)
        return;
    put_be32(p, (uint32_t)(DETAILS_SENSE_AT + sense.len - 4));
    p[56] = status;
    put_be16(p + 58, (uint16_t)sense.len);
    memcpy(p + DETAILS_SENSE_AT, sense.bytes, sense.len);
}
