/*
 * unit_attention: what a nexus must be told before its next command on a unit, SAM-5 5.14.
 *
 * Pending conditions are a set of bits in the itl, raised from any thread, told one at a time in
 * the order of this enum and then gone: bounded whatever happens, each once a nexus.
 */
#pragma once

#include "proto/sense.h"

#include <stdbool.h>
#include <stdint.h>

struct itl;
struct lu;
struct nexus;

enum unit_attention {
    UA_POWER_ON,         /* 29/00: a new I_T nexus */
    UA_BUS_RESET,        /* 29/02: target warm or cold reset */
    UA_DEVICE_RESET,     /* 29/03: logical unit reset */
    UA_COMMANDS_CLEARED, /* 2F/00: CLEAR TASK SET of another nexus */
    UA_MEDIUM_CHANGED,   /* 28/00: another nexus has loaded the medium */
    UA_LUN_INVENTORY_CHANGED,
    UA_INQUIRY_CHANGED,
    UA_CAPACITY_CHANGED,
    UA_MODE_PARAMETERS_CHANGED,
    UA_RESERVATIONS_PREEMPTED,
    UA_RESERVATIONS_RELEASED,
    UA_REGISTRATIONS_PREEMPTED,
    UA_THIN_THRESHOLD,
    UA_COUNT,
};

void unit_attention_raise(struct itl *itl, enum unit_attention ua);

/* On every nexus that knows the unit, but for `except` (may be NULL). Takes the LU's mutex. */
void unit_attention_raise_all(struct lu *lu, enum unit_attention ua, const struct nexus *except);

/* One atomic load when nothing is pending. */
bool unit_attention_is_pending(const struct itl *itl);

/* Takes the next one off; SENSE_NONE when there is none. A reset takes what it implies along. */
enum sense_code unit_attention_take(struct itl *itl);

/* REPORT LUNS clears the inventory condition of every unit of the nexus, SPC-4 6.33. */
void unit_attention_clear(struct itl *itl, enum unit_attention ua);
