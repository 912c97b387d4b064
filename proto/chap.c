#include "proto/chap.h"

#include <errno.h>
#include <nettle/md5.h>
#include <nettle/memops.h>
#include <nettle/nettle-meta.h>
#include <nettle/sha1.h>
#include <nettle/sha2.h>
#include <nettle/sha3.h>

#include "proto/text.h"

static const struct algorithm_row {
    enum chap_algorithm algorithm;
    const struct nettle_hash *hash;
} algorithms[] = {
    {CHAP_MD5,       &nettle_md5     },
    { CHAP_SHA1,     &nettle_sha1    },
    { CHAP_SHA256,   &nettle_sha256  },
    { CHAP_SHA3_256, &nettle_sha3_256},
};

static const struct nettle_hash *hash_of(enum chap_algorithm algorithm)
{
    for (size_t i = 0; i < sizeof algorithms / sizeof algorithms[0]; i++) {
        if (algorithms[i].algorithm == algorithm)
            return algorithms[i].hash;
    }
    return NULL;
}

size_t chap_digest_bytes(enum chap_algorithm algorithm)
{
    const struct nettle_hash *hash = hash_of(algorithm);
    return hash ? hash->digest_size : 0;
}

enum chap_algorithm chap_choose(struct slice list)
{
    struct slice item;
    uint64_t number;

    while (text_list_next(&list, &item)) {
        if (text_number(item, &number) == 0 && number <= CHAP_SHA3_256 &&
            hash_of((enum chap_algorithm)number))
            return (enum chap_algorithm)number;
    }
    return CHAP_NONE;
}

size_t chap_digest(enum chap_algorithm algorithm, uint8_t identifier, struct slice secret,
                   struct slice challenge, uint8_t digest[CHAP_DIGEST_MAX])
{
    union {
        struct md5_ctx md5;
        struct sha1_ctx sha1;
        struct sha256_ctx sha256;
        struct sha3_256_ctx sha3_256;
    } context;
    const struct nettle_hash *hash = hash_of(algorithm);

    if (!hash)
        return 0;
    hash->init(&context);
    hash->update(&context, 1, &identifier);
    hash->update(&context, secret.len, secret.bytes);
    hash->update(&context, challenge.len, challenge.bytes);
    hash->digest(&context, hash->digest_size, digest);
    explicit_bzero(&context, sizeof context); /* its block buffer held the secret */
    return hash->digest_size;
}

/* The value of a digit, or -EINVAL. */
static int hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -EINVAL;
}

static int base64_value(uint8_t c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -EINVAL;
}

static int decode_hex(struct slice digits, uint8_t *bytes, size_t cap)
{
    size_t len = (digits.len + 1) / 2, odd = digits.len & 1;

    for (size_t i = 0; i < digits.len; i++) {
        if (hex_value(digits.bytes[i]) < 0)
            return -EINVAL;
    }
    if (len > cap)
        return -ENOSPC;
    memset(bytes, 0, len);
    for (size_t i = 0; i < digits.len; i++) {
        uint8_t *byte = &bytes[(i + odd) / 2];
        *byte = (uint8_t)(*byte << 4 | hex_value(digits.bytes[i]));
    }
    return (int)len;
}

/* RFC 4648 section 4, padded, and nothing in the bits that the padding leaves over. */
static int decode_base64(struct slice digits, uint8_t *bytes, size_t cap)
{
    size_t padding = 0, len, out = 0;
    uint32_t bits = 0;
    unsigned held = 0;

    if (digits.len % 4 != 0)
        return -EINVAL;
    while (padding < 2 && digits.bytes[digits.len - 1 - padding] == '=')
        padding++;
    len = digits.len / 4 * 3 - padding;
    digits.len -= padding;
    for (size_t i = 0; i < digits.len; i++) {
        if (base64_value(digits.bytes[i]) < 0)
            return -EINVAL;
    }
    if (len > cap)
        return -ENOSPC;
    for (size_t i = 0; i < digits.len; i++) {
        bits = bits << 6 | (uint32_t)base64_value(digits.bytes[i]);
        held += 6;
        if (held >= 8) {
            held -= 8;
            bytes[out++] = (uint8_t)(bits >> held);
            bits &= (1U << held) - 1;
        }
    }
    return bits == 0 ? (int)out : -EINVAL;
}

int chap_decode(struct slice value, uint8_t *bytes, size_t cap)
{
    struct slice digits;

    /* a value never is longer; so no length below can overflow */
    if (value.len <= 2 || value.len > TEXT_COLLECT_MAX || value.bytes[0] != '0')
        return -EINVAL;
    digits = slice_of(value.bytes + 2, value.len - 2);
    switch (value.bytes[1]) {
    case 'x':
    case 'X': return decode_hex(digits, bytes, cap);
    case 'b':
    case 'B': return decode_base64(digits, bytes, cap);
    }
    return -EINVAL;
}

void chap_encode(struct builder *out, const uint8_t *bytes, size_t len)
{
    static const char digits[] = "0123456789abcdef";
    uint8_t *p = builder_room(out, 2 + 2 * len);

    if (!p)
        return;
    *p++ = '0';
    *p++ = 'x';
    for (size_t i = 0; i < len; i++) {
        *p++ = (uint8_t)digits[bytes[i] >> 4];
        *p++ = (uint8_t)digits[bytes[i] & 0xf];
    }
}

bool chap_equal(struct slice a, struct slice b)
{
    return a.len == b.len && memeql_sec(a.bytes, b.bytes, a.len);
}
