/*
 * export/mlflow_list - what lx wrote into a run's folder of MLflow's, so that it can take it back
 *
 * The list is the file lx.sha256 beside the run's meta.yaml, in the form of sha256sum (`sha256sum -c lx.sha256`):
 *
 *     HASH  tags/lx.id
 *
 * MLflow reads the files and folders there that it knows by name and passes over others. A hash of zeros stands for
 * what was about to be written, whatever has become of it.
 *
 *  (1) The list on the disk names a file before the file is there, and until it is gone.
 *  (2) Only what is listed, lies in metrics/, params/, tags/ or artifacts/ of the run's folder with no link on the way,
 *      and has the hash that it was written with is removed. So what MLflow's users added or changed stays.
 */
#ifndef LX_EXPORT_MLFLOW_LIST_H
#define LX_EXPORT_MLFLOW_LIST_H

#include <stdbool.h>
#include <stddef.h>

#include "src/base/arena.h"
#include "src/base/error.h"
#include "src/base/sha256.h"

typedef struct lx_mlflow_item {
    const char *path; /* below the run's folder: "tags/lx.id" */
    lx_hash hash;
} lx_mlflow_item;

typedef struct lx_mlflow_list {
    lx_mlflow_item *items;
    size_t n, capacity;
} lx_mlflow_list;

/* In the arena; path is borrowed. hash NULL: of zeros. */
int lx_mlflow_list_add(lx_mlflow_list *list, const char *path, const lx_hash *hash, lx_arena *arena, lx_error *err);

/* None there: empty. Lines of another shape, or that lead out of the folder, are left out. */
int lx_mlflow_list_read(lx_mlflow_list *out, const char *folder, lx_arena *arena, lx_error *err);
int lx_mlflow_list_write(const lx_mlflow_list *list, const char *folder, lx_error *err);

/* Removes what `was` lists and `is` does not, and folders that are empty then. Where writing was interrupted, also the
 * temporary files it left. Both lists are sorted. */
int lx_mlflow_list_clean(lx_mlflow_list *was, lx_mlflow_list *is, const char *folder, lx_error *err);

#endif
