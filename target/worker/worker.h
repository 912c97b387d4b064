/*
 * worker: one thread with its event loop, disk engine, buffer pool and mailbox.
 *
 * A connection, its session and tasks live and die on one worker, so nothing of theirs is locked.
 * Everything that crosses threads is a message. The thread calls nothing that can sleep on a disk
 * without bound; what can goes to the slow lane.
 */
#pragma once

#include "backing/engine.h"
#include "target/worker/buffer.h"
#include "target/worker/mailbox.h"

#include <stdatomic.h>
#include <sys/queue.h>

enum { WORKERS_MAX = 16 };

struct turn_end;
TAILQ_HEAD(turn_end_list, turn_end);

struct worker {
    unsigned index;
    struct ev_loop *loop;
    struct engine *engine;
    struct buffer_pool *buffers;
    struct mailbox mailbox;
    struct workers *group;
    _Atomic unsigned connections; /* how loaded it is; kept by target/iscsi */
    void *scsi, *iscsi;           /* what the rooms above keep for this thread */
    uint64_t now_ns; /* CLOCK_MONOTONIC when this loop turn began; for what takes seconds */
    bool has_work;   /* this loop turn brought something */
    bool is_stopping;

    pthread_t thread;
    ev_check wake;
    ev_prepare turn;
    ev_idle again; /* on while turn ends are left over for the next turn */
    ev_timer trim; /* on while buffers are kept */
    struct turn_end_list turn_ends;
    struct message stop;
};

struct workers_options {
    unsigned count; /* 0: the CPUs, at most 4 */
    enum engine_kind engine;
    uint64_t memory_limit_bytes;
    unsigned busy_poll_us; /* how long a worker goes on looking before it sleeps; 0: it sleeps */
    bool uses_sendfile;
};

/* All of them, and what they share. Made and ended by the main thread. */
struct workers {
    unsigned count;
    struct worker *worker[WORKERS_MAX];
    struct buffer_budget budget;
    uint64_t busy_poll_ns;
    bool uses_sendfile; /* large reads lend the image's pages to the socket; sbc_read.c */
    /* Apart, so that slow jobs on one disk that is stuck take no thread from another's writes. */
    struct job_pool *jobs, *engine_jobs;
};

/* Starts the threads, which sleep until the first message. 0, or a negative errno and no trace. */
int workers_start(const struct workers_options *options, struct workers **out);

/* Stops the loops and joins the threads. Everything above must be closed before. */
void workers_stop(struct workers *workers);

void worker_post(struct worker *worker, struct message *message);

/* The calling thread's worker; NULL on the main thread. */
struct worker *worker_self(void);

/*
 * Runs once, at the end of the loop turn that is under way, before what the turn submitted to the
 * disk goes to the kernel and before the loop sleeps. Asking again while it waits is fine.
 */
struct turn_end {
    void (*run)(struct turn_end *turn_end);
    bool is_queued;
    TAILQ_ENTRY(turn_end) link;
};

void worker_at_turn_end(struct worker *worker, struct turn_end *turn_end);
void worker_not_at_turn_end(struct worker *worker, struct turn_end *turn_end);

/*
 * Slow lane: run() on a pool thread, then done() on the worker that asked. The caller owns it.
 * `group`: the disk's that it may have to wait for; see job_group. From any thread.
 */
struct slow_job {
    void (*run)(struct slow_job *job);
    void (*done)(struct slow_job *job);
    struct worker *worker;
    struct job job;
    struct message message;
};

void worker_slow(struct worker *worker, struct job_group *group, struct slow_job *job);

/*
 * One question to every worker. each() runs once on each; its part is over when somebody on that
 * worker calls broadcast_arrive(). When all have arrived, done() runs in the `home` mailbox's loop.
 * The caller owns it until then.
 */
struct broadcast {
    void (*each)(struct broadcast *broadcast, struct worker *worker);
    void (*done)(struct broadcast *broadcast);
    struct mailbox *home;
    _Atomic unsigned waiting;
    struct broadcast_part {
        struct message message;
        struct broadcast *broadcast;
        struct worker *worker;
    } part[WORKERS_MAX];
    struct message home_message;
};

void workers_broadcast(struct workers *workers, struct broadcast *broadcast);
void broadcast_arrive(struct broadcast *broadcast);
