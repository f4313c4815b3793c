/*
 * kernels/cuda/adapted - a tile of a sum of products with weights and their LoRA (join.h has the formula)
 *
 * A block makes a tile of y. K passes through shared memory in slices of 32, fetched ahead; with each slice
 * of x come those of W and of P, so that h of the tile's rows is there when K has been walked. It is rounded,
 * goes through shared memory as well, and is one more slice of K against Q. Warps side by side share the work
 * on h. Blocks in one row of tiles compute the same h; the first writes it.
 *
 * Where x is a LayerNorm or the gradient of one, each thread computes it from the pieces of 16 bytes that it has
 * fetched itself, before the others may read them: what it makes is what the op alone would have made, rounded.
 * The sums of a block's rows are taken in one pass over them; L2 gives them, and again to the main loop.
 *
 * Rows of shared memory are 16 bytes longer than they must be, so that the eight rows of an ldmatrix lie in
 * different banks. How a lane's registers lie in a tile: tests/cuda_emulation/collective.cpp.
 */
#ifndef LX_KERNELS_CUDA_ADAPTED_CUH
#define LX_KERNELS_CUDA_ADAPTED_CUH

#include "kernels/cuda/functions.cuh"

extern "C" {
#include "kernels/cuda/join.h"
}

enum { SLICE = 32 };

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
        Y_PITCH = COLUMNS + 8,
        LORA_SIZE = H_SIZE + Q_ROWS * Q_PITCH,
        LATER = LORA_SIZE > ROWS *Y_PITCH ? LORA_SIZE : ROWS *Y_PITCH,
        SHARED = STAGES * STAGE > LATER ? STAGES *STAGE : LATER,
        PIECES = ROWS * (SLICE / 8) / THREADS /* of 16 bytes of a slice of x, a thread */
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

/* Row r of a tile that begins with `first`. With a gap, eights of rows come from there and from behind it in turn. */
LX_DEVICE int row_of(int first, int r, int gap)
{
    return gap ? first + r / 16 * 8 + r % 8 + r / 8 % 2 * gap : first + r;
}

/*
 * `rows` x WIDTH of a matrix [n, width] in memory, from (row, column), begin to come into shared memory; zeros
 * beyond its ends. Its rows are of whole 16 bytes, or are copied one by one.
 */
template <class T, int THREADS, int WIDTH>
LX_DEVICE void fetch_part(T *to, int pitch, const T *from, int64_t n, int width, int row,
                          int column, int rows, int gap = 0)
{
    enum { PIECES = WIDTH / 8 };

    if (width % 8 == 0) {
        for (int i = threadIdx.x; i < rows * PIECES; i += THREADS) {
            const int r = i / PIECES, c = i % PIECES * 8, at = row_of(row, r, gap);
            const bool is_there = at < n && column + c < width;
            lx_copy_async(to + r * pitch + c,
                          from + (is_there ? (int64_t)at * width + column + c : 0),
                          is_there);
        }
        return;
    }
#pragma unroll 1 /* narrow ranks; many loads on their way would take many registers */
    for (int i = threadIdx.x; i < rows * WIDTH; i += THREADS) {
        const int r = i / WIDTH, c = i % WIDTH, at = row_of(row, r, gap);
        T value = {};
        if (at < n && column + c < width)
            value = from[(int64_t)at * width + column + c];
        to[r * pitch + c] = value;
    }
}

/* ---- a LayerNorm on the way ---------------------------------------------------------- */

enum { NORM_LANES = 8, NUMBERS = 4 }; /* threads of a row; what is known of one */

LX_DEVICE float sum_of_lanes(float x)
{
#pragma unroll
    for (int i = NORM_LANES / 2; i; i >>= 1)
        x += __shfl_xor_sync(LX_FULL, x, i);
    return x;
}

/*
 * Of one row x: mean and 1/sqrt(var + eps). Sums are of x - x[0], whose square is at most K times the variance,
 * so that what cancels is not seen in 16 bits.
 */
template <class T>
LX_DEVICE void moments_of_row(float *numbers, const T *x, int K, float eps)
{
    const int lane = threadIdx.x % NORM_LANES;
    const float first = lx_widen(x[0]);
    float sum = 0, squares = 0;

#pragma unroll 4
    for (int c = lane * 8; c < K; c += NORM_LANES * 8) {
        const lx_pack<T, 8> v = lx_load<T, 8>(x + c);
#pragma unroll
        for (int k = 0; k < 8; k++) {
            const float d = lx_widen(v.at[k]) - first;
            sum += d;
            squares += d * d;
        }
    }
    sum = sum_of_lanes(sum) / K;
    squares = sum_of_lanes(squares) / K - sum * sum;
    if (lane == 0) {
        numbers[0] = first + sum;
        numbers[1] = 1 / sqrtf(fmaxf(squares, 0) + eps);
    }
}

