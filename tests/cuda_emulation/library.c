/*
 * Products and convolutions on the emulated device: loops written after kernels/cuda/library.h, with
 * sums in f64, queued as host functions, so that they run in the stream's order and are part of what
 * is captured.
 */
#include "kernels/cuda/library.h"

#include <cuda_runtime_api.h>
#include <stdlib.h>

#include "tests/cuda_emulation/control.h"
#include "tests/cuda_emulation/workspace.h"

/* Of both kinds; `runs` is what is queued. */
struct lx_cuda_plan {
    bool is_conv;
    lx_gemm_spec gemm;
    lx_conv_spec conv;
    lx_cuda_plan *next;
};

typedef struct library {
    lx_cuda_library base;
    lx_cuda_plan *plans;
    struct job *jobs; /* kept until the end: a captured one may run again */
} library;

typedef struct job {
    const lx_cuda_plan *plan;
    void *out;
    const void *a, *b, *add, *bias;
    float scale;
    struct job *next;
} job;

static double get(const void *data, lx_dtype dtype, int64_t i)
{
    if (dtype == LX_F32)
        return ((const float *)data)[i];
    if (dtype == LX_F16)
        return lx_f32_from_f16(((const uint16_t *)data)[i]);
    return lx_f32_from_bf16(((const uint16_t *)data)[i]);
}

static void put(void *data, lx_dtype dtype, int64_t i, double x)
{
    if (dtype == LX_F32)
        ((float *)data)[i] = (float)x;
    else if (dtype == LX_F16)
        ((uint16_t *)data)[i] = lx_f16_from_f32((float)x);
    else
        ((uint16_t *)data)[i] = lx_bf16_from_f32((float)x);
}

/* A [rows, K] as f64, so that the inner loop is plain. */
static double *widened(const void *data, lx_dtype dtype, int64_t rows, int64_t K,
                       bool is_transposed)
{
    double *out = malloc((size_t)(rows * K + 1) * sizeof *out);

    for (int64_t r = 0; out && r < rows; r++)
        for (int64_t k = 0; k < K; k++)
            out[r * K + k] = get(data, dtype, is_transposed ? k * rows + r : r * K + k);
    return out;
}

