/* reservation: SCSI-2 RESERVE and RELEASE, one holder a unit. */
#include "tests/unit/scsi/core_bench.h"

struct scene {
    struct lu *lu;
    struct nexus holder, other;
};

static int setup(void **state)
{
    static struct scene scene;

    memset(&scene, 0, sizeof(scene));
    scene.lu = bench_lu();
    scene.holder.id = 1;
    scene.other.id = 2;
    strcpy(scene.holder.initiator_port, "iqn.1998-01.com.vmware:esx1,i,0x00023d000001");
    strcpy(scene.other.initiator_port, "iqn.1998-01.com.vmware:esx2,i,0x00023d000001");
    *state = &scene;
    return 0;
}

static int teardown(void **state)
{
    lu_close(((struct scene *)*state)->lu);
    return 0;
}

static const enum reservation_class all_classes[] = {
    RSV_ALLOWED, RSV_READS, RSV_WRITES, RSV_CONTROL, RSV_RELEASE, RSV_RESERVE,
};

static void test_without_a_reservation_nothing_conflicts(void **state)
{
    struct scene *scene = *state;

    for (unsigned i = 0; i < 6; i++)
        assert_false(reservation_conflicts(scene->lu, &scene->other, all_classes[i]));
    assert_false(scene->lu->reserved);
}

static void test_the_holder_may_do_everything(void **state)
{
    struct scene *scene = *state;

    assert_int_equal(reservation_take(scene->lu, &scene->holder), STATUS_GOOD);
    for (unsigned i = 0; i < 6; i++)
        assert_false(reservation_conflicts(scene->lu, &scene->holder, all_classes[i]));
}

static void test_another_is_kept_out(void **state)
{
    struct scene *scene = *state;

    assert_int_equal(reservation_take(scene->lu, &scene->holder), STATUS_GOOD);
    assert_true(reservation_conflicts(scene->lu, &scene->other, RSV_READS));
    assert_true(reservation_conflicts(scene->lu, &scene->other, RSV_WRITES));
    assert_true(reservation_conflicts(scene->lu, &scene->other, RSV_CONTROL));
    assert_true(reservation_conflicts(scene->lu, &scene->other, RSV_RESERVE));
}

/* SPC-2 5.5.1 */
static void test_another_may_inquire_and_release(void **state)
{
    struct scene *scene = *state;

    assert_int_equal(reservation_take(scene->lu, &scene->holder), STATUS_GOOD);
    assert_false(reservation_conflicts(scene->lu, &scene->other, RSV_ALLOWED));
    assert_false(reservation_conflicts(scene->lu, &scene->other, RSV_RELEASE));
}

static void test_reserving_again_is_good_for_the_holder_only(void **state)
{
    struct scene *scene = *state;

    assert_int_equal(reservation_take(scene->lu, &scene->holder), STATUS_GOOD);
    assert_int_equal(reservation_take(scene->lu, &scene->holder), STATUS_GOOD);
    assert_int_equal(reservation_take(scene->lu, &scene->other), STATUS_RESERVATION_CONFLICT);
    /* it is held once, however often it was taken */
    reservation_release(scene->lu, &scene->holder);
    assert_int_equal(reservation_take(scene->lu, &scene->other), STATUS_GOOD);
}

static void test_release_by_another_has_no_effect(void **state)
{
    struct scene *scene = *state;

    assert_int_equal(reservation_take(scene->lu, &scene->holder), STATUS_GOOD);
    reservation_release(scene->lu, &scene->other);
    assert_true(reservation_conflicts(scene->lu, &scene->other, RSV_WRITES));
}

static void test_release_frees_the_unit(void **state)
{
    struct scene *scene = *state;

    assert_int_equal(reservation_take(scene->lu, &scene->holder), STATUS_GOOD);
    reservation_release(scene->lu, &scene->holder);
    assert_false(reservation_conflicts(scene->lu, &scene->other, RSV_WRITES));
    assert_false(scene->lu->reserved);
}

static void test_a_new_nexus_at_the_old_place_is_not_the_holder(void **state)
{
    struct scene *scene = *state;

    assert_int_equal(reservation_take(scene->lu, &scene->holder), STATUS_GOOD);
    scene->holder.id = 3;
    assert_true(reservation_conflicts(scene->lu, &scene->holder, RSV_WRITES));
    reservation_release(scene->lu, &scene->holder);
    assert_true(scene->lu->reserved);
}

static void test_a_reset_frees_the_unit_and_says_whose_it_was(void **state)
{
    struct scene *scene = *state;
    char port[INITIATOR_PORT_MAX + 1] = "";

    assert_false(reservation_drop_all(scene->lu, port, sizeof(port)));
    assert_int_equal(reservation_take(scene->lu, &scene->holder), STATUS_GOOD);
    assert_true(reservation_drop_all(scene->lu, port, sizeof(port)));
    assert_string_equal(port, scene->holder.initiator_port);
    assert_false(reservation_conflicts(scene->lu, &scene->other, RSV_WRITES));
}

static void test_the_holder_is_shown(void **state)
{
    struct scene *scene = *state;
    char port[INITIATOR_PORT_MAX + 1] = "";

    assert_false(lu_reservation_holder(scene->lu, port));
    assert_int_equal(reservation_take(scene->lu, &scene->holder), STATUS_GOOD);
    assert_true(lu_reservation_holder(scene->lu, port));
    assert_string_equal(port, "iqn.1998-01.com.vmware:esx1,i,0x00023d000001");
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_without_a_reservation_nothing_conflicts),
        TEST(test_the_holder_may_do_everything),
        TEST(test_another_is_kept_out),
        TEST(test_another_may_inquire_and_release),
        TEST(test_reserving_again_is_good_for_the_holder_only),
        TEST(test_release_by_another_has_no_effect),
        TEST(test_release_frees_the_unit),
        TEST(test_a_new_nexus_at_the_old_place_is_not_the_holder),
        TEST(test_a_reset_frees_the_unit_and_says_whose_it_was),
        TEST(test_the_holder_is_shown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
