/*
 * export/mlflow - runs in MLflow's file store
 *
 *     mlruns/<experiment>/meta.yaml
 *     mlruns/<experiment>/<run>/meta.yaml, metrics/, params/, tags/, artifacts/
 *
 * An experiment is a group of runs. Its id and those of runs follow from the names and
 * ids here, so a run that is exported again replaces itself. `mlflow migrate-filestore`
 * takes the result into a database. Source: mlflow/store/tracking/file_store.py,
 * utils/validation.py.
 *
 * A metric is a file and its name a path, so "loss" and "loss/average" exclude each other
 * there: the former becomes "loss/current" (as sd-scripts calls it), or "loss/current_"
 * where that is taken.
 */
#ifndef LX_EXPORT_MLFLOW_H
#define LX_EXPORT_MLFLOW_H

#include "src/export/export.h"

/* `folder` (mlruns) is made when it is not there. files: artifacts, by role. */
int lx_mlflow_write(const char *folder, const lx_export_run *run,
                    const lx_export_file *files, size_t n_files, lx_error *err);

#endif
