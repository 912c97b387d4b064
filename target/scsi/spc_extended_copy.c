/*
 * spc_extended_copy: EXTENDED COPY(LID1), SPC-4 6.5: copies within a unit and between units of the
 * same I_T nexus.
 *
 * The whole list is checked before the first segment begins; whether its units still let it in is
 * asked again at each segment, inside the gates. Segments go one after the other, each in steps
 * (copy_step.h) between which the command can be aborted.
 */
#include "target/scsi/handlers.h"

#include "target/scsi/copy_log.h"
#include "target/scsi/copy_step.h"
#include "target/scsi/left_behind.h"
#include "target/scsi/limits.h"
#include "target/scsi/lu.h"
#include "target/scsi/nexus.h"
#include "target/scsi/sanitize.h"

#include <errno.h>

#define CONTAINER_OF(pointer, type, member)                                                        \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

enum {
    CODE_SET_BINARY = 1,
    ASSOCIATION_UNIT = 0,
    DESIGNATOR_NAA = 3,
    PERIPHERAL_BLOCK_DEVICE = 0,

    /* within a segment descriptor, for field pointers */
    SOURCE_AT = 4,
    BLOCKS_AT = 10,
    SOURCE_LBA_AT = 12,
    DESTINATION_LBA_AT = 20,
    CSCD_BLOCK_LENGTH_AT = 29,
};

/* Too large for the command's scratch; in a buffer until nothing is under way any more. */
struct copy {
    struct copy_step step;
    struct buffer *buffer; /* this stands in it */
    struct lu *lu;         /* our own */
    struct left_behind left;
    struct xcopy_list list;
    struct copy_record *record;              /* NULL: nobody can ask */
    struct itl *units[LIMIT_COPY_CSCDS + 1]; /* of each CSCD that a segment names; then our own */
    unsigned failed_syncs[LIMIT_COPY_CSCDS + 1];
    bool is_flush_due[LIMIT_COPY_CSCDS + 1];
    unsigned segment, flushing;
    bool is_begun;                         /* the segment has been inside the gates */
    uint64_t segment_bytes, written_bytes; /* of the segment; by the segments before */
    struct io flush;
    bool is_flushing;
};
_Static_assert(sizeof(struct copy) <= BUFFER_SMALL, "a copy takes a small buffer");

struct copy_scratch {
    struct copy *copy;
    struct command_others others;
    struct itl *itls[LIMIT_COPY_CSCDS];
};

enum { OWN_UNIT = LIMIT_COPY_CSCDS };

static struct copy *copy_of(struct command *command)
{
    return COMMAND_SCRATCH(command, struct copy_scratch)->copy;
}

static struct copy *copy_with(struct copy_step *step)
{
    return (struct copy *)(void *)step; /* its first member */
}
_Static_assert(offsetof(struct copy, step) == 0, "copy_with() takes one for the other");

static void copy_free(struct copy *copy)
{
    struct command *command = copy->step.command;

    COMMAND_SCRATCH(command, struct copy_scratch)->copy = NULL;
    atomic_fetch_sub_explicit(&copy->lu->copies, 1, memory_order_relaxed);
    buffer_put(command->nexus->worker->buffers, copy->buffer);
}

/* ---- how it fails ---- */

static struct lu_counters *counters_of(const struct command *command, struct lu *lu)
{
    return &lu->counters[command->nexus->worker->index];
}

static void count(_Atomic uint64_t *counter, uint64_t by)
{
    atomic_fetch_add_explicit(counter, by, memory_order_relaxed);
}

/* SPC-4 5.17.7.4 b), g): the segment, and the byte of the list that is to blame. */
static void fail_at(struct copy *copy, enum sense_code code, uint16_t field_byte, const char *why)
{
    const struct sense_details details = {
        .has_field = true,
        .field_byte = field_byte,
        .has_segment = true,
        .segment = (uint16_t)copy->segment,
    };

    command_refuse_details(copy->step.command, code, &details, why);
}

static unsigned unit_index(uint16_t id)
{
    return id == XCOPY_ID_THIS_UNIT ? OWN_UNIT : id;
}

/*
 * The copy source or copy destination refused, or its disk failed: with `status` and `code` it
 * would have ended a command of its own. c) tells what is left of a segment that was begun.
 */
