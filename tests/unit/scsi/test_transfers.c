/* reads, writes and verifies: data, errors, aborts, one end */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "tests/unit/scsi/disk_bench.h"

#include <errno.h>

static int setup(void **state)
{
    (void)state;
    return disk_open(&(struct rig_options){ .cache = CACHE_WRITEBACK });
}

static int setup_writethrough(void **state)
{
    (void)state;
    return disk_open(&(struct rig_options){ .cache = CACHE_WRITETHROUGH });
}

static int teardown(void **state)
{
    (void)state;
    rig_close(&rig);
    return 0;
}

static void test_what_was_written_is_read(void **state)
{
    uint8_t *data = pattern(1200 * RIG_BLOCK_BYTES, 1); /* several chunks */

    (void)state;
    write_blocks(7, 1200, data);
    expect_blocks(7, 1200, data);
    free(data);
}

static void test_write_and_read_go_through_the_engine_when_inline_is_refused(void **state)
{
    uint8_t *data = pattern(1200 * RIG_BLOCK_BYTES, 2);

    (void)state;
    inline_read_answer = inline_write_answer = -EAGAIN;
    write_blocks(100, 1200, data);
    expect_blocks(100, 1200, data);
    free(data);
}

static void test_read_goes_into_buffers_when_the_transport_has_no_reserve(void **state)
{
    uint8_t *data = pattern(4 * RIG_BLOCK_BYTES, 3);
    struct fake_task task;
    uint8_t cdb[10];

    (void)state;
    write_blocks(0, 4, data);
    read_10(cdb, 0, 4);
    fake_task(&task, &rig, cdb, 4 * RIG_BLOCK_BYTES, NULL, 0);
    task.has_no_reserve = true;
    fake_start(&task);
    fake_wait(&task);
    assert_int_equal(task.answer.status, STATUS_GOOD);
    assert_memory_equal(task.in, data, 4 * RIG_BLOCK_BYTES);
    fake_free(&task);
    free(data);
}

static void test_read_waits_for_room_and_goes_on(void **state)
{
    uint8_t *data = pattern(1024 * RIG_BLOCK_BYTES, 4);
    struct fake_task task;
    uint8_t cdb[10];

    (void)state;
    write_blocks(0, 1024, data);
    read_10(cdb, 0, 1024);
    fake_task(&task, &rig, cdb, 1024 * RIG_BLOCK_BYTES, NULL, 0);
    task.has_no_room = true;
    fake_start(&task);
    assert_int_equal(task.finished, 0);
    assert_int_equal(task.in_bytes, 0);
    task.has_no_room = false;
    command_in_resume(task.command);
    fake_wait(&task);
    assert_memory_equal(task.in, data, 1024 * RIG_BLOCK_BYTES);
    fake_free(&task);
    free(data);
}

/* One read of 1000 blocks with sendfile, of which the socket takes so much of each piece. */
static void read_direct(uint32_t room, uint32_t direct_bytes, uint32_t rest_bytes)
{
    uint8_t *data = pattern(1000 * RIG_BLOCK_BYTES, 5);
    struct fake_task task;
    uint8_t cdb[10];

    rig.workers.uses_sendfile = true;
    write_blocks(3, 1000, data);
    read_10(cdb, 3, 1000);
    fake_task(&task, &rig, cdb, 1000 * RIG_BLOCK_BYTES, NULL, 0);
    task.is_direct = true;
    task.direct_room = room;
    fake_start(&task);
    fake_wait(&task);
    assert_int_equal(task.answer.status, STATUS_GOOD);
    assert_int_equal(task.in_bytes, 1000 * RIG_BLOCK_BYTES);
    assert_memory_equal(task.in, data, 1000 * RIG_BLOCK_BYTES);
    assert_true(task.was_last_seen);
    assert_int_equal(task.direct_bytes, direct_bytes);
    assert_int_equal(task.rest_bytes, rest_bytes);
    fake_free(&task);
    free(data);
}

static void test_large_reads_go_to_the_socket_without_a_copy(void **state)
{
    (void)state;
    read_direct(UINT32_MAX, 1000 * RIG_BLOCK_BYTES, 0);
}

