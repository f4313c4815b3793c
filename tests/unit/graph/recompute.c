/*
 * Plans under a limit: the same bytes of results, within the limit, or the number that is
 * missing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/cpu/cpu.h"
#include "src/base/alloc.h"
#include "src/graph/plan.h"
#include "tests/support/random_graph.h"

enum { N_OPS = 120 };

static lx_device *dev;

static int open_device(void **state)
{
    lx_error err;
    int rc = lx_device_open_cpu(&dev, 1, &err);
    /* The scratch of the fast kernels would hide the activations of graphs this small. */
    if (rc == 0)
        dev->kernels = lx_cpu_plain_kernels;
    return rc;
}

static int close_device(void **state)
{
    lx_device_close(dev);
    return 0;
}

static void test_graph_recompute__results_are_the_same_bytes(void **state)
{
    size_t n_fitting = 0;

    for (uint64_t seed = 0; seed < 12; seed++) {
        static lx_random_graph r;
        float y[LX_RANDOM_VALUES], dx[LX_RANDOM_VALUES], gradients[LX_RANDOM_PARAMS][64];
        lx_plan *plan = NULL;
        lx_error err = {0};
        size_t whole;

        lx_random_graph_init(&r, seed, N_OPS, false);
        assert_int_equal(lx_plan_new(&plan, r.graph, dev, &(lx_plan_options){0}, &err),
                         0);
        whole = lx_plan_memory_of(plan).arena_bytes;
        lx_random_graph_run(&r, plan, y, dx);
        memcpy(gradients, r.gradients, sizeof gradients);
        lx_plan_free(plan);
        for (int percent = 100; percent >= 40; percent -= 10) {
            float y2[LX_RANDOM_VALUES], dx2[LX_RANDOM_VALUES];
            lx_plan_options options = {.max_bytes = whole / 100 * (size_t)percent};
            if (percent == 100) /* no limit on bytes, but one on operations */
                options = (lx_plan_options){.spare = 0.5};
            int rc = lx_plan_new(&plan, r.graph, dev, &options, &err);
            if (rc == LX_ELIMIT)
                break;
            if (rc < 0)
                fail_msg("%s", err.text);
            n_fitting += percent < 100;
            assert_true(lx_plan_memory_of(plan).arena_bytes <=
                        (percent < 100 ? options.max_bytes : whole));
            assert_true(lx_plan_memory_of(plan).n_recomputed > 0 || percent == 100);
            lx_random_graph_run(&r, plan, y2, dx2);
            assert_memory_equal(y, y2, sizeof y);
            assert_memory_equal(dx, dx2, sizeof dx);
            assert_memory_equal(gradients, r.gradients, sizeof gradients);
            lx_plan_free(plan);
        }
        lx_random_graph_release(&r);
    }
    assert_true(n_fitting >= 12);
}

/* 24 blocks of norm, LoRA'd product, activation around a residual stream. */
static void build_stack(lx_graph *g, lx_param *w, lx_param *down, lx_param *up,
                        lx_param *norm)
{
    lx_tensor *x = lx_graph_input(g, "x0", LX_F32, 3, (int64_t[]){2, 64, 8}), *loss;
    lx_error err = {0};
    char scope[16];

    for (int i = 0; i < 24; i++) {
        lx_tensor *h, *y;
        snprintf(scope, sizeof scope, "block%d", i);
        lx_graph_push(g, scope);
        h = lx_op_layer_norm(g, x, lx_graph_param(g, norm), lx_graph_param(g, norm),
                             1e-5f);
        y = lx_op_linear(g, h, lx_graph_param(g, w), NULL, 1);
        h = lx_op_linear(g, h, lx_graph_param(g, down), NULL, 1);
        y = lx_op_silu(g, lx_op_linear_add(g, h, lx_graph_param(g, up), y, 1));
        x = lx_op_add(g, x, lx_op_linear(g, y, lx_graph_param(g, w), NULL, 1));
        lx_graph_pop(g);
    }
    loss = lx_op_loss(g, x, lx_graph_input(g, "target", LX_F32, 3, x->shape), NULL, NULL,
                      LX_LOSS_L2, NULL, NULL);
    lx_graph_output(g, "loss", loss);
    assert_int_equal(lx_graph_backward(g, loss, &err), 0);
}

