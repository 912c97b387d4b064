/* model: memory of the plain structs. See model.h. */
#include "conf/model.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- text ---- */

static int text_copy(char **to, const char *from)
{
    *to = from ? strdup(from) : NULL;
    return from && !*to ? -ENOMEM : 0;
}

static void text_free(char **text)
{
    free(*text);
    *text = NULL;
}

static void secret_free(char **secret)
{
    if (*secret)
        explicit_bzero(*secret, strlen(*secret));
    text_free(secret);
}

int model_strings_add(struct model_strings *strings, const char *item)
{
    char **items = reallocarray(strings->items, strings->count + 1, sizeof(*items));
    if (!items)
        return -ENOMEM;
    strings->items = items;
    if (text_copy(&items[strings->count], item) < 0)
        return -ENOMEM;
    strings->count++;
    strings->is_set = true;
    return 0;
}

void model_strings_free(struct model_strings *strings)
{
    for (unsigned i = 0; i < strings->count; i++)
        free(strings->items[i]);
    free(strings->items);
    *strings = (struct model_strings){ 0 };
}

static int strings_copy(struct model_strings *to, const struct model_strings *from)
{
    *to = (struct model_strings){ .is_set = from->is_set };
    for (unsigned i = 0; i < from->count; i++) {
        if (model_strings_add(to, from->items[i]) < 0)
            return -ENOMEM; /* the owner of *to frees what is there */
    }
    return 0;
}

/* ---- LUNs ---- */

void model_lun_init(struct model_lun *lun)
{
    *lun = (struct model_lun){ .vaai = -1, .rotation = -1, .thin_threshold = -1 };
}

void model_lun_free(struct model_lun *lun)
{
    text_free(&lun->path);
    text_free(&lun->serial);
    text_free(&lun->naa);
    text_free(&lun->product);
    model_strings_free(&lun->initiators);
    model_lun_init(lun);
}

int model_lun_copy(struct model_lun *to, const struct model_lun *from)
{
    *to = *from;
    to->path = to->serial = to->naa = to->product = NULL;
    to->initiators = (struct model_strings){ 0 };
    to->place = (struct model_place){ 0 };
    memset(to->said, 0, sizeof(to->said));
    if (text_copy(&to->path, from->path) < 0 || text_copy(&to->serial, from->serial) < 0 ||
        text_copy(&to->naa, from->naa) < 0 || text_copy(&to->product, from->product) < 0 ||
        strings_copy(&to->initiators, &from->initiators) < 0) {
        model_lun_free(to);
        return -ENOMEM;
    }
    return 0;
}

/* ---- targets ---- */

static void chap_free(struct model_chap *chap)
{
    text_free(&chap->user);
    text_free(&chap->secret_file);
    text_free(&chap->mutual_user);
    text_free(&chap->mutual_secret_file);
    secret_free(&chap->secret);
    secret_free(&chap->mutual_secret);
}

static int chap_copy(struct model_chap *to, const struct model_chap *from)
{
    *to = (struct model_chap){ 0 };
    if (text_copy(&to->user, from->user) < 0 ||
        text_copy(&to->secret_file, from->secret_file) < 0 ||
        text_copy(&to->mutual_user, from->mutual_user) < 0 ||
        text_copy(&to->mutual_secret_file, from->mutual_secret_file) < 0 ||
        text_copy(&to->secret, from->secret) < 0 ||
        text_copy(&to->mutual_secret, from->mutual_secret) < 0)
        return -ENOMEM;
    return 0;
}

void model_target_free(struct model_target *target)
{
    text_free(&target->name);
    text_free(&target->alias);
    model_strings_free(&target->initiators);
    model_strings_free(&target->networks);
    chap_free(&target->chap);
    for (unsigned i = 0; i < target->lun_count; i++)
        model_lun_free(&target->luns[i]);
    free(target->luns);
    *target = (struct model_target){ 0 };
}

int model_target_copy(struct model_target *to, const struct model_target *from)
{
    *to = (struct model_target){ .has_chap = from->has_chap,
                                 .has_alua = from->has_alua,
                                 .is_managed = from->is_managed,
                                 .origin = from->origin };
    if (text_copy(&to->name, from->name) < 0 || text_copy(&to->alias, from->alias) < 0 ||
        strings_copy(&to->initiators, &from->initiators) < 0 ||
        strings_copy(&to->networks, &from->networks) < 0 || chap_copy(&to->chap, &from->chap) < 0)
        goto no_memory;
    for (unsigned i = 0; i < from->lun_count; i++) {
        struct model_lun lun;
        if (model_lun_copy(&lun, &from->luns[i]) < 0)
            goto no_memory;
        if (!model_take_lun(to, &lun)) {
            model_lun_free(&lun);
            goto no_memory;
        }
    }
    return 0;

no_memory:
    model_target_free(to);
    return -ENOMEM;
}

/* ---- the model ---- */

void model_free(struct model *model)
{
    model_strings_free(&model->portals);
    text_free(&model->state_dir);
    text_free(&model->admin_socket);
    text_free(&model->admin_group);
    chap_free(&model->discovery_chap);
    for (unsigned i = 0; i < model->target_count; i++)
        model_target_free(&model->targets[i]);
    free(model->targets);
    for (unsigned i = 0; i < model->file_count; i++)
        free(model->files[i]);
    free(model->files);
    *model = (struct model){ 0 };
}

const char *model_file(struct model *model, const char *name)
{
    for (unsigned i = 0; i < model->file_count; i++) {
        if (strcmp(model->files[i], name) == 0)
            return model->files[i];
    }
    char **files = reallocarray(model->files, model->file_count + 1, sizeof(*files));
    if (!files)
        return NULL;
    model->files = files;
    if (text_copy(&files[model->file_count], name) < 0)
        return NULL;
    return files[model->file_count++];
}

