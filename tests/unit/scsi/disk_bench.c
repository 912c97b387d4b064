#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "tests/unit/scsi/disk_bench.h"

int inline_read_answer, inline_write_answer;
bool takes_io;
struct io *taken_io[TAKEN_IO_MAX];
unsigned taken_count;
struct rig rig;

int __real_backing_try_read(struct backing *backing, const struct iovec *iov, int iov_count,
                            uint64_t offset_bytes);
int __wrap_backing_try_read(struct backing *backing, const struct iovec *iov, int iov_count,
                            uint64_t offset_bytes);
int __real_backing_try_write(struct backing *backing, const struct iovec *iov, int iov_count,
                             uint64_t offset_bytes);
int __wrap_backing_try_write(struct backing *backing, const struct iovec *iov, int iov_count,
                             uint64_t offset_bytes);
void __real_engine_submit(struct engine *engine, struct io *io);
void __wrap_engine_submit(struct engine *engine, struct io *io);

int __wrap_backing_try_read(struct backing *backing, const struct iovec *iov, int iov_count,
                            uint64_t offset_bytes)
{
    return inline_read_answer ? inline_read_answer
                              : __real_backing_try_read(backing, iov, iov_count, offset_bytes);
}

int __wrap_backing_try_write(struct backing *backing, const struct iovec *iov, int iov_count,
                             uint64_t offset_bytes)
{
    return inline_write_answer ? inline_write_answer
                               : __real_backing_try_write(backing, iov, iov_count, offset_bytes);
}

void __wrap_engine_submit(struct engine *engine, struct io *io)
{
    if (!takes_io)
        return __real_engine_submit(engine, io);
    assert_true(taken_count < TAKEN_IO_MAX);
    taken_io[taken_count++] = io;
}

void end_io(int error)
{
    struct io *io;

    assert_true(taken_count > 0);
    io = taken_io[0];
    memmove(taken_io, taken_io + 1, --taken_count * sizeof *taken_io);
    if (error)
        io->result = error;
    else
        backing_run(io);
    io->done(io);
}

int disk_open(const struct rig_options *options)
{
    inline_read_answer = inline_write_answer = 0;
    takes_io = false;
    taken_count = 0;
    rig_open(&rig, options);
    rig_clear_unit_attentions(&rig);
    return 0;
}

void read_10(uint8_t cdb[10], uint32_t lba, uint16_t blocks)
{
    memset(cdb, 0, 10);
    cdb[0] = 0x28;
    put_be32(cdb + 2, lba);
    put_be16(cdb + 7, blocks);
}

void write_10(uint8_t cdb[10], uint32_t lba, uint16_t blocks)
{
    read_10(cdb, lba, blocks);
    cdb[0] = 0x2a;
}

uint8_t *pattern(uint32_t bytes, unsigned seed)
{
    uint8_t *data = malloc(bytes);

    assert_non_null(data);
    for (uint32_t i = 0; i < bytes; i++)
        data[i] = (uint8_t)(i * 31 + (i >> 9) * 7 + seed);
    return data;
}

void write_blocks(uint32_t lba, uint16_t blocks, const uint8_t *data)
{
    struct fake_task task;
    uint8_t cdb[10];

    write_10(cdb, lba, blocks);
    fake_run(&task, &rig, cdb, 0, data, blocks * RIG_BLOCK_BYTES);
    assert_int_equal(task.answer.status, STATUS_GOOD);
    assert_int_equal(task.answer.transfer_bytes, blocks * RIG_BLOCK_BYTES);
    fake_free(&task);
}

void expect_blocks(uint32_t lba, uint16_t blocks, const uint8_t *data)
{
    struct fake_task task;
    uint8_t cdb[10];

    read_10(cdb, lba, blocks);
    fake_run(&task, &rig, cdb, blocks * RIG_BLOCK_BYTES, NULL, 0);
    assert_int_equal(task.answer.status, STATUS_GOOD);
    assert_int_equal(task.in_bytes, blocks * RIG_BLOCK_BYTES);
    assert_true(task.was_last_seen);
    assert_memory_equal(task.in, data, task.in_bytes);
    fake_free(&task);
}
