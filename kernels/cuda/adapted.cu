/*
 * Sums of products with weights and their LoRA on tensor cores: join.h has the formula.
 *
 * A block makes a tile of y. K passes through shared memory in slices of 32, fetched ahead; with each slice
 * of x come those of W and of P, so that h of the tile's rows is there when K has been walked. It is rounded,
 * goes through shared memory as well, and is one more slice of K against Q. Warps side by side share the work
 * on h. Blocks in one row of tiles compute the same h; the first writes it.
 *
 * Rows of shared memory are 16 bytes longer than they must be, so that the eight rows of an ldmatrix lie in
 * different banks. How a lane's registers lie in a tile: tests/cuda_emulation/collective.cpp.
 */
#include "kernels/cuda/dialect.cuh"

extern "C" {
#include "kernels/cuda/join.h"
}

enum { SLICE = 32, SMALL = 64, LARGE = 128, FEW_TILES = 96 };

/* A tile of ROWS x COLUMNS by DOWN x ACROSS warps, of which each has an equal part. */
template <bool IS_REVERSED, int RANK, int ROWS, int COLUMNS, int DOWN, int ACROSS,
          int AHEAD>
struct product_tile {
    enum {
        THREADS = DOWN * ACROSS * 32,
        ROW_STEPS = ROWS / DOWN / 16,  /* mma tiles of a warp */
        PAIRS = COLUMNS / ACROSS / 16, /* of two mma tiles */
        RANK_PAIRS = RANK / 16,        /* of h, of all warps side by side */
        MY_RANK_PAIRS = (RANK_PAIRS + ACROSS - 1) / ACROSS,
        X_PITCH = SLICE + 8,
        /* W and P lie as in memory: columns of y outside, or k outside when reversed. */
        W_ROWS = IS_REVERSED ? SLICE : COLUMNS,
        W_PITCH = (IS_REVERSED ? COLUMNS : SLICE) + 8,
        P_ROWS = IS_REVERSED ? SLICE : RANK,
        P_PITCH = (IS_REVERSED ? RANK : SLICE) + 8,
        X_SIZE = ROWS * X_PITCH,
        W_SIZE = W_ROWS * W_PITCH,
        STAGE = X_SIZE + W_SIZE + P_ROWS * P_PITCH,
        STAGES = AHEAD + 1,
        H_PITCH = RANK + 8,
        H_SIZE = ROWS * H_PITCH,
        Q_ROWS = IS_REVERSED ? RANK : COLUMNS,
        Q_PITCH = (IS_REVERSED ? COLUMNS : RANK) + 8,
        SHARED = STAGES * STAGE > H_SIZE + Q_ROWS *Q_PITCH ? STAGES *STAGE
                                                           : H_SIZE + Q_ROWS *Q_PITCH
    };
};

/* What a lane is: rows g and g + 8, columns 2t and 2t + 1 of every mma tile of its warp. */
struct product_place {
    int lane, g, t, down, across;
};

template <class M> LX_DEVICE product_place product_place_of(int across)
{
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    return {lane, lane / 4, lane % 4, warp / across, warp % across};
}

/*
 * `rows` x WIDTH of a matrix [n, width] in memory, from (row, column), begin to come into shared memory; zeros
 * beyond its ends. Its rows are of whole 16 bytes, or are copied one by one.
 */
template <class T, int THREADS, int WIDTH>
LX_DEVICE void fetch_part(T *to, int pitch, const T *from, int64_t n, int width, int row,
                          int column, int rows)
{
    enum { PIECES = WIDTH / 8 };

    if (width % 8 == 0) {
        for (int i = threadIdx.x; i < rows * PIECES; i += THREADS) {
            const int r = i / PIECES, c = i % PIECES * 8;
            const bool is_there = row + r < n && column + c < width;
            lx_copy_async(to + r * pitch + c,
                          from + (is_there ? (int64_t)(row + r) * width + column + c : 0),
                          is_there);
        }
        return;
    }
#pragma unroll 1 /* narrow ranks; many loads on their way would take many registers */
    for (int i = threadIdx.x; i < rows * WIDTH; i += THREADS) {
        const int r = i / WIDTH, c = i % WIDTH;
        T value = {};
        if (row + r < n && column + c < width)
            value = from[(int64_t)(row + r) * width + column + c];
        to[r * pitch + c] = value;
    }
}

