/*
 * graph/fold - sums become the `add` operand of the op before them
 *
 * x + linear(h) reads and writes the result of the product once more. When nobody else
 * reads that result, and x is there before it is made, the product starts from x instead.
 * This serves residual connections in the forward pass and forked gradients in the
 * reverse one (each term of a fork is mostly a linear_dx or the gradient of a norm).
 *
 * With LoRA the sum is x + (add + s h up^T): its operand is taken, but `add` itself is
 * the result of the frozen product, so x goes down the chain to there. Only the order of
 * the sum changes.
 */
#include "src/graph/schedule.h"

#include "src/base/alloc.h"

typedef struct folding {
    lx_schedule *s;
    int *producer; /* by id of a root: the step that writes it, -1 */
    int *n_uses;   /* by id of a root: operands that read it */
} folding;

static void count(folding *f)
{
    const lx_schedule *s = f->s;

    for (size_t id = 0; id < s->n_tensors; id++)
        f->producer[id] = -1;
    for (size_t i = 0; i < s->n_steps; i++) {
        const lx_node *step = &s->steps[i];
        for (int k = 0; k < step->n_in; k++)
            if (step->in[k])
                f->n_uses[lx_schedule__root(s, step->in[k])]++;
        for (int k = 0; k < step->n_out; k++)
            if (step->out[k])
                f->producer[lx_schedule__root(s, step->out[k])] = (int)i;
    }
}

/*
 * The step that made t and could take something to add, if t is its only purpose; else
 * -1.
 */
static int maker(const folding *f, const lx_tensor *t)
{
    int root = lx_schedule__root(f->s, t), step = f->producer[root];
    const lx_node *node;

    if (step < 0 || f->n_uses[root] != 1 || f->s->is_kept[root])
        return -1;
    node = &f->s->steps[step];
    if (lx_op__add_operand(node->op) < 0 || lx_schedule__root(f->s, node->out[0]) != root)
        return -1;
    return step;
}

/* The step, at or below `top` in the chain of sums, whose `add` is free; else -1. */
static int free_place(const folding *f, int top)
{
    while (top >= 0) {
        const lx_node *node = &f->s->steps[top];
        const lx_tensor *add = node->in[lx_op__add_operand(node->op)];
        if (!add)
            return top;
        top = maker(f, add);
    }
    return -1;
}

static lx_tensor *shaped(folding *f, lx_tensor *t, const lx_tensor *like)
{
    if (lx_tensor__same_shape(t, like))
        return t;
    return lx_schedule__tensor(f->s, t, like, lx_schedule__root(f->s, t));
}

/* step i is term + other; true if it is gone afterwards. */
static bool fold_into(folding *f, size_t i, lx_tensor *term, lx_tensor *other,
                      bool *no_memory)
{
    lx_schedule *s = f->s;
    lx_tensor *sum = s->steps[i].out[0], *add, *out;
    int top = maker(f, term), bottom = free_place(f, top);
    lx_node *to;

    if (bottom < 0 || term->dtype != s->steps[bottom].out[0]->dtype ||
        f->producer[lx_schedule__root(s, other)] >= bottom)
        return false;
    to = &s->steps[bottom];
    if (!(add = shaped(f, other, to->out[0])) ||
        !(out = shaped(f, sum, s->steps[top].out[0]))) {
        *no_memory = true;
        return false;
    }
    to->in[lx_op__add_operand(to->op)] = add;
    s->steps[top].out[0] = out;
    f->producer[lx_schedule__root(s, sum)] = top;
    return true;
}

static bool is_sum(const lx_node *step)
{
    return step->op == LX_OP_add && lx_tensor__same_shape(step->in[0], step->in[1]) &&
           lx_full(step->in[0])->kind != LX_TENSOR_PARAM_GRADIENT;
}

int lx_schedule__fold(lx_schedule *s, lx_error *err)
{
    /* Views made on the way are never asked for producer or uses: only roots are. */
    folding f = {s, lx_calloc(s->n_tensors + 1, sizeof(int)),
                 lx_calloc(s->n_tensors + 1, sizeof(int))};
    bool no_memory = false;
    size_t n = 0, n_forward = 0;

    if (!f.producer || !f.n_uses) {
        no_memory = true;
        goto done;
    }
    count(&f);
    for (size_t i = 0; i < s->n_steps && !no_memory; i++) {
        lx_tensor *a = s->steps[i].in[0], *b = s->steps[i].in[1];
        /* The later term can start from the earlier one, rarely the other way round. */
        if (is_sum(&s->steps[i]) &&
            (fold_into(&f, i, b, a, &no_memory) || fold_into(&f, i, a, b, &no_memory)))
            s->steps[i].op = LX_OP_VIEW; /* to be left out */
    }
    for (size_t i = 0; i < s->n_steps; i++) {
        n_forward += i < s->n_forward && s->steps[i].op != LX_OP_VIEW;
        if (s->steps[i].op != LX_OP_VIEW)
            s->steps[n++] = s->steps[i];
    }
    s->n_steps = n;
    s->n_forward = n_forward;
done:
    lx_free(f.producer);
    lx_free(f.n_uses);
    return no_memory ? lx_oom(err) : LX_OK;
}
