#include "tests/bench/options.h"
#include "tests/bench/bench.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SECTOR_BYTES = 512,
    BLOCK_BYTES_MAX = 16 * 1024 * 1024 - SECTOR_BYTES, /* a data segment has 24 bits */
    DISCARD_FROM_BYTES = 64 * 1024,
    QUEUE_MAX = 4096,
    SESSIONS_MAX = 65000,
};

static const char help[] =
    "load --portal ADDRESS:PORT[,...] --target IQN [--lun N|N-M[,...]] --rw WHAT [options]\n"
    "\n"
    "what to do\n"
    "  --rw WHAT        read, write, randread, randwrite, mixed; ats: COMPARE AND WRITE of one\n"
    "                   block, as VMFS locks (queue depth 1); idle: log in and say nothing\n"
    "  --read-percent N of mixed (70)\n"
    "  --bs SIZE        bytes a command (4k); --bs-max SIZE: at random up to that\n"
    "  --qd N           commands in flight, each session (32)\n"
    "  --sessions N     each a host of its own, spread over the portals (1)\n"
    "  --threads N      of this program (1)\n"
    "  --secs S         to measure (3); --warmup S before (0.5); --ios N: so many commands "
    "instead\n"
    "  --span SIZE      use only so much of each LUN\n"
    "  --locks N        ats: lock blocks that the sessions share (one for each)\n"
    "  --verify         write stamps, check what is read, read all again in the end (256m of each\n"
    "                   LUN when no --span is given). With --rw read: check what an earlier run\n"
    "                   wrote, once over the span; what is all zeros was not written\n"
    "how\n"
    "  --digest header|data|both    CRC32C\n"
    "  --discard 0|1    drop read payload in the kernel (default: from 64k on); not checked then\n"
    "  --no-batch       a send for each command; --no-immediate\n"
    "  --segment --first-burst --max-burst SIZE    what login proposes (256k, 256k, 1m)\n"
    "  --initiator NAME the number of the session is put behind it\n"
    "  --no-login       for the ceiling (--span says what its file holds; 2g)\n"
    "what to tell\n"
    "  --pid PID        of the target: its CPU, memory, switches\n"
    "  --syscalls       and its system calls (root, tracefs; slower)\n"
    "  --label TEXT --json FILE|-   a line is appended\n";

enum {
    O_PORTAL = 1,
    O_TARGET,
    O_LUN,
    O_RW,
    O_READ_PERCENT,
    O_BS,
    O_BS_MAX,
    O_QD,
    O_SESSIONS,
    O_THREADS,
    O_SECS,
    O_WARMUP,
    O_IOS,
    O_SPAN,
    O_LOCKS,
    O_VERIFY,
    O_DIGEST,
    O_DISCARD,
    O_NO_BATCH,
    O_NO_IMMEDIATE,
    O_SEGMENT,
    O_FIRST_BURST,
    O_MAX_BURST,
    O_INITIATOR,
    O_NO_LOGIN,
    O_PID,
    O_SYSCALLS,
    O_LABEL,
    O_JSON,
    O_HELP,
};

static const struct option names[] = {
    {"portal",           required_argument, NULL, O_PORTAL },
    { "target",              required_argument, NULL, O_TARGET },
    { "lun",                 required_argument, NULL, O_LUN },
    { "rw",required_argument, NULL, O_RW },
    { "read-percent",          required_argument, NULL, O_READ_PERCENT },
    { "bs",             required_argument, NULL, O_BS },
    { "bs-max",              required_argument, NULL, O_BS_MAX },
    { "qd",                 required_argument, NULL, O_QD },
    { "sessions",              required_argument, NULL, O_SESSIONS },
    { "threads",              required_argument, NULL, O_THREADS },
    { "secs",    required_argument, NULL, O_SECS },
    { "warmup",              required_argument, NULL, O_WARMUP },
    { "ios",                 required_argument, NULL, O_IOS },
    { "span",required_argument, NULL, O_SPAN },
    { "locks",              required_argument, NULL, O_LOCKS },
    { "verify",          no_argument, NULL, O_VERIFY },
    { "digest",              required_argument, NULL, O_DIGEST },
    { "discard",                 required_argument, NULL, O_DISCARD },
    { "no-batch",no_argument, NULL, O_NO_BATCH },
    { "no-immediate",              no_argument, NULL, O_NO_IMMEDIATE },
    { "segment",        required_argument, NULL, O_SEGMENT },
    { "first-burst",              required_argument, NULL, O_FIRST_BURST },
    { "max-burst",                 required_argument, NULL, O_MAX_BURST },
    { "initiator",required_argument, NULL, O_INITIATOR },
    { "no-login",         no_argument, NULL, O_NO_LOGIN },
    { "pid",            required_argument, NULL, O_PID },
    { "syscalls",              no_argument, NULL, O_SYSCALLS },
    { "label",                 required_argument, NULL, O_LABEL },
    { "json",required_argument, NULL, O_JSON },
    { "help",          no_argument, NULL, O_HELP },
    { 0            },
};

