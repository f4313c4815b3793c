/* Differences of checkpoints made up from a seed, against dense decompositions in f64, and the peer's. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "src/base/file.h"
#include "src/base/rng.h"
#include "src/base/str.h"
#include "src/lora/extract.h"
#include "src/lora/merge_into.h"
#include "src/lora/svd.h"
#include "tests/support/golden.h"
#include "tests/support/model.h"

/* ---- checkpoints ---------------------------------------------------------------------------- */

#define UNET "model.diffusion_model."
#define TEXT "cond_stage_model.transformer.text_model.encoder.layers.0."

typedef struct made_layer {
    const char *key, *module;
    int shape[4], n_dims;
} made_layer;

static const made_layer layers[] = {
    {UNET "middle_block.1.proj_in.weight",
     "lora_unet_mid_block_attentions_0_proj_in",
     {24, 20, 1, 1},
     4},
    {UNET "middle_block.1.transformer_blocks.0.attn1.to_q.weight",
     "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q",
     {64, 40},
     2},
    {UNET "middle_block.0.in_layers.2.weight",
     "lora_unet_mid_block_resnets_0_conv1",
     {18, 10, 3, 3},
     4},
    {UNET "middle_block.0.emb_layers.1.weight",
     "lora_unet_mid_block_resnets_0_time_emb_proj",
     {18, 24},
     2},
    {TEXT "mlp.fc1.weight", "lora_te_text_model_encoder_layers_0_mlp_fc1", {32, 12}, 2},
    {UNET "middle_block.1.norm.weight", NULL, {24}, 1},
    {"first_stage_model.decoder.conv_in.weight", NULL, {4, 4}, 2},
};
enum { N_LAYERS = sizeof layers / sizeof *layers, MOST = 4096 };

typedef struct made {
    char path[64];
    float values[N_LAYERS][MOST];
    size_t n[N_LAYERS];
    lx_tensor_file *file;
} made;

static void draw(made *m, uint64_t seed, float size)
{
    for (int i = 0; i < N_LAYERS; i++) {
        lx_rng rng = lx_rng_stream(seed, LX_RNG_TEST, (uint64_t)i, 0);
        m->n[i] = 1;
        for (int d = 0; d < layers[i].n_dims; d++)
            m->n[i] *= (size_t)layers[i].shape[d];
        for (size_t k = 0; k < m->n[i]; k++)
            m->values[i][k] += size * (float)(lx_rng_uniform(&rng) - 0.5);
    }
}

static void save(made *m, lx_dtype dtype)
{
    lx_tensor_view views[N_LAYERS];
    lx_error err;
    int fd;

    for (int i = 0; i < N_LAYERS; i++) {
        views[i] = (lx_tensor_view){.name = layers[i].key,
                                    .dtype = dtype,
                                    .n_dims = layers[i].n_dims,
                                    .n_elements = m->n[i],
                                    .bytes = m->n[i] * (size_t)lx_dtype_bits(dtype) / 8};
        for (int d = 0; d < layers[i].n_dims; d++)
            views[i].shape[d] = layers[i].shape[d];
        views[i].data = malloc(views[i].bytes);
        lx_from_f32((void *)views[i].data, dtype, m->values[i], m->n[i]);
        lx_to_f32(m->values[i], views[i].data, dtype, m->n[i]);
    }
    strcpy(m->path, "/tmp/lx-extract-XXXXXX");
    fd = mkstemp(m->path);
    close(fd);
    lx_assert_ok(lx_safetensors_write(m->path, views, N_LAYERS, NULL, 0, &err), &err);
    for (int i = 0; i < N_LAYERS; i++)
        free((void *)views[i].data);
    lx_assert_ok(lx_tensor_file_open(&m->file, m->path, &err), &err);
}

static made base, tuned;

