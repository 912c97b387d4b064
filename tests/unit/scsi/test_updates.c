/* ORWRITE, WRITE AND VERIFY, PRE-FETCH and READ DEFECT DATA */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "target/scsi/limits.h"
#include "tests/unit/scsi/disk_bench.h"

#include <errno.h>

enum { BLOCK = RIG_BLOCK_BYTES };

static int setup(void **state)
{
    (void)state;
    return disk_open(&(struct rig_options){ .cache = CACHE_WRITEBACK });
}

static int setup_tight(void **state)
{
    (void)state;
    return disk_open(&(struct rig_options){ .cache = CACHE_WRITEBACK, .memory_limit_bytes = 1 });
}

static int teardown(void **state)
{
    (void)state;
    rig_close(&rig);
    return 0;
}

static void cdb_16(uint8_t cdb[16], uint8_t opcode, uint64_t lba, uint32_t blocks)
{
    memset(cdb, 0, 16);
    cdb[0] = opcode;
    put_be64(cdb + 2, lba);
    put_be32(cdb + 10, blocks);
}

static void or_cdb(uint8_t cdb[16], uint64_t lba, uint32_t blocks)
{
    cdb_16(cdb, 0x8b, lba, blocks);
}

static void write_and_verify_cdb(uint8_t cdb[16], uint64_t lba, uint32_t blocks, bool is_compared)
{
    cdb_16(cdb, 0x8e, lba, blocks);
    cdb[1] = is_compared ? 0x02 : 0;
}

/* ---- ORWRITE ---- */

static void test_orwrite_ors_all_of_a_long_transfer(void **state)
{
    uint32_t bytes = 1200 * BLOCK; /* three bursts */
    uint8_t *before = pattern(bytes, 1), *ored = pattern(bytes, 77);
    struct fake_task task;
    uint8_t cdb[16];

    (void)state;
    write_blocks(5, 1200, before);
    or_cdb(cdb, 5, 1200);
    fake_run(&task, &rig, cdb, 0, ored, bytes);
    assert_int_equal(task.answer.status, STATUS_GOOD);
    assert_int_equal(task.answer.transfer_bytes, bytes);
    fake_free(&task);
    for (uint32_t i = 0; i < bytes; i++)
        before[i] |= ored[i];
    expect_blocks(5, 1200, before);
    free(before);
    free(ored);
}

static void test_two_orwrites_lose_no_bit(void **state)
{
    uint8_t one[BLOCK], two[BLOCK], both[BLOCK], cdb[16];
    struct fake_task first, second;

    (void)state;
    memset(one, 0x50, BLOCK);
    memset(two, 0x05, BLOCK);
    memset(both, 0x55, BLOCK);
    or_cdb(cdb, 7, 1);
    takes_io = true;
    fake_task(&first, &rig, cdb, 0, one, BLOCK);
    fake_start(&first);
    fake_task(&second, &rig, cdb, 0, two, BLOCK);
    second.nexus = &rig.other;
    fake_start(&second);
    assert_int_equal(taken_count, 1); /* the second one must not read what the first will change */
    end_io(0);
    end_io(0);
    assert_int_equal(first.finished, 1);
    takes_io = false;
    fake_wait(&second);
    fake_free(&first);
    fake_free(&second);
    expect_blocks(7, 1, both);
}

static void test_orwrite_with_fua_is_durable(void **state)
{
    uint8_t data[BLOCK] = { 1 }, cdb[16];
    struct fake_task task;

    (void)state;
    takes_io = true;
    or_cdb(cdb, 7, 1);
    cdb[1] = 0x08;
    fake_task(&task, &rig, cdb, 0, data, BLOCK);
    fake_start(&task);
    assert_false(taken_io[0]->is_durable); /* it reads */
    end_io(0);
    assert_int_equal(taken_io[0]->op, IO_WRITE);
    assert_true(taken_io[0]->is_durable);
    end_io(0);
    assert_int_equal(task.answer.status, STATUS_GOOD);
    fake_free(&task);
}

static void test_orwrite_that_is_aborted_while_it_reads_writes_nothing(void **state)
{
    uint8_t *data = pattern(1200 * BLOCK, 3), zeros[BLOCK] = { 0 }, cdb[16];
    struct fake_task task;

    (void)state;
    takes_io = true;
    or_cdb(cdb, 0, 1200);
    fake_task(&task, &rig, cdb, 0, data, 1200 * BLOCK);
    fake_start(&task);
    command_abort(task.command);
    assert_int_equal(task.finished, 1);
    fake_free(&task);
    end_io(0);
    assert_int_equal(taken_count, 0);
    takes_io = false;
    expect_blocks(0, 1, zeros);
    free(data);
}

