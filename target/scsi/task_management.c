#include "target/scsi/task_management.h"

#include "target/scsi/removal.h"
#include "target/scsi/scsi_target.h"
#include "target/worker/log.h"

#include <stddef.h>
#include <string.h>

#define TM_OF(pointer, member)                                                                     \
    ((struct task_management *)(void *)((char *)(pointer)-offsetof(struct task_management, member)))

/* ---- whose commands are meant ---- */

static bool of_this_nexus(const struct drain *drain, const struct itl *itl)
{
    const struct task_management *tm = TM_OF(drain, drain);

    return itl->nexus == tm->nexus && itl->lu == tm->lu;
}

static bool of_the_unit(const struct drain *drain, const struct itl *itl)
{
    return itl->lu == TM_OF(drain, drain)->lu;
}

static bool of_the_target(const struct drain *drain, const struct itl *itl)
{
    return itl->nexus->target == TM_OF(drain, drain)->nexus->target;
}

/* ---- on every worker ---- */

static void abort_share(struct broadcast *broadcast, struct worker *worker)
{
    drain_start(&TM_OF(broadcast, broadcast)->drain, worker);
}

static void share_is_dead(struct drain *drain, struct worker *worker)
{
    (void)worker;
    broadcast_arrive(&TM_OF(drain, drain)->broadcast);
}

static void note_loss(struct drain *drain, struct itl *itl)
{
    if (itl->nexus != TM_OF(drain, drain)->nexus)
        itl->lost_commands = true;
}

/*
 * CLEAR TASK SET: another nexus whose commands were aborted is told so (SAM-5 7.5), not before they
 * are dead: it may send them again at once. A nexus that lost none is not troubled.
 */
static void share_is_cleared(struct drain *drain, struct worker *worker)
{
    struct lu *lu = TM_OF(drain, drain)->lu;
    struct itl *itl;

    pthread_mutex_lock(&lu->mutex);
    LIST_FOREACH (itl, &lu->itls, lu_link) {
        if (itl->nexus->worker != worker || !itl->lost_commands)
            continue;
        itl->lost_commands = false;
        unit_attention_raise(itl, UA_COMMANDS_CLEARED);
    }
    pthread_mutex_unlock(&lu->mutex);
    share_is_dead(drain, worker);
}

/* ---- on the asking nexus's worker, when all are dead ---- */

/*
 * SAM-5 6.3.3: the unit attention is for the initiator port of every I_T nexus, the asking one too.
 * Before it, so that nobody who is told finds the old state: a SCSI-2 reservation ends with any
 * reset (SPC-2 5.5.1; ESX breaks a dead host's lock this way), mode parameters are the default ones
 * again (SPC-4 7.5.1).
 */
static void reset_unit(const struct task_management *tm, const struct lun_entry *entry,
                       enum unit_attention ua)
{
    char port[INITIATOR_PORT_MAX + 1], who[INITIATOR_PORT_MAX + 1], whose[INITIATOR_PORT_MAX + 1];
    const char *asking = tm->nexus->initiator_port;
    struct lu *lu = entry->lu;

    if (reservation_drop_all(lu, port, sizeof(port)))
        log_peer("reset by initiator=%s target=%s lun=%u: ends the SCSI-2 reservation of %s",
                 log_text(who, sizeof(who), asking, strlen(asking)), tm->nexus->target->name,
                 entry->lun, log_text(whose, sizeof(whose), port, strlen(port)));
    atomic_store_explicit(&lu->has_descriptor_sense, false, memory_order_release);
    atomic_store_explicit(&lu->is_write_protected, false, memory_order_release);
    removal_allow_all(lu);
    atomic_fetch_add_explicit(&lu->resets, 1, memory_order_release);
    unit_attention_raise_all(lu, ua, NULL);
}

static void reset_units(const struct task_management *tm, enum unit_attention ua)
{
    for (unsigned i = 0; i < tm->map->count; i++)
        if (tm->lu == NULL || tm->lu == tm->map->entries[i].lu)
            reset_unit(tm, &tm->map->entries[i], ua);
}

static void all_dead(struct broadcast *broadcast)
{
    struct task_management *tm = TM_OF(broadcast, broadcast);
    struct lun_map *map = tm->map;

    switch (tm->function) {
    case TMF_LOGICAL_UNIT_RESET: reset_units(tm, UA_DEVICE_RESET); break;
    case TMF_TARGET_WARM_RESET:
    case TMF_TARGET_COLD_RESET: reset_units(tm, UA_BUS_RESET); break;
    default: break;
    }
    /* whoever waits for the old map to be gone finds the answer given; *tm is the caller's then */
    tm->done(tm);
    lun_map_put(map);
}

/* ---- the way in ---- */

static void answer(struct task_management *tm, enum tmf_response response)
{
    tm->response = response;
    tm->done(tm);
}

void task_management_start(struct task_management *tm)
{
    const struct lun_entry *entry;
    struct nexus *nexus = tm->nexus;

    tm->drain = (struct drain){ .drained = share_is_dead };
    switch (tm->function) {
    case TMF_ABORT_TASK_SET: tm->drain.affects = of_this_nexus; break;
    case TMF_CLEAR_TASK_SET:
        tm->drain.affects = of_the_unit;
        tm->drain.took = note_loss;
        tm->drain.drained = share_is_cleared;
        break;
    case TMF_LOGICAL_UNIT_RESET: tm->drain.affects = of_the_unit; break;
    /* the LUN field means nothing for these, RFC 7143 11.5.4 */
    case TMF_TARGET_WARM_RESET:
    case TMF_TARGET_COLD_RESET: tm->drain.affects = of_the_target; break;
    case TMF_TASK_REASSIGN: return answer(tm, TMF_RESPONSE_REASSIGN_NOT_SUPPORTED);
    case TMF_CLEAR_ACA:  /* NORMACA=0 in INQUIRY: there is never one */
    case TMF_ABORT_TASK: /* the transport's */
    default: return answer(tm, TMF_RESPONSE_NOT_SUPPORTED);
    }
    tm->lu = NULL;
    if (tm->drain.affects != of_the_target) {
        entry = nexus_lun(nexus, tm->lun);
        if (entry == NULL)
            return answer(tm, TMF_RESPONSE_NO_LUN);
        tm->lu = entry->lu;
    }
    tm->map = lun_map_get(nexus->map);
    tm->response = TMF_RESPONSE_COMPLETE;
    tm->broadcast.each = abort_share;
    tm->broadcast.done = all_dead;
    tm->broadcast.home = &nexus->worker->mailbox;
    workers_broadcast(nexus->target->workers, &tm->broadcast);
}
