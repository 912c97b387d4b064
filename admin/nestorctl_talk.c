#include "admin/nestorctl_talk.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

struct talker {
    const char *path;
    int fd;
    int64_t deadline_ms;
    char *text; /* what has come so far */
    size_t len, cap;
    char *error;
    size_t error_cap;
};

__attribute__((format(printf, 2, 3))) static bool fail(struct talker *talker, const char *format,
                                                       ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(talker->error, talker->error_cap, format, args);
    va_end(args);
    return false;
}

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static bool wait_for(struct talker *talker, short events)
{
    for (;;) {
        struct pollfd poll_fd = { .fd = talker->fd, .events = events };
        int64_t left = talker->deadline_ms - now_ms();
        int ready = left > 0 ? poll(&poll_fd, 1, (int)left) : 0;

        if (ready > 0)
            return true;
        if (ready == 0)
            return fail(talker,
                        "nestord on %s did not answer in time; it may still do what it was asked: "
                        "look at its log and at nestorctl status",
                        talker->path);
        if (errno != EINTR)
            return fail(talker, "poll: %s", strerror(errno));
    }
}

static bool connect_to(struct talker *talker)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };

    if (strlen(talker->path) >= sizeof address.sun_path)
        return fail(talker, "--socket %s: is too long for a socket: at most %zu bytes",
                    talker->path, sizeof address.sun_path - 1);
    memcpy(address.sun_path, talker->path, strlen(talker->path));
    talker->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (talker->fd < 0)
        return fail(talker, "cannot make a socket: %s", strerror(errno));
    /* a Unix socket connects at once or not at all (unix(7)): EAGAIN is a full backlog */
    if (connect(talker->fd, (const struct sockaddr *)&address, sizeof address) == 0)
        return true;
    if (errno == EACCES || errno == EPERM)
        return fail(talker,
                    "not allowed to use %s: be root, or in the group that admin_group names",
                    talker->path);
    if (errno == EAGAIN)
        return fail(talker, "nestord on %s is too busy to answer: try again", talker->path);
    return fail(talker, "nestord is not running, or listens elsewhere: tried %s; use --socket",
                talker->path);
}

/* Errors are left for receive_line(): a daemon that refuses us has said why before it closed. */
static bool send_line(struct talker *talker, const char *text)
{
    size_t len = strlen(text), sent = 0;

    while (sent < len) {
        ssize_t bytes = send(talker->fd, text + sent, len - sent, MSG_NOSIGNAL);

        if (bytes >= 0)
            sent += (size_t)bytes;
        else if (errno == EAGAIN && !wait_for(talker, POLLOUT))
            return false;
        else if (errno != EAGAIN && errno != EINTR)
            return true;
    }
    return true;
}

static bool make_room(struct talker *talker)
{
    size_t cap = talker->cap ? talker->cap * 2 : 4096;
    char *grown;

    if (talker->len < talker->cap)
        return true;
    if (cap > TALK_ANSWER_MAX)
        return fail(talker, "nestord's answer is longer than %d bytes", TALK_ANSWER_MAX);
    grown = realloc(talker->text, cap);
    if (!grown)
        return fail(talker, "out of memory");
    talker->text = grown;
    talker->cap = cap;
    return true;
}

static bool receive_line(struct talker *talker)
{
    for (;;) {
        ssize_t bytes;

        if (!make_room(talker) || !wait_for(talker, POLLIN))
            return false;
        bytes = recv(talker->fd, talker->text + talker->len, talker->cap - talker->len, 0);
        if (bytes < 0 && (errno == EAGAIN || errno == EINTR))
            continue;
        if (bytes <= 0)
            return fail(talker,
                        "nestord on %s closed the connection without an answer: look at "
                        "its log",
                        talker->path);
        talker->len += (size_t)bytes;
        if (memchr(talker->text + talker->len - (size_t)bytes, '\n', (size_t)bytes))
            return true;
    }
}

static bool understand(struct talker *talker, struct talk_answer *answer)
{
    const char *end = memchr(talker->text, '\n', talker->len);

    answer->whole = json_loadb(talker->text, (size_t)(end - talker->text), 0, NULL);
    answer->result = json_object_get(answer->whole, "result");
    answer->error = json_object_get(answer->whole, "error");
    if (answer->result || json_is_string(json_object_get(answer->error, "message")))
        return true;
    json_decref(answer->whole);
    answer->whole = NULL;
    return fail(talker, "what answers on %s is not nestord: use --socket", talker->path);
}

bool talk(const char *socket_path, const char *method, const json_t *params, int timeout_ms,
          struct talk_answer *answer, char *error, size_t error_cap)
{
    struct talker talker = { .path = socket_path,
                             .fd = -1,
                             .deadline_ms = now_ms() + timeout_ms,
                             .error = error,
                             .error_cap = error_cap };
    json_t *request = json_pack("{s:s, s:i, s:s, s:O}", "jsonrpc", "2.0", "id", 1, "method", method,
                                "params", params);
    char *text = request ? json_dumps(request, JSON_COMPACT) : NULL;
    char *line = NULL;
    bool is_good;

    *answer = (struct talk_answer){ 0 };
    if (!text || asprintf(&line, "%s\n", text) < 0)
        is_good = fail(&talker, "out of memory");
    else
        is_good = connect_to(&talker) && send_line(&talker, line) && receive_line(&talker) &&
                  understand(&talker, answer);
    if (talker.fd >= 0)
        close(talker.fd);
    json_decref(request);
    free(text);
    free(line);
    free(talker.text);
    return is_good;
}
