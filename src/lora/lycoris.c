#include "src/lora/lycoris.h"

#include <math.h>
#include <string.h>

#include "src/base/rng.h"
#include "src/base/str.h"

/* ---- which layers ------------------------------------------------------------------- */

static const struct {
    const char *name;
    bool has_text, has_resnets, has_windows, has_others, has_mlp, has_attention;
} presets[LX_PRESET_COUNT] = {
    /*                                name                     text   resnet window others mlp    attention */
    [LX_PRESET_FULL] = {"full", true, true, true, true, true, true},
    [LX_PRESET_FULL_LIN] = {"full-lin", true, true, false, true, true, true},
    [LX_PRESET_ATTN_MLP] = {"attn-mlp", true, false, false, false, true, true},
    [LX_PRESET_ATTN_ONLY] = {"attn-only", true, false, false, false, false, true},
    [LX_PRESET_UNET_ONLY] = {"unet-only", false, true, true, true, true, true},
    [LX_PRESET_UNET_TRANSFORMER_ONLY] = {"unet-transformer-only", false, false, false,
                                         false, true, true},
    [LX_PRESET_UNET_CONVBLOCK_ONLY] = {"unet-convblock-only", false, true, true, true,
                                       false, false},
};

int lx_lycoris_preset_of(const char *name)
{
    for (int i = 0; i < LX_PRESET_COUNT; i++)
        if (strcmp(presets[i].name, name) == 0)
            return i;
    return -1;
}

const char *lx_lycoris_preset_name(lx_lycoris_preset preset)
{
    return presets[preset].name;
}

static bool is_windowed(const lx_lora_target *target)
{
    const lx_tensor_view *w = target->weight;

    return w->n_dims == 4 && (w->shape[2] > 1 || w->shape[3] > 1);
}

static bool is_attention(const lx_lora_target *target)
{
    return strstr(target->layer, ".attn1.") || strstr(target->layer, ".attn2.") ||
           strstr(target->layer, ".self_attn.");
}

/* conv_in, conv_out and the embedding of time; unet-convblock-only has the former alone. */
static bool takes_other(const lx_lora_spec *spec, const lx_lora_target *target)
{
    return presets[spec->preset].has_others &&
           (presets[spec->preset].has_attention ||
            !lx_starts_with(target->layer, "time_embedding."));
}

static bool takes(const lx_lora_spec *spec, const lx_lora_target *target)
{
    const int p = spec->preset;

    if (target->part == LX_UNET ? !spec->has_unet
                                : !spec->has_text_encoder || !presets[p].has_text)
        return false;
    if (is_windowed(target) && !presets[p].has_windows)
        return false;
    switch (target->kind) {
    case LX_TARGET_LINEAR:
        return is_attention(target) ? presets[p].has_attention : presets[p].has_mlp;
    case LX_TARGET_RESNET:
    case LX_TARGET_CONV:
        return presets[p].has_resnets;
    default:
        return takes_other(spec, target);
    }
}

/* ---- LoKr's dimensions ---------------------------------------------------------------- */

void lx_lokr_cut(int64_t *small, int64_t *large, int64_t dimension, int64_t factor)
{
    int64_t m = 1, n = dimension;

    if (factor > 0 && dimension % factor == 0) {
        m = factor;
        n = dimension / factor;
    } else {
        for (int64_t next = 2; next <= dimension / next && (factor < 0 || next <= factor);
             next++)
            if (dimension % next == 0) {
                m = next;
                n = dimension / next;
            }
    }
    *small = m < n ? m : n;
    *large = m < n ? n : m;
}

static int64_t larger(int64_t x, int64_t y)
{
    return x > y ? x : y;
}

