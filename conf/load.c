/*
 * load: from the text of a file to the model, by the table of keys.
 *
 * The loader knows libconfig's tree and the table; it checks that each key is known, said once, of
 * the right type and in its range. What the values mean together is conf_check()'s.
 */
#include "conf/conf.h"
#include "conf/keys.h"
#include "conf/numbers.h"

#include <errno.h>
#include <inttypes.h>
#include <libconfig.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_TEXT_MAX = 128 }; /* "targets[12].luns[1023].physical_block_size" */

struct loading {
    struct model *model;
    struct model_problems *problems, *notes;
    const char *file;   /* the one that was asked for; it may include others */
    const char *folder; /* the one that it stands in */
    bool is_managed;
    bool no_memory;
};

static struct model_place place_of(struct loading *loading, const config_setting_t *setting)
{
    const char *file = config_setting_source_file(setting);
    struct model_place place = { .line = config_setting_source_line(setting) };
    char *included = NULL;

    if (!file)
        file = loading->file;
    /* libconfig tells the name as @include says it; a person needs the whole */
    bool is_included = strcmp(file, loading->file) != 0 && file[0] != '/';
    if (is_included && asprintf(&included, "%s/%s", loading->folder, file) < 0)
        included = NULL;
    place.file = model_file(loading->model, included ? included : file);
    free(included);
    if (!place.file)
        loading->no_memory = true;
    return place;
}

#define PROBLEM(loading, setting, ...)                                                             \
    do {                                                                                           \
        struct model_place place_ = place_of(loading, setting);                                    \
        model_problems_add((loading)->problems, &place_, __VA_ARGS__);                             \
    } while (0)

/* What stands there, for "expected ..., found ...". */
static void found_text(const config_setting_t *setting, char *text, size_t cap)
{
    switch (config_setting_type(setting)) {
    case CONFIG_TYPE_GROUP: snprintf(text, cap, "a group { ... }"); break;
    case CONFIG_TYPE_LIST: snprintf(text, cap, "a list ( ... )"); break;
    case CONFIG_TYPE_ARRAY: snprintf(text, cap, "a list [ ... ]"); break;
    case CONFIG_TYPE_STRING:
        snprintf(text, cap, "\"%s\"", config_setting_get_string(setting));
        break;
    case CONFIG_TYPE_BOOL:
        snprintf(text, cap, "%s", config_setting_get_bool(setting) ? "true" : "false");
        break;
    case CONFIG_TYPE_FLOAT: snprintf(text, cap, "%g", config_setting_get_float(setting)); break;
    default: snprintf(text, cap, "%lld", config_setting_get_int64(setting)); break;
    }
}

static void wrong_type(struct loading *loading, const config_setting_t *setting, const char *path,
                       const struct key *key)
{
    char expected[KEY_REASON_MAX], found[KEY_REASON_MAX];

    key_expected(key, expected, sizeof(expected));
    found_text(setting, found, sizeof(found));
    PROBLEM(loading, setting, "%s: expected %s, found %s", path, expected, found);
}

/* ---- one value ---- */

static bool is_integer(const config_setting_t *setting)
{
    int type = config_setting_type(setting);
    return type == CONFIG_TYPE_INT || type == CONFIG_TYPE_INT64;
}

static bool is_among(const struct key *key, uint64_t value)
{
    if (!key->choices)
        return value >= key->minimum && value <= key->maximum;
    for (const char *const *choice = key->choices; *choice; choice++) {
        if (strtoull(*choice, NULL, 10) == value)
            return true;
    }
    return false;
}

static void load_number(struct loading *loading, const config_setting_t *setting, const char *path,
                        const struct key *key, void *object)
{
    if (!is_integer(setting))
        return wrong_type(loading, setting, path, key);
    /* a negative number is beyond every range when it is read as unsigned */
    uint64_t value = (uint64_t)config_setting_get_int64(setting);
    if (!is_among(key, value))
        return wrong_type(loading, setting, path, key);
    key_set_number(key, object, value);
}

