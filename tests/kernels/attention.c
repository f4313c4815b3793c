/* attention and attention_bwd against the plain ones; the gradient also against differences. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/support/kernel_case.h"

static const struct {
    int B, T, S, N, d;
} shapes[] = {
    {1, 1, 1, 1, 1},   {2, 24, 24, 8, 4},  {1, 300, 300, 2, 40}, {2, 117, 77, 8, 5},
    {1, 64, 154, 2, 80}, {1, 16, 16, 2, 160}, {1, 40, 40, 1, 512},  {1, 77, 77, 3, 64},
    {1, 260, 9, 1, 33}, {1, 5, 600, 2, 12}, {3, 97, 97, 2, 10}, {2, 30, 1, 3, 12},
    {1, 70, 66, 1, 40},  {1, 40, 70, 1, 64},  {1, 20, 40, 1, 80},  {1, 11, 9, 1, 200},
};

enum { N_SHAPES = sizeof shapes / sizeof *shapes };

static lx_case *new_case(lx_op_id op, int i, bool is_causal, lx_compute compute)
{
    lx_case *c = lx_case_new(op);
    const int width = shapes[i].N * shapes[i].d;

    lx_case_attrs(c)->attention.n_heads = shapes[i].N;
    lx_case_attrs(c)->attention.is_causal = is_causal;
    lx_case_attrs(c)->attention.scale = 1 / sqrtf((float)shapes[i].d);
    lx_case_attrs(c)->attention.arithmetic.compute = compute;
    lx_case_in(c, 0, 2, shapes[i].B, shapes[i].T, width, -1);
    lx_case_in(c, 0, 2, shapes[i].B, shapes[i].S, width, -1);
    lx_case_in(c, 0.2, 1, shapes[i].B, shapes[i].S, width, -1);
    return c;
}

/*
 * In bf16 a weight that f32 leaves near the middle of two numbers may go to either, and forward,
 * with more keys than a tile has, weights are rounded under a smaller maximum than in the plain
 * kernel: another rounding, of the same size.
 */
static double limit_of(int i, lx_compute compute, double f32)
{
    return compute == LX_COMPUTE_F32 ? f32 : shapes[i].S > 256 ? 2e-3 : 6e-4;
}

static void test_attention__agrees_with_plain(void **state)
{
    for (int i = 0; i < N_SHAPES; i++)
        for (int what = 0; what < 8; what++) { /* 1 causal, 2 with lse, 4 bf16 */
            const lx_compute compute = lx_case_compute(what & 4);
            lx_case *c = new_case(LX_OP_attention, i, what & 1, compute);
            lx_case_out(c, shapes[i].B, shapes[i].T, shapes[i].N * shapes[i].d, -1);
            if (what & 2)
                lx_case_out(c, shapes[i].B, shapes[i].N, shapes[i].T, -1);
            else
                lx_case_absent_out(c);
            lx_case_check(c, limit_of(i, compute, 2e-6));
            lx_case_free(c);
        }
}

static void test_attention_bwd__agrees_with_plain(void **state)
{
    for (int i = 0; i < N_SHAPES; i++)
        /* 1 causal; 2, 4, 8: dq, dk, dv absent; 16 bf16 */
        for (int what = 0; what < 32; what += 5) {
            const int width = shapes[i].N * shapes[i].d;
            const lx_compute compute = lx_case_compute(what & 16);
            lx_case *forward = new_case(LX_OP_attention, i, what & 1, compute);
            lx_case *c = new_case(LX_OP_attention_bwd, i, what & 1, compute);
            const int keys[] = {shapes[i].T, shapes[i].S, shapes[i].S};

            for (int j = 0; j < 3; j++)
                for (int n = 0; n < shapes[i].B * keys[j] * width; n++)
                    lx_case_input(forward, j)[n] = lx_case_input(c, j)[n];
            lx_case_out(forward, shapes[i].B, shapes[i].T, width, -1);
            lx_case_out(forward, shapes[i].B, shapes[i].N, shapes[i].T, -1);
            lx_case_run_one(forward);
            lx_case_in_data(c, lx_case_output(forward, 0), shapes[i].B, shapes[i].T, width, -1);
            lx_case_in_data(c, lx_case_output(forward, 1), shapes[i].B, shapes[i].N, shapes[i].T, -1);
            lx_case_in(c, 0, 1, shapes[i].B, shapes[i].T, width, -1);
            for (int j = 0; j < 3; j++)
                if (what & 2 << j)
                    lx_case_absent_out(c);
                else
                    lx_case_out(c, shapes[i].B, keys[j], width, -1);
            lx_case_check(c, limit_of(i, compute, 1e-5));
            for (int j = 0; shapes[i].S == 1 && j < 2; j++)
                for (int n = 0; !(what & 2 << j) && n < shapes[i].B * keys[j] * width; n++)
                    assert_true(lx_case_output(c, j)[n] == 0);
            lx_case_free(c);
            lx_case_free(forward);
        }
}

