/*
 * kernels/cuda/dialect - CUDA as lx's kernels speak it
 *
 * The one place that knows whether nvcc compiles, or a C++ compiler for the emulation of the tests
 * (LX_CUDA_EMULATION). Everything that is not plain CUDA C++ stands behind a function here: PTX,
 * conversions, dynamic shared memory, launches.
 *
 * Rules that keep kernels portable between the two: no <<<>>>; no return before a collective; full
 * masks; __syncwarp wherever lanes share memory; no waiting for another block; half types are
 * storage, arithmetic is f32.
 */
#ifndef LX_KERNELS_CUDA_DIALECT_CUH
#define LX_KERNELS_CUDA_DIALECT_CUH

#include <cstdint>
#include <initializer_list>
#include <tuple>
#include <type_traits>

#ifdef LX_CUDA_EMULATION
#include "tests/cuda_emulation/emulation.h"
#else
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#endif

extern "C" {
#include "kernels/cuda/cuda.h"
}

#define LX_DEVICE static __device__ __forceinline__
#define LX_FULL 0xffffffffu

/* 16-bit numbers in memory. */
struct lx_f16 {
    uint16_t bits;
};
struct lx_bf16 {
    uint16_t bits;
};

#ifdef LX_CUDA_EMULATION

#define LX_DYNAMIC_SHARED(type, name) type *name = (type *)lx_emu::current->home->shared
#define LX_NEED_ALIGNED(p, bytes) lx_emu::need_aligned(p, bytes)

LX_DEVICE float lx_widen(lx_f16 x)
{
    return lx_f32_from_f16(x.bits);
}

LX_DEVICE float lx_widen(lx_bf16 x)
{
    return lx_f32_from_bf16(x.bits);
}

LX_DEVICE lx_f16 lx_to_f16(float x)
{
    return {lx_f16_from_f32(x)};
}

LX_DEVICE lx_bf16 lx_to_bf16(float x)
{
    return {lx_bf16_from_f32(x)};
}

LX_DEVICE float lx_exp2(float x)
{
    return exp2f(x);
}

/* d += a b on tensor cores: tests/cuda_emulation/collective.cpp says who holds what. */
LX_DEVICE void lx_mma(float *d, const uint32_t *a, const uint32_t *b, lx_f16, LX_SITE)
{
    lx_emu::multiply(lx_emu::end_mma_f16, d, a, b, LX_HERE);
}

LX_DEVICE void lx_mma(float *d, const uint32_t *a, const uint32_t *b, lx_bf16, LX_SITE)
{
    lx_emu::multiply(lx_emu::end_mma_bf16, d, a, b, LX_HERE);
}

/* Four 8 x 8 matrices of 16-bit values from shared memory; each lane gives the address of a row. */
LX_DEVICE void lx_load_matrix(uint32_t *to, const void *row, LX_SITE)
{
    lx_emu::load_matrix(to, row, 0, LX_HERE);
}

LX_DEVICE void lx_load_matrix_transposed(uint32_t *to, const void *row, LX_SITE)
{
    lx_emu::load_matrix(to, row, 1, LX_HERE);
}

/* 16 bytes to shared memory in the background, zeros unless `is_there`. */
LX_DEVICE void lx_copy_async(void *shared, const void *global, bool is_there)
{
    lx_emu::copy_async(shared, global, 16, is_there ? 16 : 0);
}

LX_DEVICE void lx_copy_commit()
{
    lx_emu::copy_commit();
}

template <int GROUPS_LEFT> LX_DEVICE void lx_copy_wait()
{
    lx_emu::copy_wait(GROUPS_LEFT);
}

template <class... P, class... A>
static int lx_launch_(const char *name, void (*kernel)(P...), dim3 grid, dim3 threads,
                      size_t shared, cudaStream_t stream, A... arguments)
{
    typedef lx_emu::closure<P...> closure;
    closure *c = new closure{kernel, {static_cast<P>(arguments)...}};

    return lx_emu::launch({name, (const void *)kernel, closure::call, c, sizeof *c},
                          closure::drop, closure::pack, grid, threads, shared, stream);
}

