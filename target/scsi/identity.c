#include "target/scsi/identity.h"

#include "proto/crc32c.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

enum {
    SIDE_CAR_MAX_BYTES = 4096,
    SERIAL_MIN = 16,
    NAA_DIGITS = 2 * IDENTITY_NAA_BYTES,
    VALUE_MAX = 64,
};

#define RESTORE                                                                                    \
    "restore it from a backup, or remove it and set serial and naa of this LUN to the old values"

static const char first_line[] = "# What makes this LUN the same one to every host. It belongs "
                                 "beside its image; copy it along.\n";

enum kind {
    KIND_TEXT,
    KIND_NAA,
    KIND_BOOL,
    KIND_NUMBER,
};

/* The lines of a side-car, in their order, and the config's name of what it may wish. */
static const struct key {
    const char *name, *config_name;
    enum kind kind;
    size_t offset, wish_offset;  /* in struct identity and struct identity_wish */
    size_t min_chars, max_chars; /* KIND_TEXT */
} keys[] = {
  /* clang-format off */
#define AT(member)   offsetof(struct identity, member), 0
#define BOTH(member) offsetof(struct identity, member), offsetof(struct identity_wish, member)
    { "serial",      "serial",     KIND_TEXT,   BOTH(serial),      SERIAL_MIN, IDENTITY_SERIAL_MAX },
    { "naa",         "naa",        KIND_NAA,    BOTH(naa),         0,          0 },
    { "vendor",      NULL,         KIND_TEXT,   AT(vendor),        1,          IDENTITY_VENDOR_MAX },
    { "product",     "product",    KIND_TEXT,   BOTH(product),     1,          IDENTITY_PRODUCT_MAX },
    { "revision",    NULL,         KIND_TEXT,   AT(revision),      1,          IDENTITY_REVISION_MAX },
    { "vaai",        "vaai",       KIND_BOOL,   BOTH(vaai),        0,          0 },
    { "block_bytes", "block_size", KIND_NUMBER, BOTH(block_bytes), 0,          0 },
    { "physical_block_bytes", "physical_block_size",
                                   KIND_NUMBER, BOTH(physical_block_bytes), 0, 0 },
    { "created",     NULL,         KIND_TEXT,   AT(created),       20,         20 },
#undef BOTH
#undef AT
  /* clang-format on */
};
enum { KEY_COUNT = sizeof(keys) / sizeof(keys[0]) };

