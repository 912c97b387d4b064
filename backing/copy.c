#include "backing/file.h"

#include <errno.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    CLONE_MAX_BYTES =
        64 * 1024 * 1024,             /* blocks change owners by the extent: about a millisecond */
    MOVE_MAX_BYTES = 4 * 1024 * 1024, /* a few milliseconds of a good disk */
    BOUNCE_BYTES = 256 * 1024,
};

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* ---- what a pair of images can do together ---- */

static bool is_known_to_lack(const _Atomic uint64_t *memory, const struct backing *source)
{
    return atomic_load_explicit(memory, memory_order_relaxed) == (uint64_t)source->place.device + 1;
}

static void remember_lack(_Atomic uint64_t *memory, const struct backing *source)
{
    atomic_store_explicit(memory, (uint64_t)source->place.device + 1, memory_order_relaxed);
}

/* True for ever of these two, whatever the range. */
static bool is_lack(int error)
{
    return error == -EOPNOTSUPP || error == -EXDEV || error == -ENOSYS || error == -ENOTTY;
}

static uint64_t distance(const struct backing_copy *copy)
{
    uint64_t from = copy->source_offset_bytes, to = copy->destination_offset_bytes;

    return from < to ? to - from : from - to;
}

static bool is_overlapping(const struct backing_copy *copy)
{
    return copy->source == copy->destination && distance(copy) < copy->len_bytes;
}

/* Onto bytes that are still to be read: then the end goes first. */
static bool is_backward(const struct backing_copy *copy)
{
    return is_overlapping(copy) && copy->destination_offset_bytes > copy->source_offset_bytes;
}

/* May blocks be shared, once the range is on their borders? */
static bool may_clone(const struct backing_copy *copy)
{
    uint32_t block_bytes = copy->destination->file_system_block_bytes;

    return block_bytes != 0 && copy->source->file_system_block_bytes == block_bytes &&
           !is_known_to_lack(&copy->destination->lacks_clone_from, copy->source) &&
           !is_overlapping(copy) && distance(copy) % block_bytes == 0;
}

void backing_copy_plan(const struct backing_copy *copy, struct backing_copy_part *part)
{
    uint64_t len_bytes = copy->len_bytes, ahead_bytes = 0;

    part->is_clone = false;
    part->len_bytes = least(len_bytes, MOVE_MAX_BYTES);
    if (may_clone(copy)) {
        uint32_t block_bytes = copy->destination->file_system_block_bytes;
        uint64_t beyond_bytes = copy->source_offset_bytes % block_bytes;

        if (beyond_bytes != 0) { /* up to the first border; whole blocks follow */
            part->len_bytes = least(part->len_bytes, block_bytes - beyond_bytes);
        } else if (len_bytes >= block_bytes) {
            part->is_clone = true;
            part->len_bytes = least(len_bytes - len_bytes % block_bytes, CLONE_MAX_BYTES);
        }
    }
    if (is_backward(copy))
        ahead_bytes = len_bytes - part->len_bytes;
    part->source_offset_bytes = copy->source_offset_bytes + ahead_bytes;
    part->destination_offset_bytes = copy->destination_offset_bytes + ahead_bytes;
}

/* ---- holes ---- */

/* What stands at a byte of [offset, end), and how far it goes on. What can't be told is data. */
static struct backing_extent extent_at(const struct backing *backing, uint64_t offset_bytes,
                                       uint64_t end_bytes)
{
    struct backing_extent extent;

    if (backing_extent(backing, offset_bytes, &extent) != 0 || extent.end_bytes <= offset_bytes)
        return (struct backing_extent){ .end_bytes = end_bytes, .is_data = true };
    extent.end_bytes = least(extent.end_bytes, end_bytes);
    return extent;
}

static bool is_hole(const struct backing *backing, uint64_t offset_bytes, uint64_t len_bytes)
{
    struct backing_extent extent = extent_at(backing, offset_bytes, offset_bytes + len_bytes);

    return !extent.is_data && extent.end_bytes == offset_bytes + len_bytes;
}

