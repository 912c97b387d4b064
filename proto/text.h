/*
 * text: the key=value pairs of login and text negotiation, RFC 7143 6.1.
 *
 * A sequence of PDUs whose C bit is set carries one text; text_collect() gathers it, bounded.
 * text_next() then walks it. Nothing is terminated, nothing is copied out.
 */
#pragma once

#include "proto/cursor.h"

enum {
    TEXT_KEY_MAX = 63,     /* RFC 7143 6.1 */
    TEXT_VALUE_MAX = 8192, /* the longest value we look at: base64 of a CHAP response fits often */
    TEXT_KEYS_MAX = 128,   /* pairs in one text */
    TEXT_COLLECT_MAX = 16384,
};

enum text_result {
    TEXT_PAIR,         /* *key and *value are set */
    TEXT_END,          /* nothing is left */
    TEXT_MALFORMED,    /* no '=', empty or over-long or badly spelt key, over-long value */
};

struct text_reader {
    struct cursor cursor;
    unsigned pairs;
};

struct text_reader text_over(struct slice text);
enum text_result text_next(struct text_reader *reader, struct slice *key, struct slice *value);

/*
 * The bytes of a text that comes in several PDUs. `bytes` grows by realloc up to TEXT_COLLECT_MAX;
 * text_collect_free() gives it back and may be called on a zeroed struct.
 */
struct text_collect {
    uint8_t *bytes;
    size_t len;
};

/* 0, or -E2BIG, or -ENOMEM; on an error what was gathered stays. */
int text_collect(struct text_collect *collect, const void *bytes, size_t len);
void text_collect_free(struct text_collect *collect);

/* Appends "key=value" and its NUL: whole, or not at all (the builder's overflow says so). */
void text_put(struct builder *out, const char *key, struct slice value);
void text_put_str(struct builder *out, const char *key, const char *value);
void text_put_number(struct builder *out, const char *key, uint64_t value);

/* A decimal or 0x-hexadecimal constant, RFC 7143 6.1; -EINVAL for anything else, -ERANGE beyond 64 bits. */
int text_number(struct slice value, uint64_t *number);

/* RFC 7143 4.2.7: is this a well-formed iqn., eui. or naa. name of at most 223 bytes? */
bool text_is_iscsi_name(struct slice name);

/* Takes the next item off a comma-separated list; false when the list has ended. */
bool text_list_next(struct slice *rest, struct slice *item);
