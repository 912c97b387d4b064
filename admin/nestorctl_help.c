#include "admin/nestorctl_help.h"

#include "admin/nestorctl_arguments.h"

#include <string.h>

static const char globals[] =
    "  --socket PATH           the daemon's admin socket (else $NESTOR_SOCKET, else\n"
    "                          /run/nestor/nestord.sock)\n"
    "  --json                  print the daemon's answer as JSON\n"
    "  -h, --help              this help; also after a command\n"
    "  -V, --version           nestorctl's version\n";

static void print_usage(FILE *out, const struct verb *verb)
{
    fprintf(out, "nestorctl %s%s%s", verb->noun, verb->verb ? " " : "",
            verb->verb ? verb->verb : "");
    for (unsigned i = 0; i < VERB_POSITIONALS_MAX && verb->positionals[i].name; i++) {
        const struct argument *argument = &verb->positionals[i];

        fprintf(out, argument->is_required ? " %s" : " [%s]", argument->name);
    }
    for (unsigned i = 0; i < VERB_OPTIONS_MAX && verb->options[i].name; i++)
        if (verb->options[i].is_required)
            fprintf(out, " %s %s", verb->options[i].name, verb->options[i].value);
}

static void print_arguments(FILE *out, const struct argument *arguments, unsigned max)
{
    for (unsigned i = 0; i < max && arguments[i].name; i++) {
        char name[64];

        snprintf(name, sizeof name, "%s%s%s", arguments[i].name, arguments[i].value ? " " : "",
                 arguments[i].value ? arguments[i].value : "");
        if (strlen(name) < 25)
            fprintf(out, "  %-26s%s\n", name, arguments[i].help);
        else
            fprintf(out, "  %s\n  %26s%s\n", name, "", arguments[i].help);
    }
}

static void print_verb(FILE *out, const struct verb *verb)
{
    fprintf(out, "Usage: ");
    print_usage(out, verb);
    fprintf(out, "%s\n\n%c%s.\n", verb->options[0].name ? " [OPTIONS]" : "",
            verb->help[0] - 'a' + 'A', verb->help + 1);
    if (verb->positionals[0].name)
        fprintf(out, "\n");
    print_arguments(out, verb->positionals, VERB_POSITIONALS_MAX);
    if (verb->options[0].name)
        fprintf(out, "\nOptions:\n");
    print_arguments(out, verb->options, VERB_OPTIONS_MAX);
    fprintf(out, "\nExample:\n  %s\n", verb->example);
}

/* Each verb of a noun, or of all nouns. */
static void print_verbs(FILE *out, const char *noun)
{
    for (unsigned i = 0; i < verb_count; i++) {
        const struct verb *verb = &verb_table[i];
        char name[64];

        if (noun && strcmp(noun, verb->noun) != 0)
            continue;
        snprintf(name, sizeof name, "%s%s%s", verb->noun, verb->verb ? " " : "",
                 verb->verb ? verb->verb : "");
        fprintf(out, "  %-22s%s\n", name, verb->help);
    }
}

static void print_noun(FILE *out, const char *noun)
{
    fprintf(out, "Usage: nestorctl %s COMMAND ...\n\nCommands:\n", noun);
    print_verbs(out, noun);
    fprintf(out, "\nExample:\n");
    for (unsigned i = 0; i < verb_count; i++) {
        if (strcmp(noun, verb_table[i].noun) == 0) {
            fprintf(out, "  %s\n", verb_table[i].example);
            break;
        }
    }
    fprintf(out, "\nnestorctl %s COMMAND --help tells more.\n", noun);
}

void help_print(FILE *out, const struct invocation *invocation)
{
    if (invocation->verb) {
        print_verb(out, invocation->verb);
        return;
    }
    if (invocation->noun) {
        print_noun(out, invocation->noun);
        return;
    }
    fprintf(out, "Usage: nestorctl [--socket PATH] [--json] COMMAND ...\n\n"
                 "Manages nestord, the iSCSI target, while it runs.\n\nCommands:\n");
    print_verbs(out, NULL);
    fprintf(out,
            "\nOptions:\n%s"
            "\nExample:\n  nestorctl lun add lab 2 --path /srv/nestor/vmfs2.img --size 64G\n"
            "\nExit codes: 0 done, 1 refused by the daemon, 2 usage, 3 daemon not reachable.\n"
            "nestorctl COMMAND --help tells more of each.\n",
            globals);
}