#else

#define LX_NEED_ALIGNED(p, bytes) /* the device faults by itself */
#define LX_DYNAMIC_SHARED(type, name)                                   \
    extern __shared__ __align__(128) unsigned char lx_dynamic_shared[]; \
    type *name = reinterpret_cast<type *>(lx_dynamic_shared)

LX_DEVICE float lx_widen(lx_f16 x)
{
    return __half2float(__ushort_as_half(x.bits));
}

LX_DEVICE float lx_widen(lx_bf16 x)
{
    return __uint_as_float((uint32_t)x.bits << 16);
}

LX_DEVICE lx_f16 lx_to_f16(float x)
{
    return {__half_as_ushort(__float2half_rn(x))};
}

LX_DEVICE lx_bf16 lx_to_bf16(float x)
{
    return {__bfloat16_as_ushort(__float2bfloat16_rn(x))};
}

LX_DEVICE float lx_exp2(float x)
{
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
#define LX_MMA_16816(type)                                                      \
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32." type "." type ".f32 " \
                 "{%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};"           \
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])               \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]))
#endif

LX_DEVICE void lx_mma(float *d, const uint32_t *a, const uint32_t *b, lx_f16)
{
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
    LX_MMA_16816("f16");
#else /* sm_75 has the half of it */
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 "
                 "{%0,%1,%2,%3},{%4,%5},{%6},{%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(b[0]));
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 "
                 "{%0,%1,%2,%3},{%4,%5},{%6},{%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[2]), "r"(a[3]), "r"(b[1]));
#endif
}

LX_DEVICE void lx_mma(float *d, const uint32_t *a, const uint32_t *b, lx_bf16)
{
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
    LX_MMA_16816("bf16");
#else
    __trap(); /* sm_75 has no bf16; the host does not ask */
#endif
}

LX_DEVICE void lx_load_matrix(uint32_t *to, const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"((uint32_t)__cvta_generic_to_shared(row))
                 : "memory");
}

LX_DEVICE void lx_load_matrix_transposed(uint32_t *to, const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"((uint32_t)__cvta_generic_to_shared(row))
                 : "memory");
}

LX_DEVICE void lx_copy_async(void *shared, const void *global, bool is_there)
{
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(
                     (uint32_t)__cvta_generic_to_shared(shared)),
                 "l"(global), "r"(is_there ? 16 : 0)
                 : "memory");
#else
    *(uint4 *)shared = is_there ? *(const uint4 *)global : make_uint4(0, 0, 0, 0);
#endif
}

