#include "target/iscsi/login.h"

#include "proto/text.h"
#include "target/iscsi/login_chap.h"
#include "target/iscsi/portal.h"
#include "target/iscsi/refused_table.h"
#include "target/iscsi/session.h"
#include "target/worker/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum {
    ANSWER_MAX = LOGIN_SEGMENT_MAX,
    REQUESTS_MAX = 64, /* of one login, its continuations counted */
    KEYS_MAX = 256,
};

/* A login that waits for the session which it reinstates; it outlives the login if that ends first.
 */
struct reinstatement {
    struct session_waiter waiter;
    struct conn *conn; /* NULL: the login is gone */
};

struct login {
    struct negotiation negotiation;
    struct text_collect collect; /* a text that comes in several requests */
    bool is_leading;             /* still in the first request (with its continuations) */
    bool is_authenticated;
    unsigned requests, keys;                                                          /* so far */
    char initiator_text[INITIATOR_NAME_MAX + 1], target_text[INITIATOR_NAME_MAX + 1]; /* for logs */
    uint8_t isid[6];
    uint16_t tsih, cid;
    uint32_t cmd_sn;
    enum login_stage stage;
    struct node *node; /* NULL in a discovery session */
    struct node_access *access;
    const struct node_chap *account; /* who must prove to be whom; is_set tells whether at all */
    struct login_chap chap;
    struct session *session; /* being made, in the last step */
    struct reinstatement *reinstatement;
    struct pdu_login_request last; /* what the final answer answers */
    uint32_t last_tag;
    uint8_t *last_text;
    uint32_t last_text_len;
};

void login_free(struct login *login)
{
    text_collect_free(&login->collect);
    if (login->reinstatement)
        login->reinstatement->conn = NULL; /* it is still posted, and frees itself then */
    free(login->session);
    node_access_put(login->access);
    node_put(login->node);
    free(login->last_text);
    explicit_bzero(&login->chap, sizeof login->chap);
    free(login);
}

static void respond(struct conn *conn, const struct pdu_login_request *request, uint32_t tag,
                    enum login_status status, bool transit, uint16_t tsih,
                    const struct builder *text)
{
    const struct login *login = conn->login;
    struct pdu pdu = { .opcode = PDU_LOGIN_RESPONSE, .initiator_task_tag = tag };
    struct pdu_login_response *response = &pdu.login_response;

    response->transit = transit;
    response->csg = request->csg;
    response->nsg = transit ? request->nsg : 0;
    memcpy(response->isid, request->isid, sizeof response->isid);
    response->tsih = tsih;
    response->status = (uint16_t)status;
    if (status == LOGIN_SUCCESS) { /* on a refusal these are reserved, RFC 7143 11.13.4 */
        response->stat_sn = conn->stat_sn++;
        response->exp_cmd_sn = login->cmd_sn;
        response->max_cmd_sn = login->cmd_sn + SESSION_WINDOW - 1;
    }
    conn_send(conn, &pdu, text ? text->bytes : NULL, text ? (uint32_t)text->len : 0);
}

void login_refuse(struct conn *conn, enum login_status status, const char *why)
{
    const struct login *login = conn->login;
    struct pdu_login_request request = { 0 };

    if (conn->pdu.opcode == PDU_LOGIN_REQUEST)
        request = conn->pdu.login_request;
    else if (login)
        memcpy(request.isid, login->isid, sizeof request.isid);
    log_peer("refused a login initiator=%s target=%s from=%s: %s (status %04x)",
             login && login->initiator_text[0] ? login->initiator_text : "?",
             login && login->target_text[0] ? login->target_text : "?", conn->peer_text, why,
             status);
    respond(conn, &request, conn->pdu.initiator_task_tag, status, false, request.tsih, NULL);
    conn_close_when_sent(conn, "its login was refused");
}

/* The first request: what must hold before any text is looked at. NULL: refused. */
static struct login *login_start(struct conn *conn)
{
    const struct pdu_login_request *request = &conn->pdu.login_request;

    if (request->version_min > 0) {
        login_refuse(conn, LOGIN_UNSUPPORTED_VERSION, "the initiator speaks only versions after 0");
        return NULL;
    }
    struct login *login = calloc(1, sizeof *login);
    if (!login) {
        login_refuse(conn, LOGIN_OUT_OF_RESOURCES, "out of memory");
        return NULL;
    }
    conn->login = login;
    login->is_leading = true;
    memcpy(login->isid, request->isid, sizeof login->isid);
    login->tsih = request->tsih;
    login->cid = request->cid;
    login->cmd_sn = request->cmd_sn;
    login->stage = request->csg;
    negotiation_init(&login->negotiation, "None");
    return login;
}

