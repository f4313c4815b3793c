#include "src/train/schedule.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "cmd/train_flags.h"
#include "tests/support/golden.h"
#include "tests/support/train.h"

static const double limit = 1e-6;

/* What the flags of this version refuse: other optimizers' and classes' schedules. */
static bool is_offered(const cJSON *args)
{
    const cJSON *word;

    cJSON_ArrayForEach(word, args)
        if (strcmp(word->valuestring, "--lr_scheduler") == 0)
            for (int i = 0; i < LX_LR_SCHEDULER_COUNT; i++)
                if (strcmp(word->next->valuestring, lx_lr_scheduler_names[i]) == 0)
                    return true;
    return false;
}

/* Flags to a schedule; < 0 with the error. */
static int make_schedule(lx_schedule *schedule, lx_train_config *config, lx_arena *arena,
                         const cJSON *row, lx_error *err)
{
    const cJSON *total = cJSON_GetObjectItem(row, "max_train_steps");
    lx_test_flags flags = {
        .words = {"--learning_rate", "1e-3", "--unet_lr", "1e-3", "--text_encoder_lr", "5e-4"},
        .count = 6,
    };
    lx_train_flags facts = {0};
    lx_cli cli;
    int rc;

    lx_test_flags_add(&flags, cJSON_GetObjectItem(row, "args"));
    lx_cli_init(&cli, arena, stdout, stderr);
    if ((rc = lx_train_flags_parse(config, &facts, &cli, flags.count, flags.words, err)) < 0)
        return rc;
    *schedule = lx_train_schedule(config, total ? total->valueint : 100);
    return lx_schedule_check(schedule, err);
}

static double worst_error(const lx_schedule *schedule, double base, const cJSON *rates)
{
    double worst = 0;
    int64_t step = 0;
    const cJSON *rate;

    cJSON_ArrayForEach(rate, rates)
    {
        double got = base * lx_schedule_factor(schedule, step++), wanted = rate->valuedouble;
        /* Near a zero of the cosine a share says nothing: 1e-6 of the base rate. */
        worst = fmax(worst, fabs(got - wanted) / fmax(fabs(wanted), 1e-6 * base));
    }
    return worst;
}

static void test_train_schedule__rates_of_every_scheduler(void **state)
{
    cJSON *all = lx_golden_json("train/lr_schedules.json");
    const cJSON *row;
    int n_checked = 0, n_refused = 0;

    cJSON_ArrayForEach(row, cJSON_GetObjectItem(all, "schedules"))
    {
        const cJSON *te = cJSON_GetObjectItem(row, "lr_te"), *unet = te ? te->next : NULL;
        lx_arena *arena = lx_arena_new();
        lx_train_config config;
        lx_schedule schedule;
        lx_error err = {0};
        double worst;

        assert_non_null(arena);
        if (!is_offered(cJSON_GetObjectItem(row, "args"))) {
            print_message("    %s: not offered\n", row->string);
        } else if (cJSON_GetObjectItem(row, "error")) { /* the peer stops: so must we */
            assert_int_equal(make_schedule(&schedule, &config, arena, row, &err), LX_EUSAGE);
            assert_non_null(strstr(err.text, "--lr_"));
            n_refused++;
        } else {
            lx_assert_ok(make_schedule(&schedule, &config, arena, row, &err), &err);
            worst = fmax(worst_error(&schedule, config.text_encoder_lr, te),
                         worst_error(&schedule, config.unet_lr, unet));
            if (!(worst <= limit))
                fail_msg("%s: %.3g", row->string, worst);
            n_checked++;
        }
        lx_arena_free(arena);
    }
    cJSON_Delete(all);
    assert_int_equal(n_checked, 30);
    assert_int_equal(n_refused, 3);
}

static void test_train_schedule__steps_or_a_share_of_them(void **state)
{
    assert_int_equal(lx_schedule_steps(0, 100), 0);
    assert_int_equal(lx_schedule_steps(10, 100), 10);
    assert_int_equal(lx_schedule_steps(0.1, 100), 10);
    assert_int_equal(lx_schedule_steps(0.05, 1000), 50);
    assert_int_equal(lx_schedule_steps(1, 100), 1);
    assert_int_equal(lx_schedule_steps(150, 100), 150);
    assert_int_equal(lx_schedule_steps(LX_ALL_STEPS, 100), 100);
}

static void test_train_schedule__rules_by_step(void **state)
{
    static const char *const bad[] = {"",        "x",      "1:10",  "1:10,",   "1:x,2",                    "1:-1,2",
                                      "nan:1,2", "-1:5,1", "1:5;2", "1:2:3,4", "1:99999999999999999999,1", "inf"};
    /* not in order, a step twice: the later counts */
    static const char text[] = "0.5: 20 ,2:5,0.1:60,3:5,0.01";
    static const struct {
        int64_t step;
        double factor;
    } rows[] = {{0, 3}, {4, 3}, {5, 0.5}, {19, 0.5}, {20, 0.1}, {59, 0.1}, {60, 0.01}, {1 << 30, 0.01}};
    lx_schedule s = {.kind = LX_LR_PIECEWISE_CONSTANT, .total = 100};
    lx_arena *arena = lx_arena_new();
    lx_error err = {0};

    (void)state;
    assert_int_equal(lx_schedule_check(&s, &err), LX_EUSAGE);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (lx_schedule_rules_parse(&s.rules, arena, bad[i], &err) != LX_EUSAGE)
            fail_msg("'%s' is taken", bad[i]);
    lx_assert_ok(lx_schedule_rules_parse(&s.rules, arena, "0.5", &err), &err);
    assert_true(lx_schedule_factor(&s, 7) == 0.5);
    lx_assert_ok(lx_schedule_rules_parse(&s.rules, arena, text, &err), &err);
    lx_assert_ok(lx_schedule_check(&s, &err), &err);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_true(lx_schedule_factor(&s, rows[i].step) == rows[i].factor);
    s.warmup = 10;
    assert_int_equal(lx_schedule_check(&s, &err), LX_EUSAGE);
    lx_arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_train_schedule__rates_of_every_scheduler),
        cmocka_unit_test(test_train_schedule__steps_or_a_share_of_them),
        cmocka_unit_test(test_train_schedule__rules_by_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
