/*
 * lora/flux - the layers of Flux.1 by its original names and by diffusers'
 *
 *     double_blocks.N.img_attn.qkv    transformer_blocks.N.attn.to_q | to_k | to_v, rows one behind the other
 *     double_blocks.N.txt_attn.qkv    transformer_blocks.N.attn.add_q_proj | add_k_proj | add_v_proj
 *     single_blocks.N.linear1         single_transformer_blocks.N.attn.to_q | to_k | to_v | proj_mlp
 *
 * and more that are one layer in both. A fused layer's LoRA splits exactly: each part has the same down and its rows
 * of up. Separate ones fuse exactly: downs above each other, ups along a diagonal.
 *
 * Sources: diffusers loaders/lora_conversion_utils.py and scripts/convert_flux_to_diffusers.py, black-forest-labs/flux
 * model.py.
 */
#ifndef LX_LORA_FLUX_H
#define LX_LORA_FLUX_H

#include <stdbool.h>
#include <stddef.h>

#include "src/base/str.h"

enum { LX_FLUX_PARTS = 4 };

/* diffusers' names of an original layer, appended to empty strings: how many; 0: no layer of Flux.1. */
int lx_flux_split(lx_str names[LX_FLUX_PARTS], const char *path);
/* The original name, which part of it this is, and of how many; false: no such layer. */
bool lx_flux_join(lx_str *out, int *part, int *n_parts, const char *path);
/* Rows of each part of a layer of that width; n_parts as above. */
void lx_flux_rows(size_t rows[LX_FLUX_PARTS], int n_parts, size_t in, size_t out);

#endif
