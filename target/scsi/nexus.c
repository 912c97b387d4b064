#include "target/scsi/nexus.h"

#include "target/scsi/drain.h"
#include "target/scsi/medium.h"
#include "target/scsi/scsi_target.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- what a worker keeps ---- */

int scsi_worker_open(struct worker *worker)
{
    struct scsi_worker *scsi;

    if (worker->scsi != NULL)
        return 0;
    scsi = calloc(1, sizeof(*scsi));
    if (scsi == NULL)
        return -ENOMEM;
    LIST_INIT(&scsi->nexuses);
    LIST_INIT(&scsi->drains);
    LIST_INIT(&scsi->left_behind);
    LIST_INIT(&scsi->free_ios);
    worker->scsi = scsi;
    return 0;
}

void scsi_worker_close(struct worker *worker)
{
    struct scsi_worker *scsi = worker->scsi;
    struct submitted_io *spare;

    if (scsi == NULL)
        return;
    assert(LIST_EMPTY(&scsi->nexuses) && LIST_EMPTY(&scsi->drains) &&
           LIST_EMPTY(&scsi->left_behind));
    while ((spare = LIST_FIRST(&scsi->free_ios)) != NULL) {
        LIST_REMOVE(spare, spare_link);
        free(spare);
    }
    free(scsi);
    worker->scsi = NULL;
}

void scsi_worker_each_nexus(struct worker *worker, void (*each)(struct nexus *nexus, void *context),
                            void *context)
{
    struct scsi_worker *scsi = worker->scsi;
    struct nexus_walk walk;
    struct nexus *nexus;

    if (scsi == NULL)
        return;
    walk = (struct nexus_walk){ .next = LIST_FIRST(&scsi->nexuses), .outer = scsi->nexus_walks };
    scsi->nexus_walks = &walk;
    while ((nexus = walk.next) != NULL) {
        walk.next = LIST_NEXT(nexus, worker_link);
        each(nexus, context);
    }
    scsi->nexus_walks = walk.outer;
}

/* ---- LUNs ---- */

/* SAM-5 4.7: one level, peripheral device addressing on bus 0 or flat space addressing. */
static int lun_number(uint64_t structure)
{
    const uint64_t lower_levels = UINT64_C(0x0000ffffffffffff);
    unsigned first_level = (unsigned)(structure >> 48);

    if ((structure & lower_levels) != 0)
        return -ENXIO;
    switch (first_level >> 14) {
    case 0: return first_level <= 0xff ? (int)first_level : -ENXIO;
    case 1: return (int)(first_level & 0x3fff);
    default: return -ENXIO;
    }
}

static int entry_index(const struct lun_map *map, unsigned lun)
{
    unsigned low = 0, high = map->count;

    /* LUNs that run from 0 without a gap, as they mostly do */
    if (lun < map->count && map->entries[lun].lun == lun)
        return (int)lun;
    while (low < high) {
        unsigned middle = low + (high - low) / 2;

        if (map->entries[middle].lun < lun)
            low = middle + 1;
        else
            high = middle;
    }
    return low < map->count && map->entries[low].lun == lun ? (int)low : -ENXIO;
}

/* The index in the map of a LUN that this nexus may see. */
static int visible_index(const struct nexus *nexus, uint64_t lun_structure)
{
    int lun = lun_number(lun_structure);
    int index = lun < 0 ? lun : entry_index(nexus->map, (unsigned)lun);

    if (index < 0)
        return index;
    /* an itl is made only for what is visible, and a map never changes: no need to match names
     * again */
    if (nexus->itls != NULL && nexus->itls[index] != NULL)
        return index;
    return lun_is_visible(&nexus->map->entries[index], nexus->initiator_name) ? index : -ENXIO;
}

const struct lun_entry *nexus_lun(const struct nexus *nexus, uint64_t lun_structure)
{
    int index = visible_index(nexus, lun_structure);

    return index < 0 ? NULL : &nexus->map->entries[index];
}

unsigned nexus_report_luns(const struct nexus *nexus, uint16_t *luns, unsigned cap)
{
    unsigned visible = 0;

    for (unsigned i = 0; i < nexus->map->count; i++) {
        const struct lun_entry *entry = &nexus->map->entries[i];

        if (!lun_is_visible(entry, nexus->initiator_name))
            continue;
        if (visible < cap)
            luns[visible] = entry->lun;
        visible++;
    }
    return visible;
}

