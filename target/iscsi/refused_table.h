/*
 * refused_table: who was refused lately because a target does not list his name or his address: for
 * a person who wonders why a host sees nothing, and who may then accept it.
 *
 * Thread    any; under one mutex, which no caller holds across anything else.
 * Bounds    REFUSED_TABLE_MAX pairs of initiator and target. A pair has one entry however often it
 *           comes; past the bound the one that was refused longest ago goes.
 */
#pragma once

#include "target/scsi/nexus.h"

enum { REFUSED_TABLE_MAX = 32 };

struct refused_view {
    char initiator_name[INITIATOR_NAME_MAX + 1];
    char target_name[INITIATOR_NAME_MAX + 1];
    char address[64];    /* "192.168.10.7:51234", of the last try */
    int64_t last_unix_s; /* when that was */
    unsigned tries;
    const char *why; /* static text */
};

/* `why` stays as long as the process. */
void refused_table_note(const char *initiator_name, const char *target_name, const char *address,
                        const char *why);

/* It is not refused any more: it was accepted, or has come in. */
void refused_table_forget(const char *initiator_name, const char *target_name);

/* Copies what is there, the last refused first. Their number. */
unsigned refused_table_list(struct refused_view views[REFUSED_TABLE_MAX]);
