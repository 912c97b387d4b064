/*
 * persistent reservations, SPC-4 5.13: whom they keep out, what each service action does to them,
 * what survives, and that no write comes after the answer
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include <errno.h>

#include "target/scsi/medium.h"
#include "target/scsi/opcodes.h"
#include "target/scsi/persistent_file.h"
#include "target/scsi/persistent_update.h"
#include "target/worker/log.h"
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

static const enum pr_type all_types[] = { PR_WRITE_EXCLUSIVE,
                                          PR_EXCLUSIVE_ACCESS,
                                          PR_WRITE_EXCLUSIVE_REGISTRANTS,
                                          PR_EXCLUSIVE_ACCESS_REGISTRANTS,
                                          PR_WRITE_EXCLUSIVE_ALL,
                                          PR_EXCLUSIVE_ACCESS_ALL };

static struct nexus third, observer; /* who only looks, so that others find what is theirs */
static char state_dir[64], *kept_path;

static void settle(struct nexus *nexus)
{
    struct itl *itl = nexus_itl(nexus, 0, true);

    assert_non_null(itl);
    while (unit_attention_take(itl) != SENSE_NONE)
        ;
}

static void login(struct nexus *nexus, const char *name)
{
    char port[300];

    snprintf(port, sizeof port, "%s,i,0x00023d000001", name);
    assert_int_equal(nexus_open(nexus, &rig.worker, &rig.target, name, port, 1), 0);
    settle(nexus);
}

static int setup(void **state)
{
    (void)state;
    disk_open(&(struct rig_options){ .has_vaai = true });
    log_set_level(LOG_LEVEL_ERROR); /* refusals are what is tested */
    rig.workers.jobs = rig.jobs;
    strcpy(state_dir, "pr-unit-XXXXXX");
    assert_non_null(mkdtemp(state_dir));
    kept_path = persistent_file_path(state_dir, &rig.lu->identity);
    assert_non_null(kept_path);
    rig.lu->persistent_path = strdup(kept_path);
    login(&third, "iqn.1998-01.com.vmware:esx3");
    login(&observer, "iqn.1998-01.com.vmware:esx4");
    return 0;
}

static int teardown(void **state)
{
    char folder[80];

    (void)state;
    nexus_close(&observer);
    nexus_close(&third);
    rig_close(&rig);
    unlink(kept_path);
    snprintf(folder, sizeof folder, "%s/pr", state_dir);
    rmdir(folder);
    rmdir(state_dir);
    free(kept_path);
    return 0;
}

/* ---- commands ---- */

static unsigned result_of(const struct fake_task *task)
{
    assert_false(task->answer.was_aborted);
    return task->answer.status == STATUS_CHECK_CONDITION ? fake_sense(task) : task->answer.status;
}

static void begin(struct fake_task *task, struct nexus *nexus, const uint8_t *cdb,
                  uint32_t in_bytes, const uint8_t *out, uint32_t out_bytes)
{
    fake_task(task, &rig, cdb, in_bytes, out, out_bytes);
    task->nexus = nexus;
}

static unsigned run(struct nexus *nexus, const uint8_t *cdb, uint32_t in_bytes, const uint8_t *out,
                    uint32_t out_bytes)
{
    struct fake_task task;
    unsigned result;

    begin(&task, nexus, cdb, in_bytes, out, out_bytes);
    fake_start(&task);
    fake_wait(&task);
    result = result_of(&task);
    fake_free(&task);
    return result;
}

static void out_cdb(uint8_t cdb[10], unsigned action, unsigned type, uint32_t list_bytes)
{
    memset(cdb, 0, 10);
    cdb[0] = 0x5f;
    cdb[1] = (uint8_t)action;
    cdb[2] = (uint8_t)type;
    put_be32(cdb + 5, list_bytes);
}

static void basic_list(uint8_t list[24], uint64_t key, uint64_t action_key, uint8_t flags)
{
    memset(list, 0, 24);
    put_be64(list, key);
    put_be64(list + 8, action_key);
    list[20] = flags;
}

static unsigned pr_out_flagged(struct nexus *nexus, unsigned action, unsigned type, uint64_t key,
                               uint64_t action_key, uint8_t flags)
{
    uint8_t cdb[10], list[24];

    out_cdb(cdb, action, type, 24);
    basic_list(list, key, action_key, flags);
    return run(nexus, cdb, 0, list, 24);
}

static unsigned pr_out(struct nexus *nexus, unsigned action, unsigned type, uint64_t key,
                       uint64_t action_key)
{
    return pr_out_flagged(nexus, action, type, key, action_key, 0);
}

static void registers(struct nexus *nexus, uint64_t key)
{
    assert_int_equal(pr_out(nexus, REGISTER_AND_IGNORE, 0, 0, key), 0);
}

static unsigned test_unit_ready(struct nexus *nexus)
{
    const uint8_t cdb[6] = { 0 };

    return run(nexus, cdb, 0, NULL, 0);
}

static unsigned reserve_6(struct nexus *nexus)
{
    const uint8_t cdb[6] = { 0x16 };

    return run(nexus, cdb, 0, NULL, 0);
}

static unsigned release_6(struct nexus *nexus)
{
    const uint8_t cdb[6] = { 0x17 };

    return run(nexus, cdb, 0, NULL, 0);
}

static unsigned write_one(struct nexus *nexus, uint8_t fill)
{
    uint8_t cdb[10], data[RIG_BLOCK_BYTES];

    memset(data, fill, sizeof data);
    write_10(cdb, 0, 1);
    return run(nexus, cdb, 0, data, sizeof data);
}

static unsigned read_one(struct nexus *nexus)
{
    uint8_t cdb[10];

    read_10(cdb, 0, 1);
    return run(nexus, cdb, RIG_BLOCK_BYTES, NULL, 0);
}

/* What a PERSISTENT RESERVE IN says, for free(). */
static uint8_t *pr_in(unsigned action, uint32_t *len)
{
    const uint8_t cdb[10] = { 0x5e, (uint8_t)action, 0, 0, 0, 0, 0, 0xff, 0xff };
    struct fake_task task;
    uint8_t *bytes;

    begin(&task, &observer, cdb, 65535, NULL, 0);
    fake_start(&task);
    fake_wait(&task);
    assert_int_equal(result_of(&task), 0);
    *len = task.in_bytes;
    bytes = task.in;
    task.in = NULL;
    fake_free(&task);
    return bytes;
}

static void expect_keys(uint32_t generation, unsigned count, const uint64_t *keys)
{
    uint32_t len;
    uint8_t *bytes = pr_in(PR_IN_READ_KEYS, &len);

    assert_int_equal(get_be32(bytes), generation);
    assert_int_equal(get_be32(bytes + 4), 8 * count);
    assert_int_equal(len, 8 + 8 * count);
    for (unsigned i = 0; i < count; i++)
        assert_int_equal(get_be64(bytes + 8 + 8 * i), keys[i]);
    free(bytes);
}
#define EXPECT_KEYS(generation, ...)                                                               \
    expect_keys(generation, sizeof((uint64_t[]){ __VA_ARGS__ }) / 8, (uint64_t[]){ __VA_ARGS__ })

static void expect_reservation(enum pr_type type, uint64_t key)
{
    uint32_t len;
    uint8_t *bytes = pr_in(PR_IN_READ_RESERVATION, &len);

    assert_int_equal(len, type == PR_NONE ? 8 : 24);
    if (type != PR_NONE) {
        assert_int_equal(get_be32(bytes + 4), 16);
        assert_int_equal(get_be64(bytes + 8), key);
        assert_int_equal(bytes[8 + 13], type);
    }
    free(bytes);
}

/* Exactly this condition, once; 0: none. */
static void expect_attention(struct nexus *nexus, unsigned sense)
{
    if (sense)
        assert_int_equal(test_unit_ready(nexus), sense);
    assert_false(unit_attention_is_pending(nexus_itl(nexus, 0, false)));
}

/* ---- the conflict tables, SPC-4 table 65 and SBC-3 table 12 ---- */

/*
 * A for allowed, C for conflict; the columns of the standards: held by another nexus, write
 * exclusive and exclusive access; from a registered nexus, all "registrants" types; from one that
 * is not, write exclusive and exclusive access.
 */
