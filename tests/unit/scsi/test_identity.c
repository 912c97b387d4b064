#include "target/scsi/identity.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <ctype.h>
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64], image[128], side_car[160];
static char error[IDENTITY_ERROR_MAX];

static const struct identity_wish no_wish = { .vaai = -1 };

static void write_file(const char *path, const char *text, size_t len)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
}

static size_t read_file(const char *path, char *text, size_t cap)
{
    FILE *file = fopen(path, "r");
    size_t len;

    assert_non_null(file);
    len = fread(text, 1, cap - 1, file);
    text[len] = '\0';
    fclose(file);
    return len;
}

static int setup(void **state)
{
    (void)state;
    snprintf(folder, sizeof(folder), "nestor-test-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(image, sizeof(image), "%s/image", folder);
    snprintf(side_car, sizeof(side_car), "%s.nestor", image);
    write_file(image, "data", 4);
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static int teardown(void **state)
{
    (void)state;
    return nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void load(const struct identity_wish *wish, struct identity *identity)
{
    if (identity_load(image, wish, identity, error) != 0)
        fail_msg("%s", error);
}

static void assert_same(const struct identity *a, const struct identity *b)
{
    assert_string_equal(a->serial, b->serial);
    assert_memory_equal(a->naa, b->naa, IDENTITY_NAA_BYTES);
    assert_string_equal(a->vendor, b->vendor);
    assert_string_equal(a->product, b->product);
    assert_string_equal(a->revision, b->revision);
    assert_int_equal(a->vaai, b->vaai);
    assert_int_equal(a->block_bytes, b->block_bytes);
    assert_int_equal(a->physical_block_bytes, b->physical_block_bytes);
    assert_string_equal(a->created, b->created);
}

static void test_first_use_makes_an_identity_and_says_so(void **state)
{
    struct identity identity;
    struct stat st;

    (void)state;
    load(&no_wish, &identity);
    assert_true(identity.is_new);
    assert_int_equal(strlen(identity.serial), 16);
    assert_string_equal(identity.vendor, "NESTOR");
    assert_string_equal(identity.product, "VMFS LUN");
    assert_string_equal(identity.revision, "0001");
    assert_true(identity.vaai);
    assert_int_equal(identity.block_bytes, 512);
    assert_int_equal(identity.physical_block_bytes, 512);
    assert_int_equal(stat(side_car, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0644);
}

/* SPC-4 7.8.6.6.5: NAA 6h, then the company id across three bytes and two halves. */
static void test_naa_is_registered_extended_and_locally_administered(void **state)
{
    struct identity identity;
    uint8_t first_octet;
    char text[33];

    (void)state;
    load(&no_wish, &identity);
    assert_int_equal(identity.naa[0] >> 4, 6);
    first_octet = (uint8_t)(identity.naa[0] << 4 | identity.naa[1] >> 4);
    assert_int_equal(first_octet & 0x02, 0x02); /* IEEE 802: locally administered */
    assert_int_equal(first_octet & 0x01, 0x00); /* and not a group */
    identity_naa_text(&identity, text);
    assert_int_equal(strlen(text), 32);
    assert_int_equal(text[0], '6');
    for (int i = 0; i < 16; i++) {
        char byte[3];

        snprintf(byte, sizeof(byte), "%02x", identity.naa[i]);
        assert_memory_equal(text + 2 * i, byte, 2);
    }
}

static void test_identity_is_the_same_at_every_load(void **state)
{
    struct identity first, again;

    (void)state;
    load(&no_wish, &first);
    for (int i = 0; i < 3; i++) {
        load(&no_wish, &again);
        assert_false(again.is_new);
        assert_same(&first, &again);
    }
}

static void test_identity_moves_with_its_image(void **state)
{
    struct identity first, moved;
    char moved_image[128], moved_side_car[160];

    (void)state;
    load(&no_wish, &first);
    snprintf(moved_image, sizeof(moved_image), "%s/moved", folder);
    snprintf(moved_side_car, sizeof(moved_side_car), "%s.nestor", moved_image);
    assert_int_equal(rename(image, moved_image), 0);
    assert_int_equal(rename(side_car, moved_side_car), 0);
    assert_int_equal(identity_load(moved_image, &no_wish, &moved, error), 0);
    assert_false(moved.is_new);
    assert_same(&first, &moved);
}

static void test_link_to_an_image_has_its_identity(void **state)
{
    struct identity first, linked;
    char link_path[128];

    (void)state;
    load(&no_wish, &first);
    snprintf(link_path, sizeof(link_path), "%s/link", folder);
    assert_int_equal(symlink("image", link_path), 0);
    assert_int_equal(identity_load(link_path, &no_wish, &linked, error), 0);
    assert_false(linked.is_new);
    assert_same(&first, &linked);
}

static void test_side_car_reads_like_text(void **state)
{
    struct identity identity;
    char text[4096], serial[64], naa[33], line[64];

    (void)state;
    load(&no_wish, &identity);
    read_file(side_car, text, sizeof(text));
    snprintf(serial, sizeof(serial), "\nserial = \"%s\"\n", identity.serial);
    assert_non_null(strstr(text, serial));
    identity_naa_text(&identity, naa);
    snprintf(line, sizeof(line), "\nnaa = \"%s\"\n", naa);
    assert_non_null(strstr(text, line));
    assert_non_null(strstr(text, "\nchecksum = \""));
}

/* Known good file, its checksum computed by an independent CRC32C. */
static const char known[] = "serial = \"0123456789abcdef\"\n"
                            "naa = \"64e535400000000000000000deadbeef\"\n"
                            "vendor = \"NESTOR\"\n"
                            "product = \"VMFS LUN\"\n"
                            "revision = \"0001\"\n"
                            "vaai = \"false\"\n"
                            "block_bytes = \"512\"\n"
                            "physical_block_bytes = \"4096\"\n"
                            "created = \"2026-01-02T03:04:05Z\"\n";

/* RFC 7143 13.1 / RFC 3720 B.4: polynomial 1EDC6F41h, reflected; bit by bit. */
static unsigned crc32c_slowly(const char *text, size_t len)
{
    unsigned crc = 0xffffffff;

    for (size_t i = 0; i < len; i++) {
        crc ^= (unsigned char)text[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
    }
    return ~crc;
}

static void write_with_checksum(const char *body)
{
    char text[4096];
    int len = snprintf(text, sizeof(text), "%schecksum = \"%08x\"\n", body,
                       crc32c_slowly(body, strlen(body)));

    write_file(side_car, text, (size_t)len);
}

static void test_known_side_car_is_read(void **state)
{
    static const uint8_t naa[16] = { 0x64, 0xe5, 0x35, 0x40, 0,    0,    0,    0,
                                     0,    0,    0,    0,    0xde, 0xad, 0xbe, 0xef };
    struct identity identity;

    (void)state;
    write_with_checksum(known);
    load(&no_wish, &identity);
    assert_false(identity.is_new);
    assert_string_equal(identity.serial, "0123456789abcdef");
    assert_memory_equal(identity.naa, naa, sizeof(naa));
    assert_false(identity.vaai);
    assert_int_equal(identity.physical_block_bytes, 4096);
    assert_string_equal(identity.created, "2026-01-02T03:04:05Z");
}

static int load_damaged(void)
{
    struct identity identity;

    return identity_load(image, &no_wish, &identity, error);
}

static void test_any_changed_byte_is_found(void **state)
{
    char text[4096], damaged[4096];
    struct identity identity;
    size_t len;

    (void)state;
    load(&no_wish, &identity);
    len = read_file(side_car, text, sizeof(text));
    for (size_t i = 0; i < len; i++) {
        memcpy(damaged, text, len);
        damaged[i] ^= 0x01;
        write_file(side_car, damaged, len);
        assert_int_equal(load_damaged(), -EBADMSG);
        assert_non_null(strstr(error, side_car + strlen(folder)));
        assert_non_null(strstr(error, "restore it from a backup"));
    }
    write_file(side_car, text, len);
    assert_int_equal(load_damaged(), 0);
}

static void test_cut_side_car_is_found_at_every_length(void **state)
{
    char text[4096];
    struct identity identity;
    size_t len;

    (void)state;
    load(&no_wish, &identity);
    len = read_file(side_car, text, sizeof(text));
    for (size_t i = 0; i < len; i++) {
        write_file(side_car, text, i);
        assert_int_equal(load_damaged(), -EBADMSG);
    }
}

static void test_missing_line_is_named(void **state)
{
    (void)state;
    for (const char *line = known; *line != '\0'; line = strchr(line, '\n') + 1) {
        char body[4096], name[64];

        snprintf(body, sizeof(body), "%.*s%s", (int)(line - known), known, strchr(line, '\n') + 1);
        snprintf(name, sizeof(name), "%.*s is missing", (int)strcspn(line, " "), line);
        write_with_checksum(body);
        assert_int_equal(load_damaged(), -EBADMSG);
        assert_non_null(strstr(error, name));
    }
}

static void test_wrong_line_is_named_even_with_a_good_checksum(void **state)
{
    static const struct {
        const char *more, *text;
    } cases[] = {
        {"colour = \"blue\"\n",              "image.nestor:10: there is no key \"colour\""},
        { "serial = \"fedcba9876543210\"\n", "image.nestor:10: serial is there twice"     },
        { "serial: 5\n",                     "image.nestor:10: is not a line of the form" },
        { "\n",                              "image.nestor:10: is not a line of the form" },
        { "vendor = \"X\n",                  "image.nestor:10: is not a line of the form" },
        { "checksum = \"00000000\"\n",       "image.nestor:10: the checksum is wrong"     },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char body[4096];

        snprintf(body, sizeof(body), "%s%s", known, cases[i].more);
        write_with_checksum(body);
        assert_int_equal(load_damaged(), -EBADMSG);
        if (strstr(error, cases[i].text) == NULL)
            fail_msg("expected %s, got %s", cases[i].text, error);
    }
}

static void test_bad_value_is_named_even_with_a_good_checksum(void **state)
{
    static const char *const values[][2] = {
        {"serial",                "short"                            },
        { "serial",               "0123456789abcdef0123456789abcdef0"},
        { "serial",               " 123456789abcdef"                 },
        { "naa",                  "54e535400000000000000000deadbeef" },
        { "naa",                  "64E535400000000000000000DEADBEEF" },
        { "naa",                  "64e535400000000000000000deadbee"  },
        { "naa",                  "64e535400000000000000000deadbeeg" },
        { "vendor",               "NESTORISM"                        },
        { "product",              ""                                 },
        { "product",              "A product too long"               },
        { "revision",             "00001"                            },
        { "vaai",                 "yes"                              },
        { "block_bytes",          "520"                              },
        { "block_bytes",          "0512"                             },
        { "block_bytes",          "-1"                               },
        { "physical_block_bytes", "4294967808"                       }, /* 512 in its low 32 bits */
        { "created",              "yesterday"                        },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        char body[4096], key[64];
        const char *line, *end;

        snprintf(key, sizeof(key), "%s = ", values[i][0]);
        line = strstr(known, key);
        end = strchr(line, '\n') + 1;
        snprintf(body, sizeof(body), "%.*s%s\"%s\"\n%s", (int)(line - known), known, key,
                 values[i][1], end);
        write_with_checksum(body);
        if (load_damaged() != -EBADMSG)
            fail_msg("%s \"%s\" was taken", values[i][0], values[i][1]);
    }
}

static void test_wish_is_taken_when_the_identity_is_made(void **state)
{
    struct identity_wish wish = {
        .product = "LAB DISK",
        .vaai = 0,
        .block_bytes = 512,
        .physical_block_bytes = 4096,
    };
    struct identity identity, again;

    (void)state;
    load(&wish, &identity);
    assert_string_equal(identity.product, "LAB DISK");
    assert_false(identity.vaai);
    assert_int_equal(identity.physical_block_bytes, 4096);
    load(&wish, &again);
    assert_same(&identity, &again);
    load(&no_wish, &again); /* the config may forget it; the identity doesn't */
    assert_same(&identity, &again);
}

static void test_physical_blocks_are_those_of_the_lun_unless_wished(void **state)
{
    struct identity_wish wish = { .vaai = -1, .block_bytes = 4096 };
    struct identity identity;

    (void)state;
    load(&wish, &identity);
    assert_int_equal(identity.block_bytes, 4096);
    assert_int_equal(identity.physical_block_bytes, 4096);
}

static void test_lost_side_car_is_restored_from_the_wish(void **state)
{
    struct identity old, restored;
    struct identity_wish wish = no_wish;
    char naa[33];

    (void)state;
    load(&no_wish, &old);
    assert_int_equal(unlink(side_car), 0);
    identity_naa_text(&old, naa);
    for (char *c = naa; *c != '\0'; c++)
        *c = (char)toupper((unsigned char)*c); /* as some tool may show it */
    wish.serial = old.serial;
    wish.naa = naa;
    load(&wish, &restored);
    assert_true(restored.is_new);
    assert_string_equal(restored.serial, old.serial);
    assert_memory_equal(restored.naa, old.naa, IDENTITY_NAA_BYTES);
    load(&wish, &restored);
    assert_false(restored.is_new);
}

static void test_wish_against_what_hosts_have_seen_is_refused(void **state)
{
    const struct identity_wish wishes[] = {
        {.vaai = -1,                   .serial = "fedcba9876543210"             },
        { .vaai = -1,                  .naa = "60000000000000000000000000000001"},
        { .vaai = -1,                  .product = "OTHER"                       },
        { .vaai = 1                  },
        { .vaai = -1,         .block_bytes = 4096                                         },
        { .vaai = -1, .physical_block_bytes = 512},
    };
    static const char *const names[] = {
        "serial", "naa", "product", "vaai", "block_size", "physical_block_size",
    };
    struct identity identity;
    char text[4096], again[4096];

    (void)state;
    write_with_checksum(known);
    read_file(side_car, text, sizeof(text));
    for (size_t i = 0; i < sizeof(wishes) / sizeof(wishes[0]); i++) {
        int result = identity_load(image, &wishes[i], &identity, error);

        if (result != -EEXIST || strncmp(error, names[i], strlen(names[i])) != 0)
            fail_msg("%s: %d, %s", names[i], result, error);
    }
    read_file(side_car, again, sizeof(again));
    assert_string_equal(text, again);
}

static void test_wish_that_no_lun_can_have_makes_nothing(void **state)
{
    const struct identity_wish wishes[] = {
        {.vaai = -1,  .serial = "short"                        },
        { .vaai = -1, .serial = "0123456789abcde\""            },
        { .vaai = -1, .serial = "0123456789abcde\n"            },
        { .vaai = -1, .naa = "50000000000000000000000000000001"},
        { .vaai = -1, .naa = "6000"                            },
        { .vaai = -1, .product = "seventeen letters"           },
        { .vaai = -1, .block_bytes = 1024                      },
        { .vaai = -1, .block_bytes = 4096,                       .physical_block_bytes = 512 },
        { .vaai = -1,          .physical_block_bytes = 8192                                        },
    };
    struct identity identity;

    (void)state;
    for (size_t i = 0; i < sizeof(wishes) / sizeof(wishes[0]); i++) {
        assert_int_equal(identity_load(image, &wishes[i], &identity, error), -EINVAL);
        assert_int_not_equal(access(side_car, F_OK), 0);
    }
}

static void test_nothing_is_left_behind_when_it_cannot_be_made(void **state)
{
    struct identity identity;
    char missing[160];

    (void)state;
    snprintf(missing, sizeof(missing), "%s/none/image", folder);
    assert_int_equal(identity_load(missing, &no_wish, &identity, error), -ENOENT);
    assert_non_null(strstr(error, "none/image.nestor"));
}

static int by_start(const void *a, const void *b)
{
    return memcmp(a, b, 8);
}

/* ESX and SCST's users: some hosts look at no more than 8 characters. */
static void test_first_eight_characters_differ_over_a_thousand(void **state)
{
    enum { COUNT = 1000 };
    static char serials[COUNT][IDENTITY_SERIAL_MAX + 1];
    struct identity identity;

    (void)state;
    for (int i = 0; i < COUNT; i++) {
        load(&no_wish, &identity);
        memcpy(serials[i], identity.serial, sizeof(serials[i]));
        assert_int_equal(unlink(side_car), 0);
    }
    qsort(serials, COUNT, sizeof(serials[0]), by_start);
    for (int i = 1; i < COUNT; i++)
        assert_memory_not_equal(serials[i], serials[i - 1], 8);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_first_use_makes_an_identity_and_says_so),
        TEST(test_naa_is_registered_extended_and_locally_administered),
        TEST(test_identity_is_the_same_at_every_load),
        TEST(test_identity_moves_with_its_image),
        TEST(test_link_to_an_image_has_its_identity),
        TEST(test_side_car_reads_like_text),
        TEST(test_known_side_car_is_read),
        TEST(test_any_changed_byte_is_found),
        TEST(test_cut_side_car_is_found_at_every_length),
        TEST(test_missing_line_is_named),
        TEST(test_wrong_line_is_named_even_with_a_good_checksum),
        TEST(test_bad_value_is_named_even_with_a_good_checksum),
        TEST(test_wish_is_taken_when_the_identity_is_made),
        TEST(test_physical_blocks_are_those_of_the_lun_unless_wished),
        TEST(test_lost_side_car_is_restored_from_the_wish),
        TEST(test_wish_against_what_hosts_have_seen_is_refused),
        TEST(test_wish_that_no_lun_can_have_makes_nothing),
        TEST(test_nothing_is_left_behind_when_it_cannot_be_made),
        TEST(test_first_eight_characters_differ_over_a_thousand),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
