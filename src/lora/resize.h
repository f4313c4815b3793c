/*
 * lora/resize - a LoRA at other ranks, each module the best approximation of that rank
 *
 * Of every module the product of its factors is decomposed (lora/svd) and its largest singular values are
 * kept, as many as the rule says:
 *
 *     fixed        `rank`; beyond the module's own rank the factors are filled up with zeros
 *     error        the least rank with |D - D_q| / |D| <= x
 *     ratio        1 + the number of values above sigma_1 / x
 *     cumulative   1 + the least q with sigma_1 + ... + sigma_q >= x sum sigma
 *     fro          1 + the least q with |D_q| >= x |D|
 *
 * (Frobenius norms.) The last three and their "1 +" are resize_lora.py's, so that its parameters mean here
 * what they mean there: a q of 0 counts as 1, and a module that changes nothing keeps rank 1. Unlike there a
 * rule gives no module more than its own rank: the value beyond it is rounding noise. `rank` and `conv_rank`
 * bound what a rule gives; neither exceeds the layer's sizes.
 *
 * alpha becomes alpha / rank times the new rank: the scale stays, and the factors are those of the product
 * without it, balanced (equal norms of up and down). Where the file's spelling has no alpha the scale goes
 * into the factors.
 *
 * LoHa, LoKr, LoCon with a core and full differences become LoRA. Norms and biases have no rank and stay.
 * What depends on the base model (DoRA, OFT, IA3, GLoRA) is refused.
 *
 * Source of the rules: kohya-ss/sd-scripts networks/resize_lora.py, rank_resize.
 */
#ifndef LX_LORA_RESIZE_H
#define LX_LORA_RESIZE_H

#include "src/lora/merge.h"

typedef enum lx_resize_rule {
    LX_RESIZE_FIXED,
    LX_RESIZE_ERROR,
    LX_RESIZE_RATIO,
    LX_RESIZE_CUMULATIVE,
    LX_RESIZE_FRO,
    LX_RESIZE_RULES
} lx_resize_rule;
/* "", "error", "sv_ratio", "sv_cumulative", "sv_fro" */
extern const char *const lx_resize_rule_names[LX_RESIZE_RULES];

typedef struct lx_resize_options {
    lx_resize_rule rule;
    double x;               /* of the rule: ratio above 1, the others in (0, 1) */
    size_t rank, conv_rank; /* rank 0: unbounded; conv_rank 0: as rank */
    bool
        counts_1x1; /* conv_rank is for every convolution, as resize_lora.py has it; else for 3x3 */
    uint64_t seed;  /* of sketches of what is dense */
    lx_dtype dtype; /* of the factors: LX_F32, LX_F16 or LX_BF16 */
} lx_resize_options;

/* What became of one module beside what lx_merge_module tells (exact_rank: as it was). */
typedef struct lx_resize_row {
    double alpha; /* of the result */
    double
        sum_kept; /* share of the singular values' sum; NAN where they are not all known */
    double fro_kept; /* |D_q| / |D| */
    double ratio;    /* sigma_1 / sigma_q; 0 where sigma_q is */
} lx_resize_row;

typedef struct lx_resize_result {
    lx_merge_result merge; /* tensors and modules, owned by the lx_merge */
    lx_resize_row *rows;   /* one a module of it */
    size_t n_converted;    /* modules of another kind that became LoRA */
    size_t n_kept;         /* norms and biases */
    size_t n_padded;       /* modules filled up with zeros */
    size_t
        n_bounded;   /* modules whose sizes allow less than the rank that was asked for */
    size_t old_rank; /* the largest there was */
} lx_resize_result;

/*
 * `merge` has had one file added, at strengths of 1. After an error it can only be freed.
 *
 *   LX_EUNSUPPORTED  a module whose change depends on the base model
 *   LX_EFORMAT       two modules for one layer
 *   LX_ELIMIT        a factor is too large for the dtype
 */
int lx_lora_resize(lx_resize_result *out, lx_merge *merge,
                   const lx_resize_options *options, lx_error *err);

#endif
