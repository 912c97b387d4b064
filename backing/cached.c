/* What the page cache holds of an image, and sending it from there without a copy. */
#include "backing/file.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <unistd.h>

/* mincore(2) tells of whole pages, a byte each. */
static bool is_all_resident(void *mapping, size_t len_bytes, size_t page_bytes)
{
    unsigned char pages[64];
    size_t step_bytes = sizeof pages * page_bytes;

    for (size_t done = 0; done < len_bytes; done += step_bytes) {
        size_t bytes = len_bytes - done < step_bytes ? len_bytes - done : step_bytes;

        if (mincore((char *)mapping + done, bytes, pages) != 0)
            return false;
        for (size_t i = 0; i * page_bytes < bytes; i++)
            if (!(pages[i] & 1))
                return false;
    }
    return true;
}

/*
 * An outline of the image that reaches to `end_bytes`; NULL without memory or addresses for it.
 * Threads that need one at the same time may each make one; the first that is in place serves all.
 */
static const struct outline *outline_to(struct backing *backing, uint64_t end_bytes)
{
    struct outline *newest = atomic_load_explicit(&backing->outline, memory_order_acquire), *made;

    if (newest && newest->len_bytes >= end_bytes)
        return newest;
    if (atomic_load_explicit(&backing->lacks_outline, memory_order_relaxed))
        return NULL;
    made = malloc(sizeof *made);
    if (!made)
        return NULL;
    made->len_bytes = backing_size_bytes(backing);
    made->start = mmap(NULL, made->len_bytes, PROT_READ, MAP_SHARED, backing->fd, 0);
    if (made->start == MAP_FAILED) {
        atomic_store_explicit(&backing->lacks_outline, true, memory_order_relaxed);
        free(made);
        return NULL;
    }
    made->older = newest;
    while (!atomic_compare_exchange_strong_explicit(&backing->outline, &made->older, made,
                                                    memory_order_acq_rel, memory_order_acquire)) {
        newest = made->older;
        if (newest->len_bytes >= end_bytes) {
            made->older = NULL;
            outlines_free(made);
            return newest;
        }
    }
    return made;
}

void outlines_free(struct outline *newest)
{
    while (newest) {
        struct outline *older = newest->older;

        munmap(newest->start, newest->len_bytes);
        free(newest);
        newest = older;
    }
}

bool backing_is_cached(struct backing *backing, uint64_t offset_bytes, uint32_t len_bytes)
{
    size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);
    size_t lead_bytes = offset_bytes % page_bytes;
    uint64_t size_bytes = backing_size_bytes(backing);
    const struct outline *outline;

    if (offset_bytes > size_bytes || len_bytes > size_bytes - offset_bytes || len_bytes == 0)
        return false;
    if (backing->is_memory)
        return true;
    if (!backing->tells_residency)
        return false;
    outline = outline_to(backing, offset_bytes + len_bytes);
    return outline && is_all_resident((char *)outline->start + (offset_bytes - lead_bytes),
                                      lead_bytes + len_bytes, page_bytes);
}

int64_t backing_send(const struct backing *backing, int socket, uint64_t offset_bytes,
                     uint32_t len_bytes)
{
    off_t offset = (off_t)offset_bytes;
    ssize_t sent;

    do {
        sent = sendfile(socket, backing->fd, &offset, len_bytes);
    } while (sent < 0 && errno == EINTR);
    if (sent < 0)
        return errno == EWOULDBLOCK ? -EAGAIN : -errno;
    return sent > 0 ? sent : -EIO; /* the file ends before it should */
}
