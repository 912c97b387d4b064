/*
 * unmap: the parameter list of UNMAP, SBC-3 5.28.
 *
 * Pure. The list is checked as a whole before a descriptor of it is handed out.
 */
#pragma once

#include "proto/sense.h"

enum { UNMAP_HEADER_BYTES = 8, UNMAP_DESCRIPTOR_BYTES = 16 };

struct unmap_limits {
    uint64_t unit_blocks;
    uint32_t descriptors_max;
};

struct unmap_list {
    struct cursor descriptors;
    uint32_t count;
};

struct unmap_range {
    uint64_t lba;
    uint32_t blocks;
};

/*
 * Reads a whole list. SENSE_NONE: every descriptor keeps to the limits. Otherwise what is wrong
 * with it, *field_byte telling where.
 */
enum sense_code unmap_parse(const uint8_t *bytes, size_t len, const struct unmap_limits *limits,
                            struct unmap_list *list, uint16_t *field_byte);

/* The i-th descriptor of a list that was parsed, i < list->count. */
struct unmap_range unmap_range(const struct unmap_list *list, uint32_t i);