static void test_what_the_socket_does_not_take_is_read(void **state)
{
    (void)state;
    /* a piece of 256 KiB and the rest: each is cut off where the socket is full */
    read_direct(100001, 200002, 1000 * RIG_BLOCK_BYTES - 200002);
}

static void test_a_socket_that_takes_nothing_gets_all_of_it_later(void **state)
{
    (void)state;
    read_direct(0, 0, 1000 * RIG_BLOCK_BYTES);
}

static void test_small_reads_are_copied_with_sendfile_too(void **state)
{
    uint8_t *data = pattern(64 * RIG_BLOCK_BYTES, 6);
    struct fake_task task;
    uint8_t cdb[10];

    (void)state;
    rig.workers.uses_sendfile = true;
    write_blocks(0, 64, data);
    read_10(cdb, 0, 64);
    fake_task(&task, &rig, cdb, 64 * RIG_BLOCK_BYTES, NULL, 0);
    task.is_direct = true;
    task.direct_room = UINT32_MAX;
    fake_start(&task);
    fake_wait(&task);
    assert_memory_equal(task.in, data, 64 * RIG_BLOCK_BYTES);
    assert_int_equal(task.direct_bytes + task.rest_bytes, 0);
    fake_free(&task);
    free(data);
}

static void test_read_sends_no_more_than_is_expected(void **state)
{
    struct fake_task task;
    uint8_t cdb[10];

    (void)state;
    read_10(cdb, 0, 2);
    fake_run(&task, &rig, cdb, 200, NULL, 0);
    assert_int_equal(task.answer.status, STATUS_GOOD);
    assert_int_equal(task.in_bytes, 200);
    assert_int_equal(task.answer.transfer_bytes, 2 * RIG_BLOCK_BYTES);
    fake_free(&task);
}

static void test_read_sends_no_more_than_the_cdb_says(void **state)
{
    struct fake_task task;
    uint8_t cdb[10];

    (void)state;
    read_10(cdb, 0, 1);
    fake_run(&task, &rig, cdb, 10000, NULL, 0);
    assert_int_equal(task.in_bytes, RIG_BLOCK_BYTES);
    assert_int_equal(task.answer.transfer_bytes, RIG_BLOCK_BYTES);
    fake_free(&task);
}

static void test_write_that_brings_less_writes_whole_blocks_of_it(void **state)
{
    uint8_t *before = pattern(3 * RIG_BLOCK_BYTES, 5), *after = pattern(3 * RIG_BLOCK_BYTES, 6);
    struct fake_task task;
    uint8_t cdb[10];

    (void)state;
    write_blocks(0, 3, before);
    write_10(cdb, 0, 3);
    fake_run(&task, &rig, cdb, 0, after, RIG_BLOCK_BYTES + 200);
    assert_int_equal(task.answer.status, STATUS_GOOD);
    assert_int_equal(task.want_bytes, RIG_BLOCK_BYTES);
    assert_int_equal(task.answer.transfer_bytes, 3 * RIG_BLOCK_BYTES);
    fake_free(&task);
    memcpy(before, after, RIG_BLOCK_BYTES);
    expect_blocks(0, 3, before);
    free(before);
    free(after);
}

static void test_write_that_brings_more_writes_what_the_cdb_says(void **state)
{
    uint8_t *before = pattern(2 * RIG_BLOCK_BYTES, 7), *after = pattern(2 * RIG_BLOCK_BYTES, 8);
    struct fake_task task;
    uint8_t cdb[10];

    (void)state;
    write_blocks(0, 2, before);
    write_10(cdb, 0, 1);
    fake_run(&task, &rig, cdb, 0, after, 2 * RIG_BLOCK_BYTES);
    assert_int_equal(task.answer.transfer_bytes, RIG_BLOCK_BYTES);
    fake_free(&task);
    memcpy(before, after, RIG_BLOCK_BYTES);
    expect_blocks(0, 2, before);
    free(before);
    free(after);
}

static void test_write_without_data_is_good(void **state)
{
    struct fake_task task;
    uint8_t cdb[10];

    (void)state;
    write_10(cdb, 0, 1);
    fake_run(&task, &rig, cdb, 0, NULL, 0);
    assert_int_equal(task.answer.status, STATUS_GOOD);
    assert_int_equal(task.wants, 0);
    assert_int_equal(task.answer.transfer_bytes, RIG_BLOCK_BYTES);
    fake_free(&task);
}

