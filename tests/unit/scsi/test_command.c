/* the way of a command: checks, data, aborts, one end */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "tests/unit/scsi/fake_transport.h"

#include <errno.h>

/* What the backing answers inline; 0: what it really does. Linked with --wrap. */
static int inline_read_answer, inline_write_answer;
/* Takes io instead of the engine and leaves it to the test. */
static bool takes_io;
static struct io *taken_io[8];
static unsigned taken_count;

int __real_backing_try_read(struct backing *backing, const struct iovec *iov, int iov_count,
                            uint64_t offset_bytes);
int __wrap_backing_try_read(struct backing *backing, const struct iovec *iov, int iov_count,
                            uint64_t offset_bytes);
int __real_backing_try_write(struct backing *backing, const struct iovec *iov, int iov_count,
                             uint64_t offset_bytes);
int __wrap_backing_try_write(struct backing *backing, const struct iovec *iov, int iov_count,
                             uint64_t offset_bytes);
void __real_engine_submit(struct engine *engine, struct io *io);
void __wrap_engine_submit(struct engine *engine, struct io *io);

int __wrap_backing_try_read(struct backing *backing, const struct iovec *iov, int iov_count,
                            uint64_t offset_bytes)
{
    return inline_read_answer ? inline_read_answer
                              : __real_backing_try_read(backing, iov, iov_count, offset_bytes);
}

int __wrap_backing_try_write(struct backing *backing, const struct iovec *iov, int iov_count,
                             uint64_t offset_bytes)
{
    return inline_write_answer ? inline_write_answer
                               : __real_backing_try_write(backing, iov, iov_count, offset_bytes);
}

void __wrap_engine_submit(struct engine *engine, struct io *io)
{
    if (!takes_io)
        return __real_engine_submit(engine, io);
    assert_true(taken_count < 8);
    taken_io[taken_count++] = io;
}

/* The oldest io that was taken ends: really done (0), or with that error. */
static void end_io(int error)
{
    struct io *io;

    assert_true(taken_count > 0);
    io = taken_io[0];
    memmove(taken_io, taken_io + 1, --taken_count * sizeof *taken_io);
    if (error)
        io->result = error;
    else
        backing_run(io);
    io->done(io);
}

static struct rig rig;

static int open_rig(const struct rig_options *options)
{
    inline_read_answer = inline_write_answer = 0;
    takes_io = false;
    taken_count = 0;
    rig_open(&rig, options);
    rig_clear_unit_attentions(&rig);
    return 0;
}

static int setup(void **state)
{
    (void)state;
    return open_rig(&(struct rig_options){ .cache = CACHE_WRITEBACK });
}

static int setup_writethrough(void **state)
{
    (void)state;
    return open_rig(&(struct rig_options){ .cache = CACHE_WRITETHROUGH });
}

static int setup_readonly(void **state)
{
    (void)state;
    return open_rig(&(struct rig_options){ .is_readonly = true });
}

static int teardown(void **state)
{
    (void)state;
    rig_close(&rig);
    return 0;
}

static const uint8_t test_unit_ready[6] = { 0x00 };

static void read_10(uint8_t cdb[10], uint32_t lba, uint16_t blocks)
{
    memset(cdb, 0, 10);
    cdb[0] = 0x28;
    put_be32(cdb + 2, lba);
    put_be16(cdb + 7, blocks);
}

static void write_10(uint8_t cdb[10], uint32_t lba, uint16_t blocks)
{
    read_10(cdb, lba, blocks);
    cdb[0] = 0x2a;
}

/* Bytes that tell where they belong. */
static uint8_t *pattern(uint32_t bytes, unsigned seed)
{
    uint8_t *data = malloc(bytes);

    assert_non_null(data);
    for (uint32_t i = 0; i < bytes; i++)
        data[i] = (uint8_t)(i * 31 + (i >> 9) * 7 + seed);
    return data;
}

static void write_blocks(uint32_t lba, uint16_t blocks, const uint8_t *data)
{
    struct fake_task task;
    uint8_t cdb[10];

    write_10(cdb, lba, blocks);
    fake_run(&task, &rig, cdb, 0, data, blocks * RIG_BLOCK_BYTES);
    assert_int_equal(task.answer.status, STATUS_GOOD);
    assert_int_equal(task.answer.transfer_bytes, blocks * RIG_BLOCK_BYTES);
    fake_free(&task);
}

