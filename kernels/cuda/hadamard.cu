/*
 * hadamard and its gradient (kernels/hadamard.h): the change of a LoHa.
 *
 * A block makes a tile of 32 x 32, a thread four numbers of it; what is summed over passes through shared memory
 * in slices of 16. Sums are f32, in the order of what is summed over: ranks are small, and so is the work beside
 * that of the layer whose weight is made.
 */
#include "kernels/cuda/dialect.cuh"

extern "C" {
#include "kernels/hadamard.h"
}

enum { SIDE = 16, EACH = 2, TILE = SIDE * EACH, SLICE = 16, THREADS = SIDE * SIDE };

/* Element (i, c) is data[i * row + c * step]; one of both is 1. */
struct factor {
    const float *data;
    int64_t row, step;
};

/* A slice of `n` rows from `first` and of C from `c0` to shared memory, along what is contiguous; zeros beyond. */
LX_DEVICE void fetch(float (*to)[TILE + 1], const factor &f, int n, int C, int first,
                     int c0)
{
    for (int at = threadIdx.x; at < SLICE * TILE; at += THREADS) {
        const int c = f.step == 1 ? at % SLICE : at / TILE,
                  i = f.step == 1 ? at / SLICE : at % TILE;
        to[c][i] = first + i < n && c0 + c < C
                       ? f.data[(first + i) * f.row + (c0 + c) * f.step]
                       : 0;
    }
}

/* sums = the tile of A [M, C] B [N, C]^T at (first_m, first_n): rows y + 16 i, columns x + 16 j of a thread. */
LX_DEVICE void multiply(float (&sums)[EACH][EACH], const factor &a, const factor &b,
                        int M, int N, int C, int first_m, int first_n)
{
    __shared__ float left[SLICE][TILE + 1], right[SLICE][TILE + 1];
    const int x = threadIdx.x % SIDE, y = threadIdx.x / SIDE;

    for (int i = 0; i < EACH; i++)
        for (int j = 0; j < EACH; j++)
            sums[i][j] = 0;
    for (int c0 = 0; c0 < C; c0 += SLICE) {
        fetch(left, a, M, C, first_m, c0);
        fetch(right, b, N, C, first_n, c0);
        __syncthreads();
#pragma unroll
        for (int c = 0; c < SLICE; c++)
#pragma unroll
            for (int i = 0; i < EACH; i++)
#pragma unroll
                for (int j = 0; j < EACH; j++)
                    sums[i][j] += left[c][y + i * SIDE] * right[c][x + j * SIDE];
        __syncthreads();
    }
}

/* f(where in a matrix [M, N], i, j) for a thread's sums of the tile that are there. */
template <class F>
LX_DEVICE void for_elements(int M, int N, int first_m, int first_n, F f)
{
#pragma unroll
    for (int i = 0; i < EACH; i++)
#pragma unroll
        for (int j = 0; j < EACH; j++) {
            const int m = first_m + threadIdx.x / SIDE + i * SIDE,
                      n = first_n + threadIdx.x % SIDE + j * SIDE;
            if (m < M && n < N)
                f((int64_t)m * N + n, i, j);
        }
}

/* w [N, K] = scale * other o (c d); other is a b, or when `by` is given that matrix. */
__global__ void __launch_bounds__(THREADS)
    multiply_halves(float *w, const float *by, factor a, factor b, factor c, factor d,
                    int N, int K, int R, int S, float scale)
{
    const int n = blockIdx.y * TILE, k = blockIdx.x * TILE;
    float ab[EACH][EACH] = {}, cd[EACH][EACH];

    multiply(cd, c, d, N, K, S, n, k);
    if (!by)
        multiply(ab, a, b, N, K, R, n, k);
    for_elements(N, K, n, k, [&](int64_t at, int i, int j) {
        w[at] = scale * (by ? by[at] : ab[i][j]) * cd[i][j];
    });
}

