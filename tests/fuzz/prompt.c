/* A prompt of lx sample: its tags, its schedule, its weights, its chunks; and a line of a prompt file. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/str.h"
#include "src/sample/prompt.h"
#include "src/sample/prompt_file.h"
#include "src/text/prompt.h"
#include "tests/fuzz/fuzz.h"

static void check_refusal(int rc, const lx_error *err)
{
    if (rc < 0 && (err->code >= 0 || !err->text[0]))
        abort();
}

static void chunk(const lx_tokenizer *tokenizer, lx_arena *arena, const char *text)
{
    lx_error err = {0};

    for (int is_peer = 0; is_peer < 2; is_peer++) {
        lx_prompt_chunks chunks;
        int rc = lx_prompt_chunk(&chunks, arena, tokenizer, NULL, text, is_peer, &err);
        check_refusal(rc, &err);
        for (int i = 0; rc == LX_OK && i < chunks.n * LX_CHUNK; i++)
            if (chunks.ids[i] < 0 || chunks.ids[i] > LX_TOKEN_EOS ||
                isnan(chunks.weights[i]))
                abort();
    }
}

static void read_prompt(const lx_tokenizer *tokenizer, lx_arena *arena, const char *text)
{
    const char *plain, *now;
    lx_lora_tag *tags;
    size_t n_tags;
    lx_error err = {0};
    int rc = lx_prompt_take_tags(&plain, &tags, &n_tags, arena, text, &err);

    check_refusal(rc, &err);
    if (rc < 0)
        return;
    check_refusal(lx_prompt_check(plain, &err), &err);
    for (int step = 0; step < 10; step += 3) {
        rc = lx_prompt_at_step(&now, arena, plain, step, 10, &err);
        check_refusal(rc, &err);
        if (rc == LX_OK && step % 9 == 0)
            chunk(tokenizer, arena, now);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static lx_tokenizer *tokenizer;
    lx_arena *arena = lx_arena_new();
    lx_prompt_line line;
    lx_prompt parts;
    lx_error err = {0};
    char *text;

    if (!arena || (!tokenizer && lx_tokenizer_new(&tokenizer, NULL) < 0) ||
        !(text = lx_arena_strndup(arena, (const char *)data, size)))
        abort();
    check_refusal(lx_prompt_parse(&parts, arena, text, strlen(text), &err), &err);
    check_refusal(lx_prompt_line_parse(&line, arena, text, &err), &err);
    /* From a command line or a file that was checked. */
    if (lx_utf8_check(text, strlen(text)) == strlen(text))
        read_prompt(tokenizer, arena, text);
    lx_arena_free(arena);
    return 0;
}
