#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/sweep/halving.h"
#include "src/sweep/plan.h"

static lx_arena *arena;

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

static lx_sweep_axis axis(const char *flag, const char *text)
{
    lx_sweep_axis out;
    lx_error err = {0};
    if (lx_sweep_axis_parse(&out, flag, text, arena, &err) < 0)
        fail_msg("%s", err.text);
    return out;
}

static int refusal(const char *text)
{
    lx_sweep_axis out;
    return lx_sweep_axis_parse(&out, "x", text, arena, NULL);
}

static void test_sweep_plan__lists_and_ranges(void **state)
{
    lx_sweep_axis a = axis("network_dim", "4,32");
    (void)state;
    assert_int_equal(a.n_values, 2);
    assert_string_equal(a.values[1], "32");
    a = axis("resolution", "512,512;768,768");
    assert_int_equal(a.n_values, 2);
    assert_string_equal(a.values[0], "512,512");
    a = axis("learning_rate", "1e-5..1e-3:log");
    assert_int_equal(a.n_values, 0);
    assert_true(a.is_log && !a.is_whole && a.low == 1e-5 && a.high == 1e-3);
    a = axis("network_dim", "4..64");
    assert_true(a.is_whole && !a.is_log);
    a = axis("train_data_dir", "../img,../img2"); /* no range */
    assert_int_equal(a.n_values, 2);
    a = axis("optimizer_type", ",AdamW,,Lion,");
    assert_int_equal(a.n_values, 2);
}

static void test_sweep_plan__what_is_refused(void **state)
{
    (void)state;
    assert_int_equal(refusal(""), LX_EUSAGE);
    assert_int_equal(refusal(",,"), LX_EUSAGE);
    assert_int_equal(refusal("4,4"), LX_EUSAGE);
    assert_int_equal(refusal("4..4"), LX_EUSAGE);
    assert_int_equal(refusal("5..4"), LX_EUSAGE);
    assert_int_equal(refusal("0..1:log"), LX_EUSAGE);
    assert_int_equal(refusal("-1..1:log"), LX_EUSAGE);
    assert_int_equal(refusal("-9e15..9e15"), LX_OK); /* not whole as written */
    assert_int_equal(refusal("0..9999999999999999"), LX_EUSAGE);
}

static void test_sweep_plan__a_grid_has_every_combination_in_order(void **state)
{
    const lx_sweep_axis axes[] = {axis("a", "1,2"), axis("b", "x,y,z")};
    static const char *const wanted[] = {"1", "x", "1", "y", "1", "z",
                                         "2", "x", "2", "y", "2", "z"};
    lx_sweep_configs c;

    (void)state;
    assert_int_equal(lx_sweep_grid(&c, axes, 2, arena, NULL), LX_OK);
    assert_int_equal(c.count, 6);
    for (size_t i = 0; i < 12; i++)
        assert_string_equal(c.values[i], wanted[i]);
    assert_int_equal(lx_sweep_grid(&c, NULL, 0, arena, NULL), LX_OK);
    assert_int_equal(c.count, 1);
}

static void test_sweep_plan__a_grid_takes_no_range_and_ends_somewhere(void **state)
{
    const lx_sweep_axis range = axis("a", "1..2");
    lx_sweep_axis many[5];
    lx_sweep_configs c;

    (void)state;
    assert_int_equal(lx_sweep_grid(&c, &range, 1, arena, NULL), LX_EUSAGE);
    for (size_t i = 0; i < 5; i++)
        many[i] = axis("a", "0,1,2,3,4,5,6,7,8,9");
    assert_int_equal(lx_sweep_grid(&c, many, 4, arena, NULL), LX_OK);
    assert_int_equal(c.count, 10000);
    assert_int_equal(lx_sweep_grid(&c, many, 5, arena, NULL), LX_ELIMIT);
    assert_int_equal(lx_sweep_random(&c, many, 5, 10001, 0, arena, NULL), LX_ELIMIT);
}

