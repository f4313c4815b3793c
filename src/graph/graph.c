#include "src/graph/node.h"

#include <stdio.h>
#include <string.h>

#include "src/base/alloc.h"

lx_graph *lx_graph_new(void)
{
    lx_graph *g = lx_calloc(1, sizeof *g);
    lx_tensor_full *placeholder;

    if (!g)
        return NULL;
    g->label = "";
    if (!(g->arena = lx_arena_new()) ||
        !(placeholder = lx_arena_calloc(g->arena, 1, sizeof *placeholder))) {
        lx_graph_free(g);
        return NULL;
    }
    /*
     * Model code reads shapes of what it built: all ones is harmless to divide by and to
     * split.
     */
    placeholder->public =
        (lx_tensor){.n_dims = 4, .dtype = LX_F32, .id = -1, .label = ""};
    for (int i = 0; i < LX_MAX_DIMS; i++)
        placeholder->public.shape[i] = 1;
    placeholder->producer = -1;
    g->placeholder = &placeholder->public;
    return g;
}

void lx_graph_free(lx_graph *g)
{
    if (!g)
        return;
    lx_arena_free(g->arena);
    lx_free(g->tensors);
    lx_free(g->nodes);
    lx_free(g->inputs);
    lx_free(g->outputs);
    lx_free(g->params);
    lx_free(g->scopes);
    lx_free(g);
}

/* ---- errors ------------------------------------------------------------------------ */

bool lx_graph__broken(const lx_graph *g)
{
    return g->error.code != LX_OK;
}

int lx_graph_check(const lx_graph *g, lx_error *err)
{
    return g->error.code ? lx_fail(err, g->error.code, "%s", g->error.text) : LX_OK;
}

static int fail_va(lx_graph *g, int code, const char *fmt, va_list args)
{
    if (lx_graph__broken(g))
        return g->error.code;
    g->error.code = code;
    vsnprintf(g->error.text, sizeof g->error.text, fmt, args);
    if (g->label[0])
        lx_within(&g->error, "%s", g->label);
    return code;
}

int lx_graph_fail(lx_graph *g, int code, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    code = fail_va(g, code, fmt, args);
    va_end(args);
    return code;
}

static lx_tensor *out_of_memory(lx_graph *g)
{
    if (!lx_graph__broken(g))
        lx_oom(&g->error);
    return g->placeholder;
}

lx_tensor *lx_graph__mismatch(lx_graph *g, const char *op, const char *a_name,
                              const lx_tensor *a, const char *b_name, const lx_tensor *b,
                              const char *fmt, ...)
{
    char a_text[LX_SHAPE_TEXT], b_text[LX_SHAPE_TEXT], reason[256];
    va_list args;

    va_start(args, fmt);
    vsnprintf(reason, sizeof reason, fmt, args);
    va_end(args);
    lx_tensor__text(a_text, a);
    if (b)
        lx_graph_fail(g, LX_EMISMATCH, "%s: %s is %s, %s is %s: %s", op, a_name, a_text,
                      b_name, lx_tensor__text(b_text, b), reason);
    else
        lx_graph_fail(g, LX_EMISMATCH, "%s: %s is %s: %s", op, a_name, a_text, reason);
    return g->placeholder;
}

/* ---- scopes ------------------------------------------------------------------------ */

void lx_graph_arithmetic(lx_graph *g, lx_arithmetic how)
{
    g->arithmetic = how;
}

void lx_graph_push(lx_graph *g, const char *name)
{
    const char *label;

    if (lx_graph__broken(g))
        return;
    label = g->label[0] ? lx_arena_printf(g->arena, "%s.%s", g->label, name)
                        : lx_arena_strdup(g->arena, name);
    if (!label || lx_grow(&g->scopes, &g->scopes_capacity, g->n_scopes + 1,
                          sizeof *g->scopes) < 0) {
        out_of_memory(g);
        return;
    }
    g->scopes[g->n_scopes++] = label;
    g->label = label;
}

void lx_graph_pop(lx_graph *g)
{
    if (lx_graph__broken(
            g)) /* the label of the error stays; pushes are no longer counted */
        return;
    lx_assert(g->n_scopes > 0);
    g->n_scopes--;
    g->label = g->n_scopes ? g->scopes[g->n_scopes - 1] : "";
}

