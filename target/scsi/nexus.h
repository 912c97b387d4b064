/*
 * nexus: an I_T nexus (one iSCSI session as SCSI sees it), and its I_T_L nexuses.
 *
 * Thread    its worker's, but for the fields marked shared.
 * Owns      its itls: one for each logical unit that it has addressed, made at the first command.
 * Ends      nexus_close(), when none of its commands is left; reservations go with it (SPC-2 5.5.1).
 */
#pragma once

#include "proto/pdu.h"
#include "target/scsi/command.h"

#include <stdatomic.h>
#include <sys/queue.h>

struct worker;
struct scsi_target;
struct lun_map;

enum { INITIATOR_NAME_MAX = 223, INITIATOR_PORT_MAX = INITIATOR_NAME_MAX + 32 };

/* One logical unit as one nexus knows it. */
struct itl {
    struct nexus *nexus;
    struct lu *lu;
    uint16_t lun;
    _Atomic uint32_t unit_attentions; /* shared: a set of pending enum unit_attention bits */
    unsigned commands;                /* started, not finished */
    unsigned ordered;                 /* of these, ORDERED ones that hold others back */
    struct command_list held;         /* waiting for an ORDERED one, or ORDERED and waiting */
    LIST_ENTRY(itl) lu_link;          /* shared: under the LU's mutex */
};

struct nexus {
    struct worker *worker;
    struct scsi_target *target;
    char initiator_name[INITIATOR_NAME_MAX + 1];
    char initiator_port[INITIATOR_PORT_MAX + 1]; /* "NAME,i,0xISID", SPC-4 7.6.4.6 (SAM-5 A.2) */
    uint16_t relative_target_port;
    uint64_t id; /* unique in this process, never reused */

    struct command_list commands; /* started and not finished, oldest first */
    struct lun_map *map;          /* the one that this worker has been told of */
    struct itl **itls;            /* by the map's index; NULL until first used */
    LIST_ENTRY(nexus) worker_link;
};

/* 0 or -ENOMEM. `initiator_name` and `initiator_port` are copied. */
int nexus_open(struct nexus *nexus, struct worker *worker, struct scsi_target *target,
               const char *initiator_name, const char *initiator_port,
               uint16_t relative_target_port);
void nexus_close(struct nexus *nexus);

/* Aborts every command; they finish as they can. */
void nexus_abort_all(struct nexus *nexus);
