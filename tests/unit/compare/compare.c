#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "src/base/alloc.h"
#include "src/base/rng.h"
#include "src/compare/code.h"
#include "src/compare/data.h"
#include "src/compare/loss.h"

static lx_arena *arena;

/* ---- data ---------------------------------------------------------------- */

static void test_compare_data__tells_every_kind_of_change(void **state)
{
    lx_data_image a[] = {
        {"f", "same", "1", "c", false, ""},     {"f", "bytes", "2", "c", false, ""},
        {"f", "caption", "3", "c", false, ""},  {"f", "old", "4", "c", false, ""},
        {"f", "gone", "5", "", false, ""},      {"g", "both", "6", "c", true, ""},
        {"f", "latents", "8", "c", false, NULL}};
    lx_data_image b[] = {
        {"g", "both", "66", "d", true, ""},     {"f", "same", "1", "c", false, NULL},
        {"f", "bytes", "22", "c", false, "9"},  {"f", "caption", "3", "d", false, ""},
        {"h", "new name", "4", "d", false, ""}, {"f", "added", "7", "", false, ""},
        {"f", "latents", "8", "c", false, "9"}};
    static const struct {
        lx_data_change_kind kind;
        const char *a, *b;
    } wanted[] = {
        {LX_DATA_ADDED, NULL, "added"},          {LX_DATA_REMOVED, "gone", NULL},
        {LX_DATA_MOVED, "old", "new name"},      {LX_DATA_BYTES, "bytes", "bytes"},
        {LX_DATA_BYTES, "both", "both"},         {LX_DATA_LATENTS, "latents", "latents"},
        {LX_DATA_CAPTION, "caption", "caption"}, {LX_DATA_CAPTION, "old", "new name"},
        {LX_DATA_CAPTION, "both", "both"}};
    lx_data_changes d;

    (void)state;
    assert_int_equal(lx_compare_data(&d, a, 7, b, 7, arena, NULL), 0);
    assert_int_equal(d.n_same, 1);
    assert_int_equal(d.count, sizeof wanted / sizeof *wanted);
    for (size_t i = 0; i < d.count; i++) {
        assert_int_equal(d.items[i].kind, wanted[i].kind);
        assert_true(!d.items[i].a == !wanted[i].a && !d.items[i].b == !wanted[i].b);
        if (wanted[i].a)
            assert_string_equal(d.items[i].a->name, wanted[i].a);
        if (wanted[i].b)
            assert_string_equal(d.items[i].b->name, wanted[i].b);
    }
}

/* Whatever is in them: every image is told once, or is the same, and swapping swaps. */
static void test_compare_data__accounts_for_every_image(void **state)
{
    static char names[40][4], hashes[12][4];
    lx_data_image a[40], b[40];

    (void)state;
    for (int i = 0; i < 40; i++)
        snprintf(names[i], 4, "%d", i);
    for (int i = 0; i < 12; i++)
        snprintf(hashes[i], 4, "%d", i);
    for (uint64_t seed = 0; seed < 200; seed++) {
        lx_rng rng = lx_rng_stream(seed, LX_RNG_TEST, 0, 0);
        size_t n_a = 0, n_b = 0, only_a = 0, only_b = 0, pairs = 0;
        lx_data_changes d;
        for (int i = 0; i < 40; i++) {
            lx_data_image image = {"f", names[i], hashes[lx_rng_below(&rng, 12)],
                                   "",  false,    NULL};
            if (lx_rng_below(&rng, 2))
                a[n_a++] = image;
            image.hash = hashes[lx_rng_below(&rng, 12)];
            if (lx_rng_below(&rng, 2))
                b[n_b++] = image;
        }
        assert_int_equal(lx_compare_data(&d, a, n_a, b, n_b, arena, NULL), 0);
        for (size_t i = 0; i < d.count; i++) {
            only_a += d.items[i].kind == LX_DATA_REMOVED;
            only_b += d.items[i].kind == LX_DATA_ADDED;
            pairs += d.items[i].kind == LX_DATA_MOVED || d.items[i].kind == LX_DATA_BYTES;
        }
        assert_int_equal(only_a + pairs + d.n_same, n_a);
        assert_int_equal(only_b + pairs + d.n_same, n_b);
    }
}

