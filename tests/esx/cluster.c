/*
 * cluster: one ESX host of a cluster that shares a VMFS volume, as VMFS uses the LUN.
 *
 *   cluster --address IP --port N --target NAME --host N --seconds N --log FILE
 *           [--reserve] [--lease-ms N] [--crash N] [--stall N] [--pause-us N] [--read-all]
 *
 * The host keeps a heartbeat block alive, takes lock blocks, rewrites metadata under them, writes
 * files of its own, and counts in one block that all hosts fight for. Blocks that several hosts
 * change it replaces by COMPARE AND WRITE, or with --reserve between RESERVE and RELEASE. Of a
 * thousand commands --crash are cut off by a crash of the host, and of a thousand writes --stall
 * come late because the host was suspended before it sent them. Once it crashes with a lock in its
 * hands and stays away for three leases. It breaks the lock of a host whose heartbeat has not moved
 * for longer than a lease, and fences that host by a reset.
 *
 * A host holds a lock from its answer until it lets go, at most until the lease that its last
 * answered heartbeat gave has run out; a reset (unit attention 29h) or a lost connection ends it.
 * --read-all reads every block of the volume, after all hosts have ended.
 *
 * The log is for history.py. Exit status 0: it ran to its end; 1: the target could not be reached;
 * 2: usage.
 */
#include "tests/esx/volume.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    NS_PER_MS = 1000000,
    UNREACHABLE_AFTER_S = 60,
    COUNTS_AT_ONCE = 5,
    COUNT_TRIES = 50,
    UPDATES_UNDER_LOCK = 4,
    FILE_WRITE_BLOCKS = 8,
};

struct member {
    struct host host;
    int64_t lease_until_ns;
    struct image heartbeat;
    bool knows_heartbeat;

    int wanted; /* a lock that another had when this one came; -1: none */
    int held;   /* the lock; -1: none */
    int64_t held_from_ns;
    struct image lock;

    struct {
        uint64_t heartbeat_id;
        int64_t since_ns; /* 0: never looked */
    } watched[VOLUME_HOSTS];

    int64_t dies_at_ns; /* by the next lock after that; 0: it has */
    bool is_long_gone;

    uint64_t counted, updates, logins;
};

static struct {
    const char *address, *port, *target, *log;
    unsigned host, seconds, lease_ms, crash, stall, pause_us;
    int reserve, read_all;
} options = { .lease_ms = 1000, .pause_us = 1000 };

static int64_t lease_ns(void)
{
    return (int64_t)options.lease_ms * NS_PER_MS;
}

/* ---- what a host believes that it holds ---- */

static bool has_lease(const struct member *member)
{
    return now_ns() < member->lease_until_ns;
}

static void forget_lock(struct member *member)
{
    int64_t until = now_ns();

    if (member->held < 0)
        return;
    if (until > member->lease_until_ns)
        until = member->lease_until_ns;
    if (until > member->held_from_ns)
        fprintf(member->host.log, "h %d %" PRId64 " %" PRId64 "\n", member->held,
                member->held_from_ns, until);
    member->held = -1;
}

/* After every step: whether all that was believed before it still holds. */
static bool is_sure(struct member *member)
{
    if (member->host.path.socket >= 0 && !member->host.was_reset && has_lease(member))
        return true;
    forget_lock(member);
    return false;
}

/* ---- coming and going ---- */

static bool come_back(struct member *member)
{
    struct host *host = &member->host;
    int64_t give_up = now_ns() + (int64_t)UNREACHABLE_AFTER_S * 1000 * NS_PER_MS;
    unsigned crash = host->crash_in_thousand;
    char name[80];

    snprintf(name, sizeof(name), "iqn.1998-01.com.vmware:esx%u-%08x", host->number,
             0x1234567 * (host->number + 1));
    forget_lock(member);
    if (member->is_long_gone)
        usleep(3 * options.lease_ms * 1000);
    else if (host->crashes && random_below(host, 4) == 0) /* perhaps for longer than the lease */
        usleep(random_below(host, 3 * options.lease_ms) * 1000);
    member->is_long_gone = false;
    host->crash_in_thousand = 0;
    while (host->path.socket < 0) {
        if (path_open(&host->path, options.address, options.port, name, options.target) == 0 &&
            volume_ready(host) == DONE)
            break;
        path_cut(&host->path);
        if (now_ns() > give_up) {
            volume_error(host, "the target cannot be reached any more", 0);
            return false;
        }
        usleep(20000 + random_below(host, 20000));
    }
    host->crash_in_thousand = crash;
    host->was_reset = false;
    member->logins++;
    member->knows_heartbeat = false;
    fprintf(host->log, "s %" PRId64 "\n", now_ns());
    return true;
}

