#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/base/alloc.h"
#include "src/base/file.h"
#include "src/base/json.h"
#include "src/base/rng.h"
#include "src/base/str.h"
#include "src/text/tokenizer.h"
#include "tests/support/golden.h"

static lx_tokenizer *tokenizer;

static int set_up(void **state)
{
    lx_error err;
    return lx_tokenizer_new(&tokenizer, &err);
}

static int tear_down(void **state)
{
    lx_tokenizer_free(tokenizer);
    return 0;
}

static void check_ids(const cJSON *want, const int64_t *got, size_t n, const char *text)
{
    const cJSON *id;
    size_t i = 0;

    if ((size_t)cJSON_GetArraySize(want) != n)
        fail_msg("%s: %zu ids, not %d", text, n, cJSON_GetArraySize(want));
    cJSON_ArrayForEach(id, want)
    {
        if (got[i] != (int64_t)id->valuedouble)
            fail_msg("%s: id %zu is %lld, not %lld", text, i, (long long)got[i],
                     (long long)id->valuedouble);
        i++;
    }
}

/* A caption of the goldens has a NUL, which lx_json_parse refuses: it travels as U+E000. */
static cJSON *read_captions(void)
{
    lx_str file = LX_STR_INIT;
    cJSON *golden = NULL;
    lx_error err;

    assert_int_equal(lx_file_read(&file, lx_golden_need("text/captions.json"), 1 << 24, &err), 0);
    for (char *at = file.data; (at = strstr(at, "\\u0000"));)
        memcpy(at, "\\ue000", 6);
    assert_int_equal(lx_json_parse(&golden, file.data, file.len, &err), 0);
    lx_str_release(&file);
    return golden;
}

static char *caption(size_t *n, const cJSON *row)
{
    char *text = strdup(cJSON_GetObjectItem(row, "text")->valuestring), *at = text;

    *n = strlen(text);
    while ((at = strstr(at, "\xEE\x80\x80"))) {
        memmove(at + 1, at + 3, strlen(at + 3) + 1);
        *at++ = '\0';
        *n -= 2;
    }
    return text;
}

static void check_chunks(const cJSON *row, const char *key, int length)
{
    size_t n_text;
    char *text = caption(&n_text, row);
    const cJSON *chunks = cJSON_GetObjectItem(row, key);
    int64_t got[3 * LX_CHUNK];
    size_t cut;
    lx_error err;

    assert_non_null(chunks);
    assert_int_equal(
        lx_tokenize_chunks(got, &cut, tokenizer, text, n_text, length, &err), 0);
    assert_int_equal(cJSON_GetArraySize(chunks), length / 75);
    for (int c = 0; c < length / 75; c++)
        check_ids(cJSON_GetArrayItem(chunks, c), got + c * LX_CHUNK, LX_CHUNK, text);
    free(text);
}

static void test_text_tokenizer__captions_are_those_of_the_peer(void **state)
{
    cJSON *golden = read_captions();
    const cJSON *row;

    cJSON_ArrayForEach(row, cJSON_GetObjectItem(golden, "captions"))
    {
        int32_t *ids;
        int64_t *whole;
        size_t n, n_text;
        char *text = caption(&n_text, row);
        lx_error err;

        assert_int_equal(lx_tokenize(&ids, &n, tokenizer, text, n_text, &err), 0);
        whole = malloc((n + 2) * sizeof(*whole));
        whole[0] = LX_TOKEN_BOS;
        for (size_t i = 0; i < n; i++)
            whole[i + 1] = ids[i];
        whole[n + 1] = LX_TOKEN_EOS;
        check_ids(cJSON_GetObjectItem(row, "ids"), whole, n + 2, text);
        free(whole);
        free(text);
        lx_free(ids);
        check_chunks(row, "chunks75", 75);
        check_chunks(row, "chunks150", 150);
        check_chunks(row, "chunks225", 225);
    }
    cJSON_Delete(golden);
}

static void test_text_tokenizer__vocabulary_is_clips(void **state)
{
    const char *path = lx_golden_need("tokenizer/openai_clip-vit-large-patch14/vocab.json");
    cJSON *vocabulary = lx_golden_json("tokenizer/openai_clip-vit-large-patch14/vocab.json");
    const cJSON *entry;
    int n = 0;

    assert_non_null(path);
    cJSON_ArrayForEach(entry, vocabulary)
    {
        assert_string_equal(lx_token_text(tokenizer, (int32_t)entry->valuedouble), entry->string);
        n++;
    }
    assert_int_equal(n, 49408);
    assert_null(lx_token_text(tokenizer, -1));
    assert_null(lx_token_text(tokenizer, 49408));
    cJSON_Delete(vocabulary);
}

