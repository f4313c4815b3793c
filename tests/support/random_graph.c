#include "tests/support/random_graph.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "src/base/rng.h"

enum { SQUARE, SQUARE_TOO, DOWN, UP, NORM_W, NORM_B, FACTOR, FACTOR_TOO };

static const int64_t shape[] = {2, 4, 8}, flat[] = {8, 8};

static void draw_weights(lx_random_graph *r, uint64_t seed)
{
    static const lx_param kinds[LX_RANDOM_PARAMS] = {
        {.name = "square", .dtype = LX_F32, .n_dims = 2, .shape = {8, 8}},
        {.name = "square_too", .dtype = LX_F32, .n_dims = 2, .shape = {8, 8}},
        {.name = "down", .dtype = LX_F32, .n_dims = 2, .shape = {2, 8}},
        {.name = "up", .dtype = LX_F32, .n_dims = 2, .shape = {8, 2}},
        {.name = "norm_w", .dtype = LX_F32, .n_dims = 1, .shape = {8}},
        {.name = "norm_b", .dtype = LX_F32, .n_dims = 1, .shape = {8}},
        {.name = "factor", .dtype = LX_F32, .n_dims = 1, .shape = {2}},
        {.name = "factor_too", .dtype = LX_F32, .n_dims = 1, .shape = {2}},
    };
    lx_rng stream = lx_rng_stream(seed, LX_RNG_TEST, 1, 0);

    lx_rng_normal(&r->weights[0][0], LX_RANDOM_PARAMS * 64, 0, &stream);
    for (int i = 0; i < LX_RANDOM_PARAMS; i++) {
        for (int k = 0; k < 64; k++)
            r->weights[i][k] *= 0.35f; /* about 1/sqrt(8): values keep their size */
        r->params[i] = kinds[i];
        r->params[i].value = r->weights[i];
    }
    r->params[DOWN].gradient = r->gradients[DOWN];
    r->params[UP].gradient = r->gradients[UP];
    stream = lx_rng_stream(seed, LX_RNG_TEST, 2, 0);
    lx_rng_normal(r->x[0], LX_RANDOM_VALUES, 0, &stream);
    lx_rng_normal(r->x[1], LX_RANDOM_VALUES, LX_RANDOM_VALUES, &stream);
    lx_rng_normal(r->seed, LX_RANDOM_VALUES, 2 * LX_RANDOM_VALUES, &stream);
}

static lx_tensor *one_op(lx_random_graph *r, lx_rng *rng, lx_tensor *a, lx_tensor *b)
{
    lx_graph *g = r->graph;
    lx_tensor *w[LX_RANDOM_PARAMS], *t;

    for (int i = 0; i < LX_RANDOM_PARAMS; i++)
        w[i] = lx_graph_param(g, &r->params[i]);
    switch (lx_rng_below(rng, 14)) {
    case 0:
        return lx_op_silu(g, a);
    case 1:
        return lx_op_gelu(g, a);
    case 2:
        return lx_op_add(g, a, b);
    case 3:
        return lx_op_scale(g, a, 0.5f);
    case 4:
        return lx_op_layer_norm(g, a, w[NORM_W], w[NORM_B], 1e-5f);
    case 5: /* a residual around a product */
        return lx_op_add(g, b, lx_op_linear(g, a, w[SQUARE], NULL, 1));
    case 6: /* LoRA, then a residual */
        t = lx_op_linear(g, a, w[SQUARE_TOO], NULL, 1);
        t = lx_op_linear_add(g, lx_op_linear(g, a, w[DOWN], NULL, 1), w[UP], t, 0.5f);
        return lx_op_add(g, t, b);
    case 7:
        return lx_op_attention(g, a, b, lx_op_linear(g, b, w[SQUARE], NULL, 1), 2, false);
    case 8:
        return lx_op_group_norm(g, a, w[NORM_W], w[NORM_B], 2, 1e-5f, true);
    case 9: /* a residual through a view */
        t = lx_op_linear(g, lx_op_reshape(g, a, 2, flat), w[SQUARE], NULL, 1);
        return lx_op_add(g, b, lx_op_reshape(g, t, 3, shape));
    case 10:
        return lx_op_slice(g, lx_op_concat(g, a, b), 2, 4, 12);
    case 11:
        return lx_op_softmax(g, a);
    case 12:
        return lx_op_geglu(g, lx_op_concat(g, a, b));
    default:
        return lx_op_mul_add(g, w[FACTOR], a, w[FACTOR_TOO], b);
    }
}

void lx_random_graph_init(lx_random_graph *r, uint64_t seed, int n_ops, bool all_kept)
{
    lx_rng rng = lx_rng_stream(seed, LX_RNG_TEST, 3, 0);
    lx_tensor *values[256], *y, *s;
    lx_error err = {0};
    int n = 0;

    memset(r, 0, sizeof *r);
    draw_weights(r, seed);
    r->graph = lx_graph_new();
    values[n++] = lx_graph_input(r->graph, "x0", LX_F32, 3, shape);
    values[n++] = lx_graph_input(r->graph, "x1", LX_F32, 3, shape);
    lx_graph_want_gradient(r->graph, values[0]);
    assert_true(n_ops < 250);
    for (int i = 0; i < n_ops; i++) {
        /* mostly the newest values, so that most die soon and some live long */
        int recent = n < 4 ? n : 4;
        lx_tensor *a = values[n - 1 - (int)lx_rng_below(&rng, (uint64_t)recent)];
        lx_tensor *b = values[lx_rng_below(&rng, (uint64_t)n)];
        char scope[32];
        snprintf(scope, sizeof scope, "op%d", i);
        lx_graph_push(r->graph, scope);
        values[n++] = one_op(r, &rng, a, b);
        lx_graph_pop(r->graph);
        if (all_kept)
            lx_graph_output(r->graph, scope, values[n - 1]);
    }
    y = lx_op_add(r->graph, values[n - 1], lx_op_silu(r->graph, values[0]));
    lx_graph_output(r->graph, "y", y);
    s = lx_graph_input(r->graph, "seed", LX_F32, 3, shape);
    if (lx_graph_backward_from(r->graph, y, s, &err) < 0)
        fail_msg("seed %llu: %s", (unsigned long long)seed, err.text);
}

void lx_random_graph_release(lx_random_graph *r)
{
    lx_graph_free(r->graph);
}

void lx_random_graph_run(lx_random_graph *r, lx_plan *plan, float *y, float *dx)
{
    lx_error err = {0};

    memset(r->gradients, 0, sizeof r->gradients);
    assert_int_equal(lx_plan_set(plan, "x0", r->x[0], sizeof r->x[0], &err), 0);
    assert_int_equal(lx_plan_set(plan, "x1", r->x[1], sizeof r->x[1], &err), 0);
    assert_int_equal(lx_plan_set(plan, "seed", r->seed, sizeof r->seed, &err), 0);
    assert_int_equal(lx_plan_run(plan, &err), 0);
    assert_int_equal(lx_plan_get(plan, "y", y, sizeof r->x[0], &err), 0);
    assert_int_equal(lx_plan_get(plan, "grad.x0", dx, sizeof r->x[0], &err), 0);
}
