/*
 * One launch or a few of every kernel, at sizes of SD 1.5 with fewer rows, for the counters of
 * traffic.h: LX_CUDA_EMULATION=count=1 (script/cuda_counters). Activations are F16. Values are zeros:
 * addresses do not depend on them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/cuda/join.h"
#include "kernels/cuda/train.h"
#include "tests/support/kernel_case.h"

/* An operand is its type (h F16, f F32, l I64) and shape; NULL = absent. */
typedef struct row {
    lx_op_id op;
    lx_attrs attrs;
    const char *in[LX_CALL_MAX_IN], *out[LX_CALL_MAX_OUT];
} row;

#define NORM(groups)                                                          \
    {                                                                         \
        .norm = {.n_groups = groups, .eps = 1e-5f, .has_silu = (groups) > 0 } \
    }
#define HEADS(n)                                    \
    {                                               \
        .attention = {.n_heads = n, .scale = 0.1f } \
    }

static const row rows[] = {
    {LX_OP_group_norm,
     NORM(32),
     {"h 1 1024 640", "f 640", "f 640"},
     {"h 1 1024 640", "f 1 32 2"}},
    {LX_OP_group_norm_dx,
     NORM(32),
     {"h 1 1024 640", "h 1 1024 640", "f 640", "f 640", "f 1 32 2", "h 1 1024 640"},
     {"h 1 1024 640"}},
    /* Few groups, which alone would keep few multiprocessors busy. */
    {LX_OP_group_norm,
     NORM(16),
     {"h 1 1024 640", "f 640", "f 640"},
     {"h 1 1024 640", "f 1 16 2"}},
    {LX_OP_group_norm_dx,
     NORM(16),
     {"h 1 1024 640", "h 1 1024 640", "f 640", "f 640", "f 1 16 2", "h 1 1024 640"},
     {"h 1 1024 640"}},
    {LX_OP_group_norm,
     NORM(32),
     {"h 1 64 1280", "f 1280", "f 1280"},
     {"h 1 64 1280", "f 1 32 2"}},
    {LX_OP_group_norm_dx,
     NORM(32),
     {"h 1 64 1280", "h 1 64 1280", "f 1280", "f 1280", "f 1 32 2", NULL},
     {"h 1 64 1280"}},
    {LX_OP_layer_norm,
     NORM(0),
     {"h 256 640", "f 640", "f 640"},
     {"h 256 640", "f 256 2"}},
    {LX_OP_layer_norm_dx,
     NORM(0),
     {"h 256 640", "h 256 640", "f 640", "f 256 2", "h 256 640"},
     {"h 256 640"}},
    {LX_OP_norm_dwb, NORM(0), {"h 256 640", "h 256 640", "f 256 2"}, {"f 640", "f 640"}},
    {LX_OP_bias_db, {.linear = {1}}, {"h 256 640"}, {"f 640"}},
    {LX_OP_sum_rows, {.linear = {1}}, {"h 1 256 640"}, {"h 1 640"}},
    {LX_OP_softmax, {.linear = {1}}, {"h 64 1024"}, {"h 64 1024"}},
    {LX_OP_softmax_dx, {.linear = {1}}, {"h 64 1024", "h 64 1024"}, {"h 64 1024"}},
    {LX_OP_silu, {.linear = {1}}, {"h 64 1280"}, {"h 64 1280"}},
    {LX_OP_silu_dx, {.linear = {1}}, {"h 64 1280", "h 64 1280"}, {"h 64 1280"}},
    {LX_OP_gelu, {.linear = {1}}, {"h 64 1280"}, {"h 64 1280"}},
    {LX_OP_gelu_dx, {.linear = {1}}, {"h 64 1280", "h 64 1280"}, {"h 64 1280"}},
    {LX_OP_quick_gelu, {.linear = {1}}, {"h 77 3072"}, {"h 77 3072"}},
    {LX_OP_quick_gelu_dx, {.linear = {1}}, {"h 77 3072", "h 77 3072"}, {"h 77 3072"}},
    {LX_OP_geglu, {.linear = {1}}, {"h 64 2560"}, {"h 64 1280"}},
    {LX_OP_geglu_dx, {.linear = {1}}, {"h 64 1280", "h 64 2560"}, {"h 64 2560"}},
    {LX_OP_add, {.linear = {1}}, {"h 1 256 640", "h 1 256 640"}, {"h 1 256 640"}},
    {LX_OP_add, {.linear = {1}}, {"h 1 256 640", "h 1 640"}, {"h 1 256 640"}},
    {LX_OP_scale, {.linear = {0.5f}}, {"h 256 640"}, {"h 256 640"}},
    {LX_OP_mul_add,
     {.linear = {1}},
     {"f 1", "h 1 4096 4", "f 1", "h 1 4096 4"},
     {"h 1 4096 4"}},
    {LX_OP_dropout,
     {.dropout = {.neuron = 0.1f}},
     {"h 1 1024 32", "l 2"},
     {"h 1 1024 32"}},
    {LX_OP_concat,
     {.linear = {1}},
     {"h 1 16 16 640", "h 1 16 16 320"},
     {"h 1 16 16 960"}},
    {LX_OP_slice, {.slice = {3, 0, 640}}, {"h 1 16 16 960"}, {"h 1 16 16 640"}},
    {LX_OP_slice_dx, {.slice = {3, 0, 640}}, {"h 1 16 16 640"}, {"h 1 16 16 960"}},
    {LX_OP_upsample_nearest, {.size = {16, 16}}, {"h 1 8 8 1280"}, {"h 1 16 16 1280"}},
    {LX_OP_upsample_nearest_dx, {.size = {16, 16}}, {"h 1 16 16 1280"}, {"h 1 8 8 1280"}},
    {LX_OP_embedding, {.linear = {1}}, {"l 77", "h 100 768"}, {"h 77 768"}},
    {LX_OP_timestep_embedding, {.linear = {1}}, {"l 4"}, {"h 4 320"}},
    {LX_OP_permute, {.permute = {{0, 2, 3, 1}}}, {"h 1 4 64 64"}, {"h 1 64 64 4"}},
    {LX_OP_cast, {.linear = {1}}, {"f 1 64 64 4"}, {"h 1 64 64 4"}},
    {LX_OP_loss,
     {.loss = {.type = LX_LOSS_L2}},
     {"h 1 64 64 4", "h 1 64 64 4", "l 1", "f 1"},
     {"f 1", "h 1 64 64 4"}},
    {LX_OP_attention,
     HEADS(2),
     {"h 1 256 80", "h 1 256 80", "h 1 256 80"},
     {"h 1 256 80", "f 1 2 256"}},
    {LX_OP_attention_bwd,
     HEADS(2),
     {"h 1 256 80", "h 1 256 80", "h 1 256 80", "h 1 256 80", "f 1 2 256", "h 1 256 80"},
     {"h 1 256 80", "h 1 256 80", "h 1 256 80"}},
    {LX_OP_attention,
     HEADS(2),
     {"f 1 128 80", "f 1 128 80", "f 1 128 80"},
     {"f 1 128 80", "f 1 2 128"}},
    {LX_OP_attention_bwd,
     HEADS(2),
     {"f 1 128 80", "f 1 128 80", "f 1 128 80", "f 1 128 80", "f 1 2 128", "f 1 128 80"},
     {"f 1 128 80", "f 1 128 80", "f 1 128 80"}},
    {LX_OP_hadamard,
     {.linear = {1}},
     {"f 320 16", "f 16 320", "f 320 16", "f 16 320"},
     {"f 320 320"}},
    {LX_OP_hadamard_dab,
     {.linear = {1}},
     {"f 320 320", "f 320 16", "f 16 320", "f 320 16", "f 16 320"},
     {"f 320 16", "f 16 320"}},
    /* The kernels around the library's: bias and sum before a convolution, weights packed. */
    {LX_OP_conv2d,
     {.conv = {1, 0, 0, 0, 0}},
     {"h 1 8 8 4", "f 640 4 1 1", "f 640", "h 1 8 8 640"},
     {"h 1 8 8 640"}},
};

