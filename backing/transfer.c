#include "backing/transfer.h"

#include "backing/file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <string.h>
#include <unistd.h>

enum {
    CALL_MAX_BYTES = 1024 * 1024 * 1024, /* what a call moves at most; the kernel stops at 2 GiB */
    ZEROS_BYTES = 256 * 1024,
    RETRIES_MAX = 64,
};

enum step {
    STEP_NOTHING,
    STEP_LOOK,
    STEP_READ,
    STEP_WRITE,
    STEP_WRITE_DURABLE, /* RWF_DSYNC: written and on stable storage in one call */
    STEP_PUNCH,
    STEP_ZERO_RANGE,
    STEP_WRITE_ZEROS,
    STEP_SYNC,
};

/* Never written to; where a disk can't zero by itself. Not const, so that it takes no room in the
 * file. */
static uint8_t zeros[ZEROS_BYTES] __attribute__((aligned(4096)));

static bool changes_data(enum io_op op)
{
    return op == IO_WRITE || op == IO_ZERO || op == IO_PUNCH;
}

/* The best way to zero that is left after `after`; the last is to write zeros. */
static enum step way_to_zero(const struct io *io, enum step after)
{
    static const enum step ways[2][3] = {
        {STEP_ZERO_RANGE, STEP_PUNCH,      STEP_WRITE_ZEROS},
        { STEP_PUNCH,     STEP_ZERO_RANGE, STEP_WRITE_ZEROS},
    };
    const enum step *way = ways[io->op == IO_PUNCH];
    const struct backing *backing = io->backing;
    int i = 0;

    if (after != STEP_NOTHING)
        while (way[i++] != after)
            continue;
    for (; way[i] != STEP_WRITE_ZEROS; i++) {
        if (way[i] == STEP_PUNCH ? !backing->lacks_punch : !backing->lacks_zero_range)
            break;
    }
    return way[i];
}

static enum step way_to_read(const struct io *io)
{
    struct holes *holes = &io->backing->holes;

    return holes_answer(holes, io->offset_bytes, io->len_bytes) == HOLES_UNASKED &&
                   holes_begin_look(holes)
               ? STEP_LOOK
               : STEP_READ;
}

static enum step first_step(const struct io *io, bool groups_syncs)
{
    switch (io->op) {
    case IO_READ: return way_to_read(io);
    case IO_WRITE:
        return io->is_durable && !groups_syncs && !io->backing->lacks_dsync ? STEP_WRITE_DURABLE
                                                                            : STEP_WRITE;
    case IO_FLUSH: return STEP_SYNC;
    case IO_ZERO:
    case IO_PUNCH: return way_to_zero(io, STEP_NOTHING);
    case IO_OP_COUNT: break;
    }
    return STEP_NOTHING;
}

/* A transfer outside of what is served would make the file grow, or read another's data on a
 * device. */
static int check(const struct io *io)
{
    uint64_t size_bytes = backing_size_bytes(io->backing);

    if (io->op >= IO_OP_COUNT)
        return -EINVAL;
    if (changes_data(io->op) && io->backing->is_readonly)
        return -EROFS;
    if (io->op != IO_FLUSH &&
        (io->offset_bytes > size_bytes || io->len_bytes > size_bytes - io->offset_bytes))
        return -EINVAL;
    return 0;
}

void transfer_begin(struct io *io, bool groups_syncs)
{
    bool is_empty = io->op == IO_FLUSH ? io->backing->is_readonly : io->len_bytes == 0;

    io->engine.moved_bytes = 0;
    io->engine.retries = 0;
    io->engine.failed_syncs = io->backing->failed_syncs;
    io->result = check(io);
    if (io->result == 0 && io->op == IO_WRITE)
        holes_write(&io->backing->holes, io->offset_bytes, io->len_bytes);
    io->engine.step =
        (uint8_t)(io->result != 0 || is_empty ? STEP_NOTHING : first_step(io, groups_syncs));
}

void transfer_next(const struct io *io, struct call *call)
{
    uint64_t left_bytes = io->len_bytes - io->engine.moved_bytes;

    *call = (struct call){
        .fd = io->backing->fd,
        .bytes = io->bytes,
        .offset_bytes = io->offset_bytes,
        .len_bytes = io->len_bytes,
    };
    switch ((enum step)io->engine.step) {
    case STEP_NOTHING:
    case STEP_LOOK: call->kind = CALL_NOTHING; break;
    case STEP_READ:
    case STEP_WRITE:
    case STEP_WRITE_DURABLE:
        call->kind = io->engine.step == STEP_READ ? CALL_READ : CALL_WRITE;
        call->flags = io->engine.step == STEP_WRITE_DURABLE ? RWF_DSYNC : 0;
        call->bytes = (uint8_t *)io->bytes + io->engine.moved_bytes;
        call->offset_bytes += io->engine.moved_bytes;
        call->len_bytes = left_bytes < CALL_MAX_BYTES ? left_bytes : CALL_MAX_BYTES;
        break;
    case STEP_PUNCH:
        call->kind = CALL_FALLOCATE;
        call->flags = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
        break;
    case STEP_ZERO_RANGE:
        call->kind = CALL_FALLOCATE;
        call->flags = FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE;
        break;
    case STEP_WRITE_ZEROS:
        call->kind = CALL_WRITE;
        call->bytes = zeros;
        call->offset_bytes += io->engine.moved_bytes;
        call->len_bytes = left_bytes < ZEROS_BYTES ? left_bytes : ZEROS_BYTES;
        break;
    case STEP_SYNC: call->kind = CALL_SYNC_DATA; break;
    }
}

static bool over(struct io *io, int result)
{
    io->result = result;
    return true;
}

