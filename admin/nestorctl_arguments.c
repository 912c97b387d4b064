#include "admin/nestorctl_arguments.h"

#include "admin/nestorctl_similar.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct parser {
    int argc, next;
    char **argv;
    const char *working_dir;
    bool is_only_positional; /* after "--" */
    unsigned positionals;    /* taken by the verb so far */
    struct invocation *out;
};

__attribute__((format(printf, 2, 3))) static bool wrong(struct parser *parser, const char *format,
                                                        ...)
{
    va_list args;

    parser->out->kind = INVOKE_WRONG;
    va_start(args, format);
    vsnprintf(parser->out->error, sizeof parser->out->error, format, args);
    va_end(args);
    return false;
}

/* "lun add", or "status" */
static const char *verb_name(const struct verb *verb, char *out, size_t cap)
{
    snprintf(out, cap, "%s%s%s", verb->noun, verb->verb ? " " : "", verb->verb ? verb->verb : "");
    return out;
}

/* NULL: relative, and the working directory is not known (it has been removed). */
static json_t *absolute_path(const char *working_dir, const char *path)
{
    while (path[0] == '.' && path[1] == '/')
        for (path += 2; *path == '/';)
            path++;
    if (path[0] == '/')
        return json_string(path);
    if (!working_dir)
        return NULL;
    return json_sprintf("%s/%s", strcmp(working_dir, "/") == 0 ? "" : working_dir, path);
}

static json_t *split_list(const char *text)
{
    json_t *array = json_array();

    while (*text) {
        size_t len = strcspn(text, ",");

        if (len > 0 && json_array_append_new(array, json_stringn(text, len)) != 0) {
            json_decref(array);
            return NULL;
        }
        text += len + (text[len] == ',');
    }
    return array;
}

static bool parse_number(const char *text, json_t **value)
{
    unsigned long number;
    char *end;

    if (text[0] < '0' || text[0] > '9')
        return false;
    errno = 0;
    number = strtoul(text, &end, 10);
    if (*end || errno || number > INT_MAX)
        return false;
    *value = json_integer((json_int_t)number);
    return true;
}

/* Is `text` one of "a|b|c"? */
static bool is_choice(const char *choices, const char *text)
{
    size_t len = strlen(text);

    while (*choices) {
        size_t own = strcspn(choices, "|");

        if (own == len && strncmp(choices, text, len) == 0)
            return true;
        choices += own + (choices[own] == '|');
    }
    return false;
}

static bool set_parameter(struct parser *parser, const struct argument *argument, const char *text)
{
    json_t *into = argument->type == ARGUMENT_OWN ? parser->out->own : parser->out->params;
    json_t *value = NULL;

    if (text && argument->value && strchr(argument->value, '|') &&
        !is_choice(argument->value, text))
        return wrong(parser, "%s: \"%.100s\" is none of %s", argument->name, text, argument->value);
    switch (argument->type) {
    case ARGUMENT_YES: parser->out->is_yes = true; return true;
    case ARGUMENT_TRUE: value = json_true(); break;
    case ARGUMENT_FALSE: value = json_false(); break;
    case ARGUMENT_OWN:
    case ARGUMENT_TEXT: value = json_string(text); break;
    case ARGUMENT_PATH: value = absolute_path(parser->working_dir, text); break;
    case ARGUMENT_LIST: value = split_list(text); break;
    case ARGUMENT_NUMBER:
        if (!parse_number(text, &value))
            return wrong(parser, "%s: \"%.100s\" is not a number", argument->name, text);
        break;
    }
    if (!value)
        return wrong(parser, "%s: is not valid UTF-8, or relative to a folder that is gone",
                     argument->name);
    if (text && !text[0]) {
        json_decref(value);
        return wrong(parser, "%s: is empty", argument->name);
    }
    if (json_object_get(into, argument->parameter)) {
        json_decref(value);
        return wrong(parser, "%s: was said twice", argument->name);
    }
    if (json_object_set_new(into, argument->parameter, value) != 0)
        return wrong(parser, "out of memory");
    return true;
}

/* What follows an option: "--name=value", or the next word. */
static bool take_value(struct parser *parser, const char *name, const char *attached,
                       const char **value)
{
    *value = attached;
    if (!attached && parser->next < parser->argc)
        *value = parser->argv[parser->next++];
    if (!*value)
        return wrong(parser, "%s: needs a value", name);
    return true;
}

