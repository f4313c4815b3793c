/*
 * Attention and its gradient (kernels/attention.h), in f32 for heads of up to 512.
 *
 * A block holds a tile of rows; eight threads share a row. Each computes the scores of every eighth
 * column of a tile of the other side, then, of the products with those scores, every eighth element
 * of the row. The softmax runs along (Milakov and Gimelshein 2018); the gradient computes scores
 * again from lse, once with queries as rows for dq and once with keys as rows for dk and dv, so that
 * every sum has one owner and one order.
 */
#include "kernels/cuda/attention.cuh"

enum { LANES = 8 }; /* threads of a row */

/* Tiles for heads of at most D: rows, columns, and elements of a row that a thread owns. The gradient holds two tiles
 * of rows and two of columns. */
template <int D, bool IS_GRADIENT = false> struct tiles_of {
    enum {
        ROWS = D <= 160      ? 16
               : IS_GRADIENT ? 4
                             : 8,
        COLUMNS = D > 160  ? 8
                  : D > 80 ? 24
                           : 32, /* what 64 KiB of sm_75 hold */
        PITCH = D + 1,           /* columns in different banks */
        OWN = D / LANES,
        SCORES = COLUMNS / LANES,
        THREADS = ROWS * LANES
    };
};

/* Rows first.. of a tensor into a tile, zeros where there are none. */
template <class T, int PITCH>
LX_DEVICE void load_tile(float *tile, const T *x, const attention_shape &s, int b,
                         int length, int first, int rows, int head)
{
    for (int i = threadIdx.x; i < rows * s.d; i += blockDim.x) {
        const int r = i / s.d, c = i % s.d;
        tile[r * PITCH + c] =
            first + r < length
                ? lx_widen(x[attention_at(s, b, length, first + r, head) + c])
                : 0;
    }
}

/* out[i] = a . b_(lane + 8 i), i < N: this thread's scores. */
template <int N, int PITCH>
LX_DEVICE void dot_columns(float *out, const float *a, const float *b, int lane, int d)
{
#pragma unroll
    for (int i = 0; i < N; i++)
        out[i] = 0;
    for (int c = 0; c < d; c++) {
        const float x = a[c];
#pragma unroll
        for (int i = 0; i < N; i++)
            out[i] += x * b[(lane + LANES * i) * PITCH + c];
    }
}

/* own[i] += sum over columns j of p[j] x_j[lane + 8 i]. */
template <int D>
LX_DEVICE void add_products(float *own, const float *p, const float *x, int lane, int d,
                            int columns)
{
    typedef tiles_of<D> S;

    for (int j = 0; j < columns; j++)
#pragma unroll
        for (int i = 0; i < S::OWN; i++)
            if (lane + LANES * i < d)
                own[i] += p[j] * x[j * S::PITCH + lane + LANES * i];
}

/* Over the eight threads of a row. */
LX_DEVICE float row_max(float x)
{
#pragma unroll
    for (int i = LANES / 2; i; i /= 2)
        x = fmaxf(x, __shfl_xor_sync(LX_FULL, x, i));
    return x;
}

LX_DEVICE float row_sum(float x)
{
#pragma unroll
    for (int i = LANES / 2; i; i /= 2)
        x += __shfl_xor_sync(LX_FULL, x, i);
    return x;
}

