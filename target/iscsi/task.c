#include "target/iscsi/task.h"

#include "target/iscsi/management.h"
#include "target/worker/log.h"

#include <stdlib.h>

static void task_finished(struct command *command);

static const struct command_transport transport = {
    .in_reserve = task_in_reserve,
    .in_commit = task_in_commit,
    .in_buffer = task_in_buffer,
    .in_takes_direct = task_in_takes_direct,
    .in_direct = task_in_direct,
    .in_direct_rest = task_in_direct_rest,
    .in_has_room = task_in_has_room,
    .out_want = task_out_want,
    .out_keep = task_out_keep,
    .out_done = task_out_done,
    .finished = task_finished,
};

static struct task *task_get(struct session *session)
{
    struct iscsi_worker *iscsi = iscsi_of(session->worker);
    struct task *task = iscsi->free_tasks;

    if (task)
        iscsi->free_tasks = task->next_spare;
    else if (!(task = malloc(sizeof *task)))
        return NULL;
    memset(task, 0, offsetof(struct task, command.cdb));
    TAILQ_INIT(&task->pieces);
    task->session = session;
    return task;
}

void task_free_spares(struct iscsi_worker *iscsi)
{
    while (iscsi->free_tasks) {
        struct task *task = iscsi->free_tasks;
        iscsi->free_tasks = task->next_spare;
        free(task);
    }
    while (iscsi->free_pieces) {
        struct out_piece *piece = iscsi->free_pieces;
        iscsi->free_pieces = piece->next;
        free(piece);
    }
}

static void stop_waiting(struct task *task)
{
    struct session *session = task->session;

    if (task->is_waiting_for_room)
        TAILQ_REMOVE(&session->waiting_for_room, task, waiting_link);
    if (task->is_waiting_for_memory)
        TAILQ_REMOVE(&session->waiting_for_memory, task, waiting_link);
    task->is_waiting_for_room = task->is_waiting_for_memory = false;
}

static void task_free(struct task *task)
{
    struct session *session = task->session;
    struct iscsi_worker *iscsi = iscsi_of(session->worker);
    struct management *management = task->management;

    stop_waiting(task);
    if (!TAILQ_EMPTY(&task->pieces))
        task_out_drop(task);
    task_leave_window(task);
    task->next_spare = iscsi->free_tasks;
    iscsi->free_tasks = task;
    /* an ending session may go with its last task, and the worker's memory of this room with it */
    session_remove_task(session, task);
    if (management)
        management_task_gone(management);
}

struct residual task_residual(const struct task *task)
{
    uint64_t expected = task->expected_bytes, wanted = task->command.transfer_bytes;
    uint32_t moved = task->has_read ? task->in_bytes : task->out_wanted_bytes;

    if (task->command.status == STATUS_GOOD && !task->is_failed && wanted > expected) {
        uint64_t over = wanted - expected;
        return (struct residual){ RESIDUAL_OVERFLOW,
                                  over > UINT32_MAX ? UINT32_MAX : (uint32_t)over };
    }
    if (moved < expected)
        return (struct residual){ RESIDUAL_UNDERFLOW, (uint32_t)(expected - moved) };
    return (struct residual){ RESIDUAL_NONE, 0 };
}

void task_leave_window(struct task *task)
{
    if (task->has_left_window)
        return;
    task->has_left_window = true;
    if (task->is_immediate)
        task->session->immediate_in_flight--;
    else
        task->session->in_flight--;
}

/* The SCSI Response, with autosense behind its two-byte length (RFC 7143 11.4.7). */
static void answer(struct task *task)
{
    struct session *session = task->session;
    struct conn *conn = session->conn;
    const struct command *command = &task->command;
    struct pdu pdu = { .opcode = PDU_SCSI_RESPONSE, .initiator_task_tag = task->tag };
    struct pdu_scsi_response *response = &pdu.scsi_response;
    uint8_t data[2 + SENSE_BYTES_MAX], sense_len = command->sense_len;

    response->status = (uint8_t)command->status;
    if (task->is_failed) {
        response->status =
            task->failure == SENSE_NONE ? STATUS_TASK_SET_FULL : STATUS_CHECK_CONDITION;
        sense_len =
            task->failure == SENSE_NONE ? 0 : sense_build(data + 2, task->failure, NULL, false);
    } else if (sense_len) {
        memcpy(data + 2, command->sense, sense_len);
    }
    response->residual = task_residual(task);
    response->exp_data_sn = task->has_read ? task->data_sn : task->r2t_sn;
    response->stat_sn = conn->stat_sn++;
    struct session_numbers numbers = session_numbers(session);
    response->exp_cmd_sn = numbers.exp_cmd_sn;
    response->max_cmd_sn = numbers.max_cmd_sn;
    put_be16(data, sense_len);
    conn_send(conn, &pdu, data, sense_len ? 2U + sense_len : 0);
}

