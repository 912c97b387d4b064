/*
 * session_table: every session of the process: to find the one that a login reinstates, to number
 * them (TSIH), to show and to drop them.
 *
 * Thread    any; under one mutex, which no caller holds across anything else. An entry belongs to
 * its session and stays in the table until the session's last task is dead, so that a new session
 *           of the same I_T nexus cannot start beside it (RFC 7143 6.3.5).
 */
#pragma once

#include "target/scsi/nexus.h"
#include "target/worker/worker.h"

struct session;

struct session_view {
    uint16_t tsih;
    uint64_t id;
    bool is_discovery;
    uint8_t isid[6];
    char initiator_name[INITIATOR_NAME_MAX + 1];
    char initiator_alias[256];
    char target_name[INITIATOR_NAME_MAX + 1];
    char address[64], portal[64]; /* "192.168.10.7:51234", "[fd00::7]:51234" */
    unsigned worker;
    int64_t since_unix_s;
    bool has_header_digest, has_data_digest;
    char auth[16]; /* "none", "chap", "chap+mutual" */
    uint64_t commands, read_bytes, written_bytes;
};

/* What a session has in the table. `view` is written before session_table_claim() and then only
 * read. */
struct session_entry {
    struct session_view view;
    struct worker *worker;
    uint16_t cid;
    _Atomic uint64_t commands, read_bytes, written_bytes; /* written by its worker alone */
    struct session_waiter *waiters;                       /* logins that reinstate it */
    unsigned moves; /* reinstatements from another address in a row, since moves_since_s */
    int64_t moves_since_s;
    TAILQ_ENTRY(session_entry) link;
};

/* A login that waits for the session which it reinstates to be gone. Its owner frees it in run().
 */
struct session_waiter {
    struct message message; /* posted to `worker` when there is no such session any more */
    struct worker *worker;
    struct session_waiter *next;
};

enum session_claim {
    SESSION_CLAIMED, /* the entry is in the table, with a TSIH and an id */
    SESSION_WAIT,    /* the old session has been told to end; the waiter will be posted */
    SESSION_TOO_MANY,
};

/*
 * Puts the entry in the table, unless a session of the same I_T nexus (initiator name, ISID,
 * target) is still there: that one is told to end, RFC 7143 6.3.5. A discovery session never waits.
 */
enum session_claim session_table_claim(struct session_entry *entry, unsigned max_sessions,
                                       struct session_waiter *waiter);

/* The session is over: its last task is dead. Posts who waited for that. */
void session_table_remove(struct session_entry *entry);

/* Is there a normal session with this TSIH for this initiator port? (RFC 7143 6.3.1) */
bool session_table_has(uint16_t tsih, const char *initiator_name, const uint8_t isid[6]);

/* Copies what is there, oldest first; the caller frees *views. 0 or -ENOMEM. */
int session_table_list(struct session_view **views, unsigned *count);

/*
 * Asks the session to end (its worker closes the connection). -ENOENT when there is none, -ENOMEM.
 */
int session_table_drop(uint16_t tsih);

/* How many normal sessions are logged in to this target (NULL: to any). */
unsigned session_table_count(const char *target_name);

/* Ends the session with this id if it lives on this worker; session.c's, called on that worker. */
void session_drop_by_id(struct worker *worker, uint64_t id, const char *reason);