static void test_compare_tags__added_removed_and_reordered(void **state)
{
    lx_tag_changes t;

    (void)state;
    assert_int_equal(lx_compare_tags(&t, "iwl, solo,smile ,1girl",
                                     " blush, iwl,1girl,,solo", arena, NULL),
                     0);
    assert_true(t.n_added == 1 && t.n_removed == 1 && !t.is_reordered);
    assert_string_equal(t.added[0], "blush");
    assert_string_equal(t.removed[0], "smile");
    assert_int_equal(lx_compare_tags(&t, "a, b", "b, a", arena, NULL), 0);
    assert_true(!t.n_added && !t.n_removed && t.is_reordered);
    assert_int_equal(lx_compare_tags(&t, "a", "a", arena, NULL), 0);
    assert_true(!t.is_reordered);
    assert_int_equal(lx_compare_tags(&t, NULL, "a, a, b", arena, NULL), 0);
    assert_true(t.n_added == 3 && !t.n_removed);
    assert_int_equal(lx_compare_tags(&t, "a, a", "a", arena, NULL), 0);
    assert_true(!t.n_added && t.n_removed == 1);
    assert_int_equal(lx_compare_tags(&t, NULL, NULL, arena, NULL), 0);
    assert_true(!t.n_added && !t.n_removed && !t.is_reordered);
}

/* ---- code ---------------------------------------------------------------- */

static void test_compare_code__by_file(void **state)
{
    static const char a[] =
        "diff --git a/x.c b/x.c\n-1\n+2\ndiff --git a/only a.c b/only a.c\n+3\n"
        "diff --git a/same b/same\n+4\n";
    static const char b[] =
        "diff --git a/same b/same\n+4\ndiff --git a/x.c b/x.c\n-1\n+5\n"
        "diff --git a/z b/z\n+6\n";
    lx_code_change *c;
    size_t n;

    (void)state;
    assert_int_equal(lx_compare_diffs(&c, &n, a, b, arena, NULL), 0);
    assert_int_equal(n, 3);
    assert_string_equal(c[0].file, "only a.c");
    assert_string_equal(c[1].file, "x.c");
    assert_string_equal(c[2].file, "z");
    assert_true(c[0].side == 'a' && c[1].side == '*' && c[2].side == 'b');
    assert_int_equal(lx_compare_diffs(&c, &n, NULL, "", arena, NULL), 0);
    assert_int_equal(n, 0);
    assert_int_equal(lx_compare_diffs(&c, &n, a, a, arena, NULL), 0);
    assert_int_equal(n, 0);
    assert_int_equal(
        lx_compare_diffs(&c, &n, "no diff at all", "diff --git ", arena, NULL), 0);
    assert_int_equal(n, 1);
}

/* ---- loss ---------------------------------------------------------------- */

enum { N = 400 };

/* Two curves that share a large noise and differ by 0.002 and a small one. */
static void curves(lx_loss_curve *a, lx_loss_curve *b)
{
    lx_rng rng = lx_rng_stream(3, LX_RNG_TEST, 1, 0);
    int64_t steps[N];
    double x[N], y[N];

    for (int i = 0; i < N; i++) {
        double shared = 0.05 * lx_rng_uniform(&rng);
        steps[i] = i + 1;
        x[i] = 0.1 + shared + 0.001 * lx_rng_uniform(&rng);
        y[i] = 0.098 + shared + 0.001 * lx_rng_uniform(&rng);
    }
    assert_int_equal(lx_loss_order(a, steps, x, N, arena, NULL), 0);
    assert_int_equal(lx_loss_order(b, steps, y, N, arena, NULL), 0);
}

