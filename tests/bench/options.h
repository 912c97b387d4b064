/*
 * options: what the load generator was asked for, from its command line. See options_help().
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum { PORTALS_MAX = 16, LUNS_MAX = 1024 };

struct portal {
    const char *address, *port;
};

struct options {
    struct portal portals[PORTALS_MAX];
    unsigned portal_count, luns[LUNS_MAX], lun_count;
    const char *target, *initiator, *label, *json_path;

    const char *workload; /* the word */
    bool reads, writes, is_random, is_ats, is_idle;
    unsigned read_percent, queue_depth, sessions, threads, lock_blocks;
    uint32_t block_bytes, block_bytes_max; /* each command takes a power of two times the first */
    uint64_t span_bytes;                   /* of each LUN; 0: all */
    uint64_t ios;                          /* commands in all; 0: as many as come in `seconds` */
    double seconds, warmup_seconds;

    uint32_t max_segment_bytes, first_burst_bytes, max_burst_bytes;
    bool wants_immediate, wants_header_digest, wants_data_digest;
    bool has_login, is_verifying, is_discarding, is_batching, counts_syscalls;
    pid_t pid; /* of the target; 0: not known */
};

/* Ends the program when they make no sense. */
void options_read(struct options *options, int argc, char **argv);
