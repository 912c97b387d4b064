/* reservation.show, reservation.clear */
#include "admin/call.h"
#include "admin/handlers.h"
#include "admin/view.h"

#include <stdlib.h>

static bool append_reservation(void *context, const struct registry_lun_view *view)
{
    return json_array_append_new(context, view_reservation(view)) == 0;
}

void handle_reservation_show(struct call *call)
{
    const struct model_target *target = NULL;
    json_t *luns;

    if (call_has(call, "target") && !(target = call_target(call)))
        return;
    luns = json_array();
    registry_each_lun(call->daemon->registry, target ? target->name : NULL, append_reservation,
                      luns);
    call_finish(call, json_pack("{s:o}", "reservations", luns));
}

void handle_reservation_clear(struct call *call)
{
    const struct model_target *target = call_target(call);

    if (!target)
        return;
    call->subject = json_pack("{s:o, s:i}", "target", jsonrpc_string(target->name), "lun",
                              (int)call_number(call, "lun"));
    registry_reservation_clear(call->daemon->registry, target->name, call_number(call, "lun"),
                               call_flag(call, "force"), call_changed, call);
}
