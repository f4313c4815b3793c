/*
 * GroupNorm, with SiLU, and its gradient (kernels/group_norm.h).
 *
 * A group's sums are taken in two launches, so that the whole device works on one image: sums of each group
 * over a chunk of rows, and then the elements, before which every block adds up what was found of its groups, in
 * the order of the chunks. Where a group is small or groups are many, one block per group does it all in one.
 *
 * Against cancellation the forward sums are of x - x[first row] per channel, and means and variances of parts
 * are put together as in Chan et al. 1979 (STAN-CS-79-773).
 */
#include "kernels/cuda/functions.cuh"

extern "C" {
#include "kernels/cuda/norms.h"
}

enum { TILE_THREADS = 256, MOST_GROUPS = 256 /* of a tile */ };
/* Elements of a group up to which one block does it all: more where there are enough groups to keep a GPU busy. */
enum { SMALL_GROUP = 16384, LARGE_GROUP = 65536, MANY_GROUPS = 32 };
/* Its threads: many beyond as many elements. */
enum { FEW_THREADS = 256, MANY_THREADS = 1024, FEW_ELEMENTS = 4096 };

/* x [B, P, C] in G groups of `width` channels, as the device sees it. */
struct norm_shape {
    int64_t P;
    int B, C, G, width;
    int chunk, n_chunks; /* rows of a chunk, chunks */
    float eps;
    bool has_silu;
};

/* N elements of x in row b P + p, from c on, made of what they come from. */
template <class T, int N>
LX_DEVICE lx_pack<T, N> gather(const lx_cuda_norm_source &from, int64_t row, int b, int c,
                               int C)
{
    if (c >= from.width)
        return lx_load<T, N>(static_cast<const T *>(from.b) + row * (C - from.width) + c -
                             from.width);
    const int64_t at = row * from.width + c;
    lx_pack<T, N> v = lx_load<T, N>(static_cast<const T *>(from.a) + at);
    float more[N];
    if (!from.bias && !from.shift && !from.plus)
        return v;
#pragma unroll
    for (int i = 0; i < N; i++)
        more[i] = 0;
    if (from.bias)
        lx_weights_at<N>(more, {from.bias, from.bias_dtype}, c);
    if (from.shift) {
        float shift[N];
        lx_weights_at<N>(shift, {from.shift, from.shift_dtype}, b * from.shift_step + c);
#pragma unroll
        for (int i = 0; i < N; i++)
            more[i] += shift[i];
    }
    if (from.plus) {
        const lx_pack<T, N> plus = lx_load<T, N>(static_cast<const T *>(from.plus) + at);
#pragma unroll
        for (int i = 0; i < N; i++)
            more[i] += lx_widen(plus.at[i]);
    }
#pragma unroll
    for (int i = 0; i < N; i++)
        v.at[i] = lx_narrow<T>(lx_widen(v.at[i]) + more[i]);
    return v;
}

/* What a thread of the tiled kernels works on: N channels from c0, every blockDim.y-th row. */
struct tile {
    int64_t base, row, end; /* base: of sample and channel; rows of the chunk */
    int c0;
    bool is_inside;
};

template <int N> LX_DEVICE tile my_tile(const norm_shape &s)
{
    tile t;

    t.c0 = (blockIdx.y * blockDim.x + threadIdx.x) * N;
    t.is_inside = t.c0 < s.C;
    t.base = (int64_t)blockIdx.z * s.P * s.C + t.c0;
    t.row = (int64_t)blockIdx.x * s.chunk + threadIdx.y;
    t.end = min((int64_t)(blockIdx.x + 1) * s.chunk, s.P);
    return t;
}

/*
 * Two sums of each channel of a tile. A plane for each of a thread's channels, so that neighbours write to
 * different banks; planes begin 32 / N banks apart, so that the channels read together lie in different ones too.
 */
template <int N> struct tile_sums {
    enum { PLANE = TILE_THREADS + 32 / N };
    float at[2][N * PLANE];
};

