/*
 * session_table: every session of the process: to find the one that a login reinstates, to number them
 * (TSIH), to show and to drop them.
 *
 * Thread    any; under one mutex, which no caller holds across anything else. An entry belongs to its
 *           session and stays in the table until the session's last task is dead, so that a new session
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

/* Copies what is there, oldest first; the caller frees *views. 0 or -ENOMEM. */
int session_table_list(struct session_view **views, unsigned *count);

/*
 * Asks the session to end (its worker closes the connection). -ENOENT when there is none.
 */
int session_table_drop(uint16_t tsih);

/* How many normal sessions are logged in to this target (NULL: to any). */
unsigned session_table_count(const char *target_name);
