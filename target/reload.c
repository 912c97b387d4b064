/*
 * reload: brings what is served from one model to the next.
 *
 * First everything that goes, so that an image may stand somewhere else in the new model; then what
 * is new and what changed; then the LUN maps of the targets that this touched. Sessions of the
 * others notice nothing.
 */
#include "target/change.h"
#include "conf/keys.h"
#include "target/iscsi/portal.h"
#include "target/worker/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void reload_end(struct change *change, int error)
{
    unsigned steps = change->plan.count, failed = change->problems.count;
    char first[SERVED_ERROR_MAX] = "no memory";
    struct model *old_model = change->old_model;

    for (unsigned i = 0; i < failed; i++)
        log_error("%s", change->problems.lines[i]);
    if (failed > 0) {
        snprintf(first, sizeof(first), "%s", change->problems.lines[0]);
        if (error == 0)
            error = -ENODEV;
    }
    model_problems_free(&change->problems);
    plan_free(&change->plan);
    if (error < 0)
        change_end(change, error, "reloaded, but: %s%s", first,
                   failed > 1 ? " (and more: nestorctl lun list)" : "");
    else
        change_end(change, 0, steps ? "reloaded; changes: %u" : "reloaded; nothing has changed",
                   steps);
    model_free(old_model); /* last: the plan names its targets */
    free(old_model);
}

/* ---- third: the maps ---- */

static void publish_changed(struct change *change)
{
    struct registry *registry = change->registry;
    struct served *served;

    TAILQ_FOREACH (served, &registry->targets, link) {
        if (!served->is_changed)
            continue;
        struct lun_map *map =
            served_map(served, model_find_target(registry->model, served->node->name));
        if (!map)
            return reload_end(change, -ENOMEM);
        served->is_changed = false;
        return change_publish(change, served, map, publish_changed);
    }
    reload_end(change, 0);
}

/* ---- second: what is new, and what changed in place ---- */

static int grow(struct lu *lu, const struct model_lun *lun, char error[SERVED_ERROR_MAX])
{
    struct backing_error reason;
    int result;

    if (lun->size_bytes <= backing_size_bytes(lu->backing))
        return 0;
    if (lun->size_bytes % lu->block_bytes != 0) {
        snprintf(error, SERVED_ERROR_MAX,
                 "%" PRIu64 " bytes are no whole number of blocks of %u bytes", lun->size_bytes,
                 lu->block_bytes);
        return -EINVAL;
    }
    result = backing_grow(lu->backing, lun->size_bytes, &reason);
    if (result < 0)
        snprintf(error, SERVED_ERROR_MAX, "%s", reason.text);
    else
        lu_capacity_changed(lu);
    return result;
}

static void serve_lun(struct change *change, struct served *served,
                      const struct model_target *target, const struct model_lun *lun)
{
    struct unit *unit = served_unit(served, lun->lun);
    char error[SERVED_ERROR_MAX];

    if (unit && unit->lu) {
        lu_set_rotation(unit->lu, served_rotation(lun));
        if (grow(unit->lu, lun, error) < 0)
            model_problems_add(&change->problems, &lun->place, "LUN %u of %s does not grow: %s",
                               lun->lun, target->name, error);
        return;
    }
    if (unit_open(&change->registry->targets, change->registry->model->state_dir, served, lun,
                  error) < 0) {
        model_problems_add(&change->problems, &lun->place, "LUN %u of %s is not served: %s",
                           lun->lun, target->name, error);
        unit_set_problem(served, lun->lun, error);
        return;
    }
    served->is_changed = true;
}

static void serve_target(struct change *change, const struct model_target *target)
{
    struct registry *registry = change->registry;
    struct served *served = served_find(&registry->targets, target->name);

    if (!served) {
        if (served_open(&registry->targets, &registry->nodes, registry->workers, target, &served) <
            0) {
            model_problems_add(&change->problems, &target->place, "target %s: no memory",
                               target->name);
            return;
        }
    } else {
        struct node_access *access = access_make(target);
        if (access)
            node_set_access(&registry->nodes, served->node, access);
        else
            model_problems_add(&change->problems, &target->place, "target %s: no memory",
                               target->name);
        scsi_target_set_alua(&served->node->scsi, target->has_alua);
    }
    for (unsigned i = 0; i < target->lun_count; i++)
        serve_lun(change, served, target, &target->luns[i]);
}

static void serve_all(struct change *change)
{
    const struct model *model = change->registry->model;

    for (unsigned i = 0; i < model->target_count; i++)
        serve_target(change, &model->targets[i]);
    publish_changed(change);
}

/* ---- first: what goes ---- */

static void remove_next(struct change *change);

