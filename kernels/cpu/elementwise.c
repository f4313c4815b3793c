/* Activations, GEGLU, softmax, scale, mul_add, add: rows and ranges over the threads. */
#include "kernels/activation.h"
#include "kernels/add.h"
#include "kernels/geglu.h"
#include "kernels/scale.h"
#include "kernels/softmax.h"

#include <math.h>
#include <string.h>

#include "kernels/cpu/cpu.h"

/* Elements per task: long enough to be worth a thread, a multiple of every vector. */
enum { CHUNK = 16384 };

static int64_t min64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

typedef void map_fn(float *y, const float *x, int64_t n);
typedef void slope_fn(float *dx, const float *dy, const float *x, int64_t n);

static void map(lx_device *dev, const lx_call *call, map_fn *f)
{
    const int64_t n = lx_arg_count(&call->in[0]);
    const float *x = lx_in_f32(call, 0);
    float *y = lx_out_f32(call, 0);

#pragma omp parallel for num_threads(lx_cpu_threads(dev)) if (n > CHUNK)
    for (int64_t i = 0; i < n; i += CHUNK)
        f(y + i, x + i, min64(CHUNK, n - i));
}

static void map_slope(lx_device *dev, const lx_call *call, slope_fn *f)
{
    const int64_t n = lx_arg_count(&call->in[0]);
    const float *dy = lx_in_f32(call, 0), *x = lx_in_f32(call, 1);
    float *dx = lx_out_f32(call, 0);

#pragma omp parallel for num_threads(lx_cpu_threads(dev)) if (n > CHUNK)
    for (int64_t i = 0; i < n; i += CHUNK)
        f(dx + i, dy + i, x + i, min64(CHUNK, n - i));
}

static void run_silu(lx_device *dev, const lx_call *call)
{
    map(dev, call, lx_cpu_isa(dev)->silu);
}

static void run_silu_dx(lx_device *dev, const lx_call *call)
{
    map_slope(dev, call, lx_cpu_isa(dev)->silu_dx);
}

static void run_gelu(lx_device *dev, const lx_call *call)
{
    map(dev, call, lx_cpu_isa(dev)->gelu);
}

static void run_gelu_dx(lx_device *dev, const lx_call *call)
{
    map_slope(dev, call, lx_cpu_isa(dev)->gelu_dx);
}

static void run_quick_gelu(lx_device *dev, const lx_call *call)
{
    map(dev, call, lx_cpu_isa(dev)->quick_gelu);
}

static void run_quick_gelu_dx(lx_device *dev, const lx_call *call)
{
    map_slope(dev, call, lx_cpu_isa(dev)->quick_gelu_dx);
}

static void run_geglu(lx_device *dev, const lx_call *call)
{
    const int64_t M = lx_arg_rows(&call->out[0]), C = lx_arg_width(&call->out[0]);
    const float *x = lx_in_f32(call, 0);
    float *y = lx_out_f32(call, 0);
    const lx_isa *isa = lx_cpu_isa(dev);

#pragma omp parallel for num_threads(lx_cpu_threads(dev)) if (M * C > CHUNK)
    for (int64_t m = 0; m < M; m++)
        isa->geglu(y + m * C, x + m * 2 * C, x + m * 2 * C + C, C);
}

static void run_geglu_dx(lx_device *dev, const lx_call *call)
{
    const int64_t M = lx_arg_rows(&call->in[0]), C = lx_arg_width(&call->in[0]);
    const float *dy = lx_in_f32(call, 0), *x = lx_in_f32(call, 1);
    float *dx = lx_out_f32(call, 0);
    const lx_isa *isa = lx_cpu_isa(dev);

#pragma omp parallel for num_threads(lx_cpu_threads(dev)) if (M * C > CHUNK)
    for (int64_t m = 0; m < M; m++) {
        const int64_t a = m * 2 * C, g = a + C;
        isa->geglu_dx(dx + a, dx + g, dy + m * C, x + a, x + g, C);
    }
}

static void run_softmax(lx_device *dev, const lx_call *call)
{
    const int64_t M = lx_arg_rows(&call->in[0]), C = lx_arg_width(&call->in[0]);
    const lx_isa *isa = lx_cpu_isa(dev);

#pragma omp parallel for num_threads(lx_cpu_threads(dev)) if (M * C > CHUNK)
    for (int64_t m = 0; m < M; m++) {
        const float *x = lx_in_f32(call, 0) + m * C;
        float *y = lx_out_f32(call, 0) + m * C;
        const float sum = isa->row_exp(y, x, C, 1, isa->row_max(x, C));
        isa->row_scale(y, y, 1 / sum, C);
    }
}

static void run_softmax_dx(lx_device *dev, const lx_call *call)
{
    const int64_t M = lx_arg_rows(&call->in[0]), C = lx_arg_width(&call->in[0]);
    const float *dy = lx_in_f32(call, 0), *y = lx_in_f32(call, 1);
    float *dx = lx_out_f32(call, 0);
    const lx_isa *isa = lx_cpu_isa(dev);

#pragma omp parallel for num_threads(lx_cpu_threads(dev)) if (M * C > CHUNK)
    for (int64_t m = 0; m < M; m++)
        isa->softmax_dx_row(dx + m * C, dy + m * C, y + m * C, C);
}

