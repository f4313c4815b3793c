/*
 * Kernels with one fault each, and sound ones that look like them: what the emulation must catch, and
 * must not. faults.cpp runs each in a process of its own.
 */
#include "tests/cuda_emulation/faults.cuh"

#define KERNEL(name) __global__ void fault_##name(float *y, const float *x, int n)

KERNEL(sound)
{
    __shared__ float s[64];
    s[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    y[threadIdx.x] = s[63 - threadIdx.x];
}

KERNEL(no_syncthreads)
{
    __shared__ float s[64];
    s[threadIdx.x] = x[threadIdx.x];
    y[threadIdx.x] = s[63 - threadIdx.x];
}

KERNEL(no_syncwarp)
{
    __shared__ float s[64];
    s[threadIdx.x] = x[threadIdx.x];
    y[threadIdx.x] = s[threadIdx.x ^ 1];
}

KERNEL(syncwarp_is_enough)
{
    __shared__ float s[64];
    s[threadIdx.x] = x[threadIdx.x];
    __syncwarp();
    y[threadIdx.x] = s[threadIdx.x ^ 1];
}

/* The second use of s may overtake slow readers of the first. */
KERNEL(no_second_syncthreads)
{
    __shared__ float s[64];
    float sum = 0;
    for (int round = 0; round < 2; round++) {
        s[threadIdx.x] = x[threadIdx.x] + round;
        __syncthreads();
        sum += s[63 - threadIdx.x];
    }
    y[threadIdx.x] = sum;
}

KERNEL(uninitialised_shared)
{
    __shared__ float s[64];
    if (threadIdx.x < 63)
        s[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    y[threadIdx.x] = s[threadIdx.x];
}

KERNEL(uninitialised_global)
{
    y[threadIdx.x] = y[threadIdx.x + 64] + 1;
}

KERNEL(out_of_global)
{
    y[threadIdx.x] = x[threadIdx.x + n - 63];
}

KERNEL(out_of_shared)
{
    LX_DYNAMIC_SHARED(float, s);
    s[threadIdx.x + 1] = x[threadIdx.x];
    __syncthreads();
    y[threadIdx.x] = s[threadIdx.x + 1];
}

/* Two blocks, the same addresses. */
KERNEL(blocks_race)
{
    y[threadIdx.x] += x[threadIdx.x];
}

KERNEL(blocks_write_the_same)
{
    y[threadIdx.x] = x[threadIdx.x];
}

KERNEL(atomics)
{
    atomicAdd(y + threadIdx.x, x[threadIdx.x]);
}

KERNEL(atomic_and_plain)
{
    if (blockIdx.x)
        atomicAdd(y + threadIdx.x, x[threadIdx.x]);
    else
        y[threadIdx.x] = x[threadIdx.x];
}

KERNEL(divergent_barriers)
{
    if (threadIdx.x < 32) {
        __syncthreads();
    } else {
        y[threadIdx.x] = x[threadIdx.x];
        __syncthreads();
    }
}

KERNEL(return_before_barrier)
{
    if ((int)threadIdx.x >= n / 2)
        return;
    __syncthreads();
    y[threadIdx.x] = x[threadIdx.x];
}

KERNEL(mask_too_wide)
{
    float v = x[threadIdx.x];
    if ((threadIdx.x & 31) < 16)
        v += __shfl_xor_sync(LX_FULL, v, 1);
    y[threadIdx.x] = v;
}

KERNEL(lane_outside_mask)
{
    float v = x[threadIdx.x];
    if ((threadIdx.x & 31) < 16)
        v += __shfl_xor_sync(0xffffu, v, 16);
    y[threadIdx.x] = v;
}

/* A copy in the background that nobody waits for. */
KERNEL(no_wait)
{
    __shared__ __align__(16) float s[64];
    if (threadIdx.x < 16) {
        lx_copy_async(s + threadIdx.x * 4, x + threadIdx.x * 4, true);
        lx_copy_commit();
    }
    __syncthreads();
    y[threadIdx.x] = s[threadIdx.x];
    lx_copy_wait<0>();
}

KERNEL(never_waits)
{
    __shared__ __align__(16) float s[64];
    y[threadIdx.x] = x[threadIdx.x];
    if (threadIdx.x < 16) {
        lx_copy_async(s + threadIdx.x * 4, x + threadIdx.x * 4, true);
        lx_copy_commit();
    }
}

/* Others see a thread's copy after its wait and a barrier. */
KERNEL(wait_without_barrier)
{
    __shared__ __align__(16) float s[64];
    if (threadIdx.x < 16) {
        lx_copy_async(s + threadIdx.x * 4, x + threadIdx.x * 4, true);
        lx_copy_commit();
    }
    lx_copy_wait<0>();
    y[threadIdx.x] = s[threadIdx.x];
}

/* The next tile is asked for while the last one is still read. */
KERNEL(copy_over_readers)
{
    __shared__ __align__(16) float s[64];
    float sum = 0;
    for (int round = 0; round < 2; round++) {
        if (threadIdx.x < 16) {
            lx_copy_async(s + threadIdx.x * 4, x + threadIdx.x * 4, true);
            lx_copy_commit();
        }
        lx_copy_wait<0>();
        __syncthreads();
        sum += s[63 - threadIdx.x];
    }
    y[threadIdx.x] = sum;
}

KERNEL(waits)
{
    __shared__ __align__(16) float s[64];
    if (threadIdx.x < 16) {
        lx_copy_async(s + threadIdx.x * 4, x + threadIdx.x * 4, true);
        lx_copy_commit();
    }
    lx_copy_wait<0>();
    __syncthreads();
    y[threadIdx.x] = s[63 - threadIdx.x];
}

KERNEL(misaligned)
{
    const lx_pack<float, 4> v = lx_load<float, 4>(x + 1 + (threadIdx.x & 7) * 4);
    y[threadIdx.x] = v.at[0] + v.at[3];
}

KERNEL(host_pointer)
{
    y[threadIdx.x] = x[threadIdx.x];
}

#define CASE(name, blocks, shared, is_sound)          \
    {                                                 \
#name, fault_##name, blocks, shared, is_sound \
    }

const fault_case fault_cases[] = {
    CASE(sound, 1, 0, true),
    CASE(no_syncthreads, 1, 0, false),
    CASE(no_syncwarp, 1, 0, false),
    CASE(syncwarp_is_enough, 1, 0, true),
    CASE(no_second_syncthreads, 1, 0, false),
    CASE(uninitialised_shared, 1, 0, false),
    CASE(uninitialised_global, 1, 0, false),
    CASE(out_of_global, 1, 0, false),
    CASE(out_of_shared, 1, 256, false),
    CASE(blocks_race, 2, 0, false),
    CASE(blocks_write_the_same, 2, 0, false),
    CASE(atomics, 2, 0, true),
    CASE(atomic_and_plain, 2, 0, false),
    CASE(divergent_barriers, 1, 0, false),
    CASE(return_before_barrier, 1, 0, false),
    CASE(mask_too_wide, 1, 0, false),
    CASE(lane_outside_mask, 1, 0, false),
    CASE(no_wait, 1, 0, false),
    CASE(never_waits, 1, 0, false),
    CASE(wait_without_barrier, 1, 0, false),
    CASE(copy_over_readers, 1, 0, false),
    CASE(waits, 1, 0, true),
    CASE(misaligned, 1, 0, false),
    CASE(host_pointer, 1, 0, false),
    {"too_much_shared", fault_sound, 1, 49 << 10, false},
    {nullptr, nullptr, 0, 0, false},
};

int fault_launch(const fault_case *c, float *y, const float *x, int n)
{
    return lx_launch_(c->name, c->kernel, dim3((unsigned)c->blocks), dim3(64), c->shared,
                      nullptr, y, x, n);
}