/* Stages and names that every request must repeat, RFC 7143 11.12. NULL: all is well. */
static const char *request_fault(const struct login *login, const struct pdu_login_request *request)
{
    if (login->requests > REQUESTS_MAX || login->keys > KEYS_MAX)
        return "the login goes on and on";
    if (request->csg != STAGE_SECURITY && request->csg != STAGE_OPERATIONAL)
        return "the request's current stage (CSG) is none of login";
    if (request->csg != login->stage)
        return "the request's current stage (CSG) is not the one that was agreed";
    if (request->transit && request->continues)
        return "the request wants to move on (T) and to go on (C) at once";
    if (request->transit && request->nsg != STAGE_OPERATIONAL && request->nsg != STAGE_FULL_FEATURE)
        return "the request's next stage (NSG) is none";
    if (request->transit && request->nsg <= request->csg)
        return "the request's next stage (NSG) does not come after its current one";
    if (memcmp(request->isid, login->isid, sizeof login->isid) != 0 || request->cid != login->cid ||
        request->tsih != login->tsih)
        return "ISID, TSIH or CID changed during login";
    return NULL;
}

/* The value of a key in the first request, before it is negotiated: what follows depends on who it
 * is. */
static struct slice peek(struct slice text, enum key_id id)
{
    struct text_reader reader = text_over(text);
    struct slice key, value, found = slice_of(NULL, 0);

    while (text_next(&reader, &key, &value) == TEXT_PAIR)
        if (slice_is(key, key_table[id].name))
            found = value;
    return found;
}

/* Which node, and whether this initiator may come to it at all. LOGIN_SUCCESS, or why not with
 * *why. */
static enum login_status find_node(struct conn *conn, const char *initiator_name,
                                   struct slice target_name, const char **why)
{
    struct login *login = conn->login;
    struct node_table *nodes = portals_settings(conn->portals)->nodes;
    char name[INITIATOR_NAME_MAX + 1];

    *why = "there is no such target";
    if (target_name.len > INITIATOR_NAME_MAX || memchr(target_name.bytes, '\0', target_name.len))
        return LOGIN_NOT_FOUND;
    memcpy(name, target_name.bytes, target_name.len);
    name[target_name.len] = '\0';
    login->node = node_find(nodes, name);
    if (!login->node)
        return LOGIN_NOT_FOUND;
    login->access = node_access_get(nodes, login->node);
    login->account = &login->access->chap;
    *why = node_refusal(login->access, initiator_name, (const struct sockaddr *)&conn->peer);
    if (*why) {
        refused_table_note(initiator_name, login->node->name, conn->peer_text, *why);
        return LOGIN_AUTHORIZATION_FAILURE;
    }
    refused_table_forget(initiator_name, login->node->name);
    return LOGIN_SUCCESS;
}

/* Who comes to whom, from the first request's text. False: refused. */
static bool identify(struct conn *conn, struct slice text)
{
    struct login *login = conn->login;
    struct slice initiator = peek(text, KEY_INITIATOR_NAME);
    struct slice target = peek(text, KEY_TARGET_NAME);
    struct slice type = peek(text, KEY_SESSION_TYPE);
    char initiator_name[INITIATOR_NAME_MAX + 1];
    const char *why;

    log_text(login->initiator_text, sizeof login->initiator_text, initiator.bytes, initiator.len);
    log_text(login->target_text, sizeof login->target_text, target.bytes, target.len);
    if (!initiator.len) {
        login_refuse(conn, LOGIN_MISSING_PARAMETER, "the first request has no InitiatorName");
        return false;
    }
    if (!text_is_iscsi_name(initiator)) {
        login_refuse(conn, LOGIN_INITIATOR_ERROR, "its InitiatorName is not an iSCSI name");
        return false;
    }
    memcpy(initiator_name, initiator.bytes, initiator.len);
    initiator_name[initiator.len] = '\0';
    login->negotiation.is_discovery = slice_is(type, "Discovery");
    if (login->negotiation.is_discovery) {
        login->account = &portals_settings(conn->portals)->nodes->discovery_chap;
    } else {
        if (type.len && !slice_is(type, "Normal")) {
            login_refuse(conn, LOGIN_SESSION_TYPE_NOT_SUPPORTED,
                         "its SessionType is neither Normal nor Discovery");
            return false;
        }
        if (!target.len) {
            login_refuse(conn, LOGIN_MISSING_PARAMETER,
                         "a normal session's first request has no TargetName");
            return false;
        }
        enum login_status status = find_node(conn, initiator_name, target, &why);
        if (status != LOGIN_SUCCESS) {
            login_refuse(conn, status, why);
            return false;
        }
    }
    login->negotiation.auth_list = login->account->is_set ? "CHAP" : "None";
    login->is_authenticated = !login->account->is_set;
    if (login->tsih != 0) {
        /* one connection a session (MaxConnections=1): nothing can join one */
        bool is_there = session_table_has(login->tsih, initiator_name, login->isid);
        login_refuse(conn, is_there ? LOGIN_TOO_MANY_CONNECTIONS : LOGIN_SESSION_DOES_NOT_EXIST,
                     is_there ? "a session has one connection"
                              : "it wants to join a session that does not exist");
        return false;
    }
    return true;
}

