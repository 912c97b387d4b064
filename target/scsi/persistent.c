#include "target/scsi/persistent.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ---- states ---- */

struct persistent *persistent_copy(const struct persistent *old, unsigned more)
{
    unsigned count = old ? old->count : 0;
    struct persistent *copy = calloc(1, sizeof(*copy) + (count + more) * sizeof(struct registrant));

    if (copy && old)
        memcpy(copy, old, sizeof(*old) + count * sizeof(struct registrant));
    return copy;
}

struct registrant *persistent_find(struct persistent *state, const char *port,
                                   uint16_t relative_target_port)
{
    for (unsigned i = 0; state && i < state->count; i++) {
        struct registrant *registrant = &state->registrants[i];

        /* iSCSI names are the same in upper and lower case, RFC 7143 4.2.7.1 */
        if (registrant->relative_target_port == relative_target_port &&
            strcasecmp(registrant->port, port) == 0)
            return registrant;
    }
    return NULL;
}

struct registrant *persistent_find_nexus(struct persistent *state, const struct nexus *nexus)
{
    struct registrant *registrant;

    for (unsigned i = 0; state && i < state->count; i++)
        if (state->registrants[i].nexus_id == nexus->id)
            return &state->registrants[i];
    registrant = persistent_find(state, nexus->initiator_port, nexus->relative_target_port);
    if (registrant)
        registrant->nexus_id = nexus->id;
    return registrant;
}

bool persistent_is_holder(const struct persistent *state, const struct registrant *registrant)
{
    return state->type != PR_NONE && (pr_type_is_all(state->type) || registrant->is_holder);
}

static struct registrant *add(struct persistent *state, const char *port,
                              uint16_t relative_target_port, uint64_t key)
{
    struct registrant *registrant = &state->registrants[state->count++];

    *registrant = (struct registrant){ .key = key, .relative_target_port = relative_target_port };
    strncpy(registrant->port, port, sizeof(registrant->port) - 1);
    return registrant;
}

static void release(struct persistent *state)
{
    state->type = PR_NONE;
    for (unsigned i = 0; i < state->count; i++)
        state->registrants[i].is_holder = false;
}

/*
 * Takes registrants out of the next state, in which they still stand where they stood in the old
 * one. A reservation goes with its holder, or with the last of them (SPC-4 5.13.10).
 */
static void remove_marked(struct persistent *state, const bool *marked)
{
    unsigned kept = 0;
    bool is_released = false;

    for (unsigned i = 0; i < state->count; i++) {
        if (marked[i])
            is_released |= state->registrants[i].is_holder;
        else
            state->registrants[kept++] = state->registrants[i];
    }
    state->count = kept;
    if (is_released || kept == 0)
        release(state);
}

/* ---- answers ---- */

static void conflict(struct persistent_change *change)
{
    change->status = STATUS_RESERVATION_CONFLICT;
}

static void refuse(struct persistent_change *change, enum sense_code sense, bool is_in_cdb,
                   uint16_t byte, const char *why)
{
    change->status = STATUS_CHECK_CONDITION;
    change->sense = sense;
    change->is_in_cdb = is_in_cdb;
    change->byte = byte;
    change->why = why;
}

static bool make_next(const struct persistent *old, unsigned more, struct persistent_change *change)
{
    if ((old ? old->count : 0) + more > PERSISTENT_REGISTRANTS_MAX) {
        refuse(change, SENSE_INSUFFICIENT_REGISTRATION_RESOURCES, false, 0,
               "more registrations than a unit can have");
        return false;
    }
    change->next = persistent_copy(old, more);
    if (!change->next)
        change->status = STATUS_TASK_SET_FULL;
    return change->next;
}

static void tell(const struct persistent *old, unsigned i, const struct registrant *asking,
                 enum unit_attention ua, struct persistent_change *change)
{
    if (&old->registrants[i] != asking)
        change->fates[i] = (struct persistent_fate){ .is_told = true, .ua = ua };
}

static void tell_all(const struct persistent *old, const struct registrant *asking,
                     enum unit_attention ua, struct persistent_change *change)
{
    for (unsigned i = 0; i < old->count; i++)
        tell(old, i, asking, ua, change);
}

