/*
 * Kernels that go row by row: layer_norm with its gradient and softmax with its gradient, a warp a
 * row; sums over rows, a column of threads a channel: sum_rows, bias_db, norm_dwb.
 *
 * A row is read twice or three times, but from memory once: it fits the first cache.
 */
#include "kernels/cuda/dialect.cuh"

enum { WARPS = 8, THREADS = WARPS * 32 };

/* The row of this warp; rows or more when there is none. */
LX_DEVICE int64_t my_row()
{
    return (int64_t)blockIdx.x * WARPS + threadIdx.x / 32;
}

/* f(c, c + 1, ..) for this lane's packs of a row of C. */
template <int N, class F> LX_DEVICE void for_row(int C, F f)
{
    for (int c = (threadIdx.x % 32) * N; c < C; c += 32 * N)
        f(c);
}

/* ---- layer_norm --------------------------------------------------------------------------- */

template <class T, int N>
__global__ void __launch_bounds__(THREADS, 4)
    layer_norm(T *y, float *stats, const T *x, lx_weight w, lx_weight bias, int64_t rows,
               int C, float eps)
{
    const int64_t m = my_row();

    if (m >= rows)
        return; /* the whole warp */
    x += m * C;
    const float first = lx_widen(x[0]); /* against cancellation: sums are of x - first */
    float sum = 0, squares = 0;
    for_row<N>(C, [&](int c) {
        const lx_pack<T, N> v = lx_load<T, N>(x + c);
#pragma unroll
        for (int k = 0; k < N; k++)
            sum += lx_widen(v.at[k]) - first;
    });
    const float mean = first + lx_warp_sum(sum) / C;
    for_row<N>(C, [&](int c) {
        const lx_pack<T, N> v = lx_load<T, N>(x + c);
#pragma unroll
        for (int k = 0; k < N; k++) {
            const float d = lx_widen(v.at[k]) - mean;
            squares += d * d;
        }
    });
    const float rstd = 1 / sqrtf(lx_warp_sum(squares) / C + eps);
    for_row<N>(C, [&](int c) {
        lx_pack<T, N> v = lx_load<T, N>(x + c);
        float by[N], plus[N];
        lx_weights_at<N>(by, w, c);
        lx_weights_at<N>(plus, bias, c);
#pragma unroll
        for (int k = 0; k < N; k++)
            v.at[k] = lx_narrow<T>((lx_widen(v.at[k]) - mean) * rstd * by[k] + plus[k]);
        lx_store<T, N>(y + m * C + c, v);
    });
    if (stats && threadIdx.x % 32 == 0) {
        stats[m * 2] = mean;
        stats[m * 2 + 1] = rstd;
    }
}

template <class T, int N>
__global__ void __launch_bounds__(THREADS)
    layer_norm_dx(T *dx, const T *dy, const T *x, lx_weight w, const float *stats,
                  const T *plus, int64_t rows, int C)
{
    const int64_t m = my_row();

    if (m >= rows)
        return;
    const float mean = stats[m * 2], rstd = stats[m * 2 + 1];
    float sum = 0, dot = 0;
    for_row<N>(C, [&](int c) {
        const lx_pack<T, N> v = lx_load<T, N>(x + m * C + c),
                            d = lx_load<T, N>(dy + m * C + c);
        float by[N];
        lx_weights_at<N>(by, w, c);
#pragma unroll
        for (int k = 0; k < N; k++) {
            const float g = lx_widen(d.at[k]) * by[k];
            sum += g;
            dot += g * ((lx_widen(v.at[k]) - mean) * rstd);
        }
    });
    sum = lx_warp_sum(sum) / C;
    dot = lx_warp_sum(dot) / C;
    for_row<N>(C, [&](int c) {
        const lx_pack<T, N> v = lx_load<T, N>(x + m * C + c),
                            d = lx_load<T, N>(dy + m * C + c);
        lx_pack<T, N> a = d;
        if (plus)
            a = lx_load<T, N>(plus + m * C + c);
        float by[N];
        lx_weights_at<N>(by, w, c);
#pragma unroll
        for (int k = 0; k < N; k++) {
            const float xhat = (lx_widen(v.at[k]) - mean) * rstd;
            const float g = lx_widen(d.at[k]) * by[k];
            const float z = rstd * (g - sum - xhat * dot);
            a.at[k] = lx_narrow<T>(plus ? lx_widen(a.at[k]) + z : z);
        }
        lx_store<T, N>(dx + m * C + c, a);
    });
}

