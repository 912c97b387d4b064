/*
 * capability: what a unit can do beyond the core, told by INQUIRY, READ CAPACITY(16) and the
 * limits.
 *
 * A feature is there when its opcode has a row and the unit's identity has the capability set, so
 * nothing is told that a command would then refuse.
 */
#pragma once

#include "target/scsi/lu.h"

/* Has the unit this opcode of the capability set? service_action: OPCODE_NO_SA when it has none. */
bool capability_has(const struct lu *lu, uint8_t opcode, int service_action);

/* Can space be given back? Then it is a thin provisioned unit (SBC-3 4.7.3.3), else a full one. */
bool capability_is_thin(const struct lu *lu);
