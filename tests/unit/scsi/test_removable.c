/* Removable units: ejecting, loading and preventing it; who is told, and what ends a prevention. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "target/scsi/task_management.h"
#include "tests/unit/scsi/disk_bench.h"

#include <errno.h>

enum { START = 0x01, LOEJ = 0x02, NO_FLUSH = 0x04, EJECT = LOEJ, LOAD = LOEJ | START };
enum { ALLOW = 0, PREVENT = 1 };

static const unsigned no_medium = SENSE_CODE(0x2, 0x3a, 0x00);
static const unsigned prevented = SENSE_CODE(0x5, 0x53, 0x02);
static const unsigned medium_changed = SENSE_CODE(0x6, 0x28, 0x00);

static int setup(void **state)
{
    (void)state;
    return disk_open(&(struct rig_options){ .cache = CACHE_WRITEBACK, .is_removable = true });
}

static int setup_fixed(void **state)
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

/* Its sense; 0: GOOD. */
static unsigned run(struct nexus *nexus, const uint8_t *cdb, uint32_t in_bytes)
{
    struct fake_task task;
    unsigned sense;

    fake_task(&task, &rig, cdb, in_bytes, NULL, 0);
    task.nexus = nexus;
    task.command->nexus = nexus;
    fake_start(&task);
    fake_wait(&task);
    sense = fake_sense(&task);
    if (sense == 0)
        assert_int_equal(task.answer.status, STATUS_GOOD);
    fake_free(&task);
    return sense;
}

static unsigned start_stop(struct nexus *nexus, uint8_t flags)
{
    return run(nexus, (const uint8_t[6]){ 0x1b, 0, 0, 0, flags }, 0);
}

static unsigned prevent_allow(struct nexus *nexus, uint8_t prevent)
{
    return run(nexus, (const uint8_t[6]){ 0x1e, 0, 0, 0, prevent }, 0);
}

static unsigned test_unit_ready(struct nexus *nexus)
{
    return run(nexus, (const uint8_t[6]){ 0 }, 0);
}

static uint8_t inquiry_byte_1(void)
{
    const uint8_t cdb[6] = { 0x12, 0, 0, 0, 36 };
    struct fake_task task;
    uint8_t byte;

    fake_run(&task, &rig, cdb, 36, NULL, 0);
    assert_int_equal(task.in_bytes, 36);
    byte = task.in[1];
    fake_free(&task);
    return byte;
}

/* ---- what it is ---- */

static void test_inquiry_tells_that_it_is_removable(void **state)
{
    (void)state;
    assert_int_equal(inquiry_byte_1(), 0x80);
}

static void test_inquiry_of_a_fixed_unit_does_not(void **state)
{
    (void)state;
    assert_int_equal(inquiry_byte_1(), 0);
}

static void test_a_fixed_unit_is_neither_ejected_nor_loaded(void **state)
{
    (void)state;
    assert_int_equal(start_stop(&rig.nexus, EJECT), SENSE_CODE(0x5, 0x24, 0x00));
    assert_int_equal(start_stop(&rig.nexus, LOAD), SENSE_CODE(0x5, 0x24, 0x00));
    assert_int_equal(test_unit_ready(&rig.nexus), 0);
}

static void test_a_fixed_unit_lets_hosts_prevent_its_removal(void **state)
{
    (void)state;
    assert_int_equal(prevent_allow(&rig.nexus, PREVENT), 0);
    assert_int_equal(prevent_allow(&rig.nexus, ALLOW), 0);
}

/* ---- out and in ---- */

static void test_an_ejected_medium_is_there_for_nobody(void **state)
{
    const uint8_t read_six[6] = { 0x08, 0, 0, 0, 1 };
    const uint8_t read_ten[10] = { 0x28, 0, 0, 0, 0, 0, 0, 0, 1 };
    const uint8_t verify[10] = { 0x2f, 0, 0, 0, 0, 0, 0, 0, 1 };
    const uint8_t synchronize_cache[10] = { 0x35 };
    const uint8_t read_capacity_10[10] = { 0x25 };
    const uint8_t read_capacity_16[16] = { 0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32 };
    const uint8_t *of_the_medium[] = { read_six,          read_ten,         verify,
                                       synchronize_cache, read_capacity_10, read_capacity_16 };

    (void)state;
    assert_int_equal(start_stop(&rig.nexus, EJECT), 0);
    assert_int_equal(test_unit_ready(&rig.nexus), no_medium);
    assert_int_equal(test_unit_ready(&rig.other), no_medium);
    for (unsigned i = 0; i < sizeof of_the_medium / sizeof *of_the_medium; i++) {
        assert_int_equal(run(&rig.nexus, of_the_medium[i], RIG_BLOCK_BYTES), no_medium);
        assert_int_equal(run(&rig.other, of_the_medium[i], RIG_BLOCK_BYTES), no_medium);
    }
}

