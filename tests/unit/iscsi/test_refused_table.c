/* refused_table: the last that were refused, each once, and never more than the bound. */
#include "target/iscsi/refused_table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define TARGET "iqn.2026-11.lab:a"
#define OTHER  "iqn.2026-11.lab:b"

static struct refused_view views[REFUSED_TABLE_MAX];

static void note(const char *initiator, const char *target)
{
    refused_table_note(initiator, target, "192.0.2.1:1000", "why not");
}

static int forget_all(void **state)
{
    unsigned count = refused_table_list(views);

    (void)state;
    for (unsigned i = 0; i < count; i++)
        refused_table_forget(views[i].initiator_name, views[i].target_name);
    return 0;
}

static void test_the_last_refused_comes_first(void **state)
{
    (void)state;
    note("iqn.a:1", TARGET);
    note("iqn.a:2", TARGET);
    assert_int_equal(refused_table_list(views), 2);
    assert_string_equal(views[0].initiator_name, "iqn.a:2");
    assert_string_equal(views[1].initiator_name, "iqn.a:1");
    assert_string_equal(views[0].why, "why not");
    assert_string_equal(views[0].address, "192.0.2.1:1000");
}

static void test_one_that_comes_again_is_counted_not_repeated(void **state)
{
    (void)state;
    note("iqn.a:1", TARGET);
    note("iqn.a:2", TARGET);
    refused_table_note("IQN.A:1", TARGET, "192.0.2.2:1", "another reason");
    assert_int_equal(refused_table_list(views), 2);
    assert_int_equal(views[0].tries, 2);
    assert_string_equal(views[0].address, "192.0.2.2:1");
    assert_string_equal(views[0].why, "another reason");
    assert_int_equal(views[1].tries, 1);
}

static void test_past_the_bound_the_oldest_goes(void **state)
{
    char name[32];

    (void)state;
    for (unsigned i = 0; i <= REFUSED_TABLE_MAX; i++) {
        snprintf(name, sizeof name, "iqn.a:%u", i);
        note(name, TARGET);
    }
    assert_int_equal(refused_table_list(views), REFUSED_TABLE_MAX);
    snprintf(name, sizeof name, "iqn.a:%u", REFUSED_TABLE_MAX);
    assert_string_equal(views[0].initiator_name, name);
    assert_string_equal(views[REFUSED_TABLE_MAX - 1].initiator_name, "iqn.a:1");
}

static void test_what_is_forgotten_is_gone_from_that_target_only(void **state)
{
    (void)state;
    note("iqn.a:1", TARGET);
    note("iqn.a:1", OTHER);
    note("iqn.a:2", TARGET);
    refused_table_forget("iqn.a:1", TARGET);
    refused_table_forget("iqn.a:never", TARGET);
    assert_int_equal(refused_table_list(views), 2);
    assert_string_equal(views[0].initiator_name, "iqn.a:2");
    assert_string_equal(views[1].target_name, OTHER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_the_last_refused_comes_first, forget_all),
        cmocka_unit_test_teardown(test_one_that_comes_again_is_counted_not_repeated, forget_all),
        cmocka_unit_test_teardown(test_past_the_bound_the_oldest_goes, forget_all),
        cmocka_unit_test_teardown(test_what_is_forgotten_is_gone_from_that_target_only, forget_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
