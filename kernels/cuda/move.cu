/*
 * Ops that move elements without computing: concat, slice, permute, upsample_nearest, embedding,
 * cast; and timestep_embedding, which makes a few.
 *
 * Runs of elements are moved in the largest units of 16, 8, 4, 2 or 1 bytes that divide them.
 */
#include "kernels/cuda/dialect.cuh"

enum { THREADS = 256 };

/* 16 bytes. */
struct __align__(16) lx_quad
{
    uint32_t at[4];
};

static size_t item_bytes(const lx_arg *arg)
{
    return (size_t)lx_dtype_bits(arg->dtype) / 8;
}

static int64_t product(const int64_t *shape, int n)
{
    int64_t result = 1;
    for (int i = 0; i < n; i++)
        result *= shape[i];
    return result;
}

/* f with a value of the largest unit of which all these numbers (of bytes, and addresses) are made. */
template <class F> static void with_unit(std::initializer_list<uintptr_t> numbers, F f)
{
    uintptr_t all = 0;

    for (uintptr_t n : numbers)
        all |= n;
    if (all % 16 == 0)
        f(lx_quad());
    else if (all % 8 == 0)
        f(uint64_t());
    else if (all % 4 == 0)
        f(uint32_t());
    else if (all % 2 == 0)
        f(uint16_t());
    else
        f(uint8_t());
}

static uintptr_t address(const void *p)
{
    return reinterpret_cast<uintptr_t>(p);
}

/* ---- concat, slice ------------------------------------------------------------------------ */

/* Row blockIdx.y.. of y is `a` units from a, then b's. */
template <class U>
__global__ void __launch_bounds__(THREADS)
    join_rows(U *y, const U *a, const U *b, int64_t rows, int64_t width_a,
              int64_t width_b)
{
    const int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x,
                  width = width_a + width_b;

    if (i >= width)
        return;
    for (int64_t r = blockIdx.y; r < rows; r += gridDim.y)
        y[r * width + i] =
            i < width_a ? a[r * width_a + i] : b[r * width_b + i - width_a];
}

/* Row r of y [rows, width] is x [rows, from] from `skip` on; what lies outside x is 0. */
template <class U>
__global__ void __launch_bounds__(THREADS)
    shift_rows(U *y, const U *x, int64_t rows, int64_t width, int64_t from, int64_t skip)
{
    const int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x, at = i + skip;

    if (i >= width)
        return;
    for (int64_t r = blockIdx.y; r < rows; r += gridDim.y)
        lx_store<U, 1>(y + r * width + i, at >= 0 && at < from
                                              ? lx_load<U, 1>(x + r * from + at)
                                              : lx_pack<U, 1>());
}

/* Rows in the grid's y, which CUDA limits. */
static dim3 row_grid(int64_t units, int64_t rows)
{
    return dim3(lx_blocks(units, THREADS), (unsigned)(rows < 32768 ? rows : 32768));
}

static void run_concat(lx_device *dev, const lx_call *call)
{
    const lx_arg *a = &call->in[0], *b = &call->in[1], *y = &call->out[0];
    const int64_t item = (int64_t)item_bytes(y);
    int dim = 0;

    while (dim + 1 < y->n_dims && a->shape[dim] == y->shape[dim])
        dim++;
    const int64_t rows = product(y->shape, dim);
    const int64_t run_a = product(a->shape + dim, a->n_dims - dim) * item;
    const int64_t run_b = product(b->shape + dim, b->n_dims - dim) * item;
    if (!rows || run_a + run_b == 0)
        return;
    with_unit({(uintptr_t)run_a, (uintptr_t)run_b, address(a->data), address(b->data),
               address(y->data)},
              [&](auto u) {
                  typedef decltype(u) U;
                  const int64_t n = sizeof(U), units = (run_a + run_b) / n;
                  LX_LAUNCH(dev, join_rows<U>, row_grid(units, rows), THREADS, 0,
                            static_cast<U *>(y->data), static_cast<const U *>(a->data),
                            static_cast<const U *>(b->data), rows, run_a / n, run_b / n);
              });
}

