/* Spellings there and back to the bit, the peers' own key maps, and what must be refused. */
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
#include "src/base/json.h"
#include "src/base/rng.h"
#include "src/base/str.h"
#include "src/lora/convert.h"
#include "src/lora/layer.h"
#include "tests/support/golden.h"
#include "tests/support/model.h"

/* ---- one conversion --------------------------------------------------------------------------- */

typedef struct done {
    lx_lora_file *file;
    lx_convert *convert;
    lx_convert_result r;
} done;

static int convert(done *d, const char *path, const lx_convert_options *o, lx_error *err)
{
    int rc;

    *d = (done){0};
    lx_assert_ok(lx_convert_new(&d->convert, err), err);
    if ((rc = lx_lora_file_open(&d->file, path, err)) < 0 ||
        (rc = lx_convert_add(d->convert, d->file, LX_LORA_PART_COUNT, err)) < 0)
        return rc;
    return lx_convert_run(&d->r, d->convert, o, err);
}

static void drop(done *d)
{
    lx_convert_free(d->convert);
    lx_lora_file_close(d->file);
}

/* What lx convert writes, one part after the other; PEFT's need their config beside them. */
static void save(char paths[LX_CONVERT_PARTS][400], const done *d, char *folder)
{
    lx_error err;

    strcpy(folder, "/tmp/lx-convert-XXXXXX");
    assert_non_null(mkdtemp(folder));
    for (size_t p = 0; p < d->r.n_parts; p++) {
        const lx_convert_part *part = &d->r.parts[p];
        lx_tensor_view *views = calloc(part->n_keys, sizeof *views);
        lx_metadata_entry notes[2];
        size_t n_notes = 0;
        char name[300];
        snprintf(name, sizeof name, "%s/%zu", folder, p);
        lx_assert_ok(lx_make_dirs(name, &err), &err);
        snprintf(paths[p], 400, "%s/adapter_model.safetensors", name);
        for (size_t i = 0; i < part->n_keys; i++)
            views[i] = part->keys[i].to;
        if (part->scales)
            notes[n_notes++] = (lx_metadata_entry){LX_CONVERT_SCALES, part->scales};
        if (d->r.alphas)
            notes[n_notes++] = (lx_metadata_entry){LX_CONVERT_ALPHAS, d->r.alphas};
        lx_assert_ok(
            lx_safetensors_write(paths[p], views, part->n_keys, notes, n_notes, &err),
            &err);
        strcat(name, "/adapter_config.json");
        if (part->config)
            lx_assert_ok(lx_file_write(name, part->config, strlen(part->config), &err),
                         &err);
        free(views);
    }
}

static void clean(char paths[LX_CONVERT_PARTS][400], size_t n, const char *folder)
{
    char line[300];

    for (size_t p = 0; p < n; p++) {
        unlink(paths[p]);
        snprintf(line, sizeof line, "%s/%zu/adapter_config.json", folder, p);
        unlink(line);
        snprintf(line, sizeof line, "%s/%zu", folder, p);
        rmdir(line);
    }
    rmdir(folder);
}

static const lx_tensor_view *find(const lx_convert_result *r, const char *name)
{
    for (size_t p = 0; p < r->n_parts; p++)
        for (size_t i = 0; i < r->parts[p].n_keys; i++)
            if (strcmp(r->parts[p].keys[i].to.name, name) == 0)
                return &r->parts[p].keys[i].to;
    return NULL;
}

static void assert_same(const lx_convert_result *a, const lx_convert_result *b,
                        const char *what)
{
    size_t n = 0;

    for (size_t p = 0; p < b->n_parts; p++)
        n += b->parts[p].n_keys;
    assert_int_equal(a->parts[0].n_keys, n);
    for (size_t i = 0; i < n; i++) {
        const lx_tensor_view *x = &a->parts[0].keys[i].to, *y = find(b, x->name);
        if (!y || x->dtype != y->dtype || x->bytes != y->bytes ||
            x->n_dims != y->n_dims ||
            memcmp(x->shape, y->shape, (size_t)x->n_dims * sizeof *x->shape) != 0 ||
            memcmp(x->data, y->data, x->bytes) != 0)
            fail_msg("%s: %s is not what it was", what, x->name);
    }
}

/* ---- there and back ------------------------------------------------------------------------------ */

static void go_there_and_back(const char *name, lx_spelling to)
{
    const lx_convert_options there = {.to = to}, back = {.to = LX_SPELL_KOHYA};
    char paths[LX_CONVERT_PARTS][400], folder[64], what[128];
    done a, b, c = {0};
    lx_error err;

    snprintf(what, sizeof what, "%s by %s", name, lx_spelling_names[to]);
    lx_assert_ok(convert(&a, lx_golden_need(name), &back, &err), &err);
    lx_assert_ok(convert(&b, lx_golden_need(name), &there, &err), &err);
    assert_int_equal(b.r.n_inexact, 0);
    save(paths, &b, folder);
    if (b.r.n_parts == 1) {
        lx_assert_ok(convert(&c, paths[0], &back, &err), &err);
        assert_same(&a.r, &c.r, what);
        drop(&c);
    } else { /* PEFT's folders: as lx convert reads them */
        lx_lora_file *files[LX_CONVERT_PARTS];
        lx_convert_result r;
        lx_convert *all;
        lx_assert_ok(lx_convert_new(&all, &err), &err);
        for (size_t p = 0; p < b.r.n_parts; p++) {
            lx_assert_ok(lx_lora_file_open(&files[p], paths[p], &err), &err);
            lx_assert_ok(lx_convert_add(all, files[p],
                                        p == 0   ? LX_LORA_UNET
                                        : p == 1 ? LX_LORA_TEXT_ENCODER
                                                 : LX_LORA_TEXT_ENCODER_2,
                                        &err),
                         &err);
        }
        lx_assert_ok(lx_convert_run(&r, all, &back, &err), &err);
        assert_same(&a.r, &r, what);
        lx_convert_free(all);
        for (size_t p = 0; p < b.r.n_parts; p++)
            lx_lora_file_close(files[p]);
    }
    clean(paths, b.r.n_parts, folder);
    drop(&a);
    drop(&b);
}

