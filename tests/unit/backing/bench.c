#include "tests/unit/backing/bench.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

enum { PATIENCE_SECONDS = 30 };

const struct variant uring = { ENGINE_URING, true };
const struct variant uring_with_lanes = { ENGINE_URING, false };
const struct variant threads = { ENGINE_THREADS, false };

struct bench bench;

int bench_setup(void **state)
{
    memset(&bench, 0, sizeof(bench));
    bench.variant = *state;
    scratch_make(&bench.scratch);
    bench.loop = ev_loop_new(EVFLAG_AUTO | EVFLAG_NOENV);
    assert_int_equal(job_pool_create(16, &bench.jobs), 0);
    bench.backing = scratch_image(&bench.scratch, 64 * MIB);
    if (bench.variant->knows_nowait)
        bench.backing->knows_nowait_write = true;
    else
        bench.backing->lacks_nowait_write = true;
    if (engine_create(bench.variant->kind, bench.loop, bench.jobs, &bench.engine, NULL) != 0)
        bench.engine = NULL; /* a container without io_uring; each test skips */
    return 0;
}

int bench_teardown(void **state)
{
    (void)state;
    engine_destroy(bench.engine);
    backing_close(bench.backing);
    job_pool_destroy(bench.jobs);
    ev_loop_destroy(bench.loop);
    scratch_remove(&bench.scratch);
    return 0;
}

void need_engine(void)
{
    if (bench.engine == NULL)
        skip();
}

void one_is_done(struct io *io)
{
    (void)io;
    assert_false(bench.is_submitting);
    assert_true(bench.waiting > 0);
    if (--bench.waiting == 0)
        ev_break(bench.loop, EVBREAK_ALL);
}

void submit(struct io *io)
{
    if (io->done == NULL)
        io->done = one_is_done;
    bench.waiting++;
    bench.is_submitting = true;
    engine_submit(bench.engine, io);
    bench.is_submitting = false;
}

void lost_patience(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)timer;
    (void)events;
    ev_break(loop, EVBREAK_ALL);
}

void wait_for_waiting(void)
{
    ev_timer timer;

    ev_timer_init(&timer, lost_patience, PATIENCE_SECONDS, 0.);
    ev_now_update(bench.loop);
    ev_timer_start(bench.loop, &timer);
    if (bench.waiting > 0)
        ev_run(bench.loop, 0);
    ev_timer_stop(bench.loop, &timer);
    if (bench.waiting > 0)
        fail_msg("%u transfers never came back", bench.waiting);
}

void wait_for_all(void)
{
    wait_for_waiting();
    assert_int_equal(engine_in_flight(bench.engine), 0);
}

int run(enum io_op op, void *bytes, uint64_t len_bytes, uint64_t offset_bytes, bool is_durable)
{
    struct io io = {
        .op = op,
        .is_durable = is_durable,
        .backing = bench.backing,
        .bytes = bytes,
        .len_bytes = len_bytes,
        .offset_bytes = offset_bytes,
    };

    submit(&io);
    wait_for_all();
    return io.result;
}

uint8_t *pattern(size_t len, unsigned seed)
{
    uint8_t *bytes = malloc(len);

    assert_non_null(bytes);
    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)((i * 2654435761u + seed * 40503u) >> 7);
    return bytes;
}