static void make_pair(float size, lx_dtype base_dtype, lx_dtype tuned_dtype)
{
    memset(&base, 0, sizeof base);
    draw(&base, 1, 1);
    tuned = base;
    draw(&tuned, 2, size);
    save(&base, base_dtype);
    save(&tuned, tuned_dtype);
}

static void drop_pair(void)
{
    lx_tensor_file_close(base.file);
    lx_tensor_file_close(tuned.file);
    unlink(base.path);
    unlink(tuned.path);
}

/* The difference of a layer and what the result says of it. */
static double *difference(int i)
{
    double *d = malloc(base.n[i] * sizeof *d);

    for (size_t k = 0; k < base.n[i]; k++)
        d[k] = (double)tuned.values[i][k] - (double)base.values[i][k];
    return d;
}

static const lx_extract_module *module_of(const lx_extract_result *r, const char *name)
{
    for (size_t i = 0; i < r->n_modules; i++)
        if (strcmp(r->modules[i].name, name) == 0)
            return &r->modules[i];
    return NULL;
}

static const lx_tensor_view *tensor_of(const lx_extract_result *r, const char *module,
                                       const char *suffix)
{
    for (size_t i = 0; i < r->n_tensors; i++)
        if (lx_starts_with(r->tensors[i].name, module) &&
            strcmp(r->tensors[i].name + strlen(module), suffix) == 0)
            return &r->tensors[i];
    fail_msg("%s%s is missing", module, suffix);
    return NULL;
}

/* |d - up down| / |d| in f64. */
static double distance(const lx_extract_result *r, const char *module, const double *d,
                       size_t out, size_t in)
{
    const lx_tensor_view *up = tensor_of(r, module, ".lora_up.weight"),
                         *down = tensor_of(r, module, ".lora_down.weight");
    const size_t rank = (size_t)down->shape[0];
    double *u = malloc(up->n_elements * sizeof *u),
           *v = malloc(down->n_elements * sizeof *v), lost = 0, all = 0;

    lx_to_f64(u, up->data, up->dtype, up->n_elements);
    lx_to_f64(v, down->data, down->dtype, down->n_elements);
    for (size_t o = 0; o < out; o++)
        for (size_t i = 0; i < in; i++) {
            double sum = -d[o * in + i];
            for (size_t k = 0; k < rank; k++)
                sum += u[o * rank + k] * v[k * in + i];
            lost += sum * sum;
            all += d[o * in + i] * d[o * in + i];
        }
    free(v);
    free(u);
    return sqrt(lost / all);
}

/* A model of one file. */
static lx_model_files one_file(lx_model_file *item, lx_tensor_file *file)
{
    *item =
        (lx_model_file){.file = file, .path = "", .prefix = "", .folder = "", .name = ""};
    return (lx_model_files){.items = item, .n = 1};
}

static int run_extract(lx_extract_result *r, lx_extract *x, lx_tensor_file *from,
                       lx_tensor_file *to, const lx_extract_options *o, lx_error *err)
{
    lx_model_file a, b;
    const lx_model_files base_files = one_file(&a, from), tuned_files = one_file(&b, to);

    return lx_extract_run(r, x, &base_files, &tuned_files, o, NULL, NULL, err);
}

static lx_extract *begin(void)
{
    lx_extract *x;
    lx_error err;

    lx_assert_ok(lx_extract_new(&x, &err), &err);
    return x;
}

/* ---- by hand -------------------------------------------------------------------------------- */

static void check_layer(const lx_extract_result *r, int i, size_t rank, lx_dtype dtype)
{
    const size_t out = (size_t)layers[i].shape[0], in = base.n[i] / out;
    const lx_extract_module *m = module_of(r, layers[i].module);
    double *d = difference(i), best, seen;
    lx_svd svd;
    lx_error err;

    assert_non_null(m);
    assert_int_equal(m->rank, rank);
    lx_assert_ok(lx_svd_dense(&svd, d, out, in, out < in ? out : in, 0, "", &err), &err);
    best = lx_svd_error(&svd, rank);
    seen = distance(r, layers[i].module, d, out, in);
    /* What is said is what is written, and that is the best but for rounding; a sketch of a matrix whose
     * values do not decay at all is within half a percent. */
    assert_true(fabs(m->error - seen) < 1e-9);
    assert_true(seen - best < (rank + 16 < (out < in ? out : in) ? 5e-3
                               : dtype == LX_F32                 ? 1e-6
                                                                 : 1e-3));
    assert_true(best - seen < 1e-7);
    assert_true(fabs(m->norm - lx_svd_norm(&svd)) < 1e-9 * m->norm);
    lx_svd_release(&svd);
    free(d);
}

