/*
 * Functions of one element: activations (kernels/activation.h), geglu, add, scale and mul_add, and
 * their gradients. 16 bytes a thread at a time where shapes and addresses allow, else one element;
 * bound by memory either way.
 */
#include "kernels/cuda/functions.cuh"

enum { THREADS = 256 };

/* ---- one input, or a gradient and an input ------------------------------------------------ */

template <class F, class T, int N>
__global__ void __launch_bounds__(THREADS) map(T *y, const T *x, int64_t n_packs)
{
    const int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x;

    if (i < n_packs) {
        lx_pack<T, N> v = lx_load<T, N>(x + i * N);
#pragma unroll
        for (int k = 0; k < N; k++)
            v.at[k] = lx_narrow<T>(F::value(lx_widen(v.at[k])));
        lx_store<T, N>(y + i * N, v);
    }
}

template <class F, class T, int N>
__global__ void __launch_bounds__(THREADS)
    map_slope(T *dx, const T *dy, const T *x, int64_t n_packs)
{
    const int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x;

    if (i < n_packs) {
        const lx_pack<T, N> v = lx_load<T, N>(x + i * N);
        lx_pack<T, N> g = lx_load<T, N>(dy + i * N);
#pragma unroll
        for (int k = 0; k < N; k++)
            g.at[k] = lx_narrow<T>(lx_widen(g.at[k]) * F::slope(lx_widen(v.at[k])));
        lx_store<T, N>(dx + i * N, g);
    }
}

template <class F, class T> static void launch_map(lx_device *dev, const lx_call *call)
{
    const int64_t n = lx_arg_count(&call->in[0]);
    const T *x = lx_in<T>(call, 0);
    T *y = lx_out<T>(call, 0);

    lx_with_pack<T>(n, {x, y}, [&](auto pack) {
        constexpr int N = decltype(pack)::value;
        LX_LAUNCH(dev, (map<F, T, N>), lx_blocks(n / N, THREADS), THREADS, 0, y, x,
                  n / N);
    });
}

template <class F, class T> static void launch_slope(lx_device *dev, const lx_call *call)
{
    const int64_t n = lx_arg_count(&call->in[0]);
    const T *dy = lx_in<T>(call, 0), *x = lx_in<T>(call, 1);
    T *dx = lx_out<T>(call, 0);

    lx_with_pack<T>(n, {dy, x, dx}, [&](auto pack) {
        constexpr int N = decltype(pack)::value;
        LX_LAUNCH(dev, (map_slope<F, T, N>), lx_blocks(n / N, THREADS), THREADS, 0, dx,
                  dy, x, n / N);
    });
}

template <class F> static void run_map(lx_device *dev, const lx_call *call)
{
    if (lx_arg_count(&call->in[0]))
        lx_with_type(call->in[0].dtype,
                     [&](auto t) { launch_map<F, decltype(t)>(dev, call); });
}

template <class F> static void run_slope(lx_device *dev, const lx_call *call)
{
    if (lx_arg_count(&call->in[0]))
        lx_with_type(call->in[0].dtype,
                     [&](auto t) { launch_slope<F, decltype(t)>(dev, call); });
}

const lx_kernel lx_cuda_silu = {lx_check_types, run_map<lx_silu>, nullptr};
const lx_kernel lx_cuda_silu_dx = {lx_check_types, run_slope<lx_silu>, nullptr};
const lx_kernel lx_cuda_gelu = {lx_check_types, run_map<lx_gelu>, nullptr};
const lx_kernel lx_cuda_gelu_dx = {lx_check_types, run_slope<lx_gelu>, nullptr};
const lx_kernel lx_cuda_quick_gelu = {lx_check_types, run_map<lx_quick_gelu>, nullptr};
const lx_kernel lx_cuda_quick_gelu_dx = {lx_check_types, run_slope<lx_quick_gelu>,
                                         nullptr};

/* ---- geglu -------------------------------------------------------------------------------- */

/* Blocks of x go along a row of C, y over rows. */
template <class T, int N>
__global__ void __launch_bounds__(THREADS) geglu(T *y, const T *x, int64_t rows, int C)
{
    const int c = (blockIdx.x * THREADS + threadIdx.x) * N;

    if (c >= C)
        return;
    for (int64_t m = blockIdx.y; m < rows; m += gridDim.y) {
        lx_pack<T, N> a = lx_load<T, N>(x + m * 2 * C + c);
        const lx_pack<T, N> g = lx_load<T, N>(x + m * 2 * C + C + c);
#pragma unroll
        for (int k = 0; k < N; k++)
            a.at[k] = lx_narrow<T>(lx_widen(a.at[k]) * lx_gelu::value(lx_widen(g.at[k])));
        lx_store<T, N>(y + m * C + c, a);
    }
}

