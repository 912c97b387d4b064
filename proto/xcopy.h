/*
 * xcopy: EXTENDED COPY(LID1) parameter lists and what the RECEIVE COPY commands tell, SPC-4 6.4 and
 * 6.5, 6.22 to 6.25.
 *
 * Pure. One kind of each descriptor is known: the identification descriptor (E4h) for a copy source
 * or copy destination (CSCD), and block device to block device (02h) for a segment. A list is good
 * as a whole or refused: what is left to the reader is what only units can tell.
 */
#pragma once

#include "proto/sense.h"

enum {
    XCOPY_CSCDS_MAX = 8,
    XCOPY_SEGMENTS_MAX = 64,

    XCOPY_HEADER_BYTES = 16,
    XCOPY_CSCD_BYTES = 32,
    XCOPY_SEGMENT_BYTES = 28,
    XCOPY_DESCRIPTORS_BYTES_MAX =
        XCOPY_CSCDS_MAX * XCOPY_CSCD_BYTES + XCOPY_SEGMENTS_MAX * XCOPY_SEGMENT_BYTES,
    XCOPY_DESIGNATOR_BYTES_MAX = 20,

    XCOPY_CSCD_IDENTIFICATION = 0xe4,
    XCOPY_SEGMENT_BLOCK_TO_BLOCK = 0x02,

    /* CSCD descriptor IDs that are no index, SPC-4 table 148 */
    XCOPY_ID_THIS_UNIT = 0xffff,
};

/* SPC-4 table 129 */
enum xcopy_list_id_usage {
    XCOPY_LIST_ID_HELD = 0,
    XCOPY_LIST_ID_RESERVED = 1,
    XCOPY_LIST_ID_DISCARDED = 2,
    XCOPY_LIST_ID_NONE = 3, /* NLID: no list identifier, nothing can be asked of it later */
};

struct xcopy_cscd {
    bool is_null; /* NUL: a unit that no command may be sent to (SPC-3 6.3.6.1) */
    uint8_t peripheral_type;
    uint8_t code_set, association, designator_type, designator_len;
    uint8_t designator[XCOPY_DESIGNATOR_BYTES_MAX];
    uint32_t block_bytes; /* DISK BLOCK LENGTH; 0: not said */
};

struct xcopy_segment {
    uint16_t source, destination; /* indexes of CSCDs, or other IDs */
    uint16_t blocks;
    uint64_t source_lba, destination_lba;
};

struct xcopy_list {
    uint8_t list_id;
    enum xcopy_list_id_usage usage;
    unsigned cscd_count, segment_count;
    struct xcopy_cscd cscds[XCOPY_CSCDS_MAX];
    struct xcopy_segment segments[XCOPY_SEGMENTS_MAX];
};

/*
 * Reads a whole list of len > 0 bytes. SENSE_NONE, or what is wrong with it; *field_byte tells
 * where (not for PARAMETER LIST LENGTH ERROR). DC, CAT and PAD may be anything: between units of
 * the same block size no segment leaves a residue, so they ask for nothing.
 */
enum sense_code xcopy_parse(const uint8_t *bytes, size_t len, struct xcopy_list *list,
                            uint16_t *field_byte);

/* Where descriptors stand in the list, for field pointers. */
uint16_t xcopy_cscd_at(unsigned index);
uint16_t xcopy_segment_at(const struct xcopy_list *list, unsigned index);

/* RECEIVE COPY OPERATING PARAMETERS, SPC-4 6.22 */
struct xcopy_operating_facts {
    uint32_t segment_bytes_max;
    uint16_t copies_max; /* at the same time */
    uint8_t granularity_shift;
};
enum { XCOPY_OPERATING_BYTES = 46 };
void xcopy_operating_parameters(struct builder *out, const struct xcopy_operating_facts *facts);

enum xcopy_state {
    XCOPY_IN_PROGRESS = 0,
    XCOPY_COMPLETED = 1,
    XCOPY_COMPLETED_WITH_ERRORS = 2,
};

/* RECEIVE COPY STATUS(LID1), SPC-4 6.25 */
enum { XCOPY_STATUS_BYTES = 12 };
void xcopy_copy_status(struct builder *out, enum xcopy_state state, uint16_t segments_processed,
                       uint64_t written_bytes);

/* RECEIVE COPY FAILURE DETAILS(LID1), SPC-4 6.23; `sense` empty: there are none. */
enum { XCOPY_DETAILS_BYTES_MAX = 60 + SENSE_BYTES_MAX };
void xcopy_failure_details(struct builder *out, uint8_t status, struct slice sense);
