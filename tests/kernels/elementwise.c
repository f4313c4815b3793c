/* Activations, GEGLU, softmax, sums and scales against the plain ones. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/support/kernel_case.h"

static const int counts[] = {1, 7, 8, 97, 1000, 40003};

enum { N_COUNTS = sizeof counts / sizeof *counts };

/* One value may be where gelu's 1 + erf cancels; many are not. */
static double limit_for(int count, double many)
{
    return count < 97 ? 1e-5 : many;
}

static const lx_op_id maps[] = {LX_OP_silu, LX_OP_gelu, LX_OP_quick_gelu};
static const lx_op_id slopes[] = {LX_OP_silu_dx, LX_OP_gelu_dx, LX_OP_quick_gelu_dx};

static void test_activation__agrees_with_plain(void **state)
{
    for (size_t op = 0; op < 3; op++)
        for (int i = 0; i < N_COUNTS; i++)
            for (int in_place = 0; in_place < 2; in_place++) {
                lx_case *c = lx_case_new(maps[op]);
                lx_case_in(c, 0, 3, counts[i], -1);
                if (in_place)
                    lx_case_in_place(c, 0);
                lx_case_out(c, counts[i], -1);
                lx_case_check(c, limit_for(counts[i], 3e-7));
                lx_case_free(c);
            }
}

static void test_activation_dx__agrees_with_plain(void **state)
{
    for (size_t op = 0; op < 3; op++)
        for (int i = 0; i < N_COUNTS; i++)
            for (int in_place = -1; in_place < 2; in_place++) {
                lx_case *c = lx_case_new(slopes[op]);
                lx_case_in(c, 0, 1, counts[i], -1);
                lx_case_in(c, 0, 3, counts[i], -1);
                if (in_place >= 0)
                    lx_case_in_place(c, in_place);
                lx_case_out(c, counts[i], -1);
                lx_case_check(c, limit_for(counts[i], 5e-7));
                lx_case_free(c);
            }
}

/* Every value from far below to far above, each within an absolute few ulp of its size. */
static void test_activation__holds_on_the_whole_line(void **state)
{
    enum { N = 4001 };
    static float x[N];

    for (int i = 0; i < N; i++)
        x[i] = (float)((i - 2000) / 20.0);
    for (size_t op = 0; op < 3; op++) {
        lx_case *c = lx_case_new(maps[op]);
        lx_case_in_data(c, x, N, -1);
        lx_case_out(c, N, -1);
        lx_case_run_one(c);
        for (int i = 0; i < N; i++) {
            const double v = x[i];
            const double y = op == 0   ? v / (1 + exp(-v))
                             : op == 1 ? 0.5 * v * erfc(-v * 0.70710678118654752)
                                       : v / (1 + exp(-1.702 * v));
            const double limit = 1.5e-7 * (fabs(v) < 1 ? 1 : fabs(v));
            if (!(fabs(lx_case_output(c, 0)[i] - y) <= limit))
                fail_msg("%s(%g) is %.9g, not %.9g", lx_op_name(maps[op]), v,
                         (double)lx_case_output(c, 0)[i], y);
        }
        lx_case_free(c);
    }
}

static void test_activation__keeps_nan(void **state)
{
    const float x[9] = {0, 1, NAN, -1, 2, 3, 4, 5, NAN};

    for (size_t op = 0; op < 3; op++) {
        lx_case *c = lx_case_new(maps[op]);
        lx_case_in_data(c, x, 9, -1);
        lx_case_out(c, 9, -1);
        lx_case_run_one(c);
        for (int i = 0; i < 9; i++)
            assert_int_equal(isnan(x[i]), isnan(lx_case_output(c, 0)[i]));
        lx_case_free(c);
    }
}

static const struct {
    int B, P, C;
} rows[] = {{1, 1, 1}, {2, 5, 32}, {1, 77, 77}, {3, 33, 13}, {1, 300, 320}, {2, 129, 5}};

enum { N_ROWS = sizeof rows / sizeof *rows };

static void test_geglu__agrees_with_plain(void **state)
{
    for (int i = 0; i < N_ROWS; i++) {
        const int B = rows[i].B, P = rows[i].P, C = rows[i].C;
        lx_case *c = lx_case_new(LX_OP_geglu);
        lx_case_in(c, 0, 2, B, P, 2 * C, -1);
        lx_case_out(c, B, P, C, -1);
        lx_case_check(c, 5e-7);
        lx_case_free(c);

        c = lx_case_new(LX_OP_geglu_dx);
        lx_case_in(c, 0, 1, B, P, C, -1);
        lx_case_in(c, 0, 2, B, P, 2 * C, -1);
        lx_case_out(c, B, P, 2 * C, -1);
        lx_case_check(c, 5e-7);
        lx_case_free(c);
    }
}

