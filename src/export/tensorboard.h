/*
 * export/tensorboard - a run as a TensorBoard event file
 *
 * Scalars as `simple_value` (f32), notes and the command line as texts, pictures as
 * images, and the settings for the HParams page. That page leaves out a run whose setting
 * has another type than its siblings', and settings the first run lacks; so all runs of
 * one export get the union of their settings, one type each (a number only where it is
 * one in all), null where a run has none. Layout of records: src/import/tfevents.h.
 * Sources: there, and the protos of tensorboard/plugins/hparams.
 */
#ifndef LX_EXPORT_TENSORBOARD_H
#define LX_EXPORT_TENSORBOARD_H

#include "src/export/export.h"

/* The union of the settings of runs, in the order of their keys. */
typedef struct lx_tensorboard_param {
    const char *key;
    enum {
        LX_PARAM_TEXT = 1,
        LX_PARAM_BOOL = 2,
        LX_PARAM_NUMBER = 3
    } type; /* as in HParamInfo */
} lx_tensorboard_param;
/* *out is yours (lx_free). */
int lx_tensorboard_params(lx_tensorboard_param **out, size_t *n,
                          const lx_export_run *runs, size_t n_runs, lx_error *err);

/* The bytes of the file of one run. images: PNG or JPEG files; others are passed over. */
int lx_tensorboard_file(lx_str *out, const lx_export_run *run,
                        const lx_tensorboard_param *params, size_t n_params,
                        const lx_export_file *images, size_t n_images, lx_error *err);

/* "events.out.tfevents.1700000000.lx.0.0": the host's name is not told. */
void lx_tensorboard_name(char out[64], const lx_export_run *run);

/* ---- while a run goes on ------------------------------------------------------------- */

/* An event file that grows. Points wait until a flush; a flush that fails is final. */
typedef struct lx_tensorboard_log lx_tensorboard_log;

/* Makes the folder, and a new file in it (never one that is there). time: seconds since 1970. */
int lx_tensorboard_log_open(lx_tensorboard_log **out, const char *folder, double time,
                            lx_error *err);
int lx_tensorboard_log_scalar(lx_tensorboard_log *log, double time, const char *tag,
                              int64_t step, double value, lx_error *err);
/* For the HParams page; before the first scalar. */
int lx_tensorboard_log_settings(lx_tensorboard_log *log, double time,
                                const lx_export_flag *flags, size_t n, lx_error *err);
int lx_tensorboard_log_flush(lx_tensorboard_log *log, lx_error *err);
const char *lx_tensorboard_log_path(const lx_tensorboard_log *log);
void lx_tensorboard_log_close(lx_tensorboard_log *log); /* NULL is fine */

#endif
