/* scsi_target: who sees which LUN, and that the map changes under running sessions. */
#include "tests/unit/scsi/core_bench.h"

#include "target/scsi/task_management.h"

#include <stdlib.h>

static const enum sense_code inventory_changed = SENSE_CODE(0x6, 0x3f, 0x0e);

struct change {
    struct map_change change;
    bool is_over;
};

static void note_over(struct map_change *change)
{
    ((struct change *)(void *)change)->is_over = true;
}

static void begin(struct lab *lab, struct change *change, struct lun_map *map)
{
    *change = (struct change){
        .change = {.target = &lab->target, .home = &lab->home, .done = note_over},
    };
    scsi_target_set_map(&change->change, map);
}

static void change_map(struct lab *lab, struct lun_map *map)
{
    struct change change;

    begin(lab, &change, map);
    lab_wait(lab, &change.is_over);
}

/* ---- names ---- */

static void test_patterns_match_as_in_file_names(void **state)
{
    (void)state;
    assert_true(initiator_matches("iqn.1998-01.com.vmware:*", "iqn.1998-01.com.vmware:esx1-4a5b"));
    assert_true(initiator_matches("*", "iqn.1998-01.com.vmware:esx1"));
    assert_true(initiator_matches("*", ""));
    assert_true(initiator_matches("iqn.*:esx?", "iqn.1998-01.com.vmware:esx1"));
    assert_true(initiator_matches("*esx*1*", "iqn.1998-01.com.vmware:esx2-esx1"));
    assert_true(initiator_matches("a*b*c", "abbc"));
    assert_true(initiator_matches("**a**", "a"));
    assert_false(initiator_matches("iqn.*:esx?", "iqn.1998-01.com.vmware:esx10"));
    assert_false(initiator_matches("iqn.*:esx?", "iqn.1998-01.com.vmware:esx"));
    assert_false(initiator_matches("a*b", "abc"));
    assert_false(initiator_matches("", "a"));
    assert_false(initiator_matches("?", ""));
}

static void test_a_pattern_without_wildcards_is_the_whole_name(void **state)
{
    (void)state;
    assert_true(initiator_matches("iqn.1998-01.com.vmware:esx1", "iqn.1998-01.com.vmware:esx1"));
    assert_false(initiator_matches("iqn.1998-01.com.vmware:esx1", "iqn.1998-01.com.vmware:esx12"));
    assert_false(initiator_matches("iqn.1998-01.com.vmware:esx12", "iqn.1998-01.com.vmware:esx1"));
}

static void test_case_does_not_matter(void **state)
{
    (void)state;
    assert_true(initiator_matches("IQN.1998-01.com.VMware:ESX1", "iqn.1998-01.com.vmware:esx1"));
    assert_true(initiator_matches("iqn.*:esx1", "IQN.1998-01.COM.VMWARE:ESX1"));
}

/* a backtracking matcher must not take exponential time for what a person may type */
static void test_many_stars_cost_little(void **state)
{
    char name[INITIATOR_NAME_MAX + 1];

    (void)state;
    memset(name, 'a', INITIATOR_NAME_MAX);
    name[INITIATOR_NAME_MAX] = '\0';
    assert_false(initiator_matches("*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b", name));
}

static void test_a_mask_shows_a_lun_to_any_of_its_patterns(void **state)
{
    char *patterns[] = { (char *)"iqn.a:*", (char *)"iqn.b:host", NULL };
    char *nobody[] = { NULL };
    struct lun_entry entry = { .initiators = patterns };

    (void)state;
    assert_true(lun_is_visible(&entry, "iqn.a:1"));
    assert_true(lun_is_visible(&entry, "iqn.b:host"));
    assert_false(lun_is_visible(&entry, "iqn.b:other"));
    entry.initiators = nobody;
    assert_false(lun_is_visible(&entry, "iqn.a:1"));
    entry.initiators = NULL;
    assert_true(lun_is_visible(&entry, "iqn.c:1"));
}

/* ---- changes ---- */

static void test_an_added_lun_is_seen_and_told(void **state)
{
    struct lab *lab = *state;
    struct lu *fewer[] = { lab->lus[0], NULL, lab->lus[2] };
    struct nexus esx1;
    struct itl *itl;

    change_map(lab, bench_map(fewer, 3));
    lab_login(lab, &esx1, 1, "esx1");
    itl = lab_quiet_itl(lab, &esx1, 2);
    assert_null(lab_quiet_itl(lab, &esx1, 1));
    change_map(lab, bench_map(lab->lus, LAB_LUNS));
    assert_int_equal(unit_attention_take(itl), inventory_changed);
    assert_ptr_equal(lab_quiet_itl(lab, &esx1, 1)->lu, lab->lus[1]);
    /* what it knew stays what it was, under a new index */
    assert_ptr_equal(lab_quiet_itl(lab, &esx1, 2), itl);
    lab_logout(lab, &esx1);
}