enum { N_ROWS = sizeof rows / sizeof *rows };

static void *zeros(lx_device *dev, size_t bytes)
{
    lx_error err = {0};
    void *memory;

    assert_int_equal(dev->alloc(dev, &memory, bytes, &err), 0);
    return memory;
}

static void give(lx_device *dev, lx_arg *arg, const char *text)
{
    int at = 1, more;
    long n;

    *arg = (lx_arg){.n_dims = -1};
    if (!text)
        return;
    *arg = (lx_arg){.dtype = *text == 'h' ? LX_F16 : *text == 'f' ? LX_F32 : LX_I64};
    for (; sscanf(text + at, "%ld%n", &n, &more) == 1; at += more)
        arg->shape[arg->n_dims++] = n;
    arg->data =
        zeros(dev, (size_t)lx_arg_count(arg) * (size_t)lx_dtype_bits(arg->dtype) / 8);
}

static void run_row(lx_device *dev, const row *r)
{
    const lx_kernel *kernel = &dev->kernels[r->op];
    lx_call call = {.op = r->op, .attrs = r->attrs, .label = "case"};
    lx_error err = {0};

    for (; call.n_in < LX_CALL_MAX_IN && (r->in[call.n_in] || call.n_in < 4); call.n_in++)
        give(dev, &call.in[call.n_in], r->in[call.n_in]);
    for (; call.n_out < LX_CALL_MAX_OUT && r->out[call.n_out]; call.n_out++)
        give(dev, &call.out[call.n_out], r->out[call.n_out]);
    if (kernel->prepare) {
        assert_int_equal(kernel->prepare(dev, &call, true, &err), 0);
        call.scratch = zeros(dev, call.scratch_bytes);
        assert_int_equal(kernel->prepare(dev, &call, false, &err), 0);
    }
    kernel->run(dev, &call);
    if (dev->sync(dev, &err) < 0)
        fail_msg("%s: %s", lx_op_name(r->op), err.text);
    if (kernel->release)
        kernel->release(dev, &call);
}