static lx_lokr_shape lokr_shape(const lx_lora_spec *spec, const lx_tensor_view *w,
                                int rank)
{
    lx_lokr_shape s = {0};

    lx_lokr_cut(&s.c, &s.d, w->shape[1], spec->factor);
    lx_lokr_cut(&s.a, &s.b, w->shape[0], spec->factor);
    if (spec->is_unbalanced) {
        const int64_t a = s.a;
        s.a = s.b;
        s.b = a;
    }
    s.has_w1_factors =
        spec->decompose_both && !spec->full_matrix && 2 * rank < larger(s.a, s.c);
    s.has_w2_factors = !spec->full_matrix && 2 * rank < larger(s.b, s.d);
    return s;
}

/* ---- modules -------------------------------------------------------------------------- */

int lx_lycoris__add(lx_lora *lora, const lx_lora_target *target, const lx_lora_spec *spec,
                    lx_error *err)
{
    const bool is_windowed_too = is_windowed(target);
    const int rank = is_windowed_too ? spec->conv_rank : spec->rank;
    double alpha = is_windowed_too ? spec->conv_alpha : spec->alpha;
    lx_lokr_shape lokr = {0};

    if (rank < 1 || !takes(spec, target))
        return LX_OK;
    if (alpha == 0)
        alpha = rank;
    if (spec->is_rs)
        alpha *= sqrt(rank);
    if (spec->kind == LX_KIND_LOKR) {
        lokr = lokr_shape(spec, target->weight, rank);
        if (!lokr.has_w1_factors && !lokr.has_w2_factors)
            alpha = rank;
    }
    return lx_lora__add_kind(lora, target, spec->kind, rank, (float)alpha, &lokr, err);
}

static void draw_normal(float *out, size_t n, double deviation, const lx_rng *stream)
{
    lx_rng_normal(out, n, 0, stream);
    for (size_t i = 0; i < n; i++)
        out[i] = (float)(out[i] * deviation);
}

/* torch's kaiming_uniform_(a = sqrt 5): +- 1 / sqrt(fan in). */
static void draw_uniform(float *out, size_t n, size_t fan_in, lx_rng *stream)
{
    const double bound = 1 / sqrt((double)fan_in);

    for (size_t i = 0; i < n; i++)
        out[i] = (float)((2 * lx_rng_uniform(stream) - 1) * bound);
}

void lx_lycoris__initialise(lx_lora *lora, const lx_lora_module *m, uint64_t seed)
{
    for (int k = 0; k < m->n_factors; k++) {
        const lx_param *p = &m->factors[k];
        const size_t n = lx_lora__size(p);
        float *out = lx_lora_host_value(lora, p);
        lx_rng stream =
            lx_rng_stream(seed, LX_RNG_INIT, (uint64_t)k, lx_hash_name(m->name));

        switch (m->roles[k]) {
        case LX_ROLE_HADA_W1_A:
            draw_normal(out, n, 0.1, &stream);
            break;
        case LX_ROLE_HADA_W1_B:
        case LX_ROLE_HADA_W2_B:
            draw_normal(out, n, 1, &stream);
            break;
        case LX_ROLE_HADA_W2_A: /* zero: the change begins as nothing */
        case LX_ROLE_LOKR_W2:
        case LX_ROLE_LOKR_W2_B:
            memset(out, 0, n * sizeof *out);
            break;
        default:
            draw_uniform(out, n, n / (size_t)p->shape[0], &stream);
        }
    }
}

/* ---- graphs --------------------------------------------------------------------------- */

static lx_tensor *factor(lx_graph *g, lx_lora_module *m, lx_lora_role role)
{
    lx_param *p = lx_lora__factor(m, role);

    return p ? lx_graph_param(g, p) : NULL;
}

static lx_tensor *shaped(lx_graph *g, lx_tensor *x, int64_t a, int64_t b, int64_t c,
                         int64_t d)
{
    const int64_t shape[4] = {a, b, c, d};

    return lx_op_reshape(g, x, d ? 4 : 3, shape);
}

static int64_t rows_of(const lx_tensor *x)
{
    int64_t n = 1;

    for (int i = 0; i + 1 < x->n_dims; i++)
        n *= x->shape[i];
    return n;
}

static bool drops_anything(const lx_lora_dropout *d)
{
    return d->moment && (d->rank > 0 || d->module > 0);
}

