/*
 * sync_groups: one fdatasync for all that wait for one (group commit).
 *
 * The first that needs an image synced leads: the engine makes the call for it. Who comes before
 * that call is made follows it; who comes later may have written what the call doesn't see, and
 * waits for the next, which the first of those leads. So an image has one sync under way per
 * engine, however many durable writes there are.
 *
 * An engine's own, on its loop's thread. Each io is at a step that syncs (transfer_is_sync()).
 */
#pragma once

#include "backing/io_queue.h"

struct sync_group;

struct sync_groups {
    struct sync_group *first;
    struct sync_group *spare; /* for reuse; no more than images were synced at one time */
};

/* No group is under way any more. */
void sync_groups_close(struct sync_groups *groups);

/* True: io is the one that the call is made for. False: it follows another, or waits its turn. */
bool sync_groups_lead(struct sync_groups *groups, struct io *io);

/* The call for the leader io is about to be made. */
void sync_groups_start(struct sync_groups *groups, const struct io *io);

/*
 * It went, with this result. Those that are over are put into `over`; whom a call is to be made for
 * (the next leader, or the same once more) into `ready`.
 */
void sync_groups_end(struct sync_groups *groups, struct io *io, int64_t result,
                     struct io_queue *over, struct io_queue *ready);
