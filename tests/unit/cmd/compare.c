/* lx compare on runs made here: the same spec with different results, and what is paired.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "cmd/compare.h"
#include "src/base/alloc.h"

enum { N = 60 };

static char folder[64];
static lx_store *store;
static lx_cli cli;

static int set_up(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/lx-compare-XXXXXX");
    if (!mkdtemp(folder) || lx_store_open(&store, folder, false, NULL) < 0)
        return -1;
    cli = (lx_cli){.arena = lx_arena_new(),
                   .out = fopen("/dev/null", "w"),
                   .err = stderr,
                   .store_path = folder,
                   .is_quiet = true,
                   .columns = 80};
    return cli.arena && cli.out ? 0 : -1;
}

static int tear_down(void **state)
{
    char command[128];
    (void)state;
    lx_store_close(store);
    lx_arena_free(cli.arena);
    fclose(cli.out);
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

static const char *recorded = "{\"train_batch_size\":1}"; /* flags */

/* A training whose loss at step `odd` is not that of the others; 0 = none. */
static void record(const char *name, const char *spec, uint64_t seed, int odd,
                   const char *tensors)
{
    const lx_run_start start = {.name = name,
                                .kind = "train",
                                .spec = spec,
                                .seed = seed,
                                .has_seed = true,
                                .dataset = "{\"folders\":[],\"images\":0}",
                                .flags = recorded};
    lx_hash bytes = lx_sha256_of(name, strlen(name)), hash;
    lx_artifact lora = {.role = "lora",
                        .name = name,
                        .step = N,
                        .hash = &bytes,
                        .size = 1,
                        .tensor_hash = &hash};
    lx_error err = {0};
    lx_run *run;

    hash = lx_sha256_of(tensors, strlen(tensors));
    assert_int_equal(lx_run_begin(&run, store, &start, &err), 0);
    for (int i = 1; i <= N; i++)
        assert_int_equal(
            lx_run_log(run, "loss", i, 1.0 / i + (i == odd ? 1e-9 : 0), &err), 0);
    assert_int_equal(lx_run_attach(NULL, store, lx_run_seq(run), &lora, &err), 0);
    assert_int_equal(lx_run_end(run, "finished", NULL, &err), 0);
}

static lx_comparison *compare_all(const char **names, size_t n)
{
    const lx_words runs = {names, n};
    lx_comparison *c = lx_arena_calloc(cli.arena, 1, sizeof *c);
    lx_error err = {0};

    c->cli = &cli;
    c->store = store;
    c->share = 0.5;
    c->axis = "steps";
    if (lx_compare_read(c, &runs, &err) < 0 || lx_compare_show(c, true, &err) < 0 ||
        lx_compare_json(c, &err) < 0)
        fail_msg("%s", err.text);
    return c;
}

static lx_comparison *compare(const char *a, const char *b)
{
    const char *names[] = {a, b};

    return compare_all(names, 2);
}

static void test_cmd_compare__one_spec_must_give_one_result(void **state)
{
    const lx_comparison *c;

    (void)state;
    record("one", "{\"a\":1}", 1, 0, "t");
    record("same", "{\"a\":1}", 1, 0, "t");
    record("parted", "{\"a\":1}", 1, 17, "t");
    record("lora", "{\"a\":1}", 1, 0, "u");
    record("other", "{\"a\":2}", 2, 17, "u");
    c = compare("one", "same");
    assert_int_equal(c->findings.count, 0);
    assert_string_equal(c->notes.items[0],
                        "a and b have the same spec, the same losses and the same LoRA");
    c = compare("one", "parted");
    assert_string_equal(c->findings.items[0],
                        "a and b have the same spec, but their losses part at step 17");
    c = compare("one", "lora");
    assert_string_equal(c->findings.items[0],
                        "a and b have the same spec, but their LoRAs differ");
    c = compare("one", "other");
    assert_int_equal(c->findings.count + c->notes.count, 0);
}

static void test_cmd_compare__check_is_the_exit_status(void **state)
{
    const struct lx_option *o = lx_cmd_compare.options;
    char *words[] = {"--check", "one", "parted"};
    void *args = calloc(1, lx_cmd_compare.args_size);
    lx_error err = {0};

    (void)state;
    assert_int_equal(lx_options_parse(args, o, 3, words, cli.arena, &err), 0);
    assert_int_equal(lx_cmd_compare.run(&cli, args, &err), LX_ECHECK);
    assert_int_equal(lx_exit_status(LX_ECHECK), 1);
    free(args);
}

static void test_cmd_compare__pairs_only_what_shares_its_draws(void **state)
{
    (void)state;
    assert_true(compare("one", "parted")->pairs[1].loss.is_paired);
    assert_false(compare("one", "other")->pairs[1].loss.is_paired); /* another seed */
}