static double dot(const double *a, const double *b, int64_t n)
{
    double sum[4] = {0};
    int64_t k = 0;

    for (; k + 4 <= n; k += 4)
        for (int i = 0; i < 4; i++)
            sum[i] += a[k + i] * b[k + i];
    for (; k < n; k++)
        sum[0] += a[k] * b[k];
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

static void run_gemm(const job *j)
{
    const lx_gemm_spec *s = &j->plan->gemm;
    double *a = widened(j->a, s->in, s->m, s->k, s->is_a_transposed);
    double *b = widened(j->b, s->in, s->n, s->k, !s->is_b_transposed);

    for (int64_t r = 0; r < s->m; r++)
        for (int64_t c = 0; c < s->n; c++) {
            const int64_t i = r * s->n + c;
            put(j->out, s->out, i,
                j->scale * dot(a + r * s->k, b + c * s->k, s->k) +
                    (s->has_add ? get(j->add, s->out, i) : 0) +
                    (s->has_bias ? get(j->bias, s->out, c) : 0));
        }
    free(a);
    free(b);
}

/* The position of an element of x that output (p, q) meets at tap (r, t); -1 = outside. */
static int64_t meets(const lx_conv_spec *s, int64_t b, int64_t p, int64_t q, int64_t r,
                     int64_t t)
{
    const int64_t y = p * s->stride + r - s->pad_top, x = q * s->stride + t - s->pad_left;

    return y < 0 || y >= s->h || x < 0 || x >= s->w ? -1 : (b * s->h + y) * s->w + x;
}

/* The three sums of kernels/conv2d.h over every pair of an output and a tap. */
static void convolve(const lx_conv_spec *s, const double *x, const double *y,
                     const double *w, double *out)
{
    const int64_t Ci = s->channels_in, Co = s->channels_out;

    for (int64_t i = 0; i < s->batch * s->h_out * s->w_out; i++)
        for (int64_t tap = 0; tap < s->kh * s->kw; tap++) {
            const int64_t b = i / (s->h_out * s->w_out), p = i / s->w_out % s->h_out;
            const int64_t at = meets(s, b, p, i % s->w_out, tap / s->kw, tap % s->kw);

            for (int64_t o = 0; at >= 0 && o < Co; o++) {
                const int64_t k = (o * s->kh * s->kw + tap) * Ci;
                if (s->kind == LX_CONV_FORWARD)
                    out[i * Co + o] += dot(x + at * Ci, w + k, Ci);
                else if (s->kind == LX_CONV_DATA)
                    for (int64_t c = 0; c < Ci; c++)
                        out[at * Ci + c] += y[i * Co + o] * w[k + c];
                else
                    for (int64_t c = 0; c < Ci; c++)
                        out[k + c] += y[i * Co + o] * x[at * Ci + c];
            }
        }
}

static int64_t output_count(const lx_cuda_plan *plan)
{
    const lx_conv_spec *s = &plan->conv;

    if (!plan->is_conv)
        return plan->gemm.m * plan->gemm.n;
    if (s->kind == LX_CONV_FORWARD)
        return s->batch * s->h_out * s->w_out * s->channels_out;
    return s->kind == LX_CONV_DATA ? s->batch * s->h * s->w * s->channels_in
                                   : s->channels_out * s->kh * s->kw * s->channels_in;
}

static void run_conv(const job *j)
{
    const lx_conv_spec *s = &j->plan->conv;
    const int64_t n_x = s->batch * s->h * s->w * s->channels_in,
                  n_y = s->batch * s->h_out * s->w_out * s->channels_out,
                  n_w = s->channels_out * s->kh * s->kw * s->channels_in,
                  n = output_count(j->plan);
    const int64_t n_a = s->kind == LX_CONV_FORWARD ? n_x : n_y,
                  n_b = s->kind == LX_CONV_WEIGHT ? n_x : n_w;
    double *a = widened(j->a, s->in, 1, n_a, false),
           *b = widened(j->b, s->in, 1, n_b, false);
    double *out = calloc((size_t)n + 1, sizeof *out);

    if (s->kind == LX_CONV_FORWARD)
        convolve(s, a, NULL, b, out);
    else if (s->kind == LX_CONV_DATA)
        convolve(s, NULL, a, b, out);
    else
        convolve(s, b, a, NULL, out);
    for (int64_t i = 0; i < n; i++)
        put(j->out, s->out, i, out[i] + (s->adds ? get(j->out, s->out, i) : 0));
    free(a);
    free(b);
    free(out);
}

static void run_job(void *queued)
{
    const job *j = queued;
    const lx_dtype out = j->plan->is_conv ? j->plan->conv.out : j->plan->gemm.out;

    lx_emu_note(j->plan->is_conv ? "library: convolution" : "library: product");
    if (lx_emu_options_get()->dry)
        return;
    (j->plan->is_conv ? run_conv : run_gemm)(j);
    lx_emu_mark(j->out, (size_t)output_count(j->plan) * (size_t)lx_dtype_bits(out) / 8,
                true);
}

/* ---- the library ---------------------------------------------------------------------- */

/* The workspace is asked for and not used: plans must count it. */
static int keep(lx_cuda_library *lib, lx_cuda_plan **out, size_t *workspace,
                lx_cuda_plan plan, lx_error *err)
{
    library *l = (library *)lib;

    if (!(*out = malloc(sizeof **out)))
        return lx_oom(err);
    plan.next = l->plans;
    l->plans = *out;
    **out = plan;
    *workspace = plan.is_conv ? lx_emu_conv_workspace(&plan.conv)
                              : lx_emu_gemm_workspace(&plan.gemm);
    return LX_OK;
}

static int new_gemm(lx_cuda_library *lib, lx_cuda_plan **out, size_t *workspace,
                    const lx_gemm_spec *spec, lx_error *err)
{
    return keep(lib, out, workspace, (lx_cuda_plan){.gemm = *spec}, err);
}

static int new_conv(lx_cuda_library *lib, lx_cuda_plan **out, size_t *workspace,
                    const lx_conv_spec *spec, lx_error *err)
{
    return keep(lib, out, workspace, (lx_cuda_plan){.is_conv = true, .conv = *spec}, err);
}

static void queue_job(lx_cuda_library *lib, lx_cuda_queue *queue, job what)
{
    library *l = (library *)lib;
    job *j = malloc(sizeof *j);
    int error;

    if (!j)
        abort();
    what.next = l->jobs;
    l->jobs = j;
    *j = what;
    if ((error = cudaLaunchHostFunc(queue->stream, run_job, j)) && !queue->error) {
        queue->error = error;
        queue->where = "emulated library";
    }
}

static bool is_at(const void *p, uintptr_t multiple)
{
    return (uintptr_t)p % multiple == 0;
}

/* Where the spec says that operands are: the real library loads 16 bytes at once if it may. */
static void check_addresses(const lx_gemm_spec *s, lx_cuda_queue *queue, const void *d,
                            const void *a, const void *b, const void *add)
{
    const uintptr_t left = s->is_b_loose ? 4 : 16, result = s->is_d_loose ? 4 : 16;

    if (queue->error ||
        (is_at(a, 16) && is_at(b, left) && is_at(d, result) && is_at(add, result)))
        return;
    queue->error = cudaErrorInvalidValue;
    queue->where = "a product's operand";
}

static void queue_gemm(lx_cuda_library *lib, lx_cuda_plan *plan, lx_cuda_queue *queue,
                       void *d, const void *a, const void *b, const void *add,
                       const void *bias, float scale, void *workspace)
{
    check_addresses(&plan->gemm, queue, d, a, b, add);
    queue_job(lib, queue, (job){plan, d, a, b, add, bias, scale, NULL});
}

static void queue_conv(lx_cuda_library *lib, lx_cuda_plan *plan, lx_cuda_queue *queue,
                       void *out, const void *first, const void *second, void *workspace)
{
    queue_job(lib, queue, (job){.plan = plan, .out = out, .a = first, .b = second});
}

static void close_library(lx_cuda_library *lib)
{
    library *l = (library *)lib;

    for (lx_cuda_plan *p = l->plans, *next; p; p = next) {
        next = p->next;
        free(p);
    }
    for (job *j = l->jobs, *next; j; j = next) {
        next = j->next;
        free(j);
    }
    free(l);
}

int lx_cuda_library_open(lx_cuda_library **out, lx_error *err)
{
    library *l = calloc(1, sizeof *l);

    if (!l)
        return lx_oom(err);
    l->base = (lx_cuda_library){.name = "emulation",
                                .gemm = new_gemm,
                                .conv = new_conv,
                                .gemm_run = queue_gemm,
                                .conv_run = queue_conv,
                                .close = close_library};
    *out = &l->base;
    return LX_OK;
}
