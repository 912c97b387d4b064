/* unit_attention: told once, in order, to whom it concerns. */
#include "tests/unit/scsi/core_bench.h"

static struct itl itl;

static int setup(void **state)
{
    (void)state;
    memset(&itl, 0, sizeof(itl));
    return 0;
}

static void test_nothing_is_pending_at_first(void **state)
{
    (void)state;
    assert_false(unit_attention_is_pending(&itl));
    assert_int_equal(unit_attention_take(&itl), SENSE_NONE);
}

static void test_a_condition_is_told_once(void **state)
{
    (void)state;
    unit_attention_raise(&itl, UA_CAPACITY_CHANGED);
    unit_attention_raise(&itl, UA_CAPACITY_CHANGED);
    assert_true(unit_attention_is_pending(&itl));
    assert_int_equal(unit_attention_take(&itl), SENSE_CODE(0x6, 0x2a, 0x09));
    assert_false(unit_attention_is_pending(&itl));
    assert_int_equal(unit_attention_take(&itl), SENSE_NONE);
}

static void test_several_are_told_one_at_a_time(void **state)
{
    (void)state;
    unit_attention_raise(&itl, UA_CAPACITY_CHANGED);
    unit_attention_raise(&itl, UA_LUN_INVENTORY_CHANGED);
    unit_attention_raise(&itl, UA_DEVICE_RESET);
    assert_int_equal(unit_attention_take(&itl), SENSE_CODE(0x6, 0x29, 0x03));
    assert_int_equal(unit_attention_take(&itl), SENSE_CODE(0x6, 0x3f, 0x0e));
    assert_int_equal(unit_attention_take(&itl), SENSE_CODE(0x6, 0x2a, 0x09));
    assert_false(unit_attention_is_pending(&itl));
}

static void test_power_on_takes_lesser_resets_along(void **state)
{
    (void)state;
    unit_attention_raise(&itl, UA_POWER_ON);
    unit_attention_raise(&itl, UA_BUS_RESET);
    unit_attention_raise(&itl, UA_DEVICE_RESET);
    unit_attention_raise(&itl, UA_COMMANDS_CLEARED);
    unit_attention_raise(&itl, UA_MODE_PARAMETERS_CHANGED);
    assert_int_equal(unit_attention_take(&itl), SENSE_CODE(0x6, 0x29, 0x00));
    assert_false(unit_attention_is_pending(&itl));
}

static void test_a_reset_does_not_hide_a_new_capacity_or_inventory(void **state)
{
    (void)state;
    unit_attention_raise(&itl, UA_POWER_ON);
    unit_attention_raise(&itl, UA_CAPACITY_CHANGED);
    unit_attention_raise(&itl, UA_LUN_INVENTORY_CHANGED);
    assert_int_equal(unit_attention_take(&itl), SENSE_CODE(0x6, 0x29, 0x00));
    assert_int_equal(unit_attention_take(&itl), SENSE_CODE(0x6, 0x3f, 0x0e));
    assert_int_equal(unit_attention_take(&itl), SENSE_CODE(0x6, 0x2a, 0x09));
}

static void test_every_condition_has_the_code_of_the_standard(void **state)
{
    /* SPC-4 table 59, SAM-5 table 51 */
    static const struct {
        enum unit_attention ua;
        uint8_t asc, ascq;
    } expected[] = {
        {UA_POWER_ON,                 0x29, 0x00},
        { UA_BUS_RESET,               0x29, 0x02},
        { UA_DEVICE_RESET,            0x29, 0x03},
        { UA_COMMANDS_CLEARED,        0x2f, 0x00},
        { UA_MEDIUM_CHANGED,          0x28, 0x00},
        { UA_LUN_INVENTORY_CHANGED,   0x3f, 0x0e},
        { UA_INQUIRY_CHANGED,         0x3f, 0x03},
        { UA_CAPACITY_CHANGED,        0x2a, 0x09},
        { UA_MODE_PARAMETERS_CHANGED, 0x2a, 0x01},
        { UA_RESERVATIONS_PREEMPTED,  0x2a, 0x03},
        { UA_RESERVATIONS_RELEASED,   0x2a, 0x04},
        { UA_REGISTRATIONS_PREEMPTED, 0x2a, 0x05},
        { UA_THIN_THRESHOLD,          0x38, 0x07},
    };

    (void)state;
    assert_int_equal(sizeof(expected) / sizeof(expected[0]), UA_COUNT);
    for (unsigned i = 0; i < UA_COUNT; i++) {
        unit_attention_raise(&itl, expected[i].ua);
        assert_int_equal(unit_attention_take(&itl),
                         SENSE_CODE(0x6, expected[i].asc, expected[i].ascq));
    }
}

static void test_a_cleared_condition_is_not_told(void **state)
{
    (void)state;
    unit_attention_raise(&itl, UA_LUN_INVENTORY_CHANGED);
    unit_attention_raise(&itl, UA_CAPACITY_CHANGED);
    unit_attention_clear(&itl, UA_LUN_INVENTORY_CHANGED);
    assert_int_equal(unit_attention_take(&itl), SENSE_CODE(0x6, 0x2a, 0x09));
    assert_false(unit_attention_is_pending(&itl));
}

static struct nexus one, other;
static struct itl of_one, of_other;

/* A unit that two nexuses know. */
static struct lu *shared_lu(void)
{
    struct lu *lu = bench_lu();

    of_one = (struct itl){ .nexus = &one };
    of_other = (struct itl){ .nexus = &other };
    LIST_INSERT_HEAD(&lu->itls, &of_one, lu_link);
    LIST_INSERT_HEAD(&lu->itls, &of_other, lu_link);
    return lu;
}

static void test_raising_for_all_spares_the_one_who_did_it(void **state)
{
    struct lu *lu = shared_lu();

    (void)state;
    unit_attention_raise_all(lu, UA_MODE_PARAMETERS_CHANGED, &one);
    assert_false(unit_attention_is_pending(&of_one));
    assert_true(unit_attention_is_pending(&of_other));
    unit_attention_raise_all(lu, UA_DEVICE_RESET, NULL);
    assert_true(unit_attention_is_pending(&of_one));
    LIST_INIT(&lu->itls);
    lu_close(lu);
}

/* SPC-4 6.6.1: whatever has changed it, every nexus is told, once. */
static void test_another_rotation_is_told_to_every_nexus(void **state)
{
    struct lu *lu = shared_lu();

    (void)state;
    lu_set_rotation(lu, 7200);
    assert_int_equal(unit_attention_take(&of_one), SENSE_CODE(0x6, 0x3f, 0x03));
    assert_int_equal(unit_attention_take(&of_other), SENSE_CODE(0x6, 0x3f, 0x03));
    lu_set_rotation(lu, 7200);
    assert_int_equal(unit_attention_take(&of_one), SENSE_NONE);
    assert_int_equal(unit_attention_take(&of_other), SENSE_NONE);
    LIST_INIT(&lu->itls);
    lu_close(lu);
}

#define TEST(test) cmocka_unit_test_setup(test, setup)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_nothing_is_pending_at_first),
        TEST(test_a_condition_is_told_once),
        TEST(test_several_are_told_one_at_a_time),
        TEST(test_power_on_takes_lesser_resets_along),
        TEST(test_a_reset_does_not_hide_a_new_capacity_or_inventory),
        TEST(test_every_condition_has_the_code_of_the_standard),
        TEST(test_a_cleared_condition_is_not_told),
        TEST(test_raising_for_all_spares_the_one_who_did_it),
        TEST(test_another_rotation_is_told_to_every_nexus),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