/* SCOPE and TYPE of a reservation that is to be, SPC-4 6.15.3.3: the whole unit, and a type. */
static bool wants_a_reservation(const struct persistent_request *request,
                                struct persistent_change *change)
{
    if (request->scope_and_type >> 4 == 0 && pr_type_is_known(request->scope_and_type & 0x0f))
        return true;
    refuse(change, SENSE_INVALID_FIELD_IN_CDB, true, 2, "no such scope or type of reservation");
    return false;
}

static enum pr_type wanted_type(const struct persistent_request *request)
{
    return (enum pr_type)(request->scope_and_type & 0x0f);
}

static void reserve_for(struct persistent *state, struct registrant *holder, enum pr_type type)
{
    release(state);
    state->type = type;
    holder->is_holder = !pr_type_is_all(type);
}

/* ---- REGISTER, REGISTER AND IGNORE EXISTING KEY ---- */

/* SPC-4 5.13.11.2.3 */
static void unregister(const struct persistent *old, const struct registrant *asking,
                       struct persistent_change *change)
{
    bool marked[PERSISTENT_REGISTRANTS_MAX] = { false };

    marked[asking - old->registrants] = true;
    remove_marked(change->next, marked);
    if (asking->is_holder && pr_type_is_registrants(old->type))
        tell_all(old, asking, UA_RESERVATIONS_RELEASED, change);
}

/* With SPEC_I_PT also those that are listed: all or, when one is registered already, none. */
static void register_new(struct persistent *old, const struct persistent_request *request,
                         struct persistent_change *change)
{
    uint64_t key = request->list->action_key;

    for (unsigned i = 0; i < request->port_count; i++)
        if (persistent_find(old, request->ports[i], request->relative_target_port))
            return refuse(change, SENSE_INVALID_FIELD_IN_PARAMETER_LIST, false, PR_OUT_BASIC_BYTES,
                          "a port that is to be registered is so already");
    if (!make_next(old, 1 + request->port_count, change))
        return;
    add(change->next, request->port, request->relative_target_port, key);
    for (unsigned i = 0; i < request->port_count; i++)
        if (!persistent_find(change->next, request->ports[i], request->relative_target_port))
            add(change->next, request->ports[i], request->relative_target_port, key);
}

/* SPC-4 tables 67 and 68. There is one target port, so ALL_TG_PT asks for nothing more. */
static void do_register(struct persistent *old, const struct persistent_request *request,
                        struct registrant *asking, struct persistent_change *change)
{
    const struct pr_out *list = request->list;
    bool checks_key = request->action == PR_OUT_REGISTER;

    if (checks_key && list->key != (asking ? asking->key : 0))
        return conflict(change);
    if (list->is_kept && !request->can_keep)
        return refuse(change, SENSE_INVALID_FIELD_IN_PARAMETER_LIST, false, 20,
                      "registrations cannot be kept (APTPL): there is no state_dir");
    if (!asking && list->action_key == 0)
        return;
    if (asking && list->has_transport_ids)
        return refuse(change, SENSE_INVALID_FIELD_IN_PARAMETER_LIST, false, 20,
                      "SPEC_I_PT from a nexus that is registered already");
    if (!asking) {
        register_new(old, request, change);
    } else if (make_next(old, 0, change)) {
        if (list->action_key == 0)
            unregister(old, asking, change);
        else
            change->next->registrants[asking - old->registrants].key = list->action_key;
    }
    if (change->next) {
        change->next->is_kept = list->is_kept;
        change->next->generation++;
    }
}

/* ---- RESERVE, RELEASE, CLEAR ---- */

static void do_reserve(struct persistent *old, const struct persistent_request *request,
                       struct registrant *asking, struct persistent_change *change)
{
    if (!wants_a_reservation(request, change))
        return;
    if (old->type != PR_NONE) {
        /* Again is fine for the holder, another type is not (SPC-4 5.13.9). */
        if (!persistent_is_holder(old, asking) || old->type != wanted_type(request))
            conflict(change);
        return;
    }
    if (make_next(old, 0, change))
        reserve_for(change->next, &change->next->registrants[asking - old->registrants],
                    wanted_type(request));
}

