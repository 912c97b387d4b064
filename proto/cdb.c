#include "proto/cdb.h"

uint8_t cdb_length(uint8_t opcode)
{
    static const uint8_t lengths[8] = { 6, 10, 10, 0, 16, 12, 0, 0 };

    return lengths[opcode >> 5];
}

struct cdb_range cdb_range(enum cdb_format format, const uint8_t cdb[CDB_BYTES])
{
    switch (format) {
    case CDB_FORMAT_6:
        return (struct cdb_range){
            .lba = get_be24(cdb + 1) & 0x1fffff,
            .blocks = cdb[4] ? cdb[4] : 256,
            .lba_byte = 1,
            .blocks_byte = 4,
        };
    case CDB_FORMAT_10: return (struct cdb_range){ get_be32(cdb + 2), get_be16(cdb + 7), 2, 7 };
    case CDB_FORMAT_12: return (struct cdb_range){ get_be32(cdb + 2), get_be32(cdb + 6), 2, 6 };
    case CDB_FORMAT_16: return (struct cdb_range){ get_be64(cdb + 2), get_be32(cdb + 10), 2, 10 };
    case CDB_FORMAT_CAW: return (struct cdb_range){ get_be64(cdb + 2), cdb[13], 2, 13 };
    case CDB_FORMAT_ATOMIC:
        return (struct cdb_range){ get_be64(cdb + 2), get_be16(cdb + 12), 2, 12 };
    }
    return (struct cdb_range){ 0 };
}
