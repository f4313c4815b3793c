/*
 * cmd/sweep - many trainings that differ in a few flags; internal to cmd/sweep*.c
 *
 * sweep_plan.c makes trials of flags and a command; sweep_store.c keeps the plan in the store and finds
 * what became of each trial; sweep_score.c judges; sweep_run.c runs what is missing; sweep_show.c tells;
 * sweep_slurm.c hands it all to Slurm.
 *
 * The record is a run of kind "sweep" whose artifact sweep.json holds the plan. It has no end until
 * every trial has one, so a stopped sweep reads as interrupted. The run of a trial is known by its
 * facts: sweep (id of the record) and sweep.trial (number); the newest counts. All texts live in the
 * command's arena.
 */
#ifndef LX_CMD_SWEEP_H
#define LX_CMD_SWEEP_H

#include "cmd/cli.h"
#include "src/stats/rank.h"
#include "src/sweep/halving.h"
#include "src/sweep/plan.h"
#include "store/query.h"

typedef struct lx_sweep_trial {
    size_t number;    /* from 1 */
    size_t config;    /* of sweep->configs */
    const char *seed; /* NULL = the command's own business */
    const char *name; /* NAME-003: of its run and its LoRA */
    lx_run_row run;   /* the newest; id NULL = none yet */
    lx_run_row before; /* of the older ones that have ended, the one that got farthest; id NULL = none */
    double score;     /* lx_sweep_judge; NaN = none */
} lx_sweep_trial;

typedef struct lx_sweep {
    lx_cli *cli;
    const char *store_path; /* absolute */
    lx_store *store;        /* NULL while a trial runs */
    const char *name, *id;  /* id NULL: not recorded (--dry-run) */
    int64_t seq;
    lx_words command; /* as given behind --: train ..., or run ... -- COMMAND ... */
    bool is_train;
    bool is_sd_scripts; /* of run: the command is one of its trainers */
    const char **flags; /* swept, n of them */
    size_t n_flags;
    lx_sweep_configs configs;
    const char **
        seeds; /* each configuration with each; none: one trial with what the command says */
    size_t n_seeds;
    lx_sweep_trial *trials; /* configuration by configuration, n_seeds (or 1) each */
    size_t n_trials;
    int eta; /* 0: no halving */
    lx_sweep_rung rungs[LX_SWEEP_RUNGS];
    size_t n_rungs;
    const char
        *asked; /* " --network_dim=4,32 --seeds=3": the options, quoted for a shell */
    const char *metric; /* asked for; NULL: validation loss if there is one, else loss */
    bool is_failing_fast;
} lx_sweep;

/* ---- plan: what is to be run -------------------------------------------------------------- */

typedef struct lx_sweep_request {
    const char *name, *metric;
    int64_t n_seeds, n_random, random_seed, eta, min_steps;
    bool is_halving, is_failing_fast, has_random_seed;
    lx_words flags, values; /* of each swept flag, as written */
    lx_words command;
} lx_sweep_request;

/* Checks everything that can be known before the first run: every trial's flags, and the images. */
int lx_sweep_plan(lx_sweep *sweep, const lx_sweep_request *request, lx_error *err);
/* From flags, configs, seeds and name: sweep->trials. */
int lx_sweep_make_trials(lx_sweep *sweep, lx_error *err);
/* The words of `lx` for a trial, ends with NULL. with_facts: those by which the store knows it. stop 0:
 * to its end; state NULL: from the start. */
int lx_sweep_words(char ***argv, const lx_sweep *sweep, const lx_sweep_trial *trial,
                   bool with_facts, int64_t stop, const char *state, lx_error *err);
/* Steps of its training as lx plan counts them; 0 = not known (another trainer's). */
int lx_sweep_steps(int64_t *steps, const lx_sweep *sweep, const lx_sweep_trial *trial,
                   lx_error *err);
/* The state that an interrupted run of the trial left, NULL = none. */
int lx_sweep_state(const char **state, const lx_sweep *sweep, const lx_sweep_trial *trial,
                   lx_error *err);
