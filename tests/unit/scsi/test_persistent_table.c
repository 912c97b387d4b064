/* persistent reservations: whom they keep out, command by command, SPC-4 5.13.1 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "target/scsi/opcodes.h"
#include "tests/unit/scsi/persistent_bench.h"

/*
 * SPC-4 table 65 and SBC-3 table 12.
 *
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

#define TEST(test) cmocka_unit_test_setup_teardown(test, persistent_setup, persistent_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_the_conflict_tables_hold_for_every_type),
        TEST(test_every_opcode_is_in_the_tables),
        TEST(test_registrations_alone_keep_nobody_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