template <class T, int N>
__global__ void __launch_bounds__(THREADS)
    geglu_dx(T *dx, const T *dy, const T *x, int64_t rows, int C)
{
    const int c = (blockIdx.x * THREADS + threadIdx.x) * N;

    if (c >= C)
        return;
    for (int64_t m = blockIdx.y; m < rows; m += gridDim.y) {
        lx_pack<T, N> a = lx_load<T, N>(x + m * 2 * C + c),
                      g = lx_load<T, N>(x + m * 2 * C + C + c);
        const lx_pack<T, N> d = lx_load<T, N>(dy + m * C + c);
#pragma unroll
        for (int k = 0; k < N; k++) {
            const float by = lx_widen(d.at[k]), gate = lx_widen(g.at[k]);
            g.at[k] = lx_narrow<T>(by * lx_widen(a.at[k]) * lx_gelu::slope(gate));
            a.at[k] = lx_narrow<T>(by * lx_gelu::value(gate));
        }
        lx_store<T, N>(dx + m * 2 * C + c, a);
        lx_store<T, N>(dx + m * 2 * C + C + c, g);
    }
}

/* Rows in the grid's y, which CUDA limits. */
static dim3 row_grid(int64_t packs, int64_t rows)
{
    return dim3(lx_blocks(packs, THREADS), (unsigned)(rows < 32768 ? rows : 32768));
}

static void run_geglu(lx_device *dev, const lx_call *call)
{
    const int64_t rows = lx_arg_rows(&call->out[0]);
    const int C = (int)lx_arg_width(&call->out[0]);

    if (!rows || !C)
        return;
    lx_with_type(call->in[0].dtype, [&](auto t) {
        typedef decltype(t) T;
        const T *x = lx_in<T>(call, 0);
        T *y = lx_out<T>(call, 0);
        lx_with_pack<T>(C, {x, y}, [&](auto pack) {
            constexpr int N = decltype(pack)::value;
            LX_LAUNCH(dev, (geglu<T, N>), row_grid(C / N, rows), THREADS, 0, y, x, rows,
                      C);
        });
    });
}

static void run_geglu_dx(lx_device *dev, const lx_call *call)
{
    const int64_t rows = lx_arg_rows(&call->in[0]);
    const int C = (int)lx_arg_width(&call->in[0]);

    if (!rows || !C)
        return;
    lx_with_type(call->in[0].dtype, [&](auto t) {
        typedef decltype(t) T;
        const T *dy = lx_in<T>(call, 0), *x = lx_in<T>(call, 1);
        T *dx = lx_out<T>(call, 0);
        lx_with_pack<T>(C, {dy, x, dx}, [&](auto pack) {
            constexpr int N = decltype(pack)::value;
            LX_LAUNCH(dev, (geglu_dx<T, N>), row_grid(C / N, rows), THREADS, 0, dx, dy, x,
                      rows, C);
        });
    });
}

const lx_kernel lx_cuda_geglu = {lx_check_types, run_geglu, nullptr};
const lx_kernel lx_cuda_geglu_dx = {lx_check_types, run_geglu_dx, nullptr};

/* ---- sums and multiples ------------------------------------------------------------------- */

/* Sample blockIdx.y of a [B, n] plus b: b_step elements of b on from sample to sample, and repeated
 * every `period`. b is of any type (a bias is as the checkpoint has it). */
template <class T, int N>
__global__ void __launch_bounds__(THREADS)
    add(T *y, const T *a, lx_weight b, unsigned n, unsigned period, int64_t b_step)
{
    const unsigned i = (blockIdx.x * THREADS + threadIdx.x) * N;
    const int64_t at = (int64_t)blockIdx.y * n + i;

    if (i < n) {
        lx_pack<T, N> v = lx_load<T, N>(a + at);
        const int64_t from = blockIdx.y * b_step + (period < n ? i % period : i);
        float plus[N];
        lx_weights_at<N>(plus, b, from);
#pragma unroll
        for (int k = 0; k < N; k++)
            v.at[k] = lx_narrow<T>(lx_widen(v.at[k]) + plus[k]);
        lx_store<T, N>(y + at, v);
    }
}

/* Same shapes and types. */
template <class T, int N>
__global__ void __launch_bounds__(THREADS)
    add_same(T *y, const T *a, const T *b, int64_t n_packs)
{
    const int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x;

    if (i < n_packs) {
        lx_pack<T, N> v = lx_load<T, N>(a + i * N);
        const lx_pack<T, N> u = lx_load<T, N>(b + i * N);
#pragma unroll
        for (int k = 0; k < N; k++)
            v.at[k] = lx_narrow<T>(lx_widen(v.at[k]) + lx_widen(u.at[k]));
        lx_store<T, N>(y + i * N, v);
    }
}

