/* What one module changes: LyCORIS' own numbers, and the definitions written out as sums. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/base/alloc.h"
#include "src/base/rng.h"
#include "src/lora/delta.h"
#include "src/lora/matrix.h"
#include "tests/support/golden.h"
#include "tests/support/model.h"

/* ---- LyCORIS --------------------------------------------------------------------------- */

static double distance(const double *a, const double *b, size_t n)
{
    double square = 0, all = 0;

    for (size_t i = 0; i < n; i++) {
        square += (a[i] - b[i]) * (a[i] - b[i]);
        all += b[i] * b[i];
    }
    return all > 0 ? sqrt(square / all) : sqrt(square);
}

/* The exact factors of a module give what the dense sum gives. */
static void check_factors(const lx_lora_entry *e, const lx_delta_shape *s,
                          const double *delta)
{
    double *up, *down, *product;
    lx_error err;

    if (!s->rank)
        return;
    up = lx_calloc(s->out * s->rank, sizeof *up);
    down = lx_calloc(s->rank * s->in, sizeof *down);
    product = lx_calloc(s->out * s->in, sizeof *product);
    lx_assert_ok(lx_delta_factors(up, down, e, s, &err), &err);
    lx_matrix_multiply(product, up, down, s->out, s->rank, s->in, 0);
    assert_true(distance(product, delta, s->out * s->in) < 1e-13);
    lx_free(product);
    lx_free(down);
    lx_free(up);
}

/* is_doubled: the peer's merged weight has the scale twice, which its training does not. */
static void check_lycoris(const char *file, bool is_doubled)
{
    lx_tensor_file *golden = lx_golden_open("lora/lycoris/deltas.safetensors");
    lx_lora_file *lora;
    lx_error err;
    char path[128];
    int n = 0;

    snprintf(path, sizeof path, "lora/files/%s", file);
    lx_assert_ok(lx_lora_file_open(&lora, lx_golden_need(path), &err), &err);
    for (size_t i = 0; i < lora->n_modules; i++) {
        const lx_lora_entry *e = &lora->modules[i];
        const lx_tensor_view *view, *base_view;
        lx_delta_base base;
        lx_delta_shape s;
        char key[256];

        snprintf(key, sizeof key, "%s|%s|delta", file, e->name);
        if (!(view = lx_tensor_file_find(golden, key)))
            continue;
        lx_assert_ok(lx_delta_shape_of(&s, e, &err), &err);
        double *expected = lx_golden_f64(NULL, golden, "%s", key), *org = NULL;
        double *delta = lx_calloc(view->n_elements, sizeof *delta);
        snprintf(key, sizeof key, "%s|%s|org", file, e->name);
        if ((base_view = lx_tensor_file_find(golden, key))) {
            org = lx_golden_f64(NULL, golden, "%s", key);
            base = (lx_delta_base){org, (size_t)view->shape[0],
                                   view->n_elements / (size_t)view->shape[0], 1};
            for (int d = 2; d < view->n_dims; d++)
                base.window *= (size_t)view->shape[d];
        }
        assert_int_equal(lx_delta_needs_base(e), base_view != NULL);
        lx_assert_ok(lx_delta_dense(delta, e, &s, base_view ? &base : NULL, &err), &err);
        for (size_t k = 0; k < view->n_elements; k++)
            expected[k] /= is_doubled ? lx_lora_entry_scale(e) : 1;
        double error = distance(delta, expected, view->n_elements);
        if (error > 2e-3)
            fail_msg("%s %s: relative error %g", file, e->name, error);
        check_factors(e, &s, delta);
        lx_free(delta);
        free(expected);
        free(org);
        n++;
    }
    assert_int_equal(n, 6);
    lx_lora_file_close(lora);
    lx_tensor_file_close(golden);
}

static void test_delta__lycoris(void **state)
{
    (void)state;
    check_lycoris("lycoris_locon.safetensors", false);
    check_lycoris("lycoris_loha.safetensors", true);
    check_lycoris("lycoris_lokr.safetensors", true);
    check_lycoris("lycoris_lokr_full.safetensors", true);
    check_lycoris("lycoris_dora.safetensors", false);
    check_lycoris("lycoris_glora.safetensors", false);
}

