/* limits: what a page tells is taken in full, and one more is refused where the standard says */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "target/scsi/opcodes.h"
#include "target/worker/log.h"
#include "tests/unit/scsi/copy_bench.h"

/* LUN 0 has blocks of 512 bytes, LUN 2 of 4096 */
enum { SMALL = 1 << 0, LARGE = 1 << 2, BOTH = SMALL | LARGE };

enum {
    COPY_PARAMETERS = 0x100, /* beside the VPD page codes: what RECEIVE COPY tells of itself */
    REPLY_BYTES = 512,
    COPIES_MAX = 64,
};

/* Where a field pointer points to, beside a byte of the parameter list */
enum { NOWHERE = -1, IN_CDB = 0x10000 };

struct outcome {
    unsigned result; /* a status, or KEY << 16 | ASC << 8 | ASCQ */
    int pointer;
};

static int setup(void **state)
{
    int result = copy_setup(state);

    log_set_level(LOG_LEVEL_ERROR); /* refusals are what is tested */
    return result;
}

static struct outcome outcome_of(const struct fake_task *task)
{
    const uint8_t *sense = task->answer.sense;
    struct outcome outcome = { .result = task->answer.status, .pointer = NOWHERE };

    if (task->answer.status != STATUS_CHECK_CONDITION)
        return outcome;
    outcome.result = fake_sense(task);
    if (sense[15] & 0x80)
        outcome.pointer = get_be16(sense + 16) + (sense[15] & 0x40 ? IN_CDB : 0);
    return outcome;
}

static struct outcome run(unsigned lun, const uint8_t *cdb, const uint8_t *out, uint32_t out_bytes)
{
    struct fake_task task;
    struct outcome outcome;

    fake_task(&task, &rig, cdb, 0, out, out_bytes);
    task.command->lun = (uint64_t)lun << 48;
    fake_start(&task);
    fake_wait(&task);
    outcome = outcome_of(&task);
    fake_free(&task);
    return outcome;
}

/* With so many zeros. */
static struct outcome run_zeros(unsigned lun, const uint8_t *cdb, uint64_t out_bytes)
{
    uint8_t *zeros = calloc(1, out_bytes + 1);
    struct outcome outcome;

    assert_non_null(zeros);
    outcome = run(lun, cdb, zeros, (uint32_t)out_bytes);
    free(zeros);
    return outcome;
}

static void expect_outcome(const char *what, struct outcome expected, struct outcome came)
{
    if (came.result != expected.result || came.pointer != expected.pointer)
        fail_msg("%s: expected %05x at %05x, came %05x at %05x", what, expected.result,
                 (unsigned)expected.pointer, came.result, (unsigned)came.pointer);
}

static const struct outcome good = { .result = STATUS_GOOD, .pointer = NOWHERE };

static struct outcome bad_cdb(int byte)
{
    return (struct outcome){ .result = SENSE_INVALID_FIELD_IN_CDB, .pointer = IN_CDB + byte };
}

/* ---- what the pages tell ---- */

static void reply_of(unsigned lun, const uint8_t *cdb, uint8_t reply[REPLY_BYTES])
{
    struct fake_task task;

    fake_task(&task, &rig, cdb, REPLY_BYTES, NULL, 0);
    task.command->lun = (uint64_t)lun << 48;
    fake_start(&task);
    fake_wait(&task);
    assert_int_equal(task.answer.status, STATUS_GOOD);
    memset(reply, 0, REPLY_BYTES);
    memcpy(reply, task.in, task.in_bytes);
    fake_free(&task);
}

static void read_page(unsigned lun, unsigned page, uint8_t reply[REPLY_BYTES])
{
    uint8_t inquiry[6] = { 0x12, 0x01, (uint8_t)page, REPLY_BYTES >> 8, 0 };
    uint8_t parameters[16] = { 0x84, 0x03 };

    put_be32(parameters + 10, REPLY_BYTES);
    reply_of(lun, page == COPY_PARAMETERS ? parameters : inquiry, reply);
}

static uint64_t told(unsigned lun, unsigned page, unsigned at, unsigned bytes)
{
    uint8_t reply[REPLY_BYTES];
    uint64_t value = 0;

    read_page(lun, page, reply);
    for (unsigned i = 0; i < bytes; i++)
        value = value << 8 | reply[at + i];
    return value;
}

/* ---- how a host comes up against each ---- */

