/*
 * Data-Out: immediate, unsolicited and solicited data, gathered in pieces for the device server.
 *
 * A transfer is cut into pieces of memory. The first one takes the data that comes unasked; what
 * lacks then is asked for by R2T, in order of offset, each R2T within one piece and no longer than
 * MaxBurstLength. DataPDUInOrder and DataSequenceInOrder are Yes, so all data comes in one order:
 * one number tells how far it is, and only the oldest open sequence may receive. A piece goes to
 * the device server when it is whole, and its memory is free when that is done with it.
 * RFC 7143 4.2.3, 11.7, 11.8.
 */
#include "target/iscsi/task.h"

#include "target/worker/log.h"

#include <errno.h>
#include <stdlib.h>

enum {
    MEMORY_RETRY_MS = 10,
    /* Memory that one session may have promised to data which it has not sent yet. */
    SOLICITED_MAX_BYTES = 16 * 1024 * 1024,
};

/* ---- pieces ---- */

static struct out_piece *piece_get(struct task *task, uint32_t offset, uint32_t bytes)
{
    struct iscsi_worker *iscsi = iscsi_of(task->session->worker);
    struct out_piece *piece = iscsi->free_pieces;

    if (piece)
        iscsi->free_pieces = piece->next;
    else if (!(piece = malloc(sizeof *piece)))
        return NULL;
    *piece = (struct out_piece){
        .task = task, .burst = {.offset_bytes = offset, .bytes = bytes}
    };
    TAILQ_INSERT_TAIL(&task->pieces, piece, link);
    task->piece_count++;
    return piece;
}

/* A piece whose data was promised memory gives that back; who waits for memory may have it. */
static void solicited_bytes_are_back(struct session *session, uint32_t bytes)
{
    session->solicited_bytes -= bytes;
    if (bytes && ev_is_active(&session->memory_retry))
        ev_feed_event(session->worker->loop, &session->memory_retry, EV_TIMER);
}

static void piece_put(struct out_piece *piece)
{
    struct task *task = piece->task;
    struct session *session = task->session;
    struct iscsi_worker *iscsi = iscsi_of(session->worker);

    TAILQ_REMOVE(&task->pieces, piece, link);
    task->piece_count--;
    solicited_bytes_are_back(session, piece->solicited_bytes);
    buffer_put(session->worker->buffers, piece->burst.buffer);
    piece->next = iscsi->free_pieces;
    iscsi->free_pieces = piece;
}

static struct out_piece *piece_of(struct burst *burst)
{
    return (struct out_piece *)((char *)burst - offsetof(struct out_piece, burst));
}

static uint32_t piece_end(const struct out_piece *piece)
{
    return piece->burst.offset_bytes + piece->burst.bytes;
}

static void piece_use_buffer(struct out_piece *piece, struct buffer *buffer)
{
    piece->burst.buffer = buffer;
    piece->burst.data = buffer->bytes;
    piece->room_bytes = buffer->cap;
}

/* Gives a piece memory for `bytes`, keeping what has come of it. 0 or -ENOMEM. */
static int piece_make_room(struct out_piece *piece, uint32_t bytes)
{
    struct task *task = piece->task;
    struct buffer_pool *pool = task->session->worker->buffers;
    uint32_t offset = piece->burst.offset_bytes, kept = 0;

    if (piece->burst.buffer && piece->room_bytes >= bytes)
        return 0;
    struct buffer *buffer = buffer_get(pool, bytes);
    if (!buffer)
        return -ENOMEM;
    if (task->out_received_bytes > offset)
        kept = task->out_received_bytes - offset;
    if (kept > piece->room_bytes)
        kept = piece->room_bytes;
    if (kept)
        memcpy(buffer->bytes, piece->burst.data, kept < bytes ? kept : bytes);
    buffer_put(pool, piece->burst.buffer);
    piece_use_buffer(piece, buffer);
    return 0;
}

/* The piece in which this offset of the transfer lies; NULL: none has been made for it. */
static struct out_piece *piece_at(const struct task *task, uint32_t offset)
{
    struct out_piece *piece;

    TAILQ_FOREACH (piece, &task->pieces, link)
        if (offset >= piece->burst.offset_bytes && offset < piece_end(piece))
            return piece;
    return NULL;
}

