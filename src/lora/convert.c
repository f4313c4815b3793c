#include "src/lora/convert.h"

#include <fnmatch.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/base/json.h"
#include "src/lora/base.h"
#include "src/lora/convert_internal.h"
#include "src/lora/delta.h"

int lx_convert_new(lx_convert **out, lx_error *err)
{
    lx_convert *c = lx_calloc(1, sizeof *c);

    if (!c || !(c->arena = lx_arena_new())) {
        lx_free(c);
        return lx_oom(err);
    }
    *out = c;
    return LX_OK;
}

void lx_convert_free(lx_convert *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->n_buffers; i++)
        lx_free(c->buffers[i]);
    lx_free(c->buffers);
    for (size_t i = 0; i < c->n_sources; i++)
        cJSON_Delete(c->sources[i].scales);
    lx_free(c->sources);
    lx_free(c->facts);
    lx_free(c->fusions);
    for (int i = 0; i < LX_CONVERT_PARTS; i++)
        lx_free(c->keys[i]);
    lx_arena_free(c->arena);
    lx_free(c);
}

int lx_convert_add(lx_convert *c, lx_lora_file *file, lx_lora_part part, lx_error *err)
{
    const char *text = lx_tensor_file_metadata(file->file, LX_CONVERT_SCALES);
    const char *alphas = lx_tensor_file_metadata(file->file, LX_CONVERT_ALPHAS);
    lx_convert_source *s;

    if (lx_grow(&c->sources, &c->sources_capacity, c->n_sources + 1, sizeof *c->sources) <
        0)
        return lx_oom(err);
    s = &c->sources[c->n_sources++];
    *s = (lx_convert_source){.file = file,
                             .part = part,
                             .alphas = alphas ? lx_dtype_from_name(alphas, strlen(alphas))
                                              : -1};
    /* What cannot be read restores nothing; the factors are right without it. */
    if (text && lx_json_parse(&s->scales, text, strlen(text), NULL) == LX_ENOMEM)
        return lx_oom(err);
    if (!file->n_modules)
        return lx_lora_file_fail_empty(file, err);
    return LX_OK;
}

/* ---- what is dropped ------------------------------------------------------------------------ */

static bool is_dropped(lx_convert_result *out, const lx_convert_options *o, bool *used,
                       const char *key)
{
    bool is_matched = false;

    for (size_t i = 0; i < o->n_drops; i++)
        if (fnmatch(o->drops[i], key, 0) == 0)
            used[i] = is_matched = true;
    if (is_matched)
        out->dropped[out->n_dropped++] = key;
    return is_matched;
}

static void drop_listed(const lx_tensor_view **views, size_t *n, lx_convert_result *out,
                        const lx_convert_options *o, bool *used)
{
    size_t kept = 0;

    for (size_t i = 0; i < *n; i++)
        if (!is_dropped(out, o, used, views[i]->name))
            views[kept++] = views[i];
    *n = kept;
}

/* Without its alpha a module has alpha = rank, without its magnitudes it is a LoRA. */
static int drop_tensors(lx_lora_entry *e, lx_convert_result *out,
                        const lx_convert_options *o, bool *used, lx_error *err)
{
    int n_left = 0, n_gone = 0;
    const char *gone = NULL, *left = NULL;

    for (int r = 0; r < LX_ROLE_COUNT; r++) {
        const bool is_extra = r == LX_ROLE_ALPHA || r == LX_ROLE_SCALE ||
                              r == LX_ROLE_DORA || r == LX_ROLE_DIFF_B ||
                              r == LX_ROLE_UP_BIAS;
        if (!e->tensors[r])
            continue;
        if (!is_dropped(out, o, used, e->tensors[r]->name)) {
            n_left++;
            left = is_extra && left ? left : e->tensors[r]->name;
            continue;
        }
        if (!is_extra) {
            n_gone++;
            gone = e->tensors[r]->name;
        }
        e->tensors[r] = NULL;
        e->has_dora &= r != LX_ROLE_DORA;
        if (r == LX_ROLE_ALPHA) {
            e->has_alpha = false;
            e->alpha = (double)e->rank;
        }
    }
    if (n_left && n_gone)
        return lx_fail(err, LX_EUSAGE, "--drop: %s is of no use without %s", left, gone);
    return n_left ? LX_OK : 1;
}

static int drop_from(lx_lora_file *f, lx_convert_result *out, const lx_convert_options *o,
                     bool *used, lx_error *err)
{
    size_t kept = 0;

    drop_listed(f->unknown, &f->n_unknown, out, o, used);
    drop_listed(f->embeddings, &f->n_embeddings, out, o, used);
    for (size_t i = 0; i < f->n_modules; i++) {
        const int rc = drop_tensors(&f->modules[i], out, o, used, err);
        if (rc < 0)
            return rc;
        if (rc == LX_OK)
            f->modules[kept++] = f->modules[i];
    }
    f->n_modules = kept;
    return LX_OK;
}

