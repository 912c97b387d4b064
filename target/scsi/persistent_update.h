/*
 * persistent_update: one change of a unit's persistent reservations, from the request to the
 * answer.
 *
 * It has the whole unit's gate to itself while it makes the next state, puts it on stable storage
 * if that was asked for, and installs it: updates come one at a time, and no access that was let in
 * under the old state is still going on. PREEMPT AND ABORT then waits for the tasks of those who
 * were preempted to be dead.
 *
 * Thread    the worker's that it was started on.
 * Owns      itself, from its start to done(); the answer is in `change`.
 */
#pragma once

#include "target/scsi/drain.h"
#include "target/scsi/gate.h"
#include "target/scsi/lu.h"
#include "target/scsi/persistent.h"

/* A port that was preempted has one session, and perhaps an older one that is just ending. */
enum { PERSISTENT_VICTIMS_MAX = 2 * PERSISTENT_REGISTRANTS_MAX };

struct persistent_update {
    /* filled by the caller */
    struct lu *lu;
    struct worker *worker;
    struct persistent_request request;
    struct pr_out list; /* what the request points to may be these two */
    char ports[PERSISTENT_REGISTRANTS_MAX][INITIATOR_PORT_MAX + 1];
    bool is_by_operator; /* no request: all registrations go, and the reservation with them */
    /* On the worker, perhaps before persistent_update_start() returns; then free() it. */
    void (*done)(struct persistent_update *update);
    void *context;

    /* the answer */
    struct persistent_change change;
    int file_error; /* negative errno: it could not be kept, and nothing was changed */

    /* its own */
    enum persistent_step {
        UPDATE_WAITS, /* for the gate */
        UPDATE_RUNS,
        UPDATE_IS_DONE, /* but for the tasks of those who were preempted */
    } step;
    bool is_abandoned;
    struct gate_hold hold;
    struct slow_job job;
    unsigned victim_count;
    uint64_t victims[PERSISTENT_VICTIMS_MAX]; /* nexuses whose tasks are aborted */
    struct broadcast broadcast;
    struct drain drain;
};

void persistent_update_start(struct persistent_update *update);

/*
 * The caller no longer wants an answer. True: done() will not run and the update is no longer the
 * caller's: nothing was changed, or all is and only tasks of others are still dying. False: it is
 * in the middle; done() comes as soon as the disk has answered.
 */
bool persistent_update_abandon(struct persistent_update *update);

/*
 * From the main thread, for the operator: nobody holds or has registered anything any more, and all
 * who did are told. done() runs in home's loop; error: negative errno, and nothing was changed.
 */
struct persistent_clearing {
    struct lu *lu;
    struct workers *workers;
    struct mailbox *home;
    void (*done)(struct persistent_clearing *clearing);
    int error;
    /* its own */
    struct message message;
};
void persistent_clear_start(struct persistent_clearing *clearing);
