#include "target/iscsi/conn_states.h"

#include "target/iscsi/conn.h"
#include "target/iscsi/login.h"
#include "target/iscsi/session.h"
#include "target/worker/log.h"

/* Common to both phases of login: RFC 7143 6.3, "any other PDU terminates the connection". */
static void not_in_login(struct conn *conn, struct pdu_data *data)
{
    (void)data;
    login_refuse(conn, LOGIN_INVALID_DURING_LOGIN,
                 "a PDU other than a Login Request came during login");
}

static void login_first(struct conn *conn, struct pdu_data *data)
{
    conn->state = CONN_IN_LOGIN; /* T4 */
    login_request(conn, data);
}

static void login_again(struct conn *conn, struct pdu_data *data)
{
    (void)data;
    conn_reject(conn, REJECT_PROTOCOL_ERROR);
}

static void no_snack(struct conn *conn, struct pdu_data *data)
{
    (void)data;
    conn_reject(conn, REJECT_SNACK); /* ErrorRecoveryLevel 0 has none, RFC 7143 11.16 */
}

static void not_known(struct conn *conn, struct pdu_data *data)
{
    (void)data;
    conn_reject(conn, REJECT_COMMAND_NOT_SUPPORTED);
}

/* After a logout nothing is answered any more; what was on its way is read and dropped. */
static void too_late(struct conn *conn, struct pdu_data *data)
{
    (void)conn;
    (void)data;
}

typedef void conn_handler(struct conn *conn, struct pdu_data *data);

static conn_handler *const table[CONN_STATES][CONN_EVENTS] = {
    /* S3: only a Login Request moves it on (T4); anything else is not worth an answer */
    [CONN_XPT_UP][CONN_EVENT_LOGIN] = login_first,

    /* S4: login_request() moves it to S5 (T5) or closes (T7) */
    [CONN_IN_LOGIN][CONN_EVENT_LOGIN] = login_request,
    [CONN_IN_LOGIN][CONN_EVENT_SCSI_COMMAND] = not_in_login,
    [CONN_IN_LOGIN][CONN_EVENT_DATA_OUT] = not_in_login,
    [CONN_IN_LOGIN][CONN_EVENT_TASK_MANAGEMENT] = not_in_login,
    [CONN_IN_LOGIN][CONN_EVENT_NOP_OUT] = not_in_login,
    [CONN_IN_LOGIN][CONN_EVENT_TEXT] = not_in_login,
    [CONN_IN_LOGIN][CONN_EVENT_LOGOUT] = not_in_login,

    /* S5: full feature phase; session_logout() moves it to S6 (T9) */
    [CONN_LOGGED_IN][CONN_EVENT_LOGIN] = login_again,
    [CONN_LOGGED_IN][CONN_EVENT_SCSI_COMMAND] = session_scsi_command,
    [CONN_LOGGED_IN][CONN_EVENT_DATA_OUT] = session_data_out,
    [CONN_LOGGED_IN][CONN_EVENT_TASK_MANAGEMENT] = session_task_management,
    [CONN_LOGGED_IN][CONN_EVENT_NOP_OUT] = session_nop_out,
    [CONN_LOGGED_IN][CONN_EVENT_TEXT] = session_text,
    [CONN_LOGGED_IN][CONN_EVENT_LOGOUT] = session_logout,
    [CONN_LOGGED_IN][CONN_EVENT_SNACK] = no_snack,
    [CONN_LOGGED_IN][CONN_EVENT_UNKNOWN] = not_known,

    /* S6: the connection closes when the Logout Response has been sent (T13) */
    [CONN_IN_LOGOUT][CONN_EVENT_SCSI_COMMAND] = too_late,
    [CONN_IN_LOGOUT][CONN_EVENT_DATA_OUT] = too_late,
    [CONN_IN_LOGOUT][CONN_EVENT_TASK_MANAGEMENT] = too_late,
    [CONN_IN_LOGOUT][CONN_EVENT_NOP_OUT] = too_late,
    [CONN_IN_LOGOUT][CONN_EVENT_TEXT] = too_late,
    [CONN_IN_LOGOUT][CONN_EVENT_LOGOUT] = too_late,
};

static enum conn_event event_of(enum pdu_opcode opcode)
{
    switch (opcode) {
    case PDU_SCSI_COMMAND: return CONN_EVENT_SCSI_COMMAND;
    case PDU_DATA_OUT: return CONN_EVENT_DATA_OUT;
    case PDU_NOP_OUT: return CONN_EVENT_NOP_OUT;
    case PDU_LOGIN_REQUEST: return CONN_EVENT_LOGIN;
    case PDU_TASK_MANAGEMENT_REQUEST: return CONN_EVENT_TASK_MANAGEMENT;
    case PDU_TEXT_REQUEST: return CONN_EVENT_TEXT;
    case PDU_LOGOUT_REQUEST: return CONN_EVENT_LOGOUT;
    case PDU_SNACK_REQUEST: return CONN_EVENT_SNACK;
    default: return CONN_EVENT_UNKNOWN;
    }
}

const char *conn_state_name(enum conn_state state)
{
    static const char *const names[CONN_STATES] = {
        [CONN_XPT_UP] = "XPT_UP",
        [CONN_IN_LOGIN] = "IN_LOGIN",
        [CONN_LOGGED_IN] = "LOGGED_IN",
        [CONN_IN_LOGOUT] = "IN_LOGOUT",
    };
    return names[state];
}

void conn_dispatch(struct conn *conn, struct pdu_data *data)
{
    conn_handler *handler = table[conn->state][event_of(conn->pdu.opcode)];

    if (handler) {
        handler(conn, data);
        return;
    }
    log_peer("closing the connection from %s: a %s PDU cannot come in state %s", conn->peer_text,
             pdu_name(conn->pdu.opcode), conn_state_name(conn->state));
    conn_close(conn, "a PDU came that cannot come now");
}
