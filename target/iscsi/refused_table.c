#include "target/iscsi/refused_table.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct refused_view entries[REFUSED_TABLE_MAX]; /* the last refused first */
static unsigned entry_count;

/* entry_count: none. */
static unsigned find(const char *initiator_name, const char *target_name)
{
    unsigned at = 0;

    while (at < entry_count && (strcasecmp(entries[at].initiator_name, initiator_name) != 0 ||
                                strcasecmp(entries[at].target_name, target_name) != 0))
        at++;
    return at;
}

void refused_table_note(const char *initiator_name, const char *target_name, const char *address,
                        const char *why)
{
    struct refused_view entry = { .last_unix_s = time(NULL), .tries = 1, .why = why };

    snprintf(entry.initiator_name, sizeof entry.initiator_name, "%s", initiator_name);
    snprintf(entry.target_name, sizeof entry.target_name, "%s", target_name);
    snprintf(entry.address, sizeof entry.address, "%s", address);
    pthread_mutex_lock(&mutex);
    unsigned at = find(initiator_name, target_name);
    if (at < entry_count)
        entry.tries = entries[at].tries + 1;
    else if (entry_count < REFUSED_TABLE_MAX)
        entry_count++;
    else
        at--; /* the oldest makes room */
    memmove(&entries[1], &entries[0], at * sizeof entries[0]);
    entries[0] = entry;
    pthread_mutex_unlock(&mutex);
}

void refused_table_forget(const char *initiator_name, const char *target_name)
{
    pthread_mutex_lock(&mutex);
    unsigned at = find(initiator_name, target_name);
    if (at < entry_count) {
        entry_count--;
        memmove(&entries[at], &entries[at + 1], (entry_count - at) * sizeof entries[0]);
    }
    pthread_mutex_unlock(&mutex);
}

unsigned refused_table_list(struct refused_view views[REFUSED_TABLE_MAX])
{
    pthread_mutex_lock(&mutex);
    unsigned count = entry_count;
    memcpy(views, entries, count * sizeof entries[0]);
    pthread_mutex_unlock(&mutex);
    return count;
}