static void keep_alive(struct member *member)
{
    struct host *host = &member->host;
    uint32_t lba = HEARTBEAT_LBA + host->number;
    struct image next;
    int64_t from = now_ns();

    if (member->lease_until_ns - from > lease_ns() * 3 / 4)
        return;
    if (!member->knows_heartbeat && volume_read(host, lba, 1, &member->heartbeat) != DONE)
        return;
    member->knows_heartbeat = false;
    from = now_ns();
    next = image_after(host, &member->heartbeat);
    if (volume_replace(host, &member->heartbeat, &next, lba) != DONE)
        return;
    member->heartbeat = next;
    member->knows_heartbeat = true;
    if (!has_lease(member))
        forget_lock(member); /* it ran out before this one was answered: others may have it */
    member->lease_until_ns = from + lease_ns();
}

/* ---- locks ---- */

static bool is_dead(struct member *member, unsigned other)
{
    struct host *host = &member->host;
    struct image heartbeat;
    int64_t from = now_ns();

    if (volume_read(host, HEARTBEAT_LBA + other, 1, &heartbeat) != DONE)
        return false;
    if (member->watched[other].since_ns && member->watched[other].heartbeat_id == heartbeat.id)
        return from - member->watched[other].since_ns > lease_ns();
    member->watched[other].heartbeat_id = heartbeat.id;
    member->watched[other].since_ns = now_ns();
    return false;
}

static bool lock_take(struct member *member, unsigned lock)
{
    struct host *host = &member->host;
    struct image there, mine;
    bool breaks;

    if (volume_read(host, LOCK_LBA + lock, 1, &there) != DONE)
        return false;
    breaks = there.owner != 0 && there.owner != host->number + 1;
    if (breaks ? member->wanted < 0 : member->wanted == (int)lock)
        member->wanted = breaks ? (int)lock : -1;
    if (breaks && !is_dead(member, (unsigned)there.owner - 1))
        return false;
    mine = image_after(host, &there);
    mine.owner = host->number + 1;
    if (volume_replace(host, &there, &mine, LOCK_LBA + lock) != DONE)
        return false;
    if (breaks) {
        /* Whatever the dead host has on its way ends here, or meets the unit attention. */
        if (volume_fence(host) != DONE || volume_ready(host) != DONE)
            return false;
        host->was_reset = false;
    }
    if (!is_sure(member))
        return false;
    member->held = (int)lock;
    member->held_from_ns = now_ns();
    member->lock = mine;
    return true;
}

static void lock_release(struct member *member)
{
    struct host *host = &member->host;
    struct image free = image_after(host, &member->lock);
    uint32_t lba = (uint32_t)member->lock.lba;

    forget_lock(member);
    volume_replace(host, &member->lock, &free, lba);
}

/* Reads the metadata and writes what follows from it: a lost update shows as two that follow one.
 */
static bool update_metadata(struct member *member)
{
    struct host *host = &member->host;
    uint32_t lba = METADATA_LBA + (uint32_t)member->held;
    struct image there, next;

    if (volume_read(host, lba, 1, &there) != DONE || !is_sure(member))
        return false;
    next = image_after(host, &there);
    volume_stall(host);
    if (volume_write(host, lba, 1, &there, &next) != DONE || !is_sure(member))
        return false;
    member->updates++;
    return true;
}

