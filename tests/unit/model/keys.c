#include "src/model/keys.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

typedef struct key_case {
    const char *key;
    lx_part part;
    const char *name; /* NULL: passed over */
} key_case;

static void test_model_keys__single_files_have_ldm_names(void **state)
{
    static const key_case cases[] = {
        {"model.diffusion_model.time_embed.0.weight", LX_UNET, "time_embedding.linear_1.weight"},
        {"model.diffusion_model.time_embed.2.bias", LX_UNET, "time_embedding.linear_2.bias"},
        {"model.diffusion_model.input_blocks.0.0.weight", LX_UNET, "conv_in.weight"},
        {"model.diffusion_model.input_blocks.1.0.in_layers.0.weight", LX_UNET,
         "down_blocks.0.resnets.0.norm1.weight"},
        {"model.diffusion_model.input_blocks.3.0.op.bias", LX_UNET,
         "down_blocks.0.downsamplers.0.conv.bias"},
        {"model.diffusion_model.input_blocks.8.1.transformer_blocks.0.attn2.to_out.0.bias",
         LX_UNET, "down_blocks.2.attentions.1.transformer_blocks.0.attn2.to_out.0.bias"},
        {"model.diffusion_model.input_blocks.11.0.out_layers.3.weight", LX_UNET,
         "down_blocks.3.resnets.1.conv2.weight"},
        {"model.diffusion_model.middle_block.2.emb_layers.1.weight", LX_UNET,
         "mid_block.resnets.1.time_emb_proj.weight"},
        {"model.diffusion_model.middle_block.1.norm.weight", LX_UNET,
         "mid_block.attentions.0.norm.weight"},
        {"model.diffusion_model.output_blocks.2.1.conv.weight", LX_UNET,
         "up_blocks.0.upsamplers.0.conv.weight"},
        {"model.diffusion_model.output_blocks.5.2.conv.weight", LX_UNET,
         "up_blocks.1.upsamplers.0.conv.weight"},
        {"model.diffusion_model.output_blocks.10.0.skip_connection.weight", LX_UNET,
         "up_blocks.3.resnets.1.conv_shortcut.weight"},
        {"model.diffusion_model.out.2.bias", LX_UNET, "conv_out.bias"},
        {"first_stage_model.encoder.down.1.block.0.nin_shortcut.weight", LX_VAE,
         "encoder.down_blocks.1.resnets.0.conv_shortcut.weight"},
        {"first_stage_model.encoder.down.2.downsample.conv.weight", LX_VAE,
         "encoder.down_blocks.2.downsamplers.0.conv.weight"},
        {"first_stage_model.decoder.up.3.block.2.conv1.weight", LX_VAE,
         "decoder.up_blocks.0.resnets.2.conv1.weight"},
        {"first_stage_model.decoder.up.1.upsample.conv.bias", LX_VAE,
         "decoder.up_blocks.2.upsamplers.0.conv.bias"},
        {"first_stage_model.decoder.mid.attn_1.proj_out.weight", LX_VAE,
         "decoder.mid_block.attentions.0.to_out.0.weight"},
        {"first_stage_model.encoder.mid.attn_1.norm.bias", LX_VAE,
         "encoder.mid_block.attentions.0.group_norm.bias"},
        {"first_stage_model.encoder.norm_out.weight", LX_VAE, "encoder.conv_norm_out.weight"},
        {"first_stage_model.post_quant_conv.weight", LX_VAE, "post_quant_conv.weight"},
        {"cond_stage_model.transformer.text_model.encoder.layers.3.mlp.fc1.weight",
         LX_TEXT_ENCODER, "text_model.encoder.layers.3.mlp.fc1.weight"},
        {"cond_stage_model.transformer.final_layer_norm.bias", LX_TEXT_ENCODER,
         "text_model.final_layer_norm.bias"},
        {"cond_stage_model.transformer.text_model.embeddings.position_ids", LX_UNET, NULL},
        {"model_ema.diffusion_modeltime_embed0weight", LX_UNET, NULL},
        {"alphas_cumprod", LX_UNET, NULL},
        {"first_stage_model.loss.discriminator.main.0.weight", LX_UNET, NULL},
        {"model.diffusion_model.input_blocks.12.0.in_layers.0.weight", LX_UNET, NULL},
        {"model.diffusion_model.input_blocks..0.in_layers.0.weight", LX_UNET, NULL},
        {"model.diffusion_model.input_blocks.999999999999.0.op.weight", LX_UNET, NULL},
        {"model.diffusion_model.input_blocks.01.0.op.weight", LX_UNET, NULL},
        {"first_stage_model.encoder.down.9.block.0.conv1.weight", LX_UNET, NULL},
        {"", LX_UNET, NULL},
    };
    lx_str name = LX_STR_INIT;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        lx_part part = LX_UNET;
        bool is_known = lx_key_of_model(&part, &name, cases[i].key);

        if (is_known != (cases[i].name != NULL))
            fail_msg("%s: %s", cases[i].key, is_known ? lx_str_text(&name) : "not known");
        assert_string_equal(lx_str_text(&name), is_known ? cases[i].name : "");
        if (is_known)
            assert_int_equal(part, cases[i].part);
    }
    lx_str_release(&name);
}

static void test_model_keys__files_of_one_part(void **state)
{
    static const key_case cases[] = {
        {"encoder.mid_block.attentions.0.query.weight", LX_VAE,
         "encoder.mid_block.attentions.0.to_q.weight"},
        {"decoder.mid_block.attentions.0.proj_attn.bias", LX_VAE,
         "decoder.mid_block.attentions.0.to_out.0.bias"},
        {"decoder.mid_block.attentions.0.to_v.bias", LX_VAE,
         "decoder.mid_block.attentions.0.to_v.bias"},
        {"decoder.up_blocks.1.resnets.0.conv_shortcut.weight", LX_VAE,
         "decoder.up_blocks.1.resnets.0.conv_shortcut.weight"},
        {"decoder.up.0.block.1.norm2.weight", LX_VAE, "decoder.up_blocks.3.resnets.1.norm2.weight"},
        {"loss.logvar", LX_VAE, NULL},
        {"encoder.layers.0.mlp.fc2.bias", LX_TEXT_ENCODER,
         "text_model.encoder.layers.0.mlp.fc2.bias"},
        {"text_projection.weight", LX_TEXT_ENCODER, NULL},
        {"mid_block.resnets.0.conv1.weight", LX_UNET, "mid_block.resnets.0.conv1.weight"},
    };
    lx_str name = LX_STR_INIT;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        bool is_known = lx_key_of_part(&name, cases[i].part, cases[i].key);

        assert_int_equal(is_known, cases[i].name != NULL);
        assert_string_equal(lx_str_text(&name), is_known ? cases[i].name : "");
    }
    lx_str_release(&name);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model_keys__single_files_have_ldm_names),
        cmocka_unit_test(test_model_keys__files_of_one_part),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
