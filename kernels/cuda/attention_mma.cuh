/*
 * kernels/cuda/attention_mma - attention on tensor cores: F16 and BF16, heads of 40, 64, 80 and 160
 *
 * Four warps hold 64 rows, 16 each; tiles of the other side pass through shared memory, in the
 * forward direction two at a time so that one is fetched while the other is used. Products are
 * mma.m16n8k16 with f32 sums; the weights are rounded to 16 bits between the two products, and so
 * are p and ds in the gradient. Rows of 40 are padded to 48 with zeros, and each row in shared memory
 * by 16 bytes, so that the eight rows of an ldmatrix lie in different banks.
 *
 * How a lane's registers lie in a tile: tests/cuda_emulation/collective.cpp.
 */
#ifndef LX_KERNELS_CUDA_ATTENTION_MMA_CUH
#define LX_KERNELS_CUDA_ATTENTION_MMA_CUH

#include "kernels/cuda/attention.cuh"

enum { WARPS = 4, THREADS = WARPS * 32, ROWS = 64 };

/* Tiles for heads of D, with COLUMNS rows of the other side. */
template <int D, int COLUMNS> struct mma_tile {
    enum {
        WIDTH = (D + 15) / 16 * 16,
        PITCH = WIDTH + 8,
        STEPS = WIDTH / 16,  /* mma steps along a row */
        OUT = WIDTH / 8,     /* mma tiles of a row of results */
        SCORES = COLUMNS / 8 /* mma tiles of a row of scores */
    };
};

/* Keys of a tile in the forward direction. */
template <int D> struct keys_of_tile {
    enum { N = D > 80 ? 32 : 64 };
};

/* What a lane is: rows g and g + 8 of its warp's 16, columns 2t and 2t + 1 of every 8. */
struct lane_place {
    int lane, g, t, first_row;
};

LX_DEVICE lane_place my_place()
{
    const int lane = threadIdx.x % 32;
    return {lane, lane / 4, lane % 4, (int)(threadIdx.x / 32) * 16};
}

/* Rows first.. of a tensor begin to come into a tile; zeros where there are none. */
template <class T, int D>
LX_DEVICE void fetch(T *tile, const T *x, const attention_shape &s, int b, int length,
                     int first, int rows, int head)
{
    typedef mma_tile<D, 8> M;
    enum { PIECES = M::WIDTH / 8 };

    for (int i = threadIdx.x; i < rows * PIECES; i += THREADS) {
        const int r = i / PIECES, c = i % PIECES;
        const bool is_there = first + r < length && c < D / 8;
        lx_copy_async(
            tile + r * M::PITCH + c * 8,
            x + (is_there ? attention_at(s, b, length, first + r, head) + c * 8 : 0),
            is_there);
    }
}

/* The A operand: this warp's 16 rows of a tile, columns 16 step... */
template <class T, int PITCH>
LX_DEVICE void load_a(uint32_t a[4], const T *tile, const lane_place &p, int step)
{
    lx_load_matrix(a, tile + (p.first_row + p.lane % 16) * PITCH + step * 16 +
                          p.lane / 16 * 8);
}

/* Two B operands: rows 16 j.. of a tile are the columns n, its columns 16 step.. are k. */
template <class T, int PITCH>
LX_DEVICE void load_b(uint32_t b[4], const T *tile, const lane_place &p, int j, int step)
{
    lx_load_matrix(b, tile + (j * 16 + p.lane % 8 + p.lane / 16 * 8) * PITCH + step * 16 +
                          p.lane / 8 % 2 * 8);
}

/* Two B operands: rows 16 j.. of a tile are k, its columns 16 i.. are n. */
template <class T, int PITCH>
LX_DEVICE void load_b_transposed(uint32_t b[4], const T *tile, const lane_place &p, int j,
                                 int i)
{
    lx_load_matrix_transposed(b, tile + (j * 16 + p.lane % 16) * PITCH + i * 16 +
                                     p.lane / 16 * 8);
}

