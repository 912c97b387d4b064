/*
 * stream: PDUs over one socket, as many as possible with each system call.
 *
 * Sending: stream_push() queues pieces that stay the caller's until they are sent, stream_flush()
 * sends them all in as few gathered sends as the kernel takes. Receiving: stream_receive() reads
 * what is there and calls `data` for each piece of a data segment, then `pdu` once for each PDU.
 * With `is_discarding` the payload of large segments is dropped in the kernel (MSG_TRUNC): it is
 * counted and never copied, so that the client is not what limits; `data` is called with NULL, and
 * data digests are not checked then.
 *
 * Anything that breaks the stream ends the program (bench.h): the target closed, a digest is wrong.
 *
 * Thread  the one that runs the epoll.
 * RFC 7143  11.1 (framing), 13.1 (digests).
 */
#pragma once

#include "proto/pdu.h"

#include <sys/uio.h>

struct stream_calls {
    /* `bytes` is NULL for what was dropped. */
    void (*data)(void *owner, const uint8_t *bhs, uint32_t offset, const uint8_t *bytes,
                 uint32_t count);
    void (*pdu)(void *owner, const uint8_t *bhs, uint64_t at_ns);
};

struct stream {
    int socket, epoll;
    const struct stream_calls *calls;
    void *owner;
    bool has_header_digest, has_data_digest, is_discarding;
    uint64_t syscalls;

    struct iovec *queue; /* a ring of what waits to be sent */
    unsigned head, tail, mask;
    bool wants_out;

    uint8_t *buffer;
    size_t held; /* of a header that has not come whole */
    uint8_t bhs[BHS_BYTES];
    bool in_segment;
    uint32_t data_left, data_offset;
    uint8_t trailer[3 + DIGEST_BYTES]; /* padding, then the digest */
    uint32_t trailer_bytes, trailer_got;
    uint32_t digest;
};

/* `pieces` bounds what is queued at one time. The socket joins the epoll with the stream as data.
 */
void stream_start(struct stream *stream, unsigned pieces);
/* Closes the socket. */
void stream_end(struct stream *stream);
void stream_push(struct stream *stream, const void *bytes, size_t count);
void stream_flush(struct stream *stream);
void stream_receive(struct stream *stream);
