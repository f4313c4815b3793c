/* Dropout against the plain one, and what it leaves out. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/support/kernel_case.h"

static lx_case *dropout(int B, int P, int C, double neuron, double rank, double module,
                        int64_t micro_step)
{
    const int64_t moment[2] = {42, micro_step};
    lx_case *c = lx_case_new(LX_OP_dropout);

    lx_case_attrs(c)->dropout.neuron = (float)neuron;
    lx_case_attrs(c)->dropout.rank = (float)rank;
    lx_case_attrs(c)->dropout.module = (float)module;
    lx_case_attrs(c)->dropout.stream = 12345;
    lx_case_in(c, 3, 0.5, B, P, C, -1);
    lx_case_in_i64(c, 2, moment);
    lx_case_out(c, B, P, C, -1);
    return c;
}

static void test_dropout__agrees_with_plain(void **state)
{
    static const int shapes[][3] = {
        {1, 1, 1}, {2, 77, 4}, {3, 9, 5}, {2, 4099, 8}, {1, 64, 320}};
    static const double shares[][3] = {
        {0.1, 0, 0}, {0, 0.25, 0}, {0, 0, 0.5}, {0.3, 0.5, 0.2}, {0, 0, 0}};

    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (size_t p = 0; p < sizeof shares / sizeof *shares; p++)
            for (int in_place = 0; in_place < 2; in_place++)
                for (int64_t at = 0; at < 3; at++) {
                    lx_case *c = dropout(shapes[s][0], shapes[s][1], shapes[s][2],
                                         shares[p][0], shares[p][1], shares[p][2], at);
                    if (in_place)
                        lx_case_in_place(c, 0);
                    lx_case_check(c, 0);
                    lx_case_free(c);
                }
}

/* The share that is left out is what was asked for, and the mean stays. */
static void test_dropout__leaves_out_the_share_that_was_asked_for(void **state)
{
    enum { N = 200000 };
    lx_case *c = dropout(1, N, 1, 0.2, 0, 0, 7);
    double sum = 0, before = 0;
    int n_zero = 0;

    lx_case_run_one(c);
    for (int i = 0; i < N; i++) {
        n_zero += lx_case_output(c, 0)[i] == 0;
        sum += lx_case_output(c, 0)[i];
        before += lx_case_input(c, 0)[i];
    }
    assert_true(fabs((double)n_zero / N - 0.2) < 5 * sqrt(0.2 * 0.8 / N));
    assert_true(fabs(sum / before - 1) < 5 * sqrt(0.25 / N));
    lx_case_free(c);
}

static void test_dropout__a_rank_goes_at_every_position_of_its_sample(void **state)
{
    enum { B = 4, P = 50, C = 16 };
    lx_case *c = dropout(B, P, C, 0, 0.5, 0, 3);
    int n_dropped = 0;

    lx_case_run_one(c);
    for (int b = 0; b < B; b++)
        for (int k = 0; k < C; k++) {
            const float *y = lx_case_output(c, 0) + b * P * C + k;
            const float *x = lx_case_input(c, 0) + b * P * C + k;
            n_dropped += y[0] == 0;
            for (int p = 0; p < P; p++)
                assert_true(y[0] == 0 ? y[p * C] == 0 : y[p * C] == 2 * x[p * C]);
        }
    assert_true(n_dropped > 10 && n_dropped < 54);
    lx_case_free(c);
}

static void test_dropout__a_module_goes_whole_and_not_every_time(void **state)
{
    int n_whole = 0;

    for (int64_t at = 0; at < 400; at++) {
        lx_case *c = dropout(2, 3, 4, 0, 0, 0.25, at);
        const float *x = lx_case_input(c, 0), *y;

        lx_case_run_one(c);
        y = lx_case_output(c, 0);
        n_whole += y[0] != 0;
        for (int i = 0; i < 24; i++)
            assert_true(y[i] == (y[0] != 0 ? x[i] : 0));
        lx_case_free(c);
    }
    assert_true(abs(n_whole - 300) < 45);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dropout__agrees_with_plain),
        cmocka_unit_test(test_dropout__leaves_out_the_share_that_was_asked_for),
        cmocka_unit_test(test_dropout__a_rank_goes_at_every_position_of_its_sample),
        cmocka_unit_test(test_dropout__a_module_goes_whole_and_not_every_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
