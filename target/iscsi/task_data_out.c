/*
 * Data-Out: immediate, unsolicited and solicited data, gathered in pieces for the device server.
 *
 * A transfer is cut into pieces of one size. The first one takes the data that comes unasked; what
 * it lacks then, and all the others, is asked for by R2T, each R2T within one piece and no longer
 * than MaxBurstLength. A piece goes to the device server when it is whole, in order, and its memory
 * is free when that is done with it. RFC 7143 11.7, 11.8, 4.2.3.
 */
#include "target/iscsi/task.h"

#include "target/worker/log.h"

#include <errno.h>
#include <stdlib.h>

enum { MEMORY_RETRY_MS = 10 };

static struct out_piece *piece_get(struct task *task, uint32_t offset, uint32_t bytes)
{
    struct iscsi_worker *iscsi = iscsi_of(task->session->worker);
    struct out_piece *piece = iscsi->free_pieces;

    if (piece)
        iscsi->free_pieces = piece->next;
    else if (!(piece = malloc(sizeof *piece)))
        return NULL;
    memset(piece, 0, sizeof *piece);
    piece->task = task;
    piece->burst.offset_bytes = offset;
    piece->burst.bytes = bytes;
    TAILQ_INSERT_TAIL(&task->pieces, piece, link);
    task->piece_count++;
    return piece;
}

static void piece_put(struct out_piece *piece)
{
    struct task *task = piece->task;
    struct iscsi_worker *iscsi = iscsi_of(task->session->worker);

    TAILQ_REMOVE(&task->pieces, piece, link);
    task->piece_count--;
    if (piece->is_open)
        task->open_count--;
    buffer_put(task->session->worker->buffers, piece->buffer);
    piece->next = iscsi->free_pieces;
    iscsi->free_pieces = piece;
}

static struct out_piece *piece_of(struct burst *burst)
{
    return (struct out_piece *)((char *)burst - offsetof(struct out_piece, burst));
}

static void piece_use_buffer(struct out_piece *piece, struct buffer *buffer)
{
    piece->buffer = buffer;
    piece->burst.data = buffer->bytes;
    piece->burst.is_transient = false;
    piece->room_bytes = buffer->cap;
}

static void piece_open(struct out_piece *piece, uint32_t sequence_bytes)
{
    piece->is_open = true;
    piece->sequence_end = piece->got_bytes + sequence_bytes;
    piece->next_data_sn = 0;
    piece->task->open_count++;
}

static void piece_shut(struct out_piece *piece)
{
    piece->is_open = false;
    piece->task->open_count--;
}

/* Gives a piece memory for `bytes`, keeping what it has got. 0 or -ENOMEM. */
static int piece_make_room(struct out_piece *piece, uint32_t bytes)
{
    struct buffer_pool *pool = piece->task->session->worker->buffers;

    if (piece->buffer && piece->room_bytes >= bytes)
        return 0;
    struct buffer *buffer = buffer_get(pool, bytes);
    if (!buffer)
        return -ENOMEM;
    uint32_t kept = piece->got_bytes < bytes ? piece->got_bytes : bytes;
    if (kept)
        memcpy(buffer->bytes, piece->burst.data, kept);
    buffer_put(pool, piece->buffer);
    piece_use_buffer(piece, buffer);
    return 0;
}

/* A break of the data transfer's rules: without recovery levels it ends the session (RFC
 * 7143 7.1.4). */
static void protocol_error(struct session *session, const char *why)
{
    log_peer("initiator=%s from=%s broke the protocol: %s", session->entry.view.initiator_name,
             session->conn->peer_text, why);
    conn_reject(session->conn, REJECT_PROTOCOL_ERROR);
    conn_close_when_sent(session->conn, why);
}

