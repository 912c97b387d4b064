#include "target/iscsi/conn.h"

#include "proto/crc32c.h"
#include "proto/iscsi_keys.h"
#include "target/iscsi/login.h"
#include "target/iscsi/portal.h"
#include "target/iscsi/session.h"
#include "target/iscsi/task.h"
#include "target/worker/log.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
    READS_PER_TURN = 4, /* a busy connection lets the others of its worker have their turn */
    /* Data that is received in place is mostly followed by more of its kind: of a long one's
     * successor only so much is received that would have to be copied to its place. */
    LONG_DATA_BYTES = 192 * 1024,
    AHEAD_BYTES = 4096,
    HEAD_MAX = BHS_BYTES + AHS_MAX_BYTES + DIGEST_BYTES,
    TOO_EARLY_MAX = 16 * 1024,
};

_Static_assert((int)HEAD_MAX <= (int)BUFFER_SMALL,
               "an incomplete header is kept in a small buffer");

int iscsi_worker_open(struct worker *worker)
{
    struct iscsi_worker *iscsi = calloc(1, sizeof *iscsi);

    if (iscsi) {
        iscsi->receive = malloc(RECEIVE_BYTES);
        iscsi->sink = malloc(RECEIVE_BYTES); /* costs address space until it is needed */
    }
    if (!iscsi || !iscsi->receive || !iscsi->sink) {
        if (iscsi)
            free(iscsi->receive);
        free(iscsi);
        return -ENOMEM;
    }
    LIST_INIT(&iscsi->conns);
    TAILQ_INIT(&iscsi->held.conns);
    LIST_INIT(&iscsi->session_list);
    worker->iscsi = iscsi;
    return 0;
}

void iscsi_worker_close(struct worker *worker)
{
    struct iscsi_worker *iscsi = worker->iscsi;

    if (!iscsi)
        return;
    task_free_spares(iscsi);
    free(iscsi->receive);
    free(iscsi->sink);
    free(iscsi);
    worker->iscsi = NULL;
}

static void address_text(const struct sockaddr_storage *address, char text[CONN_ADDRESS_TEXT])
{
    char host[INET6_ADDRSTRLEN] = "?";

    if (address->ss_family == AF_INET6) {
        const struct sockaddr_in6 *six = (const void *)address;
        if (IN6_IS_ADDR_V4MAPPED(&six->sin6_addr)) {
            inet_ntop(AF_INET, six->sin6_addr.s6_addr + 12, host, sizeof host);
            snprintf(text, CONN_ADDRESS_TEXT, "%s:%u", host, ntohs(six->sin6_port));
        } else {
            inet_ntop(AF_INET6, &six->sin6_addr, host, sizeof host);
            snprintf(text, CONN_ADDRESS_TEXT, "[%s]:%u", host, ntohs(six->sin6_port));
        }
    } else {
        const struct sockaddr_in *four = (const void *)address;
        inet_ntop(AF_INET, &four->sin_addr, host, sizeof host);
        snprintf(text, CONN_ADDRESS_TEXT, "%s:%u", host, ntohs(four->sin_port));
    }
}

static void conn_readable(struct ev_loop *loop, ev_io *watcher, int events);
static void conn_timer(struct ev_loop *loop, ev_timer *timer, int events);
static void conn_turn_end(struct turn_end *turn_end);

void conn_open(struct worker *worker, struct portals *portals, int fd,
               const struct sockaddr_storage *peer, const struct sockaddr_storage *local)
{
    struct iscsi_worker *iscsi = iscsi_of(worker);
    struct conn *conn = calloc(1, sizeof *conn);

    if (!conn || (!iscsi && iscsi_worker_open(worker) != 0)) {
        log_peer("refused a connection: out of memory");
        free(conn);
        close(fd);
        portals_login_over(portals);
        portals_conn_closed(portals, worker);
        return;
    }
    conn->worker = worker;
    conn->portals = portals;
    conn->fd = fd;
    conn->state = CONN_XPT_UP; /* T3 */
    conn->peer = *peer;
    conn->local = *local;
    address_text(peer, conn->peer_text);
    address_text(local, conn->local_text);
    conn->turn_end.run = conn_turn_end;
    conn_send_open(conn);
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);

    ev_io_init(&conn->readable, conn_readable, fd, EV_READ);
    ev_init(&conn->timer, conn_timer);
    conn->timer.repeat = portals_settings(portals)->login_timeout_s;
    ev_timer_again(worker->loop, &conn->timer);
    ev_io_start(worker->loop, &conn->readable);
    conn->last_heard = ev_now(worker->loop);
    LIST_INSERT_HEAD(&iscsi_of(worker)->conns, conn, link);
    log_debug("connection from %s to %s", conn->peer_text, conn->local_text);
}

