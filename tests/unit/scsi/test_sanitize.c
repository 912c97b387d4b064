/* SANITIZE: what it leaves, what it refuses meanwhile, and that nothing stops it once begun */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "target/scsi/journal.h"
#include "target/scsi/sanitize.h"
#include "tests/unit/scsi/disk_bench.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum { IMMED = 0x80, AUSE = 0x20, ERASE = 0x02, OVERWRITE = 0x01, EXIT_FAILURE_MODE = 0x1f };

static int setup(void **state)
{
    (void)state;
    return disk_open(&(struct rig_options){ .cache = CACHE_WRITEBACK, .has_vaai = true });
}

static int teardown(void **state)
{
    (void)state;
    rig_close(&rig);
    return 0;
}

static void sanitize_cdb(uint8_t cdb[10], uint8_t action, uint16_t list_bytes)
{
    memset(cdb, 0, 10);
    cdb[0] = 0x48;
    cdb[1] = action;
    put_be16(cdb + 7, list_bytes);
}

static unsigned run(const uint8_t *cdb, uint32_t in_bytes, const uint8_t *out, uint32_t out_bytes)
{
    struct fake_task task;
    unsigned sense;

    fake_run(&task, &rig, cdb, in_bytes, out, out_bytes);
    sense = fake_sense(&task);
    if (sense == 0)
        assert_int_equal(task.answer.status, STATUS_GOOD);
    fake_free(&task);
    return sense;
}

static unsigned sanitize(uint8_t action, const uint8_t *list, uint16_t list_bytes)
{
    uint8_t cdb[10];

    sanitize_cdb(cdb, action, list_bytes);
    return run(cdb, 0, list, list_bytes);
}

static unsigned opcode_6(uint8_t opcode, uint8_t length)
{
    const uint8_t cdb[6] = { opcode, 0, 0, 0, length, 0 };

    return run(cdb, length, NULL, 0);
}

/* A shared holder of the gate keeps the operation from beginning. */
static struct gate_hold keeper;

static void never_entered(struct gate_hold *hold)
{
    (void)hold;
    fail();
}

static void keep_out(void)
{
    keeper = (struct gate_hold){ .entered = never_entered };
    assert_true(gate_enter(&rig.lu->gate, &keeper, &rig.worker, GATE_SHARED, 0, 512));
}

static void expect_all(uint8_t with)
{
    uint8_t *all = malloc(1024 * RIG_BLOCK_BYTES);

    assert_non_null(all);
    memset(all, with, 1024 * RIG_BLOCK_BYTES);
    for (uint32_t lba = 0; lba < RIG_BLOCKS; lba += 1024)
        expect_blocks(lba, 1024, all);
    free(all);
}

static void test_an_erased_unit_is_a_hole_of_zeros(void **state)
{
    uint8_t *data = pattern(64 * RIG_BLOCK_BYTES, 1);
    struct backing_extent extent;

    (void)state;
    write_blocks(0, 64, data);
    write_blocks(RIG_BLOCKS - 64, 64, data);
    assert_int_equal(sanitize(ERASE, NULL, 0), 0);
    expect_all(0);
    assert_int_equal(backing_extent(rig.lu->backing, 0, &extent), 0);
    assert_false(extent.is_data);
    assert_int_equal(extent.end_bytes, RIG_BLOCKS * RIG_BLOCK_BYTES);
    free(data);
}

static void test_an_overwritten_unit_has_the_pattern_of_the_last_pass(void **state)
{
    uint8_t list[5] = { 0x01, 0, 0, 1, 0xa5 };

    (void)state;
    assert_int_equal(sanitize(OVERWRITE, list, sizeof list), 0);
    expect_all(0xa5);
    list[0] = 0x82; /* INVERT, two passes */
    assert_int_equal(sanitize(OVERWRITE, list, sizeof list), 0);
    expect_all(0x5a);
}

/* A write that is all or nothing leaves a copy in the image's journal. */
static void expect_no_copy(uint8_t byte)
{
    static uint8_t bytes[JOURNAL_BYTES];
    char path[96];
    int fd;

    snprintf(path, sizeof path, "%s.nestor-journal", rig.path);
    fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    assert_int_equal(read(fd, bytes, sizeof bytes), sizeof bytes);
    close(fd);
    unlink(path);
    for (unsigned i = 1; i < sizeof bytes; i++)
        if (bytes[i] == byte && bytes[i - 1] == byte)
            fail_msg("data is still there, %u bytes into the journal", i);
}

