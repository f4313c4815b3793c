/*
 * train/footprint - what a training holds in memory at its peak, known before its first step
 *
 * Everything large is counted, not guessed: the arena is placed, weights are listed, states of the
 * optimizer are made. What is left, the program with its libraries and tables, is asked of the system
 * when the count is made. Pages are what counts: a weight is there when a step has read it.
 *
 * Two moments can be the peak. While latents are cached:
 *
 *     program + lora + latents + encoder
 *
 * and when a step has ended and its LoRA is saved, while all of the training is there:
 *
 *     program + touched + copied + arena + lora + optimizer + latents + saving (+ encoder + reading, uncached)
 *
 * Uncached, both arenas are there whether the encoder works between the steps or beside them.
 * Pictures and validation on the way are not in it: their graphs are planned when they are needed.
 * On a device with memory of its own, arena and weights are there; the sum is what both hold.
 */
#ifndef LX_TRAIN_FOOTPRINT_H
#define LX_TRAIN_FOOTPRINT_H

#include "src/train/config.h"

/* All in bytes. */
typedef struct lx_footprint {
    size_t program;   /* with its libraries and what it has read of the data */
    size_t mapped;    /* weights used where they stand in the model's file */
    size_t touched;   /* of these what a training reads: all but rows of embeddings */
    size_t copied;    /* weights held as f32, or laid out again for the device */
    size_t arena;     /* activations, gradients of activations, scratch */
    size_t lora;      /* values and gradients */
    size_t optimizer; /* its states */
    size_t latents;   /* of the images, where they are cached */
    size_t encoder;   /* the VAE at work: its weights and its arena */
    size_t reading;   /* pixels of the next images, or what the encoder made of them (data/prefetch) */
    size_t saving;    /* the LoRA once more, as it is written; F32 on the host is written as it stands */
    bool is_cached;   /* latents are: the encoder is gone before the first step */
    bool encodes_ahead; /* the encoder works beside the steps, else between them */
    size_t peak;
    /* Of a GPU, which has memory of its own (else 0): what it holds at its peak is its weights, as they are and packed,
     * arena, lora, optimizer and context, and the VAE where it stays there. arena has the libraries' workspaces in it. */
    size_t device, device_weights, packed, context;
    size_t device_beside; /* of the device's, all but the step's weights and arena */
} lx_footprint;

/* What CUDA and the loaded libraries take of a GPU before anything is allocated: an estimate, not
 * measured. */
enum { LX_FOOTPRINT_CONTEXT = 400 << 20 };

/* What is counted. Parameters of a part have been made (a graph was built, dry or not). */
typedef struct lx_footprint_of {
    const lx_train_config *config;
    const lx_dataset *dataset;
    const lx_checkpoint *checkpoint;
    const lx_lora *lora;
    const lx_trainable *tensors;
    size_t n_tensors;
    size_t program, arena, encoder_arena;
    bool encodes_ahead;
    bool has_own_memory; /* the device has: the LoRA is copied to be saved, and weights are there as plans say: */
    size_t held, encoder_held; /* of the step and of the VAE */
} lx_footprint_of;

int lx_footprint_count(lx_footprint *out, const lx_footprint_of *of, lx_error *err);
/* The sum of all but the arena, in the second moment. */
size_t lx_footprint_beside_arena(const lx_footprint *f);

#endif
