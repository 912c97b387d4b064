/* what the page cache holds, and sending it without a copy */
#include "backing/file.h"
#include "tests/unit/backing/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/vfs.h>
#include <unistd.h>
#include <cmocka.h>

enum { MIB = 1024 * 1024, SIZE_BYTES = 16 * MIB, TMPFS = 0x01021994 };

struct bench {
    struct scratch scratch;
    struct backing *image;
    int near, far; /* of a socket that is read from only when a test does */
    uint8_t *data; /* what the first MiB holds */
};
static struct bench bench;

static int setup(void **state)
{
    int pair[2];

    (void)state;
    scratch_make(&bench.scratch);
    bench.image = scratch_image(&bench.scratch, SIZE_BYTES);
    bench.data = malloc(MIB);
    assert_non_null(bench.data);
    for (size_t i = 0; i < MIB; i++)
        bench.data[i] = (uint8_t)(i >> 8 ^ i * 31);
    struct io io = { .op = IO_WRITE, .backing = bench.image, .bytes = bench.data };
    io.len_bytes = MIB;
    backing_run(&io);
    assert_int_equal(io.result, 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    bench.near = pair[0];
    bench.far = pair[1];
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    close(bench.near);
    close(bench.far);
    free(bench.data);
    backing_close(bench.image);
    scratch_remove(&bench.scratch);
    return 0;
}

/* Leaves the first page in the cache and nothing else. False: the image is on tmpfs, whose pages
 * stay. */
static bool keep_first_page(void)
{
    int fd = open(bench.scratch.path, O_RDWR);
    struct statfs fs;
    char byte;

    assert_true(fd >= 0 && fsync(fd) == 0 && fstatfs(fd, &fs) == 0);
    assert_int_equal(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
    assert_int_equal(posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM), 0);
    assert_int_equal(pread(fd, &byte, 1, 0), 1);
    close(fd);
    return fs.f_type != TMPFS;
}

static void test_what_was_just_written_is_cached(void **state)
{
    (void)state;
    assert_true(backing_is_cached(bench.image, 0, MIB));
    assert_true(backing_is_cached(bench.image, 512, 512));
    assert_true(backing_is_cached(bench.image, 4096 - 512, 70000));
}

static void test_one_page_that_is_not_there_is_enough(void **state)
{
    bool is_dropped = keep_first_page();

    (void)state;
    assert_true(backing_is_cached(bench.image, 0, 4096));
    assert_int_equal(backing_is_cached(bench.image, 0, 4097), !is_dropped);
    assert_int_equal(backing_is_cached(bench.image, 0, MIB), !is_dropped);
    assert_int_equal(backing_is_cached(bench.image, 512 * 1024, 512), !is_dropped);
}

static void test_nothing_is_cached_beyond_the_end(void **state)
{
    (void)state;
    assert_false(backing_is_cached(bench.image, SIZE_BYTES, 512));
    assert_false(backing_is_cached(bench.image, SIZE_BYTES - 512, 1024));
    assert_false(backing_is_cached(bench.image, UINT64_MAX - 100, 512));
    assert_false(backing_is_cached(bench.image, 0, 0));
}

static void test_what_the_image_grew_by_is_told_as_well(void **state)
{
    struct backing_error error;
    struct io io = { .op = IO_WRITE, .backing = bench.image, .bytes = bench.data };

    (void)state;
    assert_true(backing_is_cached(bench.image, 0, MIB));
    assert_false(backing_is_cached(bench.image, SIZE_BYTES, MIB));
    assert_int_equal(backing_grow(bench.image, SIZE_BYTES + MIB, &error), 0);
    io.offset_bytes = SIZE_BYTES;
    io.len_bytes = MIB;
    backing_run(&io);
    assert_int_equal(io.result, 0);
    assert_true(backing_is_cached(bench.image, SIZE_BYTES, MIB));
    assert_true(backing_is_cached(bench.image, 0, MIB));
}

static void test_an_image_that_no_addresses_are_left_for_is_asked_once(void **state)
{
    (void)state;
    if (bench.image->is_memory)
        return; /* nobody needs to ask */
    bench.image->size_bytes = (uint64_t)1 << 60;
    assert_false(backing_is_cached(bench.image, 0, MIB));
    assert_true(bench.image->lacks_outline);
    bench.image->size_bytes = SIZE_BYTES;
    assert_false(backing_is_cached(bench.image, 0, MIB));
}

static void *ask_all_of_it(void *result)
{
    *(bool *)result = true;
    for (uint32_t at = 0; at < MIB; at += 4096)
        *(bool *)result &= backing_is_cached(bench.image, at, 4096);
    return NULL;
}

static void test_several_threads_may_be_the_first_to_ask(void **state)
{
    pthread_t threads[4];
    bool results[4];

    (void)state;
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, ask_all_of_it, &results[i]), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < 4; i++)
        assert_true(results[i]);
}

