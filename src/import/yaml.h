/*
 * import/yaml - the flat mappings that MLflow and accelerate write (libyaml)
 *
 * Only "key: scalar" at the top is looked at; lists and nested mappings are skipped.
 * Anchors, aliases and tags mean nothing here, so a file cannot grow by them.
 */
#ifndef LX_IMPORT_YAML_H
#define LX_IMPORT_YAML_H

#include "src/base/str.h"
#include "src/import/history.h"

enum { LX_YAML_BYTES = 1 << 20 };

/* Once per pair, in the file's order. is_plain: written without quotes, so that null is
 * null. */
typedef int (*lx_yaml_pair)(void *context, const char *key, const char *value,
                            bool is_plain, lx_error *err);

/* LX_EFORMAT with the line of what is no YAML; the path is in the error. */
int lx_yaml_read(const char *path, lx_yaml_pair pair, void *context, lx_error *err);

/* The pairs of a file as flags of a run. A damaged file is a problem of the history, not
 * an error. */
int lx_import_yaml_flags(lx_history *history, lx_history_run *run, const char *path,
                         lx_error *err);

#endif
