/* group_norm, layer_norm and their gradients against the plain ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/support/kernel_case.h"

static const struct {
    int B, P, C, G;
} shapes[] = {
    {1, 1, 32, 32}, {2, 35, 64, 32}, {1, 4096, 320, 32}, {2, 64, 1280, 32}, {3, 1, 5, 1},
    {1, 77, 33, 3}, {2, 130, 96, 32}, {1, 9, 7, 7},      {1, 1030, 40, 8},  {1, 600, 64, 2},
    {2, 520, 66, 2}, {1, 1, 1, 1},
};

enum { N_SHAPES = sizeof shapes / sizeof *shapes };

/* The plain kernel's stats are taken, so that a gradient sees one set of them. */
static void add_stats(lx_case *c, lx_op_id op, int i, bool has_silu)
{
    lx_case *forward = lx_case_new(op);
    lx_attrs *a = lx_case_attrs(forward);
    const int B = shapes[i].B, P = shapes[i].P, C = shapes[i].C;

    a->norm.n_groups = shapes[i].G;
    a->norm.eps = 1e-5f;
    a->norm.has_silu = has_silu;
    lx_case_in_data(forward, lx_case_input(c, 1), B, P, C, -1);
    lx_case_in(forward, 1, 0.3, C, -1);
    lx_case_in(forward, 0, 1, C, -1);
    lx_case_out(forward, B, P, C, -1);
    if (op == LX_OP_group_norm)
        lx_case_out(forward, B, shapes[i].G, 2, -1);
    else
        lx_case_out(forward, B * P, 2, -1);
    lx_case_run_one(forward);
    if (op == LX_OP_group_norm)
        lx_case_in_data(c, lx_case_output(forward, 1), B, shapes[i].G, 2, -1);
    else
        lx_case_in_data(c, lx_case_output(forward, 1), B * P, 2, -1);
    lx_case_free(forward);
}

static void check_forward(lx_op_id op, int i, int what) /* 1 silu, 2 no stats, 4 in place */
{
    const int B = shapes[i].B, P = shapes[i].P, C = shapes[i].C;
    lx_case *c = lx_case_new(op);
    lx_attrs *a = lx_case_attrs(c);

    a->norm.n_groups = op == LX_OP_group_norm ? shapes[i].G : 0;
    a->norm.eps = 1e-5f;
    a->norm.has_silu = what & 1;
    lx_case_in(c, 1.5, 2, B, P, C, -1);
    lx_case_in(c, 1, 0.3, C, -1);
    lx_case_in(c, 0, 1, C, -1);
    if (what & 4)
        lx_case_in_place(c, 0);
    lx_case_out(c, B, P, C, -1);
    if (what & 2)
        lx_case_absent_out(c);
    else if (op == LX_OP_group_norm)
        lx_case_out(c, B, shapes[i].G, 2, -1);
    else
        lx_case_out(c, B * P, 2, -1);
    lx_case_check(c, 2e-6);
    lx_case_free(c);
}

static void test_group_norm__agrees_with_plain(void **state)
{
    for (int i = 0; i < N_SHAPES; i++)
        for (int what = 0; what < 8; what++)
            check_forward(LX_OP_group_norm, i, what);
}

static void test_layer_norm__agrees_with_plain(void **state)
{
    for (int i = 0; i < N_SHAPES; i++)
        for (int what = 0; what < 8; what += 2)
            check_forward(LX_OP_layer_norm, i, what);
}

static void check_dx(lx_op_id op, int i, int what) /* 1 silu, 2 add, 4 in place of dy, 8 of add */
{
    const bool is_group = op == LX_OP_group_norm_dx;
    const int B = shapes[i].B, P = shapes[i].P, C = shapes[i].C;
    lx_case *c = lx_case_new(op);
    lx_attrs *a = lx_case_attrs(c);

    a->norm.n_groups = is_group ? shapes[i].G : 0;
    a->norm.eps = 1e-5f;
    a->norm.has_silu = what & 1;
    lx_case_in(c, 0.1, 1, B, P, C, -1);
    lx_case_in(c, 1.5, 2, B, P, C, -1);
    lx_case_in(c, 1, 0.3, C, -1);
    if (is_group)
        lx_case_in(c, 0, 1, C, -1);
    add_stats(c, is_group ? LX_OP_group_norm : LX_OP_layer_norm, i, what & 1);
    if (what & 10)
        lx_case_in(c, 0, 1, B, P, C, -1);
    if (what & 4)
        lx_case_in_place(c, 0);
    if (what & 8)
        lx_case_in_place(c, is_group ? 5 : 4);
    lx_case_out(c, B, P, C, -1);
    lx_case_check(c, 5e-6);
    lx_case_free(c);
}

/* Values close together and far from zero: what is left when the mean is taken off decides. */
static void test_norms__of_values_far_from_zero(void **state)
{
    const lx_op_id ops[] = {LX_OP_group_norm, LX_OP_layer_norm};

    for (int k = 0; k < 2; k++)
        for (int i = 1; i < N_SHAPES - 1; i++) {
            const int B = shapes[i].B, P = shapes[i].P, C = shapes[i].C;
            lx_case *c = lx_case_new(ops[k]);
            lx_attrs *a = lx_case_attrs(c);

            a->norm.n_groups = ops[k] == LX_OP_group_norm ? shapes[i].G : 0;
            a->norm.eps = 1e-5f;
            lx_case_in(c, 1000, 1, B, P, C, -1);
            lx_case_in(c, 1, 0.3, C, -1);
            lx_case_in(c, 0, 1, C, -1);
            lx_case_out(c, B, P, C, -1);
            lx_case_absent_out(c);
            lx_case_check(c, 2e-5);
            lx_case_free(c);
        }
}

static void test_group_norm_dx__agrees_with_plain(void **state)
{
    for (int i = 1; i < N_SHAPES; i++) /* a group of one element has no gradient, only rounding */
        for (int what = 0; what < 16 && shapes[i].P * shapes[i].C > shapes[i].G; what++)
            check_dx(LX_OP_group_norm_dx, i, what);
}

static void test_layer_norm_dx__agrees_with_plain(void **state)
{
    for (int i = 0; i < N_SHAPES; i++)
        for (int what = 0; what < 16 && shapes[i].C > 1; what += 2)
            check_dx(LX_OP_layer_norm_dx, i, what);
}

static void test_norm_dwb__adds_to_what_is_there(void **state)
{
    for (int i = 0; i < N_SHAPES; i++)
        for (int is_group = 0; is_group < 2; is_group++) {
            const int B = shapes[i].B, P = shapes[i].P, C = shapes[i].C;
            lx_case *c = lx_case_new(LX_OP_norm_dwb);
            lx_case_attrs(c)->norm.n_groups = is_group ? shapes[i].G : 0;
            lx_case_in(c, 0.1, 1, B, P, C, -1);
            lx_case_in(c, 1.5, 2, B, P, C, -1);
            add_stats(c, is_group ? LX_OP_group_norm : LX_OP_layer_norm, i, false);
            lx_case_out_sum(c, C, -1);
            lx_case_out_sum(c, C, -1);
            lx_case_check(c, 2e-6);
            lx_case_free(c);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_group_norm__agrees_with_plain),
        cmocka_unit_test(test_layer_norm__agrees_with_plain),
        cmocka_unit_test(test_norms__of_values_far_from_zero),
        cmocka_unit_test(test_group_norm_dx__agrees_with_plain),
        cmocka_unit_test(test_layer_norm_dx__agrees_with_plain),
        cmocka_unit_test(test_norm_dwb__adds_to_what_is_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