static int drop_keys(lx_convert_result *out, lx_convert *c, const lx_convert_options *o,
                     lx_error *err)
{
    bool *used = lx_arena_calloc(c->arena, o->n_drops + 1, sizeof *used);
    size_t n = 1;

    for (size_t i = 0; i < c->n_sources; i++)
        n += lx_tensor_file_count(c->sources[i].file->file);
    out->dropped = lx_arena_calloc(c->arena, n, sizeof *out->dropped);
    if (!used || !out->dropped)
        return lx_oom(err);
    for (size_t i = 0; i < c->n_sources && o->n_drops; i++) {
        const int rc = drop_from(c->sources[i].file, out, o, used, err);
        if (rc < 0)
            return rc;
    }
    for (size_t i = 0; i < o->n_drops; i++)
        if (!used[i])
            return lx_fail(err, LX_EUSAGE, "--drop '%s': no key matches", o->drops[i]);
    return LX_OK;
}

/* ---- keys of the result ----------------------------------------------------------------------- */

void *lx_convert__own(lx_convert *c, size_t bytes, lx_error *err)
{
    void *memory = NULL;

    if (lx_grow(&c->buffers, &c->buffers_capacity, c->n_buffers + 1, sizeof *c->buffers) <
            0 ||
        !(memory = lx_alloc(bytes ? bytes : 1))) {
        lx_oom(err);
        return NULL;
    }
    c->buffers[c->n_buffers++] = memory;
    return memory;
}

int lx_convert__put(lx_convert *c, int part, const char *from, const char *module,
                    const char *suffix, const lx_tensor_view *view, lx_error *err)
{
    lx_convert_key key = {.from = from, .to = *view};
    const size_t n = c->n_keys[part];

    key.to.name = lx_arena_printf(c->arena, "%s%s", module, suffix);
    if (!key.to.name ||
        lx_grow(&c->keys[part], &c->keys_capacity[part], n + 1, sizeof key) < 0)
        return lx_oom(err);
    c->keys[part][c->n_keys[part]++] = key;
    return LX_OK;
}

/* ---- embeddings --------------------------------------------------------------------------------- */

static int put_embedding(lx_convert *c, const lx_tensor_view *t, lx_spelling to,
                         lx_error *err)
{
    lx_tensor_view view = *t;
    const char *name = t->name;

    if (to != LX_SPELL_KOHYA && to != LX_SPELL_COMFYUI)
        return lx_fail(
            err, LX_EUNSUPPORTED,
            "%s: an embedding, for which %s has no place: --drop '%s' leaves it out",
            t->name, lx_spelling_names[to], t->name);
    if (name[0] == '<' && strchr(name, '>') && t->n_dims >= 1) {
        if (!(name = lx_arena_printf(c->arena, "bundle_emb.%.*s.string_to_param.*",
                                     (int)strcspn(name + 1, ">"), name + 1)))
            return lx_oom(err);
        if (t->n_dims == 1) {
            view.n_dims = 2;
            view.shape[1] = view.shape[0];
            view.shape[0] = 1;
        }
    }
    return lx_convert__put(c, 0, t->name, name, "", &view, err);
}

/* ---- the cast ------------------------------------------------------------------------------------- */

static double most_of(lx_dtype d)
{
    /* Half an ulp above the largest number would still be rounded down to it. */
    return d == LX_F16       ? 65520
           : d == LX_F8_E4M3 ? 464
           : d == LX_F8_E5M2 ? 61440
                             : INFINITY;
}

typedef struct cast_sums {
    double lost, all;
    size_t n_vanished;
} cast_sums;

enum { CHUNK = 4096 };

static int check_values(const lx_tensor_view *t, const float *x, size_t at, size_t n,
                        double most, lx_dtype dtype, lx_error *err)
{
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(x[i]))
            return lx_fail(err, LX_EFORMAT, "%s: element %zu is %g", t->name, at + i,
                           (double)x[i]);
        if (fabs((double)x[i]) >= most)
            return lx_fail(err, LX_ELIMIT, "%s: element %zu is %g, too large for %s",
                           t->name, at + i, (double)x[i], lx_dtype_name(dtype));
    }
    return LX_OK;
}

