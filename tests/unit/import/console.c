#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/base/file.h"
#include "src/base/json.h"
#include "src/import/console.h"
#include "tests/support/golden.h"

enum { MOST_TRAININGS = 4, MOST_SAVED = 8, MOST_POINTS = 4096 };

/* What was told of one training. */
typedef struct training {
    lx_console_state state;
    struct {
        int64_t step;
        double elapsed, loss;
        char path[256];
    } saved[MOST_SAVED];
    size_t n_saved;
    char last[256];
    int64_t epochs[MOST_SAVED];
    size_t n_epochs, n_points;
    int64_t steps[MOST_POINTS];
    double values[MOST_POINTS];
} training;

typedef struct seen {
    training trainings[MOST_TRAININGS];
    size_t n;
} seen;

static int on_event(void *context, const lx_console_event *e, lx_error *err)
{
    seen *s = context;
    training *t;

    if (e->kind == LX_CONSOLE_TRAINING) {
        assert_true(s->n < MOST_TRAININGS);
        memset(&s->trainings[s->n++], 0, sizeof *s->trainings);
    }
    if (s->n == 0)
        return LX_OK;
    t = &s->trainings[s->n - 1];
    t->state = *e->state;
    if (e->kind == LX_CONSOLE_SAVED && t->n_saved < MOST_SAVED) {
        t->saved[t->n_saved].step = e->state->step;
        t->saved[t->n_saved].elapsed = e->state->elapsed;
        t->saved[t->n_saved].loss = e->state->loss;
        snprintf(t->saved[t->n_saved++].path, 256, "%s", e->path);
    } else if (e->kind == LX_CONSOLE_LAST) {
        snprintf(t->last, sizeof t->last, "%s", e->path);
    } else if (e->kind == LX_CONSOLE_EPOCH && t->n_epochs < MOST_SAVED) {
        t->epochs[t->n_epochs++] = e->state->epoch;
    } else if (e->kind == LX_CONSOLE_POINT && t->n_points < MOST_POINTS) {
        t->steps[t->n_points] = e->step;
        t->values[t->n_points++] = e->value;
    }
    (void)err;
    return LX_OK;
}

/* Fed in pieces of `piece` bytes; 0: in pieces of sizes that the seed draws. */
static void read_all(seen *out, const char *bytes, size_t n, size_t piece)
{
    static lx_console console;
    lx_error err = {0};
    unsigned draw = 12345;

    memset(out, 0, sizeof *out);
    lx_console_init(&console, on_event, out);
    for (size_t at = 0, more; at < n; at += more) {
        draw = draw * 1103515245u + 12345u;
        more = piece ? piece : 1 + (draw >> 16) % 97;
        more = more < n - at ? more : n - at;
        assert_int_equal(lx_console_feed(&console, bytes + at, more, &err), LX_OK);
        if (out->n)
            out->trainings[out->n - 1].state = console.state;
    }
    assert_int_equal(lx_console_finish(&console, &err), LX_OK);
    if (out->n)
        out->trainings[out->n - 1].state = console.state;
}

static void check_number(const char *what, const cJSON *wanted, const char *key,
                         double got)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(wanted, key);

    if (!item || cJSON_IsNull(item)) {
        if (item && got != -1)
            fail_msg("%s: %s is %g and was never printed", what, key, got);
        return;
    }
    if (fabs(item->valuedouble - got) > 1e-6)
        fail_msg("%s: %s is %g, wanted %g", what, key, got, item->valuedouble);
}

