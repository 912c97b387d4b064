/*
 * task: iSCSI's half of a SCSI command: its tag, its data transfer, its answer.
 *
 * Thread    its session's worker.
 * Owns      its Data-Out pieces; embeds the SCSI half (struct command), which belongs to the device
 *           server from command_start() until finished().
 * Ends      with its answer, when command_finish() has come and everything that was solicited from
 * the initiator has arrived (RFC 7143 11.4.2); or silently, when it was aborted. RFC
 * 7143  4.2.3, 11.3, 11.4, 11.7, 11.8.
 */
#pragma once

#include "target/iscsi/session.h"
#include "target/scsi/command.h"

struct management;

enum {
    /* One piece of Data-Out memory; a longer write holds TASK_PIECES of them. */
    TASK_PIECE_BYTES = 256 * 1024,
    TASK_PIECES = 8,
    TASK_SEQUENCES = 16, /* the most that MaxOutstandingR2T is agreed to */
};

/* A contiguous piece of Data-Out on its way to the device server. */
struct out_piece {
    struct burst burst;
    struct task *task;
    uint32_t room_bytes;      /* how much memory there is at burst.data */
    uint32_t solicited_bytes; /* what its session's account carries for it */
    bool is_with_device;      /* command_out() has been called */
    struct out_piece *next;   /* in a list of spares */
    TAILQ_ENTRY(out_piece) link;
};

/* A run of Data-Out that the initiator has announced or been asked for. */
struct out_sequence {
    uint32_t transfer_tag; /* TAG_RESERVED: unsolicited */
    uint32_t end;          /* offset in the transfer */
};

struct task {
    struct session *session;
    uint32_t tag; /* initiator task tag */
    uint64_t lun;
    bool is_immediate, has_read, has_write;
    bool is_finished;  /* the device server is done with it */
    bool is_aborted;   /* nothing may be answered */
    bool is_busy;      /* inside command_start() or command_out(): settled by whoever called that */
    bool has_answered; /* its status left with the last Data-In */
    bool has_left_window; /* the session counts it no more */
    bool is_listed;       /* its session can find it: it has outlived the call that began it */
    bool is_waiting_for_room, is_waiting_for_memory;
    bool is_failed; /* the transport ends it: with `failure`, or TASK SET FULL without one */
    enum sense_code failure;
    struct management *management; /* an ABORT TASK that waits for it */
    uint32_t expected_bytes;       /* Expected Data Transfer Length */

    /* Data-In */
    uint32_t in_bytes;       /* handed to the send queue so far */
    uint32_t in_burst_bytes; /* of them in the burst that is under way */
    uint32_t in_open_bytes;  /* of the last segment, whose data was sent in part; see in_direct() */
    uint32_t data_sn;        /* of the next Data-In */

    /* Data-Out */
    bool is_wanted;           /* the device server has asked */
    bool is_unsolicited_open; /* the first burst is still coming */
    uint32_t out_wanted_bytes, out_piece_bytes;
    uint32_t out_received_bytes; /* all data before this offset has come */
    uint32_t out_asked_bytes;    /* and been announced or asked for before this one */
    uint32_t r2t_sn, next_data_sn;
    unsigned sequence_first, open_count;
    unsigned piece_count;
    TAILQ_HEAD(, out_piece) pieces; /* in order of offset */

    struct task *hash_next, *next_spare;
    TAILQ_ENTRY(task) link;
    TAILQ_ENTRY(task) waiting_link;

    /* a new task is zeroed up to the CDB in here; what stands behind that is large */
    struct command command;
    struct out_sequence sequences[TASK_SEQUENCES]; /* open_count of them, a ring, oldest first */
};

/* One SCSI Command PDU whose turn has come. */
void task_start(struct session *session, const struct pdu *pdu, struct slice ahs,
                struct pdu_data *data);

/* One Data-Out PDU. */
void task_data_out(struct session *session, const struct pdu *pdu, struct slice ahs,
                   struct pdu_data *data);

/*
 * Where the data of this Data-Out goes, so that it is received in place; NULL: it does not fit, or
 * nobody waits for it. *holder gets one ref on the buffer.
 */
uint8_t *task_data_out_place(struct session *session, const struct pdu *pdu,
                             struct buffer **holder);

/* How large a buffer the data of conn->pdu wants, which has come only in part. */
uint32_t task_buffer_bytes(const struct conn *conn);

/* There is room for its Data-In, or memory for its Data-Out. */
void task_room(struct task *task);
void task_memory(struct task *task);

/* ABORT TASK and the session's end: nothing is answered. May free the task before it returns. */
void task_abort(struct task *task);

/* The pieces of the transport vtable, in task_data_in.c and task_data_out.c. */
int task_in_reserve(struct command *command, uint32_t bytes, struct iovec *iov, int iov_cap);
void task_in_commit(struct command *command, const struct iovec *iov, int iov_count, bool is_last);
void task_in_buffer(struct command *command, struct buffer *buffer, uint32_t bytes, bool is_last);
bool task_in_takes_direct(struct command *command);
uint32_t task_in_direct(struct command *command, command_sender *sender, uint32_t bytes,
                        bool is_last);
void task_in_direct_rest(struct command *command, struct buffer *buffer, uint32_t bytes,
                         bool is_last);
bool task_in_has_room(struct command *command, bool will_be_direct);
void task_out_want(struct command *command, uint32_t bytes, uint32_t piece_bytes);
int task_out_keep(struct command *command, struct burst *burst);
void task_out_done(struct command *command, struct burst *burst);

static inline struct task *task_of(struct command *command)
{
    return (struct task *)((char *)command - offsetof(struct task, command));
}

/* Before its last PDU is built: the window which that tells counts the task as gone. */
void task_leave_window(struct task *task);

/* What the answer says of the data that did not move, RFC 7143 11.4.5. */
struct residual task_residual(const struct task *task);

/* The unsolicited data that came with the command (or follows it). False: the connection is closed.
 */
bool task_out_begin(struct task *task, const struct pdu *pdu, struct pdu_data *data);

/* Is Data-Out still awaited that the initiator was asked for? */
static inline bool task_is_receiving(const struct task *task)
{
    return task->open_count > 0;
}

/* Asks for what is missing and hands over what is complete. Settles the task: it may be gone after.
 */
void task_out_advance(struct task *task);

/* Drops every piece; the device server holds none. */
void task_out_drop(struct task *task);

/* The transport cannot carry it through: TASK SET FULL for SENSE_NONE, CHECK CONDITION otherwise.
 */
void task_fail(struct task *task, enum sense_code code);

/* Answers and frees it, if everything that must come has come. */
void task_settle(struct task *task);

void task_free_spares(struct iscsi_worker *iscsi);