static void test_a_write_to_an_ejected_medium_is_refused(void **state)
{
    uint8_t block[RIG_BLOCK_BYTES] = { 1 }, cdb[10];
    struct fake_task task;

    (void)state;
    assert_int_equal(start_stop(&rig.nexus, EJECT), 0);
    write_10(cdb, 0, 1);
    fake_run(&task, &rig, cdb, 0, block, sizeof block);
    assert_int_equal(fake_sense(&task), no_medium);
    fake_free(&task);
    assert_int_equal(start_stop(&rig.nexus, LOAD), 0);
    expect_blocks(0, 1, (const uint8_t[RIG_BLOCK_BYTES]){ 0 });
}

/* SPC-4 6.39: the reason stands in the data */
static void test_request_sense_tells_of_the_missing_medium(void **state)
{
    const uint8_t cdb[6] = { 0x03, 0, 0, 0, 18 };
    struct fake_task task;

    (void)state;
    assert_int_equal(start_stop(&rig.nexus, EJECT), 0);
    fake_run(&task, &rig, cdb, 18, NULL, 0);
    assert_int_equal(task.answer.status, STATUS_GOOD);
    assert_int_equal(task.in[2], 0x2);
    assert_int_equal(task.in[12] << 8 | task.in[13], 0x3a00);
    fake_free(&task);
}

static void test_what_needs_no_medium_goes_on_without(void **state)
{
    (void)state;
    assert_int_equal(start_stop(&rig.nexus, EJECT), 0);
    assert_int_equal(run(&rig.nexus, (const uint8_t[6]){ 0x12, 0, 0, 0, 96 }, 96), 0);
    assert_int_equal(run(&rig.nexus, (const uint8_t[6]){ 0x1a, 0, 0x3f, 0, 255 }, 255), 0);
    assert_int_equal(run(&rig.nexus, (const uint8_t[6]){ 0x16 }, 0), 0);
    assert_int_equal(run(&rig.nexus, (const uint8_t[6]){ 0x17 }, 0), 0);
}

static void test_loading_brings_it_back_with_its_data(void **state)
{
    uint8_t *data = pattern(RIG_BLOCK_BYTES, 7);

    (void)state;
    write_blocks(5, 1, data);
    assert_int_equal(start_stop(&rig.nexus, EJECT), 0);
    assert_int_equal(start_stop(&rig.nexus, LOAD), 0);
    expect_blocks(5, 1, data);
    free(data);
}

static void test_loading_is_told_to_the_other_nexus_once(void **state)
{
    (void)state;
    assert_int_equal(start_stop(&rig.nexus, EJECT), 0);
    assert_int_equal(start_stop(&rig.nexus, LOAD), 0);
    assert_int_equal(test_unit_ready(&rig.nexus), 0);
    assert_int_equal(test_unit_ready(&rig.other), medium_changed);
    assert_int_equal(test_unit_ready(&rig.other), 0);
}

static void test_loading_what_is_loaded_is_told_to_nobody(void **state)
{
    (void)state;
    assert_int_equal(start_stop(&rig.nexus, LOAD), 0);
    assert_int_equal(test_unit_ready(&rig.other), 0);
}

static void test_ejecting_what_is_out_is_good(void **state)
{
    (void)state;
    assert_int_equal(start_stop(&rig.nexus, EJECT), 0);
    assert_int_equal(start_stop(&rig.other, EJECT), 0);
    assert_int_equal(test_unit_ready(&rig.nexus), no_medium);
}

static void test_any_nexus_may_load_what_another_ejected(void **state)
{
    (void)state;
    assert_int_equal(start_stop(&rig.nexus, EJECT), 0);
    assert_int_equal(start_stop(&rig.other, LOAD), 0);
    assert_int_equal(test_unit_ready(&rig.other), 0);
}

static void test_starting_without_a_medium_is_refused(void **state)
{
    (void)state;
    assert_int_equal(start_stop(&rig.nexus, EJECT), 0);
    assert_int_equal(start_stop(&rig.nexus, START), no_medium);
    assert_int_equal(test_unit_ready(&rig.nexus), no_medium);
}

static void test_without_loej_nothing_moves(void **state)
{
    (void)state;
    assert_int_equal(start_stop(&rig.nexus, 0), 0);
    assert_int_equal(test_unit_ready(&rig.nexus), 0);
    assert_int_equal(start_stop(&rig.nexus, START), 0);
    assert_int_equal(test_unit_ready(&rig.nexus), 0);
}

