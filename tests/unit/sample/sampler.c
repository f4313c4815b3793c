/* Samplers on a denoiser without a model, against k-diffusion and diffusers (own.py). */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/base/str.h"
#include "src/sample/noise.h"
#include "src/sample/sampler.h"
#include "tests/support/golden.h"
#include "tests/support/model.h"

enum { N = 64 };

typedef struct toy {
    lx_noise *noise;
    double least, most;
    const float *asked; /* where the peer asked for noise, NULL: nowhere */
    int n_noise, n_steps_told;
} toy;

static int toy_denoise(void *context, float *out, const float *x, double sigma, int step,
                       lx_error *err)
{
    (void)context;
    (void)step;
    (void)err;
    for (int i = 0; i < N; i++)
        out[i] = (float)(((double)x[i] + sin(3 * (double)x[i]) + cos(i)) / (1 + sigma));
    return LX_OK;
}

static int toy_noise(void *context, float *out, double from, double to, lx_error *err)
{
    toy *t = context;
    double peer_from = (double)t->asked[2 * t->n_noise];
    double peer_to = (double)t->asked[2 * t->n_noise + 1];

    t->n_noise++;
    if (fabs(from - peer_from) > 1e-6 * from || fabs(to - peer_to) > 1e-6 * to)
        fail_msg("noise %d is asked for between %.9g and %.9g, by the peer between %.9g "
                 "and %.9g",
                 t->n_noise, from, to, peer_from, peer_to);
    from = peer_from;
    to = peer_to;
    return lx_noise_between(out, t->noise, from, to, t->least, t->most, err);
}

static int toy_step(void *context, int step, int n_steps, const float *x,
                    const float *denoised, lx_error *err)
{
    toy *t = context;

    (void)n_steps;
    (void)x;
    (void)denoised;
    (void)err;
    assert_int_equal(step, t->n_steps_told++);
    return LX_OK;
}

static void run_toy(lx_tensor_file *golden, const char *name, const char *schedule,
                    int n_steps)
{
    const bool is_unipc = strcmp(name, "unipc") == 0;
    char sigmas_key[64], key[64], full[64];
    float *start = lx_golden_f32(NULL, golden, "toy.start"), *sigmas, *want;
    float *asked = NULL, mine[64];
    lx_sampler sampler;
    lx_sigma_table table;
    toy t = {0};
    lx_denoiser denoiser = {&t, toy_denoise, toy_noise, toy_step};
    lx_error err = {0};
    size_t n;
    int n_mine;

    snprintf(full, sizeof full, "%s%s%s", name, *schedule ? "_" : "", schedule);
    if (strcmp(schedule, "normal") == 0)
        snprintf(full, sizeof full, "%s", name);
    snprintf(sigmas_key, sizeof sigmas_key, "toy.sigmas.%s.%d",
             is_unipc ? "unipc" : schedule, n_steps);
    if (is_unipc)
        snprintf(key, sizeof key, "toy.unipc.%d", n_steps);
    else
        snprintf(key, sizeof key, "toy.%s.%s.%d", name, schedule, n_steps);
    sigmas = lx_golden_f32(&n, golden, "%s", sigmas_key);
    want = lx_golden_f32(NULL, golden, "%s", key);
    lx_assert_ok(
        lx_sampler_find(&sampler, strcmp(name, "dpm_2") ? full : "dpm2", false, &err),
        &err);
    lx_sigma_table_init(&table, false);
    if (strcmp(name, "dpm_2") != 0) {
        lx_assert_ok(lx_sampler_sigmas(mine, &n_mine, &sampler, &table, n_steps, &err),
                     &err);
        assert_int_equal(n_mine, n);
        lx_assert_close(sigmas_key, mine, sigmas, n, 1e-6);
    }
    if (lx_ends_with(name, "sde"))
        t.asked = asked = lx_golden_f32(NULL, golden, "%s.asked", key);
    t.most = (double)sigmas[0];
    t.least = (double)sigmas[n - 2];
    lx_assert_ok(lx_noise_new(&t.noise, LX_NOISE_TORCH, 42, 0, N, &err), &err);
    for (int i = 0; i < N; i++)
        start[i] *= is_unipc ? sqrtf(1 + sigmas[0] * sigmas[0]) : sigmas[0];
    lx_assert_ok(
        lx_sampler_run(&sampler, &table, sigmas, (int)n, start, N, &denoiser, &err),
        &err);
    lx_assert_close(key, start, want, N, 5e-5);
    assert_int_equal(t.n_steps_told, n_steps);
    lx_noise_free(t.noise);
    free(start);
    free(sigmas);
    free(want);
    free(asked);
}

