/* cmd/export - runs in forms that others read; one function a form, picked by
 * cmd/export.c */
#ifndef LX_CMD_EXPORT_H
#define LX_CMD_EXPORT_H

#include "cmd/cli.h"
#include "store/privacy.h"
#include "store/query.h"

typedef struct lx_export_job {
    lx_cli *cli;
    lx_store *store;
    lx_privacy *privacy;
    const lx_run_row *runs;
    size_t n_runs;
    const char *output; /* NULL: standard output, where the form is text */
} lx_export_job;

int lx_export_bundle(lx_export_job *job, lx_error *err); /* cmd/export_bundle.c */
/* cmd/export_forms.c */
int lx_export_tensorboard(lx_export_job *job, lx_error *err);
int lx_export_mlflow(lx_export_job *job, lx_error *err);
int lx_export_table(lx_export_job *job, lx_error *err);
int lx_export_json(lx_export_job *job, lx_error *err);

/* Says what was taken out, unless --quiet. */
int lx_export_tell_scrubbed(lx_export_job *job, lx_error *err);

#endif
