#include "proto/text.h"

#include <errno.h>
#include <stdlib.h>

static bool is_upper(uint8_t c)
{
    return c >= 'A' && c <= 'Z';
}

static bool is_lower(uint8_t c)
{
    return c >= 'a' && c <= 'z';
}

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static bool is_hex(uint8_t c)
{
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/*
 * RFC 7143 6.1, standard-label. Freer than it in two ways: '#' is let through because X#, Y# and Z#
 * keys exist (RFC 4850 uses one), and the first letter may be a small one; such a key is then
 * unknown and answered NotUnderstood rather than ending the login.
 */
static bool is_key(struct slice key)
{
    if (key.len == 0 || key.len > TEXT_KEY_MAX)
        return false;
    if (!is_upper(key.bytes[0]) && !is_lower(key.bytes[0]))
        return false;
    for (size_t i = 0; i < key.len; i++) {
        uint8_t c = key.bytes[i];
        if (!is_upper(c) && !is_lower(c) && !is_digit(c) && c != '.' && c != '-' && c != '+' &&
            c != '@' && c != '_' && c != '#')
            return false;
    }
    return true;
}

struct text_reader text_over(struct slice text)
{
    return (struct text_reader){ .cursor = cursor_over(text.bytes, text.len) };
}

/* Where `byte` first stands in `in`, or in.len. */
static size_t find_byte(struct slice in, uint8_t byte)
{
    const uint8_t *at = in.len ? memchr(in.bytes, byte, in.len) : NULL;
    return at ? (size_t)(at - in.bytes) : in.len;
}

enum text_result text_next(struct text_reader *reader, struct slice *key, struct slice *value)
{
    struct cursor *c = &reader->cursor;
    struct slice pair;
    size_t equals;

    /* some initiators pad the text with further NULs, which say nothing */
    while (cursor_left(c) > 0 && c->bytes[c->at] == 0)
        c->at++;
    if (cursor_left(c) == 0)
        return TEXT_END;
    if (reader->pairs == TEXT_KEYS_MAX)
        return TEXT_MALFORMED;
    reader->pairs++;

    /* the last pair's NUL may be missing: the end of the text ends it as well */
    pair = slice_of(c->bytes + c->at, cursor_left(c));
    pair = cursor_slice(c, find_byte(pair, 0));
    equals = find_byte(pair, '=');
    if (equals == pair.len)
        return TEXT_MALFORMED;
    *key = slice_of(pair.bytes, equals);
    *value = slice_of(pair.bytes + equals + 1, pair.len - equals - 1);
    return is_key(*key) && value->len <= TEXT_VALUE_MAX ? TEXT_PAIR : TEXT_MALFORMED;
}

int text_collect(struct text_collect *collect, const void *bytes, size_t len)
{
    uint8_t *grown;

    if (len == 0)
        return 0;
    if (len > TEXT_COLLECT_MAX - collect->len)
        return -E2BIG;
    grown = realloc(collect->bytes, collect->len + len);
    if (!grown)
        return -ENOMEM;
    memcpy(grown + collect->len, bytes, len);
    collect->bytes = grown;
    collect->len += len;
    return 0;
}

void text_collect_free(struct text_collect *collect)
{
    free(collect->bytes);
    *collect = (struct text_collect){ 0 };
}

void text_put_pair(struct builder *out, struct slice key, struct slice value)
{
    uint8_t *p = builder_room(out, key.len + 1 + value.len + 1);

    if (!p)
        return;
    memcpy(p, key.bytes, key.len);
    p[key.len] = '=';
    if (value.len)
        memcpy(p + key.len + 1, value.bytes, value.len);
}

void text_put(struct builder *out, const char *key, struct slice value)
{
    text_put_pair(out, slice_str(key), value);
}

void text_put_str(struct builder *out, const char *key, const char *value)
{
    text_put_pair(out, slice_str(key), slice_str(value));
}

void text_put_number(struct builder *out, const char *key, uint64_t value)
{
    uint8_t digits[20]; /* 2^64 - 1 has twenty */
    size_t at = sizeof digits;

    do {
        digits[--at] = (uint8_t)('0' + value % 10);
        value /= 10;
    } while (value);
    text_put(out, key, slice_of(digits + at, sizeof digits - at));
}

static unsigned hex_digit(uint8_t c)
{
    return is_digit(c) ? c - (unsigned)'0' : (c | 0x20) - 'a' + 10U;
}

int text_number(struct slice value, uint64_t *number)
{
    unsigned base = 10;
    uint64_t sum = 0;

    if (value.len == 0)
        return -EINVAL;
    const uint8_t *at = value.bytes, *end = value.bytes + value.len;
    if (value.len > 2 && at[0] == '0' && (at[1] == 'x' || at[1] == 'X')) {
        base = 16;
        at += 2;
    } else if (value.len > 1 && at[0] == '0') {
        return -EINVAL; /* a decimal-constant has no leading zero: is it octal or not? */
    }
    for (const uint8_t *p = at; p < end; p++) {
        if (base == 16 ? !is_hex(*p) : !is_digit(*p))
            return -EINVAL;
    }
    for (; at < end; at++) {
        if (__builtin_mul_overflow(sum, base, &sum) ||
            __builtin_add_overflow(sum, hex_digit(*at), &sum))
            return -ERANGE;
    }
    *number = sum;
    return 0;
}

/*
 * Takes one character of well-formed UTF-8 (RFC 3629: shortest form, no surrogates, nothing beyond
 * U+10FFFF) off the front of *text; UINT32_MAX when what stands there is none.
 */
static uint32_t utf8_next(struct slice *text)
{
    const uint8_t *b = text->bytes;
    size_t len = b[0] < 0x80   ? 1
                 : b[0] < 0xc2 ? 0
                 : b[0] < 0xe0 ? 2
                 : b[0] < 0xf0 ? 3
                 : b[0] < 0xf5 ? 4
                               : 0;
    uint32_t point;

    if (len == 0 || len > text->len)
        return UINT32_MAX;
    point = len == 1 ? b[0] : b[0] & (0x7fU >> len);
    for (size_t i = 1; i < len; i++) {
        if ((b[i] & 0xc0) != 0x80)
            return UINT32_MAX;
        point = point << 6 | (b[i] & 0x3fU);
    }
    if ((len == 3 && (point < 0x800 || (point >= 0xd800 && point <= 0xdfff))) ||
        (len == 4 && (point < 0x10000 || point > 0x10ffff)))
        return UINT32_MAX;
    *text = slice_of(b + len, text->len - len);
    return point;
}

bool text_is_printable(struct slice text)
{
    while (text.len > 0) {
        uint32_t point = utf8_next(&text);
        if (point == UINT32_MAX || point < 0x20 || (point >= 0x7f && point < 0xa0))
            return false;
    }
    return true;
}

/* `prefix` in small letters; names are told apart without regard to case, RFC 7143 4.2.7.1. */
static bool starts_with(struct slice text, const char *prefix)
{
    struct slice p = slice_str(prefix);

    if (text.len < p.len)
        return false;
    for (size_t i = 0; i < p.len; i++)
        if (text.bytes[i] != p.bytes[i] &&
            !(is_upper(text.bytes[i]) && text.bytes[i] + 32 == p.bytes[i]))
            return false;
    return true;
}

static bool all_hex(struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (!is_hex(text.bytes[i]))
            return false;
    }
    return true;
}

bool text_is_iscsi_name(struct slice name)
{
    if (name.len <= 4 || name.len > TEXT_ISCSI_NAME_MAX)
        return false;
    struct slice rest = slice_of(name.bytes + 4, name.len - 4);
    if (starts_with(name, "eui."))
        return rest.len == 16 && all_hex(rest);
    if (starts_with(name, "naa."))
        return (rest.len == 16 || rest.len == 32) && all_hex(rest);
    if (!starts_with(name, "iqn."))
        return false;
    for (size_t i = 0; i < rest.len; i++) {
        uint8_t c = rest.bytes[i];
        if (c < 0x80 && !is_lower(c) && !is_upper(c) && !is_digit(c) && c != '.' && c != '-' &&
            c != ':' && c != '_')
            return false;
    }
    return text_is_printable(rest);
}

bool text_list_next(struct slice *rest, struct slice *item)
{
    size_t comma = find_byte(*rest, ',');

    if (rest->len == 0)
        return false;
    *item = slice_of(rest->bytes, comma);
    if (comma < rest->len)
        comma++;
    *rest = slice_of(rest->bytes + comma, rest->len - comma);
    return true;
}
