/* EXTENDED COPY(LID1) and RECEIVE COPY, SPC-4 6.5 and 6.22 to 6.25, 5.17.7 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "backing/file.h"
#include "proto/xcopy.h"
#include "target/scsi/limits.h"
#include "tests/unit/scsi/disk_bench.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

enum { UNITS = 3, LIST_MAX = 16 + 9 * 32 + 65 * 28, THIS_UNIT = 0xffff, HELD_MAX = 64 };

/* LUN 0 is the rig's; 1 is like it, 2 has 4096-byte blocks. */
static struct lu *units[UNITS];
static char paths[UNITS][32];

/* Steps are taken from the slow lane and left to the test, oldest first. */
static bool holds_steps;
static struct slow_job *held[HELD_MAX];
static unsigned held_count;

void __real_worker_slow(struct worker *worker, struct slow_job *job);
void __wrap_worker_slow(struct worker *worker, struct slow_job *job);

void __wrap_worker_slow(struct worker *worker, struct slow_job *job)
{
    if (!holds_steps)
        return __real_worker_slow(worker, job);
    assert_true(held_count < HELD_MAX);
    job->worker = worker;
    held[held_count++] = job;
}

static void end_step(void)
{
    struct slow_job *job = held[0];

    assert_true(held_count > 0);
    memmove(held, held + 1, --held_count * sizeof *held);
    job->run(job);
    job->done(job);
}

/* ---- units ---- */

static struct lu *make_unit(unsigned number, uint32_t block_bytes, enum cache_mode cache)
{
    struct lu_options options = {
        .identity = {.serial = "0123456789abcdef",
                     .vendor = "NESTOR",
                     .product = "VMFS LUN",
                     .revision = "0001",
                     .vaai = true,
                     .block_bytes = block_bytes,
                     .physical_block_bytes = 4096},
        .cache = cache,
    };
    uint64_t bytes = (uint64_t)RIG_BLOCKS * RIG_BLOCK_BYTES;
    struct backing_error error;
    struct lu *lu;
    int fd;

    strcpy(paths[number], "scsi-copy-XXXXXX");
    fd = mkstemp(paths[number]);
    assert_true(fd >= 0 && ftruncate(fd, (off_t)bytes) == 0);
    close(fd);
    options.identity.naa[0] = 0x60;
    options.identity.naa[15] = (uint8_t)number;
    assert_int_equal(
        backing_open(&(struct backing_options){ .path = paths[number] }, &options.backing, &error),
        0);
    assert_int_equal(lu_open(&options, &lu), 0);
    return lu;
}

static struct lun_map *make_map(unsigned first, unsigned count)
{
    struct lun_map *map = lun_map_create(count);

    assert_non_null(map);
    for (unsigned i = 0; i < count; i++)
        map->entries[i] =
            (struct lun_entry){ .lun = (uint16_t)(first + i), .lu = units[first + i] };
    return map;
}

static void show(struct lun_map *map)
{
    nexus_move(&rig.nexus, map, NULL);
    nexus_move(&rig.other, map, NULL);
    lun_map_put(rig.target.map);
    rig.target.map = map;
    for (unsigned i = 0; i < map->count; i++) {
        uint64_t lun = (uint64_t)map->entries[i].lun << 48;
        struct itl *itls[] = { nexus_itl(&rig.nexus, lun, true), nexus_itl(&rig.other, lun, true) };
        for (unsigned k = 0; k < 2; k++)
            while (itls[k] && unit_attention_take(itls[k]) != SENSE_NONE)
                ;
    }
}

static int setup_with(enum cache_mode cache)
{
    holds_steps = false;
    held_count = 0;
    disk_open(&(struct rig_options){ .has_vaai = true, .cache = cache });
    units[0] = rig.lu;
    units[1] = make_unit(1, RIG_BLOCK_BYTES, cache);
    units[2] = make_unit(2, 4096, cache);
    show(make_map(0, UNITS));
    return 0;
}

static int setup(void **state)
{
    (void)state;
    return setup_with(CACHE_WRITEBACK);
}

static int setup_writethrough(void **state)
{
    (void)state;
    return setup_with(CACHE_WRITETHROUGH);
}

static int teardown(void **state)
{
    (void)state;
    assert_int_equal(held_count, 0);
    rig_close(&rig);
    for (unsigned i = 1; i < UNITS; i++) {
        assert_int_equal(units[i]->copies, 0);
        lu_close(units[i]);
        unlink(paths[i]);
    }
    return 0;
}

static void fill(unsigned unit, uint32_t lba, uint32_t blocks, uint8_t byte)
{
    uint32_t shift = units[unit]->block_shift;
    uint8_t *bytes = malloc((size_t)blocks << shift);
    struct io io = {
        .op = IO_WRITE,
        .backing = units[unit]->backing,
        .bytes = bytes,
        .offset_bytes = (uint64_t)lba << shift,
        .len_bytes = (uint64_t)blocks << shift,
    };

    assert_non_null(bytes);
    memset(bytes, byte, io.len_bytes);
    backing_run(&io);
    assert_int_equal(io.result, 0);
    free(bytes);
}

