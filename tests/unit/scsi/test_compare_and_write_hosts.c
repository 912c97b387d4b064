/* COMPARE AND WRITE by many hosts at once; and what it counts on, that kill -9 cuts no write */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "tests/unit/scsi/disk_bench.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BLOCK = RIG_BLOCK_BYTES, LBA = 40 };

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

/* ---- many hosts at once ---- */

enum { HOSTS = 2, STEPS = 400, TRIES_MAX = 1000000 };

struct host {
    struct rig rig; /* its own worker; its LUN 0 is the bench's unit */
    struct lun_map *map;
    pthread_t thread;
    unsigned steps, lost;
};

static uint32_t host_reads(struct host *host)
{
    struct fake_task task;
    uint8_t cdb[10];
    uint32_t number;

    read_10(cdb, LBA, 1);
    fake_run(&task, &host->rig, cdb, BLOCK, NULL, 0);
    number = get_be32(task.in);
    fake_free(&task);
    return number;
}

/* Adds one to the number in the block STEPS times, as hosts take a lock: read, then replace what
 * was read. */
static void *host_run(void *arg)
{
    struct host *host = arg;

    for (unsigned tries = 0; host->steps < STEPS && tries < TRIES_MAX; tries++) {
        const uint8_t cdb[16] = { 0x89, [9] = LBA, [13] = 1 };
        uint8_t data[2 * BLOCK] = { 0 };
        struct fake_task task;
        uint32_t number = host_reads(host);

        put_be32(data, number);
        put_be32(data + BLOCK, number + 1);
        fake_run(&task, &host->rig, cdb, 0, data, sizeof data);
        if (task.answer.status == STATUS_GOOD)
            host->steps++;
        else if (fake_sense(&task) == SENSE_MISCOMPARE)
            host->lost++;
        else
            tries = TRIES_MAX;
        fake_free(&task);
    }
    return NULL;
}

static void host_open(struct host *host, unsigned index)
{
    struct lu *own;

    rig_open(&host->rig, &(struct rig_options){ .cache = CACHE_WRITEBACK, .has_vaai = true });
    own = host->rig.lu;
    host->rig.worker.index = index;
    host->rig.target.map->entries[0].lu = rig.lu;
    rig_clear_unit_attentions(&host->rig);
    host->rig.lu = own; /* rig_close() closes it */
}

static void hosts_add_up(void)
{
    struct lu_statistics sum;
    struct host host[HOSTS] = { 0 };
    struct fake_task task;
    uint8_t cdb[10];
    unsigned lost = 0;

    for (unsigned i = 0; i < HOSTS; i++)
        host_open(&host[i], i + 1);
    for (unsigned i = 0; i < HOSTS; i++)
        assert_int_equal(pthread_create(&host[i].thread, NULL, host_run, &host[i]), 0);
    for (unsigned i = 0; i < HOSTS; i++)
        pthread_join(host[i].thread, NULL);
    for (unsigned i = 0; i < HOSTS; i++) {
        assert_int_equal(host[i].steps, STEPS);
        lost += host[i].lost;
        rig_close(&host[i].rig);
    }
    inline_read_answer = inline_write_answer = 0;
    read_10(cdb, LBA, 1);
    fake_run(&task, &rig, cdb, BLOCK, NULL, 0);
    assert_int_equal(get_be32(task.in), HOSTS * STEPS);
    fake_free(&task);
    lu_statistics(rig.lu, &sum);
    assert_int_equal(sum.ats_ok, HOSTS * STEPS);
    assert_int_equal(sum.ats_miscompare, lost);
}

static void test_hosts_on_two_workers_lose_no_step(void **state)
{
    (void)state;
    hosts_add_up();
}

static void test_hosts_on_two_workers_lose_no_step_through_the_engine(void **state)
{
    (void)state;
    inline_read_answer = inline_write_answer = -EAGAIN;
    hosts_add_up();
}

/* ---- kill -9 ---- */

enum { KILLS = 200, SPINS_MAX = 200000 };

/* Replaces 'a' by 'b' and 'b' by 'a' in one range for as long as it lives. */
static void swap_forever(int fd, off_t offset_bytes, size_t len, volatile bool *is_running)
{
    static uint8_t bytes[2][4096];

    memset(bytes[0], 'b', len);
    memset(bytes[1], 'a', len);
    *is_running = true;
    for (unsigned turn = 0;; turn ^= 1)
        if (pwrite(fd, bytes[turn], len, offset_bytes) != (ssize_t)len)
            _exit(1);
}

static void expect_whole_after_kill(int fd, off_t offset_bytes, size_t len)
{
    volatile bool *is_running =
        mmap(NULL, sizeof *is_running, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    uint8_t bytes[4096];

    assert_true(is_running != MAP_FAILED);
    for (unsigned kill_number = 0; kill_number < KILLS; kill_number++) {
        int status;
        pid_t child;

        *is_running = false;
        child = fork();
        assert_true(child >= 0);
        if (child == 0)
            swap_forever(fd, offset_bytes, len, is_running);
        while (!*is_running)
            sched_yield();
        for (volatile unsigned spin = kill_number * 997 % SPINS_MAX; spin > 0; spin--)
            ;
        kill(child, SIGKILL);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));
        assert_int_equal(pread(fd, bytes, len, offset_bytes), len);
        for (size_t i = 1; i < len; i++)
            assert_int_equal(bytes[i], bytes[0]);
    }
    munmap((void *)is_running, sizeof *is_running);
}

/* What sbc_compare_and_write.c counts on: a write that crosses no page is never cut by SIGKILL. */
static void test_kill_9_never_cuts_a_write_within_a_page(void **state)
{
    int fd;

    (void)state;
    fd = open(rig.path, O_RDWR);
    assert_true(fd >= 0);
    expect_whole_after_kill(fd, LBA * BLOCK, BLOCK);
    expect_whole_after_kill(fd, 0, 4096);
    close(fd);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_hosts_on_two_workers_lose_no_step),
        TEST(test_hosts_on_two_workers_lose_no_step_through_the_engine),
        TEST(test_kill_9_never_cuts_a_write_within_a_page),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
