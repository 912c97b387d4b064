/* a copy while it goes on and after: list identifiers, gates, aborts, units that go, SPC-4 5.17.4
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "backing/file.h"
#include "tests/unit/scsi/copy_bench.h"

#include <errno.h>
#include <stdlib.h>

/* ---- list identifiers ---- */

/* Its steps are the test's, to end_step(). */
static void begin(struct fake_task *copy, const struct list *list)
{
    holds_steps = true;
    copy_task(copy, list);
    fake_start(copy);
}

static void test_a_copy_is_asked_for_once(void **state)
{
    const uint8_t done[12] = { 0, 0, 0, 8, 1, 0, 1, 0, 0, 0, 20, 0 };
    struct fake_task task;
    struct list list;

    (void)state;
    ask(&task, 0x00, 7, 12);
    assert_int_equal(fake_sense(&task), 0x052400);
    fake_free(&task);
    list_simple(&list, 7, 0, 10);
    expect_good(&list);
    ask(&task, 0x00, 7, 12);
    assert_int_equal(task.answer.status, STATUS_GOOD);
    assert_int_equal(task.in_bytes, 12);
    assert_memory_equal(task.in, done, 12);
    fake_free(&task);
    ask(&task, 0x00, 7, 12); /* SPC-4 6.25: discarded */
    assert_int_equal(fake_sense(&task), 0x052400);
    fake_free(&task);
}

static void test_a_copy_that_failed_leaves_its_sense(void **state)
{
    struct fake_task task;
    struct command answer;
    struct list list;

    (void)state;
    list_simple(&list, 9, 2, 10);
    units[1]->is_write_protected = true;
    answer = refused(&list, 0x0a0d01, 0, 16 + 32);
    ask(&task, 0x00, 9, 12);
    assert_int_equal(task.in[4], 2);
    fake_free(&task);
    ask(&task, 0x04, 9, 30); /* not all of it: it stays */
    assert_int_equal(task.in_bytes, 30);
    fake_free(&task);
    ask(&task, 0x04, 9, 124);
    assert_int_equal(task.in_bytes, 60 + answer.sense_len);
    assert_int_equal(get_be32(task.in), 56 + answer.sense_len);
    assert_int_equal(task.in[56], STATUS_CHECK_CONDITION);
    assert_int_equal(get_be16(task.in + 58), answer.sense_len);
    assert_memory_equal(task.in + 60, answer.sense, answer.sense_len);
    fake_free(&task);
    ask(&task, 0x04, 9, 124);
    assert_int_equal(fake_sense(&task), 0x052400);
    fake_free(&task);
}

static void test_without_list_identifier_nothing_is_kept(void **state)
{
    struct fake_task task;
    struct list list;

    (void)state;
    list_simple(&list, 0, 3, 10);
    expect_good(&list);
    ask(&task, 0x00, 0, 12);
    assert_int_equal(fake_sense(&task), 0x052400);
    fake_free(&task);
}

static void test_a_reset_discards_what_is_over(void **state)
{
    struct fake_task task;
    struct list list;

    (void)state;
    list_simple(&list, 7, 0, 10);
    expect_good(&list);
    units[0]->resets++;
    ask(&task, 0x00, 7, 12);
    assert_int_equal(fake_sense(&task), 0x052400);
    fake_free(&task);
}

static void test_an_identifier_in_use_is_refused_and_progress_is_told(void **state)
{
    struct fake_task copy, task;
    struct list list;

    (void)state;
    list_simple(&list, 5, 0, 8);
    begin(&copy, &list);
    assert_int_equal(held_count, 1);
    refused(&list, 0x050016, 0, -1);
    ask(&task, 0x00, 5, 12);
    assert_int_equal(task.in[4], 0); /* in progress */
    fake_free(&task);
    ask(&task, 0x04, 5, 124);
    assert_int_equal(fake_sense(&task), 0x052400);
    fake_free(&task);
    end_step();
    fake_wait(&copy);
    assert_int_equal(copy.answer.status, STATUS_GOOD);
    fake_free(&copy);
}

/* ---- gates, aborts, and units that go ---- */

static void test_the_source_is_shared_and_the_destination_is_not(void **state)
{
    struct fake_task copy, read;
    struct list list;
    uint8_t cdb[10];

    (void)state;
    list_begin(&list, 1, 0);
    list_cscd(&list, 0);
    list_segment(&list, 0, 0, 0, 4000, 8);
    fill(0, 0, 8, 0x77);
    begin(&copy, &list);
    read_10(cdb, 0, 8);
    fake_run(&read, &rig, cdb, 8 * 512, NULL, 0);
    assert_int_equal(read.answer.status, STATUS_GOOD);
    fake_free(&read);
    read_10(cdb, 4007, 1);
    fake_task(&read, &rig, cdb, 512, NULL, 0);
    fake_start(&read);
    assert_int_equal(read.finished, 0);
    end_step();
    fake_wait(&read);
    assert_int_equal(read.in[0], 0x77);
    fake_free(&read);
    fake_wait(&copy);
    fake_free(&copy);
}