static void expect_filled(unsigned unit, uint32_t lba, uint32_t blocks, uint8_t byte)
{
    uint8_t *bytes = malloc((size_t)blocks * RIG_BLOCK_BYTES);
    struct io io = {
        .op = IO_READ,
        .backing = units[unit]->backing,
        .bytes = bytes,
        .offset_bytes = (uint64_t)lba * RIG_BLOCK_BYTES,
        .len_bytes = (uint64_t)blocks * RIG_BLOCK_BYTES,
    };

    assert_non_null(bytes);
    backing_run(&io);
    assert_int_equal(io.result, 0);
    for (size_t i = 0; i < io.len_bytes; i++)
        assert_int_equal(bytes[i], byte);
    free(bytes);
}

/* ---- parameter lists ---- */

struct list {
    uint8_t bytes[LIST_MAX];
    unsigned cscds, segments;
};

static void list_begin(struct list *list, uint8_t list_id, uint8_t usage)
{
    memset(list, 0, sizeof *list);
    list->bytes[0] = list_id;
    list->bytes[1] = (uint8_t)(usage << 3);
}

static uint8_t *list_cscd(struct list *list, unsigned unit)
{
    uint8_t *p = list->bytes + 16 + 32 * list->cscds++;

    assert_int_equal(list->segments, 0);
    p[0] = 0xe4;
    p[4] = 0x01;
    p[5] = 0x03;
    p[7] = 16;
    memcpy(p + 8, unit == 0 ? rig.lu->identity.naa : units[unit]->identity.naa, 16);
    put_be24(p + 29, units[unit]->block_bytes);
    put_be16(list->bytes + 2, (uint16_t)(32 * list->cscds));
    return p;
}

static uint8_t *list_segment(struct list *list, uint16_t source, uint64_t from,
                             uint16_t destination, uint64_t to, uint16_t blocks)
{
    uint8_t *p = list->bytes + 16 + 32 * list->cscds + 28 * list->segments++;

    p[0] = 0x02;
    p[3] = 0x18;
    put_be16(p + 4, source);
    put_be16(p + 6, destination);
    put_be16(p + 10, blocks);
    put_be64(p + 12, from);
    put_be64(p + 20, to);
    put_be32(list->bytes + 8, 28 * list->segments);
    return p;
}

static uint32_t list_bytes(const struct list *list)
{
    return 16 + 32 * list->cscds + 28 * list->segments;
}

/* From unit 0 to unit 1, from LBA 0 to 1000: on the borders of 4 KiB, so that 8 blocks are one step
 * whatever the file system can do. */
static void list_simple(struct list *list, uint8_t list_id, uint8_t usage, uint16_t blocks)
{
    list_begin(list, list_id, usage);
    list_cscd(list, 0);
    list_cscd(list, 1);
    list_segment(list, 0, 0, 1, 1000, blocks);
}

static void copy_task(struct fake_task *task, const struct list *list)
{
    uint8_t cdb[16] = { 0x83 };

    put_be32(cdb + 10, list_bytes(list));
    fake_task(task, &rig, cdb, 0, list->bytes, list_bytes(list));
}

static void copy_run(struct fake_task *task, const struct list *list)
{
    copy_task(task, list);
    fake_start(task);
    fake_wait(task);
}

static void expect_good(const struct list *list)
{
    struct fake_task task;

    copy_run(&task, list);
    assert_int_equal(fake_sense(&task), 0);
    assert_int_equal(task.answer.status, STATUS_GOOD);
    fake_free(&task);
}

/* CHECK CONDITION; `pointer`: the byte of the list, -1: none. The sense is left for more. */
static struct command refused(const struct list *list, unsigned sense, unsigned segment,
                              int pointer)
{
    struct fake_task task;

    copy_run(&task, list);
    assert_int_equal(fake_sense(&task), sense);
    if (sense >> 16 == 0x0a)
        assert_int_equal(get_be16(task.answer.sense + 10), segment);
    assert_int_equal(task.answer.sense[15], pointer < 0 ? 0 : 0x80);
    assert_int_equal(get_be16(task.answer.sense + 16), pointer < 0 ? 0 : pointer);
    fake_free(&task);
    return task.answer;
}

static void ask(struct fake_task *task, uint8_t action, uint8_t list_id, uint32_t bytes)
{
    uint8_t cdb[16] = { 0x84, action, list_id };

    put_be32(cdb + 10, bytes);
    fake_run(task, &rig, cdb, bytes, NULL, 0);
}

/* ---- good copies ---- */

