/*
 * Steps that a device does as one: whatever it joins, and in whatever order it then does them, results are
 * those of a device that joins nothing.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/cpu/cpu.h"
#include "src/graph/plan.h"
#include "tests/support/random_graph.h"

enum { N_OPS = 120, MOST_JOINED = 9 };

static lx_device *dev;

static int open_device(void **state)
{
    lx_error err;
    int rc = lx_device_open_cpu(&dev, 1, &err);

    if (rc == 0)
        dev->kernels = lx_cpu_plain_kernels; /* they need no scratch and no preparation */
    return rc;
}

static int close_device(void **state)
{
    lx_device_close(dev);
    return 0;
}

/* ---- a device that joins what is independent, and does the last first --------------- */

static size_t n_groups, n_in_groups;

static bool touches(const lx_call *a, const lx_call *b)
{
    for (int o = 0; o < a->n_out; o++) {
        for (int k = 0; k < b->n_in; k++)
            if (a->out[o].n_dims >= 0 && b->in[k].n_dims >= 0 &&
                a->out[o].id == b->in[k].id)
                return true;
        for (int k = 0; k < b->n_out; k++)
            if (a->out[o].n_dims >= 0 && b->out[k].n_dims >= 0 &&
                a->out[o].id == b->out[k].id)
                return true;
    }
    return false;
}

static size_t count_independent(const lx_call *calls, size_t n)
{
    size_t taken = 1;

    for (; taken < n && taken < MOST_JOINED; taken++)
        for (size_t i = 0; i < taken; i++)
            if (touches(&calls[i], &calls[taken]) || touches(&calls[taken], &calls[i]))
                return taken;
    return taken;
}

static int prepare_nothing(lx_device *device, lx_call *calls, size_t n, lx_error *err)
{
    n_groups++;
    n_in_groups += n;
    return LX_OK;
}

static void run_backwards(lx_device *device, const lx_call *calls, size_t n)
{
    for (size_t i = n; i-- > 0;)
        device->kernels[calls[i].op].run(device, &calls[i]);
}

static void release_nothing(lx_device *device, lx_call *calls, size_t n)
{
}

static const lx_joining backwards = {
    .count = count_independent,
    .prepare = prepare_nothing,
    .run = run_backwards,
    .release = release_nothing,
};

/* ---- tests -------------------------------------------------------------------------- */

static void run_joined(lx_random_graph *r, const lx_joining *joining, size_t limit,
                       float *y, float *dx)
{
    lx_plan *plan = NULL;
    lx_error err = {0};

    dev->joining = joining;
    if (lx_plan_new(&plan, r->graph, dev, &(lx_plan_options){.max_bytes = limit}, &err) <
        0)
        fail_msg("%s", err.text);
    lx_random_graph_run(r, plan, y, dx);
    lx_plan_free(plan);
    dev->joining = NULL;
}

static void check_gradients(const lx_random_graph *r, float before[LX_RANDOM_PARAMS][64])
{
    for (int p = 0; p < LX_RANDOM_PARAMS; p++)
        for (int i = 0; i < 64; i++) {
            const float g = r->gradients[p][i], size = fabsf(before[p][i]) + 1e-3f;
            assert_true(fabsf(g - before[p][i]) <=
                        1e-5f * size); /* its sums' order is another */
        }
}

static size_t arena_of(lx_random_graph *r)
{
    lx_plan *plan = NULL;
    lx_error err = {0};
    size_t bytes;

    assert_int_equal(
        lx_plan_new(&plan, r->graph, dev, &(lx_plan_options){.dry_run = true}, &err), 0);
    bytes = lx_plan_memory_of(plan).arena_bytes;
    lx_plan_free(plan);
    return bytes;
}

static void test_graph_join__results_are_the_same(void **state)
{
    n_groups = n_in_groups = 0;
    for (uint64_t seed = 0; seed < 40; seed++) {
        static lx_random_graph r;
        float y[2][LX_RANDOM_VALUES], dx[2][LX_RANDOM_VALUES],
            gradients[LX_RANDOM_PARAMS][64];

        lx_random_graph_init(&r, seed, N_OPS, false);
        run_joined(&r, NULL, 0, y[0], dx[0]);
        memcpy(gradients, r.gradients, sizeof gradients);
        for (int limited = 0; limited < 2; limited++) {
            run_joined(&r, &backwards, limited ? arena_of(&r) : 0, y[1], dx[1]);
            assert_memory_equal(y[0], y[1], sizeof y[0]);
            assert_memory_equal(dx[0], dx[1], sizeof dx[0]);
            check_gradients(&r, gradients);
        }
        lx_random_graph_release(&r);
    }
    print_message("    %zu groups of %.1f steps\n", n_groups,
                  (double)n_in_groups / (double)n_groups);
    assert_true(n_groups > 500);
}

