/* task_management: what each function aborts, whom it tells, and that it answers after. */
#include "tests/unit/scsi/core_bench.h"

#include "target/scsi/task_management.h"

/* A function that is asked for, and what the asking side finds when it is answered. */
struct request {
    struct task_management tm;
    struct lab *lab;
    struct message answered;
    bool is_over;
    enum sense_code told; /* pending on `watched` at the time of the answer */
    struct itl *watched;
};

static void note_answered(struct message *message)
{
    struct request *request = (void *)((char *)message - offsetof(struct request, answered));

    request->is_over = true;
}

static void request_done(struct task_management *tm)
{
    struct request *request = (void *)tm;

    if (request->watched != NULL)
        request->told = unit_attention_take(request->watched);
    request->answered.run = note_answered;
    mailbox_post(&request->lab->home, &request->answered);
}

static void request_start(void *arg)
{
    task_management_start(arg);
}

static void ask(struct lab *lab, struct request *request, enum tmf_function function,
                struct nexus *nexus, unsigned lun)
{
    request->lab = lab;
    request->is_over = false;
    request->tm.function = function;
    request->tm.nexus = nexus;
    request->tm.lun = bench_lun(lun);
    request->tm.done = request_done;
    lab_on_worker(lab, nexus->worker->index, request_start, request);
}

static enum tmf_response ask_and_wait(struct lab *lab, enum tmf_function function,
                                      struct nexus *nexus, unsigned lun)
{
    struct request request = { .tm.response = TMF_RESPONSE_REJECTED };

    ask(lab, &request, function, nexus, lun);
    lab_wait(lab, &request.is_over);
    return request.tm.response;
}

/* Two hosts on two workers, and a third beside the first. */
struct hosts {
    struct nexus esx1, esx2, esx3;
};

static void login_all(struct lab *lab, struct hosts *hosts)
{
    lab_login(lab, &hosts->esx1, 0, "esx1");
    lab_login(lab, &hosts->esx2, 1, "esx2");
    lab_login(lab, &hosts->esx3, 0, "esx3");
}

static void logout_all(struct lab *lab, struct hosts *hosts)
{
    lab_logout(lab, &hosts->esx1);
    lab_logout(lab, &hosts->esx2);
    lab_logout(lab, &hosts->esx3);
}

static void test_abort_task_set_takes_this_nexus_and_unit_only(void **state)
{
    struct lab *lab = *state;
    struct hosts hosts;
    struct fake mine[2] = { 0 }, my_other_unit = { 0 }, theirs[2] = { 0 };
    struct itl *itl_of_esx2;

    login_all(lab, &hosts);
    itl_of_esx2 = lab_quiet_itl(lab, &hosts.esx2, 0);
    lab_start(lab, &mine[0], &hosts.esx1, 0);
    lab_start(lab, &mine[1], &hosts.esx1, 0);
    lab_start(lab, &my_other_unit, &hosts.esx1, 1);
    lab_start(lab, &theirs[0], &hosts.esx2, 0);
    lab_start(lab, &theirs[1], &hosts.esx3, 0);
    assert_int_equal(ask_and_wait(lab, TMF_ABORT_TASK_SET, &hosts.esx1, 0), TMF_RESPONSE_COMPLETE);
    assert_true(mine[0].has_ended && mine[1].has_ended);
    assert_false(my_other_unit.has_ended || theirs[0].has_ended || theirs[1].has_ended);
    assert_false(unit_attention_is_pending(itl_of_esx2));
    lab_end(lab, &my_other_unit);
    lab_end(lab, &theirs[0]);
    lab_end(lab, &theirs[1]);
    logout_all(lab, &hosts);
}

