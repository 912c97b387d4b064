/* WRITE ATOMIC(16), and COMPARE AND WRITE of several pages: all or nothing, to everybody */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "target/scsi/journal.h"
#include "target/scsi/limits.h"
#include "target/worker/log.h"
#include "tests/unit/scsi/disk_bench.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BLOCK = RIG_BLOCK_BYTES, LBA = 43 }; /* 43 and eight blocks: crosses a page */

static int setup(void **state)
{
    (void)state;
    log_set_level(LOG_LEVEL_ERROR);
    return disk_open(&(struct rig_options){ .cache = CACHE_WRITEBACK, .has_vaai = true });
}

static int setup_writethrough(void **state)
{
    (void)state;
    return disk_open(&(struct rig_options){ .cache = CACHE_WRITETHROUGH, .has_vaai = true });
}

static int setup_without_vaai(void **state)
{
    (void)state;
    return disk_open(&(struct rig_options){ .cache = CACHE_WRITEBACK });
}

static int setup_readonly(void **state)
{
    (void)state;
    return disk_open(
        &(struct rig_options){ .cache = CACHE_WRITEBACK, .has_vaai = true, .is_readonly = true });
}

static void journal_name(char path[96])
{
    snprintf(path, 96, "%s.nestor-journal", rig.path);
}

static int teardown(void **state)
{
    char path[96];

    (void)state;
    journal_name(path);
    rmdir(path);
    rig_close(&rig);
    return 0;
}

static bool has_journal(void)
{
    char path[96];

    journal_name(path);
    return access(path, F_OK) == 0;
}

/* It is there, and every slot's page is zeros. */
static void expect_free_slots(void)
{
    static uint8_t page[JOURNAL_HEADER_BYTES], zeros[JOURNAL_HEADER_BYTES];
    char path[96];
    int fd;

    journal_name(path);
    fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    for (unsigned slot = 0; slot < JOURNAL_SLOTS; slot++) {
        off_t at = JOURNAL_HEADER_BYTES + (off_t)slot * JOURNAL_SLOT_BYTES;
        assert_int_equal(pread(fd, page, sizeof page, at), sizeof page);
        assert_memory_equal(page, zeros, sizeof page);
    }
    close(fd);
}

static void atomic_cdb(uint8_t cdb[16], uint64_t lba, uint16_t blocks)
{
    memset(cdb, 0, 16);
    cdb[0] = 0x9c;
    put_be64(cdb + 2, lba);
    put_be16(cdb + 12, blocks);
}

static void caw_cdb(uint8_t cdb[16], uint64_t lba, uint8_t blocks)
{
    memset(cdb, 0, 16);
    cdb[0] = 0x89;
    put_be64(cdb + 2, lba);
    cdb[13] = blocks;
}

static void atomic_write(uint32_t lba, uint16_t blocks, const uint8_t *data)
{
    struct fake_task task;
    uint8_t cdb[16];

    atomic_cdb(cdb, lba, blocks);
    fake_run(&task, &rig, cdb, 0, data, blocks * BLOCK);
    assert_int_equal(task.answer.status, STATUS_GOOD);
    assert_int_equal(task.answer.transfer_bytes, blocks * BLOCK);
    fake_free(&task);
}

static unsigned sense_of(const uint8_t cdb[16], uint32_t out_bytes)
{
    uint8_t *out = calloc(1, out_bytes + 1);
    struct fake_task task;
    unsigned sense;

    assert_non_null(out);
    memset(out, 'x', out_bytes);
    fake_run(&task, &rig, cdb, 0, out, out_bytes);
    sense = fake_sense(&task);
    fake_free(&task);
    free(out);
    return sense;
}

static void expect_byte(uint32_t lba, uint16_t blocks, uint8_t byte)
{
    uint8_t *data = malloc((size_t)blocks * BLOCK);

    assert_non_null(data);
    memset(data, byte, (size_t)blocks * BLOCK);
    expect_blocks(lba, blocks, data);
    free(data);
}

/* ---- what is written, and how ---- */

