/* EXTENDED COPY(LID1): what is copied and what is refused, SPC-4 6.5 and 5.17.7 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/unit/scsi/copy_bench.h"

#include <stdlib.h>
#include <unistd.h>

/* ---- good copies ---- */

static void test_a_copy_within_a_unit(void **state)
{
    struct list list;

    (void)state;
    fill(0, 100, 300, 0xa1);
    list_begin(&list, 1, 2);
    list_cscd(&list, 0);
    list_segment(&list, 0, 100, 0, 5000, 300);
    list_segment(&list, THIS_UNIT, 5000, 0, 6000, 10);
    list_segment(&list, 0, 7, THIS_UNIT, 7, 3); /* onto itself */
    list_segment(&list, 0, 8192, 0, 8192, 0);   /* nothing, at the very end */
    expect_good(&list);
    expect_filled(0, 5000, 300, 0xa1);
    expect_filled(0, 6000, 10, 0xa1);
    expect_filled(0, 5300, 10, 0);
}

static void test_a_copy_between_units_is_counted_at_its_destination(void **state)
{
    struct lu_statistics sum;
    struct list list;

    (void)state;
    fill(0, 0, 8000, 0xb2);
    list_simple(&list, 1, 0, 7000);
    expect_good(&list);
    expect_filled(1, 1000, 7000, 0xb2);
    expect_filled(1, 0, 1000, 0);
    lu_statistics(units[1], &sum);
    assert_true(sum.clones == 1 && sum.clones_failed == 0 && sum.cloned_bytes == 7000 * 512);
    lu_statistics(units[0], &sum);
    assert_true(sum.clones == 0);
}

static void test_copies_in_both_directions_do_not_wait_for_each_other(void **state)
{
    enum { PAIRS = 8 };
    struct fake_task tasks[2 * PAIRS];
    struct list there, back;

    (void)state;
    list_begin(&there, 0, 3);
    list_cscd(&there, 0);
    list_cscd(&there, 1);
    back = there;
    for (unsigned i = 0; i < 8; i++) {
        list_segment(&there, 0, 0, 1, 100, 4000);
        list_segment(&back, 1, 0, 0, 100, 4000);
        list_segment(&there, 0, 2000, 0, 100, 1500); /* and within a unit */
        list_segment(&back, 0, 100, 0, 2000, 1500);
    }
    for (unsigned i = 0; i < PAIRS; i++) {
        copy_task(&tasks[2 * i], &there);
        fake_start(&tasks[2 * i]);
        copy_task(&tasks[2 * i + 1], &back);
        fake_start(&tasks[2 * i + 1]);
    }
    for (unsigned i = 0; i < 2 * PAIRS; i++) {
        fake_wait(&tasks[i]);
        assert_int_equal(tasks[i].answer.status, STATUS_GOOD);
        fake_free(&tasks[i]);
    }
}

/* ---- who is reached ---- */

static void test_a_unit_that_is_masked_is_not_reached(void **state)
{
    struct lun_map *map = make_map(0, UNITS);
    struct list list;

    (void)state;
    map->entries[1].initiators = calloc(2, sizeof(char *));
    assert_non_null(map->entries[1].initiators);
    map->entries[1].initiators[0] = strdup("iqn.1998-01.com.vmware:esx2");
    show(map);
    fill(1, 0, 10, 0xee);
    list_simple(&list, 1, 0, 10);
    refused(&list, 0x0a0804, 0, 16 + 32);
    list_begin(&list, 1, 0);
    list_cscd(&list, 0);
    list_cscd(&list, 1);
    list_segment(&list, 1, 0, 0, 0, 10);
    refused(&list, 0x0a0804, 0, 16 + 32);
    expect_filled(0, 0, 10, 0);
}

static void test_what_names_no_unit_is_not_reached(void **state)
{
    struct list list;

    (void)state;
    list_simple(&list, 1, 0, 10);
    list.bytes[16 + 32 + 23] ^= 0x80; /* another NAA */
    refused(&list, 0x0a0804, 0, 16 + 32);
    list_simple(&list, 1, 0, 10);
    list.bytes[16 + 5] = 0x13; /* a port's designator */
    refused(&list, 0x0a0804, 0, 16);
    list_simple(&list, 1, 0, 10);
    list.bytes[16 + 1] = 0x20; /* the null unit */
    refused(&list, 0x0a0804, 0, 16);
    list_simple(&list, 1, 0, 10);
    list.bytes[16 + 1] = 0x01; /* a tape */
    refused(&list, 0x0a0d03, 0, 16);
    list_simple(&list, 1, 0, 10);
    put_be16(list.bytes + 16 + 64 + 6, 2);
    refused(&list, 0x0a0804, 0, 16 + 64 + 6);
    put_be16(list.bytes + 16 + 64 + 4, 0xc000);
    refused(&list, 0x0a0804, 0, 16 + 64 + 4);
}