/* Of a tensor of numbers: finite, and in the dtype that is asked for; the key's view is changed. */
static int cast_key(cast_sums *sums, lx_convert *c, lx_convert_key *key,
                    const lx_convert_options *o, lx_error *err)
{
    const lx_tensor_view from = key->to;
    const lx_dtype dtype = o->has_dtype && from.n_dims ? o->dtype : from.dtype;
    const size_t width = (size_t)lx_dtype_bits(from.dtype) / 8,
                 new_width = (size_t)lx_dtype_bits(dtype) / 8;
    float x[CHUNK], back[CHUNK];
    char *to = NULL;
    int rc = LX_OK;

    if (lx_dtype_bits(from.dtype) % 8 || lx_to_f32(x, from.data, from.dtype, 0) < 0)
        return lx_fail(err, LX_EUNSUPPORTED, "%s: values of type %s cannot be read",
                       from.name, lx_dtype_name(from.dtype));
    if (dtype != from.dtype) {
        key->to.bytes = from.n_elements * new_width;
        key->to.dtype = dtype;
        if (!(to = lx_convert__own(c, key->to.bytes, err)))
            return LX_ENOMEM;
        key->to.data = to;
    }
    for (size_t at = 0; at < from.n_elements && rc == LX_OK; at += CHUNK) {
        const size_t n = from.n_elements - at < CHUNK ? from.n_elements - at : CHUNK;
        lx_to_f32(x, (const char *)from.data + at * width, from.dtype, n);
        rc = check_values(&from, x, at, n, most_of(dtype), dtype, err);
        if (rc < 0 || !to)
            continue;
        lx_from_f32(to + at * new_width, dtype, x, n);
        lx_to_f32(back, to + at * new_width, dtype, n);
        for (size_t i = 0; i < n; i++) {
            const double error = (double)x[i] - (double)back[i];
            sums->lost += error * error;
            sums->all += (double)x[i] * (double)x[i];
            sums->n_vanished += x[i] != 0 && back[i] == 0;
        }
    }
    return rc;
}

bool lx_convert__is_number(lx_dtype d)
{
    return lx_delta_is_number(d);
}

static int cast_all(lx_convert_result *out, lx_convert *c, const lx_convert_options *o,
                    lx_error *err)
{
    cast_sums sums = {0};
    int rc = LX_OK;

    for (int p = 0; p < LX_CONVERT_PARTS; p++)
        for (size_t i = 0; i < c->n_keys[p] && rc == LX_OK; i++)
            if (lx_convert__is_number(c->keys[p][i].to.dtype))
                rc = cast_key(&sums, c, &c->keys[p][i], o, err);
    out->rounding = sums.all > 0 ? sqrt(sums.lost / sums.all) : 0;
    out->n_vanished = sums.n_vanished;
    return rc;
}

/* ---- all of it -------------------------------------------------------------------------------------- */

static int compare_keys(const void *a, const void *b)
{
    const lx_convert_key *x = a, *y = b;

    return strcmp(x->to.name, y->to.name);
}

/* The keys in order of their names, each once. Made alphas tell less than the tensors beside them. */
static int check_twice(lx_convert *c, lx_error *err)
{
    const lx_convert_key *found = NULL;

    for (int p = 0; p < LX_CONVERT_PARTS; p++) {
        lx_convert_key *keys = c->keys[p];
        if (c->n_keys[p])
            qsort(keys, c->n_keys[p], sizeof *keys, compare_keys);
        for (size_t i = 1; i < c->n_keys[p]; i++)
            if (strcmp(keys[i - 1].to.name, keys[i].to.name) == 0 &&
                (!found || !found[0].from || !found[1].from))
                found = &keys[i - 1];
    }
    if (!found)
        return LX_OK;
    return lx_fail(err, LX_EFORMAT,
                   "%s and %s both become %s: --drop leaves one of them out",
                   found[0].from ? found[0].from : "an alpha",
                   found[1].from ? found[1].from : "an alpha", found[0].to.name);
}

static int keep_tensor(lx_convert *c, const lx_tensor_view *t, lx_error *err)
{
    return t ? lx_convert__put(c, 0, t->name, t->name, "", t, err) : LX_OK;
}

/* The keys alone do not tell an alpha that the config beside the file tells, and that config stays where it is. */
static int check_alphas(const lx_lora_file *f, lx_error *err)
{
    if (!f->config || strcmp(f->config, "adapter_config.json") != 0)
        return LX_OK;
    for (size_t i = 0; i < f->n_modules; i++) {
        const lx_lora_entry *e = &f->modules[i];
        if (e->has_alpha && !e->tensors[LX_ROLE_ALPHA] && e->alpha != (double)e->rank)
            return lx_fail(
                err, LX_EUSAGE,
                "%s has its alpha, %g at rank %lld, in the adapter_config.json beside the "
                "file, which is not copied: add --to peft (a folder with a config), kohya "
                "or diffusers",
                e->name, e->alpha, (long long)e->rank);
    }
    return LX_OK;
}