/* Slice k of x, W and P. */
template <class T, class M, bool IS_REVERSED, int RANK, int ROWS, int COLUMNS>
LX_DEVICE void fetch_slice(T *stage, const lx_cuda_term &term, int rows, int columns,
                           int first_row, int first_column, int k)
{
    const T *x = static_cast<const T *>(term.x), *w = static_cast<const T *>(term.w),
            *p = static_cast<const T *>(term.p);

    fetch_part<T, M::THREADS, SLICE>(stage, M::X_PITCH, x, rows, term.K, first_row, k,
                                     ROWS);
    if (IS_REVERSED)
        fetch_part<T, M::THREADS, COLUMNS>(stage + M::X_SIZE, M::W_PITCH, w, term.K,
                                           columns, k, first_column, SLICE);
    else
        fetch_part<T, M::THREADS, SLICE>(stage + M::X_SIZE, M::W_PITCH, w, columns,
                                         term.K, first_column, k, COLUMNS);
    if (!p)
        return;
    stage += M::X_SIZE + M::W_SIZE;
    if (IS_REVERSED)
        fetch_part<T, M::THREADS, RANK>(stage, M::P_PITCH, p, term.K, term.R, k, 0,
                                        SLICE);
    else
        fetch_part<T, M::THREADS, SLICE>(stage, M::P_PITCH, p, term.R, term.K, 0, k,
                                         RANK);
}

/* The A operand: rows row.. of a tile, columns 16 step... */
template <class T>
LX_DEVICE void load_left(uint32_t a[4], const T *tile, int pitch, int lane, int row,
                         int step)
{
    lx_load_matrix(a, tile + (row + lane % 16) * pitch + step * 16 + lane / 16 * 8);
}

/* Two B operands, columns n.. at k = 16 step: of a tile [n][k], or [k][n] when reversed. */
template <class T, bool IS_REVERSED>
LX_DEVICE void load_right(uint32_t b[4], const T *tile, int pitch, int lane, int n,
                          int step)
{
    if (IS_REVERSED)
        lx_load_matrix_transposed(b, tile + (step * 16 + lane % 16) * pitch + n +
                                         lane / 16 * 8);
    else
        lx_load_matrix(b, tile + (n + lane % 8 + lane / 16 * 8) * pitch + step * 16 +
                              lane / 8 % 2 * 8);
}

/* y and h of one slice. */
template <class T, class M, bool IS_REVERSED>
LX_DEVICE void multiply_slice(float (&y)[M::ROW_STEPS][2 * M::PAIRS][4],
                              float (&h)[M::ROW_STEPS][2 * M::MY_RANK_PAIRS][4],
                              const T *stage, const product_place &me, int across,
                              bool has_lora)
{
    const T *w = stage + M::X_SIZE, *p = w + M::W_SIZE;

#pragma unroll
    for (int step = 0; step < SLICE / 16; step++) {
        uint32_t a[M::ROW_STEPS][4], b[4];
#pragma unroll
        for (int i = 0; i < M::ROW_STEPS; i++)
            load_left(a[i], stage, M::X_PITCH, me.lane, (me.down * M::ROW_STEPS + i) * 16,
                      step);
#pragma unroll
        for (int j = 0; j < M::PAIRS; j++) {
            load_right<T, IS_REVERSED>(b, w, M::W_PITCH, me.lane,
                                       (me.across * M::PAIRS + j) * 16, step);
#pragma unroll
            for (int i = 0; i < M::ROW_STEPS; i++) {
                lx_mma(y[i][2 * j], a[i], b, T());
                lx_mma(y[i][2 * j + 1], a[i], b + 2, T());
            }
        }
        if (!has_lora)
            continue;
#pragma unroll
        for (int j = 0; j < M::MY_RANK_PAIRS; j++) {
            const int pair = j * across + me.across;
            if (pair >= M::RANK_PAIRS)
                continue;
            load_right<T, IS_REVERSED>(b, p, M::P_PITCH, me.lane, pair * 16, step);
#pragma unroll
            for (int i = 0; i < M::ROW_STEPS; i++) {
                lx_mma(h[i][2 * j], a[i], b, T());
                lx_mma(h[i][2 * j + 1], a[i], b + 2, T());
            }
        }
    }
}