static void fail_by(struct copy *copy, bool is_source, enum scsi_status status,
                    enum sense_code code, const char *why)
{
    const struct xcopy_segment *segment = &copy->list.segments[copy->segment];
    uint16_t id = is_source ? segment->source : segment->destination;
    uint64_t left_bytes = copy->step.work.len_bytes;
    struct lu *destination = copy->units[unit_index(segment->destination)]->lu;
    const struct sense_details details = {
        .has_information = copy->is_begun && left_bytes < copy->segment_bytes,
        .information = left_bytes >> destination->block_shift,
        .has_field = id != XCOPY_ID_THIS_UNIT,
        .field_byte = xcopy_cscd_at(id),
        .has_segment = true,
        .segment = (uint16_t)copy->segment,
        .forwarded = {
            .from = is_source ? SENSE_FROM_SOURCE : SENSE_FROM_DESTINATION,
            .status = (uint8_t)status,
            .code = code,
        },
    };

    count(&counters_of(copy->step.command, destination)->clones_failed, 1);
    command_refuse_details(copy->step.command, SENSE_COPY_THIRD_PARTY_FAILURE, &details, why);
}

static void fail_by_errno(struct copy *copy, bool is_source, int error)
{
    if (error == -ENOMEM || error == -EAGAIN) /* ours, not the disk's: worth another try */
        return fail_by(copy, is_source, STATUS_TASK_SET_FULL, SENSE_NONE, "no memory to copy with");
    fail_by(copy, is_source, STATUS_CHECK_CONDITION, command_errno_code(error, !is_source),
            is_source ? "the copy source's image cannot be read"
                      : "the copy destination's image cannot be written");
}

/* A unit that it works on is reset or taken away: the copy ends, and its initiator is told. */
static void copy_lost(struct command *command)
{
    struct copy *copy = copy_of(command);
    const struct sense_details details = {
        .has_segment = true,
        .segment = (uint16_t)(copy != NULL ? copy->segment : 0),
    };

    command_refuse_details(command, SENSE_COPY_TARGET_NOT_REACHABLE, &details,
                           "a unit that is copied from or to was reset or removed");
}

/* ---- the checks ---- */

/* What the unit would answer to a READ or WRITE; SENSE_NONE: it would do it. */
static enum sense_code unit_refuses(struct lu *lu, bool is_source)
{
    uint16_t progress;
    enum sense_code code = sanitize_sense(lu, &progress);

    if (code != SENSE_NONE)
        return code;
    if (!is_source &&
        (lu->is_readonly || atomic_load_explicit(&lu->is_write_protected, memory_order_relaxed)))
        return SENSE_WRITE_PROTECTED;
    return lu_not_ready(lu);
}

/*
 * May this segment be read from or written to that unit? The copy fails if not. A segment that was
 * begun is not stopped by a reservation (SPC-4 5.13.1).
 */
static bool unit_lets(struct copy *copy, bool is_source)
{
    const struct command *command = copy->step.command;
    struct lu *lu = is_source ? copy->step.source : copy->step.destination;
    enum sense_code code = unit_refuses(lu, is_source);

    if (!copy->is_begun &&
        reservation_conflicts(lu, command->nexus, is_source ? RSV_READS : RSV_WRITES)) {
        fail_by(copy, is_source, STATUS_RESERVATION_CONFLICT, SENSE_NONE,
                is_source ? "the copy source is reserved" : "the copy destination is reserved");
        return false;
    }
    if (code != SENSE_NONE) {
        fail_by(copy, is_source, STATUS_CHECK_CONDITION, code,
                is_source ? "the copy source cannot be read now"
                          : "the copy destination cannot be written now");
        return false;
    }
    return true;
}

static bool units_let(struct copy *copy)
{
    return unit_lets(copy, true) && unit_lets(copy, false);
}

/* Finds the unit of a CSCD among those that this nexus may see; the copy fails if there is none. */
static bool find_unit(struct copy *copy, uint16_t id, uint16_t id_at)
{
    struct command *command = copy->step.command;
    const struct xcopy_cscd *cscd;
    uint16_t cscd_at;

    if (id == XCOPY_ID_THIS_UNIT)
        return true;
    if (id >= copy->list.cscd_count) {
        fail_at(copy, SENSE_COPY_UNREACHABLE_TARGET, id_at, "a segment names no CSCD of the list");
        return false;
    }
    cscd = &copy->list.cscds[id];
    cscd_at = xcopy_cscd_at(id);
    if (cscd->peripheral_type != PERIPHERAL_BLOCK_DEVICE) {
        fail_at(copy, SENSE_COPY_WRONG_DEVICE_TYPE, cscd_at, "a copy from or to no disk");
        return false;
    }
    if (copy->units[id] == NULL && !cscd->is_null && cscd->code_set == CODE_SET_BINARY &&
        cscd->association == ASSOCIATION_UNIT && cscd->designator_type == DESIGNATOR_NAA &&
        cscd->designator_len == IDENTITY_NAA_BYTES)
        copy->units[id] = nexus_itl_named(command->nexus, cscd->designator);
    if (copy->units[id] == NULL) {
        fail_at(copy, SENSE_COPY_UNREACHABLE_TARGET, cscd_at,
                "a copy from or to a unit that this initiator does not see");
        return false;
    }
    if (cscd->block_bytes != 0 && cscd->block_bytes != copy->units[id]->lu->block_bytes) {
        fail_at(copy, SENSE_COPY_INVALID_FIELD, (uint16_t)(cscd_at + CSCD_BLOCK_LENGTH_AT),
                "DISK BLOCK LENGTH is not the unit's");
        return false;
    }
    return true;
}