/* ---- itls ---- */

static struct itl *itl_make(struct nexus *nexus, const struct lun_entry *entry)
{
    struct itl *itl = calloc(1, sizeof(*itl));
    struct lu *lu = entry->lu;

    if (itl == NULL)
        return NULL;
    itl->nexus = nexus;
    itl->lu = lu;
    itl->lun = entry->lun;
    unit_attention_raise(itl, UA_POWER_ON);
    pthread_mutex_lock(&lu->mutex);
    LIST_INSERT_HEAD(&lu->itls, itl, lu_link);
    pthread_mutex_unlock(&lu->mutex);
    return itl;
}

static bool itl_is_idle(const struct itl *itl)
{
    return itl->commands == 0 && itl->guests == 0;
}

static void itl_free(struct itl *itl)
{
    struct lu *lu = itl->lu;

    assert(itl->commands == 0 && itl->guests == 0);
    reservation_release(lu, itl->nexus);
    pthread_mutex_lock(&lu->mutex);
    LIST_REMOVE(itl, lu_link);
    pthread_mutex_unlock(&lu->mutex);
    free(itl->copies);
    free(itl);
}

static struct itl *itl_at(struct nexus *nexus, int index, bool make)
{
    if (nexus->itls == NULL) {
        if (!make)
            return NULL;
        nexus->itls = calloc(nexus->map->count, sizeof(*nexus->itls));
        if (nexus->itls == NULL)
            return NULL;
    }
    if (nexus->itls[index] == NULL && make)
        nexus->itls[index] = itl_make(nexus, &nexus->map->entries[index]);
    return nexus->itls[index];
}

struct itl *nexus_itl(struct nexus *nexus, uint64_t lun_structure, bool make)
{
    int index;

    if (nexus->recent != NULL && nexus->recent_lun == lun_structure)
        return nexus->recent;
    index = visible_index(nexus, lun_structure);
    if (index < 0)
        return NULL;
    nexus->recent = itl_at(nexus, index, make);
    nexus->recent_lun = lun_structure;
    return nexus->recent;
}

struct itl *nexus_itl_named(struct nexus *nexus, const uint8_t naa[IDENTITY_NAA_BYTES])
{
    for (unsigned i = 0; i < nexus->map->count; i++) {
        const struct lun_entry *entry = &nexus->map->entries[i];

        if (memcmp(entry->lu->identity.naa, naa, IDENTITY_NAA_BYTES) == 0 &&
            lun_is_visible(entry, nexus->initiator_name))
            return itl_at(nexus, (int)i, true);
    }
    return NULL;
}

void nexus_clear_unit_attention(struct nexus *nexus, enum unit_attention ua)
{
    if (nexus->itls == NULL)
        return;
    for (unsigned i = 0; i < nexus->map->count; i++)
        if (nexus->itls[i] != NULL)
            unit_attention_clear(nexus->itls[i], ua);
}

/* ---- another map ---- */

static const struct lun_entry *next_visible(const struct nexus *nexus, const struct lun_map *map,
                                            unsigned *index)
{
    while (*index < map->count) {
        const struct lun_entry *entry = &map->entries[(*index)++];

        if (lun_is_visible(entry, nexus->initiator_name))
            return entry;
    }
    return NULL;
}

/* Would REPORT LUNS answer otherwise, or another unit stand behind one of the LUNs? */
static bool sees_another_inventory(const struct nexus *nexus, const struct lun_map *a,
                                   const struct lun_map *b)
{
    unsigned at_a = 0, at_b = 0;

    for (;;) {
        const struct lun_entry *of_a = next_visible(nexus, a, &at_a);
        const struct lun_entry *of_b = next_visible(nexus, b, &at_b);

        if (of_a == NULL || of_b == NULL)
            return of_a != of_b;
        if (of_a->lun != of_b->lun || of_a->lu != of_b->lu)
            return true;
    }
}

/* Where the new map shows this nexus the same unit under the same number. */
static int index_in(const struct lun_map *map, const struct itl *itl)
{
    int index = entry_index(map, itl->lun);

    if (index < 0 || map->entries[index].lu != itl->lu ||
        !lun_is_visible(&map->entries[index], itl->nexus->initiator_name))
        return -ENXIO;
    return index;
}

