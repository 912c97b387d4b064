/*
 * persistent reservations, SPC-4 5.13: what each service action does to them, and what
 * PERSISTENT RESERVE IN tells of it
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "tests/unit/scsi/persistent_bench.h"

/* ---- REGISTER ---- */

/* SPC-4 table 67 */
static void test_register_checks_the_key_that_is_there(void **state)
{
    (void)state;
    assert_int_equal(pr_out(&rig.nexus, REGISTER, 0, 7, 1), CONFLICT);
    assert_int_equal(pr_out(&rig.nexus, REGISTER, 0, 0, 0), 0); /* does nothing */
    EXPECT_KEYS(0);
    assert_int_equal(pr_out(&rig.nexus, REGISTER, 0, 0, 1), 0);
    EXPECT_KEYS(1, 1);
    assert_int_equal(pr_out(&rig.nexus, REGISTER, 0, 0, 2), CONFLICT);
    assert_int_equal(pr_out(&rig.nexus, REGISTER, 0, 2, 2), CONFLICT);
    EXPECT_KEYS(1, 1);
    assert_int_equal(pr_out(&rig.nexus, REGISTER, 0, 1, 2), 0);
    EXPECT_KEYS(2, 2);
    assert_int_equal(pr_out(&rig.nexus, REGISTER, 0, 2, 0), 0);
    EXPECT_KEYS(3);
}

/* SPC-4 table 68 */
static void test_register_and_ignore_existing_key_ignores_it(void **state)
{
    (void)state;
    assert_int_equal(pr_out(&rig.nexus, REGISTER_AND_IGNORE, 0, 99, 0), 0);
    EXPECT_KEYS(0);
    assert_int_equal(pr_out(&rig.nexus, REGISTER_AND_IGNORE, 0, 99, 1), 0);
    assert_int_equal(pr_out(&rig.nexus, REGISTER_AND_IGNORE, 0, 98, 2), 0);
    EXPECT_KEYS(2, 2);
    assert_int_equal(pr_out_flagged(&rig.other, REGISTER_AND_IGNORE, 0, 0, 2, ALL_TG_PT), 0);
    EXPECT_KEYS(3, 2, 2);
    assert_int_equal(pr_out(&rig.nexus, REGISTER_AND_IGNORE, 0, 97, 0), 0);
    EXPECT_KEYS(4, 2);
}

static void test_a_new_key_leaves_the_reservation_alone(void **state)
{
    (void)state;
    registers(&rig.nexus, 1);
    assert_int_equal(pr_out(&rig.nexus, RESERVE, PR_WRITE_EXCLUSIVE, 1, 0), 0);
    assert_int_equal(pr_out(&rig.nexus, REGISTER, 0, 1, 5), 0);
    expect_reservation(PR_WRITE_EXCLUSIVE, 5);
}

static void test_lists_of_a_wrong_length_are_refused(void **state)
{
    static const uint32_t lengths[] = { 0, 1, 23, 25, 28, 8193, 0x01000000, 0xffffffff };
    static const uint8_t list[65536];
    uint8_t cdb[10];

    (void)state;
    for (unsigned i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        uint32_t expected = lengths[i] < sizeof list ? lengths[i] : sizeof list;

        out_cdb(cdb, REGISTER, 0, lengths[i]);
        assert_int_equal(run(&rig.nexus, cdb, 0, list, expected), BAD_LIST_LENGTH);
    }
    out_cdb(cdb, REGISTER, 0, 24); /* and one of which less comes */
    assert_int_equal(run(&rig.nexus, cdb, 0, list, 16), BAD_LIST_LENGTH);
    EXPECT_KEYS(0);
}

static size_t put_port(uint8_t *list, size_t at, const char *port)
{
    memset(list + at, 0, 52);
    list[at] = 0x45;
    put_be16(list + at + 2, 48);
    memcpy(list + at + 4, port, strlen(port));
    return at + 52;
}