void conn_close(struct conn *conn, const char *reason)
{
    if (conn->is_closing)
        return;
    conn->is_closing = true;
    if (!conn->close_reason)
        conn->close_reason = reason;
    ev_io_stop(conn->worker->loop, &conn->readable);
    worker_at_turn_end(conn->worker, &conn->turn_end);
}

void conn_close_when_sent(struct conn *conn, const char *reason)
{
    conn->is_draining = true;
    conn->close_reason = reason;
    ev_io_stop(conn->worker->loop, &conn->readable);
    /* an initiator that does not read its last answer must not keep the connection for ever */
    conn->timer.repeat = portals_settings(conn->portals)->login_timeout_s;
    ev_timer_again(conn->worker->loop, &conn->timer);
    conn_has_output(conn);
}

void conn_broke(struct conn *conn, int error, const char *otherwise)
{
    conn_close(conn, error == EPIPE || error == ECONNRESET ? "the initiator closed the connection"
                                                           : otherwise);
}

static void drop_received(struct conn *conn)
{
    buffer_put(conn->worker->buffers, conn->head);
    buffer_put(conn->worker->buffers, conn->data_buffer);
    conn->head = conn->data_buffer = NULL;
    conn->data = NULL;
}

static void conn_free(struct conn *conn)
{
    struct worker *worker = conn->worker;
    struct session *session = conn->session;

    if (conn->is_draining && conn->close_reason == NULL)
        conn->close_reason = "closed";
    if (session)
        log_info("session ended initiator=%s target=%s from=%s: %s",
                 session->entry.view.initiator_name,
                 session->is_discovery ? "(discovery)" : session->entry.view.target_name,
                 conn->peer_text, conn->close_reason);
    else
        log_debug("connection from %s closed: %s", conn->peer_text, conn->close_reason);

    ev_io_stop(worker->loop, &conn->readable);
    ev_timer_stop(worker->loop, &conn->timer);
    worker_not_at_turn_end(worker, &conn->turn_end);
    if (!session)
        portals_login_over(conn->portals);
    if (conn->login)
        login_free(conn->login);
    if (session) {
        session->conn = NULL;
        session_end(session);
    }
    drop_received(conn);
    conn_send_close(conn);
    close(conn->fd);
    LIST_REMOVE(conn, link);
    portals_conn_closed(conn->portals, worker);
    free(conn);
}

static void conn_turn_end(struct turn_end *turn_end)
{
    struct conn *conn = (struct conn *)((char *)turn_end - offsetof(struct conn, turn_end));

    conn_send_all(conn);
    if (conn->is_closing)
        conn_free(conn);
}

/* ---- receiving ---- */

static uint32_t receive_segment_max(const struct conn *conn)
{
    return conn->session ? conn->session->parameters.max_receive_segment_bytes : LOGIN_SEGMENT_MAX;
}

/* What follows the header on the wire: data, padding, digest. */
static uint32_t data_wire_bytes(const struct conn *conn)
{
    uint32_t len = conn->pdu.data_segment_length;

    return len ? pdu_padded(len) + conn->data_digest_bytes : 0;
}

static bool is_data_digest_wrong(const struct conn *conn, const uint8_t *data, const uint8_t *tail)
{
    uint32_t len = conn->pdu.data_segment_length, padding = pdu_padded(len) - len;

    if (!len || !conn->data_digest_bytes)
        return false;
    uint32_t crc = crc32c_update(CRC32C_INIT, data, len);
    crc = crc32c_update(crc, tail, padding);
    return !crc32c_matches(tail + padding, crc);
}

static void deliver(struct conn *conn, uint8_t *data, struct buffer *buffer, const uint8_t *tail)
{
    struct pdu_data received = {
        .bytes = data,
        .len = conn->pdu.data_segment_length,
        .buffer = buffer,
        .is_digest_wrong = !conn->is_data_dropped && is_data_digest_wrong(conn, data, tail),
        .is_dropped = conn->is_data_dropped,
    };
    conn->is_data_dropped = false;
    if (received.is_dropped && conn->pdu.opcode != PDU_SCSI_COMMAND &&
        conn->pdu.opcode != PDU_DATA_OUT) {
        conn_close(conn, "out of memory for what it sends");
        return;
    }
    conn_dispatch(conn, &received);
}

/*
 * The header of conn->pdu is complete; `left` bytes after it have been received as well. Delivers
 * the PDU if it is all there, otherwise finds memory for its data and takes what there is. Returns
 * how many of the bytes were used.
 */
