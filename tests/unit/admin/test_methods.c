/* the table of methods, the check of parameters, and what the handlers ask of the daemon */
#include "tests/unit/admin/fake_daemon.h"

#include <errno.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

static struct fake_daemon fake;
static json_t *answer; /* the last; NULL: none, or of a notification */
static unsigned answers;

static void on_answer(void *context, const char *text, size_t len)
{
    (void)context;
    json_decref(answer);
    answer = text ? json_loadb(text, len, 0, NULL) : NULL;
    answers++;
}

static void send_text(const char *text)
{
    methods_take(&fake.daemon, 0, text, strlen(text), on_answer, NULL);
}

/* Asks with parameters in single quotes, for reading's sake. */
static void ask(const char *method, const char *params)
{
    char text[1024];

    snprintf(text, sizeof text, "{'jsonrpc':'2.0','id':1,'method':'%s','params':%s}", method,
             params);
    for (char *at = text; *at; at++)
        if (*at == '\'')
            *at = '"';
    send_text(text);
}

static int open_fake(void **state)
{
    (void)state;
    answers = 0;
    fake_daemon_open(&fake);
    return 0;
}

static int close_fake(void **state)
{
    (void)state;
    json_decref(answer);
    answer = NULL;
    fake_daemon_close(&fake);
    return 0;
}

static const json_t *result(void)
{
    const json_t *found = json_object_get(answer, "result");

    if (!found)
        fail_msg("no result: %s", json_dumps(answer, 0));
    return found;
}

static const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));

    return text ? text : "";
}

static void expect_error(int code, const char *says)
{
    const json_t *error = json_object_get(answer, "error");

    if (!error || json_integer_value(json_object_get(error, "code")) != code ||
        !strstr(text_of(error, "message"), says))
        fail_msg("expected %d with \"%s\", got %s", code, says, json_dumps(answer, 0));
}

static void expect_refused(const char *errno_name, const char *says)
{
    expect_error(1, says);
    assert_string_equal(text_of(json_object_get(json_object_get(answer, "error"), "data"), "errno"),
                        errno_name);
}

static void test_every_method_and_parameter_has_help(void **state)
{
    (void)state;
    for (unsigned i = 0; i < method_count; i++) {
        const struct method *method = &method_table[i];

        assert_non_null(method->run);
        assert_true(method->help && strlen(method->help) > 5);
        for (unsigned p = 0; p < METHOD_PARAMETERS_MAX && method->parameters[p].name; p++)
            assert_true(method->parameters[p].help && strlen(method->parameters[p].help) > 5);
    }
}

static void test_method_names_are_unique(void **state)
{
    (void)state;
    for (unsigned i = 0; i < method_count; i++)
        for (unsigned j = 0; j < i; j++)
            assert_string_not_equal(method_table[i].name, method_table[j].name);
}

static void test_help_returns_the_whole_table(void **state)
{
    const json_t *methods;

    (void)state;
    ask("help", "{}");
    methods = json_object_get(result(), "methods");
    assert_int_equal(json_array_size(methods), method_count);
    for (unsigned i = 0; i < method_count; i++)
        assert_string_equal(text_of(json_array_get(methods, i), "name"), method_table[i].name);
}

static void test_unknown_method_is_not_found(void **state)
{
    (void)state;
    ask("lun.frob", "{}");
    expect_error(-32601, "lun.frob");
}

static void test_unknown_parameter_is_refused(void **state)
{
    (void)state;
    ask("lun.remove", "{'target':'lab','lun':0,'focre':true}");
    expect_error(-32602, "focre");
    assert_string_equal(fake.asked, "");
}

static void test_missing_parameter_is_named(void **state)
{
    (void)state;
    ask("lun.remove", "{'target':'lab'}");
    expect_error(-32602, "lun: is missing");
}

