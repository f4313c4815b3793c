/*
 * model/kind - which whole model a file holds, by the names and shapes of its tensors
 *
 * Single files with LDM names (model.diffusion_model., first_stage_model., ...), files of
 * one network as diffusers names it, and the transformers of newer models with or without
 * a prefix. Nothing is loaded; a header is enough.
 */
#ifndef LX_MODEL_KIND_H
#define LX_MODEL_KIND_H

#include <stdint.h>

#include "src/format/tensor_file.h"

typedef enum lx_model_piece {
    LX_PIECE_DIFFUSION, /* UNet or transformer */
    LX_PIECE_VAE,
    LX_PIECE_TEXT,
    LX_PIECE_TEXT_2,
    LX_PIECE_EMA,     /* a second copy of the UNet; a training's average */
    LX_PIECE_CONTROL, /* a ControlNet */
    LX_PIECE_OTHER,
    LX_PIECE_COUNT
} lx_model_piece;

typedef struct lx_model_part {
    size_t n_tensors, bytes;
    uint64_t n_elements;
    size_t n_dtypes[LX_DTYPE_COUNT];
} lx_model_part;

/* "SD 1.x", "SDXL", "Flux.1", "VAE", "CLIP text encoder" ...; NULL when it is no whole
 * model that is known here. A literal. */
const char *lx_model_kind(const lx_tensor_file *file);

/* The parts, each tensor in one; those beyond what names tell are LX_PIECE_OTHER. */
void lx_model_parts(lx_model_part parts[LX_PIECE_COUNT], const lx_tensor_file *file);

/* "UNet", "VAE", ...; the first is "transformer" in models that have no UNet. */
const char *lx_model_piece_name(lx_model_piece piece, const char *kind);

#endif