static unsigned register_ports(struct nexus *nexus, uint64_t key, uint64_t action_key,
                               const char *first, const char *second)
{
    uint8_t cdb[10], list[256];
    size_t len;

    basic_list(list, key, action_key, SPEC_I_PT);
    len = put_port(list, 28, first);
    if (second)
        len = put_port(list, len, second);
    put_be32(list + 24, (uint32_t)len - 28);
    out_cdb(cdb, REGISTER, 0, (uint32_t)len);
    return run(nexus, cdb, 0, list, (uint32_t)len);
}

static const char third_port[] = "iqn.1998-01.com.vmware:esx3,i,0x00023d000001";
static const char absent_port[] = "iqn.1998-01.com.vmware:esx9,i,0x00023d000001";

static void test_spec_i_pt_registers_those_who_are_listed(void **state)
{
    (void)state;
    assert_int_equal(register_ports(&rig.nexus, 0, 7, other_port, absent_port), 0);
    EXPECT_KEYS(1, 7, 7, 7);
    /* the listed one can use what it was given */
    assert_int_equal(pr_out(&rig.other, RESERVE, PR_EXCLUSIVE_ACCESS, 7, 0), 0);
}

static void test_spec_i_pt_registers_all_or_nobody(void **state)
{
    (void)state;
    registers(&third, 3);
    assert_int_equal(register_ports(&rig.nexus, 0, 7, other_port, third_port), BAD_LIST_FIELD);
    EXPECT_KEYS(1, 3);
    /* and only from one that is not registered itself */
    registers(&rig.nexus, 1);
    assert_int_equal(register_ports(&rig.nexus, 1, 7, other_port, NULL), BAD_LIST_FIELD);
    EXPECT_KEYS(2, 3, 1);
}

static void test_a_name_without_port_means_all_its_sessions(void **state)
{
    static const char name[] = "iqn.1998-01.com.vmware:esx2";
    uint8_t cdb[10], list[64] = { 0 };

    (void)state;
    basic_list(list, 0, 7, SPEC_I_PT);
    put_be32(list + 24, 32);
    list[28] = 0x05;
    put_be16(list + 30, 28);
    memcpy(list + 32, name, sizeof name);
    out_cdb(cdb, REGISTER, 0, 60);
    assert_int_equal(run(&rig.nexus, cdb, 0, list, 60), 0);
    assert_int_equal(pr_out(&rig.other, RESERVE, PR_EXCLUSIVE_ACCESS, 7, 0), 0);

    list[32 + 26] = '8'; /* nobody that is known */
    assert_int_equal(run(&third, cdb, 0, list, 60), BAD_LIST_FIELD);
}

static void test_the_129th_registration_finds_no_room(void **state)
{
    struct persistent_change change;
    struct persistent *now = NULL;
    struct pr_out list = { .action_key = 1 };
    char port[64];
    struct persistent_request request = {
        .action = PR_OUT_REGISTER, .list = &list, .port = port, .relative_target_port = 1
    };

    (void)state;
    for (unsigned i = 0; i < 128; i++) {
        snprintf(port, sizeof port, "iqn.2001-01.com:%u,i,0x000000000000", i);
        persistent_out(now, &request, &change);
        assert_int_equal(change.status, STATUS_GOOD);
        assert_non_null(change.next);
        free(now);
        now = change.next;
    }
    strcpy(port, "iqn.2001-01.com:more,i,0x000000000000");
    persistent_out(now, &request, &change);
    assert_int_equal(change.status, STATUS_CHECK_CONDITION);
    assert_int_equal(change.sense, SENSE_INSUFFICIENT_REGISTRATION_RESOURCES);
    assert_null(change.next);
    free(now);
}

/* ---- RESERVE, RELEASE, CLEAR ---- */

