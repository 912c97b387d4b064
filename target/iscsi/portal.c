#include "target/iscsi/portal.h"

#include "target/iscsi/conn.h"
#include "target/iscsi/session.h"
#include "target/worker/log.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    ACCEPTS_PER_TURN = 64,
    LISTEN_BACKLOG = 1024,
    ACCEPT_PAUSE_MS = 200, /* out of descriptors: try again when some have been closed */
};

struct portal {
    struct portals *portals;
    ev_io acceptable;
    ev_timer retry;
};

/*
 * Somebody waits for sessions to be gone: all of them (and then the room's memory of each worker
 * goes too), or those with one node. It runs on every worker; `next` is per worker.
 */
struct session_drain {
    struct broadcast broadcast;
    struct portals *portals; /* closing them all; NULL: one node's sessions */
    struct node *node;
    const char *why; /* for the log */
    void (*done)(void *context);
    void *context;
    struct session_drain_part {
        struct session_drain *drain;
        struct session_drain_part *next;
    } part[WORKERS_MAX];
};

struct portals {
    struct portal_settings settings;
    struct workers *workers;
    struct ev_loop *loop;
    struct mailbox *home;
    _Atomic unsigned half_open;
    unsigned count;
    struct portal *portal;
    struct session_drain closing; /* here from the start, so that an orderly stop needs no memory */
};

/* A connection on its way to its worker. */
struct arrival {
    struct message message;
    struct portals *portals;
    struct worker *worker;
    int fd;
    struct sockaddr_storage peer, local;
};

const struct portal_settings *portals_settings(const struct portals *portals)
{
    return &portals->settings;
}

void portals_login_over(struct portals *portals)
{
    atomic_fetch_sub(&portals->half_open, 1);
}

void portals_conn_closed(struct portals *portals, struct worker *worker)
{
    (void)portals;
    atomic_fetch_sub(&worker->connections, 1);
    portals_session_gone(worker);
}

static void arrival_run(struct message *message)
{
    struct arrival *arrival = (struct arrival *)message;

    conn_open(arrival->worker, arrival->portals, arrival->fd, &arrival->peer, &arrival->local);
    free(arrival);
}

static struct worker *least_loaded(struct workers *workers)
{
    struct worker *best = workers->worker[0];

    for (unsigned i = 1; i < workers->count; i++)
        if (atomic_load(&workers->worker[i]->connections) < atomic_load(&best->connections))
            best = workers->worker[i];
    return best;
}

static void hand_over(struct portals *portals, int fd, const struct sockaddr_storage *peer)
{
    struct arrival *arrival = malloc(sizeof *arrival);
    socklen_t len = sizeof arrival->local;

    if (!arrival || getsockname(fd, (struct sockaddr *)&arrival->local, &len) != 0 ||
        atomic_load(&portals->half_open) >= portals->settings.max_half_open) {
        log_peer("refused a connection: %s",
                 arrival ? "too many are not logged in yet (max_half_open)" : "out of memory");
        free(arrival);
        close(fd);
        return;
    }
    atomic_fetch_add(&portals->half_open, 1);
    arrival->message.run = arrival_run;
    arrival->portals = portals;
    arrival->worker = least_loaded(portals->workers);
    arrival->fd = fd;
    arrival->peer = *peer;
    atomic_fetch_add(&arrival->worker->connections, 1);
    worker_post(arrival->worker, &arrival->message);
}

static void portal_acceptable(struct ev_loop *loop, ev_io *watcher, int events)
{
    struct portal *portal = watcher->data;

    (void)events;
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        struct sockaddr_storage peer;
        socklen_t len = sizeof peer;
        int fd = accept4(watcher->fd, (struct sockaddr *)&peer, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            hand_over(portal->portals, fd, &peer);
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            log_peer("cannot accept a connection: %s; raise the limit of open files",
                     strerror(errno));
            ev_io_stop(loop, watcher);
            ev_timer_again(loop, &portal->retry);
            return;
        } else if (errno != ECONNABORTED && errno != EINTR) {
            return;
        }
    }
}