static bool use_shared_data(struct member *member)
{
    struct host *host = &member->host;
    struct image images[SHARED_BLOCKS], next;
    uint32_t lba = SHARED_LBA + (uint32_t)member->held * SHARED_BLOCKS;
    unsigned first = random_below(host, SHARED_BLOCKS);
    unsigned blocks = 1 + random_below(host, SHARED_BLOCKS - first);

    next = image_after(host, &(struct image){ 0 });
    if (volume_write(host, lba + first, blocks, NULL, &next) != DONE || !is_sure(member))
        return false;
    return volume_read(host, lba, SHARED_BLOCKS, images) == DONE && is_sure(member);
}

static void work_under_lock(struct member *member)
{
    struct host *host = &member->host;
    unsigned updates = 1 + random_below(host, UPDATES_UNDER_LOCK);
    unsigned lock = member->wanted >= 0 && random_below(host, 2) ? (unsigned)member->wanted
                                                                 : random_below(host, VOLUME_LOCKS);

    if (!is_sure(member) || !lock_take(member, lock))
        return;
    for (unsigned i = 0; i < updates; i++) {
        if (!update_metadata(member) || !use_shared_data(member))
            return;
        keep_alive(member);
        if (!is_sure(member) || member->held < 0)
            return;
    }
    if (member->dies_at_ns && now_ns() > member->dies_at_ns) {
        member->dies_at_ns = 0;
        member->is_long_gone = true;
    }
    if (member->is_long_gone || (host->crash_in_thousand && random_below(host, 50) == 0)) {
        host->crashes++;
        path_cut(&host->path); /* with the lock in its hands */
        return;
    }
    lock_release(member);
}

/* ---- everything else ---- */

static void count(struct member *member)
{
    struct host *host = &member->host;

    for (unsigned done = 0, tries = 0; done < COUNTS_AT_ONCE && tries < COUNT_TRIES; tries++) {
        struct image there, next;

        if (volume_read(host, COUNTER_LBA, 1, &there) != DONE)
            return;
        next = image_after(host, &there);
        switch (volume_replace(host, &there, &next, COUNTER_LBA)) {
        case DONE: done++, member->counted++; break;
        case DIFFERS: break;
        default: return;
        }
    }
}

static void use_files(struct member *member)
{
    struct host *host = &member->host;
    struct image images[FILE_WRITE_BLOCKS], next;
    unsigned blocks = 1 + random_below(host, FILE_WRITE_BLOCKS);
    unsigned first = random_below(host, FILE_BLOCKS - blocks);
    unsigned other = random_below(host, VOLUME_HOSTS);
    uint32_t lba = FILE_LBA + host->number * FILE_BLOCKS + first;

    next = image_after(host, &(struct image){ 0 });
    if (volume_write(host, lba, blocks, NULL, &next) != DONE)
        return;
    if (random_below(host, 2) == 0)
        lba = FILE_LBA + other * FILE_BLOCKS + first;
    volume_read(host, lba, blocks, images);
}

static void take_a_step(struct member *member)
{
    struct host *host = &member->host;
    unsigned dice = random_below(host, 100);

    host->was_reset = false; /* nothing is held between two steps */
    if (dice < 50)
        work_under_lock(member);
    else if (dice < 70)
        count(member);
    else
        use_files(member);
    forget_lock(member);
}

static bool live(struct member *member)
{
    int64_t lifetime_ns = (int64_t)options.seconds * 1000 * NS_PER_MS, begun = now_ns();
    int64_t end = begun + lifetime_ns;

    if (options.crash) /* one after the other, so that there is who finds the lock of a dead one */
        member->dies_at_ns = begun + lifetime_ns / 8 * (1 + member->host.number % 7);
    while (now_ns() < end) {
        if (member->host.path.socket < 0 && !come_back(member))
            return false;
        keep_alive(member);
        take_a_step(member);
        if (options.pause_us)
            usleep(random_below(&member->host, 2 * options.pause_us));
    }
    member->host.crash_in_thousand = 0;
    return member->host.path.socket >= 0 || come_back(member);
}

static bool read_all(struct member *member)
{
    const uint32_t end = FILE_LBA + VOLUME_HOSTS * FILE_BLOCKS;
    struct image images[FILE_WRITE_BLOCKS];

    if (!come_back(member))
        return false;
    for (uint32_t lba = 0; lba < end; lba += FILE_WRITE_BLOCKS)
        if (volume_read(&member->host, lba, FILE_WRITE_BLOCKS, images) != DONE)
            return false;
    if (volume_read(&member->host, COUNTER_LBA, 1, images) != DONE)
        return false;
    fprintf(member->host.log, "c %" PRIu64 "\n", images[0].count);
    return true;
}

