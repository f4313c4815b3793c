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
    {1, 260, 9, 1, 33}, {1, 5, 600, 2, 12}, {3, 97, 97, 2, 10},
};

enum { N_SHAPES = sizeof shapes / sizeof *shapes };

static lx_case *new_case(lx_op_id op, int i, bool is_causal)
{
    lx_case *c = lx_case_new(op);
    const int width = shapes[i].N * shapes[i].d;

    lx_case_attrs(c)->attention.n_heads = shapes[i].N;
    lx_case_attrs(c)->attention.is_causal = is_causal;
    lx_case_attrs(c)->attention.scale = 1 / sqrtf((float)shapes[i].d);
    lx_case_in(c, 0, 2, shapes[i].B, shapes[i].T, width, -1);
    lx_case_in(c, 0, 2, shapes[i].B, shapes[i].S, width, -1);
    lx_case_in(c, 0.2, 1, shapes[i].B, shapes[i].S, width, -1);
    return c;
}

static void test_attention__agrees_with_plain(void **state)
{
    for (int i = 0; i < N_SHAPES; i++)
        for (int what = 0; what < 4; what++) {
            lx_case *c = new_case(LX_OP_attention, i, what & 1);
            lx_case_out(c, shapes[i].B, shapes[i].T, shapes[i].N * shapes[i].d, -1);
            if (what & 2)
                lx_case_out(c, shapes[i].B, shapes[i].N, shapes[i].T, -1);
            else
                lx_case_absent_out(c);
            lx_case_check(c, 2e-6);
            lx_case_free(c);
        }
}

static void test_attention_bwd__agrees_with_plain(void **state)
{
    for (int i = 0; i < N_SHAPES; i++)
        for (int what = 0; what < 16; what += 5) { /* 1 causal; 2, 4, 8: dq, dk, dv absent */
            const int width = shapes[i].N * shapes[i].d;
            lx_case *forward = new_case(LX_OP_attention, i, what & 1);
            lx_case *c = new_case(LX_OP_attention_bwd, i, what & 1);
            const int keys[] = {shapes[i].T, shapes[i].S, shapes[i].S};

            for (int j = 0; j < 3; j++)
                for (int n = 0; n < shapes[i].B * keys[j] * width; n++)
                    lx_case_input(forward, j)[n] = lx_case_input(c, j)[n];
            lx_case_out(forward, shapes[i].B, shapes[i].T, width, -1);
            lx_case_out(forward, shapes[i].B, shapes[i].N, shapes[i].T, -1);
            lx_case_run(forward);
            lx_case_in_data(c, lx_case_output(forward, 0), shapes[i].B, shapes[i].T, width, -1);
            lx_case_in_data(c, lx_case_output(forward, 1), shapes[i].B, shapes[i].N, shapes[i].T, -1);
            lx_case_in(c, 0, 1, shapes[i].B, shapes[i].T, width, -1);
            for (int j = 0; j < 3; j++)
                if (what & 2 << j)
                    lx_case_absent_out(c);
                else
                    lx_case_out(c, shapes[i].B, keys[j], width, -1);
            lx_case_check(c, 1e-5);
            lx_case_free(c);
            lx_case_free(forward);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_attention__agrees_with_plain),
        cmocka_unit_test(test_attention_bwd__agrees_with_plain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