static void test_orwrite_that_is_aborted_while_it_writes_is_seen_whole(void **state)
{
    uint8_t *data = pattern(8 * BLOCK, 3), cdb[16];
    struct fake_task task, read;

    (void)state;
    takes_io = true;
    or_cdb(cdb, 0, 8);
    fake_task(&task, &rig, cdb, 0, data, 8 * BLOCK);
    fake_start(&task);
    end_io(0);
    assert_int_equal(taken_io[0]->op, IO_WRITE);
    command_abort(task.command);
    assert_int_equal(task.finished, 1);
    fake_free(&task);
    read_10(cdb, 0, 8);
    fake_task(&read, &rig, cdb, 8 * BLOCK, NULL, 0);
    fake_start(&read);
    assert_int_equal(read.finished, 0);
    takes_io = false;
    end_io(0);
    fake_wait(&read);
    assert_memory_equal(read.in, data, 8 * BLOCK);
    fake_free(&read);
    free(data);
}

static void test_orwrite_waiting_at_the_gate_can_be_aborted(void **state)
{
    uint8_t data[BLOCK] = { 1 }, zeros[BLOCK] = { 0 }, cdb[16];
    struct fake_task first, second;

    (void)state;
    takes_io = true;
    or_cdb(cdb, 0, 1);
    fake_task(&first, &rig, cdb, 0, data, BLOCK);
    fake_start(&first);
    fake_task(&second, &rig, cdb, 0, data, BLOCK);
    fake_start(&second);
    command_abort(second.command);
    assert_int_equal(second.finished, 1);
    fake_free(&second);
    end_io(-EIO);
    assert_int_equal(fake_sense(&first) >> 16, 0x3);
    fake_free(&first);
    takes_io = false;
    expect_blocks(0, 1, zeros);
}

static void test_orwrite_of_less_data_changes_whole_blocks_of_it(void **state)
{
    uint8_t *data = pattern(3 * BLOCK, 5), *zeros = calloc(3, BLOCK), cdb[16];
    struct fake_task task;

    (void)state;
    or_cdb(cdb, 0, 3);
    fake_run(&task, &rig, cdb, 0, data, BLOCK + 100);
    assert_int_equal(task.answer.status, STATUS_GOOD);
    assert_int_equal(task.answer.transfer_bytes, 3 * BLOCK);
    fake_free(&task);
    memcpy(zeros, data, BLOCK);
    expect_blocks(0, 3, zeros);
    free(data);
    free(zeros);
}

static void test_without_memory_the_task_set_is_full(void **state)
{
    uint8_t data[BLOCK] = { 0 }, cdb[16];
    struct fake_task task;

    (void)state;
    or_cdb(cdb, 0, 1);
    fake_run(&task, &rig, cdb, 0, data, BLOCK);
    assert_int_equal(task.answer.status, STATUS_TASK_SET_FULL);
    fake_free(&task);
    cdb_16(cdb, 0x90, 0, 1);
    fake_run(&task, &rig, cdb, 0, NULL, 0);
    assert_int_equal(task.answer.status, STATUS_TASK_SET_FULL);
    fake_free(&task);
}

/* ---- WRITE AND VERIFY ---- */

static void test_write_and_verify_writes_durably_then_reads_back(void **state)
{
    uint8_t *data = pattern(1200 * BLOCK, 6), cdb[16];
    struct fake_task task;

    (void)state;
    takes_io = true;
    write_and_verify_cdb(cdb, 9, 1200, true);
    fake_task(&task, &rig, cdb, 0, data, 1200 * BLOCK);
    fake_start(&task);
    for (unsigned burst = 0; burst < 3; burst++) {
        assert_int_equal(task.finished, 0);
        assert_int_equal(taken_io[0]->op, IO_WRITE);
        assert_true(taken_io[0]->is_durable);
        end_io(0);
        assert_int_equal(taken_io[0]->op, IO_READ);
        end_io(0);
    }
    assert_int_equal(task.finished, 1);
    assert_int_equal(task.answer.status, STATUS_GOOD);
    fake_free(&task);
    takes_io = false;
    expect_blocks(9, 1200, data);
    free(data);
}

