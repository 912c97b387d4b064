#include "target/worker/mailbox.h"

#include <stdbool.h>
#include <stddef.h>

static void mailbox_run(struct ev_loop *loop, ev_async *wake, int events)
{
    struct mailbox *mailbox = wake->data;
    struct message *message, *next;

    (void)loop;
    (void)events;

    pthread_mutex_lock(&mailbox->mutex);
    message = mailbox->first;
    mailbox->first = NULL;
    mailbox->last = &mailbox->first;
    pthread_mutex_unlock(&mailbox->mutex);

    /* What is posted from here on wakes the loop again, so that a message that posts itself cannot
     * keep the sockets waiting. */
    for (; message != NULL; message = next) {
        next = message->next;
        message->run(message);
    }
}

void mailbox_open(struct mailbox *mailbox, struct ev_loop *loop)
{
    mailbox->loop = loop;
    mailbox->first = NULL;
    mailbox->last = &mailbox->first;
    pthread_mutex_init(&mailbox->mutex, NULL);
    ev_async_init(&mailbox->wake, mailbox_run);
    mailbox->wake.data = mailbox;
    ev_async_start(loop, &mailbox->wake);
}

void mailbox_close(struct mailbox *mailbox)
{
    ev_async_stop(mailbox->loop, &mailbox->wake);
    pthread_mutex_destroy(&mailbox->mutex);
}

void mailbox_post(struct mailbox *mailbox, struct message *message)
{
    bool was_empty;

    message->next = NULL;
    pthread_mutex_lock(&mailbox->mutex);
    was_empty = mailbox->first == NULL;
    *mailbox->last = message;
    mailbox->last = &message->next;
    pthread_mutex_unlock(&mailbox->mutex);

    if (was_empty)
        ev_async_send(mailbox->loop, &mailbox->wake);
}