/* y [M, N] += A B^T */
__global__ void __launch_bounds__(THREADS)
    add_product(float *y, factor a, factor b, int M, int N, int C)
{
    float sums[EACH][EACH];

    multiply(sums, a, b, M, N, C, blockIdx.y * TILE, blockIdx.x * TILE);
    for_elements(M, N, blockIdx.y * TILE, blockIdx.x * TILE,
                 [&](int64_t at, int i, int j) { y[at] += sums[i][j]; });
}

/* ---- host -------------------------------------------------------------------------------- */

static dim3 grid_of(int64_t M, int64_t N)
{
    return dim3(lx_blocks(N, TILE), lx_blocks(M, TILE));
}

/* left [N, R] and right [R, K] as what is multiplied over R. */
static factor left_of(const lx_call *call, int i)
{
    return {lx_in<float>(call, i), call->in[i].shape[1], 1};
}

static factor right_of(const lx_call *call, int i)
{
    return {lx_in<float>(call, i), 1, call->in[i].shape[1]};
}

static int check_f32(const lx_call *call, lx_error *err)
{
    for (int i = 0; i < call->n_in; i++)
        if (call->in[i].dtype != LX_F32)
            return lx_fail(err, LX_EUNSUPPORTED, "a factor of a LoHa is %s, not F32",
                           lx_dtype_name(call->in[i].dtype));
    return LX_OK;
}

static int prepare_hadamard(lx_device *, lx_call *call, bool, lx_error *err)
{
    return check_f32(call, err);
}

static void run_hadamard(lx_device *dev, const lx_call *call)
{
    const int64_t N = call->out[0].shape[0], K = call->out[0].shape[1];

    if (N && K)
        LX_LAUNCH(dev, multiply_halves, grid_of(N, K), THREADS, 0, lx_out<float>(call, 0),
                  nullptr, left_of(call, 0), right_of(call, 1), left_of(call, 2),
                  right_of(call, 3), (int)N, (int)K, (int)call->in[0].shape[1],
                  (int)call->in[2].shape[1], call->attrs.linear.scale);
}

/* Scratch: t = scale * dw o (c d) [N, K]. */
static int prepare_hadamard_dab(lx_device *, lx_call *call, bool is_sizing, lx_error *err)
{
    if (is_sizing)
        call->scratch_bytes = (size_t)lx_arg_count(&call->in[0]) * sizeof(float);
    return check_f32(call, err);
}

static void run_hadamard_dab(lx_device *dev, const lx_call *call)
{
    const int64_t N = call->in[0].shape[0], K = call->in[0].shape[1],
                  R = call->in[1].shape[1];
    float *t = static_cast<float *>(call->scratch);

    if (!N || !K || !R)
        return;
    LX_LAUNCH(dev, multiply_halves, grid_of(N, K), THREADS, 0, t, lx_in<float>(call, 0),
              left_of(call, 1), right_of(call, 2), left_of(call, 3), right_of(call, 4),
              (int)N, (int)K, (int)R, (int)call->in[3].shape[1],
              call->attrs.linear.scale);
    /* da = t b^T over K, db = a^T t over N */
    LX_LAUNCH(dev, add_product, grid_of(N, R), THREADS, 0, lx_out<float>(call, 0),
              factor{t, K, 1}, factor{lx_in<float>(call, 2), K, 1}, (int)N, (int)R,
              (int)K);
    LX_LAUNCH(dev, add_product, grid_of(R, K), THREADS, 0, lx_out<float>(call, 1),
              factor{lx_in<float>(call, 1), 1, R}, factor{t, 1, K}, (int)R, (int)K,
              (int)N);
}

const lx_kernel lx_cuda_hadamard = {prepare_hadamard, run_hadamard, nullptr};
const lx_kernel lx_cuda_hadamard_dab = {prepare_hadamard_dab, run_hadamard_dab, nullptr};
