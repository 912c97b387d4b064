/* target.list, target.show, target.add, target.remove */
#include "admin/call.h"
#include "admin/handlers.h"
#include "admin/view.h"

#include <errno.h>
#include <stdlib.h>

void handle_target_list(struct call *call)
{
    const struct model *model = registry_model(call->daemon->registry);
    json_t *targets = json_array();

    for (unsigned i = 0; i < model->target_count; i++) {
        if (json_array_append_new(targets, view_target(model, &model->targets[i])) != 0) {
            json_decref(targets);
            targets = NULL;
        }
    }
    call_finish(call, json_pack("{s:o}", "targets", targets));
}

void handle_target_show(struct call *call)
{
    const struct model_target *target = call_target(call);

    if (target)
        call_finish(call, view_target_whole(call->daemon->registry, target));
}

void handle_target_add(struct call *call)
{
    struct model_target target = {
        .name = (char *)call_text(call, "name"), /* the registry copies what it takes */
        .alias = (char *)call_text(call, "alias"),
        .has_chap = call_has(call, "chap_user") || call_has(call, "chap_secret_file") ||
                    call_has(call, "chap_mutual_user") || call_has(call, "chap_mutual_secret_file"),
        .chap = {.user = (char *)call_text(call, "chap_user"),
                 .secret_file = (char *)call_text(call, "chap_secret_file"),
                 .mutual_user = (char *)call_text(call, "chap_mutual_user"),
                 .mutual_secret_file = (char *)call_text(call, "chap_mutual_secret_file")},
        .origin = ORIGIN_MANAGED,
    };

    if (call_texts(call, "initiators", &target.initiators) == 0 &&
        call_texts(call, "networks", &target.networks) == 0) {
        call->subject = json_pack("{s:s}", "target", target.name);
        /* The call may be answered, and its parameters gone, when this returns; the arrays are
         * ours. */
        registry_target_add(call->daemon->registry, &target, call_changed, call);
    } else {
        call_refuse(call, -ENOMEM, "out of memory");
    }
    free(target.initiators.items);
    free(target.networks.items);
}

void handle_target_remove(struct call *call)
{
    const struct model_target *target = call_target(call);

    if (!target)
        return;
    call->subject = json_pack("{s:o}", "target", jsonrpc_string(target->name));
    registry_target_remove(call->daemon->registry, target->name, call_flag(call, "force"),
                           call_changed, call);
}
