/*
 * cuda_emulation/emulation - CUDA's device language for a C++ compiler
 *
 * A .cu file compiled as C++ with LX_CUDA_EMULATION defined gets this through kernels/cuda/dialect.cuh
 * and runs on the processor (block.cpp): blocks one after another, the threads of a block as fibers.
 * A warp's collective is a meeting of its lanes, and the last to come computes the results of all:
 * mma and ldmatrix are therefore exact to the lane.
 *
 * Only what lx's kernels use is here. Half types are storage (dialect.cuh); arithmetic is f32.
 */
#ifndef LX_CUDA_EMULATION_EMULATION_H
#define LX_CUDA_EMULATION_EMULATION_H

#include <cmath>
#include <cstdint>
#include <cstring>
#include <tuple>
#include <type_traits>
#include <utility>

#include "cuda_runtime_api.h"

#define __host__
#define __device__
#define __global__
#define __constant__ static const
#define __shared__ \
    static thread_local /* found by the checker as the program's TLS segment */
#define __launch_bounds__(...)
#define __forceinline__ inline __attribute__((always_inline))
#define __align__(n) __attribute__((aligned(n)))

#ifndef __VECTOR_TYPES_H__
struct uint3 {
    unsigned x, y, z;
};
struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z)
    {
    }
};
#endif

namespace lx_emu
{

struct warp;
struct block;

/* Where in a kernel's source a thread waits. */
struct site {
    const char *file;
    int line;
};

/* One CUDA thread. */
struct thread {
    uint3 index;
    block *home;
    warp *its_warp;
    void *stack_pointer, *stack;
    site at;
    uint16_t number; /* in the block */
    uint8_t lane;
    bool is_done;
    unsigned copies; /* asynchronous copies not waited for */
    /* operands of a collective */
    const void *in;
    void *out;
    int argument;
};

/* What the last lane to come does: reads every lane's `in`, writes every lane's `out`. */
typedef void (*meeting)(warp *w, unsigned lanes);

struct block {
    uint3 index;
    dim3 threads, grid;
    size_t shared_bytes;
    unsigned char *shared; /* dynamic shared memory */
};

extern thread *current; /* NULL on the host */

/* A kernel with its arguments. */
struct job {
    const char *name;
    const void *function;
    void (*call)(void *closure);
    void *closure;
    size_t closure_bytes;
};

[[noreturn]] void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
int wait_for_block(int vote, site at);
void meet(meeting end, unsigned mask, site at);
void copy_async(void *dst, const void *src, int bytes, int from_source);
void copy_commit();
void copy_wait(int groups_left);
void touch_atomic(const void *p, size_t bytes); /* tells the checker */
[[noreturn]] void fail_alignment(const void *p, size_t bytes);

/* Told what is moved at once, while traffic is counted; else NULL. */
extern void (*note_pack)(const void *p, size_t bytes);

/* What is moved at once must lie at a multiple of its size, however little of it is used. */
inline void need_aligned(const void *p, size_t bytes)
{
    if (note_pack)
        note_pack(p, bytes);
    if (reinterpret_cast<uintptr_t>(p) & (bytes - 1))
        fail_alignment(p, bytes);
}

void end_sync(warp *w, unsigned lanes);
void end_shuffle(warp *w, unsigned lanes);
void end_ballot(warp *w, unsigned lanes);
void end_mma_f16(warp *w, unsigned lanes);
void end_mma_bf16(warp *w, unsigned lanes);
void end_load_matrix(warp *w, unsigned lanes);

/* Queues the launch; refuses what a device would. The closure is freed with `drop`. */
cudaError_t launch(const job &work, void (*drop)(void *),
                   size_t (*pack)(void *, unsigned char *), dim3 grid, dim3 threads,
                   size_t shared_bytes, cudaStream_t stream);

/* A call kept for later. */
template <class... Parameters> struct closure {
    void (*kernel)(Parameters...);
    std::tuple<typename std::decay<Parameters>::type...> arguments;

    static void call(void *self)
    {
        auto *c = static_cast<closure *>(self);
        std::apply(c->kernel, c->arguments);
    }
    static void drop(void *self)
    {
        delete static_cast<closure *>(self);
    }
    /* The parameter block that a launch on a device would get; its size. */
    static size_t pack(void *self, unsigned char *to)
    {
        size_t n = 0;
        auto put = [&](auto &x) {
            n = (n + alignof(decltype(x)) - 1) / alignof(decltype(x)) *
                alignof(decltype(x));
            memcpy(to + n, &x, sizeof x);
            n += sizeof x;
        };
        std::apply([&](auto &...x) { (put(x), ...); },
                   static_cast<closure *>(self)->arguments);
        return n;
    }
};

/* A shuffle: `from` is the lane whose value this one gets. */
template <class T> T shuffle(unsigned mask, T value, int from, site at)
{
    uint64_t in = 0, out = 0;
    T result;

    static_assert(sizeof(T) <= sizeof in, "shuffles move at most eight bytes");
    memcpy(&in, &value, sizeof value);
    current->in = &in;
    current->out = &out;
    current->argument = from;
    meet(end_shuffle, mask, at);
    memcpy(&result, &out, sizeof result);
    return result;
}

inline unsigned ballot(unsigned mask, int vote, site at)
{
    unsigned out = 0;

    current->argument = vote != 0;
    current->out = &out;
    meet(end_ballot, mask, at);
    return out;
}

inline void multiply(meeting end, float *d, const uint32_t *a, const uint32_t *b, site at)
{
    const uint32_t in[6] = {a[0], a[1], a[2], a[3], b[0], b[1]};

    current->in = in;
    current->out = d;
    meet(end, ~0u, at);
}

inline void load_matrix(uint32_t *to, const void *row, int is_transposed, site at)
{
    current->in = row;
    current->out = to;
    current->argument = is_transposed;
    meet(end_load_matrix, ~0u, at);
}

/* One OS thread: nothing comes between. Not instrumented: the checker is told that it is atomic. */
template <class T, class F>
__attribute__((no_sanitize("thread"))) T change_atomically(T *p, F next)
{
    T old, value;

    touch_atomic(p, sizeof(T));
    __builtin_memcpy(&old, p, sizeof old);
    value = next(old);
    __builtin_memcpy(static_cast<void *>(p), &value, sizeof value);
    return old;
}

} // namespace lx_emu

