/*
 * kernels/cuda/nvidia - cuBLASLt and cuDNN behind kernels/cuda/library.h
 *
 * Both are loaded when the device is opened, so that lx starts where they are missing, and says which
 * one is. Their functions stand in tables made from blaslt.def and cudnn.def.
 */
#ifndef LX_KERNELS_CUDA_NVIDIA_H
#define LX_KERNELS_CUDA_NVIDIA_H

#include <cublasLt.h>
#include <cudnn.h>

#include "kernels/cuda/library.h"

typedef struct lx_blaslt_api {
#define LX_FUNCTION(name) __typeof__(&name) name;
#include "kernels/cuda/nvidia/blaslt.def"
#undef LX_FUNCTION
} lx_blaslt_api;

typedef struct lx_cudnn_api {
#define LX_FUNCTION(name) __typeof__(&name) name;
#include "kernels/cuda/nvidia/cudnn.def"
#undef LX_FUNCTION
} lx_cudnn_api;

/* What is known of one shape: a gemm's or a convolution's. */
struct lx_cuda_plan {
    lx_cuda_plan *next;
    bool is_conv;
    lx_gemm_spec gemm;
    lx_conv_spec conv;
    size_t workspace;

    cublasLtMatmulDesc_t product;
    cublasLtMatrixLayout_t left, right, result; /* column-major: B, A and D of the spec */
    cublasLtMatmulAlgo_t algorithm;

    cudnnBackendDescriptor_t execution;
};

typedef struct lx_nvidia {
    lx_cuda_library base;
    lx_cuda_plan *plans;
    void *blaslt_file, *cudnn_file;
    lx_blaslt_api blaslt;
    lx_cudnn_api cudnn;
    cublasLtHandle_t blaslt_handle;
    cudnnHandle_t cudnn_handle;
    cudnnBackendDescriptor_t
        cudnn_device; /* in place of a handle: plans for a GPU that is not here */
} lx_nvidia;

/* gemm.c: fills plan from plan->gemm; frees what it filled. */
int lx_nvidia_gemm_plan(lx_nvidia *lib, lx_cuda_plan *plan, lx_error *err);
void lx_nvidia_gemm_free(lx_nvidia *lib, lx_cuda_plan *plan);
void lx_nvidia_gemm_run(lx_cuda_library *lib, lx_cuda_plan *plan, lx_cuda_queue *queue,
                        void *d, const void *a, const void *b, const void *add,
                        const void *bias, float scale, void *workspace);

/* conv.c: the same for plan->conv. */
int lx_nvidia_conv_plan(lx_nvidia *lib, lx_cuda_plan *plan, lx_error *err);
void lx_nvidia_conv_free(lx_nvidia *lib, lx_cuda_plan *plan);
void lx_nvidia_conv_run(lx_cuda_library *lib, lx_cuda_plan *plan, lx_cuda_queue *queue,
                        void *out, const void *first, const void *second,
                        void *workspace);

#endif
