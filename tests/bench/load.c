/*
 * load: a lean iSCSI load generator, so that the target and not the client is what limits.
 *
 * It logs in as many hosts as it is told, keeps their queues full from one epoll loop for each
 * thread, and sends and receives all that is there with one system call. `load --help` says what
 * can be asked for. Exit status 1 when it could not be done, 3 when commands failed or data was
 * wrong.
 *
 * Threads  main() takes the time and the accounts; each crew is a thread with its own sessions.
 */
#include "tests/bench/bench.h"
#include "tests/bench/pauses.h"
#include "tests/bench/report.h"
#include "tests/bench/session.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
    EVENTS_A_TURN = 64,
    TURN_MS = 200,
    PATIENCE_S = 60, /* after the end, for what is in flight */
    LOCKS_APART = 8, /* a page */
    CEILING_BYTES_DEFAULT_GIB = 2,
};

struct crew {
    pthread_t thread;
    int epoll;
    struct session *sessions;
    unsigned count;
    struct tally tally;
};

/* ---- a crew's work ---- */

static bool is_done(const struct crew *crew)
{
    bool is_sweeping = crew->sessions[0].is_sweeping;

    if (!is_sweeping && atomic_load(&phase) != PHASE_OVER &&
        crew->tally.issued < crew->sessions[0].issue_max)
        return false;
    for (unsigned i = 0; i < crew->count; i++)
        if (session_is_busy(&crew->sessions[i]))
            return false;
    return true;
}

static void *work(void *argument)
{
    struct crew *crew = argument;
    uint64_t quiet_since_ns = now_ns();

    for (unsigned i = 0; i < crew->count; i++) {
        session_issue(&crew->sessions[i]);
        stream_flush(&crew->sessions[i].stream);
    }
    while (!is_done(crew)) {
        struct epoll_event events[EVENTS_A_TURN];
        int count = epoll_wait(crew->epoll, events, EVENTS_A_TURN, TURN_MS);

        crew->sessions[0].stream.syscalls++;
        if (count > 0 || atomic_load(&phase) != PHASE_OVER)
            quiet_since_ns = now_ns();
        else if (now_ns() - quiet_since_ns > PATIENCE_S * 1000000000ull)
            fail("the target has not answered for %d s", PATIENCE_S);
        for (int i = 0; i < count; i++) {
            struct stream *stream = events[i].data.ptr;

            if (events[i].events & ~(uint32_t)EPOLLOUT)
                stream_receive(stream);
            session_issue(stream->owner);
            stream_flush(stream);
        }
    }
    return NULL;
}

static void start_crews(struct crew *crews, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (pthread_create(&crews[i].thread, NULL, work, &crews[i]))
            fail("no thread");
}

static void join_crews(struct crew *crews, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        pthread_join(crews[i].thread, NULL);
}

/* ---- the sessions ---- */

static void open_session(struct session *session, unsigned number)
{
    const struct options *options = session->options;
    const struct portal *portal = &options->portals[number % options->portal_count];
    const struct nexus_wishes wishes = {
        .address = portal->address,
        .port = portal->port,
        .target = options->target,
        .initiator = options->initiator,
        .number = number + 1,
        .max_segment_bytes = options->max_segment_bytes,
        .first_burst_bytes = options->first_burst_bytes,
        .max_burst_bytes = options->max_burst_bytes,
        .wants_immediate = options->wants_immediate,
        .wants_header_digest = options->wants_header_digest,
        .wants_data_digest = options->wants_data_digest,
    };
    int error;

    if (!options->has_login) {
        session->nexus = (struct nexus){ .max_cmd_sn = INT32_MAX,
                                         .max_segment_bytes = DATA_SEGMENT_MAX,
                                         .first_burst_bytes = DATA_SEGMENT_MAX,
                                         .has_immediate = true };
        session->nexus.socket = nexus_connect(portal->address, portal->port);
        error = session->nexus.socket < 0 ? session->nexus.socket : 0;
    } else {
        error = nexus_open(&session->nexus, &wishes);
    }
    if (error)
        fail("session %u, to %s:%s: %s", number, portal->address, portal->port, strerror(-error));
}

