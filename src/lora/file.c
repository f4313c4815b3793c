#include "src/lora/file.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/base/rng.h"
#include "src/base/str.h"
#include "src/lora/delta.h"
#include "src/lora/peft_config.h"
#include "src/model/kind.h"

#define ENDING(text) text, sizeof text - 1

/* Longer suffixes first: the first that fits wins. */
static const struct {
    const char *suffix;
    size_t n;
    lx_lora_role role;
} suffixes[] = {
    {ENDING(".lora_linear_layer.down.weight"), LX_ROLE_DOWN},
    {ENDING(".lora_linear_layer.up.weight"), LX_ROLE_UP},
    {ENDING(".lora_magnitude_vector.weight"), LX_ROLE_DORA},
    {ENDING(".lora_magnitude_vector"), LX_ROLE_DORA},
    {ENDING(".lora_A.default.weight"), LX_ROLE_DOWN},
    {ENDING(".lora_B.default.weight"), LX_ROLE_UP},
    {ENDING(".lora_down.weight"), LX_ROLE_DOWN},
    {ENDING(".lora_up.weight"), LX_ROLE_UP},
    {ENDING(".lora_mid.weight"), LX_ROLE_MID},
    {ENDING("_lora_down.weight"), LX_ROLE_DOWN},
    {ENDING("_lora_up.weight"), LX_ROLE_UP},
    {ENDING(".lora.down.weight"), LX_ROLE_DOWN},
    {ENDING(".lora.up.weight"), LX_ROLE_UP},
    {ENDING("_lora.down.weight"), LX_ROLE_DOWN},
    {ENDING("_lora.up.weight"), LX_ROLE_UP},
    {ENDING(".lora_A.weight"), LX_ROLE_DOWN},
    {ENDING(".lora_B.weight"), LX_ROLE_UP},
    {ENDING(".lora_B.bias"), LX_ROLE_UP_BIAS},
    {ENDING(".oft_R.weight"), LX_ROLE_OFT_R},
    {ENDING(".dora_scale"), LX_ROLE_DORA},
    {ENDING(".magnitude"), LX_ROLE_DORA},
    {ENDING(".oft_blocks"), LX_ROLE_OFT_BLOCKS},
    {ENDING(".rescale"), LX_ROLE_OFT_RESCALE},
    {ENDING(".hada_w1_a"), LX_ROLE_HADA_W1_A},
    {ENDING(".hada_w1_b"), LX_ROLE_HADA_W1_B},
    {ENDING(".hada_w2_a"), LX_ROLE_HADA_W2_A},
    {ENDING(".hada_w2_b"), LX_ROLE_HADA_W2_B},
    {ENDING(".hada_t1"), LX_ROLE_HADA_T1},
    {ENDING(".hada_t2"), LX_ROLE_HADA_T2},
    {ENDING(".lokr_w1_a"), LX_ROLE_LOKR_W1_A},
    {ENDING(".lokr_w1_b"), LX_ROLE_LOKR_W1_B},
    {ENDING(".lokr_w2_a"), LX_ROLE_LOKR_W2_A},
    {ENDING(".lokr_w2_b"), LX_ROLE_LOKR_W2_B},
    {ENDING(".lokr_t2"), LX_ROLE_LOKR_T2},
    {ENDING(".lokr_w1"), LX_ROLE_LOKR_W1},
    {ENDING(".lokr_w2"), LX_ROLE_LOKR_W2},
    {ENDING(".on_input"), LX_ROLE_IA3_ON_INPUT},
    {ENDING(".a1.weight"), LX_ROLE_GLORA_A1},
    {ENDING(".a2.weight"), LX_ROLE_GLORA_A2},
    {ENDING(".b1.weight"), LX_ROLE_GLORA_B1},
    {ENDING(".b2.weight"), LX_ROLE_GLORA_B2},
    {ENDING(".bm.weight"), LX_ROLE_GLORA_BM},
    {ENDING(".w_norm"), LX_ROLE_W_NORM},
    {ENDING(".b_norm"), LX_ROLE_B_NORM},
    {ENDING(".diff_b"), LX_ROLE_DIFF_B},
    {ENDING(".diff"), LX_ROLE_DIFF},
    {ENDING(".lora_A"), LX_ROLE_DOWN},
    {ENDING(".lora_B"), LX_ROLE_UP},
    {ENDING(".lora_down"), LX_ROLE_DOWN},
    {ENDING(".lora_up"), LX_ROLE_UP},
    {ENDING(".down.weight"),
     LX_ROLE_DOWN}, /* XLabs: ".processor.qkv_lora1.down.weight" */
    {ENDING(".up.weight"), LX_ROLE_UP},
    {ENDING(".down"), LX_ROLE_DOWN}, /* ControlLoRA */
    {ENDING(".up"), LX_ROLE_UP},
    {ENDING(".alpha"), LX_ROLE_ALPHA},
    {ENDING(".scale"), LX_ROLE_SCALE},
    {ENDING(":down"), LX_ROLE_DOWN},
    {ENDING(":up"), LX_ROLE_UP},
    {ENDING(".weight"), LX_ROLE_IA3_WEIGHT},
};