static void test_sample_sampler__k_diffusion_and_diffusers_on_a_toy(void **state)
{
    static const char *const names[] = {"euler",    "heun",      "dpm_2",       "lms",
                                        "dpmpp_2m", "dpmpp_sde", "dpmpp_2m_sde"};
    lx_tensor_file *golden = lx_golden_open("sample/own.safetensors");

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        for (int n = 6; n <= 20; n += 14) {
            run_toy(golden, names[i], "normal", n);
            run_toy(golden, names[i], "karras", n);
        }
    run_toy(golden, "unipc", "", 6);
    run_toy(golden, "unipc", "", 20);
    lx_tensor_file_close(golden);
}

/*
 * sd-scripts' DDIM clips every predicted x_0, which makes the whole way unstable on the
 * goldens' random model: a start moved by 1e-7 ends 10 % away (measured with diffusers'
 * scheduler). So its arithmetic is checked here and not on that model.
 */
static void test_sample_sampler__ddim_of_the_peer_clips(void **state)
{
    lx_tensor_file *golden = lx_golden_open("sample/own.safetensors");

    for (int n = 10; n <= 20; n += 10) {
        float *x = lx_golden_f32(NULL, golden, "toy.start"), sigmas[LX_MAX_STEPS + 2];
        float *want = lx_golden_f32(NULL, golden, "toy.ddim_peer.%d", n);
        const lx_denoiser denoiser = {.denoise = toy_denoise};
        lx_sigma_table table;
        lx_sampler sampler;
        lx_error err = {0};
        int n_sigmas;

        lx_sigma_table_init(&table, false);
        lx_assert_ok(lx_sampler_find(&sampler, "ddim", true, &err), &err);
        lx_assert_ok(lx_sampler_sigmas(sigmas, &n_sigmas, &sampler, &table, n, &err),
                     &err);
        for (int i = 0; i < N; i++)
            x[i] *= sqrtf(1 + sigmas[0] * sigmas[0]);
        lx_assert_ok(
            lx_sampler_run(&sampler, &table, sigmas, n_sigmas, x, N, &denoiser, &err),
            &err);
        lx_assert_close("ddim of the peer", x, want, N, 5e-5);
        free(x);
        free(want);
    }
    lx_tensor_file_close(golden);
}

static void test_sample_sampler__names_people_write(void **state)
{
    static const char *const same[][2] = {
        {"DPM++ 2M Karras", "DPM++ 2M Karras"},
        {"dpmpp_2m_karras", "DPM++ 2M Karras"},
        {"k_euler_a", "Euler a"},
        {"euler_ancestral", "Euler a"},
        {"EULER A", "Euler a"},
        {"DPM++ SDE Karras", "DPM++ SDE Karras"},
        {"dpm++-sde-exponential", "DPM++ SDE Exponential"},
        {"ddim", "DDIM"},
        {"UniPC", "UniPC"},
        {"dpmpp_2m_normal", "DPM++ 2M"},
        {"DPM2 a Karras", "DPM2 a Karras"}};
    char text[LX_SAMPLER_NAME];
    lx_sampler sampler;
    lx_error err = {0};

    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        lx_assert_ok(lx_sampler_find(&sampler, same[i][0], false, &err), &err);
        assert_string_equal(lx_sampler_text(text, &sampler), same[i][1]);
    }
    assert_int_equal(lx_sampler_find(&sampler, "no such", false, &err), LX_EUSAGE);
    assert_int_equal(lx_sampler_find(&sampler, "ddim karras", false, &err), LX_EUSAGE);
    assert_int_equal(lx_sampler_find(&sampler, "dpmsolver", true, &err), LX_EUNSUPPORTED);
}

static void test_sample_sampler__levels_descend_for_every_sampler(void **state)
{
    static const char *const names[] = {"ddim", "euler", "heun karras", "lms exponential",
                                        "dpm2", "unipc", "pndm"};
    static const int counts[] = {1, 2, 3, 4, 7, 999};
    lx_sigma_table table;

    lx_sigma_table_init(&table, false);
    for (size_t s = 0; s < sizeof names / sizeof *names; s++)
        for (size_t k = 0; k < sizeof counts / sizeof *counts; k++) {
            float sigmas[LX_MAX_STEPS + 2];
            lx_sampler sampler;
            lx_error err = {0};
            int n = 0, rc;

            lx_assert_ok(lx_sampler_find(&sampler, names[s], false, &err), &err);
            rc = lx_sampler_sigmas(sigmas, &n, &sampler, &table, counts[k], &err);
            if (strcmp(names[s], "pndm") == 0 && counts[k] < 4) {
                assert_int_equal(rc, LX_EUSAGE);
                continue;
            }
            lx_assert_ok(rc, &err);
            assert_int_equal(n, counts[k] + 1);
            for (int i = 1; i < n; i++) /* DDIM's t = 1000 is 999, too */
                assert_true(
                    sigmas[i] < sigmas[i - 1] || sampler.method == LX_METHOD_PNDM ||
                    (sampler.method == LX_METHOD_DDIM && counts[k] == 999 && i == 1));
        }
}