/* What changes which image comes, its noise or how its loss counts; what changes the network is no matter. */
static void test_cmd_compare__flags_that_part_draws(void **state)
{
    static const struct {
        const char *flags;
        bool is_paired;
    } cases[] = {
        {"{\"train_batch_size\":1,\"network_dim\":8}", true},
        {"{\"train_batch_size\":1,\"clip_skip\":2}", true},
        {"{\"train_batch_size\":1,\"validation_split\":0.1}", false},
        {"{\"train_batch_size\":1,\"validation_seed\":3}", false},
        {"{\"train_batch_size\":1,\"datasets\":\"[{\\\"dataset\\\":0}]\"}", false},
        {"{\"train_batch_size\":1,\"flip_aug\":true}", false},
        {"{\"train_batch_size\":1,\"random_crop\":true}", false},
        {"{\"train_batch_size\":1,\"color_aug\":true}", false},
        {"{\"train_batch_size\":1,\"face_crop_aug_range\":\"1,2\"}", false},
        {"{\"train_batch_size\":1,\"cache_latents\":true}", false},
        {"{\"train_batch_size\":1,\"noise_offset_random_strength\":true}", false},
        {"{\"train_batch_size\":1,\"adaptive_noise_scale\":0.1}", false},
        {"{\"train_batch_size\":1,\"ip_noise_gamma_random_strength\":true}", false},
        {"{\"train_batch_size\":1,\"zero_terminal_snr\":true}", false},
        {"{\"train_batch_size\":1,\"huber_c\":0.2}", false},
        {"{\"train_batch_size\":1,\"huber_schedule\":\"constant\"}", false},
        {"{\"train_batch_size\":1,\"v_pred_like_loss\":0.5}", false},
        {"{\"train_batch_size\":1,\"masked_loss\":true}", false},
        {"{\"train_batch_size\":1,\"alpha_mask\":true}", false}};
    const char *kept = recorded;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char name[32];
        snprintf(name, sizeof name, "draws %zu", i);
        recorded = cases[i].flags;
        record(name, "{\"a\":3}", 1, 17, "t");
        if (compare("one", name)->pairs[1].loss.is_paired != cases[i].is_paired)
            fail_msg("%s: %s", cases[i].flags, cases[i].is_paired ? "not paired" : "paired");
    }
    recorded = kept;
}

/* ---- what is asked of two is no matter of a third ------------------------------------- */

/* A run with four steps; epochs NULL = it does not say. */
static void record_flags(const char *name, const char *flags, const char *environment,
                         const double *epochs)
{
    const lx_run_start start = {.name = name,
                                .kind = "train",
                                .dataset = "{\"folders\":[],\"images\":0}",
                                .environment = environment,
                                .flags = flags};
    lx_error err = {0};
    lx_run *run;

    assert_int_equal(lx_run_begin(&run, store, &start, &err), 0);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(lx_run_log(run, "loss", i + 1, 4 - i, &err), 0);
        assert_int_equal(lx_run_log(run, "loss/validation", i + 1, 1.0 / (i + 1), &err),
                         0);
        if (epochs)
            assert_int_equal(lx_run_log(run, "epoch", i + 1, epochs[i], &err), 0);
    }
    assert_int_equal(lx_run_end(run, "finished", NULL, &err), 0);
}

static void test_cmd_compare__each_is_measured_with_the_first(void **state)
{
    const char *names[] = {"small", "small too", "large"}, *words;
    lx_comparison *c;

    (void)state;
    record_flags("small", "{\"resolution\":\"512\",\"seed\":1}", NULL, NULL);
    record_flags("small too", "{\"resolution\":\"512\",\"seed\":1}", NULL, NULL);
    record_flags("large", "{\"resolution\":\"768\",\"seed\":1}", NULL, NULL);
    c = compare_all(names, 3);
    assert_int_equal(lx_compare_validation_words(&words, c, 1, "b", NULL), 0);
    assert_string_equal(words, "a and b are equal at their best");
    assert_int_equal(lx_compare_validation_words(&words, c, 2, "c", NULL), 0);
    assert_non_null(strstr(words, "other images"));
}

static void test_cmd_compare__flags_that_part_validations(void **state)
{
    static const struct {
        const char *a, *b;
        bool is_same;
    } cases[] = {
        {"\"train_batch_size\":1", "\"train_batch_size\":2", true},
        {"\"train_batch_size\":1,\"max_validation_steps\":null",
         "\"train_batch_size\":2,\"max_validation_steps\":null", true},
        {"\"train_batch_size\":1,\"max_validation_steps\":4",
         "\"train_batch_size\":2,\"max_validation_steps\":4", false},
        {"\"network_dim\":4", "\"network_dim\":8", true},
        {"\"v_parameterization\":false", "\"v_parameterization\":true", false},
        {"\"zero_terminal_snr\":false", "\"zero_terminal_snr\":true", false},
        {"\"clip_skip\":1", "\"clip_skip\":2", false},
        {"\"max_token_length\":75", "\"max_token_length\":150", false},
        {"\"enable_bucket\":false", "\"enable_bucket\":true", false},
        {"\"caption_prefix\":\"a\"", "\"caption_prefix\":\"b\"", false},
        {"\"datasets\":\"[1]\"", "\"datasets\":\"[2]\"", false}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char names[2][32], flags[2][256];
        const char *words;
        for (int k = 0; k < 2; k++) {
            snprintf(names[k], sizeof names[k], "measure %zu %d", i, k);
            snprintf(flags[k], sizeof flags[k], "{\"seed\":1,%s}", k ? cases[i].b : cases[i].a);
            record_flags(names[k], flags[k], NULL, NULL);
        }
        assert_int_equal(lx_compare_validation_words(&words, compare(names[0], names[1]), 1, "b", NULL), 0);
        if ((strstr(words, "equal at their best") != NULL) != cases[i].is_same)
            fail_msg("%s and %s: %s", cases[i].a, cases[i].b, words);
    }
}