/* `.lora_A.NAME.weight` of an adapter that is not called default. */
static bool split_named_adapter(const char *key, size_t *stem, lx_lora_role *role)
{
    const char *at = strstr(key, ".lora_A.");
    *role = LX_ROLE_DOWN;
    if (!at) {
        at = strstr(key, ".lora_B.");
        *role = LX_ROLE_UP;
    }
    if (!at || !lx_ends_with(key, ".weight"))
        return false;
    *stem = (size_t)(at - key);
    return true;
}

static bool split_key(const char *key, size_t *stem, lx_lora_role *role)
{
    size_t n = strlen(key);
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
        const char *suffix = suffixes[i].suffix;
        const size_t m = suffixes[i].n;
        /* The third letter from the end, which all have, tells most apart. */
        if (n > m && key[n - 3] == suffix[m - 3] && memcmp(key + n - m, suffix, m) == 0) {
            if (suffixes[i].role == LX_ROLE_IA3_WEIGHT &&
                split_named_adapter(key, stem, role))
                return true;
            *stem = n - m;
            *role = suffixes[i].role;
            return true;
        }
    }
    return false;
}

/* ---- collecting -------------------------------------------------------------------------- */

/* Open addressing over module names; sized to the number of tensors, so it is never full. */
typedef struct name_index {
    size_t *slots; /* index + 1; 0 = free */
    size_t size;
} name_index;

static size_t hash_bytes(const char *s, size_t n)
{
    const uint64_t h = lx_hash_bytes(s, n);
    return (size_t)(h ^ h >> 29);
}

static lx_lora_entry *entry_for(lx_lora_file *f, name_index *index, const char *key,
                                size_t stem)
{
    size_t at = hash_bytes(key, stem) % index->size;
    lx_lora_entry *e;

    for (; index->slots[at]; at = (at + 1) % index->size) {
        e = &f->modules[index->slots[at] - 1];
        if (strncmp(e->name, key, stem) == 0 && !e->name[stem])
            return e;
    }
    e = &f->modules[f->n_modules];
    memset(e, 0, sizeof *e);
    if (!(e->name = lx_arena_strndup(f->arena, key, stem)))
        return NULL;
    index->slots[at] = ++f->n_modules;
    return e;
}

static bool is_embedding(const lx_tensor_view *t)
{
    static const char *const names[] = {"emb_params", "clip_l",     "clip_g",
                                        "clip_l_out", "clip_g_out", "t5"};

    if (lx_starts_with(t->name, "bundle_emb.") || strstr(t->name, "string_to_param") ||
        (t->name[0] == '<' && t->n_dims <= 2))
        return true;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(t->name, names[i]) == 0 && t->n_dims == 2)
            return true;
    return false;
}

