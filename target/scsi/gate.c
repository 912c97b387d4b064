#include "target/scsi/gate.h"

#include "target/worker/worker.h"

#include <assert.h>
#include <stddef.h>

/*
 * Why no one slips past a mark, and no waiter is forgotten.
 *
 * Each stripe is one atomic word with one modification order, and both sides change it only by
 * read-modify-write. A plain access that adds itself before the mark is set is in the count that
 * the exclusive one reads after setting it; one that adds itself later reads the mark, takes itself
 * back and goes through the mutex. One that leaves before the mark is set is not in that count; one
 * that leaves later reads the mark, and if it leaves 0 behind it looks for waiters under the mutex,
 * where the one who marked has queued itself before letting the mutex go.
 *
 * What is in memory follows: leaving is a release, and everything after it on the word is a
 * read-modify-write, so whoever reads 0 with acquire has seen the accesses of all who left.
 * Clearing the mark is a release that a plain access's add acquires.
 */
static const uint64_t MARK = UINT64_C(1) << 63;

static uint64_t first_stripe(uint64_t offset_bytes)
{
    return offset_bytes >> GATE_STRIPE_BYTES_SHIFT;
}

/* The last byte of a range that is not empty; a range cannot wrap. */
static uint64_t last_byte(uint64_t offset_bytes, uint64_t len_bytes)
{
    uint64_t room = UINT64_MAX - offset_bytes;

    return offset_bytes + (len_bytes - 1 < room ? len_bytes - 1 : room);
}

/* The stripes of a range that is not empty, as a set of bits. */
static uint64_t stripes_of(uint64_t offset_bytes, uint64_t len_bytes)
{
    uint64_t first = first_stripe(offset_bytes);
    uint64_t count = first_stripe(last_byte(offset_bytes, len_bytes)) - first + 1;
    uint64_t run, turn = first % GATE_STRIPES;

    if (count == 1)
        return UINT64_C(1) << turn;
    if (count >= GATE_STRIPES)
        return UINT64_MAX;
    run = (UINT64_C(1) << count) - 1;
    return turn == 0 ? run : run << turn | run >> (GATE_STRIPES - turn);
}

/* More than two stripes is rare (above 1 MiB), and then the mutex costs nothing beside the
 * transfer. */
static bool are_few(uint64_t stripes)
{
    uint64_t but_one = stripes & (stripes - 1);

    return (but_one & (but_one - 1)) == 0;
}

static unsigned take_stripe(uint64_t *stripes)
{
    unsigned stripe = (unsigned)__builtin_ctzll(*stripes);

    *stripes &= *stripes - 1;
    return stripe;
}

static bool meet(uint64_t a_offset, uint64_t a_len, uint64_t b_offset, uint64_t b_len)
{
    return a_len > 0 && b_len > 0 && a_offset <= last_byte(b_offset, b_len) &&
           b_offset <= last_byte(a_offset, a_len);
}

/* What one excludes from and the other only shares. */
static bool is_kept_out(const struct gate_hold *by, const struct gate_hold *hold)
{
    const struct gate_copy_hold *copy = (const void *)hold;

    return by->mode == GATE_EXCLUSIVE && hold->has_shared_range &&
           meet(by->offset_bytes, by->len_bytes, copy->from_bytes, hold->len_bytes);
}

static bool is_in_conflict(const struct gate_hold *a, const struct gate_hold *b)
{
    if (a->mode == GATE_SHARED && b->mode == GATE_SHARED)
        return false;
    return meet(a->offset_bytes, a->len_bytes, b->offset_bytes, b->len_bytes) ||
           is_kept_out(a, b) || is_kept_out(b, a);
}

/* ---- under the mutex ---- */

static void mark(struct gate *gate, uint64_t stripes)
{
    while (stripes != 0) {
        unsigned stripe = take_stripe(&stripes);

        if (gate->marks[stripe]++ == 0)
            atomic_fetch_or_explicit(&gate->stripes[stripe], MARK, memory_order_acq_rel);
    }
}

static void unmark(struct gate *gate, uint64_t stripes)
{
    while (stripes != 0) {
        unsigned stripe = take_stripe(&stripes);

        if (--gate->marks[stripe] == 0)
            atomic_fetch_and_explicit(&gate->stripes[stripe], ~MARK, memory_order_acq_rel);
    }
}

