/*
 * keys: the one table of configuration keys. Loading, checking, printing the sample, the man page
 * and writing managed.conf walk it; whoever adds a key adds its row in keys.c and its member in
 * model.h.
 */
#pragma once

#include "conf/model.h"

#include <stdio.h>

/* Which group of the file a key stands in, and so which struct of the model holds it. */
enum key_scope {
    KEY_GLOBAL, /* struct model */
    KEY_TARGET, /* struct model_target */
    KEY_LUN,    /* struct model_lun */
    KEY_CHAP,   /* struct model_chap */
    KEY_SCOPES,
};

enum key_type {
    KEY_TEXT,   /* char * */
    KEY_TEXTS,  /* struct model_strings */
    KEY_NUMBER, /* an integer of row->bytes */
    KEY_SIZE,   /* the same, in bytes; "64G" too */
    KEY_FLAG,   /* the same, 0 or 1 */
    KEY_CHOICE, /* the same, the index into row->choices */
    KEY_GROUP,  /* a group of row->inner, with a bool at row->flag_offset */
    KEY_GROUPS, /* a list of groups of row->inner */
};

enum key_when {
    KEY_LIVE,    /* a reload is enough */
    KEY_INQUIRY, /* a reload is enough; hosts are told that INQUIRY data has changed */
    KEY_LOGINS,  /* a reload is enough; holds for logins from then on */
    KEY_RESTART, /* holds after a restart of the daemon */
    KEY_FROZEN,  /* part of the LUN's identity: said once, when it is first served */
    KEY_FIXED,   /* to change it, remove the object and add it again */
};

struct key {
    enum key_scope scope;
    const char *name;
    enum key_type type;
    size_t offset, bytes;
    enum key_when when;
    bool is_required;
    bool is_sampled;  /* not required, and still said in the sample */
    bool is_internal; /* only the daemon writes it, in managed.conf */
    uint64_t minimum, maximum;
    const char *
        fallback; /* what holds when it is not said, as in the file without quotes; NULL: nothing */
    int unsaid;   /* numbers: what "not said" is stored as */
    const char *const *choices; /* NULL-terminated; KEY_NUMBER: the only numbers */
    enum key_scope inner;
    size_t flag_offset;
    int (*check)(const char *text, char *reason, size_t reason_cap); /* 0, or -EINVAL and why */
    const char *example; /* the value that the sample shows; NULL: the fallback */
    const char *help;
};

enum { KEY_REASON_MAX = 256 };

extern const struct key keys[];
extern const unsigned key_count;

/* Walks one scope: for (key = keys_next(scope, NULL); key; key = keys_next(scope, key)). */
const struct key *keys_next(enum key_scope scope, const struct key *after);
const struct key *conf_key_find(enum key_scope scope, const char *name);
const char *key_nearest(enum key_scope scope, const char *name); /* NULL: none is near */
unsigned key_index(const struct key *key);                       /* its row in its scope */

/* The member of *object (the scope's struct) that a key is kept in. */
void *key_member(const struct key *key, void *object);
const void *key_member_const(const struct key *key, const void *object);
struct model_place *key_said(enum key_scope scope, void *object); /* said[] of the scope's struct */
const struct model_place *key_place(const struct key *key, const void *object);

uint64_t key_number(const struct key *key, const void *object);
void key_set_number(const struct key *key, void *object, uint64_t value);

/* What holds when nothing is said, for every row of a scope. 0 or -ENOMEM. */
int keys_set_fallbacks(enum key_scope scope, void *object);
bool key_is_fallback(const struct key *key, const void *object);

/* "a number from 1 to 16", "\"writeback\" or \"writethrough\"": what a key takes. */
void key_expected(const struct key *key, char *text, size_t cap);

/* A size as a person would write it: "64G", or plain bytes. */
void key_size_text(uint64_t bytes, char *text, size_t cap);

/* The checks of single texts, in conf/texts.c. */
int check_target_name(const char *text, char *reason, size_t cap);
int check_initiator_pattern(const char *text, char *reason, size_t cap);
int check_network(const char *text, char *reason, size_t cap);
int check_portal(const char *text, char *reason, size_t cap);
int check_absolute_path(const char *text, char *reason, size_t cap);
int check_image_path(const char *text, char *reason, size_t cap);
int check_socket_path(const char *text, char *reason, size_t cap);
int check_serial(const char *text, char *reason, size_t cap);
int check_naa(const char *text, char *reason, size_t cap);
int check_product(const char *text, char *reason, size_t cap);
int check_alias(const char *text, char *reason, size_t cap);
int check_chap_user(const char *text, char *reason, size_t cap);
int check_group(const char *text, char *reason, size_t cap);
