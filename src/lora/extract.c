#include "src/lora/extract.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/lora/layer.h"
#include "src/lora/matrix.h"
#include "src/lora/svd.h"

enum { CHUNK = 4096, ROWS_AT_ONCE = 64 };

/* A layer's weight or bias: a share of a tensor's rows. */
typedef struct weight {
    const char *layer;
    const lx_tensor_view *view;
    int share, n_shares;
    bool is_bias;
} weight;

typedef struct weights {
    weight *items; /* sorted by layer; lx_free */
    size_t n, capacity;
} weights;

struct lx_extract {
    lx_arena *arena;
    weights base, tuned;
    void **buffers; /* of the tensors; lx_free each */
    size_t n_buffers, capacity;
    double left_square, kept_square, lost_square;
};

int lx_extract_new(lx_extract **out, lx_error *err)
{
    lx_extract *x = lx_calloc(1, sizeof *x);

    if (!x || !(x->arena = lx_arena_new())) {
        lx_free(x);
        return lx_oom(err);
    }
    *out = x;
    return LX_OK;
}

void lx_extract_free(lx_extract *x)
{
    if (!x)
        return;
    for (size_t i = 0; i < x->n_buffers; i++)
        lx_free(x->buffers[i]);
    lx_free(x->buffers);
    lx_free(x->base.items);
    lx_free(x->tuned.items);
    lx_arena_free(x->arena);
    lx_free(x);
}

/* ---- which weights there are ---------------------------------------------------------------- */

static bool is_float(lx_dtype d)
{
    return d == LX_F16 || d == LX_BF16 || d == LX_F32 || d == LX_F64;
}

static int compare_weights(const void *a, const void *b)
{
    const weight *x = a, *y = b;
    const int order = strcmp(x->layer, y->layer);

    return order ? order : (int)x->is_bias - (int)y->is_bias;
}

static int collect_file(weights *out, lx_arena *arena, const lx_model_file *file,
                        lx_error *err)
{
    lx_str key = LX_STR_INIT;
    int rc = LX_OK;

    for (size_t i = 0; i < lx_tensor_file_count(file->file) && rc == LX_OK; i++) {
        const lx_tensor_view *v = lx_tensor_file_at(file->file, i);
        lx_layer_rows rows;
        if (!is_float(v->dtype) || v->n_dims < 1 || !v->n_elements)
            continue;
        lx_model_key(&key, file, v->name);
        if ((rc = lx_str_check(&key, err)) < 0 ||
            (rc = lx_layer_rows_of(&rows, lx_str_text(&key), err)) < 0)
            break;
        if (rows.n && v->shape[0] % rows.n)
            rows.n = 0;
        for (int k = 0; k < rows.n && rc == LX_OK; k++) {
            weight w = {.layer = lx_arena_strdup(arena, lx_str_text(&rows.layers[k])),
                        .view = v,
                        .share = k,
                        .n_shares = rows.n,
                        .is_bias = rows.is_bias};
            if (!w.layer ||
                lx_grow(&out->items, &out->capacity, out->n + 1, sizeof w) < 0)
                rc = lx_oom(err);
            else
                out->items[out->n++] = w;
        }
        lx_layer_rows_release(&rows);
    }
    lx_str_release(&key);
    return rc;
}

static int collect(weights *out, lx_arena *arena, const lx_model_files *files,
                   lx_error *err)
{
    int rc = LX_OK;

    for (size_t i = 0; i < files->n && rc == LX_OK; i++)
        rc = collect_file(out, arena, &files->items[i], err);
    if (rc == LX_OK && out->n)
        qsort(out->items, out->n, sizeof *out->items, compare_weights);
    for (size_t i = 1; i < out->n && rc == LX_OK; i++)
        if (compare_weights(&out->items[i - 1], &out->items[i]) == 0)
            rc = lx_fail(err, LX_EFORMAT, "%s and %s are the same layer",
                         out->items[i - 1].view->name, out->items[i].view->name);
    return rc;
}

static const weight *find(const weights *in, const weight *like)
{
    return in->n ? bsearch(like, in->items, in->n, sizeof *in->items, compare_weights)
                 : NULL;
}

/* What a LoRA can do with a layer. */
typedef enum layer_use { USE_NONE, USE_LINEAR, USE_CONV } layer_use;

static bool is_text(const char *layer)
{
    return lx_lora_layer_part(layer) != LX_LORA_UNET;
}

