/* The numbers of sd-scripts' merge_lora.py: its operations in its order, each rounded as torch rounds it. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/base/str.h"
#include "src/lora/merge_internal.h"
#include "src/sample/torch_random.h"

/* A tensor as the peer loads it: cast to the merging type, seen as f32. */
static int load(float *to, const lx_tensor_view *t, lx_dtype merge_dtype, lx_error *err)
{
    if (lx_to_f32(to, t->data, t->dtype, t->n_elements) < 0)
        return lx_fail(err, LX_EUNSUPPORTED, "%s: values of type %s", t->name,
                       lx_dtype_name(t->dtype));
    for (size_t i = 0; i < t->n_elements; i++) {
        if (merge_dtype == LX_F16)
            to[i] = lx_f32_from_f16(lx_f16_from_f32(to[i]));
        if (!isfinite(to[i]))
            return lx_fail(err, LX_EFORMAT, "%s: element %zu is %g", t->name, i,
                           (double)to[i]);
    }
    return LX_OK;
}

static float rounded(float x, lx_dtype merge_dtype)
{
    return merge_dtype == LX_F16 ? lx_f32_from_f16(lx_f16_from_f32(x)) : x;
}

/* alpha as the peer has it: cast to the merging type, 0 as it is; without one the rank. */
static double alpha_of(const lx_lora_entry *e, lx_dtype merge_dtype)
{
    const lx_tensor_view *t = e->tensors[LX_ROLE_ALPHA];
    float stored = (float)e->alpha;

    if (!e->has_alpha)
        return (double)e->rank;
    if (t)
        lx_to_f32(&stored, t->data, t->dtype, 1);
    return (double)rounded(stored, merge_dtype);
}

/* The peer takes the square root of alpha / alpha_1. */
static int check_alphas(const lx_merge_target *t, lx_dtype merge_dtype, lx_error *err)
{
    double base_alpha;

    lx_assert(t->first);
    base_alpha = alpha_of(t->first->entry, merge_dtype);
    for (const lx_merge_part *p = t->first; p; p = p->next) {
        const double alpha = alpha_of(p->entry, merge_dtype);
        if (!(alpha / base_alpha >= 0) || isinf(alpha / base_alpha))
            return lx_fail(err, LX_EMISMATCH,
                           "%s: %s has alpha %g and the first file's is %g, and there is no square root of their "
                           "quotient: merge_lora.py ends there too; without --like they merge",
                           p->source->label, p->entry->name, alpha, base_alpha);
    }
    return LX_OK;
}

static int check(const lx_merge *m, const lx_merge_like *like, lx_error *err)
{
    for (size_t i = 0; i < m->n_targets; i++) {
        const lx_merge_target *t = &m->targets[i];
        int rc;
        for (const lx_merge_part *p = t->first; p; p = p->next) {
            const lx_lora_entry *e = p->entry;
            if (e->kind != LX_KIND_LORA || e->has_dora || t->has_bias ||
                e->tensors[LX_ROLE_SCALE] ||
                !lx_ends_with(e->tensors[LX_ROLE_UP]->name, ".lora_up.weight"))
                return lx_fail(
                    err, LX_EUNSUPPORTED,
                    "%s: %s is not a LoRA that sd-scripts' merge_lora.py can merge",
                    p->source->label, e->name);
            if (!like->is_concat && e->rank != t->first->entry->rank)
                return lx_fail(
                    err, LX_EMISMATCH,
                    "%s has rank %lld but %s has rank %lld (%s): merge_lora.py refuses "
                    "that too; without --like, --rank exact merges them",
                    t->first->source->label, (long long)t->first->entry->rank,
                    p->source->label, (long long)e->rank, e->name);
        }
        if ((rc = check_alphas(t, like->merge_dtype, err)) < 0)
            return rc;
    }
    return LX_OK;
}

/* to [rows, width] += or = s x, in columns of a wider matrix: `step` from row to row. */
static void put(float *to, size_t step, const float *x, size_t rows, size_t width,
                float s, bool is_added, lx_dtype merge_dtype)
{
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < width; j++) {
            const float product = rounded(x[i * width + j] * s, merge_dtype);
            float *at = &to[i * step + j];
            *at = is_added ? rounded(*at + product, merge_dtype) : product;
        }
}

/* torch.randperm on the CPU: swaps with one of those that remain, 32 bits modulo their number. */
static void permute(size_t *order, size_t n, lx_torch_random *random)
{
    for (size_t i = 0; i < n; i++)
        order[i] = i;
    for (size_t i = 0; i + 1 < n; i++) {
        const size_t z = lx_mt19937_u32(random) % (n - i), kept = order[i];
        order[i] = order[z + i];
        order[z + i] = kept;
    }
}

