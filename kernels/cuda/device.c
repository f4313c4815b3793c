/*
 * A GPU as a device: memory, one stream, recordings of it (CUDA graphs).
 *
 * Everything is queued on one stream that also waits for the copies of the default stream, so what is
 * set before a run is seen by it and what is read back afterwards is finished. Source: CUDA Runtime
 * API, "Stream synchronization behavior".
 */
#include "kernels/cuda/join.h"
#include "kernels/cuda/library.h"
#include "kernels/cuda/staging.h"
#include "kernels/update.h"

#include <cuda_runtime_api.h>
#include <stdio.h>

#include "src/base/alloc.h"

typedef struct lx_cuda_block {
    void *memory;
    size_t bytes;
} block;

static int fail(lx_error *err, int code, const char *what, int error)
{
    return lx_fail(err, code, "%s: %s", what, cudaGetErrorString((cudaError_t)error));
}

/* ---- memory ------------------------------------------------------------------------- */

static int cuda_alloc_unset(lx_device *dev, void **out, size_t bytes, lx_error *err)
{
    lx_cuda_context *ctx = lx_cuda_context_of(dev);
    size_t free_bytes = 0, total = 0;
    int error;

    if (lx_grow(&ctx->blocks, &ctx->block_capacity, ctx->n_blocks + 1,
                sizeof *ctx->blocks) < 0)
        return lx_oom(err);
    error = cudaMalloc(out, bytes ? bytes : 1);
    if (error) { /* weights may be there that nobody uses any more */
        cudaGetLastError();
        lx_pack_trim(dev);
        error = cudaMalloc(out, bytes ? bytes : 1);
    }
    if (error) {
        cudaGetLastError();
        cudaMemGetInfo(&free_bytes, &total);
        return lx_fail(
            err, LX_ENOMEM,
            "out of memory on the GPU: %zu MiB asked for, %zu of %zu MiB are free",
            bytes >> 20, free_bytes >> 20, total >> 20);
    }
    ctx->blocks[ctx->n_blocks++] = (block){*out, bytes};
    dev->bytes_now += bytes;
    if (dev->bytes_now > dev->bytes_peak)
        dev->bytes_peak = dev->bytes_now;
    return LX_OK;
}

static int cuda_alloc(lx_device *dev, void **out, size_t bytes, lx_error *err)
{
    int rc = cuda_alloc_unset(dev, out, bytes, err), error;

    if (rc < 0 || !(error = cudaMemset(*out, 0, bytes)))
        return rc;
    dev->free(dev, *out);
    return fail(err, LX_EINTERNAL, "clearing GPU memory", error);
}

static void cuda_free(lx_device *dev, void *memory)
{
    lx_cuda_context *ctx = lx_cuda_context_of(dev);

    for (size_t i = ctx->n_blocks; memory && i-- > 0;)
        if (ctx->blocks[i].memory == memory) {
            dev->bytes_now -= ctx->blocks[i].bytes;
            ctx->blocks[i] = ctx->blocks[--ctx->n_blocks];
            cudaFree(memory);
            return;
        }
}

static int cuda_upload(lx_device *dev, void *dst, const void *src, size_t bytes,
                       lx_error *err)
{
    const int error = bytes ? cudaMemcpy(dst, src, bytes, cudaMemcpyHostToDevice) : 0;

    return error ? fail(err, LX_EINTERNAL, "copying to the GPU", error) : LX_OK;
}

static int cuda_download(lx_device *dev, void *dst, const void *src, size_t bytes,
                         lx_error *err)
{
    const int error = bytes ? cudaMemcpy(dst, src, bytes, cudaMemcpyDeviceToHost) : 0;

    return error ? fail(err, LX_EINTERNAL, "copying from the GPU", error) : LX_OK;
}

/* ---- the stream --------------------------------------------------------------------- */

int lx_cuda_tell_refused(lx_cuda_context *ctx, lx_error *err)
{
    const int error = ctx->queue.error;

    ctx->queue.error = 0;
    return error ? fail(err, LX_EINTERNAL, ctx->queue.where, error) : LX_OK;
}

static int cuda_sync(lx_device *dev, lx_error *err)
{
    lx_cuda_context *ctx = lx_cuda_context_of(dev);
    const int rc = lx_cuda_tell_refused(ctx, err),
              error = cudaStreamSynchronize(ctx->queue.stream);

    if (rc < 0 || !error)
        return rc;
    return fail(err, LX_EINTERNAL, "the GPU stopped", error);
}

static int cuda_record_begin(lx_device *dev, lx_error *err)
{
    lx_cuda_context *ctx = lx_cuda_context_of(dev);
    const int error =
        cudaStreamBeginCapture(ctx->queue.stream, cudaStreamCaptureModeThreadLocal);

    return error ? fail(err, LX_EINTERNAL, "recording the step", error) : LX_OK;
}

static int cuda_record_end(lx_device *dev, void **recording, lx_error *err)
{
    lx_cuda_context *ctx = lx_cuda_context_of(dev);
    cudaGraph_t graph = NULL;
    cudaGraphExec_t exec = NULL;
    int error = cudaStreamEndCapture(ctx->queue.stream, &graph),
        rc = lx_cuda_tell_refused(ctx, err);

    if (!error && rc >= 0)
        error = cudaGraphInstantiate(&exec, graph, 0);
    if (graph)
        cudaGraphDestroy(graph);
    *recording = exec;
    return error && rc >= 0 ? fail(err, LX_EINTERNAL, "recording the step", error) : rc;
}

