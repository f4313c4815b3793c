/* Prompts: tags, texts by step, chunks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "src/base/file.h"
#include "src/sample/prompt.h"
#include "src/sample/prompt_file.h"
#include "tests/support/model.h"

static void test_sample_prompt__text_by_step(void **state)
{
    static const struct {
        const char *text;
        int step;
        const char *want;
    } cases[] = {
        {"a [b:c:0.5] d", 0, "a b d"},
        {"a [b:c:0.5] d", 5, "a b d"},
        {"a [b:c:0.5] d", 6, "a c d"},
        {"[c:3]", 3, ""},
        {"[c:3]", 4, "c"},
        {"[b::3]", 3, "b"},
        {"[b::3]", 4, ""},
        {"[b:c:1]", 0, "b"},
        {"[b:c:1]", 1, "b"},
        {"[b:c:1]", 2, "c"},
        {"[b:c:0]", 0, "c"}, /* at once */
        {"[c:0]", 0, "c"},
        {"[b::0.09]", 0, ""},
        {"[b:[c|d]:0]", 0, "c"},
        {"[b]", 4, "[b]"},
        {"[a|b|c]", 0, "a"},
        {"[a|b|c]", 1, "a"},
        {"[a|b|c]", 2, "b"},
        {"[a|b|c]", 3, "c"},
        {"[a|b|c]", 4, "a"},
        {"[(x:1.2):y:0.2]", 0, "(x:1.2)"},
        {"[(x:1.2):y:0.2]", 3, "y"},
        {"[[a:b:0.9]:c:0.1]", 1, "a"},
        {"\\[a:b:0.5\\]", 9, "\\[a:b:0.5\\]"},
        {"[a:b:0.5", 9, "[a:b:0.5"},
        {"[a:b]", 9, "[a:b]"},
        {"[a:b:x]", 9, "[a:b:x]"},
        {"[a:b:1.5]", 9, "a"},
        {"a]b[c|d]", 2, "a]bd"},
    };
    lx_arena *arena = lx_arena_new();

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *got;
        lx_error err = {0};
        lx_assert_ok(
            lx_prompt_at_step(&got, arena, cases[i].text, cases[i].step, 10, &err), &err);
        if (strcmp(got, cases[i].want) != 0)
            fail_msg("%s at %d: \"%s\", not \"%s\"", cases[i].text, cases[i].step, got,
                     cases[i].want);
    }
    lx_arena_free(arena);
}

static void test_sample_prompt__tags(void **state)
{
    static const struct {
        const char *prompt, *text, *name, *blocks;
        double text_encoder, unet;
    } cases[] = {
        {"a <lora:x:0.8> b", "a  b", "x", NULL, 0.8, 0.8},
        {"<lora:x>", "", "x", NULL, 1, 1},
        {"<lora:x:0.5:0.25>", "", "x", NULL, 0.5, 0.25},
        {"<lora:x:te=0.5:unet=0.25>", "", "x", NULL, 0.5, 0.25},
        {"<lora:x:0.5:unet=2>", "", "x", NULL, 0.5, 2},
        {"<lora:x:1:lbw=OUTALL>", "", "x", "OUTALL", 1, 1},
        {"<lora:x:1:0.5:lbw=1,0>", "", "x", "1,0", 1, 0.5},
        {"<lora:x:0.7:MIDD>", "", "x", "MIDD", 0.7, 0.7},
        {"<lyco:x:-1>", "", "x", NULL, -1, -1},
    };
    lx_arena *arena = lx_arena_new();
    lx_lora_tag *tags;
    const char *text;
    size_t n;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lx_error err = {0};
        lx_assert_ok(lx_prompt_take_tags(&text, &tags, &n, arena, cases[i].prompt, &err),
                     &err);
        assert_string_equal(text, cases[i].text);
        assert_int_equal(n, 1);
        assert_string_equal(tags[0].name, cases[i].name);
        assert_true(tags[0].text_encoder == cases[i].text_encoder &&
                    tags[0].unet == cases[i].unet);
        assert_true((tags[0].blocks != NULL) == (cases[i].blocks != NULL));
        if (cases[i].blocks)
            assert_string_equal(tags[0].blocks, cases[i].blocks);
    }
    assert_int_equal(
        lx_prompt_take_tags(&text, &tags, &n, arena, "1 < 2 <b>, <lora", NULL), LX_OK);
    assert_string_equal(text, "1 < 2 <b>, <lora");
    assert_int_equal(n, 0);
    lx_arena_free(arena);
}

