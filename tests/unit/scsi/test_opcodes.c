/* the opcode table: every row is found, told, and refuses what its mask does not allow */
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "target/scsi/opcodes.h"
#include "tests/unit/scsi/fake_transport.h"

static struct rig rig;

static int setup(void **state)
{
    (void)state;
    rig_open(&rig, &(struct rig_options){ .has_vaai = true });
    rig.target.has_alua = true;
    rig_clear_unit_attentions(&rig);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    rig_close(&rig);
    return 0;
}

/* A CDB of this row that asks for nothing in particular. */
static void row_cdb(const struct opcode_row *row, uint8_t cdb[16])
{
    memset(cdb, 0, 16);
    cdb[0] = row->opcode;
    if (row->service_action != OPCODE_NO_SA)
        cdb[1] = (uint8_t)row->service_action;
}

static void put_range(const struct opcode_row *row, uint8_t cdb[16], uint64_t lba, uint8_t blocks)
{
    switch (row->lba) {
    case LBA_6:
        put_be24(cdb + 1, (uint32_t)lba);
        cdb[4] = blocks;
        break;
    case LBA_10:
    case LBA_10_SAME:
        put_be32(cdb + 2, (uint32_t)lba);
        cdb[8] = blocks;
        break;
    case LBA_12:
        put_be32(cdb + 2, (uint32_t)lba);
        cdb[9] = blocks;
        break;
    case LBA_16:
    case LBA_16_SAME:
        put_be64(cdb + 2, lba);
        cdb[13] = blocks;
        break;
    case LBA_CAW:
    case LBA_ATOMIC:
        put_be64(cdb + 2, lba);
        cdb[13] = blocks;
        break;
    case LBA_NONE: break;
    }
}

static unsigned sense_of(const uint8_t *cdb, uint32_t bytes)
{
    uint8_t *out = calloc(1, bytes + 1);
    struct fake_task task;
    unsigned sense;

    assert_non_null(out);
    fake_run(&task, &rig, cdb, bytes, out, bytes);
    sense = fake_sense(&task);
    fake_free(&task);
    free(out);
    return sense;
}

static void test_rows_ascend_and_are_whole(void **state)
{
    (void)state;
    for (unsigned i = 0; i < opcode_count; i++) {
        const struct opcode_row *row = &opcode_table[i];
        assert_true(row->name && row->run);
        assert_int_not_equal(row->reservation, RSV_NONE);
        assert_int_equal(row->cdb_len, cdb_length(row->opcode));
        assert_int_equal(row->usage[0], row->opcode);
        if (row->direction == DATA_OUT)
            assert_true(row->out);
        if (i > 0) {
            const struct opcode_row *before = row - 1;
            assert_true(
                before->opcode < row->opcode ||
                (before->opcode == row->opcode && before->service_action < row->service_action));
        }
    }
}

static void test_every_row_is_found_by_its_cdb(void **state)
{
    uint8_t cdb[16];
    bool known;

    (void)state;
    for (unsigned i = 0; i < opcode_count; i++) {
        row_cdb(&opcode_table[i], cdb);
        assert_ptr_equal(opcode_find(cdb, &known), &opcode_table[i]);
        assert_true(known);
    }
}

static void test_unknown_opcodes_and_service_actions_are_refused(void **state)
{
    uint8_t cdb[16] = { 0 };
    bool known;

    (void)state;
    for (unsigned opcode = 0; opcode < 256; opcode++) {
        cdb[0] = (uint8_t)opcode;
        cdb[1] = 0x1f; /* no command has this service action */
        if (opcode_find(cdb, &known) || opcode == 0x7f)
            continue;
        assert_int_equal(sense_of(cdb, 0), opcode_is_one_command(cdb[0])
                                               ? SENSE_CODE(0x5, 0x24, 0x00)
                                               : SENSE_CODE(0x5, 0x20, 0x00));
    }
}

static void test_a_bit_outside_the_mask_is_refused_and_pointed_at(void **state)
{
    uint8_t cdb[16];

    (void)state;
    for (unsigned i = 0; i < opcode_count; i++) {
        const struct opcode_row *row = &opcode_table[i];
        for (unsigned bit = 8; bit < row->cdb_len * 8u; bit++) {
            uint8_t flag = (uint8_t)(1u << bit % 8);
            unsigned byte = bit / 8;
            struct fake_task task;

            row_cdb(row, cdb);
            if (row->usage[byte] & flag ||
                (byte == 1 && row->service_action != OPCODE_NO_SA && flag <= 0x10))
                continue; /* allowed, or another service action */
            if (byte == 1 && row->cdb_len == 6 && flag >= 0x20)
                continue; /* SCSI-2's LUN */
            cdb[byte] |= flag;
            fake_run(&task, &rig, cdb, 0, NULL, 0);
            if (fake_sense(&task) != SENSE_CODE(0x5, 0x24, 0x00))
                printf("%s: byte %u flag %02x\n", row->name, byte, flag);
            assert_int_equal(fake_sense(&task), SENSE_CODE(0x5, 0x24, 0x00));
            assert_int_equal(task.answer.sense[15], 0xc0);
            assert_int_equal(get_be16(task.answer.sense + 16), byte);
            fake_free(&task);
        }
    }
}

