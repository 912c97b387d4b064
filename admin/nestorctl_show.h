/* nestorctl_show: results that are neither a table nor a list of fields.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

void show_status(FILE *out, const json_t *result, const json_t *own);
void show_check(FILE *out, const json_t *result, const json_t *own);
void show_plan(FILE *out, const json_t *result, const json_t *own);
void show_metrics(FILE *out, const json_t *result, const json_t *own);
void show_methods(FILE *out, const json_t *result, const json_t *own);

/* Does any step of this plan take storage away from somebody? */
bool plan_takes_away(const json_t *plan);
