/* nestorctl_esx: what to type on an ESX host to use a target, for each generation of its software
 * initiator. */
#pragma once

#include <jansson.h>
#include <stdio.h>

/* `own` may have "esx" ("3", "4", "5+") and "address". */
void show_esx_howto(FILE *out, const json_t *result, const json_t *own);