/* A pickled list of cloneofsimo's trainer: up0, down0, up1, down1, ... */
static bool is_list_of_pairs(const lx_tensor_file *file)
{
    const size_t n = lx_tensor_file_count(file);

    if (!n || n % 2)
        return false;
    for (size_t i = 0; i < n; i++) {
        const lx_tensor_view *t = lx_tensor_file_at(file, i);
        if (t->n_dims != 2 || strspn(t->name, "0123456789") != strlen(t->name))
            return false;
    }
    return true;
}

static int collect_pairs(lx_lora_file *f, lx_error *err)
{
    for (size_t i = 0; i + 1 < lx_tensor_file_count(f->file); i += 2) {
        lx_lora_entry *e = &f->modules[f->n_modules++];
        *e = (lx_lora_entry){.name = lx_arena_printf(f->arena, "unet:%zu", i / 2)};
        if (!e->name)
            return lx_oom(err);
        e->tensors[LX_ROLE_UP] = lx_tensor_file_at(f->file, i);
        e->tensors[LX_ROLE_DOWN] = lx_tensor_file_at(f->file, i + 1);
    }
    return LX_OK;
}

static int collect(lx_lora_file *f, lx_error *err)
{
    size_t n = lx_tensor_file_count(f->file);
    name_index index = {.size = 2 * n + 1};
    int rc = LX_OK;

    /* Room for one module a tensor; what is not needed is never touched. */
    f->modules = lx_arena_alloc(f->arena, n * sizeof *f->modules);
    f->unknown = lx_arena_alloc(f->arena, n * sizeof *f->unknown);
    f->embeddings = lx_arena_alloc(f->arena, n * sizeof *f->embeddings);
    index.slots = lx_calloc(index.size, sizeof *index.slots);
    if (!f->modules || !f->unknown || !f->embeddings || !index.slots) {
        lx_free(index.slots);
        return lx_oom(err);
    }
    if (is_list_of_pairs(f->file)) {
        lx_free(index.slots);
        return collect_pairs(f, err);
    }
    for (size_t i = 0; i < n; i++) {
        const lx_tensor_view *t = lx_tensor_file_at(f->file, i);
        lx_lora_entry *e;
        lx_lora_role role;
        size_t stem;
        if (is_embedding(t)) {
            f->embeddings[f->n_embeddings++] = t;
        } else if (!split_key(t->name, &stem, &role)) {
            f->unknown[f->n_unknown++] = t;
        } else if (!(e = entry_for(f, &index, t->name, stem))) {
            rc = lx_oom(err);
            break;
        } else if (e->tensors[role]) {
            rc = lx_fail(err, LX_EFORMAT, "%s: two tensors have the same role: %s and %s",
                         e->name, e->tensors[role]->name, t->name);
            break;
        } else {
            e->tensors[role] = t;
        }
    }
    lx_free(index.slots);
    return rc;
}

/* ---- understanding one module ------------------------------------------------------------ */

static bool has(const lx_lora_entry *e, lx_lora_role role)
{
    return e->tensors[role] != NULL;
}

/* false: the tensors make no module; they go to the unknown ones. */
static bool find_kind(lx_lora_entry *e)
{
    if (has(e, LX_ROLE_UP) || has(e, LX_ROLE_DOWN))
        e->kind = has(e, LX_ROLE_MID) ? LX_KIND_TUCKER : LX_KIND_LORA;
    else if (has(e, LX_ROLE_HADA_W1_A) || has(e, LX_ROLE_HADA_W2_A))
        e->kind = LX_KIND_LOHA;
    else if (has(e, LX_ROLE_LOKR_W1) || has(e, LX_ROLE_LOKR_W1_A) ||
             has(e, LX_ROLE_LOKR_W2) || has(e, LX_ROLE_LOKR_W2_A))
        e->kind = LX_KIND_LOKR;
    else if (has(e, LX_ROLE_GLORA_A1))
        e->kind = LX_KIND_GLORA;
    else if (has(e, LX_ROLE_OFT_BLOCKS) || has(e, LX_ROLE_OFT_R))
        e->kind = LX_KIND_OFT;
    else if (has(e, LX_ROLE_DIFF) || has(e, LX_ROLE_DIFF_B))
        e->kind = LX_KIND_FULL;
    else if (has(e, LX_ROLE_W_NORM) || has(e, LX_ROLE_B_NORM))
        e->kind = LX_KIND_NORM;
    else if (has(e, LX_ROLE_IA3_WEIGHT) && has(e, LX_ROLE_IA3_ON_INPUT))
        e->kind = LX_KIND_IA3;
    else
        return false;
    e->has_dora = has(e, LX_ROLE_DORA);
    return true;
}