static void test_bursts_that_come_faster_than_the_disk_are_queued_and_written(void **state)
{
    uint8_t *data = pattern(3000 * RIG_BLOCK_BYTES, 9); /* six bursts */
    struct fake_task task;
    uint8_t cdb[10];

    (void)state;
    takes_io = true;
    write_10(cdb, 0, 3000);
    cdb[1] = 0x08; /* FUA */
    fake_task(&task, &rig, cdb, 0, data, 3000 * RIG_BLOCK_BYTES);
    fake_start(&task);
    assert_int_equal(task.sent_bytes, 3000 * RIG_BLOCK_BYTES);
    assert_int_equal(task.finished, 0);
    while (taken_count > 0) {
        assert_true(taken_io[0]->is_durable);
        end_io(0);
    }
    assert_int_equal(task.finished, 1);
    assert_int_equal(task.answer.status, STATUS_GOOD);
    fake_free(&task);
    takes_io = false;
    expect_blocks(0, 3000, data);
    free(data);
}

static void test_writethrough_write_is_durable(void **state)
{
    uint8_t *data = pattern(RIG_BLOCK_BYTES, 10);
    struct fake_task task;
    uint8_t cdb[10];

    (void)state;
    takes_io = true;
    write_10(cdb, 0, 1);
    fake_task(&task, &rig, cdb, 0, data, RIG_BLOCK_BYTES);
    fake_start(&task);
    assert_int_equal(task.finished, 0);
    assert_int_equal(taken_count, 1);
    assert_true(taken_io[0]->is_durable);
    end_io(0);
    assert_int_equal(task.answer.status, STATUS_GOOD);
    fake_free(&task);
    free(data);
}

static void test_read_with_fua_flushes_before_it_reads(void **state)
{
    struct fake_task task;
    uint8_t cdb[10];

    (void)state;
    read_10(cdb, 0, 1);
    fake_run(&task, &rig, cdb, RIG_BLOCK_BYTES, NULL, 0); /* the first one of all asks for holes */
    fake_free(&task);
    takes_io = true;
    cdb[1] = 0x08;
    fake_task(&task, &rig, cdb, RIG_BLOCK_BYTES, NULL, 0);
    fake_start(&task);
    assert_int_equal(task.in_bytes, 0);
    assert_int_equal(taken_count, 1);
    assert_int_equal(taken_io[0]->op, IO_FLUSH);
    end_io(0);
    fake_wait(&task);
    assert_int_equal(task.in_bytes, RIG_BLOCK_BYTES);
    fake_free(&task);
}

static void test_full_disk_is_space_exhausted(void **state)
{
    uint8_t *data = pattern(RIG_BLOCK_BYTES, 11);
    struct fake_task task;
    uint8_t cdb[10];

    (void)state;
    inline_write_answer = -ENOSPC;
    write_10(cdb, 0, 1);
    fake_run(&task, &rig, cdb, 0, data, RIG_BLOCK_BYTES);
    assert_int_equal(fake_sense(&task), SENSE_CODE(0x7, 0x27, 0x07));
    fake_free(&task);
    free(data);
}

static void test_first_error_of_a_write_wins_and_nothing_is_begun_after_it(void **state)
{
    uint8_t *data = pattern(3000 * RIG_BLOCK_BYTES, 12);
    struct fake_task task;
    uint8_t cdb[10];
    unsigned begun;

    (void)state;
    takes_io = true;
    inline_write_answer = -EAGAIN;
    write_10(cdb, 0, 3000);
    fake_task(&task, &rig, cdb, 0, data, 3000 * RIG_BLOCK_BYTES);
    fake_start(&task);
    begun = taken_count;
    assert_true(begun >= 2);
    end_io(-EIO);
    assert_int_equal(task.finished, 0); /* the other ones can still touch the medium */
    assert_int_equal(taken_count, begun - 1);
    end_io(-ENOSPC);
    while (taken_count > 0)
        end_io(0);
    assert_int_equal(task.finished, 1);
    assert_int_equal(fake_sense(&task), SENSE_CODE(0x3, 0x0c, 0x00));
    fake_free(&task);
    free(data);
}