/* ---- what the mask allows ---- */

enum {
    INQUIRY = 0x12,
    MODE_SELECT_6 = 0x15,
    MODE_SENSE_6 = 0x1a,
    WRITE_SAME_10 = 0x41,
    SANITIZE = 0x48,
    LOG_SENSE = 0x4d,
    MODE_SELECT_10 = 0x55,
    MODE_SENSE_10 = 0x5a,
    RECEIVE_COPY = 0x84,
    WRITE_SAME_16 = 0x93,
    MAINTENANCE_IN = 0xa3,
};

/* Fields of which not every number is known, so that a bit of theirs may be in none that is. */
static const struct chosen {
    uint8_t opcode;
    int service_action;
    unsigned first, last; /* bytes */
    uint8_t known;        /* in the last one; 0: known is what a host has named before */
} chosen[] = {
    {INQUIRY,         OPCODE_NO_SA, 2, 2, 0xb0}, /* PAGE CODE */
    { LOG_SENSE,      OPCODE_NO_SA, 2, 2, 0x0c}, /* PC, PAGE CODE */
    { LOG_SENSE,      OPCODE_NO_SA, 5, 6, 0x01}, /* PARAMETER POINTER */
    { SANITIZE,       0x01,         7, 8, 0x08}, /* PARAMETER LIST LENGTH: a block and its header */
    { RECEIVE_COPY,   0x00,         2, 2, 0x00}, /* LIST IDENTIFIER */
    { RECEIVE_COPY,   0x04,         2, 2, 0x00},
    { MAINTENANCE_IN, 0x0a,         1, 1, 0x2a}, /* PARAMETER DATA FORMAT */
    { MAINTENANCE_IN, 0x0c,         2, 2, 0x03}, /* REPORTING OPTIONS */
};

static const struct chosen *chosen_field(const struct opcode_row *row, unsigned byte)
{
    for (unsigned i = 0; i < sizeof chosen / sizeof *chosen; i++) {
        const struct chosen *field = &chosen[i];
        if (field->opcode == row->opcode && field->service_action == row->service_action &&
            byte >= field->first && byte <= field->last)
            return field;
    }
    return NULL;
}

/* What a field needs beside it to be looked at. */
static void add_context(const struct opcode_row *row, unsigned byte, uint8_t cdb[16])
{
    enum { EVPD = 0x01, PAGE_FORMAT = 0x10, ALL_PAGES = 0x3f, PROVISIONING_PAGE = 0x0c };

    switch (row->opcode) {
    case INQUIRY: cdb[1] = EVPD; break;
    case MODE_SELECT_6:
    case MODE_SELECT_10: cdb[1] = PAGE_FORMAT; break;
    case MODE_SENSE_6:
    case MODE_SENSE_10: cdb[2] = ALL_PAGES; break;
    case WRITE_SAME_10: cdb[8] = 1; break;
    case WRITE_SAME_16: cdb[13] = 1; break;
    case LOG_SENSE: cdb[2] = byte == 3 ? 0 : PROVISIONING_PAGE; break; /* all SUBPAGEs */
    default: break;
    }
}

/* What commands leave behind that would refuse the next. */
static void forget(void)
{
    for (unsigned turns = 0; atomic_load(&rig.lu->sanitize.state) == SANITIZE_RUNNING; turns++) {
        assert_true(turns < 1000 * 1000);
        sched_yield();
    }
    atomic_store(&rig.lu->is_stopped, false);
    atomic_store(&rig.lu->is_ejected, false);
    rig_clear_unit_attentions(&rig);
}

/* Is the command refused for this byte? */
static bool is_refused_at(const struct opcode_row *row, const uint8_t cdb[16], unsigned byte)
{
    uint32_t bytes = row->lba == LBA_CAW ? 2u * cdb[13] * RIG_BLOCK_BYTES : 0;
    uint8_t *out = calloc(1, bytes + 1);
    struct fake_task task;
    bool is_refused;

    assert_non_null(out);
    fake_run(&task, &rig, cdb, 0, out, bytes);
    is_refused = fake_sense(&task) == SENSE_INVALID_FIELD_IN_CDB && task.answer.sense[15] == 0xc0 &&
                 get_be16(task.answer.sense + 16) == byte;
    fake_free(&task);
    free(out);
    forget();
    return is_refused;
}

