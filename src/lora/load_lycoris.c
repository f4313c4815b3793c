/* LoHa and LoKr from a file, to be trained further. */
#include <math.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/lora/lycoris.h"

/* By target: what the file has for it; NULL = nothing. */
typedef struct found_module {
    const lx_lora_entry *entry;
    lx_lokr_shape lokr;
    int rank;
} found_module;

static int64_t dim(const lx_tensor_view *v, int i)
{
    return v && i < v->n_dims ? v->shape[i] : 1;
}

/* Left and right sides of w1 or w2: of the whole matrix, or of its two factors. */
static bool read_sides(int64_t *left, int64_t *right, bool *is_product, int *rank,
                       const lx_lora_entry *e, lx_lora_role whole, lx_lora_role a,
                       lx_lora_role b)
{
    const lx_tensor_view *w = e->tensors[whole], *l = e->tensors[a], *r = e->tensors[b];

    *is_product = !w;
    if (w) {
        *left = dim(w, 0);
        *right = dim(w, 1);
        return w->n_dims >= 2;
    }
    if (!l || !r || l->n_dims != 2 || r->n_dims < 2 || dim(l, 1) != dim(r, 0))
        return false;
    *left = dim(l, 0);
    *right = dim(r, 1);
    *rank = (int)dim(l, 1);
    return true;
}

/* A product's right side is counted with the layer's window. */
static int read_lokr(found_module *f, const lx_lora_target *target, lx_error *err)
{
    const lx_lora_entry *e = f->entry;
    const lx_tensor_view *w = target->weight;
    lx_lokr_shape *s = &f->lokr;

    if (!read_sides(&s->a, &s->c, &s->has_w1_factors, &f->rank, e, LX_ROLE_LOKR_W1,
                    LX_ROLE_LOKR_W1_A, LX_ROLE_LOKR_W1_B) ||
        !read_sides(&s->b, &s->d, &s->has_w2_factors, &f->rank, e, LX_ROLE_LOKR_W2,
                    LX_ROLE_LOKR_W2_A, LX_ROLE_LOKR_W2_B))
        return lx_fail(err, LX_EFORMAT, "%s: the factors of its two matrices do not fit",
                       e->name);
    if (s->has_w2_factors)
        s->d /= dim(w, 2) * dim(w, 3);
    if (!s->has_w1_factors && !s->has_w2_factors)
        f->rank = 1; /* of which it has none: the scale is 1 */
    if (s->a * s->b != dim(w, 0) || s->c * s->d != dim(w, 1))
        return lx_fail(
            err, LX_EMISMATCH,
            "%s changes a layer of %lld x %lld, the base model's is %lld x %lld", e->name,
            (long long)(s->a * s->b), (long long)(s->c * s->d), (long long)dim(w, 0),
            (long long)dim(w, 1));
    return LX_OK;
}

/* Both halves have one rank. */
static int read_loha(found_module *f, lx_error *err)
{
    static const lx_lora_role roles[4] = {LX_ROLE_HADA_W1_A, LX_ROLE_HADA_W1_B,
                                          LX_ROLE_HADA_W2_A, LX_ROLE_HADA_W2_B};
    const lx_lora_entry *e = f->entry;

    for (int i = 0; i < 4; i++)
        if (!e->tensors[roles[i]])
            return lx_fail(err, LX_EFORMAT, "%s has no %s", e->name,
                           lx_lora__suffix(roles[i]) + 1);
    f->rank = (int)dim(e->tensors[LX_ROLE_HADA_W1_B], 0);
    return dim(e->tensors[LX_ROLE_HADA_W2_B], 0) == f->rank
               ? LX_OK
               : lx_fail(err, LX_EUNSUPPORTED, "%s: its halves have ranks %d and %lld",
                         e->name, f->rank,
                         (long long)dim(e->tensors[LX_ROLE_HADA_W2_B], 0));
}

