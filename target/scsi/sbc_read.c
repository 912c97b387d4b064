/*
 * sbc_read: READ(6), (10), (12) and (16), SBC-3 5.10 to 5.13.
 *
 * Chunk by chunk: straight into the transport's memory when the page cache has the bytes, or, large
 * ones and where the user wants that, from the page cache to the socket; through a buffer and the
 * engine when it has not. Each chunk passes the gate by itself, and never while it
 * waits for room to send: a slow initiator holds nobody up.
 */
#include "target/scsi/handlers.h"

#include "proto/cdb.h"
#include "target/scsi/limits.h"
#include "target/scsi/medium.h"
#include "target/scsi/opcodes.h"

#include <errno.h>

enum { READ_IOV_MAX = 64 };

struct read {
    struct medium medium;
    struct buffer *buffer; /* what the engine reads into */
    uint64_t offset_bytes; /* where the next chunk is on the medium */
    uint32_t want_bytes;   /* what is sent at all */
    uint32_t left_bytes, chunk_bytes;
    bool is_waiting_for_room;
};

static void read_chunks(struct command *command);

static struct buffer_pool *pool_of(const struct command *command)
{
    return command->nexus->worker->buffers;
}

static void read_chunk_is_sent(struct read *read)
{
    read->offset_bytes += read->chunk_bytes;
    read->left_bytes -= read->chunk_bytes;
}

static bool is_last_chunk(const struct read *read)
{
    return read->chunk_bytes == read->left_bytes;
}

/* 0; -EAGAIN: not in the page cache, or the transport has no such room; another error. */
static int read_inline(struct command *command, struct read *read)
{
    const struct command_transport *transport = command->transport;
    struct iovec iov[READ_IOV_MAX];
    int iov_count = transport->in_reserve(command, read->chunk_bytes, iov, READ_IOV_MAX);
    int error;

    if (iov_count <= 0)
        return -EAGAIN;
    error = backing_try_read(command->lu->backing, iov, iov_count, read->offset_bytes);
    transport->in_commit(command, iov, error ? 0 : iov_count, !error && is_last_chunk(read));
    return error;
}

static void read_submitted_is_done(struct medium *medium)
{
    struct command *command = medium->command;
    struct read *read = COMMAND_SCRATCH(command, struct read);
    struct buffer *buffer = read->buffer;

    read->buffer = NULL;
    medium_leave(medium);
    if (command->is_finishing || medium->io.result) {
        buffer_put(pool_of(command), buffer);
        if (medium->io.result)
            command_refuse_errno(command, medium->io.result);
        return;
    }
    command->transport->in_buffer(command, buffer, read->chunk_bytes, is_last_chunk(read));
    read_chunk_is_sent(read);
    read_chunks(command);
}

static void read_submit(struct command *command, struct read *read)
{
    read->buffer = buffer_get(pool_of(command), read->chunk_bytes);
    if (!read->buffer) {
        medium_leave(&read->medium);
        /* TASK SET FULL says that nothing was done. Later in the transfer only an ABORTED COMMAND
         * is honest; the initiator sends it again. */
        if (read->left_bytes == read->want_bytes)
            command_finish(command, STATUS_TASK_SET_FULL);
        else
            command_refuse(command, SENSE_ABORTED_NO_RESOURCES, "memory_limit is reached");
        return;
    }
    read->medium.io = (struct io){
        .op = IO_READ,
        .bytes = read->buffer->bytes,
        .len_bytes = read->chunk_bytes,
        .offset_bytes = read->offset_bytes,
    };
    medium_submit(&read->medium, read_submitted_is_done);
}

static int64_t send_some(struct command *command, int socket, uint32_t offset_bytes,
                         uint32_t len_bytes)
{
    const struct read *read = COMMAND_SCRATCH(command, struct read);

    return backing_send(command->lu->backing, socket, read->offset_bytes + offset_bytes, len_bytes);
}

/* What the socket did not take is read after all. It was in memory a moment ago. */
static void read_direct_rest(struct command *command, struct read *read, struct buffer *buffer,
                             uint32_t left_bytes)
{
    struct io io = {
        .op = IO_READ,
        .backing = command->lu->backing,
        .bytes = buffer->bytes,
        .len_bytes = left_bytes,
        .offset_bytes = read->offset_bytes + read->chunk_bytes - left_bytes,
    };

    backing_run(&io);
    if (io.result) {
        buffer_put(pool_of(command), buffer);
        buffer = NULL;
    }
    command->transport->in_direct_rest(command, buffer, left_bytes, is_last_chunk(read));
}