static void test_cmd_compare__texts_that_look_like_numbers(void **state)
{
    const lx_comparison *c;

    (void)state;
    record_flags("v1.10", "{\"output_name\":\"1.10\",\"learning_rate\":0.0001}",
                 "{\"versions\":{\"torch\":\"2.10\"}}", NULL);
    record_flags("v1.1", "{\"output_name\":\"1.1\",\"learning_rate\":\"1e-4\"}",
                 "{\"versions\":{\"torch\":\"2.1\"}}", NULL);
    c = compare("v1.10", "v1.1");
    assert_int_equal(c->flags.count, 0);
    assert_int_equal(c->places.count, 1);
    assert_string_equal(c->places.items[0].texts[0], "1.10");
    assert_int_equal(c->environment.count, 1);
    assert_string_equal(c->environment.items[0].texts[1], "2.1");
}

/* The loss falls from 4 to 1. */
static void test_cmd_compare__epochs_are_counted_from_one(void **state)
{
    static const struct {
        double epochs[4], means[4];
        size_t n;
    } cases[] = {{{1, 1, 2, 2}, {3.5, 1.5}, 2},
                 {{0, 0, 1, 1}, {3.5, 1.5}, 2},
                 {{0, 1, 2, 3}, {4, 3, 2, 1}, 4},
                 {{0.5, 1, 1.5, 2}, {3.5, 1.5}, 2},
                 {{0, 0.5, 1, 1.5}, {3, 1}, 2}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char name[] = "epochs 0";
        const lx_comparison *c;
        name[7] = (char)('0' + i);
        record_flags(name, "{}", NULL, cases[i].epochs);
        c = compare(name, name);
        assert_int_equal(c->runs[0].n_epochs, cases[i].n);
        assert_int_equal(c->runs[0].best_epoch, cases[i].n);
        for (size_t k = 0; k < cases[i].n; k++)
            assert_true(c->runs[0].epoch_means[k] == cases[i].means[k]);
        assert_true(c->runs[0].epoch_axis[0] >= 0 && c->runs[0].epoch_axis[3] <= 4);
    }
}

/* Wherever memory runs out, the command ends; what it printed until then is nobody's
 * harm. */
static void test_cmd_compare__lives_through_want_of_memory(void **state)
{
    static const lx_command *const commands[] = {&lx_cmd_compare, &lx_cmd_runs,
                                                 &lx_cmd_show, &lx_cmd_compare};
    static char page[96];
    static char *words[][6] = {{"one", "parted"},
                               {"--sort", "-seed,loss", "loss > 0"},
                               {"one"},
                               {"-o", page, "one", "parted", "lora", "other"}};
    static const int n_words[] = {2, 3, 1, 6};
    lx_arena *kept = cli.arena;

    (void)state;
    snprintf(page, sizeof page, "%s/page.html", folder);
    for (size_t k = 0; k < 4; k++)
        for (size_t n = 1;; n += 1 + n / 16) {
            lx_error err = {0};
            void *args = calloc(1, commands[k]->args_size);
            int rc;
            cli.arena = lx_arena_new();
            assert_int_equal(lx_options_parse(args, commands[k]->options, n_words[k],
                                              words[k], cli.arena, &err),
                             0);
            lx_alloc_fail_at(n, true);
            rc = commands[k]->run(&cli, args, &err);
            lx_alloc_fail_at(0, false);
            lx_arena_free(cli.arena);
            free(args);
            if (rc == LX_OK && n > 5000)
                break;
            if (rc != LX_OK && rc != LX_ENOMEM)
                fail_msg("%s, allocation %zu: %d %s", commands[k]->name, n, rc, err.text);
        }
    cli.arena = kept;
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cmd_compare__one_spec_must_give_one_result),
        cmocka_unit_test(test_cmd_compare__check_is_the_exit_status),
        cmocka_unit_test(test_cmd_compare__pairs_only_what_shares_its_draws),
        cmocka_unit_test(test_cmd_compare__flags_that_part_draws),
        cmocka_unit_test(test_cmd_compare__each_is_measured_with_the_first),
        cmocka_unit_test(test_cmd_compare__flags_that_part_validations),
        cmocka_unit_test(test_cmd_compare__texts_that_look_like_numbers),
        cmocka_unit_test(test_cmd_compare__epochs_are_counted_from_one),
        cmocka_unit_test(test_cmd_compare__lives_through_want_of_memory),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
