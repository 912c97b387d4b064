/* spc_log: LOG SENSE, SPC-4 6.8. How full the file system is, is asked on the slow lane. */
#include "target/scsi/handlers.h"

#include "proto/log_pages.h"
#include "target/scsi/capability.h"
#include "target/scsi/command.h"
#include "target/scsi/limits.h"
#include "target/scsi/nexus.h"

#define CONTAINER_OF(pointer, type, member)                                                        \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

enum { PC_CUMULATIVE = 1 };

struct log_sense {
    struct slow_job job;
    struct command *command;
    struct backing_usage usage;
    int error;
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

static void usage_run(struct slow_job *job)
{
    struct log_sense *log = CONTAINER_OF(job, struct log_sense, job);

    log->error = backing_usage(log->command->lu->backing, &log->usage);
}

static void usage_done(struct slow_job *job)
{
    struct log_sense *log = CONTAINER_OF(job, struct log_sense, job);
    struct command *command = log->command;

    if (log->error)
        command_refuse_errno(command, log->error);
    else if (!command->is_finishing)
        answer(command, &log->usage);
    command_unpin(command);
}

void spc_log_sense(struct command *command)
{
    struct log_sense *log = COMMAND_SCRATCH(command, struct log_sense);

    /* There are no thresholds and defaults of counters. */
    if (command->cdb[2] >> 6 > PC_CUMULATIVE)
        return command_refuse_field(command, SENSE_INVALID_FIELD_IN_CDB, true, 2, NULL);
    *log = (struct log_sense){
        .job = {.run = usage_run, .done = usage_done},
        .command = command,
    };
    if ((command->cdb[2] & 0x3f) != LOG_PAGE_PROVISIONING)
        return answer(command, &log->usage);
    command_pin(command);
    worker_slow(command->nexus->worker, &command->lu->slow, &log->job);
}