static void test_without_registration_nothing_else_is_taken(void **state)
{
    (void)state;
    for (unsigned action = RESERVE; action <= PREEMPT_AND_ABORT; action++)
        assert_int_equal(pr_out(&rig.nexus, action, PR_WRITE_EXCLUSIVE, 0, 0), CONFLICT);
    registers(&rig.nexus, 1);
    for (unsigned action = RESERVE; action <= PREEMPT_AND_ABORT; action++)
        assert_int_equal(pr_out(&rig.nexus, action, PR_WRITE_EXCLUSIVE, 2, 0), CONFLICT);
}

static void test_scopes_and_types_that_do_not_exist_are_refused(void **state)
{
    static const uint8_t bad[] = { 0x00, 0x02, 0x04, 0x09, 0x0f, 0x11, 0x21, 0xf1 };

    (void)state;
    registers(&rig.nexus, 1);
    for (unsigned i = 0; i < sizeof bad; i++)
        assert_int_equal(pr_out(&rig.nexus, RESERVE, bad[i], 1, 0), BAD_CDB_FIELD);
    expect_reservation(PR_NONE, 0);
}

/* SPC-4 5.13.9 */
static void test_reserving_again_is_good_as_it_was_only(void **state)
{
    (void)state;
    registers(&rig.nexus, 1);
    registers(&rig.other, 2);
    assert_int_equal(pr_out(&rig.nexus, RESERVE, PR_WRITE_EXCLUSIVE, 1, 0), 0);
    assert_int_equal(pr_out(&rig.nexus, RESERVE, PR_WRITE_EXCLUSIVE, 1, 0), 0);
    assert_int_equal(pr_out(&rig.nexus, RESERVE, PR_EXCLUSIVE_ACCESS, 1, 0), CONFLICT);
    assert_int_equal(pr_out(&rig.other, RESERVE, PR_WRITE_EXCLUSIVE, 2, 0), CONFLICT);
    expect_reservation(PR_WRITE_EXCLUSIVE, 1);
    EXPECT_KEYS(2, 1, 2); /* RESERVE and RELEASE do not count */
}

static void test_all_registrants_hold_what_one_has_reserved(void **state)
{
    (void)state;
    registers(&rig.nexus, 1);
    registers(&rig.other, 2);
    assert_int_equal(pr_out(&rig.nexus, RESERVE, PR_WRITE_EXCLUSIVE_ALL, 1, 0), 0);
    expect_reservation(PR_WRITE_EXCLUSIVE_ALL, 0);
    assert_int_equal(pr_out(&rig.other, RESERVE, PR_WRITE_EXCLUSIVE_ALL, 2, 0), 0);
    assert_int_equal(pr_out(&rig.other, RELEASE, PR_WRITE_EXCLUSIVE_ALL, 2, 0), 0);
    expect_reservation(PR_NONE, 0);
    expect_attention(&rig.nexus, RESERVATIONS_RELEASED);
}

/* SPC-4 5.13.11.2.2 */
static void test_release_tells_the_other_registrants_of_registrants_types(void **state)
{
    (void)state;
    registers(&rig.nexus, 1);
    registers(&rig.other, 2);
    for (unsigned i = 0; i < 6; i++) {
        assert_int_equal(pr_out(&rig.nexus, RESERVE, all_types[i], 1, 0), 0);
        assert_int_equal(pr_out(&rig.nexus, RELEASE, all_types[i], 1, 0), 0);
        expect_attention(&rig.other,
                         pr_type_is_registrants(all_types[i]) ? RESERVATIONS_RELEASED : 0);
        expect_attention(&rig.nexus, 0);
        expect_attention(&third, 0); /* not registered */
    }
}