static const struct {
    const char *columns;
    uint8_t cdb[16];
} commands[] = {
    {"AAAAA",  { 0x00 }            }, /* TEST UNIT READY */
    { "AAAAA", { 0x03 }            }, /* REQUEST SENSE */
    { "ACAAC", { 0x08, 0, 0, 0, 1 }}, /* READ(6) */
    { "CCACC", { 0x0a, 0, 0, 0, 1 }}, /* WRITE(6) */
    { "AAAAA", { 0x12 }            }, /* INQUIRY */
    { "CCACC", { 0x15, 0x10 }      }, /* MODE SELECT(6) */
    { "ACAAC", { 0x1a, 0, 0x3f }   }, /* MODE SENSE(6) */
    { "AAAAA", { 0x1b, 0, 0, 0, 1 }}, /* START STOP UNIT, START=1 */
    { "CCACC", { 0x1b }            }, /* START STOP UNIT, START=0 */
    { "AAAAA", { 0x1e }            }, /* PREVENT ALLOW MEDIUM REMOVAL, PREVENT=0 */
    { "CCACC", { 0x1e, 0, 0, 0, 1 }}, /* PREVENT=1 */
    { "AAAAA", { 0x25 }            }, /* READ CAPACITY(10) */
    { "ACAAC", { 0x28 }            }, /* READ(10) */
    { "CCACC", { 0x2a }            }, /* WRITE(10) */
    { "CCACC", { 0x2e }            }, /* WRITE AND VERIFY(10) */
    { "ACAAC", { 0x2f }            }, /* VERIFY(10) */
    { "ACAAC", { 0x34 }            }, /* PRE-FETCH(10) */
    { "CCACC", { 0x35 }            }, /* SYNCHRONIZE CACHE(10) */
    { "ACAAC", { 0x37 }            }, /* READ DEFECT DATA(10) */
    { "CCACC", { 0x41 }            }, /* WRITE SAME(10) */
    { "CCACC", { 0x42 }            }, /* UNMAP */
    { "CCACC", { 0x48, 1 }         }, /* SANITIZE, all of it */
    { "CCACC", { 0x48, 2 }         },
    { "CCACC", { 0x48, 3 }         },
    { "CCACC", { 0x48, 0x1f }      },
    { "CCACC", { 0x4c }            }, /* LOG SELECT */
    { "AAAAA", { 0x4d }            }, /* LOG SENSE */
    { "CCACC", { 0x55, 0x10 }      }, /* MODE SELECT(10) */
    { "ACAAC", { 0x5a, 0, 0x3f }   }, /* MODE SENSE(10) */
    { "AAAAA", { 0x5e, 0 }         }, /* PERSISTENT RESERVE IN, all of it */
    { "AAAAA", { 0x5e, 1 }         },
    { "AAAAA", { 0x5e, 2 }         },
    { "AAAAA", { 0x5e, 3 }         },
    { "CCACC", { 0x83, 0 }         }, /* EXTENDED COPY(LID1) */
  /* RECEIVE COPY RESULTS: as in SPC-3, which a unit that says version 05h may do (note b) */
    { "CCACC", { 0x84, 0 }         },
    { "CCACC", { 0x84, 1 }         },
    { "CCACC", { 0x84, 3 }         },
    { "CCACC", { 0x84, 4 }         },
    { "ACAAC", { 0x88 }            }, /* READ(16) */
    { "CCACC", { 0x89 }            }, /* COMPARE AND WRITE */
    { "CCACC", { 0x8a }            }, /* WRITE(16) */
    { "CCACC", { 0x8b }            }, /* ORWRITE(16) */
    { "CCACC", { 0x8e }            }, /* WRITE AND VERIFY(16) */
    { "ACAAC", { 0x8f }            }, /* VERIFY(16) */
    { "ACAAC", { 0x90 }            }, /* PRE-FETCH(16) */
    { "CCACC", { 0x91 }            }, /* SYNCHRONIZE CACHE(16) */
    { "CCACC", { 0x93 }            }, /* WRITE SAME(16) */
    { "CCACC", { 0x9c }            }, /* WRITE ATOMIC(16) */
    { "AAAAA", { 0x9e, 0x10 }      }, /* READ CAPACITY(16) */
    { "ACAAC", { 0x9e, 0x12 }      }, /* GET LBA STATUS */
    { "AAAAA", { 0xa0 }            }, /* REPORT LUNS */
    { "AAAAA", { 0xa3, 0x0a }      }, /* REPORT TARGET PORT GROUPS */
    { "ACAAC", { 0xa3, 0x0c }      }, /* REPORT SUPPORTED OPERATION CODES */
    { "ACAAC", { 0xa3, 0x0d }      }, /* ... TASK MANAGEMENT FUNCTIONS */
    { "ACAAC", { 0xa8 }            }, /* READ(12) */
    { "CCACC", { 0xaa }            }, /* WRITE(12) */
    { "CCACC", { 0xae }            }, /* WRITE AND VERIFY(12) */
    { "ACAAC", { 0xaf }            }, /* VERIFY(12) */
    { "ACAAC", { 0xb7 }            }, /* READ DEFECT DATA(12) */
};

static bool may_run(const struct nexus *nexus, const uint8_t *cdb)
{
    bool known;
    const struct opcode_row *row = opcode_find(cdb, &known);

    return !reservation_conflicts(rig.lu, nexus, opcode_reservation(row, cdb));
}

static void expect_table(enum pr_type type)
{
    const struct nexus *holder = &rig.nexus, *registered = &rig.other, *stranger = &third;
    bool is_ea = pr_type_is_exclusive_access(type), has_rr = pr_type_is_registrants(type);

    for (unsigned i = 0; i < sizeof commands / sizeof *commands; i++) {
        const char *columns = commands[i].columns;
        bool known, of_registered = columns[has_rr ? 2 : is_ea] == 'A';
        bool of_stranger = columns[has_rr ? 3 + is_ea : is_ea] == 'A';

        if (!opcode_find(commands[i].cdb, &known))
            continue; /* not served */
        if (!may_run(holder, commands[i].cdb) ||
            may_run(registered, commands[i].cdb) != of_registered ||
            may_run(stranger, commands[i].cdb) != of_stranger)
            fail_msg("type %u, opcode %02xh %02xh: holder %d registered %d stranger %d", type,
                     commands[i].cdb[0], commands[i].cdb[1], may_run(holder, commands[i].cdb),
                     may_run(registered, commands[i].cdb), may_run(stranger, commands[i].cdb));
    }
}

static void test_the_conflict_tables_hold_for_every_type(void **state)
{
    (void)state;
    registers(&rig.nexus, 1);
    registers(&rig.other, 2);
    for (unsigned i = 0; i < 6; i++) {
        assert_int_equal(pr_out(&rig.nexus, RESERVE, all_types[i], 1, 0), 0);
        expect_table(all_types[i]);
        assert_int_equal(pr_out(&rig.nexus, RELEASE, all_types[i], 1, 0), 0);
        settle(&rig.other);
    }
}

/* Every row stands in the tables above, so that a new one is looked up in the standards. */
static void test_every_opcode_is_in_the_tables(void **state)
{
    bool known;

    (void)state;
    for (unsigned r = 0; r < opcode_count; r++) {
        const struct opcode_row *row = &opcode_table[r];
        bool is_listed = row->reservation == RSV_RESERVE || row->reservation == RSV_RELEASE ||
                         row->opcode == 0x5f;

        for (unsigned i = 0; i < sizeof commands / sizeof *commands; i++)
            is_listed |= opcode_find(commands[i].cdb, &known) == row;
        if (!is_listed)
            fail_msg("%s is not in the table of this test", row->name);
    }
}

static void test_registrations_alone_keep_nobody_out(void **state)
{
    (void)state;
    registers(&rig.nexus, 1);
    assert_int_equal(write_one(&third, 1), 0);
    assert_int_equal(read_one(&third), 0);
}

/* ---- REGISTER ---- */