/* Of one row, for the gradient: those two, and the means of g and g xhat. */
template <class T>
LX_DEVICE void gradients_of_row(float *numbers, const T *dy, const T *x, lx_weight w,
                                const float *stats, int K)
{
    const int lane = threadIdx.x % NORM_LANES;
    const float mean = stats[0], rstd = stats[1];
    float sum = 0, dot = 0;

#pragma unroll 2
    for (int c = lane * 8; c < K; c += NORM_LANES * 8) {
        const lx_pack<T, 8> d = lx_load<T, 8>(dy + c), v = lx_load<T, 8>(x + c);
        float by[8];
        lx_weights_at<8>(by, w, c);
#pragma unroll
        for (int k = 0; k < 8; k++) {
            const float g = lx_widen(d.at[k]) * by[k];
            sum += g;
            dot += g * ((lx_widen(v.at[k]) - mean) * rstd);
        }
    }
    sum = sum_of_lanes(sum) / K;
    dot = sum_of_lanes(dot) / K;
    if (lane == 0) {
        numbers[0] = mean;
        numbers[1] = rstd;
        numbers[2] = sum;
        numbers[3] = dot;
    }
}

/* Of a tile's rows, to shared memory; those beyond the last are not read again. */
template <class T, class M, bool IS_REVERSED, int ROWS>
LX_DEVICE void numbers_of_rows(float *numbers, const lx_cuda_norm &norm, int rows, int K,
                               int first_row, bool is_first)
{
    const T *from = static_cast<const T *>(norm.from);

    if (!norm.w)
        return; /* none are needed */
#pragma unroll 1
    for (int r = threadIdx.x / NORM_LANES; r < ROWS; r += M::THREADS / NORM_LANES) {
        const int row = min(first_row + r, rows - 1);
        float *of = numbers + r * NUMBERS;
        if (IS_REVERSED)
            gradients_of_row(of, static_cast<const T *>(norm.dy) + (int64_t)row * K,
                             from + (int64_t)row * K, lx_weight{norm.w, norm.w_dtype},
                             norm.stats + (int64_t)row * 2, K);
        else
            moments_of_row(of, from + (int64_t)row * K, K, norm.eps);
        if (!IS_REVERSED && is_first && norm.stats && threadIdx.x % NORM_LANES == 0 &&
            first_row + r < rows) {
            norm.stats[(int64_t)row * 2] = of[0];
            norm.stats[(int64_t)row * 2 + 1] = of[1];
        }
    }
    __syncthreads();
}

/* Where a thread's piece i of a slice of x lies. */
struct piece_place {
    int row, column; /* of x */
    int in_tile;
    bool is_there;
};

template <class M>
LX_DEVICE piece_place place_of_piece(int i, int rows, int K, int first_row, int k)
{
    const int at = threadIdx.x + i * M::THREADS, r = at / (SLICE / 8),
              c = at % (SLICE / 8) * 8;
    return {first_row + r, k + c, r * M::X_PITCH + c, first_row + r < rows && k + c < K};
}

/* What the gradient's next slice needs beside dy: on its way while this one is multiplied. */
template <class T, class M> struct norm_ahead {
    lx_pack<T, 8> x[M::PIECES], plus[M::PIECES];
};

template <class T, class M>
LX_DEVICE void fetch_ahead(norm_ahead<T, M> *ahead, const lx_cuda_norm &norm, int rows,
                           int K, int first_row, int k)
{
    const T *x = static_cast<const T *>(norm.from),
            *plus = static_cast<const T *>(norm.plus);

#pragma unroll
    for (int i = 0; i < M::PIECES; i++) {
        const piece_place p = place_of_piece<M>(i, rows, K, first_row, k);
        const int64_t at = (int64_t)p.row * K + p.column;
        ahead->x[i] = ahead->plus[i] = {};
        if (!p.is_there)
            continue;
        ahead->x[i] = lx_load<T, 8>(x + at);
        if (plus)
            ahead->plus[i] = lx_load<T, 8>(plus + at);
    }
}

