#include "target/scsi/opcodes.h"

#include "target/scsi/handlers.h"
#include "target/scsi/scsi_target.h"

/* Without a reservation class the bit-field has a negative width, and the row does not compile. */
#define CLASS(class) ((class) + 0 * (int)sizeof(struct { int class_is_given : (class) ? 1 : -1; }))

#define NO_SA  OPCODE_NO_SA
#define UNIT   NEEDS_UNIT
#define LOADED (NEEDS_UNIT | NEEDS_LOADED)
#define MEDIUM (LOADED | NEEDS_MEDIUM)
#define WRITES (MEDIUM | NEEDS_WRITE)

/* clang-format off */
#define FF2 0xff, 0xff
#define FF4 FF2, FF2
#define FF8 FF4, FF4
#define GROUP 0x1f /* GROUP NUMBER may be anything: no grouping function, SBC-3 4.20 */
#define READ_STEPS   .in_resume = sbc_read_resume, .let_go = sbc_read_let_go
#define WRITE_STEPS  .out = sbc_write_out, .let_go = sbc_write_let_go
#define VERIFY_STEPS .out = sbc_verify_out, .let_go = sbc_verify_let_go
#define UPDATE_STEPS .out = sbc_update_out, .let_go = sbc_update_let_go
#define CAW_STEPS    .out = sbc_compare_and_write_out, .let_go = sbc_compare_and_write_let_go
#define ATOMIC_STEPS .out = sbc_write_atomic_out, .let_go = sbc_write_atomic_let_go
#define SAME_STEPS   .out = sbc_write_same_out, .let_go = sbc_write_same_let_go
#define UNMAP_STEPS  .out = sbc_unmap_out, .let_go = sbc_unmap_let_go
#define ERASE_STEPS  .let_go = sbc_sanitize_let_go
#define OVERWR_STEPS .out = sbc_sanitize_overwrite_out, .let_go = sbc_sanitize_let_go
#define FETCH_STEPS  .let_go = sbc_prefetch_let_go
#define STATUS_STEPS .let_go = sbc_get_lba_status_let_go
#define LOG_STEPS    .let_go = spc_log_sense_let_go
#define STOP_STEPS   .let_go = sbc_start_stop_let_go
#define SYNC_STEPS   .let_go = sbc_synchronize_cache_let_go
#define SELECT_STEPS .out = spc_mode_select_out
#define RESERVE_STEPS .let_go = spc_reserve_let_go
#define PERSISTENT_STEPS                                                                          \
    .out = spc_persistent_reserve_out_list, .let_go = spc_persistent_reserve_let_go
#define COPY_STEPS   .out = spc_extended_copy_list, .let_go = spc_extended_copy_let_go
#define ONE_STEP     .out = NULL

#define ROW(op, sa, title, handler, data, range, rsv, ua, needed, len, steps, ...)  \
    { .opcode = (op), .service_action = (sa), .name = (title), .run = (handler),    \
      .direction = (data), .lba = (range), .reservation = CLASS(rsv),               \
      .unit_attention = (ua), .needs = (needed), .cdb_len = (len), steps,           \
      .usage = { (op), __VA_ARGS__ } }

