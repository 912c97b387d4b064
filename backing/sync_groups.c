#include "backing/sync_groups.h"

#include "backing/transfer.h"

#include <stdlib.h>

struct sync_group {
    struct sync_group *next;
    struct io *leader;
    bool is_started;
    struct io_queue followers, late;
};

static struct sync_group *group_get(struct sync_groups *groups)
{
    struct sync_group *group = groups->spare;

    if (group == NULL)
        return malloc(sizeof(*group));
    groups->spare = group->next;
    return group;
}

static void group_put(struct sync_groups *groups, struct sync_group *group)
{
    group->next = groups->spare;
    groups->spare = group;
}

void sync_groups_close(struct sync_groups *groups)
{
    struct sync_group *group;

    while ((group = groups->spare) != NULL) {
        groups->spare = group->next;
        free(group);
    }
}

bool sync_groups_lead(struct sync_groups *groups, struct io *io)
{
    struct sync_group *group = groups->first;

    while (group != NULL && group->leader->backing != io->backing)
        group = group->next;
    if (group != NULL) {
        io_queue_put(group->is_started ? &group->late : &group->followers, io);
        return false;
    }
    group = group_get(groups);
    if (group == NULL)
        return true; /* alone, then */
    group->leader = io;
    group->is_started = false;
    io_queue_init(&group->followers);
    io_queue_init(&group->late);
    group->next = groups->first;
    groups->first = group;
    return true;
}

static struct sync_group **find_led_by(struct sync_groups *groups, const struct io *leader)
{
    struct sync_group **at = &groups->first;

    while (*at != NULL && (*at)->leader != leader)
        at = &(*at)->next;
    return at;
}

void sync_groups_start(struct sync_groups *groups, const struct io *io)
{
    struct sync_group *group = *find_led_by(groups, io);

    if (group != NULL)
        group->is_started = true;
}

void sync_groups_end(struct sync_groups *groups, struct io *io, int64_t result,
                     struct io_queue *over, struct io_queue *ready)
{
    struct sync_group **at = find_led_by(groups, io), *group = *at;
    struct io *follower;

    if (!transfer_went(io, result)) {
        io_queue_put(ready, io); /* once more; nobody has been answered */
        return;
    }
    io_queue_put(over, io);
    if (group == NULL)
        return;
    while ((follower = io_queue_take(&group->followers)) != NULL)
        io_queue_put(transfer_went(follower, result) ? over : &group->late, follower);

    group->leader = io_queue_take(&group->late);
    if (group->leader == NULL) {
        *at = group->next;
        group_put(groups, group);
        return;
    }
    group->is_started = false;
    io_queue_move(&group->followers, &group->late);
    io_queue_put(ready, group->leader);
}
