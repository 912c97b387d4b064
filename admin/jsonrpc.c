#include "admin/jsonrpc.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

__attribute__((format(printf, 3, 4))) static bool
fail(struct jsonrpc_error *error, enum jsonrpc_code code, const char *format, ...)
{
    va_list args;

    error->code = code;
    va_start(args, format);
    vsnprintf(error->text, sizeof error->text, format, args);
    va_end(args);
    return false;
}

/* jansson recurses up to 2048 levels and has no setting for less; so brackets are counted before.
 */
static bool is_too_deep(const char *text, size_t len)
{
    unsigned depth = 0;
    bool is_in_string = false;

    for (size_t i = 0; i < len; i++) {
        char c = text[i];

        if (is_in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                is_in_string = false;
        } else if (c == '"') {
            is_in_string = true;
        } else if (c == '{' || c == '[') {
            if (++depth > JSONRPC_DEPTH_MAX)
                return true;
        } else if ((c == '}' || c == ']') && depth > 0) {
            depth--;
        }
    }
    return false;
}

static bool check_id(struct jsonrpc_request *request, struct jsonrpc_error *error)
{
    json_t *id = json_object_get(request->message, "id");
    char found[64];

    if (!id || json_is_string(id) || json_is_integer(id) || json_is_null(id)) {
        request->id = id;
        return true;
    }
    return fail(error, JSONRPC_INVALID_REQUEST,
                "id: found %s, expected a string, an integer or null",
                jsonrpc_describe(id, found, sizeof found));
}

/* A misspelt "params" must not silently run the method without them. */
static bool check_members(const json_t *message, struct jsonrpc_error *error)
{
    static const char *const known[] = { "jsonrpc", "id", "method", "params" };
    const char *name;
    json_t *value;

    json_object_foreach((json_t *)message, name, value)
    {
        bool is_known = false;

        for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
            is_known = is_known || strcmp(name, known[i]) == 0;
        if (!is_known)
            return fail(error, JSONRPC_INVALID_REQUEST,
                        "unknown member \"%.60s\", expected jsonrpc, id, method, params", name);
    }
    return true;
}

static bool check_request(struct jsonrpc_request *request, struct jsonrpc_error *error)
{
    json_t *message = request->message, *value;
    char found[64];

    if (json_is_array(message))
        return fail(error, JSONRPC_INVALID_REQUEST,
                    "a batch is not taken here: send each request on a line of its own");
    if (!json_is_object(message))
        return fail(error, JSONRPC_INVALID_REQUEST,
                    "found %s, expected a JSON-RPC 2.0 request object",
                    jsonrpc_describe(message, found, sizeof found));
    if (!check_id(request, error))
        return false;
    value = json_object_get(message, "jsonrpc");
    if (!json_is_string(value) || strcmp(json_string_value(value), "2.0") != 0)
        return fail(error, JSONRPC_INVALID_REQUEST, "jsonrpc: found %s, expected \"2.0\"",
                    jsonrpc_describe(value, found, sizeof found));
    value = json_object_get(message, "method");
    if (!json_is_string(value))
        return fail(error, JSONRPC_INVALID_REQUEST,
                    "method: found %s, expected a method's name such as \"status\"",
                    jsonrpc_describe(value, found, sizeof found));
    request->method = json_string_value(value);
    if (!check_members(message, error))
        return false;
    request->params = json_object_get(message, "params");
    if (request->params && !json_is_object(request->params))
        return fail(error, JSONRPC_INVALID_PARAMS,
                    "params: found %s, expected an object with named parameters",
                    jsonrpc_describe(request->params, found, sizeof found));
    if (!request->params) {
        json_t *none = json_object();

        if (!none || json_object_set_new(message, "params", none) != 0)
            return fail(error, JSONRPC_INTERNAL_ERROR, "out of memory");
        request->params = none;
    }
    return true;
}

bool jsonrpc_parse(const char *text, size_t len, struct jsonrpc_request *request,
                   struct jsonrpc_error *error)
{
    json_error_t where;
    bool is_good;

