/* nexus: which LUN is meant, what it costs, and in which order its commands run. */
#include "tests/unit/scsi/core_bench.h"

#include <errno.h>
#include <stdlib.h>

static const char esx1[] = "iqn.1998-01.com.vmware:esx1", esx2[] = "iqn.1998-01.com.vmware:esx2";

enum { LUNS = 4, LUN_HIDDEN = 2, LUN_LATE = 300 };

/* LUN 0, 1, 2 (esx2's only) and 300, and a nexus of esx1. */
struct scene {
    struct worker *worker;
    struct scsi_target target;
    struct lu *lus[LUNS];
    struct nexus nexus;
};

static int setup(void **state)
{
    static struct scene scene;
    struct lun_map *map;

    memset(&scene, 0, sizeof(scene));
    for (unsigned i = 0; i < LUNS; i++)
        scene.lus[i] = bench_lu();
    scene.worker = bench_worker();
    assert_int_equal(scsi_target_open(&scene.target, "iqn.2026-11.lab.nestor:t", NULL), 0);
    map = bench_map(scene.lus, LUNS);
    map->entries[3].lun = LUN_LATE;
    bench_mask(map, LUN_HIDDEN, esx2);
    lun_map_put(scene.target.map);
    scene.target.map = map;
    assert_int_equal(nexus_open(&scene.nexus, scene.worker, &scene.target, esx1,
                                "iqn.1998-01.com.vmware:esx1,i,0x00023d000001", 1),
                     0);
    *state = &scene;
    return 0;
}

static int teardown(void **state)
{
    struct scene *scene = *state;

    nexus_close(&scene->nexus);
    scsi_target_close(&scene->target);
    bench_worker_end(scene->worker);
    for (unsigned i = 0; i < LUNS; i++) {
        assert_int_equal(lu_nexus_count(scene->lus[i]), 0);
        lu_close(scene->lus[i]);
    }
    return 0;
}

static struct lu *lu_at(struct scene *scene, uint64_t lun_structure)
{
    const struct itl *itl = nexus_itl(&scene->nexus, lun_structure, true);

    return itl == NULL ? NULL : itl->lu;
}

/* ---- LUNs ---- */

static void test_peripheral_addressing_finds_the_unit(void **state)
{
    struct scene *scene = *state;

    assert_ptr_equal(lu_at(scene, UINT64_C(0x0000000000000000)), scene->lus[0]);
    assert_ptr_equal(lu_at(scene, UINT64_C(0x0001000000000000)), scene->lus[1]);
}

static void test_flat_space_addressing_finds_the_unit(void **state)
{
    struct scene *scene = *state;

    assert_ptr_equal(lu_at(scene, UINT64_C(0x412c000000000000)), scene->lus[3]); /* 300 */
    assert_ptr_equal(lu_at(scene, UINT64_C(0x4001000000000000)), scene->lus[1]);
    /* both ways lead to one I_T_L nexus */
    assert_ptr_equal(nexus_itl(&scene->nexus, UINT64_C(0x4001000000000000), true),
                     nexus_itl(&scene->nexus, UINT64_C(0x0001000000000000), true));
}

static void test_other_lun_structures_are_no_lun(void **state)
{
    static const uint64_t structures[] = {
        UINT64_C(0x0005000000000000), /* LUN 5 is not there */
        UINT64_C(0x0100000000000000), /* bus 1 */
        UINT64_C(0x8000000000000000), /* logical unit addressing */
        UINT64_C(0xc101000000000000), /* the REPORT LUNS well known logical unit */
        UINT64_C(0x0000000100000000), /* a second level */
        UINT64_C(0x0000000000000001),
    };
    struct scene *scene = *state;

    for (unsigned i = 0; i < sizeof(structures) / sizeof(structures[0]); i++) {
        assert_null(nexus_lun(&scene->nexus, structures[i]));
        assert_null(nexus_itl(&scene->nexus, structures[i], true));
    }
}

static void test_a_masked_lun_is_not_there(void **state)
{
    struct scene *scene = *state;
    struct nexus other;

    assert_null(nexus_lun(&scene->nexus, bench_lun(LUN_HIDDEN)));
    assert_null(nexus_itl(&scene->nexus, bench_lun(LUN_HIDDEN), true));
    assert_int_equal(nexus_open(&other, scene->worker, &scene->target, esx2, "esx2,i,1", 1), 0);
    assert_non_null(nexus_itl(&other, bench_lun(LUN_HIDDEN), true));
    nexus_close(&other);
}

