/*
 * cuda_emulation/ptx_body - what ptx_translate's output is written in
 *
 * A register holds bits; an instruction says as what they are read. Addresses of shared memory are
 * offsets: static variables from 0, the dynamic part from DYNAMIC_SHARED.
 */
#ifndef LX_CUDA_EMULATION_PTX_BODY_H
#define LX_CUDA_EMULATION_PTX_BODY_H

#include "tests/cuda_emulation/emulation.h"
#include "tests/cuda_emulation/ptx.h"

extern "C" {
#include "src/base/dtype.h"
}

enum { DYNAMIC_SHARED = 0x10000, MOST_STATIC = 48 << 10 };

static thread_local unsigned char static_shared[MOST_STATIC]
    __attribute__((aligned(128)));

/* A register or a literal, read as T. */
template <class T, class R> static inline T as(R v)
{
    if constexpr (std::is_integral<R>::value && std::is_integral<T>::value) {
        return (T)v;
    } else {
        T out;
        static_assert(sizeof(T) <= sizeof(R), "a register too small");
        __builtin_memcpy(&out, &v, sizeof out);
        return out;
    }
}

template <class R, class T> static inline void set(R &to, T v)
{
    if constexpr (std::is_integral<R>::value && std::is_integral<T>::value) {
        to = (R)v;
    } else {
        static_assert(sizeof(R) == sizeof(T), "a register of another size");
        __builtin_memcpy(&to, &v, sizeof to);
    }
}

template <class T> static inline T load(const void *p)
{
    return *(const T *)p;
}

template <class T> static inline void store(void *p, T v)
{
    *(T *)p = v;
}

static inline char *shared_at(uint32_t offset)
{
    return offset < DYNAMIC_SHARED
               ? (char *)static_shared + offset
               : (char *)lx_emu::current->home->shared + (offset - DYNAMIC_SHARED);
}

static inline uint64_t offset_of_shared(uint64_t address)
{
    const uint64_t at = address - (uint64_t)static_shared;
    return at < MOST_STATIC
               ? at
               : address - (uint64_t)lx_emu::current->home->shared + DYNAMIC_SHARED;
}

static inline float bits_f32(uint32_t bits)
{
    return as<float>(bits);
}

static inline double bits_f64(uint64_t bits)
{
    return as<double>(bits);
}

static inline float saturate(float x)
{
    return x > 0 ? x < 1 ? x : 1 : 0; /* NaN gives 0 */
}

static inline float reciprocal(float x)
{
    return 1 / x;
}

static inline double reciprocal(double x)
{
    return 1 / x;
}

/* a b + c rounded down. The product is exact in f64, and the sum but for bits far below f32's. */
static inline float fma_down(float a, float b, float c)
{
    const double exact = (double)a * b + c;
    const float x = (float)exact;
    return (double)x > exact ? nextafterf(x, -INFINITY) : x;
}

static inline uint32_t insert_bits(uint32_t a, uint32_t b, uint32_t at, uint32_t n)
{
    const uint32_t mask = (n >= 32 ? ~0u : (1u << n) - 1) << at;
    return (b & ~mask) | (a << at & mask);
}

/* shfl.sync: c holds the segment's mask and the clamp. */
template <char KIND>
static inline uint32_t ptx_shuffle(uint32_t v, uint32_t b, uint32_t c, uint32_t mask,
                                   int line)
{
    const int lane = lx_emu::current->lane, segment = (int)(c >> 8 & 31),
              by = (int)(b & 31);
    const int low = lane & segment, most = low | ((int)(c & 31) & ~segment);
    const int from = KIND == 'b'   ? lane ^ by
                     : KIND == 'd' ? lane + by
                     : KIND == 'u' ? lane - by
                                   : low | (by & ~segment);
    const bool is_inside = KIND == 'u' ? from >= most : from <= most;

    return lx_emu::shuffle(mask, v, is_inside ? from : lane, {"ptx", line});
}

#endif