static void test_softmax__agrees_with_plain(void **state)
{
    for (int i = 0; i < N_ROWS; i++)
        for (int in_place = -1; in_place < 2; in_place++) {
            const int B = rows[i].B, P = rows[i].P, C = rows[i].C;
            lx_case *c = lx_case_new(LX_OP_softmax);
            lx_case_in(c, 0, 4, B, P, C, -1);
            if (in_place == 0)
                lx_case_in_place(c, 0);
            lx_case_out(c, B, P, C, -1);
            lx_case_check(c, 1e-6);
            lx_case_free(c);

            c = lx_case_new(LX_OP_softmax_dx);
            lx_case_in(c, 0, 1, B, P, C, -1);
            lx_case_in(c, 0.5, 0.2, B, P, C, -1);
            if (in_place >= 0)
                lx_case_in_place(c, in_place);
            lx_case_out(c, B, P, C, -1);
            lx_case_check(c, 2e-6);
            lx_case_free(c);
        }
}

static void test_softmax__says_nan(void **state)
{
    const float x[12] = {1, NAN, 2, 3, -INFINITY, -INFINITY, -INFINITY, -INFINITY, 0, -INFINITY, 0, 0};
    lx_case *c = lx_case_new(LX_OP_softmax);

    lx_case_in_data(c, x, 3, 4, -1);
    lx_case_out(c, 3, 4, -1);
    lx_case_run_one(c);
    for (int i = 0; i < 8; i++)
        assert_true(isnan(lx_case_output(c, 0)[i]));
    assert_true(lx_case_output(c, 0)[9] == 0);
    lx_case_free(c);
}

static void test_add__repeats_the_smaller(void **state)
{
    for (int i = 0; i < N_ROWS; i++)
        for (int what = 0; what < 5; what++) { /* 0 same, 1 [B,C], 2 [C], 3 a in place, 4 b */
            const int B = rows[i].B, P = rows[i].P, C = rows[i].C;
            lx_case *c = lx_case_new(LX_OP_add);
            lx_case_in(c, 0, 1, B, P, C, -1);
            if (what == 1)
                lx_case_in(c, 0, 1, B, C, -1);
            else if (what == 2)
                lx_case_in(c, 0, 1, C, -1);
            else
                lx_case_in(c, 0, 1, B, P, C, -1);
            if (what >= 3)
                lx_case_in_place(c, what - 3);
            lx_case_out(c, B, P, C, -1);
            lx_case_check(c, 0);
            lx_case_free(c);
        }
}

static void test_sums__agree_with_plain(void **state)
{
    for (int i = 0; i < N_ROWS; i++) {
        const int B = rows[i].B, P = rows[i].P, C = rows[i].C;
        lx_case *c = lx_case_new(LX_OP_sum_rows);
        lx_case_in(c, 0.1, 1, B, P, C, -1);
        lx_case_out(c, B, C, -1);
        lx_case_check(c, 1e-7);
        lx_case_free(c);

        c = lx_case_new(LX_OP_bias_db);
        lx_case_in(c, 0.1, 1, B, P, C, -1);
        lx_case_out_sum(c, C, -1);
        lx_case_check(c, 1e-7);
        lx_case_free(c);
    }
}

static void test_scale__agrees_with_plain(void **state)
{
    for (int i = 0; i < N_COUNTS; i++)
        for (int in_place = -1; in_place < 1; in_place++) {
            lx_case *c = lx_case_new(LX_OP_scale);
            lx_case_attrs(c)->linear.scale = -0.3f;
            lx_case_in(c, 0, 1, counts[i], -1);
            if (in_place >= 0)
                lx_case_in_place(c, in_place);
            lx_case_out(c, counts[i], -1);
            lx_case_check(c, 0);
            lx_case_free(c);
        }
}

static void test_mul_add__scales_samples(void **state)
{
    const float a[2] = {2, 3}, x[4] = {1, 2, 3, 4}, b[2] = {-1, 10}, y[4] = {1, 1, 1, 2};
    const float both[4] = {1, 3, 19, 32}, alone[4] = {2, 4, 9, 12};

    for (int has_y = 0; has_y < 2; has_y++) {
        lx_case *c = lx_case_new(LX_OP_mul_add);
        lx_case_in_data(c, a, 2, -1);
        lx_case_in_data(c, x, 2, 2, -1);
        if (has_y) {
            lx_case_in_data(c, b, 2, -1);
            lx_case_in_data(c, y, 2, 2, -1);
        }
        lx_case_out(c, 2, 2, -1);
        lx_case_run_one(c);
        assert_memory_equal(lx_case_output(c, 0), has_y ? both : alone, sizeof both);
        lx_case_free(c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_activation__agrees_with_plain),
        cmocka_unit_test(test_activation_dx__agrees_with_plain),
        cmocka_unit_test(test_activation__holds_on_the_whole_line),
        cmocka_unit_test(test_activation__keeps_nan),
        cmocka_unit_test(test_geglu__agrees_with_plain),
        cmocka_unit_test(test_softmax__agrees_with_plain),
        cmocka_unit_test(test_softmax__says_nan),
        cmocka_unit_test(test_add__repeats_the_smaller),
        cmocka_unit_test(test_sums__agree_with_plain),
        cmocka_unit_test(test_scale__agrees_with_plain),
        cmocka_unit_test(test_mul_add__scales_samples),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
