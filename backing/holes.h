/*
 * holes: where an image holds nothing, so that reads of it need no disk.
 *
 * A file system answers a read of a hole more slowly than one of data: first it makes pages of
 * zeros for its cache. So an image is seen in granules, and the first read of each is given to a
 * thread that asks (SEEK_DATA); what the file system says holds until somebody writes there. A mark
 * is never taken away while the image is open, and `written` has the last word, so it does not
 * matter in which order threads come. What was written and unmapped is read like data.
 *
 * Any thread; part of its `struct backing`.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct holes {
    unsigned shift;         /* a granule's bytes, as a power of two */
    uint64_t count;         /* of whole granules; what follows them is data */
    _Atomic uint8_t *marks; /* of each granule */
    atomic_bool is_looked_at;
};

enum holes_answer {
    HOLES_DATA,    /* or it cannot be told */
    HOLES_EMPTY,   /* all of it reads as zeros */
    HOLES_UNASKED, /* nobody has asked about a part of it yet: holes_look() */
};

/* Without memory it is as one of no granules. */
void holes_open(struct holes *holes, uint64_t size_bytes);
void holes_close(struct holes *holes);

/* Something may be written there from now on. */
void holes_write(struct holes *holes, uint64_t offset_bytes, uint64_t len_bytes);

/* What is known of a range. */
enum holes_answer holes_answer(const struct holes *holes, uint64_t offset_bytes,
                               uint64_t len_bytes);

/*
 * One look at a time, so that an image whose disk hangs holds one thread by it: who is let in by
 * holes_begin_look() says holes_end_look() after. The others read the disk.
 */
bool holes_begin_look(struct holes *holes);
void holes_end_look(struct holes *holes);

/*
 * Asks the file system; may sleep on the disk. The file of `fd` should hold `size_bytes` at least:
 * of a shorter one nothing is empty. Never HOLES_UNASKED.
 */
enum holes_answer holes_look(struct holes *holes, int fd, uint64_t size_bytes,
                             uint64_t offset_bytes, uint64_t len_bytes);
