/*
 * Every gradient rule against central differences, and how sums of several uses come out.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "src/base/alloc.h"
#include "src/base/rng.h"
#include "src/graph/node.h"
#include "src/graph/op.h"

enum { MOST = 4, MOST_VALUES = 4096 };

typedef lx_tensor *(*builder)(lx_graph *g, lx_tensor **x, lx_tensor **w);

/* A function of inputs x and parameters w; shapes end with 0. */
typedef struct function {
    const char *name;
    builder build;
    int64_t x[MOST][5], w[MOST][5];
} function;

typedef struct variable {
    float *value, *gradient;
    size_t n;
    char name[8];
    lx_param param;
} variable;

static lx_device *dev;

static int open_device(void **state)
{
    lx_error err;
    return lx_device_open_cpu(&dev, 1, &err);
}

static int close_device(void **state)
{
    lx_device_close(dev);
    return 0;
}

static int n_dims_of(const int64_t *shape)
{
    int n = 0;
    while (shape[n])
        n++;
    return n;
}

static void fill(variable *v, const int64_t *shape, lx_rng *stream, int index)
{
    v->n = 1;
    for (int i = 0; shape[i]; i++)
        v->n *= (size_t)shape[i];
    v->value = lx_alloc((v->n + 3) / 4 * 4 * sizeof(float));
    v->gradient = lx_calloc(v->n, sizeof(float));
    lx_rng one = *stream;
    one.key[0] += (uint32_t)index * 977;
    lx_rng_normal(v->value, v->n, 0, &one);
}

/* sum of seed * y, in f64 */
static double value_of(lx_plan *plan, variable *x, int n_x, const float *seed, float *y,
                       size_t n_y)
{
    lx_error err = {0};
    double sum = 0;

    for (int i = 0; i < n_x; i++)
        assert_int_equal(
            lx_plan_set(plan, x[i].name, x[i].value, x[i].n * sizeof(float), &err), 0);
    assert_int_equal(lx_plan_run(plan, &err), 0);
    assert_int_equal(lx_plan_get(plan, "y", y, n_y * sizeof(float), &err), 0);
    for (size_t i = 0; i < n_y; i++)
        sum += (double)seed[i] * y[i];
    return sum;
}

static void compare(const function *f, const char *which, lx_plan *plan, variable *x,
                    int n_x, variable *v, const float *seed, float *y, size_t n_y)
{
    const float h = 1e-2f;

    for (size_t i = 0; i < v->n; i++) {
        float at = v->value[i];
        double above, below, difference;
        v->value[i] = at + h;
        above = value_of(plan, x, n_x, seed, y, n_y);
        v->value[i] = at - h;
        below = value_of(plan, x, n_x, seed, y, n_y);
        v->value[i] = at;
        difference = (above - below) / (2 * (double)h);
        if (!(fabs(difference - v->gradient[i]) <= 4e-3 * (1 + fabs(difference))))
            fail_msg("%s: d/d%s[%zu] is %g, differences say %g", f->name, which, i,
                     v->gradient[i], difference);
    }
}