/*
 * The draws are per sample and channel: with all positions as one sample, a channel is a row of the change.
 * What remains is not made larger: the op's 1 / (1 - p) is taken back.
 */
static lx_tensor *finish(lx_graph *g, const lx_lora_module *m, lx_tensor *delta,
                         lx_tensor *y, const lx_lora_dropout *d)
{
    const int64_t width = y->shape[y->n_dims - 1];

    if (drops_anything(d)) {
        delta = shaped(g, delta, 1, rows_of(y), width, 0);
        delta = lx_op_dropout(g, delta, d->moment, 0, (float)d->rank, (float)d->module,
                              lx_lora_dropout_stream(m));
        if (d->rank > 0)
            delta = lx_op_scale(g, delta, (float)(1 - d->rank));
    }
    return lx_op_add(g, y, lx_op_reshape(g, delta, y->n_dims, y->shape));
}

/* Of a plain LoRA, which LyCORIS drops by the rows of its change. */
static lx_tensor *apply_lora(lx_graph *g, const lx_layer *layer, lx_lora_module *m,
                             lx_tensor *x, lx_tensor *y, float scale,
                             const lx_lora_dropout *dropout)
{
    lx_tensor *down = factor(g, m, LX_ROLE_DOWN), *up = factor(g, m, LX_ROLE_UP);
    lx_tensor *h = m->is_conv ? lx_op_conv2d(g, x, down, NULL, layer->stride, layer->pad)
                              : lx_op_linear(g, x, down, NULL, 1);

    if (drops_anything(dropout))
        return finish(g, m, lx_op_linear(g, h, up, NULL, scale), y, dropout);
    return lx_op_linear_add(g, h, up, y, scale);
}

/* The model's own arithmetic: these products are as large as the layer's. */
static lx_tensor *apply_loha(lx_graph *g, lx_builder *b, const lx_layer *layer,
                             lx_lora_module *m, lx_tensor *x, lx_tensor *y, float scale,
                             const lx_lora_dropout *dropout)
{
    lx_tensor *delta = lx_op_hadamard(
        g, factor(g, m, LX_ROLE_HADA_W1_A), factor(g, m, LX_ROLE_HADA_W1_B),
        factor(g, m, LX_ROLE_HADA_W2_A), factor(g, m, LX_ROLE_HADA_W2_B), scale);
    const lx_arithmetic in_f32 = {LX_COMPUTE_F32, false};

    delta = lx_op_cast(g, delta, x->dtype);
    lx_graph_arithmetic(g, b->arithmetic);
    if (m->is_conv) {
        const int64_t in = x->shape[3];
        delta = shaped(g, delta, delta->shape[0], in, m->window[0], m->window[1]);
        y = finish(g, m, lx_op_conv2d(g, x, delta, NULL, layer->stride, layer->pad), y,
                   dropout);
    } else if (drops_anything(dropout)) {
        y = finish(g, m, lx_op_linear(g, x, delta, NULL, 1), y, dropout);
    } else {
        y = lx_op_linear_add(g, x, delta, y, 1);
    }
    lx_graph_arithmetic(g, in_f32);
    return y;
}

/* t [.., C] by w1 [a, c], or by its two factors. */
static lx_tensor *times_w1(lx_graph *g, lx_lora_module *m, lx_tensor *t)
{
    lx_tensor *w1 = factor(g, m, LX_ROLE_LOKR_W1);

    if (w1)
        return lx_op_linear(g, t, w1, NULL, 1);
    t = lx_op_linear(g, t, factor(g, m, LX_ROLE_LOKR_W1_B), NULL, 1);
    return lx_op_linear(g, t, factor(g, m, LX_ROLE_LOKR_W1_A), NULL, 1);
}

