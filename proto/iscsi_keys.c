#include "proto/iscsi_keys.h"

#include <assert.h>

#include "proto/text.h"

enum {
    /* shorter names, for the table's sake */
    SEC = KEY_IN_SECURITY,
    OPER = KEY_IN_OPERATIONAL,
    LOGIN = KEY_IN_SECURITY | KEY_IN_OPERATIONAL, /* the RFC's "any-stage" */
    FULL = KEY_IN_FULL_FEATURE,
    NORMAL = KEY_NORMAL_ONLY,
    LEAD = KEY_LEADING_ONLY,

    I = KEY_BY_INITIATOR,
    T = KEY_BY_TARGET,
    IT = KEY_BY_BOTH,

    NO = 0,
    YES = 1,
};

/* clang-format off */
#define ROW(id, name, rule, ...) [KEY_##id] = { name, KEY_RULE_##rule, __VA_ARGS__ }
#define LIST(items, default_item) .list = items, .standard = default_item
#define REFUSED(word) .refusal = word
#define BOOLEAN(default_value, ours) \
    .is_bool = true, .min = NO, .max = YES, .standard = default_value, .mine = ours
#define NUMBER(least, most, default_value, ours) \
    .is_number = true, .min = least, .max = most, .standard = default_value, .mine = ours

const struct key_row key_table[KEY_COUNT] = {
    /* RFC 7143 12 and 13.1 */
    ROW(AUTH_METHOD,                  "AuthMethod",               LIST,    IT, SEC,             LIST("None,CHAP", KEY_AUTH_NOT_NEGOTIATED)),
    ROW(HEADER_DIGEST,                "HeaderDigest",             LIST,    IT, OPER,            LIST("None,CRC32C", KEY_DIGEST_NONE)),
    ROW(DATA_DIGEST,                  "DataDigest",               LIST,    IT, OPER,            LIST("None,CRC32C", KEY_DIGEST_NONE)),
    /* 13.2 to 13.9 */
    ROW(MAX_CONNECTIONS,              "MaxConnections",           MIN,     IT, OPER | NORMAL,   NUMBER(1, 65535, 1, 1)),
    ROW(SEND_TARGETS,                 "SendTargets",              DECLARE, I,  FULL),
    ROW(TARGET_NAME,                  "TargetName",               DECLARE, IT, LOGIN | LEAD),
    ROW(INITIATOR_NAME,               "InitiatorName",            DECLARE, I,  LOGIN | LEAD),
    ROW(TARGET_ALIAS,                 "TargetAlias",              DECLARE, T,  LOGIN | FULL),
    ROW(INITIATOR_ALIAS,              "InitiatorAlias",           DECLARE, I,  LOGIN | FULL),
    ROW(TARGET_ADDRESS,               "TargetAddress",            DECLARE, T,  LOGIN | FULL),
    ROW(TARGET_PORTAL_GROUP_TAG,      "TargetPortalGroupTag",     DECLARE, T,  LOGIN),
    /* 13.10 to 13.20 */
    ROW(INITIAL_R2T,                  "InitialR2T",               OR,      IT, OPER | NORMAL,   BOOLEAN(YES, NO)),
    ROW(IMMEDIATE_DATA,               "ImmediateData",            AND,     IT, OPER | NORMAL,   BOOLEAN(YES, YES)),
    ROW(MAX_RECV_DATA_SEGMENT_LENGTH, "MaxRecvDataSegmentLength", DECLARE, IT, OPER | FULL,     NUMBER(512, 16777215, 8192, 262144)),
    ROW(MAX_BURST_LENGTH,             "MaxBurstLength",           MIN,     IT, OPER | NORMAL,   NUMBER(512, 16777215, 262144, 1048576)),
    ROW(FIRST_BURST_LENGTH,           "FirstBurstLength",         MIN,     IT, OPER | NORMAL,   NUMBER(512, 16777215, 65536, 262144)),
    ROW(DEFAULT_TIME2WAIT,            "DefaultTime2Wait",         MAX,     IT, OPER,            NUMBER(0, 3600, 2, 2)),
    ROW(DEFAULT_TIME2RETAIN,          "DefaultTime2Retain",       MIN,     IT, OPER,            NUMBER(0, 3600, 20, 0)),
    ROW(MAX_OUTSTANDING_R2T,          "MaxOutstandingR2T",        MIN,     IT, OPER | NORMAL,   NUMBER(1, 65535, 1, 16)),
    ROW(DATA_PDU_IN_ORDER,            "DataPDUInOrder",           OR,      IT, OPER | NORMAL,   BOOLEAN(YES, YES)),
    ROW(DATA_SEQUENCE_IN_ORDER,       "DataSequenceInOrder",      OR,      IT, OPER | NORMAL,   BOOLEAN(YES, YES)),
    ROW(ERROR_RECOVERY_LEVEL,         "ErrorRecoveryLevel",       MIN,     IT, OPER,            NUMBER(0, 2, 0, 0)),
    /* 13.21 */
    ROW(SESSION_TYPE,                 "SessionType",              DECLARE, I,  LOGIN | LEAD),
    /* 13.25: a marker may be answered No or Reject, an interval only Reject; never NotUnderstood */
    ROW(IF_MARKER,                    "IFMarker",                 REFUSED, IT, OPER,            REFUSED("No")),
    ROW(OF_MARKER,                    "OFMarker",                 REFUSED, IT, OPER,            REFUSED("No")),
    ROW(IF_MARK_INT,                  "IFMarkInt",                REFUSED, IT, OPER,            REFUSED("Reject")),
    ROW(OF_MARK_INT,                  "OFMarkInt",                REFUSED, IT, OPER,            REFUSED("Reject")),
    /* 13.23 and 13.24 */
    ROW(TASK_REPORTING,               "TaskReporting",            LIST,    IT, OPER | NORMAL,   LIST("RFC3720", 0)),
    ROW(ISCSI_PROTOCOL_LEVEL,         "iSCSIProtocolLevel",       MIN,     IT, OPER | NORMAL,   NUMBER(0, 31, 1, 1)),
    /* 12.1.3 */
    ROW(CHAP_A,                       "CHAP_A",                   CHAP,    IT, SEC),
    ROW(CHAP_I,                       "CHAP_I",                   CHAP,    IT, SEC),
    ROW(CHAP_C,                       "CHAP_C",                   CHAP,    IT, SEC),
    ROW(CHAP_N,                       "CHAP_N",                   CHAP,    IT, SEC),
    ROW(CHAP_R,                       "CHAP_R",                   CHAP,    IT, SEC),
};
/* clang-format on */

