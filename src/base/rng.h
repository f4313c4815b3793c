/*
 * base/rng - counter-based random numbers (Philox 4x32-10)
 *
 * A draw is a pure function of (seed, purpose, step, sample, index): a resumed, a repeated and a
 * differently threaded run draw the same numbers, and so can a GPU.
 * Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3".
 */
#ifndef LX_BASE_RNG_H
#define LX_BASE_RNG_H

#include <stddef.h>
#include <stdint.h>

/* What a stream is for. Values are part of the numbers drawn: never renumber, only add. */
typedef enum lx_rng_purpose {
    LX_RNG_INIT = 1,   /* LoRA initialisation; sample = hash of the module's name */
    LX_RNG_ORDER = 2,  /* order of batches and images; step = epoch */
    LX_RNG_LATENT = 3, /* VAE posterior; sample = image */
    LX_RNG_NOISE = 4,  /* training noise */
    LX_RNG_TIMESTEP = 5,
    LX_RNG_CAPTION = 6, /* shuffle, dropout, wildcards */
    LX_RNG_AUGMENT = 7, /* flips, crops, colour */
    LX_RNG_NOISE_OFFSET = 8,
    LX_RNG_DROPOUT = 9,
    LX_RNG_SAMPLE = 10, /* initial noise of lx sample */
    LX_RNG_SPLIT = 11,  /* validation split */
    LX_RNG_TEST = 12,
    LX_RNG_BOOTSTRAP = 13, /* step = draw; sample = stream (stats/bootstrap) */
    LX_RNG_VERIFY = 14, /* lx verify: draws, controls, permutations, signs (src/verify) */
    LX_RNG_VALIDATION =
        15, /* what a validation draws; sample = image (train/validation) */
    LX_RNG_SKETCH =
        20, /* random projections (lora/svd); sample = hash of the module's name */
    LX_RNG_MERGE =
        21, /* masks of lx merge --method dare; step = file, sample = module's name */
    LX_RNG_SWEEP =
        22 /* lx sweep --random; step = attempt, sample = hash of the flag's name */
} lx_rng_purpose;

typedef struct lx_rng {
    uint32_t key[2];
    uint32_t counter[4]; /* [0] counts blocks of four, the rest names the stream */
    uint32_t block[4];
    int used;
} lx_rng;

/* The raw function: 4 words from a counter and a key. */
void lx_philox4x32(uint32_t out[4], const uint32_t counter[4], const uint32_t key[2]);

/* A stream. step and sample are folded to 32 bits each. */
lx_rng lx_rng_stream(uint64_t seed, lx_rng_purpose purpose, uint64_t step,
                     uint64_t sample);

uint32_t lx_rng_u32(lx_rng *rng);
void lx_rng_words(uint32_t *out, uint64_t n, lx_rng *rng); /* n of lx_rng_u32, sooner */
uint64_t lx_rng_below(lx_rng *rng, uint64_t n); /* uniform in [0, n), unbiased; n > 0 */
double lx_rng_uniform(lx_rng *rng);             /* [0, 1), 53 bits */

/*
 * n standard normals by Box-Muller; out[i] depends only on the stream and i, four to a block
 * (block i/4 of counter, two pairs of words), so any range can be made alone: `first` is the
 * index of out[0] and a multiple of 4.
 */
void lx_rng_normal(float *out, uint64_t n, uint64_t first, const lx_rng *stream);

/* FNV-1a, to name streams after strings, and for tables of names. */
uint64_t lx_hash_name(const char *name);
uint64_t lx_hash_bytes(const char *name, size_t n);

#endif
