#include "target/worker/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 2048 };

static const struct {
    const char *journal, *plain;
} prefixes[] = {
    [LOG_LEVEL_ERROR] = {"<3>",  "nestord: error: "  },
    [LOG_LEVEL_WARNING] = { "<4>", "nestord: warning: "},
    [LOG_LEVEL_INFO] = { "<6>", "nestord: "         },
    [LOG_LEVEL_DEBUG] = { "<7>", "nestord: debug: "  },
};

static _Atomic enum log_level highest_level = LOG_LEVEL_INFO;

static pthread_once_t journal_once = PTHREAD_ONCE_INIT;
static bool is_journal;

/* What peers have caused in the second that is under way. */
static struct {
    pthread_mutex_t mutex;
    time_t second;
    unsigned lines;
    _Atomic unsigned long left_out;
} peers = { .mutex = PTHREAD_MUTEX_INITIALIZER };

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&highest_level, level, memory_order_relaxed);
}

int log_enabled(enum log_level level)
{
    return level <= atomic_load_explicit(&highest_level, memory_order_relaxed);
}

/* systemd.exec(5): JOURNAL_STREAM holds the device and inode of the stream that leads to the
 * journal. */
static void look_for_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    unsigned long long device, inode;
    struct stat st;

    if (stream != NULL && sscanf(stream, "%llu:%llu", &device, &inode) == 2 &&
        fstat(STDERR_FILENO, &st) == 0)
        is_journal = st.st_dev == device && st.st_ino == inode;
}

static time_t this_second(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return now.tv_sec;
}

/* One line in one write(), so that lines of several threads never mix. */
static __attribute__((format(printf, 2, 0))) void put_line(enum log_level level, const char *format,
                                                           va_list args)
{
    char line[LINE_MAX_BYTES];
    size_t start, len;
    int n;

    pthread_once(&journal_once, look_for_journal);
    start = (size_t)snprintf(line, sizeof(line), "%s",
                             is_journal ? prefixes[level].journal : prefixes[level].plain);
    n = vsnprintf(line + start, sizeof(line) - start, format, args);
    if (n < 0)
        return;
    len = start + (size_t)n;
    if (len > sizeof(line) - 1)
        len = sizeof(line) - 1; /* cut; the newline takes the place of the ending zero */
    for (size_t i = start; i < len; i++)
        if ((unsigned char)line[i] < ' ' || line[i] == 0x7f)
            line[i] = ' '; /* a line is a line, and moves no cursor */
    line[len++] = '\n';

    while (write(STDERR_FILENO, line, len) < 0 && errno == EINTR)
        continue;
}

static __attribute__((format(printf, 2, 3))) void put(enum log_level level, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    put_line(level, format, args);
    va_end(args);
}

/* Says how many lines of peers were left out, once their second is over. */
static void tell_left_out(void)
{
    unsigned long left_out;
    bool is_over;

    if (atomic_load_explicit(&peers.left_out, memory_order_relaxed) == 0)
        return;
    pthread_mutex_lock(&peers.mutex);
    is_over = this_second() != peers.second;
    left_out = is_over ? atomic_exchange(&peers.left_out, 0) : 0;
    pthread_mutex_unlock(&peers.mutex);
    if (left_out > 0)
        put(LOG_LEVEL_WARNING, "%lu more lines about initiators were left out", left_out);
}

static bool peer_has_room(void)
{
    time_t now = this_second();
    bool has_room;

    pthread_mutex_lock(&peers.mutex);
    if (now != peers.second) {
        peers.second = now;
        peers.lines = 0;
    }
    has_room = peers.lines < LOG_LINES_PER_SECOND;
    if (has_room)
        peers.lines++;
    else
        atomic_fetch_add(&peers.left_out, 1);
    pthread_mutex_unlock(&peers.mutex);
    return has_room;
}

#define PUT_LINE(level)                                                                            \
    do {                                                                                           \
        int saved_errno = errno;                                                                   \
        va_list args;                                                                              \
                                                                                                   \
        if (!log_enabled(level))                                                                   \
            return;                                                                                \
        tell_left_out();                                                                           \
        va_start(args, format);                                                                    \
        put_line(level, format, args);                                                             \
        va_end(args);                                                                              \
        errno = saved_errno;                                                                       \
    } while (0)

void log_error(const char *format, ...)
{
    PUT_LINE(LOG_LEVEL_ERROR);
}

void log_warning(const char *format, ...)
{
    PUT_LINE(LOG_LEVEL_WARNING);
}

void log_info(const char *format, ...)
{
    PUT_LINE(LOG_LEVEL_INFO);
}

void log_debug(const char *format, ...)
{
    PUT_LINE(LOG_LEVEL_DEBUG);
}

void log_peer(const char *format, ...)
{
    if (!log_enabled(LOG_LEVEL_WARNING))
        return;
    tell_left_out();
    if (!peer_has_room())
        return;
    PUT_LINE(LOG_LEVEL_WARNING);
}

const char *log_text(char *out, size_t cap, const void *bytes, size_t len)
{
    const unsigned char *in = bytes;
    size_t n = 0;

    if (cap == 0)
        return out;
    while (n < len && n < cap - 1) {
        out[n] = in[n] >= 0x20 && in[n] < 0x7f ? (char)in[n] : '?';
        n++;
    }
    out[n] = '\0';
    return out;
}