static void target_is_drained(void *context)
{
    struct change *change = context;

    served_close(&change->registry->targets, change->served);
    remove_next(change);
}

/* Its units are closed; a session that is left sees no LUN. */
static void drain_target(struct change *change)
{
    struct registry *registry = change->registry;

    if (portals_drain_node(registry->workers, registry->home, change->served->node,
                           "its target was removed", target_is_drained, change) < 0) {
        log_warning("no memory to end the sessions of %s", change->served->node->name);
        target_is_drained(change); /* the node goes with its last session */
    }
}

static void remove_target(struct change *change, struct served *served)
{
    struct lun_map *map = lun_map_create(0);

    if (!map)
        return reload_end(change, -ENOMEM);
    change->served = served;
    node_remove(&change->registry->nodes, served->node);
    TAILQ_CONCAT(&change->leaving, &served->units, link);
    change_publish(change, served, map, drain_target);
}

/* Moves the units that are declared no more to change->leaving. */
static void collect_leaving(struct change *change, struct served *served,
                            const struct model_target *target)
{
    struct unit *unit = TAILQ_FIRST(&served->units);

    while (unit) {
        struct unit *after = TAILQ_NEXT(unit, link);
        if (!model_find_lun(target, unit->lun)) {
            unit_take(served, unit);
            TAILQ_INSERT_TAIL(&change->leaving, unit, link);
        }
        unit = after;
    }
}

static void remove_next(struct change *change)
{
    struct registry *registry = change->registry;
    struct served *served;

    TAILQ_FOREACH (served, &registry->targets, link) {
        const struct model_target *target = model_find_target(registry->model, served->node->name);
        if (!target)
            return remove_target(change, served);
        collect_leaving(change, served, target);
        if (TAILQ_EMPTY(&change->leaving))
            continue;
        struct lun_map *map = served_map(served, target);
        if (!map) {
            TAILQ_CONCAT(&served->units, &change->leaving, link); /* the next reload tries again */
            return reload_end(change, -ENOMEM);
        }
        served->is_changed = false;
        return change_publish(change, served, map, remove_next);
    }
    serve_all(change);
}

/* ---- may it be? ---- */

/* What only the open images know: a size that was not declared before may be less than what is
 * served. */
static bool shrinks(struct registry *registry, const struct model *model, char *text, size_t cap)
{
    char size[32];

    for (unsigned i = 0; i < model->target_count; i++) {
        const struct model_target *target = &model->targets[i];
        const struct served *served = served_find(&registry->targets, target->name);
        for (unsigned j = 0; served && j < target->lun_count; j++) {
            const struct model_lun *lun = &target->luns[j];
            const struct unit *unit = served_unit(served, lun->lun);
            if (!unit || !unit->lu || lun->size_bytes == 0 ||
                lun->size_bytes >= backing_size_bytes(unit->lu->backing))
                continue;
            key_size_text(backing_size_bytes(unit->lu->backing), size, sizeof(size));
            snprintf(text, cap, "LUN %u of %s is %s large; it can grow, never shrink", lun->lun,
                     target->name, size);
            return true;
        }
    }
    return false;
}

static bool is_refused(struct change *change, const struct model *model, char *text, size_t cap)
{
    for (unsigned i = 0; i < change->plan.count; i++) {
        if (change->plan.steps[i].kind == PLAN_REFUSED) {
            snprintf(text, cap, "%s", change->plan.steps[i].what);
            return true;
        }
    }
    return shrinks(change->registry, model, text, cap);
}

static void mark_changed(struct change *change)
{
    for (unsigned i = 0; i < change->plan.count; i++) {
        const struct plan_step *step = &change->plan.steps[i];
        log_info("reload: %s", step->what);
        struct served *served = step->kind == PLAN_LUN_CHANGE
                                    ? served_find(&change->registry->targets, step->target)
                                    : NULL;
        if (served)
            served->is_changed = true;
    }
}

void registry_reload(struct registry *registry, struct model *model, registry_done *done,
                     void *context)
{
    struct change *change = change_begin(registry, done, context);
    char reason[SERVED_ERROR_MAX] = "no memory";
    int result = -ENOMEM;

    if (change && (result = plan_make(registry->model, model, &change->plan)) == 0 &&
        is_refused(change, model, reason, sizeof(reason))) {
        plan_free(&change->plan);
        result = -EPERM;
    }
    if (!change || result < 0) {
        model_free(model);
        free(model);
        if (change)
            change_end(change, result, "nothing was changed: %s", reason);
        return;
    }
    change->old_model = registry->model;
    registry->model = model;
    mark_changed(change);
    remove_next(change);
}
