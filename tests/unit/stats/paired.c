#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "src/base/file.h"
#include "src/base/json.h"
#include "src/stats/paired.h"

enum { MOST = 64 };

static cJSON *golden;

static int open_golden(void **state)
{
    lx_str text = LX_STR_INIT;
    int rc = lx_file_read(&text, LX_TEST_DIR "/golden/stats/paired.json", 1 << 20, NULL);

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

static lx_rng rng_of(uint64_t i)
{
    return lx_rng_stream(7, LX_RNG_TEST, 0, i);
}

static void test_paired__student_is_scipys(void **state)
{
    const cJSON *row;

    (void)state;
    cJSON_ArrayForEach(row, cJSON_GetObjectItemCaseSensitive(golden, "student"))
        assert_true(fabs(lx_student_cdf(lx_json_number(row, "t", NAN),
                                        lx_json_number(row, "df", 1)) -
                         lx_json_number(row, "cdf", NAN)) < 1e-12);
    cJSON_ArrayForEach(row, cJSON_GetObjectItemCaseSensitive(golden, "quantiles"))
    {
        double t = lx_json_number(row, "t", NAN);
        assert_true(fabs(lx_student_quantile(lx_json_number(row, "p", NAN),
                                             lx_json_number(row, "df", 1)) -
                         t) < 1e-8 * (1 + fabs(t)));
    }
}

static void test_paired__samples_are_scipys(void **state)
{
    const cJSON *row;

    (void)state;
    cJSON_ArrayForEach(row, cJSON_GetObjectItemCaseSensitive(golden, "samples"))
    {
        double x[MOST], p[MOST], t[MOST];
        size_t n = numbers(x, row, "x");
        lx_estimate e;

        numbers(p, row, "sign_flip");
        numbers(t, row, "t_interval");
        assert_true(fabs(lx_mean(x, n) - lx_json_number(row, "mean", NAN)) < 1e-12);
        assert_true(fabs(lx_stdev(x, n) - lx_json_number(row, "sd", NAN)) < 1e-12);
        assert_true(fabs(lx_sign_flip_p(x, n, LX_TAIL_GREATER, rng_of(0)) - p[0]) <
                    1e-12);
        assert_true(fabs(lx_sign_flip_p(x, n, LX_TAIL_BOTH, rng_of(0)) - p[1]) < 1e-12);
        if (n >= 8) /* from there on it is a bootstrap */
            continue;
        assert_int_equal(lx_estimate_mean(&e, x, n, rng_of(1), NULL), 0);
        assert_true(fabs(e.low - t[0]) < 1e-9 && fabs(e.high - t[1]) < 1e-9);
    }
}

/* Bootstrap-t and BCa are different intervals of second order; on 24 values they lie
 * close. */
static void test_paired__bootstrap_t_lies_near_bca(void **state)
{
    double x[MOST], bca[MOST], sd;
    size_t n = numbers(x, golden, "skewed");
    lx_estimate e, again;

    (void)state;
    numbers(bca, golden, "skewed_bca");
    sd = lx_stdev(x, n);
    assert_int_equal(lx_estimate_mean(&e, x, n, rng_of(2), NULL), 0);
    assert_true(fabs(e.low - bca[0]) < 0.15 * sd && fabs(e.high - bca[1]) < 0.25 * sd);
    assert_int_equal(lx_estimate_mean(&again, x, n, rng_of(2), NULL), 0);
    assert_true(e.low == again.low && e.high == again.high);
}

static void test_paired__drawn_permutations_approach_all(void **state)
{
    double x[MOST], y[MOST], p;
    size_t n_x = numbers(x, golden, "two_x"), n_y = numbers(y, golden, "two_y");

    (void)state;
    assert_int_equal(lx_two_sample_p(&p, x, n_x, y, n_y, rng_of(3), NULL), 0);
    assert_true(fabs(p - lx_json_number(golden, "two_p", NAN)) < 0.01);
}

static void test_paired__families_are_scipys(void **state)
{
    double p[MOST], holm[MOST], bh[MOST], got[MOST];
    size_t n = numbers(p, golden, "p");

    (void)state;
    numbers(holm, golden, "holm");
    numbers(bh, golden, "bh");
    assert_int_equal(lx_holm(got, p, n, NULL), 0);
    for (size_t i = 0; i < n; i++)
        assert_true(fabs(got[i] - holm[i]) < 1e-12);
    assert_int_equal(lx_benjamini_hochberg(p, p, n, NULL), 0); /* in place */
    for (size_t i = 0; i < n; i++)
        assert_true(fabs(p[i] - bh[i]) < 1e-12);
}

/* Under the null hypothesis a p below 0.05 comes in about one of twenty. */
static void test_paired__sign_flips_hold_their_level(void **state)
{
    int n_below = 0;

    (void)state;
    for (int k = 0; k < 400; k++) {
        float draws[12];
        double x[12];
        lx_rng rng = rng_of(100 + (uint64_t)k);
        lx_rng_normal(draws, 12, 0, &rng);
        for (int i = 0; i < 12; i++)
            x[i] = draws[i];
        n_below += lx_sign_flip_p(x, 12, LX_TAIL_GREATER, rng) <= 0.05;
    }
    assert_true(n_below >= 8 && n_below <= 34);
}

static void test_paired__own_column(void **state)
{
    double table[12 * 3], same[12 * 3];

    (void)state;
    for (int i = 0; i < 12; i++) {
        table[3 * i] = -1;
        table[3 * i + 1] = 0.1 * i;
        table[3 * i + 2] = 0.2;
        same[3 * i] = same[3 * i + 1] = same[3 * i + 2] = i;
    }
    assert_true(lx_own_column_p(table, 12, 3, rng_of(4)) < 0.001);
    assert_true(lx_own_column_p(same, 12, 3, rng_of(4)) == 1);
    assert_true(lx_own_column_p(table, 12, 1, rng_of(4)) == 1);
}

static void test_paired__ends(void **state)
{
    const double zeros[9] = {0}, one = 3;
    lx_estimate e;

    (void)state;
    assert_true(lx_sign_flip_p(zeros, 9, LX_TAIL_GREATER, rng_of(5)) == 1);
    assert_true(lx_sign_flip_p(NULL, 0, LX_TAIL_BOTH, rng_of(5)) == 1);
    assert_int_equal(lx_estimate_mean(&e, zeros, 9, rng_of(5), NULL), 0);
    assert_true(e.low == 0 && e.high == 0);
    assert_int_equal(lx_estimate_mean(&e, &one, 1, rng_of(5), NULL), 0);
    assert_true(e.value == 3 && isinf(e.low) && isinf(e.high));
    assert_int_equal(lx_images_needed(0.01, 0, 0.005), 7);
    assert_int_equal(lx_images_needed(0.01, 0.01, 0.01), 1000000);
    assert_int_equal(lx_images_needed(0.02, 0.02, 0.01), 32);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paired__student_is_scipys),
        cmocka_unit_test(test_paired__samples_are_scipys),
        cmocka_unit_test(test_paired__bootstrap_t_lies_near_bca),
        cmocka_unit_test(test_paired__drawn_permutations_approach_all),
        cmocka_unit_test(test_paired__families_are_scipys),
        cmocka_unit_test(test_paired__sign_flips_hold_their_level),
        cmocka_unit_test(test_paired__own_column),
        cmocka_unit_test(test_paired__ends),
    };
    return cmocka_run_group_tests(tests, open_golden, close_golden);
}
