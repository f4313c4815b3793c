/* Errors of builders: the first one stays, and says where, which op and both shapes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "src/graph/op.h"

static lx_graph *g;

static lx_tensor *input(const char *name, int n_dims, const int64_t *shape)
{
    return lx_graph_input(g, name, LX_F32, n_dims, shape);
}

static void assert_error(const char *text)
{
    lx_error err = {0};
    assert_int_equal(lx_graph_check(g, &err), LX_EMISMATCH);
    assert_string_equal(err.text, text);
    lx_graph_free(g);
}

static void begin(void)
{
    g = lx_graph_new();
    lx_graph_push(g, "down_blocks.0");
    lx_graph_push(g, "attn1");
}

static void test_graph_shape__linear_says_both_shapes(void **state)
{
    lx_tensor *x, *w, *y;

    begin();
    x = input("x", 3, (int64_t[]){2, 64, 320});
    w = input("w", 2, (int64_t[]){320, 300});
    y = lx_op_linear(g, x, w, NULL, 1);
    /* building goes on, on a placeholder that can be taken apart like any tensor */
    lx_graph_pop(g);
    lx_graph_pop(g);
    y = lx_op_reshape(g, y, 3,
                      (int64_t[]){y->shape[0], y->shape[1] * y->shape[2], y->shape[3]});
    y = lx_op_conv2d(g, lx_op_silu(g, y), w, NULL, 1, (int[4]){0});
    lx_graph_output(g, "y", lx_op_attention(g, y, y, y, 0, true));
    assert_error(
        "down_blocks.0.attn1: linear: x is F32 [2, 64, 320], w is F32 [320, 300]: "
        "x must be [.., K] and w [N, K] or [N, K, 1, 1]");
}

static void test_graph_shape__add_and_bias(void **state)
{
    begin();
    lx_op_add(g, input("a", 3, (int64_t[]){2, 3, 4}), input("b", 2, (int64_t[]){3, 4}));
    assert_error(
        "down_blocks.0.attn1: add: a is F32 [2, 3, 4], b is F32 [3, 4]: b must be like "
        "a, or [B, C] or [C] under [B, .., C]");
    begin();
    lx_op_conv2d(g, input("x", 4, (int64_t[]){1, 8, 8, 4}),
                 input("w", 4, (int64_t[]){6, 4, 3, 3}), input("b", 1, (int64_t[]){4}), 1,
                 (int[]){1, 1, 1, 1});
    assert_error(
        "down_blocks.0.attn1: conv2d: w is F32 [6, 4, 3, 3], bias is F32 [4]: the bias "
        "must be [Co]");
}

static void test_graph_shape__windows_heads_groups_and_ranges(void **state)
{
    begin();
    lx_op_conv2d(g, input("x", 4, (int64_t[]){1, 1, 8, 4}),
                 input("w", 4, (int64_t[]){6, 4, 3, 3}), NULL, 1, (int[4]){0});
    assert_error(
        "down_blocks.0.attn1: conv2d: x is F32 [1, 1, 8, 4], w is F32 [6, 4, 3, 3]: the "
        "window is larger than the padded image");
    begin();
    lx_tensor *q = input("q", 3, (int64_t[]){1, 8, 10});
    lx_op_attention(g, q, q, q, 4, false);
    assert_error(
        "down_blocks.0.attn1: attention: q is F32 [1, 8, 10]: its width is no multiple "
        "of 4 heads");
    begin();
    lx_op_group_norm(g, input("x", 3, (int64_t[]){1, 8, 10}),
                     input("w", 1, (int64_t[]){10}), input("b", 1, (int64_t[]){10}), 32,
                     1e-5f, true);
    assert_error(
        "down_blocks.0.attn1: group_norm: x is F32 [1, 8, 10]: its channels are no "
        "multiple of 32 groups");
    begin();
    lx_op_slice(g, input("x", 2, (int64_t[]){1, 8}), 1, 4, 9);
    assert_error(
        "down_blocks.0.attn1: slice: x is F32 [1, 8]: 4 to 9 of dimension 1 is not in "
        "it");
    begin();
    lx_op_permute(g, input("x", 2, (int64_t[]){1, 8}), (int[]){1, 1});
    assert_error(
        "down_blocks.0.attn1: permute: x is F32 [1, 8]: dimension 1 of the result is "
        "dimension 1 of x");
    begin();
    lx_op_embedding(g, input("ids", 1, (int64_t[]){8}),
                    input("table", 2, (int64_t[]){9, 4}));
    assert_error(
        "down_blocks.0.attn1: embedding: ids is F32 [8], table is F32 [9, 4]: ids must "
        "be I64 [..] and the table [V, D]");
}

static void test_graph_shape__impossible_sizes_are_refused(void **state)
{
    begin();
    input("x", 3, (int64_t[]){1 << 30, 1 << 30, 1 << 30});
    assert_error(
        "down_blocks.0.attn1: x: a tensor F32 [1073741824, 1073741824, 1073741824] is "
        "empty, of an unusable type or too large");
    begin();
    input("x", 2, (int64_t[]){4, 0});
    assert_error(
        "down_blocks.0.attn1: x: a tensor F32 [4, 0] is empty, of an unusable type or "
        "too large");
    begin();
    lx_op_reshape(g, input("x", 2, (int64_t[]){4, 3}), 2, (int64_t[]){2, 5});
    assert_error(
        "down_blocks.0.attn1: reshape: x is F32 [4, 3], the result is F32 [2, 5]: they "
        "must have as many elements");
}

static void test_graph_shape__the_first_error_stays(void **state)
{
    begin();
    lx_op_slice(g, input("x", 2, (int64_t[]){1, 8}), 1, 4, 9);
    lx_graph_fail(g, LX_EINTERNAL, "later");
    assert_error(
        "down_blocks.0.attn1: slice: x is F32 [1, 8]: 4 to 9 of dimension 1 is not in "
        "it");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_graph_shape__linear_says_both_shapes),
        cmocka_unit_test(test_graph_shape__add_and_bias),
        cmocka_unit_test(test_graph_shape__windows_heads_groups_and_ranges),
        cmocka_unit_test(test_graph_shape__impossible_sizes_are_refused),
        cmocka_unit_test(test_graph_shape__the_first_error_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
