#include "tests/bench/session.h"
#include "proto/crc32c.h"
#include "tests/bench/bench.h"
#include "tests/bench/stamp.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SECTOR_BYTES = 512,
    DATA_AT = 64, /* room for a header with its digest, and aligned */
    ERRORS_SHOWN = 5,
    ERRORS_MAX = 1000,

    FINAL = 0x80,
    READ_BIT = 0x40,
    WRITE_BIT = 0x20,
    HAS_STATUS = 0x01,
    RESIDUALS = 0x06,
    IMMEDIATE = 0x40,

    OP_READ_16 = 0x88,
    OP_COMPARE_AND_WRITE = 0x89,
    OP_WRITE_16 = 0x8a,
    SENSE_MISCOMPARE = 0xe,

    NOT_DELIVERED = 0x100, /* beside the SCSI status, for the message */
    HAD_RESIDUALS = 0x200,
};

atomic_int phase;
_Atomic uint64_t measuring_since_ns;

struct data_out {
    uint8_t header[BHS_BYTES + DIGEST_BYTES], digest[DIGEST_BYTES];
};

struct task {
    uint64_t began_ns, block;
    uint32_t bytes, got; /* expected, and received, or asked for and sent */
    uint32_t generation;
    uint8_t opcode;
    bool is_live, is_write;
    uint8_t *header; /* with its digest, then the data, then the data digest: one piece when sent */
    uint8_t *data;
    uint32_t out_count, out_max;
    struct data_out *outs;
};

static bool is_over(const struct session *session)
{
    return atomic_load_explicit(&phase, memory_order_relaxed) == PHASE_OVER ||
           session->tally->issued >= session->issue_max;
}

static bool keeps_data(const struct session *session)
{
    return session->options->is_verifying || session->options->is_ats;
}

static size_t digest_bytes(bool has_digest)
{
    return has_digest ? DIGEST_BYTES : 0;
}

/* ---- sending ---- */

static void seal_header(const struct session *session, uint8_t *header)
{
    if (session->nexus.has_header_digest)
        crc32c_put(header + BHS_BYTES, crc32c_update(CRC32C_INIT, header, BHS_BYTES));
}

/* A burst of Data-Out PDUs, unsolicited (TAG_RESERVED) or for an R2T. */
static void send_burst(struct session *session, struct task *task, uint32_t transfer_tag,
                       uint32_t offset, uint32_t count)
{
    const size_t header_bytes = BHS_BYTES + digest_bytes(session->nexus.has_header_digest);
    uint32_t data_sn = 0;

    while (count) {
        uint32_t now =
            count < session->nexus.max_segment_bytes ? count : session->nexus.max_segment_bytes;
        struct data_out *out = &task->outs[task->out_count++];

        if (task->out_count > task->out_max)
            fail("the target asks for data in too many pieces");
        memset(out->header, 0, BHS_BYTES);
        out->header[0] = PDU_DATA_OUT;
        out->header[1] = now == count ? FINAL : 0;
        put_be24(out->header + 5, now);
        memcpy(out->header + 8, task->header + 8, LUN_BYTES);
        memcpy(out->header + 16, task->header + 16, 4);
        put_be32(out->header + 20, transfer_tag);
        put_be32(out->header + 28, session->nexus.exp_stat_sn);
        put_be32(out->header + 36, data_sn++);
        put_be32(out->header + 40, offset);
        seal_header(session, out->header);
        stream_push(&session->stream, out->header, header_bytes);
        stream_push(&session->stream, task->data + offset, now);
        if (session->nexus.has_data_digest) {
            crc32c_put(out->digest, crc32c_update(CRC32C_INIT, task->data + offset, now));
            stream_push(&session->stream, out->digest, DIGEST_BYTES);
        }
        offset += now;
        count -= now;
    }
}

