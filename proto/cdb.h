/*
 * cdb: where the fields of a command descriptor block stand, SPC-4 4.2.5, SBC-3 5.
 *
 * The four formats of the medium access commands differ only in where the LBA and the length are.
 * Every function reads a CDB of CDB_BYTES bytes; shorter ones are padded with zeros by whoever got
 * them.
 */
#pragma once

#include "proto/cursor.h"

enum { CDB_BYTES = 16 };

enum cdb_format {
    CDB_FORMAT_6,
    CDB_FORMAT_10,
    CDB_FORMAT_12,
    CDB_FORMAT_16,
    CDB_FORMAT_CAW,    /* COMPARE AND WRITE: the LBA of a 16-byte CDB, one byte of length */
    CDB_FORMAT_ATOMIC, /* WRITE ATOMIC(16): the same, two bytes of length */
};

/* A range of logical blocks. */
struct cdb_range {
    uint64_t lba;
    uint32_t blocks;
    uint8_t lba_byte, blocks_byte; /* where they stand, for a field pointer */
};

/* Fixed by the group code, SPC-4 4.2.5.1; 0 for the groups that are reserved or of variable length.
 */
uint8_t cdb_length(uint8_t opcode);

/* In the 6-byte format a length of 0 is read as the 256 blocks that it means (SBC-3 5.11). */
struct cdb_range cdb_range(enum cdb_format format, const uint8_t cdb[CDB_BYTES]);

/* FUA, or SBC-2's FUA_NV: without a non-volatile cache both mean the medium. Not in the 6-byte
 * format. */
static inline bool cdb_fua(const uint8_t cdb[CDB_BYTES])
{
    return cdb[1] & 0x0a;
}