/* Those who share unlisted may be anywhere in their stripe. */
static bool is_shared_unlisted(struct gate *gate, uint64_t stripes)
{
    while (stripes != 0) {
        unsigned stripe = take_stripe(&stripes);

        if (atomic_load_explicit(&gate->stripes[stripe], memory_order_acquire) & ~MARK)
            return true;
    }
    return false;
}

/* May this one, not yet in the queue or in it, go in now? Those who came before go first. */
static bool may_enter(struct gate *gate, const struct gate_hold *hold)
{
    const struct gate_hold *other;

    TAILQ_FOREACH (other, &gate->holders, link)
        if (is_in_conflict(other, hold))
            return false;
    TAILQ_FOREACH (other, &gate->waiters, link) {
        if (other == hold)
            break;
        if (is_in_conflict(other, hold))
            return false;
    }
    return hold->mode == GATE_SHARED || !is_shared_unlisted(gate, hold->stripes);
}

/*
 * Lets waiters in that may go now that `gone` (NULL), or somebody unlisted on `stripes`, has left.
 * The messages are chained and posted by admit() once the mutex is free: nobody touches a hold that
 * was let in before its entered() has run.
 */
static struct message *grant(struct gate *gate, const struct gate_hold *gone, uint64_t stripes)
{
    struct message *first = NULL, **last = &first;
    struct gate_hold *hold, *following;

    for (hold = TAILQ_FIRST(&gate->waiters); hold != NULL; hold = following) {
        following = TAILQ_NEXT(hold, link);
        if (gone != NULL ? !is_in_conflict(gone, hold) : (hold->stripes & stripes) == 0)
            continue;
        if (!may_enter(gate, hold))
            continue;
        TAILQ_REMOVE(&gate->waiters, hold, link);
        TAILQ_INSERT_HEAD(&gate->holders, hold, link);
        hold->is_waiting = false;
        hold->is_held = true;
        hold->message.next = NULL;
        *last = &hold->message;
        last = &hold->message.next;
    }
    return first;
}

/* ---- without it ---- */

static void run_entered(struct message *message)
{
    struct gate_hold *hold = (void *)((char *)message - offsetof(struct gate_hold, message));

    hold->entered(hold);
}

static void admit(struct message *first)
{
    while (first != NULL) {
        struct message *following = first->next;
        struct gate_hold *hold = (void *)((char *)first - offsetof(struct gate_hold, message));

        worker_post(hold->worker, first);
        first = following;
    }
}

static void leave_unlisted(struct gate *gate, uint64_t stripes)
{
    uint64_t emptied = 0;

    while (stripes != 0) {
        unsigned stripe = take_stripe(&stripes);

        if (atomic_fetch_sub_explicit(&gate->stripes[stripe], 1, memory_order_acq_rel) ==
            (MARK | 1))
            emptied |= UINT64_C(1) << stripe;
    }
    if (emptied != 0) {
        struct message *granted;

        pthread_mutex_lock(&gate->mutex);
        granted = grant(gate, NULL, emptied);
        pthread_mutex_unlock(&gate->mutex);
        admit(granted);
    }
}

/*
 * One add a stripe. The look before it keeps those who come while a mark stands from adding and
 * taking back at all: the waiter would have to find a moment between them.
 */
static bool enter_unlisted(struct gate *gate, uint64_t stripes)
{
    uint64_t left = stripes, added = 0;

    while (left != 0) {
        unsigned stripe = take_stripe(&left);

        if (atomic_load_explicit(&gate->stripes[stripe], memory_order_relaxed) & MARK)
            break;
        added |= UINT64_C(1) << stripe;
        if (atomic_fetch_add_explicit(&gate->stripes[stripe], 1, memory_order_acq_rel) & MARK)
            break;
        if (left == 0)
            return true;
    }
    leave_unlisted(gate, added);
    return false;
}

