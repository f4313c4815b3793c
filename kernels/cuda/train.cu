/* Noise, gradients and updates: kernels/cuda/train.h. */
#include "kernels/cuda/philox.cuh"

extern "C" {
#include "kernels/cuda/train.h"
}

enum { THREADS = 256 };
static_assert((int)THREADS == (int)LX_CUDA_CODES, "a thread a code");

/* ---- noise -------------------------------------------------------------------------------- */

/* In f64, as on the CPU: a step's noise is a few ten thousand numbers. */
LX_DEVICE void box_muller(float out[2], uint32_t a, uint32_t b)
{
    const double u = ((double)a + 1.0) * (1.0 / 4294967296.0);
    const double angle = (double)b * (1.0 / 4294967296.0 * 6.283185307179586476925);
    const double radius = sqrt(-2.0 * log(u));

    out[0] = (float)(radius * cos(angle));
    out[1] = (float)(radius * sin(angle));
}

__global__ void __launch_bounds__(THREADS)
    draw_noise(float *out, const lx_cuda_draw *draws, int64_t n)
{
    const int64_t block = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    const lx_cuda_draw d = draws[blockIdx.y];
    uint32_t words[4] = {(uint32_t)block, d.counter[0], d.counter[1], d.counter[2]};
    float four[4];

    if (block * 4 >= n)
        return;
    lx_philox(words, d.key[0], d.key[1]);
    box_muller(four, words[0], words[1]);
    box_muller(four + 2, words[2], words[3]);
    out += blockIdx.y * n + block * 4;
    if (n % 4 == 0) {
        lx_store<float, 4>(out, {four[0], four[1], four[2], four[3]});
        return;
    }
#pragma unroll
    for (int i = 0; i < 4; i++)
        if (block * 4 + i < n)
            out[i] = four[i];
}

void lx_cuda_noise(lx_device *dev, float *out, const lx_cuda_draw *draws, int B,
                   int64_t n)
{
    if (B && n)
        LX_LAUNCH(dev, draw_noise,
                  dim3(lx_blocks(lx_ceil_div(n, 4), THREADS), (unsigned)B), THREADS, 0,
                  out, draws, n);
}

/* ---- gradients ---------------------------------------------------------------------------- */

/* A sum over a block of THREADS, valid in thread 0. */
LX_DEVICE double sum_of_block(double x, double *shared)
{
    shared[threadIdx.x] = x;
    for (int half = THREADS / 2; half; half /= 2) {
        __syncthreads();
        if ((int)threadIdx.x < half)
            shared[threadIdx.x] += shared[threadIdx.x + half];
    }
    return shared[0];
}

/* The elements of a chunk, as a range of its tensor. */
LX_DEVICE int64_t chunk_end(const lx_cuda_tensor &t, int chunk)
{
    return min((int64_t)(chunk + 1) * LX_CUDA_CHUNK, t.n);
}

__global__ void __launch_bounds__(THREADS)
    sum_squares(double *sums, lx_cuda_trainables all)
{
    __shared__ double shared[THREADS];
    const lx_cuda_chunk c = all.chunks[blockIdx.x];
    const lx_cuda_tensor t = all.tensors[c.tensor];
    const int64_t end = chunk_end(t, c.chunk);
    double sum = 0;

    for (int64_t i = (int64_t)c.chunk * LX_CUDA_CHUNK + threadIdx.x; i < end;
         i += THREADS)
        sum += (double)t.gradient[i] * t.gradient[i];
    sum = sum_of_block(sum, shared);
    if (threadIdx.x == 0)
        sums[blockIdx.x] = sum;
}

__global__ void __launch_bounds__(THREADS)
    join_squares(lx_cuda_gradients *out, const double *sums, int n,
                 const float *loss_scale, float max_norm)
{
    __shared__ double shared[THREADS];
    const double scale = loss_scale ? *loss_scale : 1;
    double sum = 0;

    for (int i = threadIdx.x; i < n; i += THREADS)
        sum += sums[i];
    sum = sum_of_block(sum, shared);
    if (threadIdx.x == 0) {
        const double norm = sqrt(sum) / scale;
        const float clip = max_norm > 0 ? (float)((double)max_norm / (norm + 1e-6)) : 1;
        out->norm = norm;
        out->by = (float)((clip < 1 ? clip : 1) / scale);
        out->is_finite = norm <= 1e300; /* neither NaN nor infinite */
        out->scale = (float)scale;
    }
}

