#include "target/scsi/persistent_file.h"

#include "proto/crc32c.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_MAX_BYTES = 64 * 1024, CHECKSUM_CHARS = 8 };

static const char first_line[] =
    "# Who has registered with this LUN and what is reserved (APTPL). nestord writes it; to free\n"
    "# the LUN use nestorctl reservation clear.\n";

static const char last_line[] = "checksum = \"";

static const struct {
    enum pr_type type;
    const char *name;
} types[] = {
    {PR_NONE,                          "none"                              },
    { PR_WRITE_EXCLUSIVE,              "write exclusive"                   },
    { PR_EXCLUSIVE_ACCESS,             "exclusive access"                  },
    { PR_WRITE_EXCLUSIVE_REGISTRANTS,  "write exclusive, registrants only" },
    { PR_EXCLUSIVE_ACCESS_REGISTRANTS, "exclusive access, registrants only"},
    { PR_WRITE_EXCLUSIVE_ALL,          "write exclusive, all registrants"  },
    { PR_EXCLUSIVE_ACCESS_ALL,         "exclusive access, all registrants" },
};
enum { TYPE_COUNT = sizeof(types) / sizeof(types[0]) };

const char *persistent_type_name(enum pr_type type)
{
    for (unsigned i = 0; i < TYPE_COUNT; i++)
        if (types[i].type == type)
            return types[i].name;
    return "unknown";
}

char *persistent_file_path(const char *state_dir, const struct identity *identity)
{
    char naa[33], *path;

    identity_naa_text(identity, naa);
    return asprintf(&path, "%s/pr/naa.%s", state_dir, naa) < 0 ? NULL : path;
}

static const char *unit_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

static void checksum_text(const char *text, size_t len, char checksum[CHECKSUM_CHARS + 1])
{
    uint8_t wire[4];

    crc32c_put(wire, crc32c_update(CRC32C_INIT, text, len));
    snprintf(checksum, CHECKSUM_CHARS + 1, "%02x%02x%02x%02x", wire[3], wire[2], wire[1], wire[0]);
}

/* ---- writing ---- */

/* For free(); NULL: no memory. */
static char *print(const char *path, const struct persistent *state, size_t *len)
{
    char checksum[CHECKSUM_CHARS + 1], *text = NULL;
    FILE *out = open_memstream(&text, len);

    if (!out)
        return NULL;
    fprintf(out, "%sunit = \"%s\"\nreservation = \"%s\"\n", first_line, unit_name(path),
            persistent_type_name(state->type));
    for (unsigned i = 0; i < state->count; i++) {
        const struct registrant *registrant = &state->registrants[i];

        fprintf(out, "%s = \"%016" PRIx64 " %u %s\"\n",
                registrant->is_holder ? "holder" : "registrant", registrant->key,
                registrant->relative_target_port, registrant->port);
    }
    if (fflush(out) == 0) {
        checksum_text(text, *len, checksum);
        fprintf(out, "%s%s\"\n", last_line, checksum);
    }
    bool is_whole = !ferror(out);
    if (fclose(out) != 0 || !is_whole) {
        free(text);
        return NULL;
    }
    return text;
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

/* state_dir/pr, made at its first use. A descriptor, or negative errno. */
static int open_folder(const char *path)
{
    char folder[PATH_MAX], parent[PATH_MAX];
    int fd, result = 0;

    if (snprintf(folder, sizeof(folder), "%s", path) >= (int)sizeof(folder))
        return -ENAMETOOLONG;
    *strrchr(folder, '/') = '\0';
    fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0 || errno != ENOENT)
        return fd >= 0 ? fd : -errno;
    if (mkdir(folder, 0700) != 0 && errno != EEXIST)
        return -errno;
    strcpy(parent, folder);
    fd = open(dirname(parent), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) != 0)
        result = -errno;
    if (fd >= 0)
        close(fd);
    if (result != 0)
        return result;
    fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd >= 0 ? fd : -errno;
}

