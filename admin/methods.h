/*
 * methods: what the admin socket can be asked, one row a method.
 *
 * The table drives dispatch, the check of parameters, the `help` method, `nestorctl help` and the
 * docs. Parameters are checked whole before a handler runs, so handlers see only what their row
 * allows.
 *
 * Thread    the main thread, answers too.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

struct registry;
struct workers;
struct call;

/* What handlers act on; outlives every call. */
struct methods_daemon {
    struct registry *registry;
    struct workers *workers;
    time_t started;
};

enum parameter_type {
    PARAMETER_TEXT,   /* a string that is not empty */
    PARAMETER_PATH,   /* an absolute path: the daemon's working directory is nobody's business */
    PARAMETER_TEXTS,  /* an array of strings that are not empty */
    PARAMETER_CHOICE, /* one of `choices` */
    PARAMETER_NUMBER, /* an integer from least to most */
    PARAMETER_SIZE,   /* bytes, or a string such as "64G"; more than 0 */
    PARAMETER_FLAG,   /* true or false */
};

enum { METHOD_PARAMETERS_MAX = 20, METHOD_CHOICES_MAX = 4, METHOD_TEXTS_MAX = 256 };

struct parameter {
    const char *name;
    enum parameter_type type;
    bool is_required;
    const char *help;
    int64_t least, most;
    const char *choices[METHOD_CHOICES_MAX]; /* NULL after the last */
};

struct method {
    const char *name;
    bool is_change; /* it changes what is served; such calls are logged with who made them */
    void (*run)(struct call *call);
    const char *help;
    struct parameter parameters[METHOD_PARAMETERS_MAX]; /* up to the first without a name */
};

extern const struct method method_table[];
extern const unsigned method_count;

/*
 * Takes one message and answers it exactly once, perhaps before this returns, perhaps much later. A
 * notification is answered with NULL: it is done, and nothing is to be sent.
 */
typedef void methods_answer(void *context, const char *text, size_t len);
void methods_take(const struct methods_daemon *daemon, uid_t caller, const char *text, size_t len,
                  methods_answer *answer, void *context);
