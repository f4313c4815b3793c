/*
 * lora/group - the block that a module belongs to, for people who read lists of modules
 *
 *     lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q  down_blocks.1.attentions.0
 *     unet.mid_block.resnets.1.conv1.lora...                               mid_block.resnets.1
 *     lora_te_text_model_encoder_layers_3_mlp_fc1                          encoder.layers.3
 *     lora_unet_double_blocks_7_img_attn_qkv                               double_blocks.7
 */
#ifndef LX_LORA_GROUP_H
#define LX_LORA_GROUP_H

#include "src/lora/file.h"

enum { LX_GROUP_BYTES = 96 };

/* *rest: what of the name (as the file spells it) stands behind the block; the whole name and
 * an empty block when none is recognised. */
void lx_lora_group(char block[LX_GROUP_BYTES], const char **rest, const lx_lora_entry *module);

/* "UNet" reads wrong for a model that has none: "transformer". `base` as lx_lora_base says. */
const char *lx_lora_part_label(lx_lora_part part, const char *base);

#endif
