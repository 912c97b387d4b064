/* spc_persistent: PERSISTENT RESERVE IN and OUT, SPC-4 6.15 and 6.16. */
#include "target/scsi/handlers.h"

#include "target/scsi/opcodes.h"
#include "target/scsi/persistent_update.h"
#include "target/worker/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

/* ---- IN ---- */

static void put_keys(struct builder *out, const struct persistent *state)
{
    for (unsigned i = 0; i < state->count; i++)
        pr_in_key(out, state->registrants[i].key);
}

/* The holder's key; of an all registrants type, which has no one holder, 0 (SPC-4 5.13.6.3). */
static void put_reservation(struct builder *out, const struct persistent *state)
{
    uint64_t key = 0;

    for (unsigned i = 0; i < state->count; i++)
        if (state->registrants[i].is_holder)
            key = state->registrants[i].key;
    if (state->type != PR_NONE)
        pr_in_reservation(out, key, state->type);
}

static void put_full_status(struct builder *out, const struct persistent *state)
{
    for (unsigned i = 0; i < state->count; i++) {
        const struct registrant *registrant = &state->registrants[i];
        const struct pr_in_registrant told = {
            .key = registrant->key,
            .type = persistent_is_holder(state, registrant) ? state->type : PR_NONE,
            .relative_target_port = registrant->relative_target_port,
            .port = registrant->port,
        };

        pr_in_registrant(out, &told);
    }
}

void spc_persistent_reserve_in(struct command *command)
{
    struct persistent *state = lu_persistent_copy(command->lu);
    size_t cap = PR_IN_HEADER_BYTES + (state ? state->count : 0) * PR_IN_REGISTRANT_BYTES_MAX;
    uint8_t *bytes = malloc(cap);
    struct builder out = builder_over(bytes, cap);

    if (!state || !bytes) {
        free(state);
        free(bytes);
        return command_finish(command, STATUS_TASK_SET_FULL);
    }
    if (command->op->service_action == PR_IN_REPORT_CAPABILITIES) {
        pr_in_capabilities(&out, command->lu->persistent_path, state->is_kept);
    } else {
        pr_in_begin(&out, state->generation);
        switch (command->op->service_action) {
        case PR_IN_READ_KEYS: put_keys(&out, state); break;
        case PR_IN_READ_RESERVATION: put_reservation(&out, state); break;
        default: put_full_status(&out, state); break;
        }
        pr_in_end(&out);
    }
    command_reply(command, bytes, out.len, get_be16(command->cdb + 7));
    free(bytes);
    free(state);
}

/* ---- OUT: whom TransportIDs mean ---- */

static bool add_port(struct persistent_update *update, const char *port)
{
    if (update->request.port_count == PERSISTENT_REGISTRANTS_MAX)
        return false;
    snprintf(update->ports[update->request.port_count++], sizeof(update->ports[0]), "%s", port);
    return true;
}

/* All ports of an initiator: those of its sessions that use the unit (SPC-4 7.6.4.6). */
static enum sense_code add_known_ports(struct persistent_update *update, const char *name)
{
    enum sense_code code = SENSE_INVALID_FIELD_IN_PARAMETER_LIST;
    struct lu *lu = update->lu;
    const struct itl *itl;

    pthread_mutex_lock(&lu->mutex);
    LIST_FOREACH (itl, &lu->itls, lu_link) {
        if (strcasecmp(itl->nexus->initiator_name, name) != 0)
            continue;
        code = SENSE_NONE;
        if (!add_port(update, itl->nexus->initiator_port)) {
            code = SENSE_INSUFFICIENT_REGISTRATION_RESOURCES;
            break;
        }
    }
    pthread_mutex_unlock(&lu->mutex);
    return code;
}

static enum sense_code find_ports(struct persistent_update *update)
{
    enum sense_code code = SENSE_NONE;
    char port[INITIATOR_PORT_MAX + 1];