static bool is_on_unit(const struct lu *lu, uint64_t lba, uint16_t blocks)
{
    uint64_t all = atomic_load_explicit(&lu->blocks, memory_order_relaxed);

    return lba <= all && blocks <= all - lba;
}

static bool segment_is_good(struct copy *copy)
{
    const struct xcopy_segment *segment = &copy->list.segments[copy->segment];
    uint16_t at = xcopy_segment_at(&copy->list, copy->segment);
    struct lu *source, *destination;

    if (!find_unit(copy, segment->source, (uint16_t)(at + SOURCE_AT)) ||
        !find_unit(copy, segment->destination, (uint16_t)(at + SOURCE_AT + 2)))
        return false;
    source = copy->units[unit_index(segment->source)]->lu;
    destination = copy->units[unit_index(segment->destination)]->lu;
    if (source->block_bytes != destination->block_bytes) {
        fail_at(copy, SENSE_COPY_INVALID_OPERATION, at,
                "a copy between units with different block sizes");
        return false;
    }
    if ((uint64_t)segment->blocks << source->block_shift > LIMIT_COPY_SEGMENT_BYTES) {
        command_refuse_field(copy->step.command, SENSE_INVALID_FIELD_IN_PARAMETER_LIST, false,
                             (uint16_t)(at + BLOCKS_AT),
                             "a segment is longer than MAXIMUM SEGMENT LENGTH");
        return false;
    }
    if (!is_on_unit(source, segment->source_lba, segment->blocks)) {
        fail_at(copy, SENSE_COPY_ABORTED, (uint16_t)(at + SOURCE_LBA_AT),
                "a segment reaches beyond the last block of the copy source");
        return false;
    }
    if (!is_on_unit(destination, segment->destination_lba, segment->blocks)) {
        fail_at(copy, SENSE_COPY_ABORTED, (uint16_t)(at + DESTINATION_LBA_AT),
                "a segment reaches beyond the last block of the copy destination");
        return false;
    }
    return true;
}

/* The units besides our own stay, and are waited for, until this command ends. */
static void join_units(struct copy *copy)
{
    struct command *command = copy->step.command;
    struct copy_scratch *scratch = COMMAND_SCRATCH(command, struct copy_scratch);
    unsigned joined = 0;

    for (unsigned i = 0; i < LIMIT_COPY_CSCDS; i++) {
        struct itl *itl = copy->units[i];
        bool is_known = itl == NULL || itl == command->itl;

        for (unsigned k = 0; k < joined && !is_known; k++)
            is_known = scratch->itls[k] == itl;
        if (!is_known)
            scratch->itls[joined++] = itl;
    }
    scratch->others = (struct command_others){
        .count = joined,
        .itls = scratch->itls,
        .lost = copy_lost,
    };
    if (joined > 0)
        nexus_command_join(command, &scratch->others);
}

/* ---- when nobody waits for it any more ---- */

/* What is under way goes on by itself; or it is waited for. */
static void copy_leave_behind(struct copy *copy)
{
    struct command *command = copy->step.command;
    const struct itl *first, *second = NULL;

    if (copy->is_flushing) {
        first = copy->units[copy->flushing];
    } else {
        const struct xcopy_segment *segment = &copy->list.segments[copy->segment];

        first = copy->units[unit_index(segment->source)];
        second = copy->units[unit_index(segment->destination)];
    }
    if (!left_behind_begin(&copy->left, command, first, second, sizeof *copy))
        return;
    COMMAND_SCRATCH(command, struct copy_scratch)->copy = NULL;
    copy->step.command = NULL;
    command_unpin(command);
}

/* Its units may be gone then, and it is. */
static void copy_left_is_done(struct copy *copy, int error)
{
    struct buffer_pool *pool = copy->step.worker->buffers;
    struct buffer *buffer = copy->buffer;

    atomic_fetch_sub_explicit(&copy->lu->copies, 1, memory_order_relaxed);
    left_behind_end(&copy->left, error);
    buffer_put(pool, buffer);
}

