/*
 * graph/graph - a computation, described before it runs
 *
 * A graph is built once per shape: inputs, frozen weights, trainable parameters, ops.
 * Then lx_graph_backward adds the reverse pass (only towards what needs a gradient),
 * lx_plan_new assigns every tensor an offset in one arena by liveness and prepares the
 * kernels, and lx_plan_run executes. Peak memory is known after lx_plan_new with
 * `dry_run`, to the byte.
 *
 * Building does not fail in the middle of a model: an op with bad shapes records the
 * first error in the graph and returns a placeholder; lx_plan_new (or lx_graph_check)
 * reports it. So model code reads like the published figure.
 *
 * Shapes are outermost first; activations are channels-last ([B, h, w, C], [B, T, C]).
 *
 * Invariants:
 * (1) A tensor is written by one op (in-place ops are the planner's business: it may
 *     alias an input that dies with the op).
 * (2) Activation gradients are written once (`=`); a fork is summed by an explicit add.
 *     Parameter gradients accumulate (`+=`) and are zeroed by the owner.
 * (3) Running allocates nothing and cannot fail before the sync that ends it.
 */
#ifndef LX_GRAPH_GRAPH_H
#define LX_GRAPH_GRAPH_H

#include "kernels/kernel.h"
#include "src/base/arena.h"
#include "src/base/error.h"

typedef struct lx_graph lx_graph;
typedef struct lx_plan lx_plan;

typedef struct lx_tensor {
    int64_t shape[LX_MAX_DIMS];
    int n_dims;
    lx_dtype dtype;
    bool needs_gradient; /* a parameter is upstream */
    int id;              /* index in the graph */
    const char *label;   /* model path of what made it; owned by the graph */
} lx_tensor;

/*
 * A frozen weight or a trainable parameter in device memory. Owned by whoever made it
 * (model or LoRA), outlives every graph and plan that names it.
 */
typedef struct lx_param {
    const char *name;
    lx_dtype dtype;
    int n_dims;
    int64_t shape[LX_MAX_DIMS];
    void *value;     /* device memory; NULL while it has a source and nobody holds it */
    float *gradient; /* device memory, same shape, f32; NULL = frozen */
    void *narrow;    /* device memory: the values as narrow_dtype too; NULL = not */
    lx_dtype narrow_dtype;
    const lx_weight_source *source; /* of a frozen one that comes to the device when it is held */
    int n_holders;
} lx_param;

size_t lx_param_bytes(const lx_param *param);
/*
 * In device memory as it is for as long as anyone holds it: plans hold what their calls read so, and what these only
 * read packed (lx_pack_get) comes from the source piece by piece. Nothing happens where there is no source.
 */
int lx_param_hold(lx_param *param, lx_device *dev, lx_error *err);
void lx_param_let_go(lx_param *param, lx_device *dev);

lx_graph *lx_graph_new(void); /* NULL: out of memory */
void lx_graph_free(lx_graph *g);
int lx_graph_check(const lx_graph *g, lx_error *err); /* the first error of building */
int lx_graph_fail(lx_graph *g, int code, const char *fmt, ...) LX_PRINTF(3, 4);

/* How products built from now on, and their gradients, are computed; at first in f32. */
void lx_graph_arithmetic(lx_graph *g, lx_arithmetic how);

/* Names used in labels, messages and traces: "a.b" while inside push(a), push(b). */
void lx_graph_push(lx_graph *g, const char *name);
void lx_graph_pop(lx_graph *g);

lx_tensor *lx_graph_input(lx_graph *g, const char *name, lx_dtype dtype, int n_dims,
                          const int64_t *shape);
/* The same tensor for the same param. */
lx_tensor *lx_graph_param(lx_graph *g, lx_param *param);
/* Keeps `t` readable after a run under `name` (outputs, traces). */
void lx_graph_output(lx_graph *g, const char *name, lx_tensor *t);

/*
 * Adds the reverse pass from `loss`, a scalar written by lx_op_loss, to every parameter
 * with a gradient buffer. Alternatively seed another tensor's gradient by hand (goldens
 * of single ops): `seed` is an input of the shape of `of`, and gradients of inputs listed
 * with lx_graph_want_gradient become outputs "grad.<input name>".
 */
int lx_graph_backward(lx_graph *g, lx_tensor *loss, lx_error *err);
int lx_graph_backward_from(lx_graph *g, lx_tensor *of, lx_tensor *seed, lx_error *err);
void lx_graph_want_gradient(lx_graph *g, lx_tensor *input);

