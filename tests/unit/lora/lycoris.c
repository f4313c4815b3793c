/* Networks of LyCORIS: layers, first values, files, and what the graphs compute of them. */
#include "src/lora/lycoris.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/base/rng.h"
#include "src/lora/delta.h"
#include "tests/support/golden.h"
#include "tests/support/model.h"
#include "tests/support/synth.h"
#include "tests/support/train.h"

/* ---- the cut of dimensions ------------------------------------------------------------ */

/* The table in LyCORIS 3.4.0, functional/general.py, and what its code gives for the last rows. */
static void test_lycoris__dimensions_are_cut_as_the_peer_cuts(void **state)
{
    static const int64_t wanted[][4] = {
        {127, -1, 1, 127},  {127, 2, 1, 127},     {127, 8, 1, 127},  {128, -1, 8, 16},
        {128, 2, 2, 64},    {128, 4, 4, 32},      {128, 8, 8, 16},   {128, 16, 8, 16},
        {250, -1, 10, 25},  {250, 2, 2, 125},     {250, 4, 2, 125},  {250, 8, 5, 50},
        {250, 16, 10, 25},  {360, -1, 18, 20},    {360, 4, 4, 90},   {360, 8, 8, 45},
        {360, 16, 15, 24},  {512, -1, 16, 32},    {512, 16, 16, 32}, {1024, -1, 32, 32},
        {1024, 2, 2, 512},  {1024, 16, 16, 64},   {320, -1, 16, 20}, {1280, -1, 32, 40},
        {2560, -1, 40, 64}, {10240, -1, 80, 128}, {4, -1, 2, 2},     {1, -1, 1, 1},
        {12, 5, 3, 4},      {12, 8, 3, 4},        {40, 16, 5, 8},    {320, 0, 1, 320},
    };

    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        int64_t small, large;
        lx_lokr_cut(&small, &large, wanted[i][0], wanted[i][1]);
        if (small != wanted[i][2] || large != wanted[i][3])
            fail_msg("%lld by %lld: %lld x %lld", (long long)wanted[i][0],
                     (long long)wanted[i][1], (long long)small, (long long)large);
    }
}

/* ---- which layers --------------------------------------------------------------------- */

static lx_lora_spec spec_of(lx_lora_kind kind, lx_lycoris_preset preset)
{
    return (lx_lora_spec){.is_lycoris = true,
                          .kind = kind,
                          .preset = preset,
                          .factor = -1,
                          .rank = 4,
                          .alpha = 2,
                          .conv_rank = 2,
                          .conv_alpha = 1,
                          .has_unet = true,
                          .has_text_encoder = true};
}

static void make(lx_model_fixture *f, const lx_lora_spec *spec)
{
    lx_error err = {0};

    lx_model_fixture_open(f, lx_synth_checkpoint("tiny"), 4);
    lx_assert_ok(
        lx_lora_create(&f->lora, f->dev, f->checkpoint, &f->config, spec, 7, &err), &err);
}

/* Counted by LyCORIS 3.4.0 on sd-scripts' UNet: with 12 layers of text 72, of attention alone 48. */
static void test_lycoris__presets_take_the_peers_layers(void **state)
{
    static const struct {
        const char *name;
        size_t text, unet; /* 3 layers of text */
    } wanted[] = {{"full", 18, 282},
                  {"full-lin", 18, 230},
                  {"attn-mlp", 18, 192},
                  {"attn-only", 12, 128},
                  {"unet-only", 0, 282},
                  {"unet-transformer-only", 0, 192},
                  {"unet-convblock-only", 0, 88}};

    for (size_t i = 0; i < LX_PRESET_COUNT; i++) {
        const int preset = lx_lycoris_preset_of(wanted[i].name);
        const lx_lora_spec spec = spec_of(LX_KIND_LOHA, (lx_lycoris_preset)preset);
        lx_model_fixture f;
        size_t n_text = 0;

        assert_true(preset >= 0);
        make(&f, &spec);
        for (size_t k = 0; k < f.lora->count; k++)
            n_text += f.lora->modules[k].part == LX_TEXT_ENCODER;
        if (n_text != wanted[i].text || f.lora->count - n_text != wanted[i].unet)
            fail_msg("%s: %zu and %zu modules", wanted[i].name, n_text,
                     f.lora->count - n_text);
        lx_model_fixture_close(&f);
    }
    assert_int_equal(lx_lycoris_preset_of("attn"), -1);
}

/* ---- first values ---------------------------------------------------------------------- */