/* This thread's pieces of a slice become what the norm makes of them. */
template <class T, class M, bool IS_REVERSED>
LX_DEVICE void normalise_slice(T *tile, const norm_ahead<T, M> &ahead,
                               const float *numbers, const lx_cuda_norm &norm, int rows,
                               int K, int first_row, int k, bool is_first)
{
    const lx_weight w = {norm.w, norm.w_dtype}, b = {norm.b, norm.b_dtype};

#pragma unroll
    for (int i = 0; i < M::PIECES; i++) {
        const piece_place p = place_of_piece<M>(i, rows, K, first_row, k);
        const float *of = numbers + (p.row - first_row) * NUMBERS;
        float by[8], shift[8];
        if (!p.is_there)
            continue;
        lx_pack<T, 8> v = lx_load<T, 8>(tile + p.in_tile);
        const bool is_sum = IS_REVERSED && !norm.w;
        if (!is_sum)
            lx_weights_at<8>(by, w, p.column);
        if (!IS_REVERSED)
            lx_weights_at<8>(shift, b, p.column);
#pragma unroll
        for (int j = 0; j < 8; j++) {
            const float x = lx_widen(v.at[j]);
            if (is_sum) {
                v.at[j] = lx_narrow<T>(x + lx_widen(ahead.x[i].at[j]));
            } else if (IS_REVERSED) {
                const float xhat = (lx_widen(ahead.x[i].at[j]) - of[0]) * of[1];
                const float z = of[1] * (x * by[j] - of[2] - xhat * of[3]);
                v.at[j] = lx_narrow<T>(norm.plus ? lx_widen(ahead.plus[i].at[j]) + z : z);
            } else {
                v.at[j] = lx_narrow<T>((x - of[0]) * of[1] * by[j] + shift[j]);
            }
        }
        lx_store<T, 8>(tile + p.in_tile, v);
        if (is_first)
            lx_store<T, 8>(static_cast<T *>(norm.to) + (int64_t)p.row * K + p.column, v);
    }
}

/* ---- products ------------------------------------------------------------------------ */

