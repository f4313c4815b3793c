/*
 * cuda_emulation/step_model - how long a plan would take on a GPU that is only described here
 *
 * Of what the device does as one the operations are those of flops.c, bytes are of every operand from outside and
 * every result that is read outside, each once, and launches are counted by the emulated runtime, which must be
 * dry. Its bound is what the GPU's peak allows for its operations or its bytes, whichever takes longer. The model
 * takes a part of these peaks, counts what is read twice, lets products and attention wait for the last round of
 * blocks, and adds a pause to every launch. `gpu` and `parts` in step_model.c are all that is assumed; docs/cuda.md
 * says why.
 */
#ifndef LX_CUDA_EMULATION_STEP_MODEL_H
#define LX_CUDA_EMULATION_STEP_MODEL_H

#include "src/graph/graph.h"

/* A table by kind of kernel, on stdout. The plan has its memory. */
void lx_step_model_tell(lx_plan *plan);

#endif