static void test_extract__best_of_a_rank(void **state)
{
    static const lx_dtype dtypes[][3] = {{LX_F32, LX_F32, LX_F32},
                                         {LX_F16, LX_F16, LX_F32},
                                         {LX_F16, LX_F32, LX_F16},
                                         {LX_BF16, LX_F16, LX_F32}};

    (void)state;
    for (size_t t = 0; t < sizeof dtypes / sizeof *dtypes; t++) {
        const lx_extract_options o = {
            .rank = 4, .conv_rank = 3, .clamp_quantile = 1, .dtype = dtypes[t][2]};
        lx_extract *x = begin();
        lx_extract_result r;
        lx_error err;
        make_pair(0.1f, dtypes[t][0], dtypes[t][1]);
        lx_assert_ok(run_extract(&r, x, base.file, tuned.file, &o, &err), &err);
        assert_int_equal(r.n_modules, 5);
        for (int i = 0; i < 5; i++)
            check_layer(&r, i, i == 2 ? 3 : 4, o.dtype);
        assert_int_equal(r.n_left_out, 2); /* the norm and the VAE */
        assert_true(r.left_out > 0 && r.left_out < 0.2);
        lx_extract_free(x);
        drop_pair();
    }
}

static void test_extract__convolutions_are_asked_for(void **state)
{
    const lx_extract_options o = {.rank = 4, .clamp_quantile = 1, .dtype = LX_F32};
    lx_extract *x = begin();
    lx_extract_result r;
    lx_error err;

    (void)state;
    make_pair(0.1f, LX_F32, LX_F32);
    lx_assert_ok(run_extract(&r, x, base.file, tuned.file, &o, &err), &err);
    assert_int_equal(r.n_modules, 3);
    assert_int_equal(r.n_conv_left_out, 2);
    lx_extract_free(x);
    drop_pair();
}

static void test_extract__ranks_of_an_error(void **state)
{
    static const double errors[] = {0.5, 0.1, 1e-4};

    (void)state;
    make_pair(0.1f, LX_F32, LX_F32);
    for (int e = 0; e < 3; e++)
        for (size_t bound = 0; bound <= 5; bound += 5) {
            const lx_extract_options o = {.error = errors[e],
                                          .rank = bound,
                                          .conv_rank = 64,
                                          .clamp_quantile = 1,
                                          .dtype = LX_F32};
            lx_extract *x = begin();
            lx_extract_result r;
            lx_error err;
            lx_assert_ok(run_extract(&r, x, base.file, tuned.file, &o, &err), &err);
            for (size_t i = 0; i < r.n_modules; i++) {
                const bool is_bounded = bound && !strstr(r.modules[i].name, "conv1");
                assert_true(r.modules[i].error <= errors[e] + 1e-6 || is_bounded);
                assert_true(r.modules[i].rank <= 5 || !is_bounded);
            }
            lx_extract_free(x);
        }
    drop_pair();
}

static void test_extract__min_diff_is_of_text(void **state)
{
    static const double limits[] = {0.02, 0.06};

    (void)state;
    make_pair(0.1f, LX_F32, LX_F32);
    for (int i = 0; i < 2; i++) {
        const lx_extract_options o = {
            .rank = 2, .min_diff = limits[i], .clamp_quantile = 1, .dtype = LX_F32};
        lx_extract *x = begin();
        lx_extract_result r;
        lx_error err;
        lx_assert_ok(run_extract(&r, x, base.file, tuned.file, &o, &err), &err);
        assert_int_equal(r.text_is_left_out, i);
        assert_int_equal(r.n_modules, 3 - i);
        lx_extract_free(x);
    }
    drop_pair();
}

