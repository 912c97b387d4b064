/*
 * sanitize: the parameter list of SANITIZE's OVERWRITE service action, SBC-3 5.24.2.3.
 *
 * Pure.
 */
#pragma once

#include "proto/sense.h"

enum { OVERWRITE_HEADER_BYTES = 4 };

struct overwrite_list {
    bool is_inverted; /* each pass writes the complement of what the one before wrote */
    uint8_t passes;
    struct slice pattern; /* repeated in every block; points into the list */
};

/*
 * SENSE_NONE, or why not. A list that asks for nothing that can be done is answered INVALID FIELD
 * IN CDB, which is what initiators are known to expect here.
 */
enum sense_code overwrite_parse(const uint8_t *bytes, size_t len, uint32_t block_bytes,
                                struct overwrite_list *list);

/* The block that the first pass writes. */
void overwrite_block(const struct overwrite_list *list, uint8_t *block, uint32_t block_bytes);
