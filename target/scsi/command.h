/*
 * command: the SCSI half of a task: what the device server knows of one CDB.
 *
 * The transport owns the memory (its task embeds this), fills the first part, and calls
 * command_start(). From then on the device server owns the command until it calls
 * transport->finished(), exactly once, from command_finish() and nowhere else.
 *
 * Thread    the nexus's worker, for every call in both directions.
 * SCSI never looks up: data moves through the vtable that the transport brings.
 * SAM-5 4.9 (the task), 5 (status, sense); the transport turns lengths into residuals.
 */
#pragma once

#include "proto/cdb.h"
#include "proto/cursor.h"
#include "proto/pdu.h"
#include "proto/sense.h"
#include "target/worker/buffer.h"

#include <sys/queue.h>
#include <sys/uio.h>

struct command;
struct nexus;
struct itl;
struct lu;
struct opcode_row;

enum {
    COMMAND_CDB_MAX = 32,
    COMMAND_SCRATCH_BYTES = 480,
    COMMAND_SLOW_S = 5, /* worth a line in the log: ESX gives up a path after 10 s */
};
#define NS_PER_S UINT64_C(1000000000)

/* SAM-5 table 42 */
enum scsi_status {
    STATUS_GOOD = 0x00,
    STATUS_CHECK_CONDITION = 0x02,
    STATUS_CONDITION_MET = 0x04, /* PRE-FETCH: GOOD, and all of it is in the cache */
    STATUS_BUSY = 0x08,
    STATUS_RESERVATION_CONFLICT = 0x18,
    STATUS_TASK_SET_FULL = 0x28,
    STATUS_TASK_ABORTED = 0x40,
};

/*
 * A whole, contiguous piece of Data-Out. Pieces come in order of offset and belong to the
 * transport; the device server gives each back with out_done() when it is done with the bytes.
 */
struct burst {
    uint32_t offset_bytes; /* within the command's transfer */
    uint32_t bytes;
    uint8_t *data;
    /* In which the data stands, for a ref on it; NULL: the data is transient, good only until
     * command_out() returns: use it, or out_keep() it. */
    struct buffer *buffer;
    TAILQ_ENTRY(burst) link; /* free for whoever holds the burst */
};

/* Sends to the socket some of what in_direct() is for, from `offset_bytes` on. How many bytes, or a
 * negative errno; -EAGAIN: the socket is full. */
typedef int64_t command_sender(struct command *command, int socket, uint32_t offset_bytes,
                               uint32_t len_bytes);

struct command_transport {
    /*
     * Room for the next `bytes` of Data-In, right where the socket will take them from. Fills up to
     * iov_cap iovecs whose lengths add up to `bytes` and returns how many; 0 when there is no such
     * room just now (use in_buffer). Must be followed by in_commit() before anything else of
     * this command or any other on this worker.
     */
    int (*in_reserve)(struct command *command, uint32_t bytes, struct iovec *iov, int iov_cap);
    /* The reserved room, as in_reserve() gave it, is filled; iov_count = 0 gives it back. is_last:
     * this is the last of the transfer and command_finish() with GOOD follows at once. */
    void (*in_commit)(struct command *command, const struct iovec *iov, int iov_count,
                      bool is_last);
    /* The next `bytes` of Data-In stand in `buffer`, which the transport puts back when sent. */
    void (*in_buffer)(struct command *command, struct buffer *buffer, uint32_t bytes, bool is_last);
    /*
     * The next `bytes` of Data-In go to the socket by calls of `sender`, as far as it takes them
     * now. Returns how many are left; they follow in a buffer, by in_direct_rest() and before
     * anything else of this worker. That one takes over the buffer, or NULL: the bytes cannot be
     * had, and the connection ends. Only when in_takes_direct() has just said yes.
     */
    bool (*in_takes_direct)(struct command *command);
    uint32_t (*in_direct)(struct command *command, command_sender *sender, uint32_t bytes,
                          bool is_last);
    void (*in_direct_rest)(struct command *command, struct buffer *buffer, uint32_t bytes,
                           bool is_last);
    /* False: it is not the time for more; send none until the transport calls command_in_resume().
     * will_be_direct: more means in_direct(), and a full socket is waited for. */
    bool (*in_has_room)(struct command *command, bool will_be_direct);

    /*
     * Asks for the first `bytes` of Data-Out (at most expected_out_bytes), in pieces of at most
     * piece_bytes; one piece if piece_bytes >= bytes. They come through command_out(), the first
     * perhaps before this returns. At most once a command.
     */
    void (*out_want)(struct command *command, uint32_t bytes, uint32_t piece_bytes);
    /* Makes transient data last until out_done(). 0, or -ENOMEM. */
    int (*out_keep)(struct command *command, struct burst *burst);
    void (*out_done)(struct command *command, struct burst *burst);

    /* The command is over: status, sense and the counts are final (or was_aborted is set, and
     * nothing may be answered). Its memory is the transport's again. */
    void (*finished)(struct command *command);
};