const struct opcode_row opcode_table[] = {
/*  ROW(op,   sa,    name,
        run                          data       range     reservation  unit attn  needs   len steps         cdb usage from byte 1 */
    ROW(0x00, NO_SA, "TEST UNIT READY",
        spc_test_unit_ready,         DATA_NONE, LBA_NONE, RSV_CONTROL, UA_REPORT, MEDIUM, 6,  ONE_STEP,     0, 0, 0, 0, 0),
    ROW(0x03, NO_SA, "REQUEST SENSE",
        spc_request_sense,           DATA_IN,   LBA_NONE, RSV_ALLOWED, UA_TELL,   0,      6,  ONE_STEP,     0x01, 0, 0, 0xff, 0),
    ROW(0x08, NO_SA, "READ(6)",
        sbc_read,                    DATA_IN,   LBA_6,    RSV_READS,   UA_REPORT, MEDIUM, 6,  READ_STEPS,   0x1f, FF2, 0xff, 0),
    ROW(0x0a, NO_SA, "WRITE(6)",
        sbc_write,                   DATA_OUT,  LBA_6,    RSV_WRITES,  UA_REPORT, WRITES, 6,  WRITE_STEPS,  0x1f, FF2, 0xff, 0),
    ROW(0x12, NO_SA, "INQUIRY",
        spc_inquiry,                 DATA_IN,   LBA_NONE, RSV_ALLOWED, UA_KEEP,   0,      6,  ONE_STEP,     0x01, 0xff, FF2, 0),
    ROW(0x15, NO_SA, "MODE SELECT(6)",
        spc_mode_select,             DATA_OUT,  LBA_NONE, RSV_WRITES,  UA_REPORT, UNIT,   6,  SELECT_STEPS, 0x10, 0, 0, 0xff, 0),
    ROW(0x16, NO_SA, "RESERVE(6)",
        spc_reserve,                 DATA_NONE, LBA_NONE, RSV_RESERVE, UA_REPORT, UNIT,   6,  RESERVE_STEPS, 0, 0xff, FF2, 0),
    ROW(0x17, NO_SA, "RELEASE(6)",
        spc_release,                 DATA_NONE, LBA_NONE, RSV_RELEASE, UA_REPORT, UNIT,   6,  ONE_STEP,     0, 0xff, 0, 0, 0),
    ROW(0x1a, NO_SA, "MODE SENSE(6)",
        spc_mode_sense,              DATA_IN,   LBA_NONE, RSV_READS,   UA_REPORT, UNIT,   6,  ONE_STEP,     0x08, FF2, 0xff, 0),
    ROW(0x1b, NO_SA, "START STOP UNIT",
        sbc_start_stop,              DATA_NONE, LBA_NONE, RSV_START_STOP, UA_REPORT, UNIT,   6,  STOP_STEPS,   0x01, 0, 0, 0xf7, 0),
    ROW(0x1e, NO_SA, "PREVENT ALLOW MEDIUM REMOVAL",
        sbc_prevent_allow,           DATA_NONE, LBA_NONE, RSV_PREVENT, UA_REPORT, UNIT,   6,  ONE_STEP,     0, 0, 0, 0x01, 0),
    ROW(0x25, NO_SA, "READ CAPACITY(10)",
        sbc_read_capacity_10,        DATA_IN,   LBA_NONE, RSV_ALLOWED, UA_REPORT, LOADED, 10, ONE_STEP,     0, 0, 0, 0, 0, 0, 0, 0, 0),
    ROW(0x28, NO_SA, "READ(10)",
        sbc_read,                    DATA_IN,   LBA_10,   RSV_READS,   UA_REPORT, MEDIUM, 10, READ_STEPS,   0x1a, FF4, GROUP, FF2, 0),
    ROW(0x2a, NO_SA, "WRITE(10)",
        sbc_write,                   DATA_OUT,  LBA_10,   RSV_WRITES,  UA_REPORT, WRITES, 10, WRITE_STEPS,  0x1a, FF4, GROUP, FF2, 0),
    ROW(0x2e, NO_SA, "WRITE AND VERIFY(10)",
        sbc_write_and_verify,        DATA_OUT,  LBA_10,   RSV_WRITES,  UA_REPORT, WRITES, 10, UPDATE_STEPS, 0x12, FF4, GROUP, FF2, 0),
    ROW(0x2f, NO_SA, "VERIFY(10)",
        sbc_verify,                  DATA_OUT,  LBA_10,   RSV_READS,   UA_REPORT, MEDIUM, 10, VERIFY_STEPS, 0x16, FF4, GROUP, FF2, 0),
    ROW(0x34, NO_SA, "PRE-FETCH(10)",
        sbc_prefetch,                DATA_NONE, LBA_10,   RSV_READS,   UA_REPORT, MEDIUM, 10, FETCH_STEPS,  0x02, FF4, GROUP, FF2, 0),
    ROW(0x35, NO_SA, "SYNCHRONIZE CACHE(10)",
        sbc_synchronize_cache,       DATA_NONE, LBA_10,   RSV_WRITES,  UA_REPORT, MEDIUM, 10, SYNC_STEPS,   0x06, FF4, GROUP, FF2, 0),
    ROW(0x37, NO_SA, "READ DEFECT DATA(10)",
        sbc_read_defect_data_10,     DATA_IN,   LBA_NONE, RSV_READS,   UA_REPORT, MEDIUM, 10, ONE_STEP,     0, 0x1f, 0, 0, 0, 0, FF2, 0),
    ROW(0x41, NO_SA, "WRITE SAME(10)",
        sbc_write_same,              DATA_OUT,  LBA_10_SAME, RSV_WRITES, UA_REPORT, WRITES | NEEDS_VAAI, 10, SAME_STEPS, 0x08, FF4, GROUP, FF2, 0),
    ROW(0x42, NO_SA, "UNMAP",
        sbc_unmap,                   DATA_OUT,  LBA_NONE, RSV_WRITES,  UA_REPORT, WRITES | NEEDS_VAAI, 10, UNMAP_STEPS, 0, 0, 0, 0, 0, GROUP, FF2, 0),
    ROW(0x48, 0x01,  "SANITIZE (OVERWRITE)",
        sbc_sanitize_overwrite,      DATA_OUT,  LBA_NONE, RSV_WRITES,  UA_REPORT, WRITES | NEEDS_VAAI, 10, OVERWR_STEPS, 0xa1, 0, 0, 0, 0, 0, FF2, 0),
    ROW(0x48, 0x02,  "SANITIZE (BLOCK ERASE)",
        sbc_sanitize_block_erase,    DATA_NONE, LBA_NONE, RSV_WRITES,  UA_REPORT, WRITES | NEEDS_VAAI, 10, ERASE_STEPS, 0xa2, 0, 0, 0, 0, 0, 0, 0, 0),
    ROW(0x48, 0x1f,  "SANITIZE (EXIT FAILURE MODE)",
        sbc_sanitize_exit_failure_mode, DATA_NONE, LBA_NONE, RSV_WRITES, UA_REPORT, WRITES | NEEDS_VAAI, 10, ONE_STEP, 0xbf, 0, 0, 0, 0, 0, 0, 0, 0),
    ROW(0x4d, NO_SA, "LOG SENSE",
        spc_log_sense,               DATA_IN,   LBA_NONE, RSV_ALLOWED, UA_REPORT, UNIT,   10, LOG_STEPS,    0, FF2, 0, FF2, FF2, 0),
    ROW(0x55, NO_SA, "MODE SELECT(10)",
        spc_mode_select,             DATA_OUT,  LBA_NONE, RSV_WRITES,  UA_REPORT, UNIT,   10, SELECT_STEPS, 0x10, 0, 0, 0, 0, 0, FF2, 0),
    ROW(0x56, NO_SA, "RESERVE(10)",
        spc_reserve,                 DATA_NONE, LBA_NONE, RSV_RESERVE, UA_REPORT, UNIT,   10, RESERVE_STEPS, 0, FF2, 0, 0, 0, 0, 0, 0),
    ROW(0x57, NO_SA, "RELEASE(10)",
        spc_release,                 DATA_NONE, LBA_NONE, RSV_RELEASE, UA_REPORT, UNIT,   10, ONE_STEP,     0, FF2, 0, 0, 0, 0, 0, 0),
    ROW(0x5a, NO_SA, "MODE SENSE(10)",
        spc_mode_sense,              DATA_IN,   LBA_NONE, RSV_READS,   UA_REPORT, UNIT,   10, ONE_STEP,     0x18, FF2, 0, 0, 0, FF2, 0),
    ROW(0x5e, 0x00,  "PERSISTENT RESERVE IN (READ KEYS)",
        spc_persistent_reserve_in,   DATA_IN,   LBA_NONE, RSV_PERSISTENT, UA_REPORT, UNIT, 10, ONE_STEP,    0x00, 0, 0, 0, 0, 0, FF2, 0),
    ROW(0x5e, 0x01,  "PERSISTENT RESERVE IN (READ RESERVATION)",
        spc_persistent_reserve_in,   DATA_IN,   LBA_NONE, RSV_PERSISTENT, UA_REPORT, UNIT, 10, ONE_STEP,    0x01, 0, 0, 0, 0, 0, FF2, 0),
    ROW(0x5e, 0x02,  "PERSISTENT RESERVE IN (REPORT CAPABILITIES)",
        spc_persistent_reserve_in,   DATA_IN,   LBA_NONE, RSV_PERSISTENT, UA_REPORT, UNIT, 10, ONE_STEP,    0x02, 0, 0, 0, 0, 0, FF2, 0),
    ROW(0x5e, 0x03,  "PERSISTENT RESERVE IN (READ FULL STATUS)",
        spc_persistent_reserve_in,   DATA_IN,   LBA_NONE, RSV_PERSISTENT, UA_REPORT, UNIT, 10, ONE_STEP,    0x03, 0, 0, 0, 0, 0, FF2, 0),
    ROW(0x5f, 0x00,  "PERSISTENT RESERVE OUT (REGISTER)",
        spc_persistent_reserve_out,  DATA_OUT,  LBA_NONE, RSV_PERSISTENT, UA_REPORT, UNIT, 10, PERSISTENT_STEPS, 0x00, 0xff, 0, 0, FF4, 0),
    ROW(0x5f, 0x01,  "PERSISTENT RESERVE OUT (RESERVE)",
        spc_persistent_reserve_out,  DATA_OUT,  LBA_NONE, RSV_PERSISTENT, UA_REPORT, UNIT, 10, PERSISTENT_STEPS, 0x01, 0xff, 0, 0, FF4, 0),
    ROW(0x5f, 0x02,  "PERSISTENT RESERVE OUT (RELEASE)",
        spc_persistent_reserve_out,  DATA_OUT,  LBA_NONE, RSV_PERSISTENT, UA_REPORT, UNIT, 10, PERSISTENT_STEPS, 0x02, 0xff, 0, 0, FF4, 0),
    ROW(0x5f, 0x03,  "PERSISTENT RESERVE OUT (CLEAR)",
        spc_persistent_reserve_out,  DATA_OUT,  LBA_NONE, RSV_PERSISTENT, UA_REPORT, UNIT, 10, PERSISTENT_STEPS, 0x03, 0xff, 0, 0, FF4, 0),
    ROW(0x5f, 0x04,  "PERSISTENT RESERVE OUT (PREEMPT)",
        spc_persistent_reserve_out,  DATA_OUT,  LBA_NONE, RSV_PERSISTENT, UA_REPORT, UNIT, 10, PERSISTENT_STEPS, 0x04, 0xff, 0, 0, FF4, 0),
    ROW(0x5f, 0x05,  "PERSISTENT RESERVE OUT (PREEMPT AND ABORT)",
        spc_persistent_reserve_out,  DATA_OUT,  LBA_NONE, RSV_PERSISTENT, UA_REPORT, UNIT, 10, PERSISTENT_STEPS, 0x05, 0xff, 0, 0, FF4, 0),
    ROW(0x5f, 0x06,  "PERSISTENT RESERVE OUT (REGISTER AND IGNORE EXISTING KEY)",
        spc_persistent_reserve_out,  DATA_OUT,  LBA_NONE, RSV_PERSISTENT, UA_REPORT, UNIT, 10, PERSISTENT_STEPS, 0x06, 0xff, 0, 0, FF4, 0),
    ROW(0x5f, 0x07,  "PERSISTENT RESERVE OUT (REGISTER AND MOVE)",
        spc_persistent_reserve_out,  DATA_OUT,  LBA_NONE, RSV_PERSISTENT, UA_REPORT, UNIT, 10, PERSISTENT_STEPS, 0x07, 0xff, 0, 0, FF4, 0),
    ROW(0x83, 0x00,  "EXTENDED COPY(LID1)",
        spc_extended_copy,           DATA_OUT,  LBA_NONE, RSV_WRITES,  UA_REPORT, UNIT | NEEDS_VAAI, 16, COPY_STEPS, 0, 0, 0, 0, 0, 0, 0, 0, 0, FF4, 0, 0),
    ROW(0x84, 0x00,  "RECEIVE COPY STATUS(LID1)",
        spc_receive_copy_status,     DATA_IN,   LBA_NONE, RSV_WRITES,  UA_REPORT, UNIT | NEEDS_VAAI, 16, ONE_STEP, 0, 0xff, 0, 0, 0, 0, 0, 0, 0, FF4, 0, 0),
    ROW(0x84, 0x03,  "RECEIVE COPY OPERATING PARAMETERS",
        spc_receive_copy_operating_parameters, DATA_IN, LBA_NONE, RSV_WRITES, UA_REPORT, UNIT | NEEDS_VAAI, 16, ONE_STEP, 0x03, 0xff, 0, 0, 0, 0, 0, 0, 0, FF4, 0, 0),
    ROW(0x84, 0x04,  "RECEIVE COPY FAILURE DETAILS(LID1)",
        spc_receive_copy_failure_details, DATA_IN, LBA_NONE, RSV_WRITES, UA_REPORT, UNIT | NEEDS_VAAI, 16, ONE_STEP, 0x04, 0xff, 0, 0, 0, 0, 0, 0, 0, FF4, 0, 0),
    ROW(0x88, NO_SA, "READ(16)",
        sbc_read,                    DATA_IN,   LBA_16,   RSV_READS,   UA_REPORT, MEDIUM, 16, READ_STEPS,   0x1a, FF8, FF4, GROUP, 0),
    ROW(0x89, NO_SA, "COMPARE AND WRITE",
        sbc_compare_and_write,       DATA_OUT,  LBA_CAW,  RSV_WRITES,  UA_REPORT, WRITES | NEEDS_VAAI, 16, CAW_STEPS, 0x1a, FF8, 0, 0, 0, 0xff, GROUP, 0),
    ROW(0x8a, NO_SA, "WRITE(16)",
        sbc_write,                   DATA_OUT,  LBA_16,   RSV_WRITES,  UA_REPORT, WRITES, 16, WRITE_STEPS,  0x1a, FF8, FF4, GROUP, 0),
    ROW(0x8b, NO_SA, "ORWRITE(16)",
        sbc_orwrite,                 DATA_OUT,  LBA_16,   RSV_WRITES,  UA_REPORT, WRITES, 16, UPDATE_STEPS, 0x1a, FF8, FF4, GROUP, 0),
    ROW(0x8e, NO_SA, "WRITE AND VERIFY(16)",
        sbc_write_and_verify,        DATA_OUT,  LBA_16,   RSV_WRITES,  UA_REPORT, WRITES, 16, UPDATE_STEPS, 0x12, FF8, FF4, GROUP, 0),
    ROW(0x8f, NO_SA, "VERIFY(16)",
        sbc_verify,                  DATA_OUT,  LBA_16,   RSV_READS,   UA_REPORT, MEDIUM, 16, VERIFY_STEPS, 0x16, FF8, FF4, GROUP, 0),
    ROW(0x90, NO_SA, "PRE-FETCH(16)",
        sbc_prefetch,                DATA_NONE, LBA_16,   RSV_READS,   UA_REPORT, MEDIUM, 16, FETCH_STEPS,  0x02, FF8, FF4, GROUP, 0),
    ROW(0x91, NO_SA, "SYNCHRONIZE CACHE(16)",
        sbc_synchronize_cache,       DATA_NONE, LBA_16,   RSV_WRITES,  UA_REPORT, MEDIUM, 16, SYNC_STEPS,   0x06, FF8, FF4, GROUP, 0),
    ROW(0x93, NO_SA, "WRITE SAME(16)",
        sbc_write_same,              DATA_OUT,  LBA_16_SAME, RSV_WRITES, UA_REPORT, WRITES | NEEDS_VAAI, 16, SAME_STEPS, 0x09, FF8, FF4, GROUP, 0),
    ROW(0x9c, NO_SA, "WRITE ATOMIC(16)",
        sbc_write_atomic,            DATA_OUT,  LBA_ATOMIC, RSV_WRITES, UA_REPORT, WRITES, 16, ATOMIC_STEPS, 0x18, FF8, 0, 0, FF2, GROUP, 0),
    ROW(0x9e, 0x10,  "READ CAPACITY(16)",
        sbc_read_capacity_16,        DATA_IN,   LBA_NONE, RSV_ALLOWED, UA_REPORT, LOADED, 16, ONE_STEP,     0x10, 0, 0, 0, 0, 0, 0, 0, 0, FF4, 0, 0),
    ROW(0x9e, 0x12,  "GET LBA STATUS",
        sbc_get_lba_status,          DATA_IN,   LBA_NONE, RSV_READS,   UA_REPORT, MEDIUM | NEEDS_VAAI, 16, STATUS_STEPS, 0x12, FF8, FF4, 0, 0),
    ROW(0xa0, NO_SA, "REPORT LUNS",
        spc_report_luns,             DATA_IN,   LBA_NONE, RSV_ALLOWED, UA_KEEP,   0,      12, ONE_STEP,     0, 0xff, 0, 0, 0, FF4, 0, 0),
    ROW(0xa3, 0x0a,  "REPORT TARGET PORT GROUPS",
        spc_report_port_groups,      DATA_IN,   LBA_NONE, RSV_ALLOWED, UA_REPORT, UNIT | NEEDS_ALUA, 12, ONE_STEP, 0xea, 0, 0, 0, 0, FF4, 0, 0),
    ROW(0xa3, 0x0c,  "REPORT SUPPORTED OPERATION CODES",
        spc_report_opcodes,          DATA_IN,   LBA_NONE, RSV_REPORTS, UA_REPORT, UNIT,   12, ONE_STEP,     0x0c, 0x87, 0xff, FF2, FF4, 0, 0),
    ROW(0xa3, 0x0d,  "REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS",
        spc_report_task_management,  DATA_IN,   LBA_NONE, RSV_REPORTS, UA_REPORT, UNIT,   12, ONE_STEP,     0x0d, 0x80, 0, 0, 0, FF4, 0, 0),
    ROW(0xa8, NO_SA, "READ(12)",
        sbc_read,                    DATA_IN,   LBA_12,   RSV_READS,   UA_REPORT, MEDIUM, 12, READ_STEPS,   0x1a, FF4, FF4, GROUP, 0),
    ROW(0xaa, NO_SA, "WRITE(12)",
        sbc_write,                   DATA_OUT,  LBA_12,   RSV_WRITES,  UA_REPORT, WRITES, 12, WRITE_STEPS,  0x1a, FF4, FF4, GROUP, 0),
    ROW(0xae, NO_SA, "WRITE AND VERIFY(12)",
        sbc_write_and_verify,        DATA_OUT,  LBA_12,   RSV_WRITES,  UA_REPORT, WRITES, 12, UPDATE_STEPS, 0x12, FF4, FF4, GROUP, 0),
    ROW(0xaf, NO_SA, "VERIFY(12)",
        sbc_verify,                  DATA_OUT,  LBA_12,   RSV_READS,   UA_REPORT, MEDIUM, 12, VERIFY_STEPS, 0x16, FF4, FF4, GROUP, 0),
    ROW(0xb7, NO_SA, "READ DEFECT DATA(12)",
        sbc_read_defect_data_12,     DATA_IN,   LBA_NONE, RSV_READS,   UA_REPORT, MEDIUM, 12, ONE_STEP,     0x1f, FF4, FF4, 0, 0),
};
/* clang-format on */

