/*
 * removal: the medium of a removable unit: is it in, and who keeps it there?
 *
 * Whether it is in is the unit's, the same for all nexuses, until the daemon ends. Each I_T nexus
 * prevents removal on its own (PREVENT ALLOW MEDIUM REMOVAL), and one is enough; what it prevents
 * stands in its itl, so that it goes with the nexus. The calls take the LU's mutex.
 */
#pragma once

#include "proto/sense.h"

#include <stdbool.h>

struct itl;
struct lu;
struct nexus;

void removal_prevent(struct itl *itl, bool prevents);

/* A reset: nobody prevents it any more. */
void removal_allow_all(struct lu *lu);

bool removal_is_prevented(struct lu *lu);

/*
 * The medium goes out, or in. SENSE_NONE (also where it is there already), or
 * SENSE_MEDIUM_REMOVAL_PREVENTED and it stays where it is: what is locked neither opens nor closes.
 * The other nexuses are told of a medium that has come in.
 */
enum sense_code removal_eject(struct lu *lu);
enum sense_code removal_load(struct lu *lu, const struct nexus *by);