static void test_release_of_what_is_not_held_changes_nothing(void **state)
{
    (void)state;
    registers(&rig.nexus, 1);
    registers(&rig.other, 2);
    assert_int_equal(pr_out(&rig.nexus, RELEASE, PR_WRITE_EXCLUSIVE, 1, 0), 0);
    assert_int_equal(pr_out(&rig.nexus, RESERVE, PR_WRITE_EXCLUSIVE, 1, 0), 0);
    assert_int_equal(pr_out(&rig.other, RELEASE, PR_WRITE_EXCLUSIVE, 2, 0), 0);
    assert_int_equal(pr_out(&rig.nexus, RELEASE, PR_EXCLUSIVE_ACCESS, 1, 0), BAD_RELEASE);
    assert_int_equal(pr_out(&rig.nexus, RELEASE, 0x10 | PR_WRITE_EXCLUSIVE, 1, 0), BAD_RELEASE);
    expect_reservation(PR_WRITE_EXCLUSIVE, 1);
}

static void test_clear_takes_all_and_tells_the_others(void **state)
{
    (void)state;
    registers(&rig.nexus, 1);
    registers(&rig.other, 2);
    assert_int_equal(pr_out(&rig.nexus, RESERVE, PR_EXCLUSIVE_ACCESS, 1, 0), 0);
    assert_int_equal(pr_out(&rig.other, CLEAR, 0, 2, 0), 0); /* not the holder */
    EXPECT_KEYS(3);
    expect_reservation(PR_NONE, 0);
    expect_attention(&rig.nexus, RESERVATIONS_PREEMPTED);
    expect_attention(&rig.other, 0);
    expect_attention(&third, 0); /* not registered */
    assert_int_equal(read_one(&third), 0);
    assert_false(rig.lu->reserved);
}

/* ---- unregistering ---- */

/* SPC-4 5.13.11.2.3 */
static void test_the_reservation_goes_with_its_holders_registration(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++) { /* the types with one holder */
        registers(&rig.nexus, 1);
        registers(&rig.other, 2);
        assert_int_equal(pr_out(&rig.nexus, RESERVE, all_types[i], 1, 0), 0);
        assert_int_equal(pr_out(&rig.nexus, REGISTER, 0, 1, 0), 0);
        expect_attention(&rig.other,
                         pr_type_is_registrants(all_types[i]) ? RESERVATIONS_RELEASED : 0);
        expect_reservation(PR_NONE, 0);
    }
}

static void test_an_all_registrants_reservation_goes_with_the_last_one(void **state)
{
    (void)state;
    registers(&rig.nexus, 1);
    registers(&rig.other, 2);
    assert_int_equal(pr_out(&rig.nexus, RESERVE, PR_EXCLUSIVE_ACCESS_ALL, 1, 0), 0);
    assert_int_equal(pr_out(&rig.nexus, REGISTER, 0, 1, 0), 0);
    expect_reservation(PR_EXCLUSIVE_ACCESS_ALL, 0);
    assert_int_equal(read_one(&rig.nexus), CONFLICT);
    assert_int_equal(pr_out(&rig.other, REGISTER, 0, 2, 0), 0);
    expect_reservation(PR_NONE, 0);
    assert_int_equal(read_one(&rig.nexus), 0);
}

/* ---- PREEMPT ---- */

static void test_preempting_the_holder_takes_its_place(void **state)
{
    (void)state;
    registers(&rig.nexus, 1);
    registers(&rig.other, 2);
    registers(&third, 3);
    assert_int_equal(pr_out(&rig.nexus, RESERVE, PR_WRITE_EXCLUSIVE, 1, 0), 0);
    assert_int_equal(pr_out(&rig.other, PREEMPT, PR_WRITE_EXCLUSIVE, 2, 1), 0);
    expect_attention(&rig.nexus, REGISTRATIONS_PREEMPTED);
    expect_attention(&rig.other, 0);
    expect_attention(&third, 0); /* the type has not changed */
    EXPECT_KEYS(4, 2, 3);
    expect_reservation(PR_WRITE_EXCLUSIVE, 2);
    assert_int_equal(write_one(&rig.nexus, 1), CONFLICT);
    assert_int_equal(write_one(&rig.other, 2), 0);
}

