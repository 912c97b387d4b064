/*
 * core_bench: what the tests of nexuses, maps and resets stand on: units over small temporary
 * images, and a device server of which the test decides when a command ends.
 *
 * It brings its own command_run() and command_abort(), so the real ones are not linked.
 */
#pragma once

#include "target/scsi/scsi_target.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum { BENCH_BLOCK_BYTES = 512, BENCH_BLOCKS = 2048 };

/* A unit with BENCH_BLOCKS blocks; its image has no name any more. */
struct lu *bench_lu(void);

/* One entry for each unit, from LUN 0 on; a NULL unit leaves its LUN out. */
struct lun_map *bench_map(struct lu **lus, unsigned count);

/* Shows an entry to one initiator (a pattern) only. */
void bench_mask(struct lun_map *map, uint16_t lun, const char *pattern);

/* A worker that is never run: for what happens on one thread. */
struct worker *bench_worker(void);
void bench_worker_end(struct worker *worker);

/* The 8-byte LUN structure of a LUN below 256, as ESX sends it. */
uint64_t bench_lun(unsigned lun);

/* A command in the hands of the device server. */
struct fake {
    struct command command;
    bool is_stuck;     /* aborting it does not end it: the disk has it */
    bool ends_at_once; /* as soon as it runs */
    unsigned runs;
    bool has_ended;
    struct fake *then; /* is started when this one has ended, as a transport might */
    void (*at_end)(struct fake *fake);
};

/* Starts it; true: it runs. */
bool fake_start(struct fake *fake, struct nexus *nexus, unsigned lun,
                enum task_attribute attribute);
void fake_end(struct fake *fake);

/* How deep command_run() has been nested in itself, at most, since the process began. */
extern unsigned fake_run_depth_max;

/* ---- with real workers ---- */

enum { LAB_WORKERS = 2, LAB_LUNS = 3 };

/* A target with LUN 0, 1 and 2 on two workers, and the main thread's loop. */
struct lab {
    struct workers *workers;
    struct ev_loop *loop;
    struct mailbox home;
    struct scsi_target target;
    struct lu *lus[LAB_LUNS];
};

int lab_setup(void **state);
int lab_teardown(void **state); /* nexuses are closed, no change is under way */

/* Runs `what` on a worker and waits for it. */
void lab_on_worker(struct lab *lab, unsigned worker, void (*what)(void *arg), void *arg);
/* Everything that was posted to the workers and to the main thread before has run. */
void lab_settle(struct lab *lab);
/* Turns the main thread's loop until *flag, or ends the test after half a minute. */
void lab_wait(struct lab *lab, const bool *flag);

/* "esx1" on worker 0, "esx2" on worker 1, ... */
void lab_login(struct lab *lab, struct nexus *nexus, unsigned worker, const char *name);
void lab_logout(struct lab *lab, struct nexus *nexus);
/* True: it runs. */
bool lab_start(struct lab *lab, struct fake *fake, struct nexus *nexus, unsigned lun);
void lab_end(struct lab *lab, struct fake *fake);
/* The itl, made if need be, with nothing pending; NULL: no such LUN. */
struct itl *lab_quiet_itl(struct lab *lab, struct nexus *nexus, unsigned lun);