void lx_cuda_gradient_norm(lx_device *dev, lx_cuda_gradients *out,
                           const lx_cuda_trainables *t, const float *loss_scale,
                           float max_norm, double *scratch)
{
    if (t->n_chunks)
        LX_LAUNCH(dev, sum_squares, (unsigned)t->n_chunks, THREADS, 0, scratch, *t);
    LX_LAUNCH(dev, join_squares, 1, THREADS, 0, out, scratch, t->n_chunks, loss_scale,
              max_norm);
}

__global__ void update_scale(float *loss_scale, int *steps,
                             const lx_cuda_gradients *found, int interval)
{
    if (!found->is_finite) {
        *loss_scale *= 0.5f;
        steps[0] = 0;
        steps[1]++;
    } else if (++steps[0] == interval) {
        *loss_scale *= 2;
        steps[0] = 0;
    }
}

void lx_cuda_scale_update(lx_device *dev, float *loss_scale, int *steps,
                          const lx_cuda_gradients *found, int interval)
{
    LX_LAUNCH(dev, update_scale, 1, 1, 0, loss_scale, steps, found, interval);
}

/* In f64, as the host does it (src/train/updater.c). */
__global__ void __launch_bounds__(THREADS)
    adamw_rates(lx_cuda_rates *rates, int n, double b1, double b2, const int *steps)
{
    const int i = blockIdx.x * THREADS + threadIdx.x;

    if (i >= n)
        return;
    const double updates = (double)rates[i].root - steps[1];
    rates[i].step = (float)((double)rates[i].step / (1 - pow(b1, updates)));
    rates[i].root = (float)sqrt(1 - pow(b2, updates));
}

void lx_cuda_adamw_rates(lx_device *dev, lx_cuda_rates *rates, int n, double b1,
                         double b2, const int *steps)
{
    if (n)
        LX_LAUNCH(dev, adamw_rates, lx_blocks(n, THREADS), THREADS, 0, rates, n, b1, b2,
                  steps);
}

template <class T>
__global__ void __launch_bounds__(THREADS) scale_by(T *x, const float *factor, int64_t n)
{
    const int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x;

    if (i < n)
        x[i] = lx_narrow<T>(lx_widen(x[i]) * *factor);
}

void lx_cuda_scale_by(lx_device *dev, void *x, lx_dtype dtype, int64_t n,
                      const float *factor)
{
    if (n)
        lx_with_type(dtype, [&](auto t) {
            typedef decltype(t) T;
            LX_LAUNCH(dev, scale_by<T>, lx_blocks(n, THREADS), THREADS, 0,
                      static_cast<T *>(x), factor, n);
        });
}

/* ---- states of 8 bits --------------------------------------------------------------------- */

/* The code whose value is nearest: how many midpoints lie below x. */
LX_DEVICE uint8_t nearest(const float *map, float x)
{
    int low = 0, high = 255;

#pragma unroll
    for (int i = 0; i < 8; i++) {
        const int middle = (low + high) / 2;
        if ((map[middle] + map[middle + 1]) / 2 < x)
            low = middle + 1;
        else
            high = middle;
    }
    return (uint8_t)low;
}

LX_DEVICE float max_of_block(float x, float *shared)
{
    x = lx_warp_max(x);
    if (threadIdx.x % 32 == 0)
        shared[threadIdx.x / 32] = x;
    __syncthreads();
    x = shared[0];
#pragma unroll
    for (int i = 1; i < THREADS / 32; i++)
        x = fmaxf(x, shared[i]);
    __syncthreads();
    return x;
}

/* One moment of the block's 256 elements: f32 in memory, or codes and their largest magnitude. */
struct moment {
    float *wide;
    uint8_t *codes;
    float *most;
};

LX_DEVICE float read_moment(const moment &m, const float *map, int64_t i, bool is_inside)
{
    if (!is_inside)
        return 0;
    if (m.codes)
        return __fmul_rn(map[m.codes[i]], m.most[i / LX_CUDA_CODES]);
    return m.wide ? m.wide[i] : 0;
}

/* All threads of the block come here. */
LX_DEVICE void write_moment(const moment &m, const float *map, float *shared, int64_t i,
                            bool is_inside, float x)
{
    if (m.codes) {
        const float most = max_of_block(fabsf(x), shared);
        if (is_inside)
            m.codes[i] = nearest(map, __fmul_rn(x, 1.0f / fmaxf(most, 1e-38f)));
        if (threadIdx.x == 0)
            m.most[i / LX_CUDA_CODES] = most;
    } else if (m.wide && is_inside) {
        m.wide[i] = x;
    }
}

/* ---- updates ------------------------------------------------------------------------------ */

