/*
 * One message of an admin client, through the envelope and the check of parameters, into the
 * handlers; the daemon is the unit tests' fake one. Whatever it says, it is answered exactly once,
 * in JSON-RPC 2.0.
 */
#include "tests/unit/admin/fake_daemon.h"

#include <assert.h>
#include <errno.h>
#include <jansson.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned answers;

static void check_answer(const json_t *answer)
{
    const json_t *result = json_object_get(answer, "result");
    const json_t *error = json_object_get(answer, "error");

    assert(strcmp(json_string_value(json_object_get(answer, "jsonrpc")), "2.0") == 0);
    assert(json_object_get(answer, "id"));
    assert(!result != !error);
    assert(!error || json_is_integer(json_object_get(error, "code")));
    assert(!error || json_string_length(json_object_get(error, "message")) > 0);
}

static void on_answer(void *context, const char *text, size_t len)
{
    json_t *answer = text ? json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL) : NULL;

    (void)context;
    answers++;
    assert(!text || answer);
    assert(!text || !memchr(text, '\n', len)); /* one message a line */
    if (answer)
        check_answer(answer);
    json_decref(answer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fake_daemon fake;

    answers = 0;
    fake_daemon_open(&fake);
    methods_take(&fake.daemon, 0, (const char *)data, size, on_answer, NULL);
    assert(answers == (fake.done ? 0 : 1));
    if (fake.done)
        fake_daemon_answer(&fake, size % 2 ? -EBUSY : 0, "in use");
    assert(answers == 1);
    fake_daemon_close(&fake);
    return 0;
}