static void check(const function *f)
{
    lx_rng stream = lx_rng_stream(7, LX_RNG_TEST, 0, 0);
    variable x[MOST] = {0}, w[MOST] = {0}, seed = {0};
    lx_tensor *tx[MOST], *tw[MOST], *y, *s;
    lx_graph *g = lx_graph_new();
    float out[MOST_VALUES];
    lx_plan *plan = NULL;
    lx_error err = {0};
    int n_x = 0, n_w = 0;
    int64_t y_shape[5] = {0};
    size_t n_y;

    for (; n_x < MOST && f->x[n_x][0]; n_x++) {
        fill(&x[n_x], f->x[n_x], &stream, n_x);
        snprintf(x[n_x].name, sizeof x[n_x].name, "x%d", n_x);
        tx[n_x] = lx_graph_input(g, x[n_x].name, LX_F32, n_dims_of(f->x[n_x]), f->x[n_x]);
        lx_graph_want_gradient(g, tx[n_x]);
    }
    for (; n_w < MOST && f->w[n_w][0]; n_w++) {
        fill(&w[n_w], f->w[n_w], &stream, 10 + n_w);
        snprintf(w[n_w].name, sizeof w[n_w].name, "w%d", n_w);
        w[n_w].param = (lx_param){.name = w[n_w].name,
                                  .dtype = LX_F32,
                                  .n_dims = n_dims_of(f->w[n_w]),
                                  .value = w[n_w].value,
                                  .gradient = w[n_w].gradient};
        memcpy(w[n_w].param.shape, f->w[n_w], 4 * sizeof(int64_t));
        tw[n_w] = lx_graph_param(g, &w[n_w].param);
    }
    y = f->build(g, tx, tw);
    memcpy(y_shape, y->shape, (size_t)y->n_dims * sizeof(int64_t));
    lx_graph_output(g, "y", y);
    fill(&seed, y_shape, &stream, 20);
    n_y = seed.n;
    assert_true(n_y <= MOST_VALUES);
    s = lx_graph_input(g, "seed", LX_F32, y->n_dims, y->shape);
    if (lx_graph_backward_from(g, y, s, &err) < 0 ||
        lx_plan_new(&plan, g, dev, &(lx_plan_options){0}, &err) < 0)
        fail_msg("%s: %s", f->name, err.text);
    lx_plan_set(plan, "seed", seed.value, n_y * sizeof(float), &err);
    value_of(plan, x, n_x, seed.value, out, n_y);
    for (int i = 0; i < n_x; i++) {
        char name[32];
        snprintf(name, sizeof name, "grad.%s", x[i].name);
        assert_int_equal(
            lx_plan_get(plan, name, x[i].gradient, x[i].n * sizeof(float), &err), 0);
    }
    for (int i = 0; i < n_w;
         i++) { /* what follows adds to the buffers: keep this run's */
        float *once = lx_alloc(w[i].n * sizeof(float));
        memcpy(once, w[i].gradient, w[i].n * sizeof(float));
        w[i].gradient = once;
    }
    for (int i = 0; i < n_x; i++)
        compare(f, x[i].name, plan, x, n_x, &x[i], seed.value, out, n_y);
    for (int i = 0; i < n_w; i++)
        compare(f, w[i].name, plan, x, n_x, &w[i], seed.value, out, n_y);
    lx_plan_free(plan);
    lx_graph_free(g);
    for (int i = 0; i < MOST; i++) {
        lx_free(x[i].value);
        lx_free(x[i].gradient);
        lx_free(w[i].value);
        lx_free(w[i].gradient);
        lx_free(w[i].param.gradient);
    }
    lx_free(seed.value);
    lx_free(seed.gradient);
}

#define BUILD(name) static lx_tensor *name(lx_graph *g, lx_tensor **x, lx_tensor **w)

BUILD(conv)
{
    return lx_op_conv2d(g, x[0], w[0], w[1], 1, (int[]){1, 1, 1, 1});
}
BUILD(conv_stride)
{
    return lx_op_conv2d(g, x[0], w[0], NULL, 2, (int[]){0, 0, 1, 1});
}
BUILD(linear)
{
    return lx_op_linear(g, x[0], w[0], w[1], 0.5f);
}
BUILD(hadamard)
{
    return lx_op_hadamard(g, w[0], w[1], w[2], w[3], 0.5f);
}

/* A weight that is made: made again in the reverse pass, and its gradient goes on to its factors. */
BUILD(linear_of_hadamard)
{
    return lx_op_linear(g, x[0], hadamard(g, x, w), NULL, 0.7f);
}

BUILD(conv_of_hadamard)
{
    static const int64_t shape[4] = {3, 2, 3, 3};
    static const int pad[4] = {1, 1, 1, 1};

    return lx_op_conv2d(g, x[0], lx_op_reshape(g, hadamard(g, x, w), 4, shape), NULL, 1,
                        pad);
}

/* The same made weight for two layers. */
BUILD(hadamard_twice)
{
    lx_tensor *made = hadamard(g, x, w);

    return lx_op_linear(g, lx_op_linear(g, x[0], made, NULL, 1), made, NULL, 1);
}

