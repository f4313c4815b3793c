/* Whole trainings, micro-step by micro-step on the peer's inputs: the losses and where
 * they end. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/base/file.h"
#include "tests/support/golden.h"
#include "tests/support/train.h"

/* ---- 20 steps from given weights -------------------------------------------------- */

/* Of goldens/README: for AdamW and its like, unless a run below says otherwise. */
static const double loss_limit = 1e-5;
static double distance_limit = 2e-3;

static void zero_ups(lx_training *t)
{
    lx_error err = {0};

    for (size_t i = 0; i < t->model.lora->count; i++) {
        const lx_param *up = &t->model.lora->modules[i].up;
        size_t n = 1;
        for (int k = 0; k < up->n_dims; k++)
            n *= (size_t)up->shape[k];
        memset(lx_lora_host_value(t->model.lora, up), 0, n * sizeof(float));
    }
    lx_assert_ok(lx_lora_send(t->model.lora, &err), &err);
    lx_training_restart(t);
}

/* At the steps that the golden stores: the first, the fifth and the last. */
static void check_distance(const lx_training *t, const lx_tensor_file *golden, bool is_last)
{
    char prefix[32];
    double distance;

    if (t->n_steps != 1 && t->n_steps != 5 && !is_last)
        return;
    snprintf(prefix, sizeof prefix, "step%lld.", (long long)t->n_steps);
    if (t->config.lr_warmup_steps > 0 && t->n_steps == 1)
        return; /* with a rate of 0 nothing moved */
    distance = lx_training_distance(t, golden, prefix, !is_last);
    print_message("    after step %lld: distance / moved %.2e (%zu of %zu left out)\n",
                  (long long)t->n_steps, distance, is_last ? 0 : t->n_rounding,
                  t->model.lora->n_values);
    assert_true(distance <= distance_limit);
    assert_true(t->n_rounding < t->model.lora->n_values / 500);
}

