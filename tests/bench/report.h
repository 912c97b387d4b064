/*
 * report: a measurement, told as a line for people and a line of JSON for programs.
 *
 * Whatever was not measured (no --pid, no tracepoint) is left out of both.
 */
#pragma once

#include "tests/bench/account.h"
#include "tests/bench/session.h"

struct report {
    const struct options *options;
    struct account from, to;
    const struct tally *tally; /* of all crews */
    uint64_t client_syscalls, resident_before_login_kib;
    uint64_t paused_ns;   /* see pauses.h */
    double login_seconds; /* of all sessions, one after the other */
    bool has_syscalls;
};

void report_print(const struct report *report);