template <class T, int D>
__global__ void __launch_bounds__(tiles_of<D>::THREADS)
    attend(T *o, float *lse, const T *q, const T *k, const T *v, attention_shape s)
{
    typedef tiles_of<D> S;
    LX_DYNAMIC_SHARED(float, queries); /* [ROWS][PITCH] */
    float *keys = queries + S::ROWS * S::PITCH, *values = keys + S::COLUMNS * S::PITCH;
    float *weights = values + S::COLUMNS * S::PITCH; /* [ROWS][COLUMNS] */
    const int b = blockIdx.z, head = blockIdx.y, first = blockIdx.x * S::ROWS;
    const int r = threadIdx.x / LANES, lane = threadIdx.x % LANES, t = first + r;
    const int n_keys = attention_keys(s, t),
              last = attention_keys(s, min(first + S::ROWS, s.T) - 1);
    float own[S::OWN], score[S::SCORES], most = -INFINITY, sum = 0;

#pragma unroll
    for (int i = 0; i < S::OWN; i++)
        own[i] = 0;
    load_tile<T, S::PITCH>(queries, q, s, b, s.T, first, S::ROWS, head);
    for (int j0 = 0; j0 < last; j0 += S::COLUMNS) {
        __syncthreads();
        load_tile<T, S::PITCH>(keys, k, s, b, s.S, j0, S::COLUMNS, head);
        load_tile<T, S::PITCH>(values, v, s, b, s.S, j0, S::COLUMNS, head);
        __syncthreads();
        dot_columns<S::SCORES, S::PITCH>(score, queries + r * S::PITCH, keys, lane, s.d);
        float top = most;
#pragma unroll
        for (int i = 0; i < S::SCORES; i++) {
            score[i] = j0 + lane + LANES * i < n_keys ? score[i] * s.scale : -INFINITY;
            top = fmaxf(top, score[i]);
        }
        top = row_max(top);
        /* A row without a key in this tile keeps what it has. */
        const float keep = top == -INFINITY ? 1 : expf(most - top);
        most = top;
        sum *= keep;
#pragma unroll
        for (int i = 0; i < S::SCORES; i++) {
            const float p = score[i] == -INFINITY ? 0 : expf(score[i] - most);
            sum += p;
            weights[r * S::COLUMNS + lane + LANES * i] = p;
        }
#pragma unroll
        for (int i = 0; i < S::OWN; i++)
            own[i] *= keep;
        __syncwarp(); /* a row's threads are in one warp */
        add_products<D>(own, weights + r * S::COLUMNS, values, lane, s.d,
                        min((int)S::COLUMNS, last - j0));
    }
    sum = row_sum(sum);
    if (t < s.T) {
        const int64_t at = attention_at(s, b, s.T, t, head);
#pragma unroll
        for (int i = 0; i < S::OWN; i++)
            if (lane + LANES * i < s.d)
                o[at + lane + LANES * i] = lx_narrow<T>(own[i] / sum);
        if (lse && lane == 0)
            lse[((int64_t)b * s.heads + head) * s.T + t] = most + logf(sum);
    }
}

/* ---- the gradient ------------------------------------------------------------------------- */

enum { ROW_WARPS = 8 };

/* A warp a row of a head: D = do . o. */
template <class T>
__global__ void __launch_bounds__(ROW_WARPS * 32)
    attention_rows(float *D, const T *o, const T *g, attention_shape s)
{
    const int64_t i =
        (int64_t)blockIdx.x * ROW_WARPS + threadIdx.x / 32; /* (b, head, t) */
    float sum = 0;

    if (i >= (int64_t)s.B * s.heads * s.T)
        return; /* the whole warp */
    const int t = (int)(i % s.T), head = (int)(i / s.T % s.heads),
              b = (int)(i / s.T / s.heads);
    const int64_t at = attention_at(s, b, s.T, t, head);
    for (int c = threadIdx.x % 32; c < s.d; c += 32)
        sum += lx_widen(o[at + c]) * lx_widen(g[at + c]);
    sum = lx_warp_sum(sum);
    if (threadIdx.x % 32 == 0)
        D[i] = sum;
}

void lx_attention_rows(lx_device *dev, const lx_call *call, const attention_shape &s)
{
    lx_with_type(call->in[0].dtype, [&](auto t) {
        typedef decltype(t) T;
        LX_LAUNCH(dev, attention_rows<T>,
                  lx_blocks((int64_t)s.B * s.heads * s.T, ROW_WARPS), ROW_WARPS * 32, 0,
                  static_cast<float *>(call->scratch), lx_in<T>(call, 3),
                  lx_in<T>(call, 5), s);
    });
}

