#include "src/lora/spell.h"

#include <stdio.h>
#include <string.h>

#include "src/lora/base.h"
#include "src/lora/layer.h"

const char *const lx_spelling_names[LX_SPELLINGS] = {"kohya", "diffusers",
                                                     "diffusers-old", "peft", "comfyui"};

static lx_fused fused_of(const char *base)
{
    return strcmp(base, LX_BASE_FLUX_OR_HUNYUAN) == 0        ? LX_FUSED_FLUX_OR_HUNYUAN
           : strcmp(base, LX_BASE_FLUX_HUNYUAN_OR_QWEN) == 0 ? LX_FUSED_UNSURE
           : lx_starts_with(base, "Flux.1")                  ? LX_FUSED_FLUX
           : lx_starts_with(base, "SD 3")                    ? LX_FUSED_SD3
           : strcmp(base, "HunyuanVideo") == 0               ? LX_FUSED_HUNYUAN_VIDEO
                                                             : LX_FUSED_NONE;
}

lx_spell_model lx_spell_model_of(const lx_lora_file *file, lx_arena *arena)
{
    const char *base = lx_lora_base_said(lx_lora_base(file, arena), file->file);
    bool has_one = lx_starts_with(base, "SD 1") || lx_starts_with(base, "SD 2");
    lx_spell_model m = {.is_sdxl = lx_starts_with(base, "SDXL"),
                        .is_sd2 = lx_starts_with(base, "SD 2"),
                        .fused = fused_of(base)};

    m.numbers_encoders = m.is_sdxl;
    /* A UNet of SD 1.x's paths has one encoder, though diffusers' own conversion numbers it. */
    for (size_t i = 0; i < file->n_modules; i++)
        has_one |= strstr(file->modules[i].name, "down_blocks") ||
                   strstr(file->modules[i].name, "up_blocks");
    for (size_t i = 0; i < file->n_modules; i++) {
        const lx_lora_entry *e = &file->modules[i];
        if (!m.fused &&
            (strstr(e->name, "single_transformer_blocks") ||
             strstr(e->name, ".img_attn.qkv.") || strstr(e->name, ".linear1.")))
            m.fused = LX_FUSED_FLUX;
        m.is_sdxl |= lx_starts_with(e->name, "lora_unet_input_blocks_4_1_") &&
                     strstr(e->name, "transformer_blocks_1_");
        m.numbers_encoders |= e->part == LX_LORA_TEXT_ENCODER_2 ||
                              e->part == LX_LORA_TEXT_ENCODER_3 ||
                              (!has_one && lx_starts_with(e->name, "lora_te1_"));
    }
    m.numbers_encoders |= m.fused == LX_FUSED_FLUX || m.fused == LX_FUSED_SD3 ||
                          m.fused == LX_FUSED_FLUX_OR_HUNYUAN;
    return m;
}

/* ---- dots for underscores ------------------------------------------------------------------ */

/* The words of the known models' paths; of two that begin alike the longer one first. */
static const char *const words[] = {
    /* UNets */
    "down_blocks", "up_blocks", "mid_block", "attentions", "resnets", "downsamplers",
    "upsamplers", "transformer_blocks", "attn1", "attn2", "to_q", "to_k", "to_v",
    "to_out", "ff_context", "ff", "net", "proj_in", "proj_out", "proj_mlp", "proj",
    "time_emb_proj", "conv_shortcut", "conv_norm_out", "conv_in", "conv_out", "conv1",
    "conv2", "conv", "norm1_context", "norm1", "norm2", "norm3", "norm", "time_embedding",
    "add_embedding", "linear_1", "linear_2",
    /* CLIP, T5 */
    "text_model", "text_projection", "token_embedding", "position_embedding",
    "embeddings", "final_layer_norm", "layer_norm1", "layer_norm2", "encoder", "layers",
    "self_attn", "q_proj", "k_proj", "v_proj", "out_proj", "mlp", "fc1", "fc2",
    "SelfAttention", "DenseReluDense", "wi_0", "wi_1", "wo", "block", "layer",
    /* Flux, SD 3, Wan, Qwen-Image, Lumina */
    "x_embedder", "t_embedder", "y_embedder", "c_embedder", "input_embedder",
    "context_embedder", "time_text_embed", "pos_embed", "individual_token_refiner",
    "token_refiner", "refiner_blocks", "timestep_embedder", "text_embedder",
    "guidance_embedder", "norm_out", "double_blocks", "single_blocks", "joint_blocks",
    "single_transformer_blocks", "context_block", "x_block", "img_attn", "txt_attn",
    "img_mlp", "txt_mlp", "img_mod", "txt_mod", "img_in", "txt_in", "time_in",
    "vector_in", "guidance_in", "in_layer", "out_layer", "final_layer",
    "adaLN_modulation", "modulation", "linear1", "linear2", "linear", "lin", "qkv",
    "blocks", "cross_attn", "ffn", "k_img", "v_img", "attention", "feed_forward", "w1",
    "w2", "w3", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out", "attn", "q", "k",
    "v", "o", "out"};

