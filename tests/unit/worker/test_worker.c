#include "target/worker/worker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { PATIENCE_SECONDS = 30, LONGEST_POLL_US = 10000 };

/* The main thread's half: its loop, its mailbox, and the workers under test. */
static struct {
    struct ev_loop *loop;
    struct mailbox home;
    struct workers *workers;
    bool is_done;
    struct message over;
} bench;

static int start(unsigned busy_poll_us)
{
    struct workers_options options = { .count = 3,
                                       .memory_limit_bytes = 64 * 1024 * 1024,
                                       .busy_poll_us = busy_poll_us };

    memset(&bench, 0, sizeof(bench));
    bench.loop = ev_loop_new(EVFLAG_AUTO | EVFLAG_NOENV);
    mailbox_open(&bench.home, bench.loop);
    return workers_start(&options, &bench.workers);
}

static int setup(void **state)
{
    (void)state;
    return start(0);
}

static int setup_polling(void **state)
{
    (void)state;
    return start(LONGEST_POLL_US);
}

static int teardown(void **state)
{
    (void)state;
    workers_stop(bench.workers);
    mailbox_close(&bench.home);
    ev_loop_destroy(bench.loop);
    return 0;
}

static void lost_patience(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)timer;
    (void)events;
    ev_break(loop, EVBREAK_ALL);
}

/* Runs the main thread's loop until a worker (or anybody) has posted bench.over. */
static void wait_until_over(void)
{
    ev_timer timer;

    ev_timer_init(&timer, lost_patience, PATIENCE_SECONDS, 0.);
    ev_now_update(bench.loop);
    ev_timer_start(bench.loop, &timer);
    ev_run(bench.loop, 0);
    ev_timer_stop(bench.loop, &timer);
    if (!bench.is_done)
        fail_msg("waited %d s in vain", PATIENCE_SECONDS);
    bench.is_done = false;
}

static void over_came(struct message *message)
{
    (void)message;
    bench.is_done = true;
    ev_break(bench.loop, EVBREAK_ALL);
}

static void tell_over(void)
{
    bench.over.run = over_came;
    mailbox_post(&bench.home, &bench.over);
}

static struct worker *seen_self;
static sigset_t seen_mask;

static void look_around(struct message *message)
{
    (void)message;
    seen_self = worker_self();
    pthread_sigmask(SIG_SETMASK, NULL, &seen_mask);
    tell_over();
}

static void test_message_runs_on_its_worker_with_signals_blocked(void **state)
{
    struct message message = { .run = look_around };

    (void)state;
    assert_null(worker_self());
    for (unsigned i = 0; i < bench.workers->count; i++) {
        worker_post(bench.workers->worker[i], &message);
        wait_until_over();
        assert_ptr_equal(seen_self, bench.workers->worker[i]);
        assert_int_equal(seen_self->index, i);
        assert_true(sigismember(&seen_mask, SIGTERM));
        assert_true(sigismember(&seen_mask, SIGHUP));
    }
}

enum { POSTERS = 4, POSTS = 2000 };

struct numbered {
    struct message message;
    int poster, number;
};

static struct {
    struct numbered messages[POSTS];
    pthread_t thread;
    int next;
} posters[POSTERS];
static int came;

static void note_order(struct message *message)
{
    struct numbered *numbered = (struct numbered *)message;

    assert_int_equal(numbered->number, posters[numbered->poster].next);
    posters[numbered->poster].next++;
    if (++came == POSTERS * POSTS)
        tell_over();
}

static void *post_all(void *arg)
{
    int poster = *(int *)arg;

    for (int i = 0; i < POSTS; i++) {
        struct numbered *numbered = &posters[poster].messages[i];

        *numbered = (struct numbered){ { .run = note_order }, poster, i };
        worker_post(bench.workers->worker[0], &numbered->message);
    }
    return NULL;
}

static void test_messages_of_each_thread_run_in_its_order(void **state)
{
    static int numbers[POSTERS];

    (void)state;
    came = 0;
    for (int i = 0; i < POSTERS; i++) {
        posters[i].next = 0;
        numbers[i] = i;
        assert_int_equal(pthread_create(&posters[i].thread, NULL, post_all, &numbers[i]), 0);
    }
    wait_until_over();
    for (int i = 0; i < POSTERS; i++) {
        pthread_join(posters[i].thread, NULL);
        assert_int_equal(posters[i].next, POSTS);
    }
}

static int posts_left;
static unsigned first_turn, last_turn;

