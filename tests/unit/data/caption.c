#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/base/file.h"
#include "src/base/json.h"
#include "src/data/caption.h"
#include "tests/support/golden.h"

static cJSON *load_cases(void)
{
    const char *path = lx_golden_need("data/captions/captions.json");
    lx_str text = LX_STR_INIT;
    lx_error err = {0};
    cJSON *tree = NULL;

    assert_int_equal(lx_file_read(&text, path, 64u << 20, &err), 0);
    assert_int_equal(lx_json_parse(&tree, text.data, text.len, &err), 0);
    lx_str_release(&text);
    return tree;
}

static lx_dataset_config options_of(const cJSON *options)
{
    lx_dataset_config c;

    lx_dataset_config_defaults(&c);
    c.caption_prefix = lx_json_text(options, "caption_prefix");
    c.caption_suffix = lx_json_text(options, "caption_suffix");
    if (lx_json_text(options, "caption_separator") != NULL)
        c.caption_separator = lx_json_text(options, "caption_separator");
    c.keep_tokens_separator = lx_json_text(options, "keep_tokens_separator");
    c.secondary_separator = lx_json_text(options, "secondary_separator");
    c.caption_dropout_rate = lx_json_number(options, "caption_dropout_rate", 0);
    c.caption_tag_dropout_rate = lx_json_number(options, "caption_tag_dropout_rate", 0);
    c.caption_dropout_every_n_epochs =
        (int)lx_json_number(options, "caption_dropout_every_n_epochs", 0);
    c.keep_tokens = (int)lx_json_number(options, "keep_tokens", 0);
    c.shuffle_caption = lx_json_bool(options, "shuffle_caption", false);
    c.enable_wildcard = lx_json_bool(options, "enable_wildcard", false);
    c.token_warmup_step = lx_json_number(options, "token_warmup_step", 0);
    c.token_warmup_min = (int)lx_json_number(options, "token_warmup_min", 1);
    return c;
}

static void test_data_caption__deterministic_cases_are_the_peers(void **state)
{
    cJSON *tree = load_cases();
    const cJSON *c;
    int n = 0;

    cJSON_ArrayForEach(c, cJSON_GetObjectItem(tree, "deterministic")) {
        lx_dataset_config config = options_of(cJSON_GetObjectItem(c, "options"));
        const cJSON *dataset = cJSON_GetObjectItem(c, "dataset");
        lx_caption_moment moment = {.epoch = (int)lx_json_number(dataset, "epoch", 1),
                                    .step = (int64_t)lx_json_number(dataset, "step", 0),
                                    .max_train_steps = (int64_t)lx_json_number(dataset, "steps", 0)};

        for (uint64_t seed = 0; seed < 5; seed++) { /* nothing random may show */
            lx_rng rng = lx_rng_stream(seed, LX_RNG_TEST, 0, 0);
            lx_str out = LX_STR_INIT;
            lx_error err = {0};
            assert_int_equal(lx_caption_process(&out, lx_json_text(c, "caption"), &config,
                                                &moment, &rng, &err),
                             0);
            if (strcmp(lx_str_text(&out), lx_json_text(c, "result")) != 0)
                fail_msg("%s: \"%s\", not \"%s\"", lx_json_text(c, "case"), lx_str_text(&out),
                         lx_json_text(c, "result"));
            lx_str_release(&out);
        }
        n++;
    }
    assert_true(n >= 55);
    cJSON_Delete(tree);
}

/* |observed - expected| within 4 sigma of two binomial samples (theirs and ours). */
static void check_share(const char *what, const char *key, double theirs, double ours, double n_their,
                        double n_our)
{
    double p = (theirs * n_their + ours * n_our) / (n_their + n_our);
    double sigma = sqrt(p * (1 - p) * (1 / n_their + 1 / n_our));

    if (fabs(theirs - ours) > 4 * sigma + 1e-4)
        fail_msg("%s: %s has share %.4f, the peer %.4f (sigma %.4f)", what, key, ours, theirs,
                 sigma);
}

static void put_count(cJSON *counts, const char *key)
{
    cJSON *item = cJSON_GetObjectItemCaseSensitive(counts, key);

    if (item == NULL)
        cJSON_AddNumberToObject(counts, key, 1);
    else
        cJSON_SetNumberValue(item, item->valuedouble + 1);
}

