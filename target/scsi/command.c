#include "target/scsi/command.h"

#include "target/scsi/limits.h"
#include "target/scsi/nexus.h"
#include "target/scsi/opcodes.h"
#include "target/scsi/scsi_target.h"
#include "target/worker/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

enum {
    REPLY_IOV_MAX = 16,
};

static uint64_t now_ns(const struct command *command)
{
    return command->nexus->worker->now_ns;
}

/* Who, where and what, as every line about a command begins. */
static const char *command_text(const struct command *command, char *out, size_t cap)
{
    const struct nexus *nexus = command->nexus;
    char initiator[INITIATOR_NAME_MAX + 1], opcode[16], lun[24];

    log_text(initiator, sizeof initiator, nexus->initiator_name, strlen(nexus->initiator_name));
    snprintf(opcode, sizeof opcode, "opcode %02xh", command->cdb[0]);
    if (command->itl)
        snprintf(lun, sizeof lun, "%u", command->itl->lun);
    else
        snprintf(lun, sizeof lun, "%016" PRIx64 "h", command->lun);
    snprintf(out, cap, "initiator=%s target=%s lun=%s %s", initiator, nexus->target->name, lun,
             command->op ? command->op->name : opcode);
    return out;
}

static void count(_Atomic uint64_t *counter, uint64_t by)
{
    /* Only this worker writes its counters, so that adding needs no locked instruction. */
    uint64_t was = atomic_load_explicit(counter, memory_order_relaxed);

    atomic_store_explicit(counter, was + by, memory_order_relaxed);
}

static bool is_error(const struct command *command)
{
    return command->status != STATUS_GOOD && command->status != STATUS_CONDITION_MET &&
           !command->is_miscompare;
}

static void count_ats(const struct command *command, struct lu_counters *counters)
{
    if (command->status == STATUS_GOOD)
        count(&counters->ats_ok, 1);
    else if (command->is_miscompare)
        count(&counters->ats_miscompare, 1);
}

static void command_count(const struct command *command)
{
    const struct opcode_row *op = command->op;
    struct lu_counters *counters;

    if (!command->lu)
        return;
    counters = &command->lu->counters[command->nexus->worker->index];
    if (command->status == STATUS_RESERVATION_CONFLICT)
        count(&counters->conflicts, 1);
    else if (is_error(command))
        count(&counters->errors, 1);
    if (op && op->lba == LBA_CAW)
        count_ats(command, counters);
    if (!op || op->lba == LBA_NONE || op->direction == DATA_NONE) {
        count(&counters->others, 1);
    } else if (op->needs & NEEDS_WRITE) {
        count(&counters->writes, 1);
        /* the half of COMPARE AND WRITE that is compared is not written */
        if (command->status == STATUS_GOOD)
            count(&counters->written_bytes,
                  op->lba == LBA_CAW ? command->transfer_bytes / 2 : command->transfer_bytes);
    } else {
        count(&counters->reads, 1);
        if (command->status == STATUS_GOOD)
            count(&counters->read_bytes, command->transfer_bytes);
    }
}

static void command_end(struct command *command)
{
    const struct command_transport *transport = command->transport;
    uint64_t took_ns = now_ns(command) - command->started_ns;

    command_count(command);
    if (took_ns >= COMMAND_SLOW_S * NS_PER_S && command->lu) {
        char text[512];
        log_peer("slow %s: took %" PRIu64 " s; %s or its disk is overloaded",
                 command_text(command, text, sizeof text), took_ns / NS_PER_S,
                 backing_path(command->lu->backing));
    }
    if (command->lu && command->op && command->op->needs & NEEDS_WRITE)
        thin_look(&command->lu->thin, command->nexus->worker->group->jobs, now_ns(command));
    nexus_command_end(command);
    transport->finished(command);
}

void command_pin(struct command *command)
{
    command->pins++;
}

void command_unpin(struct command *command)
{
    if (--command->pins == 0 && command->is_finishing)
        command_end(command);
}

void command_finish(struct command *command, enum scsi_status status)
{
    if (command->is_finishing)
        return;
    command->is_finishing = true;
    command->status = status;
    command_pin(command);
    if (command->is_running && command->op->let_go)
        command->op->let_go(command);
    command_unpin(command);
}

void command_good(struct command *command)
{
    command_finish(command, STATUS_GOOD);
}

static void command_check_condition(struct command *command, enum sense_code code,
                                    const struct sense_details *details, const char *why)
{
    bool is_descriptor = command->lu && atomic_load_explicit(&command->lu->has_descriptor_sense,
                                                             memory_order_relaxed);
    if (command->is_finishing)
        return;
    if (why) {
        char text[512];
        log_peer("refused %s: %s", command_text(command, text, sizeof text), why);
    }
    command->is_miscompare = code == SENSE_MISCOMPARE;
    command->sense_len = sense_build(command->sense, code, details, is_descriptor);
    command_finish(command, STATUS_CHECK_CONDITION);
}