static int by_name(const void *a, const void *b)
{
    const lx_param *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

/* The norm of every tensor at the end: those of which the golden stores nothing else too.
 */
static void check_norms(const lx_training *t, const cJSON *norms)
{
    const lx_lora *lora = t->model.lora;
    const lx_param **params = calloc(2 * lora->count, sizeof(*params));
    double worst = 0;

    assert_non_null(params);
    assert_int_equal(cJSON_GetArraySize(norms), 2 * lora->count);
    for (size_t i = 0; i < 2 * lora->count; i++)
        params[i] = i % 2 ? &lora->modules[i / 2].up : &lora->modules[i / 2].down;
    qsort(params, 2 * lora->count, sizeof(*params), by_name);
    for (size_t i = 0; i < 2 * lora->count; i++) {
        double wanted = cJSON_GetArrayItem(norms, (int)i)->valuedouble, square = 0;
        const float *value = params[i]->value;
        size_t n = 1;

        for (int k = 0; k < params[i]->n_dims; k++)
            n *= (size_t)params[i]->shape[k];
        for (size_t k = 0; k < n; k++)
            square += (double)value[k] * value[k];
        if (wanted == 0) /* no gradient reaches it */
            assert_true(square == 0);
        else
            worst = fmax(worst, fabs(sqrt(square) - wanted) / wanted);
    }
    print_message("    norms of all tensors: worst %.2e\n", worst);
    assert_true(worst <= distance_limit);
    free(params);
}

/* network_dim, network_alpha and the pairs of network_args; `words` keeps their texts. */
static void add_network(lx_test_flags *flags, const cJSON *run, char words[8][256])
{
    static char network_args[] = "--network_args", dim[] = "--network_dim";
    static char alpha[] = "--network_alpha";
    const cJSON *arg, *args = cJSON_GetObjectItem(run, "network_args");
    int n = 2;

    snprintf(words[0], sizeof words[0], "%g",
             cJSON_GetObjectItem(run, "network_dim")->valuedouble);
    snprintf(words[1], sizeof words[1], "%g",
             cJSON_GetObjectItem(run, "network_alpha")->valuedouble);
    flags->words[flags->count++] = dim;
    flags->words[flags->count++] = words[0];
    flags->words[flags->count++] = alpha;
    flags->words[flags->count++] = words[1];
    if (cJSON_GetArraySize(args) > 0)
        flags->words[flags->count++] = network_args;
    cJSON_ArrayForEach(arg, args)
    {
        snprintf(words[n], sizeof words[n], "%s=%s", arg->string, arg->valuestring);
        flags->words[flags->count++] = words[n++];
    }
}

static void follow_trajectory(const char *name)
{
    cJSON *all = lx_golden_json("train/traj.json");
    const cJSON *run = cJSON_GetObjectItem(cJSON_GetObjectItem(all, "runs"), name);
    const cJSON *losses = cJSON_GetObjectItem(run, "losses");
    const char *lora = cJSON_GetObjectItem(run, "lora")->valuestring;
    bool has_zero_ups = strcmp(lora, "lora_init_zero_up.safetensors") == 0;
    lx_tensor_file *golden, *inputs = lx_golden_open("train/traj_inputs.safetensors");
    lx_test_flags flags = {.count = 0};
    lx_training t;
    char path[128], start[128], words[8][256];
    double worst = 0;

    snprintf(path, sizeof path, "train/traj_%s.safetensors", name);
    snprintf(start, sizeof start, "train/%s",
             has_zero_ups ? "lora_init_a.safetensors" : lora);
    lx_golden_need(start);
    golden = lx_golden_open(path);
    lx_test_flags_add(&flags, cJSON_GetObjectItem(all, "common_args"));
    lx_test_flags_add(&flags, cJSON_GetObjectItem(run, "args"));
    add_network(&flags, run, words);
    lx_training_open(&t, &flags, lx_golden_need(start), false);
    if (has_zero_ups)
        zero_ups(&t);
    for (int i = 0; i < cJSON_GetArraySize(losses); i++) {
        lx_step_inputs in = lx_training_inputs(&t, inputs, "", i);
        double loss = lx_training_micro_step(&t, &in);

        worst = fmax(worst, fabs(loss - cJSON_GetArrayItem(losses, i)->valuedouble));
        lx_training_show_averages(&t, true);
        if (t.n_micro_steps % t.config.gradient_accumulation_steps == 0)
            check_distance(&t, golden, i + 1 == cJSON_GetArraySize(losses));
        if (i + 1 < cJSON_GetArraySize(losses))
            lx_training_show_averages(&t, false);
    }
    print_message("    losses: worst %.2e\n", worst);
    assert_true(worst <= loss_limit);
    check_norms(&t, cJSON_GetObjectItem(run, "norms_last"));
    lx_training_close(&t);
    lx_tensor_file_close(golden);
    lx_tensor_file_close(inputs);
    cJSON_Delete(all);
}

/* Skips before anything is held, where the slim copy has not got it. */
static void check_trajectory(const char *name)
{
    char path[128];

    snprintf(path, sizeof path, "train/traj_%s.safetensors", name);
    lx_golden_need(path);
    follow_trajectory(name);
}

static void test_train_trajectory__adamw(void **state)
{
    check_trajectory("adamw");
}

static void test_train_trajectory__adamw_accumulates_two_micro_steps(void **state)
{
    check_trajectory("adamw_accum2");
}

/* Runs whose golden is not in the slim copy skip by name. */
static void test_train_trajectory__other_optimizers_rates_and_ranks(void **state)
{
    static const struct {
        const char *name;
        double limit;
    } runs[] = {
        {"lion", 2e-2},
        {"sgd_nesterov", 5e-4},
        {"adafactor_relative", 5e-4},
        {"adafactor_fixed", 5e-4},
        {"prodigy", 1e-2},
        {"prodigy_tuned", 1e-2},
        {"schedulefree", 2e-3},
        {"adamw_scale_norms", 2e-3},
        {"adamw_loraplus", 2e-3},
        {"adamw_block_lr", 2e-3},
        {"adamw8bit_dim32", 2e-2},
        {"lion8bit_dim32", 2e-2},
        {"sgdnesterov8bit_dim32", 2e-2},
        {"adamw8bit", 2e-2},
    };

    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
        print_message("  %s\n", runs[i].name);
        distance_limit = runs[i].limit;
        check_trajectory(runs[i].name);
    }
    distance_limit = 2e-3;
}

