/*
 * bench: one engine with its loop, its threads and an image, and what a test does with them.
 */
#pragma once

#include "backing/engine.h"
#include "backing/file.h"
#include "tests/unit/backing/scratch.h"

enum { KIB = 1024, MIB = 1024 * 1024 };

/* The file systems that tests run on differ, so whether the image knows RWF_NOWAIT is set. */
struct variant {
    enum engine_kind kind;
    bool knows_nowait;
};
extern const struct variant uring, uring_with_lanes, threads;

struct bench {
    const struct variant *variant;
    struct scratch scratch;
    struct ev_loop *loop;
    struct job_pool *jobs;
    struct engine *engine;
    struct backing *backing;
    unsigned waiting;
    bool is_submitting;
};
extern struct bench bench;

/* For cmocka; the test's initial state is its variant. */
int bench_setup(void **state);
int bench_teardown(void **state);

void need_engine(void);     /* skips the test where there is none */
void submit(struct io *io); /* its done() is one_is_done() unless it has one */
void one_is_done(struct io *io);
void wait_for_waiting(void); /* as many as bench.waiting says, within a bound */
void wait_for_all(void);     /* and no other is under way */
int run(enum io_op op, void *bytes, uint64_t len_bytes, uint64_t offset_bytes, bool is_durable);
uint8_t *pattern(size_t len, unsigned seed);                           /* the caller frees it */
void lost_patience(struct ev_loop *loop, ev_timer *timer, int events); /* ends the loop */

#define TEST_WITH(test, variant, name)                                                             \
    {                                                                                              \
#test " (" name ")", test, bench_setup, bench_teardown, (void *)&variant                   \
    }
#define EACH(test)                                                                                 \
    TEST_WITH(test, uring, "io_uring"), TEST_WITH(test, uring_with_lanes, "io_uring, lanes"),      \
        TEST_WITH(test, threads, "threads")
