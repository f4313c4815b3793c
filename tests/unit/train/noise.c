#include "src/train/noise.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/golden.h"

static const double limit = 1e-5;
static lx_tensor_file *golden;
static lx_noise_schedule schedule;
static lx_train_config config;

static int setup(void **state)
{
    golden = lx_golden_open("noise/noise.safetensors");
    lx_noise_schedule_init(&schedule, false);
    lx_train_config_defaults(&config);
    return 0;
}

static int teardown(void **state)
{
    lx_tensor_file_close(golden);
    return 0;
}

static void check(const char *name, const float *got, size_t n)
{
    size_t n_wanted;
    float *wanted = lx_golden_f32(&n_wanted, golden, "%s", name);

    assert_int_equal(n, n_wanted);
    print_message("    %-40s %.2e\n", name, lx_relative_error(got, wanted, n));
    lx_assert_close(name, got, wanted, n, limit);
    free(wanted);
}

/* Each value of a table by itself: the sum over the table is ruled by its largest. */
static void check_table(const char *name, const float got[LX_TIMESTEPS])
{
    size_t n;
    float *wanted = lx_golden_f32(&n, golden, "%s", name);

    assert_int_equal(n, LX_TIMESTEPS);
    for (size_t t = 0; t < n; t++)
        if (!(fabs((double)got[t] - wanted[t]) <= limit * fabs((double)wanted[t])))
            fail_msg("%s[%zu] is %.9g, expected %.9g", name, t, (double)got[t],
                     (double)wanted[t]);
    free(wanted);
    check(name, got, n);
}

/* ---- the schedule -------------------------------------------------------------------------- */

static void test_train_noise__betas_products_and_snr(void **state)
{
    check_table("betas", schedule.betas);
    check_table("alphas_cumprod", schedule.alphas_cumprod);
    check_table("all_snr", schedule.snr);
}

static void test_train_noise__zero_terminal_snr_changes_betas_but_not_the_table(void **state)
{
    lx_noise_schedule zero;

    lx_noise_schedule_init(&zero, true);
    check("zero_terminal.betas", zero.betas, LX_TIMESTEPS);
    check("zero_terminal.alphas_cumprod", zero.alphas_cumprod, LX_TIMESTEPS);
    check("zero_terminal.all_snr_used_by_kohya", zero.snr, LX_TIMESTEPS);
    assert_true(zero.alphas_cumprod[LX_TIMESTEPS - 1] == 0);
}

/* sqrt(abar) x + sqrt(1 - abar) noise, and sqrt(abar) noise - sqrt(1 - abar) x. */
static void mix(float *out, const lx_noise_schedule *s, const float *x, const float *noise,
                const int64_t *t, size_t n_samples, size_t n, bool is_velocity)
{
    for (size_t b = 0; b < n_samples; b++)
        for (size_t i = b * n; i < (b + 1) * n; i++) {
            float signal = sqrtf(s->alphas_cumprod[t[b]]);
            float sigma = sqrtf(1.0f - s->alphas_cumprod[t[b]]);
            out[i] = is_velocity ? signal * noise[i] - sigma * x[i]
                                 : signal * x[i] + sigma * noise[i];
        }
}

static void test_train_noise__noisy_latents_and_velocity(void **state)
{
    size_t n, n_samples;
    float *latents = lx_golden_f32(&n, golden, "lat"), *noise = lx_golden_f32(NULL, golden, "noise");
    int64_t *t = lx_golden_i64(&n_samples, golden, "t");
    float *out = malloc(n * sizeof(*out));
    lx_noise_schedule zero;

    assert_non_null(out);
    lx_noise_schedule_init(&zero, true);
    mix(out, &schedule, latents, noise, t, n_samples, n / n_samples, false);
    check("noisy", out, n);
    mix(out, &schedule, latents, noise, t, n_samples, n / n_samples, true);
    check("velocity", out, n);
    mix(out, &zero, latents, noise, t, n_samples, n / n_samples, false);
    check("zero_terminal.noisy", out, n);
    free(out);
    free(t);
    free(noise);
    free(latents);
}

/* ---- weights of the loss -------------------------------------------------------------------- */

static void check_weights(const char *name, const lx_train_config *c)
{
    float weight[LX_TIMESTEPS];

    lx_loss_weights(weight, &schedule, c);
    check_table(name, weight);
}

static void test_train_noise__no_flag_weighs_all_timesteps_alike(void **state)
{
    float weight[LX_TIMESTEPS];

    lx_loss_weights(weight, &schedule, &config);
    for (int t = 0; t < LX_TIMESTEPS; t++)
        assert_true(weight[t] == 1.0f);
}

