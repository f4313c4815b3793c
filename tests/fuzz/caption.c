/* The bytes of a caption file -> text -> a sample's text by drawn settings -> tokens. */
#include <stdlib.h>
#include <string.h>

#include "src/base/alloc.h"
#include "src/data/caption.h"
#include "src/data/caption_file.h"
#include "src/text/tokenizer.h"
#include "tests/fuzz/fuzz.h"

static void tokenize(const lx_tokenizer *tokenizer, const lx_str *text)
{
    int64_t chunks[3 * LX_CHUNK];
    size_t n = 0, n_cut = 0;
    int32_t *ids = NULL;
    lx_error err = {0};

    if (lx_tokenize(&ids, &n, tokenizer, lx_str_text(text), text->len, &err) < 0 ||
        lx_tokenize_chunks(chunks, &n_cut, tokenizer, lx_str_text(text), text->len, 225,
                           &err) < 0)
        abort();
    for (size_t i = 0; i < n; i++)
        if (!lx_token_text(tokenizer, ids[i]))
            abort();
    if (n_cut > n)
        abort();
    lx_free(ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static lx_tokenizer *tokenizer;
    lx_rng rng = lx_rng_stream(size, LX_RNG_TEST, 0, 0);
    const uint32_t draw = lx_rng_u32(&rng);
    const lx_caption_moment moment = {1 + (int)(draw >> 20 & 3), draw >> 22 & 63, 100};
    lx_caption_text caption = {.text = LX_STR_INIT};
    lx_dataset_config config;
    lx_str out = LX_STR_INIT;
    lx_error err = {0};

    if (!tokenizer && lx_tokenizer_new(&tokenizer, NULL) < 0)
        abort();
    lx_dataset_config_defaults(&config);
    config.enable_wildcard = draw & 1;
    config.shuffle_caption = draw >> 1 & 1;
    config.keep_tokens = (int)(draw >> 2 & 3);
    config.caption_tag_dropout_rate = draw >> 4 & 1 ? 0.5 : 0;
    config.keep_tokens_separator = draw >> 5 & 1 ? "|||" : NULL;
    config.secondary_separator = draw >> 6 & 1 ? ";;" : NULL;
    config.token_warmup_step = draw >> 7 & 1 ? 40 : 0;
    config.token_warmup_min = 1;
    if (lx_caption_decode(&caption, (const char *)data, size, config.enable_wildcard,
                          &err) < 0) {
        if (err.code >= 0 || !err.text[0] ||
            !*lx_caption_guess_encoding((const char *)data, size))
            abort();
    } else {
        const char *text = lx_str_text(&caption.text);
        if (lx_utf8_check(text, caption.text.len) != caption.text.len ||
            lx_caption_process(&out, text, &config, &moment, &rng, &err) < 0 ||
            lx_utf8_check(lx_str_text(&out), out.len) != out.len)
            abort();
        tokenize(tokenizer, &out);
    }
    lx_str_release(&caption.text);
    lx_str_release(&out);
    return 0;
}
