/* COMPARE AND WRITE: who was first wins, all or nothing, whatever comes in between */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "target/scsi/limits.h"
#include "tests/unit/scsi/disk_bench.h"

#include <errno.h>

enum { BLOCK = RIG_BLOCK_BYTES, LBA = 40 };

static int setup(void **state)
{
    (void)state;
    return disk_open(&(struct rig_options){ .cache = CACHE_WRITEBACK, .has_vaai = true });
}

static int setup_writethrough(void **state)
{
    (void)state;
    return disk_open(&(struct rig_options){ .cache = CACHE_WRITETHROUGH, .has_vaai = true });
}

static int setup_without_vaai(void **state)
{
    (void)state;
    return disk_open(&(struct rig_options){ .cache = CACHE_WRITEBACK });
}

static int teardown(void **state)
{
    (void)state;
    rig_close(&rig);
    return 0;
}

static void caw_cdb(uint8_t cdb[16], uint64_t lba, uint8_t blocks)
{
    memset(cdb, 0, 16);
    cdb[0] = 0x89;
    put_be64(cdb + 2, lba);
    cdb[13] = blocks;
}

/* One block at LBA: what to compare with, then what to write, each one byte all over. */
struct halves {
    uint8_t bytes[2 * BLOCK];
};

static struct halves halves(uint8_t expected, uint8_t wanted)
{
    struct halves out;

    memset(out.bytes, expected, BLOCK);
    memset(out.bytes + BLOCK, wanted, BLOCK);
    return out;
}

static void caw_task(struct fake_task *task, const struct halves *data)
{
    uint8_t cdb[16];

    caw_cdb(cdb, LBA, 1);
    fake_task(task, &rig, cdb, 0, data->bytes, sizeof data->bytes);
}

static void run(struct fake_task *task)
{
    fake_start(task);
    fake_wait(task);
}

/* Every access goes to the engine, and the test decides when it ends. */
static void take_all_io(void)
{
    takes_io = true;
    inline_read_answer = inline_write_answer = -EAGAIN;
}

static void let_io_go(void)
{
    takes_io = false;
    inline_read_answer = inline_write_answer = 0;
}

static void expect_byte(uint8_t byte)
{
    uint8_t block[BLOCK];

    memset(block, byte, sizeof block);
    expect_blocks(LBA, 1, block);
}

static void put_byte(uint8_t byte)
{
    uint8_t block[BLOCK];

    memset(block, byte, sizeof block);
    write_blocks(LBA, 1, block);
}

/* The gate is free again: nobody forgot to leave it. */
static void expect_free_gate(void)
{
    struct fake_task task;
    uint8_t cdb[16];
    struct halves data = halves(0xee, 0xee);

    caw_cdb(cdb, LBA, 1);
    fake_task(&task, &rig, cdb, 0, data.bytes, sizeof data.bytes);
    fake_start(&task);
    fake_wait(&task);
    assert_int_equal(fake_sense(&task), SENSE_MISCOMPARE);
    fake_free(&task);
}

static void test_equal_blocks_are_replaced(void **state)
{
    struct halves data = halves(0, 'b');
    struct fake_task task;

    (void)state;
    caw_task(&task, &data);
    run(&task);
    assert_int_equal(task.answer.status, STATUS_GOOD);
    assert_int_equal(task.answer.transfer_bytes, 2 * BLOCK);
    fake_free(&task);
    expect_byte('b');
    expect_free_gate();
}

static void test_miscompare_tells_the_first_byte_and_writes_nothing(void **state)
{
    struct lu_statistics sum;
    struct halves data = halves('a', 'b');
    struct fake_task task;

    (void)state;
    put_byte('a');
    data.bytes[300] ^= 1;
    data.bytes[301] ^= 1;
    caw_task(&task, &data);
    run(&task);
    assert_int_equal(fake_sense(&task), SENSE_CODE(0xe, 0x1d, 0x00));
    assert_int_equal(task.answer.sense[0], 0xf0); /* VALID, current, fixed format */
    assert_int_equal(get_be32(task.answer.sense + 3), 300);
    fake_free(&task);
    expect_byte('a');
    lu_statistics(rig.lu, &sum);
    assert_int_equal(sum.ats_miscompare, 1);
    assert_int_equal(sum.ats_ok, 0);
    assert_int_equal(sum.errors, 0);
}