/* The end of a LoKr: t [.., a, K] by w [b, K] -> y + scale * it, as the layer's own shape. */
static lx_tensor *times_last(lx_graph *g, lx_lora_module *m, lx_tensor *t, lx_tensor *w,
                             lx_tensor *y, float scale, const lx_lora_dropout *dropout)
{
    const int64_t rows = t->shape[0], a = t->shape[1];
    lx_tensor *sum;

    if (drops_anything(dropout))
        return finish(
            g, m,
            lx_op_reshape(g, lx_op_linear(g, t, w, NULL, scale), y->n_dims, y->shape), y,
            dropout);
    sum = lx_op_linear_add(g, t, w, shaped(g, y, rows, a, w->shape[0], 0), scale);
    return lx_op_reshape(g, sum, y->n_dims, y->shape);
}

static lx_tensor *apply_lokr(lx_graph *g, const lx_layer *layer, lx_lora_module *m,
                             lx_tensor *x, lx_tensor *y, float scale,
                             const lx_lora_dropout *dropout)
{
    static const int swap[3] = {0, 2, 1};
    const lx_lokr_shape s = lx_lokr_shape_of(m);
    const int64_t rows = rows_of(x);
    lx_tensor *w2 = factor(g, m, LX_ROLE_LOKR_W2),
              *w2_a = factor(g, m, LX_ROLE_LOKR_W2_A);
    lx_tensor *t = lx_op_permute(g, shaped(g, x, rows, s.c, s.d, 0), swap);

    t = lx_op_permute(g, times_w1(g, m, t), swap); /* [rows, a, d] */
    if (!w2)
        t = lx_op_linear(g, t, factor(g, m, LX_ROLE_LOKR_W2_B), NULL, 1);
    return times_last(g, m, t, w2 ? w2 : w2_a, y, scale, dropout);
}

/* The same with a window: the a parts are images of their own for w2. */
static lx_tensor *apply_lokr_conv(lx_graph *g, const lx_layer *layer, lx_lora_module *m,
                                  lx_tensor *x, lx_tensor *y, float scale,
                                  const lx_lora_dropout *dropout)
{
    static const int to_w1[3] = {0, 2, 1}, to_images[4] = {0, 3, 1, 2},
                     back[4] = {0, 2, 1, 3};
    const lx_lokr_shape s = lx_lokr_shape_of(m);
    const int64_t B = x->shape[0], h = x->shape[1], w = x->shape[2];
    const int64_t cells = y->shape[1] * y->shape[2];
    lx_tensor *w2 = factor(g, m, LX_ROLE_LOKR_W2),
              *w2_a = factor(g, m, LX_ROLE_LOKR_W2_A);
    lx_tensor *t =
        times_w1(g, m, lx_op_permute(g, shaped(g, x, B * h * w, s.c, s.d, 0), to_w1));

    t = lx_op_permute(g, shaped(g, t, B, h * w, s.d, s.a), to_images);
    t = lx_op_conv2d(g, shaped(g, t, B * s.a, h, w, s.d),
                     w2 ? w2 : factor(g, m, LX_ROLE_LOKR_W2_B), NULL, layer->stride,
                     layer->pad);
    t = lx_op_permute(g, shaped(g, t, B, s.a, cells, t->shape[3]), back);
    if (w2_a)
        return times_last(g, m, shaped(g, t, B * cells, s.a, t->shape[3], 0), w2_a, y,
                          scale, dropout);
    return finish(g, m, lx_op_scale(g, t, scale), y, dropout);
}

lx_tensor *lx_lycoris__apply(lx_graph *g, lx_builder *b, const lx_layer *layer,
                             lx_lora_module *m, lx_tensor *x, lx_tensor *y, float scale,
                             const lx_lora_dropout *dropout)
{
    if (m->kind == LX_KIND_LORA)
        return apply_lora(g, layer, m, x, y, scale, dropout);
    if (m->kind == LX_KIND_LOHA)
        return apply_loha(g, b, layer, m, x, y, scale, dropout);
    return m->is_conv ? apply_lokr_conv(g, layer, m, x, y, scale, dropout)
                      : apply_lokr(g, layer, m, x, y, scale, dropout);
}
