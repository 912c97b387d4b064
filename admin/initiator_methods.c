/* initiator.list, initiator.accept */
#include "admin/call.h"
#include "admin/handlers.h"
#include "admin/view.h"

#include "target/iscsi/refused_table.h"

#include <errno.h>
#include <stdlib.h>
#include <strings.h>

/* The same members for both, so that one table shows them. */
static json_t *view_logged_in(const struct session_view *session)
{
    return json_pack(
        "{s:o, s:o, s:s, s:s, s:I, s:n, s:n}", "initiator", jsonrpc_string(session->initiator_name),
        "target", jsonrpc_string(session->target_name), "state", "logged in", "address",
        session->address, "since", (json_int_t)session->since_unix_s, "tries", "reason");
}

static json_t *view_refused(const struct refused_view *refused)
{
    return json_pack("{s:o, s:o, s:s, s:s, s:I, s:I, s:s}", "initiator",
                     jsonrpc_string(refused->initiator_name), "target",
                     jsonrpc_string(refused->target_name), "state", "refused", "address",
                     refused->address, "since", (json_int_t)refused->last_unix_s, "tries",
                     (json_int_t)refused->tries, "reason", refused->why);
}

static bool is_wanted(const struct model_target *target, const char *name)
{
    return !target || strcasecmp(target->name, name) == 0;
}

/* 0, or -1 without memory. */
static int append_refused(json_t *list, const struct model *model,
                          const struct model_target *target)
{
    struct refused_view *views = calloc(REFUSED_TABLE_MAX, sizeof *views);
    unsigned count = views ? refused_table_list(views) : 0;
    int result = views ? 0 : -1;

    for (unsigned i = 0; i < count && result == 0; i++)
        if (is_wanted(target, views[i].target_name) &&
            model_find_target(model, views[i].target_name)) /* else it has been removed since */
            result = json_array_append_new(list, view_refused(&views[i]));
    free(views);
    return result;
}

void handle_initiator_list(struct call *call)
{
    const struct model_target *target = NULL;
    struct session_view *sessions;
    unsigned count;
    json_t *list;
    int result = 0;

    if (call_has(call, "target") && !(target = call_target(call)))
        return;
    if (session_table_list(&sessions, &count) != 0) {
        call_refuse(call, -ENOMEM, "out of memory");
        return;
    }
    list = json_array();
    for (unsigned i = 0; i < count && result == 0; i++)
        if (!sessions[i].is_discovery && is_wanted(target, sessions[i].target_name))
            result = json_array_append_new(list, view_logged_in(&sessions[i]));
    free(sessions);
    if (result == 0)
        result = append_refused(list, registry_model(call->daemon->registry), target);
    if (result != 0) {
        json_decref(list);
        list = NULL;
    }
    call_finish(call, list ? json_pack("{s:o}", "initiators", list) : NULL);
}

void handle_initiator_accept(struct call *call)
{
    const struct model_target *target = call_target(call);

    if (!target)
        return;
    call->subject = json_pack("{s:o, s:s}", "target", jsonrpc_string(target->name), "initiator",
                              call_text(call, "initiator"));
    registry_initiator_accept(call->daemon->registry, target->name, call_text(call, "initiator"),
                              call_changed, call);
}