/* True: the chunk goes from the page cache to the socket, by sendfile. */
static bool may_be_direct(const struct command *command, const struct read *read)
{
    return read->chunk_bytes >= LIMIT_DIRECT_BYTES && command->nexus->worker->group->uses_sendfile;
}

static bool read_direct(struct command *command, struct read *read)
{
    const struct command_transport *transport = command->transport;
    struct buffer *rest;
    uint32_t left_bytes;

    if (!may_be_direct(command, read) || !transport->in_takes_direct(command) ||
        !backing_is_cached(command->lu->backing, read->offset_bytes, read->chunk_bytes))
        return false;
    rest = buffer_get(pool_of(command), read->chunk_bytes); /* it must not be missing later */
    if (!rest)
        return false;
    left_bytes = transport->in_direct(command, send_some, read->chunk_bytes, is_last_chunk(read));
    if (left_bytes)
        read_direct_rest(command, read, rest, left_bytes);
    else
        buffer_put(pool_of(command), rest);
    return true;
}

/* Inside the gate. True: the chunk is on its way to the initiator, go on with the next. */
static bool read_chunk(struct command *command, struct read *read)
{
    int error = read_direct(command, read) ? 0 : read_inline(command, read);

    if (error == -EAGAIN && !command->is_finishing) {
        read_submit(command, read);
        return false;
    }
    medium_leave(&read->medium);
    if (error) {
        command_refuse_errno(command, error);
        return false;
    }
    read_chunk_is_sent(read);
    return true;
}

static void read_entered(struct medium *medium)
{
    struct command *command = medium->command;

    if (read_chunk(command, COMMAND_SCRATCH(command, struct read)))
        read_chunks(command);
}

static void read_chunks(struct command *command)
{
    struct read *read = COMMAND_SCRATCH(command, struct read);

    while (!command->is_finishing) {
        if (read->left_bytes == 0)
            return command_good(command);
        read->chunk_bytes =
            read->left_bytes < LIMIT_CHUNK_BYTES ? read->left_bytes : LIMIT_CHUNK_BYTES;
        if (!command->transport->in_has_room(command, may_be_direct(command, read))) {
            read->is_waiting_for_room = true;
            return;
        }
        if (!medium_enter(&read->medium, GATE_SHARED, read->offset_bytes, read->chunk_bytes,
                          read_entered))
            return;
        if (!read_chunk(command, read))
            return;
    }
}

static void read_flushed(struct medium *medium)
{
    struct command *command = medium->command;

    if (medium->io.result)
        command_refuse_errno(command, medium->io.result);
    else
        read_chunks(command);
}

void sbc_read(struct command *command)
{
    struct read *read = COMMAND_SCRATCH(command, struct read);
    struct lu *lu = command->lu;
    const struct cdb_range *range = &command->range;

    medium_open(&read->medium, command);
    read->buffer = NULL;
    read->is_waiting_for_room = false;
    read->offset_bytes = range->lba << lu->block_shift;
    command->transfer_bytes = (uint64_t)range->blocks << lu->block_shift;
    read->want_bytes = command->transfer_bytes < command->expected_in_bytes
                           ? (uint32_t)command->transfer_bytes
                           : command->expected_in_bytes;
    read->left_bytes = read->want_bytes;
    /* SBC-3 4.15.2: FUA reads come from the medium, so what the cache holds must be there first. */
    if (command->op->lba != LBA_6 && cdb_fua(command->cdb) && lu->cache == CACHE_WRITEBACK &&
        !lu->is_readonly && read->left_bytes > 0) {
        read->medium.io = (struct io){ .op = IO_FLUSH };
        return medium_submit(&read->medium, read_flushed);
    }
    read_chunks(command);
}

void sbc_read_resume(struct command *command)
{
    struct read *read = COMMAND_SCRATCH(command, struct read);

    if (!read->is_waiting_for_room)
        return;
    read->is_waiting_for_room = false;
    read_chunks(command);
}

void sbc_read_let_go(struct command *command)
{
    struct read *read = COMMAND_SCRATCH(command, struct read);

    medium_let_go(&read->medium);
    if (medium_leave_behind(&read->medium, read->buffer)) {
        buffer_put(pool_of(command), read->buffer);
        read->buffer = NULL;
    }
}
