/*
 * export/export - runs for other programs: TensorBoard, MLflow, tables, JSON
 *
 * Plain structs in, bytes or files out; nothing here knows the store. Texts are borrowed,
 * valid UTF-8 and already scrubbed. Numbers are written so that they read back the same
 * (but TensorBoard's are f32).
 */
#ifndef LX_EXPORT_EXPORT_H
#define LX_EXPORT_EXPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/error.h"
#include "src/base/str.h"

typedef struct lx_export_flag {
    const char *key;
    const char *text; /* of any value, as people write it */
    double number;    /* NaN: it is none */
    bool is_bool;     /* then number is 0 or 1 */
} lx_export_flag;

typedef struct lx_export_pair {
    const char *key, *value;
} lx_export_pair;

typedef struct lx_export_curve {
    const char *key;
    const int64_t *steps;
    const double *values;
    size_t n;
} lx_export_curve;

typedef struct lx_export_file {
    const char *role, *name;
    int64_t step; /* -1: of none */
    void *data;   /* n bytes */
    size_t n;
} lx_export_file;

typedef struct lx_export_run {
    const char *id, *name, *kind, *status, *message, *group; /* "" = none */
    const char *command_line, *commit;                       /* NULL = not known */
    double started, ended; /* seconds since 1970; ended 0 = has not */
    const lx_export_flag *flags;
    size_t n_flags;
    const char *const *unset; /* keys of flags that are null, as Python's None */
    size_t n_unset;
    const lx_export_pair *tags; /* value "" = a plain tag */
    size_t n_tags;
    const char *const *notes;
    size_t n_notes;
    const lx_export_curve *curves;
    size_t n_curves;
} lx_export_run;

/* The time of point k of n: points lie evenly between start and end, as no clock is kept
 * for each. */
double lx_export_time(const lx_export_run *run, size_t k, size_t n);

/* A name as a file or folder: letters, digits, ' ', '.', '_', '-' stay, others become
 * '_'; never "",
 * "." or "..", never longer than 120 bytes. Appends. */
void lx_export_name(lx_str *out, const char *name);

/* run,name,key,step,value: one line a point. */
int lx_export_csv(lx_str *out, const lx_export_run *runs, size_t n, lx_error *err);

#endif
