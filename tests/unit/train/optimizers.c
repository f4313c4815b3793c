/* Every optimizer against the package that the peer calls, and their options. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/base/alloc.h"
#include "src/train/optimizer.h"
#include "src/train/optimizer/eight_bit.h"
#include "tests/support/golden.h"

/* ---- a few updates (tests/golden/make_optimizers.py has the same formulas) -------- */

enum { N_TENSORS = 2, MOST = 12 };
static const int sizes[N_TENSORS] = {12, 5};
static const int64_t shape[2] = {3, 4};

typedef struct model {
    float value[N_TENSORS][MOST], gradient[N_TENSORS][MOST];
    lx_trainable tensors[N_TENSORS];
} model;

static void start(model *m, double lr)
{
    for (int of = 0; of < N_TENSORS; of++) {
        for (int i = 0; i < sizes[of]; i++)
            m->value[of][i] = (float)sin(1.3 * i + of);
        m->tensors[of] = (lx_trainable){.value = m->value[of],
                                        .gradient = m->gradient[of],
                                        .n = (size_t)sizes[of],
                                        .has_gradient = true,
                                        .lr = lr,
                                        .n_dims = of ? 1 : 2,
                                        .shape = of ? NULL : shape};
    }
}

static void set_gradients(model *m, int k)
{
    for (int of = 0; of < N_TENSORS; of++)
        for (int i = 0; i < sizes[of]; i++)
            m->gradient[of][i] = (float)(sin(0.15 * k + i + of) * pow(10, i % 3 - 2));
}

static void configure(lx_optimizer_config *config, const cJSON *c)
{
    const char *name = cJSON_GetObjectItem(c, "optimizer")->valuestring;
    const cJSON *option;
    lx_error err = {0};
    lx_optimizer_type type;

    if (lx_optimizer_type_from_name(&type, name, &err) < 0)
        fail_msg("%s", err.text);
    lx_optimizer_defaults(config, type);
    cJSON_ArrayForEach(option, cJSON_GetObjectItem(c, "options"))
    {
        char key[40] = "";
        size_t n = strcspn(option->valuestring, "=");

        memcpy(key, option->valuestring, n);
        if (lx_optimizer_set(config, key, option->valuestring + n + 1, &err) < 0)
            fail_msg("%s: %s: %s", name, option->valuestring, err.text);
    }
}

static void check_case(const cJSON *c, int updates)
{
    const cJSON *values = cJSON_GetObjectItem(c, "values");
    const double d = cJSON_GetObjectItem(c, "d")->valuedouble;
    const double lr = cJSON_GetObjectItem(c, "lr")->valuedouble;
    lx_optimizer_config config;
    lx_optimizer *o;
    lx_error err = {0};
    double worst = 0;
    model m;

    configure(&config, c);
    config.initial_lr = lr;
    start(&m, lr);
    if (lx_optimizer_new(&o, &config, m.tensors, N_TENSORS, &err) < 0)
        fail_msg("%s", err.text);
    for (int k = 0; k < updates; k++) {
        set_gradients(&m, k);
        lx_optimizer_step(o, m.tensors, 1);
    }
    lx_optimizer_show_averages(o, m.tensors, true);
    for (int of = 0; of < N_TENSORS; of++)
        for (int i = 0; i < sizes[of]; i++) {
            const cJSON *wanted = cJSON_GetArrayItem(cJSON_GetArrayItem(values, of), i);
            const double off = fabs(m.value[of][i] - wanted->valuedouble);
            worst = fmax(worst, off / fmax(1, fabs(wanted->valuedouble)));
        }
    print_message("    %s: worst value %.1e, d %.6g\n", lx_optimizer_name(config.type),
                  worst, lx_optimizer_rate(o, 1));
    assert_true(worst <= 2e-6);
    if (lx_optimizer_is_adaptive(config.type))
        assert_true(fabs(lx_optimizer_rate(o, 1) - d) <= 2e-5 * d);
    lx_optimizer_free(o);
}

static void test_train_optimizers__updates_are_those_of_the_packages(void **state)
{
    cJSON *all = lx_golden_json("train/optimizers.json");
    const cJSON *c;

    cJSON_ArrayForEach(c, cJSON_GetObjectItem(all, "cases"))
        check_case(c, cJSON_GetObjectItem(all, "updates")->valueint);
    cJSON_Delete(all);
}

/* ---- 8 bits ----------------------------------------------------------------------- */