static void test_preempting_to_another_type_tells_those_who_stay(void **state)
{
    (void)state;
    registers(&rig.nexus, 1);
    registers(&rig.other, 2);
    registers(&third, 3);
    assert_int_equal(pr_out(&rig.nexus, RESERVE, PR_WRITE_EXCLUSIVE_REGISTRANTS, 1, 0), 0);
    assert_int_equal(pr_out(&rig.other, PREEMPT, PR_EXCLUSIVE_ACCESS, 2, 1), 0);
    expect_attention(&rig.nexus, REGISTRATIONS_PREEMPTED);
    expect_attention(&third, RESERVATIONS_RELEASED);
    expect_attention(&rig.other, 0);
    assert_int_equal(read_one(&third), CONFLICT);
}

/* All with the holder's key go, but for the one that asks. */
static void test_preempting_a_shared_key_takes_all_who_have_it(void **state)
{
    (void)state;
    registers(&rig.nexus, 1);
    registers(&rig.other, 1);
    registers(&third, 1);
    assert_int_equal(pr_out(&rig.nexus, RESERVE, PR_WRITE_EXCLUSIVE_REGISTRANTS, 1, 0), 0);
    assert_int_equal(pr_out(&rig.other, PREEMPT, PR_WRITE_EXCLUSIVE_REGISTRANTS, 1, 1), 0);
    EXPECT_KEYS(4, 1);
    expect_attention(&rig.nexus, REGISTRATIONS_PREEMPTED);
    expect_attention(&third, REGISTRATIONS_PREEMPTED);
    expect_attention(&rig.other, 0);
    assert_int_equal(write_one(&rig.other, 1), 0);
    assert_int_equal(write_one(&rig.nexus, 1), CONFLICT);
}

/* SPC-4 5.13.11.2.4.3, last paragraph */
static void test_the_holder_may_preempt_itself(void **state)
{
    (void)state;
    registers(&rig.nexus, 1);
    registers(&rig.other, 2);
    assert_int_equal(pr_out(&rig.nexus, RESERVE, PR_WRITE_EXCLUSIVE, 1, 0), 0);
    assert_int_equal(pr_out(&rig.nexus, PREEMPT, PR_EXCLUSIVE_ACCESS, 1, 1), 0);
    EXPECT_KEYS(3, 1, 2);
    expect_reservation(PR_EXCLUSIVE_ACCESS, 1);
    expect_attention(&rig.nexus, 0);
    expect_attention(&rig.other, RESERVATIONS_RELEASED);
}

/* SPC-4 5.13.11.2.5 */
static void test_preempting_who_does_not_hold_removes_registrations_only(void **state)
{
    (void)state;
    registers(&rig.nexus, 1);
    registers(&rig.other, 2);
    registers(&third, 2);
    assert_int_equal(pr_out(&rig.nexus, RESERVE, PR_WRITE_EXCLUSIVE, 1, 0), 0);
    /* scope and type do not count */
    assert_int_equal(pr_out(&rig.nexus, PREEMPT, 0xff, 1, 2), 0);
    EXPECT_KEYS(4, 1);
    expect_reservation(PR_WRITE_EXCLUSIVE, 1);
    expect_attention(&rig.other, REGISTRATIONS_PREEMPTED);
    expect_attention(&third, REGISTRATIONS_PREEMPTED);
}

static void test_preempting_one_of_all_registrants_leaves_the_reservation(void **state)
{
    (void)state;
    registers(&rig.nexus, 1);
    registers(&rig.other, 2);
    assert_int_equal(pr_out(&rig.nexus, RESERVE, PR_EXCLUSIVE_ACCESS_ALL, 1, 0), 0);
    assert_int_equal(pr_out(&rig.other, PREEMPT, PR_WRITE_EXCLUSIVE, 2, 1), 0);
    EXPECT_KEYS(3, 2);
    expect_reservation(PR_EXCLUSIVE_ACCESS_ALL, 0);
    expect_attention(&rig.nexus, REGISTRATIONS_PREEMPTED);
}