static int cuda_replay(lx_device *dev, void *recording, lx_error *err)
{
    const int error = cudaGraphLaunch(recording, lx_cuda_context_of(dev)->queue.stream);

    return error ? fail(err, LX_EINTERNAL, "starting the recorded step", error) : LX_OK;
}

static void cuda_record_free(lx_device *dev, void *recording)
{
    if (recording)
        cudaGraphExecDestroy(recording);
}

/* ---- opening ------------------------------------------------------------------------ */

static void cuda_close(lx_device *dev)
{
    lx_cuda_context *ctx = lx_cuda_context_of(dev);

    if (ctx->queue.stream)
        cudaStreamSynchronize(ctx->queue.stream);
    lx_cuda_staging_free(ctx->staging);
    lx_pack_close(dev);
    if (ctx->library)
        ctx->library->close(ctx->library);
    if (ctx->queue.stream)
        cudaStreamDestroy(ctx->queue.stream);
    for (size_t i = 0; i < ctx->n_blocks; i++)
        cudaFree(ctx->blocks[i].memory);
    lx_free(ctx->blocks);
    lx_free(ctx);
    lx_free(dev);
}

/* "13.0" of 13000 */
static int check_driver(lx_error *err)
{
    int driver = 0, runtime = 0;

    cudaDriverGetVersion(&driver);
    cudaRuntimeGetVersion(&runtime);
    if (!driver)
        return lx_fail(err, LX_EUNSUPPORTED,
                       "no NVIDIA driver is loaded on this machine");
    if (driver / 1000 < runtime / 1000)
        return lx_fail(
            err, LX_EUNSUPPORTED,
            "the NVIDIA driver knows CUDA up to %d.%d, and lx was built with %d.%d: "
            "install a newer driver",
            driver / 1000, driver % 1000 / 10, runtime / 1000, runtime % 1000 / 10);
    return LX_OK;
}

static int choose_gpu(int index, int *capability, lx_error *err)
{
    int count = 0, major = 0, minor = 0, rc, error;

    if ((rc = check_driver(err)) < 0)
        return rc;
    error = cudaGetDeviceCount(&count);
    if (error || !count)
        return lx_fail(err, LX_EUNSUPPORTED, "no NVIDIA GPU is usable: %s",
                       error ? cudaGetErrorString((cudaError_t)error) : "there is none");
    if (index < 0 || index >= count)
        return lx_fail(err, LX_EUNSUPPORTED,
                       "there is no GPU %d: this machine has 0%s%.0d", index,
                       count > 1 ? " to " : "", count - 1);
    if ((error = cudaSetDevice(index)))
        return fail(err, LX_EUNSUPPORTED, "the GPU cannot be used", error);
    cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, index);
    cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, index);
    *capability = major * 10 + minor;
    if (*capability < 75)
        return lx_fail(
            err, LX_EUNSUPPORTED,
            "GPU %d has compute capability %d.%d, and lx needs 7.5 (Turing) or newer",
            index, major, minor);
    return LX_OK;
}

/* Its name, and what decides how fast it can be. */
static void describe(lx_device *dev, int index, int capability)
{
    struct cudaDeviceProp found = {.name = "a GPU"};
    int driver = 0;

    cudaDriverGetVersion(&driver);
    cudaGetDeviceProperties(&found, index);
    snprintf(dev->description, sizeof dev->description,
             "%.60s, %.1f GB, %d multiprocessors of %d.%d, driver for CUDA %d.%d",
             found.name, (double)found.totalGlobalMem / 1e9, found.multiProcessorCount,
             capability / 10, capability % 10, driver / 1000, driver % 1000 / 10);
}

int lx_device_open_cuda(lx_device **out, int index, lx_error *err)
{
    lx_device *dev = NULL;
    lx_cuda_context *ctx = NULL;
    int capability = 0, rc = choose_gpu(index, &capability, err), error;

    if (rc < 0)
        return rc;
    dev = lx_calloc(1, sizeof *dev);
    ctx = lx_calloc(1, sizeof *ctx);
    if (!dev || !ctx) {
        lx_free(dev);
        lx_free(ctx);
        return lx_oom(err);
    }
    lx_cuda_fill_kernels(ctx->kernels);
    *dev = (lx_device){
        .name = "cuda",
        .kernels = ctx->kernels,
        .alloc = cuda_alloc,
        .alloc_unset = cuda_alloc_unset,
        .free = cuda_free,
        .upload = cuda_upload,
        .download = cuda_download,
        .sync = cuda_sync,
        .close = cuda_close,
        .record_begin = cuda_record_begin,
        .record_end = cuda_record_end,
        .replay = cuda_replay,
        .record_free = cuda_record_free,
        .upload_queued = lx_cuda_upload_queued,
        .download_queued = lx_cuda_download_queued,
        .take = lx_cuda_take,
        .joining = &lx_cuda_joining,
        .updates = &lx_cuda_updates,
        .has_f16 = true,
        .has_bf16 = capability >= 80,
        .context = ctx,
    };
    describe(dev, index, capability);
    if ((error = cudaStreamCreate(&ctx->queue.stream)))
        rc = fail(err, LX_EINTERNAL, "a stream on the GPU", error);
    if (rc < 0 || (rc = lx_cuda_library_open(&ctx->library, err)) < 0) {
        cuda_close(dev);
        return rc;
    }
    *out = dev;
    return LX_OK;
}
