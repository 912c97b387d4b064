#include "target/iscsi/session.h"

#include "target/iscsi/management.h"
#include "target/iscsi/portal.h"
#include "target/iscsi/task.h"
#include "target/iscsi/text_exchange.h"
#include "target/worker/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

int session_start(struct session *session, struct conn *conn)
{
    struct session_view *view = &session->entry.view;
    char port[INITIATOR_PORT_MAX + 1];

    TAILQ_INIT(&session->tasks);
    TAILQ_INIT(&session->waiting_for_room);
    TAILQ_INIT(&session->waiting_for_memory);
    ev_init(&session->memory_retry, NULL);
    if (!session->is_discovery) {
        snprintf(port, sizeof port, "%s,i,0x%02x%02x%02x%02x%02x%02x", view->initiator_name,
                 view->isid[0], view->isid[1], view->isid[2], view->isid[3], view->isid[4],
                 view->isid[5]);
        int error = nexus_open(&session->nexus, session->worker, &session->node->scsi,
                               view->initiator_name, port, session->node->portal_group_tag);
        if (error)
            return error;
    }
    session->conn = conn;
    LIST_INSERT_HEAD(&iscsi_of(session->worker)->session_list, session, link);
    return 0;
}

static void session_free(struct session *session)
{
    struct worker *worker = session->worker;

    if (!session->is_discovery)
        nexus_close(&session->nexus);
    text_exchange_drop(session);
    node_access_put(session->access);
    node_put(session->node);
    LIST_REMOVE(session, link);
    session_table_remove(&session->entry);
    free(session);
    portals_session_gone(worker);
}

/* An ending session goes with the last thing that it waits for. */
static void free_if_over(struct session *session)
{
    if (session->is_ending && session->task_count == 0 && session->management_count == 0)
        session_free(session);
}

static struct task *newest_not_aborted(struct session *session)
{
    struct task *task;

    TAILQ_FOREACH_REVERSE(task, &session->tasks, task_list, link)
    if (!task->is_aborted)
        return task;
    return NULL;
}

void session_end(struct session *session)
{
    struct task *task;

    session_drop_held(session);
    ev_timer_stop(session->worker->loop, &session->memory_retry);
    /* the newest first: an older one's end must not start one that waits behind it */
    while ((task = newest_not_aborted(session)))
        task_abort(task);
    session->is_ending = true;
    free_if_over(session);
}

void session_drop_by_id(struct worker *worker, uint64_t id, const char *reason)
{
    struct session *session;

    if (!worker->iscsi)
        return;
    LIST_FOREACH (session, &iscsi_of(worker)->session_list, link)
        if (session->entry.view.id == id) {
            if (session->conn)
                conn_close(session->conn, reason);
            return;
        }
}

/* ---- tasks ---- */

static struct task **bucket_of(struct session *session, uint32_t tag)
{
    /* initiators count their tags up, or use small indexes; some put them in the upper half */
    return &session->buckets[(tag ^ tag >> 16) % SESSION_TAG_BUCKETS];
}

void session_count_task(struct session *session, struct task *task)
{
    session->task_count++;
    if (task->is_immediate)
        session->immediate_in_flight++;
    else
        session->in_flight++;
}

void session_list_task(struct session *session, struct task *task)
{
    struct task **bucket = bucket_of(session, task->tag);

    if (task->is_listed)
        return;
    task->is_listed = true;
    task->hash_next = *bucket;
    *bucket = task;
    TAILQ_INSERT_TAIL(&session->tasks, task, link);
}

struct task *session_find_task(struct session *session, uint32_t initiator_task_tag)
{
    struct task *task = *bucket_of(session, initiator_task_tag);

    while (task && task->tag != initiator_task_tag)
        task = task->hash_next;
    return task;
}

static void unlist_task(struct session *session, struct task *task)
{
    struct task **at = bucket_of(session, task->tag);

    while (*at != task)
        at = &(*at)->hash_next;
    *at = task->hash_next;
    TAILQ_REMOVE(&session->tasks, task, link);
}

void session_remove_task(struct session *session, struct task *task)
{
    if (task->is_listed)
        unlist_task(session, task);
    session->task_count--;
    free_if_over(session);
}

void session_remove_management(struct session *session)
{
    session->management_count--;
    free_if_over(session);
}

void session_room(struct session *session)
{
    struct task *task;

    while (session->conn && !session->conn->is_closing && !conn_is_blocked(session->conn) &&
           (task = TAILQ_FIRST(&session->waiting_for_room)) &&
           session->conn->send.queued_bytes < SEND_HIGH_WATER) {
        TAILQ_REMOVE(&session->waiting_for_room, task, waiting_link);
        task_room(task);
    }
}

/* ---- the state table's handlers ---- */

