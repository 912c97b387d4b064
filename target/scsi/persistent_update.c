#include "target/scsi/persistent_update.h"

#include "target/scsi/persistent_file.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define UPDATE_OF(pointer, member)                                                                 \
    ((struct persistent_update *)(void *)((char *)(pointer)-offsetof(struct persistent_update,     \
                                                                     member)))

static void finish(struct persistent_update *update)
{
    free(update->change.next); /* it was not installed */
    update->change.next = NULL;
    if (update->is_abandoned)
        free(update);
    else
        update->done(update);
}

static void leave(struct persistent_update *update)
{
    gate_leave(&update->hold);
    finish(update);
}

/* ---- the tasks of those who were preempted ---- */

static bool is_victim(const struct drain *drain, const struct itl *itl)
{
    const struct persistent_update *update = UPDATE_OF(drain, drain);

    if (itl->lu != update->lu)
        return false;
    for (unsigned i = 0; i < update->victim_count; i++)
        if (update->victims[i] == itl->nexus->id)
            return true;
    return false;
}

static void share_is_dead(struct drain *drain, struct worker *worker)
{
    (void)worker;
    broadcast_arrive(&UPDATE_OF(drain, drain)->broadcast);
}

static void abort_share(struct broadcast *broadcast, struct worker *worker)
{
    drain_start(&UPDATE_OF(broadcast, broadcast)->drain, worker);
}

static void all_dead(struct broadcast *broadcast)
{
    finish(UPDATE_OF(broadcast, broadcast));
}

/*
 * SPC-4 5.13.11.2.6. Posted before the gate is left: what waits there for one of the victims hears
 * of its end before it could be let in.
 */
static void abort_victims(struct persistent_update *update)
{
    update->drain = (struct drain){ .affects = is_victim, .drained = share_is_dead };
    update->broadcast.each = abort_share;
    update->broadcast.done = all_dead;
    update->broadcast.home = &update->worker->mailbox;
    update->step = UPDATE_IS_DONE;
    workers_broadcast(update->worker->group, &update->broadcast);
    gate_leave(&update->hold);
}

/* ---- installing the next state ---- */

/* Who asks keeps its tasks, though it may have preempted its own registration: among them is the
 * very command. */
static bool is_asking(const struct persistent_update *update, const struct nexus *nexus)
{
    return update->request.port != NULL &&
           strcasecmp(nexus->initiator_port, update->request.port) == 0;
}

static void tell_nexuses(struct persistent_update *update)
{
    struct lu *lu = update->lu;
    struct persistent *old = lu->persistent;
    struct itl *itl;

    LIST_FOREACH (itl, &lu->itls, lu_link) {
        const struct registrant *registrant = persistent_find_nexus(old, itl->nexus);
        const struct persistent_fate *fate;

        if (registrant == NULL)
            continue;
        fate = &update->change.fates[registrant - old->registrants];
        if (fate->is_told)
            unit_attention_raise(itl, fate->ua);
        if (fate->is_preempted && !is_asking(update, itl->nexus) &&
            update->victim_count < PERSISTENT_VICTIMS_MAX)
            update->victims[update->victim_count++] = itl->nexus->id;
    }
}

static void install(struct persistent_update *update)
{
    struct lu *lu = update->lu;
    struct persistent *old;

    pthread_mutex_lock(&lu->mutex);
    tell_nexuses(update);
    old = lu->persistent;
    lu->persistent = update->change.next;
    reservation_note(lu);
    pthread_mutex_unlock(&lu->mutex);
    free(old);
    update->change.next = NULL;
    if (!update->is_by_operator && update->request.action == PR_OUT_PREEMPT_AND_ABORT &&
        update->victim_count > 0)
        abort_victims(update);
    else
        leave(update);
}

/* ---- on the slow lane ---- */

static void keep(struct slow_job *job)
{
    struct persistent_update *update = UPDATE_OF(job, job);

    update->file_error = persistent_file_write(update->lu->persistent_path, update->change.next);
}

