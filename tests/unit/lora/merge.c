/* Merges against sums written out in f64, sd-scripts' own numbers, and what must be refused. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <omp.h>

#include "src/base/alloc.h"
#include "src/base/rng.h"
#include "src/base/str.h"
#include "src/lora/merge.h"
#include "src/lora/merge_into.h"
#include "tests/support/golden.h"
#include "tests/support/model.h"

/* ---- files made up from a seed ----------------------------------------------------------- */

enum { MAX_FILES = 4, MAX_MODULES = 4, MAX_VALUES = 4096 };

/* A LoRA file: modules of one rank, and the f64 deltas they stand for. */
typedef struct made_file {
    char path[64];
    lx_lora_file *file;
} made_file;

typedef struct made_module {
    const char *name;
    int out, in, window; /* window 0: a linear */
} made_module;

static const made_module modules[] = {
    {"lora_unet_down_blocks_0_attentions_0_proj_in", 24, 20, 1},
    {"lora_unet_up_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q", 16, 40, 0},
    {"lora_unet_up_blocks_1_resnets_0_conv1", 18, 10, 3},
    {"lora_te_text_model_encoder_layers_0_mlp_fc1", 32, 12, 0},
};
enum { N_MODULES = sizeof modules / sizeof *modules };

#define NO_ALPHA (-1e9)

static void add_view(lx_tensor_view *v, char *name, const char *module,
                     const char *suffix, lx_dtype dtype, int n_dims, const int64_t *shape,
                     const float *values)
{
    sprintf(name, "%s%s", module, suffix);
    *v =
        (lx_tensor_view){.name = name, .dtype = dtype, .n_dims = n_dims, .n_elements = 1};
    for (int i = 0; i < n_dims; i++) {
        v->shape[i] = shape[i];
        v->n_elements *= (size_t)shape[i];
    }
    v->bytes = v->n_elements * (size_t)lx_dtype_bits(dtype) / 8;
    v->data = malloc(v->bytes);
    lx_from_f32((void *)v->data, dtype, values, v->n_elements);
}

/* down, up and (unless it is NO_ALPHA) alpha of every module. */
static void make_file_of(made_file *f, uint64_t seed, int rank, const double alphas[N_MODULES], lx_dtype dtype)
{
    lx_tensor_view views[3 * N_MODULES];
    static char names[3 * N_MODULES][160];
    static float values[MAX_VALUES];
    size_t n = 0;
    lx_error err;
    int fd;

    for (int i = 0; i < N_MODULES; i++) {
        const made_module *m = &modules[i];
        const int dims = m->window ? 4 : 2;
        int64_t down[4] = {rank, m->in, m->window, m->window},
                up[4] = {m->out, rank, 1, 1};
        for (int k = 0; k < 2; k++) {
            lx_rng rng = lx_rng_stream(seed, LX_RNG_TEST, (uint64_t)(2 * i + k), 0);
            for (int j = 0; j < MAX_VALUES; j++)
                values[j] = (float)(lx_rng_uniform(&rng) - 0.5);
            add_view(&views[n], names[n], m->name,
                     k ? ".lora_up.weight" : ".lora_down.weight", dtype, dims,
                     k ? up : down, values);
            n++;
        }
        if (alphas[i] != NO_ALPHA) {
            const float stored = (float)alphas[i];
            add_view(&views[n], names[n], m->name, ".alpha", LX_F32, 0, NULL, &stored);
            n++;
        }
    }
    strcpy(f->path, "/tmp/lx-merge-XXXXXX");
    fd = mkstemp(f->path);
    close(fd);
    lx_assert_ok(lx_safetensors_write(f->path, views, n, NULL, 0, &err), &err);
    for (size_t i = 0; i < n; i++)
        free((void *)views[i].data);
    lx_assert_ok(lx_lora_file_open(&f->file, f->path, &err), &err);
}

static void make_file(made_file *f, uint64_t seed, int rank, double alpha, lx_dtype dtype)
{
    double alphas[N_MODULES];

    for (int i = 0; i < N_MODULES; i++)
        alphas[i] = alpha;
    make_file_of(f, seed, rank, alphas, dtype);
}

static void drop_file(made_file *f)
{
    lx_lora_file_close(f->file);
    unlink(f->path);
}

/* ---- sums in f64, by the definition ------------------------------------------------------ */

