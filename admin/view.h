/*
 * view: how targets, LUNs and sessions look in JSON. Every list and every "show" is made of these,
 * so that a thing has the same members wherever it appears. All make new references; NULL: no
 * memory.
 */
#pragma once

#include "target/iscsi/session_table.h"
#include "target/registry.h"

#include <jansson.h>

json_t *view_strings(const struct model_strings *strings); /* null when it was not said */

/* With the portals, which are the same for all. */
json_t *view_target(const struct model *model, const struct model_target *target);

/* The same with what ESX would see of each LUN that is served ("vaai"). */
json_t *view_target_whole(const struct registry *registry, const struct model_target *target);

json_t *view_lun(const struct registry_lun_view *view);
/* With its identity and its counters. */
json_t *view_lun_whole(const struct registry_lun_view *view);
json_t *view_lun_counters(const struct registry_lun_view *view);

/* Who holds it, how, and who has registered. */
json_t *view_reservation(const struct registry_lun_view *view);

json_t *view_session(const struct session_view *session);

/* The initiator's name in an initiator port's, "NAME,i,0xISID" (SPC-4 7.6.4.6): cut in place. */
char *view_port_name(char *port);
