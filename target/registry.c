/* registry: the targets and LUNs of the running daemon, and what nestorctl changes. See registry.h.
 */
#include "target/registry.h"
#include "conf/keys.h"
#include "target/change.h"
#include "target/iscsi/portal.h"
#include "target/iscsi/session_table.h"
#include "target/worker/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- one change at a time ---- */

static void answer(registry_done *done, void *context, int error, const char *text)
{
    struct registry_answer answer = { .error = error };

    snprintf(answer.text, sizeof(answer.text), "%s", text);
    done(context, &answer);
}

struct change *change_begin(struct registry *registry, registry_done *done, void *context)
{
    struct change *change = &registry->change;

    if (registry->is_changing || registry->is_ending) {
        answer(done, context, -EBUSY,
               registry->is_ending ? "nestord is stopping"
                                   : "another change is under way; try again");
        return NULL;
    }
    *change = (struct change){ .registry = registry, .done = done, .context = context };
    TAILQ_INIT(&change->leaving);
    registry->is_changing = true;
    return change;
}

void change_end(struct change *change, int error, const char *format, ...)
{
    struct registry *registry = change->registry;
    struct registry_answer answer = { .error = error };
    va_list args;

    va_start(args, format);
    vsnprintf(answer.text, sizeof(answer.text), format, args);
    va_end(args);
    registry->is_changing = false; /* done() may begin the next */
    change->done(change->context, &answer);
    if (registry->is_ending && !registry->is_changing && registry->idle)
        registry->idle(registry->idle_context);
}

static void map_is_published(struct map_change *map)
{
    struct change *change = map->context;
    struct unit *unit;

    while ((unit = TAILQ_FIRST(&change->leaving))) {
        TAILQ_REMOVE(&change->leaving, unit, link);
        unit_free(unit);
    }
    change->next(change);
}

void change_publish(struct change *change, struct served *served, struct lun_map *map,
                    void (*next)(struct change *change))
{
    change->next = next;
    change->map = (struct map_change){ .target = &served->node->scsi,
                                       .home = change->registry->home,
                                       .done = map_is_published,
                                       .context = change };
    scsi_target_set_map(&change->map, map);
}

static void answer_done(struct change *change)
{
    change_end(change, 0, "%s", change->text);
}

/* ---- from start to end ---- */

static void open_units(struct registry *registry, struct served *served,
                       const struct model_target *declared, struct model_problems *problems)
{
    char error[SERVED_ERROR_MAX];

    for (unsigned i = 0; i < declared->lun_count; i++) {
        const struct model_lun *lun = &declared->luns[i];
        if (unit_open(&registry->targets, registry->model->state_dir, served, lun, error) == 0)
            continue;
        model_problems_add(problems, &lun->place, "LUN %u of %s is not served: %s", lun->lun,
                           declared->name, error);
        unit_set_problem(served, lun->lun, error);
    }
}

int registry_create(struct model *model, struct workers *workers, struct mailbox *home,
                    struct registry **out, struct model_problems *problems)
{
    struct registry *registry = calloc(1, sizeof(*registry));

    if (!registry) {
        model_free(model);
        free(model);
        return -ENOMEM;
    }
    registry->model = model;
    registry->workers = workers;
    registry->home = home;
    TAILQ_INIT(&registry->targets);
    node_table_open(&registry->nodes);
    if (model->has_discovery_chap)
        access_set_chap(&registry->nodes.discovery_chap, &model->discovery_chap);
    for (unsigned i = 0; i < model->target_count; i++) {
        const struct model_target *declared = &model->targets[i];
        struct lun_map *map;
        struct served *served;
        if (served_open(&registry->targets, &registry->nodes, workers, declared, &served) < 0)
            goto no_memory;
        open_units(registry, served, declared, problems);
        if (!(map = served_map(served, declared)))
            goto no_memory;
        served_first_map(served, map);
    }
    *out = registry;
    return 0;

no_memory:
    registry_destroy(registry);
    return -ENOMEM;
}

void registry_destroy(struct registry *registry)
{
    struct served *served;

    while ((served = TAILQ_FIRST(&registry->targets))) {
        node_remove(&registry->nodes, served->node);
        served_close(&registry->targets, served);
    }
    node_table_close(&registry->nodes);
    model_free(registry->model);
    free(registry->model);
    free(registry);
}