static void test_an_abort_ends_it_between_two_segments(void **state)
{
    struct fake_task copy, read;
    struct list list;
    uint8_t cdb[10];

    (void)state;
    fill(0, 0, 100, 0x55);
    list_simple(&list, 1, 0, 8);
    list_segment(&list, 0, 0, 1, 2000, 8);
    begin(&copy, &list);
    command_abort(copy.command);
    assert_int_equal(copy.finished, 1);
    assert_true(copy.answer.was_aborted);
    fake_free(&copy);
    read_10(cdb, 1000, 10);
    fake_task(&read, &rig, cdb, 10 * 512, NULL, 0);
    read.command->lun = 1ULL << 48;
    fake_start(&read);
    assert_int_equal(read.finished, 0); /* the disk is at it */
    end_step();
    fake_wait(&read);
    assert_int_equal(read.in[0], 0x55);
    fake_free(&read);
    assert_int_equal(held_count, 0);
    expect_filled(1, 1000, 8, 0x55);
    expect_filled(1, 2000, 10, 0);
}

static void note_away(struct map_change *change)
{
    *(bool *)change->context = true;
}

/* Whichever of its three units: the one that it was sent to copies nothing. */
static void test_a_copy_that_was_aborted_keeps_its_units(void **state)
{
    (void)state;
    for (unsigned away = 0; away < 3; away++) {
        bool is_away = false;
        struct map_change change = { .target = &rig.target,
                                     .home = &rig.worker.mailbox,
                                     .done = note_away,
                                     .context = &is_away };
        struct lun_map *map = lun_map_create(2);
        struct fake_task copy;
        struct list list;

        for (uint16_t unit = 0, i = 0; unit < 3; unit++)
            if (unit != away)
                map->entries[i++] = (struct lun_entry){ .lun = unit, .lu = units[unit] };
        list_begin(&list, 1, 0);
        list_cscd(&list, 0);
        list_cscd(&list, 1);
        list_segment(&list, 0, 0, 1, 0, 8);
        holds_steps = true;
        copy_task(&copy, &list);
        copy.command->lun = UINT64_C(2) << 48;
        fake_start(&copy);
        assert_int_equal(held_count, 1);
        command_abort(copy.command);
        assert_int_equal(copy.finished, 1);
        fake_free(&copy);
        scsi_target_set_map(&change, map);
        for (int i = 0; i < 10; i++)
            ev_run(rig.loop, EVRUN_NOWAIT);
        assert_false(is_away);
        end_step();
        for (int i = 0; i < 10; i++)
            ev_run(rig.loop, EVRUN_NOWAIT);
        assert_true(is_away);
        show(make_map(0, UNITS));
    }
}

/* On the source's blocks beside: a host's heartbeat does not wait for the destination's disk. */
static void test_who_excludes_others_beside_the_source_does_not_wait(void **state)
{
    struct gate_hold hold = { .entered = (void (*)(struct gate_hold *))abort };
    struct fake_task copy;
    struct list list;

    (void)state;
    list_simple(&list, 1, 0, 8);
    begin(&copy, &list);
    assert_true(gate_enter(&units[0]->gate, &hold, &rig.worker, GATE_EXCLUSIVE, 8 * 512, 512));
    gate_leave(&hold);
    end_step();
    fake_wait(&copy);
    assert_int_equal(copy.answer.status, STATUS_GOOD);
    fake_free(&copy);
}

static void test_an_abort_ends_it_while_it_waits_for_a_gate(void **state)
{
    struct list list;

    (void)state;
    for (unsigned unit = 0; unit < 2; unit++) {
        struct gate_hold hold = { .entered = (void (*)(struct gate_hold *))abort };
        struct fake_task copy;

        assert_true(gate_enter(&units[unit]->gate, &hold, &rig.worker, GATE_EXCLUSIVE, 0, 1 << 20));
        list_simple(&list, 1, 0, 10);
        copy_task(&copy, &list);
        fake_start(&copy);
        assert_int_equal(copy.finished, 0);
        command_abort(copy.command);
        assert_int_equal(copy.finished, 1);
        fake_free(&copy);
        gate_leave(&hold);
        expect_good(&list);
    }
}

static struct lu *drained_lu;
static bool is_drained;

static bool of_drained_lu(const struct drain *drain, const struct itl *itl)
{
    (void)drain;
    return itl->lu == drained_lu;
}

static void note_drained(struct drain *drain, struct worker *worker)
{
    (void)drain;
    (void)worker;
    is_drained = true;
}

static void test_the_reset_of_another_unit_ends_it_with_an_answer(void **state)
{
    struct drain drain = { .affects = of_drained_lu, .drained = note_drained };
    struct fake_task copy;
    struct list list;

    (void)state;
    list_simple(&list, 1, 0, 8);
    list_segment(&list, 0, 0, 1, 2000, 8);
    begin(&copy, &list);
    drained_lu = units[1];
    is_drained = false;
    drain_start(&drain, &rig.worker);
    assert_true(is_drained); /* though its disk is still written */
    assert_int_equal(copy.finished, 1);
    end_step();
    assert_false(copy.answer.was_aborted);
    assert_int_equal(fake_sense(&copy), 0x0a0d02);
    assert_int_equal(held_count, 0);
    fake_free(&copy);
}

