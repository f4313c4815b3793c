/*
 * text/prompt - weights in a prompt: (more), [less], (exactly:1.3)
 *
 *     (text)        times 1.1          [text]        divided by 1.1
 *     (text:1.3)    times 1.3          \( \) \[ \] \\  the character itself
 *
 * Brackets nest and multiply; one left open counts to the end. A closing bracket or a ":1.3)"
 * without its opening one is text.
 * Source: AUTOMATIC1111's web UI, documented under "Attention/emphasis"; sd-scripts uses it for
 * --weighted_captions and for sample images.
 */
#ifndef LX_TEXT_PROMPT_H
#define LX_TEXT_PROMPT_H

#include "src/base/arena.h"
#include "src/text/tokenizer.h"

typedef struct lx_prompt_part {
    const char *text; /* in the arena, NUL-terminated */
    size_t bytes;
    double weight;
} lx_prompt_part;

typedef struct lx_prompt {
    lx_prompt_part *parts; /* at least one; neighbours differ in weight */
    size_t n_parts;
} lx_prompt;

enum { LX_PROMPT_NESTING = 1000 };

/* LX_EFORMAT for a weight that is no number ("(a:1.2.3)"), LX_ELIMIT beyond LX_PROMPT_NESTING. */
int lx_prompt_parse(lx_prompt *out, lx_arena *arena, const char *text, size_t bytes,
                    lx_error *err);

/*
 * As lx_tokenize_chunks, with a weight for every id: out and weights are [chunks][77]. Parts are
 * tokenized one by one, so a word cut by a bracket becomes two. BOS, EOS and padding weigh 1.
 */
int lx_tokenize_weighted(int64_t *out, float *weights, size_t *n_cut, const lx_tokenizer *t,
                         const char *text, size_t bytes, int max_length, lx_error *err);

#endif
