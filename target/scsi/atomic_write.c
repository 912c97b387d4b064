#include "target/scsi/atomic_write.h"

#include "target/scsi/command.h"
#include "target/scsi/medium.h"
#include "target/scsi/nexus.h"
#include "target/worker/log.h"

#include <errno.h>

#define CONTAINER_OF(pointer, type, member)                                                        \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

/* The smallest page of any machine: a write() looks for a fatal signal between two pages only. */
enum { PAGE_BYTES = 4096, NO_SLOT = JOURNAL_SLOTS };

bool atomic_write_is_simple(uint64_t offset_bytes, uint64_t len_bytes)
{
    return offset_bytes % PAGE_BYTES + len_bytes <= PAGE_BYTES;
}

static struct lu *lu_of(const struct atomic_write *write)
{
    return write->medium->command->lu;
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

static void write_run(struct slow_job *job)
{
    struct atomic_write *write = CONTAINER_OF(job, struct atomic_write, job);
    struct lu *lu = lu_of(write);
    struct io *io = &write->medium->io;
    /* Without the mutex: nobody else has a slot as long as there is none. */
    int error = lu->atomic_writes.journal ? 0 : journal_need(lu);

    io->result = error ? error : journal_write(lu->atomic_writes.journal, write->slot, io);
}

/* ---- on a worker ---- */

static void write_start(struct atomic_write *write)
{
    worker_slow(write->medium->command->nexus->worker, &lu_of(write)->slow, &write->job);
}

/* Gives the slot to who has waited longest; more of them may go when the journal has just come. */
static void slot_leave(struct atomic_writes *all, unsigned slot)
{
    struct atomic_write *write;

    pthread_mutex_lock(&all->mutex);
    all->used &= ~(1u << slot);
    while ((write = TAILQ_FIRST(&all->waiting))) {
        write->slot = slot_take(all);
        if (write->slot == NO_SLOT)
            break;
        TAILQ_REMOVE(&all->waiting, write, link);
        write_start(write);
    }
    pthread_mutex_unlock(&all->mutex);
}

static void write_done(struct slow_job *job)
{
    struct atomic_write *write = CONTAINER_OF(job, struct atomic_write, job);
    struct medium *medium = write->medium;
    struct command *command = medium->command;

    slot_leave(&command->lu->atomic_writes, write->slot);
    medium->next(medium);
    command_unpin(command);
}

void atomic_write_submit(struct atomic_write *write, struct medium *medium,
                         void (*next)(struct medium *medium))
{
    struct command *command = medium->command;
    struct atomic_writes *all = &command->lu->atomic_writes;

    if (atomic_write_is_simple(medium->io.offset_bytes, medium->io.len_bytes))
        return medium_submit(medium, next);
    medium->next = next;
    medium->io.backing = command->lu->backing;
    *write = (struct atomic_write){
        .medium = medium,
        .job = {.run = write_run, .done = write_done},
    };
    command_pin(command);
    pthread_mutex_lock(&all->mutex);
    write->slot = slot_take(all);
    if (write->slot == NO_SLOT)
        TAILQ_INSERT_TAIL(&all->waiting, write, link);
    else
        write_start(write);
    pthread_mutex_unlock(&all->mutex);
}
