/*
 * A device for tests of kernels: CUDA's own kernels over the emulated runtime.
 *
 * Linked into a program of tests/kernels, it takes the CPU's place there (support/kernel_case.h);
 * variants are the orders in which lanes, warps, blocks and streams run.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cuda_runtime_api.h>

#include "kernels/cuda/cuda.h"
#include "tests/cuda_emulation/control.h"
#include "tests/support/kernel_case.h"

/* Cases of more elements take too long, with and without the checker. */
enum { MOST_ELEMENTS = 90000, MOST_ELEMENTS_CHECKED = 25000 };

typedef struct context {
    lx_cuda_queue queue; /* first, as cuda.h says */
    lx_kernel kernels[LX_OP_COUNT];
} context;

/* Bytes of an allocation stand in front of nothing here: the runtime counts. */
static int test_alloc(lx_device *dev, void **out, size_t bytes, lx_error *err)
{
    const int error = cudaMalloc(out, bytes);

    dev->bytes_now = lx_emu_counts_get()->memory_now;
    return error ? lx_fail(err, LX_ENOMEM, "cudaMalloc: %s", cudaGetErrorString(error))
                 : LX_OK;
}

static void test_free(lx_device *dev, void *memory)
{
    cudaFree(memory);
    dev->bytes_now = lx_emu_counts_get()->memory_now;
}

static int test_upload(lx_device *dev, void *dst, const void *src, size_t bytes,
                       lx_error *err)
{
    const int error = cudaMemcpy(dst, src, bytes, cudaMemcpyHostToDevice);
    return error ? lx_fail(err, LX_EIO, "upload: %s", cudaGetErrorString(error)) : LX_OK;
}

static int test_download(lx_device *dev, void *dst, const void *src, size_t bytes,
                         lx_error *err)
{
    const int error = cudaMemcpy(dst, src, bytes, cudaMemcpyDeviceToHost);
    return error ? lx_fail(err, LX_EIO, "download: %s", cudaGetErrorString(error))
                 : LX_OK;
}

/* A fault of the emulation fails the test, as does a launch that was refused. */
static int test_sync(lx_device *dev, lx_error *err)
{
    const context *ctx = dev->context;
    const int error = cudaStreamSynchronize(ctx->queue.stream);

    if (ctx->queue.error)
        return lx_fail(err, LX_EINTERNAL, "%s: %s", ctx->queue.where,
                       cudaGetErrorString(ctx->queue.error));
    if (error)
        return lx_fail(err, LX_EINTERNAL, "%s", cudaGetErrorString(error));
    if (lx_emu_faults())
        return lx_fail(err, LX_EINTERNAL, "%u faults", lx_emu_faults());
    return LX_OK;
}

static void test_close(lx_device *dev)
{
    context *ctx = dev->context;

    cudaStreamDestroy(ctx->queue.stream);
    free(ctx);
    free(dev);
}

static void fill_kernels(lx_kernel *table)
{
#define SET(op) table[LX_OP_##op] = lx_cuda_##op;
    LX_CUDA_OPS(SET)
#undef SET
}

static int open_emulated(lx_device **out, int variant, lx_error *err)
{
    lx_device *dev = calloc(1, sizeof *dev);
    context *ctx = calloc(1, sizeof *ctx);

    lx_emu_options_get()->order = (uint64_t)variant - 1;
    if (!dev || !ctx || cudaStreamCreate(&ctx->queue.stream)) {
        free(dev);
        free(ctx);
        return lx_oom(err);
    }
    fill_kernels(ctx->kernels);
    *dev = (lx_device){.name = "cuda",
                       .kernels = ctx->kernels,
                       .alloc = test_alloc,
                       .free = test_free,
                       .upload = test_upload,
                       .download = test_download,
                       .sync = test_sync,
                       .close = test_close,
                       .context = ctx};
    *out = dev;
    return LX_OK;
}

static bool skips(lx_op_id op, int64_t elements)
{
    lx_kernel table[LX_OP_COUNT] = {0};

    fill_kernels(table);
    return !table[op].run ||
           elements > (lx_emu_is_checked() ? MOST_ELEMENTS_CHECKED : MOST_ELEMENTS);
}

/* Rounding the output once is at most 2^-11; attention rounds its weights too. */
static double f16_limit(lx_op_id op)
{
    return op == LX_OP_attention || op == LX_OP_attention_bwd ? 1e-3 : 5e-4;
}

static const lx_case_device emulated = {
    .open = open_emulated, .skips = skips, .f16_limit = f16_limit};

__attribute__((constructor)) static void use_emulation(void)
{
    lx_case_device_used = &emulated;
}

/* A program that is there for nvcc's PTX must have run some. */
#ifdef LX_NEEDS_PTX
__attribute__((destructor)) static void need_ptx(void)
{
    if (!lx_emu_counts_get()->ptx_launches) {
        fputs("no kernel ran as PTX\n", stderr);
        _exit(1);
    }
}
#endif