static void test_a_removed_lun_is_gone_and_told_on_the_others(void **state)
{
    struct lab *lab = *state;
    struct lu *left[] = { lab->lus[0], NULL, lab->lus[2] };
    struct nexus esx1, esx2;
    struct itl *of_esx1, *of_esx2;

    lab_login(lab, &esx1, 0, "esx1");
    lab_login(lab, &esx2, 1, "esx2");
    of_esx1 = lab_quiet_itl(lab, &esx1, 0);
    of_esx2 = lab_quiet_itl(lab, &esx2, 2);
    assert_non_null(lab_quiet_itl(lab, &esx1, 1));
    assert_non_null(lab_quiet_itl(lab, &esx2, 1));
    change_map(lab, bench_map(left, 3));
    assert_int_equal(unit_attention_take(of_esx1), inventory_changed);
    assert_int_equal(unit_attention_take(of_esx2), inventory_changed);
    assert_null(lab_quiet_itl(lab, &esx1, 1));
    assert_null(lab_quiet_itl(lab, &esx2, 1));
    assert_int_equal(lu_nexus_count(lab->lus[1]), 0);
    lab_logout(lab, &esx1);
    lab_logout(lab, &esx2);
}

static void test_a_change_waits_for_commands_on_the_removed_lun(void **state)
{
    struct lab *lab = *state;
    struct lu *left[] = { lab->lus[0], NULL, lab->lus[2] };
    struct fake stuck = { .is_stuck = true }, prompt = { 0 }, elsewhere = { 0 };
    struct change change;
    struct nexus esx1, esx2;

    lab_login(lab, &esx1, 0, "esx1");
    lab_login(lab, &esx2, 1, "esx2");
    lab_start(lab, &stuck, &esx1, 1);
    lab_start(lab, &prompt, &esx2, 1);
    lab_start(lab, &elsewhere, &esx1, 0);
    begin(lab, &change, bench_map(left, 3));
    lab_settle(lab);
    assert_true(stuck.command.was_aborted && prompt.has_ended);
    assert_false(change.is_over);
    assert_null(lab_quiet_itl(lab, &esx1, 1)); /* nothing new gets there meanwhile */
    lab_end(lab, &stuck);
    lab_wait(lab, &change.is_over);
    assert_int_equal(lu_nexus_count(lab->lus[1]), 0);
    assert_false(elsewhere.has_ended);
    lab_end(lab, &elsewhere);
    lab_logout(lab, &esx1);
    lab_logout(lab, &esx2);
}

static void test_a_session_may_end_while_its_removed_lun_drains(void **state)
{
    struct lab *lab = *state;
    struct lu *left[] = { lab->lus[0], NULL, NULL };
    struct fake early = { .is_stuck = true }, late = { .is_stuck = true };
    struct change change;
    struct nexus esx1, esx2;

    lab_login(lab, &esx1, 0, "esx1");
    lab_login(lab, &esx2, 0, "esx2");
    lab_start(lab, &early, &esx1, 1);
    lab_start(lab, &late, &esx2, 2);
    assert_int_equal(reservation_take(lab->lus[1], &esx1), STATUS_GOOD);
    begin(lab, &change, bench_map(left, 3));
    lab_settle(lab);
    lab_end(lab, &early);
    lab_logout(lab, &esx1);
    assert_false(change.is_over);
    assert_false(lab->lus[1]->reserved);
    lab_end(lab, &late);
    lab_wait(lab, &change.is_over);
    lab_logout(lab, &esx2);
}

static void test_another_unit_behind_a_lun_is_a_new_one(void **state)
{
    struct lab *lab = *state;
    struct lu *swapped[] = { lab->lus[0], lab->lus[2], NULL };
    struct fake command = { 0 };
    struct nexus esx1;
    struct itl *other;

    lab_login(lab, &esx1, 0, "esx1");
    other = lab_quiet_itl(lab, &esx1, 0);
    lab_start(lab, &command, &esx1, 1);
    change_map(lab, bench_map(swapped, 3));
    assert_true(command.has_ended);
    assert_int_equal(unit_attention_take(other), inventory_changed);
    assert_ptr_equal(lab_quiet_itl(lab, &esx1, 1)->lu, lab->lus[2]);
    assert_null(lab_quiet_itl(lab, &esx1, 2));
    lab_logout(lab, &esx1);
}

