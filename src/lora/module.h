/*
 * lora/module - which layers a LoRA can adapt, and the memory of its factors
 *
 * Shared by create.c and load.c. The list and its order are those of sd-scripts' networks/lora.py:
 * text encoder, then UNet down, up, mid; in a block attentions before resnets before samplers.
 */
#ifndef LX_LORA_MODULE_H
#define LX_LORA_MODULE_H

#include "src/lora/lora.h"

typedef enum lx_lora_target_kind {
    LX_TARGET_LINEAR, /* linears and 1x1 convs of transformers and the text encoder */
    LX_TARGET_RESNET, /* time_emb_proj, conv_shortcut: network_dim, but only with conv_dim */
    LX_TARGET_CONV, /* 3x3 convolutions: conv_dim */
    LX_TARGET_OTHER /* conv_in, conv_out, time_embedding: never created, but found in files */
} lx_lora_target_kind;

typedef struct lx_lora_target {
    lx_part part;
    lx_lora_target_kind kind;
    const char *layer, *name;     /* of the arena */
    const lx_tensor_view *weight; /* of the checkpoint */
} lx_lora_target;

typedef struct lx_lora_targets {
    lx_lora_target *items; /* lx_free */
    size_t count, capacity;
} lx_lora_targets;

/* Every adaptable layer of the checkpoint, in order. LX_EFORMAT when one is missing. */
int lx_lora__targets(lx_lora_targets *out, lx_arena *arena, const lx_checkpoint *ckpt,
                     const lx_sd_config *config, lx_error *err);

/* The target that a module of a file means, whatever trainer spelled it; -1 when it is none. */
int lx_lora__find(const lx_lora_targets *targets, const char *name);

/* The same; LX_EMISMATCH when it is none, naming the module. */
int lx_lora__match(size_t *out, const lx_lora_targets *targets, const char *name,
                   lx_error *err);

/* What opening a file works with: the layers, and room of `found_bytes`, zeros, for what is found of each. */
typedef struct lx_lora_opening {
    lx_arena *arena;
    lx_lora_targets targets;
    void *found; /* by target */
} lx_lora_opening;

/* After an error lx_lora__end, too. */
int lx_lora__begin(lx_lora_opening *out, const lx_checkpoint *ckpt,
                   const lx_sd_config *config, size_t found_bytes, lx_error *err);
void lx_lora__end(lx_lora_opening *opening);

/*
 * A LoRA with room for `capacity` modules, whose factors have shapes but no memory yet
 * (lx_lora__add), and then the memory: one slab of values, one of gradients when trainable.
 */
int lx_lora__new(lx_lora **out, lx_device *dev, size_t capacity, lx_error *err);
int lx_lora__add(lx_lora *lora, const lx_lora_target *target, int rank, float alpha,
                 lx_error *err);
/* The rank and alpha that a spec of a plain LoRA gives to a layer; false = no module. */
bool lx_lora__choose(int *rank, double *alpha, const lx_lora_spec *spec,
                     const lx_lora_target *target);
/*
 * out: a new down. PyTorch's kaiming_uniform_(a = sqrt 5), which is uniform +-1/sqrt(fan in). The stream is
 * named after the module, so a module begins the same whichever others there are.
 */
void lx_lora__draw_down(float *out, const lx_lora_module *module, uint64_t seed);
/* The two matrices w1 [a, c] and w2 [b, d] of a LoKr of a layer [a*b, c*d(, kh, kw)], and which are products. */
typedef struct lx_lokr_shape {
    int64_t a, b, c, d;
    bool has_w1_factors, has_w2_factors;
} lx_lokr_shape;
lx_lokr_shape lx_lokr_shape_of(const lx_lora_module *module); /* of a LoKr */
/* As above; lokr: of LX_KIND_LOKR, else NULL. */
int lx_lora__add_kind(lx_lora *lora, const lx_lora_target *target, lx_lora_kind kind,
                      int rank, float alpha, const lx_lokr_shape *lokr, lx_error *err);
int lx_lora__place(lx_lora *lora, bool is_trainable, lx_error *err);

size_t lx_lora__size(const lx_param *param); /* elements */
/* The values of a factor, from the host to the device and to the host's copy where there is one. */
int lx_lora__put(lx_lora *lora, const lx_param *param, const float *values,
                 lx_error *err);

/* The factor of a role; NULL = the module has none such. */
lx_param *lx_lora__factor(lx_lora_module *module, lx_lora_role role);
/* The file's suffix of a role, with its dot. */
const char *lx_lora__suffix(lx_lora_role role);
/* From a file of LoHa and LoKr modules; see lx_lora_open. */
int lx_lora__open_lycoris(lx_lora **out, lx_device *dev, const lx_lora_targets *targets,
                          const lx_lora_file *file, bool is_trainable, lx_error *err);

#endif