static void post_itself(struct message *message)
{
    struct worker *worker = worker_self();

    if (first_turn == 0)
        first_turn = ev_iteration(worker->loop);
    last_turn = ev_iteration(worker->loop);
    if (--posts_left > 0)
        worker_post(worker, message);
    else
        tell_over();
}

/* Otherwise one busy pair of workers would keep the sockets waiting. */
static void test_message_posted_by_a_message_runs_in_a_later_turn(void **state)
{
    struct message message = { .run = post_itself };

    (void)state;
    posts_left = 100;
    first_turn = 0;
    worker_post(bench.workers->worker[0], &message);
    wait_until_over();
    assert_true(last_turn - first_turn >= 99);
}

static struct turn_end ends[3];
static int end_runs[3];
static unsigned end_turn[3], ask_turn;

static void end_ran(struct turn_end *end)
{
    long i = end - ends;

    end_runs[i]++;
    end_turn[i] = ev_iteration(worker_self()->loop);
    if (i == 0 && end_runs[0] == 1)
        worker_at_turn_end(worker_self(), &ends[2]); /* a turn's end may ask for another's */
    if (i == 2)
        tell_over();
}

static void ask_for_turn_ends(struct message *message)
{
    struct worker *worker = worker_self();

    (void)message;
    ask_turn = ev_iteration(worker->loop);
    for (int i = 0; i < 3; i++)
        ends[i].run = end_ran;
    worker_at_turn_end(worker, &ends[0]);
    worker_at_turn_end(worker, &ends[0]);
    worker_at_turn_end(worker, &ends[1]);
    worker_not_at_turn_end(worker, &ends[1]);
    worker_not_at_turn_end(worker, &ends[1]);
    assert_int_equal(end_runs[0], 0); /* not before the turn is over */
}

static void test_turn_end_runs_once_before_the_loop_sleeps(void **state)
{
    struct message message = { .run = ask_for_turn_ends };

    (void)state;
    memset(end_runs, 0, sizeof(end_runs));
    worker_post(bench.workers->worker[1], &message);
    wait_until_over();
    assert_int_equal(end_runs[0], 1);
    assert_int_equal(end_runs[1], 0);
    assert_int_equal(end_runs[2], 1);
    assert_int_equal(end_turn[0], end_turn[2]);
    /* the prepare that follows the message is in the next pass of libev's count */
    assert_true(end_turn[0] - ask_turn <= 1);
}

static struct turn_end restless;
static int restless_left;

static void ask_again(struct turn_end *end)
{
    if (--restless_left > 0)
        worker_at_turn_end(worker_self(), end);
    else
        tell_over();
}

static void start_restless(struct message *message)
{
    (void)message;
    restless.run = ask_again;
    worker_at_turn_end(worker_self(), &restless);
}

/* It is cut off in the middle, and must go on without anything else waking the loop. */
static void test_turn_end_that_asks_forever_neither_blocks_nor_stops(void **state)
{
    struct message message = { .run = start_restless };

    (void)state;
    restless_left = 100 * 1000;
    worker_post(bench.workers->worker[0], &message);
    wait_until_over();
    assert_int_equal(restless_left, 0);
}

static struct io submitted;
static uint8_t submitted_bytes[512];

static void io_done(struct io *io)
{
    (void)io;
    tell_over();
}

static void submit_at_end(struct turn_end *end)
{
    (void)end;
    submitted.done = io_done;
    engine_submit(worker_self()->engine, &submitted);
}

static void ask_to_submit(struct message *message)
{
    (void)message;
    ends[0].run = submit_at_end;
    worker_at_turn_end(worker_self(), &ends[0]);
}

static void test_io_submitted_at_the_turn_end_is_not_left_lying(void **state)
{
    struct message message = { .run = ask_to_submit };
    char path[] = "nestor-test-XXXXXX";
    struct backing_options options = { .path = path, .is_readonly = true };
    struct backing_error error;
    int fd = mkstemp(path);

    (void)state;
    assert_int_equal(ftruncate(fd, 4096), 0);
    close(fd);
    submitted = (struct io){ .op = IO_READ, .bytes = submitted_bytes, .len_bytes = 512 };
    assert_int_equal(backing_open(&options, &submitted.backing, &error), 0);
    unlink(path);
    worker_post(bench.workers->worker[0], &message);
    wait_until_over();
    assert_int_equal(submitted.result, 0);
    backing_close(submitted.backing);
}

static struct slow_job slow;
static struct worker *slow_ran_on, *slow_done_on;

static void slow_run(struct slow_job *job)
{
    (void)job;
    slow_ran_on = worker_self();
}

