#include <math.h>
#include <string.h>

#include "cmd/inspect_one.h"
#include "src/lora/base.h"
#include "src/lora/group.h"

static void add_parts(cJSON *root, const lx_lora_summary *s)
{
    cJSON *parts = cJSON_AddObjectToObject(root, "parts");
    for (int p = 0; p < LX_LORA_PART_COUNT; p++) {
        const lx_part_summary *part = &s->parts[p];
        cJSON *o;
        if (!part->n_modules)
            continue;
        o = cJSON_AddObjectToObject(parts, lx_lora_part_name((lx_lora_part)p));
        cJSON_AddNumberToObject(o, "modules", (double)part->n_modules);
        cJSON_AddNumberToObject(o, "rank_min", (double)part->rank_min);
        cJSON_AddNumberToObject(o, "rank_max", (double)part->rank_max);
        cJSON_AddNumberToObject(o, "alpha_min", part->alpha_min);
        cJSON_AddNumberToObject(o, "alpha_max", part->alpha_max);
        cJSON_AddNumberToObject(o, "without_alpha", (double)part->n_without_alpha);
        cJSON_AddNumberToObject(o, "untrained", (double)part->n_untrained);
    }
}

static void add_tags(cJSON *root, const lx_lora_summary *s)
{
    cJSON *tags = cJSON_AddObjectToObject(root, "tags"), *folder = NULL;
    for (size_t i = 0; i < s->tags.count; i++) {
        const lx_tag_count *t = &s->tags.tags[i];
        folder = cJSON_GetObjectItemCaseSensitive(tags, t->folder);
        if (!folder)
            folder = cJSON_AddObjectToObject(tags, t->folder);
        cJSON_AddNumberToObject(folder, t->tag, (double)t->count);
    }
}

static void add_metadata(cJSON *root, const lx_tensor_file *f)
{
    cJSON *metadata = cJSON_AddObjectToObject(root, "metadata");
    for (size_t i = 0; i < lx_tensor_file_metadata_count(f); i++) {
        const char *key, *value;
        lx_tensor_file_metadata_at(f, i, &key, &value);
        cJSON_AddStringToObject(metadata, key, value);
    }
}

static void add_captions(cJSON *root, const lx_verdict *v)
{
    static const char *const verdicts[] = {"unknown", "read",  "folder_words",
                                           "partly",  "empty", "dropped"};
    cJSON *o = cJSON_AddObjectToObject(root, "captions");

    cJSON_AddStringToObject(o, "verdict", verdicts[v->captions]);
    cJSON_AddStringToObject(o, "strength", v->strength);
    cJSON_AddStringToObject(o, "rule", v->rule);
    cJSON_AddStringToObject(o, "text", v->text);
}

static void add_model(cJSON *root, const lx_inspected *x)
{
    cJSON *parts = cJSON_AddObjectToObject(root, "checkpoint");

    for (int p = 0; p < LX_PIECE_COUNT; p++) {
        const lx_model_part *part = &x->parts[p];
        cJSON *o, *dtypes;
        if (!part->n_tensors)
            continue;
        o = cJSON_AddObjectToObject(parts,
                                    lx_model_piece_name((lx_model_piece)p, x->model));
        cJSON_AddNumberToObject(o, "tensors", (double)part->n_tensors);
        cJSON_AddNumberToObject(o, "values", (double)part->n_elements);
        cJSON_AddNumberToObject(o, "bytes", (double)part->bytes);
        dtypes = cJSON_AddObjectToObject(o, "dtypes");
        for (int d = 0; d < LX_DTYPE_COUNT; d++)
            if (part->n_dtypes[d])
                cJSON_AddNumberToObject(dtypes, lx_dtype_name((lx_dtype)d),
                                        (double)part->n_dtypes[d]);
    }
}

static void add_shape(cJSON *o, const lx_tensor_view *t)
{
    cJSON *list = cJSON_AddArrayToObject(o, "shape");
    int n;
    const int64_t *shape = lx_tensor_view_shape(&n, t);

    for (int i = 0; i < n; i++)
        cJSON_AddItemToArray(list, cJSON_CreateNumber((double)shape[i]));
}

static void add_lists(cJSON *root, const lx_inspected *x)
{
    const lx_lora_file *f = x->file;
    cJSON *unknown = cJSON_AddArrayToObject(root, "not_understood"), *list;

    for (size_t i = 0; i < f->n_unknown && !x->model; i++)
        cJSON_AddItemToArray(unknown, cJSON_CreateString(f->unknown[i]->name));
    list = cJSON_AddArrayToObject(root, "embeddings");
    for (size_t i = 0; i < f->n_embeddings; i++) {
        cJSON *o = cJSON_CreateObject();
        cJSON_AddItemToArray(list, o);
        cJSON_AddStringToObject(o, "name", f->embeddings[i]->name);
        add_shape(o, f->embeddings[i]);
    }
    list = cJSON_AddArrayToObject(root, "notes");
    for (size_t i = 0; i < lx_tensor_file_note_count(f->file); i++)
        cJSON_AddItemToArray(list, cJSON_CreateString(lx_tensor_file_note(f->file, i)));
}

static void add_hashes(cJSON *root, const lx_model_hashes *h)
{
    cJSON *o = cJSON_AddObjectToObject(root, "hashes");

    cJSON_AddStringToObject(o, "AutoV1", h->autov1);
    cJSON_AddStringToObject(o, "AutoV2", h->autov2);
    if (*h->autov3)
        cJSON_AddStringToObject(o, "AutoV3", h->autov3);
    cJSON_AddStringToObject(o, "sha256", h->sha256);
}

/* ---- weights and modules ----------------------------------------------------------------- */

