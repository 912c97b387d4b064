/* nestorctl: asks nestord, and shows what it says. */
#include "admin/nestorctl.h"

#include "admin/nestorctl_arguments.h"
#include "admin/nestorctl_help.h"
#include "admin/nestorctl_show.h"
#include "admin/nestorctl_talk.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char default_socket[] = "/run/nestor/nestord.sock";

static void complain(const char *text)
{
    fputs("nestorctl: ", stderr);
    line_print(stderr, text);
}

static const char *socket_of(const struct invocation *invocation)
{
    const char *environment = getenv("NESTOR_SOCKET");

    if (invocation->socket_path)
        return invocation->socket_path;
    return environment && environment[0] ? environment : default_socket;
}

/* One exchange. EXIT_DONE with the answer for the caller to free, or another code after
 * complaining. */
static int ask_daemon(const struct invocation *invocation, const char *method, const json_t *params,
                      struct talk_answer *answer)
{
    char error[1024];
    int code;

    if (!talk(socket_of(invocation), method, params, TALK_TIMEOUT_MS, answer, error,
              sizeof error)) {
        complain(error);
        return EXIT_UNREACHABLE;
    }
    if (!answer->error)
        return EXIT_DONE;
    complain(json_string_value(json_object_get(answer->error, "message")));
    /* JSON-RPC's "invalid params": what was typed is no size, no number in the range... */
    code = json_integer_value(json_object_get(answer->error, "code")) == -32602 ? EXIT_USAGE
                                                                                : EXIT_REFUSED;
    json_decref(answer->whole);
    return code;
}

/* The result of a verb that needs no daemon, in place of ask_daemon(). */
static int ask_here(const struct invocation *invocation, struct talk_answer *answer)
{
    *answer = (struct talk_answer){ .whole = invocation->verb->local() };
    answer->result = answer->whole;
    if (answer->whole)
        return EXIT_DONE;
    complain("out of memory");
    return EXIT_REFUSED;
}

/* Takes nothing away without a yes: from the terminal, or --yes. */
static int ask_person(const struct invocation *invocation)
{
    char question[512], line[16];

    if (invocation->is_yes)
        return EXIT_DONE;
    invocation_question(invocation, question, sizeof question);
    if (!isatty(STDIN_FILENO) || !isatty(STDERR_FILENO)) {
        fprintf(stderr, "nestorctl: %s Nobody can be asked here: say --yes\n", question);
        return EXIT_USAGE;
    }
    fprintf(stderr, "%s [y/N] ", question);
    if (fgets(line, sizeof line, stdin) && (line[0] == 'y' || line[0] == 'Y'))
        return EXIT_DONE;
    fprintf(stderr, "nothing was done\n");
    return EXIT_REFUSED;
}

/* The plan is shown before it is applied; a person is asked when it takes something away. */
static int ask_with_plan(const struct invocation *invocation)
{
    struct talk_answer plan;
    json_t *none = json_object();
    int code = ask_daemon(invocation, invocation->verb->plan_method, none, &plan);

    json_decref(none);
    if (code != EXIT_DONE)
        return code;
    if (!invocation->is_json)
        show_plan(stdout, plan.result, NULL);
    fflush(stdout);
    if (plan_takes_away(plan.result))
        code = ask_person(invocation);
    json_decref(plan.whole);
    return code;
}

static void show(const struct invocation *invocation, const json_t *result)
{
    const struct verb *verb = invocation->verb;
    const json_t *rows = verb->rows ? json_object_get(result, verb->rows) : NULL;

    if (invocation->is_json) {
        json_dumpf(result, stdout, JSON_INDENT(2));
        fputc('\n', stdout);
        return;
    }
    switch (verb->layout) {
    case LAYOUT_TEXT: line_print(stdout, json_string_value(json_object_get(result, "text"))); break;
    case LAYOUT_TABLE:
        if (json_array_size(rows) > 0)
            table_print(stdout, verb->columns, rows);
        else
            fprintf(stdout, "%s\n", verb->when_empty);
        break;
    case LAYOUT_FIELDS: fields_print(stdout, verb->columns, result); break;
    case LAYOUT_OWN: verb->show(stdout, result, invocation->own); break;
    }
}

static int call(const struct invocation *invocation)
{
    struct talk_answer answer;
    int code = EXIT_DONE;

    if (invocation->verb->plan_method)
        code = ask_with_plan(invocation);
    else if (invocation->verb->question)
        code = ask_person(invocation);
    if (code == EXIT_DONE && invocation->verb->local)
        code = ask_here(invocation, &answer);
    else if (code == EXIT_DONE)
        code = ask_daemon(invocation, invocation->verb->method, invocation->params, &answer);
    if (code != EXIT_DONE)
        return code;
    show(invocation, answer.result);
    if (json_is_false(json_object_get(answer.result, "ok")))
        code = EXIT_REFUSED; /* config check has found mistakes */
    json_decref(answer.whole);
    if (fflush(stdout) != 0) {
        complain("cannot write the answer");
        return EXIT_REFUSED;
    }
    return code;
}

int main(int argc, char **argv)
{
    char working_dir[PATH_MAX];
    struct invocation invocation;
    int code = EXIT_DONE;

    invocation_parse(argc, argv, getcwd(working_dir, sizeof working_dir), &invocation);
    switch (invocation.kind) {
    case INVOKE_CALL: code = call(&invocation); break;
    case INVOKE_HELP: help_print(stdout, &invocation); break;
    case INVOKE_VERSION: printf("nestorctl %s\n", NESTOR_VERSION); break;
    case INVOKE_WRONG:
        complain(invocation.error);
        code = EXIT_USAGE;
        break;
    }
    invocation_free(&invocation);
    return code;
}
