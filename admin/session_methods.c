/* session.list, session.show, session.drop */
#include "admin/call.h"
#include "admin/handlers.h"
#include "admin/view.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

void handle_session_list(struct call *call)
{
    const struct model_target *target = NULL;
    struct session_view *sessions;
    unsigned count;
    json_t *list;

    if (call_has(call, "target") && !(target = call_target(call)))
        return;
    if (session_table_list(&sessions, &count) != 0) {
        call_refuse(call, -ENOMEM, "out of memory");
        return;
    }
    list = json_array();
    for (unsigned i = 0; i < count; i++) {
        if (target && strcasecmp(target->name, sessions[i].target_name) != 0)
            continue;
        if (json_array_append_new(list, view_session(&sessions[i])) != 0) {
            json_decref(list);
            list = NULL;
        }
    }
    free(sessions);
    call_finish(call, json_pack("{s:o}", "sessions", list));
}

static void refuse_unknown(struct call *call)
{
    call_refuse(call, -ENOENT, "no session %u; session list shows who is logged in",
                call_number(call, "tsih"));
}

void handle_session_show(struct call *call)
{
    struct session_view *sessions;
    unsigned count;
    json_t *shown = NULL;
    bool is_found = false;

    if (session_table_list(&sessions, &count) != 0) {
        call_refuse(call, -ENOMEM, "out of memory");
        return;
    }
    for (unsigned i = 0; i < count && !is_found; i++) {
        is_found = sessions[i].tsih == call_number(call, "tsih");
        if (is_found)
            shown = view_session(&sessions[i]);
    }
    free(sessions);
    if (is_found)
        call_finish(call, shown);
    else
        refuse_unknown(call);
}

void handle_session_drop(struct call *call)
{
    unsigned tsih = call_number(call, "tsih");
    int error = session_table_drop((uint16_t)tsih);
    char text[128];

    if (error == -ENOENT) {
        refuse_unknown(call);
        return;
    }
    if (error) {
        call_refuse(call, error, "session %u cannot be closed now: %s", tsih, strerror(-error));
        return;
    }
    snprintf(text, sizeof text,
             "session %u is being closed; its host logs in again unless it is kept out", tsih);
    call_finish(call, json_pack("{s:i, s:s}", "tsih", (int)tsih, "text", text));
}
