#include "target/scsi/drain.h"

#include "target/scsi/left_behind.h"

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

static bool awaits(const struct drain *drain, const struct left_behind *left)
{
    if (drain->awaits == NULL)
        return false;
    for (unsigned i = 0; i < LEFT_BEHIND_UNITS; i++)
        if (left->units[i] != NULL && drain->awaits(drain, left->units[i]))
            return true;
    return false;
}

void drain_start(struct drain *drain, struct worker *worker)
{
    struct scsi_worker *scsi = worker->scsi;
    struct drain_part *part = &drain->part[worker->index];
    const struct left_behind *left;
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
        part->commands += awaits(drain, left);
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

void drain_left_behind_out(const struct left_behind *left)
{
    struct worker *worker = left->worker;
    struct scsi_worker *scsi = worker->scsi;
    struct drain_part *part;

    LIST_FOREACH (part, &scsi->drains, link)
        part->commands -= awaits(part->drain, left);
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
