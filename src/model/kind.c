#include "src/model/kind.h"

#include <string.h>

#include "src/base/str.h"

static const char ldm[] = "model.diffusion_model.";

static const char *after(const char *key, const char *prefix)
{
    return lx_starts_with(key, prefix) ? key + strlen(prefix) : NULL;
}

/* One dimension of a tensor by its name, with and without the prefix of single files. */
static int64_t size_of(const lx_tensor_file *file, const char *name, int dim)
{
    const lx_tensor_view *t = lx_tensor_file_find(file, name);
    char prefixed[160] = "model.diffusion_model.";

    if (!t && strlen(name) + sizeof ldm < sizeof prefixed) {
        strcat(prefixed, name);
        t = lx_tensor_file_find(file, prefixed);
    }
    return t && t->n_dims > dim ? t->shape[dim] : 0;
}

/* Width of the text that the first cross attention reads, whatever the block. */
static int64_t context_of(const lx_tensor_file *file)
{
    for (size_t i = 0; i < lx_tensor_file_count(file); i++) {
        const lx_tensor_view *t = lx_tensor_file_at(file, i);
        if (lx_ends_with(t->name, "attn2.to_k.weight") && t->n_dims == 2)
            return t->shape[1];
    }
    return 0;
}

static const char *kind_of_unet(const lx_tensor_file *file, int64_t channels)
{
    static const struct {
        int64_t context;
        const char *plain, *inpainting, *pix2pix;
    } kinds[] = {{768, "SD 1.x", "SD 1.x inpainting", "SD 1.x pix2pix"},
                 {1024, "SD 2.x", "SD 2.x inpainting", "SD 2.x pix2pix"},
                 {2048, "SDXL", "SDXL inpainting", "SDXL pix2pix"},
                 {1280, "SDXL refiner", "SDXL refiner", "SDXL refiner"}};
    const int64_t context = context_of(file);

    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (kinds[i].context == context)
            return channels == 9   ? kinds[i].inpainting
                   : channels == 8 ? kinds[i].pix2pix
                                   : kinds[i].plain;
    return "SD layout of another width";
}

static bool has(const lx_tensor_file *file, const char *name)
{
    return size_of(file, name, 0) > 0;
}

static const char *kind_of_transformer(const lx_tensor_file *file)
{
    int64_t hidden;

    if ((hidden = size_of(file, "double_blocks.0.img_attn.qkv.weight", 1))) {
        if (has(file, "distilled_guidance_layer.layers.0.in_layer.weight"))
            return "Chroma";
        return hidden == 6144                              ? "FLUX.2 dev"
               : hidden == 4096                            ? "FLUX.2 klein 9B"
               : size_of(file, "txt_in.weight", 1) == 7680 ? "FLUX.2 klein 4B"
               : has(file, "guidance_in.in_layer.weight")  ? "Flux.1 dev"
                                                           : "Flux.1 schnell";
    }
    if (has(file, "single_transformer_blocks.0.attn.to_q.weight"))
        return "Flux.1 (diffusers)";
    if ((hidden = size_of(file, "joint_blocks.0.x_block.attn.qkv.weight", 1)))
        return hidden == 1536 ? "SD 3 medium" : hidden == 2432 ? "SD 3.5 large" : "SD 3";
    if ((hidden = size_of(file, "blocks.0.self_attn.q.weight", 1)) ||
        (hidden = size_of(file, "blocks.0.attn1.to_q.weight", 1)))
        return hidden == 1536   ? "Wan 1.3B"
               : hidden == 3072 ? "Wan 5B"
               : hidden == 5120 ? "Wan 14B"
                                : "Wan";
    if (has(file, "transformer_blocks.0.img_mlp.net.0.proj.weight"))
        return "Qwen-Image";
    if (has(file, "layers.0.attention.to_q.weight") ||
        has(file, "layers.0.attention.qkv.weight"))
        return "Lumina family";
    return NULL;
}

/* Files of one network of a pipeline. */
static const char *kind_of_part(const lx_tensor_file *file)
{
    if (has(file, "controlnet_cond_embedding.conv_in.weight") ||
        has(file, "control_model.input_blocks.0.0.weight"))
        return "ControlNet";
    if (has(file, "text_model.encoder.layers.0.layer_norm1.weight"))
        return "CLIP text encoder";
    if (has(file, "encoder.block.0.layer.0.SelfAttention.q.weight"))
        return "T5 text encoder";
    if (has(file, "decoder.conv_in.weight") ||
        has(file, "first_stage_model.decoder.conv_in.weight"))
        return "VAE";
    return NULL;
}