/* What the products of (1) to (3) in gather.c look like when they have been moved. */
static lx_param param(const char *name, float *value, float *gradient, int64_t n,
                      int64_t k)
{
    return (lx_param){.name = name,
                      .dtype = LX_F32,
                      .n_dims = 2,
                      .shape = {n, k},
                      .value = value,
                      .gradient = gradient};
}

enum { WIDTH = 8, RANK = 2, LAYERS = 3 };

typedef struct adapted {
    float w[WIDTH * WIDTH], down[RANK * WIDTH], up[WIDTH * RANK],
        gradients[2][WIDTH * RANK];
    lx_param frozen, a, b;
} adapted;

static lx_tensor *layer(lx_graph *g, adapted *l, lx_tensor *x)
{
    l->frozen = param("w", l->w, NULL, WIDTH, WIDTH);
    l->a = param("down", l->down, l->gradients[0], RANK, WIDTH);
    l->b = param("up", l->up, l->gradients[1], WIDTH, RANK);
    lx_tensor *y = lx_op_linear(g, x, lx_graph_param(g, &l->frozen), NULL, 1);
    lx_tensor *h = lx_op_linear(g, x, lx_graph_param(g, &l->a), NULL, 1);
    return lx_op_linear_add(g, h, lx_graph_param(g, &l->b), y, 0.5f);
}

/* The ops of a schedule, a letter each: l, x (linear_dx), w (linear_dw), . anything else. */
static void spell(char *out, size_t size, const lx_schedule *s)
{
    size_t n = 0;

    for (size_t i = 0; i < s->n_steps && n + 1 < size; i++)
        out[n++] = s->steps[i].op == LX_OP_linear      ? 'l'
                   : s->steps[i].op == LX_OP_linear_dx ? 'x'
                   : s->steps[i].op == LX_OP_linear_dw ? 'w'
                                                       : '.';
    out[n] = 0;
}

static void
test_graph_join__products_of_one_input_and_their_gradients_stand_together(void **state)
{
    static adapted layers[LAYERS + 1];
    const int64_t shape[3] = {1, 4, WIDTH};
    lx_graph *g = lx_graph_new();
    lx_tensor *x, *context, *seed, *t[LAYERS];
    lx_schedule s;
    lx_error err = {0};
    char steps[128];

    x = lx_graph_input(g, "x", LX_F32, 3, shape);
    seed = lx_graph_input(g, "seed", LX_F32, 3, shape);
    lx_graph_want_gradient(g, x);
    context = lx_op_silu(g, x);
    t[0] = layer(g, &layers[0], context);
    t[1] = lx_op_silu(g, t[0]);
    t[1] = lx_op_attention(g, t[1], layer(g, &layers[1], context),
                           layer(g, &layers[2], context), 1, false);
    t[2] = layer(g, &layers[3], t[1]);
    lx_graph_output(g, "y", t[2]);
    assert_int_equal(lx_graph_backward_from(g, t[2], seed, &err), 0);
    assert_int_equal(lx_schedule_init(&s, g, &err), 0);
    spell(steps, sizeof steps, &s);
    assert_string_equal(steps, ".lll.llllll.lllwxwxx.wxwxxwxwxx.wxwxx.");
    assert_int_equal(lx_schedule__gather(&s, true, &err), 0);
    spell(steps, sizeof steps, &s);
    /* Three layers of one x; the last; its gradient; the sum of the three; all weights. */
    assert_string_equal(steps, ".lllllllll..lllxxx..xxxxxxxxx.wwwwwwww");
    lx_schedule_release(&s);
    lx_graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_graph_join__results_are_the_same),
        cmocka_unit_test(
            test_graph_join__products_of_one_input_and_their_gradients_stand_together),
    };
    return cmocka_run_group_tests(tests, open_device, close_device);
}
