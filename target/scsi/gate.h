/*
 * gate: who may touch which blocks of a logical unit at the same time.
 *
 * Every medium access holds its range: plain reads and writes share, what must be atomic (COMPARE
 * AND WRITE, ORWRITE, WRITE SAME, UNMAP, a copy's destination) excludes. Nobody blocks a thread:
 * who must wait is queued, in order, and resumed on its own worker.
 *
 * A plain access comes in by counting itself on the stripe that its range lies in, in a place that
 * only its worker writes: no lock, no locked instruction, nothing that another worker waits for.
 * Only a stripe that an exclusive holder has marked goes through the mutex. An exclusive access
 * waits for what is in flight on its stripes when it comes, and for nothing that comes later, so
 * bulk I/O cannot starve it.
 *
 * Thread    gate_enter() and gate_leave() of one hold on its worker.
 */
#pragma once

#include "target/worker/worker.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

enum {
    GATE_STRIPES = 64,
    GATE_STRIPE_BYTES_SHIFT = 20, /* a stripe is every 64th MiB */
};

enum gate_mode {
    GATE_SHARED,
    GATE_EXCLUSIVE,
};

struct gate_hold;
TAILQ_HEAD(gate_hold_list, gate_hold);

/* How many share each stripe unlisted; only one worker changes it. */
struct gate_sharers {
    _Atomic uint32_t stripe[GATE_STRIPES];
} __attribute__((aligned(64)));

struct gate {
    _Atomic uint64_t marked; /* the stripes with exclusive holders or waiters, a bit each */
    struct gate_sharers sharers[WORKERS_MAX];
    pthread_mutex_t mutex;
    struct gate_hold_list holders; /* exclusive ones, and those that share through the slow way */
    struct gate_hold_list waiters; /* in the order in which they came */
    uint32_t marks[GATE_STRIPES];  /* exclusive holders and waiters on each stripe */
};

/* One range that is held or waited for. Belongs to the caller; gate_hold_init() before first use,
 * or all zeros. */
struct gate_hold {
    struct gate *gate;
    struct worker *worker;
    uint64_t offset_bytes, len_bytes;
    uint64_t stripes; /* on which the range lies, a bit each */
    enum gate_mode mode;
    bool is_held, is_fast, is_waiting, has_shared_range;
    void (*entered)(struct gate_hold *hold);
    TAILQ_ENTRY(gate_hold) link;
    struct message message;
};

/* A hold that is exclusive on one range and shared on another of the same length. */
struct gate_copy_hold {
    struct gate_hold hold; /* hold.has_shared_range says that it is one of these */
    uint64_t from_bytes;
};

static inline void gate_hold_init(struct gate_hold *hold)
{
    hold->is_held = hold->is_waiting = false;
}

/* All zeros before. */
void gate_open(struct gate *gate);
void gate_close(struct gate *gate); /* nobody holds it or waits */

/*
 * True: held now. False: hold->entered() will run on `worker` when it is. hold->entered must be
 * set. len_bytes = 0 is held at once and keeps nobody out.
 */
bool gate_enter(struct gate *gate, struct gate_hold *hold, struct worker *worker,
                enum gate_mode mode, uint64_t offset_bytes, uint64_t len_bytes);
/*
 * The same for an access that may last: the others see its range, and not only the stripes that it
 * lies on.
 */
bool gate_enter_listed(struct gate *gate, struct gate_hold *hold, struct worker *worker,
                       enum gate_mode mode, uint64_t offset_bytes, uint64_t len_bytes);
/*
 * The same for a copy within the unit: [offset, offset + len) exclusive and, just as long,
 * [from, from + len) shared, both at once or none. Two holds, one after the other, could wait for
 * each other's ranges, or for a waiter in between, for ever.
 */
bool gate_enter_copy(struct gate *gate, struct gate_copy_hold *hold, struct worker *worker,
                     uint64_t offset_bytes, uint64_t from_bytes, uint64_t len_bytes);
void gate_leave(struct gate_hold *hold);

/*
 * What `hold` holds goes on being held by `to`, which keeps everybody else out that comes from now
 * on. For an access that nobody waits for any more and that is still under way: whoever comes to
 * its blocks finds it ended. `hold` is free then; `to` leaves by gate_leave(), on the same worker.
 */
void gate_hand_over(struct gate_hold *hold, struct gate_hold *to);

/*
 * Stops waiting. True: it no longer waits and entered() will not run. False: it had been let in and
 * entered() is on its way; the caller must leave again then.
 */
bool gate_cancel(struct gate_hold *hold);
