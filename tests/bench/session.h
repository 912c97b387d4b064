/*
 * session: one host under load: its commands in flight, and what became of them.
 *
 * session_issue() builds as many commands as the queue depth and the command window allow and
 * queues them; the stream sends them together and calls back for what comes. Times run from when a
 * command is built until the read call that brought its status.
 *
 * Each session belongs to one crew: the sessions of one thread, with one epoll and one tally.
 *
 * Thread  its crew's. RFC 7143  4.2.2 (numbering), 11.3 to 11.8 (command, data, R2T), 11.19
 * (pings).
 */
#pragma once

#include "tests/bench/histogram.h"
#include "tests/bench/nexus.h"
#include "tests/bench/options.h"
#include "tests/bench/region.h"
#include "tests/bench/stream.h"

#include <stdatomic.h>

enum phase {
    PHASE_WARMING,
    PHASE_MEASURING,
    PHASE_OVER, /* nothing new is issued */
};

/* Set by main(). */
extern atomic_int phase;
extern _Atomic uint64_t measuring_since_ns;

struct tally {
    struct histogram latency;
    uint64_t issued;                       /* all commands, whatever the phase */
    uint64_t ios, bytes;                   /* done while measuring */
    uint64_t errors, verified, lost;       /* lost: COMPARE AND WRITEs that found another's */
    uint64_t last_done_ns, longest_gap_ns; /* between two that were done, of any session */
};

struct task;

struct session {
    struct stream stream;
    struct nexus nexus;
    struct region region;
    const struct options *options;
    struct tally *tally;
    uint64_t issue_max; /* of the crew */
    struct task *tasks;
    uint32_t *idle; /* a stack of tags */
    uint32_t idle_count, task_count, lun_block_bytes;
    uint8_t sense[32];
    uint8_t pings[8][BHS_BYTES + DIGEST_BYTES];
    unsigned ping_count;

    bool is_sweeping;
    uint64_t sweep_left;
    /* --rw ats */
    uint64_t lock_lba, count, counted; /* count: what the block holds, as far as we know */
    bool knows_count;
};

/* After login, with `nexus`, `options`, `tally`, `stream.epoll` and `lun_block_bytes` set. */
void session_start(struct session *session);
void session_end(struct session *session);
void session_issue(struct session *session);
bool session_is_busy(const struct session *session);
/* From now on reads its whole region once, in order, and checks it. */
void session_sweep(struct session *session);
