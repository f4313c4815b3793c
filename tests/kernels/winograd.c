/* conv2d and conv2d_dx at sizes that take the tiled way, against the plain ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/support/kernel_case.h"

/* Odd sizes, channels that end within a block, several blocks of tiles and of channels, no padding,
 * uneven padding. */
static const struct {
    int B, h, w, Ci, Co, pad[4];
} shapes[] = {
    {1, 16, 16, 32, 32, {1, 1, 1, 1}},  {2, 15, 13, 40, 33, {1, 1, 1, 1}},
    {1, 20, 17, 33, 200, {1, 1, 1, 1}}, {1, 14, 14, 300, 48, {1, 1, 1, 1}},
    {3, 16, 10, 32, 36, {0, 0, 0, 0}},  {1, 21, 15, 37, 35, {0, 1, 2, 1}},
    {1, 48, 44, 32, 32, {1, 1, 1, 1}},  {8, 1, 96, 32, 32, {1, 1, 1, 1}},
    {1, 29, 28, 131, 37, {1, 1, 1, 1}},
};

enum { N_SHAPES = sizeof shapes / sizeof *shapes };

/* In bf16 other numbers are rounded than in the plain kernel: two roundings apart, seen 4.5e-3. */
static double limit_of(lx_compute compute)
{
    return compute == LX_COMPUTE_BF16 ? 5e-3 : 2e-6;
}

/* 1 bias, 2 add, 4 add in place, 8 F16, 16 bf16 */
static void check(lx_op_id op, int i, int what)
{
    const int oh = shapes[i].h + shapes[i].pad[0] + shapes[i].pad[2] - 2;
    const int ow = shapes[i].w + shapes[i].pad[1] + shapes[i].pad[3] - 2;
    lx_case *c = lx_case_new(op);
    lx_attrs *a = lx_case_attrs(c);

    a->conv.stride = 1;
    a->conv.arithmetic.compute = lx_case_compute(what & 16);
    a->conv.pad_top = shapes[i].pad[0];
    a->conv.pad_left = shapes[i].pad[1];
    a->conv.pad_bottom = shapes[i].pad[2];
    a->conv.pad_right = shapes[i].pad[3];
    if (op == LX_OP_conv2d)
        lx_case_in(c, 0, 1, shapes[i].B, shapes[i].h, shapes[i].w, shapes[i].Ci, -1);
    else
        lx_case_in(c, 0, 1, shapes[i].B, oh, ow, shapes[i].Co, -1);
    if (what & 8)
        lx_case_in_f16(c, 0.1, shapes[i].Co, shapes[i].Ci, 3, 3, -1);
    else
        lx_case_in(c, 0, 0.1, shapes[i].Co, shapes[i].Ci, 3, 3, -1);
    if (op == LX_OP_conv2d) {
        if (what & 1)
            lx_case_in(c, 0, 1, shapes[i].Co, -1);
        else
            lx_case_absent_in(c);
        if (what & 6)
            lx_case_in(c, 0, 1, shapes[i].B, oh, ow, shapes[i].Co, -1);
        if (what & 4)
            lx_case_in_place(c, 3);
        lx_case_out(c, shapes[i].B, oh, ow, shapes[i].Co, -1);
    } else {
        lx_case_out(c, shapes[i].B, shapes[i].h, shapes[i].w, shapes[i].Ci, -1);
    }
    lx_case_check(c, limit_of(a->conv.arithmetic.compute));
    lx_case_free(c);
}

static void test_winograd__forward_agrees_with_plain(void **state)
{
    for (int i = 0; i < N_SHAPES; i++)
        for (int what = i % 3; what < 32; what += what < 16 ? 3 : 9)
            check(LX_OP_conv2d, i, what);
}

static void test_winograd__gradient_agrees_with_plain(void **state)
{
    for (int i = 0; i < N_SHAPES; i++)
        for (int what = 0; what < 32; what += 8)
            check(LX_OP_conv2d_dx, i, what);
}

static void test_winograd__bf16_has_the_same_bits_on_every_instruction_set(void **state)
{
    const lx_case_device *before = lx_case_device_used;

    lx_case_device_used = &lx_case_isas;
    for (int i = 6; i < N_SHAPES; i++) { /* tiles enough for bf16 */
        check(LX_OP_conv2d, i, 16 | 1 | 8);
        check(LX_OP_conv2d_dx, i, 16);
    }
    lx_case_device_used = before;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_winograd__forward_agrees_with_plain),
        cmocka_unit_test(test_winograd__gradient_agrees_with_plain),
        cmocka_unit_test(test_winograd__bf16_has_the_same_bits_on_every_instruction_set),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
