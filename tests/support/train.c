#include "tests/support/train.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cmd/train_flags.h"
#include "src/base/alloc.h"
#include "tests/support/golden.h"
#include "tests/support/synth.h"

/* ---- flags ------------------------------------------------------------------------ */

void lx_test_flags_add(lx_test_flags *flags, const cJSON *list)
{
    const cJSON *word;

    cJSON_ArrayForEach(word, list)
    {
        if (flags->count == sizeof(flags->words) / sizeof(flags->words[0]))
            fail_msg("more than %d flags", flags->count);
        flags->words[flags->count++] = word->valuestring;
    }
}

void lx_test_flags_parse(lx_train_config *config, lx_arena *arena,
                         const lx_test_flags *flags)
{
    lx_train_flags facts = {0};
    lx_test_flags copy = *flags; /* the parser may reorder it */
    lx_error err = {0};
    lx_cli cli;

    lx_cli_init(&cli, arena, stdout, stderr);
    lx_assert_ok(lx_train_flags_parse(config, &facts, &cli, copy.count, copy.words, &err),
                 &err);
}

/* ---- opening and closing ---------------------------------------------------------- */

static void open_lora(lx_training *t, const char *lora)
{
    lx_model_fixture *m = &t->model;
    lx_error err = {0};

    if (lora)
        lx_assert_ok(
            lx_lora_open(&m->lora, m->dev, m->checkpoint, &m->config, lora, true, &err),
            &err);
    else
        lx_assert_ok(lx_lora_create(&m->lora, m->dev, m->checkpoint, &m->config,
                                    &t->config.network, t->config.seed, &err),
                     &err);
}

void lx_training_open(lx_training *t, const lx_test_flags *flags, const char *lora,
                      bool keeps_intermediates)
{
    const lx_trainable *tensors;
    lx_step_model model;
    lx_error err = {0};
    size_t n;

    *t = (lx_training){.arena = lx_arena_new()};
    assert_non_null(t->arena);
    lx_test_flags_parse(&t->config, t->arena, flags);
    lx_model_fixture_open(&t->model, lx_synth_checkpoint("tiny"), 4);
    open_lora(t, lora);
    model = (lx_step_model){.dev = t->model.dev,
                            .checkpoint = t->model.checkpoint,
                            .sd = &t->model.config,
                            .lora = t->model.lora,
                            .config = &t->config,
                            .keeps_intermediates = keeps_intermediates};
    lx_assert_ok(lx_step_new(&t->step, &model, &err), &err);
    lx_step_zero_gradients(t->step);
    tensors = lx_step_trainables(t->step, &n);
    lx_assert_ok(lx_optimizer_new(&t->optimizer, &t->config.optimizer, tensors, n, &err),
                 &err);
    t->schedule = lx_train_schedule(&t->config, t->config.max_train_steps);
    lx_assert_ok(lx_schedule_check(&t->schedule, &err), &err);
    lx_training_restart(t);
}

void lx_training_restart(lx_training *t)
{
    const lx_lora *lora = t->model.lora;

    t->start = lx_arena_alloc(t->arena, lora->n_values * sizeof(*t->start));
    t->is_rounding = lx_arena_calloc(t->arena, lora->n_values, sizeof(*t->is_rounding));
    assert_true(t->start && t->is_rounding);
    memcpy(t->start, lora->host_values, lora->n_values * sizeof(*t->start));
}

void lx_training_close(lx_training *t)
{
    lx_updater_free(t->updater);
    lx_optimizer_free(t->optimizer);
    lx_step_free(t->step);
    lx_model_fixture_close(&t->model);
    lx_arena_free(t->arena);
}

/* ---- inputs ----------------------------------------------------------------------- */