static int64_t dim(const lx_tensor_view *t, int i)
{
    return t && t->n_dims > i ? t->shape[i] : 0;
}

static void set_problem(lx_lora_file *f, lx_lora_entry *e, const char *fmt, ...)
    LX_PRINTF(3, 4);

static void set_problem(lx_lora_file *f, lx_lora_entry *e, const char *fmt, ...)
{
    char text[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (e->problem)
        return; /* the first is enough */
    e->problem = lx_arena_strdup(f->arena, text);
    if (!e->problem)
        e->problem = "out of memory";
    f->n_problems++;
}

/* Tensors of two methods for one layer: programs take the one or the other. A change of the bias goes with any. */
static void check_methods(lx_lora_file *f, lx_lora_entry *e)
{
    static const struct {
        lx_lora_role first, last;
    } methods[] = {{LX_ROLE_DOWN, LX_ROLE_MID},
                   {LX_ROLE_HADA_W1_A, LX_ROLE_HADA_T2},
                   {LX_ROLE_LOKR_W1, LX_ROLE_LOKR_T2},
                   {LX_ROLE_DIFF, LX_ROLE_DIFF},
                   {LX_ROLE_W_NORM, LX_ROLE_B_NORM},
                   {LX_ROLE_IA3_WEIGHT, LX_ROLE_IA3_ON_INPUT},
                   {LX_ROLE_GLORA_A1, LX_ROLE_GLORA_BM},
                   {LX_ROLE_OFT_BLOCKS, LX_ROLE_OFT_R}};
    const lx_tensor_view *one = NULL;

    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        const lx_tensor_view *other = NULL;
        for (int role = (int)methods[i].first; role <= (int)methods[i].last && !other; role++)
            other = e->tensors[role];
        if (one && other) {
            set_problem(f, e, "has tensors of two methods, %s and %s", one->name, other->name);
            return;
        }
        one = one ? one : other;
    }
}

static void find_factor_rank(lx_lora_file *f, lx_lora_entry *e, const lx_tensor_view *up,
                             const lx_tensor_view *down)
{
    if (!up || !down) {
        set_problem(f, e, "has %s but no %s", up ? "an up" : "a down",
                    up ? "down" : "up");
        return;
    }
    e->rank = dim(down, 0);
    if (up->n_dims < 2 || down->n_dims < 2)
        set_problem(f, e, "up and down must have at least 2 dimensions");
    else if (up->shape[1] != e->rank)
        set_problem(f, e, "up has rank %lld, down has rank %lld", (long long)up->shape[1],
                    (long long)e->rank);
    else if (e->rank < 1)
        set_problem(f, e, "has rank 0");
}

static void find_rank(lx_lora_file *f, lx_lora_entry *e)
{
    const lx_tensor_view *up = e->tensors[LX_ROLE_UP], *down = e->tensors[LX_ROLE_DOWN];
    switch (e->kind) {
    case LX_KIND_LORA:
    case LX_KIND_TUCKER:
        find_factor_rank(f, e, up, down);
        break;
    case LX_KIND_LOHA:
        e->rank = dim(e->tensors[LX_ROLE_HADA_W1_B], 0);
        break;
    case LX_KIND_LOKR: /* beside a core w2_a is [rank, out] */
        e->rank = dim(e->tensors[LX_ROLE_LOKR_W2_A], has(e, LX_ROLE_LOKR_T2) ? 0 : 1);
        if (!e->rank)
            e->rank = dim(e->tensors[LX_ROLE_LOKR_W1_A], 1);
        break;
    case LX_KIND_GLORA:
        /* a1 is [in, rank], of old files [rank, in]; the rank is the smaller. */
        e->rank = dim(e->tensors[LX_ROLE_GLORA_A1], 0);
        if (dim(e->tensors[LX_ROLE_GLORA_A1], 1) < e->rank)
            e->rank = dim(e->tensors[LX_ROLE_GLORA_A1], 1);
        break;
    default:
        break;
    }
}

