#include "src/verify/text_path.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/base/str.h"
#include "src/lora/module.h"

enum { STREAM_NULL = 1 << 20, FEWEST_NULL = 20 };

/* One word: a tag, or of the null. */
typedef struct word {
    lx_ids ids;
    float *mean;  /* [D]: the base's embedding at its pieces */
    float *shift; /* [T, D]: what the LoRA's text encoder adds; NULL without one */
    float *own;   /* [T, D]: E_base(word) - E_base(""), of tags; NULL likewise */
    double size;  /* |E_base(word) - E_base("")| */
    double reach; /* log R */
    double moved; /* rho of C1 */
} word;

typedef struct work {
    lx_verify_result *r;
    const lx_text_path_input *in;
    word *words; /* tags, then null */
    size_t n_words;
    bool has_text_encoder;
    size_t size;                /* of a context */
    float *empty, *empty_shift; /* the base's context of "", and what the LoRA adds */
    float *mean_shift;
    lx_error *err;
} work;

/* ---- words --------------------------------------------------------------------- */

static int choose_words(work *w)
{
    const lx_text_path_input *in = w->in;

    w->n_words = in->n_tags + in->n_null;
    if (!(w->words = lx_arena_calloc(in->arena, w->n_words, sizeof *w->words)))
        return lx_oom(w->err);
    for (size_t i = 0; i < w->n_words; i++) {
        lx_ids like = in->prompts->tags[in->tags[i % in->n_tags]].ids;
        int rc;
        if (i < in->n_tags) {
            w->words[i].ids = like;
            continue;
        }
        if ((rc = lx_prompt_control(
                 &w->words[i].ids, in->prompts, like,
                 lx_rng_stream(in->seed, LX_RNG_VERIFY, STREAM_NULL, i), w->err)) < 0)
            return rc;
    }
    return LX_OK;
}

static int context_of(float *out, work *w, lx_ids ids)
{
    const size_t n = (size_t)(w->in->prompts->max_length / 75) * LX_CHUNK;
    int64_t *chunks = lx_alloc(n * sizeof *chunks);
    int rc;

    if (!chunks)
        return lx_oom(w->err);
    lx_prompt_chunks(chunks, w->in->prompts, ids);
    rc = lx_probe_context(out, w->in->probe, chunks, w->err);
    lx_free(chunks);
    return rc;
}

/* The base's half: pooled embedding, distance from the empty prompt; minus its context in
 * shift. */
static int read_base(work *w, word *x, float *context)
{
    const size_t depth = (size_t)w->in->sd->text_width;
    const size_t n = x->ids.n < 75 ? x->ids.n : 75;
    double square = 0;
    int rc = context_of(context, w, x->ids);

    if (rc < 0)
        return rc;
    if (!(x->mean = lx_arena_calloc(w->in->arena, depth, sizeof *x->mean)))
        return lx_oom(w->err);
    for (size_t i = 1; i <= n; i++)
        for (size_t d = 0; d < depth; d++)
            x->mean[d] += context[i * depth + d] / (float)n;
    for (size_t i = 0; i < w->size; i++)
        square += ((double)context[i] - w->empty[i]) * ((double)context[i] - w->empty[i]);
    x->size = sqrt(square);
    if (!w->has_text_encoder)
        return LX_OK;
    if (!(x->shift = lx_arena_alloc(w->in->arena, w->size * sizeof *x->shift)))
        return lx_oom(w->err);
    for (size_t i = 0; i < w->size; i++)
        x->shift[i] = -context[i];
    if ((size_t)(x - w->words) >= w->in->n_tags)
        return LX_OK;
    if (!(x->own = lx_arena_alloc(w->in->arena, w->size * sizeof *x->own)))
        return lx_oom(w->err);
    for (size_t i = 0; i < w->size; i++)
        x->own[i] = context[i] - w->empty[i];
    return LX_OK;
}

