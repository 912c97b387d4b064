/* send_queue: bytes leave in order, once, and their memory comes back. */
#include "target/iscsi/send_queue.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

struct bench {
    struct buffer_budget budget;
    struct buffer_pool *pool;
    struct send_queue queue;
    int ours, theirs;
    uint8_t *received;
    size_t received_len;
};

enum { RECEIVED_MAX = 8 * 1024 * 1024 };

static int setup(void **state)
{
    struct bench *bench = calloc(1, sizeof *bench);
    int pair[2];

    assert_non_null(bench);
    bench->budget.limit_bytes = 64 * 1024 * 1024;
    bench->pool = buffer_pool_create(&bench->budget);
    assert_non_null(bench->pool);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    bench->ours = pair[0];
    bench->theirs = pair[1];
    bench->received = malloc(RECEIVED_MAX);
    assert_non_null(bench->received);
    send_queue_open(&bench->queue, bench->pool);
    *state = bench;
    return 0;
}

static int teardown(void **state)
{
    struct bench *bench = *state;

    send_queue_close(&bench->queue);
    buffer_pool_destroy(bench->pool);
    assert_int_equal(bench->budget.used_bytes, 0); /* every buffer has come back */
    close(bench->ours);
    if (bench->theirs >= 0)
        close(bench->theirs);
    free(bench->received);
    free(bench);
    return 0;
}

static void queue_small(struct bench *bench, const void *bytes, uint32_t len)
{
    uint8_t *at = send_queue_reserve(&bench->queue, len);

    assert_non_null(at);
    memcpy(at, bytes, len);
    assert_int_equal(send_queue_commit(&bench->queue, len), 0);
}

static void queue_buffer(struct bench *bench, uint8_t fill, uint32_t len)
{
    struct buffer *buffer = buffer_get(bench->pool, len);

    assert_non_null(buffer);
    memset(buffer->bytes, fill, len);
    assert_int_equal(send_queue_buffer(&bench->queue, buffer, buffer->bytes, len), 0);
}

static void receive_all(struct bench *bench)
{
    for (;;) {
        ssize_t got = recv(bench->theirs, bench->received + bench->received_len,
                           RECEIVED_MAX - bench->received_len, 0);
        if (got <= 0)
            return;
        bench->received_len += (size_t)got;
    }
}

/* Flushes until all is gone, however little the socket takes at a time. */
static void drain(struct bench *bench)
{
    for (int i = 0; i < 100000; i++) {
        int error = send_queue_flush(&bench->queue, bench->ours, false);
        receive_all(bench);
        if (error == 0)
            return;
        assert_int_equal(error, -EAGAIN);
    }
    fail_msg("the queue did not drain");
}

static void test_small_pieces_become_one_segment(void **state)
{
    struct bench *bench = *state;

    queue_small(bench, "abc", 3);
    queue_small(bench, "defg", 4);
    assert_int_equal(bench->queue.tail - bench->queue.head, 1);
    assert_int_equal(bench->queue.queued_bytes, 7);
    drain(bench);
    assert_int_equal(bench->received_len, 7);
    assert_memory_equal(bench->received, "abcdefg", 7);
}

static void test_reserved_room_that_is_not_committed_is_not_sent(void **state)
{
    struct bench *bench = *state;

    assert_non_null(send_queue_reserve(&bench->queue, 100));
    queue_small(bench, "xy", 2);
    drain(bench);
    assert_int_equal(bench->received_len, 2);
    assert_memory_equal(bench->received, "xy", 2);
}

static void test_headers_and_buffers_keep_their_order(void **state)
{
    struct bench *bench = *state;

    for (int i = 0; i < 300;
         i++) { /* more segments than one sendmsg() takes, and a ring that grows */
        uint8_t header[48];
        memset(header, i & 0xff, sizeof header);
        queue_small(bench, header, sizeof header);
        queue_buffer(bench, (uint8_t)(i + 1), 4096);
    }
    drain(bench);
    assert_int_equal(bench->received_len, 300 * (48 + 4096));
    for (int i = 0; i < 300; i++) {
        const uint8_t *at = bench->received + (size_t)i * (48 + 4096);
        assert_int_equal(at[0], i & 0xff);
        assert_int_equal(at[47], i & 0xff);
        assert_int_equal(at[48], (i + 1) & 0xff);
        assert_int_equal(at[48 + 4095], (i + 1) & 0xff);
    }
}

static void test_socket_that_takes_little_gets_the_rest_later(void **state)
{
    struct bench *bench = *state;
    int small = 4096;

    assert_int_equal(setsockopt(bench->ours, SOL_SOCKET, SO_SNDBUF, &small, sizeof small), 0);
    for (int i = 0; i < 16; i++)
        queue_buffer(bench, (uint8_t)i, BUFFER_LARGE);
    assert_int_equal(send_queue_flush(&bench->queue, bench->ours, false), -EAGAIN);
    assert_true(bench->queue.queued_bytes > 0);
    drain(bench);
    assert_int_equal(bench->received_len, 16 * (size_t)BUFFER_LARGE);
    for (size_t i = 0; i < 16; i++)
        assert_int_equal(bench->received[i * BUFFER_LARGE + BUFFER_LARGE - 1], i);
}

static void test_empty_queue_holds_no_buffer(void **state)
{
    struct bench *bench = *state;

    queue_small(bench, "abc", 3);
    queue_buffer(bench, 1, 4096);
    drain(bench);
    assert_null(bench->queue.arena);
    assert_int_equal(bench->queue.queued_bytes, 0);
    assert_true(send_queue_is_empty(&bench->queue));
}

static void test_room_beyond_an_arena_is_refused(void **state)
{
    struct bench *bench = *state;

    assert_null(send_queue_reserve(&bench->queue, BUFFER_LARGE + 1));
    assert_non_null(send_queue_reserve(&bench->queue, BUFFER_LARGE));
}

static void test_without_memory_nothing_is_queued(void **state)
{
    struct bench *bench = *state;

    bench->budget.limit_bytes = 0;
    assert_null(send_queue_reserve(&bench->queue, 48));
    assert_true(send_queue_is_empty(&bench->queue));
}

static void test_closed_peer_is_an_error(void **state)
{
    struct bench *bench = *state;

    close(bench->theirs);
    bench->theirs = -1;
    queue_small(bench, "abc", 3);
    assert_int_equal(send_queue_flush(&bench->queue, bench->ours, false), -EPIPE);
}

static void test_close_gives_unsent_memory_back(void **state)
{
    struct bench *bench = *state;

    for (int i = 0; i < 40; i++) {
        queue_small(bench, "header", 6);
        queue_buffer(bench, 7, 65536);
    }
    send_queue_close(&bench->queue); /* teardown sees that every buffer is back */
    assert_int_equal(bench->queue.queued_bytes, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_small_pieces_become_one_segment, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reserved_room_that_is_not_committed_is_not_sent, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_headers_and_buffers_keep_their_order, setup, teardown),
        cmocka_unit_test_setup_teardown(test_socket_that_takes_little_gets_the_rest_later, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_empty_queue_holds_no_buffer, setup, teardown),
        cmocka_unit_test_setup_teardown(test_room_beyond_an_arena_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_without_memory_nothing_is_queued, setup, teardown),
        cmocka_unit_test_setup_teardown(test_closed_peer_is_an_error, setup, teardown),
        cmocka_unit_test_setup_teardown(test_close_gives_unsent_memory_back, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
