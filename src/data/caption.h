/*
 * data/caption - from the caption of an image to the text of one training sample
 *
 * In this order, as sd-scripts does it:
 *
 *     prefix + " " + caption + " " + suffix
 *     dropout: "" with caption_dropout_rate, or when the epoch (from 1) is a multiple of
 *         caption_dropout_every_n_epochs; nothing below happens then
 *     enable_wildcard: one of the lines, {{ and }} are plain braces, each {a|b|c} one of its
 *         alternatives (no nesting); without it the first line
 *     when shuffle_caption, token_warmup_step or caption_tag_dropout_rate is on:
 *         parts split at caption_separator and stripped; the first keep_tokens are fixed, or with
 *             keep_tokens_separator head ||| middle ||| tail, head and tail fixed, empty parts left
 *             out
 *         warm-up: while step < W the first floor(step * (parts - min) / W) + min of the
 *             flexible parts stay; W below 1 is a share of max_train_steps
 *         shuffle the flexible parts, then drop each with caption_tag_dropout_rate
 *         join all with ", " whatever the separator is
 *     secondary_separator becomes caption_separator
 *
 * The draws come from `rng` in that order; the law is the peer's, the numbers are ours.
 * Source: sd-scripts library/train_util.py, process_caption; goldens data/captions.
 */
#ifndef LX_DATA_CAPTION_H
#define LX_DATA_CAPTION_H

#include <stdint.h>

#include "src/base/error.h"
#include "src/base/rng.h"
#include "src/base/str.h"
#include "src/data/dataset.h"

/* When the sample is drawn. */
typedef struct lx_caption_moment {
    int epoch; /* from 1 */
    int64_t step, max_train_steps;
} lx_caption_moment;

/* Replaces what is in *out by the processed caption. LX_ENOMEM only. */
int lx_caption_process(lx_str *out, const char *caption, const lx_dataset_config *config,
                       const lx_caption_moment *moment, lx_rng *rng, lx_error *err);

#endif
