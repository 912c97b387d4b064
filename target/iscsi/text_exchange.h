/*
 * text_exchange: text negotiation in full feature phase, RFC 7143 6.2 and 11.10 f: SendTargets, and
 * the few keys that may still be said. A text, theirs or ours, may take several PDUs.
 */
#pragma once

#include "target/iscsi/session.h"

/* One Text Request whose turn has come. */
void text_exchange_take(struct session *session, const struct pdu *pdu, struct slice ahs,
                        struct pdu_data *data);

/* Forgets what is under way. */
void text_exchange_drop(struct session *session);
