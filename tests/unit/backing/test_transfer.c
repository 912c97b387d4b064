#include "backing/file.h"
#include "backing/transfer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/uio.h>

/* No kernel here: the calls are looked at, and answered by the test. */

enum { SIZE_BYTES = 1024 * 1024 };

static uint8_t bytes[SIZE_BYTES];

static struct backing image(void)
{
    return (struct backing){ .fd = 7, .size_bytes = SIZE_BYTES };
}

static struct io begin(struct backing *backing, enum io_op op, bool is_durable)
{
    struct io io = {
        .op = op,
        .is_durable = is_durable,
        .backing = backing,
        .bytes = bytes,
        .len_bytes = 10000,
        .offset_bytes = 500,
    };

    transfer_begin(&io, false);
    return io;
}

static struct call next(const struct io *io)
{
    struct call call;

    transfer_next(io, &call);
    return call;
}

static void assert_over(struct io *io, int64_t answer, int result)
{
    assert_true(transfer_went(io, answer));
    assert_int_equal(io->result, result);
}

static void test_short_read_goes_on_where_it_stopped(void **state)
{
    struct backing backing = image();
    struct io io = begin(&backing, IO_READ, false);
    struct call call = next(&io);

    (void)state;
    assert_int_equal(call.kind, CALL_READ);
    assert_int_equal(call.fd, 7);
    assert_int_equal(call.len_bytes, 10000);
    assert_false(transfer_went(&io, 4096));
    call = next(&io);
    assert_int_equal(call.offset_bytes, 500 + 4096);
    assert_int_equal(call.len_bytes, 10000 - 4096);
    assert_ptr_equal(call.bytes, bytes + 4096);
    assert_over(&io, 10000 - 4096, 0);
}

static void test_read_that_ends_early_is_an_error(void **state)
{
    struct backing backing = image();
    struct io io = begin(&backing, IO_READ, false);

    (void)state;
    assert_false(transfer_went(&io, 9999));
    assert_over(&io, 0, -EIO);
}

static void test_interrupted_call_is_made_again(void **state)
{
    struct backing backing = image();
    struct io io = begin(&backing, IO_WRITE, false);

    (void)state;
    for (int i = 0; i < 1000; i++)
        assert_false(transfer_went(&io, -EINTR));
    assert_int_equal(next(&io).kind, CALL_WRITE);
    assert_over(&io, 10000, 0);
}

static void test_busy_disk_is_asked_again_but_not_forever(void **state)
{
    struct backing backing = image();
    struct io io = begin(&backing, IO_WRITE, false);
    int tries = 1;

    (void)state;
    while (tries < 1000 && !transfer_went(&io, -EAGAIN))
        tries++;
    assert_true(tries > 1 && tries < 1000);
    assert_int_equal(io.result, -EAGAIN);
}

static void test_error_after_a_part_is_an_error(void **state)
{
    struct backing backing = image();
    struct io io = begin(&backing, IO_WRITE, false);

    (void)state;
    assert_false(transfer_went(&io, 4096));
    assert_over(&io, -ENOSPC, -ENOSPC);
}

static void test_range_outside_the_image_makes_no_call(void **state)
{
    static const struct {
        uint64_t offset_bytes, len_bytes;
    } ranges[] = {
        {SIZE_BYTES,  1             },
        { 0,          SIZE_BYTES + 1},
        { 1,          UINT64_MAX    },
        { UINT64_MAX, 2             }
    };
    struct backing backing = image();

    (void)state;
    for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
        struct io io = {
            .op = IO_WRITE,
            .backing = &backing,
            .bytes = bytes,
            .offset_bytes = ranges[i].offset_bytes,
            .len_bytes = ranges[i].len_bytes,
        };

        transfer_begin(&io, false);
        assert_int_equal(next(&io).kind, CALL_NOTHING);
        assert_over(&io, 0, -EINVAL);
    }
}

static void test_durable_write_is_one_call_that_syncs(void **state)
{
    struct backing backing = image();
    struct io io = begin(&backing, IO_WRITE, true);

    (void)state;
    assert_int_equal(next(&io).flags, RWF_DSYNC);
    assert_over(&io, 10000, 0);
}

static void test_durable_write_without_dsync_is_write_then_sync(void **state)
{
    struct backing backing = image();
    struct io io = begin(&backing, IO_WRITE, true);

    (void)state;
    assert_false(transfer_went(&io, -EOPNOTSUPP));
    assert_int_equal(next(&io).kind, CALL_WRITE);
    assert_int_equal(next(&io).flags, 0);
    assert_false(transfer_went(&io, 10000));
    assert_int_equal(next(&io).kind, CALL_SYNC_DATA);
    assert_over(&io, 0, 0);

    io = begin(&backing, IO_WRITE, true);
    assert_int_equal(next(&io).flags, 0); /* not asked again */
}