static int read_words(work *w)
{
    const lx_ids none = {NULL, 0};
    float *context = lx_alloc(w->size * sizeof *context);
    int rc = LX_OK;

    w->empty = lx_arena_alloc(w->in->arena, w->size * sizeof *w->empty);
    w->empty_shift = lx_arena_alloc(w->in->arena, w->size * sizeof *w->empty_shift);
    if (!context || !w->empty || !w->empty_shift)
        rc = lx_oom(w->err);
    if (rc == LX_OK && (rc = lx_dose_set(w->in->dose, 0, 0, w->err)) == LX_OK)
        rc = context_of(w->empty, w, none);
    for (size_t i = 0; i < w->n_words && rc == LX_OK; i++)
        rc = read_base(w, &w->words[i], context);
    if (rc == LX_OK && w->has_text_encoder &&
        (rc = lx_dose_set(w->in->dose, 1, 1, w->err)) == LX_OK)
        rc = context_of(w->empty_shift, w, none);
    for (size_t k = 0; k < w->size && rc == LX_OK && w->has_text_encoder; k++)
        w->empty_shift[k] -= w->empty[k];
    for (size_t i = 0; i < w->n_words && rc == LX_OK && w->has_text_encoder; i++) {
        rc = context_of(context, w, w->words[i].ids);
        for (size_t k = 0; k < w->size && rc == LX_OK; k++)
            w->words[i].shift[k] += context[k];
    }
    lx_free(context);
    return rc;
}

/* ---- C3: response -------------------------------------------------------------- */

static double squared_response(const float *matrix, const float *x, size_t rows,
                               size_t cols, float *out)
{
    double square = 0;

    for (size_t i = 0; i < rows; i++) {
        double sum = 0;
        for (size_t k = 0; k < cols; k++)
            sum += (double)matrix[i * cols + k] * x[k];
        if (out)
            out[i] = (float)sum;
        square += sum * sum;
    }
    return square;
}

static bool reads_text(const lx_lora_module *m)
{
    return m->part == LX_UNET && !m->is_conv &&
           (lx_ends_with(m->layer, "attn2.to_k") || lx_ends_with(m->layer, "attn2.to_v"));
}

/* Adds |dW e|^2 / |W e|^2 of one layer to every word's reach. */
static int add_layer(work *w, const lx_lora_module *m)
{
    const size_t depth = (size_t)w->in->sd->text_width, rank = (size_t)m->rank;
    const size_t out = lx_lora__size(&m->up) / rank;
    const double scale = m->alpha / (double)m->rank;
    const float *down = lx_lora_host_value(w->in->lora, &m->down), *up = lx_lora_host_value(w->in->lora, &m->up);
    const lx_tensor_view *view;
    char name[LX_LAYER_NAME + 16];
    float *base, *inner;
    int rc = LX_OK;

    snprintf(name, sizeof name, "%s.weight", m->layer);
    view = lx_checkpoint_find(w->in->checkpoint, LX_UNET, name);
    if (!view || view->n_elements != out * depth ||
        lx_lora__size(&m->down) != rank * depth)
        return LX_OK;
    base = lx_alloc(view->n_elements * sizeof *base);
    inner = lx_alloc(rank * sizeof *inner);
    if (!base || !inner || lx_to_f32(base, view->data, view->dtype, view->n_elements) < 0)
        rc = lx_oom(w->err);
    for (size_t i = 0; i < w->n_words && rc == LX_OK; i++) {
        word *x = &w->words[i];
        double own = squared_response(base, x->mean, out, depth, NULL), added;
        squared_response(down, x->mean, rank, depth, inner);
        added = scale * scale * squared_response(up, inner, out, rank, NULL);
        x->reach += own > 0 ? added / own : 0;
    }
    lx_free(base);
    lx_free(inner);
    return rc;
}

/* Mean and sd of a member over the null words of as many pieces (of all, where those are
 * few). */
static size_t null_of(double *out, const work *w, size_t n_pieces,
                      double (*member)(const word *))
{
    size_t n = 0;

    for (size_t i = w->in->n_tags; i < w->n_words; i++)
        if (w->words[i].ids.n == n_pieces)
            out[n++] = member(&w->words[i]);
    if (n >= FEWEST_NULL)
        return n;
    n = 0;
    for (size_t i = w->in->n_tags; i < w->n_words; i++)
        out[n++] = member(&w->words[i]);
    return n;
}

