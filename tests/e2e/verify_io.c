/*
 * verify_io: random I/O whose every block is checked, from several sessions at once.
 *
 *   verify_io [--sessions N] [--seconds N] [--megabytes N] [--reconnect SECONDS] URL
 *
 * Each block carries a stamp: its LBA, its writer and the number of the write (its generation). The
 * LUN's first megabytes are split into units of 1 MiB, unit u belongs to session u % N, and a unit
 * has one command in flight. So the writer knows what each block holds, but for a write that was
 * never answered: there the old and the new stamp are both right, block by block. With --reconnect
 * a lost connection is made again for so many seconds; what was acknowledged before must still be
 * there.
 *
 * Prints a line of counts. Exit status 0: every block was right; 1: one was not, or a command
 * failed; 2: usage. Each session is a thread with a libiscsi context of its own.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <iscsi/iscsi.h>
#include <iscsi/scsi-lowlevel.h>

enum {
    BLOCK_BYTES = 512,
    UNIT_BLOCKS = 2048,
    UNIT_BYTES = UNIT_BLOCKS * BLOCK_BYTES,
    MAX_SESSIONS = 64,
    ANSWER_WITHIN_S = 90, /* what takes longer is stuck */
    MAX_RETRIES = 20,     /* of BUSY, TASK SET FULL or a unit attention, a command */
};

static const uint32_t stamp_magic = 0x6e657374;

struct stamp {
    uint32_t magic;
    uint32_t session;
    uint64_t lba;
    uint64_t generation;
};

struct unit {
    struct session *session;
    uint64_t first_lba;
    uint64_t acknowledged[UNIT_BLOCKS]; /* the generation that a GOOD write left */
    uint64_t unanswered[UNIT_BLOCKS];   /* a later one that may be there as well; 0: none */
    uint32_t start_block, blocks;       /* the command in flight */
    uint64_t generation;                /* 0: it reads */
    unsigned retries;
    bool is_busy;
    bool must_read; /* was cut off: look before the next write */
    uint8_t *bytes;
};

struct session {
    pthread_t thread;
    unsigned number;
    struct iscsi_context *iscsi;
    int lun;
    struct unit *units;
    unsigned unit_count;
    unsigned busy;
    uint64_t next_generation;
    uint64_t writes, reads, reconnects, wrong, failed;
    unsigned random_state;
    bool is_cut_off;
    time_t last_answer;
};

static struct {
    unsigned sessions, seconds, megabytes, reconnect_s;
    const char *url;
} options = { .sessions = 1, .seconds = 5, .megabytes = 32 };

static time_t now_s(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec;
}

static void complain(struct session *session, const char *what, uint64_t lba, const char *detail)
{
    if (session->wrong + session->failed < 10)
        fprintf(stderr, "session %u, LBA %" PRIu64 ": %s: %s\n", session->number, lba, what,
                detail);
}

/* A block is its stamp over and over, so that one that is torn in its middle shows too. */
static void fill_block(uint8_t *block, const struct stamp *stamp)
{
    size_t at = 0;

    for (; at + sizeof(*stamp) <= BLOCK_BYTES; at += sizeof(*stamp))
        memcpy(block + at, stamp, sizeof(*stamp));
    memset(block + at, 0, BLOCK_BYTES - at);
}

static struct stamp stamp_for(const struct unit *unit, uint32_t block, uint64_t generation)
{
    return (struct stamp){
        .magic = stamp_magic,
        .session = unit->session->number,
        .lba = unit->first_lba + block,
        .generation = generation,
    };
}

static bool block_holds(const struct unit *unit, uint32_t block, const uint8_t *bytes,
                        uint64_t generation)
{
    uint8_t wanted[BLOCK_BYTES];
    struct stamp stamp = stamp_for(unit, block, generation);

    fill_block(wanted, &stamp);
    return memcmp(wanted, bytes, BLOCK_BYTES) == 0;
}

/* Compares what was read with what must be there; a write that was never answered is settled by it.
 */