static void test_a_copy_of_data_in_the_journal_is_gone_too(void **state)
{
    static const uint8_t actions[] = { ERASE, OVERWRITE };
    static const uint8_t overwrite[5] = { 0x01, 0, 0, 1, 0xa5 };
    uint8_t cdb[16] = { 0x9c, [9] = 43, [13] = 8 }; /* WRITE ATOMIC(16) across a page */
    uint8_t *secret = malloc(8 * RIG_BLOCK_BYTES);

    (void)state;
    assert_non_null(secret);
    memset(secret, 0x77, 8 * RIG_BLOCK_BYTES);
    for (unsigned i = 0; i < sizeof actions; i++) {
        assert_int_equal(run(cdb, 0, secret, 8 * RIG_BLOCK_BYTES), 0);
        if (actions[i] == ERASE)
            assert_int_equal(sanitize(ERASE, NULL, 0), 0);
        else
            assert_int_equal(sanitize(OVERWRITE, overwrite, sizeof overwrite), 0);
        expect_no_copy(0x77);
        assert_int_equal(teardown(NULL) | setup(NULL), 0);
    }
    free(secret);
}

static void test_overwrite_lists_of_wrong_length_are_refused(void **state)
{
    static const uint8_t list[4 + RIG_BLOCK_BYTES + 1] = { 0x01, 0, 0, 1 };
    uint8_t cdb[10];

    (void)state;
    for (uint16_t len = 0; len <= 4; len++)
        assert_int_equal(sanitize(OVERWRITE, list, len), SENSE_INVALID_FIELD_IN_CDB);
    assert_int_equal(sanitize(OVERWRITE, list, sizeof list), SENSE_INVALID_FIELD_IN_CDB);
    sanitize_cdb(cdb, OVERWRITE, 0xffff);
    assert_int_equal(run(cdb, 0, list, 8), SENSE_INVALID_FIELD_IN_CDB);
    sanitize_cdb(cdb, OVERWRITE, 8); /* and less comes */
    assert_int_equal(run(cdb, 0, list, 5), SENSE_PARAMETER_LIST_LENGTH_ERROR);
    assert_int_equal(sanitize(ERASE, list, 8), SENSE_INVALID_FIELD_IN_CDB);
    assert_int_equal(sanitize(0x03, NULL, 0), SENSE_INVALID_FIELD_IN_CDB); /* CRYPTOGRAPHIC ERASE */
}

static void test_only_what_the_standard_names_is_answered_meanwhile(void **state)
{
    uint8_t cdb[10], request_sense[6] = { 0x03, 0, 0, 0, 18, 0 };
    struct fake_task task, asking;

    (void)state;
    keep_out();
    sanitize_cdb(cdb, ERASE, 0);
    fake_task(&task, &rig, cdb, 0, NULL, 0);
    fake_start(&task);
    assert_int_equal(opcode_6(0x00, 0), SENSE_SANITIZE_IN_PROGRESS); /* TEST UNIT READY */
    assert_int_equal(opcode_6(0x08, 1), SENSE_SANITIZE_IN_PROGRESS); /* READ(6) */
    assert_int_equal(opcode_6(0x1b, 0), SENSE_SANITIZE_IN_PROGRESS); /* START STOP UNIT */
    assert_int_equal(sanitize(ERASE, NULL, 0), SENSE_SANITIZE_IN_PROGRESS);
    assert_int_equal(opcode_6(0x12, 96), 0); /* INQUIRY */
    fake_run(&asking, &rig, request_sense, 18, NULL, 0);
    assert_int_equal(asking.in[2], 0x02);
    assert_int_equal(get_be16(asking.in + 12), 0x041b);
    assert_int_equal(asking.in[15], 0x80); /* SKSV: with a progress indication */
    fake_free(&asking);
    gate_leave(&keeper);
    fake_wait(&task);
    assert_int_equal(task.answer.status, STATUS_GOOD);
    fake_free(&task);
    assert_int_equal(opcode_6(0x00, 0), 0);
}