static double reach_of(const word *x)
{
    return x->reach;
}

static double moved_of(const word *x)
{
    return x->moved;
}

static int put_reach(work *w, double *null)
{
    int rc = LX_OK;

    for (size_t i = 0; i < w->in->n_tags && rc == LX_OK; i++) {
        const word *x = &w->words[i];
        size_t n = null_of(null, w, x->ids.n, reach_of);
        double sd = lx_stdev(null, n);
        lx_evidence *row;
        if (sd <= 0)
            continue;
        if (i < w->r->n_tags)
            w->r->tags[i].reach = (x->reach - lx_mean(null, n)) / sd;
        if (!(row = lx_ledger_add(
                  &w->r->ledger, "C3", "Q5", LX_MEASURED, &rc, w->err,
                  "how much more the new weights answer to this word than to words "
                  "no caption holds")))
            return rc;
        row->subject = w->in->prompts->tags[w->in->tags[i]].text;
        row->unit = "z";
        row->estimate.value = (x->reach - lx_mean(null, n)) / sd;
        row->n = n;
    }
    return rc;
}

static int find_reach(work *w, double *null)
{
    size_t n_layers = 0;
    int rc = LX_OK;

    for (size_t i = 0; i < w->in->lora->count && rc == LX_OK; i++)
        if (reads_text(&w->in->lora->modules[i])) {
            rc = add_layer(w, &w->in->lora->modules[i]);
            n_layers++;
        }
    if (rc < 0)
        return rc;
    if (!n_layers)
        return lx_ledger_add(
                   &w->r->ledger, "C3", "Q5", LX_SILENT, &rc, w->err,
                   "the LoRA changes none of the UNet's layers that read the text")
                   ? LX_OK
                   : rc;
    for (size_t i = 0; i < w->n_words; i++)
        w->words[i].reach = log(w->words[i].reach / (double)n_layers + 1e-30);
    return put_reach(w, null);
}

/* ---- C1, C4: shifts ------------------------------------------------------------ */

static int take_mean_off(work *w)
{
    const double n = (double)w->in->n_null;

    if (!(w->mean_shift = lx_arena_calloc(w->in->arena, w->size, sizeof *w->mean_shift)))
        return lx_oom(w->err);
    for (size_t i = w->in->n_tags; i < w->n_words; i++)
        for (size_t k = 0; k < w->size; k++)
            w->mean_shift[k] += (float)(w->words[i].shift[k] / n);
    for (size_t i = 0; i < w->n_words; i++) {
        word *x = &w->words[i];
        double square = 0;
        for (size_t k = 0; k < w->size; k++) {
            x->shift[k] -= w->mean_shift[k];
            square += (double)x->shift[k] * x->shift[k];
        }
        x->moved = x->size > 0 ? sqrt(square) / x->size : 0;
    }
    return LX_OK;
}

static double cosine(const float *a, const float *b, size_t n)
{
    double ab = 0, aa = 0, bb = 0;

    for (size_t i = 0; i < n; i++) {
        ab += (double)a[i] * b[i];
        aa += (double)a[i] * a[i];
        bb += (double)b[i] * b[i];
    }
    return aa > 0 && bb > 0 ? ab / sqrt(aa * bb) : 0;
}

