/* conn_send: which answers wait for others, of their own connection's or another's, and that none
 * is lost. */
#include "target/iscsi/conn.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { CONNS = 8, ANSWER_BYTES = BHS_BYTES };

struct bench {
    struct buffer_budget budget;
    struct worker worker;
    struct iscsi_worker iscsi;
    struct conn conns[CONNS];
    int theirs[CONNS];
    ev_io another; /* something else that this turn has brought */
};

static void nothing(struct ev_loop *loop, ev_io *watcher, int events)
{
    (void)loop;
    (void)watcher;
    (void)events;
}

static int setup(void **state)
{
    struct bench *bench = calloc(1, sizeof *bench);

    assert_non_null(bench);
    bench->budget.limit_bytes = 64 * 1024 * 1024;
    bench->worker.loop = ev_loop_new(EVFLAG_AUTO);
    bench->worker.buffers = buffer_pool_create(&bench->budget);
    bench->worker.iscsi = &bench->iscsi;
    assert_non_null(bench->worker.loop);
    assert_non_null(bench->worker.buffers);
    TAILQ_INIT(&bench->worker.turn_ends);
    TAILQ_INIT(&bench->iscsi.held.conns);
    for (int i = 0; i < CONNS; i++) {
        struct conn *conn = &bench->conns[i];
        int pair[2];

        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
        conn->worker = &bench->worker;
        conn->fd = pair[0];
        bench->theirs[i] = pair[1];
        conn->is_reading = true; /* as within conn_readable() */
        conn_send_open(conn);
    }
    ev_io_init(&bench->another, nothing, bench->theirs[0], EV_READ);
    bench->iscsi.readable[1] = CONNS;
    *state = bench;
    return 0;
}

static void nothing_is_pending(struct bench *bench)
{
    ev_invoke_pending(bench->worker.loop);
}

static int teardown(void **state)
{
    struct bench *bench = *state;

    for (int i = 0; i < CONNS; i++) {
        conn_send_close(&bench->conns[i]);
        close(bench->conns[i].fd);
        close(bench->theirs[i]);
    }
    nothing_is_pending(bench);
    buffer_pool_destroy(bench->worker.buffers);
    assert_int_equal(bench->budget.used_bytes, 0);
    ev_loop_destroy(bench->worker.loop);
    free(bench);
    return 0;
}

/* The turn has brought more than what has been looked at. */
static void more_is_pending(struct bench *bench)
{
    ev_feed_event(bench->worker.loop, &bench->another, EV_READ);
}

static void queue_answer(struct conn *conn, uint32_t data_bytes)
{
    static const uint8_t data[256 * 1024];
    struct pdu pdu = { .opcode = PDU_NOP_IN, .initiator_task_tag = 1 };

    pdu.nop_in.stat_sn = conn->stat_sn++;
    conn_send(conn, &pdu, data, data_bytes);
}

static void answer(struct bench *bench, int number, unsigned answers, uint32_t data_bytes)
{
    while (answers-- > 0)
        queue_answer(&bench->conns[number], data_bytes);
    conn_send_soon(&bench->conns[number]);
}

/* How many bytes have arrived since the last look. */
static size_t arrived(struct bench *bench, int number)
{
    static uint8_t bytes[1 << 20];
    size_t sum = 0;
    ssize_t got;

    while ((got = recv(bench->theirs[number], bytes, sizeof bytes, 0)) > 0)
        sum += (size_t)got;
    return sum;
}

static bool waits_for_turn_end(const struct bench *bench, int number)
{
    return bench->conns[number].turn_end.is_queued;
}

static void test_a_few_connections_leave_together(void **state)
{
    struct bench *bench = *state;

    more_is_pending(bench);
    for (int i = 0; i < 3; i++) {
        answer(bench, i, 2, 0);
        assert_int_equal(arrived(bench, i), 0);
        assert_true(waits_for_turn_end(bench, i)); /* at the latest then */
    }
    answer(bench, 3, 2, 0); /* half of the eight */
    for (int i = 0; i < 4; i++)
        assert_int_equal(arrived(bench, i), 2 * ANSWER_BYTES);
    answer(bench, 4, 2, 0);
    assert_int_equal(arrived(bench, 4), 0);
}

static void test_many_answers_wait_for_fewer_connections(void **state)
{
    struct bench *bench = *state;

    more_is_pending(bench);
    answer(bench, 0, 16, 0);
    answer(bench, 1, 16, 0);
    assert_int_equal(arrived(bench, 0) + arrived(bench, 1), 0);
    answer(bench, 2, 1, 0);
    for (int i = 0; i < 3; i++)
        assert_true(arrived(bench, i) > 0);
    answer(bench, 3, 33, 0); /* enough of its own */
    assert_int_equal(arrived(bench, 3), 33 * ANSWER_BYTES);
}

static void test_much_data_does_not_wait(void **state)
{
    struct bench *bench = *state;

    more_is_pending(bench);
    answer(bench, 0, 1, 100 * 1024);
    assert_int_equal(arrived(bench, 0), 0);
    answer(bench, 1, 1, 100 * 1024);
    assert_int_equal(arrived(bench, 0), ANSWER_BYTES + 100 * 1024);
    assert_int_equal(arrived(bench, 1), ANSWER_BYTES + 100 * 1024);
    answer(bench, 2, 1, 200 * 1024);
    assert_true(arrived(bench, 2) > 0);
}

static void test_the_last_of_a_turn_takes_all_along(void **state)
{
    struct bench *bench = *state;

    more_is_pending(bench);
    answer(bench, 0, 1, 0);
    nothing_is_pending(bench);
    answer(bench, 1, 1, 0);
    assert_int_equal(arrived(bench, 0), ANSWER_BYTES);
    assert_int_equal(arrived(bench, 1), ANSWER_BYTES);
}

