#include "backing/file.h"

#include <errno.h>
#include <time.h>
#include <unistd.h>

enum {
    PIECE_BYTES_MIN = 1024 * 1024,
    /* Space is given back extent by extent, with the file locked: no more of it at a time. */
    DATA_PIECE_BYTES_MAX = 4 * 1024 * 1024,
    HOLE_PIECE_BYTES_MAX = 1024 * 1024 * 1024,
    PIECE_SHORT_NS = 500 * 1000,
    PIECE_LONG_NS = 2 * 1000 * 1000,
};

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Where the next data (or hole) begins, from `offset` on; `end` when there is none before it. */
static int seek(const struct backing *backing, int whence, uint64_t offset_bytes,
                uint64_t end_bytes, uint64_t *found_bytes)
{
    off_t at = lseek(backing->fd, (off_t)offset_bytes, whence);

    if (at < 0 && errno != ENXIO) /* ENXIO: nothing but a hole up to the end of the file */
        return -errno;
    *found_bytes = at < 0 ? end_bytes : least((uint64_t)at, end_bytes);
    return 0;
}

int backing_extent(const struct backing *backing, uint64_t offset_bytes,
                   struct backing_extent *extent)
{
    uint64_t size_bytes = backing_size_bytes(backing);
    uint64_t data_bytes = size_bytes, end_bytes = size_bytes;
    int error;

    if (offset_bytes >= size_bytes)
        return -EINVAL;
    if (backing->place.is_block_device) {
        *extent = (struct backing_extent){ .end_bytes = size_bytes, .is_data = true };
        return 0;
    }
    error = seek(backing, SEEK_DATA, offset_bytes, size_bytes, &data_bytes);
    if (error == 0 && data_bytes == offset_bytes)
        error = seek(backing, SEEK_HOLE, offset_bytes, size_bytes, &end_bytes);
    if (error == -EINVAL) { /* the file system knows no holes */
        *extent = (struct backing_extent){ .end_bytes = size_bytes, .is_data = true };
        return 0;
    }
    if (error != 0)
        return error;
    bool is_data = data_bytes == offset_bytes;
    *extent = (struct backing_extent){ .end_bytes = is_data ? end_bytes : data_bytes,
                                       .is_data = is_data };
    return 0;
}

int backing_discard_some(struct backing *backing, uint64_t offset_bytes, uint64_t len_bytes,
                         uint64_t budget_ns, uint64_t *done_bytes)
{
    uint64_t at_bytes = offset_bytes, end_bytes = offset_bytes + len_bytes;
    uint64_t piece_bytes = DATA_PIECE_BYTES_MAX, began_ns = now_ns(), was_ns = began_ns;
    struct backing_extent extent;

    *done_bytes = 0;
    while (at_bytes < end_bytes) {
        struct io io = { .op = IO_PUNCH, .backing = backing, .offset_bytes = at_bytes };
        uint64_t is_ns, max_bytes;
        int error = backing_extent(backing, at_bytes, &extent);

        if (error != 0)
            return error;
        /* Holes are punched too: they may be space that was reserved and not yet written. */
        max_bytes = extent.is_data ? DATA_PIECE_BYTES_MAX : HOLE_PIECE_BYTES_MAX;
        piece_bytes = least(piece_bytes, max_bytes);
        io.len_bytes = least(piece_bytes, least(extent.end_bytes, end_bytes) - at_bytes);
        backing_run(&io);
        if (io.result != 0)
            return io.result;
        at_bytes += io.len_bytes;
        *done_bytes = at_bytes - offset_bytes;
        is_ns = now_ns();
        if (is_ns - began_ns >= budget_ns)
            break;
        if (is_ns - was_ns < PIECE_SHORT_NS)
            piece_bytes = least(piece_bytes * 2, max_bytes);
        else if (is_ns - was_ns > PIECE_LONG_NS && piece_bytes > PIECE_BYTES_MIN)
            piece_bytes /= 2;
        was_ns = is_ns;
    }
    return 0;
}
