/*
 * cmd/train_log - what TensorBoard shows of a training, while it runs
 *
 * --logging_dir DIR [--log_prefix P] [--log_tracker_name N]: DIR/P20260131120000/network_train/ with one
 * event file that grows by every step, under sd-scripts' tags:
 *
 *     by step   loss/current, loss/average, lr/textencoder, lr/unet (lr/unet_block4 ... where blocks have rates of
 *               their own; "lr/unet plus" is LoRA+'s of the ups), lr/d*lr/..., max_norm/keys_scaled,
 *               max_norm/max_key_norm, norm/avg_key_norm, loss/validation/step_average, step_divergence
 *     by epoch  loss/epoch_average, loss/validation/epoch_average, epoch_divergence
 *
 * sd-scripts writes a point for every micro-batch and a stray lr/group1; here it is one for every step,
 * and no such tag. Source: sd-scripts train_network.py (generate_step_logs).
 */
#ifndef LX_CMD_TRAIN_LOG_H
#define LX_CMD_TRAIN_LOG_H

#include "src/export/tensorboard.h"
#include "src/lora/lora.h"
#include "src/train/config.h"
#include "src/train/observer.h"

/* Factors of one part that are trained at one rate. */
typedef struct lx_train_log_group {
    char name[24]; /* "unet_block12 plus" */
    lx_part part;
    double factor; /* of the part's rate */
} lx_train_log_group;

typedef struct lx_train_log {
    const lx_train_config *config;
    lx_train_log_group groups[2 * (LX_LORA_BLOCKS + 1)];
    size_t n_groups;
    lx_tensorboard_log *events; /* NULL: none is wanted */
} lx_train_log;

/* lora: what is trained. flags: the run's, for --log_config. Nothing is opened without --logging_dir. */
int lx_train_log_open(lx_train_log *log, const lx_train_config *config, const lx_lora *lora,
                      const lx_export_flag *flags, size_t n_flags, lx_error *err);
int lx_train_log_step(lx_train_log *log, const lx_step_report *report, lx_error *err);
int lx_train_log_validation(lx_train_log *log, const lx_validation_report *report,
                            lx_error *err);
int lx_train_log_epoch(lx_train_log *log, int epoch, double average_loss, lx_error *err);
/* The file's path, NULL when there is none; valid until close. */
const char *lx_train_log_path(const lx_train_log *log);
void lx_train_log_close(lx_train_log *log);

#endif
