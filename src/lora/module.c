#include "src/lora/module.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "src/base/alloc.h"

/* ---- the list of layers ------------------------------------------------------------------- */

static const char *const transformer_layers[] = {
    "proj_in",
    "transformer_blocks.0.attn1.to_q",
    "transformer_blocks.0.attn1.to_k",
    "transformer_blocks.0.attn1.to_v",
    "transformer_blocks.0.attn1.to_out.0",
    "transformer_blocks.0.ff.net.0.proj",
    "transformer_blocks.0.ff.net.2",
    "transformer_blocks.0.attn2.to_q",
    "transformer_blocks.0.attn2.to_k",
    "transformer_blocks.0.attn2.to_v",
    "transformer_blocks.0.attn2.to_out.0",
    "proj_out",
};

static const char *const text_layers[] = {
    "self_attn.k_proj",   "self_attn.v_proj", "self_attn.q_proj",
    "self_attn.out_proj", "mlp.fc1",          "mlp.fc2",
};

#define N_OF(array) (sizeof(array) / sizeof((array)[0]))

/* A walk over the layers of one checkpoint; after an error it does nothing more. */
typedef struct target_walk {
    lx_lora_targets *out;
    lx_arena *arena;
    const lx_checkpoint *ckpt;
    lx_part part;
    int rc;
    lx_error *err;
} target_walk;

static bool has_layer(const target_walk *walk, const char *layer)
{
    char key[LX_LAYER_NAME + 32];

    snprintf(key, sizeof(key), "%s.weight", layer);
    return lx_checkpoint_find(walk->ckpt, walk->part, key) != NULL;
}

static int add_target(target_walk *walk, lx_lora_target_kind kind, const char *layer)
{
    lx_lora_target target = {.part = walk->part, .kind = kind};
    char key[LX_LAYER_NAME + 32];
    char *name;
    int n_dims;

    snprintf(key, sizeof(key), "%s.weight", layer);
    target.weight = lx_checkpoint_find(walk->ckpt, walk->part, key);
    if (!target.weight)
        return lx_fail(walk->err, LX_EFORMAT, "the %s has no weight %s",
                       lx_part_name(walk->part), key);
    n_dims = target.weight->n_dims;
    if (n_dims != 2 && n_dims != 4)
        return lx_fail(walk->err, LX_EFORMAT,
                       "%s: %d dimensions where 2 or 4 are expected", target.weight->name,
                       n_dims);
    name = lx_arena_printf(walk->arena, "%s_%s",
                           walk->part == LX_UNET ? "lora_unet" : "lora_te", layer);
    target.layer = lx_arena_strdup(walk->arena, layer);
    if (!name || !target.layer)
        return lx_oom(walk->err);
    for (char *c = name; *c; c++)
        if (*c == '.')
            *c = '_';
    target.name = name;
    if (lx_grow(&walk->out->items, &walk->out->capacity, walk->out->count + 1,
                sizeof(target)) < 0)
        return lx_oom(walk->err);
    walk->out->items[walk->out->count++] = target;
    return 0;
}

static void visit(target_walk *walk, lx_lora_target_kind kind, const char *block,
                  const char *leaf)
{
    char layer[LX_LAYER_NAME];

    snprintf(layer, sizeof(layer), "%s.%s", block, leaf);
    if (walk->rc == 0)
        walk->rc = add_target(walk, kind, layer);
}

static void visit_transformer(target_walk *walk, const char *block, int i)
{
    char path[64];

    snprintf(path, sizeof(path), "%s.attentions.%d", block, i);
    for (size_t k = 0; k < N_OF(transformer_layers); k++)
        visit(walk, LX_TARGET_LINEAR, path, transformer_layers[k]);
}

static void visit_resnet(target_walk *walk, const char *block, int i)
{
    char path[64], shortcut[96];

    snprintf(path, sizeof(path), "%s.resnets.%d", block, i);
    visit(walk, LX_TARGET_CONV, path, "conv1");
    visit(walk, LX_TARGET_RESNET, path, "time_emb_proj");
    visit(walk, LX_TARGET_CONV, path, "conv2");
    snprintf(shortcut, sizeof(shortcut), "%s.conv_shortcut", path);
    if (has_layer(walk, shortcut))
        visit(walk, LX_TARGET_RESNET, path, "conv_shortcut");
}