static void check_map(const lx_tensor_file *golden, const char *name, bool is_signed)
{
    size_t n;
    float map[256], *wanted = lx_golden_f32(&n, golden, "%s", name);

    assert_int_equal(n, 256);
    lx_eight_bit_map(map, is_signed);
    assert_memory_equal(map, wanted, sizeof map);
    free(wanted);
}

static void check_codes(const lx_tensor_file *golden, const char *name, bool is_signed)
{
    size_t n, n_max;
    float map[256], *x = lx_golden_f32(&n, golden, "quant.%s.in", name);
    float *largest = lx_golden_f32(&n_max, golden, "quant.%s.absmax", name);
    const uint8_t *wanted = lx_golden_find(golden, "quant.%s.q", name)->data;

    lx_eight_bit_map(map, is_signed);
    for (size_t at = 0; at < n; at += LX_EIGHT_BIT_BLOCK) {
        const size_t part = n - at < LX_EIGHT_BIT_BLOCK ? n - at : LX_EIGHT_BIT_BLOCK;
        uint8_t codes[LX_EIGHT_BIT_BLOCK];
        float most;

        lx_eight_bit_pack(codes, &most, x + at, part, map);
        assert_true(most == largest[at / LX_EIGHT_BIT_BLOCK]);
        if (most == 0) /* any code is zero then */
            continue;
        for (size_t i = 0; i < part; i++)
            /* a neighbour, or within a step of the golden's table of 65536 (eight_bit.c)
             */
            assert_true(abs(codes[i] - wanted[at + i]) <= 1 ||
                        fabsf(map[codes[i]] - map[wanted[at + i]]) <= 2.0f / 65535);
    }
    free(x);
    free(largest);
}

static void test_train_optimizers__the_map_and_the_codes_of_8_bits(void **state)
{
    lx_tensor_file *golden = lx_golden_open("train/bnb8bit.safetensors");

    check_map(golden, "qmap_signed", true);
    check_map(golden, "qmap_unsigned", false);
    check_codes(golden, "signed", true);
    check_codes(golden, "unsigned", false);
    lx_tensor_file_close(golden);
}

/*
 * The golden is of bitsandbytes' CPU library, whose codes next to a midpoint are the
 * neighbours of ours (eight_bit.c): those few elements go a little other way. All others
 * are equal to 1e-7.
 */
static void check_close(const lx_tensor_file *golden, const char *run, const char *tensor,
                        int step, const float *value, size_t n, double lr)
{
    size_t n_wanted, n_off = 0;
    float *wanted = lx_golden_f32(&n_wanted, golden, "%s.%s.step%d", run, tensor, step);

    assert_int_equal(n, n_wanted);
    for (size_t i = 0; i < n; i++) {
        const double off = fabs((double)value[i] - wanted[i]);
        n_off += off > 1e-7;
        if (!(off <= 2 * lr))
            fail_msg("%s %s step %d [%zu]: %.9g, expected %.9g", run, tensor, step, i,
                     (double)value[i], (double)wanted[i]);
    }
    print_message("    %s %s step %d: %zu of %zu went by another code\n", run, tensor,
                  step, n_off, n);
    assert_true(n_off * 100 <= (strcmp(tensor, "p") == 0 ? 10 : 0) * n);
    free(wanted);
}

/* Six updates of a tensor with 8-bit states and of one too small for them. */
static void check_run(const char *run, lx_optimizer_config *config, double lr)
{
    lx_tensor_file *golden = lx_golden_open("train/bnb8bit.safetensors");
    size_t n[2];
    float *value[2] = {lx_golden_f32(&n[0], golden, "p0"),
                       lx_golden_f32(&n[1], golden, "s0")};
    lx_trainable tensors[2];
    lx_optimizer *o = NULL;
    lx_error err = {0};

    for (int i = 0; i < 2; i++)
        tensors[i] =
            (lx_trainable){.value = value[i], .n = n[i], .has_gradient = true, .lr = lr};
    if (lx_optimizer_new(&o, config, tensors, 2, &err) < 0)
        fail_msg("%s", err.text);
    for (int step = 1; step <= 6; step++) {
        tensors[0].gradient = lx_golden_f32(NULL, golden, "grad%d", step - 1);
        tensors[1].gradient = lx_golden_f32(NULL, golden, "small_grad%d", step - 1);
        lx_optimizer_step(o, tensors, 1);
        if (step == 2 || step == 6) {
            check_close(golden, run, "p", step, value[0], n[0], lr);
            check_close(golden, run, "small", step, value[1], n[1], lr);
        }
        free(tensors[0].gradient);
        free(tensors[1].gradient);
    }
    lx_optimizer_free(o);
    free(value[0]);
    free(value[1]);
    lx_tensor_file_close(golden);
}

