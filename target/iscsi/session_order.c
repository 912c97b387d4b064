/* CmdSN: commands run in the order in which the initiator numbered them, RFC 7143 4.2.2.1. */
#include "target/iscsi/session.h"

#include <stdlib.h>

/* A PDU that came before its turn. With one connection that takes a misbehaving initiator. */
struct held_pdu {
    struct held_pdu *next;
    session_run *run;
    uint32_t cmd_sn;
    struct pdu pdu;
    uint8_t bhs[BHS_BYTES];
    uint32_t ahs_len, data_len;
    bool is_digest_wrong;
    uint8_t bytes[]; /* the AHS, then the data */
};

/* The CmdSN of those PDUs that have one. */
static uint32_t pdu_cmd_sn(const struct pdu *pdu)
{
    switch (pdu->opcode) {
    case PDU_SCSI_COMMAND: return pdu->scsi_command.cmd_sn;
    case PDU_TASK_MANAGEMENT_REQUEST: return pdu->task_management_request.cmd_sn;
    case PDU_TEXT_REQUEST: return pdu->text_request.cmd_sn;
    case PDU_LOGOUT_REQUEST: return pdu->logout_request.cmd_sn;
    default: return pdu->nop_out.cmd_sn;
    }
}

/* Keeps a copy, behind everything with the same or a smaller number. */
static void hold(struct session *session, struct pdu_data *data, session_run *run, uint32_t cmd_sn)
{
    struct conn *conn = session->conn;
    struct held_pdu *held = malloc(sizeof *held + conn->ahs.len + data->len);

    if (!held || session->held_count >= SESSION_WINDOW) {
        free(held);
        conn_close(conn, "too much came out of order");
        return;
    }
    held->run = run;
    held->cmd_sn = cmd_sn;
    held->pdu = conn->pdu;
    memcpy(held->bhs, conn->bhs, BHS_BYTES);
    held->ahs_len = (uint32_t)conn->ahs.len;
    held->data_len = data->len;
    held->is_digest_wrong = data->is_digest_wrong;
    if (conn->ahs.len)
        memcpy(held->bytes, conn->ahs.bytes, conn->ahs.len);
    if (data->len)
        memcpy(held->bytes + held->ahs_len, data->bytes, data->len);
    struct held_pdu **at = &session->held;
    while (*at && !serial_before(cmd_sn, (*at)->cmd_sn))
        at = &(*at)->next;
    held->next = *at;
    *at = held;
    session->held_count++;
}

static bool is_held(const struct session *session, uint32_t cmd_sn)
{
    for (const struct held_pdu *held = session->held; held; held = held->next)
        if (held->cmd_sn == cmd_sn)
            return true;
    return false;
}

/* Runs what waited for the number that has just been used. */
static void release(struct session *session)
{
    while (session->held && session->conn && !session->conn->is_closing) {
        struct held_pdu *held = session->held;
        bool is_command = held->pdu.opcode != PDU_DATA_OUT;
        if (is_command && held->cmd_sn != session->exp_cmd_sn)
            return;
        session->held = held->next;
        session->held_count--;
        if (is_command)
            session->exp_cmd_sn++;
        memcpy(session->conn->bhs, held->bhs, BHS_BYTES); /* should it be rejected */
        struct pdu_data data = { .bytes = held->bytes + held->ahs_len,
                                 .len = held->data_len,
                                 .is_digest_wrong = held->is_digest_wrong };
        session->is_in_turn = is_command;
        held->run(session, &held->pdu, slice_of(held->bytes, held->ahs_len), &data);
        session->is_in_turn = false;
        free(held);
    }
}

void session_in_order(struct session *session, struct pdu_data *data, session_run *run)
{
    struct conn *conn = session->conn;

    if (data->is_digest_wrong) {
        /* RFC 7143 7.8: discarded, as if it had never come: its CmdSN is not used up */
        conn_reject(conn, REJECT_DATA_DIGEST_ERROR);
        return;
    }
    if (conn->pdu.immediate) {
        run(session, &conn->pdu, conn->ahs, data);
        return;
    }
    uint32_t cmd_sn = pdu_cmd_sn(&conn->pdu);
    if (cmd_sn == session->exp_cmd_sn) {
        session->exp_cmd_sn++;
        session->is_in_turn = true;
        run(session, &conn->pdu, conn->ahs, data);
        session->is_in_turn = false;
        if (session->held)
            release(session);
        return;
    }
    /* outside the window, or seen already: ignored silently, not answered */
    if (serial_before(cmd_sn, session->exp_cmd_sn) ||
        serial_before(session_numbers(session).max_cmd_sn, cmd_sn) || is_held(session, cmd_sn))
        return;
    hold(session, data, run, cmd_sn);
}

bool session_hold_with_command(struct session *session, struct pdu_data *data, session_run *run)
{
    uint32_t tag = session->conn->pdu.initiator_task_tag;

    for (struct held_pdu *held = session->held; held; held = held->next)
        if (held->pdu.opcode == PDU_SCSI_COMMAND && held->pdu.initiator_task_tag == tag) {
            hold(session, data, run, held->cmd_sn);
            return true;
        }
    return false;
}

static void run_nothing(struct session *session, const struct pdu *pdu, struct slice ahs,
                        struct pdu_data *data)
{
    (void)session;
    (void)pdu;
    (void)ahs;
    (void)data;
}

void session_cancel_in_order(struct session *session, uint32_t referenced_tag, uint32_t ref_cmd_sn)
{
    struct pdu_data nothing = { 0 };
    bool is_found = false;

    for (struct held_pdu *held = session->held; held; held = held->next)
        if ((held->pdu.opcode == PDU_SCSI_COMMAND || held->pdu.opcode == PDU_DATA_OUT) &&
            held->pdu.initiator_task_tag == referenced_tag) {
            held->run = run_nothing;
            is_found = true;
        }
    if (is_found || serial_before(ref_cmd_sn, session->exp_cmd_sn) ||
        serial_before(session_numbers(session).max_cmd_sn, ref_cmd_sn) ||
        is_held(session, ref_cmd_sn))
        return;
    if (ref_cmd_sn == session->exp_cmd_sn)
        session->exp_cmd_sn++;
    else
        hold(session, &nothing, run_nothing, ref_cmd_sn);
    release(session);
}

void session_cancel_held(struct session *session, uint32_t cmd_sn, bool is_every_lun, uint64_t lun)
{
    for (struct held_pdu *held = session->held; held; held = held->next)
        if ((held->pdu.opcode == PDU_SCSI_COMMAND || held->pdu.opcode == PDU_DATA_OUT) &&
            serial_before(held->cmd_sn, cmd_sn) && (is_every_lun || held->pdu.lun == lun))
            held->run = run_nothing;
}

void session_drop_held(struct session *session)
{
    while (session->held) {
        struct held_pdu *held = session->held;
        session->held = held->next;
        free(held);
    }
    session->held_count = 0;
}