template <int A, int B> LX_DEVICE void clear(float (&out)[A][B][4])
{
#pragma unroll
    for (int i = 0; i < A; i++)
#pragma unroll
        for (int j = 0; j < B; j++)
            out[i][j][0] = out[i][j][1] = out[i][j][2] = out[i][j][3] = 0;
}

template <class T> LX_DEVICE uint32_t pack_two(float low, float high)
{
    return (uint32_t)lx_narrow<T>(low).bits | (uint32_t)lx_narrow<T>(high).bits << 16;
}

/* This warp's part of h, rounded, to shared memory, and to memory if `to` is not NULL. */
template <class T, class M>
LX_DEVICE void store_h(T *shared, T *to,
                       const float (&h)[M::ROW_STEPS][2 * M::MY_RANK_PAIRS][4],
                       const product_place &me, int across, const lx_cuda_term &term,
                       int rows, int first_row)
{
#pragma unroll
    for (int j = 0; j < 2 * M::MY_RANK_PAIRS; j++) {
        const int c = (j / 2 * across + me.across) * 16 + j % 2 * 8 + me.t * 2;
        if (c >= M::RANK_PAIRS * 16)
            continue;
#pragma unroll
        for (int i = 0; i < M::ROW_STEPS; i++)
#pragma unroll
            for (int half = 0; half < 2; half++) {
                const int r = (me.down * M::ROW_STEPS + i) * 16 + half * 8 + me.g;
                const uint32_t two =
                    pack_two<T>(h[i][j][half * 2] * term.first_scale,
                                h[i][j][half * 2 + 1] * term.first_scale);
                *reinterpret_cast<uint32_t *>(shared + r * M::H_PITCH + c) = two;
                if (!to || first_row + r >= rows)
                    continue;
                T *at = to + (int64_t)(first_row + r) * term.R + c;
                if (c < term.R)
                    at[0].bits = (uint16_t)two;
                if (c + 1 < term.R)
                    at[1].bits = (uint16_t)(two >> 16);
            }
    }
}

/* y += second_scale * h Q */
template <class T, class M, bool IS_REVERSED>
LX_DEVICE void add_lora(float (&y)[M::ROW_STEPS][2 * M::PAIRS][4], const T *h, const T *q,
                        const product_place &me, float scale)
{
#pragma unroll
    for (int j = 0; j < M::PAIRS; j++) {
        float more[M::ROW_STEPS][2][4];
        clear(more);
#pragma unroll
        for (int step = 0; step < M::RANK_PAIRS; step++) {
            uint32_t a[4], b[4];
            load_right<T, IS_REVERSED>(b, q, M::Q_PITCH, me.lane,
                                       (me.across * M::PAIRS + j) * 16, step);
#pragma unroll
            for (int i = 0; i < M::ROW_STEPS; i++) {
                load_left(a, h, M::H_PITCH, me.lane, (me.down * M::ROW_STEPS + i) * 16,
                          step);
                lx_mma(more[i][0], a, b, T());
                lx_mma(more[i][1], a, b + 2, T());
            }
        }
#pragma unroll
        for (int i = 0; i < M::ROW_STEPS; i++)
#pragma unroll
            for (int e = 0; e < 8; e++)
                y[i][2 * j + e / 4][e % 4] += scale * more[i][e / 4][e % 4];
    }
}