/* p and ds of one pair; with one key there is nothing to choose, to the bit. */
LX_DEVICE void score_gradient(float *p, float *ds, const attention_shape &s, float qk,
                              float gv, float lse, float D, bool is_visible)
{
    *p = !is_visible ? 0 : s.S == 1 ? 1 : expf(qk * s.scale - lse);
    *ds = s.S == 1 ? 0 : *p * (gv - D) * s.scale;
}

/* Rows are queries. */
template <class T, int D>
__global__ void __launch_bounds__(tiles_of<D, true>::THREADS)
    attend_dq(T *dq, const T *q, const T *k, const T *v, const float *lse, const T *g,
              const float *row_D, attention_shape s)
{
    typedef tiles_of<D, true> S;
    LX_DYNAMIC_SHARED(float, queries);
    float *grads = queries + S::ROWS * S::PITCH, *keys = grads + S::ROWS * S::PITCH;
    float *values = keys + S::COLUMNS * S::PITCH, *ds = values + S::COLUMNS * S::PITCH;
    const int b = blockIdx.z, head = blockIdx.y, first = blockIdx.x * S::ROWS;
    const int r = threadIdx.x / LANES, lane = threadIdx.x % LANES, t = first + r;
    const int n_keys = attention_keys(s, t),
              last = attention_keys(s, min(first + S::ROWS, s.T) - 1);
    const int64_t row = ((int64_t)b * s.heads + head) * s.T + min(t, s.T - 1);
    const float my_lse = lse[row], my_D = row_D[row];
    float own[S::OWN], qk[S::SCORES], gv[S::SCORES];

#pragma unroll
    for (int i = 0; i < S::OWN; i++)
        own[i] = 0;
    load_tile<T, S::PITCH>(queries, q, s, b, s.T, first, S::ROWS, head);
    load_tile<T, S::PITCH>(grads, g, s, b, s.T, first, S::ROWS, head);
    for (int j0 = 0; j0 < last; j0 += S::COLUMNS) {
        __syncthreads();
        load_tile<T, S::PITCH>(keys, k, s, b, s.S, j0, S::COLUMNS, head);
        load_tile<T, S::PITCH>(values, v, s, b, s.S, j0, S::COLUMNS, head);
        __syncthreads();
        dot_columns<S::SCORES, S::PITCH>(qk, queries + r * S::PITCH, keys, lane, s.d);
        dot_columns<S::SCORES, S::PITCH>(gv, grads + r * S::PITCH, values, lane, s.d);
#pragma unroll
        for (int i = 0; i < S::SCORES; i++) {
            const int j = lane + LANES * i;
            float p;
            score_gradient(&p, &ds[r * S::COLUMNS + j], s, qk[i], gv[i], my_lse, my_D,
                           j0 + j < n_keys);
        }
        __syncwarp();
        add_products<D>(own, ds + r * S::COLUMNS, keys, lane, s.d,
                        min((int)S::COLUMNS, last - j0));
    }
    if (t < s.T)
#pragma unroll
        for (int i = 0; i < S::OWN; i++)
            if (lane + LANES * i < s.d)
                dq[attention_at(s, b, s.T, t, head) + lane + LANES * i] =
                    lx_narrow<T>(own[i]);
}

