/* Merges against sums written out in f64, and what must be refused. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <omp.h>

#include "src/base/str.h"
#include "src/lora/merge.h"
#include "tests/support/expect.h"
#include "tests/support/golden.h"
#include "tests/support/made_lora.h"

/* ---- sums in f64, by the definition ------------------------------------------------------ */

/* sum += factor * alpha / rank * up down, of three tensors */
static void add_delta(double *sum, double factor, const lx_tensor_view *up,
                      const lx_tensor_view *down, const lx_tensor_view *alpha)
{
    const size_t rank = (size_t)down->shape[0], in = down->n_elements / rank;
    const size_t out = (size_t)up->shape[0];
    double *u = lx_values_of(up), *d = lx_values_of(down);
    double *a = alpha ? lx_values_of(alpha) : NULL;
    const double scale = factor * (a && *a != 0 ? *a / (double)rank : 1);

    for (size_t o = 0; o < out; o++)
        for (size_t i = 0; i < in; i++)
            for (size_t r = 0; r < rank; r++)
                sum[o * in + i] += scale * u[o * rank + r] * d[r * in + i];
    free(u), free(d), free(a);
}

static void add_file(double *sum, double factor, const lx_lora_file *file,
                     const char *module)
{
    const lx_lora_entry *e = lx_lora_file_find(file, module);

    if (e)
        add_delta(sum, factor, e->tensors[LX_ROLE_UP], e->tensors[LX_ROLE_DOWN],
                  e->tensors[LX_ROLE_ALPHA]);
}

static double *result_delta(const lx_merge_result *r, const char *module, size_t n)
{
    double *sum = calloc(n, sizeof *sum);

    add_delta(sum, 1, lx_find_part(r->tensors, r->n_tensors, module, ".lora_up.weight"),
              lx_find_part(r->tensors, r->n_tensors, module, ".lora_down.weight"),
              lx_find_part(r->tensors, r->n_tensors, module, ".alpha"));
    return sum;
}

static double distance(const double *a, const double *b, size_t n)
{
    double square = 0, all = 0;

    for (size_t i = 0; i < n; i++) {
        square += (a[i] - b[i]) * (a[i] - b[i]);
        all += b[i] * b[i];
    }
    return all > 0 ? sqrt(square / all) : sqrt(square);
}

/* The worst relative error of any module of the result. */
static double worst_error(const lx_merge_result *r, const lx_made_lora *files,
                          const double *strengths, int n_files)
{
    double worst = 0;

    for (int i = 0; i < LX_N_MADE; i++) {
        const lx_made_module *m = &lx_made_modules[i];
        const size_t n =
            (size_t)(m->out * m->in * (m->window ? m->window * m->window : 1));
        double *wanted = calloc(n, sizeof *wanted), *got = result_delta(r, m->name, n);
        for (int f = 0; f < n_files; f++)
            add_file(wanted, strengths[f], files[f].file, m->name);
        worst = fmax(worst, distance(got, wanted, n));
        free(wanted), free(got);
    }
    return worst;
}

static lx_merge *add_files(const lx_made_lora *files, const double *strengths, int n)
{
    static const char *const labels[] = {"a.safetensors", "b.safetensors",
                                         "c.safetensors", "d.safetensors"};
    lx_merge *merge;
    lx_error err;

    lx_assert_ok(lx_merge_new(&merge, &err), &err);
    for (int i = 0; i < n; i++) {
        const lx_merge_source s = {files[i].file, labels[i], strengths[i], strengths[i],
                                   NULL};
        lx_assert_ok(lx_merge_add(merge, &s, &err), &err);
    }
    return merge;
}

/* ---- exactness --------------------------------------------------------------------------- */

