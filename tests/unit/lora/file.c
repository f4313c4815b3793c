/* Ranks of modules, and whose an adapter_config.json is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "src/base/file.h"
#include "src/format/safetensors.h"
#include "src/lora/file.h"
#include "src/lora/glance.h"
#include "tests/support/expect.h"

enum { MOST_TENSORS = 4, MOST_DIMS = 4 };

typedef struct zeros {
    const char *name;
    int n_dims;
    int64_t shape[MOST_DIMS];
} zeros;

/* A file of F32 zeros; `note` is a metadata key, or NULL. */
static void write_zeros(const char *folder, const char *name, const zeros *t, size_t n,
                        const char *note)
{
    static const float nothing[64];
    const lx_metadata_entry entry = {note, "[]"};
    lx_tensor_view views[MOST_TENSORS];
    char path[400];
    lx_error err;

    for (size_t i = 0; i < n; i++) {
        lx_tensor_view *v = &views[i];
        *v = (lx_tensor_view){.name = t[i].name,
                              .dtype = LX_F32,
                              .n_dims = t[i].n_dims,
                              .n_elements = 1,
                              .data = nothing};
        for (int d = 0; d < v->n_dims; d++)
            v->n_elements *= (size_t)(v->shape[d] = t[i].shape[d]);
        v->bytes = 4 * v->n_elements;
    }
    snprintf(path, sizeof path, "%s/%s", folder, name);
    lx_assert_ok(lx_safetensors_write(path, views, n, &entry, note != NULL, &err), &err);
}

static double alpha_of(const char *folder, const char *name)
{
    lx_lora_file *f;
    char path[400];
    lx_error err;
    double alpha;

    snprintf(path, sizeof path, "%s/%s", folder, name);
    lx_assert_ok(lx_lora_file_open(&f, path, &err), &err);
    assert_int_equal(f->n_modules, 1);
    alpha = f->modules[0].has_alpha ? f->modules[0].alpha : -1;
    lx_lora_file_close(f);
    return alpha;
}

/* What the table of a folder says. */
static double alpha_at_a_glance(const char *folder, const char *name)
{
    lx_arena *arena = lx_arena_new();
    lx_tensor_file *f;
    lx_glance glance;
    char path[400];
    lx_error err;
    double alpha;

    snprintf(path, sizeof path, "%s/%s", folder, name);
    lx_assert_ok(lx_tensor_file_open(&f, path, &err), &err);
    lx_assert_ok(lx_glance_of(&glance, f, path, arena, &err), &err);
    alpha = glance.summary.parts[LX_LORA_UNET].n_without_alpha
                ? -1
                : glance.summary.parts[LX_LORA_UNET].alpha_max;
    lx_tensor_file_close(f);
    lx_arena_free(arena);
    return alpha;
}

static void check_alpha(const char *folder, const char *name, double alpha)
{
    if (alpha_of(folder, name) != alpha || alpha_at_a_glance(folder, name) != alpha)
        fail_msg("%s: alpha %g, at a glance %g, wanted %g", name, alpha_of(folder, name),
                 alpha_at_a_glance(folder, name), alpha);
}

#define MID "mid_block.attentions.0.proj_in"
static const zeros peft[2] = {{"base_model.model." MID ".lora_A.weight", 2, {2, 8}},
                              {"base_model.model." MID ".lora_B.weight", 2, {8, 2}}};
static const zeros diffusers[2] = {{"unet." MID ".lora.down.weight", 2, {2, 8}},
                                   {"unet." MID ".lora.up.weight", 2, {8, 2}}};
static const zeros kohya[2] = {
    {"lora_unet_mid_block_attentions_0_proj_in.lora_down.weight", 2, {2, 8}},
    {"lora_unet_mid_block_attentions_0_proj_in.lora_up.weight", 2, {8, 2}}};

/* LoRAs lie in one folder with an adapter of PEFT's, whose config is not theirs. */
static void test_file__config_is_of_one_file(void **state)
{
    static const char config[] = "{\"r\": 2, \"lora_alpha\": 7}";
    char folder[300], path[400];
    lx_error err;

    (void)state;
    lx_make_folder(folder, sizeof folder, "lx-file");
    snprintf(path, sizeof path, "%s/adapter_config.json", folder);
    lx_assert_ok(lx_file_write(path, config, strlen(config), &err), &err);
    write_zeros(folder, "kohya.safetensors", kohya, 2, NULL);
    write_zeros(folder, "diffusers.safetensors", diffusers, 2, NULL);
    write_zeros(folder, "renamed.safetensors", peft, 2, NULL);
    write_zeros(folder, "merged.safetensors", peft, 2, "lx.merge");
    write_zeros(folder, "resized.safetensors", peft, 2, "lx.resize");
    check_alpha(folder, "kohya.safetensors", -1);
    check_alpha(folder, "diffusers.safetensors", -1);
    check_alpha(folder, "renamed.safetensors", 7);
    check_alpha(folder, "merged.safetensors", -1);
    check_alpha(folder, "resized.safetensors", -1);
    write_zeros(folder, "adapter_model.safetensors", peft, 2, NULL);
    check_alpha(folder, "adapter_model.safetensors", 7);
    check_alpha(folder, "renamed.safetensors", -1);
    check_alpha(folder, "kohya.safetensors", -1);
    write_zeros(folder, "adapter_model.safetensors", diffusers, 2, NULL);
    check_alpha(folder, "adapter_model.safetensors", 7);
    lx_assert_shell("rm -r '%s'", folder);
}

