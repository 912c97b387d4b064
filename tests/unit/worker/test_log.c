#include "target/worker/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char lines[65536];

/* Runs `speak` in a process of its own, and leaves what it wrote to stderr in `lines`. */
static void hear(void (*speak)(void), int is_journal)
{
    size_t len = 0;
    int ends[2], status = 0;
    ssize_t n;
    pid_t child;

    assert_int_equal(pipe(ends), 0);
    child = fork();
    if (child == 0) {
        char stream[64];
        struct stat st;

        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        close(ends[1]);
        fstat(STDERR_FILENO, &st);
        snprintf(stream, sizeof(stream), "%llu:%llu", (unsigned long long)st.st_dev,
                 (unsigned long long)st.st_ino + !is_journal);
        setenv("JOURNAL_STREAM", stream, 1);
        speak();
        _exit(0);
    }
    close(ends[1]);
    while ((n = read(ends[0], lines + len, sizeof(lines) - 1 - len)) > 0)
        len += (size_t)n;
    lines[len] = '\0';
    close(ends[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void speak_all(void)
{
    log_set_level(LOG_LEVEL_DEBUG);
    log_error("e %d", 1);
    log_warning("w");
    log_info("i");
    log_debug("d");
}

static void test_journal_gets_priorities(void **state)
{
    (void)state;
    hear(speak_all, 1);
    assert_string_equal(lines, "<3>e 1\n<4>w\n<6>i\n<7>d\n");
}

static void test_terminal_gets_words(void **state)
{
    (void)state;
    hear(speak_all, 0);
    assert_string_equal(lines, "nestord: error: e 1\nnestord: warning: w\nnestord: i\n"
                               "nestord: debug: d\n");
}

static void speak_below_level(void)
{
    log_set_level(LOG_LEVEL_WARNING);
    log_info("i");
    log_debug("d");
    log_warning("w");
}

static void test_lines_above_the_level_are_not_there(void **state)
{
    (void)state;
    hear(speak_below_level, 1);
    assert_string_equal(lines, "<4>w\n");
}

static void speak_control_characters(void)
{
    log_info("a\nb\x1b[31mc");
}

static void test_line_is_one_line_and_moves_no_cursor(void **state)
{
    (void)state;
    hear(speak_control_characters, 1);
    assert_string_equal(lines, "<6>a b [31mc\n");
}

static void speak_too_long(void)
{
    static char text[10000];

    memset(text, 'x', sizeof(text) - 1);
    log_info("%s", text);
}

static void test_long_line_is_cut_and_still_ends(void **state)
{
    (void)state;
    hear(speak_too_long, 1);
    assert_true(strlen(lines) > 1000 && strlen(lines) < 4096);
    assert_int_equal(lines[strlen(lines) - 1], '\n');
    assert_ptr_equal(strchr(lines, '\n'), lines + strlen(lines) - 1);
}

static void speak_of_a_peer(void)
{
    for (int i = 0; i < 1000; i++)
        log_peer("peer %d", i);
}

static void test_peer_causes_only_so_many_lines(void **state)
{
    unsigned count = 0;

    (void)state;
    hear(speak_of_a_peer, 1);
    for (const char *c = lines; *c != '\0'; c++)
        count += *c == '\n';
    /* a second may begin in the middle, with the line that says how many were left out */
    assert_in_range(count, LOG_LINES_PER_SECOND, 2 * LOG_LINES_PER_SECOND + 1);
}

static void speak_until_told(void)
{
    struct timespec before, now;

    alarm(10);
    for (int i = 0; i < 2 * LOG_LINES_PER_SECOND + 7; i++)
        log_peer("peer");
    /* the count is said when its second is over */
    clock_gettime(CLOCK_MONOTONIC_COARSE, &before);
    do
        clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    while (now.tv_sec == before.tv_sec);
    log_error("next");
}

static void test_left_out_lines_are_counted(void **state)
{
    (void)state;
    hear(speak_until_told, 1);
    assert_non_null(strstr(lines, "more lines about initiators were left out\n"));
    assert_non_null(strstr(lines, "<3>next\n"));
}

static void speak_and_check_errno(void)
{
    errno = ENOSPC;
    log_error("x");
    if (errno != ENOSPC)
        abort();
}

static void test_errno_survives_a_line(void **state)
{
    (void)state;
    hear(speak_and_check_errno, 1);
}

static void test_wire_text_is_cleaned_and_cut(void **state)
{
    char out[8];

    (void)state;
    assert_string_equal(log_text(out, sizeof(out), "a\0\n\x80~", 5), "a???~");
    assert_string_equal(log_text(out, sizeof(out), "123456789", 9), "1234567");
    assert_string_equal(log_text(out, 1, "12", 2), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_journal_gets_priorities),
        cmocka_unit_test(test_terminal_gets_words),
        cmocka_unit_test(test_lines_above_the_level_are_not_there),
        cmocka_unit_test(test_line_is_one_line_and_moves_no_cursor),
        cmocka_unit_test(test_long_line_is_cut_and_still_ends),
        cmocka_unit_test(test_peer_causes_only_so_many_lines),
        cmocka_unit_test(test_left_out_lines_are_counted),
        cmocka_unit_test(test_errno_survives_a_line),
        cmocka_unit_test(test_wire_text_is_cleaned_and_cut),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