static void find_alpha(lx_lora_file *f, lx_lora_entry *e)
{
    const lx_tensor_view *t = e->tensors[LX_ROLE_ALPHA];
    double alpha;

    e->alpha = (double)e->rank;
    if (!t)
        return;
    if (!t->data && t->n_elements == 1) {
        e->has_alpha = true;
        e->alpha = NAN;
        return;
    }
    if (t->n_elements != 1 || lx_to_f64(&alpha, t->data, t->dtype, 1) < 0) {
        set_problem(f, e, "alpha must be one number, has %zu elements", t->n_elements);
        return;
    }
    e->has_alpha = true; /* of whatever use */
    if (!isfinite(alpha)) {
        e->alpha = alpha;
        set_problem(f, e, "alpha is %g", alpha);
        return;
    }
    /* kohya reads 0 as "alpha = rank", and such files were trained by it. */
    e->alpha = alpha == 0 ? (double)e->rank : alpha;
}

static lx_lora_part part_of(const char *name)
{
    static const struct {
        const char *prefix;
        lx_lora_part part;
    } prefixes[] = {
        {"lora_unet_", LX_LORA_UNET},
        {"oft_unet_", LX_LORA_UNET},
        {"lora_te1_", LX_LORA_TEXT_ENCODER},
        {"lora_te2_", LX_LORA_TEXT_ENCODER_2},
        {"lora_te3_", LX_LORA_TEXT_ENCODER_3},
        {"lora_te_", LX_LORA_TEXT_ENCODER},
        {"unet.", LX_LORA_UNET},
        {"unet:", LX_LORA_UNET},
        {"text_encoder.", LX_LORA_TEXT_ENCODER},
        {"text_encoder:", LX_LORA_TEXT_ENCODER},
        {"text_encoder_2.", LX_LORA_TEXT_ENCODER_2},
        {"text_encoder_3.", LX_LORA_TEXT_ENCODER_3},
        {"down_blocks.", LX_LORA_UNET},
        {"up_blocks.", LX_LORA_UNET},
        {"mid_block.", LX_LORA_UNET},
        {"base_model.model.down_blocks.", LX_LORA_UNET},
        {"base_model.model.up_blocks.", LX_LORA_UNET},
        {"base_model.model.mid_block.", LX_LORA_UNET},
        {"base_model.model.text_model.", LX_LORA_TEXT_ENCODER},
        {"base_model.model.unet.", LX_LORA_UNET},
        {"base_model.model.text_encoder.", LX_LORA_TEXT_ENCODER},
        {"base_model.model.text_encoder_2.", LX_LORA_TEXT_ENCODER_2},
        {"diffusion_model.input_blocks.", LX_LORA_UNET},
        {"diffusion_model.middle_block.", LX_LORA_UNET},
        {"diffusion_model.output_blocks.", LX_LORA_UNET},
        {"lycoris_down_blocks_", LX_LORA_UNET},
        {"lycoris_mid_block_", LX_LORA_UNET},
        {"lycoris_up_blocks_", LX_LORA_UNET},
        {"lycoris_text_model_", LX_LORA_TEXT_ENCODER},
        {"text_encoders.clip_l.", LX_LORA_TEXT_ENCODER},
        {"text_encoders.clip_h.", LX_LORA_TEXT_ENCODER},
        {"text_encoders.clip_g.", LX_LORA_TEXT_ENCODER_2},
        {"text_encoders.t5xxl.", LX_LORA_TEXT_ENCODER_3},
    };
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++)
        if (lx_starts_with(name, prefixes[i].prefix))
            return prefixes[i].part;
    return LX_LORA_OTHER;
}

