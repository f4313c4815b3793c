/*
 * support/made_lora - LoRA files made up from a seed, and the values in them
 */
#ifndef LX_TESTS_MADE_LORA_H
#define LX_TESTS_MADE_LORA_H

#include <stdint.h>

#include "src/lora/file.h"

enum { LX_N_MADE = 4 };

#define LX_NO_ALPHA (-1e9)

typedef struct lx_made_module {
    const char *name;
    int out, in, window; /* window 0: a linear */
} lx_made_module;

extern const lx_made_module lx_made_modules[LX_N_MADE];

typedef struct lx_made_lora {
    char path[64]; /* below /tmp */
    lx_lora_file *file;
} lx_made_lora;

/* A file with all modules of one rank, and it is open; lx_drop_lora it. Fails the test when it cannot be made. */
void lx_make_lora(lx_made_lora *f, uint64_t seed, int rank, double alpha, lx_dtype dtype);

/* The same with an alpha of its own for every module, or none (LX_NO_ALPHA). */
void lx_make_lora_of(lx_made_lora *f, uint64_t seed, int rank, const double alphas[LX_N_MADE],
                     lx_dtype dtype);

void lx_drop_lora(lx_made_lora *f); /* closed and removed */

/* The tensor "<module><suffix>" among `n`, or NULL. */
const lx_tensor_view *lx_find_part(const lx_tensor_view *tensors, size_t n, const char *module,
                                   const char *suffix);

double *lx_values_of(const lx_tensor_view *t); /* of any type; free() them */

#endif
