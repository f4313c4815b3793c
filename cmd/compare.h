/*
 * cmd/compare - what two or more runs do not have in common; internal to cmd/compare_*.c
 *
 * compare_read.c reads a run, compare_find.c finds the differences, compare_text.c,
 * compare_json.c and compare_html.c tell them. The first run is what the others are compared with.
 */
#ifndef LX_CMD_COMPARE_H
#define LX_CMD_COMPARE_H

#include <cjson/cJSON.h>

#include "cmd/cli.h"
#include "src/compare/code.h"
#include "src/compare/data.h"
#include "src/compare/loss.h"
#include "src/report/html.h"
#include "src/stats/rank.h"
#include "store/dataset.h"
#include "store/privacy.h"
#include "src/stats/paired.h"
#include "store/query.h"

enum { LX_COMPARE_RUNS = 26 }; /* letters a to z */

typedef struct lx_compared {
    lx_run_row row;
    lx_run_texts texts;
    lx_dataset_rows data;
    bool has_data;
    lx_artifact_row *artifacts;
    size_t n_artifacts;
    const char *curve; /* "loss", or "loss/average" where there is no other; "" = none */
    lx_loss_curve loss;
    lx_loss_curve validation,
        watched;                 /* on held-out images, on trained ones; n = 0: none */
    double *smooth;              /* of loss.values */
    double *images;              /* seen at each point of loss; NULL = not known */
    double *epochs;              /* of each point, from 1; NULL = not known */
    double *epoch_axis;          /* the same with its fraction */
    double *epoch_means;         /* of epoch 1, 2 ...; NaN where there is none */
    size_t n_epochs, best_epoch; /* best_epoch from 1; 0 = none */
    const char *label;           /* "hifumi-v3 (4fa3b2c1d0)" */
} lx_compared;

/* One fact with its text in every run; NULL = the run does not say. */
typedef struct lx_compare_fact {
    const char *name;
    const char *texts[LX_COMPARE_RUNS];
    double numbers[LX_COMPARE_RUNS]; /* NaN = none */
    bool is_text; /* 1.10 is not 1.1 there, while 1e-4 is 0.0001 elsewhere */
} lx_compare_fact;

/* Does it have the same value in runs i and k? */
bool lx_compare_same(const lx_compare_fact *fact, size_t i, size_t k);

typedef struct lx_compare_facts {
    lx_compare_fact *items; /* only those that differ */
    size_t count, capacity;
    bool is_known; /* some run has anything of this kind */
} lx_compare_facts;

/* Of run k against the first one. */
typedef struct lx_compare_pair {
    lx_data_changes data;
    bool has_data; /* both have a recorded dataset */
    bool is_same_data;
    lx_code_change *code;
    size_t n_code;
    lx_loss_difference loss; /* at equal steps */
    lx_loss_difference
        by_images; /* at equal images seen; n = 0 where that is the same or unknown */
    double images_first, images_last;
    /* run k - run a, each at its best validation, image by image on the same draws; of fewer than two images
     * no interval. n_validated 0: not the same images and draws, or not recorded by image */
    lx_estimate validation;
    size_t n_validated;
} lx_compare_pair;

typedef struct lx_compare_result {
    const char *name;
    double values[LX_COMPARE_RUNS]; /* NaN = none */
} lx_compare_result;

typedef struct lx_compare_rank {
    const char *flag, *result;
    lx_correlation rank;
} lx_compare_rank;

typedef struct lx_comparison {
    lx_arena *arena; /* what is found out lives here */
    lx_cli *cli;     /* where it is printed */
    lx_store *store;
    const char *link; /* of a page: LINK/ID is a run's own; NULL = it has none */
    double smoothing, share; /* options */
    uint64_t seed;
    bool is_paired;        /* said to share their draws */
    bool shows_code;       /* the lines, not only the files */
    bool is_out_of_memory; /* some text is missing for want of it: an error at the end */
    const char *axis;      /* of the curves drawn: steps, images or epochs */
    lx_compared runs[LX_COMPARE_RUNS];
    lx_compare_pair pairs[LX_COMPARE_RUNS]; /* [0] is empty */
    size_t n;
    lx_compare_facts flags, places, folders, base, code, environment;
    lx_compare_result results[6];
    size_t n_results;
    lx_compare_rank *ranks; /* by how far from 0 */
    size_t n_ranks;
    lx_words findings; /* the same spec with different results */
    lx_words notes;    /* ... or with the same */
} lx_comparison;

/* All that is known of the run whose row is there. */
int lx_compare_run(lx_compared *run, lx_comparison *c, lx_error *err);
/* All runs, whose rows are there, and where they differ. */
int lx_compare_runs(lx_comparison *c, lx_error *err);
/* The same of runs found by name or LoRA file (cmd/run_find). */
int lx_compare_read(lx_comparison *c, const lx_words *runs, lx_error *err);
/* A run's points along the axis chosen; NULL = it does not say. */
const double *lx_compare_axis(const lx_comparison *c, const lx_compared *run);
/* A recorded JSON text as a tree; NULL when there is none or it is broken. cJSON_Delete.
 */
cJSON *lx_compare_parse(lx_comparison *c, const char *text);
/* The caption of an image as text; NULL = none. In the arena. */
int lx_compare_caption(const char **out, lx_comparison *c, const char *hex,
                       lx_error *err);

/* compare_validation.c */
int lx_compare_read_validation(lx_compared *run, lx_comparison *c, lx_error *err);
bool lx_compare_has_validation(const lx_comparison *c);
/* Every pair's difference by image; after flags, data and base models have been compared. */
int lx_compare_validation_pairs(lx_comparison *c, lx_error *err);
/* "a is lower ... 95 % between ..."; NULL where there is nothing to say. In the arena. */
int lx_compare_validation_words(const char **out, const lx_comparison *c, size_t k,
                                const char *letter, lx_error *err);
double lx_compare_validation_end(const lx_compared *run); /* NaN = none */
double lx_compare_validation_best(const lx_compared *run);
int lx_compare_show_validation(lx_comparison *c, const char *const letters[],
                               lx_error *err);
struct lx_table;
int lx_compare_table(lx_cli *cli, const struct lx_table *table, lx_error *err);

/* "+blush, -smile": what another caption has more and less. In the arena. */
int lx_compare_caption_change(const char **out, lx_comparison *c,
                              const lx_data_change *change, lx_error *err);

int lx_compare_show(lx_comparison *c, bool shows_all, lx_error *err);
/* All of it as one object; *out is the caller's (cJSON_Delete), after an error too. */
int lx_compare_tree(cJSON **out, lx_comparison *c, lx_error *err);
int lx_compare_json(lx_comparison *c, lx_error *err);
int lx_compare_svg(lx_comparison *c, const char *path, lx_error *err);
/* A page of its own, scrubbed unless keeps_private; what stands in it, for any page (its
 * scripts: report/page.h). */
int lx_compare_html(lx_comparison *c, const char *path, bool keeps_private,
                    lx_error *err);
int lx_compare_html_body(lx_html *h, lx_comparison *c, lx_privacy *privacy,
                         lx_error *err);

#endif