/* SPC-4 5.13.11.2.2 */
static void do_release(struct persistent *old, const struct persistent_request *request,
                       struct registrant *asking, struct persistent_change *change)
{
    if (!persistent_is_holder(old, asking))
        return;
    if (request->scope_and_type != old->type) /* the scope is 0 */
        return refuse(change, SENSE_INVALID_RELEASE_OF_RESERVATION, true, 2,
                      "the reservation is of another type");
    if (!make_next(old, 0, change))
        return;
    release(change->next);
    if (pr_type_is_registrants(old->type))
        tell_all(old, asking, UA_RESERVATIONS_RELEASED, change);
}

/* SPC-4 5.13.11.2.7 */
static void do_clear(struct persistent *old, const struct persistent_request *request,
                     struct registrant *asking, struct persistent_change *change)
{
    (void)request;
    if (!make_next(old, 0, change))
        return;
    release(change->next);
    change->next->count = 0;
    change->next->generation++;
    tell_all(old, asking, UA_RESERVATIONS_PREEMPTED, change);
}

/* ---- PREEMPT, PREEMPT AND ABORT ---- */

/* SPC-4 5.13.11.2.4.3: the asking nexus takes the reservation over and stays registered. */
static void take_over(struct persistent *old, const struct persistent_request *request,
                      struct registrant *asking, struct persistent_change *change)
{
    bool takes_all = pr_type_is_all(old->type); /* its holders are named by key 0 */
    bool marked[PERSISTENT_REGISTRANTS_MAX] = { false };
    enum pr_type type = wanted_type(request);

    if (!wants_a_reservation(request, change) || !make_next(old, 0, change))
        return;
    for (unsigned i = 0; i < old->count; i++) {
        struct registrant *registrant = &old->registrants[i];

        if (registrant == asking)
            continue;
        marked[i] = takes_all || registrant->key == request->list->action_key;
        if (marked[i]) {
            tell(old, i, asking, UA_REGISTRATIONS_PREEMPTED, change);
            change->fates[i].is_preempted = true;
        } else if (type != old->type) {
            tell(old, i, asking, UA_RESERVATIONS_RELEASED, change);
        }
    }
    remove_marked(change->next, marked);
    reserve_for(change->next,
                persistent_find(change->next, asking->port, asking->relative_target_port), type);
    change->next->generation++;
}

/* SPC-4 5.13.11.2.5: registrations go, the asking one too if it has that key. */
static void remove_registrations(struct persistent *old, const struct persistent_request *request,
                                 struct registrant *asking, struct persistent_change *change)
{
    bool marked[PERSISTENT_REGISTRANTS_MAX] = { false };
    bool has_any = false;

    for (unsigned i = 0; i < old->count; i++) {
        marked[i] = old->registrants[i].key == request->list->action_key;
        has_any |= marked[i];
    }
    if (!has_any)
        return conflict(change);
    if (!make_next(old, 0, change))
        return;
    for (unsigned i = 0; i < old->count; i++) {
        if (!marked[i])
            continue;
        tell(old, i, asking, UA_REGISTRATIONS_PREEMPTED, change);
        change->fates[i].is_preempted = true;
    }
    remove_marked(change->next, marked);
    change->next->generation++;
}

/* SPC-4 table 72 */
static void do_preempt(struct persistent *old, const struct persistent_request *request,
                       struct registrant *asking, struct persistent_change *change)
{
    uint64_t key = request->list->action_key;

    if (old->type != PR_NONE && key == 0 && !pr_type_is_all(old->type))
        return refuse(change, SENSE_INVALID_FIELD_IN_PARAMETER_LIST, false, 8,
                      "key 0 names the holders of an all registrants reservation only");
    if (pr_type_is_all(old->type) && key == 0)
        return take_over(old, request, asking, change);
    for (unsigned i = 0; i < old->count; i++)
        if (old->registrants[i].is_holder && old->registrants[i].key == key)
            return take_over(old, request, asking, change);
    remove_registrations(old, request, asking, change);
}

/* ---- REGISTER AND MOVE ---- */

/* SPC-4 5.13.8 and table 70 */
static void do_move(struct persistent *old, const struct persistent_request *request,
                    struct registrant *asking, struct persistent_change *change)
{
    const struct pr_out *list = request->list;
    bool marked[PERSISTENT_REGISTRANTS_MAX] = { false };
    const char *port = request->ports[0];
    enum pr_type type = old->type;
    struct registrant *moved_to;

