#include "tests/bench/account.h"
#include "tests/bench/bench.h"

#include <dirent.h>
#include <inttypes.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { COUNTERS_MAX = 256, PATH_BYTES = 96, LINE_BYTES = 2048 };

static int counters[COUNTERS_MAX];
static unsigned counter_count;

static double tick_s(void)
{
    return 1.0 / (double)sysconf(_SC_CLK_TCK);
}

/* proc(5), stat: fields 14, 15 and 20, behind the name in parentheses. */
static bool read_stat(pid_t pid, struct account_process *process)
{
    char path[PATH_BYTES], line[LINE_BYTES];
    const char *behind_name;
    unsigned long user, system;
    long threads;
    FILE *file;
    bool is_read;

    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    file = fopen(path, "r");
    if (!file)
        return false;
    is_read = fgets(line, sizeof(line), file);
    fclose(file);
    behind_name = is_read ? strrchr(line, ')') : NULL;
    if (!behind_name || sscanf(behind_name + 2,
                               "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %*d %*d %*d "
                               "%*d %ld",
                               &user, &system, &threads) != 3)
        return false;
    process->user_s = (double)user * tick_s();
    process->cpu_s = (double)(user + system) * tick_s();
    process->threads = (uint64_t)threads;
    return true;
}

/* The sum of the numbers behind `key` in a file of "key: number" lines. */
static uint64_t number_in(const char *path, const char *key)
{
    char line[LINE_BYTES];
    uint64_t number = 0;
    FILE *file = fopen(path, "r");

    while (file && fgets(line, sizeof(line), file))
        if (!strncmp(line, key, strlen(key)))
            number += strtoull(line + strlen(key), NULL, 10);
    if (file)
        fclose(file);
    return number;
}

static void for_each_thread(pid_t pid, void (*call)(pid_t pid, pid_t thread, void *context),
                            void *context)
{
    char path[PATH_BYTES];
    const struct dirent *entry;
    DIR *folder;

    snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
    folder = opendir(path);
    while (folder && (entry = readdir(folder)))
        if (entry->d_name[0] != '.')
            call(pid, (pid_t)strtol(entry->d_name, NULL, 10), context);
    if (folder)
        closedir(folder);
}

static void add_switches(pid_t pid, pid_t thread, void *context)
{
    struct account_process *process = context;
    char path[PATH_BYTES];

    snprintf(path, sizeof(path), "/proc/%d/task/%d/status", (int)pid, (int)thread);
    process->voluntary_switches += number_in(path, "voluntary_ctxt_switches:");
    process->involuntary_switches += number_in(path, "nonvoluntary_ctxt_switches:");
}

/* /proc/PID/task/TID/schedstat: time on a processor, time waiting for one, slices. */
static void add_waiting(pid_t pid, pid_t thread, void *context)
{
    struct account_process *process = context;
    char path[PATH_BYTES];
    uint64_t waited_ns;
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%d/task/%d/schedstat", (int)pid, (int)thread);
    file = fopen(path, "r");
    if (file && fscanf(file, "%*u %" SCNu64, &waited_ns) == 1)
        process->waited_ns += waited_ns;
    if (file)
        fclose(file);
}

bool account_of_process(pid_t pid, struct account_process *process)
{
    char path[PATH_BYTES];

    *process = (struct account_process){ 0 };
    if (pid <= 0 || !read_stat(pid, process))
        return false;
    /* VmRSS is summed lazily for each CPU; this one is exact */
    snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)pid);
    process->resident_kib = number_in(path, "Rss:");
    for_each_thread(pid, add_switches, process);
    for_each_thread(pid, add_waiting, process);
    return true;
}

static void read_machine(struct account *account)
{
    char line[LINE_BYTES];
    FILE *file = fopen("/proc/stat", "r");

    while (file && fgets(line, sizeof(line), file)) {
        uint64_t user, niced, system, irq, soft_irq, steal;

        if (!strncmp(line, "cpu ", 4) && /* all together; each follows */
            sscanf(line,
                   "cpu %" SCNu64 " %" SCNu64 " %" SCNu64 " %*u %*u %" SCNu64 " %" SCNu64
                   " %" SCNu64,
                   &user, &niced, &system, &irq, &soft_irq, &steal) == 6) {
            account->busy_s = (double)(user + niced + system + irq + soft_irq) * tick_s();
            account->steal_s = (double)steal * tick_s();
        }
    }
    if (file)
        fclose(file);
}

static double seconds_of(struct timeval time)
{
    return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

void account_take(struct account *account, pid_t pid)
{
    struct rusage own;

    *account = (struct account){ 0 };
    getrusage(RUSAGE_SELF, &own);
    account->own_cpu_s = seconds_of(own.ru_utime) + seconds_of(own.ru_stime);
    for_each_thread(getpid(), add_waiting, &account->own);
    if (pid > 0)
        account_of_process(pid, &account->target);
    for (unsigned i = 0; i < counter_count; i++) {
        uint64_t count;

        if (read(counters[i], &count, sizeof(count)) == (ssize_t)sizeof(count))
            account->syscalls += count;
    }
    read_machine(account);
    account->at_ns = now_ns();
}

double account_others(const struct account *from, const struct account *to)
{
    double seconds = (double)(to->at_ns - from->at_ns) / 1e9;
    double others = to->busy_s - from->busy_s - (to->own_cpu_s - from->own_cpu_s) -
                    (to->target.cpu_s - from->target.cpu_s);

    return others > 0 && seconds > 0 ? others / seconds : 0;
}

double account_disturbed(const struct account *from, const struct account *to)
{
    double seconds = (double)(to->at_ns - from->at_ns) / 1e9;
    double waited = (double)(to->own.waited_ns - from->own.waited_ns) +
                    (double)(to->target.waited_ns - from->target.waited_ns);
    double others = account_others(from, to);

    if (seconds <= 0)
        return 0;
    waited /= seconds * 1e9;
    return (waited < others ? waited : others) + (to->steal_s - from->steal_s) / seconds;
}

static void open_counter(pid_t pid, pid_t thread, void *context)
{
    struct perf_event_attr attributes = {
        .size = sizeof(attributes),
        .type = PERF_TYPE_TRACEPOINT,
        .config = *(const uint64_t *)context,
        .inherit = 1,
    };
    int counter;

    (void)pid;
    if (counter_count == COUNTERS_MAX)
        return;
    counter = (int)syscall(SYS_perf_event_open, &attributes, thread, -1, -1, 0);
    if (counter >= 0)
        counters[counter_count++] = counter;
}

bool account_count_syscalls(pid_t pid)
{
    FILE *file = fopen("/sys/kernel/tracing/events/raw_syscalls/sys_enter/id", "r");
    uint64_t tracepoint = 0;

    if (file && fscanf(file, "%" SCNu64, &tracepoint) != 1)
        tracepoint = 0;
    if (file)
        fclose(file);
    if (tracepoint)
        for_each_thread(pid, open_counter, &tracepoint);
    return counter_count > 0;
}