static void test_one_that_has_not_begun_can_be_aborted(void **state)
{
    uint8_t *data = pattern(RIG_BLOCK_BYTES, 2), cdb[10];
    struct fake_task task;

    (void)state;
    write_blocks(0, 1, data);
    keep_out();
    sanitize_cdb(cdb, ERASE, 0);
    fake_task(&task, &rig, cdb, 0, NULL, 0);
    fake_start(&task);
    command_abort(task.command);
    assert_int_equal(task.finished, 1);
    fake_free(&task);
    gate_leave(&keeper);
    expect_blocks(0, 1, data);
    free(data);
}

/* Until the operation is over, or for half a minute. */
static void wait_until_ready(void)
{
    time_t began = time(NULL);

    while (atomic_load(&rig.lu->sanitize.state) == SANITIZE_RUNNING && time(NULL) - began < 30)
        sched_yield();
    assert_int_not_equal(atomic_load(&rig.lu->sanitize.state), SANITIZE_RUNNING);
}

static void test_an_abort_ends_the_command_and_not_the_operation(void **state)
{
    static uint8_t list[4 + RIG_BLOCK_BYTES] = { 0x1f, 0, 2, 0 };
    struct fake_task task;
    uint8_t cdb[10];

    (void)state;
    sanitize_cdb(cdb, OVERWRITE, sizeof list);
    fake_task(&task, &rig, cdb, 0, list, sizeof list);
    fake_start(&task);
    if (!task.finished)
        command_abort(task.command);
    fake_wait(&task);
    fake_free(&task);
    wait_until_ready();
    expect_all(0);
}

static void test_an_immediate_one_is_answered_at_once(void **state)
{
    uint8_t *data = pattern(RIG_BLOCK_BYTES, 3);

    (void)state;
    write_blocks(0, 1, data);
    assert_int_equal(sanitize(IMMED | ERASE, NULL, 0), 0);
    wait_until_ready();
    expect_all(0);
    free(data);
}

static void test_a_unit_that_closes_waits_for_no_more_than_a_slice(void **state)
{
    static uint8_t list[4 + RIG_BLOCK_BYTES] = { 0x1f, 0, 2, 0 };

    (void)state;
    assert_int_equal(sanitize(IMMED | OVERWRITE, list, sizeof list), 0);
    /* the teardown closes it */
}

static void test_the_failure_mode_is_left_as_was_allowed(void **state)
{
    (void)state;
    assert_int_equal(sanitize(EXIT_FAILURE_MODE, NULL, 0), 0); /* not in it: no error */
    atomic_store(&rig.lu->sanitize.state, SANITIZE_FAILED);
    assert_int_equal(opcode_6(0x00, 0), SENSE_SANITIZE_FAILED);
    assert_int_equal(opcode_6(0x12, 96), 0);
    assert_int_equal(sanitize(EXIT_FAILURE_MODE, NULL, 0), SENSE_INVALID_FIELD_IN_CDB);
    rig.lu->sanitize.may_exit = true;
    assert_int_equal(sanitize(EXIT_FAILURE_MODE, NULL, 0), 0);
    assert_int_equal(opcode_6(0x00, 0), 0);
    atomic_store(&rig.lu->sanitize.state, SANITIZE_FAILED);
    assert_int_equal(sanitize(AUSE | ERASE, NULL, 0), 0); /* or by one that succeeds */
    assert_int_equal(opcode_6(0x00, 0), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_an_erased_unit_is_a_hole_of_zeros),
        TEST(test_an_overwritten_unit_has_the_pattern_of_the_last_pass),
        TEST(test_a_copy_of_data_in_the_journal_is_gone_too),
        TEST(test_overwrite_lists_of_wrong_length_are_refused),
        TEST(test_only_what_the_standard_names_is_answered_meanwhile),
        TEST(test_one_that_has_not_begun_can_be_aborted),
        TEST(test_an_abort_ends_the_command_and_not_the_operation),
        TEST(test_an_immediate_one_is_answered_at_once),
        TEST(test_a_unit_that_closes_waits_for_no_more_than_a_slice),
        TEST(test_the_failure_mode_is_left_as_was_allowed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
