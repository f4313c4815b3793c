#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "cmd/train_flag.h"

static lx_arena *arena;
static lx_cli cli;
static lx_train_config config;
static lx_train_flags facts;
static lx_error err;

static int setup(void **state)
{
    arena = lx_arena_new();
    if (!arena)
        return -1;
    lx_cli_init(&cli, arena, stdout, stderr);
    return 0;
}

static int teardown(void **state)
{
    lx_arena_free(arena);
    return 0;
}

/* Words are split at spaces: none of these tests has one inside a value. */
static int parse(const char *line)
{
    char *copy = lx_arena_strdup(arena, line), *words[64];
    int argc = 0;

    for (char *word = strtok(copy, " "); word; word = strtok(NULL, " "))
        words[argc++] = word;
    memset(&err, 0, sizeof err);
    return lx_train_flags_parse(&config, &facts, &cli, argc, words, &err);
}

static void test_train_flags__the_table_has_every_flag_of_the_peer(void **state)
{
    int own = 0;

    for (int i = 0; i < LX_FLAG_COUNT; i++) {
        own += lx_flag_table[i].action == LX_ACTION_OWN;
        assert_string_equal(lx_flag_table[i].name, lx_train_options[i].name);
    }
    assert_int_equal(LX_FLAG_COUNT - own, 193);
}

static bool same_default(const lx_flag *flag, const lx_flag_value *v, const void *member)
{
    switch (flag->type) {
    case LX_TYPE_FLAG:
        return *(const bool *)member == false;
    case LX_TYPE_INT:
        return *(const int *)member == (int)v->whole;
    case LX_TYPE_NUMBER:
    case LX_TYPE_SHARE:
        return *(const double *)member == v->number;
    default: /* "" and none are the same for a text */
        return strcmp(*(const char *const *)member ? *(const char *const *)member : "",
                      v->text) == 0;
    }
}

static void
test_train_flags__defaults_of_the_table_and_the_configuration_agree(void **state)
{
    static const lx_flag_words none;
    lx_flag_value v;

    lx_train_config_defaults(&config);
    for (int i = 0; i < LX_FLAG_COUNT; i++) {
        const lx_flag *flag = &lx_flag_table[i];
        assert_int_equal(lx_flag_read(&v, flag, &none, arena, &err), 0);
        if (flag->action != LX_ACTION_USE || v.is_null)
            continue;
        if (!same_default(flag, &v, (const char *)&config + flag->member))
            fail_msg("%s: the table says %s", flag->name, flag->otherwise);
    }
}

static void test_train_flags__values_reach_the_configuration(void **state)
{
    assert_int_equal(
        parse("--resolution 448,640 --train_batch_size 3 --network_dim 8 "
              "--network_alpha 4 --learning_rate 1e-4 --text_encoder_lr 5e-5 "
              "--lr_warmup_steps 10% --caption_extension txt --seed 7 "
              "--network_args conv_dim=2 conv_alpha=0.5 --save_precision bf16 "
              "--optimizer_args betas=(0.8,0.95) weight_decay=0.1 --max_memory 2G "
              "--lr_scheduler cosine --min_snr_gamma 5 --loss_type huber"),
        0);
    assert_int_equal(config.data.width, 448);
    assert_int_equal(config.data.height, 640);
    assert_int_equal(config.data.batch_size, 3);
    assert_int_equal(config.network.rank, 8);
    assert_true(config.network.alpha == 4 && config.network_alpha_given);
    assert_int_equal(config.network.conv_rank, 2);
    assert_true(config.network.conv_alpha == 0.5);
    assert_string_equal(config.network_args,
                        "{\"conv_dim\": \"2\", \"conv_alpha\": \"0.5\", \"dropout\": null}");
    assert_true(config.unet_lr == 1e-4 && !config.unet_lr_given);
    assert_true(config.text_encoder_lr == 5e-5 && config.text_encoder_lr_given);
    assert_true(config.lr_warmup_steps == 0.1);
    assert_string_equal(config.data.caption_extension, ".txt");
    assert_true(config.data.caption_extension_given);
    assert_true(config.seed == 7 && config.seed_given);
    assert_int_equal(config.save_dtype, LX_BF16);
    assert_true(config.optimizer.betas[0] == 0.8 && config.optimizer.betas[1] == 0.95 &&
                config.optimizer.weight_decay == 0.1);
    assert_string_equal(config.optimizer_args, "betas=(0.8, 0.95),weight_decay=0.1");
    assert_int_equal(config.max_memory, (size_t)2 << 30);
    assert_int_equal(config.lr_scheduler, LX_LR_COSINE);
    assert_true(config.min_snr_gamma == 5);
    assert_int_equal(config.loss_type, LX_LOSS_HUBER);
}

