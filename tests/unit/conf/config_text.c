#include "config_text.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int config_text_setup(void **state)
{
    struct config_text *text = calloc(1, sizeof(*text));

    assert_non_null(text);
    snprintf(text->folder, sizeof(text->folder), "/tmp/nestor-conf-XXXXXX");
    assert_non_null(mkdtemp(text->folder));
    *state = text;
    return 0;
}

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *where)
{
    (void)status;
    (void)type;
    (void)where;
    return remove(path);
}

int config_text_teardown(void **state)
{
    struct config_text *text = *state;

    model_free(&text->model);
    model_problems_free(&text->problems);
    model_problems_free(&text->notes);
    nftw(text->folder, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
    free(text);
    return 0;
}

static void put_with_folder(FILE *out, const char *content, const char *folder)
{
    for (; *content; content++) {
        if (*content == '~')
            fputs(folder, out);
        else
            fputc(*content, out);
    }
}

void config_text_write(struct config_text *text, const char *name, unsigned mode,
                       const char *format, ...)
{
    char path[128], *content;
    va_list args;

    va_start(args, format);
    assert_true(vasprintf(&content, format, args) >= 0);
    va_end(args);
    snprintf(path, sizeof(path), "%s/%s", text->folder, name);
    FILE *out = fopen(path, "w");
    assert_non_null(out);
    put_with_folder(out, content, text->folder);
    assert_int_equal(fchmod(fileno(out), mode), 0);
    assert_int_equal(fclose(out), 0);
    free(content);
}

void config_text_load(struct config_text *text)
{
    char path[128];

    model_free(&text->model);
    model_problems_free(&text->problems);
    model_problems_free(&text->notes);
    snprintf(path, sizeof(path), "%s/nestor.conf", text->folder);
    text->result = conf_load(path, &text->model, &text->problems, &text->notes);
}

void config_text_load_this(struct config_text *text, const char *content)
{
    config_text_write(text, "nestor.conf", 0600, "%s", content);
    config_text_load(text);
}

static void print_problems(const struct config_text *text)
{
    for (unsigned i = 0; i < text->problems.count; i++)
        print_error("  %s\n", text->problems.lines[i]);
}

void assert_problem(const struct config_text *text, const char *file, unsigned line,
                    const char *what)
{
    char place[160];

    snprintf(place, sizeof(place), "%s/%s:%u: ", text->folder, file, line);
    for (unsigned i = 0; i < text->problems.count; i++) {
        const char *problem = text->problems.lines[i];
        if (strncmp(problem, place, strlen(place)) == 0 && strstr(problem, what))
            return;
    }
    print_error("expected %s...%s; came:\n", place, what);
    print_problems(text);
    fail();
}

void assert_no_problem(const struct config_text *text)
{
    if (text->result == 0 && text->problems.count == 0)
        return;
    print_error("expected no problem; result %d\n", text->result);
    print_problems(text);
    fail();
}
