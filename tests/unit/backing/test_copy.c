/* copies: shared blocks where the file system can, holes that stay holes, ranges that overlap */
#include "backing/file.h"
#include "tests/unit/backing/scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <linux/fs.h>
#include <linux/fiemap.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <unistd.h>

enum { MIB = 1024 * 1024, IMAGE_BYTES = 24 * MIB };

static const uint64_t BLOCK = 4096;

/* ---- folders on several file systems ---- */

struct place {
    const char *name;
    char folder[64];
    char image[80]; /* of the file system; empty: it was there before */
};

static int make_folder(struct place *place, const char *parent)
{
    snprintf(place->folder, sizeof place->folder, "%s/nestor-copy-XXXXXX", parent);
    return mkdtemp(place->folder) ? 0 : -1;
}

/* A file system with shared blocks in a loop device; needs root. The reason, or NULL. */
static const char *mount_xfs(struct place *place)
{
    char command[512];

    if (geteuid() != 0)
        return "mounting an XFS needs root";
    if (make_folder(place, ".") != 0)
        return "no folder can be made";
    snprintf(place->image, sizeof place->image, "%s.xfs", place->folder);
    snprintf(command, sizeof command,
             "truncate -s 512M %s && mkfs.xfs -q -m reflink=1 %s >/dev/null 2>&1 && "
             "mount -o loop %s %s 2>/dev/null",
             place->image, place->image, place->image, place->folder);
    if (system(command) == 0)
        return NULL;
    unlink(place->image);
    rmdir(place->folder);
    return "mkfs.xfs or a loop mount does not work here";
}

static int on_ext4(void **state)
{
    static struct place place = { .name = "the build's own file system" };

    *state = &place;
    return make_folder(&place, ".");
}

static int on_tmpfs(void **state)
{
    static struct place place = { .name = "tmpfs" };

    *state = &place;
    return make_folder(&place, "/dev/shm");
}

static int on_xfs(void **state)
{
    static struct place place = { .name = "XFS" };
    const char *reason = mount_xfs(&place);

    *state = reason ? NULL : &place;
    if (reason)
        printf("skipped: %s\n", reason);
    return 0;
}

static int away(void **state)
{
    struct place *place = *state;

    if (!place)
        return 0;
    if (place->image[0]) {
        assert_int_equal(umount(place->folder), 0);
        unlink(place->image);
    }
    return rmdir(place->folder);
}

/* ---- images in them ---- */

static struct backing *open_image(const struct place *place, const char *name)
{
    char path[160];
    struct backing_options options = {
        .path = path,
        .size_bytes = IMAGE_BYTES,
        .is_new_allowed = true,
    };
    struct backing_error error = { "" };
    struct backing *backing = NULL;

    snprintf(path, sizeof path, "%s/%s", place->folder, name);
    if (backing_open(&options, &backing, &error) != 0)
        fail_msg("%s: %s", place->name, error.text);
    return backing;
}

static void close_image(struct backing *backing)
{
    unlink(backing_path(backing));
    backing_close(backing);
}

static void put(struct backing *backing, uint64_t offset, uint64_t len, unsigned seed)
{
    uint32_t *words = malloc(len);
    struct io io = {
        .op = IO_WRITE,
        .backing = backing,
        .bytes = words,
        .offset_bytes = offset,
        .len_bytes = len,
    };

    assert_non_null(words);
    for (uint64_t i = 0; i < len / 4; i++)
        words[i] = (uint32_t)i * 2654435761u + seed;
    backing_run(&io);
    assert_int_equal(io.result, 0);
    free(words);
}

/* For free(). */
static uint8_t *get(struct backing *backing, uint64_t offset, uint64_t len)
{
    uint8_t *bytes = malloc(len);
    struct io io = {
        .op = IO_READ,
        .backing = backing,
        .bytes = bytes,
        .offset_bytes = offset,
        .len_bytes = len,
    };

    assert_non_null(bytes);
    backing_run(&io);
    assert_int_equal(io.result, 0);
    return bytes;
}