/* SBC-3 5.25: LOEJ and START are ignored then */
static void test_a_power_condition_moves_nothing(void **state)
{
    (void)state;
    for (unsigned condition = 1; condition <= 15; condition++) {
        assert_int_equal(start_stop(&rig.nexus, (uint8_t)(condition << 4 | EJECT)), 0);
        assert_int_equal(test_unit_ready(&rig.nexus), 0);
    }
}

/* ---- what was answered before it goes out ---- */

static void begin_eject(struct fake_task *task)
{
    const uint8_t cdb[6] = { 0x1b, 0, 0, 0, EJECT };

    takes_io = true;
    fake_task(task, &rig, cdb, 0, NULL, 0);
    fake_start(task);
    assert_int_equal(taken_count, 1);
    assert_int_equal(taken_io[0]->op, IO_FLUSH);
    assert_int_equal(task->finished, 0);
}

static void test_ejecting_flushes_first(void **state)
{
    struct fake_task task;

    (void)state;
    begin_eject(&task);
    assert_int_equal(test_unit_ready(&rig.other), 0);
    end_io(0);
    assert_int_equal(task.answer.status, STATUS_GOOD);
    assert_int_equal(test_unit_ready(&rig.other), no_medium);
    fake_free(&task);
}

static void test_a_medium_that_cannot_be_flushed_stays_in(void **state)
{
    struct fake_task task;

    (void)state;
    begin_eject(&task);
    end_io(-EIO);
    assert_int_equal(task.answer.status, STATUS_CHECK_CONDITION);
    assert_int_equal(test_unit_ready(&rig.nexus), 0);
    fake_free(&task);
}

static void test_a_prevention_that_comes_during_the_flush_wins(void **state)
{
    struct fake_task task;

    (void)state;
    begin_eject(&task);
    assert_int_equal(prevent_allow(&rig.other, PREVENT), 0);
    end_io(0);
    assert_int_equal(fake_sense(&task), prevented);
    assert_int_equal(test_unit_ready(&rig.nexus), 0);
    fake_free(&task);
}

static void test_an_aborted_ejection_leaves_it_in(void **state)
{
    struct fake_task task;

    (void)state;
    begin_eject(&task);
    command_abort(task.command);
    end_io(0);
    assert_true(task.answer.was_aborted);
    assert_int_equal(test_unit_ready(&rig.nexus), 0);
    fake_free(&task);
}

static void test_no_flush_ejects_without(void **state)
{
    (void)state;
    takes_io = true;
    assert_int_equal(start_stop(&rig.nexus, EJECT | NO_FLUSH), 0);
    assert_int_equal(taken_count, 0);
    assert_int_equal(test_unit_ready(&rig.nexus), no_medium);
}

/* ---- preventing it ---- */

static void test_a_prevented_removal_is_refused_to_everybody(void **state)
{
    (void)state;
    assert_int_equal(prevent_allow(&rig.nexus, PREVENT), 0);
    assert_int_equal(start_stop(&rig.nexus, EJECT), prevented);
    assert_int_equal(start_stop(&rig.other, EJECT), prevented);
    assert_int_equal(start_stop(&rig.other, EJECT | NO_FLUSH), prevented);
    assert_int_equal(test_unit_ready(&rig.other), 0);
}

static void test_allowing_ends_it_however_often_it_was_prevented(void **state)
{
    (void)state;
    assert_int_equal(prevent_allow(&rig.nexus, PREVENT), 0);
    assert_int_equal(prevent_allow(&rig.nexus, PREVENT), 0);
    assert_int_equal(prevent_allow(&rig.nexus, ALLOW), 0);
    assert_int_equal(start_stop(&rig.nexus, EJECT), 0);
}

static void test_a_nexus_allows_only_what_it_prevents(void **state)
{
    (void)state;
    assert_int_equal(prevent_allow(&rig.nexus, PREVENT), 0);
    assert_int_equal(prevent_allow(&rig.other, ALLOW), 0);
    assert_int_equal(start_stop(&rig.other, EJECT), prevented);
}

static void test_one_of_two_is_enough_to_prevent(void **state)
{
    (void)state;
    assert_int_equal(prevent_allow(&rig.nexus, PREVENT), 0);
    assert_int_equal(prevent_allow(&rig.other, PREVENT), 0);
    assert_int_equal(prevent_allow(&rig.nexus, ALLOW), 0);
    assert_int_equal(start_stop(&rig.nexus, EJECT), prevented);
    assert_int_equal(prevent_allow(&rig.other, ALLOW), 0);
    assert_int_equal(start_stop(&rig.nexus, EJECT), 0);
}

