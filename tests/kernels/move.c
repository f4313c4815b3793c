/* Ops that move elements: by what must hold, since their kernels are the plain ones. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/support/kernel_case.h"

/* y[at] of the last run. */
static float out(lx_case *c, int64_t at)
{
    return lx_case_output(c, 0)[at];
}

static void test_concat__finds_its_dimension(void **state)
{
    lx_case *c = lx_case_new(LX_OP_concat);

    lx_case_in(c, 0, 1, 2, 3, 4, -1);
    lx_case_in(c, 0, 1, 2, 3, 5, -1);
    lx_case_out(c, 2, 3, 9, -1);
    lx_case_check(c, 0);
    for (int row = 0; row < 6; row++) {
        for (int i = 0; i < 4; i++)
            assert_true(out(c, row * 9 + i) == lx_case_input(c, 0)[row * 4 + i]);
        for (int i = 0; i < 5; i++)
            assert_true(out(c, row * 9 + 4 + i) == lx_case_input(c, 1)[row * 5 + i]);
    }
    lx_case_free(c);

    c = lx_case_new(LX_OP_concat);
    lx_case_in(c, 0, 1, 2, 3, 4, -1);
    lx_case_in(c, 0, 1, 2, 2, 4, -1);
    lx_case_out(c, 2, 5, 4, -1);
    lx_case_check(c, 0);
    for (int b = 0; b < 2; b++) {
        for (int i = 0; i < 12; i++)
            assert_true(out(c, b * 20 + i) == lx_case_input(c, 0)[b * 12 + i]);
        for (int i = 0; i < 8; i++)
            assert_true(out(c, b * 20 + 12 + i) == lx_case_input(c, 1)[b * 8 + i]);
    }
    lx_case_free(c);
}

static void test_slice__takes_a_range_and_gives_it_back(void **state)
{
    lx_case *c = lx_case_new(LX_OP_slice);

    lx_case_attrs(c)->slice.dim = 1;
    lx_case_attrs(c)->slice.begin = 1;
    lx_case_attrs(c)->slice.end = 3;
    lx_case_in(c, 0, 1, 2, 4, 3, -1);
    lx_case_out(c, 2, 2, 3, -1);
    lx_case_check(c, 0);
    for (int b = 0; b < 2; b++)
        for (int i = 0; i < 6; i++)
            assert_true(out(c, b * 6 + i) == lx_case_input(c, 0)[b * 12 + 3 + i]);
    lx_case_free(c);

    c = lx_case_new(LX_OP_slice_dx);
    lx_case_attrs(c)->slice.dim = 1;
    lx_case_attrs(c)->slice.begin = 1;
    lx_case_attrs(c)->slice.end = 3;
    lx_case_in(c, 0, 1, 2, 2, 3, -1);
    lx_case_out(c, 2, 4, 3, -1);
    lx_case_check(c, 0);
    for (int b = 0; b < 2; b++)
        for (int i = 0; i < 12; i++) {
            const bool is_inside = i >= 3 && i < 9;
            assert_true(out(c, b * 12 + i) ==
                        (is_inside ? lx_case_input(c, 0)[b * 6 + i - 3] : 0));
        }
    lx_case_free(c);
}

static void test_permute__moves_every_element(void **state)
{
    enum { B = 2, C = 3, H = 4, W = 5 };
    lx_case *c = lx_case_new(LX_OP_permute);
    const int dims[] = {0, 2, 3, 1};

    for (int i = 0; i < 4; i++)
        lx_case_attrs(c)->permute.dims[i] = dims[i];
    lx_case_in(c, 0, 1, B, C, H, W, -1);
    lx_case_out(c, B, H, W, C, -1);
    lx_case_check(c, 0);
    for (int b = 0; b < B; b++)
        for (int ch = 0; ch < C; ch++)
            for (int i = 0; i < H; i++)
                for (int j = 0; j < W; j++)
                    assert_true(out(c, ((b * H + i) * W + j) * C + ch) ==
                                lx_case_input(c, 0)[((b * C + ch) * H + i) * W + j]);
    lx_case_free(c);
}

/* <up(x), g> = <x, up_dx(g)> whatever the sizes, and doubling repeats every pixel. */
static void test_upsample_nearest__gradient_is_its_transpose(void **state)
{
    static const int sizes[][4] = {
        {4, 4, 8, 8}, {3, 4, 5, 7}, {1, 1, 3, 2}, {5, 3, 5, 3}, {7, 5, 13, 9}};

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const int h = sizes[i][0], w = sizes[i][1], H = sizes[i][2], W = sizes[i][3],
                  C = 3;
        lx_case *up = lx_case_new(LX_OP_upsample_nearest);
        lx_case *down = lx_case_new(LX_OP_upsample_nearest_dx);
        double there = 0, back = 0;

        lx_case_in(up, 0, 1, 2, h, w, C, -1);
        lx_case_out(up, 2, H, W, C, -1);
        lx_case_check(up, 0);
        lx_case_in(down, 0, 1, 2, H, W, C, -1);
        lx_case_out(down, 2, h, w, C, -1);
        lx_case_check(down, 0);
        for (int j = 0; j < 2 * H * W * C; j++)
            there += (double)out(up, j) * lx_case_input(down, 0)[j];
        for (int j = 0; j < 2 * h * w * C; j++)
            back += (double)out(down, j) * lx_case_input(up, 0)[j];
        assert_true(fabs(there - back) < 1e-4);
        if (H == 2 * h && W == 2 * w)
            for (int y = 0; y < H; y++)
                for (int x = 0; x < W; x++)
                    assert_true(out(up, (y * W + x) * C) ==
                                lx_case_input(up, 0)[(y / 2 * w + x / 2) * C]);
        lx_case_free(up);
        lx_case_free(down);
    }
}

