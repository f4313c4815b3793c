#include "src/lora/base.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/str.h"

/* ---- widths -------------------------------------------------------------- */

static int64_t dim(const lx_lora_entry *e, lx_lora_role role, int i)
{
    const lx_tensor_view *t = e->tensors[role];
    return t && t->n_dims > i ? t->shape[i] : 0;
}

/* Rows or columns of kron(w1, w2), whose sides may be factors. */
static int64_t kron_dim(const lx_lora_entry *e, int i)
{
    int64_t w1 = dim(e, LX_ROLE_LOKR_W1, i), w2 = dim(e, LX_ROLE_LOKR_W2, i), product;

    if (!w1)
        w1 = dim(e, i ? LX_ROLE_LOKR_W1_B : LX_ROLE_LOKR_W1_A, i);
    if (!w2 && e->tensors[LX_ROLE_LOKR_T2]) /* Tucker: w2_a [r, out], w2_b [r, in] */
        w2 = dim(e, i ? LX_ROLE_LOKR_W2_B : LX_ROLE_LOKR_W2_A, 1);
    if (!w2)
        w2 = dim(e, i ? LX_ROLE_LOKR_W2_B : LX_ROLE_LOKR_W2_A, i);
    return __builtin_mul_overflow(w1, w2, &product) ? 0 : product;
}

/* Of GLoRA's a1 and b1, which old files have the other way round: the layer is wider than the rank. */
static int64_t longer(const lx_lora_entry *e, lx_lora_role role)
{
    int64_t rows = dim(e, role, 0), columns = dim(e, role, 1);
    return rows > columns ? rows : columns;
}

int64_t lx_lora_in_features(const lx_lora_entry *e)
{
    switch (e->kind) {
    case LX_KIND_LORA:
    case LX_KIND_TUCKER:
        return dim(e, LX_ROLE_DOWN, 1);
    case LX_KIND_LOHA:
        return dim(e, LX_ROLE_HADA_W1_B, 1);
    case LX_KIND_LOKR:
        return kron_dim(e, 1);
    case LX_KIND_FULL:
        return dim(e, LX_ROLE_DIFF, 1);
    case LX_KIND_GLORA:
        return longer(e, LX_ROLE_GLORA_A1);
    default:
        return 0;
    }
}

int64_t lx_lora_out_features(const lx_lora_entry *e)
{
    switch (e->kind) {
    case LX_KIND_LORA:
    case LX_KIND_TUCKER:
        return dim(e, LX_ROLE_UP, 0);
    case LX_KIND_LOHA:
        return dim(e, LX_ROLE_HADA_W1_A, e->tensors[LX_ROLE_HADA_T1] ? 1 : 0);
    case LX_KIND_LOKR:
        return kron_dim(e, 0);
    case LX_KIND_FULL:
        return dim(e, LX_ROLE_DIFF, 0);
    case LX_KIND_NORM:
        return dim(e, LX_ROLE_W_NORM, 0);
    case LX_KIND_GLORA:
        return longer(e, LX_ROLE_GLORA_B1);
    default:
        return 0;
    }
}

/* ---- evidence ------------------------------------------------------------ */

typedef struct evidence {
    int64_t context;     /* width of the text that a UNet's attn2 reads, a known one */
    int64_t odd_context; /* another width there */
    int64_t hidden;      /* of a transformer's blocks */
    int64_t mlp;         /* out of a Flux block's first mlp layer */
    int64_t text;        /* of the first text encoder */
    int64_t conv_in;     /* channels */
    long deepest;        /* index of transformer_blocks inside one attention of a UNet */
    long last_block;     /* of transformer_blocks or double_blocks at the top */
    long last_single;    /* of single_transformer_blocks or single_blocks */
    bool is_unet, has_double, has_single, has_joint, has_added, has_qwen_mlp, has_flux_ff,
        is_flux, is_hunyuan, is_wan, has_image_keys, is_cosmos, is_lumina, is_chroma,
        has_text_2, has_text_3;
} evidence;