static void test_extract__clamped(void **state)
{
    const lx_extract_options o = {.rank = 4, .clamp_quantile = 0.9, .dtype = LX_F32};
    lx_extract *x = begin();
    lx_extract_result r;
    lx_error err;

    (void)state;
    make_pair(0.1f, LX_F32, LX_F32);
    lx_assert_ok(run_extract(&r, x, base.file, tuned.file, &o, &err), &err);
    for (size_t i = 0; i < r.n_modules; i++) {
        const lx_tensor_view *up = tensor_of(&r, r.modules[i].name, ".lora_up.weight"),
                             *down =
                                 tensor_of(&r, r.modules[i].name, ".lora_down.weight");
        const float *u = up->data, *v = down->data;
        const size_t n = up->n_elements + down->n_elements;
        size_t above = 0;
        float most = 0;
        for (size_t k = 0; k < n; k++)
            most = fmaxf(most, k < up->n_elements ? u[k] : v[k - up->n_elements]);
        for (size_t k = 0; k < n; k++)
            above += (k < up->n_elements ? u[k] : v[k - up->n_elements]) >= most;
        assert_true(fabs((double)above / (double)n - 0.1) < 0.01);
    }
    lx_extract_free(x);
    drop_pair();
}

static void refuse(int code, const char *word)
{
    const lx_extract_options o = {.rank = 4, .clamp_quantile = 1, .dtype = LX_F32};
    lx_extract *x = begin();
    lx_extract_result r;
    lx_error err;

    assert_int_equal(run_extract(&r, x, base.file, tuned.file, &o, &err), code);
    if (!strstr(err.text, word))
        fail_msg("\"%s\" does not speak of \"%s\"", err.text, word);
    lx_extract_free(x);
}

static void test_extract__refused(void **state)
{
    (void)state;
    make_pair(0, LX_F32, LX_F32);
    refuse(LX_EMISMATCH, "the same");
    drop_pair();

    memset(&base, 0, sizeof base);
    draw(&base, 1, 1);
    tuned = base;
    tuned.values[1][7] = NAN;
    save(&base, LX_F32);
    save(&tuned, LX_F32);
    refuse(LX_EFORMAT, "element 7 is nan");
    drop_pair();
}

/* ---- there and back ------------------------------------------------------------------------- */

/* What merge adds to a checkpoint, extract finds: at the rank that it has, to the rounding of the weights. */
static void test_extract__of_a_merge(void **state)
{
    const lx_extract_options o = {.rank = 4, .clamp_quantile = 1, .dtype = LX_F32};
    lx_tensor_file *file = lx_golden_open("lora/checkpoint/tiny_sd15_fp16.safetensors"),
                   *merged;
    lx_merge_into into = {
        .base = file, .output = "/tmp/lx-extract-merged.safetensors", .has_dtype = true};
    lx_merge_into_result changed;
    lx_extract_result r;
    lx_extract *x = begin();
    lx_lora_file *lora;
    lx_merge *merge;
    lx_error err;

    (void)state;
    into.dtype = LX_F32;
    lx_assert_ok(
        lx_lora_file_open(&lora, lx_golden_need("lora/files/full_r4_a1_fp16.safetensors"),
                          &err),
        &err);
    lx_assert_ok(lx_merge_new(&merge, &err), &err);
    const lx_merge_source s = {lora, "a", 1, 1, NULL};
    lx_assert_ok(lx_merge_add(merge, &s, &err), &err);
    lx_assert_ok(lx_merge_write_into(&changed, merge, &into, &err), &err);
    lx_assert_ok(lx_tensor_file_open(&merged, into.output, &err), &err);
    lx_assert_ok(run_extract(&r, x, file, merged, &o, &err), &err);
    assert_int_equal(r.n_modules, 264);
    assert_int_equal(r.n_left_out, 0);
    assert_true(
        r.error <
        5e-6); /* half an ulp of f32 weights, against changes a thousandth of them */
    for (size_t i = 0; i < r.n_modules; i++)
        assert_non_null(lx_lora_file_find(lora, r.modules[i].name));
    lx_extract_free(x);
    lx_tensor_file_close(merged);
    unlink(into.output);
    lx_merge_free(merge);
    lx_lora_file_close(lora);
    lx_tensor_file_close(file);
}

