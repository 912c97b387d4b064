#include "target/iscsi/login_chap.h"

#include "proto/text.h"

#include <sys/random.h>

void login_chap_note(struct login_chap_pairs *pairs, struct slice key, struct slice value)
{
    static const struct {
        enum key_id id;
        size_t offset;
    } places[] = {
        {KEY_CHAP_A,  offsetof(struct login_chap_pairs, a)},
        { KEY_CHAP_I, offsetof(struct login_chap_pairs, i)},
        { KEY_CHAP_C, offsetof(struct login_chap_pairs, c)},
        { KEY_CHAP_N, offsetof(struct login_chap_pairs, n)},
        { KEY_CHAP_R, offsetof(struct login_chap_pairs, r)},
    };

    pairs->has_any = true;
    for (unsigned i = 0; i < sizeof places / sizeof places[0]; i++)
        if (slice_is(key, key_table[places[i].id].name))
            *(struct slice *)((char *)pairs + places[i].offset) = value;
}

static bool random_bytes(void *bytes, size_t len)
{
    return getrandom(bytes, len, 0) == (ssize_t)len;
}

static void put_binary(struct builder *answer, enum key_id key, const uint8_t *bytes, size_t len)
{
    uint8_t text[2 + 2 * CHAP_DIGEST_MAX];
    struct builder value = builder_over(text, sizeof text);

    chap_encode(&value, bytes, len);
    text_put(answer, key_table[key].name, slice_of(text, value.len));
}

static const char *choose(struct login_chap *chap, const struct login_chap_pairs *pairs,
                          struct builder *answer)
{
    if (!pairs->a.len)
        return "the initiator did not offer a CHAP algorithm (CHAP_A)";
    chap->algorithm = chap_choose(pairs->a);
    if (chap->algorithm == CHAP_NONE)
        return "the initiator offered no CHAP algorithm that nestor has (MD5, SHA-1, SHA-256, "
               "SHA3-256)";
    chap->challenge_len = chap_digest_bytes(chap->algorithm);
    if (!random_bytes(&chap->identifier, 1) || !random_bytes(chap->challenge, chap->challenge_len))
        return "no random bytes for a CHAP challenge";
    text_put_number(answer, key_table[KEY_CHAP_A].name, chap->algorithm);
    text_put_number(answer, key_table[KEY_CHAP_I].name, chap->identifier);
    put_binary(answer, KEY_CHAP_C, chap->challenge, chap->challenge_len);
    chap->step = CHAP_WAITS_FOR_R;
    return NULL;
}

/* Proves that we know the mutual secret, RFC 7143 12.1.3. */
static const char *prove(struct login_chap *chap, const struct node_chap *account,
                         const struct login_chap_pairs *pairs, struct builder *answer)
{
    uint8_t challenge[CHAP_CHALLENGE_MAX], digest[CHAP_DIGEST_MAX];
    uint64_t identifier;

    if (!account->mutual_user[0])
        return "the initiator wants the target to authenticate itself, and mutual_user is not "
               "configured";
    if (text_number(pairs->i, &identifier) != 0 || identifier > UINT8_MAX)
        return "the initiator's CHAP_I is not a number from 0 to 255";
    int len = chap_decode(pairs->c, challenge, sizeof challenge);
    if (len <= 0)
        return "the initiator's CHAP_C is not a challenge";
    /* RFC 7143 9.2.1: a reflected challenge would make us compute the initiator's answer for it */
    if (chap_equal(slice_of(challenge, (size_t)len),
                   slice_of(chap->challenge, chap->challenge_len)))
        return "the initiator sent our own challenge back";
    size_t digest_len =
        chap_digest(chap->algorithm, (uint8_t)identifier, slice_str(account->mutual_secret),
                    slice_of(challenge, (size_t)len), digest);
    text_put_str(answer, key_table[KEY_CHAP_N].name, account->mutual_user);
    put_binary(answer, KEY_CHAP_R, digest, digest_len);
    chap->is_mutual = true;
    return NULL;
}

static const char *verify(struct login_chap *chap, const struct node_chap *account,
                          const struct login_chap_pairs *pairs, struct builder *answer)
{
    uint8_t expected[CHAP_DIGEST_MAX], received[CHAP_DIGEST_MAX];

    if (!pairs->n.len || !pairs->r.len)
        return "the initiator did not answer the CHAP challenge";
    int len = chap_decode(pairs->r, received, sizeof received);
    if (len < 0)
        return "the initiator's CHAP_R is not a response";
    size_t expected_len = chap_digest(chap->algorithm, chap->identifier, slice_str(account->secret),
                                      slice_of(chap->challenge, chap->challenge_len), expected);
    bool is_user = chap_equal(pairs->n, slice_str(account->user));
    bool is_secret = chap_equal(slice_of(received, (size_t)len), slice_of(expected, expected_len));
    if (!is_user)
        return "the CHAP user is not the configured one; compare the initiator's CHAP name with "
               "chap.user";
    if (!is_secret)
        return "the CHAP secret is wrong; compare the initiator's with chap.secret_file";
    chap->step = CHAP_IS_DONE;
    if (pairs->i.len || pairs->c.len)
        return prove(chap, account, pairs, answer);
    return NULL;
}

const char *login_chap_step(struct login_chap *chap, const struct node_chap *account,
                            const struct login_chap_pairs *pairs, struct builder *answer)
{
    switch (chap->step) {
    case CHAP_WAITS_FOR_A: return choose(chap, pairs, answer);
    case CHAP_WAITS_FOR_R: return verify(chap, account, pairs, answer);
    case CHAP_IS_DONE: break;
    }
    return "CHAP keys came after authentication was over";
}
