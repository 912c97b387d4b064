/* config.check, config.plan, config.reload */
#include "admin/call.h"
#include "admin/handlers.h"
#include "admin/view.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

/* The person's file: the first that the model in force was read from. NULL: there was none. */
static const char *config_path(const struct call *call)
{
    const struct model *model = registry_model(call->daemon->registry);

    return model->file_count > 0 ? model->files[0] : NULL;
}

static json_t *view_lines(const struct model_problems *problems)
{
    json_t *lines = json_array();

    for (unsigned i = 0; i < problems->count; i++) {
        if (json_array_append_new(lines, jsonrpc_string(problems->lines[i])) != 0) {
            json_decref(lines);
            return NULL;
        }
    }
    return lines;
}

/* A file as it was read. Freed by loaded_free(), the model apart: it may be handed on. */
struct loaded {
    const char *path;
    struct model *model;
    struct model_problems problems, notes;
    int error;
};

static void loaded_free(struct loaded *loaded)
{
    if (loaded->model)
        model_free(loaded->model);
    free(loaded->model);
    model_problems_free(&loaded->problems);
    model_problems_free(&loaded->notes);
}

/* A pipe would keep the main thread waiting, /dev/zero would fill the memory. */
static bool is_regular(const char *path, int *error)
{
    struct stat stat_of;

    *error = stat(path, &stat_of) == 0 ? -EINVAL : -errno;
    return *error == -EINVAL && S_ISREG(stat_of.st_mode);
}

/* False: the call has been refused, for want of a file or of memory. What is wrong in it, is the
 * caller's. */
static bool load(struct call *call, const char *path, struct loaded *loaded)
{
    *loaded = (struct loaded){ .path = path };
    if (!path) {
        call_refuse(call, -ENOENT, "nestord was started without a config file; name one");
        return false;
    }
    if (!is_regular(path, &loaded->error)) {
        call_refuse(call, loaded->error, "%s cannot be read: %s", path,
                    loaded->error == -EINVAL ? "it is no regular file" : strerror(-loaded->error));
        return false;
    }
    loaded->model = calloc(1, sizeof *loaded->model);
    loaded->error =
        loaded->model ? conf_load(path, loaded->model, &loaded->problems, &loaded->notes) : -ENOMEM;
    if (loaded->error == 0 || loaded->problems.count > 0)
        return true;
    call_refuse(call, loaded->error, "%s cannot be read: %s", path, strerror(-loaded->error));
    loaded_free(loaded);
    return false;
}

void handle_config_check(struct call *call)
{
    const char *path = call_text(call, "path");
    struct loaded loaded;
    json_t *result;

    if (!load(call, path ? path : config_path(call), &loaded))
        return;
    if (loaded.error == 0) /* as `nestord -t` does: images and folders that are not there */
        loaded.error = conf_check_files(loaded.model, &loaded.problems);
    result = json_pack("{s:o, s:b, s:o, s:o}", "path", jsonrpc_string(loaded.path), "ok",
                       loaded.error == 0, "problems", view_lines(&loaded.problems), "notes",
                       view_lines(&loaded.notes));
    loaded_free(&loaded);
    call_finish(call, result);
}

static const char *const step_names[] = {
    [PLAN_TARGET_ADD] = "target-add",
    [PLAN_TARGET_REMOVE] = "target-remove",
    [PLAN_TARGET_CHANGE] = "target-change",
    [PLAN_TARGET_INQUIRY] = "target-change",
    [PLAN_LUN_ADD] = "lun-add",
    [PLAN_LUN_REMOVE] = "lun-remove",
    [PLAN_LUN_GROW] = "lun-grow",
    [PLAN_LUN_CHANGE] = "lun-change",
    [PLAN_LUN_INQUIRY] = "lun-change",
    [PLAN_REFUSED] = "refused",
    [PLAN_RESTART] = "restart",
};

