/*
 * Attention to keys and values that are there, with all that makes its queries: LayerNorm, the product of a frozen
 * weight and its LoRA (adapted.cuh), in one launch with the attention (attention_mma.cuh).
 *
 * A block makes the queries of 64 rows and one head, as a tile of the product would be made, writes them for the
 * gradient, and attends with them. Blocks of one row of tiles take the same moments and the same h, as the
 * tiles of the product alone do; those of the first head write them.
 */
#include "kernels/cuda/adapted.cuh"
#include "kernels/cuda/attention_mma.cuh"

/* Of a head of D and a LoRA of up to RANK: four warps under each other, as the attention has them. */
template <int D, int RANK> struct query_tile {
    typedef product_tile<false, RANK, ROWS, mma_tile<D, 8>::WIDTH, WARPS, 1,
                         (D > 80 ? 1 : 2)>
        M;
    enum { COLUMNS = mma_tile<D, 8>::WIDTH };
};

/* The head's columns of a tile, which has those of the next one too where D is no multiple of 16. */
template <class T, class M, int D>
LX_DEVICE void write_queries(const T *tile, const lx_cuda_sum &sum, const sum_place &at)
{
    T *q = static_cast<T *>(sum.y) + at.first_column;

    for (int i = threadIdx.x; i < ROWS * (D / 8); i += THREADS) {
        const int r = i / (D / 8), c = i % (D / 8) * 8;
        if (at.first_row + r < sum.M)
            lx_store<T, 8>(q + (int64_t)(at.first_row + r) * sum.N + c,
                           lx_load<T, 8>(tile + r * M::Y_PITCH + c));
    }
}

template <class T, int D, int RANK>
__global__ void __launch_bounds__(THREADS, 1)
    attend_queries(T *o, float *lse, const T *k, const T *v, attention_shape s,
                   const lx_cuda_sum *sums, const lx_cuda_term *terms, lx_cuda_norm norm)
{
    typedef query_tile<D, RANK> Q;
    typedef typename Q::M M;
    LX_DYNAMIC_SHARED(T, shared);
    const product_place me = product_place_of<M>(1);
    const int head = blockIdx.y, b = blockIdx.z;
    const sum_place at = {b * s.T + (int)blockIdx.x * ROWS, head * D, 0, head == 0};
    lx_cuda_sum sum = sums[0];
    float y[M::ROW_STEPS][2 * M::PAIRS][4];

    sum.M = min(sum.M, (b + 1) * s.T); /* rows of the next sample are another block's */
    clear(y);
    add_term<T, M, false, true, RANK, ROWS, Q::COLUMNS, 1>(y, shared, sum, terms[0], norm,
                                                           at.is_first, at, me);
    round_sum<T, M>(shared, y, sum, at, me);
    __syncthreads();
    write_queries<T, M, D>(shared, sum, at);
    __syncthreads();
    attend_rows<T, D, keys_of_tile<D>::N>(shared, o, lse, static_cast<const T *>(sum.y),
                                          k, v, s);
}

/* ---- host --------------------------------------------------------------------------- */

template <class T, int D, int RANK>
static void launch(lx_device *dev, const lx_cuda_sums *of, const lx_call *call,
                   const attention_shape &s)
{
    typedef typename query_tile<D, RANK>::M M;
    const size_t product = M::SHARED * sizeof(T) + ROWS * NUMBERS * sizeof(float),
                 attention = bytes_of_rows<D>(4 * keys_of_tile<D>::N);

    LX_LAUNCH_SHARED(dev, (attend_queries<T, D, RANK>), grid_of(s, s.T), THREADS,
                     product > attention ? product : attention, lx_out<T>(call, 0),
                     lx_out<float>(call, 1), lx_in<T>(call, 1), lx_in<T>(call, 2), s,
                     of->sums, of->terms, of->norm);
}

/* A head of 160 with the wider LoRA would need more registers than sm_75 has. */
constexpr int most_rank_of(int d)
{
    return d == 160 ? 32 : 64;
}

bool lx_cuda_attends(const lx_call *call, int rank)
{
    const attention_shape s = attention_shape_of(call);

    return s.S > 1 && (s.d == 40 || s.d == 64 || s.d == 80 || s.d == 160) &&
           rank <= most_rank_of(s.d);
}

void lx_cuda_attend_queries(lx_device *dev, const lx_cuda_sums *of, const lx_call *call)
{
    const attention_shape s = attention_shape_of(call);

    if (!s.B || !s.T)
        return;
    with_head(of->dtype, s.d, [&](auto t, auto width) {
        typedef decltype(t) T;
        constexpr int D = decltype(width)::value;
        if constexpr (most_rank_of(D) > 32)
            if (of->most_rank > 32)
                return launch<T, D, 64>(dev, of, call, s);
        launch<T, D, 32>(dev, of, call, s);
    });
}
