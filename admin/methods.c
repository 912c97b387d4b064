#include "admin/methods.h"

#include "admin/call.h"
#include "admin/handlers.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* clang-format off */
#define TEXT(name, required, help)                { name, PARAMETER_TEXT, required, help }
#define PATH(name, required, help)                { name, PARAMETER_PATH, required, help }
#define TEXTS(name, required, help)               { name, PARAMETER_TEXTS, required, help }
#define SIZE(name, required, help)                { name, PARAMETER_SIZE, required, help }
#define FLAG(name, help)                          { name, PARAMETER_FLAG, false, help }
#define NUMBER(name, required, least, most, help) { name, PARAMETER_NUMBER, required, help, least, most }
#define CHOICE(name, help, ...)                   { name, PARAMETER_CHOICE, false, help, 0, 0, { __VA_ARGS__ } }

#define TARGET(required) TEXT("target", required, "name, alias, or what the name ends in after the last ':'")
#define LUN(required)    NUMBER("lun", required, 0, LUN_MAX, "logical unit number")
#define FORCE            FLAG("force", "even while initiators use it")

enum { READS = false, CHANGES = true, REQUIRED = true, OPTIONAL = false };

const struct method method_table[] = {
    { "status", READS, handle_status, "how the daemon is, and which LUNs could not be opened",
      { { 0 } } },
    { "target.list", READS, handle_target_list, "all targets",
      { { 0 } } },
    { "target.show", READS, handle_target_show, "one target with its access rules",
      { TARGET(REQUIRED) } },
    { "target.add", CHANGES, handle_target_add, "make a target; it is kept over restarts",
      { TEXT("name", REQUIRED, "its iSCSI name, such as iqn.2026-11.lab.nestor:vmfs"),
        TEXT("alias", OPTIONAL, "a short name for people"),
        TEXTS("initiators", OPTIONAL, "who may log in: names, with * and ?; not given: anybody"),
        TEXTS("networks", OPTIONAL, "from where, such as 192.168.10.0/24; not given: anywhere"),
        TEXT("chap_user", OPTIONAL, "the name that initiators log in with"),
        PATH("chap_secret_file", OPTIONAL, "file of mode 0600 that holds their secret"),
        TEXT("chap_mutual_user", OPTIONAL, "the name that the target proves itself with"),
        PATH("chap_mutual_secret_file", OPTIONAL, "file of mode 0600 that holds its secret") } },
    { "target.remove", CHANGES, handle_target_remove, "take a target away; its images stay",
      { TARGET(REQUIRED), FORCE } },
    { "lun.list", READS, handle_lun_list, "all LUNs, or those of one target",
      { TARGET(OPTIONAL) } },
    { "lun.show", READS, handle_lun_show, "one LUN: image, identity, use",
      { TARGET(REQUIRED), LUN(REQUIRED) } },
    { "lun.add", CHANGES, handle_lun_add, "serve an image; it is kept over restarts",
      { TARGET(REQUIRED), LUN(REQUIRED),
        PATH("path", REQUIRED, "the image: a file or a block device"),
        SIZE("size", OPTIONAL, "such as 64G; makes a sparse file when there is none"),
        FLAG("readonly", "refuse writes"),
        FLAG("removable", "hosts can eject and load its medium"),
        CHOICE("cache", "when a write is answered: in the host's memory, or on its disk",
               "writeback", "writethrough"),
        TEXTS("initiators", OPTIONAL, "who may see it: names, with * and ?; not given: anybody"),
        NUMBER("block_size", OPTIONAL, 512, 4096, "logical block: 512 or 4096 bytes"),
        NUMBER("physical_block_size", OPTIONAL, 512, 4096, "physical block: 512 or 4096 bytes"),
        NUMBER("rotation", OPTIONAL, 1, 65534, "rpm; 1 does not rotate"),
        NUMBER("thin_threshold", OPTIONAL, 0, 99, "percent past which hosts are told; 0: never"),
        TEXT("product", OPTIONAL, "product identification; ESX copies only between equal ones"),
        TEXT("serial", OPTIONAL, "unit serial number, to restore one that was lost"),
        TEXT("naa", OPTIONAL, "NAA identifier in hexadecimal, to restore one that was lost"),
        FLAG("vaai", "offer ATS, WRITE SAME, UNMAP and copies; true unless said; never changes") } },
    { "lun.remove", CHANGES, handle_lun_remove, "take a LUN away; its image stays",
      { TARGET(REQUIRED), LUN(REQUIRED), FORCE } },
    { "lun.resize", CHANGES, handle_lun_resize, "grow a LUN while it is used",
      { TARGET(REQUIRED), LUN(REQUIRED), SIZE("size", REQUIRED, "the new size, such as 128G") } },
    { "session.list", READS, handle_session_list, "who is logged in",
      { TARGET(OPTIONAL) } },
    { "session.show", READS, handle_session_show, "one session",
      { NUMBER("tsih", REQUIRED, 1, UINT16_MAX, "the session's number in session.list") } },
    { "session.drop", CHANGES, handle_session_drop, "close a session; its host will log in again",
      { NUMBER("tsih", REQUIRED, 1, UINT16_MAX, "the session's number in session.list") } },
    { "initiator.list", READS, handle_initiator_list,
      "who is logged in, and who was refused lately for his name or address",
      { TARGET(OPTIONAL) } },
    { "initiator.accept", CHANGES, handle_initiator_accept,
      "let an initiator log in to a target that lists its initiators; it is kept over restarts",
      { TARGET(REQUIRED), TEXT("initiator", REQUIRED, "its iSCSI name, as initiator.list shows it") } },
    { "reservation.show", READS, handle_reservation_show, "which LUNs are reserved, and by whom",
      { TARGET(OPTIONAL) } },
    { "reservation.clear", CHANGES, handle_reservation_clear,
      "end what hosts have reserved and registered on a LUN; they are told",
      { TARGET(REQUIRED), LUN(REQUIRED), FLAG("force", "even while they are logged in") } },
    { "config.check", READS, handle_config_check, "read the config file and tell its mistakes",
      { PATH("path", OPTIONAL, "another file than the daemon's") } },
    { "config.plan", READS, handle_config_plan, "what a reload would change, and whom it would disturb",
      { { 0 } } },
    { "config.reload", CHANGES, handle_config_reload, "apply what has changed in the config file",
      { { 0 } } },
    { "stats", READS, handle_stats, "commands and bytes of each LUN since the daemon's start",
      { TARGET(OPTIONAL) } },
    { "metrics", READS, handle_metrics, "all numbers as text for Prometheus",
      { { 0 } } },
    { "help", READS, handle_help, "this table",
      { TEXT("method", OPTIONAL, "only this method") } },
};
/* clang-format on */
const unsigned method_count = sizeof method_table / sizeof method_table[0];