const unsigned opcode_count = sizeof opcode_table / sizeof *opcode_table;

/* Where an opcode's rows begin, counted from 1; 0: it has none. */
static uint8_t first_row[256];
_Static_assert(sizeof opcode_table / sizeof *opcode_table < 256, "a row's number fits a byte");

/* Before main(), so that every command finds its row by one look and no thread sees it half made.
 */
__attribute__((constructor)) static void index_rows(void)
{
    for (unsigned i = opcode_count; i > 0; i--)
        first_row[opcode_table[i - 1].opcode] = (uint8_t)i;
}

/* The rows of one opcode stand together: the first, and from there the next; NULL: no more. */
static const struct opcode_row *row_of(uint8_t opcode)
{
    return first_row[opcode] ? opcode_table + first_row[opcode] - 1 : NULL;
}

static const struct opcode_row *next_row_of(const struct opcode_row *row)
{
    const struct opcode_row *next = row + 1;

    return next < opcode_table + opcode_count && next->opcode == row->opcode ? next : NULL;
}

const struct opcode_row *opcode_find(const uint8_t *cdb, bool *known_opcode)
{
    const struct opcode_row *row = row_of(cdb[0]);

    *known_opcode = row != NULL;
    for (; row; row = next_row_of(row)) {
        if (row->service_action == OPCODE_NO_SA || row->service_action == (cdb[1] & 0x1f))
            return row;
    }
    return NULL;
}