#define LX_HERE      \
    lx_emu::site     \
    {                \
        file_, line_ \
    }
#define LX_SITE const char *file_ = __builtin_FILE(), int line_ = __builtin_LINE()

#define threadIdx (lx_emu::current->index)
#define blockIdx (lx_emu::current->home->index)
#define blockDim (lx_emu::current->home->threads)
#define gridDim (lx_emu::current->home->grid)
#define warpSize 32

inline void __syncthreads(LX_SITE)
{
    lx_emu::wait_for_block(0, LX_HERE);
}

inline int __syncthreads_or(int vote, LX_SITE)
{
    return lx_emu::wait_for_block(vote, LX_HERE) != 0;
}

inline void __syncwarp(unsigned mask = ~0u, LX_SITE)
{
    lx_emu::meet(lx_emu::end_sync, mask, LX_HERE);
}

template <class T>
T __shfl_sync(unsigned mask, T value, int from, int width = 32, LX_SITE)
{
    const int lane = lx_emu::current->lane;
    return lx_emu::shuffle(mask, value, (lane & ~(width - 1)) | (from & (width - 1)),
                           LX_HERE);
}

template <class T>
T __shfl_xor_sync(unsigned mask, T value, int with, int width = 32, LX_SITE)
{
    const int lane = lx_emu::current->lane, from = lane ^ with;
    const bool is_beyond = (from & ~(width - 1)) > (lane & ~(width - 1));
    return lx_emu::shuffle(mask, value, is_beyond ? lane : from, LX_HERE);
}

template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned by, int width = 32, LX_SITE)
{
    const int lane = lx_emu::current->lane, from = lane + static_cast<int>(by);
    return lx_emu::shuffle(mask, value, (from ^ lane) & ~(width - 1) ? lane : from,
                           LX_HERE);
}

template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned by, int width = 32, LX_SITE)
{
    const int lane = lx_emu::current->lane, from = lane - static_cast<int>(by);
    return lx_emu::shuffle(mask, value, from < (lane & ~(width - 1)) ? lane : from,
                           LX_HERE);
}

inline unsigned __ballot_sync(unsigned mask, int vote, LX_SITE)
{
    return lx_emu::ballot(mask, vote, LX_HERE);
}

inline int __any_sync(unsigned mask, int vote, LX_SITE)
{
    return lx_emu::ballot(mask, vote, LX_HERE) != 0;
}

inline int __all_sync(unsigned mask, int vote, LX_SITE)
{
    return lx_emu::ballot(mask, vote, LX_HERE) == mask;
}

template <class T> T atomicAdd(T *p, typename std::common_type<T>::type by)
{
    return lx_emu::change_atomically(p, [=](T old) { return static_cast<T>(old + by); });
}

template <class T> T atomicMax(T *p, typename std::common_type<T>::type with)
{
    return lx_emu::change_atomically(p, [=](T old) { return old > with ? old : with; });
}

template <class T> T atomicOr(T *p, typename std::common_type<T>::type with)
{
    return lx_emu::change_atomically(p, [=](T old) { return old | with; });
}

inline void __threadfence()
{
}

template <class T> T __ldg(const T *p)
{
    return *p;
}

inline float rsqrtf(float x)
{
    return 1 / sqrtf(x);
}

inline unsigned __umulhi(unsigned a, unsigned b)
{
    return static_cast<unsigned>(static_cast<uint64_t>(a) * b >> 32);
}

inline float __fmul_rn(float a, float b)
{
    return a * b; /* compiled without contraction */
}

inline float __fadd_rn(float a, float b)
{
    return a + b;
}

inline unsigned __float_as_uint(float x)
{
    unsigned bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

inline float __uint_as_float(unsigned bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

template <class T> T min(T a, T b)
{
    return b < a ? b : a;
}

template <class T> T max(T a, T b)
{
    return a < b ? b : a;
}

#endif