static void test_train_flags__a_square_needs_one_number(void **state)
{
    assert_int_equal(parse("--resolution 640"), 0);
    assert_int_equal(config.data.width, 640);
    assert_int_equal(config.data.height, 640);
    assert_int_equal(parse("--resolution 640,512,3"), LX_EUSAGE);
    assert_int_equal(parse("--resolution ,512"), LX_EUSAGE);
    assert_int_equal(parse("--resolution 512,"), LX_EUSAGE);
    assert_int_equal(parse("--resolution 0"), LX_EUSAGE);
}

static void test_train_flags__the_misspelled_extension_wins(void **state)
{
    assert_int_equal(parse("--caption_extention .txt --caption_extension .cap"), 0);
    assert_string_equal(config.data.caption_extension, ".txt");
    assert_int_equal(parse(""), 0);
    assert_string_equal(config.data.caption_extension, ".caption");
    assert_false(config.data.caption_extension_given);
}

static void test_train_flags__the_last_of_two_counts(void **state)
{
    assert_int_equal(parse("--network_dim 8 --network-dim=16"), 0);
    assert_int_equal(config.network.rank, 16);
}

static void test_train_flags__a_seed_is_drawn_and_recorded(void **state)
{
    char text[64];

    assert_int_equal(parse(""), 0);
    assert_false(config.seed_given);
    assert_true(config.seed <= UINT32_MAX);
    snprintf(text, sizeof text, "\"seed\":%llu,", (unsigned long long)config.seed);
    assert_non_null(strstr(facts.resolved, text));
    assert_null(strstr(facts.given, "seed"));
}

static void test_train_flags__maps_take_whole_components_and_the_longest(void **state)
{
    assert_int_equal(parse("--path-map C:\\=/c --path-map c:/sd=/sd "
                           "--train_data_dir C:\\SD\\img --output_dir C:\\sdx\\o "
                           "--vae=models\\v.pt --reg_data_dir /content/reg "
                           "--path-map /content=/here"),
                     0);
    assert_string_equal(config.data.train_data_dir, "/sd/img");
    assert_string_equal(config.output_dir, "/c/sdx/o");
    assert_string_equal(config.vae, "models/v.pt");
    assert_string_equal(config.data.reg_data_dir, "/here/reg");
}

static void test_train_flags__a_pasted_line_is_the_flags_in_it(void **state)
{
    assert_int_equal(
        parse("--threads 2 accelerate launch --num_cpu_threads_per_process 8 "
              "C:\\sd\\train_network.py --network_dim 8 --seed 1 ^ --clip_skip 2"),
        0);
    assert_int_equal(config.network.rank, 8);
    assert_int_equal(config.threads, 2);
    assert_int_equal(config.clip_skip, 2);
    assert_string_equal(facts.command_line,
                        "lx train --network_dim=8 --clip_skip=2 --seed=1 --threads=2");
}

static void test_train_flags__what_a_training_needs_is_named(void **state)
{
    assert_int_equal(parse("--seed 1"), 0);
    assert_int_equal(lx_train_flags_require(&config, &err), LX_EUSAGE);
    assert_non_null(strstr(err.text, "--pretrained_model_name_or_path"));
    assert_int_equal(
        parse("--pretrained_model_name_or_path b --train_data_dir d --resolution 512 "
              "--output_dir o"),
        0);
    assert_int_equal(lx_train_flags_require(&config, &err), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_train_flags__the_table_has_every_flag_of_the_peer),
        cmocka_unit_test(
            test_train_flags__defaults_of_the_table_and_the_configuration_agree),
        cmocka_unit_test(test_train_flags__values_reach_the_configuration),
        cmocka_unit_test(test_train_flags__a_square_needs_one_number),
        cmocka_unit_test(test_train_flags__the_misspelled_extension_wins),
        cmocka_unit_test(test_train_flags__the_last_of_two_counts),
        cmocka_unit_test(test_train_flags__a_seed_is_drawn_and_recorded),
        cmocka_unit_test(test_train_flags__maps_take_whole_components_and_the_longest),
        cmocka_unit_test(test_train_flags__a_pasted_line_is_the_flags_in_it),
        cmocka_unit_test(test_train_flags__what_a_training_needs_is_named),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
