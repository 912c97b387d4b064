/* Checking: what values mean together, and what only the file system knows. */
#include "config_text.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char with_chap[] = "state_dir = \"~\";\n"
                                "targets = ( { name = \"iqn.2026-11.lab:a\";\n"
                                "  chap = { user = \"esx\";\n"
                                "    secret_file = \"~/one\"; mutual_user = \"lab\";\n"
                                "    mutual_secret_file = \"~/two\"; }; } );\n";

static void test_secrets_are_read_without_their_newline(void **state)
{
    struct config_text *text = *state;

    config_text_write(text, "one", 0600, "correct horse\n");
    config_text_write(text, "two", 0400, "battery staple\r\n");
    config_text_load_this(text, with_chap);
    assert_no_problem(text);
    assert_true(text->model.targets[0].has_chap);
    assert_string_equal(text->model.targets[0].chap.secret, "correct horse");
    assert_string_equal(text->model.targets[0].chap.mutual_secret, "battery staple");
}

static void test_a_secret_that_others_may_read_is_refused(void **state)
{
    struct config_text *text = *state;

    config_text_write(text, "one", 0640, "correct horse\n");
    config_text_write(text, "two", 0604, "battery staple\n");
    config_text_load_this(text, with_chap);
    assert_problem(text, "nestor.conf", 4, "chmod 600");
    assert_problem(text, "nestor.conf", 5, "chmod 600");
}

static void test_a_short_secret_is_refused(void **state)
{
    struct config_text *text = *state;

    config_text_write(text, "one", 0600, "elevenchars\n"); /* RFC 7143 9.2.1: 96 bits */
    config_text_write(text, "two", 0600, "battery staple\n");
    config_text_load_this(text, with_chap);
    assert_problem(text, "nestor.conf", 4, "too few characters; 12 to 255");
    assert_int_equal(text->problems.count, 1);
}

static void test_a_secret_of_255_bytes_is_taken_and_one_more_is_not(void **state)
{
    struct config_text *text = *state;
    char secret[257];

    memset(secret, 'x', sizeof(secret));
    secret[256] = '\0';
    config_text_write(text, "two", 0600, "%s\n", secret);
    config_text_write(text, "one", 0600, "%.255s\n", secret);
    config_text_load_this(text, with_chap);
    assert_int_equal(text->problems.count, 1);
    assert_problem(text, "nestor.conf", 5, "too many characters");
}

static void test_no_message_shows_a_secret(void **state)
{
    struct config_text *text = *state;

    config_text_write(text, "one", 0600, "short7x\n");
    config_text_write(text, "two", 0600, "two lines\nof a secret\n");
    config_text_load_this(text, with_chap);
    assert_int_equal(text->problems.count, 2);
    for (unsigned i = 0; i < text->problems.count; i++) {
        assert_null(strstr(text->problems.lines[i], "short7x"));
        assert_null(strstr(text->problems.lines[i], "lines"));
    }
}

static void test_one_secret_for_both_directions_is_refused(void **state)
{
    struct config_text *text = *state;

    config_text_write(text, "one", 0600, "correct horse\n");
    config_text_write(text, "two", 0600, "correct horse");
    config_text_load_this(text, with_chap);
    assert_problem(text, "nestor.conf", 5, "the same secret");
}

static void test_half_of_mutual_chap_is_refused(void **state)
{
    struct config_text *text = *state;

    config_text_write(text, "one", 0600, "correct horse\n");
    config_text_load_this(text, "state_dir = \"~\";\n"
                                "discovery_chap = { user = \"esx\"; secret_file = \"~/one\";\n"
                                "  mutual_user = \"lab\"; };\n");
    assert_problem(text, "nestor.conf", 2, "say both or none");
    assert_int_equal(text->problems.count, 1);
}

