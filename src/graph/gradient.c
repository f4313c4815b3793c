/*
 * graph/gradient - the reverse pass
 *
 * Forward nodes are visited last to first; a node with a gradient on any output runs its
 * rule. At that moment every use of its outputs has been visited, so their sums are
 * complete. Rules only build nodes for inputs that have a parameter upstream, so nothing
 * is computed for frozen weights and the forward pass keeps nothing for them (an
 * activation no node reads any more dies at once).
 *
 * A tensor used more than once gets its terms in the order of the visit, each summed by
 * an add. The planner folds most of these into the op that made the term (fold.c).
 */
#include "src/graph/node.h"

#include <string.h>

#include "src/graph/op.h"

lx_tensor *lx_gradient__of(const lx_tensor *out)
{
    return out ? lx_full(out)->gradient : NULL;
}

bool lx_gradient__wanted(const lx_tensor *t)
{
    return t && t->needs_gradient;
}

bool lx_gradient__has_sink(const lx_tensor *t)
{
    return lx_full(t)->kind == LX_TENSOR_PARAM;
}

lx_tensor *lx_gradient__again(lx_graph *g, lx_tensor *w)
{
    const int producer = lx_full(w)->producer;
    lx_tensor *from;
    lx_node node;

    if (producer < 0 || lx_graph__broken(g))
        return w;
    node = g->nodes[producer];
    if (node.op == LX_OP_VIEW || node.op == LX_OP_cast) {
        if ((from = lx_gradient__again(g, node.in[0])) == node.in[0])
            return w;
        node.in[0] = from;
    } else if (node.op != LX_OP_hadamard) {
        return w;
    }
    node.out[0] = lx_graph__like(g, w);
    node.gradient = NULL;
    return lx_graph__emit(g, &node);
}

lx_tensor *lx_gradient__sink(lx_graph *g, lx_tensor *t)
{
    lx_tensor_full *full;
    lx_tensor *sink;

    if (!lx_gradient__wanted(t))
        return NULL;
    full = lx_full(t);
    if (full->kind != LX_TENSOR_PARAM) {
        char text[LX_SHAPE_TEXT];
        lx_graph_fail(
            g, LX_EUNSUPPORTED,
            "the weight %s is neither frozen nor a parameter: no gradient for it",
            lx_tensor__text(text, t));
        return NULL;
    }
    if (full->gradient_sink)
        return full->gradient_sink;
    sink = lx_graph__tensor(g, LX_F32, t->n_dims, t->shape);
    if (lx_graph__broken(g))
        return NULL;
    lx_full(sink)->kind = LX_TENSOR_PARAM_GRADIENT;
    lx_full(sink)->param = full->param;
    sink->label = full->param->name;
    full->gradient_sink = sink;
    return sink;
}

/* A parameter used where no op has a += of its own: param->gradient += term. */
static void give_param(lx_graph *g, lx_tensor *param, lx_tensor *term)
{
    lx_tensor *sink = lx_gradient__sink(g, param);
    if (!sink)
        return;
    if (term->dtype != LX_F32)
        term = lx_op_cast(g, term, LX_F32);
    if (!lx_tensor__same_shape(term, sink))
        term = lx_op_reshape(g, term, sink->n_dims, sink->shape);
    lx_graph__emit(g, &(lx_node){
                          .op = LX_OP_add,
                          .n_in = 2,
                          .in = {sink, term},
                          .n_out = 1,
                          .out = {sink},
                      });
}

void lx_gradient__give(lx_graph *g, lx_tensor *t, lx_tensor *term)
{
    lx_tensor_full *full;

    if (!lx_gradient__wanted(t) || lx_graph__broken(g))
        return;
    full = lx_full(t);
    if (full->kind == LX_TENSOR_PARAM)
        give_param(g, t, term);
    else
        full->gradient = full->gradient ? lx_op_add(g, full->gradient, term) : term;
}