/* The range is not what is wrong; the image stays as small as it is. */
static void pretend_to_be_large(unsigned lun)
{
    atomic_store(&units[lun]->blocks, UINT64_C(1) << 40);
}

static void be_as_large_as_the_image(unsigned lun)
{
    lu_capacity_changed(units[lun]);
    show(make_map(0, UNITS));
}

static struct outcome compare_and_write(unsigned lun, uint64_t blocks)
{
    uint8_t cdb[16] = { 0x89, [13] = (uint8_t)blocks };

    return run_zeros(lun, cdb, 2 * blocks * units[lun]->block_bytes);
}

static struct outcome write_atomic(unsigned lun, uint64_t blocks)
{
    uint8_t cdb[16] = { 0x9c };

    put_be16(cdb + 12, (uint16_t)blocks);
    return run_zeros(lun, cdb, blocks * units[lun]->block_bytes);
}

static struct outcome write_same(unsigned lun, uint64_t blocks)
{
    uint8_t cdb[16] = { 0x93, 0x01 }; /* NDOB */
    struct outcome outcome;

    put_be32(cdb + 10, (uint32_t)blocks);
    pretend_to_be_large(lun);
    outcome = run(lun, cdb, NULL, 0);
    be_as_large_as_the_image(lun);
    return outcome;
}

/* So many descriptors, of so many blocks each. */
static struct outcome unmap(unsigned lun, uint64_t count, uint64_t lba, uint32_t blocks)
{
    uint32_t bytes = 8 + 16 * (uint32_t)count;
    uint8_t cdb[10] = { 0x42 }, *list = calloc(1, bytes);
    struct outcome outcome;

    assert_non_null(list);
    put_be16(cdb + 7, (uint16_t)bytes);
    put_be16(list, (uint16_t)(bytes - 2));
    put_be16(list + 2, (uint16_t)(bytes - 8));
    for (uint64_t i = 0; i < count; i++) {
        put_be64(list + 8 + 16 * i, lba);
        put_be32(list + 8 + 16 * i + 8, blocks);
    }
    outcome = run(lun, cdb, list, bytes);
    free(list);
    return outcome;
}

static struct outcome unmap_descriptors(unsigned lun, uint64_t count)
{
    return unmap(lun, count, 0, 1);
}

static struct outcome run_list(const uint8_t *list, uint32_t bytes)
{
    uint8_t cdb[16] = { 0x83 };

    put_be32(cdb + 10, bytes);
    return run(0, cdb, list, bytes);
}

static struct outcome copy_cscds(unsigned lun, uint64_t count)
{
    struct list list;

    (void)lun;
    list_begin(&list, 1, 0);
    for (uint64_t i = 0; i < count; i++)
        list_cscd(&list, i % 2);
    list_segment(&list, (uint16_t)(count - 1), 0, 0, 1000, 8);
    return run_list(list.bytes, list_bytes(&list));
}

static struct outcome copy_segments(unsigned lun, uint64_t count)
{
    struct list list;

    (void)lun;
    list_begin(&list, 1, 0);
    list_cscd(&list, 0);
    for (uint64_t i = 0; i < count; i++)
        list_segment(&list, 0, 0, 0, 1000 + i, 1);
    return run_list(list.bytes, list_bytes(&list));
}

/* The longest list has the most of both kinds of descriptors. */
static struct outcome copy_list(unsigned lun, uint64_t bytes)
{
    uint64_t cscds = told(lun, COPY_PARAMETERS, 8, 2);
    struct list list;

    list_begin(&list, 1, 0);
    for (uint64_t i = 0; i < cscds; i++)
        list_cscd(&list, 0);
    for (uint64_t at = 32 * cscds; at + 28 <= bytes; at += 28)
        list_segment(&list, 0, 0, 0, 1000, 1);
    put_be32(list.bytes + 8, (uint32_t)(bytes - 32 * cscds));
    return run_list(list.bytes, (uint32_t)(16 + bytes));
}

static struct outcome copy_segment(unsigned lun, uint64_t bytes)
{
    uint32_t block_bytes = units[lun]->block_bytes;
    struct list list;

    list_begin(&list, 1, 0);
    list_cscd(&list, lun);
    list_segment(&list, 0, 0, 0, 0, (uint16_t)((bytes + block_bytes - 1) / block_bytes));
    return run_list(list.bytes, list_bytes(&list));
}

static struct outcome copy_inline(unsigned lun, uint64_t bytes)
{
    struct list list;