/* Bytes of one step in dimension dim. */
static int64_t inner_bytes(const lx_arg *arg, int dim)
{
    return product(arg->shape + dim + 1, arg->n_dims - dim - 1) *
           (int64_t)item_bytes(arg);
}

/* Slices y out of x at `skip` steps; a negative one puts x into y. */
static void launch_shift(lx_device *dev, const lx_arg *y, const lx_arg *x, int dim,
                         int64_t steps)
{
    const int64_t inner = inner_bytes(x, dim), rows = product(x->shape, dim);
    const int64_t width = y->shape[dim] * inner, from = x->shape[dim] * inner,
                  skip = steps * inner;

    if (!rows || !width)
        return;
    with_unit({(uintptr_t)width, (uintptr_t)from, (uintptr_t)skip, address(x->data),
               address(y->data)},
              [&](auto u) {
                  typedef decltype(u) U;
                  const int64_t n = sizeof(U);
                  LX_LAUNCH(dev, shift_rows<U>, row_grid(width / n, rows), THREADS, 0,
                            static_cast<U *>(y->data), static_cast<const U *>(x->data),
                            rows, width / n, from / n, skip / n);
              });
}

static void run_slice(lx_device *dev, const lx_call *call)
{
    launch_shift(dev, &call->out[0], &call->in[0], call->attrs.slice.dim,
                 call->attrs.slice.begin);
}

static void run_slice_dx(lx_device *dev, const lx_call *call)
{
    launch_shift(dev, &call->out[0], &call->in[0], call->attrs.slice.dim,
                 -call->attrs.slice.begin);
}

const lx_kernel lx_cuda_concat = {nullptr, run_concat, nullptr};
const lx_kernel lx_cuda_slice = {nullptr, run_slice, nullptr};
const lx_kernel lx_cuda_slice_dx = {nullptr, run_slice_dx, nullptr};

/* ---- permute ------------------------------------------------------------------------------ */

/* Of y's dimensions: sizes, and steps in x. */
struct permutation {
    int n_dims;
    int64_t shape[LX_MAX_DIMS], stride[LX_MAX_DIMS];
};

template <class U>
__global__ void __launch_bounds__(THREADS)
    permute(U *y, const U *x, permutation p, int64_t n)
{
    const int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    int64_t rest = i, from = 0;

    if (i >= n)
        return;
#pragma unroll
    for (int d = LX_MAX_DIMS - 1; d >= 0; d--)
        if (d < p.n_dims) {
            from += rest % p.shape[d] * p.stride[d];
            rest /= p.shape[d];
        }
    y[i] = x[from];
}

static void run_permute(lx_device *dev, const lx_call *call)
{
    const lx_arg *x = &call->in[0], *y = &call->out[0];
    const int64_t n = lx_arg_count(y);
    permutation p = {};

    p.n_dims = y->n_dims;
    for (int i = 0; i < y->n_dims; i++) {
        const int dim = call->attrs.permute.dims[i];
        p.shape[i] = y->shape[i];
        p.stride[i] = product(x->shape + dim + 1, x->n_dims - dim - 1);
    }
    if (n)
        with_unit({item_bytes(y)}, [&](auto u) {
            typedef decltype(u) U;
            LX_LAUNCH(dev, permute<U>, lx_blocks(n, THREADS), THREADS, 0,
                      static_cast<U *>(y->data), static_cast<const U *>(x->data), p, n);
        });
}

const lx_kernel lx_cuda_permute = {nullptr, run_permute, nullptr};

/* ---- upsample_nearest --------------------------------------------------------------------- */

/* Pixel of `in` that pixel i of `out` comes from. */
LX_DEVICE int source(int i, int in, int out)
{
    const int at = (int)floorf(__fmul_rn((float)i, (float)in / (float)out));
    return min(at, in - 1);
}