static int examine(found_module *f, const lx_lora_target *target, lx_error *err)
{
    enum { MAX_RANK = 1 << 16 };
    const lx_lora_entry *e = f->entry;
    int rc = LX_OK;

    if (e->problem)
        return lx_fail(err, LX_EFORMAT, "%s: %s", e->name, e->problem);
    if (e->has_dora || e->tensors[LX_ROLE_HADA_T1] || e->tensors[LX_ROLE_LOKR_T2] ||
        (e->kind != LX_KIND_LORA && e->kind != LX_KIND_LOHA && e->kind != LX_KIND_LOKR))
        return lx_fail(err, LX_EUNSUPPORTED,
                       "%s is %s%s, which cannot be trained further: LoRA, LoHa and LoKr "
                       "without a core can",
                       e->name, lx_lora_kind_name(e->kind),
                       e->has_dora ? " with DoRA" : "");
    if (!isfinite(e->alpha))
        return lx_fail(err, LX_EFORMAT, "%s.alpha is not a finite number", e->name);
    f->rank = (int)e->rank;
    if (e->kind == LX_KIND_LOKR)
        rc = read_lokr(f, target, err);
    else if (e->kind == LX_KIND_LOHA)
        rc = read_loha(f, err);
    if (rc == LX_OK && (f->rank < 1 || f->rank > MAX_RANK))
        rc =
            lx_fail(err, LX_EFORMAT, "%s: a rank of %d makes no sense", e->name, f->rank);
    return rc;
}

static int sort_modules(found_module *found, const lx_lora_targets *targets,
                        const lx_lora_file *file, lx_error *err)
{
    if (file->n_unknown)
        return lx_fail(err, LX_EUNSUPPORTED, "\"%s\" is no part of a LoRA that lx knows",
                       file->unknown[0]->name);
    for (size_t i = 0; i < file->n_modules; i++) {
        const lx_lora_entry *e = &file->modules[i];
        size_t target;
        int rc;

        if ((rc = lx_lora__match(&target, targets, e->name, err)) < 0)
            return rc;
        if (found[target].entry)
            return lx_fail(err, LX_EFORMAT, "\"%s\" and \"%s\" are the same layer",
                           found[target].entry->name, e->name);
        found[target].entry = e;
        if ((rc = examine(&found[target], &targets->items[target], err)) < 0)
            return rc;
    }
    return LX_OK;
}

/* Without factors a LoKr's scale is 1 whatever its alpha says. */
static float alpha_of(const found_module *f)
{
    const bool is_whole = f->entry->kind == LX_KIND_LOKR && !f->lokr.has_w1_factors &&
                          !f->lokr.has_w2_factors;

    return is_whole ? (float)f->rank : (float)f->entry->alpha;
}

/* [r, n] and [r, n, 1, 1] are the same, and so are a factor with its window and the matrix that files have. */
static int take_values(lx_lora *lora, const lx_lora_module *m, const lx_lora_entry *e,
                       lx_error *err)
{
    for (int k = 0; k < m->n_factors; k++) {
        const lx_param *p = &m->factors[k];
        const lx_tensor_view *v = e->tensors[m->roles[k]];
        const size_t n = lx_lora__size(p);
        float *values;
        int rc;

        if (!v || v->n_elements != n || dim(v, 0) != p->shape[0])
            return lx_fail(err, LX_EMISMATCH,
                           "%s has %zu values, the base model's layer needs %zu", p->name,
                           v ? v->n_elements : 0, n);
        if (!(values = lx_alloc(n * sizeof *values)))
            return lx_oom(err);
        if ((rc = lx_to_f32(values, v->data, v->dtype, n)) < 0)
            lx_fail(err, rc, "%s: values of type %s cannot be read", v->name,
                    lx_dtype_name(v->dtype));
        else
            rc = lx_lora__put(lora, p, values, err);
        lx_free(values);
        if (rc < 0)
            return rc;
    }
    return LX_OK;
}

int lx_lora__open_lycoris(lx_lora **out, lx_device *dev, const lx_lora_targets *targets,
                          const lx_lora_file *file, bool is_trainable, lx_error *err)
{
    found_module *found = lx_calloc(targets->count + 1, sizeof *found);
    lx_lora *lora = NULL;
    size_t next = 0;
    int rc;

    *out = NULL;
    if (!found)
        return lx_oom(err);
    if ((rc = sort_modules(found, targets, file, err)) < 0 ||
        (rc = lx_lora__new(&lora, dev, targets->count, err)) < 0)
        goto done;
    for (size_t i = 0; i < targets->count && rc == LX_OK; i++)
        if (found[i].entry)
            rc = lx_lora__add_kind(lora, &targets->items[i], found[i].entry->kind,
                                   found[i].rank, alpha_of(&found[i]), &found[i].lokr,
                                   err);
    if (rc < 0 || (rc = lx_lora__place(lora, is_trainable, err)) < 0)
        goto done;
    for (size_t i = 0; i < targets->count && rc == LX_OK; i++)
        if (found[i].entry)
            rc = take_values(lora, &lora->modules[next++], found[i].entry, err);
    if (rc < 0)
        goto done;
    *out = lora;
    lora = NULL;
done:
    lx_lora_free(lora);
    lx_free(found);
    return rc;
}
