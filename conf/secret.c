/* secret: a CHAP secret out of its file. See secret.h. */
#include "conf/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SECRET_LEAST = 12, SECRET_MOST = 255 };

static int secret_open(const char *path, char *error, size_t cap)
{
    struct stat status;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

    if (fd < 0) {
        int reason = errno;
        snprintf(error, cap, "cannot read %s: %s", path, strerror(reason));
        return -reason;
    }
    if (fstat(fd, &status) < 0 || !S_ISREG(status.st_mode)) {
        snprintf(error, cap, "%s is not a plain file", path);
        close(fd);
        return -EINVAL;
    }
    if ((status.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
        snprintf(error, cap, "others may read or change %s (mode %04o); make it: chmod 600 %s",
                 path, (unsigned)(status.st_mode & 07777), path);
        close(fd);
        return -EPERM;
    }
    return fd;
}

int secret_read(const char *path, char **secret, char *error, size_t cap)
{
    char text[SECRET_MOST + 3]; /* CR, LF, and one more that says that it is too long */
    size_t len = 0;
    int result = 0;
    int fd = secret_open(path, error, cap);

    *secret = NULL;
    if (fd < 0)
        return fd;
    while (len < sizeof(text)) {
        ssize_t got = read(fd, text + len, sizeof(text) - len);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            result = -errno;
            snprintf(error, cap, "cannot read %s: %s", path, strerror(-result));
            goto out;
        }
        if (got == 0)
            break;
        len += (size_t)got;
    }
    if (len > 0 && len < sizeof(text) && text[len - 1] == '\n')
        len--;
    if (len > 0 && len < sizeof(text) && text[len - 1] == '\r')
        len--;
    result = -EINVAL;
    if (len < SECRET_LEAST || len > SECRET_MOST)
        snprintf(error, cap, "the secret in %s has %s characters; %d to %d are allowed", path,
                 len < SECRET_LEAST ? "too few" : "too many", SECRET_LEAST, SECRET_MOST);
    else if (memchr(text, '\0', len) || memchr(text, '\n', len))
        snprintf(error, cap, "the secret in %s is not one line of text", path);
    else
        result = 0;
    if (result == 0 && !(*secret = strndup(text, len))) {
        result = -ENOMEM;
        snprintf(error, cap, "no memory for the secret in %s", path);
    }
out:
    explicit_bzero(text, sizeof(text));
    close(fd);
    return result;
}