static void test_block_sizes_must_be_equal_and_as_told(void **state)
{
    struct list list;

    (void)state;
    list_begin(&list, 1, 0);
    list_cscd(&list, 0);
    list_cscd(&list, 2);
    list_segment(&list, 0, 0, 1, 0, 8);
    refused(&list, 0x0a260c, 0, 16 + 64);
    list_simple(&list, 1, 0, 8);
    put_be24(list.bytes + 16 + 29, 4096);
    refused(&list, 0x0a2600, 0, 16 + 29);
    put_be24(list.bytes + 16 + 29, 0); /* not said */
    expect_good(&list);
}

/* ---- what is checked before anything is copied ---- */

static void test_ranges_are_checked_before_the_first_segment_is_copied(void **state)
{
    const struct {
        uint64_t from, to;
        uint16_t blocks;
        unsigned pointer;
    } rows[] = {
        {0,               RIG_BLOCKS - 9, 10, 20},
        { RIG_BLOCKS - 9, 0,              10, 12},
        { UINT64_MAX,     0,              1,  12},
        { 0,              UINT64_MAX,     1,  20},
        { UINT64_MAX - 4, 0,              10, 12}, /* wraps to 5 */
        { 0,              RIG_BLOCKS + 1, 0,  20},
    };
    struct list list;

    (void)state;
    fill(0, 0, 100, 0xc3);
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        list_simple(&list, 1, 0, 10);
        list_segment(&list, 0, rows[i].from, 1, rows[i].to, rows[i].blocks);
        refused(&list, 0x0a0000, 1, (int)(16 + 64 + 28 + rows[i].pointer));
    }
    expect_filled(1, 1000, 10, 0);
}

static void test_parameter_list_lengths(void **state)
{
    uint8_t cdb[16] = { 0x83 };
    struct fake_task task;
    struct list list;

    (void)state;
    fake_run(&task, &rig, cdb, 0, NULL, 0); /* none: no error, SPC-4 6.4.1 */
    assert_int_equal(task.answer.status, STATUS_GOOD);
    fake_free(&task);
    list_simple(&list, 1, 0, 10);
    for (uint32_t bytes = 1; bytes < list_bytes(&list); bytes++) {
        put_be32(cdb + 10, bytes);
        fake_run(&task, &rig, cdb, 0, list.bytes, bytes);
        assert_int_equal(fake_sense(&task), 0x051a00);
        fake_free(&task);
        put_be32(cdb + 10, list_bytes(&list)); /* the CDB is right, less comes */
        fake_run(&task, &rig, cdb, 0, list.bytes, bytes);
        assert_int_equal(fake_sense(&task), 0x051a00);
        fake_free(&task);
    }
    put_be32(cdb + 10, 0xffffffff);
    fake_run(&task, &rig, cdb, 0, list.bytes, 1024);
    assert_int_equal(fake_sense(&task), 0x051a00);
    assert_int_equal(task.wants, 0); /* none of it was asked for */
    fake_free(&task);
    put_be32(cdb + 10, list_bytes(&list));
    fake_run(&task, &rig, cdb, 0, NULL, 0);
    assert_int_equal(fake_sense(&task), 0x051a00);
    fake_free(&task);
}

static void test_what_the_parser_refuses_is_refused(void **state)
{
    struct list list;

    (void)state;
    list_simple(&list, 1, 0, 10);
    list.bytes[16 + 64] = 0x03;
    refused(&list, 0x052609, 0, 16 + 64);
}

static void test_the_other_third_party_commands_are_unknown(void **state)
{
    const uint8_t cdbs[][2] = {
        {0x83,  0x01},
        { 0x83, 0x10},
        { 0x84, 0x01},
        { 0x84, 0x05}
    };

    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        uint8_t cdb[16] = { cdbs[i][0], cdbs[i][1] };
        struct fake_task task;
        fake_run(&task, &rig, cdb, 0, NULL, 0);
        assert_int_equal(fake_sense(&task), 0x052000);
        fake_free(&task);
    }
}

/* ---- what units say ---- */

static void take_reservation(unsigned unit, struct nexus *nexus)
{
    assert_int_equal(reservation_take(units[unit], nexus), STATUS_GOOD);
}

static void test_a_reserved_destination_is_not_written(void **state)
{
    struct command answer;
    struct list list;

    (void)state;
    fill(0, 0, 10, 0xd4);
    take_reservation(1, &rig.other);
    list_simple(&list, 1, 0, 10);
    answer = refused(&list, 0x0a0d01, 0, 16 + 32);
    assert_int_equal(answer.sense_len, 19); /* its status alone, SPC-4 5.17.7.4 e) */
    assert_int_equal(answer.sense[8], 0);
    assert_int_equal(answer.sense[9], 18);
    assert_int_equal(answer.sense[18], STATUS_RESERVATION_CONFLICT);
    expect_filled(1, 1000, 10, 0);
    reservation_release(units[1], &rig.other);
    take_reservation(1, &rig.nexus);
    expect_good(&list);
}

