/*
 * log_pages: LOG SENSE data, SPC-4 7.3 and SBC-3 6.4.
 *
 * Pure. Nothing is counted here, nothing can be selected or saved.
 */
#pragma once

#include "proto/sense.h"

enum {
    LOG_PAGE_SUPPORTED = 0x00,
    LOG_PAGE_PROVISIONING = 0x0c,
    LOG_PAGE_STATISTICS = 0x19,
    LOG_PAGE_INFORMATIONAL_EXCEPTIONS = 0x2f,
    LOG_BYTES_MAX = 256,
};

struct log_facts {
    bool is_thin; /* the provisioning page is there */
    /* In threshold sets, as VPD B2h tells their size. */
    uint32_t available_sets, used_sets;
    uint64_t reads, writes, read_blocks, written_blocks;
};

struct log_request {
    uint8_t page, subpage;
    uint16_t parameter; /* the first one that is wanted */
};

/* SENSE_NONE, or why not; *field_byte is the CDB's byte to blame. */
enum sense_code log_sense_build(struct builder *out, const struct log_facts *facts,
                                const struct log_request *request, uint16_t *field_byte);