/* Is there a value with this bit that is not refused? */
static bool is_taken(const struct opcode_row *row, unsigned byte, uint8_t flag)
{
    uint8_t cdb[16], fixed;

    row_cdb(row, cdb);
    fixed = cdb[byte]; /* the service action */
    add_context(row, byte, cdb);
    cdb[byte] |= flag;
    if (!is_refused_at(row, cdb, byte))
        return true;
    for (unsigned value = 1; value < 256; value++) {
        if (!(value & flag) || value & ~row->usage[byte] || (fixed && (value & 0x1f) != fixed))
            continue;
        cdb[byte] = (uint8_t)value;
        if (!is_refused_at(row, cdb, byte))
            return true;
    }
    return false;
}

static bool is_chosen_one_taken(const struct opcode_row *row, const struct chosen *field)
{
    uint8_t cdb[16];

    row_cdb(row, cdb);
    add_context(row, field->first, cdb);
    cdb[field->last] = field->known;
    return field->known == 0 || !is_refused_at(row, cdb, field->first);
}

static void test_every_bit_of_the_mask_is_taken_or_one_of_a_choice(void **state)
{
    (void)state;
    rig.lu->is_removable = true; /* for LOEJ */
    for (unsigned i = 0; i < opcode_count; i++) {
        const struct opcode_row *row = &opcode_table[i];
        for (unsigned bit = 8; bit < row->cdb_len * 8u; bit++) {
            const struct chosen *field = chosen_field(row, bit / 8);
            uint8_t flag = (uint8_t)(1u << bit % 8);
            if (!(row->usage[bit / 8] & flag) ||
                (bit < 16 && row->service_action != OPCODE_NO_SA && flag <= 0x10))
                continue; /* not allowed, or another service action */
            if (!is_taken(row, bit / 8, flag) && !(field && is_chosen_one_taken(row, field)))
                fail_msg("%s: flag %02x of byte %u is in the mask, and never taken", row->name,
                         flag, bit / 8);
        }
    }
}

static void test_a_cdb_that_is_cut_short_is_refused(void **state)
{
    (void)state;
    for (unsigned i = 0; i < opcode_count; i++) {
        struct fake_task task;
        uint8_t cdb[16];

        row_cdb(&opcode_table[i], cdb);
        fake_task(&task, &rig, cdb, 0, NULL, 0);
        task.command->cdb_len = (uint8_t)(opcode_table[i].cdb_len - 1);
        fake_start(&task);
        assert_int_equal(task.finished, 1);
        assert_int_equal(fake_sense(&task), SENSE_CODE(0x5, 0x24, 0x00));
        fake_free(&task);
    }
}

static void test_ranges_end_with_the_unit(void **state)
{
    uint8_t cdb[16];

    (void)state;
    for (unsigned i = 0; i < opcode_count; i++) {
        const struct opcode_row *row = &opcode_table[i];
        if (row->lba == LBA_NONE)
            continue;
        row_cdb(row, cdb);
        put_range(row, cdb, RIG_BLOCKS - 1, 1);
        /* COMPARE AND WRITE brings every block twice */
        assert_int_equal(sense_of(cdb, (row->lba == LBA_CAW ? 2 : 1) * RIG_BLOCK_BYTES), 0);
        put_range(row, cdb, RIG_BLOCKS - 1, 2);
        assert_int_equal(sense_of(cdb, 2 * RIG_BLOCK_BYTES), SENSE_CODE(0x5, 0x21, 0x00));
        put_range(row, cdb, RIG_BLOCKS, 1);
        assert_int_equal(sense_of(cdb, RIG_BLOCK_BYTES), SENSE_CODE(0x5, 0x21, 0x00));
        put_range(row, cdb, RIG_BLOCKS + 1, 0);
        assert_int_equal(sense_of(cdb, 0), SENSE_CODE(0x5, 0x21, 0x00));
        if (row->cdb_len == 16) {
            put_range(row, cdb, UINT64_MAX, 1); /* the sum wraps to 0 */
            assert_int_equal(sense_of(cdb, RIG_BLOCK_BYTES), SENSE_CODE(0x5, 0x21, 0x00));
        }
    }
}

static void report(struct fake_task *task, uint8_t option, uint8_t opcode, uint16_t service_action)
{
    uint8_t cdb[12] = { 0xa3, 0x0c, option, opcode };

    put_be16(cdb + 4, service_action);
    put_be32(cdb + 6, 8192);
    fake_run(task, &rig, cdb, 8192, NULL, 0);
}