static void test_compare_loss__pairs_tell_what_means_cannot(void **state)
{
    lx_loss_difference paired, alone;
    lx_loss_curve a, b;

    (void)state;
    curves(&a, &b);
    assert_int_equal(lx_compare_loss(&paired, &a, &b, 0.25, true, 0, NULL, arena, NULL),
                     0);
    assert_int_equal(lx_compare_loss(&alone, &a, &b, 0.25, false, 0, NULL, arena, NULL),
                     0);
    assert_true(paired.is_paired && !alone.is_paired);
    assert_true(paired.first == 301 && paired.last == 400 && paired.n == 100);
    assert_true(paired.correlation > 0.99 && isnan(alone.correlation));
    assert_true(fabs(paired.difference.mean + 0.002) < 2e-4);
    assert_true(fabs(paired.difference.mean - alone.difference.mean) < 1e-12);
    assert_true(paired.difference.high < 0);                            /* told */
    assert_true(alone.difference.low < 0 && alone.difference.high > 0); /* not told */
    assert_true(paired.difference.se * 10 < alone.difference.se);
}

static void test_compare_loss__kept_draws_change_nothing(void **state)
{
    lx_loss_difference fresh, kept;
    lx_loss_draws draws = {0};
    lx_loss_curve a, b;

    (void)state;
    curves(&a, &b);
    for (uint64_t seed = 0; seed < 2; seed++)
        for (size_t n = 150; n <= 400; n += 250) /* other parts of a */
            for (int i = 0; i < 2; i++) {
                b.n = n;
                assert_int_equal(
                    lx_compare_loss(&fresh, &a, &b, 0.25, false, seed, NULL, arena, NULL),
                    0);
                assert_int_equal(lx_compare_loss(&kept, &a, &b, 0.25, false, seed, &draws,
                                                 arena, NULL),
                                 0);
                assert_memory_equal(&fresh.difference, &kept.difference,
                                    sizeof fresh.difference);
            }
}

static void test_compare_loss__uses_the_steps_that_both_have(void **state)
{
    lx_loss_difference d;
    lx_loss_curve a, b, none = {0}, late;

    (void)state;
    curves(&a, &b);
    b.n = 200;
    assert_int_equal(lx_compare_loss(&d, &a, &b, 0.5, true, 0, NULL, arena, NULL), 0);
    assert_true(d.first == 101 && d.last == 200 && d.n == 100 && d.is_paired);
    late = (lx_loss_curve){a.steps + 300, a.values + 300, 100};
    assert_int_equal(lx_compare_loss(&d, &late, &b, 0.5, true, 0, NULL, arena, NULL), 0);
    assert_int_equal(d.n, 0);
    assert_int_equal(lx_compare_loss(&d, &none, &b, 0.5, true, 0, NULL, arena, NULL), 0);
    assert_int_equal(d.n, 0);
    assert_int_equal(lx_compare_loss(&d, &a, &a, 1, true, 0, NULL, arena, NULL), 0);
    assert_true(d.first == 1 && d.difference.low == 0 && d.difference.high == 0);
}

/* One point, or a few, have no interval: nothing is the lower one by them. */
static void test_compare_loss__few_points_are_no_verdict(void **state)
{
    lx_loss_difference d;
    lx_loss_curve a, b;

    (void)state;
    curves(&a, &b);
    a.n = b.n = 3;
    assert_int_equal(lx_compare_loss(&d, &a, &b, 0.25, true, 0, NULL, arena, NULL), 0);
    assert_true(d.first == 3 && d.last == 3 && d.n == 1 && !d.is_estimated);
    assert_true(isnan(d.difference.low) && isnan(d.difference.high));
    assert_true(d.difference.mean == b.values[2] - a.values[2]);
    assert_int_equal(lx_compare_loss(&d, &a, &a, 0.25, true, 0, NULL, arena, NULL), 0);
    assert_true(d.is_estimated && d.difference.low == 0 && d.difference.high == 0);
    a.n = b.n = 28;
    assert_int_equal(lx_compare_loss(&d, &a, &b, 0.25, false, 0, NULL, arena, NULL), 0);
    assert_true(d.n == 7 && !d.is_estimated);
    a.n = b.n = 32;
    assert_int_equal(lx_compare_loss(&d, &a, &b, 0.25, false, 0, NULL, arena, NULL), 0);
    assert_true(d.n == 8 && d.is_estimated);
}

