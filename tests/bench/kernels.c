/*
 * bench/kernels - the speed of each kernel at the shapes of SD 1.5 at 512 x 512
 *
 *   lx_bench_kernels [threads] [name part] [f32|bf16|direct]
 *
 * The peaks are measured first (peak.h); percents are of the one that the line's products have, or of
 * copying where an op is bound by memory. A 3x3 convolution in f32 needs 4/9 of the products that are
 * counted (kernels/cpu/winograd.h) and can be above 100 %. Each line is the best of several runs; with one thread it is processor time, which other
 * work on the machine disturbs less.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/arg.h"
#include "kernels/peak.h"

static lx_device *dev;
static lx_peak peak;
static const char *wanted = "";
static lx_arithmetic how;

static double now(void)
{
    return lx_peak_clock(dev);
}

/* Of the frozen model, as `how` says; a LoRA's weights are F32 and its products too. */
static lx_arithmetic arithmetic_of(lx_dtype dtype)
{
    return dtype == LX_F32 ? (lx_arithmetic){0} : how;
}

static void add_arg(lx_arg *arg, lx_dtype dtype, int n_dims, const int64_t *shape)
{
    lx_error err;

    arg->dtype = dtype;
    arg->n_dims = n_dims;
    for (int i = 0; i < n_dims; i++)
        arg->shape[i] = shape[i];
    const size_t n = (size_t)lx_arg_count(arg);
    if (dev->alloc(dev, &arg->data, n * (size_t)lx_dtype_bits(dtype) / 8 + 64, &err) < 0)
        exit(1);
    for (size_t i = 0; i < n; i++) {
        const float x = (float)((i * 2654435761u >> 7) % 2001) / 1000.0f - 1;
        lx_from_f32((char *)arg->data + i * (size_t)lx_dtype_bits(dtype) / 8, dtype, &x, 1);
    }
}

#define SHAPE(...) (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (int64_t[]){__VA_ARGS__}
#define IN(dtype, ...) add_arg(&call.in[call.n_in++], dtype, SHAPE(__VA_ARGS__))
#define OUT(...) add_arg(&call.out[call.n_out++], LX_F32, SHAPE(__VA_ARGS__))

/* flops 0: a memory-bound op, told in GB/s of its operands. */
static void time_call(lx_call *call, double flops, lx_compute compute, const char *fmt,
                      ...) __attribute__((format(printf, 4, 5)));

static void time_call(lx_call *call, double flops, lx_compute compute, const char *fmt,
                      ...)
{
    const double top = compute == LX_COMPUTE_BF16 ? peak.bf16 : peak.f32;
    const lx_kernel *kernel = &dev->kernels[call->op];
    char what[128];
    lx_error err = {0};
    double best = 1e30, total = 0, bytes = 0;
    va_list args;

    va_start(args, fmt);
    vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    if (kernel->prepare && kernel->prepare(dev, call, true, &err) < 0)
        exit(1);
    if (dev->alloc(dev, &call->scratch, call->scratch_bytes + 64, &err) < 0)
        exit(1);
    for (int i = 0; i < call->n_in; i++)
        bytes += (double)lx_arg_count(&call->in[i]) * lx_dtype_bits(call->in[i].dtype) / 8;
    for (int i = 0; i < call->n_out; i++)
        bytes += (double)lx_arg_count(&call->out[i]) * 4;
    for (int i = 0; i < 3 || (total < 0.5 && i < 50); i++) {
        const double start = now();
        kernel->run(dev, call);
        const double spent = now() - start;
        total += spent;
        best = spent < best ? spent : best;
    }
    printf("%-16s %-34s %8.2f ms", lx_op_name(call->op), what, best * 1e3);
    if (flops > 0)
        printf("  %6.1f GFLOP/s  %3.0f%%\n", flops / best * 1e-9,
               100 * flops / best / top);
    else
        printf("  %6.1f GB/s     %3.0f%%\n", bytes / best * 1e-9,
               100 * bytes / best / peak.copy);
    for (int i = 0; i < call->n_in; i++)
        dev->free(dev, call->in[i].data);
    for (int i = 0; i < call->n_out; i++)
        dev->free(dev, call->out[i].data);
    dev->free(dev, call->scratch);
}

static bool is_wanted(lx_op_id op)
{
    return strstr(lx_op_name(op), wanted) != NULL;
}