static void expect_same(struct backing *a, uint64_t a_offset, struct backing *b, uint64_t b_offset,
                        uint64_t len)
{
    uint8_t *of_a = get(a, a_offset, len), *of_b = get(b, b_offset, len);

    assert_true(memcmp(of_a, of_b, len) == 0);
    free(of_a);
    free(of_b);
}

static uint64_t allocated(struct backing *backing)
{
    struct backing_usage usage;

    assert_int_equal(fsync(backing->fd), 0); /* delayed allocation is over */
    assert_int_equal(backing_usage(backing, &usage), 0);
    return usage.allocated_bytes;
}

/* Does every extent of the range share its blocks with another file, or another place? */
static bool is_shared(struct backing *backing, uint64_t offset, uint64_t len)
{
    enum { EXTENTS = 32 };
    struct fiemap *map = calloc(1, sizeof *map + EXTENTS * sizeof map->fm_extents[0]);
    bool is_all = true;

    assert_non_null(map);
    map->fm_start = offset;
    map->fm_length = len;
    map->fm_flags = FIEMAP_FLAG_SYNC;
    map->fm_extent_count = EXTENTS;
    assert_int_equal(ioctl(backing->fd, FS_IOC_FIEMAP, map), 0);
    assert_int_not_equal(map->fm_mapped_extents, 0);
    for (unsigned i = 0; i < map->fm_mapped_extents; i++)
        is_all = is_all && map->fm_extents[i].fe_flags & FIEMAP_EXTENT_SHARED;
    free(map);
    return is_all;
}

/* All of it, however many steps it takes, each no further than was planned. */
static int copy_all(struct backing_copy *copy)
{
    unsigned steps = 0;

    while (copy->len_bytes > 0) {
        struct backing_copy_part part;
        uint64_t before = copy->len_bytes;
        int error;

        backing_copy_plan(copy, &part);
        assert_in_range(part.len_bytes, 1, before);
        error = backing_copy_step(copy, &part);
        if (error != 0)
            return error;
        assert_in_range(before - copy->len_bytes, 1, part.len_bytes);
        assert_true(++steps < 10000);
    }
    return 0;
}

static struct backing_copy copy_of(struct backing *from, uint64_t from_offset, struct backing *to,
                                   uint64_t to_offset, uint64_t len)
{
    struct backing_copy copy = {
        .source = from,
        .destination = to,
        .source_offset_bytes = from_offset,
        .destination_offset_bytes = to_offset,
        .len_bytes = len,
    };

    assert_int_equal(copy_all(&copy), 0);
    assert_true(copy.cloned_bytes + copy.moved_bytes == len);
    return copy;
}

#define PLACE_OR_SKIP(state)                                                                       \
    ({                                                                                             \
        if (!*(state))                                                                             \
            skip();                                                                                \
        (struct place *)*(state);                                                                  \
    })

/* ---- everywhere ---- */

static void test_contents_are_equal_and_holes_stay_holes(void **state)
{
    struct place *place = PLACE_OR_SKIP(state);
    struct backing *from = open_image(place, "from"), *to = open_image(place, "to");
    uint64_t before;

    put(from, 0, 2 * MIB, 1); /* a hole of 6 MiB, data, a hole up to the end */
    put(from, 8 * MIB, MIB, 2);
    put(to, 4 * MIB, MIB, 3); /* where the hole comes: it must not shine through */
    copy_of(from, 0, to, 0, 16 * MIB);
    expect_same(from, 0, to, 0, 16 * MIB);
    before = allocated(to);
    assert_true(before <= 4 * MIB);
    close_image(to);
    close_image(from);
}

