#include "target/scsi/gate.h"

#include <assert.h>
#include <linux/membarrier.h>
#include <sched.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

/*
 * Why no one slips past a mark, and no waiter is forgotten.
 *
 * A plain access counts itself and then looks at the marks. An exclusive one marks and then looks
 * at the counts. When each sees its own store and the other's, in one order, at least one of them
 * sees the other: either the plain one takes itself back and goes through the mutex, or the
 * exclusive one waits. Leaving is the same: it counts down and then looks, and goes through the
 * mutex to let waiters in; or the exclusive one, which has queued itself before, sees that it has
 * left.
 *
 * A CPU may delay a store past a load that follows it. The plain accesses, of which there are many,
 * have nothing against that but the compiler's order; the exclusive one makes all threads of the
 * process pass a barrier between its mark and its look (membarrier(2)). Where the kernel does not
 * do that for us, both sides have a fence of their own.
 *
 * What is in memory follows: counting down is a release, which the exclusive one's look acquires,
 * and taking the mark off is a release, which the plain one's look acquires.
 */
static bool has_membarrier;

__attribute__((constructor)) static void register_membarrier(void)
{
    has_membarrier = syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0;
}

/* Between counting and looking at the marks. */
static inline void light_barrier(void)
{
    if (__builtin_expect(has_membarrier, true))
        atomic_signal_fence(memory_order_seq_cst);
    else
        atomic_thread_fence(memory_order_seq_cst);
}

/* Between marking and looking at the counts. Where the light one is none, this must be one: short
 * of memory the quick barrier may fail, and then the slow one, which needs none, stands in. */
static void heavy_barrier(void)
{
    if (!has_membarrier) {
        atomic_thread_fence(memory_order_seq_cst);
        return;
    }
    while (syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) != 0 &&
           syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) != 0)
        sched_yield();
}

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
    uint64_t left = stripes, was;

    while (left != 0)
        gate->marks[take_stripe(&left)]++;
    was = atomic_fetch_or_explicit(&gate->marked, stripes, memory_order_acq_rel);
    if ((was & stripes) != stripes)
        heavy_barrier();
}

static void unmark(struct gate *gate, uint64_t stripes)
{
    uint64_t freed = 0;

    while (stripes != 0) {
        unsigned stripe = take_stripe(&stripes);

        if (--gate->marks[stripe] == 0)
            freed |= UINT64_C(1) << stripe;
    }
    atomic_fetch_and_explicit(&gate->marked, ~freed, memory_order_acq_rel);
}

/* Those who share unlisted may be anywhere in their stripe. */
static bool is_shared_unlisted(struct gate *gate, uint64_t stripes)
{
    while (stripes != 0) {
        unsigned stripe = take_stripe(&stripes);

        for (unsigned i = 0; i < WORKERS_MAX; i++)
            if (atomic_load_explicit(&gate->sharers[i].stripe[stripe], memory_order_acquire) != 0)
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

/* What a worker has counted on each of these stripes, one more or one less. */
static inline void count(struct gate_sharers *sharers, uint64_t stripes, uint32_t by)
{
    while (stripes != 0) {
        _Atomic uint32_t *stripe = &sharers->stripe[take_stripe(&stripes)];
        uint32_t was = atomic_load_explicit(stripe, memory_order_relaxed);

        atomic_store_explicit(stripe, was + by, memory_order_release);
    }
}

static inline bool is_marked(struct gate *gate, uint64_t stripes)
{
    return (atomic_load_explicit(&gate->marked, memory_order_acquire) & stripes) != 0;
}

static void leave_unlisted(struct gate *gate, const struct worker *worker, uint64_t stripes)
{
    count(&gate->sharers[worker->index], stripes, UINT32_MAX);
    light_barrier();
    if (is_marked(gate, stripes)) {
        struct message *granted;

        pthread_mutex_lock(&gate->mutex);
        granted = grant(gate, NULL, stripes);
        pthread_mutex_unlock(&gate->mutex);
        admit(granted);
    }
}

/* The look before counting keeps those who come while a mark stands from counting at all: the
 * waiter would have to find a moment between them. */
static bool enter_unlisted(struct gate *gate, const struct worker *worker, uint64_t stripes)
{
    if (is_marked(gate, stripes))
        return false;
    count(&gate->sharers[worker->index], stripes, 1);
    light_barrier();
    if (!is_marked(gate, stripes))
        return true;
    leave_unlisted(gate, worker, stripes);
    return false;
}

static bool list(struct gate *gate, struct gate_hold *hold)
{
    bool is_held;

    if (hold->len_bytes == 0) {
        hold->is_held = true;
        return true;
    }
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
    if (mode == GATE_SHARED && len_bytes > 0 && are_few(hold->stripes) &&
        enter_unlisted(gate, worker, hold->stripes)) {
        hold->is_fast = true;
        hold->is_held = true;
        return true;
    }
    return list(gate, hold);
}

bool gate_enter_listed(struct gate *gate, struct gate_hold *hold, struct worker *worker,
                       enum gate_mode mode, uint64_t offset_bytes, uint64_t len_bytes)
{
    prepare(gate, hold, worker, mode, offset_bytes, len_bytes);
    return list(gate, hold);
}

bool gate_enter_copy(struct gate *gate, struct gate_copy_hold *hold, struct worker *worker,
                     uint64_t offset_bytes, uint64_t from_bytes, uint64_t len_bytes)
{
    prepare(gate, &hold->hold, worker, GATE_EXCLUSIVE, offset_bytes, len_bytes);
    /* No mark for the shared range: who shares it unlisted is no matter, who excludes from it is
     * listed. */
    hold->from_bytes = from_bytes;
    hold->hold.has_shared_range = true;
    return list(gate, &hold->hold);
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
        leave_unlisted(gate, hold->worker, hold->stripes);
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

void gate_hand_over(struct gate_hold *hold, struct gate_hold *to)
{
    struct gate *gate = hold->gate;
    struct message *granted = NULL;

    assert(hold->is_held && !hold->has_shared_range);
    gate_hold_init(to);
    to->entered = hold->entered;
    prepare(gate, to, hold->worker, GATE_EXCLUSIVE, hold->offset_bytes, hold->len_bytes);
    to->is_held = true;
    hold->is_held = false;
    if (hold->len_bytes == 0)
        return;
    pthread_mutex_lock(&gate->mutex);
    if (hold->mode == GATE_SHARED)
        mark(gate, hold->stripes);
    TAILQ_INSERT_HEAD(&gate->holders, to, link);
    if (hold->is_fast) {
        /* who waited for all of a stripe may find that these blocks are not its own */
        count(&gate->sharers[hold->worker->index], hold->stripes, UINT32_MAX);
        granted = grant(gate, NULL, hold->stripes);
    } else {
        TAILQ_REMOVE(&gate->holders, hold, link);
    }
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
    pthread_mutex_init(&gate->mutex, NULL);
    TAILQ_INIT(&gate->holders);
    TAILQ_INIT(&gate->waiters);
}

void gate_close(struct gate *gate)
{
    assert(TAILQ_EMPTY(&gate->holders) && TAILQ_EMPTY(&gate->waiters));
    pthread_mutex_destroy(&gate->mutex);
}
