/*
 * jsonrpc: the envelope of the admin socket: JSON-RPC 2.0 requests and answers, one message a line.
 *
 * Pure functions over jansson: no sockets, nothing of the daemon. What comes in is bounded in depth
 * before the parser sees it, and may name no member twice. Batches are refused: a client sends one
 * line a request.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

enum jsonrpc_code {
    JSONRPC_NO_ERROR = 0,
    JSONRPC_REFUSED = 1, /* understood, and the daemon says no; data.errno has the reason's name */
    JSONRPC_PARSE_ERROR = -32700,
    JSONRPC_INVALID_REQUEST = -32600,
    JSONRPC_METHOD_NOT_FOUND = -32601,
    JSONRPC_INVALID_PARAMS = -32602,
    JSONRPC_INTERNAL_ERROR = -32603,
};

enum { JSONRPC_DEPTH_MAX = 8, JSONRPC_ERROR_TEXT_MAX = 1024 };

struct jsonrpc_error {
    enum jsonrpc_code code;
    char text[JSONRPC_ERROR_TEXT_MAX];
};

struct jsonrpc_request {
    json_t *message; /* owns all below */
    json_t *id;      /* NULL: a notification, which is never answered */
    const char *method;
    json_t *params; /* an object, empty when the message has none */
};

/*
 * False with *error filled when the text is no request. request->id is then what could be found of
 * it, or JSON null, for the answer. jsonrpc_request_free() in both cases.
 */
bool jsonrpc_parse(const char *text, size_t len, struct jsonrpc_request *request,
                   struct jsonrpc_error *error);
void jsonrpc_request_free(struct jsonrpc_request *request);

/* Whole answers; `result` and `data` (may be NULL) are taken over, `id` is not. NULL: no memory. */
json_t *jsonrpc_result(json_t *id, json_t *result);
json_t *jsonrpc_failure(json_t *id, const struct jsonrpc_error *error, json_t *data);

/* The whole answer for when there is no memory to make one. */
extern const char jsonrpc_out_of_memory[];

/* A string from bytes that may be no UTF-8 (file names, text from the wire): those become '?'. NULL
 * is null. */
json_t *jsonrpc_string(const char *text);

/* What was found, for a message: `"64X"`, `17`, `true`, `an array`. Returns `out`. */
const char *jsonrpc_describe(const json_t *value, char *out, size_t cap);
