/*
 * scsi_target: a SCSI target device: a name and the logical units that it shows to whom.
 *
 * The LUN map is immutable. A change makes a new one and tells every worker; each worker moves its
 * nexuses to it between two commands, so that looking up a LUN takes no lock.
 */
#pragma once

#include "target/scsi/drain.h"
#include "target/scsi/lu.h"

enum { LUN_MAX = 16383 }; /* flat space addressing, SAM-5 4.7.7.3 */

struct lun_entry {
    uint16_t lun;
    struct lu *lu;
    char **initiators; /* who may see it: patterns, NULL-terminated; NULL: everybody. The map's own,
                        * list and patterns from malloc() */
};

struct lun_map {
    _Atomic unsigned refs;
    struct map_change *retired_by; /* is told when the last reference is gone */
    unsigned count;
    struct lun_entry entries[]; /* ascending by lun */
};

struct scsi_target {
    char name[INITIATOR_NAME_MAX + 1];
    _Atomic bool has_alua; /* tells of its port group (SPC-4 5.16.3) */
    struct workers *workers;
    struct lun_map *map;   /* the main thread's newest; workers use their nexus's */
    pthread_mutex_t mutex; /* guards `map` against nexuses that are being opened */
};

/* An empty map with room for `count` entries for the caller to fill; refs = 1. NULL: no memory. */
struct lun_map *lun_map_create(unsigned count);
struct lun_map *lun_map_get(struct lun_map *map);
void lun_map_put(struct lun_map *map);

/* '*' and '?' as in file names; a pattern without them is the whole name. Case does not matter. */
bool initiator_matches(const char *pattern, const char *initiator_name);
bool lun_is_visible(const struct lun_entry *entry, const char *initiator_name);

int scsi_target_open(struct scsi_target *target, const char *name, struct workers *workers);
void scsi_target_close(struct scsi_target *target); /* no nexus is left */

/* The newest map, with a reference for the caller. From any thread. */
struct lun_map *scsi_target_map_get(struct scsi_target *target);

/*
 * From the main thread: tells of the port group from now on, or does no longer. Raises INQUIRY DATA
 * HAS CHANGED on its units when that is new.
 */
void scsi_target_set_alua(struct scsi_target *target, bool has_alua);

/*
 * From the main thread: takes over `map`, moves every nexus to it, aborts what runs on LUNs that
 * are gone, raises REPORTED LUNS DATA HAS CHANGED on what each nexus still sees. done() runs on the
 * main thread when no worker uses the old map or any LU that is only in it; they may be closed
 * then. A unit that has another LUN in the new map, or is hidden from an initiator there, is gone
 * as well.
 */
struct map_change {
    /* filled by the caller */
    struct scsi_target *target;
    struct mailbox *home;
    void (*done)(struct map_change *change);
    void *context;
    /* this room's own */
    struct lun_map *old, *map;
    struct broadcast broadcast;
    struct drain drain;
    struct message retired;
};
void scsi_target_set_map(struct map_change *change, struct lun_map *map);
