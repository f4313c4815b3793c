/*
 * Attention and its gradient on tensor cores: F16 and BF16, heads of 40, 64, 80 and 160 (attention_mma.cuh).
 *
 * In the gradient scores are computed again from lse, once with queries as rows for dq, once with keys as rows
 * for dk and dv: blocks of both kinds are one launch, those of keys first, as few keys take long over many
 * queries. do . o of a query is taken anew by each. Source: Dao 2023, arXiv:2307.08691.
 */
#include "kernels/cuda/attention_mma.cuh"

template <class T, int D, int COLUMNS>
__global__ void __launch_bounds__(THREADS, 1) /* shared memory lets no more than 2 in */
    attend_mma(T *o, float *lse, const T *q, const T *k, const T *v, attention_shape s)
{
    LX_DYNAMIC_SHARED(T, tiles);

    attend_rows<T, D, COLUMNS>(tiles, o, lse, q, k, v, s);
}

/* ---- the gradient ------------------------------------------------------------------------- */

/* Scores and dp of one tile become weights p and ds. lse and D are those of the query. */
LX_DEVICE void score_gradient(float *score, float *dp, float lse, float D,
                              bool is_visible, const attention_shape &s)
{
    const float w =
        is_visible ? lx_exp2(*score * (s.scale * 1.44269504f) - lse * 1.44269504f) : 0;

    *score = w;
    *dp = w * (*dp - D) * s.scale;
}

/* do . o of this warp's row, the same in its four lanes. */
template <class T, int D>
LX_DEVICE float row_product(const T *o, const T *g, const attention_shape &s, int b,
                            int head, int t, const lane_place &p)
{
    const int64_t at = attention_at(s, b, s.T, t, head);
    float sum = 0;

#pragma unroll 2
    for (int c = p.t * 2; c < D; c += 8) {
        const lx_pack<T, 2> x = lx_load<T, 2>(o + at + c), y = lx_load<T, 2>(g + at + c);
        sum += lx_widen(x.at[0]) * lx_widen(y.at[0]);
        sum += lx_widen(x.at[1]) * lx_widen(y.at[1]);
    }
    sum += __shfl_xor_sync(LX_FULL, sum, 1);
    return sum + __shfl_xor_sync(LX_FULL, sum, 2);
}

template <class T, int D, int COLUMNS>
LX_DEVICE void gradient_of_queries(T *dq, const T *q, const T *k, const T *v,
                                   const float *lse, const T *o, const T *g,
                                   const attention_shape &s, int first)
{
    typedef mma_tile<D, COLUMNS> M;
    LX_DYNAMIC_SHARED(T, queries);
    T *grads = queries + ROWS * M::PITCH, *keys = grads + ROWS * M::PITCH;
    T *values = keys + COLUMNS * M::PITCH;
    const lane_place p = my_place();
    const int b = blockIdx.z, head = blockIdx.y;
    const int last = attention_keys(s, min(first + ROWS, s.T) - 1);
    float out[M::OUT][4], my_lse[2], my_D[2];
    int n_keys[2];

    fetch<T, D>(queries, q, s, b, s.T, first, ROWS, head);
    fetch<T, D>(grads, g, s, b, s.T, first, ROWS, head);
    lx_copy_commit();
#pragma unroll
    for (int half = 0; half < 2; half++) {
        const int t = min(first + p.first_row + p.g + half * 8, s.T - 1);
        my_lse[half] = lse[((int64_t)b * s.heads + head) * s.T + t];
        my_D[half] = row_product<T, D>(o, g, s, b, head, t, p);
        n_keys[half] = attention_keys(s, t);
    }
#pragma unroll
    for (int i = 0; i < M::OUT; i++)
        out[i][0] = out[i][1] = out[i][2] = out[i][3] = 0;
    for (int j0 = 0; j0 < last; j0 += COLUMNS) {
        float score[M::SCORES][4], dp[M::SCORES][4];

        __syncthreads();
        fetch<T, D>(keys, k, s, b, s.S, j0, COLUMNS, head);
        fetch<T, D>(values, v, s, b, s.S, j0, COLUMNS, head);
        lx_copy_commit();
        lx_copy_wait<0>();
        __syncthreads();
        multiply_rows<T, D, COLUMNS>(score, queries, keys, p);
        multiply_rows<T, D, COLUMNS>(dp, grads, values, p);
#pragma unroll
        for (int j = 0; j < M::SCORES; j++)
#pragma unroll
            for (int e = 0; e < 4; e++)
                score_gradient(&score[j][e], &dp[j][e], my_lse[e / 2], my_D[e / 2],
                               j0 + j * 8 + p.t * 2 + e % 2 < n_keys[e / 2], s);
        add_weighted<T, D, COLUMNS>(out, dp, keys, p);
    }
    lx_copy_wait<0>();
    store_rows<T, D>(dq, out, s, b, s.T, first, head, p, 1, 1);
}

/* What a thread reads of o, to multiply it with do: pieces of 16 bytes of one row of a tile. */
template <class T, int D, int COLUMNS> struct tile_outputs {
    enum { LANES = THREADS / COLUMNS, PIECES = (D / 8 + LANES - 1) / LANES };
    lx_pack<T, 8> at[PIECES];
};

