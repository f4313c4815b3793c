/* One name for a layer, whatever the spelling; and the weights of its block. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "src/lora/block_weights.h"
#include "src/lora/layer.h"
#include "tests/support/model.h"

static void test_layer__spellings(void **state)
{
    static const struct {
        const char *name, *layer;
    } cases[] = {
        {"lora_unet_down_blocks_0_attentions_1_proj_in",
         "lora_unet_down_blocks_0_attentions_1_proj_in"},
        {"unet.down_blocks.0.attentions.1.proj_in",
         "lora_unet_down_blocks_0_attentions_1_proj_in"},
        {"base_model.model.down_blocks.0.attentions.1.proj_in",
         "lora_unet_down_blocks_0_attentions_1_proj_in"},
        {"lycoris_down_blocks_0_attentions_1_proj_in",
         "lora_unet_down_blocks_0_attentions_1_proj_in"},
        {"mid_block.attentions.0.transformer_blocks.0.attn1.processor.to_out",
         "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_out_0"},
        {"lora_unet_unet_up_blocks_1_attentions_0_transformer_blocks_0_attn2_processor_"
         "to_k",
         "lora_unet_up_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k"},
        {"lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q",
         "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q"},
        {"lora_unet_output_blocks_5_2_conv", "lora_unet_up_blocks_1_upsamplers_0_conv"},
        {"lora_unet_middle_block_2_in_layers_2", "lora_unet_mid_block_resnets_1_conv1"},
        {"diffusion_model.input_blocks.3.0.op",
         "lora_unet_down_blocks_0_downsamplers_0_conv"},
        {"diffusion_model.double_blocks.0.img_attn.qkv",
         "lora_unet_double_blocks_0_img_attn_qkv"},
        {"text_encoder.text_model.encoder.layers.3.mlp.fc1",
         "lora_te_text_model_encoder_layers_3_mlp_fc1"},
        {"text_encoder.text_model.encoder.layers.3.self_attn.to_out",
         "lora_te_text_model_encoder_layers_3_self_attn_out_proj"},
        {"lora_te1_text_model_encoder_layers_3_mlp_fc1",
         "lora_te_text_model_encoder_layers_3_mlp_fc1"},
        {"text_encoder_2.text_model.encoder.layers.3.mlp.fc1",
         "lora_te2_text_model_encoder_layers_3_mlp_fc1"},
        {"unet:0",
         "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"},
        {"unet:58",
         "lora_unet_up_blocks_1_attentions_0_transformer_blocks_0_ff_net_0_proj"},
        {"unet:143",
         "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_out_0"},
        {"text_encoder:5", "lora_te_text_model_encoder_layers_1_self_attn_v_proj"},
    };
    lx_error err;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lx_str out = LX_STR_INIT;
        lx_assert_ok(lx_lora_layer(&out, NULL, cases[i].name, &err), &err);
        assert_string_equal(lx_str_text(&out), cases[i].layer);
        lx_str_release(&out);
    }
    lx_str out = LX_STR_INIT;
    assert_int_equal(lx_lora_layer(&out, NULL, "unet:144", &err), LX_EUNSUPPORTED);
    lx_str_release(&out);
}

static void test_layer__checkpoints(void **state)
{
    static const struct {
        const char *key, *layers[3];
    } cases[] = {
        {"model.diffusion_model.input_blocks.1.1.proj_in.weight",
         {"lora_unet_down_blocks_0_attentions_0_proj_in"}},
        {"model.diffusion_model.output_blocks.2.1.conv.bias",
         {"lora_unet_up_blocks_0_upsamplers_0_conv"}},
        {"cond_stage_model.transformer.text_model.encoder.layers.0.mlp.fc1.weight",
         {"lora_te_text_model_encoder_layers_0_mlp_fc1"}},
        {"cond_stage_model.transformer.encoder.layers.0.mlp.fc1.weight",
         {"lora_te_text_model_encoder_layers_0_mlp_fc1"}},
        {"conditioner.embedders.1.model.transformer.resblocks.7.attn.in_proj_weight",
         {"lora_te2_text_model_encoder_layers_7_self_attn_q_proj",
          "lora_te2_text_model_encoder_layers_7_self_attn_k_proj",
          "lora_te2_text_model_encoder_layers_7_self_attn_v_proj"}},
        {"conditioner.embedders.1.model.transformer.resblocks.7.mlp.c_fc.weight",
         {"lora_te2_text_model_encoder_layers_7_mlp_fc1"}},
        {"first_stage_model.encoder.conv_in.weight", {NULL}},
        {"model_ema.diffusion_modeltime_embed0weight", {NULL}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lx_layer_rows rows;
        assert_int_equal(lx_layer_rows_of(&rows, cases[i].key, NULL), LX_OK);
        for (int k = 0; k < 3; k++) {
            assert_int_equal(k < rows.n, cases[i].layers[k] != NULL);
            if (k < rows.n)
                assert_string_equal(lx_str_text(&rows.layers[k]), cases[i].layers[k]);
        }
        lx_layer_rows_release(&rows);
    }
}

/* CLIP T5 IN D00..D18 S00..S37 OUT */
#define TEN "0,0,0,0,0,0,0,0,0,0,"
#define FLUX "2,3,4,5," TEN "0,0,0,0,0,0,0,6," TEN TEN TEN "0,0,0,0,0,0,0,7,8"

