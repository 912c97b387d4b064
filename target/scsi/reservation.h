/*
 * reservation: who has reserved a logical unit, and whom that keeps out.
 *
 * SCSI-2 RESERVE and RELEASE as SPC-2 5.5.1 describes them, one holder (a nexus) a unit, and the
 * question whether that or a persistent reservation (persistent.h) is in a command's way. The two
 * kinds never stand at once: each refuses the other's commands. The calls take the LU's mutex,
 * except where nobody has reserved or registered (lu->reserved), which is one load.
 */
#pragma once

#include "target/scsi/command.h"

#include <stdbool.h>
#include <stdint.h>

struct nexus;
struct lu;

/* How a reservation of another nexus treats an opcode (SPC-2 table 10, SPC-4 table 45). */
enum reservation_class {
    RSV_NONE = 0,   /* no class given: such a row does not compile */
    RSV_ALLOWED,    /* always: INQUIRY, REPORT LUNS, REQUEST SENSE, ... */
    RSV_READS,      /* reads the medium */
    RSV_WRITES,     /* writes the medium, or changes what others see */
    RSV_CONTROL,    /* neither; kept out by a SCSI-2 reservation only (TEST UNIT READY) */
    RSV_REPORTS,    /* the other way round: kept out like reads, by a persistent one only */
    RSV_RELEASE,    /* RELEASE by a nexus that holds nothing: GOOD, no effect */
    RSV_RESERVE,    /* RESERVE itself */
    RSV_PERSISTENT, /* PERSISTENT RESERVE IN, OUT: not while a SCSI-2 reservation stands */
    /* a bit of the CDB decides, see opcode_reservation() */
    RSV_START_STOP,
    RSV_PREVENT,
};

struct reservation {
    struct nexus *holder; /* SCSI-2; NULL: none */
    uint64_t holder_id;
    uint64_t since_ns; /* CLOCK_MONOTONIC */
};

/* Must this nexus's command of that class end with RESERVATION CONFLICT? */
bool reservation_conflicts(struct lu *lu, const struct nexus *nexus, enum reservation_class class);

/* RESERVE: STATUS_GOOD, for the holder again too, or STATUS_RESERVATION_CONFLICT. */
enum scsi_status reservation_take(struct lu *lu, struct nexus *nexus);

/* Under the LU's mutex, when what it knows of reservations and registrants has changed. */
void reservation_note(struct lu *lu);

/* RELEASE, and the loss of the nexus: frees the unit if this nexus holds it; else no effect. */
void reservation_release(struct lu *lu, const struct nexus *nexus);

/* The operator ends a SCSI-2 reservation; its holder is told. */
void reservation_preempt(struct lu *lu);

/* A reset: nobody holds the unit. True: somebody did; `port` (may be NULL) gets the name. */
bool reservation_drop_all(struct lu *lu, char *port, size_t port_cap);