static void spread(double *mean, double *deviation, const lx_param *p)
{
    const size_t n = lx_lora__size(p);
    const float *x = p->value;
    double sum = 0, squares = 0;

    for (size_t i = 0; i < n; i++) {
        sum += x[i];
        squares += (double)x[i] * x[i];
    }
    *mean = sum / (double)n;
    *deviation = sqrt(squares / (double)n);
}

static double wanted_spread(const lx_lora_module *m, int k)
{
    const lx_param *p = &m->factors[k];
    const double fan_in = (double)lx_lora__size(p) / (double)p->shape[0];

    switch (m->roles[k]) {
    case LX_ROLE_HADA_W1_A:
        return 0.1;
    case LX_ROLE_HADA_W1_B:
    case LX_ROLE_HADA_W2_B:
        return 1;
    case LX_ROLE_HADA_W2_A:
    case LX_ROLE_LOKR_W2:
    case LX_ROLE_LOKR_W2_B:
        return 0;
    default:
        return 1 / sqrt(3 * fan_in);
    }
}

static void check_first_values(lx_lora_kind kind, bool decomposes)
{
    lx_lora_spec spec = spec_of(kind, LX_PRESET_FULL);
    lx_model_fixture f;

    spec.decompose_both = decomposes;
    spec.rank = decomposes ? 1 : 4;
    make(&f, &spec);
    for (size_t i = 0; i < f.lora->count; i++) {
        const lx_lora_module *m = &f.lora->modules[i];
        for (int k = 0; k < m->n_factors; k++) {
            const double wanted = wanted_spread(m, k);
            const double n = (double)lx_lora__size(&m->factors[k]);
            double mean, deviation;
            spread(&mean, &deviation, &m->factors[k]);
            if (wanted == 0)
                assert_true(deviation == 0);
            else if (fabs(deviation / wanted - 1) > 6 / sqrt(n) ||
                     fabs(mean) > 6 * wanted / sqrt(n))
                fail_msg("%s: mean %g, deviation %g, wanted %g", m->factors[k].name, mean,
                         deviation, wanted);
        }
    }
    lx_model_fixture_close(&f);
}

static void test_lycoris__first_values_are_the_peers(void **state)
{
    check_first_values(LX_KIND_LOHA, false);
    check_first_values(LX_KIND_LOKR, false);
    check_first_values(LX_KIND_LOKR, true);
}

static void test_lycoris__alphas(void **state)
{
    lx_lora_spec spec = spec_of(LX_KIND_LOHA, LX_PRESET_FULL);
    lx_model_fixture f;

    spec.is_rs = true;
    make(&f, &spec);
    for (size_t i = 0; i < f.lora->count; i++) {
        const lx_lora_module *m = &f.lora->modules[i];
        assert_true(m->alpha == (m->is_conv ? (float)sqrt(2) : 4.0f));
        assert_int_equal(m->rank, m->is_conv ? 2 : 4);
    }
    lx_model_fixture_close(&f);
    spec = spec_of(LX_KIND_LOKR, LX_PRESET_FULL); /* small dimensions: whole matrices */
    spec.full_matrix = true;
    make(&f, &spec);
    for (size_t i = 0; i < f.lora->count; i++)
        assert_true(f.lora->modules[i].alpha == (float)f.lora->modules[i].rank);
    lx_model_fixture_close(&f);
}

/* ---- what is computed ------------------------------------------------------------------- */

/* Every factor moved, by amounts that give each module a change of about the layer's own size. */
static void move(lx_lora *lora)
{
    for (size_t i = 0; i < lora->n_params; i++) {
        const lx_rng stream = lx_rng_stream(3, LX_RNG_TEST, i, 0);
        const size_t n = lx_lora__size(lora->params[i]);
        float *x = lora->params[i]->value;

        lx_rng_normal(x, n, 0, &stream);
        for (size_t k = 0; k < n; k++)
            x[k] *= 0.3f;
    }
}

static const char *path_of(void)
{
    static char path[600];

    snprintf(path, sizeof path, "%s.lycoris.safetensors", lx_synth_checkpoint("tiny"));
    return path;
}

static lx_eval *evaluate(lx_model_fixture *f, lx_lora *lora, lx_eval_kind kind)
{
    lx_lora *own = f->lora;
    lx_tensor_file *golden =
        lx_golden_open(kind == LX_EVAL_UNET ? "unet/forward.safetensors"
                                            : "train/step_A_plain.safetensors");
    lx_eval *eval;

    f->lora = lora;
    eval =
        lx_run_golden(f, kind, golden, kind == LX_EVAL_UNET ? "case0." : "in.", 0, false);
    f->lora = own;
    lx_tensor_file_close(golden);
    return eval;
}

