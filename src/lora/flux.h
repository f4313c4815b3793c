/*
 * lora/flux - the layers of transformers by their original names and by diffusers', where they are not the same
 *
 *   Flux.1         double_blocks.N.img_attn.qkv       transformer_blocks.N.attn.to_q | to_k | to_v, row behind row
 *                  double_blocks.N.txt_attn.qkv       transformer_blocks.N.attn.add_q_proj | add_k_proj | add_v_proj
 *                  single_blocks.N.linear1            single_transformer_blocks.N.attn.to_q | to_k | to_v | proj_mlp
 *   SD 3           joint_blocks.N.x_block.attn.qkv    transformer_blocks.N.attn.to_q | to_k | to_v
 *   HunyuanVideo   double_blocks.N.img_attn_qkv       as Flux.1's
 *
 * and more that are one layer in both. A fused layer's LoRA splits exactly: each part has the same down and its rows
 * of up. Separate ones fuse exactly: downs above each other, ups along a diagonal.
 *
 * The layer that makes shift and scale behind the last block (final_layer.adaLN_modulation.1, norm_out.linear) has its
 * halves in the other order in diffusers, which calls for scale and shift; so has the text's side of SD 3's last block,
 * where that makes two and not six. Its rows of up are exchanged.
 *
 * Sources: diffusers loaders/lora_conversion_utils.py, loaders/single_file_utils.py (convert_sd3_transformer_...,
 * convert_hunyuan_video_transformer_...) and scripts/convert_flux_to_diffusers.py; black-forest-labs/flux model.py;
 * sd-scripts library/sd3_models.py; ComfyUI comfy/lora.py (model_lora_keys_unet), comfy/supported_models.py.
 */
#ifndef LX_LORA_FLUX_H
#define LX_LORA_FLUX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/str.h"

enum { LX_FLUX_PARTS = 4 };

typedef enum lx_fused {
    LX_FUSED_NONE, /* named alike everywhere, or not known */
    LX_FUSED_FLUX,
    LX_FUSED_SD3,
    LX_FUSED_HUNYUAN_VIDEO,
    LX_FUSED_FLUX_OR_HUNYUAN, /* the file does not tell: names are Flux.1's, where both have the same */
    LX_FUSED_UNSURE /* nor whether it is a fused network at all */
} lx_fused;

/* diffusers' names of an original layer, appended to empty strings: how many; 0: the network has no such layer.
 * Points and underscores of the path count as the same, since kohya's names do not tell them apart. */
int lx_flux_split(lx_str names[LX_FLUX_PARTS], lx_fused network, const char *path);
/* The original name, which part of it this is, and of how many; false: no such layer. */
bool lx_flux_join(lx_str *out, int *part, int *n_parts, lx_fused network,
                  const char *path);
/* Whether the halves of a layer's rows change places between the two, by either's name of it. */
bool lx_flux_is_swapped(lx_fused network, const char *path, int64_t in, int64_t out);
/* ComfyUI's names of HunyuanVideo's layers are the original ones, but for some of those before the blocks. */
bool lx_flux_has_comfyui_name(const char *original);
/* Rows of each part of a layer of that width; n_parts as above. */
void lx_flux_rows(size_t rows[LX_FLUX_PARTS], int n_parts, size_t in, size_t out);

#endif
