#include "target/scsi/reservation.h"

#include "target/scsi/lu.h"
#include "target/scsi/nexus.h"

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

static void free_unit(struct lu *lu)
{
    lu->reservation = (struct reservation){ 0 };
    atomic_store_explicit(&lu->reserved, false, memory_order_release);
}

/* ---- without it ---- */

static bool stands(struct lu *lu)
{
    return atomic_load_explicit(&lu->reserved, memory_order_acquire);
}

bool reservation_conflicts(struct lu *lu, const struct nexus *nexus, enum reservation_class class)
{
    bool conflicts;

    if (!stands(lu))
        return false;
    switch (class) {
    /* SPC-2 5.5.1: INQUIRY, REPORT LUNS and REQUEST SENSE are answered to all, RELEASE has no
     * effect. */
    case RSV_ALLOWED:
    case RSV_RELEASE: return false;
    /* A SCSI-2 reservation makes no difference between the rest. */
    case RSV_READS:
    case RSV_WRITES:
    case RSV_CONTROL:
    case RSV_RESERVE:
    case RSV_NONE: break;
    }
    pthread_mutex_lock(&lu->mutex);
    conflicts = is_held_by_another(lu, nexus);
    pthread_mutex_unlock(&lu->mutex);
    return conflicts;
}

enum scsi_status reservation_take(struct lu *lu, struct nexus *nexus)
{
    enum scsi_status status = STATUS_RESERVATION_CONFLICT;

    pthread_mutex_lock(&lu->mutex);
    if (!is_held_by_another(lu, nexus)) {
        status = STATUS_GOOD;
        if (lu->reservation.holder == NULL)
            lu->reservation = (struct reservation){
                .holder = nexus,
                .holder_id = nexus->id,
                .since_ns = now_ns(),
            };
        atomic_store_explicit(&lu->reserved, true, memory_order_release);
    }
    pthread_mutex_unlock(&lu->mutex);
    return status;
}

void reservation_release(struct lu *lu, const struct nexus *nexus)
{
    if (!stands(lu))
        return;
    pthread_mutex_lock(&lu->mutex);
    if (is_holder(&lu->reservation, nexus))
        free_unit(lu);
    pthread_mutex_unlock(&lu->mutex);
}

bool reservation_drop_all(struct lu *lu, char *port, size_t port_cap)
{
    bool was_held;

    if (!stands(lu))
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