/* Once they are there: of channel c. */
template <int N> LX_DEVICE float &sum_of(tile_sums<N> &sums, int which, int c)
{
    return sums.at[which][c % N * tile_sums<N>::PLANE + c / N];
}

/* Adds up what the block's threads found in their rows. */
template <int N>
LX_DEVICE void add_rows(tile_sums<N> &sums, const float *a, const float *b)
{
    const int width = blockDim.x * N, at = threadIdx.y * blockDim.x + threadIdx.x;

#pragma unroll
    for (int i = 0; i < N; i++) {
        sums.at[0][i * tile_sums<N>::PLANE + at] = a[i];
        sums.at[1][i * tile_sums<N>::PLANE + at] = b[i];
    }
    __syncthreads();
    for (int i = at; i < 2 * width; i += blockDim.x * blockDim.y) {
        const int which = i / width, c = i % width;
        float sum = 0;
        for (int y = 0; y < (int)blockDim.y; y++)
            sum += sums.at[which][c % N * tile_sums<N>::PLANE + y * blockDim.x + c / N];
        sum_of(sums, which, c) = sum;
    }
    __syncthreads();
}

/* The groups of a tile, all of them whole; f(group, its index here, lane), a warp a group. */
template <int N, class F> LX_DEVICE void each_group(const norm_shape &s, F f)
{
    const int at = threadIdx.y * blockDim.x + threadIdx.x, warp = at / 32,
              n_warps = (int)(blockDim.x * blockDim.y) / 32; /* whole ones */
    const int per_tile = (int)blockDim.x * N / s.width, first = blockIdx.y * per_tile;

    if (warp < n_warps)
        for (int i = warp; i < per_tile && first + i < s.G; i += n_warps)
            f(first + i, i, at % 32);
}

/* Of group g and chunk k: partial [B, n_chunks, G, 2], then [B, G]. */
LX_DEVICE int64_t partial_at(const norm_shape &s, int b, int k, int g)
{
    return (((int64_t)b * s.n_chunks + k) * s.G + g) * 2;
}

LX_DEVICE int64_t origin_at(const norm_shape &s, int b, int g)
{
    return (int64_t)s.B * s.n_chunks * s.G * 2 + (int64_t)b * s.G + g;
}

LX_DEVICE int rows_of_chunk(const norm_shape &s, int k)
{
    return (int)min((int64_t)s.chunk, s.P - (int64_t)k * s.chunk);
}

/*
 * Per group and chunk: the mean of d and the sum of its squared deviations from that, d = x - x[row 0, first channel
 * of the group], which is written too. Sums are of x - x[row 0] of each channel. GATHERS: x is made, and
 * written, perhaps over what it is made of, so that row 0 may have gone: then it counts as 0. Where f32 sums would
 * lose the deviation from a large mean, x of 16 bits has lost it already.
 */
