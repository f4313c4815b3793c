/*
 * lora/block_weights - a strength for each block of the model ("lbw")
 *
 * A list has one of these lengths, and its length says which blocks it names:
 *
 *     12   BASE IN04 IN05 IN07 IN08 MID OUT00..OUT05                              SDXL, LoRA
 *     17   BASE IN01 IN02 IN04 IN05 IN07 IN08 MID OUT03..OUT11                    SD 1.x, LoRA
 *     20   BASE IN00..IN08 MID OUT00..OUT08                                       SDXL
 *     26   BASE IN00..IN11 MID OUT00..OUT11                                       SD 1.x
 *     61   CLIP T5 IN D00..D18 S00..S37 OUT                                       Flux
 *
 * BASE is the text encoders. IN and OUT count the original UNet's blocks: down_blocks.i, resnet or
 * attention j is IN(3i + j + 1), its downsampler IN(3i + 3); up_blocks.i, j is OUT(3i + j), its upsampler
 * OUT(3i + 2). What is in no block (the time's embedding, what stands behind the last block) keeps 1.
 *
 * A block that the list does not name gets 0, as in sd-webui-lora-block-weight (to26), whose spelling "1,0,..." and
 * presets of 17 are: ALL, NONE, ALL0.5, INS, IND, INALL, MIDD, OUTD, OUTS, OUTALL. In brackets, "[1,0,...]", it is
 * svd_merge_lora.py's list, for which such a block keeps 1.
 *
 * Sources: hako-mikan/sd-webui-lora-block-weight; sd-scripts networks/svd_merge_lora.py.
 */
#ifndef LX_LORA_BLOCK_WEIGHTS_H
#define LX_LORA_BLOCK_WEIGHTS_H

#include "src/base/error.h"
#include "src/lora/file.h"

enum { LX_BLOCK_WEIGHTS = 61 };

typedef struct lx_block_weights {
    int n;
    double weights[LX_BLOCK_WEIGHTS];
    double unnamed; /* of the blocks that the list does not name */
} lx_block_weights;

/* "1,0,0.5,..." with or without [], or a preset. LX_EFORMAT when it is neither. */
int lx_block_weights_parse(lx_block_weights *out, const char *text, lx_error *err);

/* layer: diffusers' name of it in its network, "up_blocks.1.attentions.0.proj_in", with dots or with
 * underscores for them. */
double lx_block_weights_of(const lx_block_weights *list, lx_lora_part part,
                           const char *layer);
/* Is it in a block of the models that the list is for? */
bool lx_block_weights_know(const lx_block_weights *list, lx_lora_part part, const char *layer);

#endif
