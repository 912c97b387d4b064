#include "tests/bench/pauses.h"
#include "tests/bench/bench.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>

enum { CORES_MAX = 2, NS_A_US = 1000 };

struct watch {
    pthread_t thread;
    int core;
    uint64_t paused_ns;
};

static struct watch watches[CORES_MAX];
static unsigned watch_count;
static atomic_bool is_over;

static void *watch(void *argument)
{
    const struct timespec tick = { .tv_nsec = PAUSES_TICK_US * NS_A_US };
    const struct sched_param lowest = { .sched_priority = 1 };
    struct watch *self = argument;
    uint64_t allowed_ns = PAUSES_LATE_SHARED_US * NS_A_US;
    cpu_set_t core;

    CPU_ZERO(&core);
    CPU_SET(self->core, &core);
    if (sched_setaffinity(0, sizeof(core), &core))
        return NULL;
    if (sched_setscheduler(0, SCHED_FIFO, &lowest) == 0)
        allowed_ns = PAUSES_LATE_US * NS_A_US;
    while (!atomic_load(&is_over)) {
        uint64_t began_ns = now_ns(), late_ns;

        nanosleep(&tick, NULL);
        late_ns = now_ns() - began_ns - PAUSES_TICK_US * NS_A_US;
        if (late_ns > allowed_ns)
            self->paused_ns += late_ns;
    }
    return NULL;
}

/* The first core that a process may use, or -1. */
static int core_of(pid_t pid)
{
    cpu_set_t cores;

    if (sched_getaffinity(pid, sizeof(cores), &cores))
        return -1;
    for (int core = 0; core < CPU_SETSIZE; core++)
        if (CPU_ISSET(core, &cores))
            return core;
    return -1;
}

void pauses_start(pid_t pid)
{
    const int cores[CORES_MAX] = { core_of(0), pid ? core_of(pid) : -1 };

    atomic_store(&is_over, false);
    watch_count = 0;
    for (unsigned i = 0; i < CORES_MAX; i++) {
        struct watch *one = &watches[watch_count];

        if (cores[i] < 0 || (i > 0 && cores[i] == cores[0]))
            continue;
        *one = (struct watch){ .core = cores[i] };
        if (pthread_create(&one->thread, NULL, watch, one) == 0)
            watch_count++;
    }
}

uint64_t pauses_stop(void)
{
    uint64_t most_ns = 0;

    atomic_store(&is_over, true);
    for (unsigned i = 0; i < watch_count; i++) {
        pthread_join(watches[i].thread, NULL);
        if (watches[i].paused_ns > most_ns)
            most_ns = watches[i].paused_ns;
    }
    return most_ns;
}
