/*
 * When and how answers leave a connection: all that a turn produced in one call, the first half of
 * many before the rest is worked on, and those of several connections right after one another.
 */
#include "target/iscsi/conn.h"

#include "proto/crc32c.h"
#include "target/iscsi/session.h"
#include "target/worker/log.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

enum {
    HALF_MIN = 8, /* answers that are worth a send of their own in the middle of a turn */
    /* how much others may be worked on while answers are held: some hundred microseconds */
    HELD_ANSWERS_MAX = 32,
    HELD_BYTES_MAX = 192 * 1024,
};

static uint32_t unsent_answers(const struct conn *conn)
{
    return conn->stat_sn - conn->sent_stat_sn;
}

static void hold(struct conn *conn)
{
    struct held *held = &iscsi_of(conn->worker)->held;

    conn->is_held = true;
    TAILQ_INSERT_TAIL(&held->conns, conn, held_link);
    held->count++;
    held->answers += unsent_answers(conn);
    held->bytes += conn->send.queued_bytes;
    worker_at_turn_end(conn->worker, &conn->turn_end);
}

static void hold_no_more(struct conn *conn)
{
    struct held *held = &iscsi_of(conn->worker)->held;

    if (!conn->is_held)
        return;
    conn->is_held = false;
    TAILQ_REMOVE(&held->conns, conn, held_link);
    if (--held->count == 0)
        held->answers = held->bytes = 0;
}

/* Sends what is queued and arranges for the rest. False: the connection is to be closed. */
static bool flush(struct conn *conn, bool is_more_coming)
{
    struct ev_loop *loop = conn->worker->loop;

    hold_no_more(conn);
    int error = send_queue_flush(&conn->send, conn->fd, is_more_coming);

    conn->sent_stat_sn = conn->stat_sn;
    if (error == -EAGAIN) {
        ev_io_start(loop, &conn->writable);
        return true;
    }
    ev_io_stop(loop, &conn->writable);
    if (error) {
        conn_broke(conn, -error, "sending failed");
        return false;
    }
    if (conn->is_draining) {
        conn_close(conn, conn->close_reason);
        return false;
    }
    return true;
}

/* Data-In that waited goes on as long as there is room for it. */
static void refill(struct conn *conn)
{
    if (conn->session && conn->send.queued_bytes < SEND_HIGH_WATER)
        session_room(conn->session);
}

static void conn_writable(struct ev_loop *loop, ev_io *watcher, int events)
{
    struct conn *conn = (struct conn *)((char *)watcher - offsetof(struct conn, writable));

    (void)loop;
    (void)events;
    if (!conn->is_closing && flush(conn, false)) {
        refill(conn);
        if (!conn->is_draining && conn->send.queued_bytes < SEND_HIGH_WATER &&
            !conn_is_paused(conn))
            ev_io_start(conn->worker->loop, &conn->readable);
    }
}

void conn_send_open(struct conn *conn)
{
    conn->stat_sn = conn->sent_stat_sn = 1;
    send_queue_open(&conn->send, conn->worker->buffers);
    ev_io_init(&conn->writable, conn_writable, conn->fd, EV_WRITE);
}

void conn_send_close(struct conn *conn)
{
    ev_io_stop(conn->worker->loop, &conn->writable);
    hold_no_more(conn);
    send_queue_close(&conn->send);
}

void conn_note_depth(struct conn *conn, uint32_t commands)
{
    /* an ExpStatSN that makes no sense says nothing */
    if (commands > conn->depth[0] && commands <= SESSION_WINDOW)
        conn->depth[0] = commands;
}

void conn_begin_turn(struct conn *conn)
{
    struct iscsi_worker *iscsi = iscsi_of(conn->worker);

    if (iscsi->turn_ns != conn->worker->now_ns) {
        iscsi->turn_ns = conn->worker->now_ns;
        iscsi->readable[1] = iscsi->readable[0];
        iscsi->readable[0] = 0;
    }
    iscsi->readable[0]++;
    conn->depth[1] = conn->depth[0];
    conn->depth[0] = 0;
    conn->is_half_out = false;
}

/*
 * Answers wait for the end of the turn, so that all leave in one call. With many commands under way
 * on one connection that would let both ends wait for each other: so the first half leaves when it
 * is done, and the initiator works on it while we do the rest. Where several connections are busy,
 * others fill the initiators' time, and a call for each half would only cost.
 */
static bool half_is_answered(const struct conn *conn)
{
    const struct iscsi_worker *iscsi = iscsi_of(conn->worker);
    uint32_t answers = unsent_answers(conn);
    uint32_t depth = conn->depth[0] > conn->depth[1] ? conn->depth[0] : conn->depth[1];

    return answers >= HALF_MIN && answers >= depth / 2 && iscsi->readable[0] <= 1 &&
           iscsi->readable[1] <= 1;
}

