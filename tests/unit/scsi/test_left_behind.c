/* what an aborted command leaves behind on a disk that has not ended it */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "target/scsi/limits.h"
#include "tests/unit/scsi/disk_bench.h"

#include <errno.h>

static int setup(void **state)
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

/* Starts it with a disk that keeps what it is given, and aborts it. */
static void start_and_abort(struct fake_task *task)
{
    takes_io = true;
    inline_read_answer = inline_write_answer = -EAGAIN;
    fake_start(task);
    assert_true(taken_count > 0);
    command_abort(task->command);
}

static void test_aborted_write_does_not_wait_for_the_disk(void **state)
{
    uint8_t *data = pattern(3000 * RIG_BLOCK_BYTES, 14);
    struct fake_task task;
    uint8_t cdb[10];

    (void)state;
    write_10(cdb, 0, 3000);
    fake_task(&task, &rig, cdb, 0, data, 3000 * RIG_BLOCK_BYTES);
    start_and_abort(&task);
    assert_int_equal(task.finished, 1);
    assert_true(task.answer.was_aborted);
    assert_int_equal(taken_count, 2); /* pieces; the others were not begun */
    fake_free(&task);
    free(data);
    while (taken_count > 0)
        end_io(0);
}

static void test_no_one_sees_a_block_before_an_aborted_write_has_ended(void **state)
{
    uint8_t *old = pattern(8 * RIG_BLOCK_BYTES, 14), *new = pattern(8 * RIG_BLOCK_BYTES, 15);
    const uint8_t zeros[RIG_BLOCK_BYTES] = { 0 };
    struct fake_task aborted, read, again;
    uint8_t cdb[10];

    (void)state;
    write_10(cdb, 16, 8);
    fake_task(&aborted, &rig, cdb, 0, old, 8 * RIG_BLOCK_BYTES);
    start_and_abort(&aborted);
    assert_int_equal(aborted.finished, 1);
    fake_free(&aborted);

    takes_io = false;
    inline_read_answer = inline_write_answer = 0;
    read_10(cdb, 20, 8); /* the last four of them, and four more */
    fake_task(&read, &rig, cdb, 8 * RIG_BLOCK_BYTES, NULL, 0);
    fake_start(&read);
    write_10(cdb, 16, 8); /* the host tries again */
    fake_task(&again, &rig, cdb, 0, new, 8 * RIG_BLOCK_BYTES);
    fake_start(&again);
    expect_blocks(24, 1, zeros); /* beside it nobody waits */
    assert_false(read.finished || again.finished);
    end_io(0); /* now what was aborted is on the disk */
    fake_wait(&read);
    fake_wait(&again);
    assert_memory_equal(read.in, old + 4 * RIG_BLOCK_BYTES, 4 * RIG_BLOCK_BYTES);
    assert_int_equal(again.answer.status, STATUS_GOOD);
    fake_free(&read);
    fake_free(&again);
    expect_blocks(16, 8, new);
    free(old);
    free(new);
}

static void test_who_waits_for_an_aborted_write_can_be_aborted_as_well(void **state)
{
    uint8_t *data = pattern(8 * RIG_BLOCK_BYTES, 14);
    struct fake_task task;
    uint8_t cdb[10];

    (void)state;
    write_10(cdb, 16, 8);
    fake_task(&task, &rig, cdb, 0, data, 8 * RIG_BLOCK_BYTES);
    start_and_abort(&task);
    fake_free(&task);
    for (int i = 0; i < 3; i++) {
        fake_task(&task, &rig, cdb, 0, data, 8 * RIG_BLOCK_BYTES);
        fake_start(&task);
        assert_int_equal(taken_count, 1); /* it does not come to the disk */
        command_abort(task.command);
        assert_int_equal(task.finished, 1);
        fake_free(&task);
    }
    end_io(-EIO); /* nobody is left to be told */
    takes_io = false;
    inline_read_answer = inline_write_answer = 0;
    write_blocks(16, 8, data);
    free(data);
}

static void test_aborted_read_does_not_wait_for_the_disk(void **state)
{
    struct fake_task task;
    uint8_t cdb[10];

    (void)state;
    read_10(cdb, 0, 8);
    fake_task(&task, &rig, cdb, 8 * RIG_BLOCK_BYTES, NULL, 0);
    start_and_abort(&task);
    assert_int_equal(task.finished, 1);
    assert_int_equal(task.in_bytes, 0);
    fake_free(&task); /* teardown's buffer_pool_destroy() fails if one is missing */
    fake_task(&task, &rig, cdb, 8 * RIG_BLOCK_BYTES, NULL, 0);
    fake_start(&task);
    assert_int_equal(taken_count, 1); /* the host tries again: one read is enough for the disk */
    takes_io = false;
    end_io(-EIO);
    fake_wait(&task);
    assert_int_equal(task.answer.status, STATUS_GOOD);
    fake_free(&task);
}