static void test_what_is_locked_is_not_loaded_either(void **state)
{
    (void)state;
    assert_int_equal(start_stop(&rig.nexus, EJECT), 0);
    assert_int_equal(prevent_allow(&rig.nexus, PREVENT), 0);
    assert_int_equal(start_stop(&rig.nexus, LOAD), prevented);
    assert_int_equal(test_unit_ready(&rig.nexus), no_medium);
    assert_int_equal(prevent_allow(&rig.nexus, ALLOW), 0);
    assert_int_equal(start_stop(&rig.nexus, LOAD), 0);
}

static void test_the_loss_of_a_nexus_ends_what_it_prevents(void **state)
{
    (void)state;
    assert_int_equal(prevent_allow(&rig.other, PREVENT), 0);
    nexus_close(&rig.other);
    assert_int_equal(start_stop(&rig.nexus, EJECT), 0);
    assert_int_equal(nexus_open(&rig.other, &rig.worker, &rig.target, "iqn.1998-01.com.vmware:esx2",
                                "iqn.1998-01.com.vmware:esx2,i,0x00023d000001", 1),
                     0);
}

static bool is_reset;

static void reset_done(struct task_management *tm)
{
    assert_int_equal(tm->response, TMF_RESPONSE_COMPLETE);
    is_reset = true;
}

static void reset(enum tmf_function function)
{
    struct task_management tm = { .function = function, .nexus = &rig.nexus, .done = reset_done };

    is_reset = false;
    task_management_start(&tm);
    for (unsigned turns = 0; !is_reset && turns < 1000; turns++)
        ev_run(rig.loop, EVRUN_ONCE);
    assert_true(is_reset);
    rig_clear_unit_attentions(&rig);
}

static void test_every_reset_ends_all_preventions(void **state)
{
    static const enum tmf_function resets[] = { TMF_LOGICAL_UNIT_RESET, TMF_TARGET_WARM_RESET,
                                                TMF_TARGET_COLD_RESET };

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(prevent_allow(&rig.nexus, PREVENT), 0);
        assert_int_equal(prevent_allow(&rig.other, PREVENT), 0);
        reset(resets[i]);
        assert_int_equal(start_stop(&rig.nexus, EJECT), 0);
        assert_int_equal(start_stop(&rig.nexus, LOAD), 0);
        rig_clear_unit_attentions(&rig);
    }
}

static void test_a_reset_does_not_load_it(void **state)
{
    (void)state;
    assert_int_equal(start_stop(&rig.nexus, EJECT), 0);
    reset(TMF_LOGICAL_UNIT_RESET);
    assert_int_equal(test_unit_ready(&rig.nexus), no_medium);
}

#define TEST(test)       cmocka_unit_test_setup_teardown(test, setup, teardown)
#define FIXED_TEST(test) cmocka_unit_test_setup_teardown(test, setup_fixed, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_inquiry_tells_that_it_is_removable),
        FIXED_TEST(test_inquiry_of_a_fixed_unit_does_not),
        FIXED_TEST(test_a_fixed_unit_is_neither_ejected_nor_loaded),
        FIXED_TEST(test_a_fixed_unit_lets_hosts_prevent_its_removal),
        TEST(test_an_ejected_medium_is_there_for_nobody),
        TEST(test_a_write_to_an_ejected_medium_is_refused),
        TEST(test_request_sense_tells_of_the_missing_medium),
        TEST(test_what_needs_no_medium_goes_on_without),
        TEST(test_loading_brings_it_back_with_its_data),
        TEST(test_loading_is_told_to_the_other_nexus_once),
        TEST(test_loading_what_is_loaded_is_told_to_nobody),
        TEST(test_ejecting_what_is_out_is_good),
        TEST(test_any_nexus_may_load_what_another_ejected),
        TEST(test_starting_without_a_medium_is_refused),
        TEST(test_without_loej_nothing_moves),
        TEST(test_a_power_condition_moves_nothing),
        TEST(test_ejecting_flushes_first),
        TEST(test_a_medium_that_cannot_be_flushed_stays_in),
        TEST(test_a_prevention_that_comes_during_the_flush_wins),
        TEST(test_an_aborted_ejection_leaves_it_in),
        TEST(test_no_flush_ejects_without),
        TEST(test_a_prevented_removal_is_refused_to_everybody),
        TEST(test_allowing_ends_it_however_often_it_was_prevented),
        TEST(test_a_nexus_allows_only_what_it_prevents),
        TEST(test_one_of_two_is_enough_to_prevent),
        TEST(test_what_is_locked_is_not_loaded_either),
        TEST(test_the_loss_of_a_nexus_ends_what_it_prevents),
        TEST(test_every_reset_ends_all_preventions),
        TEST(test_a_reset_does_not_load_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