/* Any ranks, alphas (none, 0) and signs: 1e-6 in f32, the floor of rounding in halves. */
static void test_merge__is_the_sum(void **state)
{
    static const struct {
        int ranks[3];
        double alphas[3], strengths[3];
        lx_dtype dtypes[3];
    } cases[] = {
        {{4, 4, 4}, {4, 1, -1}, {0.7, -0.4, 2}, {LX_F32, LX_F32, LX_F32}},
        {{4, 8, 1}, {0, 100, 1e-3}, {1, 1, -3}, {LX_F16, LX_F32, LX_BF16}},
        {{2, 6, 3}, {2, 2, 0.3}, {0.1, 0, 1e-4}, {LX_F16, LX_F16, LX_F16}},
        {{5, 5, 5}, {5, 5, 5}, {1, 1, 1}, {LX_F16, LX_F16, LX_F16}},
    };
    static const struct {
        lx_dtype dtype;
        double limit;
    } outputs[] = {{LX_F32, 1e-6}, {LX_F16, 0x1p-11}, {LX_BF16, 0x1p-8}};
    lx_error err;

    (void)state;
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        lx_made_lora files[3];
        for (int i = 0; i < 3; i++)
            lx_make_lora(&files[i], 10 * c + (uint64_t)i, cases[c].ranks[i],
                      cases[c].alphas[i], cases[c].dtypes[i]);
        for (int o = 0; o < 3; o++) {
            lx_merge_options options = {.rank_rule = LX_RANK_EXACT,
                                        .dtype = outputs[o].dtype};
            lx_merge *merge = add_files(files, cases[c].strengths, 3);
            lx_merge_result r;
            lx_assert_ok(lx_merge_finish(&r, merge, &options, &err), &err);
            assert_int_equal(r.rank,
                             cases[c].ranks[0] + cases[c].ranks[1] + cases[c].ranks[2]);
            assert_true(r.is_plain && r.error == 0);
            double error = worst_error(&r, files, cases[c].strengths, 3);
            if (error > outputs[o].limit)
                fail_msg("case %zu as %s: relative error %g", c,
                         lx_dtype_name(outputs[o].dtype), error);
            lx_merge_free(merge);
        }
        for (int i = 0; i < 3; i++)
            lx_drop_lora(&files[i]);
    }
}

/* Equal scales keep their very bits: nothing is rounded at all. */
static void test_merge__equal_scales_keep_bits(void **state)
{
    const double strengths[2] = {1, 1};
    lx_made_lora files[2];
    lx_merge_result r;
    lx_merge *merge;
    lx_error err;

    (void)state;
    lx_make_lora(&files[0], 1, 4, 2, LX_F16);
    lx_make_lora(&files[1], 2, 4, 2, LX_F16);
    merge = add_files(files, strengths, 2);
    lx_assert_ok(lx_merge_finish(&r, merge, &(lx_merge_options){.dtype = LX_F16}, &err),
                 &err);
    assert_true(worst_error(&r, files, strengths, 2) < 1e-15);
    lx_merge_free(merge);
    lx_drop_lora(&files[0]);
    lx_drop_lora(&files[1]);
}

/* A rank or an error asked for: what is said of the error is what a look at the result finds. */
static void test_merge__cut(void **state)
{
    const double strengths[2] = {0.7, -0.4};
    const double errors[] = {0.5, 0.1, 0.01};
    lx_made_lora files[2];
    lx_merge_result r;
    lx_error err;

    (void)state;
    lx_make_lora(&files[0], 1, 4, 2, LX_F32);
    lx_make_lora(&files[1], 2, 7, 3, LX_F32);
    for (int i = 0; i < 6; i++) {
        lx_merge_options o = {.dtype = LX_F32};
        lx_merge *merge = add_files(files, strengths, 2);
        double worst = 0;
        o.rank_rule = i < 3 ? LX_RANK_ERROR : LX_RANK_FIXED;
        o.error = errors[i % 3];
        o.rank = (size_t)(1 + 4 * (i - 3));
        o.conv_rank = 2;
        lx_assert_ok(lx_merge_finish(&r, merge, &o, &err), &err);
        for (size_t m = 0; m < r.n_modules; m++) {
            worst = fmax(worst, r.modules[m].error);
            if (i < 3)
                assert_true(r.modules[m].error <= errors[i]);
            else /* the convolution's own */
                assert_int_equal(r.modules[m].rank,
                                 strstr(r.modules[m].name, "conv1") ? 2 : o.rank);
        }
        assert_true(fabs(worst_error(&r, files, strengths, 2) - worst) < 1e-6);
        assert_true(r.error <= worst);
        lx_merge_free(merge);
    }
    lx_drop_lora(&files[0]);
    lx_drop_lora(&files[1]);
}

