/*
 * nestorctl_verbs: what nestorctl can be told, one row a verb: the arguments it takes, the method
 * that it calls with them, and how the result looks. Parsing, help, questions and tables walk the
 * rows.
 */
#pragma once

#include "admin/nestorctl_table.h"

#include <stdbool.h>

enum argument_type {
    ARGUMENT_TEXT,
    ARGUMENT_PATH, /* made absolute here, for the daemon's working directory is another */
    ARGUMENT_LIST, /* "a,b": an array of strings */
    ARGUMENT_NUMBER,
    ARGUMENT_TRUE, /* an option without a value: its parameter is true */
    ARGUMENT_FALSE,
    ARGUMENT_YES, /* --yes: do not ask */
    ARGUMENT_OWN, /* for show(), not sent; `parameter` is its name there */
};

enum { VERB_POSITIONALS_MAX = 4, VERB_OPTIONS_MAX = 16, VERB_COLUMNS_MAX = 40 };

struct argument {
    const char *name; /* "TARGET", "--path" */
    const char
        *value; /* options: what stands for it in the help, "a|b" for a choice; NULL: takes none */
    enum argument_type type;
    const char *parameter; /* of the method */
    bool is_required;
    const char *help;
};

/* How a result looks to a person. */
enum layout {
    LAYOUT_TEXT,   /* its member "text" */
    LAYOUT_TABLE,  /* a row for each of the array in member `rows` */
    LAYOUT_FIELDS, /* a line for each column */
    LAYOUT_OWN,    /* show() */
};

struct verb {
    const char *noun, *verb; /* verb NULL: the noun says all ("status") */
    const char *method;
    json_t *(*local)(void); /* in place of a method: answers here, without a daemon; NULL: cannot */
    const char *help, *example;
    struct argument
        positionals[VERB_POSITIONALS_MAX]; /* up to the first without a name, as below */
    struct argument options[VERB_OPTIONS_MAX];
    /* Takes something away: asked before, with {TARGET} for a positional. NULL: does not. */
    const char *question;
    /* Asks this method first, shows its plan, and asks the question only if it takes something
     * away. */
    const char *plan_method;
    enum layout layout;
    const char *rows;
    const char *when_empty; /* LAYOUT_TABLE without rows */
    struct column columns[VERB_COLUMNS_MAX];
    void (*show)(FILE *out, const json_t *result, const json_t *own);
};

extern const struct verb verb_table[];
extern const unsigned verb_count;