void nexus_move(struct nexus *nexus, struct lun_map *map, const struct map_change *by)
{
    struct lun_map *old = nexus->map;
    struct itl **itls = nexus->itls;
    bool is_other_inventory = sees_another_inventory(nexus, old, map);

    nexus->recent = NULL;
    nexus->map = lun_map_get(map);
    nexus->itls = itls == NULL ? NULL : calloc(map->count, sizeof(*nexus->itls));
    for (unsigned i = 0; itls != NULL && i < old->count; i++) {
        struct itl *itl = itls[i];
        /* Without memory for the new index all its units count as gone; it meets them again with
         * POWER ON pending, which tells it that its commands and reservations are lost. */
        int index = itl == NULL || nexus->itls == NULL ? -ENXIO : index_in(map, itl);

        if (itl == NULL)
            continue;
        if (index >= 0) {
            nexus->itls[index] = itl;
            if (is_other_inventory)
                unit_attention_raise(itl, UA_LUN_INVENTORY_CHANGED);
        } else if (itl_is_idle(itl)) {
            itl_free(itl);
        } else {
            itl->gone_by = by;
        }
    }
    free(itls);
    lun_map_put(old);
}

/* ---- opening and closing ---- */

static int copy_name(char *out, size_t cap, const char *name)
{
    size_t len = strlen(name);

    if (len >= cap)
        return -EINVAL;
    memcpy(out, name, len + 1);
    return 0;
}

int nexus_open(struct nexus *nexus, struct worker *worker, struct scsi_target *target,
               const char *initiator_name, const char *initiator_port,
               uint16_t relative_target_port)
{
    static _Atomic uint64_t last_id;
    int error = scsi_worker_open(worker);
    struct scsi_worker *scsi = worker->scsi;

    if (error != 0)
        return error;
    memset(nexus, 0, sizeof(*nexus));
    if (copy_name(nexus->initiator_name, sizeof(nexus->initiator_name), initiator_name) != 0 ||
        copy_name(nexus->initiator_port, sizeof(nexus->initiator_port), initiator_port) != 0)
        return -EINVAL;
    nexus->worker = worker;
    nexus->target = target;
    nexus->relative_target_port = relative_target_port;
    nexus->id = atomic_fetch_add_explicit(&last_id, 1, memory_order_relaxed) + 1;
    TAILQ_INIT(&nexus->commands);
    /*
     * The newest map, and in the worker's list before this callback ends. A change replaces the
     * target's map before it tells the workers: if this is still the old one, its message runs here
     * later and moves the nexus; if its message ran already, this is the new one.
     */
    nexus->map = scsi_target_map_get(target);
    LIST_INSERT_HEAD(&scsi->nexuses, nexus, worker_link);
    return 0;
}

void nexus_close(struct nexus *nexus)
{
    struct scsi_worker *scsi = nexus->worker->scsi;

    assert(TAILQ_EMPTY(&nexus->commands));
    for (struct command_walk *walk = scsi->command_walks; walk != NULL; walk = walk->outer)
        if (walk->nexus == nexus)
            walk->nexus = NULL;
    for (struct nexus_walk *walk = scsi->nexus_walks; walk != NULL; walk = walk->outer)
        if (walk->next == nexus)
            walk->next = LIST_NEXT(nexus, worker_link);
    /* those that a change of the map left behind went with their last command */
    for (unsigned i = 0; nexus->itls != NULL && i < nexus->map->count; i++)
        if (nexus->itls[i] != NULL)
            itl_free(nexus->itls[i]);
    free(nexus->itls);
    LIST_REMOVE(nexus, worker_link);
    lun_map_put(nexus->map);
}

/* ---- the task set ---- */

static void walk_begin(struct scsi_worker *scsi, struct command_walk *walk, struct nexus *nexus)
{
    walk->nexus = nexus;
    walk->next = TAILQ_LAST(&nexus->commands, command_list);
    walk->outer = scsi->command_walks;
    scsi->command_walks = walk;
}

static void walk_end(struct scsi_worker *scsi, struct command_walk *walk)
{
    scsi->command_walks = walk->outer;
}

void nexus_each_command(struct nexus *nexus, void (*each)(void *context, struct command *command),
                        void *context)
{
    struct scsi_worker *scsi = nexus->worker->scsi;
    struct command_walk walk;
    struct command *command;

    walk_begin(scsi, &walk, nexus);
    while ((command = walk.next) != NULL) {
        walk.next = TAILQ_PREV(command, command_list, nexus_link);
        each(context, command);
    }
    walk_end(scsi, &walk);
}