template <class T, int N, bool GATHERS>
__global__ void __launch_bounds__(TILE_THREADS,
                                  GATHERS ? 3 : 4) /* 64 registers are one too few */
    partial_moments(float *partial, const T *x, norm_shape s, lx_cuda_norm_source from)
{
    __shared__ tile_sums<N> sums;
    const int64_t first_row = (int64_t)blockIdx.z * s.P;
    const tile t = my_tile<N>(s);
    float a[N], b[N], first[N];

#pragma unroll
    for (int i = 0; i < N; i++)
        a[i] = b[i] = first[i] = 0;
    if (t.is_inside) {
        if (!GATHERS) {
            const lx_pack<T, N> v = lx_load<T, N>(x + t.base);
#pragma unroll
            for (int i = 0; i < N; i++)
                first[i] = lx_widen(v.at[i]);
        }
        for (int64_t p = t.row; p < t.end; p += blockDim.y) {
            const lx_pack<T, N> u =
                GATHERS ? gather<T, N>(from, first_row + p, blockIdx.z, t.c0, s.C)
                        : lx_load<T, N>(x + t.base + p * s.C);
            if (GATHERS)
                lx_store<T, N>(static_cast<T *>(from.x) + t.base + p * s.C, u);
#pragma unroll
            for (int i = 0; i < N; i++) {
                const float d = lx_widen(u.at[i]) - first[i];
                a[i] += d;
                b[i] += d * d;
            }
        }
    }
    add_rows<N>(sums, a, b);
    each_group<N>(s, [&](int g, int i, int lane) {
        const T *row = x + (int64_t)blockIdx.z * s.P * s.C + g * s.width;
        const float origin = GATHERS ? 0 : lx_widen(row[0]),
                    rows = rows_of_chunk(s, blockIdx.x);
        float mean = 0, squares = 0;
        for (int c = lane; c < s.width; c += 32)
            mean += rows * (GATHERS ? 0 : lx_widen(row[c]) - origin) +
                    sum_of(sums, 0, i * s.width + c);
        mean = lx_warp_sum(mean) / (rows * s.width);
        for (int c = lane; c < s.width; c += 32) {
            const float sum = sum_of(sums, 0, i * s.width + c);
            const float away =
                (GATHERS ? 0 : lx_widen(row[c]) - origin) + sum / rows - mean;
            squares +=
                sum_of(sums, 1, i * s.width + c) - sum * sum / rows + rows * away * away;
        }
        squares = lx_warp_sum(squares);
        if (lane)
            return;
        partial[partial_at(s, blockIdx.z, blockIdx.x, g)] = mean;
        partial[partial_at(s, blockIdx.z, blockIdx.x, g) + 1] = squares;
        if (blockIdx.x == 0)
            partial[origin_at(s, blockIdx.z, g)] = origin;
    });
}

/* Of this tile's groups: mean and 1/sqrt(var + eps). */
template <int N>
LX_DEVICE void join_moments(float (*numbers)[2], const float *partial,
                            const norm_shape &s)
{
    const float n = (float)s.P * s.width;

    each_group<N>(s, [&](int g, int i, int lane) {
        float mean = 0, squares = 0;
        for (int k = lane; k < s.n_chunks; k += 32)
            mean += partial[partial_at(s, blockIdx.z, k, g)] *
                    (rows_of_chunk(s, k) * s.width);
        mean = lx_warp_sum(mean) / n;
        for (int k = lane; k < s.n_chunks; k += 32) {
            const float *of = partial + partial_at(s, blockIdx.z, k, g);
            squares +=
                of[1] + (of[0] - mean) * (of[0] - mean) * (rows_of_chunk(s, k) * s.width);
        }
        squares = lx_warp_sum(squares);
        if (lane == 0) {
            numbers[i][0] = partial[origin_at(s, blockIdx.z, g)] + mean;
            numbers[i][1] = 1 / sqrtf(squares / n + s.eps);
        }
    });
    __syncthreads();
}

template <class T, int N>
__global__ void __launch_bounds__(TILE_THREADS)
    normalise(T *y, const T *x, lx_weight w, lx_weight bias, float *stats,
              const float *partial, norm_shape s)
{
    __shared__ float numbers[MOST_GROUPS][2];
    const tile t = my_tile<N>(s);
    float mean[N], by[N], plus[N];

    join_moments<N>(numbers, partial, s);
    if (stats && blockIdx.x == 0)
        each_group<N>(s, [&](int g, int i, int lane) {
            if (lane < 2)
                stats[((int64_t)blockIdx.z * s.G + g) * 2 + lane] = numbers[i][lane];
        });
    if (!t.is_inside)
        return; /* no collective follows */
    lx_weights_at<N>(by, w, t.c0);
    lx_weights_at<N>(plus, bias, t.c0);
#pragma unroll
    for (int i = 0; i < N; i++) {
        const float *of = numbers[(threadIdx.x * N + i) / s.width];
        mean[i] = of[0];
        by[i] = of[1] * by[i];
    }
    for (int64_t p = t.row; p < t.end; p += blockDim.y) {
        lx_pack<T, N> v = lx_load<T, N>(x + t.base + p * s.C);
#pragma unroll
        for (int i = 0; i < N; i++) {
            const float z = (lx_widen(v.at[i]) - mean[i]) * by[i] + plus[i];
            v.at[i] = lx_narrow<T>(s.has_silu ? lx_silu::value(z) : z);
        }
        lx_store<T, N>(y + t.base + p * s.C, v);
    }
}