static int refuse(char error[IDENTITY_ERROR_MAX], int number, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static int refuse(char error[IDENTITY_ERROR_MAX], int number, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(error, IDENTITY_ERROR_MAX, format, args);
    va_end(args);
    return number;
}

void identity_naa_text(const struct identity *identity, char text[33])
{
    for (int i = 0; i < IDENTITY_NAA_BYTES; i++)
        snprintf(text + 2 * i, 3, "%02x", identity->naa[i]);
}

/* SPC-4 4.3.1: ASCII data fields hold 20h to 7Eh. A quote would end the value in the side-car. */
static bool is_field_text(const char *text, size_t min, size_t max)
{
    size_t len = strlen(text);

    if (len < min || len > max || text[0] == ' ' || (len > 0 && text[len - 1] == ' '))
        return false;
    for (size_t i = 0; i < len; i++)
        if (text[i] < 0x20 || text[i] > 0x7e || text[i] == '"')
            return false;
    return true;
}

/* SPC-4 7.8.6.6.5: NAA 6h, then 24 bits of company id, 36 and 64 bits of the vendor's own. */
static bool naa_read(const char *text, uint8_t naa[IDENTITY_NAA_BYTES])
{
    if (strlen(text) != NAA_DIGITS || text[0] != '6')
        return false;
    for (int i = 0; i < NAA_DIGITS; i++) {
        static const char digits[] = "0123456789abcdef";
        const char *digit = strchr(digits, text[i]);

        if (digit == NULL)
            return false;
        naa[i / 2] = (uint8_t)(naa[i / 2] << 4 | (digit - digits));
    }
    return true;
}

static bool blocks_are_valid(uint32_t block_bytes, uint32_t physical_block_bytes)
{
    return (block_bytes == 512 || block_bytes == 4096) &&
           (physical_block_bytes == block_bytes || physical_block_bytes == 4096);
}

static void value_write(const struct identity *identity, const struct key *key,
                        char value[VALUE_MAX])
{
    const void *member = (const char *)identity + key->offset;

    switch (key->kind) {
    case KIND_TEXT: snprintf(value, VALUE_MAX, "%s", (const char *)member); break;
    case KIND_NAA: identity_naa_text(identity, value); break;
    case KIND_BOOL:
        snprintf(value, VALUE_MAX, "%s", *(const bool *)member ? "true" : "false");
        break;
    case KIND_NUMBER: snprintf(value, VALUE_MAX, "%u", *(const uint32_t *)member); break;
    }
}

static bool value_read(struct identity *identity, const struct key *key, const char *value)
{
    void *member = (char *)identity + key->offset;
    char again[VALUE_MAX];

    switch (key->kind) {
    case KIND_TEXT:
        if (!is_field_text(value, key->min_chars, key->max_chars))
            return false;
        memcpy(member, value, strlen(value) + 1);
        return true;
    case KIND_NAA: return naa_read(value, member);
    case KIND_BOOL: *(bool *)member = strcmp(value, "true") == 0; break;
    case KIND_NUMBER: *(uint32_t *)member = (uint32_t)strtoul(value, NULL, 10); break;
    }
    value_write(identity, key, again);
    return strcmp(value, again) == 0;
}

static void checksum_text(uint32_t running, char text[9])
{
    uint8_t wire[4];

    crc32c_put(wire, running);
    snprintf(text, 9, "%02x%02x%02x%02x", wire[3], wire[2], wire[1], wire[0]);
}

static size_t side_car_write(const struct identity *identity, char text[SIDE_CAR_MAX_BYTES])
{
    size_t len = (size_t)snprintf(text, SIDE_CAR_MAX_BYTES, "%s", first_line);
    char value[VALUE_MAX], checksum[9];

    for (int i = 0; i < KEY_COUNT; i++) {
        value_write(identity, &keys[i], value);
        len += (size_t)snprintf(text + len, SIDE_CAR_MAX_BYTES - len, "%s = \"%s\"\n", keys[i].name,
                                value);
    }
    checksum_text(crc32c_update(CRC32C_INIT, text, len), checksum);
    len += (size_t)snprintf(text + len, SIDE_CAR_MAX_BYTES - len, "checksum = \"%s\"\n", checksum);
    return len;
}

/* `name = "value"`, cut in place. False when the line is anything else. */
static bool line_split(char *line, char **name, char **value)
{
    char *equals = strstr(line, " = \"");
    size_t len = strlen(line);

    if (equals == NULL || equals + 4 > line + len - 1 || line[len - 1] != '"')
        return false;
    line[len - 1] = '\0';
    *equals = '\0';
    *name = line;
    *value = equals + 4;
    return true;
}

static const struct key *key_find(const char *name)
{
    for (int i = 0; i < KEY_COUNT; i++)
        if (strcmp(keys[i].name, name) == 0)
            return &keys[i];
    return NULL;
}

/*
 * Takes the text apart, line by line, and its checksum last, so that the error names the line that
 * is wrong where one can be named. Destroys the text.
 */
static int side_car_read(const char *path, char *text, size_t len, struct identity *identity,
                         char error[IDENTITY_ERROR_MAX])
{
    bool is_seen[KEY_COUNT] = { false }, is_whole = false;
    uint32_t running = CRC32C_INIT;
    unsigned number = 0;
    char checksum[9];

    if (len == 0 || text[len - 1] != '\n' || memchr(text, '\0', len) != NULL)
        return refuse(error, -EBADMSG, "%s: is cut off or not text; " RESTORE, path);
    memset(identity, 0, sizeof(*identity));
    for (char *line = text, *end; line < text + len; line = end + 1) {
        char *name, *value;
        const struct key *key;

        number++;
        end = memchr(line, '\n', (size_t)(text + len - line));
        if (is_whole)
            return refuse(error, -EBADMSG, "%s:%u: text after the checksum; " RESTORE, path,
                          number);
        checksum_text(running, checksum); /* of all lines before this one */
        running = crc32c_update(running, line, (size_t)(end + 1 - line));
        if (line[0] == '#')
            continue;
        *end = '\0';
        if (!line_split(line, &name, &value))
            return refuse(error, -EBADMSG,
                          "%s:%u: is not a line of the form key = \"value\"; " RESTORE, path,
                          number);
        if (strcmp(name, "checksum") == 0) {
            is_whole = true;
            if (strcmp(value, checksum) != 0)
                return refuse(error, -EBADMSG,
                              "%s:%u: the checksum is wrong, so a line above was changed or "
                              "damaged; " RESTORE,
                              path, number);
            continue;
        }
        key = key_find(name);
        if (key == NULL)
            return refuse(error, -EBADMSG, "%s:%u: there is no key \"%.32s\"; " RESTORE, path,
                          number, name);
        if (is_seen[key - keys])
            return refuse(error, -EBADMSG, "%s:%u: %s is there twice; " RESTORE, path, number,
                          key->name);
        is_seen[key - keys] = true;
        if (!value_read(identity, key, value))
            return refuse(error, -EBADMSG, "%s:%u: \"%.40s\" is not a value of %s; " RESTORE, path,
                          number, value, key->name);
    }
    for (int i = 0; i < KEY_COUNT; i++)
        if (!is_seen[i])
            return refuse(error, -EBADMSG, "%s: %s is missing; " RESTORE, path, keys[i].name);
    if (!is_whole)
        return refuse(error, -EBADMSG, "%s: the checksum is missing; " RESTORE, path);
    if (!blocks_are_valid(identity->block_bytes, identity->physical_block_bytes))
        return refuse(error, -EBADMSG, "%s: its block sizes are none that a LUN can have; " RESTORE,
                      path);
    return 0;
}

/* What the wish says about a key, as text; false when it says nothing. */
static bool wish_value(const struct identity_wish *wish, const struct key *key,
                       char value[VALUE_MAX])
{
    const void *member = (const char *)wish + key->wish_offset;
    const char *text;

    if (key->config_name == NULL)
        return false;
    switch (key->kind) {
    case KIND_TEXT:
    case KIND_NAA:
        text = *(const char *const *)member;
        if (text == NULL)
            return false;
        snprintf(value, VALUE_MAX, "%s", text);
        for (char *c = value; key->kind == KIND_NAA && *c != '\0'; c++)
            *c = (char)tolower((unsigned char)*c);
        return true;
    case KIND_BOOL:
        snprintf(value, VALUE_MAX, "%s", *(const int *)member > 0 ? "true" : "false");
        return *(const int *)member >= 0;
    case KIND_NUMBER:
        snprintf(value, VALUE_MAX, "%u", *(const uint32_t *)member);
        return *(const uint32_t *)member != 0;
    }
    return false;
}

/* -EINVAL for a value that no LUN can have, whatever is in the side-car. */
static int wish_check(const struct identity_wish *wish, char error[IDENTITY_ERROR_MAX])
{
    struct identity wished = { .block_bytes = 512 };
    char value[VALUE_MAX];

    for (int i = 0; i < KEY_COUNT; i++)
        if (wish_value(wish, &keys[i], value) && !value_read(&wished, &keys[i], value))
            return refuse(error, -EINVAL, "%s: \"%s\" is not one that a LUN can have",
                          keys[i].config_name, value);
    if (!blocks_are_valid(wished.block_bytes, wished.physical_block_bytes != 0
                                                  ? wished.physical_block_bytes
                                                  : wished.block_bytes))
        return refuse(error, -EINVAL,
                      "block_size %u and physical_block_size %u: blocks are 512 or 4096 bytes, and "
                      "physical ones are not smaller",
                      wished.block_bytes, wished.physical_block_bytes);
    return 0;
}

static int wish_compare(const struct identity_wish *wish, const struct identity *identity,
                        const char *path, char error[IDENTITY_ERROR_MAX])
{
    char wished[VALUE_MAX], written[VALUE_MAX];

    for (int i = 0; i < KEY_COUNT; i++) {
        if (!wish_value(wish, &keys[i], wished))
            continue;
        value_write(identity, &keys[i], written);
        if (strcmp(wished, written) != 0)
            return refuse(error, -EEXIST,
                          "%s is \"%s\" in the configuration, but hosts know this LUN with \"%s\" "
                          "(%s); take %s out of the configuration, or write what is known there",
                          keys[i].config_name, wished, written, path, keys[i].config_name);
    }
    return 0;
}

static int random_bytes(void *bytes, size_t len)
{
    ssize_t n;

    do
        n = getrandom(bytes, len, 0);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    return (size_t)n == len ? 0 : -EIO;
}

static int identity_make(const struct identity_wish *wish, struct identity *identity)
{
    /* no i, l, o and u: read aloud and typed again without a mistake; 32 of them, 5 bits each */
    static const char alphabet[] = "0123456789abcdefghjkmnpqrstvwxyz";
    /* 6h and the company id 4E-53-54h: the bit 02h of its first octet says locally administered */
    static const uint8_t naa_start[4] = { 0x64, 0xe5, 0x35, 0x40 };
    uint8_t random[SERIAL_MIN + IDENTITY_NAA_BYTES];
    time_t now = time(NULL);
    char value[VALUE_MAX];
    struct tm utc;
    int number = random_bytes(random, sizeof(random));

    if (number != 0)
        return number;
    *identity = (struct identity){
        .vendor = "NESTOR",
        .product = "VMFS LUN",
        .revision = "0001",
        .vaai = true,
        .block_bytes = 512,
        .is_new = true,
    };
    for (int i = 0; i < SERIAL_MIN; i++)
        identity->serial[i] = alphabet[random[i] % 32];
    memcpy(identity->naa, random + SERIAL_MIN, IDENTITY_NAA_BYTES);
    memcpy(identity->naa, naa_start, 3);
    identity->naa[3] = (uint8_t)(naa_start[3] | (identity->naa[3] & 0x0f));
    strftime(identity->created, sizeof(identity->created), "%Y-%m-%dT%H:%M:%SZ",
             gmtime_r(&now, &utc));

    for (int i = 0; i < KEY_COUNT; i++)
        if (wish_value(wish, &keys[i], value))
            value_read(identity, &keys[i], value);
    if (identity->physical_block_bytes == 0)
        identity->physical_block_bytes = identity->block_bytes;
    return 0;
}

static void folder_of(const char *path, char folder[PATH_MAX])
{
    char copy[PATH_MAX];

    snprintf(copy, sizeof(copy), "%s", path);
    snprintf(folder, PATH_MAX, "%s", dirname(copy));
}

static int write_all(int fd, const char *text, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, text, len);

        if (n < 0 && errno != EINTR)
            return -errno;
        if (n > 0) {
            text += n;
            len -= (size_t)n;
        }
    }
    return 0;
}