static void test_writes_of_all_lengths_arrive(void **state)
{
    static const uint16_t lengths[] = { 1, 5, 8, 9, 16, 127, 255, 256 };

    (void)state;
    for (unsigned i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        uint8_t *data = pattern(lengths[i] * BLOCK, i + 1);

        atomic_write(LBA, lengths[i], data);
        expect_blocks(LBA, lengths[i], data);
        atomic_write(RIG_BLOCKS - lengths[i], lengths[i], data);
        expect_blocks(RIG_BLOCKS - lengths[i], lengths[i], data);
        free(data);
    }
    expect_free_slots();
}

static void test_a_write_within_a_page_needs_no_journal(void **state)
{
    uint8_t *data = pattern(16 * BLOCK, 1);

    (void)state;
    atomic_write(40, 8, data);  /* a page */
    atomic_write(LBA, 5, data); /* up to its end */
    assert_false(has_journal());
    atomic_write(LBA, 6, data); /* and a block more */
    assert_true(has_journal());
    expect_blocks(LBA, 6, data);
    free(data);
}

static void test_writethrough_and_fua_are_durable(void **state)
{
    uint8_t *data = pattern(8 * BLOCK, 1);
    struct fake_task task;
    uint8_t cdb[16];

    (void)state;
    takes_io = true;
    atomic_cdb(cdb, 40, 8);
    cdb[1] = rig.lu->cache == CACHE_WRITEBACK ? 0x18 : 0; /* DPO, FUA */
    fake_task(&task, &rig, cdb, 0, data, 8 * BLOCK);
    fake_start(&task);
    assert_int_equal(taken_count, 1);
    assert_true(taken_io[0]->is_durable);
    end_io(0);
    fake_wait(&task);
    assert_int_equal(task.answer.status, STATUS_GOOD);
    fake_free(&task);
    takes_io = false;
    expect_blocks(40, 8, data);
    free(data);
}

static void test_more_data_than_blocks_is_written_without_the_rest(void **state)
{
    uint8_t *data = pattern(20 * BLOCK, 1);
    struct fake_task task;
    uint8_t cdb[16];

    (void)state;
    atomic_cdb(cdb, LBA, 16);
    fake_run(&task, &rig, cdb, 0, data, 20 * BLOCK);
    assert_int_equal(task.answer.status, STATUS_GOOD);
    assert_int_equal(task.answer.transfer_bytes, 16 * BLOCK);
    fake_free(&task);
    expect_blocks(LBA, 16, data);
    expect_byte(LBA + 16, 4, 0);
    free(data);
}

/* ---- among others ---- */

static pthread_mutex_t may_go_on = PTHREAD_MUTEX_INITIALIZER;

static void wait_to_go_on(struct job *job)
{
    (void)job;
    pthread_mutex_lock(&may_go_on);
    pthread_mutex_unlock(&may_go_on);
}

static void nothing(struct job *job)
{
    (void)job;
}

static void test_who_finds_no_slot_waits_and_is_served(void **state)
{
    enum { TASKS = 3 * JOURNAL_SLOTS, EACH = 20 };
    struct job busy[RIG_JOB_THREADS];
    struct fake_task tasks[TASKS];
    uint8_t *data[TASKS], cdb[16];

    (void)state;
    pthread_mutex_lock(&may_go_on);
    for (unsigned i = 0; i < RIG_JOB_THREADS; i++) {
        busy[i] = (struct job){ .run = wait_to_go_on, .done = nothing };
        job_pool_submit(rig.jobs, &busy[i]);
    }
    for (unsigned i = 0; i < TASKS; i++) {
        data[i] = pattern(EACH * BLOCK, i);
        atomic_cdb(cdb, i * EACH, EACH);
        fake_task(&tasks[i], &rig, cdb, 0, data[i], EACH * BLOCK);
        fake_start(&tasks[i]);
        assert_int_equal(tasks[i].finished, 0);
    }
    assert_false(TAILQ_EMPTY(&rig.lu->atomic_writes.waiting));
    pthread_mutex_unlock(&may_go_on);
    for (unsigned i = 0; i < TASKS; i++) {
        fake_wait(&tasks[i]);
        assert_int_equal(tasks[i].answer.status, STATUS_GOOD);
        fake_free(&tasks[i]);
    }
    assert_int_equal(rig.lu->atomic_writes.used, 0);
    for (unsigned i = 0; i < TASKS; i++) {
        expect_blocks(i * EACH, EACH, data[i]);
        free(data[i]);
    }
    expect_free_slots();
}

