/* sbc_unmap: UNMAP, SBC-3 5.28. */
#include "target/scsi/handlers.h"

#include "proto/unmap.h"
#include "target/scsi/limits.h"
#include "target/scsi/zeroing.h"

/* A list is one burst, read where it came to. */
_Static_assert(LIMIT_UNMAP_LIST_BYTES <= LIMIT_CHUNK_BYTES, "an UNMAP list is one burst");

struct unmap {
    struct zeroing zeroing;
    struct unmap_list list;
    struct burst *burst; /* which the list points into */
    uint32_t descriptor; /* the next one */
};

static void give_back(struct command *command, struct unmap *unmap)
{
    if (unmap->burst)
        command->transport->out_done(command, unmap->burst);
    unmap->burst = NULL;
}

static void unmap_next(struct command *command, struct zeroing *zeroing)
{
    struct unmap *unmap = COMMAND_SCRATCH(command, struct unmap);
    uint8_t shift = command->lu->block_shift;

    while (unmap->descriptor < unmap->list.count) {
        struct unmap_range range = unmap_range(&unmap->list, unmap->descriptor++);
        if (range.blocks > 0)
            return zeroing_start(zeroing, range.lba << shift, (uint64_t)range.blocks << shift,
                                 unmap_next);
    }
    zeroing_finish(zeroing);
}

void sbc_unmap(struct command *command)
{
    struct unmap *unmap = COMMAND_SCRATCH(command, struct unmap);
    uint32_t list_bytes = get_be16(command->cdb + 7);

    zeroing_open(&unmap->zeroing, command);
    unmap->burst = NULL;
    unmap->descriptor = 0;
    command->transfer_bytes = list_bytes;
    if (list_bytes == 0) /* SBC-3 5.28.1: no error */
        return command_good(command);
    if (list_bytes < UNMAP_HEADER_BYTES || command->expected_out_bytes < UNMAP_HEADER_BYTES)
        return command_refuse(command, SENSE_PARAMETER_LIST_LENGTH_ERROR,
                              "an UNMAP list shorter than its header");
    /* What is longer than the longest good list is not good whatever it says. */
    if (list_bytes > LIMIT_UNMAP_LIST_BYTES)
        return command_refuse_field(command, SENSE_INVALID_FIELD_IN_PARAMETER_LIST, false, 2,
                                    "more than MAXIMUM UNMAP BLOCK DESCRIPTOR COUNT");
    if (list_bytes > command->expected_out_bytes)
        list_bytes = command->expected_out_bytes;
    command->transport->out_want(command, list_bytes, list_bytes);
}

static const char *reason(enum sense_code code)
{
    switch (code) {
    case SENSE_LBA_OUT_OF_RANGE: return "an UNMAP descriptor reaches beyond the last block";
    case SENSE_PARAMETER_LIST_LENGTH_ERROR: return "the UNMAP list is cut short";
    default: return "more than UNMAP's limits, or lengths that contradict each other";
    }
}

void sbc_unmap_out(struct command *command, struct burst *burst)
{
    struct unmap *unmap = COMMAND_SCRATCH(command, struct unmap);
    const struct lu *lu = command->lu;
    const struct unmap_limits limits = {
        .unit_blocks = atomic_load_explicit(&lu->blocks, memory_order_relaxed),
        .descriptors_max = LIMIT_UNMAP_DESCRIPTORS,
    };
    enum sense_code code;
    uint16_t byte;

    unmap->burst = burst;
    if (!burst->buffer) {
        int error = command->transport->out_keep(command, burst);
        if (error)
            return command_refuse_errno(command, error);
    }
    code = unmap_parse(burst->data, burst->bytes, &limits, &unmap->list, &byte);
    if (code == SENSE_INVALID_FIELD_IN_PARAMETER_LIST)
        return command_refuse_field(command, code, false, byte, reason(code));
    if (code != SENSE_NONE)
        return command_refuse(command, code, reason(code));
    unmap_next(command, &unmap->zeroing);
}

void sbc_unmap_let_go(struct command *command)
{
    struct unmap *unmap = COMMAND_SCRATCH(command, struct unmap);

    zeroing_let_go(&unmap->zeroing);
    give_back(command, unmap); /* a slice does not look at the list */
}
