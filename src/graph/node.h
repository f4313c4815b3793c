/*
 * graph/node - what a graph is made of, for the files of this folder
 *
 * A node is one op applied to tensors; nodes stand in the order they were built, which is
 * the order they run in, the reverse pass after the forward pass. A reshape is a node
 * too, without an op: the planner gives it the bytes of its input.
 *
 * An op's file under op/ has its builder, its shape rule and its gradient rule. A builder
 * looks like
 *
 *     lx_tensor *lx_op_silu(lx_graph *g, lx_tensor *x)
 *     {
 *         return lx_graph__emit(g, &(lx_node){.op = LX_OP_silu, .n_in = 1, .in = {x},
 *         ...});
 *     }
 *
 * and lx_graph__emit does what all have in common. A gradient rule reads the gradients of
 * its node's outputs and gives one to each input that wants one; a sum over several uses
 * is the business of lx_gradient__give.
 */
#ifndef LX_GRAPH_NODE_H
#define LX_GRAPH_NODE_H

#include "src/graph/graph.h"

typedef struct lx_node lx_node;
typedef void (*lx_gradient_rule)(lx_graph *g, const lx_node *node);

enum { LX_OP_VIEW = LX_OP_COUNT }; /* the op of a reshape */

struct lx_node {
    int op; /* an lx_op_id or LX_OP_VIEW */
    int n_in, n_out;
    lx_tensor *in[LX_CALL_MAX_IN];   /* NULL: absent */
    lx_tensor *out[LX_CALL_MAX_OUT]; /* NULL: absent */
    lx_attrs attrs;
    lx_gradient_rule gradient; /* NULL: none flows through, whatever the inputs need */
    const char *label;
};

typedef enum lx_tensor_kind {
    LX_TENSOR_ACTIVATION,    /* written by a node, lives in the arena */
    LX_TENSOR_INPUT,         /* written by lx_plan_set, in the arena for good */
    LX_TENSOR_PARAM,         /* param->value */
    LX_TENSOR_PARAM_GRADIENT /* param->gradient */
} lx_tensor_kind;

/* The whole of a tensor; `public` comes first, so that one pointer serves both. */
typedef struct lx_tensor_full {
    lx_tensor public;
    lx_tensor_kind kind;
    lx_param *param;          /* PARAM and PARAM_GRADIENT */
    int producer;             /* the node that writes it; -1: none */
    bool is_wanted;           /* lx_graph_want_gradient */
    lx_tensor *gradient;      /* while the reverse pass is built: the sum so far */
    lx_tensor *gradient_sink; /* PARAM: of param->gradient, when first needed */
} lx_tensor_full;

typedef struct lx_graph_name {
    const char *name;
    lx_tensor *tensor;
} lx_graph_name;

struct lx_graph {
    lx_arena *arena;
    lx_tensor_full **tensors;
    size_t n_tensors, tensors_capacity;
    lx_node *nodes;
    size_t n_nodes, nodes_capacity;
    lx_graph_name *inputs, *outputs;
    size_t n_inputs, inputs_capacity, n_outputs, outputs_capacity;
    lx_tensor **params; /* in order of first use */
    size_t n_params, params_capacity;
    const char **scopes; /* labels of the open scopes, outermost first */
    size_t n_scopes, scopes_capacity;
    const char *label;        /* of what is built now */
    lx_arithmetic arithmetic; /* of products built now */
    lx_tensor *placeholder;
    bool has_backward;
    size_t n_forward; /* nodes before the reverse pass, when there is one */
    lx_error error;   /* the first; code 0 = none */
};

static inline lx_tensor_full *lx_full(const lx_tensor *t)
{
    return (lx_tensor_full *)(uintptr_t)t;
}

/*
 * True after the first error: builders then return the placeholder without looking
 * further.
 */
bool lx_graph__broken(const lx_graph *g);

/* A new activation. Its shape is checked (no negative size, the bytes fit a size_t). */
lx_tensor *lx_graph__tensor(lx_graph *g, lx_dtype dtype, int n_dims,
                            const int64_t *shape);
lx_tensor *lx_graph__like(lx_graph *g, const lx_tensor *t);

/*
 * Appends a node: its label is the scope that is open now, outputs learn their producer
 * and whether a parameter is upstream. Returns out[0], or the placeholder after an error.
 */
lx_tensor *lx_graph__emit(lx_graph *g, const lx_node *node);

/*
 * Errors of builders: "LABEL: OP: x is F32 [2, 3], w is F32 [4, 5]: REASON". b may be
 * NULL.
 */
lx_tensor *lx_graph__mismatch(lx_graph *g, const char *op, const char *a_name,
                              const lx_tensor *a, const char *b_name, const lx_tensor *b,
                              const char *fmt, ...) LX_PRINTF(7, 8);

int64_t lx_tensor__count(const lx_tensor *t);
size_t lx_tensor__bytes(const lx_tensor *t);
bool lx_tensor__same_shape(const lx_tensor *a, const lx_tensor *b);
int64_t lx_tensor__last(const lx_tensor *t); /* size of the last dimension */
/* "F32 [2, 77, 768]" into a caller's buffer, returned. */
enum { LX_SHAPE_TEXT = 192 };
const char *lx_tensor__text(char text[LX_SHAPE_TEXT], const lx_tensor *t);

/* ---- for gradient rules ------------------------------------------------------------ */

/* The gradient of an output, NULL when nothing downstream gave one. */
lx_tensor *lx_gradient__of(const lx_tensor *out);
/* Whether anyone wants the gradient of t (false for NULL). */
bool lx_gradient__wanted(const lx_tensor *t);
/* One more term of the gradient of t; of its shape. Adds when there is one already. */
void lx_gradient__give(lx_graph *g, lx_tensor *t, lx_tensor *term);
/* Where kernels add (+=) the gradient of a trainable parameter; NULL if t is not one. */
lx_tensor *lx_gradient__sink(lx_graph *g, lx_tensor *t);
bool lx_gradient__has_sink(const lx_tensor *t);
/*
 * A weight for the reverse pass: what a hadamard made is made again there, through views and casts of
 * it, so that no matrix of a layer's size is kept between the two passes. Anything else is itself.
 */
lx_tensor *lx_gradient__again(lx_graph *g, lx_tensor *w);

/* ---- facts about ops --------------------------------------------------------------- */

/* Bit i: out[0] may take the place of in[i]; see the head of kernels/kernel.h. */
unsigned lx_op__overwritable(const lx_node *node);
/* Index of the `add?` operand of an op that has one, else -1. */
int lx_op__add_operand(int op);
/* Whether the kernel accepts that output `i` is absent. */
bool lx_op__is_optional_output(int op, int i);
/* Of one call, from its shapes; see flops.c. */
double lx_op__flops(const lx_node *node);

#endif