static bool syncs(enum step step)
{
    return step == STEP_SYNC || step == STEP_WRITE_DURABLE;
}

/* All of its data is where the step put it; is more asked for? */
static bool data_went(struct io *io)
{
    if (io->is_durable && changes_data(io->op) && !syncs(io->engine.step)) {
        io->engine.step = STEP_SYNC;
        return false;
    }
    /*
     * The kernel tells a failed write-back to one fsync of a file only, and marks the pages clean.
     * So whoever was waiting for stable storage at that time is told as well.
     */
    if (syncs(io->engine.step) && io->engine.failed_syncs != io->backing->failed_syncs)
        return over(io, -EIO);
    return over(io, 0);
}

static bool failed(struct io *io, int error)
{
    struct backing *backing = io->backing;
    enum step step = io->engine.step;

    if (error == -EINTR)
        return false;
    if (error == -EAGAIN && io->engine.retries < RETRIES_MAX) {
        io->engine.retries++;
        return false;
    }
    if (step == STEP_WRITE_DURABLE && error == -EOPNOTSUPP) {
        backing->lacks_dsync = true;
        io->engine.step = STEP_WRITE;
        return false;
    }
    if (step == STEP_PUNCH || step == STEP_ZERO_RANGE) {
        /* a device with sectors larger than this range says EINVAL, to this range only */
        if (error == -EOPNOTSUPP && step == STEP_PUNCH)
            backing->lacks_punch = true;
        else if (error == -EOPNOTSUPP)
            backing->lacks_zero_range = true;
        if (error == -EOPNOTSUPP || (error == -EINVAL && backing->place.is_block_device)) {
            io->engine.step = (uint8_t)way_to_zero(io, step);
            return false;
        }
    }
    if (syncs(step))
        backing->failed_syncs++;
    return over(io, error);
}

bool transfer_went(struct io *io, int64_t result)
{
    switch ((enum step)io->engine.step) {
    case STEP_NOTHING: return true;
    case STEP_LOOK:
        holes_end_look(&io->backing->holes);
        if (result) {
            memset(io->bytes, 0, io->len_bytes);
            return over(io, 0);
        }
        io->engine.step = STEP_READ;
        return false;
    case STEP_READ:
    case STEP_WRITE:
    case STEP_WRITE_DURABLE:
    case STEP_WRITE_ZEROS:
        if (result < 0)
            return failed(io, (int)result);
        if (result == 0)
            return over(io, -EIO); /* the file ends before it should */
        io->engine.moved_bytes += (uint64_t)result;
        if (io->engine.moved_bytes < io->len_bytes)
            return false;
        return data_went(io);
    case STEP_PUNCH:
    case STEP_ZERO_RANGE:
    case STEP_SYNC:
        if (result < 0)
            return failed(io, (int)result);
        return data_went(io);
    }
    return over(io, -EINVAL);
}

bool transfer_is_sync(const struct io *io)
{
    return io->engine.step == STEP_SYNC;
}

bool transfer_is_look(const struct io *io)
{
    return io->engine.step == STEP_LOOK;
}

bool transfer_is_file_write(const struct io *io)
{
    return io->engine.step == STEP_WRITE && !io->backing->place.is_block_device;
}

static int64_t call_make(const struct call *call)
{
    struct iovec iov = { .iov_base = call->bytes, .iov_len = call->len_bytes };
    ssize_t n = 0;

    switch (call->kind) {
    case CALL_NOTHING: return 0;
    case CALL_READ:
        n = pread(call->fd, call->bytes, call->len_bytes, (off_t)call->offset_bytes);
        break;
    case CALL_WRITE: n = pwritev2(call->fd, &iov, 1, (off_t)call->offset_bytes, call->flags); break;
    case CALL_SYNC_DATA: n = fdatasync(call->fd); break;
    case CALL_FALLOCATE:
        n = fallocate(call->fd, call->flags, (off_t)call->offset_bytes, (off_t)call->len_bytes);
        break;
    }
    return n < 0 ? -errno : n;
}

/* Whether the file system knows RWF_NOWAIT is learned by a write that has a thread anyway. */
static int64_t write_and_ask(struct backing *backing, struct call *call)
{
    struct call asking = *call;
    int64_t result;

    asking.flags |= RWF_NOWAIT;
    result = call_make(&asking);
    if (result == -EOPNOTSUPP)
        atomic_store_explicit(&backing->lacks_nowait_write, true, memory_order_relaxed);
    else if (result >= 0 || result == -EAGAIN)
        atomic_store_explicit(&backing->knows_nowait_write, true, memory_order_relaxed);
    return result == -EOPNOTSUPP || result == -EAGAIN ? call_make(call) : result;
}

int64_t transfer_call(const struct io *io)
{
    struct backing *backing = io->backing;
    struct call call;

    if (transfer_is_look(io))
        return holes_look(&backing->holes, backing->fd, backing_size_bytes(backing),
                          io->offset_bytes, io->len_bytes) == HOLES_EMPTY;
    transfer_next(io, &call);
    if (transfer_is_file_write(io) &&
        !atomic_load_explicit(&backing->lacks_nowait_write, memory_order_relaxed) &&
        !atomic_load_explicit(&backing->knows_nowait_write, memory_order_relaxed))
        return write_and_ask(backing, &call);
    return call_make(&call);
}

void transfer_run_to_sync(struct io *io)
{
    while (!transfer_is_sync(io) && !transfer_went(io, transfer_call(io)))
        continue;
}

void backing_run(struct io *io)
{
    transfer_begin(io, false);
    while (!transfer_went(io, transfer_call(io)))
        continue;
}
