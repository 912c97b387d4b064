/*
 * bench: what each program of this folder needs: an end with a reason, memory that is there, sizes
 * as people write them, and the clock.
 *
 * These programs measure; whatever goes wrong makes the measurement worthless, so they end at once
 * and say why.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <time.h>

void fail(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));
/* Zeroed; never NULL. */
void *bench_alloc(size_t count, size_t bytes);
/* "4k", "1M", "2g" or plain bytes. */
uint64_t bench_size(const char *text);
/* A whole number from `least` on, at most 2^31 - 1. */
unsigned bench_number(const char *text, unsigned least);

static inline uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}
