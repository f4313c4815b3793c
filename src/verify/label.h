/*
 * verify/label - the one verdict, by a fixed table over the evidence
 *
 * Rules in the order of asking, delta being the smallest relative gain that counts:
 *
 *     NOT LEARNED              every module is still at its start; or the predictions do
 *                              not move beyond the noise floor; or the gain's interval
 *                              lies within +-delta
 *     HARMFUL                  the gain's interval lies below 0; or the base is proven to
 *                              be of another architecture
 *     LEARNED WITHOUT CAPTION  the gain is significant, its interval begins at or above
 *                              delta, and the captions are proven not to have been read
 *     LEARNED                  the same gain, and the caption adds to it (D4). Where the
 *                              captions of this folder are proven to have been read, it
 *                              is enough that images gain more under their own than under
 *                              others' (D4b). Where they are not, and the folder's words
 *                              were tried, it must add to theirs too (D4c)
 *     LEARNED WITHOUT CAPTION  the same gain, and images gain less under their own
 *                              captions than under others' (D4b's interval is below 0);
 *                              or, unless proven to have been read, the caption adds
 *                              nothing to speak of to the empty prompt or to the folder's
 *                              words (the interval of D4 or D4c is below 2 % of the
 *                              gain)
 *     WEAK                     the gain is significant, its interval begins below delta
 *     UNDETERMINED             anything else, with how many images would decide
 *
 * D4b cannot tell by itself that captions were read: what a LoRA changes depends on how
 * well the base obeys the prompt, so LoRAs that never saw a caption can gain more under an
 * image's own. Beside a proof of reading it tells captions of these pictures from others'
 * (docs/verify.md, calibration).
 *
 * A LoRA acts whatever the prompt says, so most of a gain may stay without a caption that
 * was read: what decides is whether the caption adds to it at all, not how much.
 *
 * Without a measured gain only the file speaks: proofs give NOT LEARNED or LEARNED
 * WITHOUT CAPTION (which then says that what it learned was not from captions), never
 * LEARNED.
 */
#ifndef LX_VERIFY_LABEL_H
#define LX_VERIFY_LABEL_H

#include <stdbool.h>

#include "src/stats/paired.h"

typedef enum lx_label {
    LX_LABEL_LEARNED,
    LX_LABEL_WEAK,
    LX_LABEL_NOT_LEARNED,
    LX_LABEL_WITHOUT_CAPTION,
    LX_LABEL_HARMFUL,
    LX_LABEL_UNDETERMINED,
    LX_LABEL_COUNT
} lx_label;

typedef struct lx_label_facts {
    double delta;                 /* 0.005 */
    bool is_untrained;            /* B2 in every module */
    bool captions_proven_unread;  /* A1, A3, A7 */
    bool captions_proven_read;    /* A0, of these images (A6) */
    bool is_other_architecture;   /* A14 */
    bool is_measured;             /* the following are known */
    double movement, noise_floor; /* of predictions, mean square */
    bool is_harness_broken;       /* the scrambled LoRA gains: nothing may be believed */
    lx_estimate gain;             /* relative */
    double gain_p;                /* adjusted in its family */
    size_t n_images;
    double gain_sd;           /* over images, relative */
    double even_gain;         /* the gain in the unit of what follows */
    lx_estimate caption_gain; /* D4, relative, all noise levels counted alike */
    double caption_p;         /* adjusted; 1 = not tested */
    double caption_sd;        /* over images */
    lx_estimate class_gain;   /* D4c */
    double class_p;           /* NAN = the folder's words were not tried */
    lx_estimate binding;      /* D4b */
    double binding_p;         /* adjusted; NAN = not tested */
    double share_without; /* of the gain that stays without the caption; NAN = unknown */
} lx_label_facts;

typedef struct lx_label_verdict {
    lx_label label;
    bool is_certain; /* by proof, not by measurement */
    size_t n_needed; /* images that would decide; 0 = does not apply */
    const char *why; /* one sentence, a literal */
} lx_label_verdict;

lx_label_verdict lx_label_decide(const lx_label_facts *facts);

/* Of measured facts: does the gain hang on the caption, by the rule of LEARNED; does it
 * not, by that of LEARNED WITHOUT CAPTION? Both false: not decided. */
bool lx_label_uses_caption(const lx_label_facts *facts);
bool lx_label_is_free_of_caption(const lx_label_facts *facts);

const char *lx_label_name(lx_label label); /* "LEARNED WITHOUT ITS CAPTION" */
const char *lx_label_key(lx_label label);  /* "learned_without_caption" */
int lx_label_exit_status(lx_label label);  /* 0, 10 .. 14 */

#endif