    (void)lun;
    list_simple(&list, 1, 0, 8);
    put_be32(list.bytes + 12, (uint32_t)bytes);
    return run_list(list.bytes, (uint32_t)(list_bytes(&list) + bytes));
}

/* How the last of so many ends, when all others are under way. */
static struct outcome copies_at_once(unsigned lun, uint64_t count)
{
    static struct fake_task tasks[COPIES_MAX];
    struct outcome last = good;
    struct list list;

    (void)lun;
    assert_in_range(count, 1, COPIES_MAX);
    holds_steps = true;
    for (uint64_t i = 0; i < count; i++) {
        list_begin(&list, 0, 3);
        list_cscd(&list, 0);
        list_segment(&list, 0, 0, 0, 100 * (i + 1), 10);
        copy_task(&tasks[i], &list);
        fake_start(&tasks[i]);
        assert_true(i + 1 == count || !tasks[i].finished);
    }
    while (held_count > 0)
        end_step();
    for (uint64_t i = 0; i < count; i++) {
        fake_wait(&tasks[i]);
        last = outcome_of(&tasks[i]);
        assert_true(i + 1 == count || last.result == STATUS_GOOD);
        fake_free(&tasks[i]);
    }
    holds_steps = false;
    return last;
}

/* ---- the table ---- */

static const struct limit {
    const char *name;
    unsigned page, at, bytes; /* where it is told */
    unsigned luns;
    struct outcome (*attempt)(unsigned lun, uint64_t count);
    bool
        is_done; /* as many are GOOD; else no unit here is large enough, and the error is another */
    unsigned refusal; /* of one more */
    int pointer;
} limits[] = {
    {"MAXIMUM COMPARE AND WRITE LENGTH",      0xb0,            5,  1, BOTH,  compare_and_write, true,
     SENSE_INVALID_FIELD_IN_CDB,                                                                                                   IN_CDB + 13 },
    { "MAXIMUM UNMAP BLOCK DESCRIPTOR COUNT", 0xb0,            24, 4, BOTH,  unmap_descriptors, true,
     SENSE_INVALID_FIELD_IN_PARAMETER_LIST,                                                                                        2           },
    { "MAXIMUM WRITE SAME LENGTH",            0xb0,            36, 8, BOTH,  write_same,        false, SENSE_INVALID_FIELD_IN_CDB,
     IN_CDB + 10                                                                                                                               },
    { "MAXIMUM ATOMIC TRANSFER LENGTH",       0xb0,            44, 4, BOTH,  write_atomic,      true,
     SENSE_INVALID_FIELD_IN_CDB,                                                                                                   IN_CDB + 12 },
    { "MAXIMUM CSCD DESCRIPTOR COUNT",        COPY_PARAMETERS, 8,  2, SMALL, copy_cscds,        true,
     SENSE_TOO_MANY_TARGET_DESCRIPTORS,                                                                                            2           },
    { "MAXIMUM SEGMENT DESCRIPTOR COUNT",     COPY_PARAMETERS, 10, 2, SMALL, copy_segments,     true,
     SENSE_TOO_MANY_SEGMENT_DESCRIPTORS,                                                                                           8           },
    { "MAXIMUM DESCRIPTOR LIST LENGTH",       COPY_PARAMETERS, 12, 4, SMALL, copy_list,         true,
     SENSE_PARAMETER_LIST_LENGTH_ERROR,                                                                                            NOWHERE     },
    { "MAXIMUM SEGMENT LENGTH",               COPY_PARAMETERS, 16, 4, LARGE, copy_segment,      false,
     SENSE_INVALID_FIELD_IN_PARAMETER_LIST,                                                                                        16 + 32 + 10},
    { "MAXIMUM INLINE DATA LENGTH",           COPY_PARAMETERS, 20, 4, SMALL, copy_inline,       true,
     SENSE_INLINE_DATA_LENGTH_EXCEEDED,                                                                                            12          },
    { "TOTAL CONCURRENT COPIES",              COPY_PARAMETERS, 34, 2, SMALL, copies_at_once,    true,
     STATUS_TASK_SET_FULL,                                                                                                         NOWHERE     },
    { "MAXIMUM CONCURRENT COPIES",            COPY_PARAMETERS, 36, 1, SMALL, copies_at_once,    true,
     STATUS_TASK_SET_FULL,                                                                                                         NOWHERE     },
};

