#include "backing/file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <limits.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

enum {
    LOCK_RETRY_MS = 20,
    LOCK_PATIENCE_MS = 2000,
};

struct size_text {
    char text[64];
};

static int refuse(struct backing_error *error, int number, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static int refuse(struct backing_error *error, int number, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(error->text, sizeof(error->text), format, args);
    va_end(args);
    return number;
}

/* "2.0 GiB (2147483648 bytes)": two sizes that look the same rounded are still told apart. */
static struct size_text size_text(uint64_t bytes)
{
    static const char *const units[] = { "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
    struct size_text out;
    double value = (double)bytes / 1024;
    size_t unit = 0;

    for (; value >= 1024 && unit + 1 < sizeof(units) / sizeof(units[0]); unit++)
        value /= 1024;
    snprintf(out.text, sizeof(out.text), "%.1f %s (%" PRIu64 " bytes)", value, units[unit], bytes);
    return out;
}

static void folder_of(const char *path, char folder[PATH_MAX])
{
    char copy[PATH_MAX];

    snprintf(copy, sizeof(copy), "%s", path);
    snprintf(folder, PATH_MAX, "%s", dirname(copy)); /* which may change what it is given */
}

static int open_failed(const struct backing_options *options, int number,
                       struct backing_error *error)
{
    const char *path = options->path;
    char folder[PATH_MAX];
    struct stat st;

    folder_of(path, folder);
    if (number == -ENOENT && stat(folder, &st) != 0)
        return refuse(error, number, "%s: the folder %s is not there; make it first (mkdir -p %s)",
                      path, folder, folder);
    switch (number) {
    case -ENOENT:
        if (options->is_new_allowed && options->size_bytes == 0)
            return refuse(error, number,
                          "%s: there is no such image, and no size to make it with; set size",
                          path);
        return refuse(error, number, "%s: there is no such image; correct path, or make it first",
                      path);
    case -EEXIST:
        return refuse(error, -ENOENT, "%s: is a link to something that is not there", path);
    case -EACCES:
    case -EPERM:
        return refuse(
            error, number,
            "%s: permission denied; let the user that nestord runs as %s it (it is uid %u)", path,
            options->is_readonly ? "read" : "read and write", (unsigned)geteuid());
    case -EROFS:
        return refuse(error, number,
                      "%s: its file system is read-only here; remount it, set readonly = true, or "
                      "under systemd let the unit write there (ReadWritePaths=%s)",
                      path, folder);
    case -EISDIR:
        return refuse(error, -ENODEV, "%s: is a folder; an image is a file or a block device",
                      path);
    case -EBUSY:
        return refuse(error, number,
                      "%s: the device is mounted or in use by something else; unmount it first",
                      path);
    case -ENXIO:
        return refuse(error, -ENODEV, "%s: is not a file or a block device, or its device is gone",
                      path);
    default: return refuse(error, number, "%s: cannot be opened: %s", path, strerror(-number));
    }
}

/*
 * The whole file, by open file description: it ends with us, whatever else this process closes.
 * That of a nestord which was killed goes when the kernel has ended what its io_uring had under
 * way, and that may be a moment after the process is gone: a restart must not leave the LUN out for
 * it.
 */
static int lock(struct backing *backing, struct backing_error *error)
{
    struct flock lock = {
        .l_type = (short)(backing->is_readonly ? F_RDLCK : F_WRLCK),
        .l_whence = SEEK_SET,
    };
    const struct timespec pause = { .tv_nsec = LOCK_RETRY_MS * 1000000L };

    for (int i = 0; i < LOCK_PATIENCE_MS / LOCK_RETRY_MS; i++) {
        if (fcntl(backing->fd, F_OFD_SETLK, &lock) == 0)
            return 0;
        if (errno != EAGAIN && errno != EACCES)
            break;
        nanosleep(&pause, NULL);
    }
    if (errno == EAGAIN || errno == EACCES)
        return refuse(error, -EBUSY,
                      "%s: is in use: another LUN or another program (a second nestord, a virtual "
                      "machine) has it locked; stop that first",
                      backing->path);
    return refuse(
        error, -errno,
        "%s: cannot be locked (%s), and without a lock two hosts could destroy it; put it "
        "on a file system with locks",
        backing->path, strerror(errno));
}

static int fsync_folder(const char *path)
{
    char folder[PATH_MAX];
    int fd, error;

    folder_of(path, folder);
    fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    error = fsync(fd) == 0 || errno == EINVAL ? 0 : -errno; /* EINVAL: folders know no sync here */
    close(fd);
    return error;
}

static struct backing_place place_of(const struct stat *st)
{
    bool is_block_device = S_ISBLK(st->st_mode);

    return (struct backing_place){
        .is_block_device = is_block_device,
        .device = is_block_device ? st->st_rdev : st->st_dev,
        .inode = is_block_device ? 0 : st->st_ino,
    };
}

/* Leaves no half-made image behind. */
static int make_new(const struct backing_options *options, struct backing *backing,
                    struct backing_error *error)
{
    int number;

    backing->fd = open(options->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
    if (backing->fd < 0)
        return open_failed(options, -errno, error);
    number = lock(backing, error);
    if (number != 0)
        goto out;
    if (options->size_bytes > INT64_MAX ||
        ftruncate(backing->fd, (off_t)options->size_bytes) != 0) {
        number = options->size_bytes > INT64_MAX ? -EFBIG : -errno;
        refuse(error, number, "%s: cannot be made %s long: %s", options->path,
               size_text(options->size_bytes).text, strerror(-number));
        goto out;
    }
    number = fsync(backing->fd) == 0 ? fsync_folder(options->path) : -errno;
    if (number == 0)
        return 0;
    refuse(error, number, "%s: cannot be kept on disk: %s", options->path, strerror(-number));
out:
    unlink(options->path);
    return number;
}

/*
 * The first look is by path, since opening has effects on some things (a tape rewinds, a pipe
 * waits); what was opened is looked at again.
 */
static int open_existing(const struct backing_options *options, const struct stat *st,
                         struct backing *backing, struct backing_error *error)
{
    int flags = (options->is_readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NOCTTY;

    if (S_ISDIR(st->st_mode))
        return open_failed(options, -EISDIR, error);
    if (!S_ISREG(st->st_mode) && !S_ISBLK(st->st_mode))
        return open_failed(options, -ENXIO, error);
    if (S_ISBLK(st->st_mode) && !options->is_readonly)
        flags |= O_EXCL; /* open(2): refused while the device is mounted */
    backing->fd = open(options->path, flags);
    if (backing->fd < 0)
        return open_failed(options, -errno, error);
    return lock(backing, error);
}

/* What the file or device holds now. */
static int real_size(const struct backing *backing, uint64_t *size_bytes)
{
    struct stat st;

    if (backing->place.is_block_device)
        return ioctl(backing->fd, BLKGETSIZE64, size_bytes) == 0 ? 0 : -errno;
    if (fstat(backing->fd, &st) != 0)
        return -errno;
    *size_bytes = (uint64_t)st.st_size;
    return 0;
}

/* Nobody asks when an image was last read, and each read would look whether to write it down. Only
 * the image's owner may say so; for others it is as the mount has it. */
static void keep_access_time(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    if (flags >= 0)
        fcntl(fd, F_SETFL, flags | O_NOATIME);
}

static int learn(const struct backing_options *options, struct backing *backing,
                 struct backing_error *error)
{
    uint64_t size_bytes = 0;
    bool tells_holes = false;
    struct statfs fs;
    struct stat st;
    int number = fstat(backing->fd, &st) == 0 ? 0 : -errno;

    if (number == 0 && !S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
        return open_failed(options, -ENXIO, error);
    if (number == 0) {
        backing->place = place_of(&st);
        keep_access_time(backing->fd);
        backing->tells_residency =
            st.st_uid == geteuid() || faccessat(AT_FDCWD, options->path, W_OK, AT_EACCESS) == 0;
        if (!backing->place.is_block_device && fstatfs(backing->fd, &fs) == 0) {
            backing->is_memory = fs.f_type == TMPFS_MAGIC;
            backing->file_system_block_bytes = (uint32_t)fs.f_bsize;
            tells_holes = fs.f_type == EXT4_SUPER_MAGIC || fs.f_type == XFS_SUPER_MAGIC;
        }
        number = real_size(backing, &size_bytes);
    }
    if (number != 0)
        return refuse(error, number, "%s: its size cannot be read: %s", options->path,
                      strerror(-number));
    if (size_bytes == 0)
        return refuse(error, options->size_bytes == 0 ? -EINVAL : -EFBIG,
                      "%s: is empty; give it a size first (truncate -s SIZE %s)", options->path,
                      options->path);
    if (size_bytes < options->size_bytes)
        return refuse(error, -EFBIG,
                      "%s: is %s, the configuration says %s; grow it with: truncate -s %" PRIu64
                      " %s, or correct size",
                      options->path, size_text(size_bytes).text,
                      size_text(options->size_bytes).text, options->size_bytes, options->path);
    backing->size_bytes = options->size_bytes != 0 ? options->size_bytes : size_bytes;
    if (tells_holes)
        holes_open(&backing->holes, backing->size_bytes);
    return 0;
}

int backing_open(const struct backing_options *options, struct backing **out,
                 struct backing_error *error)
{
    struct backing *backing = calloc(1, sizeof(*backing));
    bool is_new = false;
    struct stat st;
    int number;

    if (backing == NULL || (backing->path = strdup(options->path)) == NULL) {
        free(backing);
        return refuse(error, -ENOMEM, "%s: no memory to open it", options->path);
    }
    lane_open(&backing->lane);
    backing->fd = -1;
    backing->is_readonly = options->is_readonly;
    if (stat(options->path, &st) == 0) {
        number = open_existing(options, &st, backing, error);
    } else if (errno == ENOENT && options->is_new_allowed && !options->is_readonly &&
               options->size_bytes != 0) {
        is_new = true;
        number = make_new(options, backing, error);
    } else {
        number = open_failed(options, -errno, error);
    }
    if (number == 0) {
        number = learn(options, backing, error);
        if (number != 0 && is_new)
            unlink(options->path);
    }
    if (number != 0) {
        backing_close(backing);
        return number;
    }
    *out = backing;
    return 0;
}

void backing_close(struct backing *backing)
{
    if (backing == NULL)
        return;
    outlines_free(backing->outline); /* each holds the file open, and the lock with it */
    if (backing->fd >= 0)
        close(backing->fd); /* gives up the lock too */
    lane_close(&backing->lane);
    holes_close(&backing->holes);
    free(backing->path);
    free(backing);
}

uint64_t backing_size_bytes(const struct backing *backing)
{
    return atomic_load_explicit(&backing->size_bytes, memory_order_acquire);
}

const char *backing_path(const struct backing *backing)
{
    return backing->path;
}

bool backing_is_readonly(const struct backing *backing)
{
    return backing->is_readonly;
}

int backing_place(const char *path, struct backing_place *place)
{
    struct stat st;

    if (stat(path, &st) != 0)
        return -errno;
    *place = place_of(&st);
    return 0;
}

bool backing_is_at(const struct backing *backing, const struct backing_place *place)
{
    return backing->place.is_block_device == place->is_block_device &&
           backing->place.device == place->device && backing->place.inode == place->inode;
}

int backing_usage(const struct backing *backing, struct backing_usage *usage)
{
    struct statvfs fs;
    struct stat st;

    if (backing->place.is_block_device) {
        usage->allocated_bytes = backing_size_bytes(backing);
        usage->free_bytes = UINT64_MAX;
        return 0;
    }
    if (fstat(backing->fd, &st) != 0 || fstatvfs(backing->fd, &fs) != 0)
        return -errno;
    usage->allocated_bytes =
        (uint64_t)st.st_blocks * 512; /* stat(2): its unit, whatever the disk's */
    usage->free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
    return 0;
}

int backing_grow(struct backing *backing, uint64_t size_bytes, struct backing_error *error)
{
    uint64_t real_bytes;
    int number = real_size(backing, &real_bytes);

    if (size_bytes < backing_size_bytes(backing))
        return refuse(error, -EINVAL, "%s: serves %s already; it can grow, but not shrink to %s",
                      backing->path, size_text(backing_size_bytes(backing)).text,
                      size_text(size_bytes).text);
    if (size_bytes > INT64_MAX)
        return refuse(error, -EFBIG, "%s: no file can be %s long", backing->path,
                      size_text(size_bytes).text);
    if (number == 0 && real_bytes < size_bytes) {
        if (backing->place.is_block_device)
            return refuse(error, -EFBIG, "%s: the device is only %s; grow it first (to %s)",
                          backing->path, size_text(real_bytes).text, size_text(size_bytes).text);
        if (backing->is_readonly)
            return refuse(error, -EROFS,
                          "%s: is only %s and served read-only; grow it first with: "
                          "truncate -s %" PRIu64 " %s",
                          backing->path, size_text(real_bytes).text, size_bytes, backing->path);
        /* on disk before anybody may rely on it */
        number =
            ftruncate(backing->fd, (off_t)size_bytes) == 0 && fsync(backing->fd) == 0 ? 0 : -errno;
    }
    if (number != 0)
        return refuse(error, number, "%s: cannot be grown to %s: %s", backing->path,
                      size_text(size_bytes).text, strerror(-number));
    atomic_store_explicit(&backing->size_bytes, size_bytes, memory_order_release);
    return 0;
}

static bool iov_is_inside(const struct backing *backing, const struct iovec *iov, int iov_count,
                          uint64_t offset_bytes, uint64_t *total_bytes)
{
    uint64_t size_bytes = backing_size_bytes(backing), total = 0;

    if (offset_bytes > size_bytes)
        return false;
    for (int i = 0; i < iov_count; i++) {
        if (iov[i].iov_len > size_bytes - offset_bytes - total)
            return false;
        total += iov[i].iov_len;
    }
    *total_bytes = total;
    return true;
}

/*
 * Past libc where the kernel's arguments are registers: its wrappers are cancellation points, and
 * each call of a process with threads pays for that with two locked instructions. One vector
 * without flags goes by the cheaper call.
 */
static ssize_t move(bool is_write, int fd, const struct iovec *iov, int iov_count, uint64_t offset,
                    int flags)
{
#ifdef __LP64__
    if (iov_count == 1 && flags == 0)
        return syscall(is_write ? SYS_pwrite64 : SYS_pread64, fd, iov->iov_base, iov->iov_len,
                       offset);
    return syscall(is_write ? SYS_pwritev2 : SYS_preadv2, fd, iov, iov_count, offset, 0, flags);
#else
    return is_write ? pwritev2(fd, iov, iov_count, (off_t)offset, flags)
                    : preadv2(fd, iov, iov_count, (off_t)offset, flags);
#endif
}

/* Less than all is none: the engine does the whole of it, which for a write puts the same bytes
 * again. */
static int try_move(struct backing *backing, bool is_write, const struct iovec *iov, int iov_count,
                    uint64_t offset_bytes, uint64_t total_bytes)
{
    atomic_bool *lacks_nowait =
        is_write ? &backing->lacks_nowait_write : &backing->lacks_nowait_read;
    bool may_sleep = atomic_load_explicit(lacks_nowait, memory_order_relaxed);
    ssize_t n;

    if (may_sleep && !backing->is_memory)
        return -EAGAIN;
    /* on a frozen file system to ask may sleep as well: an engine does */
    if (is_write && !backing->is_memory && !backing->place.is_block_device &&
        !atomic_load_explicit(&backing->knows_nowait_write, memory_order_relaxed))
        return -EAGAIN;
    n = move(is_write, backing->fd, iov, iov_count, offset_bytes, may_sleep ? 0 : RWF_NOWAIT);
    if (n < 0 && errno == EOPNOTSUPP && !may_sleep) {
        atomic_store_explicit(lacks_nowait, true, memory_order_relaxed);
        return try_move(backing, is_write, iov, iov_count, offset_bytes, total_bytes);
    }
    if (n < 0)
        return errno == EINTR ? -EAGAIN : -errno;
    return (uint64_t)n == total_bytes ? 0 : -EAGAIN;
}

int backing_try_read(struct backing *backing, const struct iovec *iov, int iov_count,
                     uint64_t offset_bytes)
{
    uint64_t total_bytes;

    if (!iov_is_inside(backing, iov, iov_count, offset_bytes, &total_bytes))
        return -EINVAL;
    switch (holes_answer(&backing->holes, offset_bytes, total_bytes)) {
    case HOLES_DATA: return try_move(backing, false, iov, iov_count, offset_bytes, total_bytes);
    case HOLES_UNASKED: break; /* to look into the cache would make pages for a hole */
    case HOLES_EMPTY:
        for (int i = 0; i < iov_count; i++)
            memset(iov[i].iov_base, 0, iov[i].iov_len);
        return 0;
    }
    return -EAGAIN;
}

int backing_try_write(struct backing *backing, const struct iovec *iov, int iov_count,
                      uint64_t offset_bytes)
{
    uint64_t total_bytes;

    if (backing->is_readonly)
        return -EROFS;
    if (!iov_is_inside(backing, iov, iov_count, offset_bytes, &total_bytes))
        return -EINVAL;
    holes_write(&backing->holes, offset_bytes, total_bytes);
    return try_move(backing, true, iov, iov_count, offset_bytes, total_bytes);
}

int backing_will_need(struct backing *backing, uint64_t offset_bytes, uint64_t len_bytes)
{
    return -posix_fadvise(backing->fd, (off_t)offset_bytes, (off_t)len_bytes, POSIX_FADV_WILLNEED);
}

unsigned backing_failed_syncs(const struct backing *backing)
{
    return atomic_load_explicit(&backing->failed_syncs, memory_order_acquire);
}
