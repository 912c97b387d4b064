/*
 * uring: the engine over io_uring.
 *
 * What is submitted in a turn waits in `ready` and goes to the kernel in one call, in a
 * low-priority ev_prepare just before the loop sleeps. Completions wake the loop through an
 * eventfd. No more is in the kernel than the completion queue holds, so that none can overflow; the
 * rest waits in `ready`.
 *
 * Durable writes share their syncs: the kernel does the buffered writes of one file one after the
 * other, so with RWF_DSYNC each would wait for the syncs of all before it.
 *
 * A read that asks for holes first goes to a runner if one rests; otherwise it does not ask.
 *
 * A write to a file that does not know RWF_NOWAIT (ext4) would cost a kernel thread's wake-up each:
 * those go to the file's lane, which does all of a turn with one. When every runner is at work (on
 * files that are stuck, say) the kernel's threads do them after all; they sort files by a hash, so
 * there one that is stuck may hold another.
 */
#include "backing/engine_ops.h"
#include "backing/file.h"
#include "backing/runners.h"
#include "backing/sync_groups.h"
#include "backing/transfer.h"

#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum {
    SUBMISSIONS = 256,
    REAP_BATCH = 64,
};

static const double retry_seconds = 0.01;

struct uring {
    struct engine engine;
    struct ev_loop *loop;
    struct io_uring ring;
    bool is_deferred; /* completions are posted only when we ask (IORING_SETUP_DEFER_TASKRUN) */
    int event_fd;
    ev_io completed;
    ev_prepare turn;
    ev_timer retry; /* on while the kernel has refused to take what is queued */
    struct io_queue ready;
    struct sync_groups syncs;
    unsigned in_kernel; /* queued or submitted, and not completed */
};

static void sqe_fill(struct uring *uring, struct io_uring_sqe *sqe, struct io *io)
{
    struct call call;

    transfer_next(io, &call);
    switch (call.kind) {
    case CALL_NOTHING: /* comes back like all others, through its completion */
        io_uring_prep_nop(sqe);
        break;
    case CALL_READ:
        io_uring_prep_read(sqe, call.fd, call.bytes, (unsigned)call.len_bytes, call.offset_bytes);
        break;
    case CALL_WRITE:
        io_uring_prep_write(sqe, call.fd, call.bytes, (unsigned)call.len_bytes, call.offset_bytes);
        sqe->rw_flags = call.flags;
        break;
    case CALL_SYNC_DATA:
        sync_groups_start(&uring->syncs, io);
        io_uring_prep_fsync(sqe, call.fd, IORING_FSYNC_DATASYNC);
        break;
    case CALL_FALLOCATE:
        io_uring_prep_fallocate(sqe, call.fd, call.flags, (off_t)call.offset_bytes,
                                (off_t)call.len_bytes);
        break;
    }
    if (io->engine.retries > 0)
        sqe->flags |= IOSQE_ASYNC; /* a kernel thread may wait where we may not */
    io_uring_sqe_set_data(sqe, io);
}

static void fill(struct uring *uring)
{
    while (uring->ready.first != NULL && uring->in_kernel < uring->ring.cq.ring_entries) {
        struct io_uring_sqe *sqe = io_uring_get_sqe(&uring->ring);

        if (sqe == NULL)
            break;
        sqe_fill(uring, sqe, io_queue_take(&uring->ready));
        uring->in_kernel++;
    }
}

/* Low priority: after all that the turn's end has submitted. */
static void turn_is_over(struct ev_loop *loop, ev_prepare *turn, int events)
{
    struct uring *uring = turn->data;
    int n = 0;

    (void)events;
    runners_start(uring->engine.runners);
    do {
        fill(uring);
        if (io_uring_sq_ready(&uring->ring) == 0)
            break;
        n = io_uring_submit(&uring->ring);
    } while (n > 0 || n == -EINTR);

    /* short of memory: no completion may be coming that would bring us back here */
    if (io_uring_sq_ready(&uring->ring) > 0)
        ev_timer_again(loop, &uring->retry);
    else
        ev_timer_stop(loop, &uring->retry);
}

static void retry_is_due(struct ev_loop *loop, ev_timer *retry, int events)
{
    (void)loop; /* that it woke the loop is enough: turn_is_over() comes next */
    (void)retry;
    (void)events;
}

static bool wants_lane(const struct io *io)
{
    return transfer_is_file_write(io) &&
           !atomic_load_explicit(&io->backing->knows_nowait_write, memory_order_relaxed);
}

static void make_ready(struct uring *uring, struct io *io)
{
    if (wants_lane(io) && runners_put_in_lane(uring->engine.runners, io, false))
        return;
    if (transfer_is_look(io)) {
        if (runners_put(uring->engine.runners, io, false))
            return;
        transfer_went(io, 0);
    }
    if (!transfer_is_sync(io) || sync_groups_lead(&uring->syncs, io))
        io_queue_put(&uring->ready, io);
}

static void call_went(struct uring *uring, struct io *io, int64_t result, struct io_queue *over)
{
    if (transfer_is_sync(io))
        sync_groups_end(&uring->syncs, io, result, over, &uring->ready);
    else if (transfer_went(io, result))
        io_queue_put(over, io);
    else
        make_ready(uring, io);
}