static void test_key_0_preempts_all_registrants(void **state)
{
    (void)state;
    registers(&rig.nexus, 1);
    registers(&rig.other, 2);
    registers(&third, 3);
    assert_int_equal(pr_out(&rig.nexus, RESERVE, PR_WRITE_EXCLUSIVE_ALL, 1, 0), 0);
    assert_int_equal(pr_out(&rig.other, PREEMPT, PR_EXCLUSIVE_ACCESS, 2, 0), 0);
    EXPECT_KEYS(4, 2);
    expect_reservation(PR_EXCLUSIVE_ACCESS, 2);
    expect_attention(&rig.nexus, REGISTRATIONS_PREEMPTED);
    expect_attention(&third, REGISTRATIONS_PREEMPTED);
}

/* SPC-4 table 72 */
static void test_key_0_of_other_types_is_refused(void **state)
{
    (void)state;
    registers(&rig.nexus, 1);
    assert_int_equal(pr_out(&rig.nexus, PREEMPT, PR_WRITE_EXCLUSIVE, 1, 0),
                     CONFLICT); /* nobody's */
    assert_int_equal(pr_out(&rig.nexus, RESERVE, PR_WRITE_EXCLUSIVE, 1, 0), 0);
    assert_int_equal(pr_out(&rig.nexus, PREEMPT, PR_WRITE_EXCLUSIVE, 1, 0), BAD_LIST_FIELD);
}

static void test_preempting_a_key_that_nobody_has_conflicts(void **state)
{
    (void)state;
    registers(&rig.nexus, 1);
    assert_int_equal(pr_out(&rig.nexus, PREEMPT, PR_WRITE_EXCLUSIVE, 1, 9), CONFLICT);
    EXPECT_KEYS(1, 1);
}

/* ---- REGISTER AND MOVE ---- */

static unsigned move(struct nexus *nexus, uint64_t key, uint64_t action_key, uint8_t flags,
                     uint16_t relative_target_port, const char *port)
{
    uint8_t cdb[10], list[128] = { 0 };

    put_be64(list, key);
    put_be64(list + 8, action_key);
    list[17] = flags;
    put_be16(list + 18, relative_target_port);
    put_be32(list + 20, 52);
    put_port(list, 24, port);
    out_cdb(cdb, REGISTER_AND_MOVE, 0, 76);
    return run(nexus, cdb, 0, list, 76);
}

/* SPC-4 5.13.8 and table 70 */
static void test_a_reservation_moves_to_where_its_holder_says(void **state)
{
    (void)state;
    registers(&rig.nexus, 1);
    assert_int_equal(move(&rig.nexus, 1, 5, 0, 1, other_port), BAD_CDB_FIELD); /* none yet */
    assert_int_equal(pr_out(&rig.nexus, RESERVE, PR_EXCLUSIVE_ACCESS, 1, 0), 0);
    assert_int_equal(move(&rig.nexus, 1, 5, 0, 1, other_port), 0);
    EXPECT_KEYS(2, 1, 5);
    expect_reservation(PR_EXCLUSIVE_ACCESS, 5);
    assert_int_equal(read_one(&rig.nexus), CONFLICT);
    assert_int_equal(read_one(&rig.other), 0);
    /* on to somebody who is not there, and out */
    assert_int_equal(move(&rig.other, 5, 6, 0x02, 1, absent_port), 0);
    EXPECT_KEYS(3, 1, 6);
    expect_reservation(PR_EXCLUSIVE_ACCESS, 6);
    assert_int_equal(read_one(&rig.other), CONFLICT);
    expect_attention(&rig.nexus, 0);
    expect_attention(&rig.other, 0);
}

