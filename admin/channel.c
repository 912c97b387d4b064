#include "admin/channel.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { IN_CAP = CHANNEL_MESSAGE_MAX + 1 };

static size_t unsent(const struct channel *channel)
{
    return channel->out_len - channel->out_start;
}

static bool may_take(const struct channel *channel)
{
    return channel->pending < CHANNEL_PENDING_MAX && unsent(channel) < CHANNEL_OUTPUT_HIGH &&
           !channel->is_broken;
}

/* Comes back through turn() in this loop iteration, outside of whoever called. */
static void wake(struct channel *channel)
{
    ev_feed_event(channel->loop, &channel->writable, EV_WRITE);
}

static size_t unread(const struct channel *channel)
{
    return channel->in_len - channel->in_start;
}

static void receive(struct channel *channel)
{
    ssize_t got;

    if (channel->is_ended || unread(channel) == IN_CAP)
        return;
    memmove(channel->in, channel->in + channel->in_start, unread(channel));
    channel->in_len -= channel->in_start;
    channel->in_scanned -= channel->in_start;
    channel->in_start = 0;
    got = recv(channel->fd, channel->in + channel->in_len, IN_CAP - channel->in_len, 0);
    if (got > 0)
        channel->in_len += (size_t)got;
    else if (got == 0)
        channel->is_ended = true; /* it may still read: `nc -N`; what is pending gets its answer */
    else if (errno != EAGAIN && errno != EINTR)
        channel->is_broken = true;
}

static void deliver(struct channel *channel, size_t len)
{
    const char *text = channel->in + channel->in_start;

    while (len > 0 && text[len - 1] == '\r')
        len--;
    if (len > 0)
        channel->events->message(channel, text, len);
}

static void consume(struct channel *channel, size_t bytes)
{
    channel->in_start += bytes;
    channel->in_scanned = channel->in_start;
}

/* The length of the first whole line without its newline; false: there is none yet. */
static bool find_line(struct channel *channel, size_t *len)
{
    const char *end =
        memchr(channel->in + channel->in_scanned, '\n', channel->in_len - channel->in_scanned);

    if (!end) {
        channel->in_scanned = channel->in_len;
        return false;
    }
    *len = (size_t)(end - channel->in) - channel->in_start;
    return true;
}

static void take_messages(struct channel *channel)
{
    size_t len;

    while (may_take(channel) && find_line(channel, &len)) {
        deliver(channel, len);
        consume(channel, len + 1);
    }
    if (!may_take(channel))
        return; /* there may be another whole line, for later */
    if (unread(channel) == IN_CAP) {
        channel->events->overlong(channel);
        channel->is_ended = true;
        consume(channel, unread(channel));
    } else if (channel->is_ended && unread(channel) > 0) {
        deliver(channel, unread(channel)); /* the last line has no newline */
        consume(channel, unread(channel));
    }
}

static void transmit(struct channel *channel)
{
    while (unsent(channel) > 0 && !channel->is_broken) {
        ssize_t sent =
            send(channel->fd, channel->out + channel->out_start, unsent(channel), MSG_NOSIGNAL);

        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0) {
            channel->is_broken = errno != EAGAIN;
            return;
        }
        channel->out_start += (size_t)sent;
        ev_timer_again(channel->loop, &channel->stall);
    }
    if (unsent(channel) == 0) {
        free(channel->out);
        channel->out = NULL;
        channel->out_start = channel->out_len = channel->out_cap = 0;
        ev_timer_stop(channel->loop, &channel->stall);
    }
}

static bool is_finished(const struct channel *channel)
{
    return channel->is_broken || (channel->is_ended && unread(channel) == 0 &&
                                  channel->pending == 0 && unsent(channel) == 0);
}

static void turn(struct channel *channel, bool is_readable)
{
    if (is_readable)
        receive(channel);
    take_messages(channel);
    transmit(channel);
    if (is_finished(channel))
        return channel_close(channel);

    if (may_take(channel) && !channel->is_ended)
        ev_io_start(channel->loop, &channel->readable);
    else
        ev_io_stop(channel->loop, &channel->readable);
    if (unsent(channel) > 0)
        ev_io_start(channel->loop, &channel->writable);
    else
        ev_io_stop(channel->loop, &channel->writable);
    /* Sending has made room for lines that were held back. Last, for stopping a watcher unfeeds it.
     */
    if (may_take(channel) && unread(channel) > 0 &&
        (channel->in_scanned < channel->in_len || channel->is_ended))
        wake(channel);
}

static void on_readable(struct ev_loop *loop, ev_io *watcher, int events)
{
    (void)loop, (void)events;
    turn(watcher->data, true);
}

static void on_writable(struct ev_loop *loop, ev_io *watcher, int events)
{
    (void)loop, (void)events;
    turn(watcher->data, false);
}

static void on_stall(struct ev_loop *loop, ev_timer *watcher, int events)
{
    (void)loop, (void)events;
    channel_close(watcher->data);
}

int channel_open(struct channel *channel, struct ev_loop *loop, int fd,
                 const struct channel_events *events)
{
    *channel = (struct channel){ .events = events, .loop = loop, .fd = fd };
    channel->in = malloc(IN_CAP);
    if (!channel->in)
        return -ENOMEM;
    ev_io_init(&channel->readable, on_readable, fd, EV_READ);
    ev_io_init(&channel->writable, on_writable, fd, EV_WRITE);
    ev_timer_init(&channel->stall, on_stall, CHANNEL_STALL_S, CHANNEL_STALL_S);
    channel->readable.data = channel->writable.data = channel->stall.data = channel;
    ev_io_start(loop, &channel->readable);
    return 0;
}

static bool make_room(struct channel *channel, size_t bytes)
{
    size_t cap = channel->out_cap ? channel->out_cap : 4096;
    char *grown;

    if (bytes > CHANNEL_OUTPUT_MAX || unsent(channel) > CHANNEL_OUTPUT_MAX - bytes)
        return false;
    if (channel->out_start > 0) {
        memmove(channel->out, channel->out + channel->out_start, unsent(channel));
        channel->out_len -= channel->out_start;
        channel->out_start = 0;
    }
    while (cap < channel->out_len + bytes)
        cap *= 2;
    if (cap == channel->out_cap)
        return true;
    grown = realloc(channel->out, cap);
    if (!grown)
        return false;
    channel->out = grown;
    channel->out_cap = cap;
    return true;
}

void channel_send(struct channel *channel, const char *text, size_t len)
{
    if (!channel->is_broken && make_room(channel, len + 1)) {
        if (unsent(channel) == 0)
            ev_timer_again(channel->loop, &channel->stall);
        memcpy(channel->out + channel->out_len, text, len);
        channel->out[channel->out_len + len] = '\n';
        channel->out_len += len + 1;
    } else {
        channel->is_broken = true; /* a client that lacks an answer must not wait for it */
    }
    wake(channel);
}

void channel_hold(struct channel *channel)
{
    channel->pending++;
}

void channel_release(struct channel *channel)
{
    channel->pending--;
    wake(channel);
}

void channel_close(struct channel *channel)
{
    ev_io_stop(channel->loop, &channel->readable);
    ev_io_stop(channel->loop, &channel->writable);
    ev_timer_stop(channel->loop, &channel->stall);
    ev_clear_pending(channel->loop, &channel->readable);
    ev_clear_pending(channel->loop, &channel->writable);
    close(channel->fd);
    free(channel->in);
    free(channel->out);
    channel->events->closed(channel);
}