/* 80 words with a comma near the 75th token: what follows it goes to the second chunk. */
static void test_sample_prompt__chunks(void **state)
{
    lx_arena *arena = lx_arena_new();
    lx_tokenizer *tokenizer;
    lx_prompt_chunks chunks;
    lx_error err = {0};
    char text[1024] = "";

    lx_assert_ok(lx_tokenizer_new(&tokenizer, &err), &err);
    lx_assert_ok(lx_prompt_chunk(&chunks, arena, tokenizer, NULL, "cat BREAK (dog:1.5)",
                                 false, &err),
                 &err);
    assert_int_equal(chunks.n, 2);
    assert_int_equal(chunks.ids[1], 2368); /* cat */
    assert_int_equal(chunks.ids[77 + 1], 1929);
    assert_true(chunks.weights[77 + 1] == 1.5f && chunks.weights[77 + 2] == 1);
    lx_assert_ok(
        lx_prompt_chunk(&chunks, arena, tokenizer, NULL, "cat BREAK dog", true, &err),
        &err);
    assert_int_equal(chunks.n, 1);
    lx_assert_ok(lx_prompt_chunk(&chunks, arena, tokenizer, NULL, "", false, &err), &err);
    assert_int_equal(chunks.n, 1);
    for (int i = 0; i < 70; i++)
        strcat(text, "cat ");
    strcat(text, ", dog dog dog dog dog dog dog dog");
    lx_assert_ok(lx_prompt_chunk(&chunks, arena, tokenizer, NULL, text, false, &err),
                 &err);
    assert_int_equal(chunks.n, 2);
    assert_int_equal(chunks.ids[71], 267);
    assert_int_equal(chunks.ids[72], LX_TOKEN_EOS);
    assert_int_equal(chunks.ids[77 + 8], 1929);
    assert_int_equal(chunks.ids[77 + 9], LX_TOKEN_EOS);
    lx_assert_ok(lx_prompt_chunk(&chunks, arena, tokenizer, NULL, text, true, &err),
                 &err);
    assert_int_equal(chunks.ids[75], 1929); /* the peer goes straight on */
    lx_tokenizer_free(tokenizer);
    lx_arena_free(arena);
}

static void test_sample_prompt__lines_of_the_peer(void **state)
{
    lx_arena *arena = lx_arena_new();
    lx_prompt_line line;
    lx_error err = {0};

    lx_assert_ok(
        lx_prompt_line_parse(&line, arena,
                             "1girl, hat --w 513 --H 30 --d 7 --s 0 --l 3.5 --n bad, "
                             "worse --ss euler_a --g 2 --fs 3",
                             &err),
        &err);
    assert_string_equal(line.prompt, "1girl, hat");
    assert_string_equal(line.negative, "bad, worse");
    assert_string_equal(line.sampler, "euler_a");
    assert_string_equal(line.ignored, "--g --fs");
    assert_int_equal(line.width, 512);
    assert_int_equal(line.height, 64);
    assert_int_equal(line.steps, 1);
    assert_true(line.has_seed && line.seed == 7 && line.has_cfg && line.cfg == 3.5);
    /* What tools leave empty asks for nothing. */
    lx_assert_ok(lx_prompt_line_parse(&line, arena, "a --n  --w 64 --d -1 --ss --cn", &err),
                 &err);
    assert_true(!line.negative && !line.has_seed && !line.sampler && line.width == 64);
    lx_assert_ok(lx_prompt_line_parse(&line, arena, "a --d 13868245678901234567", &err), &err);
    assert_true(line.seed == 13868245678901234567u);
    assert_int_equal(lx_prompt_line_parse(&line, arena, "a --d 18446744073709551616", NULL),
                     LX_EFORMAT);
    assert_int_equal(lx_prompt_line_parse(&line, arena, "a --cn x.png", NULL),
                     LX_EUNSUPPORTED);
    assert_int_equal(lx_prompt_line_parse(&line, arena, "a --nope", NULL), LX_EFORMAT);
    lx_arena_free(arena);
}