static void test_clear_task_set_tells_those_who_lost_commands(void **state)
{
    struct lab *lab = *state;
    struct hosts hosts;
    struct fake mine = { 0 }, theirs = { 0 };
    struct itl *asking, *losing, *idle;

    login_all(lab, &hosts);
    asking = lab_quiet_itl(lab, &hosts.esx1, 0);
    losing = lab_quiet_itl(lab, &hosts.esx2, 0);
    idle = lab_quiet_itl(lab, &hosts.esx3, 0);
    lab_start(lab, &mine, &hosts.esx1, 0);
    lab_start(lab, &theirs, &hosts.esx2, 0);
    assert_int_equal(ask_and_wait(lab, TMF_CLEAR_TASK_SET, &hosts.esx1, 0), TMF_RESPONSE_COMPLETE);
    assert_true(mine.has_ended && theirs.has_ended);
    assert_int_equal(unit_attention_take(losing), SENSE_CODE(0x6, 0x2f, 0x00));
    assert_false(unit_attention_is_pending(asking));
    assert_false(unit_attention_is_pending(idle));
    logout_all(lab, &hosts);
}

static void test_unit_reset_aborts_everybodys_commands_on_it(void **state)
{
    struct lab *lab = *state;
    struct hosts hosts;
    struct fake commands[3] = { 0 }, elsewhere = { 0 };

    login_all(lab, &hosts);
    lab_start(lab, &commands[0], &hosts.esx1, 0);
    lab_start(lab, &commands[1], &hosts.esx2, 0);
    lab_start(lab, &commands[2], &hosts.esx3, 0);
    lab_start(lab, &elsewhere, &hosts.esx2, 1);
    assert_int_equal(ask_and_wait(lab, TMF_LOGICAL_UNIT_RESET, &hosts.esx1, 0),
                     TMF_RESPONSE_COMPLETE);
    for (unsigned i = 0; i < 3; i++)
        assert_true(commands[i].has_ended);
    assert_false(elsewhere.has_ended);
    lab_end(lab, &elsewhere);
    logout_all(lab, &hosts);
}

/* SAM-5 6.3.3: for every I_T nexus, the asking one too; a host that is not told would trust its
 * lock. */
static void test_unit_reset_tells_every_nexus_before_it_is_answered(void **state)
{
    struct lab *lab = *state;
    struct hosts hosts;
    struct request request = { 0 };
    struct itl *asking, *elsewhere;

    login_all(lab, &hosts);
    asking = lab_quiet_itl(lab, &hosts.esx1, 0);
    elsewhere = lab_quiet_itl(lab, &hosts.esx2, 1);
    request.watched = lab_quiet_itl(lab, &hosts.esx2, 0);
    ask(lab, &request, TMF_LOGICAL_UNIT_RESET, &hosts.esx1, 0);
    lab_wait(lab, &request.is_over);
    assert_int_equal(request.told, SENSE_CODE(0x6, 0x29, 0x03));
    assert_int_equal(unit_attention_take(asking), SENSE_CODE(0x6, 0x29, 0x03));
    assert_false(unit_attention_is_pending(elsewhere));
    logout_all(lab, &hosts);
}

static void test_unit_reset_frees_a_dead_hosts_reservation(void **state)
{
    struct lab *lab = *state;
    struct hosts hosts;

    login_all(lab, &hosts);
    assert_int_equal(reservation_take(lab->lus[0], &hosts.esx2), STATUS_GOOD);
    assert_int_equal(reservation_take(lab->lus[1], &hosts.esx2), STATUS_GOOD);
    assert_int_equal(ask_and_wait(lab, TMF_LOGICAL_UNIT_RESET, &hosts.esx1, 0),
                     TMF_RESPONSE_COMPLETE);
    assert_false(reservation_conflicts(lab->lus[0], &hosts.esx1, RSV_WRITES));
    assert_true(reservation_conflicts(lab->lus[1], &hosts.esx1, RSV_WRITES));
    reservation_release(lab->lus[1], &hosts.esx2);
    logout_all(lab, &hosts);
}