static void portal_retry(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct portal *portal = timer->data;

    (void)events;
    ev_timer_stop(loop, timer);
    ev_io_start(loop, &portal->acceptable);
}

/* "ADDRESS:PORT", IPv6 in brackets. */
static int parse_portal(const char *text, struct addrinfo **out)
{
    char host[64];
    const char *colon = strrchr(text, ':');
    size_t len = colon ? (size_t)(colon - text) : 0;

    if (len >= 2 && text[0] == '[' && text[len - 1] == ']') {
        text++;
        len -= 2;
    }
    if (!colon || len == 0 || len >= sizeof host)
        return -EINVAL;
    memcpy(host, text, len);
    host[len] = '\0';
    struct addrinfo hints = { .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE,
                              .ai_socktype = SOCK_STREAM };
    return getaddrinfo(host, colon + 1, &hints, out) == 0 ? 0 : -EINVAL;
}

/* A listening socket, or a negative errno. */
static int portal_listen(const char *text)
{
    struct addrinfo *address;
    int on = 1, error = parse_portal(text, &address);

    if (error)
        return error;
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        error = -errno;
        freeaddrinfo(address);
        return error;
    }
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    /* 0.0.0.0 and [::] may both be listed */
    if (address->ai_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    if (bind(fd, address->ai_addr, address->ai_addrlen) != 0 || listen(fd, LISTEN_BACKLOG) != 0) {
        error = -errno;
        close(fd);
        fd = error;
    }
    freeaddrinfo(address);
    return fd;
}

static void describe(const char *address, int error, char *text, size_t cap)
{
    const char *advice = "";

    if (error == -EADDRINUSE)
        advice = "; another target (or another nestord) listens there: stop it, or choose another "
                 "port in portals";
    else if (error == -EADDRNOTAVAIL)
        advice = "; no network interface of this machine has that address";
    else if (error == -EACCES)
        advice = "; a port below 1024 needs privileges";
    else if (error == -EINVAL)
        advice = "; write ADDRESS:PORT, an IPv6 address in brackets, such as \"[::]:3260\"";
    snprintf(text, cap, "cannot listen on %s: %s%s", address, strerror(-error), advice);
}

static void close_listeners(struct portals *portals)
{
    for (unsigned i = 0; i < portals->count; i++) {
        ev_io_stop(portals->loop, &portals->portal[i].acceptable);
        ev_timer_stop(portals->loop, &portals->portal[i].retry);
        close(portals->portal[i].acceptable.fd);
    }
    portals->count = 0;
}

int portals_open(const struct portal_options *options, struct portals **out, char *error,
                 size_t error_cap)
{
    struct portals *portals = calloc(1, sizeof *portals);

    if (portals)
        portals->portal = calloc(options->count ? options->count : 1, sizeof *portals->portal);
    if (!portals || !portals->portal) {
        snprintf(error, error_cap, "cannot listen: out of memory");
        free(portals);
        return -ENOMEM;
    }
    portals->settings = (struct portal_settings){
        .max_half_open = options->max_half_open,
        .max_sessions = options->max_sessions,
        .login_timeout_s = options->login_timeout_s,
        .nop_interval_s = options->nop_interval_s,
        .nop_timeout_s = options->nop_timeout_s,
        .nodes = options->nodes,
    };
    portals->workers = options->workers;
    portals->loop = options->loop;
    portals->home = options->home;
    for (unsigned i = 0; i < options->count; i++) {
        struct portal *portal = &portals->portal[i];
        int fd = portal_listen(options->addresses[i]);
        if (fd < 0) {
            describe(options->addresses[i], fd, error, error_cap);
            close_listeners(portals);
            free(portals->portal);
            free(portals);
            return fd;
        }
        portal->portals = portals;
        ev_io_init(&portal->acceptable, portal_acceptable, fd, EV_READ);
        ev_timer_init(&portal->retry, portal_retry, 0., ACCEPT_PAUSE_MS / 1000.);
        portal->acceptable.data = portal->retry.data = portal;
        ev_io_start(portals->loop, &portal->acceptable);
        portals->count++;
        log_info("listening on %s", options->addresses[i]);
    }
    *out = portals;
    return 0;
}

