/*
 * cmd/run_record - what of a watched command goes into its run
 *
 * The view of `lx run` (cmd/child.h) that writes into a store: console, curves, files,
 * GPUs. Where a curve comes from twice, the event files' word is the better one, for they
 * have all digits: with a logging folder the average on the progress bar is the curve
 * "loss/bar", unless no event file ever tells of "loss/average"; then the bar's points
 * become it.
 */
#ifndef LX_CMD_RUN_RECORD_H
#define LX_CMD_RUN_RECORD_H

#include "cmd/child.h"
#include "cmd/cli.h"
#include "cmd/observe.h"
#include "store/store.h"

typedef struct lx_run_record lx_run_record;

typedef struct lx_run_options {
    const char *name;
    const lx_words *folders; /* to look for LoRA files in, beside the command's own */
    bool copies_loras;       /* into the store; else they are named by hash and path */
} lx_run_options;

/* Begins the run. dataset (JSON of its tree) and verdict may be NULL; all is borrowed to
 * the end. */
int lx_run_record_begin(lx_run_record **out, lx_cli *cli, lx_store *store,
                        const lx_observed *observed, const char *dataset, int argc,
                        char **argv, const lx_run_options *options, lx_error *err);
const char *lx_run_record_id(const lx_run_record *record);
int64_t lx_run_record_seq(const lx_run_record *record);
lx_child_view lx_run_record_view(lx_run_record *record);

/* What is to be told at the end. */
typedef struct lx_run_result {
    const char *status; /* finished, interrupted, failed */
    int64_t step;       /* the last, or -1 */
    double loss;        /* the last, or NaN */
    size_t n_loras;
    bool is_at_line_start; /* what was printed ended in a newline */
} lx_run_result;

/* The last look at all files, and the end. Closes the record whatever happens; one whose
 * view failed before (rc) is ended as well as it can be. */
int lx_run_record_end(lx_run_result *out, lx_run_record *record, const lx_child_end *end,
                      lx_error *err);

#endif