static void read_portals(struct options *options, char *text)
{
    for (char *next, *one = strtok_r(text, ",", &next); one; one = strtok_r(NULL, ",", &next)) {
        char *colon = strrchr(one, ':');
        struct portal *portal = &options->portals[options->portal_count];

        if (!colon || options->portal_count == PORTALS_MAX)
            fail("--portal wants ADDRESS:PORT, at most %d of them", PORTALS_MAX);
        *colon = '\0';
        if (*one == '[' && colon[-1] == ']') {
            one++;
            colon[-1] = '\0';
        }
        *portal = (struct portal){ .address = one, .port = colon + 1 };
        options->portal_count++;
    }
}

static void read_luns(struct options *options, char *text)
{
    options->lun_count = 0;
    for (char *next, *one = strtok_r(text, ",", &next); one; one = strtok_r(NULL, ",", &next)) {
        char *dash = strchr(one, '-');
        unsigned first, last;

        if (dash)
            *dash = '\0';
        first = bench_number(one, 0);
        last = dash ? bench_number(dash + 1, first) : first;
        if (last >= 16384 || last - first >= LUNS_MAX - options->lun_count)
            fail("--lun wants numbers below 16384, at most %d of them", LUNS_MAX);
        while (first <= last)
            options->luns[options->lun_count++] = first++;
    }
}

static void read_workload(struct options *options, const char *word)
{
    static const struct {
        const char *word;
        bool reads, writes, is_random, is_ats, is_idle;
    } workloads[] = {
        {.word = "read",      .reads = true },
        { .word = "write",    .writes = true},
        { .word = "randread", .reads = true,  .is_random = true },
        { .word = "randwrite",                  .writes = true,             .is_random = true },
        { .word = "mixed",  .reads = true,   .writes = true, .is_random = true },
        { .word = "ats",     .writes = true,   .is_ats = true },
        { .word = "idle",                  .is_idle = true                  },
    };

    for (size_t i = 0; i < sizeof(workloads) / sizeof(*workloads); i++) {
        if (strcmp(workloads[i].word, word))
            continue;
        options->workload = workloads[i].word;
        options->reads = workloads[i].reads;
        options->writes = workloads[i].writes;
        options->is_random = workloads[i].is_random;
        options->is_ats = workloads[i].is_ats;
        options->is_idle = workloads[i].is_idle;
        return;
    }
    fail("--rw %s: there are read, write, randread, randwrite, mixed, ats, idle", word);
}

static void read_digest(struct options *options, const char *word)
{
    bool both = !strcmp(word, "both");

    options->wants_header_digest = both || !strcmp(word, "header");
    options->wants_data_digest = both || !strcmp(word, "data");
    if (!options->wants_header_digest && !options->wants_data_digest)
        fail("--digest header, data or both");
}

static double read_seconds(const char *text)
{
    char *end;
    double seconds = strtod(text, &end);

    if (end == text || *end || !(seconds >= 0 && seconds <= 86400))
        fail("\"%s\" are no seconds", text);
    return seconds;
}

static uint32_t read_size(const char *text)
{
    uint64_t bytes = bench_size(text);

    if (bytes < SECTOR_BYTES || bytes > BLOCK_BYTES_MAX)
        fail("%s is less than %d or more than %d bytes", text, SECTOR_BYTES, BLOCK_BYTES_MAX);
    return (uint32_t)bytes;
}