/* A name with one spelling: '_' for '.', no prefix. */
static void flatten(char out[256], const char *name)
{
    static const char *const prefixes[] = {
        "base_model_model_", "lora_unet_",   "lora_transformer_",
        "lycoris_",          "lora_",        "model_diffusion_model_",
        "diffusion_model_",  "transformer_", "unet_"};
    size_t n = strlen(name), skip;
    bool more = true;

    n = n > 255 ? 255 : n;
    for (size_t i = 0; i < n; i++)
        out[i] = name[i] == '.' || name[i] == ':' ? '_' : name[i];
    out[n] = '\0';
    while (more) {
        more = false;
        for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes && !more; i++) {
            skip = strlen(prefixes[i]);
            /* "transformer_blocks" is no prefix but the name of a list */
            if (!lx_starts_with(out, prefixes[i]) ||
                lx_starts_with(out, "transformer_blocks_"))
                continue;
            memmove(out, out + skip, strlen(out) + 1 - skip);
            more = true;
        }
    }
}

/* The number behind `list`, or -1. */
static long index_after(const char *name, const char *list)
{
    const char *at = strstr(name, list);

    at = at ? at + strlen(list) : NULL;
    return at && isdigit((unsigned char)*at) ? strtol(at, NULL, 10) : -1;
}

static bool names_unet(const char *flat)
{
    static const char *const starts[] = {
        "down_blocks_",   "up_blocks_",     "mid_block_", "input_blocks_",
        "output_blocks_", "middle_block_",  "conv_in",    "conv_out",
        "time_embed",     "add_embedding_", "label_emb_"};
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++)
        if (lx_starts_with(flat, starts[i]))
            return true;
    return false;
}

static bool has_any(const char *flat, const char *a, const char *b, const char *c)
{
    return strstr(flat, a) || (b && strstr(flat, b)) || (c && strstr(flat, c));
}

static bool is_known_context(int64_t width)
{
    return width == 768 || width == 1024 || width == 2048 || width == 1280;
}

static void look_at_unet(evidence *v, const char *flat, const lx_lora_entry *e)
{
    const int64_t in = lx_lora_in_features(e);
    const long depth = index_after(flat, "transformer_blocks_");

    v->is_unet = true;
    v->deepest = depth > v->deepest ? depth : v->deepest;
    if (has_any(flat, "attn2_to_k", "attn2_to_v", "attn2_processor_to_k") ||
        strstr(flat, "attn2_processor_to_v")) {
        if (is_known_context(in) && !v->context)
            v->context = in;
        else if (in)
            v->odd_context = in;
    }
    if (lx_starts_with(flat, "conv_in") || lx_starts_with(flat, "input_blocks_0_0"))
        v->conv_in = in;
}

static bool ends_with_any(const char *flat, const char *a, const char *b)
{
    return lx_ends_with(flat, a) || lx_ends_with(flat, b);
}

/*
 * Flux.1 and HunyuanVideo have blocks of the same shapes, and in diffusers the same names. What tells them apart are
 * layers beside the blocks, in the original names those of the mlp and of the modulation, and where these have dots
 * img_attn.qkv and img_attn_qkv.
 */
static void tell_flux_and_hunyuan(evidence *v, const char *flat, const lx_lora_entry *e)
{
    const bool is_single = lx_starts_with(flat, "single_blocks_");

    v->is_hunyuan |=
        has_any(flat, "img_mlp_fc", "txt_mlp_fc", "img_mod_linear") ||
        has_any(flat, "txt_mod_linear", "individual_token_refiner",
                "token_refiner_refiner_blocks") ||
        has_any(flat, "context_embedder_proj_in", "context_embedder_time_text_embed",
                "txt_in_input_embedder") ||
        has_any(flat, "time_in_mlp", "guidance_in_mlp", "txt_in_t_embedder") ||
        has_any(flat, "txt_in_c_embedder", NULL, NULL) ||
        has_any(e->name, ".img_attn_", ".txt_attn_", NULL) ||
        (is_single && lx_ends_with(flat, "modulation_linear"));
    v->is_flux |= ends_with_any(flat, "img_mlp_0", "img_mlp_2") ||
                  ends_with_any(flat, "txt_mlp_0", "txt_mlp_2") ||
                  ends_with_any(flat, "img_mod_lin", "txt_mod_lin") ||
                  has_any(e->name, ".img_attn.", ".txt_attn.", ".processor.") ||
                  (is_single && lx_ends_with(flat, "modulation_lin")) ||
                  strcmp(flat, "x_embedder") == 0 ||
                  strcmp(flat, "context_embedder") == 0;
}