static bool is_option_named(const char *option, size_t len, const char *name)
{
    return strlen(name) == len && strncmp(option, name, len) == 0;
}

/* nestorctl's own, which every verb takes. False: it is none of these; see the parser's kind for
 * errors. */
static bool take_global(struct parser *parser, const char *option, size_t len, const char *attached)
{
    struct invocation *out = parser->out;

    if (is_option_named(option, len, "--socket"))
        return take_value(parser, "--socket", attached, &out->socket_path);
    if (attached)
        return false;
    if (is_option_named(option, len, "--json"))
        out->is_json = true;
    else if (is_option_named(option, len, "--help") || is_option_named(option, len, "-h"))
        out->kind = INVOKE_HELP;
    else if (is_option_named(option, len, "--version") || is_option_named(option, len, "-V"))
        out->kind = INVOKE_VERSION;
    else
        return false;
    return true;
}

static bool refuse_option(struct parser *parser, const char *option, size_t len)
{
    const struct verb *verb = parser->out->verb;
    struct similar similar;
    char name[64], of[64];

    snprintf(name, sizeof name, "%.*s", (int)len, option);
    similar_open(&similar, name);
    similar_offer(&similar, "--socket");
    similar_offer(&similar, "--json");
    similar_offer(&similar, "--help");
    similar_offer(&similar, "--version");
    for (unsigned i = 0; verb && i < VERB_OPTIONS_MAX && verb->options[i].name; i++)
        similar_offer(&similar, verb->options[i].name);
    if (similar.best)
        return wrong(parser, "unknown option %s: did you mean %s?", name, similar.best);
    if (!verb)
        return wrong(parser, "unknown option %s; see nestorctl --help", name);
    verb_name(verb, of, sizeof of);
    return wrong(parser, "unknown option %s; see nestorctl %s --help", name, of);
}

static bool take_option(struct parser *parser, const char *option)
{
    size_t len = strcspn(option, "=");
    const char *attached = option[len] == '=' ? option + len + 1 : NULL, *value = NULL;
    const struct verb *verb = parser->out->verb;

    if (take_global(parser, option, len, attached))
        return true;
    if (parser->out->kind == INVOKE_WRONG)
        return false;
    for (unsigned i = 0; verb && i < VERB_OPTIONS_MAX && verb->options[i].name; i++) {
        const struct argument *argument = &verb->options[i];

        if (!is_option_named(option, len, argument->name))
            continue;
        if (!argument->value && attached)
            return wrong(parser, "%s: takes no value", argument->name);
        if (argument->value && !take_value(parser, argument->name, attached, &value))
            return false;
        return set_parameter(parser, argument, value);
    }
    return refuse_option(parser, option, len);
}

static bool take_noun(struct parser *parser, const char *word)
{
    struct similar similar;

    similar_open(&similar, word);
    for (unsigned i = 0; i < verb_count; i++) {
        if (strcmp(verb_table[i].noun, word) == 0) {
            parser->out->noun = verb_table[i].noun;
            if (!verb_table[i].verb)
                parser->out->verb = &verb_table[i];
            return true;
        }
        similar_offer(&similar, verb_table[i].noun);
    }
    if (similar.best)
        return wrong(parser, "unknown command \"%.60s\": did you mean %s?", word, similar.best);
    return wrong(parser, "unknown command \"%.60s\"; see nestorctl --help", word);
}

/* "list, show, add": what may follow this noun. */
static const char *list_verbs(const char *noun, char *out, size_t cap)
{
    size_t len = 0;

    out[0] = '\0';
    for (unsigned i = 0; i < verb_count && len < cap; i++)
        if (strcmp(verb_table[i].noun, noun) == 0)
            len +=
                (size_t)snprintf(out + len, cap - len, "%s%s", len ? ", " : "", verb_table[i].verb);
    return out;
}

static bool take_verb(struct parser *parser, const char *word)
{
    const char *noun = parser->out->noun;
    struct similar similar;
    char verbs[128];

    similar_open(&similar, word);
    for (unsigned i = 0; i < verb_count; i++) {
        if (strcmp(verb_table[i].noun, noun) != 0)
            continue;
        if (strcmp(verb_table[i].verb, word) == 0) {
            parser->out->verb = &verb_table[i];
            return true;
        }
        similar_offer(&similar, verb_table[i].verb);
    }
    if (similar.best)
        return wrong(parser, "unknown command \"%s %.60s\": did you mean %s %s?", noun, word, noun,
                     similar.best);
    return wrong(parser, "unknown command \"%s %.60s\"; %s can: %s", noun, word, noun,
                 list_verbs(noun, verbs, sizeof verbs));
}