static void kept(struct slow_job *job)
{
    struct persistent_update *update = UPDATE_OF(job, job);

    if (update->file_error != 0)
        leave(update);
    else
        install(update);
}

/* ---- inside the gate ---- */

/* A SCSI-2 reservation may have been taken since the command was checked (SPC-2 5.5.1). */
static void make_next(struct persistent_update *update)
{
    struct lu *lu = update->lu;

    if (update->is_by_operator)
        persistent_clear(lu->persistent, &update->change);
    else if (lu->reservation.holder != NULL)
        update->change.status = STATUS_RESERVATION_CONFLICT;
    else
        persistent_out(lu->persistent, &update->request, &update->change);
}

static void run(struct persistent_update *update)
{
    struct lu *lu = update->lu;
    bool is_file_concerned;

    update->step = UPDATE_RUNS;
    pthread_mutex_lock(&lu->mutex);
    make_next(update);
    is_file_concerned =
        update->change.next != NULL &&
        (update->change.next->is_kept || (lu->persistent != NULL && lu->persistent->is_kept));
    pthread_mutex_unlock(&lu->mutex);
    if (update->change.next == NULL)
        return leave(update);
    if (!is_file_concerned)
        return install(update);
    update->job.run = keep;
    update->job.done = kept;
    worker_slow(update->worker, NULL, &update->job); /* not on the unit's disk, which may hang */
}

static void entered(struct gate_hold *hold)
{
    struct persistent_update *update = UPDATE_OF(hold, hold);

    if (update->is_abandoned)
        leave(update);
    else
        run(update);
}

void persistent_update_start(struct persistent_update *update)
{
    /*
     * The operator's does not wait for the disk, which may be what is wrong: a share of a byte that
     * no unit has keeps out other updates and nothing else. It only ever gives away.
     */
    enum gate_mode mode = update->is_by_operator ? GATE_SHARED : GATE_EXCLUSIVE;
    uint64_t offset_bytes = update->is_by_operator ? UINT64_MAX - 1 : 0;
    uint64_t len_bytes = update->is_by_operator ? 1 : UINT64_MAX;

    update->hold.entered = entered;
    if (gate_enter(&update->lu->gate, &update->hold, update->worker, mode, offset_bytes, len_bytes))
        run(update);
}

bool persistent_update_abandon(struct persistent_update *update)
{
    if (update->step == UPDATE_RUNS)
        return false;
    update->is_abandoned = true;
    /* False: it has been let in, and entered() is on its way to leave again. */
    if (update->step == UPDATE_WAITS && gate_cancel(&update->hold))
        finish(update);
    return true;
}

/* ---- for the operator ---- */

static void cleared(struct persistent_update *update)
{
    struct persistent_clearing *clearing = update->context;

    clearing->error = update->file_error;
    if (clearing->error == 0 && update->change.status != STATUS_GOOD)
        clearing->error = -ENOMEM;
    free(update);
    mailbox_post(clearing->home, &clearing->message);
}

static void tell_operator(struct message *message)
{
    struct persistent_clearing *clearing =
        (void *)((char *)message - offsetof(struct persistent_clearing, message));

    clearing->done(clearing);
}

static void clear_on_worker(struct message *message)
{
    struct persistent_clearing *clearing =
        (void *)((char *)message - offsetof(struct persistent_clearing, message));
    struct persistent_update *update = calloc(1, sizeof(*update));

    clearing->message.run = tell_operator;
    if (update == NULL) {
        clearing->error = -ENOMEM;
        mailbox_post(clearing->home, &clearing->message);
        return;
    }
    reservation_preempt(clearing->lu);
    update->lu = clearing->lu;
    update->worker = clearing->workers->worker[0];
    update->is_by_operator = true;
    update->context = clearing;
    update->done = cleared;
    persistent_update_start(update);
}

void persistent_clear_start(struct persistent_clearing *clearing)
{
    clearing->message.run = clear_on_worker;
    worker_post(clearing->workers->worker[0], &clearing->message);
}