static void test_differences_at_the_ends_are_found(void **state)
{
    static const uint32_t places[] = { 0, 1, BLOCK - 1 };

    (void)state;
    put_byte('a');
    for (unsigned i = 0; i < sizeof places / sizeof *places; i++) {
        struct halves data = halves('a', 'b');
        struct fake_task task;

        data.bytes[places[i]] ^= 0x80;
        caw_task(&task, &data);
        run(&task);
        assert_int_equal(get_be32(task.answer.sense + 3), places[i]);
        fake_free(&task);
    }
}

static void test_caw_loser_sees_winners_block(void **state)
{
    struct halves one = halves(0, 1), two = halves(0, 2);
    struct fake_task first, second;

    (void)state;
    take_all_io();
    caw_task(&first, &one);
    fake_start(&first);
    caw_task(&second, &two);
    second.nexus = &rig.other;
    fake_start(&second);
    assert_int_equal(taken_count, 1); /* the second one has not even read */
    end_io(0);
    assert_int_equal(first.finished, 0);
    end_io(0);
    assert_int_equal(first.finished, 1);
    assert_int_equal(first.answer.status, STATUS_GOOD);
    let_io_go();
    fake_wait(&second);
    assert_int_equal(fake_sense(&second), SENSE_MISCOMPARE);
    assert_int_equal(get_be32(second.answer.sense + 3), 0);
    fake_free(&first);
    fake_free(&second);
    expect_byte(1);
}

static void test_plain_write_waits_for_the_caw_and_comes_after_it(void **state)
{
    struct halves data = halves(0, 1);
    struct fake_task caw, write;
    uint8_t cdb[10], block[BLOCK];

    (void)state;
    take_all_io();
    caw_task(&caw, &data);
    fake_start(&caw); /* it reads */
    memset(block, 9, sizeof block);
    write_10(cdb, LBA, 1);
    fake_task(&write, &rig, cdb, 0, block, sizeof block);
    write.nexus = &rig.other;
    fake_start(&write);
    assert_int_equal(write.finished, 0);
    end_io(0);
    end_io(0);
    assert_int_equal(caw.finished, 1);
    assert_int_equal(caw.answer.status, STATUS_GOOD);
    let_io_go();
    fake_wait(&write);
    fake_free(&caw);
    fake_free(&write);
    expect_byte(9);
}

static void test_caw_waits_for_the_write_before_it_and_compares_with_that(void **state)
{
    struct halves data = halves(9, 1);
    struct fake_task caw, write;
    uint8_t cdb[10], block[BLOCK];

    (void)state;
    take_all_io();
    memset(block, 9, sizeof block);
    write_10(cdb, LBA, 1);
    fake_task(&write, &rig, cdb, 0, block, sizeof block);
    fake_start(&write); /* on its way to the disk */
    caw_task(&caw, &data);
    fake_start(&caw);
    assert_int_equal(caw.finished, 0);
    end_io(0);
    let_io_go();
    fake_wait(&caw);
    assert_int_equal(write.finished, 1);
    assert_int_equal(caw.answer.status, STATUS_GOOD);
    fake_free(&write);
    fake_free(&caw);
    expect_byte(1);
}

static void test_caw_on_one_block_lets_the_neighbours_alone(void **state)
{
    struct halves data = halves(0, 1);
    struct fake_task caw;
    uint8_t *blocks = pattern(2 * BLOCK, 3);

    (void)state;
    take_all_io();
    caw_task(&caw, &data);
    fake_start(&caw);
    takes_io = false;
    write_blocks(LBA + 1, 2, blocks); /* ends while the other is on the disk */
    assert_int_equal(caw.finished, 0);
    end_io(0);
    fake_wait(&caw);
    assert_int_equal(caw.answer.status, STATUS_GOOD);
    fake_free(&caw);
    let_io_go();
    expect_blocks(LBA + 1, 2, blocks);
    expect_byte(1);
    free(blocks);
}