/* A thread a unit, a block a row of y's pixels: y [B, H, W, C units], x [B, h, w, C]. */
template <class U>
__global__ void __launch_bounds__(THREADS)
    upsample(U *y, const U *x, int h, int w, int H, int W, int C)
{
    const int64_t row = (int64_t)blockIdx.z * H + blockIdx.y;
    const int64_t from = ((int64_t)blockIdx.z * h + source(blockIdx.y, h, H)) * w;
    const int i = blockIdx.x * THREADS + threadIdx.x;

    if (i < W * C)
        y[row * W * C + i] = x[(from + source(i / C, w, W)) * C + i % C];
}

/* The first pixel of `out` that comes from `at` or later ones. */
LX_DEVICE int first_target(int at, int in, int out)
{
    int i = (int)((int64_t)at * out / in);

    while (i > 0 && source(i - 1, in, out) >= at)
        i--;
    while (i < out && source(i, in, out) < at)
        i++;
    return i;
}

template <class T>
__global__ void __launch_bounds__(THREADS)
    upsample_dx(T *dx, const T *dy, int h, int w, int H, int W, int C)
{
    const int i = blockIdx.x * THREADS + threadIdx.x;
    const int column = i / C, c = i % C, row = blockIdx.y;

    if (i >= w * C)
        return;
    const int top = first_target(row, h, H), bottom = first_target(row + 1, h, H);
    const int left = first_target(column, w, W), right = first_target(column + 1, w, W);
    float sum = 0;
    for (int y = top; y < bottom; y++)
        for (int x = left; x < right; x++)
            sum += lx_widen(dy[(((int64_t)blockIdx.z * H + y) * W + x) * C + c]);
    dx[(((int64_t)blockIdx.z * h + row) * w + column) * C + c] = lx_narrow<T>(sum);
}

static void run_upsample_nearest(lx_device *dev, const lx_call *call)
{
    const lx_arg *x = &call->in[0], *y = &call->out[0];
    const int64_t bytes = x->shape[3] * (int64_t)item_bytes(x);

    if (lx_arg_count(y))
        with_unit({(uintptr_t)bytes, address(x->data), address(y->data)}, [&](auto u) {
            typedef decltype(u) U;
            const int C = (int)(bytes / (int64_t)sizeof(U)), W = (int)y->shape[2];
            const dim3 grid(lx_blocks((int64_t)W * C, THREADS), (unsigned)y->shape[1],
                            (unsigned)y->shape[0]);
            LX_LAUNCH(dev, upsample<U>, grid, THREADS, 0, static_cast<U *>(y->data),
                      static_cast<const U *>(x->data), (int)x->shape[1], (int)x->shape[2],
                      (int)y->shape[1], W, C);
        });
}

static void run_upsample_nearest_dx(lx_device *dev, const lx_call *call)
{
    const lx_arg *dy = &call->in[0], *dx = &call->out[0];
    const int w = (int)dx->shape[2], C = (int)dx->shape[3];
    const dim3 grid(lx_blocks((int64_t)w * C, THREADS), (unsigned)dx->shape[1],
                    (unsigned)dx->shape[0]);

    if (lx_arg_count(dx))
        lx_with_type(dx->dtype, [&](auto t) {
            typedef decltype(t) T;
            LX_LAUNCH(dev, upsample_dx<T>, grid, THREADS, 0, lx_out<T>(call, 0),
                      lx_in<T>(call, 0), (int)dx->shape[1], w, (int)dy->shape[1],
                      (int)dy->shape[2], C);
        });
}

const lx_kernel lx_cuda_upsample_nearest = {nullptr, run_upsample_nearest, nullptr};
const lx_kernel lx_cuda_upsample_nearest_dx = {lx_check_types, run_upsample_nearest_dx,
                                               nullptr};

/* ---- embedding, timestep_embedding, cast -------------------------------------------------- */

template <class T>
__global__ void __launch_bounds__(THREADS)
    embedding(T *y, const int64_t *ids, lx_weight table, int64_t n, int64_t V, int D)
{
    const int c = blockIdx.x * THREADS + threadIdx.x;

    if (c >= D)
        return;
    for (int64_t i = blockIdx.y; i < n; i += gridDim.y) {
        const int64_t id = ids[i];
        y[i * D + c] =
            lx_narrow<T>(id >= 0 && id < V ? lx_weight_at(table, id * D + c) : NAN);
    }
}

