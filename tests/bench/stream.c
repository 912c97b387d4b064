#include "tests/bench/stream.h"
#include "proto/crc32c.h"
#include "tests/bench/bench.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    BUFFER_BYTES = 512 * 1024,
    PIECES_A_SEND = 256,
    DISCARD_FROM_BYTES = 16 * 1024, /* below it another system call costs more than the copy */
    READS_A_TURN = 16,
};

void stream_start(struct stream *stream, unsigned pieces)
{
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = stream };
    unsigned room = 64;

    while (room <= pieces)
        room *= 2;
    stream->queue = bench_alloc(room, sizeof(*stream->queue));
    stream->mask = room - 1;
    stream->buffer = bench_alloc(1, BUFFER_BYTES);
    if (fcntl(stream->socket, F_SETFL, O_NONBLOCK) ||
        epoll_ctl(stream->epoll, EPOLL_CTL_ADD, stream->socket, &event))
        fail("epoll: %s", strerror(errno));
}

void stream_end(struct stream *stream)
{
    close(stream->socket);
    free(stream->queue);
    free(stream->buffer);
}

/* ---- sending ---- */

void stream_push(struct stream *stream, const void *bytes, size_t count)
{
    if (stream->tail - stream->head > stream->mask)
        fail("more was queued for sending than there can be");
    stream->queue[stream->tail++ & stream->mask] = (struct iovec){ (void *)bytes, count };
}

static void take_off(struct stream *stream, size_t sent)
{
    while (sent) {
        struct iovec *piece = &stream->queue[stream->head & stream->mask];

        if (sent < piece->iov_len) {
            piece->iov_base = (uint8_t *)piece->iov_base + sent;
            piece->iov_len -= sent;
            return;
        }
        sent -= piece->iov_len;
        stream->head++;
    }
}

