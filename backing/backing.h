/*
 * backing: where a logical unit's blocks live: a plain file or a block device.
 *
 * Thread    backing_open/close/resize/grow from one thread at a time (the daemon's main thread or
 * the slow lane; they can sleep on the disk). The try_ calls and a `struct io` from any thread.
 * Owns      the file descriptor and the lock on it. Freed by backing_close(), which the caller may
 *           call only when no io is under way.
 * Knows     bytes; nothing of blocks' sizes, SCSI, or who asks.
 *
 * Every transfer is whole or an error: short reads and writes and EINTR are gone on with inside.
 * A read beyond the end of a file that shrank behind our back is -EIO, never made-up zeros; what is
 * known to have been a hole stays one.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

struct backing;

struct backing_options {
    const char *path;
    uint64_t size_bytes; /* 0: as large as the image is; it must then exist */
    bool is_readonly;
    bool is_new_allowed; /* make a sparse file of size_bytes when there is none */
};

/* Text for a person, filled on an error: what is wrong with which path, and what to do. */
struct backing_error {
    char text[512];
};

/*
 * Opens (or makes) the image. The image must be a regular file or a block device and at least
 * size_bytes long; a larger file is taken as it is and served to size_bytes. An exclusive lock
 * (a shared one when read-only) keeps a second daemon off it.
 * 0, or a negative errno with *error filled: -ENOENT, -ENOTDIR, -EACCES, -EBUSY (locked), -EFBIG
 * (smaller than declared), -ENODEV (a folder, a pipe...), -ENOSPC, -EROFS...
 */
int backing_open(const struct backing_options *options, struct backing **out,
                 struct backing_error *error);
void backing_close(struct backing *backing);

uint64_t backing_size_bytes(const struct backing *backing); /* what is served */
const char *backing_path(const struct backing *backing);
bool backing_is_readonly(const struct backing *backing);

/* What tells an image from all others: a file's place, or which device it is. */
struct backing_place {
    bool is_block_device;
    dev_t device; /* of the file system, or the block device itself */
    ino_t inode;  /* 0 for a block device */
};

/* Where a path leads to: by a link, a bind mount, another name of the device. 0 or -errno. */
int backing_place(const char *path, struct backing_place *place);
bool backing_is_at(const struct backing *backing, const struct backing_place *place);

/*
 * Bytes that the file occupies, and what the file system can still give; for status and thresholds.
 * A block device is all allocated, and what it can still give isn't known: UINT64_MAX.
 */
struct backing_usage {
    uint64_t allocated_bytes, free_bytes;
};
int backing_usage(const struct backing *backing, struct backing_usage *usage);

/* Grows what is served to size_bytes (the file is extended sparsely). Never shrinks: -EINVAL. */
int backing_grow(struct backing *backing, uint64_t size_bytes, struct backing_error *error);

/*
 * Inline transfers, for what the page cache holds, and reads of holes that are known: all the bytes
 * at once, or -EAGAIN when that could sleep (hand an io to the engine then), or another negative
 * errno. Never blocks on a disk. Where an image may have holes, the first read of each part says
 * -EAGAIN, and the engine asks (holes.h). A file that does not know RWF_NOWAIT is remembered: reads
 * of tmpfs, which cannot sleep, go on inline; anything else says -EAGAIN from then on.
 */
int backing_try_read(struct backing *backing, const struct iovec *iov, int iov_count,
                     uint64_t offset_bytes);
int backing_try_write(struct backing *backing, const struct iovec *iov, int iov_count,
                      uint64_t offset_bytes);

/*
 * Is all of a range in the page cache, so that sending it does not sleep on a disk? false also when
 * nobody can tell. It is a look: what memory pressure takes a moment later is waited for.
 */
bool backing_is_cached(struct backing *backing, uint64_t offset_bytes, uint32_t len_bytes);

