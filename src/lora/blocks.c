/* What depends on a layer's block: ranks and rates of --network_args. */
#include <stdio.h>
#include <string.h>

#include "src/base/str.h"
#include "src/lora/lora.h"

int lx_lora_block(const char *layer)
{
    char side[8], kind[16];
    int level, j;

    if (lx_starts_with(layer, "mid_block."))
        return 12;
    if (sscanf(layer, "%7[a-z]_blocks.%d.%15[a-z].%d.", side, &level, kind, &j) != 4 ||
        level < 0 || level > 3 || j < 0 || j > 2)
        return -1;
    if (strcmp(kind, "downsamplers") == 0 || strcmp(kind, "upsamplers") == 0)
        j = 2;
    else if (strcmp(kind, "attentions") != 0 && strcmp(kind, "resnets") != 0)
        return -1;
    if (strcmp(side, "down") == 0)
        return 1 + 3 * level + j;
    return strcmp(side, "up") == 0 ? 13 + 3 * level + j : -1;
}

bool lx_lora_spec_has_conv(const lx_lora_spec *spec)
{
    if (spec->has_conv || !spec->has_block_ranks)
        return spec->has_conv || spec->conv_rank > 0;
    for (int i = 0; i < LX_LORA_BLOCKS; i++)
        if (spec->conv_block_rank[i] > 0)
            return true;
    return false;
}

double lx_lora_rate_factor(const lx_lora_spec *spec, lx_part part, const char *layer,
                           bool is_up)
{
    const double plus = part == LX_UNET ? spec->unet_plus : spec->text_plus;
    const int block = part == LX_UNET && spec->has_block_lr ? lx_lora_block(layer) : -1;

    return (block >= 0 ? spec->block_lr[block] : 1) * (is_up && plus != 0 ? plus : 1);
}