void session_scsi_command(struct conn *conn, struct pdu_data *data)
{
    /* this one, those that are not answered, and those whose answer it had not seen when it sent
     * this (RFC 7143 4.2.2.2) */
    conn_note_depth(
        conn, 1 + conn->session->in_flight + conn->stat_sn - conn->pdu.scsi_command.exp_stat_sn);
    session_in_order(conn->session, data, task_start);
}

void session_data_out(struct conn *conn, struct pdu_data *data)
{
    struct session *session = conn->session;

    if (session->is_discovery) {
        conn_reject(conn, REJECT_PROTOCOL_ERROR);
        return;
    }
    if (session->held && session_hold_with_command(session, data, task_data_out))
        return;
    task_data_out(session, &conn->pdu, conn->ahs, data);
}

void session_task_management(struct conn *conn, struct pdu_data *data)
{
    session_in_order(conn->session, data, management_start);
}

static void nop_out(struct session *session, const struct pdu *pdu, struct slice ahs,
                    struct pdu_data *data)
{
    struct conn *conn = session->conn;
    uint32_t len = data->len;

    (void)ahs;
    if (pdu->initiator_task_tag == TAG_RESERVED)
        return; /* the answer to a ping of ours, or a sign of life: not answered */
    if (len > session->parameters.max_send_segment_bytes)
        len =
            session->parameters.max_send_segment_bytes; /* RFC 7143 11.19.4: cut to what it takes */
    struct session_numbers numbers = session_numbers(session);
    struct pdu answer = { .opcode = PDU_NOP_IN,
                          .initiator_task_tag = pdu->initiator_task_tag,
                          .lun = pdu->lun };
    answer.nop_in.target_transfer_tag = TAG_RESERVED;
    answer.nop_in.stat_sn = conn->stat_sn++;
    answer.nop_in.exp_cmd_sn = numbers.exp_cmd_sn;
    answer.nop_in.max_cmd_sn = numbers.max_cmd_sn;
    conn_send(conn, &answer, data->bytes, len);
}

void session_nop_out(struct conn *conn, struct pdu_data *data)
{
    session_in_order(conn->session, data, nop_out);
}

void session_ping(struct session *session)
{
    struct conn *conn = session->conn;
    struct session_numbers numbers = session_numbers(session);
    struct pdu ping = { .opcode = PDU_NOP_IN, .initiator_task_tag = TAG_RESERVED };

    ping.nop_in.target_transfer_tag = session_next_transfer_tag(session);
    ping.nop_in.stat_sn = conn->stat_sn; /* not used up, RFC 7143 11.19.2 */
    ping.nop_in.exp_cmd_sn = numbers.exp_cmd_sn;
    ping.nop_in.max_cmd_sn = numbers.max_cmd_sn;
    conn_send(conn, &ping, NULL, 0);
}

void session_text(struct conn *conn, struct pdu_data *data)
{
    session_in_order(conn->session, data, text_exchange_take);
}

static void logout(struct session *session, const struct pdu *pdu, struct slice ahs,
                   struct pdu_data *data)
{
    struct conn *conn = session->conn;
    const struct pdu_logout_request *request = &pdu->logout_request;
    struct session_numbers numbers = session_numbers(session);
    struct pdu answer = { .opcode = PDU_LOGOUT_RESPONSE,
                          .initiator_task_tag = pdu->initiator_task_tag };
    struct pdu_logout_response *response = &answer.logout_response;

    (void)ahs;
    (void)data;
    response->response = LOGOUT_CLOSED;
    if (request->reason == LOGOUT_REMOVE_FOR_RECOVERY)
        response->response = LOGOUT_RECOVERY_NOT_SUPPORTED; /* ErrorRecoveryLevel is 0 */
    else if (request->reason == LOGOUT_CLOSE_CONNECTION && request->cid != session->entry.cid)
        response->response = LOGOUT_CID_NOT_FOUND;
    else if (request->reason > LOGOUT_REMOVE_FOR_RECOVERY) {
        conn_reject(conn, REJECT_INVALID_PDU_FIELD);
        return;
    }
    response->time2wait = session->parameters.time2wait;
    response->time2retain = session->parameters.time2retain;
    response->stat_sn = conn->stat_sn++;
    response->exp_cmd_sn = numbers.exp_cmd_sn;
    response->max_cmd_sn = numbers.max_cmd_sn;
    conn_send(conn, &answer, NULL, 0);
    if (response->response == LOGOUT_CLOSED) {
        conn->state = CONN_IN_LOGOUT; /* T9, and T13 when that has been sent */
        conn_close_when_sent(conn, "logout");
    }
}

void session_logout(struct conn *conn, struct pdu_data *data)
{
    session_in_order(conn->session, data, logout);
}