static void bench_linear(int64_t M, int64_t K, int64_t N, lx_dtype dtype)
{
    static const lx_op_id ops[] = {LX_OP_linear, LX_OP_linear_dx, LX_OP_linear_dw};

    for (int i = 0; i < 3; i++) {
        if (!is_wanted(ops[i]) || (i == 2 && K > 64 && N > 64))
            continue;
        lx_call call = {.op = ops[i]};
        call.attrs.linear.scale = 1;
        call.attrs.linear.arithmetic = arithmetic_of(dtype);
        IN(LX_F32, M, i == 0 ? K : N);
        if (i == 2)
            IN(LX_F32, M, K);
        else
            IN(dtype, N, K);
        if (i == 2)
            OUT(N, K);
        else
            OUT(M, i == 0 ? N : K);
        time_call(&call, 2.0 * (double)(M * K * N),
                  i == 2 ? LX_COMPUTE_F32 : arithmetic_of(dtype).compute,
                  "%d x %d -> %d %s", (int)M, (int)K, (int)N, lx_dtype_name(dtype));
    }
}

static void bench_conv(int64_t h, int64_t Ci, int64_t Co, int64_t k, int stride, lx_dtype dtype)
{
    static const lx_op_id ops[] = {LX_OP_conv2d, LX_OP_conv2d_dx, LX_OP_conv2d_dw};
    const int pad = (int)k / 2;
    const int64_t o = (h + 2 * pad - k) / stride + 1;

    for (int i = 0; i < 3; i++) {
        if (!is_wanted(ops[i]) || (i == 2 && Co > 64))
            continue;
        lx_call call = {.op = ops[i]};
        call.attrs.conv.stride = stride;
        call.attrs.conv.arithmetic = arithmetic_of(dtype);
        call.attrs.conv.pad_top = call.attrs.conv.pad_left = pad;
        call.attrs.conv.pad_bottom = call.attrs.conv.pad_right = pad;
        if (i == 0)
            IN(LX_F32, 1, h, h, Ci);
        else
            IN(LX_F32, 1, o, o, Co);
        if (i == 2)
            IN(LX_F32, 1, h, h, Ci);
        else
            IN(dtype, Co, Ci, k, k);
        if (i == 0)
            OUT(1, o, o, Co);
        else if (i == 1)
            OUT(1, h, h, Ci);
        else
            OUT(Co, Ci, k, k);
        time_call(&call, 2.0 * (double)(o * o * Ci * Co * k * k),
                  i == 2 ? LX_COMPUTE_F32 : arithmetic_of(dtype).compute,
                  "%d^2 %d -> %d %dx%d/%d %s", (int)h, (int)Ci, (int)Co, (int)k, (int)k,
                  stride, lx_dtype_name(dtype));
    }
}

static void bench_attention(int64_t T, int64_t S, int64_t N, int64_t d)
{
    const double flops = 4.0 * (double)(T * S * N * d);

    if (is_wanted(LX_OP_attention)) {
        lx_call call = {.op = LX_OP_attention};
        call.attrs.attention.n_heads = (int)N;
        call.attrs.attention.arithmetic = how;
        call.attrs.attention.scale = 1 / sqrtf((float)d);
        IN(LX_F32, 1, T, N * d);
        IN(LX_F32, 1, S, N * d);
        IN(LX_F32, 1, S, N * d);
        OUT(1, T, N * d);
        OUT(1, N, T);
        time_call(&call, flops, how.compute, "%d x %d, %d heads of %d", (int)T, (int)S,
                  (int)N, (int)d);
    }
    if (is_wanted(LX_OP_attention_bwd) && d <= 160) {
        lx_call call = {.op = LX_OP_attention_bwd};
        call.attrs.attention.n_heads = (int)N;
        call.attrs.attention.arithmetic = how;
        call.attrs.attention.scale = 1 / sqrtf((float)d);
        IN(LX_F32, 1, T, N * d);
        IN(LX_F32, 1, S, N * d);
        IN(LX_F32, 1, S, N * d);
        IN(LX_F32, 1, T, N * d);
        IN(LX_F32, 1, N, T);
        IN(LX_F32, 1, T, N * d);
        OUT(1, T, N * d);
        OUT(1, S, N * d);
        OUT(1, S, N * d);
        time_call(&call, 2.5 * flops, how.compute, "%d x %d, %d heads of %d", (int)T,
                  (int)S, (int)N, (int)d);
    }
}

