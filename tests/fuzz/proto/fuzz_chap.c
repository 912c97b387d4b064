/*
 * What an initiator says in CHAP. The first byte is the room that the decoder gets; the rest is
 * read as a list of algorithms, as a binary value, and as a secret with its challenge.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "proto/chap.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_decode(struct slice value, size_t cap)
{
    uint8_t *bytes = malloc(cap ? cap : 1), *text = NULL, *again = NULL;
    int len = chap_decode(value, bytes, cap);

    assert(len == -EINVAL || len == -ENOSPC || (len > 0 && (size_t)len <= cap));
    if (len > 0) {
        size_t count = (size_t)len;
        struct builder out;

        text = malloc(2 + 2 * count);
        again = malloc(count);
        out = builder_over(text, 2 + 2 * count);
        chap_encode(&out, bytes, count);
        assert(!out.overflow && out.len == 2 + 2 * count);
        assert(chap_decode(slice_of(text, out.len), again, count) == len);
        assert(chap_equal(slice_of(bytes, count), slice_of(again, count)));
        assert(chap_decode(slice_of(text, out.len), again, count - 1) == -ENOSPC);
    }
    free(again);
    free(text);
    free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t digest[CHAP_DIGEST_MAX];
    enum chap_algorithm chosen;
    struct slice value;
    size_t half;

    if (size == 0)
        return 0;
    value = slice_of(data + 1, size - 1);
    half = value.len / 2;
    chosen = chap_choose(value);
    assert((chosen == CHAP_NONE) == (chap_digest_bytes(chosen) == 0));
    assert(chap_digest(chosen, data[0], slice_of(value.bytes, half),
                       slice_of(value.bytes + half, value.len - half),
                       digest) == chap_digest_bytes(chosen));
    check_decode(value, data[0]);
    check_decode(value, value.len);
    return 0;
}