/* The bytes of each LUN that all sessions can use. */
static uint64_t usable_bytes(struct session *session)
{
    const struct options *options = session->options;
    uint64_t least = UINT64_MAX;

    session->lun_block_bytes = 512;
    if (!options->has_login)
        return options->span_bytes ? options->span_bytes
                                   : (uint64_t)CEILING_BYTES_DEFAULT_GIB << 30;
    for (unsigned i = 0; i < options->lun_count; i++) {
        uint32_t block_bytes;
        uint64_t bytes = nexus_capacity(&session->nexus, options->luns[i], &block_bytes);

        if (!bytes || options->block_bytes % block_bytes ||
            (i && block_bytes != session->lun_block_bytes))
            fail("LUN %u cannot be used with blocks of %u bytes", options->luns[i],
                 options->block_bytes);
        session->lun_block_bytes = block_bytes;
        if (bytes < least)
            least = bytes;
    }
    return options->span_bytes && options->span_bytes < least ? options->span_bytes : least;
}

static void read_lock(struct session *session, uint64_t *count)
{
    uint8_t cdb[CDB_BYTES] = { 0x88, [13] = 1 }, block[512];
    size_t got;

    put_be64(cdb + 2, session->lock_lba);
    if (nexus_read(&session->nexus, session->options->luns[0], cdb, block, sizeof(block), &got) !=
            STATUS_GOOD ||
        got != sizeof(block))
        fail("the lock block at LBA %" PRIu64 " cannot be read", session->lock_lba);
    memcpy(count, block, sizeof(*count));
}

static uint64_t sum_of_locks(struct session *sessions, unsigned locks)
{
    uint64_t sum = 0, count;

    for (unsigned i = 0; i < locks; i++) {
        read_lock(&sessions[i], &count);
        sum += count;
    }
    return sum;
}

/* Every `step`th session, logged in one after the other by a thread of its own. */
struct opener {
    pthread_t thread;
    struct session *sessions;
    const struct options *options;
    unsigned first, step;
    uint64_t usable_bytes;
};

static void *opener_run(void *arg)
{
    struct opener *opener = arg;

    for (unsigned i = opener->first; i < opener->options->sessions; i += opener->step) {
        uint64_t usable;

        opener->sessions[i].options = opener->options;
        open_session(&opener->sessions[i], i);
        usable = usable_bytes(&opener->sessions[i]);
        if (usable < opener->usable_bytes)
            opener->usable_bytes = usable;
    }
    return NULL;
}

/* Logs all in, as many at a time as there are threads; gives the seconds that it took. */
static double open_sessions(struct session *sessions, const struct options *options)
{
    struct opener *openers = bench_alloc(options->threads, sizeof(*openers));
    uint64_t began_ns = now_ns(), bytes = UINT64_MAX;
    double seconds;

    for (unsigned i = 0; i < options->threads; i++) {
        openers[i] = (struct opener){ .sessions = sessions,
                                      .options = options,
                                      .first = i,
                                      .step = options->threads,
                                      .usable_bytes = UINT64_MAX };
        if (pthread_create(&openers[i].thread, NULL, opener_run, &openers[i]) != 0)
            fail("cannot start a thread");
    }
    for (unsigned i = 0; i < options->threads; i++) {
        pthread_join(openers[i].thread, NULL);
        if (openers[i].usable_bytes < bytes)
            bytes = openers[i].usable_bytes;
    }
    free(openers);
    seconds = (double)(now_ns() - began_ns) / 1e9;
    for (unsigned i = 0; i < options->sessions; i++) {
        sessions[i].lock_lba = (uint64_t)(i % options->lock_blocks) * LOCKS_APART;
        if (!options->is_idle && !options->is_ats)
            region_init(&sessions[i].region, options, i,
                        bytes / options->block_bytes_max * options->lun_count);
    }
    return seconds;
}

static void form_crews(struct crew *crews, struct session *sessions, const struct options *options)
{
    unsigned first = 0;

    for (unsigned i = 0; i < options->threads; i++) {
        struct crew *crew = &crews[i];

        crew->epoll = epoll_create1(EPOLL_CLOEXEC);
        crew->sessions = sessions + first;
        crew->count =
            options->sessions / options->threads + (i < options->sessions % options->threads);
        for (unsigned k = 0; k < crew->count; k++) {
            struct session *session = &crew->sessions[k];

            session->stream.epoll = crew->epoll;
            session->tally = &crew->tally;
            session->issue_max = options->ios ? options->ios / options->threads +
                                                    (i < options->ios % options->threads)
                                              : UINT64_MAX;
            session_start(session);
        }
        first += crew->count;
    }
}

/* ---- the measurement ---- */

static void wait_seconds(double seconds)
{
    struct timespec left = { .tv_sec = (time_t)seconds };

    left.tv_nsec = (long)((seconds - (double)left.tv_sec) * 1e9);
    while (nanosleep(&left, &left) && errno == EINTR)
        ;
}

