#include "admin/socket_file.h"

#include <errno.h>
#include <grp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { GROUPS_MAX = 65536 /* NGROUPS_MAX of Linux */ };

struct complaint {
    char *text;
    size_t cap;
};

__attribute__((format(printf, 3, 4))) static int complain(const struct complaint *to, int error,
                                                          const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(to->text, to->cap, format, args);
    va_end(args);
    return error;
}

/* Does anybody listen there? 0: nobody, the path may be replaced. */
static int check_stale(const struct sockaddr_un *address, const struct complaint *to)
{
    struct stat stat;
    int fd, error;

    if (lstat(address->sun_path, &stat) != 0)
        return errno == ENOENT ? 0
                               : complain(to, -errno, "%s: %s", address->sun_path, strerror(errno));
    if (!S_ISSOCK(stat.st_mode))
        return complain(to, -EEXIST,
                        "%s is there and is no socket: remove it, or set another admin_socket",
                        address->sun_path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return complain(to, -errno, "cannot make a socket: %s", strerror(errno));
    error = connect(fd, (const struct sockaddr *)address, sizeof *address) == 0 ? 0 : errno;
    close(fd);
    if (error == ECONNREFUSED || error == ENOENT)
        return 0;
    /* also EAGAIN: its backlog is full, but somebody is there */
    return complain(to, -EADDRINUSE,
                    "another nestord answers on %s: stop it, or set another admin_socket",
                    address->sun_path);
}

static int bind_fresh(int fd, const struct sockaddr_un *address, const struct complaint *to)
{
    mode_t mask;
    int error = check_stale(address, to);

    if (error)
        return error;
    if (unlink(address->sun_path) != 0 && errno != ENOENT)
        return complain(to, -errno, "cannot replace %s: %s", address->sun_path, strerror(errno));
    /* 0600 until the group is set; nobody can connect before listen() anyhow */
    mask = umask(0177);
    error = bind(fd, (const struct sockaddr *)address, sizeof *address) == 0 ? 0 : -errno;
    umask(mask);
    if (error == -ENOENT)
        return complain(to, error,
                        "%s: its folder is not there: make it, or set another "
                        "admin_socket",
                        address->sun_path);
    if (error)
        return complain(to, error, "cannot listen on %s: %s", address->sun_path, strerror(-error));
    return 0;
}

static int set_access(const char *path, bool has_group, gid_t group, const struct complaint *to)
{
    if (has_group && chown(path, (uid_t)-1, group) != 0)
        return complain(to, -errno, "cannot give %s to the admin_group: %s", path, strerror(errno));
    if (chmod(path, 0660) != 0)
        return complain(to, -errno, "cannot set the mode of %s: %s", path, strerror(errno));
    return 0;
}

int socket_file_open(struct socket_file *file, const char *path, bool has_group, gid_t group,
                     char *error, size_t error_cap)
{
    const struct complaint to = { error, error_cap };
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    struct stat stat;
    int result;

    *file = (struct socket_file){ .fd = -1 };
    if (strlen(path) >= sizeof address.sun_path)
        return complain(&to, -ENAMETOOLONG,
                        "admin_socket %s is too long for a socket: at most %zu bytes", path,
                        sizeof address.sun_path - 1);
    memcpy(address.sun_path, path, strlen(path));
    file->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (file->fd < 0)
        return complain(&to, -errno, "cannot make a socket: %s", strerror(errno));
    result = bind_fresh(file->fd, &address, &to);
    if (result)
        goto close_it;
    result = set_access(path, has_group, group, &to);
    if (result)
        goto unlink_it;
    file->path = strdup(path);
    if (!file->path || lstat(path, &stat) != 0 || listen(file->fd, SOMAXCONN) != 0) {
        result = complain(&to, file->path ? -errno : -ENOMEM, "cannot listen on %s: %s", path,
                          strerror(file->path ? errno : ENOMEM));
        goto unlink_it;
    }
    file->device = stat.st_dev;
    file->inode = stat.st_ino;
    return 0;

unlink_it:
    unlink(path);
    free(file->path);
close_it:
    close(file->fd);
    return result;
}

void socket_file_close(struct socket_file *file)
{
    struct stat stat;

    if (lstat(file->path, &stat) == 0 && stat.st_dev == file->device && stat.st_ino == file->inode)
        unlink(file->path);
    free(file->path);
    close(file->fd);
}

int socket_group(const char *name, gid_t *group, char *error, size_t error_cap)
{
    const struct complaint to = { error, error_cap };
    struct group *entry;

    errno = 0;
    entry = getgrnam(name);
    if (entry) {
        *group = entry->gr_gid;
        return 0;
    }
    return complain(&to, errno ? -errno : -ENOENT,
                    "admin_group: no group \"%s\": make it with groupadd, or name another", name);
}

/* The supplementary groups as they were when the peer connected (socket(7), SO_PEERGROUPS). */
static bool is_in_peer_groups(int fd, gid_t group)
{
    gid_t small[64], *groups = small;
    socklen_t bytes = sizeof small;
    bool is_member = false;
    int result = getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &bytes);

    if (result != 0 && errno == ERANGE && bytes <= GROUPS_MAX * sizeof *groups) {
        groups = malloc(bytes);
        result = groups ? getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &bytes) : -1;
    }
    if (result == 0)
        for (size_t i = 0; i < bytes / sizeof *groups; i++)
            is_member = is_member || groups[i] == group;
    if (groups != small)
        free(groups);
    return is_member;
}

bool socket_admits(int fd, bool has_group, gid_t group, uid_t *uid)
{
    struct ucred peer;
    socklen_t bytes = sizeof peer;

    *uid = (uid_t)-1;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &bytes) != 0)
        return false;
    *uid = peer.uid;
    if (peer.uid == 0 || peer.uid == geteuid())
        return true;
    return has_group && (peer.gid == group || is_in_peer_groups(fd, group));
}
