/* Textual inversions: which words are one, and that their vectors stand where the ids say. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/format/safetensors.h"
#include "src/sample/pipeline.h"
#include "tests/support/model.h"
#include "tests/support/synth.h"

enum { WIDTH = 40 };

static const char folder[] = "embeddings.test/deep";
static const char *const circles[] = {"embeddings.test/a", "embeddings.test/b",
                                      "embeddings.test/c", "embeddings.test/d",
                                      "embeddings.test/e", "embeddings.test/f"};

static void write_as(const char *path, const char *name, const float *x, int64_t n,
                     int64_t width)
{
    const lx_tensor_view view = {.name = name,
                                 .dtype = LX_F32,
                                 .n_dims = 2,
                                 .shape = {n, width},
                                 .n_elements = (size_t)(n * width),
                                 .data = x,
                                 .bytes = (size_t)(n * width) * sizeof *x};
    lx_error err = {0};

    lx_assert_ok(lx_make_dirs(folder, &err), &err);
    lx_assert_ok(lx_safetensors_write(path, &view, 1, NULL, 0, &err), &err);
}

static void test_sample_embedding__words(void **state)
{
    static const struct {
        const char *text;
        int want; /* which word, -1: none */
        size_t start, bytes;
    } cases[] = {
        {"a cat", -1, 0, 0},
        {"a badhand", 0, 2, 7},
        {"a BadHand, b", 0, 2, 7},
        {"a (badhand:1.2)", 0, 3, 7},
        {"a embedding:badhand", 0, 2, 17},
        {"badhands", -1, 0, 0},
        {"xbadhand", -1, 0, 0},
        {"badhand_", -1, 0, 0},
        {"a badhand-v2 b", 1, 2, 10},
        {"a badhand-v b", 0, 2, 7},
        {"embedding:cat", -1, 0, 0},
        {"", -1, 0, 0},
    };
    lx_embeddings words = {.items = {{.name = "badhand"}, {.name = "badhand-v2"}},
                           .count = 2};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t start = 0, bytes = 0;
        const lx_embedding *e = lx_embeddings_next(&start, &bytes, &words, cases[i].text,
                                                   strlen(cases[i].text));
        if (e != (cases[i].want < 0 ? NULL : &words.items[cases[i].want]) ||
            (e && (start != cases[i].start || bytes != cases[i].bytes)))
            fail_msg("\"%s\": %s at %zu, %zu bytes", cases[i].text, e ? e->name : "none",
                     start, bytes);
        assert_int_equal(cases[i].want == 0,
                         lx_embedding_is_in(&words.items[0], cases[i].text) &&
                             cases[i].want != 1);
    }
    assert_null(lx_embeddings_next(&(size_t){0}, &(size_t){0}, NULL, "badhand", 7));
}

/* The context of a text, as the pipeline gives it. */
static float *context_of(lx_pipeline *pipeline, const lx_tokenizer *tokenizer,
                         const lx_embeddings *words, const char *text, int *n_tokens)
{
    lx_arena *arena = lx_arena_new();
    lx_prompt_chunks chunks;
    lx_error err = {0};
    float *out;

    lx_assert_ok(lx_prompt_chunk(&chunks, arena, tokenizer, words, text, false, &err),
                 &err);
    lx_assert_ok(lx_pipeline_encode(&out, n_tokens, pipeline, &chunks, 0, 1,
                                    LX_EMPHASIS_WEB_UI, &err),
                 &err);
    lx_arena_free(arena);
    return out;
}

/* A word with the vectors of "cat dog" is read as these, to the bit. */
static void test_sample_embedding__vectors_of_words(void **state)
{
    static const char *const texts[][2] = {{"a (cat dog:1.3), b", "a (word:1.3), b"},
                                           {"a cat dog, b", "a embedding:WORD, b"}};
    lx_arena *arena = lx_arena_new();
    lx_embeddings words = {.count = 0};
    lx_model_fixture f;
    lx_pipeline *pipeline;
    lx_tokenizer *tokenizer;
    lx_error err = {0};
    float rows[2 * WIDTH], *table;
    const lx_tensor_view *view;

    (void)state;
    lx_model_fixture_open(&f, lx_synth_checkpoint("tiny"), 4);
    assert_int_equal(f.config.text_width, WIDTH);
    view = lx_checkpoint_find_weight(f.checkpoint, LX_TEXT_ENCODER,
                                     "text_model.embeddings.token_embedding");
    table = lx_alloc(view->n_elements * sizeof *table);
    assert_int_equal(lx_to_f32(table, view->data, view->dtype, view->n_elements), LX_OK);
    memcpy(rows, table + 2368 * WIDTH, WIDTH * sizeof *rows);         /* cat */
    memcpy(rows + WIDTH, table + 1929 * WIDTH, WIDTH * sizeof *rows); /* dog */
    lx_free(table);
    write_as("embeddings.test/deep/Word.safetensors", "emb_params", rows, 2, WIDTH);
    write_as("embeddings.test/unused.safetensors", "emb_params", rows, 2, WIDTH);
    lx_assert_ok(lx_embeddings_find(&words, arena, texts[0][1], "embeddings.test", &err),
                 &err);
    lx_assert_ok(lx_embeddings_find(&words, arena, texts[1][1], "embeddings.test", &err),
                 &err);
    assert_int_equal(words.count, 1);
    lx_assert_ok(lx_embeddings_load(&words, f.checkpoint, &f.config, &err), &err);
    assert_int_equal(words.items[0].first, 49408);
    assert_int_equal(words.items[0].n, 2);
    assert_int_equal(strlen(words.items[0].hash), 12);
    lx_assert_ok(lx_pipeline_new(&pipeline, f.dev, f.checkpoint, &f.config, &err), &err);
    lx_assert_ok(lx_tokenizer_new(&tokenizer, &err), &err);
    for (size_t i = 0; i < 2; i++) {
        int n_a, n_b;
        float *a = context_of(pipeline, tokenizer, &words, texts[i][0], &n_a);
        float *b = context_of(pipeline, tokenizer, &words, texts[i][1], &n_b);
        assert_int_equal(n_a, n_b);
        assert_memory_equal(a, b, (size_t)n_a * WIDTH * sizeof *a);
        lx_free(a);
        lx_free(b);
    }
    lx_tokenizer_free(tokenizer);
    lx_pipeline_free(pipeline);
    lx_model_fixture_close(&f);
    lx_arena_free(arena);
}