template <class T, int D, int COLUMNS>
LX_DEVICE void read_outputs(tile_outputs<T, D, COLUMNS> *out, const T *o,
                            const attention_shape &s, int b, int head, int t0)
{
    typedef tile_outputs<T, D, COLUMNS> O;
    const int lane = threadIdx.x % O::LANES, t = t0 + threadIdx.x / O::LANES;

#pragma unroll
    for (int i = 0; i < O::PIECES; i++)
        if (t < s.T && lane + i * O::LANES < D / 8)
            out->at[i] = lx_load<T, 8>(o + attention_at(s, b, s.T, t, head) +
                                       (lane + i * O::LANES) * 8);
}

/* do . o of the tile's rows, to shared memory. */
template <class T, int D, int COLUMNS>
LX_DEVICE void row_products(float *column_D, const tile_outputs<T, D, COLUMNS> &o,
                            const T *grads, int n_rows)
{
    typedef tile_outputs<T, D, COLUMNS> O;
    const int lane = threadIdx.x % O::LANES, r = threadIdx.x / O::LANES;
    float sum = 0;

#pragma unroll
    for (int i = 0; i < O::PIECES; i++) {
        const int c = (lane + i * O::LANES) * 8;
        if (r >= n_rows || c >= D)
            continue;
        const lx_pack<T, 8> g = lx_load<T, 8>(grads + r * mma_tile<D, 8>::PITCH + c);
#pragma unroll
        for (int k = 0; k < 8; k++)
            sum += lx_widen(o.at[i].at[k]) * lx_widen(g.at[k]);
    }
#pragma unroll
    for (int i = O::LANES / 2; i; i >>= 1)
        sum += __shfl_xor_sync(LX_FULL, sum, i);
    if (lane == 0)
        column_D[r] = sum;
}

template <int N> LX_DEVICE void clear(float (&out)[N][4])
{
#pragma unroll
    for (int i = 0; i < N; i++)
        out[i][0] = out[i][1] = out[i][2] = out[i][3] = 0;
}

/* dk, dv or both, as HAS_K and HAS_V say. */
template <class T, int D, int COLUMNS, bool HAS_K, bool HAS_V>
LX_DEVICE void keys_and_values(T *dk, T *dv, const T *q, const T *k, const T *v,
                               const float *lse, const T *o, const T *g,
                               const attention_shape &s, int first)
{
    typedef mma_tile<D, COLUMNS> M;
    LX_DYNAMIC_SHARED(T, keys);
    T *values = keys + ROWS * M::PITCH, *queries = values + ROWS * M::PITCH;
    T *grads = queries + COLUMNS * M::PITCH;
    float *column_lse = reinterpret_cast<float *>(grads + COLUMNS * M::PITCH);
    float *column_D = column_lse + COLUMNS;
    const lane_place p = my_place();
    const int b = blockIdx.z, head = blockIdx.y;
    const int from = s.is_causal ? first / COLUMNS * COLUMNS : 0,
              row = first + p.first_row + p.g;
    const int64_t rows_at = ((int64_t)b * s.heads + head) * s.T;
    float out_k[HAS_K ? M::OUT : 1][4], out_v[HAS_V ? M::OUT : 1][4];

    clear(out_k);
    clear(out_v);
    fetch<T, D>(keys, k, s, b, s.S, first, ROWS, head);
    fetch<T, D>(values, v, s, b, s.S, first, ROWS, head);
    lx_copy_commit();
    for (int t0 = from; t0 < s.T; t0 += COLUMNS) {
        float score[M::SCORES][4], dp[M::SCORES][4];
        tile_outputs<T, D, COLUMNS> outputs;

        __syncthreads();
        fetch<T, D>(queries, q, s, b, s.T, t0, COLUMNS, head);
        fetch<T, D>(grads, g, s, b, s.T, t0, COLUMNS, head);
        lx_copy_commit();
        if (HAS_K)
            read_outputs(&outputs, o, s, b, head, t0);
        if ((int)threadIdx.x < COLUMNS)
            column_lse[threadIdx.x] = lse[rows_at + min(t0 + (int)threadIdx.x, s.T - 1)];
        lx_copy_wait<0>();
        __syncthreads();
        if (HAS_K)
            row_products(column_D, outputs, grads, s.T - t0);
        multiply_rows<T, D, COLUMNS>(score, keys, queries, p);
        if (HAS_K) {
            multiply_rows<T, D, COLUMNS>(dp, values, grads, p);
            __syncthreads();
        }
#pragma unroll
        for (int j = 0; j < M::SCORES; j++)
#pragma unroll
            for (int e = 0; e < 4; e++) {
                const int c = j * 8 + p.t * 2 + e % 2, t = t0 + c;
                const bool is_visible = t < s.T && row + e / 2 * 8 < attention_keys(s, t);
                if (!HAS_K)
                    dp[j][e] = 0;
                score_gradient(&score[j][e], &dp[j][e], column_lse[c],
                               HAS_K ? column_D[c] : 0, is_visible, s);
            }
        if constexpr (HAS_V)
            add_weighted<T, D, COLUMNS>(out_v, score, grads, p);
        if constexpr (HAS_K)
            add_weighted<T, D, COLUMNS>(out_k, dp, queries, p);
    }
    lx_copy_wait<0>(); /* keys after the last query: no tile came */
    if constexpr (HAS_K)
        store_rows<T, D>(dk, out_k, s, b, s.S, first, head, p, 1, 1);
    if constexpr (HAS_V)
        store_rows<T, D>(dv, out_v, s, b, s.S, first, head, p, 1, 1);
}