void command_refuse(struct command *command, enum sense_code code, const char *why)
{
    command_check_condition(command, code, NULL, why);
}

void command_refuse_field(struct command *command, enum sense_code code, bool is_in_cdb,
                          uint16_t byte, const char *why)
{
    const struct sense_details details = {
        .has_field = true,
        .is_field_in_cdb = is_in_cdb,
        .field_byte = byte,
    };

    command_check_condition(command, code, &details, why);
}

void command_refuse_progress(struct command *command, enum sense_code code, uint16_t progress)
{
    const struct sense_details details = { .has_progress = true, .progress = progress };

    command_check_condition(command, code, &details, NULL);
}

void command_refuse_information(struct command *command, enum sense_code code, uint64_t information,
                                const char *why)
{
    const struct sense_details details = { .has_information = true, .information = information };

    command_check_condition(command, code, &details, why);
}

void command_refuse_details(struct command *command, enum sense_code code,
                            const struct sense_details *details, const char *why)
{
    command_check_condition(command, code, details, why);
}

enum sense_code command_errno_code(int error, bool is_write)
{
    switch (-error) {
    case ENOSPC:
    case EDQUOT: return SENSE_SPACE_EXHAUSTED; /* ESX pauses the VM that writes, and no other */
    case EIO: return is_write ? SENSE_WRITE_ERROR : SENSE_UNRECOVERED_READ_ERROR;
    case ENOMEM:
    case EAGAIN:
        return SENSE_ABORTED_NO_RESOURCES; /* the engine could not take it: worth another
                                              try */
    default: return SENSE_INTERNAL_TARGET_FAILURE;
    }
}

void command_refuse_errno(struct command *command, int error)
{
    char text[512];

    if (command->is_finishing)
        return;
    log_peer("failed %s: %s: %s", command_text(command, text, sizeof text),
             backing_path(command->lu->backing), strerror(-error));
    command_check_condition(command, command_errno_code(error, command->op->needs & NEEDS_WRITE),
                            NULL, NULL);
}

void command_log_left_behind(const struct command *command)
{
    uint64_t took_ns = now_ns(command) - command->started_ns;
    char text[512];

    if (took_ns >= COMMAND_SLOW_S * NS_PER_S)
        log_peer("aborted %s after %" PRIu64
                 " s: %s or its disk has not ended it yet; what wants the "
                 "same blocks waits until it has",
                 command_text(command, text, sizeof text), took_ns / NS_PER_S,
                 backing_path(command->lu->backing));
}

void command_reply(struct command *command, const void *bytes, size_t len,
                   uint32_t allocation_length)
{
    struct iovec iov[REPLY_IOV_MAX];
    const uint8_t *from = bytes;
    uint32_t send;
    int iov_count;

    command->transfer_bytes = len < allocation_length ? len : allocation_length;
    send = command->transfer_bytes < command->expected_in_bytes ? (uint32_t)command->transfer_bytes
                                                                : command->expected_in_bytes;
    if (send == 0)
        return command_good(command);
    iov_count = command->transport->in_reserve(command, send, iov, REPLY_IOV_MAX);
    if (iov_count > 0) {
        for (int i = 0; i < iov_count; i++) {
            memcpy(iov[i].iov_base, from, iov[i].iov_len);
            from += iov[i].iov_len;
        }
        command->transport->in_commit(command, iov, iov_count, true);
    } else {
        struct buffer *buffer = buffer_get(command->nexus->worker->buffers, send);
        if (!buffer)
            return command_finish(command, STATUS_TASK_SET_FULL);
        memcpy(buffer->bytes, bytes, send);
        command->transport->in_buffer(command, buffer, send, true);
    }
    command_good(command);
}

static bool moves_its_range(const struct opcode_row *op)
{
    return op->direction != DATA_NONE && op->lba != LBA_10_SAME && op->lba != LBA_16_SAME;
}

static bool range_is_good(struct command *command)
{
    uint64_t blocks = atomic_load_explicit(&command->lu->blocks, memory_order_relaxed);
    struct cdb_range *range = &command->range;

    if (!opcode_range(command->op, command->cdb, range))
        return true;
    /* SBC-3 4.5: for a length of 0 too. Both are below 2^64, their sum need not be. */
    if (range->lba >= blocks || range->blocks > blocks - range->lba) {
        command_refuse(command, SENSE_LBA_OUT_OF_RANGE, "it reaches beyond the last block");
        return false;
    }
    if (moves_its_range(command->op) && range->blocks > LIMIT_TRANSFER_BLOCKS) {
        command_refuse_field(command, SENSE_INVALID_FIELD_IN_CDB, true, range->blocks_byte,
                             "more blocks than MAXIMUM TRANSFER LENGTH");
        return false;
    }
    return true;
}

