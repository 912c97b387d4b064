/*
 * nestorctl_arguments: from a command line to the call that it means, by the table of verbs.
 *
 * Pure: nothing is read, printed or asked here.
 */
#pragma once

#include "admin/nestorctl_verbs.h"

#include <jansson.h>
#include <stdbool.h>

enum invocation_kind {
    INVOKE_CALL, /* `verb` with `params` */
    INVOKE_HELP, /* of `noun` and `verb`, either may be NULL */
    INVOKE_VERSION,
    INVOKE_WRONG, /* `error` says what and what to do */
};

struct invocation {
    enum invocation_kind kind;
    const char *noun; /* the table's text */
    const struct verb *verb;
    const char *socket_path; /* NULL: not said */
    bool is_json, is_yes;
    json_t *params;
    json_t *own; /* what show() wants to know, and the daemon not */
    char error[512];
};

/*
 * Options may stand anywhere, "--name=value" is "--name value", and after "--" all is positional.
 * `working_dir` is what relative paths are relative to; NULL: they are refused. The strings of argv
 * must stay.
 */
void invocation_parse(int argc, char **argv, const char *working_dir, struct invocation *out);
void invocation_free(struct invocation *invocation);

/* The verb's question with what was said in it. Returns `out`. */
const char *invocation_question(const struct invocation *invocation, char *out, size_t cap);