/* The disk forgets one byte between the write and the read. */
static unsigned verify_after_damage(bool is_compared, uint32_t *information)
{
    uint8_t *data = pattern(1000 * BLOCK, 8), cdb[16];
    struct fake_task task;
    unsigned sense;

    takes_io = true;
    write_and_verify_cdb(cdb, 0, 1000, is_compared);
    fake_task(&task, &rig, cdb, 0, data, 1000 * BLOCK);
    fake_start(&task);
    end_io(0);
    end_io(0);
    end_io(0); /* the second burst is written */
    {
        uint8_t other = (uint8_t)~data[300000];
        struct io io = { .op = IO_WRITE,
                         .backing = rig.lu->backing,
                         .bytes = &other,
                         .len_bytes = 1,
                         .offset_bytes = 300000 };
        backing_run(&io);
        assert_int_equal(io.result, 0);
    }
    end_io(0);
    assert_int_equal(task.finished, 1);
    sense = fake_sense(&task);
    *information = get_be32(task.answer.sense + 3);
    fake_free(&task);
    free(data);
    return sense;
}

static void test_write_and_verify_with_bytchk_finds_what_the_disk_forgot(void **state)
{
    uint32_t information;

    (void)state;
    assert_int_equal(verify_after_damage(true, &information), SENSE_CODE(0xe, 0x1d, 0x00));
    assert_int_equal(information, 300000);
}

static void test_write_and_verify_without_bytchk_only_reads(void **state)
{
    uint32_t information;

    (void)state;
    assert_int_equal(verify_after_damage(false, &information), 0);
}

static void test_write_and_verify_tells_an_error_of_the_read(void **state)
{
    uint8_t data[BLOCK] = { 1 }, cdb[16];
    struct fake_task task;

    (void)state;
    takes_io = true;
    write_and_verify_cdb(cdb, 0, 1, false);
    fake_task(&task, &rig, cdb, 0, data, BLOCK);
    fake_start(&task);
    end_io(0);
    end_io(-EIO);
    assert_int_equal(fake_sense(&task) >> 16, 0x3);
    fake_free(&task);
}

static void test_write_and_verify_that_is_aborted_leaves_its_write_behind(void **state)
{
    uint8_t data[BLOCK], cdb[16];
    struct fake_task task;

    (void)state;
    memset(data, 0x33, BLOCK);
    takes_io = true;
    write_and_verify_cdb(cdb, 0, 1, true);
    fake_task(&task, &rig, cdb, 0, data, BLOCK);
    fake_start(&task);
    command_abort(task.command);
    assert_int_equal(task.finished, 1);
    fake_free(&task);
    end_io(0);
    assert_int_equal(taken_count, 0);
    takes_io = false;
    expect_blocks(0, 1, data);
}

/* ---- PRE-FETCH ---- */

static enum scsi_status prefetch(uint64_t lba, uint32_t blocks, uint8_t flags)
{
    enum scsi_status status;
    struct fake_task task;
    uint8_t cdb[16];

    cdb_16(cdb, 0x90, lba, blocks);
    cdb[1] = flags;
    fake_run(&task, &rig, cdb, 0, NULL, 0);
    status = task.answer.status;
    fake_free(&task);
    return status;
}

static void test_prefetch_of_what_fits_is_condition_met(void **state)
{
    struct lu_statistics sum;

    (void)state;
    assert_int_equal(prefetch(0, 1, 0), STATUS_CONDITION_MET);
    assert_int_equal(prefetch(100, 1200, 0), STATUS_CONDITION_MET);
    assert_int_equal(prefetch(100, 1200, 0x02), STATUS_CONDITION_MET); /* IMMED */
    assert_int_equal(prefetch(100, 0, 0), STATUS_CONDITION_MET);       /* to the end */
    lu_statistics(rig.lu, &sum);
    assert_int_equal(sum.errors, 0);
}

static void test_prefetch_of_more_than_the_limit_is_good_and_stops_there(void **state)
{
    uint32_t limit_blocks = LIMIT_PREFETCH_BYTES / BLOCK;
    struct fake_task task;
    uint64_t read_bytes = 0;
    uint8_t cdb[16];

    (void)state;
    atomic_store(&rig.lu->blocks, 1 << 20);
    cdb_16(cdb, 0x90, 0, limit_blocks + 1);
    takes_io = true;
    fake_task(&task, &rig, cdb, 0, NULL, 0);
    fake_start(&task);
    while (!task.finished) {
        struct io *io = taken_io[0];
        assert_int_equal(taken_count, 1);
        assert_int_equal(io->op, IO_READ);
        read_bytes += io->len_bytes;
        taken_count = 0;
        io->result = 0; /* the image is not that long */
        io->done(io);
    }
    assert_int_equal(task.answer.status, STATUS_GOOD);
    assert_int_equal(read_bytes, LIMIT_PREFETCH_BYTES);
    fake_free(&task);
    atomic_store(&rig.lu->blocks, RIG_BLOCKS);
}

