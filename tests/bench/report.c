#include "tests/bench/report.h"
#include "tests/bench/bench.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* What follows from the counts. */
struct figures {
    double seconds, iops, mib_s, ios; /* ios: never 0, to divide by */
    double p50_us, p99_us, p999_us;
    double target_us, client_us, switches, syscalls;
    double disturbed; /* in cores, or as the share of the time that they stood still */
};

static struct figures figures_of(const struct report *report)
{
    const struct account *from = &report->from, *to = &report->to;
    const struct tally *tally = report->tally;
    struct figures f = { .seconds = (double)(to->at_ns - from->at_ns) / 1e9 };

    f.ios = tally->ios ? (double)tally->ios : 1;
    f.iops = (double)tally->ios / f.seconds;
    f.mib_s = (double)tally->bytes / f.seconds / (1 << 20);
    f.p50_us = histogram_quantile_us(&tally->latency, 0.5);
    f.p99_us = histogram_quantile_us(&tally->latency, 0.99);
    f.p999_us = histogram_quantile_us(&tally->latency, 0.999);
    f.target_us = (to->target.cpu_s - from->target.cpu_s) * 1e6 / f.ios;
    f.client_us = (to->own_cpu_s - from->own_cpu_s) * 1e6 / f.ios;
    f.switches = (double)(to->target.voluntary_switches - from->target.voluntary_switches) / f.ios;
    f.syscalls = (double)(to->syscalls - from->syscalls) / f.ios;
    f.disturbed = account_disturbed(from, to);
    if ((double)report->paused_ns / 1e9 / f.seconds > f.disturbed)
        f.disturbed = (double)report->paused_ns / 1e9 / f.seconds;
    return f;
}

static void print_json(FILE *file, const struct report *report, const struct figures *f)
{
    const struct options *options = report->options;
    const struct tally *tally = report->tally;
    const struct account *from = &report->from, *to = &report->to;

    fprintf(file,
            "{\"label\":\"%s\",\"rw\":\"%s\",\"block_bytes\":%u,\"qd\":%u,\"sessions\":%u,"
            "\"seconds\":%.3f,\"ios\":%" PRIu64 ",\"errors\":%" PRIu64 ",\"verified\":%" PRIu64
            ",\"lost\":%" PRIu64 ",\"iops\":%.1f,\"mib_s\":%.2f,",
            options->label ? options->label : "", options->workload, options->block_bytes,
            options->queue_depth, options->sessions, f->seconds, tally->ios, tally->errors,
            tally->verified, tally->lost, f->iops, f->mib_s);
    fprintf(file,
            "\"mean_us\":%.2f,\"p50_us\":%.2f,\"p99_us\":%.2f,\"p999_us\":%.2f,\"max_us\":%.2f,"
            "\"longest_gap_us\":%.2f,",
            histogram_mean_us(&tally->latency), f->p50_us, f->p99_us, f->p999_us,
            (double)tally->latency.max_ns / 1000, (double)tally->longest_gap_ns / 1000);
    if (options->has_login)
        fprintf(file, "\"logins_s\":%.1f,", options->sessions / report->login_seconds);
    if (options->pid)
        fprintf(file,
                "\"target_us\":%.3f,\"target_cpu_s\":%.3f,\"target_user_s\":%.3f,"
                "\"target_threads\":%" PRIu64 ",\"switches\":%.4f,\"switches_s\":%.1f,"
                "\"resident_before_login_kib\":%" PRIu64 ",\"resident_kib\":%" PRIu64 ",",
                f->target_us, to->target.cpu_s - from->target.cpu_s,
                to->target.user_s - from->target.user_s, to->target.threads, f->switches,
                f->switches * f->ios / f->seconds, report->resident_before_login_kib,
                to->target.resident_kib);
    if (report->has_syscalls)
        fprintf(file, "\"syscalls\":%.3f,", f->syscalls);
    fprintf(file,
            "\"client_us\":%.3f,\"client_syscalls\":%.3f,\"others_cores\":%.3f,"
            "\"disturbed\":%.3f,\"paused_s\":%.3f,\"steal_s\":%.3f}\n",
            f->client_us, (double)report->client_syscalls / f->ios, account_others(from, to),
            f->disturbed, (double)report->paused_ns / 1e9, to->steal_s - from->steal_s);
}

static void print_line(const struct report *report, const struct figures *f)
{
    const struct options *options = report->options;
    const struct tally *tally = report->tally;

    printf("%s%s%s %uk x %u x %u: %.0f IOPS, %.1f MiB/s, p50 %.1f p99 %.1f p99.9 %.1f max %.0f us",
           options->label ? options->label : "", options->label ? ": " : "", options->workload,
           options->block_bytes / 1024, options->queue_depth, options->sessions, f->iops, f->mib_s,
           f->p50_us, f->p99_us, f->p999_us, (double)tally->latency.max_ns / 1000);
    if (options->pid)
        printf("; target %.2f us/IO, %.3f switches/IO, %.1f MiB", f->target_us, f->switches,
               (double)report->to.target.resident_kib / 1024);
    if (report->has_syscalls)
        printf(", %.2f system calls/IO", f->syscalls);
    printf("; client %.2f us/IO, disturbed %.0f %%", f->client_us, 100 * f->disturbed);
    if (tally->lost)
        printf("; %" PRIu64 " found another's", tally->lost);
    if (options->is_verifying)
        printf("; %" PRIu64 " blocks verified", tally->verified);
    if (tally->errors)
        printf("; %" PRIu64 " ERRORS", tally->errors);
    putchar('\n');
}

void report_print(const struct report *report)
{
    const struct figures figures = figures_of(report);
    const char *path = report->options->json_path;
    bool is_piped = path && !strcmp(path, "-");

    if (path) {
        FILE *file = is_piped ? stdout : fopen(path, "a");

        if (!file)
            fail("%s: %s", path, strerror(errno));
        print_json(file, report, &figures);
        if (!is_piped && fclose(file))
            fail("%s: %s", path, strerror(errno));
    }
    if (!is_piped)
        print_line(report, &figures);
    fflush(stdout);
}
