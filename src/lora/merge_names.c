/* Files that name the same network's layers in two ways: what of that sd-scripts' spelling can say. */
#include <string.h>

#include "src/base/str.h"
#include "src/lora/flux.h"
#include "src/lora/layer.h"
#include "src/lora/merge_internal.h"

void lx_merge__learn_network(lx_merge *m, lx_fused network)
{
    const bool is_known = network == LX_FUSED_FLUX || network == LX_FUSED_SD3 ||
                          network == LX_FUSED_HUNYUAN_VIDEO;

    if (m->network == LX_FUSED_NONE || m->network == LX_FUSED_UNSURE ||
        (m->network == LX_FUSED_FLUX_OR_HUNYUAN && is_known))
        m->network = network ? network : m->network;
}

/* ---- SDXL --------------------------------------------------------------------------------- */

/* As names are now: the original paths beside diffusers'. */
static bool mixes_unet_paths(const lx_merge *m)
{
    bool has_original = false, has_diffusers = false;

    for (size_t i = 0; i < m->n_targets; i++) {
        const char *name = m->targets[i].first->entry->name;
        if (lx_lora_layer_part(m->targets[i].layer) != LX_LORA_UNET)
            continue;
        has_original |= strstr(name, "input_blocks") || strstr(name, "output_blocks") ||
                        strstr(name, "middle_block");
        has_diffusers |= strstr(name, "down_blocks") || strstr(name, "up_blocks") ||
                         strstr(name, "mid_block");
    }
    return has_original && has_diffusers;
}

/* ---- transformers ------------------------------------------------------------------------- */

/* Where the image network's path begins; NULL of a text encoder's layer. */
static const char *path_of(const lx_merge_target *t)
{
    return lx_starts_with(t->layer, "lora_unet_") ? t->layer + strlen("lora_unet_") : NULL;
}

/* Names that the original model has and diffusers has not, with underscores for points. */
static bool is_original(const char *path)
{
    return lx_starts_with(path, "double_blocks_") ||
           lx_starts_with(path, "single_blocks_") || lx_starts_with(path, "joint_blocks_") ||
           (lx_starts_with(path, "blocks_") &&
            (strstr(path, "_self_attn_") || strstr(path, "_cross_attn_") ||
             lx_ends_with(path, "_ffn_0") || lx_ends_with(path, "_ffn_2")));
}

static bool has_original(const lx_merge *m)
{
    for (size_t i = 0; i < m->n_targets; i++) {
        const char *path = path_of(&m->targets[i]);
        if (path && is_original(path))
            return true;
    }
    return false;
}

/* XLabs' processors, and OneTrainer's parts of a layer that is fused. */
static bool is_part(const char *path)
{
    const size_t n = strlen(path);

    if (strstr(path, "_processor_"))
        return true;
    return (lx_starts_with(path, "double_blocks_") || lx_starts_with(path, "single_blocks_")) &&
           path[n - 2] == '_' && strchr("0123", path[n - 1]) &&
           (strncmp(path + n - 6, "_qkv", 4) == 0 ||
            strncmp(path + n - 10, "_linear1", 8) == 0);
}

/* diffusers' name of a layer of Flux.1, SD 3 or HunyuanVideo that has another in the original. */
static bool is_renamed(const char *path, lx_fused network)
{
    lx_str original = LX_STR_INIT;
    int part, n_parts;
    bool is = network != LX_FUSED_NONE && network != LX_FUSED_UNSURE &&
              lx_flux_join(&original, &part, &n_parts, network, path);

    for (size_t i = 0; is && i < original.len; i++)
        if (original.data[i] == '.')
            original.data[i] = '_';
    is = is && strcmp(lx_str_text(&original), path) != 0;
    lx_str_release(&original);
    return is;
}

/* Wan's layers, which lx has no other names of. */
static bool is_wan(const char *path)
{
    return lx_starts_with(path, "blocks_") &&
           (strstr(path, "_attn1_") || strstr(path, "_attn2_") || strstr(path, "_ffn_net_"));
}

/* No layer by that name in sd-scripts. Qwen-Image's transformer_blocks are called so everywhere. */
static bool is_foreign(const lx_merge *m, const char *path, bool is_fused)
{
    return is_part(path) || is_wan(path) || is_renamed(path, m->network) ||
           lx_starts_with(path, "single_transformer_blocks_") ||
           (is_fused && (lx_starts_with(path, "transformer_blocks_") ||
                         lx_starts_with(path, "time_text_embed_")));
}

static int refuse(const lx_merge_part *p, const char *path, lx_error *err)
{
    const char *label = p->source->label ? p->source->label : "FILE";

    if (is_wan(path))
        return lx_fail(err, LX_EUNSUPPORTED,
                       "%s: %s: the files are of different spellings, and lx knows no name "
                       "in sd-scripts' for this layer: merge files of one spelling",
                       label, p->entry->name);
    return lx_fail(err, LX_EUNSUPPORTED,
                   "%s: %s: the files are of different spellings, and in sd-scripts' the "
                   "layers of this network are others: lx convert %s --to kohya first",
                   label, p->entry->name, label);
}

int lx_merge__check_names(lx_merge *m, lx_error *err)
{
    bool is_fused, is_kohya;

    if (m->n_sources < 2)
        return LX_OK;
    m->is_mixed |= m->is_sdxl && mixes_unet_paths(m);
    is_fused = has_original(m);
    is_kohya = strcmp(m->targets[0].first->source->file->family, "kohya") == 0;
    if (!m->is_mixed && !(is_kohya && is_fused))
        return LX_OK;
    for (size_t i = 0; i < m->n_targets; i++) {
        const lx_merge_target *t = &m->targets[i];
        const char *path = path_of(t);
        if (path && is_foreign(m, path, is_fused))
            return refuse(t->first, path, err);
    }
    return LX_OK;
}
