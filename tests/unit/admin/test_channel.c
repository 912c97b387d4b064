/* framing: lines over a socketpair, in pieces, at once, too long, and a client that does not read
 */
#include "admin/channel.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

enum { SEEN_MAX = 64, TURNS_MAX = 20000 };

static struct ev_loop *loop;
static struct channel channel;
static int peer;
static char *seen[SEEN_MAX];
static unsigned seen_count, overlong_count, closed_count;
static bool is_holding; /* keep the answers back */

static void on_message(struct channel *from, const char *text, size_t len)
{
    if (seen_count < SEEN_MAX)
        seen[seen_count] = strndup(text, len);
    seen_count++;
    if (is_holding)
        channel_hold(from);
}

static void on_overlong(struct channel *from)
{
    overlong_count++;
    channel_send(from, "too long", 8);
}

static void on_closed(struct channel *from)
{
    (void)from;
    closed_count++;
}

static const struct channel_events events = { on_message, on_overlong, on_closed };

static int open_pair(void **state)
{
    int fds[2];

    (void)state;
    seen_count = overlong_count = closed_count = 0;
    is_holding = false;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) != 0)
        return -1;
    peer = fds[0];
    loop = ev_loop_new(0);
    return channel_open(&channel, loop, fds[1], &events);
}

static int close_pair(void **state)
{
    (void)state;
    if (closed_count == 0)
        channel_close(&channel);
    for (unsigned i = 0; i < seen_count && i < SEEN_MAX; i++)
        free(seen[i]);
    if (peer >= 0)
        close(peer);
    ev_loop_destroy(loop);
    return 0;
}

/* All that can happen now. */
static void turn(void)
{
    for (unsigned i = 0; i < 8; i++)
        ev_run(loop, EVRUN_NOWAIT);
}

static void type(const char *text)
{
    assert_int_equal(send(peer, text, strlen(text), 0), strlen(text));
    turn();
}

static ssize_t read_peer(char *out, size_t cap)
{
    ssize_t len = recv(peer, out, cap - 1, 0);

    out[len > 0 ? len : 0] = '\0';
    return len;
}

static void test_line_comes_whole_without_its_end(void **state)
{
    (void)state;
    type("hello\n");
    assert_int_equal(seen_count, 1);
    assert_string_equal(seen[0], "hello");
}

static void test_line_in_pieces_comes_once_whole(void **state)
{
    (void)state;
    type("he");
    type("ll");
    assert_int_equal(seen_count, 0);
    type("o\n");
    assert_int_equal(seen_count, 1);
    assert_string_equal(seen[0], "hello");
}

static void test_two_lines_at_once_come_in_order(void **state)
{
    (void)state;
    type("one\ntwo\nthr");
    assert_int_equal(seen_count, 2);
    assert_string_equal(seen[0], "one");
    assert_string_equal(seen[1], "two");
    type("ee\n");
    assert_string_equal(seen[2], "three");
}

static void test_blank_lines_and_carriage_returns_are_dropped(void **state)
{
    (void)state;
    type("\n\r\none\r\n\n");
    assert_int_equal(seen_count, 1);
    assert_string_equal(seen[0], "one");
}

static void test_answer_is_a_line(void **state)
{
    char text[64];

    (void)state;
    channel_send(&channel, "answer", 6);
    turn();
    read_peer(text, sizeof text);
    assert_string_equal(text, "answer\n");
}

/* Sends `bytes` of 'x', as the other side takes them. */
static void fill(size_t bytes)
{
    char block[4096];

    memset(block, 'x', sizeof block);
    for (unsigned turns = 0; bytes > 0; turns++) {
        size_t part = bytes < sizeof block ? bytes : sizeof block;
        ssize_t sent = send(peer, block, part, MSG_NOSIGNAL);

        assert_true(turns < TURNS_MAX);
        if (sent > 0)
            bytes -= (size_t)sent;
        turn();
    }
}

static void test_longest_line_is_taken(void **state)
{
    (void)state;
    fill(CHANNEL_MESSAGE_MAX);
    assert_int_equal(overlong_count, 0);
    type("\n");
    assert_int_equal(seen_count, 1);
    assert_int_equal(strlen(seen[0]), CHANNEL_MESSAGE_MAX);
    type("next\n");
    assert_string_equal(seen[1], "next");
}