/* A window in which one lacks a step is not paired: other steps would be compared than
 * are told. */
static void test_compare_loss__gaps_are_not_paired(void **state)
{
    lx_loss_difference d;
    lx_loss_curve a, b;

    (void)state;
    curves(&a, &b);
    for (size_t i = 350; i + 1 < b.n; i++) {
        b.steps[i] = b.steps[i + 1];
        b.values[i] = b.values[i + 1];
    }
    b.n--;
    assert_int_equal(lx_compare_loss(&d, &a, &b, 0.25, true, 0, NULL, arena, NULL), 0);
    assert_true(!d.is_paired && d.n == 100);
}

static void test_compare_loss__orders_what_a_resumed_run_repeats(void **state)
{
    static const int64_t steps[] = {1, 2, 3, 4, 3, 4, 5};
    static const double values[] = {1, 2, 3, 4, 33, 44, (double)NAN};
    lx_loss_curve c;

    (void)state;
    assert_int_equal(lx_loss_order(&c, steps, values, 7, arena, NULL), 0);
    assert_int_equal(c.n, 4);
    assert_true(c.steps[2] == 3 && c.values[2] == 33 && c.values[3] == 44);
}

static void test_compare_loss__the_tail_is_a_share_of_the_steps(void **state)
{
    double steps[] = {1, 2, 3, 4, 5, 6, 7, 8}, values[] = {9, 8, 7, 6, 5, 4, 3, 1};
    const lx_loss_curve c = {steps, values, 8}, none = {steps, values, 0};

    (void)state;
    assert_true(lx_loss_tail(&c, (double)INFINITY, 0.25) == 2);
    assert_true(lx_loss_tail(&c, 4, 0.25) == 6); /* what came later does not count */
    assert_true(lx_loss_tail(&c, 4, 1) == 7.5);
    assert_true(lx_loss_tail(&c, 8, 0.01) == 1); /* at least the last one */
    assert_true(isnan(lx_loss_tail(&c, 0.5, 0.25)) &&
                isnan(lx_loss_tail(&none, 8, 0.25)));
}

static void test_compare_loss__finds_where_curves_part(void **state)
{
    lx_loss_curve a, b;
    size_t n;

    (void)state;
    curves(&a, &b);
    assert_int_equal(lx_loss_parting(&n, &a, &b), 1);
    memcpy(b.values, a.values, N * sizeof *a.values);
    assert_int_equal(lx_loss_parting(&n, &a, &b), -1);
    assert_int_equal(n, N);
    b.values[99] = nextafter(b.values[99], 1);
    assert_int_equal(lx_loss_parting(&n, &a, &b), 100);
    a.n = 50;
    assert_int_equal(lx_loss_parting(&n, &a, &b), -1);
    assert_int_equal(n, 50);
}

static int open_arena(void **state)
{
    (void)state;
    return (arena = lx_arena_new()) ? 0 : -1;
}

static int close_arena(void **state)
{
    (void)state;
    lx_arena_free(arena);
    return 0;
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_compare_data__tells_every_kind_of_change),
        cmocka_unit_test(test_compare_data__accounts_for_every_image),
        cmocka_unit_test(test_compare_tags__added_removed_and_reordered),
        cmocka_unit_test(test_compare_code__by_file),
        cmocka_unit_test(test_compare_loss__pairs_tell_what_means_cannot),
        cmocka_unit_test(test_compare_loss__kept_draws_change_nothing),
        cmocka_unit_test(test_compare_loss__uses_the_steps_that_both_have),
        cmocka_unit_test(test_compare_loss__few_points_are_no_verdict),
        cmocka_unit_test(test_compare_loss__gaps_are_not_paired),
        cmocka_unit_test(test_compare_loss__orders_what_a_resumed_run_repeats),
        cmocka_unit_test(test_compare_loss__the_tail_is_a_share_of_the_steps),
        cmocka_unit_test(test_compare_loss__finds_where_curves_part),
    };
    return cmocka_run_group_tests(tests, open_arena, close_arena);
}