static const char two_luns[] = "state_dir = \"~\";\n"
                               "targets = ( { name = \"iqn.2026-11.lab:a\"; luns = (\n"
                               "  { lun = 0; path = \"~/one.img\"; } ); },\n"
                               "  { name = \"iqn.2026-11.lab:b\"; luns = (\n"
                               "  { lun = 0; path = \"~/two.img\"; } ); } );\n";

static void in_folder(const struct config_text *text, const char *name, char path[128])
{
    snprintf(path, 128, "%s/%s", text->folder, name);
}

static void test_one_image_behind_a_symbolic_link_is_found(void **state)
{
    struct config_text *text = *state;
    char one[128], two[128];

    config_text_write(text, "one.img", 0600, "data");
    in_folder(text, "one.img", one);
    in_folder(text, "two.img", two);
    assert_int_equal(symlink(one, two), 0);
    config_text_load_this(text, two_luns);
    assert_problem(text, "nestor.conf", 5,
                   "two LUNs with one image; the other is LUN 0 of "
                   "iqn.2026-11.lab:a, at");
}

static void test_one_image_behind_a_hard_link_is_found(void **state)
{
    struct config_text *text = *state;
    char one[128], two[128];

    config_text_write(text, "one.img", 0600, "data");
    in_folder(text, "one.img", one);
    in_folder(text, "two.img", two);
    assert_int_equal(link(one, two), 0);
    config_text_load_this(text, two_luns);
    assert_problem(text, "nestor.conf", 5, "two LUNs with one image");
}

static void test_two_images_are_two(void **state)
{
    struct config_text *text = *state;

    config_text_write(text, "one.img", 0600, "data");
    config_text_write(text, "two.img", 0600, "data");
    config_text_load_this(text, two_luns);
    assert_no_problem(text);
}

static void test_a_serial_number_twice_is_refused(void **state)
{
    struct config_text *text = *state;

    config_text_load_this(text,
                          "state_dir = \"~\";\n"
                          "targets = ( { name = \"iqn.2026-11.lab:a\"; luns = (\n"
                          "  { lun = 0; path = \"/x\"; serial = \"0123456789ABCDEF\"; },\n"
                          "  { lun = 1; path = \"/y\"; serial = \"0123456789abcdef\"; } ); } );\n");
    assert_problem(text, "nestor.conf", 4, "targets[0].luns[1].serial: two LUNs with one serial");
}

static void test_a_model_that_no_file_said_is_checked_too(void **state)
{
    struct config_text *text = *state;

    config_text_load_this(text, "state_dir = \"~\";\n");
    struct model_target *target = model_add_target(&text->model, "iqn.2026-11.lab:a");
    struct model_lun *lun = model_add_lun(target, 16384);
    assert_non_null(lun);
    lun->block_size = 1000;
    assert_int_equal(conf_check(&text->model, &text->problems), -EINVAL);
    assert_int_equal(text->problems.count, 3);
    assert_string_equal(text->problems.lines[0],
                        "LUN 16384 of iqn.2026-11.lab:a: lun: expected a number from 0 to 16383, "
                        "found 16384");
    assert_string_equal(text->problems.lines[1], "LUN 16384 of iqn.2026-11.lab:a: path is missing");
}

/* ---- the file system's part ---- */

static void load_one(struct config_text *text, const char *name, const char *more)
{
    char content[512];

    snprintf(content, sizeof(content),
             "state_dir = \"~\";\n"
             "targets = ( { name = \"iqn.2026-11.lab:a\"; luns = (\n"
             "  { lun = 0;\n"
             "    path = \"~/%s\"; %s } ); } );\n",
             name, more);
    config_text_load_this(text, content);
    assert_no_problem(text);
}

static void test_an_image_that_is_too_small_is_told(void **state)
{
    struct config_text *text = *state;
    char path[128];

    config_text_write(text, "x.img", 0600, "data");
    in_folder(text, "x.img", path);
    assert_int_equal(truncate(path, 1 << 20), 0);
    load_one(text, "x.img", "size = \"2M\";");
    assert_int_equal(conf_check_files(&text->model, &text->problems), -EINVAL);
    assert_problem(text, "nestor.conf", 4, "smaller than declared");
}

