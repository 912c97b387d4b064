/* served: target nodes and open units. See served.h. */
#include "target/served.h"
#include "target/scsi/journal.h"
#include "target/scsi/persistent_file.h"
#include "target/worker/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

/* ---- who may log in ---- */

static void copy_text(char *to, size_t cap, const char *from)
{
    snprintf(to, cap, "%s", from ? from : ""); /* the lengths were checked with the model */
}

void access_set_chap(struct node_chap *chap, const struct model_chap *declared)
{
    chap->is_set = true;
    copy_text(chap->user, sizeof(chap->user), declared->user);
    copy_text(chap->secret, sizeof(chap->secret), declared->secret);
    copy_text(chap->mutual_user, sizeof(chap->mutual_user), declared->mutual_user);
    copy_text(chap->mutual_secret, sizeof(chap->mutual_secret), declared->mutual_secret);
}

/* A NULL-terminated copy; NULL when nothing was said (everybody), or without memory. */
static char **copy_patterns(const struct model_strings *strings)
{
    char **patterns = calloc(strings->count + 1, sizeof(*patterns));

    for (unsigned i = 0; patterns && i < strings->count; i++) {
        if ((patterns[i] = strdup(strings->items[i])))
            continue;
        while (i > 0)
            free(patterns[--i]);
        free(patterns);
        return NULL;
    }
    return patterns;
}

struct node_access *access_make(const struct model_target *declared)
{
    struct node_access *access = calloc(1, sizeof(*access));

    if (!access)
        return NULL;
    atomic_init(&access->refs, 1);
    copy_text(access->alias, sizeof(access->alias), declared->alias);
    if (declared->initiators.is_set && !(access->initiators = copy_patterns(&declared->initiators)))
        goto refuse;
    access->has_networks = declared->networks.is_set;
    access->networks = calloc(declared->networks.count + 1, sizeof(*access->networks));
    if (!access->networks)
        goto refuse;
    for (unsigned i = 0; i < declared->networks.count; i++) {
        if (node_network_parse(declared->networks.items[i], &access->networks[i]) < 0)
            goto refuse;
        access->network_count++;
    }
    if (declared->has_chap)
        access_set_chap(&access->chap, &declared->chap);
    return access;

refuse:
    node_access_put(access);
    return NULL;
}

/* ---- targets ---- */

int served_open(struct served_list *all, struct node_table *nodes, struct workers *workers,
                const struct model_target *declared, struct served **out)
{
    struct node_access *access = access_make(declared);
    struct served *served = calloc(1, sizeof(*served));

    if (!access || !served)
        goto no_memory;
    if (!node_add(nodes, declared->name, workers, access)) {
        access = NULL; /* node_add() has let go of it */
        goto no_memory;
    }
    served->node = node_find(nodes, declared->name);
    scsi_target_set_alua(&served->node->scsi, declared->has_alua);
    TAILQ_INIT(&served->units);
    TAILQ_INSERT_TAIL(all, served, link);
    *out = served;
    return 0;

no_memory:
    node_access_put(access);
    free(served);
    return -ENOMEM;
}

void served_close(struct served_list *all, struct served *served)
{
    struct unit *unit;

    TAILQ_REMOVE(all, served, link);
    while ((unit = TAILQ_FIRST(&served->units))) {
        unit_take(served, unit);
        unit_free(unit);
    }
    node_put(served->node);
    free(served);
}

struct served *served_find(const struct served_list *all, const char *name)
{
    struct served *served;

    TAILQ_FOREACH (served, all, link) {
        if (strcasecmp(served->node->name, name) == 0)
            return served;
    }
    return NULL;
}

struct unit *served_unit(const struct served *served, unsigned lun)
{
    struct unit *unit;

    TAILQ_FOREACH (unit, &served->units, link) {
        if (unit->lun == lun)
            return unit;
    }
    return NULL;
}

/* ---- units ---- */

enum { THIN_THRESHOLD_DEFAULT = 90 }; /* percent */

void unit_free(struct unit *unit)
{
    if (unit->lu)
        lu_close(unit->lu);
    free(unit->problem);
    free(unit);
}

void unit_take(struct served *served, struct unit *unit)
{
    TAILQ_REMOVE(&served->units, unit, link);
}

static struct unit *unit_make(struct served *served, unsigned lun)
{
    struct unit *unit = served_unit(served, lun);

    if (unit)
        return unit;
    unit = calloc(1, sizeof(*unit));
    if (!unit)
        return NULL;
    unit->lun = lun;
    TAILQ_INSERT_TAIL(&served->units, unit, link);
    return unit;
}

int unit_set_problem(struct served *served, unsigned lun, const char *problem)
{
    struct unit *unit = unit_make(served, lun);
    char *text = strdup(problem);

    if (!unit || !text) {
        free(text);
        return -ENOMEM;
    }
    free(unit->problem);
    unit->problem = text;
    return 0;
}