static int fsync_folder(const char *path)
{
    char folder[PATH_MAX];
    int fd, number;

    folder_of(path, folder);
    fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    number = fsync(fd) == 0 || errno == EINVAL ? 0 : -errno; /* EINVAL: folders know no sync here */
    close(fd);
    return number;
}

/* Under its name whole or not at all, and never over one that is there: -EEXIST. */
static int side_car_put(const char *path, const char *text, size_t len)
{
    char temporary[PATH_MAX];
    int fd, number;

    if (snprintf(temporary, sizeof(temporary), "%s.XXXXXX", path) >= (int)sizeof(temporary))
        return -ENAMETOOLONG;
    fd = mkostemp(temporary, O_CLOEXEC);
    if (fd < 0)
        return -errno;
    number = write_all(fd, text, len);
    if (number == 0 && (fchmod(fd, 0644) != 0 || fsync(fd) != 0))
        number = -errno;
    close(fd);
    /* NFS has no RENAME_NOREPLACE, and some others no links */
    if (number == 0 && renameat2(AT_FDCWD, temporary, AT_FDCWD, path, RENAME_NOREPLACE) == 0)
        return fsync_folder(path);
    if (number == 0)
        number = link(temporary, path) == 0 ? fsync_folder(path) : -errno;
    unlink(temporary);
    return number;
}

