/* managed.conf: what nestorctl changed comes back as it was, and the person's file wins over it. */
#include "config_text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char person[] = "state_dir = \"~\";\n"
                             "targets = ( { name = \"iqn.2026-11.lab:mine\";\n"
                             "  initiators = [ \"*:esx1\" ];\n"
                             "  luns = ( { lun = 0; path = \"/mine\"; } ); } );\n";

static void keep(struct config_text *text)
{
    char error[512];
    int result = conf_write_managed(&text->model, error, sizeof(error));

    if (result < 0)
        print_error("%s\n", error);
    assert_int_equal(result, 0);
}

static struct model_lun *add_lun(struct model_target *target, unsigned number, const char *path)
{
    struct model_lun *lun = model_add_lun(target, number);

    assert_non_null(lun);
    lun->path = strdup(path);
    lun->origin = ORIGIN_MANAGED;
    return lun;
}

static struct model_target *add_target(struct config_text *text, const char *name)
{
    struct model_target *target = model_add_target(&text->model, name);

    assert_non_null(target);
    target->origin = ORIGIN_MANAGED;
    target->is_managed = true;
    return target;
}

static void test_an_added_lun_comes_back_with_all_its_keys(void **state)
{
    struct config_text *text = *state;

    config_text_load_this(text, person);
    struct model_lun *lun = add_lun(&text->model.targets[0], 7, "/srv/x.img");
    lun->size_bytes = 3ull << 40;
    lun->is_readonly = lun->is_removable = lun->is_writethrough = true;
    lun->vaai = 0;
    lun->block_size = 512;
    lun->physical_block_size = 4096;
    lun->rotation = 1;
    lun->thin_threshold = 75;
    lun->serial = strdup("0123456789abcdef");
    lun->naa = strdup("60000000000000000000000000000001");
    lun->product = strdup("LAB DISK");
    model_strings_add(&lun->initiators, "*:esx1");
    keep(text);
    config_text_load(text);
    assert_no_problem(text);
    assert_int_equal(text->model.target_count, 1);
    assert_int_equal(text->model.targets[0].lun_count, 2);
    lun = model_find_lun(&text->model.targets[0], 7);
    assert_non_null(lun);
    assert_int_equal(lun->origin, ORIGIN_MANAGED);
    assert_string_equal(lun->path, "/srv/x.img");
    assert_int_equal(lun->size_bytes, 3ull << 40);
    assert_true(lun->is_readonly && lun->is_removable && lun->is_writethrough);
    assert_int_equal(lun->vaai, 0);
    assert_int_equal(lun->physical_block_size, 4096);
    assert_int_equal(lun->rotation, 1);
    assert_int_equal(lun->thin_threshold, 75);
    assert_string_equal(lun->serial, "0123456789abcdef");
    assert_string_equal(lun->naa, "60000000000000000000000000000001");
    assert_string_equal(lun->product, "LAB DISK");
    assert_string_equal(lun->initiators.items[0], "*:esx1");
}

static void test_an_added_lun_leaves_its_target_as_the_person_said_it(void **state)
{
    struct config_text *text = *state;

    config_text_load_this(text, person);
    add_lun(&text->model.targets[0], 7, "/srv/x.img");
    keep(text);
    config_text_load(text);
    assert_no_problem(text);
    assert_int_equal(text->model.targets[0].origin, ORIGIN_PERSON);
    assert_string_equal(text->model.targets[0].initiators.items[0], "*:esx1");
    assert_int_equal(text->model.targets[0].luns[0].origin, ORIGIN_PERSON);
}

static void test_an_added_target_comes_back(void **state)
{
    struct config_text *text = *state;

    config_text_load_this(text, person);
    config_text_write(text, "secret", 0600, "correct horse\n");
    struct model_target *target = add_target(text, "iqn.2026-11.lab:added");
    target->alias = strdup("added");
    target->initiators.is_set = true; /* nobody yet */
    model_strings_add(&target->networks, "10.0.0.0/8");
    target->has_chap = true;
    target->chap.user = strdup("esx");
    assert_true(asprintf(&target->chap.secret_file, "%s/secret", text->folder) > 0);
    add_lun(target, 0, "/srv/x.img");
    add_lun(target, 1, "/srv/y.img");
    keep(text);
    config_text_load(text);
    assert_no_problem(text);
    assert_int_equal(text->model.target_count, 2);
    target = model_find_target(&text->model, "iqn.2026-11.lab:added");
    assert_non_null(target);
    assert_int_equal(target->origin, ORIGIN_MANAGED);
    assert_string_equal(target->alias, "added");
    assert_true(target->initiators.is_set);
    assert_int_equal(target->initiators.count, 0);
    assert_string_equal(target->networks.items[0], "10.0.0.0/8");
    assert_string_equal(target->chap.secret, "correct horse");
    assert_int_equal(target->lun_count, 2);
    keep(text); /* and what was loaded can be kept again */
    config_text_load(text);
    assert_no_problem(text);
    assert_non_null(model_find_target(&text->model, "iqn.2026-11.lab:added"));
}