static void visit_unet(target_walk *walk)
{
    static const char *const others[] = {"conv_in", "conv_out", "time_embedding.linear_1",
                                         "time_embedding.linear_2"};
    char block[32];

    for (int level = 0; level < 4; level++) {
        snprintf(block, sizeof(block), "down_blocks.%d", level);
        for (int i = 0; level < 3 && i < 2; i++)
            visit_transformer(walk, block, i);
        for (int i = 0; i < 2; i++)
            visit_resnet(walk, block, i);
        if (level < 3)
            visit(walk, LX_TARGET_CONV, block, "downsamplers.0.conv");
    }
    for (int level = 0; level < 4; level++) {
        snprintf(block, sizeof(block), "up_blocks.%d", level);
        for (int i = 0; level > 0 && i < 3; i++)
            visit_transformer(walk, block, i);
        for (int i = 0; i < 3; i++)
            visit_resnet(walk, block, i);
        if (level < 3)
            visit(walk, LX_TARGET_CONV, block, "upsamplers.0.conv");
    }
    visit_transformer(walk, "mid_block", 0);
    visit_resnet(walk, "mid_block", 0);
    visit_resnet(walk, "mid_block", 1);
    for (size_t i = 0; i < N_OF(others); i++)
        if (walk->rc == 0 && has_layer(walk, others[i]))
            walk->rc = add_target(walk, LX_TARGET_OTHER, others[i]);
}

int lx_lora__targets(lx_lora_targets *out, lx_arena *arena, const lx_checkpoint *ckpt,
                     const lx_sd_config *config, lx_error *err)
{
    target_walk walk = {out, arena, ckpt, LX_TEXT_ENCODER, 0, err};

    for (int i = 0; i < config->text_layers; i++) {
        char block[64];

        snprintf(block, sizeof(block), "text_model.encoder.layers.%d", i);
        for (size_t k = 0; k < N_OF(text_layers); k++)
            visit(&walk, LX_TARGET_LINEAR, block, text_layers[k]);
    }
    walk.part = LX_UNET;
    visit_unet(&walk);
    return walk.rc;
}

int lx_lora__match(size_t *out, const lx_lora_targets *targets, const char *name,
                   lx_error *err)
{
    const int target = lx_lora__find(targets, name);

    if (target < 0)
        return lx_fail(err, LX_EMISMATCH,
                       "\"%s\": the base model has no such layer (a LoRA of another "
                       "kind of model?)",
                       name);
    *out = (size_t)target;
    return LX_OK;
}

int lx_lora__begin(lx_lora_opening *out, const lx_checkpoint *ckpt,
                   const lx_sd_config *config, size_t found_bytes, lx_error *err)
{
    int rc;

    *out = (lx_lora_opening){.arena = lx_arena_new()};
    if (!out->arena)
        return lx_oom(err);
    if ((rc = lx_lora__targets(&out->targets, out->arena, ckpt, config, err)) < 0)
        return rc;
    out->found = lx_calloc(out->targets.count, found_bytes);
    return out->found ? LX_OK : lx_oom(err);
}

void lx_lora__end(lx_lora_opening *o)
{
    lx_free(o->found);
    lx_free(o->targets.items);
    lx_arena_free(o->arena);
}

/* ---- memory ------------------------------------------------------------------------------- */

size_t lx_lora__size(const lx_param *param)
{
    size_t n = 1;

    for (int i = 0; i < param->n_dims; i++)
        n *= (size_t)param->shape[i];
    return n;
}

int lx_lora__new(lx_lora **out, lx_device *dev, size_t capacity, lx_error *err)
{
    lx_lora *lora = lx_calloc(1, sizeof(*lora));

    *out = NULL;
    if (!lora)
        return lx_oom(err);
    lora->dev = dev;
    lora->multiplier = 1.0f;
    lora->arena = lx_arena_new();
    lora->modules = lx_calloc(capacity ? capacity : 1, sizeof(*lora->modules));
    lora->params = lx_calloc(capacity * LX_LORA_FACTORS + 1, sizeof(*lora->params));
    if (!lora->arena || !lora->modules || !lora->params) {
        lx_lora_free(lora);
        return lx_oom(err);
    }
    *out = lora;
    return 0;
}

