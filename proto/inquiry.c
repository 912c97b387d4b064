#include "proto/inquiry.h"

enum {
    VERSION_SPC_3 = 0x05, /* constant for a unit's life: ESX takes a change for another LUN */
    RESPONSE_FORMAT_2 = 0x02,
    REMOVABLE_MEDIUM = 0x80,
    HISUP = 0x10, /* LUNs as SAM-5 4.7 has them */
    THIRD_PARTY_COPY = 0x08,
    TPGS_IMPLICIT = 0x10,
    CMDQUE = 0x02,

    VERSION_DESCRIPTORS_AT = 58,
    VERSION_SAM_5 = 0x00a0,
    VERSION_SPC_4 = 0x0460,
    VERSION_SBC_3 = 0x04c0,
    VERSION_ISCSI = 0x0960,

    CODE_SET_BINARY = 0x01,
    CODE_SET_ASCII = 0x02,
    CODE_SET_UTF8 = 0x03,
    PROTOCOL_ISCSI = 0x50, /* in bits 7 to 4 */
    DESIGNATOR_PIV = 0x80,
    ASSOCIATION_UNIT = 0x00,
    ASSOCIATION_PORT = 0x10,
    ASSOCIATION_DEVICE = 0x20,
    DESIGNATOR_T10 = 0x01,
    DESIGNATOR_NAA = 0x03,
    DESIGNATOR_RELATIVE_PORT = 0x04,
    DESIGNATOR_PORT_GROUP = 0x05,
    DESIGNATOR_SCSI_NAME = 0x08,
    NAA_BYTES = 16,
    VENDOR_BYTES = 8,
};

static void builder_slice(struct builder *out, struct slice text)
{
    builder_bytes(out, text.bytes, text.len);
}

/* SPC-4 4.3.1: left-aligned, spaces after it. */
static void put_text(uint8_t *out, size_t len, const char *text)
{
    size_t i = 0;

    for (; i < len && text[i]; i++)
        out[i] = (uint8_t)text[i];
    memset(out + i, ' ', len - i);
}

void inquiry_standard(struct builder *out, const struct inquiry_facts *facts)
{
    static const uint16_t versions[] = { VERSION_SAM_5, VERSION_SPC_4, VERSION_SBC_3,
                                         VERSION_ISCSI };
    uint8_t *p = builder_room(out, INQUIRY_BYTES);

    if (!p)
        return;
    p[0] = (uint8_t)facts->peripheral;
    p[1] = facts->is_removable ? REMOVABLE_MEDIUM : 0;
    p[2] = VERSION_SPC_3;
    p[3] = HISUP | RESPONSE_FORMAT_2;
    p[4] = INQUIRY_BYTES - 5;
    p[5] = (uint8_t)((facts->has_port_groups ? TPGS_IMPLICIT : 0) |
                     (facts->has_third_party_copy ? THIRD_PARTY_COPY : 0));
    p[7] = CMDQUE;
    put_text(p + 8, 8, facts->vendor);
    put_text(p + 16, 16, facts->product);
    put_text(p + 32, 4, facts->revision);
    for (unsigned i = 0; i < sizeof versions / sizeof *versions; i++)
        put_be16(p + VERSION_DESCRIPTORS_AT + 2 * i, versions[i]);
}

/* The four bytes before every page; its length is filled in by page_end(). */
static size_t page_begin(struct builder *out, enum inquiry_peripheral peripheral, uint8_t page)
{
    size_t start = out->len;
    uint8_t *p = builder_room(out, 4);

    if (p) {
        p[0] = (uint8_t)peripheral;
        p[1] = page;
    }
    return start;
}

static void page_end(struct builder *out, size_t start)
{
    if (!out->overflow)
        put_be16(out->bytes + start + 2, (uint16_t)(out->len - start - 4));
}

void vpd_supported_pages(struct builder *out, enum inquiry_peripheral peripheral,
                         const uint8_t *pages, size_t count)
{
    size_t start = page_begin(out, peripheral, VPD_SUPPORTED_PAGES);

    builder_bytes(out, pages, count);
    page_end(out, start);
}

void vpd_serial_number(struct builder *out, const char *serial)
{
    size_t start = page_begin(out, PERIPHERAL_DISK, VPD_UNIT_SERIAL_NUMBER);

    builder_slice(out, slice_str(serial));
    page_end(out, start);
}

/* A designator's header, SPC-4 7.8.6.1, and `len` bytes for the rest; NULL without room for them.
 */
static uint8_t *designator(struct builder *out, uint8_t code_set, uint8_t kind, size_t len)
{
    uint8_t *p = builder_room(out, 4 + len);
    bool is_of_port = kind & (ASSOCIATION_PORT | ASSOCIATION_DEVICE);

    if (!p)
        return NULL;
    /* PROTOCOL IDENTIFIER counts only with PIV, and PIV only for ports and devices. */
    p[0] = (uint8_t)(code_set | (is_of_port ? PROTOCOL_ISCSI : 0));
    p[1] = (uint8_t)(kind | (is_of_port ? DESIGNATOR_PIV : 0));
    p[3] = (uint8_t)len;
    return p + 4;
}