static void test_convert__there_and_back(void **state)
{
    static const char *const loras[] = {"mini_a_r4_a4_fp32.safetensors",
                                        "mini_c_r4_a1_fp32.safetensors",
                                        "mini_d_r8_a4_fp16.safetensors",
                                        "mini_e_r4_a2_bf16.safetensors",
                                        "mini_g_locon_r8_c4_fp32.safetensors",
                                        "mini_j_r4_a1_fp16.pt",
                                        "mini_l_legacy_pickle.pt",
                                        "full_blockdims_fp16.safetensors",
                                        "full_locon_r8_c4_fp16.safetensors",
                                        "full_r32_a16_fp16.safetensors",
                                        "sdxl_names_r4_fp16.safetensors",
                                        "peft_r4.safetensors",
                                        "diffusers_r4.safetensors",
                                        "diffusers_convert_to_kohya.safetensors",
                                        "mini_i_noalpha_nometa_fp32.safetensors"};
    static const char *const others[] = {
        "lycoris_loha.safetensors",      "lycoris_lokr.safetensors",
        "lycoris_lokr_full.safetensors", "lycoris_full.safetensors",
        "lycoris_glora.safetensors",     "lycoris_dora.safetensors"};
    char path[128];

    (void)state;
    for (size_t i = 0; i < sizeof loras / sizeof *loras; i++) {
        snprintf(path, sizeof path, "lora/files/%s", loras[i]);
        go_there_and_back(path, LX_SPELL_DIFFUSERS);
        go_there_and_back(path, LX_SPELL_PEFT);
        go_there_and_back(path, LX_SPELL_COMFYUI);
        if (strstr(loras[i], "peft") || strstr(loras[i], "diffusers"))
            go_there_and_back(path, LX_SPELL_DIFFUSERS_OLD);
    }
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        snprintf(path, sizeof path, "lora/files/%s", others[i]);
        go_there_and_back(path, LX_SPELL_COMFYUI);
    }
}

/* ---- the peers' maps -------------------------------------------------------------------------------- */

static const char *from_of(const lx_convert_result *r, const char *to)
{
    for (size_t p = 0; p < r->n_parts; p++)
        for (size_t i = 0; i < r->parts[p].n_keys; i++)
            if (strcmp(r->parts[p].keys[i].to.name, to) == 0)
                return r->parts[p].keys[i].from;
    return NULL;
}

/* diffusers' own functions; the one encoder of SD 1.x it numbers, which sd-scripts does not. */
static void check_map(const char *key, lx_spelling to)
{
    const lx_convert_options o = {.to = to};
    cJSON *maps = lx_golden_json("lora/convert/keys.json");
    const cJSON *pair;
    lx_error err;
    done d;
    int n = 0;

    lx_assert_ok(convert(&d, lx_golden_need("lora/files/peft_r4.safetensors"), &o, &err),
                 &err);
    cJSON_ArrayForEach(pair, cJSON_GetObjectItem(maps, key))
    {
        const char *wanted = pair->valuestring, *from;
        char name[256];
        snprintf(name, sizeof name, "%s%s",
                 lx_starts_with(wanted, "lora_te1_") ? "lora_te_" : "",
                 wanted +
                     (lx_starts_with(wanted, "lora_te1_") ? strlen("lora_te1_") : 0));
        from = from_of(&d.r, name);
        if (!from || strcmp(from, pair->string) != 0)
            fail_msg("%s comes from %s, the peer's from %s", name,
                     from ? from : "nothing", pair->string);
        n++;
    }
    assert_int_equal(n, 352);
    drop(&d);
    cJSON_Delete(maps);
}

static void test_convert__maps_of_diffusers(void **state)
{
    (void)state;
    check_map("peft_to_diffusers", LX_SPELL_DIFFUSERS);
    check_map("peft_to_kohya", LX_SPELL_KOHYA);
}

/* What diffusers itself wrote of the same LoRA. */
static void test_convert__file_of_diffusers(void **state)
{
    const lx_convert_options o = {.to = LX_SPELL_DIFFUSERS};
    lx_tensor_file *wanted = lx_golden_open("lora/files/diffusers_r4.safetensors");
    lx_error err;
    done d;

    (void)state;
    lx_assert_ok(convert(&d, lx_golden_need("lora/files/peft_r4.safetensors"), &o, &err),
                 &err);
    assert_int_equal(d.r.parts[0].n_keys, lx_tensor_file_count(wanted));
    for (size_t i = 0; i < lx_tensor_file_count(wanted); i++) {
        const lx_tensor_view *t = lx_tensor_file_at(wanted, i), *x = find(&d.r, t->name);
        assert_non_null(x);
        assert_memory_equal(x->data, t->data, t->bytes);
    }
    drop(&d);
    lx_tensor_file_close(wanted);
}

/* ComfyUI matches names with the model's own keys: every module has one in the checkpoint. */
static void test_convert__comfyui_finds_the_weights(void **state)
{
    static const struct {
        const char *from, *to;
    } prefixes[] = {
        {"diffusion_model.", "model.diffusion_model."},
        {"text_encoders.clip_l.transformer.", "cond_stage_model.transformer."},
    };
    const lx_convert_options o = {.to = LX_SPELL_COMFYUI};
    lx_tensor_file *model = lx_golden_open("lora/checkpoint/tiny_sd15_fp16.safetensors");
    lx_error err;
    done d;

    (void)state;
    lx_assert_ok(convert(&d,
                         lx_golden_need("lora/files/full_locon_r8_c4_fp16.safetensors"),
                         &o, &err),
                 &err);
    for (size_t i = 0; i < d.r.parts[0].n_keys; i++) {
        const char *key = d.r.parts[0].keys[i].to.name;
        const int p = lx_starts_with(key, prefixes[0].from) ? 0 : 1;
        char name[256];
        if (!lx_ends_with(key, ".lora_A.weight"))
            continue;
        snprintf(name, sizeof name, "%s%.*s.weight", prefixes[p].to,
                 (int)(strlen(key) - strlen(prefixes[p].from) - strlen(".lora_A.weight")),
                 key + strlen(prefixes[p].from));
        if (!lx_tensor_file_find(model, name))
            fail_msg("%s: the model has no %s", key, name);
    }
    drop(&d);
    lx_tensor_file_close(model);
}