static void test_durable_punch_is_synced(void **state)
{
    struct backing backing = image();
    struct io io = begin(&backing, IO_PUNCH, true);

    (void)state;
    assert_false(transfer_went(&io, 0));
    assert_int_equal(next(&io).kind, CALL_SYNC_DATA);
    assert_over(&io, -EIO, -EIO);
}

static void test_punch_comes_down_to_written_zeros(void **state)
{
    struct backing backing = image();
    struct io io = begin(&backing, IO_PUNCH, false);
    struct call call = next(&io);

    (void)state;
    assert_int_equal(call.kind, CALL_FALLOCATE);
    assert_int_equal(call.flags, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
    assert_int_equal(call.offset_bytes, 500);
    assert_int_equal(call.len_bytes, 10000);
    assert_false(transfer_went(&io, -EOPNOTSUPP));
    assert_int_equal(next(&io).flags, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE);
    assert_false(transfer_went(&io, -EOPNOTSUPP));
    call = next(&io);
    assert_int_equal(call.kind, CALL_WRITE);
    assert_int_equal(call.len_bytes, 10000);
    assert_over(&io, 10000, 0);

    io = begin(&backing, IO_ZERO, false);
    assert_int_equal(next(&io).kind, CALL_WRITE); /* what it can't do is known now */
}

static void test_zero_prefers_to_keep_the_space(void **state)
{
    struct backing backing = image();
    struct io io = begin(&backing, IO_ZERO, false);

    (void)state;
    assert_int_equal(next(&io).flags, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE);
    assert_false(transfer_went(&io, -EOPNOTSUPP));
    assert_int_equal(next(&io).flags, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
    assert_over(&io, 0, 0);
}

static void test_device_with_larger_sectors_is_asked_again_next_time(void **state)
{
    struct backing backing = image();
    struct io io;

    (void)state;
    backing.place.is_block_device = true;
    io = begin(&backing, IO_PUNCH, false);
    assert_false(transfer_went(&io, -EINVAL));
    assert_false(transfer_went(&io, -EINVAL));
    assert_int_equal(next(&io).kind, CALL_WRITE);

    io = begin(&backing, IO_PUNCH, false);
    assert_int_equal(next(&io).kind, CALL_FALLOCATE);
}

static void test_zeros_are_written_in_bounded_slices(void **state)
{
    struct backing backing = image();
    struct io io;
    uint64_t moved_bytes = 0;
    bool is_over = false;

    (void)state;
    backing.lacks_punch = backing.lacks_zero_range = true;
    io = (struct io){ .op = IO_ZERO, .backing = &backing, .len_bytes = SIZE_BYTES };
    transfer_begin(&io, false);
    for (int i = 0; i < 100 && !is_over; i++) {
        struct call call = next(&io);

        assert_true(call.len_bytes > 0 && call.len_bytes < SIZE_BYTES);
        assert_int_equal(call.offset_bytes, moved_bytes);
        for (uint64_t b = 0; b < call.len_bytes; b++)
            assert_int_equal(((uint8_t *)call.bytes)[b], 0);
        moved_bytes += call.len_bytes;
        is_over = transfer_went(&io, (int64_t)call.len_bytes);
    }
    assert_true(is_over);
    assert_int_equal(moved_bytes, SIZE_BYTES);
}

static void test_failed_sync_is_told_to_all_that_wait_for_one(void **state)
{
    struct backing backing = image();
    struct io flush = begin(&backing, IO_FLUSH, false);
    struct io other_flush = begin(&backing, IO_FLUSH, false);
    struct io write = begin(&backing, IO_WRITE, true);
    struct io later;

    (void)state;
    assert_over(&flush, -EIO, -EIO);
    assert_over(&other_flush, 0, -EIO);
    assert_over(&write, 10000, -EIO);
    later = begin(&backing, IO_FLUSH, false);
    assert_over(&later, 0, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_short_read_goes_on_where_it_stopped),
        cmocka_unit_test(test_read_that_ends_early_is_an_error),
        cmocka_unit_test(test_interrupted_call_is_made_again),
        cmocka_unit_test(test_busy_disk_is_asked_again_but_not_forever),
        cmocka_unit_test(test_error_after_a_part_is_an_error),
        cmocka_unit_test(test_range_outside_the_image_makes_no_call),
        cmocka_unit_test(test_durable_write_is_one_call_that_syncs),
        cmocka_unit_test(test_durable_write_without_dsync_is_write_then_sync),
        cmocka_unit_test(test_durable_punch_is_synced),
        cmocka_unit_test(test_punch_comes_down_to_written_zeros),
        cmocka_unit_test(test_zero_prefers_to_keep_the_space),
        cmocka_unit_test(test_device_with_larger_sectors_is_asked_again_next_time),
        cmocka_unit_test(test_zeros_are_written_in_bounded_slices),
        cmocka_unit_test(test_failed_sync_is_told_to_all_that_wait_for_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