static void test_wrong_types_name_parameter_found_and_expected(void **state)
{
    (void)state;
    ask("lun.show", "{'target':'lab','lun':'0'}");
    expect_error(-32602, "lun: found \"0\", expected a number from 0 to 16383");
    ask("lun.show", "{'target':'lab','lun':16384}");
    expect_error(-32602, "lun: found 16384");
    ask("lun.show", "{'target':'lab','lun':-1}");
    expect_error(-32602, "lun: found -1");
    ask("lun.show", "{'target':7,'lun':0}");
    expect_error(-32602, "target: found 7");
    ask("lun.show", "{'target':'','lun':0}");
    expect_error(-32602, "target: found \"\"");
    ask("lun.resize", "{'target':'lab','lun':0,'size':'64X'}");
    expect_error(-32602, "size: found \"64X\", expected a size");
    ask("lun.resize", "{'target':'lab','lun':0,'size':-5}");
    expect_error(-32602, "size: found -5");
    ask("lun.add", "{'target':'lab','lun':3,'path':'vmfs.img'}");
    expect_error(-32602, "path: found \"vmfs.img\", expected an absolute path");
    ask("lun.add", "{'target':'lab','lun':3,'path':'/a','cache':'fast'}");
    expect_error(-32602, "cache: found \"fast\", expected writeback or writethrough");
    ask("lun.add", "{'target':'lab','lun':3,'path':'/a','initiators':['a',3]}");
    expect_error(-32602, "initiators: found an array");
    ask("lun.add", "{'target':'lab','lun':3,'path':'/a','readonly':1}");
    expect_error(-32602, "readonly: found 1, expected true or false");
    assert_string_equal(fake.asked, "");
}

static void test_garbage_is_answered_with_a_parse_error(void **state)
{
    (void)state;
    send_text("hello");
    expect_error(-32700, "not JSON");
    assert_true(json_is_null(json_object_get(answer, "id")));
}

static void test_notification_runs_and_is_not_answered(void **state)
{
    (void)state;
    send_text("{\"jsonrpc\":\"2.0\",\"method\":\"session.drop\",\"params\":{\"tsih\":7}}");
    assert_int_equal(fake.dropped_tsih, 7);
    assert_int_equal(answers, 1);
    assert_null(answer);
}

static void test_notification_with_bad_parameters_is_not_answered(void **state)
{
    (void)state;
    send_text("{\"jsonrpc\":\"2.0\",\"method\":\"session.drop\",\"params\":{}}");
    assert_int_equal(answers, 1);
    assert_null(answer);
    assert_int_equal(fake.dropped_tsih, 0);
}

static void test_status_tells_what_is_not_served_and_why(void **state)
{
    const json_t *problem;

    (void)state;
    ask("status", "{}");
    problem = json_array_get(json_object_get(result(), "problems"), 0);
    assert_string_equal(text_of(problem, "problem"), "the image is not there");
    assert_int_equal(json_integer_value(json_object_get(problem, "lun")), 1);
    assert_int_equal(json_integer_value(json_object_get(result(), "luns")), 2);
    assert_int_equal(json_integer_value(json_object_get(result(), "targets")), 2);
    assert_string_equal(text_of(result(), "engine"), "io_uring");
}

static void test_target_is_found_by_name_alias_and_end_of_name(void **state)
{
    static const char *const says[] = { "{'target':'iqn.2026-11.lab.nestor:vmfs'}",
                                        "{'target':'lab'}", "{'target':'vmfs'}" };

    (void)state;
    for (size_t i = 0; i < sizeof says / sizeof says[0]; i++) {
        ask("target.show", says[i]);
        assert_string_equal(text_of(result(), "target"), "iqn.2026-11.lab.nestor:vmfs");
    }
}

static void test_part_of_a_target_name_is_not_enough(void **state)
{
    (void)state;
    ask("target.show", "{'target':'vm'}");
    expect_refused("ENOENT", "iqn.2026-11.lab.nestor:vmfs, iqn.2026-11.lab.nestor:iso");
}

/* The call was over, and still looked at, when the target was not found. */
static void test_unknown_target_is_refused_by_every_method(void **state)
{
    static const char *const methods[] = { "target.show", "target.remove",    "lun.list",
                                           "lun.show",    "lun.add",          "lun.remove",
                                           "lun.resize",  "session.list",     "reservation.show",
                                           "stats",       "reservation.clear" };

    (void)state;
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
        const char *params = "{'target':'none'}";

        if (strcmp(methods[i], "lun.add") == 0)
            params = "{'target':'none','lun':0,'path':'/a'}";
        else if (strcmp(methods[i], "lun.resize") == 0)
            params = "{'target':'none','lun':0,'size':'1G'}";
        else if ((strncmp(methods[i], "lun.", 4) == 0 && strcmp(methods[i], "lun.list") != 0) ||
                 strcmp(methods[i], "reservation.clear") == 0)
            params = "{'target':'none','lun':0}";
        ask(methods[i], params);
        expect_refused("ENOENT", "no target \"none\"");
        assert_string_equal(fake.asked, "");
    }
}