/* Walks the pairs. False: refused. */
static bool negotiate(struct conn *conn, struct slice text, struct login_chap_pairs *pairs,
                      struct builder *answer)
{
    struct login *login = conn->login;
    enum key_phase phase = login->stage == STAGE_SECURITY ? KEY_IN_SECURITY : KEY_IN_OPERATIONAL;
    struct text_reader reader = text_over(text);
    struct slice key, value;
    enum text_result result;

    while ((result = text_next(&reader, &key, &value)) == TEXT_PAIR) {
        enum login_status status = LOGIN_INITIATOR_ERROR;
        login->keys++;
        enum key_outcome outcome = negotiation_take(&login->negotiation, key, value, phase,
                                                    login->is_leading, answer, &status);
        if (outcome == KEY_FOR_CHAP) {
            login_chap_note(pairs, key, value);
        } else if (outcome == KEY_FATAL) {
            char clean[TEXT_KEY_MAX + 1];
            log_peer("the login key %s from %s cannot stand as it came",
                     log_text(clean, sizeof clean, key.bytes, key.len), conn->peer_text);
            login_refuse(conn, status,
                         status == LOGIN_AUTHENTICATION_FAILURE
                             ? "no authentication method that both sides take; the target wants "
                               "CHAP, or has none"
                             : "a key came twice, in the wrong place, or with an impossible value");
            return false;
        }
    }
    if (result == TEXT_MALFORMED) {
        login_refuse(conn, LOGIN_INITIATOR_ERROR,
                     "the login text is not a list of key=value pairs");
        return false;
    }
    if (answer->overflow) {
        login_refuse(conn, LOGIN_INITIATOR_ERROR,
                     "the answers to its keys would not fit a login response");
        return false;
    }
    return true;
}

/* The security stage's part. False: refused. */
static bool authenticate(struct conn *conn, const struct login_chap_pairs *pairs,
                         struct builder *answer)
{
    struct login *login = conn->login;
    uint32_t method = login->negotiation.agreed[KEY_AUTH_METHOD];

    if (pairs->has_any) {
        const char *why = "CHAP keys came without AuthMethod=CHAP";
        if (login->stage == STAGE_SECURITY && method == KEY_AUTH_CHAP)
            why = login_chap_step(&login->chap, login->account, pairs, answer);
        if (why) {
            login_refuse(conn, LOGIN_AUTHENTICATION_FAILURE, why);
            return false;
        }
        login->is_authenticated = login->chap.step == CHAP_IS_DONE;
    }
    bool is_going_on = login->stage == STAGE_SECURITY && method == KEY_AUTH_CHAP;
    bool is_leaving = conn->pdu.login_request.transit || login->stage != STAGE_SECURITY;
    if (!login->is_authenticated && is_leaving && !is_going_on) {
        login_refuse(conn, LOGIN_AUTHENTICATION_FAILURE,
                     "the target wants CHAP and the initiator offered none");
        return false;
    }
    return true;
}

/* ---- the last step: a session ---- */