static long index_at_top(const char *flat, const char *list)
{
    return lx_starts_with(flat, list) ? index_after(flat, list) : -1;
}

/* The width of a block that a module reads or gives back, of the layers by diffusers' names beside q, k and v. */
static int64_t width_of_block(const char *flat, const lx_lora_entry *e)
{
    static const char *const readers[] = {"_to_out_0",
                                          "_to_add_out",
                                          "_add_q_proj",
                                          "_add_k_proj",
                                          "_add_v_proj",
                                          "_ff_net_0_proj",
                                          "_ff_context_net_0_proj",
                                          "_norm1_linear",
                                          "_norm1_context_linear"};

    for (size_t i = 0; i < sizeof readers / sizeof *readers; i++)
        if (lx_ends_with(flat, readers[i]))
            return lx_lora_in_features(e);
    return ends_with_any(flat, "_ff_net_2", "_ff_context_net_2") ? lx_lora_out_features(e)
                                                                 : 0;
}

static long larger(long a, long b)
{
    return a > b ? a : b;
}

static void look_at_transformer(evidence *v, const char *flat, const lx_lora_entry *e)
{
    const int64_t in = lx_lora_in_features(e);
    const bool is_attention =
        has_any(flat, "_attn", "attention", "linear1") &&
        !has_any(flat, "add_", "context", "to_out") &&
        !has_any(flat, "cross_attn_k", "cross_attn_v", "to_add_out");
    const long block = index_at_top(flat, "transformer_blocks_");

    v->last_block =
        larger(v->last_block, larger(block, index_at_top(flat, "double_blocks_")));
    v->last_single =
        larger(v->last_single, larger(index_at_top(flat, "single_transformer_blocks_"),
                                      index_at_top(flat, "single_blocks_")));
    if (is_attention && in && !v->hidden)
        v->hidden = in;
    if (block >= 0 && !v->hidden)
        v->hidden = width_of_block(flat, e);
    v->has_double |= lx_starts_with(flat, "double_blocks_");
    v->has_single |= has_any(flat, "single_blocks_", "single_transformer_blocks_", NULL);
    v->has_joint |= lx_starts_with(flat, "joint_blocks_");
    v->has_added |= has_any(flat, "add_k_proj", "add_q_proj", "add_v_proj");
    v->has_qwen_mlp |= block >= 0 && has_any(flat, "img_mlp", "txt_mlp", "img_mod");
    v->has_flux_ff |= block >= 0 && has_any(flat, "ff_context", "norm1_context", NULL);
    tell_flux_and_hunyuan(v, flat, e);
    v->is_wan |= lx_starts_with(flat, "blocks_") &&
                 has_any(flat, "_self_attn_q", "_self_attn_k", "_self_attn_v") &&
                 !strstr(flat, "_proj");
    v->is_wan |=
        lx_starts_with(flat, "blocks_") && has_any(flat, "_ffn_0", "_ffn_2", "_ffn_net_");
    v->is_wan |= lx_starts_with(flat, "blocks_") &&
                 has_any(flat, "_attn1_to_", "_attn2_to_", NULL);
    v->is_cosmos |=
        lx_starts_with(flat, "blocks_") &&
        has_any(flat, "cross_attn_q_proj", "self_attn_q_proj", "adaln_modulation");
    v->has_image_keys |= has_any(flat, "k_img", "v_img", "add_k_proj");
    v->is_lumina |= lx_starts_with(flat, "layers_") && strstr(flat, "_attention_");
    v->is_chroma |= strstr(flat, "distilled_guidance_layer") != NULL;
    if (has_any(flat, "img_mlp_0", NULL, NULL) && !v->mlp)
        v->mlp = lx_lora_out_features(e);
}