LX_DEVICE void lx_copy_commit()
{
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

template <int GROUPS_LEFT> LX_DEVICE void lx_copy_wait()
{
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_group %0;" ::"n"(GROUPS_LEFT) : "memory");
#endif
}

template <class... P, class... A>
static int lx_launch_(const char *, void (*kernel)(P...), dim3 grid, dim3 threads,
                      size_t shared, cudaStream_t stream, A... arguments)
{
    std::tuple<typename std::decay<P>::type...> all(static_cast<P>(arguments)...);

    return std::apply(
        [&](auto &...x) {
            void *parameters[] = {(void *)&x...};
            return (int)cudaLaunchKernel((const void *)kernel, grid, threads, parameters,
                                         shared, stream);
        },
        all);
}

#endif

LX_DEVICE float lx_widen(float x)
{
    return x;
}

/* The value x as T has it. */
template <class T> struct lx_type;
template <> struct lx_type<float> {
    static __device__ __forceinline__ float narrow(float x)
    {
        return x;
    }
};
template <> struct lx_type<lx_f16> {
    static __device__ __forceinline__ lx_f16 narrow(float x)
    {
        return lx_to_f16(x);
    }
};
template <> struct lx_type<lx_bf16> {
    static __device__ __forceinline__ lx_bf16 narrow(float x)
    {
        return lx_to_bf16(x);
    }
};

template <class T> LX_DEVICE T lx_narrow(float x)
{
    return lx_type<T>::narrow(x);
}

/* N neighbouring elements that are read or written at once; aligned to their size. */
template <class T, int N> struct __align__(sizeof(T) * N) lx_pack
{
    T at[N];
};

template <class T, int N> LX_DEVICE lx_pack<T, N> lx_load(const T *p)
{
    LX_NEED_ALIGNED(p, sizeof(lx_pack<T, N>));
    return *reinterpret_cast<const lx_pack<T, N> *>(p);
}

template <class T, int N> LX_DEVICE void lx_store(T *p, const lx_pack<T, N> &values)
{
    LX_NEED_ALIGNED(p, sizeof(lx_pack<T, N>));
    *reinterpret_cast<lx_pack<T, N> *>(p) = values;
}

/* Elements of 16 bytes. */
template <class T> struct lx_per_16 {
    enum { N = 16 / sizeof(T) };
};

/* Sums and maxima over a warp, the same in all lanes. */
LX_DEVICE float lx_warp_sum(float x)
{
#pragma unroll
    for (int i = 16; i; i >>= 1)
        x += __shfl_xor_sync(LX_FULL, x, i);
    return x;
}

LX_DEVICE float lx_warp_max(float x)
{
#pragma unroll
    for (int i = 16; i; i >>= 1)
        x = fmaxf(x, __shfl_xor_sync(LX_FULL, x, i));
    return x;
}

/* Two numbers of a type of 16 bits in a register, low first. */
template <class T> LX_DEVICE uint32_t lx_pack_two(float low, float high)
{
    return (uint32_t)lx_narrow<T>(low).bits | (uint32_t)lx_narrow<T>(high).bits << 16;
}

/* Over a block of THREADS, the same in all. `shared` [THREADS / 32] is free again afterwards. */
template <int THREADS> LX_DEVICE float lx_block_sum(float x, float *shared)
{
    x = lx_warp_sum(x);
    if (threadIdx.x % 32 == 0)
        shared[threadIdx.x / 32] = x;
    __syncthreads();
    x = 0;
#pragma unroll
    for (int i = 0; i < THREADS / 32; i++)
        x += shared[i];
    __syncthreads();
    return x;
}

/* A weight of any of the three types: where it is read once a row, a branch costs nothing. */
struct lx_weight {
    const void *data;
    int dtype;
};

LX_DEVICE float lx_weight_at(lx_weight w, int64_t i)
{
    if (w.dtype == LX_F32)
        return ((const float *)w.data)[i];
    if (w.dtype == LX_F16)
        return lx_widen(((const lx_f16 *)w.data)[i]);
    return lx_widen(((const lx_bf16 *)w.data)[i]);
}

/* N neighbouring ones: in as few loads as their type allows where w is aligned to 16 bytes, i is a
 * multiple of N and N is a power of two up to 8. */
template <int N> LX_DEVICE void lx_weights_at(float out[N], lx_weight w, int64_t i)
{
    enum { WIDE = N < 4 ? N : 4 };

    if (w.dtype == LX_F32) {
#pragma unroll
        for (int k = 0; k < N; k += WIDE) {
            const lx_pack<float, WIDE> v =
                lx_load<float, WIDE>(static_cast<const float *>(w.data) + i + k);
#pragma unroll
            for (int j = 0; j < WIDE; j++)
                out[k + j] = v.at[j];
        }
    } else if (w.dtype == LX_F16) {
        const lx_pack<lx_f16, N> v =
            lx_load<lx_f16, N>(static_cast<const lx_f16 *>(w.data) + i);
#pragma unroll
        for (int k = 0; k < N; k++)
            out[k] = lx_widen(v.at[k]);
    } else {
        const lx_pack<lx_bf16, N> v =
            lx_load<lx_bf16, N>(static_cast<const lx_bf16 *>(w.data) + i);
#pragma unroll
        for (int k = 0; k < N; k++)
            out[k] = lx_widen(v.at[k]);
    }
}

/* ---- host ------------------------------------------------------------------------------- */

/* Launches, and keeps the first error in the device's queue. */
#define LX_LAUNCH(dev, kernel, grid, threads, shared, ...)      \
    lx_note_(dev, #kernel,                                      \
             lx_launch_(#kernel, kernel, grid, threads, shared, \
                        lx_queue_of(dev)->stream, __VA_ARGS__))

/* The same where more than 48 KiB of dynamic shared memory may be asked for. */
#define LX_LAUNCH_SHARED(dev, kernel, grid, threads, shared, ...)                      \
    do {                                                                               \
        if ((shared) > 48 << 10)                                                       \
            lx_note_(dev, #kernel,                                                     \
                     cudaFuncSetAttribute(reinterpret_cast<const void *>(kernel),      \
                                          cudaFuncAttributeMaxDynamicSharedMemorySize, \
                                          (int)(shared)));                             \
        LX_LAUNCH(dev, kernel, grid, threads, shared, __VA_ARGS__);                    \
    } while (0)

static inline lx_cuda_queue *lx_queue_of(lx_device *dev)
{
    return static_cast<lx_cuda_queue *>(dev->context);
}

static inline void lx_note_(lx_device *dev, const char *kernel, int error)
{
    lx_cuda_queue *queue = lx_queue_of(dev);

    if (error && !queue->error) {
        queue->error = error;
        queue->where = kernel;
    }
}

/* f(T()) for the C++ type of a dtype: F32, F16 or BF16. */
template <class F> static void lx_with_type(lx_dtype dtype, F f)
{
    if (dtype == LX_F16)
        f(lx_f16());
    else if (dtype == LX_BF16)
        f(lx_bf16());
    else
        f(float());
}

/* NULL when absent. */
template <class T> static const T *lx_in(const lx_call *call, int i)
{
    return i < call->n_in ? static_cast<const T *>(call->in[i].data) : nullptr;
}

template <class T> static T *lx_out(const lx_call *call, int i)
{
    return i < call->n_out ? static_cast<T *>(call->out[i].data) : nullptr;
}

static inline lx_weight lx_weight_of(const lx_call *call, int i)
{
    return {call->in[i].data, call->in[i].dtype};
}

static inline int64_t lx_ceil_div(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

static inline bool lx_is_aligned(const void *p, size_t to)
{
    return reinterpret_cast<uintptr_t>(p) % to == 0;
}

/* Blocks of `threads` for n threads. */
static inline unsigned lx_blocks(int64_t n, int threads)
{
    return (unsigned)lx_ceil_div(n, threads);
}

/* f with how many elements of T a thread moves at once: 16 bytes if runs of `width` elements are
 * made of such and all pointers allow it (NULL does), else one. */
template <class T, class F>
static void lx_with_pack(int64_t width, std::initializer_list<const void *> pointers, F f)
{
    bool is_packed = width % lx_per_16<T>::N == 0;

    for (const void *p : pointers)
        is_packed = is_packed && lx_is_aligned(p, 16);
    if (is_packed)
        f(std::integral_constant<int, lx_per_16<T>::N>());
    else
        f(std::integral_constant<int, 1>());
}

/* Is this a type that kernels compute with? */
static inline bool lx_is_float(lx_dtype dtype)
{
    return dtype == LX_F32 || dtype == LX_F16 || dtype == LX_BF16;
}

/* Refuses a call whose `arg` is of another type. */
static inline int lx_check_types_of(const lx_call *call, const lx_arg *arg, lx_error *err)
{
    if (lx_is_float(arg->dtype))
        return LX_OK;
    return lx_fail(err, LX_EUNSUPPORTED, "%s: %s of %s is not done on a GPU", call->label,
                   lx_op_name(call->op), lx_dtype_name(arg->dtype));
}

/* The `prepare` of kernels that need nothing else. */
static inline int lx_check_types(lx_device *, lx_call *call, bool, lx_error *err)
{
    return lx_check_types_of(call, &call->out[0], err);
}

#endif