static void reject(lx_lora_file *f, const lx_lora_entry *e)
{
    for (int r = 0; r < LX_ROLE_COUNT; r++)
        if (e->tensors[r])
            f->unknown[f->n_unknown++] = e->tensors[r];
}

/* The sizes of all its tensors against each other, by who computes with them. */
static void check_shape(lx_lora_file *f, lx_lora_entry *e)
{
    const size_t n = strlen(e->name);
    lx_error err;

    if (e->problem || lx_delta_check_shape(e, &err) == LX_OK)
        return;
    /* Whoever tells a problem tells the module's name before it. */
    if (strncmp(err.text, e->name, n) == 0 && strncmp(err.text + n, ": ", 2) == 0)
        set_problem(f, e, "%s", err.text + n + 2);
    else
        set_problem(f, e, "%s", err.text);
}

static void understand(lx_lora_file *f)
{
    size_t n = 0;
    for (size_t i = 0; i < f->n_modules; i++) {
        lx_lora_entry *e = &f->modules[i];
        if (!find_kind(e)) {
            reject(f, e);
            continue;
        }
        check_methods(f, e);
        find_rank(f, e);
        find_alpha(f, e);
        check_shape(f, e);
        e->part = part_of(e->name);
        f->modules[n++] = *e;
    }
    f->n_modules = n;
}

/* ---- the family -------------------------------------------------------------------------- */

enum { MOST_FAMILIES = 16 };

static const char *family_of_key(const char *key)
{
    if (strchr(key, ':') || strspn(key, "0123456789") == strlen(key))
        return "cloneofsimo";
    if (lx_starts_with(key, "base_model.model."))
        return "PEFT";
    if (strstr(key, ".processor.") && strstr(key, "_lora") &&
        strstr(key, "double_blocks."))
        return "XLabs";
    if (strstr(key, ".processor.") || strstr(key, ".to_q_lora.") ||
        strstr(key, ".to_out_lora."))
        return "diffusers (old processors)";
    if (lx_starts_with(key, "lora_unet_unet_") || strstr(key, "_lora_down.weight") ||
        strstr(key, "_lora_up.weight"))
        return "kohya, damaged by a conversion";
    if (lx_starts_with(key, "diffusion_model.") ||
        lx_starts_with(key, "model.diffusion_model."))
        return "generic (original model names)";
    if (lx_starts_with(key, "double_blocks.") || lx_starts_with(key, "single_blocks."))
        return "BFL";
    if (lx_starts_with(key, "lora_transformer_"))
        return "OneTrainer";
    if (lx_starts_with(key, "lora_"))
        return "kohya";
    if (lx_starts_with(key, "lycoris_"))
        return "LyCORIS";
    if (lx_starts_with(key, "transformer.") && strstr(key, ".lora_down."))
        return "OneTrainer";
    if (strstr(key, ".lora_linear_layer.") || strstr(key, ".lora.down.") ||
        strstr(key, ".lora.up.") || lx_starts_with(key, "unet.") ||
        lx_starts_with(key, "text_encoder.") || lx_starts_with(key, "text_encoder_2.") ||
        lx_starts_with(key, "transformer.") || strstr(key, ".lora_A."))
        return "diffusers";
    return "unknown";
}

static const char *first_key(const lx_lora_entry *e)
{
    for (int r = 0; r < LX_ROLE_COUNT; r++)
        if (e->tensors[r])
            return e->tensors[r]->name;
    return e->name;
}