/* ---- alphas ------------------------------------------------------------------------------------------ */

#define STEM "lora_unet_mid_block_attentions_0_proj_in"

typedef struct small {
    const char *name;
    lx_dtype dtype;
    int64_t shape[4];
    int n_dims;
    float values[8];
} small;

static void write_small(const char *path, const small *tensors, size_t n)
{
    lx_tensor_view views[8];
    char bytes[8][64];
    lx_error err;

    for (size_t i = 0; i < n; i++) {
        lx_tensor_view *v = &views[i];
        *v = (lx_tensor_view){.name = tensors[i].name,
                              .dtype = tensors[i].dtype,
                              .n_dims = tensors[i].n_dims,
                              .n_elements = 1,
                              .data = bytes[i]};
        for (int d = 0; d < v->n_dims; d++)
            v->n_elements *= (size_t)(v->shape[d] = tensors[i].shape[d]);
        v->bytes = v->n_elements * (size_t)lx_dtype_bits(v->dtype) / 8;
        lx_from_f32(bytes[i], v->dtype, tensors[i].values, v->n_elements);
    }
    lx_assert_ok(lx_safetensors_write(path, views, n, NULL, 0, &err), &err);
}

static const char *small_path = "/tmp/lx-convert-small.safetensors";

static int convert_small(done *d, const small *tensors, size_t n,
                         const lx_convert_options *o, lx_error *err)
{
    int rc;

    write_small(small_path, tensors, n);
    rc = convert(d, small_path, o, err);
    unlink(small_path);
    return rc;
}

/* A third has no exact product in halves: up is F32 then, unless halves are asked for. */
static void test_convert__scale_goes_into_up(void **state)
{
    const small tensors[] = {
        {STEM ".lora_down.weight", LX_F16, {2, 2}, 2, {1, 2, 3, 4}},
        {STEM ".lora_up.weight", LX_F16, {2, 2}, 2, {1.5f, -2, 0.1f, 7}},
        {STEM ".alpha", LX_F16, {0}, 0, {0.7f}},
    };
    const double alpha = (double)lx_f32_from_f16(lx_f16_from_f32(0.7f));
    const lx_convert_options o = {.to = LX_SPELL_DIFFUSERS},
                             half = {.to = LX_SPELL_DIFFUSERS,
                                     .has_dtype = true,
                                     .dtype = LX_F16};
    const lx_tensor_view *up;
    lx_error err;
    done d;

    (void)state;
    lx_assert_ok(convert_small(&d, tensors, 3, &o, &err), &err);
    up = find(&d.r, "unet.mid_block.attentions.0.proj_in.lora.up.weight");
    assert_non_null(up);
    assert_int_equal(up->dtype, LX_F32);
    assert_true(fabs((double)((const float *)up->data)[0] - 1.5 * alpha / 2) < 1e-7);
    assert_int_equal(d.r.n_folded, 1);
    assert_int_equal(d.r.n_widened, 1);
    assert_int_equal(d.r.n_inexact, 0);
    assert_null(find(&d.r, "unet.mid_block.attentions.0.proj_in.alpha"));
    drop(&d);

    lx_assert_ok(convert_small(&d, tensors, 3, &half, &err), &err);
    up = find(&d.r, "unet.mid_block.attentions.0.proj_in.lora.up.weight");
    assert_int_equal(up->dtype, LX_F16);
    assert_int_equal(d.r.n_inexact, 1);
    drop(&d);
}

static void test_convert__alphas_that_are_not_there_or_0(void **state)
{
    const small tensors[] = {
        {STEM ".lora_down.weight", LX_F16, {2, 2}, 2, {1, 2, 3, 4}},
        {STEM ".lora_up.weight", LX_F16, {2, 2}, 2, {1, 2, 3, 4}},
        {STEM ".alpha", LX_F32, {0}, 0, {0}},
    };
    const lx_convert_options o = {.to = LX_SPELL_KOHYA};

    (void)state;
    for (size_t n = 2; n <= 3; n++) {
        const lx_tensor_view *alpha;
        double value;
        lx_error err;
        done d;
        lx_assert_ok(convert_small(&d, tensors, n, &o, &err), &err);
        alpha = find(&d.r, STEM ".alpha");
        assert_non_null(alpha);
        assert_int_equal(lx_to_f64(&value, alpha->data, alpha->dtype, 1), 0);
        assert_true(value == 2);
        assert_int_equal(d.r.n_zero_alphas, n == 3);
        drop(&d);
    }
}

static void test_convert__config_of_peft(void **state)
{
    const lx_convert_options o = {.to = LX_SPELL_PEFT};
    lx_error err;
    done d;

    (void)state;
    lx_assert_ok(convert(&d, lx_golden_need("lora/files/full_blockdims_fp16.safetensors"),
                         &o, &err),
                 &err);
    assert_int_equal(d.r.n_parts, 2);
    for (size_t p = 0; p < 2; p++) {
        const lx_convert_part *part = &d.r.parts[p];
        cJSON *config;
        const cJSON *ranks, *target;
        int n = 0;
        lx_assert_ok(lx_json_parse(&config, part->config, strlen(part->config), &err),
                     &err);
        ranks = cJSON_GetObjectItem(config, "rank_pattern");
        cJSON_ArrayForEach(target, cJSON_GetObjectItem(config, "target_modules"))
        {
            const cJSON *own =
                cJSON_GetObjectItemCaseSensitive(ranks, target->valuestring);
            const lx_tensor_view *down;
            char name[256];
            snprintf(name, sizeof name, "base_model.model.%s.lora_A.weight",
                     target->valuestring);
            down = find(&d.r, name);
            assert_non_null(down);
            assert_int_equal(down->shape[0],
                             own ? own->valuedouble : lx_json_number(config, "r", 0));
            n++;
        }
        assert_int_equal(n, part->n_keys / 2);
        cJSON_Delete(config);
    }
    drop(&d);
}