static void
test_sweep_plan__random_draws_stay_in_range_and_are_those_of_the_seed(void **state)
{
    const lx_sweep_axis axes[] = {
        axis("learning_rate", "1e-5..1e-3:log"), axis("network_dim", "4..8"),
        axis("optimizer_type", "A,B"), axis("noise_offset", "0.25..0.75"),
        axis("w", "1..1000:log")};
    lx_sweep_configs a, b, other, alone;
    double logs = 0;

    (void)state;
    assert_int_equal(lx_sweep_random(&a, axes, 5, 200, 7, arena, NULL), LX_OK);
    assert_int_equal(lx_sweep_random(&b, axes, 5, 100, 7, arena, NULL), LX_OK);
    assert_int_equal(lx_sweep_random(&other, axes, 5, 100, 8, arena, NULL), LX_OK);
    assert_int_equal(lx_sweep_random(&alone, axes, 1, 100, 7, arena, NULL), LX_OK);
    assert_int_equal(a.count, 200);
    for (size_t i = 0; i < 200; i++) {
        const char *const *v = a.values + i * 5;
        const double rate = atof(v[0]), dim = atof(v[1]), noise = atof(v[3]),
                     w = atof(v[4]);
        logs += log10(rate) / 200;
        assert_true(rate >= 1e-5 && rate <= 1e-3);
        assert_true(dim >= 4 && dim <= 8 && floor(dim) == dim);
        assert_true(strcmp(v[2], "A") == 0 || strcmp(v[2], "B") == 0);
        assert_true(noise >= 0.25 && noise <= 0.75);
        assert_true(w >= 1 && w <= 1000 && floor(w) == w);
    }
    assert_true(fabs(logs + 4) < 0.15); /* even in the logarithm: the mean of -5..-3 */
    for (size_t i = 0; i < 500; i++)
        assert_string_equal(a.values[i], b.values[i]);
    for (size_t i = 0; i < 100; i++) /* one axis knows nothing of the others */
        assert_string_equal(a.values[i * 5], alone.values[i]);
    assert_string_not_equal(a.values[0], other.values[0]);
}

static void test_sweep_plan__random_lists_are_drawn_without_repeats(void **state)
{
    const lx_sweep_axis axes[] = {axis("a", "1,2"), axis("b", "1,2,3")};
    lx_sweep_configs c;

    (void)state;
    assert_int_equal(lx_sweep_random(&c, axes, 2, 50, 0, arena, NULL), LX_OK);
    assert_int_equal(c.count, 6);
}

static void check_rungs(size_t n, int eta, int64_t total, int64_t least, size_t wanted_n,
                        const lx_sweep_rung *wanted)
{
    lx_sweep_rung rungs[LX_SWEEP_RUNGS];

    assert_int_equal(lx_sweep_halving(rungs, n, eta, total, least), wanted_n);
    for (size_t i = 0; i < wanted_n; i++) {
        assert_int_equal(rungs[i].n, wanted[i].n);
        assert_int_equal(rungs[i].steps, wanted[i].steps);
    }
}

static void test_sweep_plan__rungs_of_halving(void **state)
{
    (void)state;
    check_rungs(27, 3, 81, 1, 4, (lx_sweep_rung[]){{27, 3}, {9, 9}, {3, 27}, {1, 81}});
    check_rungs(10, 3, 100, 1, 3, (lx_sweep_rung[]){{10, 12}, {3, 34}, {1, 100}});
    check_rungs(10, 3, 100, 20, 2, (lx_sweep_rung[]){{10, 34}, {3, 100}});
    check_rungs(8, 2, 16, 1, 4, (lx_sweep_rung[]){{8, 2}, {4, 4}, {2, 8}, {1, 16}});
    check_rungs(7, 2, 16, 1, 3, (lx_sweep_rung[]){{7, 4}, {3, 8}, {1, 16}});
    check_rungs(1, 3, 50, 1, 1, (lx_sweep_rung[]){{1, 50}});
    check_rungs(27, 3, 2, 1, 1, (lx_sweep_rung[]){{27, 2}});
    check_rungs(9, 3, 9, 9, 1, (lx_sweep_rung[]){{9, 9}});
}

static void test_sweep_plan__order_is_by_score_and_stable(void **state)
{
    const double scores[] = {0.3, (double)NAN, 0.1, 0.3, (double)INFINITY, 0.2};
    size_t order[6];

    (void)state;
    lx_sweep_order(order, scores, 6);
    assert_int_equal(order[0], 2);
    assert_int_equal(order[1], 5);
    assert_int_equal(order[2], 0);
    assert_int_equal(order[3], 3);
    assert_int_equal(order[4], 1);
    assert_int_equal(order[5], 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sweep_plan__lists_and_ranges),
        cmocka_unit_test(test_sweep_plan__what_is_refused),
        cmocka_unit_test(test_sweep_plan__a_grid_has_every_combination_in_order),
        cmocka_unit_test(test_sweep_plan__a_grid_takes_no_range_and_ends_somewhere),
        cmocka_unit_test(
            test_sweep_plan__random_draws_stay_in_range_and_are_those_of_the_seed),
        cmocka_unit_test(test_sweep_plan__random_lists_are_drawn_without_repeats),
        cmocka_unit_test(test_sweep_plan__rungs_of_halving),
        cmocka_unit_test(test_sweep_plan__order_is_by_score_and_stable),
    };
    return cmocka_run_group_tests(tests, open_arena, close_arena);
}
