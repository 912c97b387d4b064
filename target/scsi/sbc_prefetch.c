/*
 * sbc_prefetch: PRE-FETCH(10) and (16), SBC-3 5.8: what is asked for comes into the page cache.
 *
 * At most LIMIT_PREFETCH_BYTES of it do; CONDITION MET says that this was all, GOOD that it was
 * not. With IMMED the kernel is told in the slow lane, which returns before the disk does; without
 * it the blocks are read.
 */
#include "target/scsi/handlers.h"

#include "proto/cdb.h"
#include "target/scsi/limits.h"
#include "target/scsi/medium.h"
#include "target/scsi/opcodes.h"

enum { IMMED = 0x02 };

struct prefetch {
    struct medium medium;
    struct buffer *buffer;
    uint64_t offset_bytes, left_bytes;
    uint32_t chunk_bytes;
    bool is_all, is_reading;
};

static void prefetch_end(struct command *command, const struct prefetch *prefetch)
{
    command_finish(command, prefetch->is_all ? STATUS_CONDITION_MET : STATUS_GOOD);
}

static void give_back(struct command *command, struct prefetch *prefetch)
{
    buffer_put(command->nexus->worker->buffers, prefetch->buffer);
    prefetch->buffer = NULL;
}

static void prefetch_next(struct command *command, struct prefetch *prefetch);

static void prefetch_read(struct medium *medium)
{
    struct command *command = medium->command;
    struct prefetch *prefetch = COMMAND_SCRATCH(command, struct prefetch);

    prefetch->is_reading = false;
    if (command->is_finishing)
        return give_back(command, prefetch);
    if (medium->io.result)
        return command_refuse_errno(command, medium->io.result);
    prefetch->offset_bytes += prefetch->chunk_bytes;
    prefetch->left_bytes -= prefetch->chunk_bytes;
    prefetch_next(command, prefetch);
}

/* Nothing of it is shown to anybody, so it needs no gate. */
static void prefetch_next(struct command *command, struct prefetch *prefetch)
{
    if (prefetch->left_bytes == 0)
        return prefetch_end(command, prefetch);
    prefetch->chunk_bytes = prefetch->left_bytes < LIMIT_CHUNK_BYTES
                                ? (uint32_t)prefetch->left_bytes
                                : LIMIT_CHUNK_BYTES;
    prefetch->medium.io = (struct io){
        .op = IO_READ,
        .bytes = prefetch->buffer->bytes,
        .len_bytes = prefetch->chunk_bytes,
        .offset_bytes = prefetch->offset_bytes,
    };
    prefetch->is_reading = true;
    medium_submit(&prefetch->medium, prefetch_read);
}

static void prefetch_tell(struct submitted_io *hint)
{
    hint->io.result =
        backing_will_need(hint->io.backing, hint->io.offset_bytes, hint->io.len_bytes);
}

static void prefetch_told(struct medium *medium)
{
    struct prefetch *prefetch = COMMAND_SCRATCH(medium->command, struct prefetch);

    if (medium->io.result)
        prefetch->is_all = false; /* a hint that is not taken is no error */
    prefetch_end(medium->command, prefetch);
}

void sbc_prefetch(struct command *command)
{
    struct prefetch *prefetch = COMMAND_SCRATCH(command, struct prefetch);
    struct lu *lu = command->lu;
    const struct cdb_range *range = &command->range;
    uint64_t blocks;

    medium_open(&prefetch->medium, command);
    prefetch->buffer = NULL;
    prefetch->is_reading = false;
    prefetch->offset_bytes = range->lba << lu->block_shift;
    /* SBC-3 5.8: 0 means all that follow. */
    blocks = range->blocks ? range->blocks : atomic_load(&lu->blocks) - range->lba;
    prefetch->is_all = blocks <= (uint64_t)LIMIT_PREFETCH_BYTES >> lu->block_shift;
    prefetch->left_bytes = prefetch->is_all ? blocks << lu->block_shift : LIMIT_PREFETCH_BYTES;
    if (command->cdb[1] & IMMED) {
        prefetch->medium.io = (struct io){
            .op = IO_READ,
            .len_bytes = prefetch->left_bytes,
            .offset_bytes = prefetch->offset_bytes,
        };
        return medium_submit_slow(&prefetch->medium, prefetch_tell, prefetch_told);
    }
    prefetch->buffer =
        buffer_get(command->nexus->worker->buffers, prefetch->left_bytes < LIMIT_CHUNK_BYTES
                                                        ? (uint32_t)prefetch->left_bytes
                                                        : LIMIT_CHUNK_BYTES);
    if (!prefetch->buffer)
        return command_finish(command, STATUS_TASK_SET_FULL);
    prefetch_next(command, prefetch);
}

void sbc_prefetch_let_go(struct command *command)
{
    struct prefetch *prefetch = COMMAND_SCRATCH(command, struct prefetch);

    if (medium_leave_behind(&prefetch->medium, prefetch->buffer) || !prefetch->is_reading)
        give_back(command, prefetch);
}
