/*
 * discovery: the answer to SendTargets, RFC 7143 4.3 and C.
 *
 * Tells only targets that this initiator, from this address, may log in to, and for each only the
 * address that it reached us at: ESX adds every address that it is told as a static target, and
 * each one that it cannot reach costs it login time-outs.
 */
#pragma once

#include "target/iscsi/session.h"

/*
 * Appends the answer to SendTargets=`which` to a text that grows by realloc: "All" (discovery
 * sessions only), a target's name, or nothing (the session's own target). An unknown name is
 * answered with nothing; what may not be asked in this session with Reject, in `refusals`.
 * 0 or -ENOMEM.
 */
int discovery_answer(const struct session *session, struct slice which, uint8_t **text,
                     size_t *text_len, struct builder *refusals);