static void test_report_of_all_opcodes_mirrors_the_table(void **state)
{
    struct fake_task task;

    (void)state;
    report(&task, 0, 0, 0);
    assert_int_equal(get_be32(task.in), task.in_bytes - 4);
    assert_int_equal(task.in_bytes, 4 + 8 * opcode_count);
    for (unsigned i = 0; i < opcode_count; i++) {
        const struct opcode_row *row = &opcode_table[i];
        const uint8_t *descriptor = task.in + 4 + 8 * (size_t)i;
        bool has_action = row->service_action != OPCODE_NO_SA;
        assert_int_equal(descriptor[0], row->opcode);
        assert_int_equal(descriptor[5], has_action);
        assert_int_equal(get_be16(descriptor + 2), has_action ? row->service_action : 0);
        assert_int_equal(get_be16(descriptor + 6), row->cdb_len);
    }
    fake_free(&task);
}

static void test_report_of_one_opcode_tells_its_mask(void **state)
{
    struct fake_task task;

    (void)state;
    for (unsigned i = 0; i < opcode_count; i++) {
        const struct opcode_row *row = &opcode_table[i];
        bool has_action = row->service_action != OPCODE_NO_SA;
        report(&task, 3, row->opcode, has_action ? (uint16_t)row->service_action : 0);
        assert_int_equal(task.in[1], 0x03);
        assert_int_equal(get_be16(task.in + 2), row->cdb_len);
        assert_memory_equal(task.in + 4, row->usage, row->cdb_len);
        fake_free(&task);
    }
}

static void test_report_with_timeouts_has_a_descriptor_behind_each(void **state)
{
    struct fake_task task;

    (void)state;
    report(&task, 0x80, 0, 0);
    assert_int_equal(task.in_bytes, 4 + 20 * opcode_count);
    assert_int_equal(task.in[4 + 5] & 0x02, 0x02);
    assert_int_equal(get_be16(task.in + 4 + 8), 0x000a);
    fake_free(&task);
    report(&task, 0x81, 0x28, 0);
    assert_int_equal(task.in[1], 0x83);
    assert_int_equal(task.in_bytes, 4 + 10 + 12);
    fake_free(&task);
}

static void test_report_options_must_fit_the_opcode(void **state)
{
    struct fake_task task;

    (void)state;
    report(&task, 1, 0x9e, 0); /* has service actions */
    assert_int_equal(fake_sense(&task), SENSE_CODE(0x5, 0x24, 0x00));
    fake_free(&task);
    report(&task, 2, 0x28, 0); /* has none */
    assert_int_equal(fake_sense(&task), SENSE_CODE(0x5, 0x24, 0x00));
    fake_free(&task);
    report(&task, 4, 0x28, 0);
    assert_int_equal(fake_sense(&task), SENSE_CODE(0x5, 0x24, 0x00));
    fake_free(&task);
    report(&task, 3, 0x28, 1);
    assert_int_equal(task.in[1], 0x01); /* not supported */
    fake_free(&task);
    report(&task, 1, 0xff, 0);
    assert_int_equal(task.in[1], 0x01);
    fake_free(&task);
}

static void test_report_of_task_management_tells_what_there_is(void **state)
{
    const uint8_t cdb[12] = { 0xa3, 0x0d, 0, 0, 0, 0, 0, 0, 0, 4 };
    const uint8_t expected[4] = { 0xda, 0, 0, 0 }; /* ATS, ATSS, CTSS, LURS, TRS */
    struct fake_task task;

    (void)state;
    fake_run(&task, &rig, cdb, 4, NULL, 0);
    assert_int_equal(task.in_bytes, 4);
    assert_memory_equal(task.in, expected, 4);
    fake_free(&task);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_rows_ascend_and_are_whole),
        TEST(test_every_row_is_found_by_its_cdb),
        TEST(test_unknown_opcodes_and_service_actions_are_refused),
        TEST(test_a_bit_outside_the_mask_is_refused_and_pointed_at),
        TEST(test_every_bit_of_the_mask_is_taken_or_one_of_a_choice),
        TEST(test_a_cdb_that_is_cut_short_is_refused),
        TEST(test_ranges_end_with_the_unit),
        TEST(test_report_of_all_opcodes_mirrors_the_table),
        TEST(test_report_of_one_opcode_tells_its_mask),
        TEST(test_report_with_timeouts_has_a_descriptor_behind_each),
        TEST(test_report_options_must_fit_the_opcode),
        TEST(test_report_of_task_management_tells_what_there_is),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