/* The length of the piece that begins there: a number or a word with no letters behind it; longer ones
 * before shorter. `than`: shorter than that; 0: any. */
static size_t next_piece(const char *text, size_t than)
{
    size_t best = strspn(text, "0123456789");

    if (best && (text[best] == '_' || !text[best]))
        return than && best >= than ? 0 : best;
    best = 0;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        const size_t n = strlen(words[i]);
        if (n > best && (!than || n < than) && strncmp(text, words[i], n) == 0 &&
            (text[n] == '_' || !text[n]))
            best = n;
    }
    return best;
}

enum { MOST_PIECES = 32 };

/* Which underscores stand between pieces; false when there is a piece that is no word. */
static bool split(size_t lengths[MOST_PIECES], const char *text, int depth)
{
    size_t n = 0;

    if (depth == MOST_PIECES)
        return false;
    while ((n = next_piece(text, n))) {
        lengths[depth] = n;
        if (!text[n] || split(lengths, text + n + 1, depth + 1))
            return true;
        if (n == 1)
            break;
    }
    return false;
}

static bool put_dots(lx_str *out, const char *text)
{
    size_t lengths[MOST_PIECES];

    if (!split(lengths, text, 0))
        return false;
    for (int i = 0; *text; i++) {
        lx_str_append(out, text, lengths[i]);
        text += lengths[i];
        if (*text) {
            lx_str_putc(out, '.');
            text++;
        }
    }
    return true;
}

/* ---- where a module is ---------------------------------------------------------------------- */

static bool equals_but_for_dots(const char *dotted, const char *plain)
{
    for (; *dotted && *plain; dotted++, plain++)
        if (*plain != (*dotted == '.' ? '_' : *dotted))
            return false;
    return *dotted == *plain;
}

/* The path as the name itself has it with dots, where that is the layer's; else NULL. */
static const char *dotted_path(const char *name, const char *path)
{
    static const char *const prefixes[] = {"unet.",
                                           "transformer.",
                                           "model.diffusion_model.",
                                           "diffusion_model.",
                                           "text_encoder.",
                                           "text_encoder_2.",
                                           "text_encoder_3.",
                                           "text_encoders.clip_l.transformer.",
                                           "text_encoders.clip_g.transformer.",
                                           "text_encoders.t5xxl.transformer."};

    if (lx_starts_with(name, "base_model.model."))
        name += strlen("base_model.model.");
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++)
        if (lx_starts_with(name, prefixes[i])) {
            name += strlen(prefixes[i]);
            break;
        }
    return equals_but_for_dots(name, path) ? name : NULL;
}

static bool is_unet_path(const char *path)
{
    static const char *const heads[] = {
        "down_blocks.", "up_blocks.",    "mid_block.",      "conv_in",
        "conv_out",     "conv_norm_out", "time_embedding.", "add_embedding."};

    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++)
        if (lx_starts_with(path, heads[i]))
            return true;
    return false;
}

/* XLabs names attention by the processors that it hung there: 1 for the image, 2 for the text. */
static int mend_xlabs(lx_str *path, const char *name, lx_error *err)
{
    static const struct {
        const char *from, *to;
    } tails[] = {{".processor.qkv_lora1", ".img_attn.qkv"},
                 {".processor.qkv_lora2", ".txt_attn.qkv"},
                 {".processor.proj_lora1", ".img_attn.proj"},
                 {".processor.proj_lora2", ".txt_attn.proj"}};

    if (!strstr(lx_str_text(path), ".processor."))
        return LX_OK;
    for (size_t i = 0; i < sizeof tails / sizeof *tails; i++)
        if (lx_starts_with(lx_str_text(path), "double_blocks.") &&
            lx_ends_with(lx_str_text(path), tails[i].from)) {
            path->len -= strlen(tails[i].from);
            path->data[path->len] = 0;
            lx_str_puts(path, tails[i].to);
            return lx_str_check(path, err);
        }
    return lx_fail(err, LX_EUNSUPPORTED, "%s: a processor that lx knows no layer of",
                   name);
}

