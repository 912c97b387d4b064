/*
 * histogram: how long things took, as counts in steps of at most 1.6 %.
 *
 * Log-linear: 64 steps for each power of two, so adding is a few instructions and a quantile is
 * exact enough whatever the range. Times in nanoseconds.
 */
#pragma once

#include <stdint.h>

enum {
    HISTOGRAM_STEP_BITS = 6,
    HISTOGRAM_STEPS = (64 - HISTOGRAM_STEP_BITS) << HISTOGRAM_STEP_BITS,
};

struct histogram {
    uint64_t count, sum_ns, max_ns;
    uint64_t steps[HISTOGRAM_STEPS];
};

void histogram_add(struct histogram *histogram, uint64_t ns);
void histogram_merge(struct histogram *into, const struct histogram *from);
/* The time below which `share` (0 to 1) of them are; 0 when there are none. */
double histogram_quantile_us(const struct histogram *histogram, double share);
double histogram_mean_us(const struct histogram *histogram);