static void test_report_luns_are_the_visible_ones_ascending(void **state)
{
    struct scene *scene = *state;
    uint16_t luns[LUNS] = { 0 };

    assert_int_equal(nexus_report_luns(&scene->nexus, luns, LUNS), 3);
    assert_int_equal(luns[0], 0);
    assert_int_equal(luns[1], 1);
    assert_int_equal(luns[2], LUN_LATE);
    assert_int_equal(nexus_report_luns(&scene->nexus, NULL, 0), 3);
}

static void test_an_idle_session_has_no_itl(void **state)
{
    struct scene *scene = *state;

    assert_non_null(nexus_lun(&scene->nexus, bench_lun(0)));
    assert_null(nexus_itl(&scene->nexus, bench_lun(0), false));
    assert_null(scene->nexus.itls);
    assert_int_equal(lu_nexus_count(scene->lus[0]), 0);
}

static void test_the_first_use_owes_power_on(void **state)
{
    struct scene *scene = *state;
    struct itl *itl = nexus_itl(&scene->nexus, bench_lun(0), true);

    assert_int_equal(unit_attention_take(itl), SENSE_CODE(0x6, 0x29, 0x00));
    assert_ptr_equal(nexus_itl(&scene->nexus, bench_lun(0), true), itl);
    assert_false(unit_attention_is_pending(itl));
    assert_int_equal(lu_nexus_count(scene->lus[0]), 1);
    assert_int_equal(lu_nexus_count(scene->lus[1]), 0);
}

static void test_clearing_reaches_every_unit_of_the_nexus(void **state)
{
    struct scene *scene = *state;
    struct itl *a = nexus_itl(&scene->nexus, bench_lun(0), true);
    struct itl *b = nexus_itl(&scene->nexus, bench_lun(1), true);

    unit_attention_take(a);
    unit_attention_take(b);
    unit_attention_raise(a, UA_LUN_INVENTORY_CHANGED);
    unit_attention_raise(b, UA_LUN_INVENTORY_CHANGED);
    nexus_clear_unit_attention(&scene->nexus, UA_LUN_INVENTORY_CHANGED);
    assert_false(unit_attention_is_pending(a));
    assert_false(unit_attention_is_pending(b));
}

static void test_a_name_that_is_too_long_is_refused(void **state)
{
    struct scene *scene = *state;
    struct nexus other;
    char name[INITIATOR_NAME_MAX + 2];

    memset(name, 'a', sizeof(name));
    name[sizeof(name) - 1] = '\0';
    assert_int_equal(nexus_open(&other, scene->worker, &scene->target, name, "p", 1), -EINVAL);
}

static void test_closing_frees_what_it_had_reserved(void **state)
{
    struct scene *scene = *state;
    struct nexus other;

    assert_int_equal(nexus_open(&other, scene->worker, &scene->target, esx2, "esx2,i,1", 1), 0);
    assert_non_null(nexus_itl(&other, bench_lun(0), true));
    assert_int_equal(reservation_take(scene->lus[0], &other), STATUS_GOOD);
    assert_true(reservation_conflicts(scene->lus[0], &scene->nexus, RSV_WRITES));
    nexus_close(&other);
    assert_false(reservation_conflicts(scene->lus[0], &scene->nexus, RSV_WRITES));
}

/* ---- task attributes, SAM-5 8.6 ---- */

static void test_simple_commands_run_at_once(void **state)
{
    struct scene *scene = *state;
    struct fake a = { 0 }, b = { 0 };

    assert_true(fake_start(&a, &scene->nexus, 0, TASK_SIMPLE));
    assert_true(fake_start(&b, &scene->nexus, 0, TASK_UNTAGGED));
    fake_end(&b);
    fake_end(&a);
}