static const lx_tensor_view *find(const lx_tensor_view *tensors, size_t n,
                                  const char *module, const char *suffix)
{
    for (size_t i = 0; i < n; i++)
        if (lx_starts_with(tensors[i].name, module) &&
            strcmp(tensors[i].name + strlen(module), suffix) == 0)
            return &tensors[i];
    return NULL;
}

static double *values_of(const lx_tensor_view *t)
{
    double *x = calloc(t->n_elements + 1, sizeof *x);
    assert_int_equal(lx_to_f64(x, t->data, t->dtype, t->n_elements), 0);
    return x;
}

/* sum += factor * alpha / rank * up down, of three tensors */
static void add_delta(double *sum, double factor, const lx_tensor_view *up,
                      const lx_tensor_view *down, const lx_tensor_view *alpha)
{
    const size_t rank = (size_t)down->shape[0], in = down->n_elements / rank;
    const size_t out = (size_t)up->shape[0];
    double *u = values_of(up), *d = values_of(down), *a = alpha ? values_of(alpha) : NULL;
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

    add_delta(sum, 1, find(r->tensors, r->n_tensors, module, ".lora_up.weight"),
              find(r->tensors, r->n_tensors, module, ".lora_down.weight"),
              find(r->tensors, r->n_tensors, module, ".alpha"));
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
static double worst_error(const lx_merge_result *r, const made_file *files,
                          const double *strengths, int n_files)
{
    double worst = 0;

    for (int i = 0; i < N_MODULES; i++) {
        const made_module *m = &modules[i];
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

static lx_merge *add_files(const made_file *files, const double *strengths, int n)
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
        made_file files[3];
        for (int i = 0; i < 3; i++)
            make_file(&files[i], 10 * c + (uint64_t)i, cases[c].ranks[i],
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
            drop_file(&files[i]);
    }
}

/* Equal scales keep their very bits: nothing is rounded at all. */
static void test_merge__equal_scales_keep_bits(void **state)
{
    const double strengths[2] = {1, 1};
    made_file files[2];
    lx_merge_result r;
    lx_merge *merge;
    lx_error err;

    (void)state;
    make_file(&files[0], 1, 4, 2, LX_F16);
    make_file(&files[1], 2, 4, 2, LX_F16);
    merge = add_files(files, strengths, 2);
    lx_assert_ok(lx_merge_finish(&r, merge, &(lx_merge_options){.dtype = LX_F16}, &err),
                 &err);
    assert_true(worst_error(&r, files, strengths, 2) < 1e-15);
    lx_merge_free(merge);
    drop_file(&files[0]);
    drop_file(&files[1]);
}

/* A rank or an error asked for: what is said of the error is what a look at the result finds. */
static void test_merge__cut(void **state)
{
    const double strengths[2] = {0.7, -0.4};
    const double errors[] = {0.5, 0.1, 0.01};
    made_file files[2];
    lx_merge_result r;
    lx_error err;

    (void)state;
    make_file(&files[0], 1, 4, 2, LX_F32);
    make_file(&files[1], 2, 7, 3, LX_F32);
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
    drop_file(&files[0]);
    drop_file(&files[1]);
}

/* ---- methods ----------------------------------------------------------------------------- */

/* The dense deltas of a module, f64. */
static double *dense(const made_file *f, const made_module *m)
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
    made_file files[3];
    lx_error err;

    (void)state;
    for (int i = 0; i < 3; i++)
        make_file(&files[i], (uint64_t)i, 10 + i, 8, LX_F32);
    for (int ties = 0; ties < 2; ties++) {
        lx_merge_options o = {.method = ties ? LX_MERGE_TIES : LX_MERGE_PRUNE,
                              .rank_rule = LX_RANK_EXACT,
                              .density = density,
                              .dtype = LX_F32};
        lx_merge *merge = add_files(files, strengths, 3);
        lx_merge_result r;
        lx_assert_ok(lx_merge_finish(&r, merge, &o, &err), &err);
        for (int k = 0; k < N_MODULES; k++) {
            const made_module *m = &modules[k];
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
        drop_file(&files[i]);
}

/* With every element kept, dare is the sum and dare_ties is ties; one file under ties is itself. */
static void test_merge__density_one(void **state)
{
    const double strengths[2] = {0.7, -0.4};
    made_file files[2];
    lx_error err;

    (void)state;
    make_file(&files[0], 1, 4, 2, LX_F32);
    make_file(&files[1], 2, 6, 3, LX_F32);
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
    drop_file(&files[0]);
    drop_file(&files[1]);
}

/* The seed and nothing else decides: not the threads. */
static void test_merge__seeded(void **state)
{
    const double strengths[2] = {0.7, -0.4};
    made_file files[2];
    lx_merge_result r[3];
    lx_merge *merges[3];
    lx_error err;

    (void)state;
    make_file(&files[0], 1, 4, 2, LX_F32);
    make_file(&files[1], 2, 4, 3, LX_F32);
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
    drop_file(&files[0]);
    drop_file(&files[1]);
}

/* ---- what must be refused ---------------------------------------------------------------- */

static void test_merge__refuses(void **state)
{
    const double strengths[2] = {1, 1}, huge[2] = {1e6, 1};
    made_file files[2], bad;
    lx_merge_result r;
    lx_merge *merge;
    lx_error err;

    (void)state;
    make_file(&files[0], 1, 4, 4, LX_F32);
    make_file(&files[1], 2, 8, 4, LX_F32);
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

    make_file(&bad, 1, 4, NAN, LX_F32);
    lx_assert_ok(lx_merge_new(&merge, &err), &err);
    const lx_merge_source s = {bad.file, "x", 1, 1, NULL};
    assert_int_equal(lx_merge_add(merge, &s, &err), LX_EFORMAT);
    assert_non_null(strstr(err.text, "alpha is nan"));
    lx_merge_free(merge);
    drop_file(&bad);

    /* What f16 cannot hold is no infinity in the file. */
    make_file(&bad, 1, 4, 4, LX_F32);
    const made_file pair[2] = {files[0], bad};
    merge = add_files(pair, huge, 2);
    lx_merge_options o = {.rank_rule = LX_RANK_FIXED, .rank = 4, .dtype = LX_F16};
    int rc = lx_merge_finish(&r, merge, &o,
                             &err); /* balanced factors hold it, or it is refused */
    if (rc == LX_OK)
        assert_true(isfinite(worst_error(&r, pair, huge, 2)));
    lx_merge_free(merge);
    for (int i = 0; i < 2; i++)
        drop_file(&files[i]);
    drop_file(&bad);
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

/* ---- sd-scripts -------------------------------------------------------------------------- */

static const char *word_after(const cJSON *argv, const char *flag)
{
    const cJSON *word;

    cJSON_ArrayForEach(word, argv)
    {
        if (strcmp(word->valuestring, flag) == 0)
            return word->next ? word->next->valuestring : "";
    }
    return NULL;
}

/* The words between `flag` and the next one. */
static int words_after(const char **out, const cJSON *argv, const char *flag)
{
    const cJSON *word;
    bool is_in = false;
    int n = 0;

    cJSON_ArrayForEach(word, argv)
    {
        if (is_in && lx_starts_with(word->valuestring, "--"))
            break;
        if (is_in)
            out[n++] = word->valuestring;
        is_in |= strcmp(word->valuestring, flag) == 0;
    }
    return n;
}

static lx_dtype dtype_of(const char *word, lx_dtype otherwise)
{
    return !word                       ? otherwise
           : strcmp(word, "fp16") == 0 ? LX_F16
           : strcmp(word, "bf16") == 0 ? LX_BF16
                                       : LX_F32;
}

/* One case of the peer's: every tensor's bytes are its. */
static int compare_case(const cJSON *c)
{
    const cJSON *argv = cJSON_GetObjectItem(c, "argv");
    const char *paths[8], *ratios[8],
        *output = cJSON_GetObjectItem(c, "output")->valuestring;
    const int n = words_after(paths, argv, "--models");
    lx_merge_like like = {.merge_dtype =
                              dtype_of(word_after(argv, "--precision"), LX_F32),
                          .is_concat = word_after(argv, "--concat") != NULL,
                          .is_shuffled = word_after(argv, "--shuffle") != NULL,
                          .seed = 1234};
    lx_merge_options o = {
        .dtype = dtype_of(word_after(argv, "--save_precision"), like.merge_dtype)};
    lx_lora_file *files[8];
    lx_tensor_file *wanted;
    lx_merge_result r;
    lx_merge *merge;
    lx_error err;
    char path[256];

    words_after(ratios, argv, "--ratios");
    snprintf(path, sizeof path, "lora/merge/%s", output);
    if (!lx_golden(path))
        return 0;
    wanted = lx_golden_open(path);
    lx_assert_ok(lx_merge_new(&merge, &err), &err);
    for (int i = 0; i < n; i++) {
        snprintf(path, sizeof path, "lora/files/%s", paths[i]);
        lx_assert_ok(lx_lora_file_open(&files[i], lx_golden_need(path), &err), &err);
        const lx_merge_source s = {files[i], paths[i], atof(ratios[i]), atof(ratios[i]),
                                   NULL};
        lx_assert_ok(lx_merge_add(merge, &s, &err), &err);
    }
    lx_assert_ok(lx_merge_finish_like(&r, merge, &o, &like, &err), &err);
    assert_int_equal(r.n_tensors, lx_tensor_file_count(wanted));
    for (size_t i = 0; i < r.n_tensors; i++) {
        const lx_tensor_view *t = lx_golden_find(wanted, "%s", r.tensors[i].name);
        if (t->dtype != r.tensors[i].dtype || t->bytes != r.tensors[i].bytes ||
            memcmp(t->data, r.tensors[i].data, t->bytes) != 0)
            fail_msg("%s: %s differs", output, t->name);
    }
    lx_merge_free(merge);
    for (int i = 0; i < n; i++)
        lx_lora_file_close(files[i]);
    lx_tensor_file_close(wanted);
    return 1;
}

static void test_merge__like_sd_scripts(void **state)
{
    cJSON *cases = lx_golden_json("lora/merge/cases.json");
    const cJSON *c;
    int n = 0;

    (void)state;
    cJSON_ArrayForEach(c, cases)
    {
        if (cJSON_GetObjectItem(c, "exit")->valueint == 0)
            n += compare_case(c);
    }
    assert_int_equal(n, 22);
    cJSON_Delete(cases);
}

static int merge_like(lx_merge **merge, lx_merge_result *r, const made_file *files, int n, bool is_shuffled,
                      lx_error *err)
{
    const lx_merge_like like = {.merge_dtype = LX_F32, .is_shuffled = is_shuffled, .seed = 7};
    const lx_merge_options o = {.dtype = LX_F32};

    *err = (lx_error){0};
    lx_assert_ok(lx_merge_new(merge, err), err);
    for (int i = 0; i < n; i++) {
        const lx_merge_source s = {files[i].file, files[i].path, 1, 1, NULL};
        lx_assert_ok(lx_merge_add(*merge, &s, err), err);
    }
    return lx_merge_finish_like(r, *merge, &o, &like, err);
}

/* By merge_lora.py's own: an alpha of 0 is 0, and there are quotients without a square root. */
static void test_merge__like_sd_scripts_with_odd_alphas(void **state)
{
    static const struct {
        double first, second;
        int code;
    } rows[] = {{2, 0, LX_OK}, {0, 2, LX_EMISMATCH}, {0, 0, LX_EMISMATCH}, {2, -2, LX_EMISMATCH}, {-2, -8, LX_OK}};

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        made_file files[2];
        lx_merge_result r;
        lx_merge *merge;
        lx_error err;

        make_file(&files[0], 1, 4, rows[i].first, LX_F32);
        make_file(&files[1], 2, 4, rows[i].second, LX_F32);
        assert_int_equal(merge_like(&merge, &r, files, 2, false, &err), rows[i].code);
        if (rows[i].code == LX_OK) { /* down = down_1 + sqrt(alpha / alpha_1) down_2 */
            const lx_tensor_view *down = find(r.tensors, r.n_tensors, modules[3].name, ".lora_down.weight");
            const float *x = lx_lora_file_find(files[0].file, modules[3].name)->tensors[LX_ROLE_DOWN]->data;
            const float *y = lx_lora_file_find(files[1].file, modules[3].name)->tensors[LX_ROLE_DOWN]->data;
            for (size_t k = 0; k < down->n_elements; k++)
                assert_true(((const float *)down->data)[k] == x[k] + y[k] * (rows[i].second == 0 ? 0.0F : 2.0F));
        }
        lx_merge_free(merge);
        drop_file(&files[0]);
        drop_file(&files[1]);
    }
}

enum { RANK = 8 };

/* Which rows of the file's down the rows of the merged one were. */
static void find_order(int order[RANK], const lx_merge_result *r, const made_file *f, const char *module)
{
    const lx_tensor_view *down = find(r->tensors, r->n_tensors, module, ".lora_down.weight");
    const lx_tensor_view *was = lx_lora_file_find(f->file, module)->tensors[LX_ROLE_DOWN];
    const size_t row = down->bytes / RANK;

    for (int i = 0; i < RANK; i++) {
        order[i] = 0;
        while (memcmp((const char *)down->data + (size_t)i * row, (const char *)was->data + (size_t)order[i] * row,
                      row) != 0)
            assert_in_range(++order[i], 0, RANK - 1);
    }
}

/* Modules with an alpha are shuffled before those without, each kind in the order of their names. */
static void test_merge__like_sd_scripts_shuffles_as_alphas_are_met(void **state)
{
    static const double alphas[2][N_MODULES] = {{4, 4, 4, 4}, {4, 4, 4, NO_ALPHA}};
    static const int met[2][N_MODULES] = {{3, 0, 1, 2}, {0, 1, 2, 3}};
    int orders[2][N_MODULES][RANK];

    (void)state;
    for (int i = 0; i < 2; i++) {
        made_file file;
        lx_merge_result r;
        lx_merge *merge;
        lx_error err;

        make_file_of(&file, 1, RANK, alphas[i], LX_F32);
        lx_assert_ok(merge_like(&merge, &r, &file, 1, true, &err), &err);
        for (int k = 0; k < N_MODULES; k++)
            find_order(orders[i][k], &r, &file, modules[met[i][k]].name);
        lx_merge_free(merge);
        drop_file(&file);
    }
    assert_memory_equal(orders[0], orders[1], sizeof orders[0]);
    assert_memory_not_equal(orders[0][0], orders[0][1], sizeof orders[0][0]);
}

/* ---- svd_merge_lora.py -------------------------------------------------------------------- */

/* The peer's ranks, and the best error there is: never above its. */
static void test_merge__best_of_a_rank(void **state)
{
    cJSON *cases = lx_golden_json("lora/svd_merge/cases.json");
    const cJSON *c, *m;
    int n = 0;

    (void)state;
    cJSON_ArrayForEach(c, cases)
    {
        const cJSON *argv = cJSON_GetObjectItem(c, "argv");
        const cJSON *known = cJSON_GetObjectItem(c, "modules");
        lx_merge_options o = {.rank_rule = LX_RANK_FIXED, .dtype = LX_F32};
        const char *paths[8], *ratios[8];
        lx_lora_file *files[8];
        lx_merge_result r;
        lx_merge *merge;
        lx_error err;
        char path[256];
        if (!known || word_after(argv, "--lbws"))
            continue;
        const int count = words_after(paths, argv, "--models");
        words_after(ratios, argv, "--ratios");
        o.rank = (size_t)atoi(word_after(argv, "--new_rank"));
        o.conv_rank = word_after(argv, "--new_conv_rank")
                          ? (size_t)atoi(word_after(argv, "--new_conv_rank"))
                          : 0;
        lx_assert_ok(lx_merge_new(&merge, &err), &err);
        for (int i = 0; i < count; i++) {
            snprintf(path, sizeof path, "lora/files/%s", paths[i]);
            lx_assert_ok(lx_lora_file_open(&files[i], lx_golden_need(path), &err), &err);
            const lx_merge_source s = {files[i], paths[i], atof(ratios[i]),
                                       atof(ratios[i]), NULL};
            lx_assert_ok(lx_merge_add(merge, &s, &err), &err);
        }
        lx_assert_ok(lx_merge_finish(&r, merge, &o, &err), &err);
        cJSON_ArrayForEach(m, known)
        {
            const char *name = cJSON_GetObjectItem(m, "module")->valuestring;
            const double best = cJSON_GetObjectItem(m, "best_rank_k_error")->valuedouble /
                                cJSON_GetObjectItem(m, "sum_delta_fro")->valuedouble;
            size_t i = 0;
            while (i < r.n_modules && strcmp(r.modules[i].name, name) != 0)
                i++;
            assert_true(i < r.n_modules);
            assert_int_equal(r.modules[i].rank, cJSON_GetObjectItem(m, "rank")->valueint);
            assert_true(fabs(r.modules[i].error - best) < 1e-6);
            n++;
        }
        lx_merge_free(merge);
        for (int i = 0; i < count; i++)
            lx_lora_file_close(files[i]);
    }
    assert_int_equal(n, 310);
    cJSON_Delete(cases);
}

/* ---- into a checkpoint -------------------------------------------------------------------- */

/* Within one unit of the type's last place (of 1, for what is smaller), and nothing else is changed. */
static void check_into(const cJSON *c, const char *golden, lx_dtype dtype, double limit)
{
    const cJSON *argv = cJSON_GetObjectItem(c, "argv");
    const char *paths[8], *ratios[8];
    const int n = words_after(paths, argv, "--models");
    lx_lora_file *files[8];
    lx_tensor_file *base = lx_golden_open("lora/checkpoint/tiny_sd15_fp16.safetensors");
    lx_tensor_file *wanted = lx_golden_open(golden), *got;
    char path[256], output[] = "/tmp/lx-merge-XXXXXX";
    lx_merge_into into = {
        .base = base, .output = output, .has_dtype = true, .dtype = dtype};
    lx_merge_into_result r;
    size_t changed = 0;
    lx_merge *merge;
    lx_error err;

    close(mkstemp(output));
    words_after(ratios, argv, "--ratios");
    lx_assert_ok(lx_merge_new(&merge, &err), &err);
    for (int i = 0; i < n; i++) {
        snprintf(path, sizeof path, "lora/files/%s", strrchr(paths[i], '/') + 1);
        lx_assert_ok(lx_lora_file_open(&files[i], lx_golden_need(path), &err), &err);
        const lx_merge_source s = {files[i], paths[i], atof(ratios[i]), atof(ratios[i]),
                                   NULL};
        lx_assert_ok(lx_merge_add(merge, &s, &err), &err);
    }
    lx_assert_ok(lx_merge_write_into(&r, merge, &into, &err), &err);
    lx_assert_ok(lx_tensor_file_open(&got, output, &err), &err);
    for (size_t i = 0; i < lx_tensor_file_count(base); i++) {
        const lx_tensor_view *old = lx_tensor_file_at(base, i);
        const lx_tensor_view *t = lx_golden_find(got, "%s", old->name);
        const lx_tensor_view *peer = lx_tensor_file_find(wanted, old->name);
        double *a = values_of(t), *b = values_of(old), *p = peer ? values_of(peer) : NULL;
        changed += memcmp(a, b, t->n_elements * sizeof *a) != 0;
        for (size_t k = 0; p && k < t->n_elements; k++)
            if (fabs(a[k] - p[k]) > limit * fmax(fabs(p[k]), 0x1p-3))
                fail_msg("%s: %s[%zu] is %.9g, the peer's %.9g", golden, t->name, k, a[k],
                         p[k]);
        free(a), free(b), free(p);
    }
    assert_int_equal(changed, cJSON_GetObjectItem(c, "changed")->valueint);
    assert_int_equal(r.n_changed, changed);
    unlink(output);
    lx_merge_free(merge);
    for (int i = 0; i < n; i++)
        lx_lora_file_close(files[i]);
    lx_tensor_file_close(got);
    lx_tensor_file_close(wanted);
    lx_tensor_file_close(base);
}

static void test_merge__into_a_checkpoint(void **state)
{
    static const char *const names[] = {"r4_08_fp16", "two_float", "locon_fp16",
                                        "mini_noalpha"};
    cJSON *cases = lx_golden_json("lora/checkpoint/merge_cases.json");
    const cJSON *c;
    int n = 0;

    (void)state;
    cJSON_ArrayForEach(c, cases)
    {
        const char *name = cJSON_GetObjectItem(c, "case")->valuestring;
        for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
            const bool is_float = strcmp(name, "two_float") == 0;
            char path[128];
            if (strcmp(name, names[i]) != 0)
                continue;
            snprintf(path, sizeof path, "lora/checkpoint/merged_%s.safetensors", name);
            check_into(c, path, is_float ? LX_F32 : LX_F16, is_float ? 1e-6 : 0x1p-10);
            n++;
        }
    }
    assert_int_equal(n, 4);
    cJSON_Delete(cases);
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
        cmocka_unit_test(test_merge__like_sd_scripts),
        cmocka_unit_test(test_merge__like_sd_scripts_with_odd_alphas),
        cmocka_unit_test(test_merge__like_sd_scripts_shuffles_as_alphas_are_met),
        cmocka_unit_test(test_merge__best_of_a_rank),
        cmocka_unit_test(test_merge__into_a_checkpoint),
    };

    return cmocka_run_group_tests_name("lora/merge", tests, NULL, NULL);
}
