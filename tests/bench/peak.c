#include "tests/bench/peak.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { K = 256, TIMES = 20000, ROUNDS = 5, COPY = 64 << 20 };

double lx_bench_now(const lx_device *dev)
{
    struct timespec t;

    clock_gettime(lx_cpu_threads(dev) == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC,
                  &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double products(const lx_device *dev, bool is_bf16)
{
    const lx_isa *isa = lx_cpu_isa(dev);
    const int threads = lx_cpu_threads(dev);
    double best = 1e30;

    for (int round = 0; round < ROUNDS; round++) {
        const double start = lx_bench_now(dev);
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
        const double spent = lx_bench_now(dev) - start;
        best = spent < best ? spent : best;
    }
    return 2.0 * isa->mr * isa->nr * K * TIMES * threads / best;
}

static double copies(const lx_device *dev)
{
    const int threads = lx_cpu_threads(dev);
    const size_t part = (size_t)COPY / (size_t)threads;
    char *from = malloc(COPY), *to = malloc(COPY);
    double best = 1e30;

    if (!from || !to)
        exit(1);
    memset(from, 1, COPY);
    memset(to, 2, COPY);
    for (int round = 0; round < ROUNDS; round++) {
        const double start = lx_bench_now(dev);
#pragma omp parallel for num_threads(threads) schedule(static, 1)
        for (int i = 0; i < threads; i++)
            memcpy(to + (size_t)i * part, from + (size_t)i * part, part);
        const double spent = lx_bench_now(dev) - start;
        best = spent < best ? spent : best;
    }
    free(from);
    free(to);
    return 2.0 * COPY / best;
}

lx_peak lx_peak_measure(const lx_device *dev)
{
    return (lx_peak){
        .f32 = products(dev, false), .bf16 = products(dev, true), .copy = copies(dev)};
}

void lx_peak_print(const lx_peak *peak, const lx_device *dev)
{
    printf("%s, %d thread%s: f32 %.0f GFLOP/s, bf16 %.0f GFLOP/s, copying %.1f GB/s\n",
           lx_cpu_isa(dev)->name, lx_cpu_threads(dev),
           lx_cpu_threads(dev) == 1 ? "" : "s", peak->f32 * 1e-9, peak->bf16 * 1e-9,
           peak->copy * 1e-9);
}