/* ---- its steps ---- */

static void copy_next_segment(struct copy *copy);
static void copy_inside(struct copy_step *step);
static void copy_flush(struct copy *copy);

static void copy_part_is_moved(struct copy_step *step)
{
    struct copy *copy = copy_with(step);
    struct command *command = step->command;

    copy_step_leave(step);
    if (command == NULL)
        return copy_left_is_done(copy, step->result);
    if (copy->record != NULL)
        copy->record->written_bytes =
            copy->written_bytes + copy->segment_bytes - step->work.len_bytes;
    if (command->is_finishing)
        return copy_free(copy);
    if (step->result != 0)
        return fail_by_errno(copy, step->work.has_source_failed, step->result);
    if (step->work.len_bytes == 0) {
        struct lu_counters *counters = counters_of(command, step->destination);

        count(&counters->clones, 1);
        count(&counters->cloned_bytes, copy->segment_bytes);
        copy->written_bytes += copy->segment_bytes;
        copy->segment++;
        return copy_next_segment(copy);
    }
    if (units_let(copy))
        copy_step_enter(step, copy_inside);
}

static void copy_inside(struct copy_step *step)
{
    struct copy *copy = copy_with(step);

    if (step->command->is_finishing) {
        copy_step_leave(step);
        return copy_free(copy);
    }
    /* again: who reserves or sanitizes a unit passes its whole gate alone before that is answered,
     * so what happened while this waited is seen now */
    if (!units_let(copy))
        return;
    copy->is_begun = true;
    copy_step_move(step, copy_part_is_moved);
}

/* From here on what the unit's disk fails to keep may be ours. */
static void note_write(struct copy *copy, unsigned unit)
{
    struct lu *lu = copy->units[unit]->lu;

    if (lu->cache != CACHE_WRITETHROUGH || copy->is_flush_due[unit])
        return;
    copy->is_flush_due[unit] = true;
    copy->failed_syncs[unit] = backing_failed_syncs(lu->backing);
}

static void copy_next_segment(struct copy *copy)
{
    struct copy_step *step = &copy->step;
    const struct xcopy_segment *segment;
    struct lu *source, *destination;

    if (copy->segment == copy->list.segment_count)
        return copy_flush(copy);
    segment = &copy->list.segments[copy->segment];
    source = step->source = copy->units[unit_index(segment->source)]->lu;
    destination = step->destination = copy->units[unit_index(segment->destination)]->lu;
    copy->segment_bytes = (uint64_t)segment->blocks << source->block_shift;
    copy->is_begun = false;
    note_write(copy, unit_index(segment->destination));
    if (copy->record != NULL)
        copy->record->segments_processed = (uint16_t)(copy->segment + 1);
    step->work = (struct backing_copy){
        .source = source->backing,
        .destination = destination->backing,
        .source_offset_bytes = segment->source_lba << source->block_shift,
        .destination_offset_bytes = segment->destination_lba << destination->block_shift,
        .len_bytes = copy->segment_bytes,
    };
    if (source == destination && segment->source_lba == segment->destination_lba)
        step->work.len_bytes = 0; /* it is there already */
    if (units_let(copy))
        copy_step_enter(step, copy_inside);
}

/* ---- its end ---- */

/* Blames the last segment that wrote to this unit. */
static void fail_flush(struct copy *copy, unsigned unit, int error)
{
    unsigned last = copy->list.segment_count - 1;

    while (last > 0 && unit_index(copy->list.segments[last].destination) != unit)
        last--;
    copy->segment = last;
    copy->is_begun = false;
    fail_by_errno(copy, false, error);
}

static void copy_is_flushed(struct io *io)
{
    struct copy *copy = CONTAINER_OF(io, struct copy, flush);
    struct command *command = copy->step.command;
    unsigned unit = copy->flushing;
    int error = io->result;

    if (command == NULL)
        return copy_left_is_done(copy, error);
    copy->is_flushing = false;
    if (error == 0 && backing_failed_syncs(io->backing) != copy->failed_syncs[unit])
        error = -EIO;
    copy->is_flush_due[unit] = false;
    if (command->is_finishing)
        copy_free(copy);
    else if (error != 0)
        fail_flush(copy, unit, error);
    else
        copy_flush(copy);
    command_unpin(command);
}

