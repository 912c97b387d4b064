/*
 * PERSISTENT RESERVE OUT parameter lists: the first byte chooses the service action. What is taken
 * apart lies within the list, and is carried out on a unit whose state must make sense after each;
 * the rest of the input is more lists, each after its length (2 bytes).
 */
#include "proto/text.h"
#include "target/scsi/persistent.h"

#include <assert.h>
#include <stdlib.h>
#include <strings.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const ports[] = { "iqn.2001-01.com:a,i,0x000000000000",
                                     "iqn.2001-01.com:b,i,0x000000000000",
                                     "iqn.2001-01.com:c,i,0x000000000000" };

static void check_state(const struct persistent *state)
{
    unsigned holders = 0;

    assert(state->count <= PERSISTENT_REGISTRANTS_MAX);
    for (unsigned i = 0; i < state->count; i++) {
        assert(state->registrants[i].key != 0);
        holders += state->registrants[i].is_holder;
        for (unsigned other = 0; other < i; other++)
            assert(strcasecmp(state->registrants[i].port, state->registrants[other].port) != 0);
    }
    assert(state->type == PR_NONE || pr_type_is_known(state->type));
    assert(holders == (state->type != PR_NONE && !pr_type_is_all(state->type)));
    assert(state->type == PR_NONE || state->count > 0);
}

static void check_ids(const struct pr_out *out, const uint8_t *list, size_t len)
{
    for (unsigned i = 0; i < out->transport_id_count; i++) {
        const struct transport_id *id = &out->transport_ids[i];

        assert(id->name.bytes >= list && id->name.bytes + id->name.len < list + len);
        assert(text_is_iscsi_name(id->name));
        assert(strlen(id->isid) == (id->has_isid ? 12 : 0));
    }
}

static void carry_out(struct persistent **state, enum pr_out_action action,
                      const struct pr_out *out, uint8_t type, uint8_t who)
{
    static char listed[PR_TRANSPORT_IDS_MAX][INITIATOR_PORT_MAX + 1];
    struct persistent_request request = {
        .action = action,
        .scope_and_type = type,
        .list = out,
        .port = ports[who % 3],
        .relative_target_port = 1,
        .can_keep = who & 0x80,
        .ports = listed,
    };
    struct persistent_change change;

    for (unsigned i = 0; i < out->transport_id_count; i++) {
        const struct transport_id *id = &out->transport_ids[i];

        memset(listed[i], 0, sizeof listed[i]);
        memcpy(listed[i], id->name.bytes, id->name.len);
        memcpy(listed[i] + id->name.len, id->isid, strlen(id->isid));
        request.port_count++;
    }
    persistent_out(*state, &request, &change);
    assert(change.status == STATUS_GOOD || change.status == STATUS_CHECK_CONDITION ||
           change.status == STATUS_RESERVATION_CONFLICT);
    assert(change.status == STATUS_GOOD || change.next == NULL);
    if (!change.next)
        return;
    for (unsigned i = *state ? (*state)->count : 0; i < PERSISTENT_REGISTRANTS_MAX; i++)
        assert(!change.fates[i].is_told && !change.fates[i].is_preempted);
    free(*state);
    *state = change.next;
    check_state(*state);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct pr_out out;
    struct persistent *state = NULL;
    struct cursor c = cursor_over(data, size);

    while (cursor_left(&c) > 0) {
        uint8_t action = cursor_u8(&c) & 7, type = cursor_u8(&c), who = cursor_u8(&c);
        struct slice list = cursor_slice(&c, cursor_be16(&c));
        uint8_t *exact;
        uint16_t byte;

        if (c.overrun)
            break;
        exact = malloc(list.len + 1); /* so that ASan sees who reads beyond */
        assert(exact);
        memcpy(exact + 1, list.bytes, list.len);
        if (pr_out_parse(&out, (enum pr_out_action)action, exact + 1, list.len, &byte) ==
            SENSE_NONE) {
            check_ids(&out, exact + 1, list.len);
            carry_out(&state, (enum pr_out_action)action, &out, type, who);
        }
        free(exact);
    }
    free(state);
    return 0;
}
