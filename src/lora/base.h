/*
 * lora/base - which model a LoRA is for, by the names and shapes of its modules
 *
 *     attn2 to_k, to_v read a text of width 768 / 1024 / 2048 / 1280    SD 1.x / SD 2.x / SDXL / SDXL refiner
 *     double_blocks, single_blocks of width 3072 (mlp 12288)            Flux.1; 18432: FLUX.2 klein 4B
 *       the same, with blocks 19 or 38, or HunyuanVideo's own names     HunyuanVideo
 *     ... of width 4096 / 6144                                          FLUX.2 klein 9B / FLUX.2 dev
 *     joint_blocks of width 1536 / 2432                                 SD 3 medium / SD 3.5 large
 *     blocks.N.self_attn, cross_attn, ffn of 1536 / 3072 / 5120         Wan 1.3B / 5B / 14B; k_img: image to video
 *     transformer_blocks.N with img_mlp and txt_mlp                     Qwen-Image
 *     layers.N.attention of width 3840 / 2304                           Z-Image / Lumina 2
 *     text encoders alone of width 768 / 1024; a second one of 1280     SD 1.x / SD 2.x; SDXL
 *
 * Metadata only confirm: where they say something else, that is told and decides nothing. But where some blocks of a
 * file could be of several models (diffusers calls them alike), and are not the last of one, they choose among these.
 * Sources: the modules of the published models; sd-scripts, musubi-tuner, diffusers
 * lora_conversion_utils, ComfyUI's model detection.
 */
#ifndef LX_LORA_BASE_H
#define LX_LORA_BASE_H

#include "src/lora/file.h"

#define LX_BASE_FLUX_OR_HUNYUAN "Flux.1 or HunyuanVideo"
#define LX_BASE_FLUX_HUNYUAN_OR_QWEN "Flux.1, HunyuanVideo or Qwen-Image"

/* "SD 1.x", "SDXL", "Flux.1", ... or "unknown"; a literal or in the arena. By names and shapes alone. */
const char *lx_lora_base(const lx_lora_file *file, lx_arena *arena);
/* The same, or of the models that it may be the one that the metadata name. */
const char *lx_lora_base_said(const char *base, const lx_tensor_file *file);

/* A sentence when the metadata name another model than the shapes; NULL when they agree or say
 * nothing. In the arena. */
const char *lx_lora_base_note(const lx_tensor_file *file, const char *base,
                              lx_arena *arena);

/* Widths of the layer that a module adapts, where its tensors tell them; else 0. */
int64_t lx_lora_in_features(const lx_lora_entry *module);
int64_t lx_lora_out_features(const lx_lora_entry *module);

#endif