/* Slice k of x, W and P. gap: of the rows of W. */
template <class T, class M, bool IS_REVERSED, int RANK, int ROWS, int COLUMNS>
LX_DEVICE void fetch_slice(T *stage, const lx_cuda_term &term, const T *x, int rows,
                           int columns, int first_row, int first_column, int gap, int k)
{
    const T *w = static_cast<const T *>(term.w), *p = static_cast<const T *>(term.p);

    fetch_part<T, M::THREADS, SLICE>(stage, M::X_PITCH, x, rows, term.K, first_row, k,
                                     ROWS);
    if (IS_REVERSED)
        fetch_part<T, M::THREADS, COLUMNS>(stage + M::X_SIZE, M::W_PITCH, w, term.K,
                                           columns, k, first_column, SLICE);
    else
        fetch_part<T, M::THREADS, SLICE>(stage + M::X_SIZE, M::W_PITCH, w, columns,
                                         term.K, first_column, k, COLUMNS, gap);
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

    /* sm_75 has no registers for the second step's loads beside the sums of a wide rank. */
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
                    lx_pack_two<T>(h[i][j][half * 2] * term.first_scale,
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
#pragma unroll 1 /* steps at once are more than sm_75's registers for a wide rank */
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

/* What a block works on. */
struct sum_place {
    int first_row, first_column,
        gap;       /* columns: of both halves with a gap between them */
    bool is_first; /* it writes h and x for all blocks of its rows */
};

/* All of one term. Shared memory is free again afterwards. */
template <class T, class M, bool IS_REVERSED, bool HAS_NORM, int RANK, int ROWS,
          int COLUMNS, int ACROSS>
LX_DEVICE void add_term(float (&y)[M::ROW_STEPS][2 * M::PAIRS][4], T *shared,
                        const lx_cuda_sum &sum, const lx_cuda_term &term,
                        const lx_cuda_norm &norm, bool writes_x, const sum_place &at,
                        const product_place &me)
{
    const int n_slices = (term.K + SLICE - 1) / SLICE;
    float *numbers = reinterpret_cast<float *>(shared + M::SHARED);
    float h[M::ROW_STEPS][2 * M::MY_RANK_PAIRS][4];
    norm_ahead<T, M> ahead;
    const T *x = static_cast<const T *>(!HAS_NORM     ? term.x
                                        : IS_REVERSED ? norm.dy
                                                      : norm.from);
    auto fetch = [&](int slice) {
        if (slice < n_slices)
            fetch_slice<T, M, IS_REVERSED, RANK, ROWS, COLUMNS>(
                shared + slice % M::STAGES * M::STAGE, term, x, sum.M, sum.N,
                at.first_row, at.first_column, at.gap, slice * SLICE);
        lx_copy_commit();
    };

    clear(h);
#pragma unroll 1
    for (int i = 0; i < M::STAGES - 1; i++)
        fetch(i);
    if (HAS_NORM) {
        numbers_of_rows<T, M, IS_REVERSED, ROWS>(numbers, norm, sum.M, term.K,
                                                 at.first_row, writes_x);
        if (IS_REVERSED)
            fetch_ahead<T, M>(&ahead, norm, sum.M, term.K, at.first_row, 0);
    }
#pragma unroll 1
    for (int i = 0; i < n_slices; i++) {
        T *stage = shared + i % M::STAGES * M::STAGE;
        lx_copy_wait<M::STAGES - 2>();
        if (HAS_NORM)
            normalise_slice<T, M, IS_REVERSED>(stage, ahead, numbers, norm, sum.M, term.K,
                                               at.first_row, i * SLICE, writes_x);
        __syncthreads();
        fetch(i + M::STAGES - 1);
        if (HAS_NORM && IS_REVERSED)
            fetch_ahead<T, M>(&ahead, norm, sum.M, term.K, at.first_row, (i + 1) * SLICE);
        multiply_slice<T, M, IS_REVERSED>(y, h, stage, me, ACROSS, term.p != nullptr);
    }
    lx_copy_wait<0>();
    __syncthreads();
    if (term.p) {
        T *q = shared + M::H_SIZE;
        const T *from = static_cast<const T *>(term.q);
        if (IS_REVERSED)
            fetch_part<T, M::THREADS, COLUMNS>(q, M::Q_PITCH, from, term.R, sum.N, 0,
                                               at.first_column, RANK);
        else
            fetch_part<T, M::THREADS, RANK>(q, M::Q_PITCH, from, sum.N, term.R,
                                            at.first_column, 0, COLUMNS, at.gap);
        lx_copy_commit();
        store_h<T, M>(shared, at.is_first ? static_cast<T *>(term.h) : nullptr, h, me,
                      ACROSS, term, sum.M, at.first_row);
        lx_copy_wait<0>();
        __syncthreads();
        add_lora<T, M, IS_REVERSED>(y, shared, q, me, term.second_scale);
        __syncthreads();
    }
}

/* ---- what becomes of a sum ------------------------------------------------------------ */

/* y = add + bias + what was summed, rounded, in shared memory. */
template <class T, class M>
LX_DEVICE void round_sum(T *tile, const float (&y)[M::ROW_STEPS][2 * M::PAIRS][4],
                         const lx_cuda_sum &sum, const sum_place &at,
                         const product_place &me)
{
    const T *add = static_cast<const T *>(sum.add);
    const lx_weight bias = {sum.bias, sum.bias_dtype};

#pragma unroll
    for (int j = 0; j < 2 * M::PAIRS; j++) {
        const int column = (me.across * 2 * M::PAIRS + j) * 8 + me.t * 2,
                  c = row_of(at.first_column, column, at.gap);
        if (c >= sum.N)
            continue;
        const float b0 = bias.data ? lx_weight_at(bias, c) : 0,
                    b1 = bias.data ? lx_weight_at(bias, c + 1) : 0;
#pragma unroll
        for (int i = 0; i < M::ROW_STEPS; i++)
#pragma unroll
            for (int half = 0; half < 2; half++) {
                const int r = (me.down * M::ROW_STEPS + i) * 16 + half * 8 + me.g;
                float low = y[i][j][half * 2] * sum.scale + b0,
                      high = y[i][j][half * 2 + 1] * sum.scale + b1;
                if (at.first_row + r >= sum.M)
                    continue;
                if (add) {
                    const lx_pack<T, 2> more =
                        lx_load<T, 2>(add + (int64_t)(at.first_row + r) * sum.N + c);
                    low += lx_widen(more.at[0]);
                    high += lx_widen(more.at[1]);
                }
                *reinterpret_cast<uint32_t *>(tile + r * M::Y_PITCH + column) =
                    lx_pack_two<T>(low, high);
            }
    }
}

#endif
