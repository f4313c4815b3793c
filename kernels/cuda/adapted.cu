/* Sums of products with weights and their LoRA on tensor cores, and what becomes of a sum: adapted.cuh, join.h. */
#include "kernels/cuda/adapted.cuh"

enum { SMALL = 64, LARGE = 128, FEW_TILES = 96 };

/* z of eight columns from c on of a row of y. */
template <class T>
LX_DEVICE void write_value(const lx_cuda_sum &sum, int row, int c, lx_pack<T, 8> v,
                           const T *gates)
{
    T *z = static_cast<T *>(sum.z);

    if (sum.activation == LX_CUDA_GEGLU) {
        const lx_pack<T, 8> gate = lx_load<T, 8>(gates);
#pragma unroll
        for (int k = 0; k < 8; k++)
            v.at[k] =
                lx_narrow<T>(lx_widen(v.at[k]) * lx_gelu::value(lx_widen(gate.at[k])));
        lx_store<T, 8>(z + (int64_t)row * (sum.N / 2) + c, v);
        return;
    }
#pragma unroll
    for (int k = 0; k < 8; k++)
        v.at[k] = lx_narrow<T>(lx_quick_gelu::value(lx_widen(v.at[k])));
    lx_store<T, 8>(z + (int64_t)row * sum.N + c, v);
}

template <class T>
LX_DEVICE void write_slope(const lx_cuda_sum &sum, int row, int c, lx_pack<T, 8> v)
{
    const bool is_pair = sum.activation == LX_CUDA_GEGLU_DX;
    const int64_t at = (int64_t)row * sum.N * (is_pair ? 2 : 1) + c;
    const T *of = static_cast<const T *>(sum.of) + at;
    T *z = static_cast<T *>(sum.z) + at;
    lx_pack<T, 8> x = lx_load<T, 8>(of);

    if (!is_pair) {
#pragma unroll
        for (int k = 0; k < 8; k++)
            v.at[k] =
                lx_narrow<T>(lx_widen(v.at[k]) * lx_quick_gelu::slope(lx_widen(x.at[k])));
        lx_store<T, 8>(z, v);
        return;
    }
    lx_pack<T, 8> gate = lx_load<T, 8>(of + sum.N);
#pragma unroll
    for (int k = 0; k < 8; k++) {
        const float by = lx_widen(v.at[k]), g = lx_widen(gate.at[k]);
        gate.at[k] = lx_narrow<T>(by * lx_widen(x.at[k]) * lx_gelu::slope(g));
        x.at[k] = lx_narrow<T>(by * lx_gelu::value(g));
    }
    lx_store<T, 8>(z, x);
    lx_store<T, 8>(z + sum.N, gate);
}

/* The tile to memory, 16 bytes a thread at a time, and what the activation makes of it. */
template <class T, class M, bool IS_REVERSED, int ROWS, int COLUMNS>
LX_DEVICE void write_sum(const T *tile, const lx_cuda_sum &sum, const sum_place &at)
{
    T *y = static_cast<T *>(sum.y);

#pragma unroll 1
    for (int i = threadIdx.x; i < ROWS * (COLUMNS / 8); i += M::THREADS) {
        const int r = i / (COLUMNS / 8), column = i % (COLUMNS / 8) * 8,
                  row = at.first_row + r, c = row_of(at.first_column, column, at.gap);
        const T *from = tile + r * M::Y_PITCH + column;
        if (row >= sum.M || c >= sum.N || (at.gap && column % 16 == 0 && c >= at.gap))
            continue;
        const lx_pack<T, 8> v = lx_load<T, 8>(from);
        if (y)
            lx_store<T, 8>(y + (int64_t)row * sum.N + c, v);
        if (!sum.activation || (at.gap && column % 16))
            continue;
        if (IS_REVERSED)
            write_slope<T>(sum, row, c, v);
        else
            write_value<T>(sum, row, c, v, from + 8);
    }
}