/* The command with its immediate data, and what else may go unasked. */
static void send_task(struct session *session, struct task *task)
{
    const struct nexus *nexus = &session->nexus;
    const size_t header_bytes = BHS_BYTES + digest_bytes(nexus->has_header_digest);
    uint32_t immediate = 0, unsolicited = 0;
    size_t piece = header_bytes;

    if (task->is_write) {
        unsolicited =
            task->bytes < nexus->first_burst_bytes ? task->bytes : nexus->first_burst_bytes;
        if (nexus->has_immediate)
            immediate =
                unsolicited < nexus->max_segment_bytes ? unsolicited : nexus->max_segment_bytes;
        if (nexus->has_initial_r2t)
            unsolicited = immediate;
    }
    task->header[1] = (uint8_t)(TASK_SIMPLE | (unsolicited > immediate ? 0 : FINAL) |
                                (task->is_write ? WRITE_BIT : READ_BIT));
    put_be24(task->header + 5, immediate);
    put_be32(task->header + 20, task->bytes);
    put_be32(task->header + 24, session->nexus.cmd_sn++);
    put_be32(task->header + 28, nexus->exp_stat_sn);
    seal_header(session, task->header);
    task->began_ns = now_ns();
    if (immediate) {
        piece += immediate;
        if (nexus->has_data_digest && immediate == task->bytes) {
            crc32c_put(task->data + immediate, crc32c_update(CRC32C_INIT, task->data, immediate));
            piece += DIGEST_BYTES;
        }
    }
    stream_push(&session->stream, task->header, piece);
    if (immediate && nexus->has_data_digest && immediate < task->bytes) {
        uint8_t *digest = task->outs[task->out_count++].digest; /* the data go on behind it */

        crc32c_put(digest, crc32c_update(CRC32C_INIT, task->data, immediate));
        stream_push(&session->stream, digest, DIGEST_BYTES);
    }
    if (unsolicited > immediate)
        send_burst(session, task, TAG_RESERVED, immediate, unsolicited - immediate);
    task->got = task->is_write ? unsolicited : 0;
}

/* ---- what to do next ---- */

static void aim(struct session *session, struct task *task, uint64_t lba, unsigned lun)
{
    memset(task->header + 32, 0, CDB_BYTES);
    task->header[32] = task->opcode;
    lun_put(task->header + 8, lun);
    put_be64(task->header + 34, lba);
    if (task->opcode == OP_COMPARE_AND_WRITE)
        task->header[45] = 1;
    else
        put_be32(task->header + 42, task->bytes / session->lun_block_bytes);
}

/* Who doesn't know what the lock block holds reads it; who does counts it up. */
static void choose_lock(struct session *session, struct task *task)
{
    const uint64_t next = session->count + 1;

    task->opcode = session->knows_count ? OP_COMPARE_AND_WRITE : OP_READ_16;
    task->is_write = session->knows_count;
    task->bytes = session->knows_count ? 2 * SECTOR_BYTES : SECTOR_BYTES;
    if (session->knows_count) {
        memset(task->data, 0, 2 * SECTOR_BYTES);
        memcpy(task->data, &session->count, sizeof(session->count));
        memcpy(task->data + SECTOR_BYTES, &next, sizeof(next));
    }
    aim(session, task, session->lock_lba, session->options->luns[0]);
}

static void stamp_task(struct session *session, struct task *task)
{
    struct region *region = &session->region;

    region->is_busy[task->block] = true;
    task->generation = region->generations[task->block] + task->is_write;
    if (task->is_write)
        stamp_write(task->data, task->bytes, (region->first + task->block) * task->bytes,
                    task->generation);
}

static uint32_t choose_bytes(struct session *session)
{
    const struct options *options = session->options;
    unsigned sizes = 1;

    if (options->block_bytes == options->block_bytes_max)
        return options->block_bytes;
    while (options->block_bytes << sizes <= options->block_bytes_max)
        sizes++;
    return options->block_bytes << random_below(&session->region.seed, sizes);
}

