/*
 * iscsi_keys: the login keys of RFC 7143 section 13 as one table, and negotiation as a walk over
 * it.
 *
 * Each key keeps what we would like (mine), what the other side said (theirs) and what holds
 * (agreed). The target never originates a key that the initiator may not know: ESX 3 ends a login
 * over any key outside its own list, so we answer what is offered and declare only
 * MaxRecvDataSegmentLength (in a normal session's operational stage) and what login.c adds
 * (TargetPortalGroupTag, TargetAlias).
 */
#pragma once

#include "proto/cursor.h"
#include "proto/pdu.h"

enum key_id {
    KEY_AUTH_METHOD,
    KEY_HEADER_DIGEST,
    KEY_DATA_DIGEST,
    KEY_MAX_CONNECTIONS,
    KEY_SEND_TARGETS,
    KEY_TARGET_NAME,
    KEY_INITIATOR_NAME,
    KEY_TARGET_ALIAS,
    KEY_INITIATOR_ALIAS,
    KEY_TARGET_ADDRESS,
    KEY_TARGET_PORTAL_GROUP_TAG,
    KEY_INITIAL_R2T,
    KEY_IMMEDIATE_DATA,
    KEY_MAX_RECV_DATA_SEGMENT_LENGTH,
    KEY_MAX_BURST_LENGTH,
    KEY_FIRST_BURST_LENGTH,
    KEY_DEFAULT_TIME2WAIT,
    KEY_DEFAULT_TIME2RETAIN,
    KEY_MAX_OUTSTANDING_R2T,
    KEY_DATA_PDU_IN_ORDER,
    KEY_DATA_SEQUENCE_IN_ORDER,
    KEY_ERROR_RECOVERY_LEVEL,
    KEY_SESSION_TYPE,
    KEY_IF_MARKER, /* obsolete (RFC 7143 13.25); ESX 3 speaks draft 20 and still sends them */
    KEY_OF_MARKER,
    KEY_IF_MARK_INT,
    KEY_OF_MARK_INT,
    KEY_TASK_REPORTING,
    KEY_ISCSI_PROTOCOL_LEVEL,
    KEY_CHAP_A, /* RFC 7143 12.1.3; their values go to login's CHAP exchange */
    KEY_CHAP_I,
    KEY_CHAP_C,
    KEY_CHAP_N,
    KEY_CHAP_R,
    KEY_COUNT,
};

enum key_rule {
    KEY_RULE_AND, /* Yes only when both say Yes */
    KEY_RULE_OR,  /* No only when both say No */
    KEY_RULE_MIN,
    KEY_RULE_MAX,
    KEY_RULE_LIST,    /* the first of the offerer's list that the other takes */
    KEY_RULE_DECLARE, /* one side says it, no answer */
    KEY_RULE_CHAP, /* belongs to the authentication exchange: handed to login, not answered here */
    KEY_RULE_REFUSED, /* known, and always answered by the same word (`refusal`) */
};

enum key_phase {
    KEY_IN_SECURITY = 1,
    KEY_IN_OPERATIONAL = 2,
    KEY_IN_FULL_FEATURE = 4,
    KEY_NORMAL_ONLY = 8,   /* Irrelevant in a discovery session */
    KEY_LEADING_ONLY = 16, /* only in the first login request of a connection */
};

enum key_sender {
    KEY_BY_INITIATOR = 1,
    KEY_BY_TARGET = 2,
    KEY_BY_BOTH = 3,
};

struct key_row {
    const char *name;
    enum key_rule rule;
    unsigned senders; /* enum key_sender bits */
    unsigned phases;  /* enum key_phase bits */
    bool is_number, is_bool;
    uint32_t min, max, standard; /* the RFC's range and default */
    uint32_t mine;               /* what nestor would like, unless configured otherwise */
    const char *list;    /* KEY_RULE_LIST: what nestor takes; agreed[] is an index into it */
    const char *refusal; /* KEY_RULE_REFUSED */
};