static bool enter_listed(struct gate *gate, struct gate_hold *hold)
{
    bool is_held;

    pthread_mutex_lock(&gate->mutex);
    if (hold->mode == GATE_EXCLUSIVE)
        mark(gate, hold->stripes);
    is_held = may_enter(gate, hold);
    hold->is_held = is_held;
    hold->is_waiting = !is_held;
    if (is_held)
        TAILQ_INSERT_HEAD(&gate->holders, hold, link);
    else
        TAILQ_INSERT_TAIL(&gate->waiters, hold, link);
    pthread_mutex_unlock(&gate->mutex);
    return is_held;
}

static void prepare(struct gate *gate, struct gate_hold *hold, struct worker *worker,
                    enum gate_mode mode, uint64_t offset_bytes, uint64_t len_bytes)
{
    assert(!hold->is_held && !hold->is_waiting && hold->entered != NULL);
    hold->gate = gate;
    hold->worker = worker;
    hold->offset_bytes = offset_bytes;
    hold->len_bytes = len_bytes;
    hold->stripes = len_bytes == 0 ? 0 : stripes_of(offset_bytes, len_bytes);
    hold->has_shared_range = false;
    hold->mode = mode;
    hold->is_fast = false;
    hold->message.run = run_entered;
}

bool gate_enter(struct gate *gate, struct gate_hold *hold, struct worker *worker,
                enum gate_mode mode, uint64_t offset_bytes, uint64_t len_bytes)
{
    prepare(gate, hold, worker, mode, offset_bytes, len_bytes);
    if (len_bytes == 0) {
        hold->is_held = true;
        return true;
    }
    if (mode == GATE_SHARED && are_few(hold->stripes) && enter_unlisted(gate, hold->stripes)) {
        hold->is_fast = true;
        hold->is_held = true;
        return true;
    }
    return enter_listed(gate, hold);
}

bool gate_enter_copy(struct gate *gate, struct gate_copy_hold *hold, struct worker *worker,
                     uint64_t offset_bytes, uint64_t from_bytes, uint64_t len_bytes)
{
    prepare(gate, &hold->hold, worker, GATE_EXCLUSIVE, offset_bytes, len_bytes);
    if (len_bytes == 0) {
        hold->hold.is_held = true;
        return true;
    }
    /* No mark for the shared range: who shares it unlisted is no matter, who excludes from it is
     * listed. */
    hold->from_bytes = from_bytes;
    hold->hold.has_shared_range = true;
    return enter_listed(gate, &hold->hold);
}

void gate_leave(struct gate_hold *hold)
{
    struct gate *gate = hold->gate;
    struct message *granted;

    assert(hold->is_held);
    hold->is_held = false;
    if (hold->len_bytes == 0)
        return;
    if (hold->is_fast) {
        leave_unlisted(gate, hold->stripes);
        return;
    }
    pthread_mutex_lock(&gate->mutex);
    TAILQ_REMOVE(&gate->holders, hold, link);
    if (hold->mode == GATE_EXCLUSIVE)
        unmark(gate, hold->stripes);
    granted = grant(gate, hold, 0);
    pthread_mutex_unlock(&gate->mutex);
    admit(granted);
}

bool gate_cancel(struct gate_hold *hold)
{
    struct gate *gate = hold->gate;
    struct message *granted = NULL;
    bool was_waiting;

    pthread_mutex_lock(&gate->mutex);
    was_waiting = hold->is_waiting;
    if (was_waiting) {
        hold->is_waiting = false;
        TAILQ_REMOVE(&gate->waiters, hold, link);
        if (hold->mode == GATE_EXCLUSIVE)
            unmark(gate, hold->stripes);
        granted = grant(gate, hold, 0); /* those who came later and only waited for this one */
    }
    pthread_mutex_unlock(&gate->mutex);
    admit(granted);
    return was_waiting;
}

void gate_open(struct gate *gate)
{
    for (unsigned i = 0; i < GATE_STRIPES; i++) {
        atomic_init(&gate->stripes[i], 0);
        gate->marks[i] = 0;
    }
    pthread_mutex_init(&gate->mutex, NULL);
    TAILQ_INIT(&gate->holders);
    TAILQ_INIT(&gate->waiters);
}

void gate_close(struct gate *gate)
{
    assert(TAILQ_EMPTY(&gate->holders) && TAILQ_EMPTY(&gate->waiters));
    pthread_mutex_destroy(&gate->mutex);
}
