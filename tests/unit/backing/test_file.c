#include "tests/unit/backing/scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MIB = 1024 * 1024 };

static int setup(void **state)
{
    struct scratch *scratch = calloc(1, sizeof(*scratch));

    scratch_make(scratch);
    *state = scratch;
    return 0;
}

static int teardown(void **state)
{
    scratch_remove(*state);
    free(*state);
    return 0;
}

static int open_path(const char *path, uint64_t size_bytes, bool is_readonly, struct backing **out,
                     struct backing_error *error)
{
    struct backing_options options = {
        .path = path,
        .size_bytes = size_bytes,
        .is_readonly = is_readonly,
        .is_new_allowed = true,
    };

    return backing_open(&options, out, error);
}

static void test_new_image_is_sparse_and_as_large_as_declared(void **state)
{
    struct scratch *scratch = *state;
    struct backing *backing = scratch_image(scratch, 64 * MIB);
    struct stat st;

    assert_int_equal(stat(scratch->path, &st), 0);
    assert_int_equal(st.st_size, 64 * MIB);
    assert_true(st.st_blocks * 512 < MIB);
    assert_int_equal(st.st_mode & 0007, 0);
    assert_int_equal(backing_size_bytes(backing), 64 * MIB);
    backing_close(backing);
}

static void test_missing_image_without_size_is_refused(void **state)
{
    struct scratch *scratch = *state;
    struct backing_error error;
    struct backing *backing;

    assert_int_equal(open_path(scratch->path, 0, false, &backing, &error), -ENOENT);
    assert_non_null(strstr(error.text, scratch->path));
}

static void test_missing_readonly_image_is_never_made(void **state)
{
    struct scratch *scratch = *state;
    struct backing_error error;
    struct backing *backing;

    assert_int_equal(open_path(scratch->path, MIB, true, &backing, &error), -ENOENT);
    assert_int_not_equal(access(scratch->path, F_OK), 0);
}

static void test_link_to_nothing_is_refused(void **state)
{
    struct scratch *scratch = *state;
    struct backing_error error;
    struct backing *backing;

    assert_int_equal(symlink("nothing", scratch->path), 0);
    assert_int_equal(open_path(scratch->path, MIB, false, &backing, &error), -ENOENT);
    assert_non_null(strstr(error.text, "is a link to something that is not there"));
}

static void test_missing_folder_is_named(void **state)
{
    struct scratch *scratch = *state;
    struct backing_error error;
    struct backing *backing;
    char folder[256];

    snprintf(folder, sizeof(folder), "the folder %s/none is not there", scratch->folder);
    assert_int_equal(open_path(scratch_file(scratch, "none/image"), MIB, false, &backing, &error),
                     -ENOENT);
    assert_non_null(strstr(error.text, folder));
}

static void test_image_smaller_than_declared_is_refused_with_both_sizes(void **state)
{
    struct scratch *scratch = *state;
    struct backing_error error;
    struct backing *backing;

    backing_close(scratch_image(scratch, MIB));
    assert_int_equal(open_path(scratch->path, 2 * MIB, false, &backing, &error), -EFBIG);
    assert_non_null(strstr(error.text, "1.0 MiB (1048576 bytes)"));
    assert_non_null(strstr(error.text, "2.0 MiB (2097152 bytes)"));
    assert_non_null(strstr(error.text, "truncate -s 2097152"));
}

static void test_larger_image_is_served_to_the_declared_size(void **state)
{
    struct scratch *scratch = *state;
    struct backing *backing;
    struct stat st;

    backing_close(scratch_image(scratch, 2 * MIB));
    backing = scratch_image(scratch, MIB);
    assert_int_equal(backing_size_bytes(backing), MIB);
    assert_int_equal(stat(scratch->path, &st), 0);
    assert_int_equal(st.st_size, 2 * MIB);
    backing_close(backing);
}

static void test_size_not_declared_is_that_of_the_image(void **state)
{
    struct scratch *scratch = *state;
    struct backing *backing;

    backing_close(scratch_image(scratch, 3 * MIB));
    backing = scratch_image(scratch, 0);
    assert_int_equal(backing_size_bytes(backing), 3 * MIB);
    backing_close(backing);
}

static void test_empty_image_is_refused(void **state)
{
    struct scratch *scratch = *state;
    struct backing_error error;
    struct backing *backing;

    close(open(scratch->path, O_CREAT | O_WRONLY, 0600));
    assert_int_equal(open_path(scratch->path, 0, false, &backing, &error), -EINVAL);
    assert_int_equal(open_path(scratch->path, MIB, false, &backing, &error), -EFBIG);
}

static void test_image_that_cannot_be_made_leaves_nothing(void **state)
{
    struct scratch *scratch = *state;
    struct backing_error error;
    struct backing *backing;

    assert_true(open_path(scratch->path, UINT64_MAX, false, &backing, &error) < 0);
    assert_int_not_equal(access(scratch->path, F_OK), 0);
}

