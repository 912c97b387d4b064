/*
 * login_chap: the authentication exchange within login's security stage, RFC 7143 12.1.3.
 *
 *   initiator: AuthMethod=CHAP            target: AuthMethod=CHAP
 *   initiator: CHAP_A=7,5                 target: CHAP_A=7 CHAP_I CHAP_C
 *   initiator: CHAP_N CHAP_R [CHAP_I CHAP_C]   target: [CHAP_N CHAP_R]
 */
#pragma once

#include "proto/chap.h"
#include "proto/iscsi_keys.h"
#include "target/iscsi/node.h"

enum login_chap_step {
    CHAP_WAITS_FOR_A,
    CHAP_WAITS_FOR_R,
    CHAP_IS_DONE,
};

/* The values of one login request; views into its text. */
struct login_chap_pairs {
    struct slice a, i, c, n, r;
    bool has_any;
};

struct login_chap {
    enum login_chap_step step;
    bool is_mutual;
    enum chap_algorithm algorithm;
    uint8_t identifier;
    size_t challenge_len;
    uint8_t challenge[CHAP_CHALLENGE_BYTES];
};

/* Remembers one CHAP_ key of this request. */
void login_chap_note(struct login_chap_pairs *pairs, struct slice key, struct slice value);

/*
 * One step. Appends the answer. NULL: as it should be; otherwise why the login fails (a literal,
 * for the log: the initiator is only told that authentication failed).
 */
const char *login_chap_step(struct login_chap *chap, const struct node_chap *account,
                            const struct login_chap_pairs *pairs, struct builder *answer);