bool task_out_begin(struct task *task, const struct pdu *pdu, struct pdu_data *data)
{
    struct session *session = task->session;
    const struct session_parameters *parameters = &session->parameters;
    uint32_t expected = task->has_write ? task->expected_bytes : 0;
    bool is_more_coming = task->has_write && !pdu->scsi_command.final;
    uint32_t first_burst =
        expected < parameters->first_burst_bytes ? expected : parameters->first_burst_bytes;
    const char *fault = NULL;

    if (data->len && !parameters->immediate_data)
        fault = "immediate data came though ImmediateData is No";
    else if (data->len > first_burst)
        fault = "more immediate data came than the command or FirstBurstLength allow";
    else if (is_more_coming && parameters->initial_r2t)
        fault = "unsolicited data was announced though InitialR2T is Yes";
    if (fault) {
        protocol_error(session, fault);
        return false;
    }
    if (data->is_digest_wrong) {
        conn_reject(session->conn, REJECT_DATA_DIGEST_ERROR);
        task->is_failed = true;
        task->failure = SENSE_ABORTED_PROTOCOL_CRC;
    }
    is_more_coming = is_more_coming && data->len < first_burst;
    if (data->len == 0 && !is_more_coming)
        return true;

    struct out_piece *piece =
        piece_get(task, 0, expected < TASK_PIECE_BYTES ? expected : TASK_PIECE_BYTES);
    if (!piece) {
        conn_close(session->conn, "out of memory for a command's data");
        return false;
    }
    piece->is_unsolicited = true;
    piece->transfer_tag = TAG_RESERVED;
    if (data->buffer) { /* it came in two reads and stands in memory of its own */
        buffer_ref(data->buffer);
        piece_use_buffer(piece, data->buffer);
    } else {
        piece->burst.data = data->bytes;
        piece->burst.is_transient = true;
        piece->room_bytes = data->len;
    }
    piece->got_bytes = data->len;
    if (is_more_coming) {
        piece_open(piece, first_burst - data->len);
        if (!task->is_failed && piece_make_room(piece, first_burst) != 0)
            task->is_failed =
                true; /* TASK SET FULL, once the data that is on its way has been dropped */
    }
    return true;
}

/* ---- asking ---- */

static void send_r2t(struct out_piece *piece)
{
    struct task *task = piece->task;
    struct session *session = task->session;
    struct pdu pdu = { .opcode = PDU_R2T, .initiator_task_tag = task->tag, .lun = task->lun };
    struct session_numbers numbers = session_numbers(session);
    uint32_t bytes = piece->burst.bytes - piece->got_bytes;

    if (bytes > session->parameters.max_burst_bytes)
        bytes = session->parameters.max_burst_bytes;
    piece->transfer_tag = session->next_transfer_tag++;
    if (session->next_transfer_tag == TAG_RESERVED)
        session->next_transfer_tag = 0;
    piece->is_unsolicited = false;
    piece_open(piece, bytes);
    pdu.r2t.target_transfer_tag = piece->transfer_tag;
    pdu.r2t.stat_sn = session->conn->stat_sn; /* the next one's, not used up (RFC 7143 11.8.2) */
    pdu.r2t.exp_cmd_sn = numbers.exp_cmd_sn;
    pdu.r2t.max_cmd_sn = numbers.max_cmd_sn;
    pdu.r2t.r2t_sn = task->r2t_sn++;
    pdu.r2t.buffer_offset = piece->burst.offset_bytes + piece->got_bytes;
    pdu.r2t.desired_data_transfer_length = bytes;
    conn_send(session->conn, &pdu, NULL, 0);
}

/* A piece that lacks data which nobody has been asked for; made if there is more to ask for. */
static struct out_piece *next_to_ask(struct task *task, bool *is_short_of_memory)
{
    struct out_piece *piece;

    TAILQ_FOREACH (piece, &task->pieces, link)
        if (!piece->is_open && !piece->is_with_device && piece->got_bytes < piece->burst.bytes)
            break;
    if (!piece && task->out_asked_bytes < task->out_wanted_bytes &&
        task->piece_count < TASK_PIECES) {
        uint32_t left = task->out_wanted_bytes - task->out_asked_bytes;
        uint32_t bytes = left < task->out_piece_bytes ? left : task->out_piece_bytes;
        piece = piece_get(task, task->out_asked_bytes, bytes);
        if (piece)
            task->out_asked_bytes += bytes;
        else
            *is_short_of_memory = true;
    }
    if (piece && piece_make_room(piece, piece->burst.bytes) != 0) {
        *is_short_of_memory = true;
        return NULL;
    }
    return piece;
}

