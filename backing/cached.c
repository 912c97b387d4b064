/* What the page cache holds of an image, and sending it from there without a copy. */
#include "backing/file.h"

#include <errno.h>
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

bool backing_is_cached(const struct backing *backing, uint64_t offset_bytes, uint32_t len_bytes)
{
    size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);
    size_t lead_bytes = offset_bytes % page_bytes, mapped_bytes = lead_bytes + len_bytes;
    uint64_t size_bytes = backing_size_bytes(backing);
    void *mapping;
    bool is_cached;

    if (offset_bytes > size_bytes || len_bytes > size_bytes - offset_bytes || len_bytes == 0)
        return false;
    if (backing->is_memory)
        return true;
    if (!backing->tells_residency)
        return false;
    mapping = mmap(NULL, mapped_bytes, PROT_READ, MAP_SHARED, backing->fd,
                   (off_t)(offset_bytes - lead_bytes));
    if (mapping == MAP_FAILED)
        return false;
    is_cached = is_all_resident(mapping, mapped_bytes, page_bytes);
    munmap(mapping, mapped_bytes);
    return is_cached;
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
