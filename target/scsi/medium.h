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
 */
#pragma once

#include "target/scsi/gate.h"
#include "target/scsi/lu.h"

struct command;

struct medium {
    struct command *command;
    void (*next)(struct medium *medium);
    struct gate_hold hold;
    struct io io;
    bool is_entering;
};

void medium_open(struct medium *medium, struct command *command);

/* True: inside now. False: next() runs when it is. */
bool medium_enter(struct medium *medium, enum gate_mode mode, uint64_t offset_bytes,
                  uint64_t len_bytes, void (*next)(struct medium *medium));

/* Fine when not inside. */
void medium_leave(struct medium *medium);

/* Submits medium->io, set as a whole but for backing and done; next() runs with its result. */
void medium_submit(struct medium *medium, void (*next)(struct medium *medium));

/* Stops waiting for the gate. What is held or in flight stays. */
void medium_let_go(struct medium *medium);