static int shuffle(float *up, float *down, const lx_merge_target *t, size_t rank,
                   lx_torch_random *random, lx_error *err)
{
    const size_t out = t->shape.out, in = t->shape.in;
    size_t *order = lx_calloc(rank, sizeof *order);
    float *copy = lx_alloc((out * rank + rank * in) * sizeof *copy), *copy_down;

    if (!order || !copy) {
        lx_free(order);
        lx_free(copy);
        return lx_oom(err);
    }
    copy_down = copy + out * rank;
    memcpy(copy, up, out * rank * sizeof *up);
    memcpy(copy_down, down, rank * in * sizeof *down);
    permute(order, rank, random);
    for (size_t r = 0; r < rank; r++) {
        memcpy(down + r * in, copy_down + order[r] * in, in * sizeof *down);
        for (size_t o = 0; o < out; o++)
            up[o * rank + r] = copy[o * rank + order[r]];
    }
    lx_free(copy);
    lx_free(order);
    return LX_OK;
}

static int run_like(lx_merge_output *o, const lx_merge *m, lx_dtype dtype,
                    const lx_merge_like *like, lx_torch_random *random, lx_error *err)
{
    const lx_merge_target *t = o->target;
    const double base_alpha = alpha_of(t->first->entry, like->merge_dtype);
    const size_t out = t->shape.out, in = t->shape.in;
    const size_t rank = like->is_concat ? t->rank : t->first->shape.rank;
    const size_t most = (out + in) * t->rank;
    float *sums = lx_calloc((out + in) * rank + most, sizeof *sums);
    float *up = sums, *down, *x;
    size_t column = 0;
    int rc = LX_OK;

    if (!sums)
        return lx_oom(err);
    down = sums + out * rank;
    x = down + in * rank;
    for (const lx_merge_part *p = t->first; p && rc == LX_OK; p = p->next) {
        const lx_lora_entry *e = p->entry;
        const double s =
            sqrt(alpha_of(e, like->merge_dtype) / base_alpha) * p->source->unet;
        const size_t r = p->shape.rank;
        const bool is_added = p != t->first && !like->is_concat;
        if ((rc = lx_merge__within(
                 load(x, e->tensors[LX_ROLE_UP], like->merge_dtype, err), p, err)) < 0)
            break;
        put(up + column, rank, x, out, r, (float)fabs(s), is_added, like->merge_dtype);
        if ((rc = lx_merge__within(
                 load(x, e->tensors[LX_ROLE_DOWN], like->merge_dtype, err), p, err)) < 0)
            break;
        put(down + column * in, in, x, r, in, (float)s, is_added, like->merge_dtype);
        column += like->is_concat ? r : 0;
    }
    if (rc == LX_OK && like->is_shuffled)
        rc = shuffle(up, down, t, rank, random, err);
    if (rc == LX_OK)
        rc = lx_merge__shape_factors(o, m, rank, (float)base_alpha, dtype, err);
    if (rc == LX_OK) {
        lx_tensor_view *alpha = &o->views[LX_VIEW_ALPHA];
        const float stored = o->alpha;
        lx_from_f32((void *)o->views[LX_VIEW_UP].data, dtype, up, out * rank);
        lx_from_f32((void *)o->views[LX_VIEW_DOWN].data, dtype, down, rank * in);
        alpha->dtype = dtype; /* all of the peer's tensors are cast */
        alpha->bytes = (size_t)lx_dtype_bits(dtype) / 8;
        lx_from_f32((void *)alpha->data, dtype, &stored, 1);
    }
    lx_free(sums);
    return rc;
}

/* As the peer meets their alphas: file after file, in each the modules that have one before those that have none. */
static int by_alpha(const void *a, const void *b)
{
    const lx_merge_target *x = (*(lx_merge_output *const *)a)->target;
    const lx_merge_target *y = (*(lx_merge_output *const *)b)->target;
    const size_t of_x = x->first->n_source, of_y = y->first->n_source;
    const bool has_x = x->first->entry->has_alpha, has_y = y->first->entry->has_alpha;

    if (of_x != of_y)
        return of_x < of_y ? -1 : 1;
    return has_x != has_y ? has_y - has_x : strcmp(x->name, y->name);
}

int lx_merge__run_like(lx_merge_output *outs, lx_merge *m, lx_dtype dtype,
                       const lx_merge_like *like, lx_error *err)
{
    lx_merge_output **sorted = lx_calloc(m->n_targets, sizeof *sorted);
    lx_torch_random random;
    int rc = check(m, like, err);

    if (rc == LX_OK && !sorted)
        rc = lx_oom(err);
    if (rc == LX_OK) {
        for (size_t i = 0; i < m->n_targets; i++)
            sorted[i] = &outs[i];
        qsort(sorted, m->n_targets, sizeof(*sorted), by_alpha); /* the order of the shuffles */
        lx_torch_seed(&random, like->seed);
    }
    for (size_t i = 0; i < m->n_targets && rc == LX_OK; i++)
        rc = run_like(sorted[i], m, dtype, like, &random, err);
    lx_free(sorted);
    return rc;
}