/* ---- made-up modules ------------------------------------------------------------------- */

enum { MAX_TENSORS = 8, MAX_VALUES = 4096 };

typedef struct made {
    lx_lora_entry entry;
    lx_tensor_view views[MAX_TENSORS];
    double values[MAX_TENSORS][MAX_VALUES];
    int n;
} made;

static void put(made *m, lx_lora_role role, int n_dims, ...)
{
    lx_tensor_view *v = &m->views[m->n];
    lx_rng rng = lx_rng_stream(1, LX_RNG_TEST, (uint64_t)role, 0);
    va_list dims;

    *v = (lx_tensor_view){
        .name = "m.tensor", .dtype = LX_F64, .n_dims = n_dims, .n_elements = 1};
    va_start(dims, n_dims);
    for (int i = 0; i < n_dims; i++) {
        v->shape[i] = va_arg(dims, int);
        v->n_elements *= (size_t)v->shape[i];
    }
    va_end(dims);
    assert_true(v->n_elements <= MAX_VALUES);
    for (size_t i = 0; i < v->n_elements; i++)
        m->values[m->n][i] = 2 * lx_rng_uniform(&rng) - 1;
    v->data = m->values[m->n++];
    v->bytes = 8 * v->n_elements;
    m->entry.tensors[role] = v;
}

static made *begin(lx_lora_kind kind, int rank, double alpha)
{
    made *m = calloc(1, sizeof *m);

    m->entry = (lx_lora_entry){.name = "m", .kind = kind, .rank = rank, .alpha = alpha};
    return m;
}

static const double *values_of(const made *m, lx_lora_role role)
{
    return m->entry.tensors[role]->data;
}

static double *dense(const made *m, lx_delta_shape *s, const lx_delta_base *base)
{
    lx_error err;
    double *delta;

    lx_assert_ok(lx_delta_shape_of(s, &m->entry, &err), &err);
    delta = lx_calloc(base ? base->out * base->in : s->out * s->in, sizeof *delta);
    lx_assert_ok(lx_delta_dense(delta, &m->entry, s, base, &err), &err);
    return delta;
}

static void test_delta__tucker(void **state)
{
    enum { OUT = 5, R = 3, IN = 4, K = 9 };
    made *m = begin(LX_KIND_TUCKER, R, 2);
    const double *u, *mid, *d;
    lx_delta_shape s;

    (void)state;
    put(m, LX_ROLE_UP, 4, OUT, R, 1, 1);
    put(m, LX_ROLE_MID, 4, R, R, 3, 3);
    put(m, LX_ROLE_DOWN, 4, R, IN, 1, 1);
    u = values_of(m, LX_ROLE_UP), mid = values_of(m, LX_ROLE_MID),
    d = values_of(m, LX_ROLE_DOWN);
    double *delta = dense(m, &s, NULL);
    assert_int_equal(s.rank, R);
    assert_int_equal(s.shape[1], IN);
    assert_int_equal(s.shape[3], 3);
    for (int o = 0; o < OUT; o++)
        for (int i = 0; i < IN; i++)
            for (int k = 0; k < K; k++) {
                double sum = 0;
                for (int p = 0; p < R; p++)
                    for (int q = 0; q < R; q++)
                        sum += u[o * R + p] * mid[(p * R + q) * K + k] * d[q * IN + i];
                assert_true(fabs(delta[(o * IN + i) * K + k] - 2.0 / 3 * sum) < 1e-12);
            }
    check_factors(&m->entry, &s, delta);
    lx_free(delta);
    free(m);
}

