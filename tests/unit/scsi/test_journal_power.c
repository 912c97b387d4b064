/*
 * the journal when the power goes: at every step of a write, with every choice of what of the
 * writes since the last sync has reached the disk: all of one, its first half, or nothing
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "target/scsi/journal.h"
#include "target/worker/log.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { IMAGE_BYTES = 128 * 1024, WRITE_BYTES = 24 * 1024, AT = 3 * 512, STEPS_MAX = 16 };
enum {
    KEPT_BYTES = JOURNAL_HEADER_BYTES + JOURNAL_SLOT_BYTES
}; /* of the journal: slot 0 is used */

static const uint8_t naa[IDENTITY_NAA_BYTES] = { 0x60, 1 };

/* ---- what is asked of the disks, in order ---- */

struct step {
    enum io_op op;
    bool is_durable, is_of_journal;
    uint64_t len_bytes, offset_bytes;
    uint8_t bytes[WRITE_BYTES];
};

static struct step steps[STEPS_MAX];
static unsigned step_count;
static bool is_recording;
static struct backing *image;

void __real_backing_run(struct io *io);
void __wrap_backing_run(struct io *io);

void __wrap_backing_run(struct io *io)
{
    if (is_recording) {
        struct step *step = &steps[step_count++];

        assert_true(step_count <= STEPS_MAX && io->len_bytes <= WRITE_BYTES);
        step->op = io->op;
        step->is_durable = io->is_durable;
        step->is_of_journal = io->backing != image;
        step->len_bytes = io->len_bytes;
        step->offset_bytes = io->offset_bytes;
        if (io->op == IO_WRITE)
            memcpy(step->bytes, io->bytes, io->len_bytes);
    }
    __real_backing_run(io);
}

/* ---- the disks ---- */

static char image_path[64], journal_name[96];
static uint8_t image_before[IMAGE_BYTES], journal_before[KEPT_BYTES];
static uint8_t image_now[IMAGE_BYTES], journal_now[KEPT_BYTES];

static void file_read(const char *path, uint8_t *bytes, size_t len)
{
    int fd = open(path, O_RDONLY);
    ssize_t n = pread(fd, bytes, len, 0);

    close(fd);
    assert_int_equal(n, len);
}

static void file_write(const char *path, const uint8_t *bytes, size_t len)
{
    int fd = open(path, O_WRONLY);
    ssize_t n = pwrite(fd, bytes, len, 0);

    close(fd);
    assert_int_equal(n, len);
}

static void image_open(void)
{
    struct backing_error error;

    assert_int_equal(backing_open(&(struct backing_options){ .path = image_path }, &image, &error),
                     0);
}

static uint8_t data[WRITE_BYTES];

static struct io write_of(uint8_t byte, bool is_durable)
{
    memset(data, byte, sizeof data);
    return (struct io){
        .op = IO_WRITE,
        .is_durable = is_durable,
        .backing = image,
        .bytes = data,
        .len_bytes = sizeof data,
        .offset_bytes = AT,
    };
}

static int setup(void **state)
{
    struct io old;
    int fd;

    (void)state;
    log_set_level(LOG_LEVEL_ERROR);
    strcpy(image_path, "journal-power-XXXXXX");
    fd = mkstemp(image_path);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, IMAGE_BYTES), 0);
    close(fd);
    snprintf(journal_name, sizeof journal_name, "%s.nestor-journal", image_path);
    image_open();
    old = write_of('o', true);
    __real_backing_run(&old);
    step_count = 0;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    is_recording = false;
    backing_close(image);
    unlink(image_path);
    unlink(journal_name);
    return 0;
}

/* ---- the power goes ---- */

enum fate { REACHED, HALF, LOST, FATES };

static void step_apply(const struct step *step, enum fate fate)
{
    uint8_t *disk = step->is_of_journal ? journal_now : image_now;
    size_t len = fate == REACHED ? step->len_bytes : fate == HALF ? step->len_bytes / 2 : 0;

    if (step->op == IO_WRITE)
        memcpy(disk + step->offset_bytes, step->bytes, len);
}