/* ---- repair, precision, drops ------------------------------------------------------------------------- */

static void test_convert__damaged_names_are_repaired(void **state)
{
    const small tensors[] = {
        {"lora_unet_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_k_lora_"
         "down.weight",
         LX_F32,
         {1, 2},
         2,
         {1, 2}},
        {"lora_unet_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_k_lora_"
         "up.weight",
         LX_F32,
         {2, 1},
         2,
         {1, 2}},
    };
    const lx_convert_options o = {.to = LX_SPELL_KOHYA};
    lx_error err;
    done d;

    (void)state;
    lx_assert_ok(convert_small(&d, tensors, 2, &o, &err), &err);
    assert_int_equal(d.r.n_repaired, 1);
    assert_non_null(
        find(&d.r, "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_k"
                   ".lora_down.weight"));
    drop(&d);
}

static void test_convert__precision(void **state)
{
    static const lx_dtype dtypes[] = {LX_F32, LX_F16, LX_BF16, LX_F8_E4M3, LX_F8_E5M2};
    static const double limits[] = {0, 5e-4, 4e-3, 7e-2, 0.13};

    (void)state;
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++) {
        const lx_convert_options o = {
            .to = LX_SPELL_KOHYA, .has_dtype = true, .dtype = dtypes[i]};
        lx_error err;
        done d;
        lx_assert_ok(convert(&d,
                             lx_golden_need("lora/files/mini_a_r4_a4_fp32.safetensors"),
                             &o, &err),
                     &err);
        for (size_t k = 0; k < d.r.parts[0].n_keys; k++) {
            const lx_tensor_view *t = &d.r.parts[0].keys[k].to;
            assert_int_equal(t->dtype, t->n_dims ? dtypes[i] : LX_F32);
        }
        assert_true(d.r.rounding <= limits[i] && (d.r.rounding > 0) == (i > 0));
        drop(&d);
    }
}

static void test_convert__drops(void **state)
{
    const char *const patterns[] = {"*.diff_b", "lora_te_*"};
    const lx_convert_options o = {.to = LX_SPELL_KOHYA, .drops = patterns, .n_drops = 2};
    lx_error err;
    done d;

    (void)state;
    lx_assert_ok(
        convert(&d, lx_golden_need("lora/files/lycoris_full.safetensors"), &o, &err),
        &err);
    assert_int_equal(d.r.n_dropped + d.r.parts[0].n_keys,
                     lx_tensor_file_count(d.file->file));
    for (size_t i = 0; i < d.r.parts[0].n_keys; i++)
        assert_true(!lx_ends_with(d.r.parts[0].keys[i].to.name, ".diff_b") &&
                    !lx_starts_with(d.r.parts[0].keys[i].to.name, "lora_te_"));
    drop(&d);
}

/* ---- Flux.1 ------------------------------------------------------------------------------------------------- */

enum { HIDDEN = 3072 };

/* One module of rank 2 in F16, from a seed: made of tensors that the caller frees. */
static size_t put_module(lx_tensor_view *views, const char *name, bool has_alpha,
                         int64_t out, int64_t in, uint64_t seed)
{
    static const float one = 1;
    const int64_t shapes[2][2] = {{2, in}, {out, 2}};
    size_t n = 0;

    for (int k = 0; k < 2; k++) {
        lx_tensor_view *v = &views[n++];
        lx_rng rng = lx_rng_stream(seed, LX_RNG_TEST, (uint64_t)k, 0);
        char *text = malloc(200);
        uint16_t *values;
        snprintf(text, 200, "%s%s", name,
                 has_alpha ? (k ? ".lora_up.weight" : ".lora_down.weight")
                           : (k ? ".lora_B.weight" : ".lora_A.weight"));
        *v = (lx_tensor_view){.name = text,
                              .dtype = LX_F16,
                              .n_dims = 2,
                              .shape = {shapes[k][0], shapes[k][1]},
                              .n_elements = (size_t)(shapes[k][0] * shapes[k][1])};
        v->bytes = 2 * v->n_elements;
        v->data = values = malloc(v->bytes);
        for (size_t i = 0; i < v->n_elements; i++)
            values[i] = lx_f16_from_f32((float)(lx_rng_uniform(&rng) - 0.5));
    }
    if (has_alpha) {
        char *text = malloc(200);
        float *value = malloc(sizeof one);
        snprintf(text, 200, "%s.alpha", name);
        *value = one;
        views[n++] = (lx_tensor_view){
            .name = text, .dtype = LX_F32, .n_elements = 1, .bytes = 4, .data = value};
    }
    return n;
}

static void write_modules(const char *path, lx_tensor_view *views, size_t n)
{
    lx_error err;

    lx_assert_ok(lx_safetensors_write(path, views, n, NULL, 0, &err), &err);
    for (size_t i = 0; i < n; i++) {
        free((void *)views[i].name);
        free((void *)views[i].data);
    }
}

/* SD 3 and HunyuanVideo by the names of sd-scripts and by diffusers', there and back to the bit. */
typedef struct renamed_layer {
    const char *kohya, *diffusers; /* one of diffusers' */
    int64_t out, in, rows;         /* rows: of that one */
} renamed_layer;