static void check_text(const char *text, const int32_t *want, size_t n_want)
{
    int32_t *ids;
    size_t n;
    lx_error err;

    assert_int_equal(lx_tokenize(&ids, &n, tokenizer, text, strlen(text), &err), 0);
    assert_int_equal(n, n_want);
    assert_memory_equal(ids, want, n * sizeof(*ids));
    lx_free(ids);
}

/* Values from transformers 4.54.1 and ftfy 6.1.1. */
static void test_text_tokenizer__repairs_before_it_cuts(void **state)
{
    const int32_t cat[] = {320, 2368};
    check_text("a cat", cat, 2);
    check_text("A  CAT\n", cat, 2);
    check_text("\xEF\xBD\x81\xE3\x80\x80\xEF\xBD\x83\xEF\xBD\x81\xEF\xBD\x94", cat, 2);
    check_text("a&nbsp;cat", cat, 2);
    check_text("\x1b[31ma\x1b[0m cat\x07", cat, 2);
    check_text("", NULL, 0);
    check_text(" \t\n", NULL, 0);
}

static void test_text_tokenizer__special_tokens_are_themselves(void **state)
{
    const int32_t want[] = {320, LX_TOKEN_EOS, 2368, LX_TOKEN_BOS};
    check_text("a<|endoftext|>cat<|STARTofText|>", want, 4);
}

static void test_text_tokenizer__bytes_that_are_no_utf8_are_refused(void **state)
{
    int32_t *ids;
    size_t n;
    lx_error err;

    assert_int_equal(lx_tokenize(&ids, &n, tokenizer, "a \x82\xA0", 4, &err), LX_EFORMAT);
    assert_non_null(strstr(err.text, "byte 2"));
    assert_int_equal(
        lx_tokenize_chunks(NULL, NULL, tokenizer, "a", 1, 100, &err), LX_EUSAGE);
}

static void test_text_tokenizer__long_words_take_no_quadratic_time(void **state)
{
    size_t n, bytes = 200000;
    char *text = malloc(bytes);
    int32_t *ids;
    lx_error err;

    memset(text, 'a', bytes);
    assert_int_equal(lx_tokenize(&ids, &n, tokenizer, text, bytes, &err), 0);
    assert_true(n > 1000 && n < bytes);
    lx_free(ids);
    free(text);
}

static void test_text_tokenizer__any_text_is_safe(void **state)
{
    const uint64_t seed = 7;
    lx_rng rng = lx_rng_stream(seed, LX_RNG_TEST, 0, 0);

    for (int round = 0; round < 300; round++) {
        lx_str text = LX_STR_INIT;
        int32_t *ids;
        size_t n;
        lx_error err;
        for (int i = 0; i < 40; i++) {
            uint32_t c = (uint32_t)lx_rng_below(&rng, i % 3 ? 0x180 : 0x110000);
            if (c < 0xD800 || c >= 0xE000)
                lx_str_put_utf8(&text, c);
        }
        assert_int_equal(lx_tokenize(&ids, &n, tokenizer, text.data, text.len, &err), 0);
        for (size_t i = 0; i < n; i++)
            assert_non_null(lx_token_text(tokenizer, ids[i]));
        lx_free(ids);
        lx_str_release(&text);
    }
}

static void test_text_tokenizer__every_failed_allocation_is_an_error(void **state)
{
    static const char text[] = "sch\xC3\x83\xC2\xB6n &amp; 1girl, \xEF\xAC\x81ne e\xCC\x81";
    int32_t *ids;
    size_t n, failures = 0;
    lx_error err;
    int rc;

    for (size_t at = 1;; at++) {
        lx_alloc_fail_at(at, false);
        rc = lx_tokenize(&ids, &n, tokenizer, text, sizeof(text) - 1, &err);
        lx_alloc_fail_at(0, false);
        if (rc == 0)
            break;
        assert_int_equal(rc, LX_ENOMEM);
        assert_null(ids);
        failures++;
    }
    assert_true(failures > 5);
    lx_free(ids);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_tokenizer__captions_are_those_of_the_peer),
        cmocka_unit_test(test_text_tokenizer__vocabulary_is_clips),
        cmocka_unit_test(test_text_tokenizer__repairs_before_it_cuts),
        cmocka_unit_test(test_text_tokenizer__special_tokens_are_themselves),
        cmocka_unit_test(test_text_tokenizer__bytes_that_are_no_utf8_are_refused),
        cmocka_unit_test(test_text_tokenizer__long_words_take_no_quadratic_time),
        cmocka_unit_test(test_text_tokenizer__any_text_is_safe),
        cmocka_unit_test(test_text_tokenizer__every_failed_allocation_is_an_error),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
