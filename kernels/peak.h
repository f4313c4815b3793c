/*
 * kernels/peak - what a device can do at best, measured on it
 *
 * The CPU: its register tile on operands in the first cache, and memcpy of 64 MiB, far beyond the caches;
 * on all threads of the device. Another device: its own product of two square matrices in each type, and
 * its own scaling of a vector, both as large as takes some 20 ms; that is what its libraries reach, not
 * what its maker says.
 */
#ifndef LX_KERNELS_PEAK_H
#define LX_KERNELS_PEAK_H

#include "kernels/kernel.h"

typedef struct lx_peak {
    double f32, f16, bf16; /* operations a second; 0 = the device has no such products */
    double copy;           /* bytes a second, read and written */
} lx_peak;

int lx_peak_measure(lx_peak *out, lx_device *dev, lx_error *err);

/* "f32 95 GFLOP/s, bf16 180 GFLOP/s, copying 11.2 GB/s" */
void lx_peak_text(char *text, size_t n, const lx_peak *peak);

/* Seconds to time this device's work by: the clock's, of the processor for a CPU of one thread, which other
 * work on the machine disturbs less. */
double lx_peak_clock(const lx_device *dev);

#endif
