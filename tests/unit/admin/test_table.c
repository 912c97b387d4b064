/* how nestorctl shows values, tables and plans */
#include "admin/nestorctl_esx.h"
#include "admin/nestorctl_show.h"
#include "admin/nestorctl_table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static void expect_size(uint64_t bytes, const char *text)
{
    char out[32];

    assert_string_equal(size_text(bytes, out, sizeof out), text);
}

static void test_sizes_are_in_binary_units(void **state)
{
    (void)state;
    expect_size(0, "0 B");
    expect_size(512, "512 B");
    expect_size(1024, "1 KiB");
    expect_size(1536, "1.5 KiB");
    expect_size(UINT64_C(64) << 30, "64 GiB");
    expect_size((UINT64_C(64) << 30) + 512, "64.0 GiB"); /* not quite */
    expect_size((UINT64_C(1) << 20) - 1, "1.0 MiB");     /* never "1024.0 KiB" */
    expect_size(UINT64_MAX, "16.0 EiB");
}

static char *print_table(const struct column *columns, const char *rows_text)
{
    json_t *rows = json_loads(rows_text, 0, NULL);
    char *text;
    size_t len;
    FILE *out = open_memstream(&text, &len);

    table_print(out, columns, rows);
    fclose(out);
    json_decref(rows);
    return text;
}

static const struct column columns[] = {
    {"NAME",  "name",      CELL_TEXT},
    { "SIZE", "use.bytes", CELL_SIZE},
    { "PATH", "path",      CELL_TEXT},
    { NULL,   NULL,        CELL_TEXT},
};

static void test_table_is_aligned_without_blanks_at_the_end(void **state)
{
    char *text =
        print_table(columns, "[{\"name\":\"a\",\"use\":{\"bytes\":1024},\"path\":\"/x\"},"
                             "{\"name\":\"longer\",\"use\":{\"bytes\":512},\"path\":\"/\"}]");

    (void)state;
    assert_string_equal(text, "NAME     SIZE  PATH\n"
                              "a       1 KiB  /x\n"
                              "longer  512 B  /\n");
    free(text);
}

static void test_width_counts_characters_not_bytes(void **state)
{
    char *text = print_table(columns, "[{\"name\":\"\\u00e9\\u00e9\\u00e9\\u00e9\\u00e9\"},"
                                      "{\"name\":\"abcde\"}]");

    (void)state;
    assert_string_equal(text, "NAME   SIZE  PATH\n"
                              "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9     -  -\n"
                              "abcde     -  -\n");
    free(text);
}

static void test_control_characters_cannot_reach_the_terminal(void **state)
{
    json_t *value = json_string("a\x1b[2J\x7f\xc2\x9b"
                                "1m\xc3\xa9");
    char out[64];

    (void)state;
    assert_string_equal(cell_text(value, CELL_TEXT, out, sizeof out), "a?[2J???1m\xc3\xa9");
    json_decref(value);
}

static void expect_cell(const char *json, enum cell cell, const char *text)
{
    json_t *value = json_loads(json, JSON_DECODE_ANY, NULL);
    char out[64];

    assert_string_equal(cell_text(value, cell, out, sizeof out), text);
    json_decref(value);
}

static void test_values_read_as_people_say_them(void **state)
{
    (void)state;
    expect_cell("null", CELL_TEXT, "-");
    expect_cell("null", CELL_ANYBODY, "anybody");
    expect_cell("[]", CELL_ANYBODY, "nobody");
    expect_cell("[\"a\",\"b\"]", CELL_LIST, "a, b");
    expect_cell("[]", CELL_LIST, "nobody");
    expect_cell("[]", CELL_NOTHING, "nothing");
    expect_cell("true", CELL_YES, "yes");
    expect_cell("59", CELL_DURATION, "59 s");
    expect_cell("3661", CELL_DURATION, "1 h 1 min");
    expect_cell("183600", CELL_DURATION, "2 d 3 h");
    expect_cell("{}", CELL_TEXT, "?");
}

static void test_long_list_is_cut_not_overrun(void **state)
{
    json_t *list = json_array();
    char out[16];

    (void)state;
    for (unsigned i = 0; i < 10; i++)
        json_array_append_new(list, json_string("abcdef"));
    cell_text(list, CELL_LIST, out, sizeof out);
    assert_int_equal(strlen(out), sizeof out - 1);
    json_decref(list);
}

static void test_only_removals_take_storage_away(void **state)
{
    json_t *plan =
        json_loads("{\"steps\":[{\"kind\":\"lun-add\"},{\"kind\":\"lun-grow\"}]}", 0, NULL);

    (void)state;
    assert_false(plan_takes_away(plan));
    json_array_append_new(json_object_get(plan, "steps"), json_pack("{s:s}", "kind", "lun-remove"));
    assert_true(plan_takes_away(plan));
    json_decref(plan);
}

static char *print_howto(const char *target, const char *own_text)
{
    json_t *result = json_loads(target, 0, NULL), *own = json_loads(own_text, 0, NULL);
    char *text;
    size_t len;
    FILE *out = open_memstream(&text, &len);

    show_esx_howto(out, result, own);
    fclose(out);
    json_decref(result);
    json_decref(own);
    return text;
}

