/*
 * nestorctl_table: JSON for people: aligned tables, and lines of name and value.
 *
 * Text comes from initiators and file names too, so whatever could control a terminal is shown as
 * '?'.
 */
#pragma once

#include <jansson.h>
#include <stdint.h>
#include <stdio.h>

enum cell {
    CELL_TEXT,
    CELL_NUMBER,   /* to the right */
    CELL_SIZE,     /* bytes, as "64 GiB" */
    CELL_TIME,     /* seconds since 1970, as local time */
    CELL_DURATION, /* seconds, as "2 d 3 h" */
    CELL_YES,      /* a boolean, as yes and no */
    CELL_LIST,     /* an array of strings, as "a, b"; "nobody" when it is empty */
    CELL_NOTHING,  /* the same; "nothing" when it is empty */
    CELL_ANYBODY,  /* the same; "anybody" when it was not said */
};

enum { CELL_CAP = 1024 };

struct column {
    const char *title;
    const char *member; /* "lun", or "identity.naa" for a member's member */
    enum cell cell;
};

/* A missing or null value is "-". Returns `out`. */
const char *cell_text(const json_t *value, enum cell cell, char *out, size_t cap);

/* `columns` ends with a NULL title. */
void table_print(FILE *out, const struct column *columns, const json_t *rows);
void fields_print(FILE *out, const struct column *columns, const json_t *object);

/* Text of the daemon's on a line of its own, cleaned. */
void line_print(FILE *out, const char *text);

/* "64 GiB", "1.5 MiB", "512 B". */
const char *size_text(uint64_t bytes, char *out, size_t cap);