const struct key_row *key_find(struct slice name)
{
    for (size_t i = 0; i < KEY_COUNT; i++) {
        if (slice_is(name, key_table[i].name))
            return &key_table[i];
    }
    return NULL;
}

void negotiation_init(struct negotiation *n, const char *auth_list)
{
    *n = (struct negotiation){ .auth_list = auth_list };
    for (size_t i = 0; i < KEY_COUNT; i++) {
        n->mine[i] = key_table[i].mine;
        n->theirs[i] = n->agreed[i] = key_table[i].standard;
    }
}

/* A refusal of the whole login (or text exchange), as one expression. */
static enum key_outcome fatal(enum login_status *status, enum login_status why)
{
    *status = why;
    return KEY_FATAL;
}

static enum key_outcome answer_with(struct negotiation *n, const struct key_row *row,
                                    struct builder *answer, const char *value)
{
    n->answered[row - key_table] = true;
    text_put_str(answer, row->name, value);
    return KEY_DONE;
}

static void key_text_set(struct key_text *to, struct slice value)
{
    assert(value.len <= KEY_TEXT_MAX);
    memcpy(to->text, value.bytes, value.len);
    to->text[value.len] = 0;
    to->len = (uint8_t)value.len;
}

/* The words that answer a key (RFC 7143 6.2), and None, which ESX and others use likewise. */
static bool is_answer_word(struct slice value)
{
    return slice_is(value, "Irrelevant") || slice_is(value, "Reject") ||
           slice_is(value, "NotUnderstood") || slice_is(value, "None");
}