static void choose_block(struct session *session, struct task *task)
{
    const struct options *options = session->options;
    struct region *region = &session->region;
    uint64_t block;

    task->is_write = options->writes && !session->is_sweeping;
    if (task->is_write && options->reads)
        task->is_write = random_below(&region->seed, 100) >= options->read_percent;
    task->opcode = task->is_write ? OP_WRITE_16 : OP_READ_16;
    task->bytes = choose_bytes(session);
    task->block = region_pick(region, options->is_random && !session->is_sweeping);
    if (region->is_busy)
        stamp_task(session, task);
    block = region->first + task->block;
    aim(session, task,
        block / options->lun_count * (options->block_bytes_max / session->lun_block_bytes),
        options->luns[block % options->lun_count]);
}

void session_issue(struct session *session)
{
    while (session->idle_count &&
           (session->is_sweeping ? session->sweep_left > 0 : !is_over(session)) &&
           (int32_t)(session->nexus.max_cmd_sn - session->nexus.cmd_sn) >= 0) {
        struct task *task = &session->tasks[session->idle[--session->idle_count]];

        if (session->is_sweeping)
            session->sweep_left--;
        session->tally->issued++;
        task->is_live = true;
        task->out_count = 0;
        if (session->options->is_ats)
            choose_lock(session, task);
        else
            choose_block(session, task);
        send_task(session, task);
        if (!session->options->is_batching)
            stream_flush(&session->stream);
    }
}

/* ---- what became of it ---- */

static bool is_all_zero(const uint8_t *bytes, size_t count)
{
    return !bytes[0] && !memcmp(bytes, bytes + 1, count - 1);
}

/* Whether what was read is what was written last. */
static bool is_verified(struct session *session, const struct task *task)
{
    const struct options *options = session->options;
    uint64_t address = (session->region.first + task->block) * task->bytes, wrong_at;
    enum stamp_verdict verdict;

    if (options->writes && !task->generation)
        return true; /* of before this run */
    if (!options->writes && is_all_zero(task->data, task->bytes))
        return true;
    verdict = stamp_check(task->data, task->bytes, address,
                          options->writes ? task->generation : STAMP_ANY, &wrong_at);
    if (verdict == STAMP_GOOD) {
        session->tally->verified++;
        return true;
    }
    fprintf(stderr, "verify: LUN %u, byte %" PRIu64 ": %s\n",
            options->luns[(session->region.first + task->block) % options->lun_count],
            get_be64(task->header + 34) * session->lun_block_bytes + (wrong_at - address),
            stamp_verdict_text(verdict));
    return false;
}

static bool settle_block(struct session *session, struct task *task, bool is_good)
{
    struct region *region = &session->region;

    if (!region->is_busy)
        return is_good;
    region->is_busy[task->block] = false;
    if (is_good && task->is_write)
        region->generations[task->block] = task->generation;
    return is_good && (task->is_write || is_verified(session, task));
}

/* SPC-4 4.5: fixed or descriptor format, behind SenseLength (RFC 7143 11.4.7.2). */
static uint8_t sense_key(const struct session *session)
{
    const uint8_t *sense = session->sense + 2;

    return (sense[0] & 0x7f) >= 0x72 ? sense[1] & 0x0f : sense[2] & 0x0f;
}

/* False: it is none to be counted. */
static bool settle_lock(struct session *session, const struct task *task, unsigned status,
                        bool *is_good)
{
    if (task->opcode == OP_READ_16) {
        memcpy(&session->count, task->data, sizeof(session->count));
        session->knows_count = *is_good;
        return false;
    }
    if (*is_good) {
        session->count++;
        session->counted++;
        return true;
    }
    session->knows_count = false;
    if (status == STATUS_CHECK_CONDITION && sense_key(session) == SENSE_MISCOMPARE) {
        session->tally->lost++;
        *is_good = true;
    }
    return false;
}

static void count_error(struct session *session, const struct task *task, unsigned status)
{
    if (++session->tally->errors <= ERRORS_SHOWN)
        fprintf(stderr, "command 0x%02x at LBA %" PRIu64 ": status 0x%x, sense key %x, %u bytes\n",
                task->opcode, get_be64(task->header + 34), status, sense_key(session), task->got);
    if (session->tally->errors > ERRORS_MAX)
        fail("too many errors");
}