/* SPC-4 table 67 */
static void test_register_checks_the_key_that_is_there(void **state)
{
    (void)state;
    assert_int_equal(pr_out(&rig.nexus, REGISTER, 0, 7, 1), CONFLICT);
    assert_int_equal(pr_out(&rig.nexus, REGISTER, 0, 0, 0), 0); /* does nothing */
    EXPECT_KEYS(0);
    assert_int_equal(pr_out(&rig.nexus, REGISTER, 0, 0, 1), 0);
    EXPECT_KEYS(1, 1);
    assert_int_equal(pr_out(&rig.nexus, REGISTER, 0, 0, 2), CONFLICT);
    assert_int_equal(pr_out(&rig.nexus, REGISTER, 0, 2, 2), CONFLICT);
    EXPECT_KEYS(1, 1);
    assert_int_equal(pr_out(&rig.nexus, REGISTER, 0, 1, 2), 0);
    EXPECT_KEYS(2, 2);
    assert_int_equal(pr_out(&rig.nexus, REGISTER, 0, 2, 0), 0);
    EXPECT_KEYS(3);
}

/* SPC-4 table 68 */
static void test_register_and_ignore_existing_key_ignores_it(void **state)
{
    (void)state;
    assert_int_equal(pr_out(&rig.nexus, REGISTER_AND_IGNORE, 0, 99, 0), 0);
    EXPECT_KEYS(0);
    assert_int_equal(pr_out(&rig.nexus, REGISTER_AND_IGNORE, 0, 99, 1), 0);
    assert_int_equal(pr_out(&rig.nexus, REGISTER_AND_IGNORE, 0, 98, 2), 0);
    EXPECT_KEYS(2, 2);
    assert_int_equal(pr_out_flagged(&rig.other, REGISTER_AND_IGNORE, 0, 0, 2, ALL_TG_PT), 0);
    EXPECT_KEYS(3, 2, 2);
    assert_int_equal(pr_out(&rig.nexus, REGISTER_AND_IGNORE, 0, 97, 0), 0);
    EXPECT_KEYS(4, 2);
}

static void test_a_new_key_leaves_the_reservation_alone(void **state)
{
    (void)state;
    registers(&rig.nexus, 1);
    assert_int_equal(pr_out(&rig.nexus, RESERVE, PR_WRITE_EXCLUSIVE, 1, 0), 0);
    assert_int_equal(pr_out(&rig.nexus, REGISTER, 0, 1, 5), 0);
    expect_reservation(PR_WRITE_EXCLUSIVE, 5);
}

static void test_lists_of_a_wrong_length_are_refused(void **state)
{
    static const uint32_t lengths[] = { 0, 1, 23, 25, 28, 8193, 0x01000000, 0xffffffff };
    static const uint8_t list[65536];
    uint8_t cdb[10];

    (void)state;
    for (unsigned i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        uint32_t expected = lengths[i] < sizeof list ? lengths[i] : sizeof list;

        out_cdb(cdb, REGISTER, 0, lengths[i]);
        assert_int_equal(run(&rig.nexus, cdb, 0, list, expected), BAD_LIST_LENGTH);
    }
    out_cdb(cdb, REGISTER, 0, 24); /* and one of which less comes */
    assert_int_equal(run(&rig.nexus, cdb, 0, list, 16), BAD_LIST_LENGTH);
    EXPECT_KEYS(0);
}

static size_t put_port(uint8_t *list, size_t at, const char *port)
{
    memset(list + at, 0, 52);
    list[at] = 0x45;
    put_be16(list + at + 2, 48);
    memcpy(list + at + 4, port, strlen(port));
    return at + 52;
}

static unsigned register_ports(struct nexus *nexus, uint64_t key, uint64_t action_key,
                               const char *first, const char *second)
{
    uint8_t cdb[10], list[256];
    size_t len;

    basic_list(list, key, action_key, SPEC_I_PT);
    len = put_port(list, 28, first);
    if (second)
        len = put_port(list, len, second);
    put_be32(list + 24, (uint32_t)len - 28);
    out_cdb(cdb, REGISTER, 0, (uint32_t)len);
    return run(nexus, cdb, 0, list, (uint32_t)len);
}

static const char other_port[] = "iqn.1998-01.com.vmware:esx2,i,0x00023d000001";
static const char third_port[] = "iqn.1998-01.com.vmware:esx3,i,0x00023d000001";
static const char absent_port[] = "iqn.1998-01.com.vmware:esx9,i,0x00023d000001";

static void test_spec_i_pt_registers_those_who_are_listed(void **state)
{
    (void)state;
    assert_int_equal(register_ports(&rig.nexus, 0, 7, other_port, absent_port), 0);
    EXPECT_KEYS(1, 7, 7, 7);
    /* the listed one can use what it was given */
    assert_int_equal(pr_out(&rig.other, RESERVE, PR_EXCLUSIVE_ACCESS, 7, 0), 0);
}

static void test_spec_i_pt_registers_all_or_nobody(void **state)
{
    (void)state;
    registers(&third, 3);
    assert_int_equal(register_ports(&rig.nexus, 0, 7, other_port, third_port), BAD_LIST_FIELD);
    EXPECT_KEYS(1, 3);
    /* and only from one that is not registered itself */
    registers(&rig.nexus, 1);
    assert_int_equal(register_ports(&rig.nexus, 1, 7, other_port, NULL), BAD_LIST_FIELD);
    EXPECT_KEYS(2, 3, 1);
}

static void test_a_name_without_port_means_all_its_sessions(void **state)
{
    static const char name[] = "iqn.1998-01.com.vmware:esx2";
    uint8_t cdb[10], list[64] = { 0 };

    (void)state;
    basic_list(list, 0, 7, SPEC_I_PT);
    put_be32(list + 24, 32);
    list[28] = 0x05;
    put_be16(list + 30, 28);
    memcpy(list + 32, name, sizeof name);
    out_cdb(cdb, REGISTER, 0, 60);
    assert_int_equal(run(&rig.nexus, cdb, 0, list, 60), 0);
    assert_int_equal(pr_out(&rig.other, RESERVE, PR_EXCLUSIVE_ACCESS, 7, 0), 0);

    list[32 + 26] = '8'; /* nobody that is known */
    assert_int_equal(run(&third, cdb, 0, list, 60), BAD_LIST_FIELD);
}

static void test_the_129th_registration_finds_no_room(void **state)
{
    struct persistent_change change;
    struct persistent *now = NULL;
    struct pr_out list = { .action_key = 1 };
    char port[64];
    struct persistent_request request = {
        .action = PR_OUT_REGISTER, .list = &list, .port = port, .relative_target_port = 1
    };

    (void)state;
    for (unsigned i = 0; i < 128; i++) {
        snprintf(port, sizeof port, "iqn.2001-01.com:%u,i,0x000000000000", i);
        persistent_out(now, &request, &change);
        assert_int_equal(change.status, STATUS_GOOD);
        assert_non_null(change.next);
        free(now);
        now = change.next;
    }
    strcpy(port, "iqn.2001-01.com:more,i,0x000000000000");
    persistent_out(now, &request, &change);
    assert_int_equal(change.status, STATUS_CHECK_CONDITION);
    assert_int_equal(change.sense, SENSE_INSUFFICIENT_REGISTRATION_RESOURCES);
    assert_null(change.next);
    free(now);
}

/* ---- RESERVE, RELEASE, CLEAR ---- */

static void test_without_registration_nothing_else_is_taken(void **state)
{
    (void)state;
    for (unsigned action = RESERVE; action <= PREEMPT_AND_ABORT; action++)
        assert_int_equal(pr_out(&rig.nexus, action, PR_WRITE_EXCLUSIVE, 0, 0), CONFLICT);
    registers(&rig.nexus, 1);
    for (unsigned action = RESERVE; action <= PREEMPT_AND_ABORT; action++)
        assert_int_equal(pr_out(&rig.nexus, action, PR_WRITE_EXCLUSIVE, 2, 0), CONFLICT);
}

static void test_scopes_and_types_that_do_not_exist_are_refused(void **state)
{
    static const uint8_t bad[] = { 0x00, 0x02, 0x04, 0x09, 0x0f, 0x11, 0x21, 0xf1 };

    (void)state;
    registers(&rig.nexus, 1);
    for (unsigned i = 0; i < sizeof bad; i++)
        assert_int_equal(pr_out(&rig.nexus, RESERVE, bad[i], 1, 0), BAD_CDB_FIELD);
    expect_reservation(PR_NONE, 0);
}

