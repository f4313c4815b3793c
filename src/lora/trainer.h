/*
 * lora/trainer - which program wrote a LoRA, by its metadata and its spelling of names
 *
 *     software                                  ai-toolkit
 *     ot_branch, ot_revision, ot_config         OneTrainer
 *     modelspec.implementation = diffusers and trained_words or lycoris_config    SimpleTuner
 *     lora_adapter_metadata, format = pt alone  diffusers
 *     sshs_ratio, sshs_blocks                   supermerger
 *     lx.version                                lx
 *     ss_network_module                         sd-scripts, LyCORIS, musubi-tuner
 *     names alone                               cloneofsimo, PEFT, XLabs
 */
#ifndef LX_LORA_TRAINER_H
#define LX_LORA_TRAINER_H

#include "src/format/tensor_file.h"

/* A literal; "" when nothing tells. `family` as in lx_lora_file. */
const char *lx_lora_trainer(const lx_tensor_file *file, const char *family);

#endif
