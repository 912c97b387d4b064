/*
 * inquiry: standard INQUIRY data and the vital product data pages, SPC-4 6.6 and 7.8, SBC-3 6.6.
 *
 * Pure: each writes into a builder what the facts say. The facts that are limits come from the same
 * constants that the device server enforces, so what is told here is what holds.
 */
#pragma once

#include "proto/cursor.h"

enum {
    INQUIRY_BYTES = 96, /* standard data */
    VPD_BYTES_MAX = 1024,

    VPD_SUPPORTED_PAGES = 0x00,
    VPD_UNIT_SERIAL_NUMBER = 0x80,
    VPD_DEVICE_IDENTIFICATION = 0x83,
    VPD_EXTENDED_INQUIRY = 0x86,
    VPD_BLOCK_LIMITS = 0xb0,
    VPD_BLOCK_CHARACTERISTICS = 0xb1,
    VPD_BLOCK_PROVISIONING = 0xb2,
};

/* PERIPHERAL QUALIFIER and DEVICE TYPE, SPC-4 table 175 */
enum inquiry_peripheral {
    PERIPHERAL_DISK = 0x00,
    PERIPHERAL_NONE = 0x7f, /* no logical unit at this number */
};

struct inquiry_facts {
    enum inquiry_peripheral peripheral;
    const char *vendor, *product, *revision;
    bool is_removable;
    bool has_third_party_copy;
    bool has_port_groups; /* TPGS: implicit asymmetric access */
};
void inquiry_standard(struct builder *out, const struct inquiry_facts *facts);

/* `pages` ascending, VPD_SUPPORTED_PAGES among them. */
void vpd_supported_pages(struct builder *out, enum inquiry_peripheral peripheral,
                         const uint8_t *pages, size_t count);
void vpd_serial_number(struct builder *out, const char *serial);

struct vpd_identification_facts {
    const uint8_t *naa; /* 16 bytes, NAA 6h */
    const char *vendor, *serial;
    uint16_t relative_target_port, target_port_group;
    const char *target_name; /* the iSCSI name of the target device */
};
void vpd_device_identification(struct builder *out, const struct vpd_identification_facts *facts);

void vpd_extended_inquiry(struct builder *out, bool has_volatile_cache);

/* In blocks; 0 is "not told" or "not supported", as SBC-3 6.6.4 says for each. */
struct vpd_block_limits_facts {
    bool is_write_same_zero_refused; /* WSNZ */
    uint8_t compare_and_write_max;
    uint16_t transfer_granularity;
    uint32_t transfer_max, transfer_optimal;
    uint32_t unmap_max, unmap_descriptors_max, unmap_granularity;
    uint64_t write_same_max;
    uint32_t atomic_max; /* at any place, of any length up to it, without boundaries */
};
void vpd_block_limits(struct builder *out, const struct vpd_block_limits_facts *facts);

/* can_erase: SANITIZE's block erase is there, and reads work after it (WABEREQ). */
void vpd_block_characteristics(struct builder *out, uint16_t rotation_rpm, bool can_erase);

struct vpd_provisioning_facts {
    bool has_unmap, has_write_same_16, has_write_same_10; /* LBPU, LBPWS, LBPWS10 */
    bool reads_zeros;                                     /* LBPRZ */
    uint8_t threshold_exponent; /* a threshold set is 2^this blocks; 0: there are none */
};
void vpd_block_provisioning(struct builder *out, const struct vpd_provisioning_facts *facts);