int lx_module_place_of(lx_module_place *place, const char *name, lx_error *err)
{
    lx_str layer = LX_STR_INIT;
    const char *path, *dotted;
    size_t at = 0;
    int rc = lx_lora_layer(&layer, &at, name, err);

    *place = (lx_module_place){.part = LX_LORA_OTHER};
    if (rc < 0)
        goto done;
    path = lx_str_text(&layer) + at;
    place->part = lx_lora_layer_part(lx_str_text(&layer));
    dotted = strchr(name, '.') ? dotted_path(name, path) : NULL;
    if (dotted)
        lx_str_puts(&place->path, dotted);
    else if (!put_dots(&place->path, path))
        rc = lx_fail(err, LX_EUNSUPPORTED,
                     "%s: no part of a model that lx knows the names of", name);
    if (rc == LX_OK && (rc = lx_str_check(&place->path, err)) == LX_OK)
        rc = mend_xlabs(&place->path, name, err);
    place->is_unet =
        place->part == LX_LORA_UNET && is_unet_path(lx_str_text(&place->path));
done:
    if (rc < 0)
        lx_str_release(&place->path);
    lx_str_release(&layer);
    return rc;
}

/* ---- the original UNet ----------------------------------------------------------------------- */

static void put_resnet(lx_str *out, const char *rest)
{
    static const struct {
        const char *from, *to;
    } names[] = {
        {"norm1", "in_layers.0"},          {"conv1", "in_layers.2"},
        {"time_emb_proj", "emb_layers.1"}, {"norm2", "out_layers.0"},
        {"conv2", "out_layers.3"},         {"conv_shortcut", "skip_connection"},
    };

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(rest, names[i].from) == 0)
            rest = names[i].to;
    lx_str_puts(out, rest);
}

static bool put_block(lx_str *out, const char *path, bool is_sdxl)
{
    int i = -1, j = -1, used = 0;

    if (sscanf(path, "down_blocks.%d.attentions.%d.%n", &i, &j, &used) == 2 && used &&
        i >= 0 && i < 4 && j >= 0 && j < 2) {
        lx_str_printf(out, "input_blocks.%d.1.%s", 1 + 3 * i + j, path + used);
    } else if (sscanf(path, "down_blocks.%d.resnets.%d.%n", &i, &j, &used) == 2 && used &&
               i >= 0 && i < 4 && j >= 0 && j < 2) {
        lx_str_printf(out, "input_blocks.%d.0.", 1 + 3 * i + j);
        put_resnet(out, path + used);
    } else if (sscanf(path, "down_blocks.%d.downsamplers.0.conv%n", &i, &used) == 1 &&
               used && !path[used] && i >= 0 && i < 3) {
        lx_str_printf(out, "input_blocks.%d.0.op", 3 * (i + 1));
    } else if (sscanf(path, "up_blocks.%d.attentions.%d.%n", &i, &j, &used) == 2 &&
               used && i >= 0 && i < 4 && j >= 0 && j < 3) {
        lx_str_printf(out, "output_blocks.%d.1.%s", 3 * i + j, path + used);
    } else if (sscanf(path, "up_blocks.%d.resnets.%d.%n", &i, &j, &used) == 2 && used &&
               i >= 0 && i < 4 && j >= 0 && j < 3) {
        lx_str_printf(out, "output_blocks.%d.0.", 3 * i + j);
        put_resnet(out, path + used);
    } else if (sscanf(path, "up_blocks.%d.upsamplers.0.conv%n", &i, &used) == 1 && used &&
               !path[used] && i >= 0 && i < 3) {
        /* Behind the attention, where the level has one: SD 1.x's first has none. */
        lx_str_printf(out, "output_blocks.%d.%d.conv", 3 * i + 2,
                      i > 0 || is_sdxl ? 2 : 1);
    } else if (sscanf(path, "mid_block.attentions.%d.%n", &i, &used) == 1 && used &&
               i == 0) {
        lx_str_printf(out, "middle_block.1.%s", path + used);
    } else if (sscanf(path, "mid_block.resnets.%d.%n", &i, &used) == 1 && used &&
               i >= 0 && i < 2) {
        lx_str_printf(out, "middle_block.%d.", 2 * i);
        put_resnet(out, path + used);
    } else {
        return false;
    }
    return true;
}

static bool put_original(lx_str *out, const char *path, bool is_sdxl)
{
    static const struct {
        const char *from, *to;
    } names[] = {
        {"conv_in", "input_blocks.0.0"},
        {"time_embedding.linear_1", "time_embed.0"},
        {"time_embedding.linear_2", "time_embed.2"},
        {"add_embedding.linear_1", "label_emb.0.0"},
        {"add_embedding.linear_2", "label_emb.0.2"},
        {"conv_norm_out", "out.0"},
        {"conv_out", "out.2"},
    };

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(path, names[i].from) == 0) {
            lx_str_puts(out, names[i].to);
            return true;
        }
    return put_block(out, path, is_sdxl);
}

/* ---- spellings -------------------------------------------------------------------------------- */

