#include "kernels/peak.h"

#include <omp.h>
#include <string.h>

#include "kernels/cpu/cpu.h"
#include "src/base/alloc.h"

enum { K = 256, TIMES = 20000, ROUNDS = 5, COPY = 64 << 20 };

static double products(const lx_device *dev, bool is_bf16)
{
    const lx_isa *isa = lx_cpu_isa(dev);
    const int threads = lx_cpu_threads(dev);
    double best = 1e30;

    for (int round = 0; round < ROUNDS; round++) {
        const double start = lx_peak_clock(dev);
#pragma omp parallel num_threads(threads)
        {
            static _Thread_local float a[LX_MR_MAX * K], b[LX_NR_MAX * K];
            static _Thread_local float acc[LX_MR_MAX * LX_NR_MAX];
            for (int i = 0; i < TIMES; i++)
                if (is_bf16)
                    isa->product_bf16(acc, isa->nr, a, K, b, K, isa->mr, isa->nr, false);
                else
                    isa->product(acc, isa->nr, a, K, b, isa->nr, K, isa->mr, isa->nr,
                                 false);
        }
        const double spent = lx_peak_clock(dev) - start;
        best = spent < best ? spent : best;
    }
    return 2.0 * isa->mr * isa->nr * K * TIMES * threads / best;
}

static double copies(const lx_device *dev, char *to, const char *from)
{
    const int threads = lx_cpu_threads(dev);
    const size_t part = (size_t)COPY / (size_t)threads;
    double best = 1e30;

    for (int round = 0; round < ROUNDS; round++) {
        const double start = lx_peak_clock(dev);
#pragma omp parallel for num_threads(threads) schedule(static, 1)
        for (int i = 0; i < threads; i++)
            memcpy(to + (size_t)i * part, from + (size_t)i * part, part);
        const double spent = lx_peak_clock(dev) - start;
        best = spent < best ? spent : best;
    }
    return 2.0 * COPY / best;
}

int lx_cpu_peak(lx_peak *out, const lx_device *dev, lx_error *err)
{
    char *from = lx_alloc(COPY), *to = lx_alloc(COPY);
    int rc = LX_OK;

    if (from && to) {
        memset(from, 1, COPY); /* so that its pages are there */
        memset(to, 2, COPY);
        *out = (lx_peak){.f32 = products(dev, false),
                         .bf16 = products(dev, true),
                         .copy = copies(dev, to, from)};
    } else {
        rc = lx_oom(err);
    }
    lx_free(from);
    lx_free(to);
    return rc;
}
