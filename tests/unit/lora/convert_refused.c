/* What must be refused, and the words of it. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/convert.h"
#include "tests/support/golden.h"
#include "tests/support/model.h"

typedef struct refusal {
    lx_small_tensor tensors[4];
    size_t n;
    lx_spelling to;
    const char *pattern;
    lx_dtype dtype; /* LX_U64: none asked for */
    int code;
    const char *word;
} refusal;

#define DOWN(name)               \
    {                            \
        name, LX_F32, {1, 2}, 2, \
        {                        \
            1, 2                 \
        }                        \
    }
#define UP(name)                 \
    {                            \
        name, LX_F32, {2, 1}, 2, \
        {                        \
            1, 2                 \
        }                        \
    }

static void test_convert__refused(void **state)
{
    static const refusal cases[] = {
        {{DOWN(LX_SMALL_STEM ".lora_down.weight"), UP(LX_SMALL_STEM ".lora_up.weight"),
          DOWN("something.else")},
         3,
         LX_SPELL_KOHYA,
         NULL,
         LX_U64,
         LX_EUNSUPPORTED,
         "something.else"},
        {{DOWN(LX_SMALL_STEM ".lora_down.weight"), UP(LX_SMALL_STEM ".lora_up.weight")},
         2,
         LX_SPELL_DIFFUSERS_OLD,
         NULL,
         LX_U64,
         LX_EUNSUPPORTED,
         "attention"},
        {{DOWN("lora_unet_quux_corge.lora_down.weight"),
          UP("lora_unet_quux_corge.lora_up.weight")},
         2,
         LX_SPELL_DIFFUSERS,
         NULL,
         LX_U64,
         LX_EUNSUPPORTED,
         "lora_unet_quux_corge"},
        {{DOWN(LX_SMALL_STEM ".lora_down.weight")},
         1,
         LX_SPELL_KOHYA,
         NULL,
         LX_U64,
         LX_EFORMAT,
         "no up"},
        {{DOWN(LX_SMALL_STEM ".lora_down.weight"), UP(LX_SMALL_STEM ".lora_up.weight"),
          DOWN("unet.mid_block.attentions.0.proj_in.lora_A.weight"),
          UP("unet.mid_block.attentions.0.proj_in.lora_B.weight")},
         4,
         LX_SPELL_KOHYA,
         NULL,
         LX_U64,
         LX_EFORMAT,
         "both become"},
        {{{LX_SMALL_STEM ".lora_down.weight", LX_F32, {1, 2}, 2, {1, NAN}},
          UP(LX_SMALL_STEM ".lora_up.weight")},
         2,
         LX_SPELL_COMFYUI,
         NULL,
         LX_U64,
         LX_EFORMAT,
         "element 1 is nan"},
        {{{LX_SMALL_STEM ".lora_down.weight", LX_F32, {1, 2}, 2, {1, 500}},
          UP(LX_SMALL_STEM ".lora_up.weight")},
         2,
         LX_SPELL_KOHYA,
         NULL,
         LX_F8_E4M3,
         LX_ELIMIT,
         "too large for F8_E4M3"},
        {{{LX_SMALL_STEM ".lora_down.weight", LX_F32, {1, 2}, 2, {1, 1e6f}},
          UP(LX_SMALL_STEM ".lora_up.weight")},
         2,
         LX_SPELL_KOHYA,
         NULL,
         LX_F16,
         LX_ELIMIT,
         "too large for F16"},
        {{DOWN("lora_unet_layers_0_attention_qkv.lora_down.weight"),
          UP("lora_unet_layers_0_attention_qkv.lora_up.weight")},
         2,
         LX_SPELL_DIFFUSERS,
         NULL,
         LX_U64,
         LX_EUNSUPPORTED,
         "Flux.1, SD 3 and HunyuanVideo only"},
        {{DOWN("diffusion_model.blocks.0.self_attn.q.lora_A.weight"),
          UP("diffusion_model.blocks.0.self_attn.q.lora_B.weight")},
         2,
         LX_SPELL_PEFT,
         NULL,
         LX_U64,
         LX_EUNSUPPORTED,
         "Flux.1, SD 3 and HunyuanVideo only"},
        {{DOWN("transformer.blocks.0.attn1.to_q.lora_A.weight"),
          UP("transformer.blocks.0.attn1.to_q.lora_B.weight")},
         2,
         LX_SPELL_KOHYA,
         NULL,
         LX_U64,
         LX_EUNSUPPORTED,
         "Flux.1, SD 3 and HunyuanVideo only"},
        {{DOWN(LX_SMALL_STEM ".lora_down.weight"), UP(LX_SMALL_STEM ".lora_up.weight")},
         2,
         LX_SPELL_KOHYA,
         "*.nothing",
         LX_U64,
         LX_EUSAGE,
         "no key matches"},
        {{DOWN(LX_SMALL_STEM ".lora_down.weight"), UP(LX_SMALL_STEM ".lora_up.weight")},
         2,
         LX_SPELL_KOHYA,
         "*.lora_up.*",
         LX_U64,
         LX_EUSAGE,
         "no use without"},
        {{DOWN(LX_SMALL_STEM ".lora_down.weight"), UP(LX_SMALL_STEM ".lora_up.weight")},
         2,
         LX_SPELL_KOHYA,
         "*",
         LX_U64,
         LX_EUSAGE,
         "nothing is left"},
        {{DOWN(LX_SMALL_STEM ".lora_down.weight"),
          UP(LX_SMALL_STEM ".lora_up.weight"),
          {"<s1>", LX_F32, {2}, 1, {1, 2}}},
         3,
         LX_SPELL_PEFT,
         NULL,
         LX_U64,
         LX_EUNSUPPORTED,
         "<s1>"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const refusal *c = &cases[i];
        const lx_convert_options o = {.to = c->to,
                                      .has_dtype = c->dtype != LX_U64,
                                      .dtype = c->dtype,
                                      .drops = &c->pattern,
                                      .n_drops = c->pattern != NULL};
        lx_error err = {0};
        lx_conversion d;
        const int rc = lx_conversion_of(&d, c->tensors, c->n, &o, &err);
        if (rc != c->code || !strstr(err.text, c->word))
            fail_msg("case %zu: %d \"%s\"", i, rc, err.text);
        lx_conversion_drop(&d);
    }
}

static void test_convert__kinds_without_names(void **state)
{
    static const struct {
        const char *file;
        lx_spelling to;
    } cases[] = {{"lycoris_loha", LX_SPELL_DIFFUSERS},
                 {"lycoris_lokr", LX_SPELL_PEFT},
                 {"lycoris_full", LX_SPELL_DIFFUSERS_OLD},
                 {"lycoris_dora", LX_SPELL_DIFFUSERS_OLD},
                 {"lycoris_glora", LX_SPELL_PEFT}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const lx_convert_options o = {.to = cases[i].to};
        lx_error err;
        char path[128];
        lx_conversion d;
        snprintf(path, sizeof path, "lora/files/%s.safetensors", cases[i].file);
        assert_int_equal(lx_conversion_run(&d, lx_golden_need(path), &o, &err),
                         LX_EUNSUPPORTED);
        assert_non_null(strstr(err.text, "makes it a LoRA")
                            ? err.text
                            : strstr(err.text, "make it a LoRA"));
        lx_conversion_drop(&d);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_convert__refused),
        cmocka_unit_test(test_convert__kinds_without_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
