/*
 * model/checkpoint - the weights of an SD 1.x model, by one set of names
 *
 * Opens a single file (.safetensors, .ckpt) with LDM keys or a diffusers folder and answers by
 * diffusers' module names, which are also what LoRA names are made of:
 *
 *     unet/down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.weight
 *     te/text_model.encoder.layers.0.self_attn.q_proj.weight
 *     vae/encoder.down_blocks.0.resnets.0.conv1.weight
 *
 * All sizes (widths, depth, context size) come from the shapes; only the number of CLIP heads cannot
 * (width 768: 12, else lx_sd_config.text_heads from the caller or metadata lx.text_encoder_heads).
 * Key tables: src/model/keys.c.
 */
#ifndef LX_MODEL_CHECKPOINT_H
#define LX_MODEL_CHECKPOINT_H

#include "src/format/tensor_file.h"
#include "src/graph/graph.h"

typedef enum lx_part { LX_UNET, LX_TEXT_ENCODER, LX_VAE, LX_PART_COUNT } lx_part;

typedef struct lx_checkpoint lx_checkpoint;

/*
 * vae_path: a replacement VAE (file or folder) or NULL. Errors name the file and the key.
 * Close gives back the parameters too, so devices are closed after checkpoints.
 *
 *   LX_EFORMAT       no UNet in it, or two keys for one weight
 *   LX_EUNSUPPORTED  another architecture (SDXL, SD 2.x ...), named
 */
int lx_checkpoint_open(lx_checkpoint **out, const char *path, const char *vae_path,
                       lx_error *err);
void lx_checkpoint_close(lx_checkpoint *ckpt);

/* Borrowed view by part and diffusers name; NULL when absent. 1x1 convs and linears keep the
 * shape of the file. */
const lx_tensor_view *lx_checkpoint_find(const lx_checkpoint *ckpt, lx_part part,
                                         const char *name);
/* Other values for a weight, F32 in its shape, copied; what the file has stays as it is. `layer` without
 * ".weight". Before any parameter of it is made. LX_EFORMAT when there is none. */
int lx_checkpoint_change(lx_checkpoint *ckpt, lx_part part, const char *layer,
                         const float *values, lx_error *err);
/* n more rows at the end of a table [rows, D], copied; it is F32 then. Likewise before any parameter of
 * it is made. */
int lx_checkpoint_append(lx_checkpoint *ckpt, lx_part part, const char *layer, const float *rows,
                         size_t n, lx_error *err);
const lx_tensor_view *lx_checkpoint_find_weight(const lx_checkpoint *ckpt, lx_part part,
                                                const char *layer);
/* All weights of a part, in the order of the file. `name` may be NULL. */
size_t lx_checkpoint_count(const lx_checkpoint *ckpt, lx_part part);
const lx_tensor_view *lx_checkpoint_at(const lx_checkpoint *ckpt, lx_part part, size_t i,
                                       const char **name);
const char *lx_checkpoint_metadata(const lx_checkpoint *ckpt, const char *key);
const char *lx_part_name(lx_part part); /* "UNet", "text encoder", "VAE" */

/*
 * The weight as a frozen parameter on `dev`, made at the first request and kept until
 * lx_checkpoint_unload(part) or close. dtype: LX_F32, or LX_F16 for a weight that the file holds so
 * (conv, linear and embedding take it; widening is exact). Where the device computes in host memory
 * and the file has the dtype asked for, the parameter is the mapped file itself and costs nothing.
 * Where it has memory of its own, nothing is there until somebody holds or packs it (lx_param_hold).
 * 0, or LX_EFORMAT naming the missing key.
 */
int lx_checkpoint_param(lx_param **out, lx_checkpoint *ckpt, lx_device *dev, lx_part part,
                        const char *name, lx_dtype dtype, lx_error *err);
/* A parameter that has been made. */
typedef struct lx_checkpoint_weight {
    size_t bytes;
    bool is_mapped;    /* the file itself; else memory of its own */
    bool is_embedding; /* read by rows */
} lx_checkpoint_weight;
/* The next one of a part after *at, which begins as 0; false when there are no more. */
bool lx_checkpoint_held(lx_checkpoint_weight *out, const lx_checkpoint *ckpt,
                        lx_part part, size_t *at);
/* dev NULL: from every device. Plans that name these parameters are freed before. */
void lx_checkpoint_unload(lx_checkpoint *ckpt, lx_device *dev, lx_part part);

/* kohya's hashes: model_hash (8 digits, AutoV1) and the SHA-256 of the file, as hex. A folder has
 * neither: "" is returned. */
int lx_checkpoint_hashes(char old_hash[9], char sha256[65], const char *path, lx_error *err);

/* Read from shapes. */
typedef struct lx_sd_config {
    int unet_channels[4];  /* 320, 640, 1280, 1280 */
    int context_size;      /* 768 */
    int unet_heads;        /* 8 at every level (cannot be told from shapes) */
    int text_width, text_layers, text_heads, vocab_size, text_positions;
    int vae_channels[4];
    int latent_channels;   /* 4 */
} lx_sd_config;
/* text_heads: 0 = metadata or the folder's config.json, else 12 at width 768, else LX_EUSAGE naming
 * --text_encoder_heads. A checkpoint without VAE gives zeros for it. */
int lx_checkpoint_config(lx_sd_config *out, const lx_checkpoint *ckpt, int text_heads,
                         lx_error *err);

#endif
