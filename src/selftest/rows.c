#include "src/selftest/rows.h"

#include <math.h>
#include <stdlib.h>

enum { SMALL = 0, LARGE = 1 };

#define NONE                        \
    {                               \
        .linear = {.scale = 0.75f } \
    }
#define ONE                     \
    {                           \
        .linear = {.scale = 1 } \
    }
#define NORM(groups, silu)                                            \
    {                                                                 \
        .norm = {.n_groups = groups, .eps = 1e-5f, .has_silu = silu } \
    }
#define HEADS(n, causal, d)                                           \
    {                                                                 \
        .attention = {.n_heads = n, .is_causal = causal, .scale = d } \
    }
#define CONV(n, pad)           \
    {                          \
        .conv = {              \
            .stride = n,       \
            .pad_top = pad,    \
            .pad_left = pad,   \
            .pad_bottom = pad, \
            .pad_right = pad   \
        }                      \
    }
#define NCHW_TO_NHWC                       \
    {                                      \
        .permute = {.dims = {0, 2, 3, 1} } \
    }

const lx_selftest_row lx_selftest_rows[] = {
    {LX_OP_conv2d,
     2e-6,
     SMALL,
     CONV(1, 1),
     {"x 2 9 13 32", "w 32 32 3 3", "f 32", "x 2 9 13 32"},
     {"x 2 9 13 32"}},
    {LX_OP_conv2d,
     2e-6,
     SMALL,
     CONV(2, 1),
     {"x 1 8 6 40", "w 17 40 3 3", NULL},
     {"x 1 4 3 17"}},
    {LX_OP_conv2d,
     2e-6,
     SMALL,
     CONV(1, 0),
     {"x 3 5 7 70", "w 30 70 1 1", "f 30"},
     {"x 3 5 7 30"}},
    {LX_OP_conv2d,
     4e-6,
     LARGE,
     CONV(1, 1),
     {"x 1 64 64 320", "w 320 320 3 3", "f 320"},
     {"x 1 64 64 320"}},
    {LX_OP_conv2d,
     4e-6,
     LARGE,
     CONV(2, 1),
     {"x 1 64 64 320", "w 320 320 3 3", "f 320"},
     {"x 1 32 32 320"}},
    {LX_OP_conv2d,
     4e-6,
     LARGE,
     CONV(1, 1),
     {"x 1 16 16 2560", "w 1280 2560 3 3", "f 1280"},
     {"x 1 16 16 1280"}},
    {LX_OP_conv2d_dx,
     2e-6,
     SMALL,
     CONV(1, 1),
     {"x 2 9 13 32", "w 32 24 3 3"},
     {"x 2 9 13 24"}},
    {LX_OP_conv2d_dx,
     2e-6,
     SMALL,
     CONV(2, 1),
     {"x 1 4 3 17", "w 17 40 3 3"},
     {"x 1 8 6 40"}},
    {LX_OP_conv2d_dx,
     4e-6,
     LARGE,
     CONV(1, 1),
     {"x 1 64 64 320", "w 320 320 3 3"},
     {"x 1 64 64 320"}},
    {LX_OP_conv2d_dw,
     2e-6,
     SMALL,
     CONV(1, 1),
     {"x 2 9 7 16", "x 2 9 7 33"},
     {"+ 16 33 3 3"}},
    {LX_OP_conv2d_dw,
     4e-6,
     LARGE,
     CONV(1, 1),
     {"x 1 64 64 16", "x 1 64 64 320"},
     {"+ 16 320 3 3"}},

    {LX_OP_linear,
     2e-6,
     SMALL,
     NONE,
     {"x 1 97 64", "w 33 64", "f 33", "x 1 97 33"},
     {"x 1 97 33"}},
    {LX_OP_linear, 2e-6, SMALL, ONE, {"x 13 641", "w 17 641", NULL}, {"x 13 17"}},
    {LX_OP_linear,
     4e-6,
     LARGE,
     ONE,
     {"x 4096 320", "w 2560 320", "f 2560"},
     {"x 4096 2560"}},
    {LX_OP_linear, 4e-6, LARGE, ONE, {"x 1024 640", "w 640 640", NULL}, {"x 1024 640"}},
    {LX_OP_linear, 4e-6, LARGE, ONE, {"x 4096 320", "x 32 320", NULL}, {"x 4096 32"}},
    {LX_OP_linear_dx, 2e-6, SMALL, NONE, {"x 97 33", "w 33 64", "x 97 64"}, {"x 97 64"}},
    {LX_OP_linear_dx, 4e-6, LARGE, ONE, {"x 4096 2560", "w 2560 320"}, {"x 4096 320"}},
    {LX_OP_linear_dw, 2e-6, SMALL, NONE, {"x 1 97 8", "x 1 97 64"}, {"+ 8 64"}},
    {LX_OP_linear_dw, 4e-6, LARGE, ONE, {"x 4096 32", "x 4096 320"}, {"+ 32 320"}},
    {LX_OP_hadamard,
     2e-6,
     SMALL,
     NONE,
     {"f 33 4", "f 4 45", "f 33 3", "f 3 45"},
     {"f 33 45"}},
    {LX_OP_hadamard_dab,
     2e-6,
     SMALL,
     NONE,
     {"f 33 45", "f 33 4", "f 4 45", "f 33 3", "f 3 45"},
     {"+ 33 4", "+ 4 45"}},

    {LX_OP_attention,
     2e-6,
     SMALL,
     HEADS(2, false, 0.158f),
     {"x 1 70 80", "x 1 66 80", "x 1 66 80"},
     {"x 1 70 80", "f 1 2 70"}},
    {LX_OP_attention,
     2e-6,
     SMALL,
     HEADS(3, true, 0.125f),
     {"x 1 77 192", "x 1 77 192", "x 1 77 192"},
     {"x 1 77 192", "f 1 3 77"}},
    {LX_OP_attention,
     2e-6,
     SMALL,
     HEADS(1, false, 0.112f),
     {"x 1 20 80", "x 1 40 80", "x 1 40 80"},
     {"x 1 20 80", "f 1 1 20"}},
    {LX_OP_attention,
     2e-6,
     SMALL,
     HEADS(2, false, 0.079f),
     {"x 1 16 320", "x 1 16 320", "x 1 16 320"},
     {"x 1 16 320", "f 1 2 16"}},
    {LX_OP_attention,
     4e-6,
     LARGE,
     HEADS(8, false, 0.158f),
     {"x 1 4096 320", "x 1 4096 320", "x 1 4096 320"},
     {"x 1 4096 320", "f 1 8 4096"}},
    {LX_OP_attention,
     4e-6,
     LARGE,
     HEADS(8, false, 0.158f),
     {"x 1 4096 320", "x 1 77 320", "x 1 77 320"},
     {"x 1 4096 320", "f 1 8 4096"}},
    {LX_OP_attention,
     4e-6,
     LARGE,
     HEADS(8, false, 0.112f),
     {"x 1 1024 640", "x 1 1024 640", "x 1 1024 640"},
     {"x 1 1024 640", "f 1 8 1024"}},
    {LX_OP_attention,
     4e-6,
     LARGE,
     HEADS(8, false, 0.079f),
     {"x 1 256 1280", "x 1 256 1280", "x 1 256 1280"},
     {"x 1 256 1280", "f 1 8 256"}},
    {LX_OP_attention_bwd,
     1e-5,
     SMALL,
     HEADS(2, false, 0.158f),
     {"x 1 70 80", "x 1 66 80", "x 1 66 80", "x 1 70 80", "z 1 2 70", "x 1 70 80"},
     {"x 1 70 80", "x 1 66 80", "x 1 66 80"}},
    {LX_OP_attention_bwd,
     1e-5,
     SMALL,
     HEADS(3, true, 0.125f),
     {"x 1 77 192", "x 1 77 192", "x 1 77 192", "x 1 77 192", "z 1 3 77", "x 1 77 192"},
     {"x 1 77 192", "x 1 77 192", "x 1 77 192"}},
    {LX_OP_attention_bwd,
     1e-5,
     SMALL,
     HEADS(1, false, 0.112f),
     {"x 1 20 80", "x 1 40 80", "x 1 40 80", "x 1 20 80", "z 1 1 20", "x 1 20 80"},
     {"x 1 20 80", "x 1 40 80", "x 1 40 80"}},
    {LX_OP_attention_bwd,
     1e-5,
     SMALL,
     HEADS(2, false, 0.079f),
     {"x 1 16 320", "x 1 16 320", "x 1 16 320", "x 1 16 320", "z 1 2 16", "x 1 16 320"},
     {"x 1 16 320", "x 1 16 320", "x 1 16 320"}},
    {LX_OP_attention_bwd,
     1e-5,
     LARGE,
     HEADS(8, false, 0.158f),
     {"x 1 4096 320", "x 1 4096 320", "x 1 4096 320", "x 1 4096 320", "z 1 8 4096",
      "x 1 4096 320"},
     {"x 1 4096 320", "x 1 4096 320", "x 1 4096 320"}},
    {LX_OP_attention_bwd,
     1e-5,
     LARGE,
     HEADS(8, false, 0.112f),
     {"x 1 1024 640", "x 1 1024 640", "x 1 1024 640", "x 1 1024 640", "z 1 8 1024",
      "x 1 1024 640"},
     {"x 1 1024 640", "x 1 1024 640", "x 1 1024 640"}},

    {LX_OP_group_norm,
     2e-6,
     SMALL,
     NORM(32, true),
     {"x 2 35 64", "g 64", "f 64"},
     {"x 2 35 64", "f 2 32 2"}},
    {LX_OP_group_norm,
     2e-6,
     SMALL,
     NORM(3, false),
     {"x 1 77 33", "g 33", "f 33"},
     {"x 1 77 33", "f 1 3 2"}},
    {LX_OP_group_norm,
     4e-6,
     LARGE,
     NORM(32, true),
     {"x 1 4096 320", "g 320", "f 320"},
     {"x 1 4096 320", "f 1 32 2"}},
    {LX_OP_group_norm,
     4e-6,
     LARGE,
     NORM(32, true),
     {"x 1 64 1280", "g 1280", "f 1280"},
     {"x 1 64 1280", "f 1 32 2"}},
    {LX_OP_group_norm_dx,
     5e-6,
     SMALL,
     NORM(32, true),
     {"x 2 35 64", "x 2 35 64", "g 64", "f 64", "s 2 32 2", "x 2 35 64"},
     {"x 2 35 64"}},
    {LX_OP_group_norm_dx,
     5e-6,
     LARGE,
     NORM(32, true),
     {"x 1 4096 320", "x 1 4096 320", "g 320", "f 320", "s 1 32 2"},
     {"x 1 4096 320"}},
    {LX_OP_layer_norm,
     2e-6,
     SMALL,
     NORM(0, false),
     {"x 97 33", "g 33", "f 33"},
     {"x 97 33", "f 97 2"}},
    {LX_OP_layer_norm,
     4e-6,
     LARGE,
     NORM(0, false),
     {"x 4096 320", "g 320", "f 320"},
     {"x 4096 320", "f 4096 2"}},
    {LX_OP_layer_norm_dx,
     5e-6,
     SMALL,
     NORM(0, false),
     {"x 97 33", "x 97 33", "g 33", "s 97 2", "x 97 33"},
     {"x 97 33"}},
    {LX_OP_layer_norm_dx,
     5e-6,
     LARGE,
     NORM(0, false),
     {"x 4096 320", "x 4096 320", "g 320", "s 4096 2"},
     {"x 4096 320"}},
    {LX_OP_norm_dwb,
     2e-6,
     SMALL,
     NORM(0, false),
     {"x 97 33", "x 97 33", "s 97 2"},
     {"+ 33", "+ 33"}},
    {LX_OP_norm_dwb,
     2e-6,
     SMALL,
     NORM(8, false),
     {"x 2 35 64", "x 2 35 64", "s 2 8 2"},
     {"+ 64", "+ 64"}},
    {LX_OP_bias_db, 5e-7, SMALL, ONE, {"x 2 129 5"}, {"+ 5"}},
    {LX_OP_sum_rows, 5e-7, SMALL, ONE, {"x 3 33 13"}, {"x 3 13"}},
    {LX_OP_sum_rows, 1e-6, LARGE, ONE, {"x 1 4096 320"}, {"x 1 320"}},

    {LX_OP_silu, 3e-7, SMALL, ONE, {"x 1000"}, {"x 1000"}},
    {LX_OP_silu, 3e-7, LARGE, ONE, {"x 4096 320"}, {"x 4096 320"}},
    {LX_OP_silu_dx, 5e-7, SMALL, ONE, {"x 1000", "x 1000"}, {"x 1000"}},
    {LX_OP_silu_dx, 5e-7, LARGE, ONE, {"x 4096 320", "x 4096 320"}, {"x 4096 320"}},
    {LX_OP_gelu, 3e-7, SMALL, ONE, {"x 1001"}, {"x 1001"}},
    {LX_OP_gelu_dx, 5e-7, SMALL, ONE, {"x 1001", "x 1001"}, {"x 1001"}},
    {LX_OP_quick_gelu, 3e-7, SMALL, ONE, {"x 997"}, {"x 997"}},
    {LX_OP_quick_gelu, 3e-7, LARGE, ONE, {"x 77 3072"}, {"x 77 3072"}},
    {LX_OP_quick_gelu_dx, 5e-7, SMALL, ONE, {"x 997", "x 997"}, {"x 997"}},
    {LX_OP_geglu, 5e-7, SMALL, ONE, {"x 3 33 26"}, {"x 3 33 13"}},
    {LX_OP_geglu, 5e-7, LARGE, ONE, {"x 4096 2560"}, {"x 4096 1280"}},
    {LX_OP_geglu_dx, 5e-7, SMALL, ONE, {"x 3 33 13", "x 3 33 26"}, {"x 3 33 26"}},
    {LX_OP_geglu_dx, 5e-7, LARGE, ONE, {"x 4096 1280", "x 4096 2560"}, {"x 4096 2560"}},
    {LX_OP_softmax, 1e-6, SMALL, ONE, {"x 33 77"}, {"x 33 77"}},
    {LX_OP_softmax, 1e-6, LARGE, ONE, {"x 1024 1024"}, {"x 1024 1024"}},
    {LX_OP_softmax_dx, 2e-6, SMALL, ONE, {"x 33 77", "x 33 77"}, {"x 33 77"}},

    {LX_OP_add, 0, SMALL, ONE, {"x 2 35 13", "x 2 35 13"}, {"x 2 35 13"}},
    {LX_OP_add, 0, SMALL, ONE, {"x 2 35 13", "x 2 13"}, {"x 2 35 13"}},
    {LX_OP_add, 0, LARGE, ONE, {"x 1 4096 320", "x 1 4096 320"}, {"x 1 4096 320"}},
    {LX_OP_scale, 0, SMALL, NONE, {"x 1000"}, {"x 1000"}},
    {LX_OP_scale, 0, LARGE, NONE, {"x 4096 320"}, {"x 4096 320"}},
    {LX_OP_dropout,
     0,
     SMALL,
     {.dropout = {.neuron = 0.25f, .rank = 0.1f, .stream = 12345}},
     {"x 2 99 8", "m 2"},
     {"x 2 99 8"}},
    {LX_OP_dropout,
     0,
     LARGE,
     {.dropout = {.neuron = 0.25f, .stream = 12345}},
     {"x 1 4096 32", "m 2"},
     {"x 1 4096 32"}},
    {LX_OP_mul_add, 2e-7, SMALL, ONE, {"a 3", "x 3 99", "a 3", "x 3 99"}, {"x 3 99"}},
    {LX_OP_concat, 0, SMALL, ONE, {"x 2 5 3 16", "x 2 5 3 9"}, {"x 2 5 3 25"}},
    {LX_OP_concat, 0, LARGE, ONE, {"x 1 64 64 320", "x 1 64 64 320"}, {"x 1 64 64 640"}},
    {LX_OP_slice, 0, SMALL, {.slice = {1, 1, 3}}, {"x 2 4 9"}, {"x 2 2 9"}},
    {LX_OP_slice, 0, LARGE, {.slice = {3, 0, 320}}, {"x 1 64 64 640"}, {"x 1 64 64 320"}},
    {LX_OP_slice_dx, 0, SMALL, {.slice = {1, 1, 3}}, {"x 2 2 9"}, {"x 2 4 9"}},
    {LX_OP_upsample_nearest, 0, SMALL, {.size = {5, 7}}, {"x 2 3 4 3"}, {"x 2 5 7 3"}},
    {LX_OP_upsample_nearest,
     0,
     LARGE,
     {.size = {64, 64}},
     {"x 1 32 32 640"},
     {"x 1 64 64 640"}},
    {LX_OP_upsample_nearest_dx,
     2e-7,
     SMALL,
     {.size = {6, 8}},
     {"x 2 6 8 3"},
     {"x 2 3 4 3"}},
    {LX_OP_upsample_nearest_dx,
     2e-7,
     LARGE,
     {.size = {64, 64}},
     {"x 1 64 64 640"},
     {"x 1 32 32 640"}},
    {LX_OP_embedding, 0, SMALL, ONE, {"i 77", "x 100 40"}, {"x 77 40"}},
    {LX_OP_timestep_embedding, 1e-7, SMALL, ONE, {"t 5"}, {"x 5 320"}},
    {LX_OP_permute, 0, SMALL, NCHW_TO_NHWC, {"x 2 3 5 7"}, {"x 2 5 7 3"}},
    {LX_OP_permute, 0, LARGE, NCHW_TO_NHWC, {"x 1 320 64 64"}, {"x 1 64 64 320"}},
    {LX_OP_cast, 0, SMALL, ONE, {"w 5 77"}, {"x 5 77"}},
    {LX_OP_cast, 0, SMALL, ONE, {"x 5 77"}, {"x 5 77"}},
    {LX_OP_loss,
     2e-7,
     SMALL,
     {.loss = {.type = LX_LOSS_L2}},
     {"x 3 111 4", "x 3 111 4", "t 3", "a 3"},
     {"f 1", "x 3 111 4"}},
    {LX_OP_loss,
     2e-7,
     SMALL,
     {.loss = {.type = LX_LOSS_L1}},
     {"x 2 7 4", "x 2 7 4", "t 2"},
     {"f 1", "x 2 7 4"}},
};

