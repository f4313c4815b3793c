/*
 * What surrounds the libraries' products and convolutions: weights in the order and type that they
 * want, and outputs that begin as what is to be added to.
 */
#include "kernels/cuda/dialect.cuh"

enum { THREADS = 256 };

template <class T, int N>
__global__ void __launch_bounds__(THREADS)
    start_rows(T *y, const T *add, lx_weight bias, int64_t n, int C)
{
    const int64_t i = ((int64_t)blockIdx.x * THREADS + threadIdx.x) * N;
    float plus[N] = {};
    lx_pack<T, N> v;

    if (i >= n)
        return;
    if (bias.data)
        lx_weights_at<N>(plus, bias, i % C);
    if (add)
        v = lx_load<T, N>(add + i);
#pragma unroll
    for (int k = 0; k < N; k++)
        v.at[k] = lx_narrow<T>((add ? lx_widen(v.at[k]) : 0) + plus[k]);
    lx_store<T, N>(y + i, v);
}

void lx_cuda_start_rows(lx_device *dev, lx_arg *y, const void *add, const lx_arg *bias)
{
    const int64_t n = lx_arg_count(y);
    const int C = (int)lx_arg_width(y);
    const lx_weight b = {bias && bias->n_dims >= 0 ? bias->data : nullptr,
                         bias ? (int)bias->dtype : LX_F32};

    if (!n)
        return;
    lx_with_type(y->dtype, [&](auto t) {
        typedef decltype(t) T;
        lx_with_pack<T>(C, {y->data, add, b.data}, [&](auto pack) {
            constexpr int N = decltype(pack)::value;
            LX_LAUNCH(dev, (start_rows<T, N>), lx_blocks(n / N, THREADS), THREADS, 0,
                      static_cast<T *>(y->data), static_cast<const T *>(add), b, n, C);
        });
    });
}

/* One block of threads walks along K of one (n, tap), so that writes are contiguous. */
template <class T>
__global__ void __launch_bounds__(THREADS)
    pack_weight(T *dst, lx_weight src, int64_t rows, int64_t K, int64_t taps)
{
    for (int64_t r = blockIdx.y; r < rows; r += gridDim.y)
        for (int64_t k = (int64_t)blockIdx.x * THREADS + threadIdx.x; k < K;
             k += (int64_t)gridDim.x * THREADS)
            dst[r * K + k] =
                lx_narrow<T>(lx_weight_at(src, (r / taps * K + k) * taps + r % taps));
}

static dim3 rows_grid(int64_t rows, int64_t K)
{
    return dim3(lx_blocks(K, THREADS), (unsigned)(rows < 32768 ? rows : 32768));
}

void lx_cuda_pack_weight(lx_device *dev, void *dst, lx_dtype dtype, const lx_arg *src,
                         int64_t N, int64_t K, int64_t taps)
{
    const lx_weight from = {src->data, (int)src->dtype};

    if (N * K * taps <= 0)
        return;
    lx_with_type(dtype, [&](auto t) {
        typedef decltype(t) T;
        LX_LAUNCH(dev, pack_weight<T>, rows_grid(N * taps, K), THREADS, 0,
                  static_cast<T *>(dst), from, N * taps, K, taps);
    });
}

template <class T>
__global__ void __launch_bounds__(THREADS)
    add_unpacked(float *dst, const T *src, int64_t rows, int64_t K, int64_t taps,
                 bool sets)
{
    for (int64_t r = blockIdx.y; r < rows; r += gridDim.y)
#pragma unroll 1 /* it divides; several at once are more than registers hold */
        for (int64_t k = (int64_t)blockIdx.x * THREADS + threadIdx.x; k < K;
             k += (int64_t)gridDim.x * THREADS) {
            const int64_t at = (r / taps * K + k) * taps + r % taps;
            dst[at] = (sets ? 0 : dst[at]) + lx_widen(src[r * K + k]);
        }
}

void lx_cuda_add_unpacked(lx_device *dev, float *dst, const void *src, lx_dtype dtype,
                          int64_t N, int64_t K, int64_t taps, bool sets)
{
    if (N * K * taps <= 0)
        return;
    lx_with_type(dtype, [&](auto t) {
        typedef decltype(t) T;
        LX_LAUNCH(dev, add_unpacked<T>, rows_grid(N * taps, K), THREADS, 0, dst,
                  static_cast<const T *>(src), N * taps, K, taps, sets);
    });
}
