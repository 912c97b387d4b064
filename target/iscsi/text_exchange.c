#include "target/iscsi/text_exchange.h"

#include "proto/text.h"
#include "target/iscsi/discovery.h"

#include <errno.h>
#include <stdlib.h>

struct text_exchange {
    struct text_collect in; /* what has come of their text */
    uint8_t *out;           /* ours, and how much of it has been sent */
    size_t out_len, out_sent;
    uint32_t tag; /* the target transfer tag by which they go on */
    bool is_answering;
};

void text_exchange_drop(struct session *session)
{
    struct text_exchange *text = session->text;

    if (!text)
        return;
    text_collect_free(&text->in);
    free(text->out);
    free(text);
    session->text = NULL;
}

static void respond(struct session *session, uint32_t tag, const uint8_t *bytes, uint32_t len,
                    bool final, bool continues)
{
    struct conn *conn = session->conn;
    struct session_numbers numbers = session_numbers(session);
    struct pdu pdu = { .opcode = PDU_TEXT_RESPONSE, .initiator_task_tag = tag };

    pdu.text_response.final = final;
    pdu.text_response.continues = continues;
    pdu.text_response.target_transfer_tag = final ? TAG_RESERVED : session->text->tag;
    pdu.text_response.stat_sn = conn->stat_sn++;
    pdu.text_response.exp_cmd_sn = numbers.exp_cmd_sn;
    pdu.text_response.max_cmd_sn = numbers.max_cmd_sn;
    conn_send(conn, &pdu, bytes, len);
}

/* The next part of our text, cut to what the initiator takes. */
static void send_part(struct session *session, const struct pdu *pdu)
{
    struct text_exchange *text = session->text;
    size_t left = text->out_len - text->out_sent;
    uint32_t max = session->parameters.max_send_segment_bytes;
    uint32_t len = left < max ? (uint32_t)left : max;
    bool continues = len < left;
    bool final = !continues && pdu->text_request.final;

    respond(session, pdu->initiator_task_tag, text->out ? text->out + text->out_sent : NULL, len,
            final, continues);
    text->out_sent += len;
    if (final) {
        text_exchange_drop(session);
    } else if (!continues) { /* the initiator has more to say */
        free(text->out);
        text->out = NULL;
        text->out_len = text->out_sent = 0;
        text->is_answering = false;
    }
}

/* Appends the negotiation's answers to the text. */
static int append(struct text_exchange *text, const struct builder *answers)
{
    if (answers->len == 0)
        return 0;
    uint8_t *grown = realloc(text->out, text->out_len + answers->len);
    if (!grown)
        return -ENOMEM;
    memcpy(grown + text->out_len, answers->bytes, answers->len);
    text->out = grown;
    text->out_len += answers->len;
    return 0;
}

/* Their whole text has come. 0, -EINVAL (to be rejected), -ENOMEM. */
static int negotiate(struct session *session, struct slice theirs)
{
    struct text_exchange *text = session->text;
    struct text_reader reader = text_over(theirs);
    struct negotiation negotiation;
    uint8_t bytes[LOGIN_SEGMENT_MAX];
    struct builder answers = builder_over(bytes, sizeof bytes);
    struct slice key, value;
    enum text_result result;

    negotiation_init(&negotiation, "None");
    negotiation.is_discovery = session->is_discovery;
    negotiation.agreed[KEY_MAX_RECV_DATA_SEGMENT_LENGTH] =
        session->parameters.max_send_segment_bytes;
    while ((result = text_next(&reader, &key, &value)) == TEXT_PAIR) {
        enum login_status status;
        int error = 0;
        switch (negotiation_take(&negotiation, key, value, KEY_IN_FULL_FEATURE, false, &answers,
                                 &status)) {
        case KEY_DONE: break;
        case KEY_FOR_TEXT:
            error = discovery_answer(session, value, &text->out, &text->out_len, &answers);
            break;
        case KEY_FOR_CHAP:
        case KEY_FATAL: error = -EINVAL; break;
        }
        if (error)
            return error;
    }
    if (result == TEXT_MALFORMED || answers.overflow)
        return -EINVAL;
    session->parameters.max_send_segment_bytes =
        negotiation.agreed[KEY_MAX_RECV_DATA_SEGMENT_LENGTH];
    return append(text, &answers);
}

static struct text_exchange *exchange_of(struct session *session, const struct pdu *pdu)
{
    uint32_t tag = pdu->text_request.target_transfer_tag;

    if (tag != TAG_RESERVED)
        return session->text && session->text->tag == tag ? session->text : NULL;
    text_exchange_drop(session); /* a new one resets what was under way, RFC 7143 11.10.3 */
    session->text = calloc(1, sizeof *session->text);
    if (session->text)
        session->text->tag = session_next_transfer_tag(session);
    return session->text;
}

void text_exchange_take(struct session *session, const struct pdu *pdu, struct slice ahs,
                        struct pdu_data *data)
{
    struct text_exchange *text = exchange_of(session, pdu);

    (void)ahs;
    if (!text) {
        conn_reject(session->conn, REJECT_INVALID_PDU_FIELD);
        return;
    }
    if (text->is_answering && data->len == 0) {
        send_part(session, pdu);
        return;
    }
    int error = text->is_answering ? -EINVAL : text_collect(&text->in, data->bytes, data->len);
    if (!error && pdu->text_request.continues) {
        respond(session, pdu->initiator_task_tag, NULL, 0, false, false);
        return;
    }
    if (!error)
        error = negotiate(session, slice_of(text->in.bytes, text->in.len));
    if (error) {
        text_exchange_drop(session);
        conn_reject(session->conn, REJECT_INVALID_PDU_FIELD);
        return;
    }
    text_collect_free(&text->in);
    text->in = (struct text_collect){ 0 };
    text->is_answering = true;
    send_part(session, pdu);
}
