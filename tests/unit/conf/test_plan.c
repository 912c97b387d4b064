/* The plan: what separates two models, and in which order it is to be done. */
#include "config_text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TARGET(name, rest) "{ name = \"iqn.2026-11.lab:" name "\"; " rest " }"
#define LUNS(luns)         "luns = ( " luns " );"
#define LUN0               "{ lun = 0; path = \"/zero\"; size = \"2G\"; }"

struct planned {
    struct config_text *text;
    struct model from;
    struct plan plan;
};

static int setup(void **state)
{
    struct planned *planned = calloc(1, sizeof(*planned));
    void *text;

    assert_non_null(planned);
    config_text_setup(&text);
    planned->text = text;
    *state = planned;
    return 0;
}

static int teardown(void **state)
{
    struct planned *planned = *state;
    void *text = planned->text;

    plan_free(&planned->plan);
    model_free(&planned->from);
    free(planned);
    return config_text_teardown(&text);
}

static void load(struct config_text *text, const char *targets)
{
    char content[2048];

    snprintf(content, sizeof(content), "state_dir = \"~\"; targets = ( %s );", targets);
    config_text_load_this(text, content);
    assert_no_problem(text);
}

static void make(struct planned *planned, const char *from, const char *to)
{
    load(planned->text, from);
    planned->from = planned->text->model;
    planned->text->model = (struct model){ 0 };
    load(planned->text, to);
    assert_int_equal(plan_make(&planned->from, &planned->text->model, &planned->plan), 0);
}

static void assert_step(const struct planned *planned, unsigned at, enum plan_kind kind,
                        const char *target, unsigned lun)
{
    assert_true(at < planned->plan.count);
    const struct plan_step *step = &planned->plan.steps[at];
    if (step->kind != kind)
        print_error("step %u is: %s\n", at, step->what);
    assert_int_equal(step->kind, kind);
    assert_int_equal(step->lun, lun);
    if (target)
        assert_string_equal(step->target, target);
}

static void assert_only_step(const struct planned *planned, enum plan_kind kind, unsigned lun)
{
    assert_int_equal(planned->plan.count, 1);
    assert_step(planned, 0, kind, "iqn.2026-11.lab:a", lun);
}

static void test_the_same_model_needs_no_step(void **state)
{
    make(*state, TARGET("a", "alias = \"x\"; " LUNS(LUN0)),
         TARGET("a", "alias = \"x\"; " LUNS(LUN0)));
    assert_int_equal(((struct planned *)*state)->plan.count, 0);
}

static void test_a_new_lun_is_added(void **state)
{
    make(*state, TARGET("a", LUNS(LUN0)),
         TARGET("a", LUNS(LUN0 ", { lun = 3; path = \"/three\"; }")));
    assert_only_step(*state, PLAN_LUN_ADD, 3);
}

static void test_a_lun_that_is_gone_is_removed(void **state)
{
    make(*state, TARGET("a", LUNS(LUN0 ", { lun = 3; path = \"/three\"; }")),
         TARGET("a", LUNS(LUN0)));
    assert_only_step(*state, PLAN_LUN_REMOVE, 3);
}

static void test_a_larger_size_grows(void **state)
{
    make(*state, TARGET("a", LUNS(LUN0)),
         TARGET("a", LUNS("{ lun = 0; path = \"/zero\"; size = \"3G\"; }")));
    assert_only_step(*state, PLAN_LUN_GROW, 0);
}

static void test_a_smaller_size_is_refused(void **state)
{
    make(*state, TARGET("a", LUNS(LUN0)),
         TARGET("a", LUNS("{ lun = 0; path = \"/zero\"; size = \"1G\"; }")));
    assert_only_step(*state, PLAN_REFUSED, 0);
}

static void test_another_image_is_refused(void **state)
{
    make(*state, TARGET("a", LUNS(LUN0)),
         TARGET("a", LUNS("{ lun = 0; path = \"/other\"; size = \"2G\"; }")));
    assert_only_step(*state, PLAN_REFUSED, 0);
}

static void test_another_identity_is_refused(void **state)
{
    make(*state, TARGET("a", LUNS("{ lun = 0; path = \"/zero\"; vaai = true; }")),
         TARGET("a", LUNS("{ lun = 0; path = \"/zero\"; vaai = false; }")));
    assert_only_step(*state, PLAN_REFUSED, 0);
}

static void test_a_mask_changes_while_it_runs(void **state)
{
    make(
        *state, TARGET("a", LUNS(LUN0)),
        TARGET("a", LUNS("{ lun = 0; path = \"/zero\"; size = \"2G\"; initiators = [ \"x\" ]; }")));
    assert_only_step(*state, PLAN_LUN_CHANGE, 0);
}

static void test_an_empty_mask_is_not_the_same_as_none(void **state)
{
    make(*state, TARGET("a", LUNS(LUN0)),
         TARGET("a", LUNS("{ lun = 0; path = \"/zero\"; size = \"2G\"; initiators = []; }")));
    assert_only_step(*state, PLAN_LUN_CHANGE, 0);
}