/* ---- methods ----------------------------------------------------------------------------- */

/* The dense deltas of a module, f64. */
static double *dense(const lx_made_lora *f, const lx_made_module *m)
{
    double *x = calloc((size_t)(m->out * m->in * (m->window ? m->window * m->window : 1)),
                       sizeof *x);
    add_file(x, 1, f->file, m->name);
    return x;
}

static int by_size(const void *a, const void *b)
{
    const double x = fabs(*(const double *)a), y = fabs(*(const double *)b);
    return x < y ? 1 : x > y ? -1 : 0;
}

static void prune(double *x, size_t n, double density)
{
    double *sorted = malloc(n * sizeof *sorted), limit;

    memcpy(sorted, x, n * sizeof *x);
    qsort(sorted, n, sizeof *sorted, by_size);
    limit = fabs(sorted[(size_t)(density * (double)n) - 1]);
    for (size_t i = 0; i < n; i++)
        x[i] = fabs(x[i]) >= limit ? x[i] : 0;
    free(sorted);
}

/* TIES and pruning by their definitions; the result's rank is full, so that nothing is cut. */
static void test_merge__ties_and_prune(void **state)
{
    const double strengths[3] = {0.7, -0.4, 1.5};
    const double density = 0.3;
    lx_made_lora files[3];
    lx_error err;

    (void)state;
    for (int i = 0; i < 3; i++)
        lx_make_lora(&files[i], (uint64_t)i, 10 + i, 8, LX_F32);
    for (int ties = 0; ties < 2; ties++) {
        lx_merge_options o = {.method = ties ? LX_MERGE_TIES : LX_MERGE_PRUNE,
                              .rank_rule = LX_RANK_EXACT,
                              .density = density,
                              .dtype = LX_F32};
        lx_merge *merge = add_files(files, strengths, 3);
        lx_merge_result r;
        lx_assert_ok(lx_merge_finish(&r, merge, &o, &err), &err);
        for (int k = 0; k < LX_N_MADE; k++) {
            const lx_made_module *m = &lx_made_modules[k];
            const size_t n =
                (size_t)(m->out * m->in * (m->window ? m->window * m->window : 1));
            double *x[3], *wanted = calloc(n, sizeof *wanted),
                          *got = result_delta(&r, m->name, n);
            for (int f = 0; f < 3; f++) {
                x[f] = dense(&files[f], m);
                prune(x[f], n, density);
            }
            for (size_t i = 0; i < n; i++) {
                const double total = x[0][i] + x[1][i] + x[2][i];
                int voices = 0;
                for (int f = 0; f < 3; f++) {
                    const bool agrees = total >= 0 ? x[f][i] > 0 : x[f][i] < 0;
                    wanted[i] += !ties || agrees ? strengths[f] * x[f][i] : 0;
                    voices += agrees;
                }
                wanted[i] /= ties && voices ? voices : 1;
            }
            assert_true(distance(got, wanted, n) < 1e-6);
            for (int f = 0; f < 3; f++)
                free(x[f]);
            free(wanted), free(got);
        }
        lx_merge_free(merge);
    }
    for (int i = 0; i < 3; i++)
        lx_drop_lora(&files[i]);
}

