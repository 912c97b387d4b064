/*
 * spc_receive_copy: RECEIVE COPY STATUS(LID1), OPERATING PARAMETERS and FAILURE DETAILS(LID1),
 * SPC-4 6.22 to 6.25. There is no RECEIVE COPY DATA: no segment that is known holds data back.
 */
#include "target/scsi/handlers.h"

#include "target/scsi/copy_log.h"
#include "target/scsi/limits.h"
#include "target/scsi/lu.h"

static uint32_t allocation_length(const struct command *command)
{
    return get_be32(command->cdb + 10);
}

void spc_receive_copy_operating_parameters(struct command *command)
{
    const struct xcopy_operating_facts facts = {
        .segment_bytes_max = LIMIT_COPY_SEGMENT_BYTES,
        .copies_max = LIMIT_COPIES,
        .granularity_shift = command->lu->block_shift,
    };
    uint8_t bytes[XCOPY_OPERATING_BYTES];
    struct builder out = builder_over(bytes, sizeof bytes);

    xcopy_operating_parameters(&out, &facts);
    command_reply(command, bytes, out.len, allocation_length(command));
}

/* Everyday business: a host asks after its copy is forgotten. */
static void refuse_list_id(struct command *command)
{
    command_refuse_field(command, SENSE_INVALID_FIELD_IN_CDB, true, 2, NULL);
}

void spc_receive_copy_status(struct command *command)
{
    struct copy_record *record = copy_log_find(command->itl, command->cdb[2]);
    uint8_t bytes[XCOPY_STATUS_BYTES];
    struct builder out = builder_over(bytes, sizeof bytes);

    if (record == NULL || (record->state != XCOPY_IN_PROGRESS && !record->has_status))
        return refuse_list_id(command);
    xcopy_copy_status(&out, record->state, record->segments_processed, record->written_bytes);
    if (record->state != XCOPY_IN_PROGRESS)
        copy_log_told_status(record);
    command_reply(command, bytes, out.len, allocation_length(command));
}

void spc_receive_copy_failure_details(struct command *command)
{
    struct copy_record *record = copy_log_find(command->itl, command->cdb[2]);
    uint8_t bytes[XCOPY_DETAILS_BYTES_MAX];
    struct builder out = builder_over(bytes, sizeof bytes);
    struct slice sense = slice_of("", 0);

    if (record == NULL || record->state == XCOPY_IN_PROGRESS)
        return refuse_list_id(command);
    if (record->has_details)
        sense = slice_of(record->sense, record->sense_len);
    xcopy_failure_details(&out, record->status, sense);
    /* SPC-4 6.23: discarded once all of it was transferred, or with an ALLOCATION LENGTH of 0 */
    if (allocation_length(command) == 0 ||
        (allocation_length(command) >= out.len && command->expected_in_bytes >= out.len))
        copy_log_told_details(record);
    command_reply(command, bytes, out.len, allocation_length(command));
}
