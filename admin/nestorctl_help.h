/* nestorctl_help: what --help prints, from the table of verbs. */
#pragma once

#include <stdio.h>

struct invocation;

/* Of a verb, of a noun, or of nestorctl, by what the invocation has found. */
void help_print(FILE *out, const struct invocation *invocation);