static void test_nobody_waits_where_few_are_busy(void **state)
{
    struct bench *bench = *state;

    more_is_pending(bench);
    for (unsigned busy = 0; busy < 4; busy++) {
        bench->iscsi.readable[1] = busy;
        answer(bench, 0, 1, 0);
        assert_int_equal(arrived(bench, 0), ANSWER_BYTES);
    }
    bench->iscsi.readable[1] = 4;
    answer(bench, 0, 1, 0);
    assert_int_equal(arrived(bench, 0), 0);
}

static void test_what_comes_again_counts_once(void **state)
{
    struct bench *bench = *state;

    more_is_pending(bench);
    for (int i = 0; i < 20; i++) {
        answer(bench, 0, 1, 0); /* 1, 2, ... 20 answers are held */
        assert_int_equal(arrived(bench, 0), 0);
    }
    answer(bench, 1, 1, 0);
    answer(bench, 2, 11, 0);
    assert_int_equal(arrived(bench, 0) + arrived(bench, 1) + arrived(bench, 2), 0);
    answer(bench, 3, 1, 0);
    assert_int_equal(arrived(bench, 0), 20 * ANSWER_BYTES);
}

static void test_one_that_ends_or_is_sent_otherwise_leaves_the_others_waiting(void **state)
{
    struct bench *bench = *state;

    more_is_pending(bench);
    for (int i = 0; i < 3; i++)
        answer(bench, i, 10, 0);
    conn_send_close(&bench->conns[1]); /* its session was ended by another of the same name */
    conn_flush(&bench->conns[2], false);
    assert_int_equal(arrived(bench, 1), 0);
    assert_int_equal(arrived(bench, 2), 10 * ANSWER_BYTES);
    assert_int_equal(arrived(bench, 0), 0);
    answer(bench, 3, 2, 0);
    assert_int_equal(arrived(bench, 0) + arrived(bench, 3), 0);
    answer(bench, 4, 1, 0); /* with the thirty before that is enough */
    assert_int_equal(arrived(bench, 0), 10 * ANSWER_BYTES);
    assert_int_equal(arrived(bench, 1), 0);
    assert_int_equal(arrived(bench, 4), ANSWER_BYTES);
    answer(bench, 5, 32, 0); /* all have left, so it is counted anew */
    assert_int_equal(arrived(bench, 5), 0);
    conn_send_open(&bench->conns[1]); /* for the teardown */
}

static void test_nobody_waits_for_much_work_that_others_bring(void **state)
{
    struct bench *bench = *state;
    struct conn *writer = &bench->conns[7];

    more_is_pending(bench);
    conn_note_received(writer, 256 * 1024); /* before anybody waited */
    answer(bench, 0, 1, 0);
    conn_note_received(writer, 100 * 1024);
    assert_int_equal(arrived(bench, 0), 0);
    answer(bench, 1, 1, 0);
    conn_note_received(writer, 100 * 1024); /* data of a write, without any answer yet */
    assert_int_equal(arrived(bench, 0), ANSWER_BYTES);
    assert_int_equal(arrived(bench, 1), ANSWER_BYTES);
    answer(bench, 2, 1, 0); /* counted anew */
    assert_int_equal(arrived(bench, 2), 0);
}

static void test_one_that_is_closing_gets_nothing_more(void **state)
{
    struct bench *bench = *state;

    more_is_pending(bench);
    answer(bench, 0, 1, 0);
    bench->conns[0].is_closing = true;
    nothing_is_pending(bench);
    answer(bench, 1, 1, 0);
    assert_int_equal(arrived(bench, 0), 0);
    assert_int_equal(arrived(bench, 1), ANSWER_BYTES);
}

static void begin_turn(struct bench *bench, struct conn *conn)
{
    bench->worker.now_ns++;
    conn_begin_turn(conn);
    conn_note_depth(conn, 32);
}

static void test_after_a_half_the_next_one_is_waited_for(void **state)
{
    struct bench *bench = *state;
    struct conn *conn = &bench->conns[0];

    begin_turn(bench, conn);
    begin_turn(bench, conn); /* alone in the last turn, too */
    for (int i = 0; i < 40; i++) {
        queue_answer(conn, 0);
        conn_send_half(conn);
        if (i < 15) /* few, and nobody is at work on others */
            assert_false(conn_waits_for_half(conn));
        else /* of the 32 that are under way, 16 leave at a time */
            assert_int_equal(conn_waits_for_half(conn), i != 15 && i != 31);
    }
    assert_int_equal(arrived(bench, 0), 32 * ANSWER_BYTES);
    assert_true(conn_waits_for_half(conn));
    conn_send_soon(conn); /* nothing more came in time */
    assert_int_equal(arrived(bench, 0), 8 * ANSWER_BYTES);
    assert_false(conn_waits_for_half(conn));
}

static void test_a_half_of_the_last_turn_does_not_count(void **state)
{
    struct bench *bench = *state;
    struct conn *conn = &bench->conns[0];

    test_after_a_half_the_next_one_is_waited_for(state);
    begin_turn(bench, conn);
    queue_answer(conn, 0);
    assert_false(conn_waits_for_half(conn));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_few_connections_leave_together, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many_answers_wait_for_fewer_connections, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_much_data_does_not_wait, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_last_of_a_turn_takes_all_along, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nobody_waits_where_few_are_busy, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_comes_again_counts_once, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_one_that_ends_or_is_sent_otherwise_leaves_the_others_waiting, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nobody_waits_for_much_work_that_others_bring, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_one_that_is_closing_gets_nothing_more, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_after_a_half_the_next_one_is_waited_for, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_a_half_of_the_last_turn_does_not_count, setup,
                                        teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