static void count_done(struct tally *tally, const struct task *task, uint64_t at_ns)
{
    uint64_t before;

    if (atomic_load_explicit(&phase, memory_order_relaxed) != PHASE_MEASURING)
        return;
    before = tally->last_done_ns ? tally->last_done_ns : atomic_load(&measuring_since_ns);
    if (at_ns > before && at_ns - before > tally->longest_gap_ns)
        tally->longest_gap_ns = at_ns - before;
    tally->last_done_ns = at_ns;
    tally->ios++;
    tally->bytes += task->bytes;
    histogram_add(&tally->latency, at_ns - task->began_ns);
}

static void finish(struct session *session, struct task *task, unsigned status, uint64_t at_ns)
{
    bool is_good = status == STATUS_GOOD && task->got == task->bytes, counts = true;

    if (session->options->is_ats)
        counts = settle_lock(session, task, status, &is_good);
    else
        is_good = settle_block(session, task, is_good);
    task->is_live = false;
    session->idle[session->idle_count++] = (uint32_t)(task - session->tasks);
    if (!is_good)
        count_error(session, task, status);
    if (counts)
        count_done(session->tally, task, at_ns);
    memset(session->sense, 0, sizeof(session->sense));
}

/* ---- receiving ---- */

static struct task *task_of(struct session *session, const uint8_t *bhs)
{
    uint32_t tag = get_be32(bhs + 16);

    if (tag >= session->task_count || !session->tasks[tag].is_live)
        fail("a PDU with opcode 0x%x has an unknown task tag, 0x%x", bhs[0], tag);
    return &session->tasks[tag];
}

static void take_numbers(struct session *session, const uint8_t *bhs, bool has_status)
{
    if (has_status)
        session->nexus.exp_stat_sn = get_be32(bhs + 24) + 1;
    session->nexus.max_cmd_sn = get_be32(bhs + 32);
}

static void answer_ping(struct session *session, const uint8_t *bhs)
{
    uint8_t *pong = session->pings[session->ping_count++ % 8];

    memset(pong, 0, BHS_BYTES);
    pong[0] = PDU_NOP_OUT | IMMEDIATE;
    pong[1] = FINAL;
    memcpy(pong + 8, bhs + 8, LUN_BYTES);
    put_be32(pong + 16, TAG_RESERVED);
    memcpy(pong + 20, bhs + 20, 4);
    put_be32(pong + 24, session->nexus.cmd_sn);
    put_be32(pong + 28, session->nexus.exp_stat_sn);
    seal_header(session, pong);
    stream_push(&session->stream, pong, BHS_BYTES + digest_bytes(session->nexus.has_header_digest));
}

static void take_r2t(struct session *session, const uint8_t *bhs)
{
    struct task *task = task_of(session, bhs);
    uint32_t offset = get_be32(bhs + 40), count = get_be32(bhs + 44);

    session->nexus.max_cmd_sn = get_be32(bhs + 32);
    if (!task->is_write || (uint64_t)offset + count > task->bytes)
        fail("an R2T asks for more than the command writes");
    task->got += count;
    send_burst(session, task, get_be32(bhs + 20), offset, count);
}

static void take_pdu(void *owner, const uint8_t *bhs, uint64_t at_ns)
{
    struct session *session = owner;
    unsigned status = bhs[3];

    switch (bhs[0] & 0x3f) {
    case PDU_DATA_IN:
        take_numbers(session, bhs, bhs[1] & HAS_STATUS);
        if (bhs[1] & HAS_STATUS)
            finish(session, task_of(session, bhs), status, at_ns);
        break;
    case PDU_SCSI_RESPONSE:
        take_numbers(session, bhs, true);
        status |= bhs[2] ? NOT_DELIVERED : 0;
        status |= status == STATUS_GOOD && bhs[1] & RESIDUALS ? HAD_RESIDUALS : 0;
        finish(session, task_of(session, bhs), status, at_ns);
        break;
    case PDU_R2T: take_r2t(session, bhs); break;
    case PDU_NOP_IN:
        if (get_be32(bhs + 20) != TAG_RESERVED)
            answer_ping(session, bhs);
        break;
    default: fail("the target sent a PDU with opcode 0x%x", bhs[0]);
    }
}