static void load_size(struct loading *loading, const config_setting_t *setting, const char *path,
                      const struct key *key, void *object)
{
    uint64_t value = 0;

    if (config_setting_type(setting) == CONFIG_TYPE_STRING) {
        const char *text = config_setting_get_string(setting);
        int error = conf_parse_size(text, &value);
        if (error == -EINVAL) {
            PROBLEM(loading, setting,
                    "%s: \"%s\" is not a size; write bytes, or a number with K, M, G or T such as "
                    "\"64G\"",
                    path, text);
            return;
        }
        if (error < 0)
            return wrong_type(loading, setting, path, key);
    } else if (is_integer(setting)) {
        value = (uint64_t)config_setting_get_int64(setting);
    } else {
        return wrong_type(loading, setting, path, key);
    }
    if (!is_among(key, value))
        return wrong_type(loading, setting, path, key);
    key_set_number(key, object, value);
}

static void load_choice(struct loading *loading, const config_setting_t *setting, const char *path,
                        const struct key *key, void *object)
{
    if (config_setting_type(setting) == CONFIG_TYPE_STRING) {
        const char *text = config_setting_get_string(setting);
        for (unsigned i = 0; key->choices[i]; i++) {
            if (strcmp(key->choices[i], text) == 0) {
                key_set_number(key, object, i);
                return;
            }
        }
    }
    wrong_type(loading, setting, path, key);
}

static void load_text(struct loading *loading, const config_setting_t *setting, const char *path,
                      const struct key *key, void *object)
{
    char **member = key_member(key, object);

    if (config_setting_type(setting) != CONFIG_TYPE_STRING)
        return wrong_type(loading, setting, path, key);
    char *text = strdup(config_setting_get_string(setting));
    if (!text) {
        loading->no_memory = true;
        return;
    }
    free(*member);
    *member = text;
}

static void load_texts(struct loading *loading, const config_setting_t *setting, const char *path,
                       const struct key *key, void *object)
{
    struct model_strings *strings = key_member(key, object);
    int type = config_setting_type(setting);

    if (type != CONFIG_TYPE_ARRAY && type != CONFIG_TYPE_LIST)
        return wrong_type(loading, setting, path, key);
    for (int i = 0; i < config_setting_length(setting); i++) {
        const config_setting_t *item = config_setting_get_elem(setting, (unsigned)i);
        if (config_setting_type(item) != CONFIG_TYPE_STRING)
            return wrong_type(loading, item, path, key);
    }
    model_strings_free(strings);
    strings->is_set = true;
    for (int i = 0; i < config_setting_length(setting); i++) {
        if (model_strings_add(strings, config_setting_get_string_elem(setting, i)) < 0)
            loading->no_memory = true;
    }
}

/* ---- groups ---- */

static void load_group(struct loading *loading, const config_setting_t *group, const char *prefix,
                       enum key_scope scope, void *object);

static void load_lun(struct loading *loading, const config_setting_t *group, const char *prefix,
                     struct model_target *target, unsigned index)
{
    struct model_lun lun;

    model_lun_init(&lun);
    if (keys_set_fallbacks(KEY_LUN, &lun) < 0)
        loading->no_memory = true;
    lun.origin = loading->is_managed ? ORIGIN_MANAGED : ORIGIN_PERSON;
    lun.place = place_of(loading, group);
    lun.target_index = target->index;
    lun.index = index;
    load_group(loading, group, prefix, KEY_LUN, &lun);
    if (!model_take_lun(target, &lun)) {
        loading->no_memory = true;
        model_lun_free(&lun);
    }
}

/*
 * A target of managed.conf is either one that nestorctl made (`managed = true`), or the place of
 * LUNs that it added to a target of the person's file. Where both files define a thing, the
 * person's file has it.
 */
static void merge_managed_target(struct loading *loading, struct model_target *managed)
{
    struct model_target *person = model_find_target(loading->model, managed->name);

    if (person && person->origin == ORIGIN_MANAGED) {
        model_problems_add(loading->problems, &managed->place,
                           "targets[%u].name: \"%s\" stands here twice", managed->index,
                           managed->name);
        return;
    }
    if (!person) {
        if (managed->is_managed || !managed->name) {
            if (!model_take_target(loading->model, managed))
                loading->no_memory = true;
            return;
        }
        /* without the person's access lists it would be open to everybody */
        model_problems_add(loading->problems, &managed->place,
                           "targets[%u]: nestorctl added LUNs to %s, which %s does not define any "
                           "more; put it back there, or take the LUNs out with \"nestorctl lun "
                           "remove\" (with nestord down: out of this file)",
                           managed->index, managed->name, loading->model->files[0]);
        return;
    }
    if (managed->is_managed)
        model_problems_add(loading->notes, &managed->place,
                           "target %s is defined at %s:%u too; that one holds", managed->name,
                           person->place.file, person->place.line);
    for (unsigned i = 0; i < managed->lun_count; i++) {
        struct model_lun *lun = &managed->luns[i];
        const struct model_lun *same = model_find_lun(person, lun->lun);
        if (same && same->origin == ORIGIN_PERSON) {
            model_problems_add(loading->notes, &lun->place,
                               "LUN %u of target %s is defined at %s:%u too; that one holds",
                               lun->lun, person->name, same->place.file, same->place.line);
            continue;
        }
        if (!model_take_lun(person, lun))
            loading->no_memory = true;
    }
}