/* Two tensors' worth of updates. */
static void run_updates(lx_device *dev)
{
    enum { N = 16384 };
    static lx_cuda_chunk chunks[N / LX_CUDA_CHUNK];
    lx_error err = {0};
    lx_cuda_tensor one = {.n = N, .narrow_dtype = LX_F16};
    lx_cuda_trainables all = {.n_chunks = N / LX_CUDA_CHUNK};
    lx_cuda_gradients found = {.by = 1, .is_finite = 1};
    float *maps = zeros(dev, 2048), *scale = zeros(dev, sizeof *scale);
    double *scratch = zeros(dev, N / LX_CUDA_CHUNK * sizeof *scratch);
    lx_cuda_rates *rates = zeros(dev, sizeof *rates);
    lx_cuda_gradients *on_device = zeros(dev, sizeof found);
    void *tables[2] = {zeros(dev, sizeof one), zeros(dev, sizeof chunks)};
    const lx_cuda_betas betas = {0.9f, 0.1f, 0.999f, 0.001f, 1e-8f};

    for (int i = 0; i < N / LX_CUDA_CHUNK; i++)
        chunks[i] = (lx_cuda_chunk){0, i};
    one.value = zeros(dev, 4 * N);
    one.gradient = zeros(dev, 4 * N);
    one.narrow = zeros(dev, 2 * N);
    all.tensors = tables[0];
    all.chunks = tables[1];
    dev->upload(dev, tables[1], chunks, sizeof chunks, &err);
    dev->upload(dev, on_device, &found, sizeof found, &err);
    for (int has_codes = 0; has_codes < 2; has_codes++) {
        one.m = has_codes ? NULL : zeros(dev, 4 * N);
        one.v = has_codes ? NULL : zeros(dev, 4 * N);
        one.m_codes = has_codes ? zeros(dev, N) : NULL;
        one.v_codes = has_codes ? zeros(dev, N) : NULL;
        one.m_most = has_codes ? zeros(dev, N / 64) : NULL;
        one.v_most = has_codes ? zeros(dev, N / 64) : NULL;
        dev->upload(dev, tables[0], &one, sizeof one, &err);
        if (!has_codes)
            lx_cuda_adamw(dev, &all, rates, betas, on_device, NULL);
        else /* Lion's first state only; the counters of both kinds of state are shown */
            lx_cuda_lion(dev, &all, rates, betas, on_device, maps);
    }
    lx_cuda_gradient_norm(dev, on_device, &all, scale, 1, scratch);
    lx_cuda_noise(dev, zeros(dev, 4 * N), zeros(dev, sizeof(lx_cuda_draw)), 1, N);
    assert_int_equal(dev->sync(dev, &err), 0);
}