const size_t lx_selftest_n_rows = sizeof lx_selftest_rows / sizeof *lx_selftest_rows;

bool lx_selftest_has_arithmetic(lx_op_id op)
{
    return op == LX_OP_linear || op == LX_OP_linear_dx || op == LX_OP_conv2d ||
           op == LX_OP_conv2d_dx || op == LX_OP_attention || op == LX_OP_attention_bwd;
}

static lx_arithmetic *arithmetic_of(lx_case *c)
{
    lx_attrs *attrs = lx_case_attrs(c);

    switch (lx_case_op(c)) {
    case LX_OP_linear:
    case LX_OP_linear_dx:
        return &attrs->linear.arithmetic;
    case LX_OP_conv2d:
    case LX_OP_conv2d_dx:
        return &attrs->conv.arithmetic;
    default:
        return &attrs->attention.arithmetic;
    }
}

/* The dimensions behind an operand's letter. */
static int read_shape(int64_t shape[LX_MAX_DIMS], const char *text)
{
    int n = 0;

    for (char *end; n < LX_MAX_DIMS; n++, text = end) {
        shape[n] = strtoll(text, &end, 10);
        if (end == text)
            break;
    }
    return n;
}

/* The first dimension of an operand. */
static int64_t first_of(const char *text)
{
    int64_t shape[LX_MAX_DIMS] = {0};

    read_shape(shape, text + 1);
    return shape[0];
}

