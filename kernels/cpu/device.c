/* The CPU as a device: memory and threads. */
#include "kernels/cpu/cpu.h"

#include <omp.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "src/base/alloc.h"

typedef struct context {
    int threads;
    const lx_isa *isa;
    lx_kernel kernels[LX_OP_COUNT];
} context;

/* Bytes in front of every block of lx_device.alloc, where its size stands; keeps the alignment. */
enum { BLOCK_HEAD = 64 };

static void count_bytes(lx_device *dev, size_t bytes)
{
    dev->bytes_now += bytes;
    if (dev->bytes_now > dev->bytes_peak)
        dev->bytes_peak = dev->bytes_now;
}

static int cpu_alloc_unset(lx_device *dev, void **out, size_t bytes, lx_error *err)
{
    size_t whole;
    char *block;

    if (!lx_add_size(&whole, bytes, BLOCK_HEAD) || !(block = lx_alloc_aligned(whole)))
        return lx_fail(err, LX_ENOMEM, "out of memory: %zu bytes for the device", bytes);
    memcpy(block, &bytes, sizeof bytes);
    count_bytes(dev, bytes);
    *out = block + BLOCK_HEAD;
    return LX_OK;
}

static int cpu_alloc(lx_device *dev, void **out, size_t bytes, lx_error *err)
{
    int rc = cpu_alloc_unset(dev, out, bytes, err);

    if (rc >= 0)
        memset(*out, 0, bytes);
    return rc;
}

static void cpu_free(lx_device *dev, void *memory)
{
    size_t bytes;

    if (!memory)
        return;
    char *block = (char *)memory - BLOCK_HEAD;
    memcpy(&bytes, block, sizeof bytes);
    dev->bytes_now -= bytes;
    lx_free_aligned(block);
}

static int cpu_copy(lx_device *dev, void *dst, const void *src, size_t bytes, lx_error *err)
{
    if (bytes)
        memcpy(dst, src, bytes);
    return LX_OK;
}

static int cpu_sync(lx_device *dev, lx_error *err)
{
    return LX_OK;
}

int lx_cpu_threads(const lx_device *dev)
{
    return ((const context *)dev->context)->threads;
}

int lx_cpu_threads_for(const lx_device *dev, double flops)
{
    return flops < 4e6 ? 1 : lx_cpu_threads(dev);
}

const lx_isa *lx_cpu_isa(const lx_device *dev)
{
    return ((const context *)dev->context)->isa;
}

static void cpu_close(lx_device *dev)
{
    context *ctx = dev->context;

    lx_pack_close(dev);
    lx_free(ctx);
    lx_free(dev);
}

int lx_cpu_cores(void)
{
    cpu_set_t set;

    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0)
        return CPU_COUNT(&set);
    return omp_get_num_procs();
}

int lx_device_open_cpu(lx_device **out, int threads, lx_error *err)
{
    lx_device *dev = lx_calloc(1, sizeof *dev);
    context *ctx = lx_calloc(1, sizeof *ctx);

    if (!dev || !ctx) {
        lx_free(dev);
        lx_free(ctx);
        return lx_oom(err);
    }
    ctx->threads = threads > 0 ? threads : lx_cpu_cores();
    ctx->isa = lx_isa_get();
    lx_cpu_fill_kernels(ctx->kernels);
    *dev = (lx_device){
        .name = "cpu",
        .kernels = ctx->kernels,
        .alloc = cpu_alloc,
        .alloc_unset = cpu_alloc_unset,
        .free = cpu_free,
        .upload = cpu_copy,
        .download = cpu_copy,
        .sync = cpu_sync,
        .close = cpu_close,
        .context = ctx,
        .computes_bf16 = true,
        .uses_host_memory = true,
    };
    snprintf(dev->description, sizeof dev->description, "%s, %d thread%s", ctx->isa->name,
             ctx->threads, ctx->threads == 1 ? "" : "s");
    *out = dev;
    return LX_OK;
}