static void test_an_image_that_is_larger_is_taken(void **state)
{
    struct config_text *text = *state;
    char path[128];

    config_text_write(text, "x.img", 0600, "data");
    in_folder(text, "x.img", path);
    assert_int_equal(truncate(path, 3 << 20), 0);
    load_one(text, "x.img", "size = \"2M\";");
    assert_int_equal(conf_check_files(&text->model, &text->problems), 0);
}

static void test_an_image_that_will_be_made_is_no_problem(void **state)
{
    struct config_text *text = *state;

    load_one(text, "new.img", "size = \"2M\";");
    assert_int_equal(conf_check_files(&text->model, &text->problems), 0);
}

static void test_a_missing_image_without_a_size_is_told(void **state)
{
    struct config_text *text = *state;

    load_one(text, "new.img", "");
    assert_int_equal(conf_check_files(&text->model, &text->problems), -EINVAL);
    assert_problem(text, "nestor.conf", 4, "say size");
}

static void test_a_missing_read_only_image_is_told(void **state)
{
    struct config_text *text = *state;

    load_one(text, "new.img", "readonly = true; size = \"2M\";");
    assert_int_equal(conf_check_files(&text->model, &text->problems), -EINVAL);
    assert_problem(text, "nestor.conf", 4, "read-only");
}

static void test_a_missing_folder_is_named_with_what_makes_it(void **state)
{
    struct config_text *text = *state;

    load_one(text, "images/new.img", "size = \"2M\";");
    assert_int_equal(conf_check_files(&text->model, &text->problems), -EINVAL);
    assert_problem(text, "nestor.conf", 4, "make it: mkdir -p ");
}

static void test_a_folder_is_no_image(void **state)
{
    struct config_text *text = *state;
    char path[128];

    in_folder(text, "folder", path);
    assert_int_equal(mkdir(path, 0700), 0);
    load_one(text, "folder", "size = \"2M\";");
    assert_int_equal(conf_check_files(&text->model, &text->problems), -EINVAL);
    assert_problem(text, "nestor.conf", 4, "neither a plain file nor a block device");
}

static void test_a_state_dir_that_cannot_be_made_is_told(void **state)
{
    struct config_text *text = *state;

    config_text_load_this(text, "\nstate_dir = \"~/a/b\";\n");
    assert_no_problem(text);
    assert_int_equal(conf_check_files(&text->model, &text->problems), -EINVAL);
    assert_problem(text, "nestor.conf", 2, "state_dir: the folder");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, config_text_setup, config_text_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_secrets_are_read_without_their_newline),
        TEST(test_a_secret_that_others_may_read_is_refused),
        TEST(test_a_short_secret_is_refused),
        TEST(test_a_secret_of_255_bytes_is_taken_and_one_more_is_not),
        TEST(test_no_message_shows_a_secret),
        TEST(test_one_secret_for_both_directions_is_refused),
        TEST(test_half_of_mutual_chap_is_refused),
        TEST(test_one_image_behind_a_symbolic_link_is_found),
        TEST(test_one_image_behind_a_hard_link_is_found),
        TEST(test_two_images_are_two),
        TEST(test_a_serial_number_twice_is_refused),
        TEST(test_a_model_that_no_file_said_is_checked_too),
        TEST(test_an_image_that_is_too_small_is_told),
        TEST(test_an_image_that_is_larger_is_taken),
        TEST(test_an_image_that_will_be_made_is_no_problem),
        TEST(test_a_missing_image_without_a_size_is_told),
        TEST(test_a_missing_read_only_image_is_told),
        TEST(test_a_missing_folder_is_named_with_what_makes_it),
        TEST(test_a_folder_is_no_image),
        TEST(test_a_state_dir_that_cannot_be_made_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
