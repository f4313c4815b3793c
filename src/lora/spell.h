/*
 * lora/spell - names of modules in the spellings that programs look for
 *
 *                    UNet                                            text encoder
 *     kohya          lora_unet_down_blocks_0_attentions_0_proj_in    lora_te_text_model_encoder_layers_0_mlp_fc1
 *       of SDXL      lora_unet_input_blocks_1_1_proj_in              lora_te1_..., lora_te2_...
 *     diffusers      unet.down_blocks.0.attentions.0.proj_in         text_encoder.text_model.encoder.layers.0.mlp.fc1
 *     diffusers-old  ...attn1.processor.to_q                         ...self_attn.to_q
 *     peft           base_model.model.down_blocks.0....              base_model.model.text_model....
 *     comfyui        diffusion_model.input_blocks.1.1.proj_in        text_encoders.clip_l.transformer.text_model....
 *
 * Other networks than a UNet keep the path that their trainer knew: `transformer.` in front for diffusers,
 * `diffusion_model.` for ComfyUI. Where a name has underscores for dots, the dots come from the words that
 * the known models' paths are made of, the longest first.
 *
 * Sources: sd-scripts networks/lora.py and library/sdxl_model_util.py, diffusers
 * loaders/lora_conversion_utils.py and utils/state_dict_utils.py, PEFT's save_and_load.py, ComfyUI's
 * comfy/lora.py (model_lora_keys_unet, model_lora_keys_clip).
 */
#ifndef LX_LORA_SPELL_H
#define LX_LORA_SPELL_H

#include "src/base/str.h"
#include "src/lora/file.h"
#include "src/lora/flux.h"

typedef enum lx_spelling {
    LX_SPELL_KOHYA,
    LX_SPELL_DIFFUSERS,
    LX_SPELL_DIFFUSERS_OLD,
    LX_SPELL_PEFT,
    LX_SPELL_COMFYUI,
    LX_SPELLINGS
} lx_spelling;
extern const char *const lx_spelling_names[LX_SPELLINGS]; /* as in the table above */

/* What of the model decides spellings. */
typedef struct lx_spell_model {
    bool is_sdxl, is_sd2;
    lx_fused fused;        /* whose layers these are, by whosever names */
    bool numbers_encoders; /* lora_te1_ for the first */
} lx_spell_model;

/* Of a file. */
lx_spell_model lx_spell_model_of(const lx_lora_file *file, lx_arena *arena);

/* A module's place in the model, in diffusers' words for UNets and CLIP. */
typedef struct lx_module_place {
    lx_lora_part part; /* LX_LORA_UNET: the image network of whatever kind */
    bool is_unet;      /* down_blocks, mid_block, up_blocks and what stands beside them */
    lx_str path;       /* with dots; lx_str_release */
} lx_module_place;

/* From a name of any spelling, without its suffix. LX_EUNSUPPORTED when it does not tell the place. */
int lx_module_place_of(lx_module_place *place, const char *name, lx_error *err);

/* Appends the name. LX_EUNSUPPORTED: the spelling has none for it; the message names `name`. */
int lx_lora_spell(lx_str *out, lx_spelling spelling, const lx_module_place *place,
                  const lx_spell_model *model, const char *name, lx_error *err);

#endif
