/*
 * export/mlflow_keys - names as MLflow's keys, no two in one another's way
 *
 * MLflow's file store keeps a metric, parameter, tag or artifact in a file and takes its key for the path of
 * that file. So a key
 *
 *   - has letters, digits, _ - . : space and / only, other signs become _, and no more than 250 bytes;
 *   - is a path that stays inside: no part is "", "." or begins with ".." (it gets a _ in front);
 *   - is no folder of another one: "loss" beside "loss/average" becomes "loss/current" (as sd-scripts calls it);
 *   - is told apart from one that came out the same: "key-2", a file's name keeps its ending.
 *
 * Fixed names keep their keys: a tag "lx.id/x" becomes "lx.id_x", a second "lx.id" "lx.id-2".
 * Source: mlflow/utils/validation.py, mlflow/store/tracking/file_store.py.
 */
#ifndef LX_EXPORT_MLFLOW_KEYS_H
#define LX_EXPORT_MLFLOW_KEYS_H

#include <stdbool.h>
#include <stddef.h>

#include "src/base/arena.h"
#include "src/base/error.h"

typedef struct lx_mlflow_key {
    const char *name;
    bool is_fixed, is_file;
    char *key; /* made: in the arena */
} lx_mlflow_key;

/*
 * The keys of all names of one kind. current: what a key that is a folder is called in it. folder: where their files
 * will be; what is there already and in the way is gone around in the same manner (a file of just this key is not in
 * the way). NULL: nothing is there.
 */
int lx_mlflow_keys(lx_mlflow_key *keys, size_t n, const char *current, const char *folder, lx_arena *arena,
                   lx_error *err);

#endif
