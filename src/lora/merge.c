#include "src/lora/merge.h"

#include <math.h>
#include <string.h>

#include "src/base/alloc.h"

/* One module of one source. */
typedef struct part {
    struct part *next;
    const lx_lora_entry *entry;
    double weight; /* strength * alpha / rank */
} part;

typedef struct target {
    const char *name;
    part *first, *last;
    int64_t rank;
    const char *label; /* of the first source, for messages */
} target;

struct lx_merge {
    lx_arena *arena;
    bool allows_unequal_ranks;
    const char *family, *family_label;
    target *targets;
    size_t n_targets, capacity;
    void **buffers; /* of the result */
    size_t n_buffers, buffer_capacity;
};

int lx_merge_new(lx_merge **out, bool allows_unequal_ranks, lx_error *err)
{
    lx_merge *m = lx_calloc(1, sizeof *m);
    if (!m || !(m->arena = lx_arena_new())) {
        lx_free(m);
        return lx_oom(err);
    }
    m->allows_unequal_ranks = allows_unequal_ranks;
    *out = m;
    return LX_OK;
}

void lx_merge_free(lx_merge *m)
{
    if (!m)
        return;
    for (size_t i = 0; i < m->n_buffers; i++)
        lx_free(m->buffers[i]);
    lx_free(m->buffers);
    lx_free(m->targets);
    lx_arena_free(m->arena);
    lx_free(m);
}

/* ---- adding ------------------------------------------------------------------------------ */

static target *find_target(lx_merge *m, const char *name, size_t guess)
{
    /* Files of one family list their modules in the same order, nearly always. */
    if (guess < m->n_targets && strcmp(m->targets[guess].name, name) == 0)
        return &m->targets[guess];
    for (size_t i = 0; i < m->n_targets; i++)
        if (strcmp(m->targets[i].name, name) == 0)
            return &m->targets[i];
    return NULL;
}

static bool same_outer_shape(const lx_lora_entry *a, const lx_lora_entry *b)
{
    const lx_tensor_view *ua = a->tensors[LX_ROLE_UP], *ub = b->tensors[LX_ROLE_UP];
    const lx_tensor_view *da = a->tensors[LX_ROLE_DOWN], *db = b->tensors[LX_ROLE_DOWN];
    if (ua->shape[0] != ub->shape[0] || da->n_dims != db->n_dims || ua->n_dims != ub->n_dims)
        return false;
    for (int i = 1; i < da->n_dims; i++)
        if (da->shape[i] != db->shape[i])
            return false;
    return true;
}

static int check_fit(const lx_merge *m, const target *t, const lx_lora_entry *e,
                     const char *label, lx_error *err)
{
    const lx_lora_entry *first = t->first->entry;

    if (!same_outer_shape(first, e))
        return lx_fail(err, LX_EMISMATCH,
                       "%s: the layer is %lld x %lld in %s and %lld x %lld in %s: the LoRAs are "
                       "for different base models",
                       e->name, (long long)first->tensors[LX_ROLE_UP]->shape[0],
                       (long long)first->tensors[LX_ROLE_DOWN]->shape[1], t->label,
                       (long long)e->tensors[LX_ROLE_UP]->shape[0],
                       (long long)e->tensors[LX_ROLE_DOWN]->shape[1], label);
    if (!m->allows_unequal_ranks && first->rank != e->rank)
        return lx_fail(err, LX_EMISMATCH,
                       "%s has rank %lld but %s has rank %lld (%s): add --rank exact to merge "
                       "them without loss at rank %lld",
                       t->label, (long long)first->rank, label, (long long)e->rank, e->name,
                       (long long)(first->rank + e->rank));
    return LX_OK;
}

static int check_kind(const lx_lora_entry *e, lx_error *err)
{
    if (e->problem)
        return lx_fail(err, LX_EFORMAT, "%s: %s", e->name, e->problem);
    if (e->kind != LX_KIND_LORA)
        return lx_fail(err, LX_EUNSUPPORTED, "%s is %s, which is no plain LoRA", e->name,
                       lx_lora_kind_name(e->kind));
    if (e->has_dora)
        return lx_fail(err, LX_EUNSUPPORTED,
                       "%s is DoRA: its change depends on the base weights, so it has no sum "
                       "with others",
                       e->name);
    return LX_OK;
}

