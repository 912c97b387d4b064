/* accept: an initiator that a target may not refuse any more. */
#include "target/change.h"
#include "conf/keys.h"
#include "proto/text.h"
#include "target/iscsi/refused_table.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The pattern that lets it in; NULL: none. */
static const char *admitting_pattern(const struct model_strings *patterns, const char *initiator)
{
    for (unsigned i = 0; i < patterns->count; i++)
        if (initiator_matches(patterns->items[i], initiator))
            return patterns->items[i];
    return NULL;
}

static void refuse_persons_list(struct change *change, const struct model_target *target,
                                const char *initiator)
{
    const struct model_place *place = key_place(conf_key_find(KEY_TARGET, "initiators"), target);

    if (!place->file)
        place = &target->place;
    change_end(
        change, -EPERM,
        "the initiators of %s are defined at %s:%u; add \"%s\" to them there, then nestorctl "
        "config reload",
        target->name, place->file ? place->file : "the config file", place->line, initiator);
}

/* The list has the name: checks it, keeps it, and lets it hold for logins. */
static int accept_initiator(struct registry *registry, struct served *served,
                            char error[SERVED_ERROR_MAX])
{
    int result = change_check(registry, error, SERVED_ERROR_MAX);

    if (result < 0)
        return result;
    struct node_access *access =
        access_make(model_find_target(registry->model, served->node->name));
    if (!access) {
        snprintf(error, SERVED_ERROR_MAX, "no memory");
        return -ENOMEM;
    }
    result = conf_write_managed(registry->model, error, SERVED_ERROR_MAX);
    if (result < 0)
        node_access_put(access);
    else
        node_set_access(&registry->nodes, served->node, access);
    return result;
}

void registry_initiator_accept(struct registry *registry, const char *target_name,
                               const char *initiator, registry_done *done, void *context)
{
    struct change *change = change_begin(registry, done, context);
    char error[SERVED_ERROR_MAX];
    struct model_target *target;
    const char *pattern;

    if (!change || !(target = change_target(change, target_name)))
        return;
    if (!text_is_iscsi_name(slice_of((const uint8_t *)initiator, strlen(initiator))))
        return change_end(change, -EINVAL,
                          "\"%.240s\" is not an iSCSI name; nestorctl initiator list shows who was "
                          "refused",
                          initiator);
    if (!target->initiators.is_set)
        return change_end(change, 0, "%s admits every initiator; there is nothing to add to",
                          target->name);
    if ((pattern = admitting_pattern(&target->initiators, initiator)))
        return change_end(change, 0, "%s admits %s already, by \"%s\"", target->name, initiator,
                          pattern);
    if (target->origin == ORIGIN_PERSON)
        return refuse_persons_list(change, target, initiator);
    if (model_strings_add(&target->initiators, initiator) < 0)
        return change_end(change, -ENOMEM, "no memory");
    struct served *served = served_find(&registry->targets, target->name);
    int result = accept_initiator(registry, served, error);
    if (result < 0) {
        struct model_strings *list =
            &model_find_target(registry->model, served->node->name)->initiators;
        free(list->items[--list->count]);
        return change_end(change, result, "%s", error);
    }
    refused_table_forget(initiator, served->node->name);
    change_end(change, 0, "%s may log in to %s from now on", initiator, served->node->name);
}