/* One block per group of a small tensor. */
template <class T, int THREADS, bool GATHERS>
__global__ void __launch_bounds__(THREADS)
    small_group_norm(T *y, float *stats, const T *x, lx_weight w, lx_weight bias,
                     norm_shape s, lx_cuda_norm_source from)
{
    __shared__ float shared[THREADS / 32];
    const int g = blockIdx.x, b = blockIdx.y, n = (int)s.P * s.width;
    const int64_t base = (int64_t)b * s.P * s.C + g * s.width;
    auto element = [&](int p,
                       int c) { /* of row p, channel c of the group */
                                return GATHERS ? gather<T, 1>(from, (int64_t)b * s.P + p,
                                                              b, g * s.width + c, s.C)
                                                     .at[0]
                                               : x[base + (int64_t)p * s.C + c];
    };
    const float first = lx_widen(element(0, 0));
    float sum = 0, squares = 0;

    if (GATHERS)
        __syncthreads(); /* x may be written over it */
    for (int i = threadIdx.x; i < n; i += THREADS) {
        const T v = element(i / s.width, i % s.width);
        if (GATHERS)
            static_cast<T *>(from.x)[base + (int64_t)(i / s.width) * s.C + i % s.width] =
                v;
        sum += lx_widen(v) - first;
    }
    const float mean = first + lx_block_sum<THREADS>(sum, shared) / n;
    for (int i = threadIdx.x; i < n; i += THREADS) {
        const float d =
            lx_widen(x[base + (int64_t)(i / s.width) * s.C + i % s.width]) - mean;
        squares += d * d;
    }
    const float rstd = 1 / sqrtf(lx_block_sum<THREADS>(squares, shared) / n + s.eps);
    for (int i = threadIdx.x; i < n; i += THREADS) {
        const int c = i % s.width;
        const int64_t at = base + (int64_t)(i / s.width) * s.C + c;
        const float z =
            (lx_widen(x[at]) - mean) * rstd * lx_weight_at(w, g * s.width + c) +
            lx_weight_at(bias, g * s.width + c);
        y[at] = lx_narrow<T>(s.has_silu ? lx_silu::value(z) : z);
    }
    if (stats && threadIdx.x == 0) {
        stats[((int64_t)b * s.G + g) * 2] = mean;
        stats[((int64_t)b * s.G + g) * 2 + 1] = rstd;
    }
}

/* ---- the gradient ------------------------------------------------------------------------- */

/* What the gradient needs of one channel. */
struct channel {
    float mean, rstd, w, bias;
};

LX_DEVICE channel channel_at(const float *stats, lx_weight w, lx_weight bias,
                             const norm_shape &s, int b, int c)
{
    const float *of = stats + ((int64_t)b * s.G + c / s.width) * 2;
    return {of[0], of[1], lx_weight_at(w, c), lx_weight_at(bias, c)};
}

/* Of N channels from c on. */
template <int N>
LX_DEVICE void channels_at(channel ch[N], const float *stats, lx_weight w, lx_weight bias,
                           const norm_shape &s, int b, int c)
{
    float scales[N], shifts[N];

    lx_weights_at<N>(scales, w, c);
    lx_weights_at<N>(shifts, bias, c);
#pragma unroll
    for (int i = 0; i < N; i++) {
        const float *of = stats + ((int64_t)b * s.G + (c + i) / s.width) * 2;
        ch[i] = {of[0], of[1], scales[i], shifts[i]};
    }
}

/* The gradient at xhat. */
LX_DEVICE float at_xhat(float dy, float xhat, const channel &c, bool has_silu)
{
    return (has_silu ? dy * lx_silu::slope(xhat * c.w + c.bias) : dy) * c.w;
}

