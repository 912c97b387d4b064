#include "tests/unit/scsi/fake_transport.h"

#include "proto/cdb.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition);          \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

struct fake_command {
    struct command command;
    struct fake_task *task;
};

struct fake_burst {
    struct burst burst;
    struct buffer_pool *pool;
    bool is_on_stack, is_kept, is_done;
};

static struct fake_task *task_of(struct command *command)
{
    return ((struct fake_command *)(void *)command)->task;
}

static void append_in(struct fake_task *task, const void *bytes, uint32_t len)
{
    REQUIRE(!task->was_last_seen);
    task->in = realloc(task->in, task->in_bytes + len + 1);
    REQUIRE(task->in);
    memcpy(task->in + task->in_bytes, bytes, len);
    task->in_bytes += len;
    REQUIRE(task->in_bytes <= task->command->expected_in_bytes);
}

/* Two pieces, so that nobody counts on one. */
static int fake_in_reserve(struct command *command, uint32_t bytes, struct iovec *iov, int iov_cap)
{
    struct fake_task *task = task_of(command);
    uint32_t first = bytes / 3;

    REQUIRE(!task->reserved && bytes > 0);
    if (task->has_no_reserve || iov_cap < 2)
        return 0;
    task->reserved = malloc(bytes);
    REQUIRE(task->reserved);
    task->reserved_bytes = bytes;
    iov[0] = (struct iovec){ task->reserved, first };
    iov[1] = (struct iovec){ task->reserved + first, bytes - first };
    return 2;
}

static void fake_in_commit(struct command *command, const struct iovec *iov, int iov_count,
                           bool is_last)
{
    struct fake_task *task = task_of(command);
    uint32_t bytes = 0;

    for (int i = 0; i < iov_count; i++)
        bytes += (uint32_t)iov[i].iov_len;
    REQUIRE(task->reserved && (bytes == 0 || bytes == task->reserved_bytes));
    REQUIRE(bytes == 0 || iov[0].iov_base == task->reserved);
    append_in(task, task->reserved, bytes);
    free(task->reserved);
    task->reserved = NULL;
    task->was_last_seen = is_last;
}

static void fake_in_buffer(struct command *command, struct buffer *buffer, uint32_t bytes,
                           bool is_last)
{
    struct fake_task *task = task_of(command);

    REQUIRE(!task->reserved && bytes <= buffer->cap);
    append_in(task, buffer->bytes, bytes);
    buffer_put(task->rig->worker.buffers, buffer);
    task->was_last_seen = is_last;
}

static bool fake_in_takes_direct(struct command *command)
{
    return task_of(command)->is_direct;
}

/* Through a socket that is emptied all the time, as far as the test says. */
static uint32_t fake_in_direct(struct command *command, command_sender *sender, uint32_t bytes,
                               bool is_last)
{
    struct fake_task *task = task_of(command);
    uint32_t take = bytes < task->direct_room ? bytes : task->direct_room, done = 0;
    uint8_t *data = malloc(bytes);
    int pair[2];

    REQUIRE(data && socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) == 0);
    while (done < take) {
        int64_t sent = sender(command, pair[0], done, take - done);
        REQUIRE(sent > 0 && read(pair[1], data + done, take - done) == sent);
        done += (uint32_t)sent;
    }
    append_in(task, data, done);
    free(data);
    close(pair[0]);
    close(pair[1]);
    task->direct_bytes += done;
    task->was_last_seen = is_last && done == bytes;
    return bytes - done;
}

static void fake_in_direct_rest(struct command *command, struct buffer *buffer, uint32_t bytes,
                                bool is_last)
{
    task_of(command)->rest_bytes += bytes;
    REQUIRE(buffer);
    fake_in_buffer(command, buffer, bytes, is_last);
}

static bool fake_in_has_room(struct command *command, bool will_be_direct)
{
    (void)will_be_direct;
    return !task_of(command)->has_no_room;
}

static void free_burst(struct fake_burst *burst)
{
    if (burst->burst.buffer)
        buffer_put(burst->pool, burst->burst.buffer);
    else
        free(burst->burst.data);
    free(burst);
}

bool fake_send(struct fake_task *task)
{
    uint32_t left = task->want_bytes - task->sent_bytes;
    struct fake_burst *burst;

    if (left == 0 || !task->command)
        return false;
    burst = calloc(1, sizeof *burst);
    REQUIRE(burst);
    burst->burst.offset_bytes = task->sent_bytes;
    burst->burst.bytes = left < task->piece_bytes ? left : task->piece_bytes;
    burst->pool = task->command->nexus->worker->buffers;
    if (task->is_solid) {
        burst->burst.buffer = buffer_get(burst->pool, burst->burst.bytes);
        REQUIRE(burst->burst.buffer);
        burst->burst.data = burst->burst.buffer->bytes;
    } else {
        burst->burst.data = malloc(burst->burst.bytes);
    }
    REQUIRE(burst->burst.data);
    memcpy(burst->burst.data, task->out + task->sent_bytes, burst->burst.bytes);
    task->sent_bytes += burst->burst.bytes;
    task->unreturned_bursts++;
    burst->is_on_stack = true;
    command_out(task->command, &burst->burst);
    burst->is_on_stack = false;
    /* Neither kept nor given back: its bytes are gone now. */
    REQUIRE(burst->is_done || burst->is_kept || task->is_solid);
    if (burst->is_done)
        free_burst(burst);
    return true;
}