BUILD(lora)
{
    lx_tensor *y = lx_op_linear(g, x[0], w[0], NULL, 1);
    return lx_op_linear_add(g, lx_op_linear(g, x[0], w[1], NULL, 1), w[2], y, 0.25f);
}
BUILD(attention)
{
    return lx_op_attention(g, x[0], x[1], x[2], 2, false);
}
BUILD(self_attention)
{
    return lx_op_attention(g, x[0], x[0], x[0], 2, true);
}
BUILD(group_norm)
{
    return lx_op_group_norm(g, x[0], w[0], w[1], 2, 1e-5f, false);
}
BUILD(group_norm_silu)
{
    return lx_op_group_norm(g, x[0], w[0], w[1], 2, 1e-5f, true);
}
BUILD(group_norm_silu_frozen)
{
    /*
     * inputs in place of weights would ask for their gradients; halves of w as constants
     * do not
     */
    static float ones[4] = {1, 0.5f, 2, -1}, some[4] = {0.1f, 0, -1, 0.3f};
    static lx_param weight = {
        .name = "weight", .dtype = LX_F32, .n_dims = 1, .shape = {4}, .value = ones};
    static lx_param bias = {
        .name = "bias", .dtype = LX_F32, .n_dims = 1, .shape = {4}, .value = some};
    return lx_op_group_norm(g, x[0], lx_graph_param(g, &weight), lx_graph_param(g, &bias),
                            2, 1e-5f, true);
}
BUILD(layer_norm)
{
    return lx_op_layer_norm(g, x[0], w[0], w[1], 1e-5f);
}
BUILD(silu)
{
    return lx_op_silu(g, x[0]);
}
BUILD(gelu)
{
    return lx_op_gelu(g, x[0]);
}
BUILD(quick_gelu)
{
    return lx_op_quick_gelu(g, x[0]);
}
BUILD(geglu)
{
    return lx_op_geglu(g, x[0]);
}
BUILD(softmax)
{
    return lx_op_softmax(g, x[0]);
}
BUILD(add)
{
    return lx_op_add(g, x[0], x[1]);
}
BUILD(add_param)
{
    return lx_op_add(g, x[0], w[0]);
}
BUILD(scale)
{
    return lx_op_scale(g, x[0], -1.5f);
}
BUILD(mul_add)
{
    static float a[2] = {0.5f, -2}, b[2] = {3, 0.25f};
    static lx_param
        pa = {.name = "a", .dtype = LX_F32, .n_dims = 1, .shape = {2}, .value = a},
        pb = {.name = "b", .dtype = LX_F32, .n_dims = 1, .shape = {2}, .value = b};
    return lx_op_mul_add(g, lx_graph_param(g, &pa), x[0], lx_graph_param(g, &pb), x[1]);
}
BUILD(concat)
{
    return lx_op_concat_dim(g, lx_op_concat(g, x[0], x[1]), x[2], 1);
}
BUILD(slice)
{
    return lx_op_add(g, lx_op_slice(g, x[0], 1, 1, 3), lx_op_slice(g, x[0], 1, 0, 2));
}
BUILD(upsample)
{
    return lx_op_upsample_nearest(g, x[0], 5, 4);
}
BUILD(permute)
{
    lx_tensor *y = lx_op_permute(g, x[0], (int[]){2, 0, 1});
    return lx_op_reshape(g, y, 2, (int64_t[]){4, 6});
}
BUILD(forks) /* one tensor, five uses, of which two are through a view */
{
    lx_tensor *a = lx_op_silu(g, x[0]), *flat = lx_op_reshape(g, a, 1, (int64_t[]){24});
    lx_tensor *b = lx_op_add(g, flat, lx_op_scale(g, flat, 2));
    lx_tensor *c =
        lx_op_add(g, lx_op_reshape(g, b, 3, a->shape), lx_op_linear(g, a, w[0], NULL, 1));
    return lx_op_add(g, lx_op_add(g, c, c), lx_op_layer_norm(g, a, w[1], w[2], 1e-5f));
}
BUILD(same_param_twice)
{
    return lx_op_linear(g, lx_op_silu(g, lx_op_linear(g, x[0], w[0], NULL, 1)), w[0],
                        NULL, 1);
}
BUILD(param_everywhere) /* no += kernel for this use: added to the buffer by an add */
{
    return lx_op_add(g, lx_op_silu(g, w[0]),
                     lx_op_reshape(g, w[0], 2, (int64_t[]){2, 3}));
}

