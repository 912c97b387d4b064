/* Data-In: read data cut to what the initiator takes, status in the last PDU. RFC 7143 11.7. */
#include "target/iscsi/task.h"

#include "proto/crc32c.h"

#include <errno.h>

/* How a run of Data-In is cut; a copy is walked first to see what room it needs. */
struct cut {
    uint32_t segment_max, burst_max, burst_bytes;
};

static struct cut cut_of(const struct task *task)
{
    const struct session_parameters *parameters = &task->session->parameters;

    return (struct cut){ parameters->max_send_segment_bytes, parameters->max_burst_bytes,
                         task->in_burst_bytes };
}

/* The next segment's length; it ends the burst when that is full. */
static uint32_t cut_next(struct cut *cut, uint32_t left)
{
    uint32_t len = left < cut->segment_max ? left : cut->segment_max;

    if (len > cut->burst_max - cut->burst_bytes)
        len = cut->burst_max - cut->burst_bytes;
    cut->burst_bytes += len;
    if (cut->burst_bytes == cut->burst_max)
        cut->burst_bytes = 0;
    return len;
}

static uint32_t head_bytes(const struct conn *conn)
{
    return BHS_BYTES + conn->header_digest_bytes;
}

static uint32_t tail_bytes(const struct conn *conn, uint32_t len)
{
    return pdu_padded(len) - len + conn->data_digest_bytes;
}

int task_in_reserve(struct command *command, uint32_t bytes, struct iovec *iov, int iov_cap)
{
    struct task *task = task_of(command);
    struct conn *conn = task->session->conn;
    struct cut cut = cut_of(task);
    uint32_t total = 0;
    int count = 0;

    if (!conn || conn->is_closing)
        return 0;
    for (uint32_t left = bytes; left; count++) {
        uint32_t len = cut_next(&cut, left);
        if (count == iov_cap)
            return 0;
        iov[count].iov_len = len;
        total += head_bytes(conn) + len + tail_bytes(conn, len);
        left -= len;
    }
    if (total > BUFFER_LARGE)
        return 0;
    uint8_t *at = send_queue_reserve(&conn->send, total);
    if (!at)
        return 0;
    for (int i = 0; i < count; i++) {
        at += head_bytes(conn);
        iov[i].iov_base = at;
        at += iov[i].iov_len + tail_bytes(conn, (uint32_t)iov[i].iov_len);
    }
    return count;
}

/* Writes the header of the next `len` bytes of Data-In. */
static void build_header(struct task *task, uint8_t *at, uint32_t len, bool has_status)
{
    struct session *session = task->session;
    struct conn *conn = session->conn;
    struct pdu pdu = { .opcode = PDU_DATA_IN,
                       .data_segment_length = len,
                       .initiator_task_tag = task->tag };
    struct pdu_data_in *data_in = &pdu.data_in;
    struct session_numbers numbers = session_numbers(session);

    task->in_burst_bytes += len;
    bool is_burst_full = task->in_burst_bytes == session->parameters.max_burst_bytes;
    data_in->final = has_status || is_burst_full || task->in_bytes + len == task->expected_bytes;
    if (data_in->final)
        task->in_burst_bytes = 0;
    data_in->target_transfer_tag = TAG_RESERVED;
    data_in->exp_cmd_sn = numbers.exp_cmd_sn;
    data_in->max_cmd_sn = numbers.max_cmd_sn;
    data_in->data_sn = task->data_sn++;
    data_in->buffer_offset = task->in_bytes;
    task->in_bytes += len;
    if (has_status) {
        data_in->has_status = true;
        data_in->status = STATUS_GOOD;
        data_in->residual = task_residual(task);
        data_in->stat_sn = conn->stat_sn++;
    }
    pdu_build_data_in(&pdu, at);
    if (conn->header_digest_bytes)
        crc32c_put(at + BHS_BYTES, crc32c_update(CRC32C_INIT, at, BHS_BYTES));
}

/* Padding and digest behind `data`, at `at`. */
static void build_tail(const struct conn *conn, uint8_t *at, const uint8_t *data, uint32_t len)
{
    uint32_t padding = pdu_padded(len) - len;

    if (padding)
        memset(at, 0, padding);
    if (conn->data_digest_bytes) {
        uint32_t crc = crc32c_update(CRC32C_INIT, data, len);
        crc32c_put(at + padding, crc32c_update(crc, at, padding));
    }
}

static void count_read(struct session *session, uint32_t bytes)
{
    uint64_t sum = atomic_load_explicit(&session->entry.read_bytes, memory_order_relaxed);
    atomic_store_explicit(&session->entry.read_bytes, sum + bytes, memory_order_relaxed);
}

void task_in_commit(struct command *command, const struct iovec *iov, int iov_count, bool is_last)
{
    struct task *task = task_of(command);
    struct conn *conn = task->session->conn;
    uint32_t bytes = 0, wire_bytes = 0;

    if (iov_count == 0)
        return;
    if (is_last) {
        task->has_answered = true;
        task_leave_window(task);
    }
    for (int i = 0; i < iov_count; i++) {
        uint8_t *data = iov[i].iov_base;
        uint32_t len = (uint32_t)iov[i].iov_len;

        build_header(task, data - head_bytes(conn), len, is_last && i + 1 == iov_count);
        build_tail(conn, data + len, data, len);
        bytes += len;
        wire_bytes += head_bytes(conn) + len + tail_bytes(conn, len);
    }
    if (send_queue_commit(&conn->send, wire_bytes) != 0)
        conn_close(conn, "out of memory for an answer");
    count_read(task->session, bytes);
    conn_has_output(conn);
}