static void run_layer_norm(lx_device *dev, const lx_call *call)
{
    const int64_t rows = lx_arg_rows(&call->in[0]);
    const int C = (int)lx_arg_width(&call->in[0]);

    if (!rows || !C)
        return;
    lx_with_type(call->in[0].dtype, [&](auto t) {
        typedef decltype(t) T;
        const T *x = lx_in<T>(call, 0);
        T *y = lx_out<T>(call, 0);
        lx_with_pack<T>(C, {x, y, call->in[1].data, call->in[2].data}, [&](auto pack) {
            constexpr int N = decltype(pack)::value;
            LX_LAUNCH(dev, (layer_norm<T, N>), lx_blocks(rows, WARPS), THREADS, 0, y,
                      lx_out<float>(call, 1), x, lx_weight_of(call, 1),
                      lx_weight_of(call, 2), rows, C, call->attrs.norm.eps);
        });
    });
}

static void run_layer_norm_dx(lx_device *dev, const lx_call *call)
{
    const int64_t rows = lx_arg_rows(&call->in[0]);
    const int C = (int)lx_arg_width(&call->in[0]);

    if (!rows || !C)
        return;
    lx_with_type(call->in[0].dtype, [&](auto t) {
        typedef decltype(t) T;
        const T *dy = lx_in<T>(call, 0), *x = lx_in<T>(call, 1),
                *plus = lx_in<T>(call, 4);
        T *dx = lx_out<T>(call, 0);
        lx_with_pack<T>(C, {dy, x, plus, dx, call->in[2].data}, [&](auto pack) {
            constexpr int N = decltype(pack)::value;
            LX_LAUNCH(dev, (layer_norm_dx<T, N>), lx_blocks(rows, WARPS), THREADS, 0, dx,
                      dy, x, lx_weight_of(call, 2), lx_in<float>(call, 3), plus, rows, C);
        });
    });
}

const lx_kernel lx_cuda_layer_norm = {lx_check_types, run_layer_norm, nullptr};
const lx_kernel lx_cuda_layer_norm_dx = {lx_check_types, run_layer_norm_dx, nullptr};

/* ---- softmax ------------------------------------------------------------------------------ */

/* A NaN makes the sum one, and so does a row of -inf: -inf - -inf. */
template <class T>
__global__ void __launch_bounds__(THREADS) softmax(T *y, const T *x, int64_t rows, int C)
{
    const int64_t m = my_row();

    if (m >= rows)
        return;
    float most = -INFINITY, sum = 0;
    for_row<1>(C, [&](int c) { most = fmaxf(most, lx_widen(x[m * C + c])); });
    most = lx_warp_max(most);
    for_row<1>(C, [&](int c) { sum += expf(lx_widen(x[m * C + c]) - most); });
    sum = lx_warp_sum(sum);
    for_row<1>(C, [&](int c) {
        y[m * C + c] = lx_narrow<T>(expf(lx_widen(x[m * C + c]) - most) / sum);
    });
}

template <class T>
__global__ void __launch_bounds__(THREADS)
    softmax_dx(T *dx, const T *dy, const T *y, int64_t rows, int C)
{
    const int64_t m = my_row();

    if (m >= rows)
        return;
    float dot = 0;
    for_row<1>(C,
               [&](int c) { dot += lx_widen(dy[m * C + c]) * lx_widen(y[m * C + c]); });
    dot = lx_warp_sum(dot);
    for_row<1>(C, [&](int c) {
        dx[m * C + c] =
            lx_narrow<T>(lx_widen(y[m * C + c]) * (lx_widen(dy[m * C + c]) - dot));
    });
}

static void run_softmax(lx_device *dev, const lx_call *call)
{
    const int64_t rows = lx_arg_rows(&call->in[0]);
    const int C = (int)lx_arg_width(&call->in[0]);

    if (!rows || !C)
        return;
    lx_with_type(call->in[0].dtype, [&](auto t) {
        typedef decltype(t) T;
        LX_LAUNCH(dev, softmax<T>, lx_blocks(rows, WARPS), THREADS, 0, lx_out<T>(call, 0),
                  lx_in<T>(call, 0), rows, C);
    });
}

static void run_softmax_dx(lx_device *dev, const lx_call *call)
{
    const int64_t rows = lx_arg_rows(&call->in[0]);
    const int C = (int)lx_arg_width(&call->in[0]);

    if (!rows || !C)
        return;
    lx_with_type(call->in[0].dtype, [&](auto t) {
        typedef decltype(t) T;
        LX_LAUNCH(dev, softmax_dx<T>, lx_blocks(rows, WARPS), THREADS, 0,
                  lx_out<T>(call, 0), lx_in<T>(call, 0), lx_in<T>(call, 1), rows, C);
    });
}

const lx_kernel lx_cuda_softmax = {lx_check_types, run_softmax, nullptr};
const lx_kernel lx_cuda_softmax_dx = {lx_check_types, run_softmax_dx, nullptr};

/* ---- sums over rows ----------------------------------------------------------------------- */

enum { COLUMNS = 32, DEEP = 16 };

