#include "admin/nestorctl_table.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

const char *size_text(uint64_t bytes, char *out, size_t cap)
{
    static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
    unsigned unit = 0;
    double scaled = (double)bytes;

    /* 1023.95 would be printed as 1024.0 */
    while (unit + 1 < sizeof units / sizeof units[0] && scaled >= (unit ? 1023.95 : 1024.0)) {
        scaled /= 1024.0;
        unit++;
    }
    if (bytes == (uint64_t)scaled << 10 * unit)
        snprintf(out, cap, "%.0f %s", scaled, units[unit]);
    else
        snprintf(out, cap, "%.1f %s", scaled, units[unit]);
    return out;
}

static const char *duration_text(int64_t seconds, char *out, size_t cap)
{
    long long s = seconds;

    if (s < 60)
        snprintf(out, cap, "%lld s", s);
    else if (s < 3600)
        snprintf(out, cap, "%lld min %lld s", s / 60, s % 60);
    else if (s < 86400)
        snprintf(out, cap, "%lld h %lld min", s / 3600, s / 60 % 60);
    else
        snprintf(out, cap, "%lld d %lld h", s / 86400, s / 3600 % 24);
    return out;
}

static const char *time_text(int64_t seconds, char *out, size_t cap)
{
    time_t when = (time_t)seconds;
    struct tm local;

    if (!localtime_r(&when, &local) || strftime(out, cap, "%Y-%m-%d %H:%M:%S", &local) == 0)
        snprintf(out, cap, "-");
    return out;
}

/* Control characters, C1 too (U+0080 to U+009F, in UTF-8 C2 80 to C2 9F), could drive the terminal.
 */
static void clean(char *text)
{
    for (unsigned char *at = (unsigned char *)text; *at; at++) {
        if (*at < 0x20 || *at == 0x7f)
            *at = '?';
        else if (*at == 0xc2 && at[1] >= 0x80 && at[1] <= 0x9f)
            at[0] = at[1] = '?';
    }
}

static void list_text(const json_t *array, const char *when_empty, char *out, size_t cap)
{
    size_t len = 0;

    snprintf(out, cap, "%s", json_array_size(array) == 0 ? when_empty : "");
    for (size_t i = 0; i < json_array_size(array) && len < cap; i++)
        len += (size_t)snprintf(out + len, cap - len, "%s%s", i ? ", " : "",
                                json_string_value(json_array_get(array, i)));
}

const char *cell_text(const json_t *value, enum cell cell, char *out, size_t cap)
{
    int64_t number = json_integer_value(value);

    if (!value || json_is_null(value))
        snprintf(out, cap, "%s", cell == CELL_ANYBODY ? "anybody" : "-");
    else if (json_is_array(value))
        list_text(value, cell == CELL_NOTHING ? "nothing" : "nobody", out, cap);
    else if (json_is_boolean(value))
        snprintf(out, cap, "%s", json_is_true(value) ? "yes" : "no");
    else if (json_is_string(value))
        snprintf(out, cap, "%s", json_string_value(value));
    else if (!json_is_integer(value))
        snprintf(out, cap, "?");
    else if (cell == CELL_SIZE)
        size_text((uint64_t)number, out, cap);
    else if (cell == CELL_TIME)
        time_text(number, out, cap);
    else if (cell == CELL_DURATION)
        duration_text(number, out, cap);
    else
        snprintf(out, cap, "%lld", (long long)number);
    clean(out);
    return out;
}

static const json_t *member(const json_t *object, const char *path)
{
    char step[64];
    const char *dot;

    while ((dot = strchr(path, '.'))) {
        snprintf(step, sizeof step, "%.*s", (int)(dot - path), path);
        object = json_object_get(object, step);
        path = dot + 1;
    }
    return json_object_get(object, path);
}

/* How many columns the text takes: characters, not bytes. */
static int width_of(const char *text)
{
    int width = 0;

    for (; *text; text++)
        width += ((unsigned char)*text & 0xc0) != 0x80;
    return width;
}

static bool is_right(enum cell cell)
{
    return cell == CELL_NUMBER || cell == CELL_SIZE || cell == CELL_DURATION;
}

static void print_cell(FILE *out, const char *text, int width, bool is_to_right, bool is_last)
{
    int pad = width - width_of(text);

    if (is_to_right)
        fprintf(out, "%*s%s", pad, "", text);
    else if (is_last)
        fputs(text, out); /* no blanks at the end of a line */
    else
        fprintf(out, "%s%*s", text, pad, "");
    fputs(is_last ? "\n" : "  ", out);
}

static int column_width(const struct column *column, const json_t *rows)
{
    int width = width_of(column->title);
    char text[CELL_CAP];

    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *value = member(json_array_get(rows, i), column->member);
        int own = width_of(cell_text(value, column->cell, text, sizeof text));

        width = own > width ? own : width;
    }
    return width;
}

void table_print(FILE *out, const struct column *columns, const json_t *rows)
{
    unsigned count = 0;
    char text[CELL_CAP];
    int *widths;

    while (columns[count].title)
        count++;
    widths = calloc(count + 1, sizeof *widths);
    for (unsigned c = 0; widths && c < count; c++) {
        widths[c] = column_width(&columns[c], rows);
        print_cell(out, columns[c].title, widths[c], is_right(columns[c].cell), c + 1 == count);
    }
    for (size_t i = 0; widths && i < json_array_size(rows); i++) {
        for (unsigned c = 0; c < count; c++) {
            const json_t *value = member(json_array_get(rows, i), columns[c].member);

            cell_text(value, columns[c].cell, text, sizeof text);
            print_cell(out, text, widths[c], is_right(columns[c].cell), c + 1 == count);
        }
    }
    free(widths);
}

void fields_print(FILE *out, const struct column *columns, const json_t *object)
{
    char text[CELL_CAP];
    int width = 0;

    for (unsigned c = 0; columns[c].title; c++)
        width = width_of(columns[c].title) > width ? width_of(columns[c].title) : width;
    for (unsigned c = 0; columns[c].title; c++) {
        print_cell(out, columns[c].title, width, false, false);
        fprintf(out, "%s\n",
                cell_text(member(object, columns[c].member), columns[c].cell, text, sizeof text));
    }
}

void line_print(FILE *out, const char *text)
{
    char *copy = strdup(text ? text : "");

    if (copy) {
        clean(copy);
        fprintf(out, "%s\n", copy);
    }
    free(copy);
}
