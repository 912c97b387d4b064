#include "target/scsi/journal.h"

#include "proto/crc32c.h"
#include "proto/cursor.h"
#include "target/worker/log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * The file begins with a page that says whose journal it is; the slots follow, each a page and the
 * bytes to be written. A page of zeros is a file that was not made to its end, or a free slot.
 */
static const uint8_t file_magic[8] = "NESTORJ1";
static const uint8_t slot_magic[8] = "NESTORS1";

enum {
    /* the file's page */
    FILE_NAA_AT = 8,
    FILE_CRC_AT = FILE_NAA_AT + IDENTITY_NAA_BYTES,
    FILE_USED_BYTES = FILE_CRC_AT + 4,
    /* a slot's page */
    SLOT_BOOT_AT = 8, /* zeros: counts in whatever boot */
    SLOT_LENGTH_AT = SLOT_BOOT_AT + JOURNAL_BOOT_BYTES,
    SLOT_OFFSET_AT = SLOT_LENGTH_AT + 4,
    SLOT_CRC_AT = SLOT_OFFSET_AT + 8, /* of all before it, and of the bytes to be written */
    SLOT_USED_BYTES = SLOT_CRC_AT + 4,
};

#define MOVE_IT "; if the image was copied or put back from elsewhere, move the journal away"

