/* README.md says of the same keys as the table that they need a restart; its path is given by meson
 */
#include "conf/keys.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static char sentence[512];

/* Finds "`a`, `b` and everything outside of targets need a restart". */
static bool find_sentence(const char *path)
{
    static char text[64 * 1024];
    FILE *file = fopen(path, "r");
    size_t len = file ? fread(text, 1, sizeof(text) - 1, file) : 0;
    char *end = strstr(text, "and everything outside of targets need a"), *begin = end;

    if (file)
        fclose(file);
    while (begin && begin > text && begin[-1] != '.')
        begin--;
    if (len == 0 || !end)
        return false;
    snprintf(sentence, sizeof(sentence), "%.*s", (int)(end - begin), begin);
    return true;
}

static bool names(const struct key *key)
{
    char word[64];

    snprintf(word, sizeof(word), "`%s`", key->name);
    return strstr(sentence, word) != NULL;
}

static void test_the_keys_of_targets_and_luns_that_need_a_restart_are_named(void **state)
{
    (void)state;
    for (unsigned i = 0; i < key_count; i++) {
        const struct key *key = &keys[i];
        bool needs = key->when == KEY_RESTART && key->scope != KEY_GLOBAL;

        if (names(key) != needs)
            fail_msg("%s %s a restart; README says: %s", key->name,
                     needs ? "needs" : "does not need", sentence);
    }
}

static void test_all_keys_outside_of_targets_need_a_restart(void **state)
{
    (void)state;
    for (const struct key *key = keys_next(KEY_GLOBAL, NULL); key;
         key = keys_next(KEY_GLOBAL, key)) {
        if (key->type != KEY_GROUPS && key->when != KEY_RESTART)
            fail_msg("%s does not need a restart", key->name);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_keys_of_targets_and_luns_that_need_a_restart_are_named),
        cmocka_unit_test(test_all_keys_outside_of_targets_need_a_restart),
    };

    if (argc != 2 || !find_sentence(argv[1])) {
        fprintf(stderr, "no sentence about restarts in README.md\n");
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