static void check_blocks(struct unit *unit)
{
    for (uint32_t i = 0; i < unit->blocks; i++) {
        uint32_t block = unit->start_block + i;
        const uint8_t *bytes = unit->bytes + (size_t)i * BLOCK_BYTES;
        struct stamp seen;
        char detail[200];

        if (block_holds(unit, block, bytes, unit->acknowledged[block])) {
            unit->unanswered[block] = 0;
            continue;
        }
        if (unit->unanswered[block] && block_holds(unit, block, bytes, unit->unanswered[block])) {
            unit->acknowledged[block] = unit->unanswered[block];
            unit->unanswered[block] = 0;
            continue;
        }
        memcpy(&seen, bytes, sizeof(seen));
        snprintf(detail, sizeof(detail),
                 "expected generation %" PRIu64 " (or %" PRIu64 "), got magic %08" PRIx32
                 " session %" PRIu32 " LBA %" PRIu64 " generation %" PRIu64,
                 unit->acknowledged[block], unit->unanswered[block], seen.magic, seen.session,
                 seen.lba, seen.generation);
        complain(unit->session, "wrong data", unit->first_lba + block, detail);
        unit->session->wrong++;
    }
}

static void submit(struct unit *unit);

static bool is_transient(const struct scsi_task *task, int status)
{
    return status == SCSI_STATUS_BUSY || status == SCSI_STATUS_TASK_SET_FULL ||
           (status == SCSI_STATUS_CHECK_CONDITION && task->sense.key == SCSI_SENSE_UNIT_ATTENTION);
}

static void written(struct unit *unit)
{
    for (uint32_t i = 0; i < unit->blocks; i++) {
        unit->acknowledged[unit->start_block + i] = unit->generation;
        unit->unanswered[unit->start_block + i] = 0;
    }
    unit->session->writes++;
}

static void check_read(struct unit *unit, const struct scsi_task *task)
{
    unit->session->reads++;
    if (task->residual_status == SCSI_RESIDUAL_NO_RESIDUAL) {
        check_blocks(unit);
        return;
    }
    complain(unit->session, "residual", unit->first_lba + unit->start_block, "of a whole read");
    unit->session->failed++;
}

static void cut_off(struct unit *unit)
{
    if (unit->generation)
        for (uint32_t i = 0; i < unit->blocks; i++)
            unit->unanswered[unit->start_block + i] = unit->generation;
    unit->must_read = true;
    unit->session->is_cut_off = true;
}

static void answered(struct iscsi_context *iscsi, int status, void *command_data,
                     void *private_data)
{
    struct scsi_task *task = command_data;
    struct unit *unit = private_data;
    struct session *session = unit->session;
    char detail[120];

    session->last_answer = now_s();
    session->busy--;
    unit->is_busy = false;
    if (status == SCSI_STATUS_GOOD && unit->generation) {
        written(unit);
    } else if (status == SCSI_STATUS_GOOD) {
        check_read(unit, task);
    } else if (is_transient(task, status) && unit->retries++ < MAX_RETRIES) {
        submit(unit);
    } else if (status == SCSI_STATUS_CANCELLED || status == SCSI_STATUS_ERROR ||
               status == SCSI_STATUS_TIMEOUT) {
        cut_off(unit);
    } else {
        snprintf(detail, sizeof(detail), "status %d, sense %x/%04x: %.60s", status,
                 (unsigned)task->sense.key, (unsigned)task->sense.ascq, iscsi_get_error(iscsi));
        complain(session, unit->generation ? "write failed" : "read failed",
                 unit->first_lba + unit->start_block, detail);
        session->failed++;
    }
    scsi_free_scsi_task(task);
}

static void submit(struct unit *unit)
{
    struct session *session = unit->session;
    uint64_t lba = unit->first_lba + unit->start_block;
    uint32_t bytes = unit->blocks * BLOCK_BYTES;
    struct scsi_task *task;

    if (unit->generation)
        task = iscsi_write16_task(session->iscsi, session->lun, lba, unit->bytes, bytes,
                                  BLOCK_BYTES, 0, 0, 0, 0, 0, answered, unit);
    else
        task = iscsi_read16_task(session->iscsi, session->lun, lba, bytes, BLOCK_BYTES, 0, 0, 0, 0,
                                 0, answered, unit);
    if (!task) {
        cut_off(unit);
        return;
    }
    if (!unit->generation)
        scsi_task_add_data_in_buffer(task, (int)bytes, unit->bytes);
    unit->is_busy = true;
    session->busy++;
}

static void start_write(struct unit *unit, uint32_t start_block, uint32_t blocks)
{
    unit->start_block = start_block;
    unit->blocks = blocks;
    unit->generation = unit->session->next_generation++;
    unit->retries = 0;
    for (uint32_t i = 0; i < blocks; i++) {
        struct stamp stamp = stamp_for(unit, start_block + i, unit->generation);
        fill_block(unit->bytes + (size_t)i * BLOCK_BYTES, &stamp);
    }
    submit(unit);
}