static void test_a_copy_within_a_unit(void **state)
{
    struct list list;

    (void)state;
    fill(0, 100, 300, 0xa1);
    list_begin(&list, 1, 2);
    list_cscd(&list, 0);
    list_segment(&list, 0, 100, 0, 5000, 300);
    list_segment(&list, THIS_UNIT, 5000, 0, 6000, 10);
    list_segment(&list, 0, 7, THIS_UNIT, 7, 3); /* onto itself */
    list_segment(&list, 0, 8192, 0, 8192, 0);   /* nothing, at the very end */
    expect_good(&list);
    expect_filled(0, 5000, 300, 0xa1);
    expect_filled(0, 6000, 10, 0xa1);
    expect_filled(0, 5300, 10, 0);
}

static void test_a_copy_between_units_is_counted_at_its_destination(void **state)
{
    struct lu_statistics sum;
    struct list list;

    (void)state;
    fill(0, 0, 8000, 0xb2);
    list_simple(&list, 1, 0, 7000);
    expect_good(&list);
    expect_filled(1, 1000, 7000, 0xb2);
    expect_filled(1, 0, 1000, 0);
    lu_statistics(units[1], &sum);
    assert_true(sum.clones == 1 && sum.clones_failed == 0 && sum.cloned_bytes == 7000 * 512);
    lu_statistics(units[0], &sum);
    assert_true(sum.clones == 0);
}

static void test_copies_in_both_directions_do_not_wait_for_each_other(void **state)
{
    enum { PAIRS = 8 };
    struct fake_task tasks[2 * PAIRS];
    struct list there, back;

    (void)state;
    list_begin(&there, 0, 3);
    list_cscd(&there, 0);
    list_cscd(&there, 1);
    back = there;
    for (unsigned i = 0; i < 8; i++) {
        list_segment(&there, 0, 0, 1, 100, 4000);
        list_segment(&back, 1, 0, 0, 100, 4000);
        list_segment(&there, 0, 2000, 0, 100, 1500); /* and within a unit */
        list_segment(&back, 0, 100, 0, 2000, 1500);
    }
    for (unsigned i = 0; i < PAIRS; i++) {
        copy_task(&tasks[2 * i], &there);
        fake_start(&tasks[2 * i]);
        copy_task(&tasks[2 * i + 1], &back);
        fake_start(&tasks[2 * i + 1]);
    }
    for (unsigned i = 0; i < 2 * PAIRS; i++) {
        fake_wait(&tasks[i]);
        assert_int_equal(tasks[i].answer.status, STATUS_GOOD);
        fake_free(&tasks[i]);
    }
}

/* ---- who is reached ---- */

static void test_a_unit_that_is_masked_is_not_reached(void **state)
{
    struct lun_map *map = make_map(0, UNITS);
    struct list list;

    (void)state;
    map->entries[1].initiators = calloc(2, sizeof(char *));
    assert_non_null(map->entries[1].initiators);
    map->entries[1].initiators[0] = strdup("iqn.1998-01.com.vmware:esx2");
    show(map);
    fill(1, 0, 10, 0xee);
    list_simple(&list, 1, 0, 10);
    refused(&list, 0x0a0804, 0, 16 + 32);
    list_begin(&list, 1, 0);
    list_cscd(&list, 0);
    list_cscd(&list, 1);
    list_segment(&list, 1, 0, 0, 0, 10);
    refused(&list, 0x0a0804, 0, 16 + 32);
    expect_filled(0, 0, 10, 0);
}

static void test_what_names_no_unit_is_not_reached(void **state)
{
    struct list list;

    (void)state;
    list_simple(&list, 1, 0, 10);
    list.bytes[16 + 32 + 23] ^= 0x80; /* another NAA */
    refused(&list, 0x0a0804, 0, 16 + 32);
    list_simple(&list, 1, 0, 10);
    list.bytes[16 + 5] = 0x13; /* a port's designator */
    refused(&list, 0x0a0804, 0, 16);
    list_simple(&list, 1, 0, 10);
    list.bytes[16 + 1] = 0x20; /* the null unit */
    refused(&list, 0x0a0804, 0, 16);
    list_simple(&list, 1, 0, 10);
    list.bytes[16 + 1] = 0x01; /* a tape */
    refused(&list, 0x0a0d03, 0, 16);
    list_simple(&list, 1, 0, 10);
    put_be16(list.bytes + 16 + 64 + 6, 2);
    refused(&list, 0x0a0804, 0, 16 + 64 + 6);
    put_be16(list.bytes + 16 + 64 + 4, 0xc000);
    refused(&list, 0x0a0804, 0, 16 + 64 + 4);
}

static void test_block_sizes_must_be_equal_and_as_told(void **state)
{
    struct list list;

    (void)state;
    list_begin(&list, 1, 0);
    list_cscd(&list, 0);
    list_cscd(&list, 2);
    list_segment(&list, 0, 0, 1, 0, 8);
    refused(&list, 0x0a260c, 0, 16 + 64);
    list_simple(&list, 1, 0, 8);
    put_be24(list.bytes + 16 + 29, 4096);
    refused(&list, 0x0a2600, 0, 16 + 29);
    put_be24(list.bytes + 16 + 29, 0); /* not said */
    expect_good(&list);
}