static bool in_range(const struct key_row *row, struct slice value, uint32_t *number)
{
    uint64_t wide;

    if (text_number(value, &wide) != 0 || wide < row->min || wide > row->max)
        return false;
    *number = (uint32_t)wide;
    return true;
}

static enum key_outcome take_number(struct negotiation *n, const struct key_row *row,
                                    struct slice value, struct builder *answer)
{
    size_t id = (size_t)(row - key_table);
    uint32_t theirs, mine = n->mine[id];

    if (!in_range(row, value, &theirs))
        return answer_with(n, row, answer, "Reject");
    n->theirs[id] = theirs;
    if (row->rule == KEY_RULE_MIN)
        n->agreed[id] = theirs < mine ? theirs : mine;
    else
        n->agreed[id] = theirs > mine ? theirs : mine;
    n->answered[id] = true;
    text_put_number(answer, row->name, n->agreed[id]);
    return KEY_DONE;
}

static enum key_outcome take_boolean(struct negotiation *n, const struct key_row *row,
                                     struct slice value, struct builder *answer)
{
    size_t id = (size_t)(row - key_table);

    if (!slice_is(value, "Yes") && !slice_is(value, "No"))
        return answer_with(n, row, answer, "Reject");
    n->theirs[id] = slice_is(value, "Yes");
    n->agreed[id] =
        row->rule == KEY_RULE_AND ? n->theirs[id] & n->mine[id] : n->theirs[id] | n->mine[id];
    return answer_with(n, row, answer, n->agreed[id] ? "Yes" : "No");
}

/* The item's place in the list, or UINT32_MAX. */
static uint32_t list_index(const char *list, struct slice wanted)
{
    struct slice rest = slice_str(list), item;

    for (uint32_t i = 0; text_list_next(&rest, &item); i++) {
        if (slice_equal(item, wanted))
            return i;
    }
    return UINT32_MAX;
}

/* RFC 7143 6.2.1: the offerer's first item that the responder takes. */
static enum key_outcome take_list(struct negotiation *n, const struct key_row *row,
                                  struct slice value, struct builder *answer,
                                  enum login_status *status)
{
    bool is_auth = row == &key_table[KEY_AUTH_METHOD];
    const char *takes = is_auth ? n->auth_list : row->list;
    struct slice item;

    while (text_list_next(&value, &item)) {
        if (list_index(takes, item) == UINT32_MAX)
            continue;
        n->agreed[row - key_table] = n->theirs[row - key_table] = list_index(row->list, item);
        n->answered[row - key_table] = true;
        text_put(answer, row->name, item);
        return KEY_DONE;
    }
    answer_with(n, row, answer, "Reject");
    /* without an authentication method there is nothing to go on with */
    return is_auth ? fatal(status, LOGIN_AUTHENTICATION_FAILURE) : KEY_DONE;
}

static enum key_outcome take_declared_number(struct negotiation *n, const struct key_row *row,
                                             struct slice value, struct builder *answer)
{
    size_t id = (size_t)(row - key_table);

    if (!in_range(row, value, &n->theirs[id]))
        return answer_with(n, row, answer, "Reject");
    n->agreed[id] = n->theirs[id];
    return KEY_DONE;
}

