#include "target/scsi/left_behind.h"

#include "target/scsi/command.h"
#include "target/scsi/limits.h"
#include "target/scsi/lu.h"
#include "target/worker/log.h"

#include <inttypes.h>
#include <string.h>

#define WAIT_OF(pointer, member)                                                                   \
    ((struct left_behind_wait *)(void *)((char *)(pointer)-offsetof(struct left_behind_wait,       \
                                                                    member)))

/* A host that aborts and sends new ones for ever must not take all memory and all threads. */
static bool is_too_much(const struct scsi_worker *scsi, uint64_t memory_bytes)
{
    return scsi->left_behind_count >= LIMIT_LEFT_BEHIND ||
           scsi->left_behind_bytes + memory_bytes > LIMIT_LEFT_BEHIND_BYTES;
}

bool left_behind_begin(struct left_behind *left, const struct command *command,
                       const struct itl *second, const struct itl *third, uint64_t memory_bytes)
{
    const struct itl *itls[LEFT_BEHIND_UNITS] = { command->itl, second, third };
    struct worker *worker = command->nexus->worker;
    struct scsi_worker *scsi = worker->scsi;

    if (is_too_much(scsi, memory_bytes))
        return false;
    for (unsigned i = 0; i < LEFT_BEHIND_UNITS; i++) {
        if (itls[i] != NULL && itls[i]->gone_by != NULL)
            return false;
        left->units[i] = itls[i] != NULL ? itls[i]->lu : NULL;
    }
    left->worker = worker;
    left->memory_bytes = memory_bytes;
    left->since_ns = worker->now_ns;
    LIST_INSERT_HEAD(&scsi->left_behind, left, link);
    scsi->left_behind_count++;
    scsi->left_behind_bytes += memory_bytes;
    command_log_left_behind(command);
    return true;
}

void left_behind_end(struct left_behind *left, int error)
{
    struct scsi_worker *scsi = left->worker->scsi;
    uint64_t seconds = (left->worker->now_ns - left->since_ns) / NS_PER_S;
    const char *path = backing_path(left->units[0]->backing);

    if (error)
        log_peer("%s: what was aborted has failed: %s", path, strerror(-error));
    else if (seconds >= COMMAND_SLOW_S)
        log_peer("%s: what was aborted %" PRIu64 " s ago has ended", path, seconds);
    LIST_REMOVE(left, link);
    scsi->left_behind_count--;
    scsi->left_behind_bytes -= left->memory_bytes;
    drain_left_behind_out(left);
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
