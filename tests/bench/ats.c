/*
 * ats: how many COMPARE AND WRITEs a second, alone and with others.
 *
 *   ats ADDRESS PORT TARGET
 *
 * Every host is a thread with a session of its own and one command in flight, as VMFS takes locks.
 * What a host writes is what it compares with the next time; one who lost reads the block first,
 * and that read is part of the price. In the end the blocks hold as many counts as there were
 * GOODs.
 */
#include "tests/esx/path.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    HOSTS = 8,
    SECONDS = 3,
    BLOCKS_APART = 8, /* a page */
    ANSWER_WITHIN_MS = 10000,
    TEST_UNIT_READY = 0x00,
    ATTENTIONS_MAX = 10,
    SENSE_MISCOMPARE = 0xe,
};

struct host {
    pthread_t thread;
    struct path path;
    uint32_t lba;
    uint64_t done, lost;
    bool has_failed;
    uint64_t *latency_ns; /* of those that were done */
    size_t latencies;
};

static const size_t latencies_max = 1 << 20;
static atomic_bool is_over;

static int64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static bool is_good(enum path_result result, const struct path_answer *answer)
{
    return result == PATH_ANSWERED && answer->status == STATUS_GOOD;
}

static bool read_count(struct host *host, uint64_t *count)
{
    uint8_t block[PATH_BLOCK_BYTES];
    const struct path_command command = path_read(host->lba, 1, block);
    struct path_answer answer;

    if (!is_good(path_run(&host->path, &command, &answer), &answer))
        return false;
    memcpy(count, block, sizeof(*count));
    return true;
}

static void *count_up(void *argument)
{
    uint8_t both[2 * PATH_BLOCK_BYTES] = { 0 };
    struct host *host = argument;
    uint64_t count;

    host->has_failed = !read_count(host, &count);
    while (!host->has_failed && !atomic_load_explicit(&is_over, memory_order_relaxed)) {
        const struct path_command command = path_compare_and_write(host->lba, 1, both);
        const uint64_t next = count + 1;
        const int64_t began = now_ns();
        struct path_answer answer;
        enum path_result result;

        memcpy(both, &count, sizeof(count));
        memcpy(both + PATH_BLOCK_BYTES, &next, sizeof(next));
        result = path_run(&host->path, &command, &answer);
        if (is_good(result, &answer)) {
            host->done++;
            count = next;
            if (host->latencies < latencies_max)
                host->latency_ns[host->latencies++] = (uint64_t)(now_ns() - began);
        } else if (result == PATH_ANSWERED && answer.sense_key == SENSE_MISCOMPARE) {
            host->lost++;
            host->has_failed = !read_count(host, &count);
        } else {
            host->has_failed = true;
        }
    }
    return NULL;
}

static bool open_host(struct host *host, unsigned number, char **argv)
{
    const struct path_command ready = path_simple(TEST_UNIT_READY);
    struct path_answer answer = { .status = STATUS_BUSY };
    char name[64];

    snprintf(name, sizeof(name), "iqn.1998-01.com.vmware:esx%u", number);
    host->path = (struct path){ .socket = -1, .answer_within_ms = ANSWER_WITHIN_MS };
    host->latency_ns = malloc(latencies_max * sizeof(*host->latency_ns));
    if (!host->latency_ns || path_open(&host->path, argv[1], argv[2], name, argv[3]))
        return false;
    for (unsigned i = 0; i < ATTENTIONS_MAX && answer.status != STATUS_GOOD; i++)
        path_run(&host->path, &ready, &answer);
    return answer.status == STATUS_GOOD;
}

static int by_size(const void *a, const void *b)
{
    const uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

    return left < right ? -1 : left > right;
}

static void print_row(const char *what, const struct host *hosts, unsigned count, double seconds)
{
    uint64_t done = 0, lost = 0, *all;
    size_t latencies = 0;

    for (unsigned i = 0; i < count; i++) {
        done += hosts[i].done;
        lost += hosts[i].lost;
        latencies += hosts[i].latencies;
    }
    all = malloc((latencies + 1) * sizeof(*all));
    if (!all)
        return;
    latencies = 0;
    for (unsigned i = 0; i < count; i++) {
        memcpy(all + latencies, hosts[i].latency_ns, hosts[i].latencies * sizeof(*all));
        latencies += hosts[i].latencies;
    }
    qsort(all, latencies, sizeof(*all), by_size);
    printf("%-28s %9.0f a second", what, (double)done / seconds);
    if (latencies)
        printf(", p50 %5.0f us, p99 %6.0f us", (double)all[latencies / 2] / 1000,
               (double)all[latencies * 99 / 100] / 1000);
    printf(", %.0f %% found another's\n", 100.0 * (double)lost / (double)(done + lost + !done));
    free(all);
}

/* The sum is right: what the blocks say is what the hosts were told. */
static bool is_sum_right(struct host *hosts, unsigned count)
{
    uint64_t done = 0, there = 0, one;

    for (unsigned i = 0; i < count; i++) {
        done += hosts[i].done;
        if (i && hosts[i].lba == hosts[0].lba)
            continue;
        if (!read_count(&hosts[i], &one))
            return false;
        there += one;
    }
    if (there == done)
        return true;
    fprintf(stderr, "the blocks say %" PRIu64 ", the hosts %" PRIu64 "\n", there, done);
    return false;
}

static bool measure(const char *what, unsigned count, uint32_t first_lba, uint32_t apart,
                    char **argv)
{
    struct host hosts[HOSTS] = { 0 };
    int64_t began;
    bool is_right = true;

    for (unsigned i = 0; i < count; i++) {
        hosts[i].lba = first_lba + i * apart;
        if (!open_host(&hosts[i], i, argv)) {
            fprintf(stderr, "host %u cannot log in\n", i);
            return false;
        }
    }
    atomic_store(&is_over, false);
    began = now_ns();
    for (unsigned i = 0; i < count; i++)
        if (pthread_create(&hosts[i].thread, NULL, count_up, &hosts[i]))
            abort();
    nanosleep(&(struct timespec){ .tv_sec = SECONDS }, NULL);
    atomic_store(&is_over, true);
    for (unsigned i = 0; i < count; i++) {
        pthread_join(hosts[i].thread, NULL);
        is_right = is_right && !hosts[i].has_failed;
    }
    print_row(what, hosts, count, (double)(now_ns() - began) / 1e9);
    is_right = is_right && is_sum_right(hosts, count);
    for (unsigned i = 0; i < count; i++) {
        path_close(&hosts[i].path);
        free(hosts[i].latency_ns);
    }
    return is_right;
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: %s ADDRESS PORT TARGET, with an empty LUN 0\n", argv[0]);
        return 2;
    }
    return measure("one host", 1, 0, 0, argv) &&
                   measure("eight hosts, one block", HOSTS, 1000, 0, argv) &&
                   measure("eight hosts, eight blocks", HOSTS, 2000, BLOCKS_APART, argv)
               ? 0
               : 1;
}