static void test_config_that_is_no_file_is_not_waited_for(void **state)
{
    char folder[] = "/tmp/nestor-test-XXXXXX", params[96], path[64];

    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/pipe", folder);
    assert_int_equal(mkfifo(path, 0600), 0);
    snprintf(params, sizeof params, "{'path':'%s'}", path);
    ask("config.check", params);
    expect_refused("EINVAL", "no regular file");
    ask("config.check", "{'path':'/dev/zero'}");
    expect_refused("EINVAL", "no regular file");
    ask("config.check", "{'path':'/nonexistent'}");
    expect_refused("ENOENT", "/nonexistent cannot be read");
    unlink(path);
    rmdir(folder);
}

static void test_config_check_tells_every_mistake(void **state)
{
    char path[] = "/tmp/nestor-test-XXXXXX", params[96];
    int fd = mkstemp(path);
    FILE *file = fdopen(fd, "w");

    (void)state;
    fputs("workers = \"many\";\nportalz = [];\n", file);
    fclose(file);
    snprintf(params, sizeof params, "{'path':'%s'}", path);
    ask("config.check", params);
    assert_true(json_is_false(json_object_get(result(), "ok")));
    assert_true(json_array_size(json_object_get(result(), "problems")) >= 2);
    unlink(path);
}

static void test_ambiguous_target_is_refused_with_the_choices(void **state)
{
    (void)state;
    model_find_target(&fake.model, "iqn.2026-11.lab.nestor:iso")->alias = strdup("vmfs");
    ask("lun.remove", "{'target':'vmfs','lun':0}");
    expect_refused("EINVAL", "iqn.2026-11.lab.nestor:vmfs, iqn.2026-11.lab.nestor:iso");
    assert_string_equal(fake.asked, "");
}

static void test_lun_list_of_a_target_leaves_others_out(void **state)
{
    (void)state;
    ask("lun.list", "{'target':'iso'}");
    assert_int_equal(json_array_size(json_object_get(result(), "luns")), 0);
    ask("lun.list", "{}");
    assert_int_equal(json_array_size(json_object_get(result(), "luns")), 2);
}

static void test_lun_shows_size_served_and_state(void **state)
{
    (void)state;
    ask("lun.show", "{'target':'lab','lun':0}");
    assert_int_equal(json_integer_value(json_object_get(result(), "size_bytes")), 2048 * 512);
    assert_string_equal(text_of(result(), "state"), "ok");
    ask("lun.show", "{'target':'lab','lun':1}");
    assert_string_equal(text_of(result(), "state"), "failed");
    assert_string_equal(text_of(result(), "problem"), "the image is not there");
    ask("lun.show", "{'target':'lab','lun':9}");
    expect_refused("ENOENT", "no LUN 9");
}

static void test_lun_add_hands_over_all_that_was_said(void **state)
{
    (void)state;
    ask("lun.add", "{'target':'lab','lun':5,'path':'/srv/a.img','size':'64G','readonly':true,"
                   "'removable':true,'cache':'writethrough','initiators':['iqn.a:*'],'physical_"
                   "block_size':4096,"
                   "'serial':'abc','vaai':false,'rotation':7200,'thin_threshold':0}");
    assert_int_equal(answers, 0);
    assert_string_equal(fake.asked, "lun_add");
    assert_string_equal(fake.target, "iqn.2026-11.lab.nestor:vmfs");
    assert_int_equal(fake.added.lun, 5);
    assert_string_equal(fake.added.path, "/srv/a.img");
    assert_true(fake.added.size_bytes == UINT64_C(64) << 30);
    assert_true(fake.added.is_readonly);
    assert_true(fake.added.is_removable);
    assert_true(fake.added.is_writethrough);
    assert_int_equal(fake.added.initiators.count, 1);
    assert_string_equal(fake.added.initiators.items[0], "iqn.a:*");
    assert_int_equal(fake.added.physical_block_size, 4096);
    assert_string_equal(fake.added.serial, "abc");
    assert_int_equal(fake.added.vaai, 0);
    assert_int_equal(fake.added.rotation, 7200);
    assert_int_equal(fake.added.thin_threshold, 0);
    fake_daemon_answer(&fake, 0, "done so");
    assert_string_equal(text_of(result(), "text"), "done so");
    assert_int_equal(json_integer_value(json_object_get(result(), "lun")), 5);
}

