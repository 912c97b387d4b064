#include "target/iscsi/send_queue.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>

enum {
    RING_FIRST = 16,
    RING_KEPT = 512, /* header and data of a read from the disk, for each command of a window */
    RING_MAX = 1 << 16,
    IOVECS_PER_SEND = 128,
};

void send_queue_open(struct send_queue *queue, struct buffer_pool *pool)
{
    *queue = (struct send_queue){ .pool = pool };
}

static struct send_segment *segment_at(struct send_queue *queue, uint32_t index)
{
    return &queue->ring[index & (queue->cap - 1)];
}

static void drop_ring(struct send_queue *queue)
{
    free(queue->ring);
    queue->ring = NULL;
    queue->head = queue->tail = queue->cap = 0;
}

/* The queue is empty. A ring that is not too large stays, so that a busy connection does not
 * allocate every turn. */
static void drop_memory(struct send_queue *queue)
{
    buffer_put(queue->pool, queue->arena);
    queue->arena = NULL;
    if (queue->cap > RING_KEPT)
        drop_ring(queue);
}

void send_queue_close(struct send_queue *queue)
{
    for (; queue->head != queue->tail; queue->head++)
        buffer_put(queue->pool, segment_at(queue, queue->head)->buffer);
    queue->queued_bytes = 0;
    drop_memory(queue);
    drop_ring(queue);
}

uint8_t *send_queue_reserve(struct send_queue *queue, uint32_t len)
{
    struct buffer *arena = queue->arena;

    if (!arena || arena->cap - arena->len < len) {
        /* the first small answer of a turn gets a small arena; whoever fills that gets a large one
         */
        uint32_t size = !arena && len <= BUFFER_SMALL ? BUFFER_SMALL : BUFFER_LARGE;

        if (len > BUFFER_LARGE)
            return NULL;
        struct buffer *fresh = buffer_get(queue->pool, size);
        if (!fresh)
            return NULL;
        fresh->len = 0;
        buffer_put(queue->pool, arena);
        queue->arena = arena = fresh;
    }
    return arena->bytes + arena->len;
}

static int ring_make_room(struct send_queue *queue)
{
    if (queue->tail - queue->head < queue->cap)
        return 0;
    if (queue->cap >= RING_MAX)
        return -ENOMEM;
    uint32_t cap = queue->cap ? queue->cap * 2 : RING_FIRST;
    struct send_segment *ring = malloc(cap * sizeof *ring);
    if (!ring)
        return -ENOMEM;
    uint32_t count = queue->tail - queue->head;
    for (uint32_t i = 0; i < count; i++)
        ring[i] = *segment_at(queue, queue->head + i);
    free(queue->ring);
    queue->ring = ring;
    queue->cap = cap;
    queue->head = 0;
    queue->tail = count;
    return 0;
}

static int push(struct send_queue *queue, struct buffer *buffer, const uint8_t *bytes, uint32_t len)
{
    int error = ring_make_room(queue);
    if (error)
        return error;
    *segment_at(queue, queue->tail++) =
        (struct send_segment){ .bytes = bytes, .len = len, .buffer = buffer };
    queue->queued_bytes += len;
    return 0;
}

int send_queue_commit(struct send_queue *queue, uint32_t len)
{
    struct buffer *arena = queue->arena;
    const uint8_t *bytes = arena->bytes + arena->len;

    if (!send_queue_is_empty(queue)) {
        struct send_segment *last = segment_at(queue, queue->tail - 1);
        if (last->buffer == arena && last->bytes + last->len == bytes) {
            last->len += len;
            arena->len += len;
            queue->queued_bytes += len;
            return 0;
        }
    }
    int error = push(queue, arena, bytes, len);
    if (error)
        return error;
    buffer_ref(arena);
    arena->len += len;
    return 0;
}

int send_queue_buffer(struct send_queue *queue, struct buffer *buffer, const uint8_t *bytes,
                      uint32_t len)
{
    int error = push(queue, buffer, bytes, len);
    if (error)
        buffer_put(queue->pool, buffer);
    return error;
}

static void consume(struct send_queue *queue, size_t sent)
{
    queue->queued_bytes -= sent;
    while (sent > 0) {
        struct send_segment *first = segment_at(queue, queue->head);
        if (sent < first->len) {
            first->bytes += sent;
            first->len -= (uint32_t)sent;
            return;
        }
        sent -= first->len;
        buffer_put(queue->pool, first->buffer);
        queue->head++;
    }
}

int send_queue_flush(struct send_queue *queue, int fd, bool is_more_coming)
{
    while (!send_queue_is_empty(queue)) {
        struct iovec iov[IOVECS_PER_SEND];
        unsigned count = 0;

        for (uint32_t i = queue->head; i != queue->tail && count < IOVECS_PER_SEND; i++, count++) {
            struct send_segment *segment = segment_at(queue, i);
            iov[count] = (struct iovec){ (void *)(uintptr_t)segment->bytes, segment->len };
        }
        bool is_more = is_more_coming || queue->tail - queue->head > count;
        struct msghdr message = { .msg_iov = iov, .msg_iovlen = count };
        ssize_t sent =
            sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT | (is_more ? MSG_MORE : 0));
        if (sent < 0) {
            if (errno == EINTR)
                continue;
            return errno == EWOULDBLOCK ? -EAGAIN : -errno;
        }
        consume(queue, (size_t)sent);
    }
    drop_memory(queue);
    return 0;
}