/* SPC-4 7.8.6.11: UTF-8, terminated and padded with NULs to a multiple of four. */
static void scsi_name(struct builder *out, uint8_t association, struct slice name,
                      struct slice suffix)
{
    size_t len = (name.len + suffix.len + 1 + 3) & ~(size_t)3;
    uint8_t *p = designator(out, CODE_SET_UTF8, (uint8_t)(association | DESIGNATOR_SCSI_NAME), len);

    if (!p)
        return;
    memcpy(p, name.bytes, name.len);
    memcpy(p + name.len, suffix.bytes, suffix.len);
}

/* ",t,0xTPGT", the tail of an iSCSI target port's name, RFC 7143 4.4.1. */
static struct slice port_suffix(char out[9], uint16_t portal_group)
{
    static const char digits[] = "0123456789abcdef";

    memcpy(out, ",t,0x", 5);
    for (unsigned i = 0; i < 4; i++)
        out[5 + i] = digits[portal_group >> (12 - 4 * i) & 0xf];
    return slice_of(out, 9);
}

void vpd_device_identification(struct builder *out, const struct vpd_identification_facts *facts)
{
    size_t start = page_begin(out, PERIPHERAL_DISK, VPD_DEVICE_IDENTIFICATION);
    struct slice serial = slice_str(facts->serial), target = slice_str(facts->target_name);
    char suffix[9];
    uint8_t *p;

    p = designator(out, CODE_SET_BINARY, ASSOCIATION_UNIT | DESIGNATOR_NAA, NAA_BYTES);
    if (p)
        memcpy(p, facts->naa, NAA_BYTES);
    p = designator(out, CODE_SET_ASCII, ASSOCIATION_UNIT | DESIGNATOR_T10,
                   VENDOR_BYTES + serial.len);
    if (p) {
        put_text(p, VENDOR_BYTES, facts->vendor);
        memcpy(p + VENDOR_BYTES, serial.bytes, serial.len);
    }
    p = designator(out, CODE_SET_BINARY, ASSOCIATION_PORT | DESIGNATOR_RELATIVE_PORT, 4);
    if (p)
        put_be16(p + 2, facts->relative_target_port);
    p = designator(out, CODE_SET_BINARY, ASSOCIATION_PORT | DESIGNATOR_PORT_GROUP, 4);
    if (p)
        put_be16(p + 2, facts->target_port_group);
    scsi_name(out, ASSOCIATION_PORT, target, port_suffix(suffix, facts->target_port_group));
    scsi_name(out, ASSOCIATION_DEVICE, target, slice_of("", 0));
    page_end(out, start);
}

void vpd_extended_inquiry(struct builder *out, bool has_volatile_cache)
{
    size_t start = page_begin(out, PERIPHERAL_DISK, VPD_EXTENDED_INQUIRY);
    uint8_t *p = builder_room(out, 60);

    if (p) {
        p -= 4;                            /* offsets as SPC-4 7.8.7 counts them */
        p[5] = 0x07;                       /* HEADSUP, ORDSUP, SIMPSUP */
        p[6] = has_volatile_cache ? 1 : 0; /* V_SUP */
        p[7] = 0x01; /* LUICLR: REPORT LUNS clears the condition of all units */
    }
    page_end(out, start);
}

void vpd_block_limits(struct builder *out, const struct vpd_block_limits_facts *facts)
{
    size_t start = page_begin(out, PERIPHERAL_DISK, VPD_BLOCK_LIMITS);
    uint8_t *p = builder_room(out, 60);

    if (p) {
        p -= 4; /* offsets as SBC-3 6.6.4 counts them */
        p[4] = facts->is_write_same_zero_refused;
        p[5] = facts->compare_and_write_max;
        put_be16(p + 6, facts->transfer_granularity);
        put_be32(p + 8, facts->transfer_max);
        put_be32(p + 12, facts->transfer_optimal);
        put_be32(p + 20, facts->unmap_max);
        put_be32(p + 24, facts->unmap_descriptors_max);
        put_be32(p + 28, facts->unmap_granularity);
        if (facts->unmap_granularity)
            put_be32(p + 32, 0x80000000); /* UGAVALID, an alignment of 0 */
        put_be64(p + 36, facts->write_same_max);
        put_be32(p + 44, facts->atomic_max);
    }
    page_end(out, start);
}

void vpd_block_characteristics(struct builder *out, uint16_t rotation_rpm, bool can_erase)
{
    size_t start = page_begin(out, PERIPHERAL_DISK, VPD_BLOCK_CHARACTERISTICS);
    uint8_t *p = builder_room(out, 60);

    if (p) {
        p -= 4; /* offsets as SBC-3 6.6.5 counts them */
        put_be16(p + 4, rotation_rpm);
        p[7] = can_erase ? 0x40 : 0; /* WABEREQ 01b */
    }
    page_end(out, start);
}

void vpd_block_provisioning(struct builder *out, const struct vpd_provisioning_facts *facts)
{
    size_t start = page_begin(out, PERIPHERAL_DISK, VPD_BLOCK_PROVISIONING);
    uint8_t *p = builder_room(out, 4);

    if (p) {
        p[0] = facts->threshold_exponent;
        p[1] = (uint8_t)(facts->has_unmap << 7 | facts->has_write_same_16 << 6 |
                         facts->has_write_same_10 << 5 | facts->reads_zeros << 2);
        p[2] = 0x02; /* thin: a sparse file */
    }
    page_end(out, start);
}
