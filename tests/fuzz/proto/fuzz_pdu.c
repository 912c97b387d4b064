/*
 * A byte stream as a connection would frame it: header, additional headers, padded data segment,
 * and so on. What parses must build, and what was built must parse to the same and build to the
 * same.
 */
#include <assert.h>

#include "proto/pdu.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_round_trip(const uint8_t bhs[BHS_BYTES])
{
    uint8_t built[BHS_BYTES], again[BHS_BYTES];
    struct pdu first, second;

    /* over zeros, so that equal structs are equal in their padding too */
    memset(&first, 0, sizeof first);
    memset(&second, 0, sizeof second);
    if (pdu_parse(bhs, &first) != PDU_OK)
        return;
    memset(built, 0xee, sizeof built);
    pdu_build(&first, built);
    assert(pdu_parse(built, &second) == PDU_OK);
    assert(memcmp(&first, &second, sizeof first) == 0);
    pdu_build(&second, again);
    assert(memcmp(built, again, sizeof built) == 0);
}

static void check_ahs(struct slice area)
{
    struct pdu_ahs ahs;

    if (pdu_ahs_parse(area, &ahs) != PDU_OK || ahs.extended_cdb.len == 0)
        return;
    assert(ahs.extended_cdb.bytes > area.bytes);
    assert(ahs.extended_cdb.bytes + ahs.extended_cdb.len <= area.bytes + area.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cursor stream = cursor_over(data, size);

    while (cursor_left(&stream) > 0) {
        struct slice header = cursor_slice(&stream, BHS_BYTES);
        struct pdu pdu;

        if (stream.overrun)
            break;
        check_round_trip(header.bytes);
        pdu_parse(header.bytes, &pdu);
        assert(pdu_name(pdu.opcode));
        assert(pdu.data_segment_length <= DATA_SEGMENT_MAX);
        check_ahs(cursor_slice(&stream, 4U * pdu.total_ahs_words));
        cursor_slice(&stream, pdu_padded(pdu.data_segment_length));
        if (stream.overrun)
            break;
    }
    return 0;
}