static void test_a_rotation_is_told_to_the_hosts_of_the_lun(void **state)
{
    make(*state, TARGET("a", LUNS(LUN0)),
         TARGET("a", LUNS("{ lun = 0; path = \"/zero\"; size = \"2G\"; rotation = 1; }")));
    assert_only_step(*state, PLAN_LUN_INQUIRY, 0);
}

static void test_port_groups_are_told_to_the_hosts_of_the_target(void **state)
{
    make(*state, TARGET("a", LUNS(LUN0)), TARGET("a", "alua = true; " LUNS(LUN0)));
    assert_only_step(*state, PLAN_TARGET_INQUIRY, 0);
}

static void test_a_cache_mode_waits_for_a_restart(void **state)
{
    make(*state, TARGET("a", LUNS(LUN0)),
         TARGET("a",
                LUNS("{ lun = 0; path = \"/zero\"; size = \"2G\"; cache = \"writethrough\"; }")));
    assert_only_step(*state, PLAN_RESTART, 0);
}

static void test_access_changes_hold_for_new_logins(void **state)
{
    make(*state, TARGET("a", LUNS(LUN0)), TARGET("a", "initiators = [ \"x\" ]; " LUNS(LUN0)));
    assert_only_step(*state, PLAN_TARGET_CHANGE, 0);
}

static void test_another_secret_in_the_same_file_is_a_change(void **state)
{
    struct planned *planned = *state;
    static const char targets[] =
        TARGET("a", "chap = { user = \"esx\"; secret_file = \"~/secret\"; };");

    config_text_write(planned->text, "secret", 0600, "correct horse\n");
    load(planned->text, targets);
    planned->from = planned->text->model;
    planned->text->model = (struct model){ 0 };
    config_text_write(planned->text, "secret", 0600, "battery staple\n");
    load(planned->text, targets);
    assert_int_equal(plan_make(&planned->from, &planned->text->model, &planned->plan), 0);
    assert_only_step(planned, PLAN_TARGET_CHANGE, 0);
}

static void test_portals_wait_for_a_restart(void **state)
{
    struct planned *planned = *state;

    config_text_load_this(planned->text, "state_dir = \"~\"; portals = [ \"127.0.0.1:1\" ];");
    planned->from = planned->text->model;
    planned->text->model = (struct model){ 0 };
    config_text_load_this(planned->text, "state_dir = \"~\"; portals = [ \"127.0.0.1:2\" ];");
    assert_int_equal(plan_make(&planned->from, &planned->text->model, &planned->plan), 0);
    assert_int_equal(planned->plan.count, 1);
    assert_step(planned, 0, PLAN_RESTART, NULL, 0);
    assert_non_null(strstr(planned->plan.steps[0].what, "portals"));
}

static void test_an_image_moves_by_removing_first(void **state)
{
    struct planned *planned = *state;

    make(planned, TARGET("a", LUNS("{ lun = 1; path = \"/one\"; }")),
         TARGET("a", LUNS("{ lun = 0; path = \"/one\"; }")));
    assert_int_equal(planned->plan.count, 2);
    assert_step(planned, 0, PLAN_LUN_REMOVE, "iqn.2026-11.lab:a", 1);
    assert_step(planned, 1, PLAN_LUN_ADD, "iqn.2026-11.lab:a", 0);
}

static void test_targets_come_and_go_with_their_luns(void **state)
{
    struct planned *planned = *state;

    make(planned, TARGET("a", LUNS(LUN0)), TARGET("b", LUNS(LUN0)));
    assert_int_equal(planned->plan.count, 3);
    assert_step(planned, 0, PLAN_TARGET_REMOVE, "iqn.2026-11.lab:a", 0);
    assert_step(planned, 1, PLAN_TARGET_ADD, "iqn.2026-11.lab:b", 0);
    assert_step(planned, 2, PLAN_LUN_ADD, "iqn.2026-11.lab:b", 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_the_same_model_needs_no_step),
        TEST(test_a_new_lun_is_added),
        TEST(test_a_lun_that_is_gone_is_removed),
        TEST(test_a_larger_size_grows),
        TEST(test_a_smaller_size_is_refused),
        TEST(test_another_image_is_refused),
        TEST(test_another_identity_is_refused),
        TEST(test_a_mask_changes_while_it_runs),
        TEST(test_an_empty_mask_is_not_the_same_as_none),
        TEST(test_a_rotation_is_told_to_the_hosts_of_the_lun),
        TEST(test_port_groups_are_told_to_the_hosts_of_the_target),
        TEST(test_a_cache_mode_waits_for_a_restart),
        TEST(test_access_changes_hold_for_new_logins),
        TEST(test_another_secret_in_the_same_file_is_a_change),
        TEST(test_portals_wait_for_a_restart),
        TEST(test_an_image_moves_by_removing_first),
        TEST(test_targets_come_and_go_with_their_luns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
