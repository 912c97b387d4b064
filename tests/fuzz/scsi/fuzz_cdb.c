/*
 * Commands with arbitrary CDBs, lengths and data, some aborted in the middle, against one unit.
 * Each must end once, with everything given back and no more Data-In than was expected (the fake
 * transport looks).
 *
 * A record: flags, expected Data-In in 16-byte units (2 bytes), expected Data-Out (2 bytes, the
 * same), the CDB (16 bytes), how much Data-Out follows (1 byte, 16-byte units), that Data-Out;
 * zeros come after it.
 */
#include "target/scsi/removal.h"
#include "tests/unit/scsi/fake_transport.h"
#include "target/worker/log.h"

#include <assert.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    FLAG_ORDERED = 0x01,
    FLAG_OTHER_NEXUS = 0x02,
    FLAG_MISSING_LUN = 0x04,
    FLAG_HELD_BACK = 0x08,
    FLAG_NO_ROOM = 0x10,
    FLAG_ABORT = 0x20,
    FLAG_SOLID = 0x40,
    FLAG_NO_RESERVE = 0x80,
    RECORDS_MAX = 16,
};

static struct rig rig;

static void close_rig(void)
{
    rig_close(&rig);
}

static void open_rig(void)
{
    log_set_level(LOG_LEVEL_ERROR);
    rig_open(&rig, &(struct rig_options){
                       .cache = CACHE_WRITEBACK, .is_removable = true, .has_vaai = true });
    atexit(close_rig);
}

/* What one input leaves behind must not decide what the next one finds. */
static void settle_unit(void)
{
    rig_clear_unit_attentions(&rig);
    reservation_drop_all(rig.lu, NULL, 0);
    free(rig.lu->persistent);
    rig.lu->persistent = NULL;
    reservation_note(rig.lu);
    while (atomic_load(&rig.lu->sanitize.state) == SANITIZE_RUNNING)
        sched_yield();
    atomic_store(&rig.lu->sanitize.state, SANITIZE_IDLE);
    rig.lu->is_stopped = rig.lu->is_ejected = false;
    removal_allow_all(rig.lu);
    rig.lu->has_descriptor_sense = false;
    rig.lu->is_write_protected = false;
}

static void check_answer(const struct fake_task *task, uint32_t in_bytes)
{
    const struct command *answer = &task->answer;

    assert(task->finished == 1);
    if (answer->was_aborted)
        return;
    if (answer->status == STATUS_CHECK_CONDITION)
        assert(answer->sense_len >= 8 && answer->sense_len <= SENSE_BYTES_MAX);
    else
        assert(answer->sense_len == 0);
    if (answer->status == STATUS_GOOD && task->in_bytes > 0)
        assert(task->in_bytes ==
               (answer->transfer_bytes < in_bytes ? answer->transfer_bytes : in_bytes));
}

static void run_record(uint8_t flags, uint32_t in_bytes, uint32_t out_bytes, const uint8_t *cdb,
                       const uint8_t *out)
{
    struct fake_task task;

    fake_task(&task, &rig, cdb, in_bytes, out, out_bytes);
    memcpy(task.command->cdb, cdb, 16);
    task.command->attribute = flags & FLAG_ORDERED ? TASK_ORDERED : TASK_SIMPLE;
    task.command->lun = flags & FLAG_MISSING_LUN ? 9ULL << 48 : 0;
    task.nexus = flags & FLAG_OTHER_NEXUS ? &rig.other : &rig.nexus;
    task.is_held_back = flags & FLAG_HELD_BACK;
    task.is_solid = flags & FLAG_SOLID;
    task.has_no_room = flags & FLAG_NO_ROOM;
    task.has_no_reserve = flags & FLAG_NO_RESERVE;
    fake_start(&task);
    if (flags & FLAG_HELD_BACK)
        fake_send(&task);
    if (flags & FLAG_ABORT && !task.finished)
        command_abort(task.command);
    task.has_no_room = false;
    if (!task.finished)
        command_in_resume(task.command);
    while (fake_send(&task))
        ;
    fake_wait(&task);
    check_answer(&task, in_bytes);
    fake_free(&task);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cursor c = cursor_over(data, size);

    if (!rig.loop)
        open_rig();
    settle_unit();
    for (unsigned i = 0; i < RECORDS_MAX && cursor_left(&c) > 0; i++) {
        uint8_t flags = cursor_u8(&c);
        uint32_t in_bytes = cursor_be16(&c) * 16u;
        uint32_t out_bytes = cursor_be16(&c) * 16u;
        struct slice cdb = cursor_slice(&c, 16);
        uint32_t given = cursor_u8(&c) * 16u;
        struct slice text = cursor_slice(&c, given);
        uint8_t *out;

        if (c.overrun)
            break;
        out = calloc(1, out_bytes + 1);
        assert(out);
        memcpy(out, text.bytes, text.len < out_bytes ? text.len : out_bytes);
        run_record(flags, in_bytes, out_bytes, cdb.bytes, out);
        free(out);
    }
    return 0;
}
