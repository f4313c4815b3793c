/* The words for people, of evidence made up. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "src/verify/answers.h"
#include "tests/support/expect.h"

static lx_evidence *add(lx_verify_result *r, const char *id, lx_estimate estimate,
                        double p)
{
    lx_error err;
    int rc = 0;
    lx_evidence *row =
        lx_ledger_add(&r->ledger, id, "Q6", LX_MEASURED, &rc, &err, "made up");

    lx_assert_ok(rc, &err);
    row->estimate = estimate;
    row->p = p;
    return row;
}

/* The training images gain 3 % with that p; the held-out ones by `held`, p of what they lack by `lost_p`. */
static const char *memorised(double gain_p, lx_estimate held, double lost_p,
                             size_t *n_flags)
{
    lx_arena *arena = lx_arena_new();
    lx_verify_result r = {.ledger.arena = arena};
    const char *word;
    lx_error err;

    r.facts = (lx_label_facts){.delta = 0.005,
                               .is_measured = true,
                               .gain = {0.03, 0.02, 0.04},
                               .gain_p = gain_p,
                               .n_images = 12,
                               .caption_p = 1,
                               .class_p = NAN,
                               .binding_p = NAN};
    add(&r, "D1", r.facts.gain, gain_p);
    add(&r, "D7", held, 0.5);
    add(&r, "D7m", (lx_estimate){0.5, 0.4, 0.6}, lost_p);
    lx_assert_ok(lx_verify_answers(&r, 0, arena, &err), &err);
    word = r.answers[LX_Q_MEMORISED].word;
    *n_flags = r.n_flags;
    lx_arena_free(arena);
    return word; /* a literal */
}

static void test_answers__memorised(void **state)
{
    const lx_estimate none = {0, -0.001, 0.001}, as_much = {0.03, 0.02, 0.04};
    size_t n_flags;

    (void)state;
    assert_string_equal(memorised(0.001, none, 0.001, &n_flags), "MEMORISED");
    assert_int_equal(n_flags, 1);
    assert_string_equal(memorised(0.001, as_much, 0.01, &n_flags), "IN PART");
    assert_string_equal(memorised(0.001, as_much, 0.5, &n_flags), "GENERALISES");
    assert_int_equal(n_flags, 0);
}

/* What the training images do not gain, no others can lack. */
static void test_answers__memorised_asks_for_a_gain(void **state)
{
    const lx_estimate none = {0, -0.001, 0.001}, as_much = {0.03, 0.02, 0.04};
    size_t n_flags;

    (void)state;
    assert_string_equal(memorised(0.3, none, 0.001, &n_flags), "NOT DECIDED");
    assert_int_equal(n_flags, 0);
    assert_string_equal(memorised(0.3, as_much, 0.5, &n_flags), "NOT DECIDED");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers__memorised),
        cmocka_unit_test(test_answers__memorised_asks_for_a_gain),
    };

    return cmocka_run_group_tests_name("verify/answers", tests, NULL, NULL);
}
