/*
 * count_allocations: a library for LD_PRELOAD that counts what a process asks of the allocator.
 *
 * COUNT_ALLOCATIONS names a file of at least sizeof(struct count) bytes, which the process maps and
 * whoever started it reads: how many calls there have been, and from where the latest came. The
 * memory itself comes from libc. Not for a build with a sanitizer, which has an allocator of its
 * own.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { CALLERS = 31 };

struct count {
    _Atomic uint64_t calls;
    _Atomic uint64_t callers[CALLERS]; /* return addresses, the latest at (calls - 1) % CALLERS */
};

/* glibc's own names for what is replaced here; they need no dlsym(), which allocates itself. */
void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t count, size_t bytes);
void *__libc_realloc(void *old, size_t bytes);
void *__libc_memalign(size_t alignment, size_t bytes);

static struct count before_start; /* what the loader and other libraries' constructors ask for */
static struct count *count = &before_start;

static __attribute__((constructor)) void map_count(void)
{
    const char *path = getenv("COUNT_ALLOCATIONS");
    int fd = path != NULL ? open(path, O_RDWR | O_CLOEXEC) : -1;
    void *mapped;

    if (fd < 0)
        return;
    mapped = mmap(NULL, sizeof(*count), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (mapped != MAP_FAILED)
        count = mapped;
}

static void note(const void *caller)
{
    uint64_t before = atomic_fetch_add(&count->calls, 1);

    atomic_store(&count->callers[before % CALLERS], (uint64_t)(uintptr_t)caller);
}

void *malloc(size_t bytes)
{
    note(__builtin_return_address(0));
    return __libc_malloc(bytes);
}

void *calloc(size_t members, size_t bytes)
{
    note(__builtin_return_address(0));
    return __libc_calloc(members, bytes);
}

void *realloc(void *old, size_t bytes)
{
    note(__builtin_return_address(0));
    return __libc_realloc(old, bytes);
}

void *reallocarray(void *old, size_t members, size_t bytes)
{
    size_t all;

    note(__builtin_return_address(0));
    if (__builtin_mul_overflow(members, bytes, &all)) {
        errno = ENOMEM;
        return NULL;
    }
    return __libc_realloc(old, all);
}

void *aligned_alloc(size_t alignment, size_t bytes)
{
    note(__builtin_return_address(0));
    return __libc_memalign(alignment, bytes);
}

int posix_memalign(void **out, size_t alignment, size_t bytes)
{
    note(__builtin_return_address(0));
    *out = __libc_memalign(alignment, bytes);
    return *out != NULL ? 0 : ENOMEM;
}
