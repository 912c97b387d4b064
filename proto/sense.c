#include "proto/sense.h"

enum {
    RESPONSE_FIXED = 0x70,
    RESPONSE_DESCRIPTOR = 0x72,
    VALID = 0x80,
    SKSV = 0x80,
    SKS_IN_CDB = 0x40,
    DESCRIPTOR_INFORMATION = 0x00,
    DESCRIPTOR_COMMAND_SPECIFIC = 0x01,
    DESCRIPTOR_SENSE_KEY_SPECIFIC = 0x02,
    DESCRIPTOR_FORWARDED = 0x0c,
};

static uint8_t sense_key(enum sense_code code)
{
    return (uint8_t)((unsigned)code >> 16 & 0x0f);
}

static uint8_t sense_asc(enum sense_code code)
{
    return (uint8_t)((unsigned)code >> 8);
}

static uint8_t sense_ascq(enum sense_code code)
{
    return (uint8_t)code;
}

static bool has_specific(const struct sense_details *details)
{
    return details && (details->has_field || details->has_progress);
}

/* SPC-4 4.5.2.4.2: the bit pointer is left out (BPV = 0), the byte is what helps. */
static void put_specific(uint8_t out[3], const struct sense_details *details)
{
    if (details->has_progress) { /* SPC-4 4.5.2.4.4 */
        out[0] = SKSV;
        put_be16(out + 1, details->progress);
        return;
    }
    out[0] = (uint8_t)(SKSV | (details->is_field_in_cdb ? SKS_IN_CDB : 0));
    put_be16(out + 1, details->field_byte);
}

static uint8_t build_fixed(uint8_t *out, enum sense_code code, const struct sense_details *details);

/*
 * SPC-4 5.17.7.4 d) to e): in fixed format the area with the status byte and the sense data of a
 * copy source or copy destination stands behind ours, and the first or second byte of
 * COMMAND-SPECIFIC INFORMATION says where.
 */
static uint8_t put_forwarded_area(uint8_t *out, const struct sense_details *details)
{
    uint8_t len = SENSE_FIXED_BYTES;

    out[details->forwarded.from == SENSE_FROM_SOURCE ? 8 : 9] = len;
    out[len++] = details->forwarded.status;
    if (details->forwarded.code != SENSE_NONE)
        len = (uint8_t)(len + build_fixed(out + len, details->forwarded.code, NULL));
    out[7] = (uint8_t)(len - 8);
    return len;
}

static uint8_t build_fixed(uint8_t *out, enum sense_code code, const struct sense_details *details)
{
    out[0] = RESPONSE_FIXED;
    out[2] = sense_key(code);
    out[7] = SENSE_FIXED_BYTES - 8; /* ADDITIONAL SENSE LENGTH */
    out[12] = sense_asc(code);
    out[13] = sense_ascq(code);
    if (details && details->has_information && details->information <= UINT32_MAX) {
        out[0] |= VALID;
        put_be32(out + 3, (uint32_t)details->information);
    }
    if (has_specific(details))
        put_specific(out + 15, details);
    if (details && details->has_segment)
        put_be16(out + 10, details->segment);
    if (details && details->forwarded.from != SENSE_FROM_NOBODY)
        return put_forwarded_area(out, details);
    return SENSE_FIXED_BYTES;
}

/* SPC-4 4.5.2.7 */
static uint8_t put_forwarded_descriptor(uint8_t *out, const struct sense_details *details)
{
    uint8_t sense_len = 0;

    if (details->forwarded.code != SENSE_NONE)
        sense_len = build_fixed(out + 4, details->forwarded.code, NULL);
    out[0] = DESCRIPTOR_FORWARDED;
    out[1] = (uint8_t)(2 + sense_len);
    out[2] = (uint8_t)details->forwarded.from;
    out[3] = details->forwarded.status;
    return (uint8_t)(4 + sense_len);
}

static uint8_t build_descriptor(uint8_t *out, enum sense_code code,
                                const struct sense_details *details)
{
    uint8_t len = 8;

    out[0] = RESPONSE_DESCRIPTOR;
    out[1] = sense_key(code);
    out[2] = sense_asc(code);
    out[3] = sense_ascq(code);
    if (details && details->has_information) {
        uint8_t *information = out + len; /* SPC-4 4.5.2.2 */
        information[0] = DESCRIPTOR_INFORMATION;
        information[1] = 0x0a;
        information[2] = VALID;
        put_be64(information + 4, details->information);
        len = (uint8_t)(len + 12);
    }
    if (details && details->has_segment) {
        uint8_t *specific = out + len; /* SPC-4 4.5.2.3; the third and fourth byte of eight */
        specific[0] = DESCRIPTOR_COMMAND_SPECIFIC;
        specific[1] = 0x0a;
        put_be16(specific + 4 + 2, details->segment);
        len = (uint8_t)(len + 12);
    }
    if (has_specific(details)) {
        uint8_t *specific = out + len; /* SPC-4 4.5.2.4 */
        specific[0] = DESCRIPTOR_SENSE_KEY_SPECIFIC;
        specific[1] = 0x06;
        put_specific(specific + 4, details);
        len = (uint8_t)(len + 8);
    }
    if (details && details->forwarded.from != SENSE_FROM_NOBODY)
        len = (uint8_t)(len + put_forwarded_descriptor(out + len, details));
    out[7] = (uint8_t)(len - 8);
    return len;
}

uint8_t sense_build(uint8_t out[SENSE_BYTES_MAX], enum sense_code code,
                    const struct sense_details *details, bool is_descriptor)
{
    memset(out, 0, SENSE_BYTES_MAX);
    return is_descriptor ? build_descriptor(out, code, details) : build_fixed(out, code, details);
}
