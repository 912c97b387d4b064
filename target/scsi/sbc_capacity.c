/* sbc_capacity: READ CAPACITY(10) and (16), SBC-3 5.15 and 5.16. */
#include "target/scsi/handlers.h"

#include "target/scsi/capability.h"
#include "target/scsi/command.h"

void sbc_read_capacity_10(struct command *command)
{
    uint64_t last = atomic_load_explicit(&command->lu->blocks, memory_order_relaxed) - 1;
    uint8_t out[8];

    /* FFFFFFFFh says "ask READ CAPACITY(16)", so a unit whose last block has that number says it
     * too. */
    put_be32(out, last > 0xfffffffe ? 0xffffffff : (uint32_t)last);
    put_be32(out + 4, command->lu->block_bytes);
    command_reply(command, out, sizeof out, sizeof out);
}

static uint8_t physical_exponent(const struct identity *identity)
{
    uint8_t exponent = 0;

    for (uint32_t bytes = identity->block_bytes; bytes < identity->physical_block_bytes; bytes *= 2)
        exponent++;
    return exponent;
}

void sbc_read_capacity_16(struct command *command)
{
    const struct lu *lu = command->lu;
    uint8_t out[32] = { 0 };

    put_be64(out, atomic_load_explicit(&lu->blocks, memory_order_relaxed) - 1);
    put_be32(out + 8, lu->block_bytes);
    out[13] = physical_exponent(&lu->identity);
    if (capability_is_thin(lu))
        out[14] = 0xc0; /* LBPME, LBPRZ: a hole of a sparse file reads as zeros */
    command_reply(command, out, sizeof out, get_be32(command->cdb + 10));
}
