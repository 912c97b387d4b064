/*
 * pauses: how long the processor itself stood still, which no counter of the kernel tells.
 *
 * A hypervisor that holds a guest to a quota stops its cores for milliseconds again and again, and
 * what ran there seems to have been running all the time. So a thread on each core that is measured
 * sleeps for PAUSES_TICK_US at a time and sums up how late it wakes. With a real-time priority
 * (root) it wakes at once and PAUSES_LATE_US of lateness is a pause; without it the scheduler
 * explains some milliseconds, and only more than PAUSES_LATE_SHARED_US counts.
 *
 * Thread  main()'s, one watch at a time.
 */
#pragma once

#include <stdint.h>
#include <sys/types.h>

enum {
    PAUSES_TICK_US = 2000,
    PAUSES_LATE_US = 500,
    PAUSES_LATE_SHARED_US = 4000,
};

/* Watches a core of this process and one of `pid` (0: none). */
void pauses_start(pid_t pid);
/* Until now, in nanoseconds: the larger of the cores' sums. Ends the watch. */
uint64_t pauses_stop(void);
