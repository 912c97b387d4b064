/* the envelope: JSON-RPC 2.0 sections 4 and 5 */
#include "admin/jsonrpc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static struct jsonrpc_request request;
static struct jsonrpc_error error;

static bool parse(const char *text)
{
    return jsonrpc_parse(text, strlen(text), &request, &error);
}

static int forget(void **state)
{
    (void)state;
    jsonrpc_request_free(&request);
    return 0;
}

static void expect_failure(const char *text, enum jsonrpc_code code, const char *says)
{
    assert_false(parse(text));
    assert_int_equal(error.code, code);
    if (!strstr(error.text, says))
        fail_msg("expected \"%s\" in: %s", says, error.text);
    jsonrpc_request_free(&request);
}

static void test_request_gives_method_id_and_params(void **state)
{
    (void)state;
    assert_true(parse("{\"jsonrpc\":\"2.0\",\"id\":\"a\",\"method\":\"m\",\"params\":{\"x\":1}}"));
    assert_string_equal(request.method, "m");
    assert_string_equal(json_string_value(request.id), "a");
    assert_int_equal(json_integer_value(json_object_get(request.params, "x")), 1);
}

static void test_missing_params_are_an_empty_object(void **state)
{
    (void)state;
    assert_true(parse("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"m\"}"));
    assert_true(json_is_object(request.params));
}

static void test_request_without_id_is_a_notification(void **state)
{
    (void)state;
    assert_true(parse("{\"jsonrpc\":\"2.0\",\"method\":\"m\"}"));
    assert_null(request.id);
}

static void test_null_id_is_a_request(void **state)
{
    (void)state;
    assert_true(parse("{\"jsonrpc\":\"2.0\",\"method\":\"m\",\"id\":null}"));
    assert_true(json_is_null(request.id));
}

static void test_garbage_is_a_parse_error(void **state)
{
    (void)state;
    expect_failure("GET / HTTP/1.1", JSONRPC_PARSE_ERROR, "not JSON");
    expect_failure("{", JSONRPC_PARSE_ERROR, "not JSON");
    expect_failure("\xff\xfe", JSONRPC_PARSE_ERROR, "not JSON");
    expect_failure("{\"jsonrpc\":\"2.0\"} {}", JSONRPC_PARSE_ERROR, "not JSON");
}

static void test_duplicate_members_are_a_parse_error(void **state)
{
    (void)state;
    expect_failure("{\"jsonrpc\":\"2.0\",\"id\":1,\"id\":2,\"method\":\"m\"}", JSONRPC_PARSE_ERROR,
                   "not JSON");
}

static void test_huge_number_is_a_parse_error(void **state)
{
    (void)state;
    expect_failure("{\"jsonrpc\":\"2.0\",\"id\":99999999999999999999999999,\"method\":\"m\"}",
                   JSONRPC_PARSE_ERROR, "not JSON");
}

static void test_deep_nesting_is_refused_before_parsing(void **state)
{
    char text[4096];

    (void)state;
    memset(text, '[', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    expect_failure(text, JSONRPC_PARSE_ERROR, "deeper");
}

static void test_brackets_inside_strings_do_not_nest(void **state)
{
    (void)state;
    assert_true(parse("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"[[[[[[[[[[\\\"{{{{{{{{{{\"}"));
}

static void test_batch_is_refused_clearly(void **state)
{
    (void)state;
    expect_failure("[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"m\"}]", JSONRPC_INVALID_REQUEST,
                   "batch");
}

static void test_wrong_types_are_named_with_what_was_found(void **state)
{
    (void)state;
    expect_failure("7", JSONRPC_PARSE_ERROR, "not JSON");
    expect_failure("{\"jsonrpc\":2,\"id\":1,\"method\":\"m\"}", JSONRPC_INVALID_REQUEST,
                   "jsonrpc: found 2, expected \"2.0\"");
    expect_failure("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":true}", JSONRPC_INVALID_REQUEST,
                   "method: found true");
    expect_failure("{\"jsonrpc\":\"2.0\",\"id\":[],\"method\":\"m\"}", JSONRPC_INVALID_REQUEST,
                   "id: found an array");
    expect_failure("{\"jsonrpc\":\"2.0\",\"id\":1}", JSONRPC_INVALID_REQUEST,
                   "method: found nothing");
    expect_failure("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"m\",\"params\":[1]}",
                   JSONRPC_INVALID_PARAMS, "params: found an array");
}

static void test_misspelt_member_is_refused(void **state)
{
    (void)state;
    expect_failure("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"m\",\"parms\":{}}",
                   JSONRPC_INVALID_REQUEST, "\"parms\"");
}

static void test_failed_request_keeps_its_id_for_the_answer(void **state)
{
    (void)state;
    assert_false(parse("{\"jsonrpc\":\"2.0\",\"id\":42}"));
    assert_int_equal(json_integer_value(request.id), 42);
}

static void test_unparsable_request_is_answered_with_null_id(void **state)
{
    (void)state;
    assert_false(parse("?"));
    assert_true(json_is_null(request.id));
}

static void test_answers_have_the_members_of_the_standard(void **state)
{
    struct jsonrpc_error refused = { JSONRPC_REFUSED, "no" };
    json_t *id = json_integer(5);
    json_t *result = jsonrpc_result(id, json_object());
    json_t *failure = jsonrpc_failure(id, &refused, NULL);

    (void)state;
    assert_string_equal(json_string_value(json_object_get(result, "jsonrpc")), "2.0");
    assert_int_equal(json_integer_value(json_object_get(result, "id")), 5);
    assert_non_null(json_object_get(result, "result"));
    assert_null(json_object_get(result, "error"));
    assert_int_equal(json_integer_value(json_object_get(json_object_get(failure, "error"), "code")),
                     1);
    assert_null(json_object_get(failure, "result"));
    json_decref(result);
    json_decref(failure);
    json_decref(id);
}

static void test_bytes_that_are_no_utf8_become_question_marks(void **state)
{
    json_t *string = jsonrpc_string("a\xff"
                                    "b\xc3\xa9\xed\xa0\x80\xc0\x80\xf4");

    (void)state;
    /* RFC 3629: no bare FF, no surrogates, no overlong forms, no cut character; U+00E9 stays */
    assert_string_equal(json_string_value(string), "a?b\xc3\xa9??????");
    json_decref(string);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_request_gives_method_id_and_params, forget),
        cmocka_unit_test_teardown(test_missing_params_are_an_empty_object, forget),
        cmocka_unit_test_teardown(test_request_without_id_is_a_notification, forget),
        cmocka_unit_test_teardown(test_null_id_is_a_request, forget),
        cmocka_unit_test(test_garbage_is_a_parse_error),
        cmocka_unit_test(test_duplicate_members_are_a_parse_error),
        cmocka_unit_test(test_huge_number_is_a_parse_error),
        cmocka_unit_test(test_deep_nesting_is_refused_before_parsing),
        cmocka_unit_test_teardown(test_brackets_inside_strings_do_not_nest, forget),
        cmocka_unit_test(test_batch_is_refused_clearly),
        cmocka_unit_test(test_wrong_types_are_named_with_what_was_found),
        cmocka_unit_test(test_misspelt_member_is_refused),
        cmocka_unit_test_teardown(test_failed_request_keeps_its_id_for_the_answer, forget),
        cmocka_unit_test_teardown(test_unparsable_request_is_answered_with_null_id, forget),
        cmocka_unit_test(test_answers_have_the_members_of_the_standard),
        cmocka_unit_test(test_bytes_that_are_no_utf8_become_question_marks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
