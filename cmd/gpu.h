/*
 * cmd/gpu - memory and load of the GPUs, when there are any
 *
 * NVIDIA's libnvidia-ml.so.1 is loaded at run time by the few functions asked of it, so
 * lx is built and runs where there is none: then there are no GPUs, which is no error.
 * LX_NVML names another library. CUDA_VISIBLE_DEVICES is followed when it is a list of
 * numbers (or empty: none). Source of names and structs: NVML API reference, nvml.h.
 */
#ifndef LX_CMD_GPU_H
#define LX_CMD_GPU_H

#include <stddef.h>
#include <stdint.h>

enum { LX_GPUS = 16 };

typedef struct lx_gpus lx_gpus;

typedef struct lx_gpu_sample {
    int index;          /* NVML's */
    double memory_used; /* bytes; NaN = unknown, as the others */
    double utilisation; /* 0..100: part of the last sample period a kernel ran */
    double power;       /* watts */
    double temperature; /* degrees Celsius */
} lx_gpu_sample;

/* NULL: no library, no GPU or no memory. */
lx_gpus *lx_gpus_open(void);
void lx_gpus_close(lx_gpus *gpus); /* NULL is fine */

size_t lx_gpus_count(const lx_gpus *gpus); /* 0 of NULL */
const char *lx_gpus_name(const lx_gpus *gpus, size_t i);
double lx_gpus_memory(const lx_gpus *gpus, size_t i); /* bytes in all */
const char *lx_gpus_driver(const lx_gpus *gpus);      /* version, or "" */
void lx_gpus_sample(lx_gpu_sample *out, const lx_gpus *gpus, size_t i);

#endif