static struct session_parameters agreed_parameters(const struct negotiation *n)
{
    return (struct session_parameters){
        .initial_r2t = n->agreed[KEY_INITIAL_R2T],
        .immediate_data = n->agreed[KEY_IMMEDIATE_DATA],
        .max_burst_bytes = n->agreed[KEY_MAX_BURST_LENGTH],
        .first_burst_bytes = n->agreed[KEY_FIRST_BURST_LENGTH],
        .max_send_segment_bytes = n->agreed[KEY_MAX_RECV_DATA_SEGMENT_LENGTH],
        .max_receive_segment_bytes =
            n->declared ? n->mine[KEY_MAX_RECV_DATA_SEGMENT_LENGTH] : LOGIN_SEGMENT_MAX,
        .max_outstanding_r2t = n->agreed[KEY_MAX_OUTSTANDING_R2T],
        .time2wait = (uint16_t)n->agreed[KEY_DEFAULT_TIME2WAIT],
        .time2retain = (uint16_t)n->agreed[KEY_DEFAULT_TIME2RETAIN],
    };
}

static const char *auth_text(const struct login *login)
{
    if (login->chap.step != CHAP_IS_DONE)
        return "none";
    return login->chap.is_mutual ? "chap+mutual" : "chap";
}

static struct session *make_session(struct conn *conn)
{
    struct login *login = conn->login;
    const struct negotiation *n = &login->negotiation;
    struct session *session = calloc(1, sizeof *session);

    if (!session)
        return NULL;
    struct session_view *view = &session->entry.view;
    view->is_discovery = n->is_discovery;
    memcpy(view->isid, login->isid, sizeof view->isid);
    memcpy(view->initiator_name, n->initiator_name.text, n->initiator_name.len);
    log_text(view->initiator_alias, sizeof view->initiator_alias, n->initiator_alias.text,
             n->initiator_alias.len);
    if (login->node)
        memcpy(view->target_name, login->node->name, sizeof view->target_name);
    memcpy(view->address, conn->peer_text, sizeof conn->peer_text);
    memcpy(view->portal, conn->local_text, sizeof conn->local_text);
    view->since_unix_s = time(NULL);
    view->has_header_digest = n->agreed[KEY_HEADER_DIGEST] == KEY_DIGEST_CRC32C;
    view->has_data_digest = n->agreed[KEY_DATA_DIGEST] == KEY_DIGEST_CRC32C;
    snprintf(view->auth, sizeof view->auth, "%s", auth_text(login));
    session->entry.worker = conn->worker;
    session->entry.cid = login->cid;
    session->worker = conn->worker;
    session->is_discovery = n->is_discovery;
    session->exp_cmd_sn = login->cmd_sn;
    session->max_cmd_sn = login->cmd_sn + SESSION_WINDOW - 1;
    session->parameters = agreed_parameters(n);
    return session;
}

/* The session's place is claimed: answer, and move to full feature phase (T5). */
static void complete(struct conn *conn)
{
    struct login *login = conn->login;
    struct session *session = login->session;
    struct builder text = { .bytes = login->last_text, .len = login->last_text_len };

    session->node = login->node;
    session->access = login->access;
    int error = session_start(session, conn);
    if (error) {
        session->node = NULL;
        session->access = NULL;
        session_table_remove(&session->entry);
        login_refuse(conn, LOGIN_OUT_OF_RESOURCES, "out of memory");
        return;
    }
    respond(conn, &login->last, login->last_tag, LOGIN_SUCCESS, true, session->entry.view.tsih,
            &text);
    login->node = NULL;
    login->access = NULL;
    login->session = NULL;
    conn->login = NULL;
    conn->session = session;
    conn->state = CONN_LOGGED_IN;
    conn->header_digest_bytes = session->entry.view.has_header_digest ? DIGEST_BYTES : 0;
    conn->data_digest_bytes = session->entry.view.has_data_digest ? DIGEST_BYTES : 0;
    login_free(login);
    portals_login_over(conn->portals);
    conn_start_keepalive(conn);
    log_info("session started initiator=%s target=%s from=%s to=%s auth=%s",
             session->entry.view.initiator_name,
             session->is_discovery ? "(discovery)" : session->entry.view.target_name,
             conn->peer_text, conn->local_text, session->entry.view.auth);
}

static void claim(struct conn *conn);

static void reinstatement_run(struct message *message)
{
    struct reinstatement *reinstatement = (struct reinstatement *)message;
    struct conn *conn = reinstatement->conn;

    free(reinstatement);
    if (!conn)
        return;
    conn->login->reinstatement = NULL;
    if (conn->is_closing)
        return;
    claim(conn);
    if (!conn->login || !conn->login->reinstatement)
        conn_resume_reading(conn);
}

