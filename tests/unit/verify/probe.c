#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/base/rng.h"
#include "src/lora/module.h"
#include "src/text/tokenizer.h"
#include "src/verify/dose.h"
#include "src/verify/draws.h"
#include "src/verify/probe.h"
#include "tests/support/model.h"
#include "tests/support/synth.h"

enum { K = 4, H = 8, W = 8, N = 4 * H * W };

typedef struct fixture {
    lx_model_fixture model;
    lx_probe *probe;
    lx_dose *dose;
    float latents[N], noise[K * N], *context;
    int64_t timesteps[K], ids[77];
    lx_probe_case what;
} fixture;

/* A new LoRA whose ups are drawn too, so that it does something. */
static void draw_ups(lx_lora *lora)
{
    for (size_t i = 0; i < lora->count; i++) {
        lx_rng rng = lx_rng_stream(5, LX_RNG_TEST, 0, i);
        lx_rng_normal(lx_lora_host_value(lora, &lora->modules[i].up),
                      lx_lora__size(&lora->modules[i].up), 0, &rng);
    }
    lx_assert_ok(lx_lora_send(lora, NULL), &(lx_error){0});
}

static void fill_fixture(fixture *f, lx_precision precision)
{
    const lx_lora_spec spec = {.rank = 2,
                               .alpha = 1,
                               .conv_rank = 2,
                               .conv_alpha = 1,
                               .has_unet = true,
                               .has_text_encoder = true};
    lx_probe_model model;
    lx_error err = {0};
    lx_rng rng = lx_rng_stream(1, LX_RNG_TEST, 0, 0);

    lx_dtype narrow;

    memset(f, 0, sizeof *f);
    lx_model_fixture_open(&f->model, lx_synth_checkpoint("nano"), 2);
    lx_assert_ok(lx_lora_create(&f->model.lora, f->model.dev, f->model.checkpoint,
                                &f->model.config, &spec, 1, &err),
                 &err);
    draw_ups(f->model.lora);
    model = (lx_probe_model){.dev = f->model.dev,
                             .checkpoint = f->model.checkpoint,
                             .sd = &f->model.config,
                             .lora = f->model.lora,
                             .n_chunks = 1,
                             .precision = precision};
    narrow = lx_precision_narrow(precision, f->model.dev);
    if (narrow != LX_F32)
        lx_assert_ok(lx_lora_narrow(f->model.lora, narrow, &err), &err);
    lx_assert_ok(lx_probe_new(&f->probe, &model, &err), &err);
    lx_assert_ok(lx_dose_new(&f->dose, f->model.lora, &err), &err);
    lx_rng_normal(f->latents, N, 0, &rng);
    lx_verify_draw(f->timesteps, f->noise, K, N, 1, 2);
    for (int i = 0; i < 77; i++)
        f->ids[i] = i == 0 ? LX_TOKEN_BOS : i < 9 ? 500 + 37 * i : LX_TOKEN_EOS;
    f->context = malloc(lx_probe_context_size(f->probe) * sizeof *f->context);
    f->what = (lx_probe_case){.n_draws = K,
                              .h = H,
                              .w = W,
                              .latents = f->latents,
                              .noise = f->noise,
                              .timesteps = f->timesteps,
                              .context = f->context};
}

static int open_fixture(void **state)
{
    static fixture f;

    *state = &f;
    fill_fixture(&f, LX_PRECISION_F32);
    return 0;
}

static int close_fixture(void **state)
{
    fixture *f = *state;

    lx_probe_free(f->probe);
    lx_dose_free(f->dose);
    lx_model_fixture_close(&f->model);
    free(f->context);
    return 0;
}

static void run(fixture *f, double loss[K], float pred[K * N])
{
    lx_error err = {0};

    lx_assert_ok(lx_probe_context(f->context, f->probe, f->ids, &err), &err);
    lx_assert_ok(lx_probe_run(loss, pred, f->probe, &f->what, &err), &err);
}

/* Strength 0 is the base model without any LoRA in its graph, to the bit. */
static void test_probe__strength_zero_is_the_base(void **state)
{
    fixture *f = *state;
    static float dosed[K * N], plain[K * N];
    double a[K], b[K];
    lx_probe_model model = {.dev = f->model.dev,
                            .checkpoint = f->model.checkpoint,
                            .sd = &f->model.config,
                            .n_chunks = 1};
    lx_probe *other, *kept = f->probe;

    lx_assert_ok(lx_dose_set(f->dose, 0, 0, NULL), &(lx_error){0});
    run(f, a, dosed);
    lx_assert_ok(lx_probe_new(&other, &model, NULL), &(lx_error){0});
    f->probe = other;
    run(f, b, plain);
    f->probe = kept;
    lx_probe_free(other);
    assert_memory_equal(a, b, sizeof a);
    for (int i = 0; i < K * N; i++)
        assert_true(dosed[i] == plain[i]);
}

/*
 * A strength changes what the graph reads in 16 bits, too, and none is the base. The losses, and their change by the
 * LoRA, are those in f32 but for the rounding: off by less than the predictions may be (tests/unit/sample/model.c).
 */
