#include "admin/call.h"

#include "target/worker/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

bool call_has(const struct call *call, const char *name)
{
    return json_object_get(call->request.params, name) != NULL;
}

const char *call_text(const struct call *call, const char *name)
{
    return json_string_value(json_object_get(call->request.params, name));
}

unsigned call_number(const struct call *call, const char *name)
{
    return (unsigned)json_integer_value(json_object_get(call->request.params, name));
}

uint64_t call_size(const struct call *call, const char *name)
{
    const json_t *value = json_object_get(call->request.params, name);
    uint64_t bytes = 0;

    if (json_is_string(value))
        conf_parse_size(json_string_value(value), &bytes); /* was checked with the parameters */
    else
        bytes = (uint64_t)json_integer_value(value);
    return bytes;
}

bool call_flag(const struct call *call, const char *name)
{
    return json_is_true(json_object_get(call->request.params, name));
}

int call_texts(const struct call *call, const char *name, struct model_strings *out)
{
    const json_t *array = json_object_get(call->request.params, name);
    size_t count = json_array_size(array);

    *out = (struct model_strings){ .is_set = array != NULL };
    if (count == 0)
        return 0;
    out->items = calloc(count, sizeof *out->items);
    if (!out->items)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++)
        out->items[i] = (char *)json_string_value(json_array_get(array, i));
    out->count = (unsigned)count;
    return 0;
}

static void log_change(const struct call *call, const char *outcome)
{
    char clean[JSONRPC_ERROR_TEXT_MAX];

    if (call->method && call->method->is_change)
        log_info("admin: %s by uid %u: %s", call->method->name, (unsigned)call->caller,
                 log_text(clean, sizeof clean, outcome, strlen(outcome)));
}

/* Sends `message` (taken over, NULL: no memory for it) unless nobody waits, and ends the call. */
static void end(struct call *call, json_t *message)
{
    if (!call->request.id) {
        call->answer(call->context, NULL, 0);
    } else {
        char *dumped = message ? json_dumps(message, JSON_COMPACT) : NULL;
        const char *text = dumped ? dumped : jsonrpc_out_of_memory;

        call->answer(call->context, text, strlen(text));
        free(dumped);
    }
    json_decref(message);
    json_decref(call->subject);
    jsonrpc_request_free(&call->request);
    free(call);
}

void call_finish(struct call *call, json_t *result)
{
    const json_t *text = json_object_get(result, "text");

    if (!result) {
        call_refuse(call, -ENOMEM, "out of memory");
        return;
    }
    log_change(call, text ? json_string_value(text) : "done");
    end(call, jsonrpc_result(call->request.id, result));
}

__attribute__((format(printf, 4, 0))) static void refuse(struct call *call, int error, json_t *data,
                                                         const char *format, va_list args)
{
    struct jsonrpc_error failure = { .code = JSONRPC_REFUSED };
    const char *name = strerrorname_np(-error);

    vsnprintf(failure.text, sizeof failure.text, format, args);
    log_change(call, failure.text);
    if (!data)
        data = json_object();
    if (json_object_set_new(data, "errno", json_string(name ? name : "EIO")) != 0) {
        json_decref(data);
        data = NULL;
    }
    end(call, jsonrpc_failure(call->request.id, &failure, data));
}

void call_refuse(struct call *call, int error, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    refuse(call, error, NULL, format, args);
    va_end(args);
}

void call_refuse_with(struct call *call, int error, json_t *data, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    refuse(call, error, data, format, args);
    va_end(args);
}

void call_reject(struct call *call, const struct jsonrpc_error *error)
{
    end(call, jsonrpc_failure(call->request.id, error, NULL));
}

void call_changed(void *context, const struct registry_answer *answer)
{
    struct call *call = context;
    json_t *result;

    if (answer->error) {
        call_refuse(call, answer->error, "%s", answer->text);
        return;
    }
    result = call->subject ? json_incref(call->subject) : json_object();
    if (json_object_set_new(result, "text", jsonrpc_string(answer->text)) != 0) {
        json_decref(result);
        result = NULL;
    }
    call_finish(call, result);
}

static bool is_meant(const struct model_target *target, const char *text)
{
    const char *suffix = strrchr(target->name, ':');

    return (target->alias && strcmp(target->alias, text) == 0) ||
           (suffix && strcasecmp(suffix + 1, text) == 0);
}

/* "a, b, c", cut with "..." when it gets long. */
static void list_targets(const struct model *model, const char *text, char *out, size_t cap)
{
    size_t len = 0;

    out[0] = '\0';
    for (unsigned i = 0; i < model->target_count && len < cap; i++) {
        const struct model_target *target = &model->targets[i];

        if (text && !is_meant(target, text))
            continue;
        if (len + strlen(target->name) + 8 > cap) {
            snprintf(out + len, cap - len, ", ...");
            return;
        }
        len += (size_t)snprintf(out + len, cap - len, "%s%s", len ? ", " : "", target->name);
    }
}

const struct model_target *call_target(struct call *call)
{
    const struct model *model = registry_model(call->daemon->registry);
    const char *text = call_text(call, "target");
    const struct model_target *found = model_find_target(model, text);
    unsigned matches = 0;
    char names[600];

    if (found)
        return found;
    for (unsigned i = 0; i < model->target_count; i++) {
        if (is_meant(&model->targets[i], text)) {
            found = &model->targets[i];
            matches++;
        }
    }
    if (matches == 1)
        return found;
    list_targets(model, matches ? text : NULL, names, sizeof names);
    if (matches > 1)
        call_refuse(call, -EINVAL, "target \"%.200s\" may mean %s: use the whole name", text,
                    names);
    else if (model->target_count == 0)
        call_refuse(call, -ENOENT,
                    "no target \"%.200s\": there are no targets yet; make one with target add",
                    text);
    else
        call_refuse(call, -ENOENT, "no target \"%.200s\"; there is %s", text, names);
    return NULL;
}
