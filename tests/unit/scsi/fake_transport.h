/*
 * fake_transport: a unit with a temporary image, a nexus, and the transport's half of tasks.
 *
 * Everything runs on the caller's thread and loop. A task's struct command is freed in finished(),
 * so that ASan sees whoever looks at it afterwards; what the transport would send stands in
 * task->answer. Data-Out that nobody kept is overwritten when command_out() has returned, as a
 * receive buffer would be.
 */
#pragma once

#include "target/scsi/command.h"
#include "target/scsi/nexus.h"
#include "target/scsi/scsi_target.h"

enum { RIG_BLOCK_BYTES = 512, RIG_BLOCKS = 8192, RIG_JOB_THREADS = 2 };

struct rig_options {
    enum cache_mode cache;
    bool is_readonly, is_removable, has_vaai;
    uint64_t memory_limit_bytes; /* 0: plenty */
};

struct rig {
    struct ev_loop *loop;
    struct job_pool *jobs;
    struct buffer_budget budget;
    struct worker worker;
    struct workers workers;
    struct scsi_target target;
    struct nexus nexus, other; /* two initiators */
    struct lu *lu;             /* LUN 0, and the only one */
    char path[64];
};

void rig_open(struct rig *rig, const struct rig_options *options);
/* What aborted commands have left behind; their slow jobs end by themselves. rig_close() does. */
void rig_wait_for_what_was_left(struct rig *rig);
void rig_close(struct rig *rig);

/* Takes POWER ON off both nexuses. */
void rig_clear_unit_attentions(struct rig *rig);

struct fake_task {
    struct rig *rig;
    struct nexus *nexus;
    struct command *command; /* NULL: it is over */
    struct command answer;   /* as it was then; only status, sense, transfer_bytes, was_aborted */
    unsigned finished;

    const uint8_t *out; /* Data-Out, expected_out_bytes of it */
    bool is_held_back;  /* Data-Out comes by fake_send() only */
    bool is_solid;      /* bursts are not transient */
    bool has_no_room;   /* in_has_room() says no */
    bool has_no_reserve;
    bool is_direct;                    /* in_takes_direct() says yes */
    uint32_t direct_room;              /* what the socket takes of each in_direct() */
    uint32_t direct_bytes, rest_bytes; /* what came by in_direct(), and behind it */
    unsigned wants, unreturned_bursts;
    uint32_t want_bytes, piece_bytes, sent_bytes;

    uint8_t *in; /* what came, in order */
    uint32_t in_bytes;
    bool was_last_seen;
    uint8_t *reserved;
    uint32_t reserved_bytes;
};

/* A task of rig->nexus for LUN 0 with this CDB, its length by the opcode's group; not started. */
void fake_task(struct fake_task *task, struct rig *rig, const uint8_t *cdb, uint32_t in_bytes,
               const uint8_t *out, uint32_t out_bytes);
void fake_start(struct fake_task *task);
/* Sends the next piece of what was wanted; false when there is none left. */
bool fake_send(struct fake_task *task);
/* Runs the loop until the task is over; fails the process after ten seconds. */
void fake_wait(struct fake_task *task);
void fake_free(struct fake_task *task);

/* All of it at once; the caller looks at task->answer and task->in, then calls fake_free(). */
void fake_run(struct fake_task *task, struct rig *rig, const uint8_t *cdb, uint32_t in_bytes,
              const uint8_t *out, uint32_t out_bytes);

/* KEY << 16 | ASC << 8 | ASCQ of fixed or descriptor sense; 0 without CHECK CONDITION. */
unsigned fake_sense(const struct fake_task *task);
