/*
 * selftest/synth - narrow (and full) Stable Diffusion 1.x checkpoints from a seed formula
 *
 * Every weight is a pure function of (seed, key, flat index):
 *
 *     k   = fnv1a64(key) xor (seed * 0x9E3779B97F4A7C15 mod 2^64)
 *     r_i = splitmix64_mix(k + (i+1) * 0x9E3779B97F4A7C15)
 *     t_i = ((r_i >> 40) - ((r_i >> 16) & 0xFFFFFF)) / 2^24      triangular on (-1, 1)
 *     w_i = mean + std * sqrt(6) * t_i                           f64, then rounded to f16
 *
 * so the goldens' base models need not be kept: they are rebuilt bit for bit (the SHA-256 of "tiny"
 * is checked). tests/golden/model/synth.py is the same in Python.
 */
#ifndef LX_SELFTEST_SYNTH_H
#define LX_SELFTEST_SYNTH_H

#include <stdint.h>

#include "src/base/error.h"

typedef struct lx_synth_profile {
    const char *name;
    uint64_t seed;
    int channels[4], context_size; /* UNet */
    int vae_channels[4];
    int text_width, text_layers, text_heads;
    const char *sha256; /* of the file; NULL = not known */
} lx_synth_profile;

/* "tiny" and "nano" of the goldens, "sd15" with the real sizes; NULL = no such. */
const lx_synth_profile *lx_synth_profile_find(const char *name);

/* A .safetensors file in F16 with the key names of real single files. */
int lx_synth_write(const char *path, const lx_synth_profile *profile, lx_error *err);

#endif