static const function functions[] = {
    {"conv", conv, {{2, 4, 3, 3}}, {{2, 3, 3, 3}, {2}}},
    {"conv_stride", conv_stride, {{1, 6, 5, 2}}, {{3, 2, 3, 3}}},
    {"linear", linear, {{2, 3, 4}}, {{5, 4}, {5}}},
    {"linear 1x1", linear, {{2, 3, 4}}, {{5, 4, 1, 1}, {5}}},
    {"hadamard", hadamard, {{0}}, {{5, 2}, {2, 4}, {5, 3}, {3, 4}}},
    {"linear of hadamard",
     linear_of_hadamard,
     {{2, 3, 4}},
     {{5, 2}, {2, 4}, {5, 3}, {3, 4}}},
    {"conv of hadamard",
     conv_of_hadamard,
     {{1, 4, 3, 2}},
     {{3, 2}, {2, 18}, {3, 2}, {2, 18}}},
    {"hadamard twice", hadamard_twice, {{2, 4}}, {{4, 2}, {2, 4}, {4, 2}, {2, 4}}},
    {"lora", lora, {{2, 3, 4}}, {{5, 4}, {2, 4}, {5, 2}}},
    {"attention", attention, {{2, 3, 4}, {2, 5, 4}, {2, 5, 4}}, {{0}}},
    {"self_attention", self_attention, {{2, 4, 6}}, {{0}}},
    {"group_norm", group_norm, {{2, 3, 2, 4}}, {{4}, {4}}},
    {"group_norm_silu", group_norm_silu, {{2, 3, 2, 4}}, {{4}, {4}}},
    {"group_norm_silu_frozen", group_norm_silu_frozen, {{2, 3, 2, 4}}, {{0}}},
    {"layer_norm", layer_norm, {{2, 3, 6}}, {{6}, {6}}},
    {"silu", silu, {{3, 5}}, {{0}}},
    {"gelu", gelu, {{3, 5}}, {{0}}},
    {"quick_gelu", quick_gelu, {{3, 5}}, {{0}}},
    {"geglu", geglu, {{3, 6}}, {{0}}},
    {"softmax", softmax, {{3, 5}}, {{0}}},
    {"add", add, {{2, 3, 4}, {2, 3, 4}}, {{0}}},
    {"add [B, C]", add, {{2, 3, 4}, {2, 4}}, {{0}}},
    {"add [C]", add, {{2, 3, 4}, {4}}, {{0}}},
    {"add parameter [C]", add_param, {{2, 3, 4}}, {{4}}},
    {"add parameter", add_param, {{2, 3, 4}}, {{2, 3, 4}}},
    {"scale", scale, {{3, 5}}, {{0}}},
    {"mul_add", mul_add, {{2, 3}, {2, 3}}, {{0}}},
    {"concat", concat, {{2, 3, 1}, {2, 3, 2}, {2, 1, 3}}, {{0}}},
    {"slice", slice, {{2, 3, 2}}, {{0}}},
    {"upsample", upsample, {{2, 3, 2, 2}}, {{0}}},
    {"permute, reshape", permute, {{2, 3, 4}}, {{0}}},
    {"forks", forks, {{2, 3, 4}}, {{4, 4}, {4}, {4}}},
    {"one parameter twice", same_param_twice, {{2, 3, 4}}, {{4, 4}}},
    {"parameter as activation", param_everywhere, {{0}}, {{2, 3}}},
};

static void test_graph_gradient__rules_agree_with_differences(void **state)
{
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++)
        check(&functions[i]);
}

/* ---- loss -------------------------------------------------------------------------- */

static void check_loss(lx_loss_type type)
{
    static float huber[1000], snr[1000];
    float w[6] = {0.3f, -0.2f, 0.5f, 1, 0.1f, -0.7f}, gradient[6] = {0}, once[6], loss[2];
    float x[8] = {1, 2, -1, 0.5f, 0.25f, -3, 1, 1}, weights[2] = {0.5f, 2};
    float target[12] = {1, 0, 2, -1, 3, 0.5f, 1, 1, 0, 0, -2, 4};
    int64_t timesteps[2] = {3, 900};
    lx_param param = {.name = "w",
                      .dtype = LX_F32,
                      .n_dims = 2,
                      .shape = {3, 2},
                      .value = w,
                      .gradient = gradient};
    lx_graph *g = lx_graph_new();
    lx_tensor *tx, *tt, *ts, *tw, *l;
    lx_plan *plan;
    lx_error err = {0};

    for (int i = 0; i < 1000; i++) {
        huber[i] = 0.1f + (float)i * 1e-3f;
        snr[i] = 1 + (float)i * 1e-3f;
    }
    tx = lx_graph_input(g, "x", LX_F32, 3, (int64_t[]){2, 2, 2});
    tt = lx_graph_input(g, "target", LX_F32, 3, (int64_t[]){2, 2, 3});
    ts = lx_graph_input(g, "timesteps", LX_I64, 1, (int64_t[]){2});
    tw = lx_graph_input(g, "weights", LX_F32, 1, (int64_t[]){2});
    l = lx_op_loss(g, lx_op_linear(g, tx, lx_graph_param(g, &param), NULL, 1), tt, ts, tw,
                   type, huber, snr);
    lx_graph_output(g, "loss", l);
    assert_int_equal(lx_graph_backward(g, l, &err), 0);
    assert_int_equal(lx_plan_new(&plan, g, dev, &(lx_plan_options){0}, &err), 0);
    lx_plan_set(plan, "x", x, sizeof x, &err);
    lx_plan_set(plan, "target", target, sizeof target, &err);
    lx_plan_set(plan, "timesteps", timesteps, sizeof timesteps, &err);
    lx_plan_set(plan, "weights", weights, sizeof weights, &err);
    assert_int_equal(lx_plan_run(plan, &err), 0);
    memcpy(once, gradient, sizeof once);
    for (int i = 0; i < 6; i++) {
        float at = w[i];
        for (int side = 0; side < 2; side++) {
            w[i] = at + (side ? -1e-3f : 1e-3f);
            assert_int_equal(lx_plan_run(plan, &err), 0);
            assert_int_equal(lx_plan_get(plan, "loss", &loss[side], sizeof(float), &err),
                             0);
        }
        w[i] = at;
        if (!(fabsf((loss[0] - loss[1]) / 2e-3f - once[i]) <=
              3e-3f * (1 + fabsf(once[i]))))
            fail_msg("loss %d: dw[%d] is %g, differences say %g", (int)type, i, once[i],
                     (loss[0] - loss[1]) / 2e-3f);
    }
    lx_plan_free(plan);
    lx_graph_free(g);
}

