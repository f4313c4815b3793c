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
};

enum { N_SHAPES = sizeof shapes / sizeof *shapes };

static void check(lx_op_id op, int i, int what) /* 1 bias, 2 add, 4 add in place, 8 F16 */
{
    const int oh = shapes[i].h + shapes[i].pad[0] + shapes[i].pad[2] - 2;
    const int ow = shapes[i].w + shapes[i].pad[1] + shapes[i].pad[3] - 2;
    lx_case *c = lx_case_new(op);
    lx_attrs *a = lx_case_attrs(c);

    a->conv.stride = 1;
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
    lx_case_check(c, 2e-6);
    lx_case_free(c);
}

static void test_winograd__forward_agrees_with_plain(void **state)
{
    for (int i = 0; i < N_SHAPES; i++)
        for (int what = i % 3; what < 16; what += 3)
            check(LX_OP_conv2d, i, what);
}

static void test_winograd__gradient_agrees_with_plain(void **state)
{
    for (int i = 0; i < N_SHAPES; i++)
        for (int what = 0; what < 16; what += 8)
            check(LX_OP_conv2d_dx, i, what);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_winograd__forward_agrees_with_plain),
        cmocka_unit_test(test_winograd__gradient_agrees_with_plain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