static enum key_outcome take_declared_text(struct negotiation *n, const struct key_row *row,
                                           struct slice value, enum login_status *status)
{
    switch (row - key_table) {
    case KEY_INITIATOR_NAME:
        if (!text_is_iscsi_name(value))
            return fatal(status, LOGIN_INITIATOR_ERROR);
        key_text_set(&n->initiator_name, value);
        break;
    case KEY_TARGET_NAME:
        /* what is no name cannot be the name of a target here */
        if (!text_is_iscsi_name(value))
            return fatal(status, LOGIN_NOT_FOUND);
        key_text_set(&n->target_name, value);
        break;
    case KEY_INITIATOR_ALIAS:
        /* only for people to read: one that they could not read is not worth a login */
        if (value.len <= KEY_TEXT_MAX && text_is_printable(value))
            key_text_set(&n->initiator_alias, value);
        break;
    case KEY_SESSION_TYPE:
        if (!slice_is(value, "Discovery") && !slice_is(value, "Normal"))
            return fatal(status, LOGIN_SESSION_TYPE_NOT_SUPPORTED);
        n->is_discovery = slice_is(value, "Discovery");
        key_text_set(&n->session_type, value);
        break;
    case KEY_SEND_TARGETS: return KEY_FOR_TEXT;
    }
    return KEY_DONE;
}

enum key_outcome negotiation_take(struct negotiation *n, struct slice key, struct slice value,
                                  enum key_phase phase, bool is_leading, struct builder *answer,
                                  enum login_status *status)
{
    const struct key_row *row = key_find(key);
    size_t id;

    if (!row) {
        /* private and future keys alike, RFC 7143 6.2 */
        text_put_pair(answer, key, slice_str("NotUnderstood"));
        return KEY_DONE;
    }
    id = (size_t)(row - key_table);

    /* "TargetAlias=NotUnderstood" answers what we declared and says nothing of the initiator's own
     */
    if (row->rule == KEY_RULE_DECLARE && (row->senders & KEY_BY_TARGET) && is_answer_word(value))
        return KEY_DONE;
    /* The RFC names the sender but no consequence. What a target says of itself cannot be taken
     * from somebody else; saying so is enough. */
    if (!(row->senders & KEY_BY_INITIATOR))
        return answer_with(n, row, answer, "Reject");

    /* RFC 7143 6.3, 12, 13: each key has its stages */
    if (!(row->phases & phase))
        return fatal(status, LOGIN_INITIATOR_ERROR);
    if ((row->phases & KEY_LEADING_ONLY) && !is_leading)
        return fatal(status, LOGIN_INITIATOR_ERROR);

    /* RFC 7143 6.2: renegotiating in one login is refused. A text exchange is another negotiation,
     * and what may come there may come in each. */
    if (n->offered[id] && phase != KEY_IN_FULL_FEATURE)
        return fatal(status, LOGIN_INITIATOR_ERROR);
    n->offered[id] = true;

    if ((row->phases & KEY_NORMAL_ONLY) && n->is_discovery)
        return answer_with(n, row, answer, "Irrelevant");

    switch (row->rule) {
    case KEY_RULE_AND:
    case KEY_RULE_OR: return take_boolean(n, row, value, answer);
    case KEY_RULE_MIN:
    case KEY_RULE_MAX: return take_number(n, row, value, answer);
    case KEY_RULE_LIST: return take_list(n, row, value, answer, status);
    case KEY_RULE_CHAP: return KEY_FOR_CHAP;
    case KEY_RULE_REFUSED: return answer_with(n, row, answer, row->refusal);
    case KEY_RULE_DECLARE: break;
    }
    return row->is_number ? take_declared_number(n, row, value, answer)
                          : take_declared_text(n, row, value, status);
}

void negotiation_declare(struct negotiation *n, struct builder *answer)
{
    enum key_id id = KEY_MAX_RECV_DATA_SEGMENT_LENGTH;

    if (n->is_discovery || n->declared)
        return;
    if (n->answered[id])
        return; /* theirs was out of range and has been answered Reject: a key is said once */
    n->declared = true;
    text_put_number(answer, key_table[id].name, n->mine[id]);
}

void negotiation_settle(struct negotiation *n)
{
    /* RFC 7143 13.14: FirstBurstLength must not exceed MaxBurstLength */
    if (n->agreed[KEY_FIRST_BURST_LENGTH] > n->agreed[KEY_MAX_BURST_LENGTH])
        n->agreed[KEY_FIRST_BURST_LENGTH] = n->agreed[KEY_MAX_BURST_LENGTH];
}
