#include "admin/view.h"

#include "admin/jsonrpc.h"
#include "target/scsi/opcodes.h"
#include "target/scsi/persistent_file.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

json_t *view_strings(const struct model_strings *strings)
{
    json_t *array;

    if (!strings->is_set)
        return json_null();
    array = json_array();
    for (unsigned i = 0; i < strings->count; i++) {
        if (json_array_append_new(array, jsonrpc_string(strings->items[i])) != 0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

/* "/etc/nestor.conf:14", or null */
static json_t *view_place(const struct model_place *place)
{
    char text[512];

    if (!place->file)
        return json_null();
    snprintf(text, sizeof text, "%s:%u", place->file, place->line);
    return jsonrpc_string(text);
}

static const char *origin_name(enum model_origin origin)
{
    return origin == ORIGIN_PERSON ? "config" : "nestorctl";
}

json_t *view_target(const struct model *model, const struct model_target *target)
{
    json_t *chap = json_null();

    if (target->has_chap) /* names and files, never a secret */
        chap = json_pack("{s:o, s:o, s:o, s:o}", "user", jsonrpc_string(target->chap.user),
                         "secret_file", jsonrpc_string(target->chap.secret_file), "mutual_user",
                         jsonrpc_string(target->chap.mutual_user), "mutual_secret_file",
                         jsonrpc_string(target->chap.mutual_secret_file));
    return json_pack("{s:o, s:o, s:o, s:i, s:i, s:o, s:o, s:o, s:s, s:o}", "target",
                     jsonrpc_string(target->name), "alias", jsonrpc_string(target->alias),
                     "portals", view_strings(&model->portals), "luns", (int)target->lun_count,
                     "sessions", (int)session_table_count(target->name), "initiators",
                     view_strings(&target->initiators), "networks", view_strings(&target->networks),
                     "chap", chap, "origin", origin_name(target->origin), "place",
                     view_place(&target->place));
}

/* ESX's four primitives, each by the command that ESX tries it with. */
static const struct primitive {
    const char *name; /* as `esxcli storage core device vaai status get` has it */
    uint8_t opcode;
    int service_action;
} primitives[] = {
    {"ATS",     0x89, OPCODE_NO_SA}, /* COMPARE AND WRITE */
    { "Clone",  0x83, 0x00        }, /* EXTENDED COPY(LID1) */
    { "Zero",   0x93, OPCODE_NO_SA}, /* WRITE SAME(16) */
    { "Delete", 0x42, OPCODE_NO_SA}, /* UNMAP */
};

static json_t *view_primitives(const struct lu *lu)
{
    json_t *names = json_array();

    for (unsigned i = 0; lu->identity.vaai && i < sizeof primitives / sizeof primitives[0]; i++)
        if (opcode_exists(primitives[i].opcode, primitives[i].service_action))
            json_array_append_new(names, json_string(primitives[i].name));
    return names;
}

static bool append_vaai(void *context, const struct registry_lun_view *view)
{
    return !view->lu ||
           json_array_append_new(context, json_pack("{s:i, s:o}", "lun", (int)view->declared->lun,
                                                    "supported", view_primitives(view->lu))) == 0;
}

json_t *view_target_whole(const struct registry *registry, const struct model_target *target)
{
    json_t *whole = view_target(registry_model(registry), target), *luns = json_array();

    registry_each_lun(registry, target->name, append_vaai, luns);
    if (json_object_set_new(whole, "vaai", luns) == 0)
        return whole;
    json_decref(whole);
    return NULL;
}

char *view_port_name(char *port)
{
    char *end = strstr(port, ",i,0x");

    if (end)
        *end = '\0';
    return port;
}

static const char *holder_of(const struct persistent *state, char port[INITIATOR_PORT_MAX + 1])
{
    if (!state || state->type == PR_NONE)
        return NULL;
    snprintf(port, INITIATOR_PORT_MAX + 1, "all registrants");
    for (unsigned i = 0; i < state->count; i++)
        if (state->registrants[i].is_holder)
            snprintf(port, INITIATOR_PORT_MAX + 1, "%s", state->registrants[i].port);
    return port;
}

static const char *lun_state(const struct registry_lun_view *view, bool is_reserved)
{
    if (!view->lu)
        return "failed";
    return is_reserved ? "reserved" : "ok";
}

/* What only a LUN that is served has. */
static int add_live(json_t *lun, const struct registry_lun_view *view)
{
    /* The two questions take the unit's mutex; the unit itself stays as it is. */
    struct lu *lu = (struct lu *)view->lu;
    char port[INITIATOR_PORT_MAX + 1];
    struct persistent *state = lu ? lu_persistent_copy(lu) : NULL;
    bool is_reserved = lu && (lu_reservation_holder(lu, port) || holder_of(state, port) != NULL);
    struct backing_usage usage = { 0 };
    bool has_usage = lu && backing_usage(lu->backing, &usage) == 0;
    uint64_t size_bytes =
        lu ? atomic_load(&lu->blocks) << lu->block_shift : view->declared->size_bytes;
    json_t *live = json_pack(
        "{s:I, s:o, s:o, s:i, s:s, s:o, s:o}", "size_bytes", (json_int_t)size_bytes,
        "allocated_bytes",
        has_usage ? json_integer((json_int_t)usage.allocated_bytes) : json_null(), "free_bytes",
        has_usage ? json_integer((json_int_t)usage.free_bytes) : json_null(), "hosts",
        lu ? (int)lu_nexus_count(lu) : 0, "state", lun_state(view, is_reserved), "reserved_by",
        is_reserved ? jsonrpc_string(view_port_name(port)) : json_null(), "problem",
        lu ? json_null() : jsonrpc_string(view->problem));
    int result = live ? json_object_update(lun, live) : -1;

    free(state);
    json_decref(live);
    return result;
}

json_t *view_lun(const struct registry_lun_view *view)
{
    const struct model_lun *declared = view->declared;
    /* what is served: a reload may have declared something else, which holds after a restart */
    bool is_readonly = view->lu ? view->lu->is_readonly : declared->is_readonly;
    bool is_writethrough =
        view->lu ? view->lu->cache == CACHE_WRITETHROUGH : declared->is_writethrough;
    bool is_removable = view->lu ? view->lu->is_removable : declared->is_removable;
    json_t *lun = json_pack("{s:o, s:i, s:o, s:b, s:b, s:s, s:o, s:s, s:o}", "target",
                            jsonrpc_string(view->target), "lun", (int)declared->lun, "path",
                            jsonrpc_string(declared->path), "readonly", is_readonly, "removable",
                            is_removable, "cache", is_writethrough ? "writethrough" : "writeback",
                            "initiators", view_strings(&declared->initiators), "origin",
                            origin_name(declared->origin), "place", view_place(&declared->place));

    if (lun && add_live(lun, view) != 0) {
        json_decref(lun);
        return NULL;
    }
    return lun;
}

json_t *view_lun_counters(const struct registry_lun_view *view)
{
    struct lu_statistics sum = { 0 };

    if (view->lu)
        lu_statistics(view->lu, &sum);
    return json_pack("{s:o, s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "target",
                     jsonrpc_string(view->target), "lun", (int)view->declared->lun, "reads",
                     (json_int_t)sum.reads, "writes", (json_int_t)sum.writes, "read_bytes",
                     (json_int_t)sum.read_bytes, "written_bytes", (json_int_t)sum.written_bytes,
                     "others", (json_int_t)sum.others, "errors", (json_int_t)sum.errors,
                     "conflicts", (json_int_t)sum.conflicts, "ats_ok", (json_int_t)sum.ats_ok,
                     "ats_miscompare", (json_int_t)sum.ats_miscompare, "clones",
                     (json_int_t)sum.clones, "clones_failed", (json_int_t)sum.clones_failed);
}

static json_t *view_identity(const struct identity *identity)
{
    char naa[33];

    identity_naa_text(identity, naa);
    return json_pack(
        "{s:o, s:s, s:o, s:o, s:o, s:b, s:i, s:i, s:o}", "serial", jsonrpc_string(identity->serial),
        "naa", naa, "vendor", jsonrpc_string(identity->vendor), "product",
        jsonrpc_string(identity->product), "revision", jsonrpc_string(identity->revision), "vaai",
        identity->vaai, "block_size", (int)identity->block_bytes, "physical_block_size",
        (int)identity->physical_block_bytes, "created", jsonrpc_string(identity->created));
}

json_t *view_lun_whole(const struct registry_lun_view *view)
{
    json_t *lun = view_lun(view);
    json_t *identity = view->lu ? view_identity(&view->lu->identity) : json_null();

    if (json_object_set_new(lun, "identity", identity) != 0 ||
        json_object_set_new(lun, "counters", view_lun_counters(view)) != 0) {
        json_decref(lun);
        return NULL;
    }
    return lun;
}

static int append_registrant(json_t *registrants, json_t *names, const struct persistent *state,
                             const struct registrant *registrant)
{
    char key[24], name[INITIATOR_PORT_MAX + 1];
    json_t *shown;

    snprintf(key, sizeof key, "0x%016" PRIx64, registrant->key);
    snprintf(name, sizeof name, "%s", registrant->port);
    shown = json_pack("{s:o, s:o, s:s, s:b}", "initiator", jsonrpc_string(view_port_name(name)),
                      "port", jsonrpc_string(registrant->port), "key", key, "holder",
                      persistent_is_holder(state, registrant));
    if (json_array_append_new(registrants, shown) != 0)
        return -1;
    return json_array_append_new(names, jsonrpc_string(name));
}

json_t *view_reservation(const struct registry_lun_view *view)
{
    struct lu *lu = (struct lu *)view->lu; /* its mutex is taken, it stays as it is */
    struct persistent *state = lu ? lu_persistent_copy(lu) : NULL;
    char port[INITIATOR_PORT_MAX + 1], name[INITIATOR_PORT_MAX + 1];
    bool is_scsi_2 = lu && lu_reservation_holder(lu, port);
    const char *holder = is_scsi_2 ? port : holder_of(state, port);
    bool is_persistent = holder && !is_scsi_2;
    json_t *registrants = json_array(), *names = json_array(), *shown = NULL;
    int result = lu && !state ? -1 : 0;

    for (unsigned i = 0; result == 0 && state && i < state->count; i++)
        result = append_registrant(registrants, names, state, &state->registrants[i]);
    snprintf(name, sizeof name, "%s", holder ? holder : "");
    if (result == 0)
        shown = json_pack(
            "{s:o, s:i, s:b, s:o, s:o, s:o, s:o, s:b, s:O, s:O}", "target",
            jsonrpc_string(view->target), "lun", (int)view->declared->lun, "reserved",
            holder != NULL, "kind",
            holder ? json_string(is_scsi_2 ? "SCSI-2" : "persistent") : json_null(), "type",
            is_persistent ? json_string(persistent_type_name(state->type)) : json_null(),
            "initiator", holder ? jsonrpc_string(view_port_name(name)) : json_null(), "port",
            holder ? jsonrpc_string(holder) : json_null(), "kept", state && state->is_kept,
            "registrations", registrants, "registered", names);
    json_decref(registrants);
    json_decref(names);
    free(state);
    return shown;
}

json_t *view_session(const struct session_view *session)
{
    char isid[2 * sizeof session->isid + 1];

    for (unsigned i = 0; i < sizeof session->isid; i++)
        snprintf(isid + 2 * i, 3, "%02x", session->isid[i]);
    return json_pack(
        "{s:i, s:s, s:o, s:o, s:s, s:o, s:s, s:s, s:i, s:I, s:s, s:b, s:b, s:I, s:I, s:I}", "tsih",
        (int)session->tsih, "type", session->is_discovery ? "discovery" : "normal", "initiator",
        jsonrpc_string(session->initiator_name), "initiator_alias",
        session->initiator_alias[0] ? jsonrpc_string(session->initiator_alias) : json_null(),
        "isid", isid, "target",
        session->target_name[0] ? jsonrpc_string(session->target_name) : json_null(), "address",
        session->address, "portal", session->portal, "worker", (int)session->worker, "since",
        (json_int_t)session->since_unix_s, "auth", session->auth, "header_digest",
        session->has_header_digest, "data_digest", session->has_data_digest, "commands",
        (json_int_t)session->commands, "read_bytes", (json_int_t)session->read_bytes,
        "written_bytes", (json_int_t)session->written_bytes);
}