static void test_aborted_flush_does_not_wait_for_the_disk(void **state)
{
    const uint8_t synchronize[10] = { 0x35 };
    struct fake_task task;

    (void)state;
    fake_task(&task, &rig, synchronize, 0, NULL, 0);
    start_and_abort(&task);
    assert_int_equal(task.finished, 1);
    assert_true(task.answer.was_aborted);
    fake_free(&task);
    end_io(-EIO);
}

/* `cdb` again and again, each aborted at once: so many end, and the next one waits for the disk. */
static void expect_bounded(const uint8_t *cdb, uint32_t expected)
{
    struct fake_task task;

    for (uint32_t i = 0; i < expected; i++) {
        fake_task(&task, &rig, cdb, 0, NULL, 0);
        start_and_abort(&task);
        assert_int_equal(task.finished, 1);
        fake_free(&task);
    }
    fake_task(&task, &rig, cdb, 0, NULL, 0);
    start_and_abort(&task);
    assert_int_equal(task.finished, 0);
    while (taken_count > 0)
        end_io(0);
    assert_int_equal(task.finished, 1);
    fake_free(&task);
    /* and then there is room again */
    fake_task(&task, &rig, cdb, 0, NULL, 0);
    start_and_abort(&task);
    assert_int_equal(task.finished, 1);
    fake_free(&task);
    end_io(0);
}

static void test_what_is_left_behind_is_bounded_in_number(void **state)
{
    const uint8_t synchronize[10] = { 0x35 };

    (void)state;
    expect_bounded(synchronize, LIMIT_LEFT_BEHIND);
}

static void test_what_is_left_behind_is_bounded_in_bytes(void **state)
{
    const uint8_t prefetch[10] = { 0x34, [7] = 0x02 }; /* 512 blocks: a chunk */

    (void)state;
    expect_bounded(prefetch, LIMIT_LEFT_BEHIND_BYTES / LIMIT_CHUNK_BYTES);
}

static void note_done(struct map_change *change)
{
    *(bool *)change->context = true;
}

static void turn_loop(unsigned times)
{
    while (times-- > 0)
        ev_run(rig.loop, EVRUN_NOWAIT);
}

static void test_a_unit_is_not_taken_away_before_an_aborted_write_has_ended(void **state)
{
    uint8_t *data = pattern(8 * RIG_BLOCK_BYTES, 14);
    bool is_away = false, is_other_away = false;
    struct map_change other = { .target = &rig.target,
                                .home = &rig.worker.mailbox,
                                .done = note_done,
                                .context = &is_other_away };
    struct map_change away = other;
    struct fake_task task;
    struct lun_map *same;
    uint8_t cdb[10];

    (void)state;
    away.context = &is_away;
    write_10(cdb, 16, 8);
    fake_task(&task, &rig, cdb, 0, data, 8 * RIG_BLOCK_BYTES);
    start_and_abort(&task);
    assert_int_equal(task.finished, 1);
    fake_free(&task);
    free(data);
    same = lun_map_create(1);
    assert_non_null(same);
    same->entries[0] = (struct lun_entry){ .lun = 0, .lu = rig.lu };
    scsi_target_set_map(&other, same); /* it stays: nothing to wait for */
    turn_loop(10);
    assert_true(is_other_away);
    scsi_target_set_map(&away, lun_map_create(0));
    turn_loop(10);
    assert_false(is_away);
    end_io(0);
    turn_loop(10);
    assert_true(is_away);
}

static void test_aborted_verify_does_not_wait_for_the_disk(void **state)
{
    uint8_t *data = pattern(1200 * RIG_BLOCK_BYTES, 24);
    struct fake_task task;
    uint8_t cdb[10];

    (void)state;
    read_10(cdb, 0, 1200);
    cdb[0] = 0x2f;
    cdb[1] = 0x02; /* BYTCHK 01b */
    fake_task(&task, &rig, cdb, 0, data, 1200 * RIG_BLOCK_BYTES);
    start_and_abort(&task);
    assert_int_equal(task.finished, 1);
    fake_free(&task);
    end_io(0);
    assert_int_equal(taken_count, 0);
    free(data);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_aborted_write_does_not_wait_for_the_disk),
        TEST(test_no_one_sees_a_block_before_an_aborted_write_has_ended),
        TEST(test_who_waits_for_an_aborted_write_can_be_aborted_as_well),
        TEST(test_aborted_read_does_not_wait_for_the_disk),
        TEST(test_aborted_flush_does_not_wait_for_the_disk),
        TEST(test_what_is_left_behind_is_bounded_in_number),
        TEST(test_what_is_left_behind_is_bounded_in_bytes),
        TEST(test_a_unit_is_not_taken_away_before_an_aborted_write_has_ended),
        TEST(test_aborted_verify_does_not_wait_for_the_disk),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
