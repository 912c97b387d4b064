/*
 * zeroing: makes a range of a command's unit read as zeros and gives its space back: what WRITE
 * SAME of zeros and UNMAP have in common.
 *
 * Slice by slice on the slow lane. A slice lasts a few milliseconds, holds the gate exclusively
 * over what is left of the range, and then lets go: whoever waited goes first. SBC-3 wants no more
 * atomicity than that of a block. An aborted command leaves its slice behind.
 *
 * Lives in the command's scratch, and pins the command while a slice is under way.
 */
#pragma once

#include "target/scsi/medium.h"

struct zeroing {
    struct medium medium; /* for the handler too, while no slice is under way */
    uint64_t offset_bytes, left_bytes;
    void (*next)(struct command *command, struct zeroing *zeroing);
};

void zeroing_open(struct zeroing *zeroing, struct command *command);

/* next() runs when all of the range is zeros. An error, or an abort, ends the command instead. */
void zeroing_start(struct zeroing *zeroing, uint64_t offset_bytes, uint64_t len_bytes,
                   void (*next)(struct command *command, struct zeroing *zeroing));

/* GOOD, once what was changed is as safe as the unit's cache mode promises. */
void zeroing_finish(struct zeroing *zeroing);

/* The command finishes: stops waiting, for the gate and, if it was aborted, for the disk. */
void zeroing_let_go(struct zeroing *zeroing);