static void load_target(struct loading *loading, const config_setting_t *group, const char *prefix,
                        unsigned index)
{
    struct model_target target = { 0 };

    if (keys_set_fallbacks(KEY_TARGET, &target) < 0)
        loading->no_memory = true;
    target.origin = loading->is_managed ? ORIGIN_MANAGED : ORIGIN_PERSON;
    target.place = place_of(loading, group);
    target.index = index;
    load_group(loading, group, prefix, KEY_TARGET, &target);
    if (loading->is_managed)
        merge_managed_target(loading, &target);
    else if (!model_take_target(loading->model, &target))
        loading->no_memory = true;
    model_target_free(&target);
}

static void load_groups(struct loading *loading, const config_setting_t *setting, const char *path,
                        const struct key *key, void *object)
{
    int type = config_setting_type(setting), count = config_setting_length(setting);

    if (type != CONFIG_TYPE_LIST && !(type == CONFIG_TYPE_ARRAY && count == 0))
        return wrong_type(loading, setting, path, key);
    for (int i = 0; i < count; i++) {
        const config_setting_t *group = config_setting_get_elem(setting, (unsigned)i);
        char prefix[PATH_TEXT_MAX + 16];
        snprintf(prefix, sizeof(prefix), "%s[%d]", path, i);
        if (config_setting_type(group) != CONFIG_TYPE_GROUP)
            wrong_type(loading, group, prefix, key);
        else if (key->inner == KEY_TARGET)
            load_target(loading, group, prefix, (unsigned)i);
        else
            load_lun(loading, group, prefix, object, (unsigned)i);
    }
}

static void load_chap(struct loading *loading, const config_setting_t *setting, const char *path,
                      const struct key *key, void *object)
{
    struct model_chap *chap = key_member(key, object);

    if (config_setting_type(setting) != CONFIG_TYPE_GROUP)
        return wrong_type(loading, setting, path, key);
    *(bool *)((char *)object + key->flag_offset) = true;
    chap->place = place_of(loading, setting);
    load_group(loading, setting, path, KEY_CHAP, chap);
}

static void load_key(struct loading *loading, const config_setting_t *setting, const char *path,
                     const struct key *key, void *object)
{
    switch (key->type) {
    case KEY_TEXT: return load_text(loading, setting, path, key, object);
    case KEY_TEXTS: return load_texts(loading, setting, path, key, object);
    case KEY_NUMBER: return load_number(loading, setting, path, key, object);
    case KEY_SIZE: return load_size(loading, setting, path, key, object);
    case KEY_CHOICE: return load_choice(loading, setting, path, key, object);
    case KEY_GROUP: return load_chap(loading, setting, path, key, object);
    case KEY_GROUPS: return load_groups(loading, setting, path, key, object);
    case KEY_FLAG:
        if (config_setting_type(setting) != CONFIG_TYPE_BOOL)
            return wrong_type(loading, setting, path, key);
        return key_set_number(key, object, config_setting_get_bool(setting) != 0);
    }
}

static void unknown_key(struct loading *loading, const config_setting_t *setting, const char *path,
                        enum key_scope scope)
{
    const char *nearest = key_nearest(scope, config_setting_name(setting));

    if (nearest)
        PROBLEM(loading, setting, "%s: unknown key; did you mean \"%s\"?", path, nearest);
    else
        PROBLEM(loading, setting, "%s: unknown key; nestor.conf(5) lists them", path);
}

static void load_group(struct loading *loading, const config_setting_t *group, const char *prefix,
                       enum key_scope scope, void *object)
{
    struct model_place *said = key_said(scope, object);