static void expect_limit(const struct limit *limit, unsigned lun)
{
    const struct outcome refusal = { .result = limit->refusal, .pointer = limit->pointer };
    uint64_t most = told(lun, limit->page, limit->at, limit->bytes);
    struct outcome at_limit = limit->attempt(lun, most);

    if (limit->is_done)
        expect_outcome(limit->name, good, at_limit);
    else if (at_limit.result == refusal.result && at_limit.pointer == refusal.pointer)
        fail_msg("%s: %llu are told and refused", limit->name, (unsigned long long)most);
    expect_outcome(limit->name, refusal, limit->attempt(lun, most + 1));
}

static void test_each_limit_is_taken_and_one_more_is_refused(void **state)
{
    (void)state;
    for (unsigned i = 0; i < sizeof limits / sizeof *limits; i++)
        for (unsigned lun = 0; lun < UNITS; lun++)
            if (limits[i].luns & 1u << lun)
                expect_limit(&limits[i], lun);
}

/* SBC-3 6.6.4: it is of all commands that move what they name; those of 6 and 10 bytes cannot name
 * more. */
static void test_every_command_that_moves_blocks_keeps_to_the_maximum_transfer_length(void **state)
{
    unsigned tried = 0;

    (void)state;
    for (unsigned i = 0; i < opcode_count * 2; i++) {
        const struct opcode_row *row = &opcode_table[i / 2];
        unsigned lun = i % 2 ? 2 : 0, at = row->lba == LBA_12 ? 6 : 10;
        uint32_t most = (uint32_t)told(lun, 0xb0, 8, 4);
        uint8_t cdb[16] = { row->opcode };

        if ((row->lba != LBA_12 && row->lba != LBA_16) || row->direction == DATA_NONE)
            continue;
        pretend_to_be_large(lun);
        put_be32(cdb + at, most);
        assert_int_not_equal(run(lun, cdb, NULL, 0).result, SENSE_INVALID_FIELD_IN_CDB);
        put_be32(cdb + at, most + 1);
        expect_outcome(row->name, bad_cdb((int)at), run(lun, cdb, NULL, 0));
        be_as_large_as_the_image(lun);
        tried++;
    }
    assert_true(tried > 0);
}

/* ---- fields that tell that there is no limit, or a bit ---- */

static void test_what_is_not_limited_is_taken(void **state)
{
    (void)state;
    for (unsigned lun = 0; lun < UNITS; lun += 2) {
        uint32_t all = (uint32_t)atomic_load(&units[lun]->blocks);
        uint64_t descriptors = told(lun, 0xb0, 24, 4);
        uint8_t fetch[16] = { 0x90 }, atomic[16] = { 0x9c, [9] = 3, [13] = 1 };

        assert_int_equal(told(lun, 0xb0, 16, 4), 0); /* MAXIMUM PREFETCH LENGTH */
        put_be32(fetch + 10, all);
        expect_outcome("PRE-FETCH", (struct outcome){ STATUS_CONDITION_MET, NOWHERE },
                       run(lun, fetch, NULL, 0));
        assert_int_equal(told(lun, 0xb0, 20, 4), UINT32_MAX); /* MAXIMUM UNMAP LBA COUNT */
        expect_outcome("UNMAP", good, unmap(lun, descriptors, 0, all));
        assert_int_equal(told(lun, 0xb0, 48, 4), 0); /* ATOMIC ALIGNMENT */
        assert_int_equal(told(lun, 0xb0, 52, 4), 0); /* ATOMIC TRANSFER LENGTH GRANULARITY */
        expect_outcome("WRITE ATOMIC", good, run_zeros(lun, atomic, units[lun]->block_bytes));
        assert_int_equal(told(lun, 0xb0, 60, 4), 0); /* MAXIMUM ATOMIC BOUNDARY SIZE */
        atomic[11] = 1;
        expect_outcome("a boundary", bad_cdb(11), run_zeros(lun, atomic, units[lun]->block_bytes));
    }
}

static void test_what_is_optimal_is_allowed(void **state)
{
    (void)state;
    for (unsigned lun = 0; lun < UNITS; lun += 2) {
        uint64_t granularity = told(lun, 0xb0, 6, 2), optimal = told(lun, 0xb0, 12, 4);

        assert_in_range(granularity, 1, optimal);
        assert_int_equal(optimal % granularity, 0);
        assert_in_range(optimal, 1, told(lun, 0xb0, 8, 4));
    }
}

