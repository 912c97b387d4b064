/*
 * medium: one access of a command to its unit's blocks: the gate around it, the io in it.
 *
 * Lives in the command's scratch. While it waits (for the gate, for the disk) it pins the command.
 * Waiting for the gate ends without a call when the command finishes meanwhile; io always comes
 * back through `next`, which looks at command->is_finishing and gives back what it holds.
 *
 * A reservation that another nexus took since the command was checked keeps it out here, as long as
 * it has not been inside: RESERVE and PERSISTENT RESERVE OUT pass the whole unit's gate alone
 * before they are answered, so what comes in after them sees them. The command ends with
 * RESERVATION CONFLICT, and to its handler it looks like one that was aborted while it waited. One
 * that has been inside goes on (SPC-4 5.13.1: after its check a command has no conflict any more).
 *
 * A command that was aborted need not wait for a disk that hangs: medium_leave_behind().
 */
#pragma once

#include "target/scsi/gate.h"
#include "target/scsi/left_behind.h"
#include "target/scsi/lu.h"

struct command;
struct submitted_io;

struct medium {
    struct command *command;
    void (*next)(struct medium *medium);
    struct gate_hold hold;
    struct io io; /* what is submitted; its result afterwards */
    struct submitted_io *submitted;
    bool is_entering;
};

void medium_open(struct medium *medium, struct command *command);

/* An io as the engine, or the slow lane, has it. Its memory outlives the command, should the
 * command leave it behind. */
struct submitted_io {
    struct io io;
    struct medium *medium; /* whose step it is; NULL: it was left behind */
    struct worker *worker;
    struct lu *lu;
    LIST_ENTRY(submitted_io) spare_link;
    /* of one for the slow lane */
    void (*run)(struct submitted_io *submitted);
    struct slow_job job;
    struct { /* atomic_write.c's */
        unsigned slot;
        TAILQ_ENTRY(submitted_io) link;
    } journal;
    /* of one that was left behind */
    struct left_behind left;
    struct gate_hold hold;
    struct buffer *buffer;
};

/* True: inside now. False: next() runs when it is. */
bool medium_enter(struct medium *medium, enum gate_mode mode, uint64_t offset_bytes,
                  uint64_t len_bytes, void (*next)(struct medium *medium));

/* Fine when not inside. */
void medium_leave(struct medium *medium);

/* Submits medium->io, set as a whole but for backing and done; next() runs with its result. */
void medium_submit(struct medium *medium, void (*next)(struct medium *medium));

/*
 * The same for what no engine does: run() does it on the slow lane, with nothing but `submitted`,
 * and sets submitted->io.result, and io.len_bytes if it was less. Perhaps next() runs before this
 * returns, with -ENOMEM and 0 bytes.
 */
void medium_submit_slow(struct medium *medium, void (*run)(struct submitted_io *submitted),
                        void (*next)(struct medium *medium));

/* Its two halves, for who waits in between: NULL, and the result is -ENOMEM; from any thread. */
struct submitted_io *medium_prepare_slow(struct medium *medium,
                                         void (*run)(struct submitted_io *submitted),
                                         void (*next)(struct medium *medium));
void submitted_start_slow(struct submitted_io *submitted);

/* Stops waiting for the gate. What is held or in flight stays. */
void medium_let_go(struct medium *medium);

/*
 * Leaves what is in flight behind (left_behind.h): next() will not run. `buffer` is where io.bytes
 * stand (a ref is taken; NULL for an io without bytes). False: nothing is in flight, the command
 * was not aborted, or it has to be waited for all the same.
 */
bool medium_leave_behind(struct medium *medium, struct buffer *buffer);
