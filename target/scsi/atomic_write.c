#include "target/scsi/atomic_write.h"

#include "target/scsi/command.h"
#include "target/scsi/medium.h"
#include "target/scsi/nexus.h"
#include "target/worker/log.h"

#include <errno.h>

/* The smallest page of any machine: a write() looks for a fatal signal between two pages only. */
enum { PAGE_BYTES = 4096, NO_SLOT = JOURNAL_SLOTS };

bool atomic_write_is_simple(uint64_t offset_bytes, uint64_t len_bytes)
{
    return offset_bytes % PAGE_BYTES + len_bytes <= PAGE_BYTES;
}

/* Under the mutex. Whoever is first opens the journal, and until then there is but one slot. */
static unsigned slot_take(struct atomic_writes *all)
{
    unsigned slots = all->journal ? JOURNAL_SLOTS : 1;

    for (unsigned slot = 0; slot < slots; slot++) {
        if (!(all->used & 1u << slot)) {
            all->used |= 1u << slot;
            return slot;
        }
    }
    return NO_SLOT;
}

/* ---- on the slow lane ---- */

static int journal_need(struct lu *lu)
{
    struct atomic_writes *all = &lu->atomic_writes;
    char error[JOURNAL_ERROR_MAX];
    struct journal *journal;
    int number = journal_open(lu->backing, lu->identity.naa, &journal, error);

    if (number) {
        log_peer("%s", error);
        return number;
    }
    pthread_mutex_lock(&all->mutex);
    all->journal = journal;
    pthread_mutex_unlock(&all->mutex);
    return 0;
}

/* Gives the slot to who has waited longest; more of them may go when the journal has just come. */
static void slot_leave(struct atomic_writes *all, unsigned slot)
{
    struct submitted_io *write;

    pthread_mutex_lock(&all->mutex);
    all->used &= ~(1u << slot);
    while ((write = TAILQ_FIRST(&all->waiting))) {
        write->journal.slot = slot_take(all);
        if (write->journal.slot == NO_SLOT)
            break;
        TAILQ_REMOVE(&all->waiting, write, journal.link);
        submitted_start_slow(write);
    }
    pthread_mutex_unlock(&all->mutex);
}

static void write_run(struct submitted_io *write)
{
    struct atomic_writes *all = &write->lu->atomic_writes;
    /* Without the mutex: nobody else has a slot as long as there is none. */
    int error = all->journal ? 0 : journal_need(write->lu);

    write->io.result = error ? error : journal_write(all->journal, write->journal.slot, &write->io);
    slot_leave(all, write->journal.slot);
}

/* ---- on a worker ---- */

void atomic_write_submit(struct medium *medium, void (*next)(struct medium *medium))
{
    struct atomic_writes *all = &medium->command->lu->atomic_writes;
    struct submitted_io *write;

    if (atomic_write_is_simple(medium->io.offset_bytes, medium->io.len_bytes))
        return medium_submit(medium, next);
    write = medium_prepare_slow(medium, write_run, next);
    if (write == NULL)
        return next(medium);
    pthread_mutex_lock(&all->mutex);
    write->journal.slot = slot_take(all);
    if (write->journal.slot == NO_SLOT)
        TAILQ_INSERT_TAIL(&all->waiting, write, journal.link);
    else
        submitted_start_slow(write);
    pthread_mutex_unlock(&all->mutex);
}