/* ---- sequences ---- */

static void sequence_open(struct task *task, uint32_t transfer_tag, uint32_t end)
{
    unsigned last = (task->sequence_first + task->open_count) % TASK_SEQUENCES;

    task->sequences[last] = (struct out_sequence){ .transfer_tag = transfer_tag, .end = end };
    task->open_count++;
}

static struct out_sequence *sequence_now(struct task *task)
{
    return task->open_count ? &task->sequences[task->sequence_first] : NULL;
}

static void sequence_shut(struct task *task)
{
    task->sequence_first = (task->sequence_first + 1) % TASK_SEQUENCES;
    task->open_count--;
    task->next_data_sn = 0;
    if (task->is_unsolicited_open) { /* it may end before FirstBurstLength: the rest is asked for */
        task->is_unsolicited_open = false;
        task->out_asked_bytes = task->out_received_bytes;
    }
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

static void count_written(struct session *session, uint32_t bytes)
{
    uint64_t sum = atomic_load_explicit(&session->entry.written_bytes, memory_order_relaxed);
    atomic_store_explicit(&session->entry.written_bytes, sum + bytes, memory_order_relaxed);
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
    count_written(session, data->len);
    task->is_failed = data->is_dropped; /* there was no memory for it: TASK SET FULL */
    is_more_coming = is_more_coming && data->len < first_burst;
    task->out_received_bytes = task->out_asked_bytes = data->len;
    if (data->len == 0 && !is_more_coming)
        return true;

    struct out_piece *piece =
        piece_get(task, 0, expected < TASK_PIECE_BYTES ? expected : TASK_PIECE_BYTES);
    if (!piece) {
        conn_close(session->conn, "out of memory for a command's data");
        return false;
    }
    if (data->buffer) { /* it came in two reads and stands in memory of its own */
        buffer_ref(data->buffer);
        piece_use_buffer(piece, data->buffer);
    } else {
        piece->burst.data = data->bytes;
        piece->room_bytes = data->len;
    }
    if (is_more_coming) {
        task->is_unsolicited_open = true;
        sequence_open(task, TAG_RESERVED, first_burst);
        task->out_asked_bytes = first_burst;
        if (!task->is_failed && piece_make_room(piece, first_burst) != 0)
            task->is_failed = true; /* the data that is on its way is waited for, and dropped */
    }
    return true;
}

/* ---- asking ---- */

static void send_r2t(struct task *task, uint32_t bytes)
{
    struct session *session = task->session;
    struct session_numbers numbers = session_numbers(session);
    struct pdu pdu = { .opcode = PDU_R2T, .initiator_task_tag = task->tag, .lun = task->lun };
    uint32_t transfer_tag = session_next_transfer_tag(session);

    pdu.r2t.target_transfer_tag = transfer_tag;
    pdu.r2t.stat_sn = session->conn->stat_sn; /* the next one's, not used up (RFC 7143 11.8.2) */
    pdu.r2t.exp_cmd_sn = numbers.exp_cmd_sn;
    pdu.r2t.max_cmd_sn = numbers.max_cmd_sn;
    pdu.r2t.r2t_sn = task->r2t_sn++;
    pdu.r2t.buffer_offset = task->out_asked_bytes;
    pdu.r2t.desired_data_transfer_length = bytes;
    task->out_asked_bytes += bytes;
    sequence_open(task, transfer_tag, task->out_asked_bytes);
    conn_send(session->conn, &pdu, NULL, 0);
}

/*
 * May this session be promised more memory? What a silent initiator is promised must not keep the
 * others from theirs: a part of the budget is left for what comes unasked.
 */
static bool may_promise(const struct session *session, uint32_t bytes)
{
    const struct buffer_budget *budget = &session->worker->group->budget;
    uint64_t used = atomic_load_explicit(&budget->used_bytes, memory_order_relaxed);

    return session->solicited_bytes + bytes <= SOLICITED_MAX_BYTES &&
           used + bytes <= budget->limit_bytes - budget->limit_bytes / 4;
}

/* The piece for what is to be asked for next, with its memory; NULL: not now. */
static struct out_piece *piece_to_ask(struct task *task, bool *is_short_of_memory)
{
    struct session *session = task->session;
    struct out_piece *piece = piece_at(task, task->out_asked_bytes);

    if (!piece) {
        uint32_t left = task->out_wanted_bytes - task->out_asked_bytes;
        uint32_t bytes = left < task->out_piece_bytes ? left : task->out_piece_bytes;
        if (task->piece_count >= TASK_PIECES)
            return NULL;
        if (!may_promise(session, bytes) ||
            !(piece = piece_get(task, task->out_asked_bytes, bytes))) {
            *is_short_of_memory = true;
            return NULL;
        }
    }
    if (piece_make_room(piece, piece->burst.bytes) != 0) {
        *is_short_of_memory = true;
        if (piece->burst.offset_bytes == task->out_asked_bytes)
            piece_put(piece); /* just made, or nothing of it has come */
        return NULL;
    }
    if (!piece->solicited_bytes) {
        piece->solicited_bytes = piece->burst.bytes;
        session->solicited_bytes += piece->burst.bytes;
    }
    return piece;
}

static void memory_retry(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct session *session =
        (struct session *)((char *)timer - offsetof(struct session, memory_retry));
    struct task *task;
    unsigned count = 0;

    (void)events;
    ev_timer_stop(loop, timer);
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
    struct session *session = task->session;
    struct conn *conn = session->conn;

    while (conn && !conn->is_closing && task->is_wanted && !task->is_unsolicited_open &&
           task->out_asked_bytes < task->out_wanted_bytes &&
           task->open_count < session->parameters.max_outstanding_r2t) {
        struct out_piece *piece = piece_to_ask(task, &is_short_of_memory);
        if (!piece)
            break;
        uint32_t bytes = piece_end(piece) - task->out_asked_bytes;
        send_r2t(task, bytes < session->parameters.max_burst_bytes
                           ? bytes
                           : session->parameters.max_burst_bytes);
    }
    /* with data on its way, the next Data-Out or out_done() asks again */
    if (is_short_of_memory && task->open_count == 0)
        wait_for_memory(task);
}

/* The first piece that the device server does not have, if it is whole. */
static struct out_piece *next_whole(const struct task *task)
{
    struct out_piece *piece;

    if (!task->is_wanted || task->is_unsolicited_open)
        return NULL;
    TAILQ_FOREACH (piece, &task->pieces, link)
        if (!piece->is_with_device)
            return task->out_received_bytes >= piece_end(piece) ? piece : NULL;
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
        piece = next_whole(task);
        if (!piece)
            break;
        piece->is_with_device = true;
        command_out(&task->command, &piece->burst);
    }
    /* whoever has not been asked for its data yet (a gate, an ORDERED task before it) must not lose
     * it */
    piece = TAILQ_FIRST(&task->pieces);
    if (!task->is_finished && piece && !piece->burst.buffer &&
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
    if (first) /* what came unasked is the start of the first piece */
        first->burst.bytes = task->out_piece_bytes;
    task_out_advance(task);
}

int task_out_keep(struct command *command, struct burst *burst)
{
    (void)command;
    return burst->buffer ? 0 : piece_make_room(piece_of(burst), burst->bytes);
}

void task_out_done(struct command *command, struct burst *burst)
{
    struct task *task = task_of(command);

    piece_put(piece_of(burst));
    task_out_advance(task);
}

void task_out_drop(struct task *task)
{
    while (!TAILQ_EMPTY(&task->pieces))
        piece_put(TAILQ_FIRST(&task->pieces));
}

/* ---- receiving ---- */

/* A Data-Out that is not what its sequence expects: why, and how the command fails over it. */
struct sequence_fault {
    enum sense_code code; /* SENSE_NONE: it is as it should be */
    const char *why;
};

static struct sequence_fault sequence_fault(struct task *task, const struct pdu *pdu)
{
    const struct pdu_data_out *data_out = &pdu->data_out;
    const struct out_sequence *sequence = sequence_now(task);
    uint32_t len = pdu->data_segment_length;

    if (data_out->target_transfer_tag != sequence->transfer_tag)
        return (struct sequence_fault){ SENSE_ABORTED_DATA_PHASE,
                                        "it answers an R2T before older ones" };
    if (data_out->data_sn != task->next_data_sn)
        return (struct sequence_fault){ SENSE_ABORTED_DATA_PHASE, "its DataSN does not follow" };
    if (data_out->buffer_offset != task->out_received_bytes)
        return (struct sequence_fault){ SENSE_ABORTED_DATA_PHASE,
                                        "its Buffer Offset does not follow" };
    /* RFC 7143 11.4.7.2: incorrect amount of data */
    if (len > sequence->end - task->out_received_bytes)
        return (struct sequence_fault){ SENSE_ABORTED_WRONG_AMOUNT,
                                        "it brings more than was asked for" };
    if (data_out->final && !task->is_unsolicited_open &&
        len < sequence->end - task->out_received_bytes)
        return (struct sequence_fault){ SENSE_ABORTED_WRONG_AMOUNT,
                                        "it brings less than was asked for" };
    if (len == 0 && !data_out->final)
        return (struct sequence_fault){ SENSE_ABORTED_DATA_PHASE, "it brings nothing" };
    return (struct sequence_fault){ SENSE_NONE, NULL };
}

static bool is_known_sequence(const struct task *task, uint32_t transfer_tag)
{
    for (unsigned i = 0; i < task->open_count; i++)
        if (task->sequences[(task->sequence_first + i) % TASK_SEQUENCES].transfer_tag ==
            transfer_tag)
            return true;
    return false;
}

/* Where the next `len` bytes go; NULL: nowhere, they are only waited for. */
static uint8_t *place_of(const struct task *task, uint32_t len, struct buffer **holder)
{
    struct out_piece *piece = piece_at(task, task->out_received_bytes);

    if (task->is_finished || !piece || !piece->burst.buffer)
        return NULL;
    uint32_t at = task->out_received_bytes - piece->burst.offset_bytes;
    if (at > piece->room_bytes || len > piece->room_bytes - at)
        return NULL;
    *holder = piece->burst.buffer;
    return piece->burst.buffer->bytes + at;
}

uint8_t *task_data_out_place(struct session *session, const struct pdu *pdu, struct buffer **holder)
{
    struct task *task = session_find_task(session, pdu->initiator_task_tag);

    if (!task || !is_known_sequence(task, pdu->data_out.target_transfer_tag) ||
        sequence_fault(task, pdu).why)
        return NULL;
    uint8_t *place = place_of(task, pdu->data_segment_length, holder);
    if (place)
        buffer_ref(*holder);
    return place;
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

static void take(struct task *task, const struct pdu *pdu, const struct pdu_data *data)
{
    const struct out_sequence *sequence = sequence_now(task);
    uint32_t left = sequence->end - task->out_received_bytes,
             len = data->len < left ? data->len : left;
    struct buffer *holder;
    /* the data of a command that has failed is only waited for */
    uint8_t *place = task->is_failed ? NULL : place_of(task, len, &holder);

    if (place && len && data->bytes != place)
        memcpy(place, data->bytes, len);
    task->out_received_bytes += len;
    task->next_data_sn++;
    if (pdu->data_out.final || len == left)
        sequence_shut(task);
}

void task_data_out(struct session *session, const struct pdu *pdu, struct slice ahs,
                   struct pdu_data *data)
{
    struct task *task = session_find_task(session, pdu->initiator_task_tag);

    (void)ahs;
    if (!task || !is_known_sequence(task, pdu->data_out.target_transfer_tag)) {
        /* Data-Out for a task that was aborted may still be on its way, RFC 7143 11.6.1 */
        if (!session->has_aborted_receiving)
            conn_reject(session->conn, REJECT_INVALID_PDU_FIELD);
        return;
    }
    count_written(session, data->len);
    task->is_busy = true;
    struct sequence_fault fault = sequence_fault(task, pdu);
    if (fault.why) {
        log_peer("initiator=%s from=%s: a Data-Out is wrong: %s",
                 session->entry.view.initiator_name, session->conn->peer_text, fault.why);
        task_fail(task, fault.code);
    } else if (data->is_digest_wrong) {
        /* RFC 7143 7.8: discarded, rejected, and at level 0 the task ends with CHECK CONDITION */
        conn_reject(session->conn, REJECT_DATA_DIGEST_ERROR);
        task_fail(task, SENSE_ABORTED_PROTOCOL_CRC);
    } else if (data->is_dropped) {
        task_fail(task, SENSE_NONE);
    }
    take(task, pdu, data);
    task->is_busy = false;
    task_out_advance(task);
}