/* ---- what is checked before anything is copied ---- */

static void test_ranges_are_checked_before_the_first_segment_is_copied(void **state)
{
    const struct {
        uint64_t from, to;
        uint16_t blocks;
        unsigned pointer;
    } rows[] = {
        {0,               RIG_BLOCKS - 9, 10, 20},
        { RIG_BLOCKS - 9, 0,              10, 12},
        { UINT64_MAX,     0,              1,  12},
        { 0,              UINT64_MAX,     1,  20},
        { UINT64_MAX - 4, 0,              10, 12}, /* wraps to 5 */
        { 0,              RIG_BLOCKS + 1, 0,  20},
    };
    struct list list;

    (void)state;
    fill(0, 0, 100, 0xc3);
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        list_simple(&list, 1, 0, 10);
        list_segment(&list, 0, rows[i].from, 1, rows[i].to, rows[i].blocks);
        refused(&list, 0x0a0000, 1, (int)(16 + 64 + 28 + rows[i].pointer));
    }
    expect_filled(1, 1000, 10, 0);
}

static void test_a_segment_longer_than_told_is_refused(void **state)
{
    uint64_t blocks = LIMIT_COPY_SEGMENT_BYTES / 4096;
    struct list list;

    (void)state;
    list_begin(&list, 1, 0);
    list_cscd(&list, 2);
    list_segment(&list, 0, 0, 0, 0, (uint16_t)(blocks + 1));
    refused(&list, 0x052600, 0, 16 + 32 + 10);
    list_begin(&list, 1, 0);
    list_cscd(&list, 2);
    list_segment(&list, 0, 0, 0, 0, (uint16_t)blocks); /* long enough to be beyond this unit */
    refused(&list, 0x0a0000, 0, 16 + 32 + 12);
}

static void test_parameter_list_lengths(void **state)
{
    uint8_t cdb[16] = { 0x83 };
    struct fake_task task;
    struct list list;

    (void)state;
    fake_run(&task, &rig, cdb, 0, NULL, 0); /* none: no error, SPC-4 6.4.1 */
    assert_int_equal(task.answer.status, STATUS_GOOD);
    fake_free(&task);
    list_simple(&list, 1, 0, 10);
    for (uint32_t bytes = 1; bytes < list_bytes(&list); bytes++) {
        put_be32(cdb + 10, bytes);
        fake_run(&task, &rig, cdb, 0, list.bytes, bytes);
        assert_int_equal(fake_sense(&task), 0x051a00);
        fake_free(&task);
        put_be32(cdb + 10, list_bytes(&list)); /* the CDB is right, less comes */
        fake_run(&task, &rig, cdb, 0, list.bytes, bytes);
        assert_int_equal(fake_sense(&task), 0x051a00);
        fake_free(&task);
    }
    put_be32(cdb + 10, 0xffffffff);
    fake_run(&task, &rig, cdb, 0, list.bytes, 1024);
    assert_int_equal(fake_sense(&task), 0x051a00);
    assert_int_equal(task.wants, 0); /* none of it was asked for */
    fake_free(&task);
    put_be32(cdb + 10, list_bytes(&list));
    fake_run(&task, &rig, cdb, 0, NULL, 0);
    assert_int_equal(fake_sense(&task), 0x051a00);
    fake_free(&task);
}

static void test_what_the_parser_refuses_is_refused(void **state)
{
    struct list list;

    (void)state;
    list_simple(&list, 1, 0, 10);
    list.bytes[16 + 64] = 0x03;
    refused(&list, 0x052609, 0, 16 + 64);
}

static void test_the_other_third_party_commands_are_unknown(void **state)
{
    const uint8_t cdbs[][2] = {
        {0x83,  0x01},
        { 0x83, 0x10},
        { 0x84, 0x01},
        { 0x84, 0x05}
    };

    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        uint8_t cdb[16] = { cdbs[i][0], cdbs[i][1] };
        struct fake_task task;
        fake_run(&task, &rig, cdb, 0, NULL, 0);
        assert_int_equal(fake_sense(&task), 0x052000);
        fake_free(&task);
    }
}

/* ---- what units say ---- */

static void take_reservation(unsigned unit, struct nexus *nexus)
{
    assert_int_equal(reservation_take(units[unit], nexus), STATUS_GOOD);
}

static void test_a_reserved_destination_is_not_written(void **state)
{
    struct command answer;
    struct list list;

    (void)state;
    fill(0, 0, 10, 0xd4);
    take_reservation(1, &rig.other);
    list_simple(&list, 1, 0, 10);
    answer = refused(&list, 0x0a0d01, 0, 16 + 32);
    assert_int_equal(answer.sense_len, 19); /* its status alone, SPC-4 5.17.7.4 e) */
    assert_int_equal(answer.sense[8], 0);
    assert_int_equal(answer.sense[9], 18);
    assert_int_equal(answer.sense[18], STATUS_RESERVATION_CONFLICT);
    expect_filled(1, 1000, 10, 0);
    reservation_release(units[1], &rig.other);
    take_reservation(1, &rig.nexus);
    expect_good(&list);
}