static void test_unit_reset_takes_mode_parameters_back(void **state)
{
    struct lab *lab = *state;
    struct hosts hosts;

    login_all(lab, &hosts);
    lab->lus[0]->has_descriptor_sense = true;
    lab->lus[0]->is_write_protected = true;
    assert_int_equal(ask_and_wait(lab, TMF_LOGICAL_UNIT_RESET, &hosts.esx1, 0),
                     TMF_RESPONSE_COMPLETE);
    assert_false(lab->lus[0]->has_descriptor_sense);
    assert_false(lab->lus[0]->is_write_protected);
    logout_all(lab, &hosts);
}

static void test_a_reset_is_answered_after_the_disk_has_let_go(void **state)
{
    struct lab *lab = *state;
    struct hosts hosts;
    struct request request = { 0 };
    struct fake stuck = { .is_stuck = true }, prompt = { 0 };
    struct itl *itl;

    login_all(lab, &hosts);
    itl = lab_quiet_itl(lab, &hosts.esx2, 0);
    assert_int_equal(reservation_take(lab->lus[0], &hosts.esx2), STATUS_GOOD);
    lab_start(lab, &stuck, &hosts.esx2, 0);
    lab_start(lab, &prompt, &hosts.esx1, 0);
    ask(lab, &request, TMF_LOGICAL_UNIT_RESET, &hosts.esx1, 0);
    lab_settle(lab);
    assert_true(stuck.command.was_aborted);
    assert_true(prompt.has_ended);
    assert_false(request.is_over);
    /* still reserved and nobody told, as long as the old command may write */
    assert_true(reservation_conflicts(lab->lus[0], &hosts.esx1, RSV_WRITES));
    assert_false(unit_attention_is_pending(itl));
    lab_end(lab, &stuck);
    lab_wait(lab, &request.is_over);
    assert_int_equal(request.tm.response, TMF_RESPONSE_COMPLETE);
    assert_true(unit_attention_is_pending(itl));
    logout_all(lab, &hosts);
}

static void test_a_reset_does_not_wait_for_what_came_after(void **state)
{
    struct lab *lab = *state;
    struct hosts hosts;
    struct request request = { 0 };
    struct fake stuck = { .is_stuck = true }, fresh[2] = { 0 };

    login_all(lab, &hosts);
    lab_start(lab, &stuck, &hosts.esx2, 0);
    ask(lab, &request, TMF_LOGICAL_UNIT_RESET, &hosts.esx1, 0);
    lab_settle(lab);
    assert_true(lab_start(lab, &fresh[0], &hosts.esx2, 0));
    assert_true(lab_start(lab, &fresh[1], &hosts.esx1, 0));
    lab_end(lab, &stuck);
    lab_wait(lab, &request.is_over);
    assert_false(fresh[0].has_ended || fresh[1].has_ended);
    lab_end(lab, &fresh[0]);
    lab_end(lab, &fresh[1]);
    logout_all(lab, &hosts);
}

static void test_two_resets_at_once_are_both_answered(void **state)
{
    struct lab *lab = *state;
    struct hosts hosts;
    struct request first = { 0 }, second = { 0 };
    struct fake stuck = { .is_stuck = true };

    login_all(lab, &hosts);
    lab_start(lab, &stuck, &hosts.esx3, 0);
    ask(lab, &first, TMF_LOGICAL_UNIT_RESET, &hosts.esx1, 0);
    ask(lab, &second, TMF_LOGICAL_UNIT_RESET, &hosts.esx2, 0);
    lab_settle(lab);
    assert_false(first.is_over || second.is_over);
    lab_end(lab, &stuck);
    lab_wait(lab, &first.is_over);
    lab_wait(lab, &second.is_over);
    logout_all(lab, &hosts);
}