static void abort_command(void *context, struct command *command)
{
    (void)context;
    command_abort(command);
}

void nexus_abort_all(struct nexus *nexus)
{
    nexus_each_command(nexus, abort_command, NULL);
}

/*
 * SAM-5 8.6: an ORDERED command waits for all older ones; newer ones wait for it, but for HEAD OF
 * QUEUE, which waits for nobody. Kept among the commands of one nexus: which of two nexuses was
 * first, nobody outside can tell.
 */
bool nexus_command_begin(struct command *command)
{
    struct nexus *nexus = command->nexus;
    struct scsi_worker *scsi = nexus->worker->scsi;
    struct itl *itl = command->itl;
    bool is_ordered = command->attribute == TASK_ORDERED;

    command->arrival = ++scsi->arrivals;
    TAILQ_INSERT_TAIL(&nexus->commands, command, nexus_link);
    if (itl == NULL)
        return true;
    if (is_ordered)
        command->is_held = itl->commands > 0;
    else
        command->is_held = itl->ordered > 0 && command->attribute != TASK_HEAD_OF_QUEUE;
    itl->commands++;
    itl->ordered += is_ordered;
    itl->held += command->is_held;
    return !command->is_held;
}

void nexus_command_join(struct command *command, struct command_others *others)
{
    struct scsi_worker *scsi = command->nexus->worker->scsi;

    assert(command->others == NULL);
    others->arrival = ++scsi->arrivals;
    for (unsigned i = 0; i < others->count; i++)
        others->itls[i]->guests++;
    command->others = others;
}

/* What these units were kept for is over. */
static void leave_others(const struct command_others *others)
{
    for (unsigned i = 0; i < others->count; i++) {
        struct itl *itl = others->itls[i];

        itl->guests--;
        if (itl->gone_by != NULL && itl_is_idle(itl))
            itl_free(itl);
    }
}

void nexus_command_unhold(struct command *command)
{
    if (!command->is_held)
        return;
    command->is_held = false;
    command->itl->held--;
}

/* The oldest held command that nothing holds any more. */
static struct command *next_to_go(const struct itl *itl)
{
    struct command *command;
    bool is_oldest = true;

    TAILQ_FOREACH (command, &itl->nexus->commands, nexus_link) {
        bool is_ordered = command->attribute == TASK_ORDERED;

        if (command->itl != itl)
            continue;
        if (command->is_held && (is_oldest || !is_ordered))
            return command;
        if (is_ordered)
            return NULL; /* running, or waiting for older ones: nothing after it goes */
        is_oldest = false;
    }
    return NULL;
}

/* A command that is let go may end at once and free the next: that is this loop's, not a deeper
 * call's. */
static void resume_held(struct scsi_worker *scsi, struct itl *itl)
{
    struct command_walk walk;
    struct command *command;

    if (itl->is_resuming)
        return;
    itl->is_resuming = true;
    walk_begin(scsi, &walk, itl->nexus);
    while (walk.nexus != NULL && itl->held > 0 && (command = next_to_go(itl)) != NULL) {
        nexus_command_unhold(command);
        command_run(command);
    }
    if (walk.nexus != NULL)
        itl->is_resuming = false;
    walk_end(scsi, &walk);
}

void nexus_command_end(struct command *command)
{
    struct nexus *nexus = command->nexus;
    struct worker *worker = nexus->worker;
    struct scsi_worker *scsi = worker->scsi;
    struct itl *itl = command->itl;

    for (struct command_walk *walk = scsi->command_walks; walk != NULL; walk = walk->outer)
        if (walk->next == command)
            walk->next = TAILQ_PREV(command, command_list, nexus_link);
    TAILQ_REMOVE(&nexus->commands, command, nexus_link);
    if (itl == NULL)
        return;
    nexus_command_unhold(command);
    itl->commands--;
    itl->ordered -= command->attribute == TASK_ORDERED;
    if (!LIST_EMPTY(&scsi->drains))
        drain_count_out(worker, command);
    if (command->others != NULL)
        leave_others(command->others);
    if (itl->gone_by != NULL) { /* what it holds is being aborted, so nothing is let go */
        if (itl_is_idle(itl))
            itl_free(itl);
    } else if (itl->held > 0) {
        resume_held(scsi, itl);
    }
    /* the nexus may have been closed by now */
    if (!LIST_EMPTY(&scsi->drains))
        drain_settle(worker);
}