void registry_settle(struct registry *registry, void (*idle)(void *context), void *context)
{
    registry->is_ending = true;
    registry->idle = idle;
    registry->idle_context = context;
    if (!registry->is_changing)
        idle(context);
}

/* ---- what a person wants to see ---- */

const struct model *registry_model(const struct registry *registry)
{
    return registry->model;
}

struct node_table *registry_nodes(struct registry *registry)
{
    return &registry->nodes;
}

void registry_each_lun(const struct registry *registry, const char *target,
                       bool (*each)(void *context, const struct registry_lun_view *view),
                       void *context)
{
    for (unsigned i = 0; i < registry->model->target_count; i++) {
        const struct model_target *declared = &registry->model->targets[i];
        const struct served *served = served_find(&registry->targets, declared->name);
        if (target && model_find_target(registry->model, target) != declared)
            continue;
        for (unsigned j = 0; j < declared->lun_count; j++) {
            const struct model_lun *lun = &declared->luns[j];
            const struct unit *unit = served ? served_unit(served, lun->lun) : NULL;
            struct registry_lun_view view = { .target = declared->name,
                                              .declared = lun,
                                              .lu = unit ? unit->lu : NULL,
                                              .problem = unit ? unit->problem : "being added" };
            if (!each(context, &view))
                return;
        }
    }
}

/* ---- what may be changed ---- */

/* The person's file is the person's: names the line to change there. */
static void refuse_persons(struct change *change, const char *what, const struct model_place *place)
{
    change_end(change, -EPERM,
               "%s is defined at %s:%u; change it there, then nestorctl config reload", what,
               place->file ? place->file : "the config file", place->line);
}

struct model_target *change_target(struct change *change, const char *name)
{
    struct model_target *target = model_find_target(change->registry->model, name);

    if (!target)
        change_end(change, -ENOENT,
                   "there is no target %s; nestorctl target list shows what there is", name);
    return target;
}

static struct model_lun *wanted_lun(struct change *change, const struct model_target *target,
                                    unsigned number)
{
    struct model_lun *lun = model_find_lun(target, number);

    if (!lun)
        change_end(change, -ENOENT, "%s has no LUN %u; nestorctl lun list shows what it has",
                   target->name, number);
    return lun;
}

int change_check(struct registry *registry, char *text, size_t cap)
{
    struct model_problems problems = { 0 };
    int error = conf_check(registry->model, &problems);

    if (error < 0)
        snprintf(text, cap, "%s", problems.count > 0 ? problems.lines[0] : strerror(-error));
    model_problems_free(&problems);
    return error;
}

/* ---- LUNs ---- */

/* What is left to do when the model has the LUN. */
static int lun_add(struct change *change, struct served *served, const char *target_name,
                   unsigned number, struct lun_map **map, char error[SERVED_ERROR_MAX])
{
    struct registry *registry = change->registry;
    int result = change_check(registry, error, SERVED_ERROR_MAX);

    if (result < 0)
        return result;
    /* the check has put the LUNs in order: their places have changed */
    const struct model_target *target = model_find_target(registry->model, target_name);
    const struct model_lun *lun = model_find_lun(target, number);
    result = unit_open(&registry->targets, registry->model->state_dir, served, lun, error);
    if (result < 0)
        return result;
    *map = served_map(served, target);
    if (!*map) {
        snprintf(error, SERVED_ERROR_MAX, "no memory");
        result = -ENOMEM;
    } else {
        result = conf_write_managed(registry->model, error, SERVED_ERROR_MAX);
    }
    if (result < 0) {
        if (*map)
            lun_map_put(*map);
        unit_undo(served, served_unit(served, number));
    }
    return result;
}