bool opcode_is_served(const struct opcode_row *row, const struct command *command)
{
    if (row->needs & NEEDS_VAAI && !command->lu->identity.vaai)
        return false;
    return !(row->needs & NEEDS_ALUA) || command->nexus->target->has_alua;
}

bool opcode_exists(uint8_t opcode, int service_action)
{
    for (const struct opcode_row *row = row_of(opcode); row; row = next_row_of(row)) {
        if (row->service_action == service_action)
            return true;
    }
    return false;
}

bool opcode_is_one_command(uint8_t opcode)
{
    enum { SANITIZE = 0x48, PERSISTENT_RESERVE_IN = 0x5e, PERSISTENT_RESERVE_OUT = 0x5f };

    return opcode == SANITIZE || opcode == PERSISTENT_RESERVE_IN ||
           opcode == PERSISTENT_RESERVE_OUT;
}

enum reservation_class opcode_reservation(const struct opcode_row *row, const uint8_t *cdb)
{
    enum { START = 0x01, PREVENT = 0x03 };

    switch (row->reservation) {
    case RSV_START_STOP: return cdb[4] & START ? RSV_ALLOWED : RSV_WRITES;
    case RSV_PREVENT: return cdb[4] & PREVENT ? RSV_WRITES : RSV_ALLOWED;
    default: return row->reservation;
    }
}