/* iSCSI names compare without case (RFC 7143 4.2.7.1 has them normalized to lower case). */
struct model_target *model_find_target(const struct model *model, const char *name)
{
    for (unsigned i = 0; i < model->target_count; i++) {
        const char *have = model->targets[i].name;
        if (have && name && strcasecmp(have, name) == 0)
            return &model->targets[i];
    }
    return NULL;
}

struct model_lun *model_find_lun(const struct model_target *target, unsigned lun)
{
    for (unsigned i = 0; i < target->lun_count; i++) {
        if (target->luns[i].lun == lun)
            return &target->luns[i];
    }
    return NULL;
}

struct model_target *model_take_target(struct model *model, struct model_target *from)
{
    struct model_target *targets =
        reallocarray(model->targets, model->target_count + 1, sizeof(*targets));
    if (!targets)
        return NULL;
    model->targets = targets;
    targets[model->target_count] = *from;
    *from = (struct model_target){ 0 };
    return &targets[model->target_count++];
}

struct model_lun *model_take_lun(struct model_target *target, struct model_lun *from)
{
    struct model_lun *luns = reallocarray(target->luns, target->lun_count + 1, sizeof(*luns));
    if (!luns)
        return NULL;
    target->luns = luns;
    luns[target->lun_count] = *from;
    model_lun_init(from);
    return &luns[target->lun_count++];
}

struct model_target *model_add_target(struct model *model, const char *name)
{
    struct model_target target = { 0 };
    if (text_copy(&target.name, name) < 0)
        return NULL;
    struct model_target *added = model_take_target(model, &target);
    if (!added)
        model_target_free(&target);
    return added;
}

struct model_lun *model_add_lun(struct model_target *target, unsigned lun)
{
    struct model_lun fresh;
    model_lun_init(&fresh);
    fresh.lun = lun;
    return model_take_lun(target, &fresh);
}

/* Closes, or opens, the gap at `at` among `count` items of `size` bytes. */
static void close_gap(void *items, unsigned at, unsigned count, size_t size)
{
    char *gap = (char *)items + at * size;
    memmove(gap, gap + size, (count - at - 1) * size);
}

static void open_gap(void *items, unsigned at, unsigned count, size_t size)
{
    char *gap = (char *)items + at * size;
    memmove(gap + size, gap, (count - at) * size);
}

void model_detach_lun(struct model_target *target, unsigned at, struct model_lun *out)
{
    *out = target->luns[at];
    close_gap(target->luns, at, target->lun_count--, sizeof(*target->luns));
}

void model_reattach_lun(struct model_target *target, unsigned at, const struct model_lun *lun)
{
    open_gap(target->luns, at, target->lun_count++, sizeof(*target->luns));
    target->luns[at] = *lun;
}

void model_detach_target(struct model *model, unsigned at, struct model_target *out)
{
    *out = model->targets[at];
    close_gap(model->targets, at, model->target_count--, sizeof(*model->targets));
}

void model_reattach_target(struct model *model, unsigned at, const struct model_target *target)
{
    open_gap(model->targets, at, model->target_count++, sizeof(*model->targets));
    model->targets[at] = *target;
}

void model_remove_target(struct model *model, const char *name)
{
    struct model_target *target = model_find_target(model, name), removed;

    if (!target)
        return;
    model_detach_target(model, (unsigned)(target - model->targets), &removed);
    model_target_free(&removed);
}

void model_remove_lun(struct model_target *target, unsigned number)
{
    struct model_lun *lun = model_find_lun(target, number), removed;

    if (!lun)
        return;
    model_detach_lun(target, (unsigned)(lun - target->luns), &removed);
    model_lun_free(&removed);
}

/* ---- problems ---- */

static int place_order(const struct model_problem_place *a, const struct model_problem_place *b)
{
    int order = strcmp(a->file, b->file);
    if (order != 0)
        return order;
    return (a->line > b->line) - (a->line < b->line);
}

void model_problems_add(struct model_problems *problems, const struct model_place *place,
                        const char *format, ...)
{
    const char *file = place && place->file ? place->file : "";
    struct model_problem_place at = { .file = strdup(file), .line = place ? place->line : 0 };
    char *text = NULL, *line = NULL;
    va_list args;

    va_start(args, format);
    int made = vasprintf(&text, format, args);
    va_end(args);
    if (made < 0)
        text = NULL;
    if (!text || !at.file ||
        (*file ? asprintf(&line, "%s:%u: %s", file, at.line, text) : asprintf(&line, "%s", text)) <
            0)
        line = NULL;
    free(text);

    char **lines = reallocarray(problems->lines, problems->count + 1, sizeof(*lines));
    if (lines)
        problems->lines = lines;
    struct model_problem_place *places =
        reallocarray(problems->places, problems->count + 1, sizeof(*places));
    if (places)
        problems->places = places;
    if (!line || !lines || !places) {
        problems->is_incomplete = true;
        free(line);
        free(at.file);
        return;
    }
    unsigned i = problems->count++;
    for (; i > 0 && place_order(&at, &places[i - 1]) < 0; i--) {
        lines[i] = lines[i - 1];
        places[i] = places[i - 1];
    }
    lines[i] = line;
    places[i] = at;
}

void model_problems_free(struct model_problems *problems)
{
    for (unsigned i = 0; i < problems->count; i++) {
        free(problems->lines[i]);
        free(problems->places[i].file);
    }
    free(problems->lines);
    free(problems->places);
    *problems = (struct model_problems){ 0 };
}
