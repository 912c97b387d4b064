#include "target/scsi/drain.h"

#include "target/scsi/medium.h"

#define WAIT_OF(pointer, member)                                                                   \
    ((struct left_behind_wait *)(void *)((char *)(pointer)-offsetof(struct left_behind_wait,       \
                                                                    member)))

static bool is_meant(const struct drain_part *part, const struct command *command)
{
    return command->itl != NULL && command->arrival <= part->latest &&
           part->drain->affects(part->drain, command->itl);
}

/* It belongs to the task set of another unit, and works on one that is meant. */
static bool is_guest(const struct drain_part *part, const struct command *command)
{
    const struct command_others *others = command->others;

    if (others == NULL || others->arrival > part->latest)
        return false;
    for (unsigned i = 0; i < others->count; i++)
        if (part->drain->affects(part->drain, others->itls[i]))
            return true;
    return false;
}

static bool concerns(const struct drain_part *part, const struct command *command)
{
    return is_meant(part, command) || is_guest(part, command);
}

/* A guest is not aborted: nobody told its initiator, which waits for an answer. */
static void end_command(void *context, struct command *command)
{
    const struct drain_part *part = context;

    if (is_meant(part, command))
        command_abort(command);
    else if (is_guest(part, command))
        command->others->lost(command);
}

static void part_abort(struct nexus *nexus, void *context)
{
    nexus_each_command(nexus, end_command, context);
}

static void part_count(struct drain_part *part, struct nexus *nexus)
{
    struct command *command;

    TAILQ_FOREACH (command, &nexus->commands, nexus_link)
        part->commands += concerns(part, command);
}

static bool awaits(const struct drain *drain, const struct lu *lu)
{
    return drain->awaits != NULL && drain->awaits(drain, lu);
}

void drain_start(struct drain *drain, struct worker *worker)
{
    struct scsi_worker *scsi = worker->scsi;
    struct drain_part *part = &drain->part[worker->index];
    const struct submitted_io *left;
    struct nexus *nexus;

    if (scsi == NULL) { /* it has never had a nexus */
        drain->drained(drain, worker);
        return;
    }
    part->drain = drain;
    part->worker = worker;
    part->latest = scsi->arrivals;
    part->commands = 1;
    LIST_INSERT_HEAD(&scsi->drains, part, link);
    /* All are counted before the first is aborted, since aborting one may end it at once. */
    LIST_FOREACH (nexus, &scsi->nexuses, worker_link)
        part_count(part, nexus);
    LIST_FOREACH (left, &scsi->left_behind, link)
        part->commands += awaits(drain, left->lu);
    scsi_worker_each_nexus(worker, part_abort, part);
    part->commands--;
    drain_settle(worker);
}

void drain_count_out(struct worker *worker, const struct command *command)
{
    struct scsi_worker *scsi = worker->scsi;
    struct drain_part *part;

    LIST_FOREACH (part, &scsi->drains, link) {
        if (!concerns(part, command))
            continue;
        part->commands--;
        if (command->was_aborted && is_meant(part, command) && part->drain->took != NULL)
            part->drain->took(part->drain, command->itl);
    }
}

void drain_left_behind_out(struct worker *worker, const struct lu *lu)
{
    struct scsi_worker *scsi = worker->scsi;
    struct drain_part *part;

    LIST_FOREACH (part, &scsi->drains, link)
        part->commands -= awaits(part->drain, lu);
    drain_settle(worker);
}

void drain_settle(struct worker *worker)
{
    struct scsi_worker *scsi = worker->scsi;
    struct drain_part *part, *following;

    for (part = LIST_FIRST(&scsi->drains); part != NULL; part = following) {
        following = LIST_NEXT(part, link);
        if (part->commands > 0)
            continue;
        LIST_REMOVE(part, link);
        part->drain->drained(part->drain, worker); /* its memory may be gone now */
    }
}

/* ---- the end ---- */

static bool no_command(const struct drain *drain, const struct itl *itl)
{
    (void)drain;
    (void)itl;
    return false;
}

static bool every_unit(const struct drain *drain, const struct lu *lu)
{
    (void)drain;
    (void)lu;
    return true;
}

static void wait_on_worker(struct broadcast *broadcast, struct worker *worker)
{
    drain_start(&WAIT_OF(broadcast, broadcast)->drain, worker);
}

static void worker_is_quiet(struct drain *drain, struct worker *worker)
{
    (void)worker;
    broadcast_arrive(&WAIT_OF(drain, drain)->broadcast);
}

static void all_are_quiet(struct broadcast *broadcast)
{
    struct left_behind_wait *wait = WAIT_OF(broadcast, broadcast);

    wait->done(wait);
}

void left_behind_await(struct left_behind_wait *wait)
{
    wait->drain =
        (struct drain){ .affects = no_command, .awaits = every_unit, .drained = worker_is_quiet };
    wait->broadcast.each = wait_on_worker;
    wait->broadcast.done = all_are_quiet;
    wait->broadcast.home = wait->home;
    workers_broadcast(wait->workers, &wait->broadcast);
}