/* DESIGN's writethrough: GOOD means on stable storage. */
static void copy_flush(struct copy *copy)
{
    struct command *command = copy->step.command;
    unsigned unit = 0;

    while (unit <= OWN_UNIT && !copy->is_flush_due[unit])
        unit++;
    if (unit > OWN_UNIT)
        return command_good(command);
    copy->flushing = unit;
    copy->is_flushing = true;
    copy->flush = (struct io){
        .op = IO_FLUSH,
        .backing = copy->units[unit]->lu->backing,
        .done = copy_is_flushed,
    };
    command_pin(command);
    engine_submit(command->nexus->worker->engine, &copy->flush);
}

void spc_extended_copy_let_go(struct command *command)
{
    struct copy *copy = copy_of(command);

    if (copy == NULL)
        return;
    if (copy->record != NULL)
        copy_log_end(copy->record, command);
    copy->record = NULL;
    if (copy->is_flushing || copy->step.is_moving)
        copy_leave_behind(copy);
    else if (copy_step_let_go(&copy->step))
        copy_free(copy);
}

/* ---- its beginning ---- */

/* NULL: too many at a time, or no memory. */
static struct copy *copy_make(struct command *command)
{
    struct buffer *buffer = NULL;
    struct copy *copy;

    if (atomic_fetch_add_explicit(&command->lu->copies, 1, memory_order_relaxed) < LIMIT_COPIES)
        buffer = buffer_get(command->nexus->worker->buffers, sizeof *copy);
    if (buffer == NULL) {
        atomic_fetch_sub_explicit(&command->lu->copies, 1, memory_order_relaxed);
        return NULL;
    }
    copy = (struct copy *)(void *)buffer->bytes;
    memset(copy, 0, sizeof *copy);
    copy->buffer = buffer;
    copy->lu = command->lu;
    copy->step.command = command;
    copy->step.worker = command->nexus->worker;
    copy->step.slow = &command->lu->slow;
    copy->units[OWN_UNIT] = command->itl;
    COMMAND_SCRATCH(command, struct copy_scratch)->copy = copy;
    return copy;
}

/* False: the command is over. */
static bool copy_parse(struct copy *copy, const uint8_t *bytes, size_t len)
{
    struct command *command = copy->step.command;
    uint16_t field_byte = 0;
    enum sense_code code = xcopy_parse(bytes, len, &copy->list, &field_byte);

    if (code == SENSE_NONE)
        return true;
    if (code == SENSE_PARAMETER_LIST_LENGTH_ERROR)
        command_refuse(command, code, "the copy's parameter list is cut short, or too long");
    else
        command_refuse_field(command, code, false, field_byte,
                             "the copy's parameter list asks for what is not supported");
    return false;
}

static bool copy_begin_record(struct copy *copy)
{
    struct command *command = copy->step.command;
    int error;

    if (copy->list.usage == XCOPY_LIST_ID_NONE)
        return true;
    error = copy_log_begin(command->itl, copy->list.list_id, &copy->record);
    if (error == -EBUSY) /* SPC-4 5.17.4.2 */
        command_refuse(command, SENSE_OPERATION_IN_PROGRESS,
                       "a copy with this LIST IDENTIFIER is under way");
    else if (error != 0)
        command_finish(command, STATUS_TASK_SET_FULL);
    return error == 0;
}

static void copy_begin(struct copy *copy)
{
    if (!copy_begin_record(copy))
        return;
    for (; copy->segment < copy->list.segment_count; copy->segment++)
        if (!segment_is_good(copy))
            return;
    copy->segment = 0;
    join_units(copy);
    copy_next_segment(copy);
}

void spc_extended_copy(struct command *command)
{
    uint32_t list_bytes = get_be32(command->cdb + 10);
    uint32_t want_bytes =
        list_bytes < command->expected_out_bytes ? list_bytes : command->expected_out_bytes;

    COMMAND_SCRATCH(command, struct copy_scratch)->copy = NULL;
    command->transfer_bytes = list_bytes;
    if (list_bytes == 0) /* SPC-4 6.4.1: no error */
        return command_good(command);
    if (list_bytes > LIMIT_COPY_LIST_BYTES || want_bytes == 0)
        return command_refuse(command, SENSE_PARAMETER_LIST_LENGTH_ERROR,
                              "the copy's parameter list is too long, or does not come");
    command->transport->out_want(command, want_bytes, want_bytes);
}

void spc_extended_copy_list(struct command *command, struct burst *burst)
{
    struct copy *copy = copy_make(command);
    bool is_good = copy != NULL && copy_parse(copy, burst->data, burst->bytes);

    command->transport->out_done(command, burst);
    if (copy == NULL)
        command_finish(command, STATUS_TASK_SET_FULL);
    else if (is_good)
        copy_begin(copy);
}
