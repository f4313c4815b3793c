/*
 * verify/text_path - which words the new weights listen to, without one denoising step
 *
 * Null: words that no caption holds, of as many pieces and as frequent as the tag
 * (verify/prompt).
 *
 *     C3  response of attn2 to_k, to_v to a word of embedding e (the base text encoder's
 *         output at the word's pieces, the word alone), in units of the base layer's own
 *         answer:
 *             R(e) = mean over layers |dW e|^2 / |W e|^2
 *         and z = (log R(tag) - mean of null) / sd of null
 *     C1  shift of the word's embedding by the LoRA's text encoder, in units of its
 *         distance from the empty prompt's, the mean shift of the null words taken off;
 *         p = rank among the null
 *     C2  cosine of the tag's and the identifier's distance from the empty prompt, as the
 *         LoRA's text encoder reads them (the base's beside it): lower than the base's, and
 *         the identifier has been told apart from the tag
 *     C4  cosine between the tag's shift and the identifier's: near 1, and the word is
 *         where the identifier's meaning went
 *
 * An association inside the text path: it supports, it never overrules level d.
 */
#ifndef LX_VERIFY_TEXT_PATH_H
#define LX_VERIFY_TEXT_PATH_H

#include "src/verify/verify.h"

typedef struct lx_text_path_input {
    const lx_checkpoint *checkpoint;
    const lx_sd_config *sd;
    const lx_lora *lora; /* its values as loaded, in host memory */
    lx_probe *probe;
    lx_dose *dose;
    const lx_prompts *prompts;
    const int *tags; /* to be judged */
    size_t n_tags;
    int identifier; /* index in `tags`, or -1 */
    size_t n_null;  /* words; 200 */
    uint64_t seed;
    lx_arena *arena;
} lx_text_path_input;

/* Adds rows C1 to C4 and sets `reach` of those tags of the result that are in `tags`
 * (same order). Leaves the dose as it was asked for last: none. */
int lx_text_path(lx_verify_result *result, const lx_text_path_input *in, lx_error *err);

#endif
