#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "src/format/safetensors.h"
#include "src/verify/training.h"

/* The facts of a file with these metadata (pairs, ended by NULL). */
static lx_training_facts facts_of(lx_arena *arena, const char *const *pairs)
{
    const float one = 1;
    const lx_tensor_view t = {"x", LX_F32, 1, {1}, 1, &one, sizeof one, NULL};
    lx_metadata_entry entries[16];
    char path[] = "/tmp/lx_training_XXXXXX";
    lx_training_facts facts;
    lx_tensor_file *file;
    size_t n = 0;
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    close(fd);
    for (; pairs[2 * n]; n++)
        entries[n] = (lx_metadata_entry){pairs[2 * n], pairs[2 * n + 1]};
    assert_int_equal(lx_safetensors_write(path, &t, 1, entries, n, NULL), 0);
    assert_int_equal(lx_tensor_file_open(&file, path, NULL), 0);
    assert_int_equal(lx_training_facts_of(&facts, file, arena, NULL), 0);
    lx_tensor_file_close(file);
    unlink(path);
    return facts;
}

static int open_arena(void **state)
{
    *state = lx_arena_new();
    return *state ? 0 : -1;
}

static int close_arena(void **state)
{
    lx_arena_free(*state);
    return 0;
}

static void test_training__kohyas_keys(void **state)
{
    static const char *const pairs[] = {"ss_resolution",
                                        "(512, 768)",
                                        "ss_enable_bucket",
                                        "True",
                                        "ss_min_bucket_reso",
                                        "256",
                                        "ss_clip_skip",
                                        "2",
                                        "ss_max_token_length",
                                        "225",
                                        "ss_min_snr_gamma",
                                        "5.0",
                                        "ss_zero_terminal_snr",
                                        "True",
                                        "modelspec.prediction_type",
                                        "v",
                                        "ss_steps",
                                        "120",
                                        "lx.caption_extension",
                                        ".txt",
                                        NULL};
    lx_training_facts f = facts_of(*state, pairs);

    assert_true(f.is_known && f.data.enable_bucket && f.v_parameterization &&
                f.zero_terminal_snr);
    assert_int_equal(f.data.width, 512);
    assert_int_equal(f.data.height, 768);
    assert_int_equal(f.data.min_bucket_reso, 256);
    assert_int_equal(f.clip_skip, 2);
    assert_int_equal(f.max_token_length, 225);
    assert_true(f.min_snr_gamma == 5 && f.steps == 120);
    assert_string_equal(f.caption_extension, ".txt");
}

static void test_training__datasets_of_a_config(void **state)
{
    static const char *const pairs[] = {
        "ss_datasets",
        "[{\"resolution\": [640, 448], \"enable_bucket\": true, \"shuffle_caption\": "
        "true}]",
        NULL};
    lx_training_facts f = facts_of(*state, pairs);

    assert_int_equal(f.data.width, 640);
    assert_int_equal(f.data.height, 448);
    assert_true(f.data.enable_bucket && f.shuffles_captions);
    assert_false(f.data.shuffle_caption); /* evaluated in the order of the file */
}

/* Nothing in a file is believed before it is checked. */
static void test_training__hostile_values_are_absent(void **state)
{
    static const char *const pairs[] = {"ss_resolution",
                                        "(1e99, -5)",
                                        "ss_clip_skip",
                                        "9999999999999999999999",
                                        "ss_max_token_length",
                                        "76",
                                        "ss_min_bucket_reso",
                                        "-1",
                                        "ss_datasets",
                                        "[[[[",
                                        "ss_min_snr_gamma",
                                        "nan",
                                        "ss_steps",
                                        "1e999",
                                        "ss_learning_rate",
                                        "fast",
                                        NULL};
    lx_training_facts f = facts_of(*state, pairs);

    assert_int_equal(f.data.width, 0);
    assert_int_equal(f.clip_skip, 0);
    assert_int_equal(f.max_token_length, 75);
    assert_true(f.data.min_bucket_reso > 0);
    assert_true(f.min_snr_gamma == 0 && f.steps == 0 && f.learning_rate == 0);
}

static void test_training__no_metadata(void **state)
{
    static const char *const none[] = {NULL};
    lx_training_facts f = facts_of(*state, none);

    assert_false(f.is_known);
    assert_int_equal(f.data.width, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_training__kohyas_keys),
        cmocka_unit_test(test_training__datasets_of_a_config),
        cmocka_unit_test(test_training__hostile_values_are_absent),
        cmocka_unit_test(test_training__no_metadata),
    };
    return cmocka_run_group_tests(tests, open_arena, close_arena);
}