/* NaN is null. */
static void add_number(cJSON *o, const char *name, double value)
{
    if (isfinite(value))
        cJSON_AddNumberToObject(o, name, value);
    else
        cJSON_AddNullToObject(o, name);
}

void lx_inspect__json_weights(cJSON *root, const lx_inspected *x)
{
    static const char *const laws[] = {"unknown", "uniform", "normal"};
    const lx_lora_weights *w = &x->weights;
    cJSON *o = cJSON_AddObjectToObject(root, "weights");

    cJSON_AddNumberToObject(o, "modules_weighed", (double)w->n_spectra);
    cJSON_AddNumberToObject(o, "dead_modules", (double)w->n_dead);
    cJSON_AddNumberToObject(o, "not_finite", (double)w->n_not_finite);
    add_number(o, "norm", w->frobenius);
    add_number(o, "norm_text_encoders", w->frobenius_text);
    add_number(o, "norm_unet", w->frobenius_unet);
    add_number(o, "text_path_share", lx_text_path_share(w));
    add_number(o, "stable_rank", w->stable_rank);
    add_number(o, "effective_rank", w->effective_rank);
    add_number(o, "largest_value", w->largest);
    add_number(o, "subnormal_share", w->share_subnormal);
    add_number(o, "scale_min", w->scale_min);
    add_number(o, "scale_max", w->scale_max);
    cJSON_AddStringToObject(o, "initialisation", laws[w->init]);
}

static void add_module(cJSON *list, const lx_inspected *x, size_t i)
{
    const lx_lora_entry *e = &x->file->modules[i];
    cJSON *o = cJSON_CreateObject();

    cJSON_AddItemToArray(list, o);
    cJSON_AddStringToObject(o, "name", e->name);
    cJSON_AddStringToObject(o, "part", lx_lora_part_label(e->part, x->summary.base));
    cJSON_AddStringToObject(o, "kind", lx_lora_kind_name(e->kind));
    cJSON_AddBoolToObject(o, "dora", e->has_dora);
    cJSON_AddNumberToObject(o, "rank", (double)e->rank);
    cJSON_AddNumberToObject(o, "alpha", e->alpha);
    cJSON_AddNumberToObject(o, "scale", lx_lora_entry_scale(e));
    cJSON_AddNumberToObject(o, "in", (double)lx_lora_in_features(e));
    cJSON_AddNumberToObject(o, "out", (double)lx_lora_out_features(e));
    if (e->problem)
        cJSON_AddStringToObject(o, "problem", e->problem);
    if (x->weights.modules && x->weights.modules[i].has_spectrum) {
        const lx_module_weights *m = &x->weights.modules[i];
        add_number(o, "norm", m->frobenius);
        add_number(o, "largest_singular_value", m->spectral);
        add_number(o, "stable_rank", m->stable_rank);
        add_number(o, "effective_rank", m->effective_rank);
        cJSON_AddNumberToObject(o, "dead_ranks", (double)m->n_dead_ranks);
    }
}

void lx_inspect__json_tree(cJSON *root, const lx_inspected *x)
{
    cJSON *list = cJSON_AddArrayToObject(root, "module_list");

    for (size_t i = 0; i < x->file->n_modules; i++)
        add_module(list, x, i);
}

/* ---- the whole --------------------------------------------------------------------------- */

static void add_facts(cJSON *root, const lx_inspected *x)
{
    static const char *const hashes[] = {"absent", "matches", "differs"};
    const lx_lora_summary *s = &x->summary;

    cJSON_AddStringToObject(root, "file", x->path);
    cJSON_AddStringToObject(root, "format", lx_tensor_file_format(x->file->file));
    cJSON_AddStringToObject(root, "what", x->what);
    cJSON_AddStringToObject(root, "family", x->file->family);
    cJSON_AddStringToObject(root, "trainer", x->trainer);
    cJSON_AddStringToObject(root, "base", x->model ? x->model : s->base);
    if (s->base_note)
        cJSON_AddStringToObject(root, "base_note", s->base_note);
    cJSON_AddNumberToObject(root, "modules", (double)s->n_modules);
    cJSON_AddNumberToObject(root, "data_bytes", (double)s->data_bytes);
    if (*s->data_hash)
        cJSON_AddStringToObject(root, "data_sha256", s->data_hash);
    cJSON_AddStringToObject(root, "training_hash", hashes[s->hash]);
    cJSON_AddNumberToObject(root, "not_finite", (double)s->n_not_finite);
    cJSON_AddNumberToObject(root, "untrained", (double)s->n_untrained);
    cJSON_AddNumberToObject(root, "damaged", (double)x->file->n_problems);
    if (x->file->config)
        cJSON_AddStringToObject(root, "alphas_by", x->file->config);
}

int lx_inspect__json(lx_cli *cli, const lx_inspect_options *options,
                     const lx_inspected *x, lx_error *err)
{
    cJSON *root = cJSON_CreateObject();
    lx_str out = LX_STR_INIT;
    int rc;

    add_facts(root, x);
    if (x->model)
        add_model(root, x);
    add_parts(root, &x->summary);
    if (x->file->n_modules)
        add_captions(root, &x->summary.verdict);
    add_lists(root, x);
    if (*x->hashes.sha256)
        add_hashes(root, &x->hashes);
    if (x->weights.modules)
        lx_inspect__json_weights(root, x);
    if (options->tree)
        lx_inspect__json_tree(root, x);
    add_tags(root, &x->summary);
    add_metadata(root, x->file->file);
    rc = lx_json_pretty(&out, root, err);
    if (rc == LX_OK)
        lx_print(cli, "%s\n", lx_str_text(&out));
    lx_str_release(&out);
    cJSON_Delete(root);
    return rc;
}
