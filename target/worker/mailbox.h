/*
 * mailbox: how one thread hands work to another's event loop.
 *
 * A message is owned by the poster until posted, by the receiver's run() afterwards. Messages from
 * one thread run in the order in which it posted them. Posting takes no lock that is held across
 * work and allocates nothing, so it may be done from anywhere.
 */
#pragma once

#include <ev.h>
#include <pthread.h>

struct message {
    void (*run)(struct message *message);
    struct message *next; /* the mailbox's own */
};

struct mailbox {
    struct ev_loop *loop;
    ev_async wake;
    pthread_mutex_t mutex;
    struct message *first, **last;
};

void mailbox_open(struct mailbox *mailbox, struct ev_loop *loop);
void mailbox_close(struct mailbox *mailbox); /* what is still in it is not run */
void mailbox_post(struct mailbox *mailbox, struct message *message);
