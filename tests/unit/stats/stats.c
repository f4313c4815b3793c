#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <math.h>

#include <cmocka.h>

#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "src/stats/bootstrap.h"
#include "src/stats/rank.h"
#include "src/stats/smooth.h"

enum { MOST = 256 };

static cJSON *golden;

static int open_golden(void **state)
{
    lx_str text = LX_STR_INIT;
    int rc = lx_file_read(&text, LX_TEST_DIR "/golden/stats/stats.json", 1 << 20, NULL);

    (void)state;
    if (rc == 0)
        rc = lx_json_parse(&golden, text.data, text.len, NULL);
    lx_str_release(&text);
    return rc;
}

static int close_golden(void **state)
{
    (void)state;
    cJSON_Delete(golden);
    return 0;
}

static size_t numbers(double out[MOST], const cJSON *object, const char *key)
{
    const cJSON *item;
    size_t n = 0;

    cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(object, key))
    {
        assert_true(n < MOST);
        out[n++] = item->valuedouble;
    }
    return n;
}

static void assert_near(double got, double wanted, double within)
{
    if (!(fabs(got - wanted) <= within * fmax(1, fabs(wanted))))
        fail_msg("%.17g, wanted %.17g", got, wanted);
}

static double wanted(const cJSON *object, const char *key)
{
    double x = lx_json_number(object, key, (double)NAN);
    assert_false(isnan(x));
    return x;
}

static void test_stats_rank__agrees_with_scipy(void **state)
{
    double x[MOST], y[MOST], ranks[MOST], scipy[MOST];
    const cJSON *c;

    (void)state;
    cJSON_ArrayForEach(c, cJSON_GetObjectItemCaseSensitive(golden, "correlations"))
    {
        size_t n = numbers(x, c, "x");
        lx_correlation got;
        assert_int_equal(numbers(y, c, "y"), n);
        assert_int_equal(numbers(scipy, c, "ranks"), n);
        assert_int_equal(lx_rank(ranks, x, n, NULL), 0);
        for (size_t i = 0; i < n; i++)
            assert_near(ranks[i], scipy[i], 0);
        assert_int_equal(lx_spearman(&got, x, y, n, NULL), 0);
        assert_near(got.rho, wanted(c, "rho"), 1e-13);
        assert_near(got.low, wanted(c, "low"), 1e-13);
        assert_near(got.high, wanted(c, "high"), 1e-13);
        assert_near(lx_pearson(x, y, n), wanted(c, "pearson"), 1e-13);
    }
}

static void test_stats_rank__says_nothing_of_what_is_constant_or_few(void **state)
{
    static const double up[] = {1, 2, 3, 4, 5}, flat[] = {2, 2, 2, 2, 2};
    lx_correlation c;

    (void)state;
    assert_int_equal(lx_spearman(&c, up, flat, 5, NULL), 0);
    assert_true(isnan(c.rho) && isnan(c.low) && isnan(c.high));
    assert_int_equal(lx_spearman(&c, up, up, 1, NULL), 0);
    assert_true(isnan(c.rho));
    assert_int_equal(lx_spearman(&c, up, up, 3, NULL), 0);
    assert_true(c.rho == 1 && isnan(c.low));
    assert_int_equal(lx_spearman(&c, up, up, 5, NULL), 0);
    assert_true(c.rho == 1 && isnan(c.low) && isnan(c.high));
}

static void test_stats_bootstrap__block_length_is_archs(void **state)
{
    double x[MOST];
    const cJSON *c;

    (void)state;
    cJSON_ArrayForEach(c, cJSON_GetObjectItemCaseSensitive(golden, "curves"))
    {
        size_t n = numbers(x, c, "x");
        assert_int_equal(lx_block_length(x, n), wanted(c, "block"));
    }
    for (size_t i = 0; i < MOST; i++)
        x[i] = 3;
    assert_int_equal(lx_block_length(x, MOST), 1);
    assert_int_equal(lx_block_length(x, 0), 1);
}

static void test_stats_bootstrap__interval_is_the_described_one(void **state)
{
    double x[MOST];
    const cJSON *c;

    (void)state;
    cJSON_ArrayForEach(c, cJSON_GetObjectItemCaseSensitive(golden, "curves"))
    {
        size_t n = numbers(x, c, "x");
        lx_interval got;
        assert_int_equal(lx_bootstrap_mean(&got, x, n, 0, 7, 1, NULL), 0);
        assert_near(got.mean, wanted(c, "mean"), 1e-13);
        assert_near(got.low, wanted(c, "low"), 1e-13);
        assert_near(got.high, wanted(c, "high"), 1e-13);
        assert_near(got.se, wanted(c, "se"), 1e-12);
        assert_true(fabs(got.se / wanted(c, "arch_se") - 1) <
                    0.06); /* 2000 and 4000 draws */
    }
}

