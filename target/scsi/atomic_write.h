/*
 * atomic_write: a write that is all or nothing, whatever ends the daemon.
 *
 * What crosses no page is one write, and no kill cuts it. What does goes through the unit's journal
 * (journal.h), on the slow lane. Its slots are few: who finds none free waits in order, and blocks
 * no thread.
 *
 * The medium is held (GATE_EXCLUSIVE) from before atomic_write_submit() until next() runs.
 */
#pragma once

#include "target/scsi/journal.h"
#include "target/worker/worker.h"

struct medium;
struct submitted_io;

/* A unit's. Zeroed before it is opened. */
struct atomic_writes {
    pthread_mutex_t mutex;
    struct journal *journal; /* NULL: not needed so far. Set once, by who holds slot 0 */
    unsigned used;           /* a bit a slot */
    TAILQ_HEAD(, submitted_io) waiting;
};

/* Here, so that a unit can be opened without the device server's commands. */
static inline void atomic_writes_open(struct atomic_writes *all)
{
    pthread_mutex_init(&all->mutex, NULL);
    TAILQ_INIT(&all->waiting);
}

/* Nothing is under way. */
static inline void atomic_writes_close(struct atomic_writes *all)
{
    journal_close(all->journal);
    pthread_mutex_destroy(&all->mutex);
}

/* Does one write() of this do, inline or by the engine? */
bool atomic_write_is_simple(uint64_t offset_bytes, uint64_t len_bytes);

/* Like medium_submit(), of an IO_WRITE. Perhaps next() runs before this returns, with -ENOMEM. */
void atomic_write_submit(struct medium *medium, void (*next)(struct medium *medium));