static void test_a_reserved_source_is_not_read(void **state)
{
    struct command answer;
    struct list list;

    (void)state;
    take_reservation(1, &rig.other);
    list_begin(&list, 1, 0);
    list_cscd(&list, 0);
    list_cscd(&list, 1);
    list_segment(&list, 1, 0, 0, 0, 10);
    answer = refused(&list, 0x0a0d01, 0, 16 + 32);
    assert_int_equal(answer.sense[8], 18);
    assert_int_equal(answer.sense[9], 0);
    assert_int_equal(answer.sense[18], STATUS_RESERVATION_CONFLICT);
}

static void test_our_own_unit_reserved_is_a_conflict_of_the_command(void **state)
{
    struct fake_task task;
    struct list list;

    (void)state;
    take_reservation(0, &rig.other);
    list_simple(&list, 1, 0, 10);
    copy_run(&task, &list);
    assert_int_equal(task.answer.status, STATUS_RESERVATION_CONFLICT);
    fake_free(&task);
}

static void test_a_reservation_that_comes_while_it_waits_keeps_it_out(void **state)
{
    struct gate_hold hold = { 0 };
    struct fake_task task;
    struct list list;

    (void)state;
    hold.entered = (void (*)(struct gate_hold *))abort;
    assert_true(gate_enter(&units[1]->gate, &hold, &rig.worker, GATE_EXCLUSIVE, 0, 1 << 20));
    list_simple(&list, 1, 0, 10);
    copy_task(&task, &list);
    fake_start(&task);
    assert_int_equal(task.finished, 0);
    take_reservation(1, &rig.other);
    gate_leave(&hold);
    fake_wait(&task);
    assert_int_equal(fake_sense(&task), 0x0a0d01);
    assert_int_equal(task.answer.sense[18], STATUS_RESERVATION_CONFLICT);
    fake_free(&task);
}

static void test_a_unit_that_refuses_is_quoted(void **state)
{
    struct command answer;
    struct list list;

    (void)state;
    list_simple(&list, 1, 0, 10);
    units[1]->is_write_protected = true;
    answer = refused(&list, 0x0a0d01, 0, 16 + 32);
    assert_int_equal(answer.sense_len, 37);
    assert_int_equal(answer.sense[18], STATUS_CHECK_CONDITION);
    assert_int_equal(answer.sense[19 + 2], 0x07);
    assert_int_equal(answer.sense[19 + 12], 0x27);
    units[1]->is_write_protected = false;
    units[0]->is_write_protected = true; /* a source may be */
    expect_good(&list);
    units[0]->is_write_protected = false;
    units[0]->is_stopped = true;
    answer = refused(&list, 0x0a0d01, 0, 16);
    assert_int_equal(answer.sense[19 + 2], 0x02);
    assert_int_equal(answer.sense[19 + 12], 0x04);
}

static void test_a_disk_that_fails_tells_which_segment_and_side(void **state)
{
    struct command answer;
    struct list list;

    (void)state;
    list_simple(&list, 1, 0, 10);
    list_segment(&list, 1, 2000, 0, 3000, 10);
    assert_int_equal(truncate(paths[1], 1024 * 1024), 0); /* behind our back: LBA 2048 */
    list_segment(&list, 1, 4000, 0, 3000, 10);
    answer = refused(&list, 0x0a0d01, 2, 16 + 32);
    assert_int_equal(answer.sense[0], 0x70); /* nothing of that segment was written */
    assert_int_equal(answer.sense[8], 18);
    assert_int_equal(answer.sense[19 + 2], 0x03);
    assert_int_equal(answer.sense[19 + 12], 0x11);
}

/* ---- list identifiers ---- */

static void test_a_copy_is_asked_for_once(void **state)
{
    const uint8_t done[12] = { 0, 0, 0, 8, 1, 0, 1, 0, 0, 0, 20, 0 };
    struct fake_task task;
    struct list list;

    (void)state;
    ask(&task, 0x00, 7, 12);
    assert_int_equal(fake_sense(&task), 0x052400);
    fake_free(&task);
    list_simple(&list, 7, 0, 10);
    expect_good(&list);
    ask(&task, 0x00, 7, 12);
    assert_int_equal(task.answer.status, STATUS_GOOD);
    assert_int_equal(task.in_bytes, 12);
    assert_memory_equal(task.in, done, 12);
    fake_free(&task);
    ask(&task, 0x00, 7, 12); /* SPC-4 6.25: discarded */
    assert_int_equal(fake_sense(&task), 0x052400);
    fake_free(&task);
}

