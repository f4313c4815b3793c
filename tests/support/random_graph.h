/*
 * support/random_graph - networks of random ops, for properties of plans
 *
 * Every value is [2, 4, 8]; ops, forks, views and residuals are drawn from a seed.
 * Weights are frozen but for LoRA-like pairs. The gradient is seeded by the input "seed".
 */
#ifndef LX_TESTS_RANDOM_GRAPH_H
#define LX_TESTS_RANDOM_GRAPH_H

#include "src/graph/op.h"

enum { LX_RANDOM_VALUES = 2 * 4 * 8, LX_RANDOM_PARAMS = 8 };

typedef struct lx_random_graph {
    lx_graph *graph;
    float weights[LX_RANDOM_PARAMS][64], gradients[LX_RANDOM_PARAMS][64];
    lx_param params[LX_RANDOM_PARAMS];
    float x[2][LX_RANDOM_VALUES], seed[LX_RANDOM_VALUES]; /* of the inputs */
} lx_random_graph;

/*
 * Outputs "y" and "grad.x0"; with `all_kept` every value is an output, so nothing is
 * shared.
 */
void lx_random_graph_init(lx_random_graph *r, uint64_t seed, int n_ops, bool all_kept);
void lx_random_graph_release(lx_random_graph *r);

/* Sets the inputs, zeroes gradients, runs; y and dx of LX_RANDOM_VALUES. */
void lx_random_graph_run(lx_random_graph *r, lx_plan *plan, float *y, float *dx);

#endif