/* The sum that a block works on: the last whose first block is not behind it. */
LX_DEVICE int sum_of_block(const lx_cuda_sum *sums, int n, int block)
{
    int low = 0, high = n - 1;

    while (low < high) {
        const int middle = (low + high + 1) / 2;
        if (sums[middle].first_block <= block)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

template <class T, bool IS_REVERSED, bool HAS_NORM, int RANK, int ROWS, int COLUMNS,
          int DOWN, int ACROSS, int AHEAD>
__global__ void __launch_bounds__(DOWN *ACROSS * 32, DOWN *ACROSS > 4 ? 1
                                                     : RANK > 32      ? 2
                                                                      : 3)
    add_products(const lx_cuda_sum *sums, const lx_cuda_term *terms, int n_sums,
                 lx_cuda_norm norm)
{
    typedef product_tile<IS_REVERSED, RANK, ROWS, COLUMNS, DOWN, ACROSS, AHEAD> M;
    LX_DYNAMIC_SHARED(T, shared);
    const product_place me = product_place_of<M>(ACROSS);
    const int index = sum_of_block(sums, n_sums, (int)blockIdx.x);
    const lx_cuda_sum sum = sums[index];
    const int tile = (int)blockIdx.x - sum.first_block, column = tile % sum.n_columns;
    const bool is_pair = !IS_REVERSED && sum.activation == LX_CUDA_GEGLU;
    const sum_place at = {tile / sum.n_columns * ROWS,
                          column * (is_pair ? COLUMNS / 2 : COLUMNS),
                          is_pair ? sum.N / 2 : 0, column == 0};
    float y[M::ROW_STEPS][2 * M::PAIRS][4];

    clear(y);
#pragma unroll 1
    for (int i = 0; i < sum.n_terms; i++) {
        const lx_cuda_term term = terms[sum.first_term + i];
        add_term<T, M, IS_REVERSED, HAS_NORM, RANK, ROWS, COLUMNS, ACROSS>(
            y, shared, sum, term, norm, at.is_first && index == 0, at, me);
    }
    round_sum<T, M>(shared, y, sum, at, me);
    __syncthreads();
    write_sum<T, M, IS_REVERSED, ROWS, COLUMNS>(shared, sum, at);
}

/* ---- host --------------------------------------------------------------------------- */

lx_cuda_tile lx_cuda_tile_of(const lx_cuda_sum *sums, int n)
{
    int64_t tiles = 0;

    for (int i = 0; i < n; i++)
        tiles += lx_ceil_div(sums[i].M, LARGE) * lx_ceil_div(sums[i].N, LARGE);
    return tiles < FEW_TILES ? lx_cuda_tile{SMALL, SMALL} : lx_cuda_tile{LARGE, LARGE};
}

template <class T, bool IS_REVERSED, bool HAS_NORM, int RANK, int ROWS, int COLUMNS,
          int DOWN, int ACROSS, int AHEAD>
static void launch_tile(lx_device *dev, const lx_cuda_sums *s)
{
    typedef product_tile<IS_REVERSED, RANK, ROWS, COLUMNS, DOWN, ACROSS, AHEAD> M;
    const size_t bytes =
        M::SHARED * sizeof(T) + (HAS_NORM ? ROWS * NUMBERS * sizeof(float) : 0);

    LX_LAUNCH_SHARED(dev,
                     (add_products<T, IS_REVERSED, HAS_NORM, RANK, ROWS, COLUMNS, DOWN,
                                   ACROSS, AHEAD>),
                     (unsigned)s->n_blocks, M::THREADS, bytes, s->sums, s->terms,
                     s->n_sums, s->norm);
}

template <class T, bool IS_REVERSED, bool HAS_NORM, int RANK>
static void with_tile(lx_device *dev, const lx_cuda_sums *s)
{
    if (s->tile.rows == LARGE)
        launch_tile<T, IS_REVERSED, HAS_NORM, RANK, LARGE, LARGE, 4, 2, 1>(dev, s);
    else
        launch_tile<T, IS_REVERSED, HAS_NORM, RANK, SMALL, SMALL, 2, 2, 2>(dev, s);
}

template <class T, bool IS_REVERSED, bool HAS_NORM>
static void with_rank(lx_device *dev, const lx_cuda_sums *s)
{
    if (s->most_rank <= 16)
        with_tile<T, IS_REVERSED, HAS_NORM, 16>(dev, s);
    else if (s->most_rank <= 32)
        with_tile<T, IS_REVERSED, HAS_NORM, 32>(dev, s);
    else
        with_tile<T, IS_REVERSED, HAS_NORM, 64>(dev, s);
}

template <class T, bool IS_REVERSED>
static void with_norm(lx_device *dev, const lx_cuda_sums *s)
{
    if (s->has_norm)
        with_rank<T, IS_REVERSED, true>(dev, s);
    else
        with_rank<T, IS_REVERSED, false>(dev, s);
}

template <class T> static void with_direction(lx_device *dev, const lx_cuda_sums *s)
{
    if (s->is_reversed)
        with_norm<T, true>(dev, s);
    else
        with_norm<T, false>(dev, s);
}

void lx_cuda_add_products(lx_device *dev, const lx_cuda_sums *s)
{
    if (s->n_blocks < 1)
        return;
    if (s->dtype == LX_F16)
        with_direction<lx_f16>(dev, s);
    else
        with_direction<lx_bf16>(dev, s);
}