/* SPC-4 5.13.9 */
static void test_reserving_again_is_good_as_it_was_only(void **state)
{
    (void)state;
    registers(&rig.nexus, 1);
    registers(&rig.other, 2);
    assert_int_equal(pr_out(&rig.nexus, RESERVE, PR_WRITE_EXCLUSIVE, 1, 0), 0);
    assert_int_equal(pr_out(&rig.nexus, RESERVE, PR_WRITE_EXCLUSIVE, 1, 0), 0);
    assert_int_equal(pr_out(&rig.nexus, RESERVE, PR_EXCLUSIVE_ACCESS, 1, 0), CONFLICT);
    assert_int_equal(pr_out(&rig.other, RESERVE, PR_WRITE_EXCLUSIVE, 2, 0), CONFLICT);
    expect_reservation(PR_WRITE_EXCLUSIVE, 1);
    EXPECT_KEYS(2, 1, 2); /* RESERVE and RELEASE do not count */
}

static void test_all_registrants_hold_what_one_has_reserved(void **state)
{
    (void)state;
    registers(&rig.nexus, 1);
    registers(&rig.other, 2);
    assert_int_equal(pr_out(&rig.nexus, RESERVE, PR_WRITE_EXCLUSIVE_ALL, 1, 0), 0);
    expect_reservation(PR_WRITE_EXCLUSIVE_ALL, 0);
    assert_int_equal(pr_out(&rig.other, RESERVE, PR_WRITE_EXCLUSIVE_ALL, 2, 0), 0);
    assert_int_equal(pr_out(&rig.other, RELEASE, PR_WRITE_EXCLUSIVE_ALL, 2, 0), 0);
    expect_reservation(PR_NONE, 0);
    expect_attention(&rig.nexus, RESERVATIONS_RELEASED);
}

/* SPC-4 5.13.11.2.2 */
static void test_release_tells_the_other_registrants_of_registrants_types(void **state)
{
    (void)state;
    registers(&rig.nexus, 1);
    registers(&rig.other, 2);
    for (unsigned i = 0; i < 6; i++) {
        assert_int_equal(pr_out(&rig.nexus, RESERVE, all_types[i], 1, 0), 0);
        assert_int_equal(pr_out(&rig.nexus, RELEASE, all_types[i], 1, 0), 0);
        expect_attention(&rig.other,
                         pr_type_is_registrants(all_types[i]) ? RESERVATIONS_RELEASED : 0);
        expect_attention(&rig.nexus, 0);
        expect_attention(&third, 0); /* not registered */
    }
}

static void test_release_of_what_is_not_held_changes_nothing(void **state)
{
    (void)state;
    registers(&rig.nexus, 1);
    registers(&rig.other, 2);
    assert_int_equal(pr_out(&rig.nexus, RELEASE, PR_WRITE_EXCLUSIVE, 1, 0), 0);
    assert_int_equal(pr_out(&rig.nexus, RESERVE, PR_WRITE_EXCLUSIVE, 1, 0), 0);
    assert_int_equal(pr_out(&rig.other, RELEASE, PR_WRITE_EXCLUSIVE, 2, 0), 0);
    assert_int_equal(pr_out(&rig.nexus, RELEASE, PR_EXCLUSIVE_ACCESS, 1, 0), BAD_RELEASE);
    assert_int_equal(pr_out(&rig.nexus, RELEASE, 0x10 | PR_WRITE_EXCLUSIVE, 1, 0), BAD_RELEASE);
    expect_reservation(PR_WRITE_EXCLUSIVE, 1);
}

static void test_clear_takes_all_and_tells_the_others(void **state)
{
    (void)state;
    registers(&rig.nexus, 1);
    registers(&rig.other, 2);
    assert_int_equal(pr_out(&rig.nexus, RESERVE, PR_EXCLUSIVE_ACCESS, 1, 0), 0);
    assert_int_equal(pr_out(&rig.other, CLEAR, 0, 2, 0), 0); /* not the holder */
    EXPECT_KEYS(3);
    expect_reservation(PR_NONE, 0);
    expect_attention(&rig.nexus, RESERVATIONS_PREEMPTED);
    expect_attention(&rig.other, 0);
    expect_attention(&third, 0); /* not registered */
    assert_int_equal(read_one(&third), 0);
    assert_false(rig.lu->reserved);
}

/* ---- unregistering ---- */

/* SPC-4 5.13.11.2.3 */
static void test_the_reservation_goes_with_its_holders_registration(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++) { /* the types with one holder */
        registers(&rig.nexus, 1);
        registers(&rig.other, 2);
        assert_int_equal(pr_out(&rig.nexus, RESERVE, all_types[i], 1, 0), 0);
        assert_int_equal(pr_out(&rig.nexus, REGISTER, 0, 1, 0), 0);
        expect_attention(&rig.other,
                         pr_type_is_registrants(all_types[i]) ? RESERVATIONS_RELEASED : 0);
        expect_reservation(PR_NONE, 0);
    }
}

static void test_an_all_registrants_reservation_goes_with_the_last_one(void **state)
{
    (void)state;
    registers(&rig.nexus, 1);
    registers(&rig.other, 2);
    assert_int_equal(pr_out(&rig.nexus, RESERVE, PR_EXCLUSIVE_ACCESS_ALL, 1, 0), 0);
    assert_int_equal(pr_out(&rig.nexus, REGISTER, 0, 1, 0), 0);
    expect_reservation(PR_EXCLUSIVE_ACCESS_ALL, 0);
    assert_int_equal(read_one(&rig.nexus), CONFLICT);
    assert_int_equal(pr_out(&rig.other, REGISTER, 0, 2, 0), 0);
    expect_reservation(PR_NONE, 0);
    assert_int_equal(read_one(&rig.nexus), 0);
}

/* ---- PREEMPT ---- */

static void test_preempting_the_holder_takes_its_place(void **state)
{
    (void)state;
    registers(&rig.nexus, 1);
    registers(&rig.other, 2);
    registers(&third, 3);
    assert_int_equal(pr_out(&rig.nexus, RESERVE, PR_WRITE_EXCLUSIVE, 1, 0), 0);
    assert_int_equal(pr_out(&rig.other, PREEMPT, PR_WRITE_EXCLUSIVE, 2, 1), 0);
    expect_attention(&rig.nexus, REGISTRATIONS_PREEMPTED);
    expect_attention(&rig.other, 0);
    expect_attention(&third, 0); /* the type has not changed */
    EXPECT_KEYS(4, 2, 3);
    expect_reservation(PR_WRITE_EXCLUSIVE, 2);
    assert_int_equal(write_one(&rig.nexus, 1), CONFLICT);
    assert_int_equal(write_one(&rig.other, 2), 0);
}

static void test_preempting_to_another_type_tells_those_who_stay(void **state)
{
    (void)state;
    registers(&rig.nexus, 1);
    registers(&rig.other, 2);
    registers(&third, 3);
    assert_int_equal(pr_out(&rig.nexus, RESERVE, PR_WRITE_EXCLUSIVE_REGISTRANTS, 1, 0), 0);
    assert_int_equal(pr_out(&rig.other, PREEMPT, PR_EXCLUSIVE_ACCESS, 2, 1), 0);
    expect_attention(&rig.nexus, REGISTRATIONS_PREEMPTED);
    expect_attention(&third, RESERVATIONS_RELEASED);
    expect_attention(&rig.other, 0);
    assert_int_equal(read_one(&third), CONFLICT);
}

/* All with the holder's key go, but for the one that asks. */
static void test_preempting_a_shared_key_takes_all_who_have_it(void **state)
{
    (void)state;
    registers(&rig.nexus, 1);
    registers(&rig.other, 1);
    registers(&third, 1);
    assert_int_equal(pr_out(&rig.nexus, RESERVE, PR_WRITE_EXCLUSIVE_REGISTRANTS, 1, 0), 0);
    assert_int_equal(pr_out(&rig.other, PREEMPT, PR_WRITE_EXCLUSIVE_REGISTRANTS, 1, 1), 0);
    EXPECT_KEYS(4, 1);
    expect_attention(&rig.nexus, REGISTRATIONS_PREEMPTED);
    expect_attention(&third, REGISTRATIONS_PREEMPTED);
    expect_attention(&rig.other, 0);
    assert_int_equal(write_one(&rig.other, 1), 0);
    assert_int_equal(write_one(&rig.nexus, 1), CONFLICT);
}

