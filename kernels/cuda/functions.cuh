/*
 * kernels/cuda/functions - the functions of kernels/activation.h and their slopes, in f32
 */
#ifndef LX_KERNELS_CUDA_FUNCTIONS_CUH
#define LX_KERNELS_CUDA_FUNCTIONS_CUH

#include "kernels/cuda/dialect.cuh"

struct lx_silu {
    static __device__ __forceinline__ float value(float x)
    {
        return x / (1 + expf(-x));
    }
    static __device__ __forceinline__ float slope(float x)
    {
        const float s = 1 / (1 + expf(-x));
        return s * (1 + x * (1 - s));
    }
};

/* erfc rather than 1 + erf, which cancels on the left. */
struct lx_gelu {
    static __device__ __forceinline__ float value(float x)
    {
        return x * (0.5f * erfcf(-x * 0.70710678f));
    }
    static __device__ __forceinline__ float slope(float x)
    {
        return 0.5f * erfcf(-x * 0.70710678f) + x * (0.39894228f * expf(-0.5f * x * x));
    }
};

struct lx_quick_gelu {
    static __device__ __forceinline__ float value(float x)
    {
        return x / (1 + expf(-1.702f * x));
    }
    static __device__ __forceinline__ float slope(float x)
    {
        const float s = 1 / (1 + expf(-1.702f * x));
        return s * (1 + 1.702f * x * (1 - s));
    }
};

#endif