static void fake_out_want(struct command *command, uint32_t bytes, uint32_t piece_bytes)
{
    struct fake_task *task = task_of(command);

    REQUIRE(task->wants++ == 0);
    REQUIRE(bytes > 0 && bytes <= command->expected_out_bytes && piece_bytes > 0);
    task->want_bytes = bytes;
    task->piece_bytes = piece_bytes;
    while (!task->is_held_back && fake_send(task))
        ;
}

static int fake_out_keep(struct command *command, struct burst *burst)
{
    struct fake_burst *fake = (struct fake_burst *)(void *)burst;

    (void)command;
    REQUIRE(!burst->buffer && !fake->is_kept);
    burst->buffer = buffer_get(fake->pool, burst->bytes);
    REQUIRE(burst->buffer);
    memcpy(burst->buffer->bytes, burst->data, burst->bytes);
    memset(burst->data, 0xdb, burst->bytes);
    free(burst->data);
    burst->data = burst->buffer->bytes;
    fake->is_kept = true;
    return 0;
}

static void fake_out_done(struct command *command, struct burst *burst)
{
    struct fake_burst *fake = (struct fake_burst *)(void *)burst;
    struct fake_task *task = task_of(command);

    REQUIRE(!fake->is_done);
    fake->is_done = true;
    REQUIRE(task->unreturned_bursts-- > 0);
    if (!fake->is_on_stack)
        free_burst(fake);
}

static void fake_finished(struct command *command)
{
    struct fake_task *task = task_of(command);

    REQUIRE(!task->reserved);
    REQUIRE(task->unreturned_bursts == 0);
    task->finished++;
    task->answer = *command;
    task->command = NULL;
    memset(command, 0xdb, sizeof *command);
    free(command);
}

static const struct command_transport fake_transport = {
    .in_reserve = fake_in_reserve,
    .in_commit = fake_in_commit,
    .in_buffer = fake_in_buffer,
    .in_takes_direct = fake_in_takes_direct,
    .in_direct = fake_in_direct,
    .in_direct_rest = fake_in_direct_rest,
    .in_has_room = fake_in_has_room,
    .out_want = fake_out_want,
    .out_keep = fake_out_keep,
    .out_done = fake_out_done,
    .finished = fake_finished,
};

void fake_task(struct fake_task *task, struct rig *rig, const uint8_t *cdb, uint32_t in_bytes,
               const uint8_t *out, uint32_t out_bytes)
{
    struct fake_command *fake = malloc(sizeof *fake);
    uint8_t cdb_len = cdb_length(cdb[0]);

    REQUIRE(fake);
    memset(fake, 0xdb, sizeof *fake); /* nobody has zeroed it */
    *task = (struct fake_task){ .rig = rig, .nexus = &rig->nexus, .out = out };
    fake->task = task;
    task->command = &fake->command;
    task->command->transport = &fake_transport;
    task->command->lun = 0;
    task->command->attribute = TASK_SIMPLE;
    task->command->expected_in_bytes = in_bytes;
    task->command->expected_out_bytes = out_bytes;
    task->command->tag = 1;
    task->command->cdb_len = 16;
    memset(task->command->cdb, 0, sizeof task->command->cdb);
    memcpy(task->command->cdb, cdb, cdb_len ? cdb_len : 16);
    task->command->is_started = false;
    task->command->was_aborted = false;
}

void fake_start(struct fake_task *task)
{
    task->command->nexus = task->nexus;
    command_start(task->command);
}

static void guard(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)timer;
    (void)events;
    ev_break(loop, EVBREAK_ONE);
}

void fake_wait(struct fake_task *task)
{
    struct ev_loop *loop = task->rig->loop;
    ev_timer timer;

    ev_timer_init(&timer, guard, 10, 0);
    ev_timer_start(loop, &timer);
    while (!task->finished && ev_is_active(&timer))
        ev_run(loop, EVRUN_ONCE);
    ev_timer_stop(loop, &timer);
    REQUIRE(task->finished == 1);
}

void rig_wait_for_what_was_left(struct rig *rig)
{
    const struct scsi_worker *scsi = rig->worker.scsi;
    ev_timer timer;

    ev_timer_init(&timer, guard, 10, 0);
    ev_timer_start(rig->loop, &timer);
    while (scsi && scsi->left_behind_count > 0 && ev_is_active(&timer))
        ev_run(rig->loop, EVRUN_ONCE);
    ev_timer_stop(rig->loop, &timer);
}

void fake_free(struct fake_task *task)
{
    REQUIRE(task->finished == 1 && !task->command);
    free(task->in);
    task->in = NULL;
}

