/*
 * left_behind: work on a disk that its command does not wait for any more.
 *
 * An abort is answered though a disk hangs: what is under way goes on by itself, with its memory,
 * and keeps everybody out of the blocks that it changes. So nobody ever sees what it does later,
 * and to all that can be seen it ended before the abort was answered; and a host that tries again
 * and again waits at the gate, and not each time in another thread for the disk.
 *
 * Thread    the command's worker, but for left_behind_await().
 * Owns      nothing. Part of what goes on, which ends with left_behind_end().
 */
#pragma once

#include "target/scsi/drain.h"

enum { LEFT_BEHIND_UNITS = 3 };

struct left_behind {
    struct worker *worker;
    struct lu *units[LEFT_BEHIND_UNITS]; /* that it needs; NULL: none */
    uint64_t memory_bytes, since_ns;
    LIST_ENTRY(left_behind) link;
};

/*
 * The command, which is finishing, need not wait for what is under way on its own unit and on those
 * of two other nexuses (NULL: none). False: it has to, because a unit is being taken away or too
 * much has been left behind (limits.h).
 */
bool left_behind_begin(struct left_behind *left, const struct command *command,
                       const struct itl *second, const struct itl *third, uint64_t memory_bytes);

/* It has ended, with 0 or a negative errno. Its units may be gone then, and worker->scsi, too. */
void left_behind_end(struct left_behind *left, int error);

/*
 * From the main thread, before it closes the units: done() runs there when nothing that was left
 * behind is under way on any worker. No nexus is left.
 */
struct left_behind_wait {
    /* filled by the caller */
    struct workers *workers;
    struct mailbox *home;
    void (*done)(struct left_behind_wait *wait);
    /* this room's own */
    struct broadcast broadcast;
    struct drain drain;
};
void left_behind_await(struct left_behind_wait *wait);
