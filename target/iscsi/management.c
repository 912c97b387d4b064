#include "target/iscsi/management.h"

#include "target/iscsi/portal.h"
#include "target/iscsi/task.h"
#include "target/scsi/task_management.h"
#include "target/worker/log.h"

#include <stdlib.h>

struct management {
    struct session *session;
    uint32_t tag;
    struct task_management scsi; /* for what reaches beyond one task */
};

static const char *function_name(enum tmf_function function)
{
    switch (function) {
    case TMF_ABORT_TASK: return "ABORT TASK";
    case TMF_ABORT_TASK_SET: return "ABORT TASK SET";
    case TMF_CLEAR_ACA: return "CLEAR ACA";
    case TMF_CLEAR_TASK_SET: return "CLEAR TASK SET";
    case TMF_LOGICAL_UNIT_RESET: return "LOGICAL UNIT RESET";
    case TMF_TARGET_WARM_RESET: return "TARGET WARM RESET";
    case TMF_TARGET_COLD_RESET: return "TARGET COLD RESET";
    case TMF_TASK_REASSIGN: return "TASK REASSIGN";
    }
    return "unknown function";
}

static void respond(struct session *session, uint32_t tag, enum tmf_response response)
{
    struct conn *conn = session->conn;

    if (!conn)
        return;
    struct session_numbers numbers = session_numbers(session);
    struct pdu pdu = { .opcode = PDU_TASK_MANAGEMENT_RESPONSE, .initiator_task_tag = tag };
    pdu.task_management_response.response = (uint8_t)response;
    pdu.task_management_response.stat_sn = conn->stat_sn++;
    pdu.task_management_response.exp_cmd_sn = numbers.exp_cmd_sn;
    pdu.task_management_response.max_cmd_sn = numbers.max_cmd_sn;
    conn_send(conn, &pdu, NULL, 0);
}

static void finish(struct management *management, enum tmf_response response)
{
    struct session *session = management->session;

    respond(session, management->tag, response);
    free(management);
    session_remove_management(session);
}

void management_task_gone(struct management *management)
{
    finish(management, TMF_RESPONSE_COMPLETE);
}

static void cold_reset_drained(void *context)
{
    node_put(context);
}

/* RFC 7143 11.5.1: a cold reset ends every session with the target, this one included. */
static void drop_sessions(struct session *session)
{
    struct workers *workers = session->worker->group;

    atomic_fetch_add(&session->node->refs, 1);
    if (session->conn)
        conn_close_when_sent(session->conn, "target cold reset");
    if (portals_drain_node(workers, &session->worker->mailbox, session->node, "target cold reset",
                           cold_reset_drained, session->node) != 0)
        node_put(session->node);
}

static void scsi_done(struct task_management *tm)
{
    struct management *management =
        (struct management *)((char *)tm - offsetof(struct management, scsi));
    struct session *session = management->session;
    bool is_cold = tm->function == TMF_TARGET_COLD_RESET && tm->response == TMF_RESPONSE_COMPLETE;

    if (is_cold) {
        respond(session, management->tag, TMF_RESPONSE_COMPLETE);
        drop_sessions(session);
        free(management);
        session_remove_management(session);
        return;
    }
    finish(management, tm->response);
}

static void abort_task(struct management *management,
                       const struct pdu_task_management_request *request)
{
    struct session *session = management->session;
    struct task *task = session_find_task(session, request->referenced_task_tag);

    if (!task)
        session_cancel_in_order(session, request->referenced_task_tag, request->ref_cmd_sn);

    /* unknown, ended already, or another ABORT TASK waits for it: it will not touch the medium
     * again, or that one's answer says so */
    if (!task || task->management) {
        finish(management, TMF_RESPONSE_COMPLETE);
        return;
    }
    task->management = management;
    task_abort(task);
}

void management_start(struct session *session, const struct pdu *pdu, struct slice ahs,
                      struct pdu_data *data)
{
    const struct pdu_task_management_request *request = &pdu->task_management_request;
    struct management *management;

    (void)ahs;
    (void)data;
    if (session->is_discovery) {
        conn_reject(session->conn, REJECT_PROTOCOL_ERROR);
        return;
    }
    log_info("%s initiator=%s target=%s lun=%u", function_name(request->function),
             session->entry.view.initiator_name, session->entry.view.target_name,
             (unsigned)(pdu->lun >> 48 & 0x3fff));
    management = calloc(1, sizeof *management);
    if (!management) {
        respond(session, pdu->initiator_task_tag, TMF_RESPONSE_REJECTED);
        return;
    }
    management->session = session;
    management->tag = pdu->initiator_task_tag;
    session->management_count++;
    switch (request->function) {
    case TMF_ABORT_TASK: abort_task(management, request); return;
    case TMF_TASK_REASSIGN: finish(management, TMF_RESPONSE_REASSIGN_NOT_SUPPORTED); return;
    default:
        /* commands that came before it and wait for their turn belong to the task set as well */
        session_cancel_held(session, request->cmd_sn,
                            request->function == TMF_TARGET_WARM_RESET ||
                                request->function == TMF_TARGET_COLD_RESET,
                            pdu->lun);
        management->scsi.function = request->function;
        management->scsi.nexus = &session->nexus;
        management->scsi.lun = pdu->lun;
        management->scsi.done = scsi_done;
        task_management_start(&management->scsi);
    }
}