enum { T = 19, S = 23, N = 2, D = 7, WIDTH = N * D };

/* <g, o> as a function of q, k and v, in f64; the test's own formula. */
static double objective(const double *x[3], const float *g, bool is_causal)
{
    double total = 0;

    for (int n = 0; n < N; n++)
        for (int t = 0; t < T; t++) {
            double p[S], sum = 0;
            const int keys = is_causal && t + 1 < S ? t + 1 : S;
            for (int j = 0; j < keys; j++) {
                double score = 0;
                for (int c = n * D; c < (n + 1) * D; c++)
                    score += x[0][t * WIDTH + c] * x[1][j * WIDTH + c];
                sum += p[j] = exp(score / sqrt(D));
            }
            for (int j = 0; j < keys; j++)
                for (int c = n * D; c < (n + 1) * D; c++)
                    total += p[j] / sum * x[2][j * WIDTH + c] * g[t * WIDTH + c];
        }
    return total;
}

static void check_differences(bool is_causal)
{
    static const int tokens[3] = {T, S, S};
    static double x[3][S * WIDTH];
    const double *all[3] = {x[0], x[1], x[2]};
    lx_case *forward = lx_case_new(LX_OP_attention), *c = lx_case_new(LX_OP_attention_bwd);
    lx_case *both[2] = {forward, c};

    for (int i = 0; i < 2; i++) {
        lx_case_attrs(both[i])->attention.n_heads = N;
        lx_case_attrs(both[i])->attention.is_causal = is_causal;
        lx_case_attrs(both[i])->attention.scale = 1 / sqrtf(D);
        for (int j = 0; j < 3; j++)
            lx_case_in(both[i], 0, 1, 1, tokens[j], WIDTH, -1);
    }
    for (int j = 0; j < 3; j++)
        for (int i = 0; i < tokens[j] * WIDTH; i++)
            x[j][i] = lx_case_input(forward, j)[i] = lx_case_input(c, j)[i];
    lx_case_out(forward, 1, T, WIDTH, -1);
    lx_case_out(forward, 1, N, T, -1);
    lx_case_run_one(forward);
    lx_case_in_data(c, lx_case_output(forward, 0), 1, T, WIDTH, -1);
    lx_case_in_data(c, lx_case_output(forward, 1), 1, N, T, -1);
    lx_case_in(c, 0, 1, 1, T, WIDTH, -1);
    for (int j = 0; j < 3; j++)
        lx_case_out(c, 1, tokens[j], WIDTH, -1);
    lx_case_run_one(c);
    for (int j = 0; j < 3; j++)
        for (int i = 0; i < tokens[j] * WIDTH; i += 5) {
            const double at = x[j][i], step = 1e-5;
            x[j][i] = at + step;
            double slope = objective(all, lx_case_input(c, 5), is_causal);
            x[j][i] = at - step;
            slope = (slope - objective(all, lx_case_input(c, 5), is_causal)) / (2 * step);
            x[j][i] = at;
            if (!(fabs(lx_case_output(c, j)[i] - slope) < 2e-5))
                fail_msg("gradient %d at %d is %.9g, by differences %.9g", j, i,
                         (double)lx_case_output(c, j)[i], slope);
        }
    lx_case_free(forward);
    lx_case_free(c);
}

static void test_attention_bwd__agrees_with_differences(void **state)
{
    check_differences(false);
    check_differences(true);
}

/* The VAE's attention has one head, of a megapixel's 16384 cells: its keys and values are laid out once. */
static void test_attention__threads_share_what_they_read(void **state)
{
    const int64_t floats = 16384 * 512;
    lx_call call = {.op = LX_OP_attention, .n_in = 3, .n_out = 1};
    size_t bytes[2];

    for (int i = 0; i < 3; i++)
        call.in[i] = (lx_arg){.n_dims = 3, .shape = {1, 16384, 512}};
    call.attrs.attention.n_heads = 1;
    for (int many = 0; many < 2; many++) {
        lx_device *dev;
        lx_error err = {0};
        assert_int_equal(lx_device_open_cpu(&dev, many ? 64 : 1, &err), 0);
        assert_int_equal(dev->kernels[LX_OP_attention].prepare(dev, &call, true, &err), 0);
        bytes[many] = call.scratch_bytes;
        lx_device_close(dev);
    }
    assert_true(bytes[0] > 2 * floats * sizeof(float));
    assert_true(bytes[1] < 3 * floats * sizeof(float));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_attention__agrees_with_plain),
        cmocka_unit_test(test_attention_bwd__agrees_with_plain),
        cmocka_unit_test(test_attention__threads_share_what_they_read),
        cmocka_unit_test(test_attention_bwd__agrees_with_differences),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