static layer_use use_of(const weight *w)
{
    static const char *const text[] = {"_self_attn_q_proj", "_self_attn_k_proj",
                                       "_self_attn_v_proj", "_self_attn_out_proj",
                                       "_mlp_fc1",          "_mlp_fc2"};
    const int n_dims = w->view->n_dims;

    if (w->is_bias || (n_dims != 2 && n_dims != 4))
        return USE_NONE;
    if (is_text(w->layer)) {
        for (size_t i = 0; i < sizeof text / sizeof *text; i++)
            if (lx_ends_with(w->layer, text[i]))
                return USE_LINEAR;
        return strstr(w->layer, "_block_") && n_dims == 2 ? USE_LINEAR : USE_NONE;
    }
    if (strstr(w->layer, "_resnets_") || strstr(w->layer, "samplers_0_conv"))
        return USE_CONV;
    if (strstr(w->layer, "_attentions_"))
        return USE_LINEAR;
    /* Networks that are all transformer: what stands in a numbered block. */
    return n_dims == 2 && (strstr(w->layer, "blocks_") || strstr(w->layer, "_layers_"))
               ? USE_LINEAR
               : USE_NONE;
}

/* ---- names ----------------------------------------------------------------------------------- */

static void find_model(lx_spell_model *m, const weights *in)
{
    for (size_t i = 0; i < in->n; i++) {
        const weight *w = &in->items[i];
        const lx_lora_part part = lx_lora_layer_part(w->layer);
        const int64_t width = w->view->n_dims > 1 ? w->view->shape[1] : 0;
        m->numbers_encoders |=
            part == LX_LORA_TEXT_ENCODER_2 || part == LX_LORA_TEXT_ENCODER_3;
        m->is_sd2 |= lx_ends_with(w->layer, "_attn2_to_k") && width == 1024;
        m->is_sdxl |= lx_starts_with(w->layer, "lora_unet_down_blocks_2_attentions_0_"
                                               "transformer_blocks_9_");
    }
}

/* As sd-scripts names the module; layers are named so already, but for SDXL's UNet and encoders. */
static int name_module(const char **out, lx_arena *arena, const char *layer,
                       const lx_spell_model *m, lx_error *err)
{
    lx_module_place place;
    lx_str name = LX_STR_INIT;
    int rc = LX_OK;

    if (lx_lora_layer_part(layer) == LX_LORA_TEXT_ENCODER && m->numbers_encoders) {
        lx_str_printf(&name, "lora_te1_%s", layer + strlen("lora_te_"));
    } else if (m->is_sdxl && !is_text(layer)) {
        if ((rc = lx_module_place_of(&place, layer, err)) == LX_OK)
            rc = lx_lora_spell(&name, LX_SPELL_KOHYA, &place, m, layer, err);
        lx_str_release(&place.path);
    } else {
        lx_str_puts(&name, layer);
    }
    if (rc == LX_OK &&
        (name.failed || !(*out = lx_arena_strdup(arena, lx_str_text(&name)))))
        rc = lx_oom(err);
    lx_str_release(&name);
    return rc;
}

/* ---- one difference --------------------------------------------------------------------------- */

typedef struct difference {
    const weight *base, *tuned;
    size_t out, in;
    double *values; /* [out, in]; lx_free */
    double norm, largest;
} difference;

static const char *bytes_of(const weight *w)
{
    return (const char *)w->view->data +
           w->view->bytes / (size_t)w->n_shares * (size_t)w->share;
}

static int check_sizes(const weight *a, const weight *b, lx_error *err)
{
    const size_t n = a->view->n_elements / (size_t)a->n_shares;

    /* A 1x1 convolution may stand for a linear. */
    if (a->view->shape[0] / a->n_shares == b->view->shape[0] / b->n_shares &&
        n == b->view->n_elements / (size_t)b->n_shares)
        return LX_OK;
    return lx_fail(err, LX_EMISMATCH,
                   "%s has %zu values in the base and %zu in the tuned model: they are "
                   "not of one kind",
                   b->view->name, n, b->view->n_elements / (size_t)b->n_shares);
}

static bool is_same(const weight *a, const weight *b)
{
    return a->view->dtype == b->view->dtype &&
           memcmp(bytes_of(a), bytes_of(b), a->view->bytes / (size_t)a->n_shares) == 0;
}

static int not_finite(const weight *w, size_t i, double x, lx_error *err)
{
    return lx_fail(err, LX_EFORMAT, "%s: element %zu is %g", w->view->name,
                   i + (size_t)w->share * (w->view->n_elements / (size_t)w->n_shares), x);
}