/* The web UI's range(0, 1000, 1000 // steps) + 1 from its end: as many as that are. */
static void test_sample_sampler__ddim_begins_at_the_top(void **state)
{
    static const struct {
        int n_steps, n_taken, first, second, last, end;
    } cases[] = {{20, 20, 951, 901, 1, 0},  {30, 30, 991, 958, 34, 1},
                 {28, 28, 981, 946, 36, 1}, {60, 62, 993, 977, 17, 1},
                 {9, 9, 999, 889, 112, 1},  {1, 1, 1, 0, 1, 0}};
    lx_sigma_table table;
    lx_sampler sampler;
    lx_error err = {0};

    lx_sigma_table_init(&table, false);
    lx_assert_ok(lx_sampler_find(&sampler, "DDIM", false, &err), &err);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        float sigmas[LX_MAX_STEPS + 2];
        int n;

        lx_assert_ok(
            lx_sampler_sigmas(sigmas, &n, &sampler, &table, cases[i].n_steps, &err),
            &err);
        assert_int_equal(n, cases[i].n_taken + 1);
        assert_true(sigmas[0] == table.sigmas[cases[i].first]);
        assert_true(sigmas[1] == table.sigmas[cases[i].second]);
        assert_true(sigmas[n - 2] == table.sigmas[cases[i].last]);
        assert_true(sigmas[n - 1] == table.sigmas[cases[i].end]);
    }
}

/* Of every sampler: lx_sampler_asks_twice is what it does, which the texts of a prompt go by. */
static int count_question(void *context, float *denoised, const float *x, double sigma,
                          int step, lx_error *err)
{
    (void)sigma, (void)step, (void)err;
    ++*(int *)context;
    memset(denoised, 0, N * sizeof *x);
    return LX_OK;
}

static int draw_nothing(void *context, float *out, double from, double to, lx_error *err)
{
    (void)context, (void)from, (void)to, (void)err;
    memset(out, 0, N * sizeof *out);
    return LX_OK;
}

static void test_sample_sampler__two_questions_a_step(void **state)
{
    static const struct {
        const char *name;
        bool asks_twice;
    } cases[] = {{"DDIM", false},        {"Euler", false},     {"Euler a", false},
                 {"Heun", true},         {"LMS", false},       {"DPM2", true},
                 {"DPM2 a", true},       {"DPM++ 2S a", true}, {"DPM++ 2M", false},
                 {"DPM++ SDE", true},    {"DPM++ 2S", false},  {"UniPC", false},
                 {"DPM++ 2M SDE", false}};

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        float sigmas[LX_MAX_STEPS + 2], x[N] = {0};
        int n_asked = 0, n;
        const lx_denoiser denoiser = {&n_asked, count_question, draw_nothing, NULL};
        lx_sigma_table table;
        lx_sampler sampler;
        lx_error err = {0};

        lx_sigma_table_init(&table, false);
        lx_assert_ok(lx_sampler_find(&sampler, cases[i].name, false, &err), &err);
        lx_assert_ok(lx_sampler_sigmas(sigmas, &n, &sampler, &table, 5, &err), &err);
        lx_assert_ok(lx_sampler_run(&sampler, &table, sigmas, n, x, N, &denoiser, &err),
                     &err);
        assert_int_equal(n_asked, cases[i].asks_twice ? 9 : 5);
        assert_true(lx_sampler_asks_twice(&sampler) == cases[i].asks_twice);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sample_sampler__k_diffusion_and_diffusers_on_a_toy),
        cmocka_unit_test(test_sample_sampler__ddim_of_the_peer_clips),
        cmocka_unit_test(test_sample_sampler__names_people_write),
        cmocka_unit_test(test_sample_sampler__levels_descend_for_every_sampler),
        cmocka_unit_test(test_sample_sampler__ddim_begins_at_the_top),
        cmocka_unit_test(test_sample_sampler__two_questions_a_step),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