const char *lx_lora__suffix(lx_lora_role role)
{
    switch (role) {
    case LX_ROLE_DOWN:
        return ".lora_down.weight";
    case LX_ROLE_UP:
        return ".lora_up.weight";
    case LX_ROLE_HADA_W1_A:
        return ".hada_w1_a";
    case LX_ROLE_HADA_W1_B:
        return ".hada_w1_b";
    case LX_ROLE_HADA_W2_A:
        return ".hada_w2_a";
    case LX_ROLE_HADA_W2_B:
        return ".hada_w2_b";
    case LX_ROLE_LOKR_W1:
        return ".lokr_w1";
    case LX_ROLE_LOKR_W1_A:
        return ".lokr_w1_a";
    case LX_ROLE_LOKR_W1_B:
        return ".lokr_w1_b";
    case LX_ROLE_LOKR_W2:
        return ".lokr_w2";
    case LX_ROLE_LOKR_W2_A:
        return ".lokr_w2_a";
    case LX_ROLE_LOKR_W2_B:
        return ".lokr_w2_b";
    default:
        return "";
    }
}

lx_param *lx_lora__factor(lx_lora_module *module, lx_lora_role role)
{
    for (int k = 0; k < module->n_factors; k++)
        if (module->roles[k] == role)
            return &module->factors[k];
    return NULL;
}

/* A factor [rows, columns], followed by as many dimensions as the layer's window has. */
static void add_factor(lx_lora_module *m, lx_lora_role role, int64_t rows,
                       int64_t columns, const lx_tensor_view *window)
{
    lx_param *p = &m->factors[m->n_factors];

    *p = (lx_param){.dtype = LX_F32, .n_dims = 2, .shape = {rows, columns}};
    for (; window && p->n_dims < window->n_dims; p->n_dims++)
        p->shape[p->n_dims] = window->shape[p->n_dims];
    m->roles[m->n_factors++] = role;
}

/* down [R, in, (kh, kw)] and up [out, R, (1, 1)] of a weight [out, in, (kh, kw)]. */
static void shape_lora(lx_lora_module *m, const lx_tensor_view *w)
{
    add_factor(m, LX_ROLE_DOWN, m->rank, w->shape[1], w);
    add_factor(m, LX_ROLE_UP, w->shape[0], m->rank, w);
    for (int i = 2; i < w->n_dims; i++)
        m->up.shape[i] = 1;
}

/* Matrices [out, R] and [R, in * kh * kw], twice. */
static void shape_loha(lx_lora_module *m, const lx_tensor_view *w)
{
    const int64_t out = w->shape[0], in = (int64_t)w->n_elements / out;

    add_factor(m, LX_ROLE_HADA_W1_A, out, m->rank, NULL);
    add_factor(m, LX_ROLE_HADA_W1_B, m->rank, in, NULL);
    add_factor(m, LX_ROLE_HADA_W2_A, out, m->rank, NULL);
    add_factor(m, LX_ROLE_HADA_W2_B, m->rank, in, NULL);
}

/* w2, or the part of it that sees the pixels, has the window. */
static void shape_lokr(lx_lora_module *m, const lx_tensor_view *w, const lx_lokr_shape *s)
{
    if (s->has_w1_factors) {
        add_factor(m, LX_ROLE_LOKR_W1_A, s->a, m->rank, NULL);
        add_factor(m, LX_ROLE_LOKR_W1_B, m->rank, s->c, NULL);
    } else {
        add_factor(m, LX_ROLE_LOKR_W1, s->a, s->c, NULL);
    }
    if (s->has_w2_factors) {
        add_factor(m, LX_ROLE_LOKR_W2_A, s->b, m->rank, NULL);
        add_factor(m, LX_ROLE_LOKR_W2_B, m->rank, s->d, w);
    } else {
        add_factor(m, LX_ROLE_LOKR_W2, s->b, s->d, w);
    }
}

lx_lokr_shape lx_lokr_shape_of(const lx_lora_module *m)
{
    lx_lokr_shape s = {0};

    for (int k = 0; k < m->n_factors; k++) {
        const int64_t *shape = m->factors[k].shape;
        switch (m->roles[k]) {
        case LX_ROLE_LOKR_W1:
            s.a = shape[0];
            s.c = shape[1];
            break;
        case LX_ROLE_LOKR_W2:
            s.b = shape[0];
            s.d = shape[1];
            break;
        case LX_ROLE_LOKR_W1_A:
            s.a = shape[0];
            s.has_w1_factors = true;
            break;
        case LX_ROLE_LOKR_W1_B:
            s.c = shape[1];
            break;
        case LX_ROLE_LOKR_W2_A:
            s.b = shape[0];
            s.has_w2_factors = true;
            break;
        case LX_ROLE_LOKR_W2_B:
            s.d = shape[1];
            break;
        default:
            break;
        }
    }
    return s;
}