/* SPC-4 5.13.11.2.4.3, last paragraph */
static void test_the_holder_may_preempt_itself(void **state)
{
    (void)state;
    registers(&rig.nexus, 1);
    registers(&rig.other, 2);
    assert_int_equal(pr_out(&rig.nexus, RESERVE, PR_WRITE_EXCLUSIVE, 1, 0), 0);
    assert_int_equal(pr_out(&rig.nexus, PREEMPT, PR_EXCLUSIVE_ACCESS, 1, 1), 0);
    EXPECT_KEYS(3, 1, 2);
    expect_reservation(PR_EXCLUSIVE_ACCESS, 1);
    expect_attention(&rig.nexus, 0);
    expect_attention(&rig.other, RESERVATIONS_RELEASED);
}

/* SPC-4 5.13.11.2.5 */
static void test_preempting_who_does_not_hold_removes_registrations_only(void **state)
{
    (void)state;
    registers(&rig.nexus, 1);
    registers(&rig.other, 2);
    registers(&third, 2);
    assert_int_equal(pr_out(&rig.nexus, RESERVE, PR_WRITE_EXCLUSIVE, 1, 0), 0);
    /* scope and type do not count */
    assert_int_equal(pr_out(&rig.nexus, PREEMPT, 0xff, 1, 2), 0);
    EXPECT_KEYS(4, 1);
    expect_reservation(PR_WRITE_EXCLUSIVE, 1);
    expect_attention(&rig.other, REGISTRATIONS_PREEMPTED);
    expect_attention(&third, REGISTRATIONS_PREEMPTED);
}

static void test_preempting_one_of_all_registrants_leaves_the_reservation(void **state)
{
    (void)state;
    registers(&rig.nexus, 1);
    registers(&rig.other, 2);
    assert_int_equal(pr_out(&rig.nexus, RESERVE, PR_EXCLUSIVE_ACCESS_ALL, 1, 0), 0);
    assert_int_equal(pr_out(&rig.other, PREEMPT, PR_WRITE_EXCLUSIVE, 2, 1), 0);
    EXPECT_KEYS(3, 2);
    expect_reservation(PR_EXCLUSIVE_ACCESS_ALL, 0);
    expect_attention(&rig.nexus, REGISTRATIONS_PREEMPTED);
}

static void test_key_0_preempts_all_registrants(void **state)
{
    (void)state;
    registers(&rig.nexus, 1);
    registers(&rig.other, 2);
    registers(&third, 3);
    assert_int_equal(pr_out(&rig.nexus, RESERVE, PR_WRITE_EXCLUSIVE_ALL, 1, 0), 0);
    assert_int_equal(pr_out(&rig.other, PREEMPT, PR_EXCLUSIVE_ACCESS, 2, 0), 0);
    EXPECT_KEYS(4, 2);
    expect_reservation(PR_EXCLUSIVE_ACCESS, 2);
    expect_attention(&rig.nexus, REGISTRATIONS_PREEMPTED);
    expect_attention(&third, REGISTRATIONS_PREEMPTED);
}

/* SPC-4 table 72 */
static void test_key_0_of_other_types_is_refused(void **state)
{
    (void)state;
    registers(&rig.nexus, 1);
    assert_int_equal(pr_out(&rig.nexus, PREEMPT, PR_WRITE_EXCLUSIVE, 1, 0),
                     CONFLICT); /* nobody's */
    assert_int_equal(pr_out(&rig.nexus, RESERVE, PR_WRITE_EXCLUSIVE, 1, 0), 0);
    assert_int_equal(pr_out(&rig.nexus, PREEMPT, PR_WRITE_EXCLUSIVE, 1, 0), BAD_LIST_FIELD);
}

static void test_preempting_a_key_that_nobody_has_conflicts(void **state)
{
    (void)state;
    registers(&rig.nexus, 1);
    assert_int_equal(pr_out(&rig.nexus, PREEMPT, PR_WRITE_EXCLUSIVE, 1, 9), CONFLICT);
    EXPECT_KEYS(1, 1);
}

/* ---- REGISTER AND MOVE ---- */

static unsigned move(struct nexus *nexus, uint64_t key, uint64_t action_key, uint8_t flags,
                     uint16_t relative_target_port, const char *port)
{
    uint8_t cdb[10], list[128] = { 0 };

    put_be64(list, key);
    put_be64(list + 8, action_key);
    list[17] = flags;
    put_be16(list + 18, relative_target_port);
    put_be32(list + 20, 52);
    put_port(list, 24, port);
    out_cdb(cdb, REGISTER_AND_MOVE, 0, 76);
    return run(nexus, cdb, 0, list, 76);
}

/* SPC-4 5.13.8 and table 70 */
static void test_a_reservation_moves_to_where_its_holder_says(void **state)
{
    (void)state;
    registers(&rig.nexus, 1);
    assert_int_equal(move(&rig.nexus, 1, 5, 0, 1, other_port), BAD_CDB_FIELD); /* none yet */
    assert_int_equal(pr_out(&rig.nexus, RESERVE, PR_EXCLUSIVE_ACCESS, 1, 0), 0);
    assert_int_equal(move(&rig.nexus, 1, 5, 0, 1, other_port), 0);
    EXPECT_KEYS(2, 1, 5);
    expect_reservation(PR_EXCLUSIVE_ACCESS, 5);
    assert_int_equal(read_one(&rig.nexus), CONFLICT);
    assert_int_equal(read_one(&rig.other), 0);
    /* on to somebody who is not there, and out */
    assert_int_equal(move(&rig.other, 5, 6, 0x02, 1, absent_port), 0);
    EXPECT_KEYS(3, 1, 6);
    expect_reservation(PR_EXCLUSIVE_ACCESS, 6);
    assert_int_equal(read_one(&rig.other), CONFLICT);
    expect_attention(&rig.nexus, 0);
    expect_attention(&rig.other, 0);
}

static void test_a_move_that_cannot_be_is_refused(void **state)
{
    static const char own_port[] = "iqn.1998-01.com.vmware:esx1,i,0x00023d000001";

    (void)state;
    registers(&rig.nexus, 1);
    registers(&rig.other, 2);
    assert_int_equal(pr_out(&rig.nexus, RESERVE, PR_EXCLUSIVE_ACCESS, 1, 0), 0);
    assert_int_equal(move(&third, 0, 5, 0, 1, other_port), CONFLICT);
    assert_int_equal(move(&rig.other, 2, 5, 0, 1, third_port), CONFLICT);
    assert_int_equal(move(&rig.nexus, 9, 5, 0, 1, third_port), CONFLICT);
    assert_int_equal(move(&rig.nexus, 1, 0, 0, 1, third_port), BAD_LIST_FIELD);
    assert_int_equal(move(&rig.nexus, 1, 5, 0, 2, third_port), BAD_LIST_FIELD);
    assert_int_equal(move(&rig.nexus, 1, 5, 0, 1, own_port), BAD_LIST_FIELD);
    expect_reservation(PR_EXCLUSIVE_ACCESS, 1);
    EXPECT_KEYS(2, 1, 2);
    assert_int_equal(pr_out(&rig.nexus, RELEASE, PR_EXCLUSIVE_ACCESS, 1, 0), 0);
    assert_int_equal(pr_out(&rig.nexus, RESERVE, PR_EXCLUSIVE_ACCESS_ALL, 1, 0), 0);
    assert_int_equal(move(&rig.nexus, 1, 5, 0, 1, third_port), CONFLICT);
}

/* ---- what survives ---- */

static void test_registrations_outlive_the_session_and_are_found_again(void **state)
{
    (void)state;
    registers(&third, 3);
    assert_int_equal(pr_out(&third, RESERVE, PR_EXCLUSIVE_ACCESS, 3, 0), 0);
    nexus_close(&third);
    EXPECT_KEYS(1, 3);
    assert_int_equal(read_one(&rig.nexus), CONFLICT);
    login(&third, "iqn.1998-01.com.vmware:esx3");
    assert_int_equal(read_one(&third), 0);
    assert_int_equal(pr_out(&third, RELEASE, PR_EXCLUSIVE_ACCESS, 3, 0), 0);
    assert_int_equal(read_one(&rig.nexus), 0);
}