static void test_delta__loha_with_cores(void **state)
{
    enum { OUT = 6, R = 2, IN = 5, K = 9 };
    made *m = begin(LX_KIND_LOHA, R, 1);
    lx_delta_shape s;

    (void)state;
    put(m, LX_ROLE_HADA_W1_A, 2, R, OUT);
    put(m, LX_ROLE_HADA_W1_B, 2, R, IN);
    put(m, LX_ROLE_HADA_T1, 4, R, R, 3, 3);
    put(m, LX_ROLE_HADA_W2_A, 2, R, OUT);
    put(m, LX_ROLE_HADA_W2_B, 2, R, IN);
    put(m, LX_ROLE_HADA_T2, 4, R, R, 3, 3);
    double *delta = dense(m, &s, NULL);
    for (int o = 0; o < OUT; o++)
        for (int i = 0; i < IN; i++)
            for (int k = 0; k < K; k++) {
                double sum[2] = {0};
                for (int half = 0; half < 2; half++) {
                    const double *a =
                        values_of(m, half ? LX_ROLE_HADA_W2_A : LX_ROLE_HADA_W1_A);
                    const double *b =
                        values_of(m, half ? LX_ROLE_HADA_W2_B : LX_ROLE_HADA_W1_B);
                    const double *t =
                        values_of(m, half ? LX_ROLE_HADA_T2 : LX_ROLE_HADA_T1);
                    for (int p = 0; p < R; p++)
                        for (int q = 0; q < R; q++)
                            sum[half] +=
                                a[p * OUT + o] * t[(p * R + q) * K + k] * b[q * IN + i];
                }
                assert_true(fabs(delta[(o * IN + i) * K + k] - 0.5 * sum[0] * sum[1]) <
                            1e-12);
            }
    check_factors(&m->entry, &s, delta);
    lx_free(delta);
    free(m);
}

static void test_delta__lokr_of_two_products(void **state)
{
    made *m = begin(LX_KIND_LOKR, 2, 2);
    lx_delta_shape s;

    (void)state;
    put(m, LX_ROLE_LOKR_W1_A, 2, 3, 2);
    put(m, LX_ROLE_LOKR_W1_B, 2, 2, 4);
    put(m, LX_ROLE_LOKR_W2_A, 2, 2, 5);
    put(m, LX_ROLE_LOKR_W2_B, 2, 2, 3);
    put(m, LX_ROLE_LOKR_T2, 4, 2, 2, 3, 3);
    double *delta = dense(m, &s, NULL);
    assert_int_equal(s.out, 15);
    assert_int_equal(s.in, 4 * 3 * 9);
    assert_int_equal(s.rank, 4);
    check_factors(&m->entry, &s, delta);
    lx_free(delta);
    free(m);
}

/* PEFT's magnitudes of a convolution, [1, out, 1, 1], are by rows also where it has as many inputs. */
static void test_delta__dora_of_a_convolution(void **state)
{
    enum { N = 3, K = 4 };
    static double w[N * N * K];
    const lx_delta_base base = {w, N, N * K, K};
    lx_rng rng = lx_rng_stream(5, LX_RNG_TEST, 0, 0);

    (void)state;
    for (int i = 0; i < N * N * K; i++)
        w[i] = 2 * lx_rng_uniform(&rng) - 1;
    for (int by_row = 0; by_row < 2; by_row++) {
        made *m = begin(LX_KIND_LORA, 2, 2);
        double squares[N] = {0};
        lx_delta_shape s;
        put(m, LX_ROLE_UP, 4, N, 2, 1, 1);
        put(m, LX_ROLE_DOWN, 4, 2, N, 2, 2);
        put(m, LX_ROLE_DORA, 4, 1, N, 1, 1);
        m->views[2].name = by_row ? "m.lora_magnitude_vector" : "m.dora_scale";
        m->entry.has_dora = true;
        double *delta = dense(m, &s, &base);
        for (int i = 0; i < N * N * K; i++)
            squares[by_row ? i / (N * K) : i / K % N] +=
                (w[i] + delta[i]) * (w[i] + delta[i]);
        for (int i = 0; i < N; i++)
            assert_true(fabs(sqrt(squares[i]) - fabs(m->values[2][i])) < 1e-12);
        lx_free(delta);
        free(m);
    }
}

