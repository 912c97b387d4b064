/* status, stats, help */
#include "admin/call.h"
#include "admin/handlers.h"
#include "admin/view.h"

#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char *engine_name(const struct workers *workers)
{
    switch (engine_kind(workers->worker[0]->engine)) {
    case ENGINE_URING: return "io_uring";
    case ENGINE_THREADS: return "threads";
    case ENGINE_AUTO: break;
    }
    return "auto";
}

struct lun_count {
    json_t *problems; /* NULL after memory has run out */
    int declared;
};

static bool count_lun(void *context, const struct registry_lun_view *view)
{
    struct lun_count *count = context;
    json_t *problem;

    count->declared++;
    if (view->lu)
        return true;
    problem = json_pack("{s:o, s:i, s:o, s:o}", "target", jsonrpc_string(view->target), "lun",
                        (int)view->declared->lun, "path", jsonrpc_string(view->declared->path),
                        "problem", jsonrpc_string(view->problem));
    if (json_array_append_new(count->problems, problem) == 0)
        return true;
    json_decref(count->problems);
    count->problems = NULL;
    return false;
}

void handle_status(struct call *call)
{
    const struct methods_daemon *daemon = call->daemon;
    const struct model *model = registry_model(daemon->registry);
    struct workers *workers = daemon->workers;
    struct lun_count count = { .problems = json_array() };
    time_t now = time(NULL);

    registry_each_lun(daemon->registry, NULL, count_lun, &count);
    call_finish(call,
                json_pack("{s:s, s:i, s:I, s:I, s:i, s:s, s:o, s:i, s:i, s:i, s:{s:I, s:I}, s:o}",
                          "version", NESTOR_VERSION, "pid", (int)getpid(), "started",
                          (json_int_t)daemon->started, "uptime_s",
                          (json_int_t)(now > daemon->started ? now - daemon->started : 0),
                          "workers", (int)workers->count, "engine", engine_name(workers), "portals",
                          view_strings(&model->portals), "targets", (int)model->target_count,
                          "luns", count.declared, "sessions", (int)session_table_count(NULL),
                          "memory", "used_bytes",
                          (json_int_t)atomic_load(&workers->budget.used_bytes), "limit_bytes",
                          (json_int_t)workers->budget.limit_bytes, "problems", count.problems));
}

static bool append_counters(void *context, const struct registry_lun_view *view)
{
    return json_array_append_new(context, view_lun_counters(view)) == 0;
}

void handle_stats(struct call *call)
{
    const struct model_target *target = NULL;
    json_t *luns;

    if (call_has(call, "target") && !(target = call_target(call)))
        return;
    luns = json_array();
    registry_each_lun(call->daemon->registry, target ? target->name : NULL, append_counters, luns);
    call_finish(call, json_pack("{s:o}", "luns", luns));
}

static const char *type_name(enum parameter_type type)
{
    switch (type) {
    case PARAMETER_TEXT: return "string";
    case PARAMETER_PATH: return "absolute path";
    case PARAMETER_TEXTS: return "array of strings";
    case PARAMETER_CHOICE: return "choice";
    case PARAMETER_NUMBER: return "integer";
    case PARAMETER_SIZE: return "size";
    case PARAMETER_FLAG: return "boolean";
    }
    return "?";
}

static json_t *describe_parameter(const struct parameter *parameter)
{
    json_t *described = json_pack("{s:s, s:s, s:b, s:s}", "name", parameter->name, "type",
                                  type_name(parameter->type), "required", parameter->is_required,
                                  "help", parameter->help);

    if (parameter->type == PARAMETER_NUMBER) {
        json_object_set_new(described, "least", json_integer(parameter->least));
        json_object_set_new(described, "most", json_integer(parameter->most));
    }
    if (parameter->type == PARAMETER_CHOICE) {
        json_t *choices = json_array();

        for (unsigned i = 0; i < METHOD_CHOICES_MAX && parameter->choices[i]; i++)
            json_array_append_new(choices, json_string(parameter->choices[i]));
        json_object_set_new(described, "choices", choices);
    }
    return described;
}

static json_t *describe_method(const struct method *method)
{
    json_t *parameters = json_array();

    for (unsigned i = 0; i < METHOD_PARAMETERS_MAX && method->parameters[i].name; i++)
        json_array_append_new(parameters, describe_parameter(&method->parameters[i]));
    return json_pack("{s:s, s:s, s:s, s:o}", "name", method->name, "kind",
                     method->is_change ? "change" : "read", "help", method->help, "parameters",
                     parameters);
}

void handle_help(struct call *call)
{
    const char *wanted = call_text(call, "method");
    json_t *methods = json_array();

    for (unsigned i = 0; i < method_count; i++)
        if (!wanted || strcmp(wanted, method_table[i].name) == 0)
            json_array_append_new(methods, describe_method(&method_table[i]));
    if (wanted && json_array_size(methods) == 0) {
        json_decref(methods);
        call_refuse(call, -ENOENT, "no method \"%.60s\"; help without it lists all", wanted);
        return;
    }
    call_finish(call, json_pack("{s:o}", "methods", methods));
}
