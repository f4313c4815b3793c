/*
 * report/report - everything worth telling of one or more runs, as one file
 *
 * Plain structs in; HTML, Markdown or JSON out. Nothing here knows the store. Texts are
 * borrowed, may come from anywhere, and are escaped where they are written; NULL or ""
 * means "not known" and is left out, and so is a section that would be empty.
 *
 *     HTML       one page, nothing fetched; curves interactive, and static without scripts
 *     Markdown   for a repository or a forum; charts and pictures in a folder beside it, or
 *                as data URIs
 *     JSON       schema/report.schema.json; pictures left out
 */
#ifndef LX_REPORT_REPORT_H
#define LX_REPORT_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/error.h"
#include "src/base/str.h"

struct lx_html; /* report/html.h */

typedef struct lx_report_pair {
    const char *key, *value;
} lx_report_pair;

typedef struct lx_report_pairs {
    const lx_report_pair *items;
    size_t count;
} lx_report_pairs;

typedef struct lx_report_texts {
    const char *const *items;
    size_t count;
} lx_report_texts;

typedef struct lx_report_curve {
    const char *key; /* "loss", "lr/unet" */
    const double *steps, *values;
    size_t n;
} lx_report_curve;

/* A picture as a JPEG of its own, or where it is to be had; without both, `missing` says
 * why there is none. */
typedef struct lx_report_picture {
    const char *name;
    const char *text; /* caption or prompt */
    const void *bytes;
    size_t n_bytes;
    int width, height;
    const char *missing;
    int64_t step;      /* of a sample; -1 = none */
    const char *group; /* folder of an image; prompt or epoch of a sample */
    const char *url; /* HTML: asked for when it comes into view; "?full" behind it gives
                        the whole picture */
} lx_report_picture;

typedef struct lx_report_folder {
    const char *name, *class_tokens;
    int64_t images, captioned, repeats;
    bool is_reg;
} lx_report_folder;

typedef struct lx_report_tag {
    const char *tag;
    int64_t count;
} lx_report_tag;

typedef enum lx_report_tone {
    LX_TONE_PLAIN,
    LX_TONE_GOOD,
    LX_TONE_WARN,
    LX_TONE_BAD
} lx_report_tone;

/* Something found out, with how good or bad it is. */
typedef struct lx_report_finding {
    lx_report_tone tone;
    const char *text;
} lx_report_finding;

typedef struct lx_report_lora {
    const char *name, *sha256;
    int64_t step, bytes;
    lx_report_pairs facts; /* "rank" -> "4", ... */
    const lx_report_finding
        *findings; /* the verdict on captions, values that are not finite */
    size_t n_findings;
} lx_report_lora;

typedef struct lx_report_run {
    const char *id, *name, *kind, *status, *message;
    const char *started;    /* for people */
    double seconds;         /* it took; NaN = not known */
    int64_t steps;          /* -1 = none */
    double loss, best_loss; /* smoothed, last and least; NaN = none */
    int64_t best_step;
    lx_report_texts summary; /* sentences in plain words */
    lx_report_texts tags, notes;
    lx_report_pairs settings; /* as the user gave them */
    lx_report_pairs resolved; /* all of them */
    lx_report_pairs inputs;   /* base model, code, machine */
    const lx_report_folder *folders;
    size_t n_folders;
    const lx_report_tag *frequencies; /* most frequent first */
    size_t n_frequencies;
    size_t n_more_frequencies; /* left out */
    const lx_report_picture *images;
    size_t n_images, n_more_images;
    const lx_report_curve *curves; /* sorted by key */
    size_t n_curves;
    const double *epoch_ends; /* steps */
    size_t n_epochs;
    const lx_report_picture *samples; /* by step */
    size_t n_samples;
    const char *samples_url; /* HTML: a page with all of them; NULL = none */
    const lx_report_lora *loras;
    size_t n_loras;
    lx_report_texts repeat; /* command lines */
    const char *diff;       /* of the work tree */
} lx_report_run;

/* A setting in which several runs differ. */
typedef struct lx_report_row {
    const char *key;
    const char *const *values; /* one a run; NULL = not given there */
} lx_report_row;

typedef struct lx_report {
    const char *title;
    const char *made; /* when and by what, for the foot */
    const lx_report_run *runs;
    size_t n_runs;
    const lx_report_row *differences;
    size_t n_differences;
    bool is_scrubbed;
    lx_report_texts
        scrubbed; /* what was taken out: "home folders: 12 times, written as ~" */
} lx_report;

int lx_report_html(lx_str *out, const lx_report *report, lx_error *err);

/* Only what is told of one run, into a page of the caller's (report/page has its style):
 * headings are <h2>, the name is left to the caller. */
int lx_report_run_html(struct lx_html *h, const lx_report_run *run, lx_error *err);

/*
 * Markdown (as GitHub reads it). Files that belong beside it go to `save`, with a short
 * name made of safe characters ("loss.svg", "sample-3.jpg"); the text links to
 * `folder`/name. save NULL: they are written inline as data URIs.
 */
typedef int (*lx_report_save)(void *context, const char *name, const void *bytes,
                              size_t n, lx_error *err);
int lx_report_markdown(lx_str *out, const lx_report *report, const char *folder,
                       lx_report_save save, void *context, lx_error *err);

int lx_report_json(lx_str *out, const lx_report *report, lx_error *err);

#endif