void fake_run(struct fake_task *task, struct rig *rig, const uint8_t *cdb, uint32_t in_bytes,
              const uint8_t *out, uint32_t out_bytes)
{
    fake_task(task, rig, cdb, in_bytes, out, out_bytes);
    fake_start(task);
    fake_wait(task);
}

unsigned fake_sense(const struct fake_task *task)
{
    const uint8_t *sense = task->answer.sense;

    if (task->answer.status != STATUS_CHECK_CONDITION)
        return 0;
    if (sense[0] & 0x02)
        return (unsigned)sense[1] << 16 | (unsigned)sense[2] << 8 | sense[3];
    return (unsigned)(sense[2] & 0xf) << 16 | (unsigned)sense[12] << 8 | sense[13];
}

static void image_open(struct rig *rig, const struct rig_options *options, struct backing **out)
{
    uint64_t size_bytes = (uint64_t)RIG_BLOCKS * RIG_BLOCK_BYTES;
    struct backing_error error;
    int fd;

    strcpy(rig->path, "scsi-unit-XXXXXX");
    fd = mkstemp(rig->path);
    REQUIRE(fd >= 0 && ftruncate(fd, (off_t)size_bytes) == 0);
    close(fd);
    REQUIRE(backing_open(&(struct backing_options){ .path = rig->path,
                                                    .size_bytes = size_bytes,
                                                    .is_readonly = options->is_readonly },
                         out, &error) == 0);
}

void rig_open(struct rig *rig, const struct rig_options *options)
{
    struct lu_options lu = {
        .identity = {.serial = "0123456789abcdef",
                     .naa = { 0x60 },
                     .vendor = "NESTOR",
                     .product = "VMFS LUN",
                     .revision = "0001",
                     .vaai = options->has_vaai,
                     .block_bytes = RIG_BLOCK_BYTES,
                     .physical_block_bytes = RIG_BLOCK_BYTES},
        .is_readonly = options->is_readonly,
        .is_removable = options->is_removable,
        .cache = options->cache,
    };

    memset(rig, 0, sizeof *rig);
    rig->loop = ev_loop_new(EVFLAG_AUTO);
    REQUIRE(rig->loop);
    rig->budget.limit_bytes = options->memory_limit_bytes ? options->memory_limit_bytes : 64 << 20;
    rig->worker.loop = rig->loop;
    rig->worker.group = &rig->workers;
    rig->workers.count = 1;
    rig->workers.worker[0] = &rig->worker;
    REQUIRE(job_pool_create(RIG_JOB_THREADS, &rig->jobs) == 0);
    rig->workers.jobs = rig->jobs;
    REQUIRE(engine_create(ENGINE_THREADS, rig->loop, rig->jobs, &rig->worker.engine, NULL) == 0);
    rig->worker.buffers = buffer_pool_create(&rig->budget);
    REQUIRE(rig->worker.buffers);
    mailbox_open(&rig->worker.mailbox, rig->loop);
    image_open(rig, options, &lu.backing);
    REQUIRE(lu_open(&lu, &rig->lu) == 0);
    REQUIRE(scsi_target_open(&rig->target, "iqn.2026-11.lab.nestor:unit", &rig->workers) == 0);
    lun_map_put(rig->target.map);
    rig->target.map = lun_map_create(1);
    REQUIRE(rig->target.map);
    rig->target.map->entries[0] = (struct lun_entry){ .lun = 0, .lu = rig->lu };
    REQUIRE(nexus_open(&rig->nexus, &rig->worker, &rig->target, "iqn.1998-01.com.vmware:esx1",
                       "iqn.1998-01.com.vmware:esx1,i,0x00023d000001", 1) == 0);
    REQUIRE(nexus_open(&rig->other, &rig->worker, &rig->target, "iqn.1998-01.com.vmware:esx2",
                       "iqn.1998-01.com.vmware:esx2,i,0x00023d000001", 1) == 0);
}

void rig_clear_unit_attentions(struct rig *rig)
{
    struct nexus *nexuses[] = { &rig->nexus, &rig->other };

    for (unsigned i = 0; i < 2; i++) {
        struct itl *itl = nexus_itl(nexuses[i], 0, true);
        REQUIRE(itl);
        while (unit_attention_take(itl) != SENSE_NONE)
            ;
    }
}

void rig_close(struct rig *rig)
{
    char journal[sizeof rig->path + 16];

    snprintf(journal, sizeof journal, "%s.nestor-journal", rig->path);
    nexus_close(&rig->other);
    nexus_close(&rig->nexus);
    rig_wait_for_what_was_left(rig);
    scsi_worker_close(&rig->worker);
    scsi_target_close(&rig->target);
    lu_close(rig->lu);
    mailbox_close(&rig->worker.mailbox);
    buffer_pool_destroy(rig->worker.buffers);
    engine_destroy(rig->worker.engine);
    job_pool_destroy(rig->jobs);
    ev_loop_destroy(rig->loop);
    unlink(rig->path);
    unlink(journal); /* made when it was needed */
}
