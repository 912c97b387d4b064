/*
 * persistent: the persistent reservations of a logical unit, SPC-4 5.13: who is registered with
 * which key, who holds what, and what each PERSISTENT RESERVE OUT does to that.
 *
 * A state is a value: a service action makes the next one of it and says whom to tell what; nothing
 * has happened until somebody installs it (persistent_update.h). A registrant is an I_T nexus by
 * the names of its ports, so that it outlives its session and is found again when that comes back.
 */
#pragma once

#include "proto/pr.h"
#include "target/scsi/command.h"
#include "target/scsi/nexus.h"
#include "target/scsi/reservation.h"

/* An ESX cluster has 64 hosts; one that registers more often than this meets the end here. */
enum { PERSISTENT_REGISTRANTS_MAX = 128 };

struct registrant {
    uint64_t key;
    uint16_t relative_target_port;
    bool is_holder; /* not with the "all registrants" types: there everybody is */
    char port[INITIATOR_PORT_MAX + 1];
    uint64_t nexus_id; /* the nexus that was last found to be this one; 0: none yet */
};

struct persistent {
    uint32_t generation;
    enum pr_type type;
    bool is_kept; /* APTPL: it outlives the daemon */
    unsigned count;
    struct registrant registrants[];
};

/* A service action with all that it needs to know. */
struct persistent_request {
    enum pr_out_action action;
    uint8_t scope_and_type; /* as in the CDB */
    const struct pr_out *list;
    const char *port; /* who asks */
    uint16_t relative_target_port;
    bool can_keep; /* APTPL can be honoured */
    /* whom the TransportIDs mean */
    unsigned port_count;
    char (*ports)[INITIATOR_PORT_MAX + 1];
};

/* What becomes of each registrant that was there. */
struct persistent_fate {
    bool is_told;
    enum unit_attention ua; /* if is_told */
    bool is_preempted;      /* its registration is gone, and its tasks if they are to be aborted */
};

struct persistent_change {
    enum scsi_status status;
    enum sense_code sense; /* with CHECK CONDITION */
    bool is_in_cdb;
    uint16_t byte;
    const char *why;
    struct persistent *next; /* NULL: nothing changes. The taker frees it. */
    struct persistent_fate fates[PERSISTENT_REGISTRANTS_MAX]; /* by place in the old state */
};

/* `old` may be NULL: nobody has registered. */
void persistent_out(const struct persistent *old, const struct persistent_request *request,
                    struct persistent_change *change);

/* Nobody is registered any more, and all who were are told. For the operator. */
void persistent_clear(const struct persistent *old, struct persistent_change *change);

/* A copy with room for `more` registrants besides. NULL: no memory. */
struct persistent *persistent_copy(const struct persistent *old, unsigned more);

/* The registrant that this nexus is; NULL: none. */
struct registrant *persistent_find(struct persistent *state, const char *port,
                                   uint16_t relative_target_port);
struct registrant *persistent_find_nexus(struct persistent *state, const struct nexus *nexus);

bool persistent_is_holder(const struct persistent *state, const struct registrant *registrant);

/*
 * Must a command of that class from this nexus end with RESERVATION CONFLICT? (SPC-4 table 65,
 * SBC-3 table 12, and 5.13.3 for RESERVE and RELEASE.)
 */
bool persistent_conflicts(struct persistent *state, const struct nexus *nexus,
                          enum reservation_class class);
