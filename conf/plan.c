/* plan: what separates two models, key by key, and what each difference asks for. */
#include "conf/conf.h"
#include "conf/keys.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* Steps are made in the order of the models and done in this one. */
static const unsigned char step_rank[] = {
    [PLAN_LUN_REMOVE] = 0,     [PLAN_TARGET_REMOVE] = 1, [PLAN_TARGET_CHANGE] = 2,
    [PLAN_TARGET_INQUIRY] = 3, [PLAN_LUN_CHANGE] = 4,    [PLAN_LUN_INQUIRY] = 5,
    [PLAN_LUN_GROW] = 6,       [PLAN_TARGET_ADD] = 7,    [PLAN_LUN_ADD] = 8,
    [PLAN_RESTART] = 9,        [PLAN_REFUSED] = 10,
};

__attribute__((format(printf, 5, 6))) static int add_step(struct plan *plan, enum plan_kind kind,
                                                          const char *target, unsigned lun,
                                                          const char *format, ...)
{
    struct plan_step step = { .kind = kind, .target = target, .lun = lun };
    struct plan_step *steps = reallocarray(plan->steps, plan->count + 1, sizeof(*steps));
    va_list args;

    if (!steps)
        return -ENOMEM;
    plan->steps = steps;
    va_start(args, format);
    int made = vasprintf(&step.what, format, args);
    va_end(args);
    if (made < 0)
        return -ENOMEM;
    unsigned i = plan->count++;
    for (; i > 0 && step_rank[kind] < step_rank[steps[i - 1].kind]; i--)
        steps[i] = steps[i - 1];
    steps[i] = step;
    return 0;
}

void plan_free(struct plan *plan)
{
    for (unsigned i = 0; i < plan->count; i++)
        free(plan->steps[i].what);
    free(plan->steps);
    *plan = (struct plan){ 0 };
}

/* ---- equal or not ---- */

static bool is_equal_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static bool is_equal_texts(const struct model_strings *a, const struct model_strings *b)
{
    if (a->is_set != b->is_set || a->count != b->count)
        return false;
    for (unsigned i = 0; i < a->count; i++) {
        if (strcmp(a->items[i], b->items[i]) != 0)
            return false;
    }
    return true;
}

static bool is_equal_chap(const struct model_chap *a, const struct model_chap *b)
{
    return is_equal_text(a->user, b->user) && is_equal_text(a->mutual_user, b->mutual_user) &&
           is_equal_text(a->secret_file, b->secret_file) && is_equal_text(a->secret, b->secret) &&
           is_equal_text(a->mutual_secret_file, b->mutual_secret_file) &&
           is_equal_text(a->mutual_secret, b->mutual_secret);
}

static bool is_equal_value(const struct key *key, const void *from, const void *to)
{
    const void *a = key_member_const(key, from), *b = key_member_const(key, to);

    switch (key->type) {
    case KEY_TEXT: return is_equal_text(*(char *const *)a, *(char *const *)b);
    case KEY_TEXTS: return is_equal_texts(a, b);
    case KEY_GROUPS: return true; /* compared member by member */
    case KEY_GROUP: {
        bool had = *(const bool *)((const char *)from + key->flag_offset);
        bool has = *(const bool *)((const char *)to + key->flag_offset);
        return had == has && (!has || is_equal_chap(a, b));
    }
    default: return key_number(key, from) == key_number(key, to);
    }
}

/* ---- LUNs ---- */

static int plan_size(struct plan *plan, const struct model_target *target,
                     const struct model_lun *from, const struct model_lun *to)
{
    char before[32], after[32];

    key_size_text(from->size_bytes, before, sizeof(before));
    key_size_text(to->size_bytes, after, sizeof(after));
    if (to->size_bytes == 0)
        return add_step(plan, PLAN_RESTART, target->name, to->lun,
                        "LUN %u of %s: size is not said any more; it stays %s until a restart",
                        to->lun, target->name, before);
    if (to->size_bytes < from->size_bytes)
        return add_step(
            plan, PLAN_REFUSED, target->name, to->lun,
            "LUN %u of %s: from %s to %s; a LUN that hosts use cannot shrink, set the size "
            "back",
            to->lun, target->name, before, after);
    return add_step(plan, PLAN_LUN_GROW, target->name, to->lun, "LUN %u of %s grows%s%s to %s",
                    to->lun, target->name, from->size_bytes ? " from " : "",
                    from->size_bytes ? before : "", after);
}

static int plan_lun_key(struct plan *plan, const struct model_target *target, const struct key *key,
                        const struct model_lun *from, const struct model_lun *to)
{
    if (key->type == KEY_SIZE)
        return plan_size(plan, target, from, to);
    if (key->when == KEY_LIVE)
        return add_step(plan, PLAN_LUN_CHANGE, target->name, to->lun,
                        "LUN %u of %s: %s changes; who loses or gains the LUN is told", to->lun,
                        target->name, key->name);
    if (key->when == KEY_INQUIRY)
        return add_step(plan, PLAN_LUN_INQUIRY, target->name, to->lun,
                        "LUN %u of %s: %s changes; its hosts are told that INQUIRY data has "
                        "changed",
                        to->lun, target->name, key->name);
    if (key->when == KEY_RESTART)
        return add_step(plan, PLAN_RESTART, target->name, to->lun,
                        "LUN %u of %s: %s holds after a restart of nestord", to->lun, target->name,
                        key->name);
    if (key->when == KEY_FROZEN && (key_is_fallback(key, from) || key_is_fallback(key, to)))
        return add_step(plan, PLAN_RESTART, target->name, to->lun,
                        "LUN %u of %s: %s is held against the image's identity at the next start",
                        to->lun, target->name, key->name);
    return add_step(
        plan, PLAN_REFUSED, target->name, to->lun,
        "LUN %u of %s: %s cannot change while it is served; set it back, or remove the LUN "
        "in one reload and add it in the next",
        to->lun, target->name, key->name);
}