static void start_read(struct unit *unit, uint32_t start_block, uint32_t blocks)
{
    unit->start_block = start_block;
    unit->blocks = blocks;
    unit->generation = 0;
    unit->retries = 0;
    submit(unit);
}

static unsigned roll(struct session *session, unsigned sides)
{
    return (unsigned)rand_r(&session->random_state) % sides;
}

/* Small transfers are as frequent as large ones: 1, 2, 4 ... 2048 blocks, and one less or more. */
static void start_random(struct unit *unit)
{
    struct session *session = unit->session;
    uint32_t blocks = 1U << roll(session, 12);
    uint32_t start_block;

    if (unit->must_read) {
        unit->must_read = false;
        start_read(unit, 0, UNIT_BLOCKS);
        return;
    }
    if (blocks > 1)
        blocks -= roll(session, 2);
    start_block = roll(session, UNIT_BLOCKS - blocks + 1);
    if (roll(session, 2))
        start_write(unit, start_block, blocks);
    else
        start_read(unit, start_block, blocks);
}

static bool connect_session(struct session *session)
{
    char name[80];
    struct iscsi_url *url;
    bool is_connected = false;

    snprintf(name, sizeof(name), "iqn.2026-11.lab.nestor:verify-io-%u", session->number);
    session->iscsi = iscsi_create_context(name);
    if (!session->iscsi)
        return false;
    url = iscsi_parse_full_url(session->iscsi, options.url);
    if (url) {
        session->lun = url->lun;
        iscsi_set_targetname(session->iscsi, url->target);
        iscsi_set_session_type(session->iscsi, ISCSI_SESSION_NORMAL);
        iscsi_set_noautoreconnect(session->iscsi, 1);
        iscsi_set_timeout(session->iscsi, 30);
        is_connected = iscsi_full_connect_sync(session->iscsi, url->portal, url->lun) == 0;
        iscsi_destroy_url(url);
    }
    if (!is_connected && !options.reconnect_s)
        fprintf(stderr, "session %u: %s\n", session->number, iscsi_get_error(session->iscsi));
    session->last_answer = now_s();
    return is_connected;
}

static void disconnect_session(struct session *session)
{
    if (session->iscsi)
        iscsi_destroy_context(session->iscsi); /* calls back for everything in flight */
    session->iscsi = NULL;
}

static bool reconnect_session(struct session *session)
{
    time_t end = now_s() + options.reconnect_s;
    const struct timespec pause = { .tv_nsec = 20 * 1000 * 1000 };

    disconnect_session(session);
    if (!options.reconnect_s) {
        fprintf(stderr, "session %u: the connection was lost\n", session->number);
        session->failed++;
        return false;
    }
    session->reconnects++;
    while (now_s() <= end) {
        session->is_cut_off = false;
        if (connect_session(session))
            return true;
        disconnect_session(session);
        nanosleep(&pause, NULL);
    }
    fprintf(stderr, "session %u: no connection within %u s\n", session->number,
            options.reconnect_s);
    session->failed++;
    return false;
}

/* One turn of libiscsi's loop; false when the connection is lost. */
static bool serve(struct session *session)
{
    struct pollfd fd = { .fd = iscsi_get_fd(session->iscsi),
                         .events = (short)iscsi_which_events(session->iscsi) };

    if (poll(&fd, 1, 1000) < 0 && errno != EINTR)
        return false;
    if (iscsi_service(session->iscsi, fd.revents) != 0)
        return false;
    if (session->busy && now_s() - session->last_answer > ANSWER_WITHIN_S) {
        fprintf(stderr, "session %u: no answer for %d s\n", session->number, ANSWER_WITHIN_S);
        session->failed++;
        return false;
    }
    return !session->is_cut_off;
}

enum phase { PHASE_FILL, PHASE_RANDOM, PHASE_LAST_LOOK };

static void start_phase_command(enum phase phase, struct unit *unit)
{
    if (phase == PHASE_FILL)
        start_write(unit, 0, UNIT_BLOCKS);
    else if (phase == PHASE_RANDOM)
        start_random(unit);
    else
        start_read(unit, 0, UNIT_BLOCKS);
}

