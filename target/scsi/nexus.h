/*
 * nexus: an I_T nexus (one iSCSI session as SCSI sees it), and its I_T_L nexuses.
 *
 * Thread    its worker's, but for the fields marked shared.
 * Owns      its itls: one for each logical unit that it has addressed, made at the first command.
 * Ends      nexus_close(), when none of its commands is left; reservations go with it (SPC-2
 *           5.5.1).
 */
#pragma once

#include "proto/pdu.h"
#include "target/scsi/command.h"
#include "target/scsi/identity.h"
#include "target/scsi/unit_attention.h"

#include <stdatomic.h>
#include <sys/queue.h>

struct worker;
struct scsi_target;
struct lun_map;
struct lun_entry;
struct map_change;
struct drain_part;
struct copy_log;

/* The one portal group that there is, on every target. */
enum { TARGET_PORT_GROUP = 1 };

enum { INITIATOR_NAME_MAX = 223, INITIATOR_PORT_MAX = INITIATOR_NAME_MAX + 32 };

/* One logical unit as one nexus knows it. */
struct itl {
    struct nexus *nexus;
    struct lu *lu;
    uint16_t lun;
    _Atomic uint32_t unit_attentions; /* shared: a set of pending enum unit_attention bits */
    unsigned commands;                /* begun, not ended */
    unsigned ordered;                 /* of these, ORDERED ones */
    unsigned held;         /* of these, waiting for an ORDERED one, or ORDERED and waiting */
    unsigned guests;       /* commands of other units that work on this one too */
    bool is_resuming;      /* held ones are being let go, further down the stack */
    bool lost_commands;    /* to a CLEAR TASK SET of another nexus that is under way */
    bool prevents_removal; /* shared: under the LU's mutex; removal.c's */
    /* took it out of the nexus's map; it is freed with its last command */
    const struct map_change *gone_by;
    struct copy_log *copies; /* NULL until the first EXTENDED COPY; freed with it */
    LIST_ENTRY(itl) lu_link; /* shared: under the LU's mutex */
};

struct nexus {
    struct worker *worker;
    struct scsi_target *target;
    char initiator_name[INITIATOR_NAME_MAX + 1];
    char initiator_port[INITIATOR_PORT_MAX + 1]; /* "NAME,i,0xISID", SPC-4 7.6.4.6 (SAM-5 A.2) */
    uint16_t relative_target_port;
    uint64_t id; /* unique in this process, never reused */

    struct command_list commands; /* started and not finished, oldest first */
    struct lun_map *map;          /* the one that this worker has been told of */
    struct itl **itls;            /* by the map's index; NULL until first used */
    struct itl *recent;           /* of the last command's LUN structure; NULL: not known */
    uint64_t recent_lun;
    LIST_ENTRY(nexus) worker_link;
};

/* 0, -ENOMEM, or -EINVAL (a name is too long). `initiator_name` and `initiator_port` are copied. */
int nexus_open(struct nexus *nexus, struct worker *worker, struct scsi_target *target,
               const char *initiator_name, const char *initiator_port,
               uint16_t relative_target_port);
void nexus_close(struct nexus *nexus);

/* Aborts every command, the newest first; they finish as they can. */
void nexus_abort_all(struct nexus *nexus);

/*
 * The map's entry for an 8-byte LUN structure (SAM-5 4.7: peripheral device addressing on bus 0, or
 * flat space addressing, one level); NULL when there is no such LUN for this initiator.
 */
const struct lun_entry *nexus_lun(const struct nexus *nexus, uint64_t lun_structure);

/*
 * What the nexus knows of that LUN; with `make`, made at its first use with POWER ON pending. NULL:
 * no such LUN, or (nexus_lun() then says that there is one) no memory for it: answer BUSY, since
 * 05/25/00 would be taken for the loss of the LUN.
 */
struct itl *nexus_itl(struct nexus *nexus, uint64_t lun_structure, bool make);

/* The same by the unit's NAA designator. NULL: no unit of this name that the initiator may see. */
struct itl *nexus_itl_named(struct nexus *nexus, const uint8_t naa[IDENTITY_NAA_BYTES]);

/* The LUNs that this initiator may see, ascending: fills up to `cap`, returns how many. */
unsigned nexus_report_luns(const struct nexus *nexus, uint16_t *luns, unsigned cap);

/* Takes a pending condition back on every unit of the nexus. */
void nexus_clear_unit_attention(struct nexus *nexus, enum unit_attention ua);

/* ---- for command.c ---- */

/*
 * The command joins its nexus's task set; command->itl is set before (NULL: it addresses no unit).
 * True: it may run now. False: its task attribute makes it wait (is_held is set), and command_run()
 * is called for it from another command's nexus_command_end().
 */
bool nexus_command_begin(struct command *command);

/* The command is dead and leaves; lets those go that waited for it. The nexus may be gone then. */
void nexus_command_end(struct command *command);

/*
 * The command works on these units of its nexus besides its own, from here to its end: they stay,
 * and their removal or reset calls others->lost() and waits for the end of the command. `others`
 * lives as long as the command and is not changed any more; none of them is command->itl.
 */
void nexus_command_join(struct command *command, struct command_others *others);

/* Aborts a held command: command_run() will not be called. nexus_command_end() must follow. */
void nexus_command_unhold(struct command *command);

/* ---- for this room: what a worker keeps ---- */

/* Walks that stay good while what they walk over ends: on the stack, the innermost first. */
struct command_walk {
    struct nexus *nexus; /* NULL: it was closed on the way */
    struct command *next;
    struct command_walk *outer;
};
struct nexus_walk {
    struct nexus *next;
    struct nexus_walk *outer;
};

struct scsi_worker {
    LIST_HEAD(, nexus) nexuses;
    LIST_HEAD(, drain_part) drains;       /* that wait for commands of this worker */
    LIST_HEAD(, submitted_io) free_ios;   /* medium.c's */
    LIST_HEAD(, left_behind) left_behind; /* left_behind.c's */
    unsigned left_behind_count;
    uint64_t left_behind_bytes;
    uint64_t arrivals; /* given to the latest command */
    struct command_walk *command_walks;
    struct nexus_walk *nexus_walks;
};

/* Makes worker->scsi if it is not there; nexus_open() does. 0 or -ENOMEM. On the worker. */
int scsi_worker_open(struct worker *worker);
/* No nexus is left on the worker. By the main thread before workers_stop(), for every worker. */
void scsi_worker_close(struct worker *worker);

/* Calls each() for every nexus of this worker; it may close nexuses, this one too. */
void scsi_worker_each_nexus(struct worker *worker, void (*each)(struct nexus *nexus, void *context),
                            void *context);

/*
 * The nexus moves to another map, which it refers to from here on. Units that are not visible in it
 * stay behind: freed at once if nothing runs on them, marked with `by` otherwise.
 */
void nexus_move(struct nexus *nexus, struct lun_map *map, const struct map_change *by);

/* Calls each() for every command, the newest first, so that none which another held back starts in
 * between; it may end them. */
void nexus_each_command(struct nexus *nexus, void (*each)(void *context, struct command *command),
                        void *context);