/* Per group and chunk: the sums of g and g xhat. */
template <class T, int N>
__global__ void __launch_bounds__(TILE_THREADS)
    partial_gradients(float *partial, const T *dy, const T *x, lx_weight w,
                      lx_weight bias, const float *stats, norm_shape s)
{
    __shared__ tile_sums<N> sums;
    const tile t = my_tile<N>(s);
    float a[N], b[N];
    channel ch[N];

#pragma unroll
    for (int i = 0; i < N; i++)
        a[i] = b[i] = 0;
    if (t.is_inside) {
        channels_at<N>(ch, stats, w, bias, s, blockIdx.z, t.c0);
        for (int64_t p = t.row; p < t.end; p += blockDim.y) {
            const lx_pack<T, N> v = lx_load<T, N>(x + t.base + p * s.C);
            const lx_pack<T, N> d = lx_load<T, N>(dy + t.base + p * s.C);
#pragma unroll
            for (int i = 0; i < N; i++) {
                const float xhat = (lx_widen(v.at[i]) - ch[i].mean) * ch[i].rstd;
                const float g = at_xhat(lx_widen(d.at[i]), xhat, ch[i], s.has_silu);
                a[i] += g;
                b[i] += g * xhat;
            }
        }
    }
    add_rows<N>(sums, a, b);
    each_group<N>(s, [&](int g, int i, int lane) {
        float sum = 0, dot = 0;
        for (int c = lane; c < s.width; c += 32) {
            sum += sum_of(sums, 0, i * s.width + c);
            dot += sum_of(sums, 1, i * s.width + c);
        }
        sum = lx_warp_sum(sum);
        dot = lx_warp_sum(dot);
        if (lane == 0) {
            partial[partial_at(s, blockIdx.z, blockIdx.x, g)] = sum;
            partial[partial_at(s, blockIdx.z, blockIdx.x, g) + 1] = dot;
        }
    });
}

/* Of this tile's groups: the means of g and g xhat. */
template <int N>
LX_DEVICE void join_gradients(float (*means)[2], const float *partial,
                              const norm_shape &s)
{
    each_group<N>(s, [&](int g, int i, int lane) {
        float sum = 0, dot = 0;
        for (int k = lane; k < s.n_chunks; k += 32) {
            sum += partial[partial_at(s, blockIdx.z, k, g)];
            dot += partial[partial_at(s, blockIdx.z, k, g) + 1];
        }
        sum = lx_warp_sum(sum);
        dot = lx_warp_sum(dot);
        if (lane == 0) {
            means[i][0] = sum / ((float)s.P * s.width);
            means[i][1] = dot / ((float)s.P * s.width);
        }
    });
    __syncthreads();
}

/* Channel c of row 0 in the part of dx that it belongs to, the step from row to row; NULL if nobody wants it. */
template <class T> struct part_of_dx {
    T *data;
    int step;
};

template <class T>
LX_DEVICE part_of_dx<T> part_at(const lx_cuda_norm_parts &parts, int C, int c)
{
    if (c < parts.width)
        return {parts.a ? static_cast<T *>(parts.a) + c : nullptr, parts.width};
    return {parts.b ? static_cast<T *>(parts.b) + c - parts.width : nullptr,
            C - parts.width};
}