/* With every element kept, dare is the sum and dare_ties is ties; one file under ties is itself. */
static void test_merge__density_one(void **state)
{
    const double strengths[2] = {0.7, -0.4};
    lx_made_lora files[2];
    lx_error err;

    (void)state;
    lx_make_lora(&files[0], 1, 4, 2, LX_F32);
    lx_make_lora(&files[1], 2, 6, 3, LX_F32);
    for (int i = 0; i < 3; i++) {
        static const lx_merge_method methods[] = {LX_MERGE_DARE, LX_MERGE_TIES,
                                                  LX_MERGE_KNOTS};
        lx_merge_options o = {.method = methods[i],
                              .rank_rule = LX_RANK_EXACT,
                              .density = 1,
                              .dtype = LX_F32};
        const int n = i == 0 ? 2 : 1;
        lx_merge *merge = add_files(files, strengths, n);
        lx_merge_result r;
        lx_assert_ok(lx_merge_finish(&r, merge, &o, &err), &err);
        assert_true(worst_error(&r, files, strengths, n) < 1e-6);
        lx_merge_free(merge);
    }
    lx_drop_lora(&files[0]);
    lx_drop_lora(&files[1]);
}

/* The seed and nothing else decides: not the threads. */
static void test_merge__seeded(void **state)
{
    const double strengths[2] = {0.7, -0.4};
    lx_made_lora files[2];
    lx_merge_result r[3];
    lx_merge *merges[3];
    lx_error err;

    (void)state;
    lx_make_lora(&files[0], 1, 4, 2, LX_F32);
    lx_make_lora(&files[1], 2, 4, 3, LX_F32);
    for (int method = 1; method < LX_MERGE_METHODS; method++) {
        for (int i = 0; i < 3; i++) {
            lx_merge_options o = {.method = (lx_merge_method)method,
                                  .density = 0.4,
                                  .seed = i == 2 ? 8 : 7,
                                  .dtype = LX_F16};
            omp_set_num_threads(i == 1 ? 3 : 1);
            merges[i] = add_files(files, strengths, 2);
            lx_assert_ok(lx_merge_finish(&r[i], merges[i], &o, &err), &err);
        }
        bool is_same = true;
        for (size_t t = 0; t < r[0].n_tensors; t++) {
            assert_memory_equal(r[0].tensors[t].data, r[1].tensors[t].data,
                                r[0].tensors[t].bytes);
            is_same &= memcmp(r[0].tensors[t].data, r[2].tensors[t].data,
                              r[0].tensors[t].bytes) == 0;
        }
        assert_int_equal(is_same,
                         method != LX_MERGE_DARE && method != LX_MERGE_DARE_TIES);
        for (int i = 0; i < 3; i++)
            lx_merge_free(merges[i]);
    }
    lx_drop_lora(&files[0]);
    lx_drop_lora(&files[1]);
}

/* ---- what must be refused ---------------------------------------------------------------- */