static uint32_t take_data(struct conn *conn, uint8_t *bytes, uint32_t left)
{
    uint32_t len = conn->pdu.data_segment_length, wire = data_wire_bytes(conn);

    if (left >= wire) {
        deliver(conn, bytes, NULL, bytes + len);
        return wire;
    }
    /* a Data-Out goes where its task wants it; everything else gets a buffer that its handler may
     * keep */
    conn->data = NULL;
    if (conn->pdu.opcode == PDU_DATA_OUT && conn->session)
        conn->data = task_data_out_place(conn->session, &conn->pdu, &conn->data_buffer);
    if (!conn->data) {
        conn->data_buffer = buffer_get(conn->worker->buffers, task_buffer_bytes(conn));
        conn->is_data_dropped = !conn->data_buffer;
        conn->data = conn->data_buffer ? conn->data_buffer->bytes : iscsi_of(conn->worker)->sink;
    }
    uint32_t of_data = left < len ? left : len;
    memcpy(conn->data, bytes, of_data);
    memcpy(conn->tail, bytes + of_data, left - of_data);
    conn->data_got = left;
    return left;
}

static void data_complete(struct conn *conn)
{
    uint8_t *data = conn->data;
    struct buffer *buffer = conn->data_buffer;

    conn->data = NULL;
    conn->data_buffer = NULL;
    deliver(conn, data, buffer, conn->tail);
    buffer_put(conn->worker->buffers, buffer);
}

/* The length of the header whose first 48 bytes are at `bytes`. */
static uint32_t head_bytes(const struct conn *conn, const uint8_t *bytes)
{
    return BHS_BYTES + bytes[4] * 4U + conn->header_digest_bytes;
}

/* Parses a complete header. False: the connection is to be closed. */
static bool take_header(struct conn *conn, const uint8_t *bytes)
{
    uint32_t ahs_bytes = bytes[4] * 4U;

    if (conn->header_digest_bytes) {
        uint32_t crc = crc32c_update(CRC32C_INIT, bytes, BHS_BYTES + ahs_bytes);
        if (!crc32c_matches(bytes + BHS_BYTES + ahs_bytes, crc)) {
            /* RFC 7143 7.8: without recovery levels a header digest error ends the connection */
            conn_close(conn, "a header digest was wrong");
            return false;
        }
    }
    memcpy(conn->bhs, bytes, BHS_BYTES);
    conn->ahs = slice_of(bytes + BHS_BYTES, ahs_bytes);
    enum pdu_error error = pdu_parse(conn->bhs, &conn->pdu);
    if (conn->pdu.data_segment_length > receive_segment_max(conn)) {
        conn_close(conn, "a data segment was longer than our MaxRecvDataSegmentLength");
        return false;
    }
    if (error == PDU_INVALID_FIELD) {
        conn_close(conn, "a PDU's header made no sense");
        return false;
    }
    return true;
}

/* Takes PDUs off the bytes that were received; keeps an incomplete header for the next time. */
static void take_bytes(struct conn *conn, uint8_t *bytes, uint32_t len)
{
    uint32_t at = 0;

    while (!conn->is_closing && !conn->is_draining && !conn_is_paused(conn)) {
        uint32_t left = len - at;
        if (left < BHS_BYTES)
            break;
        uint32_t head = head_bytes(conn, bytes + at);
        if (left < head)
            break;
        if (!take_header(conn, bytes + at))
            return;
        at += head;
        at += take_data(conn, bytes + at, len - at);
        if (conn->data)
            return;
        conn_send_half(conn);
    }
    uint32_t rest = len - at;
    if (rest == 0 || conn->is_closing || conn->is_draining)
        return;
    /* an incomplete header, or (while login waits) PDUs that came too early */
    if (rest > TOO_EARLY_MAX) {
        conn_close(conn, "it sent commands before its login was answered");
        return;
    }
    conn->head = buffer_get(conn->worker->buffers, rest < HEAD_MAX ? HEAD_MAX : rest);
    if (!conn->head) {
        conn_close(conn, "out of memory for what it sends");
        return;
    }
    memcpy(conn->head->bytes, bytes + at, rest);
    conn->head->len = rest;
}

/* Puts what was kept of an incomplete header before what comes next. */
static uint32_t restore_head(struct conn *conn, uint8_t *receive)
{
    struct buffer *head = conn->head;

    if (!head)
        return 0;
    uint32_t len = head->len;
    memcpy(receive, head->bytes, len);
    conn->head = NULL;
    buffer_put(conn->worker->buffers, head);
    return len;
}

enum received {
    RECEIVED_NOTHING,
    RECEIVED_LESS, /* than asked for: the socket was empty then */
    RECEIVED_ALL,
};

/* One recv, and what it brings. */
static enum received receive_once(struct conn *conn)
{
    uint8_t *receive = iscsi_of(conn->worker)->receive;
    uint32_t kept = conn->data ? 0 : restore_head(conn, receive);
    uint32_t len = conn->pdu.data_segment_length, wire = 0;
    struct iovec iov[3];
    uint32_t room = RECEIVE_BYTES - kept;
    int count = 0;

