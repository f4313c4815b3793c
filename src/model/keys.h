/*
 * model/keys - what checkpoints call the weights, and what lx calls them
 *
 * lx uses diffusers' module names, because LoRA names are made of them. Single files carry the
 * names of the original latent diffusion code ("LDM"):
 *
 *     model.diffusion_model.input_blocks.1.0.in_layers.2.weight
 *     unet: down_blocks.0.resnets.0.conv1.weight
 *
 * Source: CompVis/stable-diffusion ldm/modules/diffusionmodules (LDM side), diffusers
 * UNet2DConditionModel and AutoencoderKL (other side).
 */
#ifndef LX_MODEL_KEYS_H
#define LX_MODEL_KEYS_H

#include "src/base/str.h"
#include "src/model/checkpoint.h"

/*
 * A key of a whole-model file. false (and *name empty) when it belongs to none of the three parts:
 * EMA copies, noise schedules, position ids and the like, which are passed over.
 */
bool lx_key_of_model(lx_part *part, lx_str *name, const char *key);

/*
 * A key of a file that holds one part: diffusers' own names of any age (a VAE with query/key/value
 * or to_q/to_k/to_v; a text encoder with or without `text_model.`), or LDM names without prefix
 * (VAE files such as vae-ft-mse). false when it is no weight of the part.
 */
bool lx_key_of_part(lx_str *name, lx_part part, const char *key);

/* What another architecture's whole-model file is, from one of its keys: "SDXL"; NULL = unknown. */
const char *lx_key_foreign_model(const char *key);

#endif