static void test_another_session_of_the_host_is_another_registrant(void **state)
{
    struct nexus second;

    (void)state;
    registers(&third, 3);
    assert_int_equal(pr_out(&third, RESERVE, PR_EXCLUSIVE_ACCESS, 3, 0), 0);
    assert_int_equal(nexus_open(&second, &rig.worker, &rig.target, "iqn.1998-01.com.vmware:esx3",
                                "iqn.1998-01.com.vmware:esx3,i,0x00023d000002", 1),
                     0);
    settle(&second);
    assert_int_equal(read_one(&second), CONFLICT);
    nexus_close(&second);
}

static void test_a_unit_reset_leaves_persistent_reservations(void **state)
{
    (void)state;
    registers(&rig.nexus, 1);
    assert_int_equal(pr_out(&rig.nexus, RESERVE, PR_EXCLUSIVE_ACCESS, 1, 0), 0);
    reservation_drop_all(rig.lu, NULL, 0);
    expect_reservation(PR_EXCLUSIVE_ACCESS, 1);
    assert_int_equal(read_one(&rig.other), CONFLICT);
}

static struct persistent *kept(void)
{
    char error[PERSISTENT_FILE_ERROR_MAX] = "";
    struct persistent *found;

    assert_int_equal(persistent_file_read(kept_path, &found, error), 0);
    return found;
}

static void test_aptpl_keeps_it_before_the_answer_until_it_is_0_again(void **state)
{
    struct persistent *found;

    (void)state;
    assert_int_equal(pr_out_flagged(&rig.nexus, REGISTER, 0, 0, 1, APTPL), 0);
    registers(&rig.other, 2); /* APTPL=0: the last one counts */
    assert_null(kept());
    assert_int_equal(pr_out_flagged(&rig.nexus, REGISTER, 0, 1, 7, APTPL), 0);
    assert_int_equal(pr_out(&rig.nexus, RESERVE, PR_WRITE_EXCLUSIVE_REGISTRANTS, 7, 0), 0);
    found = kept();
    assert_non_null(found);
    assert_int_equal(found->count, 2);
    assert_int_equal(found->type, PR_WRITE_EXCLUSIVE_REGISTRANTS);
    assert_int_equal(found->generation, 0);
    assert_true(found->is_kept);
    assert_int_equal(found->registrants[0].key, 7);
    assert_true(found->registrants[0].is_holder);
    assert_string_equal(found->registrants[1].port, other_port);
    assert_false(found->registrants[1].is_holder);
    free(found);
    assert_int_equal(pr_out(&rig.nexus, CLEAR, 0, 7, 0), 0); /* kept too: nobody */
    found = kept();
    assert_non_null(found);
    assert_int_equal(found->count, 0);
    free(found);
}

static void test_aptpl_is_refused_where_nothing_can_be_kept(void **state)
{
    char *path = rig.lu->persistent_path;

    (void)state;
    rig.lu->persistent_path = NULL;
    assert_int_equal(pr_out_flagged(&rig.nexus, REGISTER, 0, 0, 1, APTPL), BAD_LIST_FIELD);
    EXPECT_KEYS(0);
    rig.lu->persistent_path = path;
}

static void test_what_cannot_be_kept_is_not_done(void **state)
{
    FILE *blocker;
    char folder[80];

    (void)state;
    snprintf(folder, sizeof folder, "%s/pr", state_dir);
    blocker = fopen(folder, "w"); /* where the folder should be */
    assert_non_null(blocker);
    fclose(blocker);
    assert_int_equal(pr_out_flagged(&rig.nexus, REGISTER, 0, 0, 1, APTPL), 0x44400);
    EXPECT_KEYS(0);
    unlink(folder);
}

static void read_file(char text[4096], size_t *len)
{
    FILE *in = fopen(kept_path, "r");

    assert_non_null(in);
    *len = fread(text, 1, 4096, in);
    fclose(in);
}

static void write_file(const char *text, size_t len)
{
    FILE *out = fopen(kept_path, "w");

    assert_non_null(out);
    assert_int_equal(fwrite(text, 1, len, out), len);
    fclose(out);
}

static void test_a_damaged_file_is_never_half_believed(void **state)
{
    char text[4096], error[PERSISTENT_FILE_ERROR_MAX];
    struct persistent *found;
    size_t len;

    (void)state;
    assert_int_equal(pr_out_flagged(&rig.nexus, REGISTER, 0, 0, 1, APTPL), 0);
    assert_int_equal(pr_out(&rig.nexus, RESERVE, PR_WRITE_EXCLUSIVE, 1, 0), 0);
    read_file(text, &len);
    for (size_t i = 0; i < len; i++) { /* a byte that is wrong, anywhere */
        text[i] ^= 1;
        write_file(text, len);
        text[i] ^= 1;
        assert_int_equal(persistent_file_read(kept_path, &found, error), -EBADMSG);
        assert_null(found);
    }
    for (size_t cut = 0; cut < len; cut++) { /* an end that is missing */
        write_file(text, cut);
        assert_int_equal(persistent_file_read(kept_path, &found, error), -EBADMSG);
    }
    assert_non_null(strstr(error, "restore it"));
    write_file(text, len);
    found = kept();
    assert_int_equal(found->count, 1);
    free(found);
}

/* ---- beside SCSI-2 reservations ---- */

/* SPC-2 5.5.1 */
static void test_a_scsi_2_reservation_keeps_persistent_commands_out(void **state)
{
    const uint8_t read_keys[10] = { 0x5e, 0, 0, 0, 0, 0, 0, 0, 8 };

    (void)state;
    assert_int_equal(reserve_6(&rig.nexus), 0);
    assert_int_equal(pr_out(&rig.other, REGISTER_AND_IGNORE, 0, 0, 1), CONFLICT);
    assert_int_equal(pr_out(&rig.nexus, REGISTER_AND_IGNORE, 0, 0, 1), CONFLICT);
    assert_int_equal(run(&rig.nexus, read_keys, 8, NULL, 0), CONFLICT);
    assert_int_equal(run(&rig.other, read_keys, 8, NULL, 0), CONFLICT);
    assert_int_equal(release_6(&rig.nexus), 0);
    registers(&rig.other, 1);
}

/* SPC-4 5.13.3 */
static void test_reserve_and_release_where_somebody_is_registered(void **state)
{
    (void)state;
    registers(&rig.nexus, 1);
    registers(&rig.other, 2);
    assert_int_equal(reserve_6(&rig.nexus), CONFLICT);
    assert_int_equal(release_6(&third), CONFLICT);
    for (unsigned i = 0; i < 6; i++) {
        unsigned of_registered = pr_type_is_registrants(all_types[i]) ? 0 : CONFLICT;

        assert_int_equal(pr_out(&rig.nexus, RESERVE, all_types[i], 1, 0), 0);
        assert_int_equal(reserve_6(&rig.nexus), 0);
        assert_int_equal(release_6(&rig.nexus), 0);
        assert_int_equal(reserve_6(&rig.other), of_registered);
        assert_int_equal(release_6(&rig.other), of_registered);
        assert_int_equal(reserve_6(&third), CONFLICT);
        assert_int_equal(release_6(&third), CONFLICT);
        expect_reservation(all_types[i], pr_type_is_all(all_types[i]) ? 0 : 1);
        assert_null(rig.lu->reservation.holder);
        assert_int_equal(pr_out(&rig.nexus, RELEASE, all_types[i], 1, 0), 0);
        settle(&rig.other);
    }
}

static void test_the_operator_clears_both_kinds_and_all_are_told(void **state)
{
    (void)state;
    assert_int_equal(reserve_6(&rig.nexus), 0);
    reservation_preempt(rig.lu);
    expect_attention(&rig.nexus, RESERVATIONS_PREEMPTED);
    assert_int_equal(write_one(&rig.other, 1), 0);
    expect_attention(&rig.other, 0);
}

static void clearing_is_done(struct persistent_clearing *clearing)
{
    clearing->lu = NULL;
}

