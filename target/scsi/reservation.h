/*
 * reservation: who has reserved a logical unit, and whom that keeps out.
 *
 * SCSI-2 RESERVE and RELEASE as SPC-2 5.5.1 describes them, one holder (a nexus) a unit. Persistent
 * reservations get their place here. All calls are made with the LU's mutex held.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct nexus;

/* How a reservation of another nexus treats an opcode (SPC-2 table 10, SPC-4 table 45). */
enum reservation_class {
    RSV_NONE = 0,  /* no class given: such a row does not compile */
    RSV_ALLOWED,   /* always: INQUIRY, REPORT LUNS, REQUEST SENSE, ... */
    RSV_READS,     /* reads the medium */
    RSV_WRITES,    /* writes the medium, or changes what others see */
    RSV_CONTROL,   /* neither, and still kept out by a SCSI-2 reservation (TEST UNIT READY, MODE SENSE...) */
    RSV_RELEASE,   /* RELEASE by a nexus that holds nothing: GOOD, no effect */
    RSV_RESERVE,   /* RESERVE itself */
};

struct reservation {
    struct nexus *holder; /* SCSI-2; NULL: none */
    uint64_t holder_id;
    uint64_t since_ns;
};