static void claim(struct conn *conn)
{
    struct login *login = conn->login;
    struct reinstatement *reinstatement = calloc(1, sizeof *reinstatement);
    enum session_claim claim = SESSION_TOO_MANY;

    if (reinstatement) {
        reinstatement->conn = conn;
        reinstatement->waiter.message.run = reinstatement_run;
        reinstatement->waiter.worker = conn->worker;
        /* set before: the old session may be gone as soon as the waiter is known */
        login->reinstatement = reinstatement;
        claim = session_table_claim(&login->session->entry,
                                    portals_settings(conn->portals)->max_sessions,
                                    &reinstatement->waiter);
    }
    if (claim == SESSION_WAIT) {
        conn_pause_reading(conn);
        return;
    }
    login->reinstatement = NULL;
    free(reinstatement);
    if (claim == SESSION_CLAIMED)
        complete(conn);
    else
        login_refuse(conn, LOGIN_OUT_OF_RESOURCES, "too many sessions (max_sessions)");
}

static void finish(struct conn *conn, const struct builder *answer)
{
    struct login *login = conn->login;

    negotiation_settle(&login->negotiation);
    login->last = conn->pdu.login_request;
    login->last_tag = conn->pdu.initiator_task_tag;
    login->last_text = malloc(answer->len ? answer->len : 1);
    login->session = make_session(conn);
    if (!login->last_text || !login->session) {
        login_refuse(conn, LOGIN_OUT_OF_RESOURCES, "out of memory");
        return;
    }
    memcpy(login->last_text, answer->bytes, answer->len);
    login->last_text_len = (uint32_t)answer->len;
    claim(conn);
}

static void say_who_we_are(const struct login *login, struct builder *answer)
{
    if (!login->node)
        return;
    /* RFC 7143 13.9: in the first response of a normal session */
    text_put_number(answer, key_table[KEY_TARGET_PORTAL_GROUP_TAG].name,
                    login->node->portal_group_tag);
    if (login->access->alias[0])
        text_put_str(answer, key_table[KEY_TARGET_ALIAS].name, login->access->alias);
}

/* A whole text (all its continuations) has come. */
static void take_text(struct conn *conn, struct slice text)
{
    struct login *login = conn->login;
    const struct pdu_login_request request = conn->pdu.login_request;
    struct login_chap_pairs pairs = { 0 };
    uint8_t bytes[ANSWER_MAX];
    struct builder answer = builder_over(bytes, sizeof bytes);

    if (login->is_leading) {
        if (!identify(conn, text))
            return;
        say_who_we_are(login, &answer);
    }
    if (!negotiate(conn, text, &pairs, &answer) || !authenticate(conn, &pairs, &answer))
        return;
    login->is_leading = false;
    bool is_leaving = request.transit && login->is_authenticated;
    if (is_leaving && login->stage == STAGE_OPERATIONAL)
        negotiation_declare(&login->negotiation, &answer);
    if (answer.overflow) {
        login_refuse(conn, LOGIN_INITIATOR_ERROR,
                     "the answers to its keys would not fit a login response");
        return;
    }
    if (is_leaving && request.nsg == STAGE_FULL_FEATURE) {
        finish(conn, &answer);
        return;
    }
    if (is_leaving)
        login->stage = request.nsg;
    respond(conn, &request, conn->pdu.initiator_task_tag, LOGIN_SUCCESS, is_leaving, 0, &answer);
}

void login_request(struct conn *conn, struct pdu_data *data)
{
    const struct pdu_login_request *request = &conn->pdu.login_request;
    struct login *login = conn->login ? conn->login : login_start(conn);

    if (!login)
        return;
    login->requests++;
    const char *fault = request_fault(login, request);
    if (fault) {
        login_refuse(conn, LOGIN_INITIATOR_ERROR, fault);
        return;
    }
    if (request->continues || login->collect.len) {
        if (text_collect(&login->collect, data->bytes, data->len) != 0) {
            login_refuse(conn, LOGIN_INITIATOR_ERROR, "its login text is too long");
            return;
        }
        if (request->continues) { /* RFC 7143 6.2: an empty response asks for the rest */
            respond(conn, request, conn->pdu.initiator_task_tag, LOGIN_SUCCESS, false, 0, NULL);
            return;
        }
        struct text_collect whole = login->collect;
        login->collect = (struct text_collect){ 0 };
        take_text(conn, slice_of(whole.bytes, whole.len));
        text_collect_free(&whole);
        return;
    }
    take_text(conn, slice_of(data->bytes, data->len));
}