/* A hole takes the destination's data away, if there is any. */
static int put_hole(struct backing *backing, uint64_t offset_bytes, uint64_t len_bytes)
{
    struct io io = {
        .op = IO_PUNCH,
        .backing = backing,
        .offset_bytes = offset_bytes,
        .len_bytes = len_bytes,
    };

    if (is_hole(backing, offset_bytes, len_bytes))
        return 0;
    backing_run(&io);
    return io.result;
}

/* ---- the ways to copy ---- */

static int clone_part(const struct backing_copy *copy, const struct backing_copy_part *part)
{
    const struct file_clone_range range = {
        .src_fd = copy->source->fd,
        .src_offset = part->source_offset_bytes,
        .src_length = part->len_bytes,
        .dest_offset = part->destination_offset_bytes,
    };
    int result;

    do
        result = ioctl(copy->destination->fd, FICLONERANGE, &range);
    while (result < 0 && errno == EINTR);
    return result < 0 ? -errno : 0;
}

/* The kernel's way; *moved_bytes is how far it came, also on an error. */
static int move_in_kernel(const struct backing_copy *copy, uint64_t from, uint64_t to,
                          uint64_t len_bytes, uint64_t *moved_bytes)
{
    off_t in = (off_t)from, out = (off_t)to;

    *moved_bytes = 0;
    while (*moved_bytes < len_bytes) {
        ssize_t n = copy_file_range(copy->source->fd, &in, copy->destination->fd, &out,
                                    len_bytes - *moved_bytes, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        *moved_bytes += (uint64_t)n;
    }
    return 0;
}

/* Read all, then write all: for at most BOUNCE_BYTES. */
static int move_by_hand(struct backing_copy *copy, uint8_t *bounce, uint64_t from, uint64_t to,
                        uint64_t len_bytes)
{
    struct io io = {
        .op = IO_READ,
        .backing = copy->source,
        .bytes = bounce,
        .offset_bytes = from,
        .len_bytes = len_bytes,
    };

    backing_run(&io);
    if (io.result != 0) {
        copy->has_source_failed = true;
        return io.result;
    }
    io = (struct io){
        .op = IO_WRITE,
        .backing = copy->destination,
        .bytes = bounce,
        .offset_bytes = to,
        .len_bytes = len_bytes,
    };
    backing_run(&io);
    return io.result;
}

/* Data without holes; what the kernel can't do, or fails at, is done by hand, which tells who is to
 * blame. */
static int move_data(struct backing_copy *copy, uint8_t *bounce, uint64_t from, uint64_t to,
                     uint64_t len_bytes)
{
    uint64_t moved_bytes = 0;
    int error = 0;

    if (!copy->source->place.is_block_device && !copy->destination->place.is_block_device &&
        !is_known_to_lack(&copy->destination->lacks_copy_from, copy->source)) {
        error = move_in_kernel(copy, from, to, len_bytes, &moved_bytes);
        if (is_lack(error))
            remember_lack(&copy->destination->lacks_copy_from, copy->source);
        else if (error == -ENOSPC || error == -EDQUOT)
            return error;
    }
    for (error = 0; error == 0 && moved_bytes < len_bytes;) {
        uint64_t piece_bytes = least(len_bytes - moved_bytes, BOUNCE_BYTES);

        error = move_by_hand(copy, bounce, from + moved_bytes, to + moved_bytes, piece_bytes);
        moved_bytes += piece_bytes;
    }
    return error;
}

/* A piece that is as long as the bounce at most, so that it may overlap itself. */
static int move_piece(struct backing_copy *copy, uint8_t *bounce, uint64_t from, uint64_t to,
                      uint64_t len_bytes)
{
    if (is_hole(copy->source, from, len_bytes))
        return put_hole(copy->destination, to, len_bytes);
    return move_by_hand(copy, bounce, from, to, len_bytes);
}

static int move_overlapping(struct backing_copy *copy, uint8_t *bounce,
                            const struct backing_copy_part *part)
{
    bool is_from_behind = is_backward(copy);
    uint64_t left_bytes = part->len_bytes;
    int error = 0;

    while (error == 0 && left_bytes > 0) {
        uint64_t piece_bytes = least(left_bytes, BOUNCE_BYTES);
        uint64_t at = is_from_behind ? left_bytes - piece_bytes : part->len_bytes - left_bytes;

        error = move_piece(copy, bounce, part->source_offset_bytes + at,
                           part->destination_offset_bytes + at, piece_bytes);
        left_bytes -= piece_bytes;
    }
    return error;
}

static int move_apart(struct backing_copy *copy, uint8_t *bounce,
                      const struct backing_copy_part *part)
{
    uint64_t from = part->source_offset_bytes, end = from + part->len_bytes;
    uint64_t ahead = part->destination_offset_bytes; /* where `from` goes */
    int error = 0;

    while (error == 0 && from < end) {
        struct backing_extent extent = extent_at(copy->source, from, end);
        uint64_t len_bytes = extent.end_bytes - from;

        error = extent.is_data ? move_data(copy, bounce, from, ahead, len_bytes)
                               : put_hole(copy->destination, ahead, len_bytes);
        ahead += len_bytes;
        from += len_bytes;
    }
    return error;
}

/* A file that has shrunk behind our back ends in no hole. */
static bool is_source_there(const struct backing_copy *copy, const struct backing_copy_part *part)
{
    struct stat st;

    if (copy->source->place.is_block_device)
        return true;
    return fstat(copy->source->fd, &st) == 0 &&
           part->source_offset_bytes + part->len_bytes <= (uint64_t)st.st_size;
}

static int move_part(struct backing_copy *copy, const struct backing_copy_part *part)
{
    uint8_t *bounce;
    int error;

    if (!is_source_there(copy, part)) {
        copy->has_source_failed = true;
        return -EIO;
    }
    bounce = malloc(BOUNCE_BYTES);
    if (bounce == NULL)
        return -ENOMEM;
    error = is_overlapping(copy) ? move_overlapping(copy, bounce, part)
                                 : move_apart(copy, bounce, part);
    free(bounce);
    return error;
}

/* ---- a step ---- */

static bool is_inside(const struct backing *backing, uint64_t offset_bytes, uint64_t len_bytes)
{
    uint64_t size_bytes = backing_size_bytes(backing);

    return offset_bytes <= size_bytes && len_bytes <= size_bytes - offset_bytes;
}

static void take_off(struct backing_copy *copy, uint64_t done_bytes)
{
    if (!is_backward(copy)) {
        copy->source_offset_bytes += done_bytes;
        copy->destination_offset_bytes += done_bytes;
    }
    copy->len_bytes -= done_bytes;
}

int backing_copy_step(struct backing_copy *copy, const struct backing_copy_part *part)
{
    struct backing_copy_part moved = *part;
    int error;

    copy->has_source_failed = false;
    if (copy->destination->is_readonly)
        return -EROFS;
    if (!is_inside(copy->source, part->source_offset_bytes, part->len_bytes) ||
        !is_inside(copy->destination, part->destination_offset_bytes, part->len_bytes))
        return -EINVAL;
    holes_write(&copy->destination->holes, part->destination_offset_bytes, part->len_bytes);
    if (part->is_clone) {
        error = clone_part(copy, part);
        if (error == 0) {
            copy->cloned_bytes += part->len_bytes;
            take_off(copy, part->len_bytes);
            return 0;
        }
        if (is_lack(error))
            remember_lack(&copy->destination->lacks_clone_from, copy->source);
        if (error == -ENOSPC || error == -EDQUOT)
            return error;
        /* anything else may be a matter of this range: the bytes go, and tell what is wrong */
        moved.len_bytes = least(part->len_bytes, MOVE_MAX_BYTES);
    }
    error = move_part(copy, &moved);
    if (error != 0)
        return error;
    copy->moved_bytes += moved.len_bytes;
    take_off(copy, moved.len_bytes);
    return 0;
}