static void test_a_move_that_cannot_be_is_refused(void **state)
{
    static const char own_port[] = "iqn.1998-01.com.vmware:esx1,i,0x00023d000001";

    (void)state;
    registers(&rig.nexus, 1);
    registers(&rig.other, 2);
    assert_int_equal(pr_out(&rig.nexus, RESERVE, PR_EXCLUSIVE_ACCESS, 1, 0), 0);
    assert_int_equal(move(&third, 0, 5, 0, 1, other_port), CONFLICT);
    assert_int_equal(move(&rig.other, 2, 5, 0, 1, third_port), CONFLICT);
    assert_int_equal(move(&rig.nexus, 9, 5, 0, 1, third_port), CONFLICT);
    assert_int_equal(move(&rig.nexus, 1, 0, 0, 1, third_port), BAD_LIST_FIELD);
    assert_int_equal(move(&rig.nexus, 1, 5, 0, 2, third_port), BAD_LIST_FIELD);
    assert_int_equal(move(&rig.nexus, 1, 5, 0, 1, own_port), BAD_LIST_FIELD);
    expect_reservation(PR_EXCLUSIVE_ACCESS, 1);
    EXPECT_KEYS(2, 1, 2);
    assert_int_equal(pr_out(&rig.nexus, RELEASE, PR_EXCLUSIVE_ACCESS, 1, 0), 0);
    assert_int_equal(pr_out(&rig.nexus, RESERVE, PR_EXCLUSIVE_ACCESS_ALL, 1, 0), 0);
    assert_int_equal(move(&rig.nexus, 1, 5, 0, 1, third_port), CONFLICT);
}

/* ---- PERSISTENT RESERVE IN ---- */

static void test_full_status_tells_ports_and_holder(void **state)
{
    uint32_t len;
    uint8_t *bytes;

    (void)state;
    registers(&rig.nexus, 1);
    registers(&rig.other, 2);
    assert_int_equal(pr_out(&rig.other, RESERVE, PR_WRITE_EXCLUSIVE_REGISTRANTS, 2, 0), 0);
    bytes = pr_in(PR_IN_READ_FULL_STATUS, &len);
    assert_int_equal(len, 8 + 2 * (24 + 52));
    assert_int_equal(get_be64(bytes + 8), 1);
    assert_int_equal(bytes[8 + 12], 0);
    assert_int_equal(get_be64(bytes + 84), 2);
    assert_int_equal(bytes[84 + 12], 1);
    assert_int_equal(bytes[84 + 13], PR_WRITE_EXCLUSIVE_REGISTRANTS);
    assert_string_equal((char *)bytes + 84 + 24 + 4, other_port);
    free(bytes);
}

static void test_data_is_cut_to_the_allocation_length(void **state)
{
    const uint8_t cdb[10] = { 0x5e, 0, 0, 0, 0, 0, 0, 0, 10 };
    struct fake_task task;

    (void)state;
    registers(&rig.nexus, 1);
    begin(&task, &rig.nexus, cdb, 64, NULL, 0);
    fake_start(&task);
    fake_wait(&task);
    assert_int_equal(result_of(&task), 0);
    assert_int_equal(task.in_bytes, 10);
    assert_int_equal(get_be32(task.in + 4), 8); /* what there is, not what is sent */
    fake_free(&task);
}