/* ---- SDXL ------------------------------------------------------------------------------------------- */

/* Values of a [12, 4] and of [4, 4] matrices; the first is a fused q, k, v, of which k does not differ. */
static lx_tensor_file *write_sdxl(const char *path, float step)
{
    static const char *const names[] = {
        "conditioner.embedders.1.model.transformer.resblocks.0.attn.in_proj_weight",
        "conditioner.embedders.0.transformer.text_model.encoder.layers.0.mlp.fc1.weight",
        "model.diffusion_model.input_blocks.7.1.transformer_blocks.9.attn1.to_q.weight",
        "model.diffusion_model.output_blocks.2.2.conv.weight"};
    float values[4][48];
    lx_tensor_view views[4];
    lx_tensor_file *file;
    lx_error err;

    for (int t = 0; t < 4; t++) {
        views[t] = (lx_tensor_view){.name = names[t],
                                    .dtype = LX_F32,
                                    .n_dims = t == 3 ? 4 : 2,
                                    .shape = {t == 0 ? 12 : 4, 4, 1, 1},
                                    .n_elements = t == 0 ? 48 : 16,
                                    .bytes = t == 0 ? 192 : 64,
                                    .data = values[t]};
        for (int i = 0; i < (t == 0 ? 48 : 16); i++)
            values[t][i] = (float)((i * 7 + t) % 5) +
                           (t == 0 && i / 16 == 1 ? 0 : step * (float)((i * 3) % 4));
    }
    lx_assert_ok(lx_safetensors_write(path, views, 4, NULL, 0, &err), &err);
    lx_assert_ok(lx_tensor_file_open(&file, path, &err), &err);
    unlink(path);
    return file;
}

static void test_extract__names_of_sdxl(void **state)
{
    static const char *const names[] = {
        "lora_te1_text_model_encoder_layers_0_mlp_fc1",
        "lora_te2_text_model_encoder_layers_0_self_attn_q_proj",
        "lora_te2_text_model_encoder_layers_0_self_attn_v_proj",
        "lora_unet_input_blocks_7_1_transformer_blocks_9_attn1_to_q",
        "lora_unet_output_blocks_2_2_conv"};
    const lx_extract_options o = {
        .rank = 4, .conv_rank = 4, .clamp_quantile = 1, .dtype = LX_F32};
    lx_tensor_file *from = write_sdxl("/tmp/lx-extract-sdxl-a.safetensors", 0),
                   *to = write_sdxl("/tmp/lx-extract-sdxl-b.safetensors", 0.5f);
    lx_extract *x = begin();
    lx_extract_result r;
    lx_error err;

    (void)state;
    lx_assert_ok(run_extract(&r, x, from, to, &o, &err), &err);
    assert_true(r.model.is_sdxl && r.model.numbers_encoders);
    assert_int_equal(r.n_modules, 5);
    assert_int_equal(r.n_same, 1); /* k */
    for (int i = 0; i < 5; i++) {
        const lx_extract_module *m = module_of(&r, names[i]);
        assert_non_null(m);
        assert_true(m->error < 1e-6);
    }
    lx_extract_free(x);
    lx_tensor_file_close(from);
    lx_tensor_file_close(to);
}