static int plan_lun(struct plan *plan, const struct model_target *target,
                    const struct model_lun *from, const struct model_lun *to)
{
    for (const struct key *key = keys_next(KEY_LUN, NULL); key; key = keys_next(KEY_LUN, key)) {
        if (is_equal_value(key, from, to))
            continue;
        int error = plan_lun_key(plan, target, key, from, to);
        if (error < 0)
            return error;
    }
    return 0;
}

static int plan_lun_add(struct plan *plan, const struct model_target *target,
                        const struct model_lun *lun)
{
    return add_step(plan, PLAN_LUN_ADD, target->name, lun->lun, "add LUN %u to %s: %s", lun->lun,
                    target->name, lun->path);
}

static int plan_lun_remove(struct plan *plan, const struct model_target *target,
                           const struct model_lun *lun)
{
    return add_step(plan, PLAN_LUN_REMOVE, target->name, lun->lun,
                    "remove LUN %u from %s; its initiators lose it, the image %s stays", lun->lun,
                    target->name, lun->path);
}

static int plan_luns(struct plan *plan, const struct model_target *from,
                     const struct model_target *to)
{
    int error = 0;

    for (unsigned i = 0; i < from->lun_count && error == 0; i++) {
        if (!model_find_lun(to, from->luns[i].lun))
            error = plan_lun_remove(plan, to, &from->luns[i]);
    }
    for (unsigned i = 0; i < to->lun_count && error == 0; i++) {
        const struct model_lun *lun = &to->luns[i], *had = model_find_lun(from, lun->lun);
        error = had ? plan_lun(plan, to, had, lun) : plan_lun_add(plan, to, lun);
    }
    return error;
}

/* ---- targets ---- */

static int plan_target_key(struct plan *plan, const struct model_target *target,
                           const struct key *key)
{
    if (key->when == KEY_LOGINS)
        return add_step(plan, PLAN_TARGET_CHANGE, target->name, 0,
                        "target %s: %s changes for logins from now on; sessions stay", target->name,
                        key->name);
    if (key->when == KEY_INQUIRY)
        return add_step(plan, PLAN_TARGET_INQUIRY, target->name, 0,
                        "target %s: %s changes; its hosts are told that INQUIRY data has changed",
                        target->name, key->name);
    return 0; /* LUNs, compared one by one; a name is another target */
}

static int plan_target(struct plan *plan, const struct model_target *from,
                       const struct model_target *to)
{
    for (const struct key *key = keys_next(KEY_TARGET, NULL); key;
         key = keys_next(KEY_TARGET, key)) {
        if (is_equal_value(key, from, to))
            continue;
        int error = plan_target_key(plan, to, key);
        if (error < 0)
            return error;
    }
    return plan_luns(plan, from, to);
}

static int plan_target_add(struct plan *plan, const struct model_target *target)
{
    int error = add_step(plan, PLAN_TARGET_ADD, target->name, 0, "add target %s", target->name);

    for (unsigned i = 0; i < target->lun_count && error == 0; i++)
        error = plan_lun_add(plan, target, &target->luns[i]);
    return error;
}

static int plan_targets(struct plan *plan, const struct model *from, const struct model *to)
{
    int error = 0;

    for (unsigned i = 0; i < from->target_count && error == 0; i++) {
        const struct model_target *target = &from->targets[i];
        if (!model_find_target(to, target->name))
            error =
                add_step(plan, PLAN_TARGET_REMOVE, target->name, 0,
                         "remove target %s with its %u LUN%s; its sessions end, the images stay",
                         target->name, target->lun_count, target->lun_count == 1 ? "" : "s");
    }
    for (unsigned i = 0; i < to->target_count && error == 0; i++) {
        const struct model_target *target = &to->targets[i];
        const struct model_target *had = model_find_target(from, target->name);
        error = had ? plan_target(plan, had, target) : plan_target_add(plan, target);
    }
    return error;
}

int plan_make(const struct model *from, const struct model *to, struct plan *plan)
{
    int error = 0;

    *plan = (struct plan){ 0 };
    for (const struct key *key = keys_next(KEY_GLOBAL, NULL); key && error == 0;
         key = keys_next(KEY_GLOBAL, key)) {
        if (!is_equal_value(key, from, to))
            error = add_step(plan, PLAN_RESTART, NULL, 0, "%s holds after a restart of nestord",
                             key->name);
    }
    if (error == 0)
        error = plan_targets(plan, from, to);
    if (error < 0)
        plan_free(plan);
    return error;
}