static void test_lun_add_leaves_unsaid_what_was_not_said(void **state)
{
    (void)state;
    ask("lun.add", "{'target':'lab','lun':5,'path':'/srv/a.img'}");
    assert_int_equal(fake.added.vaai, -1);
    assert_int_equal(fake.added.rotation, -1);
    assert_int_equal(fake.added.thin_threshold, -1);
    assert_int_equal(fake.added.block_size, 0);
    assert_true(fake.added.size_bytes == 0);
    assert_false(fake.added.initiators.is_set);
    assert_null(fake.added.serial);
    fake_daemon_answer(&fake, 0, "");
}

static void test_refusal_of_the_registry_carries_its_errno_and_words(void **state)
{
    (void)state;
    ask("lun.remove", "{'target':'lab','lun':0}");
    assert_false(fake.is_forced);
    fake_daemon_answer(&fake, -EBUSY, "lun 0 is in use by esx1; take it anyway with --force");
    expect_refused("EBUSY", "in use by esx1");
}

static void test_force_reaches_the_registry(void **state)
{
    (void)state;
    ask("target.remove", "{'target':'iso','force':true}");
    assert_true(fake.is_forced);
    assert_string_equal(fake.target, "iqn.2026-11.lab.nestor:iso");
    fake_daemon_answer(&fake, 0, "");
}

static void test_size_is_taken_as_text_and_as_bytes(void **state)
{
    (void)state;
    ask("lun.resize", "{'target':'lab','lun':0,'size':'2M'}");
    assert_true(fake.size_bytes == 2 << 20);
    fake_daemon_answer(&fake, 0, "");
    ask("lun.resize", "{'target':'lab','lun':0,'size':4096}");
    assert_true(fake.size_bytes == 4096);
    fake_daemon_answer(&fake, 0, "");
}

static void test_target_add_hands_over_access_rules(void **state)
{
    (void)state;
    ask("target.add",
        "{'name':'iqn.2026-11.lab.nestor:new','alias':'new','networks':['10.0.0.0/8'],"
        "'chap_user':'esx','chap_secret_file':'/etc/nestor/s'}");
    assert_string_equal(fake.target_added.alias, "new");
    assert_string_equal(fake.target_added.networks.items[0], "10.0.0.0/8");
    assert_true(fake.target_added.has_chap);
    assert_string_equal(fake.target_added.chap.user, "esx");
    assert_string_equal(fake.target_added.chap.secret_file, "/etc/nestor/s");
    fake_daemon_answer(&fake, 0, "");
    assert_string_equal(text_of(result(), "target"), "iqn.2026-11.lab.nestor:new");
}

static void test_secrets_are_never_shown(void **state)
{
    struct model_target *target = model_find_target(&fake.model, "iqn.2026-11.lab.nestor:vmfs");
    char *text;

    (void)state;
    target->has_chap = true;
    target->chap.user = strdup("esx");
    target->chap.secret = strdup("open sesame");
    target->chap.mutual_secret = strdup("open sesame too");
    ask("target.show", "{'target':'lab'}");
    text = json_dumps(answer, 0);
    assert_non_null(strstr(text, "esx"));
    assert_null(strstr(text, "sesame"));
    free(text);
}

static void test_session_text_from_the_wire_is_made_utf8(void **state)
{
    const json_t *session;

    (void)state;
    ask("session.list", "{}");
    session = json_array_get(json_object_get(result(), "sessions"), 0);
    assert_string_equal(text_of(session, "initiator_alias"), "esx?");
    assert_int_equal(json_integer_value(json_object_get(session, "tsih")), 7);
}

static void test_session_that_is_not_there_is_refused(void **state)
{
    (void)state;
    ask("session.show", "{'tsih':9}");
    expect_refused("ENOENT", "no session 9");
    ask("session.drop", "{'tsih':9}");
    expect_refused("ENOENT", "no session 9");
}

