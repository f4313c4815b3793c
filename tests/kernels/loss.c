/* The loss and its gradient against the plain one: every type, weights, tables, odd sizes. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/support/kernel_case.h"

enum { TIMESTEPS = 1000 };

static float huber_c[TIMESTEPS], weight[TIMESTEPS];

static void fill_tables(void)
{
    for (int i = 0; i < TIMESTEPS; i++) {
        huber_c[i] = 0.05f + 0.9f * (float)i / TIMESTEPS;
        weight[i] = 2 - (float)i / TIMESTEPS;
    }
}

static void check(lx_loss_type type, int B, int n,
                  int what) /* 1 weights, 2 table, 4 no dpred, 8 mask */
{
    const int64_t timesteps[3] = {0, 999, 417};
    lx_case *c = lx_case_new(LX_OP_loss);

    lx_case_attrs(c)->loss.type = type;
    lx_case_attrs(c)->loss.huber_c =
        type == LX_LOSS_L1 || type == LX_LOSS_L2 ? NULL : huber_c;
    lx_case_attrs(c)->loss.weight = what & 2 ? weight : NULL;
    lx_case_in(c, 0, 1, B, n, 3, -1);
    lx_case_in(c, 0.3, 1, B, n, 3, -1);
    lx_case_in_i64(c, B, timesteps);
    if (what & 1)
        lx_case_in(c, 1, 0.2, B, -1);
    else if (what & 8)
        lx_case_absent_in(c);
    if (what & 8)
        lx_case_in(c, 0.5, 0.2, B, n, -1);
    lx_case_out(c, 1, -1);
    if (what & 4)
        lx_case_absent_out(c);
    else
        lx_case_out(c, B, n, 3, -1);
    lx_case_check(c, 2e-7);
    lx_case_free(c);
}

static void test_loss__agrees_with_plain(void **state)
{
    const lx_loss_type types[] = {LX_LOSS_L2, LX_LOSS_L1, LX_LOSS_HUBER,
                                  LX_LOSS_SMOOTH_L1};

    fill_tables();
    for (int type = 0; type < 4; type++)
        for (int what = 0; what < 8; what++) {
            check(types[type], 1, 1, what);
            check(types[type], 3, 111, what);
            check(types[type], 2, 700, what);
            if (what < 2)
                check(types[type], 2, 111, what | 8);
        }
}

static void test_loss__is_nan_for_a_timestep_there_is_not(void **state)
{
    const int64_t timesteps[1] = {1000};
    lx_case *c = lx_case_new(LX_OP_loss);

    fill_tables();
    lx_case_attrs(c)->loss.weight = weight;
    lx_case_in(c, 0, 1, 1, 4, -1);
    lx_case_in(c, 0, 1, 1, 4, -1);
    lx_case_in_i64(c, 1, timesteps);
    lx_case_out(c, 1, -1);
    lx_case_out(c, 1, 4, -1);
    lx_case_run_one(c);
    assert_true(isnan(lx_case_output(c, 0)[0]) && isnan(lx_case_output(c, 1)[3]));
    lx_case_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_loss__agrees_with_plain),
        cmocka_unit_test(test_loss__is_nan_for_a_timestep_there_is_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
