/*
 * Dropout (kernels/dropout.h): the words of the CPU's streams, drawn where they are needed, so that
 * the two devices leave out the same parts.
 */
#include "kernels/cuda/philox.cuh"

extern "C" {
#include "kernels/dropout.h"
}

enum { THREADS = 256 };

/* What a call leaves out. Streams are named as lx_rng_stream names them. */
struct parts {
    float neuron, rank, module;
    uint64_t stream;
    int64_t n, C, sample; /* elements; channels; elements of a sample */
};

LX_DEVICE uint32_t fold32(uint64_t x)
{
    return (uint32_t)x ^ (uint32_t)(x >> 32) * 0x9E3779B1u;
}

/* Word `index` of a stream of the module. */
LX_DEVICE uint32_t word_at(const int64_t *moment, uint64_t stream, int kind,
                           int64_t index)
{
    const uint64_t seed = (uint64_t)moment[0];
    uint32_t words[4] = {(uint32_t)(index / 4), LX_RNG_DROPOUT,
                         fold32((uint64_t)moment[1]), fold32(stream + (uint64_t)kind)};

    lx_philox(words, (uint32_t)seed, (uint32_t)(seed >> 32));
    return words[index % 4];
}

LX_DEVICE bool drops(uint32_t word, float probability)
{
    return (double)word * (1.0 / 4294967296.0) < (double)probability;
}

template <class T>
__global__ void __launch_bounds__(THREADS)
    drop(T *y, const T *x, const int64_t *moment, parts p)
{
    const int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    float by = 1;

    if (i >= p.n)
        return;
    if (p.module > 0 && drops(word_at(moment, p.stream, LX_DROPOUT_MODULE, 0), p.module))
        by = 0;
    if (by != 0 && p.neuron > 0)
        by = drops(word_at(moment, p.stream, LX_DROPOUT_NEURON, i), p.neuron)
                 ? 0
                 : 1 / (1 - p.neuron);
    float v = by == 0 ? 0 : lx_widen(x[i]) * by;
    if (by != 0 && p.rank > 0)
        v *= drops(
                 word_at(moment, p.stream, LX_DROPOUT_RANK, i / p.sample * p.C + i % p.C),
                 p.rank)
                 ? 0
                 : 1 / (1 - p.rank);
    y[i] = lx_narrow<T>(v);
}

static void run_dropout(lx_device *dev, const lx_call *call)
{
    const lx_arg *x = &call->in[0];
    const parts p = {call->attrs.dropout.neuron,
                     call->attrs.dropout.rank,
                     call->attrs.dropout.module,
                     call->attrs.dropout.stream,
                     lx_arg_count(x),
                     lx_arg_width(x),
                     x->shape[0] ? lx_arg_count(x) / x->shape[0] : 1};

    if (!p.n)
        return;
    lx_with_type(x->dtype, [&](auto t) {
        typedef decltype(t) T;
        LX_LAUNCH(dev, drop<T>, lx_blocks(p.n, THREADS), THREADS, 0, lx_out<T>(call, 0),
                  lx_in<T>(call, 0), lx_in<int64_t>(call, 1), p);
    });
}

const lx_kernel lx_cuda_dropout = {lx_check_types, run_dropout, nullptr};
