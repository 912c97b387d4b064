#include "target/scsi/scsi_target.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define CHANGE_OF(pointer, member)                                                                 \
    ((struct map_change *)(void *)((char *)(pointer)-offsetof(struct map_change, member)))

/* ---- maps ---- */

struct lun_map *lun_map_create(unsigned count)
{
    struct lun_map *map;

    if (count > LUN_MAX + 1)
        return NULL;
    map = calloc(1, sizeof(*map) + count * sizeof(map->entries[0]));
    if (map == NULL)
        return NULL;
    atomic_init(&map->refs, 1);
    map->count = count;
    return map;
}

struct lun_map *lun_map_get(struct lun_map *map)
{
    atomic_fetch_add_explicit(&map->refs, 1, memory_order_relaxed);
    return map;
}

static void lun_map_free(struct lun_map *map)
{
    for (unsigned i = 0; i < map->count; i++) {
        char **patterns = map->entries[i].initiators;

        for (unsigned p = 0; patterns != NULL && patterns[p] != NULL; p++)
            free(patterns[p]);
        free(patterns);
    }
    free(map);
}

void lun_map_put(struct lun_map *map)
{
    struct map_change *change;

    if (atomic_fetch_sub_explicit(&map->refs, 1, memory_order_acq_rel) != 1)
        return;
    change = map->retired_by;
    lun_map_free(map);
    if (change != NULL)
        mailbox_post(change->home, &change->retired);
}

/* ---- masks ---- */

/* ASCII only, whatever the locale: RFC 7143 4.2.7.1 wants names in lower case. */
static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

bool initiator_matches(const char *pattern, const char *initiator_name)
{
    const char *name = initiator_name, *after_star = NULL, *retry = NULL;

    while (*name != '\0') {
        if (*pattern == '*') {
            after_star = ++pattern; /* let it stand for nothing first */
            retry = name;
        } else if (*pattern != '\0' && (*pattern == '?' || lower(*pattern) == lower(*name))) {
            pattern++;
            name++;
        } else if (after_star != NULL) {
            pattern =
                after_star; /* let the last star stand for one more; the earlier ones need not */
            name = ++retry;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return *pattern == '\0';
}

bool lun_is_visible(const struct lun_entry *entry, const char *initiator_name)
{
    if (entry->initiators == NULL)
        return true;
    for (char **pattern = entry->initiators; *pattern != NULL; pattern++)
        if (initiator_matches(*pattern, initiator_name))
            return true;
    return false;
}

/* ---- the target ---- */

int scsi_target_open(struct scsi_target *target, const char *name, struct workers *workers)
{
    size_t len = strlen(name);

    if (len > INITIATOR_NAME_MAX)
        return -EINVAL;
    memset(target, 0, sizeof(*target));
    memcpy(target->name, name, len);
    target->workers = workers;
    target->map = lun_map_create(0);
    if (target->map == NULL)
        return -ENOMEM;
    pthread_mutex_init(&target->mutex, NULL);
    return 0;
}

void scsi_target_close(struct scsi_target *target)
{
    /* a task management function whose answer let the last nexus go may not have put it back yet */
    lun_map_put(target->map);
    pthread_mutex_destroy(&target->mutex);
}

struct lun_map *scsi_target_map_get(struct scsi_target *target)
{
    struct lun_map *map;

    pthread_mutex_lock(&target->mutex);
    map = lun_map_get(target->map);
    pthread_mutex_unlock(&target->mutex);
    return map;
}

void scsi_target_set_alua(struct scsi_target *target, bool has_alua)
{
    if (atomic_exchange(&target->has_alua, has_alua) == has_alua)
        return;
    for (unsigned i = 0; i < target->map->count; i++)
        unit_attention_raise_all(target->map->entries[i].lu, UA_INQUIRY_CHANGED, NULL);
}

/* ---- changing its map ---- */

static bool left_behind(const struct drain *drain, const struct itl *itl)
{
    return itl->gone_by == CHANGE_OF(drain, drain);
}

static bool is_in(const struct lun_map *map, const struct lu *lu)
{
    for (unsigned i = 0; i < map->count; i++)
        if (map->entries[i].lu == lu)
            return true;
    return false;
}

static bool is_leaving(const struct drain *drain, const struct lu *lu)
{
    const struct map_change *change = CHANGE_OF(drain, drain);

    return is_in(change->old, lu) && !is_in(change->map, lu);
}

static void worker_is_clear(struct drain *drain, struct worker *worker)
{
    (void)worker;
    broadcast_arrive(&CHANGE_OF(drain, drain)->broadcast);
}

static void move_nexus(struct nexus *nexus, void *context)
{
    struct map_change *change = context;

    /* One that was opened after the change was begun has this map already, or a newer one. */
    if (nexus->target == change->target && nexus->map == change->old)
        nexus_move(nexus, change->map, change);
}

static void move_worker(struct broadcast *broadcast, struct worker *worker)
{
    struct map_change *change = CHANGE_OF(broadcast, broadcast);

    scsi_worker_each_nexus(worker, move_nexus, change);
    drain_start(&change->drain, worker);
}

/* Only a task management function that is under way can still refer to the old map now. */
static void all_moved(struct broadcast *broadcast)
{
    struct map_change *change = CHANGE_OF(broadcast, broadcast);
    struct lun_map *old = change->old, *map = change->map;

    lun_map_put(map);
    lun_map_put(old);
}

static void old_map_is_gone(struct message *message)
{
    struct map_change *change = CHANGE_OF(message, retired);

    change->done(change);
}

void scsi_target_set_map(struct map_change *change, struct lun_map *map)
{
    struct scsi_target *target = change->target;

    for (unsigned i = 1; i < map->count; i++)
        assert(map->entries[i - 1].lun < map->entries[i].lun);
    change->retired.run = old_map_is_gone;
    change->map = lun_map_get(map);
    change->drain =
        (struct drain){ .affects = left_behind, .awaits = is_leaving, .drained = worker_is_clear };
    change->broadcast.each = move_worker;
    change->broadcast.done = all_moved;
    change->broadcast.home = change->home;
    pthread_mutex_lock(&target->mutex);
    change->old = target->map;
    change->old->retired_by = change;
    target->map = map;
    pthread_mutex_unlock(&target->mutex);
    workers_broadcast(target->workers, &change->broadcast);
}
