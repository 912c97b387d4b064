/* The latencies that the load generator tells. */
#include "tests/bench/histogram.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdbool.h>
#include <setjmp.h>
#include <string.h>

#include <cmocka.h>

static struct histogram histogram;

static int empty(void **state)
{
    (void)state;
    memset(&histogram, 0, sizeof(histogram));
    return 0;
}

static void assert_near(double expected, double got)
{
    assert_true(got > expected * 0.98 && got < expected * 1.02);
}

static void test_histogram_of_nothing_is_zero(void **state)
{
    (void)state;
    assert_true(histogram_quantile_us(&histogram, 0.5) == 0);
    assert_true(histogram_mean_us(&histogram) == 0);
}

static void test_histogram_quantiles_are_near_at_every_size(void **state)
{
    (void)state;
    for (uint64_t unit_ns = 1; unit_ns < UINT64_C(1) << 30; unit_ns *= 8) {
        empty(NULL);
        for (uint64_t i = 1; i <= 1000; i++)
            histogram_add(&histogram, i * unit_ns * 1000);
        assert_near((double)(501 * unit_ns), histogram_quantile_us(&histogram, 0.5));
        assert_near((double)(991 * unit_ns), histogram_quantile_us(&histogram, 0.99));
        assert_near(500.5 * (double)unit_ns, histogram_mean_us(&histogram));
        assert_int_equal(histogram.max_ns, 1000 * unit_ns * 1000);
    }
}

static void test_histogram_one_stall_is_the_maximum_and_no_median(void **state)
{
    (void)state;
    for (int i = 0; i < 999; i++)
        histogram_add(&histogram, 1000);
    histogram_add(&histogram, 1000000000);
    assert_near(1, histogram_quantile_us(&histogram, 0.99));
    assert_near(1000000, histogram_quantile_us(&histogram, 0.9995));
    assert_int_equal(histogram.max_ns, 1000000000);
}

static void test_histogram_takes_the_largest_number(void **state)
{
    (void)state;
    histogram_add(&histogram, UINT64_MAX);
    assert_int_equal(histogram.count, 1);
    assert_int_equal(histogram.steps[HISTOGRAM_STEPS - 1], 1);
}

static void test_histogram_merged_holds_both(void **state)
{
    static struct histogram other;

    (void)state;
    memset(&other, 0, sizeof(other));
    histogram_add(&histogram, 1000);
    histogram_add(&other, 5000);
    histogram_merge(&histogram, &other);
    assert_int_equal(histogram.count, 2);
    assert_int_equal(histogram.sum_ns, 6000);
    assert_int_equal(histogram.max_ns, 5000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_histogram_of_nothing_is_zero, empty),
        cmocka_unit_test_setup(test_histogram_quantiles_are_near_at_every_size, empty),
        cmocka_unit_test_setup(test_histogram_one_stall_is_the_maximum_and_no_median, empty),
        cmocka_unit_test_setup(test_histogram_takes_the_largest_number, empty),
        cmocka_unit_test_setup(test_histogram_merged_holds_both, empty),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