/* Calls each() for the open units of all targets until it says true; then that unit is found. */
static const struct unit *find_unit(const struct served_list *all,
                                    bool (*is_it)(const struct lu *lu, const void *wanted),
                                    const void *wanted, const struct served **in)
{
    struct served *served;
    struct unit *unit;

    TAILQ_FOREACH (served, all, link) {
        TAILQ_FOREACH (unit, &served->units, link) {
            if (unit->lu && is_it(unit->lu, wanted)) {
                *in = served;
                return unit;
            }
        }
    }
    return NULL;
}

static bool has_image(const struct lu *lu, const void *place)
{
    return backing_is_at(lu->backing, place);
}

static bool has_identity(const struct lu *lu, const void *wanted)
{
    const struct identity *identity = wanted;

    return strcasecmp(lu->identity.serial, identity->serial) == 0 ||
           memcmp(lu->identity.naa, identity->naa, sizeof(identity->naa)) == 0;
}

static int open_image(const struct served_list *all, const struct model_lun *declared,
                      struct backing **out, char error[SERVED_ERROR_MAX])
{
    struct backing_options options = { .path = declared->path,
                                       .size_bytes = declared->size_bytes,
                                       .is_readonly = declared->is_readonly,
                                       .is_new_allowed =
                                           !declared->is_readonly && declared->size_bytes != 0 };
    struct backing_error reason;
    const struct served *served;
    struct backing_place place;
    /* before it is opened: the lock would say only that somebody has it */
    const struct unit *other = backing_place(declared->path, &place) == 0
                                   ? find_unit(all, has_image, &place, &served)
                                   : NULL;

    if (other) {
        snprintf(
            error, SERVED_ERROR_MAX,
            "%s is the image of LUN %u of %s already; two LUNs on one image destroy it (to show a "
            "LUN to some hosts only, use its initiators)",
            declared->path, other->lun, served->node->name);
        return -EEXIST;
    }
    int result = backing_open(&options, out, &reason);
    if (result < 0)
        snprintf(error, SERVED_ERROR_MAX, "%s", reason.text);
    return result;
}

static int load_identity(const struct served_list *all, const struct model_lun *declared,
                         struct identity *identity, char error[SERVED_ERROR_MAX])
{
    struct identity_wish wish = { .serial = declared->serial,
                                  .naa = declared->naa,
                                  .product = declared->product,
                                  .vaai = declared->vaai,
                                  .block_bytes = declared->block_size,
                                  .physical_block_bytes = declared->physical_block_size };
    char reason[IDENTITY_ERROR_MAX];
    const struct served *served;
    int result = identity_load(declared->path, &wish, identity, reason);

    if (result < 0) {
        snprintf(error, SERVED_ERROR_MAX, "%s", reason);
        return result;
    }
    const struct unit *other = find_unit(all, has_identity, identity, &served);
    if (other) {
        snprintf(
            error, SERVED_ERROR_MAX,
            "%s has the serial number or NAA name of LUN %u of %s; hosts would take the two for "
            "one disk. Was it copied with %s.nestor? Move that file away, and it gets its own",
            declared->path, other->lun, served->node->name, declared->path);
        return -EEXIST;
    }
    return 0;
}

/* The registrations that hosts asked to keep (APTPL), and where they are kept. */
static int load_persistent(const char *state_dir, const struct identity *identity, char **path,
                           struct persistent **persistent, char error[SERVED_ERROR_MAX])
{
    char reason[PERSISTENT_FILE_ERROR_MAX];
    int result;

    *persistent = NULL;
    *path = persistent_file_path(state_dir, identity);
    if (!*path) {
        snprintf(error, SERVED_ERROR_MAX, "no memory");
        return -ENOMEM;
    }
    result = persistent_file_read(*path, persistent, reason);
    if (result < 0) {
        snprintf(error, SERVED_ERROR_MAX, "%s", reason);
        free(*path);
    }
    return result;
}

/* What a nestord that was killed was in the middle of, and must not be left half done. */
static int finish_writes(struct backing *backing, const struct identity *identity,
                         char error[SERVED_ERROR_MAX])
{
    char reason[JOURNAL_ERROR_MAX];
    int result = journal_replay(backing, identity->naa, reason);

    if (result < 0)
        snprintf(error, SERVED_ERROR_MAX, "%s", reason);
    return result;
}

uint16_t served_rotation(const struct model_lun *declared)
{
    return declared->rotation > 0 ? (uint16_t)declared->rotation : 0;
}

