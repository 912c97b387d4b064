/* sample: the table of keys as a commented configuration and as the key section of nestor.conf(5).
 */
#include "conf/conf.h"
#include "conf/keys.h"

#include <string.h>

/* ---- values as they stand in the file ---- */

static void print_value(FILE *out, const struct key *key, const char *text)
{
    switch (key->type) {
    case KEY_TEXT:
    case KEY_SIZE:
    case KEY_CHOICE: fprintf(out, "\"%s\"", text); break;
    case KEY_TEXTS: fprintf(out, "[ \"%s\" ]", text); break;
    default: fputs(text, out); break;
    }
}

/* The help, broken into comment lines. */
static void print_comment(FILE *out, const char *text, int indent)
{
    enum { WIDTH = 88 };

    while (*text) {
        size_t len = strlen(text);
        if (len > WIDTH) {
            for (len = WIDTH; len > 0 && text[len] != ' '; len--)
                ;
        }
        fprintf(out, "%*s# %.*s\n", indent, "", (int)len, text);
        text += len;
        text += strspn(text, " ");
    }
}

static void print_scope(FILE *out, enum key_scope scope, int indent, const char *mark)
{
    for (const struct key *key = keys_next(scope, NULL); key; key = keys_next(scope, key)) {
        if (key->is_internal)
            continue;
        print_comment(out, key->help, indent);
        if (key->type == KEY_GROUP) {
            fprintf(out, "%*s# %s = {\n", indent, "", key->name);
            print_scope(out, key->inner, indent + 2, "# ");
            fprintf(out, "%*s# };\n\n", indent, "");
        } else if (key->type == KEY_GROUPS) {
            fprintf(out, "%*s%s = (\n%*s{\n", indent, "", key->name, indent + 2, "");
            print_scope(out, key->inner, indent + 4, "");
            fprintf(out, "%*s}\n%*s);\n", indent + 2, "", indent, "");
        } else {
            bool is_said = key->is_required || key->is_sampled || key->fallback;
            fprintf(out, "%*s%s%s = ", indent, "", *mark ? mark : is_said ? "" : "# ", key->name);
            print_value(out, key, key->example ? key->example : key->fallback);
            fputs(";\n\n", out);
        }
    }
}

void conf_print_sample(FILE *out)
{
    fputs("# nestor.conf: every key. What is commented out has no default, or is an example.\n"
          "# nestor.conf(5) says more; \"nestord -t\" checks this file.\n\n",
          out);
    print_scope(out, KEY_GLOBAL, 0, "");
}

/* ---- the man page ---- */

static void print_escaped(FILE *out, const char *text)
{
    for (; *text; text++) {
        if (strchr("\\*_#~", *text))
            fputc('\\', out);
        fputc(*text, out);
    }
}

static const char *when_text(enum key_when when)
{
    switch (when) {
    case KEY_LIVE: return "A reload is enough.";
    case KEY_INQUIRY: return "A reload is enough; hosts are told that INQUIRY data has changed.";
    case KEY_LOGINS: return "After a reload it holds for new logins.";
    case KEY_RESTART: return "It holds after a restart.";
    case KEY_FROZEN: return "It is kept with the image when it is first served, and stays so.";
    case KEY_FIXED: return "To change it, remove the object and add it again.";
    }
    return "";
}

static void print_man_key(FILE *out, const struct key *key)
{
    char expected[KEY_REASON_MAX];

    fprintf(out, "*%s* = ", key->name);
    key_expected(key, expected, sizeof(expected));
    print_escaped(out, expected);
    fputs("\n\t", out);
    print_escaped(out, key->help);
    if (key->fallback) {
        fputs(" Default: ", out);
        print_escaped(out, key->fallback);
        fputs(".", out);
    }
    fprintf(out, "%s %s\n\n", key->is_required ? " Required." : "", when_text(key->when));
}

void conf_print_man(FILE *out)
{
    static const char *const titles[KEY_SCOPES] = {
        [KEY_GLOBAL] = "In the file itself",
        [KEY_TARGET] = "In a target",
        [KEY_CHAP] = "In chap and discovery\\_chap",
        [KEY_LUN] = "In a LUN",
    };

    fputs("# KEYS\n\n", out);
    for (int scope = 0; scope < KEY_SCOPES; scope++) {
        fprintf(out, "## %s\n\n", titles[scope]);
        for (const struct key *key = keys_next((enum key_scope)scope, NULL); key;
             key = keys_next((enum key_scope)scope, key)) {
            if (!key->is_internal)
                print_man_key(out, key);
        }
    }
}
