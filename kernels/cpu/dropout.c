/* Dropout: four draws a block of the generator, rows over the threads. */
#include "kernels/dropout.h"

#include <string.h>

#include "kernels/cpu/cpu.h"

/* Elements per task, a multiple of the generator's four. */
enum { CHUNK = 16384 };

static const int64_t *moment_of(const lx_call *call)
{
    return call->in[1].data;
}

/* y = x * (0 or 1 / (1 - p)) for elements first .. first + n, first a multiple of four. */
static void drop_neurons(float *y, const float *x, int64_t first, int64_t n,
                         const lx_rng *stream, float p)
{
    const float keep = 1 / (1 - p);

    for (int64_t i = 0; i < n; i += 4) {
        const uint32_t counter[4] = {(uint32_t)((first + i) / 4), stream->counter[1],
                                     stream->counter[2], stream->counter[3]};
        uint32_t words[4];

        lx_philox4x32(words, counter, stream->key);
        for (int64_t k = 0; k < 4 && i + k < n; k++)
            y[i + k] = x[i + k] * (lx_dropout_drops(words[k], p) ? 0 : keep);
    }
}

static void run_neurons(lx_device *dev, const lx_call *call)
{
    const int64_t total = lx_arg_count(&call->in[0]);
    const float *x = lx_in_f32(call, 0), p = call->attrs.dropout.neuron;
    const lx_rng stream =
        lx_dropout_stream(moment_of(call), call->attrs.dropout.stream, LX_DROPOUT_NEURON);
    float *y = lx_out_f32(call, 0);

#pragma omp parallel for num_threads(lx_cpu_threads(dev)) if (total > CHUNK)
    for (int64_t i = 0; i < total; i += CHUNK)
        drop_neurons(y + i, x + i, i, total - i < CHUNK ? total - i : CHUNK, &stream, p);
}

/* One draw per sample and channel, looked up again at every position: a rank is few numbers. */
static void run_ranks(lx_device *dev, const lx_call *call, const float *x)
{
    const int64_t B = call->in[0].shape[0], C = lx_arg_width(&call->in[0]);
    const int64_t rows = B ? lx_arg_rows(&call->in[0]) / B : 0;
    const float p = call->attrs.dropout.rank, keep = 1 / (1 - p);
    lx_rng rng =
        lx_dropout_stream(moment_of(call), call->attrs.dropout.stream, LX_DROPOUT_RANK);
    float *y = lx_out_f32(call, 0);

    for (int64_t b = 0; b < B; b++)
        for (int64_t c = 0; c < C; c++) {
            const float by = lx_dropout_drops(lx_rng_u32(&rng), p) ? 0 : keep;
            const int64_t first = b * rows * C + c;

            for (int64_t r = 0; r < rows; r++)
                y[first + r * C] = x[first + r * C] * by;
        }
}

static void run_dropout(lx_device *dev, const lx_call *call)
{
    const size_t bytes = (size_t)lx_arg_count(&call->in[0]) * sizeof(float);
    const float *x = lx_in_f32(call, 0);
    float *y = lx_out_f32(call, 0);

    if (lx_dropout_skips(moment_of(call), call->attrs.dropout.stream,
                         call->attrs.dropout.module)) {
        memset(y, 0, bytes);
        return;
    }
    if (call->attrs.dropout.neuron > 0)
        run_neurons(dev, call);
    else if (x != y)
        memcpy(y, x, bytes);
    if (call->attrs.dropout.rank > 0)
        run_ranks(dev, call, y);
}

const lx_kernel lx_cpu_dropout = {.run = run_dropout};