/* ---- aborts: nothing before the write is begun, all of it after ---- */

static void test_abort_while_data_is_awaited_leaves_nothing(void **state)
{
    struct halves data = halves(0, 1);
    struct fake_task caw;

    (void)state;
    caw_task(&caw, &data);
    caw.is_held_back = true;
    fake_start(&caw);
    command_abort(caw.command);
    assert_int_equal(caw.finished, 1);
    assert_true(caw.answer.was_aborted);
    fake_free(&caw);
    expect_byte(0);
    expect_free_gate();
}

static void nobody_asked(struct gate_hold *hold)
{
    (void)hold;
    fail();
}

static void hold_the_gate(struct gate_hold *hold)
{
    memset(hold, 0, sizeof *hold);
    hold->entered = nobody_asked;
    assert_true(gate_enter(&rig.lu->gate, hold, &rig.worker, GATE_EXCLUSIVE, LBA * BLOCK, BLOCK));
}

static void test_abort_at_the_gate_leaves_nothing(void **state)
{
    struct halves data = halves(0, 1);
    struct gate_hold hold;
    struct fake_task caw;

    (void)state;
    hold_the_gate(&hold);
    caw_task(&caw, &data);
    fake_start(&caw);
    command_abort(caw.command);
    assert_int_equal(caw.finished, 1);
    fake_free(&caw);
    gate_leave(&hold);
    expect_byte(0);
    expect_free_gate();
}

static void test_abort_after_the_gate_let_it_in_leaves_nothing(void **state)
{
    struct halves data = halves(0, 1);
    struct gate_hold hold;
    struct fake_task caw;

    (void)state;
    hold_the_gate(&hold);
    caw_task(&caw, &data);
    fake_start(&caw);
    gate_leave(&hold); /* entered() is in the mailbox */
    command_abort(caw.command);
    assert_int_equal(caw.finished, 0);
    fake_wait(&caw);
    assert_true(caw.answer.was_aborted);
    fake_free(&caw);
    expect_byte(0);
    expect_free_gate();
}

static void test_abort_while_it_reads_leaves_nothing(void **state)
{
    struct halves data = halves(0, 1);
    struct fake_task caw;

    (void)state;
    take_all_io();
    caw_task(&caw, &data);
    fake_start(&caw);
    command_abort(caw.command);
    assert_int_equal(caw.finished, 1); /* it leaves the read behind, and that its buffer */
    end_io(0);
    assert_int_equal(taken_count, 0); /* no write followed */
    fake_free(&caw);
    let_io_go();
    expect_byte(0);
    expect_free_gate();
}

static void test_abort_while_it_writes_is_seen_as_done(void **state)
{
    struct halves data = halves(0, 1), again = halves(0, 2);
    struct fake_task caw, late;

    (void)state;
    take_all_io();
    caw_task(&caw, &data);
    fake_start(&caw);
    end_io(0);
    assert_int_equal(taken_io[0]->op, IO_WRITE);
    assert_int_equal(taken_io[0]->len_bytes, BLOCK); /* one call for the whole range */
    command_abort(caw.command);
    assert_int_equal(caw.finished, 1);
    assert_true(caw.answer.was_aborted);
    fake_free(&caw);
    /* the disk has not ended it: who wants the block now finds out afterwards */
    caw_task(&late, &again);
    fake_start(&late);
    assert_int_equal(taken_count, 1);
    assert_int_equal(late.finished, 0);
    let_io_go();
    end_io(0);
    fake_wait(&late);
    assert_int_equal(fake_sense(&late), SENSE_CODE(0xe, 0x1d, 0x00));
    fake_free(&late);
    expect_byte(1);
    expect_free_gate();
}

/* ---- reservations ---- */

static void start_reserve_of_the_other(struct fake_task *task)
{
    static const uint8_t reserve[6] = { 0x16 };

    fake_task(task, &rig, reserve, 0, NULL, 0);
    task->nexus = &rig.other;
    fake_start(task);
}