    if (type == PR_NONE)
        return refuse(change, SENSE_INVALID_FIELD_IN_CDB, true, 1, "there is nothing to move");
    if (!asking->is_holder)
        return conflict(change);
    if (list->action_key == 0)
        return refuse(change, SENSE_INVALID_FIELD_IN_PARAMETER_LIST, false, 8,
                      "the reservation cannot move to a key of 0");
    if (list->relative_target_port != request->relative_target_port)
        return refuse(change, SENSE_INVALID_FIELD_IN_PARAMETER_LIST, false, 18,
                      "there is no such target port");
    if (strcasecmp(port, asking->port) == 0)
        return refuse(change, SENSE_INVALID_FIELD_IN_PARAMETER_LIST, false, PR_OUT_BASIC_BYTES,
                      "the reservation cannot move to where it is");
    if (list->is_kept && !request->can_keep)
        return refuse(change, SENSE_INVALID_FIELD_IN_PARAMETER_LIST, false, 17,
                      "registrations cannot be kept (APTPL): there is no state_dir");
    moved_to = persistent_find(old, port, list->relative_target_port);
    if (!make_next(old, moved_to ? 0 : 1, change))
        return;
    release(change->next);
    marked[asking - old->registrants] = list->unregisters;
    if (!moved_to)
        add(change->next, port, list->relative_target_port, list->action_key);
    else
        change->next->registrants[moved_to - old->registrants].key = list->action_key;
    remove_marked(change->next, marked);
    reserve_for(change->next, persistent_find(change->next, port, list->relative_target_port),
                type);
    change->next->is_kept = list->is_kept;
    change->next->generation++;
}

/* ---- the way in ---- */

void persistent_out(const struct persistent *given, const struct persistent_request *request,
                    struct persistent_change *change)
{
    /* Only looked at; a search that can also find in the next state gives what may be changed. */
    struct persistent *old = (struct persistent *)given;
    struct registrant *asking = persistent_find(old, request->port, request->relative_target_port);

    *change = (struct persistent_change){ .status = STATUS_GOOD };
    if (request->action == PR_OUT_REGISTER || request->action == PR_OUT_REGISTER_AND_IGNORE)
        return do_register(old, request, asking, change);
    /* SPC-4 5.13.7: nothing else is taken from a nexus that is not registered, or with another
     * key. */
    if (!asking || asking->key != request->list->key)
        return conflict(change);
    switch (request->action) {
    case PR_OUT_RESERVE: return do_reserve(old, request, asking, change);
    case PR_OUT_RELEASE: return do_release(old, request, asking, change);
    case PR_OUT_CLEAR: return do_clear(old, request, asking, change);
    case PR_OUT_PREEMPT:
    case PR_OUT_PREEMPT_AND_ABORT: return do_preempt(old, request, asking, change);
    case PR_OUT_REGISTER_AND_MOVE: return do_move(old, request, asking, change);
    default: return;
    }
}

void persistent_clear(const struct persistent *old, struct persistent_change *change)
{
    *change = (struct persistent_change){ .status = STATUS_GOOD };
    if (old)
        do_clear((struct persistent *)old, NULL, NULL, change);
}

/* ---- whom it keeps out ---- */

bool persistent_conflicts(struct persistent *state, const struct nexus *nexus,
                          enum reservation_class class)
{
    const struct registrant *registrant;
    bool is_let_in;

    if (!state || state->count == 0)
        return false;
    if (state->type == PR_NONE && class != RSV_RESERVE && class != RSV_RELEASE)
        return false;
    registrant = persistent_find_nexus(state, nexus);
    is_let_in = registrant && state->type != PR_NONE &&
                (pr_type_is_registrants(state->type) || registrant->is_holder);
    switch (class) {
    case RSV_READS:
    case RSV_REPORTS: return !is_let_in && pr_type_is_exclusive_access(state->type);
    case RSV_WRITES: return !is_let_in;
    /* SPC-4 5.13.3; all others find what SPC-2 5.5.1 says of a unit with registrants: a conflict */
    case RSV_RESERVE:
    case RSV_RELEASE: return !is_let_in;
    case RSV_ALLOWED:
    case RSV_CONTROL:
    case RSV_PERSISTENT: /* PERSISTENT RESERVE OUT has rules of its own, table 66 */
    case RSV_START_STOP: /* decided by the CDB */
    case RSV_PREVENT:
    case RSV_NONE: break;
    }
    return false;
}
