/*
 * lora/kinship - how two LoRA files are related, by their weights alone
 *
 * Over the modules that both have, of equal sizes (U, D with the scale in U):
 *
 *     cosine       <dW_a, dW_b> / |dW_a| |dW_b|,  <dW_a, dW_b> = tr((U_a^T U_b) (D_b D_a^T))
 *     step         |dW_a - dW_b| / |dW_b|
 *     common_down  mean of |Q_a Q_b^T|^2 / min(rank a, rank b), Q the orthonormal rows of
 *                  `down`: how much of the smaller space the larger one holds, 0..1
 *     common_up    the same for the columns of `up`
 *
 * Two spaces drawn at random have on average rank / size in common, which stands beside
 * them. A `down` hardly moves in training, so common_down near 1 with a small cosine
 * means the same seed at the start and nothing about content. A cosine of 0.05 or more
 * over a whole file does not happen by chance (unrelated files: below 0.001).
 *
 * Source: the LoRA paper's measure of subspaces (Hu et al. 2021, arXiv:2106.09685,
 * section 7.2 and appendix G), here over all ranks.
 */
#ifndef LX_LORA_KINSHIP_H
#define LX_LORA_KINSHIP_H

#include "src/lora/file.h"

typedef struct lx_kinship {
    size_t n_common; /* modules compared; 0: nothing else is known, all NAN */
    double cosine, step;
    double common_down, common_up;
    double chance_down, chance_up; /* rank / size, means likewise */
} lx_kinship;

/* Modules are matched by name: files of one spelling. Plain LoRA of rank up to
 * LX_SPECTRUM_RANK and finite values; others are left out. LX_ENOMEM only. */
int lx_lora_kinship(lx_kinship *out, const lx_lora_file *a, const lx_lora_file *b,
                    lx_error *err);

#endif
