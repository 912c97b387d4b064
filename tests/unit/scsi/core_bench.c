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

/* ---- with real workers ---- */

enum { PATIENCE_S = 30 };

int lab_setup(void **state)
{
    const struct workers_options options = {
        .count = LAB_WORKERS,
        .engine = ENGINE_THREADS,
        .memory_limit_bytes = 1024 * 1024,
    };
    struct lab *lab = calloc(1, sizeof(*lab));

    assert_non_null(lab);
    assert_int_equal(workers_start(&options, &lab->workers), 0);
    lab->loop = ev_loop_new(EVFLAG_AUTO);
    mailbox_open(&lab->home, lab->loop);
    assert_int_equal(scsi_target_open(&lab->target, "iqn.2026-11.lab.nestor:t", lab->workers), 0);
    for (unsigned i = 0; i < LAB_LUNS; i++)
        lab->lus[i] = bench_lu();
    lun_map_put(lab->target.map);
    lab->target.map = bench_map(lab->lus, LAB_LUNS);
    *state = lab;
    return 0;
}

int lab_teardown(void **state)
{
    struct lab *lab = *state;

    scsi_target_close(&lab->target);
    for (unsigned i = 0; i < LAB_LUNS; i++) {
        assert_int_equal(lu_nexus_count(lab->lus[i]), 0);
        lu_close(lab->lus[i]);
    }
    for (unsigned i = 0; i < LAB_WORKERS; i++)
        scsi_worker_close(lab->workers->worker[i]);
    workers_stop(lab->workers);
    mailbox_close(&lab->home);
    ev_loop_destroy(lab->loop);
    free(lab);
    return 0;
}

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

void lab_on_worker(struct lab *lab, unsigned worker, void (*what)(void *arg), void *arg)
{
    struct visit visit = { .message.run = visit_run, .what = what, .arg = arg };
    struct timespec limit;

    sem_init(&visit.over, 0, 0);
    worker_post(lab->workers->worker[worker], &visit.message);
    clock_gettime(CLOCK_REALTIME, &limit);
    limit.tv_sec += PATIENCE_S;
    if (sem_timedwait(&visit.over, &limit) != 0) {
        fprintf(stderr, "worker %u did not answer in %d s\n", worker, PATIENCE_S);
        abort(); /* it may still use what lies on this stack */
    }
    sem_destroy(&visit.over);
}

static void nothing(void *arg)
{
    (void)arg;
}

void lab_settle(struct lab *lab)
{
    /* a worker's answer may be a message to the other one, and that one's to the main thread */
    for (unsigned round = 0; round < 2; round++)
        for (unsigned i = 0; i < LAB_WORKERS; i++)
            lab_on_worker(lab, i, nothing, NULL);
    ev_run(lab->loop, EVRUN_NOWAIT);
}

static void give_up(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)loop;
    (void)timer;
    (void)events;
    fprintf(stderr, "what the test waits for did not come in %d s\n", PATIENCE_S);
    abort();
}

void lab_wait(struct lab *lab, const bool *flag)
{
    ev_timer timer;

    ev_timer_init(&timer, give_up, PATIENCE_S, 0.);
    ev_timer_start(lab->loop, &timer);
    while (!*flag)
        ev_run(lab->loop, EVRUN_ONCE);
    ev_timer_stop(lab->loop, &timer);
}

/* What lab_ functions do on the worker. */
struct errand {
    struct lab *lab;
    struct nexus *nexus;
    struct fake *fake;
    const char *name;
    unsigned worker, lun;
    struct itl *itl;
    int result;
};

static void errand_login(void *arg)
{
    struct errand *errand = arg;
    char name[64], port[96];

    snprintf(name, sizeof(name), "iqn.1998-01.com.vmware:%s", errand->name);
    snprintf(port, sizeof(port), "%s,i,0x00023d000001", name);
    errand->result = nexus_open(errand->nexus, errand->lab->workers->worker[errand->worker],
                                &errand->lab->target, name, port, 1);
}

void lab_login(struct lab *lab, struct nexus *nexus, unsigned worker, const char *name)
{
    struct errand errand = { .lab = lab, .nexus = nexus, .worker = worker, .name = name };

    lab_on_worker(lab, worker, errand_login, &errand);
    assert_int_equal(errand.result, 0);
}

static void errand_logout(void *arg)
{
    nexus_close(arg);
}

void lab_logout(struct lab *lab, struct nexus *nexus)
{
    lab_on_worker(lab, nexus->worker->index, errand_logout, nexus);
}

static void errand_start(void *arg)
{
    struct errand *errand = arg;

    errand->result = fake_start(errand->fake, errand->nexus, errand->lun, TASK_SIMPLE);
}

bool lab_start(struct lab *lab, struct fake *fake, struct nexus *nexus, unsigned lun)
{
    struct errand errand = { .nexus = nexus, .fake = fake, .lun = lun };

    lab_on_worker(lab, nexus->worker->index, errand_start, &errand);
    return errand.result;
}

static void errand_end(void *arg)
{
    fake_end(arg);
}

void lab_end(struct lab *lab, struct fake *fake)
{
    lab_on_worker(lab, fake->command.nexus->worker->index, errand_end, fake);
}

static void errand_itl(void *arg)
{
    struct errand *errand = arg;

    errand->itl = nexus_itl(errand->nexus, bench_lun(errand->lun), true);
    for (unsigned i = 0; errand->itl != NULL && i < UA_COUNT; i++)
        unit_attention_take(errand->itl);
}

struct itl *lab_quiet_itl(struct lab *lab, struct nexus *nexus, unsigned lun)
{
    struct errand errand = { .nexus = nexus, .lun = lun };

    lab_on_worker(lab, nexus->worker->index, errand_itl, &errand);
    return errand.itl;
}
