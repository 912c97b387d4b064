/*
 * check: what a model must fulfil, whoever made it.
 *
 * Single values are held against their rows of the table; then what they mean together: names,
 * numbers, images and identities that may stand only once, sizes that fit the blocks, secrets.
 */
#include "conf/conf.h"
#include "conf/keys.h"
#include "conf/secret.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { LUNS_PER_TARGET_MAX = 1024, PATH_TEXT_MAX = 320 };

/* ---- where: what stands before the name of a key ---- */

static void target_path(const struct model_target *target, char *text)
{
    if (target->place.file)
        snprintf(text, PATH_TEXT_MAX, "targets[%u].", target->index);
    else
        snprintf(text, PATH_TEXT_MAX, "target %s: ", target->name ? target->name : "(no name)");
}

static void lun_path(const struct model_target *target, const struct model_lun *lun, char *text)
{
    if (lun->place.file)
        snprintf(text, PATH_TEXT_MAX, "targets[%u].luns[%u].", lun->target_index, lun->index);
    else
        snprintf(text, PATH_TEXT_MAX, "LUN %u of %s: ", lun->lun,
                 target->name ? target->name : "(no name)");
}

/* The line that says the key; when none does, the line of its group. */
static const struct model_place *place_of_key(enum key_scope scope, const char *name,
                                              const void *object, const struct model_place *group)
{
    const struct model_place *place = key_place(conf_key_find(scope, name), object);
    return place->file ? place : group;
}

/* "nestor.conf:12", or "nestorctl" for what no file says. */
static void place_text(const struct model_place *place, char *text, size_t cap)
{
    if (place->file)
        snprintf(text, cap, "%s:%u", place->file, place->line);
    else
        snprintf(text, cap, "a change that is under way");
}

/* ---- single values ---- */

static void check_text(const struct key *key, const char *text, const char *path,
                       const struct model_place *place, struct model_problems *problems)
{
    char reason[KEY_REASON_MAX];

    if (text && key->check && key->check(text, reason, sizeof(reason)) < 0)
        model_problems_add(problems, place, "%s%s: %s", path, key->name, reason);
}

static bool number_is_allowed(const struct key *key, const void *object)
{
    uint64_t value = key_number(key, object);

    if (key_is_fallback(key, object))
        return true;
    if (key->type == KEY_FLAG)
        return value <= 1;
    if (!key->choices)
        return value >= key->minimum && value <= key->maximum;
    for (uint64_t i = 0; key->choices[i]; i++) {
        if (key->type == KEY_CHOICE ? i == value : strtoull(key->choices[i], NULL, 10) == value)
            return true;
    }
    return false;
}

static void check_values(enum key_scope scope, const void *object, const char *path,
                         const struct model_place *group, struct model_problems *problems)
{
    for (const struct key *key = keys_next(scope, NULL); key; key = keys_next(scope, key)) {
        const struct model_place *said = key_place(key, object);
        const struct model_place *place = said->file ? said : group;
        const void *member = key_member_const(key, object);
        char expected[KEY_REASON_MAX];

        switch (key->type) {
        case KEY_TEXT: {
            const char *text = *(char *const *)member;
            check_text(key, text, path, place, problems);
            /* the loader has told what a file leaves out */
            if (!text && key->is_required && !group->file)
                model_problems_add(problems, place, "%s%s is missing", path, key->name);
            break;
        }
        case KEY_TEXTS: {
            const struct model_strings *strings = member;
            for (unsigned i = 0; i < strings->count; i++)
                check_text(key, strings->items[i], path, place, problems);
            break;
        }
        case KEY_GROUP:
        case KEY_GROUPS: break;
        default:
            if (!number_is_allowed(key, object)) {
                key_expected(key, expected, sizeof(expected));
                model_problems_add(problems, place, "%s%s: expected %s, found %" PRIu64, path,
                                   key->name, expected, key_number(key, object));
            }
            break;
        }
    }
}

/* ---- CHAP ---- */

static void check_chap(struct model_chap *chap, const char *path, const struct model_place *group,
                       struct model_problems *problems)
{
    char error[KEY_REASON_MAX];