TAILQ_HEAD(command_list, command);

/*
 * What a command that works on other units than its own (a copy) has joined; see
 * nexus_command_join(). lost() ends it with an answer: one of the units is reset or taken away.
 */
struct command_others {
    uint64_t arrival; /* nexus.c's: when it joined */
    unsigned count;
    struct itl **itls;
    void (*lost)(struct command *command);
};

struct command {
    /* filled by the transport before command_start() */
    const struct command_transport *transport;
    struct nexus *nexus;
    uint64_t lun; /* the 8-byte LUN structure as one big-endian number */
    enum task_attribute attribute;
    uint32_t expected_in_bytes, expected_out_bytes;
    uint32_t tag;    /* the transport's name for it (the initiator task tag); for logs */
    uint8_t cdb_len; /* bytes that came; what is missing is made zero by command_start() */

    /* for the transport, when finished() is called */
    bool was_aborted;
    uint8_t sense_len;
    enum scsi_status status;
    uint64_t transfer_bytes; /* what the CDB (after its allocation length) asked to move */

    /* the device server's own */
    bool is_started, is_held, is_running, is_finishing;
    bool is_under_way;  /* it has been let in to the medium: no reservation stops it any more */
    bool is_miscompare; /* what the medium says is not what was expected: no error of anybody's */
    uint16_t pins;      /* why it cannot be over yet: io in flight, a handler on the stack, ... */
    const struct opcode_row *op;
    struct lu *lu;
    struct itl *itl;
    const struct command_others *others; /* NULL: it works on its own unit only */
    TAILQ_ENTRY(command) nexus_link;
    struct cdb_range range; /* of rows that have one; checked before run() */
    uint64_t arrival;       /* nexus.c's: its place among all commands of its worker */
    uint64_t started_ns;

    /* From here on nobody needs it zeroed. First the CDB, which the transport fills in; sense_len
     * says how much of the sense is good. */
    uint8_t cdb[COMMAND_CDB_MAX];
    uint8_t sense[SENSE_BYTES_MAX];
    /* what the handler of this opcode needs between its steps; each declares its own struct and
     * takes it with COMMAND_SCRATCH, which checks that it fits */
    _Alignas(16) uint8_t scratch[COMMAND_SCRATCH_BYTES];
};

#define COMMAND_SCRATCH(command, type)                                                             \
    ({                                                                                             \
        _Static_assert(sizeof(type) <= COMMAND_SCRATCH_BYTES, "scratch is too small");             \
        (type *)(void *)(command)->scratch;                                                        \
    })

/* Runs the checks and the handler. May finish before it returns. */
void command_start(struct command *command);

/* The transport has a piece of Data-Out. */
void command_out(struct command *command, struct burst *burst);

/* There is room for Data-In again after in_has_room() said no. */
void command_in_resume(struct command *command);

/*
 * Aborts it (ABORT TASK, resets, the session's end): finished() comes with was_aborted as soon as
 * nothing of it can touch the medium any more, perhaps before this returns. Repeating is fine.
 */
void command_abort(struct command *command);

/* For nexus.c: a command that nexus_command_begin() held back may go now. */
void command_run(struct command *command);

/* ---- for the handlers in this room ---- */

/*
 * A pinned command stays in memory, whatever is called, and is over at its last unpin if it has
 * finished. Everything that calls a handler pins it, so a handler may look at its command after it
 * finished it.
 */
void command_pin(struct command *command);
void command_unpin(struct command *command);

/* Settles the status, once: what comes later (a second error, an abort) does not change it. */
void command_finish(struct command *command, enum scsi_status status);
void command_good(struct command *command);

/* CHECK CONDITION. `why` (a literal) is for the log; NULL where refusing is everyday business. */
void command_refuse(struct command *command, enum sense_code code, const char *why);

/* The same, pointing at the CDB's (or parameter list's) offending byte, SPC-4 4.5.2.4.2. */
void command_refuse_field(struct command *command, enum sense_code code, bool is_in_cdb,
                          uint16_t byte, const char *why);

/* The same with how far an operation has come, of 65536. */
void command_refuse_progress(struct command *command, enum sense_code code, uint16_t progress);

/* The same with INFORMATION (an LBA, a miscompare's offset). */
void command_refuse_information(struct command *command, enum sense_code code, uint64_t information,
                                const char *why);

/* The same with whatever else there is to tell. */
void command_refuse_details(struct command *command, enum sense_code code,
                            const struct sense_details *details, const char *why);

/* Tells the operator, if it has taken long, that it was aborted and its disk still works on it. */
void command_log_left_behind(const struct command *command);

/* An error of the backing (negative errno) in SCSI's words: 07/27/07 for -ENOSPC, 03/11/00, ... */
enum sense_code command_errno_code(int error, bool is_write);
void command_refuse_errno(struct command *command, int error);

/* Answers a parameter-data command: cut to the allocation length and what is expected, then GOOD.
 */
void command_reply(struct command *command, const void *bytes, size_t len,
                   uint32_t allocation_length);
