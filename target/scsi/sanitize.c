#include "target/scsi/sanitize.h"

#include "target/scsi/command.h"
#include "target/scsi/lu.h"
#include "target/scsi/nexus.h"
#include "target/scsi/opcodes.h"
#include "target/worker/log.h"

#include <stdlib.h>

#define CONTAINER_OF(pointer, type, member)                                                        \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

enum {
    CHUNK_BYTES = 1024 * 1024,
    SLICE_NS = 10 * 1000 * 1000,
    PROGRESS_WHOLE = 65536,
    SANITIZE_OPCODE = 0x48,
};

/* ---- on the slow lane ---- */

static void erase_slice(struct sanitize *sanitize, uint64_t size_bytes)
{
    uint64_t done_bytes;

    sanitize->error = backing_discard_some(sanitize->job.lu->backing, sanitize->at_bytes,
                                           size_bytes - sanitize->at_bytes, SLICE_NS, &done_bytes);
    sanitize->at_bytes += done_bytes;
    atomic_fetch_add(&sanitize->done_bytes, done_bytes);
}

/* On stable storage at once: a flood of dirty pages would keep all others of this disk waiting. */
static void overwrite_slice(struct sanitize *sanitize, uint64_t size_bytes)
{
    uint64_t left_bytes = size_bytes - sanitize->at_bytes;
    struct io io = {
        .op = IO_WRITE,
        .is_durable = true,
        .backing = sanitize->job.lu->backing,
        .bytes = sanitize->chunk,
        .len_bytes = left_bytes < CHUNK_BYTES ? left_bytes : CHUNK_BYTES,
        .offset_bytes = sanitize->at_bytes,
    };

    backing_run(&io);
    sanitize->error = io.result;
    sanitize->at_bytes += io.len_bytes;
    atomic_fetch_add(&sanitize->done_bytes, io.len_bytes);
}

static void flush(struct sanitize *sanitize)
{
    struct io io = { .op = IO_FLUSH, .backing = sanitize->job.lu->backing };

    backing_run(&io);
    sanitize->error = io.result;
}

/* The journal has no slot in use: an atomic write holds the gate as long as it has one. */
static void end_well(struct sanitize *sanitize)
{
    struct lu *lu = sanitize->job.lu;

    flush(sanitize);
    if (sanitize->error == 0)
        sanitize->error = journal_wipe(lu->backing, lu->atomic_writes.journal);
}

static bool slice_run(struct lu_job *job)
{
    struct sanitize *sanitize = CONTAINER_OF(job, struct sanitize, job);
    uint64_t size_bytes = sanitize->hold.len_bytes;

    if (sanitize->chunk)
        overwrite_slice(sanitize, size_bytes);
    else
        erase_slice(sanitize, size_bytes);
    if (sanitize->error == 0 && sanitize->at_bytes == size_bytes) {
        sanitize->at_bytes = 0;
        sanitize->passes--;
        for (unsigned i = 0; sanitize->is_inverted && i < CHUNK_BYTES; i++)
            sanitize->chunk[i] ^= 0xff;
        if (sanitize->passes == 0)
            end_well(sanitize);
    }
    return sanitize->error == 0 && sanitize->passes > 0;
}

static void tell_waiting(struct message *message)
{
    struct sanitize_wait *wait = CONTAINER_OF(message, struct sanitize_wait, message);
    struct command *command = wait->command;

    if (wait->error)
        command_refuse(command, SENSE_SANITIZE_FAILED, "the sanitize operation failed");
    else
        command_good(command);
    command_unpin(command);
}

