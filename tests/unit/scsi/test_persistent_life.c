/*
 * persistent reservations among all else: what survives a session, a reset and a restart, what
 * stands beside SCSI-2 reservations, and that no write comes after the answer
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#include <errno.h>

#include "target/scsi/persistent_file.h"
#include "target/scsi/persistent_update.h"
#include "tests/unit/scsi/persistent_bench.h"

/* ---- what survives ---- */

static void test_registrations_outlive_the_session_and_are_found_again(void **state)
{
    (void)state;
    registers(&third, 3);
    assert_int_equal(pr_out(&third, RESERVE, PR_EXCLUSIVE_ACCESS, 3, 0), 0);
    nexus_close(&third);
    EXPECT_KEYS(1, 3);
    assert_int_equal(read_one(&rig.nexus), CONFLICT);
    login(&third, "iqn.1998-01.com.vmware:esx3");
    assert_int_equal(read_one(&third), 0);
    assert_int_equal(pr_out(&third, RELEASE, PR_EXCLUSIVE_ACCESS, 3, 0), 0);
    assert_int_equal(read_one(&rig.nexus), 0);
}

static void test_another_session_of_the_host_is_another_registrant(void **state)
{
    struct nexus second;

    (void)state;
    registers(&third, 3);
    assert_int_equal(pr_out(&third, RESERVE, PR_EXCLUSIVE_ACCESS, 3, 0), 0);
    assert_int_equal(nexus_open(&second, &rig.worker, &rig.target, "iqn.1998-01.com.vmware:esx3",
                                "iqn.1998-01.com.vmware:esx3,i,0x00023d000002", 1),
                     0);
    settle(&second);
    assert_int_equal(read_one(&second), CONFLICT);
    nexus_close(&second);
}

static void test_a_unit_reset_leaves_persistent_reservations(void **state)
{
    (void)state;
    registers(&rig.nexus, 1);
    assert_int_equal(pr_out(&rig.nexus, RESERVE, PR_EXCLUSIVE_ACCESS, 1, 0), 0);
    reservation_drop_all(rig.lu, NULL, 0);
    expect_reservation(PR_EXCLUSIVE_ACCESS, 1);
    assert_int_equal(read_one(&rig.other), CONFLICT);
}

static struct persistent *kept(void)
{
    char error[PERSISTENT_FILE_ERROR_MAX] = "";
    struct persistent *found;

    assert_int_equal(persistent_file_read(kept_path, &found, error), 0);
    return found;
}

static void test_aptpl_keeps_it_before_the_answer_until_it_is_0_again(void **state)
{
    struct persistent *found;

    (void)state;
    assert_int_equal(pr_out_flagged(&rig.nexus, REGISTER, 0, 0, 1, APTPL), 0);
    registers(&rig.other, 2); /* APTPL=0: the last one counts */
    assert_null(kept());
    assert_int_equal(pr_out_flagged(&rig.nexus, REGISTER, 0, 1, 7, APTPL), 0);
    assert_int_equal(pr_out(&rig.nexus, RESERVE, PR_WRITE_EXCLUSIVE_REGISTRANTS, 7, 0), 0);
    found = kept();
    assert_non_null(found);
    assert_int_equal(found->count, 2);
    assert_int_equal(found->type, PR_WRITE_EXCLUSIVE_REGISTRANTS);
    assert_int_equal(found->generation, 0);
    assert_true(found->is_kept);
    assert_int_equal(found->registrants[0].key, 7);
    assert_true(found->registrants[0].is_holder);
    assert_string_equal(found->registrants[1].port, other_port);
    assert_false(found->registrants[1].is_holder);
    free(found);
    assert_int_equal(pr_out(&rig.nexus, CLEAR, 0, 7, 0), 0); /* kept too: nobody */
    found = kept();
    assert_non_null(found);
    assert_int_equal(found->count, 0);
    free(found);
}

static void test_aptpl_is_refused_where_nothing_can_be_kept(void **state)
{
    char *path = rig.lu->persistent_path;

    (void)state;
    rig.lu->persistent_path = NULL;
    assert_int_equal(pr_out_flagged(&rig.nexus, REGISTER, 0, 0, 1, APTPL), BAD_LIST_FIELD);
    EXPECT_KEYS(0);
    uint32_t len;
    uint8_t *told = pr_in(PR_IN_REPORT_CAPABILITIES, &len);
    assert_int_equal(told[2] & APTPL, 0); /* PTPL_C */
    free(told);
    rig.lu->persistent_path = path;
}

