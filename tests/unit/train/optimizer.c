#include "src/train/optimizer.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const lx_optimizer_config defaults = {.type = LX_OPTIMIZER_ADAMW,
                                              .betas = {0.9, 0.999},
                                              .eps = 1e-8,
                                              .weight_decay = 0.01};

static void open_optimizer(lx_optimizer **out, const lx_optimizer_config *config,
                           const lx_trainable *tensors, size_t n)
{
    lx_error err = {0};

    if (lx_optimizer_new(out, config, tensors, n, &err) < 0)
        fail_msg("%s", err.text);
}

/* The published update (arXiv:1711.05101, algorithm 2) in f64. */
static void test_train_optimizer__adamw_is_the_published_update(void **state)
{
    enum { N = 5, STEPS = 30 };
    float value[N] = {0.5f, -1.0f, 0.0f, 2.0f, 1e-3f}, gradient[N];
    double w[N], m[N] = {0}, v[N] = {0};
    lx_trainable tensor = {value, gradient, N, true, 1e-2, 0, NULL};
    lx_optimizer *optimizer;

    for (int i = 0; i < N; i++)
        w[i] = value[i];
    open_optimizer(&optimizer, &defaults, &tensor, 1);
    for (int step = 1; step <= STEPS; step++) {
        double factor = step / (double)STEPS, lr = tensor.lr * factor;

        for (int i = 0; i < N; i++) {
            double g = gradient[i] = (float)sin(step * 0.7 + i);

            w[i] -= lr * defaults.weight_decay * w[i];
            m[i] = defaults.betas[0] * m[i] + (1 - defaults.betas[0]) * g;
            v[i] = defaults.betas[1] * v[i] + (1 - defaults.betas[1]) * g * g;
            w[i] -= lr * (m[i] / (1 - pow(defaults.betas[0], step))) /
                    (sqrt(v[i] / (1 - pow(defaults.betas[1], step))) + defaults.eps);
        }
        lx_optimizer_step(optimizer, &tensor, factor);
        for (int i = 0; i < N; i++)
            if (!(fabs(value[i] - w[i]) < 2e-6))
                fail_msg("step %d, value %d: %.9g, expected %.9g", step, i, (double)value[i],
                         w[i]);
    }
    lx_optimizer_free(optimizer);
}

static void test_train_optimizer__what_no_gradient_reaches_stays_decay_included(void **state)
{
    float values[2][3] = {{1, 2, 3}, {1, 2, 3}}, gradients[2][3] = {{1, 1, 1}, {1, 1, 1}};
    lx_trainable tensors[2] = {
        {values[0], gradients[0], 3, true, 1e-2, 0, NULL},
        {values[1], gradients[1], 3, false, 1e-2, 0, NULL},
    };
    lx_optimizer *optimizer;

    open_optimizer(&optimizer, &defaults, tensors, 2);
    lx_optimizer_step(optimizer, tensors, 1);
    for (int i = 0; i < 3; i++) {
        assert_true(values[0][i] < (float)(i + 1));
        assert_true(values[1][i] == (float)(i + 1));
    }
    lx_optimizer_free(optimizer);
}

static void test_train_optimizer__a_factor_of_zero_changes_nothing(void **state)
{
    float value[2] = {0.25f, -4}, gradient[2] = {3, -7};
    lx_trainable tensor = {value, gradient, 2, true, 1e-2, 0, NULL};
    lx_optimizer *optimizer;

    open_optimizer(&optimizer, &defaults, &tensor, 1);
    lx_optimizer_step(optimizer, &tensor, 0);
    assert_true(value[0] == 0.25f && value[1] == -4);
    assert_true(gradient[0] == 3 && gradient[1] == -7);
    lx_optimizer_free(optimizer);
}

/* A first step is lr * sign(g), whatever the size of g: with updates counted per tensor also for
 * one that gets its first gradient late. */
static void test_train_optimizer__updates_are_counted_per_tensor(void **state)
{
    float values[2] = {0, 0}, gradients[2] = {1, 1e-3f};
    lx_trainable tensors[2] = {
        {&values[0], &gradients[0], 1, true, 1e-2, 0, NULL},
        {&values[1], &gradients[1], 1, false, 1e-2, 0, NULL},
    };
    lx_optimizer *optimizer;

    open_optimizer(&optimizer, &defaults, tensors, 2);
    for (int i = 0; i < 10; i++)
        lx_optimizer_step(optimizer, tensors, 1);
    tensors[1].has_gradient = true;
    lx_optimizer_step(optimizer, tensors, 1);
    assert_true(fabs(values[1] + 1e-2) < 1e-6);
    lx_optimizer_free(optimizer);
}

static void test_train_optimizer__norm_and_clipping_as_torch(void **state)
{
    float value[3] = {0}, gradients[3] = {3, 4, 100};
    lx_trainable tensors[2] = {
        {value, gradients, 2, true, 1, 0, NULL},
        {value + 2, gradients + 2, 1, false, 1, 0, NULL}, /* not counted */
    };
    double norm = lx_gradient_norm(tensors, 2);

    assert_true(norm == 5);
    lx_gradient_clip(tensors, 2, norm, 10); /* below: as it was */
    assert_true(gradients[0] == 3 && gradients[1] == 4);
    lx_gradient_clip(tensors, 2, norm, 1);
    assert_true(fabs(gradients[0] - 0.6) < 1e-6 && fabs(gradients[1] - 0.8) < 1e-6);
    assert_true(fabs(lx_gradient_norm(tensors, 2) - 1 / (1 + 1e-6 / 5)) < 1e-6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_train_optimizer__adamw_is_the_published_update),
        cmocka_unit_test(test_train_optimizer__what_no_gradient_reaches_stays_decay_included),
        cmocka_unit_test(test_train_optimizer__a_factor_of_zero_changes_nothing),
        cmocka_unit_test(test_train_optimizer__updates_are_counted_per_tensor),
        cmocka_unit_test(test_train_optimizer__norm_and_clipping_as_torch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