static void test_howto_fills_in_address_port_and_name(void **state)
{
    char *text = print_howto("{\"target\":\"iqn.a:b\",\"portals\":[\"192.168.10.2:3261\"],"
                             "\"chap\":null}",
                             "{\"esx\":\"5+\"}");

    (void)state;
    assert_non_null(strstr(text, "sendtarget add -A vmhba64 -a 192.168.10.2:3261 "));
    assert_non_null(strstr(text, "iqn.a:b"));
    assert_null(strstr(text, "chap"));
    assert_null(strstr(text, "vmkiscsi-tool"));
    free(text);
}

static void test_howto_takes_the_address_that_was_said(void **state)
{
    char *text = print_howto("{\"target\":\"iqn.a:b\",\"portals\":[\"0.0.0.0:3260\"],"
                             "\"chap\":{\"user\":\"esx\"}}",
                             "{\"address\":\"10.0.0.9\"}");

    (void)state;
    assert_non_null(strstr(text, "-a 10.0.0.9:3260 "));
    assert_non_null(strstr(text, "vmkiscsi-tool -D -a 10.0.0.9 vmhba40 "));
    assert_non_null(strstr(text, "--authname=esx "));
    assert_null(strstr(text, "0.0.0.0"));
    free(text);
}

static void test_howto_tells_only_what_the_luns_support(void **state)
{
    char *text = print_howto("{\"target\":\"iqn.a:b\",\"portals\":[\"10.0.0.9:3260\"],\"vaai\":["
                             "{\"lun\":0,\"supported\":[\"ATS\",\"Zero\"]},"
                             "{\"lun\":4,\"supported\":[\"ATS\",\"Zero\"]}]}",
                             "{\"esx\":\"5+\"}");

    (void)state;
    assert_non_null(strstr(text, "vaai status get    # ATS, Zero: supported\n"));
    free(text);
    text = print_howto("{\"target\":\"iqn.a:b\",\"portals\":[\"10.0.0.9:3260\"],\"vaai\":["
                       "{\"lun\":0,\"supported\":[\"ATS\"]},{\"lun\":4,\"supported\":[]}]}",
                       "{\"esx\":\"5+\"}");
    assert_non_null(strstr(text, "vaai status get    # LUN 0: ATS; LUN 4: nothing\n"));
    free(text);
    text = print_howto("{\"target\":\"iqn.a:b\",\"portals\":[\"10.0.0.9:3260\"],\"vaai\":[]}",
                       "{\"esx\":\"5+\"}");
    assert_non_null(strstr(text, "vaai status get    # no LUN is served yet\n"));
    free(text);
}

static void test_howto_warns_generations_that_cannot_be_told_a_port(void **state)
{
    static const char *const generations[] = { "{\"esx\":\"3\"}", "{\"esx\":\"4\"}" };

    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        char *text =
            print_howto("{\"target\":\"iqn.a:b\",\"portals\":[\"10.0.0.9:3261\"]}", generations[i]);
        assert_non_null(
            strstr(text, "# the lines below ask at port 3260, and nestord listens on 3261"));
        free(text);
        text =
            print_howto("{\"target\":\"iqn.a:b\",\"portals\":[\"10.0.0.9:3260\"]}", generations[i]);
        assert_null(strstr(text, "listens on"));
        free(text);
    }
}

static void test_howto_takes_the_portal_that_every_generation_can_ask(void **state)
{
    char *text = print_howto("{\"target\":\"iqn.a:b\","
                             "\"portals\":[\"10.0.0.8:3261\",\"10.0.0.9:3260\"]}",
                             "{}");

    (void)state;
    assert_non_null(strstr(text, "-a 10.0.0.9:3260 "));
    assert_non_null(strstr(text, "vmkiscsi-tool -D -a 10.0.0.9 "));
    assert_null(strstr(text, "listens on"));
    free(text);
}

static void test_metrics_are_printed_line_by_line_and_clean(void **state)
{
    json_t *result = json_pack("{s:s}", "text", "# TYPE a gauge\na{b=\"\x1b[2J\"} 1\n");
    char *text;
    size_t len;
    FILE *out = open_memstream(&text, &len);

    (void)state;
    show_metrics(out, result, NULL);
    fclose(out);
    assert_string_equal(text, "# TYPE a gauge\na{b=\"?[2J\"} 1\n");
    free(text);
    json_decref(result);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes_are_in_binary_units),
        cmocka_unit_test(test_table_is_aligned_without_blanks_at_the_end),
        cmocka_unit_test(test_width_counts_characters_not_bytes),
        cmocka_unit_test(test_control_characters_cannot_reach_the_terminal),
        cmocka_unit_test(test_values_read_as_people_say_them),
        cmocka_unit_test(test_long_list_is_cut_not_overrun),
        cmocka_unit_test(test_only_removals_take_storage_away),
        cmocka_unit_test(test_howto_fills_in_address_port_and_name),
        cmocka_unit_test(test_howto_takes_the_address_that_was_said),
        cmocka_unit_test(test_howto_tells_only_what_the_luns_support),
        cmocka_unit_test(test_howto_warns_generations_that_cannot_be_told_a_port),
        cmocka_unit_test(test_howto_takes_the_portal_that_every_generation_can_ask),
        cmocka_unit_test(test_metrics_are_printed_line_by_line_and_clean),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