static void measure(struct crew *crews, struct report *report)
{
    const struct options *options = report->options;

    atomic_store(&measuring_since_ns, now_ns());
    atomic_store(&phase, options->ios ? PHASE_MEASURING : PHASE_WARMING);
    account_take(&report->from, options->pid);
    start_crews(crews, options->threads);
    if (!options->ios) {
        wait_seconds(options->warmup_seconds);
        pauses_start(options->pid);
        account_take(&report->from, options->pid);
        atomic_store(&measuring_since_ns, now_ns());
        atomic_store(&phase, PHASE_MEASURING);
        wait_seconds(options->seconds);
        atomic_store(&phase, PHASE_OVER);
        account_take(&report->to, options->pid);
        report->paused_ns = pauses_stop();
    }
    join_crews(crews, options->threads);
    if (options->ios)
        account_take(&report->to, options->pid);
    atomic_store(&phase, PHASE_OVER);
}

static void sweep(struct crew *crews, struct session *sessions, const struct options *options)
{
    for (unsigned i = 0; i < options->sessions; i++)
        session_sweep(&sessions[i]);
    start_crews(crews, options->threads);
    join_crews(crews, options->threads);
}

static void add_up(struct tally *sum, struct crew *crews, const struct report *report)
{
    for (unsigned i = 0; i < report->options->threads; i++) {
        struct tally *tally = &crews[i].tally;
        uint64_t last_ns = tally->last_done_ns ? tally->last_done_ns : report->from.at_ns;

        if (!report->options->ios && report->to.at_ns > last_ns &&
            report->to.at_ns - last_ns > tally->longest_gap_ns)
            tally->longest_gap_ns = report->to.at_ns - last_ns;
        histogram_merge(&sum->latency, &tally->latency);
        sum->ios += tally->ios;
        sum->bytes += tally->bytes;
        sum->errors += tally->errors;
        sum->verified += tally->verified;
        sum->lost += tally->lost;
        if (tally->longest_gap_ns > sum->longest_gap_ns)
            sum->longest_gap_ns = tally->longest_gap_ns;
    }
}

/* What the lock blocks were counted up by is what the hosts were told. */
static void check_locks(struct session *sessions, const struct options *options, uint64_t before,
                        struct tally *tally)
{
    uint64_t told = 0, there = sum_of_locks(sessions, options->lock_blocks) - before;

    for (unsigned i = 0; i < options->sessions; i++)
        told += sessions[i].counted;
    if (told == there)
        return;
    fprintf(stderr, "the lock blocks went up by %" PRIu64 ", the hosts were told %" PRIu64 "\n",
            there, told);
    tally->errors++;
}

static void allow_sockets(void)
{
    struct rlimit limit;

    if (!getrlimit(RLIMIT_NOFILE, &limit)) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

int main(int argc, char **argv)
{
    static struct options options;
    static struct tally sum;
    struct report report = { .options = &options, .tally = &sum };
    struct account_process before_login;
    struct session *sessions;
    struct crew *crews;
    uint64_t locks = 0;

    options_read(&options, argc, argv);
    allow_sockets();
    if (account_of_process(options.pid, &before_login))
        report.resident_before_login_kib = before_login.resident_kib;
    else
        options.pid = 0;
    sessions = bench_alloc(options.sessions, sizeof(*sessions));
    crews = bench_alloc(options.threads, sizeof(*crews));
    report.login_seconds = open_sessions(sessions, &options);
    if (options.is_ats)
        locks = sum_of_locks(sessions, options.lock_blocks);
    if (options.counts_syscalls && options.pid)
        report.has_syscalls = account_count_syscalls(options.pid);
    form_crews(crews, sessions, &options);
    if (!options.is_verifying || options.writes)
        measure(crews, &report);
    else
        account_take(&report.from, options.pid);
    for (unsigned i = 0; i < options.sessions; i++)
        report.client_syscalls += sessions[i].stream.syscalls;
    if (options.is_verifying)
        sweep(crews, sessions, &options);
    if (options.is_verifying && !options.writes)
        account_take(&report.to, options.pid);
    add_up(&sum, crews, &report);
    if (options.is_ats)
        check_locks(sessions, &options, locks, &sum);
    report_print(&report);
    for (unsigned i = 0; i < options.sessions; i++)
        session_end(&sessions[i]);
    free(sessions);
    free(crews);
    return sum.errors ? 3 : 0;
}
