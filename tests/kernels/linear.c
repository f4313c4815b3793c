/* linear, linear_dx and linear_dw against the plain ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/support/kernel_case.h"

static const struct {
    int M, K, N;
} shapes[] = {
    {1, 1, 1},      {1, 320, 1280}, {77, 768, 320}, {64, 1280, 1280}, {250, 320, 4},
    {250, 4, 320},  {97, 64, 33},   {13, 641, 17},  {5, 7, 3},        {200, 40, 1030},
    {31, 321, 160}, {256, 32, 64},  {6, 16, 16},    {7, 1, 9},        {9, 300, 1},
    {129, 16, 320}, {67, 321, 7},   {35, 5, 100},   {1, 64, 12},
};

enum { N_SHAPES = sizeof shapes / sizeof *shapes };

static void weight(lx_case *c, int i, bool is_f16)
{
    if (is_f16)
        lx_case_in_f16(c, 0.1, shapes[i].N, shapes[i].K, -1);
    else
        lx_case_in(c, 0, 0.1, shapes[i].N, shapes[i].K, -1);
}

/* bits of `what`: 1 bias, 2 add, 4 add in place, 8 F16 weight, 16 bf16 */
static void check_linear(int i, int what)
{
    lx_case *c = lx_case_new(LX_OP_linear);

    lx_case_attrs(c)->linear.scale = what & 15 ? 0.37f : 1;
    lx_case_attrs(c)->linear.arithmetic.compute = lx_case_compute(what & 16);
    lx_case_in(c, 0, 1, 1, shapes[i].M, shapes[i].K, -1);
    weight(c, i, what & 8);
    if (what & 1)
        lx_case_in(c, 0, 1, shapes[i].N, -1);
    else
        lx_case_absent_in(c);
    if (what & 6)
        lx_case_in(c, 0, 1, 1, shapes[i].M, shapes[i].N, -1);
    if (what & 4)
        lx_case_in_place(c, 3);
    lx_case_out(c, 1, shapes[i].M, shapes[i].N, -1);
    lx_case_check(c, 2e-6);
    lx_case_free(c);
}

static void test_linear__agrees_with_plain(void **state)
{
    for (int i = 0; i < N_SHAPES; i++)
        for (int what = 0; what < 32; what += what < 16 ? 1 : 5)
            check_linear(i, what);
}

static void test_linear_dx__agrees_with_plain(void **state)
{
    for (int i = 0; i < N_SHAPES; i++)
        for (int what = 0; what < 32; what += what < 16 ? 2 : 6) {
            lx_case *c = lx_case_new(LX_OP_linear_dx);
            lx_case_attrs(c)->linear.scale = what & 15 ? -2.5f : 1;
            lx_case_attrs(c)->linear.arithmetic.compute = lx_case_compute(what & 16);
            lx_case_in(c, 0, 1, shapes[i].M, shapes[i].N, -1);
            weight(c, i, what & 8);
            if (what & 6)
                lx_case_in(c, 0, 1, shapes[i].M, shapes[i].K, -1);
            if (what & 4)
                lx_case_in_place(c, 2);
            lx_case_out(c, shapes[i].M, shapes[i].K, -1);
            lx_case_check(c, 2e-6);
            lx_case_free(c);
        }
}

static void test_linear_dw__adds_to_what_is_there(void **state)
{
    for (int i = 0; i < N_SHAPES; i++) {
        lx_case *c = lx_case_new(LX_OP_linear_dw);
        lx_case_attrs(c)->linear.scale = 0.5f;
        lx_case_in(c, 0, 1, 1, shapes[i].M, shapes[i].N, -1);
        lx_case_in(c, 0, 1, 1, shapes[i].M, shapes[i].K, -1);
        lx_case_out_sum(c, shapes[i].N, shapes[i].K, -1);
        lx_case_check(c, 2e-6);
        lx_case_free(c);
    }
}

static void test_linear__bf16_has_the_same_bits_on_every_instruction_set(void **state)
{
    const lx_case_device *before = lx_case_device_used;

    lx_case_device_used = &lx_case_isas;
    for (int i = 0; i < N_SHAPES; i++) {
        check_linear(i, 16);
        check_linear(i, 16 | 1 | 4 | 8);
    }
    lx_case_device_used = before;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_linear__agrees_with_plain),
        cmocka_unit_test(test_linear_dx__agrees_with_plain),
        cmocka_unit_test(test_linear__bf16_has_the_same_bits_on_every_instruction_set),
        cmocka_unit_test(test_linear_dw__adds_to_what_is_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