template <class T> static void launch_add(lx_device *dev, const lx_call *call)
{
    const int64_t n = lx_arg_count(&call->in[0]), n_b = lx_arg_count(&call->in[1]);
    const int C = (int)lx_arg_width(&call->in[0]);
    const T *a = lx_in<T>(call, 0), *b = lx_in<T>(call, 1);
    T *y = lx_out<T>(call, 0);

    if (n == n_b && call->in[0].dtype == call->in[1].dtype) {
        lx_with_pack<T>(n, {a, b, y}, [&](auto pack) {
            constexpr int N = decltype(pack)::value;
            LX_LAUNCH(dev, (add_same<T, N>), lx_blocks(n / N, THREADS), THREADS, 0, y, a,
                      b, n / N);
        });
        return;
    }
    const int64_t B = call->in[0].n_dims > 1 ? call->in[0].shape[0] : 1, each = n / B;
    const int64_t step = n_b == n ? each : n_b == C ? 0 : C;
    lx_with_pack<T>(C, {a, y, call->in[1].data}, [&](auto pack) {
        constexpr int N = decltype(pack)::value;
        LX_LAUNCH(dev, (add<T, N>), dim3(lx_blocks(each / N, THREADS), (unsigned)B),
                  THREADS, 0, y, a, lx_weight_of(call, 1), (unsigned)each,
                  n_b == n ? (unsigned)each : (unsigned)C, step);
    });
}

static void run_add(lx_device *dev, const lx_call *call)
{
    if (lx_arg_count(&call->in[0]))
        lx_with_type(call->in[0].dtype,
                     [&](auto t) { launch_add<decltype(t)>(dev, call); });
}

template <class T, int N>
__global__ void __launch_bounds__(THREADS)
    scale(T *y, const T *x, float by, int64_t n_packs)
{
    const int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x;

    if (i < n_packs) {
        lx_pack<T, N> v = lx_load<T, N>(x + i * N);
#pragma unroll
        for (int k = 0; k < N; k++)
            v.at[k] = lx_narrow<T>(by * lx_widen(v.at[k]));
        lx_store<T, N>(y + i * N, v);
    }
}

static void run_scale(lx_device *dev, const lx_call *call)
{
    const int64_t n = lx_arg_count(&call->in[0]);

    if (!n)
        return;
    lx_with_type(call->in[0].dtype, [&](auto t) {
        typedef decltype(t) T;
        const T *x = lx_in<T>(call, 0);
        T *y = lx_out<T>(call, 0);
        lx_with_pack<T>(n, {x, y}, [&](auto pack) {
            constexpr int N = decltype(pack)::value;
            LX_LAUNCH(dev, (scale<T, N>), lx_blocks(n / N, THREADS), THREADS, 0, y, x,
                      call->attrs.linear.scale, n / N);
        });
    });
}

/* Samples blockIdx.y.. of x, y [B, n]; a, b [B] f32. Both products and the sum are rounded, as on the
 * CPU: noisy latents are the same bits. */
template <class T>
__global__ void __launch_bounds__(THREADS)
    mul_add(T *z, const float *a, const T *x, const float *b, const T *y, int64_t B,
            int64_t n)
{
    const int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x;

    if (i >= n)
        return;
    for (int64_t s = blockIdx.y; s < B; s += gridDim.y) {
        const int64_t at = s * n + i;
        float v = __fmul_rn(a[s], lx_widen(x[at]));
        if (y)
            v = __fadd_rn(v, __fmul_rn(b ? b[s] : 1, lx_widen(y[at])));
        z[at] = lx_narrow<T>(v);
    }
}

static void run_mul_add(lx_device *dev, const lx_call *call)
{
    const int64_t n = lx_arg_count(&call->in[1]), B = call->in[1].shape[0];

    if (!n)
        return;
    lx_with_type(call->in[1].dtype, [&](auto t) {
        typedef decltype(t) T;
        LX_LAUNCH(dev, mul_add<T>, row_grid(n / B, B), THREADS, 0, lx_out<T>(call, 0),
                  lx_in<float>(call, 0), lx_in<T>(call, 1), lx_in<float>(call, 2),
                  lx_in<T>(call, 3), B, n / B);
    });
}

const lx_kernel lx_cuda_add = {lx_check_types, run_add, nullptr};
const lx_kernel lx_cuda_scale = {lx_check_types, run_scale, nullptr};
const lx_kernel lx_cuda_mul_add = {lx_check_types, run_mul_add, nullptr};
