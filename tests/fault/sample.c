/* Prompts, pictures' texts and PNGs with the n-th allocation failing, for every n. */
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
#include "src/format/infotext.h"
#include "src/format/picture_text.h"
#include "src/format/png.h"
#include "src/sample/brownian.h"
#include "src/sample/prompt.h"
#include "src/sample/prompt_file.h"

static lx_arena *arena;
static lx_tokenizer *tokenizer;
static char path[64];

static int read_prompt(lx_error *err)
{
    lx_prompt_chunks chunks;
    lx_lora_tag *tags;
    const char *text;
    size_t n;
    int rc;

    if ((rc = lx_prompt_take_tags(&text, &tags, &n, arena,
                                  "a <lora:x:1:lbw=ALL> (b:1.2) [c:d:0.5] BREAK [e|f]",
                                  err)) < 0 ||
        (rc = lx_prompt_at_step(&text, arena, text, 3, 10, err)) < 0)
        return rc;
    return lx_prompt_chunk(&chunks, arena, tokenizer, NULL, text, false, err);
}

static int read_file(lx_error *err)
{
    lx_prompt_list list;
    int rc = lx_prompt_file_read(&list, arena, path, err);

    lx_prompt_list_release(&list);
    return rc;
}

static int write_and_read_png(lx_error *err)
{
    static const unsigned char rgb[3 * 4 * 4];
    lx_str png = LX_STR_INIT, text = LX_STR_INIT;
    lx_infotext info;
    bool is_there;
    int rc = lx_png_encode(&png, rgb, 4, 4, "parameters",
                           "a\nSteps: 1, Seed: 2, Size: 4x4", err);

    if (rc == LX_OK)
        rc = lx_picture_text_parse(&text, &is_there, (unsigned char *)png.data, png.len,
                                   err);
    if (rc == LX_OK)
        rc = lx_infotext_parse(&info, arena, lx_str_text(&text), err);
    lx_str_release(&png);
    lx_str_release(&text);
    return rc;
}

static void fill(float *out, size_t n, uint32_t seed)
{
    for (size_t i = 0; i < n; i++)
        out[i] = (float)(seed % 7);
}

static int walk_path(lx_error *err)
{
    float out[16];
    lx_brownian *b;
    int rc = lx_brownian_new(&b, 1, 16, 0.03, 14.6, fill, err);

    if (rc == LX_OK)
        rc = lx_brownian_noise(out, b, 7, 3, err);
    lx_brownian_free(b);
    return rc;
}

static void fail_each(int (*work)(lx_error *))
{
    for (int forever = 0; forever < 2; forever++)
        for (size_t n = 1;; n++) {
            lx_error err = {0};
            int rc;
            arena = lx_arena_new();
            lx_alloc_fail_at(n, forever);
            rc = work(&err);
            lx_alloc_fail_at(0, false);
            lx_arena_free(arena);
            if (rc == LX_OK) {
                assert_true(n > 1);
                break;
            }
            if (rc != LX_ENOMEM)
                fail_msg("allocation %zu: %d \"%s\"", n, rc, err.text);
        }
}

static void test_fault_sample__prompts(void **state)
{
    lx_error err = {0};

    assert_int_equal(lx_tokenizer_new(&tokenizer, &err), 0);
    fail_each(read_prompt);
    lx_tokenizer_free(tokenizer);
}

static void test_fault_sample__prompt_files(void **state)
{
    static const char *const files[][2] = {
        {".txt", "a --n b --g 1\nc\n"},
        {".json", "[{\"prompt\":\"a\"},\"b --w 64\"]"},
        {".toml", "[prompt]\n[[prompt.subset]]\nprompt='a'\n"}};

    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "/tmp/lx-test-fault-%d%s", (int)getpid(),
                 files[i][0]);
        assert_int_equal(lx_file_write(path, files[i][1], strlen(files[i][1]), NULL), 0);
        fail_each(read_file);
        remove(path);
    }
}

static void test_fault_sample__pictures(void **state)
{
    fail_each(write_and_read_png);
}

static void test_fault_sample__brownian_path(void **state)
{
    fail_each(walk_path);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fault_sample__prompts),
        cmocka_unit_test(test_fault_sample__prompt_files),
        cmocka_unit_test(test_fault_sample__pictures),
        cmocka_unit_test(test_fault_sample__brownian_path),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