static void test_graph_gradient__starts_from_the_loss(void **state)
{
    check_loss(LX_LOSS_L2);
    check_loss(LX_LOSS_L1);
    check_loss(LX_LOSS_HUBER);
    check_loss(LX_LOSS_SMOOTH_L1);
}

/* ---- only what is needed ----------------------------------------------------------- */

static size_t count_op(const lx_graph *g, int op)
{
    size_t n = 0;
    for (size_t i = 0; i < g->n_nodes; i++)
        n += g->nodes[i].op == op;
    return n;
}

static void test_graph_gradient__stops_at_the_first_parameter(void **state)
{
    float values[16] = {0}, buffer[16] = {0};
    lx_param frozen = {
        .name = "frozen", .dtype = LX_F32, .n_dims = 2, .shape = {4, 4}, .value = values};
    lx_param trained = {.name = "trained",
                        .dtype = LX_F32,
                        .n_dims = 2,
                        .shape = {4, 4},
                        .value = values,
                        .gradient = buffer};
    lx_graph *g = lx_graph_new();
    lx_tensor *x = lx_graph_input(g, "x", LX_F32, 2, (int64_t[]){3, 4}), *seed;
    lx_tensor *wf = lx_graph_param(g, &frozen), *wt = lx_graph_param(g, &trained), *y;
    lx_error err = {0};

    assert_ptr_equal(wf, lx_graph_param(g, &frozen));
    y = lx_op_silu(g, lx_op_linear(g, x, wf, NULL, 1));
    y = lx_op_linear(g, lx_op_linear(g, y, wt, NULL, 1), wf, NULL, 1);
    seed = lx_graph_input(g, "seed", LX_F32, 2, y->shape);
    assert_int_equal(lx_graph_backward_from(g, y, seed, &err), 0);
    assert_int_equal(count_op(g, LX_OP_linear_dx), 1); /* through the last layer only */
    assert_int_equal(count_op(g, LX_OP_linear_dw), 1);
    assert_int_equal(count_op(g, LX_OP_silu_dx), 0);
    assert_null(frozen.gradient);
    lx_graph_free(g);
}

static void test_graph_gradient__says_when_there_is_none(void **state)
{
    lx_graph *g = lx_graph_new();
    lx_tensor *x = lx_graph_input(g, "x", LX_F32, 2, (int64_t[]){3, 4});
    lx_tensor *loss =
        lx_op_loss(g, lx_op_silu(g, x), x, NULL, NULL, LX_LOSS_L2, NULL, NULL);
    lx_error err = {0};

    assert_int_equal(lx_graph_backward(g, loss, &err), LX_EMISMATCH);
    assert_string_equal(err.text, "the loss depends on no trainable parameter");
    lx_graph_free(g);

    g = lx_graph_new();
    x = lx_graph_input(g, "x", LX_F32, 2, (int64_t[]){3, 4});
    lx_tensor *other = lx_graph_input(g, "other", LX_F32, 2, (int64_t[]){3, 4});
    lx_graph_want_gradient(g, x);
    lx_graph_want_gradient(g, other);
    x = lx_op_silu(g, x);
    assert_int_equal(lx_graph_backward_from(g, x, other, &err), LX_EMISMATCH);
    assert_string_equal(err.text, "no gradient reaches input other");
    lx_graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_graph_gradient__rules_agree_with_differences),
        cmocka_unit_test(test_graph_gradient__starts_from_the_loss),
        cmocka_unit_test(test_graph_gradient__stops_at_the_first_parameter),
        cmocka_unit_test(test_graph_gradient__says_when_there_is_none),
    };
    return cmocka_run_group_tests(tests, open_device, close_device);
}