static void check_renamed(const renamed_layer *layers, size_t n_layers, size_t n_split)
{
    static const lx_spelling by[] = {LX_SPELL_DIFFUSERS, LX_SPELL_PEFT};
    const lx_convert_options back = {.to = LX_SPELL_KOHYA};
    const char *path = "/tmp/lx-convert-renamed.safetensors";
    lx_tensor_view views[64];
    lx_error err;
    size_t n = 0;
    done a;

    for (size_t i = 0; i < n_layers; i++)
        n += put_module(views + n, layers[i].kohya, true, layers[i].out, layers[i].in, i);
    write_modules(path, views, n);
    lx_assert_ok(convert(&a, path, &back, &err), &err);
    for (int i = 0; i < 2; i++) {
        const lx_convert_options there = {.to = by[i]};
        char paths[LX_CONVERT_PARTS][400], folder[64], name[200];
        done b, c;
        lx_assert_ok(convert(&b, path, &there, &err), &err);
        assert_int_equal(b.r.n_split, n_split);
        for (size_t k = 0; k < n_layers; k++) {
            const lx_tensor_view *up;
            snprintf(name, sizeof name, "%s%s.lora_B.weight",
                     i ? "base_model.model." : "transformer.", layers[k].diffusers);
            if (!(up = find(&b.r, name)))
                fail_msg("%s: not there", name);
            assert_int_equal(up->shape[0], layers[k].rows);
        }
        save(paths, &b, folder);
        lx_assert_ok(convert(&c, paths[0], &back, &err), &err);
        assert_same(&a.r, &c.r, lx_spelling_names[by[i]]);
        drop(&c);
        clean(paths, b.r.n_parts, folder);
        drop(&b);
    }
    drop(&a);
    unlink(path);
}

static void test_convert__sd3_there_and_back(void **state)
{
    enum { H = 1536 };
    static const renamed_layer layers[] = {
        {"lora_unet_joint_blocks_0_x_block_attn_qkv", "transformer_blocks.0.attn.to_v",
         3 * H, H, H},
        {"lora_unet_joint_blocks_0_context_block_attn_qkv",
         "transformer_blocks.0.attn.add_q_proj", 3 * H, H, H},
        {"lora_unet_joint_blocks_3_x_block_attn2_qkv", "transformer_blocks.3.attn2.to_k",
         3 * H, H, H},
        {"lora_unet_joint_blocks_23_x_block_attn_proj",
         "transformer_blocks.23.attn.to_out.0", H, H, H},
        {"lora_unet_joint_blocks_3_x_block_attn2_proj",
         "transformer_blocks.3.attn2.to_out.0", H, H, H},
        {"lora_unet_joint_blocks_1_context_block_attn_proj",
         "transformer_blocks.1.attn.to_add_out", H, H, H},
        {"lora_unet_joint_blocks_1_x_block_mlp_fc1", "transformer_blocks.1.ff.net.0.proj",
         4 * H, H, 4 * H},
        {"lora_unet_joint_blocks_1_context_block_mlp_fc2",
         "transformer_blocks.1.ff_context.net.2", H, 4 * H, H},
        {"lora_unet_joint_blocks_1_x_block_adaLN_modulation_1",
         "transformer_blocks.1.norm1.linear", 6 * H, H, 6 * H},
        {"lora_unet_joint_blocks_1_context_block_adaLN_modulation_1",
         "transformer_blocks.1.norm1_context.linear", 6 * H, H, 6 * H},
        {"lora_unet_context_embedder", "context_embedder", H, 4096, H},
        {"lora_unet_t_embedder_mlp_0", "time_text_embed.timestep_embedder.linear_1", H,
         256, H},
        {"lora_unet_y_embedder_mlp_2", "time_text_embed.text_embedder.linear_2", H, H, H},
        {"lora_unet_final_layer_linear", "proj_out", 64, H, 64},
    };

    (void)state;
    check_renamed(layers, sizeof layers / sizeof *layers, 3);
}

static void test_convert__hunyuan_video_there_and_back(void **state)
{
    static const renamed_layer layers[] = {
        {"lora_unet_double_blocks_19_img_attn_qkv", "transformer_blocks.19.attn.to_k",
         3 * HIDDEN, HIDDEN, HIDDEN},
        {"lora_unet_double_blocks_0_txt_attn_qkv", "transformer_blocks.0.attn.add_v_proj",
         3 * HIDDEN, HIDDEN, HIDDEN},
        {"lora_unet_double_blocks_0_img_attn_proj", "transformer_blocks.0.attn.to_out.0",
         HIDDEN, HIDDEN, HIDDEN},
        {"lora_unet_double_blocks_0_img_mlp_fc1", "transformer_blocks.0.ff.net.0.proj",
         4 * HIDDEN, HIDDEN, 4 * HIDDEN},
        {"lora_unet_double_blocks_0_txt_mod_linear",
         "transformer_blocks.0.norm1_context.linear", 6 * HIDDEN, HIDDEN, 6 * HIDDEN},
        {"lora_unet_single_blocks_39_linear1", "single_transformer_blocks.39.proj_mlp",
         7 * HIDDEN, HIDDEN, 4 * HIDDEN},
        {"lora_unet_single_blocks_39_linear2", "single_transformer_blocks.39.proj_out",
         HIDDEN, 5 * HIDDEN, HIDDEN},
        {"lora_unet_single_blocks_1_modulation_linear",
         "single_transformer_blocks.1.norm.linear", 3 * HIDDEN, HIDDEN, 3 * HIDDEN},
        {"lora_unet_txt_in_individual_token_refiner_blocks_1_self_attn_qkv",
         "context_embedder.token_refiner.refiner_blocks.1.attn.to_q", 3 * HIDDEN, HIDDEN,
         HIDDEN},
    };

    (void)state;
    check_renamed(layers, sizeof layers / sizeof *layers, 4);
}