static void write_config(const char *folder, const char *config)
{
    char path[400];
    lx_error err;

    snprintf(path, sizeof path, "%s/adapter_config.json", folder);
    lx_assert_ok(lx_file_write(path, config, strlen(config), &err), &err);
}

static void check_problem(const char *folder, const char *of_module, const char *of_config)
{
    char path[400];
    lx_lora_file *f;
    lx_error err;

    snprintf(path, sizeof path, "%s/adapter_model.safetensors", folder);
    lx_assert_ok(lx_lora_file_open(&f, path, &err), &err);
    if (!f->modules[0].problem != !of_module || (of_module && !strstr(f->modules[0].problem, of_module)))
        fail_msg("module: %s", f->modules[0].problem);
    if (!f->config_problem != !of_config || (of_config && !strstr(f->config_problem, of_config)))
        fail_msg("config: %s", f->config_problem);
    lx_lora_file_close(f);
}

/* PEFT's LoHa and LoKr have alpha where its LoRA has lora_alpha, and of two whole matrices nothing but the config has
 * the scale. */
static void test_file__configs_of_other_methods(void **state)
{
#define LAYER "base_model.model." MID
    static const zeros loha[MOST_TENSORS] = {{LAYER ".hada_w1_a", 2, {8, 2}},
                                             {LAYER ".hada_w1_b", 2, {2, 8}},
                                             {LAYER ".hada_w2_a", 2, {8, 2}},
                                             {LAYER ".hada_w2_b", 2, {2, 8}}};
    static const zeros whole[2] = {{LAYER ".lokr_w1", 2, {2, 2}}, {LAYER ".lokr_w2", 2, {4, 4}}};
    char folder[300];

    (void)state;
    lx_make_folder(folder, sizeof folder, "lx-file");
    write_zeros(folder, "adapter_model.safetensors", loha, MOST_TENSORS, NULL);
    write_config(folder, "{\"peft_type\": \"LOHA\", \"r\": 2, \"alpha\": 8, \"lora_alpha\": 5}");
    check_alpha(folder, "adapter_model.safetensors", 8);
    write_config(folder, "{\"peft_type\": \"LOHA\", \"r\": 2, \"alpha\": 8, \"alpha_pattern\": {\"proj_in\": 3}}");
    check_alpha(folder, "adapter_model.safetensors", 3);
    check_problem(folder, NULL, NULL);
    write_zeros(folder, "adapter_model.safetensors", whole, 2, NULL);
    write_config(folder, "{\"peft_type\": \"LOKR\", \"r\": 2, \"alpha\": 8}");
    check_problem(folder, "their scale of 4", NULL);
    write_config(folder, "{\"peft_type\": \"LOKR\", \"r\": 2, \"alpha\": 2}");
    check_problem(folder, NULL, NULL);
    write_zeros(folder, "adapter_model.safetensors", peft, 2, NULL);
    write_config(folder, "{\"peft_type\": \"LORA\", \"r\": 2, \"lora_alpha\": 2, \"init_lora_weights\": \"pissa_niter_4\"}");
    check_problem(folder, NULL, "init_lora_weights");
    write_config(folder, "{\"peft_type\": \"LORA\", \"r\": 2, \"lora_alpha\": 2, \"init_lora_weights\": true}");
    check_problem(folder, NULL, NULL);
    lx_assert_shell("rm -r '%s'", folder);
}

/* LyCORIS' Tucker: beside a core w2_a is [rank, out]. */
static void test_file__rank_of_lokr_with_a_core(void **state)
{
    static const zeros lokr[MOST_TENSORS] = {
        {"lora_unet_x_conv1.lokr_w1", 2, {2, 2}},
        {"lora_unet_x_conv1.lokr_w2_a", 2, {2, 5}},
        {"lora_unet_x_conv1.lokr_w2_b", 2, {2, 3}},
        {"lora_unet_x_conv1.lokr_t2", 4, {2, 2, 3, 3}},
    };
    char folder[300], path[400];
    lx_lora_file *f;
    lx_error err;

    (void)state;
    lx_make_folder(folder, sizeof folder, "lx-file");
    write_zeros(folder, "a.safetensors", lokr, MOST_TENSORS, NULL);
    snprintf(path, sizeof path, "%s/a.safetensors", folder);
    lx_assert_ok(lx_lora_file_open(&f, path, &err), &err);
    assert_int_equal(f->n_modules, 1);
    assert_null(f->modules[0].problem);
    assert_int_equal(f->modules[0].rank, 2);
    lx_lora_file_close(f);
    lx_assert_shell("rm -r '%s'", folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_file__config_is_of_one_file),
        cmocka_unit_test(test_file__configs_of_other_methods),
        cmocka_unit_test(test_file__rank_of_lokr_with_a_core),
    };

    return cmocka_run_group_tests_name("lora/file", tests, NULL, NULL);
}
