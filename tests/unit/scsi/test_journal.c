/* the journal of atomic writes: all or nothing, whenever a kill comes and whatever fails */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "target/scsi/journal.h"
#include "target/worker/log.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { IMAGE_BYTES = 1 << 20, WRITE_BYTES = 64 * 1024, AT = 3 * 512, CALLS_MAX = 64 };

static const uint8_t ours[IDENTITY_NAA_BYTES] = { 0x60, 1 };
static const uint8_t others[IDENTITY_NAA_BYTES] = { 0x60, 2 };

/* ---- what is asked of the disks ---- */

static struct io calls[CALLS_MAX];
static unsigned call_count, failing_call; /* from 1; 0: none fails */

void __real_backing_run(struct io *io);
void __wrap_backing_run(struct io *io);

void __wrap_backing_run(struct io *io)
{
    if (call_count < CALLS_MAX)
        calls[call_count] = *io;
    call_count++;
    if (call_count == failing_call)
        io->result = -EIO;
    else
        __real_backing_run(io);
}

/* ---- an image ---- */

struct bench {
    char path[64], journal_path[96];
    struct backing *image;
    char error[JOURNAL_ERROR_MAX];
};

static struct bench bench;

static void image_open(bool is_readonly)
{
    struct backing_error error;

    assert_int_equal(
        backing_open(&(struct backing_options){ .path = bench.path, .is_readonly = is_readonly },
                     &bench.image, &error),
        0);
}

static void image_close(void)
{
    backing_close(bench.image);
    bench.image = NULL;
}

static void image_make(const char *folder)
{
    int fd;

    snprintf(bench.path, sizeof bench.path, "%s/journal-unit-XXXXXX", folder);
    fd = mkstemp(bench.path);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, IMAGE_BYTES), 0);
    assert_int_equal(fchmod(fd, 0660), 0);
    close(fd);
    snprintf(bench.journal_path, sizeof bench.journal_path, "%s.nestor-journal", bench.path);
    image_open(false);
}

static int setup(void **state)
{
    (void)state;
    log_set_level(LOG_LEVEL_ERROR);
    call_count = failing_call = 0;
    image_make(".");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    image_close();
    unlink(bench.path);
    unlink(bench.journal_path);
    rmdir(bench.journal_path);
    return 0;
}

static uint8_t data[WRITE_BYTES];

static struct io write_of(uint8_t byte, bool is_durable)
{
    memset(data, byte, sizeof data);
    return (struct io){
        .op = IO_WRITE,
        .is_durable = is_durable,
        .backing = bench.image,
        .bytes = data,
        .len_bytes = sizeof data,
        .offset_bytes = AT,
    };
}

static struct journal *open_as(const uint8_t naa[IDENTITY_NAA_BYTES])
{
    struct journal *journal = NULL;

    assert_int_equal(journal_open(bench.image, naa, &journal, bench.error), 0);
    return journal;
}

/* As a kill leaves it: the slot is filled, and nothing is in place. */
static void leave_unfinished(unsigned slot, uint8_t byte, bool is_durable)
{
    struct journal *journal = open_as(ours);
    struct io io = write_of(byte, is_durable);

    assert_int_equal(journal_put(journal, slot, &io), 0);
    journal_close(journal);
}