/* The outline holds the file open, and a file's lock lives as long as it is open. */
static void test_an_image_that_was_asked_about_is_free_when_it_is_closed(void **state)
{
    struct backing_options options = { .path = bench.scratch.path };
    struct backing_error error;

    (void)state;
    assert_true(backing_is_cached(bench.image, 0, MIB));
    backing_close(bench.image);
    bench.image = NULL;
    assert_int_equal(backing_open(&options, &bench.image, &error), 0);
}

static void test_bytes_arrive_as_they_are(void **state)
{
    uint8_t got[3000];

    (void)state;
    assert_int_equal(backing_send(bench.image, bench.near, 12345, sizeof got), sizeof got);
    assert_int_equal(read(bench.far, got, sizeof got), sizeof got);
    assert_memory_equal(got, bench.data + 12345, sizeof got);
}

static void test_a_full_socket_says_so_and_loses_nothing(void **state)
{
    uint8_t *got = malloc(MIB);
    int64_t sent = 0, count;
    size_t read_bytes = 0;
    ssize_t n;

    (void)state;
    assert_non_null(got);
    for (int i = 0; i < 1000; i++) {
        count = backing_send(bench.image, bench.near, (uint64_t)sent, (uint32_t)(MIB - sent));
        if (count < 0)
            break;
        sent += count;
    }
    assert_int_equal(count, -EAGAIN);
    while ((n = read(bench.far, got + read_bytes, MIB - read_bytes)) > 0)
        read_bytes += (size_t)n;
    assert_int_equal(read_bytes, sent);
    assert_memory_equal(got, bench.data, read_bytes);
    free(got);
}

static void test_a_file_that_shrank_is_an_error(void **state)
{
    (void)state;
    assert_int_equal(truncate(bench.scratch.path, 4096), 0);
    assert_int_equal(backing_send(bench.image, bench.near, 4096, 512), -EIO);
    assert_int_equal(backing_send(bench.image, bench.near, 3584, 4096), 512);
}

static void test_a_peer_that_left_is_an_error(void **state)
{
    (void)state;
    close(bench.far);
    assert_int_equal(backing_send(bench.image, bench.near, 0, 512), -EPIPE);
    bench.far = dup(bench.near);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_what_was_just_written_is_cached),
        TEST(test_one_page_that_is_not_there_is_enough),
        TEST(test_nothing_is_cached_beyond_the_end),
        TEST(test_what_the_image_grew_by_is_told_as_well),
        TEST(test_an_image_that_no_addresses_are_left_for_is_asked_once),
        TEST(test_several_threads_may_be_the_first_to_ask),
        TEST(test_an_image_that_was_asked_about_is_free_when_it_is_closed),
        TEST(test_bytes_arrive_as_they_are),
        TEST(test_a_full_socket_says_so_and_loses_nothing),
        TEST(test_a_file_that_shrank_is_an_error),
        TEST(test_a_peer_that_left_is_an_error),
    };

    signal(SIGPIPE, SIG_IGN); /* as the daemon does */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