bool lx_lokr_is_whole(const lx_lora_module *m)
{
    const lx_lokr_shape s = lx_lokr_shape_of(m);

    return !s.has_w1_factors && !s.has_w2_factors;
}

int lx_lora_file_shape(int64_t shape[LX_MAX_DIMS], const lx_lora_module *m, int factor)
{
    const lx_param *p = &m->factors[factor];

    memcpy(shape, p->shape, sizeof p->shape);
    if (m->roles[factor] != LX_ROLE_LOKR_W2_B)
        return p->n_dims;
    for (int i = 2; i < p->n_dims; i++)
        shape[1] *= p->shape[i];
    return 2;
}

int lx_lora__add_kind(lx_lora *lora, const lx_lora_target *target, lx_lora_kind kind,
                      int rank, float alpha, const lx_lokr_shape *lokr, lx_error *err)
{
    const lx_tensor_view *w = target->weight;
    lx_lora_module *module = &lora->modules[lora->count];

    *module = (lx_lora_module){
        .name = lx_arena_strdup(lora->arena, target->name),
        .layer = lx_arena_strdup(lora->arena, target->layer),
        .part = target->part,
        .kind = kind,
        .rank = rank,
        .alpha = alpha,
        .is_alpha_whole = fabsf(alpha) < 0x1p24f && alpha == floorf(alpha),
        .first = lora->n_params,
        .is_conv = w->n_dims == 4 && (w->shape[2] > 1 || w->shape[3] > 1),
    };
    module->is_alpha_whole &= !module->is_conv;
    module->window[0] = module->is_conv ? w->shape[2] : 1;
    module->window[1] = module->is_conv ? w->shape[3] : 1;
    if (!module->name || !module->layer)
        return lx_oom(err);
    if (kind == LX_KIND_LOHA)
        shape_loha(module, w);
    else if (kind == LX_KIND_LOKR)
        shape_lokr(module, w, lokr);
    else
        shape_lora(module, w);
    for (int k = 0; k < module->n_factors; k++) {
        lx_param *p = &module->factors[k];
        p->name = lx_arena_printf(lora->arena, "%s%s", target->name,
                                  lx_lora__suffix(module->roles[k]));
        if (!p->name)
            return lx_oom(err);
        lora->params[lora->n_params++] = p;
    }
    lora->count++;
    return 0;
}

int lx_lora__add(lx_lora *lora, const lx_lora_target *target, int rank, float alpha,
                 lx_error *err)
{
    return lx_lora__add_kind(lora, target, LX_KIND_LORA, rank, alpha, NULL, err);
}

/* The host's side of a LoRA that is trained; zeros, as the device's memory is. */
static int mirror(lx_lora *lora, size_t bytes, lx_error *err)
{
    if (lora->dev->uses_host_memory) {
        lora->host_values = lora->values;
        lora->host_gradients = lora->gradients;
        return LX_OK;
    }
    lora->host_values = lx_calloc(1, bytes + 1);
    lora->host_gradients = lx_calloc(1, bytes + 1);
    return lora->host_values && lora->host_gradients ? LX_OK : lx_oom(err);
}

int lx_lora__place(lx_lora *lora, bool is_trainable, lx_error *err)
{
    size_t n = 0, bytes;
    int rc;

    for (size_t i = 0; i < lora->n_params; i++)
        n += lx_lora__size(lora->params[i]);
    if (!lx_mul_size(&bytes, n, sizeof(float)))
        return lx_fail(err, LX_ELIMIT, "a LoRA of %zu values is too large", n);
    lora->n_values = n;
    if ((rc = lora->dev->alloc(lora->dev, (void **)&lora->values, bytes, err)) < 0)
        return rc;
    if (is_trainable &&
        ((rc = lora->dev->alloc(lora->dev, (void **)&lora->gradients, bytes, err)) < 0 ||
         (rc = mirror(lora, bytes, err)) < 0))
        return rc;
    n = 0;
    for (size_t i = 0; i < lora->n_params; i++) {
        lora->params[i]->value = lora->values + n;
        lora->params[i]->gradient = is_trainable ? lora->gradients + n : NULL;
        n += lx_lora__size(lora->params[i]);
    }
    return 0;
}

float *lx_lora_host_value(const lx_lora *lora, const lx_param *param)
{
    return lora->host_values + ((const float *)param->value - lora->values);
}

float *lx_lora_host_gradient(const lx_lora *lora, const lx_param *param)
{
    return param->gradient ? lora->host_gradients + (param->gradient - lora->gradients)
                           : NULL;
}