static void test_folder_and_pipe_are_no_images(void **state)
{
    struct scratch *scratch = *state;
    struct backing_error error;
    struct backing *backing;

    assert_int_equal(open_path(scratch->folder, 0, false, &backing, &error), -ENODEV);
    assert_int_equal(mkfifo(scratch->path, 0600), 0);
    /* opening a pipe to read would wait for a writer */
    assert_int_equal(open_path(scratch->path, 0, true, &backing, &error), -ENODEV);
}

static void test_image_in_use_is_refused(void **state)
{
    struct scratch *scratch = *state;
    struct backing *backing = scratch_image(scratch, MIB), *second;
    struct backing_error error;

    assert_int_equal(open_path(scratch->path, 0, false, &second, &error), -EBUSY);
    assert_int_equal(open_path(scratch->path, 0, true, &second, &error), -EBUSY);
    backing_close(backing);
    backing_close(scratch_image(scratch, MIB));
}

static void test_image_in_use_by_another_process_is_refused(void **state)
{
    struct scratch *scratch = *state;
    struct backing *backing = scratch_image(scratch, MIB), *second;
    struct backing_error error;
    int status = 0;
    pid_t child = fork();

    if (child == 0)
        _exit(open_path(scratch->path, 0, false, &second, &error) == -EBUSY ? 0 : 1);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    backing_close(backing);
}

static void test_readonly_images_are_shared(void **state)
{
    struct scratch *scratch = *state;
    struct backing *first, *second, *third;
    struct backing_error error;

    backing_close(scratch_image(scratch, MIB));
    assert_int_equal(open_path(scratch->path, 0, true, &first, &error), 0);
    assert_int_equal(open_path(scratch->path, 0, true, &second, &error), 0);
    assert_int_equal(open_path(scratch->path, 0, false, &third, &error), -EBUSY);
    backing_close(second);
    backing_close(first);
}

static bool leads_to(const char *path, const struct backing *image)
{
    struct backing_place place;

    return backing_place(path, &place) == 0 && backing_is_at(image, &place);
}

static void test_links_to_one_image_are_the_same_image(void **state)
{
    struct scratch *scratch = *state;
    struct backing *image, *other;
    struct backing_error error;

    backing_close(scratch_image(scratch, MIB));
    assert_int_equal(symlink("image", scratch_file(scratch, "soft")), 0);
    assert_int_equal(link(scratch->path, scratch_file(scratch, "hard")), 0);
    assert_int_equal(open_path(scratch_file(scratch, "other"), MIB, false, &other, &error), 0);
    assert_int_equal(open_path(scratch->path, 0, true, &image, &error), 0);
    assert_true(leads_to(scratch->path, image));
    assert_true(leads_to(scratch_file(scratch, "soft"), image));
    assert_true(leads_to(scratch_file(scratch, "hard"), image));
    assert_false(leads_to(scratch_file(scratch, "other"), image));
    assert_false(leads_to(scratch_file(scratch, "none"), image));
    backing_close(image);
    backing_close(other);
}

static void test_grow_serves_more_and_extends_the_file(void **state)
{
    struct scratch *scratch = *state;
    struct backing *backing = scratch_image(scratch, MIB);
    struct backing_error error;
    struct stat st;

    assert_int_equal(backing_grow(backing, 3 * MIB, &error), 0);
    assert_int_equal(backing_size_bytes(backing), 3 * MIB);
    assert_int_equal(stat(scratch->path, &st), 0);
    assert_int_equal(st.st_size, 3 * MIB);
    backing_close(backing);
}

static void test_grow_never_shrinks(void **state)
{
    struct scratch *scratch = *state;
    struct backing *backing = scratch_image(scratch, 2 * MIB);
    struct backing_error error;

    assert_int_equal(backing_grow(backing, MIB, &error), -EINVAL);
    assert_int_equal(backing_size_bytes(backing), 2 * MIB);
    backing_close(backing);
}

static void test_usage_counts_what_is_allocated(void **state)
{
    struct scratch *scratch = *state;
    struct backing *backing = scratch_image(scratch, 64 * MIB);
    struct backing_usage usage;
    static uint8_t bytes[MIB];
    struct io write = {
        .op = IO_WRITE,
        .is_durable = true,
        .backing = backing,
        .bytes = bytes,
        .len_bytes = sizeof(bytes),
    };

    memset(bytes, 1, sizeof(bytes));
    backing_run(&write);
    assert_int_equal(write.result, 0);
    assert_int_equal(backing_usage(backing, &usage), 0);
    assert_true(usage.allocated_bytes >= MIB && usage.allocated_bytes < 8 * MIB);
    assert_true(usage.free_bytes > 0);
    backing_close(backing);
}

