#include "target/worker/buffer.h"

#include <stdatomic.h>
#include <stdlib.h>

#if defined(__SANITIZE_ADDRESS__)
#define HAS_POISON 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAS_POISON 1
#endif
#endif
#ifdef HAS_POISON
#include <sanitizer/asan_interface.h>
#else
/* A kept buffer is nobody's: under AddressSanitizer, touching it is an error. */
#define ASAN_POISON_MEMORY_REGION(bytes, len)   ((void)(bytes), (void)(len))
#define ASAN_UNPOISON_MEMORY_REGION(bytes, len) ((void)(bytes), (void)(len))
#endif

enum {
    PAGE_BYTES = 4096,
    /* of one class, by one pool: with the standard budget, 32 large ones and a few for headers */
    KEPT_MAX_BYTES = 10 * 1024 * 1024,
    KEPT_SHARE = 24, /* and never more of the budget than one part in this many */
};

static const uint32_t class_bytes[BUFFER_CLASSES] = { BUFFER_SMALL, BUFFER_MEDIUM, BUFFER_LARGE };

struct shelf {
    struct buffer *first;
    unsigned count;
    unsigned idle; /* the fewest that lay here since the last trim: nobody needed those */
    unsigned max;
};

struct buffer_pool {
    struct buffer_budget *budget;
    struct shelf shelves[BUFFER_CLASSES];
};

static bool budget_take(struct buffer_budget *budget, uint64_t bytes)
{
    uint64_t before = atomic_fetch_add_explicit(&budget->used_bytes, bytes, memory_order_relaxed);

    if (bytes <= budget->limit_bytes && before <= budget->limit_bytes - bytes)
        return true;
    atomic_fetch_sub_explicit(&budget->used_bytes, bytes, memory_order_relaxed);
    return false;
}

static void budget_return(struct buffer_budget *budget, uint64_t bytes)
{
    atomic_fetch_sub_explicit(&budget->used_bytes, bytes, memory_order_relaxed);
}

/* Past three quarters of the budget nothing is kept, so that one worker's idle memory is not
 * another's want. */
static bool budget_is_tight(const struct buffer_budget *budget)
{
    return atomic_load_explicit(&budget->used_bytes, memory_order_relaxed) >
           budget->limit_bytes / 4 * 3;
}

struct buffer_pool *buffer_pool_create(struct buffer_budget *budget)
{
    struct buffer_pool *pool = calloc(1, sizeof(*pool));
    uint64_t kept_bytes = budget->limit_bytes / KEPT_SHARE;

    if (pool == NULL)
        return NULL;
    if (kept_bytes > KEPT_MAX_BYTES)
        kept_bytes = KEPT_MAX_BYTES;
    pool->budget = budget;
    for (int i = 0; i < BUFFER_CLASSES; i++)
        pool->shelves[i].max = (unsigned)(kept_bytes / class_bytes[i]);
    return pool;
}

static struct buffer *buffer_make(struct buffer_pool *pool, uint32_t cap)
{
    struct buffer *buffer;

    if (!budget_take(pool->budget, cap))
        return NULL;
    buffer = malloc(sizeof(*buffer));
    if (buffer == NULL)
        goto out;
    buffer->bytes = aligned_alloc(PAGE_BYTES, cap);
    if (buffer->bytes == NULL)
        goto out;
    buffer->cap = cap;
    return buffer;

out:
    free(buffer);
    budget_return(pool->budget, cap);
    return NULL;
}

static void buffer_free(struct buffer_pool *pool, struct buffer *buffer)
{
    budget_return(pool->budget, buffer->cap);
    free(buffer->bytes);
    free(buffer);
}

static struct buffer *shelf_take(struct shelf *shelf)
{
    struct buffer *buffer = shelf->first;

    shelf->first = buffer->next;
    shelf->count--;
    if (shelf->idle > shelf->count)
        shelf->idle = shelf->count;
    ASAN_UNPOISON_MEMORY_REGION(buffer->bytes, buffer->cap);
    return buffer;
}

static void shelf_empty(struct buffer_pool *pool, struct shelf *shelf, unsigned count)
{
    while (count-- > 0 && shelf->count > 0)
        buffer_free(pool, shelf_take(shelf));
}

void buffer_pool_destroy(struct buffer_pool *pool)
{
    if (pool == NULL)
        return;
    for (int i = 0; i < BUFFER_CLASSES; i++)
        shelf_empty(pool, &pool->shelves[i], pool->shelves[i].count);
    free(pool);
}

static int class_for(uint32_t bytes)
{
    int class = 0;

    while (class < BUFFER_CLASSES && class_bytes[class] < bytes)
        class ++;
    return class;
}

struct buffer *buffer_get(struct buffer_pool *pool, uint32_t bytes)
{
    int class = class_for(bytes);
    uint64_t cap = class < BUFFER_CLASSES
                       ? class_bytes[class]
                       : ((uint64_t)bytes + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
    struct buffer *buffer;

    if (cap > UINT32_MAX)
        return NULL;
    if (class < BUFFER_CLASSES && pool->shelves[class].count > 0) {
        buffer = shelf_take(&pool->shelves[class]);
    } else {
        buffer = buffer_make(pool, (uint32_t)cap);
        if (buffer == NULL) {
            /* our own kept buffers of other sizes may be what is in the way */
            for (int i = 0; i < BUFFER_CLASSES; i++)
                shelf_empty(pool, &pool->shelves[i], pool->shelves[i].count);
            buffer = buffer_make(pool, (uint32_t)cap);
        }
        if (buffer == NULL)
            return NULL;
    }
    buffer->len = 0;
    buffer->refs = 1;
    buffer->next = NULL;
    return buffer;
}

void buffer_ref(struct buffer *buffer)
{
    buffer->refs++;
}

void buffer_put(struct buffer_pool *pool, struct buffer *buffer)
{
    struct shelf *shelf;
    int class;

    if (buffer == NULL || --buffer->refs > 0)
        return;
    class = class_for(buffer->cap);
    shelf = class < BUFFER_CLASSES ? &pool->shelves[class] : NULL;
    if (shelf == NULL || shelf->count >= shelf->max || budget_is_tight(pool->budget)) {
        buffer_free(pool, buffer);
        return;
    }
    ASAN_POISON_MEMORY_REGION(buffer->bytes, buffer->cap);
    buffer->next = shelf->first;
    shelf->first = buffer;
    shelf->count++;
}

void buffer_pool_trim(struct buffer_pool *pool)
{
    for (int i = 0; i < BUFFER_CLASSES; i++) {
        struct shelf *shelf = &pool->shelves[i];

        shelf_empty(pool, shelf, shelf->idle);
        shelf->idle = shelf->count;
    }
}

bool buffer_pool_is_bare(const struct buffer_pool *pool)
{
    for (int i = 0; i < BUFFER_CLASSES; i++)
        if (pool->shelves[i].count > 0)
            return false;
    return true;
}
