#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "src/verify/label.h"

/* A LoRA that learned: every case changes what it needs. */
static lx_label_facts learned(void)
{
    return (lx_label_facts){.delta = 0.005,
                            .is_measured = true,
                            .movement = 0.01,
                            .noise_floor = 1e-12,
                            .gain = {0.03, 0.02, 0.04},
                            .gain_p = 0.001,
                            .n_images = 12,
                            .gain_sd = 0.015,
                            .even_gain = 0.03,
                            .caption_gain = {0.02, 0.01, 0.03},
                            .caption_p = 0.002,
                            .caption_sd = 0.01,
                            .class_p = NAN,
                            .binding_p = NAN,
                            .share_without = 0.3};
}

static void check(const lx_label_facts *f, lx_label label)
{
    lx_label_verdict v = lx_label_decide(f);

    assert_string_equal(lx_label_key(v.label), lx_label_key(label));
    assert_true(v.why && *v.why);
}

static void test_label__learned(void **state)
{
    lx_label_facts f = learned();

    (void)state;
    check(&f, LX_LABEL_LEARNED);
    f.caption_p = 0.5;
    check(&f, LX_LABEL_UNDETERMINED);
}

static void test_label__not_learned(void **state)
{
    lx_label_facts f = learned();

    (void)state;
    f.is_untrained = true;
    check(&f, LX_LABEL_NOT_LEARNED);
    assert_true(lx_label_decide(&f).is_certain);
    f = learned();
    f.movement = 5e-12;
    check(&f, LX_LABEL_NOT_LEARNED);
    f.movement = f.noise_floor =
        0; /* a noise floor of zero is beaten by any movement but none */
    check(&f, LX_LABEL_NOT_LEARNED);
    f.movement = 1e-9;
    check(&f, LX_LABEL_LEARNED);
    f.gain = (lx_estimate){0.001, -0.002, 0.004};
    check(&f, LX_LABEL_NOT_LEARNED);
}

static void test_label__without_caption(void **state)
{
    lx_label_facts f = learned();

    (void)state;
    f.captions_proven_unread = true;
    check(&f, LX_LABEL_WITHOUT_CAPTION);
    assert_true(lx_label_decide(&f).is_certain);
    f = learned();
    f.caption_gain = (lx_estimate){-0.003, -0.006, 0.0002};
    f.caption_p = 1;
    check(&f, LX_LABEL_WITHOUT_CAPTION);
    assert_false(lx_label_decide(&f).is_certain);
    f.captions_proven_read = true; /* a proof is not overruled by so little */
    check(&f, LX_LABEL_UNDETERMINED);
    f.caption_gain.high = -0.0001;
    check(&f, LX_LABEL_WITHOUT_CAPTION);
}

/* An interval that holds both a use and none decides neither: no large p is a negative. */
static void test_label__wide_interval_is_undecided(void **state)
{
    lx_label_facts f = learned();

    (void)state;
    f.caption_gain = (lx_estimate){0.001, -0.003, 0.005};
    f.caption_p = 0.4;
    f.share_without = 0.97;
    check(&f, LX_LABEL_UNDETERMINED);
    assert_int_equal(lx_label_decide(&f).n_needed, 784);
    f.class_gain =
        (lx_estimate){-0.002, -0.005, 0.0002}; /* the folder's words do as much */
    f.class_p = 0.9;
    check(&f, LX_LABEL_WITHOUT_CAPTION);
    f.class_gain = (lx_estimate){0, -INFINITY, INFINITY};
    check(&f, LX_LABEL_UNDETERMINED);
}

/* A LoRA acts whatever the prompt says: most of the gain stays, yet the caption adds. */
static void test_label__small_but_certain_use_is_use(void **state)
{
    lx_label_facts f = learned();

    (void)state;
    f.caption_gain = (lx_estimate){0.003, 0.002, 0.004};
    f.share_without = 0.92;
    check(&f, LX_LABEL_LEARNED);
    f.class_p = 0.6; /* but no more than the folder's words do */
    f.class_gain = (lx_estimate){-0.001, -0.004, 0.002};
    check(&f, LX_LABEL_UNDETERMINED);
    f.captions_proven_read = true;
    check(&f, LX_LABEL_LEARNED);
}

/* Own captions against others' count only where the captions are proven to have been read. */
static void test_label__own_captions(void **state)
{
    lx_label_facts f = learned();

    (void)state;
    f.caption_gain = (lx_estimate){0.002, -0.002, 0.005};
    f.caption_p = 0.2;
    f.binding = (lx_estimate){0.01, 0.004, 0.02};
    f.binding_p = 0.01;
    check(&f, LX_LABEL_UNDETERMINED);
    f.captions_proven_read = true;
    check(&f, LX_LABEL_LEARNED);
    f.binding_p = 0.06;
    check(&f, LX_LABEL_UNDETERMINED);
    f.binding = (lx_estimate){-0.02, -0.03, -0.01}; /* captions of other pictures */
    f.binding_p = 1;
    f.caption_p = 0.01;
    check(&f, LX_LABEL_WITHOUT_CAPTION);
}

static void test_label__weak_and_harmful(void **state)
{
    lx_label_facts f = learned();

    (void)state;
    f.gain = (lx_estimate){0.006, 0.001, 0.011};
    check(&f, LX_LABEL_WEAK);
    f.captions_proven_unread = true;
    check(&f, LX_LABEL_WEAK);
    f.gain = (lx_estimate){-0.05, -0.09, -0.01};
    f.gain_p = 1;
    check(&f, LX_LABEL_HARMFUL);
}

static void test_label__undetermined_says_how_many(void **state)
{
    lx_label_facts f = learned();

    (void)state;
    f.gain = (lx_estimate){0.02, -0.01, 0.05};
    f.gain_p = 0.2;
    f.gain_sd = 0.05;
    check(&f, LX_LABEL_UNDETERMINED);
    assert_int_equal(lx_label_decide(&f).n_needed, 88);
    f = learned();
    f.is_harness_broken = true;
    check(&f, LX_LABEL_UNDETERMINED);
}

/* The file alone can prove what it is not, never that it learned. */
static void test_label__unmeasured(void **state)
{
    lx_label_facts f = {.delta = 0.005};

    (void)state;
    check(&f, LX_LABEL_UNDETERMINED);
    f.captions_proven_unread = true;
    check(&f, LX_LABEL_WITHOUT_CAPTION);
    f.is_other_architecture = true;
    check(&f, LX_LABEL_HARMFUL);
    f.is_untrained = true;
    check(&f, LX_LABEL_NOT_LEARNED);
}

static void test_label__exit_status(void **state)
{
    static const int status[] = {0, 10, 11, 12, 13, 14};

    (void)state;
    for (int i = 0; i < LX_LABEL_COUNT; i++)
        assert_int_equal(lx_label_exit_status((lx_label)i), status[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_label__learned),
        cmocka_unit_test(test_label__not_learned),
        cmocka_unit_test(test_label__without_caption),
        cmocka_unit_test(test_label__wide_interval_is_undecided),
        cmocka_unit_test(test_label__own_captions),
        cmocka_unit_test(test_label__small_but_certain_use_is_use),
        cmocka_unit_test(test_label__weak_and_harmful),
        cmocka_unit_test(test_label__undetermined_says_how_many),
        cmocka_unit_test(test_label__unmeasured),
        cmocka_unit_test(test_label__exit_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
