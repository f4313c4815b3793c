/*
 * lora/extract - the difference of two checkpoints as a LoRA
 *
 * Of every layer that a LoRA adapts the difference W_tuned - W_base is formed in f64, its largest singular
 * values are kept (lora/svd: by a seeded sketch where the layer is large), and the factors are rounded to
 * the dtype that is asked for. What is lost is measured afterwards on the very factors that are written:
 *
 *     error = |D - up down| / |D|        Frobenius norms, alpha = rank
 *
 * Adapted are, as sd-scripts trains them: the attention blocks' linears and 1x1 convolutions and the text
 * encoders' attention and MLP; with `conv_rank` also what is in residual blocks and samplers, its 3x3
 * convolutions at that rank, the rest at `rank`. Norms, biases, embeddings and what stands outside of the
 * blocks have no place in a LoRA: if they differ, they are counted, with their share of all that differs.
 *
 * One layer's difference is in memory at a time. Layers are found by what they are (lora/layer), so the files
 * may be spelled differently (.ckpt, .safetensors, diffusers folders).
 *
 * `clamp_quantile` below 1 cuts the factors' largest values off, as extract_lora_from_models.py does at 0.99:
 * U S and V^T are clamped at that quantile of both together. It costs much of the result at small sizes.
 *
 * Order of use: lx_extract_new, lx_extract_run, lx_extract_free.
 */
#ifndef LX_LORA_EXTRACT_H
#define LX_LORA_EXTRACT_H

#include "src/format/safetensors.h"
#include "src/lora/model_files.h"
#include "src/lora/spell.h"

typedef struct lx_extract_options {
    size_t rank;           /* 0 with an error: unbounded */
    size_t conv_rank;      /* 0: without residual blocks and samplers */
    double error;          /* not 0: each module's least rank with that relative error */
    double clamp_quantile; /* 1: not clamped */
    double min_diff; /* text encoders whose elements all differ by no more are left out */
    bool skips_text;
    uint64_t seed;
    lx_dtype dtype; /* LX_F32, LX_F16 or LX_BF16 */
} lx_extract_options;

typedef struct lx_extract_module {
    const char *name;
    size_t out, in, rank;
    double norm;  /* of the difference */
    double error; /* relative, of what is written */
} lx_extract_module;

typedef struct lx_extract_result {
    lx_tensor_view *tensors; /* owned by the lx_extract */
    size_t n_tensors;
    lx_extract_module *modules;
    size_t n_modules;
    size_t n_same;     /* layers that a LoRA could adapt and that do not differ */
    size_t n_left_out; /* tensors that differ and have no place in the LoRA */
    const char *first_left_out; /* a key of the tuned file */
    size_t n_conv_left_out;     /* those among them that conv_rank would take */
    bool has_text,
        text_is_left_out; /* left out: by min_diff or skips_text, though it differs */
    double largest_text;  /* the largest difference of a text encoder's element */
    size_t n_alone;       /* layers that only one of the files has */
    const char *first_alone;
    double error;    /* relative, of all modules together */
    double left_out; /* norm of what was left out / norm of all that differs */
    lx_spell_model model;
} lx_extract_result;

typedef struct lx_extract lx_extract;

int lx_extract_new(lx_extract **out, lx_error *err);
void lx_extract_free(lx_extract *extract);

/*
 * progress: called before each layer with its number and how many there are; may be NULL, a nonzero result
 * stops with LX_EINTERRUPTED.
 *
 *   LX_EMISMATCH  the files have no layer in common, a layer has other sizes, or nothing differs
 *   LX_EFORMAT    values that are not finite, named
 *   LX_ELIMIT     factors beyond the dtype's range
 */
typedef int (*lx_extract_progress)(void *context, size_t done, size_t all);
int lx_extract_run(lx_extract_result *out, lx_extract *extract,
                   const lx_model_files *base, const lx_model_files *tuned,
                   const lx_extract_options *options, lx_extract_progress progress,
                   void *context, lx_error *err);

#endif
