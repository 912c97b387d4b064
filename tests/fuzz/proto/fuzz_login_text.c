/*
 * A login's text in pieces, through negotiation, to our answer. The first two bytes choose the
 * circumstances, the rest is the text:
 *   byte 0   bits 0-1 the phase it begins in, 2 a discovery session from the start, 3 an answer
 *            buffer that soon is full, 4-5 what we take of AuthMethod, 6 not the first request
 *   byte 1   bits 0-3 how many pairs until the next phase, 4-7 the size of the pieces
 */
#include <assert.h>
#include <stdlib.h>

#include "proto/iscsi_keys.h"
#include "proto/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ANSWER_SMALL = 40, ANSWER_LARGE = 32768 };

static enum key_phase next_phase(enum key_phase phase)
{
    return phase == KEY_IN_SECURITY ? KEY_IN_OPERATIONAL : KEY_IN_FULL_FEATURE;
}

static void check_text(const struct key_text *text)
{
    assert(text->text[text->len] == 0);
    assert(strlen(text->text) == text->len);
}

/* Whatever they said, what is agreed is something that the RFC allows. */
static void check_agreed(struct negotiation *n)
{
    for (size_t i = 0; i < KEY_COUNT; i++) {
        const struct key_row *row = &key_table[i];
        if (row->is_number || row->is_bool)
            assert(n->agreed[i] >= row->min && n->agreed[i] <= row->max);
        else if (row->rule == KEY_RULE_LIST)
            assert(n->agreed[i] <= KEY_AUTH_NOT_NEGOTIATED);
    }
    assert(n->agreed[KEY_INITIAL_R2T] >= n->mine[KEY_INITIAL_R2T]);
    negotiation_settle(n);
    assert(n->agreed[KEY_FIRST_BURST_LENGTH] <= n->agreed[KEY_MAX_BURST_LENGTH]);
    check_text(&n->initiator_name);
    check_text(&n->initiator_alias);
    check_text(&n->target_name);
    check_text(&n->session_type);
    assert(n->initiator_name.len == 0 ||
           text_is_iscsi_name(slice_of(n->initiator_name.text, n->initiator_name.len)));
}

/* The answer is a text of its own: whole pairs, at most one for each of theirs and one of ours. */
static void check_answer(const struct builder *answer, unsigned pairs)
{
    struct text_reader reader = text_over(slice_of(answer->bytes, answer->len));
    struct slice key, value;
    enum text_result result;

    while ((result = text_next(&reader, &key, &value)) == TEXT_PAIR)
        assert(reader.pairs <= pairs + 1);
    assert(result == TEXT_END || pairs >= TEXT_KEYS_MAX);
    assert(answer->len == 0 || answer->bytes[answer->len - 1] == 0);
}

static void negotiate(struct slice text, uint8_t choices, unsigned pairs_a_phase)
{
    static const char *const auth_lists[] = { "None", "CHAP", "CHAP,None", "None,CHAP" };
    static const enum key_phase phases[] = { KEY_IN_SECURITY, KEY_IN_OPERATIONAL,
                                             KEY_IN_FULL_FEATURE, KEY_IN_SECURITY };
    enum key_phase phase = phases[choices & 3];
    struct text_reader reader = text_over(text);
    enum login_status status = LOGIN_SUCCESS;
    struct slice key, value;
    struct negotiation n;
    size_t cap = choices & 0x08 ? ANSWER_SMALL : ANSWER_LARGE;
    struct builder answer = builder_over(malloc(cap), cap);
    unsigned pairs = 0;

    assert(answer.bytes);
    negotiation_init(&n, auth_lists[choices >> 4 & 3]);
    n.is_discovery = choices & 0x04;
    while (text_next(&reader, &key, &value) == TEXT_PAIR) {
        enum key_outcome outcome =
            negotiation_take(&n, key, value, phase, !(choices & 0x40), &answer, &status);
        pairs++;
        assert((outcome == KEY_FATAL) == (status != LOGIN_SUCCESS));
        if (outcome == KEY_FATAL)
            break;
        if (pairs_a_phase && pairs % pairs_a_phase == 0)
            phase = next_phase(phase);
    }
    negotiation_declare(&n, &answer);
    check_answer(&answer, pairs);
    check_agreed(&n);
    free(answer.bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct text_collect collect = { 0 };
    size_t at = 2, piece;

    if (size < 2)
        return 0;
    piece = 1 + (size_t)(data[1] >> 4) * 37;
    while (at < size) {
        size_t len = size - at < piece ? size - at : piece;
        if (text_collect(&collect, data + at, len) != 0)
            break;
        at += len;
    }
    negotiate(slice_of(collect.bytes, collect.len), data[0], data[1] & 0x0f);
    text_collect_free(&collect);
    return 0;
}