static int replace(int folder, const char *name, const char *text, size_t len)
{
    char temporary[NAME_MAX];
    int fd, result;

    snprintf(temporary, sizeof(temporary), "%s.new", name);
    unlinkat(folder, temporary, 0); /* of a daemon that was killed; ours alone, in our folder */
    fd = openat(folder, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    result = write_all(fd, text, len);
    if (result == 0 && fsync(fd) != 0)
        result = -errno;
    if (close(fd) != 0 && result == 0)
        result = -errno;
    if (result == 0 && renameat(folder, temporary, folder, name) != 0)
        result = -errno;
    if (result != 0)
        unlinkat(folder, temporary, 0);
    return result;
}

int persistent_file_write(const char *path, const struct persistent *state)
{
    size_t len = 0;
    char *text = NULL;
    int folder, result = 0;

    if (state && state->is_kept && !(text = print(path, state, &len)))
        return -ENOMEM;
    folder = open_folder(path);
    if (folder < 0)
        result = folder;
    else if (text)
        result = replace(folder, unit_name(path), text, len);
    else if (unlinkat(folder, unit_name(path), 0) != 0 && errno != ENOENT)
        result = -errno;
    if (result == 0 && fsync(folder) != 0)
        result = -errno;
    if (folder >= 0)
        close(folder);
    free(text);
    return result;
}

/* ---- reading ---- */

#define REMEDY                                                                                     \
    "restore it from a backup, or remove it: then nobody is registered, and the hosts that "       \
    "share this LUN must register again before they use it"

static int refuse(char error[PERSISTENT_FILE_ERROR_MAX], int number, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static int refuse(char error[PERSISTENT_FILE_ERROR_MAX], int number, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(error, PERSISTENT_FILE_ERROR_MAX, format, args);
    va_end(args);
    return number;
}

/* The whole file, terminated; -EFBIG for more than any could have. */
static int get(const char *path, char **out, size_t *len)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    char *text;
    ssize_t n = 1;

    if (fd < 0)
        return -errno;
    text = malloc(FILE_MAX_BYTES + 1);
    *len = 0;
    while (text && n != 0 && *len < FILE_MAX_BYTES) {
        n = read(fd, text + *len, FILE_MAX_BYTES - *len);
        if (n < 0 && errno != EINTR)
            break;
        if (n > 0)
            *len += (size_t)n;
    }
    n = !text ? -ENOMEM : n < 0 ? -errno : *len == FILE_MAX_BYTES ? -EFBIG : 0;
    close(fd);
    if (n < 0) {
        free(text);
        return (int)n;
    }
    text[*len] = '\0';
    *out = text;
    return 0;
}

/* The last line is the checksum of all before it, which are all that is looked at. */
static bool is_whole(const char *text, size_t *len)
{
    const size_t tail = sizeof(last_line) - 1 + CHECKSUM_CHARS + 2;
    char checksum[CHECKSUM_CHARS + 1], expected[sizeof(last_line) + CHECKSUM_CHARS + 2];

    if (*len < tail || strlen(text) != *len)
        return false;
    *len -= tail;
    checksum_text(text, *len, checksum);
    snprintf(expected, sizeof(expected), "%s%s\"\n", last_line, checksum);
    return strcmp(text + *len, expected) == 0;
}

static bool read_type(const char *value, enum pr_type *type)
{
    for (unsigned i = 0; i < TYPE_COUNT; i++) {
        if (strcmp(types[i].name, value) == 0) {
            *type = types[i].type;
            return true;
        }
    }
    return false;
}

/* "0123456789abcdef 1 iqn.1998-01.com.vmware:esx1,i,0x00023d000001", just as it is printed. */
static bool read_registrant(struct persistent *state, const char *value, bool is_holder)
{
    struct registrant registrant = { .is_holder = is_holder };
    char again[INITIATOR_PORT_MAX + 32];
    unsigned port;
    int at = 0;

    if (state->count == PERSISTENT_REGISTRANTS_MAX ||
        sscanf(value, "%16" SCNx64 " %5u %n", &registrant.key, &port, &at) != 2 || at == 0 ||
        port > UINT16_MAX || registrant.key == 0 || strlen(value + at) > INITIATOR_PORT_MAX)
        return false;
    registrant.relative_target_port = (uint16_t)port;
    strcpy(registrant.port, value + at);
    snprintf(again, sizeof(again), "%016" PRIx64 " %u %s", registrant.key, port, registrant.port);
    if (strcmp(again, value) != 0 || registrant.port[0] == '\0' ||
        persistent_find(state, registrant.port, registrant.relative_target_port))
        return false;
    state->registrants[state->count++] = registrant;
    return true;
}

/* One holder for the types that have one, none for the others. */
static bool holders_fit(const struct persistent *state)
{
    unsigned holders = 0, expected = state->type != PR_NONE && !pr_type_is_all(state->type);

    for (unsigned i = 0; i < state->count; i++)
        holders += state->registrants[i].is_holder;
    return holders == expected && (state->type == PR_NONE || state->count > 0);
}

/* `name = "value"`, cut in place. */
static bool read_line(const char *path, char *line, struct persistent *state, bool *has_type)
{
    char *value = strstr(line, " = \"");
    size_t len = strlen(line);

    if (!value || value + 4 > line + len - 1 || line[len - 1] != '"')
        return false;
    line[len - 1] = '\0';
    *value = '\0';
    value += 4;
    if (strcmp(line, "unit") == 0)
        return strcmp(value, unit_name(path)) == 0;
    if (strcmp(line, "reservation") == 0) {
        *has_type = true;
        return read_type(value, &state->type);
    }
    if (strcmp(line, "holder") == 0 || strcmp(line, "registrant") == 0)
        return read_registrant(state, value, line[0] == 'h');
    return false;
}

static int parse(const char *path, char *text, size_t len, struct persistent *state,
                 char error[PERSISTENT_FILE_ERROR_MAX])
{
    bool has_type = false;
    unsigned number = 0;

    if (!is_whole(text, &len))
        return refuse(error, -EBADMSG,
                      "%s: its checksum is wrong, so it was changed or damaged; " REMEDY, path);
    text[len] = '\0';
    for (char *line = text, *end; *line; line = end + 1) {
        number++;
        end = strchr(line, '\n');
        if (!end)
            return refuse(error, -EBADMSG, "%s:%u: the line has no end; " REMEDY, path, number);
        *end = '\0';
        if (line[0] != '#' && !read_line(path, line, state, &has_type))
            return refuse(error, -EBADMSG, "%s:%u: \"%.60s\" is not a line of this unit's; " REMEDY,
                          path, number, line);
    }
    if (!has_type || !holders_fit(state))
        return refuse(error, -EBADMSG, "%s: reservation and holder do not fit; " REMEDY, path);
    state->is_kept = true;
    return 0;
}

int persistent_file_read(const char *path, struct persistent **out,
                         char error[PERSISTENT_FILE_ERROR_MAX])
{
    struct persistent *state;
    size_t len = 0;
    char *text = NULL;
    int result = get(path, &text, &len);

    *out = NULL;
    if (result == -ENOENT)
        return 0;
    if (result == -EFBIG)
        return refuse(error, -EBADMSG, "%s: is larger than it could be; " REMEDY, path);
    if (result != 0)
        return refuse(error, result, "%s: cannot be read: %s", path, strerror(-result));
    state = persistent_copy(NULL, PERSISTENT_REGISTRANTS_MAX);
    result = state ? parse(path, text, len, state, error)
                   : refuse(error, -ENOMEM, "%s: no memory to read it", path);
    free(text);
    if (result == 0)
        *out = state;
    else
        free(state);
    return result;
}