static void test_overlong_line_is_told_and_ends_the_connection(void **state)
{
    char text[64];

    (void)state;
    fill(CHANNEL_MESSAGE_MAX + 1);
    assert_int_equal(overlong_count, 1);
    assert_int_equal(seen_count, 0);
    assert_int_equal(closed_count, 1);
    read_peer(text, sizeof text);
    assert_string_equal(text, "too long\n");
}

static void test_close_of_the_peer_closes(void **state)
{
    (void)state;
    close(peer);
    peer = -1;
    turn();
    assert_int_equal(closed_count, 1);
}

static void test_half_close_still_gets_the_pending_answer(void **state)
{
    char text[64];

    (void)state;
    is_holding = true;
    type("question\n");
    shutdown(peer, SHUT_WR);
    turn();
    assert_int_equal(closed_count, 0);
    channel_send(&channel, "answer", 6);
    channel_release(&channel);
    turn();
    assert_int_equal(closed_count, 1);
    read_peer(text, sizeof text);
    assert_string_equal(text, "answer\n");
}

static void test_last_line_needs_no_newline(void **state)
{
    (void)state;
    type("question");
    shutdown(peer, SHUT_WR);
    turn();
    assert_int_equal(seen_count, 1);
    assert_string_equal(seen[0], "question");
    assert_int_equal(closed_count, 1);
}

static void test_no_more_is_taken_than_may_be_pending(void **state)
{
    (void)state;
    is_holding = true;
    for (unsigned i = 0; i < CHANNEL_PENDING_MAX + 3; i++)
        type("x\n");
    assert_int_equal(seen_count, CHANNEL_PENDING_MAX);
    is_holding = false;
    channel_release(&channel);
    turn();
    assert_int_equal(seen_count, CHANNEL_PENDING_MAX + 3);
    for (unsigned i = 1; i < CHANNEL_PENDING_MAX; i++)
        channel_release(&channel);
}

static void test_client_that_does_not_read_is_not_read_from(void **state)
{
    char *block = calloc(1, CHANNEL_OUTPUT_HIGH), text[4096];

    (void)state;
    memset(block, 'y', CHANNEL_OUTPUT_HIGH);
    for (unsigned i = 0; i < 4; i++)
        channel_send(&channel, block, CHANNEL_OUTPUT_HIGH);
    turn();
    type("question\n");
    assert_int_equal(seen_count, 0);
    for (unsigned turns = 0; seen_count == 0; turns++) {
        assert_true(turns < TURNS_MAX);
        read_peer(text, sizeof text);
        turn();
    }
    assert_string_equal(seen[0], "question");
    free(block);
}

static void test_client_that_lets_too_much_pile_up_is_dropped(void **state)
{
    size_t len = 1024 * 1024;
    char *block = calloc(1, len);

    (void)state;
    for (size_t sent = 0; sent <= CHANNEL_OUTPUT_MAX; sent += len)
        channel_send(&channel, block, len);
    assert_int_equal(closed_count, 0); /* never from within channel_send() */
    turn();
    assert_int_equal(closed_count, 1);
    free(block);
}

static void test_peer_that_vanishes_with_answers_unsent_closes(void **state)
{
    (void)state;
    is_holding = true;
    type("question\n");
    close(peer);
    peer = -1;
    turn();
    assert_int_equal(closed_count, 0);
    channel_send(&channel, "answer", 6);
    channel_release(&channel);
    turn();
    assert_int_equal(closed_count, 1);
}

#define WITH_PAIR(test) cmocka_unit_test_setup_teardown(test, open_pair, close_pair)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_PAIR(test_line_comes_whole_without_its_end),
        WITH_PAIR(test_line_in_pieces_comes_once_whole),
        WITH_PAIR(test_two_lines_at_once_come_in_order),
        WITH_PAIR(test_blank_lines_and_carriage_returns_are_dropped),
        WITH_PAIR(test_answer_is_a_line),
        WITH_PAIR(test_longest_line_is_taken),
        WITH_PAIR(test_overlong_line_is_told_and_ends_the_connection),
        WITH_PAIR(test_close_of_the_peer_closes),
        WITH_PAIR(test_half_close_still_gets_the_pending_answer),
        WITH_PAIR(test_last_line_needs_no_newline),
        WITH_PAIR(test_no_more_is_taken_than_may_be_pending),
        WITH_PAIR(test_client_that_does_not_read_is_not_read_from),
        WITH_PAIR(test_client_that_lets_too_much_pile_up_is_dropped),
        WITH_PAIR(test_peer_that_vanishes_with_answers_unsent_closes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