static void test_the_reset_of_a_unit_that_is_not_copied_is_no_matter(void **state)
{
    struct drain drain = { .affects = of_drained_lu, .drained = note_drained };
    struct fake_task copy;
    struct list list;

    (void)state;
    list_simple(&list, 1, 0, 8);
    begin(&copy, &list);
    drained_lu = units[2];
    is_drained = false;
    drain_start(&drain, &rig.worker);
    assert_true(is_drained);
    end_step();
    fake_wait(&copy);
    assert_int_equal(copy.answer.status, STATUS_GOOD);
    fake_free(&copy);
}

static void test_a_unit_that_leaves_the_map_stays_until_the_copy_ends(void **state)
{
    struct map_change change = { 0 };
    struct lun_map *map = make_map(0, 1);
    struct fake_task copy;
    struct list list;

    (void)state;
    list_simple(&list, 1, 0, 8);
    begin(&copy, &list);
    nexus_move(&rig.nexus, map, &change);
    assert_int_equal(lu_nexus_count(units[1]), 2);
    end_step();
    fake_wait(&copy);
    assert_int_equal(copy.answer.status, STATUS_GOOD); /* nobody drained it here */
    fake_free(&copy);
    assert_int_equal(lu_nexus_count(units[1]), 1);
    lun_map_put(map);
    holds_steps = false;
    while (unit_attention_take(nexus_itl(&rig.nexus, 0, true)) != SENSE_NONE)
        ;
    refused(&list, 0x0a0804, 0, 16 + 32); /* gone now */
}

/* ---- writethrough ---- */

static void test_writethrough_flushes_the_destination_before_good(void **state)
{
    struct fake_task copy;
    struct list list;

    (void)state;
    list_simple(&list, 1, 0, 8);
    holds_steps = takes_io = true;
    copy_task(&copy, &list);
    fake_start(&copy);
    end_step();
    assert_int_equal(copy.finished, 0);
    assert_int_equal(taken_count, 1);
    assert_int_equal(taken_io[0]->op, IO_FLUSH);
    assert_ptr_equal(taken_io[0]->backing, units[1]->backing);
    end_io(0);
    fake_wait(&copy);
    assert_int_equal(copy.answer.status, STATUS_GOOD);
    fake_free(&copy);
}

static void test_a_flush_that_fails_fails_the_copy(void **state)
{
    struct fake_task copy;
    struct list list;

    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        list_simple(&list, 1, 0, 8);
        holds_steps = takes_io = true;
        copy_task(&copy, &list);
        fake_start(&copy);
        end_step();
        if (i == 1) /* another's sync was told instead of ours */
            units[1]->backing->failed_syncs++;
        end_io(i == 0 ? -EIO : 0);
        fake_wait(&copy);
        assert_int_equal(fake_sense(&copy), 0x0a0d01);
        assert_int_equal(copy.answer.sense[9], 18);
        assert_int_equal(copy.answer.sense[19 + 2], 0x03);
        assert_int_equal(copy.answer.sense[19 + 12], 0x0c);
        fake_free(&copy);
    }
}

static void test_an_abort_during_the_flush_leaves_it_behind(void **state)
{
    struct fake_task copy;
    struct list list;

    (void)state;
    list_simple(&list, 1, 0, 8);
    holds_steps = takes_io = true;
    copy_task(&copy, &list);
    fake_start(&copy);
    end_step();
    command_abort(copy.command);
    assert_int_equal(copy.finished, 1);
    fake_free(&copy);
    end_io(0);
}

#define WITH(setup, test)  cmocka_unit_test_setup_teardown(test, setup, copy_teardown)
#define TEST(test)         WITH(copy_setup, test)
#define WRITETHROUGH(test) WITH(copy_setup_writethrough, test)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_copy_is_asked_for_once),
        TEST(test_a_copy_that_failed_leaves_its_sense),
        TEST(test_without_list_identifier_nothing_is_kept),
        TEST(test_a_reset_discards_what_is_over),
        TEST(test_an_identifier_in_use_is_refused_and_progress_is_told),
        TEST(test_the_source_is_shared_and_the_destination_is_not),
        TEST(test_an_abort_ends_it_between_two_segments),
        TEST(test_a_copy_that_was_aborted_keeps_its_units),
        TEST(test_who_excludes_others_beside_the_source_does_not_wait),
        TEST(test_an_abort_ends_it_while_it_waits_for_a_gate),
        TEST(test_the_reset_of_another_unit_ends_it_with_an_answer),
        TEST(test_the_reset_of_a_unit_that_is_not_copied_is_no_matter),
        TEST(test_a_unit_that_leaves_the_map_stays_until_the_copy_ends),
        WRITETHROUGH(test_writethrough_flushes_the_destination_before_good),
        WRITETHROUGH(test_a_flush_that_fails_fails_the_copy),
        WRITETHROUGH(test_an_abort_during_the_flush_leaves_it_behind),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
