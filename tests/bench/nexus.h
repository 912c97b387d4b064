/*
 * nexus: one session of one connection with a target: login, and what is asked before a
 * measurement, one command at a time.
 *
 * What login agreed on is in the struct; whoever sends commands in its own way afterwards (task.c)
 * takes it from there, and goes on with its numbers. Every wait is bounded by NEXUS_WITHIN_MS.
 *
 * Thread  any, one at a time.
 * RFC 7143  6 (keys), 11.2 to 11.4 (commands), 11.12 (login).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    NEXUS_WITHIN_MS = 20000,
    LUN_BYTES = 8,
    CDB_BYTES = 16,

    STATUS_GOOD = 0x00,
    STATUS_CHECK_CONDITION = 0x02,
};

struct nexus_wishes {
    const char *address, *port, *target;
    const char *initiator; /* the number is put behind it */
    unsigned number;       /* tells sessions apart: part of the name and of the ISID */
    uint32_t max_segment_bytes, first_burst_bytes, max_burst_bytes;
    bool wants_immediate, wants_header_digest, wants_data_digest;
};

struct nexus {
    int socket;
    uint32_t cmd_sn, exp_stat_sn, max_cmd_sn;
    /* what the target takes */
    uint32_t max_segment_bytes, first_burst_bytes, max_burst_bytes;
    bool has_immediate, has_initial_r2t, has_header_digest, has_data_digest;
};

/* A TCP connection without delay: the socket, or a negative errno. */
int nexus_connect(const char *address, const char *port);
/* Connects and logs in: 0, or a negative errno (-EACCES: the target refused the login). */
int nexus_open(struct nexus *nexus, const struct nexus_wishes *wishes);
void nexus_close(struct nexus *nexus);

/* A number as the wire has it: peripheral addressing below 256, flat above (SAM-5 4.7). */
void lun_put(uint8_t lun[LUN_BYTES], unsigned number);
/* Reads at most `cap` bytes: the SCSI status, or a negative errno. */
int nexus_read(struct nexus *nexus, unsigned lun, const uint8_t cdb[CDB_BYTES], void *in,
               size_t cap, size_t *got);
/* TEST UNIT READY until unit attentions are gone, and READ CAPACITY: bytes, or 0 and a message. */
uint64_t nexus_capacity(struct nexus *nexus, unsigned lun, uint32_t *block_bytes);