    for (unsigned i = 0; code == SENSE_NONE && i < update->list.transport_id_count; i++) {
        const struct transport_id *id = &update->list.transport_ids[i];
        int name_len = (int)id->name.len;

        if (!id->has_isid) {
            snprintf(port, sizeof(port), "%.*s", name_len, (const char *)id->name.bytes);
            code = add_known_ports(update, port);
            continue;
        }
        snprintf(port, sizeof(port), "%.*s,i,0x%s", name_len, (const char *)id->name.bytes,
                 id->isid);
        if (!add_port(update, port))
            code = SENSE_INSUFFICIENT_REGISTRATION_RESOURCES;
    }
    return code;
}

/* ---- OUT ---- */

struct persistent_out {
    struct persistent_update *update; /* NULL: none is under way */
};

static void answer(struct command *command, const struct persistent_update *update)
{
    const struct persistent_change *change = &update->change;

    if (update->file_error != 0) {
        log_error("%s: cannot be written: %s; the hosts' registrations were not changed",
                  command->lu->persistent_path, strerror(-update->file_error));
        command_refuse(command, SENSE_INTERNAL_TARGET_FAILURE, NULL);
    } else if (change->status == STATUS_CHECK_CONDITION) {
        command_refuse_field(command, change->sense, change->is_in_cdb, change->byte, change->why);
    } else {
        command_finish(command, change->status);
    }
}

static void updated(struct persistent_update *update)
{
    struct command *command = update->context;

    COMMAND_SCRATCH(command, struct persistent_out)->update = NULL;
    answer(command, update);
    free(update);
    command_unpin(command);
}

/* What the list says, in the update. False: the command has been refused. */
static bool take_list(struct command *command, struct persistent_update *update, const void *list,
                      size_t len)
{
    enum pr_out_action action = (enum pr_out_action)command->op->service_action;
    enum sense_code code;
    uint16_t byte;

    code = pr_out_parse(&update->list, action, list, len, &byte);
    if (code == SENSE_NONE) {
        byte = PR_OUT_BASIC_BYTES;
        code = find_ports(update);
    }
    if (code == SENSE_PARAMETER_LIST_LENGTH_ERROR)
        command_refuse(command, code, "a parameter list of a wrong length");
    else if (code != SENSE_NONE)
        command_refuse_field(command, code, false, byte, "a bad field or TransportID");
    update->request.action = action;
    update->request.scope_and_type = command->cdb[2];
    update->request.list = &update->list;
    update->request.port = command->nexus->initiator_port;
    update->request.relative_target_port = command->nexus->relative_target_port;
    update->request.can_keep = command->lu->persistent_path;
    update->request.ports = update->ports;
    return code == SENSE_NONE;
}

void spc_persistent_reserve_out(struct command *command)
{
    uint32_t list_bytes = get_be32(command->cdb + 5);
    uint32_t want_bytes =
        list_bytes < command->expected_out_bytes ? list_bytes : command->expected_out_bytes;

    COMMAND_SCRATCH(command, struct persistent_out)->update = NULL;
    command->transfer_bytes = list_bytes;
    if (list_bytes > PR_OUT_BYTES_MAX || want_bytes < PR_OUT_BASIC_BYTES)
        return command_refuse(command, SENSE_PARAMETER_LIST_LENGTH_ERROR,
                              "a parameter list of a wrong length");
    command->transport->out_want(command, want_bytes, want_bytes);
}

void spc_persistent_reserve_out_list(struct command *command, struct burst *burst)
{
    struct persistent_update *update = calloc(1, sizeof(*update));
    bool is_good = false;

    if (update) {
        update->lu = command->lu;
        update->worker = command->nexus->worker;
        update->context = command;
        update->done = updated;
        is_good = take_list(command, update, burst->data, burst->bytes);
    } else {
        command_finish(command, STATUS_TASK_SET_FULL);
    }
    command->transport->out_done(command, burst);
    if (!is_good) {
        free(update);
        return;
    }
    COMMAND_SCRATCH(command, struct persistent_out)->update = update;
    command_pin(command);
    persistent_update_start(update);
}

void spc_persistent_reserve_let_go(struct command *command)
{
    struct persistent_out *out = COMMAND_SCRATCH(command, struct persistent_out);

    if (!out->update || !persistent_update_abandon(out->update))
        return;
    out->update = NULL;
    command_unpin(command);
}