/* All of one term. Shared memory is free again afterwards. */
template <class T, class M, bool IS_REVERSED, int RANK, int ROWS, int COLUMNS, int ACROSS>
LX_DEVICE void add_term(float (&y)[M::ROW_STEPS][2 * M::PAIRS][4], T *shared,
                        const lx_cuda_sum &sum, const lx_cuda_term &term, int first_row,
                        int first_column, const product_place &me)
{
    const int n_slices = (term.K + SLICE - 1) / SLICE;
    float h[M::ROW_STEPS][2 * M::MY_RANK_PAIRS][4];
    auto fetch = [&](int slice) {
        if (slice < n_slices)
            fetch_slice<T, M, IS_REVERSED, RANK, ROWS, COLUMNS>(
                shared + slice % M::STAGES * M::STAGE, term, sum.M, sum.N, first_row,
                first_column, slice * SLICE);
        lx_copy_commit();
    };

    clear(h);
#pragma unroll 1
    for (int i = 0; i < M::STAGES - 1; i++)
        fetch(i);
#pragma unroll 1
    for (int i = 0; i < n_slices; i++) {
        lx_copy_wait<M::STAGES - 2>();
        __syncthreads();
        fetch(i + M::STAGES - 1);
        multiply_slice<T, M, IS_REVERSED>(y, h, shared + i % M::STAGES * M::STAGE, me,
                                          ACROSS, term.p != nullptr);
    }
    lx_copy_wait<0>();
    __syncthreads();
    if (term.p) {
        T *q = shared + M::H_SIZE;
        const T *from = static_cast<const T *>(term.q);
        if (IS_REVERSED)
            fetch_part<T, M::THREADS, COLUMNS>(q, M::Q_PITCH, from, term.R, sum.N, 0,
                                               first_column, RANK);
        else
            fetch_part<T, M::THREADS, RANK>(q, M::Q_PITCH, from, sum.N, term.R,
                                            first_column, 0, COLUMNS);
        lx_copy_commit();
        store_h<T, M>(shared, first_column ? nullptr : static_cast<T *>(term.h), h, me,
                      ACROSS, term, sum.M, first_row);
        lx_copy_wait<0>();
        __syncthreads();
        add_lora<T, M, IS_REVERSED>(y, shared, q, me, term.second_scale);
        __syncthreads();
    }
}