    check_values(KEY_CHAP, chap, path, group, problems);
    if (!chap->mutual_user != !chap->mutual_secret_file)
        model_problems_add(problems, group,
                           "%smutual_user goes together with mutual_secret_file; say both or none",
                           path);
    if (chap->secret_file && !chap->secret &&
        secret_read(chap->secret_file, &chap->secret, error, sizeof(error)) < 0)
        model_problems_add(problems, place_of_key(KEY_CHAP, "secret_file", chap, group),
                           "%ssecret_file: %s", path, error);
    if (chap->mutual_secret_file && !chap->mutual_secret &&
        secret_read(chap->mutual_secret_file, &chap->mutual_secret, error, sizeof(error)) < 0)
        model_problems_add(problems, place_of_key(KEY_CHAP, "mutual_secret_file", chap, group),
                           "%smutual_secret_file: %s", path, error);
    if (chap->secret && chap->mutual_secret && strcmp(chap->secret, chap->mutual_secret) == 0)
        model_problems_add(problems, place_of_key(KEY_CHAP, "mutual_secret_file", chap, group),
                           "%smutual_secret_file: it holds the same secret as secret_file; each "
                           "direction needs its own (RFC 7143 9.2.1)",
                           path);
}

/* ---- LUNs ---- */

static int lun_order(const void *a, const void *b)
{
    const struct model_lun *left = a, *right = b;
    if (left->lun != right->lun)
        return left->lun < right->lun ? -1 : 1;
    return (left->index > right->index) - (left->index < right->index);
}

static void check_lun(const struct model_target *target, const struct model_lun *lun,
                      struct model_problems *problems)
{
    uint32_t block = lun->block_size ? lun->block_size : 512;
    char path[PATH_TEXT_MAX];

    lun_path(target, lun, path);
    check_values(KEY_LUN, lun, path, &lun->place, problems);
    if (lun->size_bytes % block != 0)
        model_problems_add(problems, place_of_key(KEY_LUN, "size", lun, &lun->place),
                           "%ssize: %" PRIu64 " bytes are no whole number of %u-byte blocks", path,
                           lun->size_bytes, block);
    if (lun->physical_block_size != 0 && lun->physical_block_size < block)
        model_problems_add(problems, place_of_key(KEY_LUN, "physical_block_size", lun, &lun->place),
                           "%sphysical_block_size: %u is less than the block_size of %u", path,
                           lun->physical_block_size, block);
}

/* The loader has told of one without; it is not LUN 0. */
static bool has_number(const struct model_lun *lun)
{
    return !lun->place.file || key_place(conf_key_find(KEY_LUN, "lun"), lun)->file;
}

static void check_luns(struct model_target *target, struct model_problems *problems)
{
    char path[PATH_TEXT_MAX], other[PATH_TEXT_MAX];

    if (target->lun_count > 0)
        qsort(target->luns, target->lun_count, sizeof(*target->luns), lun_order);
    for (unsigned i = 0; i < target->lun_count; i++) {
        const struct model_lun *lun = &target->luns[i];
        check_lun(target, lun, problems);
        if (i == 0 || lun[-1].lun != lun->lun || !has_number(lun) || !has_number(&lun[-1]))
            continue;
        lun_path(target, lun, path);
        place_text(place_of_key(KEY_LUN, "lun", &lun[-1], &lun[-1].place), other, sizeof(other));
        model_problems_add(problems, place_of_key(KEY_LUN, "lun", lun, &lun->place),
                           "%slun: this target has a LUN %u already, at %s", path, lun->lun, other);
    }
    if (target->lun_count > LUNS_PER_TARGET_MAX) {
        target_path(target, path);
        model_problems_add(problems, place_of_key(KEY_TARGET, "luns", target, &target->place),
                           "%sluns: %u LUNs; a target has at most %d", path, target->lun_count,
                           LUNS_PER_TARGET_MAX);
    }
}

/* ---- what may stand only once in all targets ---- */

struct image {
    const struct model_target *target;
    const struct model_lun *lun;
    bool exists, is_device;
    dev_t device;
    ino_t inode;
};

static bool is_same_image(const struct image *a, const struct image *b)
{
    if (strcmp(a->lun->path, b->lun->path) == 0)
        return true;
    return a->exists && b->exists && a->is_device == b->is_device && a->device == b->device &&
           a->inode == b->inode;
}

static bool is_same_text(const char *a, const char *b)
{
    return a && b && strcasecmp(a, b) == 0;
}

