/*
 * buffer: memory for data on its way, in a few sizes, kept by a worker for reuse.
 *
 * A pool belongs to one worker; its calls come from there only. All pools together keep to one
 * limit (`memory_limit` in the config): past it buffer_get() answers NULL and the caller pushes
 * back (TASK SET FULL, or it stops reading from the socket). Buffers are not zeroed.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    BUFFER_SMALL = 4096,
    BUFFER_MEDIUM = 64 * 1024,
    BUFFER_LARGE = 256 * 1024 + 4096, /* a whole burst with the headers between its pieces */
    BUFFER_CLASSES = 3,               /* larger ones are made and freed one by one */
};

struct buffer {
    uint8_t *bytes;
    uint32_t cap;
    uint32_t len;  /* the user's own count */
    uint32_t refs; /* buffer_get() gives one */
    struct buffer *next;
};

struct buffer_pool;

/* `limit_bytes` is shared by every pool made with the same budget. */
struct buffer_budget {
    uint64_t limit_bytes;
    _Atomic uint64_t used_bytes;
};

struct buffer_pool *buffer_pool_create(struct buffer_budget *budget); /* NULL: no memory */
void buffer_pool_destroy(struct buffer_pool *pool);                   /* all buffers are back */

/* A buffer of at least `bytes`, refs = 1; NULL past the budget or without memory. */
struct buffer *buffer_get(struct buffer_pool *pool, uint32_t bytes);
void buffer_ref(struct buffer *buffer);
void buffer_put(struct buffer_pool *pool, struct buffer *buffer); /* drops one ref; NULL is fine */

/* Gives memory that has been idle since the last call back to the system. */
void buffer_pool_trim(struct buffer_pool *pool);

/* Nothing is kept for reuse: there is nothing to trim. */
bool buffer_pool_is_bare(const struct buffer_pool *pool);