static void put_plain(lx_str *out, const char *dotted)
{
    for (; *dotted; dotted++)
        lx_str_putc(out, *dotted == '.' ? '_' : *dotted);
}

static int no_name(lx_spelling s, const char *name, lx_error *err)
{
    return lx_fail(err, LX_EUNSUPPORTED, "%s: %s has no name for it%s", name,
                   lx_spelling_names[s],
                   s == LX_SPELL_DIFFUSERS_OLD ? ", only for attention" : "");
}

/* 0: the image network, 1 to 3: text encoders. */
static int number_of(lx_lora_part part)
{
    return part == LX_LORA_TEXT_ENCODER     ? 1
           : part == LX_LORA_TEXT_ENCODER_2 ? 2
           : part == LX_LORA_TEXT_ENCODER_3 ? 3
                                            : 0;
}

static bool put_kohya(lx_str *out, const lx_module_place *p, const lx_spell_model *m)
{
    const int n = number_of(p->part);
    lx_str path = LX_STR_INIT;
    bool is_known = true;

    if (n == 1 && !m->numbers_encoders)
        lx_str_puts(out, "lora_te_");
    else if (n)
        lx_str_printf(out, "lora_te%d_", n);
    else
        lx_str_puts(out, "lora_unet_");
    if (p->is_unet && m->is_sdxl)
        is_known = put_original(&path, lx_str_text(&p->path), true);
    else
        lx_str_puts(&path, lx_str_text(&p->path));
    put_plain(out, lx_str_text(&path));
    out->failed |= path.failed;
    lx_str_release(&path);
    return is_known;
}

/* Attention alone, by the names of the processors that it had. */
static bool put_old(lx_str *out, const lx_module_place *p)
{
    static const struct {
        const char *from, *to;
    } unet[] = {{".to_q", ".processor.to_q"},
                {".to_k", ".processor.to_k"},
                {".to_v", ".processor.to_v"},
                {".to_out.0", ".processor.to_out"}},
      text[] = {{".q_proj", ".to_q"},
                {".k_proj", ".to_k"},
                {".v_proj", ".to_v"},
                {".out_proj", ".to_out"}};
    const char *path = lx_str_text(&p->path);

    if (number_of(p->part) ? !strstr(path, ".self_attn.")
                           : !p->is_unet || !strstr(path, ".attn"))
        return false;
    for (int i = 0; i < 4; i++) {
        const char *from = number_of(p->part) ? text[i].from : unet[i].from;
        if (lx_ends_with(path, from)) {
            lx_str_append(out, path, strlen(path) - strlen(from));
            lx_str_puts(out, number_of(p->part) ? text[i].to : unet[i].to);
            return true;
        }
    }
    return false;
}

static void put_component(lx_str *out, const lx_module_place *p, const lx_spell_model *m)
{
    int n = number_of(p->part);

    if (n == 3 && m->fused == LX_FUSED_FLUX)
        n = 2; /* its T5, which sd-scripts counts as the third */
    if (n > 1)
        lx_str_printf(out, "text_encoder_%d.", n);
    else
        lx_str_puts(out, n ? "text_encoder." : p->is_unet ? "unet." : "transformer.");
}

static bool put_comfyui(lx_str *out, const lx_module_place *p, const lx_spell_model *m)
{
    static const char *const encoders[] = {"clip_l", "clip_g", "t5xxl"};
    const int n = number_of(p->part);

    if (n) {
        lx_str_printf(out, "text_encoders.%s.transformer.%s",
                      n == 1 && m->is_sd2 ? "clip_h" : encoders[n - 1],
                      lx_str_text(&p->path));
        return true;
    }
    lx_str_puts(out, "diffusion_model.");
    if (p->is_unet)
        return put_original(out, lx_str_text(&p->path), m->is_sdxl);
    lx_str_puts(out, lx_str_text(&p->path));
    return true;
}

int lx_lora_spell(lx_str *out, lx_spelling s, const lx_module_place *p,
                  const lx_spell_model *m, const char *name, lx_error *err)
{
    bool is_known = true;

    switch (s) {
    case LX_SPELL_KOHYA:
        is_known = put_kohya(out, p, m);
        break;
    case LX_SPELL_DIFFUSERS_OLD:
        put_component(out, p, m);
        is_known = put_old(out, p);
        break;
    case LX_SPELL_PEFT:
        lx_str_printf(out, "base_model.model.%s", lx_str_text(&p->path));
        break;
    case LX_SPELL_COMFYUI:
        is_known = put_comfyui(out, p, m);
        break;
    default:
        put_component(out, p, m);
        lx_str_puts(out, lx_str_text(&p->path));
        break;
    }
    return is_known ? lx_str_check(out, err) : no_name(s, name, err);
}
