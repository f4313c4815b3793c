/*
 * lora/weights - what the weights of a LoRA file say by themselves (no base model)
 *
 * Per module, for delta = scale * up x down (scale = alpha / rank; down flattened to
 * [rank, in]):
 *
 *     frobenius       sqrt(sum sigma_i^2)
 *     spectral        sigma_1
 *     stable rank     frobenius^2 / spectral^2
 *     effective rank  exp(H(sigma / sum sigma)), H the entropy (Roy & Vetterli 2007)
 *     dead ranks      sigma_i < 1e-3 sigma_1
 *
 * The magnitude alone decides nothing: it varies by two orders between good files. Only a
 * factor that training starts at zero and that is still zero proves that a module never
 * learned. `down` hardly moves from where it started, so its spread tells the law of the
 * initialisation and with it the trainer:
 *
 *     uniform +-1/sqrt(in)   rms 1/sqrt(3 in)   sd-scripts, LyCORIS, PEFT
 *     normal(0, 1/rank)      rms 1/rank         diffusers, PEFT's "gaussian", cloneofsimo
 *
 * Tucker, LoHa and LoKr are weighed by their exact factors (lora/delta). Modules that have
 * none, that need the base weight, or whose rank is beyond LX_SPECTRUM_RANK have no
 * spectrum here; they are counted.
 */
#ifndef LX_LORA_WEIGHTS_H
#define LX_LORA_WEIGHTS_H

#include "src/lora/file.h"

enum { LX_SPECTRUM_RANK = 512 };

typedef struct lx_module_weights {
    bool has_spectrum; /* a sum of rank-one updates with finite values */
    bool is_dead;      /* its update is zero */
    double scale, frobenius, spectral, stable_rank, effective_rank;
    size_t n_dead_ranks;
    double down_rms, up_rms;
    double largest; /* |x| of both factors */
} lx_module_weights;

typedef enum lx_init_law { LX_INIT_UNKNOWN, LX_INIT_UNIFORM, LX_INIT_NORMAL } lx_init_law;

typedef struct lx_lora_weights {
    lx_module_weights *modules; /* of the file, in its order */
    size_t n_modules, n_spectra, n_dead, n_not_finite;
    double frobenius;         /* of all deltas together */
    double frobenius_text;    /* of the text encoders' */
    double frobenius_context; /* of the attention that reads the text: attn2 to_k, to_v */
    double frobenius_unet;
    double stable_rank, effective_rank; /* means over spectra */
    double share_subnormal;             /* of F16 values; their precision is lost */
    double largest;
    lx_init_law init; /* of `down`, by its rms, within 10 % in most modules */
    double scale_min, scale_max;
} lx_lora_weights;

/* Arrays live in the arena. A module with a problem is left out of all sums. LX_ENOMEM
 * only. */
int lx_lora_weigh(lx_lora_weights *out, const lx_lora_file *file, lx_arena *arena,
                  lx_error *err);

/* The part of the energy (squared norm) of the UNet's update in what reads the text; 0 of
 * none. */
double lx_text_path_share(const lx_lora_weights *weights);

const char *lx_init_law_name(lx_init_law law);

#endif