static void expect_blocks(uint32_t lba, uint16_t blocks, const uint8_t *data)
{
    struct fake_task task;
    uint8_t cdb[10];

    read_10(cdb, lba, blocks);
    fake_run(&task, &rig, cdb, blocks * RIG_BLOCK_BYTES, NULL, 0);
    assert_int_equal(task.answer.status, STATUS_GOOD);
    assert_int_equal(task.in_bytes, blocks * RIG_BLOCK_BYTES);
    assert_true(task.was_last_seen);
    assert_memory_equal(task.in, data, task.in_bytes);
    fake_free(&task);
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
    takes_io = true;
    read_10(cdb, 0, 1);
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

static void test_abort_with_io_in_flight_ends_when_it_is_back(void **state)
{
    uint8_t *data = pattern(3000 * RIG_BLOCK_BYTES, 14);
    struct fake_task task;
    uint8_t cdb[10];

    (void)state;
    takes_io = true;
    write_10(cdb, 0, 3000);
    cdb[1] = 0x08;
    fake_task(&task, &rig, cdb, 0, data, 3000 * RIG_BLOCK_BYTES);
    fake_start(&task);
    command_abort(task.command);
    assert_int_equal(task.finished, 0);
    command_abort(task.command); /* repeating is fine */
    while (taken_count > 0)
        end_io(0);
    assert_int_equal(task.finished, 1);
    assert_true(task.answer.was_aborted);
    fake_free(&task);
    free(data);
}

static void test_abort_of_a_read_in_flight_gives_its_buffer_back(void **state)
{
    struct fake_task task;
    uint8_t cdb[10];

    (void)state;
    takes_io = true;
    inline_read_answer = -EAGAIN;
    read_10(cdb, 0, 8);
    fake_task(&task, &rig, cdb, 8 * RIG_BLOCK_BYTES, NULL, 0);
    fake_start(&task);
    command_abort(task.command);
    assert_int_equal(task.finished, 0);
    end_io(0);
    assert_int_equal(task.finished, 1);
    assert_int_equal(task.in_bytes, 0);
    fake_free(&task); /* teardown's buffer_pool_destroy() fails if one is missing */
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

static void test_unit_attention_comes_first_and_once(void **state)
{
    struct fake_task task;

    (void)state;
    unit_attention_raise(nexus_itl(&rig.nexus, 0, true), UA_CAPACITY_CHANGED);
    fake_run(&task, &rig, test_unit_ready, 0, NULL, 0);
    assert_int_equal(fake_sense(&task), SENSE_CODE(0x6, 0x2a, 0x09));
    fake_free(&task);
    fake_run(&task, &rig, test_unit_ready, 0, NULL, 0);
    assert_int_equal(task.answer.status, STATUS_GOOD);
    fake_free(&task);
}

static void test_unit_attention_does_not_stop_inquiry_and_stays(void **state)
{
    const uint8_t inquiry[6] = { 0x12, 0, 0, 0, 96 };
    struct fake_task task;

    (void)state;
    unit_attention_raise(nexus_itl(&rig.nexus, 0, true), UA_CAPACITY_CHANGED);
    fake_run(&task, &rig, inquiry, 96, NULL, 0);
    assert_int_equal(task.answer.status, STATUS_GOOD);
    fake_free(&task);
    assert_true(unit_attention_is_pending(nexus_itl(&rig.nexus, 0, true)));
}

static void test_request_sense_tells_the_unit_attention_as_data(void **state)
{
    const uint8_t request_sense[6] = { 0x03, 0, 0, 0, 252 };
    struct fake_task task;

    (void)state;
    unit_attention_raise(nexus_itl(&rig.nexus, 0, true), UA_CAPACITY_CHANGED);
    fake_run(&task, &rig, request_sense, 252, NULL, 0);
    assert_int_equal(task.answer.status, STATUS_GOOD);
    assert_int_equal(task.in_bytes, 18);
    assert_int_equal(task.in[2], 0x06);
    assert_int_equal(task.in[12], 0x2a);
    assert_int_equal(task.in[13], 0x09);
    fake_free(&task);
    assert_false(unit_attention_is_pending(nexus_itl(&rig.nexus, 0, true)));
}

static void run_on_missing_lun(struct fake_task *task, const uint8_t *cdb, uint32_t in_bytes)
{
    fake_task(task, &rig, cdb, in_bytes, NULL, 0);
    task->command->lun = 5ULL << 48;
    fake_start(task);
    fake_wait(task);
}

static void test_missing_lun_is_told_apart_by_command(void **state)
{
    const uint8_t inquiry[6] = { 0x12, 0, 0, 0, 96 };
    const uint8_t request_sense[6] = { 0x03, 0, 0, 0, 252 };
    const uint8_t report_luns[12] = { 0xa0, 0, 0, 0, 0, 0, 0, 0, 1, 0 };
    const uint8_t lun_0[16] = { 0, 0, 0, 8 };
    struct fake_task task;

    (void)state;
    run_on_missing_lun(&task, inquiry, 96);
    assert_int_equal(task.answer.status, STATUS_GOOD);
    assert_int_equal(task.in[0], 0x7f);
    fake_free(&task);
    run_on_missing_lun(&task, request_sense, 252);
    assert_int_equal(task.answer.status, STATUS_GOOD);
    assert_int_equal(task.in[2], 0x05);
    assert_int_equal(task.in[12], 0x25);
    fake_free(&task);
    run_on_missing_lun(&task, report_luns, 256);
    assert_int_equal(task.answer.status, STATUS_GOOD);
    assert_int_equal(task.in_bytes, 16);
    assert_memory_equal(task.in, lun_0, 16);
    fake_free(&task);
    run_on_missing_lun(&task, test_unit_ready, 0);
    assert_int_equal(fake_sense(&task), SENSE_CODE(0x5, 0x25, 0x00));
    fake_free(&task);
}

static void test_report_luns_refuses_less_than_sixteen_bytes(void **state)
{
    const uint8_t report_luns[12] = { 0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 15 };
    struct fake_task task;

    (void)state;
    fake_run(&task, &rig, report_luns, 15, NULL, 0);
    assert_int_equal(fake_sense(&task), SENSE_CODE(0x5, 0x24, 0x00));
    fake_free(&task);
}

static void test_reservation_of_another_nexus_is_a_conflict(void **state)
{
    const uint8_t reserve[6] = { 0x16 }, release[6] = { 0x17 };
    struct fake_task task;

    (void)state;
    fake_task(&task, &rig, reserve, 0, NULL, 0);
    task.nexus = &rig.other;
    fake_start(&task);
    assert_int_equal(task.answer.status, STATUS_GOOD);
    fake_free(&task);
    fake_run(&task, &rig, test_unit_ready, 0, NULL, 0);
    assert_int_equal(task.answer.status, STATUS_RESERVATION_CONFLICT);
    fake_free(&task);
    fake_task(&task, &rig, release, 0, NULL, 0);
    task.nexus = &rig.other;
    fake_start(&task);
    fake_free(&task);
    fake_run(&task, &rig, test_unit_ready, 0, NULL, 0);
    assert_int_equal(task.answer.status, STATUS_GOOD);
    fake_free(&task);
}

static void test_readonly_unit_refuses_writes_and_reads_on(void **state)
{
    uint8_t *data = pattern(RIG_BLOCK_BYTES, 20);
    uint8_t zeros[RIG_BLOCK_BYTES] = { 0 };
    struct fake_task task;
    uint8_t cdb[10];

    (void)state;
    write_10(cdb, 0, 1);
    fake_run(&task, &rig, cdb, 0, data, RIG_BLOCK_BYTES);
    assert_int_equal(fake_sense(&task), SENSE_CODE(0x7, 0x27, 0x00));
    fake_free(&task);
    expect_blocks(0, 1, zeros);
    free(data);
}

static void test_stopped_unit_is_not_ready_until_it_is_started(void **state)
{
    const uint8_t stop[6] = { 0x1b, 0, 0, 0, 0 }, start[6] = { 0x1b, 0, 0, 0, 1 };
    struct fake_task task;
    uint8_t cdb[10];

    (void)state;
    fake_run(&task, &rig, stop, 0, NULL, 0);
    assert_int_equal(task.answer.status, STATUS_GOOD);
    fake_free(&task);
    read_10(cdb, 0, 1);
    fake_run(&task, &rig, cdb, RIG_BLOCK_BYTES, NULL, 0);
    assert_int_equal(fake_sense(&task), SENSE_CODE(0x2, 0x04, 0x02));
    fake_free(&task);
    fake_run(&task, &rig, start, 0, NULL, 0);
    fake_free(&task);
    fake_run(&task, &rig, test_unit_ready, 0, NULL, 0);
    assert_int_equal(task.answer.status, STATUS_GOOD);
    fake_free(&task);
}

static void test_eject_of_a_fixed_disk_is_refused(void **state)
{
    const uint8_t eject[6] = { 0x1b, 0, 0, 0, 2 };
    struct fake_task task;

    (void)state;
    fake_run(&task, &rig, eject, 0, NULL, 0);
    assert_int_equal(fake_sense(&task), SENSE_CODE(0x5, 0x24, 0x00));
    assert_int_equal(task.answer.sense[17], 4); /* the field pointer */
    fake_free(&task);
}

static void mode_select_control(struct fake_task *task, uint8_t byte_2, uint8_t byte_4)
{
    const uint8_t cdb[6] = { 0x15, 0x10, 0, 0, 16 };
    uint8_t list[16] = { 0, 0, 0, 0, 0x0a, 0x0a, 0x02, 0x10 };

    list[4 + 2] = (uint8_t)(list[4 + 2] | byte_2);
    list[4 + 4] = byte_4;
    fake_run(task, &rig, cdb, 0, list, sizeof list);
}

static void test_d_sense_changes_the_sense_format_for_all_and_tells_the_other_nexus(void **state)
{
    const uint8_t unknown[6] = { 0x01 };
    struct fake_task task;

    (void)state;
    mode_select_control(&task, 0x04, 0);
    assert_int_equal(task.answer.status, STATUS_GOOD);
    fake_free(&task);
    assert_false(unit_attention_is_pending(nexus_itl(&rig.nexus, 0, true)));
    assert_int_equal(unit_attention_take(nexus_itl(&rig.other, 0, true)),
                     SENSE_CODE(0x6, 0x2a, 0x01));
    fake_run(&task, &rig, unknown, 0, NULL, 0);
    assert_int_equal(task.answer.sense[0], 0x72);
    assert_int_equal(fake_sense(&task), SENSE_CODE(0x5, 0x20, 0x00));
    fake_free(&task);
}

static void test_swp_protects_the_unit_and_says_so(void **state)
{
    const uint8_t mode_sense[6] = { 0x1a, 0x08, 0x0a, 0, 252 };
    uint8_t *data = pattern(RIG_BLOCK_BYTES, 21);
    struct fake_task task;
    uint8_t cdb[10];

    (void)state;
    mode_select_control(&task, 0, 0x08);
    fake_free(&task);
    write_10(cdb, 0, 1);
    fake_run(&task, &rig, cdb, 0, data, RIG_BLOCK_BYTES);
    assert_int_equal(fake_sense(&task), SENSE_CODE(0x7, 0x27, 0x00));
    fake_free(&task);
    fake_run(&task, &rig, mode_sense, 252, NULL, 0);
    assert_int_equal(task.in[2], 0x90); /* WP, DPOFUA */
    fake_free(&task);
    mode_select_control(&task, 0, 0);
    fake_free(&task);
    write_blocks(0, 1, data);
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

static void test_abort_of_a_verify_in_flight_gives_everything_back(void **state)
{
    uint8_t *data = pattern(1200 * RIG_BLOCK_BYTES, 24);
    struct fake_task task;
    uint8_t cdb[10];

    (void)state;
    takes_io = true;
    verify_10(cdb, 0, 1200, 1);
    fake_task(&task, &rig, cdb, 0, data, 1200 * RIG_BLOCK_BYTES);
    fake_start(&task);
    command_abort(task.command);
    assert_int_equal(task.finished, 0);
    end_io(0);
    assert_int_equal(task.finished, 1);
    assert_int_equal(taken_count, 0);
    fake_free(&task);
    free(data);
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

static void test_naca_is_refused(void **state)
{
    const uint8_t naca[6] = { 0x00, 0, 0, 0, 0, 0x04 };
    struct fake_task task;

    (void)state;
    fake_run(&task, &rig, naca, 0, NULL, 0);
    assert_int_equal(fake_sense(&task), SENSE_CODE(0x5, 0x24, 0x00));
    assert_int_equal(task.answer.sense[17], 5);
    fake_free(&task);
}

static void test_scsi_2_lun_bits_of_a_six_byte_cdb_are_ignored(void **state)
{
    const uint8_t with_lun[6] = { 0x00, 0x60 };
    struct fake_task task;

    (void)state;
    fake_run(&task, &rig, with_lun, 0, NULL, 0);
    assert_int_equal(task.answer.status, STATUS_GOOD);
    fake_free(&task);
}

static void test_allocation_length_cuts_parameter_data(void **state)
{
    const uint8_t inquiry[6] = { 0x12, 0, 0, 0, 5 };
    struct fake_task task;

    (void)state;
    fake_run(&task, &rig, inquiry, 255, NULL, 0);
    assert_int_equal(task.in_bytes, 5);
    assert_int_equal(task.answer.transfer_bytes, 5);
    fake_free(&task);
}

static void test_commands_are_counted(void **state)
{
    uint8_t *data = pattern(2 * RIG_BLOCK_BYTES, 25);
    struct lu_statistics sum;

    (void)state;
    write_blocks(0, 2, data);
    expect_blocks(0, 2, data);
    lu_statistics(rig.lu, &sum);
    assert_int_equal(sum.reads, 1);
    assert_int_equal(sum.writes, 1);
    assert_int_equal(sum.read_bytes, 2 * RIG_BLOCK_BYTES);
    assert_int_equal(sum.written_bytes, 2 * RIG_BLOCK_BYTES);
    free(data);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_what_was_written_is_read),
        TEST(test_write_and_read_go_through_the_engine_when_inline_is_refused),
        TEST(test_read_goes_into_buffers_when_the_transport_has_no_reserve),
        TEST(test_read_waits_for_room_and_goes_on),
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
        TEST(test_abort_with_io_in_flight_ends_when_it_is_back),
        TEST(test_abort_of_a_read_in_flight_gives_its_buffer_back),
        TEST(test_abort_while_waiting_for_room_ends_at_once),
        TEST(test_read_and_write_wait_for_the_gate),
        TEST(test_abort_at_the_gate_ends_and_leaves_no_waiter),
        TEST(test_abort_after_the_gate_let_it_in_waits_for_the_message),
        TEST(test_abort_of_a_command_held_by_an_ordered_one_ends_at_once),
        TEST(test_command_behind_an_ordered_one_sees_what_it_wrote),
        TEST(test_unit_attention_comes_first_and_once),
        TEST(test_unit_attention_does_not_stop_inquiry_and_stays),
        TEST(test_request_sense_tells_the_unit_attention_as_data),
        TEST(test_missing_lun_is_told_apart_by_command),
        TEST(test_report_luns_refuses_less_than_sixteen_bytes),
        TEST(test_reservation_of_another_nexus_is_a_conflict),
        cmocka_unit_test_setup_teardown(test_readonly_unit_refuses_writes_and_reads_on,
                                        setup_readonly, teardown),
        TEST(test_stopped_unit_is_not_ready_until_it_is_started),
        TEST(test_eject_of_a_fixed_disk_is_refused),
        TEST(test_d_sense_changes_the_sense_format_for_all_and_tells_the_other_nexus),
        TEST(test_swp_protects_the_unit_and_says_so),
        TEST(test_verify_compares_all_of_data_out),
        TEST(test_verify_without_bytchk_takes_no_data),
        TEST(test_verify_compares_every_block_with_one),
        TEST(test_verify_refuses_the_reserved_bytchk),
        TEST(test_abort_of_a_verify_in_flight_gives_everything_back),
        TEST(test_synchronize_cache_answers_after_the_flush),
        TEST(test_naca_is_refused),
        TEST(test_scsi_2_lun_bits_of_a_six_byte_cdb_are_ignored),
        TEST(test_allocation_length_cuts_parameter_data),
        TEST(test_commands_are_counted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