static void test_read_error_is_unrecovered_read_error(void **state)
{
    struct fake_task task;
    uint8_t cdb[10];

    (void)state;
    inline_read_answer = -EIO;
    read_10(cdb, 0, 1);
    fake_run(&task, &rig, cdb, RIG_BLOCK_BYTES, NULL, 0);
    assert_int_equal(fake_sense(&task), SENSE_CODE(0x3, 0x11, 0x00));
    assert_int_equal(task.in_bytes, 0);
    fake_free(&task);
}

static void test_abort_while_data_is_awaited_ends_at_once(void **state)
{
    uint8_t *data = pattern(RIG_BLOCK_BYTES, 13);
    struct fake_task task;
    uint8_t cdb[10];

    (void)state;
    write_10(cdb, 0, 1);
    fake_task(&task, &rig, cdb, 0, data, RIG_BLOCK_BYTES);
    task.is_held_back = true;
    fake_start(&task);
    command_abort(task.command);
    assert_int_equal(task.finished, 1);
    assert_true(task.answer.was_aborted);
    fake_free(&task);
    free(data);
}

/* Its first error is the command's; what else is in flight is waited for, since it is answered. */
static void test_write_that_failed_waits_for_the_rest_of_it(void **state)
{
    uint8_t *data = pattern(3000 * RIG_BLOCK_BYTES, 16);
    struct fake_task task;
    uint8_t cdb[10];

    (void)state;
    takes_io = true;
    inline_write_answer = -EAGAIN;
    write_10(cdb, 0, 3000);
    fake_task(&task, &rig, cdb, 0, data, 3000 * RIG_BLOCK_BYTES);
    fake_start(&task);
    end_io(-EIO);
    assert_int_equal(task.finished, 0);
    end_io(0);
    assert_int_equal(task.finished, 1);
    assert_int_equal(task.answer.status, STATUS_CHECK_CONDITION);
    fake_free(&task);
    free(data);
}

static void test_abort_while_waiting_for_room_ends_at_once(void **state)
{
    struct fake_task task;
    uint8_t cdb[10];

    (void)state;
    read_10(cdb, 0, 1);
    fake_task(&task, &rig, cdb, RIG_BLOCK_BYTES, NULL, 0);
    task.has_no_room = true;
    fake_start(&task);
    command_abort(task.command);
    assert_int_equal(task.finished, 1);
    fake_free(&task);
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
    assert_true(gate_enter(&rig.lu->gate, hold, &rig.worker, GATE_EXCLUSIVE, 0, RIG_BLOCK_BYTES));
}

static void test_read_and_write_wait_for_the_gate(void **state)
{
    uint8_t *data = pattern(RIG_BLOCK_BYTES, 15);
    struct fake_task reading, writing;
    struct gate_hold hold;
    uint8_t cdb[10];

    (void)state;
    hold_the_gate(&hold);
    write_10(cdb, 0, 1);
    fake_task(&writing, &rig, cdb, 0, data, RIG_BLOCK_BYTES);
    fake_start(&writing);
    read_10(cdb, 0, 1);
    fake_task(&reading, &rig, cdb, RIG_BLOCK_BYTES, NULL, 0);
    fake_start(&reading);
    assert_int_equal(writing.finished + reading.finished, 0);
    gate_leave(&hold);
    fake_wait(&writing);
    fake_wait(&reading);
    assert_int_equal(writing.answer.status, STATUS_GOOD);
    assert_int_equal(reading.answer.status, STATUS_GOOD);
    fake_free(&writing);
    fake_free(&reading);
    expect_blocks(0, 1, data);
    free(data);
}

static void test_abort_at_the_gate_ends_and_leaves_no_waiter(void **state)
{
    uint8_t *data = pattern(RIG_BLOCK_BYTES, 16);
    struct fake_task writing;
    struct gate_hold hold;
    uint8_t cdb[10];

    (void)state;
    hold_the_gate(&hold);
    write_10(cdb, 0, 1);
    fake_task(&writing, &rig, cdb, 0, data, RIG_BLOCK_BYTES);
    fake_start(&writing);
    command_abort(writing.command);
    assert_int_equal(writing.finished, 1);
    fake_free(&writing);
    gate_leave(&hold);
    hold_the_gate(&hold);
    gate_leave(&hold);
    free(data);
}

