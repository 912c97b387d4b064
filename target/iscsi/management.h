/*
 * management: one Task Management Function Request, from its arrival to its answer. RFC
 * 7143 11.5, 11.6.
 *
 * The answer leaves when the affected tasks can no longer touch the medium. A task that has ended
 * already is answered "function complete": ESX closes the connection over "task does not exist".
 */
#pragma once

#include "target/iscsi/session.h"

struct management;

void management_start(struct session *session, const struct pdu *pdu, struct slice ahs,
                      struct pdu_data *data);

/* The task that an ABORT TASK waits for is gone. */
void management_task_gone(struct management *management);