static void memory_retry(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct session *session =
        (struct session *)((char *)timer - offsetof(struct session, memory_retry));
    struct task *task;
    unsigned count = 0;

    (void)loop;
    (void)events;
    TAILQ_FOREACH (task, &session->waiting_for_memory, waiting_link)
        count++;
    /* who finds none again goes to the end of the list, and starts the timer */
    while (count-- && (task = TAILQ_FIRST(&session->waiting_for_memory))) {
        TAILQ_REMOVE(&session->waiting_for_memory, task, waiting_link);
        task_memory(task);
    }
}

static void wait_for_memory(struct task *task)
{
    struct session *session = task->session;

    if (task->is_waiting_for_memory)
        return;
    task->is_waiting_for_memory = true;
    TAILQ_INSERT_TAIL(&session->waiting_for_memory, task, waiting_link);
    if (!ev_is_active(&session->memory_retry)) {
        ev_timer_init(&session->memory_retry, memory_retry, MEMORY_RETRY_MS / 1000., 0.);
        ev_timer_start(session->worker->loop, &session->memory_retry);
    }
}

static void ask(struct task *task)
{
    bool is_short_of_memory = false;
    struct conn *conn = task->session->conn;

    while (conn && !conn->is_closing && task->is_wanted &&
           task->open_count < task->session->parameters.max_outstanding_r2t) {
        struct out_piece *piece = next_to_ask(task, &is_short_of_memory);
        if (!piece)
            break;
        send_r2t(piece);
    }
    /* with pieces on their way the next out_done() or Data-Out asks again */
    if (is_short_of_memory && task->open_count == 0)
        wait_for_memory(task);
}

/* The first piece that the device server does not have, if it is whole. */
static struct out_piece *next_whole(const struct task *task)
{
    struct out_piece *piece;

    TAILQ_FOREACH (piece, &task->pieces, link)
        if (!piece->is_with_device)
            return !piece->is_open && piece->got_bytes >= piece->burst.bytes ? piece : NULL;
    return NULL;
}

void task_out_advance(struct task *task)
{
    struct out_piece *piece;

    if (task->is_busy)
        return;
    task->is_busy = true;
    while (!task->is_finished && !task->is_aborted && !task->is_failed) {
        ask(task);
        piece = task->is_wanted ? next_whole(task) : NULL;
        if (!piece)
            break;
        piece->is_with_device = true;
        command_out(&task->command, &piece->burst);
    }
    /* whoever has not been asked for its data yet (a gate, an ORDERED task before it) must not lose
     * it */
    piece = TAILQ_FIRST(&task->pieces);
    if (!task->is_finished && piece && piece->burst.is_transient &&
        piece_make_room(piece, piece->burst.bytes) != 0)
        task_fail(task, SENSE_NONE);
    task->is_busy = false;
    task_settle(task);
}

void task_out_want(struct command *command, uint32_t bytes, uint32_t piece_bytes)
{
    struct task *task = task_of(command);
    struct out_piece *first = TAILQ_FIRST(&task->pieces);

    task->is_wanted = true;
    task->out_wanted_bytes = bytes;
    task->out_piece_bytes = piece_bytes < bytes ? piece_bytes : bytes;
    if (first) { /* what came unasked is the start of the first piece */
        first->burst.bytes = task->out_piece_bytes;
        task->out_asked_bytes = task->out_piece_bytes;
    }
    task_out_advance(task);
}

int task_out_keep(struct command *command, struct burst *burst)
{
    (void)command;
    return burst->is_transient ? piece_make_room(piece_of(burst), burst->bytes) : 0;
}

void task_out_done(struct command *command, struct burst *burst)
{
    struct task *task = task_of(command);

    piece_put(piece_of(burst));
    task_out_advance(task);
}

void task_out_drop(struct task *task, bool is_all)
{
    struct out_piece *piece, *next;

    for (piece = TAILQ_FIRST(&task->pieces); piece; piece = next) {
        next = TAILQ_NEXT(piece, link);
        if (is_all || !piece->is_open)
            piece_put(piece);
    }
}

/* ---- receiving ---- */

static struct out_piece *find_piece(const struct task *task, uint32_t transfer_tag)
{
    struct out_piece *piece;

    TAILQ_FOREACH (piece, &task->pieces, link)
        if (piece->is_open && piece->transfer_tag == transfer_tag)
            return piece;
    return NULL;
}