static void check_file(const char *ending, const char *text, int rc, size_t n,
                       lx_prompt_line *first)
{
    lx_arena *arena = lx_arena_new();
    char path[64];
    lx_prompt_list list;
    lx_error err = {0};

    snprintf(path, sizeof path, "/tmp/lx-test-prompts-%d%s", (int)getpid(), ending);
    assert_int_equal(lx_file_write(path, text, strlen(text), NULL), 0);
    assert_int_equal(lx_prompt_file_read(&list, arena, path, &err), rc);
    if (rc < 0 && !strstr(err.text, path))
        fail_msg("\"%s\" does not name the file", err.text);
    assert_int_equal(list.n, n);
    if (n)
        *first = list.lines[0];
    if (n) /* texts live in the arena: compared before it goes */
        assert_string_equal(first->prompt, "cat");
    lx_prompt_list_release(&list);
    lx_arena_free(arena);
    remove(path);
}

static void test_sample_prompt__files_of_the_peer(void **state)
{
    lx_prompt_line line;

    check_file(".txt", "# no\n\n  cat --s 5\n#no\ndog\n", LX_OK, 2, &line);
    assert_int_equal(line.steps, 5);
    check_file(".toml",
               "[prompt]\nwidth = 129\nscale = 3.5\n[[prompt.subset]]\nprompt = \"cat\"\n"
               "seed = 7\n[[prompt.subset]]\nprompt = \"dog\"\nwidth = 64\n",
               LX_OK, 2, &line);
    assert_int_equal(line.width, 128);
    assert_true(line.has_cfg && line.cfg == 3.5 && line.has_seed && line.seed == 7);
    check_file(".json", "[{\"prompt\":\"cat\",\"sample_steps\":5000},\"dog --d 3\"]",
               LX_OK, 2, &line);
    assert_int_equal(line.steps, 1000);
    check_file(".txt", "# nothing\n", LX_EFORMAT, 0, &line);
    check_file(".toml", "[prompt]\nx = 1\n", LX_EFORMAT, 0, &line);
    check_file(".json", "{}", LX_EFORMAT, 0, &line);
    check_file(".json", "[1]", LX_EFORMAT, 0, &line);
    check_file(".json",
               "[{\"prompt\":\"cat\",\"negative_prompt\":null,\"seed\":null,"
               "\"controlnet_image\":null}]",
               LX_OK, 1, &line);
    assert_true(!line.negative && !line.has_seed);
    check_file(".json", "[{\"seed\":13868245678901234567}]", LX_EFORMAT, 0, &line);
    check_file(".json", "[{\"seed\":-1}]", LX_EFORMAT, 0, &line);
    check_file(".json", "[{\"controlnet_image\":\"x\"}]", LX_EUNSUPPORTED, 0, &line);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sample_prompt__text_by_step),
        cmocka_unit_test(test_sample_prompt__tags),
        cmocka_unit_test(test_sample_prompt__chunks),
        cmocka_unit_test(test_sample_prompt__lines_of_the_peer),
        cmocka_unit_test(test_sample_prompt__files_of_the_peer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
