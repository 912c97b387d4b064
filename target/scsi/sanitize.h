/*
 * sanitize: a sanitize operation on a logical unit, SBC-3 4.11.
 *
 * Once begun it belongs to the unit, not to the command: no task management function, no reset and
 * no loss of a nexus ends it. It holds the gate over the whole unit, and all commands but those
 * that SBC-3 names are refused. It ends with the daemon: what remains then is told in the log.
 */
#pragma once

#include "proto/sanitize.h"
#include "target/scsi/gate.h"
#include "target/scsi/lu_job.h"

struct command;
struct lu;

enum sanitize_state {
    SANITIZE_IDLE,
    SANITIZE_RUNNING,
    SANITIZE_FAILED, /* until another one succeeds, or EXIT FAILURE MODE where that was allowed */
};

/* A command that waits to begin, or for the end. In its scratch. */
struct sanitize_wait {
    struct command *command;
    struct message message;
    bool is_immediate, is_entering;
    int error;
};

/* Zeroed: idle. */
struct sanitize {
    _Atomic int state; /* enum sanitize_state */
    _Atomic uint64_t done_bytes, total_bytes;
    enum sanitize_state before;
    bool may_exit; /* AUSE: EXIT FAILURE MODE ends the failure mode */
    struct gate_hold hold;
    struct lu_job job;
    struct sanitize_wait *entering;
    struct sanitize_wait *waiting; /* for the end; under the unit's mutex */
    uint8_t *chunk;                /* what an overwrite writes; NULL: a block erase */
    bool is_inverted;
    unsigned passes; /* that are still to do */
    uint64_t at_bytes;
    int error;
};

/* Begins as soon as nothing is in flight. `list`: NULL for a block erase. Ends the command: at once
 * with `immediate`, else when it is over. */
void sanitize_begin(struct command *command, const struct overwrite_list *list, bool may_exit,
                    bool immediate);

/* The command finishes: it no longer waits. */
void sanitize_let_go(struct command *command);

/* EXIT FAILURE MODE. */
void sanitize_exit_failure_mode(struct command *command);

/* May this command run as the unit is? It is refused otherwise. One load. */
bool sanitize_lets(struct command *command);

/* What REQUEST SENSE tells: SENSE_NONE when there is nothing, else with *progress of 65536. */
enum sense_code sanitize_sense(struct lu *lu, uint16_t *progress);
