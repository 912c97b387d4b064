/*
 * mode_pages: MODE SENSE data and MODE SELECT parameter lists, SPC-4 6.11 to 6.14 and 7.5,
 * SBC-3 6.5.
 *
 * Pure. Two fields can be changed: D_SENSE and SWP of the Control mode page. Nothing is saved.
 */
#pragma once

#include "proto/sense.h"

enum {
    MODE_SENSE_BYTES_MAX = 512,
    MODE_SELECT_BYTES_MAX = 512, /* more than all pages take: a longer list cannot be good */
};

struct mode_facts {
    uint64_t blocks;
    uint32_t block_bytes;
    bool is_write_protected;                                /* WP, for whatever reason */
    bool has_write_cache;                                   /* WCE */
    bool has_descriptor_sense, is_software_write_protected; /* D_SENSE, SWP */
};

/* The CDB's fields. */
struct mode_sense_request {
    bool is_10;           /* MODE SENSE(10): the longer header */
    bool no_descriptors;  /* DBD */
    bool long_lba;        /* LLBAA */
    uint8_t page_control; /* PC: 0 current, 1 changeable, 2 default, 3 saved */
    uint8_t page, subpage;
};

/* SENSE_NONE, or why not; *field_byte is the CDB's byte to blame. */
enum sense_code mode_sense_build(struct builder *out, const struct mode_facts *facts,
                                 const struct mode_sense_request *request, uint16_t *field_byte);

/* What a list asks for. */
struct mode_changes {
    bool has_descriptor_sense, is_software_write_protected;
};

/*
 * Reads a whole parameter list; *changes starts as what holds now. SENSE_NONE, or what is wrong
 * with the list, *field_byte telling where; nothing in *changes counts then.
 */
enum sense_code mode_select_parse(const uint8_t *list, size_t len, bool is_10,
                                  const struct mode_facts *facts, struct mode_changes *changes,
                                  uint16_t *field_byte);