/* ---- tensors ----------------------------------------------------------------------- */

int64_t lx_tensor__count(const lx_tensor *t)
{
    int64_t n = 1;
    for (int i = 0; i < t->n_dims; i++)
        n *= t->shape[i];
    return n;
}

size_t lx_tensor__bytes(const lx_tensor *t)
{
    return (size_t)lx_tensor__count(t) * (size_t)lx_dtype_bits(t->dtype) / 8;
}

bool lx_tensor__same_shape(const lx_tensor *a, const lx_tensor *b)
{
    return a->n_dims == b->n_dims &&
           memcmp(a->shape, b->shape, (size_t)a->n_dims * sizeof a->shape[0]) == 0;
}

int64_t lx_tensor__last(const lx_tensor *t)
{
    return t->n_dims ? t->shape[t->n_dims - 1] : 1;
}

const char *lx_tensor__text(char text[LX_SHAPE_TEXT], const lx_tensor *t)
{
    size_t n;

    if (!t)
        return strcpy(text, "absent");
    snprintf(text, LX_SHAPE_TEXT, "%s [", lx_dtype_name(t->dtype));
    for (int i = 0; i < t->n_dims; i++) {
        n = strlen(text);
        snprintf(text + n, LX_SHAPE_TEXT - n, i ? ", %lld" : "%lld",
                 (long long)t->shape[i]);
    }
    n = strlen(text);
    snprintf(text + n, LX_SHAPE_TEXT - n, "]");
    return text;
}

/*
 * Sizes come from files and flags: what does not fit in memory's own type is refused
 * here.
 */
static bool is_sound_shape(lx_dtype dtype, int n_dims, const int64_t *shape)
{
    size_t bytes = 1;

    if (n_dims < 0 || n_dims > LX_MAX_DIMS || lx_dtype_bits(dtype) < 8)
        return false;
    for (int i = 0; i < n_dims; i++)
        if (shape[i] < 1 || !lx_mul_size(&bytes, bytes, (size_t)shape[i]))
            return false;
    return lx_mul_size(&bytes, bytes, (size_t)lx_dtype_bits(dtype) / 8) &&
           bytes <= PTRDIFF_MAX / 4;
}

static lx_tensor_full *new_tensor(lx_graph *g, lx_tensor_kind kind, lx_dtype dtype,
                                  int n_dims, const int64_t *shape)
{
    lx_tensor_full *t = lx_arena_calloc(g->arena, 1, sizeof *t);

    if (!t || lx_grow(&g->tensors, &g->tensors_capacity, g->n_tensors + 1,
                      sizeof *g->tensors) < 0) {
        out_of_memory(g);
        return NULL;
    }
    t->kind = kind;
    t->producer = -1;
    t->public.dtype = dtype;
    t->public.n_dims = n_dims;
    for (int i = 0; i < LX_MAX_DIMS; i++)
        t->public.shape[i] = i < n_dims ? shape[i] : 1;
    t->public.id = (int)g->n_tensors;
    t->public.label = g->label;
    g->tensors[g->n_tensors++] = t;
    return t;
}

/* As new_tensor, for shapes from outside; the placeholder after an error. */
static lx_tensor *checked_tensor(lx_graph *g, lx_tensor_kind kind, const char *what,
                                 lx_dtype dtype, int n_dims, const int64_t *shape)
{
    lx_tensor_full *t;

    if (lx_graph__broken(g))
        return g->placeholder;
    if (!is_sound_shape(dtype, n_dims, shape)) {
        lx_tensor bad = {.dtype = dtype, .n_dims = n_dims};
        char text[LX_SHAPE_TEXT];
        if (n_dims < 0 || n_dims > LX_MAX_DIMS) {
            lx_graph_fail(g, LX_EMISMATCH, "%s: %d dimensions, at most %d are possible",
                          what, n_dims, LX_MAX_DIMS);
            return g->placeholder;
        }
        memcpy(bad.shape, shape, (size_t)n_dims * sizeof *shape);
        lx_graph_fail(g, LX_EMISMATCH,
                      "%s: a tensor %s is empty, of an unusable type or too large", what,
                      lx_tensor__text(text, &bad));
        return g->placeholder;
    }
    t = new_tensor(g, kind, dtype, n_dims, shape);
    return t ? &t->public : g->placeholder;
}