static void check_training(const char *what, const cJSON *wanted, const training *t)
{
    const lx_console_state *s = &t->state;
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(wanted, "checkpoints"), *item;
    const char *model = lx_json_text(wanted, "final_model");
    size_t i = 0;

    check_number(what, wanted, "num_train_images_x_repeats", (double)s->num_train_images);
    check_number(what, wanted, "num_reg_images", (double)s->num_reg_images);
    check_number(what, wanted, "num_batches_per_epoch", (double)s->num_batches_per_epoch);
    check_number(what, wanted, "num_epochs", (double)s->num_epochs);
    check_number(what, wanted, "batch_size", (double)s->batch_size);
    check_number(what, wanted, "total_batch_size", (double)s->total_batch_size);
    check_number(what, wanted, "gradient_accumulation_steps",
                 (double)s->gradient_accumulation_steps);
    check_number(what, wanted, "total_optimization_steps", (double)s->total_steps);
    check_number(what, wanted, "last_step", (double)s->step);
    check_number(what, wanted, "elapsed_s", s->elapsed);
    check_number(what, wanted, "final_loss", s->loss);
    check_number(what, wanted, "seconds_per_step", s->seconds_per_step);
    check_number(what, wanted, "bars", (double)s->n_bars);
    assert_int_equal(s->is_finished, lx_json_bool(wanted, "finished", false));
    assert_string_equal(t->last, model ? model : "");
    cJSON_ArrayForEach(item, list)
    {
        assert_true(i < t->n_saved);
        check_number(what, item, "step", (double)t->saved[i].step);
        check_number(what, item, "elapsed_s", t->saved[i].elapsed);
        check_number(what, item, "loss", t->saved[i].loss);
        assert_string_equal(t->saved[i++].path, lx_json_text(item, "path"));
    }
    assert_int_equal(i, t->n_saved);
    i = 0;
    cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(wanted, "epochs_started"))
    {
        assert_true(i < t->n_epochs);
        assert_int_equal(t->epochs[i++], item->valueint);
    }
    assert_int_equal(i, t->n_epochs);
}

static void check_file(const cJSON *wanted, size_t piece)
{
    const cJSON *runs = cJSON_GetObjectItemCaseSensitive(wanted, "runs"), *run;
    char path[128];
    lx_str bytes = LX_STR_INIT;
    lx_error err = {0};
    static seen s;
    size_t i = 0;

    snprintf(path, sizeof path, "lora/logs/%s", wanted->string);
    if (!lx_golden(path)) /* the largest is not among the slim goldens */
        return;
    assert_int_equal(lx_file_read(&bytes, lx_golden(path), 1 << 20, &err), LX_OK);
    read_all(&s, lx_str_text(&bytes), bytes.len, piece);
    lx_str_release(&bytes);
    if (!runs) {
        assert_int_equal(s.n, 1);
        check_training(wanted->string, wanted, &s.trainings[0]);
        return;
    }
    cJSON_ArrayForEach(run, runs)
    {
        assert_true(i < s.n);
        check_training(wanted->string, run, &s.trainings[i++]);
    }
    assert_int_equal(i, s.n);
}

/* Every recorded log, whole and in pieces: as printed, with carriage returns, UTF-16,
 * CP932, cut, two in one file. */
static void test_import_console__recorded_logs(void **state)
{
    cJSON *expected = lx_golden_json("lora/logs/expected.json");
    const cJSON *item;
    size_t n = 0;

    (void)state;
    cJSON_ArrayForEach(item, expected)
    {
        check_file(item, 1 << 20);
        check_file(item, 1);
        check_file(item, 0);
        n++;
    }
    assert_true(n >= 10);
    cJSON_Delete(expected);
}

static const training *read_text(const char *text)
{
    static seen s;
    read_all(&s, text, strlen(text), 0);
    return s.n ? &s.trainings[s.n - 1] : NULL;
}

/* tqdm draws step 2 once with the loss of step 1, then with its own. */
static void test_import_console__the_last_drawing_of_a_step_counts(void **state)
{
    const training *t =
        read_text("\rsteps:   0%|          | 0/3 [00:00<?, ?it/s]\nepoch 1/1\n"
                  "\rsteps:  33%|███▎      | 1/3 [00:36<01:12, 36.41s/it]"
                  "\rsteps:  33%|███▎      | 1/3 [00:36<01:12, 36.41s/it, avr_loss=1.08]"
                  "\rsteps:  67%|██████▋   | 2/3 [01:12<00:36, 36.4s/it, avr_loss=1.08]"
                  "\rsteps:  67%|██████▋   | 2/3 [01:12<00:36, 36.4s/it, avr_loss=9.5e-5]"
                  "\rsteps: 100%|██████████| 3/3 [01:48<00:00, 36.4s/it, avr_loss=nan]");
    (void)state;
    assert_non_null(t);
    assert_int_equal(t->n_points, 3);
    assert_int_equal(t->steps[1], 2);
    assert_true(t->values[0] == 1.08 && t->values[1] == 9.5e-5 && isnan(t->values[2]));
    assert_int_equal(t->state.n_bars, 6);
}