static void test_ordered_waits_for_all_older_and_holds_newer(void **state)
{
    struct scene *scene = *state;
    struct fake older[2] = { 0 }, ordered = { 0 }, newer[2] = { 0 };

    fake_start(&older[0], &scene->nexus, 0, TASK_SIMPLE);
    fake_start(&older[1], &scene->nexus, 0, TASK_SIMPLE);
    assert_false(fake_start(&ordered, &scene->nexus, 0, TASK_ORDERED));
    assert_false(fake_start(&newer[0], &scene->nexus, 0, TASK_SIMPLE));
    assert_false(fake_start(&newer[1], &scene->nexus, 0, TASK_SIMPLE));
    fake_end(&older[1]);
    assert_int_equal(ordered.runs, 0);
    fake_end(&older[0]);
    assert_int_equal(ordered.runs, 1);
    assert_int_equal(newer[0].runs, 0);
    fake_end(&ordered);
    assert_int_equal(newer[0].runs, 1);
    assert_int_equal(newer[1].runs, 1);
    fake_end(&newer[0]);
    fake_end(&newer[1]);
}

static void test_ordered_alone_runs_at_once_and_holds_newer(void **state)
{
    struct scene *scene = *state;
    struct fake ordered = { 0 }, newer = { 0 };

    assert_true(fake_start(&ordered, &scene->nexus, 0, TASK_ORDERED));
    assert_false(fake_start(&newer, &scene->nexus, 0, TASK_SIMPLE));
    fake_end(&ordered);
    assert_int_equal(newer.runs, 1);
    fake_end(&newer);
}

static void test_head_of_queue_waits_for_nobody(void **state)
{
    struct scene *scene = *state;
    struct fake running = { 0 }, ordered = { 0 }, head = { 0 };

    fake_start(&running, &scene->nexus, 0, TASK_SIMPLE);
    assert_false(fake_start(&ordered, &scene->nexus, 0, TASK_ORDERED));
    assert_true(fake_start(&head, &scene->nexus, 0, TASK_HEAD_OF_QUEUE));
    fake_end(&running);
    assert_int_equal(ordered.runs, 1); /* it does not wait for the head, which came later */
    fake_end(&head);
    fake_end(&ordered);
}

static void test_ordered_on_one_unit_holds_nothing_on_another(void **state)
{
    struct scene *scene = *state;
    struct fake ordered = { 0 }, elsewhere = { 0 };

    fake_start(&ordered, &scene->nexus, 0, TASK_ORDERED);
    assert_true(fake_start(&elsewhere, &scene->nexus, 1, TASK_SIMPLE));
    fake_end(&ordered);
    fake_end(&elsewhere);
}

static void test_ordered_of_one_nexus_holds_nothing_of_another(void **state)
{
    struct scene *scene = *state;
    struct nexus other;
    struct fake ordered = { 0 }, elsewhere = { 0 };

    assert_int_equal(nexus_open(&other, scene->worker, &scene->target, esx2, "esx2,i,1", 1), 0);
    fake_start(&ordered, &scene->nexus, 0, TASK_ORDERED);
    assert_true(fake_start(&elsewhere, &other, 0, TASK_SIMPLE));
    fake_end(&ordered);
    fake_end(&elsewhere);
    nexus_close(&other);
}

static void test_a_chain_of_held_commands_runs_in_order_without_recursion(void **state)
{
    enum { CHAIN = 500 };
    static struct fake chain[CHAIN];
    struct scene *scene = *state;
    struct fake first = { 0 };

    memset(chain, 0, sizeof(chain));
    fake_run_depth_max = 0;
    fake_start(&first, &scene->nexus, 0, TASK_SIMPLE);
    for (unsigned i = 0; i < CHAIN; i++) {
        chain[i].ends_at_once = true;
        assert_false(fake_start(&chain[i], &scene->nexus, 0, TASK_ORDERED));
    }
    fake_end(&first);
    for (unsigned i = 0; i < CHAIN; i++)
        assert_int_equal(chain[i].runs, 1);
    assert_true(fake_run_depth_max <= 2);
    assert_true(TAILQ_EMPTY(&scene->nexus.commands));
}

static void test_an_aborted_ordered_command_lets_the_newer_go(void **state)
{
    struct scene *scene = *state;
    struct fake running = { 0 }, ordered = { 0 }, newer = { 0 };

    fake_start(&running, &scene->nexus, 0, TASK_SIMPLE);
    fake_start(&ordered, &scene->nexus, 0, TASK_ORDERED);
    fake_start(&newer, &scene->nexus, 0, TASK_SIMPLE);
    command_abort(&ordered.command);
    assert_int_equal(ordered.runs, 0);
    assert_int_equal(newer.runs, 1);
    fake_end(&newer);
    fake_end(&running);
}