static void test_caw_whose_data_comes_after_the_others_reserve_is_kept_out(void **state)
{
    struct fake_task caw, reserve;
    struct halves data = halves(0, 1);

    (void)state;
    caw_task(&caw, &data);
    caw.is_held_back = true;
    fake_start(&caw);
    start_reserve_of_the_other(&reserve);
    fake_wait(&reserve);
    assert_int_equal(reserve.answer.status, STATUS_GOOD);
    fake_send(&caw);
    fake_wait(&caw);
    assert_int_equal(caw.answer.status, STATUS_RESERVATION_CONFLICT);
    fake_free(&caw);
    fake_free(&reserve);
    reservation_drop_all(rig.lu, NULL, 0);
    expect_byte(0);
    expect_free_gate();
}

static void test_reserve_is_answered_after_the_caw_that_is_under_way(void **state)
{
    struct fake_task caw, reserve;
    struct halves data = halves(0, 1);

    (void)state;
    take_all_io();
    caw_task(&caw, &data);
    fake_start(&caw); /* it reads */
    start_reserve_of_the_other(&reserve);
    end_io(0);
    assert_int_equal(reserve.finished, 0); /* it writes */
    end_io(0);
    assert_int_equal(caw.finished, 1);
    assert_int_equal(caw.answer.status, STATUS_GOOD);
    fake_wait(&reserve);
    assert_int_equal(reserve.answer.status, STATUS_GOOD);
    fake_free(&caw);
    fake_free(&reserve);
    let_io_go();
    reservation_drop_all(rig.lu, NULL, 0);
    expect_byte(1);
}

/* ---- errors ---- */

static void test_read_error_is_told_and_nothing_is_written(void **state)
{
    struct halves data = halves(0, 1);
    struct fake_task caw;

    (void)state;
    inline_read_answer = -EIO;
    caw_task(&caw, &data);
    fake_start(&caw);
    assert_int_equal(fake_sense(&caw) >> 16, 0x3);
    fake_free(&caw);
    inline_read_answer = 0;
    expect_byte(0);
    expect_free_gate();
}

static void test_full_disk_is_space_exhausted(void **state)
{
    struct halves data = halves(0, 1);
    struct fake_task caw;

    (void)state;
    inline_write_answer = -ENOSPC;
    caw_task(&caw, &data);
    run(&caw);
    assert_int_equal(fake_sense(&caw), SENSE_CODE(0x7, 0x27, 0x07));
    fake_free(&caw);
    inline_write_answer = 0;
    expect_free_gate();
}

static void test_error_of_the_disk_comes_back_through_the_engine(void **state)
{
    struct halves data = halves(0, 1);
    struct fake_task caw;

    (void)state;
    take_all_io();
    caw_task(&caw, &data);
    fake_start(&caw);
    end_io(-EIO);
    assert_int_equal(fake_sense(&caw) >> 16, 0x3);
    assert_int_equal(taken_count, 0);
    fake_free(&caw);
    let_io_go();
    expect_free_gate();
}

/* ---- durability ---- */

static void test_writethrough_writes_durably(void **state)
{
    struct halves data = halves(0, 1);
    struct fake_task caw;

    (void)state;
    take_all_io();
    caw_task(&caw, &data);
    fake_start(&caw);
    end_io(0);
    assert_int_equal(caw.finished, 0);
    assert_true(taken_io[0]->is_durable);
    end_io(0);
    assert_int_equal(caw.answer.status, STATUS_GOOD);
    fake_free(&caw);
}

static void test_fua_writes_durably_and_dpo_is_taken(void **state)
{
    struct halves data = halves(0, 1);
    struct fake_task caw;

    (void)state;
    take_all_io();
    caw_task(&caw, &data);
    caw.command->cdb[1] = 0x18; /* DPO, FUA */
    fake_start(&caw);
    end_io(0);
    assert_true(taken_io[0]->is_durable);
    end_io(0);
    assert_int_equal(caw.answer.status, STATUS_GOOD);
    fake_free(&caw);
}

/* ---- what is refused ---- */