static void test_abort_after_the_gate_let_it_in_waits_for_the_message(void **state)
{
    uint8_t *data = pattern(RIG_BLOCK_BYTES, 17);
    struct fake_task writing;
    struct gate_hold hold;
    uint8_t cdb[10];

    (void)state;
    hold_the_gate(&hold);
    write_10(cdb, 0, 1);
    fake_task(&writing, &rig, cdb, 0, data, RIG_BLOCK_BYTES);
    fake_start(&writing);
    gate_leave(&hold); /* entered() is in the mailbox */
    command_abort(writing.command);
    assert_int_equal(writing.finished, 0);
    fake_wait(&writing);
    assert_true(writing.answer.was_aborted);
    fake_free(&writing);
    hold_the_gate(&hold); /* and it has left again */
    gate_leave(&hold);
    free(data);
}

static void test_abort_of_a_command_held_by_an_ordered_one_ends_at_once(void **state)
{
    uint8_t *data = pattern(RIG_BLOCK_BYTES, 18);
    struct fake_task ordered, held;
    uint8_t cdb[10];

    (void)state;
    write_10(cdb, 0, 1);
    fake_task(&ordered, &rig, cdb, 0, data, RIG_BLOCK_BYTES);
    ordered.command->attribute = TASK_ORDERED;
    ordered.is_held_back = true;
    fake_start(&ordered);
    read_10(cdb, 0, 1);
    fake_task(&held, &rig, cdb, RIG_BLOCK_BYTES, NULL, 0);
    fake_start(&held);
    assert_int_equal(held.finished, 0);
    command_abort(held.command);
    assert_int_equal(held.finished, 1);
    fake_free(&held);
    fake_send(&ordered);
    fake_wait(&ordered);
    fake_free(&ordered);
    free(data);
}

static void test_command_behind_an_ordered_one_sees_what_it_wrote(void **state)
{
    uint8_t *data = pattern(RIG_BLOCK_BYTES, 19);
    struct fake_task ordered, held;
    uint8_t cdb[10];

    (void)state;
    write_10(cdb, 0, 1);
    fake_task(&ordered, &rig, cdb, 0, data, RIG_BLOCK_BYTES);
    ordered.command->attribute = TASK_ORDERED;
    ordered.is_held_back = true;
    fake_start(&ordered);
    read_10(cdb, 0, 1);
    fake_task(&held, &rig, cdb, RIG_BLOCK_BYTES, NULL, 0);
    fake_start(&held);
    fake_send(&ordered);
    fake_wait(&held);
    assert_memory_equal(held.in, data, RIG_BLOCK_BYTES);
    fake_free(&held);
    fake_free(&ordered);
    free(data);
}

static void verify_10(uint8_t cdb[10], uint32_t lba, uint16_t blocks, uint8_t bytchk)
{
    read_10(cdb, lba, blocks);
    cdb[0] = 0x2f;
    cdb[1] = (uint8_t)(bytchk << 1);
}

static void test_verify_compares_all_of_data_out(void **state)
{
    uint8_t *data = pattern(1200 * RIG_BLOCK_BYTES, 22);
    struct fake_task task;
    uint8_t cdb[10];

    (void)state;
    write_blocks(0, 1200, data);
    verify_10(cdb, 0, 1200, 1);
    fake_run(&task, &rig, cdb, 0, data, 1200 * RIG_BLOCK_BYTES);
    assert_int_equal(task.answer.status, STATUS_GOOD);
    fake_free(&task);
    data[600001] ^= 1;
    fake_run(&task, &rig, cdb, 0, data, 1200 * RIG_BLOCK_BYTES);
    assert_int_equal(fake_sense(&task), SENSE_CODE(0xe, 0x1d, 0x00));
    assert_int_equal(task.answer.sense[0], 0xf0);
    assert_int_equal(get_be32(task.answer.sense + 3), 600001);
    fake_free(&task);
    free(data);
}

static void test_verify_without_bytchk_takes_no_data(void **state)
{
    struct fake_task task;
    uint8_t cdb[10];

    (void)state;
    verify_10(cdb, 0, 1200, 0);
    fake_run(&task, &rig, cdb, 0, NULL, 0);
    assert_int_equal(task.answer.status, STATUS_GOOD);
    assert_int_equal(task.answer.transfer_bytes, 0);
    fake_free(&task);
}