/* values: where to, or NULL for the sizes alone. */
static int subtract(difference *d, double *values, lx_error *err)
{
    const weight *a = d->base, *b = d->tuned;
    const size_t n = d->out * d->in;
    const size_t width_a = (size_t)lx_dtype_bits(a->view->dtype) / 8,
                 width_b = (size_t)lx_dtype_bits(b->view->dtype) / 8;
    double x[CHUNK], y[CHUNK], square = 0;

    d->largest = 0;
    for (size_t at = 0; at < n; at += CHUNK) {
        const size_t m = n - at < CHUNK ? n - at : CHUNK;
        lx_to_f64(x, bytes_of(a) + at * width_a, a->view->dtype, m);
        lx_to_f64(y, bytes_of(b) + at * width_b, b->view->dtype, m);
        for (size_t i = 0; i < m; i++) {
            if (!isfinite(x[i]))
                return not_finite(a, at + i, x[i], err);
            if (!isfinite(y[i]))
                return not_finite(b, at + i, y[i], err);
            y[i] -= x[i];
            square += y[i] * y[i];
            d->largest = fmax(d->largest, fabs(y[i]));
        }
        if (values)
            memcpy(values + at, y, m * sizeof *y);
    }
    d->norm = sqrt(square);
    return LX_OK;
}

static int open_difference(difference *d, const weight *base, const weight *tuned,
                           bool needs_values, lx_error *err)
{
    int rc;

    *d = (difference){.base = base, .tuned = tuned};
    if ((rc = check_sizes(base, tuned, err)) < 0 || is_same(base, tuned))
        return rc;
    d->out = (size_t)(tuned->view->shape[0] / tuned->n_shares);
    d->in = tuned->view->n_elements / (size_t)tuned->view->shape[0];
    if (needs_values && !(d->values = lx_calloc(d->out * d->in, sizeof *d->values)))
        return lx_oom(err);
    if ((rc = subtract(d, d->values, err)) < 0)
        lx_free(d->values);
    return rc;
}

/* ---- the factors ------------------------------------------------------------------------------- */

static int compare_floats(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;

    return (x > y) - (x < y);
}

/* The peer's: U S and V^T, clamped at a quantile (between neighbours linearly) of both together. */
static int split_clamped(float *up, float *down, const lx_svd *svd, size_t rank,
                         double quantile, lx_error *err)
{
    const size_t n_up = svd->out * rank, n = n_up + rank * svd->in;
    const double place = quantile * (double)(n - 1);
    const size_t below = (size_t)place;
    float *sorted = lx_alloc(n * sizeof *sorted);
    float limit;

    if (!sorted)
        return lx_oom(err);
    for (size_t r = 0; r < rank; r++) {
        for (size_t o = 0; o < svd->out; o++)
            up[o * rank + r] = (float)(svd->sigma[r] * svd->left[r * svd->out + o]);
        for (size_t i = 0; i < svd->in; i++)
            down[r * svd->in + i] = (float)svd->right[r * svd->in + i];
    }
    memcpy(sorted, up, n_up * sizeof *up);
    memcpy(sorted + n_up, down, (n - n_up) * sizeof *down);
    qsort(sorted, n, sizeof *sorted, compare_floats);
    limit = sorted[below];
    if (below + 1 < n)
        limit += (float)(place - (double)below) * (sorted[below + 1] - sorted[below]);
    lx_free(sorted);
    for (size_t i = 0; i < n_up; i++)
        up[i] = fminf(fmaxf(up[i], -limit), limit);
    for (size_t i = 0; i < n - n_up; i++)
        down[i] = fminf(fmaxf(down[i], -limit), limit);
    return LX_OK;
}

static int decompose(lx_svd *svd, size_t *rank, const difference *d, size_t bound,
                     const lx_extract_options *o, lx_error *err)
{
    const size_t most = d->out < d->in ? d->out : d->in;
    int rc;

    if (bound > most || !bound)
        bound = most;
    if (o->error > 0 && bound == most)
        rc = lx_svd_dense_within(svd, d->values, d->out, d->in, o->error, o->seed,
                                 d->tuned->layer, err);
    else
        rc = lx_svd_dense(svd, d->values, d->out, d->in, bound, o->seed, d->tuned->layer,
                          err);
    if (rc == LX_OK)
        *rank = o->error > 0 ? lx_svd_rank(svd, o->error) : svd->rank;
    return rc;
}

