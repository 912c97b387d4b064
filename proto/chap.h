/*
 * chap: the challenge and response of RFC 1994 as RFC 7143 12.1.3 uses them, with the algorithms of
 * IANA's registry of PPP authentication algorithms: MD5 (5), SHA-1 (6), SHA-256 (7), SHA3-256 (8).
 * Pure: the caller brings the random bytes.
 */
#pragma once

#include "proto/cursor.h"

enum chap_algorithm {
    CHAP_NONE = 0,
    CHAP_MD5 = 5,
    CHAP_SHA1 = 6,
    CHAP_SHA256 = 7,
    CHAP_SHA3_256 = 8,
};

enum {
    CHAP_DIGEST_MAX = 32,
    CHAP_CHALLENGE_MAX = 1024, /* RFC 7143 12.1.3 */
    CHAP_CHALLENGE_BYTES = 32, /* what we send, cut to the algorithm's digest length */
    CHAP_SECRET_MAX = 255,
    CHAP_NAME_MAX = 255,
};

/* Length in bytes of the algorithm's digest; 0 for one that we do not have. */
size_t chap_digest_bytes(enum chap_algorithm algorithm);

/* The first of the initiator's CHAP_A list that we have; CHAP_NONE when there is none. */
enum chap_algorithm chap_choose(struct slice list);

/* digest = H(identifier | secret | challenge). Returns its length, 0 for an unknown algorithm. */
size_t chap_digest(enum chap_algorithm algorithm, uint8_t identifier, struct slice secret,
                   struct slice challenge, uint8_t digest[CHAP_DIGEST_MAX]);

/*
 * Decodes a binary value: 0x hexadecimal or 0b base64, RFC 7143 6.1. Writes at most `cap` bytes.
 * Returns the length, or -EINVAL (not such a value) or -ENOSPC (longer than cap). An odd number of
 * hexadecimal digits is read as if a zero stood before it; base64 must be padded and canonical.
 * What was written before an error was found means nothing.
 */
int chap_decode(struct slice value, uint8_t *bytes, size_t cap);

/* Appends "0x…" to the builder. */
void chap_encode(struct builder *out, const uint8_t *bytes, size_t len);

/* Compares in constant time; different lengths are different. */
bool chap_equal(struct slice a, struct slice b);