static void test_writes_of_one_range_come_one_after_the_other(void **state)
{
    enum { TASKS = 12, EACH = 40 };
    struct fake_task tasks[TASKS];
    uint8_t data[EACH * BLOCK], cdb[16];

    (void)state;
    for (unsigned i = 0; i < TASKS; i++) {
        memset(data, (int)i + 1, sizeof data);
        atomic_cdb(cdb, LBA, EACH);
        fake_task(&tasks[i], &rig, cdb, 0, data, sizeof data);
        tasks[i].nexus = i % 2 ? &rig.other : &rig.nexus;
        fake_start(&tasks[i]);
    }
    for (unsigned i = 0; i < TASKS; i++) {
        fake_wait(&tasks[i]);
        assert_int_equal(tasks[i].answer.status, STATUS_GOOD);
        fake_free(&tasks[i]);
    }
    expect_byte(LBA, EACH, TASKS);
}

static void test_a_read_waits_and_sees_all_of_it(void **state)
{
    uint8_t *data = pattern(64 * BLOCK, 1), cdb[16], read[10];
    struct fake_task write, reader;

    (void)state;
    atomic_cdb(cdb, LBA, 64);
    fake_task(&write, &rig, cdb, 0, data, 64 * BLOCK);
    fake_start(&write);
    read_10(read, LBA, 64);
    fake_task(&reader, &rig, read, 64 * BLOCK, NULL, 0);
    reader.nexus = &rig.other;
    fake_start(&reader);
    assert_int_equal(reader.finished, 0);
    fake_wait(&write);
    fake_wait(&reader);
    assert_int_equal(reader.in_bytes, 64 * BLOCK);
    assert_memory_equal(reader.in, data, 64 * BLOCK);
    fake_free(&write);
    fake_free(&reader);
    free(data);
}

static void test_abort_while_data_is_awaited_leaves_nothing(void **state)
{
    uint8_t *data = pattern(64 * BLOCK, 1), cdb[16];
    struct fake_task task;

    (void)state;
    atomic_cdb(cdb, LBA, 64);
    fake_task(&task, &rig, cdb, 0, data, 64 * BLOCK);
    task.is_held_back = true;
    fake_start(&task);
    command_abort(task.command);
    assert_int_equal(task.finished, 1);
    fake_free(&task);
    expect_byte(LBA, 64, 0);
    assert_false(has_journal());
    free(data);
}

static void test_abort_at_the_gate_leaves_nothing(void **state)
{
    uint8_t *data = pattern(64 * BLOCK, 1), *second = pattern(64 * BLOCK, 2), cdb[16];
    struct fake_task task, waiting;

    (void)state;
    atomic_cdb(cdb, LBA, 64);
    fake_task(&task, &rig, cdb, 0, data, 64 * BLOCK);
    fake_start(&task);
    fake_task(&waiting, &rig, cdb, 0, second, 64 * BLOCK);
    fake_start(&waiting);
    command_abort(waiting.command);
    assert_int_equal(waiting.finished, 1);
    assert_true(waiting.answer.was_aborted);
    fake_wait(&task);
    fake_free(&task);
    fake_free(&waiting);
    expect_blocks(LBA, 64, data);
    free(data);
    free(second);
}

