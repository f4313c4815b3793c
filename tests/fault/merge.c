/* The arithmetic of lx merge, resize, extract and convert with the n-th allocation failing, for every n: an
 * error, no leak, no half of a file. */
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
#include "src/base/file.h"
#include "src/base/rng.h"
#include "src/lora/convert.h"
#include "src/lora/extract.h"
#include "src/lora/merge.h"
#include "src/lora/merge_into.h"
#include "src/lora/resize.h"
#include "tests/support/model.h"

static char folder[] = "/tmp/lx-fault-merge-XXXXXX";
/* a LoRA, a LoHa with a core and a full difference; a base; an output; the base as it became */
static char paths[4][64];
static lx_merge_options options;

static void add(lx_tensor_view *v, size_t *n, const char *name, float *values, int n_dims,
                ...)
{
    lx_tensor_view *t = &v[(*n)++];
    va_list dims;

    *t = (lx_tensor_view){
        .name = name, .dtype = LX_F32, .n_dims = n_dims, .n_elements = 1};
    va_start(dims, n_dims);
    for (int i = 0; i < n_dims; i++) {
        t->shape[i] = va_arg(dims, int);
        t->n_elements *= (size_t)t->shape[i];
    }
    va_end(dims);
    t->data = values;
    t->bytes = 4 * t->n_elements;
}

static int make_files(void **state)
{
    static float values[512];
    lx_rng rng = lx_rng_stream(1, LX_RNG_TEST, 0, 0);
    lx_tensor_view v[16];
    lx_error err;
    size_t n = 0;

    (void)state;
    omp_set_num_threads(1); /* the n-th allocation is the same one every time */
    assert_non_null(mkdtemp(folder));
    for (int i = 0; i < 4; i++)
        snprintf(paths[i], sizeof paths[i], "%s/%c.safetensors", folder, "abot"[i]);
    for (size_t i = 0; i < 512; i++)
        values[i] = (float)lx_rng_uniform(&rng) - 0.5f;
    add(v, &n, "lora_unet_mid_block_attentions_0_proj_in.lora_down.weight", values, 2, 2,
        8);
    add(v, &n, "lora_unet_mid_block_attentions_0_proj_in.lora_up.weight", values, 2, 6,
        2);
    add(v, &n, "lora_unet_mid_block_resnets_0_conv1.hada_w1_a", values, 2, 2, 4);
    add(v, &n, "lora_unet_mid_block_resnets_0_conv1.hada_w1_b", values, 2, 2, 3);
    add(v, &n, "lora_unet_mid_block_resnets_0_conv1.hada_t1", values, 4, 2, 2, 3, 3);
    add(v, &n, "lora_unet_mid_block_resnets_0_conv1.hada_w2_a", values, 2, 2, 4);
    add(v, &n, "lora_unet_mid_block_resnets_0_conv1.hada_w2_b", values, 2, 2, 3);
    add(v, &n, "lora_unet_mid_block_resnets_0_conv1.hada_t2", values, 4, 2, 2, 3, 3);
    add(v, &n, "lora_unet_conv_in.diff", values, 4, 3, 2, 3, 3);
    add(v, &n, "lora_unet_conv_in.diff_b", values, 1, 3);
    lx_assert_ok(lx_safetensors_write(paths[0], v, n, NULL, 0, &err), &err);
    n = 0;
    add(v, &n, "model.diffusion_model.middle_block.1.proj_in.weight", values, 4, 6, 8, 1,
        1);
    add(v, &n, "model.diffusion_model.middle_block.0.in_layers.2.weight", values, 4, 4, 3,
        3, 3);
    add(v, &n, "model.diffusion_model.input_blocks.0.0.weight", values, 4, 3, 2, 3, 3);
    add(v, &n, "model.diffusion_model.input_blocks.0.0.bias", values, 1, 3);
    lx_assert_ok(lx_safetensors_write(paths[1], v, n, NULL, 0, &err), &err);
    for (size_t i = 0; i < n; i++)
        v[i].data = values + 1;
    lx_assert_ok(lx_safetensors_write(paths[3], v, n, NULL, 0, &err), &err);
    return 0;
}

static int drop_files(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++)
        unlink(paths[i]);
    return rmdir(folder);
}

/* The file twice; into the base when `into` says so. */
static int merge(bool into, lx_error *err)
{
    lx_lora_file *file = NULL;
    lx_tensor_file *base = NULL;
    lx_merge *m = NULL;
    lx_merge_result result;
    lx_merge_into_result changed;
    int rc;

    if ((rc = lx_lora_file_open(&file, paths[0], err)) < 0 ||
        (rc = lx_merge_new(&m, err)) < 0)
        goto done;
    for (int i = 0; i < 2; i++) {
        const lx_merge_source s = {file, "a", 0.5 + i, 1, NULL};
        if ((rc = lx_merge_add(m, &s, err)) < 0)
            goto done;
    }
    if (!into) {
        rc = lx_merge_finish(&result, m, &options, err);
    } else if ((rc = lx_tensor_file_open(&base, paths[1], err)) == LX_OK) {
        const lx_merge_into to = {.base = base, .output = paths[2]};
        rc = lx_merge_write_into(&changed, m, &to, err);
        assert_true((rc == LX_OK) == lx_file_exists(paths[2]));
        unlink(paths[2]);
    }
done:
    lx_merge_free(m);
    lx_tensor_file_close(base);
    lx_lora_file_close(file);
    return rc;
}