/* Told after a while of silence, a step is not told again when its bar is closed. */
static void test_import_console__a_closed_bar_tells_nothing_new(void **state)
{
    static const char bar[] = "\rsteps: 100%|##########| 3/3 [01:48<00:00, 36.4s/it, avr_loss=0.5]";
    static lx_console console;
    static seen s;
    lx_error err = {0};

    (void)state;
    memset(&s, 0, sizeof s);
    lx_console_init(&console, on_event, &s);
    assert_int_equal(lx_console_feed(&console, bar, sizeof bar - 1, &err), LX_OK);
    assert_int_equal(s.trainings[0].n_points, 0);
    assert_int_equal(lx_console_settle(&console, &err), LX_OK);
    assert_int_equal(s.trainings[0].n_points, 1);
    assert_int_equal(lx_console_feed(&console, "\nmodel saved.\n", 14, &err), LX_OK);
    assert_int_equal(lx_console_feed(&console, bar, sizeof bar - 1, &err), LX_OK);
    assert_int_equal(lx_console_finish(&console, &err), LX_OK);
    assert_int_equal(s.n, 1);
    assert_int_equal(s.trainings[0].n_points, 1);
}

/* sd-scripts counts the step, saves and samples, and only then draws the step's loss: what
 * comes in between, or nothing for a while, makes the loss of the step before no point of
 * this one. */
static void test_import_console__what_is_saved_within_a_step(void **state)
{
    static const char before[] =
        "\rsteps:  33%|###  | 1/3 [00:36<01:12, 36.41s/it, avr_loss=1.08]"
        "\rsteps:  67%|####  | 2/3 [01:12<00:36, 36.4s/it, avr_loss=1.08]",
                      saved[] = "\nsaving checkpoint: out/a-step00000002.safetensors\n",
                      sampled[] =
                          "\rgenerating:  50%|#  | 1/2 [00:01<00:01,  1.00it/s]\n",
                      own[] = "\rsteps:  67%|###   | 2/3 [01:12<00:36, 36.4s/it, "
                              "avr_loss=0.5]";
    static lx_console console;
    static seen s;
    const training *t = &s.trainings[0];
    lx_error err = {0};

    (void)state;
    memset(&s, 0, sizeof s);
    lx_console_init(&console, on_event, &s);
    lx_console_feed(&console, before, sizeof before - 1, &err);
    assert_int_equal(lx_console_settle(&console, &err), LX_OK);
    lx_console_feed(&console, saved, sizeof saved - 1, &err);
    lx_console_feed(&console, sampled, sizeof sampled - 1, &err);
    assert_int_equal(lx_console_settle(&console, &err), LX_OK);
    assert_true(t->n_saved == 1 && t->saved[0].step == 2);
    assert_int_equal(t->n_points, 1);
    lx_console_feed(&console, own, sizeof own - 1, &err);
    assert_int_equal(lx_console_settle(&console, &err), LX_OK);
    assert_int_equal(t->n_points, 2);
    assert_true(t->steps[1] == 2 && t->values[1] == 0.5);
    assert_int_equal(lx_console_finish(&console, &err), LX_OK);
    assert_int_equal(t->n_points, 2);
}

/* A bar drawn again after a validation tells nothing new either. */
static void test_import_console__a_validation_between_two_drawings(void **state)
{
    const training *t =
        read_text("\rsteps:  50%|#####     | 4/8 [00:01<00:01,  1.00it/s, avr_loss=0.1]"
                  "\rvalidation steps: 100%|####| 2/2 [00:00<00:00, 3it/s, "
                  "val_avg_loss=0.3]\n"
                  "\rsteps:  50%|#####     | 4/8 [00:01<00:01,  1.00it/s, avr_loss=0.1]"
                  "\rsteps:  62%|#####     | 5/8 [00:01<00:01,  1.00it/s, avr_loss=0.1]");

    (void)state;
    assert_non_null(t);
    assert_int_equal(t->n_points, 3);
    assert_true(t->steps[2] == 5 && t->values[2] == 0.1);
}

/* rich writes colours, moves and its own columns around the same words. */
static void test_import_console__terminal_escapes_are_dropped(void **state)
{
    const training *t = read_text(
        "\x1b[2;36m2026-01-01\x1b[0m \x1b[34mINFO\x1b[0m create LoRA network. base dim "
        "(rank): "
        "8, alpha: 4.0  train_network.py:1\n"
        "\x1b]0;title\x07running training / x\n  num epochs / x: 2\n"
        "\x1b[A\r\x1b[Ksteps:  50%|\x1b[32m#####\x1b[0m     | 1/2 [00:01<00:01,  "
        "1.00it/s, "
        "avr_loss=0.5]\r\n\x1b[34mINFO\x1b[0m model saved.    train_network.py:2\n");
    (void)state;
    assert_non_null(t);
    assert_int_equal(t->state.network_dim, 8);
    assert_true(t->state.network_alpha == 4.0 && t->state.loss == 0.5);
    assert_int_equal(t->state.num_epochs, 2);
    assert_true(t->state.is_finished);
}