static void test_train_optimizers__8_bit_updates_are_those_of_bitsandbytes(void **state)
{
    lx_optimizer_config config;

    lx_golden_need("train/bnb8bit.safetensors");
    lx_optimizer_defaults(&config, LX_OPTIMIZER_ADAMW_8BIT);
    check_run("adamw8bit", &config, 1e-3);
    config.weight_decay = 0.1;
    config.betas[1] = 0.99;
    check_run("adamw8bit_wd.1_b.9_.99", &config, 1e-3);
    lx_optimizer_defaults(&config, LX_OPTIMIZER_LION_8BIT);
    config.weight_decay = 0.01;
    check_run("lion8bit", &config, 1e-4);
    lx_optimizer_defaults(&config, LX_OPTIMIZER_SGD_NESTEROV_8BIT);
    check_run("sgd8bit_m.9", &config, 0.1);
}

/* ---- what a step changes can be put back ------------------------------------------ */

static void save_states(float *out, const lx_optimizer *o)
{
    size_t n, at = 0;
    const lx_optimizer_state *states = lx_optimizer_states(o, &n);

    for (size_t i = 0; i < n; i++) {
        const size_t bytes = states[i].n * (size_t)lx_dtype_bits(states[i].dtype) / 8;
        memcpy((char *)out + at, states[i].data, bytes);
        at += (bytes + 7) / 8 * 8;
    }
}

static void load_states(const lx_optimizer *o, const float *in)
{
    size_t n, at = 0;
    const lx_optimizer_state *states = lx_optimizer_states(o, &n);

    for (size_t i = 0; i < n; i++) {
        const size_t bytes = states[i].n * (size_t)lx_dtype_bits(states[i].dtype) / 8;
        memcpy(states[i].data, (const char *)in + at, bytes);
        at += (bytes + 7) / 8 * 8;
    }
}

/* Six updates at a stretch, and three, a new optimizer with the old one's states, and
 * three. */
static void check_resumed(lx_optimizer_type type)
{
    static float kept[1024];
    lx_optimizer_config config;
    lx_optimizer *o;
    lx_error err = {0};
    model whole, parts;

    lx_optimizer_defaults(&config, type);
    start(&whole, 1e-2);
    assert_int_equal(lx_optimizer_new(&o, &config, whole.tensors, N_TENSORS, &err),
                     LX_OK);
    for (int k = 0; k < 6; k++) {
        set_gradients(&whole, k);
        lx_optimizer_step(o, whole.tensors, 1);
    }
    lx_optimizer_free(o);
    start(&parts, 1e-2);
    assert_int_equal(lx_optimizer_new(&o, &config, parts.tensors, N_TENSORS, &err),
                     LX_OK);
    for (int k = 0; k < 6; k++) {
        if (k == 3) {
            save_states(kept, o);
            lx_optimizer_free(o);
            assert_int_equal(
                lx_optimizer_new(&o, &config, parts.tensors, N_TENSORS, &err), LX_OK);
            load_states(o, kept);
        }
        set_gradients(&parts, k);
        lx_optimizer_step(o, parts.tensors, 1);
        lx_optimizer_show_averages(o, parts.tensors, true);
        lx_optimizer_show_averages(o, parts.tensors, false);
    }
    lx_optimizer_free(o);
    for (int of = 0; of < N_TENSORS; of++)
        assert_memory_equal(whole.value[of], parts.value[of],
                            (size_t)sizes[of] * sizeof(float));
}

static void test_train_optimizers__go_on_from_their_states_to_the_bit(void **state)
{
    for (int type = 0; type < LX_OPTIMIZER_COUNT; type++)
        check_resumed((lx_optimizer_type)type);
}

static void test_train_optimizers__no_memory_is_an_error(void **state)
{
    for (int type = 0; type < LX_OPTIMIZER_COUNT; type++) {
        lx_optimizer_config config;
        int rc = LX_ENOMEM;
        model m;

        lx_optimizer_defaults(&config, (lx_optimizer_type)type);
        start(&m, 1);
        for (size_t n = 1; rc == LX_ENOMEM; n++) {
            lx_error err = {0};
            lx_optimizer *o = NULL;

            lx_alloc_fail_at(n, false);
            rc = lx_optimizer_new(&o, &config, m.tensors, N_TENSORS, &err);
            lx_alloc_fail_at(0, false);
            lx_optimizer_free(o);
        }
        assert_int_equal(rc, LX_OK);
    }
}

