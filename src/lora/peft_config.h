/*
 * lora/peft_config - the alphas that PEFT and diffusers keep outside the tensors
 *
 *     adapter_config.json beside the file     r, lora_alpha, alpha_pattern, use_rslora
 *     lora_adapter_metadata in its header     the same with the component in front: unet.lora_alpha
 *
 * Of LoHa and LoKr (peft_type) the alpha is called alpha; of two whole matrices r and rank_pattern are asked, too.
 *
 * The scale is lora_alpha / rank, with use_rslora lora_alpha / sqrt(rank); an entry of alpha_pattern
 * whose key is the module's path or its end comes before lora_alpha. Patterns that are more than
 * a path are not followed, and said.
 *
 * A folder's config is that of adapter_model.safetensors or .bin in it. Other files there have nothing to do with it, but
 * where there is no such file: then it is of those that PEFT spelled and somebody renamed.
 *
 * Source: PEFT's LoraConfig (tuners/lora/config.py), diffusers' save_lora_weights.
 */
#ifndef LX_LORA_PEFT_CONFIG_H
#define LX_LORA_PEFT_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "src/format/tensor_file.h"

typedef struct lx_peft_config lx_peft_config;

/* path: of the file, for the one beside it, if that is the file's (family: lora/file's); NULL = only the header. *out
 * is NULL when there is neither. LX_ENOMEM, LX_EIO, LX_EPERM; a damaged one is none, with *problem told (a literal);
 * so is what is odd about one that is used: an r that is no tensor's rank, a peft_type that is not known, a start inside the base
 * model (init_lora_weights). */
int lx_peft_config_read(lx_peft_config **out, const char **problem,
                        const lx_tensor_file *file, const char *path, const char *family,
                        lx_error *err);
void lx_peft_config_free(lx_peft_config *config);

/* As an alpha of which alpha / rank is the scale. False when the config does not speak of the
 * module. The name is as the file spells it, without its suffix. */
bool lx_peft_config_alpha(double *alpha, const lx_peft_config *config, const char *module,
                          int64_t rank);

/* alpha / r of a LoKr whose matrices are both whole, so that no tensor has its rank; 1 when the config does not say. */
double lx_peft_config_scale(const lx_peft_config *config, const char *module);

/* "adapter_config.json" or "lora_adapter_metadata". */
const char *lx_peft_config_source(const lx_peft_config *config);
/* How many patterns could not be followed. */
size_t lx_peft_config_ignored(const lx_peft_config *config);

#endif
