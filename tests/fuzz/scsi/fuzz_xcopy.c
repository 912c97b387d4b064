/*
 * EXTENDED COPY(LID1) parameter lists. A list that is taken is the same list again, whatever comes
 * behind it, and every pointer at a bad field stands inside the list.
 */
#include "proto/xcopy.h"

#include <assert.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct xcopy_list list, again;
    uint16_t field = 0;
    uint8_t *longer;

    if (size == 0)
        return 0;
    memset(&list, 0, sizeof list); /* they are compared with their padding */
    memset(&again, 0, sizeof again);
    if (xcopy_parse(data, size, &list, &field) != SENSE_NONE) {
        assert(field < size);
        return 0;
    }
    assert(list.cscd_count <= XCOPY_CSCDS_MAX && list.segment_count <= XCOPY_SEGMENTS_MAX);
    assert(xcopy_segment_at(&list, list.segment_count) <= size);
    longer = calloc(1, size + 1);
    assert(longer);
    memcpy(longer, data, size);
    longer[size] = 0xff;
    assert(xcopy_parse(longer, size + 1, &again, &field) == SENSE_NONE);
    assert(memcmp(&again, &list, sizeof list) == 0);
    free(longer);
    return 0;
}