static void file_poke(const char *path, off_t at, uint8_t change)
{
    int fd = open(path, O_RDWR);
    uint8_t byte;

    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= change;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

static int replay(void)
{
    return journal_replay(bench.image, ours, bench.error);
}

/* All of the range is one byte, which it returns; -1: it is torn. */
static int range_byte(void)
{
    static uint8_t bytes[WRITE_BYTES];
    int fd = open(bench.path, O_RDONLY);
    ssize_t n = pread(fd, bytes, sizeof bytes, AT);

    close(fd);
    assert_int_equal(n, sizeof bytes);
    return memcmp(bytes, bytes + 1, sizeof bytes - 1) == 0 ? bytes[0] : -1;
}

static bool slots_are_free(void)
{
    static uint8_t header[JOURNAL_HEADER_BYTES];
    int fd = open(bench.journal_path, O_RDONLY);
    bool are_free = true;

    assert_true(fd >= 0);
    for (unsigned slot = 0; slot < JOURNAL_SLOTS; slot++) {
        off_t at = JOURNAL_HEADER_BYTES + (off_t)slot * JOURNAL_SLOT_BYTES;
        assert_int_equal(pread(fd, header, sizeof header, at), sizeof header);
        for (unsigned i = 0; i < sizeof header; i++)
            are_free = are_free && header[i] == 0;
    }
    close(fd);
    return are_free;
}

/* ---- writing ---- */

static void test_a_write_ends_in_place_with_its_slot_free(void **state)
{
    struct journal *journal = open_as(ours);
    struct io io = write_of('w', false);
    struct stat st;

    (void)state;
    assert_int_equal(journal_write(journal, JOURNAL_SLOTS - 1, &io), 0);
    assert_int_equal(range_byte(), 'w');
    assert_true(slots_are_free());
    assert_int_equal(stat(bench.journal_path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0660); /* as the image */
    journal_close(journal);
}

static void test_a_durable_write_waits_for_each_step_to_be_on_the_disk(void **state)
{
    struct journal *journal = open_as(ours);
    struct io io = write_of('w', true);

    (void)state;
    call_count = 0;
    assert_int_equal(journal_write(journal, 0, &io), 0);
    assert_int_equal(call_count, 5);
    assert_int_equal(calls[0].op, IO_WRITE); /* the slot's bytes, then its page */
    assert_int_equal(calls[1].op, IO_WRITE);
    assert_int_equal(calls[2].op, IO_FLUSH);
    assert_ptr_equal(calls[2].backing, journal->file);
    assert_ptr_equal(calls[3].backing, bench.image);
    assert_true(calls[3].is_durable);
    assert_ptr_equal(calls[4].backing, journal->file); /* the slot is free */
    assert_true(calls[4].is_durable);
    journal_close(journal);
}

static void test_a_write_that_need_not_be_durable_waits_for_no_disk(void **state)
{
    struct journal *journal = open_as(ours);
    struct io io = write_of('w', false);

    (void)state;
    call_count = 0;
    assert_int_equal(journal_write(journal, 0, &io), 0);
    assert_int_equal(call_count, 4);
    for (unsigned i = 0; i < call_count; i++)
        assert_true(calls[i].op == IO_WRITE && !calls[i].is_durable);
    journal_close(journal);
}

static void test_without_a_name_for_this_boot_every_write_is_durable(void **state)
{
    struct journal *journal = open_as(ours);
    struct io io = write_of('w', false);

    (void)state;
    journal->knows_boot = false;
    call_count = 0;
    assert_int_equal(journal_write(journal, 0, &io), 0);
    assert_int_equal(call_count, 5);
    assert_true(calls[3].is_durable && calls[4].is_durable);
    journal_close(journal);
}

static void test_the_longest_write_fits_a_slot_and_a_longer_one_is_refused(void **state)
{
    struct journal *journal = open_as(ours);
    struct io io = write_of('w', false);
    uint8_t *most = calloc(1, LIMIT_ATOMIC_BYTES + 512);

    (void)state;
    assert_non_null(most);
    io.bytes = most;
    io.len_bytes = LIMIT_ATOMIC_BYTES;
    assert_int_equal(journal_write(journal, 0, &io), 0);
    io.len_bytes = LIMIT_ATOMIC_BYTES + 512;
    assert_int_equal(journal_write(journal, 0, &io), -EINVAL);
    free(most);
    journal_close(journal);
}

/* An error was told: the write must not come by itself after a restart, over what came later. */
static void test_a_write_that_failed_never_comes_back(void **state)
{
    struct io old = write_of('o', false);

    (void)state;
    for (unsigned failing = 1; failing <= 4; failing++) {
        struct journal *journal;
        struct io io;

        old = write_of('o', false);
        __real_backing_run(&old);
        journal = open_as(ours);
        io = write_of('w', true);
        call_count = 0;
        failing_call = failing;
        assert_int_equal(journal_write(journal, 0, &io), -EIO);
        failing_call = 0;
        assert_int_equal(range_byte(), 'o');
        journal_close(journal);
        assert_int_equal(replay(), 0);
        assert_int_equal(range_byte(), 'o');
    }
}

static void test_a_journal_whose_slot_cannot_be_freed_is_removed(void **state)
{
    struct journal *journal = open_as(ours);
    struct io io = write_of('w', true);

    (void)state;
    call_count = 0;
    failing_call = 5;
    assert_int_equal(journal_write(journal, 0, &io), 0); /* it is in place */
    failing_call = 0;
    assert_int_equal(access(bench.journal_path, F_OK), -1);
    assert_int_equal(journal_write(journal, 1, &io), -EIO);
    journal_close(journal);
    assert_int_equal(replay(), 0);
    assert_int_equal(range_byte(), 'w');
}

/* ---- after a kill ---- */

static void test_without_a_journal_there_is_nothing_to_do(void **state)
{
    (void)state;
    assert_int_equal(replay(), 0);
    assert_int_equal(access(bench.journal_path, F_OK), -1);
}

static void test_an_unfinished_write_is_finished(void **state)
{
    (void)state;
    leave_unfinished(5, 'n', false);
    assert_int_equal(range_byte(), 0);
    assert_int_equal(replay(), 0);
    assert_int_equal(range_byte(), 'n');
    assert_true(slots_are_free());
}

static void test_finishing_may_be_killed_and_done_again(void **state)
{
    (void)state;
    leave_unfinished(0, 'n', true);
    /* every step of it fails once, and then all of it is done */
    for (unsigned failing = 1; failing < 16; failing++) {
        call_count = 0;
        failing_call = failing;
        replay();
        failing_call = 0;
        assert_true(range_byte() == 0 || range_byte() == 'n');
    }
    assert_int_equal(replay(), 0);
    assert_int_equal(range_byte(), 'n');
    assert_true(slots_are_free());
}

static void test_a_later_write_is_not_undone_by_finishing_twice(void **state)
{
    struct io later;

    (void)state;
    leave_unfinished(0, 'n', false);
    assert_int_equal(replay(), 0);
    later = write_of('l', false);
    __real_backing_run(&later);
    assert_int_equal(replay(), 0);
    assert_int_equal(range_byte(), 'l');
}

static void test_a_torn_slot_is_dropped(void **state)
{
    const off_t slot = JOURNAL_HEADER_BYTES + 2 * (off_t)JOURNAL_SLOT_BYTES;
    const off_t places[] = { 0,
                             9,
                             44,
                             48,
                             56, /* the page: magic, boot, length, offset, sum */
                             JOURNAL_HEADER_BYTES,
                             JOURNAL_HEADER_BYTES + WRITE_BYTES - 1 };

    (void)state;
    for (unsigned i = 0; i < sizeof places / sizeof *places; i++) {
        leave_unfinished(2, 'n', true);
        file_poke(bench.journal_path, slot + places[i], 0x40);
        assert_int_equal(replay(), 0);
        assert_int_equal(range_byte(), 0);
        assert_true(slots_are_free());
    }
}

/* After a power loss the page cache is gone, and what is on the disk may be older than the slot. */
static void test_a_slot_of_another_boot_counts_only_when_it_was_durable(void **state)
{
    (void)state;
    for (int is_durable = 0; is_durable < 2; is_durable++) {
        struct journal *journal = open_as(ours);
        struct io io = write_of('n', is_durable);

        journal->boot[0] ^= 1;
        assert_int_equal(journal_put(journal, 1, &io), 0);
        journal_close(journal);
        assert_int_equal(replay(), 0);
        assert_int_equal(range_byte(), is_durable ? 'n' : 0);
        assert_true(slots_are_free());
    }
}

static void test_unfinished_writes_of_another_image_are_refused_and_kept(void **state)
{
    (void)state;
    leave_unfinished(0, 'n', true);
    assert_int_equal(journal_replay(bench.image, others, bench.error), -EEXIST);
    assert_non_null(strstr(bench.error, bench.journal_path + 1));
    assert_int_equal(range_byte(), 0);
    assert_int_equal(replay(), 0); /* its own image still gets it */
    assert_int_equal(range_byte(), 'n');
}

static void test_a_finished_journal_of_another_image_is_taken_over(void **state)
{
    struct journal *journal = open_as(others);
    struct io io = write_of('w', false);

    (void)state;
    journal_close(journal);
    assert_int_equal(replay(), 0);
    journal = open_as(ours);
    assert_int_equal(journal_put(journal, 0, &io), 0);
    journal_close(journal);
    assert_int_equal(replay(), 0);
    assert_int_equal(range_byte(), 'w');
}

static void test_a_damaged_journal_keeps_the_image_out(void **state)
{
    (void)state;
    leave_unfinished(0, 'n', true);
    file_poke(bench.journal_path, 10, 1); /* whose it is */
    assert_int_equal(replay(), -EBADMSG);
    assert_int_equal(range_byte(), 0);
    file_poke(bench.journal_path, 10, 1);
    assert_int_equal(truncate(bench.journal_path, JOURNAL_BYTES / 2), 0);
    assert_int_equal(replay(), -EBADMSG);
    assert_int_equal(range_byte(), 0);
}

static void test_a_journal_that_was_never_made_to_its_end_is_no_hindrance(void **state)
{
    static const off_t sizes[] = { 0, JOURNAL_BYTES };

    (void)state;
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        int fd = open(bench.journal_path, O_RDWR | O_CREAT | O_TRUNC, 0600);

        assert_true(fd >= 0);
        assert_int_equal(ftruncate(fd, sizes[i]), 0);
        close(fd);
        assert_int_equal(replay(), 0);
        leave_unfinished(0, (uint8_t)('a' + i), false);
        assert_int_equal(replay(), 0);
        assert_int_equal(range_byte(), 'a' + (int)i);
    }
}

static void test_a_write_beyond_the_end_of_the_image_keeps_it_out(void **state)
{
    struct stat st;

    (void)state;
    leave_unfinished(0, 'n', true);
    image_close();
    assert_int_equal(truncate(bench.path, WRITE_BYTES), 0); /* it ends 3 blocks later */
    image_open(false);
    assert_int_equal(replay(), -EBADMSG);
    assert_int_equal(stat(bench.path, &st), 0);
    assert_int_equal(st.st_size, WRITE_BYTES);
}

static void test_a_readonly_image_is_not_written_to(void **state)
{
    (void)state;
    leave_unfinished(0, 'n', true);
    image_close();
    image_open(true);
    assert_int_equal(replay(), 0);
    assert_int_equal(range_byte(), 0);
    image_close();
    image_open(false);
    assert_int_equal(replay(), 0);
    assert_int_equal(range_byte(), 'n');
}

static void test_what_is_no_file_is_refused(void **state)
{
    struct journal *journal;

    (void)state;
    assert_int_equal(mkdir(bench.journal_path, 0700), 0);
    assert_int_equal(replay(), -ENODEV);
    assert_int_equal(journal_open(bench.image, ours, &journal, bench.error), -ENODEV);
}

static void test_a_link_to_the_image_leads_to_the_same_journal(void **state)
{
    char link[96], path[PATH_MAX], link_path[PATH_MAX];
    struct backing_error error;

    (void)state;
    assert_int_equal(journal_path(bench.image, path), 0);
    image_close();
    snprintf(link, sizeof link, "%s.link", bench.path);
    assert_int_equal(symlink(strrchr(bench.path, '/') + 1, link), 0);
    assert_int_equal(backing_open(&(struct backing_options){ .path = link }, &bench.image, &error),
                     0);
    assert_int_equal(journal_path(bench.image, link_path), 0);
    unlink(link);
    assert_string_equal(link_path, path);
}

/* ---- kill -9 ---- */

enum { KILLS = 300, SPINS_MAX = 100000 };

/* Writes 'a' all over, then 'b', for as long as it lives. */
static void write_forever(volatile bool *is_running)
{
    struct journal *journal;

    image_open(false);
    if (journal_open(bench.image, ours, &journal, bench.error))
        _exit(1);
    for (unsigned turn = 0;; turn++) {
        struct io io = write_of(turn % 2 ? 'b' : 'a', false);
        if (journal_write(journal, turn % JOURNAL_SLOTS, &io))
            _exit(1);
        *is_running = true;
    }
}

/* How often the kill cut a write in place, as it does without a journal. */
static unsigned kill_and_finish(volatile bool *is_running)
{
    unsigned cut = 0;

    image_close();
    for (unsigned kill_number = 0; kill_number < KILLS; kill_number++) {
        int status;
        pid_t child;

        *is_running = false;
        child = fork();
        assert_true(child >= 0);
        if (child == 0)
            write_forever(is_running);
        while (!*is_running && waitpid(child, &status, WNOHANG) == 0)
            sched_yield();
        assert_true(*is_running);
        for (volatile unsigned spin = kill_number * 997 % SPINS_MAX; spin > 0; spin--)
            ;
        kill(child, SIGKILL);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));
        cut += range_byte() < 0;
        image_open(false);
        assert_int_equal(replay(), 0);
        image_close();
        assert_true(range_byte() == 'a' || range_byte() == 'b');
        assert_true(slots_are_free());
    }
    return cut;
}