    for (int i = 0; i < config_setting_length(group); i++) {
        const config_setting_t *setting = config_setting_get_elem(group, (unsigned)i);
        const char *name = config_setting_name(setting);
        const struct key *key = conf_key_find(scope, name);
        char path[PATH_TEXT_MAX];

        snprintf(path, sizeof(path), "%s%s%s", prefix, *prefix ? "." : "", name);
        if (!key || (key->is_internal && !loading->is_managed)) {
            unknown_key(loading, setting, path, scope);
            continue;
        }
        if (loading->is_managed && scope == KEY_GLOBAL && key->type != KEY_GROUPS) {
            PROBLEM(loading, setting, "%s: only targets stand in this file; it goes into %s", path,
                    loading->model->files[0]);
            continue;
        }
        said[key_index(key)] = place_of(loading, setting);
        load_key(loading, setting, path, key, object);
    }
    for (const struct key *key = keys_next(scope, NULL); key; key = keys_next(scope, key)) {
        if (key->is_required && said[key_index(key)].line == 0)
            PROBLEM(loading, group, "%s: %s is missing", prefix, key->name);
    }
}

/* ---- files ---- */

static void read_problem(struct loading *loading, const config_t *config)
{
    struct model_place place = { .file = loading->file };

    if (config_error_type(config) == CONFIG_ERR_FILE_IO) {
        model_problems_add(loading->problems, &(struct model_place){ 0 },
                           "cannot read %s: %s; -c names another file", loading->file,
                           errno ? strerror(errno) : "it is no plain file");
        return;
    }
    if (config_error_file(config))
        place.file = config_error_file(config);
    place.line = (unsigned)config_error_line(config);
    bool is_syntax = strcmp(config_error_text(config), "syntax error") == 0;
    model_problems_add(
        loading->problems, &place, "%s%s", config_error_text(config),
        is_syntax ? "; look for a missing quote, semicolon or bracket, here or just before" : "");
}

/* Notes every file that the tree came from. */
static void collect_files(struct loading *loading, const config_setting_t *setting)
{
    place_of(loading, setting);
    if (!config_setting_is_aggregate(setting))
        return;
    for (int i = 0; i < config_setting_length(setting); i++)
        collect_files(loading, config_setting_get_elem(setting, (unsigned)i));
}

static bool numbers_are_right(struct loading *loading, const config_t *config)
{
    unsigned first = loading->model->file_count - 1; /* the file itself; its includes follow */
    bool is_right = true;

    collect_files(loading, config_root_setting(config));
    for (unsigned i = first; i < loading->model->file_count; i++) {
        if (numbers_check(loading->model->files[i], loading->problems) < 0)
            is_right = false;
    }
    return is_right;
}

/* True when the file could be read; what it says may be wrong all the same. */
static bool load_file(struct loading *loading)
{
    bool is_read = false;
    config_t config;
    char *path = strdup(loading->file);

    config_init(&config);
    if (!path || !model_file(loading->model, loading->file)) {
        loading->no_memory = true;
        goto out;
    }
    /* an @include without a whole path stands beside the file that says it */
    loading->folder = dirname(path);
    config_set_include_dir(&config, loading->folder);
    errno = 0;
    is_read = config_read_file(&config, loading->file) == CONFIG_TRUE;
    if (!is_read)
        read_problem(loading, &config);
    else if ((is_read = numbers_are_right(loading, &config)))
        load_group(loading, config_root_setting(&config), "", KEY_GLOBAL, loading->model);
out:
    config_destroy(&config);
    free(path);
    return is_read;
}

int conf_load(const char *path, struct model *model, struct model_problems *problems,
              struct model_problems *notes)
{
    struct loading person = { model, problems, notes, .file = path };
    struct loading managed = { model, problems, notes, .is_managed = true };
    char *managed_path = NULL;

    *model = (struct model){ 0 };
    if (keys_set_fallbacks(KEY_GLOBAL, model) < 0)
        return -ENOMEM;
    bool is_read = load_file(&person);
    if (person.no_memory || asprintf(&managed_path, "%s/managed.conf", model->state_dir) < 0)
        return -ENOMEM;
    managed.file = managed_path;
    if (is_read && access(managed_path, F_OK) == 0)
        is_read = load_file(&managed);
    free(managed_path);
    if (managed.no_memory)
        return -ENOMEM;
    int error = is_read ? conf_check(model, problems) : -EINVAL;
    if (error == 0 && (problems->count > 0 || problems->is_incomplete))
        error = problems->is_incomplete ? -ENOMEM : -EINVAL;
    return error;
}
