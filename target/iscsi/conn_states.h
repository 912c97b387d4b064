/*
 * conn_states: the states of a target's connection (RFC 7143 8.1.3) and what may come in each, as a
 * table. A pair that is not listed closes the connection with a logged reason.
 */
#pragma once

#include "proto/pdu.h"

struct conn;
struct pdu_data;

enum conn_state {
    CONN_XPT_UP,    /* S3: connected; the first PDU must be a Login Request */
    CONN_IN_LOGIN,  /* S4 */
    CONN_LOGGED_IN, /* S5: full feature phase */
    CONN_IN_LOGOUT, /* S6: the Logout Response is on its way */
    CONN_STATES,
};

enum conn_event {
    CONN_EVENT_LOGIN,
    CONN_EVENT_SCSI_COMMAND,
    CONN_EVENT_DATA_OUT,
    CONN_EVENT_TASK_MANAGEMENT,
    CONN_EVENT_NOP_OUT,
    CONN_EVENT_TEXT,
    CONN_EVENT_LOGOUT,
    CONN_EVENT_SNACK,
    CONN_EVENT_UNKNOWN, /* an opcode that no initiator sends */
    CONN_EVENTS,
};

/*
 * One whole PDU (conn->pdu, conn->ahs) has come. Calls the row's handler, or closes the connection.
 */
void conn_dispatch(struct conn *conn, struct pdu_data *data);

/* For logs. */
const char *conn_state_name(enum conn_state state);