static void test_abort_once_it_writes_shows_all_of_it(void **state)
{
    uint8_t *data = pattern(64 * BLOCK, 1), cdb[16];
    struct fake_task task;

    (void)state;
    atomic_cdb(cdb, LBA, 64);
    fake_task(&task, &rig, cdb, 0, data, 64 * BLOCK);
    fake_start(&task);
    command_abort(task.command);
    assert_int_equal(task.finished, 1);
    assert_true(task.answer.was_aborted);
    assert_int_equal(task.unreturned_bursts, 0);
    fake_free(&task);
    expect_blocks(LBA, 64, data);
    free(data);
}

/* ---- errors ---- */

static void test_without_a_journal_nothing_is_written(void **state)
{
    uint8_t cdb[16];
    char path[96];

    (void)state;
    journal_name(path);
    assert_int_equal(mkdir(path, 0700), 0); /* something else has its name */
    atomic_cdb(cdb, LBA, 64);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(sense_of(cdb, 64 * BLOCK) >> 16, 0x4);
    expect_byte(LBA, 64, 0);
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(sense_of(cdb, 64 * BLOCK), 0);
    expect_byte(LBA, 64, 'x');
}

static void test_a_full_disk_is_space_exhausted(void **state)
{
    uint8_t cdb[16];

    (void)state;
    inline_write_answer = -ENOSPC;
    atomic_cdb(cdb, 40, 8);
    assert_int_equal(sense_of(cdb, 8 * BLOCK), SENSE_CODE(0x7, 0x27, 0x07));
    inline_write_answer = 0;
}

/* ---- what is refused ---- */

static uint32_t told_maximum(void)
{
    const uint8_t inquiry[6] = { 0x12, 0x01, 0xb0, 0, 64 };
    struct fake_task task;
    uint32_t most;

    fake_run(&task, &rig, inquiry, 64, NULL, 0);
    assert_int_equal(task.in_bytes, 64);
    most = get_be32(task.in + 44);
    /* ATOMIC ALIGNMENT, ATOMIC TRANSFER LENGTH GRANULARITY, both about boundaries */
    for (unsigned i = 48; i < 64; i++)
        assert_int_equal(task.in[i], 0);
    fake_free(&task);
    return most;
}

static void test_no_blocks_are_good(void **state)
{
    uint8_t cdb[16];

    (void)state;
    atomic_cdb(cdb, LBA, 0);
    assert_int_equal(sense_of(cdb, 0), 0);
    assert_int_equal(sense_of(cdb, BLOCK), 0);
    expect_byte(LBA, 1, 0);
}

static void test_less_data_than_blocks_is_refused_and_writes_nothing(void **state)
{
    static const uint32_t lengths[] = { 0, 1, BLOCK, 16 * BLOCK - 1 };
    uint8_t cdb[16];

    (void)state;
    atomic_cdb(cdb, LBA, 16);
    for (unsigned i = 0; i < sizeof lengths / sizeof *lengths; i++)
        assert_int_equal(sense_of(cdb, lengths[i]), SENSE_CODE(0x5, 0x24, 0x00));
    expect_byte(LBA, 16, 0);
}

static void test_boundaries_and_protection_are_refused(void **state)
{
    static const struct {
        uint8_t byte, value;
    } fields[] = {
        {10,  0x01},
        { 11, 0x08},
        { 1,  0x20},
        { 1,  0x04}
    };
    uint8_t cdb[16];

    (void)state;
    for (unsigned i = 0; i < sizeof fields / sizeof *fields; i++) {
        atomic_cdb(cdb, LBA, 16);
        cdb[fields[i].byte] = fields[i].value;
        assert_int_equal(sense_of(cdb, 16 * BLOCK), SENSE_CODE(0x5, 0x24, 0x00));
    }
    expect_byte(LBA, 16, 0);
}

static void test_a_unit_without_vaai_has_it_too(void **state)
{
    uint8_t *data = pattern(16 * BLOCK, 1);

    (void)state;
    assert_int_equal(told_maximum(), 256);
    atomic_write(LBA, 16, data);
    expect_blocks(LBA, 16, data);
    free(data);
}

