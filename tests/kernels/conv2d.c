/* conv2d, conv2d_dx and conv2d_dw against the plain ones. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/kernel_case.h"

static const struct {
    int B, h, w, Ci, Co, k, stride, pad[4]; /* top, left, bottom, right */
} shapes[] = {
    {1, 8, 8, 4, 32, 3, 1, {1, 1, 1, 1}},     {2, 9, 13, 32, 32, 3, 1, {1, 1, 1, 1}},
    {1, 8, 6, 40, 17, 3, 2, {1, 1, 1, 1}},    {2, 7, 8, 33, 64, 3, 2, {0, 0, 1, 1}},
    {1, 1, 1, 5, 3, 3, 1, {1, 1, 1, 1}},      {3, 5, 7, 70, 30, 1, 1, {0, 0, 0, 0}},
    {1, 5, 5, 8, 8, 1, 2, {0, 0, 0, 0}},      {1, 11, 10, 3, 7, 5, 3, {2, 1, 0, 2}},
    {1, 12, 12, 6, 5, 9, 1, {4, 4, 4, 4}},    {1, 64, 3, 16, 4, 3, 1, {1, 1, 1, 1}},
    {1, 4, 4, 320, 320, 3, 1, {1, 1, 1, 1}},  {2, 8, 8, 96, 1030, 3, 1, {1, 1, 1, 1}},
    {1, 2, 2, 1, 1, 3, 2, {1, 1, 1, 1}},      {1, 8, 8, 64, 4, 3, 1, {1, 1, 1, 1}},
};

enum { N_SHAPES = sizeof shapes / sizeof *shapes };

static int out_size(int n, int k, int stride, int pad)
{
    return (n + pad - k) / stride + 1;
}

static int out_h(int i)
{
    return out_size(shapes[i].h, shapes[i].k, shapes[i].stride, shapes[i].pad[0] + shapes[i].pad[2]);
}

static int out_w(int i)
{
    return out_size(shapes[i].w, shapes[i].k, shapes[i].stride, shapes[i].pad[1] + shapes[i].pad[3]);
}

static lx_case *new_case(lx_op_id op, int i)
{
    lx_case *c = lx_case_new(op);
    lx_attrs *a = lx_case_attrs(c);

    a->conv.stride = shapes[i].stride;
    a->conv.pad_top = shapes[i].pad[0];
    a->conv.pad_left = shapes[i].pad[1];
    a->conv.pad_bottom = shapes[i].pad[2];
    a->conv.pad_right = shapes[i].pad[3];
    return c;
}

static void x(lx_case *c, int i)
{
    lx_case_in(c, 0, 1, shapes[i].B, shapes[i].h, shapes[i].w, shapes[i].Ci, -1);
}

static void y(lx_case *c, int i)
{
    lx_case_in(c, 0, 1, shapes[i].B, out_h(i), out_w(i), shapes[i].Co, -1);
}

static void weight(lx_case *c, int i, bool is_f16)
{
    if (is_f16)
        lx_case_in_f16(c, 0.1, shapes[i].Co, shapes[i].Ci, shapes[i].k, shapes[i].k, -1);
    else
        lx_case_in(c, 0, 0.1, shapes[i].Co, shapes[i].Ci, shapes[i].k, shapes[i].k, -1);
}

static void test_conv2d__agrees_with_plain(void **state)
{
    for (int i = 0; i < N_SHAPES; i++)
        /* 1 bias, 2 add, 4 in place, 8 F16, 16 bf16 */
        for (int what = 0; what < 32; what += 3) {
            lx_case *c = new_case(LX_OP_conv2d, i);
            lx_case_attrs(c)->conv.arithmetic.compute = lx_case_compute(what & 16);
            x(c, i);
            weight(c, i, what & 8);
            if (what & 1)
                lx_case_in(c, 0, 1, shapes[i].Co, -1);
            else
                lx_case_absent_in(c);
            if (what & 6)
                y(c, i);
            if (what & 4)
                lx_case_in_place(c, 3);
            lx_case_out(c, shapes[i].B, out_h(i), out_w(i), shapes[i].Co, -1);
            lx_case_check(c, 2e-6);
            lx_case_free(c);
        }
}