const char *lx_model_kind(const lx_tensor_file *file)
{
    int64_t channels = size_of(file, "input_blocks.0.0.weight", 1);
    const char *kind;

    if (has(file, "controlnet_cond_embedding.conv_in.weight") ||
        has(file, "control_model.input_blocks.0.0.weight"))
        return "ControlNet";
    if (!channels && has(file, "down_blocks.0.resnets.0.conv1.weight"))
        channels = size_of(file, "conv_in.weight", 1);
    if (channels && context_of(file))
        return kind_of_unet(file, channels);
    if ((kind = kind_of_transformer(file)))
        return kind;
    return kind_of_part(file);
}

/* ---- parts --------------------------------------------------------------- */

static lx_model_piece piece_of(const char *key)
{
    static const struct {
        const char *prefix;
        lx_model_piece piece;
    } prefixes[] = {{"model.diffusion_model.", LX_PIECE_DIFFUSION},
                    {"first_stage_model.", LX_PIECE_VAE},
                    {"vae.", LX_PIECE_VAE},
                    {"cond_stage_model.", LX_PIECE_TEXT},
                    {"conditioner.embedders.0.", LX_PIECE_TEXT},
                    {"conditioner.embedders.1.", LX_PIECE_TEXT_2},
                    {"text_encoders.clip_l.", LX_PIECE_TEXT},
                    {"text_encoders.", LX_PIECE_TEXT_2},
                    {"text_model.", LX_PIECE_TEXT},
                    {"encoder.block.", LX_PIECE_TEXT},
                    {"shared.", LX_PIECE_TEXT},
                    {"model_ema.", LX_PIECE_EMA},
                    {"control_model.", LX_PIECE_CONTROL},
                    {"controlnet_", LX_PIECE_CONTROL},
                    {"encoder.", LX_PIECE_VAE},
                    {"decoder.", LX_PIECE_VAE},
                    {"quant_conv.", LX_PIECE_VAE},
                    {"post_quant_conv.", LX_PIECE_VAE},
                    {"down_blocks.", LX_PIECE_DIFFUSION},
                    {"up_blocks.", LX_PIECE_DIFFUSION},
                    {"mid_block.", LX_PIECE_DIFFUSION},
                    {"input_blocks.", LX_PIECE_DIFFUSION},
                    {"output_blocks.", LX_PIECE_DIFFUSION},
                    {"middle_block.", LX_PIECE_DIFFUSION},
                    {"time_embed", LX_PIECE_DIFFUSION},
                    {"conv_", LX_PIECE_DIFFUSION},
                    {"double_blocks.", LX_PIECE_DIFFUSION},
                    {"single_", LX_PIECE_DIFFUSION},
                    {"joint_blocks.", LX_PIECE_DIFFUSION},
                    {"transformer_blocks.", LX_PIECE_DIFFUSION},
                    {"blocks.", LX_PIECE_DIFFUSION},
                    {"layers.", LX_PIECE_DIFFUSION},
                    {"img_in.", LX_PIECE_DIFFUSION},
                    {"txt_in.", LX_PIECE_DIFFUSION},
                    {"final_layer.", LX_PIECE_DIFFUSION},
                    {"guidance_in.", LX_PIECE_DIFFUSION},
                    {"time_in.", LX_PIECE_DIFFUSION},
                    {"vector_in.", LX_PIECE_DIFFUSION}};

    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++)
        if (after(key, prefixes[i].prefix))
            return prefixes[i].piece;
    return LX_PIECE_OTHER;
}

void lx_model_parts(lx_model_part parts[LX_PIECE_COUNT], const lx_tensor_file *file)
{
    memset(parts, 0, LX_PIECE_COUNT * sizeof *parts);
    for (size_t i = 0; i < lx_tensor_file_count(file); i++) {
        const lx_tensor_view *t = lx_tensor_file_at(file, i);
        lx_model_part *p = &parts[piece_of(t->name)];
        p->n_tensors++;
        p->bytes += t->bytes;
        p->n_elements += t->n_elements;
        p->n_dtypes[t->dtype]++;
    }
}

const char *lx_model_piece_name(lx_model_piece piece, const char *kind)
{
    static const char *const names[LX_PIECE_COUNT] = {
        [LX_PIECE_DIFFUSION] = "UNet",    [LX_PIECE_VAE] = "VAE",
        [LX_PIECE_TEXT] = "text encoder", [LX_PIECE_TEXT_2] = "text encoder 2",
        [LX_PIECE_EMA] = "EMA copy",      [LX_PIECE_CONTROL] = "ControlNet",
        [LX_PIECE_OTHER] = "other"};

    if (piece == LX_PIECE_DIFFUSION && kind && !lx_starts_with(kind, "SD 1") &&
        !lx_starts_with(kind, "SD 2") && !lx_starts_with(kind, "SDXL") &&
        !lx_starts_with(kind, "SD layout") && !lx_starts_with(kind, "ControlNet"))
        return "transformer";
    return names[piece];
}