void conn_send_half(struct conn *conn)
{
    if (half_is_answered(conn) && !conn_is_blocked(conn)) {
        flush(conn, false);
        conn->is_half_out = true;
    }
}

bool conn_waits_for_half(const struct conn *conn)
{
    return conn->is_half_out && unsent_answers(conn) > 0;
}

void conn_send_all(struct conn *conn)
{
    if (!conn->is_closing && !conn_is_blocked(conn) && flush(conn, false))
        refill(conn);
}

/*
 * To wake an initiator costs as much as several answers. Those of several connections that leave
 * right after one another mostly reach one machine, and wake it once. So the first wait for the
 * next, while others are still to be read in this turn and until there are enough; not more than
 * half of the connections, so that we work for the others while the initiators work on these.
 */
static bool may_be_held(const struct conn *conn)
{
    const struct iscsi_worker *iscsi = iscsi_of(conn->worker);
    const struct held *held = &iscsi->held;
    unsigned together = held->count + 2; /* this one, and the next, with which all leave */

    return together <= iscsi->readable[1] / 2 && ev_pending_count(conn->worker->loop) > 0 &&
           held->answers + unsent_answers(conn) <= HELD_ANSWERS_MAX &&
           held->bytes + conn->send.queued_bytes <= HELD_BYTES_MAX && !conn_is_blocked(conn) &&
           !conn->is_draining;
}

static void send_held(struct held *held)
{
    struct conn *first;

    while ((first = TAILQ_FIRST(&held->conns))) {
        hold_no_more(first);
        conn_send_all(first);
    }
}

void conn_send_soon(struct conn *conn)
{
    hold_no_more(conn);
    if (may_be_held(conn)) {
        hold(conn);
        return;
    }
    send_held(&iscsi_of(conn->worker)->held);
    conn_send_all(conn);
}

void conn_note_received(struct conn *conn, size_t bytes)
{
    struct held *held = &iscsi_of(conn->worker)->held;

    if (held->count == 0)
        return;
    held->bytes += bytes;
    if (held->bytes > HELD_BYTES_MAX)
        send_held(held);
}

void conn_has_output(struct conn *conn)
{
    if (!conn->is_reading && !conn->is_closing)
        worker_at_turn_end(conn->worker, &conn->turn_end);
}

void conn_flush(struct conn *conn, bool is_more_coming)
{
    if (!conn->is_closing && !conn_is_blocked(conn))
        flush(conn, is_more_coming);
}

bool conn_has_room(struct conn *conn)
{
    if (conn->is_closing || conn->is_draining)
        return true; /* what is queued now goes nowhere; nobody needs to wait for it */
    if (conn->send.queued_bytes >= SEND_HIGH_WATER / 2 && !conn_is_blocked(conn))
        flush(conn, false);
    return conn->send.queued_bytes < SEND_HIGH_WATER || conn->is_closing;
}

void conn_send(struct conn *conn, struct pdu *pdu, const void *data, uint32_t len)
{
    uint32_t padded = pdu_padded(len);
    uint32_t head = BHS_BYTES + conn->header_digest_bytes;
    uint32_t total = head + padded + (len ? conn->data_digest_bytes : 0);

    if (conn->is_closing)
        return;
    uint8_t *at = send_queue_reserve(&conn->send, total);
    if (!at) {
        conn_close(conn, "out of memory for an answer");
        return;
    }
    pdu->data_segment_length = len;
    pdu_build(pdu, at);
    if (conn->header_digest_bytes)
        crc32c_put(at + BHS_BYTES, crc32c_update(CRC32C_INIT, at, BHS_BYTES));
    if (len) {
        memcpy(at + head, data, len);
        memset(at + head + len, 0, padded - len);
        if (conn->data_digest_bytes)
            crc32c_put(at + head + padded, crc32c_update(CRC32C_INIT, at + head, padded));
    }
    if (send_queue_commit(&conn->send, total) != 0)
        conn_close(conn, "out of memory for an answer");
    conn_has_output(conn);
}

void conn_reject(struct conn *conn, enum reject_reason reason)
{
    log_peer("rejected a %s PDU from %s: reason %#x (RFC 7143 11.17.1)", pdu_name(conn->pdu.opcode),
             conn->peer_text, reason);
    struct pdu reject = { .opcode = PDU_REJECT, .initiator_task_tag = TAG_RESERVED };
    if (conn->session && conn->session->is_in_turn) {
        /* RFC 7143 7.3: the CmdSN of a rejected command is not considered received */
        conn->session->exp_cmd_sn--;
        conn->session->is_in_turn = false;
    }
    reject.reject.reason = (uint8_t)reason;
    reject.reject.stat_sn = conn->stat_sn++;
    if (conn->session) {
        struct session_numbers numbers = session_numbers(conn->session);
        reject.reject.exp_cmd_sn = numbers.exp_cmd_sn;
        reject.reject.max_cmd_sn = numbers.max_cmd_sn;
    }
    conn_send(conn, &reject, conn->bhs, BHS_BYTES);
}
