/*
 * verify/sweep - which of several files of one run is the best?
 *
 * All were judged on the same images and draws, so two files are compared image by image.
 * Measure: the gain on held-out images where there are some, else on the training images
 * (which goes on rising while a LoRA memorises: the result says which was used). The best
 * is the file of the highest mean; the one to take is the first that is not significantly
 * below it (sign flips, p > 0.05): an earlier epoch that is as good is the better choice.
 * Fewer than 5 images cannot tell any two files apart so (p is at least 2^-n): then the
 * one to take is that of the highest mean, and the result says that it was not tested.
 */
#ifndef LX_VERIFY_SWEEP_H
#define LX_VERIFY_SWEEP_H

#include "src/verify/verify.h"

typedef struct lx_sweep {
    bool is_held_out; /* what was compared */
    size_t highest;   /* file of the highest mean gain */
    size_t best;      /* the first that is as good; the highest itself if the images are few */
    size_t n_images;  /* compared */
    bool is_few;      /* too few for any difference to be significant */
    double *p;        /* per file: of being as good as the highest; in the arena */
} lx_sweep;

/* results: in the order of training. LX_EUSAGE when they were not measured. */
int lx_sweep_of(lx_sweep *out, const lx_verify_result *const *results, size_t n,
                uint64_t seed, lx_arena *arena, lx_error *err);

#endif