/* That of most modules: converters leave a few of another spelling. */
static const char *family_of(const lx_lora_file *f)
{
    const char *names[MOST_FAMILIES];
    size_t counts[MOST_FAMILIES] = {0}, n = 0, best = 0, k;

    for (size_t i = 0; i < f->n_modules; i++) {
        const char *family = family_of_key(first_key(&f->modules[i]));
        for (k = 0; k < n && strcmp(names[k], family) != 0; k++)
            ;
        if (k == MOST_FAMILIES)
            continue;
        if (k == n)
            names[n++] = family;
        counts[k]++;
    }
    for (k = 1; k < n; k++)
        best = counts[k] > counts[best] ? k : best;
    return n ? names[best] : "none";
}

/* A file of few tensors as wide as a text encoder, and of nothing else, is an embedding. */
static void find_embeddings(lx_lora_file *f)
{
    const size_t n = lx_tensor_file_count(f->file);

    if (f->n_modules || f->n_embeddings || n > 2 || f->n_unknown != n)
        return;
    for (size_t i = 0; i < n; i++) {
        const lx_tensor_view *t = f->unknown[i];
        int64_t width = t->n_dims ? t->shape[t->n_dims - 1] : 0;
        if (t->n_dims > 2 || (width != 768 && width != 1024 && width != 1280))
            return;
    }
    for (size_t i = 0; i < n; i++)
        f->embeddings[f->n_embeddings++] = f->unknown[i];
    f->n_unknown = 0;
}

/* A list's modules are numbered; a text encoder's are all as wide as it is. */
static int find_list_part(lx_lora_file *f, lx_error *err)
{
    if (!f->n_modules || strcmp(first_key(&f->modules[0]), "0") != 0)
        return LX_OK;
    for (size_t i = 0; i < f->n_modules; i++)
        if (dim(f->modules[i].tensors[LX_ROLE_UP], 0) != 768 ||
            dim(f->modules[i].tensors[LX_ROLE_DOWN], 1) != 768)
            return LX_OK;
    for (size_t i = 0; i < f->n_modules; i++) {
        f->modules[i].part = LX_LORA_TEXT_ENCODER;
        if (!(f->modules[i].name = lx_arena_printf(f->arena, "text_encoder:%zu", i)))
            return lx_oom(err);
    }
    return LX_OK;
}

/* By the tensors that no other file has, so that one whose metadata were taken off is known too. */
static bool is_state(const lx_tensor_file *file)
{
    const lx_tensor_view *progress = lx_tensor_file_find(file, "progress"),
                         *sum = lx_tensor_file_find(file, "recent_sum");

    return progress && progress->dtype == LX_I64 && sum && sum->dtype == LX_F64 &&
           lx_tensor_file_find(file, "recent");
}

int lx_lora_file_of(lx_lora_file **out, lx_tensor_file *file, lx_error *err)
{
    lx_lora_file *f = lx_calloc(1, sizeof *f);
    int rc;

    *out = NULL;
    if (!f || !(f->arena = lx_arena_new())) {
        lx_free(f);
        return lx_oom(err);
    }
    f->file = file;
    f->is_state = is_state(file);
    if ((rc = f->is_state ? LX_OK : collect(f, err)) == LX_OK) {
        understand(f);
        rc = find_list_part(f, err);
    }
    if (rc < 0) {
        f->file = NULL; /* still the caller's */
        lx_lora_file_close(f);
        return rc;
    }
    find_embeddings(f);
    f->family = family_of(f);
    *out = f;
    return LX_OK;
}

const char *lx_lora_file_instead(const lx_lora_file *f)
{
    if (f->is_state)
        return "the state of a training";
    if (f->n_embeddings)
        return "a textual inversion";
    return lx_model_kind(f->file) ? "a whole model" : NULL;
}

int lx_lora_file_fail_empty(const lx_lora_file *f, lx_error *err)
{
    const char *instead = lx_lora_file_instead(f);

    if (!instead)
        return lx_fail(err, LX_EFORMAT, "no LoRA modules in it");
    return lx_fail(err, LX_EFORMAT, "no LoRA modules in it: it is %s%s", instead,
                   f->is_state ? ", which --resume goes on from" : "");
}

static bool lacks_alphas(const lx_lora_file *f)
{
    for (size_t i = 0; i < f->n_modules; i++)
        if (!f->modules[i].has_alpha && (f->modules[i].rank || f->modules[i].kind == LX_KIND_LOKR))
            return true;
    return false;
}