static void test_prefetch_that_is_aborted_leaves_its_read_behind(void **state)
{
    struct fake_task task;
    uint8_t cdb[16];

    (void)state;
    takes_io = true;
    cdb_16(cdb, 0x90, 0, 4000);
    fake_task(&task, &rig, cdb, 0, NULL, 0);
    fake_start(&task);
    command_abort(task.command);
    assert_int_equal(task.finished, 1);
    end_io(0);
    assert_int_equal(taken_count, 0);
    fake_free(&task);
}

static void test_immediate_prefetch_that_is_aborted_ends_once(void **state)
{
    struct fake_task task;
    uint8_t cdb[16];

    (void)state;
    cdb_16(cdb, 0x90, 0, 4000);
    cdb[1] = 0x02;
    fake_task(&task, &rig, cdb, 0, NULL, 0);
    fake_start(&task);
    command_abort(task.command);
    assert_int_equal(task.finished, 1);
    assert_true(task.answer.was_aborted);
    fake_free(&task);
}

/* ---- READ DEFECT DATA ---- */

static void test_defect_lists_are_empty_in_the_format_asked_for(void **state)
{
    const uint8_t ten[10] = { 0x37, 0, 0x1d, 0, 0, 0, 0, 0, 32 };
    const uint8_t twelve[12] = { 0xb7, 0x0d, 0, 0, 0, 0, 0, 0, 0, 32 };
    const uint8_t answer_ten[4] = { 0, 0x1d, 0, 0 };
    const uint8_t answer_twelve[8] = { 0, 0x0d, 0, 0, 0, 0, 0, 0 };
    struct fake_task task;

    (void)state;
    fake_run(&task, &rig, ten, 32, NULL, 0);
    assert_int_equal(task.answer.status, STATUS_GOOD);
    assert_int_equal(task.in_bytes, sizeof answer_ten);
    assert_memory_equal(task.in, answer_ten, sizeof answer_ten);
    fake_free(&task);
    fake_run(&task, &rig, twelve, 32, NULL, 0);
    assert_int_equal(task.in_bytes, sizeof answer_twelve);
    assert_memory_equal(task.in, answer_twelve, sizeof answer_twelve);
    fake_free(&task);
}

static void test_defect_lists_are_cut_to_the_allocation_length(void **state)
{
    uint8_t ten[10] = { 0x37, 0, 0, 0, 0, 0, 0, 0, 3 };
    struct fake_task task;

    (void)state;
    fake_run(&task, &rig, ten, 32, NULL, 0);
    assert_int_equal(task.in_bytes, 3);
    fake_free(&task);
    ten[8] = 0;
    fake_run(&task, &rig, ten, 0, NULL, 0);
    assert_int_equal(task.answer.status, STATUS_GOOD);
    fake_free(&task);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_orwrite_ors_all_of_a_long_transfer),
        TEST(test_two_orwrites_lose_no_bit),
        TEST(test_orwrite_with_fua_is_durable),
        TEST(test_orwrite_that_is_aborted_while_it_reads_writes_nothing),
        TEST(test_orwrite_that_is_aborted_while_it_writes_is_seen_whole),
        TEST(test_orwrite_waiting_at_the_gate_can_be_aborted),
        TEST(test_orwrite_of_less_data_changes_whole_blocks_of_it),
        cmocka_unit_test_setup_teardown(test_without_memory_the_task_set_is_full, setup_tight,
                                        teardown),
        TEST(test_write_and_verify_writes_durably_then_reads_back),
        TEST(test_write_and_verify_with_bytchk_finds_what_the_disk_forgot),
        TEST(test_write_and_verify_without_bytchk_only_reads),
        TEST(test_write_and_verify_tells_an_error_of_the_read),
        TEST(test_write_and_verify_that_is_aborted_leaves_its_write_behind),
        TEST(test_prefetch_of_what_fits_is_condition_met),
        TEST(test_prefetch_of_more_than_the_limit_is_good_and_stops_there),
        TEST(test_prefetch_that_is_aborted_leaves_its_read_behind),
        TEST(test_immediate_prefetch_that_is_aborted_ends_once),
        TEST(test_defect_lists_are_empty_in_the_format_asked_for),
        TEST(test_defect_lists_are_cut_to_the_allocation_length),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