static void test_write_same_of_no_blocks_is_refused_where_wsnz_says_so(void **state)
{
    uint8_t ten[10] = { 0x41 }, sixteen[16] = { 0x93 };

    (void)state;
    assert_int_equal(told(0, 0xb0, 4, 1), 0x01);
    expect_outcome("WRITE SAME(10)", bad_cdb(7), run_zeros(0, ten, 512));
    expect_outcome("WRITE SAME(16)", bad_cdb(10), run_zeros(0, sixteen, 512));
}

/* GET LBA STATUS: its first descriptor's PROVISIONING STATUS, and how many blocks that is. */
static uint8_t provisioning_of(unsigned lun, uint64_t lba, uint32_t *blocks)
{
    uint8_t cdb[16] = { 0x9e, 0x12 }, reply[REPLY_BYTES];

    put_be64(cdb + 2, lba);
    put_be32(cdb + 10, REPLY_BYTES);
    reply_of(lun, cdb, reply);
    *blocks = get_be32(reply + 16);
    return reply[20] & 0x0f;
}

static void test_a_granule_of_unmap_is_given_back_and_no_more(void **state)
{
    enum { MAPPED = 0, DEALLOCATED = 1 };

    (void)state;
    for (unsigned lun = 0; lun < UNITS; lun += 2) {
        uint32_t granule = (uint32_t)told(lun, 0xb0, 28, 4), blocks;
        uint32_t alignment = (uint32_t)told(lun, 0xb0, 32, 4);

        assert_int_equal(alignment, 0x80000000); /* UGAVALID */
        fill(lun, 0, 3 * granule, 0x5a);
        expect_outcome("UNMAP", good, unmap(lun, 1, granule, granule));
        assert_int_equal(provisioning_of(lun, 0, &blocks), MAPPED);
        assert_int_equal(blocks, granule);
        assert_int_equal(provisioning_of(lun, granule, &blocks), DEALLOCATED);
        assert_int_equal(blocks, granule);
        assert_int_equal(provisioning_of(lun, 2 * (uint64_t)granule, &blocks), MAPPED);
    }
}

static void test_each_bit_of_provisioning_holds(void **state)
{
    enum { UNMAP_BIT = 0x08, ANCHOR = 0x10 };
    uint8_t ten[10] = { 0x41, UNMAP_BIT, [8] = 1 }, sixteen[16] = { 0x93, UNMAP_BIT, [13] = 1 };
    uint8_t anchored[10] = { 0x42, 0x01 }, capacity[16] = { 0x9e, 0x10 }, reply[REPLY_BYTES];

    (void)state;
    read_page(0, 0xb2, reply);
    assert_int_equal(get_be16(reply + 2), 4); /* DP is 0: nothing behind the fixed part */
    assert_int_equal(reply[5], 0x80 | 0x40 | 0x20 | 0x04); /* LBPU, LBPWS, LBPWS10, LBPRZ 001b */
    assert_int_equal(reply[6] & 0x07, 2);                  /* thin */
    for (unsigned way = 0; way < 3; way++) {
        fill(0, 0, 8, 0x5a);
        if (way == 0)
            expect_outcome("UNMAP", good, unmap(0, 1, 0, 1));
        else
            expect_outcome("WRITE SAME", good, run_zeros(0, way == 1 ? ten : sixteen, 512));
        expect_filled(0, 0, 1, 0); /* LBPRZ */
    }
    /* ANC_SUP is 0 */
    ten[1] = sixteen[1] = UNMAP_BIT | ANCHOR;
    expect_outcome("UNMAP, ANCHOR", bad_cdb(1), run(0, anchored, NULL, 0));
    expect_outcome("WRITE SAME(10), ANCHOR", bad_cdb(1), run_zeros(0, ten, 512));
    expect_outcome("WRITE SAME(16), ANCHOR", bad_cdb(1), run_zeros(0, sixteen, 512));
    put_be32(capacity + 10, 32);
    reply_of(0, capacity, reply);
    assert_int_equal(reply[14] & 0xc0, 0xc0); /* LBPME and LBPRZ once more */
}

static void test_a_unit_that_was_erased_is_read_as_waberq_says(void **state)
{
    uint8_t erase[10] = { 0x48, 0x02 };

    (void)state;
    assert_int_equal(told(0, 0xb1, 7, 1) >> 6, 1);     /* WABEREQ: reads complete without error */
    assert_int_equal(told(0, 0xb1, 7, 1) >> 4 & 3, 0); /* WACEREQ: there is no such operation */
    fill(0, 0, 8, 0x5a);
    expect_outcome("BLOCK ERASE", good, run(0, erase, NULL, 0));
    erase[1] = 0x03; /* CRYPTOGRAPHIC ERASE */
    expect_outcome("CRYPTOGRAPHIC ERASE", bad_cdb(1), run(0, erase, NULL, 0));
    for (uint64_t lba = 0; lba < 16; lba += 8) {
        uint8_t read[10] = { 0x28, [5] = (uint8_t)lba, [8] = 8 };
        expect_outcome("READ", good, run(0, read, NULL, 0));
    }
}