static void compare(lx_model_fixture *f, lx_lora *a, lx_lora *b, lx_eval_kind kind,
                    const char *output)
{
    lx_eval *first = evaluate(f, a, kind), *second = evaluate(f, b, kind),
            *without = evaluate(f, NULL, kind);
    lx_tensor_view x, y, z;
    double difference = 0, size = 0, moved = 0;
    lx_error err = {0};

    lx_assert_ok(lx_eval_get(&x, first, output, &err), &err);
    lx_assert_ok(lx_eval_get(&y, second, output, &err), &err);
    lx_assert_ok(lx_eval_get(&z, without, output, &err), &err);
    for (size_t i = 0; i < x.n_elements; i++) {
        const double u = ((const float *)x.data)[i], v = ((const float *)y.data)[i];
        const double w = ((const float *)z.data)[i];
        difference += (u - v) * (u - v);
        size += v * v;
        moved += (u - w) * (u - w);
    }
    print_message("    %s: distance %.1e, moved %.1e\n", output, sqrt(difference / size),
                  sqrt(moved / size));
    assert_true(sqrt(difference / size) < 2e-5);
    assert_true(sqrt(moved / size) > 1e-2);
    lx_eval_free(first);
    lx_eval_free(second);
    lx_eval_free(without);
}

/* The same file as it is trained, and as up and down made of the whole change (lora/delta). */
static void check_computed(lx_lora_spec spec)
{
    lx_model_fixture f;
    lx_lora *again, *plain;
    lx_error err = {0};

    make(&f, &spec);
    move(f.lora);
    lx_assert_ok(lx_lora_save(path_of(), f.lora, LX_F32, false, NULL, 0, &err), &err);
    lx_assert_ok(
        lx_lora_open(&again, f.dev, f.checkpoint, &f.config, path_of(), true, &err),
        &err);
    assert_int_equal(again->n_values, f.lora->n_values);
    assert_memory_equal(again->values, f.lora->values, again->n_values * sizeof(float));
    for (size_t i = 0; i < again->count; i++) {
        assert_string_equal(again->modules[i].name, f.lora->modules[i].name);
        assert_int_equal(again->modules[i].kind, f.lora->modules[i].kind);
    }
    lx_assert_ok(
        lx_lora_open_any(&plain, f.dev, f.checkpoint, &f.config, path_of(), false, &err),
        &err);
    compare(&f, again, plain, LX_EVAL_UNET, "out");
    if (spec.preset != LX_PRESET_UNET_ONLY)
        compare(&f, again, plain, LX_EVAL_TEXT, "context");
    lx_lora_free(plain);
    lx_lora_free(again);
    lx_model_fixture_close(&f);
    remove(path_of());
}

static void test_lycoris__computes_what_the_file_means(void **state)
{
    lx_lora_spec spec = spec_of(LX_KIND_LOHA, LX_PRESET_FULL);

    check_computed(spec);
    spec = spec_of(LX_KIND_LOKR, LX_PRESET_FULL);
    spec.rank = spec.conv_rank = 1;
    check_computed(spec);
    spec.decompose_both = true;
    spec.factor = 8;
    check_computed(spec);
    spec = spec_of(LX_KIND_LOKR, LX_PRESET_UNET_ONLY);
    spec.full_matrix = spec.is_unbalanced = true;
    spec.factor = 4;
    check_computed(spec);
    spec = spec_of(LX_KIND_LORA, LX_PRESET_FULL);
    spec.is_rs = true;
    check_computed(spec);
}

/* ---- norms ------------------------------------------------------------------------------ */

static void check_norms(lx_lora_spec spec)
{
    lx_model_fixture f;
    lx_lora_file *file;
    lx_error err = {0};

    make(&f, &spec);
    move(f.lora);
    lx_assert_ok(lx_lora_save(path_of(), f.lora, LX_F32, false, NULL, 0, &err), &err);
    lx_assert_ok(lx_lora_file_open(&file, path_of(), &err), &err);
    for (size_t i = 0; i < f.lora->count; i++) {
        const lx_lora_module *m = &f.lora->modules[i];
        const lx_lora_entry *e = lx_lora_file_find(file, m->name);
        lx_delta_shape shape;
        double *dense, sum = 0;

        assert_non_null(e);
        lx_assert_ok(lx_delta_shape_of(&shape, e, &err), &err);
        dense = calloc(shape.out * shape.in, sizeof *dense);
        assert_non_null(dense);
        lx_assert_ok(lx_delta_dense(dense, e, &shape, NULL, &err), &err);
        for (size_t k = 0; k < shape.out * shape.in; k++)
            sum += dense[k] * dense[k];
        free(dense);
        if (fabs(lx_lora_module_norm(f.lora, m) / sqrt(sum) - 1) > 1e-5)
            fail_msg("%s: %g, wanted %g", m->name, lx_lora_module_norm(f.lora, m),
                     sqrt(sum));
    }
    lx_lora_limit_norms(f.lora, 0.5);
    for (size_t i = 0; i < f.lora->count; i++)
        assert_true(lx_lora_module_norm(f.lora, &f.lora->modules[i]) < 0.5 * (1 + 1e-5));
    lx_lora_file_close(file);
    lx_model_fixture_close(&f);
    remove(path_of());
}