/* What does not fit into a chunk begins the next. */
static void test_sample_embedding__stays_in_one_chunk(void **state)
{
    const lx_embeddings words = {.items = {{.name = "long", .first = 50000, .n = 75}},
                                 .count = 1};
    lx_arena *arena = lx_arena_new();
    lx_prompt_chunks chunks;
    lx_tokenizer *tokenizer;
    lx_error err = {0};

    (void)state;
    lx_assert_ok(lx_tokenizer_new(&tokenizer, &err), &err);
    lx_assert_ok(
        lx_prompt_chunk(&chunks, arena, tokenizer, &words, "cat long dog", false, &err),
        &err);
    assert_int_equal(chunks.n, 3);
    assert_int_equal(chunks.ids[1], 2368);
    assert_int_equal(chunks.ids[2], LX_TOKEN_EOS);
    assert_int_equal(chunks.ids[77 + 1], 50000);
    assert_int_equal(chunks.ids[77 + 75], 50074);
    assert_int_equal(chunks.ids[154 + 1], 1929);
    lx_tokenizer_free(tokenizer);
    lx_arena_free(arena);
}

/* Six links that lead to where they are would make a million folders. */
static void test_sample_embedding__links_in_circles(void **state)
{
    static const float x[WIDTH];
    lx_arena *arena = lx_arena_new();
    lx_embeddings words = {.count = 0};
    lx_error err = {0};

    (void)state;
    write_as("embeddings.test/deep/good.safetensors", "emb_params", x, 1, WIDTH);
    for (size_t i = 0; i < sizeof circles / sizeof *circles; i++)
        assert_int_equal(symlink(".", circles[i]), 0);
    lx_assert_ok(lx_embeddings_find(&words, arena, "good", "embeddings.test", &err), &err);
    assert_int_equal(words.count, 1);
    assert_string_equal(words.items[0].name, "good");
    lx_arena_free(arena);
}

static void check_refused(const lx_model_fixture *f, int want, const char *sentence,
                          int64_t n, int64_t width, float value)
{
    static float x[80 * 64];
    lx_arena *arena = lx_arena_new();
    lx_embeddings words = {.count = 0};
    lx_error err = {0};

    for (size_t i = 0; i < sizeof x / sizeof *x; i++)
        x[i] = value;
    write_as("embeddings.test/deep/bad.safetensors", "emb_params", x, n, width);
    lx_assert_ok(
        lx_embeddings_find(&words, arena, "embedding:bad", "embeddings.test", &err),
        &err);
    assert_int_equal(lx_embeddings_load(&words, f->checkpoint, &f->config, &err), want);
    if (!strstr(err.text, sentence))
        fail_msg("\"%s\" does not say \"%s\"", err.text, sentence);
    lx_arena_free(arena);
}

static void test_sample_embedding__refused(void **state)
{
    static const char *const texts[] = {"embedding:", "embedding:../bad",
                                        "a embedding:none"};
    static const int want[] = {LX_EFORMAT, LX_EFORMAT, LX_ENOTFOUND};
    lx_arena *arena = lx_arena_new();
    lx_embeddings words = {.count = 0};
    lx_model_fixture f;

    (void)state;
    lx_model_fixture_open(&f, lx_synth_checkpoint("tiny"), 4);
    check_refused(&f, LX_EMISMATCH, "vectors of 64 values", 1, 64, 0);
    check_refused(&f, LX_ELIMIT, "80 vectors", 80, WIDTH, 0);
    check_refused(&f, LX_EFORMAT, "no numbers", 1, WIDTH, NAN);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(
            lx_embeddings_find(&words, arena, texts[i], "embeddings.test", NULL),
            want[i]);
    assert_int_equal(lx_embeddings_find(&words, arena, "a", "embeddings.none", NULL),
                     LX_ENOTFOUND);
    lx_model_fixture_close(&f);
    lx_arena_free(arena);
}

static int remove_files(void **state)
{
    (void)state;
    remove("embeddings.test/deep/Word.safetensors");
    remove("embeddings.test/deep/bad.safetensors");
    remove("embeddings.test/deep/good.safetensors");
    remove("embeddings.test/unused.safetensors");
    for (size_t i = 0; i < sizeof circles / sizeof *circles; i++)
        unlink(circles[i]);
    rmdir(folder);
    return rmdir("embeddings.test");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sample_embedding__words),
        cmocka_unit_test(test_sample_embedding__vectors_of_words),
        cmocka_unit_test(test_sample_embedding__stays_in_one_chunk),
        cmocka_unit_test(test_sample_embedding__links_in_circles),
        cmocka_unit_test(test_sample_embedding__refused),
    };

    return cmocka_run_group_tests(tests, NULL, remove_files);
}