/* Bars of downloads and caches are no training; another trainer's bar with a loss is. */
static void test_import_console__other_bars(void **state)
{
    const training *t;

    (void)state;
    assert_null(
        read_text("\r100%|##########| 3/3 [00:03<00:00,  1.00s/it]\n"
                  "\rDownloading: 50%|#####     | 1/2 [00:01<00:01,  1.00it/s]\n"));
    t = read_text(
        "\rSteps:  50%|#####     | 1/2 [00:01<00:01,  1.00it/s, loss=0.25, lr=0.0001]\n");
    assert_non_null(t);
    assert_int_equal(t->n_points, 2);
    assert_true(t->values[0] == 0.25 && t->values[1] == 0.0001);
    t = read_text(
        "\rmy_lora:  50%|#####     | 1/2 [00:01<00:01,  1.00s/it, lr: 1.0e-04 loss: "
        "3.5e-01]\n");
    assert_non_null(t);
    assert_true(t->n_points == 2 && t->values[1] == 0.35);
    t = read_text(
        "\rsteps:  50%|#####     | 4/8 [00:01<00:01,  1.00it/s, avr_loss=0.1]"
        "\rvalidation steps:  50%|##   | 1/2 [00:00<00:00, 3it/s, val_avg_loss=0.9, "
        "timestep=4]\rvalidation steps: 100%|####| 2/2 [00:00<00:00, 3it/s, "
        "val_avg_loss=0.3, timestep=5]\n");
    assert_non_null(t);
    assert_int_equal(t->n_points, 2);
    assert_true(t->steps[1] == 4 && t->values[1] == 0.3);
    assert_true(t->state.loss == 0.1);
}

/* Long lines, brackets without end, NUL bytes, broken UTF-8, numbers that overflow:
 * nothing is believed, nothing is slow, and what comes after is read. */
static void test_import_console__hostile_bytes(void **state)
{
    static const char good[] =
        "\nsteps:  50%|#| 1/2 [00:01<00:01,  1.00it/s, loss=0.5]\n";
    static const char *const bad[] = {
        "steps:  1%|#| 99999999999999999999/2 [00:01<00:01, 1it/s, loss=0.5]",
        "steps:  1%|#| 1/2 [99999999999999999:01<00:01, 1it/s, loss=0.5]",
        "steps:  1%|#| 1/ [00:01<00:01, 1it/s, loss=0.5]",
        "steps:  1%|#| /2 [00:01<00:01, 1it/s, loss=0.5]",
        "steps:  1%|#| 1/2 [00:01<00:01 1it/s loss=0.5",
        "epoch 9999999999999999999999/1",
        "[]][[][]<,=:|%",
        "\x1b[\x1b]\x1b\x1b",
    };
    const size_t n = 1 << 20;
    char *line = malloc(n + sizeof good);
    static seen s;

    (void)state;
    assert_non_null(line);
    for (int kind = 0; kind < 5; kind++) {
        static const char *const fill[] = {"[", "]", "[00:01<", "1/2 [0:1<",
                                           "\0\xff\x80\x1b["};
        size_t m = kind == 4 ? 5 : strlen(fill[kind]);
        for (size_t i = 0; i < n; i++)
            line[i] = fill[kind][i % m];
        memcpy(line + n, good, sizeof good);
        read_all(&s, line, n + sizeof good - 1, 1 << 20);
        assert_int_equal(s.n, 1);
        assert_true(s.trainings[0].state.loss == 0.5);
    }
    free(line);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_null(read_text(bad[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_import_console__recorded_logs),
        cmocka_unit_test(test_import_console__the_last_drawing_of_a_step_counts),
        cmocka_unit_test(test_import_console__a_closed_bar_tells_nothing_new),
        cmocka_unit_test(test_import_console__what_is_saved_within_a_step),
        cmocka_unit_test(test_import_console__a_validation_between_two_drawings),
        cmocka_unit_test(test_import_console__terminal_escapes_are_dropped),
        cmocka_unit_test(test_import_console__other_bars),
        cmocka_unit_test(test_import_console__hostile_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