/* Adan knows no change of the gradient until something has moved, in a warm-up that begins with a rate of 0, too. */
static void test_train_optimizers__adan_begins_behind_a_rate_of_zero(void **state)
{
    static const lx_optimizer_type types[] = {LX_OPTIMIZER_DADAPT_ADAN,
                                              LX_OPTIMIZER_DADAPT_ADAN_IP};

    for (size_t t = 0; t < 2; t++) {
        const lx_optimizer_state *states;
        lx_optimizer_config config;
        lx_optimizer *o;
        lx_error err = {0};
        size_t n, n_seen = 0;
        model m;

        lx_optimizer_defaults(&config, types[t]);
        start(&m, 1);
        assert_int_equal(lx_optimizer_new(&o, &config, m.tensors, N_TENSORS, &err),
                         LX_OK);
        for (int k = 0; k < 2; k++) {
            set_gradients(&m, k);
            lx_optimizer_step(o, m.tensors, k);
        }
        states = lx_optimizer_states(o, &n);
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0;
                 strcmp(states[i].name, "exp_avg_diff") == 0 && j < states[i].n;
                 j++, n_seen++)
                assert_true(((const float *)states[i].data)[j] == 0);
        assert_true(n_seen > 0);
        lx_optimizer_free(o);
    }
}

/* A step of rate 0 is none for these, at the beginning of a warm-up or in the middle of a schedule. */
static void test_train_optimizers__a_rate_of_zero_moves_nothing(void **state)
{
    static const lx_optimizer_type types[] = {LX_OPTIMIZER_DADAPT_ADAM, LX_OPTIMIZER_DADAPT_ADAM_PREPRINT,
                                              LX_OPTIMIZER_PRODIGY};

    for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
        lx_optimizer_config config;
        lx_optimizer *plain, *paused;
        lx_error err = {0};
        model m, other;

        lx_optimizer_defaults(&config, types[t]);
        start(&m, 1);
        start(&other, 1);
        assert_int_equal(lx_optimizer_new(&plain, &config, m.tensors, N_TENSORS, &err), LX_OK);
        assert_int_equal(lx_optimizer_new(&paused, &config, other.tensors, N_TENSORS, &err), LX_OK);
        for (int k = 1; k < 4; k++) {
            set_gradients(&m, k);
            lx_optimizer_step(plain, m.tensors, 1);
            set_gradients(&other, k + 7);
            lx_optimizer_step(paused, other.tensors, 0);
            set_gradients(&other, k);
            lx_optimizer_step(paused, other.tensors, 1);
        }
        lx_optimizer_free(plain);
        lx_optimizer_free(paused);
        for (int i = 0; i < N_TENSORS; i++)
            assert_memory_equal(m.value[i], other.value[i], (size_t)sizes[i] * sizeof(float));
    }
}

/* The text encoder's tensors come first. */
static void
test_train_optimizers__lion_divides_its_decay_by_the_rate_of_the_whole(void **state)
{
    lx_optimizer_config config;
    lx_optimizer *o;
    lx_error err = {0};
    model m, other;

    lx_optimizer_defaults(&config, LX_OPTIMIZER_LION);
    config.decoupled_weight_decay = true;
    config.weight_decay = 0.01;
    config.initial_lr = 1e-3;
    start(&m, 1e-3);
    start(&other, 1e-3);
    m.tensors[0].lr = 0;
    set_gradients(&m, 1);
    set_gradients(&other, 1);
    assert_int_equal(lx_optimizer_new(&o, &config, m.tensors, N_TENSORS, &err), LX_OK);
    lx_optimizer_step(o, m.tensors, 1);
    lx_optimizer_free(o);
    assert_int_equal(lx_optimizer_new(&o, &config, other.tensors, N_TENSORS, &err),
                     LX_OK);
    lx_optimizer_step(o, other.tensors, 1);
    lx_optimizer_free(o);
    assert_true(m.value[0][1] == (float)sin(1.3)); /* not a number before */
    assert_memory_equal(m.value[1], other.value[1], (size_t)sizes[1] * sizeof(float));
}

/* ---- options ---------------------------------------------------------------------- */

static void refuse(lx_optimizer_type type, const char *key, const char *value,
                   const char *text)
{
    lx_optimizer_config config;
    lx_error err = {0};

    lx_optimizer_defaults(&config, type);
    assert_int_equal(lx_optimizer_set(&config, key, value, &err), LX_EUSAGE);
    if (!strstr(err.text, text))
        fail_msg("'%s' does not say '%s'", err.text, text);
}