static void slow_done(struct slow_job *job)
{
    (void)job;
    slow_done_on = worker_self();
    tell_over();
}

static void ask_slow(struct message *message)
{
    (void)message;
    slow.run = slow_run;
    slow.done = slow_done;
    slow_ran_on = worker_self();
    worker_slow(worker_self(), NULL, &slow);
}

static void test_slow_job_runs_elsewhere_and_ends_on_its_worker(void **state)
{
    struct message message = { .run = ask_slow };

    (void)state;
    worker_post(bench.workers->worker[2], &message);
    wait_until_over();
    assert_null(slow_ran_on);
    assert_ptr_equal(slow_done_on, bench.workers->worker[2]);
}

static struct broadcast broadcast;
static atomic_uint asked[WORKERS_MAX];
static struct worker *broadcast_done_on;

static void each(struct broadcast *b, struct worker *worker)
{
    assert_ptr_equal(worker, worker_self());
    asked[worker->index]++;
    broadcast_arrive(b);
}

static void all_arrived(struct broadcast *b)
{
    (void)b;
    broadcast_done_on = worker_self();
    tell_over();
}

static void assert_each_asked(unsigned times)
{
    for (unsigned i = 0; i < bench.workers->count; i++)
        assert_int_equal(asked[i], times);
}

static void test_broadcast_from_the_main_thread_comes_back_to_it(void **state)
{
    (void)state;
    memset(asked, 0, sizeof(asked));
    for (unsigned round = 1; round <= 50; round++) {
        broadcast_done_on = bench.workers->worker[0];
        broadcast = (struct broadcast){ .each = each, .done = all_arrived, .home = &bench.home };
        workers_broadcast(bench.workers, &broadcast);
        wait_until_over();
        assert_each_asked(round);
        assert_null(broadcast_done_on);
    }
}

static void broadcast_from_here(struct message *message)
{
    (void)message;
    workers_broadcast(bench.workers, &broadcast);
}

static void test_broadcast_from_a_worker_comes_back_to_it(void **state)
{
    struct message message = { .run = broadcast_from_here };

    (void)state;
    memset(asked, 0, sizeof(asked));
    broadcast = (struct broadcast){
        .each = each,
        .done = all_arrived,
        .home = &bench.workers->worker[1]->mailbox,
    };
    worker_post(bench.workers->worker[1], &message);
    wait_until_over();
    assert_each_asked(1);
    assert_ptr_equal(broadcast_done_on, bench.workers->worker[1]);
}

static struct message late_arrival;

static void arrive_late(struct message *message)
{
    (void)message;
    assert_int_equal(broadcast.waiting, 1);
    broadcast_arrive(&broadcast);
}

/* The last worker takes its time: asks for its own arrival only when the others are there. */
static void poll_others(struct message *message)
{
    if (broadcast.waiting > 1)
        worker_post(worker_self(), message);
    else
        arrive_late(message);
}

static void each_but_one(struct broadcast *b, struct worker *worker)
{
    if (worker->index != 2) {
        broadcast_arrive(b);
        return;
    }
    late_arrival.run = poll_others;
    worker_post(worker, &late_arrival);
}

static void test_broadcast_waits_for_the_last_to_arrive(void **state)
{
    (void)state;
    broadcast =
        (struct broadcast){ .each = each_but_one, .done = all_arrived, .home = &bench.home };
    workers_broadcast(bench.workers, &broadcast);
    wait_until_over();
    assert_int_equal(broadcast.waiting, 0);
}

static unsigned turns;

static void count_turns(struct message *message)
{
    (void)message;
    turns = ev_iteration(worker_self()->loop);
    tell_over();
}

static void test_idle_worker_sleeps(void **state)
{
    struct message message = { .run = count_turns };
    unsigned before;
    ev_timer timer;

    (void)state;
    worker_post(bench.workers->worker[0], &message);
    wait_until_over();
    before = turns;
    ev_timer_init(&timer, lost_patience, 0.2, 0.);
    ev_now_update(bench.loop);
    ev_timer_start(bench.loop, &timer);
    ev_run(bench.loop, 0);
    worker_post(bench.workers->worker[0], &message);
    wait_until_over();
    assert_true(turns - before < 10);
}

static unsigned turns_of(struct worker *worker)
{
    struct message message = { .run = count_turns };

    worker_post(worker, &message);
    wait_until_over();
    return turns;
}

static void pause_ms(long ms)
{
    nanosleep(&(struct timespec){ .tv_nsec = ms * 1000 * 1000 }, NULL);
}