static int open_lu(const char *state_dir, struct backing *backing, const struct model_lun *declared,
                   const struct identity *identity, struct lu **out, char error[SERVED_ERROR_MAX])
{
    struct persistent *persistent;
    char *persistent_path;
    int result = load_persistent(state_dir, identity, &persistent_path, &persistent, error);

    if (result < 0)
        return result;
    struct lu_options options = {
        .backing = backing,
        .identity = *identity,
        .is_readonly = declared->is_readonly,
        .is_removable = declared->is_removable,
        .cache = declared->is_writethrough ? CACHE_WRITETHROUGH : CACHE_WRITEBACK,
        .rotation_rpm = served_rotation(declared),
        .thin_threshold_percent = declared->thin_threshold >= 0 ? (unsigned)declared->thin_threshold
                                                                : THIN_THRESHOLD_DEFAULT,
        .persistent_path = persistent_path,
        .persistent = persistent,
    };
    /* what an earlier writeback run left in the page cache was answered GOOD too */
    struct io flush = { .op = IO_FLUSH, .backing = backing };
    if (options.cache == CACHE_WRITETHROUGH && !options.is_readonly)
        backing_run(&flush);
    result = flush.result ? flush.result : lu_open(&options, out);
    free(persistent_path);
    if (result < 0)
        free(persistent);

    if (result == -EINVAL)
        snprintf(
            error, SERVED_ERROR_MAX,
            "%s has %llu bytes, no whole number of its blocks of %u bytes; say a size that is one",
            declared->path, (unsigned long long)backing_size_bytes(backing), identity->block_bytes);
    else if (result < 0)
        snprintf(error, SERVED_ERROR_MAX, "%s: %s", declared->path, strerror(-result));
    return result;
}

/* What a failed opening has made holds nobody's data yet. */
static void remove_made(const struct unit *unit, const char *image, const char *sidecar)
{
    if (unit->has_made_sidecar)
        unlink(sidecar);
    if (unit->has_made_image)
        unlink(image);
}

static int open_unit(const struct served_list *all, const char *state_dir, struct unit *unit,
                     const struct model_lun *declared, const char *sidecar,
                     char error[SERVED_ERROR_MAX])
{
    struct backing *backing = NULL;
    struct identity identity;

    unit->has_made_image = access(declared->path, F_OK) < 0;
    unit->has_made_sidecar = access(sidecar, F_OK) < 0;
    int result = open_image(all, declared, &backing, error);
    if (result < 0)
        return result;
    result = load_identity(all, declared, &identity, error);
    if (result == 0 && identity.is_new && !unit->has_made_image)
        log_warning(
            "%s had no side-car and has a new identity now. If hosts have used it before, they "
            "take it for another disk: stop nestord, put the old %s back, or remove the new one "
            "and set serial and naa of the LUN to the old values",
            declared->path, sidecar);
    if (result == 0)
        result = finish_writes(backing, &identity, error);
    if (result == 0)
        result = open_lu(state_dir, backing, declared, &identity, &unit->lu, error);
    if (result < 0) {
        backing_close(backing);
        remove_made(unit, declared->path, sidecar);
    }
    return result;
}

int unit_open(const struct served_list *all, const char *state_dir, struct served *served,
              const struct model_lun *declared, char error[SERVED_ERROR_MAX])
{
    bool had_unit = served_unit(served, declared->lun) != NULL;
    struct unit *unit = unit_make(served, declared->lun);
    char *sidecar = NULL;
    int result = -ENOMEM;

    snprintf(error, SERVED_ERROR_MAX, "no memory for LUN %u", declared->lun);
    if (unit && asprintf(&sidecar, "%s.nestor", declared->path) >= 0) {
        result = open_unit(all, state_dir, unit, declared, sidecar, error);
        free(sidecar);
    }
    if (result == 0) {
        free(unit->problem);
        unit->problem = NULL;
    } else if (unit && !had_unit) {
        unit_take(served, unit);
        unit_free(unit);
    }
    return result;
}

void unit_undo(struct served *served, struct unit *unit)
{
    char *image = strdup(backing_path(unit->lu->backing)), *sidecar = NULL;

    if (image && asprintf(&sidecar, "%s.nestor", image) >= 0) {
        remove_made(unit, image, sidecar);
        free(sidecar);
    }
    free(image);
    unit_take(served, unit);
    unit_free(unit);
}

/* ---- LUN maps ---- */

struct lun_map *served_map(const struct served *served, const struct model_target *declared)
{
    struct lun_map *map = lun_map_create(declared->lun_count);

    if (!map)
        return NULL;
    map->count = 0;
    for (unsigned i = 0; i < declared->lun_count; i++) { /* ascending, since the check */
        const struct model_lun *lun = &declared->luns[i];
        const struct unit *unit = served_unit(served, lun->lun);
        if (!unit || !unit->lu)
            continue;
        struct lun_entry *entry = &map->entries[map->count];
        if (lun->initiators.is_set && !(entry->initiators = copy_patterns(&lun->initiators))) {
            lun_map_put(map);
            return NULL;
        }
        entry->lun = (uint16_t)lun->lun;
        entry->lu = unit->lu;
        map->count++;
    }
    return map;
}

void served_first_map(struct served *served, struct lun_map *map)
{
    struct scsi_target *scsi = &served->node->scsi;

    pthread_mutex_lock(&scsi->mutex);
    struct lun_map *empty = scsi->map;
    scsi->map = map;
    pthread_mutex_unlock(&scsi->mutex);
    lun_map_put(empty);
}