static void look_at(evidence *v, const lx_lora_file *f, const lx_lora_entry *e)
{
    char flat[256];

    switch (e->part) {
    case LX_LORA_TEXT_ENCODER:
        if (!v->text)
            v->text = lx_lora_in_features(e);
        return;
    case LX_LORA_TEXT_ENCODER_2:
        v->has_text_2 = true;
        return;
    case LX_LORA_TEXT_ENCODER_3:
        v->has_text_3 = true;
        return;
    default:
        break;
    }
    flatten(flat, e->name);
    /* cloneofsimo counts layers; the widths tell which of them read the text */
    if (lx_starts_with(f->family, "cloneofsimo")) {
        const int64_t in = lx_lora_in_features(e);
        v->is_unet = true;
        if (in == 768 || in == 1024 || in == 2048)
            v->context = in;
    } else if (names_unet(flat)) {
        look_at_unet(v, flat, e);
    } else {
        look_at_transformer(v, flat, e);
    }
}

/* ---- the answer ---------------------------------------------------------- */

static const char *base_of_unet(const evidence *v, lx_arena *arena)
{
    const char *base = v->context == 768    ? "SD 1.x"
                       : v->context == 1024 ? "SD 2.x"
                       : v->context == 2048 ? "SDXL"
                       : v->context == 1280 ? "SDXL refiner"
                                            : NULL;
    const char *kind = v->conv_in == 9   ? " inpainting"
                       : v->conv_in == 8 ? " pix2pix"
                                         : "";

    if (!base && (v->has_text_2 || v->deepest >= 2))
        base = "SDXL";
    if (!base && v->odd_context)
        return lx_arena_printf(arena, "SD 1.x layout of context width %lld",
                               (long long)v->odd_context);
    if (!base && v->text)
        base = v->text == 768 ? "SD 1.x" : v->text == 1024 ? "SD 2.x" : NULL;
    if (base && *kind)
        return lx_arena_printf(arena, "%s%s", base, kind);
    return base;
}

/* The last of Flux.1's 19 blocks of two streams and 38 of one; HunyuanVideo has 20 and 40. */
enum { LAST_DOUBLE = 18, LAST_SINGLE = 37 };

/* Where names do not tell, the last blocks do, if they are adapted. */
static const char *base_of_flux_or_hunyuan(const evidence *v)
{
    if (v->is_flux)
        return "Flux.1";
    return v->last_single > LAST_SINGLE || v->last_block > LAST_DOUBLE ? "HunyuanVideo"
           : v->last_single == LAST_SINGLE || v->last_block == LAST_DOUBLE
               ? "Flux.1"
               : LX_BASE_FLUX_OR_HUNYUAN;
}

static const char *base_of_flux(const evidence *v)
{
    if (v->is_hunyuan)
        return "HunyuanVideo";
    if (v->is_chroma)
        return "Chroma";
    if (v->hidden == 6144)
        return "FLUX.2 dev";
    if (v->hidden == 4096)
        return "FLUX.2 klein 9B";
    if (v->hidden == 3072 && v->mlp == 18432)
        return "FLUX.2 klein 4B";
    return v->hidden == 3072 || !v->hidden ? base_of_flux_or_hunyuan(v)
                                           : "Flux layout of another width";
}

static const char *base_of_wan(const evidence *v)
{
    const bool is_i2v = v->has_image_keys;

    switch (v->hidden) {
    case 1536:
        return is_i2v ? "Wan 1.3B image to video" : "Wan 1.3B";
    case 3072:
        return is_i2v ? "Wan 5B image to video" : "Wan 5B";
    case 5120:
        return is_i2v ? "Wan 14B image to video" : "Wan 14B";
    default:
        return "Wan";
    }
}

static const char *base_of_transformer(const evidence *v)
{
    if (v->has_joint)
        return v->hidden == 1536   ? "SD 3 medium"
               : v->hidden == 2432 ? "SD 3.5 large"
                                   : "SD 3";
    if (v->has_double || v->has_single || v->is_chroma || v->is_hunyuan)
        return base_of_flux(v);
    if (v->has_qwen_mlp)
        return "Qwen-Image";
    if (v->is_cosmos)
        return "Cosmos / Anima";
    if (v->is_wan)
        return base_of_wan(v);
    if (v->is_lumina)
        return v->hidden == 3840   ? "Z-Image"
               : v->hidden == 2304 ? "Lumina 2"
                                   : "Lumina family";
    if (v->last_block >= 0 && (v->hidden == 1536 || v->hidden == 2432))
        return v->hidden == 1536 ? "SD 3 medium" : "SD 3.5 large";
    /* Blocks of two streams alone, by diffusers' names: Qwen-Image's 60 are called so, too, but for their mlp. */
    if (v->last_block >= 0 && v->hidden == 3072 && v->has_flux_ff)
        return base_of_flux_or_hunyuan(v);
    if (v->last_block >= 0 && v->hidden == 3072)
        return v->last_block > LAST_DOUBLE    ? "Qwen-Image"
               : v->last_block == LAST_DOUBLE ? "Flux.1"
                                              : LX_BASE_FLUX_HUNYUAN_OR_QWEN;
    return NULL;
}

