/*
 * persistent_file: registrations and reservations that outlive the daemon (APTPL), a file a unit:
 * state_dir/pr/naa.HEX, named by what never changes about the unit.
 *
 * A file is there while APTPL is in force, whole and with its checksum: it is replaced by one that
 * is on stable storage, or stays as it was. It stays when the LUN is removed, as its identity does
 * beside the image: whoever serves the image again finds the unit as its hosts left it, and
 * nestorctl reservation clear frees it. One that is damaged is never half believed: hosts that rely
 * on their keys would write where they must not.
 *
 * These read and write files: from the main thread while nothing is served, else on the slow lane.
 */
#pragma once

#include "target/scsi/identity.h"
#include "target/scsi/persistent.h"

enum { PERSISTENT_FILE_ERROR_MAX = 512 };

/* "write exclusive, registrants only"; as in the file, and for people. */
const char *persistent_type_name(enum pr_type type);

/* For free(); NULL: no memory. */
char *persistent_file_path(const char *state_dir, const struct identity *identity);

/* Replaces the file, or removes it when `state` is not to be kept. 0 or negative errno. */
int persistent_file_write(const char *path, const struct persistent *state);

/*
 * *out is NULL when there is no file. 0, -EBADMSG (damaged) or another negative errno, said to a
 * person in `error`. No generation is kept: it starts at 0 with the daemon (SPC-4 6.15.2).
 */
int persistent_file_read(const char *path, struct persistent **out,
                         char error[PERSISTENT_FILE_ERROR_MAX]);