static void test_train_trajectory__adamw_on_convolutions(void **state)
{
    check_trajectory("adamw_conv");
}

static void
test_train_trajectory__adamw_from_zero_with_warmup_cosine_and_clipping(void **state)
{
    check_trajectory("adamw_zero_up_cosine");
}

/* ---- the peer's whole runs, replayed ---------------------------------------------- */

/* Of goldens/README, for e2e. */
static const double replay_loss_limit = 2e-5, replay_distance_limit = 5e-3;

/* init.*: the downs that the peer drew; its ups begin at zero, as ours do. */
static void take_start(lx_training *t, const lx_tensor_file *replay)
{
    for (size_t i = 0; i < t->model.lora->count; i++) {
        lx_param *down = &t->model.lora->modules[i].down;
        size_t n;
        float *start = lx_golden_f32(&n, replay, "init.%s", down->name);
        memcpy(down->value, start, n * sizeof(*start));
        free(start);
    }
    lx_training_restart(t);
}

static void check_replay(const char *name, const char *saved, int n_steps)
{
    char path[128], prefix[32];
    lx_tensor_file *replay, *end;
    lx_error err = {0};
    lx_str line;
    lx_test_flags flags = {.count = 1};
    lx_training t;
    double worst = 0, distance;

    snprintf(path, sizeof path, "e2e/%s/replay.safetensors", name);
    replay = lx_golden_open(path);
    snprintf(path, sizeof path, "e2e/%s/%s.safetensors", name, saved);
    end = lx_golden_open(path);
    snprintf(path, sizeof path, "e2e/%s/command.txt", name);
    lx_assert_ok(lx_file_read(&line, lx_golden_need(path), 1 << 20, &err), &err);
    flags.words[0] = line.data; /* the pasted line as one word */
    lx_training_open(&t, &flags, NULL, false);
    take_start(&t, replay);
    for (int i = 0; i < n_steps; i++) {
        lx_step_inputs in;
        float *wanted;

        snprintf(prefix, sizeof prefix, "step%02d.", i);
        in = lx_training_inputs(&t, replay, prefix, -1);
        wanted = lx_golden_f32(NULL, replay, "%sloss", prefix);
        worst = fmax(worst, fabs(lx_training_micro_step(&t, &in) - *wanted));
        free(wanted);
    }
    distance = lx_training_distance(&t, end, "", false);
    print_message("    losses: worst %.2e; distance / moved %.2e\n", worst, distance);
    assert_true(worst <= replay_loss_limit);
    assert_true(distance <= replay_distance_limit);
    lx_training_close(&t);
    lx_str_release(&line);
    lx_tensor_file_close(end);
    lx_tensor_file_close(replay);
}

static void test_train_trajectory__replays_a_run_with_captions(void **state)
{
    check_replay("caption_txt", "caption-txt", 20);
}

static void test_train_trajectory__replays_a_run_with_regularisation_images(void **state)
{
    check_replay("reg", "reg", 32);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_train_trajectory__adamw),
        cmocka_unit_test(test_train_trajectory__adamw_accumulates_two_micro_steps),
        cmocka_unit_test(test_train_trajectory__adamw_on_convolutions),
        cmocka_unit_test(test_train_trajectory__other_optimizers_rates_and_ranks),
        cmocka_unit_test(
            test_train_trajectory__adamw_from_zero_with_warmup_cosine_and_clipping),
        cmocka_unit_test(test_train_trajectory__replays_a_run_with_captions),
        cmocka_unit_test(test_train_trajectory__replays_a_run_with_regularisation_images),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