static void test_merge__refuses(void **state)
{
    const double strengths[2] = {1, 1}, huge[2] = {1e6, 1};
    lx_made_lora files[2], bad;
    lx_merge_result r;
    lx_merge *merge;
    lx_error err;

    (void)state;
    lx_make_lora(&files[0], 1, 4, 4, LX_F32);
    lx_make_lora(&files[1], 2, 8, 4, LX_F32);
    merge = add_files(files, strengths, 2);
    assert_int_equal(
        lx_merge_finish(&r, merge, &(lx_merge_options){.dtype = LX_F32}, &err),
        LX_EMISMATCH);
    assert_string_equal(
        err.text, "a.safetensors has rank 4 but b.safetensors has rank 8 "
                  "(lora_te_text_model_encoder_layers_0_mlp_fc1): add --rank exact to "
                  "merge them without loss at rank 12, or --rank N or --error 1% for a "
                  "smaller file");
    lx_merge_free(merge);

    lx_make_lora(&bad, 1, 4, NAN, LX_F32);
    lx_assert_ok(lx_merge_new(&merge, &err), &err);
    const lx_merge_source s = {bad.file, "x", 1, 1, NULL};
    assert_int_equal(lx_merge_add(merge, &s, &err), LX_EFORMAT);
    assert_non_null(strstr(err.text, "alpha is nan"));
    lx_merge_free(merge);
    lx_drop_lora(&bad);

    /* What f16 cannot hold is no infinity in the file. */
    lx_make_lora(&bad, 1, 4, 4, LX_F32);
    const lx_made_lora pair[2] = {files[0], bad};
    merge = add_files(pair, huge, 2);
    lx_merge_options o = {.rank_rule = LX_RANK_FIXED, .rank = 4, .dtype = LX_F16};
    int rc = lx_merge_finish(&r, merge, &o,
                             &err); /* balanced factors hold it, or it is refused */
    if (rc == LX_OK)
        assert_true(isfinite(worst_error(&r, pair, huge, 2)));
    lx_merge_free(merge);
    for (int i = 0; i < 2; i++)
        lx_drop_lora(&files[i]);
    lx_drop_lora(&bad);
}

/* ---- other families ---------------------------------------------------------------------- */

/* LoHa, LoKr and a plain LoRA in diffusers' spelling: the merged file's deltas are the sum of theirs. */
static void check_family(const char *sub_path, int n_modules)
{
    lx_merge_options o = {.rank_rule = LX_RANK_EXACT, .dtype = LX_F32};
    const lx_merge_source plain = {NULL, "plain", -0.3, -0.3, NULL};
    lx_merge_source sources[2] = {{NULL, "other", 0.8, 0.8, NULL}, plain};
    lx_lora_file *file, *other;
    lx_merge_result exact, cut;
    lx_merge *merge;
    lx_error err;

    lx_assert_ok(lx_lora_file_open(&file, lx_golden_need(sub_path), &err), &err);
    lx_assert_ok(
        lx_lora_file_open(
            &other, lx_golden_need("lora/files/mini_a_r4_a4_fp32.safetensors"), &err),
        &err);
    sources[0].file = file;
    sources[1].file = other;
    for (int i = 0; i < 2; i++) {
        lx_assert_ok(lx_merge_new(&merge, &err), &err);
        for (int k = 0; k < 2; k++)
            lx_assert_ok(lx_merge_add(merge, &sources[k], &err), &err);
        o.rank_rule = i ? LX_RANK_ERROR : LX_RANK_EXACT;
        o.error = 1e-3;
        lx_assert_ok(lx_merge_finish(i ? &cut : &exact, merge, &o, &err), &err);
        if (i == 0) {
            assert_int_equal(exact.n_modules, n_modules);
            for (size_t m = 0; m < exact.n_modules; m++)
                assert_true(lx_starts_with(exact.modules[m].name, "lora_"));
        } else {
            assert_true(cut.error < 1e-3);
        }
        lx_merge_free(merge);
    }
    lx_lora_file_close(other);
    lx_lora_file_close(file);
}

static void test_merge__families(void **state)
{
    (void)state;
    check_family("lora/files/lycoris_loha.safetensors", 35);
    check_family("lora/files/lycoris_lokr.safetensors", 35);
    check_family("lora/files/peft_r4.safetensors", 186);
    check_family("lora/files/diffusers_r4.safetensors", 186);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_merge__is_the_sum),
        cmocka_unit_test(test_merge__equal_scales_keep_bits),
        cmocka_unit_test(test_merge__cut),
        cmocka_unit_test(test_merge__ties_and_prune),
        cmocka_unit_test(test_merge__density_one),
        cmocka_unit_test(test_merge__seeded),
        cmocka_unit_test(test_merge__refuses),
        cmocka_unit_test(test_merge__families),
    };

    return cmocka_run_group_tests_name("lora/merge", tests, NULL, NULL);
}