/* Heads of 160 one after the other: sums of both and what makes them are more than a thread's
 * registers on sm_75, and leave room for two blocks elsewhere. */
template <class T, int D, int COLUMNS>
LX_DEVICE void gradient_of_keys(T *dk, T *dv, const T *q, const T *k, const T *v,
                                const float *lse, const T *o, const T *g,
                                const attention_shape &s, int first)
{
    if (D <= 80 && dk && dv) {
        keys_and_values<T, D, COLUMNS, D <= 80, true>(dk, dv, q, k, v, lse, o, g, s,
                                                      first);
        return;
    }
    if (dv)
        keys_and_values<T, D, COLUMNS, false, true>(dk, dv, q, k, v, lse, o, g, s, first);
    __syncthreads();
    if (dk)
        keys_and_values<T, D, COLUMNS, true, false>(dk, dv, q, k, v, lse, o, g, s, first);
}

template <class T, int D, int WIDE, int NARROW>
__global__ void __launch_bounds__(THREADS)
    attend_mma_bwd(T *dq, T *dk, T *dv, const T *q, const T *k, const T *v,
                   const float *lse, const T *o, const T *g, attention_shape s,
                   int key_blocks)
{
    const int block = (int)blockIdx.x - key_blocks;

    if (block < 0)
        gradient_of_keys<T, D, NARROW>(dk, dv, q, k, v, lse, o, g, s,
                                       (block + key_blocks) * ROWS);
    else
        gradient_of_queries<T, D, WIDE>(dq, q, k, v, lse, o, g, s, block * ROWS);
}

/* ---- host -------------------------------------------------------------------------------- */

/* Is this call one of those? With a single key dq and dk must be zero to the bit. */
static bool is_supported(const lx_call *call, const attention_shape &s)
{
    if (call->in[0].dtype == LX_F32 || s.S == 1)
        return false;
    for (int i = 0; i < call->n_in; i++)
        if (!lx_is_aligned(call->in[i].data, 16))
            return false;
    for (int i = 0; i < call->n_out; i++)
        if (!lx_is_aligned(call->out[i].data, 16))
            return false;
    return s.d == 40 || s.d == 64 || s.d == 80 || s.d == 160;
}

bool lx_attention_mma(lx_device *dev, const lx_call *call, const attention_shape &s)
{
    if (!is_supported(call, s))
        return false;
    with_head(call->in[0].dtype, s.d, [&](auto t, auto width) {
        typedef decltype(t) T;
        constexpr int D = decltype(width)::value, COLUMNS = keys_of_tile<D>::N;
        LX_LAUNCH_SHARED(dev, (attend_mma<T, D, COLUMNS>), grid_of(s, s.T), THREADS,
                         bytes_of_rows<D>(4 * COLUMNS), lx_out<T>(call, 0),
                         lx_out<float>(call, 1), lx_in<T>(call, 0), lx_in<T>(call, 1),
                         lx_in<T>(call, 2), s);
    });
    return true;
}

bool lx_attention_mma_bwd(lx_device *dev, const lx_call *call, const attention_shape &s)
{
    if (!is_supported(call, s))
        return false;
    with_head(call->in[0].dtype, s.d, [&](auto type, auto width) {
        typedef decltype(type) T;
        constexpr int D = decltype(width)::value, WIDE = D > 80 ? 32 : 64,
                      NARROW = D > 80 ? 16 : 32;
        const T *q = lx_in<T>(call, 0), *k = lx_in<T>(call, 1), *v = lx_in<T>(call, 2);
        T *dq = lx_out<T>(call, 0), *dk = lx_out<T>(call, 1), *dv = lx_out<T>(call, 2);
        const unsigned keys = dk || dv ? lx_blocks(s.S, ROWS) : 0,
                       queries = dq ? lx_blocks(s.T, ROWS) : 0;
        const size_t of_queries = bytes_of_rows<D>(2 * ROWS + 2 * WIDE),
                     of_keys = bytes_of_rows<D>(2 * ROWS + 2 * NARROW) +
                               2 * NARROW * sizeof(float);
        if (keys + queries)
            LX_LAUNCH_SHARED(dev, (attend_mma_bwd<T, D, WIDE, NARROW>),
                             dim3(keys + queries, (unsigned)s.heads, (unsigned)s.B),
                             THREADS, of_queries > of_keys ? of_queries : of_keys, dq, dk,
                             dv, q, k, v, lx_in<float>(call, 4), lx_in<T>(call, 3),
                             lx_in<T>(call, 5), s, (int)keys);
    });
    return true;
}
