/*
 * cursor: reads bytes that somebody else wrote, and never past their end.
 *
 * A cursor that was asked for more than it holds sets `overrun`, answers zero from then on, and is
 * checked once, after the last read. A `struct slice` is a length-carrying view into bytes that
 * somebody else owns; it is not terminated.
 *
 * builder: the same for writing. A builder that ran out of room sets `overflow`, drops what does
 * not fit (a field is written whole or not at all) and is checked once.
 *
 * All multi-byte fields are big-endian, as on the wire.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct slice {
    const uint8_t *bytes;
    size_t len;
};

static inline struct slice slice_of(const void *bytes, size_t len)
{
    return (struct slice){ .bytes = bytes, .len = len };
}

/* For literals and other terminated strings of our own; never for wire bytes. */
static inline struct slice slice_str(const char *text)
{
    return slice_of(text, strlen(text)); /* own text: literals and configured lists */
}

static inline bool slice_equal(struct slice a, struct slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.bytes, b.bytes, a.len) == 0);
}

static inline bool slice_is(struct slice a, const char *literal)
{
    return slice_equal(a, slice_str(literal));
}

static inline uint16_t get_be16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static inline uint32_t get_be24(const uint8_t *p)
{
    return (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
}

static inline uint32_t get_be32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return __builtin_bswap32(v);
}

static inline uint64_t get_be64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return __builtin_bswap64(v);
}

static inline void put_be16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static inline void put_be24(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 16);
    p[1] = (uint8_t)(v >> 8);
    p[2] = (uint8_t)v;
}

static inline void put_be32(uint8_t *p, uint32_t v)
{
    v = __builtin_bswap32(v);
    memcpy(p, &v, sizeof v);
}

static inline void put_be64(uint8_t *p, uint64_t v)
{
    v = __builtin_bswap64(v);
    memcpy(p, &v, sizeof v);
}

struct cursor {
    const uint8_t *bytes;
    size_t len;
    size_t at; /* where the sequential reads go on; never beyond len */
    bool overrun;
};

static inline struct cursor cursor_over(const void *bytes, size_t len)
{
    return (struct cursor){ .bytes = bytes, .len = len };
}

static inline size_t cursor_left(const struct cursor *c)
{
    return c->len - c->at;
}

/* True when [offset, offset + len) lies inside; otherwise remembers the overrun. */
static inline bool cursor_holds(struct cursor *c, size_t offset, size_t len)
{
    if (offset <= c->len && len <= c->len - offset)
        return true;
    c->overrun = true;
    return false;
}

static inline uint8_t cursor_u8_at(struct cursor *c, size_t offset)
{
    return cursor_holds(c, offset, 1) ? c->bytes[offset] : 0;
}

static inline uint16_t cursor_be16_at(struct cursor *c, size_t offset)
{
    return cursor_holds(c, offset, 2) ? get_be16(c->bytes + offset) : 0;
}

static inline uint32_t cursor_be24_at(struct cursor *c, size_t offset)
{
    return cursor_holds(c, offset, 3) ? get_be24(c->bytes + offset) : 0;
}

static inline uint32_t cursor_be32_at(struct cursor *c, size_t offset)
{
    return cursor_holds(c, offset, 4) ? get_be32(c->bytes + offset) : 0;
}

static inline uint64_t cursor_be64_at(struct cursor *c, size_t offset)
{
    return cursor_holds(c, offset, 8) ? get_be64(c->bytes + offset) : 0;
}

/* A view of [offset, offset + len); empty and overrun when that is not all there. */
static inline struct cursor cursor_take(struct cursor *c, size_t offset, size_t len)
{
    return cursor_holds(c, offset, len) ? cursor_over(c->bytes + offset, len) : cursor_over("", 0);
}

/* Sequential reads: each moves `at` past what it read, or stays and remembers the overrun. */
static inline struct slice cursor_slice(struct cursor *c, size_t len)
{
    if (!cursor_holds(c, c->at, len))
        return slice_of("", 0);
    c->at += len;
    return slice_of(c->bytes + c->at - len, len);
}

static inline uint8_t cursor_u8(struct cursor *c)
{
    struct slice s = cursor_slice(c, 1);
    return s.len ? s.bytes[0] : 0;
}

static inline uint16_t cursor_be16(struct cursor *c)
{
    struct slice s = cursor_slice(c, 2);
    return s.len ? get_be16(s.bytes) : 0;
}

static inline uint32_t cursor_be32(struct cursor *c)
{
    struct slice s = cursor_slice(c, 4);
    return s.len ? get_be32(s.bytes) : 0;
}

static inline uint64_t cursor_be64(struct cursor *c)
{
    struct slice s = cursor_slice(c, 8);
    return s.len ? get_be64(s.bytes) : 0;
}

struct builder {
    uint8_t *bytes;
    size_t cap;
    size_t len;
    bool overflow;
};

static inline struct builder builder_over(void *bytes, size_t cap)
{
    return (struct builder){ .bytes = bytes, .cap = cap };
}

/* Room for `len` bytes, zeroed, or NULL. The pointer is good as long as the builder's memory. */
static inline uint8_t *builder_room(struct builder *b, size_t len)
{
    if (b->overflow || len > b->cap - b->len) {
        b->overflow = true;
        return NULL;
    }
    b->len += len;
    return memset(b->bytes + b->len - len, 0, len);
}

static inline void builder_bytes(struct builder *b, const void *bytes, size_t len)
{
    uint8_t *p = builder_room(b, len);
    if (p && len)
        memcpy(p, bytes, len);
}

static inline void builder_u8(struct builder *b, uint8_t v)
{
    builder_bytes(b, &v, 1);
}

static inline void builder_be16(struct builder *b, uint16_t v)
{
    uint8_t *p = builder_room(b, 2);
    if (p)
        put_be16(p, v);
}

static inline void builder_be32(struct builder *b, uint32_t v)
{
    uint8_t *p = builder_room(b, 4);
    if (p)
        put_be32(p, v);
}

static inline void builder_be64(struct builder *b, uint64_t v)
{
    uint8_t *p = builder_room(b, 8);
    if (p)
        put_be64(p, v);
}