/* ---- EXTENDED COPY: which descriptors, which lists ---- */

static void test_the_descriptors_that_are_told_are_known_and_no_others(void **state)
{
    enum { CSCD_CODES = 0xe0 };
    uint8_t reply[REPLY_BYTES];
    struct list list;

    (void)state;
    read_page(0, COPY_PARAMETERS, reply);
    for (unsigned code = 0; code < 256; code++) {
        struct outcome expected = good;

        list_simple(&list, 1, 0, 8);
        list.bytes[code >= CSCD_CODES ? 16 : 16 + 64] = (uint8_t)code;
        if (code >= CSCD_CODES)
            expected = (struct outcome){ SENSE_UNSUPPORTED_TARGET_DESCRIPTOR, 16 };
        else
            expected = (struct outcome){ SENSE_UNSUPPORTED_SEGMENT_DESCRIPTOR, 16 + 64 };
        if (memchr(reply + 44, (int)code, reply[43]))
            expected = good;
        expect_outcome("a descriptor", expected, run_list(list.bytes, list_bytes(&list)));
    }
}

static void test_the_granularity_and_snlid_that_are_told_hold(void **state)
{
    struct list list;

    (void)state;
    for (unsigned lun = 0; lun < UNITS; lun++)
        assert_int_equal(UINT32_C(1) << told(lun, COPY_PARAMETERS, 37, 1), units[lun]->block_bytes);
    assert_int_equal(told(0, COPY_PARAMETERS, 4, 1), 0x01);
    list_simple(&list, 0, 3, 1); /* no list identifier, one granule */
    expect_outcome("without list identifier", good, run_list(list.bytes, list_bytes(&list)));
    for (unsigned at = 24; at < 32; at += 4) /* HELD DATA, MAXIMUM STREAM DEVICE TRANSFER SIZE */
        assert_int_equal(told(0, COPY_PARAMETERS, at, 4), 0);
}

/* ---- allocation lengths and selections ---- */

static void test_the_shortest_allocation_length_is_taken_and_one_less_is_refused(void **state)
{
    static const struct {
        const char *name;
        uint8_t opcode, service_action, shortest;
    } rows[] = {
        {"REPORT LUNS",                                 0xa0, 0x00, 16}, /* SPC-4 6.33 */
        { "REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS", 0xa3, 0x0d, 4 }, /* SPC-4 6.36 */
    };

    (void)state;
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint8_t cdb[12] = { rows[i].opcode, rows[i].service_action };

        cdb[9] = rows[i].shortest;
        expect_outcome(rows[i].name, good, run(0, cdb, NULL, 0));
        cdb[9]--;
        expect_outcome(rows[i].name, bad_cdb(6), run(0, cdb, NULL, 0));
    }
}

/* SPC-4 table 237: all but the well known units, those, all; the rest is for other standards. */
static void test_report_luns_knows_three_selections(void **state)
{
    (void)state;
    for (unsigned select = 0; select < 256; select++) {
        uint8_t cdb[12] = { 0xa0, 0, (uint8_t)select, [9] = 16 };

        expect_outcome("REPORT LUNS", select <= 2 ? good : bad_cdb(2), run(0, cdb, NULL, 0));
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, copy_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_each_limit_is_taken_and_one_more_is_refused),
        TEST(test_every_command_that_moves_blocks_keeps_to_the_maximum_transfer_length),
        TEST(test_what_is_not_limited_is_taken),
        TEST(test_what_is_optimal_is_allowed),
        TEST(test_write_same_of_no_blocks_is_refused_where_wsnz_says_so),
        TEST(test_a_granule_of_unmap_is_given_back_and_no_more),
        TEST(test_each_bit_of_provisioning_holds),
        TEST(test_a_unit_that_was_erased_is_read_as_waberq_says),
        TEST(test_the_descriptors_that_are_told_are_known_and_no_others),
        TEST(test_the_granularity_and_snlid_that_are_told_hold),
        TEST(test_the_shortest_allocation_length_is_taken_and_one_less_is_refused),
        TEST(test_report_luns_knows_three_selections),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
