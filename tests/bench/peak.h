/*
 * bench/peak - what this machine can do at best, measured in the run that is compared with it
 */
#ifndef LX_BENCH_PEAK_H
#define LX_BENCH_PEAK_H

#include "kernels/cpu/cpu.h"

typedef struct lx_peak {
    double f32,
        bf16; /* operations a second: the register tile on operands in the first cache */
    double
        copy; /* bytes a second read and written by memcpy of 64 MiB, far beyond the caches */
} lx_peak;

/* On all threads of the device. With one thread processor time counts, not the clock's. */
lx_peak lx_peak_measure(const lx_device *dev);
void lx_peak_print(const lx_peak *peak, const lx_device *dev);

/* Seconds by the clock, of the processor when the device has one thread. */
double lx_bench_now(const lx_device *dev);

#endif