static void test_probe__in_16_bits(void **state)
{
    fixture *f32 = *state, *f = calloc(1, sizeof *f);
    static float base[K * N], same[K * N], moved[K * N];
    enum { DRAWS = 2 }; /* of K: the emulated device is slow */
    double a[2][K], b[K];

    f32->what.n_draws = DRAWS;
    for (int dose = 0; dose < 2; dose++) {
        lx_assert_ok(lx_dose_set(f32->dose, dose, dose, NULL), &(lx_error){0});
        run(f32, a[dose], moved);
    }
    for (lx_precision p = LX_PRECISION_F16; p <= LX_PRECISION_BF16; p++) {
        if (lx_precision_check(p, f32->model.dev, NULL) < 0)
            continue;
        fill_fixture(f, p);
        f->what.n_draws = DRAWS;
        lx_assert_ok(lx_dose_set(f->dose, 0, 0, NULL), &(lx_error){0});
        run(f, b, base);
        for (int i = 0; i < DRAWS; i++)
            assert_true(b[i] != a[0][i] && fabs(b[i] - a[0][i]) < 0.0183 * a[0][i]);
        lx_assert_ok(lx_dose_set(f->dose, 1, 1, NULL), &(lx_error){0});
        run(f, b, moved);
        for (int i = 0; i < DRAWS; i++)
            assert_true(fabs(b[i] - a[1][i]) < 0.0183 * a[1][i]);
        assert_memory_not_equal(moved, base, sizeof base);
        lx_assert_ok(lx_dose_set(f->dose, 0, 0, NULL), &(lx_error){0});
        run(f, b, same);
        assert_memory_equal(same, base, sizeof base);
        void *closing = f;
        close_fixture(&closing);
    }
    f32->what.n_draws = K;
    free(f);
}

static void test_probe__losses_are_means_of_squares(void **state)
{
    fixture *f = *state;
    static float pred[K * N];
    double loss[K], moved[K];

    lx_assert_ok(lx_dose_set(f->dose, 1, 1, NULL), &(lx_error){0});
    run(f, loss, pred);
    for (int k = 0; k < K; k++) {
        double sum = 0;
        for (int i = 0; i < N; i++)
            sum += pow((double)f->noise[k * N + i] - pred[k * N + i], 2) / N;
        assert_true(fabs(sum - loss[k]) < 1e-12 * sum);
    }
    lx_probe_movement(moved, f->probe, pred, f->noise, &f->what);
    for (int k = 0; k < K; k++)
        assert_true(moved[k] == loss[k]); /* the noise is the target */
}

/* Order in the batch changes rounding at most. */
static void test_probe__reversed_draws_agree(void **state)
{
    fixture *f = *state;
    double a[K], b[K];

    run(f, a, NULL);
    f->what.is_reversed = true;
    run(f, b, NULL);
    f->what.is_reversed = false;
    for (int k = 0; k < K; k++)
        assert_true(fabs(a[k] - b[k]) < 1e-5 * a[k]);
}

static double norm_of_update(const lx_lora_module *m)
{
    const size_t rank = (size_t)m->rank, out = lx_lora__size(&m->up) / rank;
    const size_t in = lx_lora__size(&m->down) / rank;
    const float *up = m->up.value, *down = m->down.value;
    double square = 0;

    for (size_t i = 0; i < out; i++)
        for (size_t j = 0; j < in; j++) {
            double x = 0;
            for (size_t k = 0; k < rank; k++)
                x += (double)up[i * rank + k] * down[k * in + j];
            square += x * x;
        }
    return sqrt(square);
}

/* Scrambling keeps every module's norm and changes its direction; the doses come back
 * unharmed. */
static void test_dose__scramble_keeps_norms(void **state)
{
    fixture *f = *state;
    const lx_lora *lora = f->model.lora;
    double *norms = calloc(lora->count, sizeof *norms);
    double before[K], scrambled[K], after[K];

    lx_assert_ok(lx_dose_set(f->dose, 1, 1, NULL), &(lx_error){0});
    run(f, before, NULL);
    for (size_t i = 0; i < lora->count; i++)
        norms[i] = norm_of_update(&lora->modules[i]);
    lx_assert_ok(lx_dose_scramble(f->dose, 3, 0, NULL), &(lx_error){0});
    for (size_t i = 0; i < lora->count; i++)
        assert_true(fabs(norm_of_update(&lora->modules[i]) / norms[i] - 1) < 1e-5);
    run(f, scrambled, NULL);
    assert_memory_not_equal(before, scrambled, sizeof before);
    lx_assert_ok(lx_dose_set(f->dose, 1, 1, NULL), &(lx_error){0});
    run(f, after, NULL);
    assert_memory_equal(before, after, sizeof before);
    free(norms);
}

static void test_dose__refuses_what_is_no_number(void **state)
{
    fixture *f = *state;
    float *value = f->model.lora->modules[3].up.value, kept = *value;
    lx_dose *dose;
    lx_error err = {0};

    *value = NAN;
    assert_int_equal(lx_dose_new(&dose, f->model.lora, &err), LX_EFORMAT);
    assert_null(dose);
    *value = kept;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_probe__strength_zero_is_the_base),
        cmocka_unit_test(test_probe__in_16_bits),
        cmocka_unit_test(test_probe__losses_are_means_of_squares),
        cmocka_unit_test(test_probe__reversed_draws_agree),
        cmocka_unit_test(test_dose__scramble_keeps_norms),
        cmocka_unit_test(test_dose__refuses_what_is_no_number),
    };
    return cmocka_run_group_tests(tests, open_fixture, close_fixture);
}
