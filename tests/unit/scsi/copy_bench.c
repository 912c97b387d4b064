#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/unit/scsi/copy_bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct lu *units[UNITS];
char paths[UNITS][32];

bool holds_steps;
struct slow_job *held[HELD_MAX];
unsigned held_count;

void __real_worker_slow(struct worker *worker, struct job_group *group, struct slow_job *job);
void __wrap_worker_slow(struct worker *worker, struct job_group *group, struct slow_job *job);

void __wrap_worker_slow(struct worker *worker, struct job_group *group, struct slow_job *job)
{
    if (!holds_steps)
        return __real_worker_slow(worker, group, job);
    assert_true(held_count < HELD_MAX);
    job->worker = worker;
    held[held_count++] = job;
}

void end_step(void)
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

struct lun_map *make_map(unsigned first, unsigned count)
{
    struct lun_map *map = lun_map_create(count);

    assert_non_null(map);
    for (unsigned i = 0; i < count; i++)
        map->entries[i] =
            (struct lun_entry){ .lun = (uint16_t)(first + i), .lu = units[first + i] };
    return map;
}

void show(struct lun_map *map)
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

int copy_setup(void **state)
{
    (void)state;
    return setup_with(CACHE_WRITEBACK);
}

int copy_setup_writethrough(void **state)
{
    (void)state;
    return setup_with(CACHE_WRITETHROUGH);
}

int copy_teardown(void **state)
{
    (void)state;
    assert_int_equal(held_count, 0);
    rig_close(&rig);
    for (unsigned i = 1; i < UNITS; i++) {
        char journal[sizeof paths[i] + 16];

        assert_int_equal(units[i]->copies, 0);
        snprintf(journal, sizeof journal, "%s.nestor-journal", paths[i]);
        lu_close(units[i]);
        unlink(paths[i]);
        unlink(journal); /* made when it was needed */
    }
    return 0;
}

void fill(unsigned unit, uint32_t lba, uint32_t blocks, uint8_t byte)
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

void expect_filled(unsigned unit, uint32_t lba, uint32_t blocks, uint8_t byte)
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

void list_begin(struct list *list, uint8_t list_id, uint8_t usage)
{
    memset(list, 0, sizeof *list);
    list->bytes[0] = list_id;
    list->bytes[1] = (uint8_t)(usage << 3);
}

uint8_t *list_cscd(struct list *list, unsigned unit)
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

uint8_t *list_segment(struct list *list, uint16_t source, uint64_t from, uint16_t destination,
                      uint64_t to, uint16_t blocks)
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

uint32_t list_bytes(const struct list *list)
{
    return 16 + 32 * list->cscds + 28 * list->segments;
}

void list_simple(struct list *list, uint8_t list_id, uint8_t usage, uint16_t blocks)
{
    list_begin(list, list_id, usage);
    list_cscd(list, 0);
    list_cscd(list, 1);
    list_segment(list, 0, 0, 1, 1000, blocks);
}

void copy_task(struct fake_task *task, const struct list *list)
{
    uint8_t cdb[16] = { 0x83 };

    put_be32(cdb + 10, list_bytes(list));
    fake_task(task, &rig, cdb, 0, list->bytes, list_bytes(list));
}

void copy_run(struct fake_task *task, const struct list *list)
{
    copy_task(task, list);
    fake_start(task);
    fake_wait(task);
}

void expect_good(const struct list *list)
{
    struct fake_task task;

    copy_run(&task, list);
    assert_int_equal(fake_sense(&task), 0);
    assert_int_equal(task.answer.status, STATUS_GOOD);
    fake_free(&task);
}

struct command refused(const struct list *list, unsigned sense, unsigned segment, int pointer)
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

void ask(struct fake_task *task, uint8_t action, uint8_t list_id, uint32_t bytes)
{
    uint8_t cdb[16] = { 0x84, action, list_id };

    put_be32(cdb + 10, bytes);
    fake_run(task, &rig, cdb, bytes, NULL, 0);
}
