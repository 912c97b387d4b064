#include "backing/file.h"
#include "backing/sync_groups.h"
#include "backing/transfer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>

/* Flushes of two images; the syncs themselves are answered by the test. */

static struct backing images[2];
static struct sync_groups groups;
static struct io_queue over, ready;
static struct io flushes[8];

static int setup(void **state)
{
    (void)state;
    groups = (struct sync_groups){ 0 };
    io_queue_init(&over);
    io_queue_init(&ready);
    for (int i = 0; i < 8; i++) {
        flushes[i] = (struct io){ .op = IO_FLUSH, .backing = &images[0] };
        transfer_begin(&flushes[i], true);
    }
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    assert_null(groups.first);
    sync_groups_close(&groups);
    assert_null(over.first);
    assert_null(ready.first);
    return 0;
}

static void assert_over(int i, int result)
{
    assert_ptr_equal(io_queue_take(&over), &flushes[i]);
    assert_int_equal(flushes[i].result, result);
}

static void end(int i, int64_t result)
{
    sync_groups_end(&groups, &flushes[i], result, &over, &ready);
}

static void test_one_sync_serves_all_that_came_before_it(void **state)
{
    (void)state;
    assert_true(sync_groups_lead(&groups, &flushes[0]));
    assert_false(sync_groups_lead(&groups, &flushes[1]));
    assert_false(sync_groups_lead(&groups, &flushes[2]));
    sync_groups_start(&groups, &flushes[0]);
    assert_null(over.first);
    end(0, 0);
    assert_over(0, 0);
    assert_over(1, 0);
    assert_over(2, 0);
}

/* The sync that is under way may have passed by what they wrote. */
static void test_who_comes_during_a_sync_waits_for_the_next(void **state)
{
    (void)state;
    assert_true(sync_groups_lead(&groups, &flushes[0]));
    sync_groups_start(&groups, &flushes[0]);
    assert_false(sync_groups_lead(&groups, &flushes[1]));
    assert_false(sync_groups_lead(&groups, &flushes[2]));
    end(0, 0);
    assert_over(0, 0);
    assert_null(over.first);
    assert_ptr_equal(io_queue_take(&ready), &flushes[1]);
    assert_false(sync_groups_lead(&groups, &flushes[3]));
    sync_groups_start(&groups, &flushes[1]);
    end(1, 0);
    assert_over(1, 0);
    assert_over(2, 0);
    assert_over(3, 0);
}

static void test_failure_is_told_to_leader_and_followers(void **state)
{
    (void)state;
    assert_true(sync_groups_lead(&groups, &flushes[0]));
    assert_false(sync_groups_lead(&groups, &flushes[1]));
    sync_groups_start(&groups, &flushes[0]);
    assert_false(sync_groups_lead(&groups, &flushes[2]));
    end(0, -EIO);
    assert_over(0, -EIO);
    assert_over(1, -EIO);
    /* what it wrote was there when the sync failed, and may be what failed */
    assert_ptr_equal(io_queue_take(&ready), &flushes[2]);
    end(2, 0);
    assert_over(2, -EIO);
}

static void test_interrupted_sync_is_made_again_for_all(void **state)
{
    (void)state;
    assert_true(sync_groups_lead(&groups, &flushes[0]));
    assert_false(sync_groups_lead(&groups, &flushes[1]));
    sync_groups_start(&groups, &flushes[0]);
    end(0, -EINTR);
    assert_null(over.first);
    assert_ptr_equal(io_queue_take(&ready), &flushes[0]);
    sync_groups_start(&groups, &flushes[0]);
    end(0, 0);
    assert_over(0, 0);
    assert_over(1, 0);
}

static void test_images_are_synced_apart(void **state)
{
    (void)state;
    flushes[1].backing = &images[1];
    transfer_begin(&flushes[1], true);
    assert_true(sync_groups_lead(&groups, &flushes[0]));
    assert_true(sync_groups_lead(&groups, &flushes[1]));
    sync_groups_start(&groups, &flushes[0]);
    sync_groups_start(&groups, &flushes[1]);
    end(1, 0);
    assert_over(1, 0);
    assert_null(over.first);
    end(0, 0);
    assert_over(0, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_one_sync_serves_all_that_came_before_it),
        TEST(test_who_comes_during_a_sync_waits_for_the_next),
        TEST(test_failure_is_told_to_leader_and_followers),
        TEST(test_interrupted_sync_is_made_again_for_all),
        TEST(test_images_are_synced_apart),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
