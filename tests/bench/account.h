/*
 * account: what a process took between two moments, from /proc: processor time, memory, context
 * switches and, where the kernel lets us, system calls; and what all else on the machine took.
 *
 * The processor time of a process is counted in ticks of 10 ms, all its threads together, those
 * that ended too. Switches are of the threads that live. System calls are counted with the
 * raw_syscalls tracepoint, which needs root and tracefs and makes every call a little slower.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct account_process {
    double cpu_s, user_s;
    uint64_t resident_kib, threads;
    uint64_t voluntary_switches, involuntary_switches;
    uint64_t waited_ns; /* ready to run, and not running */
};

struct account {
    uint64_t at_ns;
    double own_cpu_s; /* of the process that calls */
    struct account_process own, target;
    double busy_s;  /* all cores */
    double steal_s; /* what a hypervisor took */
    uint64_t syscalls;
};

/* False when there is no such process. */
bool account_of_process(pid_t pid, struct account_process *process);
/* pid 0: only this process and the machine. */
void account_take(struct account *account, pid_t pid);
/* What others took of one core, 0 to the number of cores. */
double account_others(const struct account *from, const struct account *to);
/*
 * How far the measurement was disturbed, in cores: what a hypervisor stole, and what others used as
 * far as we waited for it. Who waits for itself (many threads on one core), or whose neighbours
 * take only what is left, was not disturbed.
 */
double account_disturbed(const struct account *from, const struct account *to);

/* From now on account_take() counts the system calls of this process; false: it can't. */
bool account_count_syscalls(pid_t pid);