static int add_module(lx_merge *m, const lx_lora_entry *e, const char *label, double strength,
                      size_t guess, lx_error *err)
{
    target *t = find_target(m, e->name, guess);
    part *p;
    int rc;

    if ((rc = check_kind(e, err)) < 0 || (t && (rc = check_fit(m, t, e, label, err)) < 0))
        return rc;
    if (!t) {
        if (lx_grow(&m->targets, &m->capacity, m->n_targets + 1, sizeof *t) < 0)
            return lx_oom(err);
        t = &m->targets[m->n_targets++];
        *t = (target){.name = e->name, .label = label};
    }
    if (!(p = lx_arena_calloc(m->arena, 1, sizeof *p)))
        return lx_oom(err);
    p->entry = e;
    p->weight = strength * lx_lora_entry_scale(e);
    if (t->last)
        t->last->next = p;
    else
        t->first = p;
    t->last = p;
    t->rank += e->rank;
    return LX_OK;
}

int lx_merge_add(lx_merge *m, const lx_lora_file *file, const char *label, double strength,
                 lx_error *err)
{
    int rc;

    if (!file->n_modules)
        return lx_fail(err, LX_EFORMAT, "has no LoRA modules");
    if (strcmp(file->family, "cloneofsimo") == 0 || strstr(file->family, "damaged"))
        return lx_fail(err, LX_EUNSUPPORTED,
                       "is spelled as %s: its module names do not say which layers they are",
                       file->family);
    if (file->n_unknown)
        return lx_fail(err, LX_EUNSUPPORTED,
                       "%zu tensors are not understood, the first is %s: merging would drop them",
                       file->n_unknown, file->unknown[0]->name);
    if (!m->family) {
        m->family = file->family;
        m->family_label = label;
    } else if (strcmp(m->family, file->family) != 0) {
        return lx_fail(err, LX_EMISMATCH,
                       "is spelled as %s but %s as %s: only files of one spelling are merged",
                       file->family, m->family_label, m->family);
    }
    if (!(label = lx_arena_strdup(m->arena, label)))
        return lx_oom(err);
    for (size_t i = 0; i < file->n_modules; i++)
        if ((rc = add_module(m, &file->modules[i], label, strength, i, err)) < 0)
            return rc;
    return LX_OK;
}

/* Only kohya's and LyCORIS' readers look for `.alpha`. */
static bool has_alphas(const lx_merge *m)
{
    return strcmp(m->family, "kohya") == 0 || strcmp(m->family, "LyCORIS") == 0;
}

/* ---- the sum ----------------------------------------------------------------------------- */

static void *new_buffer(lx_merge *m, size_t bytes)
{
    void *b = lx_alloc(bytes);
    if (b && lx_grow(&m->buffers, &m->buffer_capacity, m->n_buffers + 1, sizeof b) < 0) {
        lx_free(b);
        b = NULL;
    }
    if (b)
        m->buffers[m->n_buffers++] = b;
    return b;
}

static double largest_weight(const target *t)
{
    double most = 0;
    for (const part *p = t->first; p; p = p->next)
        most = fabs(p->weight) > most ? fabs(p->weight) : most;
    return most;
}

static int check_finite(const lx_tensor_view *t, const float *values, lx_error *err)
{
    for (size_t i = 0; i < t->n_elements; i++)
        if (!isfinite(values[i]))
            return lx_fail(err, LX_EFORMAT, "%s: element %zu is %g", t->name, i,
                           (double)values[i]);
    return LX_OK;
}

/* down: rows of the parts below one another, as they are. */
static int stack_down(float *to, const target *t, lx_error *err)
{
    for (const part *p = t->first; p; p = p->next) {
        const lx_tensor_view *down = p->entry->tensors[LX_ROLE_DOWN];
        int rc;
        if (lx_to_f32(to, down->data, down->dtype, down->n_elements) < 0)
            return lx_fail(err, LX_EUNSUPPORTED, "%s: dtype %s", down->name,
                           lx_dtype_name(down->dtype));
        if ((rc = check_finite(down, to, err)) < 0)
            return rc;
        to += down->n_elements;
    }
    return LX_OK;
}

/* up: columns of the parts side by side, each times its share. `from` has room for the largest. */
static int stack_up(float *to, float *from, const target *t, double per_weight, lx_error *err)
{
    const int64_t out = t->first->entry->tensors[LX_ROLE_UP]->shape[0];
    int64_t column = 0;

    for (const part *p = t->first; p; column += p->entry->rank, p = p->next) {
        const lx_tensor_view *up = p->entry->tensors[LX_ROLE_UP];
        const int64_t rank = p->entry->rank;
        int rc;
        if ((int64_t)up->n_elements != out * rank)
            return lx_fail(err, LX_EUNSUPPORTED, "%s: up has a window", up->name);
        if (lx_to_f32(from, up->data, up->dtype, up->n_elements) < 0)
            return lx_fail(err, LX_EUNSUPPORTED, "%s: dtype %s", up->name,
                           lx_dtype_name(up->dtype));
        if ((rc = check_finite(up, from, err)) < 0)
            return rc;
        for (int64_t i = 0; i < out; i++)
            for (int64_t j = 0; j < rank; j++)
                to[i * t->rank + column + j] =
                    (float)(p->weight * per_weight * (double)from[i * rank + j]);
    }
    return LX_OK;
}