static void test_reservation_names_its_holder(void **state)
{
    const json_t *row;

    (void)state;
    fake.reserved_by = "iqn.1998-01.com.vmware:esx1,i,0x00023d000001";
    ask("reservation.show", "{'target':'lab'}");
    row = json_array_get(json_object_get(result(), "reservations"), 0);
    assert_string_equal(text_of(row, "initiator"), "iqn.1998-01.com.vmware:esx1");
    assert_string_equal(text_of(row, "port"), "iqn.1998-01.com.vmware:esx1,i,0x00023d000001");
    row = json_array_get(json_object_get(result(), "reservations"), 1); /* not served: nobody */
    assert_true(json_is_null(json_object_get(row, "initiator")));
    ask("lun.show", "{'target':'lab','lun':0}");
    assert_string_equal(text_of(result(), "state"), "reserved");
}

static void test_persistent_reservations_name_holder_type_and_registrations(void **state)
{
    const json_t *row, *registration;

    (void)state;
    fake.registered = "iqn.1998-01.com.vmware:esx1,i,0x00023d000001";
    ask("reservation.show", "{'target':'lab'}");
    row = json_array_get(json_object_get(result(), "reservations"), 0);
    assert_string_equal(text_of(row, "kind"), "persistent");
    assert_string_equal(text_of(row, "type"), "write exclusive");
    assert_string_equal(text_of(row, "initiator"), "iqn.1998-01.com.vmware:esx1");
    registration = json_array_get(json_object_get(row, "registrations"), 0);
    assert_string_equal(text_of(registration, "port"), fake.registered);
    assert_string_equal(text_of(registration, "key"), "0x0000000000000abc");
    assert_true(json_is_true(json_object_get(registration, "holder")));
    ask("lun.show", "{'target':'lab','lun':0}");
    assert_string_equal(text_of(result(), "state"), "reserved");
}

static void test_clearing_reservations_is_asked_of_the_registry(void **state)
{
    (void)state;
    ask("reservation.clear", "{'target':'lab','lun':0,'force':true}");
    assert_string_equal(fake.asked, "reservation_clear");
    assert_true(fake.is_forced);
    fake_daemon_answer(&fake, 0, "LUN 0 is reserved by nobody");
    assert_string_equal(text_of(result(), "text"), "LUN 0 is reserved by nobody");
}

static void test_stats_count_each_lun(void **state)
{
    const json_t *row;

    (void)state;
    ask("stats", "{}");
    row = json_array_get(json_object_get(result(), "luns"), 0);
    assert_int_equal(json_integer_value(json_object_get(row, "writes")), 4);
    assert_int_equal(json_integer_value(json_object_get(row, "read_bytes")), 1536);
}

static void test_target_shows_what_each_served_lun_accelerates(void **state)
{
    const json_t *luns, *supported;

    (void)state;
    ask("target.show", "{'target':'lab'}");
    luns = json_object_get(result(), "vaai");
    assert_int_equal(json_array_size(luns), 1); /* the other is not served */
    supported = json_object_get(json_array_get(luns, 0), "supported");
    assert_int_equal(json_array_size(supported), 3);
    assert_string_equal(json_string_value(json_array_get(supported, 0)), "ATS");
    assert_string_equal(json_string_value(json_array_get(supported, 1)), "Zero");
    assert_string_equal(json_string_value(json_array_get(supported, 2)), "Delete");
}

static void test_initiators_are_those_logged_in_and_those_refused(void **state)
{
    const json_t *rows, *row;

    (void)state;
    ask("initiator.list", "{}");
    rows = json_object_get(result(), "initiators");
    assert_int_equal(json_array_size(rows), 2); /* not the one of a target that is gone */
    row = json_array_get(rows, 0);
    assert_string_equal(text_of(row, "initiator"), "iqn.1998-01.com.vmware:esx1");
    assert_string_equal(text_of(row, "state"), "logged in");
    assert_true(json_is_null(json_object_get(row, "tries")));
    row = json_array_get(rows, 1);
    assert_string_equal(text_of(row, "initiator"), "iqn.1998-01.com.vmware:esx2");
    assert_string_equal(text_of(row, "state"), "refused");
    assert_string_equal(text_of(row, "reason"), "its name is not in the list");
    assert_int_equal(json_integer_value(json_object_get(row, "tries")), 9);
    ask("initiator.list", "{'target':'iso'}");
    assert_int_equal(json_array_size(json_object_get(result(), "initiators")), 0);
}