static const struct method *find_method(const char *name)
{
    for (unsigned i = 0; i < method_count; i++)
        if (strcmp(method_table[i].name, name) == 0)
            return &method_table[i];
    return NULL;
}

static const struct parameter *find_parameter(const struct method *method, const char *name)
{
    for (unsigned i = 0; i < METHOD_PARAMETERS_MAX && method->parameters[i].name; i++)
        if (strcmp(method->parameters[i].name, name) == 0)
            return &method->parameters[i];
    return NULL;
}

__attribute__((format(printf, 2, 3))) static bool fail(struct jsonrpc_error *error,
                                                       const char *format, ...)
{
    va_list args;

    error->code = JSONRPC_INVALID_PARAMS;
    va_start(args, format);
    vsnprintf(error->text, sizeof error->text, format, args);
    va_end(args);
    return false;
}

static bool is_text(const json_t *value)
{
    return json_is_string(value) && json_string_length(value) > 0;
}

static bool is_texts(const json_t *value)
{
    bool is_good = json_is_array(value) && json_array_size(value) <= METHOD_TEXTS_MAX;

    for (size_t i = 0; is_good && i < json_array_size(value); i++)
        is_good = is_text(json_array_get(value, i));
    return is_good;
}

static bool is_size(const json_t *value)
{
    uint64_t bytes;

    if (json_is_string(value))
        return conf_parse_size(json_string_value(value), &bytes) == 0 && bytes > 0;
    return json_is_integer(value) && json_integer_value(value) > 0;
}

