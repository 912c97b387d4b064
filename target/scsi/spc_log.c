/* spc_log: LOG SENSE, SPC-4 6.8. How full the file system is, is asked on the slow lane. */
#include "target/scsi/handlers.h"

#include "proto/log_pages.h"
#include "target/scsi/capability.h"
#include "target/scsi/limits.h"
#include "target/scsi/medium.h"
#include "target/scsi/nexus.h"

enum { PC_CUMULATIVE = 1 };

struct log_sense {
    struct medium medium;
    struct buffer *buffer; /* for a struct backing_usage; NULL: nobody is asked */
};

static uint32_t sets_of(uint64_t bytes)
{
    uint64_t sets = bytes / LIMIT_THRESHOLD_SET_BYTES;

    return sets < UINT32_MAX ? (uint32_t)sets : UINT32_MAX;
}

static void answer(struct command *command, const struct backing_usage *usage)
{
    const uint8_t *cdb = command->cdb;
    const struct lu *lu = command->lu;
    const struct log_request request = {
        .page = cdb[2] & 0x3f,
        .subpage = cdb[3],
        .parameter = get_be16(cdb + 5),
    };
    struct lu_statistics sum;
    uint8_t bytes[LOG_BYTES_MAX];
    struct builder out = builder_over(bytes, sizeof bytes);
    enum sense_code code;
    uint16_t byte;

    lu_statistics(lu, &sum);
    const struct log_facts facts = {
        .is_thin = capability_is_thin(lu),
        .available_sets = sets_of(usage->free_bytes),
        .used_sets = sets_of(usage->allocated_bytes),
        .reads = sum.reads,
        .writes = sum.writes,
        .read_blocks = sum.read_bytes >> lu->block_shift,
        .written_blocks = sum.written_bytes >> lu->block_shift,
    };
    code = log_sense_build(&out, &facts, &request, &byte);
    if (code != SENSE_NONE) /* not logged: hosts ask for pages that most disks have not */
        return command_refuse_field(command, code, true, byte, NULL);
    command_reply(command, bytes, out.len, get_be16(cdb + 7));
}

static void usage_run(struct submitted_io *asked)
{
    asked->io.result = backing_usage(asked->io.backing, asked->io.bytes);
}

static void give_back(struct command *command, struct log_sense *log)
{
    buffer_put(command->nexus->worker->buffers, log->buffer);
    log->buffer = NULL;
}

static void usage_came(struct medium *medium)
{
    struct command *command = medium->command;
    struct log_sense *log = COMMAND_SCRATCH(command, struct log_sense);

    if (medium->io.result)
        command_refuse_errno(command, medium->io.result);
    else if (!command->is_finishing)
        answer(command, (const void *)log->buffer->bytes);
    give_back(command, log);
}

void spc_log_sense(struct command *command)
{
    struct log_sense *log = COMMAND_SCRATCH(command, struct log_sense);
    const struct backing_usage none = { 0 };

    medium_open(&log->medium, command);
    log->buffer = NULL;
    /* There are no thresholds and defaults of counters. */
    if (command->cdb[2] >> 6 > PC_CUMULATIVE)
        return command_refuse_field(command, SENSE_INVALID_FIELD_IN_CDB, true, 2, NULL);
    if ((command->cdb[2] & 0x3f) != LOG_PAGE_PROVISIONING)
        return answer(command, &none);
    log->buffer = buffer_get(command->nexus->worker->buffers, sizeof none);
    if (!log->buffer)
        return command_finish(command, STATUS_TASK_SET_FULL);
    log->medium.io = (struct io){
        .op = IO_READ,
        .bytes = log->buffer->bytes,
        .len_bytes = sizeof none,
    };
    medium_submit_slow(&log->medium, usage_run, usage_came);
}

void spc_log_sense_let_go(struct command *command)
{
    struct log_sense *log = COMMAND_SCRATCH(command, struct log_sense);

    if (log->buffer && medium_leave_behind(&log->medium, log->buffer))
        give_back(command, log);
}