template <class T, int N>
__global__ void __launch_bounds__(TILE_THREADS)
    gradient(lx_cuda_norm_parts dx, const T *dy, const T *x, lx_weight w, lx_weight bias,
             const float *stats, const float *partial, const T *plus, norm_shape s)
{
    __shared__ float means[MOST_GROUPS][2];
    const tile t = my_tile<N>(s);
    channel ch[N];
    float sum[N], dot[N];
    const part_of_dx<T> part = part_at<T>(dx, s.C, t.c0);

    join_gradients<N>(means, partial, s);
    if (!t.is_inside || (!part.data && !dx.sum))
        return; /* no collective follows */
    channels_at<N>(ch, stats, w, bias, s, blockIdx.z, t.c0);
#pragma unroll
    for (int i = 0; i < N; i++) {
        const float *of = means[(threadIdx.x * N + i) / s.width];
        sum[i] = of[0];
        dot[i] = of[1];
    }
    /* Of two rows' loads in flight at once; of more, sm_86 keeps numbers outside of registers. */
#pragma unroll 2
    for (int64_t p = t.row; p < t.end; p += blockDim.y) {
        const int64_t at = t.base + p * s.C;
        const lx_pack<T, N> v = lx_load<T, N>(x + at), d = lx_load<T, N>(dy + at);
        lx_pack<T, N> a = d, more = {};
        if (plus)
            a = lx_load<T, N>(plus + at);
        if (dx.more)
            more = lx_load<T, N>(static_cast<const T *>(dx.more) + at);
#pragma unroll
        for (int i = 0; i < N; i++) {
            const float xhat = (lx_widen(v.at[i]) - ch[i].mean) * ch[i].rstd;
            const float g = at_xhat(lx_widen(d.at[i]), xhat, ch[i], s.has_silu);
            const float z = ch[i].rstd * (g - sum[i] - xhat * dot[i]);
            a.at[i] = lx_narrow<T>(plus ? lx_widen(a.at[i]) + z : z);
            more.at[i] = lx_narrow<T>(lx_widen(a.at[i]) + lx_widen(more.at[i]));
        }
        if (part.data)
            lx_store<T, N>(part.data + ((int64_t)blockIdx.z * s.P + p) * part.step, a);
        if (dx.sum)
            lx_store<T, N>(static_cast<T *>(dx.sum) + at, more);
    }
}

/* One block per group of a small tensor. */
template <class T, int THREADS>
__global__ void __launch_bounds__(THREADS)
    small_gradient(lx_cuda_norm_parts dx, const T *dy, const T *x, lx_weight w,
                   lx_weight bias, const float *stats, const T *plus, norm_shape s)
{
    __shared__ float shared[THREADS / 32];
    const int g = blockIdx.x, b = blockIdx.y, n = (int)s.P * s.width;
    const int64_t base = (int64_t)b * s.P * s.C + g * s.width;
    float sum = 0, dot = 0;

    for (int i = threadIdx.x; i < n; i += THREADS) {
        const int64_t at = base + (int64_t)(i / s.width) * s.C + i % s.width;
        const channel ch = channel_at(stats, w, bias, s, b, g * s.width + i % s.width);
        const float xhat = (lx_widen(x[at]) - ch.mean) * ch.rstd;
        const float v = at_xhat(lx_widen(dy[at]), xhat, ch, s.has_silu);
        sum += v;
        dot += v * xhat;
    }
    sum = lx_block_sum<THREADS>(sum, shared) / n;
    dot = lx_block_sum<THREADS>(dot, shared) / n;
    for (int i = threadIdx.x; i < n; i += THREADS) {
        const int64_t at = base + (int64_t)(i / s.width) * s.C + i % s.width;
        const channel ch = channel_at(stats, w, bias, s, b, g * s.width + i % s.width);
        const float xhat = (lx_widen(x[at]) - ch.mean) * ch.rstd;
        const float v = at_xhat(lx_widen(dy[at]), xhat, ch, s.has_silu);
        const float z = ch.rstd * (v - sum - xhat * dot);
        const part_of_dx<T> part = part_at<T>(dx, s.C, g * s.width + i % s.width);
        const T rounded = lx_narrow<T>(plus ? lx_widen(plus[at]) + z : z);
        if (part.data)
            part.data[((int64_t)b * s.P + i / s.width) * part.step] = rounded;
        if (dx.sum)
            static_cast<T *>(dx.sum)[at] = lx_narrow<T>(
                lx_widen(rounded) + lx_widen(static_cast<const T *>(dx.more)[at]));
    }
}

/* ---- host -------------------------------------------------------------------------------- */