static bool is_noun(const char *word)
{
    for (unsigned i = 0; i < verb_count; i++)
        if (strcmp(verb_table[i].noun, word) == 0)
            return true;
    return false;
}

static bool take_positional(struct parser *parser, const char *word)
{
    struct invocation *out = parser->out;
    const struct argument *argument;
    char name[64];

    if (!out->noun)
        return take_noun(parser, word);
    if (!out->verb)
        return take_verb(parser, word);
    if (strcmp(out->noun, "help") == 0 && parser->positionals == 0 && is_noun(word)) {
        out->noun = NULL; /* "help lun add" is "lun add --help" */
        out->verb = NULL;
        out->kind = INVOKE_HELP;
        return take_noun(parser, word);
    }
    argument = &out->verb->positionals[parser->positionals];
    verb_name(out->verb, name, sizeof name);
    if (parser->positionals >= VERB_POSITIONALS_MAX || !argument->name)
        return wrong(parser, "\"%.100s\" is too much; see nestorctl %s --help", word, name);
    parser->positionals++;
    return set_parameter(parser, argument, word);
}

static bool check_missing(struct parser *parser, const struct argument *arguments, unsigned max)
{
    char name[64];

    for (unsigned i = 0; i < max && arguments[i].name; i++)
        if (arguments[i].is_required &&
            !json_object_get(parser->out->params, arguments[i].parameter))
            return wrong(parser, "%s is missing; see nestorctl %s --help", arguments[i].name,
                         verb_name(parser->out->verb, name, sizeof name));
    return true;
}

static void check_whole(struct parser *parser)
{
    const struct invocation *out = parser->out;
    char verbs[128];

    if (out->kind != INVOKE_CALL)
        return;
    if (!out->noun)
        wrong(parser, "say what to do; see nestorctl --help");
    else if (!out->verb)
        wrong(parser, "say what to do with %s: %s", out->noun,
              list_verbs(out->noun, verbs, sizeof verbs));
    else if (check_missing(parser, out->verb->positionals, VERB_POSITIONALS_MAX))
        check_missing(parser, out->verb->options, VERB_OPTIONS_MAX);
}

void invocation_parse(int argc, char **argv, const char *working_dir, struct invocation *out)
{
    struct parser parser = {
        .argc = argc, .next = 1, .argv = argv, .working_dir = working_dir, .out = out
    };
    bool is_good = true;

    *out = (struct invocation){ .params = json_object(), .own = json_object() };
    if (!out->params || !out->own)
        is_good = wrong(&parser, "out of memory");
    while (is_good && parser.next < argc) {
        const char *word = argv[parser.next++];

        if (!parser.is_only_positional && strcmp(word, "--") == 0)
            parser.is_only_positional = true;
        else if (!parser.is_only_positional && word[0] == '-' && word[1])
            is_good = take_option(&parser, word);
        else
            is_good = take_positional(&parser, word);
    }
    check_whole(&parser);
}

void invocation_free(struct invocation *invocation)
{
    json_decref(invocation->params);
    json_decref(invocation->own);
    invocation->params = invocation->own = NULL;
}

static void append_value(const struct invocation *invocation, const char *name, size_t len,
                         char *out, size_t cap)
{
    const struct argument *arguments = invocation->verb->positionals;
    const json_t *value = NULL;
    char text[CELL_CAP];

    for (unsigned i = 0; i < VERB_POSITIONALS_MAX && arguments[i].name; i++)
        if (is_option_named(name, len, arguments[i].name))
            value = json_object_get(invocation->params, arguments[i].parameter);
    snprintf(out, cap, "%s", cell_text(value, CELL_TEXT, text, sizeof text));
}

const char *invocation_question(const struct invocation *invocation, char *out, size_t cap)
{
    size_t len = 0;

    out[0] = '\0';
    for (const char *at = invocation->verb->question; *at && len + 1 < cap;) {
        if (*at == '{') {
            size_t name = strcspn(at + 1, "}");

            append_value(invocation, at + 1, name, out + len, cap - len);
            len += strlen(out + len);
            at += name + 2;
        } else {
            out[len++] = *at++;
            out[len] = '\0';
        }
    }
    return out;
}