struct adamw_rule {
    /* New m and v, and the new weight. */
    static __device__ __forceinline__ float next(float w, float g, float *m, float *v,
                                                 const lx_cuda_rates &r,
                                                 const lx_cuda_betas &b, bool has_codes)
    {
        /* The two CPU rules round differently: src/train/optimizer/adamw.c and eight_bit.c. */
        if (has_codes)
            *m = __fadd_rn(__fmul_rn(*m, b.b1), __fmul_rn(b.one_less_b1, g));
        else
            *m = __fadd_rn(*m, __fmul_rn(b.one_less_b1, __fadd_rn(g, -*m)));
        *v = __fadd_rn(__fmul_rn(b.b2, *v), __fmul_rn(__fmul_rn(b.one_less_b2, g), g));
        const float down = __fadd_rn(sqrtf(*v) / r.root, b.eps);
        return __fadd_rn(__fmul_rn(w, r.keep), -__fmul_rn(r.step, *m / down));
    }
};

struct lion_rule {
    static __device__ __forceinline__ float next(float w, float g, float *m, float *,
                                                 const lx_cuda_rates &r,
                                                 const lx_cuda_betas &b, bool)
    {
        const float d = __fadd_rn(__fmul_rn(*m, b.b1), __fmul_rn(b.one_less_b1, g));
        const float sign = (float)(d > 0) - (float)(d < 0);

        *m = __fadd_rn(__fmul_rn(*m, b.b2), __fmul_rn(b.one_less_b2, g));
        return __fadd_rn(__fmul_rn(w, r.keep), -__fmul_rn(r.step, sign));
    }
};

LX_DEVICE void write_narrow(const lx_cuda_tensor &t, int64_t i, float w)
{
    if (!t.narrow)
        return;
    if (t.narrow_dtype == LX_F16)
        ((lx_f16 *)t.narrow)[i] = lx_to_f16(w);
    else
        ((lx_bf16 *)t.narrow)[i] = lx_to_bf16(w);
}

/* A block a chunk, 256 elements at a time. 8-bit tensors use AdamW's 8-bit rule however small. */
template <class R>
__global__ void __launch_bounds__(THREADS)
    update(lx_cuda_trainables all, const lx_cuda_rates *rates, lx_cuda_betas betas,
           const lx_cuda_gradients *found, const float *maps)
{
    __shared__ float map[2][256], shared[THREADS / 32];
    const lx_cuda_chunk c = all.chunks[blockIdx.x];
    const lx_cuda_tensor t = all.tensors[c.tensor];
    const lx_cuda_rates r = rates[t.group];
    const moment first = {t.m, t.m_codes, t.m_most}, second = {t.v, t.v_codes, t.v_most};
    const int64_t begin = (int64_t)c.chunk * LX_CUDA_CHUNK, end = chunk_end(t, c.chunk);
    const bool is_finite = found->is_finite;
    const float by = found->by;

    if (maps) {
        map[0][threadIdx.x] = maps[threadIdx.x];
        map[1][threadIdx.x] = maps[256 + threadIdx.x];
    }
    __syncthreads();
    for (int64_t at = begin; at < end; at += THREADS) {
        const int64_t i = at + threadIdx.x;
        const bool is_inside = i < end;
        if (is_finite) { /* the same in the whole block */
            float m = read_moment(first, map[0], i, is_inside);
            float v = read_moment(second, map[1], i, is_inside), w = 0;
            if (is_inside) {
                const float g = __fmul_rn(t.gradient[i], by);
                w = R::next(t.value[i], g, &m, &v, r, betas, maps != nullptr);
                t.value[i] = w;
                write_narrow(t, i, w);
            }
            write_moment(first, map[0], shared, i, is_inside, m);
            write_moment(second, map[1], shared, i, is_inside, v);
        }
        if (is_inside)
            t.gradient[i] = 0;
    }
}

void lx_cuda_adamw(lx_device *dev, const lx_cuda_trainables *t,
                   const lx_cuda_rates *rates, lx_cuda_betas betas,
                   const lx_cuda_gradients *found, const float *maps)
{
    if (t->n_chunks)
        LX_LAUNCH(dev, update<adamw_rule>, (unsigned)t->n_chunks, THREADS, 0, *t, rates,
                  betas, found, maps);
}

void lx_cuda_lion(lx_device *dev, const lx_cuda_trainables *t, const lx_cuda_rates *rates,
                  lx_cuda_betas betas, const lx_cuda_gradients *found, const float *maps)
{
    if (t->n_chunks)
        LX_LAUNCH(dev, update<lion_rule>, (unsigned)t->n_chunks, THREADS, 0, *t, rates,
                  betas, found, maps);
}