static void test_a_reserved_source_is_not_read(void **state)
{
    struct command answer;
    struct list list;

    (void)state;
    take_reservation(1, &rig.other);
    list_begin(&list, 1, 0);
    list_cscd(&list, 0);
    list_cscd(&list, 1);
    list_segment(&list, 1, 0, 0, 0, 10);
    answer = refused(&list, 0x0a0d01, 0, 16 + 32);
    assert_int_equal(answer.sense[8], 18);
    assert_int_equal(answer.sense[9], 0);
    assert_int_equal(answer.sense[18], STATUS_RESERVATION_CONFLICT);
}

static void test_our_own_unit_reserved_is_a_conflict_of_the_command(void **state)
{
    struct fake_task task;
    struct list list;

    (void)state;
    take_reservation(0, &rig.other);
    list_simple(&list, 1, 0, 10);
    copy_run(&task, &list);
    assert_int_equal(task.answer.status, STATUS_RESERVATION_CONFLICT);
    fake_free(&task);
}

static void test_a_reservation_that_comes_while_it_waits_keeps_it_out(void **state)
{
    struct gate_hold hold = { 0 };
    struct fake_task task;
    struct list list;

    (void)state;
    hold.entered = (void (*)(struct gate_hold *))abort;
    assert_true(gate_enter(&units[1]->gate, &hold, &rig.worker, GATE_EXCLUSIVE, 0, 1 << 20));
    list_simple(&list, 1, 0, 10);
    copy_task(&task, &list);
    fake_start(&task);
    assert_int_equal(task.finished, 0);
    take_reservation(1, &rig.other);
    gate_leave(&hold);
    fake_wait(&task);
    assert_int_equal(fake_sense(&task), 0x0a0d01);
    assert_int_equal(task.answer.sense[18], STATUS_RESERVATION_CONFLICT);
    fake_free(&task);
}

static void test_a_unit_that_refuses_is_quoted(void **state)
{
    struct command answer;
    struct list list;

    (void)state;
    list_simple(&list, 1, 0, 10);
    units[1]->is_write_protected = true;
    answer = refused(&list, 0x0a0d01, 0, 16 + 32);
    assert_int_equal(answer.sense_len, 37);
    assert_int_equal(answer.sense[18], STATUS_CHECK_CONDITION);
    assert_int_equal(answer.sense[19 + 2], 0x07);
    assert_int_equal(answer.sense[19 + 12], 0x27);
    units[1]->is_write_protected = false;
    units[0]->is_write_protected = true; /* a source may be */
    expect_good(&list);
    units[0]->is_write_protected = false;
    units[0]->is_stopped = true;
    answer = refused(&list, 0x0a0d01, 0, 16);
    assert_int_equal(answer.sense[19 + 2], 0x02);
    assert_int_equal(answer.sense[19 + 12], 0x04);
}

static void test_a_disk_that_fails_tells_which_segment_and_side(void **state)
{
    struct command answer;
    struct list list;

    (void)state;
    list_simple(&list, 1, 0, 10);
    list_segment(&list, 1, 2000, 0, 3000, 10);
    assert_int_equal(truncate(paths[1], 1024 * 1024), 0); /* behind our back: LBA 2048 */
    list_segment(&list, 1, 4000, 0, 3000, 10);
    answer = refused(&list, 0x0a0d01, 2, 16 + 32);
    assert_int_equal(answer.sense[0], 0x70); /* nothing of that segment was written */
    assert_int_equal(answer.sense[8], 18);
    assert_int_equal(answer.sense[19 + 2], 0x03);
    assert_int_equal(answer.sense[19 + 12], 0x11);
}

#define WITH(setup, test)  cmocka_unit_test_setup_teardown(test, setup, copy_teardown)
#define TEST(test)         WITH(copy_setup, test)
#define WRITETHROUGH(test) WITH(copy_setup_writethrough, test)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_copy_within_a_unit),
        TEST(test_a_copy_between_units_is_counted_at_its_destination),
        TEST(test_copies_in_both_directions_do_not_wait_for_each_other),
        TEST(test_a_unit_that_is_masked_is_not_reached),
        TEST(test_what_names_no_unit_is_not_reached),
        TEST(test_block_sizes_must_be_equal_and_as_told),
        TEST(test_ranges_are_checked_before_the_first_segment_is_copied),
        TEST(test_parameter_list_lengths),
        TEST(test_what_the_parser_refuses_is_refused),
        TEST(test_the_other_third_party_commands_are_unknown),
        TEST(test_a_reserved_destination_is_not_written),
        TEST(test_a_reserved_source_is_not_read),
        TEST(test_our_own_unit_reserved_is_a_conflict_of_the_command),
        TEST(test_a_reservation_that_comes_while_it_waits_keeps_it_out),
        TEST(test_a_unit_that_refuses_is_quoted),
        TEST(test_a_disk_that_fails_tells_which_segment_and_side),
        WRITETHROUGH(test_a_copy_within_a_unit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
