/* Which of several files is taken: the first that is as good, if the images can tell that. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "src/verify/sweep.h"
#include "tests/support/expect.h"

enum { MOST_IMAGES = 8, N_FILES = 3 };

/* Files whose gain is the same for every image, but for a little. */
static lx_sweep sweep_of(const double *gains, size_t n_images, lx_arena *arena)
{
    static double values[N_FILES][MOST_IMAGES];
    static lx_verify_result files[N_FILES];
    const lx_verify_result *results[N_FILES];
    lx_sweep sweep;
    lx_error err;

    for (size_t i = 0; i < N_FILES; i++) {
        for (size_t k = 0; k < n_images; k++)
            values[i][k] = gains[i] + 1e-3 * (double)((7 * k + 3 * i) % 5);
        files[i] = (lx_verify_result){
            .facts.is_measured = true, .image_gain = values[i], .n_images = n_images};
        results[i] = &files[i];
    }
    lx_assert_ok(lx_sweep_of(&sweep, results, N_FILES, 1, arena, &err), &err);
    return sweep;
}

static void test_sweep__first_that_is_as_good(void **state)
{
    static const double rising[N_FILES] = {-0.1, 0.1, 0.1},
                        worse[N_FILES] = {0, -0.1, 0.1};
    lx_arena *arena = lx_arena_new();
    lx_sweep s = sweep_of(rising, MOST_IMAGES, arena);

    (void)state;
    assert_int_equal(s.best, 1);
    assert_false(s.is_few);
    s = sweep_of(worse, 5, arena);
    assert_int_equal(s.best, 2);
    assert_false(s.is_few);
    lx_arena_free(arena);
}

/* No sign flip of fewer than 5 images has p <= 0.05: the first file would be the best, whatever it does. */
static void test_sweep__few_images(void **state)
{
    static const double gains[N_FILES] = {-0.1, 0.1, 0.05};
    lx_arena *arena = lx_arena_new();

    (void)state;
    for (size_t n = 1; n < 5; n++) {
        const lx_sweep s = sweep_of(gains, n, arena);
        assert_int_equal(s.highest, 1);
        assert_int_equal(s.best, 1);
        assert_int_equal(s.n_images, n);
        assert_true(s.is_few);
    }
    lx_arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sweep__first_that_is_as_good),
        cmocka_unit_test(test_sweep__few_images),
    };

    return cmocka_run_group_tests_name("verify/sweep", tests, NULL, NULL);
}
