#include "target/scsi/unit_attention.h"

#include "target/scsi/lu.h"
#include "target/scsi/nexus.h"

#define BIT(ua) (UINT32_C(1) << (ua))

static const enum sense_code codes[UA_COUNT] = {
    [UA_POWER_ON] = SENSE_UA_POWER_ON,
    [UA_BUS_RESET] = SENSE_UA_BUS_RESET,
    [UA_DEVICE_RESET] = SENSE_UA_DEVICE_RESET,
    [UA_COMMANDS_CLEARED] = SENSE_UA_COMMANDS_CLEARED,
    [UA_MEDIUM_CHANGED] = SENSE_UA_MEDIUM_CHANGED,
    [UA_LUN_INVENTORY_CHANGED] = SENSE_UA_LUN_INVENTORY_CHANGED,
    [UA_INQUIRY_CHANGED] = SENSE_UA_INQUIRY_CHANGED,
    [UA_CAPACITY_CHANGED] = SENSE_UA_CAPACITY_CHANGED,
    [UA_MODE_PARAMETERS_CHANGED] = SENSE_UA_MODE_PARAMETERS_CHANGED,
    [UA_RESERVATIONS_PREEMPTED] = SENSE_UA_RESERVATIONS_PREEMPTED,
    [UA_RESERVATIONS_RELEASED] = SENSE_UA_RESERVATIONS_RELEASED,
    [UA_REGISTRATIONS_PREEMPTED] = SENSE_UA_REGISTRATIONS_PREEMPTED,
    [UA_THIN_THRESHOLD] = SENSE_UA_THIN_THRESHOLD,
};

/*
 * SAM-5 5.14: a reset outranks what it implies: lesser resets, cleared commands, mode parameters
 * back at their defaults. Persistent reservations, the inventory and the capacity outlive a reset,
 * so what happened to them is still told.
 */
static uint32_t implied_by(enum unit_attention ua)
{
    const uint32_t by_reset = BIT(UA_COMMANDS_CLEARED) | BIT(UA_MODE_PARAMETERS_CHANGED);

    switch (ua) {
    case UA_POWER_ON: return BIT(UA_BUS_RESET) | BIT(UA_DEVICE_RESET) | by_reset;
    case UA_BUS_RESET: return BIT(UA_DEVICE_RESET) | by_reset;
    case UA_DEVICE_RESET: return by_reset;
    default: return 0;
    }
}

void unit_attention_raise(struct itl *itl, enum unit_attention ua)
{
    atomic_fetch_or_explicit(&itl->unit_attentions, BIT(ua), memory_order_release);
}

void unit_attention_raise_all(struct lu *lu, enum unit_attention ua, const struct nexus *except)
{
    struct itl *itl;

    pthread_mutex_lock(&lu->mutex);
    LIST_FOREACH (itl, &lu->itls, lu_link)
        if (except == NULL || itl->nexus != except)
            unit_attention_raise(itl, ua);
    pthread_mutex_unlock(&lu->mutex);
}

bool unit_attention_is_pending(const struct itl *itl)
{
    return atomic_load_explicit(&itl->unit_attentions, memory_order_acquire) != 0;
}

enum sense_code unit_attention_take(struct itl *itl)
{
    uint32_t pending = atomic_load_explicit(&itl->unit_attentions, memory_order_acquire);

    while (pending != 0) {
        enum unit_attention ua = (enum unit_attention)__builtin_ctz(pending);
        uint32_t rest = pending & ~(BIT(ua) | implied_by(ua));

        /* What another thread raises meanwhile makes this fail and is looked at too. */
        if (atomic_compare_exchange_weak_explicit(&itl->unit_attentions, &pending, rest,
                                                  memory_order_acq_rel, memory_order_acquire))
            return codes[ua];
    }
    return SENSE_NONE;
}

void unit_attention_clear(struct itl *itl, enum unit_attention ua)
{
    atomic_fetch_and_explicit(&itl->unit_attentions, ~BIT(ua), memory_order_acq_rel);
}
