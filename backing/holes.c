#include "backing/holes.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    GRANULE_SHIFT_MIN = 20, /* VMFS gives out blocks of 1 MiB and more */
    GRANULES_MAX = 32768,   /* a byte each, of memory that is there once it is used */
};

enum mark {
    MARK_ASKED = 1,
    MARK_EMPTY = 2, /* when it was asked */
    MARK_WRITTEN = 4,
};

void holes_open(struct holes *holes, uint64_t size_bytes)
{
    uint64_t count;

    *holes = (struct holes){ .shift = GRANULE_SHIFT_MIN };
    while (size_bytes >> holes->shift > GRANULES_MAX)
        holes->shift++;
    count = size_bytes >> holes->shift;
    holes->marks = count ? calloc(count, sizeof *holes->marks) : NULL;
    holes->count = holes->marks ? count : 0;
}

void holes_close(struct holes *holes)
{
    free(holes->marks);
    *holes = (struct holes){ 0 };
}

static uint8_t marks_of(const struct holes *holes, uint64_t granule)
{
    return atomic_load_explicit(&holes->marks[granule], memory_order_acquire);
}

static void mark(struct holes *holes, uint64_t granule, uint8_t with)
{
    if ((marks_of(holes, granule) & with) != with)
        atomic_fetch_or(&holes->marks[granule], with);
}

static enum holes_answer answer_of(uint8_t marks)
{
    if (marks & MARK_WRITTEN)
        return HOLES_DATA;
    if (marks & MARK_EMPTY)
        return HOLES_EMPTY;
    return marks & MARK_ASKED ? HOLES_DATA : HOLES_UNASKED;
}

/* The last granule that a range touches; `len_bytes` is not 0. */
static uint64_t last_of(const struct holes *holes, uint64_t offset_bytes, uint64_t len_bytes)
{
    return (offset_bytes + len_bytes - 1) >> holes->shift;
}

void holes_write(struct holes *holes, uint64_t offset_bytes, uint64_t len_bytes)
{
    if (len_bytes == 0)
        return;
    uint64_t last = last_of(holes, offset_bytes, len_bytes);
    for (uint64_t i = offset_bytes >> holes->shift; i <= last && i < holes->count; i++)
        mark(holes, i, MARK_WRITTEN);
}

enum holes_answer holes_answer(const struct holes *holes, uint64_t offset_bytes, uint64_t len_bytes)
{
    enum holes_answer all = HOLES_EMPTY;

    if (holes->count == 0 || len_bytes == 0)
        return HOLES_DATA;
    uint64_t last = last_of(holes, offset_bytes, len_bytes);
    if (last >= holes->count)
        return HOLES_DATA;
    for (uint64_t i = offset_bytes >> holes->shift; i <= last && all != HOLES_UNASKED; i++) {
        enum holes_answer one = answer_of(marks_of(holes, i));

        if (one != HOLES_EMPTY)
            all = one;
    }
    return all;
}

bool holes_begin_look(struct holes *holes)
{
    return !atomic_exchange_explicit(&holes->is_looked_at, true, memory_order_relaxed);
}

void holes_end_look(struct holes *holes)
{
    atomic_store_explicit(&holes->is_looked_at, false, memory_order_relaxed);
}

/*
 * Where data begins, from `offset_bytes` on: UINT64_MAX when none follows. What cannot be told, and
 * what lies behind the end of a file that shrank, is data.
 */
static uint64_t next_data(int fd, uint64_t size_bytes, uint64_t offset_bytes)
{
    off_t at = lseek(fd, (off_t)offset_bytes, SEEK_DATA);
    bool is_all_hole = at < 0 && errno == ENXIO;
    struct stat st;

    if (fstat(fd, &st) != 0 || (uint64_t)st.st_size < size_bytes || (at < 0 && !is_all_hole))
        return offset_bytes;
    return is_all_hole ? UINT64_MAX : (uint64_t)at;
}

enum holes_answer holes_look(struct holes *holes, int fd, uint64_t size_bytes,
                             uint64_t offset_bytes, uint64_t len_bytes)
{
    uint64_t last = last_of(holes, offset_bytes, len_bytes);

    for (uint64_t i = offset_bytes >> holes->shift; i <= last && i < holes->count; i++) {
        if (answer_of(marks_of(holes, i)) != HOLES_UNASKED)
            continue;
        uint64_t data = next_data(fd, size_bytes, i << holes->shift) >> holes->shift;
        for (uint64_t hole = i; hole < data && hole < holes->count; hole++)
            mark(holes, hole, MARK_ASKED | MARK_EMPTY);
        mark(holes, i, MARK_ASKED);
    }
    return holes_answer(holes, offset_bytes, len_bytes);
}
