/*
 * conf: loading, checking, printing and keeping the configuration.
 *
 * conf/keys.c holds the one table of keys (name, type, range, default, live or restart, a line of
 * help) that loading, checking, conf_print_sample() and the man page walk.
 */
#pragma once

#include "conf/model.h"

#include <stdio.h>

/*
 * Reads `path` (with its @include files) and, if there, STATE_DIR/managed.conf; checks the whole.
 * 0, or -EINVAL with every problem in *problems (the model must still be freed), or -ENOMEM.
 * A managed object that the person's file now defines too is left to the person's file, with a note
 * in *notes.
 */
int conf_load(const char *path, struct model *model, struct model_problems *problems,
              struct model_problems *notes);

/* What a model must fulfil whoever made it: names, duplicates, ranges, folders, secrets. -EINVAL as
 * above. */
int conf_check(struct model *model, struct model_problems *problems);

/*
 * What only the file system knows, and may mend later: images that are missing or smaller than
 * declared, folders that are not there. For `nestord -t`; a daemon that runs leaves such a LUN out
 * and serves the others. -EINVAL as above.
 */
int conf_check_files(const struct model *model, struct model_problems *problems);

/*
 * Writes the managed part of the model to STATE_DIR/managed.conf: a new file, fsynced, renamed over
 * the old one, folder fsynced. 0 or a negative errno with *error for a person (at least 512 bytes).
 */
int conf_write_managed(const struct model *model, char *error, size_t error_cap);

/* An annotated sample of every key with its default. */
void conf_print_sample(FILE *out);

/* One row a key as scdoc for nestor.conf(5); the docs build runs it. */
void conf_print_man(FILE *out);

/* "64G" -> bytes. K, M, G, T are powers of 1024; a fraction is not taken. -EINVAL, -ERANGE. */
int conf_parse_size(const char *text, uint64_t *bytes);

/* What separates two models: the plan of a reload. */
enum plan_kind {
    PLAN_TARGET_ADD,
    PLAN_TARGET_REMOVE,
    PLAN_TARGET_CHANGE,  /* alias, access lists, CHAP: holds for new logins */
    PLAN_TARGET_INQUIRY, /* alua: live, its hosts are told */
    PLAN_LUN_ADD,
    PLAN_LUN_REMOVE,
    PLAN_LUN_GROW,
    PLAN_LUN_CHANGE,  /* mask: live */
    PLAN_LUN_INQUIRY, /* rotation: live, its hosts are told */
    PLAN_REFUSED,     /* cannot be done to a LUN that lives: another path, shrinking, identity */
    PLAN_RESTART,     /* holds only after a restart (portals, workers...) */
};

struct plan_step {
    enum plan_kind kind;
    const char *target; /* the models' text */
    unsigned lun;
    char *what; /* one line for a person */
};

struct plan {
    struct plan_step *steps; /* in the order in which they are to be done: removals first */
    unsigned count;
};

int plan_make(const struct model *from, const struct model *to, struct plan *plan);
void plan_free(struct plan *plan);
