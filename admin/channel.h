/*
 * channel: one client of the admin socket: lines in, lines out, both bounded.
 *
 * Thread    the loop's.
 * Owns      its socket and both buffers. Embedded in what the server keeps of a client.
 * Ends      by itself: the client has gone and all is answered, it reads nothing for
 * CHANNEL_STALL_S seconds, or a line is too long. closed() is its last call and may free it. Never
 * from within channel_send() and friends, so callers may go on using it after them. Bounds    a
 * line of CHANNEL_MESSAGE_MAX bytes; CHANNEL_PENDING_MAX answers outstanding, or
 *           CHANNEL_OUTPUT_HIGH bytes unsent, and nothing more is read; CHANNEL_OUTPUT_MAX bytes
 * unsent and the client is dropped.
 */
#pragma once

#include <ev.h>
#include <stdbool.h>
#include <stddef.h>

enum {
    CHANNEL_MESSAGE_MAX = 64 * 1024,
    CHANNEL_PENDING_MAX = 16,
    CHANNEL_OUTPUT_HIGH = 256 * 1024,
    CHANNEL_OUTPUT_MAX = 16 * 1024 * 1024,
    CHANNEL_STALL_S = 30,
};

struct channel;

struct channel_events {
    /* A line without its end. The bytes are the channel's, until this returns. Blank lines do not
     * come. */
    void (*message)(struct channel *channel, const char *text, size_t len);
    /* More than a message may have: say so with channel_send(); the channel closes once that is
     * sent. */
    void (*overlong)(struct channel *channel);
    void (*closed)(struct channel *channel);
};

struct channel {
    const struct channel_events *events;
    struct ev_loop *loop;
    int fd;
    ev_io readable, writable;
    ev_timer stall;
    unsigned pending;
    bool is_ended;  /* nothing more is read: the client's end, or a line too long */
    bool is_broken; /* nothing more can be sent: it closes in the next turn */

    char *in;
    size_t in_start, in_scanned, in_len; /* [in_start, in_scanned) holds no newline */
    char *out;
    size_t out_start, out_len, out_cap; /* unsent: [out_start, out_len) */
};

/* `fd` is a connected stream socket, non-blocking, taken over on success. 0 or -ENOMEM. */
int channel_open(struct channel *channel, struct ev_loop *loop, int fd,
                 const struct channel_events *events);

/* Queues a line; the newline is added here. */
void channel_send(struct channel *channel, const char *text, size_t len);

/* Brackets the time in which a message's answer is outstanding. */
void channel_hold(struct channel *channel);
void channel_release(struct channel *channel);

/* At once, unsent lines are lost; calls closed(). Not from within message() or overlong(). */
void channel_close(struct channel *channel);