/* What a sanitize operation must leave no copy of; only the page that says whose it is stays. */
static void test_wiping_leaves_nothing_of_what_was_written(void **state)
{
    static uint8_t bytes[JOURNAL_BYTES];
    struct journal *journal = open_as(ours);
    struct io io = write_of(0x77, false);

    (void)state;
    for (unsigned is_open = 0; is_open < 2; is_open++) {
        assert_int_equal(journal_write(journal, 3, &io), 0);
        if (!is_open)
            journal_close(journal);
        assert_int_equal(journal_wipe(bench.image, is_open ? journal : NULL), 0);
        int fd = open(bench.journal_path, O_RDONLY);
        assert_true(fd >= 0);
        assert_int_equal(read(fd, bytes, sizeof bytes), sizeof bytes);
        close(fd);
        for (unsigned i = JOURNAL_HEADER_BYTES; i < sizeof bytes; i++)
            assert_int_equal(bytes[i], 0);
        if (!is_open)
            journal = open_as(ours);
    }
    call_count = 0;
    failing_call = JOURNAL_SLOTS;
    assert_int_equal(journal_wipe(bench.image, journal), -EIO);
    for (unsigned i = 0; i < JOURNAL_SLOTS; i++)
        assert_true(calls[i].is_durable);
    journal_close(journal);
}