lx_tensor *lx_graph__tensor(lx_graph *g, lx_dtype dtype, int n_dims, const int64_t *shape)
{
    return checked_tensor(g, LX_TENSOR_ACTIVATION, "result", dtype, n_dims, shape);
}

lx_tensor *lx_graph__like(lx_graph *g, const lx_tensor *t)
{
    return lx_graph__tensor(g, t->dtype, t->n_dims, t->shape);
}

static const lx_graph_name *find_name(const lx_graph_name *names, size_t n,
                                      const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(names[i].name, name) == 0)
            return &names[i];
    return NULL;
}

static void add_name(lx_graph *g, lx_graph_name **names, size_t *n, size_t *capacity,
                     const char *what, const char *name, lx_tensor *t)
{
    const char *copy;

    if (lx_graph__broken(g))
        return;
    if (find_name(*names, *n, name)) {
        lx_graph_fail(g, LX_EINTERNAL, "two %ss are named %s", what, name);
        return;
    }
    if (!(copy = lx_arena_strdup(g->arena, name)) ||
        lx_grow(names, capacity, *n + 1, sizeof **names) < 0) {
        out_of_memory(g);
        return;
    }
    (*names)[(*n)++] = (lx_graph_name){copy, t};
}

lx_tensor *lx_graph_input(lx_graph *g, const char *name, lx_dtype dtype, int n_dims,
                          const int64_t *shape)
{
    lx_tensor *t = checked_tensor(g, LX_TENSOR_INPUT, name, dtype, n_dims, shape);

    add_name(g, &g->inputs, &g->n_inputs, &g->inputs_capacity, "input", name, t);
    return t;
}

void lx_graph_output(lx_graph *g, const char *name, lx_tensor *t)
{
    add_name(g, &g->outputs, &g->n_outputs, &g->outputs_capacity, "output", name, t);
}

lx_tensor *lx_graph_param(lx_graph *g, lx_param *param)
{
    lx_tensor *t;

    if (lx_graph__broken(g))
        return g->placeholder;
    for (size_t i = 0; i < g->n_params; i++)
        if (lx_full(g->params[i])->param == param)
            return g->params[i];
    t = checked_tensor(g, LX_TENSOR_PARAM, param->name, param->dtype, param->n_dims,
                       param->shape);
    if (lx_graph__broken(g))
        return t;
    if (lx_grow(&g->params, &g->params_capacity, g->n_params + 1, sizeof *g->params) < 0)
        return out_of_memory(g);
    g->params[g->n_params++] = t;
    lx_full(t)->param = param;
    t->needs_gradient = param->gradient != NULL;
    t->label = param->name;
    return t;
}

void lx_graph_want_gradient(lx_graph *g, lx_tensor *input)
{
    if (lx_graph__broken(g))
        return;
    if (lx_full(input)->kind != LX_TENSOR_INPUT) {
        lx_graph_fail(g, LX_EINTERNAL, "want_gradient: tensor %d of %s is not an input",
                      input->id, input->label);
        return;
    }
    lx_full(input)->is_wanted = true;
    input->needs_gradient = true;
}

/* ---- nodes ------------------------------------------------------------------------- */

lx_tensor *lx_graph__emit(lx_graph *g, const lx_node *node)
{
    bool needs_gradient = false;
    int index = (int)g->n_nodes;
    lx_node *copy;

    if (lx_graph__broken(g))
        return g->placeholder;
    if (lx_grow(&g->nodes, &g->nodes_capacity, g->n_nodes + 1, sizeof *g->nodes) < 0)
        return out_of_memory(g);
    copy = &g->nodes[g->n_nodes++];
    *copy = *node;
    copy->label = g->label;
    for (int i = 0; i < copy->n_in; i++)
        needs_gradient |= copy->in[i] && copy->in[i]->needs_gradient;
    for (int i = 0; i < copy->n_out; i++) {
        lx_tensor *out = copy->out[i];
        if (!out || lx_full(out)->kind != LX_TENSOR_ACTIVATION)
            continue;
        lx_assert(lx_full(out)->producer < 0); /* invariant (1) of graph.h */
        lx_full(out)->producer = index;
        out->needs_gradient = needs_gradient && copy->gradient;
    }
    return copy->out[0];
}
