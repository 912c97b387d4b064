/*
 * session: an iSCSI session in full feature phase; for SCSI, an I_T nexus.
 *
 * Thread    its worker's.
 * Owns      its tasks, its place in the session table, its nexus, the ref on its node.
 * Ends      session_end(): aborts every task, and goes when the last one is dead. Until then it
 * stays in the session table, so that the session that reinstates it waits (RFC 7143 6.3.5). One
 * connection a session (MaxConnections=1), ErrorRecoveryLevel 0. RFC 7143  4.2.2 (numbering), 4.2.3
 * (tasks), 11.
 */
#pragma once

#include "proto/iscsi_keys.h"
#include "target/iscsi/conn.h"
#include "target/iscsi/node.h"
#include "target/iscsi/session_table.h"
#include "target/scsi/nexus.h"

enum {
    SESSION_WINDOW = 256,   /* non-immediate commands that may be in flight */
    SESSION_IMMEDIATE = 64, /* immediate ones; past that they are rejected */
    SESSION_TAG_BUCKETS = 64,
};

struct task;
struct held_pdu;
TAILQ_HEAD(task_list, task);

/* What was agreed at login. */
struct session_parameters {
    bool initial_r2t, immediate_data;
    uint32_t max_burst_bytes, first_burst_bytes;
    uint32_t max_send_segment_bytes;    /* their MaxRecvDataSegmentLength */
    uint32_t max_receive_segment_bytes; /* ours, as declared */
    uint32_t max_outstanding_r2t;
    uint16_t time2wait, time2retain;
};

struct session {
    struct session_entry entry; /* its place in the table: names, ISID, TSIH, counters */
    struct worker *worker;
    struct conn *conn; /* NULL once the connection is gone */
    struct node *node; /* NULL in a discovery session */
    struct node_access *access;
    bool is_discovery, is_ending;
    struct nexus nexus; /* normal sessions only */
    struct session_parameters parameters;

    uint32_t exp_cmd_sn, max_cmd_sn;
    unsigned in_flight;           /* non-immediate commands, which the window counts */
    unsigned immediate_in_flight; /* and the others */
    unsigned task_count, management_count;
    uint32_t next_transfer_tag;
    struct task_list tasks;
    struct task *buckets[SESSION_TAG_BUCKETS]; /* by initiator task tag */
    struct task_list waiting_for_room;         /* Data-In that the send queue had no room for */
    struct task_list waiting_for_memory;       /* Data-Out that there was no buffer for */
    ev_timer memory_retry;
    uint64_t solicited_bytes; /* memory promised to data that was asked for */
    bool is_in_turn; /* a numbered PDU is running: if it is rejected, its number is free again */
    struct held_pdu *held; /* came before its turn, ascending CmdSN */
    unsigned held_count;
    bool has_aborted_receiving; /* Data-Out of tasks that are gone may still come, and is dropped */

    struct text_exchange *text; /* a text negotiation that is under way; NULL mostly */
    LIST_ENTRY(session) link;
};

/* Made by login, zeroed but for what login knows; `entry` is claimed already. 0 or -ENOMEM. */
int session_start(struct session *session, struct conn *conn);

/* The connection is gone (session->conn is NULL). The session may be freed before this returns. */
void session_end(struct session *session);

/* The handlers of the state table, for one PDU each. */
void session_scsi_command(struct conn *conn, struct pdu_data *data);
void session_data_out(struct conn *conn, struct pdu_data *data);
void session_task_management(struct conn *conn, struct pdu_data *data);
void session_nop_out(struct conn *conn, struct pdu_data *data);
void session_text(struct conn *conn, struct pdu_data *data);
void session_logout(struct conn *conn, struct pdu_data *data);

/* There is room in the send queue again. */
void session_room(struct session *session);

/* A ping to an initiator that has been silent, RFC 7143 11.19. */
void session_ping(struct session *session);

/* ---- for the files of this room ---- */

/* ExpCmdSN and MaxCmdSN as every PDU of ours carries them. */
struct session_numbers {
    uint32_t exp_cmd_sn, max_cmd_sn;
};

/*
 * The window opens as tasks end: what may be in flight is what was ever announced, so that MaxCmdSN
 * never goes back (RFC 7143 4.2.2.1).
 */
static inline struct session_numbers session_numbers(struct session *session)
{
    uint32_t max = session->exp_cmd_sn + SESSION_WINDOW - 1 - session->in_flight;

    if ((int32_t)(max - session->max_cmd_sn) > 0)
        session->max_cmd_sn = max;
    return (struct session_numbers){ session->exp_cmd_sn, session->max_cmd_sn };
}

/* For R2Ts, pings and texts: unique in the session as long as one is in use. */
static inline uint32_t session_next_transfer_tag(struct session *session)
{
    if (session->next_transfer_tag == TAG_RESERVED)
        session->next_transfer_tag = 0;
    return session->next_transfer_tag++;
}

/* a < b in the serial arithmetic of RFC 1982, as RFC 7143 4.2.2.1 wants it. */
static inline bool serial_before(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b) < 0;
}

/* A task begins, which the window counts; and it goes on, and can be found. Once is enough. */
void session_count_task(struct session *session, struct task *task);
void session_list_task(struct session *session, struct task *task);
struct task *session_find_task(struct session *session, uint32_t initiator_task_tag);

/* A task (or a task management request) is over; frees an ending session that has none left. */
void session_remove_task(struct session *session, struct task *task);
void session_remove_management(struct session *session);

/* ---- session_order.c: CmdSN ---- */

/* What to do with one PDU when its turn has come. `data` is as it was received. */
typedef void session_run(struct session *session, const struct pdu *pdu, struct slice ahs,
                         struct pdu_data *data);

/*
 * Runs a PDU that carries a CmdSN: now if it is its turn (or immediate), later if others must come
 * first, never if its number is outside the window (RFC 7143 4.2.2.1).
 */
void session_in_order(struct session *session, struct pdu_data *data, session_run *run);

/*
 * ABORT TASK for a command that has not had its turn: held, or never come (RFC 7143 11.5.1: its
 * number counts as used then, so that the ones behind it go on).
 */
void session_cancel_in_order(struct session *session, uint32_t referenced_tag, uint32_t ref_cmd_sn);

/* The same for all commands before `cmd_sn`: of one LUN, or of every LUN. */
void session_cancel_held(struct session *session, uint32_t cmd_sn, bool is_every_lun, uint64_t lun);

/* Data-Out for a command that is being held is held with it. True: it is. */
bool session_hold_with_command(struct session *session, struct pdu_data *data, session_run *run);
void session_drop_held(struct session *session);
