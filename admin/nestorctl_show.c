#include "admin/nestorctl_show.h"

#include "admin/nestorctl_table.h"

#include <stdlib.h>
#include <string.h>

static const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));

    return text ? text : "";
}

static void print_lines(FILE *out, const json_t *lines)
{
    for (size_t i = 0; i < json_array_size(lines); i++)
        line_print(out, json_string_value(json_array_get(lines, i)));
}

void show_status(FILE *out, const json_t *result, const json_t *own)
{
    /* clang-format off */
    static const struct column fields[] = {
        { "Version", "version", CELL_TEXT },
        { "Running since", "started", CELL_TIME },
        { "Uptime", "uptime_s", CELL_DURATION },
        { "Process", "pid", CELL_NUMBER },
        { "Workers", "workers", CELL_NUMBER },
        { "Disk engine", "engine", CELL_TEXT },
        { "Portals", "portals", CELL_LIST },
        { "Targets", "targets", CELL_NUMBER },
        { "LUNs", "luns", CELL_NUMBER },
        { "Sessions", "sessions", CELL_NUMBER },
        { "Memory in use", "memory.used_bytes", CELL_SIZE },
        { "Memory limit", "memory.limit_bytes", CELL_SIZE },
        { NULL, NULL, CELL_TEXT },
    };
    static const struct column problems[] = {
        { "TARGET", "target", CELL_TEXT },
        { "LUN", "lun", CELL_NUMBER },
        { "PROBLEM", "problem", CELL_TEXT },
        { NULL, NULL, CELL_TEXT },
    };
    /* clang-format on */
    const json_t *found = json_object_get(result, "problems");

    (void)own;
    fields_print(out, fields, result);
    if (json_array_size(found) > 0) {
        fprintf(out, "\nNot served:\n");
        table_print(out, problems, found);
    }
}

void show_check(FILE *out, const json_t *result, const json_t *own)
{
    char path[CELL_CAP];

    (void)own;
    print_lines(out, json_object_get(result, "problems"));
    print_lines(out, json_object_get(result, "notes"));
    if (json_is_true(json_object_get(result, "ok")))
        fprintf(out, "%s: no mistakes\n",
                cell_text(json_object_get(result, "path"), CELL_TEXT, path, sizeof path));
}

void show_plan(FILE *out, const json_t *result, const json_t *own)
{
    /* clang-format off */
    static const struct column columns[] = {
        { "STEP", "kind", CELL_TEXT },
        { "TARGET", "target", CELL_TEXT },
        { "LUN", "lun", CELL_NUMBER },
        { "WHAT", "what", CELL_TEXT },
        { "DISTURBS", "disturbs", CELL_LIST },
        { NULL, NULL, CELL_TEXT },
    };
    /* clang-format on */
    const json_t *steps = json_object_get(result, "steps");

    (void)own;
    print_lines(out, json_object_get(result, "notes"));
    if (json_array_size(steps) > 0)
        table_print(out, columns, steps);
    else
        fprintf(out, "nothing would change\n");
}

bool plan_takes_away(const json_t *plan)
{
    const json_t *steps = json_object_get(plan, "steps");

    for (size_t i = 0; i < json_array_size(steps); i++) {
        const char *kind = text_of(json_array_get(steps, i), "kind");

        if (strcmp(kind, "target-remove") == 0 || strcmp(kind, "lun-remove") == 0)
            return true;
    }
    return false;
}

void show_methods(FILE *out, const json_t *result, const json_t *own)
{
    /* clang-format off */
    static const struct column columns[] = {
        { "METHOD", "name", CELL_TEXT },
        { "KIND", "kind", CELL_TEXT },
        { "WHAT IT DOES", "help", CELL_TEXT },
        { NULL, NULL, CELL_TEXT },
    };
    static const struct column parameters[] = {
        { "PARAMETER", "name", CELL_TEXT },
        { "TYPE", "type", CELL_TEXT },
        { "REQUIRED", "required", CELL_YES },
        { "MEANING", "help", CELL_TEXT },
        { NULL, NULL, CELL_TEXT },
    };
    /* clang-format on */
    const json_t *methods = json_object_get(result, "methods");
    const json_t *first = json_array_get(methods, 0);

    (void)own;
    table_print(out, columns, methods);
    if (json_array_size(methods) == 1 &&
        json_array_size(json_object_get(first, "parameters")) > 0) {
        fputc('\n', out);
        table_print(out, parameters, json_object_get(first, "parameters"));
    }
}

void show_metrics(FILE *out, const json_t *result, const json_t *own)
{
    char *text = strdup(text_of(result, "text")), *rest = text;
    const char *line;

    (void)own;
    while (rest && (line = strsep(&rest, "\n")) && (rest || *line))
        line_print(out, line);
    free(text);
}