static void test_accepting_an_initiator_is_asked_of_the_registry(void **state)
{
    (void)state;
    ask("initiator.accept", "{'target':'lab','initiator':'iqn.1998-01.com.vmware:esx2'}");
    assert_string_equal(fake.asked, "initiator_accept");
    assert_string_equal(fake.target, "iqn.2026-11.lab.nestor:vmfs");
    assert_string_equal(fake.initiator, "iqn.1998-01.com.vmware:esx2");
    fake_daemon_answer(&fake, 0, "it may log in");
    assert_string_equal(text_of(result(), "text"), "it may log in");
    assert_string_equal(text_of(result(), "initiator"), "iqn.1998-01.com.vmware:esx2");
}

static void expect_metric(const char *line)
{
    const char *text = text_of(result(), "text"), *at = strstr(text, line);

    if (!at || (at > text && at[-1] != '\n') || at[strlen(line)] != '\n')
        fail_msg("expected the line \"%s\" in:\n%s", line, text);
}

static void test_metrics_have_labels_for_lun_session_and_worker(void **state)
{
    (void)state;
    ask("metrics", "{}");
    expect_metric("# TYPE nestor_lun_writes_total counter");
    expect_metric("nestor_lun_writes_total{target=\"iqn.2026-11.lab.nestor:vmfs\",lun=\"0\"} 4");
    expect_metric("# TYPE nestor_lun_size_bytes gauge");
    expect_metric(
        "nestor_lun_size_bytes{target=\"iqn.2026-11.lab.nestor:vmfs\",lun=\"0\"} 1048576");
    expect_metric("nestor_lun_free_bytes{target=\"iqn.2026-11.lab.nestor:vmfs\",lun=\"0\"} "
                  "1073741824");
    expect_metric("nestor_lun_up{target=\"iqn.2026-11.lab.nestor:vmfs\",lun=\"1\"} 0");
    expect_metric("nestor_target_sessions{target=\"iqn.2026-11.lab.nestor:iso\"} 0");
    expect_metric("nestor_session_commands_total{target=\"iqn.2026-11.lab.nestor:vmfs\","
                  "initiator=\"iqn.1998-01.com.vmware:esx1\",session=\"7\"} 0");
    expect_metric("nestor_worker_connections{worker=\"1\"} 5");
    expect_metric("nestor_buffer_limit_bytes 268435456");
}

/* "a\"b\c", and a new line that would begin another sample */
static void test_metrics_escape_what_a_label_holds(void **state)
{
    struct model_lun *lun = &fake.model.targets[0].luns[0];

    (void)state;
    free(lun->path);
    lun->path = strdup("/a\"b\\c\nd");
    ask("metrics", "{}");
    assert_non_null(strstr(text_of(result(), "text"), "path=\"/a\\\"b\\\\c\\nd\""));
}

/* Prometheus refuses a text in which a metric begins twice. */
static void test_each_metric_is_described_once_before_its_samples(void **state)
{
    char text[32 * 1024], current[128] = "", seen[16 * 1024] = "", *rest = text;
    const char *line;

    (void)state;
    ask("metrics", "{}");
    assert_true(strlen(text_of(result(), "text")) < sizeof text);
    strcpy(text, text_of(result(), "text"));
    while ((line = strsep(&rest, "\n")) && *line) {
        char name[128];

        if (strncmp(line, "# TYPE ", 7) == 0) {
            char entry[132];

            snprintf(current, sizeof current, "%.*s", (int)strcspn(line + 7, " "), line + 7);
            snprintf(entry, sizeof entry, " %s ", current);
            assert_null(strstr(seen, entry));
            strcat(seen, entry);
        } else if (line[0] != '#') {
            snprintf(name, sizeof name, "%.*s", (int)strcspn(line, "{ "), line);
            assert_string_equal(name, current);
        }
    }
    assert_true(strlen(seen) > 0);
}

static const json_t *step_of(const char *kind)
{
    const json_t *steps = json_object_get(result(), "steps");

    for (size_t i = 0; i < json_array_size(steps); i++)
        if (strcmp(text_of(json_array_get(steps, i), "kind"), kind) == 0)
            return json_array_get(steps, i);
    fail_msg("no step %s", kind);
    return NULL;
}

