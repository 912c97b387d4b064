/*
 * scratch: a folder of a test's own, in the folder that the test runs in, and the images in it.
 */
#pragma once

#include "backing/backing.h"

struct scratch {
    char folder[64];
    char path[128]; /* FOLDER/image */
};

void scratch_make(struct scratch *scratch);
void scratch_remove(struct scratch *scratch); /* with all that is in it */

/* FOLDER/name, in a static buffer: the last two answers stay. */
const char *scratch_file(const struct scratch *scratch, const char *name);

/* A new image of that size, or the one that is there; asserts that it opens. */
struct backing *scratch_image(const struct scratch *scratch, uint64_t size_bytes);