static void sanitize_over(struct lu_job *job)
{
    struct sanitize *sanitize = CONTAINER_OF(job, struct sanitize, job);
    struct lu *lu = job->lu;
    struct sanitize_wait *wait;

    if (sanitize->error)
        log_error("the sanitize operation on %s failed: %s", backing_path(lu->backing),
                  strerror(-sanitize->error));
    else if (sanitize->passes > 0)
        log_warning("the sanitize operation on %s ends with the daemon, with %llu of %llu MiB done",
                    backing_path(lu->backing),
                    (unsigned long long)atomic_load(&sanitize->done_bytes) >> 20,
                    (unsigned long long)atomic_load(&sanitize->total_bytes) >> 20);
    else
        log_info("the sanitize operation on %s is over", backing_path(lu->backing));
    free(sanitize->chunk);
    sanitize->chunk = NULL;
    gate_leave(&sanitize->hold);
    pthread_mutex_lock(&lu->mutex);
    wait = sanitize->waiting;
    sanitize->waiting = NULL;
    if (wait)
        wait->error = sanitize->error;
    /* From here on another one may begin. */
    atomic_store(&sanitize->state, sanitize->error ? SANITIZE_FAILED : SANITIZE_IDLE);
    pthread_mutex_unlock(&lu->mutex);
    if (wait)
        worker_post(wait->command->nexus->worker, &wait->message);
}

/* ---- on the command's worker ---- */

static void give_up(struct sanitize *sanitize)
{
    free(sanitize->chunk);
    sanitize->chunk = NULL;
    atomic_store(&sanitize->state, sanitize->before);
}

/* Nothing is in flight any more, and nothing gets in. */
static void sanitize_start(struct sanitize *sanitize, struct sanitize_wait *wait)
{
    struct command *command = wait->command;
    struct lu *lu = command->lu;

    log_info("a sanitize operation on %s begins, for %s", backing_path(lu->backing),
             command->nexus->initiator_name);
    if (!wait->is_immediate) {
        command_pin(command);
        pthread_mutex_lock(&lu->mutex);
        sanitize->waiting = wait;
        pthread_mutex_unlock(&lu->mutex);
    }
    lu_job_start(&sanitize->job, command->nexus->worker->group->jobs);
    if (wait->is_immediate)
        command_good(command);
}

static void sanitize_entered(struct gate_hold *hold)
{
    struct sanitize *sanitize = CONTAINER_OF(hold, struct sanitize, hold);
    struct sanitize_wait *wait = sanitize->entering;
    struct command *command = wait->command;

    /* reserved by another since it was checked, and nothing is done yet: see medium.h */
    if (!command->is_finishing && reservation_conflicts(command->lu, command->nexus, RSV_WRITES))
        command_finish(command, STATUS_RESERVATION_CONFLICT);
    wait->is_entering = false;
    if (command->is_finishing) {
        gate_leave(hold);
        give_up(sanitize);
    } else {
        sanitize_start(sanitize, wait);
    }
    command_unpin(command);
}

static bool fill_chunk(struct sanitize *sanitize, const struct overwrite_list *list,
                       uint32_t block_bytes)
{
    sanitize->chunk = malloc(CHUNK_BYTES);
    if (!sanitize->chunk)
        return false;
    overwrite_block(list, sanitize->chunk, block_bytes);
    for (uint32_t at = block_bytes; at < CHUNK_BYTES; at += block_bytes)
        memcpy(sanitize->chunk + at, sanitize->chunk, block_bytes);
    return true;
}