/* A layer with its LoRA in both directions, without and with a LayerNorm before it, with a cross attention behind it,
 * and the gradient of a factor. */
static void run_joined(lx_device *dev)
{
    enum {
        M = 128,
        N = 320,
        R = 32,
        TILE = 64,
        ROWS = 256,
        WIDE = 640,
        HEADS = 8,
        TOKENS = 77
    };
    lx_error err = {0};
    const lx_cuda_term term = {.x = zeros(dev, 2 * M * N),
                               .w = zeros(dev, 2 * N * N),
                               .p = zeros(dev, 2 * N * R),
                               .q = zeros(dev, 2 * N * R),
                               .h = zeros(dev, 2 * M * R),
                               .K = N,
                               .R = R};
    const lx_cuda_sum sum = {.y = zeros(dev, 2 * M * N),
                             .add = zeros(dev, 2 * M * N),
                             .M = M,
                             .N = N,
                             .n_terms = 1,
                             .n_columns = N / TILE};
    const lx_cuda_thin thin = {.wide = zeros(dev, 2 * ROWS * WIDE),
                               .thin = zeros(dev, 2 * ROWS * R),
                               .out = zeros(dev, 4 * WIDE * R),
                               .rows = ROWS,
                               .W = WIDE,
                               .R = R,
                               .wide_step = R,
                               .thin_step = 1,
                               .n_columns = WIDE / LX_CUDA_THIN_COLUMNS};
    lx_cuda_sums sums = {.n_sums = 1,
                         .n_blocks = M / TILE * (N / TILE),
                         .most_rank = R,
                         .tile = {TILE, TILE},
                         .dtype = LX_F16};
    lx_call cross = {.op = LX_OP_attention, .n_in = 3, .n_out = 2};
    void *tables[3] = {zeros(dev, sizeof term), zeros(dev, sizeof sum),
                       zeros(dev, sizeof thin)};

    for (int i = 0; i < 3; i++)
        cross.in[i] = (lx_arg){.data = zeros(dev, 2 * M * N),
                               .dtype = LX_F16,
                               .n_dims = 3,
                               .shape = {1, i ? TOKENS : M, N}};
    cross.out[0].data = zeros(dev, 2 * M * N);
    cross.out[1].data = zeros(dev, 4 * M * HEADS);
    cross.attrs.attention.n_heads = HEADS;

    dev->upload(dev, tables[0], &term, sizeof term, &err);
    dev->upload(dev, tables[1], &sum, sizeof sum, &err);
    dev->upload(dev, tables[2], &thin, sizeof thin, &err);
    sums.terms = tables[0];
    sums.sums = tables[1];
    sums.norm = (lx_cuda_norm){.from = zeros(dev, 2 * M * N),
                               .dy = zeros(dev, 2 * M * N),
                               .plus = zeros(dev, 2 * M * N),
                               .to = zeros(dev, 2 * M * N),
                               .stats = zeros(dev, 8 * M),
                               .w = zeros(dev, 4 * N),
                               .b = zeros(dev, 4 * N),
                               .w_dtype = LX_F32,
                               .b_dtype = LX_F32};
    for (int i = 0; i < 4; i++) {
        sums.is_reversed = i % 2;
        sums.has_norm = i / 2;
        lx_cuda_add_products(dev, &sums);
    }
    sums.is_reversed = false;
    lx_cuda_attend_queries(dev, &sums, &cross);
    lx_cuda_thin_gradients(dev, tables[2], 1, thin.n_columns, R, LX_F16);
    assert_int_equal(dev->sync(dev, &err), 0);
}

int main(void)
{
    lx_device *dev;
    lx_error err = {0};

    if (lx_case_device_used->open(&dev, 1, &err) < 0) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    for (size_t i = 0; i < N_ROWS; i++)
        run_row(dev, &rows[i]);
    run_updates(dev);
    run_joined(dev);
    lx_device_close(dev);
    return 0;
}
