#include "tests/unit/scsi/core_bench.h"

#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct lu *bench_lu(void)
{
    struct lu_options options = { .identity = { .block_bytes = BENCH_BLOCK_BYTES } };
    struct backing_options image = { .size_bytes = BENCH_BLOCKS * BENCH_BLOCK_BYTES };
    struct backing_error error;
    char path[] = P_tmpdir "/nestor-test-XXXXXX";
    struct lu *lu = NULL;
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)image.size_bytes), 0);
    close(fd);
    image.path = path;
    assert_int_equal(backing_open(&image, &options.backing, &error), 0);
    unlink(path);
    assert_int_equal(lu_open(&options, &lu), 0);
    return lu;
}

struct lun_map *bench_map(struct lu **lus, unsigned count)
{
    unsigned present = 0, at = 0;
    struct lun_map *map;

    for (unsigned i = 0; i < count; i++)
        present += lus[i] != NULL;
    map = lun_map_create(present);
    assert_non_null(map);
    for (unsigned i = 0; i < count; i++)
        if (lus[i] != NULL)
            map->entries[at++] = (struct lun_entry){ .lun = (uint16_t)i, .lu = lus[i] };
    return map;
}

void bench_mask(struct lun_map *map, uint16_t lun, const char *pattern)
{
    for (unsigned i = 0; i < map->count; i++) {
        if (map->entries[i].lun != lun)
            continue;
        map->entries[i].initiators = calloc(2, sizeof(char *));
        assert_non_null(map->entries[i].initiators);
        map->entries[i].initiators[0] = strdup(pattern);
    }
}

struct worker *bench_worker(void)
{
    struct worker *worker = calloc(1, sizeof(*worker));

    assert_non_null(worker);
    worker->loop = ev_loop_new(EVFLAG_AUTO);
    mailbox_open(&worker->mailbox, worker->loop);
    return worker;
}

void bench_worker_end(struct worker *worker)
{
    scsi_worker_close(worker);
    mailbox_close(&worker->mailbox);
    ev_loop_destroy(worker->loop);
    free(worker);
}

uint64_t bench_lun(unsigned lun)
{
    return (uint64_t)lun << 48;
}

/* ---- the device server ---- */

unsigned fake_run_depth_max;
static _Thread_local unsigned run_depth;

bool fake_start(struct fake *fake, struct nexus *nexus, unsigned lun, enum task_attribute attribute)
{
    struct command *command = &fake->command;

    fake->has_ended = false;
    fake->runs = 0;
    command->nexus = nexus;
    command->lun = bench_lun(lun);
    command->attribute = attribute;
    command->was_aborted = false;
    command->itl = nexus_itl(nexus, command->lun, true);
    assert_non_null(command->itl);
    command->lu = command->itl->lu;
    if (!nexus_command_begin(command))
        return false;
    command_run(command);
    return true;
}

void fake_end(struct fake *fake)
{
    struct nexus *nexus = fake->command.nexus;

    assert_false(fake->has_ended);
    fake->has_ended = true;
    nexus_command_end(&fake->command);
    if (fake->then != NULL)
        fake_start(fake->then, nexus, (unsigned)(fake->command.lun >> 48), TASK_SIMPLE);
    if (fake->at_end != NULL)
        fake->at_end(fake);
}

void command_run(struct command *command)
{
    struct fake *fake = (void *)command;

    assert_false(command->is_held);
    if (++run_depth > fake_run_depth_max)
        fake_run_depth_max = run_depth;
    fake->runs++;
    if (fake->ends_at_once)
        fake_end(fake);
    run_depth--;
}

void command_abort(struct command *command)
{
    struct fake *fake = (void *)command;
    bool was_held = command->is_held;

    if (command->was_aborted)
        return;
    command->was_aborted = true;
    nexus_command_unhold(command);
    if (was_held || !fake->is_stuck)
        fake_end(fake);
}

/* ---- threads ---- */

struct visit {
    struct message message;
    void (*what)(void *arg);
    void *arg;
    sem_t over;
};

static void visit_run(struct message *message)
{
    struct visit *visit = (void *)message;

    visit->what(visit->arg);
    sem_post(&visit->over);
}

void bench_on_worker(struct worker *worker, void (*what)(void *arg), void *arg)
{
    struct visit visit = { .message.run = visit_run, .what = what, .arg = arg };
    struct timespec limit;

    sem_init(&visit.over, 0, 0);
    worker_post(worker, &visit.message);
    clock_gettime(CLOCK_REALTIME, &limit);
    limit.tv_sec += 30;
    if (sem_timedwait(&visit.over, &limit) != 0) {
        fprintf(stderr, "a worker did not answer in 30 s\n");
        abort(); /* it may still use what lies on this stack */
    }
    sem_destroy(&visit.over);
}

static void give_up(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)loop;
    (void)timer;
    (void)events;
    fprintf(stderr, "what the test waits for did not come in 30 s\n");
    abort();
}

void bench_wait(struct ev_loop *loop, const bool *flag)
{
    ev_timer timer;

    ev_timer_init(&timer, give_up, 30., 0.);
    ev_timer_start(loop, &timer);
    while (!*flag)
        ev_run(loop, EVRUN_ONCE);
    ev_timer_stop(loop, &timer);
}
