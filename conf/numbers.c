/* numbers: reads a configuration's text, as far as it takes to see its numbers. See numbers.h. */
#include "conf/numbers.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

enum { NUMBER_TEXT_MAX = 80 };

struct text {
    FILE *file;
    unsigned line;
};

static int next(struct text *text)
{
    int c = getc(text->file);

    if (c == '\n')
        text->line++;
    return c;
}

static void back(struct text *text, int c)
{
    if (c == '\n')
        text->line--;
    if (c != EOF)
        ungetc(c, text->file);
}

static void skip_string(struct text *text)
{
    int c;

    while ((c = next(text)) != EOF && c != '"') {
        if (c == '\\')
            next(text);
    }
}

static void skip_line(struct text *text)
{
    int c;

    while ((c = next(text)) != EOF && c != '\n')
        ;
}

/* After a '/': a comment of either kind, or nothing that has a meaning here. */
static void skip_comment(struct text *text)
{
    int c = next(text), before = 0;

    if (c == '/')
        return skip_line(text);
    if (c != '*')
        return back(text, c);
    while ((c = next(text)) != EOF && !(before == '*' && c == '/'))
        before = c;
}

/* A name, a number, or what else hangs together; cut when it is longer than any of them. */
static void take_word(struct text *text, int c, char word[NUMBER_TEXT_MAX])
{
    size_t len = 0;

    for (; isalnum(c) || c == '_' || c == '.' || c == '*' || c == '-' || c == '+'; c = next(text)) {
        if (len < NUMBER_TEXT_MAX - 1)
            word[len++] = (char)c;
    }
    word[len] = '\0';
    back(text, c);
}

static bool is_misread(const char *word)
{
    char *end;

    errno = 0;
    unsigned long long value = strtoull(word, &end, 0);
    if (word[0] == '0' && isdigit((unsigned char)word[1])) /* no octal there */
        value = strtoull(word, &end, 10);
    return *end == '\0' && (errno == ERANGE || value > INT_MAX);
}

int numbers_check(const char *file, struct model_problems *problems)
{
    struct text text = { .file = fopen(file, "re"), .line = 1 };
    char word[NUMBER_TEXT_MAX];
    int c, result = 0;

    if (!text.file)
        return -errno;
    while ((c = next(&text)) != EOF) {
        if (c == '"') {
            skip_string(&text);
        } else if (c == '#') {
            skip_line(&text);
        } else if (c == '/') {
            skip_comment(&text);
        } else if (isalnum(c)) {
            struct model_place place = { .file = file, .line = text.line };
            take_word(&text, c, word);
            if (isdigit(c) && is_misread(word)) {
                model_problems_add(
                    problems, &place,
                    "%s is a large number; write it with an L at its end (%sL), or a "
                    "size as text such as \"64G\"",
                    word, word);
                result = -EINVAL;
            }
        }
    }
    fclose(text.file);
    return result;
}