static void test_what_cannot_be_kept_is_not_done(void **state)
{
    FILE *blocker;
    char folder[80];

    (void)state;
    snprintf(folder, sizeof folder, "%s/pr", state_dir);
    blocker = fopen(folder, "w"); /* where the folder should be */
    assert_non_null(blocker);
    fclose(blocker);
    assert_int_equal(pr_out_flagged(&rig.nexus, REGISTER, 0, 0, 1, APTPL), 0x44400);
    EXPECT_KEYS(0);
    unlink(folder);
}

static void read_file(char text[4096], size_t *len)
{
    FILE *in = fopen(kept_path, "r");

    assert_non_null(in);
    *len = fread(text, 1, 4096, in);
    fclose(in);
}

static void write_file(const char *text, size_t len)
{
    FILE *out = fopen(kept_path, "w");

    assert_non_null(out);
    assert_int_equal(fwrite(text, 1, len, out), len);
    fclose(out);
}

static void test_a_damaged_file_is_never_half_believed(void **state)
{
    char text[4096], error[PERSISTENT_FILE_ERROR_MAX];
    struct persistent *found;
    size_t len;

    (void)state;
    assert_int_equal(pr_out_flagged(&rig.nexus, REGISTER, 0, 0, 1, APTPL), 0);
    assert_int_equal(pr_out(&rig.nexus, RESERVE, PR_WRITE_EXCLUSIVE, 1, 0), 0);
    read_file(text, &len);
    for (size_t i = 0; i < len; i++) { /* a byte that is wrong, anywhere */
        text[i] ^= 1;
        write_file(text, len);
        text[i] ^= 1;
        assert_int_equal(persistent_file_read(kept_path, &found, error), -EBADMSG);
        assert_null(found);
    }
    for (size_t cut = 0; cut < len; cut++) { /* an end that is missing */
        write_file(text, cut);
        assert_int_equal(persistent_file_read(kept_path, &found, error), -EBADMSG);
    }
    assert_non_null(strstr(error, "restore it"));
    write_file(text, len);
    found = kept();
    assert_int_equal(found->count, 1);
    free(found);
}

/* ---- beside SCSI-2 reservations ---- */

/* SPC-2 5.5.1 */
static void test_a_scsi_2_reservation_keeps_persistent_commands_out(void **state)
{
    const uint8_t read_keys[10] = { 0x5e, 0, 0, 0, 0, 0, 0, 0, 8 };

    (void)state;
    assert_int_equal(reserve_6(&rig.nexus), 0);
    assert_int_equal(pr_out(&rig.other, REGISTER_AND_IGNORE, 0, 0, 1), CONFLICT);
    assert_int_equal(pr_out(&rig.nexus, REGISTER_AND_IGNORE, 0, 0, 1), CONFLICT);
    assert_int_equal(run(&rig.nexus, read_keys, 8, NULL, 0), CONFLICT);
    assert_int_equal(run(&rig.other, read_keys, 8, NULL, 0), CONFLICT);
    assert_int_equal(release_6(&rig.nexus), 0);
    registers(&rig.other, 1);
}

/* SPC-4 5.13.3 */
static void test_reserve_and_release_where_somebody_is_registered(void **state)
{
    (void)state;
    registers(&rig.nexus, 1);
    registers(&rig.other, 2);
    assert_int_equal(reserve_6(&rig.nexus), CONFLICT);
    assert_int_equal(release_6(&third), CONFLICT);
    for (unsigned i = 0; i < 6; i++) {
        unsigned of_registered = pr_type_is_registrants(all_types[i]) ? 0 : CONFLICT;

        assert_int_equal(pr_out(&rig.nexus, RESERVE, all_types[i], 1, 0), 0);
        assert_int_equal(reserve_6(&rig.nexus), 0);
        assert_int_equal(release_6(&rig.nexus), 0);
        assert_int_equal(reserve_6(&rig.other), of_registered);
        assert_int_equal(release_6(&rig.other), of_registered);
        assert_int_equal(reserve_6(&third), CONFLICT);
        assert_int_equal(release_6(&third), CONFLICT);
        expect_reservation(all_types[i], pr_type_is_all(all_types[i]) ? 0 : 1);
        assert_null(rig.lu->reservation.holder);
        assert_int_equal(pr_out(&rig.nexus, RELEASE, all_types[i], 1, 0), 0);
        settle(&rig.other);
    }
}