/* |D - up down|^2 of the factors as they are written. */
static int measure_loss(double *square, const difference *d, const void *up,
                        const void *down, size_t rank, lx_dtype dtype, lx_error *err)
{
    double *u = lx_calloc(d->out * rank, sizeof *u),
           *v = lx_calloc(rank * d->in, sizeof *v),
           *rows = lx_calloc(ROWS_AT_ONCE * d->in, sizeof *rows);
    int rc = u && v && rows ? LX_OK : lx_oom(err);

    *square = 0;
    if (rc == LX_OK) {
        lx_to_f64(u, up, dtype, d->out * rank);
        lx_to_f64(v, down, dtype, rank * d->in);
    }
    for (size_t o = 0; o < d->out && rc == LX_OK; o += ROWS_AT_ONCE) {
        const size_t m = d->out - o < ROWS_AT_ONCE ? d->out - o : ROWS_AT_ONCE;
        lx_matrix_multiply(rows, u + o * rank, v, m, rank, d->in, 0);
        lx_matrix_add(rows, -1, d->values + o * d->in, m * d->in);
        *square += lx_matrix_dot(rows, rows, m * d->in);
    }
    lx_free(rows);
    lx_free(v);
    lx_free(u);
    return rc;
}

/* ---- what is written ---------------------------------------------------------------------------- */

static int add_tensor(lx_tensor_view *t, lx_extract *x, const char *module,
                      const char *suffix, lx_dtype dtype, lx_error *err)
{
    t->dtype = dtype;
    t->n_elements = 1;
    for (int i = 0; i < t->n_dims; i++)
        t->n_elements *= (size_t)t->shape[i]; /* no more than the layer's own */
    t->bytes = t->n_elements * (size_t)lx_dtype_bits(dtype) / 8;
    if (lx_grow(&x->buffers, &x->capacity, x->n_buffers + 1, sizeof *x->buffers) < 0 ||
        !(t->name = lx_arena_printf(x->arena, "%s%s", module, suffix)) ||
        !(t->data = lx_alloc(t->bytes)))
        return lx_oom(err);
    x->buffers[x->n_buffers++] = (void *)t->data;
    return LX_OK;
}

static int fill(lx_tensor_view *t, const float *values, lx_error *err)
{
    for (size_t i = 0; i < t->n_elements; i++)
        if (!isfinite(values[i]) || (t->dtype == LX_F16 && fabsf(values[i]) >= 65520.0f))
            return lx_fail(
                err, LX_ELIMIT,
                "%s: %g is too large for %s: add --save_precision float or bf16", t->name,
                (double)values[i], lx_dtype_name(t->dtype));
    lx_from_f32((void *)t->data, t->dtype, values, t->n_elements);
    return LX_OK;
}

/* down, up and alpha of that rank; views[3]. */
static int shape_tensors(lx_tensor_view *views, lx_extract *x, const char *name,
                         const difference *d, size_t rank, lx_dtype dtype, lx_error *err)
{
    const lx_tensor_view *w = d->tuned->view;
    const float alpha = (float)rank;
    int rc;

    memset(views, 0, 3 * sizeof *views);
    views[0].n_dims = views[1].n_dims = w->n_dims;
    views[0].shape[0] = views[1].shape[1] = (int64_t)rank;
    views[1].shape[0] = (int64_t)d->out;
    for (int i = 1; i < w->n_dims; i++)
        views[0].shape[i] = w->shape[i];
    for (int i = 2; i < w->n_dims; i++)
        views[1].shape[i] = 1;
    if ((rc = add_tensor(&views[0], x, name, ".lora_down.weight", dtype, err)) < 0 ||
        (rc = add_tensor(&views[1], x, name, ".lora_up.weight", dtype, err)) < 0 ||
        (rc = add_tensor(&views[2], x, name, ".alpha", LX_F32, err)) < 0)
        return rc;
    memcpy((void *)views[2].data, &alpha, sizeof alpha);
    return LX_OK;
}

static int put_factors(lx_tensor_view *views, const lx_svd *svd, size_t rank,
                       const lx_extract_options *o, lx_error *err)
{
    const size_t n_up = svd->out * rank;
    float *up = lx_alloc((n_up + rank * svd->in) * sizeof *up);
    int rc = LX_OK;

    if (!up)
        return lx_oom(err);
    if (o->clamp_quantile < 1)
        rc = split_clamped(up, up + n_up, svd, rank, o->clamp_quantile, err);
    else
        lx_svd_split(up, up + n_up, svd, rank);
    if (rc == LX_OK && (rc = fill(&views[1], up, err)) == LX_OK)
        rc = fill(&views[0], up + n_up, err);
    lx_free(up);
    return rc;
}