static void test_odd_ranges_keep_their_neighbours(void **state)
{
    struct place *place = PLACE_OR_SKIP(state);
    struct backing *from = open_image(place, "from"), *to = open_image(place, "to");
    struct backing *was = open_image(place, "was");

    put(from, 0, 9 * MIB, 1);
    put(to, 0, 12 * MIB, 2);
    put(was, 0, 12 * MIB, 2);
    copy_of(from, 512, to, 1024, 8 * MIB + 1536); /* not congruent */
    expect_same(from, 512, to, 1024, 8 * MIB + 1536);
    expect_same(was, 0, to, 0, 1024);
    expect_same(was, 1024 + 8 * MIB + 1536, to, 1024 + 8 * MIB + 1536, 12 * MIB - 8 * MIB - 2560);
    copy_of(from, 63 * 512, to, 10 * MIB + 63 * 512 - 7 * BLOCK, 5 * BLOCK + 512); /* congruent */
    expect_same(from, 63 * 512, to, 10 * MIB + 63 * 512 - 7 * BLOCK, 5 * BLOCK + 512);
    expect_same(was, 9 * MIB, to, 9 * MIB, MIB + 63 * 512 - 7 * BLOCK);
    close_image(was);
    close_image(to);
    close_image(from);
}

static void test_overlapping_ranges_copy_as_if_read_before(void **state)
{
    struct place *place = PLACE_OR_SKIP(state);
    const struct {
        uint64_t from, to, len;
    } rows[] = {
        {MIB,      MIB + 512,         6 * MIB      },
        { MIB,     MIB - 512,         6 * MIB      },
        { 0,       4096,              5 * MIB + 512},
        { 4096,    0,                 5 * MIB + 512},
        { 0,       3 * MIB,           5 * MIB      },
        { 3 * MIB, 0,                 5 * MIB      },
        { 512,     512,               MIB          },
        { 0,       256 * 1024 + 1024, 9 * MIB      },
    };

    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct backing *image = open_image(place, "image"), *was = open_image(place, "was");

        put(image, 0, 4 * MIB, 1);
        put(image, 5 * MIB, 7 * MIB, 2);
        put(was, 0, 4 * MIB, 1);
        put(was, 5 * MIB, 7 * MIB, 2);
        copy_of(image, rows[i].from, image, rows[i].to, rows[i].len);
        expect_same(was, rows[i].from, image, rows[i].to, rows[i].len);
        expect_same(was, 0, image, 0, rows[i].to);
        expect_same(was, rows[i].to + rows[i].len, image, rows[i].to + rows[i].len,
                    14 * MIB - rows[i].to - rows[i].len);
        close_image(was);
        close_image(image);
    }
}

static void test_a_source_that_shrank_is_an_error_and_no_zeros(void **state)
{
    struct place *place = PLACE_OR_SKIP(state);
    struct backing *from = open_image(place, "from"), *to = open_image(place, "to");
    struct backing_copy copy = { .source = from, .destination = to, .len_bytes = 4 * MIB };

    put(from, 0, 4 * MIB, 1);
    put(to, 0, 4 * MIB, 2);
    assert_int_equal(ftruncate(from->fd, 2 * MIB), 0);
    assert_int_equal(copy_all(&copy), -EIO);
    assert_true(copy.has_source_failed);
    close_image(to);
    close_image(from);
}

static void test_nothing_outside_of_an_image_is_touched(void **state)
{
    struct place *place = PLACE_OR_SKIP(state);
    struct backing *from = open_image(place, "from"), *to = open_image(place, "to");
    struct backing_copy copy = { .source = from, .destination = to, .len_bytes = MIB };

    copy.destination_offset_bytes = IMAGE_BYTES - MIB + 512;
    assert_int_equal(copy_all(&copy), -EINVAL);
    copy.destination_offset_bytes = UINT64_MAX - 511;
    assert_int_equal(copy_all(&copy), -EINVAL);
    copy.destination_offset_bytes = 0;
    copy.source_offset_bytes = IMAGE_BYTES;
    assert_int_equal(copy_all(&copy), -EINVAL);
    close_image(to);
    close_image(from);
}

/* ---- by file system ---- */