static void read_one(struct options *options, int option, char *value)
{
    switch (option) {
    case O_PORTAL: read_portals(options, value); break;
    case O_TARGET: options->target = value; break;
    case O_LUN: read_luns(options, value); break;
    case O_RW: read_workload(options, value); break;
    case O_READ_PERCENT: options->read_percent = bench_number(value, 0); break;
    case O_BS: options->block_bytes = read_size(value); break;
    case O_BS_MAX: options->block_bytes_max = read_size(value); break;
    case O_QD: options->queue_depth = bench_number(value, 1); break;
    case O_SESSIONS: options->sessions = bench_number(value, 1); break;
    case O_THREADS: options->threads = bench_number(value, 1); break;
    case O_SECS: options->seconds = read_seconds(value); break;
    case O_WARMUP: options->warmup_seconds = read_seconds(value); break;
    case O_IOS: options->ios = bench_number(value, 1); break;
    case O_SPAN: options->span_bytes = bench_size(value); break;
    case O_LOCKS: options->lock_blocks = bench_number(value, 1); break;
    case O_VERIFY: options->is_verifying = true; break;
    case O_DIGEST: read_digest(options, value); break;
    case O_NO_BATCH: options->is_batching = false; break;
    case O_NO_IMMEDIATE: options->wants_immediate = false; break;
    case O_SEGMENT: options->max_segment_bytes = read_size(value); break;
    case O_FIRST_BURST: options->first_burst_bytes = read_size(value); break;
    case O_MAX_BURST: options->max_burst_bytes = read_size(value); break;
    case O_INITIATOR: options->initiator = value; break;
    case O_NO_LOGIN: options->has_login = false; break;
    case O_PID: options->pid = (pid_t)bench_number(value, 1); break;
    case O_SYSCALLS: options->counts_syscalls = true; break;
    case O_LABEL: options->label = value; break;
    case O_JSON: options->json_path = value; break;
    case O_HELP: fputs(help, stdout); exit(0);
    default: exit(2); /* getopt said why */
    }
}

static void check_blocks(struct options *options)
{
    uint32_t times;

    if (options->is_ats)
        options->block_bytes = SECTOR_BYTES;
    if (!options->block_bytes_max || options->is_ats)
        options->block_bytes_max = options->block_bytes;
    times = options->block_bytes_max / options->block_bytes;
    if (options->block_bytes % SECTOR_BYTES || options->block_bytes_max % options->block_bytes ||
        (times & (times - 1)))
        fail("--bs is a multiple of 512, --bs-max a power of two times that");
    if (options->is_verifying && times > 1)
        fail("--verify wants one block size");
}

static void check_options(struct options *options)
{
    if (!options->portal_count || !options->workload)
        fail("load: --portal and --rw are needed; see --help");
    if (!options->target == options->has_login)
        fail("load: one of --target and --no-login is needed; see --help");
    check_blocks(options);
    if (options->queue_depth > QUEUE_MAX || options->sessions > SESSIONS_MAX ||
        options->read_percent > 100)
        fail("--qd is at most %d, --sessions %d, --read-percent 100", QUEUE_MAX, SESSIONS_MAX);
    if (!options->has_login && (options->is_ats || options->lun_count > 1))
        fail("the ceiling has one LUN, and no COMPARE AND WRITE");
    if (options->is_ats)
        options->queue_depth = 1;
    if (options->threads > options->sessions)
        options->threads = options->sessions;
    if (!options->lock_blocks || options->lock_blocks > options->sessions)
        options->lock_blocks = options->sessions;
    if (options->is_verifying && !options->span_bytes)
        options->span_bytes = 256 << 20;
}

void options_read(struct options *options, int argc, char **argv)
{
    const char *discard = NULL;
    int option;

    *options = (struct options){
        .lun_count = 1,
        .initiator = "iqn.2026-11.lab.nestor:load",
        .read_percent = 70,
        .queue_depth = 32,
        .sessions = 1,
        .threads = 1,
        .block_bytes = 4096,
        .seconds = 3,
        .warmup_seconds = 0.5,
        .max_segment_bytes = 256 * 1024,
        .first_burst_bytes = 256 * 1024,
        .max_burst_bytes = 1024 * 1024,
        .wants_immediate = true,
        .has_login = true,
        .is_batching = true,
    };
    while ((option = getopt_long(argc, argv, "", names, NULL)) != -1) {
        if (option == O_DISCARD)
            discard = optarg;
        else
            read_one(options, option, optarg);
    }
    if (optind != argc)
        fail("load: what is \"%s\"? See --help", argv[optind]);
    check_options(options);
    options->is_discarding =
        discard ? bench_number(discard, 0) != 0
                : options->block_bytes >= DISCARD_FROM_BYTES && !options->wants_data_digest;
    if (options->is_verifying || options->is_ats)
        options->is_discarding = false;
}