/* y = add + bias + what was summed. */
template <class T, class M>
LX_DEVICE void store_sum(const float (&y)[M::ROW_STEPS][2 * M::PAIRS][4],
                         const lx_cuda_sum &sum, int first_row, int first_column,
                         const product_place &me)
{
    T *to = static_cast<T *>(sum.y);
    const T *add = static_cast<const T *>(sum.add);
    const lx_weight bias = {sum.bias, sum.bias_dtype};

#pragma unroll
    for (int j = 0; j < 2 * M::PAIRS; j++) {
        const int c = first_column + (me.across * 2 * M::PAIRS + j) * 8 + me.t * 2;
        if (c >= sum.N)
            continue;
        const float b0 = bias.data ? lx_weight_at(bias, c) : 0,
                    b1 = bias.data ? lx_weight_at(bias, c + 1) : 0;
#pragma unroll
        for (int i = 0; i < M::ROW_STEPS; i++)
#pragma unroll
            for (int half = 0; half < 2; half++) {
                const int r =
                    first_row + (me.down * M::ROW_STEPS + i) * 16 + half * 8 + me.g;
                const int64_t at = (int64_t)r * sum.N + c;
                float low = y[i][j][half * 2] + b0, high = y[i][j][half * 2 + 1] + b1;
                if (r >= sum.M)
                    continue;
                if (add) {
                    const lx_pack<T, 2> more = lx_load<T, 2>(add + at);
                    low += lx_widen(more.at[0]);
                    high += lx_widen(more.at[1]);
                }
                *reinterpret_cast<uint32_t *>(to + at) = pack_two<T>(low, high);
            }
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

template <class T, bool IS_REVERSED, int RANK, int ROWS, int COLUMNS, int DOWN,
          int ACROSS, int AHEAD>
__global__ void __launch_bounds__(DOWN *ACROSS * 32, DOWN *ACROSS > 4 ? 1 : 3)
    add_products(const lx_cuda_sum *sums, const lx_cuda_term *terms, int n_sums)
{
    typedef product_tile<IS_REVERSED, RANK, ROWS, COLUMNS, DOWN, ACROSS, AHEAD> M;
    LX_DYNAMIC_SHARED(T, shared);
    const product_place me = product_place_of<M>(ACROSS);
    const lx_cuda_sum sum = sums[sum_of_block(sums, n_sums, (int)blockIdx.x)];
    const int tile = (int)blockIdx.x - sum.first_block;
    const int first_row = tile / sum.n_columns * ROWS,
              first_column = tile % sum.n_columns * COLUMNS;
    float y[M::ROW_STEPS][2 * M::PAIRS][4];

    clear(y);
#pragma unroll 1
    for (int i = 0; i < sum.n_terms; i++) {
        const lx_cuda_term term = terms[sum.first_term + i];
        add_term<T, M, IS_REVERSED, RANK, ROWS, COLUMNS, ACROSS>(
            y, shared, sum, term, first_row, first_column, me);
    }
    store_sum<T, M>(y, sum, first_row, first_column, me);
}

/* ---- host --------------------------------------------------------------------------- */

lx_cuda_tile lx_cuda_tile_of(const lx_cuda_sum *sums, int n)
{
    int64_t tiles = 0;

    for (int i = 0; i < n; i++)
        tiles += lx_ceil_div(sums[i].M, LARGE) * lx_ceil_div(sums[i].N, LARGE);
    return tiles < FEW_TILES ? lx_cuda_tile{SMALL, SMALL} : lx_cuda_tile{LARGE, LARGE};
}

template <class T, bool IS_REVERSED, int RANK>
static void launch_products(lx_device *dev, const lx_cuda_sums *s)
{
    if (s->tile.rows == LARGE) {
        typedef product_tile<IS_REVERSED, RANK, LARGE, LARGE, 4, 2, 1> M;
        LX_LAUNCH_SHARED(dev, (add_products<T, IS_REVERSED, RANK, LARGE, LARGE, 4, 2, 1>),
                         (unsigned)s->n_blocks, M::THREADS, M::SHARED * sizeof(T),
                         s->sums, s->terms, s->n_sums);
    } else {
        typedef product_tile<IS_REVERSED, RANK, SMALL, SMALL, 2, 2, 2> M;
        LX_LAUNCH_SHARED(dev, (add_products<T, IS_REVERSED, RANK, SMALL, SMALL, 2, 2, 2>),
                         (unsigned)s->n_blocks, M::THREADS, M::SHARED * sizeof(T),
                         s->sums, s->terms, s->n_sums);
    }
}

template <class T, bool IS_REVERSED>
static void with_rank(lx_device *dev, const lx_cuda_sums *s)
{
    if (s->most_rank <= 16)
        launch_products<T, IS_REVERSED, 16>(dev, s);
    else if (s->most_rank <= 32)
        launch_products<T, IS_REVERSED, 32>(dev, s);
    else
        launch_products<T, IS_REVERSED, 64>(dev, s);
}

template <class T> static void with_direction(lx_device *dev, const lx_cuda_sums *s)
{
    if (s->is_reversed)
        with_rank<T, true>(dev, s);
    else
        with_rank<T, false>(dev, s);
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