/* The fewest packs of n channels that are whole groups. */
static int packs_of_groups(const norm_shape &s, int n)
{
    int a = s.width, b = n;

    while (b) {
        const int rest = a % b;
        a = b;
        b = rest;
    }
    return s.width / a;
}

/* One block a group, also where a tile of whole groups would have too many channels. */
static bool is_small(const norm_shape &s)
{
    return s.width > TILE_THREADS ||
           s.P * s.width <=
               ((int64_t)s.B * s.G < MANY_GROUPS ? SMALL_GROUP : LARGE_GROUP);
}

/* f with the threads of a block that does a group alone. */
template <class F> static void with_threads(const norm_shape &s, F f)
{
    if (s.P * s.width <= FEW_ELEMENTS)
        f(std::integral_constant<int, FEW_THREADS>());
    else
        f(std::integral_constant<int, MANY_THREADS>());
}

/* Threads of a tile, x over channels of whole groups and y over rows, and the grid of tiles. */
static void tiles(dim3 *grid, dim3 *threads, const norm_shape &s, int n)
{
    const int packs = s.C / n, least = packs_of_groups(s, n);
    int x = least > 32 ? least : 32 / least * least;

    while (x > packs || (packs % x && x > 16 && x > least))
        x -= least; /* 40 packs are two tiles of 20 rather than 32 and 8 */
    *threads = dim3((unsigned)x, (unsigned)(TILE_THREADS / x));
    *grid = dim3((unsigned)s.n_chunks, (unsigned)lx_ceil_div(packs, x), (unsigned)s.B);
}

/* How rows are cut depends on the shape alone, not on the type or the device: so do the sums. */
static norm_shape shape_of(const lx_call *call, const lx_arg *x)
{
    norm_shape s = {};

    s.B = (int)x->shape[0];
    s.C = (int)lx_arg_width(x);
    s.G = call->attrs.norm.n_groups;
    s.P = s.B ? lx_arg_rows(x) / s.B : 0;
    s.width = s.C / s.G;
    s.eps = call->attrs.norm.eps;
    s.has_silu = call->attrs.norm.has_silu;
    const int64_t most = lx_ceil_div(s.P, 32),
                  wanted = lx_ceil_div(512, s.B * lx_ceil_div(s.C, 128));
    s.n_chunks = (int)(most < wanted ? most : wanted);
    s.chunk = s.n_chunks ? (int)lx_ceil_div(s.P, s.n_chunks) : 0;
    s.n_chunks = s.chunk ? (int)lx_ceil_div(s.P, s.chunk) : 0;
    return s;
}

static size_t partial_floats(const norm_shape &s)
{
    return (size_t)s.B * s.G * (2 * s.n_chunks + 1);
}

/* Scratch of both directions: the partial sums, and where those of the forward direction begin. */
static int prepare(lx_device *, lx_call *call, bool is_sizing, lx_error *err)
{
    const norm_shape s = shape_of(call, &call->in[0]);

    if (is_sizing && !is_small(s))
        call->scratch_bytes = partial_floats(s) * sizeof(float);
    return lx_check_types_of(call, &call->in[0], err);
}

template <class T, bool GATHERS>
static void forward(lx_device *dev, const lx_call *call, void *scratch,
                    const lx_cuda_norm_source &from, const norm_shape &s)
{
    const T *x = static_cast<const T *>(GATHERS ? from.x : call->in[0].data);
    T *y = lx_out<T>(call, 0);
    const lx_weight w = lx_weight_of(call, 1), bias = lx_weight_of(call, 2);
    float *stats = lx_out<float>(call, 1), *partial = static_cast<float *>(scratch);
    const dim3 groups((unsigned)s.G, (unsigned)s.B);
    const int width = GATHERS && from.b ? from.width : s.C;

    if (is_small(s)) {
        with_threads(s, [&](auto threads) {
            constexpr int THREADS = decltype(threads)::value;
            LX_LAUNCH(dev, (small_group_norm<T, THREADS, GATHERS>), groups, THREADS, 0, y,
                      stats, x, w, bias, s, from);
        });
        return;
    }
    lx_with_pack<T>(
        s.C % lx_per_16<T>::N ? s.C : width,
        {x, y, w.data, bias.data, from.a, from.b, from.plus, from.bias, from.shift},
        [&](auto pack) {
            constexpr int N = decltype(pack)::value;
            dim3 grid, threads;
            tiles(&grid, &threads, s, N);
            LX_LAUNCH(dev, (partial_moments<T, N, GATHERS>), grid, threads, 0, partial, x,
                      s, from);
            LX_LAUNCH(dev, (normalise<T, N>), grid, threads, 0, y, x, w, bias, stats,
                      partial, s);
        });
}