/* What is no rename is refused, and so are names that nobody is known to look for. */
static void test_convert__halves_in_another_order(void **state)
{
    static const struct {
        const char *name;
        int64_t out, in;
        lx_spelling to;
        const char *wanted;
    } cases[] = {
        {"lora_unet_joint_blocks_23_context_block_adaLN_modulation_1", 2 * 1536, 1536,
         LX_SPELL_DIFFUSERS, "in the other order"},
        {"transformer.transformer_blocks.23.norm1_context.linear", 2 * 1536, 1536,
         LX_SPELL_KOHYA, "in the other order"},
        {"lora_unet_final_layer_adaLN_modulation_1", 2 * 1536, 1536, LX_SPELL_DIFFUSERS,
         "in the other order"},
        {"lora_unet_double_blocks_0_img_mlp_fc1", 4 * HIDDEN, HIDDEN, LX_SPELL_COMFYUI,
         "ComfyUI has names of its own"},
    };
    const char *path = "/tmp/lx-convert-renamed.safetensors";

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const lx_convert_options o = {.to = cases[i].to};
        const bool is_kohya = cases[i].name[0] == 'l';
        lx_tensor_view views[8];
        lx_error err;
        size_t n =
            put_module(views, cases[i].name, is_kohya, cases[i].out, cases[i].in, 1);
        done a;
        if (cases[i].to != LX_SPELL_COMFYUI) /* which network it is */
            n += put_module(views + n,
                            is_kohya ? "lora_unet_joint_blocks_0_x_block_attn_proj"
                                     : "transformer.transformer_blocks.0.attn.to_q",
                            is_kohya, 1536, 1536, 2);
        write_modules(path, views, n);
        assert_int_equal(convert(&a, path, &o, &err), LX_EUNSUPPORTED);
        if (!strstr(err.text, cases[i].wanted))
            fail_msg("%s: %s", cases[i].name, err.text);
        drop(&a);
        unlink(path);
    }
}

/* Fused layers come apart for diffusers and PEFT, with their rows of up, and together again to the bit. */
static void test_convert__flux_apart_and_together(void **state)
{
    static const lx_spelling by[] = {LX_SPELL_DIFFUSERS, LX_SPELL_COMFYUI, LX_SPELL_PEFT};
    const lx_convert_options back = {.to = LX_SPELL_KOHYA};
    const char *path = "/tmp/lx-convert-flux.safetensors";
    lx_tensor_view views[16];
    lx_error err;
    size_t n = 0;
    done a;

    (void)state;
    n += put_module(views + n, "lora_unet_double_blocks_3_img_attn_qkv", true, 3 * HIDDEN,
                    HIDDEN, 1);
    n += put_module(views + n, "lora_unet_double_blocks_3_img_mlp_0", true, 4 * HIDDEN,
                    HIDDEN, 2);
    n += put_module(views + n, "lora_unet_single_blocks_37_linear1", true, 7 * HIDDEN,
                    HIDDEN, 3);
    write_modules(path, views, n);
    lx_assert_ok(convert(&a, path, &back, &err), &err);
    for (int i = 0; i < 3; i++) {
        const lx_convert_options there = {.to = by[i]};
        char paths[LX_CONVERT_PARTS][400], folder[64];
        done b, c;
        lx_assert_ok(convert(&b, path, &there, &err), &err);
        assert_int_equal(b.r.n_split, i == 1 ? 0 : 2);
        if (i == 0) {
            const lx_tensor_view *up = find(
                &b.r, "transformer.single_transformer_blocks.37.proj_mlp.lora_B.weight");
            assert_non_null(up);
            assert_int_equal(up->shape[0], 4 * HIDDEN);
        }
        save(paths, &b, folder);
        lx_assert_ok(convert(&c, paths[0], &back, &err), &err);
        assert_same(&a.r, &c.r, lx_spelling_names[by[i]]);
        drop(&c);
        clean(paths, b.r.n_parts, folder);
        drop(&b);
    }
    drop(&a);
    unlink(path);
}

/* Ranks add up along a diagonal, what is not there stays 0; apart again they are what they were. */
static void test_convert__flux_of_separate_modules(void **state)
{
    const lx_convert_options there = {.to = LX_SPELL_KOHYA},
                             back = {.to = LX_SPELL_DIFFUSERS};
    const char *path = "/tmp/lx-convert-flux.safetensors";
    char paths[LX_CONVERT_PARTS][400], folder[64];
    const lx_tensor_view *up, *down;
    lx_tensor_view views[16];
    lx_error err;
    size_t n = 0;
    done a, b, c;

    (void)state;
    n += put_module(views + n, "transformer.single_transformer_blocks.0.attn.to_q", false,
                    HIDDEN, HIDDEN, 1);
    n += put_module(views + n, "transformer.single_transformer_blocks.0.attn.to_v", false,
                    HIDDEN, HIDDEN, 2);
    n += put_module(views + n, "transformer.transformer_blocks.0.attn.to_out.0", false,
                    HIDDEN, HIDDEN, 3);
    write_modules(path, views, n);
    lx_assert_ok(convert(&a, path, &back, &err), &err);
    lx_assert_ok(convert(&b, path, &there, &err), &err);
    unlink(path);
    assert_int_equal(b.r.n_fused, 1);
    up = find(&b.r, "lora_unet_single_blocks_0_linear1.lora_up.weight");
    down = find(&b.r, "lora_unet_single_blocks_0_linear1.lora_down.weight");
    assert_non_null(up);
    assert_int_equal(up->shape[0], 7 * HIDDEN);
    assert_int_equal(up->shape[1], 4);
    assert_int_equal(down->shape[0], 4);
    for (size_t i = HIDDEN * 4; i < 2 * HIDDEN * 4; i++) /* to_k was not there */
        assert_int_equal(((const uint16_t *)up->data)[i], 0);
    assert_non_null(find(&b.r, "lora_unet_double_blocks_0_img_attn_proj.lora_up.weight"));
    save(paths, &b, folder);
    lx_assert_ok(convert(&c, paths[0], &back, &err), &err);
    assert_same(&a.r, &c.r, "separate modules");
    clean(paths, 1, folder);
    drop(&a);
    drop(&b);
    drop(&c);
}