/* ---- diffusers folders -------------------------------------------------------------------------- */

/* The networks of a made model as a folder has them. */
static void save_folder(char *folder, const made *m)
{
    static const char *const names[] = {
        "mid_block.attentions.0.proj_in.weight",
        "mid_block.attentions.0.transformer_blocks.0.attn1.to_q.weight",
        "mid_block.resnets.0.conv1.weight", "mid_block.resnets.0.time_emb_proj.weight",
        "text_model.encoder.layers.0.mlp.fc1.weight"};
    lx_tensor_view views[5];
    char path[128];
    lx_error err;

    for (int i = 0; i < 5; i++) {
        views[i] = *lx_tensor_file_find(m->file, layers[i].key);
        views[i].name = names[i];
    }
    strcpy(folder, "/tmp/lx-extract-folder-XXXXXX");
    assert_non_null(mkdtemp(folder));
    for (int text = 0; text < 2; text++) {
        snprintf(path, sizeof path, "%s/%s", folder, text ? "text_encoder" : "unet");
        lx_assert_ok(lx_make_dirs(path, &err), &err);
        strcat(path,
               text ? "/model.safetensors" : "/diffusion_pytorch_model.safetensors");
        lx_assert_ok(lx_safetensors_write(path, views + (text ? 4 : 0), text ? 1 : 4,
                                          NULL, 0, &err),
                     &err);
    }
}

static void drop_folder(const char *folder)
{
    static const char *const inner[] = {"unet/diffusion_pytorch_model.safetensors",
                                        "unet", "text_encoder/model.safetensors",
                                        "text_encoder"};
    char path[128];

    for (int i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, inner[i]);
        assert_int_equal(remove(path), 0);
    }
    rmdir(folder);
}

/* A folder against a file gives the very factors that a file against a file gives. */
static void test_extract__folders(void **state)
{
    const lx_extract_options o = {
        .rank = 4, .conv_rank = 3, .clamp_quantile = 1, .dtype = LX_F16};
    lx_extract *x = begin(), *y = begin();
    lx_model_files from, to;
    lx_model_file item;
    lx_extract_result a, b;
    char folder[64];
    lx_error err;

    (void)state;
    make_pair(0.1f, LX_F16, LX_F32);
    save_folder(folder, &base);
    lx_assert_ok(lx_model_files_open(&from, folder, &err), &err);
    assert_int_equal(from.n, 2);
    to = one_file(&item, tuned.file);
    lx_assert_ok(run_extract(&a, x, base.file, tuned.file, &o, &err), &err);
    lx_assert_ok(lx_extract_run(&b, y, &from, &to, &o, NULL, NULL, &err), &err);
    assert_int_equal(a.n_tensors, b.n_tensors);
    for (size_t i = 0; i < a.n_tensors; i++) {
        assert_string_equal(a.tensors[i].name, b.tensors[i].name);
        assert_memory_equal(a.tensors[i].data, b.tensors[i].data, a.tensors[i].bytes);
    }
    lx_extract_free(x);
    lx_extract_free(y);
    lx_model_files_close(&from);
    drop_folder(folder);
    drop_pair();
}

/* ---- the peer's ------------------------------------------------------------------------------ */

/* The base with the tensors of the overlay in place of its own. */
static lx_tensor_file *open_tuned(const lx_tensor_file *of)
{
    lx_tensor_file *over = lx_golden_open("lora/checkpoint/tuned_overlay.safetensors"),
                   *out;
    const size_t n = lx_tensor_file_count(of);
    lx_tensor_view *views = calloc(n, sizeof *views);
    char path[] = "/tmp/lx-extract-tuned.safetensors";
    lx_error err;

    for (size_t i = 0; i < n; i++) {
        views[i] = *lx_tensor_file_at(of, i);
        const lx_tensor_view *t = lx_tensor_file_find(over, views[i].name);
        if (t)
            views[i] = *t;
    }
    lx_assert_ok(lx_safetensors_write(path, views, n, NULL, 0, &err), &err);
    lx_assert_ok(lx_tensor_file_open(&out, path, &err), &err);
    unlink(path);
    free(views);
    lx_tensor_file_close(over);
    return out;
}

