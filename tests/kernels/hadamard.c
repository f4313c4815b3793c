/* hadamard and its gradients against the plain ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/support/kernel_case.h"

static const struct {
    int N, K, R, S;
} shapes[] = {
    {1, 1, 1, 1},      {320, 320, 4, 4}, {33, 641, 16, 16}, {5, 7, 3, 2},
    {640, 2880, 8, 8}, {4, 36, 1, 5},    {250, 4, 32, 32},  {17, 97, 64, 1},
};

enum { N_SHAPES = sizeof shapes / sizeof *shapes };

static void halves(lx_case *c, int i)
{
    lx_case_in(c, 0, 0.1, shapes[i].N, shapes[i].R, -1);
    lx_case_in(c, 0, 1, shapes[i].R, shapes[i].K, -1);
    lx_case_in(c, 0, 0.1, shapes[i].N, shapes[i].S, -1);
    lx_case_in(c, 0, 1, shapes[i].S, shapes[i].K, -1);
}

static void test_hadamard__agrees_with_plain(void **state)
{
    for (int i = 0; i < N_SHAPES; i++) {
        lx_case *c = lx_case_new(LX_OP_hadamard);

        lx_case_attrs(c)->linear.scale = 0.37f;
        halves(c, i);
        lx_case_out(c, shapes[i].N, shapes[i].K, -1);
        lx_case_check(c, 2e-6);
        lx_case_free(c);
    }
}

static void test_hadamard_dab__adds_to_what_is_there(void **state)
{
    for (int i = 0; i < N_SHAPES; i++) {
        lx_case *c = lx_case_new(LX_OP_hadamard_dab);

        lx_case_attrs(c)->linear.scale = 1.5f;
        lx_case_in(c, 0, 1, shapes[i].N, shapes[i].K, -1);
        halves(c, i);
        lx_case_out_sum(c, shapes[i].N, shapes[i].R, -1);
        lx_case_out_sum(c, shapes[i].R, shapes[i].K, -1);
        lx_case_check(c, 2e-6);
        lx_case_free(c);
    }
}

/* Where attributes say so, the gradient of a weight takes the place of what is there. */
static void check_sets(int M, int N, int K)
{
    lx_case *c = lx_case_new(LX_OP_linear_dw);

    lx_case_attrs(c)->linear.scale = 0.5f;
    lx_case_attrs(c)->linear.sets = true;
    lx_case_in(c, 0, 1, 1, M, N, -1);
    lx_case_in(c, 0, 1, 1, M, K, -1);
    lx_case_out(c, N, K, -1);
    lx_case_check(c, 2e-6);
    lx_case_free(c);
}

static void test_linear_dw__sets(void **state)
{
    check_sets(77, 33, 65);
    check_sets(77, 4, 65); /* thin (kernels/cpu/thin.h) */
    check_sets(77, 65, 4);
}

static void test_conv2d_dw__sets(void **state)
{
    lx_case *c = lx_case_new(LX_OP_conv2d_dw);

    lx_case_attrs(c)->conv.stride = 2;
    lx_case_attrs(c)->conv.pad_top = lx_case_attrs(c)->conv.pad_left = 1;
    lx_case_attrs(c)->conv.pad_bottom = lx_case_attrs(c)->conv.pad_right = 1;
    lx_case_attrs(c)->conv.sets = true;
    lx_case_in(c, 0, 1, 2, 4, 5, 7, -1);
    lx_case_in(c, 0, 1, 2, 8, 9, 6, -1);
    lx_case_out(c, 7, 6, 3, 3, -1);
    lx_case_check(c, 2e-6);
    lx_case_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hadamard__agrees_with_plain),
        cmocka_unit_test(test_hadamard_dab__adds_to_what_is_there),
        cmocka_unit_test(test_linear_dw__sets),
        cmocka_unit_test(test_conv2d_dw__sets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