void registry_lun_add(struct registry *registry, const char *target_name,
                      const struct model_lun *lun, registry_done *done, void *context)
{
    struct change *change = change_begin(registry, done, context);
    struct lun_map *map = NULL;
    char error[SERVED_ERROR_MAX];
    struct model_lun copy;

    if (!change)
        return;
    struct model_target *target = change_target(change, target_name);
    if (!target)
        return;
    struct served *served = served_find(&registry->targets, target->name);
    unsigned number = lun->lun;
    if (model_find_lun(target, number))
        return change_end(change, -EEXIST, "%s has a LUN %u already", target->name, number);
    if (model_lun_copy(&copy, lun) < 0)
        return change_end(change, -ENOMEM, "no memory");
    copy.origin = ORIGIN_MANAGED;
    if (!model_take_lun(target, &copy)) {
        model_lun_free(&copy);
        return change_end(change, -ENOMEM, "no memory");
    }
    int result = lun_add(change, served, target->name, number, &map, error);
    if (result < 0) {
        model_remove_lun(target, number);
        return change_end(change, result, "%s", error);
    }
    snprintf(change->text, sizeof(change->text), "LUN %u of %s is %s", number, target->name,
             model_find_lun(target, number)->path);
    change_publish(change, served, map, answer_done);
}

/* "iqn...:esx1, iqn...:esx2": who has used the unit and is logged in. Their number. */
static unsigned list_users(struct lu *lu, char *text, size_t cap)
{
    const struct itl *itl;
    unsigned count = 0;
    size_t len = 0;

    text[0] = '\0';
    pthread_mutex_lock(&lu->mutex);
    LIST_FOREACH (itl, &lu->itls, lu_link) {
        if (len + strlen(itl->nexus->initiator_name) + 8 < cap)
            len += (size_t)snprintf(text + len, cap - len, "%s%s", count ? ", " : "",
                                    itl->nexus->initiator_name);
        else if (len + 5 < cap)
            len += (size_t)snprintf(text + len, cap - len, "...");
        count++;
    }
    pthread_mutex_unlock(&lu->mutex);
    return count;
}

void registry_lun_remove(struct registry *registry, const char *target_name, unsigned number,
                         bool is_forced, registry_done *done, void *context)
{
    struct change *change = change_begin(registry, done, context);
    char what[300], users[400], error[SERVED_ERROR_MAX];
    struct model_target *target;
    struct model_lun *lun, kept;

    if (!change || !(target = change_target(change, target_name)) ||
        !(lun = wanted_lun(change, target, number)))
        return;
    if (lun->origin == ORIGIN_PERSON) {
        snprintf(what, sizeof(what), "LUN %u of %s", number, target->name);
        return refuse_persons(change, what, &lun->place);
    }
    struct served *served = served_find(&registry->targets, target->name);
    struct unit *unit = served_unit(served, number);
    if (unit && unit->lu && !is_forced && list_users(unit->lu, users, sizeof(users)) > 0)
        return change_end(change, -EBUSY, "LUN %u is in use by %s; take it anyway with --force",
                          number, users);

    unsigned at = (unsigned)(lun - target->luns);
    model_detach_lun(target, at, &kept);
    struct lun_map *map = served_map(served, target);
    int result = map ? conf_write_managed(registry->model, error, sizeof(error)) : -ENOMEM;
    if (result < 0) {
        model_reattach_lun(target, at, &kept);
        if (map)
            lun_map_put(map);
        return change_end(change, result, "%s", map ? error : "no memory");
    }
    snprintf(change->text, sizeof(change->text),
             "LUN %u of %s is removed; its image %s is still there", number, target->name,
             kept.path);
    model_lun_free(&kept);
    if (unit) {
        unit_take(served, unit);
        TAILQ_INSERT_TAIL(&change->leaving, unit, link);
    }
    change_publish(change, served, map, answer_done);
}

