#include "target/scsi/reservation.h"

#include "target/scsi/lu.h"
#include "target/scsi/nexus.h"
#include "target/scsi/persistent.h"

#include <stdio.h>
#include <time.h>

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

/* ---- under the LU's mutex ---- */

/* The id too: a new nexus may stand where an old one stood in memory. */
static bool is_holder(const struct reservation *reservation, const struct nexus *nexus)
{
    return reservation->holder == nexus && reservation->holder_id == nexus->id;
}

static bool is_held_by_another(const struct lu *lu, const struct nexus *nexus)
{
    return lu->reservation.holder != NULL && !is_holder(&lu->reservation, nexus);
}

void reservation_note(struct lu *lu)
{
    bool has_registrants = lu->persistent != NULL && lu->persistent->count > 0;

    atomic_store_explicit(&lu->reserved, lu->reservation.holder != NULL || has_registrants,
                          memory_order_release);
}

static void free_unit(struct lu *lu)
{
    lu->reservation = (struct reservation){ 0 };
    reservation_note(lu);
}

/* SPC-2 5.5.1 and its table 10: makes no difference between most commands. */
static bool scsi_2_conflicts(const struct lu *lu, const struct nexus *nexus,
                             enum reservation_class class)
{
    switch (class) {
    /* INQUIRY, REPORT LUNS and REQUEST SENSE are answered to all, RELEASE has no effect. */
    case RSV_ALLOWED:
    case RSV_REPORTS:
    case RSV_RELEASE: return false;
    /* "all PERSISTENT RESERVE IN and OUT commands shall conflict regardless of initiator" */
    case RSV_PERSISTENT: return lu->reservation.holder != NULL;
    default: return is_held_by_another(lu, nexus);
    }
}

/* ---- without it ---- */

bool reservation_conflicts(struct lu *lu, const struct nexus *nexus, enum reservation_class class)
{
    bool conflicts;

    if (!lu_is_reserved(lu) || class == RSV_ALLOWED)
        return false;
    pthread_mutex_lock(&lu->mutex);
    conflicts =
        scsi_2_conflicts(lu, nexus, class) || persistent_conflicts(lu->persistent, nexus, class);
    pthread_mutex_unlock(&lu->mutex);
    return conflicts;
}

enum scsi_status reservation_take(struct lu *lu, struct nexus *nexus)
{
    enum scsi_status status = STATUS_RESERVATION_CONFLICT;

    pthread_mutex_lock(&lu->mutex);
    if (lu->persistent != NULL && lu->persistent->count > 0) {
        /* SPC-4 5.13.3: GOOD without effect for those whom the persistent reservation lets in */
        if (!persistent_conflicts(lu->persistent, nexus, RSV_RESERVE))
            status = STATUS_GOOD;
    } else if (!is_held_by_another(lu, nexus)) {
        status = STATUS_GOOD;
        if (lu->reservation.holder == NULL)
            lu->reservation = (struct reservation){
                .holder = nexus,
                .holder_id = nexus->id,
                .since_ns = now_ns(),
            };
        reservation_note(lu);
    }
    pthread_mutex_unlock(&lu->mutex);
    return status;
}

void reservation_release(struct lu *lu, const struct nexus *nexus)
{
    if (!lu_is_reserved(lu))
        return;
    pthread_mutex_lock(&lu->mutex);
    if (is_holder(&lu->reservation, nexus))
        free_unit(lu);
    pthread_mutex_unlock(&lu->mutex);
}

void reservation_preempt(struct lu *lu)
{
    struct itl *itl;

    pthread_mutex_lock(&lu->mutex);
    LIST_FOREACH (itl, &lu->itls, lu_link)
        if (is_holder(&lu->reservation, itl->nexus))
            unit_attention_raise(itl, UA_RESERVATIONS_PREEMPTED);
    free_unit(lu);
    pthread_mutex_unlock(&lu->mutex);
}

bool reservation_drop_all(struct lu *lu, char *port, size_t port_cap)
{
    bool was_held;

    if (!lu_is_reserved(lu))
        return false;
    pthread_mutex_lock(&lu->mutex);
    was_held = lu->reservation.holder != NULL;
    if (was_held && port != NULL)
        snprintf(port, port_cap, "%s", lu->reservation.holder->initiator_port);
    if (was_held)
        free_unit(lu);
    pthread_mutex_unlock(&lu->mutex);
    return was_held;
}
