/*
 * graph/rewrite - a schedule in which the reverse pass computes some values again
 *
 * A value is computed again by the same op on the same numbers, so the results of a run
 * do not change by a bit. What it needs is taken from where it still is, or computed
 * again as well.
 */
#include "src/graph/schedule.h"

#include <string.h>

#include "src/base/alloc.h"

typedef struct rewriting {
    lx_schedule *out;
    const lx_schedule *s;
    const bool *is_dropped;
    int *producer; /* by id of a root: its forward step, -1 */
    int *again;    /* by id of a root: the id of the second copy, -1 */
    bool *is_due;  /* by id of a root: to be computed now */
} rewriting;

static bool copy_tables(lx_schedule *out, const lx_schedule *s)
{
    size_t n = s->n_tensors;

    out->arena = lx_arena_new();
    if (!out->arena ||
        lx_grow(&out->tensors, &out->tensors_capacity, n + 1, sizeof *out->tensors) < 0 ||
        lx_grow(&out->root, &out->root_capacity, n + 1, sizeof *out->root) < 0 ||
        lx_grow(&out->is_kept, &out->kept_capacity, n + 1, sizeof *out->is_kept) < 0 ||
        lx_grow(&out->steps, &out->steps_capacity, s->n_steps + s->n_forward + 1,
                sizeof *out->steps) < 0 ||
        !(out->scratch = lx_calloc(s->n_steps + s->n_forward + 1, sizeof *out->scratch)))
        return false;
    memcpy(out->tensors, s->tensors, n * sizeof *out->tensors);
    memcpy(out->root, s->root, n * sizeof *out->root);
    memcpy(out->is_kept, s->is_kept, n * sizeof *out->is_kept);
    out->n_tensors = n;
    out->n_forward = s->n_forward;
    out->joining = s->joining;
    return true;
}

/* Each forward step is repeated at most once, so there is room. */
static lx_node *append(rewriting *r, size_t i)
{
    lx_schedule *out = r->out;

    out->steps[out->n_steps] = r->s->steps[i];
    out->scratch[out->n_steps] = r->s->scratch ? r->s->scratch[i] : 0;
    return &out->steps[out->n_steps++];
}

/* Operands that were dropped are read from their second copies. */
static bool redirect(rewriting *r, lx_node *step)
{
    for (int k = 0; k < step->n_in; k++) {
        int root = step->in[k] ? lx_schedule__root(r->s, step->in[k]) : -1;
        if (root < 0 || r->again[root] < 0)
            continue;
        step->in[k] =
            lx_schedule__tensor(r->out, step->in[k], step->in[k], r->again[root]);
        if (!step->in[k])
            return false;
    }
    return true;
}

static bool is_missing(const rewriting *r, const lx_tensor *t)
{
    int root = t ? lx_schedule__root(r->s, t) : -1;
    return root >= 0 && r->is_dropped[root] && r->again[root] < 0 &&
           r->producer[root] >= 0;
}

static bool repeat(rewriting *r, size_t i)
{
    lx_node *step = append(r, i);

    r->out->n_recomputed++;
    if (!redirect(r, step))
        return false;
    for (int k = 0; k < step->n_out; k++) {
        lx_tensor *out = step->out[k], *copy;
        if (!out)
            continue;
        if (!is_missing(r, out) && lx_op__is_optional_output(step->op, k)) {
            step->out[k] = NULL; /* the first copy is still there */
            continue;
        }
        int root = lx_schedule__root(r->s, out);
        /*
         * A root of its own, in the root's shape; the step may write it through a view.
         */
        copy = lx_schedule__tensor(r->out, r->s->tensors[root], r->s->tensors[root], -1);
        if (!copy)
            return false;
        if (is_missing(r, out))
            r->again[root] = copy->id;
        step->out[k] = lx_schedule__tensor(r->out, out, out, copy->id);
        if (!step->out[k])
            return false;
    }
    return true;
}

static bool is_step_due(const rewriting *r, const lx_node *step)
{
    for (int k = 0; k < step->n_out; k++)
        if (step->out[k] && r->is_due[lx_schedule__root(r->s, step->out[k])])
            return true;
    return false;
}

/*
 * Marks what must be computed before `due`, walking back from the last of their makers.
 */
static bool compute_again(rewriting *r, const lx_node *reader)
{
    int first, last = -1, n_due = 0;

    for (int k = 0; k < reader->n_in; k++)
        if (is_missing(r, reader->in[k])) {
            int root = lx_schedule__root(r->s, reader->in[k]);
            n_due += !r->is_due[root];
            r->is_due[root] = true;
            if (last < r->producer[root])
                last = r->producer[root];
        }
    for (first = last + 1; n_due > 0;) {
        const lx_node *step = &r->s->steps[--first];
        if (!is_step_due(r, step))
            continue;
        for (int k = 0; k < step->n_out; k++)
            n_due -= step->out[k] && r->is_due[lx_schedule__root(r->s, step->out[k])];
        for (int k = 0; k < step->n_in; k++)
            if (is_missing(r, step->in[k])) {
                int root = lx_schedule__root(r->s, step->in[k]);
                n_due += !r->is_due[root];
                r->is_due[root] = true;
            }
    }
    for (int i = first; i <= last; i++) {
        const lx_node *step = &r->s->steps[i];
        if (!is_step_due(r, step))
            continue;
        if (!repeat(r, (size_t)i))
            return false;
        for (int k = 0; k < step->n_out; k++)
            if (step->out[k])
                r->is_due[lx_schedule__root(r->s, step->out[k])] = false;
    }
    return true;
}

static void find_producers(rewriting *r)
{
    for (size_t id = 0; id < r->s->n_tensors; id++)
        r->producer[id] = r->again[id] = -1;
    for (size_t i = 0; i < r->s->n_forward; i++)
        for (int k = 0; k < r->s->steps[i].n_out; k++)
            if (r->s->steps[i].out[k])
                r->producer[lx_schedule__root(r->s, r->s->steps[i].out[k])] = (int)i;
}

int lx_schedule__without(lx_schedule *out, const lx_schedule *s, const bool *is_dropped,
                         lx_error *err)
{
    size_t n = s->n_tensors + 1;
    rewriting r = {out,
                   s,
                   is_dropped,
                   lx_calloc(n, sizeof(int)),
                   lx_calloc(n, sizeof(int)),
                   lx_calloc(n, sizeof(bool))};
    bool ok;

    *out = (lx_schedule){0};
    ok = r.producer && r.again && r.is_due && copy_tables(out, s);
    if (ok)
        find_producers(&r);
    for (size_t i = 0; i < s->n_steps && ok; i++) {
        if (i >= s->n_forward)
            ok = compute_again(&r, &s->steps[i]);
        if (ok) {
            lx_node *step = append(&r, i);
            ok = i < s->n_forward || redirect(&r, step);
        }
    }
    lx_free(r.producer);
    lx_free(r.again);
    lx_free(r.is_due);
    if (!ok || lx_schedule__group(out, err) < 0) {
        lx_schedule_release(out);
        return lx_oom(err);
    }
    return LX_OK;
}