static void test_between_file_systems_bytes_move(void **state)
{
    struct place *place = PLACE_OR_SKIP(state), other = { .name = "here" };
    struct backing *from, *to;
    struct backing_copy copy;

    assert_int_equal(make_folder(&other, "."), 0);
    from = open_image(place, "from");
    to = open_image(&other, "to");
    put(from, MIB, 9 * MIB, 1);
    copy = copy_of(from, 0, to, 0, 16 * MIB);
    assert_true(copy.cloned_bytes == 0);
    expect_same(from, 0, to, 0, 16 * MIB);
    /* what this pair cannot do is not asked again */
    assert_true(to->lacks_clone_from == (uint64_t)from->place.device + 1);
    close_image(to);
    close_image(from);
    assert_int_equal(rmdir(other.folder), 0);
}

static void test_xfs_shares_the_blocks(void **state)
{
    struct place *place = PLACE_OR_SKIP(state);
    struct backing *from = open_image(place, "from"), *to = open_image(place, "to");
    uint64_t before = 0, free_before;
    struct backing_usage usage;
    struct backing_copy copy;

    put(from, 0, 16 * MIB, 1);
    before = allocated(from);
    assert_int_equal(backing_usage(from, &usage), 0);
    free_before = usage.free_bytes;
    copy = copy_of(from, 0, to, 4 * MIB, 16 * MIB);
    assert_true(copy.cloned_bytes == 16 * MIB);
    assert_true(is_shared(to, 4 * MIB, 16 * MIB));
    expect_same(from, 0, to, 4 * MIB, 16 * MIB);
    assert_true(allocated(from) == before);
    assert_int_equal(backing_usage(from, &usage), 0);
    assert_true(free_before - usage.free_bytes < MIB); /* metadata */
    put(to, 4 * MIB, MIB, 9); /* and a write to one is not seen in the other */
    put(from, 16 * MIB, MIB, 1);
    {
        uint8_t *of_from = get(from, 0, MIB), *of_to = get(to, 4 * MIB, MIB);
        assert_true(memcmp(of_from, of_to, MIB) != 0);
        free(of_from);
        free(of_to);
    }
    close_image(to);
    close_image(from);
}

static void test_xfs_shares_within_an_image_and_the_middle_of_odd_ranges(void **state)
{
    struct place *place = PLACE_OR_SKIP(state);
    struct backing *image = open_image(place, "image");
    struct backing_copy copy;

    put(image, 0, 8 * MIB, 1);
    copy = copy_of(image, 0, image, 8 * MIB, 8 * MIB);
    assert_true(copy.cloned_bytes == 8 * MIB);
    expect_same(image, 0, image, 8 * MIB, 8 * MIB);
    copy = copy_of(image, 63 * 512, image, 16 * MIB + 63 * 512, 4 * MIB);
    assert_true(copy.cloned_bytes == 4 * MIB - BLOCK);
    assert_true(copy.moved_bytes == BLOCK);
    expect_same(image, 63 * 512, image, 16 * MIB + 63 * 512, 4 * MIB);
    close_image(image);
}

#define ON(setup, test)  cmocka_unit_test_setup_teardown(test, setup, away)
#define EVERYWHERE(test) ON(on_ext4, test), ON(on_tmpfs, test), ON(on_xfs, test)

int main(void)
{
    const struct CMUnitTest tests[] = {
        EVERYWHERE(test_contents_are_equal_and_holes_stay_holes),
        EVERYWHERE(test_odd_ranges_keep_their_neighbours),
        EVERYWHERE(test_overlapping_ranges_copy_as_if_read_before),
        EVERYWHERE(test_a_source_that_shrank_is_an_error_and_no_zeros),
        EVERYWHERE(test_nothing_outside_of_an_image_is_touched),
        ON(on_tmpfs, test_between_file_systems_bytes_move),
        ON(on_xfs, test_xfs_shares_the_blocks),
        ON(on_xfs, test_xfs_shares_within_an_image_and_the_middle_of_odd_ranges),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
