/* Decompositions of products and of dense matrices: they give the matrix back, and know their error. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <omp.h>

#include "src/base/alloc.h"
#include "src/base/rng.h"
#include "src/lora/matrix.h"
#include "src/lora/svd.h"
#include "tests/support/model.h"

static double *draw(size_t n, uint64_t which)
{
    lx_rng rng = lx_rng_stream(5, LX_RNG_TEST, which, 0);
    double *x = calloc(n, sizeof *x);

    for (size_t i = 0; i < n; i++)
        x[i] = 2 * lx_rng_uniform(&rng) - 1;
    return x;
}

/* |A - split(rank)| / |A|, and the factors multiplied in f64 */
static double measured_error(const double *a, const lx_svd *svd, size_t rank)
{
    float *up = calloc(svd->out * rank, sizeof *up),
          *down = calloc(rank * svd->in, sizeof *down);
    double lost = 0, all = 0;

    lx_svd_split(up, down, svd, rank);
    for (size_t o = 0; o < svd->out; o++)
        for (size_t i = 0; i < svd->in; i++) {
            double sum = 0, d;
            for (size_t k = 0; k < rank; k++)
                sum += (double)up[o * rank + k] * (double)down[k * svd->in + i];
            d = a[o * svd->in + i] - sum;
            lost += d * d;
            all += a[o * svd->in + i] * a[o * svd->in + i];
        }
    free(down);
    free(up);
    return sqrt(lost / all);
}

static void test_matrix__multiply(void **state)
{
    static const size_t shapes[][3] = {
        {1, 1, 1}, {5, 3, 17}, {130, 300, 33}, {4, 257, 16}, {3, 0, 2}};

    (void)state;
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        const size_t m = shapes[s][0], k = shapes[s][1], n = shapes[s][2];
        double *a = draw(m * k + 1, 0), *b = draw(k * n + 1, 1),
               *turned = draw(k * n + 1, 1);
        double *c = draw(m * n, 2), *d = draw(m * n, 2);
        lx_matrix_multiply(c, a, b, m, k, n, 0);
        lx_matrix_turn(turned, b, k, n);
        lx_matrix_multiply(d, a, turned, m, k, n, 1);
        assert_memory_equal(c, d, m * n * sizeof *c);
        for (size_t i = 0; i < m * n; i++) {
            double sum = 0;
            for (size_t p = 0; p < k; p++)
                sum += a[i / n * k + p] * b[p * n + i % n];
            assert_true(c[i] == sum); /* in the order of k, to the bit */
        }
        free(a), free(b), free(turned), free(c), free(d);
    }
}

static void test_svd__product(void **state)
{
    static const size_t shapes[][3] = {{20, 4, 30}, {64, 16, 9},  {3, 8, 5},
                                       {1, 1, 1},   {40, 12, 25}, {7, 7, 7}};
    lx_error err;

    (void)state;
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        const size_t out = shapes[s][0], rank = shapes[s][1], in = shapes[s][2];
        double *up = draw(out * rank, 0), *down = draw(rank * in, 1),
               *a = draw(out * in, 2);
        lx_svd svd;
        lx_matrix_multiply(a, up, down, out, rank, in, 0);
        lx_assert_ok(lx_svd_product(&svd, up, down, out, rank, in, &err), &err);
        assert_true(svd.rank <= out && svd.rank <= in && svd.residual == 0);
        assert_true(fabs(lx_svd_norm(&svd) / sqrt(lx_matrix_dot(a, a, out * in)) - 1) <
                    1e-12);
        for (size_t q = 1; q <= svd.rank; q++)
            assert_true(fabs(measured_error(a, &svd, q) - lx_svd_error(&svd, q)) < 2e-7);
        assert_true(measured_error(a, &svd, svd.rank + 3) < 2e-7); /* padded with zeros */
        assert_int_equal(lx_svd_rank(&svd, 1), 1);
        lx_svd_release(&svd);
        free(up), free(down), free(a);
    }
}

/* Values 1, 1/2, 1/4 ...: the sketch finds the best subspace and says what is lost. */
static void test_svd__sketch(void **state)
{
    enum { OUT = 120, IN = 200, N = 100 };
    double *up = draw(OUT * N, 0), *down = draw(N * IN, 1), *a = draw(OUT * IN, 2);
    lx_svd full, some;
    lx_error err;

    (void)state;
    for (size_t i = 0; i < OUT * N; i++)
        up[i] *= pow(0.8, (double)(i % N));
    lx_matrix_multiply(a, up, down, OUT, N, IN, 0);
    lx_assert_ok(lx_svd_dense(&full, a, OUT, IN, OUT, 1, "x", &err), &err);
    assert_true(full.residual == 0);
    for (size_t rank = 4; rank <= 32; rank *= 2) {
        lx_assert_ok(lx_svd_dense(&some, a, OUT, IN, rank, 1, "x", &err), &err);
        assert_int_equal(some.rank, rank);
        assert_true(lx_svd_error(&some, rank) <= lx_svd_error(&full, rank) * 1.001);
        assert_true(fabs(measured_error(a, &some, rank) - lx_svd_error(&some, rank)) <
                    1e-6);
        lx_svd_release(&some);
    }
    lx_assert_ok(lx_svd_dense_within(&some, a, OUT, IN, 0.01, 1, "x", &err), &err);
    assert_int_equal(some.rank, lx_svd_rank(&full, 0.01));
    assert_true(lx_svd_error(&some, some.rank) <= 0.01);
    assert_true(lx_svd_error(&full, some.rank - 1) > 0.01);
    lx_svd_release(&some);
    lx_svd_release(&full);
    free(up), free(down), free(a);
}

/* The same bits with one thread and with three. */
static void test_svd__threads(void **state)
{
    enum { OUT = 300, IN = 400, RANK = 20 };
    double *a = draw(OUT * IN, 2);
    lx_svd one, three;
    lx_error err;

    (void)state;
    omp_set_num_threads(1);
    lx_assert_ok(lx_svd_dense(&one, a, OUT, IN, RANK, 1, "x", &err), &err);
    omp_set_num_threads(3);
    lx_assert_ok(lx_svd_dense(&three, a, OUT, IN, RANK, 1, "x", &err), &err);
    assert_memory_equal(one.sigma, three.sigma, RANK * sizeof(double));
    assert_memory_equal(one.left, three.left, RANK * OUT * sizeof(double));
    assert_memory_equal(one.right, three.right, RANK * IN * sizeof(double));
    lx_svd_release(&one);
    lx_svd_release(&three);
    free(a);
}

static void test_svd__zero(void **state)
{
    double zero[12] = {0};
    lx_svd svd;
    lx_error err;
    float up[4], down[3];

    (void)state;
    lx_assert_ok(lx_svd_dense(&svd, zero, 4, 3, 3, 1, "x", &err), &err);
    assert_true(lx_svd_norm(&svd) == 0 && lx_svd_error(&svd, 1) == 0);
    assert_int_equal(lx_svd_rank(&svd, 0.01), 1);
    lx_svd_split(up, down, &svd, 1);
    for (int i = 0; i < 3; i++)
        assert_true(up[i] == 0 && down[i] == 0);
    lx_svd_release(&svd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_matrix__multiply), cmocka_unit_test(test_svd__product),
        cmocka_unit_test(test_svd__sketch),      cmocka_unit_test(test_svd__threads),
        cmocka_unit_test(test_svd__zero),
    };

    return cmocka_run_group_tests_name("lora/svd", tests, NULL, NULL);
}
