/*
 * ceiling: what this machine allows one thread: iSCSI's message shapes and next to no iSCSI.
 *
 *   ceiling FILE PORT
 *
 * A request is a 48-byte SCSI Command header with READ(16) or WRITE(16) and its write data behind
 * it, an answer a 48-byte header with its read data. It checks nothing and keeps no session: recv
 * of up to 256 KiB, pread into an arena behind each header, pwrite straight from the receive
 * buffer, one send for all answers of a turn. It trusts its client, `load --no-login`, and listens
 * on the loopback only. A target cannot be much faster by the same means; how near it comes is what
 * counts.
 */
#include "proto/pdu.h"
#include "tests/bench/bench.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    BUFFER_BYTES = 256 * 1024,
    PIECE_BYTES = 256 * 1024, /* of a read, one Data-In */
    ARENA_BYTES = PIECE_BYTES + BHS_BYTES,
    WHOLE_UP_TO_BYTES = 16 * 1024, /* a write of that size waits until it can be one pwrite */
    WINDOW = 4096,
    EVENTS_A_TURN = 64,
    SECTOR_BYTES = 512,
    FINAL_WITH_STATUS = 0x81,
    FINAL = 0x80,
    OP_WRITE_16 = 0x8a,
};

struct conn {
    int socket;
    bool wants_out;
    size_t held, arena_bytes, arena_sent;
    uint8_t request[BHS_BYTES];
    bool is_writing;
    uint32_t left, done; /* of the request */
    uint64_t offset;
    uint8_t buffer[BUFFER_BYTES], arena[ARENA_BYTES];
};

static int file, epoll;

static void put_header(struct conn *conn, uint8_t opcode, uint8_t flags, uint32_t count)
{
    uint8_t *header = conn->arena + conn->arena_bytes;

    memset(header, 0, BHS_BYTES);
    header[0] = opcode;
    header[1] = flags;
    put_be24(header + 5, count);
    memcpy(header + 16, conn->request + 16, 4);
    put_be32(header + 32, get_be32(conn->request + 24) + WINDOW);
    put_be32(header + 40, conn->done);
    conn->arena_bytes += BHS_BYTES;
}

/* False: the arena is full. */
static bool answer_read(struct conn *conn)
{
    while (conn->left) {
        uint32_t count = conn->left < PIECE_BYTES ? conn->left : PIECE_BYTES;

        if (conn->arena_bytes + BHS_BYTES + count > ARENA_BYTES)
            return false;
        put_header(conn, PDU_DATA_IN, count == conn->left ? FINAL_WITH_STATUS : 0, count);
        if (pread(file, conn->arena + conn->arena_bytes, count, (off_t)conn->offset) !=
            (ssize_t)count)
            fail("the file cannot be read at %llu", (unsigned long long)conn->offset);
        conn->arena_bytes += count;
        conn->left -= count;
        conn->done += count;
        conn->offset += count;
    }
    return true;
}

/* What of a write is there; gives the bytes taken. */
static uint32_t take_write(struct conn *conn, const uint8_t *bytes, size_t there)
{
    uint32_t count = there < conn->left ? (uint32_t)there : conn->left;

    if (count && pwrite(file, bytes, count, (off_t)conn->offset) != (ssize_t)count)
        fail("the file cannot be written: %s", strerror(errno));
    conn->offset += count;
    conn->left -= count;
    return count;
}

static void begin_request(struct conn *conn, const uint8_t *header)
{
    memcpy(conn->request, header, BHS_BYTES);
    conn->is_writing = header[32] == OP_WRITE_16;
    conn->offset = get_be64(header + 34) * SECTOR_BYTES;
    conn->left = conn->is_writing ? get_be24(header + 5) : get_be32(header + 42) * SECTOR_BYTES;
    conn->done = 0;
}

