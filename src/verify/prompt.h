/*
 * verify/prompt - captions as token ids, and what is put in a tag's place
 *
 * A tag is what stands between commas, stripped. Its ids are found inside the caption's,
 * so that another word of as many pieces can take its place: no other token moves, and
 * nothing but the meaning changes. Controls are drawn by the vocabulary's order of
 * merges, which is that of frequency: each piece becomes one of a near rank that also
 * ends a word (or does not), of letters only, and that no caption holds.
 */
#ifndef LX_VERIFY_PROMPT_H
#define LX_VERIFY_PROMPT_H

#include <stdbool.h>

#include "src/base/arena.h"
#include "src/base/rng.h"
#include "src/text/tokenizer.h"

typedef struct lx_ids {
    int32_t *at;
    size_t n;
} lx_ids;

/* Where a tag stands in a caption. */
typedef struct lx_span {
    int tag;
    size_t first, n; /* of the caption's ids; n 0: its ids could not be told apart */
} lx_span;

typedef struct lx_prompt_caption {
    const char *text;
    lx_ids ids; /* all, also those beyond the limit */
    lx_span *spans;
    size_t n_spans;
} lx_prompt_caption;

typedef struct lx_prompt_tag {
    const char *text;
    lx_ids ids;
    size_t n_captions; /* that hold it where the model could see it */
    size_t n_cut;      /* that hold it beyond the limit only */
} lx_prompt_tag;

typedef struct lx_prompts {
    const lx_tokenizer *tokenizer;
    lx_arena *arena;
    int max_length; /* 75, 150, 225 */
    lx_prompt_caption *captions;
    size_t n_captions;
    lx_prompt_tag *tags; /* in order of first appearance */
    size_t n_tags, capacity;
    bool *is_used; /* [49408]: an id of some caption */
} lx_prompts;

/* Borrows the tokenizer; all else lives in the arena. */
int lx_prompts_new(lx_prompts **out, const lx_tokenizer *tokenizer, lx_arena *arena,
                   const char *const *captions, size_t n, int max_length, lx_error *err);

/* Ids of any text. */
int lx_prompt_ids(lx_ids *out, const lx_prompts *p, const char *text, lx_error *err);
/* The tag of this text (case counts as the tokenizer counts it: not at all), or -1. */
int lx_prompt_tag_find(const lx_prompts *p, const char *text);
/* The span of a tag in a caption where the model sees it, or NULL. */
const lx_span *lx_prompt_span(const lx_prompts *p, size_t caption, int tag);

/* `like`.n ids of the same frequency that no caption holds. LX_ENOMEM only. */
int lx_prompt_control(lx_ids *out, const lx_prompts *p, lx_ids like, lx_rng rng,
                      lx_error *err);
/* The caption's ids with those of the span replaced. */
int lx_prompt_swap(lx_ids *out, const lx_prompts *p, size_t caption, const lx_span *span,
                   lx_ids with, lx_error *err);

/* As the text encoder wants them: out [max_length / 75][77]. */
void lx_prompt_chunks(int64_t *out, const lx_prompts *p, lx_ids ids);
/* For people: the pieces of a tag, "nh|h". */
const char *lx_prompt_pieces(const lx_prompts *p, lx_ids ids);

#endif