static void test_only_those_are_told_whose_view_changed(void **state)
{
    struct lab *lab = *state;
    struct lun_map *map = bench_map(lab->lus, LAB_LUNS);
    struct nexus esx1, esx2;
    struct itl *of_esx1, *of_esx2;

    lab_login(lab, &esx1, 0, "esx1");
    lab_login(lab, &esx2, 1, "esx2");
    of_esx1 = lab_quiet_itl(lab, &esx1, 0);
    of_esx2 = lab_quiet_itl(lab, &esx2, 0);
    bench_mask(map, 2, "*:esx1");
    change_map(lab, map);
    assert_false(unit_attention_is_pending(of_esx1));
    assert_int_equal(unit_attention_take(of_esx2), inventory_changed);
    assert_null(lab_quiet_itl(lab, &esx2, 2));
    lab_logout(lab, &esx1);
    lab_logout(lab, &esx2);
}

static void test_a_removed_luns_reservation_is_gone_when_it_comes_back(void **state)
{
    struct lab *lab = *state;
    struct lu *left[] = { lab->lus[0], NULL, lab->lus[2] };
    struct nexus esx1;

    lab_login(lab, &esx1, 0, "esx1");
    assert_non_null(lab_quiet_itl(lab, &esx1, 1));
    assert_int_equal(reservation_take(lab->lus[1], &esx1), STATUS_GOOD);
    change_map(lab, bench_map(left, 3));
    assert_false(lab->lus[1]->reserved);
    lab_logout(lab, &esx1);
}

static void test_all_luns_may_go(void **state)
{
    struct lab *lab = *state;
    struct nexus esx1;

    lab_login(lab, &esx1, 0, "esx1");
    for (unsigned i = 0; i < LAB_LUNS; i++)
        assert_non_null(lab_quiet_itl(lab, &esx1, i));
    change_map(lab, lun_map_create(0));
    for (unsigned i = 0; i < LAB_LUNS; i++) {
        assert_null(lab_quiet_itl(lab, &esx1, i));
        assert_int_equal(lu_nexus_count(lab->lus[i]), 0);
    }
    lab_logout(lab, &esx1);
}

static void forget(struct task_management *tm)
{
    tm->done = NULL;
}

static void reset_target(void *arg)
{
    task_management_start(arg);
}

/* the reset still has the old map's units to tell when its last command is dead */
static void test_a_change_waits_for_a_reset_that_is_under_way(void **state)
{
    struct lab *lab = *state;
    struct lu *left[] = { lab->lus[0], NULL, lab->lus[2] };
    struct fake stuck = { .is_stuck = true };
    struct nexus esx1, esx2;
    struct task_management tm = { .function = TMF_TARGET_WARM_RESET, .nexus = &esx1 };
    struct change change;

    lab_login(lab, &esx1, 0, "esx1");
    lab_login(lab, &esx2, 1, "esx2");
    lab_start(lab, &stuck, &esx2, 0); /* on a LUN that stays */
    tm.done = forget;
    lab_on_worker(lab, 0, reset_target, &tm);
    begin(lab, &change, bench_map(left, 3));
    lab_settle(lab);
    assert_false(change.is_over);
    lab_end(lab, &stuck);
    lab_wait(lab, &change.is_over);
    assert_null(tm.done);
    lab_logout(lab, &esx1);
    lab_logout(lab, &esx2);
}

/* its answer lets the last session go, and then the target: that ended the daemon */
static void test_a_reset_may_give_the_map_back_after_its_target_is_closed(void **state)
{
    static struct workers workers;
    struct scsi_target target;
    struct lun_map *map;

    (void)state;
    assert_int_equal(scsi_target_open(&target, "iqn.2026-11.lab.nestor:unit", &workers), 0);
    map = scsi_target_map_get(&target);
    scsi_target_close(&target);
    assert_int_equal(map->count, 0);
    lun_map_put(map);
}

static void test_a_grown_unit_tells_every_nexus(void **state)
{
    struct lab *lab = *state;
    struct nexus esx1;
    struct backing_error error;
    struct itl *itl;

    lab_login(lab, &esx1, 0, "esx1");
    itl = lab_quiet_itl(lab, &esx1, 0);
    assert_int_equal(lab->lus[0]->blocks, BENCH_BLOCKS);
    lu_capacity_changed(lab->lus[0]); /* it has not */
    assert_false(unit_attention_is_pending(itl));
    assert_int_equal(
        backing_grow(lab->lus[0]->backing, 2 * BENCH_BLOCKS * BENCH_BLOCK_BYTES, &error), 0);
    lu_capacity_changed(lab->lus[0]);
    assert_int_equal(lab->lus[0]->blocks, 2 * BENCH_BLOCKS);
    assert_int_equal(unit_attention_take(itl), SENSE_CODE(0x6, 0x2a, 0x09));
    lab_logout(lab, &esx1);
}