/* Alphas that stand beside the tensors, for modules without one of their own. */
static int read_config(lx_lora_file *f, const char *path, lx_error *err)
{
    lx_peft_config *config;
    int rc;

    if (!lacks_alphas(f))
        return LX_OK;
    rc = lx_peft_config_read(&config, &f->config_problem, f->file, path, f->family, err);
    if (rc < 0 || !config)
        return rc;
    for (size_t i = 0; i < f->n_modules; i++) {
        lx_lora_entry *e = &f->modules[i];
        if (e->kind == LX_KIND_LOKR && !e->rank && lx_peft_config_scale(config, e->name) != 1)
            set_problem(f, e, "has two whole matrices, and their scale of %g stands in adapter_config.json alone, "
                        "where no other program looks for it", lx_peft_config_scale(config, e->name));
        if (e->has_alpha || !e->rank ||
            !lx_peft_config_alpha(&e->alpha, config, e->name, e->rank))
            continue;
        e->has_alpha = true;
        f->config = lx_peft_config_source(config);
    }
    if (lx_peft_config_ignored(config) && f->config)
        f->config_problem =
            "patterns of alpha_pattern that are no plain paths are not followed";
    lx_peft_config_free(config);
    return LX_OK;
}

int lx_lora_file_open(lx_lora_file **out, const char *path, lx_error *err)
{
    lx_tensor_file *file;
    int rc = lx_tensor_file_open(&file, path, err);

    if (rc < 0)
        return rc;
    if ((rc = lx_lora_file_of(out, file, err)) < 0) {
        lx_tensor_file_close(file);
        return rc;
    }
    if ((rc = read_config(*out, path, err)) < 0) {
        lx_lora_file_close(*out);
        *out = NULL;
    }
    return rc;
}

void lx_lora_file_close(lx_lora_file *f)
{
    if (!f)
        return;
    lx_tensor_file_close(f->file);
    lx_arena_free(f->arena);
    lx_free(f);
}

const char *lx_lora_kind_name(lx_lora_kind kind)
{
    static const char *const names[LX_KIND_COUNT] = {
        [LX_KIND_LORA] = "LoRA",
        [LX_KIND_TUCKER] = "LoCon (Tucker)",
        [LX_KIND_LOHA] = "LoHa",
        [LX_KIND_LOKR] = "LoKr",
        [LX_KIND_FULL] = "full difference",
        [LX_KIND_NORM] = "norm",
        [LX_KIND_IA3] = "IA3",
        [LX_KIND_GLORA] = "GLoRA",
        [LX_KIND_OFT] = "OFT",
    };
    return names[kind];
}

const char *lx_lora_part_name(lx_lora_part part)
{
    static const char *const names[LX_LORA_PART_COUNT] = {
        [LX_LORA_UNET] = "UNet",
        [LX_LORA_TEXT_ENCODER] = "text encoder",
        [LX_LORA_TEXT_ENCODER_2] = "text encoder 2",
        [LX_LORA_TEXT_ENCODER_3] = "text encoder 3",
        [LX_LORA_OTHER] = "model",
    };
    return names[part];
}

double lx_lora_entry_scale(const lx_lora_entry *e)
{
    double scale;
    if (e->tensors[LX_ROLE_SCALE] && e->tensors[LX_ROLE_SCALE]->n_elements == 1 &&
        lx_to_f64(&scale, e->tensors[LX_ROLE_SCALE]->data,
                  e->tensors[LX_ROLE_SCALE]->dtype, 1) == 0)
        return scale;
    return e->rank ? e->alpha / (double)e->rank : 1.0;
}

const lx_lora_entry *lx_lora_file_find(const lx_lora_file *f, const char *name)
{
    for (size_t i = 0; i < f->n_modules; i++)
        if (strcmp(f->modules[i].name, name) == 0)
            return &f->modules[i];
    return NULL;
}
