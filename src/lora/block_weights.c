#include "src/lora/block_weights.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "src/base/str.h"
#include "src/format/tensor_file_build.h"

enum { BASE = 0, IN = 1, MID = 13, OUT = 14, UNET_BLOCKS = 26 };
enum { FLUX_CLIP, FLUX_T5, FLUX_IN, FLUX_DOUBLE, FLUX_SINGLE = 22, FLUX_OUT = 60 };

static const signed char of_12[] = {0, 5, 6, 8, 9, 13, 14, 15, 16, 17, 18, 19};
static const signed char of_17[] = {0,  2,  3,  5,  6,  8,  9,  13, 17,
                                    18, 19, 20, 21, 22, 23, 24, 25};
static const signed char of_20[] = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,
                                    13, 14, 15, 16, 17, 18, 19, 20, 21, 22};

static const char *preset(const char *name)
{
    static const char *const presets[][2] = {
        {"NONE", "0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0"},
        {"ALL", "1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1"},
        {"ALL0.5", ".5,.5,.5,.5,.5,.5,.5,.5,.5,.5,.5,.5,.5,.5,.5,.5,.5"},
        {"INS", "1,1,1,1,0,0,0,0,0,0,0,0,0,0,0,0,0"},
        {"IND", "1,0,0,0,1,1,1,0,0,0,0,0,0,0,0,0,0"},
        {"INALL", "1,1,1,1,1,1,1,0,0,0,0,0,0,0,0,0,0"},
        {"MIDD", "1,0,0,0,1,1,1,1,1,1,1,1,0,0,0,0,0"},
        {"OUTD", "1,0,0,0,0,0,0,0,1,1,1,1,0,0,0,0,0"},
        {"OUTS", "1,0,0,0,0,0,0,0,0,0,0,0,1,1,1,1,1"},
        {"OUTALL", "1,0,0,0,0,0,0,0,1,1,1,1,1,1,1,1,1"},
    };

    for (size_t i = 0; i < sizeof presets / sizeof *presets; i++)
        if (strcasecmp(presets[i][0], name) == 0)
            return presets[i][1];
    return name;
}

int lx_block_weights_parse(lx_block_weights *out, const char *text, lx_error *err)
{
    const char *s = preset(text);
    const bool is_list = *s == '[';
    int n = 0;

    for (s += is_list; n < LX_BLOCK_WEIGHTS; s++) {
        char *end;
        double w = strtod(s, &end);
        if (end == s || !isfinite(w))
            break;
        out->weights[n++] = w;
        for (s = end; *s == ' ';)
            s++;
        if (*s != ',')
            break;
    }
    out->n = n;
    out->unnamed = is_list;
    if ((is_list ? strcmp(s, "]") : *s) ||
        (n != 12 && n != 17 && n != 20 && n != UNET_BLOCKS && n != LX_BLOCK_WEIGHTS))
        return lx_fail(
            err, LX_EFORMAT,
            "lbw=%.80s: must be 12, 17, 20, 26 or 61 numbers with commas between, or "
            "ALL, NONE, ALL0.5, INS, IND, INALL, MIDD, OUTD, OUTS, OUTALL",
            lx_show(text, strlen(text)).text);
    return LX_OK;
}

/* The place of a layer among the 26, -1 for what is in none (time embedding). */
static int unet_block(lx_lora_part part, const char *layer)
{
    char kind[32];
    int i, j;

    if (part == LX_LORA_TEXT_ENCODER || part == LX_LORA_TEXT_ENCODER_2 ||
        part == LX_LORA_TEXT_ENCODER_3)
        return BASE;
    if (lx_starts_with(layer, "mid_block"))
        return MID;
    if (lx_starts_with(layer, "conv_in"))
        return IN;
    if (sscanf(layer, "down_blocks%*1[._]%d%*1[._]%31[a-z]%*1[._]%d", &i, kind, &j) == 3)
        return i < 0 || i > 3 || j < 0 || j > 2    ? -1
               : strcmp(kind, "downsamplers") == 0 ? IN + 3 * i + 3
                                                   : IN + 3 * i + 1 + j;
    if (sscanf(layer, "up_blocks%*1[._]%d%*1[._]%31[a-z]%*1[._]%d", &i, kind, &j) == 3)
        return i < 0 || i > 3 || j < 0 || j > 2  ? -1
               : strcmp(kind, "upsamplers") == 0 ? OUT + 3 * i + 2
                                                 : OUT + 3 * i + j;
    return -1;
}

/* The number behind the prefix; false: the layer begins otherwise. */
static bool is_numbered(int *i, const char *layer, const char *prefix)
{
    return lx_starts_with(layer, prefix) && sscanf(layer + strlen(prefix), "%*1[._]%d", i) == 1;
}

/* Names are Flux' own or diffusers'. */
static int flux_block(lx_lora_part part, const char *layer)
{
    static const char *const before[] = {"img_in",     "txt_in",     "time_in",          "vector_in",
                                         "guidance_in", "x_embedder", "context_embedder", "time_text_embed"};
    static const char *const behind[] = {"final_layer", "norm_out", "proj_out"};
    int i;

    if (part == LX_LORA_TEXT_ENCODER)
        return FLUX_CLIP;
    if (part == LX_LORA_TEXT_ENCODER_2 || part == LX_LORA_TEXT_ENCODER_3)
        return FLUX_T5;
    if (is_numbered(&i, layer, "double_blocks") || is_numbered(&i, layer, "transformer_blocks"))
        return i >= 0 && i < FLUX_SINGLE - FLUX_DOUBLE ? FLUX_DOUBLE + i : -1;
    if (is_numbered(&i, layer, "single_blocks") || is_numbered(&i, layer, "single_transformer_blocks"))
        return i >= 0 && i < FLUX_OUT - FLUX_SINGLE ? FLUX_SINGLE + i : -1;
    for (size_t k = 0; k < sizeof before / sizeof *before; k++)
        if (lx_starts_with(layer, before[k]))
            return FLUX_IN;
    for (size_t k = 0; k < sizeof behind / sizeof *behind; k++)
        if (lx_starts_with(layer, behind[k]))
            return FLUX_OUT;
    return -1;
}

static int block_of(const lx_block_weights *list, lx_lora_part part, const char *layer)
{
    return list->n == LX_BLOCK_WEIGHTS ? flux_block(part, layer) : unet_block(part, layer);
}

bool lx_block_weights_know(const lx_block_weights *list, lx_lora_part part, const char *layer)
{
    return block_of(list, part, layer) >= 0;
}

double lx_block_weights_of(const lx_block_weights *list, lx_lora_part part,
                           const char *layer)
{
    const signed char *of = list->n == 12   ? of_12
                            : list->n == 17 ? of_17
                            : list->n == 20 ? of_20
                                            : NULL;
    const int block = block_of(list, part, layer);

    if (block < 0)
        return 1;
    for (int i = 0; i < list->n; i++)
        if ((of ? of[i] : i) == block)
            return list->weights[i];
    return list->unnamed;
}
