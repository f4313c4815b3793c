/* cuda_emulation/faults - kernels with faults, for faults.cpp */
#ifndef LX_CUDA_EMULATION_FAULTS_CUH
#define LX_CUDA_EMULATION_FAULTS_CUH

#include "kernels/cuda/dialect.cuh"

struct fault_case {
    const char *name;
    void (*kernel)(float *y, const float *x, int n);
    int blocks;
    size_t shared;
    bool is_sound;
};

extern const fault_case fault_cases[]; /* ends with a name of NULL */

/* 64 threads a block; a cudaError_t. */
int fault_launch(const fault_case *c, float *y, const float *x, int n);

#endif
