/*
 * pr: the parameter lists and data of PERSISTENT RESERVE OUT and IN, SPC-4 6.15 and 6.16, and the
 * TransportIDs of iSCSI initiator ports in them, SPC-4 7.6.4.6.
 */
#pragma once

#include "proto/sense.h"

/* SPC-4 table 213 */
enum pr_out_action {
    PR_OUT_REGISTER = 0,
    PR_OUT_RESERVE = 1,
    PR_OUT_RELEASE = 2,
    PR_OUT_CLEAR = 3,
    PR_OUT_PREEMPT = 4,
    PR_OUT_PREEMPT_AND_ABORT = 5,
    PR_OUT_REGISTER_AND_IGNORE = 6,
    PR_OUT_REGISTER_AND_MOVE = 7,
};

/* SPC-4 table 201 */
enum pr_in_action {
    PR_IN_READ_KEYS = 0,
    PR_IN_READ_RESERVATION = 1,
    PR_IN_REPORT_CAPABILITIES = 2,
    PR_IN_READ_FULL_STATUS = 3,
};

/* SPC-4 table 206; 0: nothing is reserved */
enum pr_type {
    PR_NONE = 0,
    PR_WRITE_EXCLUSIVE = 1,
    PR_EXCLUSIVE_ACCESS = 3,
    PR_WRITE_EXCLUSIVE_REGISTRANTS = 5,
    PR_EXCLUSIVE_ACCESS_REGISTRANTS = 6,
    PR_WRITE_EXCLUSIVE_ALL = 7,
    PR_EXCLUSIVE_ACCESS_ALL = 8,
};

enum {
    PR_OUT_BASIC_BYTES = 24,
    PR_OUT_BYTES_MAX = 8192,   /* the longest list that is taken */
    PR_TRANSPORT_IDS_MAX = 64, /* in one list */
    PR_IN_HEADER_BYTES = 8,
    /* a descriptor of READ FULL STATUS with a name of 223 bytes, ",i,0x", 12 digits, NUL, padded */
    PR_IN_REGISTRANT_BYTES_MAX = 24 + 4 + 244,
};

bool pr_type_is_known(unsigned type);
/* Every registered nexus holds it, and none more than another. */
bool pr_type_is_all(enum pr_type type);
/* Those who are registered are let through: "registrants only" and "all registrants". */
bool pr_type_is_registrants(enum pr_type type);
/* Reads are kept out too. */
bool pr_type_is_exclusive_access(enum pr_type type);

/* An iSCSI initiator port, or (without ISID) all ports of an initiator. */
struct transport_id {
    struct slice name;
    bool has_isid;
    char isid[13]; /* twelve digits, lower case, terminated */
};

struct pr_out {
    uint64_t key, action_key;
    bool has_transport_ids; /* SPEC_I_PT, or REGISTER AND MOVE, which has one */
    bool is_for_all_target_ports, is_kept, unregisters;
    uint16_t relative_target_port; /* REGISTER AND MOVE */
    unsigned transport_id_count;
    struct transport_id transport_ids[PR_TRANSPORT_IDS_MAX]; /* names point into the list */
};

/*
 * Takes a whole parameter list apart. SENSE_NONE, or what is wrong; *byte tells where unless the
 * length is.
 */
enum sense_code pr_out_parse(struct pr_out *out, enum pr_out_action action, const void *list,
                             size_t len, uint16_t *byte);

/* Parameter data: a header, what goes in it, and at last its length. */
void pr_in_begin(struct builder *out, uint32_t generation);
void pr_in_end(struct builder *out);

void pr_in_key(struct builder *out, uint64_t key);
void pr_in_reservation(struct builder *out, uint64_t key, enum pr_type type);

struct pr_in_registrant {
    uint64_t key;
    enum pr_type type; /* PR_NONE: holds no reservation */
    uint16_t relative_target_port;
    const char *port; /* "NAME,i,0xISID" */
};
void pr_in_registrant(struct builder *out, const struct pr_in_registrant *registrant);

/* Whole; is_kept: APTPL is in force now. */
void pr_in_capabilities(struct builder *out, bool can_keep, bool is_kept);
