/*
 * copy_log: what RECEIVE COPY can be asked about the copies of one I_T nexus on one unit, SPC-4
 * 5.17.4.2.
 *
 * Thread    the nexus's worker.
 * Owns      a fixed number of records; those of copies that are over make room, the oldest first.
 *           Freed with the itl. A reset of the unit discards what is over (SPC-4 6.23, 6.25).
 */
#pragma once

#include "proto/xcopy.h"

struct command;
struct itl;

struct copy_record {
    uint64_t order; /* 0: the record is free */
    unsigned resets;
    uint8_t list_id;
    enum xcopy_state state;
    uint16_t segments_processed;
    uint64_t written_bytes;
    bool has_status, has_details; /* each is told once, when the copy is over */
    uint8_t status, sense_len;
    uint8_t sense[SENSE_BYTES_MAX];
};

/*
 * A copy with this list identifier begins; what an earlier one left is discarded. 0, -EBUSY (one
 * with the same identifier is under way), -EAGAIN (as many are as can be), or -ENOMEM.
 */
int copy_log_begin(struct itl *itl, uint8_t list_id, struct copy_record **out);

/* The command is over as its status and sense say. */
void copy_log_end(struct copy_record *record, const struct command *command);

/* NULL: no such copy is known. */
struct copy_record *copy_log_find(struct itl *itl, uint8_t list_id);

/* What was asked for has been told, and is discarded; of a copy under way nothing is. */
void copy_log_told_status(struct copy_record *record);
void copy_log_told_details(struct copy_record *record);