static void test_cached_bytes_are_read_inline(void **state)
{
    struct scratch *scratch = *state;
    struct backing *backing = scratch_image(scratch, MIB);
    uint8_t bytes[8192], again[8192];
    struct iovec iov[2] = {
        {again,        100                },
        { again + 100, sizeof(again) - 100}
    };
    struct io write = {
        .op = IO_WRITE,
        .backing = backing,
        .bytes = bytes,
        .len_bytes = sizeof(bytes),
        .offset_bytes = 512,
    };

    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i * 7);
    backing_run(&write);
    assert_int_equal(write.result, 0);
    assert_int_equal(backing_try_read(backing, iov, 2, 512), 0);
    assert_memory_equal(again, bytes, sizeof(bytes));
    backing_close(backing);
}

static void test_inline_read_of_a_shrunken_file_is_not_made_up(void **state)
{
    struct scratch *scratch = *state;
    struct backing *backing = scratch_image(scratch, MIB);
    uint8_t bytes[8192];
    struct iovec iov = { bytes, sizeof(bytes) };
    struct io read = {
        .op = IO_READ,
        .backing = backing,
        .bytes = bytes,
        .len_bytes = sizeof(bytes),
        .offset_bytes = 4096,
    };

    assert_int_equal(truncate(scratch->path, 8192), 0);
    assert_int_equal(backing_try_read(backing, &iov, 1, 4096), -EAGAIN);
    backing_run(&read);
    assert_int_equal(read.result, -EIO);
    backing_close(backing);
}

static void test_inline_write_is_whole_or_not_claimed(void **state)
{
    struct scratch *scratch = *state;
    struct backing *backing = scratch_image(scratch, MIB);
    uint8_t bytes[4096], again[4096];
    struct iovec iov = { bytes, sizeof(bytes) };
    struct io read = {
        .op = IO_READ,
        .backing = backing,
        .bytes = again,
        .len_bytes = sizeof(again),
    };
    int result;

    memset(bytes, 0x5a, sizeof(bytes));
    result = backing_try_write(backing, &iov, 1, 0);
    assert_true(result == 0 || result == -EAGAIN); /* as the file system can */
    backing_run(&read);
    assert_int_equal(read.result, 0);
    if (result == 0)
        assert_memory_equal(again, bytes, sizeof(bytes));
    backing_close(backing);
}

static void test_inline_transfers_stay_inside_the_image(void **state)
{
    struct scratch *scratch = *state;
    struct backing *backing = scratch_image(scratch, MIB);
    uint8_t bytes[1024];
    struct iovec iov[2] = {
        {bytes,  512},
        { bytes, 513}
    };

    assert_int_equal(backing_try_read(backing, iov, 2, MIB - 1024), -EINVAL);
    assert_int_equal(backing_try_write(backing, iov, 2, MIB - 1024), -EINVAL);
    assert_int_equal(backing_try_read(backing, iov, 1, UINT64_MAX), -EINVAL);
    backing_close(backing);
}

static void test_readonly_image_takes_no_writes(void **state)
{
    struct scratch *scratch = *state;
    struct backing_error error;
    struct backing *backing;
    uint8_t bytes[512] = { 0 };
    struct iovec iov = { bytes, sizeof(bytes) };
    struct io io = { .bytes = bytes, .len_bytes = sizeof(bytes) };

    backing_close(scratch_image(scratch, MIB));
    assert_int_equal(open_path(scratch->path, 0, true, &backing, &error), 0);
    assert_true(backing_is_readonly(backing));
    assert_int_equal(backing_try_write(backing, &iov, 1, 0), -EROFS);
    io.backing = backing;
    for (io.op = IO_READ; io.op < IO_OP_COUNT; io.op++) {
        bool is_change = io.op != IO_READ && io.op != IO_FLUSH;

        backing_run(&io);
        assert_int_equal(io.result, is_change ? -EROFS : 0);
    }
    backing_close(backing);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_new_image_is_sparse_and_as_large_as_declared),
        TEST(test_missing_image_without_size_is_refused),
        TEST(test_missing_readonly_image_is_never_made),
        TEST(test_link_to_nothing_is_refused),
        TEST(test_missing_folder_is_named),
        TEST(test_image_smaller_than_declared_is_refused_with_both_sizes),
        TEST(test_larger_image_is_served_to_the_declared_size),
        TEST(test_size_not_declared_is_that_of_the_image),
        TEST(test_empty_image_is_refused),
        TEST(test_image_that_cannot_be_made_leaves_nothing),
        TEST(test_folder_and_pipe_are_no_images),
        TEST(test_image_in_use_is_refused),
        TEST(test_image_in_use_by_another_process_is_refused),
        TEST(test_readonly_images_are_shared),
        TEST(test_links_to_one_image_are_the_same_image),
        TEST(test_grow_serves_more_and_extends_the_file),
        TEST(test_grow_never_shrinks),
        TEST(test_usage_counts_what_is_allocated),
        TEST(test_cached_bytes_are_read_inline),
        TEST(test_inline_read_of_a_shrunken_file_is_not_made_up),
        TEST(test_inline_write_is_whole_or_not_claimed),
        TEST(test_inline_transfers_stay_inside_the_image),
        TEST(test_readonly_image_takes_no_writes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