static void test_lycoris__norms_are_those_of_the_whole_change(void **state)
{
    lx_lora_spec spec = spec_of(LX_KIND_LOHA, LX_PRESET_FULL);

    check_norms(spec);
    spec = spec_of(LX_KIND_LOKR, LX_PRESET_FULL);
    spec.rank = spec.conv_rank = 1;
    check_norms(spec);
    spec.decompose_both = true;
    check_norms(spec);
}

/* ---- gradients -------------------------------------------------------------------------- */

static double loss_of(lx_training *t, const lx_step_inputs *in)
{
    lx_error err = {0};
    double loss;

    lx_assert_ok(lx_step_run(&loss, t->step, in, 1.0, &err), &err);
    return loss;
}

/* Along its own direction a gradient is how fast the loss rises. */
static void check_slope(const char *const *words, int n)
{
    lx_test_flags flags = {.count = n};
    lx_tensor_file *golden = lx_golden_open("train/step_A_plain.safetensors");
    lx_step_inputs in;
    lx_training t;
    float *gradient, *at;
    double square = 0, above, below, slope, h;
    size_t size;

    for (int i = 0; i < n; i++)
        flags.words[i] = strdup(words[i]);
    lx_training_open(&t, &flags, NULL, false);
    move(t.model.lora);
    in = lx_training_inputs(&t, golden, "in.", -1);
    lx_step_zero_gradients(t.step);
    loss_of(&t, &in);
    size = t.model.lora->n_values;
    gradient = malloc(size * sizeof *gradient);
    at = malloc(size * sizeof *at);
    assert_true(gradient && at);
    memcpy(gradient, t.model.lora->gradients, size * sizeof *gradient);
    memcpy(at, t.model.lora->values, size * sizeof *at);
    for (size_t i = 0; i < size; i++)
        square += (double)gradient[i] * gradient[i];
    h = 2e-3 / square; /* the loss by about 0.004 */
    for (size_t i = 0; i < size; i++)
        t.model.lora->values[i] = (float)(at[i] + h * gradient[i]);
    above = loss_of(&t, &in);
    for (size_t i = 0; i < size; i++)
        t.model.lora->values[i] = (float)(at[i] - h * gradient[i]);
    below = loss_of(&t, &in);
    slope = (above - below) / (2 * h);
    print_message("    slope %.6g, gradient %.6g\n", slope, square);
    assert_true(fabs(slope / square - 1) < 2e-2);
    free(gradient);
    free(at);
    lx_training_close(&t);
    lx_tensor_file_close(golden);
    for (int i = 0; i < n; i++)
        free(flags.words[i]);
}

static void test_lycoris__gradients_are_slopes(void **state)
{
#define WORDS                                                                          \
    "--network_module", "lycoris.kohya", "--network_dim", "2", "--network_alpha", "1", \
        "--network_args"
    static const char *const loha[] = {WORDS, "algo=loha"};
    static const char *const lokr[] = {WORDS, "algo=lokr", "decompose_both=True"};
    static const char *const rows[] = {WORDS, "algo=loha", "rank_dropout=0.3",
                                       "module_dropout=0.2"};
    static const char *const rows_of_lokr[] = {WORDS, "algo=lokr", "rank_dropout=0.3"};

    check_slope(loha, sizeof loha / sizeof *loha);
    check_slope(lokr, sizeof lokr / sizeof *lokr);
    check_slope(rows, sizeof rows / sizeof *rows);
    check_slope(rows_of_lokr, sizeof rows_of_lokr / sizeof *rows_of_lokr);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lycoris__dimensions_are_cut_as_the_peer_cuts),
        cmocka_unit_test(test_lycoris__presets_take_the_peers_layers),
        cmocka_unit_test(test_lycoris__first_values_are_the_peers),
        cmocka_unit_test(test_lycoris__alphas),
        cmocka_unit_test(test_lycoris__computes_what_the_file_means),
        cmocka_unit_test(test_lycoris__norms_are_those_of_the_whole_change),
        cmocka_unit_test(test_lycoris__gradients_are_slopes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