/*
 * Sends a range to a non-blocking socket without copying it: the pages themselves are lent to the
 * socket, so that a later write to them may change what the peer gets. How many bytes went, at
 * least one, or -EAGAIN: the socket is full; -EIO: the file ends there; another negative errno.
 */
int64_t backing_send(const struct backing *backing, int socket, uint64_t offset_bytes,
                     uint32_t len_bytes);

/* Tells the kernel to bring a range into the page cache; may sleep on the disk. 0 or -errno. */
int backing_will_need(struct backing *backing, uint64_t offset_bytes, uint64_t len_bytes);

/*
 * What stands at a byte: data or a hole, and up to where it goes on being that. May sleep on the
 * disk. 0, or a negative errno. What cannot be told is data.
 */
struct backing_extent {
    uint64_t end_bytes; /* of the image at most */
    bool is_data;
};
int backing_extent(const struct backing *backing, uint64_t offset_bytes,
                   struct backing_extent *extent);

/*
 * Makes a range read as zeros and gives its space back, in pieces, until it is done or the time is
 * up (at least one piece): how far it came stands in *done_bytes, on an error too. Sleeps on the
 * disk.
 */
int backing_discard_some(struct backing *backing, uint64_t offset_bytes, uint64_t len_bytes,
                         uint64_t budget_ns, uint64_t *done_bytes);

enum io_op {
    IO_READ,
    IO_WRITE,
    IO_FLUSH, /* fdatasync: everything that was answered before is on stable storage */
    IO_ZERO,  /* [offset, offset + len) reads as zeros, still allocated or not as the disk likes */
    IO_PUNCH, /* the same, and its space is given back */
    IO_OP_COUNT,
};

/*
 * One asynchronous transfer. The caller owns it and its memory; both must stay until done() runs,
 * on the thread of the engine that it was submitted to, never before engine_submit() has returned.
 */
struct io {
    enum io_op op;
    bool is_durable; /* what changes data: done only when on stable storage (FUA, writethrough) */
    struct backing *backing;
    void *bytes; /* IO_READ, IO_WRITE */
    uint64_t len_bytes;
    uint64_t offset_bytes;
    void (*done)(struct io *io);
    int result; /* 0, or a negative errno, when done() runs */

    struct { /* the engine's own */
        struct io *next;
        struct engine *engine;
        uint64_t moved_bytes;
        unsigned failed_syncs;
        uint8_t step, retries;
        bool is_in_lane, is_sync_made; /* see runners.h */
    } engine;
};

/* Runs one io to its end on the calling thread and leaves io->result; for the thread engine and
 * tests. */
void backing_run(struct io *io);

/*
 * A copy of a range to another image or within one, step by step; each step can sleep on the disk
 * and is bounded (for the slow lane). Where ranges of one image overlap the result is as if all had
 * been read before anything is written. Holes stay holes, and where the file system can it shares
 * the blocks instead of moving bytes. Nothing is on stable storage before an IO_FLUSH.
 *
 * The caller fills in the first part, then, until len_bytes is 0: backing_copy_plan(), which tells
 * what the step will touch at most, and backing_copy_step(), which takes what it did off the range.
 */
struct backing_copy {
    struct backing *source, *destination;
    uint64_t source_offset_bytes, destination_offset_bytes, len_bytes; /* what is left */

    uint64_t cloned_bytes, moved_bytes; /* of what is done: shared, and read and written */
    bool has_source_failed;             /* on an error: it was reading that failed */
};
struct backing_copy_part {
    uint64_t source_offset_bytes, destination_offset_bytes, len_bytes;
    bool is_clone; /* the file system is asked to share the blocks */
};
void backing_copy_plan(const struct backing_copy *copy, struct backing_copy_part *part);
/* 0, or a negative errno. */
int backing_copy_step(struct backing_copy *copy, const struct backing_copy_part *part);

/*
 * How often the disk has failed to keep what was written. The kernel tells it to one sync only:
 * whoever writes now and flushes later has lost data when this number changed in between.
 */
unsigned backing_failed_syncs(const struct backing *backing);