static void test_a_copy_that_failed_leaves_its_sense(void **state)
{
    struct fake_task task;
    struct command answer;
    struct list list;

    (void)state;
    list_simple(&list, 9, 2, 10);
    units[1]->is_write_protected = true;
    answer = refused(&list, 0x0a0d01, 0, 16 + 32);
    ask(&task, 0x00, 9, 12);
    assert_int_equal(task.in[4], 2);
    fake_free(&task);
    ask(&task, 0x04, 9, 30); /* not all of it: it stays */
    assert_int_equal(task.in_bytes, 30);
    fake_free(&task);
    ask(&task, 0x04, 9, 124);
    assert_int_equal(task.in_bytes, 60 + answer.sense_len);
    assert_int_equal(get_be32(task.in), 56 + answer.sense_len);
    assert_int_equal(task.in[56], STATUS_CHECK_CONDITION);
    assert_int_equal(get_be16(task.in + 58), answer.sense_len);
    assert_memory_equal(task.in + 60, answer.sense, answer.sense_len);
    fake_free(&task);
    ask(&task, 0x04, 9, 124);
    assert_int_equal(fake_sense(&task), 0x052400);
    fake_free(&task);
}

static void test_without_list_identifier_nothing_is_kept(void **state)
{
    struct fake_task task;
    struct list list;

    (void)state;
    list_simple(&list, 0, 3, 10);
    expect_good(&list);
    ask(&task, 0x00, 0, 12);
    assert_int_equal(fake_sense(&task), 0x052400);
    fake_free(&task);
}

static void test_a_reset_discards_what_is_over(void **state)
{
    struct fake_task task;
    struct list list;

    (void)state;
    list_simple(&list, 7, 0, 10);
    expect_good(&list);
    units[0]->resets++;
    ask(&task, 0x00, 7, 12);
    assert_int_equal(fake_sense(&task), 0x052400);
    fake_free(&task);
}

static void test_an_identifier_in_use_is_refused_and_progress_is_told(void **state)
{
    struct fake_task copy, task;
    struct list list;

    (void)state;
    list_simple(&list, 5, 0, 8);
    holds_steps = true;
    copy_task(&copy, &list);
    fake_start(&copy);
    assert_int_equal(held_count, 1);
    refused(&list, 0x050016, 0, -1);
    ask(&task, 0x00, 5, 12);
    assert_int_equal(task.in[4], 0); /* in progress */
    fake_free(&task);
    ask(&task, 0x04, 5, 124);
    assert_int_equal(fake_sense(&task), 0x052400);
    fake_free(&task);
    end_step();
    fake_wait(&copy);
    assert_int_equal(copy.answer.status, STATUS_GOOD);
    fake_free(&copy);
}

static void test_one_more_than_can_be_under_way_is_told_to_wait(void **state)
{
    struct fake_task tasks[LIMIT_COPIES], one_more;
    struct list list;

    (void)state;
    holds_steps = true;
    for (unsigned i = 0; i < LIMIT_COPIES; i++) {
        list_begin(&list, (uint8_t)i, 0);
        list_cscd(&list, 0);
        list_segment(&list, 0, 0, 0, 100 * (i + 1), 10);
        copy_task(&tasks[i], &list);
        fake_start(&tasks[i]);
    }
    assert_int_equal(held_count, LIMIT_COPIES);
    list_begin(&list, 0, 3);
    copy_run(&one_more, &list);
    assert_int_equal(one_more.answer.status, STATUS_TASK_SET_FULL);
    fake_free(&one_more);
    while (held_count > 0)
        end_step();
    for (unsigned i = 0; i < LIMIT_COPIES; i++) {
        fake_wait(&tasks[i]);
        assert_int_equal(tasks[i].answer.status, STATUS_GOOD);
        fake_free(&tasks[i]);
    }
}

static void test_operating_parameters_tell_what_is_enforced(void **state)
{
    struct fake_task task;

    (void)state;
    ask(&task, 0x03, 0, 512);
    assert_int_equal(task.in_bytes, 46);
    assert_int_equal(get_be16(task.in + 8), LIMIT_COPY_CSCDS);
    assert_int_equal(get_be32(task.in + 12), LIMIT_COPY_LIST_BYTES - 16);
    assert_int_equal(get_be32(task.in + 16), LIMIT_COPY_SEGMENT_BYTES);
    assert_int_equal(get_be16(task.in + 34), LIMIT_COPIES);
    assert_int_equal(task.in[37], 9);
    fake_free(&task);
    ask(&task, 0x03, 0, 5);
    assert_int_equal(task.in_bytes, 5);
    fake_free(&task);
}

/* ---- gates, aborts, and units that go ---- */