/* ---- sessions that come and go while the map changes ---- */

enum { VISITS_MAX = 1000000, CHANGES = 300 };

struct guest {
    struct lab *lab;
    struct message message;
    struct worker *worker;
    struct nexus nexus;
    struct fake fakes[LAB_LUNS];
    unsigned visits;
    _Atomic bool is_enough, is_over;
};

/* One turn: a session opens and uses what it sees; the next: it ends. */
static void guest_turn(struct message *message)
{
    struct guest *guest = (void *)((char *)message - offsetof(struct guest, message));

    if (guest->visits++ % 2 == 0) {
        assert_int_equal(nexus_open(&guest->nexus, guest->worker, &guest->lab->target, "iqn.a:g",
                                    "iqn.a:g,i,1", 1),
                         0);
        for (unsigned i = 0; i < LAB_LUNS; i++)
            if (nexus_itl(&guest->nexus, bench_lun(i), true) != NULL)
                fake_start(&guest->fakes[i], &guest->nexus, i, TASK_SIMPLE);
            else
                guest->fakes[i].has_ended = true;
    } else {
        for (unsigned i = 0; i < LAB_LUNS; i++)
            if (!guest->fakes[i].has_ended)
                fake_end(&guest->fakes[i]);
        nexus_close(&guest->nexus);
    }
    if (guest->visits % 2 == 1 || (!guest->is_enough && guest->visits < VISITS_MAX))
        worker_post(guest->worker, &guest->message);
    else
        guest->is_over = true;
}

static void test_sessions_come_and_go_while_the_map_changes(void **state)
{
    struct lab *lab = *state;
    struct guest *guests = calloc(LAB_WORKERS, sizeof(*guests));

    assert_non_null(guests);
    for (unsigned i = 0; i < LAB_WORKERS; i++) {
        guests[i].lab = lab;
        guests[i].worker = lab->workers->worker[i];
        guests[i].message.run = guest_turn;
        worker_post(guests[i].worker, &guests[i].message);
    }
    for (unsigned i = 0; i < CHANGES; i++) {
        struct lu *lus[LAB_LUNS] = {
            i & 1 ? lab->lus[0] : NULL,
            i & 2 ? lab->lus[1] : NULL,
            i & 4 ? lab->lus[2] : NULL,
        };

        change_map(lab, bench_map(lus, LAB_LUNS));
        for (unsigned lun = 0; lun < LAB_LUNS; lun++)
            if (lus[lun] == NULL)
                assert_int_equal(lu_nexus_count(lab->lus[lun]), 0);
    }
    for (unsigned i = 0; i < LAB_WORKERS; i++)
        guests[i].is_enough = true;
    for (unsigned i = 0; i < LAB_WORKERS; i++) {
        /* a few turns: the session that is open ends */
        for (unsigned turns = 0; !guests[i].is_over && turns < 100; turns++)
            lab_settle(lab);
        assert_true(guests[i].is_over);
    }
    free(guests);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, lab_setup, lab_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_patterns_match_as_in_file_names),
        cmocka_unit_test(test_a_pattern_without_wildcards_is_the_whole_name),
        cmocka_unit_test(test_case_does_not_matter),
        cmocka_unit_test(test_many_stars_cost_little),
        cmocka_unit_test(test_a_mask_shows_a_lun_to_any_of_its_patterns),
        TEST(test_an_added_lun_is_seen_and_told),
        TEST(test_a_removed_lun_is_gone_and_told_on_the_others),
        TEST(test_a_change_waits_for_commands_on_the_removed_lun),
        TEST(test_a_session_may_end_while_its_removed_lun_drains),
        TEST(test_another_unit_behind_a_lun_is_a_new_one),
        TEST(test_only_those_are_told_whose_view_changed),
        TEST(test_a_removed_luns_reservation_is_gone_when_it_comes_back),
        TEST(test_all_luns_may_go),
        TEST(test_a_change_waits_for_a_reset_that_is_under_way),
        cmocka_unit_test(test_a_reset_may_give_the_map_back_after_its_target_is_closed),
        TEST(test_a_grown_unit_tells_every_nexus),
        TEST(test_sessions_come_and_go_while_the_map_changes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
