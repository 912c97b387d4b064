/*
 * server: the admin socket: who may connect, and how many.
 *
 * A Unix stream socket of mode 0660 that carries JSON-RPC 2.0, one message a line, for root, the
 * daemon's own user, and the members of the admin group. What can be asked is admin/methods.h.
 *
 * Thread    the main thread.
 * Owns      the socket's path, from admin_open() to admin_close(), and every client.
 */
#pragma once

#include <stddef.h>
#include <time.h>

struct admin;
struct ev_loop;
struct registry;
struct workers;

struct admin_options {
    const char *path;
    const char *group; /* NULL: root and the daemon's own user only */
    struct ev_loop *loop;
    struct registry *registry;
    struct workers *workers;
    time_t started;
};

enum { ADMIN_CLIENTS_MAX = 32 };

/*
 * A socket that nobody answers on is replaced; anything else at `path` is left alone. 0, or a
 * negative errno with *error for a person: -EADDRINUSE (a daemon answers there), -EEXIST (no
 * socket), -ENOENT (no such folder, or group)...
 */
int admin_open(const struct admin_options *options, struct admin **out, char *error,
               size_t error_cap);

/* Drops the clients. Changes under way go on in the registry; their answers go nowhere. NULL is
 * fine. */
void admin_close(struct admin *admin);