static void add_whole(lx_case *c, const lx_selftest_row *row, char letter, int64_t n)
{
    enum { MOST = 128 };
    int64_t values[MOST];

    for (int64_t i = 0; i < n && i < MOST; i++)
        values[i] = letter == 't'   ? (i * 389 + 17) % 1000
                    : letter == 'i' ? (i * 389 + 17) % first_of(row->in[1])
                                    : 42 + i; /* m */
    lx_case_in_i64(c, n < MOST ? n : MOST, values);
}

static void add_input(lx_case *c, const lx_selftest_row *row, const char *text)
{
    int64_t shape[LX_MAX_DIMS] = {0}, keys[LX_MAX_DIMS] = {0};
    const int n = read_shape(shape, text + 1);

    switch (*text) {
    case 't':
    case 'i':
    case 'm':
        add_whole(c, row, *text, shape[0]);
        return;
    case 'w':
        lx_case_in_shape(c, LX_F16, 0, 0.1, n, shape);
        return;
    case 'z': /* of scores that are about standard normal */
        read_shape(keys, row->in[1] + 1);
        lx_case_in_shape(c, LX_F32, log((double)keys[1]) + 0.5, 0.1, n, shape);
        return;
    case 's':
        lx_case_in_shape(c, LX_F32, 0.5, 0.1, n, shape);
        return;
    case 'g':
    case 'a':
        lx_case_in_shape(c, LX_F32, 1, 0.3, n, shape);
        return;
    default:
        lx_case_in_shape(c, LX_F32, 0, 1, n, shape);
    }
}

/* Operands between two that are there are absent; behind the last there are none. */
static int count(const char *const *texts, int most)
{
    while (most > 0 && !texts[most - 1])
        most--;
    return most;
}

lx_case *lx_selftest_case(const lx_selftest_row *row, lx_compute compute)
{
    /* A linear's bias has its place even where there is none. */
    const bool has_bias = row->op == LX_OP_linear || row->op == LX_OP_conv2d;
    const int n_in = count(row->in, LX_CALL_MAX_IN);
    lx_case *c = lx_case_new(row->op);

    if (!c)
        return NULL;
    *lx_case_attrs(c) = row->attrs;
    if (lx_selftest_has_arithmetic(row->op))
        arithmetic_of(c)->compute = compute;
    for (int i = 0; i < n_in || (has_bias && i < 3); i++)
        if (row->in[i])
            add_input(c, row, row->in[i]);
        else
            lx_case_absent_in(c);
    for (int i = 0; i < count(row->out, LX_CALL_MAX_OUT); i++) {
        int64_t shape[LX_MAX_DIMS] = {0};
        const int n = read_shape(shape, row->out[i] + 1);
        lx_case_out_shape(c, *row->out[i] == '+', n, shape);
    }
    return c;
}
