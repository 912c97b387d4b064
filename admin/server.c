#include "admin/server.h"

#include "admin/channel.h"
#include "admin/jsonrpc.h"
#include "admin/methods.h"
#include "admin/socket_file.h"
#include "target/worker/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* One message whose answer is outstanding; outlives its client when that goes first. */
struct question {
    struct client *client; /* NULL: gone */
    LIST_ENTRY(question) link;
};

struct client {
    struct channel channel; /* first: the channel's events are the client's */
    struct admin *admin;
    uid_t uid;
    LIST_HEAD(, question) questions;
    LIST_ENTRY(client) link;
};

struct admin {
    struct methods_daemon daemon;
    struct ev_loop *loop;
    ev_io acceptable;
    struct socket_file file;
    gid_t group;
    bool has_group;
    unsigned client_count;
    LIST_HEAD(, client) clients;
};

static void on_answer(void *context, const char *text, size_t len)
{
    struct question *question = context;
    struct client *client = question->client;

    if (client) {
        LIST_REMOVE(question, link);
        if (text)
            channel_send(&client->channel, text, len);
        channel_release(&client->channel);
    }
    free(question);
}

static void on_message(struct channel *channel, const char *text, size_t len)
{
    struct client *client = (struct client *)channel;
    struct question *question = malloc(sizeof *question);

    if (!question) {
        channel_send(channel, jsonrpc_out_of_memory, strlen(jsonrpc_out_of_memory));
        return;
    }
    question->client = client;
    LIST_INSERT_HEAD(&client->questions, question, link);
    channel_hold(channel);
    methods_take(&client->admin->daemon, client->uid, text, len, on_answer, question);
}

static void on_overlong(struct channel *channel)
{
    char text[160];
    int len = snprintf(text, sizeof text,
                       "{\"jsonrpc\":\"2.0\",\"error\":{\"code\":-32600,\"message\":"
                       "\"a message of more than %d bytes\"},\"id\":null}",
                       CHANNEL_MESSAGE_MAX);

    channel_send(channel, text, (size_t)len);
}

static void on_closed(struct channel *channel)
{
    struct client *client = (struct client *)channel;
    struct question *question;

    LIST_FOREACH (question, &client->questions, link)
        question->client = NULL;
    LIST_REMOVE(client, link);
    client->admin->client_count--;
    free(client);
}

static const struct channel_events client_events = {
    .message = on_message,
    .overlong = on_overlong,
    .closed = on_closed,
};

/* One line, if the socket takes it at once, and out. */
static void turn_away(int fd, const char *why)
{
    char text[256];
    int len = snprintf(text, sizeof text,
                       "{\"jsonrpc\":\"2.0\",\"error\":{\"code\":1,\"message\":\"%s\","
                       "\"data\":{\"errno\":\"EACCES\"}},\"id\":null}\n",
                       why);

    if (send(fd, text, (size_t)len, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
        log_debug("admin: a refused client did not hear why: %s", strerror(errno));
    close(fd);
}

static void accept_client(struct admin *admin, int fd)
{
    struct client *client;
    uid_t uid;

    if (!socket_admits(fd, admin->has_group, admin->group, &uid)) {
        log_warning("admin: refused uid %u: neither root, nor the daemon's user, nor in its "
                    "admin_group",
                    (unsigned)uid);
        turn_away(fd, "not allowed: nestord admits root, its own user and its admin_group");
        return;
    }
    if (admin->client_count >= ADMIN_CLIENTS_MAX) {
        turn_away(fd, "too many clients are connected to nestord: close one");
        return;
    }
    client = calloc(1, sizeof *client);
    if (!client || channel_open(&client->channel, admin->loop, fd, &client_events) != 0) {
        free(client);
        turn_away(fd, "nestord is out of memory");
        return;
    }
    client->admin = admin;
    client->uid = uid;
    LIST_INIT(&client->questions);
    LIST_INSERT_HEAD(&admin->clients, client, link);
    admin->client_count++;
}

static void on_acceptable(struct ev_loop *loop, ev_io *watcher, int events)
{
    struct admin *admin = watcher->data;
    int fd = accept4(watcher->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    (void)loop, (void)events;
    if (fd >= 0)
        accept_client(admin, fd);
    else if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
        log_peer("admin: cannot accept a client: %s", strerror(errno));
}

int admin_open(const struct admin_options *options, struct admin **out, char *error,
               size_t error_cap)
{
    struct admin *admin = calloc(1, sizeof *admin);
    int result = -ENOMEM;

    if (!admin) {
        snprintf(error, error_cap, "out of memory");
        return result;
    }
    *admin = (struct admin){
        .daemon = {options->registry, options->workers, options->started},
        .loop = options->loop,
        .has_group = options->group && options->group[0],
    };
    LIST_INIT(&admin->clients);
    if (admin->has_group)
        result = socket_group(options->group, &admin->group, error, error_cap);
    if (!admin->has_group || result == 0)
        result = socket_file_open(&admin->file, options->path, admin->has_group, admin->group,
                                  error, error_cap);
    if (result != 0) {
        free(admin);
        return result;
    }
    ev_io_init(&admin->acceptable, on_acceptable, admin->file.fd, EV_READ);
    admin->acceptable.data = admin;
    ev_io_start(admin->loop, &admin->acceptable);
    *out = admin;
    return 0;
}

void admin_close(struct admin *admin)
{
    if (!admin)
        return;
    ev_io_stop(admin->loop, &admin->acceptable);
    while (!LIST_EMPTY(&admin->clients))
        channel_close(&LIST_FIRST(&admin->clients)->channel);
    socket_file_close(&admin->file);
    free(admin);
}
