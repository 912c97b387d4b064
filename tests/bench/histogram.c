#include "tests/bench/histogram.h"

static const uint64_t steps_of_a_power = 1u << HISTOGRAM_STEP_BITS;

static unsigned step_of(uint64_t ns)
{
    unsigned power, step;

    if (ns < steps_of_a_power)
        return (unsigned)ns;
    power = 63u - (unsigned)__builtin_clzll(ns) - HISTOGRAM_STEP_BITS;
    step =
        ((power + 1) << HISTOGRAM_STEP_BITS) + (unsigned)((ns >> power) & (steps_of_a_power - 1));
    return step < HISTOGRAM_STEPS ? step : HISTOGRAM_STEPS - 1;
}

static double middle_ns(unsigned step)
{
    uint64_t within = step & (steps_of_a_power - 1);
    unsigned power;

    if (step < steps_of_a_power)
        return step;
    power = (step >> HISTOGRAM_STEP_BITS) - 1;
    return (double)((steps_of_a_power + within) << power) + (double)(1ull << power) / 2;
}

void histogram_add(struct histogram *histogram, uint64_t ns)
{
    histogram->steps[step_of(ns)]++;
    histogram->count++;
    histogram->sum_ns += ns;
    if (ns > histogram->max_ns)
        histogram->max_ns = ns;
}

void histogram_merge(struct histogram *into, const struct histogram *from)
{
    for (unsigned i = 0; i < HISTOGRAM_STEPS; i++)
        into->steps[i] += from->steps[i];
    into->count += from->count;
    into->sum_ns += from->sum_ns;
    if (from->max_ns > into->max_ns)
        into->max_ns = from->max_ns;
}

double histogram_quantile_us(const struct histogram *histogram, double share)
{
    uint64_t wanted = (uint64_t)(share * (double)histogram->count), seen = 0;

    for (unsigned i = 0; i < HISTOGRAM_STEPS; i++) {
        seen += histogram->steps[i];
        if (seen > wanted)
            return middle_ns(i) / 1000;
    }
    return (double)histogram->max_ns / 1000;
}

double histogram_mean_us(const struct histogram *histogram)
{
    return histogram->count ? (double)histogram->sum_ns / (double)histogram->count / 1000 : 0;
}