static void test_refused_and_restart_steps_name_their_lun_and_disturb_none(void **state)
{
    char path[] = "/tmp/nestor-plan-XXXXXX";
    int fd = mkstemp(path);
    FILE *out = fdopen(fd, "w");

    (void)state;
    assert_non_null(out);
    fprintf(out, "state_dir = \"/tmp\";\nworkers = 3;\n"
                 "targets = ( { name = \"iqn.2026-11.lab.nestor:vmfs\"; luns = (\n"
                 "{ lun = 1; path = \"/srv/other.img\"; size = \"1M\"; } ); } );\n");
    fclose(out);
    assert_non_null(model_file(&fake.model, path));
    ask("config.plan", "{}");
    unlink(path);
    assert_int_equal(json_integer_value(json_object_get(step_of("refused"), "lun")), 1);
    assert_true(json_is_integer(json_object_get(step_of("refused"), "lun")));
    assert_true(json_is_null(json_object_get(step_of("refused"), "disturbs")));
    assert_true(json_is_null(json_object_get(step_of("restart"), "lun")));
    assert_true(json_is_null(json_object_get(step_of("restart"), "disturbs")));
    assert_int_equal(json_array_size(json_object_get(step_of("lun-remove"), "disturbs")), 1);
}

static void test_config_without_a_file_is_refused(void **state)
{
    (void)state;
    ask("config.plan", "{}");
    expect_refused("ENOENT", "without a config file");
    ask("config.reload", "{}");
    expect_refused("ENOENT", "without a config file");
}

#define WITH_FAKE(test) cmocka_unit_test_setup_teardown(test, open_fake, close_fake)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_method_and_parameter_has_help),
        cmocka_unit_test(test_method_names_are_unique),
        WITH_FAKE(test_help_returns_the_whole_table),
        WITH_FAKE(test_unknown_method_is_not_found),
        WITH_FAKE(test_unknown_parameter_is_refused),
        WITH_FAKE(test_missing_parameter_is_named),
        WITH_FAKE(test_wrong_types_name_parameter_found_and_expected),
        WITH_FAKE(test_garbage_is_answered_with_a_parse_error),
        WITH_FAKE(test_notification_runs_and_is_not_answered),
        WITH_FAKE(test_notification_with_bad_parameters_is_not_answered),
        WITH_FAKE(test_status_tells_what_is_not_served_and_why),
        WITH_FAKE(test_target_is_found_by_name_alias_and_end_of_name),
        WITH_FAKE(test_part_of_a_target_name_is_not_enough),
        WITH_FAKE(test_unknown_target_is_refused_by_every_method),
        WITH_FAKE(test_config_that_is_no_file_is_not_waited_for),
        WITH_FAKE(test_config_check_tells_every_mistake),
        WITH_FAKE(test_ambiguous_target_is_refused_with_the_choices),
        WITH_FAKE(test_lun_list_of_a_target_leaves_others_out),
        WITH_FAKE(test_lun_shows_size_served_and_state),
        WITH_FAKE(test_lun_add_hands_over_all_that_was_said),
        WITH_FAKE(test_lun_add_leaves_unsaid_what_was_not_said),
        WITH_FAKE(test_refusal_of_the_registry_carries_its_errno_and_words),
        WITH_FAKE(test_force_reaches_the_registry),
        WITH_FAKE(test_size_is_taken_as_text_and_as_bytes),
        WITH_FAKE(test_target_add_hands_over_access_rules),
        WITH_FAKE(test_secrets_are_never_shown),
        WITH_FAKE(test_session_text_from_the_wire_is_made_utf8),
        WITH_FAKE(test_session_that_is_not_there_is_refused),
        WITH_FAKE(test_reservation_names_its_holder),
        WITH_FAKE(test_persistent_reservations_name_holder_type_and_registrations),
        WITH_FAKE(test_clearing_reservations_is_asked_of_the_registry),
        WITH_FAKE(test_stats_count_each_lun),
        WITH_FAKE(test_target_shows_what_each_served_lun_accelerates),
        WITH_FAKE(test_initiators_are_those_logged_in_and_those_refused),
        WITH_FAKE(test_accepting_an_initiator_is_asked_of_the_registry),
        WITH_FAKE(test_metrics_have_labels_for_lun_session_and_worker),
        WITH_FAKE(test_metrics_escape_what_a_label_holds),
        WITH_FAKE(test_each_metric_is_described_once_before_its_samples),
        WITH_FAKE(test_refused_and_restart_steps_name_their_lun_and_disturb_none),
        WITH_FAKE(test_config_without_a_file_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
