/* Products by gemm.h, the elementwise part over the threads. */
#include "kernels/hadamard.h"

#include "kernels/cpu/gemm.h"

/* Elements per task. */
enum { CHUNK = 16384 };

/* y [M, N] = add + A B: A(m, c) = a[m * a_m + c * a_c], one of a_m, a_c being 1; B(n, c) = b[n * b_n + c * b_c]. */
typedef struct operands {
    const float *a;
    int64_t a_m, a_c;
    const float *b;
    int64_t b_n, b_c;
} operands;

static void multiply(lx_device *dev, float *y, const float *add, int64_t M, int64_t N,
                     int64_t C, const operands *of, void *scratch)
{
    const lx_gemm g = {
        .M = M,
        .N = N,
        .C = C,
        .T = 1,
        .a_kind = of->a_c == 1 ? LX_A_ROWS : LX_A_COLUMNS,
        .a = of->a,
        .a_step = of->a_c == 1 ? of->a_m : of->a_c,
        .b = of->b,
        .b_dtype = LX_F32,
        .b_n = of->b_n,
        .b_c = of->b_c,
        .b_t = 1,
        .has_all_taps = true,
        .y = y,
        .add = add,
        .scale = 1,
        .y_step = N,
    };
    lx_gemm_run(dev, &g, scratch);
}

/* y [N, K] = left [N, R] right [R, K]. */
static void low_rank(lx_device *dev, float *y, const lx_arg *left, const lx_arg *right,
                     void *scratch)
{
    const int64_t N = left->shape[0], R = left->shape[1], K = right->shape[1];
    const operands of = {left->data, R, 1, right->data, 1, K};

    multiply(dev, y, NULL, N, K, R, &of, scratch);
}

/* y = scale * x * y */
static void multiply_elements(lx_device *dev, float *y, const float *x, float scale,
                              int64_t n)
{
#pragma omp parallel for num_threads(lx_cpu_threads(dev)) if (n > CHUNK)
    for (int64_t i = 0; i < n; i += CHUNK)
        for (int64_t k = i; k < n && k < i + CHUNK; k++)
            y[k] = scale * x[k] * y[k];
}

/* Scratch: gemm's, then c d [N, K]. */
static int prepare(lx_device *dev, lx_call *call, bool is_sizing, lx_error *err)
{
    const lx_arg *w = call->op == LX_OP_hadamard ? &call->out[0] : &call->in[0];

    call->scratch_bytes =
        lx_gemm_scratch(dev, LX_COMPUTE_F32) + (size_t)lx_arg_count(w) * sizeof(float);
    return LX_OK;
}

static float *other_half(lx_device *dev, const lx_call *call, const lx_arg *c,
                         const lx_arg *d)
{
    float *cd = (float *)((char *)call->scratch + lx_gemm_scratch(dev, LX_COMPUTE_F32));

    low_rank(dev, cd, c, d, call->scratch);
    return cd;
}

static void run_hadamard(lx_device *dev, const lx_call *call)
{
    const lx_arg *in = call->in;
    float *w = lx_out_f32(call, 0);
    const float *cd = other_half(dev, call, &in[2], &in[3]);

    low_rank(dev, w, &in[0], &in[1], call->scratch);
    multiply_elements(dev, w, cd, call->attrs.linear.scale, lx_arg_count(&call->out[0]));
}

static void run_hadamard_dab(lx_device *dev, const lx_call *call)
{
    const lx_arg *in = call->in;
    const int64_t N = in[0].shape[0], K = in[0].shape[1], R = in[1].shape[1];
    float *da = lx_out_f32(call, 0), *db = lx_out_f32(call, 1);
    float *t = other_half(dev, call, &in[3], &in[4]);
    const operands of_a = {t, K, 1, in[2].data, K, 1}, of_b = {in[1].data, 1, R, t, 1, K};

    multiply_elements(dev, t, lx_in_f32(call, 0), call->attrs.linear.scale, N * K);
    multiply(dev, da, da, N, R, K, &of_a, call->scratch);
    multiply(dev, db, db, R, K, N, &of_b, call->scratch);
}

const lx_kernel lx_cpu_hadamard = {.prepare = prepare, .run = run_hadamard};
const lx_kernel lx_cpu_hadamard_dab = {.prepare = prepare, .run = run_hadamard_dab};
