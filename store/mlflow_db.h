/*
 * store/mlflow_db - reading the runs of an MLflow SQLite store
 *
 * The file is opened read-only, never as a store of ours, and is a stranger's: its schema
 * is not trusted, and what must be a table is looked up to be one. Deleted runs and
 * experiments are left out. MLflow keeps NaN as 0 with is_nan, infinities as the largest
 * doubles; they come as what they were. Older files lack runs.name, metrics.is_nan or
 * metrics.step. Source: mlflow/store/tracking/dbmodels.
 */
#ifndef LX_STORE_MLFLOW_DB_H
#define LX_STORE_MLFLOW_DB_H

#include <stdbool.h>
#include <stdint.h>

#include "src/base/error.h"

typedef struct lx_mlflow_run {
    const char *id, *name, *experiment, *status, *user; /* "" when unknown */
    double started, ended; /* seconds since 1970; 0 = unknown */
} lx_mlflow_run;

/* Each run, then what belongs to it. Texts are borrowed until the call returns; a
 * negative return ends the reading. */
typedef struct lx_mlflow_sink {
    void *context;
    int (*on_run)(void *context, const lx_mlflow_run *run, lx_error *err);
    int (*on_param)(void *context, const char *key, const char *value, lx_error *err);
    int (*on_tag)(void *context, const char *key, const char *value, lx_error *err);
    int (*on_point)(void *context, const char *key, int64_t step, double value,
                    lx_error *err);
} lx_mlflow_sink;

/* LX_EFORMAT: not SQLite, or not MLflow's; the path is in the error. */
int lx_mlflow_db_read(const char *path, const lx_mlflow_sink *sink, lx_error *err);
/* Is it an SQLite file with MLflow's tables? */
bool lx_mlflow_db_is(const char *path);

#endif