/* The header of a segment whose data is not copied behind it. */
static int queue_header(struct task *task, uint32_t len, bool has_status)
{
    struct conn *conn = task->session->conn;
    uint8_t *at = send_queue_reserve(&conn->send, head_bytes(conn));

    if (!at)
        return -ENOMEM;
    build_header(task, at, len, has_status);
    return send_queue_commit(&conn->send, head_bytes(conn));
}

/* The data of a segment whose header is queued, where it stands, and its tail in the arena. */
static int queue_data(struct task *task, struct buffer *buffer, const uint8_t *data, uint32_t len)
{
    struct conn *conn = task->session->conn;
    uint32_t tail = tail_bytes(conn, len);

    buffer_ref(buffer);
    int error = send_queue_buffer(&conn->send, buffer, data, len);
    if (error || tail == 0)
        return error;
    uint8_t *at = send_queue_reserve(&conn->send, tail);
    if (!at)
        return -ENOMEM;
    build_tail(conn, at, data, len);
    return send_queue_commit(&conn->send, tail);
}

static void begin_data(struct task *task, bool is_last)
{
    if (!is_last)
        return;
    task->has_answered = true;
    task_leave_window(task);
}

/* Segments from `from_byte` of the buffer on. Drops the buffer's ref. */
static void queue_segments(struct task *task, struct buffer *buffer, uint32_t from_byte,
                           uint32_t bytes, bool is_last)
{
    struct conn *conn = task->session->conn;
    struct cut cut = cut_of(task);
    int error = 0;

    while (conn && !conn->is_closing && !error && from_byte < bytes) {
        uint32_t len = cut_next(&cut, bytes - from_byte);
        error = queue_header(task, len, is_last && from_byte + len == bytes);
        if (!error)
            error = queue_data(task, buffer, buffer->bytes + from_byte, len);
        from_byte += len;
    }
    buffer_put(task->session->worker->buffers, buffer);
    if (error)
        conn_close(conn, "out of memory for an answer");
    if (conn)
        conn_has_output(conn);
}

void task_in_buffer(struct command *command, struct buffer *buffer, uint32_t bytes, bool is_last)
{
    struct task *task = task_of(command);

    begin_data(task, is_last);
    queue_segments(task, buffer, 0, bytes, is_last);
    count_read(task->session, bytes);
}

/* Only what needs no tail: a digest is computed from what was read. */
bool task_in_takes_direct(struct command *command)
{
    const struct session *session = task_of(command)->session;
    const struct session_parameters *parameters = &session->parameters;
    const struct conn *conn = session->conn;

    return conn && !conn->is_closing && !conn->is_draining && !conn->data_digest_bytes &&
           parameters->max_send_segment_bytes % 4 == 0 && parameters->max_burst_bytes % 4 == 0 &&
           !conn_is_blocked(conn);
}

/* One segment's data; how much of it the socket took. */
static uint32_t send_data(struct task *task, command_sender *sender, uint32_t offset_bytes,
                          uint32_t len)
{
    struct conn *conn = task->session->conn;
    uint32_t sent = 0;

    while (sent < len) {
        int64_t count = sender(&task->command, conn->fd, offset_bytes + sent, len - sent);
        if (count <= 0)
            break; /* also for an error: reading the rest will meet it again, and tell */
        sent += (uint32_t)count;
    }
    return sent;
}

uint32_t task_in_direct(struct command *command, command_sender *sender, uint32_t bytes,
                        bool is_last)
{
    struct task *task = task_of(command);
    struct conn *conn = task->session->conn;
    struct cut cut = cut_of(task);
    uint32_t done = 0;

    begin_data(task, is_last);
    count_read(task->session, bytes);
    task->in_open_bytes = 0;
    while (done < bytes && task->in_open_bytes == 0) {
        uint32_t len = cut_next(&cut, bytes - done), sent = 0;
        if (queue_header(task, len, is_last && done + len == bytes) != 0) {
            conn_close(conn, "out of memory for an answer");
            return 0;
        }
        conn_flush(conn, true);
        if (conn->is_closing)
            return 0;
        if (!conn_is_blocked(conn))
            sent = send_data(task, sender, done, len);
        task->in_open_bytes = len - sent;
        done += sent;
    }
    return bytes - done;
}

void task_in_direct_rest(struct command *command, struct buffer *buffer, uint32_t bytes,
                         bool is_last)
{
    struct task *task = task_of(command);
    struct conn *conn = task->session->conn;
    int error;

    if (!buffer) {
        conn_close(conn, "the image could not be read in the middle of a data segment");
        return;
    }
    buffer_ref(buffer);
    error = send_queue_buffer(&conn->send, buffer, buffer->bytes, task->in_open_bytes);
    if (error)
        conn_close(conn, "out of memory for an answer");
    queue_segments(task, buffer, task->in_open_bytes, bytes, is_last);
}

bool task_in_has_room(struct command *command, bool will_be_direct)
{
    struct task *task = task_of(command);
    struct session *session = task->session;
    struct conn *conn = session->conn;

    if (!conn || (conn_has_room(conn) && !(will_be_direct && conn_is_blocked(conn))))
        return true;
    if (!task->is_waiting_for_room) {
        task->is_waiting_for_room = true;
        TAILQ_INSERT_TAIL(&session->waiting_for_room, task, waiting_link);
    }
    return false;
}