static void test_graph_recompute__a_deep_stack_shrinks_by_the_square_root(void **state)
{
    float values[64] = {0}, buffers[2][64] = {{0}};
    lx_param w = {
        .name = "w", .dtype = LX_F32, .n_dims = 2, .shape = {8, 8}, .value = values};
    lx_param down = {.name = "down",
                     .dtype = LX_F32,
                     .n_dims = 2,
                     .shape = {2, 8},
                     .value = values,
                     .gradient = buffers[0]};
    lx_param up = {.name = "up",
                   .dtype = LX_F32,
                   .n_dims = 2,
                   .shape = {8, 2},
                   .value = values,
                   .gradient = buffers[1]};
    lx_param norm = {
        .name = "norm", .dtype = LX_F32, .n_dims = 1, .shape = {8}, .value = values};
    lx_graph *g = lx_graph_new();
    lx_plan_options options = {.dry_run = true};
    lx_plan_memory whole, cheap, least;
    lx_plan *plan;
    lx_error err = {0};
    size_t needed, with, missing, limit;

    build_stack(g, &w, &down, &up, &norm);
    assert_int_equal(lx_plan_new(&plan, g, dev, &options, &err), 0);
    whole = lx_plan_memory_of(plan);
    lx_plan_free(plan);

    options.max_bytes = whole.arena_bytes / 4 * 3; /* norms and activations are enough */
    assert_int_equal(lx_plan_new(&plan, g, dev, &options, &err), 0);
    cheap = lx_plan_memory_of(plan);
    lx_plan_free(plan);
    assert_true(cheap.flops < 1.1 * whole.flops);

    options = (lx_plan_options){.dry_run = true, .spare = 0.05};
    assert_int_equal(lx_plan_new(&plan, g, dev, &options, &err), 0);
    assert_true(lx_plan_memory_of(plan).arena_bytes < whole.arena_bytes / 10 * 9);
    assert_true(lx_plan_memory_of(plan).flops <= 1.1 * whole.flops);
    lx_plan_free(plan);

    options = (lx_plan_options){.dry_run = true, .max_bytes = 4096};
    assert_int_equal(lx_plan_new(&plan, g, dev, &options, &err), LX_ELIMIT);
    assert_int_equal(
        sscanf(err.text,
               "activations and gradients need %zu bytes, %zu when all that can be "
               "is computed twice: %zu bytes more than the limit of %zu",
               &needed, &with, &missing, &limit),
        4);
    assert_int_equal(needed, whole.arena_bytes);
    assert_int_equal(with - missing, 4096);
    assert_true(with < whole.arena_bytes / 3);

    options.max_bytes = with; /* what it says would do, does */
    assert_int_equal(lx_plan_new(&plan, g, dev, &options, &err), 0);
    least = lx_plan_memory_of(plan);
    lx_plan_free(plan);
    assert_true(least.arena_bytes <= with);
    assert_true(least.flops < 1.6 * whole.flops);
    lx_graph_free(g);
}

/* Every so many allocations of the search one fails; nothing leaks, nothing crashes. */
static void test_graph_recompute__survives_lack_of_memory(void **state)
{
    float values[64] = {0}, buffers[2][64] = {{0}};
    lx_param w = {
        .name = "w", .dtype = LX_F32, .n_dims = 2, .shape = {8, 8}, .value = values};
    lx_param down = {.name = "down",
                     .dtype = LX_F32,
                     .n_dims = 2,
                     .shape = {2, 8},
                     .value = values,
                     .gradient = buffers[0]};
    lx_param up = {.name = "up",
                   .dtype = LX_F32,
                   .n_dims = 2,
                   .shape = {8, 2},
                   .value = values,
                   .gradient = buffers[1]};
    lx_param norm = {
        .name = "norm", .dtype = LX_F32, .n_dims = 1, .shape = {8}, .value = values};
    lx_graph *g = lx_graph_new();
    lx_plan_options options = {.dry_run = true};
    lx_plan *plan = NULL;
    lx_error err = {0};
    int rc = LX_ENOMEM;

    build_stack(g, &w, &down, &up, &norm);
    assert_int_equal(lx_plan_new(&plan, g, dev, &options, &err), 0);
    options.max_bytes = lx_plan_memory_of(plan).arena_bytes / 2;
    lx_plan_free(plan);
    for (size_t n = 1; rc != LX_OK; n += 1 + n / 8) {
        plan = NULL;
        lx_alloc_fail_at(n, false);
        rc = lx_plan_new(&plan, g, dev, &options, &err);
        lx_alloc_fail_at(0, false);
        assert_true(rc == LX_OK || rc == LX_ENOMEM);
        lx_plan_free(plan);
    }
    lx_graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_graph_recompute__results_are_the_same_bytes),
        cmocka_unit_test(test_graph_recompute__a_deep_stack_shrinks_by_the_square_root),
        cmocka_unit_test(test_graph_recompute__survives_lack_of_memory),
    };
    return cmocka_run_group_tests(tests, open_device, close_device);
}
