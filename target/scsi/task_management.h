/*
 * task_management: the functions of SAM-5 chapter 7 that reach beyond one task: ABORT TASK SET,
 * CLEAR TASK SET, LOGICAL UNIT RESET, and the target resets of RFC 7143 11.5.1. (ABORT TASK is the
 * transport's: it knows the tags, and calls command_abort().)
 *
 * Every worker that has affected commands aborts them; done() runs on the asking nexus's worker
 * once none of them can touch the medium any more, reservations are dropped and unit attentions
 * raised.
 */
#pragma once

#include "proto/pdu.h"
#include "target/scsi/drain.h"
#include "target/scsi/nexus.h"
#include "target/worker/worker.h"

struct task_management {
    /* filled by the caller */
    enum tmf_function function;
    struct nexus *nexus; /* who asks; must stay open until done() */
    uint64_t lun;
    void (*done)(struct task_management *tm);
    /* the answer, when done() runs */
    enum tmf_response response;
    /* this room's own */
    struct lun_map *map; /* keeps the units */
    struct lu *lu;       /* NULL: all of the target's */
    struct broadcast broadcast;
    struct drain drain;
};

/* done() may run before this returns. COLD RESET: dropping the sessions is the caller's part. */
void task_management_start(struct task_management *tm);