/* A rotation keeps lengths; the older and the newer rotate the other way round. */
static void test_delta__rotations(void **state)
{
    enum { OUT = 8, IN = 6 };
    static double w[OUT * IN];
    const lx_delta_base base = {w, OUT, IN, 1};
    lx_rng rng = lx_rng_stream(3, LX_RNG_TEST, 0, 0);

    (void)state;
    for (int i = 0; i < OUT * IN; i++)
        w[i] = 2 * lx_rng_uniform(&rng) - 1;
    for (int steps = 0; steps <= 2; steps++) {
        made *m = begin(LX_KIND_OFT, 0, 0);
        double before = 0, after = 0, moved = 0;
        lx_delta_shape s;
        if (steps)
            put(m, LX_ROLE_OFT_BLOCKS, 4, steps, 2, 4, 4);
        else
            put(m, LX_ROLE_OFT_BLOCKS, 3, 2, 4, 4);
        double *delta = dense(m, &s, &base);
        for (int i = 0; i < OUT * IN; i++) {
            before += w[i] * w[i];
            after += (w[i] + delta[i]) * (w[i] + delta[i]);
            moved += delta[i] * delta[i];
        }
        assert_true(fabs(after / before - 1) < 1e-12 && moved > 0.1);
        lx_free(delta);
        free(m);
    }
}

/* One block of two rows: Q = [0 q; -q 0] rotates by 2 atan q. */
static void test_delta__oft_known_angle(void **state)
{
    static const double w[2] = {1, 0};
    const lx_delta_base base = {w, 2, 1, 1};
    made *m = begin(LX_KIND_OFT, 0, 0);
    lx_delta_shape s;

    (void)state;
    put(m, LX_ROLE_OFT_BLOCKS, 3, 1, 2, 2);
    memcpy(m->values[0], (double[]){0, 0.5, 0, 0}, 4 * sizeof(double));
    double *delta = dense(m, &s, &base);
    /* R^T of angle 2 atan 0.5: cos = (1 - q^2) / (1 + q^2) = 0.6, sin = 0.8; kohya's is R^T W. */
    assert_true(fabs(1 + delta[0] - 0.6) < 1e-14 && fabs(fabs(delta[1]) - 0.8) < 1e-14);
    assert_true(delta[1] > 0);
    m->entry.alpha = 0.1; /* |Q| = 0.5 sqrt 2 is cut to 0.1 * 2 */
    lx_free(delta);
    delta = dense(m, &s, &base);
    const double q = 0.2 / sqrt(2);
    assert_true(fabs(1 + delta[0] - (1 - q * q) / (1 + q * q)) < 1e-14);
    lx_free(delta);
    free(m);
}

static void test_delta__ia3(void **state)
{
    static const double w[6] = {1, 2, 3, 4, 5, 6};
    const lx_delta_base base = {w, 2, 3, 1};
    lx_delta_shape s;

    (void)state;
    for (int on = 0; on < 2; on++) {
        made *m = begin(LX_KIND_IA3, 0, 0);
        put(m, LX_ROLE_IA3_ON_INPUT, 0);
        m->values[0][0] = on;
        put(m, LX_ROLE_IA3_WEIGHT, 1, on ? 3 : 2);
        double *delta = dense(m, &s, &base);
        for (int i = 0; i < 6; i++)
            assert_true(delta[i] == w[i] * m->values[1][on ? i % 3 : i / 3]);
        lx_free(delta);
        free(m);
    }
}

static void test_delta__refuses(void **state)
{
    made *m = begin(LX_KIND_LOHA, 2, 2);
    lx_delta_shape s;
    lx_error err;

    (void)state;
    put(m, LX_ROLE_HADA_W1_A, 2, 4, 2);
    put(m, LX_ROLE_HADA_W1_B, 2, 2, 3);
    put(m, LX_ROLE_HADA_W2_A, 2, 4, 2);
    assert_int_equal(lx_delta_shape_of(&s, &m->entry, &err),
                     LX_EFORMAT); /* w2_b is missing */
    put(m, LX_ROLE_HADA_W2_B, 2, 3, 3);
    assert_int_equal(lx_delta_shape_of(&s, &m->entry, &err),
                     LX_EFORMAT); /* ranks 2 and 3 */
    free(m);
    m = begin(LX_KIND_LORA, 2, 2);
    put(m, LX_ROLE_UP, 2, 4, 2);
    put(m, LX_ROLE_DOWN, 2, 2, 3);
    lx_assert_ok(lx_delta_shape_of(&s, &m->entry, &err), &err);
    m->values[1][4] = NAN;
    double delta[12];
    assert_int_equal(lx_delta_dense(delta, &m->entry, &s, NULL, &err), LX_EFORMAT);
    assert_non_null(strstr(err.text, "element 4 is nan"));
    m->entry.has_dora = true;
    m->values[1][4] = 0;
    assert_int_equal(lx_delta_dense(delta, &m->entry, &s, NULL, &err), LX_EUNSUPPORTED);
    free(m);
}

