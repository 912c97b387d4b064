/* nestorctl's command line, and the table of verbs that it walks */
#include "admin/nestorctl_arguments.h"
#include "admin/nestorctl_help.h"
#include "admin/nestorctl_similar.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static struct invocation invocation;
static char words[512];

/* Parses a line split at blanks, from the folder /home/ann. */
static void parse(const char *line)
{
    char *argv[32] = { "nestorctl" }, *rest;
    int argc = 1;

    invocation_free(&invocation);
    snprintf(words, sizeof words, "%s", line);
    for (char *word = strtok_r(words, " ", &rest); word; word = strtok_r(NULL, " ", &rest))
        argv[argc++] = word;
    invocation_parse(argc, argv, "/home/ann", &invocation);
}

static int forget(void **state)
{
    (void)state;
    invocation_free(&invocation);
    return 0;
}

static void expect_wrong(const char *line, const char *says)
{
    parse(line);
    assert_int_equal(invocation.kind, INVOKE_WRONG);
    if (!strstr(invocation.error, says))
        fail_msg("%s: expected \"%s\" in: %s", line, says, invocation.error);
}

static const json_t *parameter(const char *name)
{
    if (invocation.kind != INVOKE_CALL)
        fail_msg("no call: %s", invocation.error);
    return json_object_get(invocation.params, name);
}

static void expect_text(const char *name, const char *text)
{
    assert_string_equal(json_string_value(parameter(name)), text);
}

static void test_every_verb_has_help_and_an_example_that_parses(void **state)
{
    (void)state;
    for (unsigned i = 0; i < verb_count; i++) {
        const struct verb *verb = &verb_table[i];

        assert_non_null(verb->help);
        assert_true(strncmp(verb->example, "nestorctl ", 10) == 0);
        parse(verb->example + 10);
        if (invocation.kind != INVOKE_CALL)
            fail_msg("%s: %s", verb->example, invocation.error);
        assert_ptr_equal(invocation.verb, verb);
    }
}

static void test_verbs_that_take_away_ask_and_know_yes(void **state)
{
    (void)state;
    for (unsigned i = 0; i < verb_count; i++) {
        const struct verb *verb = &verb_table[i];
        bool has_yes = false;

        for (unsigned o = 0; o < VERB_OPTIONS_MAX && verb->options[o].name; o++)
            has_yes = has_yes || verb->options[o].type == ARGUMENT_YES;
        assert_int_equal(has_yes, verb->question != NULL);
        if (verb->verb && (strcmp(verb->verb, "remove") == 0 || strcmp(verb->verb, "drop") == 0))
            assert_true(has_yes);
    }
}

static void test_lun_add_takes_all_its_options(void **state)
{
    (void)state;
    parse("lun add lab 2 --path /srv/a.img --size 64G --readonly --removable --cache writethrough "
          "--initiators a,b --block-size 512 --physical-block-size=4096 --product P --serial S "
          "--naa N --no-vaai");
    assert_string_equal(invocation.verb->method, "lun.add");
    expect_text("target", "lab");
    assert_int_equal(json_integer_value(parameter("lun")), 2);
    expect_text("path", "/srv/a.img");
    expect_text("size", "64G");
    assert_true(json_is_true(parameter("readonly")));
    assert_true(json_is_true(parameter("removable")));
    assert_true(json_is_false(parameter("vaai")));
    assert_int_equal(json_array_size(parameter("initiators")), 2);
    assert_int_equal(json_integer_value(parameter("block_size")), 512);
    assert_int_equal(json_integer_value(parameter("physical_block_size")), 4096);
    assert_int_equal(json_object_size(invocation.params), 14);
}

static void test_relative_path_is_made_absolute(void **state)
{
    (void)state;
    parse("lun add lab 2 --path a.img");
    expect_text("path", "/home/ann/a.img");
    parse("lun add lab 2 --path ./a.img");
    expect_text("path", "/home/ann/a.img");
    parse("lun add lab 2 --path ../a.img");
    expect_text("path", "/home/ann/../a.img");
}

static void test_relative_path_without_working_dir_is_refused(void **state)
{
    char *argv[] = { "nestorctl", "config", "check", "a.conf" };

    (void)state;
    invocation_parse(4, argv, NULL, &invocation);
    assert_int_equal(invocation.kind, INVOKE_WRONG);
}

static void test_globals_may_stand_anywhere(void **state)
{
    (void)state;
    parse("--json status --socket /tmp/s");
    assert_int_equal(invocation.kind, INVOKE_CALL);
    assert_true(invocation.is_json);
    assert_string_equal(invocation.socket_path, "/tmp/s");
    parse("--socket=/tmp/t status");
    assert_string_equal(invocation.socket_path, "/tmp/t");
}

static void test_yes_is_no_parameter(void **state)
{
    (void)state;
    parse("lun remove lab 3 --yes --force");
    assert_true(invocation.is_yes);
    assert_true(json_is_true(parameter("force")));
    assert_int_equal(json_object_size(invocation.params), 3);
}

static void test_question_names_what_is_taken_away(void **state)
{
    char question[256];

    (void)state;
    parse("lun remove lab 3");
    invocation_question(&invocation, question, sizeof question);
    assert_non_null(strstr(question, "LUN 3 of lab?"));
}