static void take_data(void *owner, const uint8_t *bhs, uint32_t offset, const uint8_t *bytes,
                      uint32_t count)
{
    struct session *session = owner;
    struct task *task;
    uint64_t at;

    if ((bhs[0] & 0x3f) == PDU_SCSI_RESPONSE && bytes && offset < sizeof(session->sense)) {
        uint32_t room = (uint32_t)sizeof(session->sense) - offset;

        memcpy(session->sense + offset, bytes, count < room ? count : room);
    }
    if ((bhs[0] & 0x3f) != PDU_DATA_IN)
        return;
    task = task_of(session, bhs);
    at = (uint64_t)get_be32(bhs + 40) + offset;
    if (task->is_write || at + count > task->bytes)
        fail("Data-In beyond what the command reads");
    if (keeps_data(session))
        memcpy(task->data + at, bytes, count);
    task->got += count;
}

/* ---- life ---- */

static void init_task(struct session *session, struct task *task, uint32_t tag)
{
    const struct options *options = session->options;
    const size_t header_bytes = BHS_BYTES + digest_bytes(session->nexus.has_header_digest);
    uint8_t *memory;
    size_t data_bytes = options->is_ats ? 2 * SECTOR_BYTES : options->block_bytes_max;
    uint64_t seed = random_spread(tag + 1) | 1;

    if (!options->writes && !keeps_data(session))
        data_bytes = 0;
    memory = bench_alloc(1, DATA_AT + data_bytes + DIGEST_BYTES);
    task->data = memory + DATA_AT;
    task->header = task->data - header_bytes;
    if (options->writes) {
        task->out_max = (uint32_t)(data_bytes / SECTOR_BYTES) + 2;
        task->outs = bench_alloc(task->out_max, sizeof(*task->outs));
        for (size_t at = 0; at < data_bytes; at += sizeof(seed)) {
            random_next(&seed);
            memcpy(task->data + at, &seed, sizeof(seed));
        }
    }
    task->header[0] = PDU_SCSI_COMMAND;
    put_be32(task->header + 16, tag);
    session->idle[session->idle_count++] = tag;
}

void session_start(struct session *session)
{
    static const struct stream_calls calls = { .data = take_data, .pdu = take_pdu };
    const struct options *options = session->options;
    unsigned pieces = 16; /* pings */

    session->task_count = options->is_idle ? 0 : options->queue_depth;
    session->tasks = bench_alloc(session->task_count + 1, sizeof(*session->tasks));
    session->idle = bench_alloc(session->task_count + 1, sizeof(*session->idle));
    for (uint32_t tag = session->task_count; tag-- > 0;) {
        init_task(session, &session->tasks[tag], tag);
        pieces += 2 + 3 * session->tasks[tag].out_max;
    }
    session->stream.socket = session->nexus.socket;
    session->stream.calls = &calls;
    session->stream.owner = session;
    session->stream.has_header_digest = session->nexus.has_header_digest;
    session->stream.has_data_digest = session->nexus.has_data_digest;
    session->stream.is_discarding = options->is_discarding;
    stream_start(&session->stream, pieces);
}

void session_end(struct session *session)
{
    for (uint32_t tag = 0; tag < session->task_count; tag++) {
        free(session->tasks[tag].data - DATA_AT);
        free(session->tasks[tag].outs);
    }
    free(session->tasks);
    free(session->idle);
    region_end(&session->region);
    stream_end(&session->stream);
}

bool session_is_busy(const struct session *session)
{
    return session->idle_count != session->task_count || session->sweep_left > 0;
}

void session_sweep(struct session *session)
{
    session->is_sweeping = true;
    session->sweep_left = session->region.blocks;
    session->region.next = 0;
}