static void test_train_noise__min_snr(void **state)
{
    static const struct {
        double gamma;
        const char *eps, *v;
    } cases[] = {
        {1, "min_snr_weight.gamma1.eps", "min_snr_weight.gamma1.v"},
        {5, "min_snr_weight.gamma5.eps", "min_snr_weight.gamma5.v"},
        {20, "min_snr_weight.gamma20.eps", "min_snr_weight.gamma20.v"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lx_train_config c = config;
        c.min_snr_gamma = cases[i].gamma;
        check_weights(cases[i].eps, &c);
        c.v_parameterization = true;
        check_weights(cases[i].v, &c);
    }
}

static void test_train_noise__debiased_estimation(void **state)
{
    lx_train_config c = config;

    c.debiased_estimation_loss = true;
    check_weights("debiased.eps", &c);
    c.v_parameterization = true;
    check_weights("debiased.v", &c);
}

/* The golden holds what a loss of 1 becomes. */
static void test_train_noise__v_prediction_weights(void **state)
{
    lx_train_config c = config;

    c.v_parameterization = true;
    c.scale_v_pred_loss_like_noise_pred = true;
    check_weights("scale_v_pred_loss_like_noise_pred", &c);
    c.scale_v_pred_loss_like_noise_pred = false;
    c.v_pred_like_loss = 0.5;
    check_weights("v_pred_like_loss.0.5", &c);
}

static void test_train_noise__huber_c(void **state)
{
    static const struct {
        lx_huber_schedule schedule;
        double scale;
        const char *name;
    } cases[] = {
        {LX_HUBER_CONSTANT, 1, "huber_c.constant.c0.1.scale1"},
        {LX_HUBER_CONSTANT, 2, "huber_c.constant.c0.1.scale2"},
        {LX_HUBER_EXPONENTIAL, 1, "huber_c.exponential.c0.1.scale1"},
        {LX_HUBER_EXPONENTIAL, 2, "huber_c.exponential.c0.1.scale2"},
        {LX_HUBER_SNR, 1, "huber_c.snr.c0.1.scale1"},
        {LX_HUBER_SNR, 2, "huber_c.snr.c0.1.scale2"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lx_train_config c = config;
        float got[LX_TIMESTEPS];

        c.huber_schedule = cases[i].schedule;
        c.huber_c = 0.1;
        c.huber_scale = cases[i].scale;
        lx_huber_c(got, &schedule, &c);
        check_table(cases[i].name, got);
    }
}

/* ---- what is added to the noise ------------------------------------------------------------- */

static void test_train_noise__offset_and_adaptive_offset(void **state)
{
    static const struct {
        double strength, adaptive;
        const char *name;
    } cases[] = {
        {0.1, 0, "noise_offset.0.1"},
        {0.1, 0.02, "noise_offset.0.1.adaptive0.02"},
        {0.05, -0.3, "noise_offset.0.05.adaptive-0.3"},
    };
    const lx_tensor_view *shape = lx_golden_find(golden, "noise");
    float *latents = lx_golden_f32(NULL, golden, "lat");
    float *randn = lx_golden_f32(NULL, golden, "offset_randn");

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t n;
        float *noise = lx_golden_f32(&n, golden, "noise");

        lx_noise_offset(noise, latents, randn, (int)shape->shape[0],
                        shape->shape[2] * shape->shape[3], cases[i].strength,
                        cases[i].adaptive);
        check(cases[i].name, noise, n);
        free(noise);
    }
    free(randn);
    free(latents);
}

static void test_train_noise__pyramid(void **state)
{
    const lx_tensor_view *shape = lx_golden_find(golden, "pyramid.in");
    size_t n;
    float *noise = lx_golden_f32(&n, golden, "pyramid.in");

    for (int level = 0; level < 3; level++) {
        const lx_tensor_view *view = lx_golden_find(golden, "pyramid.randn%d", level);
        float *randn = lx_golden_f32(NULL, golden, "pyramid.randn%d", level);

        lx_noise_add_level(noise, randn, (int)shape->shape[0], shape->shape[2],
                           shape->shape[3], view->shape[2], view->shape[3],
                           pow(0.3, level));
        free(randn);
    }
    lx_noise_normalise(noise, (int64_t)n);
    check("pyramid.out.iter6.discount0.3", noise, n);
    free(noise);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_train_noise__betas_products_and_snr),
        cmocka_unit_test(test_train_noise__zero_terminal_snr_changes_betas_but_not_the_table),
        cmocka_unit_test(test_train_noise__noisy_latents_and_velocity),
        cmocka_unit_test(test_train_noise__no_flag_weighs_all_timesteps_alike),
        cmocka_unit_test(test_train_noise__min_snr),
        cmocka_unit_test(test_train_noise__debiased_estimation),
        cmocka_unit_test(test_train_noise__v_prediction_weights),
        cmocka_unit_test(test_train_noise__huber_c),
        cmocka_unit_test(test_train_noise__offset_and_adaptive_offset),
        cmocka_unit_test(test_train_noise__pyramid),
    };

    if (!lx_golden("noise/noise.safetensors"))
        return 77;
    return cmocka_run_group_tests(tests, setup, teardown);
}