static void test_the_operator_clears_both_kinds_and_all_are_told(void **state)
{
    (void)state;
    assert_int_equal(reserve_6(&rig.nexus), 0);
    reservation_preempt(rig.lu);
    expect_attention(&rig.nexus, RESERVATIONS_PREEMPTED);
    assert_int_equal(write_one(&rig.other, 1), 0);
    expect_attention(&rig.other, 0);
}

static void clearing_is_done(struct persistent_clearing *clearing)
{
    clearing->lu = NULL;
}

static void test_the_operator_clears_registrations_and_what_was_kept(void **state)
{
    struct persistent_clearing clearing = {
        .lu = rig.lu, .workers = &rig.workers, .home = &rig.worker.mailbox, .done = clearing_is_done
    };
    struct persistent *found;

    (void)state;
    assert_int_equal(pr_out_flagged(&rig.nexus, REGISTER, 0, 0, 1, APTPL), 0);
    assert_int_equal(pr_out(&rig.nexus, RESERVE, PR_EXCLUSIVE_ACCESS, 1, 0), 0);
    persistent_clear_start(&clearing);
    for (unsigned i = 0; i < 1000 && clearing.lu; i++)
        ev_run(rig.loop, EVRUN_ONCE);
    assert_null(clearing.lu);
    assert_int_equal(clearing.error, 0);
    expect_attention(&rig.nexus, RESERVATIONS_PREEMPTED);
    EXPECT_KEYS(2);
    assert_int_equal(read_one(&rig.other), 0);
    found = kept();
    assert_int_equal(found->count, 0);
    free(found);
}

/* ---- at the gate ---- */

static void nobody(struct gate_hold *hold)
{
    (void)hold;
}

/* What another worker's command would hold. */
static void hold_blocks(struct gate_hold *hold)
{
    *hold = (struct gate_hold){ .entered = nobody };
    assert_true(gate_enter(&rig.lu->gate, hold, &rig.worker, GATE_EXCLUSIVE, 0, 4096));
}

static void test_a_write_that_waited_does_not_come_after_a_reservation(void **state)
{
    uint8_t cdb[10], *before = pattern(512, 1), *after = pattern(512, 2);
    struct gate_hold hold;
    struct fake_task task;

    (void)state;
    write_blocks(0, 1, before);
    hold_blocks(&hold);
    write_10(cdb, 0, 1);
    begin(&task, &rig.nexus, cdb, 0, after, 512);
    fake_start(&task);
    assert_int_equal(task.finished, 0);
    assert_int_equal(reservation_take(rig.lu, &rig.other), STATUS_GOOD);
    gate_leave(&hold);
    fake_wait(&task);
    assert_int_equal(result_of(&task), CONFLICT);
    fake_free(&task);
    assert_int_equal(release_6(&rig.other), 0);
    expect_blocks(0, 1, before);
    free(before);
    free(after);
}

static void test_compare_and_write_that_waited_does_not_come_after_a_reservation(void **state)
{
    uint8_t cdb[16] = { 0x89, [13] = 1 }, both[1024], *before = pattern(512, 1);
    struct gate_hold hold;
    struct fake_task task;

    (void)state;
    write_blocks(0, 1, before);
    memcpy(both, before, 512);
    memset(both + 512, 0xee, 512);
    hold_blocks(&hold);
    begin(&task, &rig.nexus, cdb, 0, both, 1024);
    fake_start(&task);
    assert_int_equal(task.finished, 0);
    assert_int_equal(reservation_take(rig.lu, &rig.other), STATUS_GOOD);
    gate_leave(&hold);
    fake_wait(&task);
    assert_int_equal(result_of(&task), CONFLICT);
    fake_free(&task);
    assert_int_equal(release_6(&rig.other), 0);
    expect_blocks(0, 1, before);
    free(before);
}

/* It would erase what the other host has just locked. */
static void test_sanitize_that_waited_does_not_come_after_a_reservation(void **state)
{
    const uint8_t cdb[10] = { 0x48, 0x02 }; /* BLOCK ERASE */
    uint8_t *before = pattern(512, 1);
    struct gate_hold hold;
    struct fake_task task;

    (void)state;
    write_blocks(0, 1, before);
    hold_blocks(&hold);
    begin(&task, &rig.nexus, cdb, 0, NULL, 0);
    fake_start(&task);
    assert_int_equal(task.finished, 0);
    assert_int_equal(reservation_take(rig.lu, &rig.other), STATUS_GOOD);
    gate_leave(&hold);
    fake_wait(&task);
    assert_int_equal(result_of(&task), CONFLICT);
    fake_free(&task);
    assert_int_equal(release_6(&rig.other), 0);
    expect_blocks(0, 1, before);
    free(before);
}