/* NULL: it continues the sequence as it should. */
static const char *sequence_fault(const struct out_piece *piece, const struct pdu *pdu)
{
    const struct pdu_data_out *data_out = &pdu->data_out;

    if (data_out->data_sn != piece->next_data_sn)
        return "a Data-Out's DataSN does not follow the one before";
    if (data_out->buffer_offset != piece->burst.offset_bytes + piece->got_bytes)
        return "a Data-Out's Buffer Offset does not follow the one before";
    if (pdu->data_segment_length > piece->sequence_end - piece->got_bytes)
        return "more Data-Out came than was asked for";
    if (pdu->data_segment_length == 0 && !(data_out->final && piece->is_unsolicited))
        return "a Data-Out came without data";
    return NULL;
}

uint8_t *task_data_out_place(struct session *session, const struct pdu *pdu, struct buffer **holder)
{
    struct task *task = session_find_task(session, pdu->initiator_task_tag);
    struct out_piece *piece = task ? find_piece(task, pdu->data_out.target_transfer_tag) : NULL;

    if (!piece || task->is_finished || !piece->buffer || sequence_fault(piece, pdu) ||
        piece->got_bytes + pdu->data_segment_length > piece->room_bytes)
        return NULL;
    buffer_ref(piece->buffer);
    *holder = piece->buffer;
    return piece->buffer->bytes + piece->got_bytes;
}

uint32_t task_buffer_bytes(const struct conn *conn)
{
    const struct pdu *pdu = &conn->pdu;
    uint32_t bytes = pdu->data_segment_length;

    if (pdu->opcode == PDU_SCSI_COMMAND && conn->session && !pdu->scsi_command.final) {
        /* the rest of the first burst will come into the same memory */
        uint32_t burst = conn->session->parameters.first_burst_bytes;
        if (burst > pdu->scsi_command.expected_data_transfer_length)
            burst = pdu->scsi_command.expected_data_transfer_length;
        if (burst > bytes)
            bytes = burst;
    }
    return bytes;
}

static void count_written(struct session *session, uint32_t bytes)
{
    uint64_t sum = atomic_load_explicit(&session->entry.written_bytes, memory_order_relaxed);
    atomic_store_explicit(&session->entry.written_bytes, sum + bytes, memory_order_relaxed);
}

static void piece_take(struct out_piece *piece, const struct pdu *pdu, const struct pdu_data *data)
{
    uint32_t room = piece->room_bytes > piece->got_bytes ? piece->room_bytes - piece->got_bytes : 0;
    uint32_t len = data->len < room ? data->len : room;
    uint8_t *place = piece->buffer ? piece->buffer->bytes + piece->got_bytes : NULL;

    /* the data of a task that is over is only waited for */
    if (place && len && !piece->task->is_finished && data->bytes != place)
        memcpy(place, data->bytes, len);
    piece->got_bytes += data->len;
    piece->next_data_sn++;
    if (pdu->data_out.final || piece->got_bytes == piece->sequence_end)
        piece_shut(piece);
}

void task_data_out(struct session *session, const struct pdu *pdu, struct slice ahs,
                   struct pdu_data *data)
{
    struct task *task = session_find_task(session, pdu->initiator_task_tag);
    struct out_piece *piece = task ? find_piece(task, pdu->data_out.target_transfer_tag) : NULL;

    (void)ahs;
    if (!piece) {
        /* Data-Out for a task that was aborted may still be on its way, RFC 7143 11.6.1 */
        if (!session->has_aborted_receiving)
            conn_reject(session->conn, REJECT_INVALID_PDU_FIELD);
        return;
    }
    const char *fault = sequence_fault(piece, pdu);
    if (fault) {
        protocol_error(session, fault);
        return;
    }
    count_written(session, data->len);
    piece_take(piece, pdu, data);
    if (data->is_digest_wrong) {
        /* RFC 7143 7.8: discarded, rejected, and at level 0 the task ends with CHECK CONDITION */
        conn_reject(session->conn, REJECT_DATA_DIGEST_ERROR);
        task->is_busy = true;
        task_fail(task, SENSE_ABORTED_PROTOCOL_CRC);
        task->is_busy = false;
    }
    task_out_advance(task);
}
