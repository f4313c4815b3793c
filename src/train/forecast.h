/*
 * train/forecast - how long a training would take, and how large its files will be
 *
 * Time is calibrated on this machine, now: one call of each kind is timed on the real shapes for about a second
 * (graph.h, lx_plan_measure), for the shape that takes most of an epoch; other shapes count by their operations. The
 * update is timed on the LoRA itself. On the CPU only: a GPU's time has not been compared with anything yet. Samples, validation and saving are not in it. Memory: train/footprint.
 */
#ifndef LX_TRAIN_FORECAST_H
#define LX_TRAIN_FORECAST_H

#include "src/train/session.h"

typedef struct lx_span {
    double seconds, low, high;
} lx_span;

typedef struct lx_forecast {
    size_t file_bytes; /* of a saved LoRA, exactly; 0 = no safetensors */
    int64_t n_files;   /* that are there in the end */
    bool is_timed;
    bool is_busy;               /* other programs had the processors meanwhile */
    lx_span caching, step, all; /* a step is an update with all its batches */
    double timed_share;         /* of a step's seconds: of kinds that were timed */
} lx_forecast;

/*
 * After lx_train_estimate; the training can only be closed then. dataset is the planned one that it was opened with.
 * budget: seconds for timing, 0 = none.
 */
int lx_forecast_of(lx_forecast *out, const lx_train *train, const lx_dataset *dataset,
                   double budget, lx_error *err);

#endif
