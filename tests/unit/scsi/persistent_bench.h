/*
 * persistent_bench: a unit that four hosts share, their PERSISTENT RESERVE commands, and what each
 * then sees.
 *
 * Stands on disk_bench. The rig's two nexuses are esx1 and esx2; a third one logs in and out, and
 * an observer only looks, so that the others find what is theirs.
 */
#pragma once

#include "target/scsi/persistent.h"
#include "tests/unit/scsi/disk_bench.h"

enum {
    REGISTER = 0,
    RESERVE = 1,
    RELEASE = 2,
    CLEAR = 3,
    PREEMPT = 4,
    PREEMPT_AND_ABORT = 5,
    REGISTER_AND_IGNORE = 6,
    REGISTER_AND_MOVE = 7,

    APTPL = 0x01,
    ALL_TG_PT = 0x04,
    SPEC_I_PT = 0x08,

    CONFLICT = 0x18, /* what the helpers return beside GOOD (0) and KEY << 16 | ASC << 8 | ASCQ */
    BAD_CDB_FIELD = 0x52400,
    BAD_LIST_FIELD = 0x52600,
    BAD_LIST_LENGTH = 0x51a00,
    BAD_RELEASE = 0x52604,
    REGISTRATIONS_PREEMPTED = 0x62a05,
    RESERVATIONS_PREEMPTED = 0x62a03,
    RESERVATIONS_RELEASED = 0x62a04,
};

extern const enum pr_type all_types[6];
extern const char other_port[]; /* the port of rig.other */

extern struct nexus third, observer;
extern char state_dir[64], *kept_path; /* where APTPL keeps it */

/* For cmocka. */
int persistent_setup(void **state);
int persistent_teardown(void **state);

/* A session from this name's first port, without unit attentions. */
void login(struct nexus *nexus, const char *name);
/* Takes all unit attentions. */
void settle(struct nexus *nexus);

/* A command that fake_start() starts, and what came of it. */
void begin(struct fake_task *task, struct nexus *nexus, const uint8_t *cdb, uint32_t in_bytes,
           const uint8_t *out, uint32_t out_bytes);
unsigned result_of(const struct fake_task *task);
/* Both, with the wait between. */
unsigned run(struct nexus *nexus, const uint8_t *cdb, uint32_t in_bytes, const uint8_t *out,
             uint32_t out_bytes);

/* PERSISTENT RESERVE OUT: its CDB, its basic parameter list, and the two run. */
void out_cdb(uint8_t cdb[10], unsigned action, unsigned type, uint32_t list_bytes);
void basic_list(uint8_t list[24], uint64_t key, uint64_t action_key, uint8_t flags);
unsigned pr_out_flagged(struct nexus *nexus, unsigned action, unsigned type, uint64_t key,
                        uint64_t action_key, uint8_t flags);
unsigned pr_out(struct nexus *nexus, unsigned action, unsigned type, uint64_t key,
                uint64_t action_key);
/* Whatever key it has. */
void registers(struct nexus *nexus, uint64_t key);

unsigned reserve_6(struct nexus *nexus);
unsigned release_6(struct nexus *nexus);
unsigned write_one(struct nexus *nexus, uint8_t fill);
unsigned read_one(struct nexus *nexus);

/* What a PERSISTENT RESERVE IN says, for free(). */
uint8_t *pr_in(unsigned action, uint32_t *len);

/* READ KEYS: PRGENERATION, and the keys in the order of registration. */
void expect_keys(uint32_t generation, unsigned count, const uint64_t *keys);
#define EXPECT_KEYS(generation, ...)                                                               \
    expect_keys(generation, sizeof((uint64_t[]){ __VA_ARGS__ }) / 8, (uint64_t[]){ __VA_ARGS__ })

/* READ RESERVATION; PR_NONE: there is none. */
void expect_reservation(enum pr_type type, uint64_t key);

/* Exactly this condition, once; 0: none. */
void expect_attention(struct nexus *nexus, unsigned sense);