void task_settle(struct task *task)
{
    struct conn *conn = task->session->conn;

    if (task->is_busy)
        return;
    if (!task->is_finished) {
        session_list_task(task->session, task);
        return;
    }
    if (!conn || task->is_aborted) {
        task->session->has_aborted_receiving |= task_is_receiving(task);
        task_free(task);
        return;
    }
    /* RFC 7143 11.4.2: the answer waits for the data that was promised or asked for */
    if (!TAILQ_EMPTY(&task->pieces))
        task_out_drop(task);
    if (task_is_receiving(task)) {
        session_list_task(task->session, task);
        return;
    }
    if (!task->has_answered) {
        task_leave_window(task);
        answer(task);
    }
    task_free(task);
}

static void task_finished(struct command *command)
{
    struct task *task = task_of(command);

    task->is_finished = true;
    /* a reset or another task management function has aborted it below us */
    if (command->was_aborted && !task->is_failed)
        task->is_aborted = true;
    task_settle(task);
}

void task_abort(struct task *task)
{
    task->is_aborted = true;
    if (task->is_finished)
        task_settle(task);
    else
        command_abort(&task->command);
}

void task_fail(struct task *task, enum sense_code code)
{
    if (task->is_finished || task->is_failed)
        return;
    task->is_failed = true;
    task->failure = code;
    command_abort(&task->command);
}

void task_room(struct task *task)
{
    task->is_waiting_for_room = false;
    command_in_resume(&task->command);
}

void task_memory(struct task *task)
{
    task->is_waiting_for_memory = false;
    task_out_advance(task);
}

/* The CDB, with its tail from an additional header segment. False: rejected. */
static bool take_cdb(struct command *command, const struct pdu_scsi_command *request,
                     struct slice ahs)
{
    struct pdu_ahs extra = { 0 };

    memcpy(command->cdb, request->cdb, sizeof request->cdb);
    command->cdb_len = sizeof request->cdb;
    if (ahs.len == 0)
        return true;
    if (pdu_ahs_parse(ahs, &extra) != PDU_OK ||
        extra.extended_cdb.len > COMMAND_CDB_MAX - sizeof request->cdb)
        return false;
    if (extra.extended_cdb.len)
        memcpy(command->cdb + sizeof request->cdb, extra.extended_cdb.bytes,
               extra.extended_cdb.len);
    command->cdb_len = (uint8_t)(command->cdb_len + extra.extended_cdb.len);
    return true;
}

/* Why the PDU is not taken as a command at all; 0 when it is. */
static enum reject_reason reject_reason(struct session *session, const struct pdu *pdu)
{
    const struct pdu_scsi_command *request = &pdu->scsi_command;

    if (session->is_discovery)
        return REJECT_PROTOCOL_ERROR;
    if (request->read && request->write) /* no bidirectional command is known here */
        return REJECT_INVALID_PDU_FIELD;
    if (pdu->initiator_task_tag == TAG_RESERVED)
        return REJECT_INVALID_PDU_FIELD;
    if (pdu->immediate && session->immediate_in_flight >= SESSION_IMMEDIATE)
        return REJECT_IMMEDIATE_COMMAND;
    if (session_find_task(session, pdu->initiator_task_tag))
        return REJECT_TASK_IN_PROGRESS;
    return 0;
}

static void count(struct session *session)
{
    uint64_t commands = atomic_load_explicit(&session->entry.commands, memory_order_relaxed);
    atomic_store_explicit(&session->entry.commands, commands + 1, memory_order_relaxed);
}

void task_start(struct session *session, const struct pdu *pdu, struct slice ahs,
                struct pdu_data *data)
{
    const struct pdu_scsi_command *request = &pdu->scsi_command;
    enum reject_reason reason = reject_reason(session, pdu);

    if (reason) {
        conn_reject(session->conn, reason);
        return;
    }
    struct task *task = task_get(session);
    if (!task) {
        conn_close(session->conn, "out of memory for a command");
        return;
    }
    struct command *command = &task->command;
    if (!take_cdb(command, request, ahs)) {
        task->next_spare = iscsi_of(session->worker)->free_tasks;
        iscsi_of(session->worker)->free_tasks = task;
        conn_reject(session->conn, REJECT_INVALID_PDU_FIELD);
        return;
    }
    task->tag = pdu->initiator_task_tag;
    task->lun = pdu->lun;
    task->is_immediate = pdu->immediate;
    task->has_read = request->read;
    task->has_write = request->write;
    task->expected_bytes = request->expected_data_transfer_length;
    command->transport = &transport;
    command->nexus = &session->nexus;
    command->lun = pdu->lun;
    command->attribute = request->attribute;
    command->tag = task->tag;
    command->expected_in_bytes = task->has_read ? task->expected_bytes : 0;
    command->expected_out_bytes = task->has_write ? task->expected_bytes : 0;
    session_count_task(session, task);
    count(session);

    task->is_busy = true;
    if (!task_out_begin(task, pdu, data)) {
        task->is_finished = task->is_aborted = true; /* the connection is being closed */
    } else if (task->is_failed) {
        task->is_finished = true; /* no memory for what it sends along: TASK SET FULL */
    } else {
        command_start(command);
    }
    task->is_busy = false;
    task_out_advance(task);
}