/* Is step `i` on stable storage when the first `done` are over? */
static bool is_stable(unsigned i, unsigned done)
{
    if (i >= done)
        return false;
    if (steps[i].op != IO_WRITE || steps[i].is_durable)
        return true;
    for (unsigned later = i + 1; later < done; later++)
        if (steps[later].op == IO_FLUSH && steps[later].is_of_journal == steps[i].is_of_journal)
            return true;
    return false;
}

/* What stands in the range after the next start; -1: a mix. */
static int range_after_start(void)
{
    char error[JOURNAL_ERROR_MAX];

    file_write(image_path, image_now, sizeof image_now);
    file_write(journal_name, journal_now, sizeof journal_now);
    image_open();
    assert_int_equal(journal_replay(image, naa, error), 0);
    backing_close(image);
    image = NULL;
    file_read(image_path, image_now, sizeof image_now);
    return memcmp(image_now + AT, image_now + AT + 1, WRITE_BYTES - 1) == 0 ? image_now[AT] : -1;
}

/* `done` steps are over and one more may have begun, if `begun`. Every range that can be found is
 * one of `allowed`. Returns how many ways there were for it to go. */
static unsigned power_goes(unsigned done, bool begun, const char *allowed)
{
    unsigned end = done + begun, choices = 1;

    for (unsigned i = 0; i < end; i++)
        choices *= is_stable(i, done) ? 1 : FATES;
    for (unsigned choice = 0; choice < choices; choice++) {
        unsigned left = choice;
        int found;

        memcpy(image_now, image_before, sizeof image_now);
        memcpy(journal_now, journal_before, sizeof journal_now);
        for (unsigned i = 0; i < end; i++) {
            enum fate fate = REACHED;
            if (!is_stable(i, done)) {
                fate = (enum fate)(left % FATES);
                left /= FATES;
            }
            step_apply(&steps[i], fate);
        }
        found = range_after_start();
        if (found < 0 || !strchr(allowed, found))
            fail_msg("after %u steps, choice %u: %c is found, not one of %s", done, choice,
                     found < 0 ? '?' : found, allowed);
    }
    return choices;
}

/* An atomic write, and then a plain one of the same range which a sync is waited for. Returns how
 * many steps the first one took. */
static unsigned record(bool is_durable)
{
    char error[JOURNAL_ERROR_MAX];
    struct journal *journal;
    struct io io, later, flush = { .op = IO_FLUSH, .backing = image };
    unsigned atomic_steps;

    assert_int_equal(journal_open(image, naa, &journal, error), 0);
    journal->boot[0] ^= 1; /* the start comes in another boot than this one */
    file_read(image_path, image_before, sizeof image_before);
    file_read(journal_name, journal_before, sizeof journal_before);
    is_recording = true;
    io = write_of('n', is_durable);
    assert_int_equal(journal_write(journal, 0, &io), 0);
    atomic_steps = step_count;
    later = write_of('l', false);
    backing_run(&later);
    backing_run(&flush);
    is_recording = false;
    journal_close(journal);
    backing_close(image);
    image = NULL;
    return atomic_steps;
}

static void test_a_durable_write_is_all_or_nothing_whenever_the_power_goes(void **state)
{
    unsigned atomic_steps = record(true), choices = 0;

    (void)state;
    for (unsigned done = 0; done < atomic_steps; done++)
        choices += power_goes(done, true, "on");
    assert_true(choices > 20);
}

static void test_a_durable_write_stays_once_it_is_answered(void **state)
{
    (void)state;
    power_goes(record(true), false, "n");
}

static void test_what_was_flushed_later_is_not_undone(void **state)
{
    (void)state;
    record(true);
    power_goes(step_count, false, "l");
}

static void test_what_was_flushed_after_a_write_in_the_page_cache_is_not_undone(void **state)
{
    (void)state;
    record(false);
    /* nothing of the journal was ever flushed: it may look any way */
    assert_int_equal(power_goes(step_count, false, "l"), FATES * FATES * FATES);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_durable_write_is_all_or_nothing_whenever_the_power_goes),
        TEST(test_a_durable_write_stays_once_it_is_answered),
        TEST(test_what_was_flushed_later_is_not_undone),
        TEST(test_what_was_flushed_after_a_write_in_the_page_cache_is_not_undone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