static void test_conv2d_dx__agrees_with_plain(void **state)
{
    for (int i = 0; i < N_SHAPES; i++)
        for (int what = 0; what < 4; what++) {
            lx_case *c = new_case(LX_OP_conv2d_dx, i);
            lx_case_attrs(c)->conv.arithmetic.compute = lx_case_compute(what & 2);
            y(c, i);
            weight(c, i, what & 1);
            lx_case_out(c, shapes[i].B, shapes[i].h, shapes[i].w, shapes[i].Ci, -1);
            lx_case_check(c, 2e-6);
            lx_case_free(c);
        }
}

static void test_conv2d_dw__adds_to_what_is_there(void **state)
{
    for (int i = 0; i < N_SHAPES; i++) {
        lx_case *c = new_case(LX_OP_conv2d_dw, i);
        y(c, i);
        x(c, i);
        lx_case_out_sum(c, shapes[i].Co, shapes[i].Ci, shapes[i].k, shapes[i].k, -1);
        lx_case_check(c, 2e-6);
        lx_case_free(c);
    }
}

static double dot(const float *a, const float *b, int64_t n)
{
    double sum = 0;

    for (int64_t i = 0; i < n; i++)
        sum += (double)a[i] * b[i];
    return sum;
}

/* The three are one bilinear form: <dy, conv(x, w)> = <dx(dy, w), x> = <dw(dy, x), w>. */
static void test_conv2d__gradients_are_its_transposes(void **state)
{
    for (int i = 0; i < N_SHAPES; i++) {
        const int64_t n_x = (int64_t)shapes[i].B * shapes[i].h * shapes[i].w * shapes[i].Ci;
        const int64_t n_y = (int64_t)shapes[i].B * out_h(i) * out_w(i) * shapes[i].Co;
        const int64_t n_w = (int64_t)shapes[i].Co * shapes[i].Ci * shapes[i].k * shapes[i].k;
        lx_case *forward = new_case(LX_OP_conv2d, i), *back = new_case(LX_OP_conv2d_dx, i);
        lx_case *weights = new_case(LX_OP_conv2d_dw, i);
        double want, before, size;

        x(forward, i);
        weight(forward, i, false);
        lx_case_out(forward, shapes[i].B, out_h(i), out_w(i), shapes[i].Co, -1);
        lx_case_run_one(forward);
        y(back, i);
        weight(back, i, false);
        memcpy(lx_case_input(back, 1), lx_case_input(forward, 1), (size_t)n_w * sizeof(float));
        lx_case_out(back, shapes[i].B, shapes[i].h, shapes[i].w, shapes[i].Ci, -1);
        lx_case_run_one(back);
        y(weights, i);
        x(weights, i);
        memcpy(lx_case_input(weights, 0), lx_case_input(back, 0), (size_t)n_y * sizeof(float));
        memcpy(lx_case_input(weights, 1), lx_case_input(forward, 0), (size_t)n_x * sizeof(float));
        lx_case_out_sum(weights, shapes[i].Co, shapes[i].Ci, shapes[i].k, shapes[i].k, -1);
        before = dot(lx_case_start(weights, 0), lx_case_input(forward, 1), n_w);
        lx_case_run_one(weights);

        want = dot(lx_case_input(back, 0), lx_case_output(forward, 0), n_y);
        size = sqrt(dot(lx_case_input(back, 0), lx_case_input(back, 0), n_y) *
                    dot(lx_case_output(forward, 0), lx_case_output(forward, 0), n_y));
        assert_true(fabs(dot(lx_case_output(back, 0), lx_case_input(forward, 0), n_x) - want) <
                    1e-5 * size);
        assert_true(fabs(dot(lx_case_output(weights, 0), lx_case_input(forward, 1), n_w) - before -
                         want) < 1e-5 * size);
        lx_case_free(forward);
        lx_case_free(back);
        lx_case_free(weights);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conv2d__agrees_with_plain),
        cmocka_unit_test(test_conv2d_dx__agrees_with_plain),
        cmocka_unit_test(test_conv2d_dw__adds_to_what_is_there),
        cmocka_unit_test(test_conv2d__gradients_are_its_transposes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
