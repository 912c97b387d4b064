/*
 * conn: one TCP connection, from accept to close.
 *
 * Thread    the worker that it was given to; every call comes from there.
 * Owns      its socket, what has been received of the next PDU, its send queue, its login. Not its
 *           session: that may outlive it until the session's last task is dead.
 * Ends      conn_close(), which only marks it: the socket is closed and the memory freed at the end
 *           of the loop turn, so that it may be called from anywhere, its own callbacks included.
 * Calls     through the table of conn_states.c, whole PDUs, in order.
 *
 * RFC 7143 7.7 (framing errors), 8.1 (states), 11 (formats). conn.c receives, conn_send.c sends.
 */
#pragma once

#include "proto/pdu.h"
#include "target/iscsi/conn_states.h"
#include "target/iscsi/send_queue.h"
#include "target/worker/worker.h"

#include <netinet/in.h>

struct login;
struct session;
struct portals;

enum { CONN_ADDRESS_TEXT = 64 };

/* A PDU's data segment as it was received. */
struct pdu_data {
    uint8_t *bytes;
    uint32_t len;
    /* The pool buffer that `bytes` stands in, which a handler may keep by buffer_ref(); NULL: the
     * bytes are good only until the handler returns. */
    struct buffer *buffer;
    bool is_digest_wrong;
    bool is_dropped; /* there was no memory for it: `bytes` is nonsense, only its length counts */
};

struct conn {
    struct worker *worker;
    struct portals *portals;
    int fd;
    enum conn_state state;
    bool is_closing;  /* to be closed at the end of this turn */
    bool is_reading;  /* inside conn_readable(): what is queued will be flushed there */
    bool is_draining; /* close once what is queued has been sent */
    uint8_t header_digest_bytes, data_digest_bytes; /* DIGEST_BYTES, or none: 0 */
    bool is_ping_out;
    bool is_paused; /* login waits for a session to end: what comes is not looked at */
    const char *close_reason;
    struct sockaddr_storage peer, local;
    char peer_text[CONN_ADDRESS_TEXT], local_text[CONN_ADDRESS_TEXT];

    ev_io readable, writable;
    ev_timer timer; /* login time-out, then keepalive */
    ev_tstamp last_heard;
    struct turn_end turn_end;
    LIST_ENTRY(conn) link;

    struct send_queue send;
    bool is_half_out; /* in this turn; see conn_send_half() */
    bool is_held; /* its answers wait for another connection's, at most until the end of the turn */
    TAILQ_ENTRY(conn) held_link;
    uint32_t stat_sn;
    uint32_t sent_stat_sn; /* of the first answer that has not been sent */
    uint32_t depth[2];     /* the most commands under way at once: in this turn, in the last */

    struct login *login;     /* until full feature phase */
    struct session *session; /* from then on */

    /* the PDU that is being received */
    struct buffer *head; /* an incomplete header, kept between two reads */
    struct pdu pdu;
    struct slice ahs;
    uint8_t bhs[BHS_BYTES];
    uint8_t *data; /* where its data segment goes; NULL while a header is awaited */
    struct buffer *data_buffer;
    bool is_data_dropped; /* there was no memory for it */
    uint32_t data_got;    /* of the data segment, its padding and its digest */
    uint8_t tail[8];      /* padding and data digest */
};

LIST_HEAD(conn_list, conn);

/* Connections whose answers are held, and what has been held and received since the first was. */
struct held {
    TAILQ_HEAD(, conn) conns;
    unsigned count;
    uint64_t answers, bytes;
};

/* What one worker keeps for this room; worker->iscsi. */
struct iscsi_worker {
    struct conn_list conns;
    uint8_t *receive; /* RECEIVE_BYTES, shared by all connections: it is empty between two turns */
    uint8_t *sink; /* RECEIVE_BYTES where data goes that there is no memory for; nobody reads it */
    struct task *free_tasks;
    struct out_piece *free_pieces;
    unsigned sessions;
    uint64_t turn_ns;     /* the turn that `readable` is of: its worker's now_ns */
    unsigned readable[2]; /* connections that had something to read: in this turn, in the last */
    struct held held;
    LIST_HEAD(, session) session_list;
    struct session_drain_part *drains; /* who waits for sessions to be gone */
};