static void test_long_name_does_not_overrun_the_question(void **state)
{
    char question[40], line[400];

    (void)state;
    snprintf(line, sizeof line, "lun remove %0300d 3", 0);
    parse(line);
    invocation_question(&invocation, question, sizeof question);
    assert_int_equal(strlen(question), sizeof question - 1);
}

static void test_choices_are_checked(void **state)
{
    (void)state;
    expect_wrong("lun add lab 2 --path a --cache fast", "none of writeback|writethrough");
    expect_wrong("lun add lab 2 --path a --cache write", "none of");
    parse("lun add lab 2 --path a --cache writeback");
    expect_text("cache", "writeback");
}

static void test_what_is_nestorctls_own_is_not_sent(void **state)
{
    (void)state;
    parse("esx howto lab --esx 5+ --address 10.0.0.9");
    assert_int_equal(json_object_size(invocation.params), 1);
    assert_string_equal(json_string_value(json_object_get(invocation.own, "esx")), "5+");
    assert_string_equal(json_string_value(json_object_get(invocation.own, "address")), "10.0.0.9");
}

static void test_help_is_there_at_every_level(void **state)
{
    static const char *const lines[] = { "--help", "lun --help", "lun add --help",
                                         "-h",     "help lun",   "help lun add" };

    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        char *text;
        size_t len;
        FILE *out = open_memstream(&text, &len);

        parse(lines[i]);
        assert_int_equal(invocation.kind, INVOKE_HELP);
        help_print(out, &invocation);
        fclose(out);
        assert_non_null(strstr(text, "Usage: nestorctl"));
        assert_non_null(strstr(text, "Example:"));
        free(text);
    }
}

static void test_help_of_a_method_asks_the_daemon(void **state)
{
    (void)state;
    parse("help lun.add");
    expect_text("method", "lun.add");
}

static void test_version_is_told(void **state)
{
    (void)state;
    parse("--version");
    assert_int_equal(invocation.kind, INVOKE_VERSION);
}

static void test_typos_get_a_suggestion(void **state)
{
    (void)state;
    expect_wrong("stauts", "did you mean status?");
    expect_wrong("lnu list", "did you mean lun?");
    expect_wrong("lun lsit", "did you mean lun list?");
    expect_wrong("lun add lab 2 --pth a", "did you mean --path?");
    expect_wrong("--jsno status", "did you mean --json?");
}

static void test_what_is_far_from_all_gets_the_list_instead(void **state)
{
    (void)state;
    expect_wrong("xyzzy", "see nestorctl --help");
    expect_wrong("lun frobnicate", "lun can: list, show, add, remove, resize");
}

static void test_wrong_usage_is_told(void **state)
{
    (void)state;
    expect_wrong("", "say what to do");
    expect_wrong("lun", "list, show, add, remove, resize");
    expect_wrong("lun show lab", "LUN is missing");
    expect_wrong("lun add lab 2", "--path is missing");
    expect_wrong("lun show lab 1 2", "\"2\" is too much");
    expect_wrong("lun show lab one", "\"one\" is not a number");
    expect_wrong("lun show lab -- -1", "\"-1\" is not a number");
    expect_wrong("lun show lab 99999999999999999999", "is not a number");
    expect_wrong("lun add lab 2 --path", "--path: needs a value");
    expect_wrong("lun add lab 2 --path a --path b", "--path: was said twice");
    expect_wrong("lun add lab 2 --path a --readonly=1", "--readonly: takes no value");
    expect_wrong("lun add lab 2 --path=", "--path: is empty");
    expect_wrong("lun list --yes", "unknown option --yes");
    expect_wrong("target show \xff", "UTF-8");
}

static void test_distance_counts_edits_and_swaps(void **state)
{
    (void)state;
    assert_int_equal(similar_distance("list", "list"), 0);
    assert_int_equal(similar_distance("lsit", "list"), 1);
    assert_int_equal(similar_distance("lst", "list"), 1);
    assert_int_equal(similar_distance("", "list"), 4);
    assert_true(similar_distance("this-is-a-word-of-more-than-thirty-two", "list") > 100);
}

#define CLEAN(test) cmocka_unit_test_teardown(test, forget)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CLEAN(test_every_verb_has_help_and_an_example_that_parses),
        CLEAN(test_verbs_that_take_away_ask_and_know_yes),
        CLEAN(test_lun_add_takes_all_its_options),
        CLEAN(test_relative_path_is_made_absolute),
        CLEAN(test_relative_path_without_working_dir_is_refused),
        CLEAN(test_globals_may_stand_anywhere),
        CLEAN(test_yes_is_no_parameter),
        CLEAN(test_question_names_what_is_taken_away),
        CLEAN(test_long_name_does_not_overrun_the_question),
        CLEAN(test_choices_are_checked),
        CLEAN(test_what_is_nestorctls_own_is_not_sent),
        CLEAN(test_help_is_there_at_every_level),
        CLEAN(test_help_of_a_method_asks_the_daemon),
        CLEAN(test_version_is_told),
        CLEAN(test_typos_get_a_suggestion),
        CLEAN(test_what_is_far_from_all_gets_the_list_instead),
        CLEAN(test_wrong_usage_is_told),
        CLEAN(test_distance_counts_edits_and_swaps),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
