#include "src/graph/schedule.h"

#include <string.h>

#include "src/base/alloc.h"

void lx_schedule_release(lx_schedule *s)
{
    lx_arena_free(s->arena);
    lx_arena_free(s->base_arena);
    lx_free(s->steps);
    lx_free(s->scratch);
    lx_free(s->groups);
    lx_free(s->tensors);
    lx_free(s->root);
    lx_free(s->is_kept);
    *s = (lx_schedule){0};
}

bool lx_schedule__is_placed(const lx_schedule *s, int root)
{
    lx_tensor_kind kind = lx_full(s->tensors[root])->kind;
    return kind == LX_TENSOR_ACTIVATION || kind == LX_TENSOR_INPUT;
}

static int grow_tensors(lx_schedule *s, size_t n)
{
    if (lx_grow(&s->tensors, &s->tensors_capacity, n, sizeof *s->tensors) < 0 ||
        lx_grow(&s->root, &s->root_capacity, n, sizeof *s->root) < 0 ||
        lx_grow(&s->is_kept, &s->kept_capacity, n, sizeof *s->is_kept) < 0)
        return LX_ENOMEM;
    return LX_OK;
}

lx_tensor *lx_schedule__tensor(lx_schedule *s, const lx_tensor *t, const lx_tensor *shape,
                               int root)
{
    lx_tensor_full *copy = lx_arena_calloc(s->arena, 1, sizeof *copy);
    int id = (int)s->n_tensors;

    if (!copy || grow_tensors(s, s->n_tensors + 1) < 0)
        return NULL;
    copy->public = *shape;
    copy->public.dtype = t->dtype;
    copy->public.label = t->label;
    copy->public.id = id;
    copy->kind = LX_TENSOR_ACTIVATION;
    copy->producer = -1;
    s->tensors[id] = &copy->public;
    s->root[id] = root < 0 ? id : root;
    s->is_kept[id] = false;
    s->n_tensors++;
    return &copy->public;
}

static void know_tensors(lx_schedule *s, const lx_graph *g)
{
    for (size_t i = 0; i < g->n_tensors; i++) {
        s->tensors[i] = &g->tensors[i]->public;
        s->root[i] = (int)i;
        s->is_kept[i] = false;
    }
    s->n_tensors = g->n_tensors;
    for (size_t i = 0; i < g->n_nodes;
         i++) /* in order, so a view of a view ends at the root */
        if (g->nodes[i].op == LX_OP_VIEW)
            s->root[g->nodes[i].out[0]->id] = s->root[g->nodes[i].in[0]->id];
    for (size_t i = 0; i < g->n_outputs; i++)
        s->is_kept[lx_schedule__root(s, g->outputs[i].tensor)] = true;
}

/*
 * needed[id of a root]: someone reads it. Nodes are walked backwards, so readers come
 * first.
 */
static void find_needed(const lx_schedule *s, const lx_graph *g, bool *needed,
                        bool *is_step)
{
    for (size_t id = 0; id < s->n_tensors; id++)
        needed[id] = s->is_kept[id];
    for (size_t i = g->n_nodes; i-- > 0;) {
        const lx_node *node = &g->nodes[i];
        is_step[i] = false;
        if (node->op == LX_OP_VIEW)
            continue;
        for (int k = 0; k < node->n_out; k++) {
            const lx_tensor *out = node->out[k];
            if (out &&
                (needed[out->id] || lx_full(out)->kind == LX_TENSOR_PARAM_GRADIENT))
                is_step[i] = true;
        }
        for (int k = 0; k < node->n_in && is_step[i]; k++)
            if (node->in[k])
                needed[lx_schedule__root(s, node->in[k])] = true;
    }
}

static void take_steps(lx_schedule *s, const lx_graph *g, const bool *needed,
                       const bool *is_step)
{
    for (size_t i = 0; i < g->n_nodes; i++) {
        lx_node *step;
        if (!is_step[i])
            continue;
        step = &s->steps[s->n_steps++];
        *step = g->nodes[i];
        if (!g->has_backward || i < g->n_forward)
            s->n_forward = s->n_steps;
        for (int k = 0; k < step->n_out; k++)
            if (step->out[k] && lx_full(step->out[k])->kind == LX_TENSOR_ACTIVATION &&
                !needed[step->out[k]->id] && lx_op__is_optional_output(step->op, k))
                step->out[k] = NULL;
    }
}

int lx_schedule_init(lx_schedule *s, const lx_graph *g, lx_error *err)
{
    bool *needed = lx_calloc(g->n_tensors + 1, sizeof *needed);
    bool *is_step = lx_calloc(g->n_nodes + 1, sizeof *is_step);
    int rc;

    *s = (lx_schedule){.arena = lx_arena_new()};
    if (!needed || !is_step || !s->arena || grow_tensors(s, g->n_tensors + 1) < 0 ||
        lx_grow(&s->steps, &s->steps_capacity, g->n_nodes + 1, sizeof *s->steps) < 0) {
        rc = lx_oom(err);
        goto done;
    }
    know_tensors(s, g);
    find_needed(s, g, needed, is_step);
    take_steps(s, g, needed, is_step);
    rc = lx_schedule__fold(s, err);
done:
    if (rc < 0)
        lx_schedule_release(s);
    lx_free(needed);
    lx_free(is_step);
    return rc;
}