/* "--network_dim=4 --learning_rate=1e-4 seed 2", for people. */
const char *lx_sweep_label(const lx_sweep *sweep, const lx_sweep_trial *trial);

/* ---- store: the record --------------------------------------------------------------------- */

typedef enum lx_sweep_access {
    LX_SWEEP_READS,
    LX_SWEEP_CHANGES, /* a store that is there */
    LX_SWEEP_BEGINS   /* or is made */
} lx_sweep_access;
int lx_sweep_open_store(lx_sweep *sweep, lx_sweep_access access, lx_error *err);
void lx_sweep_close_store(lx_sweep *sweep);
/* LX_EEXISTS when a sweep of the name is there. */
int lx_sweep_begin(lx_sweep *sweep, lx_error *err);
/* Reads the plan back and enters the folder it was started in. LX_ENOTFOUND. */
int lx_sweep_find(lx_sweep *sweep, const char *name, lx_error *err);
/* What became of each trial by now. The store is open. */
int lx_sweep_refresh(lx_sweep *sweep, lx_error *err);
/* Ends the record, unless somebody else was quicker. */
int lx_sweep_end(lx_sweep *sweep, lx_error *err);

/* ---- score: which is better ---------------------------------------------------------------- */

/*
 * Fills trial->score of those in `which` (n numbers of trials, from 0; NULL: all) that have a run: the
 * last value of a validation loss where all have one, else the mean loss over the last quarter of the
 * steps. until: what came after this step does not count (INFINITY: all counts); a trial that runs again
 * is judged by its run before, if that one came so far. *metric is which curve it was; NULL = none of
 * them has any.
 */
int lx_sweep_judge(const char **metric, lx_sweep *sweep, const size_t *which, size_t n,
                   double until, lx_error *err);
/* LX_ENOTFOUND: trials have points, and none has the curve that --metric names. */
int lx_sweep_check_metric(lx_sweep *sweep, lx_error *err);
/* Is a curve of single steps, so that the mean of the last quarter counts, and not the last value? */
bool lx_sweep_is_mean(const char *curve);
/* Mean score of a configuration over its seeds; infinite where one of them has none. */
double lx_sweep_config_score(const lx_sweep *sweep, size_t config);
/* Has the trial done what rung wants? Without halving: has it ended well? What goes on from a rung has done that rung,
 * also while it runs: a job of the next one that begins later must count it. */
bool lx_sweep_is_done(const lx_sweep *sweep, const lx_sweep_trial *trial, size_t rung);
/* The configurations of a rung, judged by the end of the one before. *out: rungs[rung].n numbers, all
 * without halving. */
int lx_sweep_rung_configs(size_t **out, size_t *n, lx_sweep *sweep, size_t rung,
                          lx_error *err);

/* ---- run, show, Slurm ----------------------------------------------------------------------- */

/* All that is missing. LX_EINTERRUPTED; LX_ECHECK when a trial failed under --fail-fast. */
int lx_sweep_run(lx_sweep *sweep, lx_error *err);
/* One trial of one rung: configuration number `slot` of it where there are rungs. */
int lx_sweep_run_slot(lx_sweep *sweep, size_t rung, size_t slot, lx_error *err);
/* The plan as command lines a shell takes, with their steps: nothing is run. */
int lx_sweep_dry_run(lx_sweep *sweep, lx_error *err);
/* Table, ranks and the best; as JSON. */
int lx_sweep_show(lx_sweep *sweep, bool as_json, lx_error *err);
/* Options of sbatch for the script (LX_EUSAGE): those that need no quoting and are not ours. */
int lx_sweep_slurm_check(const lx_words *directives, lx_error *err);
/* Writes the script and, unless only_write, submits it: an array of jobs per rung. */
int lx_sweep_slurm(lx_sweep *sweep, const lx_words *directives, bool only_write,
                   lx_error *err);

#endif
