/*
 * nestorctl_talk: one question to the daemon and its answer, within a time.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

enum { TALK_TIMEOUT_MS = 30000, TALK_ANSWER_MAX = 64 * 1024 * 1024 };

/*
 * The answer's "result", or its "error"; `whole` owns both, and the caller `whole`.
 */
struct talk_answer {
    json_t *whole;
    const json_t *result, *error;
};

/* False with *error for a person: the daemon could not be reached, or did not answer as it should.
 */
bool talk(const char *socket_path, const char *method, const json_t *params, int timeout_ms,
          struct talk_answer *answer, char *error, size_t error_cap);
