/*
 * lora/factors - a plain LoRA module of a file, as f32 on the host
 */
#ifndef LX_LORA_FACTORS_H
#define LX_LORA_FACTORS_H

#include "src/lora/file.h"

/* Starts as {0}; reading again keeps the memory. */
typedef struct lx_lora_factors {
    float *up, *down; /* [out, rank], [rank, in]; kernels are flattened into in */
    size_t out, rank, in;
    float *memory;
    size_t capacity;
} lx_lora_factors;

/* Has the module an up and a down that can be multiplied? (problem-free, a plain LoRA) */
bool lx_lora_is_plain(const lx_lora_entry *module);

/* Of a plain module. 1: of a dtype without values of its own. */
int lx_lora_factors_read(lx_lora_factors *f, const lx_lora_entry *module, lx_error *err);
void lx_lora_factors_release(lx_lora_factors *f);

#endif