/* Row `row` of a tensor, in the arena; *shape is the row's first dimension. */
static const void *row_of(lx_training *t, const lx_tensor_view *view, int row)
{
    size_t bytes = row < 0 ? view->bytes : view->bytes / (size_t)view->shape[0];
    char *copy = lx_arena_alloc(t->arena, bytes);

    assert_non_null(copy);
    assert_true(row < 0 || row < view->shape[0]);
    memcpy(copy, (const char *)view->data + (row < 0 ? 0 : (size_t)row * bytes), bytes);
    return copy;
}

static const void *floats(lx_training *t, const lx_tensor_file *golden,
                          const char *prefix, const char *name, int row)
{
    const lx_tensor_view *view = lx_golden_find(golden, "%s%s", prefix, name);

    assert_int_equal(view->dtype, LX_F32);
    return row_of(t, view, row);
}

static const float *scaled(lx_training *t, const lx_tensor_view *view, int row)
{
    const size_t n = view->n_elements / (row < 0 ? 1 : (size_t)view->shape[0]);
    const float *latents = row_of(t, view, row);
    float *out = lx_arena_alloc(t->arena, n * sizeof(*out));

    assert_non_null(out);
    for (size_t i = 0; i < n; i++)
        out[i] = latents[i] * 0.18215f;
    return out;
}

static void add_offset(lx_training *t, lx_step_inputs *in, const lx_tensor_file *golden,
                       const char *prefix)
{
    float *noise = (float *)in->noise; /* our copy in the arena */

    if (t->config.noise_offset == 0)
        return;
    lx_noise_offset(noise, in->latents, floats(t, golden, prefix, "offset_noise", -1),
                    in->batch, in->h * in->w, t->config.noise_offset,
                    t->config.adaptive_noise_scale);
}

lx_step_inputs lx_training_inputs(lx_training *t, const lx_tensor_file *golden,
                                  const char *prefix, int row)
{
    const lx_tensor_view *noise = lx_golden_find(golden, "%snoise", prefix);
    const lx_tensor_view *ids = lx_golden_find(golden, "%sinput_ids", prefix);
    const lx_tensor_view *timesteps = lx_golden_find(golden, "%stimesteps", prefix);
    const int axis = row < 0 ? 0 : 1;
    lx_step_inputs in = {
        .batch = (int)noise->shape[axis],
        .n_chunks = (int)ids->shape[axis + 1],
        .h = noise->shape[axis + 2],
        .w = noise->shape[axis + 3],
        .noise = floats(t, golden, prefix, "noise", row),
        .timesteps = row_of(t, timesteps, row),
        .input_ids = row_of(t, ids, row),
        .loss_weights = floats(t, golden, prefix, "loss_weights", row),
    };
    char name[64];

    assert_int_equal(ids->dtype, LX_I64);
    assert_int_equal(timesteps->dtype, LX_I64);
    snprintf(name, sizeof name, "%sscaled_latents", prefix);
    if (lx_tensor_file_find(golden, name))
        in.latents = floats(t, golden, prefix, "scaled_latents", row);
    else
        in.latents = scaled(t, lx_golden_find(golden, "%slatents", prefix), row);
    add_offset(t, &in, golden, prefix);
    return in;
}

/* ---- steps ------------------------------------------------------------------------ */

/* What the goldens allow the gradient of a tensor to be off. */
static const double gradient_limit = 5e-4;

static void mark_rounding(lx_training *t, const lx_trainable *tensors, size_t count)
{
    const lx_lora *lora = t->model.lora;

    for (size_t i = 0; i < count; i++) {
        const lx_trainable *at = &tensors[i];
        double square = 0, least;

        for (size_t k = 0; k < at->n; k++)
            square += (double)at->gradient[k] * at->gradient[k];
        least = gradient_limit * sqrt(square / (double)at->n);
        for (size_t k = 0; k < at->n; k++) {
            bool is_rounding = at->gradient[k] != 0 && fabs(at->gradient[k]) < least;
            t->is_rounding[at->value - lora->host_values + (ptrdiff_t)k] = is_rounding;
            t->n_rounding += is_rounding;
        }
    }
}

