/*
 * sbc_write_same: WRITE SAME(10) and (16), SBC-3 5.43 and 5.44; NDOB as in SBC-4.
 *
 * Zeros, whether UNMAP is set or not, become a hole: the unit is thin and LBPRZ is told, so that
 * is what they read as, and a datastore that is zeroed takes no space. Any other block is written
 * in slices, each exclusive in the gate, so that nobody waits for more than one of them.
 */
#include "target/scsi/handlers.h"

#include "proto/cdb.h"
#include "target/scsi/limits.h"
#include "target/scsi/opcodes.h"
#include "target/scsi/zeroing.h"

enum { NDOB = 0x01 };

struct write_same {
    struct zeroing zeroing;
    struct buffer *buffer; /* the block, as often as it goes in */
    bool is_writing;
    uint64_t offset_bytes, left_bytes;
    uint32_t slice_bytes;
};

static void write_slice(struct write_same *same);

static void give_back(struct command *command, struct write_same *same)
{
    buffer_put(command->nexus->worker->buffers, same->buffer);
    same->buffer = NULL;
}

static void all_is_zeros(struct command *command, struct zeroing *zeroing)
{
    (void)command;
    zeroing_finish(zeroing);
}

static void slice_is_written(struct medium *medium)
{
    struct command *command = medium->command;
    struct write_same *same = COMMAND_SCRATCH(command, struct write_same);

    same->is_writing = false;
    medium_leave(medium);
    if (command->is_finishing)
        return give_back(command, same);
    if (medium->io.result)
        return command_refuse_errno(command, medium->io.result);
    same->offset_bytes += same->slice_bytes;
    same->left_bytes -= same->slice_bytes;
    write_slice(same);
}

static void slice_entered(struct medium *medium)
{
    struct write_same *same = COMMAND_SCRATCH(medium->command, struct write_same);

    medium->io = (struct io){
        .op = IO_WRITE,
        .bytes = same->buffer->bytes,
        .len_bytes = same->slice_bytes,
        .offset_bytes = same->offset_bytes,
    };
    same->is_writing = true;
    medium_submit(medium, slice_is_written);
}

static void write_slice(struct write_same *same)
{
    if (same->left_bytes == 0)
        return zeroing_finish(&same->zeroing);
    same->slice_bytes =
        same->left_bytes < LIMIT_CHUNK_BYTES ? (uint32_t)same->left_bytes : LIMIT_CHUNK_BYTES;
    if (medium_enter(&same->zeroing.medium, GATE_EXCLUSIVE, same->offset_bytes, same->slice_bytes,
                     slice_entered))
        slice_entered(&same->zeroing.medium);
}

void sbc_write_same(struct command *command)
{
    struct write_same *same = COMMAND_SCRATCH(command, struct write_same);
    const struct lu *lu = command->lu;
    bool has_no_data = command->op->lba == LBA_16_SAME && command->cdb[1] & NDOB;
    const struct cdb_range *range = &command->range;

    zeroing_open(&same->zeroing, command);
    same->buffer = NULL;
    same->is_writing = false;
    same->offset_bytes = range->lba << lu->block_shift;
    same->left_bytes = (uint64_t)range->blocks << lu->block_shift;
    if (range->blocks == 0) /* WSNZ: it does not mean "up to the end" */
        return command_refuse_field(command, SENSE_INVALID_FIELD_IN_CDB, true, range->blocks_byte,
                                    "a WRITE SAME of no blocks");
    if (range->blocks > LIMIT_WRITE_SAME_BLOCKS)
        return command_refuse_field(command, SENSE_INVALID_FIELD_IN_CDB, true, range->blocks_byte,
                                    "more blocks than MAXIMUM WRITE SAME LENGTH");
    if (has_no_data)
        return zeroing_start(&same->zeroing, same->offset_bytes, same->left_bytes, all_is_zeros);
    command->transfer_bytes = lu->block_bytes;
    if (command->expected_out_bytes != lu->block_bytes)
        return command_refuse(command, SENSE_INVALID_FIELD_IN_COMMAND_IU,
                              "the initiator brings something else than one block");
    command->transport->out_want(command, lu->block_bytes, lu->block_bytes);
}

static bool is_zeros(const uint8_t *bytes, uint32_t len)
{
    return bytes[0] == 0 && memcmp(bytes, bytes + 1, len - 1) == 0;
}

void sbc_write_same_out(struct command *command, struct burst *burst)
{
    struct write_same *same = COMMAND_SCRATCH(command, struct write_same);
    uint32_t block_bytes = command->lu->block_bytes, copies;
    bool zeros = is_zeros(burst->data, block_bytes);

    if (!zeros) {
        same->slice_bytes =
            same->left_bytes < LIMIT_CHUNK_BYTES ? (uint32_t)same->left_bytes : LIMIT_CHUNK_BYTES;
        same->buffer = buffer_get(command->nexus->worker->buffers, same->slice_bytes);
        copies = same->buffer ? same->slice_bytes / block_bytes : 0;
        for (uint32_t i = 0; i < copies; i++)
            memcpy(same->buffer->bytes + (size_t)i * block_bytes, burst->data, block_bytes);
    }
    command->transport->out_done(command, burst);
    if (zeros)
        zeroing_start(&same->zeroing, same->offset_bytes, same->left_bytes, all_is_zeros);
    else if (same->buffer)
        write_slice(same);
    else
        command_finish(command, STATUS_TASK_SET_FULL);
}

void sbc_write_same_let_go(struct command *command)
{
    struct write_same *same = COMMAND_SCRATCH(command, struct write_same);

    if (!same->is_writing)
        zeroing_let_go(&same->zeroing);
    else if (!medium_leave_behind(&same->zeroing.medium, same->buffer))
        return; /* slice_is_written() comes */
    give_back(command, same);
}