static void bench_rows(int64_t P, int64_t C)
{
    const lx_op_id maps[] = {LX_OP_silu, LX_OP_gelu, LX_OP_scale};

    for (int i = 0; i < 3; i++)
        if (is_wanted(maps[i])) {
            lx_call call = {.op = maps[i]};
            IN(LX_F32, P, C);
            OUT(P, C);
            time_call(&call, 0, LX_COMPUTE_F32, "%d x %d", (int)P, (int)C);
        }
    if (is_wanted(LX_OP_add)) {
        lx_call call = {.op = LX_OP_add};
        IN(LX_F32, P, C);
        IN(LX_F32, P, C);
        OUT(P, C);
        time_call(&call, 0, LX_COMPUTE_F32, "%d x %d", (int)P, (int)C);
    }
    if (is_wanted(LX_OP_group_norm)) {
        lx_call call = {.op = LX_OP_group_norm};
        call.attrs.norm.n_groups = 32;
        call.attrs.norm.has_silu = true;
        IN(LX_F32, 1, P, C);
        IN(LX_F32, C);
        IN(LX_F32, C);
        OUT(1, P, C);
        OUT(1, 32, 2);
        time_call(&call, 0, LX_COMPUTE_F32, "%d x %d silu", (int)P, (int)C);
    }
    if (is_wanted(LX_OP_group_norm_dx)) {
        lx_call call = {.op = LX_OP_group_norm_dx};
        call.attrs.norm.n_groups = 32;
        call.attrs.norm.has_silu = true;
        IN(LX_F32, 1, P, C);
        IN(LX_F32, 1, P, C);
        IN(LX_F32, C);
        IN(LX_F32, C);
        IN(LX_F32, 1, 32, 2);
        OUT(1, P, C);
        time_call(&call, 0, LX_COMPUTE_F32, "%d x %d silu", (int)P, (int)C);
    }
    if (is_wanted(LX_OP_layer_norm)) {
        lx_call call = {.op = LX_OP_layer_norm};
        IN(LX_F32, P, C);
        IN(LX_F32, C);
        IN(LX_F32, C);
        OUT(P, C);
        OUT(P, 2);
        time_call(&call, 0, LX_COMPUTE_F32, "%d x %d", (int)P, (int)C);
    }
    if (is_wanted(LX_OP_layer_norm_dx)) {
        lx_call call = {.op = LX_OP_layer_norm_dx};
        IN(LX_F32, P, C);
        IN(LX_F32, P, C);
        IN(LX_F32, C);
        IN(LX_F32, P, 2);
        OUT(P, C);
        time_call(&call, 0, LX_COMPUTE_F32, "%d x %d", (int)P, (int)C);
    }
    if (is_wanted(LX_OP_geglu)) {
        lx_call call = {.op = LX_OP_geglu};
        IN(LX_F32, P, 8 * C);
        OUT(P, 4 * C);
        time_call(&call, 0, LX_COMPUTE_F32, "%d x %d", (int)P, (int)(8 * C));
    }
    if (is_wanted(LX_OP_geglu_dx)) {
        lx_call call = {.op = LX_OP_geglu_dx};
        IN(LX_F32, P, 4 * C);
        IN(LX_F32, P, 8 * C);
        OUT(P, 8 * C);
        time_call(&call, 0, LX_COMPUTE_F32, "%d x %d", (int)P, (int)(8 * C));
    }
}

int main(int argc, char **argv)
{
    lx_error err = {0};
    char text[160];

    if (lx_device_open_cpu(&dev, argc > 1 ? atoi(argv[1]) : 0, &err) < 0)
        return 1;
    wanted = argc > 2 ? argv[2] : "";
    if (argc > 3) {
        how.compute = strcmp(argv[3], "bf16") == 0 ? LX_COMPUTE_BF16 : LX_COMPUTE_F32;
        how.no_winograd = strcmp(argv[3], "direct") == 0;
    }
    if (lx_peak_measure(&peak, dev, &err) < 0)
        return 1;
    lx_peak_text(text, sizeof text, &peak);
    printf("%s: %s\n", dev->description, text);
    printf("products in %s\n", how.compute == LX_COMPUTE_BF16 ? "bf16" : "f32");
    for (int level = 0; level < 4; level++) {
        const int64_t h = 64 >> level, C = level == 0 ? 320 : level == 1 ? 640 : 1280;
        bench_conv(h, C, C, 3, 1, LX_F16);
        bench_conv(h, 2 * C, C, 3, 1, LX_F16);
        if (level < 3) {
            bench_conv(h, C, C, 3, 2, LX_F16);
            bench_linear(h * h, C, C, LX_F16);
            bench_linear(h * h, C, 8 * C, LX_F16);
            bench_linear(h * h, 4 * C, C, LX_F16);
            bench_linear(h * h, C, 4, LX_F32);
            bench_linear(h * h, 4, C, LX_F32);
            bench_linear(h * h, C, 32, LX_F32);
            bench_linear(h * h, 32, C, LX_F32);
        }
        bench_attention(h * h, h * h, 8, C / 8);
        bench_attention(h * h, 77, 8, C / 8);
        bench_rows(h * h, C);
    }
    bench_conv(64, 4, 320, 3, 1, LX_F16);
    bench_conv(64, 320, 4, 3, 1, LX_F32);
    bench_conv(512, 128, 128, 3, 1, LX_F16);
    bench_linear(1, 1280, 1280, LX_F16);
    bench_linear(77, 768, 320, LX_F16);
    bench_attention(4096, 4096, 1, 512);
    lx_device_close(dev);
    return 0;
}