/* A worker that slept between two messages would have a few turns for each. */
static void test_worker_that_polls_goes_on_looking(void **state)
{
    struct worker *worker = bench.workers->worker[0];
    time_t end = time(NULL) + PATIENCE_SECONDS;
    unsigned before, after;

    (void)state;
    do {
        assert_true(time(NULL) <= end);
        before = turns_of(worker);
        pause_ms(2);
        after = turns_of(worker);
    } while (after - before < 20);
}

static uint64_t cpu_ns(const struct worker *worker)
{
    struct timespec used;
    clockid_t clock;

    assert_int_equal(pthread_getcpuclockid(worker->thread, &clock), 0);
    assert_int_equal(clock_gettime(clock, &used), 0);
    return (uint64_t)used.tv_sec * 1000000000 + (uint64_t)used.tv_nsec;
}

static void test_worker_that_polls_falls_asleep(void **state)
{
    const struct worker *worker = bench.workers->worker[0];
    time_t end = time(NULL) + PATIENCE_SECONDS;
    uint64_t before;

    (void)state;
    turns_of(bench.workers->worker[0]);
    do {
        assert_true(time(NULL) <= end);
        before = cpu_ns(worker);
        pause_ms(100);
    } while (cpu_ns(worker) - before > 1000 * 1000);
}

static void timer_came(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)loop;
    (void)timer;
    (void)events;
    tell_over();
}

static ev_timer worker_timer;

static void start_timer(struct message *message)
{
    (void)message;
    ev_timer_init(&worker_timer, timer_came, 0.005, 0.);
    ev_timer_start(worker_self()->loop, &worker_timer);
}

static void test_timer_comes(void **state)
{
    struct message message = { .run = start_timer };

    (void)state;
    for (int i = 0; i < 20; i++) {
        worker_post(bench.workers->worker[2], &message);
        wait_until_over();
    }
}

static void test_more_workers_than_there_may_be_are_refused(void **state)
{
    struct workers_options options = { .count = WORKERS_MAX + 1 };
    struct workers *workers;

    (void)state;
    assert_int_equal(workers_start(&options, &workers), -EINVAL);
}

static void test_default_is_the_cpus_but_at_most_four(void **state)
{
    struct workers_options options = { .engine = ENGINE_THREADS };
    struct workers *workers;

    (void)state;
    assert_int_equal(workers_start(&options, &workers), 0);
    assert_in_range(workers->count, 1, 4);
    assert_int_equal(engine_kind(workers->worker[0]->engine), ENGINE_THREADS);
    workers_stop(workers);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define POLLING(name)                                                                              \
    {                                                                                              \
#name "_while_polling", name, setup_polling, teardown, NULL                                \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_message_runs_on_its_worker_with_signals_blocked),
        TEST(test_messages_of_each_thread_run_in_its_order),
        TEST(test_message_posted_by_a_message_runs_in_a_later_turn),
        TEST(test_turn_end_runs_once_before_the_loop_sleeps),
        TEST(test_turn_end_that_asks_forever_neither_blocks_nor_stops),
        TEST(test_io_submitted_at_the_turn_end_is_not_left_lying),
        TEST(test_slow_job_runs_elsewhere_and_ends_on_its_worker),
        TEST(test_broadcast_from_the_main_thread_comes_back_to_it),
        TEST(test_broadcast_from_a_worker_comes_back_to_it),
        TEST(test_broadcast_waits_for_the_last_to_arrive),
        TEST(test_idle_worker_sleeps),
        TEST(test_timer_comes),
        POLLING(test_message_runs_on_its_worker_with_signals_blocked),
        POLLING(test_messages_of_each_thread_run_in_its_order),
        POLLING(test_message_posted_by_a_message_runs_in_a_later_turn),
        POLLING(test_turn_end_runs_once_before_the_loop_sleeps),
        POLLING(test_turn_end_that_asks_forever_neither_blocks_nor_stops),
        POLLING(test_io_submitted_at_the_turn_end_is_not_left_lying),
        POLLING(test_slow_job_runs_elsewhere_and_ends_on_its_worker),
        POLLING(test_broadcast_waits_for_the_last_to_arrive),
        POLLING(test_timer_comes),
        cmocka_unit_test_setup_teardown(test_worker_that_polls_goes_on_looking, setup_polling,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_worker_that_polls_falls_asleep, setup_polling,
                                        teardown),
        cmocka_unit_test(test_more_workers_than_there_may_be_are_refused),
        cmocka_unit_test(test_default_is_the_cpus_but_at_most_four),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
