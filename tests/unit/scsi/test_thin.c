/* WRITE SAME, UNMAP, GET LBA STATUS and LOG SENSE of a thin unit, and its threshold */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "target/scsi/limits.h"
#include "target/scsi/thin.h"
#include "tests/unit/scsi/disk_bench.h"

#include <errno.h>

enum {
    CHUNK_BLOCKS = LIMIT_CHUNK_BYTES / RIG_BLOCK_BYTES,
    LIST_BYTES_MAX = 8 + 16 * (LIMIT_UNMAP_DESCRIPTORS + 1),
    UNMAP_BIT = 0x08,
    NDOB_BIT = 0x01,
};

static int setup(void **state)
{
    (void)state;
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

static int teardown(void **state)
{
    (void)state;
    rig_close(&rig);
    return 0;
}

static void same_16(uint8_t cdb[16], uint8_t flags, uint64_t lba, uint32_t blocks)
{
    memset(cdb, 0, 16);
    cdb[0] = 0x93;
    cdb[1] = flags;
    put_be64(cdb + 2, lba);
    put_be32(cdb + 10, blocks);
}

/* 0 for GOOD, else the sense. */
static unsigned run(const uint8_t *cdb, const uint8_t *out, uint32_t out_bytes)
{
    struct fake_task task;
    unsigned sense;

    fake_run(&task, &rig, cdb, 0, out, out_bytes);
    sense = fake_sense(&task);
    if (sense == 0)
        assert_int_equal(task.answer.status, STATUS_GOOD);
    fake_free(&task);
    return sense;
}

static unsigned write_same(uint8_t flags, uint64_t lba, uint32_t blocks, const uint8_t *block)
{
    uint8_t cdb[16];

    same_16(cdb, flags, lba, blocks);
    return run(cdb, block, block ? RIG_BLOCK_BYTES : 0);
}

/* What the blocks must be: `block` from `lba` on, and what `data` says about them. */
static void expect_same(uint32_t lba, uint16_t blocks, const uint8_t *block)
{
    uint8_t *all = malloc((size_t)blocks * RIG_BLOCK_BYTES);

    assert_non_null(all);
    for (unsigned i = 0; i < blocks; i++)
        memcpy(all + (size_t)i * RIG_BLOCK_BYTES, block, RIG_BLOCK_BYTES);
    expect_blocks(lba, blocks, all);
    free(all);
}

static const uint8_t zero_block[RIG_BLOCK_BYTES];

static void test_a_block_is_written_as_often_as_asked_and_nowhere_else(void **state)
{
    uint8_t *block = pattern(RIG_BLOCK_BYTES, 1), *around = pattern(RIG_BLOCK_BYTES, 2);

    (void)state;
    write_blocks(9, 1, around);
    write_blocks(10 + 3 * CHUNK_BLOCKS + 5, 1, around);
    assert_int_equal(write_same(0, 10, 3 * CHUNK_BLOCKS + 5, block), 0);
    expect_blocks(9, 1, around);
    expect_same(10, 3 * CHUNK_BLOCKS + 5, block);
    expect_blocks(10 + 3 * CHUNK_BLOCKS + 5, 1, around);
    free(block);
    free(around);
}

static void test_zeros_make_a_hole_that_reads_as_zeros(void **state)
{
    static const struct {
        uint8_t flags;
        bool has_data;
    } ways[] = {
        {0,                     true },
        { UNMAP_BIT,            true },
        { NDOB_BIT,             false},
        { UNMAP_BIT | NDOB_BIT, false},
    };
    uint8_t *data = pattern(64 * RIG_BLOCK_BYTES, 3);

    (void)state;
    for (unsigned i = 0; i < sizeof ways / sizeof *ways; i++) {
        struct backing_extent extent;

        write_blocks(0, 64, data);
        assert_int_equal(write_same(ways[i].flags, 1, 62, ways[i].has_data ? zero_block : NULL), 0);
        expect_blocks(0, 1, data);
        expect_same(1, 62, zero_block);
        expect_blocks(63, 1, data + 63 * RIG_BLOCK_BYTES);
        assert_int_equal(backing_extent(rig.lu->backing, 4096, &extent), 0);
        assert_false(extent.is_data);
    }
    free(data);
}

static void test_unmap_of_what_is_not_zeros_writes_it(void **state)
{
    uint8_t *block = pattern(RIG_BLOCK_BYTES, 4);

    (void)state;
    assert_int_equal(write_same(UNMAP_BIT, 100, 20, block), 0);
    expect_same(100, 20, block);
    free(block);
}

static void test_the_last_block_of_the_unit_is_written(void **state)
{
    uint8_t *block = pattern(RIG_BLOCK_BYTES, 5);

    (void)state;
    assert_int_equal(write_same(0, RIG_BLOCKS - 3, 3, block), 0);
    expect_same(RIG_BLOCKS - 3, 3, block);
    assert_int_equal(write_same(0, RIG_BLOCKS - 3, 3, zero_block), 0);
    expect_same(RIG_BLOCKS - 3, 3, zero_block);
    assert_int_equal(write_same(0, RIG_BLOCKS - 3, 4, block), SENSE_LBA_OUT_OF_RANGE);
    free(block);
}

static void test_no_blocks_and_an_anchor_are_refused(void **state)
{
    (void)state;
    assert_int_equal(write_same(0, 0, 0, zero_block), SENSE_INVALID_FIELD_IN_CDB);
    assert_int_equal(write_same(0x10 | UNMAP_BIT, 0, 1, zero_block), SENSE_INVALID_FIELD_IN_CDB);
}

static void test_anything_but_one_block_of_data_is_refused(void **state)
{
    uint8_t *data = pattern(2 * RIG_BLOCK_BYTES, 6), cdb[16];

    (void)state;
    same_16(cdb, 0, 0, 1);
    assert_int_equal(run(cdb, data, RIG_BLOCK_BYTES - 1), SENSE_INVALID_FIELD_IN_COMMAND_IU);
    assert_int_equal(run(cdb, data, 2 * RIG_BLOCK_BYTES), SENSE_INVALID_FIELD_IN_COMMAND_IU);
    assert_int_equal(run(cdb, NULL, 0), SENSE_INVALID_FIELD_IN_COMMAND_IU);
    free(data);
}

static void test_an_aborted_write_same_stops_between_two_slices(void **state)
{
    uint8_t *block = pattern(RIG_BLOCK_BYTES, 7), cdb[16];
    struct fake_task task;

    (void)state;
    takes_io = true;
    same_16(cdb, 0, 0, 4 * CHUNK_BLOCKS);
    fake_task(&task, &rig, cdb, 0, block, RIG_BLOCK_BYTES);
    fake_start(&task);
    end_io(0);
    assert_int_equal(taken_count, 1);
    command_abort(task.command);
    assert_int_equal(task.finished, 1);
    assert_true(task.answer.was_aborted);
    fake_free(&task);
    read_10(cdb, 2 * CHUNK_BLOCKS - 1, 1); /* where the slice in flight is */
    fake_task(&task, &rig, cdb, RIG_BLOCK_BYTES, NULL, 0);
    fake_start(&task);
    assert_int_equal(task.finished, 0);
    takes_io = false;
    end_io(0);
    fake_wait(&task);
    assert_memory_equal(task.in, block, RIG_BLOCK_BYTES);
    fake_free(&task);
    expect_same(0, 2 * CHUNK_BLOCKS, block);
    expect_same(2 * CHUNK_BLOCKS, 2 * CHUNK_BLOCKS, zero_block);
    free(block);
}

static void test_an_aborted_write_same_of_zeros_does_not_wait_for_the_disk(void **state)
{
    uint8_t *data = pattern(8 * RIG_BLOCK_BYTES, 7), cdb[16];
    struct fake_task task;

    (void)state;
    write_blocks(0, 8, data);
    same_16(cdb, 0, 0, 4 * CHUNK_BLOCKS);
    fake_task(&task, &rig, cdb, 0, zero_block, RIG_BLOCK_BYTES);
    fake_start(&task);
    command_abort(task.command);
    assert_int_equal(task.finished, 1);
    assert_true(task.answer.was_aborted);
    fake_free(&task);
    expect_same(0, 8, zero_block); /* the slice had begun, and is waited for here */
    free(data);
}

static void test_a_reader_gets_in_between_two_slices(void **state)
{
    uint8_t *block = pattern(RIG_BLOCK_BYTES, 8), same[16], read[10];
    struct fake_task writer, reader;

    (void)state;
    takes_io = true;
    same_16(same, 0, 0, 3 * CHUNK_BLOCKS);
    fake_task(&writer, &rig, same, 0, block, RIG_BLOCK_BYTES);
    fake_start(&writer);
    read_10(read, 0, 1); /* where the slice in flight is */
    fake_task(&reader, &rig, read, RIG_BLOCK_BYTES, NULL, 0);
    fake_start(&reader);
    assert_int_equal(reader.finished, 0);
    end_io(0);
    fake_wait(&reader);
    assert_int_equal(writer.finished, 0);
    assert_memory_equal(reader.in, block, RIG_BLOCK_BYTES);
    while (taken_count > 0)
        end_io(0);
    fake_wait(&writer);
    fake_free(&reader);
    fake_free(&writer);
    free(block);
}

static void test_writethrough_answers_when_it_is_on_stable_storage(void **state)
{
    uint8_t *block = pattern(RIG_BLOCK_BYTES, 9), cdb[16];
    struct fake_task task;

    (void)state;
    takes_io = true;
    same_16(cdb, 0, 0, 2);
    fake_task(&task, &rig, cdb, 0, block, RIG_BLOCK_BYTES);
    fake_start(&task);
    end_io(0);
    assert_int_equal(task.finished, 0);
    assert_int_equal(taken_io[0]->op, IO_FLUSH);
    end_io(-EIO);
    assert_int_equal(fake_sense(&task), SENSE_WRITE_ERROR);
    fake_free(&task);
    free(block);
}

/* ---- UNMAP ---- */

static size_t list_of(uint8_t list[LIST_BYTES_MAX], unsigned count)
{
    memset(list, 0, LIST_BYTES_MAX);
    put_be16(list, (uint16_t)(6 + 16 * count));
    put_be16(list + 2, (uint16_t)(16 * count));
    return 8 + 16 * count;
}

static void put_range(uint8_t *list, unsigned i, uint64_t lba, uint32_t blocks)
{
    put_be64(list + 8 + 16 * i, lba);
    put_be32(list + 8 + 16 * i + 8, blocks);
}

static unsigned unmap(const uint8_t *list, size_t len)
{
    uint8_t cdb[10] = { 0x42 };

    put_be16(cdb + 7, (uint16_t)len);
    return run(cdb, list, (uint32_t)len);
}

static void test_unmapped_blocks_read_as_zeros_whole_or_in_part(void **state)
{
    uint8_t *data = pattern(64 * RIG_BLOCK_BYTES, 10), list[LIST_BYTES_MAX];
    size_t len = list_of(list, 3);

    (void)state;
    write_blocks(0, 64, data);
    put_range(list, 0, 3, 1);   /* inside one block of the file */
    put_range(list, 1, 13, 20); /* some whole ones and two in part */
    put_range(list, 2, 60, 0);
    assert_int_equal(unmap(list, len), 0);
    memset(data + 3 * RIG_BLOCK_BYTES, 0, RIG_BLOCK_BYTES);
    memset(data + 13 * RIG_BLOCK_BYTES, 0, 20 * RIG_BLOCK_BYTES);
    expect_blocks(0, 64, data);
    free(data);
}

static void test_nothing_is_unmapped_when_one_descriptor_is_bad(void **state)
{
    uint8_t *data = pattern(8 * RIG_BLOCK_BYTES, 11), list[LIST_BYTES_MAX];
    size_t len = list_of(list, 2);

    (void)state;
    write_blocks(0, 8, data);
    put_range(list, 0, 0, 8);
    put_range(list, 1, RIG_BLOCKS - 1, 2);
    assert_int_equal(unmap(list, len), SENSE_LBA_OUT_OF_RANGE);
    expect_blocks(0, 8, data);
    free(data);
}

static void test_unmap_lists_of_wrong_length_are_refused(void **state)
{
    uint8_t list[LIST_BYTES_MAX], cdb[10] = { 0x42 };

    (void)state;
    list_of(list, 1);
    assert_int_equal(unmap(list, 0), 0); /* none at all is no error */
    assert_int_equal(unmap(list, 7), SENSE_PARAMETER_LIST_LENGTH_ERROR);
    assert_int_equal(unmap(list, 23), SENSE_PARAMETER_LIST_LENGTH_ERROR);
    put_be16(cdb + 7, 0xffff);
    assert_int_equal(run(cdb, list, 24), SENSE_INVALID_FIELD_IN_PARAMETER_LIST);
    put_be16(cdb + 7, 24); /* and less comes */
    assert_int_equal(run(cdb, list, 8), SENSE_PARAMETER_LIST_LENGTH_ERROR);
    assert_int_equal(run(cdb, NULL, 0), SENSE_PARAMETER_LIST_LENGTH_ERROR);
}

static void test_without_vaai_there_is_none_of_it(void **state)
{
    static const uint8_t opcodes[] = { 0x41, 0x42, 0x48, 0x93 };
    uint8_t cdb[16] = { 0 };

    (void)state;
    for (unsigned i = 0; i < sizeof opcodes; i++) {
        cdb[0] = opcodes[i];
        cdb[1] = opcodes[i] == 0x48 ? 0x02 : 0;
        assert_int_equal(run(cdb, NULL, 0), SENSE_INVALID_OPCODE);
    }
}

/* ---- GET LBA STATUS ---- */

static unsigned get_lba_status(struct fake_task *task, uint64_t lba, uint32_t allocation_length)
{
    uint8_t cdb[16] = { 0x9e, 0x12 };

    put_be64(cdb + 2, lba);
    put_be32(cdb + 10, allocation_length);
    fake_run(task, &rig, cdb, allocation_length, NULL, 0);
    return fake_sense(task);
}

static void expect_descriptor(const struct fake_task *task, unsigned i, uint64_t lba,
                              uint32_t blocks, uint8_t state)
{
    const uint8_t *p = task->in + 8 + 16 * i;

    assert_true(task->in_bytes >= 8 + 16 * (i + 1));
    assert_int_equal(get_be64(p), lba);
    assert_int_equal(get_be32(p + 8), blocks);
    assert_int_equal(p[12], state);
}

static void test_what_is_mapped_and_what_is_not_is_told(void **state)
{
    uint8_t *data = pattern(16 * RIG_BLOCK_BYTES, 12);
    struct fake_task task;

    (void)state;
    write_blocks(64, 16, data);
    assert_int_equal(get_lba_status(&task, 0, 8 + 16 * 8), 0);
    assert_int_equal(get_be32(task.in), 4 + 3 * 16);
    expect_descriptor(&task, 0, 0, 64, 1);
    expect_descriptor(&task, 1, 64, 16, 0);
    expect_descriptor(&task, 2, 80, RIG_BLOCKS - 80, 1);
    fake_free(&task);
    assert_int_equal(get_lba_status(&task, 70, 24), 0); /* room for one */
    assert_int_equal(task.in_bytes, 24);
    expect_descriptor(&task, 0, 70, 10, 0);
    fake_free(&task);
    free(data);
}

static void test_a_short_lba_status_is_cut_and_one_behind_the_end_is_refused(void **state)
{
    struct fake_task task;

    (void)state;
    assert_int_equal(get_lba_status(&task, 0, 10), 0);
    assert_int_equal(task.in_bytes, 10);
    assert_int_equal(get_be32(task.in), 4 + 16);
    fake_free(&task);
    assert_int_equal(get_lba_status(&task, RIG_BLOCKS - 1, 24), 0);
    expect_descriptor(&task, 0, RIG_BLOCKS - 1, 1, 1);
    fake_free(&task);
    assert_int_equal(get_lba_status(&task, RIG_BLOCKS, 24), SENSE_LBA_OUT_OF_RANGE);
    fake_free(&task);
    assert_int_equal(get_lba_status(&task, UINT64_MAX, 24), SENSE_LBA_OUT_OF_RANGE);
    fake_free(&task);
}

/* ---- LOG SENSE ---- */

static void test_the_provisioning_log_page_tells_what_the_image_takes(void **state)
{
    uint8_t *data = pattern(4096 * RIG_BLOCK_BYTES, 13), cdb[10] = { 0x4d, 0, 0x4c };
    struct fake_task task;

    (void)state;
    write_blocks(0, 4096, data); /* 2 MiB */
    put_be16(cdb + 7, 256);
    fake_run(&task, &rig, cdb, 256, NULL, 0);
    assert_int_equal(task.answer.status, STATUS_GOOD);
    assert_int_equal(task.in_bytes, 4 + 12 + 12);
    assert_int_equal(get_be16(task.in + 16), 2);
    assert_in_range(get_be32(task.in + 20), 2, 3); /* and what the file system needs for it */
    fake_free(&task);
    cdb[2] = 0x8c; /* defaults: there are none */
    fake_run(&task, &rig, cdb, 256, NULL, 0);
    assert_int_equal(fake_sense(&task), SENSE_INVALID_FIELD_IN_CDB);
    fake_free(&task);
    free(data);
}

/* ---- the threshold ---- */

static void test_the_threshold_is_passed_and_comes_back_five_percent_below(void **state)
{
    enum { SIZE = 1000 };

    (void)state;
    assert_false(thin_is_past(90, SIZE, 400, 100, false)); /* 80 % of what there can be */
    assert_true(thin_is_past(90, SIZE, 90 * 5, 10 * 5, false));
    assert_false(thin_is_past(90, SIZE, 89 * 5, 11 * 5, false));
    assert_true(thin_is_past(90, SIZE, 86 * 5, 14 * 5, true));
    assert_false(thin_is_past(90, SIZE, 84 * 5, 16 * 5, true));
}

static void test_an_image_whose_rest_fits_is_not_warned_of(void **state)
{
    (void)state;
    assert_false(thin_is_past(90, 1000, 950, 50, false));
    assert_true(thin_is_past(90, 1000, 950, 49, false));
    assert_false(thin_is_past(90, 1000, 1000, 0, true)); /* all of it is there */
    assert_false(thin_is_past(90, 1000, 1010, 0, false));
    assert_false(thin_is_past(90, UINT64_C(1) << 60, UINT64_C(1) << 59, UINT64_MAX, false));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_block_is_written_as_often_as_asked_and_nowhere_else),
        TEST(test_zeros_make_a_hole_that_reads_as_zeros),
        TEST(test_unmap_of_what_is_not_zeros_writes_it),
        TEST(test_the_last_block_of_the_unit_is_written),
        TEST(test_no_blocks_and_an_anchor_are_refused),
        TEST(test_anything_but_one_block_of_data_is_refused),
        TEST(test_an_aborted_write_same_stops_between_two_slices),
        TEST(test_an_aborted_write_same_of_zeros_does_not_wait_for_the_disk),
        TEST(test_a_reader_gets_in_between_two_slices),
        cmocka_unit_test_setup_teardown(test_writethrough_answers_when_it_is_on_stable_storage,
                                        setup_writethrough, teardown),
        TEST(test_unmapped_blocks_read_as_zeros_whole_or_in_part),
        TEST(test_nothing_is_unmapped_when_one_descriptor_is_bad),
        TEST(test_unmap_lists_of_wrong_length_are_refused),
        cmocka_unit_test_setup_teardown(test_without_vaai_there_is_none_of_it, setup_without_vaai,
                                        teardown),
        TEST(test_what_is_mapped_and_what_is_not_is_told),
        TEST(test_a_short_lba_status_is_cut_and_one_behind_the_end_is_refused),
        TEST(test_the_provisioning_log_page_tells_what_the_image_takes),
        cmocka_unit_test(test_the_threshold_is_passed_and_comes_back_five_percent_below),
        cmocka_unit_test(test_an_image_whose_rest_fits_is_not_warned_of),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