/* OneTrainer has the parts numbered, XLabs the layers by processors. */
static void test_convert__flux_of_other_trainers(void **state)
{
    const lx_convert_options kohya = {.to = LX_SPELL_KOHYA},
                             diffusers = {.to = LX_SPELL_DIFFUSERS};
    const char *path = "/tmp/lx-convert-flux.safetensors";
    lx_tensor_view views[16];
    const lx_tensor_view *up;
    lx_error err;
    size_t n = 0;
    done a;

    (void)state;
    for (int k = 0; k < 3; k++) {
        char name[100];
        snprintf(name, sizeof name, "transformer.double_blocks.5.img_attn.qkv.%d", k);
        n += put_module(views + n, name, true, HIDDEN, HIDDEN, (uint64_t)k);
    }
    write_modules(path, views, n);
    lx_assert_ok(convert(&a, path, &kohya, &err), &err);
    up = find(&a.r, "lora_unet_double_blocks_5_img_attn_qkv.lora_up.weight");
    assert_non_null(up);
    assert_int_equal(up->shape[0], 3 * HIDDEN);
    assert_int_equal(up->shape[1], 6);
    drop(&a);
    lx_assert_ok(convert(&a, path, &diffusers, &err), &err);
    assert_non_null(
        find(&a.r, "transformer.transformer_blocks.5.attn.to_v.lora_B.weight"));
    drop(&a);
    n = put_module(views, "double_blocks.0.processor.qkv_lora2", false, 3 * HIDDEN,
                   HIDDEN, 9);
    write_modules(path, views, n);
    lx_assert_ok(convert(&a, path, &kohya, &err), &err);
    assert_non_null(find(&a.r, "lora_unet_double_blocks_0_txt_attn_qkv.lora_up.weight"));
    drop(&a);
    unlink(path);
}

/* ---- refused --------------------------------------------------------------------------------------------- */

typedef struct refusal {
    small tensors[4];
    size_t n;
    lx_spelling to;
    const char *pattern;
    lx_dtype dtype; /* LX_U64: none asked for */
    int code;
    const char *word;
} refusal;

#define DOWN(name)               \
    {                            \
        name, LX_F32, {1, 2}, 2, \
        {                        \
            1, 2                 \
        }                        \
    }
#define UP(name)                 \
    {                            \
        name, LX_F32, {2, 1}, 2, \
        {                        \
            1, 2                 \
        }                        \
    }