/* A textual inversion is as wide as the text encoder that reads it. */
static const char *base_of_embeddings(const lx_lora_file *f)
{
    const char *base = NULL;

    for (size_t i = 0; i < f->n_embeddings; i++) {
        const lx_tensor_view *t = f->embeddings[i];
        int64_t width = t->n_dims ? t->shape[t->n_dims - 1] : 0;
        if (width == 1280)
            return "SDXL";
        base = width == 768 ? "SD 1.x" : width == 1024 ? "SD 2.x" : base;
    }
    return base;
}

const char *lx_lora_base(const lx_lora_file *f, lx_arena *arena)
{
    evidence v = {.deepest = -1, .last_block = -1, .last_single = -1};
    const char *base = NULL;

    for (size_t i = 0; i < f->n_modules; i++)
        look_at(&v, f, &f->modules[i]);
    if (v.is_unet)
        base = base_of_unet(&v, arena);
    if (!base)
        base = base_of_transformer(&v);
    if (!base && v.has_text_2 && v.has_text_3)
        base = "SD 3";
    if (!base && v.has_text_2)
        base = "SDXL";
    if (!base && v.has_text_3)
        base = "Flux or SD 3";
    if (!base && v.text)
        base = v.text == 768 ? "SD 1.x" : v.text == 1024 ? "SD 2.x" : NULL;
    if (!base && !f->n_modules)
        base = base_of_embeddings(f);
    return base ? base : "unknown";
}

const char *lx_lora_base_said(const char *base, const lx_tensor_file *file)
{
    static const char *const keys[] = {"modelspec.architecture", "ss_base_model_version"};
    const bool is_one_of_three = strcmp(base, LX_BASE_FLUX_HUNYUAN_OR_QWEN) == 0;

    if (!is_one_of_three && strcmp(base, LX_BASE_FLUX_OR_HUNYUAN) != 0)
        return base;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const char *said = lx_tensor_file_metadata(file, keys[i]);
        if (said && lx_starts_with(said, "flux"))
            return "Flux.1";
        if (said && lx_starts_with(said, "hunyuan"))
            return "HunyuanVideo";
        if (said && lx_starts_with(said, "qwen") && is_one_of_three)
            return "Qwen-Image";
    }
    return base;
}

const char *lx_lora_base_note(const lx_tensor_file *file, const char *base,
                              lx_arena *arena)
{
    static const struct {
        const char *key, *prefix, *base;
    } names[] = {{"ss_base_model_version", "sd_v1", "SD 1.x"},
                 {"ss_base_model_version", "sd_v2", "SD 2.x"},
                 {"ss_base_model_version", "sdxl_", "SDXL"},
                 {"ss_base_model_version", "flux1", "Flux.1"},
                 {"ss_base_model_version", "sd3", "SD 3"},
                 {"modelspec.architecture", "stable-diffusion-v1", "SD 1.x"},
                 {"modelspec.architecture", "stable-diffusion-v2", "SD 2.x"},
                 {"modelspec.architecture", "stable-diffusion-xl", "SDXL"},
                 {"modelspec.architecture", "stable-diffusion-3", "SD 3"},
                 {"modelspec.architecture", "flux-1", "Flux.1"},
                 {"ss_v2", "True", "SD 2.x"}};

    if (strcmp(base, "unknown") == 0)
        return NULL;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *said = lx_tensor_file_metadata(file, names[i].key);
        if (said && lx_starts_with(said, names[i].prefix) &&
            !lx_starts_with(base, names[i].base))
            return lx_arena_printf(arena, "the metadata say %s (%s), the shapes say %s",
                                   said, names[i].key, base);
    }
    return NULL;
}