/* ---- closing ---- */

static bool is_drained(const struct session_drain *drain, struct worker *worker)
{
    struct iscsi_worker *iscsi = worker->iscsi;
    struct session *session;

    if (!iscsi)
        return true;
    if (drain->portals)
        return LIST_EMPTY(&iscsi->conns) && LIST_EMPTY(&iscsi->session_list);
    LIST_FOREACH (session, &iscsi->session_list, link)
        if (session->node == drain->node)
            return false;
    return true;
}

static void part_done(struct session_drain_part *part, struct worker *worker)
{
    struct session_drain *drain = part->drain;

    if (drain->portals)
        iscsi_worker_close(worker);
    broadcast_arrive(&drain->broadcast);
}

void portals_session_gone(struct worker *worker)
{
    struct iscsi_worker *iscsi = worker->iscsi;
    struct session_drain_part **at = iscsi ? &iscsi->drains : NULL;

    while (at && *at) {
        struct session_drain_part *part = *at;
        if (!is_drained(part->drain, worker)) {
            at = &part->next;
            continue;
        }
        bool is_last =
            part->drain->portals != NULL; /* nothing of this room is left on the worker */
        *at = part->next;
        part_done(part, worker);
        if (is_last)
            return;
    }
}

static void drain_each(struct broadcast *broadcast, struct worker *worker)
{
    struct session_drain *drain =
        (struct session_drain *)((char *)broadcast - offsetof(struct session_drain, broadcast));
    struct session_drain_part *part = &drain->part[worker->index];
    struct iscsi_worker *iscsi = worker->iscsi;
    struct session *session, *next_session;

    part->drain = drain;
    if (is_drained(drain, worker)) {
        part_done(part, worker);
        return;
    }
    part->next = iscsi->drains;
    iscsi->drains = part;
    for (session = LIST_FIRST(&iscsi->session_list); session; session = next_session) {
        next_session = LIST_NEXT(session, link);
        if (session->conn && (drain->portals || session->node == drain->node))
            conn_close(session->conn, drain->why);
    }
    struct conn *conn;
    LIST_FOREACH (conn, &iscsi->conns, link)
        if (drain->portals)
            conn_close(conn, drain->why);
}

static void drain_done(struct broadcast *broadcast)
{
    struct session_drain *drain =
        (struct session_drain *)((char *)broadcast - offsetof(struct session_drain, broadcast));
    struct portals *portals = drain->portals;
    void (*done)(void *context) = drain->done;
    void *context = drain->context;

    if (portals) {
        free(portals->portal);
        free(portals); /* and the drain with it */
    } else {
        free(drain);
    }
    done(context);
}

static void session_drain_start(struct session_drain *drain, struct workers *workers,
                                struct mailbox *home)
{
    drain->broadcast.each = drain_each;
    drain->broadcast.done = drain_done;
    drain->broadcast.home = home;
    workers_broadcast(workers, &drain->broadcast);
}

void portals_close(struct portals *portals, void (*done)(void *context), void *context)
{
    close_listeners(portals);
    portals->closing = (struct session_drain){
        .portals = portals, .why = "nestord is stopping", .done = done, .context = context
    };
    session_drain_start(&portals->closing, portals->workers, portals->home);
}

int portals_drain_node(struct workers *workers, struct mailbox *home, struct node *node,
                       const char *why, void (*done)(void *context), void *context)
{
    struct session_drain *drain = calloc(1, sizeof *drain);

    if (!drain)
        return -ENOMEM;
    *drain = (struct session_drain){ .node = node, .why = why, .done = done, .context = context };
    session_drain_start(drain, workers, home);
    return 0;
}
