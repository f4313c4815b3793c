/*
 * train/output - the files of a training: when they are written and what they are called
 *
 * Names (sd-scripts library/train_util.py): `name-000003.safetensors` for an epoch (from 1),
 * `name-step00000200.safetensors` for a step, `name.safetensors` at the end; without output_name
 * `epoch-000003`, `at-step00000200`, `last`. The last epoch makes only the final file.
 * save_last_n_*: the file that falls out of the window is removed after the new one is durable.
 */
#ifndef LX_TRAIN_OUTPUT_H
#define LX_TRAIN_OUTPUT_H

#include "src/train/metadata.h"
#include "src/train/state.h"

typedef struct lx_output {
    const lx_train_config *config;
    const lx_lora *lora;
    lx_metadata *metadata;
    const lx_observer *observer;
    int total_epochs;
    lx_train_state state; /* what save_state saves; borrowed */
} lx_output;

/* Effective period in epochs (save_n_epoch_ratio turned into one); 0 = never. */
int lx_output_epoch_period(const lx_output *output);

/* After epoch `epoch` (from 1) and after step `step`: saves when it is time. */
int lx_output_epoch(lx_output *output, int epoch, int64_t step, lx_error *err);
int lx_output_step(lx_output *output, int finished_epochs, int64_t step, lx_error *err);
/* The states that belong to those files (save_state), after them. */
int lx_output_epoch_state(lx_output *output, int epoch, lx_error *err);
int lx_output_step_state(lx_output *output, int64_t step, lx_error *err);
int lx_output_last_state(lx_output *output, lx_error *err);
/* NAME-autosave: one that a training which ends well takes away again. */
int lx_output_autosave(lx_output *output, lx_error *err);
void lx_output_end_autosave(lx_output *output);
/* Where those are: "name-autosave" in output_dir. LX_ENOMEM only. */
int lx_output_autosave_path(lx_str *path, const lx_train_config *config, lx_error *err);

/* The final file; also what an interrupted training leaves. */
int lx_output_last(lx_output *output, int epoch, int64_t step, lx_error *err);
/* Is it there, with the LoRA's present values? (.ckpt and .pt: is one of its name there?) */
int lx_output_has_last(bool *out, const lx_output *output, lx_error *err);

#endif