static void resets_all_units(struct lab *lab, enum tmf_function function)
{
    struct hosts hosts;
    struct fake commands[LAB_LUNS] = { 0 };
    struct itl *itls[LAB_LUNS];

    login_all(lab, &hosts);
    for (unsigned i = 0; i < LAB_LUNS; i++) {
        itls[i] = lab_quiet_itl(lab, &hosts.esx2, i);
        lab_start(lab, &commands[i], &hosts.esx2, i);
        assert_int_equal(reservation_take(lab->lus[i], &hosts.esx3), STATUS_GOOD);
    }
    assert_int_equal(ask_and_wait(lab, function, &hosts.esx1, 99), TMF_RESPONSE_COMPLETE);
    for (unsigned i = 0; i < LAB_LUNS; i++) {
        assert_true(commands[i].has_ended);
        assert_int_equal(unit_attention_take(itls[i]), SENSE_CODE(0x6, 0x29, 0x02));
        assert_false(lab->lus[i]->reserved);
    }
    logout_all(lab, &hosts);
}

/* ESX 3 breaks the reservations of a dead host this way */
static void test_warm_reset_resets_all_units(void **state)
{
    resets_all_units(*state, TMF_TARGET_WARM_RESET);
}

static void test_cold_reset_resets_all_units(void **state)
{
    resets_all_units(*state, TMF_TARGET_COLD_RESET);
}

static void test_a_missing_lun_is_said_to_be_missing(void **state)
{
    struct lab *lab = *state;
    struct hosts hosts;

    login_all(lab, &hosts);
    assert_int_equal(ask_and_wait(lab, TMF_LOGICAL_UNIT_RESET, &hosts.esx1, 9),
                     TMF_RESPONSE_NO_LUN);
    assert_int_equal(ask_and_wait(lab, TMF_ABORT_TASK_SET, &hosts.esx1, 9), TMF_RESPONSE_NO_LUN);
    assert_int_equal(ask_and_wait(lab, TMF_CLEAR_TASK_SET, &hosts.esx1, 9), TMF_RESPONSE_NO_LUN);
    logout_all(lab, &hosts);
}

static void test_a_masked_lun_cannot_be_reset(void **state)
{
    struct lab *lab = *state;
    struct hosts hosts;
    struct fake theirs = { 0 };

    bench_mask(lab->target.map, 1, "iqn.1998-01.com.vmware:esx2");
    login_all(lab, &hosts);
    lab_start(lab, &theirs, &hosts.esx2, 1);
    assert_int_equal(ask_and_wait(lab, TMF_LOGICAL_UNIT_RESET, &hosts.esx1, 1),
                     TMF_RESPONSE_NO_LUN);
    assert_false(theirs.has_ended);
    lab_end(lab, &theirs);
    logout_all(lab, &hosts);
}

static void test_what_is_not_supported_is_said(void **state)
{
    struct lab *lab = *state;
    struct hosts hosts;

    login_all(lab, &hosts);
    assert_int_equal(ask_and_wait(lab, TMF_CLEAR_ACA, &hosts.esx1, 0), TMF_RESPONSE_NOT_SUPPORTED);
    assert_int_equal(ask_and_wait(lab, TMF_TASK_REASSIGN, &hosts.esx1, 0),
                     TMF_RESPONSE_REASSIGN_NOT_SUPPORTED);
    logout_all(lab, &hosts);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, lab_setup, lab_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_abort_task_set_takes_this_nexus_and_unit_only),
        TEST(test_clear_task_set_tells_those_who_lost_commands),
        TEST(test_unit_reset_aborts_everybodys_commands_on_it),
        TEST(test_unit_reset_tells_every_nexus_before_it_is_answered),
        TEST(test_unit_reset_frees_a_dead_hosts_reservation),
        TEST(test_unit_reset_takes_mode_parameters_back),
        TEST(test_a_reset_is_answered_after_the_disk_has_let_go),
        TEST(test_a_reset_does_not_wait_for_what_came_after),
        TEST(test_two_resets_at_once_are_both_answered),
        TEST(test_warm_reset_resets_all_units),
        TEST(test_cold_reset_resets_all_units),
        TEST(test_a_missing_lun_is_said_to_be_missing),
        TEST(test_a_masked_lun_cannot_be_reset),
        TEST(test_what_is_not_supported_is_said),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