static void test_the_operator_clears_registrations_and_what_was_kept(void **state)
{
    struct persistent_clearing clearing = {
        .lu = rig.lu, .workers = &rig.workers, .home = &rig.worker.mailbox, .done = clearing_is_done
    };
    struct persistent *found;

    (void)state;
    assert_int_equal(pr_out_flagged(&rig.nexus, REGISTER, 0, 0, 1, APTPL), 0);
    assert_int_equal(pr_out(&rig.nexus, RESERVE, PR_EXCLUSIVE_ACCESS, 1, 0), 0);
    persistent_clear_start(&clearing);
    for (unsigned i = 0; i < 1000 && clearing.lu; i++)
        ev_run(rig.loop, EVRUN_ONCE);
    assert_null(clearing.lu);
    assert_int_equal(clearing.error, 0);
    expect_attention(&rig.nexus, RESERVATIONS_PREEMPTED);
    EXPECT_KEYS(2);
    assert_int_equal(read_one(&rig.other), 0);
    found = kept();
    assert_int_equal(found->count, 0);
    free(found);
}

/* ---- at the gate ---- */

static void nobody(struct gate_hold *hold)
{
    (void)hold;
}

/* What another worker's command would hold. */
static void hold_blocks(struct gate_hold *hold)
{
    *hold = (struct gate_hold){ .entered = nobody };
    assert_true(gate_enter(&rig.lu->gate, hold, &rig.worker, GATE_EXCLUSIVE, 0, 4096));
}

static void test_a_write_that_waited_does_not_come_after_a_reservation(void **state)
{
    uint8_t cdb[10], *before = pattern(512, 1), *after = pattern(512, 2);
    struct gate_hold hold;
    struct fake_task task;

    (void)state;
    write_blocks(0, 1, before);
    hold_blocks(&hold);
    write_10(cdb, 0, 1);
    begin(&task, &rig.nexus, cdb, 0, after, 512);
    fake_start(&task);
    assert_int_equal(task.finished, 0);
    assert_int_equal(reservation_take(rig.lu, &rig.other), STATUS_GOOD);
    gate_leave(&hold);
    fake_wait(&task);
    assert_int_equal(result_of(&task), CONFLICT);
    fake_free(&task);
    assert_int_equal(release_6(&rig.other), 0);
    expect_blocks(0, 1, before);
    free(before);
    free(after);
}

static void test_compare_and_write_that_waited_does_not_come_after_a_reservation(void **state)
{
    uint8_t cdb[16] = { 0x89, [13] = 1 }, both[1024], *before = pattern(512, 1);
    struct gate_hold hold;
    struct fake_task task;

    (void)state;
    write_blocks(0, 1, before);
    memcpy(both, before, 512);
    memset(both + 512, 0xee, 512);
    hold_blocks(&hold);
    begin(&task, &rig.nexus, cdb, 0, both, 1024);
    fake_start(&task);
    assert_int_equal(task.finished, 0);
    assert_int_equal(reservation_take(rig.lu, &rig.other), STATUS_GOOD);
    gate_leave(&hold);
    fake_wait(&task);
    assert_int_equal(result_of(&task), CONFLICT);
    fake_free(&task);
    assert_int_equal(release_6(&rig.other), 0);
    expect_blocks(0, 1, before);
    free(before);
}

/* It would erase what the other host has just locked. */
static void test_sanitize_that_waited_does_not_come_after_a_reservation(void **state)
{
    const uint8_t cdb[10] = { 0x48, 0x02 }; /* BLOCK ERASE */
    uint8_t *before = pattern(512, 1);
    struct gate_hold hold;
    struct fake_task task;

    (void)state;
    write_blocks(0, 1, before);
    hold_blocks(&hold);
    begin(&task, &rig.nexus, cdb, 0, NULL, 0);
    fake_start(&task);
    assert_int_equal(task.finished, 0);
    assert_int_equal(reservation_take(rig.lu, &rig.other), STATUS_GOOD);
    gate_leave(&hold);
    fake_wait(&task);
    assert_int_equal(result_of(&task), CONFLICT);
    fake_free(&task);
    assert_int_equal(release_6(&rig.other), 0);
    expect_blocks(0, 1, before);
    free(before);
}

/* The check was before, its data comes after: it has not waited at the gate at all. */
static void test_a_write_whose_data_comes_late_does_not_come_after_a_reservation(void **state)
{
    uint8_t cdb[10], *before = pattern(512, 1), *after = pattern(512, 2);
    struct fake_task task;

    (void)state;
    write_blocks(0, 1, before);
    write_10(cdb, 0, 1);
    for (int is_solid = 0; is_solid < 2; is_solid++) {
        begin(&task, &rig.nexus, cdb, 0, after, 512);
        task.is_held_back = true;
        task.is_solid = is_solid;
        fake_start(&task);
        assert_int_equal(reserve_6(&rig.other), 0);
        fake_send(&task);
        fake_wait(&task);
        assert_int_equal(result_of(&task), CONFLICT);
        fake_free(&task);
        assert_int_equal(release_6(&rig.other), 0);
    }
    expect_blocks(0, 1, before);
    free(before);
    free(after);
}

/* SPC-4 5.13.1: what has begun is not ended by a reservation that comes later. */
static void test_a_write_that_is_under_way_goes_on(void **state)
{
    enum { BLOCKS = 1024 }; /* two bursts */
    uint8_t cdb[10], *data = pattern(BLOCKS * 512, 3);
    struct fake_task task;

    (void)state;
    write_10(cdb, 0, BLOCKS);
    begin(&task, &rig.nexus, cdb, 0, data, BLOCKS * 512);
    task.is_held_back = true;
    fake_start(&task);
    assert_true(fake_send(&task));
    assert_int_equal(reserve_6(&rig.other), 0);
    while (fake_send(&task))
        ;
    fake_wait(&task);
    assert_int_equal(result_of(&task), 0);
    fake_free(&task);
    assert_int_equal(release_6(&rig.other), 0);
    expect_blocks(0, BLOCKS, data);
    free(data);
}

static void start_stuck_write(struct fake_task *task, struct nexus *nexus, const uint8_t *data)
{
    uint8_t cdb[10];

    inline_write_answer = -EAGAIN;
    takes_io = true;
    write_10(cdb, 0, 1);
    begin(task, nexus, cdb, 0, data, 512);
    fake_start(task);
    assert_int_equal(taken_count, 1);
}

static void test_reserve_waits_for_what_is_in_flight(void **state)
{
    const uint8_t cdb[6] = { 0x16 };
    uint8_t data[512] = { 0 };
    struct fake_task write, reserve;

    (void)state;
    start_stuck_write(&write, &rig.nexus, data);
    begin(&reserve, &rig.other, cdb, 0, NULL, 0);
    fake_start(&reserve);
    ev_run(rig.loop, EVRUN_NOWAIT);
    assert_int_equal(reserve.finished, 0);
    end_io(0);
    fake_wait(&write);
    assert_int_equal(result_of(&write), 0);
    fake_wait(&reserve);
    assert_int_equal(result_of(&reserve), 0);
    fake_free(&write);
    fake_free(&reserve);
}

static void test_an_aborted_reserve_takes_nothing(void **state)
{
    const uint8_t cdb[6] = { 0x16 };
    uint8_t data[512] = { 0 };
    struct fake_task write, reserve;

    (void)state;
    start_stuck_write(&write, &rig.nexus, data);
    begin(&reserve, &rig.other, cdb, 0, NULL, 0);
    fake_start(&reserve);
    command_abort(reserve.command);
    assert_int_equal(reserve.finished, 1);
    end_io(0);
    fake_wait(&write);
    assert_null(rig.lu->reservation.holder);
    fake_free(&write);
    fake_free(&reserve);
}

static void start_pr_out(struct fake_task *task, struct nexus *nexus, unsigned action, uint64_t key,
                         uint64_t action_key)
{
    static uint8_t list[24];
    uint8_t cdb[10];

    out_cdb(cdb, action, PR_WRITE_EXCLUSIVE, 24);
    basic_list(list, key, action_key, 0);
    begin(task, nexus, cdb, 0, list, 24);
    fake_start(task);
}

static void test_an_aborted_persistent_reserve_out_changes_nothing(void **state)
{
    uint8_t data[512] = { 0 };
    struct fake_task write, out;

    (void)state;
    registers(&rig.other, 2);
    start_stuck_write(&write, &rig.nexus, data);
    start_pr_out(&out, &rig.other, CLEAR, 2, 0);
    ev_run(rig.loop, EVRUN_NOWAIT);
    assert_int_equal(out.finished, 0);
    command_abort(out.command);
    assert_int_equal(out.finished, 1);
    end_io(0);
    fake_wait(&write);
    fake_free(&write);
    fake_free(&out);
    EXPECT_KEYS(1, 2);
}

