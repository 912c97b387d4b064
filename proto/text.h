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
    TEXT_ISCSI_NAME_MAX = 223, /* RFC 7143 4.2.7.1 */
};

enum text_result {
    TEXT_PAIR,      /* *key and *value are set */
    TEXT_END,       /* nothing is left */
    TEXT_MALFORMED, /* no '=', empty or over-long or badly spelt key, over-long value */
};

struct text_reader {
    struct cursor cursor;
    unsigned pairs;
};

/*
 * Runs of NULs between pairs and a missing NUL after the last one are let pass, and so is any key
 * that is spelt with letters, digits and . - + @ _ # from its first letter on.
 */
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
void text_put_pair(struct builder *out, struct slice key, struct slice value);
void text_put_str(struct builder *out, const char *key, const char *value);
void text_put_number(struct builder *out, const char *key, uint64_t value);

/*
 * A decimal or 0x-hexadecimal constant, RFC 7143 6.1; -EINVAL for anything else (a decimal with
 * leading zeros too), -ERANGE beyond 64 bits.
 */
int text_number(struct slice value, uint64_t *number);

/*
 * RFC 7143 4.2.7: is this an iqn., eui. or naa. name of at most 223 bytes? Two liberties, because
 * people type such names: capital letters (stringprep would have made them small; we compare names
 * byte by byte) and '_' in an iqn. name. The date and domain of an iqn. name are not looked at.
 */
bool text_is_iscsi_name(struct slice name);

/* Well-formed UTF-8 without control characters: fit for a log line and for JSON. */
bool text_is_printable(struct slice text);

/* Takes the next item, which may be empty, off a comma-separated list; false at its end. */
bool text_list_next(struct slice *rest, struct slice *item);