bool opcode_range(const struct opcode_row *row, const uint8_t *cdb, struct cdb_range *range)
{
    static const enum cdb_format formats[] = {
        [LBA_6] = CDB_FORMAT_6,        [LBA_10] = CDB_FORMAT_10,
        [LBA_12] = CDB_FORMAT_12,      [LBA_16] = CDB_FORMAT_16,
        [LBA_CAW] = CDB_FORMAT_CAW,    [LBA_10_SAME] = CDB_FORMAT_10,
        [LBA_16_SAME] = CDB_FORMAT_16, [LBA_ATOMIC] = CDB_FORMAT_ATOMIC,
    };

    if (row->lba == LBA_NONE)
        return false;
    *range = cdb_range(formats[row->lba], cdb);
    return true;
}

/* Two words tell that a CDB has no stray bit, as nearly all have none. */
static bool may_have_stray_bit(const struct opcode_row *row, const uint8_t cdb[CDB_BYTES])
{
    uint64_t bits[2], usage[2];

    _Static_assert(sizeof bits == CDB_BYTES && sizeof usage == sizeof row->usage,
                   "two words are all of it");
    memcpy(bits, cdb, sizeof bits);
    memcpy(usage, row->usage, sizeof usage);
    return ((bits[0] & ~usage[0]) | (bits[1] & ~usage[1])) != 0;
}

int opcode_stray_byte(const struct opcode_row *row, const uint8_t cdb[CDB_BYTES])
{
    if (!may_have_stray_bit(row, cdb))
        return -1;
    for (int i = 1; i < row->cdb_len; i++) {
        unsigned allowed = row->usage[i];

        /* SCSI-2 has the LUN in these bits of a 6-byte CDB, and ESX 3 puts it there until it has
         * seen the INQUIRY data; it says nothing that the transport has not said. */
        if (i == 1 && row->cdb_len == 6)
            allowed |= 0xe0;
        if (cdb[i] & ~allowed)
            return i;
    }
    return -1;
}