static unsigned sense_of(const uint8_t cdb[16], uint32_t out_bytes)
{
    uint8_t *out = calloc(1, out_bytes + 1);
    struct fake_task task;
    unsigned sense;

    assert_non_null(out);
    memset(out + out_bytes / 2, 'x', out_bytes / 2);
    fake_run(&task, &rig, cdb, 0, out, out_bytes);
    sense = fake_sense(&task);
    fake_free(&task);
    free(out);
    return sense;
}

static void test_nothing_to_compare_is_good(void **state)
{
    uint8_t cdb[16];

    (void)state;
    caw_cdb(cdb, LBA, 0);
    assert_int_equal(sense_of(cdb, 0), 0);
    expect_byte(0);
}

static void test_data_of_another_length_is_refused_and_writes_nothing(void **state)
{
    static const uint32_t lengths[] = { 0, 1, BLOCK, 2 * BLOCK - 1, 2 * BLOCK + 1, 4 * BLOCK };
    uint8_t cdb[16];

    (void)state;
    caw_cdb(cdb, LBA, 1);
    for (unsigned i = 0; i < sizeof lengths / sizeof *lengths; i++)
        assert_int_equal(sense_of(cdb, lengths[i]), SENSE_CODE(0x5, 0x24, 0x00));
    caw_cdb(cdb, LBA, 0); /* 256 blocks, the byte having no room for them */
    assert_int_equal(sense_of(cdb, 512 * BLOCK), SENSE_CODE(0x5, 0x24, 0x00));
    expect_byte(0);
}

static void test_protection_information_is_refused(void **state)
{
    uint8_t cdb[16];

    (void)state;
    caw_cdb(cdb, LBA, 1);
    cdb[1] = 0x20; /* WRPROTECT */
    assert_int_equal(sense_of(cdb, 2 * BLOCK), SENSE_CODE(0x5, 0x24, 0x00));
}

static void test_unit_without_vaai_has_no_such_command(void **state)
{
    const uint8_t inquiry[6] = { 0x12, 0x01, 0xb0, 0, 64 };
    struct fake_task task;
    uint8_t cdb[16];

    (void)state;
    caw_cdb(cdb, LBA, 1);
    assert_int_equal(sense_of(cdb, 2 * BLOCK), SENSE_CODE(0x5, 0x20, 0x00));
    fake_run(&task, &rig, inquiry, 64, NULL, 0);
    assert_int_equal(task.in[5], 0);
    fake_free(&task);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_equal_blocks_are_replaced),
        TEST(test_miscompare_tells_the_first_byte_and_writes_nothing),
        TEST(test_differences_at_the_ends_are_found),
        TEST(test_caw_loser_sees_winners_block),
        TEST(test_plain_write_waits_for_the_caw_and_comes_after_it),
        TEST(test_caw_waits_for_the_write_before_it_and_compares_with_that),
        TEST(test_caw_on_one_block_lets_the_neighbours_alone),
        TEST(test_abort_while_data_is_awaited_leaves_nothing),
        TEST(test_abort_at_the_gate_leaves_nothing),
        TEST(test_abort_after_the_gate_let_it_in_leaves_nothing),
        TEST(test_abort_while_it_reads_leaves_nothing),
        TEST(test_abort_while_it_writes_is_seen_as_done),
        TEST(test_caw_whose_data_comes_after_the_others_reserve_is_kept_out),
        TEST(test_reserve_is_answered_after_the_caw_that_is_under_way),
        TEST(test_read_error_is_told_and_nothing_is_written),
        TEST(test_full_disk_is_space_exhausted),
        TEST(test_error_of_the_disk_comes_back_through_the_engine),
        cmocka_unit_test_setup_teardown(test_writethrough_writes_durably, setup_writethrough,
                                        teardown),
        TEST(test_fua_writes_durably_and_dpo_is_taken),
        TEST(test_nothing_to_compare_is_good),
        TEST(test_data_of_another_length_is_refused_and_writes_nothing),
        TEST(test_protection_information_is_refused),
        cmocka_unit_test_setup_teardown(test_unit_without_vaai_has_no_such_command,
                                        setup_without_vaai, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