/* A file of a few kB that stands for more than any layer; all dimensions of what does not fit; whole numbers. */
static void test_delta__refuses_shapes(void **state)
{
    made *m = begin(LX_KIND_LOKR, 0, 1);
    lx_delta_shape s;
    lx_error err;

    (void)state;
    put(m, LX_ROLE_LOKR_W1, 2, 4, 4);
    put(m, LX_ROLE_LOKR_W2, 2, 4, 4);
    m->views[0].shape[0] = m->views[0].shape[1] = 128; /* 2^14 x 2^14: the limit itself */
    m->views[1].shape[0] = m->views[1].shape[1] = 128;
    lx_assert_ok(lx_delta_shape_of(&s, &m->entry, &err), &err);
    assert_int_equal(s.out, 1 << 14);
    m->views[1].shape[1] = 129;
    assert_int_equal(lx_delta_shape_of(&s, &m->entry, &err), LX_ELIMIT);
    assert_non_null(strstr(err.text, "16384 x 16512"));
    assert_non_null(strstr(err.text, "--drop 'm.*'"));
    assert_int_equal(lx_delta_check_shape(&m->entry, &err), LX_ELIMIT);
    free(m);
    m = begin(LX_KIND_LORA, 4, 4);
    put(m, LX_ROLE_UP, 4, 8, 4, 3, 3);
    put(m, LX_ROLE_DOWN, 4, 4, 8, 1, 1);
    assert_int_equal(lx_delta_check_shape(&m->entry, &err), LX_EFORMAT);
    assert_non_null(strstr(err.text, "[8, 4, 3, 3]"));
    assert_non_null(strstr(err.text, "[4, 8, 1, 1]"));
    free(m);
    m = begin(LX_KIND_LORA, 2, 2);
    put(m, LX_ROLE_UP, 2, 4, 2);
    put(m, LX_ROLE_DOWN, 2, 2, 3);
    m->views[1].dtype = LX_I8;
    assert_int_equal(lx_delta_shape_of(&s, &m->entry, &err), LX_EFORMAT);
    assert_non_null(strstr(err.text, "I8 are no factors"));
    free(m);
}

/* Behind up, which alpha / rank scales, and beside it: both are added. */
static void test_delta__both_biases(void **state)
{
    made *m = begin(LX_KIND_LORA, 2, 4);
    double *bias;
    size_t n;
    lx_error err;

    (void)state;
    put(m, LX_ROLE_UP_BIAS, 1, 5);
    lx_assert_ok(lx_delta_bias(&bias, &n, &m->entry, &err), &err);
    assert_int_equal(n, 5);
    for (size_t i = 0; i < n; i++)
        assert_true(bias[i] == 2 * values_of(m, LX_ROLE_UP_BIAS)[i]);
    lx_free(bias);
    put(m, LX_ROLE_DIFF_B, 1, 5);
    lx_assert_ok(lx_delta_bias(&bias, &n, &m->entry, &err), &err);
    for (size_t i = 0; i < n; i++)
        assert_true(bias[i] == values_of(m, LX_ROLE_DIFF_B)[i] +
                                   2 * values_of(m, LX_ROLE_UP_BIAS)[i]);
    lx_free(bias);
    m->views[1].n_elements = 4;
    assert_int_equal(lx_delta_bias(&bias, &n, &m->entry, &err), LX_EFORMAT);
    assert_null(bias);
    free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_delta__lycoris),
        cmocka_unit_test(test_delta__tucker),
        cmocka_unit_test(test_delta__loha_with_cores),
        cmocka_unit_test(test_delta__lokr_of_two_products),
        cmocka_unit_test(test_delta__dora_of_a_convolution),
        cmocka_unit_test(test_delta__rotations),
        cmocka_unit_test(test_delta__oft_known_angle),
        cmocka_unit_test(test_delta__ia3),
        cmocka_unit_test(test_delta__refuses),
        cmocka_unit_test(test_delta__refuses_shapes),
        cmocka_unit_test(test_delta__both_biases),
    };

    return cmocka_run_group_tests_name("lora/delta", tests, NULL, NULL);
}
