/*
 * numbers: finds what libconfig misreads: a whole number of more than 32 bits without an L at its
 * end becomes another number there, silently ("size = 68719476736" becomes 0).
 */
#pragma once

#include "conf/model.h"

/* Adds a problem for each such number in the file of place->file. 0, or -EINVAL when there was one.
 */
int numbers_check(const char *file, struct model_problems *problems);
