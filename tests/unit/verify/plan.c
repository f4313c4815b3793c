#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "src/verify/draws.h"
#include "src/verify/plan.h"

static lx_verify_plan plan_of(size_t n_found, int64_t budget)
{
    const lx_verify_request request = {
        .n_found = n_found, .budget = budget, .tags = SIZE_MAX};
    lx_verify_plan plan;

    assert_int_equal(lx_verify_plan_make(&plan, &request, NULL), 0);
    return plan;
}

static void test_plan__standard(void **state)
{
    lx_verify_plan plan = plan_of(40, 0);

    (void)state;
    assert_int_equal(plan.n_images, 20);
    assert_int_equal(plan.n_draws, 8);
    assert_int_equal(plan.n_others, 4);
    /* 8 prompts on 20 images, 4 strengths on 8, 6 scrambled, the two ends, 4 everyday prompts and
     * captions with 4 draws, 10 tags on 10 images */
    assert_int_equal(plan.cost, 2 * 8 * 8 * 20 + 8 * 4 * 8 + 8 * 6 + 16 + 2 * 4 * 8 +
                                    2 * 8 * 10 * 10);
}

/* More budget buys images first, then draws, then tags, and is never exceeded. */
static void test_plan__budget_is_kept(void **state)
{
    lx_verify_plan before = plan_of(30, 600);

    (void)state;
    for (int64_t budget = 700; budget < 40000; budget += 700) {
        lx_verify_plan plan = plan_of(30, budget);
        assert_true(plan.cost <= budget);
        assert_true(plan.n_images >= before.n_images);
        assert_true(plan.n_draws >= before.n_draws);
        assert_true(plan.n_draws % 2 == 0);
        if (plan.n_draws > 4)
            assert_int_equal(plan.n_images, 30);
        before = plan;
    }
    assert_int_equal(before.n_draws, 32);
    assert_int_equal(before.n_tags, 10);
}

/* Constant tags are bought alone from what is left over; without a budget all of them are. */
static void test_plan__tags_alone(void **state)
{
    lx_verify_request request = {.n_found = 20, .tags = SIZE_MAX};
    lx_verify_plan plan, before;

    (void)state;
    assert_int_equal(lx_verify_plan_make(&plan, &request, NULL), 0);
    before = plan;
    request.n_alone = 4;
    lx_verify_plan_tags(&plan, &request);
    assert_int_equal(plan.n_alone, 4);
    assert_int_equal(plan.cost, before.cost + 3 * 2 * 8 * 20);
    for (request.budget = 600; request.budget < 40000; request.budget += 300)
        for (request.tags = 0; request.tags < 4; request.tags++) {
            if (request.tags == 3)
                request.tags = SIZE_MAX;
            request.n_alone = 0;
            if (lx_verify_plan_make(&plan, &request, NULL) < 0)
                assert_true(request.budget < 1000);
            else {
                assert_int_equal(plan.n_alone, 1);
                request.n_alone = 4;
                lx_verify_plan_tags(&plan, &request);
                assert_true(plan.cost <= request.budget);
                assert_true(plan.n_alone >= 1 && plan.n_alone <= 4);
            }
            if (request.tags == SIZE_MAX)
                break;
        }
    assert_int_equal(plan.n_alone, 4);
}

/* Tags asked for by number are part of the smallest plan. */
static void test_plan__tags_asked_for(void **state)
{
    const lx_verify_request request = {.n_found = 10, .budget = 600, .tags = 10};
    lx_verify_plan plan;
    lx_error err = {0};

    (void)state;
    assert_int_equal(lx_verify_plan_make(&plan, &request, &err), LX_EUSAGE);
    assert_non_null(strstr(err.text, "smallest plan"));
}

static void test_plan__too_small(void **state)
{
    const lx_verify_request request = {.n_found = 30, .budget = 50, .tags = SIZE_MAX};
    lx_verify_plan plan;
    lx_error err = {0};

    (void)state;
    assert_int_equal(lx_verify_plan_make(&plan, &request, &err), LX_EUSAGE);
    assert_non_null(strstr(err.text, "smallest plan"));
}

/* A budget that is more than one image, or the draws that were asked for, can take. */
static void test_plan__budget_is_not_used_up(void **state)
{
    lx_verify_request request = {
        .n_found = 30, .budget = 100000, .images = 2, .draws = 2, .tags = SIZE_MAX};
    lx_verify_plan plan = plan_of(1, 100000);

    (void)state;
    assert_int_equal(plan.n_images, 1);
    assert_int_equal(plan.n_others, 0);
    assert_int_equal(lx_verify_plan_make(&plan, &request, NULL), 0);
    assert_int_equal(plan.n_images, 2);
    assert_int_equal(plan.n_draws, 2);
    assert_int_equal(plan.n_others, 1);
    assert_int_equal(plan.n_controls, 2);
}

static void test_plan__few_images(void **state)
{
    lx_verify_plan one = plan_of(1, 0), two = plan_of(2, 0);

    (void)state;
    assert_int_equal(one.n_others, 0);
    assert_int_equal(two.n_others, 1);
}

/* One timestep in each stratum, both signs of one noise, and nothing but seed and image
 * decides. */
static void test_draws__strata_and_signs(void **state)
{
    enum { K = 8, N = 16 };
    int64_t t[K], again[K];
    float noise[K * N], same[K * N];

    (void)state;
    for (uint64_t image = 0; image < 20; image++) {
        lx_verify_draw(t, noise, K, N, 3, image);
        for (int j = 0; j < K / 2; j++) {
            assert_true(t[2 * j] >= 250 * j && t[2 * j] < 250 * (j + 1));
            assert_int_equal(t[2 * j], t[2 * j + 1]);
            for (int i = 0; i < N; i++)
                assert_true(noise[2 * j * N + i] == -noise[(2 * j + 1) * N + i]);
        }
    }
    lx_verify_draw(again, same, K, N, 3, 19);
    assert_memory_equal(t, again, sizeof t);
    assert_memory_equal(noise, same, sizeof noise);
    lx_verify_draw(again, same, K, N, 4, 19);
    assert_memory_not_equal(noise, same, sizeof noise);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plan__standard),
        cmocka_unit_test(test_plan__budget_is_kept),
        cmocka_unit_test(test_plan__tags_alone),
        cmocka_unit_test(test_plan__tags_asked_for),
        cmocka_unit_test(test_plan__too_small),
        cmocka_unit_test(test_plan__few_images),
        cmocka_unit_test(test_plan__budget_is_not_used_up),
        cmocka_unit_test(test_draws__strata_and_signs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