/* The sums of two columns of numbers over a block's DEEP rows of threads, valid where y is 0. */
LX_DEVICE void add_columns(double *a, double *b)
{
    __shared__ double shared[2][DEEP][COLUMNS];

    shared[0][threadIdx.y][threadIdx.x] = *a;
    shared[1][threadIdx.y][threadIdx.x] = *b;
    __syncthreads();
    *a = *b = 0;
    if (threadIdx.y == 0)
        for (int i = 0; i < DEEP; i++) {
            *a += shared[0][i][threadIdx.x];
            *b += shared[1][i][threadIdx.x];
        }
}

/* y [B, C] = the sum over P of x [B, P, C], or += into f32 (B = 1). Few numbers, so in f64. */
template <class T, class Y>
__global__ void __launch_bounds__(COLUMNS *DEEP)
    sum_rows(Y *y, const T *x, int64_t P, int C, bool is_added)
{
    const int c = blockIdx.x * COLUMNS + threadIdx.x;
    double sum = 0, unused = 0;

    x += blockIdx.y * P * C;
    for (int64_t p = threadIdx.y; c < C && p < P; p += DEEP)
        sum += lx_widen(x[p * C + c]);
    add_columns(&sum, &unused);
    if (threadIdx.y == 0 && c < C) {
        const int64_t at = (int64_t)blockIdx.y * C + c;
        y[at] = lx_narrow<Y>(is_added ? lx_widen(y[at]) + (float)sum : (float)sum);
    }
}

static void run_sum_rows(lx_device *dev, const lx_call *call)
{
    const int64_t B = call->out[0].shape[0], P = B ? lx_arg_rows(&call->in[0]) / B : 0;
    const int C = (int)call->out[0].shape[1];

    if (!B || !C)
        return;
    lx_with_type(call->in[0].dtype, [&](auto t) {
        typedef decltype(t) T;
        LX_LAUNCH(dev, (sum_rows<T, T>), dim3(lx_blocks(C, COLUMNS), (unsigned)B),
                  dim3(COLUMNS, DEEP), 0, lx_out<T>(call, 0), lx_in<T>(call, 0), P, C,
                  false);
    });
}

static void run_bias_db(lx_device *dev, const lx_call *call)
{
    const int64_t P = lx_arg_rows(&call->in[0]);
    const int C = (int)lx_arg_width(&call->in[0]);

    if (!C)
        return;
    lx_with_type(call->in[0].dtype, [&](auto t) {
        typedef decltype(t) T;
        LX_LAUNCH(dev, (sum_rows<T, float>), dim3(lx_blocks(C, COLUMNS)),
                  dim3(COLUMNS, DEEP), 0, lx_out<float>(call, 0), lx_in<T>(call, 0), P, C,
                  true);
    });
}

/* dw, db [C] += over all rows; group g's stats are those of sample m / (rows / B). */
template <class T>
__global__ void __launch_bounds__(COLUMNS *DEEP)
    norm_dwb(float *dw, float *db, const T *dy, const T *x, const float *stats,
             int64_t rows, int64_t rows_of_sample, int C, int G)
{
    const int c = blockIdx.x * COLUMNS + threadIdx.x;
    double sum = 0, dot = 0;

    for (int64_t m = threadIdx.y; c < C && m < rows; m += DEEP) {
        const int64_t at = G ? m / rows_of_sample * G + c / (C / G) : m;
        const float g = lx_widen(dy[m * C + c]);
        sum += g;
        dot += (double)g * ((double)lx_widen(x[m * C + c]) - stats[at * 2]) *
               stats[at * 2 + 1];
    }
    add_columns(&sum, &dot);
    if (threadIdx.y == 0 && c < C) {
        if (dw)
            dw[c] += (float)dot;
        if (db)
            db[c] += (float)sum;
    }
}

static void run_norm_dwb(lx_device *dev, const lx_call *call)
{
    const int64_t rows = lx_arg_rows(&call->in[0]);
    const int C = (int)lx_arg_width(&call->in[0]);

    if (!rows || !C)
        return;
    lx_with_type(call->in[0].dtype, [&](auto t) {
        typedef decltype(t) T;
        LX_LAUNCH(dev, norm_dwb<T>, dim3(lx_blocks(C, COLUMNS)), dim3(COLUMNS, DEEP), 0,
                  lx_out<float>(call, 0), lx_out<float>(call, 1), lx_in<T>(call, 0),
                  lx_in<T>(call, 1), lx_in<float>(call, 2), rows,
                  rows / call->in[0].shape[0], C, call->attrs.norm.n_groups);
    });
}

const lx_kernel lx_cuda_sum_rows = {lx_check_types, run_sum_rows, nullptr};
const lx_kernel lx_cuda_bias_db = {nullptr, run_bias_db, nullptr};
const lx_kernel lx_cuda_norm_dwb = {nullptr, run_norm_dwb, nullptr};
