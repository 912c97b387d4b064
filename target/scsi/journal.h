/*
 * journal: what makes a write of several pages all or nothing, kept beside its image as
 * IMAGE.nestor-journal.
 *
 * SIGKILL cuts a write() into the page cache between two pages, and a power loss cuts it anywhere.
 * So such a write goes into a slot of the journal first, whole and with a checksum, then to its
 * place, and then the slot is freed. What a nestord that was killed has left is looked at before
 * the image is served again: a slot that is whole is written to its place once more, which may be
 * done any number of times; a slot that is torn is dropped, since its write was never begun in
 * place.
 *
 * The caller keeps everybody else off the range (GATE_EXCLUSIVE) from before the slot is filled
 * until it is freed. So no later write can be undone by replaying an earlier one, and no two slots
 * in use overlap: the order in which they are replayed is of no importance.
 *
 * Power loss. A durable write (writethrough, FUA) waits for stable storage three times: for its
 * slot, for its place, and for the slot to be free; the last one so that a later write, answered
 * as durable too, can't be undone by a slot that stands on the disk as if it were in use. A write
 * that is not durable waits for nothing, and after a power loss the disk may hold any mix of old
 * and new pages of the journal. Its slot therefore names the boot of the machine that it was
 * filled in, and counts only as long as that goes on: then the page cache is as it was left.
 *
 * Thread    any that may sleep on a disk: the slow lane, or the main thread. Different slots at the
 *           same time.
 * Owns      the journal's file and the lock on it.
 */
#pragma once

#include "backing/backing.h"
#include "target/scsi/identity.h"
#include "target/scsi/limits.h"

#include <limits.h>
#include <stdatomic.h>

enum {
    JOURNAL_SLOTS = 8,
    JOURNAL_HEADER_BYTES = 4096, /* a page: freeing a slot is never cut */
    JOURNAL_SLOT_BYTES = JOURNAL_HEADER_BYTES + LIMIT_ATOMIC_BYTES,
    JOURNAL_BYTES = JOURNAL_HEADER_BYTES + JOURNAL_SLOTS * JOURNAL_SLOT_BYTES,
    JOURNAL_BOOT_BYTES = 36,
    JOURNAL_ERROR_MAX = 512,
};

struct journal {
    struct backing *file;
    uint8_t boot[JOURNAL_BOOT_BYTES]; /* which boot of which machine this is */
    bool knows_boot;                  /* false: every write is made durable */
    atomic_bool is_lost; /* a slot could not be freed, and the file is removed for that */
};

/*
 * Finishes what the image's journal holds; fine when there is none. Before the image is served.
 * 0; -EEXIST (unfinished writes of another image), -EBADMSG (damaged), or another negative errno:
 * *error says it to a person, and nothing has been written.
 */
int journal_replay(struct backing *image, const uint8_t naa[IDENTITY_NAA_BYTES],
                   char error[JOURNAL_ERROR_MAX]);

/* Makes it when it is not there; what it holds was replayed before. 0, or a negative errno. */
int journal_open(const struct backing *image, const uint8_t naa[IDENTITY_NAA_BYTES],
                 struct journal **out, char error[JOURNAL_ERROR_MAX]);
void journal_close(struct journal *journal); /* fine with NULL */

/* `io`: an IO_WRITE of at most LIMIT_ATOMIC_BYTES. Runs it all or nothing. 0, or a negative errno.
 */
int journal_write(struct journal *journal, unsigned slot, struct io *io);

/* Its first step: fills the slot. 0, or a negative errno and the slot is torn, or free. */
int journal_put(struct journal *journal, unsigned slot, const struct io *io);

/*
 * For a sanitize operation: overwrites what its writes have left in free slots, on stable storage.
 * `journal`: NULL when the image's is not open; fine when there is none. No slot is in use. 0, or a
 * negative errno.
 */
int journal_wipe(const struct backing *image, struct journal *journal);

/* IMAGE.nestor-journal, beside the image itself where a link leads to it; that of a block device
 * beside the path as given. 0, or a negative errno. */
int journal_path(const struct backing *image, char path[PATH_MAX]);