static ssize_t send_some(struct stream *stream)
{
    struct iovec pieces[PIECES_A_SEND];
    unsigned count = 0;
    struct msghdr message = { .msg_iov = pieces };

    for (unsigned i = stream->head; i != stream->tail && count < PIECES_A_SEND; i++)
        pieces[count++] = stream->queue[i & stream->mask];
    message.msg_iovlen = count;
    stream->syscalls++;
    return sendmsg(stream->socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

void stream_flush(struct stream *stream)
{
    bool wants_out;

    while (stream->head != stream->tail) {
        ssize_t sent = send_some(stream);

        if (sent >= 0)
            take_off(stream, (size_t)sent);
        else if (errno == EAGAIN)
            break;
        else if (errno != EINTR)
            fail("send: %s", strerror(errno));
    }
    wants_out = stream->head != stream->tail;
    if (wants_out != stream->wants_out) {
        struct epoll_event event = { .events = EPOLLIN | (wants_out ? EPOLLOUT : 0u),
                                     .data.ptr = stream };

        epoll_ctl(stream->epoll, EPOLL_CTL_MOD, stream->socket, &event);
        stream->syscalls++;
        stream->wants_out = wants_out;
    }
}

/* ---- receiving ---- */

static size_t header_bytes(const struct stream *stream)
{
    return BHS_BYTES + (stream->has_header_digest ? DIGEST_BYTES : 0);
}

static void begin_pdu(struct stream *stream, const uint8_t *header, uint64_t at_ns)
{
    uint32_t data_bytes = get_be24(header + 5);

    if (stream->has_header_digest &&
        !crc32c_matches(header + BHS_BYTES, crc32c_update(CRC32C_INIT, header, BHS_BYTES)))
        fail("the header digest of a PDU with opcode 0x%x is wrong", header[0]);
    if (header[4])
        fail("a PDU with opcode 0x%x has additional header segments", header[0]);
    if (!data_bytes) {
        stream->calls->pdu(stream->owner, header, at_ns);
        return;
    }
    memcpy(stream->bhs, header, BHS_BYTES);
    stream->in_segment = true;
    stream->data_left = data_bytes;
    stream->data_offset = 0;
    stream->trailer_bytes = (-data_bytes & 3) + (stream->has_data_digest ? DIGEST_BYTES : 0);
    stream->trailer_got = 0;
    stream->digest = CRC32C_INIT;
}

static void take_data(struct stream *stream, const uint8_t *bytes, uint32_t count)
{
    stream->calls->data(stream->owner, stream->bhs, stream->data_offset, bytes, count);
    if (stream->has_data_digest && !stream->is_discarding)
        stream->digest = crc32c_update(stream->digest, bytes, count);
    stream->data_offset += count;
    stream->data_left -= count;
}

static size_t take_trailer(struct stream *stream, const uint8_t *bytes, size_t count)
{
    uint32_t wanted = stream->trailer_bytes - stream->trailer_got;

    if (count > wanted)
        count = wanted;
    memcpy(stream->trailer + stream->trailer_got, bytes, count);
    stream->trailer_got += (uint32_t)count;
    return count;
}

static bool is_segment_over(const struct stream *stream)
{
    return !stream->data_left && stream->trailer_got == stream->trailer_bytes;
}

static void end_segment(struct stream *stream, uint64_t at_ns)
{
    if (stream->has_data_digest && !stream->is_discarding) {
        uint32_t padding = stream->trailer_bytes - DIGEST_BYTES;
        uint32_t digest = crc32c_update(stream->digest, stream->trailer, padding);

        if (!crc32c_matches(stream->trailer + padding, digest))
            fail("the data digest of a PDU with opcode 0x%x is wrong", stream->bhs[0]);
    }
    stream->in_segment = false;
    stream->calls->pdu(stream->owner, stream->bhs, at_ns);
}

/* Works through what came; gives how many bytes are left over, the beginning of a header. */
static size_t work_through(struct stream *stream, const uint8_t *bytes, size_t count,
                           uint64_t at_ns)
{
    size_t at = 0;

    for (;;) {
        if (stream->in_segment) {
            uint32_t data =
                count - at < stream->data_left ? (uint32_t)(count - at) : stream->data_left;

            if (data)
                take_data(stream, bytes + at, data);
            at += data;
            at += take_trailer(stream, bytes + at, count - at);
            if (!is_segment_over(stream))
                break;
            end_segment(stream, at_ns);
        }
        if (count - at < header_bytes(stream))
            break;
        at += header_bytes(stream);
        begin_pdu(stream, bytes + at - header_bytes(stream), at_ns);
    }
    return count - at;
}

/* How much to read: a segment that is worth dropping must not come with its header. */
static size_t wanted_bytes(const struct stream *stream)
{
    if (!stream->is_discarding)
        return BUFFER_BYTES - stream->held;
    if (stream->in_segment)
        return stream->data_left + stream->trailer_bytes - stream->trailer_got +
               header_bytes(stream);
    return header_bytes(stream) - stream->held;
}

static bool is_worth_dropping(const struct stream *stream)
{
    return stream->is_discarding && stream->in_segment && stream->data_left >= DISCARD_FROM_BYTES;
}

/* False: nothing more is there now. */
static bool receive_some(struct stream *stream)
{
    bool drops = is_worth_dropping(stream);
    size_t wanted = drops ? stream->data_left : wanted_bytes(stream);
    ssize_t came = recv(stream->socket, stream->buffer + stream->held, wanted,
                        MSG_DONTWAIT | (drops ? MSG_TRUNC : 0));

    stream->syscalls++;
    if (came == 0)
        fail("the target closed the connection");
    if (came < 0 && errno != EAGAIN && errno != EINTR)
        fail("recv: %s", strerror(errno));
    if (came < 0)
        return errno == EINTR;
    if (drops) {
        take_data(stream, NULL, (uint32_t)came);
        if (is_segment_over(stream))
            end_segment(stream, now_ns());
        return true;
    }
    size_t count = stream->held + (size_t)came;

    stream->held = work_through(stream, stream->buffer, count, now_ns());
    if (stream->held)
        memmove(stream->buffer, stream->buffer + count - stream->held, stream->held);
    return (size_t)came == wanted;
}

void stream_receive(struct stream *stream)
{
    for (int i = 0; i < READS_A_TURN && receive_some(stream); i++)
        ;
}
