/*
 * portal: the addresses that nestor listens on, and who gets a connection.
 *
 * Thread    the main thread listens and accepts; the connection goes to the worker that has the
 * fewest. The calls marked (worker) come from the workers. Bounds    half-open connections
 * (accepted, not yet logged in): past max_half_open a new one is closed at once.
 */
#pragma once

#include "target/iscsi/node.h"
#include "target/worker/worker.h"

struct portals;

struct portal_options {
    const char *const *addresses; /* "0.0.0.0:3260", "[::]:3260" */
    unsigned count;
    unsigned max_half_open, max_sessions, login_timeout_s, nop_interval_s, nop_timeout_s;
    struct node_table *nodes;
    struct workers *workers;
    struct ev_loop *loop;
    struct mailbox *home;
};

/* What connections need to know of the configuration; never changes. */
struct portal_settings {
    unsigned max_half_open, max_sessions, login_timeout_s, nop_interval_s, nop_timeout_s;
    struct node_table *nodes;
};

/* Binds and listens on all, or on nothing; `error` names the address and what to do. */
int portals_open(const struct portal_options *options, struct portals **out, char *error,
                 size_t error_cap);

/*
 * Stops accepting and closes every connection on every worker: TCP only, no SCSI status, so that
 * ESX sees paths that are down and not a device that is gone. done() runs on the main loop when no
 * session is left; `portals` is freed then.
 */
void portals_close(struct portals *portals, void (*done)(void *context), void *context);

/* Ends every session with that node, and logs `why` (a literal); done() in `home` when the last one
 * is gone. 0 or -ENOMEM. */
int portals_drain_node(struct workers *workers, struct mailbox *home, struct node *node,
                       const char *why, void (*done)(void *context), void *context);

const struct portal_settings *portals_settings(const struct portals *portals);

void portals_login_over(struct portals *portals); /* (worker) no longer half-open */
void portals_conn_closed(struct portals *portals, struct worker *worker); /* (worker) */

/* (worker) A session is gone from this worker's list; who waits for that is told. */
void portals_session_gone(struct worker *worker);