/* Fill and last look: each unit once; after a lost connection, all of them again. */
static bool run_phase(struct session *session, enum phase phase)
{
    time_t end = now_s() + options.seconds;
    unsigned next = 0;

    for (;;) {
        bool is_over = phase == PHASE_RANDOM ? now_s() >= end : next >= session->unit_count;

        if (is_over && session->busy == 0 && !session->is_cut_off)
            return true;
        for (unsigned i = 0; i < session->unit_count && !is_over && !session->is_cut_off; i++) {
            struct unit *unit = &session->units[i];

            if (unit->is_busy || (phase != PHASE_RANDOM && i != next))
                continue;
            start_phase_command(phase, unit);
            next++;
            is_over = phase != PHASE_RANDOM && next >= session->unit_count;
        }
        if (!session->is_cut_off && serve(session))
            continue;
        if (!reconnect_session(session))
            return false;
        next = 0;
    }
}

static void *run_session(void *argument)
{
    struct session *session = argument;

    if (connect_session(session) || reconnect_session(session)) {
        if (run_phase(session, PHASE_FILL) && run_phase(session, PHASE_RANDOM))
            run_phase(session, PHASE_LAST_LOOK);
        if (session->iscsi && !session->is_cut_off)
            iscsi_logout_sync(session->iscsi);
    }
    disconnect_session(session);
    return NULL;
}

static int make_units(struct session *session)
{
    session->units = calloc(options.megabytes, sizeof(*session->units));
    if (!session->units)
        return -ENOMEM;
    for (unsigned u = session->number; u < options.megabytes; u += options.sessions) {
        struct unit *unit = &session->units[session->unit_count++];

        unit->session = session;
        unit->first_lba = (uint64_t)u * UNIT_BLOCKS;
        unit->bytes = malloc(UNIT_BYTES);
        if (!unit->bytes)
            return -ENOMEM;
    }
    return 0;
}

static void free_units(struct session *session)
{
    for (unsigned i = 0; i < session->unit_count; i++)
        free(session->units[i].bytes);
    free(session->units);
}

static unsigned parse_number(const char *text, unsigned most)
{
    char *end;
    unsigned long number = strtoul(text, &end, 10);

    if (*end || end == text || number == 0 || number > most) {
        fprintf(stderr, "verify_io: %s is not a number from 1 to %u\n", text, most);
        exit(2);
    }
    return (unsigned)number;
}

static void parse_options(int argc, char **argv)
{
    static const struct option names[] = {
        {"sessions",         required_argument, NULL, 'n' },
        { "seconds",              required_argument, NULL, 's' },
        { "megabytes",                 required_argument, NULL, 'm' },
        { "reconnect",required_argument, NULL, 'r' },
        { 0              },
    };
    int option;

    while ((option = getopt_long(argc, argv, "", names, NULL)) != -1) {
        switch (option) {
        case 'n': options.sessions = parse_number(optarg, MAX_SESSIONS); break;
        case 's': options.seconds = parse_number(optarg, 3600); break;
        case 'm': options.megabytes = parse_number(optarg, 1 << 20); break;
        case 'r': options.reconnect_s = parse_number(optarg, 3600); break;
        default: exit(2);
        }
    }
    if (optind + 1 != argc || options.megabytes < options.sessions) {
        fprintf(stderr,
                "usage: verify_io [--sessions N] [--seconds N] [--megabytes N, at least one "
                "a session] [--reconnect SECONDS] URL\n");
        exit(2);
    }
    options.url = argv[optind];
}

int main(int argc, char **argv)
{
    static struct session sessions[MAX_SESSIONS];
    struct session sum = { 0 };
    unsigned started = 0;

    parse_options(argc, argv);
    signal(SIGPIPE, SIG_IGN); /* a lost connection is an error to libiscsi's send, no more */
    for (; started < options.sessions; started++) {
        struct session *session = &sessions[started];

        session->number = started;
        session->next_generation = 1;
        session->random_state = started + 1;
        if (make_units(session) < 0 ||
            pthread_create(&session->thread, NULL, run_session, session) != 0) {
            fprintf(stderr, "verify_io: out of memory\n");
            return 1;
        }
    }
    for (unsigned i = 0; i < started; i++) {
        pthread_join(sessions[i].thread, NULL);
        sum.writes += sessions[i].writes;
        sum.reads += sessions[i].reads;
        sum.reconnects += sessions[i].reconnects;
        sum.wrong += sessions[i].wrong;
        sum.failed += sessions[i].failed;
        free_units(&sessions[i]);
    }
    printf("%u sessions, %" PRIu64 " writes, %" PRIu64 " reads, %" PRIu64 " reconnects, %" PRIu64
           " wrong blocks, %" PRIu64 " failures\n",
           started, sum.writes, sum.reads, sum.reconnects, sum.wrong, sum.failed);
    return sum.wrong || sum.failed ? 1 : 0;
}
