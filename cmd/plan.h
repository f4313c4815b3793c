/*
 * cmd/plan - what the files of `lx plan` share: a training looked at before it runs, and what would make it fit
 */
#ifndef LX_CMD_PLAN_H
#define LX_CMD_PLAN_H

#include "cmd/cli.h"
#include "cmd/train_flags.h"
#include "src/base/json.h"
#include "src/data/dataset.h"
#include "src/train/forecast.h"

typedef struct lx_plan_args {
    bool json, no_timing;
    const char *fit_memory, *fit_time; /* as given; NULL = not asked */
    double most_bytes, most_seconds;   /* read from them */
} lx_plan_args;

/* One command line, read and planned. */
typedef struct lx_planned {
    lx_cli *cli;
    lx_train_config config;
    lx_train_flags flags;
    lx_dataset *dataset;
    bool is_counted; /* there are images, and buckets for them */
    lx_step_count steps;
    bool is_estimated; /* a model was given: memory and time are known */
    lx_footprint memory;
    lx_forecast forecast;
    size_t n_modules, n_values; /* of the LoRA */
    lx_error refusal; /* why not, when the data were read and no more can be said */
} lx_planned;

/* A change of flags under which it fits, planned like the training itself. */
typedef struct lx_plan_change {
    const char *flags; /* "--train_batch_size 2 --gradient_accumulation_steps 2" */
    const char *note;  /* what it costs, or "" */
    lx_footprint memory;
    lx_forecast forecast;
    lx_step_count steps;
} lx_plan_change;

enum { LX_PLAN_CHANGES = 6 };

/* What was asked for, and what would make it fit; smallest change first. */
typedef struct lx_plan_fit {
    bool is_memory, fits;
    double limit, need; /* bytes or seconds */
    lx_plan_change changes[LX_PLAN_CHANGES];
    size_t n_changes;
} lx_plan_fit;

/*
 * Reads the words, the folders and the model. checks_pixels: every image is decoded. budget: seconds for timing
 * kernels, 0 = none. Release it in any case.
 */
int lx_planned_read(lx_planned *out, lx_cli *cli, int argc, char **argv,
                    bool checks_pixels, double budget, lx_error *err);
/* Bytes at the peak: of the GPU where there is one. */
double lx_plan_peak(const lx_footprint *memory);
void lx_planned_release(lx_planned *planned);

/* cli->argv are the training's words; each change was planned again with its flags behind them. */
int lx_plan_fit_memory(lx_plan_fit *out, const lx_planned *base, double most_bytes,
                       double budget, lx_error *err);
int lx_plan_fit_time(lx_plan_fit *out, const lx_planned *base, double most_seconds,
                     double budget, lx_error *err);

void lx_plan_show_words(const lx_planned *planned, const lx_plan_fit *fits,
                        size_t n_fits);
int lx_plan_show_json(const lx_planned *planned, const lx_plan_fit *fits, size_t n_fits,
                      lx_error *err);
const char *lx_plan_kind_word(lx_finding_kind kind);

#endif