static void test_the_source_is_shared_and_the_destination_is_not(void **state)
{
    struct fake_task copy, read;
    struct list list;
    uint8_t cdb[10];

    (void)state;
    list_begin(&list, 1, 0);
    list_cscd(&list, 0);
    list_segment(&list, 0, 0, 0, 4000, 8);
    fill(0, 0, 8, 0x77);
    holds_steps = true;
    copy_task(&copy, &list);
    fake_start(&copy);
    read_10(cdb, 0, 8);
    fake_run(&read, &rig, cdb, 8 * 512, NULL, 0);
    assert_int_equal(read.answer.status, STATUS_GOOD);
    fake_free(&read);
    read_10(cdb, 4007, 1);
    fake_task(&read, &rig, cdb, 512, NULL, 0);
    fake_start(&read);
    assert_int_equal(read.finished, 0);
    end_step();
    fake_wait(&read);
    assert_int_equal(read.in[0], 0x77);
    fake_free(&read);
    fake_wait(&copy);
    fake_free(&copy);
}

static void test_an_abort_ends_it_between_two_segments(void **state)
{
    struct fake_task copy, read;
    struct list list;
    uint8_t cdb[10];

    (void)state;
    fill(0, 0, 100, 0x55);
    list_simple(&list, 1, 0, 8);
    list_segment(&list, 0, 0, 1, 2000, 8);
    holds_steps = true;
    copy_task(&copy, &list);
    fake_start(&copy);
    command_abort(copy.command);
    assert_int_equal(copy.finished, 0); /* the disk is at it */
    end_step();
    assert_int_equal(copy.finished, 1);
    assert_true(copy.answer.was_aborted);
    assert_int_equal(held_count, 0);
    fake_free(&copy);
    expect_filled(1, 1000, 8, 0x55);
    expect_filled(1, 2000, 10, 0);
    read_10(cdb, 1000, 10); /* and the gates are free */
    fake_task(&read, &rig, cdb, 10 * 512, NULL, 0);
    read.command->lun = 1ULL << 48;
    fake_start(&read);
    fake_wait(&read);
    assert_int_equal(read.answer.status, STATUS_GOOD);
    fake_free(&read);
}

static void test_an_abort_ends_it_while_it_waits_for_a_gate(void **state)
{
    struct list list;

    (void)state;
    for (unsigned unit = 0; unit < 2; unit++) {
        struct gate_hold hold = { .entered = (void (*)(struct gate_hold *))abort };
        struct fake_task copy;

        assert_true(gate_enter(&units[unit]->gate, &hold, &rig.worker, GATE_EXCLUSIVE, 0, 1 << 20));
        list_simple(&list, 1, 0, 10);
        copy_task(&copy, &list);
        fake_start(&copy);
        assert_int_equal(copy.finished, 0);
        command_abort(copy.command);
        assert_int_equal(copy.finished, 1);
        fake_free(&copy);
        gate_leave(&hold);
        expect_good(&list);
    }
}

static struct lu *drained_lu;
static bool is_drained;

static bool of_drained_lu(const struct drain *drain, const struct itl *itl)
{
    (void)drain;
    return itl->lu == drained_lu;
}

static void note_drained(struct drain *drain, struct worker *worker)
{
    (void)drain;
    (void)worker;
    is_drained = true;
}

static void test_the_reset_of_another_unit_ends_it_with_an_answer(void **state)
{
    struct drain drain = { .affects = of_drained_lu, .drained = note_drained };
    struct fake_task copy;
    struct list list;

    (void)state;
    list_simple(&list, 1, 0, 8);
    list_segment(&list, 0, 0, 1, 2000, 8);
    holds_steps = true;
    copy_task(&copy, &list);
    fake_start(&copy);
    drained_lu = units[1];
    is_drained = false;
    drain_start(&drain, &rig.worker);
    assert_false(is_drained); /* its disk is still written */
    end_step();
    assert_true(is_drained);
    assert_false(copy.answer.was_aborted);
    assert_int_equal(fake_sense(&copy), 0x0a0d02);
    assert_int_equal(held_count, 0);
    fake_free(&copy);
}

static void test_the_reset_of_a_unit_that_is_not_copied_is_no_matter(void **state)
{
    struct drain drain = { .affects = of_drained_lu, .drained = note_drained };
    struct fake_task copy;
    struct list list;

    (void)state;
    list_simple(&list, 1, 0, 8);
    holds_steps = true;
    copy_task(&copy, &list);
    fake_start(&copy);
    drained_lu = units[2];
    is_drained = false;
    drain_start(&drain, &rig.worker);
    assert_true(is_drained);
    end_step();
    fake_wait(&copy);
    assert_int_equal(copy.answer.status, STATUS_GOOD);
    fake_free(&copy);
}

static void test_a_unit_that_leaves_the_map_stays_until_the_copy_ends(void **state)
{
    struct map_change change = { 0 };
    struct lun_map *map = make_map(0, 1);
    struct fake_task copy;
    struct list list;

    (void)state;
    list_simple(&list, 1, 0, 8);
    holds_steps = true;
    copy_task(&copy, &list);
    fake_start(&copy);
    nexus_move(&rig.nexus, map, &change);
    assert_int_equal(lu_nexus_count(units[1]), 2);
    end_step();
    fake_wait(&copy);
    assert_int_equal(copy.answer.status, STATUS_GOOD); /* nobody drained it here */
    fake_free(&copy);
    assert_int_equal(lu_nexus_count(units[1]), 1);
    lun_map_put(map);
    holds_steps = false;
    while (unit_attention_take(nexus_itl(&rig.nexus, 0, true)) != SENSE_NONE)
        ;
    refused(&list, 0x0a0804, 0, 16 + 32); /* gone now */
}