static void sum_up(const struct member *member)
{
    const struct host *host = &member->host;
    const struct {
        const char *name;
        uint64_t count;
    } rows[] = {
        {"blocks replaced",        host->ats_done    },
        { "found changed",         host->ats_differed},
        { "counted",               member->counted   },
        { "metadata updates",      member->updates   },
        { "reservation conflicts", host->conflicts   },
        { "unit attentions",       host->attentions  },
        { "aborts",                host->aborts      },
        { "crashes",               host->crashes     },
        { "connections lost",      host->losses      },
        { "fences",                host->fences      },
        { "logins",                member->logins    },
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
        fprintf(host->log, "n %" PRIu64 " %s\n", rows[i].count, rows[i].name);
}

static bool take_options(int argc, char **argv)
{
    const struct {
        const char *name;
        unsigned *number;
        const char **text;
        int *flag;
    } known[] = {
        {"address",   NULL,              &options.address, NULL             },
        { "port",     NULL,              &options.port,    NULL             },
        { "target",   NULL,              &options.target,  NULL             },
        { "log",      NULL,              &options.log,     NULL             },
        { "host",     &options.host,     NULL,             NULL             },
        { "seconds",  &options.seconds,  NULL,             NULL             },
        { "lease-ms", &options.lease_ms, NULL,             NULL             },
        { "crash",    &options.crash,    NULL,             NULL             },
        { "stall",    &options.stall,    NULL,             NULL             },
        { "pause-us", &options.pause_us, NULL,             NULL             },
        { "reserve",  NULL,              NULL,             &options.reserve },
        { "read-all", NULL,              NULL,             &options.read_all},
    };
    enum { KNOWN = sizeof(known) / sizeof(*known) };
    struct option rows[KNOWN + 1] = { 0 };
    int chosen = 0;

    for (int i = 0; i < KNOWN; i++)
        rows[i] = (struct option){ known[i].name, known[i].flag ? no_argument : required_argument,
                                   NULL, i + 1 };
    while ((chosen = getopt_long(argc, argv, "", rows, NULL)) > 0 && chosen <= KNOWN) {
        if (known[chosen - 1].number)
            *known[chosen - 1].number = (unsigned)strtoul(optarg, NULL, 10);
        else if (known[chosen - 1].text)
            *known[chosen - 1].text = optarg;
        else
            *known[chosen - 1].flag = 1;
    }
    return chosen == -1 && optind == argc && options.address && options.port && options.target &&
           options.log && options.host < VOLUME_HOSTS && options.lease_ms;
}

int main(int argc, char **argv)
{
    struct member member = { .wanted = -1, .held = -1 };
    bool done;

    if (!take_options(argc, argv)) {
        fprintf(stderr, "usage: %s --address IP --port N --target NAME --host N --log FILE ...\n",
                argv[0]);
        return 2;
    }
    member.host.number = options.host;
    member.host.locking = options.reserve ? LOCKING_RESERVE : LOCKING_ATS;
    member.host.crash_in_thousand = options.crash;
    member.host.stall_in_thousand = options.stall;
    member.host.stall_ms = 2 * options.lease_ms;
    member.host.random = options.host + 1 + (unsigned)getpid();
    member.host.path.socket = -1;
    member.host.path.answer_within_ms = options.lease_ms / 3;
    member.host.log = fopen(options.log, "w");
    if (!member.host.log) {
        fprintf(stderr, "%s: %s\n", options.log, strerror(errno));
        return 1;
    }
    /* Ids begin where no earlier run of this host on the volume has been. */
    member.host.images = (uint64_t)(now_ns() / NS_PER_MS) << 8 & 0xffffffffffff;
    done = options.read_all ? read_all(&member) : live(&member);
    forget_lock(&member);
    sum_up(&member);
    fclose(member.host.log);
    path_close(&member.host.path);
    return done ? 0 : 1;
}