/* A view of `values` in dtype, under the module's name and `suffix`. */
static int store(lx_tensor_view *view, lx_merge *m, const target *t, const char *suffix,
                 const lx_tensor_view *like, int rank_dim, const float *values, size_t n,
                 lx_dtype dtype, lx_error *err)
{
    size_t bytes = n * (size_t)lx_dtype_bits(dtype) / 8;
    void *data = new_buffer(m, bytes);

    *view = (lx_tensor_view){.dtype = dtype, .n_elements = n, .data = data, .bytes = bytes};
    view->name = lx_arena_printf(m->arena, "%s%s", t->name, suffix);
    if (!data || !view->name)
        return lx_oom(err);
    if (like) {
        view->n_dims = like->n_dims;
        memcpy(view->shape, like->shape, sizeof view->shape);
        view->shape[rank_dim] = t->rank;
    }
    lx_from_f32(data, dtype, values, n);
    return LX_OK;
}

/* The suffix with which the first source spells a role. */
static const char *suffix_of(const lx_lora_entry *e, lx_lora_role role)
{
    return e->tensors[role]->name + strlen(e->name);
}

/* Adds 2 or 3 views at out->tensors + out->n_tensors. */
static int finish_target(lx_merge_result *out, double *alpha, lx_merge *m, const target *t,
                         lx_dtype dtype, lx_error *err)
{
    const lx_lora_entry *first = t->first->entry;
    lx_tensor_view *views = out->tensors + out->n_tensors;
    const lx_tensor_view *down = first->tensors[LX_ROLE_DOWN], *up = first->tensors[LX_ROLE_UP];
    const size_t n_down = down->n_elements / (size_t)first->rank * (size_t)t->rank;
    const size_t n_up = (size_t)up->shape[0] * (size_t)t->rank;
    const double most = largest_weight(t);
    /* Rounded first, so that the factors make up for what the file's alpha cannot say. A family
     * that stores no alpha is read with alpha = rank. */
    const float stored =
        has_alphas(m) && most > 0 ? (float)(most * (double)t->rank) : (float)t->rank;
    float *values = lx_alloc((n_down > n_up ? n_down : n_up) * sizeof(float));
    float *spare = lx_alloc(n_up * sizeof(float));
    int rc = LX_OK;

    if (!values || !spare)
        rc = lx_oom(err);
    if (rc == LX_OK && (rc = stack_down(values, t, err)) == LX_OK)
        rc = store(&views[0], m, t, suffix_of(first, LX_ROLE_DOWN), down, 0, values, n_down, dtype, err);
    if (rc == LX_OK &&
        (rc = stack_up(values, spare, t, (double)t->rank / (double)stored, err)) == LX_OK)
        rc = store(&views[1], m, t, suffix_of(first, LX_ROLE_UP), up, 1, values, n_up, dtype, err);
    out->n_tensors += 2 + (size_t)has_alphas(m);
    if (rc == LX_OK && has_alphas(m))
        rc = store(&views[2], m, t, ".alpha", NULL, 0, &stored, 1, LX_F32, err);
    *alpha = (double)stored;
    lx_free(values);
    lx_free(spare);
    return rc;
}

int lx_merge_finish(lx_merge_result *out, lx_merge *m, lx_dtype dtype, lx_error *err)
{
    lx_tensor_view *views;
    int rc;

    lx_assert(dtype == LX_F32 || dtype == LX_F16 || dtype == LX_BF16);
    if (!(views = lx_arena_calloc(m->arena, m->n_targets, 3 * sizeof *views)))
        return lx_oom(err);
    *out = (lx_merge_result){.tensors = views, .n_modules = m->n_targets};
    for (size_t i = 0; i < m->n_targets; i++) {
        const target *t = &m->targets[i];
        double alpha;
        if ((rc = finish_target(out, &alpha, m, t, dtype, err)) < 0)
            return rc;
        if (i == 0) {
            out->rank = t->rank;
            out->alpha = alpha;
        }
        out->rank = out->rank == t->rank ? out->rank : 0;
        out->alpha = out->alpha == alpha ? out->alpha : 0;
    }
    return LX_OK;
}
