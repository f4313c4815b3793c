#include "kernels/peak.h"

#include <stdio.h>
#include <time.h>

#include "kernels/arg.h"
#include "kernels/cpu/cpu.h"

/* A call grows until it takes this long. */
static const double enough = 0.02;
enum { LEAST = 256, MOST_PRODUCT = 8192, MOST_COPY = 1 << 28 };

double lx_peak_clock(const lx_device *dev)
{
    const bool is_alone = dev->uses_host_memory && lx_cpu_threads(dev) == 1;
    struct timespec t;

    clock_gettime(is_alone ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Zeros: values do not matter to the time. */
static int add_arg(lx_device *dev, lx_arg *arg, lx_dtype dtype, int64_t rows,
                   int64_t width, lx_error *err)
{
    *arg = (lx_arg){.dtype = dtype, .n_dims = 2, .shape = {rows, width}};
    return dev->alloc(dev, &arg->data,
                      (size_t)(rows * width) * (size_t)lx_dtype_bits(dtype) / 8, err);
}

/* Seconds of one run of a prepared call; the best of three. */
static int time_call(double *best, lx_device *dev, const lx_kernel *kernel,
                     const lx_call *call, lx_error *err)
{
    int rc = LX_OK;

    *best = 1e30;
    for (int i = 0; i < 4 && rc == LX_OK; i++) { /* the first warms up */
        const double start = lx_peak_clock(dev);
        kernel->run(dev, call);
        rc = dev->sync(dev, err);
        const double spent = lx_peak_clock(dev) - start;
        *best = i && spent < *best ? spent : *best;
    }
    return rc;
}

static int prepare_and_time(double *seconds, lx_device *dev, lx_call *call, lx_error *err)
{
    const lx_kernel *kernel = &dev->kernels[call->op];
    int rc = kernel->prepare ? kernel->prepare(dev, call, true, err) : LX_OK;

    if (rc == LX_OK && call->scratch_bytes)
        rc = dev->alloc(dev, &call->scratch, call->scratch_bytes, err);
    if (rc == LX_OK && kernel->prepare)
        rc = kernel->prepare(dev, call, false, err);
    if (rc == LX_OK) {
        rc = time_call(seconds, dev, kernel, call, err);
        if (kernel->release)
            kernel->release(dev, call);
    }
    return rc;
}

static void free_call(lx_device *dev, lx_call *call)
{
    for (int i = 0; i < call->n_in; i++)
        dev->free(dev, call->in[i].data);
    dev->free(dev, call->out[0].data);
    dev->free(dev, call->scratch);
}

/* y [n, n] = x [n, n] w [n, n]^T */
static int product(double *seconds, lx_device *dev, lx_dtype dtype, int64_t n,
                   lx_error *err)
{
    lx_call call = {.op = LX_OP_linear,
                    .n_in = 3,
                    .n_out = 1,
                    .attrs = {.linear = {.scale = 1}},
                    .label = "peak"};
    int rc;

    call.in[2].n_dims = -1;
    if ((rc = add_arg(dev, &call.in[0], dtype, n, n, err)) == LX_OK &&
        (rc = add_arg(dev, &call.in[1], dtype, n, n, err)) == LX_OK &&
        (rc = add_arg(dev, &call.out[0], dtype, n, n, err)) == LX_OK)
        rc = prepare_and_time(seconds, dev, &call, err);
    free_call(dev, &call);
    return rc;
}

static int products(double *rate, lx_device *dev, lx_dtype dtype, lx_error *err)
{
    double seconds = 0;

    for (int64_t n = LEAST; n <= MOST_PRODUCT && seconds < enough; n *= 2) {
        const int rc = product(&seconds, dev, dtype, n, err);
        if (rc < 0)
            return rc;
        *rate = 2.0 * (double)n * (double)n * (double)n / seconds;
    }
    return LX_OK;
}

static int copy(double *seconds, lx_device *dev, int64_t n, lx_error *err)
{
    lx_call call = {.op = LX_OP_scale,
                    .n_in = 1,
                    .n_out = 1,
                    .attrs = {.linear = {.scale = 1}},
                    .label = "peak"};
    int rc;

    if ((rc = add_arg(dev, &call.in[0], LX_F32, n / LEAST, LEAST, err)) == LX_OK &&
        (rc = add_arg(dev, &call.out[0], LX_F32, n / LEAST, LEAST, err)) == LX_OK)
        rc = prepare_and_time(seconds, dev, &call, err);
    free_call(dev, &call);
    return rc;
}

/* The last is the largest: far beyond the caches, unless the device is slow. */
static int copies(double *rate, lx_device *dev, lx_error *err)
{
    double seconds = 0;

    for (int64_t n = LEAST * LEAST; n <= MOST_COPY && seconds < enough; n *= 4) {
        const int rc = copy(&seconds, dev, n, err);
        if (rc < 0)
            return rc;
        *rate = 8.0 * (double)n / seconds;
    }
    return LX_OK;
}

int lx_peak_measure(lx_peak *out, lx_device *dev, lx_error *err)
{
    int rc;

    *out = (lx_peak){0};
    if (dev->uses_host_memory)
        return lx_cpu_peak(out, dev, err);
    if ((rc = copies(&out->copy, dev, err)) < 0 ||
        (rc = products(&out->f32, dev, LX_F32, err)) < 0 ||
        (dev->has_f16 && (rc = products(&out->f16, dev, LX_F16, err)) < 0) ||
        (dev->has_bf16 && (rc = products(&out->bf16, dev, LX_BF16, err)) < 0))
        return rc;
    return LX_OK;
}

void lx_peak_text(char *text, size_t n, const lx_peak *peak)
{
    const struct {
        const char *name;
        double rate;
    } all[] = {{"f32", peak->f32}, {"f16", peak->f16}, {"bf16", peak->bf16}};
    size_t at = 0;

    for (int i = 0; i < 3 && at < n; i++)
        if (all[i].rate > 0)
            at += (size_t)snprintf(text + at, n - at, "%s %.0f GFLOP/s, ", all[i].name,
                                   all[i].rate * 1e-9);
    if (at < n)
        snprintf(text + at, n - at, "copying %.1f GB/s", peak->copy * 1e-9);
}
