/*
 * drain: aborts all commands of some I_T_L nexuses on a worker, and tells when the last is dead.
 *
 * Each worker aborts its share in one go, the newest of a nexus first, and then waits for just
 * these: what arrives after that is simply new. Several drains may wait for one command.
 *
 * Thread    drain_start() and the callbacks run on the worker in question.
 * Owns      nothing; it belongs to its starter, on each worker from drain_start() to drained().
 */
#pragma once

#include "target/scsi/nexus.h"
#include "target/worker/worker.h"

struct drain;
struct left_behind;

struct drain_part {
    struct drain *drain;
    struct worker *worker;
    uint64_t latest; /* concerned are arrivals up to this one */
    /* aborted and not yet dead, and io that is waited for; one more while they are being aborted */
    unsigned commands;
    LIST_ENTRY(drain_part) link;
};

struct drain {
    /* Are the commands of this itl meant, and those that work on its unit besides their own? The
     * answer must not change as long as they live. */
    bool (*affects)(const struct drain *drain, const struct itl *itl);
    /* For every command of them that ended by being aborted; may be NULL. */
    void (*took)(struct drain *drain, struct itl *itl);
    /* Is what commands have left behind on this unit waited for, too? The answer
     * must not change either. NULL: never. */
    bool (*awaits)(const struct drain *drain, const struct lu *lu);
    /* Once a worker, perhaps before drain_start() returns. */
    void (*drained)(struct drain *drain, struct worker *worker);
    struct drain_part part[WORKERS_MAX];
};

void drain_start(struct drain *drain, struct worker *worker);

/* For nexus.c, when a command has ended: it no longer counts; then tell who waited for no other. */
void drain_count_out(struct worker *worker, const struct command *command);
void drain_settle(struct worker *worker);

/* For left_behind.c: this has ended, and is off the worker's list. */
void drain_left_behind_out(const struct left_behind *left);