static void test_a_readonly_unit_refuses_it_and_tells_of_none(void **state)
{
    uint8_t cdb[16];

    (void)state;
    assert_int_equal(told_maximum(), 0);
    atomic_cdb(cdb, LBA, 16);
    assert_int_equal(sense_of(cdb, 16 * BLOCK), SENSE_CODE(0x7, 0x27, 0x00));
}

/* ---- COMPARE AND WRITE of several pages ---- */

static void run_caw(uint8_t expected, uint8_t wanted, unsigned expected_sense)
{
    enum { BLOCKS = 128 };
    uint8_t *halves = malloc(2 * BLOCKS * BLOCK), cdb[16];
    struct fake_task task;

    assert_non_null(halves);
    memset(halves, expected, BLOCKS * BLOCK);
    memset(halves + BLOCKS * BLOCK, wanted, BLOCKS * BLOCK);
    caw_cdb(cdb, LBA, BLOCKS);
    fake_run(&task, &rig, cdb, 0, halves, 2 * BLOCKS * BLOCK);
    assert_int_equal(fake_sense(&task), expected_sense);
    fake_free(&task);
    free(halves);
}

static void test_caw_of_many_pages_goes_through_the_journal(void **state)
{
    (void)state;
    run_caw(0, 'a', 0);
    expect_byte(LBA, 128, 'a');
    expect_free_slots();
    run_caw('x', 'b', SENSE_MISCOMPARE);
    expect_byte(LBA, 128, 'a');
    run_caw('a', 'b', 0);
    expect_byte(LBA, 128, 'b');
    expect_byte(LBA + 128, 8, 0);
}

static void test_caw_of_many_pages_is_all_done_when_aborted_in_its_write(void **state)
{
    enum { BLOCKS = 128 };
    uint8_t *halves = calloc(2, BLOCKS * BLOCK), cdb[16];
    struct fake_task task;

    (void)state;
    assert_non_null(halves);
    expect_byte(LBA, BLOCKS, 0); /* the first read of all asks for holes: not this one's */
    memset(halves + BLOCKS * BLOCK, 'w', BLOCKS * BLOCK);
    caw_cdb(cdb, LBA, BLOCKS);
    fake_task(&task, &rig, cdb, 0, halves, 2 * BLOCKS * BLOCK);
    fake_start(&task);
    command_abort(task.command);
    assert_int_equal(task.finished, 1);
    fake_free(&task);
    free(halves);
    expect_byte(LBA, BLOCKS, 'w');
}

#define TEST(name)            cmocka_unit_test_setup_teardown(name, setup, teardown)
#define TEST_ON(name, set_up) cmocka_unit_test_setup_teardown(name, set_up, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_writes_of_all_lengths_arrive),
        TEST_ON(test_writes_of_all_lengths_arrive, setup_writethrough),
        TEST(test_a_write_within_a_page_needs_no_journal),
        TEST(test_writethrough_and_fua_are_durable),
        TEST_ON(test_writethrough_and_fua_are_durable, setup_writethrough),
        TEST(test_more_data_than_blocks_is_written_without_the_rest),
        TEST(test_who_finds_no_slot_waits_and_is_served),
        TEST(test_writes_of_one_range_come_one_after_the_other),
        TEST(test_a_read_waits_and_sees_all_of_it),
        TEST(test_abort_while_data_is_awaited_leaves_nothing),
        TEST(test_abort_at_the_gate_leaves_nothing),
        TEST(test_abort_once_it_writes_shows_all_of_it),
        TEST(test_without_a_journal_nothing_is_written),
        TEST(test_a_full_disk_is_space_exhausted),
        TEST(test_no_blocks_are_good),
        TEST(test_less_data_than_blocks_is_refused_and_writes_nothing),
        TEST(test_boundaries_and_protection_are_refused),
        TEST_ON(test_a_unit_without_vaai_has_it_too, setup_without_vaai),
        TEST_ON(test_a_readonly_unit_refuses_it_and_tells_of_none, setup_readonly),
        TEST(test_caw_of_many_pages_goes_through_the_journal),
        TEST(test_caw_of_many_pages_is_all_done_when_aborted_in_its_write),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