static void test_preempt_and_abort_answers_when_the_victims_tasks_are_dead(void **state)
{
    uint8_t cdb[10], data[512] = { 0 };
    struct fake_task waiting, mine, preempt;

    (void)state;
    registers(&rig.nexus, 1);
    registers(&rig.other, 2);
    write_10(cdb, 64, 1);
    begin(&waiting, &rig.nexus, cdb, 0, data, 512); /* its data has not come */
    waiting.is_held_back = true;
    fake_start(&waiting);
    begin(&mine, &rig.other, cdb, 0, data, 512);
    mine.is_held_back = true;
    fake_start(&mine);
    start_pr_out(&preempt, &rig.other, PREEMPT_AND_ABORT, 2, 1);
    fake_wait(&preempt);
    assert_int_equal(result_of(&preempt), 0);
    assert_int_equal(waiting.finished, 1);
    assert_true(waiting.answer.was_aborted);
    assert_int_equal(mine.finished, 0); /* who asks keeps its tasks */
    fake_send(&mine);
    fake_wait(&mine);
    assert_int_equal(result_of(&mine), 0);
    expect_attention(&rig.nexus, REGISTRATIONS_PREEMPTED);
    fake_free(&waiting);
    fake_free(&mine);
    fake_free(&preempt);
}

static void test_preempt_leaves_the_victims_tasks_alone(void **state)
{
    uint8_t cdb[10], data[512] = { 0 };
    struct fake_task waiting;

    (void)state;
    registers(&rig.nexus, 1);
    registers(&rig.other, 2);
    write_10(cdb, 64, 1);
    begin(&waiting, &rig.nexus, cdb, 0, data, 512);
    waiting.is_held_back = true;
    fake_start(&waiting);
    assert_int_equal(pr_out(&rig.other, PREEMPT, PR_WRITE_EXCLUSIVE, 2, 1), 0);
    assert_int_equal(waiting.finished, 0);
    fake_send(&waiting);
    fake_wait(&waiting);
    assert_int_equal(result_of(&waiting), 0);
    fake_free(&waiting);
}

/* ---- PERSISTENT RESERVE IN ---- */

static void test_full_status_tells_ports_and_holder(void **state)
{
    uint32_t len;
    uint8_t *bytes;

    (void)state;
    registers(&rig.nexus, 1);
    registers(&rig.other, 2);
    assert_int_equal(pr_out(&rig.other, RESERVE, PR_WRITE_EXCLUSIVE_REGISTRANTS, 2, 0), 0);
    bytes = pr_in(PR_IN_READ_FULL_STATUS, &len);
    assert_int_equal(len, 8 + 2 * (24 + 52));
    assert_int_equal(get_be64(bytes + 8), 1);
    assert_int_equal(bytes[8 + 12], 0);
    assert_int_equal(get_be64(bytes + 84), 2);
    assert_int_equal(bytes[84 + 12], 1);
    assert_int_equal(bytes[84 + 13], PR_WRITE_EXCLUSIVE_REGISTRANTS);
    assert_string_equal((char *)bytes + 84 + 24 + 4, other_port);
    free(bytes);
}

static void test_data_is_cut_to_the_allocation_length(void **state)
{
    const uint8_t cdb[10] = { 0x5e, 0, 0, 0, 0, 0, 0, 0, 10 };
    struct fake_task task;

    (void)state;
    registers(&rig.nexus, 1);
    begin(&task, &rig.nexus, cdb, 64, NULL, 0);
    fake_start(&task);
    fake_wait(&task);
    assert_int_equal(result_of(&task), 0);
    assert_int_equal(task.in_bytes, 10);
    assert_int_equal(get_be32(task.in + 4), 8); /* what there is, not what is sent */
    fake_free(&task);
}

static void test_unknown_service_actions_are_a_bad_field(void **state)
{
    (void)state;
    for (unsigned action = 0; action < 32; action++) {
        const uint8_t in[10] = { 0x5e, (uint8_t)action };
        uint8_t out[10];

        if (action > 3)
            assert_int_equal(run(&rig.nexus, in, 0, NULL, 0), BAD_CDB_FIELD);
        out_cdb(out, action, 0, 24);
        if (action > 7)
            assert_int_equal(run(&rig.nexus, out, 0, NULL, 0), BAD_CDB_FIELD);
    }
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_the_conflict_tables_hold_for_every_type),
        TEST(test_every_opcode_is_in_the_tables),
        TEST(test_registrations_alone_keep_nobody_out),
        TEST(test_register_checks_the_key_that_is_there),
        TEST(test_register_and_ignore_existing_key_ignores_it),
        TEST(test_a_new_key_leaves_the_reservation_alone),
        TEST(test_lists_of_a_wrong_length_are_refused),
        TEST(test_spec_i_pt_registers_those_who_are_listed),
        TEST(test_spec_i_pt_registers_all_or_nobody),
        TEST(test_a_name_without_port_means_all_its_sessions),
        TEST(test_the_129th_registration_finds_no_room),
        TEST(test_without_registration_nothing_else_is_taken),
        TEST(test_scopes_and_types_that_do_not_exist_are_refused),
        TEST(test_reserving_again_is_good_as_it_was_only),
        TEST(test_all_registrants_hold_what_one_has_reserved),
        TEST(test_release_tells_the_other_registrants_of_registrants_types),
        TEST(test_release_of_what_is_not_held_changes_nothing),
        TEST(test_clear_takes_all_and_tells_the_others),
        TEST(test_the_reservation_goes_with_its_holders_registration),
        TEST(test_an_all_registrants_reservation_goes_with_the_last_one),
        TEST(test_preempting_the_holder_takes_its_place),
        TEST(test_preempting_to_another_type_tells_those_who_stay),
        TEST(test_preempting_a_shared_key_takes_all_who_have_it),
        TEST(test_the_holder_may_preempt_itself),
        TEST(test_preempting_who_does_not_hold_removes_registrations_only),
        TEST(test_preempting_one_of_all_registrants_leaves_the_reservation),
        TEST(test_key_0_preempts_all_registrants),
        TEST(test_key_0_of_other_types_is_refused),
        TEST(test_preempting_a_key_that_nobody_has_conflicts),
        TEST(test_a_reservation_moves_to_where_its_holder_says),
        TEST(test_a_move_that_cannot_be_is_refused),
        TEST(test_registrations_outlive_the_session_and_are_found_again),
        TEST(test_another_session_of_the_host_is_another_registrant),
        TEST(test_a_unit_reset_leaves_persistent_reservations),
        TEST(test_aptpl_keeps_it_before_the_answer_until_it_is_0_again),
        TEST(test_aptpl_is_refused_where_nothing_can_be_kept),
        TEST(test_what_cannot_be_kept_is_not_done),
        TEST(test_a_damaged_file_is_never_half_believed),
        TEST(test_a_scsi_2_reservation_keeps_persistent_commands_out),
        TEST(test_reserve_and_release_where_somebody_is_registered),
        TEST(test_the_operator_clears_both_kinds_and_all_are_told),
        TEST(test_the_operator_clears_registrations_and_what_was_kept),
        TEST(test_a_write_that_waited_does_not_come_after_a_reservation),
        TEST(test_compare_and_write_that_waited_does_not_come_after_a_reservation),
        TEST(test_sanitize_that_waited_does_not_come_after_a_reservation),
        TEST(test_a_write_whose_data_comes_late_does_not_come_after_a_reservation),
        TEST(test_a_write_that_is_under_way_goes_on),
        TEST(test_reserve_waits_for_what_is_in_flight),
        TEST(test_an_aborted_reserve_takes_nothing),
        TEST(test_an_aborted_persistent_reserve_out_changes_nothing),
        TEST(test_preempt_and_abort_answers_when_the_victims_tasks_are_dead),
        TEST(test_preempt_leaves_the_victims_tasks_alone),
        TEST(test_full_status_tells_ports_and_holder),
        TEST(test_data_is_cut_to_the_allocation_length),
        TEST(test_unknown_service_actions_are_a_bad_field),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