extern const struct key_row key_table[KEY_COUNT];

/* agreed[KEY_AUTH_METHOD] */
enum key_auth {
    KEY_AUTH_NONE = 0,
    KEY_AUTH_CHAP = 1,
    KEY_AUTH_NOT_NEGOTIATED = 2, /* the initiator has not offered AuthMethod */
};

/* agreed[KEY_HEADER_DIGEST] and agreed[KEY_DATA_DIGEST] */
enum key_digest {
    KEY_DIGEST_NONE = 0,
    KEY_DIGEST_CRC32C = 1,
};

/* NULL when nobody knows that key. Key names are case sensitive. */
const struct key_row *key_find(struct slice name);

enum { KEY_TEXT_MAX = 255 };

struct key_text {
    uint8_t len;
    char text[KEY_TEXT_MAX + 1]; /* terminated by us, and checked to hold no NUL before */
};

/*
 * One side's view of one connection's negotiation. Numbers and booleans (0, 1) live in the arrays;
 * for KEY_RULE_LIST agreed[] is the index of the item in the row's list. MaxRecvDataSegmentLength
 * is each side's own: agreed[] is what the initiator takes (the most that we may send), mine[] what
 * we do.
 */
struct negotiation {
    uint32_t mine[KEY_COUNT], theirs[KEY_COUNT], agreed[KEY_COUNT];
    bool offered[KEY_COUNT]; /* they named it in this login; a second time is an error */
    bool answered[KEY_COUNT];
    bool declared; /* negotiation_declare() has said its part */
    bool is_discovery;
    const char *auth_list; /* what to take of AuthMethod: "CHAP", "None", or "CHAP,None" */
    struct key_text initiator_name, initiator_alias, target_name, session_type;
};

/* What to do after one key. Everything but KEY_FATAL goes on. */
enum key_outcome {
    KEY_DONE,     /* taken, and answered where the rule has an answer */
    KEY_FOR_CHAP, /* the pair belongs to the CHAP exchange */
    KEY_FOR_TEXT, /* SendTargets in full feature phase: the text handler's */
    KEY_FATAL,    /* the login (or the text exchange) must be refused with *status */
};

/*
 * mine = the rows' `mine`, agreed = the RFC's defaults. The caller may change mine[] and
 * is_discovery afterwards; auth_list must outlive the negotiation.
 */
void negotiation_init(struct negotiation *n, const char *auth_list);

/*
 * Takes one pair that the initiator sent and appends our answer, if the rule has one, to `answer`.
 * An unknown key is answered NotUnderstood; a value out of range or a word that is none, Reject
 * (and the default stays agreed); a key that has no meaning here, Irrelevant. KEY_FATAL (a
 * duplicate, a key in the wrong phase that the RFC forbids, a name that is none) sets *status to
 * the login status that says why. An answer that did not fit is for the caller to notice:
 * answer->overflow.
 *
 * `phase` is one of KEY_IN_SECURITY, KEY_IN_OPERATIONAL and KEY_IN_FULL_FEATURE; `is_leading` is
 * true for all keys of the first login request (with its continuations). Whether a key is
 * Irrelevant in a discovery session can be known only once SessionType has been taken: keys that
 * come before it in the text are negotiated as in a normal session, which harms nobody.
 */
enum key_outcome negotiation_take(struct negotiation *n, struct slice key, struct slice value,
                                  enum key_phase phase, bool is_leading, struct builder *answer,
                                  enum login_status *status);

/*
 * What we still have to say of our own when leaving the operational stage of a normal session:
 * MaxRecvDataSegmentLength, once.
 */
void negotiation_declare(struct negotiation *n, struct builder *answer);

/* After both have moved to full feature phase: FirstBurstLength is cut to MaxBurstLength, and so
 * on. */
void negotiation_settle(struct negotiation *n);