/* Rows are keys. */
template <class T, int D>
__global__ void __launch_bounds__(tiles_of<D, true>::THREADS, D > 80 ? 2 : 4)
    attend_dkv(T *dk, T *dv, const T *q, const T *k, const T *v, const float *lse,
               const T *g, const float *row_D, attention_shape s)
{
    typedef tiles_of<D, true> S;
    LX_DYNAMIC_SHARED(float, keys);
    float *values = keys + S::ROWS * S::PITCH, *queries = values + S::ROWS * S::PITCH;
    float *grads = queries + S::COLUMNS * S::PITCH, *p = grads + S::COLUMNS * S::PITCH;
    float *ds = p + S::ROWS * S::COLUMNS;
    const int b = blockIdx.z, head = blockIdx.y, first = blockIdx.x * S::ROWS;
    const int r = threadIdx.x / LANES, lane = threadIdx.x % LANES, j = first + r;
    /* Queries before the first key of the tile see none of it. */
    const int from = s.is_causal ? first / S::COLUMNS * S::COLUMNS : 0;
    float own_k[S::OWN], own_v[S::OWN], qk[S::SCORES], gv[S::SCORES];

#pragma unroll
    for (int i = 0; i < S::OWN; i++)
        own_k[i] = own_v[i] = 0;
    load_tile<T, S::PITCH>(keys, k, s, b, s.S, first, S::ROWS, head);
    load_tile<T, S::PITCH>(values, v, s, b, s.S, first, S::ROWS, head);
    for (int t0 = from; t0 < s.T; t0 += S::COLUMNS) {
        __syncthreads();
        load_tile<T, S::PITCH>(queries, q, s, b, s.T, t0, S::COLUMNS, head);
        load_tile<T, S::PITCH>(grads, g, s, b, s.T, t0, S::COLUMNS, head);
        __syncthreads();
        dot_columns<S::SCORES, S::PITCH>(qk, keys + r * S::PITCH, queries, lane, s.d);
        dot_columns<S::SCORES, S::PITCH>(gv, values + r * S::PITCH, grads, lane, s.d);
#pragma unroll
        for (int i = 0; i < S::SCORES; i++) {
            const int t = t0 + lane + LANES * i, at = r * S::COLUMNS + lane + LANES * i;
            const int64_t row = ((int64_t)b * s.heads + head) * s.T + min(t, s.T - 1);
            score_gradient(&p[at], &ds[at], s, qk[i], gv[i], lse[row], row_D[row],
                           t < s.T && j < attention_keys(s, t));
        }
        __syncwarp();
        const int columns = min((int)S::COLUMNS, s.T - t0);
        add_products<D>(own_v, p + r * S::COLUMNS, grads, lane, s.d, columns);
        add_products<D>(own_k, ds + r * S::COLUMNS, queries, lane, s.d, columns);
    }
    if (j < s.S)
#pragma unroll
        for (int i = 0; i < S::OWN; i++) {
            const int64_t at = attention_at(s, b, s.S, j, head) + lane + LANES * i;
            if (lane + LANES * i >= s.d)
                continue;
            if (dk)
                dk[at] = lx_narrow<T>(own_k[i]);
            if (dv)
                dv[at] = lx_narrow<T>(own_v[i]);
        }
}

/* ---- host -------------------------------------------------------------------------------- */

/* Shared memory of `rows` and `columns` tensors' tiles and `scores` tiles of scores. */
template <class S> static constexpr size_t shared_bytes(int rows, int columns, int scores)
{
    return (size_t)((rows * S::ROWS + columns * S::COLUMNS) * S::PITCH +
                    scores * S::ROWS * S::COLUMNS) *
           sizeof(float);
}

enum { LEAST_SHARED = 64 << 10 /* of a block that asks for it: sm_75 */ };
static_assert(shared_bytes<tiles_of<160>>(1, 2, 1) <= LEAST_SHARED &&
                  shared_bytes<tiles_of<512>>(1, 2, 1) <= LEAST_SHARED &&
                  shared_bytes<tiles_of<80, true>>(2, 2, 2) <= LEAST_SHARED &&
                  shared_bytes<tiles_of<160, true>>(2, 2, 2) <= LEAST_SHARED &&
                  shared_bytes<tiles_of<512, true>>(2, 2, 2) <= LEAST_SHARED,
              "a tile is larger than a multiprocessor's memory");