    if (conn->data) {
        wire = data_wire_bytes(conn);
        if (len >= LONG_DATA_BYTES)
            room = AHEAD_BYTES;
        if (conn->data_got < len)
            iov[count++] = (struct iovec){ conn->data + conn->data_got, len - conn->data_got };
        uint32_t tail_got = conn->data_got > len ? conn->data_got - len : 0;
        if (wire > len)
            iov[count++] = (struct iovec){ conn->tail + tail_got, wire - len - tail_got };
    }
    iov[count++] = (struct iovec){ receive + kept, room };
    size_t asked = room + (conn->data ? wire - conn->data_got : 0);
    struct msghdr message = { .msg_iov = iov, .msg_iovlen = (size_t)count };
    ssize_t got = recvmsg(conn->fd, &message, MSG_DONTWAIT);
    if (got <= 0) {
        if (kept)
            take_bytes(conn, receive, kept);
        if (got == 0)
            conn_close(conn, "the initiator closed the connection");
        else if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)
            conn_broke(conn, errno, "the connection broke");
        return RECEIVED_NOTHING;
    }
    conn_note_received(conn, (size_t)got);
    uint32_t fresh = (uint32_t)got;
    if (conn->data) {
        uint32_t of_data = wire - conn->data_got < fresh ? wire - conn->data_got : fresh;
        conn->data_got += of_data;
        fresh -= of_data;
        if (conn->data_got < wire)
            return RECEIVED_LESS;
        data_complete(conn);
    }
    if (kept + fresh)
        take_bytes(conn, receive, kept + fresh);
    return (size_t)got == asked ? RECEIVED_ALL : RECEIVED_LESS;
}

static void conn_readable(struct ev_loop *loop, ev_io *watcher, int events)
{
    struct conn *conn = (struct conn *)((char *)watcher - offsetof(struct conn, readable));

    (void)events;
    conn->last_heard = ev_now(loop);
    if (conn->is_ping_out) {
        conn->is_ping_out = false;
        conn_start_keepalive(conn);
    }
    conn_begin_turn(conn);
    conn->is_reading = true;
    for (int i = 0; i < READS_PER_TURN; i++) {
        enum received received = receive_once(conn);

        if (received == RECEIVED_NOTHING || conn->is_closing || conn->is_draining ||
            conn_is_paused(conn))
            break;
        if (received == RECEIVED_LESS && !conn_waits_for_half(conn))
            break;
    }
    conn->is_reading = false;
    if (conn->is_closing)
        return; /* queued for the end of the turn already */
    if (!send_queue_is_empty(&conn->send) || conn->is_draining) {
        conn_send_soon(conn);
        /* an initiator that sends and does not read waits until it does */
        if (conn->send.queued_bytes >= SEND_HIGH_WATER)
            ev_io_stop(loop, &conn->readable);
    }
}

void conn_pause_reading(struct conn *conn)
{
    conn->is_paused = true;
    ev_io_stop(conn->worker->loop, &conn->readable);
}

void conn_resume_reading(struct conn *conn)
{
    conn->is_paused = false;
    if (conn->is_closing || conn->is_draining)
        return;
    ev_io_start(conn->worker->loop, &conn->readable);
    if (conn->head) /* whole PDUs may stand there, and nothing more may come */
        ev_feed_event(conn->worker->loop, &conn->readable, EV_READ);
}

/* ---- time ---- */

void conn_start_keepalive(struct conn *conn)
{
    const struct portal_settings *settings = portals_settings(conn->portals);

    ev_timer_stop(conn->worker->loop, &conn->timer);
    conn->timer.repeat = settings->nop_interval_s;
    if (settings->nop_interval_s)
        ev_timer_again(conn->worker->loop, &conn->timer);
}

static void conn_timer(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct conn *conn = (struct conn *)((char *)timer - offsetof(struct conn, timer));
    const struct portal_settings *settings = portals_settings(conn->portals);

    (void)events;
    if (conn->is_draining) {
        conn_close(conn, conn->close_reason);
        return;
    }
    if (conn->state != CONN_LOGGED_IN) {
        conn_close(conn, "login took too long");
        return;
    }
    ev_tstamp silent = ev_now(loop) - conn->last_heard;
    if (conn->is_ping_out) {
        conn_close(conn, "the initiator did not answer a ping");
    } else if (silent + 0.001 < settings->nop_interval_s) {
        timer->repeat = settings->nop_interval_s - silent;
        ev_timer_again(loop, timer);
    } else {
        session_ping(conn->session);
        conn->is_ping_out = true;
        timer->repeat = settings->nop_timeout_s;
        ev_timer_again(loop, timer);
    }
}
