/*
 * export/mlflow - runs in MLflow's file store
 *
 *     mlruns/<experiment>/meta.yaml
 *     mlruns/<experiment>/<run>/meta.yaml, metrics/, params/, tags/, artifacts/
 *
 * An experiment is a group of runs. Its id and those of runs follow from the names and ids here, so a run that is
 * exported again is the same one there: what lx wrote of it before and would not write now is removed
 * (src/export/mlflow_list.h), what MLflow's users added stays, and where the run's group changed its folder moves.
 * `mlflow migrate-filestore` takes the result into a database. Source: mlflow/store/tracking/file_store.py.
 *
 * Keys are paths there: src/export/mlflow_keys.h. Parameters are written as Python's str() does it.
 */
#ifndef LX_EXPORT_MLFLOW_H
#define LX_EXPORT_MLFLOW_H

#include "src/export/export.h"

/* `folder` (mlruns) is made when it is not there. files: artifacts, by role. */
int lx_mlflow_write(const char *folder, const lx_export_run *run,
                    const lx_export_file *files, size_t n_files, lx_error *err);

#endif
