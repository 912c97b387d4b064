/*
 * send_queue: what one connection has to send, in order, and the memory that it stands in.
 *
 * Headers and small data are written into an arena (a buffer of the worker's pool) one behind the
 * other, so that everything which a loop turn produced leaves in one sendmsg(). Data that was read
 * elsewhere is named, not copied; its buffer is put back when its last byte is with the kernel.
 * An empty queue holds no buffer, and a ring that is small.
 *
 * Thread    the connection's worker.
 */
#pragma once

#include "target/worker/buffer.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct send_segment {
    const uint8_t *bytes;
    uint32_t len;
    struct buffer *buffer; /* one ref is the segment's */
};

struct send_queue {
    struct buffer_pool *pool;
    struct buffer *arena; /* where the next header goes; one ref is the queue's */
    struct send_segment *ring;
    uint32_t head, tail, cap; /* cap is a power of two, or 0 */
    uint64_t queued_bytes;
};

void send_queue_open(struct send_queue *queue, struct buffer_pool *pool);
void send_queue_close(struct send_queue *queue); /* forgets what was not sent */

static inline bool send_queue_is_empty(const struct send_queue *queue)
{
    return queue->head == queue->tail;
}

/*
 * `len` bytes in one piece at the end of the arena; NULL without memory, or when len is more than
 * an arena holds. Nothing is queued until send_queue_commit().
 */
uint8_t *send_queue_reserve(struct send_queue *queue, uint32_t len);

/* Queues the first `len` bytes of what was reserved last. 0 or -ENOMEM (the ring cannot grow). */
int send_queue_commit(struct send_queue *queue, uint32_t len);

/* Queues bytes that stand in `buffer` and takes over one ref of it, on an error too. */
int send_queue_buffer(struct send_queue *queue, struct buffer *buffer, const uint8_t *bytes,
                      uint32_t len);

/*
 * Sends what the socket takes now. 0: all of it is gone; -EAGAIN: some is left; another negative
 * errno: the connection is broken. is_more_coming: the kernel need not send what
 * fills no packet, since the next call comes at once.
 */
int send_queue_flush(struct send_queue *queue, int fd, bool is_more_coming);
