/*
 * lu: a logical unit: an image with an identity, shared by every nexus that may see it.
 *
 * Thread    made, changed and closed by the main thread; used from every worker. What is _Atomic
 *           is read without a lock by every command; the rest that changes is under `mutex`, held
 *           for microseconds and never across I/O.
 * Ends      lu_close(), once no LUN map names it and no command is left (scsi_target_set_map()
 *           says when).
 */
#pragma once

#include "backing/backing.h"
#include "target/scsi/atomic_write.h"
#include "target/scsi/gate.h"
#include "target/scsi/identity.h"
#include "target/scsi/nexus.h"
#include "target/scsi/reservation.h"
#include "target/scsi/sanitize.h"
#include "target/scsi/thin.h"
#include "target/worker/worker.h"

enum cache_mode {
    CACHE_WRITEBACK,    /* WCE=1: GOOD means in the page cache */
    CACHE_WRITETHROUGH, /* WCE=0: GOOD means on stable storage */
};

struct persistent;

struct lu_options {
    struct backing *backing; /* taken over */
    struct identity identity;
    bool is_readonly, is_removable;
    enum cache_mode cache;
    uint16_t rotation_rpm;           /* VPD B1h: 1 is not rotating, 0 is not said */
    unsigned thin_threshold_percent; /* 0: none */
    const char *persistent_path;     /* where registrations are kept; NULL: nowhere, no APTPL */
    struct persistent *persistent;   /* those that were kept; taken over; NULL: none */
};

/* What one worker has counted; summed when somebody asks. */
struct lu_counters {
    _Atomic uint64_t reads, writes, read_bytes, written_bytes, others, errors, conflicts;
    _Atomic uint64_t ats_ok, ats_miscompare; /* COMPARE AND WRITE: who was first, who was not */
    _Atomic uint64_t clones, clones_failed, cloned_bytes; /* EXTENDED COPY's segments onto it */
} __attribute__((aligned(64)));

struct lu {
    struct identity identity;
    struct backing *backing;
    uint32_t block_bytes;
    uint8_t block_shift;
    _Atomic uint64_t blocks;
    bool is_readonly, is_removable;
    enum cache_mode cache;
    _Atomic uint16_t rotation_rpm;

    _Atomic bool reserved; /* lu_is_reserved(); kept by reservation_note() */
    /* by START STOP UNIT; for all nexuses, until the daemon ends */
    _Atomic bool is_stopped, is_ejected;
    /* By MODE SELECT (D_SENSE, SWP); for all nexuses. Not saved: a reset takes them back,
     * SPC-4 7.5.1. */
    _Atomic bool has_descriptor_sense, is_write_protected;
    _Atomic unsigned copies; /* EXTENDED COPY commands that were sent to it and are under way */
    _Atomic unsigned resets; /* counts them: what a reset discards, it need not look for */
    struct sanitize sanitize;
    struct thin thin;
    struct atomic_writes atomic_writes;
    _Atomic bool is_closing; /* no slice of a lu_job follows */
    unsigned jobs;           /* under way; under `mutex` */
    struct job_group slow;   /* the slow lane's work on its image */
    pthread_cond_t jobs_are_over;
    pthread_mutex_t mutex;
    LIST_HEAD(, itl) itls;
    struct reservation reservation;
    struct persistent
        *persistent;       /* NULL: nobody has registered. Replaced by persistent_update.c */
    char *persistent_path; /* its file; NULL: APTPL cannot be honoured */
    /* what every command adds to, away from what it only reads */
    struct gate gate __attribute__((aligned(64)));
    uint32_t mode_changes;
    struct lu_counters counters[WORKERS_MAX];
};

/*
 * 0, -ENOMEM, or -EINVAL (the image is no multiple of the block size, or has no block); on an error
 * what would be taken over stays the caller's.
 */
int lu_open(const struct lu_options *options, struct lu **out);
void lu_close(struct lu *lu); /* and its backing */

/* Has anybody reserved it or registered with it? If not, no command has a conflict. */
static inline bool lu_is_reserved(const struct lu *lu)
{
    return atomic_load_explicit(&lu->reserved, memory_order_acquire);
}

/* Why its medium cannot be reached: it is stopped, or not there; SENSE_NONE: it can. */
static inline enum sense_code lu_not_ready(const struct lu *lu)
{
    if (atomic_load_explicit(&lu->is_ejected, memory_order_relaxed))
        return SENSE_MEDIUM_NOT_PRESENT;
    return atomic_load_explicit(&lu->is_stopped, memory_order_relaxed) ? SENSE_STOPPED : SENSE_NONE;
}

/* The image has grown: tell what is served now, and raise CAPACITY DATA HAS CHANGED. */
void lu_capacity_changed(struct lu *lu);

/* What VPD B1h tells from now on. Raises INQUIRY DATA HAS CHANGED when it is another value. */
void lu_set_rotation(struct lu *lu, uint16_t rotation_rpm);

/* Sums over the workers. */
struct lu_statistics {
    uint64_t reads, writes, read_bytes, written_bytes, others, errors, conflicts;
    uint64_t ats_ok, ats_miscompare;
    uint64_t clones, clones_failed, cloned_bytes;
};
void lu_statistics(const struct lu *lu, struct lu_statistics *sum);
unsigned lu_nexus_count(struct lu *lu);

/* Its persistent reservations as they are now, to look at and free(). NULL: no memory. */
struct persistent *lu_persistent_copy(struct lu *lu);

/* Who holds a SCSI-2 reservation: fills the initiator port's name and answers true, or false. */
bool lu_reservation_holder(struct lu *lu, char port[INITIATOR_PORT_MAX + 1]);