/* Works through what came, until the arena is full. */
static void work_through(struct conn *conn)
{
    size_t at = 0;

    for (;;) {
        const uint8_t *header;

        if (conn->is_writing) {
            at += take_write(conn, conn->buffer + at, conn->held - at);
            if (conn->left || conn->arena_bytes + BHS_BYTES > ARENA_BYTES)
                break;
            put_header(conn, PDU_SCSI_RESPONSE, FINAL, 0);
            conn->is_writing = false;
        } else if (conn->left && !answer_read(conn)) {
            break;
        }
        header = conn->buffer + at;
        if (conn->held - at < BHS_BYTES || (get_be24(header + 5) <= WHOLE_UP_TO_BYTES &&
                                            conn->held - at < BHS_BYTES + get_be24(header + 5)))
            break;
        at += BHS_BYTES;
        begin_request(conn, header);
    }
    conn->held -= at;
    if (conn->held && at)
        memmove(conn->buffer, conn->buffer + at, conn->held);
}

/* False: the client is gone. */
static bool send_arena(struct conn *conn)
{
    bool wants_out;

    while (conn->arena_sent < conn->arena_bytes) {
        ssize_t sent = send(conn->socket, conn->arena + conn->arena_sent,
                            conn->arena_bytes - conn->arena_sent, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (sent < 0 && errno == EAGAIN)
            break;
        if (sent < 0 && errno != EINTR)
            return false;
        conn->arena_sent += sent < 0 ? 0 : (size_t)sent;
    }
    wants_out = conn->arena_sent < conn->arena_bytes;
    if (!wants_out)
        conn->arena_bytes = conn->arena_sent = 0;
    if (wants_out != conn->wants_out) {
        struct epoll_event event = { .events = wants_out ? EPOLLOUT : EPOLLIN, .data.ptr = conn };

        epoll_ctl(epoll, EPOLL_CTL_MOD, conn->socket, &event);
        conn->wants_out = wants_out;
    }
    return true;
}

/* Answers what came; again as long as an arena full of answers went out whole. */
static bool take_turn(struct conn *conn)
{
    if (conn->wants_out) {
        if (!send_arena(conn))
            return false;
        if (conn->wants_out)
            return true;
    } else {
        ssize_t came =
            recv(conn->socket, conn->buffer + conn->held, BUFFER_BYTES - conn->held, MSG_DONTWAIT);

        if (came == 0 || (came < 0 && errno != EAGAIN))
            return false;
        conn->held += came < 0 ? 0 : (size_t)came;
    }
    for (;;) {
        size_t before = conn->held + conn->left;

        work_through(conn);
        if (!send_arena(conn))
            return false;
        if (conn->wants_out || conn->held + conn->left == before)
            return true;
    }
}

static void welcome(int listener)
{
    struct conn *conn;
    struct epoll_event event = { .events = EPOLLIN };
    const int on = 1, fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd < 0)
        return;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    conn = bench_alloc(1, sizeof(*conn));
    conn->socket = fd;
    event.data.ptr = conn;
    epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}

static int listen_on(unsigned port)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_port = htons((uint16_t)port),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct epoll_event event = { .events = EPOLLIN };
    const int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(fd, (struct sockaddr *)&address, sizeof(address)) || listen(fd, 256))
        fail("port %u: %s", port, strerror(errno));
    epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
    return fd;
}

int main(int argc, char **argv)
{
    int listener;

    if (argc != 3) {
        fprintf(stderr, "usage: %s FILE PORT\n", argv[0]);
        return 2;
    }
    file = open(argv[1], O_RDWR | O_CLOEXEC);
    if (file < 0)
        fail("%s: %s", argv[1], strerror(errno));
    epoll = epoll_create1(EPOLL_CLOEXEC);
    listener = listen_on(bench_number(argv[2], 1));
    for (;;) { /* until a signal ends it */
        struct epoll_event events[EVENTS_A_TURN];
        int count = epoll_wait(epoll, events, EVENTS_A_TURN, -1);

        for (int i = 0; i < count; i++) {
            struct conn *conn = events[i].data.ptr;

            if (!conn) {
                welcome(listener);
            } else if (!take_turn(conn)) {
                close(conn->socket);
                free(conn);
            }
        }
    }
}
