/*
 * path: an ESX host's way to a LUN: one session of one connection, one command at a time.
 *
 * An initiator of its own rather than a library's, because these tests must know for each command
 * whether it was done, was not done, or may have been: see enum path_result. All data goes as
 * immediate data or comes as Data-In, at most PATH_DATA_BYTES, so there are no R2Ts. Pings of the
 * target are answered while a command waits.
 *
 * Thread  any, one at a time.
 * RFC 7143  11.3 (command), 11.4 (response), 11.7 (data), 11.5 (task management), 11.12 (login).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    PATH_BLOCK_BYTES = 512,
    PATH_DATA_BYTES = 64 * 1024,

    STATUS_GOOD = 0x00,
    STATUS_CHECK_CONDITION = 0x02,
    STATUS_BUSY = 0x08,
    STATUS_RESERVATION_CONFLICT = 0x18,
    STATUS_TASK_SET_FULL = 0x28,

    TMF_ABORT_TASK = 1,
    TMF_LUN_RESET = 5,
    TMF_TARGET_WARM_RESET = 6,
};

enum path_result {
    PATH_ANSWERED, /* status and sense say what happened */
    PATH_ABORTED,  /* never answered; ABORT TASK was: it may have been done, but no more */
    PATH_LOST,     /* the connection is gone: it may have been done, or may be yet */
};

struct path_answer {
    uint8_t status, sense_key, asc, ascq;
    bool has_information;
    uint32_t information; /* COMPARE AND WRITE: the offset of the first difference */
    uint32_t data_bytes;  /* that came */
};

/* Where a command is cut off by a host that crashes. */
enum path_crash {
    CRASH_NEVER,
    CRASH_INSIDE,     /* not all of it was sent, so it must never be done */
    CRASH_AFTER_SEND, /* all was sent, no answer awaited */
};

struct path {
    int socket; /* -1: not connected */
    unsigned lun;
    uint32_t cmd_sn, exp_stat_sn, itt;
    uint32_t answer_within_ms; /* then it is aborted */
};

/* Connects and logs in: 0, or a negative errno (-EACCES: the target refused the login). */
int path_open(struct path *path, const char *address, const char *port, const char *initiator,
              const char *target);
/* The host loses power: the connection ends with a reset, and nobody says goodbye. */
void path_cut(struct path *path);
void path_close(struct path *path);

struct path_command {
    uint8_t cdb[16];
    const void *out;
    void *in;
    size_t out_bytes, in_bytes;
    enum path_crash crash; /* otherwise than CRASH_NEVER: PATH_LOST, and the path is cut */
};
enum path_result path_run(struct path *path, const struct path_command *command,
                          struct path_answer *answer);
/* A function of the LUN or target: the response code, or a negative errno when the path is lost. */
int path_reset(struct path *path, uint8_t function);

/* The commands of VMFS. All numbers in blocks. */
struct path_command path_read(uint32_t lba, uint16_t blocks, void *in);
struct path_command path_write(uint32_t lba, uint16_t blocks, const void *out);
/* `both`: what must be there, then what shall be. */
struct path_command path_compare_and_write(uint32_t lba, uint8_t blocks, const void *both);
struct path_command path_simple(uint8_t opcode);
