/* Ranks and rates by block, and the norms of modules. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "src/lora/lora.h"
#include "tests/support/golden.h"
#include "tests/support/model.h"
#include "tests/support/synth.h"

static void test_lora_blocks__are_counted_as_the_peer_counts(void **state)
{
    static const struct {
        const char *layer;
        int block;
    } layers[] = {
        {"down_blocks.0.attentions.0.proj_in", 1},
        {"down_blocks.0.resnets.1.conv1", 2},
        {"down_blocks.0.downsamplers.0.conv", 3},
        {"down_blocks.2.attentions.1.transformer_blocks.0.ff.net.2", 8},
        {"down_blocks.3.resnets.1.conv2", 11},
        {"mid_block.attentions.0.proj_out", 12},
        {"mid_block.resnets.1.conv1", 12},
        {"up_blocks.0.resnets.0.conv1", 13},
        {"up_blocks.0.upsamplers.0.conv", 15},
        {"up_blocks.3.attentions.2.proj_in", 24},
        {"conv_in", -1},
        {"text_model.encoder.layers.0.mlp.fc1", -1},
        {"down_blocks.9.attentions.0.proj_in", -1},
        {"side_blocks.0.attentions.0.proj_in", -1},
    };

    for (size_t i = 0; i < sizeof layers / sizeof *layers; i++)
        if (lx_lora_block(layers[i].layer) != layers[i].block)
            fail_msg("%s: %d, expected %d", layers[i].layer,
                     lx_lora_block(layers[i].layer), layers[i].block);
}

static lx_lora_spec block_spec(void)
{
    lx_lora_spec spec = {.rank = 4,
                         .alpha = 1,
                         .has_unet = true,
                         .has_text_encoder = true,
                         .has_block_ranks = true};

    spec.block_rank[5] = spec.block_rank[12] = 3;
    spec.block_alpha[5] = 2;
    return spec;
}

static void test_lora_blocks__ranks_rule_the_unet_and_zero_leaves_out(void **state)
{
    const lx_lora_spec spec = block_spec();
    lx_model_fixture f;
    lx_error err = {0};
    int n_unet = 0;

    lx_model_fixture_open(&f, lx_synth_checkpoint("tiny"), 4);
    lx_assert_ok(lx_lora_create(&f.lora, f.dev, f.checkpoint, &f.config, &spec, 1, &err),
                 &err);
    for (size_t i = 0; i < f.lora->count; i++) {
        const lx_lora_module *m = &f.lora->modules[i];
        const int block = m->part == LX_UNET ? lx_lora_block(m->layer) : -1;

        n_unet += m->part == LX_UNET;
        assert_int_equal(m->rank, m->part == LX_UNET ? 3 : 4);
        assert_true(m->part != LX_UNET || block == 5 || block == 12);
        assert_true(m->alpha == (block == 5 ? 2.0f : block == 12 ? 3.0f : 1.0f));
    }
    assert_int_equal(n_unet, 24); /* two transformers of twelve */
    lx_model_fixture_close(&f);
}

static void test_lora_blocks__rates_by_block_and_up(void **state)
{
    lx_lora_spec spec = {.has_block_lr = true, .unet_plus = 4, .text_plus = 2};

    for (int i = 0; i < LX_LORA_BLOCKS; i++)
        spec.block_lr[i] = i;
    assert_true(lx_lora_rate_factor(&spec, LX_UNET, "mid_block.attentions.0.proj_in",
                                    false) == 12);
    assert_true(lx_lora_rate_factor(&spec, LX_UNET, "mid_block.attentions.0.proj_in",
                                    true) == 48);
    assert_true(lx_lora_rate_factor(&spec, LX_TEXT_ENCODER, "x", false) == 1);
    assert_true(lx_lora_rate_factor(&spec, LX_TEXT_ENCODER, "x", true) == 2);
}

/* The norm of up x down by the whole matrix. */
static double dense_norm(const lx_lora_module *m)
{
    const float *up = m->up.value, *down = m->down.value;
    size_t in = 1, out = (size_t)m->up.shape[0], rank = (size_t)m->rank;
    double total = 0;

    for (int i = 1; i < m->down.n_dims; i++)
        in *= (size_t)m->down.shape[i];
    for (size_t o = 0; o < out; o++)
        for (size_t i = 0; i < in; i++) {
            double x = 0;
            for (size_t r = 0; r < rank; r++)
                x += (double)up[o * rank + r] * down[r * in + i];
            total += x * x;
        }
    return sqrt(total) * m->alpha / m->rank;
}

static void test_lora_blocks__norms_are_those_of_the_products(void **state)
{
    const lx_lora_spec spec = {.rank = 4,
                               .alpha = 2,
                               .conv_rank = 3,
                               .conv_alpha = 1,
                               .has_unet = true,
                               .has_text_encoder = true};
    lx_lora_norms norms;
    lx_model_fixture f;
    lx_error err = {0};
    double most = 0;

    lx_model_fixture_open(&f, lx_synth_checkpoint("tiny"), 4);
    lx_assert_ok(lx_lora_create(&f.lora, f.dev, f.checkpoint, &f.config, &spec, 1, &err),
                 &err);
    for (size_t i = 0; i < f.lora->n_values; i++)
        f.lora->values[i] = (float)sin((double)i);
    for (size_t i = 0; i < f.lora->count; i++) {
        const double norm = lx_lora_module_norm(f.lora, &f.lora->modules[i]);
        const double wanted = dense_norm(&f.lora->modules[i]);

        assert_true(fabs(norm - wanted) <= 1e-9 * wanted);
        most = fmax(most, norm);
    }
    norms = lx_lora_limit_norms(f.lora, most / 2);
    assert_true(norms.n_scaled > 0 && norms.n_scaled < f.lora->count);
    assert_true(norms.largest <= most / 2 * (1 + 1e-6) && norms.mean < norms.largest);
    for (size_t i = 0; i < f.lora->count; i++)
        assert_true(lx_lora_module_norm(f.lora, &f.lora->modules[i]) <= most / 2 * (1 + 1e-6));
    lx_model_fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lora_blocks__are_counted_as_the_peer_counts),
        cmocka_unit_test(test_lora_blocks__ranks_rule_the_unet_and_zero_leaves_out),
        cmocka_unit_test(test_lora_blocks__rates_by_block_and_up),
        cmocka_unit_test(test_lora_blocks__norms_are_those_of_the_products),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