static void run_embedding(lx_device *dev, const lx_call *call)
{
    const int64_t n = lx_arg_count(&call->in[0]);
    const int D = (int)call->in[1].shape[1];

    if (!n || !D)
        return;
    lx_with_type(call->out[0].dtype, [&](auto t) {
        typedef decltype(t) T;
        LX_LAUNCH(dev, embedding<T>, row_grid(D, n), THREADS, 0, lx_out<T>(call, 0),
                  lx_in<int64_t>(call, 0), lx_weight_of(call, 1), n, call->in[1].shape[0],
                  D);
    });
}

/* In f64 where the CPU is: a thousand values a step. t is f32, or i64 when `steps` is given. */
template <class T>
__global__ void __launch_bounds__(THREADS)
    timestep_embedding(T *y, const float *t, const int64_t *steps, int dim)
{
    const int i = blockIdx.x * THREADS + threadIdx.x, half = dim / 2;
    const float at = steps ? (float)steps[blockIdx.y] : t[blockIdx.y];

    y += (int64_t)blockIdx.y * dim;
    if (i < half) {
        const float exponent = -9.21034037197618f * (float)i / (float)half;
        const float argument = at * (float)exp((double)exponent);
        y[i] = lx_narrow<T>((float)cos((double)argument));
        y[half + i] = lx_narrow<T>((float)sin((double)argument));
    } else if (i == half && dim % 2) {
        y[dim - 1] = lx_narrow<T>(0);
    }
}

static void run_timestep_embedding(lx_device *dev, const lx_call *call)
{
    const int64_t B = call->out[0].shape[0];
    const int dim = (int)call->out[0].shape[1];
    const bool is_whole = call->in[0].dtype == LX_I64;

    if (!B || !dim)
        return;
    lx_with_type(call->out[0].dtype, [&](auto t) {
        typedef decltype(t) T;
        LX_LAUNCH(dev, timestep_embedding<T>,
                  dim3(lx_blocks(dim / 2 + 1, THREADS), (unsigned)B), THREADS, 0,
                  lx_out<T>(call, 0), is_whole ? nullptr : lx_in<float>(call, 0),
                  is_whole ? lx_in<int64_t>(call, 0) : nullptr, dim);
    });
}

const lx_kernel lx_cuda_embedding = {lx_check_types, run_embedding, nullptr};
const lx_kernel lx_cuda_timestep_embedding = {lx_check_types, run_timestep_embedding,
                                              nullptr};

template <class Y, class X>
__global__ void __launch_bounds__(THREADS) cast(Y *y, const X *x, int64_t n)
{
    const int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x;

    if (i < n)
        y[i] = lx_narrow<Y>(lx_widen(x[i]));
}

/* Between the three types that kernels compute with; the host casts others before an upload. */
static int prepare_cast(lx_device *, lx_call *call, bool, lx_error *err)
{
    const lx_dtype from = call->in[0].dtype, to = call->out[0].dtype;

    if (lx_is_float(from) && lx_is_float(to))
        return LX_OK;
    return lx_fail(err, LX_EUNSUPPORTED, "%s: cannot cast %s to %s on a GPU", call->label,
                   lx_dtype_name(from), lx_dtype_name(to));
}

static void run_cast(lx_device *dev, const lx_call *call)
{
    const int64_t n = lx_arg_count(&call->in[0]);

    if (!n)
        return;
    lx_with_type(call->in[0].dtype, [&](auto from) {
        lx_with_type(call->out[0].dtype, [&](auto to) {
            typedef decltype(from) X;
            typedef decltype(to) Y;
            LX_LAUNCH(dev, (cast<Y, X>), lx_blocks(n, THREADS), THREADS, 0,
                      lx_out<Y>(call, 0), lx_in<X>(call, 0), n);
        });
    });
}

const lx_kernel lx_cuda_cast = {prepare_cast, run_cast, nullptr};
