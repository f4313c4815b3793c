/*
 * import/mlflow - runs of an MLflow store
 *
 * The file store, mlruns/<experiment>/<run>/{meta.yaml, metrics/, params/, tags/}, is
 * read here; what MLflow's SQLite store holds is brought by store/mlflow_db.h and put
 * into the same shape by lx_mlflow_tag and lx_mlflow_param. Deleted experiments and runs
 * are left out, and links are not followed. Metric lines are "timestamp value step", the
 * step from 0 on; NaN and infinities as Python spells them. Source: mlflow/store/tracking/file_store.py.
 */
#ifndef LX_IMPORT_MLFLOW_H
#define LX_IMPORT_MLFLOW_H

#include "src/import/history.h"

/* Every run of a folder mlruns. What cannot be read becomes a problem. */
int lx_import_mlflow(lx_history *history, const char *folder, lx_error *err);

/* Is there an experiment in it: a folder with a meta.yaml? */
bool lx_mlflow_is_folder(const char *folder);

/* One tag of a run: those that MLflow reserves become name, note, group, facts;
 * mlflow.user and paths only when private things are kept. */
void lx_mlflow_tag(lx_history *history, lx_history_run *run, const char *key,
                   const char *value);
/* 1..5 or RUNNING, SCHEDULED, FINISHED, FAILED, KILLED as a status of ours. */
const char *lx_mlflow_status(const char *text);

#endif