/* ---- plan -------------------------------------------------------------------------- */

typedef struct lx_plan_options {
    bool dry_run; /* sizes only: no memory is taken, run is not allowed */
    /* of the arena: recompute until it fits, or LX_ELIMIT; 0 = no limit */
    size_t max_bytes;
    /* without max_bytes: recompute what makes the arena smaller for this share of a run */
    double spare;
    lx_plan *arena_of; /* share the arena of this plan; NULL = own */
} lx_plan_options;

typedef struct lx_plan_memory {
    size_t arena_bytes;   /* activations, gradients, scratch: one allocation */
    size_t scratch_bytes; /* of which scratch */
    size_t packed_bytes;  /* packed copies of frozen weights made for this plan */
    size_t weight_bytes;  /* frozen weights that calls read as they are, where a device holds them only then */
    size_t n_calls, n_recomputed;
    double flops; /* of one run, from shapes; see src/graph/flops.c */
} lx_plan_memory;

/*
 * The plan borrows the graph and the device. Plans that never run at the same time may
 * share an arena through options->arena_of: make the largest first; a plan that does not
 * fit it takes an arena of its own.
 */
int lx_plan_new(lx_plan **out, lx_graph *g, lx_device *dev,
                const lx_plan_options *options, lx_error *err);
/* Memory for a plan made by a dry run, which can run then; NULL: an arena of its own. After an error
 * it can only be freed. */
int lx_plan_take(lx_plan *plan, lx_plan *arena_of, lx_error *err);
void lx_plan_free(lx_plan *plan);
lx_plan_memory lx_plan_memory_of(const lx_plan *plan);

/*
 * Host to input / output to host, by name; bytes must match the tensor. An input keeps
 * its value from run to run, unless another plan ran in the shared arena.
 */
int lx_plan_set(lx_plan *plan, const char *input, const void *data, size_t bytes,
                lx_error *err);
int lx_plan_get(lx_plan *plan, const char *output, void *data, size_t bytes,
                lx_error *err);
/* For its shape; NULL = no such output. */
const lx_tensor *lx_plan_output(const lx_plan *plan, const char *output);

int lx_plan_run(lx_plan *plan, lx_error *err); /* all calls, then sync */
/*
 * The same without the sync, on a device that queues; others have done it when this returns. An output
 * may be asked for by a ticket before the next run overwrites it, and had with the device's take
 * (kernels/kernel.h).
 */
int lx_plan_queue(lx_plan *plan, lx_error *err);
/* Device memory of an input, for what else is queued before a run; NULL = there is none. */
void *lx_plan_input(const lx_plan *plan, const char *input);
int lx_plan_get_queued(lx_plan *plan, const char *output, size_t bytes, uint64_t *ticket,
                       lx_error *err);

/*
 * Where the time goes: while on, every call is followed by a sync and timed on its own.
 * Turning it on starts from zero; off (the default) costs nothing and keeps the numbers
 * readable.
 */
typedef struct lx_profile_row {
    lx_op_id op;
    const char *label; /* of one call; "" in sums */
    size_t n_calls, n_runs;
    double seconds, cpu_seconds; /* of all runs; cpu: of all threads */
    double flops, bytes;         /* of all runs; bytes of operands and results */
} lx_profile_row;

int lx_plan_profile(lx_plan *plan, bool is_on, lx_error *err);
lx_profile_row lx_plan_profile_row(const lx_plan *plan, size_t call); /* call < n_calls */
/* Operations of a call, from its shapes (flops.c), and bytes of its operands and results, each once. */
double lx_call_flops(const lx_call *call);
double lx_call_bytes(const lx_call *call);
void lx_plan_profile_by_op(const lx_plan *plan, lx_profile_row rows[LX_OP_COUNT]);

/*
 * How long a run will take, without one: calls that differ in nothing but their addresses are of one kind, and one of
 * each kind is run alone, on memory of its own and the real weights, the dearest kinds first, until `budget` seconds
 * are spent (one kind at least). Kinds that are left take the rate of what was timed of their op, or of all. Works on
 * a dry plan. low and high sum the fastest and the slowest that was seen of each kind.
 */
typedef struct lx_plan_timing {
    double seconds, low, high; /* of one run */
    double share;              /* of the seconds: in kinds that were timed */
    size_t n_kinds, n_timed;
    bool is_busy; /* other programs had the processors meanwhile; low is without them */
} lx_plan_timing;
int lx_plan_measure(lx_plan_timing *out, const lx_plan *plan, double budget, lx_error *err);

#endif
