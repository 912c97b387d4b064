/*
 * opcodes: the one table of what the device server does.
 *
 * It drives dispatch, reservation and unit attention checks, the CDB mask and LBA checks, REPORT
 * SUPPORTED OPERATION CODES and statistics names. A row without a reservation class does not
 * compile.
 */
#pragma once

#include "proto/cdb.h"
#include "target/scsi/command.h"
#include "target/scsi/reservation.h"

enum { OPCODE_NO_SA = -1, OPCODE_USAGE_BYTES = 16 };

enum data_direction {
    DATA_NONE,
    DATA_IN,
    DATA_OUT,
};

enum ua_class {
    UA_REPORT, /* a pending unit attention ends the command */
    UA_KEEP,   /* INQUIRY, REPORT LUNS: goes on, the condition stays (SAM-5 5.14) */
    UA_TELL,   /* REQUEST SENSE: the condition is its data */
};

/* Where the CDB has its LBA and length, and that both must lie on the unit (checked before run()).
 */
enum lba_rule {
    LBA_NONE,
    LBA_6,
    LBA_10,
    LBA_12,
    LBA_16,
    LBA_CAW,
    LBA_ATOMIC,
    LBA_10_SAME, /* WRITE SAME: one block comes, however many are written */
    LBA_16_SAME,
};

enum opcode_needs {
    NEEDS_NOTHING = 0,
    NEEDS_VAAI = 1,    /* only on a unit whose identity has the capability set */
    NEEDS_UNIT = 2,    /* a unit must be there; without it 05/25/00 */
    NEEDS_MEDIUM = 4,  /* 02/04/02 while stopped by START STOP UNIT */
    NEEDS_WRITE = 8,   /* 07/27/00 on a read-only unit */
    NEEDS_ALUA = 16,   /* only on a target that tells of port groups */
    NEEDS_LOADED = 32, /* 02/3A/00 while its medium is ejected */
};

struct opcode_row {
    uint8_t opcode;
    int16_t service_action; /* OPCODE_NO_SA: has none */
    const char *name;       /* the standard's: "READ(10)" */
    void (*run)(struct command *command);
    enum data_direction direction;
    enum lba_rule lba;
    enum reservation_class reservation;
    enum ua_class unit_attention;
    unsigned needs;
    uint8_t cdb_len;
    uint8_t usage[OPCODE_USAGE_BYTES]; /* CDB usage data, SPC-4 6.35: a bit not set must be zero */
    void (*out)(struct command *command,
                struct burst *burst);           /* Data-Out has come; DATA_OUT rows */
    void (*in_resume)(struct command *command); /* there is room again; may be NULL */
    /* Called once as the command finishes, however it does, if run() was: stop waiting for gates,
     * give bursts back. io in flight goes on. NULL: nothing to do. */
    void (*let_go)(struct command *command);
};

/* Ascending by opcode, then by service action. */
extern const struct opcode_row opcode_table[];
extern const unsigned opcode_count;

/* The row for this CDB; NULL with *known_opcode telling whether only the service action is unknown.
 */
const struct opcode_row *opcode_find(const uint8_t *cdb, bool *known_opcode);

/* Has the unit that this command is for the row's capabilities? */
bool opcode_is_served(const struct opcode_row *row, const struct command *command);

/* Is there such a row? What INQUIRY and the limits tell of a feature hangs on it. */
bool opcode_exists(uint8_t opcode, int service_action);

/* Are its service actions parts of one command (PERSISTENT RESERVE OUT)? Then one that is unknown
 * is a bad field of the CDB; else each is a command. */
bool opcode_is_one_command(uint8_t opcode);

/* How reservations treat this very CDB: the row's class, but for those that a bit decides. */
enum reservation_class opcode_reservation(const struct opcode_row *row, const uint8_t *cdb);

/* The CDB's range; false for rows that have none. */
bool opcode_range(const struct opcode_row *row, const uint8_t *cdb, struct cdb_range *range);

/* The first CDB byte with a bit set that the usage mask does not allow; -1: none. */
int opcode_stray_byte(const struct opcode_row *row, const uint8_t cdb[CDB_BYTES]);