/* The check was before, its data comes after: it has not waited at the gate at all. */
static void test_a_write_whose_data_comes_late_does_not_come_after_a_reservation(void **state)
{
    uint8_t cdb[10], *before = pattern(512, 1), *after = pattern(512, 2);
    struct fake_task task;

    (void)state;
    write_blocks(0, 1, before);
    write_10(cdb, 0, 1);
    for (int is_solid = 0; is_solid < 2; is_solid++) {
        begin(&task, &rig.nexus, cdb, 0, after, 512);
        task.is_held_back = true;
        task.is_solid = is_solid;
        fake_start(&task);
        assert_int_equal(reserve_6(&rig.other), 0);
        fake_send(&task);
        fake_wait(&task);
        assert_int_equal(result_of(&task), CONFLICT);
        fake_free(&task);
        assert_int_equal(release_6(&rig.other), 0);
    }
    expect_blocks(0, 1, before);
    free(before);
    free(after);
}

/* SPC-4 5.13.1: what has begun is not ended by a reservation that comes later. */
static void test_a_write_that_is_under_way_goes_on(void **state)
{
    enum { BLOCKS = 1024 }; /* two bursts */
    uint8_t cdb[10], *data = pattern(BLOCKS * 512, 3);
    struct fake_task task;

    (void)state;
    write_10(cdb, 0, BLOCKS);
    begin(&task, &rig.nexus, cdb, 0, data, BLOCKS * 512);
    task.is_held_back = true;
    fake_start(&task);
    assert_true(fake_send(&task));
    assert_int_equal(reserve_6(&rig.other), 0);
    while (fake_send(&task))
        ;
    fake_wait(&task);
    assert_int_equal(result_of(&task), 0);
    fake_free(&task);
    assert_int_equal(release_6(&rig.other), 0);
    expect_blocks(0, BLOCKS, data);
    free(data);
}

static void start_stuck_write(struct fake_task *task, struct nexus *nexus, const uint8_t *data)
{
    uint8_t cdb[10];

    inline_write_answer = -EAGAIN;
    takes_io = true;
    write_10(cdb, 0, 1);
    begin(task, nexus, cdb, 0, data, 512);
    fake_start(task);
    assert_int_equal(taken_count, 1);
}

static void test_reserve_waits_for_what_is_in_flight(void **state)
{
    const uint8_t cdb[6] = { 0x16 };
    uint8_t data[512] = { 0 };
    struct fake_task write, reserve;

    (void)state;
    start_stuck_write(&write, &rig.nexus, data);
    begin(&reserve, &rig.other, cdb, 0, NULL, 0);
    fake_start(&reserve);
    ev_run(rig.loop, EVRUN_NOWAIT);
    assert_int_equal(reserve.finished, 0);
    end_io(0);
    fake_wait(&write);
    assert_int_equal(result_of(&write), 0);
    fake_wait(&reserve);
    assert_int_equal(result_of(&reserve), 0);
    fake_free(&write);
    fake_free(&reserve);
}

static void test_an_aborted_reserve_takes_nothing(void **state)
{
    const uint8_t cdb[6] = { 0x16 };
    uint8_t data[512] = { 0 };
    struct fake_task write, reserve;

    (void)state;
    start_stuck_write(&write, &rig.nexus, data);
    begin(&reserve, &rig.other, cdb, 0, NULL, 0);
    fake_start(&reserve);
    command_abort(reserve.command);
    assert_int_equal(reserve.finished, 1);
    end_io(0);
    fake_wait(&write);
    assert_null(rig.lu->reservation.holder);
    fake_free(&write);
    fake_free(&reserve);
}

static void start_pr_out(struct fake_task *task, struct nexus *nexus, unsigned action, uint64_t key,
                         uint64_t action_key)
{
    static uint8_t list[24];
    uint8_t cdb[10];

    out_cdb(cdb, action, PR_WRITE_EXCLUSIVE, 24);
    basic_list(list, key, action_key, 0);
    begin(task, nexus, cdb, 0, list, 24);
    fake_start(task);
}