static void test_convert__refused(void **state)
{
    static const refusal cases[] = {
        {{DOWN(STEM ".lora_down.weight"), UP(STEM ".lora_up.weight"),
          DOWN("something.else")},
         3,
         LX_SPELL_KOHYA,
         NULL,
         LX_U64,
         LX_EUNSUPPORTED,
         "something.else"},
        {{DOWN(STEM ".lora_down.weight"), UP(STEM ".lora_up.weight")},
         2,
         LX_SPELL_DIFFUSERS_OLD,
         NULL,
         LX_U64,
         LX_EUNSUPPORTED,
         "attention"},
        {{DOWN("lora_unet_quux_corge.lora_down.weight"),
          UP("lora_unet_quux_corge.lora_up.weight")},
         2,
         LX_SPELL_DIFFUSERS,
         NULL,
         LX_U64,
         LX_EUNSUPPORTED,
         "lora_unet_quux_corge"},
        {{DOWN(STEM ".lora_down.weight")},
         1,
         LX_SPELL_KOHYA,
         NULL,
         LX_U64,
         LX_EFORMAT,
         "no up"},
        {{DOWN(STEM ".lora_down.weight"), UP(STEM ".lora_up.weight"),
          DOWN("unet.mid_block.attentions.0.proj_in.lora_A.weight"),
          UP("unet.mid_block.attentions.0.proj_in.lora_B.weight")},
         4,
         LX_SPELL_KOHYA,
         NULL,
         LX_U64,
         LX_EFORMAT,
         "both become"},
        {{{STEM ".lora_down.weight", LX_F32, {1, 2}, 2, {1, NAN}},
          UP(STEM ".lora_up.weight")},
         2,
         LX_SPELL_COMFYUI,
         NULL,
         LX_U64,
         LX_EFORMAT,
         "element 1 is nan"},
        {{{STEM ".lora_down.weight", LX_F32, {1, 2}, 2, {1, 500}},
          UP(STEM ".lora_up.weight")},
         2,
         LX_SPELL_KOHYA,
         NULL,
         LX_F8_E4M3,
         LX_ELIMIT,
         "too large for F8_E4M3"},
        {{{STEM ".lora_down.weight", LX_F32, {1, 2}, 2, {1, 1e6f}},
          UP(STEM ".lora_up.weight")},
         2,
         LX_SPELL_KOHYA,
         NULL,
         LX_F16,
         LX_ELIMIT,
         "too large for F16"},
        {{DOWN("lora_unet_layers_0_attention_qkv.lora_down.weight"),
          UP("lora_unet_layers_0_attention_qkv.lora_up.weight")},
         2,
         LX_SPELL_DIFFUSERS,
         NULL,
         LX_U64,
         LX_EUNSUPPORTED,
         "Flux.1, SD 3 and HunyuanVideo only"},
        {{DOWN("diffusion_model.blocks.0.self_attn.q.lora_A.weight"),
          UP("diffusion_model.blocks.0.self_attn.q.lora_B.weight")},
         2,
         LX_SPELL_PEFT,
         NULL,
         LX_U64,
         LX_EUNSUPPORTED,
         "Flux.1, SD 3 and HunyuanVideo only"},
        {{DOWN("transformer.blocks.0.attn1.to_q.lora_A.weight"),
          UP("transformer.blocks.0.attn1.to_q.lora_B.weight")},
         2,
         LX_SPELL_KOHYA,
         NULL,
         LX_U64,
         LX_EUNSUPPORTED,
         "Flux.1, SD 3 and HunyuanVideo only"},
        {{DOWN(STEM ".lora_down.weight"), UP(STEM ".lora_up.weight")},
         2,
         LX_SPELL_KOHYA,
         "*.nothing",
         LX_U64,
         LX_EUSAGE,
         "no key matches"},
        {{DOWN(STEM ".lora_down.weight"), UP(STEM ".lora_up.weight")},
         2,
         LX_SPELL_KOHYA,
         "*.lora_up.*",
         LX_U64,
         LX_EUSAGE,
         "no use without"},
        {{DOWN(STEM ".lora_down.weight"), UP(STEM ".lora_up.weight")},
         2,
         LX_SPELL_KOHYA,
         "*",
         LX_U64,
         LX_EUSAGE,
         "nothing is left"},
        {{DOWN(STEM ".lora_down.weight"),
          UP(STEM ".lora_up.weight"),
          {"<s1>", LX_F32, {2}, 1, {1, 2}}},
         3,
         LX_SPELL_PEFT,
         NULL,
         LX_U64,
         LX_EUNSUPPORTED,
         "<s1>"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const refusal *c = &cases[i];
        const lx_convert_options o = {.to = c->to,
                                      .has_dtype = c->dtype != LX_U64,
                                      .dtype = c->dtype,
                                      .drops = &c->pattern,
                                      .n_drops = c->pattern != NULL};
        lx_error err = {0};
        done d;
        const int rc = convert_small(&d, c->tensors, c->n, &o, &err);
        if (rc != c->code || !strstr(err.text, c->word))
            fail_msg("case %zu: %d \"%s\"", i, rc, err.text);
        drop(&d);
    }
}

static void test_convert__kinds_without_names(void **state)
{
    static const struct {
        const char *file;
        lx_spelling to;
    } cases[] = {{"lycoris_loha", LX_SPELL_DIFFUSERS},
                 {"lycoris_lokr", LX_SPELL_PEFT},
                 {"lycoris_full", LX_SPELL_DIFFUSERS_OLD},
                 {"lycoris_dora", LX_SPELL_DIFFUSERS_OLD},
                 {"lycoris_glora", LX_SPELL_PEFT}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const lx_convert_options o = {.to = cases[i].to};
        lx_error err;
        char path[128];
        done d;
        snprintf(path, sizeof path, "lora/files/%s.safetensors", cases[i].file);
        assert_int_equal(convert(&d, lx_golden_need(path), &o, &err), LX_EUNSUPPORTED);
        assert_non_null(strstr(err.text, "makes it a LoRA")
                            ? err.text
                            : strstr(err.text, "make it a LoRA"));
        drop(&d);
    }
}

/* ---- names ------------------------------------------------------------------------------------------------- */

static void test_convert__places_of_names(void **state)
{
    static const struct {
        const char *name, *path;
    } cases[] = {
        {"lora_unet_up_blocks_3_attentions_2_transformer_blocks_0_ff_net_0_proj",
         "up_blocks.3.attentions.2.transformer_blocks.0.ff.net.0.proj"},
        {"lora_unet_input_blocks_4_1_transformer_blocks_1_attn2_to_out_0",
         "down_blocks.1.attentions.0.transformer_blocks.1.attn2.to_out.0"},
        {"lora_unet_output_blocks_2_2_conv", "up_blocks.0.upsamplers.0.conv"},
        {"lora_te2_text_model_encoder_layers_31_self_attn_out_proj",
         "text_model.encoder.layers.31.self_attn.out_proj"},
        {"lora_unet_double_blocks_18_img_attn_qkv", "double_blocks.18.img_attn.qkv"},
        {"lora_unet_single_blocks_37_linear1", "single_blocks.37.linear1"},
        {"lora_unet_joint_blocks_0_context_block_attn_qkv",
         "joint_blocks.0.context_block.attn.qkv"},
        {"lora_unet_blocks_0_self_attn_k_img", "blocks.0.self_attn.k_img"},
        {"lora_unet_transformer_blocks_59_attn_add_k_proj",
         "transformer_blocks.59.attn.add_k_proj"},
        {"lora_te3_encoder_block_0_layer_0_SelfAttention_q",
         "encoder.block.0.layer.0.SelfAttention.q"},
        {"transformer.some_new.thing_0.to_q", "some_new.thing_0.to_q"},
        {"down_blocks.0.attentions.0.transformer_blocks.0.attn1.processor.to_out",
         "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_out.0"},
        {"double_blocks.4.processor.proj_lora2", "double_blocks.4.txt_attn.proj"},
        {"unet:5", "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_q"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lx_module_place place;
        lx_error err;
        lx_assert_ok(lx_module_place_of(&place, cases[i].name, &err), &err);
        assert_string_equal(lx_str_text(&place.path), cases[i].path);
        lx_str_release(&place.path);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_convert__there_and_back),
        cmocka_unit_test(test_convert__maps_of_diffusers),
        cmocka_unit_test(test_convert__file_of_diffusers),
        cmocka_unit_test(test_convert__comfyui_finds_the_weights),
        cmocka_unit_test(test_convert__scale_goes_into_up),
        cmocka_unit_test(test_convert__alphas_that_are_not_there_or_0),
        cmocka_unit_test(test_convert__config_of_peft),
        cmocka_unit_test(test_convert__damaged_names_are_repaired),
        cmocka_unit_test(test_convert__precision),
        cmocka_unit_test(test_convert__drops),
        cmocka_unit_test(test_convert__sd3_there_and_back),
        cmocka_unit_test(test_convert__hunyuan_video_there_and_back),
        cmocka_unit_test(test_convert__halves_in_another_order),
        cmocka_unit_test(test_convert__flux_apart_and_together),
        cmocka_unit_test(test_convert__flux_of_separate_modules),
        cmocka_unit_test(test_convert__flux_of_other_trainers),
        cmocka_unit_test(test_convert__refused),
        cmocka_unit_test(test_convert__kinds_without_names),
        cmocka_unit_test(test_convert__places_of_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