static int resize(lx_error *err)
{
    const lx_resize_options o = {
        .rule = LX_RESIZE_ERROR, .x = 0.1, .rank = 2, .dtype = LX_F16};
    lx_lora_file *file = NULL;
    lx_merge *m = NULL;
    lx_resize_result result;
    int rc;

    if ((rc = lx_lora_file_open(&file, paths[0], err)) == LX_OK &&
        (rc = lx_merge_new(&m, err)) == LX_OK) {
        const lx_merge_source s = {file, "a", 1, 1, NULL};
        if ((rc = lx_merge_add(m, &s, err)) == LX_OK)
            rc = lx_lora_resize(&result, m, &o, err);
    }
    lx_merge_free(m);
    lx_lora_file_close(file);
    return rc;
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

static int extract(lx_error *err)
{
    const lx_extract_options o = {
        .rank = 2, .conv_rank = 2, .clamp_quantile = 0.9, .dtype = LX_F16};
    lx_tensor_file *from = NULL, *to = NULL;
    lx_extract *x = NULL;
    lx_extract_result result;
    int rc;

    if ((rc = lx_tensor_file_open(&from, paths[1], err)) == LX_OK &&
        (rc = lx_tensor_file_open(&to, paths[3], err)) == LX_OK &&
        (rc = lx_extract_new(&x, err)) == LX_OK)
        rc = run_extract(&result, x, from, to, &o, err);
    lx_extract_free(x);
    lx_tensor_file_close(to);
    lx_tensor_file_close(from);
    return rc;
}

/* In halves for ComfyUI, and what PEFT can say of it. */
static int convert_to(lx_spelling to, lx_error *err)
{
    const char *const drops[] = {"*hada*", "*diff*"};
    const lx_convert_options o = {.to = to,
                                  .has_dtype = true,
                                  .dtype = LX_F16,
                                  .drops = drops,
                                  .n_drops = to == LX_SPELL_COMFYUI ? 0 : 2};
    lx_lora_file *file = NULL;
    lx_convert *c = NULL;
    lx_convert_result result;
    int rc;

    if ((rc = lx_lora_file_open(&file, paths[0], err)) == LX_OK &&
        (rc = lx_convert_new(&c, err)) == LX_OK &&
        (rc = lx_convert_add(c, file, LX_LORA_PART_COUNT, err)) == LX_OK)
        rc = lx_convert_run(&result, c, &o, err);
    lx_convert_free(c);
    lx_lora_file_close(file);
    return rc;
}

static int convert_to_comfyui(lx_error *err)
{
    return convert_to(LX_SPELL_COMFYUI, err);
}

static int convert_to_peft(lx_error *err)
{
    return convert_to(LX_SPELL_PEFT, err);
}

static int merge_sum(lx_error *err)
{
    return merge(false, err);
}

static int merge_into(lx_error *err)
{
    return merge(true, err);
}

static void fail_all(int (*work)(lx_error *err))
{
    for (int forever = 0; forever < 2; forever++)
        for (size_t n = 1;; n++) {
            lx_error err = {0};
            int rc;
            lx_alloc_fail_at(n, forever);
            rc = work(&err);
            lx_alloc_fail_at(0, false);
            if (rc == LX_OK) {
                assert_true(n > 20);
                break;
            }
            if (rc != LX_ENOMEM)
                fail_msg("allocation %zu: %d \"%s\"", n, rc, err.text);
        }
}

static void test_fault_merge__methods(void **state)
{
    (void)state;
    for (int rule = LX_RANK_EXACT; rule <= LX_RANK_ERROR; rule++)
        for (int method = 0; method < LX_MERGE_METHODS; method++) {
            options = (lx_merge_options){.method = (lx_merge_method)method,
                                         .rank_rule = (lx_merge_rank)rule,
                                         .rank = 2,
                                         .error = 0.1,
                                         .density = 0.5,
                                         .dtype = LX_F16};
            fail_all(merge_sum);
        }
}

static void test_fault_merge__into(void **state)
{
    (void)state;
    fail_all(merge_into);
}

static void test_fault_merge__resize(void **state)
{
    (void)state;
    fail_all(resize);
}

static void test_fault_merge__extract(void **state)
{
    (void)state;
    fail_all(extract);
}

static void test_fault_merge__convert(void **state)
{
    (void)state;
    fail_all(convert_to_comfyui);
    fail_all(convert_to_peft);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fault_merge__methods),
        cmocka_unit_test(test_fault_merge__into),
        cmocka_unit_test(test_fault_merge__resize),
        cmocka_unit_test(test_fault_merge__extract),
        cmocka_unit_test(test_fault_merge__convert),
    };

    return cmocka_run_group_tests_name("fault/merge", tests, make_files, drop_files);
}