void registry_lun_resize(struct registry *registry, const char *target_name, unsigned number,
                         uint64_t size_bytes, registry_done *done, void *context)
{
    struct change *change = change_begin(registry, done, context);
    struct backing_error reason;
    char error[SERVED_ERROR_MAX], size[32];
    struct model_target *target;
    struct model_lun *lun;
    int result;

    if (!change || !(target = change_target(change, target_name)) ||
        !(lun = wanted_lun(change, target, number)))
        return;
    if (lun->origin == ORIGIN_PERSON) {
        snprintf(error, sizeof(error), "LUN %u of %s", number, target->name);
        return refuse_persons(change, error, &lun->place);
    }
    struct unit *unit = served_unit(served_find(&registry->targets, target->name), number);
    if (!unit || !unit->lu)
        return change_end(change, -ENODEV, "LUN %u of %s is not served: %s", number, target->name,
                          unit ? unit->problem : "it is being added");
    struct lu *lu = unit->lu;
    uint64_t now_bytes = backing_size_bytes(lu->backing);
    key_size_text(now_bytes, size, sizeof(size));
    if (size_bytes < now_bytes)
        return change_end(change, -EINVAL, "LUN %u of %s is %s large; it can grow, never shrink",
                          number, target->name, size);
    if (size_bytes % lu->block_bytes != 0)
        return change_end(change, -EINVAL,
                          "%" PRIu64 " bytes are no whole number of blocks of %u bytes", size_bytes,
                          lu->block_bytes);

    /*
     * The image first: a declared size that no image has would keep the LUN out after a restart. An
     * image that is larger than declared does no harm when the rest fails.
     */
    uint64_t declared_bytes = lun->size_bytes;
    if (size_bytes > now_bytes && (result = backing_grow(lu->backing, size_bytes, &reason)) < 0)
        return change_end(change, result, "%s", reason.text);
    lun->size_bytes = size_bytes;
    result = change_check(registry, error, sizeof(error));
    if (result == 0)
        result = conf_write_managed(registry->model, error, sizeof(error));
    if (result < 0) {
        model_find_lun(target, number)->size_bytes = declared_bytes;
        return change_end(change, result, "%s", error);
    }
    lu_capacity_changed(lu);
    key_size_text(size_bytes, size, sizeof(size));
    change_end(change, 0, "LUN %u of %s is %s large now; rescan on the hosts to see it", number,
               target->name, size);
}

/* ---- reservations ---- */

/* "iqn...:esx1, iqn...:esx2": who is logged in and has reserved or registered. Their number. */
static unsigned list_holders(struct lu *lu, char *text, size_t cap)
{
    const struct itl *itl;
    unsigned count = 0;
    size_t len = 0;

    text[0] = '\0';
    pthread_mutex_lock(&lu->mutex);
    LIST_FOREACH (itl, &lu->itls, lu_link) {
        if (lu->reservation.holder != itl->nexus &&
            !persistent_find_nexus(lu->persistent, itl->nexus))
            continue;
        if (len + strlen(itl->nexus->initiator_name) + 3 < cap)
            len += (size_t)snprintf(text + len, cap - len, "%s%s", count ? ", " : "",
                                    itl->nexus->initiator_name);
        count++;
    }
    pthread_mutex_unlock(&lu->mutex);
    return count;
}

static void reservation_is_cleared(struct persistent_clearing *clearing)
{
    struct change *change = (void *)((char *)clearing - offsetof(struct change, clearing));

    if (clearing->error < 0)
        change_end(change, clearing->error,
                   "cannot be written in state_dir: %s; registrations are "
                   "as they were",
                   strerror(-clearing->error));
    else
        change_end(change, 0, "%s", change->text);
}

void registry_reservation_clear(struct registry *registry, const char *target_name, unsigned number,
                                bool is_forced, registry_done *done, void *context)
{
    struct change *change = change_begin(registry, done, context);
    struct model_target *target;
    char holders[400];

    if (!change || !(target = change_target(change, target_name)) ||
        !wanted_lun(change, target, number))
        return;
    struct unit *unit = served_unit(served_find(&registry->targets, target->name), number);
    if (!unit || !unit->lu)
        return change_end(change, -ENODEV, "LUN %u of %s is not served: %s", number, target->name,
                          unit ? unit->problem : "it is being added");
    if (list_holders(unit->lu, holders, sizeof(holders)) > 0 && !is_forced)
        return change_end(change, -EBUSY,
                          "LUN %u is reserved or registered by %s, logged in now; two hosts may "
                          "write to it when that ends; do it anyway with --force",
                          number, holders);
    snprintf(change->text, sizeof(change->text),
             "LUN %u of %s is reserved by nobody, and nobody is registered", number, target->name);
    change->clearing = (struct persistent_clearing){ .lu = unit->lu,
                                                     .workers = registry->workers,
                                                     .home = registry->home,
                                                     .done = reservation_is_cleared };
    persistent_clear_start(&change->clearing);
}

/* ---- targets ---- */

static int add_target(struct registry *registry, const char *name, struct served **out,
                      struct lun_map **map, char error[SERVED_ERROR_MAX])
{
    struct unit *unit;
    const struct model_target *target;
    int result = change_check(registry, error, SERVED_ERROR_MAX);

