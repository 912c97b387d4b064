/*
 * model: what the operator declared, as plain structs. It knows nothing of the running daemon.
 *
 * Loaded from the person's file and state_dir/managed.conf (what nestorctl added or changed),
 * checked as a whole, compared with another model to make a plan, and written back (the managed
 * part only). Text is owned by the model and freed by model_free(). A NULL string and a negative
 * number mean "not said".
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum model_origin {
    ORIGIN_PERSON,  /* the config file: never rewritten by the daemon */
    ORIGIN_MANAGED, /* managed.conf: made by nestorctl */
};

/* Where a thing was said, for messages. */
struct model_place {
    const char *file; /* owned by the model; NULL: in no file */
    unsigned line;
};

/* The most keys that one group can hold; `said` tells by the row's number in its scope
 * (conf/keys.h). */
enum { MODEL_KEYS_MAX = 16 };

struct model_strings {
    char **items;
    unsigned count;
    bool is_set; /* said at all; an empty list that was said admits nobody */
};

struct model_lun {
    unsigned lun;
    char *path;
    uint64_t size_bytes; /* 0: as large as the image */
    bool is_readonly;
    bool is_removable;
    bool is_writethrough;
    int vaai;                                 /* -1 not said, 0, 1 */
    uint32_t block_size, physical_block_size; /* 0: not said */
    int rotation;                             /* rpm; 1: does not rotate; -1 not said */
    int thin_threshold;                       /* percent; 0: never; -1 not said */
    char *serial, *naa, *product;
    struct model_strings initiators; /* the mask */
    enum model_origin origin;
    struct model_place place;
    struct model_place said[MODEL_KEYS_MAX];
    unsigned target_index, index; /* "targets[0].luns[1]" of the file that said it */
};

struct model_chap {
    char *user, *secret_file;
    char *mutual_user, *mutual_secret_file;
    /* read from the files when the model is checked; wiped by model_free() */
    char *secret, *mutual_secret;
    struct model_place place;
    struct model_place said[MODEL_KEYS_MAX];
};

struct model_target {
    char *name;
    char *alias;
    struct model_strings initiators, networks;
    bool has_chap;
    struct model_chap chap;
    bool has_alua;
    struct model_lun *luns; /* ascending by lun after the check */
    unsigned lun_count;
    bool is_managed; /* managed.conf's own mark of a target that it defines, and does not only add
                        to */
    enum model_origin origin;
    struct model_place place;
    struct model_place said[MODEL_KEYS_MAX];
    unsigned index;
};

enum model_engine { MODEL_ENGINE_AUTO, MODEL_ENGINE_URING, MODEL_ENGINE_THREADS };

struct model {
    struct model_strings portals; /* "0.0.0.0:3260", "[::]:3260" */
    char *state_dir, *admin_socket, *admin_group;
    unsigned workers, busy_poll_us;
    bool uses_sendfile;
    uint64_t memory_limit_bytes;
    enum model_engine engine;
    unsigned max_sessions, max_half_open, login_timeout_s, nop_interval_s, nop_timeout_s;
    bool has_discovery_chap;
    struct model_chap discovery_chap;
    struct model_target *targets;
    unsigned target_count;
    struct model_place said[MODEL_KEYS_MAX];
    char **files; /* every file that was read, for places to point into */
    unsigned file_count;
};

void model_free(struct model *model); /* a zeroed one too */

/*
 * Deep copies; what a source does not say stays unsaid. A copy was said in no file, since it may
 * outlive the model whose files its places would point into. 0, or -ENOMEM with nothing left in
 * *to.
 */
int model_lun_copy(struct model_lun *to, const struct model_lun *from);
void model_lun_free(struct model_lun *lun);
int model_target_copy(struct model_target *to, const struct model_target *from);
void model_target_free(struct model_target *target);

void model_lun_init(struct model_lun *lun); /* nothing said yet */
int model_strings_add(struct model_strings *strings, const char *item);
void model_strings_free(struct model_strings *strings); /* not said any more */

struct model_target *model_find_target(const struct model *model, const char *name);
struct model_lun *model_find_lun(const struct model_target *target, unsigned lun);

/* Adds a target (all zero but its name) or a LUN. NULL: no memory. The pointers move at the next
 * add. */
struct model_target *model_add_target(struct model *model, const char *name);
struct model_lun *model_add_lun(struct model_target *target, unsigned lun);

/*
 * Takes one out whole, into *out, and puts it back at the same place: for a change that may still
 * fail. The place stays free in between when nothing is added.
 */
void model_detach_lun(struct model_target *target, unsigned at, struct model_lun *out);
void model_reattach_lun(struct model_target *target, unsigned at, const struct model_lun *lun);
void model_detach_target(struct model *model, unsigned at, struct model_target *out);
void model_reattach_target(struct model *model, unsigned at, const struct model_target *target);

/* The same with one that is made already; its memory is taken over (*from is zeroed). */
struct model_target *model_take_target(struct model *model, struct model_target *from);
struct model_lun *model_take_lun(struct model_target *target, struct model_lun *from);

/* The model's own copy of a file's name, for places. NULL: no memory. */
const char *model_file(struct model *model, const char *name);
void model_remove_target(struct model *model, const char *name);
void model_remove_lun(struct model_target *target, unsigned lun);

/*
 * Every problem that was found, in order of file and line, each one line for a person:
 * "nestor.conf:14: targets[0].luns[1].size: ...".
 */
struct model_problems {
    char **lines;
    unsigned count;
    bool is_incomplete; /* there was no memory for a line */
    struct model_problem_place {
        char *file;
        unsigned line;
    } * places; /* of each line, to keep the order */
};
void model_problems_add(struct model_problems *problems, const struct model_place *place,
                        const char *format, ...) __attribute__((format(printf, 3, 4)));
void model_problems_free(struct model_problems *problems);