static void test_embedding__looks_up_rows(void **state)
{
    const int64_t ids[4] = {2, 0, 5, -1};
    lx_case *c = lx_case_new(LX_OP_embedding);

    lx_case_in_i64(c, 4, ids);
    lx_case_in(c, 0, 1, 5, 7, -1);
    lx_case_out(c, 4, 7, -1);
    lx_case_run_one(c);
    for (int i = 0; i < 7; i++) {
        assert_true(out(c, i) == lx_case_input(c, 1)[14 + i]);
        assert_true(out(c, 7 + i) == lx_case_input(c, 1)[i]);
        assert_true(isnan(out(c, 14 + i)) &&
                    isnan(out(c, 21 + i))); /* there is no such row */
    }
    lx_case_free(c);
}

static void test_timestep_embedding__agrees_with_plain(void **state)
{
    const int64_t steps[3] = {0, 1, 999};
    const float between[3] = {0.5f, 998.75f, 3};

    for (int dim = 1; dim < 330; dim += 319)
        for (int is_whole = 0; is_whole < 2; is_whole++) {
            lx_case *c = lx_case_new(LX_OP_timestep_embedding);
            if (is_whole)
                lx_case_in_i64(c, 3, steps);
            else
                lx_case_in_data(c, between, 3, -1);
            lx_case_out(c, 3, dim, -1);
            lx_case_check(c, 1e-7);
            lx_case_free(c);
        }
}

static void test_cast__widens_and_narrows(void **state)
{
    lx_case *c = lx_case_new(LX_OP_cast);

    lx_case_in_f16(c, 3, 5, 77, -1);
    lx_case_out(c, 5, 77, -1);
    lx_case_check(c, 0);
    lx_case_free(c);
    c = lx_case_new(LX_OP_cast);
    lx_case_in(c, 0, 3, 5, 77, -1);
    lx_case_out(c, 5, 77, -1);
    lx_case_check(c, 0);
    lx_case_free(c);
}

static void test_cast__refuses_what_it_cannot_do(void **state)
{
    lx_device *dev;
    lx_error err = {0};
    lx_call call = {.op = LX_OP_cast, .n_in = 1, .n_out = 1, .label = "x"};

    assert_int_equal(lx_device_open_cpu(&dev, 1, &err), 0);
    call.in[0].dtype = LX_F16;
    call.out[0].dtype = LX_I64;
    assert_int_equal(dev->kernels[LX_OP_cast].prepare(dev, &call, true, &err),
                     LX_EUNSUPPORTED);
    call.out[0].dtype = LX_F32;
    assert_int_equal(dev->kernels[LX_OP_cast].prepare(dev, &call, true, &err), 0);
    lx_device_close(dev);
}

/* Sharing, counting and giving back of packed copies. */
static void test_pack__is_shared_and_counted(void **state)
{
    lx_device *dev;
    lx_error err = {0};
    float values[4] = {0};
    const lx_arg weight = {.data = values};
    void *a, *b;
    bool is_new;

    assert_int_equal(lx_device_open_cpu(&dev, 1, &err), 0);
    assert_int_equal(lx_pack_get(dev, &weight, 1, 100, &a, &is_new, &err), 0);
    assert_true(is_new && dev->bytes_now == 100);
    assert_int_equal(lx_pack_get(dev, &weight, 1, 100, &b, &is_new, &err), 0);
    assert_true(!is_new && a == b && dev->bytes_now == 100);
    assert_int_equal(lx_pack_get(dev, &weight, 2, 50, &b, &is_new, &err), 0);
    assert_true(is_new && a != b && dev->bytes_peak == 150);
    lx_pack_put(dev, &weight, 1);
    assert_true(dev->bytes_now == 150);
    lx_pack_put(dev, &weight, 1);
    lx_pack_spoil(dev, &weight, 2);
    assert_true(dev->bytes_now == 0);
    lx_device_close(dev);
}

/* Copies of a weight with a source outlive their users until they are asked to go. */
static void test_pack__waits_for_the_next_plan(void **state)
{
    const lx_weight_source source = {0};
    const lx_arg weight = {.source = &source};
    lx_device *dev;
    lx_error err = {0};
    void *a, *b;
    bool is_new;

    assert_int_equal(lx_device_open_cpu(&dev, 1, &err), 0);
    assert_int_equal(lx_pack_get(dev, &weight, 1, 100, &a, &is_new, &err), 0);
    lx_pack_put(dev, &weight, 1);
    assert_int_equal(lx_pack_get(dev, &weight, 1, 100, &b, &is_new, &err), 0);
    assert_true(!is_new && a == b && dev->bytes_now == 100);
    lx_pack_trim(dev);
    assert_true(dev->bytes_now == 100);
    lx_pack_put(dev, &weight, 1);
    lx_pack_trim(dev);
    assert_true(dev->bytes_now == 0);
    lx_device_close(dev);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_concat__finds_its_dimension),
        cmocka_unit_test(test_slice__takes_a_range_and_gives_it_back),
        cmocka_unit_test(test_permute__moves_every_element),
        cmocka_unit_test(test_upsample_nearest__gradient_is_its_transpose),
        cmocka_unit_test(test_embedding__looks_up_rows),
        cmocka_unit_test(test_timestep_embedding__agrees_with_plain),
        cmocka_unit_test(test_cast__widens_and_narrows),
        cmocka_unit_test(test_cast__refuses_what_it_cannot_do),
        cmocka_unit_test(test_pack__is_shared_and_counted),
        cmocka_unit_test(test_pack__waits_for_the_next_plan),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