static void test_an_aborted_persistent_reserve_out_changes_nothing(void **state)
{
    uint8_t data[512] = { 0 };
    struct fake_task write, out;

    (void)state;
    registers(&rig.other, 2);
    start_stuck_write(&write, &rig.nexus, data);
    start_pr_out(&out, &rig.other, CLEAR, 2, 0);
    ev_run(rig.loop, EVRUN_NOWAIT);
    assert_int_equal(out.finished, 0);
    command_abort(out.command);
    assert_int_equal(out.finished, 1);
    end_io(0);
    fake_wait(&write);
    fake_free(&write);
    fake_free(&out);
    EXPECT_KEYS(1, 2);
}

static void test_preempt_and_abort_answers_when_the_victims_tasks_are_dead(void **state)
{
    uint8_t cdb[10], data[512] = { 0 };
    struct fake_task waiting, mine, preempt;

    (void)state;
    registers(&rig.nexus, 1);
    registers(&rig.other, 2);
    write_10(cdb, 64, 1);
    begin(&waiting, &rig.nexus, cdb, 0, data, 512); /* its data has not come */
    waiting.is_held_back = true;
    fake_start(&waiting);
    begin(&mine, &rig.other, cdb, 0, data, 512);
    mine.is_held_back = true;
    fake_start(&mine);
    start_pr_out(&preempt, &rig.other, PREEMPT_AND_ABORT, 2, 1);
    fake_wait(&preempt);
    assert_int_equal(result_of(&preempt), 0);
    assert_int_equal(waiting.finished, 1);
    assert_true(waiting.answer.was_aborted);
    assert_int_equal(mine.finished, 0); /* who asks keeps its tasks */
    fake_send(&mine);
    fake_wait(&mine);
    assert_int_equal(result_of(&mine), 0);
    expect_attention(&rig.nexus, REGISTRATIONS_PREEMPTED);
    fake_free(&waiting);
    fake_free(&mine);
    fake_free(&preempt);
}

static void test_preempt_leaves_the_victims_tasks_alone(void **state)
{
    uint8_t cdb[10], data[512] = { 0 };
    struct fake_task waiting;

    (void)state;
    registers(&rig.nexus, 1);
    registers(&rig.other, 2);
    write_10(cdb, 64, 1);
    begin(&waiting, &rig.nexus, cdb, 0, data, 512);
    waiting.is_held_back = true;
    fake_start(&waiting);
    assert_int_equal(pr_out(&rig.other, PREEMPT, PR_WRITE_EXCLUSIVE, 2, 1), 0);
    assert_int_equal(waiting.finished, 0);
    fake_send(&waiting);
    fake_wait(&waiting);
    assert_int_equal(result_of(&waiting), 0);
    fake_free(&waiting);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, persistent_setup, persistent_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_registrations_outlive_the_session_and_are_found_again),
        TEST(test_another_session_of_the_host_is_another_registrant),
        TEST(test_a_unit_reset_leaves_persistent_reservations),
        TEST(test_aptpl_keeps_it_before_the_answer_until_it_is_0_again),
        TEST(test_aptpl_is_refused_where_nothing_can_be_kept),
        TEST(test_what_cannot_be_kept_is_not_done),
        TEST(test_a_damaged_file_is_never_half_believed),
        TEST(test_a_scsi_2_reservation_keeps_persistent_commands_out),
        TEST(test_reserve_and_release_where_somebody_is_registered),
        TEST(test_the_operator_clears_both_kinds_and_all_are_told),
        TEST(test_the_operator_clears_registrations_and_what_was_kept),
        TEST(test_a_write_that_waited_does_not_come_after_a_reservation),
        TEST(test_compare_and_write_that_waited_does_not_come_after_a_reservation),
        TEST(test_sanitize_that_waited_does_not_come_after_a_reservation),
        TEST(test_a_write_whose_data_comes_late_does_not_come_after_a_reservation),
        TEST(test_a_write_that_is_under_way_goes_on),
        TEST(test_reserve_waits_for_what_is_in_flight),
        TEST(test_an_aborted_reserve_takes_nothing),
        TEST(test_an_aborted_persistent_reserve_out_changes_nothing),
        TEST(test_preempt_and_abort_answers_when_the_victims_tasks_are_dead),
        TEST(test_preempt_leaves_the_victims_tasks_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
