/* lun.list, lun.show, lun.add, lun.remove, lun.resize */
#include "admin/call.h"
#include "admin/handlers.h"
#include "admin/view.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Parameter "target" when given, else NULL for all; false: the call has been refused. */
static bool wanted_target(struct call *call, const char **name)
{
    const struct model_target *target;

    *name = NULL;
    if (!call_has(call, "target"))
        return true;
    target = call_target(call);
    if (!target)
        return false;
    *name = target->name;
    return true;
}

static bool append_lun(void *context, const struct registry_lun_view *view)
{
    return json_array_append_new(context, view_lun(view)) == 0;
}

void handle_lun_list(struct call *call)
{
    const char *target;
    json_t *luns;

    if (!wanted_target(call, &target))
        return;
    luns = json_array();
    registry_each_lun(call->daemon->registry, target, append_lun, luns);
    call_finish(call, json_pack("{s:o}", "luns", luns));
}

struct wanted_lun {
    unsigned lun;
    bool is_found;
    json_t *shown;
};

static bool show_lun(void *context, const struct registry_lun_view *view)
{
    struct wanted_lun *wanted = context;

    if (view->declared->lun != wanted->lun)
        return true;
    wanted->is_found = true;
    wanted->shown = view_lun_whole(view);
    return false;
}

void handle_lun_show(struct call *call)
{
    const struct model_target *target = call_target(call);
    struct wanted_lun wanted = { 0 };

    if (!target)
        return;
    wanted.lun = call_number(call, "lun");
    registry_each_lun(call->daemon->registry, target->name, show_lun, &wanted);
    if (wanted.is_found)
        call_finish(call, wanted.shown);
    else
        call_refuse(call, -ENOENT, "target %s has no LUN %u; lun list shows what it has",
                    target->name, wanted.lun);
}

/* What the answer to a change names beside its text. */
static void set_subject(struct call *call, const struct model_target *target)
{
    call->subject = json_pack("{s:o, s:i}", "target", jsonrpc_string(target->name), "lun",
                              (int)call_number(call, "lun"));
}

void handle_lun_add(struct call *call)
{
    const struct model_target *target = call_target(call);
    const char *cache;
    struct model_lun lun;

    if (!target)
        return;
    cache = call_text(call, "cache");
    model_lun_init(&lun); /* the registry copies what it takes: the text stays the call's */
    lun.lun = call_number(call, "lun");
    lun.path = (char *)call_text(call, "path");
    lun.size_bytes = call_size(call, "size");
    lun.is_readonly = call_flag(call, "readonly");
    lun.is_removable = call_flag(call, "removable");
    lun.is_writethrough = cache && strcmp(cache, "writethrough") == 0;
    if (call_has(call, "vaai"))
        lun.vaai = call_flag(call, "vaai");
    lun.block_size = call_number(call, "block_size");
    lun.physical_block_size = call_number(call, "physical_block_size");
    if (call_has(call, "rotation"))
        lun.rotation = (int)call_number(call, "rotation");
    if (call_has(call, "thin_threshold"))
        lun.thin_threshold = (int)call_number(call, "thin_threshold");
    lun.serial = (char *)call_text(call, "serial");
    lun.naa = (char *)call_text(call, "naa");
    lun.product = (char *)call_text(call, "product");
    lun.origin = ORIGIN_MANAGED;
    if (call_texts(call, "initiators", &lun.initiators) != 0) {
        call_refuse(call, -ENOMEM, "out of memory");
        return;
    }
    set_subject(call, target);
    registry_lun_add(call->daemon->registry, target->name, &lun, call_changed, call);
    free(lun.initiators.items);
}

void handle_lun_remove(struct call *call)
{
    const struct model_target *target = call_target(call);

    if (!target)
        return;
    set_subject(call, target);
    registry_lun_remove(call->daemon->registry, target->name, call_number(call, "lun"),
                        call_flag(call, "force"), call_changed, call);
}

void handle_lun_resize(struct call *call)
{
    const struct model_target *target = call_target(call);

    if (!target)
        return;
    set_subject(call, target);
    registry_lun_resize(call->daemon->registry, target->name, call_number(call, "lun"),
                        call_size(call, "size"), call_changed, call);
}
