/*
 * sample/prompt - what is written in a prompt beside its words
 *
 *     <lora:NAME:0.8>                          both networks
 *     <lora:NAME:0.8:0.6>                      text encoder, UNet
 *     <lora:NAME:te=0.8:unet=0.6:lbw=OUTALL>   lbw: src/sample/lora_stack.h
 *     [from:to:0.5]  [to:5]  [from::5]         another text from a share of the steps, or
 *                                              from a step, on; from 0: at once
 *     [a|b]                                    by turns
 *     BREAK                                    begin the next chunk of 75 tokens here
 *     (more:1.2) [less] \( \)                  src/text/prompt.h
 *
 * AND (several prompts in one picture) is refused: half a meaning would be worse.
 *
 * Chunks: the web UI's way fills 75 tokens and, when a chunk runs over within 20 tokens
 * after a comma, moves what follows the comma to the next one; the peer's way
 * (sd-scripts' sample images) fills up to three chunks straight and drops the rest.
 *
 * Source: AUTOMATIC1111's web UI, "Features" in its wiki and modules/prompt_parser.py;
 * [a:b:5] holds through step 5 counted from 0, as there. sd-scripts library/custom_train_functions.py. Goldens:
 * text/weighted.
 */
#ifndef LX_SAMPLE_PROMPT_H
#define LX_SAMPLE_PROMPT_H

#include <stdbool.h>

#include "src/base/arena.h"
#include "src/sample/embedding.h"
#include "src/text/tokenizer.h"

enum { LX_PROMPT_CHUNKS = 64 }; /* more is refused: 4800 tokens of prompt are a mistake */

typedef struct lx_lora_tag {
    const char *name;
    double text_encoder, unet; /* strengths */
    const char *blocks;        /* after lbw=, or NULL */
} lx_lora_tag;

/* The prompt without its <lora:...> tags. LX_EFORMAT for a tag that means nothing,
 * LX_EUNSUPPORTED for one that lx does not do. */
int lx_prompt_take_tags(const char **text, lx_lora_tag **tags, size_t *n_tags,
                        lx_arena *arena, const char *prompt, lx_error *err);

/* LX_EUNSUPPORTED when the prompt has AND. */
int lx_prompt_check(const char *text, lx_error *err);

/* The text that holds at a step (from 0) of n_steps; of a sampler that asks twice a step,
 * at a question of twice as many. Nesting beyond 64 brackets is left as it is. */
int lx_prompt_at_step(const char **out, lx_arena *arena, const char *text, int step,
                      int n_steps, lx_error *err);

typedef struct lx_prompt_chunks {
    int64_t *ids;     /* [n][77] */
    float *weights;   /* [n][77] */
    int n;            /* at least 1 */
    bool has_weights; /* some weight is not 1 */
    size_t n_cut;     /* tokens dropped: the peer's way only */
} lx_prompt_chunks;

/* embeddings: words with vectors of their own (sample/embedding); NULL = none. */
int lx_prompt_chunk(lx_prompt_chunks *out, lx_arena *arena, const lx_tokenizer *tokenizer,
                    const lx_embeddings *embeddings, const char *text, bool is_peer,
                    lx_error *err);

#endif