static void test_train_optimizers__an_option_of_another_is_refused(void **state)
{
    refuse(LX_OPTIMIZER_ADAMW, "d_coef", "2",
           "AdamW has no such option; it has betas, weight_decay");
    refuse(LX_OPTIMIZER_SGD_NESTEROV, "betas", "0.9,0.99", "momentum");
    refuse(LX_OPTIMIZER_ADAMW, "betas", "0.9", "2 numbers");
    refuse(LX_OPTIMIZER_DADAPT_ADAN, "betas", "0.9,0.99", "3 numbers");
    refuse(LX_OPTIMIZER_ADAMW, "betas", "0.9,1.0", "[0, 1)");
    refuse(LX_OPTIMIZER_ADAMW, "eps", "0", "above 0");
    refuse(LX_OPTIMIZER_ADAMW, "weight_decay", "nan", "not a number");
    refuse(LX_OPTIMIZER_ADAMW, "weight_decay", "0.1)", "not a number");
    refuse(LX_OPTIMIZER_ADAMW, "eps", "inf", "not a number");
    refuse(LX_OPTIMIZER_SGD_NESTEROV, "momentum", "None", "not a number");
    refuse(LX_OPTIMIZER_PRODIGY, "decouple", "1", "neither True nor False");
    refuse(LX_OPTIMIZER_ADAFACTOR, "eps", "1e-3", "two numbers");
}

static void test_train_optimizers__values_are_told_as_python_tells_them(void **state)
{
    static const char *const pairs[][2] = {
        {"0.9,0.99", "(0.9, 0.99)"},
        {"(0.9,0.99)", "(0.9, 0.99)"},
        {"[.9, 1e-1]", "[0.9, 0.1]"},
        {"1e-3", "0.001"},
        {"1", "1"},
        {"1.0", "1.0"},
        {"True", "True"},
        {"1e-30,1e-3", "(1e-30, 0.001)"},
        {"0.5,", "(0.5,)"},
        {"x y", "x y"},
        {"-0.8", "-0.8"},
    };

    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        lx_str out = LX_STR_INIT;
        lx_optimizer_put_literal(&out, pairs[i][0]);
        assert_string_equal(lx_str_text(&out), pairs[i][1]);
        lx_str_release(&out);
    }
}

static void test_train_optimizers__names_in_any_case(void **state)
{
    lx_optimizer_type type;
    lx_error err = {0};

    for (int i = 0; i < LX_OPTIMIZER_COUNT; i++) {
        assert_int_equal(lx_optimizer_type_from_name(&type, lx_optimizer_name(i), &err),
                         LX_OK);
        assert_int_equal(type, i);
    }
    assert_int_equal(lx_optimizer_type_from_name(&type, "pagedadamw8BIT", &err), LX_OK);
    assert_int_equal(type, LX_OPTIMIZER_PAGED_ADAMW_8BIT);
    assert_int_equal(lx_optimizer_type_from_name(&type, "dadaptation", &err), LX_OK);
    assert_int_equal(type, LX_OPTIMIZER_DADAPT_ADAM_PREPRINT);
    assert_int_equal(lx_optimizer_type_from_name(&type, "Adam", &err), LX_EUNSUPPORTED);
    assert_non_null(
        strstr(err.text, "'Adam' is no optimizer of lx, which has AdamW, PagedAdamW"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_train_optimizers__updates_are_those_of_the_packages),
        cmocka_unit_test(test_train_optimizers__the_map_and_the_codes_of_8_bits),
        cmocka_unit_test(test_train_optimizers__8_bit_updates_are_those_of_bitsandbytes),
        cmocka_unit_test(test_train_optimizers__go_on_from_their_states_to_the_bit),
        cmocka_unit_test(test_train_optimizers__no_memory_is_an_error),
        cmocka_unit_test(test_train_optimizers__adan_begins_behind_a_rate_of_zero),
        cmocka_unit_test(test_train_optimizers__a_rate_of_zero_moves_nothing),
        cmocka_unit_test(
            test_train_optimizers__lion_divides_its_decay_by_the_rate_of_the_whole),
        cmocka_unit_test(test_train_optimizers__an_option_of_another_is_refused),
        cmocka_unit_test(test_train_optimizers__values_are_told_as_python_tells_them),
        cmocka_unit_test(test_train_optimizers__names_in_any_case),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