int lx_lora__put(lx_lora *lora, const lx_param *param, const float *values, lx_error *err)
{
    const size_t bytes = lx_lora__size(param) * sizeof(float);

    if (lora->host_values && lora->host_values != lora->values)
        memcpy(lx_lora_host_value(lora, param), values, bytes);
    return lora->dev->upload(lora->dev, param->value, values, bytes, err);
}

enum { NARROW_ALIGNMENT = 8 }; /* elements, of 16 bytes: what libraries load at once */

static size_t narrow_size(const lx_param *param)
{
    return (lx_lora__size(param) + NARROW_ALIGNMENT - 1) / NARROW_ALIGNMENT *
           NARROW_ALIGNMENT;
}

/* values: of all factors, on the host. */
static int send_narrow(lx_lora *lora, const float *values, lx_error *err)
{
    uint16_t *all = lx_calloc(1, lora->narrow_bytes + 1);
    int rc;

    if (!all)
        return lx_oom(err);
    for (size_t i = 0; i < lora->n_params; i++) {
        const lx_param *p = lora->params[i];
        uint16_t *to = all + ((uint16_t *)p->narrow - (uint16_t *)lora->narrow);
        lx_from_f32(to, p->narrow_dtype,
                    values + ((const float *)p->value - lora->values), lx_lora__size(p));
    }
    rc = lora->dev->upload(lora->dev, lora->narrow, all, lora->narrow_bytes, err);
    lx_free(all);
    return rc;
}

/* Of a LoRA that is not trained the host has kept none. */
static int send_narrow_of_device(lx_lora *lora, lx_error *err)
{
    const size_t bytes = lora->n_values * sizeof(float);
    float *values = lx_alloc(bytes + 1);
    int rc;

    if (!values)
        return lx_oom(err);
    if ((rc = lora->dev->download(lora->dev, values, lora->values, bytes, err)) == LX_OK)
        rc = send_narrow(lora, values, err);
    lx_free(values);
    return rc;
}

int lx_lora_narrow(lx_lora *lora, lx_dtype dtype, lx_error *err)
{
    size_t n = 0;
    int rc;

    for (size_t i = 0; i < lora->n_params; i++)
        n += narrow_size(lora->params[i]);
    lora->narrow_bytes = n * sizeof(uint16_t);
    if ((rc = lora->dev->alloc(lora->dev, &lora->narrow, lora->narrow_bytes, err)) < 0)
        return rc;
    n = 0;
    for (size_t i = 0; i < lora->n_params; i++) {
        lx_param *p = lora->params[i];
        p->narrow = (uint16_t *)lora->narrow + n;
        p->narrow_dtype = dtype;
        n += narrow_size(p);
    }
    return lora->host_values ? send_narrow(lora, lora->host_values, err)
                             : send_narrow_of_device(lora, err);
}

int lx_lora_send(lx_lora *lora, lx_error *err)
{
    int rc;

    if (lora->host_values == lora->values)
        return LX_OK;
    rc = lora->dev->upload(lora->dev, lora->values, lora->host_values,
                           lora->n_values * sizeof(float), err);
    return rc < 0 || !lora->narrow ? rc : send_narrow(lora, lora->host_values, err);
}

int lx_lora_send_gradients(lx_lora *lora, lx_error *err)
{
    if (lora->host_gradients == lora->gradients)
        return LX_OK;
    return lora->dev->upload(lora->dev, lora->gradients, lora->host_gradients,
                             lora->n_values * sizeof(float), err);
}

int lx_lora_fetch_gradients(lx_lora *lora, lx_error *err)
{
    if (lora->host_gradients == lora->gradients)
        return LX_OK;
    return lora->dev->download(lora->dev, lora->host_gradients, lora->gradients,
                               lora->n_values * sizeof(float), err);
}

void lx_lora_free(lx_lora *lora)
{
    if (!lora)
        return;
    if (lora->host_values != lora->values)
        lx_free(lora->host_values);
    if (lora->host_gradients != lora->gradients)
        lx_free(lora->host_gradients);
    if (lora->narrow)
        lora->dev->free(lora->dev, lora->narrow);
    if (lora->values)
        lora->dev->free(lora->dev, lora->values);
    if (lora->gradients)
        lora->dev->free(lora->dev, lora->gradients);
    lx_free(lora->params);
    lx_free(lora->modules);
    lx_arena_free(lora->arena);
    lx_free(lora);
}