static void run_group_norm(lx_device *dev, const lx_call *call)
{
    const norm_shape s = shape_of(call, &call->in[0]);

    if (s.B && s.P)
        lx_with_type(call->in[0].dtype, [&](auto t) {
            forward<decltype(t), false>(dev, call, call->scratch, {}, s);
        });
}

void lx_cuda_group_norm_of(lx_device *dev, const lx_call *call, void *scratch,
                           const lx_cuda_norm_source *from)
{
    const norm_shape s = shape_of(call, &call->in[0]);

    if (!s.B || !s.P)
        return;
    if (call->in[0].dtype == LX_F16)
        forward<lx_f16, true>(dev, call, scratch, *from, s);
    else
        forward<lx_bf16, true>(dev, call, scratch, *from, s);
}

template <class T>
static void backward(lx_device *dev, const lx_call *call, void *scratch,
                     const lx_cuda_norm_parts &dx, const norm_shape &s)
{
    const T *dy = lx_in<T>(call, 0), *x = lx_in<T>(call, 1), *plus = lx_in<T>(call, 5);
    const lx_weight w = lx_weight_of(call, 2), bias = lx_weight_of(call, 3);
    const float *stats = lx_in<float>(call, 4);
    float *partial = static_cast<float *>(scratch);
    const dim3 groups((unsigned)s.G, (unsigned)s.B);

    if (is_small(s)) {
        with_threads(s, [&](auto threads) {
            constexpr int THREADS = decltype(threads)::value;
            LX_LAUNCH(dev, (small_gradient<T, THREADS>), groups, THREADS, 0, dx, dy, x, w,
                      bias, stats, plus, s);
        });
        return;
    }
    lx_with_pack<T>(s.C % lx_per_16<T>::N ? s.C : dx.width,
                    {dy, x, plus, dx.a, dx.b, dx.more, dx.sum, w.data, bias.data},
                    [&](auto pack) {
                        constexpr int N = decltype(pack)::value;
                        dim3 grid, threads;
                        tiles(&grid, &threads, s, N);
                        LX_LAUNCH(dev, (partial_gradients<T, N>), grid, threads, 0,
                                  partial, dy, x, w, bias, stats, s);
                        LX_LAUNCH(dev, (gradient<T, N>), grid, threads, 0, dx, dy, x, w,
                                  bias, stats, partial, plus, s);
                    });
}

void lx_cuda_group_norm_dx_to(lx_device *dev, const lx_call *call, void *scratch,
                              const lx_cuda_norm_parts *parts)
{
    const norm_shape s = shape_of(call, &call->in[0]);

    if (s.B && s.P)
        lx_with_type(call->in[0].dtype, [&](auto t) {
            backward<decltype(t)>(dev, call, scratch, *parts, s);
        });
}

static void run_group_norm_dx(lx_device *dev, const lx_call *call)
{
    const lx_cuda_norm_parts whole = {call->out[0].data, nullptr,
                                      (int)lx_arg_width(&call->out[0]), nullptr, nullptr};

    lx_cuda_group_norm_dx_to(dev, call, call->scratch, &whole);
}

const lx_kernel lx_cuda_group_norm = {prepare, run_group_norm, nullptr};
const lx_kernel lx_cuda_group_norm_dx = {prepare, run_group_norm_dx, nullptr};