/* Shares of "tag@position", as the golden counts them: split at ',', stripped of spaces. */
static void count_positions(cJSON *counts, const char *caption)
{
    char copy[1024], key[1100], *rest = copy, *part;
    int at = 0;

    snprintf(copy, sizeof copy, "%s", caption);
    while ((part = strsep(&rest, ",")) != NULL) {
        part += strspn(part, " ");
        snprintf(key, sizeof key, "%s@%d", part, at);
        if (part[0] != '\0')
            put_count(counts, key);
        at++;
    }
}

static void check_random_case(const cJSON *c)
{
    enum { N = 20000 };
    const char *name = lx_json_text(c, "case");
    lx_dataset_config config = options_of(cJSON_GetObjectItem(c, "options"));
    const cJSON *counts = cJSON_GetObjectItem(c, "counts");
    const cJSON *positions = cJSON_GetObjectItem(c, "share_of_tag_at_position"), *item;
    double n_theirs = lx_json_number(c, "draws", 1);
    cJSON *mine = cJSON_CreateObject(), *my_positions = cJSON_CreateObject();
    /* The one warm-up case is drawn at a step that shows three of six parts. */
    lx_caption_moment moment = {.epoch = 1, .step = 4, .max_train_steps = 100};
    lx_str out = LX_STR_INIT;
    lx_error err = {0};

    for (int i = 0; i < N; i++) {
        lx_rng rng = lx_rng_stream(42, LX_RNG_CAPTION, 7, (uint64_t)i);
        assert_int_equal(lx_caption_process(&out, lx_json_text(c, "caption"), &config, &moment,
                                            &rng, &err),
                         0);
        if (counts != NULL)
            put_count(mine, lx_str_text(&out));
        count_positions(my_positions, lx_str_text(&out));
    }
    cJSON_ArrayForEach(item, counts)
        check_share(name, item->string, item->valuedouble / n_theirs,
                    lx_json_number(mine, item->string, 0) / N, n_theirs, N);
    if (counts != NULL)
        cJSON_ArrayForEach(item, mine) /* what never came out there must not here */
            if (cJSON_GetObjectItemCaseSensitive(counts, item->string) == NULL)
                fail_msg("%s: \"%s\" cannot happen", name, item->string);
    cJSON_ArrayForEach(item, positions)
        check_share(name, item->string, item->valuedouble,
                    lx_json_number(my_positions, item->string, 0) / N, n_theirs, N);
    lx_str_release(&out);
    cJSON_Delete(mine);
    cJSON_Delete(my_positions);
}

static void test_data_caption__random_cases_have_the_peers_law(void **state)
{
    cJSON *tree = load_cases();
    const cJSON *c;

    cJSON_ArrayForEach(c, cJSON_GetObjectItem(tree, "random"))
        check_random_case(c);
    cJSON_Delete(tree);
}

static void test_data_caption__same_stream_same_text(void **state)
{
    lx_dataset_config config;
    lx_caption_moment moment = {1, 0, 100};
    lx_str a = LX_STR_INIT, b = LX_STR_INIT;
    lx_error err = {0};

    lx_dataset_config_defaults(&config);
    config.shuffle_caption = config.enable_wildcard = true;
    config.caption_tag_dropout_rate = 0.3;
    for (uint64_t i = 0; i < 50; i++) {
        lx_rng first = lx_rng_stream(1, LX_RNG_CAPTION, 3, i), second = first;
        const char *text = "a, {b|c}, d\ne, f, g {h|i|j}, k";
        assert_int_equal(lx_caption_process(&a, text, &config, &moment, &first, &err), 0);
        assert_int_equal(lx_caption_process(&b, text, &config, &moment, &second, &err), 0);
        assert_string_equal(lx_str_text(&a), lx_str_text(&b));
    }
    lx_str_release(&a);
    lx_str_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_data_caption__deterministic_cases_are_the_peers),
        cmocka_unit_test(test_data_caption__random_cases_have_the_peers_law),
        cmocka_unit_test(test_data_caption__same_stream_same_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