/* From the lane: it is over, or its sync is left. */
static void runner_came(struct io *io)
{
    if (transfer_is_sync(io))
        make_ready((struct uring *)io->engine.engine, io);
    else
        engine_finish(io);
}

static void completions_came(struct ev_loop *loop, ev_io *completed, int events)
{
    struct uring *uring = completed->data;
    struct io_uring_cqe *cqes[REAP_BATCH];
    struct io_queue over;
    struct io *io;
    uint64_t count;
    unsigned n;

    (void)loop;
    (void)events;
    while (read(uring->event_fd, &count, sizeof(count)) < 0 && errno == EINTR)
        continue;
    if (uring->is_deferred)
        io_uring_get_events(&uring->ring);

    io_queue_init(&over);
    while ((n = io_uring_peek_batch_cqe(&uring->ring, cqes, REAP_BATCH)) > 0) {
        for (unsigned i = 0; i < n; i++) {
            io = io_uring_cqe_get_data(cqes[i]);
            call_went(uring, io, cqes[i]->res, &over);
        }
        io_uring_cq_advance(&uring->ring, n);
        uring->in_kernel -= n;
    }
    while ((io = io_queue_take(&over)) != NULL)
        engine_finish(io);
}

static void uring_submit(struct engine *engine, struct io *io)
{
    make_ready((struct uring *)engine, io);
}

static void uring_destroy(struct engine *engine)
{
    struct uring *uring = (struct uring *)engine;

    ev_timer_stop(uring->loop, &uring->retry);
    ev_prepare_stop(uring->loop, &uring->turn);
    ev_io_stop(uring->loop, &uring->completed);
    sync_groups_close(&uring->syncs);
    runners_destroy(uring->engine.runners);
    io_uring_queue_exit(&uring->ring);
    close(uring->event_fd);
    free(uring);
}

static const struct engine_ops uring_ops = {
    .kind = ENGINE_URING,
    .submit = uring_submit,
    .destroy = uring_destroy,
};

/* The best set-up that this kernel knows (6.1, 5.19, 5.18 brought them), or a plain ring. */
static int ring_open(struct uring *uring)
{
    static const unsigned flags[] = {
        IORING_SETUP_CLAMP | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER |
            IORING_SETUP_DEFER_TASKRUN,
        IORING_SETUP_CLAMP | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_COOP_TASKRUN,
        IORING_SETUP_CLAMP | IORING_SETUP_SUBMIT_ALL,
        0,
    };
    int error = -EINVAL;

    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]) && error == -EINVAL; i++) {
        error = io_uring_queue_init(SUBMISSIONS, &uring->ring, flags[i]);
        uring->is_deferred = flags[i] & IORING_SETUP_DEFER_TASKRUN;
    }
    return error;
}

static bool ring_knows_all(struct io_uring *ring)
{
    static const int ops[] = { IORING_OP_NOP, IORING_OP_READ, IORING_OP_WRITE, IORING_OP_FSYNC,
                               IORING_OP_FALLOCATE };
    struct io_uring_probe *probe = io_uring_get_probe_ring(ring);
    bool knows_all = probe != NULL;

    for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]) && knows_all; i++)
        knows_all = io_uring_opcode_supported(probe, ops[i]);
    io_uring_free_probe(probe);
    return knows_all;
}

static const char *why_refused(int error)
{
    switch (error) {
    case -EPERM:
        return "the kernel does not permit it (kernel.io_uring_disabled, or a container's filter)";
    case -ENOSYS: return "the kernel does not have it, or a container's filter hides it";
    case -ENOMEM:
        return "no memory for it may be locked (raise the limit with LimitMEMLOCK= or ulimit -l)";
    case -EOPNOTSUPP: return "the kernel's is too old (before 5.6)";
    default: return "the kernel refused to set it up";
    }
}

int uring_create(struct ev_loop *loop, struct job_pool *jobs, struct engine **out,
                 const char **reason)
{
    struct uring *uring = calloc(1, sizeof(*uring));
    int error = -ENOMEM;

    if (uring == NULL)
        goto out;
    error = ring_open(uring);
    if (error != 0)
        goto out;
    error = -EOPNOTSUPP;
    if (!ring_knows_all(&uring->ring))
        goto out_ring;
    uring->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    error = -errno;
    if (uring->event_fd < 0)
        goto out_ring;
    error = io_uring_register_eventfd(&uring->ring, uring->event_fd);
    if (error != 0)
        goto out_event_fd;
    error = runners_create(loop, jobs, runner_came, &uring->engine.runners);
    if (error != 0)
        goto out_event_fd;

    uring->engine.ops = &uring_ops;
    uring->loop = loop;
    io_queue_init(&uring->ready);
    ev_io_init(&uring->completed, completions_came, uring->event_fd, EV_READ);
    uring->completed.data = uring;
    ev_io_start(loop, &uring->completed);
    ev_prepare_init(&uring->turn, turn_is_over);
    ev_set_priority(&uring->turn, EV_MINPRI);
    uring->turn.data = uring;
    ev_prepare_start(loop, &uring->turn);
    ev_timer_init(&uring->retry, retry_is_due, 0., retry_seconds);
    *out = &uring->engine;
    return 0;

out_event_fd:
    close(uring->event_fd);
out_ring:
    io_uring_queue_exit(&uring->ring);
out:
    free(uring);
    *reason = why_refused(error);
    return error;
}
