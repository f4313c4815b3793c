/*
 * model/checkpoint_internal - what checkpoint.c, checkpoint_param.c and checkpoint_config.c share
 */
#ifndef LX_MODEL_CHECKPOINT_INTERNAL_H
#define LX_MODEL_CHECKPOINT_INTERNAL_H

#include "src/base/arena.h"
#include "src/model/checkpoint.h"

/* One weight on one device in one dtype. */
typedef struct lx_checkpoint_copy {
    lx_param param;
    lx_weight_source source; /* of param, where the device has memory of its own */
    const lx_tensor_view *view;
    lx_device *dev;
    bool is_borrowed; /* the file's own bytes */
    struct lx_checkpoint_copy *next;
} lx_checkpoint_copy;

typedef struct lx_checkpoint_entry {
    const char *name;           /* diffusers' */
    const lx_tensor_view *view; /* borrowed from one of `files` */
    lx_checkpoint_copy *copies;
} lx_checkpoint_entry;

/* The weights of a part, and an open-addressing index of their names (0 = empty, else i + 1). */
typedef struct lx_checkpoint_table {
    lx_checkpoint_entry *entries;
    size_t count, capacity;
    uint32_t *slots;
    size_t n_slots; /* a power of two, at most half full */
} lx_checkpoint_table;

struct lx_checkpoint {
    lx_arena *arena;
    lx_tensor_file **files;
    size_t n_files, files_capacity;
    lx_checkpoint_table parts[LX_PART_COUNT];
    int folder_text_heads; /* of text_encoder/config.json; 0 = none */
};

/* NULL when absent. */
lx_checkpoint_entry *lx_checkpoint__entry(const lx_checkpoint *ckpt, lx_part part,
                                          const char *name);

#endif
