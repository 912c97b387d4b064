#include "target/scsi/drain.h"

static bool concerns(const struct drain_part *part, const struct command *command)
{
    return command->itl != NULL && command->arrival <= part->latest &&
           part->drain->affects(part->drain, command->itl);
}

static bool part_matches(void *context, const struct command *command)
{
    return concerns(context, command);
}

static void part_abort(struct nexus *nexus, void *context)
{
    nexus_abort(nexus, part_matches, context);
}

static void part_count(struct drain_part *part, struct nexus *nexus)
{
    struct command *command;

    TAILQ_FOREACH (command, &nexus->commands, nexus_link)
        part->commands += concerns(part, command);
}

void drain_start(struct drain *drain, struct worker *worker)
{
    struct scsi_worker *scsi = worker->scsi;
    struct drain_part *part = &drain->part[worker->index];
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
        if (command->was_aborted && part->drain->took != NULL)
            part->drain->took(part->drain, command->itl);
    }
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