    if (result < 0)
        return result;
    snprintf(error, SERVED_ERROR_MAX, "no memory");
    target = model_find_target(registry->model, name);
    result = served_open(&registry->targets, &registry->nodes, registry->workers, target, out);
    if (result < 0)
        return result;
    for (unsigned i = 0; i < target->lun_count && result == 0; i++)
        result = unit_open(&registry->targets, registry->model->state_dir, *out, &target->luns[i],
                           error);
    if (result == 0 && !(*map = served_map(*out, target)))
        result = -ENOMEM;
    if (result == 0)
        result = conf_write_managed(registry->model, error, SERVED_ERROR_MAX);
    if (result < 0) {
        if (*map)
            lun_map_put(*map);
        while ((unit = TAILQ_FIRST(&(*out)->units)))
            unit_undo(*out, unit);
        node_remove(&registry->nodes, (*out)->node);
        served_close(&registry->targets, *out);
    }
    return result;
}

void registry_target_add(struct registry *registry, const struct model_target *target,
                         registry_done *done, void *context)
{
    struct change *change = change_begin(registry, done, context);
    char error[SERVED_ERROR_MAX];
    struct model_target copy;
    struct lun_map *map = NULL;
    struct served *served = NULL;

    if (!change)
        return;
    if (model_find_target(registry->model, target->name))
        return change_end(change, -EEXIST, "there is a target %s already", target->name);
    if (model_target_copy(&copy, target) < 0)
        return change_end(change, -ENOMEM, "no memory");
    copy.origin = ORIGIN_MANAGED;
    copy.is_managed = true;
    for (unsigned i = 0; i < copy.lun_count; i++)
        copy.luns[i].origin = ORIGIN_MANAGED;
    struct model_target *added = model_take_target(registry->model, &copy);
    if (!added) {
        model_target_free(&copy);
        return change_end(change, -ENOMEM, "no memory");
    }
    int result = add_target(registry, added->name, &served, &map, error);
    if (result < 0) {
        model_remove_target(registry->model, added->name);
        return change_end(change, result, "%s", error);
    }
    snprintf(change->text, sizeof(change->text), "target %s is there", added->name);
    change_publish(change, served, map, answer_done);
}

static void close_removed(void *context)
{
    struct change *change = context;

    served_close(&change->registry->targets, change->served);
    answer_done(change);
}

/* The units are closed; a session that is left sees no LUN. */
static void drain_removed(struct change *change)
{
    struct registry *registry = change->registry;

    if (portals_drain_node(registry->workers, registry->home, change->served->node,
                           "its target was removed", close_removed, change) < 0) {
        /* its sessions stay, on a target without a LUN that nobody finds; the node goes with them
         */
        log_warning("no memory to end the sessions of %s", change->served->node->name);
        close_removed(change);
    }
}

void registry_target_remove(struct registry *registry, const char *name, bool is_forced,
                            registry_done *done, void *context)
{
    struct change *change = change_begin(registry, done, context);
    char what[300], error[SERVED_ERROR_MAX];
    struct model_target *target, kept;

    if (!change || !(target = change_target(change, name)))
        return;
    if (target->origin == ORIGIN_PERSON) {
        snprintf(what, sizeof(what), "target %s", target->name);
        return refuse_persons(change, what, &target->place);
    }
    unsigned sessions = session_table_count(target->name);
    if (sessions > 0 && !is_forced)
        return change_end(change, -EBUSY,
                          "%s has %u session%s; end %s with --force, the images stay", target->name,
                          sessions, sessions == 1 ? "" : "s", sessions == 1 ? "it" : "them");

    struct served *served = served_find(&registry->targets, target->name);
    struct lun_map *map = lun_map_create(0);
    if (!map)
        return change_end(change, -ENOMEM, "no memory");
    unsigned at = (unsigned)(target - registry->model->targets);
    model_detach_target(registry->model, at, &kept);
    int result = conf_write_managed(registry->model, error, sizeof(error));
    if (result < 0) {
        model_reattach_target(registry->model, at, &kept);
        lun_map_put(map);
        return change_end(change, result, "%s", error);
    }
    snprintf(change->text, sizeof(change->text), "target %s is removed; its images are still there",
             kept.name);
    model_target_free(&kept);
    change->served = served;
    node_remove(&registry->nodes, served->node);
    TAILQ_CONCAT(&change->leaving, &served->units, link);
    change_publish(change, served, map, drain_removed);
}
