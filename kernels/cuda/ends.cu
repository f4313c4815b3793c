/* What begins a step: see ends.h. */
#include "kernels/cuda/functions.cuh"

extern "C" {
#include "kernels/cuda/ends.h"
}

enum { THREADS = 256 };

/* An element of [B, P, C] a thread. Products and sum are rounded one by one, as mul_add's are. */
template <class T>
__global__ void __launch_bounds__(THREADS) make_noisy(T *y, lx_cuda_noisy n)
{
    const int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x;

    if (i >= n.B * n.P * n.C)
        return;
    const int64_t c = i % n.C, p = i / n.C % n.P, b = i / (n.C * n.P),
                  at = (b * n.C + c) * n.P + p;
    const float noise = n.from[at],
                value = __fadd_rn(__fmul_rn(n.signal[b], n.latents[at]),
                                  __fmul_rn(n.sigma[b], noise));
    if (n.noise)
        n.noise[i] = noise;
    if (n.noisy)
        n.noisy[i] = value;
    if (y)
        y[i] = lx_narrow<T>(value);
}

void lx_cuda_make_noisy(lx_device *dev, const lx_cuda_noisy *n, const lx_arg *cast)
{
    const int64_t elements = n->B * n->C * n->P;

    if (elements)
        lx_with_type(cast ? cast->dtype : LX_F32, [&](auto t) {
            typedef decltype(t) T;
            LX_LAUNCH(dev, make_noisy<T>, lx_blocks(elements, THREADS), THREADS, 0,
                      static_cast<T *>(cast ? cast->data : nullptr), *n);
        });
}

/* positions repeat after `period` elements. */
template <class T>
__global__ void __launch_bounds__(THREADS)
    embed(T *y, const int64_t *ids, lx_weight table, lx_weight positions, int64_t n,
          int64_t V, int D, int64_t period)
{
    const int c = blockIdx.x * THREADS + threadIdx.x;

    if (c >= D)
        return;
    for (int64_t i = blockIdx.y; i < n; i += gridDim.y) {
        const int64_t id = ids[i], at = i * D + c;
        y[at] = lx_narrow<T>((id >= 0 && id < V ? lx_weight_at(table, id * D + c) : NAN) +
                             lx_weight_at(positions, at % period));
    }
}

void lx_cuda_embed(lx_device *dev, const lx_call *embedding, const lx_call *add,
                   const lx_arg *y)
{
    const int64_t n = lx_arg_count(&embedding->in[0]), period = lx_arg_count(&add->in[1]);
    const int D = (int)embedding->in[1].shape[1];

    if (!n || !D)
        return;
    lx_with_type(y->dtype, [&](auto t) {
        typedef decltype(t) T;
        /* Rows in the grid's y, which CUDA limits. */
        const dim3 grid(lx_blocks(D, THREADS), (unsigned)(n < 32768 ? n : 32768));
        LX_LAUNCH(dev, embed<T>, grid, THREADS, 0, static_cast<T *>(y->data),
                  lx_in<int64_t>(embedding, 0), lx_weight_of(embedding, 1),
                  lx_weight_of(add, 1), n, embedding->in[1].shape[0], D, period);
    });
}

/* A column a warp; its lanes take eights of k in turn. */
template <class T>
__global__ void __launch_bounds__(THREADS)
    few_rows(T *z, T *y, const T *x, const T *w, lx_weight bias, int M, int N, int K)
{
    const int column = blockIdx.x * (THREADS / 32) + threadIdx.x / 32,
              lane = threadIdx.x % 32;
    float sum[LX_CUDA_FEW_ROWS];

    if (column >= N)
        return; /* the whole warp */
#pragma unroll
    for (int m = 0; m < LX_CUDA_FEW_ROWS; m++)
        sum[m] = 0;
    for (int k = lane * 8; k < K; k += 32 * 8) {
        const lx_pack<T, 8> v = lx_load<T, 8>(w + (int64_t)column * K + k);
#pragma unroll
        for (int m = 0; m < LX_CUDA_FEW_ROWS; m++)
            if (m < M) {
                const lx_pack<T, 8> u = lx_load<T, 8>(x + (int64_t)m * K + k);
#pragma unroll
                for (int i = 0; i < 8; i++)
                    sum[m] += lx_widen(u.at[i]) * lx_widen(v.at[i]);
            }
    }
#pragma unroll
    for (int m = 0; m < LX_CUDA_FEW_ROWS; m++) {
        const float total = lx_warp_sum(sum[m]);
        if (lane || m >= M)
            continue;
        const T rounded =
            lx_narrow<T>(total + (bias.data ? lx_weight_at(bias, column) : 0));
        if (y)
            y[(int64_t)m * N + column] = rounded;
        z[(int64_t)m * N + column] = lx_narrow<T>(lx_silu::value(lx_widen(rounded)));
    }
}

void lx_cuda_few_rows(lx_device *dev, const lx_call *linear, const void *w, void *y,
                      const lx_arg *z)
{
    const int M = (int)lx_arg_rows(&linear->in[0]), N = (int)lx_arg_width(z),
              K = (int)lx_arg_width(&linear->in[0]);

    if (!M || !N)
        return;
    auto launch = [&](auto t) {
        typedef decltype(t) T;
        LX_LAUNCH(dev, few_rows<T>, lx_blocks(N, THREADS / 32), THREADS, 0,
                  static_cast<T *>(z->data), static_cast<T *>(y), lx_in<T>(linear, 0),
                  static_cast<const T *>(w), lx_weight_of(linear, 2), M, N, K);
    };
    if (z->dtype == LX_F16)
        launch(lx_f16());
    else
        launch(lx_bf16());
}
