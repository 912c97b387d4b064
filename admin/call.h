/*
 * call: one request under way, from its checked parameters to its only answer.
 *
 * A handler ends in call_finish() or call_refuse(), or hands the call to something that does; the
 * call is gone after that. Whoever asked may be gone before; the call does not notice.
 */
#pragma once

#include "admin/jsonrpc.h"
#include "admin/methods.h"
#include "target/registry.h"

struct call {
    const struct method *method;
    const struct methods_daemon *daemon;
    struct jsonrpc_request request;
    json_t *subject; /* members that a registry_done answer gets beside its text; may be NULL */
    uid_t caller;
    methods_answer *answer;
    void *context;
};

/* Parameters as their row has declared them; what was not given is NULL, 0, false. */
bool call_has(const struct call *call, const char *name);
const char *call_text(const struct call *call, const char *name);
unsigned call_number(const struct call *call, const char *name);
uint64_t call_size(const struct call *call, const char *name);
bool call_flag(const struct call *call, const char *name);

/* The strings of an array, in memory that the caller frees, not the strings. 0 or -ENOMEM. */
int call_texts(const struct call *call, const char *name, struct model_strings *out);

/* Takes `result` over; NULL stands for out of memory. */
void call_finish(struct call *call, json_t *result);
void call_refuse(struct call *call, int error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The same with more members for the error's data, taken over. */
void call_refuse_with(struct call *call, int error, json_t *data, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* The message was no good request: no handler has seen it. */
void call_reject(struct call *call, const struct jsonrpc_error *error);

/* A registry_done whose context is the call. */
void call_changed(void *context, const struct registry_answer *answer);

/*
 * The target that parameter "target" means: its name, its alias, or what its name ends in after the
 * last
 * ':'. NULL when there is none or more than one; the call has been refused then.
 */
const struct model_target *call_target(struct call *call);