static void test_stats_bootstrap__difference_draws_each_curve_by_itself(void **state)
{
    const cJSON *curves = cJSON_GetObjectItemCaseSensitive(golden, "curves");
    const cJSON *d = cJSON_GetObjectItemCaseSensitive(golden, "difference");
    double x[MOST], y[MOST];
    size_t n_x = numbers(x, cJSON_GetArrayItem(curves, 0), "x");
    size_t n_y = numbers(y, cJSON_GetArrayItem(curves, 1), "x");
    lx_interval got;

    (void)state;
    assert_int_equal(lx_bootstrap_difference(&got, x, n_x, y, n_y, 7, NULL), 0);
    assert_near(got.mean, wanted(d, "mean"), 1e-13);
    assert_near(got.low, wanted(d, "low"), 1e-13);
    assert_near(got.high, wanted(d, "high"), 1e-13);
    assert_near(got.se, wanted(d, "se"), 1e-12);
    assert_int_equal(lx_bootstrap_difference(&got, x, 0, y, n_y, 7, NULL), 0);
    assert_true(isnan(got.mean));
}

static void test_stats_bootstrap__out_of_memory_is_told(void **state)
{
    double x[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    lx_interval got;
    lx_error err = {0};

    (void)state;
    lx_alloc_fail_at(1, true);
    assert_int_equal(lx_bootstrap_mean(&got, x, 8, 0, 7, 1, &err), LX_ENOMEM);
    lx_alloc_fail_at(0, false);
    assert_int_equal(err.code, LX_ENOMEM);
}

static void test_stats_smooth__agrees_with_its_formula(void **state)
{
    double x[MOST], want[MOST], got[MOST];
    size_t n = numbers(want, golden, "smooth");

    (void)state;
    numbers(x, cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(golden, "curves"), 0),
            "x");
    lx_smooth(got, x, n, 0.9);
    for (size_t i = 0; i < n; i++)
        assert_near(got[i], want[i], 1e-13);
}

static void test_stats_smooth__passes_over_what_is_no_number(void **state)
{
    double x[] = {(double)NAN, 4, (double)INFINITY, 4}, got[4];

    (void)state;
    lx_smooth(got, x, 4, 0.5);
    assert_true(isnan(got[0]));
    for (int i = 1; i < 4; i++)
        assert_near(got[i], 4, 1e-15);
    lx_smooth(x, x, 4, 0);
    assert_near(x[3], 4, 0);
}

static void test_stats_smooth__bins_by_the_axis(void **state)
{
    static const double axis[] = {1, 2, 3, 4, 9, 10}, y[] = {1, 3, 5, (double)NAN, 7, 9};
    static const double mixed[] = {9, 3, 1, 11, 2, 10, 0, 4},
                        values[] = {7, 5, 1, 50, 3, 9, 50, (double)NAN};
    double bins[3];
    size_t counts[3];

    (void)state;
    lx_bin_means(bins, counts, 3, axis, y, 6, 1, 10);
    assert_near(bins[0], 3, 0);  /* [1, 4) */
    assert_true(isnan(bins[1])); /* [4, 7): only the one that is no number */
    assert_near(bins[2], 8, 0);  /* [7, 10] */
    assert_true(counts[0] == 3 && counts[1] == 0 && counts[2] == 2);
    lx_bin_means(bins, counts, 3, mixed, values, 8, 1, 10); /* in any order */
    assert_near(bins[0], 3, 0);
    assert_true(isnan(bins[1]));
    assert_near(bins[2], 8, 0);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stats_rank__agrees_with_scipy),
        cmocka_unit_test(test_stats_rank__says_nothing_of_what_is_constant_or_few),
        cmocka_unit_test(test_stats_bootstrap__block_length_is_archs),
        cmocka_unit_test(test_stats_bootstrap__interval_is_the_described_one),
        cmocka_unit_test(test_stats_bootstrap__difference_draws_each_curve_by_itself),
        cmocka_unit_test(test_stats_bootstrap__out_of_memory_is_told),
        cmocka_unit_test(test_stats_smooth__agrees_with_its_formula),
        cmocka_unit_test(test_stats_smooth__passes_over_what_is_no_number),
        cmocka_unit_test(test_stats_smooth__bins_by_the_axis),
    };
    return cmocka_run_group_tests(tests, open_golden, close_golden);
}