enum {
    RECEIVE_BYTES = 256 * 1024,
    /* What we declare as MaxRecvDataSegmentLength comes from the key table; before login has
     * settled it is RFC 7143 13.12's default. */
    LOGIN_SEGMENT_MAX = 8192,
    SEND_HIGH_WATER = 512 * 1024, /* queued bytes past which no more data is put in the queue */
};

int iscsi_worker_open(struct worker *worker); /* on that worker's thread; 0 or -ENOMEM */
void iscsi_worker_close(struct worker *worker);

static inline struct iscsi_worker *iscsi_of(struct worker *worker)
{
    return worker->iscsi;
}

/* Takes over the socket. On failure it is closed and nothing is left. */
void conn_open(struct worker *worker, struct portals *portals, int fd,
               const struct sockaddr_storage *peer, const struct sockaddr_storage *local);

/* Ends the connection at the end of this turn; `reason` (a literal) is logged. The first one
 * counts. */
void conn_close(struct conn *conn, const char *reason);

/* A call on the socket gave this errno; `otherwise` is the reason unless the initiator is gone. */
void conn_broke(struct conn *conn, int error, const char *otherwise);

/* Ends it once everything queued has been sent: after a login refusal or a logout. */
void conn_close_when_sent(struct conn *conn, const char *reason);

/* ---- sending, conn_send.c ---- */

void conn_send_open(struct conn *conn);  /* its socket is there */
void conn_send_close(struct conn *conn); /* forgets what was not sent */

/*
 * Queues a PDU, whose length is set here, with `data` behind it (copied), padded and digested.
 * Without memory the connection is closed.
 */
void conn_send(struct conn *conn, struct pdu *pdu, const void *data, uint32_t len);

/* Answers a PDU that is not taken with Reject, its header as data (RFC 7143 11.17). */
void conn_reject(struct conn *conn, enum reject_reason reason);

/* It has something to read; what was counted in the turn becomes the last one's. */
void conn_begin_turn(struct conn *conn);

/* It has brought so much, which is yet to be worked on: where that is long, held answers leave. */
void conn_note_received(struct conn *conn, size_t bytes);

/* The initiator has so many commands under way, as far as it knows; see half_is_answered(). */
void conn_note_depth(struct conn *conn, uint32_t commands);

/* Something was queued: it will leave at the end of this turn at the latest. */
void conn_has_output(struct conn *conn);

/* Sends what is queued now, as far as the socket takes it. is_more_coming: more follows at once. */
void conn_flush(struct conn *conn, bool is_more_coming);

/* After each PDU: half of what was asked may leave now. */
void conn_send_half(struct conn *conn);

/*
 * A half has left in this turn, so that the initiator is at work, and the next one is not whole: it
 * is worth another look for more commands before the few answers that there are leave.
 */
bool conn_waits_for_half(const struct conn *conn);

/* Sends what is queued, as far as the socket takes it, and goes on with what waited for room. */
void conn_send_all(struct conn *conn);

/* The same, for what a readable turn of this connection has brought; it may be held until another
 * connection of this turn has had its own, in the order in which they came. */
void conn_send_soon(struct conn *conn);

/* The socket is full; session_room() follows when it is not. */
static inline bool conn_is_blocked(const struct conn *conn)
{
    return ev_is_active(&conn->writable);
}

/* May more data be queued? Tries to send first; when it says no, session_room() follows. */
bool conn_has_room(struct conn *conn);

/* ---- receiving and time, conn.c ---- */

static inline bool conn_is_paused(const struct conn *conn)
{
    return conn->is_paused;
}

/* Login is waiting for something else: read no more until conn_resume_reading(). */
void conn_pause_reading(struct conn *conn);
void conn_resume_reading(struct conn *conn);

/* Full feature phase: keepalive instead of the login time-out. */
void conn_start_keepalive(struct conn *conn);