static int refuse(char error[JOURNAL_ERROR_MAX], int number, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static int refuse(char error[JOURNAL_ERROR_MAX], int number, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(error, JOURNAL_ERROR_MAX, format, args);
    va_end(args);
    return number;
}

int journal_path(const struct backing *image, char path[PATH_MAX])
{
    static const char suffix[] = ".nestor-journal";
    char resolved[PATH_MAX];
    const char *beside = backing_path(image);
    struct stat st;

    if (stat(beside, &st) != 0)
        return -errno;
    if (!S_ISBLK(st.st_mode)) {
        if (!realpath(beside, resolved))
            return -errno;
        beside = resolved;
    }
    if (strlen(beside) + sizeof suffix > PATH_MAX)
        return -ENAMETOOLONG;
    strcat(strcpy(path, beside), suffix);
    return 0;
}

/* ---- reading and writing the file ---- */

static uint64_t slot_offset(unsigned slot)
{
    return JOURNAL_HEADER_BYTES + (uint64_t)slot * JOURNAL_SLOT_BYTES;
}

static int transfer(struct backing *file, enum io_op op, void *bytes, uint64_t len_bytes,
                    uint64_t offset_bytes, bool is_durable)
{
    struct io io = {
        .op = op,
        .is_durable = is_durable,
        .backing = file,
        .bytes = bytes,
        .len_bytes = len_bytes,
        .offset_bytes = offset_bytes,
    };

    backing_run(&io);
    return io.result;
}

static int flush(struct backing *file)
{
    return transfer(file, IO_FLUSH, NULL, 0, 0, false);
}

static int slot_free(struct backing *file, unsigned slot, bool is_durable)
{
    uint8_t zeros[SLOT_USED_BYTES] = { 0 };

    return transfer(file, IO_WRITE, zeros, sizeof zeros, slot_offset(slot), is_durable);
}

static void boot_read(struct journal *journal)
{
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return;
    journal->knows_boot =
        read(fd, journal->boot, sizeof journal->boot) == (ssize_t)sizeof journal->boot;
    close(fd);
}

enum ownership {
    JOURNAL_UNMADE, /* zeros: nothing was ever put in it */
    JOURNAL_OURS,
    JOURNAL_FOREIGN,
    JOURNAL_DAMAGED,
};

static bool is_zero(const uint8_t *bytes, size_t len)
{
    return bytes[0] == 0 && memcmp(bytes, bytes + 1, len - 1) == 0;
}

/* Whose it is, or a negative errno. */
static int owner_read(struct backing *file, const uint8_t naa[IDENTITY_NAA_BYTES])
{
    uint8_t page[FILE_USED_BYTES];
    int error = transfer(file, IO_READ, page, sizeof page, 0, false);

    if (error)
        return error;
    if (is_zero(page, sizeof page))
        return JOURNAL_UNMADE;
    if (memcmp(page, file_magic, sizeof file_magic) != 0 ||
        !crc32c_matches(page + FILE_CRC_AT, crc32c_update(CRC32C_INIT, page, FILE_CRC_AT)))
        return JOURNAL_DAMAGED;
    return memcmp(page + FILE_NAA_AT, naa, IDENTITY_NAA_BYTES) == 0 ? JOURNAL_OURS
                                                                    : JOURNAL_FOREIGN;
}

/* The slots first: once the file has an owner, whatever stands in them counts. */
static int owner_write(struct backing *file, const uint8_t naa[IDENTITY_NAA_BYTES])
{
    uint8_t page[FILE_USED_BYTES];
    int error = 0;

    memcpy(page, file_magic, sizeof file_magic);
    memcpy(page + FILE_NAA_AT, naa, IDENTITY_NAA_BYTES);
    crc32c_put(page + FILE_CRC_AT, crc32c_update(CRC32C_INIT, page, FILE_CRC_AT));
    for (unsigned slot = 0; slot < JOURNAL_SLOTS && error == 0; slot++)
        error = slot_free(file, slot, false);
    if (error == 0)
        error = flush(file);
    return error ? error : transfer(file, IO_WRITE, page, sizeof page, 0, true);
}

enum slot_state {
    SLOT_FREE,
    SLOT_TORN,
    SLOT_OF_ANOTHER_BOOT,
    SLOT_WHOLE,
};

/* What a slot asks to be written. */
struct intent {
    uint32_t len_bytes;
    uint64_t offset_bytes;
    uint8_t *bytes; /* room for LIMIT_ATOMIC_BYTES */
};

/* Its state, or a negative errno. */
static int slot_read(struct journal *journal, unsigned slot, struct intent *intent)
{
    uint8_t page[SLOT_USED_BYTES];
    const uint8_t *boot = page + SLOT_BOOT_AT;
    int error = transfer(journal->file, IO_READ, page, sizeof page, slot_offset(slot), false);

    if (error)
        return error;
    if (is_zero(page, sizeof page))
        return SLOT_FREE;
    intent->len_bytes = get_be32(page + SLOT_LENGTH_AT);
    intent->offset_bytes = get_be64(page + SLOT_OFFSET_AT);
    if (memcmp(page, slot_magic, sizeof slot_magic) != 0 || intent->len_bytes > LIMIT_ATOMIC_BYTES)
        return SLOT_TORN;
    error = transfer(journal->file, IO_READ, intent->bytes, intent->len_bytes,
                     slot_offset(slot) + JOURNAL_HEADER_BYTES, false);
    if (error)
        return error;
    if (!crc32c_matches(page + SLOT_CRC_AT,
                        crc32c_update(crc32c_update(CRC32C_INIT, page, SLOT_CRC_AT), intent->bytes,
                                      intent->len_bytes)))
        return SLOT_TORN;
    if (!is_zero(boot, JOURNAL_BOOT_BYTES) &&
        (!journal->knows_boot || memcmp(boot, journal->boot, JOURNAL_BOOT_BYTES) != 0))
        return SLOT_OF_ANOTHER_BOOT;
    return SLOT_WHOLE;
}

/* ---- writing ---- */

/*
 * The bytes first, then the page that makes them count: in the page cache they come in this order,
 * and the checksum tells when they have not reached a disk both.
 */
int journal_put(struct journal *journal, unsigned slot, const struct io *io)
{
    bool is_durable = io->is_durable || !journal->knows_boot;
    uint64_t offset_bytes = slot_offset(slot);
    uint8_t page[SLOT_USED_BYTES] = { 0 };
    uint32_t crc;
    int error;

    if (io->len_bytes > LIMIT_ATOMIC_BYTES)
        return -EINVAL;
    memcpy(page, slot_magic, sizeof slot_magic);
    if (!is_durable)
        memcpy(page + SLOT_BOOT_AT, journal->boot, JOURNAL_BOOT_BYTES);
    put_be32(page + SLOT_LENGTH_AT, (uint32_t)io->len_bytes);
    put_be64(page + SLOT_OFFSET_AT, io->offset_bytes);
    crc = crc32c_update(CRC32C_INIT, page, SLOT_CRC_AT);
    crc32c_put(page + SLOT_CRC_AT, crc32c_update(crc, io->bytes, io->len_bytes));

    error = transfer(journal->file, IO_WRITE, io->bytes, io->len_bytes,
                     offset_bytes + JOURNAL_HEADER_BYTES, false);
    if (error == 0)
        error = transfer(journal->file, IO_WRITE, page, sizeof page, offset_bytes, false);
    if (error == 0 && is_durable)
        error = flush(journal->file);
    return error;
}

/*
 * A slot that stays in use would undo, at the next start, whatever is written to its range from now
 * on. What has no name is not found then.
 */
static void journal_lose(struct journal *journal, int error)
{
    const char *path = backing_path(journal->file);

    if (atomic_exchange(&journal->is_lost, true))
        return;
    if (unlink(path) == 0)
        log_error("%s: cannot be written (%s) and is removed; writes that need it fail until "
                  "nestord is restarted",
                  path, strerror(-error));
    else
        log_error("%s: can neither be written (%s) nor removed (%s); remove it before nestord is "
                  "started again, or old data may come back",
                  path, strerror(-error), strerror(errno));
}

int journal_write(struct journal *journal, unsigned slot, struct io *io)
{
    bool is_durable = io->is_durable || !journal->knows_boot;
    int error, free_error;

    if (atomic_load(&journal->is_lost))
        return -EIO;
    io->is_durable = is_durable;
    error = journal_put(journal, slot, io);
    if (error == 0) {
        backing_run(io);
        error = io->result;
    }
    /* After an error too: it has been told, so the write must not come by itself later. */
    free_error = slot_free(journal->file, slot, is_durable);
    if (free_error)
        journal_lose(journal, free_error);
    return error;
}

/* ---- opening ---- */

/* 0 with *out NULL when there is no file to open and none is to be made. */
static int file_open(const char *path, bool is_readonly, bool is_made, struct backing **out,
                     char error[JOURNAL_ERROR_MAX])
{
    const struct backing_options options = {
        .path = path,
        .size_bytes = JOURNAL_BYTES,
        .is_readonly = is_readonly,
        .is_new_allowed = is_made,
    };
    struct backing_error reason;
    struct stat st;
    bool is_there = lstat(path, &st) == 0;
    int number;

    *out = NULL;
    if (is_there && !S_ISREG(st.st_mode))
        return refuse(error, -ENODEV, "%s: is no file; move it away", path);
    /* killed between making it and giving it its size: nothing was ever in it */
    if (is_there && st.st_size == 0 && (is_readonly || unlink(path) == 0))
        is_there = false;
    if (is_there && st.st_size < JOURNAL_BYTES)
        return refuse(error, -EBADMSG, "%s: is cut off" MOVE_IT, path);
    if (!is_there && !is_made)
        return 0;
    number = backing_open(&options, out, &reason);
    return number ? refuse(error, number, "%s", reason.text) : 0;
}

/* As who may read the image may read what is written to it. */
static int mode_copy(const struct backing *image, const char *path)
{
    struct stat st;

    return stat(backing_path(image), &st) == 0 && chmod(path, st.st_mode & 0666) == 0 ? 0 : -errno;
}

int journal_open(const struct backing *image, const uint8_t naa[IDENTITY_NAA_BYTES],
                 struct journal **out, char error[JOURNAL_ERROR_MAX])
{
    struct journal *journal = calloc(1, sizeof *journal);
    char path[PATH_MAX];
    int number;

    if (!journal)
        return refuse(error, -ENOMEM, "%s: no memory for its journal", backing_path(image));
    boot_read(journal);
    number = journal_path(image, path);
    if (number)
        refuse(error, number, "%s: its journal has no place: %s", backing_path(image),
               strerror(-number));
    else
        number = file_open(path, false, true, &journal->file, error);
    if (number == 0) {
        number = owner_read(journal->file, naa);
        /* A foreign one has nothing unfinished in it, or journal_replay() had refused the image. */
        if (number == JOURNAL_UNMADE || number == JOURNAL_FOREIGN) {
            number = mode_copy(image, path);
            if (number == 0)
                number = owner_write(journal->file, naa);
        } else if (number == JOURNAL_OURS) {
            number = 0;
        } else if (number == JOURNAL_DAMAGED) {
            number = -EBADMSG;
        }
        if (number)
            refuse(error, number, "%s: cannot be used: %s", path, strerror(-number));
    }
    if (number) {
        journal_close(journal);
        return number;
    }
    *out = journal;
    return 0;
}

void journal_close(struct journal *journal)
{
    if (!journal)
        return;
    backing_close(journal->file);
    free(journal);
}

/* ---- after a kill ---- */

static int intent_finish(struct backing *image, struct journal *journal, unsigned slot,
                         const struct intent *intent, char error[JOURNAL_ERROR_MAX])
{
    const char *path = backing_path(journal->file);
    uint64_t size_bytes = backing_size_bytes(image);
    int number;

    if (intent->offset_bytes > size_bytes || intent->len_bytes > size_bytes - intent->offset_bytes)
        return refuse(error, -EBADMSG, "%s: holds an unfinished write beyond the end of %s" MOVE_IT,
                      path, backing_path(image));
    /* On stable storage before the slot is freed, in whatever mode: replaying is rare, and whoever
     * is killed or loses power meanwhile does it again. */
    number =
        transfer(image, IO_WRITE, intent->bytes, intent->len_bytes, intent->offset_bytes, true);
    if (number == 0)
        number = slot_free(journal->file, slot, true);
    if (number)
        return refuse(error, number, "%s: what it holds cannot be written to %s: %s", path,
                      backing_path(image), strerror(-number));
    log_info("%s: finished a write of %" PRIu32 " bytes at %" PRIu64 " that was cut off",
             backing_path(image), intent->len_bytes, intent->offset_bytes);
    return 0;
}

static int slot_replay(struct backing *image, struct journal *journal, unsigned slot, bool is_ours,
                       struct intent *intent, char error[JOURNAL_ERROR_MAX])
{
    const char *path = backing_path(journal->file);
    int state = slot_read(journal, slot, intent);

    if (state < 0)
        return refuse(error, state, "%s: cannot be read: %s", path, strerror(-state));
    switch ((enum slot_state)state) {
    case SLOT_FREE: return 0;
    case SLOT_WHOLE:
        if (!is_ours)
            return refuse(error, -EEXIST, "%s: holds an unfinished write of another image" MOVE_IT,
                          path);
        if (!backing_is_readonly(image))
            return intent_finish(image, journal, slot, intent, error);
        log_warning("%s: has an unfinished write in %s, which is not done while the LUN is "
                    "readonly",
                    backing_path(image), path);
        return 0;
    case SLOT_TORN:
    case SLOT_OF_ANOTHER_BOOT: break;
    }
    if (backing_is_readonly(image) || !is_ours)
        return 0;
    state = slot_free(journal->file, slot, true);
    return state ? refuse(error, state, "%s: cannot be written: %s", path, strerror(-state)) : 0;
}

static int file_replay(struct backing *image, struct journal *journal,
                       const uint8_t naa[IDENTITY_NAA_BYTES], char error[JOURNAL_ERROR_MAX])
{
    const char *path = backing_path(journal->file);
    int owner = owner_read(journal->file, naa), number = 0;
    struct intent intent = { 0 };

    if (owner < 0)
        return refuse(error, owner, "%s: cannot be read: %s", path, strerror(-owner));
    if (owner == JOURNAL_UNMADE)
        return 0;
    if (owner == JOURNAL_DAMAGED)
        return refuse(error, -EBADMSG, "%s: is damaged, or no journal" MOVE_IT, path);
    intent.bytes = malloc(LIMIT_ATOMIC_BYTES);
    if (!intent.bytes)
        return refuse(error, -ENOMEM, "%s: no memory to read it", path);
    for (unsigned slot = 0; slot < JOURNAL_SLOTS && number == 0; slot++)
        number = slot_replay(image, journal, slot, owner == JOURNAL_OURS, &intent, error);
    free(intent.bytes);
    return number;
}

int journal_replay(struct backing *image, const uint8_t naa[IDENTITY_NAA_BYTES],
                   char error[JOURNAL_ERROR_MAX])
{
    struct journal journal = { 0 };
    char path[PATH_MAX];
    int number = journal_path(image, path);

    if (number)
        return refuse(error, number, "%s: its journal cannot be looked for: %s",
                      backing_path(image), strerror(-number));
    boot_read(&journal);
    number = file_open(path, backing_is_readonly(image), false, &journal.file, error);
    if (number || !journal.file)
        return number;
    number = file_replay(image, &journal, naa, error);
    backing_close(journal.file);
    return number;
}

/* ---- for a sanitize operation ---- */

static int slots_wipe(struct backing *file)
{
    uint8_t *zeros = calloc(1, LIMIT_ATOMIC_BYTES);
    int error = zeros ? 0 : -ENOMEM;

    for (unsigned slot = 0; slot < JOURNAL_SLOTS && error == 0; slot++)
        error = transfer(file, IO_WRITE, zeros, LIMIT_ATOMIC_BYTES,
                         slot_offset(slot) + JOURNAL_HEADER_BYTES, true);
    free(zeros);
    return error;
}

int journal_wipe(const struct backing *image, struct journal *journal)
{
    char path[PATH_MAX], error[JOURNAL_ERROR_MAX];
    struct backing *file;
    int number;

    if (journal)
        return slots_wipe(journal->file);
    number = journal_path(image, path);
    if (number == 0)
        number = file_open(path, false, false, &file, error);
    if (number || !file)
        return number;
    number = slots_wipe(file);
    backing_close(file);
    return number;
}