static int extract_layer(lx_extract_result *out, lx_extract *x, const difference *d,
                         const lx_extract_options *o, lx_error *err)
{
    const lx_tensor_view *w = d->tuned->view;
    const bool has_window = w->n_dims == 4 && w->shape[2] * w->shape[3] > 1;
    lx_extract_module *m = &out->modules[out->n_modules];
    lx_tensor_view *views = &out->tensors[out->n_tensors];
    double lost = 0;
    lx_svd svd;
    int rc;

    *m = (lx_extract_module){.out = d->out, .in = d->in, .norm = d->norm};
    if ((rc = name_module(&m->name, x->arena, d->tuned->layer, &out->model, err)) < 0 ||
        (rc = decompose(&svd, &m->rank, d, has_window ? o->conv_rank : o->rank, o, err)) <
            0)
        return rc;
    if ((rc = shape_tensors(views, x, m->name, d, m->rank, o->dtype, err)) == LX_OK &&
        (rc = put_factors(views, &svd, m->rank, o, err)) == LX_OK)
        rc = measure_loss(&lost, d, views[1].data, views[0].data, m->rank, o->dtype, err);
    lx_svd_release(&svd);
    if (rc < 0)
        return rc;
    m->error = sqrt(lost) / d->norm;
    x->kept_square += d->norm * d->norm;
    x->lost_square += lost;
    out->n_modules++;
    out->n_tensors += 3;
    return LX_OK;
}

/* ---- all of them --------------------------------------------------------------------------------- */

static void leave_out(lx_extract_result *out, const lx_tensor_view *view)
{
    if (!out->n_left_out++)
        out->first_left_out = view->name;
}

static int visit(lx_extract_result *out, lx_extract *x, const weight *tuned,
                 const lx_extract_options *o, lx_error *err)
{
    const weight *base = find(&x->base, tuned);
    const layer_use use = use_of(tuned);
    const bool is_taken = use != USE_NONE && (use != USE_CONV || o->conv_rank) &&
                          !(is_text(tuned->layer) && out->text_is_left_out);
    difference d;
    int rc;

    if (!base) {
        if (!out->n_alone++)
            out->first_alone = tuned->view->name;
        return LX_OK;
    }
    if ((rc = open_difference(&d, base, tuned, is_taken, err)) < 0)
        return rc;
    if (d.norm == 0) {
        out->n_same += is_taken;
    } else if (is_taken) {
        rc = extract_layer(out, x, &d, o, err);
    } else {
        leave_out(out, tuned->view);
        out->n_conv_left_out += use == USE_CONV;
        x->left_square += d.norm * d.norm;
    }
    lx_free(d.values);
    return rc;
}

/* Are the text encoders' differences too small to be taken? */
static int look_at_text(lx_extract_result *out, lx_extract *x,
                        const lx_extract_options *o, lx_error *err)
{
    int rc = LX_OK;

    for (size_t i = 0; i < x->tuned.n && rc == LX_OK; i++) {
        const weight *w = &x->tuned.items[i], *base;
        difference d;
        if (!is_text(w->layer) || use_of(w) == USE_NONE || !(base = find(&x->base, w)))
            continue;
        out->has_text = true;
        if (o->min_diff > 0 && (rc = open_difference(&d, base, w, false, err)) == LX_OK)
            out->largest_text = fmax(out->largest_text, d.largest);
    }
    out->text_is_left_out =
        out->has_text &&
        (o->skips_text || (o->min_diff > 0 && out->largest_text <= o->min_diff));
    return rc;
}

static bool differs(const lx_tensor_view *a, const lx_tensor_view *b)
{
    const weight x = {.view = a, .n_shares = 1}, y = {.view = b, .n_shares = 1};
    difference d;

    return open_difference(&d, &x, &y, false, NULL) < 0 || d.norm > 0;
}

/* The same tensor of the other model: of the same key, in the same network's file. */
static const lx_tensor_view *find_key(const lx_model_files *files,
                                      const lx_model_file *like, const char *key)
{
    const lx_tensor_view *found = NULL;

    for (size_t i = 0; i < files->n && !found; i++)
        if (strcmp(files->items[i].prefix, like->prefix) == 0)
            found = lx_tensor_file_find(files->items[i].file, key);
    return found;
}