static bool medium_is_ready(struct command *command)
{
    enum sense_code code = lu_not_ready(command->lu);
    unsigned needs = code == SENSE_STOPPED ? NEEDS_MEDIUM : NEEDS_LOADED;

    if (code == SENSE_NONE || !(command->op->needs & needs))
        return true;
    command_refuse(command, code, NULL);
    return false;
}

static bool cdb_is_good(struct command *command)
{
    const struct opcode_row *op = command->op;
    int stray;

    if (command->cdb_len < op->cdb_len) {
        command_refuse(command, SENSE_INVALID_FIELD_IN_CDB, "the CDB is cut short");
        return false;
    }
    stray = opcode_stray_byte(op, command->cdb);
    if (stray >= 0) {
        command_refuse_field(command, SENSE_INVALID_FIELD_IN_CDB, true, (uint16_t)stray,
                             "the CDB asks for something that is not supported");
        return false;
    }
    return true;
}

static bool may_run_without_unit(struct command *command)
{
    /* The LUN is there and its itl is not: no memory. 05/25/00 would be taken for its loss. */
    if (nexus_lun(command->nexus, command->lun)) {
        command_finish(command, STATUS_BUSY);
        return false;
    }
    if (!command->op || command->op->needs & NEEDS_UNIT) {
        command_refuse(command, SENSE_LUN_NOT_SUPPORTED, NULL);
        return false;
    }
    return cdb_is_good(command);
}

/*
 * SAM-5 5.3.2 gives the order: unit attentions, then RESERVATION CONFLICT, then whatever else there
 * is to complain of. It is checked when the command is let run and not before (SAM-5 8.5: held by
 * an ORDERED one it is dormant), so that what changed meanwhile counts.
 */
static bool may_run(struct command *command)
{
    const struct opcode_row *op = command->op;
    struct lu *lu = command->lu;

    if (!lu)
        return may_run_without_unit(command);
    if ((!op || op->unit_attention == UA_REPORT) && unit_attention_is_pending(command->itl)) {
        enum sense_code code = unit_attention_take(command->itl);
        if (code != SENSE_NONE) {
            command_refuse(command, code, NULL);
            return false;
        }
    }
    if (op && lu_is_reserved(lu) &&
        reservation_conflicts(lu, command->nexus, opcode_reservation(op, command->cdb))) {
        command_finish(command, STATUS_RESERVATION_CONFLICT);
        return false;
    }
    if (!op && opcode_is_one_command(command->cdb[0])) {
        command_refuse_field(command, SENSE_INVALID_FIELD_IN_CDB, true, 1,
                             "an unknown service action");
        return false;
    }
    /* Else an unknown service action is an unknown command: 05/20/00 is what probing hosts
     * understand. */
    if (!op || !opcode_is_served(op, command)) {
        command_refuse(command, SENSE_INVALID_OPCODE, NULL);
        return false;
    }
    if (!sanitize_lets(command) || !cdb_is_good(command))
        return false;
    if (op->needs & NEEDS_WRITE &&
        (lu->is_readonly || atomic_load_explicit(&lu->is_write_protected, memory_order_relaxed))) {
        command_refuse(command, SENSE_WRITE_PROTECTED, "the unit is write-protected");
        return false;
    }
    return medium_is_ready(command) && range_is_good(command);
}

void command_run(struct command *command)
{
    command->is_held = false;
    command_pin(command);
    if (may_run(command)) {
        command->is_running = true;
        command->op->run(command);
    }
    command_unpin(command);
}

void command_start(struct command *command)
{
    bool known_opcode;

    for (unsigned i = command->cdb_len; i < CDB_BYTES; i++)
        command->cdb[i] = 0;
    command->status = STATUS_GOOD;
    command->was_aborted = false;
    command->transfer_bytes = 0;
    command->sense_len = 0;
    command->pins = 0;
    command->is_held = command->is_running = command->is_finishing = false;
    command->is_under_way = command->is_miscompare = false;
    command->is_started = true;
    command->others = NULL;
    command->started_ns = now_ns(command);
    command->op = opcode_find(command->cdb, &known_opcode);
    command->itl = nexus_itl(command->nexus, command->lun, true);
    command->lu = command->itl ? command->itl->lu : NULL;
    if (nexus_command_begin(command))
        command_run(command);
}

void command_out(struct command *command, struct burst *burst)
{
    command_pin(command);
    if (command->is_finishing || !command->is_running || !command->op->out)
        command->transport->out_done(command, burst);
    else
        command->op->out(command, burst);
    command_unpin(command);
}

void command_in_resume(struct command *command)
{
    command_pin(command);
    if (!command->is_finishing && command->is_running && command->op->in_resume)
        command->op->in_resume(command);
    command_unpin(command);
}

void command_abort(struct command *command)
{
    if (!command->is_started || command->was_aborted)
        return;
    command->was_aborted = true;
    command_pin(command);
    if (command->is_held) {
        nexus_command_unhold(command);
        command->is_held = false;
    }
    command_finish(command, STATUS_TASK_ABORTED);
    command_unpin(command);
}