static void update_on_device(lx_training *t, const lx_trainable *tensors, size_t n,
                             double factor)
{
    lx_update_result found;
    lx_error err = {0};
    uint64_t ticket;

    if (!t->updater)
        lx_assert_ok(lx_updater_new(&t->updater, t->model.lora, t->optimizer, false, tensors, n,
                                    t->config.max_grad_norm, &err),
                     &err);
    lx_assert_ok(lx_updater_queue(t->updater, factor, &ticket, &err), &err);
    lx_assert_ok(lx_updater_result(t->updater, ticket, &found, &err), &err);
    assert_true(found.is_finite);
    lx_assert_ok(lx_updater_fetch(t->updater, &err), &err);
}

double lx_training_micro_step(lx_training *t, const lx_step_inputs *in)
{
    const int every = t->config.gradient_accumulation_steps;
    const lx_trainable *tensors;
    lx_error err = {0};
    double loss = NAN;
    size_t n;

    lx_assert_ok(lx_step_run(&loss, t->step, in, 1.0 / every, &err), &err);
    if (++t->n_micro_steps % every)
        return loss;
    tensors = lx_step_trainables(t->step, &n);
    if (t->n_steps == 0)
        mark_rounding(t, tensors, n);
    if (lx_updater_is_possible(t->model.dev, &t->config)) {
        update_on_device(t, tensors, n, lx_schedule_factor(&t->schedule, t->n_steps++));
        lx_step_zero_gradients(t->step);
        return loss;
    }
    if (t->config.max_grad_norm > 0)
        lx_gradient_clip(tensors, n, lx_gradient_norm(tensors, n),
                         t->config.max_grad_norm);
    lx_optimizer_step(t->optimizer, tensors,
                      lx_schedule_factor(&t->schedule, t->n_steps++));
    if (t->config.scale_weight_norms > 0)
        lx_lora_limit_norms(t->model.lora, t->config.scale_weight_norms);
    lx_assert_ok(lx_lora_send(t->model.lora, &err), &err);
    lx_step_zero_gradients(t->step);
    return loss;
}

double lx_training_distance(const lx_training *t, const lx_tensor_file *golden,
                            const char *prefix, bool is_early)
{
    double distance = 0, moved = 0;

    for (size_t i = 0; i < 2 * t->model.lora->count; i++) {
        const lx_lora_module *m = &t->model.lora->modules[i / 2];
        const lx_param *p = i % 2 ? &m->up : &m->down;
        const lx_lora *lora = t->model.lora;
        const float *now = lx_lora_host_value(lora, p);
        const float *start = t->start + (now - lora->host_values);
        const lx_tensor_view *view;
        char name[512];
        float *wanted;
        size_t n;

        snprintf(name, sizeof name, "%s%s", prefix, p->name);
        if (!(view = lx_tensor_file_find(golden, name)))
            continue;
        wanted = lx_golden_f32(&n, golden, "%s", name);
        for (size_t k = 0; k < n; k++) {
            if (is_early && t->is_rounding[now - lora->host_values + (ptrdiff_t)k])
                continue;
            distance += ((double)now[k] - wanted[k]) * ((double)now[k] - wanted[k]);
            moved += ((double)wanted[k] - start[k]) * ((double)wanted[k] - start[k]);
        }
        free(wanted);
    }
    if (moved == 0)
        fail_msg("the golden has no tensor \"%s...\" that moved", prefix);
    return sqrt(distance / moved);
}

void lx_training_show_averages(lx_training *t, bool on)
{
    lx_error err = {0};
    size_t n;
    const lx_trainable *tensors = lx_step_trainables(t->step, &n);

    if (lx_optimizer_show_averages(t->optimizer, tensors, on))
        lx_assert_ok(lx_lora_send(t->model.lora, &err), &err);
}
