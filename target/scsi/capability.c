#include "target/scsi/capability.h"

#include "target/scsi/opcodes.h"

enum { UNMAP = 0x42 };

bool capability_has(const struct lu *lu, uint8_t opcode, int service_action)
{
    return lu->identity.vaai && opcode_exists(opcode, service_action);
}

bool capability_is_thin(const struct lu *lu)
{
    return capability_has(lu, UNMAP, OPCODE_NO_SA);
}
