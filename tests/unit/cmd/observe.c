#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "cmd/observe.h"
#include "src/base/file.h"
#include "src/base/json.h"

static lx_arena *arena;
static lx_cli cli;

static int setup(void **state)
{
    (void)state;
    arena = lx_arena_new();
    lx_cli_init(&cli, arena, stdout, stderr);
    return arena ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    lx_arena_free(arena);
    return 0;
}

/* The line split at blanks. */
static lx_observed observe(const char *line)
{
    static char copy[2048];
    char *argv[128];
    lx_observed out;
    lx_error err = {0};
    int argc = 0;

    snprintf(copy, sizeof copy, "%s", line);
    for (char *word = strtok(copy, " "); word; word = strtok(NULL, " "))
        argv[argc++] = word;
    if (lx_observe(&out, &cli, argc, argv, &err) < 0)
        fail_msg("%s: %s", line, err.text);
    return out;
}

static const cJSON *flag(const char *json, const char *name)
{
    static cJSON *root;

    cJSON_Delete(root);
    root = NULL;
    assert_int_equal(lx_json_parse(&root, json, strlen(json), NULL), LX_OK);
    return cJSON_GetObjectItemCaseSensitive(root, name);
}

static void test_cmd_observe__launchers(void **state)
{
    static const char *const lines[] = {
        "accelerate launch --num_cpu_threads_per_process 1 sd/train_network.py --network_dim 8",
        "accelerate launch --config_file a.yaml --mixed_precision=fp16 sd/train_network.py --network_dim=8",
        "/venv/bin/python -u sd/train_network.py --network_dim 8",
        "python -m torch.distributed.run --nproc_per_node 2 sd/train_network.py --network_di 8",
        "uv run python sd/train_network.py --network_dim 8",
        "sd/train_network.py --network_dim 8",
    };

    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        lx_observed o = observe(lines[i]);
        assert_true(o.is_sd_scripts);
        assert_string_equal(o.script, "sd/train_network.py");
        assert_string_equal(o.folder, "sd/");
        if (flag(o.flags, "network_dim")->valueint != 8)
            fail_msg("%s: %s", lines[i], o.given);
        assert_null(flag(o.flags, "num_cpu_threads_per_process"));
        assert_false(o.has_data);
    }
}

/* With the trainer's defaults, its rules for the optimizer, and what lx itself could not follow. */
static void test_cmd_observe__flags_of_sd_scripts(void **state)
{
    lx_observed o = observe("python train_network.py --train_data_dir img --output_dir out --output_name x "
                            "--logging_dir logs --use_8bit_adam --lr_scheduler constant_with_warmup "
                            "--network_module lycoris.kohya --network_args algo=loha conv_dim=4 "
                            "--seed 42 --fp8_base --brand_new 1 2 --wandb_api_key secret");

    (void)state;
    assert_true(o.has_data);
    assert_string_equal(o.config.data.train_data_dir, "img");
    assert_string_equal(o.output_dir, "out");
    assert_string_equal(o.output_name, "x");
    assert_string_equal(o.logging_dir, "logs");
    assert_true(o.has_seed && o.seed == 42);
    assert_string_equal(flag(o.flags, "optimizer_type")->valuestring, "AdamW8bit");
    assert_string_equal(flag(o.flags, "network_module")->valuestring, "lycoris.kohya");
    assert_string_equal(flag(o.flags, "caption_extension")->valuestring, ".caption");
    assert_true(cJSON_IsTrue(flag(o.flags, "fp8_base")));
    assert_int_equal(cJSON_GetArraySize(flag(o.flags, "brand_new")), 2);
    assert_int_equal(cJSON_GetArraySize(flag(o.given, "network_args")), 2);
    assert_null(strstr(o.flags, "secret"));
    assert_null(strstr(o.given, "secret"));
    assert_null(flag(o.flags, "device")); /* lx's own */
}

/* No seed is drawn for a trainer that draws its own. */
static void test_cmd_observe__no_seed(void **state)
{
    lx_observed o = observe("python train_network.py --train_data_dir img");

    (void)state;
    assert_false(o.has_seed);
    assert_true(!flag(o.flags, "seed") || cJSON_IsNull(flag(o.flags, "seed")));
}

/* What the trainer will refuse is recorded all the same. */
static void test_cmd_observe__lines_that_are_wrong(void **state)
{
    lx_observed o = observe("python train_network.py --network_dim eight --train_data_dir");

    (void)state;
    assert_non_null(o.flags);
    assert_false(o.has_data);
    assert_int_equal(o.notes.count, 1);
    o = observe("python train_network.py --network_dim eight --config_file /no/such/file.toml");
    assert_int_equal(o.notes.count, 1);
    assert_non_null(strstr(o.notes.items[0], "/no/such/file.toml"));
    assert_string_equal(flag(o.given, "network_dim")->valuestring, "eight");
}

static void test_cmd_observe__any_command(void **state)
{
    lx_observed o = observe("my-trainer --lr=1e-4 --use-ema --sizes 1 2 3 --name x --output_dir o "
                            "--api-key abc positional");

    (void)state;
    assert_false(o.is_sd_scripts);
    assert_null(o.script);
    assert_true(flag(o.flags, "lr")->valuedouble == 1e-4);
    assert_true(cJSON_IsTrue(flag(o.flags, "use_ema")));
    assert_int_equal(cJSON_GetArraySize(flag(o.flags, "sizes")), 3);
    assert_string_equal(o.output_dir, "o");
    assert_null(strstr(o.flags, "abc"));
    o = observe("true");
    assert_string_equal(o.flags, "{}");
}

static void test_cmd_observe__packages(void **state)
{
    static const char *const folders[] = {"torch-2.1.0+cu118.dist-info", "safetensors-0.4.5.dist-info",
                                          "no_package", "x.dist-info"};
    char root[64] = "/tmp/lx-venv-XXXXXX", path[256];
    lx_str list = LX_STR_INIT;
    lx_error err = {0};

    (void)state;
    assert_non_null(mkdtemp(root));
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        snprintf(path, sizeof path, "%s/lib/python3.10/site-packages/%s", root, folders[i]);
        assert_int_equal(lx_make_dirs(path, &err), LX_OK);
    }
    snprintf(path, sizeof path, "%s/bin", root);
    assert_int_equal(lx_make_dirs(path, &err), LX_OK);
    snprintf(path, sizeof path, "%s/bin/python", root);
    assert_int_equal(symlink("/bin/sh", path), 0); /* as in an environment: a link to elsewhere */
    assert_int_equal(lx_observe_packages(&list, path, &err), LX_OK);
    assert_string_equal(lx_str_text(&list), "python==3.10\nsafetensors==0.4.5\ntorch==2.1.0+cu118\n");
    lx_str_clear(&list);
    assert_int_equal(lx_observe_packages(&list, "/no/such/program", &err), LX_OK);
    assert_int_equal(list.len, 0);
    lx_str_release(&list);
    snprintf(path, sizeof path, "rm -rf %s", root);
    assert_int_equal(system(path), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cmd_observe__launchers),
        cmocka_unit_test(test_cmd_observe__flags_of_sd_scripts),
        cmocka_unit_test(test_cmd_observe__no_seed),
        cmocka_unit_test(test_cmd_observe__lines_that_are_wrong),
        cmocka_unit_test(test_cmd_observe__any_command),
        cmocka_unit_test(test_cmd_observe__packages),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