static void run_scale(lx_device *dev, const lx_call *call)
{
    const int64_t n = lx_arg_count(&call->in[0]);
    const float *x = lx_in_f32(call, 0);
    const float factor = call->attrs.linear.scale;
    float *y = lx_out_f32(call, 0);
    const lx_isa *isa = lx_cpu_isa(dev);

#pragma omp parallel for num_threads(lx_cpu_threads(dev)) if (n > CHUNK)
    for (int64_t i = 0; i < n; i += CHUNK)
        isa->row_scale(y + i, x + i, factor, min64(CHUNK, n - i));
}

static void run_add(lx_device *dev, const lx_call *call)
{
    const float *a = lx_in_f32(call, 0), *b = lx_in_f32(call, 1);
    const int64_t n = lx_arg_count(&call->in[0]), n_b = lx_arg_count(&call->in[1]);
    const int64_t C = lx_arg_width(&call->in[0]);
    float *y = lx_out_f32(call, 0);
    const lx_isa *isa = lx_cpu_isa(dev);

    if (n == n_b) {
#pragma omp parallel for num_threads(lx_cpu_threads(dev)) if (n > CHUNK)
        for (int64_t i = 0; i < n; i += CHUNK)
            isa->add(y + i, a + i, b + i, min64(CHUNK, n - i));
        return;
    }
    if (n == 0)
        return;
    const int64_t M = n / C, rows = M / (n_b / C); /* rows that share a row of b */
#pragma omp parallel for num_threads(lx_cpu_threads(dev)) if (n > CHUNK)
    for (int64_t m = 0; m < M; m++)
        isa->add(y + m * C, a + m * C, b + m / rows * C, C);
}

/*
 * Sums over P rows of [P, C] in parts of fixed size, the parts added in order: sum[c] in f64.
 * `parts` is scratch for n_parts * C doubles.
 */
enum { MOST_PARTS = 64 };

static int64_t rows_per_part(int64_t P)
{
    const int64_t rows = (P + MOST_PARTS - 1) / MOST_PARTS;
    return rows > 32 ? rows : 32;
}

static void sum_columns(lx_device *dev, double *parts, const float *x, int64_t P, int64_t C)
{
    const int64_t rows = rows_per_part(P), n = (P + rows - 1) / rows;
    const lx_isa *isa = lx_cpu_isa(dev);

    memset(parts, 0, (size_t)((n ? n : 1) * C) * sizeof *parts);
#pragma omp parallel for num_threads(lx_cpu_threads(dev)) if (P * C > CHUNK)
    for (int64_t i = 0; i < n; i++)
        for (int64_t p = i * rows; p < min64(P, (i + 1) * rows); p++)
            isa->column_sum(parts + i * C, x + p * C, C);
    for (int64_t i = 1; i < n; i++)
        for (int64_t c = 0; c < C; c++)
            parts[c] += parts[i * C + c];
}

static int prepare_sums(lx_device *dev, lx_call *call, bool is_sizing, lx_error *err)
{
    call->scratch_bytes = (size_t)lx_arg_width(&call->in[0]) * MOST_PARTS * sizeof(double);
    return LX_OK;
}

static void run_sum_rows(lx_device *dev, const lx_call *call)
{
    const int64_t B = call->out[0].shape[0], C = lx_arg_width(&call->in[0]);
    const int64_t P = B ? lx_arg_rows(&call->in[0]) / B : 0;
    double *sum = call->scratch;

    for (int64_t b = 0; b < B; b++) {
        sum_columns(dev, sum, lx_in_f32(call, 0) + b * P * C, P, C);
        for (int64_t c = 0; c < C; c++)
            lx_out_f32(call, 0)[b * C + c] = (float)sum[c];
    }
}

static void run_bias_db(lx_device *dev, const lx_call *call)
{
    const int64_t P = lx_arg_rows(&call->in[0]), C = lx_arg_width(&call->in[0]);
    double *sum = call->scratch;

    sum_columns(dev, sum, lx_in_f32(call, 0), P, C);
    for (int64_t c = 0; c < C; c++)
        lx_out_f32(call, 0)[c] += (float)sum[c];
}

const lx_kernel lx_cpu_silu = {.run = run_silu};
const lx_kernel lx_cpu_silu_dx = {.run = run_silu_dx};
const lx_kernel lx_cpu_gelu = {.run = run_gelu};
const lx_kernel lx_cpu_gelu_dx = {.run = run_gelu_dx};
const lx_kernel lx_cpu_quick_gelu = {.run = run_quick_gelu};
const lx_kernel lx_cpu_quick_gelu_dx = {.run = run_quick_gelu_dx};
const lx_kernel lx_cpu_geglu = {.run = run_geglu};
const lx_kernel lx_cpu_geglu_dx = {.run = run_geglu_dx};
const lx_kernel lx_cpu_softmax = {.run = run_softmax};
const lx_kernel lx_cpu_softmax_dx = {.run = run_softmax_dx};
const lx_kernel lx_cpu_scale = {.run = run_scale};
const lx_kernel lx_cpu_mul_add = {.run = lx_plain_mul_add}; /* latents only */
const lx_kernel lx_cpu_add = {.run = run_add};
const lx_kernel lx_cpu_sum_rows = {.prepare = prepare_sums, .run = run_sum_rows};
const lx_kernel lx_cpu_bias_db = {.prepare = prepare_sums, .run = run_bias_db};