static void told_twice(const struct image *first, const struct image *second, const char *key,
                       const char *what, struct model_problems *problems)
{
    const struct model_place *place = place_of_key(KEY_LUN, key, second->lun, &second->lun->place);
    char path[PATH_TEXT_MAX], other[PATH_TEXT_MAX];

    lun_path(second->target, second->lun, path);
    place_text(place_of_key(KEY_LUN, key, first->lun, &first->lun->place), other, sizeof(other));
    model_problems_add(problems, place,
                       "%s%s: two LUNs with one %s; the other is LUN %u of %s, at %s", path, key,
                       what, first->lun->lun, first->target->name, other);
}

static int check_images(const struct model *model, struct model_problems *problems)
{
    size_t most = 0, count = 0;

    for (unsigned i = 0; i < model->target_count; i++)
        most += model->targets[i].lun_count;
    struct image *images = calloc(most + 1, sizeof(*images));
    if (!images)
        return -ENOMEM;
    for (unsigned i = 0; i < model->target_count; i++) {
        const struct model_target *target = &model->targets[i];
        for (unsigned j = 0; j < target->lun_count; j++) {
            struct image *image = &images[count];
            struct stat status;
            if (!target->luns[j].path || !target->name)
                continue;
            *image = (struct image){ .target = target, .lun = &target->luns[j] };
            image->exists = stat(image->lun->path, &status) == 0;
            image->is_device = image->exists && S_ISBLK(status.st_mode);
            if (image->is_device) /* one device may have many names */
                image->device = status.st_rdev;
            else if (image->exists)
                image->device = status.st_dev, image->inode = status.st_ino;
            count++;
        }
    }
    for (const struct image *second = images; second < images + count; second++) {
        for (const struct image *first = images; first < second; first++) {
            if (is_same_image(first, second))
                told_twice(first, second, "path", "image", problems);
            if (is_same_text(first->lun->serial, second->lun->serial))
                told_twice(first, second, "serial", "serial number", problems);
            if (is_same_text(first->lun->naa, second->lun->naa))
                told_twice(first, second, "naa", "NAA name", problems);
        }
    }
    free(images);
    return 0;
}

/* ---- targets and the whole ---- */

static void check_target(struct model *model, struct model_target *target,
                         struct model_problems *problems)
{
    char path[PATH_TEXT_MAX], chap_path[PATH_TEXT_MAX + 8], other[PATH_TEXT_MAX];

    target_path(target, path);
    check_values(KEY_TARGET, target, path, &target->place, problems);
    const struct model_target *first = model_find_target(model, target->name);
    if (first && first != target) {
        place_text(place_of_key(KEY_TARGET, "name", first, &first->place), other, sizeof(other));
        model_problems_add(problems, place_of_key(KEY_TARGET, "name", target, &target->place),
                           "%sname: there is a target %s already, at %s", path, first->name, other);
    }
    if (target->has_chap) {
        snprintf(chap_path, sizeof(chap_path), "%schap.", path);
        check_chap(&target->chap, chap_path,
                   target->chap.place.file ? &target->chap.place : &target->place, problems);
    }
    check_luns(target, problems);
}

static void check_portals(const struct model *model, struct model_problems *problems)
{
    const struct model_place *place =
        place_of_key(KEY_GLOBAL, "portals", model, &(struct model_place){ 0 });

    if (model->portals.count == 0)
        model_problems_add(problems, place, "portals: none; nobody could reach the daemon");
    for (unsigned i = 0; i < model->portals.count; i++) {
        for (unsigned j = 0; j < i; j++) {
            if (strcmp(model->portals.items[i], model->portals.items[j]) == 0)
                model_problems_add(problems, place, "portals: \"%s\" stands there twice",
                                   model->portals.items[i]);
        }
    }
}

int conf_check(struct model *model, struct model_problems *problems)
{
    static const struct model_place nowhere;
    unsigned before = problems->count;

    check_values(KEY_GLOBAL, model, "", &nowhere, problems);
    check_portals(model, problems);
    if (model->has_discovery_chap)
        check_chap(&model->discovery_chap, "discovery_chap.", &model->discovery_chap.place,
                   problems);
    for (unsigned i = 0; i < model->target_count; i++)
        check_target(model, &model->targets[i], problems);
    if (check_images(model, problems) < 0 || problems->is_incomplete)
        return -ENOMEM;
    return problems->count > before ? -EINVAL : 0;
}