static void test_block_weights__lists(void **state)
{
    static const struct {
        const char *list;
        lx_lora_part part;
        const char *layer;
        double weight;
    } cases[] = {
        {"[0,1,2,3,4,5,6,7,8,9,10,11]", LX_LORA_UNET,
         "down_blocks_1_attentions_0_proj_in", 1},
        {"0,1,2,3,4,5,6,7,8,9,10,11", LX_LORA_UNET, "up_blocks.1.attentions.2.proj_in",
         11},
        {"1,1,2,3,4,5,6,7,8,9,10,11", LX_LORA_UNET, "down_blocks.0.attentions.0.proj_in",
         0},
        {"[0,1,2,3,4,5,6,7,8,9,10,11]", LX_LORA_UNET, "down_blocks.0.attentions.0.proj_in",
         1},
        {"0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19", LX_LORA_UNET,
         "mid_block_attentions_0", 10},
        {"[ 0, 1, 2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]", LX_LORA_UNET,
         "up_blocks_3_attentions_2_x", 16},
        {"OUTALL", LX_LORA_TEXT_ENCODER_2, "text_model_encoder_layers_0", 1},
        {"NONE", LX_LORA_UNET, "time_embedding_linear_1", 1},
        {"NONE", LX_LORA_UNET, "down_blocks_0_downsamplers_0_conv", 0},
        {"ALL", LX_LORA_UNET, "up_blocks_0_resnets_1_conv1", 0},
        {FLUX, LX_LORA_TEXT_ENCODER, "text_model_encoder_layers_0", 2},
        {FLUX, LX_LORA_TEXT_ENCODER_2, "encoder_block_0", 3},
        {FLUX, LX_LORA_UNET, "img_in", 4},
        {FLUX, LX_LORA_UNET, "x_embedder", 4},
        {FLUX, LX_LORA_UNET, "time_text_embed.guidance_embedder.linear_1", 4},
        {FLUX, LX_LORA_UNET, "double_blocks_0_img_attn_proj", 5},
        {FLUX, LX_LORA_UNET, "transformer_blocks.0.attn.to_q", 5},
        {FLUX, LX_LORA_UNET, "transformer_blocks_18_attn_to_q", 6},
        {FLUX, LX_LORA_UNET, "single_blocks_37_linear1", 7},
        {FLUX, LX_LORA_UNET, "single_transformer_blocks_37_proj_mlp", 7},
        {FLUX, LX_LORA_UNET, "single_transformer_blocks_38_proj_mlp", 1},
        {FLUX, LX_LORA_UNET, "final_layer_linear", 8},
        {FLUX, LX_LORA_UNET, "norm_out.linear", 8},
        {FLUX, LX_LORA_UNET, "proj_out", 8},
        {FLUX, LX_LORA_UNET, "what_this_is", 1},
    };
    lx_block_weights list;
    lx_error err;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lx_assert_ok(lx_block_weights_parse(&list, cases[i].list, &err), &err);
        assert_true(lx_block_weights_of(&list, cases[i].part, cases[i].layer) ==
                    cases[i].weight);
    }
    static const char *const bad[] = {"",
                                      "[",
                                      "1,2",
                                      "[1,1,1,1,1,1,1,1,1,1,1,1",
                                      "R,1,1,1,1,1,1,1,1,1,1,1",
                                      "nan,1,1,1,1,1,1,1,1,1,1,1",
                                      "1,1,1,1,1,1,1,1,1,1,1,1]"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(lx_block_weights_parse(&list, bad[i], &err), LX_EFORMAT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layer__spellings),
        cmocka_unit_test(test_layer__checkpoints),
        cmocka_unit_test(test_block_weights__lists),
    };

    return cmocka_run_group_tests_name("lora/layer", tests, NULL, NULL);
}