/* f with the smallest tiles that hold a head of d. */
template <class F> static void with_width(int d, F f)
{
    if (d <= 40)
        f(std::integral_constant<int, 40>());
    else if (d <= 80)
        f(std::integral_constant<int, 80>());
    else if (d <= 160)
        f(std::integral_constant<int, 160>());
    else
        f(std::integral_constant<int, 512>());
}

template <class S> static dim3 grid_of(const attention_shape &s, int rows)
{
    return dim3(lx_blocks(rows, S::ROWS), (unsigned)s.heads, (unsigned)s.B);
}

static int check_width(const lx_call *call, lx_error *err)
{
    const attention_shape s = attention_shape_of(call);

    if (s.d > 512)
        return lx_fail(err, LX_EUNSUPPORTED,
                       "%s: attention heads of %d; a GPU does up to 512", call->label,
                       s.d);
    return lx_check_types_of(call, &call->in[0], err);
}

static int prepare_attention(lx_device *, lx_call *call, bool, lx_error *err)
{
    return check_width(call, err);
}

static int prepare_attention_bwd(lx_device *, lx_call *call, bool is_sizing,
                                 lx_error *err)
{
    const attention_shape s = attention_shape_of(call);

    if (is_sizing)
        call->scratch_bytes = (size_t)s.B * s.heads * s.T * sizeof(float);
    return check_width(call, err);
}

static void run_attention(lx_device *dev, const lx_call *call)
{
    const attention_shape s = attention_shape_of(call);

    if (!s.B || !s.T || lx_attention_mma(dev, call, s))
        return;
    lx_with_type(call->in[0].dtype, [&](auto t) {
        with_width(s.d, [&](auto width) {
            typedef decltype(t) T;
            constexpr int D = decltype(width)::value;
            typedef tiles_of<D> S;
            LX_LAUNCH_SHARED(dev, (attend<T, D>), grid_of<S>(s, s.T), S::THREADS,
                             shared_bytes<S>(1, 2, 1), lx_out<T>(call, 0),
                             lx_out<float>(call, 1), lx_in<T>(call, 0), lx_in<T>(call, 1),
                             lx_in<T>(call, 2), s);
        });
    });
}

template <class T, int D>
static void launch_bwd(lx_device *dev, const lx_call *call, const attention_shape &s)
{
    typedef tiles_of<D, true> S;
    const T *q = lx_in<T>(call, 0), *k = lx_in<T>(call, 1), *v = lx_in<T>(call, 2);
    const float *lse = lx_in<float>(call, 4),
                *row_D = static_cast<float *>(call->scratch);
    const T *g = lx_in<T>(call, 5);
    T *dq = lx_out<T>(call, 0), *dk = lx_out<T>(call, 1), *dv = lx_out<T>(call, 2);

    if (dq)
        LX_LAUNCH_SHARED(dev, (attend_dq<T, D>), grid_of<S>(s, s.T), S::THREADS,
                         shared_bytes<S>(2, 2, 1), dq, q, k, v, lse, g, row_D, s);
    if (dk || dv)
        LX_LAUNCH_SHARED(dev, (attend_dkv<T, D>), grid_of<S>(s, s.S), S::THREADS,
                         shared_bytes<S>(2, 2, 2), dk, dv, q, k, v, lse, g, row_D, s);
}

static void run_attention_bwd(lx_device *dev, const lx_call *call)
{
    const attention_shape s = attention_shape_of(call);

    if (!s.B || !s.T || !s.S)
        return;
    if (lx_attention_mma_bwd(dev, call, s))
        return;
    lx_attention_rows(dev, call, s);
    lx_with_type(call->in[0].dtype, [&](auto t) {
        with_width(s.d, [&](auto width) {
            launch_bwd<decltype(t), decltype(width)::value>(dev, call, s);
        });
    });
}

const lx_kernel lx_cuda_attention = {prepare_attention, run_attention, nullptr};
const lx_kernel lx_cuda_attention_bwd = {prepare_attention_bwd, run_attention_bwd,
                                         nullptr};