/* C2: what the LoRA's text encoder makes of two words' likeness. Shifts are still whole. */
static int put_separation(work *w)
{
    const int id = w->in->identifier;
    float *a = lx_arena_alloc(w->in->arena, w->size * sizeof *a);
    float *b = lx_arena_alloc(w->in->arena, w->size * sizeof *b);
    int rc = a && b ? LX_OK : lx_oom(w->err);

    for (size_t i = 0; id >= 0 && i < w->in->n_tags && rc == LX_OK; i++) {
        const word *x = &w->words[id], *y = &w->words[i];
        double before = cosine(x->own, y->own, w->size);
        lx_evidence *row;
        if ((int)i == id)
            continue;
        for (size_t k = 0; k < w->size; k++) {
            a[k] = x->own[k] + x->shift[k] - w->empty_shift[k];
            b[k] = y->own[k] + y->shift[k] - w->empty_shift[k];
        }
        if (!(row = lx_ledger_add(&w->r->ledger, "C2", "Q5", LX_MEASURED, &rc, w->err,
                                  "cosine of this word and the identifier as the LoRA's "
                                  "text encoder reads them; the base's: %.3f",
                                  before)))
            return rc;
        row->subject = w->in->prompts->tags[w->in->tags[i]].text;
        row->unit = "cosine";
        row->estimate.value = cosine(a, b, w->size);
    }
    return rc;
}

static int put_shifts(work *w, double *null)
{
    const size_t n_tags = w->in->n_tags, first = w->r->ledger.count;
    double *p = lx_arena_calloc(w->in->arena, n_tags, sizeof *p);
    int rc = LX_OK;

    if (!p)
        return lx_oom(w->err);
    for (size_t i = 0; i < n_tags; i++) {
        const word *x = &w->words[i];
        size_t n = null_of(null, w, x->ids.n, moved_of), above = 0;
        lx_evidence *row;
        for (size_t k = 0; k < n; k++)
            above += null[k] >= x->moved;
        p[i] = (double)(above + 1) / (double)(n + 1);
        if (!(row = lx_ledger_add(
                  &w->r->ledger, "C1", "Q5", LX_MEASURED, &rc, w->err,
                  "how far the LoRA's text encoder moves this word, beyond what it "
                  "does to every word")))
            return rc;
        row->subject = w->in->prompts->tags[w->in->tags[i]].text;
        row->unit = "ratio";
        row->estimate.value = x->moved;
        row->p = p[i];
        row->n = n;
    }
    if ((rc = lx_benjamini_hochberg(p, p, n_tags, w->err)) < 0)
        return rc;
    for (size_t i = 0; i < n_tags; i++)
        w->r->ledger.rows[first + i].adjusted = p[i];
    return LX_OK;
}

static int put_collapse(work *w)
{
    const int id = w->in->identifier;
    int rc = LX_OK;

    for (size_t i = 0; id >= 0 && i < w->in->n_tags; i++) {
        lx_evidence *row;
        if ((int)i == id)
            continue;
        if (!(row =
                  lx_ledger_add(&w->r->ledger, "C4", "Q5", LX_MEASURED, &rc, w->err,
                                "cosine between this word's shift and the identifier's")))
            return rc;
        row->subject = w->in->prompts->tags[w->in->tags[i]].text;
        row->unit = "cosine";
        row->estimate.value = cosine(w->words[i].shift, w->words[id].shift, w->size);
    }
    return rc;
}

int lx_text_path(lx_verify_result *result, const lx_text_path_input *in, lx_error *err)
{
    work w = {
        .r = result, .in = in, .size = lx_probe_context_size(in->probe), .err = err};
    double *null = lx_arena_calloc(in->arena, in->n_null + 1, sizeof *null);
    int rc;

    if (!null)
        return lx_oom(err);
    if (in->n_tags == 0)
        return LX_OK;
    for (size_t i = 0; i < in->lora->count; i++)
        w.has_text_encoder |= in->lora->modules[i].part == LX_TEXT_ENCODER;
    if ((rc = choose_words(&w)) < 0 || (rc = read_words(&w)) < 0 ||
        (rc = lx_dose_set(in->dose, 1, 1, err)) < 0 || (rc = find_reach(&w, null)) < 0)
        return rc;
    if (w.has_text_encoder &&
        ((rc = put_separation(&w)) < 0 || (rc = take_mean_off(&w)) < 0 ||
         (rc = put_shifts(&w, null)) < 0 || (rc = put_collapse(&w)) < 0))
        return rc;
    return lx_dose_set(in->dose, 0, 0, err);
}