static void test_verify_compares_every_block_with_one(void **state)
{
    uint8_t *data = pattern(RIG_BLOCK_BYTES, 23);
    struct fake_task task;
    uint8_t cdb[10];

    (void)state;
    for (uint32_t lba = 0; lba < 8; lba++)
        write_blocks(lba, 1, data);
    verify_10(cdb, 0, 8, 3);
    fake_run(&task, &rig, cdb, 0, data, RIG_BLOCK_BYTES);
    assert_int_equal(task.answer.status, STATUS_GOOD);
    assert_int_equal(task.answer.transfer_bytes, RIG_BLOCK_BYTES);
    fake_free(&task);
    verify_10(cdb, 0, 9, 3); /* the ninth block has zeros */
    fake_run(&task, &rig, cdb, 0, data, RIG_BLOCK_BYTES);
    assert_int_equal(fake_sense(&task), SENSE_CODE(0xe, 0x1d, 0x00));
    fake_free(&task);
    free(data);
}

static void test_verify_refuses_the_reserved_bytchk(void **state)
{
    struct fake_task task;
    uint8_t cdb[10];

    (void)state;
    verify_10(cdb, 0, 1, 2);
    fake_run(&task, &rig, cdb, 0, NULL, 0);
    assert_int_equal(fake_sense(&task), SENSE_CODE(0x5, 0x24, 0x00));
    fake_free(&task);
}

static void test_synchronize_cache_answers_after_the_flush(void **state)
{
    const uint8_t synchronize[10] = { 0x35, 0x02 };
    struct fake_task task;

    (void)state;
    takes_io = true;
    fake_task(&task, &rig, synchronize, 0, NULL, 0);
    fake_start(&task);
    assert_int_equal(task.finished, 0);
    assert_int_equal(taken_io[0]->op, IO_FLUSH);
    end_io(0);
    assert_int_equal(task.answer.status, STATUS_GOOD);
    fake_free(&task);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_what_was_written_is_read),
        TEST(test_write_and_read_go_through_the_engine_when_inline_is_refused),
        TEST(test_read_goes_into_buffers_when_the_transport_has_no_reserve),
        TEST(test_read_waits_for_room_and_goes_on),
        TEST(test_large_reads_go_to_the_socket_without_a_copy),
        TEST(test_what_the_socket_does_not_take_is_read),
        TEST(test_a_socket_that_takes_nothing_gets_all_of_it_later),
        TEST(test_small_reads_are_copied_with_sendfile_too),
        TEST(test_read_sends_no_more_than_is_expected),
        TEST(test_read_sends_no_more_than_the_cdb_says),
        TEST(test_write_that_brings_less_writes_whole_blocks_of_it),
        TEST(test_write_that_brings_more_writes_what_the_cdb_says),
        TEST(test_write_without_data_is_good),
        TEST(test_bursts_that_come_faster_than_the_disk_are_queued_and_written),
        cmocka_unit_test_setup_teardown(test_writethrough_write_is_durable, setup_writethrough,
                                        teardown),
        TEST(test_read_with_fua_flushes_before_it_reads),
        TEST(test_full_disk_is_space_exhausted),
        TEST(test_first_error_of_a_write_wins_and_nothing_is_begun_after_it),
        TEST(test_read_error_is_unrecovered_read_error),
        TEST(test_abort_while_data_is_awaited_ends_at_once),
        TEST(test_write_that_failed_waits_for_the_rest_of_it),
        TEST(test_abort_while_waiting_for_room_ends_at_once),
        TEST(test_read_and_write_wait_for_the_gate),
        TEST(test_abort_at_the_gate_ends_and_leaves_no_waiter),
        TEST(test_abort_after_the_gate_let_it_in_waits_for_the_message),
        TEST(test_abort_of_a_command_held_by_an_ordered_one_ends_at_once),
        TEST(test_command_behind_an_ordered_one_sees_what_it_wrote),
        TEST(test_verify_compares_all_of_data_out),
        TEST(test_verify_without_bytchk_takes_no_data),
        TEST(test_verify_compares_every_block_with_one),
        TEST(test_verify_refuses_the_reserved_bytchk),
        TEST(test_synchronize_cache_answers_after_the_flush),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
