/*
 * transfer: a `struct io` as the system calls that it takes, one after the other.
 *
 * An engine asks for the next call, makes it in its own way, and gives the result back, until the
 * transfer says that it is over. So short transfers, EINTR, and what a file system can't do are
 * handled here once. One thread at a time for one io.
 */
#pragma once

#include "backing/backing.h"

enum call_kind {
    CALL_NOTHING, /* to make no call at all: the result is known */
    CALL_READ,
    CALL_WRITE,
    CALL_SYNC_DATA,
    CALL_FALLOCATE,
};

struct call {
    enum call_kind kind;
    int fd;
    int flags; /* CALL_WRITE: RWF_...; CALL_FALLOCATE: FALLOC_FL_... */
    void *bytes;
    uint64_t len_bytes; /* fits 32 bits unless CALL_FALLOCATE */
    uint64_t offset_bytes;
};

/*
 * A durable write is one call that writes and syncs, unless the caller groups_syncs: then it is a
 * write and, when that is done, a sync which one call can do for many.
 */
void transfer_begin(struct io *io, bool groups_syncs);
void transfer_next(const struct io *io, struct call *call);

/* `result` as the kernel gives it: a count or a negative errno. True when io->result is set. */
bool transfer_went(struct io *io, int64_t result);

/* The next call is CALL_SYNC_DATA. */
bool transfer_is_sync(const struct io *io);

/* The next call writes to a regular file what the io brought. */
bool transfer_is_file_write(const struct io *io);

/* The next call asks the file system whether there is anything to read (holes.h): it needs a
 * thread, and transfer_call(). Its result is 1 when all reads as zeros; said to be 0, the read goes
 * on. */
bool transfer_is_look(const struct io *io);

/* Makes the next call on the calling thread; its result is for transfer_went(). */
int64_t transfer_call(const struct io *io);

/* The calls on the calling thread until it is over, or, then transfer_is_sync(), the next is a
 * sync. */
void transfer_run_to_sync(struct io *io);
