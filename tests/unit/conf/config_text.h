/* config_text: configurations written by a test into a folder of its own, and what loading them
 * says. */
#pragma once

#include "conf/conf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

struct config_text {
    char folder[64];
    struct model model;
    struct model_problems problems, notes;
    int result; /* of the last load */
};

int config_text_setup(void **state);
int config_text_teardown(void **state); /* removes the folder and all in it */

/* Writes FOLDER/name; a '~' in the format stands for the folder. */
void config_text_write(struct config_text *text, const char *name, unsigned mode,
                       const char *format, ...) __attribute__((format(printf, 4, 5)));
/* Loads FOLDER/nestor.conf, with FOLDER as its state_dir when it says `state_dir = "~"`. */
void config_text_load(struct config_text *text);
/* The same for a text that is written to it first. */
void config_text_load_this(struct config_text *text, const char *content);

/* One of the problems is "FOLDER/file:line: ..." and contains `what`. Prints all of them when not.
 */
void assert_problem(const struct config_text *text, const char *file, unsigned line,
                    const char *what);
void assert_no_problem(const struct config_text *text);