/* out = this warp's rows of `rows` times those of `columns`. */
template <class T, int D, int COLUMNS>
LX_DEVICE void multiply_rows(float out[][4], const T *rows, const T *columns,
                             const lane_place &p)
{
    typedef mma_tile<D, COLUMNS> M;

#pragma unroll
    for (int j = 0; j < M::SCORES; j++)
        out[j][0] = out[j][1] = out[j][2] = out[j][3] = 0;
#pragma unroll
    for (int step = 0; step < M::STEPS; step++) {
        uint32_t a[4], b[4];
        load_a<T, M::PITCH>(a, rows, p, step);
#pragma unroll
        for (int j = 0; j < COLUMNS / 16; j++) {
            load_b<T, M::PITCH>(b, columns, p, j, step);
            lx_mma(out[2 * j], a, b, T());
            lx_mma(out[2 * j + 1], a, b + 2, T());
        }
    }
}

/* out += weights times the rows of `tile`. */
template <class T, int D, int COLUMNS>
LX_DEVICE void add_weighted(float out[][4], const float weights[][4], const T *tile,
                            const lane_place &p)
{
    typedef mma_tile<D, COLUMNS> M;

#pragma unroll
    for (int j = 0; j < COLUMNS / 16; j++) {
        const float *left = weights[2 * j], *right = weights[2 * j + 1];
        const uint32_t a[4] = {
            lx_pack_two<T>(left[0], left[1]), lx_pack_two<T>(left[2], left[3]),
            lx_pack_two<T>(right[0], right[1]), lx_pack_two<T>(right[2], right[3])};
#pragma unroll
        for (int i = 0; i < M::STEPS; i++) {
            uint32_t b[4];
            load_b_transposed<T, M::PITCH>(b, tile, p, j, i);
            lx_mma(out[2 * i], a, b, T());
            lx_mma(out[2 * i + 1], a, b + 2, T());
        }
    }
}

/* Rows `first + g` and eight later of a result, times `by` of each. */
template <class T, int D>
LX_DEVICE void store_rows(T *y, const float out[][4], const attention_shape &s, int b,
                          int length, int first, int head, const lane_place &p,
                          float by_low, float by_high)
{
#pragma unroll
    for (int half = 0; half < 2; half++) {
        const int row = first + p.first_row + p.g + half * 8;
        const float by = half ? by_high : by_low;
        if (row < length)
#pragma unroll
            for (int i = 0; i < D / 8; i++)
                *reinterpret_cast<uint32_t *>(y + attention_at(s, b, length, row, head) +
                                              i * 8 + p.t * 2) =
                    lx_pack_two<T>(out[i][half * 2] * by, out[i][half * 2 + 1] * by);
    }
}

/* ---- forward ------------------------------------------------------------------------------ */

/* The softmax of one more tile of scores: weights in their place, sums and results rescaled. */
template <int SCORES, int OUT>
LX_DEVICE void add_softmax(float score[][4], float out[][4], float *most, float *sum,
                           int half, int first_column, int n_columns, float scale2)
{
    float top = *most, total = 0;

#pragma unroll
    for (int j = 0; j < SCORES; j++)
#pragma unroll
        for (int e = 0; e < 2; e++) {
            float *x = &score[j][half * 2 + e];
            *x = first_column + j * 8 + e < n_columns ? *x * scale2 : -INFINITY;
            top = fmaxf(top, *x);
        }
    top = fmaxf(top, __shfl_xor_sync(LX_FULL, top, 1));
    top = fmaxf(top, __shfl_xor_sync(LX_FULL, top, 2));
    const float origin = top == -INFINITY ? 0 : top; /* no column is visible yet */
    const float keep = lx_exp2(*most - origin);
#pragma unroll
    for (int j = 0; j < SCORES; j++)
#pragma unroll
        for (int e = 0; e < 2; e++) {
            float *x = &score[j][half * 2 + e];
            *x = lx_exp2(*x - origin);
            total += *x;
        }
    *most = top;
    *sum = *sum * keep + total;
#pragma unroll
    for (int i = 0; i < OUT; i++) {
        out[i][half * 2] *= keep;
        out[i][half * 2 + 1] *= keep;
    }
}