/* REPORT CAPABILITIES, SPC-4 6.15.4: each bit of it. */
static void test_capabilities_are_what_is_taken(void **state)
{
    enum { TMV = 0x80, CRH = 0x10, PTPL_A = 0x01 };
    uint32_t len, types;
    uint8_t *told = pr_in(PR_IN_REPORT_CAPABILITIES, &len);

    (void)state;
    assert_int_equal(len, 8);
    assert_int_equal(get_be16(told), len);
    assert_int_equal(told[2], CRH | SPEC_I_PT | ALL_TG_PT | APTPL);
    assert_int_equal(told[3], TMV);           /* PTPL_A is 0 so far */
    types = told[4] | (uint32_t)told[5] << 8; /* bit n: type n */
    free(told);

    registers(&rig.nexus, 1);
    for (unsigned type = 0; type < 16; type++) {
        unsigned result = pr_out(&rig.nexus, RESERVE, type, 1, 0);
        if (result != (types & 1u << type ? 0 : BAD_CDB_FIELD))
            fail_msg("type %u: %05x", type, result);
        if (result != 0)
            continue;
        assert_int_equal(reserve_6(&rig.nexus), 0); /* CRH: of the holder, without effect */
        assert_null(rig.lu->reservation.holder);
        assert_int_equal(pr_out(&rig.nexus, RELEASE, type, 1, 0), 0);
    }
    assert_int_equal(pr_out(&rig.nexus, CLEAR, 0, 1, 0), 0);

    assert_int_equal(register_ports(&rig.nexus, 0, 7, other_port, NULL), 0);
    assert_int_equal(pr_out_flagged(&rig.nexus, REGISTER, 0, 7, 8, ALL_TG_PT), 0);
    assert_int_equal(pr_out_flagged(&rig.nexus, REGISTER, 0, 8, 9, APTPL), 0);
    told = pr_in(PR_IN_REPORT_CAPABILITIES, &len);
    assert_int_equal(told[3], TMV | PTPL_A);
    free(told);
}

static void test_unknown_service_actions_are_a_bad_field(void **state)
{
    (void)state;
    for (unsigned action = 0; action < 32; action++) {
        const uint8_t in[10] = { 0x5e, (uint8_t)action };
        uint8_t out[10];

        if (action > 3)
            assert_int_equal(run(&rig.nexus, in, 0, NULL, 0), BAD_CDB_FIELD);
        out_cdb(out, action, 0, 24);
        if (action > 7)
            assert_int_equal(run(&rig.nexus, out, 0, NULL, 0), BAD_CDB_FIELD);
    }
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, persistent_setup, persistent_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_register_checks_the_key_that_is_there),
        TEST(test_register_and_ignore_existing_key_ignores_it),
        TEST(test_a_new_key_leaves_the_reservation_alone),
        TEST(test_lists_of_a_wrong_length_are_refused),
        TEST(test_spec_i_pt_registers_those_who_are_listed),
        TEST(test_spec_i_pt_registers_all_or_nobody),
        TEST(test_a_name_without_port_means_all_its_sessions),
        TEST(test_the_129th_registration_finds_no_room),
        TEST(test_without_registration_nothing_else_is_taken),
        TEST(test_scopes_and_types_that_do_not_exist_are_refused),
        TEST(test_reserving_again_is_good_as_it_was_only),
        TEST(test_all_registrants_hold_what_one_has_reserved),
        TEST(test_release_tells_the_other_registrants_of_registrants_types),
        TEST(test_release_of_what_is_not_held_changes_nothing),
        TEST(test_clear_takes_all_and_tells_the_others),
        TEST(test_the_reservation_goes_with_its_holders_registration),
        TEST(test_an_all_registrants_reservation_goes_with_the_last_one),
        TEST(test_preempting_the_holder_takes_its_place),
        TEST(test_preempting_to_another_type_tells_those_who_stay),
        TEST(test_preempting_a_shared_key_takes_all_who_have_it),
        TEST(test_the_holder_may_preempt_itself),
        TEST(test_preempting_who_does_not_hold_removes_registrations_only),
        TEST(test_preempting_one_of_all_registrants_leaves_the_reservation),
        TEST(test_key_0_preempts_all_registrants),
        TEST(test_key_0_of_other_types_is_refused),
        TEST(test_preempting_a_key_that_nobody_has_conflicts),
        TEST(test_a_reservation_moves_to_where_its_holder_says),
        TEST(test_a_move_that_cannot_be_is_refused),
        TEST(test_full_status_tells_ports_and_holder),
        TEST(test_data_is_cut_to_the_allocation_length),
        TEST(test_capabilities_are_what_is_taken),
        TEST(test_unknown_service_actions_are_a_bad_field),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