/* |up down - ours| / |ours|. The peer writes modules of zeros where nothing differs. */
static double peers_distance(const lx_extract_result *r, const lx_extract_module *m,
                             const lx_tensor_file *peer)
{
    size_t n_up, n_down;
    double *u = lx_golden_f64(&n_up, peer, "%s.lora_up.weight", m->name),
           *v = lx_golden_f64(&n_down, peer, "%s.lora_down.weight", m->name);
    double *d = calloc(m->out * m->in, sizeof *d), far;

    assert_int_equal(n_up, m->out * m->rank);
    assert_int_equal(n_down, m->in * m->rank);
    for (size_t o = 0; o < m->out; o++)
        for (size_t k = 0; k < m->rank; k++)
            for (size_t i = 0; i < m->in; i++)
                d[o * m->in + i] += u[o * m->rank + k] * v[k * m->in + i];
    far = distance(r, m->name, d, m->out, m->in);
    free(d);
    free(v);
    free(u);
    return far;
}

/* Its clamp at quantile 1 is at the largest value that is positive, so it still cuts negative ones off: modules
 * that have none beyond it agree to the rounding of F16, and no module is far. */
static void test_extract__as_the_peer(void **state)
{
    static const struct {
        const char *name;
        lx_extract_options o;
        size_t n_peer;
    } cases[] = {
        {"dim4_clamp1", {.rank = 4, .clamp_quantile = 1, .dtype = LX_F32}, 264},
        {"dim8_conv4_fp16",
         {.rank = 8, .conv_rank = 4, .clamp_quantile = 0.99, .dtype = LX_F16},
         349},
        {"dim4_min_diff_10_no_te",
         {.rank = 4, .min_diff = 10, .clamp_quantile = 0.99, .dtype = LX_F16},
         192},
    };
    lx_tensor_file *of = lx_golden_open("lora/checkpoint/tiny_sd15_fp16.safetensors"),
                   *to = open_tuned(of);

    (void)state;
    for (size_t c = 0; c < 3; c++) {
        lx_extract *x = begin();
        lx_extract_result r;
        lx_tensor_file *peer;
        size_t n_close = 0;
        double sum = 0;
        lx_error err;
        char path[128];
        snprintf(path, sizeof path, "lora/extract/%s.safetensors", cases[c].name);
        peer = lx_golden_open(path);
        lx_assert_ok(run_extract(&r, x, of, to, &cases[c].o, &err), &err);
        assert_int_equal(lx_tensor_file_count(peer), 3 * cases[c].n_peer);
        assert_int_equal(r.n_modules + r.n_same, cases[c].n_peer);
        for (size_t i = 0; i < r.n_modules; i++) {
            const double far = peers_distance(&r, &r.modules[i], peer);
            n_close += far < 1e-3;
            sum += far;
        }
        assert_true(c > 0 || n_close > r.n_modules / 4);
        assert_true(sum / (double)r.n_modules < (c == 0 ? 0.02 : 0.2));
        lx_tensor_file_close(peer);
        lx_extract_free(x);
    }
    lx_tensor_file_close(to);
    lx_tensor_file_close(of);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_extract__best_of_a_rank),
        cmocka_unit_test(test_extract__convolutions_are_asked_for),
        cmocka_unit_test(test_extract__ranks_of_an_error),
        cmocka_unit_test(test_extract__min_diff_is_of_text),
        cmocka_unit_test(test_extract__clamped),
        cmocka_unit_test(test_extract__refused),
        cmocka_unit_test(test_extract__of_a_merge),
        cmocka_unit_test(test_extract__names_of_sdxl),
        cmocka_unit_test(test_extract__folders),
        cmocka_unit_test(test_extract__as_the_peer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