static void test_aborting_all_starts_none_of_the_held(void **state)
{
    struct scene *scene = *state;
    struct fake running = { 0 }, ordered = { 0 }, newer = { 0 };

    fake_start(&running, &scene->nexus, 0, TASK_SIMPLE);
    fake_start(&ordered, &scene->nexus, 0, TASK_ORDERED);
    fake_start(&newer, &scene->nexus, 0, TASK_SIMPLE);
    nexus_abort_all(&scene->nexus);
    assert_true(running.has_ended && ordered.has_ended && newer.has_ended);
    assert_int_equal(ordered.runs, 0);
    assert_int_equal(newer.runs, 0);
    assert_true(TAILQ_EMPTY(&scene->nexus.commands));
}

static void test_what_arrives_during_an_abort_is_not_aborted(void **state)
{
    struct scene *scene = *state;
    struct fake fresh = { 0 }, running = { .then = &fresh };

    fake_start(&running, &scene->nexus, 0, TASK_SIMPLE);
    nexus_abort_all(&scene->nexus);
    assert_true(running.has_ended);
    assert_false(fresh.has_ended);
    fake_end(&fresh);
}

static void close_nexus_of(struct fake *fake)
{
    struct nexus *nexus = fake->command.nexus;

    if (!TAILQ_EMPTY(&nexus->commands))
        return;
    nexus_close(nexus);
    free(nexus);
}

static void test_a_nexus_may_be_closed_by_the_end_of_its_last_command(void **state)
{
    struct scene *scene = *state;
    struct nexus *other = calloc(1, sizeof(*other));
    struct fake commands[3] = { 0 };

    assert_int_equal(nexus_open(other, scene->worker, &scene->target, esx2, "esx2,i,1", 1), 0);
    for (unsigned i = 0; i < 3; i++) {
        commands[i].at_end = close_nexus_of;
        fake_start(&commands[i], other, 0, i == 1 ? TASK_ORDERED : TASK_SIMPLE);
    }
    nexus_abort_all(other);
    for (unsigned i = 0; i < 3; i++)
        assert_true(commands[i].has_ended);
}

static void test_a_nexus_may_be_closed_by_a_held_command_that_was_let_go(void **state)
{
    struct scene *scene = *state;
    struct nexus *other = calloc(1, sizeof(*other));
    struct fake first = { 0 }, held = { .ends_at_once = true, .at_end = close_nexus_of };

    assert_int_equal(nexus_open(other, scene->worker, &scene->target, esx2, "esx2,i,1", 1), 0);
    fake_start(&first, other, 0, TASK_SIMPLE);
    fake_start(&held, other, 0, TASK_ORDERED);
    fake_end(&first);
    assert_true(held.has_ended);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_peripheral_addressing_finds_the_unit),
        TEST(test_flat_space_addressing_finds_the_unit),
        TEST(test_other_lun_structures_are_no_lun),
        TEST(test_a_masked_lun_is_not_there),
        TEST(test_report_luns_are_the_visible_ones_ascending),
        TEST(test_an_idle_session_has_no_itl),
        TEST(test_the_first_use_owes_power_on),
        TEST(test_clearing_reaches_every_unit_of_the_nexus),
        TEST(test_a_name_that_is_too_long_is_refused),
        TEST(test_closing_frees_what_it_had_reserved),
        TEST(test_simple_commands_run_at_once),
        TEST(test_ordered_waits_for_all_older_and_holds_newer),
        TEST(test_ordered_alone_runs_at_once_and_holds_newer),
        TEST(test_head_of_queue_waits_for_nobody),
        TEST(test_ordered_on_one_unit_holds_nothing_on_another),
        TEST(test_ordered_of_one_nexus_holds_nothing_of_another),
        TEST(test_a_chain_of_held_commands_runs_in_order_without_recursion),
        TEST(test_an_aborted_ordered_command_lets_the_newer_go),
        TEST(test_aborting_all_starts_none_of_the_held),
        TEST(test_what_arrives_during_an_abort_is_not_aborted),
        TEST(test_a_nexus_may_be_closed_by_the_end_of_its_last_command),
        TEST(test_a_nexus_may_be_closed_by_a_held_command_that_was_let_go),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
