#include "target/iscsi/discovery.h"

#include "proto/text.h"
#include "target/iscsi/portal.h"
#include "target/iscsi/refused_table.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

enum { TARGET_TEXT_MAX = 512 }; /* one target: its name, one address, and the keys */

_Static_assert(TARGET_TEXT_MAX > INITIATOR_NAME_MAX + CONN_ADDRESS_TEXT + 40, "one target fits");

static int append(const struct session *session, const char *name, uint16_t portal_group_tag,
                  uint8_t **text, size_t *text_len)
{
    char address[CONN_ADDRESS_TEXT + 8];
    uint8_t *grown = realloc(*text, *text_len + TARGET_TEXT_MAX);

    if (!grown)
        return -ENOMEM;
    *text = grown;
    struct builder out = builder_over(grown + *text_len, TARGET_TEXT_MAX);
    snprintf(address, sizeof address, "%s,%u", session->conn->local_text, portal_group_tag);
    text_put_str(&out, key_table[KEY_TARGET_NAME].name, name);
    text_put_str(&out, key_table[KEY_TARGET_ADDRESS].name, address);
    *text_len += out.len;
    return 0;
}

static const char *refusal(const struct session *session, const struct node *node)
{
    return node_refusal(node->access, session->entry.view.initiator_name,
                        (const struct sockaddr *)&session->conn->peer);
}

/*
 * A host that no target lists is shown none, and so never tries a login that would be refused: it
 * is remembered here. One that sees some targets is kept away from the others on purpose.
 */
static void note_stranger(const struct session *session, const struct node *first)
{
    for (const struct node *node = first; node; node = node->next)
        refused_table_note(session->entry.view.initiator_name, node->name, session->conn->peer_text,
                           refusal(session, node));
}

int discovery_answer(const struct session *session, struct slice which, uint8_t **text,
                     size_t *text_len, struct builder *refusals)
{
    struct node_table *nodes = portals_settings(session->conn->portals)->nodes;
    bool is_all = slice_is(which, "All");
    char name[INITIATOR_NAME_MAX + 1];
    size_t before = *text_len;
    int error = 0;

    if (session->is_discovery ? which.len == 0 : is_all) {
        text_put_str(refusals, key_table[KEY_SEND_TARGETS].name, "Reject");
        return 0;
    }
    if (which.len > INITIATOR_NAME_MAX)
        return 0;
    memcpy(name, which.bytes, which.len);
    name[which.len] = '\0';
    if (!session->is_discovery) { /* a normal session may ask for its own target only */
        if (which.len && strcasecmp(name, session->node->name) != 0)
            return 0;
        return append(session, session->node->name, session->node->portal_group_tag, text,
                      text_len);
    }
    pthread_mutex_lock(&nodes->mutex);
    for (const struct node *node = nodes->first; node && !error; node = node->next)
        if ((is_all || strcasecmp(name, node->name) == 0) && !refusal(session, node))
            error = append(session, node->name, node->portal_group_tag, text, text_len);
    if (is_all && !error && *text_len == before)
        note_stranger(session, nodes->first);
    pthread_mutex_unlock(&nodes->mutex);
    return error;
}
