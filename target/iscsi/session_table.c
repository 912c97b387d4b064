#include "target/iscsi/session_table.h"

#include "target/worker/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

enum {
    /* so many reinstatements from another address within this time are two hosts with one name */
    MOVES_SUSPICIOUS = 3,
    MOVES_WITHIN_S = 60,
};

TAILQ_HEAD(entry_list, session_entry);

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct entry_list entries = TAILQ_HEAD_INITIALIZER(entries);
static unsigned entry_count;
static uint16_t last_tsih;
static uint64_t last_id;

/* A session is dropped on its own worker; by the time that the message runs it may be gone. */
struct drop {
    struct message message;
    struct worker *worker;
    uint64_t id;
    const char *reason;
};

static void drop_run(struct message *message)
{
    struct drop *drop = (struct drop *)message;

    session_drop_by_id(drop->worker, drop->id, drop->reason);
    free(drop);
}

static int drop_post(const struct session_entry *entry, const char *reason)
{
    struct drop *drop = malloc(sizeof *drop);

    if (!drop)
        return -ENOMEM;
    *drop = (struct drop){
        .message.run = drop_run, .worker = entry->worker, .id = entry->view.id, .reason = reason
    };
    worker_post(drop->worker, &drop->message);
    return 0;
}

static bool is_same_port(const struct session_view *view, const char *initiator_name,
                         const uint8_t isid[6])
{
    /* every ESX host uses the same ISID: only with the name does it tell initiator ports apart */
    return memcmp(view->isid, isid, sizeof view->isid) == 0 &&
           strcasecmp(view->initiator_name, initiator_name) == 0;
}

static struct session_entry *find_nexus(const struct session_view *view)
{
    struct session_entry *entry;

    TAILQ_FOREACH (entry, &entries, link)
        if (!entry->view.is_discovery &&
            is_same_port(&entry->view, view->initiator_name, view->isid) &&
            strcasecmp(entry->view.target_name, view->target_name) == 0)
            return entry;
    return NULL;
}

static struct session_entry *find_tsih(uint16_t tsih)
{
    struct session_entry *entry;

    TAILQ_FOREACH (entry, &entries, link)
        if (entry->view.tsih == tsih)
            return entry;
    return NULL;
}

static uint16_t free_tsih(void)
{
    do
        last_tsih++;
    while (last_tsih == 0 || find_tsih(last_tsih));
    return last_tsih;
}

static bool is_same_host(const char *a, const char *b)
{
    const char *port_a = strrchr(a, ':'), *port_b = strrchr(b, ':');

    return port_a && port_b && port_a - a == port_b - b && memcmp(a, b, (size_t)(port_a - a)) == 0;
}

/*
 * Cloned ESX hosts have one name, and one ISID anyway: each login of the one ends the session of
 * the other, without end. Nobody else can see that.
 */
static void watch_for_clones(const struct session_entry *old, struct session_entry *fresh)
{
    int64_t now = time(NULL);

    if (is_same_host(old->view.address, fresh->view.address))
        return;
    bool is_recent = old->moves && now - old->moves_since_s < MOVES_WITHIN_S;
    fresh->moves = is_recent ? old->moves + 1 : 1;
    fresh->moves_since_s = is_recent ? old->moves_since_s : now;
    if (fresh->moves % MOVES_SUSPICIOUS == 0)
        log_peer(
            "initiator=%s logs in from %s and from %s in turn, and each login ends the other's "
            "session: two hosts have one name (cloned?); give one another with: esxcli iscsi "
            "adapter set -A ADAPTER -n NAME",
            fresh->view.initiator_name, old->view.address, fresh->view.address);
}

enum session_claim session_table_claim(struct session_entry *entry, unsigned max_sessions,
                                       struct session_waiter *waiter)
{
    enum session_claim claim = SESSION_CLAIMED;

    pthread_mutex_lock(&mutex);
    struct session_entry *old = entry->view.is_discovery ? NULL : find_nexus(&entry->view);
    if (old) {
        bool is_told = old->waiters || drop_post(old, "reinstated by a new login") == 0;
        if (is_told) {
            watch_for_clones(old, entry);
            waiter->next = old->waiters;
            old->waiters = waiter;
        }
        claim = is_told ? SESSION_WAIT : SESSION_TOO_MANY;
    } else if (entry_count >= max_sessions || entry_count >= UINT16_MAX - 1) {
        claim = SESSION_TOO_MANY;
    } else {
        entry->view.tsih = free_tsih();
        entry->view.id = ++last_id;
        entry->waiters = NULL;
        TAILQ_INSERT_TAIL(&entries, entry, link);
        entry_count++;
    }
    pthread_mutex_unlock(&mutex);
    return claim;
}

void session_table_remove(struct session_entry *entry)
{
    pthread_mutex_lock(&mutex);
    TAILQ_REMOVE(&entries, entry, link);
    entry_count--;
    struct session_waiter *waiter = entry->waiters;
    while (waiter) {
        struct session_waiter *next =
            waiter->next; /* its owner may free it as soon as it is posted */
        worker_post(waiter->worker, &waiter->message);
        waiter = next;
    }
    pthread_mutex_unlock(&mutex);
}

bool session_table_has(uint16_t tsih, const char *initiator_name, const uint8_t isid[6])
{
    pthread_mutex_lock(&mutex);
    const struct session_entry *entry = find_tsih(tsih);
    bool found = entry && is_same_port(&entry->view, initiator_name, isid);
    pthread_mutex_unlock(&mutex);
    return found;
}

int session_table_list(struct session_view **views, unsigned *count)
{
    int error = 0;
    struct session_entry *entry;

    pthread_mutex_lock(&mutex);
    *count = 0;
    *views = calloc(entry_count ? entry_count : 1, sizeof **views);
    if (!*views)
        error = -ENOMEM;
    else
        TAILQ_FOREACH (entry, &entries, link) {
            struct session_view *view = &(*views)[(*count)++];
            *view = entry->view;
            view->worker = entry->worker->index;
            view->commands = atomic_load_explicit(&entry->commands, memory_order_relaxed);
            view->read_bytes = atomic_load_explicit(&entry->read_bytes, memory_order_relaxed);
            view->written_bytes = atomic_load_explicit(&entry->written_bytes, memory_order_relaxed);
        }
    pthread_mutex_unlock(&mutex);
    return error;
}

int session_table_drop(uint16_t tsih)
{
    pthread_mutex_lock(&mutex);
    const struct session_entry *entry = find_tsih(tsih);
    int error = entry ? drop_post(entry, "dropped by the operator") : -ENOENT;
    pthread_mutex_unlock(&mutex);
    return error;
}

unsigned session_table_count(const char *target_name)
{
    unsigned count = 0;
    struct session_entry *entry;

    pthread_mutex_lock(&mutex);
    TAILQ_FOREACH (entry, &entries, link)
        if (!entry->view.is_discovery &&
            (!target_name || strcasecmp(entry->view.target_name, target_name) == 0))
            count++;
    pthread_mutex_unlock(&mutex);
    return count;
}