static int side_car_get(const char *path, char text[SIDE_CAR_MAX_BYTES], size_t *len)
{
    int fd =
        open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* whatever is there, never wait for it */
    ssize_t n = 1;

    if (fd < 0)
        return -errno;
    *len = 0;
    while (n != 0 && *len < SIDE_CAR_MAX_BYTES) {
        n = read(fd, text + *len, SIDE_CAR_MAX_BYTES - *len);
        if (n < 0 && errno != EINTR)
            break;
        if (n > 0)
            *len += (size_t)n;
    }
    n = n < 0 ? -errno : 0;
    close(fd);
    return (int)n;
}

static int side_car_path(const char *image_path, const struct identity_wish *wish,
                         char path[PATH_MAX], char error[IDENTITY_ERROR_MAX])
{
    char resolved[PATH_MAX], folder[PATH_MAX];
    const char *image = image_path;
    struct statfs fs;
    struct stat st;

    if (stat(image_path, &st) == 0 && S_ISBLK(st.st_mode)) {
        folder_of(image_path, folder);
        /* /dev has the same magic; what is written there is gone with the next restart */
        if (statfs(folder, &fs) == 0 && fs.f_type == TMPFS_MAGIC &&
            (wish->serial == NULL || wish->naa == NULL))
            return refuse(
                error, -EINVAL,
                "%s: nothing stays in %s over a restart, so its identity couldn't; set path "
                "to a link in a folder on disk (ln -s %s /srv/nestor/), or set serial and naa",
                image_path, folder, image_path);
    } else if (realpath(image_path, resolved) != NULL) {
        image = resolved;
    } else if (errno != ENOENT) {
        return refuse(error, -errno, "%s: %s", image_path, strerror(errno));
    }
    if (strlen(image) + sizeof(".nestor") > PATH_MAX)
        return refuse(error, -ENAMETOOLONG, "%s: the path is too long", image_path);
    strcat(strcpy(path, image), ".nestor");
    return 0;
}

int identity_load(const char *image_path, const struct identity_wish *wish,
                  struct identity *identity, char error[IDENTITY_ERROR_MAX])
{
    char path[PATH_MAX], text[SIDE_CAR_MAX_BYTES];
    size_t len;
    int number = wish_check(wish, error);

    if (number == 0)
        number = side_car_path(image_path, wish, path, error);
    if (number != 0)
        return number;

    number = side_car_get(path, text, &len);
    if (number == -ENOENT) {
        number = identity_make(wish, identity);
        if (number == 0)
            number = side_car_put(path, text, side_car_write(identity, text));
        if (number == 0)
            return 0;
        if (number != -EEXIST)
            return refuse(error, number,
                          "%s: cannot be made: %s; let the user that nestord runs as write there",
                          path, strerror(-number));
        number = side_car_get(path, text, &len); /* somebody else has just made it */
    }
    if (number != 0)
        return refuse(error, number, "%s: cannot be read: %s", path, strerror(-number));
    number = side_car_read(path, text, len, identity, error);
    return number != 0 ? number : wish_compare(wish, identity, path, error);
}