static bool is_about_lun(const struct plan_step *step)
{
    switch (step->kind) {
    case PLAN_TARGET_ADD:
    case PLAN_TARGET_REMOVE:
    case PLAN_TARGET_CHANGE:
    case PLAN_TARGET_INQUIRY: return false;
    case PLAN_LUN_ADD:
    case PLAN_LUN_REMOVE:
    case PLAN_LUN_GROW:
    case PLAN_LUN_CHANGE:
    case PLAN_LUN_INQUIRY:
    case PLAN_REFUSED: return true;
    case PLAN_RESTART: return step->target != NULL; /* else it is about the daemon */
    }
    return false;
}

/* Whose storage goes away with this step: all that are logged in to its target. Null where the
 * reload does nothing. */
static json_t *view_disturbed(const struct plan_step *step, const struct session_view *sessions,
                              unsigned count)
{
    json_t *names;

    if (step->kind == PLAN_REFUSED || step->kind == PLAN_RESTART)
        return json_null();
    names = json_array();
    if (step->kind != PLAN_TARGET_REMOVE && step->kind != PLAN_LUN_REMOVE)
        return names;
    for (unsigned i = 0; i < count; i++)
        if (strcasecmp(sessions[i].target_name, step->target) == 0)
            json_array_append_new(names, jsonrpc_string(sessions[i].initiator_name));
    return names;
}

static json_t *view_step(const struct plan_step *step, const struct session_view *sessions,
                         unsigned count)
{
    return json_pack("{s:s, s:o, s:o, s:o, s:o}", "kind", step_names[step->kind], "target",
                     jsonrpc_string(step->target), "lun",
                     is_about_lun(step) ? json_integer(step->lun) : json_null(), "what",
                     jsonrpc_string(step->what), "disturbs", view_disturbed(step, sessions, count));
}

/* The model of the daemon's file, without mistakes; false: the call has been refused. */
static bool load_good(struct call *call, struct loaded *loaded)
{
    if (!load(call, config_path(call), loaded))
        return false;
    if (loaded->error == 0)
        return true;
    call_refuse_with(
        call, loaded->error, json_pack("{s:o}", "problems", view_lines(&loaded->problems)), "%s%s",
        loaded->problems.lines[0], loaded->problems.count > 1 ? " (config check lists more)" : "");
    loaded_free(loaded);
    return false;
}

static json_t *view_plan(const struct plan *plan)
{
    struct session_view *sessions = NULL;
    unsigned count = 0;
    json_t *steps = json_array();

    if (session_table_list(&sessions, &count) != 0) {
        json_decref(steps);
        return NULL;
    }
    for (unsigned i = 0; i < plan->count && steps; i++) {
        if (json_array_append_new(steps, view_step(&plan->steps[i], sessions, count)) != 0) {
            json_decref(steps);
            steps = NULL;
        }
    }
    free(sessions);
    return steps;
}

void handle_config_plan(struct call *call)
{
    struct plan plan = { 0 };
    struct loaded loaded;
    json_t *result;
    int error;

    if (!load_good(call, &loaded))
        return;
    error = plan_make(registry_model(call->daemon->registry), loaded.model, &plan);
    if (error) {
        loaded_free(&loaded);
        call_refuse(call, error, "no plan could be made: %s", strerror(-error));
        return;
    }
    result = json_pack("{s:o, s:o, s:o}", "path", jsonrpc_string(loaded.path), "steps",
                       view_plan(&plan), "notes", view_lines(&loaded.notes));
    plan_free(&plan);
    loaded_free(&loaded);
    call_finish(call, result);
}

void handle_config_reload(struct call *call)
{
    struct loaded loaded;
    struct model *model;

    if (!load_good(call, &loaded))
        return;
    call->subject = json_pack("{s:o, s:o}", "path", jsonrpc_string(loaded.path), "notes",
                              view_lines(&loaded.notes));
    model = loaded.model;
    loaded.model = NULL; /* the registry's from here on */
    loaded_free(&loaded);
    registry_reload(call->daemon->registry, model, call_changed, call);
}