void sanitize_begin(struct command *command, const struct overwrite_list *list, bool may_exit,
                    bool immediate)
{
    struct sanitize_wait *wait = COMMAND_SCRATCH(command, struct sanitize_wait);
    struct lu *lu = command->lu;
    struct sanitize *sanitize = &lu->sanitize;
    uint64_t size_bytes = atomic_load(&lu->blocks) << lu->block_shift;
    int before = atomic_load(&sanitize->state);

    /* Two may have come this far at once, from two workers. */
    if (before == SANITIZE_RUNNING ||
        !atomic_compare_exchange_strong(&sanitize->state, &before, SANITIZE_RUNNING))
        return command_refuse(command, SENSE_SANITIZE_IN_PROGRESS, NULL);
    sanitize->before = (enum sanitize_state)before;
    if (list && !fill_chunk(sanitize, list, lu->block_bytes)) {
        give_up(sanitize);
        return command_finish(command, STATUS_TASK_SET_FULL);
    }
    sanitize->job = (struct lu_job){ .run = slice_run, .over = sanitize_over, .lu = lu };
    sanitize->may_exit = may_exit;
    sanitize->is_inverted = list && list->is_inverted;
    sanitize->passes = list ? list->passes : 1;
    sanitize->at_bytes = 0;
    sanitize->error = 0;
    atomic_store(&sanitize->done_bytes, 0);
    atomic_store(&sanitize->total_bytes, size_bytes * sanitize->passes);
    sanitize->hold.entered = sanitize_entered;
    sanitize->entering = wait;
    wait->is_immediate = immediate;
    wait->message.run = tell_waiting;
    wait->is_entering = true;
    command_pin(command);
    if (gate_enter(&lu->gate, &sanitize->hold, command->nexus->worker, GATE_EXCLUSIVE, 0,
                   size_bytes))
        sanitize_entered(&sanitize->hold);
}

void sanitize_let_go(struct command *command)
{
    struct sanitize_wait *wait = COMMAND_SCRATCH(command, struct sanitize_wait);
    struct sanitize *sanitize = &command->lu->sanitize;
    bool was_waiting;

    if (wait->is_entering) {
        /* False: it has been let in; sanitize_entered() is on its way and leaves again. */
        if (gate_cancel(&sanitize->hold)) {
            wait->is_entering = false;
            give_up(sanitize);
            command_unpin(command);
        }
        return;
    }
    pthread_mutex_lock(&command->lu->mutex);
    was_waiting = sanitize->waiting == wait;
    if (was_waiting)
        sanitize->waiting = NULL;
    pthread_mutex_unlock(&command->lu->mutex);
    if (was_waiting)
        command_unpin(command);
}

void sanitize_exit_failure_mode(struct command *command)
{
    struct sanitize *sanitize = &command->lu->sanitize;
    int failed = SANITIZE_FAILED;

    if (atomic_load(&sanitize->state) == SANITIZE_FAILED && !sanitize->may_exit)
        return command_refuse_field(command, SENSE_INVALID_FIELD_IN_CDB, true, 1,
                                    "the sanitize operation that failed did not allow it (AUSE)");
    atomic_compare_exchange_strong(&sanitize->state, &failed, SANITIZE_IDLE);
    command_good(command);
}

/* ---- for everybody ---- */

enum sense_code sanitize_sense(struct lu *lu, uint16_t *progress)
{
    struct sanitize *sanitize = &lu->sanitize;
    uint64_t done_bytes = atomic_load(&sanitize->done_bytes);
    uint64_t total_bytes = atomic_load(&sanitize->total_bytes);
    uint64_t step_bytes = total_bytes / PROGRESS_WHOLE + 1;

    *progress = (uint16_t)(done_bytes / step_bytes);
    switch ((enum sanitize_state)atomic_load(&sanitize->state)) {
    case SANITIZE_RUNNING: return SENSE_SANITIZE_IN_PROGRESS;
    case SANITIZE_FAILED: return SENSE_SANITIZE_FAILED;
    case SANITIZE_IDLE: break;
    }
    return SENSE_NONE;
}

bool sanitize_lets(struct command *command)
{
    const struct opcode_row *op = command->op;
    enum sense_code code;
    uint16_t progress;

    if (atomic_load_explicit(&command->lu->sanitize.state, memory_order_relaxed) == SANITIZE_IDLE)
        return true;
    if (op->unit_attention != UA_REPORT) /* INQUIRY, REPORT LUNS, REQUEST SENSE */
        return true;
    code = sanitize_sense(command->lu, &progress);
    if (code == SENSE_NONE || (code == SENSE_SANITIZE_FAILED && op->opcode == SANITIZE_OPCODE))
        return true;
    if (code == SENSE_SANITIZE_IN_PROGRESS)
        command_refuse_progress(command, code, progress);
    else
        command_refuse(command, code, NULL);
    return false;
}
