#include "kernels/dropout.h"

#include "kernels/cpu/cpu.h"

/* Word `index` of a stream. */
static uint32_t word(const lx_rng *stream, int64_t index)
{
    const uint32_t counter[4] = {(uint32_t)(index / 4), stream->counter[1],
                                 stream->counter[2], stream->counter[3]};
    uint32_t words[4];

    lx_philox4x32(words, counter, stream->key);
    return words[index % 4];
}

/* 0 with probability p, else 1 / (1 - p). */
static float draw(const lx_rng *stream, int64_t index, float p)
{
    if (!(p > 0))
        return 1;
    return lx_dropout_drops(word(stream, index), p) ? 0 : 1 / (1 - p);
}

void lx_plain_dropout(lx_device *dev, const lx_call *call)
{
    const float *x = lx_in_f32(call, 0);
    const int64_t *moment = call->in[1].data;
    const float p_neuron = call->attrs.dropout.neuron, p_rank = call->attrs.dropout.rank;
    const uint64_t stream = call->attrs.dropout.stream;
    const int64_t B = call->in[0].shape[0], C = lx_arg_width(&call->in[0]);
    const int64_t n = B ? lx_arg_count(&call->in[0]) / B : 0;
    const lx_rng neurons = lx_dropout_stream(moment, stream, LX_DROPOUT_NEURON);
    const lx_rng ranks = lx_dropout_stream(moment, stream, LX_DROPOUT_RANK);
    const bool skips = lx_dropout_skips(moment, stream, call->attrs.dropout.module);
    float *y = lx_out_f32(call, 0);

    for (int64_t b = 0; b < B; b++)
        for (int64_t i = b * n; i < (b + 1) * n; i++)
            y[i] = skips ? 0
                         : x[i] * draw(&neurons, i, p_neuron) *
                               draw(&ranks, b * C + i % C, p_rank);
}