/* Tensors that no LoRA adapts and that have no layer: the VAE's. */
static int count_others(lx_extract_result *out, const lx_model_files *base,
                        const lx_model_file *tuned, lx_error *err)
{
    lx_str key = LX_STR_INIT;
    int rc = LX_OK;

    for (size_t i = 0; i < lx_tensor_file_count(tuned->file) && rc == LX_OK; i++) {
        const lx_tensor_view *b = lx_tensor_file_at(tuned->file, i);
        const lx_tensor_view *a = find_key(base, tuned, b->name);
        lx_layer_rows rows;
        if (!a || !is_float(a->dtype) || !is_float(b->dtype) || !b->n_dims ||
            !b->n_elements)
            continue;
        lx_model_key(&key, tuned, b->name);
        if ((rc = lx_str_check(&key, err)) < 0 ||
            (rc = lx_layer_rows_of(&rows, lx_str_text(&key), err)) < 0)
            break;
        if (!rows.n && (!a->n_dims || differs(a, b)))
            leave_out(out, b);
        lx_layer_rows_release(&rows);
    }
    lx_str_release(&key);
    return rc;
}

static int prepare(lx_extract_result *out, lx_extract *x, const lx_model_files *base,
                   const lx_model_files *tuned, const lx_extract_options *o,
                   lx_error *err)
{
    int rc;

    if ((rc = collect(&x->base, x->arena, base, err)) < 0) {
        lx_within(err, "the base model");
        return rc;
    }
    if ((rc = collect(&x->tuned, x->arena, tuned, err)) < 0) {
        lx_within(err, "the tuned model");
        return rc;
    }
    find_model(&out->model, &x->tuned);
    out->modules = lx_arena_calloc(x->arena, x->tuned.n + 1, sizeof *out->modules);
    out->tensors = lx_arena_calloc(x->arena, x->tuned.n + 1, 3 * sizeof *out->tensors);
    if (!out->modules || !out->tensors)
        return lx_oom(err);
    return look_at_text(out, x, o, err);
}

int lx_extract_run(lx_extract_result *out, lx_extract *x, const lx_model_files *base,
                   const lx_model_files *tuned, const lx_extract_options *o,
                   lx_extract_progress progress, void *context, lx_error *err)
{
    int rc;

    lx_assert(o->dtype == LX_F32 || o->dtype == LX_F16 || o->dtype == LX_BF16);
    *out = (lx_extract_result){0};
    if ((rc = prepare(out, x, base, tuned, o, err)) < 0)
        return rc;
    for (size_t i = 0; i < x->tuned.n && rc == LX_OK; i++) {
        if (progress && progress(context, i, x->tuned.n))
            return lx_fail(err, LX_EINTERRUPTED, "interrupted");
        rc = visit(out, x, &x->tuned.items[i], o, err);
    }
    for (size_t i = 0; i < x->base.n && rc == LX_OK; i++)
        if (!find(&x->tuned, &x->base.items[i]) && !out->n_alone++)
            out->first_alone = x->base.items[i].view->name;
    if (rc < 0)
        return rc;
    if (out->n_alone == x->tuned.n + x->base.n)
        return lx_fail(err, LX_EMISMATCH,
                       "the two files have no layer in common: not models of one kind");
    for (size_t i = 0; i < tuned->n && rc == LX_OK; i++)
        rc = count_others(out, base, &tuned->items[i], err);
    if (rc < 0)
        return rc;
    if (!out->n_modules && out->n_left_out)
        return lx_fail(
            err, LX_EMISMATCH,
            "no layer that this would take differs, but %zu other tensors do, the "
            "first is %s",
            out->n_left_out, out->first_left_out);
    if (!out->n_modules && out->n_alone)
        return lx_fail(err, LX_EMISMATCH,
                       "no layer that both models have differs, but %zu in only one of them may, "
                       "the first is %s: in the other it is missing, empty or of "
                       "whole numbers",
                       out->n_alone, out->first_alone);
    if (!out->n_modules)
        return lx_fail(err, LX_EMISMATCH,
                       "the two models are the same: nothing to extract");
    out->error = sqrt(x->lost_square / x->kept_square);
    out->left_out = sqrt(x->left_square / (x->left_square + x->kept_square));
    return LX_OK;
}