static bool is_choice(const struct parameter *parameter, const json_t *value)
{
    for (unsigned i = 0; i < METHOD_CHOICES_MAX && parameter->choices[i]; i++)
        if (json_is_string(value) && strcmp(json_string_value(value), parameter->choices[i]) == 0)
            return true;
    return false;
}

static bool check_value(const struct parameter *parameter, const json_t *value,
                        struct jsonrpc_error *error)
{
    const char *name = parameter->name, *expected = NULL;
    char found[64];

    jsonrpc_describe(value, found, sizeof found);
    switch (parameter->type) {
    case PARAMETER_TEXT: expected = is_text(value) ? NULL : "a string that is not empty"; break;
    case PARAMETER_PATH:
        expected = is_text(value) && json_string_value(value)[0] == '/' ? NULL : "an absolute path";
        break;
    case PARAMETER_TEXTS:
        expected = is_texts(value) ? NULL : "an array of at most 256 strings that are not empty";
        break;
    case PARAMETER_FLAG: expected = json_is_boolean(value) ? NULL : "true or false"; break;
    case PARAMETER_SIZE:
        expected =
            is_size(value) ? NULL : "a size: bytes, or a number with K, M, G or T such as \"64G\"";
        break;
    case PARAMETER_CHOICE:
        if (!is_choice(parameter, value))
            return fail(error, "%s: found %s, expected %s%s%s", name, found, parameter->choices[0],
                        parameter->choices[1] ? " or " : "",
                        parameter->choices[1] ? parameter->choices[1] : "");
        break;
    case PARAMETER_NUMBER:
        if (!json_is_integer(value) || json_integer_value(value) < parameter->least ||
            json_integer_value(value) > parameter->most)
            return fail(error, "%s: found %s, expected a number from %lld to %lld", name, found,
                        (long long)parameter->least, (long long)parameter->most);
        break;
    }
    return expected ? fail(error, "%s: found %s, expected %s", name, found, expected) : true;
}

static bool check_parameters(const struct method *method, const json_t *params,
                             struct jsonrpc_error *error)
{
    const char *name;
    json_t *value;

    json_object_foreach((json_t *)params, name, value)
    {
        const struct parameter *parameter = find_parameter(method, name);

        if (!parameter)
            return fail(error, "%.60s: unknown parameter; \"help\" lists those of %s", name,
                        method->name);
        if (!check_value(parameter, value, error))
            return false;
    }
    for (unsigned i = 0; i < METHOD_PARAMETERS_MAX && method->parameters[i].name; i++) {
        const struct parameter *parameter = &method->parameters[i];

        if (parameter->is_required && !json_object_get(params, parameter->name))
            return fail(error, "%s: is missing; expected: %s", parameter->name, parameter->help);
    }
    return true;
}

void methods_take(const struct methods_daemon *daemon, uid_t caller, const char *text, size_t len,
                  methods_answer *answer, void *context)
{
    struct call *call = calloc(1, sizeof *call);
    struct jsonrpc_error error;
    bool is_good;

    if (!call) {
        answer(context, jsonrpc_out_of_memory, strlen(jsonrpc_out_of_memory));
        return;
    }
    *call =
        (struct call){ .daemon = daemon, .caller = caller, .answer = answer, .context = context };
    is_good = jsonrpc_parse(text, len, &call->request, &error);
    if (is_good) {
        call->method = find_method(call->request.method);
        if (!call->method) {
            error.code = JSONRPC_METHOD_NOT_FOUND;
            snprintf(error.text, sizeof error.text,
                     "no method \"%.60s\"; \"help\" lists what there is", call->request.method);
            is_good = false;
        } else {
            is_good = check_parameters(call->method, call->request.params, &error);
        }
    }
    if (is_good)
        call->method->run(call);
    else
        call_reject(call, &error);
}
