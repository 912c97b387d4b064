/* the man page and the bash completion know every command and option; paths are given by meson */
#include "admin/nestorctl_verbs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static char manual[64 * 1024], completion[64 * 1024];

static bool read_file(const char *path, char *text, size_t cap)
{
    FILE *file = fopen(path, "r");
    size_t len = file ? fread(text, 1, cap - 1, file) : 0;

    text[len] = '\0';
    if (file)
        fclose(file);
    return len > 0 && len < cap - 1;
}

/* Is it there as a word of its own: no letter or dash on either side? */
static bool has_word(const char *text, const char *word)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz-";

    for (const char *at = text; (at = strstr(at, word)); at++) {
        char before = at > text ? at[-1] : ' ', after = at[strlen(word)];

        if ((!before || !strchr(letters, before)) && (!after || !strchr(letters, after)))
            return true;
    }
    return false;
}

static void expect_word(const char *where, const char *text, const char *word)
{
    if (!has_word(text, word))
        fail_msg("%s does not know %s", where, word);
}

static void test_every_command_is_in_the_man_page(void **state)
{
    (void)state;
    for (unsigned i = 0; i < verb_count; i++) {
        const struct verb *verb = &verb_table[i];
        char name[64];

        snprintf(name, sizeof name, "*%s%s%s*", verb->noun, verb->verb ? " " : "",
                 verb->verb ? verb->verb : "");
        expect_word("nestorctl.1.scd", manual, name);
    }
}

static void test_every_option_is_in_the_man_page_and_completed(void **state)
{
    static const char *const globals[] = { "--socket", "--json", "--help", "--version" };

    (void)state;
    for (unsigned i = 0; i < sizeof globals / sizeof globals[0]; i++) {
        expect_word("nestorctl.1.scd", manual, globals[i]);
        expect_word("nestorctl.bash-completion", completion, globals[i]);
    }
    for (unsigned i = 0; i < verb_count; i++) {
        const struct argument *options = verb_table[i].options;

        for (unsigned o = 0; o < VERB_OPTIONS_MAX && options[o].name; o++) {
            expect_word("nestorctl.1.scd", manual, options[o].name);
            expect_word("nestorctl.bash-completion", completion, options[o].name);
        }
    }
}

/* The line of the completion that lists what may follow a noun. */
static void test_every_command_is_completed(void **state)
{
    (void)state;
    for (unsigned i = 0; i < verb_count; i++) {
        const struct verb *verb = &verb_table[i];
        char start[64], line[256];
        const char *at;

        snprintf(start, sizeof start, "\"%s \") words=(", verb->verb ? verb->noun : "");
        at = strstr(completion, start);
        assert_non_null(at);
        snprintf(line, sizeof line, "%.*s", (int)strcspn(at, "\n"), at);
        expect_word(line, line + strlen(start) - 1, verb->verb ? verb->verb : verb->noun);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_command_is_in_the_man_page),
        cmocka_unit_test(test_every_option_is_in_the_man_page_and_completed),
        cmocka_unit_test(test_every_command_is_completed),
    };

    if (argc != 3 || !read_file(argv[1], manual, sizeof manual) ||
        !read_file(argv[2], completion, sizeof completion)) {
        fprintf(stderr, "usage: test_manual nestorctl.1.scd nestorctl.bash-completion\n");
        return 2;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