/* Inputs may have been asked for after ops were built on them. */
static void find_who_needs_gradients(lx_graph *g)
{
    for (size_t i = 0; i < g->n_nodes; i++) {
        lx_node *node = &g->nodes[i];
        bool needed = false;
        for (int k = 0; k < node->n_in; k++)
            needed |= node->in[k] && node->in[k]->needs_gradient;
        for (int k = 0; k < node->n_out; k++)
            if (node->out[k])
                node->out[k]->needs_gradient = needed && node->gradient;
    }
}

static bool has_gradient(const lx_node *node)
{
    for (int k = 0; k < node->n_out; k++)
        if (lx_gradient__of(node->out[k]))
            return true;
    return false;
}

static void reverse(lx_graph *g, size_t n_forward)
{
    const char *label = g->label;

    for (size_t i = n_forward; i-- > 0 && !lx_graph__broken(g);) {
        lx_node node = g->nodes[i]; /* a copy: the array grows under the rule */
        if (!node.gradient || !has_gradient(&node))
            continue;
        g->label = node.label;
        node.gradient(g, &node);
    }
    if (!lx_graph__broken(g))
        g->label = label;
}

static void output_wanted(lx_graph *g)
{
    for (size_t i = 0; i < g->n_inputs && !lx_graph__broken(g); i++) {
        lx_tensor *input = g->inputs[i].tensor;
        const char *name;
        if (!lx_full(input)->is_wanted)
            continue;
        if (!lx_full(input)->gradient)
            lx_graph_fail(g, LX_EMISMATCH, "no gradient reaches input %s",
                          g->inputs[i].name);
        else if ((name = lx_arena_printf(g->arena, "grad.%s", g->inputs[i].name)))
            lx_graph_output(g, name, lx_full(input)->gradient);
        else
            lx_oom(&g->error);
    }
}

static int check_once(lx_graph *g)
{
    if (g->has_backward)
        lx_graph_fail(g, LX_EINTERNAL, "the reverse pass is there already");
    g->has_backward = true;
    g->n_forward = g->n_nodes;
    return g->error.code;
}

int lx_graph_backward(lx_graph *g, lx_tensor *loss, lx_error *err)
{
    size_t n_forward = g->n_nodes;
    lx_node node;

    if (lx_graph__broken(g) || check_once(g) < 0)
        return lx_graph_check(g, err);
    if (lx_full(loss)->producer < 0 ||
        g->nodes[lx_full(loss)->producer].op != LX_OP_loss) {
        lx_graph_fail(g, LX_EINTERNAL, "backward starts from what lx_op_loss gave");
        return lx_graph_check(g, err);
    }
    find_who_needs_gradients(g);
    node = g->nodes[lx_full(loss)->producer];
    if (!node.in[0]->needs_gradient) {
        lx_graph_fail(g, LX_EMISMATCH, "the loss depends on no trainable parameter");
        return lx_graph_check(g, err);
    }
    lx_gradient__give(g, node.in[0],
                      node.out[1]); /* the kernel of the loss has made it */
    reverse(g, n_forward);
    output_wanted(g);
    return lx_graph_check(g, err);
}

int lx_graph_backward_from(lx_graph *g, lx_tensor *of, lx_tensor *seed, lx_error *err)
{
    size_t n_forward = g->n_nodes;

    if (lx_graph__broken(g) || check_once(g) < 0)
        return lx_graph_check(g, err);
    find_who_needs_gradients(g);
    if (!lx_tensor__same_shape(of, seed) || of->dtype != seed->dtype)
        lx_graph__mismatch(g, "backward_from", "the tensor", of, "its seed", seed,
                           "they must be alike");
    else if (!of->needs_gradient)
        lx_graph__mismatch(g, "backward_from", "the tensor", of, NULL, NULL,
                           "it depends on nothing that wants a gradient");
    lx_gradient__give(g, of, seed);
    reverse(g, n_forward);
    output_wanted(g);
    return lx_graph_check(g, err);
}