/* The block's 64 queries. Tiles are keys, values, keys, values; the queries pass through first. */
template <class T, int D, int COLUMNS>
LX_DEVICE void attend_rows(T *tiles, T *o, float *lse, const T *q, const T *k, const T *v,
                           const attention_shape &s)
{
    typedef mma_tile<D, COLUMNS> M;
    enum { TILE = COLUMNS * M::PITCH };
    const lane_place p = my_place();
    const int b = blockIdx.z, head = blockIdx.y, first = blockIdx.x * ROWS;
    const int last = attention_keys(s, min(first + ROWS, s.T) - 1);
    const int row = first + p.first_row + p.g;
    const float scale2 = s.scale * 1.44269504f;
    uint32_t query[M::STEPS][4];
    float out[M::OUT][4], most[2] = {-INFINITY, -INFINITY}, sum[2] = {0, 0};

    fetch<T, D>(tiles, q, s, b, s.T, first, ROWS, head);
    lx_copy_commit();
    lx_copy_wait<0>();
    __syncthreads();
#pragma unroll
    for (int step = 0; step < M::STEPS; step++)
        load_a<T, M::PITCH>(query[step], tiles, p, step);
    __syncthreads();
#pragma unroll
    for (int i = 0; i < M::OUT; i++)
        out[i][0] = out[i][1] = out[i][2] = out[i][3] = 0;
    fetch<T, D>(tiles, k, s, b, s.S, 0, COLUMNS, head);
    fetch<T, D>(tiles + TILE, v, s, b, s.S, 0, COLUMNS, head);
    lx_copy_commit();
    for (int j0 = 0, turn = 0; j0 < last; j0 += COLUMNS, turn ^= 1) {
        const T *keys = tiles + turn * 2 * TILE, *values = keys + TILE;
        float score[M::SCORES][4];

        if (j0 + COLUMNS < last) {
            T *next = tiles + (turn ^ 1) * 2 * TILE;
            fetch<T, D>(next, k, s, b, s.S, j0 + COLUMNS, COLUMNS, head);
            fetch<T, D>(next + TILE, v, s, b, s.S, j0 + COLUMNS, COLUMNS, head);
            lx_copy_commit();
            lx_copy_wait<1>();
        } else {
            lx_copy_wait<0>();
        }
        __syncthreads();
#pragma unroll
        for (int j = 0; j < M::SCORES; j++)
            score[j][0] = score[j][1] = score[j][2] = score[j][3] = 0;
#pragma unroll
        for (int step = 0; step < M::STEPS; step++)
#pragma unroll
            for (int j = 0; j < COLUMNS / 16; j++) {
                uint32_t key[4];
                load_b<T, M::PITCH>(key, keys, p, j, step);
                lx_mma(score[2 * j], query[step], key, T());
                lx_mma(score[2 * j + 1], query[step], key + 2, T());
            }
#pragma unroll
        for (int half = 0; half < 2; half++)
            add_softmax<M::SCORES, M::OUT>(score, out, &most[half], &sum[half], half,
                                           j0 + p.t * 2,
                                           attention_keys(s, row + half * 8), scale2);
        add_weighted<T, D, COLUMNS>(out, score, values, p);
        __syncthreads();
    }
#pragma unroll
    for (int half = 0; half < 2; half++) {
        sum[half] += __shfl_xor_sync(LX_FULL, sum[half], 1);
        sum[half] += __shfl_xor_sync(LX_FULL, sum[half], 2);
        if (lse && p.t == 0 && row + half * 8 < s.T)
            lse[((int64_t)b * s.heads + head) * s.T + row + half * 8] =
                (most[half] + log2f(sum[half])) * 0.69314718f;
    }
    store_rows<T, D>(o, out, s, b, s.T, first, head, p, 1 / sum[0], 1 / sum[1]);
}

/* ---- host --------------------------------------------------------------------------- */

/* f(T(), width) for 16-bit types. */
template <class F> static void with_head(lx_dtype dtype, int d, F f)
{
    auto with_width = [&](auto t) {
        if (d == 40)
            f(t, std::integral_constant<int, 40>());
        else if (d == 64)
            f(t, std::integral_constant<int, 64>());
        else if (d == 80)
            f(t, std::integral_constant<int, 80>());
        else
            f(t, std::integral_constant<int, 160>());
    };

    if (dtype == LX_F16)
        with_width(lx_f16());
    else
        with_width(lx_bf16());
}

static inline dim3 grid_of(const attention_shape &s, int rows)
{
    return dim3(lx_blocks(rows, ROWS), (unsigned)s.heads, (unsigned)s.B);
}

/* Bytes of n rows of a head of D in shared memory. */
template <int D> constexpr size_t bytes_of_rows(int n)
{
    return (size_t)n * mma_tile<D, 8>::PITCH * 2;
}

#endif