static void test_without_a_journal_there_is_nothing_to_wipe(void **state)
{
    (void)state;
    assert_int_equal(journal_wipe(bench.image, NULL), 0);
    assert_int_equal(access(bench.journal_path, F_OK), -1);
}

static unsigned kills_in(const char *folder)
{
    volatile bool *is_running =
        mmap(NULL, sizeof *is_running, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    unsigned cut;

    assert_true(is_running != MAP_FAILED);
    teardown(NULL);
    image_make(folder);
    cut = kill_and_finish(is_running);
    print_message("%s: %u of %u kills had cut a write in place\n", folder, cut, KILLS);
    munmap((void *)is_running, sizeof *is_running);
    return cut;
}

static void test_kill_9_leaves_all_or_nothing_on_a_disk(void **state)
{
    (void)state;
    kills_in(".");
}

static void test_kill_9_leaves_all_or_nothing_in_memory(void **state)
{
    (void)state;
    if (access("/dev/shm", W_OK) != 0)
        skip();
    assert_true(kills_in("/dev/shm") > 0); /* else it shows nothing */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_write_ends_in_place_with_its_slot_free),
        TEST(test_a_durable_write_waits_for_each_step_to_be_on_the_disk),
        TEST(test_a_write_that_need_not_be_durable_waits_for_no_disk),
        TEST(test_without_a_name_for_this_boot_every_write_is_durable),
        TEST(test_the_longest_write_fits_a_slot_and_a_longer_one_is_refused),
        TEST(test_a_write_that_failed_never_comes_back),
        TEST(test_a_journal_whose_slot_cannot_be_freed_is_removed),
        TEST(test_without_a_journal_there_is_nothing_to_do),
        TEST(test_an_unfinished_write_is_finished),
        TEST(test_finishing_may_be_killed_and_done_again),
        TEST(test_a_later_write_is_not_undone_by_finishing_twice),
        TEST(test_a_torn_slot_is_dropped),
        TEST(test_a_slot_of_another_boot_counts_only_when_it_was_durable),
        TEST(test_unfinished_writes_of_another_image_are_refused_and_kept),
        TEST(test_a_finished_journal_of_another_image_is_taken_over),
        TEST(test_a_damaged_journal_keeps_the_image_out),
        TEST(test_a_journal_that_was_never_made_to_its_end_is_no_hindrance),
        TEST(test_a_write_beyond_the_end_of_the_image_keeps_it_out),
        TEST(test_a_readonly_image_is_not_written_to),
        TEST(test_what_is_no_file_is_refused),
        TEST(test_a_link_to_the_image_leads_to_the_same_journal),
        TEST(test_wiping_leaves_nothing_of_what_was_written),
        TEST(test_without_a_journal_there_is_nothing_to_wipe),
        TEST(test_kill_9_leaves_all_or_nothing_on_a_disk),
        TEST(test_kill_9_leaves_all_or_nothing_in_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
