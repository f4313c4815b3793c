/*
 * text/tokenizer - CLIP's byte-pair encoding
 *
 * The vocabulary (49408 entries, open_clip's BPE file) is built into the binary. Text is cleaned as
 * transformers' CLIPTokenizer does with ftfy (docs/numerics.md, text), lower-cased, split, merged.
 * Exact against goldens/text.
 */
#ifndef LX_TEXT_TOKENIZER_H
#define LX_TEXT_TOKENIZER_H

#include <stddef.h>
#include <stdint.h>

#include "src/base/error.h"

enum { LX_TOKEN_BOS = 49406, LX_TOKEN_EOS = 49407, LX_CHUNK = 77 };

typedef struct lx_tokenizer lx_tokenizer;

int lx_tokenizer_new(lx_tokenizer **out, lx_error *err);
void lx_tokenizer_free(lx_tokenizer *t);

/* Ids without BOS/EOS, untruncated. *ids is yours (lx_free). Thread-safe. text is UTF-8. */
int lx_tokenize(int32_t **ids, size_t *n, const lx_tokenizer *t, const char *text, size_t bytes,
                lx_error *err);
/* The text of one token, "</w>" kept; borrowed. NULL if out of range. */
const char *lx_token_text(const lx_tokenizer *t, int32_t id);

/*
 * max_length 75, 150 or 225 -> out[chunks][77] as sd-scripts' SdTokenizeStrategy: BOS, 75 ids, last
 * id of the padded whole. n_cut (may be NULL): how many tokens did not fit.
 */
int lx_tokenize_chunks(int64_t *out, size_t *n_cut, const lx_tokenizer *t, const char *text,
                       size_t bytes, int max_length, lx_error *err);

#endif
