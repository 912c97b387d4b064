#include "tests/bench/bench.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void fail(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(1);
}

void *bench_alloc(size_t count, size_t bytes)
{
    void *memory = calloc(count, bytes);

    if (!memory)
        fail("out of memory");
    return memory;
}

uint64_t bench_size(const char *text)
{
    char *end;
    uint64_t bytes = strtoull(text, &end, 10);
    unsigned shift = 0;

    switch (*end) {
    case 'k':
    case 'K': shift = 10; break;
    case 'm':
    case 'M': shift = 20; break;
    case 'g':
    case 'G': shift = 30; break;
    case '\0': break;
    default: fail("\"%s\" is not a size; write bytes, or a number with k, m or g", text);
    }
    if (end == text || (shift && end[1]) || bytes > UINT64_MAX >> shift)
        fail("\"%s\" is not a size; write bytes, or a number with k, m or g", text);
    return bytes << shift;
}

unsigned bench_number(const char *text, unsigned least)
{
    char *end;
    long number;

    errno = 0;
    number = strtol(text, &end, 10);
    if (errno || end == text || *end || number < (long)least || number > INT_MAX)
        fail("\"%s\" is not a number from %u on", text, least);
    return (unsigned)number;
}