/* ---- writethrough ---- */

static void test_writethrough_flushes_the_destination_before_good(void **state)
{
    struct fake_task copy;
    struct list list;

    (void)state;
    list_simple(&list, 1, 0, 8);
    holds_steps = takes_io = true;
    copy_task(&copy, &list);
    fake_start(&copy);
    end_step();
    assert_int_equal(copy.finished, 0);
    assert_int_equal(taken_count, 1);
    assert_int_equal(taken_io[0]->op, IO_FLUSH);
    assert_ptr_equal(taken_io[0]->backing, units[1]->backing);
    end_io(0);
    fake_wait(&copy);
    assert_int_equal(copy.answer.status, STATUS_GOOD);
    fake_free(&copy);
}

static void test_a_flush_that_fails_fails_the_copy(void **state)
{
    struct fake_task copy;
    struct list list;

    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        list_simple(&list, 1, 0, 8);
        holds_steps = takes_io = true;
        copy_task(&copy, &list);
        fake_start(&copy);
        end_step();
        if (i == 1) /* another's sync was told instead of ours */
            units[1]->backing->failed_syncs++;
        end_io(i == 0 ? -EIO : 0);
        fake_wait(&copy);
        assert_int_equal(fake_sense(&copy), 0x0a0d01);
        assert_int_equal(copy.answer.sense[9], 18);
        assert_int_equal(copy.answer.sense[19 + 2], 0x03);
        assert_int_equal(copy.answer.sense[19 + 12], 0x0c);
        fake_free(&copy);
    }
}

static void test_an_abort_during_the_flush_waits_for_it(void **state)
{
    struct fake_task copy;
    struct list list;

    (void)state;
    list_simple(&list, 1, 0, 8);
    holds_steps = takes_io = true;
    copy_task(&copy, &list);
    fake_start(&copy);
    end_step();
    command_abort(copy.command);
    assert_int_equal(copy.finished, 0);
    end_io(0);
    assert_int_equal(copy.finished, 1);
    fake_free(&copy);
}

#define TEST(name)         cmocka_unit_test_setup_teardown(name, setup, teardown)
#define WRITETHROUGH(name) cmocka_unit_test_setup_teardown(name, setup_writethrough, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_copy_within_a_unit),
        TEST(test_a_copy_between_units_is_counted_at_its_destination),
        TEST(test_copies_in_both_directions_do_not_wait_for_each_other),
        TEST(test_a_unit_that_is_masked_is_not_reached),
        TEST(test_what_names_no_unit_is_not_reached),
        TEST(test_block_sizes_must_be_equal_and_as_told),
        TEST(test_ranges_are_checked_before_the_first_segment_is_copied),
        TEST(test_a_segment_longer_than_told_is_refused),
        TEST(test_parameter_list_lengths),
        TEST(test_what_the_parser_refuses_is_refused),
        TEST(test_the_other_third_party_commands_are_unknown),
        TEST(test_a_reserved_destination_is_not_written),
        TEST(test_a_reserved_source_is_not_read),
        TEST(test_our_own_unit_reserved_is_a_conflict_of_the_command),
        TEST(test_a_reservation_that_comes_while_it_waits_keeps_it_out),
        TEST(test_a_unit_that_refuses_is_quoted),
        TEST(test_a_disk_that_fails_tells_which_segment_and_side),
        TEST(test_a_copy_is_asked_for_once),
        TEST(test_a_copy_that_failed_leaves_its_sense),
        TEST(test_without_list_identifier_nothing_is_kept),
        TEST(test_a_reset_discards_what_is_over),
        TEST(test_an_identifier_in_use_is_refused_and_progress_is_told),
        TEST(test_one_more_than_can_be_under_way_is_told_to_wait),
        TEST(test_operating_parameters_tell_what_is_enforced),
        TEST(test_the_source_is_shared_and_the_destination_is_not),
        TEST(test_an_abort_ends_it_between_two_segments),
        TEST(test_an_abort_ends_it_while_it_waits_for_a_gate),
        TEST(test_the_reset_of_another_unit_ends_it_with_an_answer),
        TEST(test_the_reset_of_a_unit_that_is_not_copied_is_no_matter),
        TEST(test_a_unit_that_leaves_the_map_stays_until_the_copy_ends),
        WRITETHROUGH(test_a_copy_within_a_unit),
        WRITETHROUGH(test_writethrough_flushes_the_destination_before_good),
        WRITETHROUGH(test_a_flush_that_fails_fails_the_copy),
        WRITETHROUGH(test_an_abort_during_the_flush_waits_for_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