static void test_any_text_comes_back_as_it_was(void **state)
{
    struct config_text *text = *state;
    static const char odd[] = "/srv/a \"b\"\\c\n\r\t\f\x01\x1f\x7f;{}# \xc3\xa4@include \"x\"";

    config_text_load_this(text, person);
    add_lun(&text->model.targets[0], 7, odd);
    keep(text);
    config_text_load(text);
    assert_no_problem(text);
    assert_string_equal(model_find_lun(&text->model.targets[0], 7)->path, odd);
}

static void test_nothing_added_is_a_good_file_too(void **state)
{
    struct config_text *text = *state;

    config_text_load_this(text, person);
    keep(text);
    config_text_load(text);
    assert_no_problem(text);
    assert_int_equal(text->model.target_count, 1);
}

static void test_the_file_is_private_and_nothing_else_is_left(void **state)
{
    struct config_text *text = *state;
    char path[128];
    struct stat status;

    config_text_load_this(text, person);
    keep(text);
    snprintf(path, sizeof(path), "%s/managed.conf", text->folder);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0600);
    snprintf(path, sizeof(path), "%s/managed.conf.new", text->folder);
    assert_int_equal(access(path, F_OK), -1);
}

static void test_the_left_over_of_a_killed_daemon_is_no_hindrance(void **state)
{
    struct config_text *text = *state;

    config_text_load_this(text, person);
    config_text_write(text, "managed.conf.new", 0600, "targets = (");
    keep(text);
    config_text_load(text);
    assert_no_problem(text);
}

static void test_a_folder_that_is_not_there_is_an_error_with_its_name(void **state)
{
    struct config_text *text = *state;
    char error[512];

    config_text_load_this(text, "state_dir = \"~/gone\";\n");
    assert_no_problem(text);
    assert_int_equal(conf_write_managed(&text->model, error, sizeof(error)), -ENOENT);
    assert_non_null(strstr(error, "/gone/managed.conf"));
}

static void test_the_persons_lun_wins_with_a_note(void **state)
{
    struct config_text *text = *state;

    config_text_load_this(text, person);
    config_text_write(text, "managed.conf", 0600,
                      "targets = ( { name = \"iqn.2026-11.lab:mine\";\n"
                      "  luns = ( { lun = 0; path = \"/other\"; } ); } );\n");
    config_text_load(text);
    assert_no_problem(text);
    assert_string_equal(text->model.targets[0].luns[0].path, "/mine");
    assert_int_equal(text->notes.count, 1);
    assert_non_null(strstr(text->notes.lines[0], "managed.conf:2: LUN 0 of target"));
}

static void test_a_lun_without_its_persons_target_is_refused(void **state)
{
    struct config_text *text = *state;

    /* served without the access lists it would be open to everybody */
    config_text_load_this(text, person);
    add_lun(&text->model.targets[0], 7, "/srv/x.img");
    keep(text);
    config_text_load_this(text, "state_dir = \"~\";\n");
    assert_int_equal(text->result, -EINVAL);
    assert_problem(text, "managed.conf", 4, "does not define any more");
}

static void test_the_daemons_own_settings_do_not_stand_there(void **state)
{
    struct config_text *text = *state;

    config_text_load_this(text, person);
    config_text_write(text, "managed.conf", 0600, "workers = 3;\n");
    config_text_load(text);
    assert_problem(text, "managed.conf", 1, "only targets stand in this file");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, config_text_setup, config_text_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_an_added_lun_comes_back_with_all_its_keys),
        TEST(test_an_added_lun_leaves_its_target_as_the_person_said_it),
        TEST(test_an_added_target_comes_back),
        TEST(test_any_text_comes_back_as_it_was),
        TEST(test_nothing_added_is_a_good_file_too),
        TEST(test_the_file_is_private_and_nothing_else_is_left),
        TEST(test_the_left_over_of_a_killed_daemon_is_no_hindrance),
        TEST(test_a_folder_that_is_not_there_is_an_error_with_its_name),
        TEST(test_the_persons_lun_wins_with_a_note),
        TEST(test_a_lun_without_its_persons_target_is_refused),
        TEST(test_the_daemons_own_settings_do_not_stand_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