/* Every key that was not dropped, whatever it is. */
static int keep_source(lx_convert_result *out, lx_convert *c, const lx_convert_source *s,
                       lx_error *err)
{
    const lx_lora_file *f = s->file;
    int rc = check_alphas(f, err);

    for (size_t i = 0; i < f->n_modules; i++, out->n_modules++)
        for (int r = 0; r < LX_ROLE_COUNT && rc == LX_OK; r++)
            rc = keep_tensor(c, f->modules[i].tensors[r], err);
    for (size_t i = 0; i < f->n_unknown && rc == LX_OK; i++)
        rc = keep_tensor(c, f->unknown[i], err);
    for (size_t i = 0; i < f->n_embeddings && rc == LX_OK; i++)
        rc = keep_tensor(c, f->embeddings[i], err);
    return rc;
}

static int convert_sources(lx_convert_result *out, lx_convert *c,
                           const lx_convert_options *o, lx_error *err)
{
    int rc = LX_OK;

    for (size_t i = 0; i < c->n_sources && rc == LX_OK; i++) {
        const lx_convert_source *s = &c->sources[i];
        if (o->keeps_names) {
            rc = keep_source(out, c, s, err);
            continue;
        }
        if (s->file->n_unknown)
            rc = lx_fail(
                err, LX_EUNSUPPORTED,
                "%s is not understood (%zu such keys): --drop PATTERN leaves keys out",
                s->file->unknown[0]->name, s->file->n_unknown);
        for (size_t k = 0; k < s->file->n_modules && rc == LX_OK; k++)
            rc = lx_convert__module(out, c, s, &s->file->modules[k], o, err);
        for (size_t k = 0; k < s->file->n_embeddings && rc == LX_OK; k++)
            rc = put_embedding(c, s->file->embeddings[k], o->to, err);
    }
    if (rc == LX_OK)
        rc = lx_convert__fuse_all(out, c, o, err);
    return rc;
}

/* The type of the alphas, all of which have the same; else NULL. */
static const char *alphas_of(const lx_convert *c)
{
    const lx_tensor_view *first = NULL;

    for (size_t i = 0; i < c->n_sources; i++)
        for (size_t k = 0; k < c->sources[i].file->n_modules; k++) {
            const lx_tensor_view *t =
                c->sources[i].file->modules[k].tensors[LX_ROLE_ALPHA];
            if (!t || (first && first->dtype != t->dtype))
                return NULL;
            first = t;
        }
    return first ? lx_dtype_name(first->dtype) : NULL;
}

static const char *const folders[LX_CONVERT_PARTS] = {
    "unet", "text_encoder", "text_encoder_2", "text_encoder_3", "transformer"};

int lx_convert_run(lx_convert_result *out, lx_convert *c, const lx_convert_options *o,
                   lx_error *err)
{
    int rc;

    *out = (lx_convert_result){0};
    lx_assert(c->n_sources);
    if ((rc = drop_keys(out, c, o, err)) < 0)
        return rc;
    if (!o->keeps_names && o->to != LX_SPELL_KOHYA && o->to != LX_SPELL_COMFYUI)
        out->alphas = alphas_of(c);
    out->base = lx_lora_base_said(lx_lora_base(c->sources[0].file, c->arena),
                                  c->sources[0].file->file);
    for (size_t i = 0; i < c->n_sources; i++) {
        const lx_spell_model m = lx_spell_model_of(c->sources[i].file, c->arena);
        out->model.is_sdxl |= m.is_sdxl;
        out->model.is_sd2 |= m.is_sd2;
        out->model.fused = out->model.fused ? out->model.fused : m.fused;
        out->model.numbers_encoders |= m.numbers_encoders || m.is_sdxl;
        out->model.numbers_encoders |= c->sources[i].part == LX_LORA_TEXT_ENCODER_2;
    }
    if (o->has_network)
        out->model.fused = o->network;
    if ((rc = convert_sources(out, c, o, err)) < 0 || (rc = check_twice(c, err)) < 0 ||
        (rc = cast_all(out, c, o, err)) < 0)
        return rc;
    if (!out->n_modules)
        return lx_fail(err, LX_EUSAGE, "--drop: nothing is left");
    for (int p = 0; p < LX_CONVERT_PARTS; p++) {
        lx_convert_part *part = &out->parts[out->n_parts];
        if (!c->n_keys[p])
            continue;
        *part = (lx_convert_part){
            .folder = folders[p], .keys = c->keys[p], .n_keys = c->n_keys[p]};
        if (o->to == LX_SPELL_PEFT && !o->keeps_names)
            rc = lx_convert__config(&part->config, c, p, err);
        if (rc == LX_OK)
            rc = lx_convert__scales(&part->scales, c, err);
        if (rc < 0)
            return rc;
        out->n_parts++;
    }
    return LX_OK;
}
