/* the way of a command: its checks in their order, and the small commands */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "tests/unit/scsi/disk_bench.h"

static int setup(void **state)
{
    (void)state;
    return disk_open(&(struct rig_options){ .cache = CACHE_WRITEBACK });
}

static int setup_readonly(void **state)
{
    (void)state;
    return disk_open(&(struct rig_options){ .is_readonly = true });
}

static int teardown(void **state)
{
    (void)state;
    rig_close(&rig);
    return 0;
}

static const uint8_t test_unit_ready[6] = { 0x00 };

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
        TEST(test_naca_is_refused),
        TEST(test_scsi_2_lun_bits_of_a_six_byte_cdb_are_ignored),
        TEST(test_allocation_length_cuts_parameter_data),
        TEST(test_commands_are_counted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