    *request = (struct jsonrpc_request){ 0 };
    error->code = JSONRPC_NO_ERROR;
    if (is_too_deep(text, len)) {
        is_good =
            fail(error, JSONRPC_PARSE_ERROR, "nested deeper than %d levels", JSONRPC_DEPTH_MAX);
    } else {
        request->message = json_loadb(text, len, JSON_REJECT_DUPLICATES, &where);
        is_good = request->message ? check_request(request, error)
                                   : fail(error, JSONRPC_PARSE_ERROR, "not JSON, at byte %d: %s",
                                          where.position, where.text);
    }
    /* JSON-RPC 2.0 section 5: null when the id could not be found; a good notification gets no
     * answer */
    if (!is_good && !request->id && error->code != JSONRPC_INVALID_PARAMS)
        request->id = json_null();
    return is_good;
}

void jsonrpc_request_free(struct jsonrpc_request *request)
{
    json_decref(request->message);
    *request = (struct jsonrpc_request){ 0 };
}

const char jsonrpc_out_of_memory[] = "{\"jsonrpc\":\"2.0\",\"error\":{\"code\":-32603,"
                                     "\"message\":\"out of memory\"},\"id\":null}";

json_t *jsonrpc_result(json_t *id, json_t *result)
{
    return json_pack("{s:s, s:o, s:O}", "jsonrpc", "2.0", "result", result, "id", id);
}

json_t *jsonrpc_failure(json_t *id, const struct jsonrpc_error *error, json_t *data)
{
    return json_pack("{s:s, s:{s:i, s:o, s:o*}, s:O}", "jsonrpc", "2.0", "error", "code",
                     (int)error->code, "message", jsonrpc_string(error->text), "data", data, "id",
                     id);
}

/* How many bytes the UTF-8 character at `text` has; 0: it is none (RFC 3629 section 4). */
static size_t utf8_character(const unsigned char *text)
{
    size_t more;
    uint32_t code, least;

    if (text[0] < 0x80)
        return 1;
    if ((text[0] & 0xe0) == 0xc0) {
        more = 1;
        least = 0x80;
        code = text[0] & 0x1f;
    } else if ((text[0] & 0xf0) == 0xe0) {
        more = 2;
        least = 0x800;
        code = text[0] & 0x0f;
    } else if ((text[0] & 0xf8) == 0xf0) {
        more = 3;
        least = 0x10000;
        code = text[0] & 0x07;
    } else {
        return 0;
    }
    for (size_t i = 1; i <= more; i++) { /* a terminating NUL is no continuation byte */
        if ((text[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (text[i] & 0x3f);
    }
    if (code < least || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
        return 0;
    return more + 1;
}

json_t *jsonrpc_string(const char *text)
{
    json_t *string;
    char *clean;

    if (!text)
        return json_null();
    string = json_string(text);
    if (string)
        return string;
    clean = strdup(text);
    if (!clean)
        return NULL;
    for (char *at = clean; *at;) {
        size_t bytes = utf8_character((const unsigned char *)at);

        if (bytes == 0) {
            *at = '?';
            bytes = 1;
        }
        at += bytes;
    }
    string = json_string(clean);
    free(clean);
    return string;
}

const char *jsonrpc_describe(const json_t *value, char *out, size_t cap)
{
    if (!value)
        snprintf(out, cap, "nothing");
    else if (json_is_string(value))
        snprintf(out, cap, "\"%.40s\"%s", json_string_value(value),
                 json_string_length(value) > 40 ? "..." : "");
    else if (json_is_integer(value))
        snprintf(out, cap, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    else if (json_is_real(value))
        snprintf(out, cap, "%g", json_real_value(value));
    else if (json_is_boolean(value))
        snprintf(out, cap, "%s", json_is_true(value) ? "true" : "false");
    else
        snprintf(out, cap, "%s",
                 json_is_null(value)    ? "null"
                 : json_is_array(value) ? "an array"
                                        : "an object");
    return out;
}
